//! What must hold of a whole history, whatever happened in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_proto::codec::decode;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec, Trust};
use gristmill_proto::message::Lease;
use gristmill_proto::outcome::Outcome;
use gristmill_proto::receipt::{Statement, digest_of_job, signer_of_batch};
use gristmill_proto::view::{JobState, Verdict};
use gristmill_scheduler::core::{Change, Fault, ResultAdded};

use crate::workload::{Task, Workload, name_of};

const POOL: &str = "simulated";

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Jobs whose submission was acknowledged.
    acknowledged: BTreeSet<JobId>,
    /// Leases whose result a worker was told is on record.
    recorded: BTreeSet<LeaseId>,
    /// Every lease that was told, to whom, and how much there was to do.
    given: RefCell<BTreeMap<LeaseId, (WorkerId, u64)>>,
    /// Leases that came to something.
    ended: BTreeSet<LeaseId>,
    /// Who must get no more of a job.
    excluded: BTreeSet<(JobId, WorkerId)>,
}

impl History {
    pub(crate) fn acknowledged(&mut self, job: JobId) {
        self.acknowledged.insert(job);
    }

    pub(crate) fn told_recorded(&mut self, lease: LeaseId) {
        self.recorded.insert(lease);
    }

    pub(crate) fn see(&mut self, change: &Change) {
        if let Change::ResultAdded(ResultAdded { lease, .. }) | Change::AttemptFailed { lease, .. } = change {
            self.ended.insert(*lease);
        }
        if let Change::AttemptFailed { task, worker, fault: Fault::Worker, .. }
        | Change::VerdictGiven { task, worker, certified: false, .. } = change
        {
            self.excluded.insert((task.job, *worker));
        }
    }

    pub(crate) fn gives(&self, worker: WorkerId, lease: &Lease) {
        let Lease { lease, task, work, .. } = *lease;
        assert!(!self.excluded.contains(&(task.job, worker)), "{worker:?} gets more of {task:?}");
        let before = self.given.borrow_mut().insert(lease, (worker, work));
        assert!(before.is_none(), "{lease:?} was given twice");
    }

    /// A worker that connects goes on with these.
    pub(crate) fn goes_on(&self, kept: impl Iterator<Item = LeaseId>, forged: Option<LeaseId>) {
        for lease in kept {
            assert!(Some(lease) != forged, "{lease:?} was made up");
            assert!(!self.ended.contains(&lease), "{lease:?} has ended and goes on");
        }
    }

    /// Looks through all that was ever committed.
    pub(crate) fn check(&self, log: &[Change], workload: &Workload<'_>, over: bool) {
        let mut seen = Seen::default();
        for change in log {
            seen.look_at(change, self, workload);
        }
        for job in self.acknowledged.iter().filter(|_| over) {
            seen.check_ended(*job);
        }
        for lease in &self.recorded {
            let failed = seen.failed.contains(lease);
            assert!(seen.results.contains_key(lease) || failed, "{lease:?} was acknowledged and lost");
        }
    }
}

/// What a log says.
#[derive(Debug, Default)]
struct Seen {
    ended: BTreeMap<JobId, JobState>,
    certified: BTreeMap<TaskId, LeaseId>,
    /// The task of each result, and whether it is right.
    results: BTreeMap<LeaseId, (TaskId, bool)>,
    failed: BTreeSet<LeaseId>,
    specs: BTreeMap<JobId, Arc<JobSpec>>,
    batches: BTreeMap<LeaseId, (Vec<gristmill_proto::digest::Digest>, WorkerId)>,
}

impl Seen {
    fn look_at(&mut self, change: &Change, history: &History, workload: &Workload<'_>) {
        match change {
            Change::JobAdded { job, spec, .. } => {
                assert!(self.specs.insert(*job, spec.clone()).is_none(), "{job:?} was added twice");
            }
            Change::BatchSigned { batch, worker, leaves, signature } => {
                assert_eq!(signer_of_batch(leaves, signature), Some(*worker));
                self.batches.insert(*batch, (leaves.clone(), *worker));
            }
            Change::ResultAdded(result) => self.look_at_result(result, history, workload),
            Change::VerdictGiven { task, lease, certified: true, .. } => {
                assert!(self.results[lease].1, "a lie was certified");
                self.certify(*task, *lease);
            }
            Change::AttemptFailed { lease, .. } => {
                self.failed.insert(*lease);
            }
            Change::JobEnded { job, state, reason, .. } => {
                let reason = reason.as_deref().unwrap_or_default();
                assert!(!reason.contains("without an answer"), "idlers ended the search of {job:?}");
                assert!(self.ended.insert(*job, *state).is_none(), "{job:?} ended twice");
            }
            _ => {}
        }
    }

    fn look_at_result(&mut self, result: &ResultAdded, history: &History, workload: &Workload<'_>) {
        let ResultAdded { task, lease, outcome: encoded, verdict, batch, position, worker, work, .. } = result;
        let outcome: Outcome = decode(encoded, encoded.len()).expect("encoded by a simulated worker");
        let spec = &self.specs[&task.job];
        let statement = Statement::new(POOL, *lease, *task, spec.app, digest_of_job(spec), encoded);
        let (leaves, signer) = &self.batches[batch];
        assert_eq!(leaves[*position as usize], statement.leaf(), "{lease:?} is not what was signed");
        assert_eq!(signer, worker, "{lease:?} is not signed by its worker");
        let (holder, to_do) = history.given.borrow()[lease];
        assert_eq!(holder, *worker, "{lease:?} is somebody else's");
        if to_do > 0 && outcome.answer.is_none() {
            assert_eq!(*work, to_do, "{lease:?} was not searched to its end");
        }
        let truth = workload.truth(Task { job: name_of(spec), index: task.index });
        let right = outcome.answer.is_none_or(|answer| answer == truth.to_le_bytes());
        assert!(self.results.insert(*lease, (*task, right)).is_none(), "{lease:?} has two results");
        if *verdict == Verdict::Certified {
            assert!(right || spec.trust == Trust::Pool, "{lease:?} is wrong and was certified unseen");
            self.certify(*task, *lease);
        }
    }

    fn certify(&mut self, task: TaskId, lease: LeaseId) {
        assert!(self.certified.insert(task, lease).is_none(), "{task:?} was certified twice");
    }

    fn check_ended(&self, job: JobId) {
        let spec = &self.specs[&job];
        let state = self.ended.get(&job).unwrap_or_else(|| panic!("{job:?} was acknowledged and lost"));
        let from = TaskId { job, index: 0 };
        let tasks = self.certified.range(from..).take_while(|(task, _)| task.job == job).count() as u64;
        match (state, spec.done_when) {
            (JobState::Done, DoneWhen::AllTasks) => {
                assert!(tasks + spec.failed_max >= spec.tasks, "{job:?} is not complete");
            }
            (JobState::Done, DoneWhen::AnyTask) => assert!(tasks >= 1, "{job:?} has no result"),
            _ => {}
        }
    }
}
