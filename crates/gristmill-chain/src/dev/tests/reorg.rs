//! History rewritten: reorganisations and snapshots.

use alloy::primitives::{B256, U256};

use super::{Core, Draft, LOGGER, check_money};
use crate::dev::{
    branch::branch,
    chain::STATES_KEPT,
    command::{Command, Reorg, Reply, SNAPSHOTS_MAX},
    refusal::Refusal,
};

/// Five blocks with one transfer each.
fn five() -> (Core, Vec<B256>) {
    let mut core = Core::new();
    let hashes = (0..5).map(|from| core.send(&core.transfer(from)).unwrap()).collect();
    (core, hashes)
}

#[test]
fn a_reorg_can_include_the_same_transactions_again() {
    let (mut core, hashes) = five();
    let before = core.chain.clone();
    core.execute(Command::Reorg(Reorg { depth: 3, ..Reorg::default() })).unwrap();
    assert_eq!(core.chain.head().number(), 5);
    assert!(hashes.iter().all(|hash| core.mined(*hash)));
    for number in 0..=5 {
        let same = before.block(number).unwrap().hash == core.chain.block(number).unwrap().hash;
        assert_eq!(same, number <= 2, "block {number}");
    }
    let step = branch(&before, &core.chain);
    assert_eq!(step.removed.iter().map(|block| block.number()).collect::<Vec<_>>(), [5, 4, 3]);
    assert_eq!(step.added.iter().map(|block| block.number()).collect::<Vec<_>>(), [3, 4, 5]);
    check_money(&core.chain);
}

#[test]
fn a_reorg_can_drop_the_transactions() {
    let (mut core, hashes) = five();
    core.execute(Command::Reorg(Reorg { depth: 3, drop: true, blocks: None })).unwrap();
    assert_eq!(core.chain.head().number(), 5);
    assert_eq!(hashes.iter().map(|hash| core.mined(*hash)).collect::<Vec<_>>(), [true, true, false, false, false]);
    assert_eq!(core.chain.pool.len(), 0);
    assert_eq!(core.chain.state().nonce(core.address(4)), 0);
    // The same transaction can come again.
    let again = core.send(&core.transfer(4)).unwrap();
    assert_eq!(again, hashes[4]);
    check_money(&core.chain);
}

#[test]
fn a_reorg_can_leave_a_shorter_chain() {
    let (mut core, hashes) = five();
    core.execute(Command::Reorg(Reorg { depth: 4, drop: false, blocks: Some(2) })).unwrap();
    assert_eq!(core.chain.head().number(), 3);
    assert!(hashes.iter().all(|hash| core.mined(*hash)));
    assert_eq!(core.chain.head().transactions.len(), 3, "the last block takes the rest");

    core.execute(Command::Reorg(Reorg { depth: 2, drop: false, blocks: Some(0) })).unwrap();
    assert_eq!(core.chain.head().number(), 1);
    assert_eq!(core.chain.pool.len(), 4, "they wait for a block");
    core.send(&core.transfer(9)).unwrap();
    assert_eq!(core.chain.pool.len(), 0);
    assert!(hashes.iter().all(|hash| core.mined(*hash)));
}

#[test]
fn a_reorg_takes_back_what_happened_in_the_blocks() {
    let mut core = Core::new();
    core.send(&core.transfer(1)).unwrap();
    let root = core.chain.state().root();
    let logger = core.deploy(0, &LOGGER);
    let call = Draft {
        to: logger.into(),
        value: U256::ZERO,
        input: B256::repeat_byte(1).into(),
        gas_limit: 100_000,
        ..core.transfer(0)
    };
    core.send(&call).unwrap();
    core.execute(Command::Reorg(Reorg { depth: 2, drop: true, blocks: Some(0) })).unwrap();
    assert_eq!(core.chain.state().root(), root);
    assert!(core.chain.state().code(logger).is_empty());
}

#[test]
fn a_reorg_goes_back_as_far_as_states_are_kept() {
    let mut core = Core::new();
    core.execute(Command::Mine { blocks: STATES_KEPT + 10, spacing: None }).unwrap();
    let oldest = core.chain.oldest_state();
    assert_eq!(oldest, 11);
    assert!(core.chain.state_at(oldest).is_ok());
    assert_eq!(core.chain.state_at(oldest - 1).err(), Some(Refusal::StateNotKept { block: oldest - 1, oldest }));
    let too_deep = Reorg { depth: STATES_KEPT, ..Reorg::default() };
    let refused = Refusal::ReorgTooDeep { depth: STATES_KEPT, oldest };
    assert_eq!(core.execute(Command::Reorg(too_deep)), Err(refused));
    core.execute(Command::Reorg(Reorg { depth: STATES_KEPT - 1, ..Reorg::default() })).unwrap();
    assert_eq!(core.chain.head().number(), STATES_KEPT + 10);
}

#[test]
fn a_snapshot_brings_everything_back_once() {
    let (mut core, _) = five();
    core.execute(Command::IncreaseTime(100)).unwrap();
    core.execute(Command::SetAutomine(false)).unwrap();
    let waiting = core.send(&core.transfer(7)).unwrap();
    let (head, time) = (core.chain.head().hash, core.chain.time);
    let Ok(Reply::Number(first)) = core.execute(Command::Snapshot) else { panic!("no id") };
    core.execute(Command::IncreaseTime(100)).unwrap();
    core.execute(Command::Mine { blocks: 3, spacing: None }).unwrap();
    let Ok(Reply::Number(second)) = core.execute(Command::Snapshot) else { panic!("no id") };
    assert!(second > first);

    assert_eq!(core.execute(Command::Restore(first)), Ok(Reply::Found(true)));
    assert_eq!((core.chain.head().hash, core.chain.time), (head, time));
    assert!(!core.chain.automine && core.chain.pool.get(&waiting).is_some());
    assert_eq!(core.execute(Command::Restore(first)), Ok(Reply::Found(false)), "it is used up");
    assert_eq!(core.execute(Command::Restore(second)), Ok(Reply::Found(false)), "and so are later ones");
    let Ok(Reply::Number(third)) = core.execute(Command::Snapshot) else { panic!("no id") };
    assert!(third > second, "ids are not used twice");
}

#[test]
fn blocks_after_a_restored_snapshot_are_new_blocks() {
    let (mut core, _) = five();
    let Ok(Reply::Number(id)) = core.execute(Command::Snapshot) else { panic!("no id") };
    let first = core.send(&core.transfer(0)).map(|_| core.chain.head().hash).unwrap();
    core.execute(Command::Restore(id)).unwrap();
    let second = core.send(&core.transfer(0)).map(|_| core.chain.head().hash).unwrap();
    assert_ne!(first, second);
}

#[test]
fn so_many_snapshots_and_no_more() {
    let mut core = Core::new();
    for _ in 0..SNAPSHOTS_MAX {
        core.execute(Command::Snapshot).unwrap();
    }
    let refused = Refusal::TooMany { what: "snapshots", limit: SNAPSHOTS_MAX };
    assert_eq!(core.execute(Command::Snapshot), Err(refused));
}
