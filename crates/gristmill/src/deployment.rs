//! Where on a chain a pool's contracts are, and how an order under its offer becomes a job.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use alloy::primitives::{Address, B256};
use anyhow::{Context, Result};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::{Limits, Resources};
use gristmill_proto::requirement::Requirement;
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
    /// The verifier of offers of pools whose word counts; deployed when one is published first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_word: Option<Address>,
    /// The pool's other apps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppOffer>,
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

/// Terms at which the pool runs some app for whoever orders it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppOffer {
    /// Its id in the market.
    pub id: B256,
    /// For people: what `gristmill order place` knows it by.
    pub name: String,
    pub judge: Judge,
    /// The contract that judges for the market.
    pub verifier: Address,
    pub provider: Address,
    /// In nRLC, for a task.
    pub unit_price: u128,
    pub pool_fee_bps: u16,
    pub provider_fee_bps: u16,
    /// Seconds from order to deadline.
    pub duration: u32,
    #[serde(default)]
    pub meter: Meter,
    /// Signed for somebody to take: it is not standing in the market.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    pub plan: AppPlan,
}

/// Who says that a result is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// The pool. The market pays the pool, which pays its workers by voucher; bags are settled by one root.
    Pool,
    /// The verifier, a program that judges each result from its bytes. The market pays the worker.
    Verifier,
}

/// How the workers of one order share what it pays them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Each task counts the same.
    #[default]
    Task,
    /// Each task counts by the processor time it took, up to what its limits allow.
    CpuSecond,
}

/// How an order of an app becomes a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppPlan {
    pub app: Digest,
    /// `{params}`, `{order}` and `{text}` stand for the order's parameters and id in hexadecimal, and for its parameters
    /// as text; `{args}` alone for as many arguments as the parameters, a JSON list of texts, hold. `{task}` and
    /// `{worker}` are filled in by the worker.
    pub args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default)]
    pub require: Vec<Requirement>,
    #[serde(default = "three")]
    pub retries: u32,
}

fn three() -> u32 {
    3
}

impl Deployment {
    pub fn app(&self, id: B256) -> Option<&AppOffer> {
        self.apps.iter().find(|offer| offer.id == id)
    }

    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| {
            format!("cannot read the deployment {}\n\nhint: `gristmill deploy` writes one", file.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is no deployment", file.display()))
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a deployment has string keys only");
        let fresh = file.with_extension("new");
        // An oracle may read it at any time.
        let written = fs::write(&fresh, text + "\n").and_then(|()| fs::rename(&fresh, file));
        written.with_context(|| format!("cannot write {}", file.display()))
    }
}
