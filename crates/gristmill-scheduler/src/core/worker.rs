//! One worker: what it offers and which of its slots are taken.

use std::collections::{BTreeSet, HashMap};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{LeaseId, UnixMillis};
use gristmill_proto::message::WorkerOffer;

use super::{ConnectionId, Speed};

/// Apps whose speed is remembered.
const SPEEDS_MAX: usize = 256;

/// A worker that is connected, or was until a moment ago.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) connection: Option<ConnectionId>,
    pub(super) offer: WorkerOffer,
    /// In force, or cancelled and not yet gone: both take a slot.
    pub(super) leases: BTreeSet<LeaseId>,
    pub(super) lost_at: UnixMillis,
    /// Of one of its slots, by app.
    pub(super) speeds: HashMap<Digest, Speed>,
}

impl Worker {
    pub(super) fn new(connection: ConnectionId, offer: WorkerOffer, lost_at: UnixMillis) -> Self {
        Self { connection: Some(connection), offer, leases: BTreeSet::new(), lost_at, speeds: HashMap::new() }
    }

    pub(super) fn speed(&self, app: &Digest) -> Speed {
        self.speeds.get(app).copied().unwrap_or_default()
    }

    pub(super) fn speed_mut(&mut self, app: Digest) -> &mut Speed {
        if self.speeds.len() >= SPEEDS_MAX && !self.speeds.contains_key(&app) {
            self.speeds.clear();
        }
        self.speeds.entry(app).or_default()
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.connection.is_some() && self.leases.len() < self.offer.slots as usize
    }
}
