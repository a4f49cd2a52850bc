//! The sender on real chains: every action happens once, whatever happens to the sender, the node and the chain.

mod client_support;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolError},
};
use client_support::{
    DEADLINE, Dice, eventually,
    node::{Kind, Node},
    once::Once,
    proxy::{Proxy, Verdict},
};
use gristmill_chain::{
    backoff::BackoffPolicy,
    contracts::Market,
    rpc::Rpc,
    send::{
        Action, Hold, Outcome, OutcomeStatus, SendConfig, SendError, Sender, SenderHandle,
        entry::State,
        outbox::{self, OutboxError},
    },
};
use rusqlite::Connection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The account that sends.
const SENDER: usize = 1;

fn config() -> SendConfig {
    SendConfig {
        confirmations: 0,
        poll_interval: Duration::from_millis(10),
        bump_after: Duration::from_secs(600),
        resend_after: Duration::from_millis(300),
        lag_patience: Duration::from_millis(300),
        backoff: BackoffPolicy { first: Duration::from_millis(5), max: Duration::from_millis(50), seed: 1 },
        ..SendConfig::default()
    }
}

/// A caller with a database of its own.
struct Desk {
    _dir: tempfile::TempDir,
    path: PathBuf,
    database: Connection,
    once: Once,
    config: SendConfig,
    key: PrivateKeySigner,
}

struct Running {
    handle: SenderHandle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), SendError>>,
}

impl Running {
    /// As `kill -9` would: no more steps, no clean-up.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Desk {
    async fn new(node: &Node, config: SendConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("oracle.sqlite");
        let database = Connection::open(&path).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        outbox::migrate(&database).unwrap();
        let once = Once::deploy(node).await;
        Self { _dir: dir, path, database, once, config, key: Node::key(SENDER) }
    }

    async fn open(&self, rpc: Rpc) -> Result<Sender, SendError> {
        let connection = Connection::open(&self.path).unwrap();
        Sender::open(rpc, self.key.clone(), connection, self.config.clone()).await
    }

    async fn run(&self, rpc: Rpc) -> Running {
        let sender = self.open(rpc).await.unwrap();
        let handle = sender.handle();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(sender.run(shutdown.clone()));
        Running { handle, shutdown, task }
    }

    fn enqueue(&mut self, action: &Action) -> bool {
        let transaction = self.database.transaction().unwrap();
        let new = outbox::enqueue(&transaction, action).unwrap();
        transaction.commit().unwrap();
        new
    }

    /// "say WORD", once.
    fn say(&mut self, word: u64) {
        let action = Action::call(format!("say {word}"), self.once.0, Once::calldata(word));
        self.enqueue(&action);
    }

    fn state(&self, key: &str) -> State {
        outbox::by_key(&self.database, key).unwrap().expect("enqueued").state
    }

    fn attempts(&self, key: &str) -> Vec<outbox_attempt::Shown> {
        let entry = outbox::by_key(&self.database, key).unwrap().expect("enqueued");
        entry.attempts.iter().map(outbox_attempt::Shown::of).collect()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        outbox::outcomes_after(&self.database, 0).unwrap()
    }

    fn statuses(&self, key: &str) -> Vec<OutcomeStatus> {
        self.outcomes().into_iter().filter(|outcome| outcome.key == key).map(|outcome| outcome.status).collect()
    }

    async fn until(&self, key: &str, statuses: &[OutcomeStatus]) -> Outcome {
        eventually(&format!("{key} is {statuses:?}"), || async { self.statuses(key) == statuses }).await;
        self.outcomes().into_iter().rfind(|outcome| outcome.key == key).unwrap()
    }

    async fn until_pending(&self, key: &str, attempts: usize) {
        eventually(&format!("{key} is signed {attempts} times"), || async {
            matches!(self.state(key), State::Pending { .. }) && self.attempts(key).len() >= attempts
        })
        .await;
    }
}

mod outbox_attempt {
    use alloy::primitives::B256;
    use gristmill_chain::send::entry::Attempt;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Shown {
        pub(crate) hash: B256,
        pub(crate) nonce: u64,
        pub(crate) max_wei: u128,
        pub(crate) tip_wei: u128,
    }

    impl Shown {
        pub(crate) fn of(attempt: &Attempt) -> Self {
            let (max_wei, tip_wei) = (attempt.fees.max_wei, attempt.fees.tip_wei);
            Self { hash: attempt.hash, nonce: attempt.nonce, max_wei, tip_wei }
        }
    }
}

use OutcomeStatus::{Confirmed, Dropped, Failed, Refused};

async fn actions_are_done_once(kind: Kind) {
    let node = Node::start(kind).await;
    let mut desk = Desk::new(&node, config()).await;
    for word in 1..=40 {
        desk.say(word);
        desk.say(word);
    }
    let running = desk.run(node.rpc.clone()).await;
    assert_eq!(running.handle.account(), desk.key.address());
    let mut news = running.handle.outcomes();
    while desk.outcomes().len() < 40 {
        tokio::time::timeout(DEADLINE, news.changed()).await.expect("news").unwrap();
    }
    let mut words: Vec<_> = desk.once.words(&node.rpc).await.iter().map(|said| said.word).collect();
    words.sort_unstable();
    assert_eq!(words, (1..=40).collect::<Vec<_>>());
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 40);
    for outcome in desk.outcomes() {
        let receipt = node.rpc.receipt(outcome.transaction.unwrap()).await.unwrap().unwrap();
        assert_eq!(outcome.status, Confirmed);
        assert_eq!(outcome.gas_used, Some(receipt.gas_used));
        let fee_wei = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
        assert_eq!(outcome.fee_wei, Some(fee_wei));
        assert_eq!(outcome.block.map(|block| block.hash), receipt.block_hash);
    }
    // A late second wish for the same thing.
    desk.say(7);
    running.handle.wake();
    desk.say(41);
    running.handle.wake();
    desk.until("say 41", &[Confirmed]).await;
    assert_eq!(desk.outcomes().len(), 41);
    running.stop().await;
}

#[tokio::test]
async fn actions_are_done_once_on_the_embedded_chain() {
    actions_are_done_once(Kind::Embedded).await;
}

#[tokio::test]
async fn actions_are_done_once_on_anvil() {
    actions_are_done_once(Kind::Anvil).await;
}

/// Between two journal writes there is always a call to the node, so dying at each call, before the node hears it and after,
/// is dying at each step.
async fn killed_at_any_call(node_hears_it: bool) {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    let mut word = 0;
    for fatal in 1.. {
        let proxy = Proxy::before(&node.url).await;
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        proxy.judge(move |_, _| match counter.fetch_add(1, Ordering::SeqCst) + 1 {
            call if call < fatal => Verdict::Forward,
            call if call == fatal && node_hears_it => Verdict::ForwardThenHang,
            _ => Verdict::Hang,
        });
        let keys = [word + 1, word + 2].map(|word| format!("say {word}"));
        desk.say(word + 1);
        desk.say(word + 2);
        word += 2;
        let life = async {
            let sender = desk.open(Rpc::connect(&proxy.url).unwrap()).await.unwrap();
            let shutdown = CancellationToken::new();
            let task = AbortOnDrop(tokio::spawn(sender.run(shutdown)));
            eventually("both are done", || async { keys.iter().all(|key| desk.statuses(key) == [Confirmed]) }).await;
            drop(task);
        };
        let died = tokio::select! {
            () = until(&calls, fatal) => true,
            () = life => false,
        };
        // The last forwarded call may still be on its way to the node.
        proxy.settle().await;
        let running = desk.run(node.rpc.clone()).await;
        for key in &keys {
            desk.until(key, &[Confirmed]).await;
        }
        running.kill().await;
        if !died {
            assert!(fatal > 15, "only {fatal} calls in a whole life");
            break;
        }
    }
    let words: Vec<_> = desk.once.words(&node.rpc).await.iter().map(|said| said.word).collect();
    assert_eq!(words.len() as u64, word, "each word once");
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), word, "and no transaction in vain");
}

/// A task that does not outlive the future it was started in.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn a_sender_killed_before_any_call_doubles_nothing_and_loses_nothing() {
    killed_at_any_call(false).await;
}

#[tokio::test]
async fn a_sender_killed_after_any_call_doubles_nothing_and_loses_nothing() {
    killed_at_any_call(true).await;
}

async fn until(calls: &AtomicU64, fatal: u64) {
    while calls.load(Ordering::SeqCst) < fatal {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn a_stuck_transaction_is_replaced(kind: Kind) {
    let node = Node::start(kind).await;
    let config = SendConfig { bump_after: Duration::from_millis(100), ..config() };
    let mut desk = Desk::new(&node, config).await;
    node.set_automine(false).await;
    desk.say(1);
    desk.say(2);
    let running = desk.run(node.rpc.clone()).await;
    desk.until_pending("say 1", 4).await;
    let attempts = desk.attempts("say 1");
    for pair in attempts.windows(2) {
        assert_eq!(pair[0].nonce, pair[1].nonce);
        assert!(pair[1].max_wei * 1_000 >= pair[0].max_wei * 1_125, "{pair:?}");
        assert!(pair[1].tip_wei * 1_000 >= pair[0].tip_wei * 1_125, "{pair:?}");
    }
    assert_eq!(desk.attempts("say 2").len(), 1, "behind the stuck one a better price buys nothing");
    eventually("both are mined", || async {
        node.mine(1).await;
        desk.outcomes().len() == 2
    })
    .await;
    assert_eq!(desk.statuses("say 1"), [Confirmed]);
    assert_eq!(desk.once.words(&node.rpc).await.len(), 2);
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_on_the_embedded_chain() {
    a_stuck_transaction_is_replaced(Kind::Embedded).await;
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_on_anvil() {
    a_stuck_transaction_is_replaced(Kind::Anvil).await;
}

#[tokio::test]
async fn replacements_stop_at_the_fee_cap() {
    let node = Node::start(Kind::Embedded).await;
    let cap = 8_000_000_000;
    let config = SendConfig { bump_after: Duration::from_millis(20), fee_per_gas_wei_max: cap, ..config() };
    let mut desk = Desk::new(&node, config).await;
    node.set_automine(false).await;
    desk.say(1);
    let running = desk.run(node.rpc.clone()).await;
    let status = running.handle.status();
    eventually("it says that it waits", || async { matches!(status.borrow().hold, Some(Hold::FeeCap { .. })) }).await;
    assert!(desk.attempts("say 1").iter().all(|attempt| attempt.max_wei <= cap));
    node.mine(1).await;
    desk.until("say 1", &[Confirmed]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_forgotten_transaction_is_sent_again() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    node.set_automine(false).await;
    desk.say(1);
    let running = desk.run(node.rpc.clone()).await;
    desk.until_pending("say 1", 1).await;
    let sent = desk.attempts("say 1")[0].hash;
    let pooled = || async { node.raw("txpool_status", serde_json::json!([])).await["pending"] == "0x1" };
    eventually("the node has it", pooled).await;
    node.forget(sent).await;
    eventually("the node has it again", pooled).await;
    node.mine(1).await;
    let outcome = desk.until("say 1", &[Confirmed]).await;
    assert_eq!(outcome.transaction, Some(sent), "the same bytes");
    running.stop().await;
}

#[tokio::test]
async fn a_node_that_restarts_empty_handed_gets_everything_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::in_folder(dir.path()).await;
    let address = node.url.trim_start_matches("http://").parse().unwrap();
    let mut desk = Desk::new(&node, config()).await;
    node.set_automine(false).await;
    (1..=3).for_each(|word| desk.say(word));
    let running = desk.run(node.rpc.clone()).await;
    desk.until_pending("say 3", 1).await;
    let attempts: Vec<_> = (1..=3).map(|word| desk.attempts(&format!("say {word}"))[0].hash).collect();
    for transaction in &attempts {
        let known = || async {
            let asked = serde_json::json!([transaction]);
            !node.raw("eth_getTransactionByHash", asked).await.is_null()
        };
        eventually("the node has it", known).await;
        node.forget(*transaction).await;
    }
    node.stop().await;
    let config =
        gristmill_chain::dev::Config { listen: address, data_dir: Some(dir.path().to_owned()), ..Default::default() };
    let status = running.handle.status();
    eventually("the outage is told", || async { status.borrow().outage.is_some() }).await;
    let node = Node::embedded(config).await;
    node.set_automine(true).await;
    for word in 1..=3 {
        desk.until(&format!("say {word}"), &[Confirmed]).await;
    }
    eventually("the outage is over", || async { status.borrow().outage.is_none() }).await;
    assert_eq!(desk.once.words(&node.rpc).await.len(), 3);
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 3);
    running.stop().await;
}

async fn a_nonce_taken_by_somebody_else_costs_nothing_but_time(kind: Kind) {
    let node = Node::start(kind).await;
    let mut desk = Desk::new(&node, config()).await;
    node.set_automine(false).await;
    desk.say(1);
    desk.say(2);
    let running = desk.run(node.rpc.clone()).await;
    desk.until_pending("say 2", 1).await;
    let ours = desk.attempts("say 1")[0];
    assert_eq!(ours.nonce, 0);
    let known = || async {
        let asked = serde_json::json!([ours.hash]);
        !node.raw("eth_getTransactionByHash", asked).await.is_null()
    };
    eventually("the node has ours", known).await;
    // The same key in another wallet, paying more.
    let foreign = TxKind::Call(Address::repeat_byte(7));
    node.transact(&desk.key, ours.nonce, foreign, Bytes::new(), 50_000_000_000).await;
    eventually("both are done", || async {
        node.mine(1).await;
        desk.outcomes().len() == 2
    })
    .await;
    assert_eq!(desk.statuses("say 1"), [Confirmed]);
    let nonces: Vec<_> = desk.attempts("say 1").iter().map(|attempt| attempt.nonce).collect();
    assert_eq!(nonces, [0, 2], "signed again, behind the other");
    assert_eq!(desk.attempts("say 2").len(), 1);
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 3);
    assert_eq!(desk.once.words(&node.rpc).await.len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_nonce_taken_by_somebody_else_on_the_embedded_chain() {
    a_nonce_taken_by_somebody_else_costs_nothing_but_time(Kind::Embedded).await;
}

#[tokio::test]
async fn a_nonce_taken_by_somebody_else_on_anvil() {
    a_nonce_taken_by_somebody_else_costs_nothing_but_time(Kind::Anvil).await;
}

async fn a_reorganisation_sends_it_again(kind: Kind) {
    let node = Node::start(kind).await;
    let config = SendConfig { confirmations: 2, ..config() };
    let mut desk = Desk::new(&node, config).await;
    desk.say(1);
    let running = desk.run(node.rpc.clone()).await;
    eventually("it is mined", || async { matches!(desk.state("say 1"), State::Mined { .. }) }).await;
    let State::Mined { inclusion: first, .. } = desk.state("say 1") else { panic!() };
    node.mine(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(desk.outcomes().is_empty(), "one block on top is not two");

    node.reorganise(2).await;
    eventually("it is in another block", || async {
        matches!(desk.state("say 1"), State::Mined { inclusion, .. } if inclusion.block != first.block)
    })
    .await;
    assert!(desk.outcomes().is_empty());
    node.mine(2).await;
    let outcome = desk.until("say 1", &[Confirmed]).await;
    assert_eq!(outcome.transaction, Some(first.transaction), "the same bytes");

    // Deeper than the confirmations: told, and repaired.
    node.reorganise(4).await;
    eventually("it is confirmed again", || async {
        node.mine(1).await;
        desk.statuses("say 1") == [Confirmed, Dropped, Confirmed]
    })
    .await;
    let outcome = desk.until("say 1", &[Confirmed, Dropped, Confirmed]).await;
    assert_eq!(outcome.transaction, Some(first.transaction));
    assert_eq!(desk.once.words(&node.rpc).await.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_reorganisation_sends_it_again_on_the_embedded_chain() {
    a_reorganisation_sends_it_again(Kind::Embedded).await;
}

#[tokio::test]
async fn a_reorganisation_sends_it_again_on_anvil() {
    a_reorganisation_sends_it_again(Kind::Anvil).await;
}

#[tokio::test]
async fn what_would_revert_is_refused_with_the_reason_and_not_sent() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    // A market without a token will do: the account is empty.
    let market = {
        let key = Node::key(8);
        let code = [Market::BYTECODE.as_ref(), B256::with_last_byte(1).as_slice()].concat();
        let deployed = key.address().create(0);
        let transaction = deploy(&node, &key, code.into()).await;
        node.mined(transaction).await;
        deployed
    };
    let calldata = Market::withdrawCall { amount: U256::from(5) }.abi_encode();
    desk.enqueue(&Action::call("withdraw", market, calldata));
    desk.once.say(&node, 0, 1).await;
    // With its own gas limit nothing is estimated, which would simulate it too.
    let said = Action::call("say 1", desk.once.0, Once::calldata(1)).gas_limit(100_000);
    desk.enqueue(&said);
    desk.say(2);
    let running = desk.run(node.rpc.clone()).await;
    let outcome = desk.until("withdraw", &[Refused]).await;
    let revert = outcome.revert.unwrap();
    let error = Market::AccountTooLow::abi_decode(&revert.data).unwrap();
    assert_eq!((error.account, error.needed), (desk.key.address(), U256::from(5)));
    assert!(revert.reason.contains("AccountTooLow"), "{}", revert.reason);
    let outcome = desk.until("say 1", &[Refused]).await;
    assert_eq!(outcome.revert.unwrap().reason, "reverted without a reason");
    desk.until("say 2", &[Confirmed]).await;
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 1, "refused actions cost nothing");
    assert!(desk.attempts("say 1").is_empty());

    // The chain changes its mind, and the caller asks again.
    node.reorganise(2).await;
    desk.until("say 2", &[Confirmed, Dropped, Confirmed]).await;
    let transaction = desk.database.transaction().unwrap();
    outbox::retry(&transaction, "say 1").unwrap();
    assert!(matches!(outbox::retry(&transaction, "say 2"), Err(OutboxError::StillUnderWay(_))));
    transaction.commit().unwrap();
    running.handle.wake();
    desk.until("say 1", &[Refused, Confirmed]).await;
    running.stop().await;
}

async fn deploy(node: &Node, key: &PrivateKeySigner, code: Bytes) -> B256 {
    use alloy::{
        consensus::{SignableTransaction, TxEip1559, TxEnvelope},
        eips::eip2718::Encodable2718,
        signers::SignerSync,
    };
    let transaction = TxEip1559 {
        chain_id: node.rpc.chain_id().await.unwrap(),
        nonce: 0,
        gas_limit: 8_000_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Create,
        input: code,
        ..Default::default()
    };
    let signature = key.sign_hash_sync(&transaction.signature_hash()).unwrap();
    let signed = TxEnvelope::from(transaction.into_signed(signature));
    node.rpc.send_raw(&signed.encoded_2718()).await.unwrap();
    *signed.tx_hash()
}

#[tokio::test]
async fn what_reverts_after_all_is_reported_with_gas_and_reason() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    node.set_automine(false).await;
    desk.say(1);
    // Passes the simulation too, because the first is not mined yet.
    let again = Action::call("say 1 again", desk.once.0, Once::calldata(1));
    desk.enqueue(&again);
    let running = desk.run(node.rpc.clone()).await;
    desk.until_pending("say 1 again", 1).await;
    eventually("both are mined", || async {
        node.mine(1).await;
        desk.outcomes().len() == 2
    })
    .await;
    assert_eq!(desk.statuses("say 1"), [Confirmed]);
    let outcome = desk.until("say 1 again", &[Failed]).await;
    assert!(outcome.gas_used.unwrap() > 21_000 && outcome.revert.is_some());
    assert!(!outcome.revert.unwrap().reason.is_empty());

    // Tried again at the caller's wish, it is refused before it costs anything.
    node.set_automine(true).await;
    let transaction = desk.database.transaction().unwrap();
    outbox::retry(&transaction, "say 1 again").unwrap();
    transaction.commit().unwrap();
    running.handle.wake();
    desk.until("say 1 again", &[Failed, Refused]).await;
    running.stop().await;
}

#[tokio::test]
async fn an_empty_account_is_told_and_goes_on_when_it_has_money() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    desk.key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).unwrap();
    desk.say(1);
    desk.say(2);
    let running = desk.run(node.rpc.clone()).await;
    let status = running.handle.status();
    eventually("it says what it needs", || async { matches!(status.borrow().hold, Some(Hold::Funds { .. })) }).await;
    let told = status.borrow().hold.clone().unwrap().to_string();
    assert!(told.contains(&desk.key.address().to_string()) && told.contains("hint: "), "{told}");
    assert!(desk.attempts("say 1").is_empty());
    node.set_balance(desk.key.address(), U256::from(10).pow(U256::from(18))).await;
    desk.until("say 1", &[Confirmed]).await;
    desk.until("say 2", &[Confirmed]).await;
    eventually("it waits no more", || async { status.borrow().hold.is_none() }).await;
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_paid_leaves_no_hole_in_the_nonces() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    desk.key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x43)).unwrap();
    let ether = U256::from(10).pow(U256::from(18));
    node.set_balance(desk.key.address(), ether).await;
    let dear = Action::call("dear", Address::repeat_byte(9), Bytes::new()).value(ether * U256::from(2));
    desk.enqueue(&dear);
    desk.say(1);
    let running = desk.run(node.rpc.clone()).await;
    let status = running.handle.status();
    eventually("it says what it needs", || async { matches!(status.borrow().hold, Some(Hold::Funds { .. })) }).await;
    assert!(desk.attempts("say 1").is_empty(), "its nonce would wait for one that nobody has");
    node.set_balance(desk.key.address(), ether * U256::from(3)).await;
    desk.until("dear", &[Confirmed]).await;
    desk.until("say 1", &[Confirmed]).await;
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 2);
    running.stop().await;
}

#[tokio::test]
async fn those_that_wait_for_a_block_starve_nobody() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    let head = node.rpc.head().await.unwrap().number;
    let transaction = desk.database.transaction().unwrap();
    for number in 0..300 {
        let action = Action::call(format!("later {number}"), desk.once.0, Once::calldata(1_000 + number));
        outbox::enqueue(&transaction, &action.not_before_block(head + 1_000)).unwrap();
    }
    transaction.commit().unwrap();
    let soon = Action::call("soon", desk.once.0, Once::calldata(1)).not_before_block(head + 1);
    desk.enqueue(&soon);
    desk.say(2);
    let running = desk.run(node.rpc.clone()).await;
    desk.until("say 2", &[Confirmed]).await;
    node.mine(1).await;
    desk.until("soon", &[Confirmed]).await;
    let status = running.handle.status();
    eventually("the others are counted", || async { status.borrow().queued == 300 }).await;
    running.stop().await;
}

#[tokio::test]
async fn an_action_that_the_node_cannot_stomach_holds_nobody_up() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    let proxy = Proxy::before(&node.url).await;
    let poison = Once::calldata(1);
    let word = alloy::primitives::hex::encode_prefixed(&poison);
    proxy.judge(move |method, params| {
        if method == "eth_call" && params.to_string().contains(&word) {
            return Verdict::Refuse(-32603, "internal error: node on fire");
        }
        Verdict::Forward
    });
    (1..=4).for_each(|word| desk.say(word));
    let running = desk.run(proxy.rpc()).await;
    for word in 2..=4 {
        desk.until(&format!("say {word}"), &[Confirmed]).await;
    }
    let status = running.handle.status();
    assert!(status.borrow().last_refusal.is_some() || desk.state("say 1") == State::Queued);
    proxy.behave();
    desk.until("say 1", &[Confirmed]).await;
    running.stop().await;
}

#[tokio::test]
async fn answers_that_lag_do_not_make_it_sign_twice() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    let proxy = Proxy::before(&node.url).await;
    let mut dice = Dice(1);
    // Receipts come late, nonces at once: it looks as if somebody else had used the nonce.
    proxy.judge(move |method, _| match method {
        "eth_getTransactionReceipt" if !dice.one_in(3) => Verdict::Answer(serde_json::Value::Null),
        _ => Verdict::Forward,
    });
    (1..=6).for_each(|word| desk.say(word));
    let running = desk.run(proxy.rpc()).await;
    for word in 1..=6 {
        desk.until(&format!("say {word}"), &[Confirmed]).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!((1..=6).all(|word| desk.statuses(&format!("say {word}")) == [Confirmed]));
    assert_eq!(node.rpc.nonce(desk.key.address()).await.unwrap(), 6);
    running.stop().await;
}

#[tokio::test]
async fn another_key_or_chain_is_refused() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    desk.open(node.rpc.clone()).await.unwrap();
    desk.key = Node::key(2);
    let error = desk.open(node.rpc.clone()).await.unwrap_err();
    assert!(matches!(error, SendError::Outbox(OutboxError::OtherAccount { .. })), "{error}");
    desk.key = Node::key(SENDER);
    let other = Node::embedded(gristmill_chain::dev::Config { chain_id: 4_711, ..Default::default() }).await;
    let error = desk.open(other.rpc.clone()).await.unwrap_err();
    assert!(matches!(error, SendError::Outbox(OutboxError::OtherChain { given: 4_711, .. })), "{error}");
    assert!(error.to_string().contains("hint: "), "{error}");
}

#[tokio::test]
async fn an_action_lives_and_dies_with_the_transaction_that_asked_for_it() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    let transaction = desk.database.transaction().unwrap();
    assert!(outbox::enqueue(&transaction, &Action::call("lost", desk.once.0, Once::calldata(1))).unwrap());
    transaction.rollback().unwrap();
    let action = Action::call("kept", desk.once.0, Once::calldata(2));
    assert!(desk.enqueue(&action));
    assert!(!desk.enqueue(&action));
    let transaction = desk.database.transaction().unwrap();
    let other = Action::call("kept", desk.once.0, Once::calldata(3));
    assert!(matches!(outbox::enqueue(&transaction, &other), Err(OutboxError::KeyReused { .. })));
    let long = Action::call("long", desk.once.0, vec![0; outbox::CALLDATA_BYTES_MAX + 1]);
    assert!(matches!(outbox::enqueue(&transaction, &long), Err(OutboxError::CalldataTooLong { .. })));
    let name = Action::call("k".repeat(outbox::KEY_BYTES_MAX + 1), desk.once.0, Bytes::new());
    assert!(matches!(outbox::enqueue(&transaction, &name), Err(OutboxError::BadKey { .. })));
    assert!(outbox::enqueue(&transaction, &Action::call("unwanted", desk.once.0, Once::calldata(4))).unwrap());
    assert!(outbox::withdraw(&transaction, "unwanted").unwrap());
    transaction.commit().unwrap();
    let running = desk.run(node.rpc.clone()).await;
    desk.until("kept", &[Confirmed]).await;
    let transaction = desk.database.transaction().unwrap();
    assert!(!outbox::withdraw(&transaction, "kept").unwrap(), "too late");
    transaction.commit().unwrap();
    assert_eq!(desk.once.words(&node.rpc).await.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn actions_wait_for_their_block() {
    let node = Node::start(Kind::Embedded).await;
    let mut desk = Desk::new(&node, config()).await;
    let head = node.rpc.head().await.unwrap().number;
    let action = Action::call("later", desk.once.0, Once::calldata(1)).not_before_block(head + 2);
    desk.enqueue(&action);
    let running = desk.run(node.rpc.clone()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(desk.state("later"), State::Queued);
    node.mine(2).await;
    desk.until("later", &[Confirmed]).await;
    running.stop().await;
}
