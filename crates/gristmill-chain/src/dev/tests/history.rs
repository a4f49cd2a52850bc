//! Random histories: whatever is asked of the chain, its invariants hold, money is neither made nor lost, and reading the
//! journal gives the same chain again.

use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use proptest::prelude::*;

use super::{Core, Draft, LOGGER, check_money, fingerprint};
use crate::dev::command::{Command, Reorg};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Send { from: usize, ahead: u64, what: What, tip: u128 },
    Mine(u64),
    Automine(bool),
    IncreaseTime(u64),
    NextTimestamp(u64),
    NextBaseFee(u64),
    Wait(u64),
    Reorg(Reorg),
    Snapshot,
    Restore(u64),
    DropFirst,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Transfer(u64),
    Deploy,
    Call(u8),
    Revert,
    OutOfGas,
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        (0u64..1_000).prop_map(What::Transfer),
        Just(What::Deploy),
        any::<u8>().prop_map(What::Call),
        Just(What::Revert),
        Just(What::OutOfGas),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..4, 0u64..3, what(), 0u128..5_000).prop_map(|(from, ahead, what, tip)| Step::Send { from, ahead, what, tip }),
        2 => (0u64..4).prop_map(Step::Mine),
        1 => any::<bool>().prop_map(Step::Automine),
        1 => (0u64..10_000).prop_map(Step::IncreaseTime),
        1 => (0u64..10_000).prop_map(Step::NextTimestamp),
        1 => (1u64..2_000_000_000).prop_map(Step::NextBaseFee),
        1 => (0u64..100).prop_map(Step::Wait),
        2 => (0u64..6, any::<bool>(), prop::option::of(0u64..6))
            .prop_map(|(depth, drop, blocks)| Step::Reorg(Reorg { depth, drop, blocks })),
        1 => Just(Step::Snapshot),
        1 => (0u64..5).prop_map(Step::Restore),
        1 => Just(Step::DropFirst),
    ]
}

pub(super) fn take(core: &mut Core, logger: Address, step: Step) {
    let command = match step {
        Step::Send { from, ahead, what, tip } => {
            let draft = core.transfer(from);
            let draft = Draft { nonce: draft.nonce + ahead, tip, gas_limit: 200_000, value: U256::ZERO, ..draft };
            let draft = match what {
                What::Transfer(value) => Draft { value: U256::from(value), ..draft },
                What::Deploy => Draft { to: TxKind::Create, input: LOGGER, ..draft },
                What::Call(word) => Draft { to: logger.into(), input: B256::repeat_byte(word).into(), ..draft },
                What::Revert => Draft { to: logger.into(), input: Bytes::new(), ..draft },
                What::OutOfGas => Draft { to: logger.into(), input: B256::ZERO.into(), gas_limit: 23_000, ..draft },
            };
            Command::Send(core.sign(&draft))
        }
        Step::Mine(blocks) => Command::Mine { blocks, spacing: None },
        Step::Automine(on) => Command::SetAutomine(on),
        Step::IncreaseTime(seconds) => Command::IncreaseTime(seconds),
        Step::NextTimestamp(ahead) => Command::SetNextTimestamp(core.chain.head().header.timestamp + ahead),
        Step::NextBaseFee(fee) => Command::SetNextBaseFee(fee),
        Step::Wait(seconds) => {
            core.now += seconds;
            return;
        }
        Step::Reorg(reorg) => Command::Reorg(reorg),
        Step::Snapshot => Command::Snapshot,
        Step::Restore(id) => Command::Restore(id),
        Step::DropFirst => match core.chain.pool.iter().next() {
            Some(tx) => Command::DropTransaction(tx.hash),
            None => return,
        },
    };
    // Many are refused, and should be.
    let _ = core.execute(command);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_sound_and_can_be_read_back(steps in prop::collection::vec(step(), 1..60)) {
        let mut core = Core::new();
        let logger = core.deploy(9, &LOGGER);
        for step in steps {
            take(&mut core, logger, step);
            check_money(&core.chain);
        }
        prop_assert_eq!(fingerprint(&core.reopened()), fingerprint(&core.chain));
    }
}
