//! Any app, bought from a shell: offers, single orders and bags, results checked against the chain, workers paid by
//! voucher, money back where there is no result.

#![allow(clippy::large_futures, reason = "a test runs once")]

mod grid;

use std::path::Path;
use std::time::Instant;

use alloy::primitives::{Address, B256, U256};
use grid::hostile::{HostileWorker, answers};
use grid::{Grid, PATIENCE, run, text};
use gristmill::deployment::Deployment;
use gristmill_chain::batch_proof;
use gristmill_chain::contracts::{Market, RLC};
use gristmill_chain::outcome::Outcome;
use serde_json::Value;

const REQUESTER: &str = "3";

/// What a shell says to it.
trait Shell {
    fn say(&self, args: &[&str]) -> Result<Value, String>;
    fn hear(&self, args: &[&str]) -> Value {
        self.say(args).unwrap_or_else(|error| panic!("`gristmill {}`: {error}", args.join(" ")))
    }
}

impl Shell for Grid {
    fn say(&self, args: &[&str]) -> Result<Value, String> {
        let deployment = self.path("deployment.json");
        let places = ["--rpc", &self.rpc_url, "--deployment", text(&deployment), "--json"];
        let (options, rest) = args.iter().position(|arg| *arg == "--").map_or((args, &[][..]), |at| args.split_at(at));
        let output = run(&[options, &places, rest].concat());
        let stdout = String::from_utf8(output.stdout).unwrap();
        let last = stdout.lines().last().unwrap_or("null");
        let event: Value = serde_json::from_str(last).map_err(|_| stdout.clone())?;
        if output.status.success() { Ok(event) } else { Err(event.to_string()) }
    }
}

fn publish(grid: &Grid, name: &str, more: &str) -> Value {
    let file = grid.path(&format!("{name}.toml"));
    let offer = format!(
        "name = \"{name}\"\napp = \"vanity\"\nargs = [\"difficulty\", \"{{args}}\"]\nprice = \"0.3\"\nretries = 0\n{more}"
    );
    std::fs::write(&file, offer).unwrap();
    let token = grid.path("scheduler/token");
    let pool = ["--pool", &grid.pool_url, "--pool-token", text(&token), "--dev-account", "1"];
    grid.hear(&[&["offer", "publish", text(&file)], &pool[..]].concat())
}

fn place(grid: &Grid, args: &[&str]) -> B256 {
    let (options, rest) = args.iter().position(|arg| *arg == "--").map_or((args, &[][..]), |at| args.split_at(at));
    let placed = grid.hear(&[&["order", "place"], options, &["--dev-account", REQUESTER], rest].concat());
    placed["order"].as_str().unwrap().parse().unwrap()
}

async fn until(grid: &Grid, order: B256, state: &str) -> Value {
    let started = Instant::now();
    loop {
        let standing = grid.hear(&["order", "status", &order.to_string()]);
        if standing["state"] == state {
            return standing;
        }
        assert!(started.elapsed() < PATIENCE, "not {state} but {standing}\n{}", grid.log("oracle"));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn account(grid: &Grid, owner: Address) -> U256 {
    Market::new(grid.deployment.market, grid.rpc().provider()).accountOf(owner).call().await.unwrap()
}

async fn wallet(grid: &Grid, owner: Address) -> U256 {
    RLC::new(grid.deployment.token, grid.rpc().provider()).balanceOf(owner).call().await.unwrap()
}

fn requester() -> Address {
    gristmill_chain::keystore::dev_key(3, gristmill_chain::dev::CHAIN_ID).unwrap().address()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bag_is_computed_settled_by_its_root_and_its_worker_is_paid() {
    let grid = Grid::start();
    // The oracle runs already: it finds the new offer by itself.
    publish(&grid, "odds", "meter = \"cpu_second\"");
    let quote = grid.hear(&["order", "quote", "odds", "--bag", "3"]);
    assert_eq!((&quote["price"], &quote["pool"]), (&"900000000".into(), &"90000000".into()), "{quote}");
    // No address begins with 10: the first task fails.
    let bag = place(&grid, &["odds", "--bag", "3", "--", "1{task}"]);
    let standing = until(&grid, bag, "settled").await;
    assert_eq!((&standing["done"], &standing["failed"]), (&3.into(), &1.into()), "{standing}");
    assert_eq!(account(&grid, requester()).await, U256::from(300_000_000), "the failed task is refunded");

    let out = grid.path("results");
    let id = bag.to_string();
    let fetched = grid.hear(&["order", "fetch", &id, "--pool", &grid.pool_url, "--out", text(&out)]);
    assert_eq!(fetched["results"], 2, "{fetched}");
    let proof = grid.hear(&["order", "proof", &id, "2", "--pool", &grid.pool_url]);
    let result: alloy::primitives::Bytes = serde_json::from_value(proof["result"].clone()).unwrap();
    let path: Vec<B256> = serde_json::from_value(proof["path"].clone()).unwrap();
    let root: B256 = serde_json::from_value(proof["root"].clone()).unwrap();
    assert!(batch_proof::is_in(root, batch_proof::leaf(2, &result), &path));
    assert_eq!(Outcome::parse(&result).unwrap().exit_status, 0);
    let none = grid.say(&["order", "proof", &id, "0", "--pool", &grid.pool_url]).unwrap_err();
    assert!(none.contains("task 0"), "{none}");

    // The worker has its part of two tasks: nine tenths of the price.
    let earned = U256::from(540_000_000);
    let voucher = earned_by(&grid, 0, earned).await;
    let worker: Address = serde_json::from_value(voucher["voucher"]["worker"].clone()).unwrap();
    let data = grid.path("worker-0");
    // Anybody brings vouchers; the money goes to the worker, which has no ether.
    let cash =
        run(&["voucher", "cash", "--data-dir", text(&data), "--rpc", &grid.rpc_url, "--dev-account", "5", "--json"]);
    assert!(cash.status.success(), "{}", String::from_utf8_lossy(&cash.stdout));
    assert_eq!(wallet(&grid, worker).await, earned);
    let again = run(&["voucher", "cash", "--data-dir", text(&data), "--rpc", &grid.rpc_url, "--dev-account", "5"]);
    assert!(!again.status.success(), "nothing is due twice");

    let pool = grid.deployment.offer.pool;
    let fees = U256::from(60_000_000);
    assert_eq!(account(&grid, pool).await, fees, "the pool keeps its fee, and the rest was locked");
    let held = wallet(&grid, grid.deployment.market).await;
    assert_eq!(held, fees + U256::from(300_000_000), "every nRLC is somebody's");
}

/// Waits until the worker's voucher is for so much and covered.
async fn earned_by(grid: &Grid, worker: usize, earned: U256) -> Value {
    let data = grid.path(&format!("worker-{worker}"));
    let started = Instant::now();
    loop {
        let list =
            ["voucher", "list", "--data-dir", text(&data), "--rpc", &grid.rpc_url, "--pool", &grid.pool_url, "--json"];
        let said = run(&list);
        let said = String::from_utf8(said.stdout).unwrap();
        let voucher: Value = serde_json::from_str(said.lines().last().unwrap_or("null")).unwrap_or_default();
        if voucher["covered_nrlc"] == earned.to_string() {
            return voucher;
        }
        assert!(started.elapsed() < PATIENCE, "no voucher of {earned}: {said}\n{}", grid.log("oracle"));
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_settled_and_what_another_shows_is_not_believed() {
    let mut grid = Grid::bare();
    publish(&grid, "odds", "");
    grid.start_oracle();
    let mut worker = HostileWorker::connect(&grid.pool_url, 66).await;
    let order = place(&grid, &["odds", "--", "1a"]);
    let lease = worker.lease().await;
    assert_eq!(lease.job.args, ["difficulty", "1a"]);
    worker.finish(&lease, answers(*b"forty-two")).await;
    until(&grid, order, "settled").await;
    let out = grid.path("result");
    grid.hear(&["order", "fetch", &order.to_string(), "--pool", &grid.pool_url, "--out", text(&out)]);
    assert_eq!(std::fs::read(out.join("result")).unwrap(), b"forty-two");
    // Another pool's database shows other results for the same order.
    tamper(&grid.path("scheduler/pool.sqlite"));
    let out = grid.path("again");
    let refused = grid.say(&["order", "fetch", &order.to_string(), "--pool", &grid.pool_url, "--out", text(&out)]);
    assert!(refused.unwrap_err().contains("another result"));
}

fn tamper(database: &Path) {
    let connection = rusqlite::Connection::open(database).unwrap();
    let outcome = gristmill_proto::codec::encode(&answers(*b"forty-one"));
    assert_eq!(connection.execute("UPDATE result SET outcome = ?1", [outcome]).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_cancelled_kept_or_given_back() {
    let mut grid = Grid::bare();
    publish(&grid, "odds", "");
    publish(&grid, "hasty", "duration_s = 4");
    let key = ["--dev-account", REQUESTER];
    let early = place(&grid, &["odds", "--", "1a"]);
    grid.hear(&[&["order", "cancel", &early.to_string()], &key[..]].concat());
    let too_soon = grid.say(&[&["order", "refund", &early.to_string()], &key[..]].concat()).unwrap_err();
    assert!(too_soon.contains("DeadlineNotPassed"), "{too_soon}");
    // Nobody has begun with it: the pool gives it back at once.
    grid.start_oracle();
    let standing = until(&grid, early, "refunded").await;
    assert!(standing["declined"].as_str().unwrap().contains("cancelled"), "{standing}");

    // Its job waits for a worker, but is there: the pool keeps it.
    let late = place(&grid, &["odds", "--", "1b"]);
    grid.wait_for_job(late, "its job", |_| true).await;
    grid.hear(&[&["order", "cancel", &late.to_string()], &key[..]].concat());
    until(&grid, late, "open").await;
    // Nobody comes for this one in time.
    let hasty = place(&grid, &["hasty", "--", "1c"]);
    let standing = until(&grid, hasty, "refunded").await;
    assert!(standing["declined"].as_str().unwrap().contains("in time"), "{standing}");
    grid.start_worker();
    until(&grid, late, "settled").await;
    assert_eq!(account(&grid, requester()).await, U256::from(600_000_000), "two came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_and_orders_may_be_signed_instead_of_sent() {
    let grid = Grid::start();
    publish(&grid, "odds", "");
    let signed = grid.hear(&["offer", "sign", "odds", "--units", "1", "--price", "0.1", "--dev-account", "1"]);
    let mut signed = signed;
    signed.as_object_mut().unwrap().remove("event");
    let file = grid.path("signed.json");
    std::fs::write(&file, signed.to_string()).unwrap();
    let cheap = place(&grid, &["odds", "--signed", text(&file), "--", "1a"]);
    until(&grid, cheap, "settled").await;
    let again = grid.say(&["order", "place", "odds", "--signed", text(&file), "--dev-account", REQUESTER, "--", "1a"]);
    assert!(again.unwrap_err().contains("OfferExhausted"));

    grid.hear(&["order", "deposit", "1", "--dev-account", REQUESTER]);
    let request =
        grid.hear(&["order", "sign", "odds", "--bag", "2", "--tip", "0.05", "--dev-account", REQUESTER, "--", "1a"]);
    let file = grid.path("request.json");
    std::fs::write(&file, request.to_string()).unwrap();
    let relayed = grid.hear(&["order", "relay", text(&file), "--dev-account", "6"]);
    let relayed: B256 = relayed["order"].as_str().unwrap().parse().unwrap();
    until(&grid, relayed, "settled").await;
    assert_eq!(account(&grid, requester()).await, U256::from(350_000_000), "one deposited, two tasks and the tip paid");
    let bringer = gristmill_chain::keystore::dev_key(6, gristmill_chain::dev::CHAIN_ID).unwrap().address();
    assert_eq!(account(&grid, bringer).await, U256::from(50_000_000));
    assert_eq!(Deployment::read(&grid.path("deployment.json")).unwrap().apps.len(), 2);
}
