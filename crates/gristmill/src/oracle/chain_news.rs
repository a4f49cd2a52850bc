//! What the market's events say, put into the ledger.

use alloy::rpc::types::Log;
use alloy::sol_types::SolEventInterface as _;
use gristmill_chain::contracts::Market;
use tracing::info;

use super::ledger::{Cancel, Closing, Ledger, nrlc};
use super::offers::{Offers, terms};

pub(super) fn note(offers: &Offers, ledger: &mut Ledger, log: &Log) {
    let Some(block) = log.block_number else { return };
    let Ok(event) = Market::MarketEvents::decode_log(&log.inner) else { return };
    let deployment = offers.deployment();
    let ours = |offer| terms(&deployment, offer).is_some();
    match event.data {
        Market::MarketEvents::OfferPublished(event) if event.pool == deployment.offer.pool => {
            offers.appeared(event.offer);
        }
        Market::MarketEvents::OfferTaken(event) if event.pool == deployment.offer.pool => offers.appeared(event.offer),
        Market::MarketEvents::Requested(event) if ours(event.offer) => {
            info!(order = %event.order, units = event.details.units, block, "order");
            ledger.requested(event.order, event.details, block);
        }
        Market::MarketEvents::BagRequested(event) if ours(event.offer) => {
            info!(order = %event.bag, tasks = event.details.units, block, "bag");
            ledger.requested(event.bag, event.details, block);
        }
        Market::MarketEvents::Settled(event) => {
            info!(order = %event.order, worker = %event.worker, block, "settled");
            ledger.settled(event.order, u64::MAX, nrlc(event.workerPaid), block);
        }
        Market::MarketEvents::BatchSettled(event) => {
            info!(order = %event.bag, tasks = %event.count, failed = %event.failed, block, "bag settled");
            let done = event.first.saturating_add(event.count).saturating_to();
            ledger.settled(event.bag, done, nrlc(event.workerPaid), block);
        }
        Market::MarketEvents::TaskSettled(event) => {
            ledger.settled(event.bag, event.index.saturating_to::<u64>() + 1, nrlc(event.workerPaid), block);
        }
        Market::MarketEvents::TaskFailed(event) => {
            ledger.settled(event.bag, event.index.saturating_to::<u64>() + 1, 0, block);
        }
        Market::MarketEvents::Refunded(event) => {
            info!(order = %event.order, block, "refunded");
            ledger.closed(event.order, Closing::Refunded, block);
        }
        Market::MarketEvents::CancelStarted(event) => {
            ledger.cancel(event.order, Cancel::Until(event.until.saturating_to()), block);
        }
        Market::MarketEvents::Kept(event) => ledger.cancel(event.order, Cancel::Kept, block),
        Market::MarketEvents::CallbackFailed(event) => {
            info!(order = %event.order, "the requester's contract did not take the result; it stays in the event");
        }
        _ => {}
    }
}
