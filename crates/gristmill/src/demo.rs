//! The whole grid in one process: every role as it also runs alone, and, with a pattern, one paid order from key to key.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Display;
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
use gristmill_scheduler::core::{Replication, Tuning, Weights};
use gristmill_scheduler::server::{Apart, Config as SchedulerConfig};
use gristmill_worker::policy::Policy;
use gristmill_worker::{Config as WorkerConfig, Worker};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vanity::Pattern;

use crate::deploy::{self, Terms};
use crate::deployment::Deployment;
use crate::iexec::gateway::Gateway;
use crate::iexec::{self, Hub};
use crate::oracle::{self, Confirmations};
use crate::pool_client::PoolClient;
use crate::report::{Report, count, thousands};
use crate::rlc::rlc;
use crate::roles::{self, Listen, Roles};
use crate::search_progress::tell_progress;
use crate::site::{self, ChainFacts};
use crate::vanity_order::{self, Ending, Finished, LocalOrder, Settlement};
use crate::vanity_shares;
use crate::vouchers;
use crate::wallet::Wallet;

pub struct Config {
    /// Given: only this folder will do. Otherwise the next free one.
    pub data_dir: Option<PathBuf>,
    pub fresh: bool,
    pub page: Listen,
    pub chain: Listen,
    pub workers: u32,
    pub slots: u32,
    /// Serve iExec's tools too.
    pub hub: bool,
}

/// Ports that a demo prefers, so that a wallet and a bookmark stay good.
pub const PAGE_PORT: u16 = 7117;
pub const CHAIN_PORT: u16 = 7118;
const ORDERS: &str = "orders";
const ENV: &str = "env";
const FIRST_NAME: &str = "demo";
const DEMOS_MAX: u32 = 16;
/// Of the development chain. The page's demo wallet draws on another, so that nonces never collide.
const POOL_ACCOUNT: usize = 1;
const PROVIDER_ACCOUNT: usize = 2;
const REQUESTER_ACCOUNT: usize = 3;
/// Owns the pool at the hub; two oracles with one key would both number its transactions.
const HUB_ACCOUNT: usize = 4;

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
    if !dir.ends_with(FIRST_NAME) {
        report.event("folder", &json!({ "folder": dir }), &format!("folder      {}", dir.display()));
    }
    if config.fresh {
        start_over(&dir, report)?;
    }
    let mut roles = Roles::new(shutdown);
    let chain_config = dev::Config { data_dir: Some(dir.join("chain")), ..dev::Config::default() };
    let chain = roles::bind_chain(chain_config, config.chain).await?;
    let rpc_url = chain.url();
    let stop = roles.shutdown();
    roles.start("chain", async move { Ok(chain.run(stop).await?) });
    let facts = json!({ "rpc": rpc_url, "chain_id": dev::CHAIN_ID, "folder": dir });
    let moved = config.chain.elsewhere(&rpc_url);
    report.event("chain", &facts, &format!("chain       {rpc_url}  (id {}){moved}", dev::CHAIN_ID));

    let rpc = Rpc::connect(&rpc_url)?;
    let key = |account| keystore::dev_key(account, dev::CHAIN_ID);
    let pool_wallet = Wallet::new(rpc.clone(), key(POOL_ACCOUNT)?).await?;
    let requester = Wallet::new(rpc, key(REQUESTER_ACCOUNT)?).await?;
    let deployment = deployed(&dir, &pool_wallet, key(PROVIDER_ACCOUNT)?.address(), report).await?;
    deploy::take_play_rlc(&requester, deployment.token).await?;

    // Books and jobs belong to one market: another version of this program has its own.
    let of_market = |role: &str| dir.join(format!("{role}-{}", alloy::hex::encode(&deployment.market[..4])));
    let tuning = Tuning { alive_ms: 5_000, lost_ms: 20_000, reconnect_ms: 5_000, ..Tuning::default() };
    let mut about =
        serde_json::Map::from_iter([("chain".to_owned(), serde_json::to_value(ChainFacts::of(&deployment))?)]);
    let hub_owner = Wallet::new(requester.rpc.clone(), key(HUB_ACCOUNT)?).await?;
    let hub = match config.hub {
        true => Some(deployed_hub(&dir, &hub_owner, deployment.token, report).await?),
        false => None,
    };
    if let Some(hub) = &hub {
        about.insert(iexec::FACT.to_owned(), serde_json::to_value(hub)?);
    }
    let scheduler_config = SchedulerConfig {
        listen: config.page.address,
        data_dir: of_market("scheduler"),
        name: "demo".to_owned(),
        tuning,
        weights: Weights::default(),
        replication: Replication::default(),
        apart: Apart::default(),
        share_checkers: vanity_shares::checkers(),
        about,
    };
    let scheduler = roles::bind_scheduler(scheduler_config, config.page).await?;
    crate::embedded::publish_vanity(scheduler.blobs())?;
    let page_url = scheduler.url();
    let pool = PoolClient::new(&page_url, scheduler.token());
    let vouchers = vouchers::routes(&of_market("scheduler"), scheduler.token())?;
    let mut scheduler = scheduler.with_routes(site::page()).with_routes(site::rpc(&rpc_url)).with_routes(vouchers);
    if let Some(hub) = hub {
        let gateway = Gateway::open(&of_market("scheduler"), hub.clone(), &rpc_url, scheduler.token())?;
        scheduler = scheduler.with_routes(gateway.routes());
        roles.start("order book", gateway.run(roles.shutdown()));
        let hub_oracle = iexec::oracle::Config {
            data_dir: dir.join(format!("hub-oracle-{}", alloy::hex::encode(&hub.hub[..4]))),
            rpc_url: rpc_url.clone(),
            hub,
            key: hub_owner.key,
            pool: pool.clone(),
            confirmations: Confirmations { start: 0, settle: 0, finality: false },
            local_chain: true,
        };
        roles.start("hub oracle", iexec::oracle::run(hub_oracle, roles.shutdown()));
    }
    let stop = roles.shutdown();
    roles.start("scheduler", async move { Ok(scheduler.run(stop).await?) });

    let oracle_config = oracle::Config {
        data_dir: of_market("oracle"),
        rpc_url: rpc_url.clone(),
        deployment: deployment.clone(),
        deployment_file: Some(deployment_file(&dir)),
        key: pool_wallet.key,
        pool: pool.clone(),
        confirmations: Confirmations { start: 0, settle: 0, finality: false },
        local_chain: true,
        budget_wei_per_hour: None,
        fee_per_gas_wei_max: None,
        dashboard: oracle::Dashboard::default(),
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
            labels: BTreeMap::new(),
            sandbox: roles::sandbox_config(),
            policy: Policy::default(),
        })
        .await?;
        worker_ids.push(worker.id().to_string());
        let stop = roles.shutdown();
        roles.start("worker", async move {
            worker.run(stop).await;
            Ok(())
        });
    }
    let shell = Shell { rpc: &rpc_url, pool: &page_url, token: &of_market("scheduler").join("token") };
    shell.write(&dir, &deployment)?;
    let facts = json!({ "url": page_url, "page": site::has_page(), "workers": worker_ids });
    let page = if site::has_page() { "page      " } else { "pool      " };
    report.event("pool", &facts, &format!("{page}  {page_url}/{}", config.page.elsewhere(&page_url)));
    let orders = dir.join(ORDERS);
    Ok(Demo { roles, deployment, requester, orders, page_url, rpc_url, pool, _folder: folder })
}

/// What tells a shell where this grid is: `. FOLDER/env`.
struct Shell<'a> {
    rpc: &'a str,
    pool: &'a str,
    token: &'a Path,
}

impl Shell<'_> {
    fn write(&self, dir: &Path, deployment: &Deployment) -> Result<()> {
        let file = dir.join(ENV);
        let plan = std::path::absolute(deployment_file(dir))?;
        let token = std::path::absolute(self.token)?;
        let values = [
            // Of Foundry.
            ("ETH_RPC_URL", self.rpc.to_owned()),
            ("GRISTMILL_RPC", self.rpc.to_owned()),
            ("GRISTMILL_POOL", self.pool.to_owned()),
            ("GRISTMILL_POOL_TOKEN", token.display().to_string()),
            ("GRISTMILL_DEPLOYMENT", plan.display().to_string()),
            ("GRISTMILL_MARKET", deployment.market.to_string()),
            ("GRISTMILL_RLC", deployment.token.to_string()),
        ];
        let lines = values.map(|(name, value)| format!("export {name}='{}'\n", value.replace('\'', "'\\''")));
        fs::write(&file, lines.concat()).with_context(|| format!("cannot write {}", file.display()))
    }
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
        let name = if number == 1 { FIRST_NAME.to_owned() } else { format!("{FIRST_NAME}-{number}") };
        if let Some(lock) = roles::try_lock(&home.join(&name))? {
            return Ok((home.join(name), lock));
        }
    }
    bail!("{DEMOS_MAX} demos run below {}\n\nhint: stop one, or choose another --data-dir", home.display())
}

/// Everything but the orders: those hold keys that somebody may be using.
fn start_over(dir: &Path, report: &Report) -> Result<()> {
    let mut given_up = 0;
    for mut order in LocalOrder::list(&dir.join(ORDERS))?.into_iter().filter(LocalOrder::is_awaited) {
        order.close()?;
        given_up += 1;
    }
    if given_up > 0 {
        let orders = dir.join(ORDERS);
        let line =
            format!("given up    {given_up} unfinished orders; your halves of their keys stay in {}", orders.display());
        report.event("given_up", &json!({ "orders": given_up, "folder": orders }), &line);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name == ORDERS || name == "lock" {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn deployment_file(dir: &Path) -> PathBuf {
    let app = crate::embedded::vanity_manifest().digest();
    dir.join(format!("deployment-{}.json", deploy::edition(app, &Terms::default())))
}

/// The contracts on this demo's chain; deployed when they are not there. Another version of this program has its own.
async fn deployed(dir: &Path, pool: &Wallet, provider: Address, report: &Report) -> Result<Deployment> {
    let app = crate::embedded::vanity_manifest().digest();
    let file = deployment_file(dir);
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

/// The hub on this demo's chain, and its pool; deployed when they are not there.
async fn deployed_hub(dir: &Path, owner: &Wallet, token: Address, report: &Report) -> Result<Hub> {
    let file = dir.join(format!("hub-{}.json", iexec::deploy::edition(token)));
    let hub = match Hub::read(&file) {
        Ok(hub) if !owner.rpc.code(hub.hub).await?.is_empty() => hub,
        _ => {
            let hub = iexec::deploy::deploy(owner, token, "gristmill dev", |step| {
                let line = format!("deployed    {:<15} {}  {:>9} gas", step.name, step.address, thousands(step.gas));
                report.event("deployed", &step, &line);
            })
            .await?;
            hub.write(&file)?;
            hub
        }
    };
    let line = format!("iexec       hub {}, pool {}", hub.hub, hub.workerpool);
    report.event("hub", &hub, &line);
    Ok(hub)
}

/// One paid order, told step by step. One that was paid for before, and whose search was interrupted, goes on.
pub async fn order(demo: &mut Demo, pattern: &Pattern, serves: bool, report: &Report) -> Result<()> {
    let started = Instant::now();
    let rpc = demo.requester.rpc.clone();
    let order = match awaited(demo, pattern).await? {
        Some(order) => {
            let facts = json!({ "order": order.record.order, "pattern": order.record.pattern });
            let line = format!("goes on     {} was paid for before", order.record.pattern);
            report.event("resumed", &facts, &line);
            order
        }
        None => buy(demo, pattern, report).await?,
    };
    let paid_in = order.record.transaction.context("the order was paid for")?;
    let order_gas = rpc.receipt(paid_in).await?.context("the payment has a receipt")?.gas_used;

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
    let outcome = Outcome { order: &order, order_gas, settle_gas, settlement: &settlement, finished: &finished };
    outcome.check_sums()?;
    outcome.tell(serves.then_some(&demo.page_url), report, started.elapsed());
    Ok(())
}

/// An order for this pattern that is under way on this demo's contracts.
async fn awaited(demo: &Demo, pattern: &Pattern) -> Result<Option<LocalOrder>> {
    for mut order in LocalOrder::list(&demo.orders)? {
        let ours = order.record.pattern == pattern.text() && order.record.market == demo.deployment.market;
        if ours && order.is_awaited() && order.refresh(&demo.requester.rpc).await? {
            let ending = vanity_order::ending(&demo.requester.rpc, &order.record).await?;
            if !matches!(ending, Some(Ending::Refunded { .. })) {
                return Ok(Some(order));
            }
        }
    }
    Ok(None)
}

async fn buy(demo: &Demo, pattern: &Pattern, report: &Report) -> Result<LocalOrder> {
    let mut order = vanity_order::prepare(&demo.orders, &demo.requester.rpc, &demo.deployment, pattern).await?;
    let record = &order.record;
    let price = U256::from(record.price);
    let facts =
        json!({ "pattern": record.pattern, "difficulty": record.difficulty, "price_nrlc": record.price.to_string() });
    let line =
        format!("pattern     {}: one address in {}; costs {}", record.pattern, count(record.difficulty), rlc(price));
    report.event("quoted", &facts, &line);

    let held_before = balance(&demo.requester, demo.deployment.token).await?;
    let gas = vanity_order::place(&mut order, &demo.requester, &demo.deployment).await?;
    let spent = held_before - balance(&demo.requester, demo.deployment.token).await?;
    if spent != price {
        bail!("{} was taken from the requester for a price of {}: this is a bug", rlc(spent), rlc(price));
    }
    let record = &order.record;
    let (id, paid_in) = (record.order.context("just placed")?, record.transaction.context("just placed")?);
    let facts = json!({ "order": id, "transaction": paid_in, "gas": gas });
    report.event("ordered", &facts, &format!("ordered     {paid_in}  {:>9} gas", thousands(gas)));
    Ok(order)
}

/// Finishes other orders as their searches end: a former run was stopped while it waited for them.
pub async fn collect(orders: PathBuf, rpc: Rpc, followed: Option<String>, report: &Report) {
    loop {
        for mut order in LocalOrder::list(&orders).unwrap_or_default() {
            if !order.is_awaited() || followed.as_ref() == Some(&order.record.pattern) {
                continue;
            }
            let ending = vanity_order::ending(&rpc, &order.record).await;
            if matches!(ending, Ok(Some(Ending::Refunded { .. }))) {
                let _ = order.close();
            }
            if let Ok(Some(Ending::Settled(settlement))) = ending
                && let Ok(finished) = order.finish(&settlement)
            {
                let facts = json!({ "pattern": order.record.pattern, "order": settlement.order,
                    "address": finished.address, "key_file": finished.key_file });
                let line = format!(
                    "found now   {}, ordered before\n            private key {}",
                    finished.address,
                    finished.key_file.display()
                );
                report.event("collected", &facts, &line);
            }
        }
        tokio::time::sleep(COLLECT_PAUSE).await;
    }
}

const COLLECT_PAUSE: Duration = Duration::from_secs(2);

/// What becomes of an order whose demo is stopped.
pub fn farewell(orders: &Path, pattern: &Pattern) -> String {
    let orders = LocalOrder::list(orders).unwrap_or_default();
    match orders.iter().any(|order| order.record.pattern == pattern.text() && order.is_awaited()) {
        true => format!(
            "stopped; {pattern} is paid for, and its search goes on when this demo runs again",
            pattern = pattern.text()
        ),
        false => "stopped before anything was paid".to_owned(),
    }
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
    let found = Cell::new(false);
    let told = follow_job(&view.pool, order, id, &found, report);
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
    let settlement = tokio::select! {
        ended = &mut ended => ended?,
        told = told => {
            told?;
            ended.await?
        }
    };
    // The chain may be quicker than the pool's news.
    tell_found(&found, settlement.worker, report);
    Ok(settlement)
}

fn tell_found(found: &Cell<bool>, worker: impl Display, report: &Report) {
    if !found.replace(true) {
        let worker = worker.to_string().to_lowercase();
        report.event("found", &json!({ "worker": worker }), &format!("found       by worker {worker}"));
    }
}

/// Tells how the order's job goes, until it is over.
async fn follow_job(
    pool: &PoolClient,
    order: &LocalOrder,
    id: B256,
    found: &Cell<bool>,
    report: &Report,
) -> Result<()> {
    let job = loop {
        match pool.job_by_external_id(&format!("{id:#x}")).await {
            Ok(Some(job)) => break job,
            Ok(None) | Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
        }
    };
    report.event(
        "started",
        &json!({ "job": job.id, "order": id }),
        &format!("started     job {} for order {id}", job.id),
    );
    let mut pictures = Box::pin(pool.watch(job.id).await?);
    while let Some(view) = pictures.next().await {
        let view = view?;
        tell_progress(&view, order.record.difficulty, report);
        if let Some(result) = view.results.last() {
            tell_found(found, result.worker, report);
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
}

impl Outcome<'_> {
    /// Every nRLC of the price is in somebody's account.
    fn check_sums(&self) -> Result<()> {
        let Settlement { worker_paid, pool_paid, provider_paid, .. } = self.settlement;
        let (price, paid) = (U256::from(self.order.record.price), worker_paid + pool_paid + provider_paid);
        if paid != price {
            bail!("the sums do not hold: the price was {}, paid out was {}: this is a bug", rlc(price), rlc(paid));
        }
        Ok(())
    }

    /// `page`, if it is still there to look at.
    fn tell(&self, page: Option<&String>, report: &Report, took: Duration) {
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
            "page": page,
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
             took          {seconds:.1} s{page}\n",
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
            page = page.map(|page| format!("\n  page          {page}/")).unwrap_or_default(),
        );
        report.result("result", &facts, &text);
    }
}

async fn balance(wallet: &Wallet, token: Address) -> Result<U256> {
    let token = RLC::new(token, wallet.rpc.provider());
    token.balanceOf(wallet.address()).call().await.context("cannot read the RLC balance")
}
