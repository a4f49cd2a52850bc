//! Filters that a client polls for what is new: for clients without a WebSocket, alloy and viem among them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy::rpc::types::Filter;
use serde_json::Value;

use super::{Api, Params, RpcError, json, log, quantity};
use crate::dev::{
    branch::{arrivals, branch},
    chain::Chain,
    node::Node,
};

/// Filters at a time. Each keeps the version of the chain that its client knows.
pub const FILTERS_MAX: usize = 256;
/// A filter that nobody asks for so long is forgotten, as on other nodes.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// The filters of all clients.
#[derive(Default)]
pub(crate) struct Filters {
    // Never held across an await.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    filters: BTreeMap<u64, Watched>,
    next: u64,
}

struct Watched {
    what: What,
    told: Arc<Chain>,
    asked_at: Instant,
}

#[derive(Clone)]
enum What {
    Blocks,
    Transactions,
    Logs(Box<Filter>),
}

impl Filters {
    pub(super) fn new_logs(&self, node: &Node, mut params: Params) -> Result<Value, RpcError> {
        self.add(node, What::Logs(params.next()?))
    }

    pub(super) fn new_blocks(&self, node: &Node) -> Result<Value, RpcError> {
        self.add(node, What::Blocks)
    }

    pub(super) fn new_transactions(&self, node: &Node) -> Result<Value, RpcError> {
        self.add(node, What::Transactions)
    }

    /// What happened since the last time; removed logs too, marked as such.
    pub(super) fn changes(&self, node: &Node, mut params: Params) -> Result<Value, RpcError> {
        let id = params.number()?;
        let new = node.chain().version();
        let (what, old) = {
            let mut open = self.lock();
            let watched = open.filters.get_mut(&id).ok_or_else(not_found)?;
            watched.asked_at = Instant::now();
            (watched.what.clone(), std::mem::replace(&mut watched.told, new.clone()))
        };
        let step = branch(&old, &new);
        match what {
            What::Blocks => json(step.added.iter().map(|block| block.hash).collect::<Vec<_>>()),
            What::Transactions => json(arrivals(&old, &new, &step).iter().map(|tx| tx.hash).collect::<Vec<_>>()),
            What::Logs(filter) => json(log::between(&step, &filter).collect::<Vec<_>>()),
        }
    }

    /// All logs that a filter describes, known or not.
    pub(super) async fn logs(&self, api: &Api, mut params: Params) -> Result<Value, RpcError> {
        let id = params.number()?;
        let what = self.lock().filters.get(&id).map(|watched| watched.what.clone());
        let Some(What::Logs(filter)) = what else { return Err(not_found()) };
        log::search(api, *filter).await
    }

    pub(super) fn remove(&self, mut params: Params) -> Result<Value, RpcError> {
        let id = params.number()?;
        json(self.lock().filters.remove(&id).is_some())
    }

    fn add(&self, node: &Node, what: What) -> Result<Value, RpcError> {
        let mut open = self.lock();
        open.filters.retain(|_, watched| watched.asked_at.elapsed() < IDLE_MAX);
        if open.filters.len() >= FILTERS_MAX {
            return Err(RpcError::limit(format!("at most {FILTERS_MAX} filters")));
        }
        open.next += 1;
        let id = open.next;
        open.filters.insert(id, Watched { what, told: node.chain().version(), asked_at: Instant::now() });
        quantity(id)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing that runs under the lock leaves it half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found() -> RpcError {
    RpcError::unknown("filter not found")
}
