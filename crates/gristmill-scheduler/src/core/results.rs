//! Attempts end: what their workers say of it becomes results and failures.

use std::sync::Arc;

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec, Trust};
use gristmill_proto::key::Signature;
use gristmill_proto::message::ToWorker;
use gristmill_proto::outcome::{Exit, Outcome};
use gristmill_proto::receipt::{Statement, signer_of_batch};
use gristmill_proto::view::{Closest, Verdict};
use gristmill_proto::vote::Salt;

use super::job::Step;
use super::{Change, ConnectionId, Core, Effects, Fault, ResultAdded, VerdictError, kept, speed};

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
    /// Opens the vote that was cast for it.
    pub salt: Option<Salt>,
    /// Good shares, if the job has terms for them.
    pub shares: u64,
    /// The best of them.
    pub closest: Option<Closest>,
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

impl Core {
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
    pub(super) fn record(
        &mut self,
        task: TaskId,
        id: WorkerId,
        finish: Finish,
        (batch, position): (LeaseId, u32),
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<bool, String> {
        if self.has_sealed(id, task, finish.lease) {
            return self.opened(task, id, finish, (batch, position), now, out);
        }
        let Finish { lease, outcome, encoded, flaw, shares, closest, .. } = finish;
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
            Ok(()) if job.ballots.is_some() && outcome.succeeded() => Some("no vote was cast for it before".to_owned()),
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
    pub(super) fn end_copies(&mut self, task: TaskId, reason: &str, now: UnixMillis, out: &mut Effects) {
        for lease in self.jobs[&task.job].attempts_of(task.index).collect::<Vec<_>>() {
            let given = self.end_lease(lease, now).expect("a running task has a lease in force");
            self.jobs.get_mut(&task.job).expect("looked up above").ended(task.index, lease);
            self.tell_to_stop(given.worker, lease, reason.to_owned(), out);
        }
    }

    /// Notes how fast the worker's slot was.
    pub(super) fn measure(&mut self, id: WorkerId, app: Digest, work: u64, ms: u64, out: &mut Effects) {
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
    pub(super) fn fail_attempt(
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
            self.close_ballot(task, "another attempt at this task was the last", now, out);
        }
        if self.jobs[&task.job].ballots.is_some() {
            self.to_decide.insert(task);
        }
        if fault != Fault::App {
            self.withdraw(task.job, id, now, out);
        }
        self.after_step(task.job, step, now, out);
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
}
