//! What is accepted, what is refused, what waits.

use alloy::primitives::{Address, Bytes, TxKind, U256};

use super::{BASE_FEE, Core, Draft, GAS_LIMIT, check_money};
use crate::dev::{
    command::{Command, Reply},
    pool::{NONCES_AHEAD_MAX, WAITING_MAX},
    refusal::Refusal,
};

#[test]
fn transactions_behind_a_gap_wait_until_it_is_filled() {
    let mut core = Core::new();
    let draft = core.transfer(0);
    let later: Vec<_> = [3, 1, 2].map(|nonce| core.send(&Draft { nonce, ..draft.clone() }).unwrap()).into();
    assert_eq!(core.chain.head().number(), 0);
    assert_eq!(core.chain.pool.status(core.chain.state()), (0, 3));
    assert_eq!(core.chain.pool.next_nonce(core.address(0), core.chain.state()), 0);
    core.send(&draft).unwrap();
    assert_eq!(core.chain.head().number(), 4);
    assert!(later.iter().all(|hash| core.mined(*hash)));
    assert_eq!(core.chain.pool.len(), 0);
    check_money(&core.chain);
}

#[test]
fn a_nonce_may_run_ahead_so_far_and_no_further() {
    let mut core = Core::new();
    let draft = core.transfer(0);
    core.send(&Draft { nonce: NONCES_AHEAD_MAX, ..draft.clone() }).unwrap();
    let nonce = NONCES_AHEAD_MAX + 1;
    let refused = Refusal::NonceTooHigh { next: 0, nonce, ahead_max: NONCES_AHEAD_MAX };
    assert_eq!(core.send(&Draft { nonce, ..draft }), Err(refused));
}

#[test]
fn so_many_wait_and_no_more() {
    let mut core = Core::new();
    core.execute(Command::SetAutomine(false)).unwrap();
    let mut sent = 0;
    'full: for from in 0..10 {
        for nonce in 0..NONCES_AHEAD_MAX {
            if sent == WAITING_MAX {
                break 'full;
            }
            // The invariants are checked once below: checking them each time would take minutes.
            let tx = core.sign(&Draft { nonce, ..core.transfer(from) });
            core.chain.execute(Command::Send(tx), core.now, &mut core.changes).unwrap();
            sent += 1;
        }
    }
    assert_eq!(core.send(&core.transfer(9)), Err(Refusal::PoolFull { limit: WAITING_MAX }));
    let replacement = Draft { nonce: 0, tip: 100_000, fee_cap: 100 * u128::from(BASE_FEE), ..core.transfer(0) };
    core.send(&replacement).expect("a replacement takes no room");
}

#[test]
fn a_replacement_must_raise_both_fees_by_a_tenth() {
    let mut core = Core::new();
    core.execute(Command::SetAutomine(false)).unwrap();
    let old = Draft { fee_cap: 10_000_000_000, tip: 1_000, ..core.transfer(0) };
    let old_hash = core.send(&old).unwrap();
    assert_eq!(core.send(&old), Err(Refusal::AlreadyKnown));
    for (fee_cap, tip) in
        [(10_999_999_999, 1_100), (11_000_000_000, 1_099), (10_000_000_000, 1_000), (20_000_000_000, 1_000)]
    {
        let refused = core.send(&Draft { fee_cap, tip, value: U256::from(2), ..old.clone() });
        assert_eq!(refused, Err(Refusal::ReplacementUnderpriced), "{fee_cap} {tip}");
    }
    let new_hash = core.send(&Draft { fee_cap: 11_000_000_000, tip: 1_100, ..old }).unwrap();
    assert!(core.chain.pool.get(&old_hash).is_none() && core.chain.pool.get(&new_hash).is_some());
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert!(core.mined(new_hash) && !core.mined(old_hash));
}

#[test]
fn switching_mining_on_mines_what_is_ready() {
    let mut core = Core::new();
    core.execute(Command::SetAutomine(false)).unwrap();
    let hashes: Vec<_> = (0..3).map(|_| core.send(&core.transfer(0)).unwrap()).collect();
    core.execute(Command::SetAutomine(true)).unwrap();
    assert!(hashes.iter().all(|hash| core.mined(*hash)));
}

#[test]
fn a_waiting_transaction_can_be_dropped() {
    let mut core = Core::new();
    core.execute(Command::SetAutomine(false)).unwrap();
    let hash = core.send(&core.transfer(0)).unwrap();
    assert_eq!(core.execute(Command::DropTransaction(hash)), Ok(Reply::Found(true)));
    assert_eq!(core.execute(Command::DropTransaction(hash)), Ok(Reply::Found(false)));
    assert_eq!(core.chain.pool.len(), 0);
}

#[test]
fn one_that_cannot_pay_the_base_fee_waits_only_while_mining_is_off() {
    let mut core = Core::new();
    let base_fee = core.chain.base_fee_next();
    let poor = Draft { fee_cap: u128::from(base_fee) - 1, tip: 0, ..core.transfer(0) };
    let refused = Refusal::FeeCapTooLow { address: core.address(0), cap: poor.fee_cap, base_fee };
    assert_eq!(core.send(&poor), Err(refused));
    core.execute(Command::SetAutomine(false)).unwrap();
    let hash = core.send(&poor).unwrap();
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert!(!core.mined(hash));
    // The empty block lowered the base fee.
    core.execute(Command::Mine { blocks: 1, spacing: None }).unwrap();
    assert!(core.mined(hash));
}

#[test]
fn refusals_say_what_other_nodes_say() {
    let mut core = Core::new();
    core.send(&core.transfer(0)).unwrap();
    let good = core.transfer(0);
    let balance = core.chain.state().balance(core.address(0));
    let cases = [
        (Draft { nonce: 0, value: U256::from(2), ..good.clone() }, "nonce too low: next nonce 1, tx nonce 0"),
        (Draft { gas_limit: 20_999, ..good.clone() }, "intrinsic gas too low: gas 20999, minimum needed 21000"),
        (
            Draft { gas_limit: GAS_LIMIT + 1, ..good.clone() },
            "exceeds block gas limit: limit 30000000, tx gas 30000001",
        ),
        (
            Draft { tip: good.fee_cap + 1, ..good.clone() },
            "max priority fee per gas higher than max fee per gas: tip 10000000001, cap 10000000000",
        ),
        (
            Draft { value: balance, ..good.clone() },
            "insufficient funds for gas * price + value: address 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 have ",
        ),
        (Draft { value: U256::MAX, ..good.clone() }, "insufficient funds for gas * price + value"),
        (
            Draft { to: TxKind::Create, input: Bytes::from(vec![0; 49_153]), gas_limit: GAS_LIMIT, ..good.clone() },
            "max initcode size exceeded: code size 49153, limit 49152",
        ),
        // 10 tokens a byte: EIP-7623.
        (
            Draft { input: Bytes::from(vec![1; 1_000]), gas_limit: 60_999, ..good },
            "intrinsic gas too low: gas 60999, minimum needed 61000",
        ),
    ];
    for (draft, expected) in cases {
        let text = core.send(&draft).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{text}\nis not\n{expected}");
    }
    core.execute(Command::SetAutomine(false)).unwrap();
    let too_large = core.send(&Draft { gas_limit: GAS_LIMIT + 1, ..core.transfer(0) });
    assert_eq!(too_large, Err(Refusal::GasAboveBlockLimit { gas: GAS_LIMIT + 1, limit: GAS_LIMIT }), "nor may it wait");
    let known = core.chain.head().transactions[0].tx.clone();
    assert_eq!(core.execute(Command::Send(known)), Err(Refusal::NonceTooLow { next: 1, nonce: 0 }), "as in geth");
    assert_eq!(core.chain.head().number(), 1, "nothing of this was mined");
}

#[test]
fn one_that_became_invalid_while_waiting_is_dropped() {
    let mut core = Core::new();
    let address = core.address(0);
    let behind_gap = core.send(&Draft { nonce: 1, ..core.transfer(0) }).unwrap();
    let cost = U256::from(21_000) * U256::from(10 * u128::from(BASE_FEE)) + U256::from(1);
    core.execute(Command::SetBalance(address, cost)).unwrap();
    core.send(&Draft { nonce: 0, ..core.transfer(0) }).unwrap();
    assert!(!core.mined(behind_gap));
    assert!(core.chain.pool.get(&behind_gap).is_none());
}

#[test]
fn a_balance_can_be_set() {
    let mut core = Core::new();
    let nobody = Address::repeat_byte(9);
    core.execute(Command::SetBalance(nobody, U256::from(5))).unwrap();
    assert_eq!(core.chain.state().balance(nobody), U256::from(5));
    core.execute(Command::SetBalance(nobody, U256::ZERO)).unwrap();
    assert_eq!(core.chain.state().balance(nobody), U256::ZERO);
    core.send(&core.transfer(0)).unwrap();
    assert_eq!(core.chain.head().header.state_root, core.chain.state().root());
}
