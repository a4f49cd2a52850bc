//! Resource classes: live jobs that ask the same of a worker share one queue, and one list of workers that have room.

use std::collections::{BTreeSet, HashMap};

use gristmill_proto::app::{Runtime, Target};
use gristmill_proto::id::{JobId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::message::WorkerOffer;
use gristmill_proto::requirement::Requirement;
use serde::{Deserialize, Serialize};

use super::fairness::Queue;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClassId(u64);

/// What a worker must have to run an attempt: known when the job comes in, kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Needs {
    /// Runtime, operating system and processor; an empty text stands for any.
    pub targets: Vec<(Runtime, String, String)>,
    pub cores: u32,
    pub memory_bytes: u64,
    pub gpus: u32,
    pub require: Vec<Requirement>,
}

/// What a worker lacks for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    Target,
    Slots,
    Memory,
    Gpus,
    Label(Requirement),
}

impl Needs {
    pub fn of(spec: &JobSpec, targets: &[Target]) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let target = |target: &Target| (target.runtime(), text(target.os()), text(target.arch()));
        let targets = targets.iter().map(target).collect();
        // What a program writes to `/out` and `/tmp` lies in the worker's memory.
        let memory_bytes = spec.limits.memory_bytes.saturating_add(spec.limits.disk_bytes);
        let mut require = spec.require.clone();
        require.sort();
        require.dedup();
        Self { targets, cores: spec.resources.cores, memory_bytes, gpus: spec.resources.gpus, require }
    }

    /// All that keeps such an offer from meeting these needs.
    pub fn lacks<'a>(&'a self, offer: &'a WorkerOffer) -> impl Iterator<Item = Lack> + 'a {
        let runs = |(runtime, os, arch): &(Runtime, String, String)| {
            let is = |asked: &str, offered: &str| asked.is_empty() || asked == offered;
            offer.runtimes.contains(runtime) && is(os, &offer.os) && is(arch, &offer.arch)
        };
        let plain = [
            (!self.targets.iter().any(runs)).then_some(Lack::Target),
            (self.cores > offer.slots).then_some(Lack::Slots),
            (self.memory_bytes > offer.memory_bytes).then_some(Lack::Memory),
            (self.gpus > offer.gpus).then_some(Lack::Gpus),
        ];
        let unmet = self.require.iter().filter(|condition| !condition.is_met_by(&offer.labels));
        plain.into_iter().flatten().chain(unmet.cloned().map(Lack::Label))
    }

    pub(super) fn met_by(&self, offer: &WorkerOffer) -> bool {
        self.lacks(offer).next().is_none()
    }
}

#[derive(Debug)]
pub(super) struct Class {
    pub(super) needs: Needs,
    live_jobs: usize,
    /// Its jobs with a task to give.
    pub(super) queue: Queue,
    /// Connected workers that could run its jobs.
    pub(super) able: usize,
    /// Those of them with room for one more attempt right now.
    pub(super) idle: BTreeSet<WorkerId>,
    /// Jobs that have given out all their tasks and wait for the last to end.
    pub(super) tails: BTreeSet<JobId>,
}

#[derive(Debug, Default)]
pub(super) struct Classes {
    all: HashMap<ClassId, Class>,
    by_needs: HashMap<Needs, ClassId>,
    next: u64,
}

impl Classes {
    pub(super) fn get(&self, id: ClassId) -> &Class {
        &self.all[&id]
    }

    pub(super) fn get_mut(&mut self, id: ClassId) -> &mut Class {
        self.all.get_mut(&id).expect("a class lives as long as one of its jobs")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        self.all.iter().map(|(id, class)| (*id, class))
    }

    /// Counts a live job more, and tells whether its class is new.
    pub(super) fn add_job(&mut self, needs: &Needs) -> (ClassId, bool) {
        if let Some(id) = self.by_needs.get(needs).copied() {
            self.get_mut(id).live_jobs += 1;
            return (id, false);
        }
        let id = ClassId(self.next);
        self.next += 1;
        let (queue, idle) = (Queue::default(), BTreeSet::new());
        self.all.insert(id, Class { needs: needs.clone(), live_jobs: 1, queue, able: 0, idle, tails: BTreeSet::new() });
        self.by_needs.insert(needs.clone(), id);
        (id, true)
    }

    /// Counts a live job less, and tells whether its class is gone.
    pub(super) fn remove_job(&mut self, id: ClassId) -> bool {
        let class = self.get_mut(id);
        class.live_jobs -= 1;
        if class.live_jobs > 0 {
            return false;
        }
        let class = self.all.remove(&id).expect("looked up above");
        self.by_needs.remove(&class.needs);
        true
    }
}
