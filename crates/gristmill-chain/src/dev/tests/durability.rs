//! What a journal gives back after the file was cut, damaged, filled up or locked.

use std::{fs, path::Path};

use alloy::primitives::{B256, U256, b256};

use super::{Core, Draft, GENESIS, LOGGER, fingerprint};
use crate::dev::{
    Error,
    chain::Chain,
    change::{Change, FORMAT, Genesis},
    command::{Command, Reorg},
    journal::{Covered, Journal, JournalError, scan},
    open,
};

/// A journal's path, its batches, and the file's length after each of them.
struct Written {
    folder: tempfile::TempDir,
    batches: Vec<Vec<Change>>,
    ends: Vec<u64>,
}

impl Written {
    /// A short history with every kind of change in it.
    fn new() -> Self {
        let mut core = Core::new();
        let mut batches = vec![vec![Change::Founded(GENESIS)]];
        let mut take = |core: &mut Core, command| {
            core.execute(command).expect("the command is good");
            batches.push(std::mem::take(&mut core.changes));
        };
        let deploy = core.sign(&Draft {
            to: alloy::primitives::TxKind::Create,
            value: U256::ZERO,
            input: LOGGER,
            gas_limit: 200_000,
            ..core.transfer(0)
        });
        let logger = deploy.sender.create(0);
        take(&mut core, Command::Send(deploy));
        take(&mut core, Command::SetAutomine(false));
        let call = Draft {
            to: logger.into(),
            value: U256::ZERO,
            input: B256::ZERO.into(),
            gas_limit: 100_000,
            ..core.transfer(1)
        };
        for tx in [core.sign(&call), core.sign(&core.transfer(2))] {
            take(&mut core, Command::Send(tx));
        }
        take(&mut core, Command::SetNextBaseFee(7));
        take(&mut core, Command::Mine { blocks: 2, spacing: Some(5) });
        take(&mut core, Command::Snapshot);
        take(&mut core, Command::IncreaseTime(5));
        take(&mut core, Command::SetBalance(logger, U256::from(9)));
        take(&mut core, Command::Reorg(Reorg { depth: 2, drop: false, blocks: Some(1) }));
        let dropped = core.sign(&core.transfer(3));
        take(&mut core, Command::Send(dropped.clone()));
        take(&mut core, Command::DropTransaction(dropped.hash));
        take(&mut core, Command::Restore(1));

        let folder = tempfile::tempdir().unwrap();
        let mut journal =
            Journal::open::<Error>(&folder.path().join("journal"), Covered::default(), &mut |_| Ok(())).unwrap();
        let ends = batches.iter().map(|batch| {
            journal.append(batch).unwrap();
            journal.covered().len
        });
        let ends = ends.collect();
        Self { folder, batches, ends }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("journal")
    }

    /// The chain after so many batches.
    fn chain(&self, batches: usize) -> Chain {
        let mut chain = Chain::found(GENESIS);
        self.batches[..batches].iter().flatten().skip(1).for_each(|change| chain.apply(change));
        chain
    }
}

fn reopen(folder: &Path) -> Result<Chain, Error> {
    open(folder, false, GENESIS).map(|(chain, _)| chain)
}

#[test]
fn a_journal_cut_anywhere_gives_the_changes_before_the_cut() {
    let written = Written::new();
    let whole = fs::read(written.path()).unwrap();
    assert_eq!(whole.len() as u64, *written.ends.last().unwrap());
    for cut in 0..=whole.len() {
        let mut read = Vec::new();
        let good = scan::<JournalError>(&written.path(), Covered::default(), &whole[..cut], &mut |batch| {
            read.push(batch.into_iter().map(|(change, _)| change).collect());
            Ok(())
        });
        let kept = written.ends.iter().filter(|end| **end <= cut as u64).count();
        let end = kept.checked_sub(1).map_or(cut.min(16), |last| written.ends[last] as usize);
        assert_eq!(good.unwrap().len, end as u64, "cut at {cut}");
        assert_eq!(bytes_of(&read), bytes_of(&written.batches[..kept]), "cut at {cut}");
    }
}

#[test]
fn a_file_cut_somewhere_is_repaired() {
    let written = Written::new();
    let whole = fs::read(written.path()).unwrap();
    let around = written.ends.iter().flat_map(|end| [end - 1, *end, end + 1, end + 11, end + 13]);
    for cut in [0, 1, 15, 16, 17].into_iter().chain(around).map(|cut| cut as usize).filter(|cut| *cut <= whole.len()) {
        fs::write(written.path(), &whole[..cut]).unwrap();
        let kept = written.ends.iter().filter(|end| **end <= cut as u64).count();
        // A journal without its first batch is a new one.
        let expected = written.chain(kept.max(1));
        for time in ["first", "second"] {
            let chain = reopen(written.folder.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(fingerprint(&chain), fingerprint(&expected), "cut at {cut}, opened the {time} time");
        }
        let len = fs::metadata(written.path()).unwrap().len();
        assert_eq!(len, written.ends[kept.max(1) - 1], "cut at {cut}");
    }
}

fn bytes_of(batches: &[Vec<Change>]) -> Vec<Vec<u8>> {
    batches.iter().flatten().map(Change::to_bytes).collect()
}

/// The journal of the history above as format 1 was first released. Its bytes must be read for as long as [`FORMAT`] is 1,
/// and what they say must not change; new bytes for the same history need a new format and keep this file.
#[test]
fn the_first_format_is_read_and_written() {
    let released = include_bytes!("../../../tests/dev_fixture/journal-1");
    assert_eq!(FORMAT, 1);
    let written = Written::new();
    assert!(fs::read(written.path()).unwrap() == released, "the same history has other bytes");
    fs::write(written.path(), released).unwrap();
    let chain = reopen(written.folder.path()).unwrap();
    let head = b256!("0e5ae8967f95ad987f0ed57c1baeb5d354c573512e0b80465e2d13e196e8472c");
    assert_eq!((chain.head().number(), chain.head().hash), (3, head));
    assert_eq!(chain.state().root(), chain.head().header.state_root);
}

#[test]
fn a_chain_goes_on_after_a_torn_write() {
    let written = Written::new();
    let whole = fs::read(written.path()).unwrap();
    fs::write(written.path(), &whole[..whole.len() - 3]).unwrap();
    let kept = written.batches.len() - 1;
    let (mut chain, mut opened) = open(written.folder.path(), false, GENESIS).unwrap();
    let mut changes = Vec::new();
    chain.execute(Command::Mine { blocks: 3, spacing: None }, 2_000_000, &mut changes).unwrap();
    opened.store.journal.append(&changes).unwrap();
    drop(opened);
    let mut expected = written.chain(kept);
    changes.iter().for_each(|change| expected.apply(change));
    assert_eq!(fingerprint(&reopen(written.folder.path()).unwrap()), fingerprint(&expected));
}

#[test]
fn damage_in_the_middle_is_reported() {
    let written = Written::new();
    let whole = fs::read(written.path()).unwrap();
    let last = written.ends[written.ends.len() - 2] as usize;
    for at in 0..last {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let start = written.ends.iter().copied().filter(|end| *end <= at as u64).max().unwrap_or(16);
        match scan(&written.path(), Covered::default(), &damaged, &mut |_| Ok(())) {
            Err(JournalError::Foreign { .. }) if at < 16 => {}
            Err(JournalError::Damaged { path, offset }) => {
                assert_eq!((path, offset), (written.path(), start), "damage at {at}");
            }
            other => panic!("damage at {at}: {other:?}"),
        }
    }
}

#[test]
fn a_damaged_file_is_left_alone() {
    let written = Written::new();
    let mut damaged = fs::read(written.path()).unwrap();
    damaged[written.ends[2] as usize + 20] ^= 1;
    fs::write(written.path(), &damaged).unwrap();
    let error = reopen(written.folder.path()).map(drop).unwrap_err().to_string();
    let expected = format!("{} is damaged at offset {}", written.path().display(), written.ends[2]);
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(fs::read(written.path()).unwrap(), damaged);
}

#[test]
fn zeroes_at_the_end_are_a_torn_write() {
    let written = Written::new();
    let whole = fs::read(written.path()).unwrap();
    fs::write(written.path(), [whole.as_slice(), &[0; 4096]].concat()).unwrap();
    let chain = reopen(written.folder.path()).unwrap();
    assert_eq!(fingerprint(&chain), fingerprint(&written.chain(written.batches.len())));
    assert_eq!(fs::read(written.path()).unwrap(), whole);
}

#[test]
fn another_file_is_not_taken_for_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal"), "something else altogether").unwrap();
    let error = reopen(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Journal(JournalError::Foreign { .. })), "{error}");
    assert_eq!(fs::read(folder.path().join("journal")).unwrap(), b"something else altogether");
}

#[test]
fn a_chain_of_another_id_or_format_is_refused() {
    let written = Written::new();
    let error = open(written.folder.path(), false, Genesis { chain_id: 5, ..GENESIS }).map(drop).unwrap_err();
    assert!(matches!(error, Error::OtherChain { found, wanted: 5, .. } if found == GENESIS.chain_id), "{error}");

    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), false, Genesis { format: 99, ..GENESIS }).map(drop).unwrap();
    let error = reopen(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, Error::OtherFormat { found: 99, .. }), "{error}");
}

#[test]
fn a_fresh_start_throws_the_old_chain_away() {
    let written = Written::new();
    let genesis = Genesis { timestamp: 5, ..GENESIS };
    let (chain, ..) = open(written.folder.path(), true, genesis).unwrap();
    assert_eq!(chain.head().number(), 0);
    assert_eq!(fingerprint(&reopen(written.folder.path()).unwrap()), fingerprint(&Chain::found(genesis)));
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), false, GENESIS).unwrap();
    for fresh in [false, true] {
        let error = open(folder.path(), fresh, GENESIS).map(drop).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
    }
    drop(used);
    reopen(folder.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let inside = folder.path().join("file").join("chain");
    let error = reopen(&inside).map(drop).unwrap_err().to_string();
    assert!(error.contains("cannot create") && error.contains("chain"), "{error}");
}
