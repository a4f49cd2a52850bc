//! `gristmill worker`.

use std::path::PathBuf;

use alloy::primitives::Address;
use anyhow::Result;
use clap::{Args, Subcommand};
use gristmill_proto::app::Runtime;
use gristmill_proto::digest::Digest;
use gristmill_proto::host::HostPort;
use gristmill_proto::id::ProviderId;
use gristmill_proto::requirement::is_label;
use gristmill_worker::policy::Policy;
use gristmill_worker::{Config, Worker};
use tokio_util::sync::CancellationToken;

use super::{prison, voucher, worker_pay};
use crate::pool_client::PoolClient;
use crate::report::print_line;
use crate::roles;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct WorkerArgs {
    #[command(subcommand)]
    command: Option<WorkerCommand>,
    /// The pool to work for; with several schedulers all their addresses, commas between them
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117")]
    pool: String,
    /// Where the worker keeps its key and its apps [default: worker in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A name for people [default: this machine's]
    #[arg(long)]
    name: Option<String>,
    /// Attempts to run at once [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    slots: Option<u32>,
    /// Something jobs may ask for, such as `site=lyon`; several times for several
    #[arg(long = "label", value_name = "NAME[=VALUE]", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Run this app; with it, only what is allowed runs
    #[arg(long = "allow-app", value_name = "DIGEST")]
    apps_allowed: Vec<Digest>,
    /// Never run this app
    #[arg(long = "deny-app", value_name = "DIGEST")]
    apps_denied: Vec<Digest>,
    /// Run what this provider has signed; with it, only what is allowed runs
    #[arg(long = "allow-provider", value_name = "ID")]
    providers_allowed: Vec<ProviderId>,
    /// Never run what this provider has signed
    #[arg(long = "deny-provider", value_name = "ID")]
    providers_denied: Vec<ProviderId>,
    /// Let apps that ask for it reach this host of the Internet, `*.NAME:PORT` or `*:PORT` for many; several times for several
    #[arg(long = "allow-host", value_name = "NAME:PORT")]
    hosts_allowed: Vec<HostPort>,
    /// Offer this runtime alone, of process, wasm, container and vm; several times for several [default: all that work here]
    #[arg(long = "runtime", value_name = "NAME")]
    runtimes_allowed: Vec<Runtime>,
    /// Where to be paid [default: the worker's own address]
    #[arg(long, value_name = "ADDRESS")]
    payout: Option<Address>,
}

#[derive(Subcommand)]
enum WorkerCommand {
    /// Attack this machine's sandbox with a hostile program, and tell what it could not do
    Prison(prison::PrisonArgs),
    /// Tell what pools owe this worker, and how well that is covered
    Earnings(voucher::EarningsArgs),
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if !is_label(name) {
        return Err(format!("`{name}` is no name of a label: use letters, digits and `-_./`"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(args: WorkerArgs, shutdown: CancellationToken) -> Result<()> {
    match args.command {
        Some(WorkerCommand::Prison(args)) => return prison::run(args).await,
        Some(WorkerCommand::Earnings(args)) => return voucher::list(&args).await,
        None => {}
    }
    let folder = roles::folder(args.data_dir, "worker")?;
    let pool = PoolClient::new(&args.pool, "");
    let config = Config {
        pool_url: args.pool,
        data_dir: folder.clone(),
        name: args.name.unwrap_or_else(roles::machine_name),
        slots: args.slots.unwrap_or_else(roles::machine_cores),
        memory_bytes: roles::machine_memory(),
        labels: args.labels.into_iter().collect(),
        sandbox: roles::sandbox_config(),
        policy: Policy {
            apps_allowed: args.apps_allowed.into_iter().collect(),
            apps_denied: args.apps_denied.into_iter().collect(),
            providers_allowed: args.providers_allowed.into_iter().collect(),
            providers_denied: args.providers_denied.into_iter().collect(),
            hosts_allowed: args.hosts_allowed,
            runtimes_allowed: args.runtimes_allowed.into_iter().collect(),
        },
    };
    let worker = Worker::open(config).await?;
    print_line(&worker.id().to_string());
    let stop = shutdown.child_token();
    let _stop_all = stop.clone().drop_guard();
    tokio::spawn(worker_pay::keep(pool, worker.id(), folder, args.payout, stop));
    worker.run(shutdown).await;
    Ok(())
}
