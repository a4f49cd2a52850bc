//! The oracle's database: known blocks, orders and the outbox, changed together.

use std::path::Path;

use alloy::primitives::B256;
use alloy::sol_types::SolValue;
use anyhow::{Context, Result};
use gristmill_chain::check::ChainIdentity;
use gristmill_chain::contracts::IMarket;
use gristmill_chain::follow::{BlockRef, HISTORY_LENGTH};
use gristmill_chain::send::{Action, Outcome, outbox};
use gristmill_proto::codec;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::ledger::{ChainView, Closed, Ledger, Order, Work};

/// An order's details at their limits, encoded.
const WORK_BYTES_MAX: usize = 64 << 10;

pub(super) struct Store {
    connection: Connection,
}

/// Opens a connection to the oracle's database. Its role and its transaction sender have one each.
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
             CREATE TABLE IF NOT EXISTS market_order (
                 id BLOB PRIMARY KEY,
                 details BLOB NOT NULL,
                 requested_in INTEGER,
                 closed BLOB,
                 work BLOB NOT NULL,
                 forgotten INTEGER NOT NULL DEFAULT 0
             ) STRICT, WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS order_kept ON market_order (id) WHERE NOT forgotten;",
        )?;
        outbox::migrate(&connection)?;
        Ok(Self { connection })
    }

    /// Refuses another chain, or other contracts, than this database was made for.
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
        let mut statement = self
            .connection
            .prepare("SELECT id, details, requested_in, closed, work FROM market_order WHERE NOT forgotten")?;
        let mut rows = statement.query([])?;
        let mut orders = Vec::new();
        while let Some(row) = rows.next()? {
            let id = B256::from(row.get::<_, [u8; 32]>(0)?);
            let details = IMarket::Order::abi_decode(&row.get::<_, Vec<u8>>(1)?)?;
            let closed: Option<Vec<u8>> = row.get(3)?;
            let closed = closed.map(|closed| codec::decode::<Closed>(&closed, WORK_BYTES_MAX)).transpose()?;
            let work = codec::decode::<Work>(&row.get::<_, Vec<u8>>(4)?, WORK_BYTES_MAX)?;
            orders.push((id, Order::stored(details, row.get(2)?, closed, work, chain)));
        }
        Ok(Ledger::restore(orders, chain))
    }

    /// Commits what the ledger has changed, together with `beside`.
    pub(super) fn commit(
        &mut self,
        ledger: &mut Ledger,
        beside: impl FnOnce(&Transaction<'_>) -> Result<()>,
    ) -> Result<()> {
        // The sender writes to the same file: taking the lock at once waits for it, taking it late could fail.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, order) in ledger.take_changed() {
            transaction.execute(
                "INSERT INTO market_order (id, details, requested_in, closed, work) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET requested_in = ?3, closed = ?4, work = ?5",
                params![
                    id.0,
                    order.details.abi_encode(),
                    order.requested_in,
                    order.closed.map(|closed| codec::encode(&closed)),
                    codec::encode(&order.work)
                ],
            )?;
        }
        for id in ledger.take_forgotten() {
            transaction.execute("UPDATE market_order SET forgotten = 1 WHERE id = ?1", [id.0])?;
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

pub(super) fn enqueue(transaction: &Transaction<'_>, action: &Action) -> Result<()> {
    outbox::enqueue(transaction, action)?;
    Ok(())
}

pub(super) fn outcome_seen(transaction: &Transaction<'_>, outcome: &Outcome) -> Result<()> {
    transaction.execute("UPDATE chain SET outcomes_seen = ?1", [outcome.sequence])?;
    Ok(())
}
