//! What the core tells its shell: what must become durable, and what must be said.

use std::collections::BTreeSet;
use std::sync::Arc;

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::Signature;
use gristmill_proto::message::{BATCH_JOBS_MAX, BATCH_MAX, Lease, ToWorker};
use gristmill_proto::view::{AppEntry, Closest, JobState, Verdict};

use super::{ConnectionId, Needs, OpenBallot, Shares, Speed};
use crate::trust::{AppClass, Standing, Why};

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

    /// Tells the worker of one more lease, in the message that is being made for it if there is one.
    pub(super) fn give(&mut self, id: WorkerId, connection: ConnectionId, lease: Lease, spec: &Arc<JobSpec>) {
        let job = lease.task.job;
        if let Some((_, to, ToWorker::Leases { jobs, leases })) = self.messages.last_mut()
            && *to == connection
            && leases.len() < BATCH_MAX
        {
            let told = jobs.iter().any(|(known, _)| *known == job);
            if told || jobs.len() < BATCH_JOBS_MAX {
                if !told {
                    jobs.push((job, spec.clone()));
                }
                leases.push(lease);
                return;
            }
        }
        let message = ToWorker::Leases { jobs: vec![(job, spec.clone())], leases: vec![lease] };
        self.messages.push((id, connection, message));
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
    /// A worker signed the results that follow, and maybe others.
    BatchSigned {
        /// The first of its leases that was in force names it.
        batch: LeaseId,
        worker: WorkerId,
        leaves: Vec<Digest>,
        signature: Signature,
    },
    ResultAdded(ResultAdded),
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
    /// A version of an app is new, or is approved or retired now.
    AppChanged(AppEntry),
    /// Votes on a task that is not settled, or will never be.
    BallotChanged {
        task: TaskId,
        ballot: Box<OpenBallot>,
    },
    /// Enough votes agree, and have stood the test of time: what they were for is certified, agreed or rejected.
    TaskSettled {
        task: TaskId,
        results: Vec<(LeaseId, WorkerId, Verdict)>,
        /// Whether somebody may ask for the certified one.
        shown: bool,
        at: UnixMillis,
    },
    /// What a worker has proven in one class of apps.
    TrustChanged {
        worker: WorkerId,
        class: AppClass,
        standing: Standing,
    },
    LiarExposed {
        worker: WorkerId,
        class: AppClass,
        task: TaskId,
        why: Why,
        at: UnixMillis,
    },
    JobEnded {
        job: JobId,
        state: JobState,
        reason: Option<String>,
        done: u64,
        failed: u64,
        at: UnixMillis,
    },
}

#[derive(Clone, Debug)]
pub struct ResultAdded {
    pub task: TaskId,
    pub lease: LeaseId,
    pub worker: WorkerId,
    pub batch: LeaseId,
    /// Its leaf in the batch.
    pub position: u32,
    /// As the worker encoded it.
    pub outcome: Vec<u8>,
    pub verdict: Verdict,
    /// Whether somebody may ask for it: it has an answer or files, and is no search in vain.
    pub shown: bool,
    /// Work units done, as far as they are believed.
    pub work: u64,
    /// Near misses that were checked.
    pub shares: u64,
    pub at: UnixMillis,
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
    pub ballots: Vec<(u64, OpenBallot)>,
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
