//! How fast the embedded chain is, beside anvil in the same run: `cargo run --release -p gristmill-chain --example
//! dev_chain_rate -- [TRANSACTIONS]`. Anvil comes from `$GRISTMILL_ANVIL` or from the contracts' npm packages; without it
//! only our own column is filled.

// This is the program's output.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    io::{BufRead, BufReader, Read},
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
/// Calls in each of the two runs of calls.
const CALLS: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [command, folder] = arguments.as_slice()
        && command == "serve"
    {
        return serve(folder).await;
    }
    let transactions: usize = arguments.first().map_or(Ok(2_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("chain").to_string_lossy().into_owned();
    let mut rows = Vec::new();

    let ours = Ours::start(&data_dir)?;
    rows.push(("ours, on disk", measure(&ours.url, transactions).await?));
    drop(ours);
    let opening = Instant::now();
    let again = dev::bind(Config { data_dir: Some(data_dir.clone().into()), ..Config::default() }).await?;
    let opened = opening.elapsed();
    drop(again);

    let ours = Ours::start("")?;
    rows.push(("ours, in memory", measure(&ours.url, transactions).await?));
    drop(ours);
    if let Some(anvil) = Anvil::start() {
        rows.push(("anvil", measure(&anvil.url, transactions).await?));
    }
    print_table(&rows);
    let blocks = 2 * transactions + 1;
    let journal = std::fs::metadata(Path::new(&data_dir).join("journal"))?.len();
    println!(
        "\nopening {blocks} blocks ({:.1} MB): {:.3} s, {:.0} blocks/s",
        journal as f64 / 1e6,
        opened.as_secs_f64(),
        blocks as f64 / opened.as_secs_f64()
    );
    Ok(())
}

fn print_table(rows: &[(&str, [f64; 4])]) {
    println!("{:<24}{:>14}{:>14}{:>14}{:>14}", "", "one by one", "32 in flight", "eth_call", "eth_call, 32");
    println!("{:<24}{:>14}{:>14}{:>14}{:>14}", "", "mined tx/s", "mined tx/s", "1/s", "1/s");
    for (name, rates) in rows {
        print!("{name:<24}");
        rates.iter().for_each(|rate| print!("{rate:>14.0}"));
        println!();
    }
    if let [ours @ .., ("anvil", theirs)] = rows {
        for (name, rates) in ours {
            print!("{:<24}", format!("{name} / anvil"));
            rates.iter().zip(theirs).for_each(|(ours, theirs)| print!("{:>14.2}", ours / theirs));
            println!();
        }
    }
}

/// Serves a chain in a folder, or in memory if its name is empty, until standard input ends.
async fn serve(folder: &str) -> Result<(), Box<dyn Error>> {
    let data_dir = (!folder.is_empty()).then(|| PathBuf::from(folder));
    let chain = dev::bind(Config { data_dir, ..Config::default() }).await?;
    println!("{}", chain.url());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.cancel();
    });
    Ok(chain.run(shutdown).await?)
}

/// This program again, serving: a process of its own, as anvil is.
struct Ours {
    url: String,
    child: Child,
}

impl Ours {
    fn start(folder: &str) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut url)?;
        Ok(Self { url: url.trim().to_owned(), child })
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
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
async fn measure(url: &str, transactions: usize) -> Result<[f64; 4], Box<dyn Error>> {
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
    for _ in 0..CALLS {
        rpc(&client, url, "eth_call", call.clone()).await?;
    }
    let third = CALLS as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let calling = stream::iter(0..CALLS).map(|_| rpc(&client, url, "eth_call", call.clone()));
    for called in calling.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await {
        called?;
    }
    Ok([first, second, third, CALLS as f64 / begun.elapsed().as_secs_f64()])
}

async fn deploy(client: &reqwest::Client, url: &str) -> Result<Address, Box<dyn Error>> {
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
) -> Result<(), Box<dyn Error>> {
    loop {
        let count = rpc(client, url, "eth_getTransactionCount", json!([address, "latest"])).await?;
        if count == json!(format!("{nonce:#x}")) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn rpc(client: &reqwest::Client, url: &str, method: &str, params: Value) -> Result<Value, Box<dyn Error>> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut answer: Value = client.post(url).json(&request).send().await?.json().await?;
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(answer.to_string().into()),
    }
}
