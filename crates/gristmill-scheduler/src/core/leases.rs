//! The leases in force.

use std::collections::{BTreeSet, HashMap};

use gristmill_proto::id::{LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::WORK_MAX;

use super::class::ClassId;
use super::fairness::Name;

#[derive(Debug)]
pub(super) struct GivenLease {
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    pub(super) class: ClassId,
    pub(super) user: Name,
    /// In a search, the work units to do.
    pub(super) work: u64,
    pub(super) given_at: UnixMillis,
    /// When the worker had room for it; nothing while it waits behind others there.
    pub(super) begun: Option<Begun>,
    /// The app's own work units, as last reported.
    pub(super) work_done: u64,
    /// Given before a restart; its next report is of work done since long ago.
    pub(super) taken_back: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) at: UnixMillis,
    /// No honest attempt lasts longer.
    pub(super) due: UnixMillis,
    /// What the user was charged for it so far.
    pub(super) charged: u64,
}

impl GivenLease {
    /// Nobody searches more than was given out.
    pub(super) fn believed(&self, claimed: u64) -> u64 {
        claimed.min(if self.work > 0 { self.work } else { WORK_MAX })
    }
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    given: HashMap<LeaseId, GivenLease>,
    /// Those that have begun, by their `due`.
    due: BTreeSet<(UnixMillis, LeaseId)>,
}

impl Leases {
    pub(super) fn get(&self, lease: LeaseId) -> Option<&GivenLease> {
        self.given.get(&lease)
    }

    pub(super) fn get_mut(&mut self, lease: LeaseId) -> Option<&mut GivenLease> {
        self.given.get_mut(&lease)
    }

    /// The lease, if this worker holds it.
    pub(super) fn of(&self, id: WorkerId, lease: LeaseId) -> Option<&GivenLease> {
        self.get(lease).filter(|given| given.worker == id)
    }

    pub(super) fn add(&mut self, lease: LeaseId, given: GivenLease) {
        self.given.insert(lease, given);
    }

    pub(super) fn begin(&mut self, lease: LeaseId, begun: Begun) {
        self.given.get_mut(&lease).expect("only a lease in force begins").begun = Some(begun);
        self.due.insert((begun.due, lease));
    }

    /// The attempt has ended, and the lease stays in force for its vote.
    pub(super) fn seal(&mut self, lease: LeaseId) -> Option<Begun> {
        let begun = self.given.get_mut(&lease)?.begun.take()?;
        self.due.remove(&(begun.due, lease));
        Some(begun)
    }

    pub(super) fn end(&mut self, lease: LeaseId) -> Option<GivenLease> {
        let given = self.given.remove(&lease)?;
        if let Some(begun) = given.begun {
            self.due.remove(&(begun.due, lease));
        }
        Some(given)
    }

    pub(super) fn first_due(&self) -> Option<(UnixMillis, LeaseId)> {
        self.due.first().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, &GivenLease)> {
        self.given.iter().map(|(lease, given)| (*lease, given))
    }

    pub(super) fn check_invariants(&self) {
        let begun = self.iter().filter_map(|(lease, given)| Some((given.begun?.due, lease)));
        let watched: BTreeSet<_> = begun.collect();
        assert!(watched == self.due, "every attempt that runs is watched, and nothing else");
    }
}
