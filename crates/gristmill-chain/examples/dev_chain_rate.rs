//! How fast the embedded chain is, beside anvil in the same run: `cargo run --release -p gristmill-chain --example
//! dev_chain_rate -- [TRANSACTIONS]`. Anvil comes from `$GRISTMILL_ANVIL` or from the contracts' npm packages; without it
//! only our own column is filled.

// This is the program's output.
#![allow(clippy::print_stdout)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    network::TxSignerSync,
    primitives::{Address, TxKind, U256, hex},
    sol_types::{SolCall, SolConstructor},
};
use futures_util::{StreamExt, stream};
use gristmill_chain::{
    contracts::DevRLC,
    dev::{self, CHAIN_ID, Config},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Requests on their way at a time in the concurrent runs.
const IN_FLIGHT: usize = 32;
/// Tokens that the contract's owner has at the start of it all.
const SUPPLY_CALLS: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let transactions: usize = std::env::args().nth(1).map_or(Ok(2_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("chain");
    let mut rows = Vec::new();

    let started = Started::start(Some(&data_dir)).await?;
    rows.push(("ours, on disk", measure(&started.url, transactions).await?));
    started.stop().await?;
    let journal = std::fs::metadata(data_dir.join("journal"))?.len();
    let opening = Instant::now();
    let again = Started::start(Some(&data_dir)).await?;
    let opened = opening.elapsed();
    again.stop().await?;

    let started = Started::start(None).await?;
    rows.push(("ours, in memory", measure(&started.url, transactions).await?));
    started.stop().await?;

    if let Some(anvil) = Anvil::start() {
        rows.push(("anvil", measure(&anvil.url, transactions).await?));
    }

    println!("{:<18}{:>16}{:>16}{:>16}{:>16}", "", "one by one", "32 in flight", "eth_call", "eth_call, 32");
    println!("{:<18}{:>16}{:>16}{:>16}{:>16}", "", "mined tx/s", "mined tx/s", "1/s", "1/s");
    let last = rows.last().map(|(_, rates)| *rates).filter(|_| rows.len() == 3);
    for (name, rates) in &rows {
        print!("{name:<18}");
        rates.iter().for_each(|rate| print!("{rate:>16.0}"));
        println!();
    }
    for (name, rates) in rows.iter().filter(|_| last.is_some()).take(2) {
        print!("{:<18}", format!("{name} / anvil"));
        rates.iter().zip(last.unwrap_or_default()).for_each(|(ours, theirs)| print!("{:>16.2}", ours / theirs));
        println!();
    }
    let blocks = 2 * transactions + 1;
    println!(
        "\nopening {blocks} blocks ({:.1} MB): {:.3} s, {:.0} blocks/s",
        journal as f64 / 1e6,
        opened.as_secs_f64(),
        blocks as f64 / opened.as_secs_f64()
    );
    Ok(())
}

struct Started {
    url: String,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), dev::Error>>,
}

impl Started {
    async fn start(data_dir: Option<&Path>) -> Result<Self, dev::Error> {
        let chain = dev::bind(Config { data_dir: data_dir.map(Path::to_owned), ..Config::default() }).await?;
        let (url, shutdown) = (chain.url(), CancellationToken::new());
        Ok(Self { url, serving: tokio::spawn(chain.run(shutdown.clone())), shutdown })
    }

    async fn stop(self) -> Result<(), Box<dyn std::error::Error>> {
        self.shutdown.cancel();
        Ok(self.serving.await??)
    }
}

struct Anvil {
    url: String,
    child: Child,
}

impl Anvil {
    fn start() -> Option<Self> {
        let packaged = "../../contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
        let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join(packaged);
        let path = std::env::var_os("GRISTMILL_ANVIL").map_or(packaged, PathBuf::from);
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let child = Command::new(path)
            .args([
                "--silent",
                "--hardfork",
                "prague",
                "--port",
                &port.to_string(),
                "--chain-id",
                &CHAIN_ID.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { url: format!("http://127.0.0.1:{port}"), child })
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Mined transactions per second one by one and in parallel, calls per second likewise.
async fn measure(url: &str, transactions: usize) -> Result<[f64; 4], Box<dyn std::error::Error>> {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while rpc(&client, url, "eth_chainId", json!([])).await.is_err() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let accounts = dev::accounts();
    let token = deploy(&client, url).await?;
    let transfer = DevRLC::transferCall { to: Address::repeat_byte(7), value: U256::ZERO }.abi_encode();

    let one_by_one: Vec<_> =
        (0..transactions).map(|nonce| signed(&accounts[1], nonce as u64, token.into(), &transfer)).collect();
    let begun = Instant::now();
    for raw in one_by_one {
        rpc(&client, url, "eth_sendRawTransaction", json!([raw])).await?;
    }
    wait_for_nonce(&client, url, accounts[1].address(), transactions).await?;
    let first = transactions as f64 / begun.elapsed().as_secs_f64();

    let parallel: Vec<_> =
        (0..transactions).map(|nonce| signed(&accounts[2], nonce as u64, token.into(), &transfer)).collect();
    let begun = Instant::now();
    let sending = stream::iter(parallel).map(|raw| rpc(&client, url, "eth_sendRawTransaction", json!([raw])));
    for sent in sending.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await {
        sent?;
    }
    wait_for_nonce(&client, url, accounts[2].address(), transactions).await?;
    let second = transactions as f64 / begun.elapsed().as_secs_f64();

    let call = json!([{ "to": token, "data": hex::encode_prefixed(DevRLC::balanceOfCall { account: token }.abi_encode()) }, "latest"]);
    let begun = Instant::now();
    for _ in 0..SUPPLY_CALLS {
        rpc(&client, url, "eth_call", call.clone()).await?;
    }
    let third = SUPPLY_CALLS as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let calling = stream::iter(0..SUPPLY_CALLS).map(|_| rpc(&client, url, "eth_call", call.clone()));
    for called in calling.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await {
        called?;
    }
    Ok([first, second, third, SUPPLY_CALLS as f64 / begun.elapsed().as_secs_f64()])
}

async fn deploy(client: &reqwest::Client, url: &str) -> Result<Address, Box<dyn std::error::Error>> {
    let deployer = &dev::accounts()[0];
    let mut code = DevRLC::BYTECODE.to_vec();
    code.extend(DevRLC::constructorCall { holder: deployer.address() }.abi_encode());
    let raw = signed(deployer, 0, TxKind::Create, &code);
    rpc(client, url, "eth_sendRawTransaction", json!([raw])).await?;
    wait_for_nonce(client, url, deployer.address(), 1).await?;
    Ok(deployer.address().create(0))
}

fn signed(signer: &alloy::signers::local::PrivateKeySigner, nonce: u64, to: TxKind, input: &[u8]) -> String {
    let mut tx = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: if to.is_create() { 5_000_000 } else { 100_000 },
        max_fee_per_gas: 2_000_000_000,
        to,
        input: input.to_vec().into(),
        ..TxEip1559::default()
    };
    let signature = signer.sign_transaction_sync(&mut tx).expect("a local key signs");
    hex::encode_prefixed(TxEnvelope::from(tx.into_signed(signature)).encoded_2718())
}

async fn wait_for_nonce(
    client: &reqwest::Client,
    url: &str,
    address: Address,
    nonce: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    loop {
        let count = rpc(client, url, "eth_getTransactionCount", json!([address, "latest"])).await?;
        if count == json!(format!("{nonce:#x}")) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn rpc(
    client: &reqwest::Client,
    url: &str,
    method: &str,
    params: Value,
) -> Result<Value, Box<dyn std::error::Error>> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut answer: Value = client.post(url).json(&request).send().await?.json().await?;
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(answer.to_string().into()),
    }
}
