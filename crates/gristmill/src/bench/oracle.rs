//! The rows of `gristmill bench oracle`: a real chain, market, pool and oracle in this process, and workers that answer at
//! once, so that what is measured is the way between them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::Filter;
use alloy::signers::SignerSync as _;
use alloy::sol_types::{SolCall, SolEvent as _};
use anyhow::{Context, Result, ensure};
use gristmill_chain::contracts::{Market, RLC};
use gristmill_chain::rpc::Rpc;
use gristmill_chain::{dev, keystore};
use gristmill_scheduler::core::{Replication, Tuning, Weights};
use gristmill_scheduler::server::{Apart, Config as SchedulerConfig, Scheduler};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::light_worker::{LightWorker, Recorded};
use crate::deploy::{self, Terms};
use crate::deployment::{AppOffer, AppPlan, Deployment, Judge, Meter};
use crate::oracle::{self, Confirmations, Dashboard, Status};
use crate::pool_client::PoolClient;
use crate::report::{Report, thousands};
use crate::rlc::NRLC_PER_RLC;
use crate::roles::Roles;
use crate::wallet::Wallet;
use crate::{offer, vanity_shares, vouchers};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OracleRow {
    /// From an order's block to its job in the pool
    Latency,
    /// Many orders in as few blocks as hold them, until all are settled
    Burst,
    /// A first start behind a long chain
    CatchUp,
}

pub struct OracleBench {
    pub rows: Vec<OracleRow>,
    /// Of a burst.
    pub orders: u64,
    /// Behind which the oracle starts, and how many of them hold an order.
    pub blocks: u64,
    pub events: u64,
}

const PATIENCE: Duration = Duration::from_secs(300);
const LATENCY_RUNS: usize = 50;
const WORKERS: u64 = 2;
/// Gas of an order's transaction: it takes some 64,000.
const ORDER_GAS: u64 = 80_000;
/// Orders in a block of the embedded chain.
const BLOCK_ORDERS: u64 = 350;

pub async fn run(bench: &OracleBench, report: &Report) -> Result<()> {
    for row in &bench.rows {
        let dir = tempfile_dir()?;
        let measured = match row {
            OracleRow::Latency => Box::pin(latency(&dir, report)).await,
            OracleRow::Burst => Box::pin(burst(&dir, bench.orders, report)).await,
            OracleRow::CatchUp => Box::pin(catch_up(&dir, bench.blocks, bench.events, report)).await,
        };
        std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
        measured?;
    }
    Ok(())
}

fn tempfile_dir() -> Result<std::path::PathBuf> {
    let name = format!("gristmill-bench-oracle-{}-{:?}", std::process::id(), Instant::now());
    let dir = std::env::temp_dir().join(name.replace([' ', '{', '}', ':'], ""));
    std::fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A chain with a market and an offer, and a pool with workers.
struct Stage {
    roles: Roles,
    rpc: Rpc,
    rpc_url: String,
    deployment: Deployment,
    offer: B256,
    requester: Wallet,
    pool: PoolClient,
    dashboard: Dashboard,
    stop_workers: CancellationToken,
}

impl Stage {
    async fn set(dir: &Path) -> Result<Self> {
        let mut roles = Roles::new(CancellationToken::new());
        let chain = dev::bind(dev::Config { data_dir: Some(dir.join("chain")), ..dev::Config::default() }).await?;
        let rpc_url = chain.url();
        let stop = roles.shutdown();
        roles.start("chain", async move { Ok(chain.run(stop).await?) });
        let rpc = Rpc::connect(&rpc_url)?;
        let wallet = async |account| Wallet::new(rpc.clone(), keystore::dev_key(account, dev::CHAIN_ID)?).await;
        let (owner, requester) = (wallet(1).await?, wallet(3).await?);
        let app = crate::embedded::vanity_manifest().digest();
        let mut deployment = deploy::deploy(&owner, owner.address(), None, app, &Terms::default(), |_| ()).await?;
        let offer = bench_offer(&deployment, &owner, app).await?;
        deployment.apps.push(offer.clone());
        let call = Market::publishOfferCall { terms: offer::terms(&deployment, &offer) }.abi_encode();
        owner.call("publish the offer", deployment.market, call).await?;
        deploy::take_play_rlc(&requester, deployment.token).await?;
        let amount = U256::from(500 * NRLC_PER_RLC);
        let deposit = RLC::approveAndCallCall { spender: deployment.market, amount, data: Bytes::new() }.abi_encode();
        requester.call("deposit", deployment.token, deposit).await?;

        let folder = dir.join("scheduler");
        let scheduler = Scheduler::bind(SchedulerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.clone(),
            name: "bench".to_owned(),
            tuning: Tuning::default(),
            weights: Weights::default(),
            replication: Replication::default(),
            apart: Apart::default(),
            share_checkers: vanity_shares::checkers(),
            about: serde_json::Map::new(),
            shared: None,
            blobs_dir: None,
            approved_apps_only: false,
        })
        .await?;
        crate::embedded::publish_vanity(scheduler.blobs())?;
        let (pool_url, token) = (scheduler.url(), scheduler.token().to_owned());
        let scheduler = scheduler.with_routes(vouchers::routes(&folder, &token)?);
        let stop = roles.shutdown();
        roles.start("scheduler", async move { Ok(scheduler.run(stop).await?) });
        let pool = PoolClient::new(&pool_url, &token);
        let (offer, dashboard) = (offer.id, Dashboard::default());
        let stop_workers = roles.shutdown().child_token();
        Ok(Self { roles, rpc, rpc_url, deployment, offer, requester, pool, dashboard, stop_workers })
    }

    fn start_workers(&mut self) {
        let (recorded, connected) = (Arc::new(Recorded::default()), Arc::new(AtomicU64::new(0)));
        for number in 0..WORKERS {
            let worker = LightWorker::new(number, &self.pool.url(), 64, recorded.clone());
            let (connected, stop) = (connected.clone(), self.stop_workers.clone());
            self.roles.start("worker", async move {
                worker.run(connected, stop).await;
                Ok(())
            });
        }
    }

    fn start_oracle(&mut self, dir: &Path) -> Result<()> {
        let config = oracle::Config {
            data_dir: dir.join("oracle"),
            rpc_url: self.rpc_url.clone(),
            deployment: self.deployment.clone(),
            deployment_file: None,
            key: keystore::dev_key(1, dev::CHAIN_ID)?,
            pool: self.pool.clone(),
            confirmations: Confirmations { start: 0, settle: 0, finality: false },
            local_chain: true,
            budget_wei_per_hour: None,
            fee_per_gas_wei_max: None,
            dashboard: self.dashboard.clone(),
        };
        self.roles.start("oracle", oracle::run(config, self.roles.shutdown()));
        Ok(())
    }

    async fn status(&self) -> Result<Option<Status>> {
        Ok(self.dashboard.status().await?.pop())
    }

    /// No two are alike: the market would have to look for an id for each that is.
    fn order(&self, number: u64) -> Vec<u8> {
        Market::requestCall {
            offer: self.offer,
            units: 1,
            priceMax: U256::MAX,
            callback: Address::ZERO,
            callbackGas: 0,
            params: format!("[\"{number}\"]").into_bytes().into(),
        }
        .abi_encode()
    }

    /// Hands in so many orders and has them mined; the blocks that hold them.
    async fn place(&self, orders: u64) -> Result<u64> {
        let provider = self.rpc.provider();
        let _: serde_json::Value = provider.raw_request("evm_setAutomine".into(), [false]).await?;
        let first = self.rpc.nonce(self.requester.address()).await?;
        for nonce in first..first + orders {
            let transaction = TxEip1559 {
                chain_id: dev::CHAIN_ID,
                nonce,
                gas_limit: ORDER_GAS,
                max_fee_per_gas: 100_000_000_000,
                max_priority_fee_per_gas: 0,
                to: self.deployment.market.into(),
                value: U256::ZERO,
                access_list: Default::default(),
                input: self.order(nonce).into(),
            };
            let signature = self.requester.key.sign_hash_sync(&transaction.signature_hash())?;
            let signed = TxEnvelope::from(transaction.into_signed(signature));
            self.rpc.send_raw(&signed.encoded_2718()).await?;
        }
        let blocks = orders.div_ceil(BLOCK_ORDERS);
        self.mine(blocks).await?;
        let _: serde_json::Value = provider.raw_request("evm_setAutomine".into(), [true]).await?;
        let head = self.rpc.head().await?.number;
        let filter = Filter::new().address(self.deployment.market).event_signature(Market::Requested::SIGNATURE_HASH);
        let placed = self.rpc.logs(&filter.from_block(head + 1 - blocks)).await?.len() as u64;
        ensure!(placed == orders, "only {placed} of {orders} orders were mined");
        Ok(blocks)
    }

    async fn mine(&self, blocks: u64) -> Result<()> {
        let blocks = [U256::from(blocks)];
        let _: serde_json::Value = self.rpc.provider().raw_request("anvil_mine".into(), blocks).await?;
        Ok(())
    }

    /// Orders that are settled, and in how many transactions.
    async fn settled(&self, from: u64) -> Result<(usize, usize)> {
        let filter = Filter::new().address(self.deployment.market).event_signature(Market::Settled::SIGNATURE_HASH);
        let logs = self.rpc.logs(&filter.from_block(from)).await?;
        let transactions: BTreeSet<B256> = logs.iter().filter_map(|log| log.transaction_hash).collect();
        Ok((logs.len(), transactions.len()))
    }
}

async fn bench_offer(
    deployment: &Deployment,
    owner: &Wallet,
    app: gristmill_proto::digest::Digest,
) -> Result<AppOffer> {
    let word = gristmill_chain::contracts::PoolWord::BYTECODE.to_vec();
    let (verifier, _) = owner.deploy("deploy the verifier", word).await?;
    let mut offer = AppOffer {
        id: B256::ZERO,
        name: "bench".to_owned(),
        judge: Judge::Pool,
        verifier,
        provider: owner.address(),
        unit_price: 1_000,
        pool_fee_bps: 1_000,
        provider_fee_bps: 0,
        // The blocks of a long chain are a second apart, and no order may end behind them.
        duration: 7 * 24 * 3_600,
        meter: Meter::Task,
        signed: false,
        plan: AppPlan {
            app,
            args: vec!["{args}".to_owned()],
            env: Default::default(),
            limits: Default::default(),
            resources: Default::default(),
            require: Vec::new(),
            retries: 3,
        },
    };
    offer.id = offer::offer_id(deployment, &offer::terms(deployment, &offer));
    Ok(offer)
}

async fn latency(dir: &Path, report: &Report) -> Result<()> {
    let mut stage = Box::pin(Stage::set(dir)).await?;
    stage.start_oracle(dir)?;
    let mut took = Vec::with_capacity(LATENCY_RUNS);
    for run in 0..=LATENCY_RUNS as u64 {
        let receipt = stage.requester.call("order", stage.deployment.market, stage.order(run)).await?;
        let mined = Instant::now();
        let order = crate::market_order::ordered_in(&receipt).context("an order leaves an event")?.id;
        while stage.pool.job_by_external_id(&format!("{order:#x}")).await?.is_none() {
            ensure!(mined.elapsed() < PATIENCE, "no job for {order}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The first waits for the oracle itself to start.
        if run > 0 {
            took.push(mined.elapsed());
        }
    }
    took.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let (median, worst) = (ms(took[took.len() / 2]), ms(took[took.len() - 1]));
    let facts = json!({ "runs": took.len(), "median_ms": median, "max_ms": worst });
    report.result("latency", &facts, &format!("latency     order mined to job: {median:.1} ms, at most {worst:.1} ms"));
    stage.roles.stop().await
}

async fn burst(dir: &Path, orders: u64, report: &Report) -> Result<()> {
    let mut stage = Box::pin(Stage::set(dir)).await?;
    stage.start_workers();
    stage.start_oracle(dir)?;
    while stage.status().await?.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let from = stage.rpc.head().await?.number;
    let blocks = stage.place(orders).await?;
    let mined = Instant::now();
    let (mut settled, mut transactions) = (0, 0);
    while (settled as u64) < orders {
        ensure!(mined.elapsed() < PATIENCE, "{settled} of {orders} orders are settled");
        tokio::time::sleep(Duration::from_millis(50)).await;
        (settled, transactions) = stage.settled(from).await?;
    }
    let seconds = mined.elapsed().as_secs_f64();
    let facts = json!({ "orders": orders, "blocks": blocks, "settled": settled, "transactions": transactions,
        "seconds": seconds });
    let line = format!(
        "burst       {} orders in {blocks} blocks: settled in {transactions} transactions, {seconds:.1} s",
        thousands(orders)
    );
    report.result("burst", &facts, &line);
    stage.roles.stop().await
}

async fn catch_up(dir: &Path, blocks: u64, events: u64, report: &Report) -> Result<()> {
    const ROUNDS: u64 = 100;
    let mut stage = Box::pin(Stage::set(dir)).await?;
    let each = (events / ROUNDS).clamp(1, BLOCK_ORDERS);
    for _ in 0..events / each {
        stage.place(each).await?;
        stage.mine((blocks * each / events.max(1)).saturating_sub(1)).await?;
    }
    let head = stage.rpc.head().await?.number;
    let started = Instant::now();
    stage.start_oracle(dir)?;
    loop {
        ensure!(started.elapsed() < PATIENCE, "the oracle is not through");
        if let Some(status) = stage.status().await?
            && status.cursor >= head
        {
            ensure!(status.open == events / each * each, "{} orders are known", status.open);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let facts = json!({ "blocks": head, "events": events, "seconds": seconds });
    let line = format!("catch-up    {} blocks with {} orders: {seconds:.1} s", thousands(head), thousands(events));
    report.result("catch_up", &facts, &line);
    stage.roles.stop().await
}
