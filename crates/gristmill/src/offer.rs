//! Offers of apps: read from a file, published on chain or signed.

use std::collections::BTreeMap;
use std::path::Path;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::{SolCall, SolStruct as _, SolValue, eip712_domain};
use anyhow::{Context, Result, bail};
use gristmill_chain::contracts::{IMarket, Market, PoolWord};
use gristmill_proto::job::{Limits, Resources};
use gristmill_proto::requirement::Requirement;
use serde::{Deserialize, Serialize};

use crate::deployment::{AppOffer, AppPlan, Deployment, Judge, Meter};
use crate::rlc::NRLC_PER_RLC;
use crate::wallet::Wallet;

/// What `gristmill offer publish` reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferFile {
    pub name: String,
    /// A digest, or the path of a program.
    pub app: String,
    pub args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub require: Vec<Requirement>,
    pub retries: Option<u32>,
    /// Of a task, in RLC.
    pub price: String,
    #[serde(default = "pool_fee")]
    pub pool_fee_bps: u16,
    #[serde(default)]
    pub provider_fee_bps: u16,
    pub provider: Option<Address>,
    /// Seconds from order to deadline.
    #[serde(default = "a_day")]
    pub duration_s: u32,
    /// A verifier contract; without one the pool's word counts.
    pub verifier: Option<Address>,
    #[serde(default)]
    pub meter: Meter,
}

fn pool_fee() -> u16 {
    1_000
}

fn a_day() -> u32 {
    24 * 3_600
}

impl OfferFile {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no offer", path.display()))
    }

    pub fn plan(&self, app: gristmill_proto::digest::Digest) -> AppPlan {
        AppPlan {
            app,
            args: self.args.clone(),
            env: self.env.clone(),
            limits: self.limits.clone(),
            resources: self.resources,
            require: self.require.clone(),
            retries: self.retries.unwrap_or(3),
        }
    }
}

/// An amount of RLC as people write it, in nRLC.
pub fn parse_rlc(text: &str) -> Result<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || text == "." || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
        bail!("`{text}` is no amount of RLC\n\nhint: write it with at most nine decimals, such as 0.05");
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse()? };
    let fraction: u128 = format!("{fraction:0<9}").parse()?;
    let amount = whole.checked_mul(NRLC_PER_RLC).and_then(|nrlc| nrlc.checked_add(fraction));
    amount.filter(|amount| *amount < 1 << 96).with_context(|| format!("{text} RLC are more than there are"))
}

/// The offer as the market knows it.
pub fn terms(deployment: &Deployment, offer: &AppOffer) -> IMarket::Offer {
    IMarket::Offer {
        pool: deployment.offer.pool,
        provider: offer.provider,
        app: offer.plan.app.0.into(),
        verifier: offer.verifier,
        unitPrice: alloy::primitives::aliases::U96::from(offer.unit_price),
        poolFeeBps: offer.pool_fee_bps,
        providerFeeBps: offer.provider_fee_bps,
        duration: offer.duration,
    }
}

/// `keccak256(abi.encode(chainid, market, terms))`, as the market names offers.
pub fn offer_id(deployment: &Deployment, terms: &IMarket::Offer) -> B256 {
    keccak256((U256::from(deployment.chain_id), deployment.market, terms.clone()).abi_encode())
}

/// The offer of a file, with its id. The verifier of pools whose word counts is deployed when it is needed first.
pub async fn prepare(deployment: &mut Deployment, pool: &Wallet, file: &OfferFile, plan: AppPlan) -> Result<AppOffer> {
    let (judge, verifier) = match (file.verifier, deployment.pool_word) {
        (Some(verifier), _) => (Judge::Verifier, verifier),
        (None, Some(word)) => (Judge::Pool, word),
        (None, None) => {
            let (word, _) = pool.deploy("deploy the verifier", PoolWord::BYTECODE.to_vec()).await?;
            deployment.pool_word = Some(word);
            (Judge::Pool, word)
        }
    };
    let mut offer = AppOffer {
        id: B256::ZERO,
        name: file.name.clone(),
        judge,
        verifier,
        provider: file.provider.unwrap_or(deployment.offer.pool),
        unit_price: parse_rlc(&file.price)?,
        pool_fee_bps: file.pool_fee_bps,
        provider_fee_bps: file.provider_fee_bps,
        duration: file.duration_s,
        meter: file.meter,
        signed: false,
        plan,
    };
    offer.id = offer_id(deployment, &terms(deployment, &offer));
    Ok(offer)
}

/// Adds the offer to the deployment's file, then to the market: an oracle that sees it there finds it in the file.
pub async fn publish(deployment: &Deployment, path: &Path, pool: &Wallet, offer: &AppOffer) -> Result<u64> {
    note(deployment, path, offer)?;
    let call = Market::publishOfferCall { terms: terms(deployment, offer) }.abi_encode();
    let published = pool.call("publish the offer", deployment.market, call).await;
    if published.is_err() {
        deployment.write(path)?;
    }
    Ok(published?.gas_used)
}

/// Offers of former terms stay: orders under them may still be open.
pub fn note(deployment: &Deployment, path: &Path, offer: &AppOffer) -> Result<()> {
    let mut with = deployment.clone();
    with.apps.retain(|known| known.id != offer.id);
    with.apps.push(offer.clone());
    with.write(path)
}

/// A signed offer, as it is handed on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOfferFile {
    pub market: Address,
    pub chain_id: u64,
    pub offer: AppOffer,
    pub pool: Address,
    /// Who alone may take it; zero for anybody.
    pub requester: Address,
    pub units: u64,
    /// Seconds since 1970.
    pub valid_until: u64,
    pub salt: B256,
    pub signature: Bytes,
}

alloy::sol! {
    struct Offer {
        address pool;
        address provider;
        bytes32 app;
        address verifier;
        uint96 unitPrice;
        uint16 poolFeeBps;
        uint16 providerFeeBps;
        uint32 duration;
    }
    struct SignedOffer {
        Offer terms;
        address requester;
        uint64 units;
        uint64 validUntil;
        bytes32 salt;
    }
    struct SignedRequest {
        address requester;
        address relayer;
        uint96 tip;
        bytes32 offer;
        uint64 units;
        bool bag;
        uint96 priceMax;
        address callback;
        uint32 callbackGas;
        uint64 validUntil;
        bytes32 salt;
        bytes params;
    }
}

impl SignedOfferFile {
    pub fn hash(&self) -> B256 {
        let signed = SignedOffer {
            terms: self.terms(),
            requester: self.requester,
            units: self.units,
            validUntil: self.valid_until,
            salt: self.salt,
        };
        signed.eip712_signing_hash(&domain(self.chain_id, self.market))
    }

    fn terms(&self) -> Offer {
        Offer {
            pool: self.pool,
            provider: self.offer.provider,
            app: self.offer.plan.app.0.into(),
            verifier: self.offer.verifier,
            unitPrice: alloy::primitives::aliases::U96::from(self.offer.unit_price),
            poolFeeBps: self.offer.pool_fee_bps,
            providerFeeBps: self.offer.provider_fee_bps,
            duration: self.offer.duration,
        }
    }

    pub fn for_market(&self, deployment: &Deployment) -> IMarket::SignedOffer {
        IMarket::SignedOffer {
            terms: terms(deployment, &self.offer),
            requester: self.requester,
            units: self.units,
            validUntil: self.valid_until,
            salt: self.salt,
        }
    }
}

pub fn request_hash(deployment: &Deployment, request: &IMarket::SignedRequest) -> B256 {
    let IMarket::SignedRequest { requester, relayer, tip, offer, units, bag, .. } = request.clone();
    let IMarket::SignedRequest { priceMax, callback, callbackGas, validUntil, salt, params, .. } = request.clone();
    SignedRequest {
        requester,
        relayer,
        tip,
        offer,
        units,
        bag,
        priceMax,
        callback,
        callbackGas,
        validUntil,
        salt,
        params,
    }
    .eip712_signing_hash(&domain(deployment.chain_id, deployment.market))
}

fn domain(chain_id: u64, market: Address) -> alloy::sol_types::Eip712Domain {
    eip712_domain! {
        name: "gristmill market",
        version: "1",
        chain_id: chain_id,
        verifying_contract: market,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(parse_rlc("1").unwrap(), NRLC_PER_RLC);
        assert_eq!(parse_rlc("0.000000001").unwrap(), 1);
        assert_eq!(parse_rlc(".5").unwrap(), NRLC_PER_RLC / 2);
        for wrong in ["", ".", "-1", "1e9", "0.0000000001", "1.2.3", "99999999999999999999999"] {
            assert!(parse_rlc(wrong).is_err(), "{wrong}");
        }
    }
}
