//! Puts a pool's contracts on a chain and its offer into the market.

use alloy::primitives::{Address, U256};
use alloy::sol_types::{SolCall, SolConstructor, SolEvent};
use anyhow::{Context, Result};
use gristmill_chain::contracts::{DevRLC, IMarket, Market, VanityShop, VanityVerifier};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::Limits;
use serde::Serialize;

use crate::deployment::{Deployment, Offer, Plan};
use crate::rlc::NRLC_PER_RLC;
use crate::vanity_shares;
use crate::wallet::Wallet;

/// Terms of a vanity offer.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Expected candidates per unit, and the price of a unit in nRLC.
    pub unit_candidates: u64,
    pub min_units: u64,
    pub unit_price: u128,
    pub pool_fee_bps: u16,
    pub provider_fee_bps: u16,
    /// Seconds from order to refund.
    pub duration: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            unit_candidates: 1 << 20,
            min_units: 10,
            unit_price: NRLC_PER_RLC / 1000,
            pool_fee_bps: 1_000,
            provider_fee_bps: 500,
            duration: 24 * 3600,
        }
    }
}

/// A step that is on chain.
#[derive(Clone, Debug, Serialize)]
pub struct Deployed {
    pub name: &'static str,
    pub address: Address,
    pub gas: u64,
}

/// A name for what [`deploy`] puts on a chain: another app, other terms or other contracts have another.
pub fn edition(app: Digest, terms: &Terms) -> String {
    let contracts = [&DevRLC::BYTECODE, &Market::BYTECODE, &VanityVerifier::BYTECODE, &VanityShop::BYTECODE];
    let contracts: Vec<u8> = contracts.into_iter().flat_map(|code| code.to_vec()).collect();
    let parts = [format!("{terms:?}").into_bytes(), format!("{:?}", plan(app, terms)).into_bytes(), contracts];
    Digest::of(&parts.concat()).to_string()[..8].to_owned()
}

/// Deploys everything. `pool` becomes the owner of the offer; `token` is an existing RLC, or none for a play one.
pub async fn deploy(
    pool: &Wallet,
    provider: Address,
    token: Option<Address>,
    app: Digest,
    terms: &Terms,
    mut step: impl FnMut(Deployed),
) -> Result<Deployment> {
    let token = match token {
        Some(token) => token,
        None => {
            let arguments = DevRLC::constructorCall { holder: pool.address() }.abi_encode();
            let code = [&DevRLC::BYTECODE[..], &arguments].concat();
            let (address, receipt) = pool.deploy("deploy RLC", code).await?;
            step(Deployed { name: "RLC", address, gas: receipt.gas_used });
            address
        }
    };
    let arguments = Market::constructorCall { token_: token }.abi_encode();
    let (market, receipt) = pool.deploy("deploy the market", [&Market::BYTECODE[..], &arguments].concat()).await?;
    step(Deployed { name: "Market", address: market, gas: receipt.gas_used });
    let market_block = receipt.block_number.context("a mined transaction has a block")?;
    let (verifier, receipt) = pool.deploy("deploy the verifier", VanityVerifier::BYTECODE.to_vec()).await?;
    step(Deployed { name: "VanityVerifier", address: verifier, gas: receipt.gas_used });

    let offer = IMarket::Offer {
        pool: pool.address(),
        provider,
        app: app.0.into(),
        verifier,
        unitPrice: alloy::primitives::aliases::U96::from(terms.unit_price),
        poolFeeBps: terms.pool_fee_bps,
        providerFeeBps: terms.provider_fee_bps,
        duration: terms.duration,
    };
    let receipt =
        pool.call("publish the offer", market, Market::publishOfferCall { terms: offer }.abi_encode()).await?;
    let published = receipt.logs().iter().find_map(|log| Market::OfferPublished::decode_log(&log.inner).ok());
    let offer_id = published.context("publishing an offer leaves an event")?.offer;

    let arguments = VanityShop::constructorCall {
        market,
        offer: offer_id,
        unitCandidates: terms.unit_candidates,
        minUnits: terms.min_units,
    };
    let code = [&VanityShop::BYTECODE[..], &arguments.abi_encode()].concat();
    let (shop, receipt) = pool.deploy("deploy the shop", code).await?;
    step(Deployed { name: "VanityShop", address: shop, gas: receipt.gas_used });

    Ok(Deployment {
        chain_id: pool.rpc.chain_id().await?,
        token,
        market,
        market_block,
        verifier,
        shop,
        offer: Offer {
            id: offer_id,
            pool: pool.address(),
            unit_price: terms.unit_price,
            unit_candidates: terms.unit_candidates,
            min_units: terms.min_units,
            plan: plan(app, terms),
        },
        pool_word: None,
        apps: Vec::new(),
    })
}

/// What the vanity offer's orders become.
pub(crate) fn plan(app: Digest, terms: &Terms) -> Plan {
    let args = ["unit", "--params", "{params}", "--order", "{order}", "--worker", "{worker}", "--unit", "{task}"];
    let search = ["--threads", "1", "--candidates", "{work}", "--shares", "{shares}", "--shares-out", "/out/shares"];
    Plan {
        app,
        args: args.into_iter().chain(search).map(str::to_owned).collect(),
        tasks: vanity::unit::UNITS,
        task_work_min: 6 << 20,
        task_work_max: 6 * (vanity::unit::UNIT_STRIDE / 16),
        slot_rate: 5_000_000,
        share_checker: Some(vanity_shares::CHECKER.to_owned()),
        unit_work: terms.unit_candidates,
        overrun: 20,
        limits: Limits { wall_ms: 3_600_000, cpu_ms: 4 * 3_600_000, memory_bytes: 256 << 20, ..Limits::default() },
    }
}

/// Fills an account of the development chain up with play RLC.
pub async fn take_play_rlc(account: &Wallet, token: Address) -> Result<()> {
    let held = DevRLC::new(token, account.rpc.provider()).balanceOf(account.address()).call().await?;
    if held < U256::from(100 * NRLC_PER_RLC) {
        let amount = U256::from(1_000 * NRLC_PER_RLC);
        let call = DevRLC::faucetCall { amount }.abi_encode();
        account.call("take play RLC from the faucet", token, call).await?;
    }
    Ok(())
}
