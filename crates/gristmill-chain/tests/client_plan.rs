//! The sender's planner against a model of a chain that does everything a chain may do: reorganise, forget, lag, take foreign
//! transactions, raise its price; and against a process that dies between any two steps.
//!
//! A failure prints its seed; `histories(&[seed])` runs it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use gristmill_chain::{
    follow::BlockRef,
    send::{
        IN_FLIGHT_MAX, Revert, SendConfig,
        entry::{Action, Attempt, Change, Entry, Inclusion, Passed, State},
        fees::Fees,
        plan::{self, Facts, Head, Hold, Step},
    },
};

const GAS: u64 = 50_000;
const FEE_CAP: u128 = 100_000;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

#[derive(Clone)]
struct Tx {
    hash: B256,
    nonce: u64,
    /// `None`: somebody else has used our key.
    action: Option<i64>,
    fees: Fees,
}

#[derive(Clone)]
struct Block {
    hash: B256,
    txs: Vec<(Tx, bool)>,
}

struct Chain {
    blocks: Vec<Block>,
    pool: BTreeMap<u64, Tx>,
    base_fee: u128,
    salt: u64,
    highest: u64,
}

/// Reorganisations in a row do not dig deeper than this below the highest block there ever was: less than the watch depth,
/// below which a sender promises nothing.
const REORG_DEPTH_MAX: u64 = 15;

#[derive(PartialEq)]
enum Answer {
    Taken,
    Underpriced,
    Other,
}

impl Chain {
    fn new() -> Self {
        let mut chain = Self { blocks: Vec::new(), pool: BTreeMap::new(), base_fee: 1_000, salt: 0, highest: 0 };
        chain.push(Vec::new());
        chain
    }

    fn push(&mut self, txs: Vec<(Tx, bool)>) {
        self.salt += 1;
        self.blocks.push(Block { hash: keccak256(self.salt.to_be_bytes()), txs });
        self.highest = self.highest.max(self.height());
    }

    fn height(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    fn nonce(&self) -> u64 {
        self.blocks.iter().map(|block| block.txs.len() as u64).sum()
    }

    fn has_effect(&self, action: i64) -> bool {
        self.included(action).any(|(_, succeeded)| succeeded)
    }

    fn included(&self, action: i64) -> impl Iterator<Item = (B256, bool)> + '_ {
        let txs = self.blocks.iter().flat_map(|block| &block.txs);
        txs.filter(move |(tx, _)| tx.action == Some(action)).map(|(tx, succeeded)| (tx.hash, *succeeded))
    }

    /// As a node sees it that is `lag` blocks behind.
    fn receipt(&self, hash: B256, lag: usize) -> Option<Inclusion> {
        let seen = self.blocks.len().saturating_sub(lag);
        self.blocks[..seen].iter().enumerate().find_map(|(number, block)| {
            let (_, succeeded) = block.txs.iter().find(|(tx, _)| tx.hash == hash)?;
            Some(Inclusion {
                transaction: hash,
                block: BlockRef { number: number as u64, hash: block.hash },
                succeeded: *succeeded,
                gas_used: GAS,
                gas_price_wei: 1,
            })
        })
    }

    fn send(&mut self, tx: Tx) -> Answer {
        if tx.nonce < self.nonce() {
            return Answer::Other;
        }
        match self.pool.get(&tx.nonce) {
            Some(there) if there.hash == tx.hash => Answer::Taken,
            Some(there) if !pays_a_tenth_more(tx.fees, there.fees) => Answer::Underpriced,
            _ => {
                self.pool.insert(tx.nonce, tx);
                Answer::Taken
            }
        }
    }

    fn mine(&mut self, most: u64, foreign: bool) {
        let mut txs = Vec::new();
        if foreign {
            let nonce = self.nonce();
            self.salt += 1;
            let hash = keccak256([b"foreign".as_slice(), &self.salt.to_be_bytes()].concat());
            txs.push((Tx { hash, nonce, action: None, fees: Fees { max_wei: 0, tip_wei: 0 } }, true));
        }
        let mut effects = BTreeSet::new();
        for nonce in self.nonce() + txs.len() as u64.. {
            let Some(tx) = self.pool.get(&nonce) else { break };
            if tx.fees.max_wei < self.base_fee || txs.len() as u64 >= most {
                break;
            }
            // The contract takes each action once.
            let succeeds = tx.action.is_some_and(|action| !self.has_effect(action) && effects.insert(action));
            txs.push((tx.clone(), succeeds));
        }
        self.push(txs);
        let nonce = self.nonce();
        self.pool.retain(|waiting, _| *waiting >= nonce);
    }

    fn reorganise(&mut self, depth: u64, foreign: bool, dice: &mut Dice) {
        for _ in 0..depth.min(self.height().saturating_sub(self.highest.saturating_sub(REORG_DEPTH_MAX))) {
            let block = self.blocks.pop().expect("not below genesis");
            for (tx, _) in block.txs {
                if tx.action.is_some() && dice.one_in(2) {
                    self.pool.entry(tx.nonce).or_insert(tx);
                }
            }
        }
        for _ in 0..dice.below(depth + 2) {
            let (most, foreign) = (dice.below(4), foreign && dice.one_in(6));
            self.mine(most, foreign);
        }
    }
}

fn pays_a_tenth_more(new: Fees, old: Fees) -> bool {
    new.max_wei * 10 >= old.max_wei * 11 && new.tip_wei * 10 >= old.tip_wei * 11
}

/// What survives a crash (`entries`), and what does not.
struct Process {
    entries: Vec<Entry>,
    sent_at_ms: BTreeMap<B256, u64>,
    underpriced: BTreeSet<B256>,
    gap_since_ms: Option<u64>,
    settled_at: Option<(u64, B256)>,
    config: SendConfig,
    now_ms: u64,
    next_id: i64,
    /// By action, the newest news: confirmed or failed with a transaction, or refused.
    told: BTreeMap<i64, Option<Inclusion>>,
    foreign: bool,
    /// When a node that does not lag was last asked.
    good_at_ms: u64,
}

impl Process {
    fn enqueue(&mut self) -> i64 {
        self.next_id += 1;
        let id = self.next_id;
        let action = Action::call(format!("action {id}"), Address::ZERO, Bytes::new()).gas_limit(GAS);
        self.entries.push(Entry { id, action, state: State::Queued, attempts: Vec::new() });
        id
    }

    fn crash(&mut self) {
        self.sent_at_ms.clear();
        self.underpriced.clear();
        self.gap_since_ms = None;
        self.settled_at = None;
    }

    fn entry(&mut self, id: i64) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.id == id).expect("rows are never deleted")
    }

    fn record(&mut self, id: i64, change: &Change) {
        match change {
            Change::Settled { inclusion, .. } => drop(self.told.insert(id, Some(*inclusion))),
            Change::Vanished if matches!(self.entry(id).state, State::Settled { .. }) => drop(self.told.remove(&id)),
            Change::Refused(_) => drop(self.told.insert(id, None)),
            Change::NonceTaken => assert!(self.foreign, "nobody else has used our key"),
            _ => {}
        }
        self.entry(id).apply(change);
    }

    fn live(&self) -> Vec<Entry> {
        let live = self.entries.iter().filter(|entry| !matches!(entry.state, State::Buried | State::Refused));
        live.cloned().collect()
    }

    fn facts(&mut self, chain: &Chain, live: &[Entry], lag: usize) -> Facts {
        let head = chain.blocks.last().expect("genesis");
        let grown = self
            .settled_at
            .is_some_and(|(number, hash)| chain.blocks.get(number as usize).is_some_and(|block| block.hash == hash));
        let asked = plan::transactions_to_ask_for(live, grown, chain.height(), &self.config);
        let receipts = asked.into_iter().map(|hash| (hash, chain.receipt(hash, lag))).collect();
        let seen = chain.blocks.len().saturating_sub(lag);
        let blocks = plan::blocks_to_ask_for(live, &receipts)
            .into_iter()
            .filter_map(|number| Some((number, chain.blocks[..seen].get(number as usize)?.hash)))
            .collect();
        let gap = plan::has_gap(live, chain.nonce());
        self.gap_since_ms = gap.then(|| self.gap_since_ms.unwrap_or(self.now_ms));
        Facts {
            account: Address::ZERO,
            head: Head { number: chain.height(), hash: head.hash, base_fee_wei: chain.base_fee, gas_limit: 30_000_000 },
            nonce: chain.nonce(),
            balance: U256::MAX,
            spent_wei: U256::ZERO,
            tip_wei: 10,
            receipts,
            blocks,
            sent_at_ms: self.sent_at_ms.clone(),
            underpriced: self.underpriced.clone(),
            gap_since_ms: self.gap_since_ms,
            postponed: BTreeSet::new(),
        }
    }

    /// One round; dies after `steps_max` steps, or in the middle of one.
    fn round(&mut self, chain: &mut Chain, lag: usize, steps_max: u64, dice: &mut Dice) {
        let mut steps_left = steps_max;
        let live = self.live();
        let facts = self.facts(chain, &live, lag);
        for turn in 0.. {
            assert!(turn < 10, "the same facts must not have news for ever");
            let live = self.live();
            let plan = plan::plan(&live, &facts, &self.config, self.now_ms);
            self.check_plan(&live, &facts, &plan);
            let bookkeeping = plan.is_bookkeeping();
            for step in plan.steps {
                if steps_left == 0 {
                    return self.crash();
                }
                steps_left -= 1;
                if !self.take(step, chain, steps_left == 0 && dice.one_in(2)) {
                    return;
                }
            }
            if !bookkeeping {
                let conclusive = plan::is_conclusive(&self.live(), &facts);
                self.settled_at = conclusive.then_some((facts.head.number, facts.head.hash));
                return;
            }
        }
    }

    fn check_plan(&self, live: &[Entry], facts: &Facts, plan: &plan::Plan) {
        let mut used: BTreeSet<u64> = live.iter().filter_map(Entry::nonce).collect();
        let mut pending = live.iter().filter(|entry| matches!(entry.state, State::Pending { .. })).count();
        for step in &plan.steps {
            match step {
                Step::Start { nonce, fees, .. } => {
                    assert!(*nonce >= facts.nonce, "a used nonce");
                    assert!(used.insert(*nonce), "nonce {nonce} given away twice");
                    assert!(fees.max_wei <= FEE_CAP);
                    pending += 1;
                    let room = IN_FLIGHT_MAX.max(usize::from(plan::has_gap(live, facts.nonce)));
                    assert!(pending <= room || *nonce == facts.nonce, "too many in flight");
                }
                Step::Bump { id, nonce, fees, .. } => {
                    let entry = live.iter().find(|entry| entry.id == *id).unwrap();
                    let old = entry.newest_attempt().unwrap().fees;
                    assert_eq!(entry.nonce(), Some(*nonce));
                    assert!(pays_a_tenth_more(*fees, old) && fees.max_wei <= FEE_CAP);
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, step: Step, chain: &mut Chain, dies_before_sending: bool) -> bool {
        match step {
            Step::Record { id, change } => self.record(id, &change),
            Step::Settle { id, inclusion } => self.record(id, &Change::Settled { inclusion, revert: None }),
            Step::Send { id, transaction } => {
                let attempt = self.entry(id).attempts.iter().find(|attempt| attempt.hash == transaction);
                let attempt = attempt.expect("planned").clone();
                self.send(id, &attempt, chain);
            }
            Step::Bump { id, nonce, fees, gas_limit } => {
                assert_eq!(gas_limit, GAS);
                self.sign(id, nonce, fees, chain, dies_before_sending);
            }
            Step::Start { id, nonce, fees, .. } => {
                if chain.has_effect(id) {
                    self.record(id, &Change::Refused(Revert::without_data("done already")));
                    return false;
                }
                self.sign(id, nonce, fees, chain, dies_before_sending);
            }
            Step::Fill { .. } => drop(self.enqueue()),
        }
        true
    }

    fn sign(&mut self, id: i64, nonce: u64, fees: Fees, chain: &mut Chain, dies_before_sending: bool) {
        let hash = keccak256(format!("{id} {nonce} {fees:?}"));
        let attempt = Attempt { hash, nonce, raw: Bytes::new(), fees, gas_limit: GAS, signed_at_ms: self.now_ms };
        self.record(id, &Change::Signed(attempt.clone()));
        if dies_before_sending {
            return self.crash();
        }
        self.send(id, &attempt, chain);
    }

    fn send(&mut self, id: i64, attempt: &Attempt, chain: &mut Chain) {
        let tx = Tx { hash: attempt.hash, nonce: attempt.nonce, action: Some(id), fees: attempt.fees };
        if chain.send(tx) == Answer::Underpriced {
            self.underpriced.insert(attempt.hash);
        }
        self.sent_at_ms.insert(attempt.hash, self.now_ms);
    }
}

#[derive(Clone, Copy)]
struct Faults {
    foreign: bool,
    reorganisations: bool,
    crashes: bool,
}

/// One random life of an outbox, and then peace until it is done.
fn history(seed: u64, faults: Faults) {
    let mut dice = Dice(seed);
    let config = SendConfig {
        confirmations: dice.below(4),
        fee_per_gas_wei_max: FEE_CAP,
        lag_patience: Duration::from_secs(8),
        bump_after: Duration::from_secs(10),
        resend_after: Duration::from_secs(6),
        watch_depth: 20,
        ..SendConfig::default()
    };
    let mut chain = Chain::new();
    let mut process = Process {
        entries: Vec::new(),
        sent_at_ms: BTreeMap::new(),
        underpriced: BTreeSet::new(),
        gap_since_ms: None,
        settled_at: None,
        config,
        now_ms: 1_000_000,
        next_id: 0,
        told: BTreeMap::new(),
        foreign: faults.foreign,
        good_at_ms: 1_000_000,
    };
    let mut asked = Vec::new();
    for _ in 0..dice.below(120) {
        process.now_ms += dice.below(4_000);
        match dice.below(14) {
            0 | 1 => asked.push(process.enqueue()),
            2..=4 => {
                let most = dice.below(5);
                chain.mine(most, false);
            }
            5 if faults.foreign => chain.mine(3, true),
            6 if faults.reorganisations => {
                let depth = 1 + dice.below(6);
                chain.reorganise(depth, faults.foreign, &mut dice);
            }
            7 => chain.pool.clear(),
            8 => chain.base_fee = [500, 1_000, 3_000, 40_000, 2 * FEE_CAP][dice.below(5) as usize],
            _ => {
                // Lag outlasts the sender's patience only where a foreign transaction would too.
                let may_lag = process.now_ms < process.good_at_ms + 8_000;
                let lag = if may_lag && dice.one_in(4) { dice.below(3) as usize } else { 0 };
                let dies = faults.crashes && may_lag && dice.one_in(3);
                let steps_max = if dies { dice.below(4) } else { u64::MAX };
                if lag == 0 && !dies {
                    process.good_at_ms = process.now_ms;
                }
                process.round(&mut chain, lag, steps_max, &mut dice);
            }
        }
    }
    chain.base_fee = 1_000;
    for quiet in 0.. {
        if asked.iter().all(|id| is_done(&mut process, &chain, *id)) {
            break;
        }
        assert!(quiet < 500, "never done: {:#?}", process.entries);
        process.now_ms += 1_000;
        process.round(&mut chain, 0, u64::MAX, &mut dice);
        chain.mine(20, false);
    }
    for id in asked {
        let included: Vec<_> = chain.included(id).collect();
        assert!(chain.has_effect(id), "action {id} is lost");
        if !faults.foreign {
            assert_eq!(included.len(), 1, "action {id} was mined more than once: {included:?}");
        }
    }
}

/// Done as the caller sees it: the newest news is true.
fn is_done(process: &mut Process, chain: &Chain, id: i64) -> bool {
    let told = process.told.get(&id).copied();
    let refused = matches!(process.entry(id).state, State::Refused);
    match told {
        Some(None) if refused && !chain.has_effect(id) => {
            // What had been done already was reorganised away: the caller asks again.
            process.record(id, &Change::Retried);
            process.told.remove(&id);
            false
        }
        Some(None) => refused,
        Some(Some(inclusion)) => chain.receipt(inclusion.transaction, 0) == Some(inclusion) && chain.has_effect(id),
        None => false,
    }
}

fn histories(seeds: impl IntoIterator<Item = u64>, faults: Faults) {
    for seed in seeds {
        let lived = std::panic::catch_unwind(|| history(seed, faults));
        assert!(lived.is_ok(), "seed {seed} failed");
    }
}

#[test]
fn crashes_and_a_forgetful_node_double_nothing_and_lose_nothing() {
    histories(0..3_000, Faults { foreign: false, reorganisations: false, crashes: true });
}

#[test]
fn reorganisations_double_nothing_and_lose_nothing() {
    histories(10_000..14_000, Faults { foreign: false, reorganisations: true, crashes: true });
}

#[test]
fn foreign_transactions_cost_a_nonce_and_no_action() {
    histories(20_000..24_000, Faults { foreign: true, reorganisations: true, crashes: true });
}

fn entry(id: i64, state: State, attempts: Vec<Attempt>) -> Entry {
    let action = Action::call(format!("action {id}"), Address::ZERO, Bytes::new()).gas_limit(GAS);
    Entry { id, action, state, attempts }
}

fn attempt(nonce: u64, max_wei: u128) -> Attempt {
    let fees = Fees { max_wei, tip_wei: max_wei / 10 };
    let hash = keccak256(format!("{nonce} {max_wei}"));
    Attempt { hash, nonce, raw: Bytes::new(), fees, gas_limit: GAS, signed_at_ms: 1_000 }
}

fn calm() -> Facts {
    Facts {
        account: Address::ZERO,
        head: Head { number: 100, hash: B256::ZERO, base_fee_wei: 1_000, gas_limit: 30_000_000 },
        nonce: 5,
        balance: U256::from(u64::MAX),
        spent_wei: U256::ZERO,
        tip_wei: 10,
        receipts: BTreeMap::new(),
        blocks: BTreeMap::new(),
        sent_at_ms: BTreeMap::new(),
        underpriced: BTreeSet::new(),
        gap_since_ms: None,
        postponed: BTreeSet::new(),
    }
}

#[test]
fn only_the_next_nonce_is_paid_more_for() {
    let config = SendConfig::default();
    let (first, second) = (attempt(5, 3_000), attempt(6, 3_000));
    let mut facts = calm();
    facts.receipts = [(first.hash, None), (second.hash, None)].into();
    facts.sent_at_ms = [(first.hash, 90_000), (second.hash, 90_000)].into();
    let entries = [
        entry(1, State::Pending { nonce: 5, passed: None }, vec![first]),
        entry(2, State::Pending { nonce: 6, passed: None }, vec![second]),
    ];
    let plan = plan::plan(&entries, &facts, &config, 100_000);
    let fees = Fees { max_wei: 3_375, tip_wei: 338 };
    assert_eq!(plan.steps, vec![Step::Bump { id: 1, nonce: 5, fees, gas_limit: GAS }]);
}

#[test]
fn an_empty_account_and_a_high_price_are_said_and_waited_for() {
    let queued = entry(1, State::Queued, Vec::new());
    let mut facts = calm();
    facts.head.base_fee_wei = 300_000_000_000;
    let plan = plan::plan(std::slice::from_ref(&queued), &facts, &SendConfig::default(), 0);
    assert!(plan.steps.is_empty());
    let hold = plan.hold.expect("it waits for a reason");
    assert!(matches!(hold, Hold::FeeCap { .. }) && hold.to_string().contains("hint: "), "{hold}");

    let stuck = attempt(5, 3_000);
    let mut facts = calm();
    facts.balance = U256::from(1);
    facts.receipts = [(stuck.hash, None)].into();
    let pending = entry(1, State::Pending { nonce: 5, passed: None }, vec![stuck.clone()]);
    let plan = plan::plan(&[pending], &facts, &SendConfig::default(), 1_000_000);
    assert!(matches!(plan.hold, Some(Hold::Funds { .. })));
    assert_eq!(plan.steps, vec![Step::Send { id: 1, transaction: stuck.hash }], "the old price is still offered");
}

#[test]
fn what_is_committed_to_pending_transactions_is_not_spent_again() {
    let sent = attempt(5, 3_000);
    let mut facts = calm();
    facts.balance = U256::from(3_000 * GAS + 7);
    facts.receipts = [(sent.hash, None)].into();
    facts.sent_at_ms = [(sent.hash, 1_000)].into();
    let entries =
        [entry(1, State::Pending { nonce: 5, passed: None }, vec![sent]), entry(2, State::Queued, Vec::new())];
    let plan = plan::plan(&entries, &facts, &SendConfig::default(), 1_001);
    let [Step::Start { id: 2, nonce: 6, spendable_wei, .. }] = plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!(spendable_wei, U256::from(7));
}

#[test]
fn no_more_than_the_limit_is_in_flight() {
    let queued: Vec<_> = (1..=40).map(|id| entry(id, State::Queued, Vec::new())).collect();
    let plan = plan::plan(&queued, &calm(), &SendConfig::default(), 0);
    assert_eq!(plan.steps.len(), IN_FLIGHT_MAX);
}

#[test]
fn actions_wait_for_their_block_and_time() {
    let mut early = entry(1, State::Queued, Vec::new());
    early.action.not_before_block = 101;
    let mut late = entry(2, State::Queued, Vec::new());
    late.action.not_before_ms = 51;
    let entries = [early, late];
    assert!(plan::plan(&entries, &calm(), &SendConfig::default(), 50).steps.is_empty());
    let mut facts = calm();
    facts.head.number = 101;
    assert_eq!(plan::plan(&entries, &facts, &SendConfig::default(), 51).steps.len(), 2);
}

fn inclusion(transaction: B256, number: u64) -> Inclusion {
    let block = BlockRef { number, hash: B256::repeat_byte(7) };
    Inclusion { transaction, block, succeeded: true, gas_used: GAS, gas_price_wei: 1 }
}

#[test]
fn a_nonce_is_given_up_only_after_patience_and_confirmations() {
    let config = SendConfig { confirmations: 3, lag_patience: Duration::from_millis(500), ..SendConfig::default() };
    let ours = attempt(5, 3_000);
    let news = |head: u64, now_ms: u64| {
        let mut facts = calm();
        facts.nonce = 6;
        facts.head.number = head;
        facts.receipts = [(ours.hash, None)].into();
        let passed = Some(Passed { head: 100, at_ms: 10_000 });
        let pending = entry(1, State::Pending { nonce: 5, passed }, vec![ours.clone()]);
        plan::plan(&[pending], &facts, &config, now_ms).steps
    };
    assert!(news(102, 99_000).is_empty(), "two confirmations are not three");
    assert!(news(103, 10_499).is_empty(), "nodes may lag for half a second");
    assert_eq!(news(103, 10_500), vec![Step::Record { id: 1, change: Change::NonceTaken }]);
}

#[test]
fn a_missing_receipt_means_a_reorganisation_only_if_the_block_is_gone() {
    let ours = attempt(4, 3_000);
    let news = |mined_in: u64, there: Option<B256>| {
        let inclusion = inclusion(ours.hash, mined_in);
        let mut facts = calm();
        facts.receipts = [(ours.hash, None)].into();
        facts.blocks = there.map(|hash| (mined_in, hash)).into_iter().collect();
        let states = [State::Mined { nonce: 4, inclusion }, State::Settled { nonce: 4, inclusion }];
        states.map(|state| {
            let steps = plan::plan(&[entry(1, state, vec![ours.clone()])], &facts, &SendConfig::default(), 0).steps;
            steps == vec![Step::Record { id: 1, change: Change::Vanished }]
        })
    };
    assert_eq!(news(90, Some(B256::repeat_byte(7))), [false, false], "the node has the block, so the receipt is late");
    assert_eq!(news(90, None), [false, false], "the node has not got so far");
    assert_eq!(news(90, Some(B256::repeat_byte(8))), [true, true], "another block is in its place");
    assert_eq!(news(101, None), [true, true], "the chain has become shorter");
}

#[test]
fn nothing_new_is_begun_once_an_hours_budget_is_spent() {
    let budget_wei = U256::from(1_000_000);
    let config = SendConfig { budget_wei_per_hour: Some(budget_wei), ..SendConfig::default() };
    let entries = [entry(1, State::Queued, vec![])];
    let mut facts = calm();
    facts.spent_wei = budget_wei - U256::ONE;
    let begins = |plan: &plan::Plan| plan.steps.iter().any(|step| matches!(step, Step::Start { .. }));
    assert!(begins(&plan::plan(&entries, &facts, &config, 100_000)));
    facts.spent_wei = budget_wei;
    let held = plan::plan(&entries, &facts, &config, 100_000);
    assert!(!begins(&held));
    assert!(matches!(held.hold, Some(Hold::Budget { .. })), "{held:?}");
    let unbounded = SendConfig { budget_wei_per_hour: None, ..config };
    assert!(begins(&plan::plan(&entries, &facts, &unbounded, 100_000)));
}
