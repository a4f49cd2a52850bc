//! Checkpoints: the same chain by a shorter way, or none at all.

use std::{fs, path::Path, sync::Arc};

use alloy::primitives::{Address, B256, U256};
use proptest::prelude::*;

use super::{
    Core, Draft, GENESIS, LOGGER, fingerprint,
    history::{Step, step, take},
};
use crate::dev::{
    Error, Opened,
    chain::Chain,
    change::Change,
    checkpoint::{self, BLOCKS_BETWEEN_MIN, Checkpoints},
    command::{Command, Reorg},
    journal::{Archive, JournalError},
    open,
    reader::Reader,
};

/// A chain in a folder, driven as the writer does it.
struct OnDisk {
    folder: tempfile::TempDir,
    opened: Opened,
    core: Core,
}

impl OnDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (chain, opened) = open(folder.path(), false, GENESIS).unwrap();
        Self { folder, opened, core: Core { chain, ..Core::new() } }
    }

    fn execute(&mut self, command: Command) {
        self.core.execute(command).expect("the command is good");
        self.keep();
    }

    /// Journals what happened since the last time.
    fn keep(&mut self) {
        let changes = std::mem::take(&mut self.core.changes);
        if !changes.is_empty() {
            let spans = self.opened.store.journal.append(&changes).unwrap();
            changes.iter().zip(spans).for_each(|(change, span)| self.core.chain.note_span(change, span));
        }
    }

    fn write(&self) {
        checkpoint::write(self.folder.path(), &self.core.chain, self.opened.store.journal.covered()).unwrap();
    }

    /// A history with all that a checkpoint must hold.
    fn eventful() -> Self {
        let mut chain = Self::new();
        chain.core.deploy(0, &LOGGER);
        chain.keep();
        chain.execute(Command::Mine { blocks: 400, spacing: None });
        let logger = chain.core.address(0).create(0);
        for word in 1..4 {
            let input = B256::repeat_byte(word).into();
            let call =
                Draft { to: logger.into(), value: U256::ZERO, input, gas_limit: 100_000, ..chain.core.transfer(1) };
            chain.core.send(&call).unwrap();
            chain.keep();
        }
        chain.execute(Command::Reorg(Reorg { depth: 2, drop: false, blocks: Some(1) }));
        chain.execute(Command::SetBalance(Address::repeat_byte(8), U256::from(8)));
        chain.execute(Command::SetAutomine(false));
        for from in [5, 3, 4] {
            let tx = chain.core.sign(&Draft { tip: 7, ..chain.core.transfer(from) });
            chain.execute(Command::Send(tx));
        }
        chain.execute(Command::IncreaseTime(77));
        chain.execute(Command::SetNextBaseFee(99));
        chain
    }

    /// Closes the chain and opens it again.
    fn reopened(self) -> (Reader, tempfile::TempDir) {
        let Self { folder, opened, .. } = self;
        drop(opened);
        (reader(folder.path()).unwrap(), folder)
    }
}

fn reader(folder: &Path) -> Result<Reader, Error> {
    let (chain, opened) = open(folder, false, GENESIS)?;
    Ok(Reader::new(Arc::new(chain), Some(Arc::new(opened.archive))))
}

/// Blocks and transactions as readers find them.
fn contents(reader: &Reader) -> Vec<Vec<u8>> {
    let blocks = (0..=reader.head().number()).map(|number| {
        let block = reader.any_block(number).unwrap().expect("blocks have no gaps");
        assert_eq!(reader.block_by_hash(&block.hash).unwrap().map(|block| block.hash), Some(block.hash));
        for (index, mined) in block.transactions.iter().enumerate() {
            let found = reader.mined(&mined.tx.hash).unwrap().expect("it is mined");
            assert_eq!((found.block.hash, found.index, found.mined().tx.hash), (block.hash, index, mined.tx.hash));
        }
        let mined =
            crate::dev::change::Mined { diffs: vec![Default::default(); block.transactions.len()], block, state: None };
        Change::Mined(mined).to_bytes()
    });
    blocks.collect()
}

/// As [`fingerprint`], of a chain that need not have all blocks in memory.
fn same(found: &Reader, expected: &Chain) {
    let expected = Reader::new(Arc::new(expected.clone()), None);
    assert_eq!(contents(found), contents(&expected));
    let roots = |chain: &Chain| {
        let kept = chain.oldest_state()..=chain.head().number();
        kept.map(|number| (number, chain.state_at(number).unwrap().root())).collect::<Vec<_>>()
    };
    assert_eq!(roots(found), roots(&expected));
    let waiting = |chain: &Chain| chain.pool.by_arrival().map(|tx| tx.hash).collect::<Vec<_>>();
    assert_eq!(waiting(found), waiting(&expected));
    let control = |chain: &Chain| (chain.time, chain.automine, chain.forks, chain.snapshot_next, chain.base_fee_next());
    assert_eq!(control(found), control(&expected));
}

#[test]
fn a_checkpoint_holds_the_chain() {
    let mut chain = OnDisk::eventful();
    chain.write();
    let expected = chain.core.chain.clone();
    let (found, folder) = chain.reopened();
    assert!(found.block(1).is_none(), "old blocks stay in the journal");
    same(&found, &expected);

    // What comes after it is read from the journal, on top of it.
    let (next, opened) = open(folder.path(), false, GENESIS).unwrap();
    chain = OnDisk { folder, opened, core: Core { chain: next, now: 2_000_000, ..Core::new() } };
    chain.execute_unchecked(Command::Mine { blocks: 1, spacing: None });
    assert_eq!(chain.core.chain.head().transactions.len(), 3);
    chain.execute_unchecked(Command::Reorg(Reorg { depth: 100, drop: false, blocks: Some(3) }));
    let head = chain.core.chain.head().clone();
    let (found, folder) = chain.reopened();
    assert_eq!((found.head().hash, found.head().transactions.len()), (head.hash, head.transactions.len()));

    // And without it everything is the same.
    let with = contents(&found);
    checkpoint::remove(folder.path()).unwrap();
    assert_eq!(contents(&reader(folder.path()).unwrap()), with);
}

impl OnDisk {
    /// Without the invariants, which want all blocks in memory.
    fn execute_unchecked(&mut self, command: Command) {
        let Core { chain, changes, now, .. } = &mut self.core;
        chain.execute(command, *now, changes).expect("the command is good");
        self.keep();
    }
}

#[test]
fn a_useless_checkpoint_is_ignored() {
    let chain = OnDisk::eventful();
    chain.write();
    let expected = chain.core.chain.clone();
    let (_, folder) = chain.reopened();
    let path = folder.path().join("checkpoint");
    let good = fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut bad: Vec<_> = (0..good.len()).step_by(good.len() / 60).map(flipped).collect();
    bad.extend([Vec::new(), good[..10].to_vec(), good[..good.len() - 1].to_vec(), [good.as_slice(), b"x"].concat()]);
    for bytes in bad {
        fs::write(&path, &bytes).unwrap();
        let found = reader(folder.path()).unwrap();
        assert!(found.block(1).is_some(), "the whole journal was read");
        assert!(fingerprint(&found) == fingerprint(&expected));
    }
    fs::write(&path, &good).unwrap();
    assert!(reader(folder.path()).unwrap().block(1).is_none(), "the good one is used");
}

#[test]
fn a_checkpoint_of_another_journal_is_ignored() {
    let chain = OnDisk::eventful();
    chain.write();
    let (_, folder) = chain.reopened();
    let mut other = OnDisk::new();
    other.core.now += 5;
    for _ in 0..500 {
        other.execute(Command::Mine { blocks: 1, spacing: None });
    }
    let expected = other.core.chain.clone();
    for len in [usize::MAX, 2_000, 16, 0] {
        let journal = fs::read(other.folder.path().join("journal")).unwrap();
        let journal = &journal[..len.min(journal.len())];
        fs::write(folder.path().join("journal"), journal).unwrap();
        let found = reader(folder.path()).unwrap();
        if len == usize::MAX {
            assert!(fingerprint(&found) == fingerprint(&expected));
        }
        assert!(found.head().number() < 5 || found.block(1).is_some());
    }
}

#[test]
fn a_checkpoint_that_knows_more_than_its_journal_is_ignored() {
    let chain = OnDisk::eventful();
    chain.write();
    let last = chain.opened.store.journal.covered().last;
    assert_eq!(chain.core.chain.base_fee_set, Some(99), "the last thing that happened");
    let (_, folder) = chain.reopened();
    let path = folder.path().join("journal");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..last as usize]).unwrap();
    assert_eq!(reader(folder.path()).unwrap().base_fee_set, None);
}

#[test]
fn a_torn_tail_after_a_checkpoint_is_cut() {
    let mut chain = OnDisk::eventful();
    chain.write();
    let expected = chain.core.chain.clone();
    chain.execute(Command::Mine { blocks: 1, spacing: None });
    let (_, folder) = chain.reopened();
    let path = folder.path().join("journal");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    same(&reader(folder.path()).unwrap(), &expected);
}

#[test]
fn damage_before_a_checkpoint_shows_when_the_block_is_read() {
    let chain = OnDisk::eventful();
    chain.write();
    let span = chain.core.chain.span(5).unwrap();
    let (_, folder) = chain.reopened();
    let path = folder.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[span.offset as usize + 40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let found = reader(folder.path()).unwrap();
    assert!(found.any_block(4).unwrap().is_some());
    let error = found.any_block(5).unwrap_err();
    assert!(matches!(&error, JournalError::Damaged { offset, .. } if *offset == span.offset), "{error}");
}

#[test]
fn a_fresh_start_forgets_the_checkpoint() {
    let chain = OnDisk::eventful();
    chain.write();
    let (_, folder) = chain.reopened();
    let (chain, opened) = open(folder.path(), true, GENESIS).unwrap();
    assert_eq!(chain.head().number(), 0);
    assert!(!folder.path().join("checkpoint").exists());
    drop(opened);
}

#[test]
fn one_is_written_when_it_is_due() {
    let mut chain = OnDisk::new();
    let path = chain.folder.path().join("checkpoint");
    let consider = |chain: &OnDisk, last: u64| {
        let mut checkpoints = Checkpoints::new(chain.folder.path(), last);
        checkpoints.consider(&chain.core.chain, chain.opened.store.journal.covered());
        checkpoints.finish();
        let written = path.exists();
        let _ = fs::remove_file(&path);
        written
    };
    chain.execute_unchecked(Command::Mine { blocks: BLOCKS_BETWEEN_MIN - 1, spacing: None });
    assert!(!consider(&chain, 0), "too early");
    chain.execute_unchecked(Command::Mine { blocks: 1, spacing: None });
    assert!(consider(&chain, 0));
    assert!(!consider(&chain, 1));
    chain.execute_unchecked(Command::Snapshot);
    assert!(!consider(&chain, 0), "a snapshot would be lost");
    chain.execute_unchecked(Command::Restore(1));
    assert!(consider(&chain, 0));
}

#[test]
fn a_block_that_a_snapshot_brought_back_can_be_read_after_a_restart() {
    let mut chain = OnDisk::new();
    // In one batch: the snapshot is taken before anybody knows where the block will be in the journal.
    chain.core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    chain.core.execute(Command::Snapshot).unwrap();
    chain.keep();
    chain.execute(Command::Mine { blocks: 2, spacing: None });
    chain.execute(Command::Restore(1));
    chain.execute(Command::Mine { blocks: 300, spacing: None });
    chain.write();
    let expected = chain.core.chain.clone();
    let (found, _folder) = chain.reopened();
    assert!(found.block(1).is_none());
    same(&found, &expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_the_same_with_a_checkpoint(
        before in prop::collection::vec(step(), 1..40),
        after in prop::collection::vec(step(), 0..20),
    ) {
        let mut chain = OnDisk::new();
        let logger = chain.core.deploy(9, &LOGGER);
        for step in before {
            take(&mut chain.core, logger, step);
            chain.keep();
        }
        // A checkpoint has no snapshots, and is not written while there are any.
        take(&mut chain.core, logger, Step::Restore(1));
        chain.keep();
        if chain.core.chain.snapshots.is_empty() {
            chain.write();
        }
        for step in after {
            take(&mut chain.core, logger, step);
            chain.keep();
        }
        let expected = chain.core.chain.clone();
        let (found, _folder) = chain.reopened();
        same(&found, &expected);
    }
}

#[test]
fn the_archive_reads_only_what_was_written() {
    let chain = OnDisk::eventful();
    let archive = Archive::open(&chain.folder.path().join("journal")).unwrap();
    let covered = chain.opened.store.journal.covered();
    assert!(archive.last_header(covered).is_ok());
    for (len, last) in [(covered.len + 1, covered.last), (covered.len, covered.last + 1), (u64::MAX, covered.len)] {
        assert!(archive.last_header(crate::dev::journal::Covered { len, last }).is_err());
    }
}
