//! One live job: which of its tasks wait, run, are pending or finished, and who is to blame for what.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec, Trust};
use gristmill_proto::receipt::digest_of_job;
use gristmill_proto::view::{JobState, Progress, TaskCounts, Verdict};

use super::ballots::Ballots;
use super::class::ClassId;
use super::fairness::{Name, Place};
use super::ranges::RangeSet;
use super::work_rate::WorkRate;
use super::{Fault, StoredJob, StoredResult, WORKER_FAULTS_MAX};

/// A live job. Tasks that were never given out, or are finished, take no memory of their own.
#[derive(Debug)]
pub(super) struct Job {
    id: JobId,
    pub(super) spec: Arc<JobSpec>,
    /// Of the spec.
    pub(super) digest: Digest,
    pub(super) class: ClassId,
    pub(super) user: Name,
    age: i64,
    /// The last lease that was given for it; those of a later job are higher.
    pub(super) served: u64,
    /// Workers that lied about this job or could not run it.
    pub(super) excluded: HashSet<WorkerId>,
    /// Workers that saw the program fail or took too long; others are tried first.
    pub(super) avoided: HashSet<WorkerId>,
    /// Our place in the class's queue.
    pub(super) queued: Option<Place>,
    /// Of a replicated job.
    pub(super) ballots: Option<Ballots>,
    /// Leases that workers of a replicated job gave up, and votes they cast.
    diligence: HashMap<WorkerId, (u64, u64)>,
    /// Tasks from here on were never given out, but for those in `ahead`.
    next: u64,
    ahead: BTreeSet<u64>,
    /// Tasks below `next` that wait to be given out again.
    again: BTreeSet<u64>,
    running: BTreeSet<(u64, LeaseId)>,
    pending: BTreeMap<u64, (LeaseId, WorkerId)>,
    finished: RangeSet,
    /// Tasks that failed for good, and the first of them with its last error.
    failed: RangeSet,
    first_failure: Option<String>,
    failures: BTreeMap<u64, u32>,
    worker_faults: usize,
    /// Work units that a search has spent without finding anything.
    vain_work: u64,
    /// Of the best near miss.
    closest_score: Option<u64>,
    started: bool,
    work_done: u64,
    rate: WorkRate,
    /// How long attempts took, and how many.
    took_ms: u64,
    took: u64,
}

/// Waiting that is worth a step of priority.
const AGEING_MS: i64 = 600_000;
/// Attempts whose duration is remembered.
const TOOK_MAX: u64 = 256;

/// What a task's step means for its job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Went,
    JobDone,
    JobFailed(String),
}

impl Job {
    pub(super) fn new(id: JobId, spec: Arc<JobSpec>, class: ClassId, at: UnixMillis) -> Self {
        let age = i64::try_from(at.0).unwrap_or(i64::MAX) / AGEING_MS - i64::from(spec.priority);
        let ballots = match spec.trust {
            Trust::Replicate(terms) => Some(Ballots::new(&spec, terms)),
            Trust::Pool | Trust::Submitter => None,
        };
        Self {
            id,
            digest: digest_of_job(&spec),
            user: spec.user.as_str().into(),
            spec,
            class,
            age,
            served: 0,
            excluded: HashSet::new(),
            avoided: HashSet::new(),
            queued: None,
            ballots,
            diligence: HashMap::new(),
            next: 0,
            ahead: BTreeSet::new(),
            again: BTreeSet::new(),
            running: BTreeSet::new(),
            pending: BTreeMap::new(),
            finished: RangeSet::default(),
            failed: RangeSet::default(),
            first_failure: None,
            failures: BTreeMap::new(),
            worker_faults: 0,
            vain_work: 0,
            closest_score: None,
            started: false,
            work_done: 0,
            rate: WorkRate::default(),
            took_ms: 0,
            took: 0,
        }
    }

    pub(super) fn restore(stored: StoredJob, class: ClassId) -> Self {
        let mut job = Self::new(stored.job, stored.spec, class, stored.at);
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
                // Whoever is outvoted is barred from the app.
                Verdict::Rejected if job.ballots.is_some() => {}
                Verdict::Rejected => job.blame(index, worker, Fault::Worker),
                // Their ballots tell the rest.
                Verdict::Voted | Verdict::Agreed => {}
            }
        }
        for (index, worker, fault) in stored.failures {
            job.blame(index, worker, fault);
            if job.is_beyond_hope(index) {
                job.failed.insert(index);
            }
        }
        let mut last_voted = None;
        for (index, ballot) in stored.ballots {
            last_voted = last_voted.max(Some(index));
            match (&ballot.hopeless, &mut job.ballots) {
                (None, Some(ballots)) if !job.failed.contains(index) => ballots.restore(index, ballot),
                (Some(reason), _) => {
                    job.first_failure.get_or_insert_with(|| format!("task {index}: {reason}"));
                    job.failed.insert(index);
                }
                _ => {}
            }
        }
        let last_pending = job.pending.last_key_value().map(|(index, _)| *index);
        let seen = [job.finished.last(), job.failed.last(), last_pending, last_voted];
        job.next = seen.into_iter().flatten().max().map_or(0, |last| last + 1);
        let voted_on = |index: u64| job.ballots.as_ref().is_some_and(|ballots| ballots.contains(index));
        let waits = |index: &u64| !job.pending.contains_key(index) && !job.failed.contains(*index) && !voted_on(*index);
        job.again = job.finished.missing_below(job.next).filter(waits).collect();
        job.started = job.next > 0 || !job.failures.is_empty() || job.worker_faults > 0;
        job
    }

    pub(super) fn place(&self) -> Place {
        let deadline = self.spec.deadline_ms.map_or(u64::MAX, |at| at.0);
        Place { age: self.age, deadline, served: self.served, job: self.id }
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.has_fresh() || self.ballots.as_ref().is_some_and(Ballots::wants_votes)
    }

    /// Whether there is a task that nobody runs or votes on.
    pub(super) fn has_fresh(&self) -> bool {
        !self.again.is_empty() || self.next < self.spec.tasks
    }

    /// Tasks without a result.
    pub(super) fn unfinished(&self) -> u64 {
        self.spec.tasks - self.finished.len() - self.failed.len()
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
        self.running.insert((index, lease));
    }

    /// The attempt is void and nobody is to blame.
    pub(super) fn give_back(&mut self, index: u64, lease: LeaseId) {
        self.running.remove(&(index, lease));
        self.run_again(index, lease);
    }

    /// Gives the task out again, if nothing else is under way for it.
    fn run_again(&mut self, index: u64, lease: LeaseId) {
        let alone = match &mut self.ballots {
            Some(ballots) => ballots.unask(index, lease),
            None => self.attempts_of(index).next().is_none(),
        };
        if alone {
            self.again.insert(index);
        }
    }

    /// The worker has voted on a task.
    pub(super) fn voted(&mut self, worker: WorkerId) {
        self.diligence.entry(worker).or_default().1 += 1;
    }

    /// The worker came to no vote. How often it did so, and how often it voted.
    pub(super) fn gave_up(&mut self, worker: WorkerId) -> (u64, u64) {
        let diligence = self.diligence.entry(worker).or_default();
        diligence.0 += 1;
        *diligence
    }

    /// No number of votes that is allowed decides the task.
    pub(super) fn give_up(&mut self, index: u64, reason: &str) -> Step {
        self.failed.insert(index);
        self.first_failure.get_or_insert_with(|| format!("task {index}: {reason}"));
        self.step()
    }

    /// The attempt is over, and the task needs it no more.
    pub(super) fn ended(&mut self, index: u64, lease: LeaseId) {
        self.running.remove(&(index, lease));
    }

    /// Leases under which the task runs.
    pub(super) fn attempts_of(&self, index: u64) -> impl Iterator<Item = LeaseId> + use<'_> {
        self.running.range((index, LeaseId(0))..=(index, LeaseId(u64::MAX))).map(|(_, lease)| *lease)
    }

    /// Whether all tasks are given out, and a second attempt of one that takes long may end the job sooner.
    pub(super) fn is_at_its_tail(&self) -> bool {
        !self.has_waiting() && !self.running.is_empty() && self.spec.search.is_none() && self.ballots.is_none()
    }

    /// Tasks that run under one lease only.
    pub(super) fn running_once(&self) -> impl Iterator<Item = (u64, LeaseId)> + use<'_> {
        let alone = |(index, _): &&(u64, LeaseId)| self.attempts_of(*index).nth(1).is_none();
        self.running.iter().filter(alone).copied()
    }

    /// Notes how long an attempt took.
    pub(super) fn took(&mut self, ms: u64) {
        if self.took >= TOOK_MAX {
            (self.took_ms, self.took) = (self.took_ms / 2, self.took / 2);
        }
        self.took_ms = self.took_ms.saturating_add(ms);
        self.took += 1;
    }

    /// How long `count` attempts take, one after the other, if any has ended yet.
    pub(super) fn expected_ms(&self, count: u64) -> Option<u64> {
        (self.took > 0).then(|| self.took_ms.saturating_mul(count) / self.took)
    }

    /// How many attempts end in so much time, one after the other, if any has ended yet.
    pub(super) fn expected_in(&self, ms: u64) -> Option<u64> {
        (self.took > 0).then(|| ms.saturating_mul(self.took) / self.took_ms.max(1))
    }

    /// The result waits for the submitter's verdict.
    pub(super) fn hold(&mut self, index: u64, lease: LeaseId, worker: WorkerId) {
        self.running.remove(&(index, lease));
        self.pending.insert(index, (lease, worker));
    }

    pub(super) fn pending_of(&self, lease: LeaseId) -> Option<(u64, WorkerId)> {
        self.pending.iter().find(|(_, (given, _))| *given == lease).map(|(index, (_, worker))| (*index, *worker))
    }

    /// The caller ends the other attempts, if some still run.
    pub(super) fn certify(&mut self, index: u64, lease: LeaseId, answered: bool, work: u64) -> Step {
        self.running.remove(&(index, lease));
        self.pending.remove(&index);
        self.failures.remove(&index);
        self.finished.insert(index);
        self.vain_work = self.vain_work.saturating_add(work);
        // A find that waits for its verdict may still be the answer.
        let spent =
            self.spec.search.as_ref().filter(|search| self.vain_work >= search.work_max && self.pending.is_empty());
        match self.spec.done_when {
            DoneWhen::AnyTask if answered => Step::JobDone,
            DoneWhen::AnyTask if let Some(search) = spent => {
                Step::JobFailed(format!("{} work units were searched in vain", search.work_max))
            }
            DoneWhen::AnyTask | DoneWhen::AllTasks => self.step(),
        }
    }

    fn step(&self) -> Step {
        let (tasks, failed) = (self.spec.tasks, self.failed.len());
        let why = || self.first_failure.as_deref().unwrap_or("no reason is known");
        if failed > self.spec.failed_max {
            let of_all = if tasks == 1 { String::new() } else { format!("{failed} of {tasks} tasks failed; ") };
            return Step::JobFailed(format!("{of_all}{}", why()));
        }
        if self.worker_faults > WORKER_FAULTS_MAX {
            return Step::JobFailed(format!("{WORKER_FAULTS_MAX} attempts failed on their workers; {}", why()));
        }
        if self.finished.len() + failed < tasks {
            return Step::Went;
        }
        match self.spec.done_when {
            DoneWhen::AnyTask => Step::JobFailed(format!("all {tasks} tasks ended without an answer")),
            DoneWhen::AllTasks if failed == tasks => Step::JobFailed(format!("all tasks failed; {}", why())),
            DoneWhen::AllTasks => Step::JobDone,
        }
    }

    pub(super) fn fail(&mut self, index: u64, lease: LeaseId, worker: WorkerId, fault: Fault, last: &str) -> Step {
        self.running.remove(&(index, lease));
        self.pending.remove(&index);
        self.blame(index, worker, fault);
        if self.is_beyond_hope(index) {
            self.again.remove(&index);
            self.failed.insert(index);
            let times = self.spec.retries + 1;
            self.first_failure.get_or_insert_with(|| format!("task {index} failed {times} times, last: {last}"));
        } else {
            self.run_again(index, lease);
        }
        if self.worker_faults > WORKER_FAULTS_MAX {
            self.first_failure = Some(format!("last: {last}"));
        }
        self.step()
    }

    /// Whether the task has used up its retries.
    pub(super) fn is_beyond_hope(&self, index: u64) -> bool {
        self.failures.get(&index).is_some_and(|failures| *failures > self.spec.retries)
    }

    pub(super) fn blame(&mut self, index: u64, worker: WorkerId, fault: Fault) {
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
        let mut last = None;
        let running = self.running.iter().filter(|(index, _)| last.replace(*index) != Some(*index)).count() as u64;
        let runs = |index: u64| self.attempts_of(index).next().is_some();
        let voted_on = self.ballots.iter().flat_map(Ballots::iter).filter(|(index, _)| !runs(*index)).count();
        let (pending, done, failed) = ((self.pending.len() + voted_on) as u64, self.finished.len(), self.failed.len());
        let total = self.spec.tasks;
        TaskCounts { total, waiting: total - running - pending - done - failed, running, pending, done, failed }
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.running.iter().map(|(_, lease)| *lease)
    }

    pub(super) fn runs_under(&self, index: u64, lease: LeaseId) -> bool {
        let sealed = || self.ballots.as_ref()?.get(index).map(|open| open.kept.sealed_under(lease));
        self.running.contains(&(index, lease)) || sealed().unwrap_or(false)
    }

    pub(super) fn check_invariants(&self) {
        let counts = self.counts();
        let known = counts.running + counts.pending + counts.done + counts.failed + self.again.len() as u64;
        assert_eq!(known, self.next + self.ahead.len() as u64, "each task given out is in exactly one place");
        assert!(self.next <= self.spec.tasks);
        assert!(self.again.iter().all(|index| *index < self.next || self.ahead.contains(index)));
        let places = |index: &u64| {
            usize::from(self.attempts_of(*index).next().is_some())
                + usize::from(self.pending.contains_key(index))
                + usize::from(
                    self.ballots.as_ref().is_some_and(|ballots| ballots.contains(*index))
                        && self.attempts_of(*index).next().is_none(),
                )
                + usize::from(self.finished.contains(*index))
                + usize::from(self.failed.contains(*index))
                + usize::from(self.again.contains(index))
        };
        let running = self.running.iter().map(|(index, _)| index);
        assert!(running.chain(self.pending.keys()).chain(&self.again).all(|index| places(index) == 1));
        if let Some(ballots) = &self.ballots {
            ballots.check_invariants();
            for (index, open) in ballots.iter() {
                assert_eq!(places(&index), 1, "{index} is voted on and nothing else");
                let running = self.attempts_of(index).all(|lease| open.asked.iter().any(|(asked, _)| *asked == lease));
                assert!(running && open.asked.len() == self.attempts_of(index).count(), "who runs {index} was asked");
            }
        }
    }
}
