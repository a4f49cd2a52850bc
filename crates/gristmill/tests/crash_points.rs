//! Each role dies at its first flush to disk while an order is under way, then at its second, and so on until it has
//! none left: at whichever durable step it stops, the order completes once and the sums hold.
//!
//! `strace` kills the process as it enters the system call, so neither the program nor the test needs to know where
//! the steps are.

mod grid;

use std::time::{Duration, Instant};

use grid::{Grid, PATIENCE, Victim};
use gristmill::vanity_order::{Ending, ending};

/// More flushes than any role makes for one order.
const POINTS_MAX: u64 = 100;

/// Whether the role lived long enough to make its `point`th flush.
async fn dies_at(victim: Victim, point: u64) -> bool {
    let mut grid = Grid::bare();
    let order = grid.order("1a");
    grid.crash_at(victim, point);
    for role in [Victim::Oracle, Victim::Worker] {
        if victim != role {
            grid.restart(role);
        }
    }
    let started = Instant::now();
    let mut died = false;
    let settlement = loop {
        if !died && !grid.is_running(victim) {
            died = true;
            grid.restart(victim);
        }
        match ending(&grid.rpc(), &order.record).await {
            // What the settlement still sets off belongs to the story, too.
            Ok(Some(Ending::Settled(settlement))) if grid.log("oracle").contains("transaction confirmed") => {
                break settlement;
            }
            Ok(Some(Ending::Refunded { .. })) => panic!("the order was refunded"),
            Ok(Some(Ending::Settled(_)) | None) | Err(_) => {}
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{victim:?} at flush {point}: no end\n== oracle\n{}\n== scheduler\n{}\n== worker\n{}",
            grid.log("oracle"),
            grid.log("scheduler"),
            grid.log("worker-0")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    order.finish(&settlement).expect("the result is good");
    if !died && !grid.is_running(victim) {
        died = true;
        grid.restart(victim);
    }
    grid.check_money(&[&order], &[]).await;
    died
}

/// Commits that happen together are flushed together, so the number of flushes varies from run to run: only several
/// points in a row that are not reached mean that there are no more.
async fn every_point(victim: Victim, deaths_min: u64) {
    let (mut deaths, mut missed) = (0, 0);
    for point in 1.. {
        assert!(point < POINTS_MAX);
        if dies_at(victim, point).await {
            (deaths, missed) = (deaths + 1, 0);
        } else {
            missed += 1;
        }
        if missed == 3 {
            break;
        }
    }
    assert!(deaths >= deaths_min, "{victim:?} died at {deaths} flushes only");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain() {
    every_point(Victim::Chain, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler() {
    every_point(Victim::Scheduler, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle() {
    every_point(Victim::Oracle, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker() {
    every_point(Victim::Worker, 1).await;
}
