//! The oracle's database: known blocks, orders and the outbox, changed together.

use std::path::Path;

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolValue;
use anyhow::{Context, Result, bail};
use gristmill_chain::check::ChainIdentity;
use gristmill_chain::contracts::IMarket;
use gristmill_chain::follow::{BlockRef, HISTORY_LENGTH};
use gristmill_chain::send::{Action, Outcome, outbox};
use gristmill_proto::codec;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::dashboard::Transactions;
use super::ledger::{ChainView, Closed, Course, Ledger, Order};
use super::work::Work;

/// A bag's work names every worker that it pays, some thirty bytes for each.
const WORK_BYTES_MAX: usize = 8 << 20;

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

/// What each later format adds; `user_version` counts those that are there.
const STEPS: [&str; 1] = ["
    ALTER TABLE market_order ADD COLUMN course BLOB;
    ALTER TABLE chain ADD COLUMN finalized INTEGER;
    -- What workers earned, by order: nothing is ever taken back.
    CREATE TABLE earning (
        payee BLOB NOT NULL,
        market_order BLOB NOT NULL,
        amount TEXT NOT NULL,
        PRIMARY KEY (payee, market_order)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE account (
        payee BLOB PRIMARY KEY,
        earned TEXT NOT NULL,
        -- The newest voucher that the pool has.
        told TEXT NOT NULL DEFAULT '0'
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX account_untold ON account (payee) WHERE told <> earned;
    CREATE TABLE cover (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        owed TEXT NOT NULL,
        locked TEXT NOT NULL
    ) STRICT;
    INSERT INTO cover (id, owed, locked) VALUES (1, '0', '0');
"];

fn migrate(connection: &Connection) -> Result<()> {
    let found: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > STEPS.len() {
        bail!("this database was written by a later version of gristmill\n\nhint: use that version");
    }
    for (step, number) in STEPS.iter().zip(1..).skip(found) {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
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
        migrate(&connection)?;
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
        let chain = self.connection.query_row("SELECT head, timestamp, finalized FROM chain", [], |row| {
            Ok(ChainView { head: row.get(0)?, timestamp: row.get(1)?, finalized: row.get(2)?, behind: false })
        })?;
        let mut statement = self
            .connection
            .prepare("SELECT id, details, requested_in, closed, work, course FROM market_order WHERE NOT forgotten")?;
        let mut rows = statement.query([])?;
        let mut orders = Vec::new();
        while let Some(row) = rows.next()? {
            let id = B256::from(row.get::<_, [u8; 32]>(0)?);
            let details = IMarket::Order::abi_decode(&row.get::<_, Vec<u8>>(1)?)?;
            let closed: Option<Vec<u8>> = row.get(3)?;
            let closed = closed.map(|closed| codec::decode::<Closed>(&closed, WORK_BYTES_MAX)).transpose()?;
            let work = codec::decode::<Work>(&row.get::<_, Vec<u8>>(4)?, WORK_BYTES_MAX)?;
            let course: Option<Vec<u8>> = row.get(5)?;
            let course = course.map(|course| codec::decode::<Course>(&course, WORK_BYTES_MAX)).transpose()?;
            orders.push((id, Order::stored(details, row.get(2)?, closed, course.unwrap_or_default(), work, chain)));
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
                "INSERT INTO market_order (id, details, requested_in, closed, work, course)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET requested_in = ?3, closed = ?4, work = ?5, course = ?6",
                params![
                    id.0,
                    order.details.abi_encode(),
                    order.requested_in,
                    order.closed.map(|closed| codec::encode(&closed)),
                    codec::encode(&order.work),
                    codec::encode(&order.course)
                ],
            )?;
        }
        for id in ledger.take_forgotten() {
            transaction.execute("UPDATE market_order SET forgotten = 1 WHERE id = ?1", [id.0])?;
        }
        let ChainView { head, timestamp, finalized, .. } = ledger.chain;
        transaction.execute(
            "UPDATE chain SET head = ?1, timestamp = ?2, finalized = ?3",
            params![head, timestamp, finalized],
        )?;
        beside(&transaction)?;
        Ok(transaction.commit()?)
    }

    /// Who is owed more than the pool's newest voucher says, and how much in all.
    pub(super) fn untold(&self, limit: usize) -> Result<Vec<(Address, u128)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT payee, earned FROM account WHERE told <> earned LIMIT ?1")?;
        let row = |row: &Row<'_>| Ok((Address::from(row.get::<_, [u8; 20]>(0)?), amount(row, 1)?));
        Ok(statement.query_map([limit], row)?.collect::<Result<_, _>>()?)
    }

    pub(super) fn told(&mut self, payees: &[(Address, u128)]) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (payee, earned) in payees {
            let tell = "UPDATE account SET told = ?2 WHERE payee = ?1";
            transaction.execute(tell, params![payee.as_slice(), earned.to_string()])?;
        }
        Ok(transaction.commit()?)
    }

    /// What workers are owed in all, and how much of it the market keeps for them.
    pub(super) fn cover(&self) -> Result<Cover> {
        let cover = |row: &Row<'_>| Ok(Cover { owed: amount(row, 0)?, locked: amount(row, 1)? });
        Ok(self.connection.query_row("SELECT owed, locked FROM cover", [], cover)?)
    }

    /// What has become of all transactions. Fees are rounded to what a float holds.
    pub(super) fn transactions(&self) -> Result<Transactions> {
        let mut statement = self.connection.prepare_cached(
            "SELECT status, count(*), coalesce(sum(gas_used), 0), coalesce(sum(CAST(fee_wei AS REAL)), 0)
             FROM outbox_outcome GROUP BY status",
        )?;
        let mut rows = statement.query([])?;
        let mut all = Transactions::default();
        while let Some(row) = rows.next()? {
            let (status, count): (String, u64) = (row.get(0)?, row.get(1)?);
            match status.as_str() {
                "confirmed" => all.confirmed = count,
                "failed" => all.reverted = count,
                "refused" => all.refused = count,
                _ => all.dropped = count,
            }
            // A dropped transaction has told its gas once, and has not paid it.
            if matches!(status.as_str(), "confirmed" | "failed") {
                all.gas_used += row.get::<_, u64>(2)?;
                all.fees_wei += U256::from(row.get::<_, f64>(3)?);
            }
        }
        Ok(all)
    }

    pub(super) fn outcomes(&self) -> Result<Vec<Outcome>> {
        Ok(outbox::outcomes_after(&self.connection, self.outcomes_seen()?)?)
    }

    pub(super) fn outcomes_seen(&self) -> Result<u64> {
        Ok(self.connection.query_row("SELECT outcomes_seen FROM chain", [], |row| row.get(0))?)
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

/// In nRLC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cover {
    pub(super) owed: u128,
    pub(super) locked: u128,
}

/// Books what an order earned its workers.
pub(super) fn credit(transaction: &Transaction<'_>, order: B256, parts: &[(Address, u128)]) -> Result<()> {
    for (payee, amount) in parts {
        let payee = payee.as_slice();
        let earn = "INSERT INTO earning (payee, market_order, amount) VALUES (?1, ?2, ?3)";
        transaction.execute(earn, params![payee, order.0, amount.to_string()])?;
        let sum = "SELECT earned FROM account WHERE payee = ?1";
        let before = transaction.query_row(sum, [payee], |row| self::amount(row, 0)).optional()?.unwrap_or_default();
        transaction.execute(
            "INSERT INTO account (payee, earned) VALUES (?1, ?2) ON CONFLICT (payee) DO UPDATE SET earned = ?2",
            params![payee, (before + amount).to_string()],
        )?;
    }
    let owed = transaction.query_row("SELECT owed FROM cover", [], |row| amount(row, 0))?;
    let more: u128 = parts.iter().map(|(_, amount)| amount).sum();
    transaction.execute("UPDATE cover SET owed = ?1", [(owed + more).to_string()])?;
    Ok(())
}

pub(super) fn set_locked(transaction: &Transaction<'_>, locked: u128) -> Result<()> {
    transaction.execute("UPDATE cover SET locked = ?1", [locked.to_string()])?;
    Ok(())
}

/// SQLite's numbers end at 63 bits.
fn amount(row: &Row<'_>, column: usize) -> rusqlite::Result<u128> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
