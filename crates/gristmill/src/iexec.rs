//! The way in for iExec's own tools: their unmodified CLI and SDK order here what this pool runs.
//!
//! Three parts, each of which can run alone: `deploy` puts the hub and its registries on a chain; `oracle` turns the
//! deals that are made at the hub into jobs and settles their tasks; `gateway` serves the few HTTP routes that the tools
//! ask for besides the chain: the order book, and results under the addresses that the chain names.

pub mod content;
pub mod deploy;
pub mod gateway;
pub mod oracle;

use std::fs;
use std::path::Path;

use alloy::primitives::Address;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where on a chain the hub is; a JSON file, and part of what a pool tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    pub chain_id: u64,
    pub token: Address,
    pub hub: Address,
    /// First block that may hold its events.
    pub hub_block: u64,
    pub appregistry: Address,
    pub datasetregistry: Address,
    pub workerpoolregistry: Address,
    /// The pool that was registered with it.
    pub workerpool: Address,
}

/// Name of the hub among a pool's facts.
pub const FACT: &str = "iexec";
/// Where a pool that has a hub passes JSON-RPC on.
const RPC_PATH: &str = "/rpc";
const CHAIN_NAME: &str = "gristmill";

impl Hub {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| {
            format!("cannot read the hub {}\n\nhint: `gristmill iexec deploy` writes one", file.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} describes no hub", file.display()))
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a hub has string keys only");
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }
}

/// What the `iexec` CLI wants to know of a chain, all of it at the pool's one origin. It insists on an `sms`, which it asks
/// about enclaves only.
pub fn chain_json(hub: &Hub, pool: &str) -> Value {
    let pool = pool.trim_end_matches('/');
    json!({
        "default": CHAIN_NAME,
        "chains": {
            CHAIN_NAME: {
                "id": hub.chain_id.to_string(),
                "host": format!("{pool}{RPC_PATH}"),
                "hub": hub.hub,
                "sms": pool,
                "iexecGateway": pool,
                "ipfsGateway": pool,
            },
        },
    })
}
