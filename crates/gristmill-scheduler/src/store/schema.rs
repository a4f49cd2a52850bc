//! The pool's tables, and how older ones become these.

use gristmill_proto::codec;
use gristmill_proto::id::JobId;

use super::database::Database;
use super::seat::Term;
use super::sql::{Row, Statement, values};
use super::{RECORD_BYTES_MAX, StoreError};

/// Each step brings a database one format further; a database of format `n` needs the steps from `n` on. Steps that a
/// release has seen are never changed.
///
/// They are written for SQLite; [`for_postgres`] says the same in the other's words.
const STEPS: [&str; 6] = [
    "
    CREATE TABLE pool (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        secret BLOB NOT NULL,
        run INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE job (
        id INTEGER PRIMARY KEY,
        external_id TEXT UNIQUE,
        spec BLOB NOT NULL,
        needs BLOB NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        created_at INTEGER NOT NULL,
        finished_at INTEGER,
        work_done INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX live_job ON job (id) WHERE state = 'live';
    CREATE TABLE result (
        lease INTEGER PRIMARY KEY,
        job INTEGER NOT NULL REFERENCES job (id),
        task INTEGER NOT NULL,
        worker BLOB NOT NULL,
        outcome BLOB NOT NULL,
        signature BLOB NOT NULL,
        verdict TEXT NOT NULL,
        reason TEXT,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX result_of_job ON result (job, at);
    -- One certified result a task, whatever the core believes.
    CREATE UNIQUE INDEX certified_once ON result (job, task) WHERE verdict = 'certified';
    CREATE TABLE failure (
        lease INTEGER PRIMARY KEY,
        job INTEGER NOT NULL REFERENCES job (id),
        task INTEGER NOT NULL,
        worker BLOB NOT NULL,
        fault TEXT NOT NULL,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX failure_of_job ON failure (job, at);
    CREATE TABLE worker (
        id BLOB PRIMARY KEY,
        certified INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        rejected INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE result ADD COLUMN work INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE result ADD COLUMN shares INTEGER NOT NULL DEFAULT 0;
    -- A search has thousands in vain, and nobody asks for those.
    ALTER TABLE result ADD COLUMN shown INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX shown_result ON result (job, at) WHERE shown = 1;
    ALTER TABLE job ADD COLUMN closest_score INTEGER;
    ALTER TABLE job ADD COLUMN closest_text TEXT;
    ALTER TABLE job ADD COLUMN closest_record TEXT;
    ALTER TABLE worker ADD COLUMN shares INTEGER NOT NULL DEFAULT 0;
    -- Its standing: what whole tasks held of late, and what they should have held.
    ALTER TABLE worker ADD COLUMN shares_found INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE worker ADD COLUMN shares_expected INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE speed (
        app BLOB PRIMARY KEY,
        work INTEGER NOT NULL,
        ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Jobs are written differently since; whoever submitted one hears that it is over.
    UPDATE job SET state = 'cancelled', reason = 'the pool''s program was updated', finished_at = created_at
        WHERE state = 'live';
",
    "
    -- What a worker signed at once.
    CREATE TABLE batch (
        id INTEGER PRIMARY KEY,
        worker BLOB NOT NULL,
        leaves BLOB NOT NULL,
        signature BLOB NOT NULL
    ) STRICT;
    -- Results lie in the order of their tasks; nothing else is kept in order beside them.
    CREATE TABLE result_3 (
        job INTEGER NOT NULL REFERENCES job (id),
        task INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        worker BLOB NOT NULL,
        batch INTEGER REFERENCES batch (id),
        position INTEGER NOT NULL DEFAULT 0,
        outcome BLOB NOT NULL,
        verdict TEXT NOT NULL,
        reason TEXT,
        shown INTEGER NOT NULL,
        work INTEGER NOT NULL,
        shares INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (job, task, lease)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO result_3 (job, task, lease, worker, outcome, verdict, reason, shown, work, shares, at)
        SELECT job, task, lease, worker, outcome, verdict, reason, shown, work, shares, at FROM result;
    DROP TABLE result;
    ALTER TABLE result_3 RENAME TO result;
    CREATE INDEX shown_result ON result (job, at) WHERE shown = 1;
    ALTER TABLE job ADD COLUMN tasks_done INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE job ADD COLUMN tasks_failed INTEGER NOT NULL DEFAULT 0;
    UPDATE job SET tasks_done =
        (SELECT count(*) FROM result WHERE result.job = job.id AND verdict = 'certified');
    UPDATE job SET state = 'cancelled', reason = 'the pool''s program was updated', finished_at = created_at
        WHERE state = 'live';
",
    "
    -- Apps by name; a version never changes.
    CREATE TABLE app (
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        digest BLOB NOT NULL,
        provider BLOB,
        approved INTEGER NOT NULL,
        retired INTEGER NOT NULL,
        published_at INTEGER NOT NULL,
        UNIQUE (name, version)
    ) STRICT;
",
    "
    -- Votes on tasks that are not settled.
    CREATE TABLE ballot (
        job INTEGER NOT NULL REFERENCES job (id),
        task INTEGER NOT NULL,
        ballot BLOB NOT NULL,
        PRIMARY KEY (job, task)
    ) STRICT, WITHOUT ROWID;
    -- What workers have proven, by class of apps.
    CREATE TABLE trust (
        class BLOB NOT NULL,
        worker BLOB NOT NULL,
        standing BLOB NOT NULL,
        PRIMARY KEY (class, worker)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE exposure (
        class BLOB NOT NULL,
        worker BLOB NOT NULL,
        job INTEGER NOT NULL,
        task INTEGER NOT NULL,
        why TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
",
    "
    -- Apps have the order of their publication, and not every database remembers it by itself.
    ALTER TABLE app ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
    UPDATE app SET number = rowid;
    CREATE UNIQUE INDEX app_in_order ON app (number);
",
];

/// Brings the database to the newest format. A shared one only under a term: its format is the leader's to change.
pub(super) fn migrate(database: &mut Database, term: Option<Term>) -> Result<(), StoreError> {
    let known = u32::try_from(STEPS.len()).expect("a few steps");
    let found = format(database)?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (step, number) in STEPS.iter().zip(1_u32..).skip(found as usize) {
        let records = if number == 2 { without_task_work(database)? } else { Vec::new() };
        let fence = term.into_iter().map(Term::fence);
        let statements: Vec<Statement<'_>> = fence.chain(records).collect();
        let script = match database {
            Database::Sqlite(_) => format!("{step}; PRAGMA user_version = {number}"),
            Database::Postgres(_) => format!("{}; UPDATE format SET number = {number}", for_postgres(step)),
        };
        database.transact_after(&script, &statements)?;
    }
    Ok(())
}

fn format(database: &mut Database) -> Result<u32, StoreError> {
    match database {
        Database::Sqlite(sqlite) => sqlite.format(),
        Database::Postgres(postgres) => {
            postgres.transact(
                "CREATE TABLE IF NOT EXISTS format (id BIGINT PRIMARY KEY, number BIGINT NOT NULL);
                 INSERT INTO format VALUES (1, 0) ON CONFLICT DO NOTHING",
                &[],
            )?;
            database.one("SELECT number FROM format", &[])?.expect("it was just written").get(0)
        }
    }
}

fn for_postgres(step: &str) -> String {
    // No PostgreSQL is so old that a step finds rows in it.
    let rowid = (" = rowid", " = 0");
    let words = [(" STRICT, WITHOUT ROWID", ""), (" STRICT", ""), (" INTEGER", " BIGINT"), (" BLOB", " BYTEA"), rowid];
    words.iter().fold(step.to_owned(), |step, (from, to)| step.replace(from, to))
}

/// A field that jobs had in format 1. What is read back refuses fields that it does not know.
fn without_task_work(database: &Database) -> Result<Vec<Statement<'static>>, StoreError> {
    let rewritten = |row: &Row| {
        let (id, spec): (JobId, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let spec = codec::without_field(&spec, "task_work", RECORD_BYTES_MAX)?;
        Ok(Statement::new("UPDATE job SET spec = ?2 WHERE id = ?1", values![id, spec]))
    };
    database.query("SELECT id, spec FROM job", &[])?.iter().map(rewritten).collect()
}

#[cfg(test)]
mod tests {
    use gristmill_proto::digest::Digest;
    use gristmill_proto::id::WorkerId;
    use gristmill_proto::job::JobSpec;
    use rusqlite::Connection;
    use serde::Serialize;

    use super::*;
    use crate::store::Store;
    use crate::trust::{AppClass, Standing};

    /// As format 1 wrote it.
    #[derive(Serialize)]
    struct FormerJob {
        app: Digest,
        args: Vec<String>,
        tasks: u64,
        task_work: u64,
        done_when: &'static str,
    }

    #[test]
    fn jobs_of_format_1_can_be_read_and_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let (app, args) = (Digest::of(b"app"), vec!["unit".to_owned()]);
        let former = FormerJob { app, args, tasks: 7, task_work: 25_165_824, done_when: "any_task" };
        let add = "INSERT INTO job (external_id, spec, needs, state, created_at) VALUES ('0x1', ?1, x'00', 'live', 5)";
        connection.execute(add, [codec::encode(&former)]).unwrap();
        assert!(codec::decode::<JobSpec>(&codec::encode(&former), 1 << 20).is_err());

        migrate(&mut Database::open_file(&path).unwrap(), None).unwrap();
        let read = "SELECT spec, state, reason FROM job";
        let (spec, state, reason): (Vec<u8>, String, String) =
            connection.query_row(read, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let spec = codec::decode::<JobSpec>(&spec, 1 << 20).unwrap();
        assert_eq!((spec.app, spec.tasks), (app, 7));
        assert_eq!(state, "cancelled");
        assert!(reason.contains("updated"), "{reason}");
        migrate(&mut Database::open_file(&path).unwrap(), None).unwrap();
    }

    /// It knew the order of its apps by that of their rows.
    #[test]
    fn format_5_keeps_what_voters_have_proven_and_the_order_of_its_apps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.sqlite");
        let connection = Connection::open(&path).unwrap();
        STEPS[..5].iter().for_each(|step| connection.execute_batch(step).unwrap());
        connection.pragma_update(None, "user_version", 5).unwrap();
        let proven = Standing { agreed: 3, passed: 1, exposed: false };
        let add = "INSERT INTO trust (class, worker, standing) VALUES (?1, ?2, ?3)";
        connection.execute(add, ([7_u8; 32], [1_u8; 20], codec::encode(&proven))).unwrap();
        for version in ["0.0.9", "0.0.10"] {
            let add = "INSERT INTO app (name, version, digest, approved, retired, published_at)
                VALUES ('a', ?1, ?2, 0, 0, 5)";
            connection.execute(add, (version, [2_u8; 32])).unwrap();
        }
        drop(connection);

        let mut store = Store::open(&path).unwrap();
        let versions: Vec<String> = store.apps().unwrap().into_iter().map(|app| app.version).collect();
        assert_eq!(versions, ["0.0.9", "0.0.10"]);
        let trust = store.begin_run([9; 32]).unwrap().trust;
        assert_eq!(trust, [(WorkerId([1; 20]), AppClass(Digest([7; 32])), proven)]);
    }
}
