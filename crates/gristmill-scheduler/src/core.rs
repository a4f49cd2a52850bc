//! The scheduling core: pure. It owns every live job, worker and lease, and changes them in answer to events.
//!
//! Each method takes what happened and the time, changes the state, and writes into [`Effects`] what must become
//! durable and what must be said. It never reads a clock, a random number, a file or a socket: the whole history of a
//! grid can be replayed from its events. The shell commits [`Effects::changes`] before it releases
//! [`Effects::messages`], so nothing is acknowledged that a crash could undo.
//!
//! Leases are not made durable. A worker proves with a seal that a lease was given to it, so a core that was
//! restored from the store takes running attempts back when their workers reconnect.

mod class;
mod explain;
mod facts;
mod fairness;
mod job;
mod leases;
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
use gristmill_proto::job::{DoneWhen, JobError, JobSpec, Trust};
use gristmill_proto::key::Signature;
use gristmill_proto::message::{HeldLease, LABEL_BYTES_MAX, LABELS_MAX, Lease, SLOTS_MAX, ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Outcome};
use gristmill_proto::receipt::{Statement, signer_of_batch};
use gristmill_proto::requirement::is_label;
use gristmill_proto::view::{Closest, JobState, Progress, Submitted, TaskCounts, Verdict};

use class::Classes;
pub use class::{Lack, Needs};
pub use facts::{Change, Effects, Fault, ResultAdded, StoredJob, StoredResult};
use fairness::Fairness;
pub use fairness::{UserTerms, WEIGHT_MAX, WeightError, Weights};
use job::{Job, Step};
use leases::{Begun, GivenLease, Leases};
pub use seal::PoolSecret;
pub use speed::Speed;
use worker::{AHEAD_MAX, Worker};

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

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the pool has {0} workers and takes no more for now")]
    Full(usize),
    #[error("a worker offers between 1 and {SLOTS_MAX} slots, not {0}")]
    Slots(u32),
    #[error(
        "a worker has at most {LABELS_MAX} labels, its name and version among them, of letters, digits and `-_./`, with \
         values that can be printed, {LABEL_BYTES_MAX} bytes together"
    )]
    Labels,
}

/// What a worker says of the ends of attempts, signed once.
#[derive(Clone, Debug)]
pub struct Batch {
    pub finishes: Vec<Finish>,
    pub leaves: Vec<Digest>,
    pub signature: Signature,
}

/// What a worker says of the end of an attempt.
#[derive(Clone, Debug)]
pub struct Finish {
    pub lease: LeaseId,
    pub outcome: Box<Outcome>,
    /// The outcome as the worker encoded it.
    pub encoded: Vec<u8>,
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

/// What the pool holds, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub live_jobs: u64,
    /// Those of them with a task to give.
    pub waiting_jobs: u64,
    pub leases: u64,
    /// Connected ones, and their slots.
    pub workers: u64,
    pub slots: u64,
    pub classes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    pub id: WorkerId,
    pub name: String,
    pub connected: bool,
    pub slots: u32,
    pub running: u32,
}

/// What a lease in force is for, as far as its result must be checked outside the core.
#[derive(Clone, Debug)]
pub struct LeaseTerms {
    pub spec: Arc<JobSpec>,
    /// Of the spec.
    pub digest: Digest,
    pub task: TaskId,
    pub work: u64,
}

impl LeaseTerms {
    /// What a worker signs if this lease came to this outcome.
    pub fn statement(&self, pool: &str, lease: LeaseId, outcome: &[u8]) -> Statement {
        Statement::new(pool, lease, self.task, self.spec.app, self.digest, outcome)
    }
}

impl Batch {
    /// Whether this worker signed it. Costly: not for the core, which holds up everyone.
    pub fn is_signed_by(&self, id: WorkerId) -> bool {
        !self.leaves.is_empty() && signer_of_batch(&self.leaves, &self.signature) == Some(id)
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
    /// Of the pool's slots, by app.
    speeds: HashMap<Digest, Speed>,
}

/// Leases one run of the pool can give. A lease id is the run's number and a count within it, so that ids are never
/// used twice though they are not stored; together they stay below 2^53 for the sake of JSON readers.
const LEASES_PER_RUN_BITS: u32 = 36;
/// What an attempt is taken for, in the turns of users, until one of its job has ended.
const UNKNOWN_MS: u64 = 1_000;
/// How often stragglers are looked for.
const TAIL_BEAT_MS: u64 = 1_000;
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

    /// Slots of connected workers.
    pub fn slots(&self) -> u64 {
        let connected = self.workers.values().filter(|worker| worker.connection.is_some());
        connected.map(|worker| u64::from(worker.offer.slots)).sum()
    }

    /// What a lease in force that this worker holds is for.
    pub fn lease(&self, id: WorkerId, lease: LeaseId) -> Option<LeaseTerms> {
        let given = self.leases.of(id, lease)?;
        let job = self.jobs.get(&given.task.job)?;
        Some(LeaseTerms { spec: job.spec.clone(), digest: job.digest, task: given.task, work: given.work })
    }

    /// Takes a live job back from the store.
    pub fn restore(&mut self, stored: StoredJob) {
        if let Some(id) = &stored.spec.external_id {
            self.by_external_id.insert(id.clone(), stored.job);
        }
        self.next_job = self.next_job.max(JobId(stored.job.0 + 1));
        let (id, class) = (stored.job, self.join_class(&stored.needs));
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
            job.certify(index, lease, true, 0)
        } else {
            let step = job.fail(index, lease, worker, Fault::Worker, &reason);
            self.withdraw(id, worker, now, out);
            step
        };
        self.after_step(id, step, now, out);
        self.place(now, out);
        Ok(())
    }

    /// A worker has proven its key on a new connection. Its former connection, if any, is told to go. Returns what it
    /// shall stop of what it holds.
    pub fn connect(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        mut offer: WorkerOffer,
        held: &[HeldLease],
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<Vec<LeaseId>, ConnectError> {
        complete(&mut offer)?;
        if self.workers.len() >= self.tuning.workers_max && !self.workers.contains_key(&id) {
            return Err(ConnectError::Full(self.workers.len()));
        }
        self.unplug(id);
        if let Some(former) = self.workers.get_mut(&id).and_then(|worker| worker.connection.take()) {
            let reason = "the same worker has connected again".to_owned();
            out.messages.push((id, former, ToWorker::Refused { reason }));
        }
        let kept: BTreeSet<LeaseId> = held.iter().map(|held| held.lease).collect();
        let changed = self.workers.get(&id).is_some_and(|worker| worker.offer != offer);
        let gone: Vec<LeaseId> = self
            .workers
            .get(&id)
            .map_or_else(Vec::new, |worker| worker.leases().filter(|lease| changed || !kept.contains(lease)).collect());
        for lease in gone {
            self.release(lease, now, out);
        }
        let lost_at = now.plus(self.tuning.lost_ms);
        match self.workers.get_mut(&id).filter(|_| !changed) {
            Some(worker) => {
                self.lost_at.remove(&(worker.lost_at, id));
                (worker.connection, worker.lost_at) = (Some(connection), lost_at);
            }
            None => {
                if let Some(former) = self.workers.insert(id, Worker::new(connection, offer, lost_at, now)) {
                    self.lost_at.remove(&(former.lost_at, id));
                }
            }
        }
        self.lost_at.insert((lost_at, id));
        self.plug_in(id);
        // In the order in which the worker begins them.
        let mut held: Vec<&HeldLease> = held.iter().collect();
        held.sort_by_key(|held| held.lease);
        let drop = held.into_iter().filter(|held| !self.take_back(id, held, now)).map(|held| held.lease).collect();
        self.refresh_worker(id);
        Ok(drop)
    }

    /// What must follow the greeting that the shell sends after [`Core::connect`].
    pub fn greeted(&mut self, id: WorkerId, now: UnixMillis, out: &mut Effects) {
        self.roomy.insert(id);
        self.place(now, out);
    }

    /// Whether the worker may go on with a lease it holds: ours, or one we gave before a restart and whose task is
    /// still to do.
    fn take_back(&mut self, id: WorkerId, held: &HeldLease, now: UnixMillis) -> bool {
        if let Some(given) = self.leases.get(held.lease) {
            return given.worker == id;
        }
        if !self.secret.sealed(held.lease, held.task, held.work, id, held.seal) {
            return false;
        }
        let Some(job) = self.jobs.get(&held.task.job) else { return false };
        let worker = &self.workers[&id];
        let welcome = worker.classes.contains(&job.class) && !job.excluded.contains(&id) && !job.avoided.contains(&id);
        let room = worker.has_room_for(&self.classes.get(job.class).needs) || worker.ahead.len() < AHEAD_MAX;
        let job = self.jobs.get_mut(&held.task.job).expect("looked up above");
        if !room || !welcome || !job.take(held.task.index) {
            return false;
        }
        self.put_in_force(id, held.task, held.work, held.lease, now);
        self.leases.get_mut(held.lease).expect("just put in force").taken_back = true;
        self.refresh(held.task.job);
        true
    }

    /// The connection is gone; the worker may come back.
    pub fn disconnect(&mut self, id: WorkerId, connection: ConnectionId, now: UnixMillis) {
        if self.workers.get(&id).is_some_and(|worker| worker.connection == Some(connection)) {
            self.unplug(id);
            let lost_at = now.plus(self.tuning.reconnect_ms);
            let worker = self.workers.get_mut(&id).expect("looked up above");
            worker.connection = None;
            self.lost_at.remove(&(worker.lost_at, id));
            worker.lost_at = lost_at;
            self.lost_at.insert((lost_at, id));
        }
    }

    /// Counts the worker in at every class it can serve.
    fn plug_in(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("the caller knows it");
        worker.classes = self
            .classes
            .iter()
            .filter(|(_, class)| class.needs.met_by(&worker.offer))
            .map(|(class, _)| class)
            .collect();
        for class in &worker.classes {
            self.classes.get_mut(*class).able += 1;
        }
        self.refresh_worker(id);
    }

    /// Counts the worker out, if it is connected.
    fn unplug(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.connection.is_some()) else { return };
        for class in &worker.classes {
            let class = self.classes.get_mut(*class);
            class.able -= 1;
            class.idle.remove(&id);
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
        for lease in held.iter().filter(|lease| !worker.holds(**lease)) {
            let reason = "this lease is no longer wanted".to_owned();
            out.messages.push((id, connection, ToWorker::Cancel { lease: *lease, reason }));
        }
        // A lease younger than one beat may have crossed this message on the way.
        let listed: BTreeSet<&LeaseId> = held.iter().collect();
        let settled =
            |lease: &LeaseId| self.leases.get(*lease).is_none_or(|l| now.since(l.given_at) > self.tuning.alive_ms);
        let forgotten: Vec<LeaseId> =
            worker.leases().filter(|lease| !listed.contains(lease) && settled(lease)).collect();
        for lease in forgotten {
            self.release(lease, now, out);
        }
        self.roomy.insert(id);
        self.place(now, out);
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
        let Some(given) = self.leases.get_mut(lease).filter(|given| given.worker == id) else { return };
        let more = given.believed(done).saturating_sub(given.work_done);
        given.work_done += more;
        let (job, taken_back) = (given.task.job, std::mem::take(&mut given.taken_back));
        if let Some(job) = self.jobs.get_mut(&job) {
            if taken_back { job.caught_up(more) } else { job.worked(more, now) }
        }
        out.touched.insert(job);
    }

    /// The worker will not run this lease.
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
        if let Some(given) = self.leases.of(id, lease) {
            let (task, work_done) = (given.task, given.work_done);
            self.fail_attempt(task, lease, id, Fault::Worker, reason, work_done, now, out);
        }
        self.place(now, out);
    }

    /// The worker has not begun these leases, and will not.
    pub fn returned(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        leases: &[LeaseId],
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        for lease in leases.iter().filter(|lease| self.workers[&id].holds(**lease)).copied().collect::<Vec<_>>() {
            self.release(lease, now, out);
        }
        self.roomy.insert(id);
        self.place(now, out);
    }

    /// Attempts have ended. The answer to the worker is part of the effects and follows the commit.
    pub fn finished(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        batch: Batch,
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        // Named by the first of its results that is in force here: nobody else can choose such a name, nor use it twice.
        let in_force = |finish: &&Finish| self.leases.of(id, finish.lease).is_some();
        let first = batch.finishes.iter().find(in_force).map_or(LeaseId(0), |finish| finish.lease);
        let change = Change::BatchSigned { batch: first, worker: id, leaves: batch.leaves, signature: batch.signature };
        let signed = out.changes.len();
        out.changes.push(change);
        let (mut leases, mut refused) = (Vec::with_capacity(batch.finishes.len()), Vec::new());
        let mut recorded = false;
        for (finish, position) in batch.finishes.into_iter().zip(0..) {
            let lease = finish.lease;
            leases.push(lease);
            let wanted = self.leases.of(id, lease).map(|given| given.task);
            let result = wanted.ok_or_else(|| "this lease is no longer wanted".to_owned());
            match result.and_then(|task| self.record(task, id, finish, (first, position), now, out)) {
                Ok(kept) => recorded |= kept,
                Err(reason) => refused.push((lease, reason)),
            }
        }
        if !recorded {
            out.changes.remove(signed);
        }
        out.messages.push((id, connection, ToWorker::Recorded { leases, refused }));
        self.roomy.insert(id);
        self.place(now, out);
    }

    /// Whether a result was kept; or why it is refused.
    fn record(
        &mut self,
        task: TaskId,
        id: WorkerId,
        finish: Finish,
        (batch, position): (LeaseId, u32),
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<bool, String> {
        let Finish { lease, outcome, encoded, flaw, shares, closest } = finish;
        let given = self.leases.get(lease).expect("the caller found it in force");
        let counted = given.work_done;
        let work = counted.max(given.believed(outcome.usage.work_done));
        let job = &self.jobs[&task.job];
        let answered = outcome.answer.is_some();
        let vain = outcome.succeeded() && job.spec.done_when == DoneWhen::AnyTask && !answered;
        let invalid = match outcome.check() {
            Err(error) => Some(error.to_string()),
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
            return Ok(false);
        }
        let expected = job.spec.search.as_ref().filter(|_| vain).map_or(0, |search| search.shares_expected(given.work));
        let shares = Shares { found: shares, expected };
        let began = given.begun.map_or(given.given_at, |begun| begun.at);
        // A lease that was taken back after a restart is older than it looks; what the worker says of it is bounded.
        let ms = now.since(began).max(outcome.usage.wall_ms.min(job.spec.limits.wall_ms));
        // Speed is learnt only from work that was shown or need not be.
        if shares.expected > 0 || job.spec.trust == Trust::Pool {
            self.measure(id, job.spec.app, work, ms, out);
        }
        let job = self.jobs.get_mut(&task.job).expect("a lease in force has a live job");
        let pending = job.spec.trust == Trust::Submitter && !vain;
        let verdict = if pending { Verdict::Pending } else { Verdict::Certified };
        job.worked(work - counted, now);
        job.took(now.since(began));
        if let Some(closest) = closest.filter(|closest| job.comes_closer(closest.score)) {
            out.changes.push(Change::CameCloser { job: task.job, closest });
        }
        if shares.expected > 0 {
            let standing = self.standings.entry(id).or_default();
            *standing = standing.plus(shares);
            out.changes.push(Change::StandingChanged { worker: id, standing: *standing });
        }
        let shown = !vain && (answered || !outcome.files.is_empty());
        out.changes.push(Change::ResultAdded(ResultAdded {
            task,
            lease,
            worker: id,
            batch,
            position,
            outcome: encoded,
            verdict,
            shown,
            work,
            shares: shares.found,
            at: now,
        }));
        out.touched.insert(task.job);
        let step = if pending {
            job.hold(task.index, lease, id);
            Step::Went
        } else {
            job.certify(task.index, lease, !vain, work)
        };
        self.end_lease(lease, now);
        self.end_copies(task, "another attempt at this task was first", now, out);
        self.after_step(task.job, step, now, out);
        Ok(true)
    }

    /// Whoever else runs a task that needs no more attempts stops.
    fn end_copies(&mut self, task: TaskId, reason: &str, now: UnixMillis, out: &mut Effects) {
        for lease in self.jobs[&task.job].attempts_of(task.index).collect::<Vec<_>>() {
            let given = self.end_lease(lease, now).expect("a running task has a lease in force");
            self.jobs.get_mut(&task.job).expect("looked up above").ended(task.index, lease);
            self.tell_to_stop(given.worker, lease, reason.to_owned(), out);
        }
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
        self.end_lease(lease, now);
        let job = self.jobs.get_mut(&task.job).expect("a lease in force has a live job");
        let step = job.fail(task.index, lease, id, fault, &reason);
        if job.is_beyond_hope(task.index) {
            self.end_copies(task, "another attempt at this task was the last", now, out);
        }
        if fault != Fault::App {
            self.withdraw(task.job, id, now, out);
        }
        self.after_step(task.job, step, now, out);
    }

    /// Takes the lease back without blame: the worker is gone, has forgotten it or has not begun it.
    fn release(&mut self, lease: LeaseId, now: UnixMillis, out: &mut Effects) {
        let Some(given) = self.end_lease(lease, now) else { return };
        let job = self.jobs.get_mut(&given.task.job).expect("a lease in force has a live job");
        job.give_back(given.task.index, lease);
        out.touched.insert(given.task.job);
        self.refresh(given.task.job);
    }

    /// Time has passed: workers that stayed silent too long are lost, leases that outlast any honest attempt are over,
    /// and those that wait behind a long attempt are wanted back.
    pub fn tick(&mut self, now: UnixMillis, out: &mut Effects) {
        while let Some(&(at, id)) = self.lost_at.first().filter(|(at, _)| *at <= now) {
            self.unplug(id);
            self.lost_at.remove(&(at, id));
            let worker = self.workers.get_mut(&id).expect("a worker that can be lost is known");
            if let Some(connection) = worker.connection.take() {
                let reason = format!("nothing was heard from this worker for {} ms", self.tuning.lost_ms);
                out.messages.push((id, connection, ToWorker::Refused { reason }));
            }
            for lease in worker.leases().collect::<Vec<_>>() {
                self.release(lease, now, out);
            }
            self.workers.remove(&id);
            self.crowded.remove(&id);
        }
        while let Some((_, lease)) = self.leases.first_due().filter(|(at, _)| *at <= now) {
            let GivenLease { task, worker, work_done, .. } = *self.leases.get(lease).expect("due leases are in force");
            let reason = "the attempt took longer than the job allows".to_owned();
            self.tell_to_stop(worker, lease, reason.clone(), out);
            self.fail_attempt(task, lease, worker, Fault::Late, &reason, work_done, now, out);
        }
        self.ask_back(now, out);
        self.place(now, out);
        if self.tails_due().is_some_and(|at| at <= now) {
            self.tails_seen = now;
            self.copy_stragglers(now, out);
        }
    }

    /// Wants back what waits behind attempts that take long. A worker that does not give it back loses it.
    fn ask_back(&mut self, now: UnixMillis, out: &mut Effects) {
        let mut kept = Vec::new();
        for id in &self.crowded {
            let worker = self.workers.get_mut(id).expect("a crowded worker is known");
            if worker.ask_back_at(self.tuning.lost_ms).is_none_or(|at| at > now) {
                continue;
            }
            if worker.stuck_since.is_some() {
                kept.extend(worker.ahead.iter().map(|lease| (*id, *lease)));
            } else if let Some(connection) = worker.connection {
                worker.stuck_since = Some(now);
                let leases = worker.ahead.iter().copied().collect();
                out.messages.push((*id, connection, ToWorker::Retract { leases }));
            }
        }
        for (id, lease) in kept {
            self.tell_to_stop(id, lease, "it was asked back, and has not begun".to_owned(), out);
            self.release(lease, now, out);
        }
    }

    /// When stragglers are looked for next: never while there is none, or nobody to take over.
    fn tails_due(&self) -> Option<UnixMillis> {
        let any = self.classes.iter().any(|(_, class)| !class.tails.is_empty() && !class.idle.is_empty());
        any.then(|| self.tails_seen.plus(TAIL_BEAT_MS))
    }

    /// When [`Core::tick`] has something to do next.
    pub fn next_tick(&self) -> Option<UnixMillis> {
        let (lost, due) = (self.lost_at.first().map(|(at, _)| *at), self.leases.first_due().map(|(at, _)| at));
        let lost_ms = self.tuning.lost_ms;
        let stuck = self.crowded.iter().filter_map(|id| self.workers[id].ask_back_at(lost_ms)).min();
        lost.into_iter().chain(due).chain(stuck).chain(self.tails_due()).min()
    }

    pub fn job_status(&self, id: JobId, now: UnixMillis) -> Option<JobStatus> {
        let job = self.jobs.get(&id)?;
        let workers: BTreeSet<WorkerId> =
            job.leases().filter_map(|lease| Some(self.leases.get(lease)?.worker)).collect();
        Some(JobStatus {
            state: job.state(),
            tasks: job.counts(),
            progress: job.progress(now),
            workers: workers.len() as u64,
        })
    }

    /// What the leases of a worker let it write, together.
    pub fn output_allowed(&self, id: WorkerId) -> u64 {
        let leases = self.workers.get(&id).into_iter().flat_map(Worker::leases);
        let jobs = leases.filter_map(|lease| self.jobs.get(&self.leases.get(lease)?.task.job));
        jobs.fold(0, |sum, job| sum.saturating_add(job.spec.limits.disk_bytes))
    }

    pub fn is_live(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id)
    }

    pub fn live_jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    pub fn totals(&self) -> Totals {
        Totals {
            live_jobs: self.jobs.len() as u64,
            waiting_jobs: self.classes.iter().map(|(_, class)| class.queue.len() as u64).sum(),
            leases: self.leases.iter().count() as u64,
            workers: self.workers.values().filter(|worker| worker.connection.is_some()).count() as u64,
            slots: self.slots(),
            classes: self.classes.iter().count() as u64,
        }
    }

    pub fn worker_statuses(&self) -> Vec<WorkerStatus> {
        let status = |(id, worker): (&WorkerId, &Worker)| WorkerStatus {
            id: *id,
            name: worker.offer.name.clone(),
            connected: worker.connection.is_some(),
            slots: worker.offer.slots,
            running: u32::try_from(worker.running.len()).unwrap_or(u32::MAX),
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

    /// Takes a worker off a job that it is excluded from.
    fn withdraw(&mut self, job_id: JobId, id: WorkerId, now: UnixMillis, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        let of_job = |lease: &LeaseId| self.leases.get(*lease).is_some_and(|given| given.task.job == job_id);
        for lease in worker.leases().filter(of_job).collect::<Vec<_>>() {
            let given = self.end_lease(lease, now).expect("found in force");
            let job = self.jobs.get_mut(&job_id).expect("a lease in force has a live job");
            job.give_back(given.task.index, lease);
            let reason = "another attempt of this worker at the same job was bad".to_owned();
            self.tell_to_stop(id, lease, reason, out);
        }
    }

    fn tell_to_stop(&self, id: WorkerId, lease: LeaseId, reason: String, out: &mut Effects) {
        if let Some(connection) = self.workers.get(&id).and_then(|worker| worker.connection) {
            out.messages.push((id, connection, ToWorker::Cancel { lease, reason }));
        }
    }

    fn put_in_force(&mut self, id: WorkerId, task: TaskId, work: u64, lease: LeaseId, now: UnixMillis) {
        let job = self.jobs.get_mut(&task.job).expect("a lease is given for a live job");
        job.start(task.index, lease, now);
        self.leases.add(
            lease,
            GivenLease {
                task,
                worker: id,
                class: job.class,
                user: job.user.clone(),
                work,
                given_at: now,
                begun: None,
                work_done: 0,
                taken_back: false,
            },
        );
        let needs = &self.classes.get(job.class).needs;
        let worker = self.workers.get_mut(&id).expect("a lease is given to a known worker");
        if worker.has_room_for(needs) {
            self.begin(id, lease, now);
        } else {
            worker.ahead.insert(lease);
            self.crowded.insert(id);
        }
    }

    /// The worker has room for this lease from now on.
    fn begin(&mut self, id: WorkerId, lease: LeaseId, now: UnixMillis) {
        let task = self.leases.get(lease).expect("only a lease in force begins").task;
        let job = &self.jobs[&task.job];
        let needs = &self.classes.get(job.class).needs;
        let worker = self.workers.get_mut(&id).expect("a lease is given to a known worker");
        worker.begin(lease, needs);
        (worker.moved_at, worker.stuck_since) = (now, None);
        if worker.ahead.is_empty() {
            self.crowded.remove(&id);
        }
        let due = now.plus(job.spec.limits.wall_ms).plus(self.tuning.transfer_ms);
        let charged = job.expected_ms(1).unwrap_or(UNKNOWN_MS).saturating_mul(u64::from(needs.cores));
        self.leases.begin(lease, Begun { at: now, due, charged });
        let user = &self.leases.get(lease).expect("looked up above").user;
        self.fairness.charge(&mut self.classes, user, i64::try_from(charged).unwrap_or(i64::MAX));
    }

    /// Frees what the lease took of its worker. The caller says what becomes of the task.
    fn end_lease(&mut self, lease: LeaseId, now: UnixMillis) -> Option<GivenLease> {
        let given = self.leases.end(lease)?;
        let needs = &self.classes.get(given.class).needs;
        if let Some(begun) = given.begun {
            let used = now.since(begun.at).saturating_mul(u64::from(needs.cores));
            let rest = i128::from(used) - i128::from(begun.charged);
            self.fairness.charge(&mut self.classes, &given.user, i64::try_from(rest).unwrap_or(i64::MAX));
        }
        let id = given.worker;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.end(lease, &self.classes.get(given.class).needs);
            if given.begun.is_some() {
                (worker.moved_at, worker.stuck_since) = (now, None);
            }
            if worker.ahead.is_empty() {
                self.crowded.remove(&id);
            }
            self.begin_next(id, now);
            self.refresh_worker(id);
        }
        Some(given)
    }

    /// What waits at the worker moves up, in the order in which the worker takes it.
    fn begin_next(&mut self, id: WorkerId, now: UnixMillis) {
        while let Some(lease) = self.workers[&id].ahead.first().copied() {
            let class = self.leases.get(lease).expect("a worker's leases are in force").class;
            if !self.workers[&id].fits(&self.classes.get(class).needs) {
                return;
            }
            self.begin(id, lease, now);
        }
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

    /// Makes a lease of the job's next task for the worker. The caller has checked that both are ready.
    fn give_lease(&mut self, id: WorkerId, job_id: JobId, now: UnixMillis, out: &mut Effects) {
        let lease = self.new_lease();
        let job = self.jobs.get_mut(&job_id).expect("the caller found the job ready");
        job.served = lease.0;
        let index = job.next_waiting().expect("a ready job has a waiting task");
        self.lease_task(id, TaskId { job: job_id, index }, lease, now, out);
    }

    fn lease_task(&mut self, id: WorkerId, task: TaskId, lease: LeaseId, now: UnixMillis, out: &mut Effects) {
        let spec = self.jobs[&task.job].spec.clone();
        let work = spec.search.as_ref().map_or(0, |search| {
            let slot = self.workers[&id].speed(&spec.app);
            speed::portion(search, slot, self.speed(&spec.app))
        });
        let seal = self.secret.seal(lease, task, work, id);
        self.put_in_force(id, task, work, lease, now);
        let connection = self.workers[&id].connection.expect("an idle worker is connected");
        out.give(id, connection, Lease { lease, task, work, seal }, &spec);
        out.touched.insert(task.job);
        self.refresh(task.job);
        self.refresh_worker(id);
    }

    fn new_lease(&mut self) -> LeaseId {
        let lease = self.next_lease;
        self.next_lease = LeaseId(lease.0 + 1);
        lease
    }

    /// Panics if the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        for (lease, given) in self.leases.iter() {
            let worker = self.workers.get(&given.worker).expect("a lease in force has a known worker");
            assert_eq!(worker.running.contains(&lease), given.begun.is_some(), "{lease:?} at {:?}", given.worker);
            assert!(worker.holds(lease), "{lease:?} is missing at {:?}", given.worker);
            let job = self.jobs.get(&given.task.job).expect("a lease in force has a live job");
            assert!(job.runs_under(given.task.index, lease), "{:?}", given.task);
        }
        self.leases.check_invariants();
        for (id, job) in &self.jobs {
            job.check_invariants();
            for lease in job.leases() {
                assert!(self.leases.get(lease).is_some(), "{id:?} runs under {lease:?}, which is not in force");
            }
            assert_eq!(job.queued, job.has_waiting().then(|| job.place()), "{id:?} knows its place");
            let queue = &self.classes.get(job.class).queue;
            assert_eq!(self.classes.get(job.class).tails.contains(id), job.is_at_its_tail(), "{id:?} at its tail");
            let listed = queue.turns().filter(|(_, _, _, user, place)| **user == job.user && place.job == *id).count();
            assert_eq!(listed, usize::from(job.queued.is_some()), "{id:?} in the queue");
        }
        for (id, worker) in &self.workers {
            worker.check_invariants();
            for lease in worker.leases() {
                assert!(self.leases.of(*id, lease).is_some(), "{id:?} holds {lease:?}, which is not in force");
            }
            assert_eq!(self.crowded.contains(id), !worker.ahead.is_empty(), "{id:?} in the list of the crowded");
            assert!(self.lost_at.contains(&(worker.lost_at, *id)), "{id:?} is watched");
            for (class_id, class) in self.classes.iter() {
                assert_eq!(worker.classes.contains(&class_id), class.needs.met_by(&worker.offer));
                let idle = worker.connection.is_some()
                    && worker.classes.contains(&class_id)
                    && worker.has_room_for(&class.needs);
                assert_eq!(class.idle.contains(id), idle, "{id:?} in an idle list");
            }
        }
        assert_eq!(self.lost_at.len(), self.workers.len());
        for (id, class) in self.classes.iter() {
            let able = |worker: &&Worker| worker.connection.is_some() && worker.classes.contains(&id);
            assert_eq!(class.able, self.workers.values().filter(able).count());
            assert!(class.idle.iter().all(|id| self.workers.contains_key(id)));
            let queued = self.jobs.values().filter(|job| job.class == id && job.queued.is_some()).count();
            assert_eq!(class.queue.len(), queued);
        }
    }
}

/// Adds the labels that every worker has by itself, and refuses an offer that no honest worker makes.
fn complete(offer: &mut WorkerOffer) -> Result<(), ConnectError> {
    if !(1..=SLOTS_MAX).contains(&offer.slots) {
        return Err(ConnectError::Slots(offer.slots));
    }
    let own = [
        ("os", offer.os.clone()),
        ("arch", offer.arch.clone()),
        ("name", offer.name.clone()),
        ("version", offer.version.clone()),
        ("slots", offer.slots.to_string()),
        ("gpus", offer.gpus.to_string()),
    ];
    offer.labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let bytes: usize = offer.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    let plain = |(name, value): (&String, &String)| is_label(name) && !value.contains(char::is_control);
    let few = offer.labels.len() <= LABELS_MAX && bytes <= LABEL_BYTES_MAX && offer.runtimes.len() <= LABELS_MAX;
    if few && offer.labels.iter().all(plain) { Ok(()) } else { Err(ConnectError::Labels) }
}
