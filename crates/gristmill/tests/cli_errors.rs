//! What goes wrong at a command line is said in one clear error: what failed, why, what to try. Nothing is left behind.

mod grid;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use grid::{GRISTMILL, Grid, Role, run, text};
use serde_json::Value;

fn complaint(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it should have failed\n{stderr}");
    let errors = stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "one error, not {errors}:\n{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("stack backtrace"), "{stderr}");
    stderr
}

/// The command fails, and its error holds all of these.
fn fails(args: &[&str], wanted: &[&str]) {
    let said = complaint(&run(args));
    for words in wanted {
        assert!(said.contains(words), "`gristmill {}` does not say `{words}`:\n{said}", args.join(" "));
    }
}

#[test]
fn an_impossible_pattern_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    for (pattern, wanted) in
        [("1L0VE", "`1LoVE` is possible"), ("3abc", "hint:"), ("", "it is empty"), ("1lö", "hint:")]
    {
        fails(&["demo", pattern, "--exit", "--data-dir", text(&data)], &[wanted]);
    }
    fails(&["vanity", "order", "1L0VE"], &["character 3", "`1LoVE` is possible"]);
    assert!(!data.exists(), "nothing was started for an impossible pattern");
}

#[test]
fn bad_flags_name_the_usage() {
    fails(&["demo", "--bogus"], &["--bogus", "Usage:"]);
    fails(&["demo", "--workers", "1000"], &["0..=64"]);
    fails(&["demo", "--log", "x=y=z"], &["--log"]);
    fails(&["worker", "--pool", "ftp://pool"], &["http://"]);
    fails(&["vanity", "status", "--rpc", "nonsense"], &["http://"]);
    fails(&["chain", "--listen", "here"], &["--listen"]);
}

#[test]
fn weights_that_make_no_sense_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("pool"), dir.path().join("weights.toml"));
    let refused = |content: &str, wanted: &[&str]| {
        std::fs::write(&file, content).unwrap();
        fails(&["scheduler", "--listen", "127.0.0.1:0", "--data-dir", text(&data), "--weights", text(&file)], wanted);
    };
    refused("[groups]\nphysics = 0\n", &["`physics`", "between 1 and 1000"]);
    refused("[users.ann]\nwieght = 2\n", &["line 2", "wieght"]);
}

#[test]
fn a_used_port_is_named_and_the_option_to_change_it() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = text(dir.path());
    fails(&["demo", "--exit", "--data-dir", data, "--port", &port, "--chain-port", "0"], &[&address, "--port"]);
    fails(&["demo", "--exit", "--data-dir", data, "--port", "0", "--chain-port", &port], &[&address, "--chain-port"]);
    fails(&["chain", "--data-dir", data, "--listen", &address], &[&address, "--listen"]);
    fails(&["scheduler", "--data-dir", data, "--listen", &address], &[&address, "--listen"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    // Not even root makes files there.
    let nowhere = "/proc/gristmill";
    let roles: [&[&str]; 4] = [
        &["demo", "--exit"],
        &["chain", "--listen", "127.0.0.1:0"],
        &["scheduler", "--listen", "127.0.0.1:0"],
        &["worker", "--pool", "http://127.0.0.1:9"],
    ];
    for role in roles {
        let args: Vec<&str> = role.iter().copied().chain(["--data-dir", nowhere]).collect();
        fails(&args, &[nowhere, "--data-dir"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_is_left_alone() {
    let mut grid = Grid::start();
    let path = |name: &str| text(&grid.path(name)).to_owned();
    fails(&["chain", "--listen", "127.0.0.1:0", "--data-dir", &path("chain")], &["in use", "--data-dir"]);
    fails(&["scheduler", "--listen", "127.0.0.1:0", "--data-dir", &path("scheduler")], &["uses", "--data-dir"]);
    fails(&["worker", "--pool", &grid.pool_url, "--data-dir", &path("worker-0")], &["uses", "--data-dir"]);
    let (deployment, token, oracle) = (path("deployment.json"), path("scheduler/token"), path("oracle"));
    let args = ["oracle", "--rpc", &grid.rpc_url, "--pool", &grid.pool_url, "--dev-account", "1"];
    let files = ["--deployment", &deployment, "--pool-token", &token, "--data-dir", &oracle];
    fails(&[&args[..], &files[..]].concat(), &["another oracle", "--data-dir"]);
    let order = grid.order("1a");
    grid.until_settled(&order).await;
    grid.restart_chain();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_or_contract_is_refused_before_money_moves() {
    let grid = Grid::bare();
    let (orders, token) = (text(&grid.path("orders")).to_owned(), text(&grid.path("scheduler/token")).to_owned());
    let altered = |name: &str, alter: &dyn Fn(&mut Value)| {
        let file = grid.path(name);
        let text = std::fs::read_to_string(grid.path("deployment.json")).unwrap();
        let mut deployment = serde_json::from_str(&text).unwrap();
        alter(&mut deployment);
        std::fs::write(&file, deployment.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let other_chain = altered("chain.json", &|d| d["chain_id"] = 1.into());
    let other_market = altered("market.json", &|d| d["market"] = "0x1111111111111111111111111111111111111111".into());
    let other_shop = altered("shop.json", &|d| d["shop"] = "0x1111111111111111111111111111111111111111".into());
    let no_deployment = altered("none.json", &|d| *d = Value::Null);
    let order = |file: &str, wanted: &[&str]| {
        let args = ["vanity", "order", "1a", "--rpc", &grid.rpc_url, "--deployment", file, "--dev-account", "3"];
        fails(&[&args[..], &["--orders", &orders]].concat(), wanted);
    };
    order(&other_chain, &["chain 1", "chain 47474747", "--rpc"]);
    order(&other_shop, &["0x1111", "deploy again"]);
    order(&no_deployment, &["no deployment"]);
    order("/nowhere.json", &["/nowhere.json", "gristmill deploy"]);

    let data = text(&grid.path("oracle")).to_owned();
    let oracle = |file: &str, account: &str, wanted: &[&str]| {
        let args = ["oracle", "--rpc", &grid.rpc_url, "--pool", &grid.pool_url, "--dev-account", account];
        let files = ["--deployment", file, "--pool-token", &token, "--data-dir", &data];
        fails(&[&args[..], &files[..]].concat(), wanted);
    };
    oracle(&other_chain, "1", &["chain 1", "hint:"]);
    oracle(&other_market, "1", &["no contract", "0x1111", "market"]);
    oracle(text(&grid.path("deployment.json")), "2", &["belongs to", "give its key"]);
    assert!(!Path::new(&orders).exists() || std::fs::read_dir(&orders).unwrap().next().is_none(), "no order is left");
}

/// Books that were begun for one market are not gone on with for another.
#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_keeps_to_its_market() {
    let mut grid = Grid::start();
    let order = grid.order("1a");
    grid.until_settled(&order).await;
    grid.oracle.take().into_iter().for_each(Role::kill);
    let mut deployment: Value =
        serde_json::from_str(&std::fs::read_to_string(grid.path("deployment.json")).unwrap()).unwrap();
    deployment["market"] = deployment["shop"].clone();
    let another = grid.path("another.json");
    std::fs::write(&another, deployment.to_string()).unwrap();
    let (token, data) = (grid.path("scheduler/token"), grid.path("oracle"));
    let args = ["oracle", "--rpc", &grid.rpc_url, "--pool", &grid.pool_url, "--dev-account", "1"];
    let files = ["--deployment", text(&another), "--pool-token", text(&token), "--data-dir", text(&data)];
    fails(&[&args[..], &files[..]].concat(), &["was made with market", "another data directory"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_rlc_is_told_before_anything_is_sent() {
    let grid = Grid::bare();
    let (deployment, orders) = (grid.path("deployment.json"), grid.path("orders"));
    let args = ["vanity", "order", "1LoVEaaaaaa", "--rpc", &grid.rpc_url, "--dev-account", "3"];
    let files = ["--deployment", text(&deployment), "--orders", text(&orders)];
    fails(&[&args[..], &files[..]].concat(), &["costs", "holds 1000 RLC", "a shorter pattern"]);
    assert_eq!(std::fs::read_dir(&orders).unwrap().count(), 0, "an order that was never sent is not kept");
}

#[test]
fn a_chain_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deployment.json");
    let args = ["deploy", "--rpc", "http://127.0.0.1:9", "--dev-account", "1", "--out", text(&out)];
    fails(&args, &["does not answer", "127.0.0.1:9", "gristmill chain"]);
}

/// A file system of two megabytes, in a namespace of its own.
#[test]
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = "mount -t tmpfs -o size=2m none \"$1\" && exec \"$2\" demo 1a --exit --port 0 --chain-port 0 \
                  --data-dir \"$1/demo\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", text(&disk), GRISTMILL]);
    let said = complaint(&unshare.output().expect("unshare is part of util-linux"));
    assert!(said.contains("No space left") && said.contains("/demo"), "{said}");
}

/// Both find their ports, their folders and their results.
/// SIGTERM ends every role with status 0, and nothing of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn roles_stop_when_told() {
    let mut grid = Grid::start();
    let order = grid.order("1LoVEa");
    grid.wait_for_job(order.record.order.unwrap(), "work to begin", |job| job.tasks.running > 0).await;
    let worker = grid.workers.pop().flatten().unwrap();
    let roles = [worker, grid.oracle.take().unwrap(), grid.scheduler.take().unwrap(), grid.chain.take().unwrap()];
    for status in roles.map(Role::stop) {
        assert!(status.success(), "{status}");
    }
}
