//! `gristmill offer`: what a pool sells.

use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, keccak256};
use alloy::signers::SignerSync as _;
use alloy::sol_types::SolCall;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use gristmill_chain::contracts::Market;
use gristmill_chain::rpc::Rpc;
use gristmill_proto::digest::Digest;
use serde_json::json;

use super::job::PoolArgs;
use super::key::KeyArgs;
use crate::deployment::{AppOffer, Deployment};
use crate::job_file;
use crate::offer::{self, OfferFile, SignedOfferFile};
use crate::report::{Report, thousands};
use crate::rlc::rlc;
use crate::wallet::{self, Wallet};

#[derive(Args)]
pub(super) struct OfferArgs {
    #[command(subcommand)]
    command: OfferCommand,
    /// JSON-RPC of the chain
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7118", env = "GRISTMILL_RPC")]
    rpc: String,
    /// The pool's contracts and offers, as `gristmill deploy` wrote them
    #[arg(long, global = true, value_name = "FILE", default_value = "deployment.json", env = "GRISTMILL_DEPLOYMENT")]
    deployment: PathBuf,
    /// One JSON object per event on standard output, and nothing else
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum OfferCommand {
    /// Put an app into the pool and its offer into the market; see docs/market.md for the file
    Publish {
        /// The offer, in TOML
        file: PathBuf,
        /// A contract that judges results [default: the file's; without one the pool's word counts]
        #[arg(long, value_name = "ADDRESS")]
        verifier: Option<Address>,
        #[command(flatten)]
        pool: PoolArgs,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// List the pool's offers
    List,
    /// Take no more orders under an offer; open ones stay as they are
    Withdraw {
        name: String,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Sign the terms of an offer for somebody to take, at another price if you like; prints a file for `order place`
    Sign {
        name: String,
        /// Units that may be ordered under it in all
        #[arg(long)]
        units: u64,
        /// Seconds from now until it ends
        #[arg(long, default_value_t = 86_400)]
        valid_s: u64,
        /// Price of a unit in RLC [default: the offer's]
        #[arg(long, value_name = "RLC")]
        price: Option<String>,
        /// Who alone may take it [default: anybody]
        #[arg(long, value_name = "ADDRESS")]
        requester: Option<Address>,
        #[command(flatten)]
        key: KeyArgs,
    },
}

pub(super) async fn run(args: OfferArgs) -> Result<()> {
    let report = Report::new(args.json);
    let done = execute(args, &report).await;
    report.concluded(done)
}

async fn execute(args: OfferArgs, report: &Report) -> Result<()> {
    let deployment = Deployment::read(&args.deployment)?;
    let rpc = Rpc::connect(&args.rpc)?;
    let path = &args.deployment;
    match args.command {
        OfferCommand::Publish { file, verifier, pool, key } => {
            let mut wanted = OfferFile::read(&file)?;
            wanted.verifier = verifier.or(wanted.verifier);
            let base = file.parent().unwrap_or(Path::new("."));
            let app = Box::pin(job_file::app(&wanted.app, base, &pool.client()?)).await?;
            let owner = owner(&deployment, rpc, &key).await?;
            Box::pin(publish(deployment, path, &owner, &wanted, app, report)).await
        }
        OfferCommand::List => list(&deployment, &rpc, report).await,
        OfferCommand::Withdraw { name, key } => {
            let offer = named(&deployment, &name)?;
            let pool = owner(&deployment, rpc, &key).await?;
            let call = Market::withdrawOfferCall { offer: offer.id }.abi_encode();
            let gas = pool.call("withdraw the offer", deployment.market, call).await?.gas_used;
            let facts = json!({ "offer": offer.id, "name": name, "gas": gas });
            report.result("withdrawn", &facts, &format!("{name} takes no more orders"));
            Ok(())
        }
        OfferCommand::Sign { name, units, valid_s, price, requester, key } => {
            let mut offer = named(&deployment, &name)?.clone();
            if let Some(price) = price {
                offer.unit_price = offer::parse_rlc(&price)?;
            }
            let standing = offer.id;
            offer.id = offer::offer_id(&deployment, &offer::terms(&deployment, &offer));
            offer.signed = offer.id != standing;
            let pool = owner(&deployment, rpc, &key).await?;
            let requester = requester.unwrap_or_default();
            let signed = sign(&deployment, &pool, offer, units, valid_s, requester)?;
            // The oracle finds the plan there when somebody takes it.
            offer::note(&deployment, path, &signed.offer)?;
            report.result("signed", &signed, &serde_json::to_string_pretty(&signed)?);
            Ok(())
        }
    }
}

fn sign(
    deployment: &Deployment,
    pool: &Wallet,
    offer: AppOffer,
    units: u64,
    valid_s: u64,
    requester: Address,
) -> Result<SignedOfferFile> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let mut signed = SignedOfferFile {
        market: deployment.market,
        chain_id: deployment.chain_id,
        pool: pool.address(),
        requester,
        units,
        valid_until: now.as_secs().saturating_add(valid_s),
        salt: keccak256(format!("{now:?} {requester} {units}")),
        signature: alloy::primitives::Bytes::new(),
        offer,
    };
    signed.signature = pool.key.sign_hash_sync(&signed.hash())?.as_bytes().into();
    Ok(signed)
}

async fn publish(
    mut deployment: Deployment,
    path: &Path,
    owner: &Wallet,
    wanted: &OfferFile,
    app: Digest,
    report: &Report,
) -> Result<()> {
    let offer = offer::prepare(&mut deployment, owner, wanted, wanted.plan(app)).await?;
    let gas = offer::publish(&deployment, path, owner, &offer).await?;
    let facts = json!({ "offer": offer.id, "name": offer.name, "app": app, "verifier": offer.verifier, "gas": gas });
    let text = format!("{}\n\n{} at {} a task, {} gas", offer.id, offer.name, price(&offer), thousands(gas));
    report.result("published", &facts, &text);
    Ok(())
}

async fn list(deployment: &Deployment, rpc: &Rpc, report: &Report) -> Result<()> {
    if deployment.apps.is_empty() {
        report.event("none", &json!({}), "no offers but the vanity search\n\nhint: `gristmill offer publish` adds one");
    }
    for offer in &deployment.apps {
        let active = Market::new(deployment.market, rpc.provider()).offerOf(offer.id).call().await?.active;
        let facts = json!({ "offer": offer, "active": active });
        let state = if active { "" } else { "  not standing" };
        report.result("offer", &facts, &format!("{}  {:<20} {} a task{state}", offer.id, offer.name, price(offer)));
    }
    Ok(())
}

fn price(offer: &AppOffer) -> String {
    rlc(alloy::primitives::U256::from(offer.unit_price))
}

async fn owner(deployment: &Deployment, rpc: Rpc, key: &KeyArgs) -> Result<Wallet> {
    let chain_id = wallet::chain_id(&rpc).await?;
    let owner = Wallet::new(rpc, key.load(chain_id)?).await?;
    if owner.address() != deployment.offer.pool {
        bail!(
            "these offers belong to {}, not to {}\n\nhint: give the pool's key",
            deployment.offer.pool,
            owner.address()
        );
    }
    Ok(owner)
}

/// The newest offer of that name, or the one with that id.
pub(super) fn named<'a>(deployment: &'a Deployment, name: &str) -> Result<&'a AppOffer> {
    let id = name.parse::<B256>().ok();
    let fits = |offer: &&AppOffer| offer.name == name && !offer.signed || Some(offer.id) == id;
    deployment.apps.iter().rev().find(fits).with_context(|| {
        let names: Vec<&str> = deployment.apps.iter().map(|offer| offer.name.as_str()).collect();
        format!("the pool offers no `{name}`\n\nhint: it offers {}", names.join(", "))
    })
}
