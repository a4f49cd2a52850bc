//! What happens to a chain, as it is journaled and replayed. A change holds outcomes, not requests: applying one runs no
//! EVM, checks no signature and cannot fail.

use std::sync::Arc;

use alloy::{
    consensus::{Header, ReceiptEnvelope},
    eips::{Decodable2718, Encodable2718},
    primitives::{Address, Bytes},
};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use super::{
    block::{Block, MinedTx},
    state::{Diff, State},
    transaction::SignedTx,
};

#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Always first, and only there.
    Founded(Genesis),
    Queued(SignedTx),
    Dropped(SenderNonce),
    Mined(Mined),
    /// A change to the head's state outside of any transaction, which real chains do not have.
    Edited(Diff),
    TimeSet(Time),
    AutomineSet(bool),
    BaseFeeSet(u64),
    RolledBack(RolledBack),
    SnapshotTaken,
    SnapshotRestored(u64),
}

/// What the first block is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Genesis {
    /// Of the journal's encoding; see [`FORMAT`].
    pub(crate) format: u64,
    pub(crate) chain_id: u64,
    pub(crate) timestamp: u64,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee: u64,
}

/// Raised whenever an older program could misread a journal.
pub(crate) const FORMAT: u64 = 1;

#[derive(Clone, Copy, Debug, RlpEncodable, RlpDecodable)]
pub(crate) struct SenderNonce {
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Mined {
    pub(crate) block: Arc<Block>,
    /// One per transaction.
    pub(crate) diffs: Vec<Diff>,
    /// The state after the block where it is at hand already. Not journaled: the diffs give it again.
    pub(crate) state: Option<State>,
}

/// How the chain's clock relates to the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Time {
    /// Seconds ahead of the wall clock, and seconds behind it; one of them is zero, since RLP has no negative numbers.
    pub(crate) ahead: u64,
    pub(crate) behind: u64,
    /// Timestamp of the next block, 0 if it follows the clock.
    pub(crate) next: u64,
}

#[derive(Clone, Copy, Debug, RlpEncodable, RlpDecodable)]
pub(crate) struct RolledBack {
    /// Number of the new head.
    pub(crate) to: u64,
    /// Whether the dropped blocks' transactions wait again.
    pub(crate) requeue: bool,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredBlock {
    header: Header,
    transactions: Vec<StoredTx>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredTx {
    raw: Bytes,
    sender: Address,
    receipt: Bytes,
    diff: Diff,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredWaiting {
    raw: Bytes,
    sender: Address,
}

impl Change {
    /// A kind byte, then the RLP of what belongs to the kind.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.kind()];
        match self {
            Self::Founded(genesis) => genesis.encode(&mut out),
            Self::Queued(tx) => StoredWaiting { raw: tx.raw(), sender: tx.sender }.encode(&mut out),
            Self::Dropped(which) => which.encode(&mut out),
            Self::Mined(mined) => StoredBlock::from(mined).encode(&mut out),
            Self::Edited(diff) => diff.encode(&mut out),
            Self::TimeSet(time) => time.encode(&mut out),
            Self::AutomineSet(on) => on.encode(&mut out),
            Self::BaseFeeSet(fee) => fee.encode(&mut out),
            Self::RolledBack(rolled_back) => rolled_back.encode(&mut out),
            Self::SnapshotTaken => {}
            Self::SnapshotRestored(id) => id.encode(&mut out),
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> alloy_rlp::Result<Self> {
        let (kind, mut rest) = bytes.split_first().ok_or(alloy_rlp::Error::InputTooShort)?;
        let rest = &mut rest;
        let change = match kind {
            0 => Self::Founded(Genesis::decode(rest)?),
            1 => {
                let stored = StoredWaiting::decode(rest)?;
                Self::Queued(SignedTx::stored(&stored.raw, stored.sender)?)
            }
            2 => Self::Dropped(SenderNonce::decode(rest)?),
            3 => Self::Mined(StoredBlock::decode(rest)?.try_into()?),
            4 => Self::Edited(Diff::decode(rest)?),
            5 => Self::TimeSet(Time::decode(rest)?),
            6 => Self::AutomineSet(bool::decode(rest)?),
            7 => Self::BaseFeeSet(u64::decode(rest)?),
            8 => Self::RolledBack(RolledBack::decode(rest)?),
            9 => Self::SnapshotTaken,
            10 => Self::SnapshotRestored(u64::decode(rest)?),
            _ => return Err(alloy_rlp::Error::Custom("unknown kind of change")),
        };
        if rest.is_empty() { Ok(change) } else { Err(alloy_rlp::Error::Custom("bytes after the end of a change")) }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Founded(_) => 0,
            Self::Queued(_) => 1,
            Self::Dropped(_) => 2,
            Self::Mined(_) => 3,
            Self::Edited(_) => 4,
            Self::TimeSet(_) => 5,
            Self::AutomineSet(_) => 6,
            Self::BaseFeeSet(_) => 7,
            Self::RolledBack(_) => 8,
            Self::SnapshotTaken => 9,
            Self::SnapshotRestored(_) => 10,
        }
    }
}

impl From<&Mined> for StoredBlock {
    fn from(mined: &Mined) -> Self {
        let transactions = mined
            .block
            .transactions
            .iter()
            .zip(&mined.diffs)
            .map(|(mined, diff)| StoredTx {
                raw: mined.tx.raw(),
                sender: mined.tx.sender,
                receipt: mined.receipt.encoded_2718().into(),
                diff: diff.clone(),
            })
            .collect();
        Self { header: mined.block.header.clone(), transactions }
    }
}

impl TryFrom<StoredBlock> for Mined {
    type Error = alloy_rlp::Error;

    fn try_from(stored: StoredBlock) -> alloy_rlp::Result<Self> {
        let (mut gas_before, mut first_log) = (0, 0);
        let (mut transactions, mut diffs) = (Vec::new(), Vec::new());
        for stored in stored.transactions {
            let receipt = ReceiptEnvelope::decode_2718(&mut stored.receipt.as_ref())
                .map_err(|_| alloy_rlp::Error::Custom("not a receipt"))?;
            let cumulative = receipt.cumulative_gas_used();
            let logs = receipt.logs().len() as u64;
            let tx = SignedTx::stored(&stored.raw, stored.sender)?;
            transactions.push(MinedTx { tx, gas_used: cumulative.saturating_sub(gas_before), first_log, receipt });
            diffs.push(stored.diff);
            gas_before = cumulative;
            first_log += logs;
        }
        let block = Block { hash: stored.header.hash_slow(), header: stored.header, transactions };
        Ok(Self { block: Arc::new(block), diffs, state: None })
    }
}
