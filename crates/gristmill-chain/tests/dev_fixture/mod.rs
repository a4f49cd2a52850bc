//! A development chain for one test, and clients for it.
// Each test binary uses a part of this; parameters are `json!` literals.
#![allow(dead_code, unreachable_pub, clippy::needless_pass_by_value)]

pub mod anvil;
pub mod compare;
pub mod dice;

use std::path::Path;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    network::{EthereumWallet, TxSignerSync},
    primitives::{Address, B256, Bytes, TxKind, U256, bytes, hex},
    providers::{Provider, ProviderBuilder},
};
use gristmill_chain::dev::{self, CHAIN_ID, Config};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Deploys a contract that logs its calldata under the first word as topic, stores the caller under that word, and
/// reverts with 0x1234 if called with nothing.
pub const LOGGER: Bytes =
    bytes!("60248060095f395ff33615601857366000600037600035366000a13360003555005b61123460005260206000fd");

pub struct Fixture {
    pub url: String,
    pub rpc: Rpc,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), dev::Error>>,
}

impl Fixture {
    pub async fn start(config: Config) -> Self {
        let chain = dev::bind(config).await.expect("the chain opens");
        let url = chain.url();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(chain.run(shutdown.clone()));
        Self { rpc: Rpc::new(&url), url, shutdown, serving }
    }

    pub async fn in_memory() -> Self {
        Self::start(Config::default()).await
    }

    pub async fn in_folder(folder: &Path) -> Self {
        Self::start(Config { data_dir: Some(folder.to_owned()), ..Config::default() }).await
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.expect("no panic").expect("no error");
    }

    /// A client that signs as the prefunded account `index`.
    pub fn client(&self, index: usize) -> impl Provider + Clone + use<> {
        client(&self.url, index)
    }
}

pub fn client(url: &str, index: usize) -> impl Provider + Clone + use<> {
    install_crypto();
    let wallet = EthereumWallet::from(dev::accounts().swap_remove(index));
    ProviderBuilder::new().wallet(wallet).connect_http(url.parse().expect("a URL"))
}

/// The HTTP client wants to know its TLS library even where it never uses TLS.
pub fn install_crypto() {
    // An error says that it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// JSON-RPC without any library's opinion.
#[derive(Clone)]
pub struct Rpc {
    pub url: String,
    http: reqwest::Client,
}

impl Rpc {
    pub fn new(url: &str) -> Self {
        install_crypto();
        Self { url: url.to_owned(), http: reqwest::Client::new() }
    }

    pub async fn post(&self, body: String) -> reqwest::Response {
        self.try_post(body).await.expect("the chain answers")
    }

    pub async fn try_post(&self, body: String) -> reqwest::Result<reqwest::Response> {
        self.http.post(&self.url).header("content-type", "application/json").body(body).send().await
    }

    pub fn request(&self, method: reqwest::Method) -> reqwest::RequestBuilder {
        self.http.request(method, &self.url)
    }

    /// The whole answer.
    pub async fn answer(&self, method: &str, params: Value) -> Value {
        self.post(request(1, method, params).to_string()).await.json().await.expect("the answer is JSON")
    }

    pub async fn ok(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        answer.get("result").cloned().unwrap_or_else(|| panic!("{method}: {answer}"))
    }

    pub async fn error(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        answer.get("error").cloned().unwrap_or_else(|| panic!("{method}: {answer}"))
    }

    pub async fn number(&self, method: &str, params: Value) -> u64 {
        let text = self.ok(method, params).await;
        let hex = text.as_str().and_then(|text| text.strip_prefix("0x")).unwrap_or_else(|| panic!("{method}: {text}"));
        u64::from_str_radix(hex, 16).expect("hex digits")
    }

    pub async fn send(&self, tx: &Tx) -> B256 {
        serde_json::from_value(self.ok("eth_sendRawTransaction", json!([tx.raw()])).await).expect("a hash")
    }

    pub async fn send_error(&self, tx: &Tx) -> Value {
        self.error("eth_sendRawTransaction", json!([tx.raw()])).await
    }

    pub async fn receipt(&self, hash: B256) -> Value {
        self.ok("eth_getTransactionReceipt", json!([hash])).await
    }

    pub async fn head(&self) -> Value {
        self.ok("eth_getBlockByNumber", json!(["latest", false])).await
    }

    /// Deploys the contract above as account 0, which must not have sent anything yet.
    pub async fn deploy_logger(&self) -> Address {
        self.send(&Tx { to: TxKind::Create, input: LOGGER, gas_limit: 200_000, ..Tx::default() }).await;
        dev::addresses()[0].create(0)
    }
}

pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A transaction to be signed by a prefunded account; sends one wei to somebody if nothing else is said.
#[derive(Clone, Debug)]
pub struct Tx {
    pub from: usize,
    pub nonce: u64,
    pub to: TxKind,
    pub value: U256,
    pub input: Bytes,
    pub gas_limit: u64,
    pub fee_cap: u128,
    pub tip: u128,
}

impl Default for Tx {
    fn default() -> Self {
        Self {
            from: 0,
            nonce: 0,
            to: Address::repeat_byte(0x77).into(),
            value: U256::ZERO,
            input: Bytes::new(),
            gas_limit: 100_000,
            fee_cap: 5_000_000_000,
            tip: 1_000,
        }
    }
}

impl Tx {
    pub fn raw(&self) -> String {
        hex::encode_prefixed(self.signed().encoded_2718())
    }

    pub fn hash(&self) -> B256 {
        *self.signed().tx_hash()
    }

    fn signed(&self) -> TxEnvelope {
        let mut tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: self.nonce,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.fee_cap,
            max_priority_fee_per_gas: self.tip,
            to: self.to,
            value: self.value,
            access_list: Default::default(),
            input: self.input.clone(),
        };
        let signature = dev::accounts()[self.from].sign_transaction_sync(&mut tx).expect("a local key signs");
        tx.into_signed(signature).into()
    }
}
