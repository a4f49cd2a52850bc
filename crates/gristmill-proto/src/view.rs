//! What the HTTP API shows, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{JobId, LeaseId, ProviderId, UnixMillis, WorkerId};
use crate::outcome::{Exit, Outcome, OutputFile, Usage};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    pub id: JobId,
    pub external_id: Option<String>,
    pub app: Digest,
    pub labels: BTreeMap<String, String>,
    pub state: JobState,
    /// Why it failed or was cancelled.
    pub reason: Option<String>,
    pub created_at_ms: UnixMillis,
    pub finished_at_ms: Option<UnixMillis>,
    pub tasks: TaskCounts,
    pub progress: Progress,
    /// Workers that run an attempt now.
    pub workers: u64,
    /// The best near miss of a search so far.
    #[serde(default)]
    pub closest: Option<Closest>,
    /// Certified answers, and those that wait for the submitter's verdict; see [`ResultView::verdict`].
    pub results: Vec<ResultView>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No attempt has started yet.
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    pub total: u64,
    pub waiting: u64,
    pub running: u64,
    /// Run to a result that waits for a verdict.
    pub pending: u64,
    pub done: u64,
    pub failed: u64,
}

/// In the app's own work units, summed over all attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub rate_per_s: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultView {
    pub task: u64,
    pub lease: u64,
    pub worker: WorkerId,
    /// Hexadecimal with 0x; absent when the app gave no answer.
    pub answer: Option<String>,
    pub files: Vec<OutputFile>,
    pub verdict: Verdict,
}

/// A task's certified result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResultView {
    pub task: u64,
    pub lease: u64,
    pub worker: WorkerId,
    pub exit: Exit,
    /// Hexadecimal with 0x; absent when the app gave no answer.
    pub answer: Option<String>,
    pub files: Vec<OutputFile>,
    pub usage: Usage,
}

/// A near miss, as the checker of the job's shares describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closest {
    /// The higher, the nearer.
    pub score: u64,
    /// As people read it.
    pub text: String,
    /// All that its owner needs to use it.
    pub record: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pending,
    Certified,
    Rejected,
    /// A vote on a task that is not settled yet. The pool keeps it to itself.
    Voted,
    /// It agreed with the certified result of another worker.
    Agreed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    pub id: WorkerId,
    pub name: String,
    pub connected: bool,
    pub slots: u32,
    pub running: u32,
    pub certified: u64,
    pub failed: u64,
    pub rejected: u64,
    /// Verified shares, of all its searches.
    pub shares: u64,
}

/// What a running attempt has said so far. Bytes, because they are the program's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLogView {
    pub lease: LeaseId,
    pub worker: WorkerId,
    #[serde(with = "hex::serde")]
    pub stdout: Vec<u8>,
    #[serde(with = "hex::serde")]
    pub stderr: Vec<u8>,
}

/// What an attempt left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    pub lease: LeaseId,
    pub worker: WorkerId,
    pub verdict: Verdict,
    /// Why it was rejected.
    pub reason: Option<String>,
    pub at_ms: UnixMillis,
    pub outcome: Outcome,
}

/// What holds a live job back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyJob {
    pub job: JobId,
    /// In one sentence, and what can be done about it.
    pub reason: String,
    pub hint: String,
    pub tasks: TaskCounts,
    /// Connected workers.
    pub workers: u64,
    /// Those of them that meet every condition.
    pub able: u64,
    /// Those of the able that have room right now.
    pub idle: u64,
    /// Able workers that lied about this job or could not run it, and those that saw its program fail.
    pub excluded: Vec<WorkerId>,
    pub avoided: Vec<WorkerId>,
    /// Jobs with the same conditions whose turn comes first; absent when no task waits.
    pub jobs_before: Option<u64>,
    /// Until its last task is done if every able worker worked for it alone; absent until one task has ended.
    pub expected_ms: Option<u64>,
    pub conditions: Vec<Condition>,
}

/// Something a job asks of its workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub asks: String,
    /// Connected workers that meet it.
    pub admits: u64,
    pub hint: String,
}

/// What a worker is to the jobs that wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyWorker {
    pub worker: WorkerId,
    pub connected: bool,
    pub slots: u32,
    pub running: u32,
    /// Leases that wait there for room.
    pub ahead: u32,
    pub labels: BTreeMap<String, String>,
    /// Jobs with tasks to give, and why this worker does not run each.
    pub jobs: Vec<(JobId, String)>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    pub task: u64,
    pub worker: WorkerId,
    pub reason: String,
}

/// A version of an app, as the pool's list of apps has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEntry {
    /// The manifest's digest.
    pub app: Digest,
    pub name: String,
    pub version: String,
    pub provider: Option<ProviderId>,
    /// By the pool's admin; asked for only where the pool wants approval.
    pub approved: bool,
    /// No new job may use it.
    pub retired: bool,
    pub published_at_ms: UnixMillis,
}

/// Body of `POST /api/apps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    pub app: Digest,
}

/// What the pool knows of an app.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    /// Work units a second of one slot, on average, as far as it was measured.
    pub slot_rate_per_s: Option<f64>,
    /// Slots of the connected workers.
    pub slots: u64,
}

/// Body of `POST /api/jobs/{id}/verdict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictRequest {
    pub lease: u64,
    pub certified: bool,
    /// Why it is rejected, for the worker's owner.
    #[serde(default)]
    pub reason: String,
}

/// Answer to `POST /api/jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    pub id: JobId,
    /// The external id was known: this is the job of the first submission.
    pub known: bool,
}

/// Body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    pub error: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// What a scheduler is to its pool now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub pool: String,
    pub standing: Standing,
    /// Where the pool is served, as far as this scheduler knows.
    pub leader: Option<String>,
    /// Counts the leaders of a shared database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Leads,
    StandBy,
}
