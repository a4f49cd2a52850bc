//! The durable truth: SQLite or PostgreSQL, written by one thread that commits whatever has gathered since its last
//! commit.
//!
//! Both databases get the same statements (`sql`) and the same schema (`schema`), so that there is one behaviour
//! to know. A PostgreSQL may be shared by several schedulers: one of them leads (`seat`), and each commit checks that
//! it still does.

mod database;
mod postgres;
mod reader;
mod record;
mod schema;
mod seat;
mod sql;
mod sqlite;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, WorkerId};
use gristmill_proto::view::AppEntry;

use crate::core::{Change, Fault, OpenBallot, PoolSecret, Shares, Speed, StoredJob, StoredResult};
use crate::trust::{AppClass, Standing};
use database::Database;
pub use database::{NoPlace, Place};
pub use reader::{Reader, StoredAttempt, StoredReceipt};
use record::{fault_of, verdict_of};
pub use seat::{Seat, Seen, Term};
use sql::{Row, Statement, values};
pub use writer::{Writer, WriterFailed};

/// A stored record's encoded size: a job at its limits, or an outcome at its.
const RECORD_BYTES_MAX: usize = 4 << 20;

/// A shared database that stalls is waited for so long; then the pool begins anew from what is durable.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the pool's database {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the pool's database has format {found}, and this program knows {known}: it was written by a newer version"
    )]
    Newer { found: u32, known: u32 },
    #[error("the pool's database")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the pool's database")]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the pool's database has not answered for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("cannot speak TLS with the pool's database")]
    Tls(#[from] rustls::Error),
    #[error("cannot start what speaks with the pool's database")]
    Runtime(#[source] std::io::Error),
    #[error("the pool's database has {rows} rows for: {sql}")]
    Contradicted { sql: &'static str, rows: u64 },
    #[error("another scheduler leads now")]
    Deposed,
    #[error("column {column} of an answer of the pool's database is not what was written")]
    WrongColumn { column: usize },
    #[error("the pool's database holds a damaged record")]
    Damaged(#[from] codec::DecodeError),
    #[error("the pool's database holds an unknown word `{0}`")]
    UnknownWord(String),
}

/// A pool's database, opened for writing. One process holds it at a time.
pub struct Store {
    database: Database,
    /// Under which it may write, if the database is shared.
    term: Option<(Term, Box<tokio_postgres::Config>)>,
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
    /// A file that only this pool uses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut database = Database::open_file(path)?;
        schema::migrate(&mut database, None)?;
        Ok(Self { database, term: None })
    }

    /// A shared database, for as long as the term lasts.
    pub fn lead(config: &tokio_postgres::Config, term: Term, lease: Duration) -> Result<Self, StoreError> {
        let abandoned_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let mut database = Database::open_shared(config, abandoned_ms, PATIENCE)?;
        schema::migrate(&mut database, Some(term))?;
        Ok(Self { database, term: Some((term, Box::new(config.clone()))) })
    }

    pub fn reader(&self) -> Result<Reader, StoreError> {
        let database = match &self.database {
            Database::Sqlite(sqlite) => Database::Sqlite(sqlite.reader()?),
            Database::Postgres(_) => {
                let (_, config) = self.term.as_ref().expect("who uses a shared database leads");
                Database::open_shared(config, 0, PATIENCE)?
            }
        };
        Ok(Reader { database })
    }

    /// All of the statements or none, and nothing if another leads.
    fn transact(&mut self, mut statements: Vec<Statement<'_>>) -> Result<(), StoreError> {
        if let Some((term, _)) = &self.term {
            statements.insert(0, term.fence());
        }
        match self.database.transact(&statements) {
            Err(StoreError::Contradicted { sql, .. }) if sql == Term::FENCE => Err(StoreError::Deposed),
            result => result,
        }
    }

    /// Begins a run: `new_secret` becomes the pool's secret if it has none yet.
    pub fn begin_run(&mut self, new_secret: [u8; 32]) -> Result<Restored, StoreError> {
        self.transact(vec![
            Statement::new(
                "INSERT INTO pool (id, secret, run) VALUES (1, ?1, 0) ON CONFLICT DO NOTHING",
                values![&new_secret[..]],
            ),
            Statement::new("UPDATE pool SET run = run + 1", vec![]).must_meet(1),
        ])?;
        let pool = self.database.one("SELECT secret, run FROM pool", &[])?.expect("it was just written");
        let last = self.database.one("SELECT coalesce(max(id), 0) FROM job", &[])?.expect("a sum is there");
        Ok(Restored {
            secret: PoolSecret(pool.get(0)?),
            run: pool.get(1)?,
            next_job: JobId(last.get::<u64>(0)? + 1),
            jobs: self.live_jobs()?,
            standings: self.standings()?,
            speeds: self.speeds()?,
            trust: self.trust()?,
        })
    }

    fn live_jobs(&self) -> Result<Vec<StoredJob>, StoreError> {
        let sql = "SELECT id, spec, needs, created_at, work_done, closest_score FROM job WHERE state = 'live'
            ORDER BY id";
        let stored = |row: Row| {
            let job = row.get(0)?;
            Ok(StoredJob {
                job,
                spec: Arc::new(row.decode(1)?),
                needs: row.decode(2)?,
                at: row.get(3)?,
                work_done: row.get(4)?,
                closest_score: row.get(5)?,
                results: self.results_of(job)?,
                failures: self.failures_of(job)?,
                ballots: self.ballots_of(job)?,
            })
        };
        self.database.query(sql, &[])?.into_iter().map(stored).collect()
    }

    /// Apps in the order of their publication.
    pub fn apps(&self) -> Result<Vec<AppEntry>, StoreError> {
        let sql = "SELECT digest, name, version, provider, approved, retired, published_at FROM app ORDER BY number";
        let entry = |row: &Row| {
            Ok(AppEntry {
                app: row.get(0)?,
                name: row.get(1)?,
                version: row.get(2)?,
                provider: row.get(3)?,
                approved: row.get(4)?,
                retired: row.get(5)?,
                published_at_ms: row.get(6)?,
            })
        };
        self.database.query(sql, &[])?.iter().map(entry).collect()
    }

    fn standings(&self) -> Result<Vec<(WorkerId, Shares)>, StoreError> {
        let sql = "SELECT id, shares_found, shares_expected FROM worker WHERE shares_expected > 0";
        let standing = |row: &Row| Ok((row.get(0)?, Shares { found: row.get(1)?, expected: row.get(2)? }));
        self.database.query(sql, &[])?.iter().map(standing).collect()
    }

    fn speeds(&self) -> Result<Vec<(Digest, Speed)>, StoreError> {
        let speed = |row: &Row| Ok((row.get(0)?, Speed { work: row.get(1)?, ms: row.get(2)? }));
        self.database.query("SELECT app, work, ms FROM speed", &[])?.iter().map(speed).collect()
    }

    fn trust(&self) -> Result<Vec<(WorkerId, AppClass, Standing)>, StoreError> {
        let sql = "SELECT worker, class, standing FROM trust ORDER BY class, worker";
        let proven = |row: &Row| Ok((row.get(0)?, AppClass(row.get(1)?), row.decode(2)?));
        self.database.query(sql, &[])?.iter().map(proven).collect()
    }

    fn ballots_of(&self, job: JobId) -> Result<Vec<(u64, OpenBallot)>, StoreError> {
        let sql = "SELECT task, ballot FROM ballot WHERE job = ?1 ORDER BY task";
        let ballot = |row: &Row| Ok((row.get(0)?, row.decode(1)?));
        self.database.query(sql, &values![job])?.iter().map(ballot).collect()
    }

    fn results_of(&self, job: JobId) -> Result<Vec<StoredResult>, StoreError> {
        let sql = "SELECT task, lease, worker, verdict, work FROM result WHERE job = ?1 ORDER BY task, lease";
        let stored = |row: &Row| {
            Ok(StoredResult {
                index: row.get(0)?,
                lease: row.get(1)?,
                worker: row.get(2)?,
                verdict: verdict_of(row.text(3)?)?,
                work: row.get(4)?,
            })
        };
        self.database.query(sql, &values![job])?.iter().map(stored).collect()
    }

    fn failures_of(&self, job: JobId) -> Result<Vec<(u64, WorkerId, Fault)>, StoreError> {
        let sql = "SELECT task, worker, fault FROM failure WHERE job = ?1 ORDER BY lease";
        let failure = |row: &Row| Ok((row.get(0)?, row.get(1)?, fault_of(row.text(2)?)?));
        self.database.query(sql, &values![job])?.iter().map(failure).collect()
    }

    /// Commits a group of changes: all or none.
    pub fn commit<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), StoreError> {
        self.transact(record::statements(changes))
    }
}
