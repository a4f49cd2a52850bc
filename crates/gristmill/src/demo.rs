//! The whole grid in one process: every role as it also runs alone, and, with a pattern, one paid order from key to key.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use anyhow::{Context, Result, anyhow, bail};
use futures_util::StreamExt;
use gristmill_chain::contracts::RLC;
use gristmill_chain::rpc::Rpc;
use gristmill_chain::{dev, keystore};
use gristmill_proto::view::JobState;
use gristmill_scheduler::core::Tuning;
use gristmill_scheduler::server::{Config as SchedulerConfig, Scheduler};
use gristmill_worker::{Config as WorkerConfig, Worker};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::deploy::{self, Terms};
use crate::deployment::Deployment;
use crate::oracle::{self, Confirmations};
use crate::pool_client::PoolClient;
use crate::report::{Report, thousands};
use crate::rlc::rlc;
use crate::roles::{self, Listen, Roles};
use crate::search_progress::{tell_progress, whole};
use crate::site::{self, ChainFacts};
use crate::vanity_order::{self, Ending, Finished, LocalOrder, Settlement};
use crate::vanity_shares;
use crate::wallet::Wallet;

pub struct Config {
    /// Given: only this folder will do. Otherwise the next free one.
    pub data_dir: Option<PathBuf>,
    pub fresh: bool,
    pub page: Listen,
    pub chain: Listen,
    pub workers: u32,
    pub slots: u32,
}

/// Ports that a demo prefers, so that a wallet and a bookmark stay good.
pub const PAGE_PORT: u16 = 7117;
pub const CHAIN_PORT: u16 = 7118;
const DEMOS_MAX: u32 = 16;
/// Of the development chain. The page's demo wallet draws on another, so that nonces never collide.
const POOL_ACCOUNT: usize = 1;
const PROVIDER_ACCOUNT: usize = 2;
const REQUESTER_ACCOUNT: usize = 3;

/// A running grid.
pub struct Demo {
    pub roles: Roles,
    pub deployment: Deployment,
    pub requester: Wallet,
    pub orders: PathBuf,
    pub page_url: String,
    pub rpc_url: String,
    pub pool: PoolClient,
    _folder: fs::File,
}

/// Starts chain, contracts, pool, oracle, workers and page.
pub async fn start(config: Config, report: &Report, shutdown: CancellationToken) -> Result<Demo> {
    let (dir, folder) = take_folder(config.data_dir)?;
    if config.fresh {
        start_over(&dir)?;
    }
    let mut roles = Roles::new(shutdown);
    let chain_config = dev::Config { data_dir: Some(dir.join("chain")), ..dev::Config::default() };
    let chain = roles::bind_chain(chain_config, config.chain).await?;
    let rpc_url = chain.url();
    let stop = roles.shutdown();
    roles.start("chain", async move { Ok(chain.run(stop).await?) });
    let facts = json!({ "rpc": rpc_url, "chain_id": dev::CHAIN_ID, "folder": dir });
    report.event("chain", &facts, &format!("chain       {rpc_url}  (id {})", dev::CHAIN_ID));

    let rpc = Rpc::connect(&rpc_url)?;
    let key = |account| keystore::dev_key(account, dev::CHAIN_ID);
    let pool_wallet = Wallet::new(rpc.clone(), key(POOL_ACCOUNT)?).await?;
    let requester = Wallet::new(rpc, key(REQUESTER_ACCOUNT)?).await?;
    let deployment = deployed(&dir, &pool_wallet, key(PROVIDER_ACCOUNT)?.address(), report).await?;
    deploy::take_play_rlc(&requester, deployment.token).await?;

    let tuning = Tuning { alive_ms: 5_000, lost_ms: 20_000, reconnect_ms: 5_000, ..Tuning::default() };
    let about = serde_json::Map::from_iter([("chain".to_owned(), serde_json::to_value(ChainFacts::of(&deployment))?)]);
    let scheduler_config = SchedulerConfig {
        listen: config.page.address,
        data_dir: dir.join("scheduler"),
        name: "demo".to_owned(),
        tuning,
        share_checkers: vanity_shares::checkers(),
        about,
    };
    let scheduler = roles::bind_scheduler(scheduler_config, config.page).await?;
    publish_app(&scheduler, &deployment)?;
    let page_url = scheduler.url();
    let pool = PoolClient::new(&page_url, scheduler.token());
    let scheduler = scheduler.with_routes(site::page()).with_routes(site::rpc(&rpc_url));
    let stop = roles.shutdown();
    roles.start("scheduler", async move { Ok(scheduler.run(stop).await?) });

    let oracle_config = oracle::Config {
        // Its books are those of one market.
        data_dir: dir.join(format!("oracle-{}", alloy::hex::encode(&deployment.market[..4]))),
        rpc_url: rpc_url.clone(),
        deployment: deployment.clone(),
        key: pool_wallet.key,
        pool: pool.clone(),
        confirmations: Confirmations { start: 0, settle: 0 },
        local_chain: true,
    };
    roles.start("oracle", oracle::run(oracle_config, roles.shutdown()));
    let mut worker_ids = Vec::new();
    for number in 1..=config.workers {
        let worker = Worker::open(WorkerConfig {
            pool_url: page_url.clone(),
            data_dir: dir.join(format!("worker-{number}")),
            name: format!("{} {number}", roles::machine_name()),
            slots: config.slots,
            memory_bytes: roles::machine_memory(),
            sandbox: roles::sandbox_config(),
        })
        .await?;
        worker_ids.push(worker.id().to_string());
        let stop = roles.shutdown();
        roles.start("worker", async move {
            worker.run(stop).await;
            Ok(())
        });
    }
    let facts = json!({ "url": page_url, "page": site::has_page(), "workers": worker_ids });
    let page = if site::has_page() { "page      " } else { "pool      " };
    report.event("pool", &facts, &format!("{page}  {page_url}/"));
    let orders = dir.join("orders");
    Ok(Demo { roles, deployment, requester, orders, page_url, rpc_url, pool, _folder: folder })
}

fn take_folder(given: Option<PathBuf>) -> Result<(PathBuf, fs::File)> {
    if let Some(dir) = given {
        let lock = roles::try_lock(&dir)?;
        let lock = lock.with_context(|| {
            format!("another demo uses {}\n\nhint: stop it, or choose another --data-dir", dir.display())
        })?;
        return Ok((dir, lock));
    }
    let home = roles::home()?;
    for number in 1..=DEMOS_MAX {
        let name = if number == 1 { "demo".to_owned() } else { format!("demo-{number}") };
        if let Some(lock) = roles::try_lock(&home.join(&name))? {
            return Ok((home.join(name), lock));
        }
    }
    bail!("{DEMOS_MAX} demos run below {}\n\nhint: stop one, or choose another --data-dir", home.display())
}

/// Everything but the orders: those hold keys that somebody may be using.
fn start_over(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name == "orders" || name == "lock" {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// The contracts on this demo's chain; deployed when they are not there. Another version of this program has its own.
async fn deployed(dir: &Path, pool: &Wallet, provider: Address, report: &Report) -> Result<Deployment> {
    let app = crate::embedded::vanity_manifest().digest();
    let file = dir.join(format!("deployment-{}.json", deploy::edition(app, &Terms::default())));
    if file.exists()
        && let Ok(deployment) = Deployment::read(&file)
        && !pool.rpc.code(deployment.shop).await?.is_empty()
    {
        let facts = json!({ "market": deployment.market, "shop": deployment.shop, "token": deployment.token });
        report.event(
            "contracts",
            &facts,
            &format!("contracts   market {}, shop {}", deployment.market, deployment.shop),
        );
        return Ok(deployment);
    }
    let deployment = deploy::deploy(pool, provider, None, app, &Terms::default(), |step| {
        let line = format!("deployed    {:<15} {}  {:>9} gas", step.name, step.address, thousands(step.gas));
        report.event("deployed", &step, &line);
    })
    .await?;
    deployment.write(&file)?;
    Ok(deployment)
}

/// The pool must have the app that its offer names.
fn publish_app(scheduler: &Scheduler, deployment: &Deployment) -> Result<()> {
    let app = crate::embedded::publish_vanity(scheduler.blobs())?;
    if app != deployment.offer.plan.app {
        bail!(
            "the deployment offers app {}, this program carries {app}\n\nhint: start with --fresh",
            deployment.offer.plan.app
        );
    }
    Ok(())
}

/// One paid order, told step by step.
pub async fn order(demo: &mut Demo, pattern: &str, report: &Report) -> Result<()> {
    let started = Instant::now();
    let pattern = vanity_order::parse_pattern(pattern)?;
    let rpc = demo.requester.rpc.clone();
    let mut order = vanity_order::prepare(&demo.orders, &rpc, &demo.deployment, &pattern).await?;
    let record = &order.record;
    let facts =
        json!({ "pattern": record.pattern, "difficulty": record.difficulty, "price_nrlc": record.price.to_string() });
    let line = format!(
        "pattern     {}: one address in {}; costs {}",
        record.pattern,
        thousands(whole(record.difficulty)),
        rlc(U256::from(record.price))
    );
    report.event("quoted", &facts, &line);

    let held_before = balance(&demo.requester, demo.deployment.token).await?;
    let order_gas = vanity_order::place(&mut order, &demo.requester, &demo.deployment).await?;
    let record = &order.record;
    let (id, paid_in) = (record.order.context("just placed")?, record.transaction.context("just placed")?);
    let facts = json!({ "order": id, "transaction": paid_in, "gas": order_gas });
    report.event("ordered", &facts, &format!("ordered     {paid_in}  {:>9} gas", thousands(order_gas)));

    let settlement = tokio::select! {
        settlement = until_settled(demo_view(demo), &order, report) => settlement?,
        error = demo.roles.ended() => return Err(error),
    };
    let settle_gas = rpc.receipt(settlement.transaction).await?.context("a settled order has a receipt")?.gas_used;
    let facts = json!({ "transaction": settlement.transaction, "gas": settle_gas, "worker": settlement.worker,
        "delivered": settlement.delivered });
    let shop = if settlement.delivered { "" } else { "  (the shop did not take the answer)" };
    let line = format!("settled     {}  {:>9} gas{shop}", settlement.transaction, thousands(settle_gas));
    report.event("settled", &facts, &line);

    let finished = order.finish(&settlement)?;
    let spent = held_before - balance(&demo.requester, demo.deployment.token).await?;
    let outcome = Outcome { order: &order, order_gas, settle_gas, settlement: &settlement, finished: &finished, spent };
    outcome.check_sums()?;
    outcome.tell(demo, report, started.elapsed());
    Ok(())
}

/// What following an order needs, apart from the roles.
struct View {
    pool: PoolClient,
    rpc: Rpc,
}

fn demo_view(demo: &Demo) -> View {
    View { pool: demo.pool.clone(), rpc: demo.requester.rpc.clone() }
}

const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Follows the order through the pool and the chain. What counts is the chain: the pool only tells how it goes.
async fn until_settled(view: View, order: &LocalOrder, report: &Report) -> Result<Settlement> {
    let id = order.record.order.context("the order was placed")?;
    let told = follow_job(&view.pool, order, id, report);
    let ended = async {
        loop {
            match vanity_order::ending(&view.rpc, &order.record).await {
                Ok(Some(Ending::Settled(settlement))) => return Ok(settlement),
                Ok(None) | Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
                Ok(Some(Ending::Refunded { transaction, amount })) => {
                    return Err(anyhow!("the pool gave the {} back in {transaction}: no result", rlc(amount)));
                }
            }
        }
    };
    tokio::pin!(ended);
    tokio::select! {
        ended = &mut ended => ended,
        told = told => {
            told?;
            ended.await
        }
    }
}

/// Tells how the order's job goes, until it is over.
async fn follow_job(pool: &PoolClient, order: &LocalOrder, id: B256, report: &Report) -> Result<()> {
    let job = loop {
        match pool.job_by_external_id(&format!("{id:#x}")).await {
            Ok(Some(job)) => break job,
            Ok(None) | Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
        }
    };
    report.event("started", &json!({ "job": job.id }), &format!("started     job {}", job.id));
    let mut pictures = Box::pin(pool.watch(job.id).await?);
    let mut announced = false;
    while let Some(view) = pictures.next().await {
        let view = view?;
        tell_progress(&view, order.record.difficulty, report);
        if !announced && let Some(found) = view.results.last() {
            announced = true;
            let facts = json!({ "worker": found.worker, "task": found.task });
            report.event("found", &facts, &format!("found       by worker {}", found.worker));
        }
        if view.state == JobState::Failed {
            bail!("the search failed: {}", view.reason.unwrap_or_default());
        }
    }
    Ok(())
}

struct Outcome<'a> {
    order: &'a LocalOrder,
    order_gas: u64,
    settle_gas: u64,
    settlement: &'a Settlement,
    finished: &'a Finished,
    spent: U256,
}

impl Outcome<'_> {
    /// Every nRLC that left the requester's wallet is in somebody's account.
    fn check_sums(&self) -> Result<()> {
        let Settlement { worker_paid, pool_paid, provider_paid, .. } = self.settlement;
        let (price, paid) = (U256::from(self.order.record.price), worker_paid + pool_paid + provider_paid);
        if paid != price || self.spent != price {
            bail!(
                "the sums do not hold: price {price}, paid out {paid}, taken from the requester {}: this is a bug",
                self.spent
            );
        }
        Ok(())
    }

    fn tell(&self, demo: &Demo, report: &Report, took: Duration) {
        let Self { order, settlement, finished, .. } = self;
        let ordered_in = order.record.transaction.unwrap_or_default();
        let seconds = took.as_secs_f64();
        let facts = json!({
            "pattern": order.record.pattern,
            "address": finished.address,
            "key_file": finished.key_file,
            "offset": finished.offset,
            "order": order.record.order,
            "worker": settlement.worker,
            "paid_nrlc": { "worker": settlement.worker_paid.to_string(), "pool": settlement.pool_paid.to_string(),
                "provider": settlement.provider_paid.to_string() },
            "transactions": [
                { "name": "order", "hash": ordered_in, "gas": self.order_gas },
                { "name": "settle", "hash": settlement.transaction, "gas": self.settle_gas },
            ],
            "page": demo.page_url,
            "seconds": seconds,
        });
        let text = format!(
            "\n{address}\n\n  \
             private key   {key}  (WIF, readable by you only)\n  \
             offset k      {offset}\n                public, and useless without your half of the key\n  \
             checked       by the verifier contract, and again from the finished key\n  \
             paid          {price}: {worker} to worker {worker_id},\n                {pool} to the pool, {provider} to the app's provider\n  \
             transactions  order  {ordered_in}  {order_gas:>9} gas\n                \
             settle {settled_in}  {settle_gas:>9} gas\n  \
             took          {seconds:.1} s\n  \
             page          {page}/\n",
            address = finished.address,
            key = finished.key_file.display(),
            offset = finished.offset,
            price = rlc(U256::from(order.record.price)),
            worker = rlc(settlement.worker_paid),
            worker_id = settlement.worker,
            pool = rlc(settlement.pool_paid),
            provider = rlc(settlement.provider_paid),
            order_gas = thousands(self.order_gas),
            settled_in = settlement.transaction,
            settle_gas = thousands(self.settle_gas),
            page = demo.page_url,
        );
        report.result("result", &facts, &text);
    }
}

async fn balance(wallet: &Wallet, token: Address) -> Result<U256> {
    let token = RLC::new(token, wallet.rpc.provider());
    token.balanceOf(wallet.address()).call().await.context("cannot read the RLC balance")
}
