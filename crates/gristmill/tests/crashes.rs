//! Every role is killed while an order is under way, and started again: the order completes once and the sums hold.

mod grid;

use std::time::Duration;

use grid::{Grid, Victim};

/// Takes some seconds on one slot, so that kills land in the middle.
const PATTERN: &str = "1QLbz";

const VICTIMS: [Victim; 4] = [Victim::Chain, Victim::Scheduler, Victim::Oracle, Victim::Worker];

async fn survives(victim: Victim) {
    let mut grid = Grid::start();
    let order = grid.order(PATTERN);
    grid.wait_for_job(order.record.order.unwrap(), "work to begin", |job| job.tasks.running > 0).await;
    grid.restart(victim);
    let settlement = grid.until_settled(&order).await;
    order.finish(&settlement).expect("the result is good");
    grid.check_money(&[&order], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_is_killed() {
    survives(Victim::Chain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_is_killed() {
    survives(Victim::Scheduler).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_is_killed() {
    survives(Victim::Oracle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_is_killed() {
    survives(Victim::Worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_takes_over_from_one_that_vanished() {
    let mut grid = Grid::start();
    let order = grid.order(PATTERN);
    grid.wait_for_job(order.record.order.unwrap(), "work to begin", |job| job.tasks.running > 0).await;
    grid.start_worker();
    grid.kill_worker(0);
    grid.until_settled(&order).await;
    grid.check_money(&[&order], &[]).await;
}

/// One long storm: roles are killed one after the other at moments drawn from a seed, over several orders.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_killed_at_random() {
    let seed = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs())
    });
    let mut random = split_mix(seed);
    let mut grid = Grid::start();
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(grid.order("1Lov"));
        for _ in 0..4 {
            let victim = VICTIMS[usize::try_from(random() % 4).unwrap()];
            tokio::time::sleep(Duration::from_millis(random() % 400)).await;
            grid.restart(victim);
        }
    }
    for order in &orders {
        let settlement = tokio::time::timeout(grid::PATIENCE, grid.until_settled(order)).await;
        let settlement = settlement.unwrap_or_else(|_| panic!("seed {seed}: an order was not settled"));
        order.finish(&settlement).expect("the result is good");
    }
    grid.check_money(&orders.iter().collect::<Vec<_>>(), &[]).await;
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for moments and victims.
fn split_mix(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
