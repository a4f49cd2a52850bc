//! Where on a chain a pool's contracts are, and how an order under its offer becomes a job.

use std::fs;
use std::path::Path;

use alloy::primitives::{Address, B256};
use anyhow::{Context, Result};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::Limits;
use serde::{Deserialize, Serialize};

/// What a pool tells its oracle, its page and its requesters; a JSON file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    pub chain_id: u64,
    pub token: Address,
    pub market: Address,
    /// First block that may hold events of this market.
    pub market_block: u64,
    pub verifier: Address,
    pub shop: Address,
    pub offer: Offer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Its id in the market.
    pub id: B256,
    /// Who settles.
    pub pool: Address,
    pub unit_price: u128,
    /// Expected candidates that one unit of work pays for, and the least an order buys.
    pub unit_candidates: u64,
    pub min_units: u64,
    pub plan: Plan,
}

/// How an order becomes a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub app: Digest,
    /// `{params}` and `{order}` stand for the order's parameters and id in hexadecimal; `{task}`, `{work}` and
    /// `{worker}` are filled in by the worker.
    pub args: Vec<String>,
    /// Tasks that the app can tell apart.
    pub tasks: u64,
    /// Work units, as the app counts them, in the smallest task that is worth its start.
    pub task_work_min: u64,
    /// And in the largest: a fast worker is given up to sixteen times as much, and the app must tell tasks apart.
    pub task_work_max: u64,
    /// Work units a second of a slot, until the pool has measured it.
    pub slot_rate: u64,
    /// Who checks the shares of its tasks. `{shares}` in the arguments stands for their ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_checker: Option<String>,
    /// Work units that one unit of an order pays for.
    pub unit_work: u64,
    /// A search ends without a result after this many times the work that was paid for. Chance makes some searches
    /// long, and the pool bears that: at 20, one in 500 million is refunded.
    pub overrun: u64,
    pub limits: Limits,
}

impl Deployment {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| {
            format!("cannot read the deployment {}\n\nhint: `gristmill deploy` writes one", file.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is no deployment", file.display()))
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a deployment has string keys only");
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}
