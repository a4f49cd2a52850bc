//! History is rewritten under the oracle's feet. What an order paid for happens once, or not at all if the order is
//! gone.

mod grid;

use std::time::{Duration, Instant};

use alloy::providers::Provider as _;
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use grid::{Grid, PATIENCE};
use gristmill_chain::contracts::Market;
use serde_json::json;

/// A grid whose oracle waits for blocks on top of an order before it settles.
fn patient_grid() -> Grid {
    let mut grid = Grid::bare();
    grid.settle_confirmations = 3;
    grid.start_oracle();
    grid.start_worker();
    grid
}

async fn reorganise(grid: &Grid, depth: u64, drop: bool) {
    let rpc = grid.rpc();
    let params = json!([depth, { "drop": drop }]);
    rpc.provider().raw_request::<_, serde_json::Value>("dev_reorg".into(), params).await.expect("the chain obeys");
}

async fn mine(grid: &Grid, blocks: u64) {
    let mined = grid.rpc().provider().raw_request::<_, serde_json::Value>("anvil_mine".into(), json!([blocks])).await;
    mined.expect("the chain obeys");
}

async fn pool_nonce(grid: &Grid) -> u64 {
    grid.rpc().provider().get_transaction_count(grid.deployment.offer.pool).await.expect("the chain answers")
}

async fn settlements(grid: &Grid) -> usize {
    let filter = Filter::new().address(grid.deployment.market).event_signature(Market::Settled::SIGNATURE_HASH);
    grid.rpc().logs(&filter.from_block(0)).await.expect("the chain answers").len()
}

fn until_logged(grid: &Grid, role: &str, words: &str) {
    let started = Instant::now();
    while !grid.log(role).contains(words) {
        assert!(started.elapsed() < PATIENCE, "`{words}` never came\n{}", grid.log(role));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_dropped_is_never_settled() {
    let grid = patient_grid();
    let nonce = pool_nonce(&grid).await;
    let order = grid.order("1Lo");
    until_logged(&grid, "oracle", "job submitted");
    reorganise(&grid, 1, true).await;
    until_logged(&grid, "oracle", "reorganised");
    until_logged(&grid, "oracle", "answer judged");
    // Another order shows that the oracle has looked at everything since.
    let other = grid.order("1a");
    mine(&grid, 10).await;
    grid.until_settled(&other).await;
    assert!(gristmill::vanity_order::ending(&grid.rpc(), &order.record).await.unwrap().is_none());
    assert_eq!(settlements(&grid).await, 1);
    assert_eq!(pool_nonce(&grid).await, nonce + 1, "nothing else was sent");
    assert!(!grid.log("oracle").contains("refuses"), "the oracle did not even try\n{}", grid.log("oracle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_included_again_is_settled_once() {
    let grid = patient_grid();
    let order = grid.order("1Lo");
    until_logged(&grid, "oracle", "job submitted");
    reorganise(&grid, 1, false).await;
    until_logged(&grid, "oracle", "reorganised");
    mine(&grid, 3).await;
    let settlement = grid.until_settled(&order).await;
    order.finish(&settlement).expect("the result is good");
    grid.check_money(&[&order], &[]).await;
}

/// The order comes back only after a while, in a later block.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_back_late_is_settled_once() {
    let grid = patient_grid();
    let order = grid.order("1Lo");
    let hash = order.record.transaction.expect("a paid order");
    let signed = grid.rpc().provider().get_raw_transaction_by_hash(hash).await.unwrap().expect("it was mined");
    until_logged(&grid, "oracle", "job submitted");
    reorganise(&grid, 1, true).await;
    until_logged(&grid, "oracle", "answer judged");
    mine(&grid, 2).await;
    let again = grid.rpc().provider().send_raw_transaction(&signed).await.expect("the same bytes are still good");
    assert_eq!(*again.tx_hash(), hash);
    mine(&grid, 3).await;
    let settlement = grid.until_settled(&order).await;
    order.finish(&settlement).expect("the result is good");
    grid.check_money(&[&order], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_is_dropped_is_sent_again() {
    for (depth, drop) in [(1, true), (2, false), (1, false)] {
        let grid = Grid::start();
        let order = grid.order("1a");
        grid.until_settled(&order).await;
        until_logged(&grid, "oracle", "settled");
        reorganise(&grid, depth, drop).await;
        until_logged(&grid, "oracle", "reorganised");
        // The outbox looks at its transactions when blocks come.
        mine(&grid, 2).await;
        let settlement = grid.until_settled(&order).await;
        order.finish(&settlement).expect("the result is good");
        grid.check_money(&[&order], &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_gone_for_a_while_is_waited_for() {
    let mut grid = Grid::bare();
    grid.start_oracle();
    let order = grid.order("1Lo");
    until_logged(&grid, "oracle", "job submitted");
    grid.kill_chain();
    grid.start_worker();
    let started = Instant::now();
    while grid.log("oracle").matches("the verifier cannot be asked").count() < 2 {
        assert!(started.elapsed() < PATIENCE, "the outage is not noticed\n{}", grid.log("oracle"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    grid.restart_chain();
    let settlement = grid.until_settled(&order).await;
    order.finish(&settlement).expect("the result is good");
    grid.check_money(&[&order], &[]).await;
}
