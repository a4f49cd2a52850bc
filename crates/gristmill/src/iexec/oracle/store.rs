//! The hub oracle's database: known blocks, deals, tasks and the outbox, changed together.

use std::path::Path;

use alloy::primitives::B256;
use anyhow::{Context, Result};
use gristmill_chain::check::ChainIdentity;
use gristmill_chain::follow::{BlockRef, HISTORY_LENGTH};
use gristmill_chain::send::{Outcome, outbox};
use gristmill_proto::codec;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::ledger::{ChainView, Deal, Ledger, Task};

/// A deal with params at their limit, or a task with a result at its, encoded.
const ROW_BYTES_MAX: usize = 64 << 10;

pub(super) struct Store {
    connection: Connection,
}

/// Opens a connection to the database. The role and its transaction sender have one each.
pub(super) fn connect(path: &Path) -> Result<Connection> {
    let open = || format!("cannot open the oracle's database {}", path.display());
    let connection = Connection::open(path).with_context(open)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;")
        .with_context(open)?;
    Ok(connection)
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = connect(path)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS chain (id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL,
                 head INTEGER NOT NULL DEFAULT 0, timestamp INTEGER NOT NULL DEFAULT 0,
                 outcomes_seen INTEGER NOT NULL DEFAULT 0) STRICT;
             CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
             CREATE TABLE IF NOT EXISTS deal (
                 id BLOB PRIMARY KEY,
                 state BLOB NOT NULL,
                 forgotten INTEGER NOT NULL DEFAULT 0
             ) STRICT, WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS task (
                 deal BLOB NOT NULL,
                 task INTEGER NOT NULL,
                 state BLOB NOT NULL,
                 forgotten INTEGER NOT NULL DEFAULT 0,
                 PRIMARY KEY (deal, task)
             ) STRICT, WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS deal_kept ON deal (id) WHERE NOT forgotten;
             CREATE INDEX IF NOT EXISTS task_kept ON task (deal, task) WHERE NOT forgotten;",
        )?;
        outbox::migrate(&connection)?;
        Ok(Self { connection })
    }

    /// Refuses another chain, or another hub, than this database was made for.
    pub(super) fn check_identity(&self, found: &ChainIdentity) -> Result<()> {
        let stored: Option<String> =
            self.connection.query_row("SELECT identity FROM chain", [], |row| row.get(0)).optional()?;
        match stored {
            Some(stored) => Ok(serde_json::from_str::<ChainIdentity>(&stored)?.expect_same(found)?),
            None => {
                let identity = serde_json::to_string(found)?;
                self.connection.execute("INSERT INTO chain (id, identity) VALUES (1, ?1)", [identity])?;
                Ok(())
            }
        }
    }

    pub(super) fn known_blocks(&self) -> Result<Vec<BlockRef>> {
        let mut statement = self.connection.prepare("SELECT number, hash FROM block ORDER BY number")?;
        let blocks = statement
            .query_map([], |row| Ok(BlockRef { number: row.get(0)?, hash: B256::from(row.get::<_, [u8; 32]>(1)?) }))?;
        Ok(blocks.collect::<Result<_, _>>()?)
    }

    pub(super) fn ledger(&self) -> Result<Ledger> {
        let chain = self.connection.query_row("SELECT head, timestamp FROM chain", [], |row| {
            Ok(ChainView { head: row.get(0)?, timestamp: row.get(1)? })
        })?;
        let (mut deals, mut tasks) = (Vec::new(), Vec::new());
        let mut statement = self.connection.prepare("SELECT id, state FROM deal WHERE NOT forgotten")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let state = row.get::<_, Vec<u8>>(1)?;
            deals.push((B256::from(row.get::<_, [u8; 32]>(0)?), codec::decode::<Deal>(&state, ROW_BYTES_MAX)?));
        }
        let mut statement = self.connection.prepare("SELECT deal, task, state FROM task WHERE NOT forgotten")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let state = row.get::<_, Vec<u8>>(2)?;
            let key = (B256::from(row.get::<_, [u8; 32]>(0)?), row.get(1)?);
            tasks.push((key, codec::decode::<Task>(&state, ROW_BYTES_MAX)?));
        }
        Ok(Ledger::restore(deals, tasks, chain))
    }

    /// Commits what the ledger has changed, together with `beside`.
    pub(super) fn commit(
        &mut self,
        ledger: &mut Ledger,
        beside: impl FnOnce(&Transaction<'_>) -> Result<()>,
    ) -> Result<()> {
        // The sender writes to the same file: taking the lock at once waits for it, taking it late could fail.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, deal) in ledger.take_changed_deals() {
            transaction.execute(
                "INSERT INTO deal (id, state) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET state = ?2, forgotten = 0",
                params![id.0, codec::encode(&deal)],
            )?;
        }
        for ((deal, index), task) in ledger.take_changed_tasks() {
            transaction.execute(
                "INSERT INTO task (deal, task, state) VALUES (?1, ?2, ?3)
                 ON CONFLICT (deal, task) DO UPDATE SET state = ?3, forgotten = 0",
                params![deal.0, index, codec::encode(&task)],
            )?;
        }
        let (deals, tasks) = ledger.take_forgotten();
        for id in deals {
            transaction.execute("UPDATE deal SET forgotten = 1 WHERE id = ?1", [id.0])?;
        }
        for (deal, index) in tasks {
            transaction
                .execute("UPDATE task SET forgotten = 1 WHERE deal = ?1 AND task = ?2", params![deal.0, index])?;
        }
        let ChainView { head, timestamp } = ledger.chain;
        transaction.execute("UPDATE chain SET head = ?1, timestamp = ?2", [head, timestamp])?;
        beside(&transaction)?;
        Ok(transaction.commit()?)
    }

    pub(super) fn outcomes(&self) -> Result<Vec<Outcome>> {
        let seen: u64 = self.connection.query_row("SELECT outcomes_seen FROM chain", [], |row| row.get(0))?;
        Ok(outbox::outcomes_after(&self.connection, seen)?)
    }
}

pub(super) fn advance(transaction: &Transaction<'_>, to: BlockRef) -> Result<()> {
    transaction
        .execute("INSERT OR REPLACE INTO block (number, hash) VALUES (?1, ?2)", params![to.number, to.hash.0])?;
    transaction.execute(
        "DELETE FROM block WHERE number <= (SELECT number FROM block ORDER BY number DESC LIMIT 1 OFFSET ?1)",
        [HISTORY_LENGTH],
    )?;
    Ok(())
}

pub(super) fn rewind(transaction: &Transaction<'_>, to: BlockRef) -> Result<()> {
    transaction.execute("DELETE FROM block WHERE number > ?1", [to.number])?;
    Ok(())
}

pub(super) fn outcome_seen(transaction: &Transaction<'_>, outcome: &Outcome) -> Result<()> {
    transaction.execute("UPDATE chain SET outcomes_seen = ?1", [outcome.sequence])?;
    Ok(())
}
