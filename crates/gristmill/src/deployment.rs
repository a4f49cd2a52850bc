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
    /// `{params}` and `{order}` stand for the order's parameters and id in hexadecimal; `{task}` and `{worker}` are
    /// filled in by the worker.
    pub args: Vec<String>,
    /// Work units, as the app counts them, in one task.
    pub task_work: u64,
    /// Work units that one unit of an order pays for.
    pub unit_work: u64,
    /// A search ends without a result after this many times the work that was paid for. Chance makes some searches
    /// long, and the pool bears that: at 20, one in 500 million is refunded.
    pub overrun: u64,
    pub limits: Limits,
}

impl Plan {
    /// Tasks that the search may take before it is given up.
    pub fn tasks(&self, units: u64) -> u64 {
        let work = u128::from(units) * u128::from(self.unit_work) * u128::from(self.overrun);
        let tasks = work.div_ceil(u128::from(self.task_work.max(1)));
        u64::try_from(tasks).unwrap_or(u64::MAX).clamp(1, gristmill_proto::job::TASKS_MAX)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_was_paid_for_bounds_the_search() {
        let plan = Plan {
            app: Digest::of(b""),
            args: vec![],
            task_work: 100,
            unit_work: 10,
            overrun: 20,
            limits: Limits::default(),
        };
        assert_eq!(plan.tasks(1), 2);
        assert_eq!(plan.tasks(6), 12);
        assert_eq!(plan.tasks(u64::MAX), gristmill_proto::job::TASKS_MAX);
    }
}
