//! The scheduling core: pure. It owns every live job, worker and lease, and changes them in answer to events.
//!
//! Each method takes what happened and the time, changes the state, and writes into [`Effects`] what must become
//! durable and what must be said. It never reads a clock, a random number, a file or a socket: the whole history of a
//! grid can be replayed from its events. The shell commits [`Effects::changes`] before it releases
//! [`Effects::messages`], so nothing is acknowledged that a crash could undo.
//!
//! Leases are not made durable. A worker proves with a seal that a lease was given to it, so a core that was
//! restored from the store takes running attempts back when their workers reconnect.

mod ballots;
mod class;
mod connections;
mod explain;
mod facts;
mod fairness;
mod invariants;
mod job;
mod lease;
mod leases;
mod placement;
mod ranges;
mod results;
mod seal;
mod speed;
mod status;
mod upkeep;
mod votes;
mod work_rate;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gristmill_proto::app::Target;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{JobError, JobSpec};
use gristmill_proto::view::{JobState, Submitted, TaskCounts};

pub use ballots::OpenBallot;
use class::Classes;
pub use class::{Lack, Needs};
pub use connections::ConnectError;
pub use facts::{Change, Effects, Fault, ResultAdded, StoredJob, StoredResult};
use fairness::Fairness;
pub use fairness::{UserTerms, WEIGHT_MAX, WeightError, Weights};
use job::{Job, Step};
use leases::Leases;
pub use results::{Batch, Finish, LeaseTerms, Shares};
pub use seal::PoolSecret;
pub use speed::Speed;
pub use status::{JobStatus, Totals, WorkerStatus};
pub use votes::Replication;
use worker::Worker;

use crate::trust::Standings;

/// One connection of a worker. A worker that reconnects has a new one, and what was meant for the old is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

#[derive(Clone, Debug)]
pub struct Tuning {
    /// How often a worker says it is alive.
    pub alive_ms: u64,
    /// A connected worker that has said nothing for so long is lost, and so are its leases.
    pub lost_ms: u64,
    /// A worker whose connection broke may come back within this time and keep its leases.
    pub reconnect_ms: u64,
    /// A lease lasts as long as its job lets an attempt run, and this much longer for fetching and sending.
    pub transfer_ms: u64,
    pub jobs_live_max: usize,
    pub workers_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            alive_ms: 30_000,
            lost_ms: 90_000,
            reconnect_ms: 15_000,
            transfer_ms: 600_000,
            jobs_live_max: 1_000_000,
            workers_max: 100_000,
        }
    }
}

/// Attempts of one job that may fail through the worker's fault (it lied, or could not even start) before the job
/// does. Apart from the job's own retries, which count failures of the program.
const WORKER_FAULTS_MAX: usize = 100;
/// What is kept of a reason that a worker or a submitter gives.
const REASON_BYTES_MAX: usize = 1_024;

/// As people may see it.
fn kept(reason: &str) -> String {
    let plain: String = reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    plain[..plain.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Invalid(#[from] JobError),
    #[error("the pool holds {0} live jobs and takes no more for now")]
    Full(usize),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerdictError {
    #[error("{0} is not live: it has ended or was never submitted")]
    NoSuchJob(JobId),
    #[error("{0} has no result of {1} that waits for a verdict")]
    NotPending(JobId, LeaseId),
}

#[derive(Debug)]
pub struct Core {
    pool: String,
    secret: PoolSecret,
    tuning: Tuning,
    next_lease: LeaseId,
    next_job: JobId,
    jobs: HashMap<JobId, Job>,
    by_external_id: HashMap<String, JobId>,
    classes: Classes,
    fairness: Fairness,
    workers: BTreeMap<WorkerId, Worker>,
    /// When each worker that is connected or holds leases counts as lost.
    lost_at: BTreeSet<(UnixMillis, WorkerId)>,
    /// Workers that hold leases ahead of their room.
    crowded: BTreeSet<WorkerId>,
    /// Jobs and workers to look at when all of an event is taken in: those with tasks to give, those with room.
    hungry: BTreeSet<JobId>,
    roomy: BTreeSet<WorkerId>,
    /// When stragglers were looked for.
    tails_seen: UnixMillis,
    leases: Leases,
    standings: HashMap<WorkerId, Shares>,
    /// Of voters on replicated jobs.
    trust: Standings,
    open_ms: u64,
    /// Ballots to decide when all of an event is taken in.
    to_decide: BTreeSet<TaskId>,
    /// By when sealed votes must be shown.
    opening: BTreeSet<(UnixMillis, TaskId)>,
    /// Of the pool's slots, by app.
    speeds: HashMap<Digest, Speed>,
}

/// Leases one run of the pool can give. A lease id is the run's number and a count within it, so that ids are never
/// used twice though they are not stored; together they stay below 2^53 for the sake of JSON readers.
const LEASES_PER_RUN_BITS: u32 = 36;

impl Core {
    /// `run` counts the starts of this pool and must be durable and new.
    pub fn new(pool: String, secret: PoolSecret, tuning: Tuning, run: u64, next_job: JobId) -> Self {
        Self {
            pool,
            secret,
            tuning,
            next_lease: LeaseId(run << LEASES_PER_RUN_BITS),
            next_job,
            jobs: HashMap::new(),
            by_external_id: HashMap::new(),
            classes: Classes::default(),
            fairness: Fairness::default(),
            workers: BTreeMap::new(),
            lost_at: BTreeSet::new(),
            crowded: BTreeSet::new(),
            hungry: BTreeSet::new(),
            roomy: BTreeSet::new(),
            tails_seen: UnixMillis::default(),
            leases: Leases::default(),
            standings: HashMap::new(),
            trust: Standings::new(Replication::default().policy),
            open_ms: Replication::default().open_ms,
            to_decide: BTreeSet::new(),
            opening: BTreeSet::new(),
            speeds: HashMap::new(),
        }
    }

    /// Before the first job.
    #[must_use]
    pub fn with_weights(mut self, weights: Weights) -> Self {
        self.fairness = Fairness::new(weights);
        self
    }

    /// Takes a worker's standing back from the store.
    pub fn restore_standing(&mut self, id: WorkerId, standing: Shares) {
        self.standings.insert(id, standing);
    }

    pub fn standing(&self, id: WorkerId) -> Shares {
        self.standings.get(&id).copied().unwrap_or_default()
    }

    pub fn restore_speed(&mut self, app: Digest, speed: Speed) {
        self.speeds.insert(app, speed);
    }

    /// Of one slot with this app, on average.
    pub fn speed(&self, app: &Digest) -> Speed {
        self.speeds.get(app).copied().unwrap_or_default()
    }

    /// Takes a live job back from the store.
    pub fn restore(&mut self, stored: StoredJob) {
        if let Some(id) = &stored.spec.external_id {
            self.by_external_id.insert(id.clone(), stored.job);
        }
        self.next_job = self.next_job.max(JobId(stored.job.0 + 1));
        let (id, class) = (stored.job, self.join_class(&stored.needs));
        for (index, ballot) in stored.ballots.iter().filter(|(_, ballot)| ballot.hopeless.is_none()) {
            self.trust.restore_ballot(&ballot.ballot);
            ballot.held_fact().into_iter().for_each(|fact| self.trust.restore(fact));
            self.to_decide.insert(TaskId { job: id, index: *index });
        }
        self.admit(id, Job::restore(stored, class));
    }

    fn join_class(&mut self, needs: &Needs) -> class::ClassId {
        let (class, new) = self.classes.add_job(needs);
        if new {
            let able: Vec<WorkerId> =
                self.workers.iter().filter(|(_, worker)| needs.met_by(&worker.offer)).map(|(id, _)| *id).collect();
            for id in able {
                let worker = self.workers.get_mut(&id).expect("found above");
                worker.classes.insert(class);
                self.classes.get_mut(class).able += usize::from(worker.connection.is_some());
                self.refresh_worker(id);
            }
        }
        class
    }

    fn admit(&mut self, id: JobId, job: Job) {
        self.fairness.add_job(&job.user);
        self.jobs.insert(id, job);
        self.refresh(id);
    }

    pub fn pool(&self) -> &str {
        &self.pool
    }

    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The live job of this external id.
    pub fn job_of(&self, external_id: &str) -> Option<JobId> {
        self.by_external_id.get(external_id).copied()
    }

    /// Takes a new job, or finds the live one with the same external id.
    pub fn submit(
        &mut self,
        spec: JobSpec,
        targets: &[Target],
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<Submitted, SubmitError> {
        spec.check()?;
        if let Some(id) = spec.external_id.as_deref().and_then(|id| self.job_of(id)) {
            return Ok(Submitted { id, known: true });
        }
        if self.jobs.len() >= self.tuning.jobs_live_max {
            return Err(SubmitError::Full(self.jobs.len()));
        }
        let id = self.next_job;
        self.next_job = JobId(id.0 + 1);
        let spec = Arc::new(spec);
        let needs = Needs::of(&spec, targets);
        out.changes.push(Change::JobAdded { job: id, spec: spec.clone(), needs: needs.clone(), at: now });
        out.touched.insert(id);
        if let Some(external_id) = &spec.external_id {
            self.by_external_id.insert(external_id.clone(), id);
        }
        let class = self.join_class(&needs);
        self.admit(id, Job::new(id, spec, class, now));
        self.place(now, out);
        Ok(Submitted { id, known: false })
    }

    /// Ends a live job; false if there is none of this id.
    pub fn cancel(&mut self, id: JobId, reason: &str, now: UnixMillis, out: &mut Effects) -> bool {
        let live = self.jobs.contains_key(&id);
        if live {
            self.end_job(id, JobState::Cancelled, Some(reason.to_owned()), now, out);
            self.place(now, out);
        }
        live
    }

    /// Goes on after a task of the job took a step.
    fn after_step(&mut self, id: JobId, step: Step, now: UnixMillis, out: &mut Effects) {
        match step {
            Step::Went => self.refresh(id),
            Step::JobDone => self.end_job(id, JobState::Done, None, now, out),
            Step::JobFailed(reason) => self.end_job(id, JobState::Failed, Some(reason), now, out),
        }
    }

    fn end_job(&mut self, id: JobId, state: JobState, reason: Option<String>, now: UnixMillis, out: &mut Effects) {
        // Those that wait first, or they would begin as the others end.
        let mut leases: Vec<LeaseId> = self.jobs[&id].leases().collect();
        leases.sort_by_key(|lease| self.leases.get(*lease).is_some_and(|given| given.begun.is_some()));
        let why = reason.clone().unwrap_or_else(|| "the job is done".to_owned());
        for lease in leases {
            let given = self.end_lease(lease, now).expect("a running task has a lease in force");
            self.tell_to_stop(given.worker, lease, why.clone(), out);
        }
        self.close_ballots(id, &why, now, out);
        let mut job = self.jobs.remove(&id).expect("only a live job ends");
        if let Some(place) = job.queued.take() {
            self.fairness.dequeue(job.class, &mut self.classes.get_mut(job.class).queue, &job.user, place);
        }
        if let Some(external_id) = &job.spec.external_id {
            self.by_external_id.remove(external_id);
        }
        self.classes.get_mut(job.class).tails.remove(&id);
        self.fairness.remove_job(&job.user);
        if self.classes.remove_job(job.class) {
            for worker in self.workers.values_mut() {
                worker.classes.remove(&job.class);
            }
        }
        let TaskCounts { done, failed, .. } = job.counts();
        out.changes.push(Change::JobEnded { job: id, state, reason, done, failed, at: now });
        out.touched.insert(id);
    }

    /// Keeps the class's queue true after a change of the job's tasks.
    fn refresh(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let place = job.has_waiting().then(|| job.place());
        let tails = &mut self.classes.get_mut(job.class).tails;
        if job.is_at_its_tail() {
            tails.insert(id);
        } else {
            tails.remove(&id);
        }
        if place.is_some() {
            self.hungry.insert(id);
        }
        if job.queued == place {
            return;
        }
        let queue = &mut self.classes.get_mut(job.class).queue;
        // In this order, so that a user who stays does not leave the queue in between.
        if let Some(place) = place {
            self.fairness.enqueue(job.class, queue, &job.user, place);
        }
        if let Some(former) = std::mem::replace(&mut job.queued, place) {
            self.fairness.dequeue(job.class, queue, &job.user, former);
        }
    }

    /// Keeps the classes' lists of idle workers true after a change of the worker's leases or connection.
    fn refresh_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let full = worker.connection.is_none() || worker.is_full();
        if full && !worker.idle {
            return;
        }
        worker.idle = !full;
        if !full {
            self.roomy.insert(id);
        }
        for id_of_class in &worker.classes {
            let class = self.classes.get_mut(*id_of_class);
            if !full && worker.has_room_for(&class.needs) {
                class.idle.insert(id);
            } else {
                class.idle.remove(&id);
            }
        }
    }
}
