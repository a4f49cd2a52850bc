//! One worker: what it offers and which of its slots are taken.

use std::collections::BTreeSet;

use gristmill_proto::id::{LeaseId, UnixMillis};
use gristmill_proto::message::WorkerOffer;

use super::ConnectionId;

/// A worker that is connected, or was until a moment ago.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) connection: Option<ConnectionId>,
    pub(super) offer: WorkerOffer,
    /// In force, or cancelled and not yet gone: both take a slot.
    pub(super) leases: BTreeSet<LeaseId>,
    pub(super) lost_at: UnixMillis,
}

impl Worker {
    pub(super) fn new(
        connection: ConnectionId,
        offer: WorkerOffer,
        leases: BTreeSet<LeaseId>,
        lost_at: UnixMillis,
    ) -> Self {
        Self { connection: Some(connection), offer, leases, lost_at }
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.connection.is_some() && self.leases.len() < self.offer.slots as usize
    }
}
