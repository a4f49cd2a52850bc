//! Questions to the store: what is committed, without waiting for the writer.

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::Signature;
use gristmill_proto::outcome::Outcome;
use gristmill_proto::receipt::{Receipt, Statement, digest_of_job, path_of};
use gristmill_proto::view::{Closest, JobView, Progress, ResultView, TaskCounts, TaskResultView, Verdict, WorkerView};

use super::StoreError;
use super::database::Database;
use super::record::{state_of, verdict_of};
use super::sql::{Row, values};

/// Results shown with a job.
const RESULTS_SHOWN_MAX: u32 = 1_000;

/// A session of its own, for questions.
pub struct Reader {
    pub(super) database: Database,
}

/// What an attempt left, as it is on disk.
pub struct StoredAttempt {
    pub lease: LeaseId,
    pub worker: WorkerId,
    pub outcome: Outcome,
    pub verdict: Verdict,
    /// Why it is rejected.
    pub reason: Option<String>,
    pub at: UnixMillis,
}

/// A receipt with what it speaks of.
pub struct StoredReceipt {
    pub worker: WorkerId,
    pub receipt: Receipt,
    pub spec: JobSpec,
    /// Encoded, as it was signed.
    pub outcome: Vec<u8>,
}

impl Reader {
    pub fn job_of(&self, external_id: &str) -> Result<Option<JobId>, StoreError> {
        let found = self.database.one("SELECT id FROM job WHERE external_id = ?1", &values![external_id])?;
        found.map(|row| row.get(0)).transpose()
    }

    /// The newest jobs below `before`.
    pub fn job_ids(&self, before: Option<JobId>, count: u32) -> Result<Vec<JobId>, StoreError> {
        let sql = "SELECT id FROM job WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
        let rows = self.database.query(sql, &values![before.map_or(u64::MAX, |job| job.0), count])?;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The job as it is on disk. A live one still lacks what only the core knows: see [`crate::core::JobStatus`].
    pub fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let sql = "SELECT external_id, spec, state, reason, created_at, finished_at, work_done, tasks_done,
                closest_score, closest_text, closest_record, tasks_failed
            FROM job WHERE id = ?1";
        let Some(row) = self.database.one(sql, &values![id])? else { return Ok(None) };
        let spec: JobSpec = row.decode(1)?;
        Ok(Some(JobView {
            id,
            external_id: row.get(0)?,
            app: spec.app,
            labels: spec.labels,
            state: state_of(row.text(2)?)?,
            reason: row.get(3)?,
            created_at_ms: row.get(4)?,
            finished_at_ms: row.get(5)?,
            tasks: TaskCounts { total: spec.tasks, done: row.get(7)?, failed: row.get(11)?, ..TaskCounts::default() },
            progress: Progress { done: row.get(6)?, rate_per_s: 0.0 },
            workers: 0,
            closest: closest_of(&row)?,
            results: self.results(id)?,
        }))
    }

    /// The first results that somebody may ask for.
    fn results(&self, job: JobId) -> Result<Vec<ResultView>, StoreError> {
        let sql = "SELECT task, lease, worker, outcome, verdict FROM result WHERE job = ?1 AND shown = 1
            ORDER BY at, task, lease LIMIT ?2";
        let view = |row: &Row| {
            let outcome: Outcome = row.decode(3)?;
            Ok(ResultView {
                task: row.get(0)?,
                lease: row.get(1)?,
                worker: row.get(2)?,
                answer: outcome.answer.map(|answer| format!("0x{}", hex::encode(answer))),
                files: outcome.files,
                verdict: verdict_of(row.text(4)?)?,
            })
        };
        self.database.query(sql, &values![job, RESULTS_SHOWN_MAX])?.iter().map(view).collect()
    }

    /// Certified results in the order of their tasks, from a task on.
    pub fn certified_results(&self, job: JobId, from: u64, limit: u32) -> Result<Vec<TaskResultView>, StoreError> {
        let sql = "SELECT task, lease, worker, outcome FROM result WHERE job = ?1 AND task >= ?2
            AND verdict = 'certified' ORDER BY task LIMIT ?3";
        let view = |row: &Row| {
            let outcome: Outcome = row.decode(3)?;
            Ok(TaskResultView {
                task: row.get(0)?,
                lease: row.get(1)?,
                worker: row.get(2)?,
                exit: outcome.exit,
                answer: outcome.answer.map(|answer| format!("0x{}", hex::encode(answer))),
                files: outcome.files,
                usage: outcome.usage,
            })
        };
        self.database.query(sql, &values![job, from, limit])?.iter().map(view).collect()
    }

    /// All that the task's attempts left, and what became of it. Votes that are not settled are nobody's business: who
    /// is asked next could copy them.
    pub fn attempts(&self, task: TaskId) -> Result<Vec<StoredAttempt>, StoreError> {
        let sql = "SELECT lease, worker, outcome, verdict, reason, at FROM result WHERE job = ?1 AND task = ?2
            AND verdict <> 'voted' ORDER BY lease";
        let attempt = |row: &Row| {
            Ok(StoredAttempt {
                lease: row.get(0)?,
                worker: row.get(1)?,
                outcome: row.decode(2)?,
                verdict: verdict_of(row.text(3)?)?,
                reason: row.get(4)?,
                at: row.get(5)?,
            })
        };
        self.database.query(sql, &values![task.job, task.index])?.iter().map(attempt).collect()
    }

    /// The worker's signed statement of an attempt.
    pub fn receipt(&self, pool: &str, task: TaskId, lease: LeaseId) -> Result<Option<StoredReceipt>, StoreError> {
        let sql = "SELECT spec, outcome, position, leaves, signature, result.worker FROM result
            JOIN batch ON batch.id = batch JOIN job ON job.id = job
            WHERE job = ?1 AND task = ?2 AND lease = ?3 AND verdict <> 'voted'";
        let Some(row) = self.database.one(sql, &values![task.job, task.index, lease])? else { return Ok(None) };
        let spec: JobSpec = row.decode(0)?;
        let (outcome, leaves): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(3)?);
        let leaves: Vec<Digest> = leaves.as_chunks::<32>().0.iter().map(|leaf| Digest(*leaf)).collect();
        let statement = Statement::new(pool, lease, task, spec.app, digest_of_job(&spec), &outcome);
        let (path, signature) = (path_of(&leaves, row.get::<u32>(2)? as usize), Signature(row.get(4)?));
        let (worker, receipt) = (row.get(5)?, Receipt { statement, path, signature });
        Ok(Some(StoredReceipt { worker, receipt, spec, outcome }))
    }

    /// Counts of every worker that ever returned something.
    pub fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        let sql = "SELECT id, certified, failed, rejected, shares FROM worker LIMIT 10000";
        let view = |row: &Row| {
            Ok(WorkerView {
                id: row.get(0)?,
                name: String::new(),
                connected: false,
                slots: 0,
                running: 0,
                certified: row.get(1)?,
                failed: row.get(2)?,
                rejected: row.get(3)?,
                shares: row.get(4)?,
            })
        };
        self.database.query(sql, &[])?.iter().map(view).collect()
    }

    /// Why attempts of the job failed, the newest first.
    pub fn last_failures(&self, job: JobId, count: u32) -> Result<Vec<(u64, WorkerId, String)>, StoreError> {
        let sql = "SELECT task, worker, reason FROM failure WHERE job = ?1 ORDER BY at DESC, lease DESC LIMIT ?2";
        let rows = self.database.query(sql, &values![job, count])?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
    }
}

fn closest_of(row: &Row) -> Result<Option<Closest>, StoreError> {
    let Some(score) = row.get(8)? else { return Ok(None) };
    Ok(Some(Closest { score, text: row.get(9)?, record: row.get(10)? }))
}
