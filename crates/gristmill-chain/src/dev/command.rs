//! What can be asked of a chain, and what it does about it.

use alloy::{
    consensus::Transaction as _,
    primitives::{Address, B256, U256},
};
use revm::{context_interface::Cfg, handler::validation::validate_initial_tx_gas};

use super::{
    chain::Chain,
    change::{Change, Mined, RolledBack, SenderNonce, Time},
    execute::{SPEC, build_block, config},
    pool::NONCES_AHEAD_MAX,
    refusal::Refusal,
    transaction::SignedTx,
};

/// One request mines no more than this, since it is journaled as one piece.
pub const BLOCKS_PER_REQUEST_MAX: u64 = 10_000;
/// Snapshots by `evm_snapshot`, each of which holds on to the states of its time.
pub const SNAPSHOTS_MAX: u64 = 64;
/// Far enough for any test, and the sum with a wall clock cannot overflow: 300 years.
const TIME_JUMP_MAX: u64 = 300 * 365 * 86_400;

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Send(SignedTx),
    /// So many blocks; the first takes what is ready. With `spacing`, timestamps are that far apart.
    Mine {
        blocks: u64,
        spacing: Option<u64>,
    },
    IncreaseTime(u64),
    SetNextTimestamp(u64),
    SetTime(u64),
    SetAutomine(bool),
    SetNextBaseFee(u64),
    SetBalance(Address, U256),
    DropTransaction(B256),
    Reorg(Reorg),
    Snapshot,
    Restore(u64),
}

/// Replaces the last blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reorg {
    /// How many blocks go.
    pub(crate) depth: u64,
    /// Whether their transactions go with them; else the new blocks have them again.
    pub(crate) drop: bool,
    /// How many blocks are mined instead; as many as went if not given.
    pub(crate) blocks: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// Of the transaction sent.
    Hash(B256),
    /// Snapshot id, or seconds that the clock is ahead.
    Number(u64),
    /// Whether there was something to do it to.
    Found(bool),
}

impl Chain {
    /// Carries out `command` while the wall clock shows `now` (seconds) and appends what happened to `changes`. After an
    /// error both are spoilt: the caller works on a clone.
    pub(crate) fn execute(&mut self, command: Command, now: u64, changes: &mut Vec<Change>) -> Result<Reply, Refusal> {
        match command {
            Command::Send(tx) => return self.send(tx, now, changes),
            Command::Mine { blocks, spacing } => self.mine(blocks, spacing, now, changes)?,
            Command::IncreaseTime(seconds) => {
                let clock = self.clock(now).saturating_add(seconds.min(TIME_JUMP_MAX));
                self.set_clock(clock, now, changes)?;
                return Ok(Reply::Number(self.time.ahead));
            }
            Command::SetTime(timestamp) => {
                self.check_timestamp(timestamp)?;
                self.set_clock(timestamp, now, changes)?;
            }
            Command::SetNextTimestamp(timestamp) => {
                self.check_timestamp(timestamp)?;
                self.commit(Change::TimeSet(Time { next: timestamp, ..self.time }), changes);
            }
            Command::SetAutomine(on) => {
                self.commit(Change::AutomineSet(on), changes);
                self.mine_ready(now, changes);
            }
            Command::SetNextBaseFee(fee) => self.commit(Change::BaseFeeSet(fee), changes),
            Command::SetBalance(address, balance) => {
                let diff = self.state().balance_diff(address, balance);
                self.commit(Change::Edited(diff), changes);
            }
            Command::DropTransaction(hash) => {
                let Some(tx) = self.pool.get(&hash) else { return Ok(Reply::Found(false)) };
                let which = SenderNonce { sender: tx.sender, nonce: tx.nonce() };
                self.commit(Change::Dropped(which), changes);
                return Ok(Reply::Found(true));
            }
            Command::Reorg(reorg) => self.reorg(reorg, now, changes)?,
            Command::Snapshot => {
                if self.snapshots.len() as u64 >= SNAPSHOTS_MAX {
                    return Err(Refusal::TooMany { what: "snapshots", limit: SNAPSHOTS_MAX });
                }
                let id = self.snapshot_next;
                self.commit(Change::SnapshotTaken, changes);
                return Ok(Reply::Number(id));
            }
            Command::Restore(id) => {
                let found = self.snapshots.contains_key(&id);
                if found {
                    self.commit(Change::SnapshotRestored(id), changes);
                }
                return Ok(Reply::Found(found));
            }
        }
        Ok(Reply::Done)
    }

    fn commit(&mut self, change: Change, changes: &mut Vec<Change>) {
        self.apply(&change);
        changes.push(change);
    }

    fn send(&mut self, tx: SignedTx, now: u64, changes: &mut Vec<Change>) -> Result<Reply, Refusal> {
        self.check(&tx)?;
        let hash = tx.hash;
        self.commit(Change::Queued(tx), changes);
        match self.mine_ready(now, changes).into_iter().find(|(left_out, _)| *left_out == hash) {
            Some((_, refusal)) => Err(refusal),
            None => Ok(Reply::Hash(hash)),
        }
    }

    /// Whether `tx` may wait or be mined here.
    fn check(&self, tx: &SignedTx) -> Result<(), Refusal> {
        let envelope = tx.envelope.as_ref();
        if envelope.is_eip4844() {
            return Err(Refusal::Unsupported("blobs have no place on this chain"));
        }
        match envelope.chain_id() {
            Some(have) if have != self.genesis.chain_id => {
                return Err(Refusal::WrongChain { have, want: self.genesis.chain_id });
            }
            _ => {}
        }
        self.check_gas(tx)?;
        self.check_fees(tx)?;
        let account = self.state().account(tx.sender);
        let (next, have) = account.map_or((0, U256::ZERO), |account| (account.nonce, account.balance));
        if tx.nonce() < next {
            return Err(Refusal::NonceTooLow { next, nonce: tx.nonce() });
        }
        if tx.nonce() - next > NONCES_AHEAD_MAX {
            return Err(Refusal::NonceTooHigh { next, nonce: tx.nonce(), ahead_max: NONCES_AHEAD_MAX });
        }
        let code = self.state().code(tx.sender);
        if !code.is_empty() && !code.starts_with(&DELEGATION) {
            return Err(Refusal::SenderIsContract(tx.sender));
        }
        let want = tx.cost_max().unwrap_or(U256::MAX);
        if have < want {
            return Err(Refusal::InsufficientFunds { address: tx.sender, have, want });
        }
        self.pool.admits(tx)
    }

    fn check_gas(&self, tx: &SignedTx) -> Result<(), Refusal> {
        let (gas, limit) = (tx.envelope.gas_limit(), self.genesis.gas_limit);
        if gas > limit {
            return Err(Refusal::GasAboveBlockLimit { gas, limit });
        }
        let rules = config(self.genesis.chain_id);
        let (bytes, limit) = (tx.envelope.input().len(), rules.max_initcode_size());
        if tx.envelope.is_create() && bytes > limit {
            return Err(Refusal::InitCodeTooLong { bytes, limit });
        }
        let mut priced = tx.to_evm();
        // The minimum is wanted even where the limit is below it.
        priced.gas_limit = u64::MAX;
        let needed = validate_initial_tx_gas(&priced, SPEC, false, false, u64::MAX, None)
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        let minimum = needed.initial_total_gas().max(needed.floor_gas());
        if gas < minimum { Err(Refusal::IntrinsicGas { gas, minimum }) } else { Ok(()) }
    }

    /// While blocks follow every transaction, one that cannot pay the base fee would wait for ever: it is refused. With
    /// mining switched off it may wait, as on a real network.
    fn check_fees(&self, tx: &SignedTx) -> Result<(), Refusal> {
        let (cap, base_fee) = (tx.fee_cap(), self.base_fee_next());
        let tip = tx.envelope.max_priority_fee_per_gas().unwrap_or(0);
        if tip > cap {
            return Err(Refusal::TipAboveFeeCap { tip, cap });
        }
        if self.automine && cap < u128::from(base_fee) {
            return Err(Refusal::FeeCapTooLow { address: tx.sender, cap, base_fee });
        }
        Ok(())
    }

    /// One block for each transaction that is ready, if mining is on. Returns what turned out to be invalid: it is dropped.
    fn mine_ready(&mut self, now: u64, changes: &mut Vec<Change>) -> Vec<(B256, Refusal)> {
        let mut left_out = Vec::new();
        while self.automine {
            let Some(tx) = self.pool.ready(self.state(), self.base_fee_next()).into_iter().next() else { break };
            let which = SenderNonce { sender: tx.sender, nonce: tx.nonce() };
            let (included, refused) = self.build(vec![tx], now);
            if refused.is_empty() {
                self.mine_built(included, now, changes);
            } else {
                self.commit(Change::Dropped(which), changes);
            }
            left_out.extend(refused);
        }
        left_out
    }

    fn mine(&mut self, blocks: u64, spacing: Option<u64>, now: u64, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        if blocks > BLOCKS_PER_REQUEST_MAX {
            return Err(Refusal::TooMany { what: "blocks", limit: BLOCKS_PER_REQUEST_MAX });
        }
        for index in 0..blocks {
            if let Some(spacing) = spacing.filter(|_| index > 0) {
                let next = self.head().header.timestamp.saturating_add(spacing.clamp(1, TIME_JUMP_MAX));
                self.commit(Change::TimeSet(Time { next, ..self.time }), changes);
            }
            let ready = self.pool.ready(self.state(), self.base_fee_next());
            self.mine_block(ready, now, changes);
        }
        Ok(())
    }

    fn mine_block(&mut self, transactions: Vec<SignedTx>, now: u64, changes: &mut Vec<Change>) {
        let (mined, _) = self.build(transactions, now);
        self.mine_built(mined, now, changes);
    }

    fn build(&self, transactions: Vec<SignedTx>, now: u64) -> (Mined, Vec<(B256, Refusal)>) {
        let template = self.template(now);
        let hashes = self.recent_hashes(template.number);
        let built = build_block(self.genesis.chain_id, &template, self.state().clone(), hashes, transactions);
        let mined = Mined { block: built.block.into(), diffs: built.diffs, state: Some(built.state) };
        (mined, built.left_out)
    }

    fn mine_built(&mut self, mined: Mined, now: u64, changes: &mut Vec<Change>) {
        if self.time.next != 0 {
            let time = Time::between(self.time.next, now);
            self.commit(Change::TimeSet(time), changes);
        }
        self.commit(Change::Mined(mined), changes);
    }

    fn reorg(&mut self, reorg: Reorg, now: u64, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let head = self.head().number();
        let oldest = self.oldest_state();
        let Some(to) = head.checked_sub(reorg.depth).filter(|to| *to >= oldest) else {
            return Err(Refusal::ReorgTooDeep { depth: reorg.depth, oldest });
        };
        let blocks = reorg.blocks.unwrap_or(reorg.depth);
        if blocks > BLOCKS_PER_REQUEST_MAX {
            return Err(Refusal::TooMany { what: "blocks", limit: BLOCKS_PER_REQUEST_MAX });
        }
        let dropped: Vec<_> = (to + 1..=head).filter_map(|number| self.block(number).cloned()).collect();
        self.commit(Change::RolledBack(RolledBack { to, requeue: !reorg.drop }), changes);
        let mut again = dropped.into_iter().filter(|_| !reorg.drop);
        for left in (0..blocks).rev() {
            // The last block takes whatever a shorter branch has no blocks for.
            let taken: Vec<_> = if left == 0 { again.by_ref().collect() } else { again.next().into_iter().collect() };
            let transactions = taken.iter().flat_map(|block| &block.transactions).map(|mined| mined.tx.clone());
            self.mine_block(transactions.collect(), now, changes);
        }
        Ok(())
    }

    fn set_clock(&mut self, clock: u64, now: u64, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        if clock > now.saturating_add(TIME_JUMP_MAX) {
            return Err(Refusal::InvalidParams(format!("timestamp {clock} is too far ahead")));
        }
        let time = Time { next: self.time.next, ..Time::between(clock, now) };
        self.commit(Change::TimeSet(time), changes);
        Ok(())
    }

    fn check_timestamp(&self, timestamp: u64) -> Result<(), Refusal> {
        let head = self.head().header.timestamp;
        if timestamp <= head {
            return Err(Refusal::TimestampNotAfterHead { timestamp, head });
        }
        Ok(())
    }
}

/// How an account that delegates to a contract's code (EIP-7702) is marked; it still signs for itself.
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];

impl Time {
    /// The clock shows `clock` while the wall clock shows `now`.
    fn between(clock: u64, now: u64) -> Self {
        Self { ahead: clock.saturating_sub(now), behind: now.saturating_sub(clock), next: 0 }
    }
}
