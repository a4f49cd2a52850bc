//! The scheduling core: pure. It owns every live job, worker and lease, and changes them in answer to events.
//!
//! Each method takes what happened and the time, changes the state, and writes into [`Effects`] what must become
//! durable and what must be said. It never reads a clock, a random number, a file or a socket: the whole history of a
//! grid can be replayed from its events. The shell commits [`Effects::changes`] before it releases
//! [`Effects::messages`], so nothing is acknowledged that a crash could undo.
//!
//! Leases are not made durable. A worker proves with a seal that a lease was given to it, so a core that was
//! restored from the store takes running attempts back when their workers reconnect.

mod job;
mod placement;
mod ranges;
mod seal;
mod speed;
mod work_rate;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gristmill_proto::app::Target;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobError, JobSpec, Trust, WORK_MAX};
use gristmill_proto::key::Signature;
use gristmill_proto::message::{HeldLease, Lease, SLOTS_MAX, ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Outcome};
use gristmill_proto::receipt::{Receipt, Statement};
use gristmill_proto::view::{Closest, JobState, Progress, Submitted, TaskCounts, Verdict};

pub use job::Needs;
use job::{Job, Step};
pub use seal::PoolSecret;
pub use speed::Speed;
use worker::Worker;

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

fn kept(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

/// What the shell must do about an event, in this order: commit `changes`, then send `messages`, then tell watchers
/// of `touched` jobs.
#[derive(Debug, Default)]
pub struct Effects {
    pub changes: Vec<Change>,
    pub messages: Vec<(WorkerId, ConnectionId, ToWorker)>,
    pub touched: BTreeSet<JobId>,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.messages.is_empty() && self.touched.is_empty()
    }
}

/// One durable fact. A core restored from all facts so far equals this one but for its leases.
#[derive(Clone, Debug)]
pub enum Change {
    JobAdded {
        job: JobId,
        spec: Arc<JobSpec>,
        needs: Needs,
        at: UnixMillis,
    },
    ResultAdded {
        task: TaskId,
        lease: LeaseId,
        worker: WorkerId,
        outcome: Box<Outcome>,
        receipt: Box<Receipt>,
        verdict: Verdict,
        /// A task of a search that was searched to its end, and nothing found.
        vain: bool,
        /// Work units done, as far as they are believed.
        work: u64,
        /// Near misses that were checked.
        shares: u64,
        at: UnixMillis,
    },
    CameCloser {
        job: JobId,
        closest: Closest,
    },
    StandingChanged {
        worker: WorkerId,
        standing: Shares,
    },
    SpeedMeasured {
        app: Digest,
        speed: Speed,
    },
    VerdictGiven {
        task: TaskId,
        lease: LeaseId,
        worker: WorkerId,
        certified: bool,
        reason: String,
        at: UnixMillis,
    },
    AttemptFailed {
        task: TaskId,
        lease: LeaseId,
        worker: WorkerId,
        fault: Fault,
        reason: String,
        work_done: u64,
        at: UnixMillis,
    },
    JobEnded {
        job: JobId,
        state: JobState,
        reason: Option<String>,
        at: UnixMillis,
    },
}

/// Who is to blame for a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program failed or used too much. Counts against the job's retries; other workers are tried first.
    App,
    /// The worker lied or could not run it. The worker gets no more of this job.
    Worker,
    /// The worker kept the lease longer than any attempt may last. Other workers are tried first.
    Late,
}

/// A live job as the store knows it.
#[derive(Clone, Debug)]
pub struct StoredJob {
    pub job: JobId,
    pub spec: Arc<JobSpec>,
    pub needs: Needs,
    pub at: UnixMillis,
    /// Those without a verdict against them; the others are `failures`.
    pub results: Vec<StoredResult>,
    pub failures: Vec<(u64, WorkerId, Fault)>,
    pub work_done: u64,
    pub closest_score: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct StoredResult {
    pub index: u64,
    pub lease: LeaseId,
    pub worker: WorkerId,
    pub verdict: Verdict,
    pub work: u64,
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

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the pool has {0} workers and takes no more for now")]
    Full(usize),
    #[error("a worker offers between 1 and {SLOTS_MAX} slots, not {0}")]
    Slots(u32),
}

/// What a worker says of the end of an attempt.
#[derive(Clone, Debug)]
pub struct Finish {
    pub lease: LeaseId,
    pub outcome: Box<Outcome>,
    pub signature: Signature,
    /// What the shell found wrong with it, such as an output that was never uploaded.
    pub flaw: Option<String>,
    /// Good shares, if the job has terms for them.
    pub shares: u64,
    /// The best of them.
    pub closest: Option<Closest>,
}

/// Near misses that were found, and how many there should be: none where a search was not brought to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    pub found: u64,
    pub expected: u64,
}

impl Shares {
    /// A worker's standing fades, so that a long good past covers no bad present.
    const STANDING_MAX: u64 = 16_384;

    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        let (mut found, mut expected) =
            (self.found.saturating_add(more.found), self.expected.saturating_add(more.expected));
        while expected > Self::STANDING_MAX {
            (found, expected) = (found / 2, expected / 2);
        }
        Self { found, expected }
    }
}

/// A live job, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStatus {
    pub state: JobState,
    pub tasks: TaskCounts,
    pub progress: Progress,
    pub workers: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    pub id: WorkerId,
    pub name: String,
    pub connected: bool,
    pub slots: u32,
    pub running: u32,
}

#[derive(Debug)]
struct GivenLease {
    task: TaskId,
    worker: WorkerId,
    /// In a search, the work units to do.
    work: u64,
    given_at: UnixMillis,
    /// No honest attempt lasts longer.
    due: UnixMillis,
    /// The app's own work units, as last reported.
    work_done: u64,
    /// Given before a restart; its next report is of work done since long ago.
    taken_back: bool,
}

impl GivenLease {
    /// Nobody searches more than was given out.
    fn believed(&self, claimed: u64) -> u64 {
        claimed.min(if self.work > 0 { self.work } else { WORK_MAX })
    }
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
    /// Jobs with a task to give, those with the fewest running attempts first, so that jobs share the pool.
    ready: BTreeSet<(u64, JobId)>,
    workers: BTreeMap<WorkerId, Worker>,
    /// Connected workers with a free slot.
    idle: BTreeSet<WorkerId>,
    /// When each worker that is connected or holds leases counts as lost.
    lost_at: BTreeSet<(UnixMillis, WorkerId)>,
    leases: HashMap<LeaseId, GivenLease>,
    /// The same leases by their `due`.
    due: BTreeSet<(UnixMillis, LeaseId)>,
    standings: HashMap<WorkerId, Shares>,
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
            ready: BTreeSet::new(),
            workers: BTreeMap::new(),
            idle: BTreeSet::new(),
            lost_at: BTreeSet::new(),
            leases: HashMap::new(),
            due: BTreeSet::new(),
            standings: HashMap::new(),
            speeds: HashMap::new(),
        }
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

    /// Slots of connected workers.
    pub fn slots(&self) -> u64 {
        let connected = self.workers.values().filter(|worker| worker.connection.is_some());
        connected.map(|worker| u64::from(worker.offer.slots)).sum()
    }

    /// The job, task and work of a lease in force that this worker holds.
    pub fn lease(&self, id: WorkerId, lease: LeaseId) -> Option<(Arc<JobSpec>, TaskId, u64)> {
        let given = self.leases.get(&lease).filter(|given| given.worker == id)?;
        Some((self.jobs.get(&given.task.job)?.spec.clone(), given.task, given.work))
    }

    /// Takes a live job back from the store.
    pub fn restore(&mut self, stored: StoredJob) {
        if let Some(id) = &stored.spec.external_id {
            self.by_external_id.insert(id.clone(), stored.job);
        }
        self.next_job = self.next_job.max(JobId(stored.job.0 + 1));
        let id = stored.job;
        self.jobs.insert(id, Job::restore(stored));
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
        self.jobs.insert(id, Job::new(spec, needs));
        self.refresh(id);
        self.place_job(id, now, out);
        Ok(Submitted { id, known: false })
    }

    /// Ends a live job; false if there is none of this id.
    pub fn cancel(&mut self, id: JobId, reason: &str, now: UnixMillis, out: &mut Effects) -> bool {
        let live = self.jobs.contains_key(&id);
        if live {
            self.end_job(id, JobState::Cancelled, Some(reason.to_owned()), now, out);
        }
        live
    }

    /// The submitter's word on a result that waited for it.
    pub fn judge(
        &mut self,
        id: JobId,
        lease: LeaseId,
        certified: bool,
        reason: &str,
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<(), VerdictError> {
        let job = self.jobs.get_mut(&id).ok_or(VerdictError::NoSuchJob(id))?;
        let (index, worker) = job.pending_of(lease).ok_or(VerdictError::NotPending(id, lease))?;
        let task = TaskId { job: id, index };
        let reason = kept(if reason.is_empty() && !certified { "a wrong answer" } else { reason });
        let change = Change::VerdictGiven { task, lease, worker, certified, reason: reason.clone(), at: now };
        out.changes.push(change);
        out.touched.insert(id);
        let step = if certified {
            job.certify(index, true, 0)
        } else {
            let step = job.fail(index, worker, Fault::Worker, &reason);
            self.withdraw(id, worker, out);
            step
        };
        self.after_step(id, step, now, out);
        Ok(())
    }

    /// A worker has proven its key on a new connection. Its former connection, if any, is told to go.
    pub fn connect(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        offer: WorkerOffer,
        held: &[HeldLease],
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<Vec<LeaseId>, ConnectError> {
        if !(1..=SLOTS_MAX).contains(&offer.slots) {
            return Err(ConnectError::Slots(offer.slots));
        }
        if self.workers.len() >= self.tuning.workers_max && !self.workers.contains_key(&id) {
            return Err(ConnectError::Full(self.workers.len()));
        }
        if let Some(former) = self.workers.get(&id).and_then(|worker| worker.connection) {
            let reason = "the same worker has connected again".to_owned();
            out.messages.push((id, former, ToWorker::Refused { reason }));
        }
        let lost_at = now.plus(self.tuning.lost_ms);
        match self.workers.get_mut(&id) {
            Some(worker) => {
                self.lost_at.remove(&(worker.lost_at, id));
                (worker.connection, worker.offer, worker.lost_at) = (Some(connection), offer, lost_at);
            }
            None => drop(self.workers.insert(id, Worker::new(connection, offer, lost_at))),
        }
        self.lost_at.insert((lost_at, id));

        let kept: BTreeSet<LeaseId> = held.iter().map(|held| held.lease).collect();
        let gone: Vec<LeaseId> =
            self.workers[&id].leases.iter().copied().filter(|lease| !kept.contains(lease)).collect();
        for lease in gone {
            self.release(id, lease, now, out);
        }
        let drop = held.iter().filter(|held| !self.take_back(id, held, now)).map(|held| held.lease).collect();
        self.refresh_worker(id);
        Ok(drop)
    }

    /// What must follow the greeting that the shell sends after [`Core::connect`].
    pub fn greeted(&mut self, id: WorkerId, now: UnixMillis, out: &mut Effects) {
        self.place_worker(id, now, out);
    }

    /// Whether the worker may go on with a lease it holds: ours, or one we gave before a restart and whose task is
    /// still to do.
    fn take_back(&mut self, id: WorkerId, held: &HeldLease, now: UnixMillis) -> bool {
        if let Some(given) = self.leases.get(&held.lease) {
            return given.worker == id;
        }
        if !self.secret.sealed(held.lease, held.task, held.work, id, held.seal) {
            return false;
        }
        let worker = &self.workers[&id];
        let Some(job) = self.jobs.get_mut(&held.task.job) else { return false };
        let room = worker.leases.len() < worker.offer.slots as usize;
        let welcome = placement::obstacle(id, worker, job).is_none() && !job.avoided.contains(&id);
        if !room || !welcome || !job.take(held.task.index) {
            return false;
        }
        self.put_in_force(id, held.task, held.work, held.lease, now);
        self.leases.get_mut(&held.lease).expect("just put in force").taken_back = true;
        self.refresh(held.task.job);
        true
    }

    /// The connection is gone; the worker may come back.
    pub fn disconnect(&mut self, id: WorkerId, connection: ConnectionId, now: UnixMillis) {
        if self.workers.get(&id).is_some_and(|worker| worker.connection == Some(connection)) {
            let lost_at = now.plus(self.tuning.reconnect_ms);
            let worker = self.workers.get_mut(&id).expect("looked up above");
            worker.connection = None;
            self.lost_at.remove(&(worker.lost_at, id));
            worker.lost_at = lost_at;
            self.lost_at.insert((lost_at, id));
            self.refresh_worker(id);
        }
    }

    /// A sign of life with the leases the worker still holds.
    pub fn alive(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        held: &[LeaseId],
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        let worker = &self.workers[&id];
        for lease in held.iter().filter(|lease| !worker.leases.contains(lease)) {
            let reason = "this lease is no longer wanted".to_owned();
            out.messages.push((id, connection, ToWorker::Cancel { lease: *lease, reason }));
        }
        // A lease younger than one beat may have crossed this message on the way.
        let listed: BTreeSet<&LeaseId> = held.iter().collect();
        let settled =
            |lease: &LeaseId| self.leases.get(lease).is_none_or(|l| now.since(l.given_at) > self.tuning.alive_ms);
        let forgotten: Vec<LeaseId> =
            worker.leases.iter().filter(|lease| !listed.contains(lease) && settled(lease)).copied().collect();
        for lease in forgotten {
            self.release(id, lease, now, out);
        }
        self.place_worker(id, now, out);
    }

    pub fn progress(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        lease: LeaseId,
        done: u64,
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        let Some(given) = self.leases.get_mut(&lease).filter(|given| given.worker == id) else { return };
        let more = given.believed(done).saturating_sub(given.work_done);
        given.work_done += more;
        let (job, taken_back) = (given.task.job, std::mem::take(&mut given.taken_back));
        if let Some(job) = self.jobs.get_mut(&job) {
            if taken_back { job.caught_up(more) } else { job.worked(more, now) }
        }
        out.touched.insert(job);
    }

    /// The worker will not run this lease, or has stopped it as told.
    pub fn declined(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        lease: LeaseId,
        reason: &str,
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        match self.leases.get(&lease) {
            Some(given) if given.worker == id => {
                let (task, work_done) = (given.task, given.work_done);
                self.free_slot(id, lease);
                self.fail_attempt(task, lease, id, Fault::Worker, reason, work_done, now, out);
            }
            Some(_) => {}
            None => self.free_slot(id, lease),
        }
        self.place_worker(id, now, out);
    }

    /// An attempt has ended. The answer to the worker is part of the effects and follows the commit.
    pub fn finished(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        finish: Finish,
        now: UnixMillis,
        out: &mut Effects,
    ) {
        let lease = finish.lease;
        if !self.renew(id, connection, now) {
            return;
        }
        self.free_slot(id, lease);
        // The worker shall hear that this one is over before it hears of the next.
        let place = out.messages.len();
        let refused = match self.leases.get(&lease) {
            Some(given) if given.worker == id => {
                let task = given.task;
                self.record(task, id, finish, now, out).err()
            }
            _ => Some("this lease is no longer wanted".to_owned()),
        };
        out.messages.insert(place, (id, connection, ToWorker::Recorded { lease, refused }));
        self.place_worker(id, now, out);
    }

    fn record(
        &mut self,
        task: TaskId,
        id: WorkerId,
        finish: Finish,
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<(), String> {
        let Finish { lease, outcome, signature, flaw, shares, closest } = finish;
        let given = &self.leases[&lease];
        let counted = given.work_done;
        let work = counted.max(given.believed(outcome.usage.work_done));
        let job = &self.jobs[&task.job];
        let statement = Statement::new(&self.pool, lease, task, &job.spec, &outcome);
        let receipt = Receipt { statement, signature };
        let answered = outcome.answer.is_some();
        let vain = outcome.succeeded() && job.spec.done_when == DoneWhen::AnyTask && !answered;
        let invalid = match outcome.check() {
            Err(error) => Some(error.to_string()),
            Ok(()) if receipt.signer() != Some(id) => Some("the receipt is not signed by this worker".to_owned()),
            Ok(()) if vain && outcome.usage.work_done < given.work => {
                let (whole, claimed) = (given.work, outcome.usage.work_done);
                Some(format!("the task has {whole} work units, and only {claimed} were done"))
            }
            Ok(()) => flaw,
        };
        if let Some(reason) = invalid {
            self.fail_attempt(task, lease, id, Fault::Worker, &reason, 0, now, out);
            return Err(reason);
        }
        if !outcome.succeeded() {
            let fault = if matches!(outcome.exit, Exit::NotRun(_)) { Fault::Worker } else { Fault::App };
            self.fail_attempt(task, lease, id, fault, &outcome.failure(), work, now, out);
            return Ok(());
        }
        let expected = job.spec.search.as_ref().filter(|_| vain).map_or(0, |search| search.shares_expected(given.work));
        let shares = Shares { found: shares, expected };
        // A lease that was taken back after a restart is older than it looks; what the worker says of it is bounded.
        let ms = now.since(given.given_at).max(outcome.usage.wall_ms.min(job.spec.limits.wall_ms));
        // Speed is learnt only from work that was shown or need not be.
        if shares.expected > 0 || job.spec.trust == Trust::Pool {
            self.measure(id, job.spec.app, work, ms, out);
        }
        let job = self.jobs.get_mut(&task.job).expect("a lease in force has a live job");
        let pending = job.spec.trust == Trust::Submitter && !vain;
        let verdict = if pending { Verdict::Pending } else { Verdict::Certified };
        job.worked(work - counted, now);
        if let Some(closest) = closest.filter(|closest| job.comes_closer(closest.score)) {
            out.changes.push(Change::CameCloser { job: task.job, closest });
        }
        if shares.expected > 0 {
            let standing = self.standings.entry(id).or_default();
            *standing = standing.plus(shares);
            out.changes.push(Change::StandingChanged { worker: id, standing: *standing });
        }
        let receipt = Box::new(receipt);
        out.changes.push(Change::ResultAdded {
            task,
            lease,
            worker: id,
            outcome,
            receipt,
            verdict,
            vain,
            work,
            shares: shares.found,
            at: now,
        });
        out.touched.insert(task.job);
        let step = if pending {
            job.hold(task.index, lease, id);
            Step::Went
        } else {
            job.certify(task.index, !vain, work)
        };
        self.end_lease(lease);
        self.after_step(task.job, step, now, out);
        Ok(())
    }

    /// Notes how fast the worker's slot was.
    fn measure(&mut self, id: WorkerId, app: Digest, work: u64, ms: u64, out: &mut Effects) {
        if work == 0 {
            return;
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.speed_mut(app).add(work, ms, speed::WORKER_MEMORY_MS);
        }
        let of_pool = self.speeds.entry(app).or_default();
        of_pool.add(work, ms, speed::POOL_MEMORY_MS);
        out.changes.push(Change::SpeedMeasured { app, speed: *of_pool });
    }

    /// The caller says what becomes of the worker's slot.
    #[expect(clippy::too_many_arguments, reason = "the fields of one change")]
    fn fail_attempt(
        &mut self,
        task: TaskId,
        lease: LeaseId,
        id: WorkerId,
        fault: Fault,
        reason: &str,
        work_done: u64,
        now: UnixMillis,
        out: &mut Effects,
    ) {
        let reason = kept(reason);
        out.changes.push(Change::AttemptFailed {
            task,
            lease,
            worker: id,
            fault,
            reason: reason.clone(),
            work_done,
            at: now,
        });
        out.touched.insert(task.job);
        self.end_lease(lease);
        let job = self.jobs.get_mut(&task.job).expect("a lease in force has a live job");
        let step = job.fail(task.index, id, fault, &reason);
        if fault == Fault::Worker {
            self.withdraw(task.job, id, out);
        }
        self.after_step(task.job, step, now, out);
    }

    /// Takes the lease back without blame: the worker is gone or has forgotten it.
    fn release(&mut self, id: WorkerId, lease: LeaseId, now: UnixMillis, out: &mut Effects) {
        self.free_slot(id, lease);
        let Some(given) = self.end_lease(lease) else { return };
        if let Some(job) = self.jobs.get_mut(&given.task.job) {
            job.give_back(given.task.index);
            out.touched.insert(given.task.job);
            self.refresh(given.task.job);
            self.place_job(given.task.job, now, out);
        }
    }

    /// Time has passed: workers that stayed silent too long are lost, and so are leases that outlast any honest attempt.
    pub fn tick(&mut self, now: UnixMillis, out: &mut Effects) {
        while let Some(&(at, id)) = self.lost_at.first().filter(|(at, _)| *at <= now) {
            self.lost_at.remove(&(at, id));
            let worker = self.workers.remove(&id).expect("a worker that can be lost is known");
            self.idle.remove(&id);
            if let Some(connection) = worker.connection {
                let reason = format!("nothing was heard from this worker for {} ms", self.tuning.lost_ms);
                out.messages.push((id, connection, ToWorker::Refused { reason }));
            }
            for lease in worker.leases {
                self.release(id, lease, now, out);
            }
        }
        while let Some(&(_, lease)) = self.due.first().filter(|(at, _)| *at <= now) {
            let GivenLease { task, worker, work_done, .. } = self.leases[&lease];
            let reason = "the attempt took longer than the job allows".to_owned();
            self.cancel_attempt(worker, lease, reason.clone(), out);
            self.fail_attempt(task, lease, worker, Fault::Late, &reason, work_done, now, out);
        }
    }

    /// When [`Core::tick`] has something to do next.
    pub fn next_tick(&self) -> Option<UnixMillis> {
        let (lost, due) = (self.lost_at.first().map(|(at, _)| *at), self.due.first().map(|(at, _)| *at));
        lost.into_iter().chain(due).min()
    }

    pub fn job_status(&self, id: JobId, now: UnixMillis) -> Option<JobStatus> {
        let job = self.jobs.get(&id)?;
        let workers: BTreeSet<WorkerId> =
            job.leases().filter_map(|lease| Some(self.leases.get(&lease)?.worker)).collect();
        Some(JobStatus {
            state: job.state(),
            tasks: job.counts(),
            progress: job.progress(now),
            workers: workers.len() as u64,
        })
    }

    /// What the leases of a worker let it write, together.
    pub fn output_allowed(&self, id: WorkerId) -> u64 {
        let leases = self.workers.get(&id).into_iter().flat_map(|worker| &worker.leases);
        let jobs = leases.filter_map(|lease| self.jobs.get(&self.leases.get(lease)?.task.job));
        jobs.fold(0, |sum, job| sum.saturating_add(job.spec.limits.disk_bytes))
    }

    pub fn live_jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    pub fn worker_statuses(&self) -> Vec<WorkerStatus> {
        let status = |(id, worker): (&WorkerId, &Worker)| WorkerStatus {
            id: *id,
            name: worker.offer.name.clone(),
            connected: worker.connection.is_some(),
            slots: worker.offer.slots,
            running: u32::try_from(worker.leases.len()).unwrap_or(u32::MAX),
        };
        self.workers.iter().map(status).collect()
    }

    /// Whether the message comes from the worker's present connection; if so, it counts as a sign of life.
    fn renew(&mut self, id: WorkerId, connection: ConnectionId, now: UnixMillis) -> bool {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.connection == Some(connection)) else {
            return false;
        };
        let lost_at = now.plus(self.tuning.lost_ms);
        if worker.lost_at != lost_at {
            self.lost_at.remove(&(worker.lost_at, id));
            worker.lost_at = lost_at;
            self.lost_at.insert((lost_at, id));
        }
        true
    }

    /// Goes on after a task of the job took a step: ends the job, or gives its tasks out.
    fn after_step(&mut self, id: JobId, step: Step, now: UnixMillis, out: &mut Effects) {
        match step {
            Step::Went => {
                self.refresh(id);
                self.place_job(id, now, out);
            }
            Step::JobDone => self.end_job(id, JobState::Done, None, now, out),
            Step::JobFailed(reason) => self.end_job(id, JobState::Failed, Some(reason), now, out),
        }
    }

    fn end_job(&mut self, id: JobId, state: JobState, reason: Option<String>, now: UnixMillis, out: &mut Effects) {
        let job = self.jobs.remove(&id).expect("only a live job ends");
        if let Some(key) = job.listed {
            self.ready.remove(&key);
        }
        if let Some(external_id) = &job.spec.external_id {
            self.by_external_id.remove(external_id);
        }
        let why = reason.clone().unwrap_or_else(|| "the job is done".to_owned());
        for lease in job.leases() {
            let given = self.end_lease(lease).expect("a running task has a lease in force");
            self.cancel_attempt(given.worker, lease, why.clone(), out);
        }
        out.changes.push(Change::JobEnded { job: id, state, reason, at: now });
        out.touched.insert(id);
    }

    /// Takes a worker off a job that it is excluded from.
    fn withdraw(&mut self, job_id: JobId, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        let of_job = |lease: &&LeaseId| self.leases.get(lease).is_some_and(|given| given.task.job == job_id);
        let leases: Vec<LeaseId> = worker.leases.iter().filter(of_job).copied().collect();
        for lease in leases {
            let given = self.end_lease(lease).expect("found in force");
            self.jobs.get_mut(&job_id).expect("a lease in force has a live job").give_back(given.task.index);
            let reason = "another attempt of this worker at the same job was bad".to_owned();
            self.cancel_attempt(id, lease, reason, out);
        }
    }

    /// Tells the worker to stop. The slot stays taken until it says that the attempt is gone.
    fn cancel_attempt(&mut self, id: WorkerId, lease: LeaseId, reason: String, out: &mut Effects) {
        match self.workers.get(&id).and_then(|worker| worker.connection) {
            Some(connection) => out.messages.push((id, connection, ToWorker::Cancel { lease, reason })),
            None => self.free_slot(id, lease),
        }
    }

    fn put_in_force(&mut self, id: WorkerId, task: TaskId, work: u64, lease: LeaseId, now: UnixMillis) {
        let job = self.jobs.get_mut(&task.job).expect("a lease is given for a live job");
        job.start(task.index, lease, now);
        let due = now.plus(job.spec.limits.wall_ms).plus(self.tuning.transfer_ms);
        self.workers.get_mut(&id).expect("a lease is given to a known worker").leases.insert(lease);
        self.leases
            .insert(lease, GivenLease { task, worker: id, work, given_at: now, due, work_done: 0, taken_back: false });
        self.due.insert((due, lease));
    }

    fn end_lease(&mut self, lease: LeaseId) -> Option<GivenLease> {
        let given = self.leases.remove(&lease)?;
        self.due.remove(&(given.due, lease));
        Some(given)
    }

    fn free_slot(&mut self, id: WorkerId, lease: LeaseId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.leases.remove(&lease);
            self.refresh_worker(id);
        }
    }

    /// Keeps `ready` true after a change of the job's tasks.
    fn refresh(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(key) = job.listed.take() {
            self.ready.remove(&key);
        }
        if job.has_waiting() {
            let key = job.ready_key(id);
            job.listed = Some(key);
            self.ready.insert(key);
        }
    }

    /// Keeps `idle` true after a change of the worker's leases or connection.
    fn refresh_worker(&mut self, id: WorkerId) {
        if self.workers.get(&id).is_some_and(Worker::has_free_slot) {
            self.idle.insert(id);
        } else {
            self.idle.remove(&id);
        }
    }

    /// Panics if the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        for (lease, given) in &self.leases {
            let worker = self.workers.get(&given.worker).expect("a lease in force has a known worker");
            assert!(worker.leases.contains(lease), "{lease:?} is missing at {:?}", given.worker);
            let job = self.jobs.get(&given.task.job).expect("a lease in force has a live job");
            assert_eq!(job.lease_of(given.task.index), Some(*lease), "{:?}", given.task);
            assert!(self.due.contains(&(given.due, *lease)), "{lease:?} is watched");
        }
        assert_eq!(self.due.len(), self.leases.len());
        for (id, job) in &self.jobs {
            job.check_invariants();
            for lease in job.leases() {
                assert!(self.leases.contains_key(&lease), "{id:?} runs under {lease:?}, which is not in force");
            }
            assert_eq!(self.ready.contains(&job.ready_key(*id)), job.has_waiting(), "{id:?} in the ready list");
            assert_eq!(job.listed.is_some(), job.has_waiting(), "{id:?} knows its place");
        }
        assert_eq!(self.ready.len(), self.jobs.values().filter(|job| job.has_waiting()).count());
        for (id, worker) in &self.workers {
            assert_eq!(self.idle.contains(id), worker.has_free_slot(), "{id:?} in the idle list");
            assert!(self.lost_at.contains(&(worker.lost_at, *id)), "{id:?} is watched");
            assert!(worker.leases.len() <= worker.offer.slots as usize, "{id:?} holds more leases than slots");
        }
        assert_eq!(self.lost_at.len(), self.workers.len());
        assert!(self.idle.iter().all(|id| self.workers.contains_key(id)));
    }

    /// Makes a lease of the job's next task for the worker. The caller has checked that both are ready.
    fn give_lease(&mut self, id: WorkerId, job_id: JobId, now: UnixMillis, out: &mut Effects) {
        let lease = self.next_lease;
        self.next_lease = LeaseId(lease.0 + 1);
        let job = self.jobs.get_mut(&job_id).expect("the caller found the job ready");
        let index = job.next_waiting().expect("a ready job has a waiting task");
        let task = TaskId { job: job_id, index };
        let spec = job.spec.clone();
        let (slot, pool) = (self.workers[&id].speed(&spec.app), self.speed(&spec.app));
        let work = spec.search.as_ref().map_or(0, |search| speed::portion(search, slot, pool));
        let seal = self.secret.seal(lease, task, work, id);
        let message = Lease { lease, task, work, seal, job: spec };
        self.put_in_force(id, task, work, lease, now);
        let connection = self.workers[&id].connection.expect("an idle worker is connected");
        out.messages.push((id, connection, ToWorker::Lease(Box::new(message))));
        out.touched.insert(job_id);
        self.refresh(job_id);
        self.refresh_worker(id);
    }
}
