//! `gristmill demo` and `gristmill dev`: a whole grid in one process.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::demo::{self, CHAIN_PORT, Config, Demo, PAGE_PORT};
use crate::report::{Interrupted, Report};
use crate::roles::{self, Listen};
use crate::vanity_order;

#[derive(Args)]
pub(super) struct DemoArgs {
    /// What the Bitcoin address shall begin with; starts with 1, each letter makes it 58 times harder
    #[arg(default_value = "1LoVE")]
    pattern: String,
    /// End when the result is there, instead of serving on
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    grid: GridArgs,
}

#[derive(Args)]
pub(super) struct DevArgs {
    #[command(flatten)]
    grid: GridArgs,
}

#[derive(Args)]
struct GridArgs {
    /// One JSON object per event on standard output, and nothing else
    #[arg(long)]
    json: bool,
    /// Throw the demo's chain and pool away and start over; orders and their keys stay
    #[arg(long)]
    fresh: bool,
    /// Where the demo keeps everything [default: demo in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port of the page and the pool [default: 7117, or another if that is taken]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Port of the chain's JSON-RPC [default: 7118, or another if that is taken]
    #[arg(long, value_name = "PORT")]
    chain_port: Option<u16>,
    /// Workers to start
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=64))]
    workers: u32,
    /// Attempts each worker runs at once [default: one per core, shared among the workers]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: Option<u32>,
}

impl GridArgs {
    fn config(self) -> Config {
        let listen = |port: Option<u16>, preferred, option| match port {
            Some(port) => Listen::exactly(([127, 0, 0, 1], port).into(), option),
            None => Listen::preferably(preferred, option),
        };
        Config {
            data_dir: self.data_dir,
            fresh: self.fresh,
            page: listen(self.port, PAGE_PORT, "--port"),
            chain: listen(self.chain_port, CHAIN_PORT, "--chain-port"),
            workers: self.workers,
            hub: false,
            slots: self.slots.unwrap_or_else(|| (roles::machine_cores() / self.workers.max(1)).max(1)),
        }
    }
}

pub(super) async fn demo(args: DemoArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.grid.json);
    let done = run(args, &report, shutdown).await;
    report.concluded(done)
}

async fn run(args: DemoArgs, report: &Report, shutdown: CancellationToken) -> Result<()> {
    // Before anything starts, and long before money moves.
    let pattern = vanity_order::parse_pattern(&args.pattern)?;
    if args.grid.workers == 0 {
        bail!("without workers the search would never begin\n\nhint: `gristmill dev --workers 0` starts such a grid");
    }
    let mut demo = start(args.grid.config(), report, &shutdown).await?;
    let orders = demo.orders.clone();
    let others = demo::collect(orders.clone(), demo.requester.rpc.clone(), Some(pattern.text().to_owned()), report);
    let ordered = tokio::select! {
        // Roles that were told to stop have not failed.
        biased;
        () = shutdown.cancelled() => Err(Interrupted(demo::farewell(&orders, &pattern)).into()),
        ordered = demo::order(&mut demo, &pattern, !args.exit, report) => ordered,
        () = others => Ok(()),
    };
    if ordered.is_err() || args.exit {
        let stopped = demo.roles.stop().await;
        return ordered.and(stopped);
    }
    serve(demo, report, shutdown).await
}

async fn start(config: Config, report: &Report, shutdown: &CancellationToken) -> Result<Demo> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(Interrupted("stopped while it started".to_owned()).into()),
        started = demo::start(config, report, shutdown.child_token()) => started,
    }
}

pub(super) async fn dev(args: DevArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.grid.json);
    let config = Config { hub: true, ..args.grid.config() };
    let done = match start(config, &report, &shutdown).await {
        Ok(demo) => serve(demo, &report, shutdown).await,
        Err(error) => Err(error),
    };
    report.concluded(done)
}

async fn serve(mut demo: Demo, report: &Report, shutdown: CancellationToken) -> Result<()> {
    let facts = json!({ "page": demo.page_url, "rpc": demo.rpc_url });
    report.event("serving", &facts, &format!("serving     {}/  until Ctrl-C", demo.page_url));
    let others = demo::collect(demo.orders.clone(), demo.requester.rpc.clone(), None, report);
    let ended = tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        error = demo.roles.ended() => Err(error),
        () = others => Ok(()),
    };
    let stopped = demo.roles.stop().await;
    report.event("stopped", &json!({}), "stopped");
    ended.and(stopped)
}
