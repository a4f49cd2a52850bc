//! A requester's side of the market: orders under any app's offer, from one transaction to their end.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::{Filter, TransactionReceipt};
use alloy::sol_types::{SolCall, SolEvent, SolEventInterface as _, SolValue};
use anyhow::{Context, Result, bail};
use gristmill_chain::contracts::{IMarket, Market, RLC};
use gristmill_chain::rpc::Rpc;
use serde::Serialize;

use crate::deployment::{AppOffer, Deployment};
use crate::rlc::rlc;
use crate::wallet::Wallet;

/// What is wanted under an offer.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub units: u64,
    /// Each unit is a task.
    pub bag: bool,
    pub params: Bytes,
    /// Contract that receives the result, and the gas it gets for it.
    pub callback: Address,
    pub callback_gas: u32,
}

/// What an order costs, and who gets it. In nRLC, as decimal text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    pub units: u64,
    pub price: String,
    pub workers: String,
    pub pool: String,
    pub provider: String,
    /// It comes back if there is no result by then, in seconds from the order.
    pub duration_s: u32,
}

pub fn quote(offer: &AppOffer, units: u64) -> Result<Quote> {
    if units == 0 {
        bail!("an order needs at least one unit");
    }
    let price = offer.unit_price.checked_mul(u128::from(units)).filter(|price| *price < 1 << 96);
    let price = price.context("this costs more RLC than there are")?;
    let fee = |bps: u16| price * u128::from(bps) / 10_000;
    let (pool, provider) = (fee(offer.pool_fee_bps), fee(offer.provider_fee_bps));
    Ok(Quote {
        units,
        price: price.to_string(),
        workers: (price - pool - provider).to_string(),
        pool: pool.to_string(),
        provider: provider.to_string(),
        duration_s: offer.duration,
    })
}

/// An order that is on chain.
pub struct Found {
    pub id: B256,
    pub order: IMarket::Order,
    pub block: u64,
}

impl Found {
    pub fn is_bag(&self) -> bool {
        self.order.nonce.bit(255)
    }
}

/// Pays and orders in one transaction.
pub async fn place(wallet: &Wallet, deployment: &Deployment, offer: B256, wish: &Wish, price: u128) -> Result<Found> {
    let token = RLC::new(deployment.token, wallet.rpc.provider());
    let held = token.balanceOf(wallet.address()).call().await.context("cannot read the RLC balance")?;
    let price = U256::from(price);
    if held < price {
        bail!("the order costs {}, but {} holds {}", rlc(price), wallet.address(), rlc(held));
    }
    let terms = (offer, wish.units, price, wish.callback, U256::from(wish.callback_gas), wish.params.clone());
    let selector: &[u8] = if wish.bag { &Market::requestBagCall::SELECTOR } else { &[] };
    let data = [selector, &terms.abi_encode_params()].concat().into();
    let call = RLC::approveAndCallCall { spender: deployment.market, amount: price, data }.abi_encode();
    let receipt = wallet.call("place the order", deployment.token, call).await?;
    ordered_in(&receipt).context("the order's transaction left no order")
}

/// The order that a transaction made.
pub fn ordered_in(receipt: &TransactionReceipt) -> Option<Found> {
    let block = receipt.block_number?;
    receipt.logs().iter().find_map(|log| match Market::MarketEvents::decode_log(&log.inner).ok()?.data {
        Market::MarketEvents::Requested(event) => Some(Found { id: event.order, order: event.details, block }),
        Market::MarketEvents::BagRequested(event) => Some(Found { id: event.bag, order: event.details, block }),
        _ => None,
    })
}

/// Finds an order by its id.
pub async fn find(rpc: &Rpc, deployment: &Deployment, id: B256) -> Result<Found> {
    let events = vec![Market::Requested::SIGNATURE_HASH, Market::BagRequested::SIGNATURE_HASH];
    let filter = Filter::new().address(deployment.market).event_signature(events).topic1(id);
    let log = rpc.logs(&filter.from_block(deployment.market_block)).await?.pop();
    let log = log.with_context(|| {
        format!("the market at {} has no order {id}\n\nhint: give the whole id, and the right --rpc", deployment.market)
    })?;
    let block = log.block_number.context("a log in a block has a number")?;
    let order = match Market::MarketEvents::decode_log(&log.inner)?.data {
        Market::MarketEvents::Requested(event) => event.details,
        Market::MarketEvents::BagRequested(event) => event.details,
        _ => bail!("the node answers with another event than was asked for"),
    };
    Ok(Found { id, order, block })
}

/// A part of an order that has ended on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The order's only task, or a task of a bag.
    Task {
        index: u64,
        result: Bytes,
    },
    Batch {
        first: u64,
        count: u64,
        failed: u64,
        root: B256,
    },
    Failed {
        index: u64,
    },
}

/// How far an order is on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub parts: Vec<Part>,
    pub refunded: U256,
    /// Why the pool gave it back.
    pub declined: Option<String>,
    pub transaction: Option<B256>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Open,
    Cancelling,
    Settled,
    Refunded,
}

pub async fn standing(rpc: &Rpc, market: Address, found: &Found) -> Result<Standing> {
    let status = Market::new(market, rpc.provider()).statusOf(found.id).call().await?;
    let state = match status {
        2 => State::Settled,
        3 => State::Refunded,
        4 => State::Cancelling,
        _ => State::Open,
    };
    let filter = Filter::new().address(market).topic1(found.id).from_block(found.block);
    let (mut parts, mut refunded, mut declined, mut transaction) = (Vec::new(), U256::ZERO, None, None);
    for log in rpc.logs(&filter).await? {
        let Ok(event) = Market::MarketEvents::decode_log(&log.inner) else { continue };
        match event.data {
            Market::MarketEvents::Settled(event) => parts.push(Part::Task { index: 0, result: event.result }),
            Market::MarketEvents::TaskSettled(event) => {
                parts.push(Part::Task { index: event.index.saturating_to(), result: event.result });
            }
            Market::MarketEvents::TaskFailed(event) => parts.push(Part::Failed { index: event.index.saturating_to() }),
            Market::MarketEvents::BatchSettled(event) => parts.push(Part::Batch {
                first: event.first.saturating_to(),
                count: event.count.saturating_to(),
                failed: event.failed.saturating_to(),
                root: event.root,
            }),
            Market::MarketEvents::Refunded(event) => refunded = event.amount,
            Market::MarketEvents::Declined(event) => {
                declined = Some(String::from_utf8_lossy(&event.reason).into_owned());
            }
            _ => continue,
        }
        transaction = log.transaction_hash;
    }
    Ok(Standing { state, parts, refunded, declined, transaction })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quote_names_every_part_of_the_price() {
        let plan = json!({ "app": gristmill_proto::digest::Digest::of(b"app"), "args": [] });
        let offer = json!({ "id": B256::ZERO, "name": "a", "judge": "pool", "verifier": Address::ZERO,
            "provider": Address::ZERO, "unit_price": 333, "pool_fee_bps": 1_000, "provider_fee_bps": 501,
            "duration": 60, "plan": plan });
        let offer: AppOffer = serde_json::from_value(offer).unwrap();
        let quoted = quote(&offer, 3).unwrap();
        // Fees are rounded down; workers have the rest.
        assert_eq!((quoted.price.as_str(), quoted.pool.as_str(), quoted.provider.as_str()), ("999", "99", "50"));
        assert_eq!(quoted.workers, "850");
        assert!(quote(&offer, 0).is_err());
        assert!(quote(&AppOffer { unit_price: 1 << 95, ..offer }, 2).is_err());
    }
}
