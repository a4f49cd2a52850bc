//! What to do next, as a pure function of rows, facts and time.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, U256};

use super::{
    ATTEMPTS_MAX, SendConfig,
    entry::{Change, Entry, Inclusion, Passed, State},
    fees::Fees,
};

/// The head a round of questions started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub number: u64,
    pub hash: B256,
    pub base_fee_wei: u128,
    pub gas_limit: u64,
}

/// What the chain said in one round, and what this process remembers of earlier ones.
///
/// The nonce is asked *before* the receipts: a nonce that has passed ours and a receipt that is missing then cannot be the
/// two sides of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub account: Address,
    pub head: Head,
    /// The account's transactions in blocks.
    pub nonce: u64,
    pub balance: U256,
    /// What transactions of the last hour have cost, or may still cost.
    pub spent_wei: U256,
    pub tip_wei: u128,
    /// One for each transaction of [`transactions_to_ask_for`]; `None`: the node knows no receipt. Where nothing was asked,
    /// nothing has changed.
    pub receipts: BTreeMap<B256, Option<Inclusion>>,
    /// Hashes of the blocks of [`blocks_to_ask_for`], where the node has one at that height.
    pub blocks: BTreeMap<u64, B256>,
    /// When this process last sent a transaction. Empty after a restart: then all are sent again.
    pub sent_at_ms: BTreeMap<B256, u64>,
    /// Transactions that the node called underpriced.
    pub underpriced: BTreeSet<B256>,
    /// Since when no live transaction of ours has had the account's next nonce, though later ones are waiting.
    pub gap_since_ms: Option<u64>,
    /// Actions that the node could not simulate; they are passed over for a while.
    pub postponed: BTreeSet<i64>,
}

/// One thing for the shell to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the change down.
    Record { id: i64, change: Change },
    /// Write down that the action is confirmed or has failed; for a failure find out why first.
    Settle { id: i64, inclusion: Inclusion },
    /// Hand these journaled bytes to the node, again or for the first time.
    Send { id: i64, transaction: B256 },
    /// Sign the same call with the same nonce at a better price, journal it, send it.
    Bump { id: i64, nonce: u64, fees: Fees, gas_limit: u64 },
    /// Simulate; then sign with this nonce, journal, send. `spendable_wei` is what the transaction may cost at most.
    Start { id: i64, nonce: u64, fees: Fees, spendable_wei: U256 },
    /// Enqueue an empty transaction to ourselves: nothing else will ever use this nonce, and others wait behind it.
    Fill { nonce: u64 },
}

/// Why actions wait although the node answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hold {
    #[error(
        "account {account} has {have_wei} wei left to spend, and the next transaction may cost {need_wei}\n\n\
         hint: send ether to that account; nothing is lost meanwhile, and it goes on by itself"
    )]
    Funds { account: Address, have_wei: U256, need_wei: U256 },
    #[error(
        "gas now costs {need_wei} wei per unit, above the cap of {cap_wei}\n\n\
         hint: wait, or raise the cap; nothing is lost meanwhile"
    )]
    FeeCap { need_wei: u128, cap_wei: u128 },
    #[error(
        "transactions have cost {spent_wei} wei in an hour, and {budget_wei} are allowed\n\n\
         hint: wait, or raise the budget; nothing is lost meanwhile"
    )]
    Budget { spent_wei: U256, budget_wei: U256 },
}

/// The steps in the order to be done, and what keeps the rest from starting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub hold: Option<Hold>,
}

impl Plan {
    /// Whether it only writes down what has happened; the same facts then have more to say.
    #[must_use]
    pub fn is_bookkeeping(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Record { .. } | Step::Settle { .. }))
    }
}

/// Every transaction that could still be, or still not be, in the chain.
///
/// `grown`: the chain has only grown since a round that was [conclusive](is_conclusive). What was settled then still is, and
/// on a busy account that is most rows; they are asked for once more before they are buried.
#[must_use]
pub fn transactions_to_ask_for(entries: &[Entry], grown: bool, head: u64, config: &SendConfig) -> Vec<B256> {
    let live = entries.iter().filter(|entry| match entry.state {
        State::Queued | State::Pending { .. } | State::Mined { .. } => true,
        State::Settled { inclusion, .. } => !grown || is_deep(inclusion, head, config),
        State::Buried | State::Refused => false,
    });
    live.flat_map(|entry| entry.attempts.iter().map(|attempt| attempt.hash)).collect()
}

fn is_deep(inclusion: Inclusion, head: u64, config: &SendConfig) -> bool {
    let depth = head.checked_sub(inclusion.block.number);
    depth >= Some(config.confirmations.saturating_add(config.watch_depth))
}

/// Whether the answers left no doubt about what was settled before: a lagging node knows neither the receipt nor a block in
/// its place. `entries` are the rows after the round.
#[must_use]
pub fn is_conclusive(entries: &[Entry], facts: &Facts) -> bool {
    entries.iter().all(|entry| match entry.state {
        State::Settled { inclusion, .. } => facts.receipts.get(&inclusion.transaction) != Some(&None),
        _ => true,
    })
}

/// Blocks in which we believe transactions whose receipt is not there: is the node lagging, or the block gone?
#[must_use]
pub fn blocks_to_ask_for(entries: &[Entry], receipts: &BTreeMap<B256, Option<Inclusion>>) -> BTreeSet<u64> {
    let believed = entries.iter().filter_map(Entry::inclusion);
    believed
        .filter(|inclusion| !is_there(receipts, inclusion.transaction))
        .map(|inclusion| inclusion.block.number)
        .collect()
}

fn is_there(receipts: &BTreeMap<B256, Option<Inclusion>>, transaction: B256) -> bool {
    matches!(receipts.get(&transaction), Some(Some(_)))
}

/// Whether later transactions wait for a nonce that no live one of ours has.
#[must_use]
pub fn has_gap(entries: &[Entry], nonce: u64) -> bool {
    let mut lowest_pending = None;
    for entry in entries {
        if entry.nonce() == Some(nonce) {
            return false;
        }
        if let State::Pending { nonce, .. } = entry.state {
            lowest_pending = Some(lowest_pending.map_or(nonce, |lowest: u64| lowest.min(nonce)));
        }
    }
    lowest_pending.is_some_and(|lowest| lowest > nonce)
}

/// Decides one round. `entries` are all rows that are not buried or refused, oldest first.
///
/// Rows are settled before new transactions start: while a row needs writing, the plan holds nothing but writing, and the
/// shell asks again with the same facts.
#[must_use]
pub fn plan(entries: &[Entry], facts: &Facts, config: &SendConfig, now_ms: u64) -> Plan {
    let round = Round { entries, facts, config, now_ms, market: Fees::market(facts.head.base_fee_wei, facts.tip_wei) };
    let records: Vec<Step> = entries.iter().filter_map(|entry| round.record(entry)).collect();
    if !records.is_empty() {
        return Plan { steps: records, hold: None };
    }
    let mut plan = Plan::default();
    for entry in entries {
        round.keep_going(entry, &mut plan);
    }
    round.start(&mut plan);
    plan
}

struct Round<'a> {
    entries: &'a [Entry],
    facts: &'a Facts,
    config: &'a SendConfig,
    now_ms: u64,
    market: Fees,
}

impl Round<'_> {
    /// What the facts say about a row, if that is news.
    fn record(&self, entry: &Entry) -> Option<Step> {
        let id = entry.id;
        if let State::Settled { inclusion, .. } = entry.state
            && !self.facts.receipts.contains_key(&inclusion.transaction)
        {
            return None;
        }
        let found = self.found(entry);
        let change = match (entry.state, found) {
            (State::Queued, Some(inclusion)) => return Some(self.revive(entry, inclusion)),
            (State::Pending { .. }, Some(inclusion)) => Change::Mined(inclusion),
            (State::Pending { nonce, passed }, None) => self.nonce_news(nonce, passed)?,
            (State::Mined { inclusion, .. } | State::Settled { inclusion, .. }, None) => {
                self.is_gone(inclusion).then_some(Change::Vanished)?
            }
            (State::Mined { inclusion, .. } | State::Settled { inclusion, .. }, Some(found)) if found != inclusion => {
                Change::Mined(found)
            }
            (State::Mined { inclusion, .. }, Some(_)) => {
                let deep = self.depth(inclusion) >= Some(self.config.confirmations);
                return deep.then_some(Step::Settle { id, inclusion });
            }
            (State::Settled { inclusion, .. }, Some(_)) => {
                is_deep(inclusion, self.facts.head.number, self.config).then_some(Change::Buried)?
            }
            (State::Queued | State::Buried | State::Refused, _) => return None,
        };
        Some(Step::Record { id, change })
    }

    /// An abandoned transaction was mined after all: the foreign one that had taken its nonce was reorganised away.
    fn revive(&self, entry: &Entry, inclusion: Inclusion) -> Step {
        let attempt = entry.attempts.iter().find(|attempt| attempt.hash == inclusion.transaction);
        let attempt = attempt.expect("the receipt was found by this entry's attempts").clone();
        Step::Record { id: entry.id, change: Change::Revived { nonce: attempt.nonce, inclusion } }
    }

    /// The transaction of this entry that is in the chain. There can be two, after a foreign one was reorganised away; then
    /// one of them was in vain.
    fn found(&self, entry: &Entry) -> Option<Inclusion> {
        let receipts = entry.attempts.iter().filter_map(|attempt| self.facts.receipts.get(&attempt.hash)?.as_ref());
        receipts.copied().max_by_key(|inclusion| inclusion.succeeded)
    }

    /// Blocks on top; `None` while the node asked last is below it.
    fn depth(&self, inclusion: Inclusion) -> Option<u64> {
        self.facts.head.number.checked_sub(inclusion.block.number)
    }

    fn is_gone(&self, inclusion: Inclusion) -> bool {
        let there = self.facts.blocks.get(&inclusion.block.number);
        match there {
            Some(hash) => *hash != inclusion.block.hash,
            // The shell believes in a shorter chain only after the lag patience.
            None => self.facts.head.number < inclusion.block.number,
        }
    }

    fn nonce_news(&self, nonce: u64, passed: Option<Passed>) -> Option<Change> {
        if self.facts.nonce <= nonce {
            return passed.is_some().then_some(Change::Passed(None));
        }
        let Some(passed) = passed else {
            return Some(Change::Passed(Some(Passed { head: self.facts.head.number, at_ms: self.now_ms })));
        };
        let confirmed = self.facts.head.number >= passed.head.saturating_add(self.config.confirmations);
        let patient = self.aged(passed.at_ms, self.config.lag_patience);
        (confirmed && patient).then_some(Change::NonceTaken)
    }

    fn aged(&self, since_ms: u64, age: std::time::Duration) -> bool {
        u128::from(self.now_ms.saturating_sub(since_ms)) >= age.as_millis()
    }

    /// Sends and re-prices what is pending.
    fn keep_going(&self, entry: &Entry, plan: &mut Plan) {
        let (State::Pending { nonce, passed: None }, Some(attempt)) = (entry.state, entry.newest_attempt()) else {
            return;
        };
        // Only the next nonce can be mined: better prices behind it would be paid for nothing.
        let is_next = nonce == self.facts.nonce;
        let is_stuck = self.aged(attempt.signed_at_ms, self.config.bump_after);
        if is_next && (is_stuck || self.facts.underpriced.contains(&attempt.hash)) {
            match self.bump(entry, attempt.fees, attempt.gas_limit) {
                Ok(Some(fees)) => {
                    let gas_limit = attempt.gas_limit;
                    plan.steps.push(Step::Bump { id: entry.id, nonce, fees, gas_limit });
                    return;
                }
                Ok(None) => {}
                Err(hold) => plan.hold = Some(hold),
            }
        }
        let sent = self.facts.sent_at_ms.get(&attempt.hash);
        if sent.is_none_or(|sent_at_ms| self.aged(*sent_at_ms, self.config.resend_after)) {
            plan.steps.push(Step::Send { id: entry.id, transaction: attempt.hash });
        }
    }

    fn bump(&self, entry: &Entry, fees: Fees, gas_limit: u64) -> Result<Option<Fees>, Hold> {
        if entry.attempts.len() >= ATTEMPTS_MAX {
            return Ok(None);
        }
        let bumped = fees.bumped(self.market);
        let cap_wei = self.config.fee_per_gas_wei_max;
        if bumped.max_wei > cap_wei {
            return Err(Hold::FeeCap { need_wei: bumped.max_wei, cap_wei });
        }
        let need_wei = bumped.cost_max(gas_limit) + entry.action.value;
        if need_wei > self.facts.balance {
            return Err(Hold::Funds { account: self.facts.account, have_wei: self.facts.balance, need_wei });
        }
        Ok(Some(bumped))
    }

    fn start(&self, plan: &mut Plan) {
        let mut ready = self.entries.iter().filter(|entry| self.is_ready(entry)).peekable();
        let gap = has_gap(self.entries, self.facts.nonce);
        if ready.peek().is_none() {
            let waited = self.facts.gap_since_ms.is_some_and(|since| self.aged(since, self.config.lag_patience));
            if gap && waited {
                plan.steps.push(Step::Fill { nonce: self.facts.nonce });
            }
            return;
        }
        if let Some(budget_wei) = self.config.budget_wei_per_hour.filter(|budget| self.facts.spent_wei >= *budget) {
            plan.hold = Some(Hold::Budget { spent_wei: self.facts.spent_wei, budget_wei });
            return;
        }
        let Some(fees) = self.market.within(self.config.fee_per_gas_wei_max, self.facts.head.base_fee_wei) else {
            let need_wei = self.facts.head.base_fee_wei.saturating_add(self.facts.tip_wei);
            plan.hold = Some(Hold::FeeCap { need_wei, cap_wei: self.config.fee_per_gas_wei_max });
            return;
        };
        let committed: U256 = self.entries.iter().map(Entry::committed_wei).sum();
        let spendable_wei = self.facts.balance.saturating_sub(committed);
        let pending = self.entries.iter().filter(|entry| matches!(entry.state, State::Pending { .. })).count();
        // Whoever closes a gap frees those behind it, so there is always room for one.
        let free = self.config.in_flight_max.saturating_sub(pending).max(usize::from(gap));
        let used: BTreeSet<u64> = self.entries.iter().filter_map(Entry::nonce).collect();
        let nonces = (self.facts.nonce..).filter(|nonce| !used.contains(nonce));
        for (entry, nonce) in ready.take(free).zip(nonces) {
            plan.steps.push(Step::Start { id: entry.id, nonce, fees, spendable_wei });
        }
    }

    fn is_ready(&self, entry: &Entry) -> bool {
        entry.state == State::Queued
            && !self.facts.postponed.contains(&entry.id)
            && entry.action.not_before_ms <= self.now_ms
            && entry.action.not_before_block <= self.facts.head.number
    }
}
