//! `gristmill scheduler`: a pool.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use gristmill_proto::vote::Fraction;
use gristmill_scheduler::core::{Replication, Tuning, Weights};
use gristmill_scheduler::server::{Apart, Config, Shared};
use gristmill_scheduler::store::Place;
use gristmill_scheduler::trust::Policy;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::iexec::gateway::Gateway;
use crate::iexec::{self, Hub};
use crate::report::print_line;
use crate::roles::{self, Listen};
use crate::site::{self, ChainFacts};
use crate::{vanity_shares, vouchers};

#[derive(Args)]
pub(super) struct SchedulerArgs {
    /// Address of the pool's one port: workers, API and page
    #[arg(long, default_value = "127.0.0.1:7117")]
    listen: SocketAddr,
    /// Where the pool keeps jobs, results and blobs [default: scheduler in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The pool's database: a PostgreSQL, `postgres://user@host/name`, which several schedulers may share: one leads, the others stand by [default: a file in the data folder]
    #[arg(long, value_name = "URL", env = "GRISTMILL_STORE", hide_env_values = true)]
    store: Option<String>,
    /// How long a leader may be silent before another scheduler takes over, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000), requires = "store")]
    lease_ms: u64,
    /// Where workers and clients reach this scheduler, told by those that stand by [default: where it listens]
    #[arg(long, value_name = "URL", requires = "store")]
    advertise: Option<String>,
    /// Where blobs lie: a folder that all schedulers of the pool see [default: in the data folder]
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
    /// The pool's name; workers sign it, so it must not change
    #[arg(long, default_value = "pool")]
    name: String,
    /// JSON-RPC of the chain that the page talks to
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// The pool's contracts and offer, as `gristmill deploy` wrote them
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
    /// The hub for iExec's tools, as `gristmill iexec deploy` wrote it: serves its order book, and results as IPFS would
    #[arg(long, value_name = "FILE", requires = "rpc")]
    hub: Option<PathBuf>,
    /// How users share the pool, in TOML: `[groups] physics = 3`, `[users] ann = { group = "physics", weight = 2 }`
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Let only those apps run that `gristmill app approve` has named
    #[arg(long)]
    approved_apps_only: bool,
    /// The share of votes on replicated tasks that is assumed to fall to liars; see docs/trust.md
    #[arg(long, value_name = "SHARE", default_value = "0.2", value_parser = fraction)]
    liars: Fraction,
    /// Which workers count as one where they vote on the same task: those of one address, or each for itself
    #[arg(long, value_enum, default_value_t = ApartArg::Addresses)]
    voters_apart: ApartArg,
    /// A vote that was cast must be shown within this time, or its worker counts as a liar, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Replication::default().open_ms, value_parser = clap::value_parser!(u64).range(100..))]
    open_ms: u64,
    /// How often workers say that they are alive, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Tuning::default().alive_ms, value_parser = clap::value_parser!(u64).range(10..))]
    alive_ms: u64,
    /// A worker that was silent for so long is lost, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Tuning::default().lost_ms)]
    lost_ms: u64,
    /// A worker whose connection broke keeps its leases for so long, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Tuning::default().reconnect_ms)]
    reconnect_ms: u64,
    /// How much longer than its job allows an attempt may take, for fetching and sending, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Tuning::default().transfer_ms)]
    transfer_ms: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ApartArg {
    Addresses,
    Workers,
}

/// A number above 0 and below 0.5.
pub(super) fn fraction(text: &str) -> Result<Fraction, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number above 0 and below 0.5".to_owned())?;
    Fraction::try_from(number).map_err(|error| error.to_string())
}

fn shared(args: &SchedulerArgs) -> Result<Option<Shared>> {
    let Some(store) = &args.store else { return Ok(None) };
    let hint = "--store takes postgres://user:password@host/name; without it the pool keeps a file in its data folder";
    let place: Place = store.parse().map_err(|error| anyhow!("--store: {error}\n\nhint: {hint}"))?;
    let Place::Shared(database) = place else { bail!("--store: `{store}` is no PostgreSQL\n\nhint: {hint}") };
    let lease = Duration::from_millis(args.lease_ms);
    Ok(Some(Shared { database, lease, url: args.advertise.clone() }))
}

fn read_weights(path: &Path) -> Result<Weights> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let weights: Weights = toml::from_str(&text).with_context(|| format!("{} gives no weights", path.display()))?;
    weights.check().with_context(|| format!("{} gives no weights", path.display()))?;
    Ok(weights)
}

pub(super) async fn run(args: SchedulerArgs, shutdown: CancellationToken) -> Result<()> {
    roles::open_many_files();
    let mut about = serde_json::Map::new();
    if let Some(file) = &args.deployment {
        let facts = ChainFacts::of(&Deployment::read(file)?);
        about.insert("chain".to_owned(), serde_json::to_value(facts)?);
    }
    let hub = args.hub.as_deref().map(Hub::read).transpose()?;
    if let Some(hub) = &hub {
        about.insert(iexec::FACT.to_owned(), serde_json::to_value(hub)?);
    }
    let tuning = Tuning {
        alive_ms: args.alive_ms,
        lost_ms: args.lost_ms,
        reconnect_ms: args.reconnect_ms,
        transfer_ms: args.transfer_ms,
        ..Tuning::default()
    };
    let shared = shared(&args)?;
    let data_dir = roles::folder(args.data_dir, "scheduler")?;
    let config = Config {
        listen: args.listen,
        data_dir: data_dir.clone(),
        name: args.name,
        tuning,
        weights: args.weights.as_deref().map(read_weights).transpose()?.unwrap_or_default(),
        replication: Replication { policy: Policy { liars: args.liars, ..Policy::default() }, open_ms: args.open_ms },
        apart: match args.voters_apart {
            ApartArg::Addresses => Apart::Addresses,
            ApartArg::Workers => Apart::Workers,
        },
        share_checkers: vanity_shares::checkers(),
        about,
        shared,
        blobs_dir: args.blobs,
        approved_apps_only: args.approved_apps_only,
    };
    let scheduler = roles::bind_scheduler(config, Listen::exactly(args.listen, "--listen")).await?;
    crate::embedded::publish_vanity(scheduler.blobs())?;
    print_line(&scheduler.url());
    let vouchers = vouchers::routes(&data_dir, scheduler.token())?;
    let mut scheduler = scheduler.with_routes(site::page()).with_routes_led(vouchers);
    if let Some(rpc) = &args.rpc {
        scheduler = scheduler.with_routes(site::rpc(rpc));
    }
    let Some((hub, rpc)) = hub.zip(args.rpc.as_deref()) else { return Ok(scheduler.run(shutdown).await?) };
    let gateway = Gateway::open(&data_dir, hub, rpc, scheduler.token())?;
    let scheduler = scheduler.with_routes_led(gateway.routes());
    let stop = shutdown.child_token();
    let _stop_both = stop.clone().drop_guard();
    tokio::select! {
        served = scheduler.run(stop.clone()) => Ok(served?),
        Err(error) = gateway.run(stop.clone()) => Err(error),
    }
}
