//! A log follower that survives reorganisations, restarts, outages and load balancers.
//!
//! The caller owns the cursor. It commits, in one database transaction, the effects of a [`Step`] together with the
//! blocks it names, and on restart hands the newest of those blocks back. Nothing is then lost or seen twice:
//!
//! ```no_run
//! # async fn example(rpc: gristmill_chain::rpc::Rpc, market: alloy::primitives::Address,
//! #     load: impl Fn() -> Vec<gristmill_chain::follow::BlockRef>) -> Result<(), Box<dyn std::error::Error>> {
//! use alloy::rpc::types::Filter;
//! use gristmill_chain::follow::{FollowConfig, Follower, Step};
//!
//! let config = FollowConfig::new(Filter::new().address(market)).start(1_000).known(load());
//! let mut follower = Follower::new(rpc, config);
//! let status = follower.status(); // a watch channel: head, cursor, outage
//! loop {
//!     match follower.next().await? {
//!         // One transaction: delete what was learned above `to`, and the known blocks above it.
//!         Step::Rewind { to } => drop(to),
//!         // One transaction: apply `logs`, insert `to` into the known blocks, delete those below the newest 256.
//!         Step::Advance(advance) => drop((advance.to, advance.logs, advance.head)),
//!     }
//! }
//! # }
//! ```
//!
//! # Why not alloy's `watch_canonical_logs_from`
//!
//! It walks parents and asks by hash, as this does, but keeps its history in memory only: a reorganisation across a
//! restart goes unnoticed, and its `Removed` can name only what this process has seen. It ends for good at the first error
//! or deep reorganisation, fetches every block it passes with no deadline, has no range catch-up, and takes the answer of a
//! number-range query at the tip when it is not empty. What would have been left of it is the parent walk, some forty lines.
//!
//! # What is promised
//!
//! - Near the head, logs are asked for by block hash: a node that has not got the block yet answers with an error, which is
//!   retried, and never with an empty list.
//! - Far behind, logs are asked for by number, but only up to `safe_depth` below the head, together (in one batch where the
//!   endpoint takes batches) with the window's first and last block, so that a lagging or reorganised node is noticed.
//! - After `Rewind { to }` everything above `to` is delivered again as the chain now has it.
//! - `next` is cancel-safe: dropped half-way it has changed nothing, and the same step is found again.

mod follower;
mod history;
mod window;

use std::time::{Duration, SystemTime};

use alloy::rpc::types::{Filter, Log};

use crate::{backoff::BackoffPolicy, rpc::RpcError};

pub use follower::Follower;
pub use history::{BlockRef, History};

/// Blocks below the head from which a range query is trusted. Two epochs of Ethereum are finalized by then; on the
/// embedded chain it is as deep as a reorganisation goes in tests.
pub const SAFE_DEPTH: u64 = 64;

/// Known blocks a follower holds, and a caller should keep: four times the safe depth, 16 kB in a database.
pub const HISTORY_LENGTH: usize = 256;

/// First width of a catch-up window; halved by whoever allows less.
pub const WINDOW_BLOCKS_MAX: u64 = 2_000;

/// What to follow, from where, and how patiently.
#[derive(Debug, Clone)]
pub struct FollowConfig {
    /// Addresses and topics; a block range in it is ignored.
    pub filter: Filter,
    /// First block whose logs are wanted, when nothing is known yet: the block that deployed the contract.
    pub start: u64,
    /// What the caller has stored; the newest is its cursor.
    pub known: Vec<BlockRef>,
    pub safe_depth: u64,
    pub window_blocks_max: u64,
    /// Wait between two looks at the head.
    pub poll_interval: Duration,
    /// How long a head below the cursor is taken for a lagging node. After that the chain is believed to have shrunk.
    pub lag_patience: Duration,
    pub backoff: BackoffPolicy,
}

impl FollowConfig {
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            start: 0,
            known: Vec::new(),
            safe_depth: SAFE_DEPTH,
            window_blocks_max: WINDOW_BLOCKS_MAX,
            poll_interval: Duration::from_secs(4),
            lag_patience: Duration::from_secs(60),
            backoff: BackoffPolicy::default(),
        }
    }

    #[must_use]
    pub fn start(self, start: u64) -> Self {
        Self { start, ..self }
    }

    #[must_use]
    pub fn known(self, known: Vec<BlockRef>) -> Self {
        Self { known, ..self }
    }

    /// For a chain on this machine: one node, blocks at once.
    #[must_use]
    pub fn local(self) -> Self {
        let backoff = BackoffPolicy { first: Duration::from_millis(50), max: Duration::from_secs(2), ..self.backoff };
        Self { poll_interval: Duration::from_millis(50), lag_patience: Duration::from_secs(1), backoff, ..self }
    }
}

/// What the caller has to make durable before it asks for the next one.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Blocks above `to` are no longer part of the chain. `to` is one of the known blocks.
    Rewind {
        to: BlockRef,
    },
    Advance(Advance),
}

/// The chain from the cursor up to and including `to`.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    pub to: BlockRef,
    /// Seconds since 1970, of block `to`.
    pub timestamp: u64,
    /// All matching logs above the former cursor, in chain order. Empty steps are delivered too: they are the progress.
    pub logs: Vec<Log>,
    /// Number of the newest block seen: `head - log.block_number` is how deep a log lies.
    pub head: u64,
    /// Newest block the chain calls finalized; `None` where it has no such notion.
    pub finalized: Option<u64>,
}

/// For displays, and for whoever waits for confirmations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowStatus {
    pub head: Option<u64>,
    pub finalized: Option<u64>,
    pub cursor: Option<BlockRef>,
    /// `Some` while the endpoint does not answer usefully.
    pub outage: Option<Outage>,
}

impl FollowStatus {
    /// Blocks on top of `block`; `None` while it is above the head we know.
    #[must_use]
    pub fn confirmations(&self, block: u64) -> Option<u64> {
        self.head?.checked_sub(block)
    }
}

/// An endpoint that fails, as long as it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub since: SystemTime,
    pub failures: u32,
    pub reason: String,
}

impl Outage {
    pub(crate) fn record(outage: &mut Option<Self>, failures: u32, error: &RpcError) {
        let since = outage.as_ref().map_or_else(SystemTime::now, |outage| outage.since);
        *outage = Some(Self { since, failures, reason: error.to_string() });
    }
}

/// Following cannot go on without a decision by someone. Outages are not errors: they are waited out.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(
        "the chain was reorganised below block {oldest_known}, the oldest one we remember (it is now at block {head})\n\n\
         hint: this is another or a wiped chain, or its history was rewritten deeper than {HISTORY_LENGTH} steps; \
         if that is right, start over with a new database"
    )]
    ReorgTooDeep { oldest_known: u64, head: u64 },
}
