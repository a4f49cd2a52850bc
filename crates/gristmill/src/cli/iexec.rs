//! `gristmill iexec`: a pool for people who use iExec's tools.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use gristmill_chain::contracts::DevRLC;
use gristmill_chain::dev;
use gristmill_chain::rpc::Rpc;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::key::KeyArgs;
use crate::iexec::oracle::{self, APP_PREFIX};
use crate::iexec::{self, FACT, Hub, content};
use crate::job_file;
use crate::oracle::Confirmations;
use crate::pool_client::{PoolClient, read_token};
use crate::report::{Report, print_line, thousands};
use crate::roles;
use crate::wallet::{self, Wallet};

#[derive(Args)]
pub(super) struct IexecArgs {
    #[command(subcommand)]
    command: IexecCommand,
}

impl IexecArgs {
    /// Whether it runs until it is stopped.
    pub(super) fn serves(&self) -> bool {
        matches!(self.command, IexecCommand::Oracle(_))
    }
}

#[derive(Subcommand)]
enum IexecCommand {
    /// Print the chain.json with which the `iexec` CLI uses a pool
    Chain(ChainArgs),
    /// Put a program into a pool, and print the app that `iexec app deploy` shall register
    App(FileArgs),
    /// Put a file into a pool, and print the dataset that `iexec dataset deploy` shall register
    Dataset(FileArgs),
    /// Put the hub, its registries and a pool of them on a chain
    Deploy(DeployArgs),
    /// Run the oracle between a hub and a pool: every deal of the pools that its key owns
    Oracle(OracleArgs),
}

#[derive(Args)]
struct ChainArgs {
    /// The pool
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117")]
    pool: String,
}

#[derive(Args)]
struct FileArgs {
    /// The program or file; for an app also `vanity` or an app's digest
    path: String,
    /// Its name in the registry [default: that of the file]
    #[arg(long)]
    name: Option<String>,
    /// The pool
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117")]
    pool: String,
    /// The pool's token: the file `token` in the scheduler's folder
    #[arg(long, value_name = "FILE")]
    pool_token: PathBuf,
}

#[derive(Args)]
struct DeployArgs {
    /// JSON-RPC of the chain
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7118")]
    rpc: String,
    #[command(flatten)]
    key: KeyArgs,
    /// The RLC token [default on a development chain: a play token with a faucet]
    #[arg(long, value_name = "ADDRESS")]
    token: Option<Address>,
    /// What the pool is called in its registry
    #[arg(long, default_value = "gristmill")]
    description: String,
    /// Where to write what was deployed
    #[arg(long, value_name = "FILE", default_value = "hub.json")]
    out: PathBuf,
    /// One JSON object per contract on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct OracleArgs {
    /// JSON-RPC of the chain
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// The hub, as `gristmill iexec deploy` wrote it
    #[arg(long, value_name = "FILE")]
    hub: PathBuf,
    /// The pool
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117")]
    pool: String,
    /// The pool's token: the file `token` in the scheduler's folder
    #[arg(long, value_name = "FILE")]
    pool_token: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Where the oracle keeps its books [default: hub-oracle in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Blocks on top of a deal's own before work starts [default: 0 on a development chain, else 1]
    #[arg(long, value_name = "BLOCKS")]
    start_confirmations: Option<u64>,
    /// Blocks on top of a deal's own before a task is settled [default: 0 on a development chain, else 12]
    #[arg(long, value_name = "BLOCKS")]
    settle_confirmations: Option<u64>,
}

pub(super) async fn run(args: IexecArgs, shutdown: CancellationToken) -> Result<()> {
    match args.command {
        IexecCommand::Chain(args) => chain(args).await,
        IexecCommand::App(args) => app(args).await,
        IexecCommand::Dataset(args) => dataset(args).await,
        IexecCommand::Deploy(args) => deploy(args).await,
        IexecCommand::Oracle(args) => run_oracle(args, shutdown).await,
    }
}

async fn chain(args: ChainArgs) -> Result<()> {
    let mut facts = PoolClient::new(&args.pool, "").facts().await?;
    let hub = facts.remove(FACT).with_context(|| {
        let hint = "its operator starts it with --hub, or as `gristmill dev`";
        format!("the pool at {} serves no hub\n\nhint: {hint}", args.pool)
    })?;
    let hub: Hub = serde_json::from_value(hub).context("the pool describes its hub in a way we do not know")?;
    print_line(&serde_json::to_string_pretty(&iexec::chain_json(&hub, &args.pool))?);
    Ok(())
}

async fn app(args: FileArgs) -> Result<()> {
    let pool = PoolClient::new(&args.pool, &read_token(&args.pool_token)?);
    let digest = job_file::app(&args.path, Path::new("."), &pool).await?;
    let name = name_of(args.name, &args.path);
    // The registry wants an image; a pool goes by the checksum, which names the app's manifest.
    let app = json!({
        "name": name,
        "type": "DOCKER",
        "multiaddr": format!("{APP_PREFIX}{name}"),
        "checksum": format!("0x{digest}"),
    });
    print_line(&serde_json::to_string_pretty(&json!({ "app": app }))?);
    Ok(())
}

async fn dataset(args: FileArgs) -> Result<()> {
    let pool = PoolClient::new(&args.pool, &read_token(&args.pool_token)?);
    let digest = pool.upload_file(Path::new(&args.path)).await?;
    let dataset = json!({
        "name": name_of(args.name, &args.path),
        "multiaddr": content::path(digest),
        "checksum": format!("0x{digest}"),
    });
    print_line(&serde_json::to_string_pretty(&json!({ "dataset": dataset }))?);
    Ok(())
}

fn name_of(given: Option<String>, path: &str) -> String {
    let file_name = || Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    given.or_else(file_name).unwrap_or_else(|| path.to_owned())
}

async fn deploy(args: DeployArgs) -> Result<()> {
    let report = Report::new(args.json);
    let rpc = Rpc::connect(&args.rpc)?;
    let chain_id = wallet::chain_id(&rpc).await?;
    let owner = Wallet::new(rpc, args.key.load(chain_id)?).await?;
    if args.out.exists() {
        bail!("{} exists\n\nhint: it describes a hub; choose another --out", args.out.display());
    }
    let token = match args.token {
        Some(token) => token,
        None if chain_id == dev::CHAIN_ID => play_token(&owner).await?,
        None => bail!(
            "chain {chain_id} is no development chain: there is no play token\n\nhint: give RLC's address with --token"
        ),
    };
    let hub = iexec::deploy::deploy(&owner, token, &args.description, |step| {
        let line = format!("deployed    {:<18} {}  {:>9} gas", step.name, step.address, thousands(step.gas));
        report.event("deployed", &step, &line);
    })
    .await?;
    hub.write(&args.out)?;
    report.result("hub", &hub, &format!("wrote {}", args.out.display()));
    Ok(())
}

async fn play_token(owner: &Wallet) -> Result<Address> {
    use alloy::sol_types::SolConstructor as _;
    let arguments = DevRLC::constructorCall { holder: owner.address() }.abi_encode();
    let (token, _) = owner.deploy("deploy RLC", [&DevRLC::BYTECODE[..], &arguments].concat()).await?;
    Ok(token)
}

async fn run_oracle(args: OracleArgs, shutdown: CancellationToken) -> Result<()> {
    let hub = Hub::read(&args.hub)?;
    let local_chain = hub.chain_id == dev::CHAIN_ID;
    let config = oracle::Config {
        data_dir: roles::folder(args.data_dir, "hub-oracle")?,
        rpc_url: args.rpc,
        key: args.key.load(hub.chain_id)?,
        pool: PoolClient::new(&args.pool, &read_token(&args.pool_token)?),
        confirmations: Confirmations {
            start: args.start_confirmations.unwrap_or(if local_chain { 0 } else { 1 }),
            settle: args.settle_confirmations.unwrap_or(if local_chain { 0 } else { 12 }),
            finality: false,
        },
        hub,
        local_chain,
    };
    print_line(&format!("hub {}, pools of {}", config.hub.hub, config.key.address()));
    Box::pin(oracle::run(config, shutdown)).await
}
