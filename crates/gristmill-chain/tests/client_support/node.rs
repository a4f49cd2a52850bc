//! A chain for one test: ours in this process, or anvil beside it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::Provider,
    signers::{SignerSync, local::PrivateKeySigner},
};
use gristmill_chain::{
    dev::{self, Config},
    rpc::Rpc,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::eventually;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Anvil,
}

pub struct Node {
    pub kind: Kind,
    pub url: String,
    pub rpc: Rpc,
    running: Running,
}

enum Running {
    Embedded { shutdown: CancellationToken, serving: JoinHandle<Result<(), dev::Error>> },
    Anvil(Child),
}

impl Drop for Node {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Embedded { shutdown, .. } => shutdown.cancel(),
            Running::Anvil(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Node {
    pub async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Embedded => Self::embedded(Config::default()).await,
            Kind::Anvil => Self::anvil(),
        }
    }

    pub async fn in_folder(folder: &Path) -> Self {
        Self::embedded(Config { data_dir: Some(folder.to_owned()), ..Config::default() }).await
    }

    pub async fn embedded(config: Config) -> Self {
        let chain = dev::bind(config).await.expect("the chain opens");
        let url = chain.url();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(chain.run(shutdown.clone()));
        let rpc = Rpc::connect(&url).expect("a URL");
        Self { kind: Kind::Embedded, url, rpc, running: Running::Embedded { shutdown, serving } }
    }

    fn anvil() -> Self {
        let path = anvil_path();
        let mut command = Command::new(&path);
        command.args(["--port", "0", "--hardfork", "prague"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "cannot start {}: {error}; `cargo xtask test` installs it, GRISTMILL_ANVIL names another",
                path.display()
            )
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = lines
            .find_map(|line| line.expect("text").strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        // It goes on printing, and must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let url = format!("http://{address}");
        let rpc = Rpc::connect(&url).expect("a URL");
        Self { kind: Kind::Anvil, url, rpc, running: Running::Anvil(child) }
    }

    /// Stops an embedded chain, leaving its folder.
    pub async fn stop(mut self) {
        if let Running::Embedded { shutdown, serving } = &mut self.running {
            shutdown.cancel();
            serving.await.expect("no panic").expect("no error");
        }
    }

    /// Keys of the accounts that have money from the start; the same on both.
    pub fn key(index: usize) -> PrivateKeySigner {
        dev::accounts().swap_remove(index)
    }

    pub async fn raw(&self, method: &'static str, params: Value) -> Value {
        let answer: Result<Value, _> = self.rpc.provider().raw_request(method.into(), params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub async fn mine(&self, blocks: u64) {
        self.raw("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    pub async fn set_automine(&self, on: bool) {
        self.raw("evm_setAutomine", json!([on])).await;
    }

    pub async fn set_next_base_fee(&self, wei: u64) {
        self.raw("anvil_setNextBlockBaseFeePerGas", json!([format!("{wei:#x}")])).await;
    }

    pub async fn set_balance(&self, account: Address, wei: U256) {
        self.raw("anvil_setBalance", json!([account, wei])).await;
    }

    pub async fn forget(&self, transaction: B256) {
        self.raw("anvil_dropTransaction", json!([transaction])).await;
    }

    /// Replaces the last blocks by as many empty ones; their transactions are gone.
    pub async fn reorganise(&self, depth: u64) {
        match self.kind {
            Kind::Embedded => self.raw("dev_reorg", json!([depth, { "drop": true }])).await,
            Kind::Anvil => self.raw("anvil_reorg", json!([depth, []])).await,
        };
    }

    pub async fn snapshot(&self) -> Value {
        self.raw("evm_snapshot", json!([])).await
    }

    pub async fn restore(&self, snapshot: Value) {
        self.raw("evm_revert", json!([snapshot])).await;
    }

    /// Anvil answers before it mines.
    pub async fn mined(&self, transaction: B256) {
        let receipt = || async { self.rpc.receipt(transaction).await.unwrap().is_some() };
        eventually("a transaction is mined", receipt).await;
    }

    /// A transaction that is not the sender's business.
    pub async fn transact(&self, key: &PrivateKeySigner, nonce: u64, to: TxKind, input: Bytes, tip_wei: u128) -> B256 {
        let transaction = TxEip1559 {
            chain_id: self.rpc.chain_id().await.expect("a chain id"),
            nonce,
            gas_limit: 300_000,
            max_fee_per_gas: 100_000_000_000 + tip_wei,
            max_priority_fee_per_gas: tip_wei,
            to,
            value: U256::ZERO,
            input,
            access_list: Default::default(),
        };
        let signature = key.sign_hash_sync(&transaction.signature_hash()).expect("signed");
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        self.rpc.send_raw(&signed.encoded_2718()).await.expect("taken");
        *signed.tx_hash()
    }
}

fn anvil_path() -> PathBuf {
    std::env::var_os("GRISTMILL_ANVIL").map_or_else(
        || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/@foundry-rs");
            root.join("anvil-linux-amd64/bin/anvil")
        },
        PathBuf::from,
    )
}
