//! The follower against real chains, and endpoints that misbehave.

mod client_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::rpc::types::Filter;
use client_support::{
    DEADLINE, Dice, eventually,
    node::{Kind, Node},
    once::{Once, Said},
    proxy::{Proxy, Verdict, number},
};
use gristmill_chain::{
    backoff::BackoffPolicy,
    follow::{BlockRef, FollowConfig, FollowError, Follower, Step},
    rpc::Rpc,
};
use serde_json::{Value, json};

/// What a caller keeps: the words it believes in and the blocks it knows, changed together.
#[derive(Debug, Default, Clone)]
struct Ledger {
    words: Vec<Said>,
    known: Vec<BlockRef>,
    rewinds: usize,
}

impl Ledger {
    fn take(&mut self, step: Step) {
        match step {
            Step::Rewind { to } => {
                assert!(self.known.contains(&to), "rewound to {to:?}, which was never delivered");
                self.words.retain(|said| said.block.number <= to.number);
                self.known.retain(|block| block.number <= to.number);
                self.rewinds += 1;
            }
            Step::Advance(advance) => {
                let from = self.known.last().map_or(0, |block| block.number + 1);
                for said in advance.logs.iter().map(Said::of) {
                    assert!((from..=advance.to.number).contains(&said.block.number), "{said:?} delivered out of turn");
                    self.words.push(said);
                }
                assert!(advance.to.number >= from && advance.head >= advance.to.number);
                self.known.push(advance.to);
            }
        }
    }

    fn said(&self) -> Vec<u64> {
        self.words.iter().map(|said| said.word).collect()
    }
}

fn config(once: Once, ledger: &Ledger) -> FollowConfig {
    let backoff = BackoffPolicy { first: Duration::from_millis(5), max: Duration::from_millis(50), seed: 1 };
    FollowConfig {
        poll_interval: Duration::from_millis(5),
        lag_patience: Duration::from_millis(300),
        safe_depth: 8,
        window_blocks_max: 50,
        backoff,
        ..FollowConfig::new(Filter::new().address(once.0)).known(ledger.known.clone())
    }
}

/// Follows until the ledger stands at the node's head, and checks it against the node's own account.
async fn catch_up(follower: &mut Follower, ledger: &mut Ledger, once: Once, truth: &Rpc) {
    let head = truth.head().await.unwrap();
    let head = BlockRef { number: head.number, hash: head.hash };
    while ledger.known.last() != Some(&head) {
        let step = tokio::time::timeout(DEADLINE, follower.next()).await;
        ledger.take(step.unwrap_or_else(|_| panic!("no step; {:?}", *follower.status().borrow())).unwrap());
    }
    assert_eq!(ledger.words, once.words(truth).await);
}

async fn reorganisations_are_followed(kind: Kind) {
    let node = Node::start(kind).await;
    let once = Once::deploy(&node).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    for word in 1..=3 {
        once.say(&node, 0, word).await;
    }
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!(ledger.said(), [1, 2, 3]);

    node.reorganise(2).await;
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!(ledger.said(), [1], "two words were dropped");
    assert_eq!(ledger.rewinds, 1);

    once.say(&node, 0, 3).await;
    once.say(&node, 0, 2).await;
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!(ledger.said(), [1, 3, 2], "and came back in another order");
}

#[tokio::test]
async fn reorganisations_are_followed_on_the_embedded_chain() {
    reorganisations_are_followed(Kind::Embedded).await;
}

#[tokio::test]
async fn reorganisations_are_followed_on_anvil() {
    reorganisations_are_followed(Kind::Anvil).await;
}

/// Random words, reorganisations, restarts with the stored blocks only, and calls dropped half-way.
async fn random_history(kind: Kind, seed: u64) {
    let mut dice = Dice(seed);
    let node = Node::start(kind).await;
    let once = Once::deploy(&node).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    let mut word = 0;
    for _ in 0..60 {
        match dice.below(6) {
            0 | 1 => {
                word += 1;
                once.say(&node, 0, word).await;
            }
            2 => node.mine(1 + dice.below(14)).await,
            // Genesis and the deployment stay.
            3 => {
                let height = node.rpc.head().await.unwrap().number;
                node.reorganise((1 + dice.below(7)).min(height - 1).max(1)).await;
                if node.rpc.code(once.0).await.unwrap().is_empty() {
                    return;
                }
            }
            4 => follower = Follower::new(node.rpc.clone(), config(once, &ledger)),
            _ => {
                for _ in 0..dice.below(6) {
                    let patience = Duration::from_micros(dice.below(3_000));
                    if let Ok(step) = tokio::time::timeout(patience, follower.next()).await {
                        ledger.take(step.unwrap());
                    }
                }
            }
        }
    }
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
}

async fn random_histories(kind: Kind, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let lived = tokio::spawn(random_history(kind, seed)).await;
        lived.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[tokio::test]
async fn random_histories_end_with_the_chain_s_own_words() {
    random_histories(Kind::Embedded, 0..12).await;
}

#[tokio::test]
async fn random_histories_on_anvil_end_with_the_chain_s_own_words() {
    random_histories(Kind::Anvil, 100..103).await;
}

#[tokio::test]
async fn a_reorganisation_while_nobody_looked_is_found_on_restart() {
    let node = Node::start(Kind::Embedded).await;
    let once = Once::deploy(&node).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    for word in 1..=4 {
        once.say(&node, 0, word).await;
    }
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    drop(follower);
    node.reorganise(3).await;
    // Far enough ahead that the restarted follower catches up by ranges.
    node.mine(40).await;
    once.say(&node, 0, 9).await;
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!((ledger.said(), ledger.rewinds), (vec![1, 9], 1));
}

#[tokio::test]
async fn a_restart_from_the_cursor_repeats_nothing() {
    let node = Node::start(Kind::Embedded).await;
    let once = Once::deploy(&node).await;
    let mut ledger = Ledger::default();
    for word in 1..=5 {
        once.say(&node, 0, word).await;
        let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
        catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    }
    assert_eq!((ledger.said(), ledger.rewinds), (vec![1, 2, 3, 4, 5], 0));
}

#[tokio::test]
async fn a_chain_that_shrank_is_believed_after_a_while() {
    let node = Node::start(Kind::Embedded).await;
    let once = Once::deploy(&node).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    once.say(&node, 0, 1).await;
    let before = node.snapshot().await;
    once.say(&node, 0, 2).await;
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    node.restore(before).await;
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!((ledger.said(), ledger.rewinds), (vec![1], 1));
}

#[tokio::test]
async fn history_rewritten_below_the_known_blocks_is_an_error() {
    let node = Node::start(Kind::Embedded).await;
    let once = Once::deploy(&node).await;
    node.mine(5).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger).start(4));
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!(ledger.known.first().unwrap().number, 3, "the block below the start is the anchor");
    node.reorganise(5).await;
    let error = tokio::time::timeout(DEADLINE, follower.next()).await.unwrap().unwrap_err();
    let FollowError::ReorgTooDeep { oldest_known: 3, .. } = error else { panic!("{error}") };

    // The same after a restart, far behind the head.
    node.mine(50).await;
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger).start(4));
    let error = tokio::time::timeout(DEADLINE, follower.next()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("hint: "), "{error}");
}

/// Follows a chain of 60 blocks with a word in every other, through the proxy.
async fn through(proxy: &Proxy, node: &Node, once: Once, behave: bool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(proxy.rpc(), config(once, &ledger));
    if behave {
        proxy.behave();
    }
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    ledger
}

async fn sixty_blocks(node: &Node) -> Once {
    let once = Once::deploy(node).await;
    for word in 1..=30 {
        once.say(node, 0, word).await;
        node.mine(1).await;
    }
    once
}

#[tokio::test]
async fn windows_shrink_to_what_the_endpoint_takes() {
    let node = Node::start(Kind::Embedded).await;
    let once = sixty_blocks(&node).await;
    let refusals = [
        (-32005, "query returned more than 10000 results"),
        (-32602, "block range is too wide"),
        (-32603, "internal error"),
        (-32000, "exceed maximum block range: 7"),
        (35, "ranges over 7 blocks are not supported on freetier"),
    ];
    for (code, message) in refusals {
        let proxy = Proxy::before(&node.url).await;
        proxy.judge(move |method, params| {
            let range = (number(&params[0]["fromBlock"]), number(&params[0]["toBlock"]));
            match (method, range) {
                ("eth_getLogs", (Some(from), Some(to))) if to - from >= 7 => Verdict::Refuse(code, message),
                _ => Verdict::Forward,
            }
        });
        let ledger = through(&proxy, &node, once, false).await;
        assert_eq!(ledger.said(), (1..=30).collect::<Vec<_>>(), "{message}");
        assert!(proxy.take_calls().len() < 200, "halving is quick");
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_and_not_halved() {
    let node = Node::start(Kind::Embedded).await;
    let once = sixty_blocks(&node).await;
    let proxy = Proxy::before(&node.url).await;
    let mut refusals = 8;
    proxy.judge(move |method, params| {
        if method == "eth_getLogs" && number(&params[0]["fromBlock"]).is_some() && refusals > 0 {
            refusals -= 1;
            return Verdict::Refuse(-32005, "daily request count exceeded, request rate limited");
        }
        Verdict::Forward
    });
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(proxy.rpc(), config(once, &ledger));
    let mut steps = 0;
    while ledger.known.last().is_none_or(|block| block.number < 50) {
        ledger.take(follower.next().await.unwrap());
        steps += 1;
    }
    assert_eq!(steps, 2, "the anchor and one whole window");
}

#[tokio::test]
async fn an_endpoint_without_batches_is_good_enough() {
    let node = Node::start(Kind::Embedded).await;
    let once = sixty_blocks(&node).await;
    let proxy = Proxy::before(&node.url).await;
    proxy.refuse_batches();
    through(&proxy, &node, once, false).await;
}

#[tokio::test]
async fn outages_of_every_kind_are_waited_out_and_told() {
    let node = Node::start(Kind::Embedded).await;
    let once = sixty_blocks(&node).await;
    let proxy = Proxy::before(&node.url).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(proxy.rpc(), config(once, &ledger));
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    let mut status = follower.status();
    for (word, outage) in [(31, "unavailable"), (32, "hangs"), (33, "refuses"), (34, "nonsense")] {
        proxy.judge(move |_, _| match outage {
            "unavailable" => Verdict::Unavailable,
            "hangs" => Verdict::Hang,
            "refuses" => Verdict::Refuse(-32000, "no"),
            _ => Verdict::Answer(json!({ "nonsense": true })),
        });
        once.say(&node, 0, word).await;
        let stuck = tokio::time::timeout(Duration::from_millis(1_200), follower.next()).await;
        assert!(stuck.is_err(), "{outage}: {stuck:?}");
        let told = status.borrow_and_update().outage.clone();
        assert!(told.is_some_and(|told| told.failures > 0 && !told.reason.is_empty()), "{outage}");
        proxy.behave();
        catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
        assert_eq!(status.borrow_and_update().outage, None);
        assert_eq!(ledger.said().last(), Some(&word));
    }
    assert_eq!(ledger.rewinds, 0);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::in_folder(dir.path()).await;
    let once = Once::deploy(&node).await;
    once.say(&node, 0, 1).await;
    let address = node.url.trim_start_matches("http://").parse().unwrap();
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    node.stop().await;
    let stuck = tokio::time::timeout(Duration::from_millis(300), follower.next()).await;
    assert!(stuck.is_err());
    let told = follower.status().borrow().outage.clone().unwrap();
    assert!(told.reason.to_lowercase().contains("refused"), "{told:?}");

    let config =
        gristmill_chain::dev::Config { listen: address, data_dir: Some(dir.path().to_owned()), ..Default::default() };
    let node = Node::embedded(config).await;
    once.say(&node, 0, 2).await;
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    assert_eq!((ledger.said(), ledger.rewinds), (vec![1, 2], 0));
}

/// Makes every second answer that of a node `lag` blocks behind, which, like real ones, says nothing about being behind:
/// it has no such block, and lists no logs of it by number.
fn lag_behind(proxy: &Proxy, lag: u64) {
    let head = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&head);
    let mut turn = 0_u64;
    proxy.judge(move |method, params| {
        turn += 1;
        let behind = turn.is_multiple_of(2) && method != "eth_blockNumber";
        let height = seen.load(Ordering::SeqCst).saturating_sub(lag);
        match (behind, method) {
            (true, "eth_getBlockByNumber") if params[0] == "latest" => {
                Verdict::ForwardAs(json!([format!("{height:#x}"), false]))
            }
            (true, "eth_getBlockByNumber") if number(&params[0]).is_some_and(|wanted| wanted > height) => {
                Verdict::Answer(Value::Null)
            }
            (true, "eth_getLogs") if number(&params[0]["fromBlock"]).is_some_and(|from| from > height) => {
                Verdict::Answer(json!([]))
            }
            (true, "eth_getLogs") if !params[0]["fromBlock"].is_null() => {
                let mut filter = params[0].clone();
                let to = number(&filter["toBlock"]).unwrap_or(u64::MAX).min(height);
                filter["toBlock"] = json!(format!("{to:#x}"));
                Verdict::ForwardAs(json!([filter]))
            }
            (true, "eth_getLogs" | "eth_getBlockByHash") if turn.is_multiple_of(4) => {
                Verdict::Refuse(-32000, "unknown block")
            }
            _ => Verdict::Forward,
        }
    });
    proxy.censor(move |method, result| {
        if method == "eth_getBlockByNumber"
            && let Some(number) = number(&result["number"])
        {
            head.fetch_max(number, Ordering::SeqCst);
        }
        result
    });
}

#[tokio::test]
async fn nodes_that_lag_behind_each_other_hide_no_log() {
    let node = Node::start(Kind::Embedded).await;
    let once = sixty_blocks(&node).await;
    for batches in [true, false] {
        let proxy = Proxy::before(&node.url).await;
        if !batches {
            proxy.refuse_batches();
        }
        lag_behind(&proxy, 3);
        let mut ledger = Ledger::default();
        let mut follower = Follower::new(proxy.rpc(), config(once, &ledger));
        catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
        let first = 1_000 + u64::from(batches) * 100;
        for word in first..first + 20 {
            once.say(&node, 0, word).await;
            if word % 3 == 0 {
                catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
            }
        }
        catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
        assert_eq!(ledger.rewinds, 0, "a lagging node is no reorganisation");
    }
}

#[tokio::test]
async fn a_node_far_behind_does_not_make_a_window_look_empty() {
    let node = Node::start(Kind::Embedded).await;
    let once = sixty_blocks(&node).await;
    let proxy = Proxy::before(&node.url).await;
    // Whole batches and single calls go to a node that is at block 20, two times out of three.
    let mut turn = 0;
    proxy.judge(move |method, params| {
        turn += 1;
        let behind = turn / 3 % 3 != 0;
        match method {
            "eth_getBlockByNumber" if behind && number(&params[0]).is_some_and(|wanted| wanted > 20) => {
                Verdict::Answer(Value::Null)
            }
            "eth_getLogs" if behind && number(&params[0]["fromBlock"]).is_some() => {
                let mut filter = params[0].clone();
                let to = number(&filter["toBlock"]).unwrap_or(u64::MAX).min(20);
                if number(&filter["fromBlock"]).is_some_and(|from| from > to) {
                    return Verdict::Answer(json!([]));
                }
                filter["toBlock"] = json!(format!("{to:#x}"));
                Verdict::ForwardAs(json!([filter]))
            }
            _ => Verdict::Forward,
        }
    });
    through(&proxy, &node, once, false).await;
}

#[tokio::test]
async fn confirmations_are_counted_from_the_head() {
    let node = Node::start(Kind::Embedded).await;
    let once = Once::deploy(&node).await;
    once.say(&node, 0, 1).await;
    node.mine(3).await;
    let mut ledger = Ledger::default();
    let mut follower = Follower::new(node.rpc.clone(), config(once, &ledger));
    catch_up(&mut follower, &mut ledger, once, &node.rpc).await;
    let status = follower.status();
    let said = ledger.words[0].block.number;
    assert_eq!(status.borrow().confirmations(said), Some(3));
    assert_eq!(status.borrow().confirmations(said + 4), None);
    eventually("the node answers", || async { node.rpc.head().await.is_ok() }).await;
}
