//! The outbox's tables, in a database that belongs to the caller.
//!
//! The sender writes through a connection of its own. So the caller's transactions should be `Immediate`: a deferred one
//! that reads before it writes fails in WAL mode if the sender has committed in between.
//!
//! `outbox_action` has a row per action, `outbox_attempt` one per signed transaction, and `outbox_outcome` one per piece of
//! news for the caller, in order. Whoever enqueues does it inside its own transaction; only the sender changes rows.

mod outcome;
mod row;

use alloy::primitives::{Address, Bytes, U256};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::entry::{Action, Change, Entry, State};

pub(super) use outcome::last_outcome;
pub use outcome::{Outcome, OutcomeStatus, outcomes_after};

use row::{COLUMNS, read_entry, signed, unsigned, with_attempts};

/// Keys are names, not documents.
pub const KEY_BYTES_MAX: usize = 256;

/// Nodes take 128 kB for a whole transaction.
pub const CALLDATA_BYTES_MAX: usize = 120_000;

/// Waiting actions looked at in one round; the others wait their turn.
const QUEUED_READ_MAX: usize = 256;

/// Keys the outbox gives to its own transactions; no outcome is told of them.
const INTERNAL_PREFIX: &str = "outbox:";

/// The outbox cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error("the outbox database failed")]
    Database(#[from] rusqlite::Error),
    #[error("action key {key:?} is already used for another call, to {to}")]
    KeyReused { key: String, to: Address },
    #[error("action key of {bytes} bytes; {KEY_BYTES_MAX} are allowed, none of them the prefix `{INTERNAL_PREFIX}`")]
    BadKey { bytes: usize },
    #[error("action {key:?} has {bytes} bytes of calldata; {CALLDATA_BYTES_MAX} are allowed")]
    CalldataTooLong { key: String, bytes: usize },
    #[error("no action has the key {0:?}")]
    UnknownKey(String),
    #[error("action {0:?} is still under way; only a refused or failed one can be tried again")]
    StillUnderWay(String),
    #[error("the action was withdrawn or changed meanwhile")]
    Overtaken,
    #[error(
        "this outbox belongs to account {stored}, but the key given is that of {given}\n\n\
         hint: its transactions are numbered for the first account; use that key, or another database"
    )]
    OtherAccount { stored: Address, given: Address },
    #[error(
        "this outbox belongs to chain {stored}, but the endpoint serves chain {given}\n\n\
         hint: use the endpoint of that chain, or another database"
    )]
    OtherChain { stored: u64, given: u64 },
}

/// Creates or brings up to date the outbox's tables.
pub fn migrate(connection: &Connection) -> Result<(), OutboxError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS outbox_owner (
             only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
             account BLOB NOT NULL,
             chain_id INTEGER NOT NULL
         ) STRICT;
         CREATE TABLE IF NOT EXISTS outbox_action (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             key TEXT NOT NULL UNIQUE,
             to_account BLOB NOT NULL,
             calldata BLOB NOT NULL,
             value_wei TEXT NOT NULL,
             gas_limit INTEGER,
             not_before_ms INTEGER NOT NULL,
             not_before_block INTEGER NOT NULL,
             state TEXT NOT NULL DEFAULT 'queued',
             nonce INTEGER,
             passed_head INTEGER,
             passed_at_ms INTEGER,
             transaction_hash BLOB,
             block_number INTEGER,
             block_hash BLOB,
             succeeded INTEGER,
             gas_used INTEGER,
             gas_price_wei TEXT
         ) STRICT;
         CREATE INDEX IF NOT EXISTS outbox_action_live ON outbox_action (state, id)
             WHERE state NOT IN ('buried', 'refused');
         CREATE TABLE IF NOT EXISTS outbox_attempt (
             hash BLOB PRIMARY KEY,
             action INTEGER NOT NULL REFERENCES outbox_action (id),
             ordinal INTEGER NOT NULL,
             nonce INTEGER NOT NULL,
             raw BLOB NOT NULL,
             max_fee_wei TEXT NOT NULL,
             tip_wei TEXT NOT NULL,
             gas_limit INTEGER NOT NULL,
             signed_at_ms INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS outbox_attempt_signed ON outbox_attempt (signed_at_ms);
         CREATE INDEX IF NOT EXISTS outbox_attempt_action ON outbox_attempt (action, ordinal);
         CREATE TABLE IF NOT EXISTS outbox_outcome (
             sequence INTEGER PRIMARY KEY AUTOINCREMENT,
             key TEXT NOT NULL,
             status TEXT NOT NULL,
             transaction_hash BLOB,
             block_number INTEGER,
             block_hash BLOB,
             gas_used INTEGER,
             fee_wei TEXT,
             reason TEXT,
             revert_data BLOB
         ) STRICT;",
    )?;
    Ok(())
}

/// Asks for an action. `false`: it was there already, however far it has come.
///
/// Call it in the transaction that holds what the action follows from, then wake the sender.
pub fn enqueue(transaction: &Transaction<'_>, action: &Action) -> Result<bool, OutboxError> {
    if action.key.len() > KEY_BYTES_MAX || action.key.starts_with(INTERNAL_PREFIX) {
        return Err(OutboxError::BadKey { bytes: action.key.len() });
    }
    if action.calldata.len() > CALLDATA_BYTES_MAX {
        return Err(OutboxError::CalldataTooLong { key: action.key.clone(), bytes: action.calldata.len() });
    }
    insert(transaction, action)
}

/// An empty transaction to ourselves, to use up a nonce.
pub(super) fn enqueue_filler(
    connection: &Connection,
    account: Address,
    nonce: u64,
    now_ms: u64,
) -> Result<(), OutboxError> {
    let key = format!("{INTERNAL_PREFIX}fill {nonce} at {now_ms}");
    insert(connection, &Action::call(key, account, Bytes::new()).gas_limit(21_000)).map(drop)
}

fn insert(connection: &Connection, action: &Action) -> Result<bool, OutboxError> {
    // Writing first takes the write lock at once: a transaction that has read before it may find itself overtaken.
    let inserted = connection.execute(
        "INSERT INTO outbox_action (key, to_account, calldata, value_wei, gas_limit, not_before_ms, not_before_block)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (key) DO NOTHING",
        params![
            action.key,
            action.to.as_slice(),
            action.calldata.as_ref(),
            action.value.to_string(),
            action.gas_limit.map(signed),
            signed(action.not_before_ms),
            signed(action.not_before_block),
        ],
    )?;
    if inserted > 0 {
        return Ok(true);
    }
    let there = by_key(connection, &action.key)?.ok_or_else(|| OutboxError::UnknownKey(action.key.clone()))?.action;
    if (there.to, &there.calldata, there.value) == (action.to, &action.calldata, action.value) {
        return Ok(false);
    }
    Err(OutboxError::KeyReused { key: action.key.clone(), to: there.to })
}

/// Puts a refused or failed action back into the queue, for instance because its order is on the chain again.
pub fn retry(transaction: &Transaction<'_>, key: &str) -> Result<(), OutboxError> {
    let mut entry = by_key(transaction, key)?.ok_or_else(|| OutboxError::UnknownKey(key.to_owned()))?;
    let failed = entry.inclusion().is_none_or(|inclusion| !inclusion.succeeded);
    if !matches!(entry.state, State::Refused | State::Settled { .. } | State::Buried) || !failed {
        return Err(OutboxError::StillUnderWay(key.to_owned()));
    }
    record(transaction, &mut entry, &Change::Retried)
}

/// Removes an action that nothing was ever signed for; `false`: too late, or there is none.
///
/// This is for a reorganisation that takes back what the action follows from.
pub fn withdraw(transaction: &Transaction<'_>, key: &str) -> Result<bool, OutboxError> {
    let removed = transaction.execute(
        "DELETE FROM outbox_action WHERE key = ?1 AND state IN ('queued', 'refused')
         AND NOT EXISTS (SELECT 1 FROM outbox_attempt WHERE action = outbox_action.id)",
        [key],
    )?;
    Ok(removed > 0)
}

/// One action and its history, for displays and tests.
pub fn by_key(connection: &Connection, key: &str) -> Result<Option<Entry>, OutboxError> {
    let entry = connection
        .query_row(&format!("SELECT {COLUMNS} FROM outbox_action WHERE key = ?1"), [key], read_entry)
        .optional()?;
    entry.map(|entry| with_attempts(connection, entry)).transpose()
}

/// Ties the outbox to its first account and chain: journaled nonces mean nothing for others.
pub(super) fn claim(connection: &Connection, account: Address, chain_id: u64) -> Result<(), OutboxError> {
    connection.execute(
        "INSERT OR IGNORE INTO outbox_owner (only_row, account, chain_id) VALUES (1, ?1, ?2)",
        params![account.as_slice(), signed(chain_id)],
    )?;
    let (stored, stored_chain): (Vec<u8>, i64) =
        connection.query_row("SELECT account, chain_id FROM outbox_owner", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if stored != account.as_slice() {
        return Err(OutboxError::OtherAccount { stored: Address::from_slice(&stored), given: account });
    }
    if unsigned(stored_chain) != chain_id {
        return Err(OutboxError::OtherChain { stored: unsigned(stored_chain), given: chain_id });
    }
    Ok(())
}

/// Rows that something can still happen to, oldest first: all that are signed, and the first of those that wait.
///
/// `head` is the newest block known. Of those that wait for a later one, the next is read too: somebody has to look.
pub(super) fn live(connection: &Connection, now_ms: u64, head: u64) -> Result<Vec<Entry>, OutboxError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM outbox_action WHERE state IN ('pending', 'mined', 'settled')
         UNION
         SELECT * FROM (SELECT {COLUMNS} FROM outbox_action
             WHERE state = 'queued' AND not_before_ms <= ?1 AND not_before_block <= ?2 ORDER BY id LIMIT {QUEUED_READ_MAX})
         UNION
         SELECT * FROM (SELECT {COLUMNS} FROM outbox_action
             WHERE state = 'queued' AND not_before_ms <= ?1 ORDER BY not_before_block LIMIT 1)
         ORDER BY id"
    ))?;
    let rows = statement.query_map([signed(now_ms), signed(head)], read_entry)?;
    let entries: Vec<Entry> = rows.collect::<Result<_, _>>()?;
    entries.into_iter().map(|entry| with_attempts(connection, entry)).collect()
}

/// What the transactions signed since then have cost, or can cost at most while they are in no block.
pub(super) fn spent_since(connection: &Connection, since_ms: u64) -> Result<U256, OutboxError> {
    let mut statement = connection.prepare_cached(
        "SELECT a.gas_used, a.gas_price_wei, t.gas_limit, t.max_fee_wei, a.state
         FROM outbox_attempt t JOIN outbox_action a ON a.id = t.action
         WHERE t.signed_at_ms >= ?1
           AND t.ordinal = (SELECT max(ordinal) FROM outbox_attempt WHERE action = a.id)",
    )?;
    let mut rows = statement.query([signed(since_ms)])?;
    let mut spent = U256::ZERO;
    while let Some(row) = rows.next()? {
        let (used, price): (Option<i64>, Option<String>) = (row.get(0)?, row.get(1)?);
        let (limit, cap): (i64, String) = (row.get(2)?, row.get(3)?);
        let state: String = row.get(4)?;
        let (gas, price) = match (used, price) {
            (Some(used), Some(price)) => (used, price),
            _ if state == "pending" => (limit, cap),
            _ => continue,
        };
        spent += U256::from(unsigned(gas)) * price.parse::<U256>().unwrap_or_default();
    }
    Ok(spent)
}

/// Actions that wait, those included that are not read in a round.
pub(super) fn queued(connection: &Connection) -> Result<usize, OutboxError> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM outbox_action WHERE state = 'queued'", [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Applies a change to the entry and its rows, with the news of it. The caller may have withdrawn the action, or asked for
/// another try, since the entry was read; then nothing may come of the change, and the transaction must not be committed.
pub(super) fn record(connection: &Connection, entry: &mut Entry, change: &Change) -> Result<(), OutboxError> {
    outcome::tell(connection, entry, change)?;
    if let Change::Signed(attempt) = change {
        row::insert_attempt(connection, entry, attempt)?;
    }
    let before = entry.state;
    entry.apply(change);
    if entry.attempts.is_empty() {
        connection.execute("DELETE FROM outbox_attempt WHERE action = ?1", [entry.id])?;
    }
    if row::write_state(connection, entry, before)? { Ok(()) } else { Err(OutboxError::Overtaken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        migrate(&connection).unwrap();
        connection
    }

    #[test]
    fn a_change_to_an_action_that_was_withdrawn_is_not_written() {
        let mut connection = database();
        let transaction = connection.transaction().unwrap();
        enqueue(&transaction, &Action::call("settle", Address::ZERO, Bytes::new())).unwrap();
        let mut read = live(&transaction, 0, 0).unwrap();
        assert!(withdraw(&transaction, "settle").unwrap());
        let refused = Change::Refused(super::super::Revert::without_data("no"));
        assert!(matches!(record(&transaction, &mut read[0], &refused), Err(OutboxError::Overtaken)));
    }

    #[test]
    fn a_wish_to_try_again_is_not_overwritten_by_older_news() {
        let mut connection = database();
        let transaction = connection.transaction().unwrap();
        enqueue(&transaction, &Action::call("settle", Address::ZERO, Bytes::new())).unwrap();
        let refused = Change::Refused(super::super::Revert::without_data("no"));
        record(&transaction, &mut live(&transaction, 0, 0).unwrap()[0], &refused).unwrap();
        let mut read = by_key(&transaction, "settle").unwrap().unwrap();
        retry(&transaction, "settle").unwrap();
        assert!(matches!(record(&transaction, &mut read, &Change::Retried), Err(OutboxError::Overtaken)));
        assert_eq!(by_key(&transaction, "settle").unwrap().unwrap().state, State::Queued);
    }

    #[test]
    fn the_cost_of_an_hour_counts_what_was_mined_and_what_may_still_be() {
        let mut connection = database();
        let transaction = connection.transaction().unwrap();
        enqueue(&transaction, &Action::call("settle", Address::ZERO, Bytes::new())).unwrap();
        let mut entry = live(&transaction, 0, 0).unwrap().remove(0);
        let fees = super::super::fees::Fees { max_wei: 7, tip_wei: 1 };
        let attempt = super::super::entry::Attempt {
            hash: alloy::primitives::B256::ZERO,
            nonce: 0,
            raw: Bytes::new(),
            fees,
            gas_limit: 100,
            signed_at_ms: 5_000,
        };
        record(&transaction, &mut entry, &Change::Signed(attempt)).unwrap();
        assert_eq!(spent_since(&transaction, 5_000).unwrap(), U256::from(700));
        assert_eq!(spent_since(&transaction, 5_001).unwrap(), U256::ZERO);
        let inclusion = super::super::entry::Inclusion {
            transaction: alloy::primitives::B256::ZERO,
            block: crate::follow::BlockRef { number: 1, hash: alloy::primitives::B256::ZERO },
            succeeded: true,
            gas_used: 60,
            gas_price_wei: 5,
        };
        record(&transaction, &mut entry, &Change::Mined(inclusion)).unwrap();
        assert_eq!(spent_since(&transaction, 5_000).unwrap(), U256::from(300));
    }
}
