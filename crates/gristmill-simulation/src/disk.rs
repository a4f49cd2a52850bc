//! What the pool's database holds: all that is left of it after a crash.

use std::collections::BTreeMap;

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::view::Verdict;
use gristmill_scheduler::core::{Change, ResultAdded, Shares, Speed, StoredJob, StoredResult};

#[derive(Debug)]
pub(crate) struct Disk {
    /// Live jobs. Without results where nothing is ever restored: ten million of them would take half a gigabyte.
    jobs: BTreeMap<JobId, StoredJob>,
    keeps_results: bool,
    pub(crate) speeds: BTreeMap<Digest, Speed>,
    pub(crate) standings: BTreeMap<WorkerId, Shares>,
    /// The id that the next job gets.
    pub(crate) next_job: JobId,
    pending: BTreeMap<LeaseId, (TaskId, Vec<u8>)>,
    /// Everything that was ever committed, if somebody wants to look through it.
    pub(crate) log: Option<Vec<Change>>,
}

impl Disk {
    pub(crate) fn new(keeps_results: bool, keeps_log: bool) -> Self {
        Self {
            jobs: BTreeMap::new(),
            keeps_results,
            speeds: BTreeMap::new(),
            standings: BTreeMap::new(),
            next_job: JobId(1),
            pending: BTreeMap::new(),
            log: keeps_log.then(Vec::new),
        }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        if let Some(log) = &mut self.log {
            log.push(change.clone());
        }
        match change {
            Change::JobAdded { job, spec, needs, at } => {
                let stored = StoredJob {
                    job: *job,
                    spec: spec.clone(),
                    needs: needs.clone(),
                    at: *at,
                    results: Vec::new(),
                    failures: Vec::new(),
                    ballots: Vec::new(),
                    work_done: 0,
                    closest_score: None,
                };
                self.jobs.insert(*job, stored);
                self.next_job = self.next_job.max(JobId(job.0 + 1));
            }
            Change::ResultAdded(result) => self.add_result(result),
            Change::VerdictGiven { task, lease, certified, .. } => {
                self.pending.remove(lease);
                let results = self.jobs.get_mut(&task.job).map(|job| &mut job.results);
                for result in results.into_iter().flatten().filter(|result| result.lease == *lease) {
                    result.verdict = if *certified { Verdict::Certified } else { Verdict::Rejected };
                }
            }
            Change::AttemptFailed { task, worker, fault, work_done, .. } if self.keeps_results => {
                if let Some(job) = self.jobs.get_mut(&task.job) {
                    job.failures.push((task.index, *worker, *fault));
                    job.work_done += work_done;
                }
            }
            Change::JobEnded { job, .. } => {
                self.jobs.remove(job);
                self.pending.retain(|_, (task, _)| task.job != *job);
            }
            Change::SpeedMeasured { app, speed } => drop(self.speeds.insert(*app, *speed)),
            Change::StandingChanged { worker, standing } => drop(self.standings.insert(*worker, *standing)),
            // No job of a scenario is replicated; what votes on it is the trust engine alone.
            Change::BallotChanged { .. }
            | Change::TaskSettled { .. }
            | Change::TrustChanged { .. }
            | Change::LiarExposed { .. }
            | Change::CameCloser { .. }
            | Change::BatchSigned { .. }
            | Change::AttemptFailed { .. }
            | Change::AppChanged(_) => {}
        }
    }

    fn add_result(&mut self, result: &ResultAdded) {
        let ResultAdded { task, lease, worker, verdict, work, outcome, .. } = result;
        if *verdict == Verdict::Pending {
            self.pending.insert(*lease, (*task, outcome.clone()));
        }
        if self.keeps_results
            && let Some(job) = self.jobs.get_mut(&task.job)
        {
            let (index, lease, worker, verdict, work) = (task.index, *lease, *worker, *verdict, *work);
            job.results.push(StoredResult { index, lease, worker, verdict, work });
            job.work_done += work;
        }
    }

    pub(crate) fn live_jobs(&self) -> Vec<StoredJob> {
        self.jobs.values().cloned().collect()
    }

    /// Results that wait for a verdict, with their encoded outcomes.
    pub(crate) fn pending(&self) -> Vec<(TaskId, LeaseId, Vec<u8>)> {
        self.pending.iter().map(|(lease, (task, outcome))| (*task, *lease, outcome.clone())).collect()
    }
}
