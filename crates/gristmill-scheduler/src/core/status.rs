//! What the core holds, counted for those who ask.

use std::collections::BTreeSet;

use gristmill_proto::id::{JobId, LeaseId, UnixMillis, WorkerId};
use gristmill_proto::view::{JobState, Progress, TaskCounts};

use super::worker::Worker;
use super::{Core, LeaseTerms};

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

impl Core {
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
}
