//! The development chain in a process of its own, killed while it works.

mod dev_fixture;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy::primitives::B256;
use dev_fixture::{Fixture, Rpc, Tx};
use futures_util::future::join_all;
use gristmill_chain::dev::{self, Config};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const FOLDER: &str = "GRISTMILL_TEST_CHAIN";

/// A chain in a child process, which is this test binary again.
struct Process {
    child: Child,
    rpc: Rpc,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        let address = folder.join("address");
        let _ = fs::remove_file(&address);
        let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
            .args(["--exact", "serve_in_a_child_process", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("the child starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !address.exists() {
            assert!(child.try_wait().expect("the child can be asked").is_none(), "the child ended early");
            assert!(Instant::now() < deadline, "the child does not come up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { child, rpc: Rpc::new(&fs::read_to_string(address).expect("the address is there")) }
    }

    /// As the kernel does it when memory runs out.
    fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[tokio::test]
#[ignore = "the other tests start it"]
async fn serve_in_a_child_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let config = Config { data_dir: Some(folder.join("chain")), ..Config::default() };
    let chain = dev::bind(config).await.expect("the chain opens");
    fs::write(folder.join("address.new"), chain.url()).expect("the folder can be written");
    fs::rename(folder.join("address.new"), folder.join("address")).expect("the folder can be written");
    chain.run(CancellationToken::new()).await.expect("it runs");
}

/// What clients were told before the chain died.
#[derive(Default)]
struct Promises {
    hashes: Vec<B256>,
    head: Value,
}

/// Sends with account `from` until the chain is gone.
async fn send_until_death(rpc: Rpc, from: usize, promises: Arc<Mutex<Promises>>) {
    let address = dev::addresses()[from];
    let mut nonce = rpc.number("eth_getTransactionCount", json!([address, "latest"])).await;
    loop {
        let tx = Tx { from, nonce, ..Tx::default() };
        let body = dev_fixture::request(1, "eth_sendRawTransaction", json!([tx.raw()])).to_string();
        let Ok(answer) = rpc.try_post(body).await else { return };
        let Ok(answer) = answer.json::<Value>().await else { return };
        assert_eq!(answer["result"], json!(tx.hash()), "{answer}");
        promises.lock().expect("nobody panicked").hashes.push(tx.hash());
        nonce += 1;
    }
}

async fn watch_until_death(rpc: Rpc, promises: Arc<Mutex<Promises>>) {
    loop {
        let body = dev_fixture::request(1, "eth_getBlockByNumber", json!(["latest", false])).to_string();
        let Ok(answer) = rpc.try_post(body).await else { return };
        let Ok(mut answer) = answer.json::<Value>().await else { return };
        promises.lock().expect("nobody panicked").head = answer["result"].take();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let promises = Arc::new(Mutex::new(Promises::default()));
    // Moments from before the first block to well under way.
    for delay_ms in [0, 3, 10, 25, 60, 120, 200, 330] {
        let process = Process::start(folder.path()).await;
        let senders = (0..4).map(|from| tokio::spawn(send_until_death(process.rpc.clone(), from, promises.clone())));
        let senders: Vec<_> = senders.collect();
        let watcher = tokio::spawn(watch_until_death(process.rpc.clone(), promises.clone()));
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        process.kill();
        for ended in join_all(senders).await {
            // A sender that had not begun finds nobody: that is no promise broken.
            let _ = ended;
        }
        watcher.await.expect("the watcher only looks");

        let chain = Fixture::in_folder(&folder.path().join("chain")).await;
        let (hashes, head) = {
            let promises = promises.lock().expect("nobody panicked");
            (promises.hashes.clone(), promises.head.clone())
        };
        for hash in hashes {
            assert_eq!(chain.rpc.receipt(hash).await["status"], "0x1", "{hash} after {delay_ms} ms");
        }
        if let Some(hash) = head.get("hash") {
            let kept = chain.rpc.ok("eth_getBlockByHash", json!([hash, false])).await;
            assert_eq!(kept, head, "the head seen last, after {delay_ms} ms");
        }
        chain.stop().await;
    }
    assert!(promises.lock().unwrap().hashes.len() > 20, "the test did something");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_chain_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path()).await;
    let rpc = process.rpc.clone();
    rpc.deploy_logger().await;
    rpc.ok("evm_increaseTime", json!([1_000])).await;
    rpc.ok("evm_setAutomine", json!([false])).await;
    let waiting = rpc.send(&Tx { nonce: 1, ..Tx::default() }).await;
    rpc.ok("dev_reorg", json!([1])).await;
    let (head, status) = (rpc.head().await, rpc.ok("txpool_status", json!([])).await);
    process.kill();

    let process = Process::start(folder.path()).await;
    let rpc = process.rpc.clone();
    assert_eq!(rpc.head().await, head);
    assert_eq!(rpc.ok("txpool_status", json!([])).await, status);
    assert_eq!(rpc.ok("eth_getTransactionByHash", json!([waiting])).await["blockHash"], Value::Null);
    rpc.ok("evm_mine", json!([])).await;
    assert_eq!(rpc.receipt(waiting).await["status"], "0x1");
    let ahead =
        rpc.head().await["timestamp"].as_str().map(|text| u64::from_str_radix(&text[2..], 16).unwrap()).unwrap();
    assert!(ahead >= dev::system_clock()() + 990, "the clock is still ahead");
    process.kill();
}
