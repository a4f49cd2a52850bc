//! A lease from its giving to its end.

use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::message::{Lease, ToWorker};

use super::leases::{Begun, GivenLease};
use super::{ConnectionId, Core, Effects, Fault, speed};

/// What an attempt is taken for, in the turns of users, until one of its job has ended.
const UNKNOWN_MS: u64 = 1_000;

impl Core {
    pub(super) fn put_in_force(&mut self, id: WorkerId, task: TaskId, work: u64, lease: LeaseId, now: UnixMillis) {
        let sealed = self.has_sealed(id, task, lease);
        let job = self.jobs.get_mut(&task.job).expect("a lease is given for a live job");
        if !sealed {
            job.start(task.index, lease, now);
        }
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
        if sealed {
            worker.sealed.insert(lease);
        } else if worker.has_room_for(needs) {
            self.begin(id, lease, now);
        } else {
            worker.ahead.insert(lease);
            self.crowded.insert(id);
        }
    }

    /// The worker has room for this lease from now on.
    pub(super) fn begin(&mut self, id: WorkerId, lease: LeaseId, now: UnixMillis) {
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
    pub(super) fn end_lease(&mut self, lease: LeaseId, now: UnixMillis) -> Option<GivenLease> {
        let given = self.leases.end(lease)?;
        self.free_room(lease, &given, given.begun, now);
        Some(given)
    }

    /// The attempt has ended and frees its room; its vote is cast and waits to be shown.
    pub(super) fn seal_lease(&mut self, lease: LeaseId, now: UnixMillis) {
        let begun = self.leases.seal(lease);
        // Out of the list for a moment, because all else of it is needed beside the core.
        let given = self.leases.end(lease).expect("only a lease in force is sealed");
        self.jobs.get_mut(&given.task.job).expect("a lease in force has a live job").ended(given.task.index, lease);
        self.free_room(lease, &given, begun, now);
        if let Some(worker) = self.workers.get_mut(&given.worker) {
            worker.sealed.insert(lease);
        }
        self.leases.add(lease, given);
    }

    fn free_room(&mut self, lease: LeaseId, given: &GivenLease, begun: Option<Begun>, now: UnixMillis) {
        let needs = &self.classes.get(given.class).needs;
        if let Some(begun) = begun {
            let used = now.since(begun.at).saturating_mul(u64::from(needs.cores));
            let rest = i128::from(used) - i128::from(begun.charged);
            self.fairness.charge(&mut self.classes, &given.user, i64::try_from(rest).unwrap_or(i64::MAX));
        }
        let id = given.worker;
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.end(lease, &self.classes.get(given.class).needs);
            if begun.is_some() {
                (worker.moved_at, worker.stuck_since) = (now, None);
            }
            if worker.ahead.is_empty() {
                self.crowded.remove(&id);
            }
            self.begin_next(id, now);
            self.refresh_worker(id);
        }
    }

    /// What waits at the worker moves up, in the order in which the worker takes it.
    pub(super) fn begin_next(&mut self, id: WorkerId, now: UnixMillis) {
        while let Some(lease) = self.workers[&id].ahead.first().copied() {
            let class = self.leases.get(lease).expect("a worker's leases are in force").class;
            if !self.workers[&id].fits(&self.classes.get(class).needs) {
                return;
            }
            self.begin(id, lease, now);
        }
    }

    /// Makes a lease of the job's next task for the worker. The caller has checked that both are ready.
    pub(super) fn give_lease(&mut self, id: WorkerId, job_id: JobId, now: UnixMillis, out: &mut Effects) {
        let lease = self.next_lease;
        let job = self.jobs.get_mut(&job_id).expect("the caller found the job ready");
        job.served = lease.0;
        let index = match job.ballots {
            Some(_) => self.ask(id, job_id, lease),
            None => job.next_waiting().expect("a ready job has a waiting task"),
        };
        let lease = self.new_lease();
        self.lease_task(id, TaskId { job: job_id, index }, lease, now, out);
    }

    pub(super) fn lease_task(
        &mut self,
        id: WorkerId,
        task: TaskId,
        lease: LeaseId,
        now: UnixMillis,
        out: &mut Effects,
    ) {
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

    pub(super) fn new_lease(&mut self) -> LeaseId {
        let lease = self.next_lease;
        self.next_lease = LeaseId(lease.0 + 1);
        lease
    }

    /// Takes the lease back without blame: the worker is gone, has forgotten it or has not begun it.
    pub(super) fn release(&mut self, lease: LeaseId, now: UnixMillis, out: &mut Effects) {
        let Some((worker, job)) = self.leases.get(lease).map(|given| (given.worker, given.task.job)) else { return };
        if self.take_lease(lease, now, out) {
            self.note_given_up(worker, job);
        }
    }

    /// Ends the lease, and says whether its task is asked of others in its place.
    pub(super) fn take_lease(&mut self, lease: LeaseId, now: UnixMillis, out: &mut Effects) -> bool {
        let Some(given) = self.end_lease(lease, now) else { return false };
        out.touched.insert(given.task.job);
        // A vote that is cast stays so, and can be shown when its worker is back.
        if self.has_sealed(given.worker, given.task, lease) {
            return false;
        }
        let job = self.jobs.get_mut(&given.task.job).expect("a lease in force has a live job");
        job.give_back(given.task.index, lease);
        if job.ballots.is_some() {
            self.to_decide.insert(given.task);
        }
        self.refresh(given.task.job);
        true
    }

    /// Takes a worker off a job that it is excluded from.
    pub(super) fn withdraw(&mut self, job_id: JobId, id: WorkerId, now: UnixMillis, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        // A vote that is cast counts as it would.
        let of_job = |lease: &LeaseId| {
            !worker.sealed.contains(lease) && self.leases.get(*lease).is_some_and(|given| given.task.job == job_id)
        };
        for lease in worker.leases().filter(of_job).collect::<Vec<_>>() {
            let given = self.end_lease(lease, now).expect("found in force");
            let job = self.jobs.get_mut(&job_id).expect("a lease in force has a live job");
            job.give_back(given.task.index, lease);
            let reason = "another attempt of this worker at the same job was bad".to_owned();
            self.tell_to_stop(id, lease, reason, out);
        }
    }

    pub(super) fn tell_to_stop(&self, id: WorkerId, lease: LeaseId, reason: String, out: &mut Effects) {
        if let Some(connection) = self.workers.get(&id).and_then(|worker| worker.connection) {
            out.messages.push((id, connection, ToWorker::Cancel { lease, reason }));
        }
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
}
