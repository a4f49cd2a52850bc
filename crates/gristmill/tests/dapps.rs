//! Contracts that have something computed: docs/dapp.md as it is written, and the example dApps on a real grid.

#![allow(clippy::large_futures, reason = "a test runs once")]

mod grid;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider as _;
use alloy::sol_types::{SolCall, SolConstructor};
use grid::{GRISTMILL, Grid, PATIENCE, Role, text};
use gristmill::wallet::Wallet;
use gristmill_chain::contracts::{DevRLC, RLC};
use gristmill_chain::{dev, keystore};
use serde_json::json;

alloy::sol! {
    #[sol(rpc)]
    Raffle, "../../contracts/artifacts/Raffle.json"
}

alloy::sol! {
    #[sol(rpc)]
    PriceFeed, "../../contracts/artifacts/PriceFeed.json"
}

alloy::sol! {
    Voices, "../../contracts/artifacts/Voices.json"
}

const NRLC_PER_RLC: u64 = 1_000_000_000;
/// In seconds. Many blocks in one second carry later times than the clock: nothing here is measured closely.
const HOUR: u64 = 3_600;

/// One terminal after the other, as a reader of the tutorial has them: folder and variables outlast a block.
struct Reader {
    dir: tempfile::TempDir,
    serving: Vec<Role>,
}

impl Reader {
    fn shell(&self, block: &str) -> Output {
        let bin = Path::new(GRISTMILL).parent().expect("a program lies in a folder");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let kept = self.dir.path().join("kept");
        let kept = text(&kept);
        let script =
            format!("set -a\nif [ -f {kept} ]; then . {kept}; cd \"$AT\"; fi\n{block}\nAT=$PWD\nexport -p > {kept}");
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &script]).current_dir(self.dir.path()).env("PATH", path).stdin(Stdio::null());
        shell.env("HOME", self.dir.path()).env("GRISTMILL_HOME", self.dir.path().join("home"));
        // The packages are the repository's own, which the set-up has fetched already.
        let cache = std::env::var("npm_config_cache").or_else(|_| std::env::var("HOME").map(|home| home + "/.npm"));
        shell.env("npm_config_cache", cache.unwrap_or_default()).env("npm_config_prefer_offline", "true");
        shell.output().expect("sh runs")
    }

    fn says(&self, block: &str) -> String {
        let done = self.shell(block);
        let said = String::from_utf8_lossy(&[&done.stdout[..], &done.stderr].concat()).into_owned();
        assert!(done.status.success(), "{block}\n{said}\n{}", grid::read_log(&self.dir.path().join("serving.log")));
        said
    }

    /// `gristmill dev` in its own terminal, on ports that are free.
    fn serve(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["gristmill", "dev"], "{line}");
        let at = words.iter().position(|word| *word == "--data-dir").expect("the tutorial names the folder") + 1;
        let folder = self.dir.path().join(words[at]);
        let mut args: Vec<&str> = words[1..].to_vec();
        args[at - 1] = text(&folder);
        let args = [&args[..], &["--port", "0", "--chain-port", "0", "--json"]].concat();
        let log = self.dir.path().join("serving.log");
        self.serving.push(Role::start_until(&args, &log, |line| line.contains("\"serving\"")));
    }
}

/// Code blocks of a page: what follows the back quotes, and the block's lines.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut parts = page.split("```").skip(1).step_by(2);
    std::iter::from_fn(|| parts.next().and_then(|block| block.split_once('\n'))).collect()
}

#[test]
fn the_tutorial_holds() {
    let mut reader = Reader { dir: tempfile::tempdir().unwrap(), serving: Vec::new() };
    follow_the_tutorial(&mut reader, |line| line.to_owned(), Reader::serve);
}

fn follow_the_tutorial(
    reader: &mut Reader,
    as_read: impl Fn(&str) -> String,
    mut serve: impl FnMut(&mut Reader, &str),
) {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/dapp.md")).unwrap();
    let (mut said, mut ran) = (String::new(), 0);
    for (kind, block) in blocks(&page) {
        match kind {
            "sh serve" => serve(reader, block.trim()),
            "sh" => {
                said = reader.says(&as_read(block));
                ran += 1;
            }
            "text" => {
                for line in block.lines() {
                    assert!(said.contains(line), "`{line}` is not in what was said:\n{said}");
                }
            }
            // What the reader is shown of the example is in it.
            "solidity" => {
                let source = reader.says("cat src/*.sol");
                for line in block.lines().map(str::trim) {
                    assert!(source.contains(line), "`{line}` is not in the example");
                }
            }
            "json" | "toml" => {}
            other => panic!("a block of a kind that this test does not know: {other}"),
        }
    }
    assert!(ran >= 7, "the tutorial has shrunk to {ran} blocks");
}

/// A chain that is not ours, with blocks every second and keys in encrypted files.
struct Anvil(std::process::Child, String);

impl Anvil {
    const CHAIN_ID: &str = "4242";

    fn start() -> Self {
        let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut anvil = Command::new("npx");
        anvil.args(["--no-install", "anvil", "--silent", "--hardfork", "prague", "--block-time", "1", "--port", &port]);
        anvil.args(["--chain-id", Self::CHAIN_ID]).current_dir(contracts).stdin(Stdio::null()).stdout(Stdio::null());
        let anvil = anvil.process_group(0).spawn().expect("`cargo xtask setup` installs anvil");
        Self(anvil, format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// The tutorial once more, where only the things are different that it says are: the node, the keys, and a pool by its parts.
#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_holds_on_a_chain_of_others() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let anvil = Anvil::start();
    let rpc = gristmill_chain::rpc::Rpc::connect(&anvil.1).unwrap();
    let started = Instant::now();
    while rpc.chain_id().await.is_err() {
        assert!(started.elapsed() < PATIENCE, "anvil does not come up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut reader = Reader { dir: tempfile::tempdir().unwrap(), serving: Vec::new() };
    let pool = Wallet::new(rpc, dev::accounts().swap_remove(1)).await.unwrap();
    let arguments = DevRLC::constructorCall { holder: pool.address() }.abi_encode();
    let (token, _) = pool.deploy("deploy a token", [&DevRLC::BYTECODE[..], &arguments].concat()).await.unwrap();
    let (key, password) = (reader.dir.path().join("pool.json"), reader.dir.path().join("pool-password"));
    keystore::store(&key, &keystore::Password::new("secret".to_owned()), &pool.key).unwrap();
    reader.says("umask 077; printf secret > pool-password");
    let signs = format!("--key {} --password-file {}", key.display(), password.display());

    let serve = |reader: &mut Reader, _: &str| {
        let path = |name: &str| reader.dir.path().join(name).display().to_string();
        reader.says(&format!("gristmill deploy --rpc {} --token {token} --out deployment.json {signs}", anvil.1));
        let chain = format!("--rpc {} --deployment {}", anvil.1, path("deployment.json"));
        let log = reader.dir.path().join("serving.log");
        let start = |line: String| Role::start(&line.split(' ').collect::<Vec<_>>(), &log);
        let scheduler = start(format!("scheduler --listen 127.0.0.1:0 --data-dir {} {chain}", path("scheduler")));
        let url = scheduler.first_line.clone();
        let at_pool = format!("--pool {url} --pool-token {}", path("scheduler/token"));
        let data = path("oracle");
        let oracle = format!("oracle {chain} {at_pool} --data-dir {data} --settle-confirmations 2 {signs}");
        let oracle = Role::start_silent(&oracle.split(' ').collect::<Vec<_>>(), &log);
        let worker = start(format!("worker --pool {url} --data-dir {}", path("worker")));
        let market = gristmill::deployment::Deployment::read(Path::new(&path("deployment.json"))).unwrap().market;
        let env = [
            ("ETH_RPC_URL", anvil.1.clone()),
            ("GRISTMILL_RPC", anvil.1.clone()),
            ("GRISTMILL_DEPLOYMENT", path("deployment.json")),
            ("GRISTMILL_POOL", url),
            ("GRISTMILL_POOL_TOKEN", path("scheduler/token")),
            ("GRISTMILL_MARKET", market.to_string()),
            ("GRISTMILL_RLC", token.to_string()),
        ];
        let env: String = env.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
        std::fs::create_dir(reader.dir.path().join("grid")).unwrap();
        std::fs::write(reader.dir.path().join("grid/env"), env).unwrap();
        reader.serving.extend([scheduler, oracle, worker]);
    };
    let as_read = |block: &str| block.replace("--dev-account 1", &signs);
    tokio::task::block_in_place(|| follow_the_tutorial(&mut reader, as_read, serve));
}

/// An example's folder on a grid: app and offer published, as the tutorial does it.
fn offered(grid: &Grid, example: &str, verifier: Option<Address>) -> B256 {
    let folder = grid.path(example);
    hear(grid, &["dapp", "init", text(&folder), "--template", example]);
    hear(grid, &["app", "build", text(&folder.join("app"))]);
    let token = grid.path("scheduler/token");
    let pool = ["--pool", &grid.pool_url, "--pool-token", text(&token)];
    hear(grid, &[&["app", "publish", text(&folder.join("app"))], &pool[..]].concat());
    let (file, deployment) = (folder.join("offer.toml"), grid.path("deployment.json"));
    let chain = ["--rpc", &grid.rpc_url, "--deployment", text(&deployment), "--dev-account", "1"];
    let verifier = verifier.map(|verifier| verifier.to_string());
    let verifier: Vec<&str> = verifier.iter().flat_map(|verifier| ["--verifier", verifier]).collect();
    let said = hear(grid, &[&["offer", "publish", text(&file)], &pool[..], &chain, &verifier].concat());
    said.lines().next().unwrap().parse().unwrap()
}

fn hear(grid: &Grid, args: &[&str]) -> String {
    let done = Command::new(GRISTMILL).args(args).env("GRISTMILL_HOME", grid.path("home")).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// An account of the development chain with RLC, which lets `spender` have it.
async fn person(grid: &Grid, account: usize) -> Wallet {
    let wallet = Wallet::new(grid.rpc(), keystore::dev_key(account, dev::CHAIN_ID).unwrap()).await.unwrap();
    let faucet = DevRLC::faucetCall { amount: U256::from(10 * NRLC_PER_RLC) };
    wallet.call("take RLC", grid.deployment.token, faucet.abi_encode()).await.unwrap();
    wallet
}

async fn approve(grid: &Grid, wallet: &Wallet, spender: Address) {
    let call = RLC::approveCall { spender, value: U256::MAX };
    wallet.call("approve", grid.deployment.token, call.abi_encode()).await.unwrap();
}

async fn control(grid: &Grid, method: &'static str, params: serde_json::Value) {
    let done = grid.rpc().provider().raw_request::<_, serde_json::Value>(method.into(), params).await;
    done.expect("the chain obeys");
}

async fn pass(grid: &Grid, seconds: u64) {
    control(grid, "evm_increaseTime", json!([seconds])).await;
    control(grid, "anvil_mine", json!([1])).await;
}

async fn until<T>(grid: &Grid, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        let logs = || format!("{}\n{}", grid.log("oracle"), grid.log("worker-0"));
        assert!(started.elapsed() < PATIENCE, "never: {what}\n{}", logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raffle_is_drawn_off_chain_and_the_lowest_ticket_takes_the_pot() {
    let grid = Grid::start();
    let offer = offered(&grid, "raffle", None);
    let players = [person(&grid, 3).await, person(&grid, 5).await, person(&grid, 6).await];
    let market = grid.deployment.market;
    let sale_end = grid.rpc().head().await.unwrap().timestamp + HOUR;
    let price = U256::from(NRLC_PER_RLC / 2);
    let arguments = Raffle::constructorCall { market, offer, ticketPrice: price, saleEnd: U256::from(sale_end) };
    let code = [&Raffle::BYTECODE[..], &arguments.abi_encode()].concat();
    let (address, _) = players[0].deploy("deploy the raffle", code).await.unwrap();
    for player in &players {
        approve(&grid, player, address).await;
        for _ in 0..4 {
            player.call("buy a ticket", address, Raffle::buyCall {}.abi_encode()).await.unwrap();
        }
    }
    pass(&grid, 2 * HOUR).await;
    players[1].call("close the sale", address, Raffle::closeCall {}.abi_encode()).await.unwrap();
    control(&grid, "anvil_mine", json!([3])).await;
    players[1].call("ask for the draw", address, Raffle::drawCall {}.abi_encode()).await.unwrap();

    let rpc = grid.rpc();
    let raffle = Raffle::new(address, rpc.provider());
    until(&grid, "the draw", async || (raffle.drawnAt().call().await.unwrap() > 0).then_some(())).await;
    let mut scores = Vec::new();
    for ticket in 0..12 {
        scores.push((raffle.scoreOf(U256::from(ticket)).call().await.unwrap(), ticket));
    }
    let (_, lowest) = scores.into_iter().min().unwrap();
    assert_eq!(raffle.leader().call().await.unwrap(), lowest, "the pool drew another ticket than the contract's");

    let winner = raffle.tickets(U256::from(lowest)).call().await.unwrap();
    let winner = players.iter().find(|player| player.address() == winner).expect("a player");
    let early = winner.call("collect", address, Raffle::collectCall {}.abi_encode()).await.unwrap_err();
    assert!(format!("{early:#}").contains("cannot collect"), "{early:#}");
    pass(&grid, 25 * HOUR).await;
    let token = RLC::new(grid.deployment.token, rpc.provider());
    let before = token.balanceOf(winner.address()).call().await.unwrap();
    winner.call("collect", address, Raffle::collectCall {}.abi_encode()).await.unwrap();
    assert_eq!(token.balanceOf(winner.address()).call().await.unwrap(), before + price * U256::from(12));
}

/// A contract that answers every call with one word.
fn answering(word: U256) -> Vec<u8> {
    // PUSH32 word PUSH0 MSTORE PUSH1 32 PUSH0 RETURN, and a constructor that returns this.
    let runtime = [&[0x7f][..], &word.to_be_bytes::<32>(), &[0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]].concat();
    let length = u8::try_from(runtime.len()).unwrap();
    [&[0x60, length, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3][..], &runtime].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_estimated_by_several_workers_again_and_again() {
    /// What Black and Scholes' formula says of this option.
    const FAIR: f64 = 614.0;
    let mut grid = Grid::start();
    grid.start_worker();
    grid.start_worker();
    let payer = person(&grid, 3).await;
    let (source, _) = payer.deploy("deploy a source", answering(U256::from(3_000 * NRLC_PER_RLC))).await.unwrap();
    let (verifier, _) = payer.deploy("deploy the verifier", Voices::BYTECODE.to_vec()).await.unwrap();
    let offer = offered(&grid, "price-feed", Some(verifier));
    let terms = PriceFeed::Terms {
        strike: 2_700 * u128::from(NRLC_PER_RLC),
        expiry: grid.rpc().head().await.unwrap().timestamp + 90 * 86_400,
        period: 60,
        volatilityBps: 8_000,
        voices: 4,
        quorum: 2,
    };
    let arguments = PriceFeed::constructorCall { market: grid.deployment.market, offer, source, terms };
    let code = [&PriceFeed::BYTECODE[..], &arguments.abi_encode()].concat();
    let (address, _) = payer.deploy("deploy the feed", code).await.unwrap();
    approve(&grid, &payer, address).await;

    let rpc = grid.rpc();
    let feed = PriceFeed::new(address, rpc.provider());
    let update = || payer.call("ask for a round", address, PriceFeed::updateCall {}.abi_encode());
    let mut known = Vec::new();
    for round in 1..=2u64 {
        update().await.unwrap();
        let again = update().await.unwrap_err();
        assert!(format!("{again:#}").contains("cannot ask for a round"), "too early: {again:#}");
        let newest = until(&grid, "a price", async || {
            let latest = feed.latest(U256::from(HOUR)).call().await.ok()?;
            (feed.round().call().await.unwrap() == round && latest.updatedAt >= feed.askedAt().call().await.unwrap())
                .then_some(latest)
        });
        let newest = newest.await;
        let value = newest.value as f64 / NRLC_PER_RLC as f64;
        assert!((value / FAIR - 1.0).abs() < 0.02, "{value} is not about {FAIR}");
        assert!(feed.answersOf(round).call().await.unwrap() >= U256::from(2), "of several workers");
        known.push(newest.value);
        pass(&grid, HOUR).await;
    }
    assert_ne!(known[0], known[1], "each round plays other games");
    pass(&grid, 2 * HOUR).await;
    assert!(feed.latest(U256::from(HOUR)).call().await.is_err(), "an old price is not given out");
}
