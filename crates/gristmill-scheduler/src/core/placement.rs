//! Who runs what next.

use gristmill_proto::id::{JobId, UnixMillis, WorkerId};

use super::job::Job;
use super::worker::Worker;
use super::{Core, Effects};

/// Why a worker may not run a job, or nothing if it may. Whether it is its turn is another question.
pub(super) fn obstacle(id: WorkerId, worker: &Worker, job: &Job) -> Option<&'static str> {
    if !job.needs.met_by(&worker.offer) {
        return Some("the app has no target for what this worker offers, or needs more memory");
    }
    if job.excluded.contains(&id) {
        return Some("this worker lied about this job or could not run it");
    }
    None
}

impl Core {
    /// Lets workers that have room know of a job with tasks to give. What they get is still the job whose turn it is.
    pub(super) fn place_job(&mut self, job_id: JobId, now: UnixMillis, out: &mut Effects) {
        while let Some(job) = self.jobs.get(&job_id).filter(|job| job.has_waiting()) {
            let fits = |id: &&WorkerId| obstacle(**id, &self.workers[*id], job).is_none();
            let mut willing = self.idle.iter().filter(fits);
            let fresh = willing.clone().find(|id| !job.avoided.contains(id));
            let Some(id) = fresh.or_else(|| willing.next().filter(|_| self.nobody_else_may(job))).copied() else {
                return;
            };
            self.place_worker(id, now, out);
        }
    }

    /// Fills a worker's free slots.
    pub(super) fn place_worker(&mut self, id: WorkerId, now: UnixMillis, out: &mut Effects) {
        while let Some(worker) = self.workers.get(&id).filter(|worker| worker.has_free_slot()) {
            let suits = |job: &Job| {
                obstacle(id, worker, job).is_none() && (!job.avoided.contains(&id) || self.nobody_else_may(job))
            };
            let Some(job_id) = self.ready.iter().map(|(_, job)| *job).find(|job| suits(&self.jobs[job])) else {
                return;
            };
            self.give_lease(id, job_id, now, out);
        }
    }

    /// Whether every connected worker that could run the job has seen it fail. Only then may one try again.
    fn nobody_else_may(&self, job: &Job) -> bool {
        let hopeful = |(id, worker): (&WorkerId, &Worker)| {
            worker.connection.is_some() && !job.avoided.contains(id) && obstacle(*id, worker, job).is_none()
        };
        !self.workers.iter().any(hopeful)
    }
}
