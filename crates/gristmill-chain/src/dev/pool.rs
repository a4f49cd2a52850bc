//! Transactions that were accepted and are not mined: behind a nonce gap, or because mining is switched off.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::{
    consensus::Transaction as _,
    primitives::{Address, B256},
};

use super::{refusal::Refusal, state::State, transaction::SignedTx};

/// All that wait. As many as a few hundred workers would ever have in flight; at 128 KiB each they stay below 512 MiB.
pub const WAITING_MAX: usize = 4_096;
/// How far a nonce may run ahead of its account: room for a sender that has many requests in flight, which HTTP reorders.
pub const NONCES_AHEAD_MAX: u64 = 1_024;
/// A replacement must raise both fees by this much, as in geth.
const REPLACEMENT_BUMP_PERCENT: u128 = 10;

/// Cloning is cheap; the first change after it copies the map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    waiting: Arc<BTreeMap<(Address, u64), Waiting>>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    tx: SignedTx,
    /// Decides between equal tips.
    arrival: u64,
}

impl Pool {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<&SignedTx> {
        self.iter().find(|tx| tx.hash == *hash)
    }

    /// By sender, then by nonce.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SignedTx> {
        self.waiting.values().map(|waiting| &waiting.tx)
    }

    /// Oldest first.
    pub(crate) fn by_arrival(&self) -> impl Iterator<Item = &SignedTx> {
        let mut waiting: Vec<_> = self.waiting.values().collect();
        waiting.sort_unstable_by_key(|waiting| waiting.arrival);
        waiting.into_iter().map(|waiting| &waiting.tx)
    }

    /// Whether `tx` may enter: not known, room left, and if it replaces another, dear enough.
    pub(crate) fn admits(&self, tx: &SignedTx) -> Result<(), Refusal> {
        match self.waiting.get(&(tx.sender, tx.nonce())) {
            Some(old) if old.tx.hash == tx.hash => Err(Refusal::AlreadyKnown),
            Some(old) if !outbids(tx, &old.tx) => Err(Refusal::ReplacementUnderpriced),
            Some(_) => Ok(()),
            None if self.len() >= WAITING_MAX => Err(Refusal::PoolFull { limit: WAITING_MAX }),
            None => Ok(()),
        }
    }

    /// Adds `tx`, in place of the one with the same sender and nonce.
    pub(crate) fn insert(&mut self, tx: SignedTx) {
        let arrival = self.arrivals;
        self.arrivals += 1;
        Arc::make_mut(&mut self.waiting).insert((tx.sender, tx.nonce()), Waiting { tx, arrival });
    }

    pub(crate) fn remove(&mut self, sender: Address, nonce: u64) {
        if self.waiting.contains_key(&(sender, nonce)) {
            Arc::make_mut(&mut self.waiting).remove(&(sender, nonce));
        }
    }

    /// The nonce after the sender's unbroken run of waiting transactions.
    pub(crate) fn next_nonce(&self, sender: Address, state: &State) -> u64 {
        let mut next = state.nonce(sender);
        while self.waiting.contains_key(&(sender, next)) {
            next += 1;
        }
        next
    }

    /// What waits for nothing but a block: in the order a miner would choose, dearest tip first, nonces in order.
    pub(crate) fn ready(&self, state: &State, base_fee: u64) -> Vec<SignedTx> {
        let mut heads: BTreeMap<Address, &Waiting> = BTreeMap::new();
        for ((sender, nonce), waiting) in self.waiting.iter() {
            if state.nonce(*sender) == *nonce && waiting.tx.tip_at(base_fee).is_some() {
                heads.insert(*sender, waiting);
            }
        }
        let mut ready = Vec::new();
        while let Some((sender, best)) = heads
            .iter()
            .max_by_key(|(_, waiting)| (waiting.tx.tip_at(base_fee), std::cmp::Reverse(waiting.arrival)))
            .map(|(sender, waiting)| (*sender, *waiting))
        {
            ready.push(best.tx.clone());
            match self.waiting.get(&(sender, best.tx.nonce() + 1)) {
                Some(next) if next.tx.tip_at(base_fee).is_some() => heads.insert(sender, next),
                _ => heads.remove(&sender),
            };
        }
        ready
    }

    /// How many wait for nothing but a block, and how many for a nonce before them.
    pub(crate) fn status(&self, state: &State) -> (usize, usize) {
        let mut pending = 0;
        let mut expected: Option<(Address, u64)> = None;
        for (sender, nonce) in self.waiting.keys() {
            let next = match expected {
                Some((known, next)) if known == *sender => next,
                _ => state.nonce(*sender),
            };
            if next == *nonce {
                pending += 1;
                expected = Some((*sender, next + 1));
            } else {
                expected = Some((*sender, next));
            }
        }
        (pending, self.len() - pending)
    }
}

fn outbids(new: &SignedTx, old: &SignedTx) -> bool {
    let least = |old: u128| old.saturating_add(old.saturating_mul(REPLACEMENT_BUMP_PERCENT).div_ceil(100));
    let raised = |new: u128, old: u128| new > old && new >= least(old);
    let tip = |tx: &SignedTx| tx.envelope.max_priority_fee_per_gas().unwrap_or_else(|| tx.fee_cap());
    raised(new.fee_cap(), old.fee_cap()) && raised(tip(new), tip(old))
}
