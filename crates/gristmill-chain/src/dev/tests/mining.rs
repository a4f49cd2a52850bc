//! Blocks: what is in them, when, and for how much.

use alloy::{
    consensus::{
        Header,
        proofs::{calculate_receipt_root, calculate_transaction_root},
    },
    primitives::{Address, B256, Bloom, BloomInput, Bytes, TxKind, U256},
};

use super::{BASE_FEE, Core, Draft, GAS_LIMIT, LOGGER, check_money};
use crate::dev::{command::Command, refusal::Refusal};

#[test]
fn each_transaction_gets_a_block_of_its_own() {
    let mut core = Core::new();
    for count in 1..=5 {
        let hash = core.send(&core.transfer(0)).unwrap();
        assert_eq!(core.chain.head().number(), count);
        assert_eq!(core.chain.head().transactions[0].tx.hash, hash);
    }
    check_money(&core.chain);
}

#[test]
fn a_header_commits_to_what_its_block_holds() {
    let mut core = Core::new();
    let logger = core.deploy(0, &LOGGER);
    core.execute(Command::SetAutomine(false)).unwrap();
    let topic = B256::repeat_byte(0xab);
    for from in 0..3 {
        let call = Draft {
            to: logger.into(),
            value: U256::ZERO,
            input: topic.into(),
            gas_limit: 100_000,
            ..core.transfer(from)
        };
        core.send(&call).unwrap();
    }
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();

    let block = core.chain.head();
    assert_eq!(block.transactions.len(), 3);
    let envelopes: Vec<_> = block.transactions.iter().map(|mined| mined.tx.envelope.as_ref()).collect();
    let receipts: Vec<_> = block.transactions.iter().map(|mined| &mined.receipt).collect();
    let Header { transactions_root, receipts_root, logs_bloom, state_root, .. } = block.header;
    assert_eq!(transactions_root, calculate_transaction_root(&envelopes));
    assert_eq!(receipts_root, calculate_receipt_root(&receipts));
    assert_eq!(state_root, core.chain.state().root());
    let mut expected = Bloom::ZERO;
    expected.accrue(BloomInput::Raw(logger.as_slice()));
    expected.accrue(BloomInput::Raw(topic.as_slice()));
    assert_eq!(logs_bloom, expected);
    let log_indices: Vec<_> = block.logs().map(|(_, tx, log, _)| (tx, log)).collect();
    assert_eq!(log_indices, [(0, 0), (1, 1), (2, 2)]);
    assert_eq!(
        core.chain.state().slot(logger, topic.into()),
        U256::from_be_bytes(core.address(receipts.len() - 1).into_word().0)
    );
}

#[test]
fn a_failed_transaction_pays_and_leaves_nothing_else() {
    let mut core = Core::new();
    let logger = core.deploy(0, &LOGGER);
    let before = core.chain.state().balance(core.address(1));
    let reverting = Draft { to: logger.into(), value: U256::ZERO, gas_limit: 50_000, ..core.transfer(1) };
    core.send(&reverting).unwrap();
    let mined = &core.chain.head().transactions[0];
    assert!(!mined.receipt.status());
    assert!(mined.gas_used < 50_000, "a revert gives the rest back");
    let paid = U256::from(mined.gas_used) * U256::from(mined.effective_gas_price(core.chain.head().base_fee()));
    assert_eq!(core.chain.state().balance(core.address(1)), before - paid);

    let halting = Draft { input: Bytes::from(vec![1; 32]), gas_limit: 22_600, ..core.transfer(1) };
    core.send(&Draft { to: logger.into(), value: U256::ZERO, ..halting }).unwrap();
    let mined = &core.chain.head().transactions[0];
    assert!(!mined.receipt.status());
    assert_eq!(mined.gas_used, 22_600, "running out of gas takes all of it");
    assert!(mined.receipt.logs().is_empty());
    check_money(&core.chain);
}

#[test]
fn an_empty_message_to_nobody_makes_no_account() {
    let mut core = Core::new();
    let nobody = Address::repeat_byte(5);
    core.send(&Draft { to: nobody.into(), value: U256::ZERO, ..core.transfer(0) }).unwrap();
    assert!(core.chain.state().account(nobody).is_none());
}

#[test]
fn a_contract_that_ends_while_it_is_made_leaves_no_account() {
    let mut core = Core::new();
    let made = core.address(0).create(1);
    core.send(&Draft { to: made.into(), ..core.transfer(0) }).unwrap();
    assert!(core.chain.state().account(made).is_some());
    // CALLER SELFDESTRUCT
    let ending = Draft { to: TxKind::Create, input: vec![0x33, 0xff].into(), gas_limit: 100_000, ..core.transfer(0) };
    core.send(&ending).unwrap();
    assert!(core.chain.head().transactions[0].receipt.status());
    assert!(core.chain.state().account(made).is_none());
    check_money(&core.chain);
}

#[test]
fn timestamps_follow_the_clock_and_always_grow() {
    let mut core = Core::new();
    let stamp = |core: &mut Core, step: u64| {
        core.now += step;
        core.send(&core.transfer(0)).unwrap();
        core.chain.head().header.timestamp
    };
    let start = core.now;
    assert_eq!(stamp(&mut core, 100), start + 100);
    assert_eq!(stamp(&mut core, 0), start + 101, "two blocks in one second");
    assert_eq!(stamp(&mut core, 0), start + 102);
    assert_eq!(stamp(&mut core, 50), start + 150, "the clock catches up");

    core.execute(Command::IncreaseTime(3_600)).unwrap();
    assert_eq!(stamp(&mut core, 0), start + 3_750);
    assert_eq!(stamp(&mut core, 10), start + 3_760);

    core.execute(Command::SetNextTimestamp(start + 10_000)).unwrap();
    assert_eq!(stamp(&mut core, 0), start + 10_000);
    assert_eq!(stamp(&mut core, 7), start + 10_007, "time goes on from what was set");

    let head = start + 10_007;
    for timestamp in [0, start, head] {
        let refused = Err(Refusal::TimestampNotAfterHead { timestamp, head });
        assert_eq!(core.execute(Command::SetNextTimestamp(timestamp)), refused);
        assert_eq!(core.execute(Command::SetTime(timestamp)), refused);
    }
    core.execute(Command::SetTime(start + 20_000)).unwrap();
    assert_eq!(stamp(&mut core, 1), start + 20_001);
}

#[test]
fn a_wall_clock_that_jumps_back_does_not_stop_the_chain() {
    let mut core = Core::new();
    core.send(&core.transfer(0)).unwrap();
    let before = core.chain.head().header.timestamp;
    core.now = 0;
    core.send(&core.transfer(0)).unwrap();
    assert_eq!(core.chain.head().header.timestamp, before + 1);
}

#[test]
fn the_base_fee_follows_demand() {
    let mut core = Core::new();
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert_eq!(core.chain.head().base_fee(), BASE_FEE * 7 / 8, "an empty block lowers it by an eighth");
    core.execute(Command::SetNextBaseFee(BASE_FEE)).unwrap();

    // Burns all of its gas: a jump to nowhere.
    core.execute(Command::SetAutomine(false)).unwrap();
    let burner = Draft { to: TxKind::Create, input: vec![0xfe].into(), gas_limit: GAS_LIMIT, ..core.transfer(0) };
    core.send(&Draft { value: U256::ZERO, ..burner }).unwrap();
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert_eq!(core.chain.head().base_fee(), BASE_FEE);
    assert_eq!(core.chain.head().header.gas_used, GAS_LIMIT);
    assert_eq!(core.chain.base_fee_next(), BASE_FEE * 9 / 8, "a full one raises it by an eighth");
    check_money(&core.chain);
}

#[test]
fn the_last_256_hashes_can_be_read() {
    let mut core = Core::new();
    core.execute(Command::Mine { blocks: 300, spacing: None }).unwrap();
    let hashes = core.chain.recent_hashes(301);
    let expected = |number: u64| core.chain.block(number).unwrap().hash;
    assert_eq!([hashes(300), hashes(45)], [expected(300), expected(45)]);
    assert_eq!([hashes(44), hashes(301), hashes(302)], [B256::ZERO; 3]);
}

#[test]
fn several_blocks_at_once_are_spaced() {
    let mut core = Core::new();
    core.execute(Command::Mine { blocks: 3, spacing: Some(60) }).unwrap();
    let stamps: Vec<_> = (1..=3).map(|number| core.chain.block(number).unwrap().header.timestamp).collect();
    assert_eq!(stamps, [core.now + 1, core.now + 61, core.now + 121]);
}

#[test]
fn a_block_takes_the_dearest_first_and_keeps_the_order_of_nonces() {
    let mut core = Core::new();
    core.execute(Command::SetAutomine(false)).unwrap();
    let cheap = core.send(&Draft { tip: 1, ..core.transfer(0) }).unwrap();
    let after_cheap = core.send(&Draft { tip: 900, ..core.transfer(0) }).unwrap();
    let middle = core.send(&Draft { tip: 500, ..core.transfer(1) }).unwrap();
    let dear = core.send(&Draft { tip: 800, ..core.transfer(2) }).unwrap();
    let dear_too = core.send(&Draft { tip: 800, ..core.transfer(3) }).unwrap();
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    let order: Vec<_> = core.chain.head().transactions.iter().map(|mined| mined.tx.hash).collect();
    assert_eq!(order, [dear, dear_too, middle, cheap, after_cheap]);
}

#[test]
fn what_does_not_fit_waits_for_the_next_block() {
    let mut core = Core::new();
    core.execute(Command::SetAutomine(false)).unwrap();
    let large = Draft { gas_limit: GAS_LIMIT - 21_000, input: Bytes::new(), ..core.transfer(0) };
    let first = core.send(&large).unwrap();
    let second = core.send(&Draft { gas_limit: GAS_LIMIT, tip: 1, ..core.transfer(1) }).unwrap();
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert!(core.mined(first) && !core.mined(second));
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert!(core.mined(second));
}
