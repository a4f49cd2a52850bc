//! The durable truth: SQLite, written by one thread that commits whatever has gathered since its last commit.

mod schema;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, ProviderId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::Signature;
use gristmill_proto::outcome::Outcome;
use gristmill_proto::receipt::{Receipt, Statement, digest_of_job, path_of};
use gristmill_proto::view::{
    AppEntry, Closest, JobState, JobView, Progress, ResultView, TaskCounts, TaskResultView, Verdict, WorkerView,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::core::{Change, Fault, Needs, OpenBallot, PoolSecret, ResultAdded, Shares, Speed, StoredJob, StoredResult};
use crate::trust::{AppClass, Standing, Why};
pub use writer::{Writer, WriterFailed};

/// Results shown with a job.
const RESULTS_SHOWN_MAX: usize = 1_000;
/// A stored record's encoded size: a job at its limits, or an outcome at its.
const RECORD_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the pool's database {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the pool's database has format {found}, and this program knows {known}: it was written by a newer version"
    )]
    Newer { found: u32, known: u32 },
    #[error("the pool's database")]
    Sql(#[from] rusqlite::Error),
    #[error("the pool's database holds a damaged record")]
    Damaged(#[from] codec::DecodeError),
    #[error("the pool's database holds an unknown word `{0}`")]
    UnknownWord(String),
}

/// A pool's database, opened for writing. One process holds it at a time.
pub struct Store {
    connection: Connection,
    path: PathBuf,
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

/// What a start of the pool finds.
pub struct Restored {
    pub secret: PoolSecret,
    /// Counts the starts; durable before this is returned.
    pub run: u64,
    pub next_job: JobId,
    pub jobs: Vec<StoredJob>,
    pub standings: Vec<(WorkerId, Shares)>,
    pub speeds: Vec<(Digest, Speed)>,
    /// What workers have proven where they voted.
    pub trust: Vec<(WorkerId, AppClass, Standing)>,
}

impl Store {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(open)?;
        // EXCLUSIVE would keep readers out; a second pool on the same folder is refused by the role's lock file.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(open)?;
        schema::migrate(&connection)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.path)
    }

    /// Begins a run: `new_secret` becomes the pool's secret if it has none yet.
    pub fn begin_run(&mut self, new_secret: [u8; 32]) -> Result<Restored, StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("INSERT OR IGNORE INTO pool (id, secret, run) VALUES (1, ?1, 0)", [new_secret])?;
        transaction.execute("UPDATE pool SET run = run + 1", [])?;
        let (secret, run): ([u8; 32], u64) =
            transaction.query_row("SELECT secret, run FROM pool", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let last_job: u64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM job", [], |row| row.get(0))?;
        transaction.commit()?;
        let jobs = self.live_jobs()?;
        let (standings, speeds, trust) = (self.standings()?, self.speeds()?, self.trust()?);
        Ok(Restored { secret: PoolSecret(secret), run, next_job: JobId(last_job + 1), jobs, standings, speeds, trust })
    }

    fn live_jobs(&self) -> Result<Vec<StoredJob>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, spec, needs, created_at, work_done, closest_score FROM job WHERE state = 'live'")?;
        let mut rows = statement.query([])?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            let job = JobId(row.get(0)?);
            jobs.push(StoredJob {
                job,
                spec: Arc::new(decode::<JobSpec>(row, 1)?),
                needs: decode::<Needs>(row, 2)?,
                at: UnixMillis(row.get(3)?),
                work_done: row.get(4)?,
                closest_score: row.get(5)?,
                results: self.results_of(job)?,
                failures: self.failures_of(job)?,
                ballots: self.ballots_of(job)?,
            });
        }
        Ok(jobs)
    }

    /// Apps in the order of their publication.
    pub fn apps(&self) -> Result<Vec<AppEntry>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT digest, name, version, provider, approved, retired, published_at FROM app ORDER BY rowid",
        )?;
        let entry = |row: &Row<'_>| {
            Ok(AppEntry {
                app: Digest(row.get(0)?),
                name: row.get(1)?,
                version: row.get(2)?,
                provider: row.get::<_, Option<[u8; 20]>>(3)?.map(ProviderId),
                approved: row.get(4)?,
                retired: row.get(5)?,
                published_at_ms: UnixMillis(row.get(6)?),
            })
        };
        Ok(statement.query_map([], entry)?.collect::<Result<_, _>>()?)
    }

    fn standings(&self) -> Result<Vec<(WorkerId, Shares)>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, shares_found, shares_expected FROM worker WHERE shares_expected > 0")?;
        let standing =
            |row: &Row<'_>| Ok((WorkerId(row.get(0)?), Shares { found: row.get(1)?, expected: row.get(2)? }));
        Ok(statement.query_map([], standing)?.collect::<Result<_, _>>()?)
    }

    fn speeds(&self) -> Result<Vec<(Digest, Speed)>, StoreError> {
        let mut statement = self.connection.prepare("SELECT app, work, ms FROM speed")?;
        let speed = |row: &Row<'_>| Ok((Digest(row.get(0)?), Speed { work: row.get(1)?, ms: row.get(2)? }));
        Ok(statement.query_map([], speed)?.collect::<Result<_, _>>()?)
    }

    fn trust(&self) -> Result<Vec<(WorkerId, AppClass, Standing)>, StoreError> {
        let mut statement = self.connection.prepare("SELECT worker, class, standing FROM trust")?;
        let mut rows = statement.query([])?;
        let mut trust = Vec::new();
        while let Some(row) = rows.next()? {
            trust.push((WorkerId(row.get(0)?), AppClass(Digest(row.get(1)?)), decode(row, 2)?));
        }
        Ok(trust)
    }

    fn ballots_of(&self, job: JobId) -> Result<Vec<(u64, OpenBallot)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT task, ballot FROM ballot WHERE job = ?1")?;
        let mut rows = statement.query([job.0])?;
        let mut ballots = Vec::new();
        while let Some(row) = rows.next()? {
            ballots.push((row.get(0)?, decode(row, 1)?));
        }
        Ok(ballots)
    }

    fn results_of(&self, job: JobId) -> Result<Vec<StoredResult>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT task, lease, worker, verdict, work FROM result WHERE job = ?1")?;
        let mut rows = statement.query([job.0])?;
        let mut results = Vec::new();
        while let Some(row) = rows.next()? {
            let verdict = verdict_of(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?;
            results.push(StoredResult {
                index: row.get(0)?,
                lease: LeaseId(row.get(1)?),
                worker: WorkerId(row.get(2)?),
                verdict,
                work: row.get(4)?,
            });
        }
        Ok(results)
    }

    fn failures_of(&self, job: JobId) -> Result<Vec<(u64, WorkerId, Fault)>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT task, worker, fault FROM failure WHERE job = ?1")?;
        let mut rows = statement.query([job.0])?;
        let mut failures = Vec::new();
        while let Some(row) = rows.next()? {
            let fault = fault_of(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
            failures.push((row.get(0)?, WorkerId(row.get(1)?), fault));
        }
        Ok(failures)
    }

    /// Commits a group of changes: all or none.
    pub fn commit<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut sums = Sums::default();
        for change in changes {
            apply(&transaction, change, &mut sums)?;
        }
        sums.apply(&transaction)?;
        transaction.commit()
    }
}

/// What many changes of one commit add up to, written once.
#[derive(Default)]
struct Sums {
    work: HashMap<JobId, u64>,
    workers: HashMap<WorkerId, Counts>,
    standings: HashMap<WorkerId, Shares>,
    speeds: HashMap<Digest, Speed>,
}

#[derive(Default)]
struct Counts {
    certified: u64,
    failed: u64,
    rejected: u64,
    shares: u64,
}

impl Sums {
    fn worked(&mut self, job: JobId, units: u64) {
        if units > 0 {
            let sum = self.work.entry(job).or_default();
            *sum = sum.saturating_add(units);
        }
    }

    fn counts(&mut self, worker: WorkerId) -> &mut Counts {
        self.workers.entry(worker).or_default()
    }

    fn apply(self, sql: &Connection) -> Result<(), rusqlite::Error> {
        for (job, units) in self.work {
            let add = "UPDATE job SET work_done = min(work_done + ?2, 9007199254740991) WHERE id = ?1";
            sql.prepare_cached(add)?.execute(params![job.0, units.min(1 << 53)])?;
        }
        for (worker, Counts { certified, failed, rejected, shares }) in self.workers {
            let add = "INSERT INTO worker (id, certified, failed, rejected, shares) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (id) DO UPDATE SET certified = certified + ?2, failed = failed + ?3,
                    rejected = rejected + ?4, shares = shares + ?5";
            sql.prepare_cached(add)?.execute(params![worker.0, certified, failed, rejected, shares])?;
        }
        for (worker, standing) in self.standings {
            stands(sql, worker, standing)?;
        }
        for (app, speed) in self.speeds {
            measured(sql, app, speed)?;
        }
        Ok(())
    }
}

fn apply(sql: &Connection, change: &Change, sums: &mut Sums) -> Result<(), rusqlite::Error> {
    match change {
        Change::JobAdded { job, spec, needs, at } => {
            let mut add = sql.prepare_cached(
                "INSERT INTO job (id, external_id, spec, needs, state, created_at) VALUES (?1, ?2, ?3, ?4, 'live', ?5)",
            )?;
            add.execute(params![job.0, spec.external_id, codec::encode(&**spec), codec::encode(needs), at.0])?;
        }
        Change::BatchSigned { batch, worker, leaves, signature } => {
            let leaves: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
            sql.prepare_cached("INSERT INTO batch (id, worker, leaves, signature) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![batch.0, worker.0, leaves, signature.0])?;
        }
        Change::ResultAdded(result) => {
            add_result(sql, result)?;
            sums.worked(result.task.job, result.work);
            let counts = sums.counts(result.worker);
            counts.shares += result.shares;
            counts.certified += u64::from(result.verdict == Verdict::Certified);
        }
        Change::CameCloser { job, closest } => {
            sql.prepare_cached(
                "UPDATE job SET closest_score = ?2, closest_text = ?3, closest_record = ?4 WHERE id = ?1",
            )?
            .execute(params![job.0, closest.score, closest.text, closest.record])?;
        }
        Change::StandingChanged { worker, standing } => drop(sums.standings.insert(*worker, *standing)),
        Change::SpeedMeasured { app, speed } => drop(sums.speeds.insert(*app, *speed)),
        Change::AppChanged(entry) => {
            let put = "INSERT INTO app (name, version, digest, provider, approved, retired, published_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT (name, version) DO UPDATE SET approved = ?5, retired = ?6";
            let AppEntry { app, name, version, provider, approved, retired, published_at_ms } = entry;
            let provider = provider.map(|provider| provider.0);
            sql.prepare_cached(put)?.execute(params![
                name,
                version,
                app.0,
                provider,
                approved,
                retired,
                published_at_ms.0
            ])?;
        }
        Change::VerdictGiven { task, lease, worker, certified, reason, at: _ } => {
            let verdict = if *certified { Verdict::Certified } else { Verdict::Rejected };
            if *certified {
                certified_once(sql, *task)?;
            }
            let judge = "UPDATE result SET verdict = ?4, reason = ?5 WHERE job = ?1 AND task = ?2 AND lease = ?3";
            sql.prepare_cached(judge)?.execute(params![
                task.job.0,
                task.index,
                lease.0,
                verdict_word(verdict),
                reason
            ])?;
            let counts = sums.counts(*worker);
            counts.certified += u64::from(*certified);
            counts.rejected += u64::from(!certified);
        }
        Change::AttemptFailed { task, lease, worker, fault, reason, work_done, at } => {
            let mut add = sql.prepare_cached(
                "INSERT INTO failure (lease, job, task, worker, fault, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            add.execute(params![lease.0, task.job.0, task.index, worker.0, fault_word(*fault), reason, at.0])?;
            sums.worked(task.job, *work_done);
            sums.counts(*worker).failed += 1;
        }
        Change::BallotChanged { task, ballot } => {
            let put = "INSERT INTO ballot (job, task, ballot) VALUES (?1, ?2, ?3)
                ON CONFLICT (job, task) DO UPDATE SET ballot = ?3";
            sql.prepare_cached(put)?.execute(params![task.job.0, task.index, codec::encode(&**ballot)])?;
        }
        Change::TaskSettled { task, results, shown, at: _ } => settle(sql, *task, results, *shown, sums)?,
        Change::TrustChanged { worker, class, standing } => {
            let put = "INSERT INTO trust (class, worker, standing) VALUES (?1, ?2, ?3)
                ON CONFLICT (class, worker) DO UPDATE SET standing = ?3";
            sql.prepare_cached(put)?.execute(params![class.0.0, worker.0, codec::encode(standing)])?;
        }
        Change::LiarExposed { worker, class, task, why, at } => {
            let add = "INSERT INTO exposure (class, worker, job, task, why, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let why = match why {
                Why::Contradicted => "contradicted",
                Why::Withheld => "withheld",
            };
            sql.prepare_cached(add)?.execute(params![class.0.0, worker.0, task.job.0, task.index, why, at.0])?;
        }
        Change::JobEnded { job, state, reason, done, failed, at } => {
            sql.prepare_cached("DELETE FROM ballot WHERE job = ?1")?.execute([job.0])?;
            sql.prepare_cached(
                "UPDATE job SET state = ?2, reason = ?3, tasks_done = ?4, tasks_failed = ?5, finished_at = ?6
                 WHERE id = ?1",
            )?
            .execute(params![job.0, state_word(*state), reason, done, failed, at.0])?;
        }
    }
    Ok(())
}

fn add_result(sql: &Connection, result: &ResultAdded) -> Result<(), rusqlite::Error> {
    let ResultAdded { task, lease, worker, batch, position, outcome, verdict, shown, work, shares, at } = result;
    if *verdict == Verdict::Certified {
        certified_once(sql, *task)?;
    }
    sql.prepare_cached(
        "INSERT INTO result (job, task, lease, worker, batch, position, outcome, verdict, shown, work, shares, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        task.job.0,
        task.index,
        lease.0,
        worker.0,
        batch.0,
        position,
        outcome,
        verdict_word(*verdict),
        shown,
        work,
        shares,
        at.0
    ])?;
    Ok(())
}

/// What the votes on a task were for gets its verdict.
fn settle(
    sql: &Connection,
    task: TaskId,
    results: &[(LeaseId, WorkerId, Verdict)],
    shown: bool,
    sums: &mut Sums,
) -> Result<(), rusqlite::Error> {
    certified_once(sql, task)?;
    let judge = "UPDATE result SET verdict = ?4, shown = ?5, reason = ?6 WHERE job = ?1 AND task = ?2 AND lease = ?3";
    for (lease, worker, verdict) in results {
        let rejected = *verdict == Verdict::Rejected;
        let reason = rejected.then_some("its worker is a liar: other workers came to something else");
        let to_show = shown && *verdict == Verdict::Certified;
        let word = verdict_word(*verdict);
        sql.prepare_cached(judge)?.execute(params![task.job.0, task.index, lease.0, word, to_show, reason])?;
        let counts = sums.counts(*worker);
        counts.certified += u64::from(!rejected);
        counts.rejected += u64::from(rejected);
    }
    sql.prepare_cached("DELETE FROM ballot WHERE job = ?1 AND task = ?2")?.execute(params![task.job.0, task.index])?;
    Ok(())
}

/// One certified result a task, whatever the core believes.
fn certified_once(sql: &Connection, task: TaskId) -> Result<(), rusqlite::Error> {
    let find = "SELECT 1 FROM result WHERE job = ?1 AND task = ?2 AND verdict = 'certified'";
    match sql.prepare_cached(find)?.exists(params![task.job.0, task.index])? {
        false => Ok(()),
        true => Err(rusqlite::Error::StatementChangedRows(2)),
    }
}

fn measured(sql: &Connection, app: Digest, speed: Speed) -> Result<(), rusqlite::Error> {
    let put = "INSERT INTO speed (app, work, ms) VALUES (?1, ?2, ?3)
        ON CONFLICT (app) DO UPDATE SET work = ?2, ms = ?3";
    sql.prepare_cached(put)?.execute(params![app.0, speed.work, speed.ms])?;
    Ok(())
}

fn stands(sql: &Connection, worker: WorkerId, standing: Shares) -> Result<(), rusqlite::Error> {
    let put = "INSERT INTO worker (id, shares_found, shares_expected) VALUES (?1, ?2, ?3)
        ON CONFLICT (id) DO UPDATE SET shares_found = ?2, shares_expected = ?3";
    sql.prepare_cached(put)?.execute(params![worker.0, standing.found, standing.expected])?;
    Ok(())
}

/// A second connection, for questions: it sees what is committed and never waits for the writer.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { path: path.to_owned(), source };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
        Ok(Self { connection })
    }

    pub fn job_of(&self, external_id: &str) -> Result<Option<JobId>, StoreError> {
        let mut find = self.connection.prepare_cached("SELECT id FROM job WHERE external_id = ?1")?;
        Ok(find.query_row([external_id], |row| Ok(JobId(row.get(0)?))).optional()?)
    }

    /// The newest jobs below `before`.
    pub fn job_ids(&self, before: Option<JobId>, count: u32) -> Result<Vec<JobId>, StoreError> {
        let mut find = self.connection.prepare_cached("SELECT id FROM job WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?;
        let before = before.map_or(i64::MAX, |job| i64::try_from(job.0).unwrap_or(i64::MAX));
        let ids = find.query_map(params![before, count], |row| Ok(JobId(row.get(0)?)))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The job as it is on disk. A live one still lacks what only the core knows: see [`crate::core::JobStatus`].
    pub fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let mut find = self.connection.prepare_cached(
            "SELECT external_id, spec, state, reason, created_at, finished_at, work_done, tasks_done,
                    closest_score, closest_text, closest_record, tasks_failed
             FROM job WHERE id = ?1",
        )?;
        let mut rows = find.query([id.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let spec = decode::<JobSpec>(row, 1)?;
        let state = state_of(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
        let (done, failed) = (row.get(7)?, row.get(11)?);
        Ok(Some(JobView {
            id,
            external_id: row.get(0)?,
            app: spec.app,
            labels: spec.labels,
            state,
            reason: row.get(3)?,
            created_at_ms: UnixMillis(row.get(4)?),
            finished_at_ms: row.get::<_, Option<u64>>(5)?.map(UnixMillis),
            tasks: TaskCounts { total: spec.tasks, done, failed, ..TaskCounts::default() },
            progress: Progress { done: row.get(6)?, rate_per_s: 0.0 },
            workers: 0,
            closest: closest_of(row)?,
            results: self.results(id)?,
        }))
    }

    /// The first results that somebody may ask for.
    fn results(&self, job: JobId) -> Result<Vec<ResultView>, StoreError> {
        let mut find = self.connection.prepare_cached(
            "SELECT task, lease, worker, outcome, verdict FROM result WHERE job = ?1 AND shown = 1
             ORDER BY at LIMIT ?2",
        )?;
        let mut rows = find.query(params![job.0, RESULTS_SHOWN_MAX])?;
        let mut results = Vec::new();
        while let Some(row) = rows.next()? {
            let outcome = decode::<Outcome>(row, 3)?;
            results.push(ResultView {
                task: row.get(0)?,
                lease: row.get(1)?,
                worker: WorkerId(row.get(2)?),
                answer: outcome.answer.map(|answer| format!("0x{}", hex::encode(answer))),
                files: outcome.files,
                verdict: verdict_of(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
            });
        }
        Ok(results)
    }

    /// Certified results in the order of their tasks, from a task on.
    pub fn certified_results(&self, job: JobId, from: u64, limit: usize) -> Result<Vec<TaskResultView>, StoreError> {
        let mut find = self.connection.prepare_cached(
            "SELECT task, lease, worker, outcome FROM result WHERE job = ?1 AND task >= ?2 AND verdict = 'certified'
             ORDER BY task LIMIT ?3",
        )?;
        let mut rows = find.query(params![job.0, from, limit])?;
        let mut results = Vec::new();
        while let Some(row) = rows.next()? {
            let outcome = decode::<Outcome>(row, 3)?;
            results.push(TaskResultView {
                task: row.get(0)?,
                lease: row.get(1)?,
                worker: WorkerId(row.get(2)?),
                exit: outcome.exit,
                answer: outcome.answer.map(|answer| format!("0x{}", hex::encode(answer))),
                files: outcome.files,
                usage: outcome.usage,
            });
        }
        Ok(results)
    }

    /// All that the task's attempts left, and what became of it. Votes that are not settled are nobody's business: who
    /// is asked next could copy them.
    pub fn attempts(&self, task: TaskId) -> Result<Vec<StoredAttempt>, StoreError> {
        let mut find = self.connection.prepare_cached(
            "SELECT lease, worker, outcome, verdict, reason, at FROM result
             WHERE job = ?1 AND task = ?2 AND verdict <> 'voted'",
        )?;
        let mut rows = find.query(params![task.job.0, task.index])?;
        let mut attempts = Vec::new();
        while let Some(row) = rows.next()? {
            attempts.push(StoredAttempt {
                lease: LeaseId(row.get(0)?),
                worker: WorkerId(row.get(1)?),
                outcome: decode(row, 2)?,
                verdict: verdict_of(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
                reason: row.get(4)?,
                at: UnixMillis(row.get(5)?),
            });
        }
        Ok(attempts)
    }

    /// The worker's signed statement of an attempt.
    pub fn receipt(&self, pool: &str, task: TaskId, lease: LeaseId) -> Result<Option<StoredReceipt>, StoreError> {
        let mut find = self.connection.prepare_cached(
            "SELECT spec, outcome, position, leaves, signature, result.worker FROM result
             JOIN batch ON batch.id = batch JOIN job ON job.id = job
             WHERE job = ?1 AND task = ?2 AND lease = ?3 AND verdict <> 'voted'",
        )?;
        let mut rows = find.query(params![task.job.0, task.index, lease.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let spec = decode::<JobSpec>(row, 0)?;
        let outcome: Vec<u8> = row.get(1)?;
        let leaves: Vec<u8> = row.get(3)?;
        let leaves: Vec<Digest> = leaves.as_chunks::<32>().0.iter().map(|leaf| Digest(*leaf)).collect();
        let statement = Statement::new(pool, lease, task, spec.app, digest_of_job(&spec), &outcome);
        let (path, signature) = (path_of(&leaves, row.get(2)?), Signature(row.get(4)?));
        let (worker, receipt) = (WorkerId(row.get(5)?), Receipt { statement, path, signature });
        Ok(Some(StoredReceipt { worker, receipt, spec, outcome }))
    }

    /// Counts of every worker that ever returned something.
    pub fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        let mut find =
            self.connection.prepare_cached("SELECT id, certified, failed, rejected, shares FROM worker LIMIT 10000")?;
        let view = |row: &Row<'_>| {
            Ok(WorkerView {
                id: WorkerId(row.get(0)?),
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
        let workers = find.query_map([], view)?;
        Ok(workers.collect::<Result<_, _>>()?)
    }

    /// Why attempts of the job failed, the newest first.
    pub fn last_failures(&self, job: JobId, count: u32) -> Result<Vec<(u64, WorkerId, String)>, StoreError> {
        let mut find = self
            .connection
            .prepare_cached("SELECT task, worker, reason FROM failure WHERE job = ?1 ORDER BY at DESC LIMIT ?2")?;
        let failures =
            find.query_map(params![job.0, count], |row| Ok((row.get(0)?, WorkerId(row.get(1)?), row.get(2)?)))?;
        Ok(failures.collect::<Result<_, _>>()?)
    }
}

fn closest_of(row: &Row<'_>) -> Result<Option<Closest>, StoreError> {
    let Some(score) = row.get(8)? else { return Ok(None) };
    Ok(Some(Closest { score, text: row.get(9)?, record: row.get(10)? }))
}

fn decode<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
    let bytes = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(codec::decode(bytes, RECORD_BYTES_MAX)?)
}

macro_rules! words {
    ($type:ty, $to:ident, $from:ident, $($value:pat => $word:literal $result:expr),*) => {
        fn $to(value: $type) -> &'static str {
            match value { $($value => $word),* }
        }
        fn $from(word: &str) -> Result<$type, StoreError> {
            match word { $($word => Ok($result),)* _ => Err(StoreError::UnknownWord(word.to_owned())) }
        }
    };
}
words!(Verdict, verdict_word, verdict_of,
    Verdict::Pending => "pending" Verdict::Pending,
    Verdict::Certified => "certified" Verdict::Certified,
    Verdict::Rejected => "rejected" Verdict::Rejected,
    Verdict::Voted => "voted" Verdict::Voted,
    Verdict::Agreed => "agreed" Verdict::Agreed);
words!(Fault, fault_word, fault_of,
    Fault::App => "app" Fault::App,
    Fault::Worker => "worker" Fault::Worker,
    Fault::Late => "late" Fault::Late);
words!(JobState, state_word, state_of,
    JobState::Queued | JobState::Running => "live" JobState::Running,
    JobState::Done => "done" JobState::Done,
    JobState::Failed => "failed" JobState::Failed,
    JobState::Cancelled => "cancelled" JobState::Cancelled);
