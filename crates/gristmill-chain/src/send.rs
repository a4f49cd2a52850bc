//! Transactions that happen exactly as often as they were asked for.
//!
//! An [`Action`] is put into the [outbox] in the caller's own database transaction, beside the cursor and the
//! effects it follows from. One [`Sender`] per key turns actions into transactions and reports an [`Outcome`] for each:
//!
//! ```no_run
//! # use alloy::primitives::{Address, Bytes, U256};
//! # async fn example(mut database: rusqlite::Connection, path: &std::path::Path, rpc: gristmill_chain::rpc::Rpc,
//! #     key: alloy::signers::local::PrivateKeySigner, market: Address, calldata: Bytes, seen: u64)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! use gristmill_chain::send::{Action, OutcomeStatus, SendConfig, Sender, outbox};
//! use tokio_util::sync::CancellationToken;
//!
//! outbox::migrate(&database)?;
//! let sender = Sender::open(rpc, key, rusqlite::Connection::open(path)?, SendConfig::default()).await?;
//! let handle = sender.handle(); // wakes the sender; watches outcomes and status
//! let shutdown = CancellationToken::new();
//! let running = tokio::spawn(sender.run(shutdown.clone()));
//!
//! let transaction = database.transaction()?;
//! // … the caller's cursor and effects …
//! outbox::enqueue(&transaction, &Action::call("settle 0xabc…", market, calldata))?; // again with this key: no-op
//! transaction.commit()?;
//! handle.wake();
//!
//! let mut news = handle.outcomes();
//! news.changed().await?;
//! for outcome in outbox::outcomes_after(&database, seen)? {
//!     // One transaction: the effect, and `seen = outcome.sequence`.
//!     match outcome.status {
//!         OutcomeStatus::Confirmed => {} // `transaction`, `block`, `gas_used`, `fee_wei`
//!         OutcomeStatus::Refused => {}   // the simulation reverts: `revert` says why; perhaps it was done already
//!         OutcomeStatus::Failed => {}    // mined, but reverted; `outbox::retry` asks for another try
//!         OutcomeStatus::Dropped => {}   // was confirmed, reorganised away after all; it is being sent again
//!     }
//! }
//! # shutdown.cancel(); running.await??;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//!
//! - Signed bytes are committed (with `synchronous = FULL`) before any node sees them. A crash anywhere leaves either no
//!   transaction, or one whose bytes and nonce are known and which is sent again.
//! - One action is signed again under *another* nonce only when a transaction that is not ours has used up the first, and
//!   that for `confirmations` blocks. All else is the same nonce with higher fees, of which a chain can take only one.
//! - What the chain cannot rule out (a reorganisation that takes the foreign transaction back) the contract must: actions
//!   have to be idempotent, as settling an order is. A second try is then refused by the simulation.
//! - Actions are independent. One that needs another's effect is enqueued when the other's outcome is there.
//!
//! The order of things is decided by [`plan`], which is pure: rows, facts and the time go in, [steps](plan::Step) come out.

pub mod entry;
pub mod fees;
mod journal;
pub mod outbox;
pub mod plan;
mod refusal;
mod revert;
mod sender;
mod transaction;

use std::time::Duration;

use alloy::primitives::U256;

use crate::backoff::BackoffPolicy;

pub use entry::{Action, Inclusion};
pub use outbox::{Outcome, OutcomeStatus};
pub use plan::Hold;
pub use revert::Revert;
pub use sender::{SendError, Sender, SenderHandle, SenderStatus};

/// Transactions of one account that wait for a block at the same time. Nodes keep 16 executable ones per account for
/// certain (geth's `txpool.accountslots`) and may drop more.
pub const IN_FLIGHT_MAX: usize = 16;

/// Times one transaction may be replaced. Each adds an eighth, so this is 27 times the first price; the fee cap is
/// meant to end it long before.
pub const ATTEMPTS_MAX: usize = 29;

/// How a sender behaves; the defaults suit a public network.
#[derive(Debug, Clone)]
pub struct SendConfig {
    /// Blocks on top of a transaction's own before its outcome is reported.
    pub confirmations: u64,
    pub in_flight_max: usize,
    pub poll_interval: Duration,
    /// Age of the newest attempt at which it is replaced by a better paid one.
    pub bump_after: Duration,
    /// After this long the same bytes are sent again, in case the node forgot them.
    pub resend_after: Duration,
    /// Most that is offered per unit of gas. Above it the sender waits, and says so.
    pub fee_per_gas_wei_max: u128,
    /// Once transactions have cost so much in an hour, no new one is begun. Those under way go on, at better prices if need
    /// be, so that it can be passed by what was in flight.
    pub budget_wei_per_hour: Option<U256>,
    /// Tip where the node does not suggest one.
    pub tip_wei_default: u128,
    /// Added to estimated gas: state may change between the estimate and the block.
    pub gas_margin_percent: u64,
    /// How long contradicting answers are taken for nodes that lag behind each other.
    pub lag_patience: Duration,
    /// Blocks after confirmation during which a reorganisation is still noticed and repaired.
    pub watch_depth: u64,
    pub backoff: BackoffPolicy,
    /// Names a contract's own errors; see [`crate::contracts::describe_revert`].
    pub describe_revert: fn(&[u8]) -> Option<String>,
}

impl Default for SendConfig {
    fn default() -> Self {
        Self {
            confirmations: 2,
            in_flight_max: IN_FLIGHT_MAX,
            poll_interval: Duration::from_secs(4),
            bump_after: Duration::from_secs(60),
            resend_after: Duration::from_secs(30),
            fee_per_gas_wei_max: 200_000_000_000,
            budget_wei_per_hour: None,
            tip_wei_default: 1_000_000_000,
            gas_margin_percent: 25,
            lag_patience: Duration::from_secs(60),
            watch_depth: 64,
            backoff: BackoffPolicy::default(),
            describe_revert: crate::contracts::describe_revert,
        }
    }
}

impl SendConfig {
    /// For a chain on this machine: one node, blocks at once.
    #[must_use]
    pub fn local() -> Self {
        Self {
            confirmations: 0,
            poll_interval: Duration::from_millis(50),
            bump_after: Duration::from_secs(5),
            resend_after: Duration::from_secs(1),
            lag_patience: Duration::from_secs(1),
            backoff: BackoffPolicy { first: Duration::from_millis(50), max: Duration::from_secs(2), seed: 0 },
            ..Self::default()
        }
    }
}
