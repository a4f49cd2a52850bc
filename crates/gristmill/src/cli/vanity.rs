//! `gristmill vanity`: order a vanity address from a shell, see how it goes, finish its key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::U256;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use futures_util::StreamExt;
use gristmill_chain::dev;
use gristmill_chain::rpc::Rpc;
use gristmill_proto::id::JobId;
use gristmill_proto::view::{JobState, JobView};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::key::KeyArgs;
use crate::deploy;
use crate::deployment::Deployment;
use crate::pool_client::{PoolClient, PoolRefusal};
use crate::report::{Report, count};
use crate::rlc::rlc;
use crate::roles;
use crate::search_progress::tell_progress;
use crate::vanity_order::{self, Ending, Finished, LocalOrder};
use crate::wallet::{self, Wallet};

#[derive(Args)]
pub(super) struct VanityArgs {
    #[command(subcommand)]
    command: VanityCommand,
    /// JSON-RPC of the chain
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7118")]
    rpc: String,
    /// Where orders and their keys are kept [default: orders in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, global = true, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// One JSON object per event on standard output, and nothing else
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum VanityCommand {
    /// Make a key pair here, and pay for a search with its public half
    Order {
        /// What the address shall begin with
        pattern: String,
        /// The pool's contracts and offer
        #[arg(long, value_name = "FILE", default_value = "deployment.json")]
        deployment: PathBuf,
        #[command(flatten)]
        key: KeyArgs,
        /// Tell the price and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Tell how orders go
    Status {
        /// Only this order: its pattern, its id or its beginning
        order: Option<String>,
        /// Follow it, or the newest that is open, at this pool until it has ended
        #[arg(long, value_name = "URL")]
        watch: Option<String>,
    },
    /// Add the found offset to your half and write the finished key
    Finish {
        /// The order: its pattern, its id or its beginning
        order: String,
        /// Take the closest near miss of a search that still goes on, from this pool. Its key and the ordered address's
        /// come from one half: who learns one of them can compute the other
        #[arg(long, value_name = "URL")]
        closest: Option<String>,
    },
}

pub(super) async fn run(args: VanityArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.json);
    let done = execute(args, &report, shutdown).await;
    report.concluded(done)
}

async fn execute(args: VanityArgs, report: &Report, shutdown: CancellationToken) -> Result<()> {
    let shell = Shell { orders: roles::folder(args.orders, "orders")?, rpc: Rpc::connect(&args.rpc)?, report };
    match args.command {
        VanityCommand::Order { pattern, deployment, key, dry_run } => {
            shell.order(&pattern, &deployment, &key, dry_run).await
        }
        VanityCommand::Status { order: None, watch: None } => shell.all().await,
        VanityCommand::Status { order, watch: Some(pool) } => shell.watch(order.as_deref(), &pool, &shutdown).await,
        VanityCommand::Status { order: Some(name), watch: None } => shell.status(&name).await,
        VanityCommand::Finish { order, closest: Some(pool) } => shell.take_closest(&order, &pool).await,
        VanityCommand::Finish { order, closest: None } => shell.finish(&order).await,
    }
}

/// What every command here works with.
struct Shell<'a> {
    orders: PathBuf,
    rpc: Rpc,
    report: &'a Report,
}

impl Shell<'_> {
    async fn order(&self, pattern: &str, deployment: &Path, key: &KeyArgs, dry_run: bool) -> Result<()> {
        let pattern = vanity_order::parse_pattern(pattern)?;
        let deployment = Deployment::read(deployment)?;
        let chain_id = wallet::chain_id(&self.rpc).await?;
        if chain_id != deployment.chain_id {
            bail!(
                "the deployment is on chain {}, but the endpoint serves chain {chain_id}\n\n\
                 hint: give the right endpoint with --rpc, or the right file with --deployment",
                deployment.chain_id
            );
        }
        let wallet = if dry_run { None } else { Some(self.wallet(key.load(chain_id)?, &deployment).await?) };
        let mut order = vanity_order::prepare(&self.orders, &self.rpc, &deployment, &pattern).await?;
        self.tell_quote(&order);
        let Some(wallet) = wallet else { return order.discard() };
        let gas = vanity_order::place(&mut order, &wallet, &deployment).await?;
        let facts = json!({ "order": order.record.order, "transaction": order.record.transaction, "gas": gas,
            "folder": order.dir });
        let id = order.record.order.unwrap_or_default();
        self.report.result("ordered", &facts, &format!("{id}\n\nyour half of the key is in {}", order.dir.display()));
        Ok(())
    }

    fn tell_quote(&self, order: &LocalOrder) {
        let record = &order.record;
        let facts = json!({ "pattern": record.pattern, "difficulty": record.difficulty,
            "price_nrlc": record.price.to_string(), "folder": order.dir });
        let line = format!(
            "one address in {} begins with {}; the search costs {}",
            count(record.difficulty),
            record.pattern,
            rlc(U256::from(record.price))
        );
        self.report.event("quoted", &facts, &line);
    }

    async fn wallet(&self, key: PrivateKeySigner, deployment: &Deployment) -> Result<Wallet> {
        let wallet = Wallet::new(self.rpc.clone(), key).await?;
        if deployment.chain_id == dev::CHAIN_ID {
            deploy::take_play_rlc(&wallet, deployment.token).await?;
        }
        Ok(wallet)
    }

    async fn all(&self) -> Result<()> {
        let list = LocalOrder::list(&self.orders)?;
        if list.is_empty() {
            self.report.event("none", &json!({}), &format!("no orders in {}", self.orders.display()));
        }
        for mut order in list {
            self.tell_status(&mut order).await?;
        }
        Ok(())
    }

    async fn status(&self, name: &str) -> Result<()> {
        self.tell_status(&mut self.find(name)?).await
    }

    async fn watch(&self, name: Option<&str>, pool: &str, shutdown: &CancellationToken) -> Result<()> {
        let mut order = match name {
            Some(name) => self.find(name)?,
            None => self.newest_open().await?,
        };
        order.refresh(&self.rpc).await?;
        let pool = PoolClient::new(pool, "");
        if let Some(watched) = shutdown.run_until_cancelled(follow(&pool, &order, self.report)).await {
            watched?;
        }
        self.tell_status(&mut order).await
    }

    async fn newest_open(&self) -> Result<LocalOrder> {
        for mut order in LocalOrder::list(&self.orders)?.into_iter().rev() {
            if order.refresh(&self.rpc).await? && vanity_order::ending(&self.rpc, &order.record).await?.is_none() {
                return Ok(order);
            }
        }
        bail!("no order in {} is open: there is nothing to watch", self.orders.display())
    }

    async fn tell_status(&self, order: &mut LocalOrder) -> Result<()> {
        let on_chain = order.refresh(&self.rpc).await?;
        let record = &order.record;
        let state = match vanity_order::ending(&self.rpc, record).await? {
            Some(Ending::Settled(_)) => "settled",
            Some(Ending::Refunded { .. }) => "refunded",
            None if on_chain => "open",
            None if !order.belongs_to(&self.rpc).await? => "on another chain",
            None if record.transaction.is_some() => "sent",
            None => "unpaid",
        };
        let (id, key_file) = (record.order.map(|id| id.to_string()), order.key_file());
        let facts = json!({ "order": record.order, "pattern": record.pattern, "state": state, "folder": order.dir,
            "key_file": key_file });
        let next = match (&key_file, &id) {
            (Some(file), _) => format!(", key in {}", file.display()),
            (None, Some(id)) if state == "settled" => {
                format!(": `gristmill vanity finish {}` writes its key", &id[..10])
            }
            _ => String::new(),
        };
        let text = format!("{:<66}  {:<14} {state}{next}", id.as_deref().unwrap_or("-"), record.pattern);
        self.report.result("order", &facts, &text);
        Ok(())
    }

    fn tell_finished(&self, order: &LocalOrder, finished: &Finished) {
        let facts = json!({ "address": finished.address, "key_file": finished.key_file,
            "offset": finished.offset, "pattern": order.record.pattern });
        let text = format!("{}\n\nprivate key  {}", finished.address, finished.key_file.display());
        self.report.result("result", &facts, &text);
    }

    async fn take_closest(&self, name: &str, pool: &str) -> Result<()> {
        let order = self.find(name)?;
        let pool = PoolClient::new(pool, "");
        let closest = job_of(&pool, &order).await?.closest.context("the search has no near miss to show yet")?;
        self.tell_finished(&order, &order.take(&closest.record)?);
        Ok(())
    }

    async fn finish(&self, name: &str) -> Result<()> {
        let order = self.find(name)?;
        match vanity_order::ending(&self.rpc, &order.record).await? {
            Some(Ending::Settled(settlement)) => {
                self.tell_finished(&order, &order.finish(&settlement)?);
                Ok(())
            }
            Some(Ending::Refunded { transaction, amount }) => {
                bail!("there is no result: {} came back in {transaction}", rlc(amount))
            }
            None if let Some(file) = order.key_file() => {
                bail!(
                    "this order is not on the chain any more, but it was finished\n\nhint: its key is in {}",
                    file.display()
                )
            }
            None if !order.belongs_to(&self.rpc).await? => {
                bail!("this order was paid for on another chain\n\nhint: give that chain's endpoint with --rpc")
            }
            None => bail!("the search goes on\n\nhint: `gristmill vanity status` tells how it goes"),
        }
    }

    fn find(&self, name: &str) -> Result<LocalOrder> {
        let fits = |order: &LocalOrder| {
            let id = order.record.order.map(|id| id.to_string()).unwrap_or_default();
            order.record.pattern == name || id.starts_with(name) || id.starts_with(&format!("0x{name}"))
        };
        let mut found: Vec<LocalOrder> = LocalOrder::list(&self.orders)?.into_iter().filter(fits).collect();
        let orders = self.orders.display();
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => Err(anyhow!(
                "no order in {orders} is for {name} or begins with it\n\n\
                 hint: `gristmill vanity status --orders {orders}` lists them"
            )),
            many => Err(anyhow!("{many} orders are for {name} or begin with it\n\nhint: give more of the order's id")),
        }
    }
}

/// While the pool is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Until the job is over; a pool that restarts meanwhile, or has not seen the order yet, is waited for.
async fn follow(pool: &PoolClient, order: &LocalOrder, report: &Report) -> Result<()> {
    let id = order.record.order.context("this order was never paid")?;
    let mut waiting = false;
    loop {
        let why = match pool.job_by_external_id(&format!("{id:#x}")).await {
            Ok(Some(job)) => match follow_once(pool, job.id, order, report).await {
                Ok(JobState::Done | JobState::Failed | JobState::Cancelled) => return Ok(()),
                Ok(JobState::Queued | JobState::Running) | Err(_) => "the pool has fallen silent",
            },
            Ok(None) => "the pool has not seen the order yet",
            Err(error) if error.is::<PoolRefusal>() => return Err(error),
            // At the first try the address may be wrong; later the pool is away for a while.
            Err(error) if !waiting => return Err(error),
            Err(_) => "the pool cannot be reached",
        };
        if !waiting {
            report.event("waiting", &json!({ "pool": pool.url() }), &format!("waiting: {why}"));
        }
        waiting = true;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn job_of(pool: &PoolClient, order: &LocalOrder) -> Result<JobView> {
    let id = order.record.order.context("this order was never paid")?;
    let job = pool.job_by_external_id(&format!("{id:#x}")).await?;
    job.with_context(|| format!("the pool at {} does not know the order", pool.url()))
}

/// The last state that the pool told before it fell silent.
async fn follow_once(pool: &PoolClient, job: JobId, order: &LocalOrder, report: &Report) -> Result<JobState> {
    let mut state = JobState::Queued;
    let mut pictures = Box::pin(pool.watch(job).await?);
    while let Some(view) = pictures.next().await {
        let view = view?;
        tell_progress(&view, order.record.difficulty, report);
        state = view.state;
    }
    Ok(state)
}
