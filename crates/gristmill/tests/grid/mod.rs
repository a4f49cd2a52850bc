//! A whole grid of real processes for one test, in a folder of its own and on ports of its own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod hostile;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use gristmill::deployment::Deployment;
use gristmill::pool_client::{PoolClient, read_token};
use gristmill::vanity_order::{Ending, LocalOrder, Settlement, ending, on_chain};
use gristmill_chain::contracts::{Market, RLC};
use gristmill_chain::rpc::Rpc;

pub const GRISTMILL: &str = env!("CARGO_BIN_EXE_gristmill");
/// Long enough for a busy machine, short enough to notice a grid that hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    Chain,
    Scheduler,
    Oracle,
    Worker,
}

/// A running process that is killed, not asked, when dropped.
pub struct Role {
    child: Child,
    /// The line it printed when it was ready.
    pub first_line: String,
}

impl Role {
    pub fn start(args: &[&str], log: &Path) -> Self {
        Self::start_until(args, log, |_| true)
    }

    /// Waits for a line of its output.
    pub fn start_until(args: &[&str], log: &Path, wanted: impl Fn(&str) -> bool) -> Self {
        let mut child = spawn(Command::new(GRISTMILL).args(args).stdout(Stdio::piped()), log);
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        loop {
            line.clear();
            let read = stdout.read_line(&mut line).expect("a role's output is text");
            assert!(read > 0, "`gristmill {}` ended early: {}", args.join(" "), read_log(log));
            if wanted(&line) {
                break;
            }
        }
        // What else it prints must not block it.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self { child, first_line: line.trim().to_owned() }
    }

    /// Starts a role and waits for nothing.
    pub fn start_silent(args: &[&str], log: &Path) -> Self {
        let child = spawn(Command::new(GRISTMILL).args(args).stdout(Stdio::null()), log);
        Self { child, first_line: String::new() }
    }

    /// A role that is killed when one of its threads flushes to disk for the given time.
    pub fn start_to_die(args: &[&str], log: &Path, flush: u64) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"]);
        strace.arg(format!("inject=fsync,fdatasync:signal=KILL:when={flush}")).arg(GRISTMILL).args(args);
        let child = spawn(strace.stdout(Stdio::null()), log);
        Self { child, first_line: String::new() }
    }

    pub fn kill(mut self) {
        self.kill_group();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.is_ok_and(|told| told.success()), "the process can be told");
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(15), "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill_group(&mut self) {
        // A process under strace must go together with it.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        self.child.wait().expect("a killed process ends");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
    let child = command.stdin(Stdio::null()).stderr(log).process_group(0).spawn();
    child.unwrap_or_else(|error| panic!("{:?} cannot be run, see `cargo xtask setup`: {error}", command.get_program()))
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill_group();
    }
}

pub struct Grid {
    pub dir: tempfile::TempDir,
    pub rpc_url: String,
    pub pool_url: String,
    pub deployment: Deployment,
    pub chain: Option<Role>,
    pub scheduler: Option<Role>,
    pub oracle: Option<Role>,
    pub workers: Vec<Option<Role>>,
    /// Blocks on top of an order before its oracle settles.
    pub settle_confirmations: u64,
}

impl Grid {
    /// Chain, contracts and pool; neither oracle nor workers yet.
    pub fn bare() -> Self {
        // Only the first call of a process counts; `gristmill` does it when it starts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder for the test");
        let chain = start_chain(dir.path(), "127.0.0.1:0");
        let rpc_url = chain.first_line.clone();
        let deployment_file = dir.path().join("deployment.json");
        let deployed = run(&["deploy", "--rpc", &rpc_url, "--dev-account", "1", "--out", text(&deployment_file)]);
        assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
        let deployment = Deployment::read(&deployment_file).expect("deploy writes a deployment");
        let scheduler = start_scheduler(dir.path(), "127.0.0.1:0", &rpc_url);
        let pool_url = scheduler.first_line.clone();
        Self {
            dir,
            rpc_url,
            pool_url,
            deployment,
            chain: Some(chain),
            scheduler: Some(scheduler),
            oracle: None,
            workers: Vec::new(),
            settle_confirmations: 0,
        }
    }

    pub fn start() -> Self {
        let mut grid = Self::bare();
        grid.start_oracle();
        grid.start_worker();
        grid
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self, role: &str) -> String {
        read_log(&self.path(&format!("{role}.log")))
    }

    pub fn restart(&mut self, victim: Victim) {
        match victim {
            Victim::Chain => self.restart_chain(),
            Victim::Scheduler => self.restart_scheduler(),
            Victim::Oracle => self.start_oracle(),
            Victim::Worker => self.restart_worker(0),
        }
    }

    pub fn kill_chain(&mut self) {
        self.chain.take().into_iter().for_each(Role::kill);
    }

    pub fn restart_chain(&mut self) {
        self.kill_chain();
        self.chain = Some(start_chain(self.dir.path(), address(&self.rpc_url)));
    }

    pub fn restart_scheduler(&mut self) {
        self.scheduler.take().into_iter().for_each(Role::kill);
        self.scheduler = Some(start_scheduler(self.dir.path(), address(&self.pool_url), &self.rpc_url));
    }

    pub fn start_oracle(&mut self) {
        self.oracle.take().into_iter().for_each(Role::kill);
        let args = self.oracle_args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.oracle = Some(Role::start_silent(&args, &self.path("oracle.log")));
    }

    fn oracle_args(&self) -> Vec<String> {
        let path = |name| text(&self.path(name)).to_owned();
        let files =
            ["--deployment", &path("deployment.json"), "--pool-token", &path("scheduler/token")].map(str::to_owned);
        let confirmations = self.settle_confirmations.to_string();
        let rest = [
            "oracle",
            "--rpc",
            &self.rpc_url,
            "--pool",
            &self.pool_url,
            "--dev-account",
            "1",
            "--data-dir",
            &path("oracle"),
            "--settle-confirmations",
            &confirmations,
        ];
        rest.into_iter().map(str::to_owned).chain(files).collect()
    }

    pub fn start_worker(&mut self) -> usize {
        self.workers.push(None);
        let number = self.workers.len() - 1;
        self.restart_worker(number);
        number
    }

    pub fn restart_worker(&mut self, number: usize) {
        if self.workers.is_empty() {
            self.workers.push(None);
        }
        self.kill_worker(number);
        let args = self.worker_args(number);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.workers[number] = Some(Role::start(&args, &self.path(&format!("worker-{number}.log"))));
    }

    fn worker_args(&self, number: usize) -> Vec<String> {
        let data = self.path(&format!("worker-{number}"));
        let args = ["worker", "--pool", &self.pool_url, "--data-dir", text(&data), "--slots", "1"];
        args.map(str::to_owned).to_vec()
    }

    /// Starts a role, or starts it again, so that it dies at the given flush.
    pub fn crash_at(&mut self, victim: Victim, flush: u64) {
        let dir = self.dir.path();
        let (role, args, log) = match victim {
            Victim::Chain => (&mut self.chain, chain_args(dir, address(&self.rpc_url)), "chain.log"),
            Victim::Scheduler => {
                (&mut self.scheduler, scheduler_args(dir, address(&self.pool_url), &self.rpc_url), "scheduler.log")
            }
            Victim::Oracle => {
                let args = self.oracle_args();
                (&mut self.oracle, args, "oracle.log")
            }
            Victim::Worker => {
                let args = self.worker_args(0);
                self.workers.push(None);
                (&mut self.workers[0], args, "worker-0.log")
            }
        };
        role.take().into_iter().for_each(Role::kill);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        *role = Some(Role::start_to_die(&args, &self.dir.path().join(log), flush));
    }

    pub fn is_running(&mut self, victim: Victim) -> bool {
        let role = match victim {
            Victim::Chain => &mut self.chain,
            Victim::Scheduler => &mut self.scheduler,
            Victim::Oracle => &mut self.oracle,
            Victim::Worker => &mut self.workers[0],
        };
        role.as_mut().is_some_and(Role::is_running)
    }

    pub fn kill_worker(&mut self, number: usize) {
        if let Some(worker) = self.workers[number].take() {
            worker.kill();
        }
    }

    pub fn rpc(&self) -> Rpc {
        Rpc::connect(&self.rpc_url).expect("the chain's URL is good")
    }

    pub fn pool(&self) -> PoolClient {
        let token = read_token(&self.path("scheduler/token")).expect("the scheduler wrote its token");
        PoolClient::new(&self.pool_url, &token)
    }

    /// Pays for a search from the command line.
    pub fn order(&self, pattern: &str) -> LocalOrder {
        let (deployment, orders) = (self.path("deployment.json"), self.path("orders"));
        let output = run(&[
            "vanity",
            "order",
            pattern,
            "--rpc",
            &self.rpc_url,
            "--deployment",
            text(&deployment),
            "--dev-account",
            "3",
            "--orders",
            text(&orders),
            "--json",
        ]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout).expect("JSON is text");
        let last: serde_json::Value =
            serde_json::from_str(stdout.lines().last().expect("an event")).expect("each line is JSON");
        assert_eq!(last["event"], "ordered");
        LocalOrder::open(Path::new(last["folder"].as_str().expect("the order's folder"))).expect("the order is kept")
    }

    pub async fn until_settled(&self, order: &LocalOrder) -> Settlement {
        match self.until_ended(order).await {
            Ending::Settled(settlement) => settlement,
            Ending::Refunded { .. } => panic!("the order was refunded\n{}", self.log("oracle")),
        }
    }

    pub async fn until_ended(&self, order: &LocalOrder) -> Ending {
        let rpc = self.rpc();
        let started = Instant::now();
        loop {
            if let Ok(Some(ending)) = ending(&rpc, &order.record).await {
                return ending;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "no end after {PATIENCE:?}\n== oracle\n{}\n== scheduler\n{}\n== worker\n{}",
                self.log("oracle"),
                self.log("scheduler"),
                self.log("worker-0")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Each order settled once, and every nRLC in the market in somebody's account.
    pub async fn check_money(&self, orders: &[&LocalOrder], others: &[Address]) {
        let rpc = self.rpc();
        let market = Market::new(self.deployment.market, rpc.provider());
        let mut people: Vec<Address> = others.to_vec();
        for order in orders {
            let (id, _) = on_chain(&rpc, &order.record).await.expect("the chain answers").expect("a paid order");
            let filter = Filter::new()
                .address(self.deployment.market)
                .event_signature(Market::Settled::SIGNATURE_HASH)
                .topic1(id)
                .from_block(0);
            let settled = rpc.logs(&filter).await.expect("the chain answers");
            assert_eq!(settled.len(), 1, "{id} was settled {} times", settled.len());
            people.push(Market::Settled::decode_log(&settled[0].inner).expect("our event").worker);
        }
        people.push(self.deployment.offer.pool);
        people.sort();
        people.dedup();
        let mut in_accounts = U256::ZERO;
        for person in people {
            in_accounts += market.accountOf(person).call().await.expect("the market answers");
        }
        let token = RLC::new(self.deployment.token, rpc.provider());
        let held = token.balanceOf(self.deployment.market).call().await.expect("the token answers");
        assert_eq!(held, in_accounts, "the market holds {held}, its accounts {in_accounts}");
        let prices: u128 = orders.iter().map(|order| order.record.price).sum();
        assert_eq!(held, U256::from(prices), "what was paid is what is there");
    }

    pub async fn wait_for_job(&self, order: B256, what: &str, ready: impl Fn(&gristmill_proto::view::JobView) -> bool) {
        let pool = self.pool();
        let started = Instant::now();
        loop {
            if let Ok(Some(view)) = pool.job_by_external_id(&format!("{order:#x}")).await
                && ready(&view)
            {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}\n{}", self.log("scheduler"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn start_chain(dir: &Path, listen: &str) -> Role {
    let args = chain_args(dir, listen);
    Role::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), &dir.join("chain.log"))
}

fn chain_args(dir: &Path, listen: &str) -> Vec<String> {
    ["chain", "--listen", listen, "--data-dir", text(&dir.join("chain"))].map(str::to_owned).to_vec()
}

fn start_scheduler(dir: &Path, listen: &str, rpc_url: &str) -> Role {
    let args = scheduler_args(dir, listen, rpc_url);
    Role::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), &dir.join("scheduler.log"))
}

/// Beats and patience short enough for a test to see a worker lost.
fn scheduler_args(dir: &Path, listen: &str, rpc_url: &str) -> Vec<String> {
    let (data, deployment) = (dir.join("scheduler"), dir.join("deployment.json"));
    let places = [
        "scheduler",
        "--listen",
        listen,
        "--data-dir",
        text(&data),
        "--rpc",
        rpc_url,
        "--deployment",
        text(&deployment),
    ];
    let times = ["--alive-ms", "300", "--lost-ms", "3000", "--reconnect-ms", "1500", "--transfer-ms", "1500"];
    places.into_iter().chain(times).map(str::to_owned).collect()
}

pub fn read_log(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// A command from start to end.
pub fn run(args: &[&str]) -> Output {
    Command::new(GRISTMILL).args(args).stdin(Stdio::null()).output().expect("gristmill runs")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").expect("roles print http URLs")
}
