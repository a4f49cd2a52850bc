//! Who leads the schedulers that share a database.
//!
//! One row says which term it is and whose. Its holder beats: it counts the row up. A stand-by that has seen no beat
//! for as long as the lease lasts, by its own clock, takes the next term; no clock of another machine is ever believed,
//! so a clock that jumps cannot make two leaders or none. Two who believe they lead are kept apart by the fence: each
//! commit locks the row of its own term, and finds none once another was taken.

use std::time::Duration;

use super::StoreError;
use super::database::Database;
use super::sql::{Statement, values};

/// The right to write, until somebody takes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(pub u64);

impl Term {
    pub(super) const FENCE: &str = "SELECT 1 FROM leader WHERE term = ?1 FOR KEY SHARE";

    /// Holds nobody up who beats, but whoever takes the next term waits until the transaction has ended.
    pub(super) fn fence<'a>(self) -> Statement<'a> {
        Statement::new(Self::FENCE, values![self.0]).must_meet(1)
    }
}

/// What the row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub term: Term,
    pub beat: u64,
    pub holder: String,
    /// Where the leader serves; nothing if it left.
    pub url: Option<String>,
}

/// A scheduler's session for the election.
pub struct Seat {
    database: Database,
}

impl Seat {
    pub fn open(config: &tokio_postgres::Config, lease: Duration) -> Result<Self, StoreError> {
        let mut database = Database::open_shared(config, u64::try_from(lease.as_millis()).unwrap_or(u64::MAX), lease)?;
        // Two who make the table at once: one of them fails and tries again.
        database.transact_after(
            "CREATE TABLE IF NOT EXISTS leader (
                id BIGINT PRIMARY KEY CHECK (id = 1),
                term BIGINT NOT NULL,
                beat BIGINT NOT NULL,
                holder TEXT NOT NULL,
                url TEXT,
                token TEXT
             );
             INSERT INTO leader VALUES (1, 0, 0, '', NULL, NULL) ON CONFLICT DO NOTHING",
            &[],
        )?;
        Ok(Self { database })
    }

    /// The token of all schedulers that share the database: `mine` if there was none.
    pub fn token(&mut self, mine: &str) -> Result<String, StoreError> {
        let sql = "UPDATE leader SET token = ?1 WHERE token IS NULL";
        self.database.transact(&[Statement::new(sql, values![mine])])?;
        let row = self.database.one("SELECT token FROM leader", &[])?;
        row.ok_or(StoreError::Contradicted { sql: "the leader's row", rows: 0 })?.get(0)
    }

    pub fn look(&self) -> Result<Seen, StoreError> {
        let row = self.database.one("SELECT term, beat, holder, url FROM leader", &[])?;
        let row = row.ok_or(StoreError::Contradicted { sql: "the leader's row", rows: 0 })?;
        Ok(Seen { term: Term(row.get(0)?), beat: row.get(1)?, holder: row.get(2)?, url: row.get(3)? })
    }

    /// Takes the next term, unless somebody has or the leader has beaten since `seen`.
    pub fn take(&mut self, seen: &Seen, holder: &str, url: &str) -> Result<Option<Term>, StoreError> {
        let next = Term(seen.term.0 + 1);
        let taken = self.database.transact(&[
            // Waits for a commit under the former term; none can begin until this is decided.
            Statement::new(
                "SELECT 1 FROM leader WHERE term = ?1 AND beat = ?2 FOR UPDATE",
                values![seen.term.0, seen.beat],
            )
            .must_meet(1),
            Statement::new(
                "UPDATE leader SET term = ?1, beat = beat + 1, holder = ?2, url = ?3",
                values![next.0, holder, url],
            ),
        ]);
        met(taken).map(|taken| taken.then_some(next))
    }

    /// Says that the leader lives. False if it is another's term.
    pub fn beat(&mut self, term: Term) -> Result<bool, StoreError> {
        let sql = "UPDATE leader SET beat = beat + 1 WHERE term = ?1";
        met(self.database.transact(&[Statement::new(sql, values![term.0]).must_meet(1)]))
    }

    /// Lets the next one in at once.
    pub fn leave(&mut self, term: Term) -> Result<bool, StoreError> {
        let sql = "UPDATE leader SET beat = beat + 1, url = NULL WHERE term = ?1";
        met(self.database.transact(&[Statement::new(sql, values![term.0]).must_meet(1)]))
    }
}

fn met(result: Result<(), StoreError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(StoreError::Contradicted { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
