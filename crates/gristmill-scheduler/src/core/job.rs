//! One live job: which of its tasks wait, run, are pending or finished, and who is to blame for what.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use gristmill_proto::app::{Runtime, Target};
use gristmill_proto::id::{JobId, LeaseId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec};
use gristmill_proto::message::WorkerOffer;
use gristmill_proto::view::{JobState, Progress, TaskCounts, Verdict};
use serde::{Deserialize, Serialize};

use super::ranges::RangeSet;
use super::work_rate::WorkRate;
use super::{Fault, StoredJob, StoredResult, WORKER_FAULTS_MAX};

/// What a worker must have to run a job: known when the job comes in, kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub targets: Vec<(Runtime, String, String)>,
    pub memory_bytes: u64,
}

impl Needs {
    pub fn of(spec: &JobSpec, targets: &[Target]) -> Self {
        let targets = targets.iter().map(|target| (target.runtime, target.os.clone(), target.arch.clone())).collect();
        // What a program writes to `/out` and `/tmp` lies in the worker's memory.
        let memory_bytes = spec.limits.memory_bytes.saturating_add(spec.limits.disk_bytes);
        Self { targets, memory_bytes }
    }

    pub(super) fn met_by(&self, offer: &WorkerOffer) -> bool {
        let runs = |(runtime, os, arch): &(Runtime, String, String)| {
            offer.runtimes.contains(runtime) && *os == offer.os && *arch == offer.arch
        };
        self.memory_bytes <= offer.memory_bytes && self.targets.iter().any(runs)
    }
}

/// A live job. Tasks that were never given out, or are finished, take no memory of their own.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: Arc<JobSpec>,
    pub(super) needs: Needs,
    /// Workers that lied about this job or could not run it.
    pub(super) excluded: HashSet<WorkerId>,
    /// Workers that saw the program fail or took too long; others are tried first.
    pub(super) avoided: HashSet<WorkerId>,
    /// Our entry in the core's list of ready jobs.
    pub(super) listed: Option<(u64, JobId)>,
    /// Tasks from here on were never given out, but for those in `ahead`.
    next: u64,
    ahead: BTreeSet<u64>,
    /// Tasks below `next` that wait to be given out again.
    again: BTreeSet<u64>,
    running: BTreeMap<u64, LeaseId>,
    pending: BTreeMap<u64, (LeaseId, WorkerId)>,
    finished: RangeSet,
    failures: BTreeMap<u64, u32>,
    worker_faults: usize,
    /// Work units that a search has spent without finding anything.
    vain_work: u64,
    /// Of the best near miss.
    closest_score: Option<u64>,
    started: bool,
    work_done: u64,
    rate: WorkRate,
}

/// What a task's step means for its job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Went,
    JobDone,
    JobFailed(String),
}

impl Job {
    pub(super) fn new(spec: Arc<JobSpec>, needs: Needs) -> Self {
        Self {
            spec,
            needs,
            excluded: HashSet::new(),
            avoided: HashSet::new(),
            listed: None,
            next: 0,
            ahead: BTreeSet::new(),
            again: BTreeSet::new(),
            running: BTreeMap::new(),
            pending: BTreeMap::new(),
            finished: RangeSet::default(),
            failures: BTreeMap::new(),
            worker_faults: 0,
            vain_work: 0,
            closest_score: None,
            started: false,
            work_done: 0,
            rate: WorkRate::default(),
        }
    }

    pub(super) fn restore(stored: StoredJob) -> Self {
        let mut job = Self::new(stored.spec, stored.needs);
        job.work_done = stored.work_done;
        job.closest_score = stored.closest_score;
        for StoredResult { index, lease, worker, verdict, work } in stored.results {
            match verdict {
                Verdict::Pending => drop(job.pending.insert(index, (lease, worker))),
                Verdict::Certified => {
                    job.finished.insert(index);
                    // One that had found something would have ended the job.
                    job.vain_work = job.vain_work.saturating_add(work);
                }
                Verdict::Rejected => job.blame(index, worker, Fault::Worker),
            }
        }
        for (index, worker, fault) in stored.failures {
            job.blame(index, worker, fault);
        }
        let seen = [job.finished.last(), job.pending.last_key_value().map(|(index, _)| *index)];
        job.next = seen.into_iter().flatten().max().map_or(0, |last| last + 1);
        job.again = job.finished.missing_below(job.next).filter(|index| !job.pending.contains_key(index)).collect();
        job.started = job.next > 0 || !job.failures.is_empty() || job.worker_faults > 0;
        job
    }

    pub(super) fn ready_key(&self, id: JobId) -> (u64, JobId) {
        (self.running.len() as u64, id)
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.again.is_empty() || self.next < self.spec.tasks
    }

    /// Takes the next task to give out.
    pub(super) fn next_waiting(&mut self) -> Option<u64> {
        if let Some(index) = self.again.pop_first() {
            return Some(index);
        }
        let index = (self.next < self.spec.tasks).then_some(self.next)?;
        self.advance();
        Some(index)
    }

    /// Takes a certain task to give out, if it waits.
    pub(super) fn take(&mut self, index: u64) -> bool {
        if index >= self.spec.tasks {
            return false;
        }
        if index == self.next {
            self.advance();
            return true;
        }
        if index > self.next { self.ahead.insert(index) } else { self.again.remove(&index) }
    }

    fn advance(&mut self) {
        self.next += 1;
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
    }

    pub(super) fn start(&mut self, index: u64, lease: LeaseId, now: UnixMillis) {
        self.started = true;
        self.rate.begin(now);
        self.running.insert(index, lease);
    }

    /// The attempt is void and nobody is to blame.
    pub(super) fn give_back(&mut self, index: u64) {
        self.running.remove(&index);
        self.again.insert(index);
    }

    /// The result waits for the submitter's verdict.
    pub(super) fn hold(&mut self, index: u64, lease: LeaseId, worker: WorkerId) {
        self.running.remove(&index);
        self.pending.insert(index, (lease, worker));
    }

    pub(super) fn pending_of(&self, lease: LeaseId) -> Option<(u64, WorkerId)> {
        self.pending.iter().find(|(_, (given, _))| *given == lease).map(|(index, (_, worker))| (*index, *worker))
    }

    pub(super) fn certify(&mut self, index: u64, answered: bool, work: u64) -> Step {
        self.running.remove(&index);
        self.pending.remove(&index);
        self.failures.remove(&index);
        self.finished.insert(index);
        let all = self.finished.len() == self.spec.tasks;
        self.vain_work = self.vain_work.saturating_add(work);
        // A find that waits for its verdict may still be the answer.
        let spent =
            self.spec.search.as_ref().filter(|search| self.vain_work >= search.work_max && self.pending.is_empty());
        match self.spec.done_when {
            DoneWhen::AnyTask if answered => Step::JobDone,
            DoneWhen::AnyTask if let Some(search) = spent => {
                Step::JobFailed(format!("{} work units were searched in vain", search.work_max))
            }
            DoneWhen::AnyTask if all => {
                Step::JobFailed(format!("all {} tasks ended without an answer", self.spec.tasks))
            }
            DoneWhen::AllTasks if all => Step::JobDone,
            DoneWhen::AnyTask | DoneWhen::AllTasks => Step::Went,
        }
    }

    pub(super) fn fail(&mut self, index: u64, worker: WorkerId, fault: Fault, last: &str) -> Step {
        self.running.remove(&index);
        self.pending.remove(&index);
        self.again.insert(index);
        self.blame(index, worker, fault);
        if self.failures.get(&index).is_some_and(|failures| *failures > self.spec.retries) {
            return Step::JobFailed(format!("task {index} failed {} times, last: {last}", self.spec.retries + 1));
        }
        if self.worker_faults > WORKER_FAULTS_MAX {
            return Step::JobFailed(format!("{WORKER_FAULTS_MAX} attempts failed on their workers, last: {last}"));
        }
        Step::Went
    }

    fn blame(&mut self, index: u64, worker: WorkerId, fault: Fault) {
        match fault {
            Fault::App => {
                self.avoided.insert(worker);
                *self.failures.entry(index).or_default() += 1;
            }
            Fault::Worker => {
                self.excluded.insert(worker);
                self.worker_faults += 1;
            }
            Fault::Late => {
                self.avoided.insert(worker);
                self.worker_faults += 1;
            }
        }
    }

    /// Whether this near miss is better than all before.
    pub(super) fn comes_closer(&mut self, score: u64) -> bool {
        let closer = self.closest_score.is_none_or(|best| score > best);
        if closer {
            self.closest_score = Some(score);
        }
        closer
    }

    /// Work that was done while this pool did not look: it says nothing of the present rate.
    pub(super) fn caught_up(&mut self, units: u64) {
        self.work_done = self.work_done.saturating_add(units);
    }

    pub(super) fn worked(&mut self, units: u64, now: UnixMillis) {
        self.work_done = self.work_done.saturating_add(units);
        self.rate.add(units, now);
    }

    pub(super) fn state(&self) -> JobState {
        if self.started { JobState::Running } else { JobState::Queued }
    }

    pub(super) fn progress(&self, now: UnixMillis) -> Progress {
        Progress { done: self.work_done, rate_per_s: self.rate.per_second(now) }
    }

    pub(super) fn counts(&self) -> TaskCounts {
        let (running, pending, done) = (self.running.len() as u64, self.pending.len() as u64, self.finished.len());
        let total = self.spec.tasks;
        TaskCounts { total, waiting: total - running - pending - done, running, pending, done, failed: 0 }
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.running.values().copied()
    }

    pub(super) fn lease_of(&self, index: u64) -> Option<LeaseId> {
        self.running.get(&index).copied()
    }

    pub(super) fn check_invariants(&self) {
        let known =
            self.running.len() as u64 + self.pending.len() as u64 + self.finished.len() + self.again.len() as u64;
        assert_eq!(known, self.next + self.ahead.len() as u64, "each task given out is in exactly one place");
        assert!(self.next <= self.spec.tasks);
        assert!(self.again.iter().all(|index| *index < self.next || self.ahead.contains(index)));
        let places = |index: &u64| {
            usize::from(self.running.contains_key(index))
                + usize::from(self.pending.contains_key(index))
                + usize::from(self.finished.contains(*index))
                + usize::from(self.again.contains(index))
        };
        assert!(self.running.keys().chain(self.pending.keys()).chain(&self.again).all(|index| places(index) == 1));
    }
}
