//! One row of the outbox: an action and what has become of it.

use alloy::primitives::{Address, B256, Bytes, U256};

use super::{fees::Fees, revert::Revert};
use crate::follow::BlockRef;

/// Something to be done on chain, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Names the business fact, for instance `settle 0x…`. Enqueued twice, it is done once.
    pub key: String,
    pub to: Address,
    pub calldata: Bytes,
    pub value: U256,
    /// Taken as it is; estimated where `None`.
    pub gas_limit: Option<u64>,
    /// Milliseconds since 1970.
    pub not_before_ms: u64,
    /// Not before the node knows this block: the one of the order, plus the confirmations wanted. It keeps a lagging node
    /// from refusing what it cannot see yet.
    pub not_before_block: u64,
}

impl Action {
    #[must_use]
    pub fn call(key: impl Into<String>, to: Address, calldata: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            to,
            calldata: calldata.into(),
            value: U256::ZERO,
            gas_limit: None,
            not_before_ms: 0,
            not_before_block: 0,
        }
    }

    #[must_use]
    pub fn value(self, value: U256) -> Self {
        Self { value, ..self }
    }

    #[must_use]
    pub fn gas_limit(self, gas_limit: u64) -> Self {
        Self { gas_limit: Some(gas_limit), ..self }
    }

    #[must_use]
    pub fn not_before_block(self, not_before_block: u64) -> Self {
        Self { not_before_block, ..self }
    }
}

/// Signed bytes, as they were journaled before they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub hash: B256,
    pub nonce: u64,
    pub raw: Bytes,
    pub fees: Fees,
    pub gas_limit: u64,
    pub signed_at_ms: u64,
}

/// A transaction of ours in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inclusion {
    pub transaction: B256,
    pub block: BlockRef,
    pub succeeded: bool,
    pub gas_used: u64,
    pub gas_price_wei: u128,
}

impl Inclusion {
    #[must_use]
    pub fn fee_wei(&self) -> U256 {
        U256::from(self.gas_used) * U256::from(self.gas_price_wei)
    }
}

/// First sight of the account's nonce beyond ours while none of our transactions had a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub head: u64,
    pub at_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is signed, or all that was can no longer be mined.
    Queued,
    /// Signed under this nonce; perhaps sent.
    Pending { nonce: u64, passed: Option<Passed> },
    /// In a block, waiting for confirmations.
    Mined { nonce: u64, inclusion: Inclusion },
    /// Reported as confirmed or failed; watched for a while in case the chain takes it back.
    Settled { nonce: u64, inclusion: Inclusion },
    /// Watched long enough.
    Buried,
    /// The simulation reverts; nothing was signed.
    Refused,
}

/// What can become of an entry. Applying one is all that ever changes a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Refused(Revert),
    Signed(Attempt),
    Mined(Inclusion),
    /// Its block is no longer part of the chain.
    Vanished,
    Settled {
        inclusion: Inclusion,
        revert: Option<Revert>,
    },
    Buried,
    /// The account's nonce has passed ours; `None`: it has come back.
    Passed(Option<Passed>),
    /// A foreign transaction has used our nonce up for good.
    NonceTaken,
    /// … and was reorganised away, with ours in its place.
    Revived {
        nonce: u64,
        inclusion: Inclusion,
    },
    /// The caller wants a refused or failed action tried again.
    Retried,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Ascending in the order of enqueueing.
    pub id: i64,
    pub action: Action,
    pub state: State,
    /// Oldest first, under all nonces this action ever had.
    pub attempts: Vec<Attempt>,
}

impl Entry {
    #[must_use]
    pub fn nonce(&self) -> Option<u64> {
        match self.state {
            State::Pending { nonce, .. } | State::Mined { nonce, .. } | State::Settled { nonce, .. } => Some(nonce),
            State::Queued | State::Buried | State::Refused => None,
        }
    }

    #[must_use]
    pub fn inclusion(&self) -> Option<Inclusion> {
        match self.state {
            State::Mined { inclusion, .. } | State::Settled { inclusion, .. } => Some(inclusion),
            _ => None,
        }
    }

    /// The attempt that is worth sending: the newest under the nonce now held.
    #[must_use]
    pub fn newest_attempt(&self) -> Option<&Attempt> {
        let nonce = self.nonce()?;
        self.attempts.iter().rev().find(|attempt| attempt.nonce == nonce)
    }

    /// Most that the pending transaction can cost.
    #[must_use]
    pub fn committed_wei(&self) -> U256 {
        match (self.state, self.newest_attempt()) {
            (State::Pending { .. }, Some(attempt)) => attempt.fees.cost_max(attempt.gas_limit) + self.action.value,
            _ => U256::ZERO,
        }
    }

    /// The row after `change`. Changes that do not fit the state are bugs of the planner, not of the chain.
    pub fn apply(&mut self, change: &Change) {
        self.state = match (self.state, change) {
            (State::Queued, Change::Refused(_)) => State::Refused,
            (State::Queued, Change::Signed(attempt)) => {
                self.attempts.push(attempt.clone());
                State::Pending { nonce: attempt.nonce, passed: None }
            }
            (State::Pending { nonce, passed }, Change::Signed(attempt)) => {
                assert_eq!(nonce, attempt.nonce, "a replacement keeps its nonce");
                self.attempts.push(attempt.clone());
                State::Pending { nonce, passed }
            }
            (State::Pending { .. } | State::Mined { .. } | State::Settled { .. }, Change::Mined(inclusion)) => {
                let mined = self.attempts.iter().find(|attempt| attempt.hash == inclusion.transaction);
                let nonce = mined.expect("only our own transactions are looked for").nonce;
                State::Mined { nonce, inclusion: *inclusion }
            }
            (State::Mined { nonce, .. } | State::Settled { nonce, .. }, Change::Vanished) => {
                State::Pending { nonce, passed: None }
            }
            (State::Mined { nonce, .. }, Change::Settled { inclusion, .. }) => {
                State::Settled { nonce, inclusion: *inclusion }
            }
            (State::Settled { .. }, Change::Buried) => State::Buried,
            (State::Pending { nonce, .. }, Change::Passed(passed)) => State::Pending { nonce, passed: *passed },
            (State::Pending { .. }, Change::NonceTaken) => State::Queued,
            (State::Queued, Change::Revived { nonce, inclusion }) => {
                State::Mined { nonce: *nonce, inclusion: *inclusion }
            }
            (State::Refused, Change::Retried) => State::Queued,
            (State::Settled { .. } | State::Buried, Change::Retried) => {
                // Their receipts would be taken for the new try's.
                self.attempts.clear();
                State::Queued
            }
            (state, change) => panic!("{change:?} cannot happen to an action that is {state:?}"),
        };
    }
}
