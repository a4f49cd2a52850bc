//! News for the caller.

use alloy::primitives::{B256, U256};
use rusqlite::{Connection, params, types::Type};

use super::{
    INTERNAL_PREFIX, OutboxError,
    row::{hash, number_from, signed, unreadable, unsigned},
};
use crate::{
    follow::BlockRef,
    send::{
        entry::{Change, Entry, Inclusion, State},
        revert::Revert,
    },
};

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
pub(in crate::send) fn last_outcome(connection: &Connection) -> Result<u64, OutboxError> {
    let last: Option<i64> = connection.query_row("SELECT max(sequence) FROM outbox_outcome", [], |row| row.get(0))?;
    Ok(last.map_or(0, unsigned))
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

/// Puts the news of a change, if it is any to the caller, into the line.
pub(super) fn tell(connection: &Connection, entry: &Entry, change: &Change) -> Result<(), OutboxError> {
    let Some(news) = news(entry, change) else {
        return Ok(());
    };
    connection.execute(
        "INSERT INTO outbox_outcome (key, status, transaction_hash, block_number, block_hash, gas_used, fee_wei, reason,
             revert_data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            entry.action.key,
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
