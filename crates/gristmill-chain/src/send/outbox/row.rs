//! Entries as rows, and back.

use alloy::primitives::{Address, B256};
use rusqlite::{Connection, Row, params, types::Type};

use super::OutboxError;
use crate::{
    follow::BlockRef,
    send::{
        entry::{Action, Attempt, Entry, Inclusion, Passed, State},
        fees::Fees,
    },
};

/// In the order in which [`read_entry`] takes them.
pub(super) const COLUMNS: &str = "id, key, to_account, calldata, value_wei, gas_limit, not_before_ms, not_before_block, state, nonce, \
                       passed_head, passed_at_ms, transaction_hash, block_number, block_hash, succeeded, gas_used, gas_price_wei";

pub(super) fn insert_attempt(connection: &Connection, entry: &Entry, attempt: &Attempt) -> Result<(), OutboxError> {
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

/// Writes the entry's state, unless it is no longer `before` in the database: `false`.
pub(super) fn write_state(connection: &Connection, entry: &Entry, before: State) -> rusqlite::Result<bool> {
    let columns = StateColumns::of(entry.state);
    let written = connection.execute(
        "UPDATE outbox_action SET state = ?2, nonce = ?3, passed_head = ?4, passed_at_ms = ?5, transaction_hash = ?6,
             block_number = ?7, block_hash = ?8, succeeded = ?9, gas_used = ?10, gas_price_wei = ?11
         WHERE id = ?1 AND state = ?12",
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
            StateColumns::of(before).name,
        ],
    )?;
    Ok(written == 1)
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

pub(super) fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
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

pub(super) fn with_attempts(connection: &Connection, mut entry: Entry) -> Result<Entry, OutboxError> {
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

pub(super) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<B256>> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    bytes.map(|bytes| B256::try_from(bytes.as_slice()).map_err(|_| unreadable(column, Type::Blob))).transpose()
}

pub(super) fn number_from<T: std::str::FromStr>(text: &str, column: usize) -> rusqlite::Result<T> {
    text.parse().map_err(|_| unreadable(column, Type::Text))
}

pub(super) fn unreadable(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, "not what the outbox writes".into())
}

/// SQLite has no unsigned integers; ours stay far below 2^63, and keep their bits if they do not.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
