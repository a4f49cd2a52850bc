//! A sender seen from outside.

use std::sync::Arc;

use alloy::primitives::{Address, U256};
use tokio::sync::{Notify, watch};

use crate::{follow::Outage, send::plan::Hold};

/// For displays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SenderStatus {
    pub queued: usize,
    /// Signed, not in a block.
    pub pending: usize,
    /// In a block, waiting for confirmations.
    pub mined: usize,
    pub balance_wei: Option<U256>,
    pub hold: Option<Hold>,
    pub outage: Option<Outage>,
    /// What the node last said against a transaction of ours.
    pub last_refusal: Option<String>,
}

/// A sender seen from outside.
#[derive(Debug, Clone)]
pub struct SenderHandle {
    pub(super) account: Address,
    pub(super) wake: Arc<Notify>,
    pub(super) outcomes: watch::Receiver<u64>,
    pub(super) status: watch::Receiver<SenderStatus>,
}

impl SenderHandle {
    #[must_use]
    pub fn account(&self) -> Address {
        self.account
    }

    /// Something was enqueued. Without it the sender finds out at its next poll.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The sequence number of the newest outcome; see [`outcomes_after`](crate::send::outbox::outcomes_after).
    #[must_use]
    pub fn outcomes(&self) -> watch::Receiver<u64> {
        self.outcomes.clone()
    }

    #[must_use]
    pub fn status(&self) -> watch::Receiver<SenderStatus> {
        self.status.clone()
    }
}
