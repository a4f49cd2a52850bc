//! Every role is killed while an order is under way, and started again: the order completes once and the sums hold.

mod grid;

use std::time::Duration;

use grid::{Grid, Victim};
use gristmill_proto::app::{AppFile, Target};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::JobId;
use gristmill_proto::job::JobSpec;
use gristmill_proto::view::{JobState, JobView};

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

/// Its slots are free again, and it is given work, as soon as it is greeted.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_goes_on_as_soon_as_it_is_back() {
    let mut grid = Grid::start();
    let order = grid.order("1LoVEab").record.order.unwrap();
    grid.wait_for_job(order, "work to begin", |job| job.tasks.running > 0).await;
    for restarts in 1..=3 {
        grid.restart_worker(0);
        let back = std::time::Instant::now();
        while grid.log("worker-0").matches("attempt starts").count() <= restarts {
            assert!(back.elapsed() < Duration::from_secs(3), "no work since {:?}", back.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// An output file is handed in though the pool that gave the lease has restarted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_is_killed_before_an_output_is_handed_in() {
    let mut grid = Grid::bare();
    grid.start_worker();
    let order = grid.order(PATTERN).record;
    let args = ["unit", "--params", &hex::encode(&order.params), "--order", &format!("{:x}", order.order.unwrap())];
    let rest = ["--worker", "{worker}", "--unit", "{task}", "--length", "60000000", "--threads", "1"];
    let some_hashes = format!("{}00{}", "00".repeat(20), "ff".repeat(19));
    let shares = ["--shares", &some_hashes, "--shares-out", "/out/shares"];
    let all = args.iter().chain(&rest).chain(&shares);
    let spec =
        JobSpec { args: all.map(|arg| (*arg).to_owned()).collect(), ..JobSpec::new(grid.deployment.offer.plan.app) };
    let job = grid.pool().submit(&spec).await.unwrap().id;
    let view = async |grid: &Grid| grid.pool().job(job).await.unwrap();
    let started = std::time::Instant::now();
    while view(&grid).await.progress.done == 0 {
        assert!(started.elapsed() < grid::PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    grid.restart_scheduler();
    while !view(&grid).await.state.is_final() {
        assert!(started.elapsed() < grid::PATIENCE, "{}", grid.log("worker-0"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let view = view(&grid).await;
    assert_eq!(view.state, JobState::Done, "{:?}", view.reason);
    assert_eq!(view.results[0].files[0].path, "shares");
    assert!(view.results[0].files[0].size > 0);
}

/// The vanity app, with so much beside it that fetching it takes a while.
async fn publish_large_app(grid: &Grid) -> Digest {
    let ballast = vec![7; 128 << 20];
    let mut manifest = gristmill::embedded::vanity_manifest();
    let file =
        AppFile { path: "ballast".into(), digest: Digest::of(&ballast), size: ballast.len() as u64, executable: false };
    let Target::Process(target) = &mut manifest.targets[0] else { panic!("a native program") };
    target.files.push(file.clone());
    grid.pool().publish(&manifest, &[(&file.digest, ballast)]).await.unwrap()
}

fn quick_job(app: Digest) -> JobSpec {
    JobSpec { args: ["difficulty", "1Love"].map(str::to_owned).to_vec(), retries: 0, ..JobSpec::new(app) }
}

async fn until(grid: &Grid, job: JobId, patience: Duration, ready: impl Fn(&JobView) -> bool) -> JobView {
    let started = std::time::Instant::now();
    loop {
        let view = grid.pool().job(job).await.unwrap();
        if ready(&view) {
            return view;
        }
        assert!(started.elapsed() < patience, "{:?}\n{}", view.tasks, grid.log("worker-0"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A pool that goes away while a worker fetches from it is no fault of the worker.
#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_is_killed_while_an_app_is_fetched() {
    let mut grid = Grid::bare();
    let app = publish_large_app(&grid).await;
    grid.start_worker();
    let job = grid.pool().submit(&quick_job(app)).await.unwrap().id;
    until(&grid, job, grid::PATIENCE, |view| view.tasks.running > 0).await;
    grid.restart_scheduler();
    let view = until(&grid, job, grid::PATIENCE, |view| view.state.is_final()).await;
    assert_eq!(view.state, JobState::Done, "{:?}", view.reason);
}

/// A worker that comes back with an attempt nobody wants any more, and is still ending it, takes new work.
#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_is_killed_while_an_attempt_is_cancelled() {
    let mut grid = Grid::bare();
    let large = publish_large_app(&grid).await;
    grid.start_worker();
    let unwanted = grid.pool().submit(&quick_job(large)).await.unwrap().id;
    until(&grid, unwanted, grid::PATIENCE, |view| view.tasks.running > 0).await;
    grid.pool().cancel(unwanted).await.unwrap();
    let wanted = grid.pool().submit(&quick_job(grid.deployment.offer.plan.app)).await.unwrap().id;
    grid.restart_scheduler();
    let view = until(&grid, wanted, Duration::from_secs(20), |view| view.state.is_final()).await;
    assert_eq!(view.state, JobState::Done, "{:?}", view.reason);
}

/// One long storm: roles are killed one after the other at moments drawn from a seed, over several orders.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the seed is wanted when it fails")]
async fn everything_is_killed_at_random() {
    let seed = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs())
    });
    println!("replay with GRISTMILL_SEED={seed}");
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
        let settlement = grid.until_settled(order).await;
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
