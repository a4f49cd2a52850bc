//! Who runs what next.

use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};

use super::job::Job;
use super::worker::{AHEAD_MAX, Worker};
use super::{Core, Effects};

/// Work that a worker is given ahead of its room, so that it never waits for the pool between short tasks.
const AHEAD_MS: u64 = 200;

/// An attempt that takes so many times as long as the others of its job is a straggler, but not within the first
/// seconds.
const STRAGGLER: u64 = 2;
const STRAGGLER_MS_MIN: u64 = 5_000;
/// Jobs of a class that are looked at for a worker that has room, and for one that has none.
const TURNS_MAX: usize = 4_096;
const TURNS_AHEAD_MAX: usize = 16;
/// Jobs, and tasks of each, that are looked at in one go.
const TAILS_MAX: usize = 64;

impl Core {
    /// Gives out what the event has made possible. The last step of every event, so that nothing is given to a worker of
    /// which the same event tells the worse.
    pub(super) fn place(&mut self, now: UnixMillis, out: &mut Effects) {
        self.decide_all(now, out);
        for worker in std::mem::take(&mut self.roomy) {
            self.place_worker(worker, now, out);
        }
        for job in std::mem::take(&mut self.hungry) {
            self.place_job(job, now, out);
        }
        // Giving makes neither room nor tasks.
        self.roomy.clear();
        self.hungry.clear();
    }

    /// Lets workers that have room know of a job with tasks to give. What they get is still the job whose turn it is.
    fn place_job(&mut self, job_id: JobId, now: UnixMillis, out: &mut Effects) {
        while let Some(job) = self.jobs.get(&job_id).filter(|job| job.has_waiting()) {
            let idle = &self.classes.get(job.class).idle;
            let found = match job.ballots {
                Some(_) => self.draw_worker(job),
                None => idle.iter().copied().find(|id| self.may_run(*id, job)),
            };
            let Some(id) = found else { return };
            let given = self.place_worker(id, now, out);
            debug_assert!(given > 0, "an idle worker takes what it may run");
            if given == 0 {
                return;
            }
        }
    }

    /// Gives a worker what it has room for, and of short tasks some ahead. Returns how many.
    fn place_worker(&mut self, id: WorkerId, now: UnixMillis, out: &mut Effects) -> usize {
        let mut given = 0;
        while let Some(worker) = self.workers.get(&id).filter(|worker| worker.connection.is_some()) {
            let Some(job_id) = self.next_for(id, worker) else { break };
            self.fairness.serve(&self.jobs[&job_id].user);
            self.give_lease(id, job_id, now, out);
            given += 1;
        }
        given
    }

    /// At the end of a job, gives tasks that take much longer than the others a second attempt, where a worker has nothing
    /// else to do. Whichever ends first counts.
    pub(super) fn copy_stragglers(&mut self, now: UnixMillis, out: &mut Effects) {
        let tails: Vec<JobId> = self.classes.iter().flat_map(|(_, class)| class.tails.iter().copied()).collect();
        let known = |id: JobId| Some((id, self.jobs[&id].expected_ms(1)?));
        for (id, usual) in tails.into_iter().filter_map(known).take(TAILS_MAX).collect::<Vec<_>>() {
            let patience = STRAGGLER_MS_MIN.max(STRAGGLER * usual);
            let late = |(_, lease): &(u64, LeaseId)| {
                let begun = self.leases.get(*lease).and_then(|given| given.begun);
                begun.is_some_and(|begun| now.since(begun.at) >= patience)
            };
            let late: Vec<(u64, LeaseId)> = self.jobs[&id].running_once().filter(late).take(TAILS_MAX).collect();
            for (index, lease) in late {
                let (job, first) = (&self.jobs[&id], self.leases.get(lease).expect("found in force").worker);
                let idle = &self.classes.get(job.class).idle;
                let fresh =
                    |other: &WorkerId| *other != first && !job.avoided.contains(other) && self.may_run(*other, job);
                let Some(worker) = idle.iter().copied().find(fresh) else { break };
                let copy = self.new_lease();
                self.lease_task(worker, TaskId { job: id, index }, copy, now, out);
            }
        }
    }

    /// The job whose turn it is among those the worker may run and takes now.
    fn next_for(&self, id: WorkerId, worker: &Worker) -> Option<JobId> {
        if worker.ahead.len() >= AHEAD_MAX {
            return None;
        }
        let first_of = |class| {
            let class = self.classes.get(class);
            let has_room = worker.has_room_for(&class.needs);
            let takes = |job: &Job| has_room || self.wants_ahead(worker, job);
            // A full worker takes only what is next, and little of it; nobody looks through all that waits.
            let turns = if has_room { TURNS_MAX } else { TURNS_AHEAD_MAX };
            class.queue.turns().take(turns).find(|(_, _, _, _, place)| {
                let job = &self.jobs[&place.job];
                takes(job) && self.may_run(id, job) && self.has_task_for(id, job)
            })
        };
        let turn = worker.classes.iter().filter_map(|class| first_of(*class)).min();
        turn.map(|(_, _, _, _, place)| place.job)
    }

    /// Whether the worker takes one more lease than it has room for: of short tasks, as many as it is done with in a
    /// moment; of wide ones, one that waits until enough slots are free. Tasks of a search are as long as they should be.
    fn wants_ahead(&self, worker: &Worker, job: &Job) -> bool {
        // Whoever has tasks to choose from could vote on those that its friends have.
        if job.ballots.is_some() {
            return false;
        }
        let cores = job.spec.resources.cores;
        let at_once = u64::from(worker.offer.slots / cores);
        let each = job.expected_in(AHEAD_MS).filter(|_| job.spec.search.is_none()).unwrap_or(0);
        let ahead = each.saturating_mul(at_once);
        let waits_for_slots = cores > 1 && worker.ahead.is_empty();
        waits_for_slots || worker.stuck_since.is_none() && (worker.ahead.len() as u64) < ahead
    }

    /// Whether the worker is trusted with this job. One that has seen it fail is tried again only when nobody else is
    /// left.
    pub(super) fn may_run(&self, id: WorkerId, job: &Job) -> bool {
        let exposed = job.ballots.as_ref().is_some_and(|ballots| self.trust.standing(id, ballots.class).exposed);
        !exposed && !job.excluded.contains(&id) && (!job.avoided.contains(&id) || self.nobody_else_may(job))
    }

    /// Whether every connected worker that could run the job has lied about it or seen it fail.
    fn nobody_else_may(&self, job: &Job) -> bool {
        let able = |id: &&WorkerId| {
            self.workers
                .get(id)
                .is_some_and(|worker| worker.connection.is_some() && worker.classes.contains(&job.class))
        };
        let shunned = job.avoided.union(&job.excluded).filter(able).count();
        shunned == self.classes.get(job.class).able
    }
}
