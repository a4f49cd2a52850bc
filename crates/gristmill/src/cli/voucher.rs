//! `gristmill voucher`: what pools owe a worker, and how it gets it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy::primitives::{Address, U256};
use alloy::sol_types::{SolCall, SolEvent};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use gristmill_chain::contracts::{IVouchers, Market};
use gristmill_chain::rpc::Rpc;
use gristmill_proto::id::WorkerId;
use serde_json::json;

use super::key::KeyArgs;
use super::worker_pay::{self, Purse};
use crate::pool_client::PoolClient;
use crate::report::Report;
use crate::rlc::rlc;
use crate::roles;
use crate::vouchers::VoucherView;
use crate::wallet::{self, Wallet};

/// Vouchers in one transaction.
const CASH_MAX: usize = 100;

#[derive(Args)]
pub(super) struct VoucherArgs {
    #[command(subcommand)]
    command: VoucherCommand,
}

#[derive(Subcommand)]
enum VoucherCommand {
    /// Tell what pools owe this worker, and how well that is covered
    List(EarningsArgs),
    /// Have vouchers paid to the worker's address; anybody may do that for it
    Cash {
        #[command(flatten)]
        earnings: EarningsArgs,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Tell the pool to pay this worker at another address from now on
    Payout {
        address: Address,
        #[command(flatten)]
        earnings: EarningsArgs,
    },
}

#[derive(Args)]
pub(super) struct EarningsArgs {
    /// The worker's folder [default: worker in $GRISTMILL_HOME or ~/.local/share/gristmill]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// JSON-RPC of the chain
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7118")]
    rpc: String,
    /// Ask this pool for news first
    #[arg(long, value_name = "URL", env = "GRISTMILL_POOL")]
    pool: Option<String>,
    /// One JSON object per voucher on standard output
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: VoucherArgs) -> Result<()> {
    match args.command {
        VoucherCommand::List(earnings) => list(&earnings).await,
        VoucherCommand::Cash { earnings, key } => {
            let report = Report::new(earnings.json);
            let done = cash(&earnings, &key, &report).await;
            report.concluded(done)
        }
        VoucherCommand::Payout { address, earnings } => {
            let folder = roles::folder(earnings.data_dir, "worker")?;
            let Some(pool) = earnings.pool else { bail!("which pool?\n\nhint: name it with --pool") };
            worker_pay::choose_payout(&PoolClient::new(&pool, ""), &folder, address).await?;
            let facts = json!({ "payout": address });
            Report::new(earnings.json).result("payout", &facts, &format!("from now on paid to {address}"));
            Ok(())
        }
    }
}

async fn purse(earnings: &EarningsArgs) -> Result<Purse> {
    let folder = roles::folder(earnings.data_dir.clone(), "worker")?;
    if let Some(pool) = &earnings.pool {
        let worker = WorkerId(worker_pay::key(&folder)?.address().into_array());
        worker_pay::collect(&PoolClient::new(pool, ""), worker, &folder).await?;
    }
    Purse::open(&folder)
}

/// What is due on a voucher, and how much of that would be paid now.
async fn due(rpc: &Rpc, voucher: &VoucherView) -> Result<(U256, U256)> {
    let market = Market::new(voucher.market, rpc.provider());
    let cover = market.coverOf(voucher.pool, voucher.worker).call().await?;
    let due = U256::from(voucher.nrlc()?).saturating_sub(cover.cashed);
    Ok((due, due.min(cover.reserved + cover.locked)))
}

pub(super) async fn list(earnings: &EarningsArgs) -> Result<()> {
    let report = Report::new(earnings.json);
    let told = async {
        let purse = purse(earnings).await?;
        let rpc = Rpc::connect(&earnings.rpc)?;
        let chain_id = wallet::chain_id(&rpc).await?;
        if purse.vouchers.is_empty() {
            report.event("none", &json!({}), "no pool owes this worker anything yet");
        }
        for voucher in &purse.vouchers {
            let earned = rlc(U256::from(voucher.nrlc()?));
            if voucher.chain_id != chain_id {
                let facts = json!({ "voucher": voucher });
                report.result("voucher", &facts, &format!("{}  {earned} on chain {}", voucher.pool, voucher.chain_id));
                continue;
            }
            let (due, covered) = due(&rpc, voucher).await?;
            let facts = json!({ "voucher": voucher, "due_nrlc": due.to_string(), "covered_nrlc": covered.to_string() });
            let text = format!("{}  {earned} earned, {} due, {} of it covered", voucher.pool, rlc(due), rlc(covered));
            report.result("voucher", &facts, &text);
        }
        Ok(())
    };
    let told = told.await;
    report.concluded(told)
}

async fn cash(earnings: &EarningsArgs, key: &KeyArgs, report: &Report) -> Result<()> {
    let purse = purse(earnings).await?;
    let rpc = Rpc::connect(&earnings.rpc)?;
    let chain_id = wallet::chain_id(&rpc).await?;
    let mut by_market: BTreeMap<Address, Vec<IVouchers::Voucher>> = BTreeMap::new();
    for voucher in purse.vouchers.iter().filter(|voucher| voucher.chain_id == chain_id) {
        let (_, covered) = due(&rpc, voucher).await?;
        if !covered.is_zero() {
            by_market.entry(voucher.market).or_default().push(IVouchers::Voucher {
                pool: voucher.pool,
                worker: voucher.worker,
                cumulative: U256::from(voucher.nrlc()?),
                signature: voucher.signature.clone(),
            });
        }
    }
    if by_market.is_empty() {
        bail!("there is nothing to be paid now\n\nhint: `gristmill voucher list` tells what is due and what covers it");
    }
    let wallet = Wallet::new(rpc, key.load(chain_id)?).await?;
    for (market, vouchers) in by_market {
        for some in vouchers.chunks(CASH_MAX) {
            let call = Market::cashCall { vouchers: some.to_vec() }.abi_encode();
            let receipt = wallet.call("cash the vouchers", market, call).await?;
            for log in receipt.logs() {
                if let Ok(event) = Market::Cashed::decode_log(&log.inner) {
                    let facts = json!({ "worker": event.worker, "pool": event.pool,
                        "nrlc": event.amount.to_string(), "gas": receipt.gas_used });
                    report.result("cashed", &facts, &format!("{} to {}", rlc(event.amount), event.worker));
                }
            }
        }
    }
    Ok(())
}
