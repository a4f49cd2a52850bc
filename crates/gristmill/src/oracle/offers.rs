//! The offers that this oracle serves.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::B256;
use tracing::{info, warn};

use crate::deployment::{AppOffer, Deployment, Plan};

/// The deployment, and the file it came from: `gristmill offer publish` adds to it before it goes to the market.
pub(super) struct Offers {
    deployment: Mutex<Arc<Deployment>>,
    file: Option<PathBuf>,
}

/// How an order is served.
pub(super) enum Terms<'a> {
    Search(&'a Plan),
    App(&'a AppOffer),
}

impl Offers {
    pub(super) fn new(deployment: Deployment, file: Option<PathBuf>) -> Self {
        Self { deployment: Mutex::new(Arc::new(deployment)), file }
    }

    pub(super) fn deployment(&self) -> Arc<Deployment> {
        self.deployment.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An offer of this pool appeared on chain: if it is new here, the file has it by now.
    pub(super) fn appeared(&self, offer: B256) {
        let known = self.deployment();
        let Some(file) = self.file.as_ref().filter(|_| terms(&known, offer).is_none()) else { return };
        match Deployment::read(file) {
            Ok(fresh) if (fresh.chain_id, fresh.market) != (known.chain_id, known.market) => {
                warn!(file = %file.display(), "the deployment file speaks of another market now");
            }
            Ok(fresh) => {
                match terms(&fresh, offer) {
                    Some(_) => info!(%offer, "a new offer is served"),
                    None => warn!(%offer, file = %file.display(), "no plan for this offer: its orders are left alone"),
                }
                *self.deployment.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
            }
            Err(error) => warn!(error = format!("{error:#}"), "the deployment cannot be read again"),
        }
    }
}

/// How orders under an offer are served; nothing for one that is none of ours.
pub(super) fn terms(deployment: &Deployment, offer: B256) -> Option<Terms<'_>> {
    if offer == deployment.offer.id {
        return Some(Terms::Search(&deployment.offer.plan));
    }
    deployment.app(offer).map(Terms::App)
}
