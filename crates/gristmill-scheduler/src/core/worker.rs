//! One worker: what it offers, and what of that is taken.

use std::collections::{BTreeSet, HashMap};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{LeaseId, UnixMillis};
use gristmill_proto::message::WorkerOffer;

use super::class::{ClassId, Needs};
use super::{ConnectionId, Speed};
use crate::trust::HostId;

/// Apps whose speed is remembered.
const SPEEDS_MAX: usize = 256;
/// Leases given ahead of the room for them.
pub(super) const AHEAD_MAX: usize = 1_024;

/// Leases that wait behind an attempt which takes so long are wanted back.
const STUCK_MS: u64 = 2_000;

/// A worker that is connected, or was until a moment ago.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) connection: Option<ConnectionId>,
    pub(super) offer: WorkerOffer,
    pub(super) lost_at: UnixMillis,
    /// Resource classes of live jobs that it can serve.
    pub(super) classes: BTreeSet<ClassId>,
    /// Attempts for which it has room.
    pub(super) running: BTreeSet<LeaseId>,
    /// Leases that wait behind those. It takes them in this order.
    pub(super) ahead: BTreeSet<LeaseId>,
    /// Leases whose attempts have ended and whose votes are not shown yet.
    pub(super) sealed: BTreeSet<LeaseId>,
    /// Where it is, as far as the pool can tell.
    pub(super) host: Option<HostId>,
    /// When an attempt last began or ended here.
    pub(super) moved_at: UnixMillis,
    /// When what waits here was asked back.
    pub(super) stuck_since: Option<UnixMillis>,
    free: Room,
    /// Whether a class may list it as idle.
    pub(super) idle: bool,
    /// Of one of its slots, by app.
    pub(super) speeds: HashMap<Digest, Speed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    slots: u32,
    memory_bytes: u64,
    gpus: u32,
}

impl Room {
    fn of(offer: &WorkerOffer) -> Self {
        Self { slots: offer.slots, memory_bytes: offer.memory_bytes, gpus: offer.gpus }
    }
}

impl Worker {
    pub(super) fn new(connection: ConnectionId, offer: WorkerOffer, lost_at: UnixMillis, now: UnixMillis) -> Self {
        let free = Room::of(&offer);
        Self {
            connection: Some(connection),
            offer,
            lost_at,
            classes: BTreeSet::new(),
            running: BTreeSet::new(),
            ahead: BTreeSet::new(),
            sealed: BTreeSet::new(),
            host: None,
            moved_at: now,
            stuck_since: None,
            free,
            idle: false,
            speeds: HashMap::new(),
        }
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.running.iter().chain(&self.ahead).chain(&self.sealed).copied()
    }

    pub(super) fn holds(&self, lease: LeaseId) -> bool {
        self.running.contains(&lease) || self.ahead.contains(&lease) || self.sealed.contains(&lease)
    }

    /// Whether it has room for nothing at all.
    pub(super) fn is_full(&self) -> bool {
        !self.ahead.is_empty() || self.free.slots == 0
    }

    pub(super) fn has_room_for(&self, needs: &Needs) -> bool {
        self.ahead.is_empty() && self.fits(needs)
    }

    pub(super) fn fits(&self, needs: &Needs) -> bool {
        needs.cores <= self.free.slots && needs.memory_bytes <= self.free.memory_bytes && needs.gpus <= self.free.gpus
    }

    pub(super) fn begin(&mut self, lease: LeaseId, needs: &Needs) {
        self.ahead.remove(&lease);
        self.running.insert(lease);
        self.free.slots -= needs.cores;
        self.free.memory_bytes -= needs.memory_bytes;
        self.free.gpus -= needs.gpus;
    }

    pub(super) fn end(&mut self, lease: LeaseId, needs: &Needs) {
        if self.running.remove(&lease) {
            self.free.slots += needs.cores;
            self.free.memory_bytes += needs.memory_bytes;
            self.free.gpus += needs.gpus;
        }
        self.ahead.remove(&lease);
        self.sealed.remove(&lease);
    }

    /// When what waits here should be asked back, or taken. Not what waits for room of its own size rather than for time.
    pub(super) fn ask_back_at(&self, lost_ms: u64) -> Option<UnixMillis> {
        match self.stuck_since {
            Some(at) => Some(at.plus(lost_ms)),
            None => (self.free.slots == 0).then(|| self.moved_at.plus(STUCK_MS)),
        }
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

    pub(super) fn check_invariants(&self) {
        let places = [&self.running, &self.ahead, &self.sealed];
        let all: BTreeSet<LeaseId> = places.into_iter().flatten().copied().collect();
        assert_eq!(all.len(), places.map(BTreeSet::len).iter().sum::<usize>(), "a lease is in one place");
        assert!(self.ahead.len() <= AHEAD_MAX);
        if self.running.is_empty() {
            assert_eq!(self.free, Room::of(&self.offer), "all room is free");
        }
    }
}
