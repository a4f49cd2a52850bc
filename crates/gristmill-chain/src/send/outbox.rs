//! The outbox's tables, in a database that belongs to the caller.
//!
//! The sender writes through a connection of its own. So the caller's transactions should be `Immediate`: a deferred one
//! that reads before it writes fails in WAL mode if the sender has committed in between.
//!
//! `outbox_action` has a row per action, `outbox_attempt` one per signed transaction, and `outbox_outcome` one per piece of
//! news for the caller, in order. Whoever enqueues does it inside its own transaction; only the sender changes rows.

use alloy::primitives::{Address, B256, Bytes, U256};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, types::Type};

use super::{
    entry::{Action, Attempt, Change, Entry, Inclusion, Passed, State},
    fees::Fees,
    revert::Revert,
};
use crate::follow::BlockRef;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeStatus {
    /// In the chain, and deep enough.
    Confirmed,
    /// In the chain, but it reverted and has changed nothing.
    Failed,
    /// Not sent: the simulation reverts.
    Refused,
    /// Once confirmed or failed, now reorganised away; it is pending again.
    Dropped,
}

impl OutcomeStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Confirmed, Self::Failed, Self::Refused, Self::Dropped].into_iter().find(|status| status.name() == name)
    }
}

/// News about an action. A reorganisation may bring several of one action; the newest holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Ascending; the caller remembers the last it has dealt with.
    pub sequence: u64,
    pub key: String,
    pub status: OutcomeStatus,
    pub transaction: Option<B256>,
    pub block: Option<BlockRef>,
    pub gas_used: Option<u64>,
    pub fee_wei: Option<U256>,
    pub revert: Option<Revert>,
}

/// News above `sequence`, oldest first; 0 for all.
pub fn outcomes_after(connection: &Connection, sequence: u64) -> Result<Vec<Outcome>, OutboxError> {
    let mut statement = connection.prepare_cached(
        "SELECT sequence, key, status, transaction_hash, block_number, block_hash, gas_used, fee_wei, reason, revert_data
         FROM outbox_outcome WHERE sequence > ?1 ORDER BY sequence",
    )?;
    let rows = statement.query_map([signed(sequence)], |row| {
        let status: String = row.get(2)?;
        let number: Option<i64> = row.get(4)?;
        let block = match (number, hash(row, 5)?) {
            (Some(number), Some(hash)) => Some(BlockRef { number: unsigned(number), hash }),
            _ => None,
        };
        let reason: Option<String> = row.get(8)?;
        let data: Option<Vec<u8>> = row.get(9)?;
        Ok(Outcome {
            sequence: unsigned(row.get(0)?),
            key: row.get(1)?,
            status: OutcomeStatus::from_name(&status).ok_or_else(|| unreadable(2, Type::Text))?,
            transaction: hash(row, 3)?,
            block,
            gas_used: row.get::<_, Option<i64>>(6)?.map(unsigned),
            fee_wei: row.get::<_, Option<String>>(7)?.map(|text| number_from(&text, 7)).transpose()?,
            revert: reason.map(|reason| Revert { reason, data: data.unwrap_or_default().into() }),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest piece of news; 0 before the first.
pub fn last_outcome(connection: &Connection) -> Result<u64, OutboxError> {
    let last: Option<i64> = connection.query_row("SELECT max(sequence) FROM outbox_outcome", [], |row| row.get(0))?;
    Ok(last.map_or(0, unsigned))
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

const COLUMNS: &str = "id, key, to_account, calldata, value_wei, gas_limit, not_before_ms, not_before_block, state, nonce, \
                       passed_head, passed_at_ms, transaction_hash, block_number, block_hash, succeeded, gas_used, gas_price_wei";

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

/// Actions that wait, those included that are not read in a round.
pub(super) fn queued(connection: &Connection) -> Result<usize, OutboxError> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM outbox_action WHERE state = 'queued'", [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Applies a change to the entry and its rows, with the news of it.
pub(super) fn record(connection: &Connection, entry: &mut Entry, change: &Change) -> Result<(), OutboxError> {
    if let Some(outcome) = news(entry, change) {
        tell(connection, &entry.action.key, &outcome)?;
    }
    if let Change::Signed(attempt) = change {
        insert_attempt(connection, entry, attempt)?;
    }
    entry.apply(change);
    if entry.attempts.is_empty() {
        connection.execute("DELETE FROM outbox_attempt WHERE action = ?1", [entry.id])?;
    }
    let columns = StateColumns::of(entry.state);
    connection.execute(
        "UPDATE outbox_action SET state = ?2, nonce = ?3, passed_head = ?4, passed_at_ms = ?5, transaction_hash = ?6,
             block_number = ?7, block_hash = ?8, succeeded = ?9, gas_used = ?10, gas_price_wei = ?11 WHERE id = ?1",
        params![
            entry.id,
            columns.name,
            columns.nonce.map(signed),
            columns.passed.map(|passed| signed(passed.head)),
            columns.passed.map(|passed| signed(passed.at_ms)),
            columns.inclusion.map(|inclusion| inclusion.transaction.to_vec()),
            columns.inclusion.map(|inclusion| signed(inclusion.block.number)),
            columns.inclusion.map(|inclusion| inclusion.block.hash.to_vec()),
            columns.inclusion.map(|inclusion| inclusion.succeeded),
            columns.inclusion.map(|inclusion| signed(inclusion.gas_used)),
            columns.inclusion.map(|inclusion| inclusion.gas_price_wei.to_string()),
        ],
    )?;
    Ok(())
}

struct News<'a> {
    status: OutcomeStatus,
    inclusion: Option<Inclusion>,
    revert: Option<&'a Revert>,
}

fn news<'a>(entry: &Entry, change: &'a Change) -> Option<News<'a>> {
    if entry.action.key.starts_with(INTERNAL_PREFIX) {
        return None;
    }
    match (entry.state, change) {
        (_, Change::Refused(revert)) => {
            Some(News { status: OutcomeStatus::Refused, inclusion: None, revert: Some(revert) })
        }
        (_, Change::Settled { inclusion, revert }) => {
            let status = if inclusion.succeeded { OutcomeStatus::Confirmed } else { OutcomeStatus::Failed };
            Some(News { status, inclusion: Some(*inclusion), revert: revert.as_ref() })
        }
        (State::Settled { inclusion, .. }, Change::Vanished) => {
            Some(News { status: OutcomeStatus::Dropped, inclusion: Some(inclusion), revert: None })
        }
        _ => None,
    }
}

fn tell(connection: &Connection, key: &str, news: &News<'_>) -> Result<(), OutboxError> {
    connection.execute(
        "INSERT INTO outbox_outcome (key, status, transaction_hash, block_number, block_hash, gas_used, fee_wei, reason,
             revert_data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            key,
            news.status.name(),
            news.inclusion.map(|inclusion| inclusion.transaction.to_vec()),
            news.inclusion.map(|inclusion| signed(inclusion.block.number)),
            news.inclusion.map(|inclusion| inclusion.block.hash.to_vec()),
            news.inclusion.map(|inclusion| signed(inclusion.gas_used)),
            news.inclusion.map(|inclusion| inclusion.fee_wei().to_string()),
            news.revert.map(|revert| &revert.reason),
            news.revert.map(|revert| revert.data.to_vec()),
        ],
    )?;
    Ok(())
}

fn insert_attempt(connection: &Connection, entry: &Entry, attempt: &Attempt) -> Result<(), OutboxError> {
    connection.execute(
        "INSERT INTO outbox_attempt (hash, action, ordinal, nonce, raw, max_fee_wei, tip_wei, gas_limit, signed_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            attempt.hash.as_slice(),
            entry.id,
            entry.attempts.len() as i64,
            signed(attempt.nonce),
            attempt.raw.as_ref(),
            attempt.fees.max_wei.to_string(),
            attempt.fees.tip_wei.to_string(),
            signed(attempt.gas_limit),
            signed(attempt.signed_at_ms),
        ],
    )?;
    Ok(())
}

/// A [`State`] spread over its columns.
struct StateColumns {
    name: &'static str,
    nonce: Option<u64>,
    passed: Option<Passed>,
    inclusion: Option<Inclusion>,
}

impl StateColumns {
    fn of(state: State) -> Self {
        let bare = |name| Self { name, nonce: None, passed: None, inclusion: None };
        match state {
            State::Queued => bare("queued"),
            State::Pending { nonce, passed } => Self { nonce: Some(nonce), passed, ..bare("pending") },
            State::Mined { nonce, inclusion } => {
                Self { nonce: Some(nonce), inclusion: Some(inclusion), ..bare("mined") }
            }
            State::Settled { nonce, inclusion } => {
                Self { nonce: Some(nonce), inclusion: Some(inclusion), ..bare("settled") }
            }
            State::Buried => bare("buried"),
            State::Refused => bare("refused"),
        }
    }

    fn state(self) -> Option<State> {
        Some(match (self.name, self.nonce, self.inclusion) {
            ("queued", ..) => State::Queued,
            ("pending", Some(nonce), _) => State::Pending { nonce, passed: self.passed },
            ("mined", Some(nonce), Some(inclusion)) => State::Mined { nonce, inclusion },
            ("settled", Some(nonce), Some(inclusion)) => State::Settled { nonce, inclusion },
            ("buried", ..) => State::Buried,
            ("refused", ..) => State::Refused,
            _ => return None,
        })
    }
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let passed = match (row.get::<_, Option<i64>>(10)?, row.get::<_, Option<i64>>(11)?) {
        (Some(head), Some(at_ms)) => Some(Passed { head: unsigned(head), at_ms: unsigned(at_ms) }),
        _ => None,
    };
    let state: String = row.get(8)?;
    let names = ["queued", "pending", "mined", "settled", "buried", "refused"];
    let name = names.into_iter().find(|name| *name == state).ok_or_else(|| unreadable(8, Type::Text))?;
    let nonce = row.get::<_, Option<i64>>(9)?.map(unsigned);
    let columns = StateColumns { name, nonce, passed, inclusion: read_inclusion(row)? };
    let to: Vec<u8> = row.get(2)?;
    Ok(Entry {
        id: row.get(0)?,
        action: Action {
            key: row.get(1)?,
            to: Address::try_from(to.as_slice()).map_err(|_| unreadable(2, Type::Blob))?,
            calldata: row.get::<_, Vec<u8>>(3)?.into(),
            value: number_from(&row.get::<_, String>(4)?, 4)?,
            gas_limit: row.get::<_, Option<i64>>(5)?.map(unsigned),
            not_before_ms: unsigned(row.get(6)?),
            not_before_block: unsigned(row.get(7)?),
        },
        state: columns.state().ok_or_else(|| unreadable(8, Type::Text))?,
        attempts: Vec::new(),
    })
}

fn read_inclusion(row: &Row<'_>) -> rusqlite::Result<Option<Inclusion>> {
    let (Some(transaction), Some(block_hash)) = (hash(row, 12)?, hash(row, 14)?) else {
        return Ok(None);
    };
    Ok(Some(Inclusion {
        transaction,
        block: BlockRef { number: unsigned(row.get(13)?), hash: block_hash },
        succeeded: row.get(15)?,
        gas_used: unsigned(row.get(16)?),
        gas_price_wei: number_from(&row.get::<_, String>(17)?, 17)?,
    }))
}

fn with_attempts(connection: &Connection, mut entry: Entry) -> Result<Entry, OutboxError> {
    let mut statement = connection.prepare_cached(
        "SELECT hash, nonce, raw, max_fee_wei, tip_wei, gas_limit, signed_at_ms FROM outbox_attempt
         WHERE action = ?1 ORDER BY ordinal",
    )?;
    let attempts = statement.query_map([entry.id], |row| {
        Ok(Attempt {
            hash: hash(row, 0)?.ok_or_else(|| unreadable(0, Type::Blob))?,
            nonce: unsigned(row.get(1)?),
            raw: row.get::<_, Vec<u8>>(2)?.into(),
            fees: Fees {
                max_wei: number_from(&row.get::<_, String>(3)?, 3)?,
                tip_wei: number_from(&row.get::<_, String>(4)?, 4)?,
            },
            gas_limit: unsigned(row.get(5)?),
            signed_at_ms: unsigned(row.get(6)?),
        })
    })?;
    entry.attempts = attempts.collect::<Result<_, _>>()?;
    Ok(entry)
}

fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<B256>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes.map(|bytes| B256::try_from(bytes.as_slice()).map_err(|_| unreadable(column, Type::Blob))).transpose()
}

fn number_from<T: std::str::FromStr>(text: &str, column: usize) -> rusqlite::Result<T> {
    text.parse().map_err(|_| unreadable(column, Type::Text))
}

fn unreadable(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, "not what the outbox writes".into())
}

/// SQLite has no unsigned integers; ours stay far below 2^63, and keep their bits if they do not.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
