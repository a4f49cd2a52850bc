//! The pool's tables.

use rusqlite::Connection;

use super::StoreError;

/// Each step brings a database one format further; a database of format `n` needs the steps from `n` on. Steps that a
/// release has seen are never changed.
const STEPS: [&str; 2] = [
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
    -- Of whole tasks: what they held and what they should have held.
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
];

pub(super) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let known = u32::try_from(STEPS.len()).expect("a few steps");
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (step, number) in STEPS.iter().zip(1..).skip(found as usize) {
        connection.execute_batch(&format!("BEGIN; {step} PRAGMA user_version = {number}; COMMIT;"))?;
    }
    Ok(())
}
