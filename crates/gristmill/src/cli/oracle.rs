//! `gristmill oracle`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gristmill_chain::dev;
use tokio_util::sync::CancellationToken;

use super::key::KeyArgs;
use crate::deployment::Deployment;
use crate::oracle::{self, Confirmations};
use crate::pool_client::{PoolClient, read_token};
use crate::report::print_line;
use crate::roles;

#[derive(Args)]
pub(super) struct OracleArgs {
    /// JSON-RPC of the chain
    #[arg(long, value_name = "URL")]
    rpc: String,
    /// The pool's contracts and offer, as `gristmill deploy` wrote them
    #[arg(long, value_name = "FILE")]
    deployment: PathBuf,
    /// The pool
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117")]
    pool: String,
    /// The pool's token: the file `token` in the scheduler's folder
    #[arg(long, value_name = "FILE")]
    pool_token: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Where the oracle keeps its books [default: oracle in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Blocks on top of an order's own before work starts [default: 0 on a development chain, else 1]
    #[arg(long, value_name = "BLOCKS")]
    start_confirmations: Option<u64>,
    /// Blocks on top of an order's own before it is settled [default: 0 on a development chain, else 12]
    #[arg(long, value_name = "BLOCKS")]
    settle_confirmations: Option<u64>,
}

pub(super) async fn run(args: OracleArgs, shutdown: CancellationToken) -> Result<()> {
    let deployment = Deployment::read(&args.deployment)?;
    let local_chain = deployment.chain_id == dev::CHAIN_ID;
    let config = oracle::Config {
        data_dir: roles::folder(args.data_dir, "oracle")?,
        rpc_url: args.rpc,
        key: args.key.load(deployment.chain_id)?,
        pool: PoolClient::new(&args.pool, &read_token(&args.pool_token)?),
        confirmations: Confirmations {
            start: args.start_confirmations.unwrap_or(if local_chain { 0 } else { 1 }),
            settle: args.settle_confirmations.unwrap_or(if local_chain { 0 } else { 12 }),
        },
        deployment,
        local_chain,
    };
    print_line(&format!("offer {} at market {}", config.deployment.offer.id, config.deployment.market));
    Box::pin(oracle::run(config, shutdown)).await
}
