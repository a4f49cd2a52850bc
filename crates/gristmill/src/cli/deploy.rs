//! `gristmill deploy`: a pool's contracts and its offer.

use std::path::PathBuf;

use alloy::primitives::Address;
use anyhow::{Result, bail};
use clap::Args;
use gristmill_chain::dev;
use gristmill_chain::rpc::Rpc;

use super::key::KeyArgs;
use crate::deploy::{self, Terms};
use crate::report::{Report, thousands};
use crate::wallet::{self, Wallet};

#[derive(Args)]
pub(super) struct DeployArgs {
    /// JSON-RPC of the chain
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7118")]
    rpc: String,
    #[command(flatten)]
    key: KeyArgs,
    /// The RLC token [default on a development chain: a play token with a faucet]
    #[arg(long, value_name = "ADDRESS")]
    token: Option<Address>,
    /// Who takes the app provider's fee [default: the pool]
    #[arg(long, value_name = "ADDRESS")]
    provider: Option<Address>,
    /// Where to write what was deployed
    #[arg(long, value_name = "FILE", default_value = "deployment.json")]
    out: PathBuf,
    /// One JSON object per contract on standard output
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: DeployArgs) -> Result<()> {
    let report = Report::new(args.json);
    let rpc = Rpc::connect(&args.rpc)?;
    let chain_id = wallet::chain_id(&rpc).await?;
    let pool = Wallet::new(rpc, args.key.load(chain_id)?).await?;
    if args.out.exists() {
        bail!("{} exists\n\nhint: it belongs to a deployment; choose another --out", args.out.display());
    }
    if chain_id != dev::CHAIN_ID && args.token.is_none() {
        bail!(
            "chain {chain_id} is no development chain: there is no play token\n\nhint: give RLC's address with --token"
        );
    }
    let app = crate::embedded::vanity_manifest().digest();
    let provider = args.provider.unwrap_or_else(|| pool.address());
    let deployment = deploy::deploy(&pool, provider, args.token, app, &Terms::default(), |step| {
        let line = format!("deployed    {:<15} {}  {:>9} gas", step.name, step.address, thousands(step.gas));
        report.event("deployed", &step, &line);
    })
    .await?;
    deployment.write(&args.out)?;
    report.result("deployment", &deployment, &format!("wrote {}", args.out.display()));
    Ok(())
}
