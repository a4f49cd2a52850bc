//! A file that spares opening a chain the long way through its journal.
//!
//! It holds what the journal says up to some length: the states, what waits, the clock, and an index of blocks, whose
//! bodies stay in the journal until somebody asks for them. It is only ever a shortcut: one that is missing, damaged, of
//! another journal or of another format is ignored, and the journal alone gives the same chain.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use alloy::primitives::{Address, B256, Bytes};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

use super::{
    chain::{BLOCK_HASHES_KEPT, Chain, Indexed, Parts},
    change::{Change, FORMAT, Genesis, Time},
    journal::{Archive, Covered, JournalError, Span, sync_folder},
    state::{Diff, State},
    transaction::SignedTx,
};

/// A new one is written after so many blocks: at some ten microseconds a block, the way through the journal is then short.
pub(crate) const BLOCKS_BETWEEN_MIN: u64 = 4_096;
/// And not before the chain grew by this fraction, so that writing costs little beside the journal itself.
const GROWTH_BETWEEN: u64 = 8;

const MAGIC: &[u8; 16] = b"gristmill check\n";

#[derive(RlpEncodable, RlpDecodable)]
struct Stored {
    format: u64,
    genesis: Genesis,
    covered: u64,
    last: u64,
    last_header: Bytes,
    time: Time,
    automine: bool,
    /// 0 if it was not set.
    base_fee_set: u64,
    forks: u64,
    snapshot_next: u64,
    waiting: Vec<StoredWaiting>,
    /// Number of the oldest block whose state is kept.
    oldest: u64,
    /// That state, as the change that makes it out of nothing.
    state: Diff,
    /// What each later block changed.
    steps: Vec<StoredStep>,
    blocks: Vec<StoredBlock>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredWaiting {
    raw: Bytes,
    sender: Address,
}

#[derive(RlpEncodable, RlpDecodable)]
struct StoredStep {
    diffs: Vec<Diff>,
}

/// All but the first block, which the genesis gives.
#[derive(RlpEncodable, RlpDecodable)]
struct StoredBlock {
    hash: B256,
    span: Span,
    transactions: Vec<B256>,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot read it")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Damaged,
    #[error("it cannot be decoded")]
    Decode(#[from] alloy_rlp::Error),
    #[error("it is of another format")]
    Format,
    #[error("it belongs to another journal")]
    OtherJournal,
    #[error("a block it names cannot be read")]
    Block(#[from] JournalError),
}

/// Writes checkpoints beside the chain's own work, one at a time.
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// Number of the head in the last one, written or begun.
    last_head: u64,
    writing: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// `last_head` is that of the checkpoint that was read, 0 if none.
    pub(crate) fn new(folder: &Path, last_head: u64) -> Self {
        Self { folder: folder.to_owned(), last_head, writing: None }
    }

    /// Begins to write a checkpoint if one is due. `chain` is what the journal gives up to `covered`.
    pub(crate) fn consider(&mut self, chain: &Chain, covered: Covered) {
        let head = chain.head().number();
        let due = self.last_head + BLOCKS_BETWEEN_MIN.max(self.last_head / GROWTH_BETWEEN);
        // Snapshots are whole chains, which a checkpoint does not hold; they are for tests, and soon gone.
        let possible = chain.snapshots.is_empty() && self.writing.as_ref().is_none_or(JoinHandle::is_finished);
        if head >= due && possible {
            self.last_head = head;
            let (chain, folder) = (chain.clone(), self.folder.clone());
            self.writing = Some(std::thread::spawn(move || {
                if let Err(error) = write(&folder, &chain, covered) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot write a checkpoint");
                }
            }));
        }
    }

    /// Waits for one that is being written.
    pub(crate) fn finish(self) {
        if let Some(writing) = self.writing {
            // A panic there is a missing checkpoint, no more.
            let _ = writing.join();
        }
    }
}

/// Writes a checkpoint of `chain`, if all of it is journaled; it is what the journal in `folder` gives up to `covered`.
pub(crate) fn write(folder: &Path, chain: &Chain, covered: Covered) -> Result<(), JournalError> {
    let last_header = Archive::open(&folder.join("journal"))?.last_header(covered)?;
    let Some(payload) = encode(chain, covered, last_header.into()) else { return Ok(()) };
    let new = folder.join("checkpoint.new");
    let failed = |source| JournalError::Io { doing: "write", path: new.clone(), source };
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(MAGIC)?;
        file.write_all(&crc32fast::hash(&payload).to_le_bytes())?;
        file.write_all(&payload)?;
        file.sync_all()
    });
    // The old one stays valid until the new one is complete.
    written.and_then(|()| fs::rename(&new, path(folder))).and_then(|()| sync_folder(folder)).map_err(failed)
}

/// The chain that a usable checkpoint holds, and how much of the journal that spares.
pub(crate) fn read(folder: &Path) -> Option<(Chain, Covered)> {
    let path = path(folder);
    if !path.exists() {
        return None;
    }
    match try_read(&path, &folder.join("journal")) {
        Ok(found) => Some(found),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %path.display(), error, "the checkpoint is of no use; reading the whole journal");
            None
        }
    }
}

/// Forgets the checkpoint.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(path(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_folder(folder),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("checkpoint")
}

fn encode(chain: &Chain, covered: Covered, last_header: Bytes) -> Option<Vec<u8>> {
    let index = chain.index()?;
    let oldest = chain.oldest_state();
    let head = chain.head().number();
    let state = chain.state_at(oldest).expect("it is the oldest kept").to_diff();
    let stored = Stored {
        format: FORMAT,
        genesis: chain.genesis,
        covered: covered.len,
        last: covered.last,
        last_header,
        time: chain.time,
        automine: chain.automine,
        base_fee_set: chain.base_fee_set.unwrap_or(0),
        forks: chain.forks,
        snapshot_next: chain.snapshot_next,
        waiting: chain.pool.by_arrival().map(|tx| StoredWaiting { raw: tx.raw(), sender: tx.sender }).collect(),
        oldest,
        state,
        steps: (oldest + 1..=head).map(|number| StoredStep { diffs: chain.diffs(number).to_vec() }).collect(),
        blocks: index.into_iter().map(|(hash, span, transactions)| StoredBlock { hash, span, transactions }).collect(),
    };
    let mut bytes = Vec::new();
    stored.encode(&mut bytes);
    Some(bytes)
}

fn try_read(path: &Path, journal: &Path) -> Result<(Chain, Covered), Unusable> {
    let bytes = fs::read(path)?;
    let (crc, mut payload) =
        bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(4)).ok_or(Unusable::Damaged)?;
    if crc != crc32fast::hash(payload).to_le_bytes() {
        return Err(Unusable::Damaged);
    }
    let stored = Stored::decode(&mut payload)?;
    if stored.format != FORMAT {
        return Err(Unusable::Format);
    }
    let covered = Covered { len: stored.covered, last: stored.last };
    let archive = Archive::open(journal)?;
    if archive.last_header(covered).ok().as_deref() != Some(&stored.last_header[..]) {
        return Err(Unusable::OtherJournal);
    }
    Ok((chain(stored, &archive)?, covered))
}

fn chain(stored: Stored, archive: &Archive) -> Result<Chain, Unusable> {
    let mut state = State::default();
    state.apply(&stored.state);
    let mut states = vec![(state.clone(), Vec::new())];
    for StoredStep { diffs } in stored.steps {
        diffs.iter().for_each(|diff| state.apply(diff));
        states.push((state.clone(), diffs));
    }
    // Bodies that rewinding, and the BLOCKHASH instruction, may need at once.
    let recent = stored.blocks.len().saturating_sub(BLOCK_HASHES_KEPT as usize);
    let mut index = Vec::with_capacity(stored.blocks.len());
    for (position, StoredBlock { hash, span, transactions }) in stored.blocks.into_iter().enumerate() {
        let body = match archive_block(archive, span, position >= recent)? {
            Some(body) if body.hash != hash => return Err(Unusable::Damaged),
            body => body,
        };
        index.push(Indexed { hash, span, transactions, body });
    }
    let mut waiting = Vec::new();
    for StoredWaiting { raw, sender } in stored.waiting {
        waiting.push(SignedTx::stored(&raw, sender)?);
    }
    let parts = Parts {
        genesis: stored.genesis,
        time: stored.time,
        automine: stored.automine,
        base_fee_set: (stored.base_fee_set != 0).then_some(stored.base_fee_set),
        forks: stored.forks,
        snapshot_next: stored.snapshot_next,
        waiting,
        oldest: stored.oldest,
        states,
        index,
    };
    Chain::from_parts(parts).ok_or(Unusable::Damaged)
}

fn archive_block(
    archive: &Archive,
    span: Span,
    wanted: bool,
) -> Result<Option<std::sync::Arc<super::block::Block>>, Unusable> {
    if !wanted {
        return Ok(None);
    }
    match archive.read(span)? {
        Change::Mined(mined) => Ok(Some(mined.block)),
        _ => Err(Unusable::Damaged),
    }
}
