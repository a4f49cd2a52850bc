//! `gristmill oracle`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alloy::primitives::U256;
use alloy::primitives::utils::parse_ether;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use gristmill_chain::dev;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::key::KeyArgs;
use crate::deployment::Deployment;
use crate::oracle::{self, Confirmations, Dashboard, Status};
use crate::pool_client::{PoolClient, read_token};
use crate::report::{Report, print_line};
use crate::roles;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct OracleArgs {
    #[command(subcommand)]
    command: Option<OracleCommand>,
    /// JSON-RPC of the chain
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    rpc: Option<String>,
    /// The pool's contracts and offer, as `gristmill deploy` wrote them
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    deployment: Option<PathBuf>,
    /// The pool
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117")]
    pool: String,
    /// The pool's token: the file `token` in the scheduler's folder
    #[arg(long, value_name = "FILE", required_unless_present = "config")]
    pool_token: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
    /// Where the oracle keeps its books [default: oracle in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Blocks on top of an order's own before work starts [default: 0 on a development chain, else 1]
    #[arg(long, value_name = "BLOCKS")]
    start_confirmations: Option<u64>,
    /// Blocks on top of an order's own before it is settled [default: 0 on a development chain, else once final, or 12
    /// where the chain knows no finality]
    #[arg(long, value_name = "BLOCKS")]
    settle_confirmations: Option<u64>,
    /// Most that its transactions may cost in an hour, in ether; what is under way is still finished [default: no bound]
    #[arg(long, value_name = "ETHER")]
    budget_per_hour: Option<String>,
    /// Most that is offered for a unit of gas, in gwei [default: 200]
    #[arg(long, value_name = "GWEI")]
    fee_cap: Option<u64>,
    /// Serve several pools, markets and chains; see docs/oracle.md for the file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rpc", "deployment", "pool_token", "data_dir"])]
    config: Option<PathBuf>,
    /// Serve /status and /metrics here
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

#[derive(Subcommand)]
enum OracleCommand {
    /// Tell how a running oracle is: lag, orders, transactions, fees
    Status {
        /// Where it listens
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7119")]
        url: String,
        /// One JSON object for each market
        #[arg(long)]
        json: bool,
    },
}

/// A file with several markets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    listen: Option<SocketAddr>,
    market: BTreeMap<String, Market>,
}

/// One pool at one market: what the options say, for each section of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Market {
    rpc: String,
    deployment: PathBuf,
    #[serde(default = "local_pool")]
    pool: String,
    pool_token: PathBuf,
    #[serde(default)]
    account: KeyArgs,
    data_dir: Option<PathBuf>,
    start_confirmations: Option<u64>,
    settle_confirmations: Option<u64>,
    budget_per_hour: Option<String>,
    fee_cap: Option<u64>,
}

fn local_pool() -> String {
    "http://127.0.0.1:7117".to_owned()
}

fn ether(text: &str) -> Result<U256> {
    let amount = parse_ether(text);
    amount.with_context(|| format!("`{text}` is no amount of ether\n\nhint: write it like 0.02"))
}

impl ConfigFile {
    fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let config: Self = toml::from_str(&text).with_context(|| format!("{} cannot be understood", file.display()))?;
        if config.market.is_empty() {
            bail!("{} names no market\n\nhint: add a section `[market.NAME]`", file.display());
        }
        Ok(config)
    }
}

impl Market {
    fn config(self, name: &str, dashboard: &Dashboard) -> Result<oracle::Config> {
        let deployment = Deployment::read(&self.deployment)?;
        let local_chain = deployment.chain_id == dev::CHAIN_ID;
        Ok(oracle::Config {
            data_dir: roles::folder(self.data_dir, name)?,
            rpc_url: self.rpc,
            key: self.account.load(deployment.chain_id)?,
            pool: PoolClient::new(&self.pool, &read_token(&self.pool_token)?),
            confirmations: Confirmations {
                start: self.start_confirmations.unwrap_or(if local_chain { 0 } else { 1 }),
                settle: self.settle_confirmations.unwrap_or(if local_chain { 0 } else { 12 }),
                finality: self.settle_confirmations.is_none() && !local_chain,
            },
            budget_wei_per_hour: self.budget_per_hour.as_deref().map(ether).transpose()?,
            fee_per_gas_wei_max: self.fee_cap.map(|gwei| u128::from(gwei) * 1_000_000_000),
            deployment_file: Some(self.deployment),
            deployment,
            local_chain,
            dashboard: dashboard.clone(),
        })
    }
}

pub(super) async fn run(args: OracleArgs, shutdown: CancellationToken) -> Result<()> {
    if let Some(OracleCommand::Status { url, json }) = args.command {
        let report = Report::new(json);
        return report.concluded(status(&url, &report).await);
    }
    let dashboard = Dashboard::default();
    let (configs, listen) = match &args.config {
        Some(file) => {
            let ConfigFile { listen, market } = ConfigFile::read(file)?;
            let of = |(name, market): (String, Market)| {
                let config = market.config(&format!("oracle-{name}"), &dashboard);
                Ok((name.clone(), config.with_context(|| format!("market {name}"))?))
            };
            (market.into_iter().map(of).collect::<Result<Vec<_>>>()?, args.listen.or(listen))
        }
        None => {
            let missing = "checked by the command line";
            let market = Market {
                rpc: args.rpc.context(missing)?,
                deployment: args.deployment.context(missing)?,
                pool: args.pool,
                pool_token: args.pool_token.context(missing)?,
                account: args.key,
                data_dir: args.data_dir,
                start_confirmations: args.start_confirmations,
                settle_confirmations: args.settle_confirmations,
                budget_per_hour: args.budget_per_hour,
                fee_cap: args.fee_cap,
            };
            (vec![("oracle".to_owned(), market.config("oracle", &dashboard)?)], args.listen)
        }
    };
    one_sender_each(&configs)?;
    if let Some(address) = listen {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("cannot listen on {address}\n\nhint: another program may use that port; choose one with --listen")
        })?;
        print_line(&format!("http://{}", listener.local_addr()?));
        tokio::spawn(dashboard.serve(listener, shutdown.clone()));
    }
    serve_all(configs, shutdown).await
}

/// Two senders of one account would both number its transactions.
fn one_sender_each(configs: &[(String, oracle::Config)]) -> Result<()> {
    let mut taken = BTreeMap::new();
    for (name, config) in configs {
        let account = (config.deployment.chain_id, config.key.address());
        if let Some(other) = taken.insert(account, name) {
            bail!(
                "markets {other} and {name} use the same account on the same chain\n\n\
                 hint: give each pool a key of its own; they would number each other's transactions"
            );
        }
    }
    Ok(())
}

/// Each market goes on by itself: what ails one ends no other.
async fn serve_all(configs: Vec<(String, oracle::Config)>, shutdown: CancellationToken) -> Result<()> {
    let mut running = JoinSet::new();
    for (name, config) in configs {
        print_line(&format!("offer {} at market {}", config.deployment.offer.id, config.deployment.market));
        let stop = shutdown.clone();
        running.spawn(async move { (name, Box::pin(oracle::run(config, stop)).await) });
    }
    let mut failed = None;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(error))) => {
                if !running.is_empty() {
                    error!(market = name, error = format!("{error:#}"), "this market is served no more");
                }
                failed.get_or_insert(error);
            }
            Err(panic) => {
                failed.get_or_insert(anyhow!(panic).context("an oracle failed"));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn status(url: &str, report: &Report) -> Result<()> {
    let answer = reqwest::get(format!("{}/status", url.trim_end_matches('/'))).await;
    let answer = answer.with_context(|| {
        format!("no oracle answers at {url}\n\nhint: start it with --listen 127.0.0.1:7119, or name it with --url")
    })?;
    let all: Vec<Status> = answer.error_for_status()?.json().await.context("this is no oracle's status")?;
    for status in all {
        let Status { chain_id, market, head, cursor, open, running, queued, pending, .. } = &status;
        let sent = status.transactions;
        let mut text = format!(
            "market {market} on chain {chain_id}: block {cursor} of {head}; {open} open orders, {running} running; \
             {queued} transactions wait, {pending} pending, {} confirmed, {} reverted, {} refused, {} gas, {} wei",
            sent.confirmed, sent.reverted, sent.refused, sent.gas_used, sent.fees_wei
        );
        for trouble in [&status.outage, &status.hold].into_iter().flatten() {
            text += &format!("\n  {trouble}");
        }
        report.result("status", &status, &text);
    }
    Ok(())
}
