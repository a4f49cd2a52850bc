//! The shell around [`plan`](super::plan): asks the chain, writes rows, signs and sends.

mod gather;
mod start;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::{B256, U256},
    signers::{Error as SignerError, local::PrivateKeySigner},
};
use rusqlite::Connection;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    SendConfig,
    entry::{Attempt, Change, Entry, State},
    fees::Fees,
    journal::Journal,
    outbox::{self, OutboxError},
    plan::{self, Facts, Hold, Plan, Step},
    refusal::Refusal,
    transaction::{self, Envelope},
};
use crate::{
    backoff::Backoff,
    follow::{BlockRef, Outage},
    rpc::{Rpc, RpcError},
};

pub use status::{SenderHandle, SenderStatus};

use start::Purse;

/// Of a budget.
const HOUR_MS: u64 = 3_600_000;

/// The sender has to stop; outages, empty accounts and high fees are not among the reasons.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("the transaction cannot be signed")]
    Sign(#[source] SignerError),
    #[error("the chain endpoint does not answer")]
    Rpc(#[from] RpcError),
    #[error("the thread that writes the outbox has died")]
    Journal(#[source] tokio::task::JoinError),
}

/// Sends one account's actions. See the [module](super).
#[derive(Debug)]
pub struct Sender {
    rpc: Rpc,
    key: PrivateKeySigner,
    chain_id: u64,
    journal: Journal,
    config: SendConfig,
    wake: Arc<Notify>,
    outcomes: watch::Sender<u64>,
    status: watch::Sender<SenderStatus>,
    backoff: Backoff,
    memory: Memory,
}

/// What may be forgotten in a crash.
#[derive(Debug, Default)]
struct Memory {
    sent_at_ms: BTreeMap<B256, u64>,
    underpriced: BTreeSet<B256>,
    gap_since_ms: Option<u64>,
    /// Actions that could not be simulated, and how often.
    postponed: BTreeMap<i64, Postponed>,
    /// Number of the head that simulations build on.
    head: u64,
    /// Since when heads have been below that.
    behind_since: Option<Instant>,
    /// The head of the last round, if it was complete and conclusive.
    settled_at: Option<BlockRef>,
}

#[derive(Debug, Clone, Copy)]
struct Postponed {
    until_ms: u64,
    times: u32,
}

/// What came of a step.
enum Taken {
    /// So much more of the balance is spoken for.
    Done {
        committed_wei: U256,
    },
    Otherwise,
    Held(Hold),
}

enum Trouble {
    Rpc(RpcError),
    /// The caller has changed its mind about an action meanwhile: look again.
    Overtaken,
    Fatal(SendError),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

impl From<SendError> for Trouble {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Outbox(OutboxError::Overtaken) => Self::Overtaken,
            error => Self::Fatal(error),
        }
    }
}

impl Sender {
    /// Ties the outbox in `connection` to this key and chain, or refuses. The connection is the sender's own, to a file it
    /// shares with the caller.
    pub async fn open(
        rpc: Rpc,
        key: PrivateKeySigner,
        connection: Connection,
        config: SendConfig,
    ) -> Result<Self, SendError> {
        let chain_id = rpc.chain_id().await?;
        let account = key.address();
        let journal = Journal::open(connection)?;
        let last = journal
            .with(move |connection| {
                outbox::migrate(connection)?;
                outbox::claim(connection, account, chain_id)?;
                outbox::last_outcome(connection)
            })
            .await?;
        Ok(Self {
            backoff: Backoff::new(config.backoff),
            wake: Arc::new(Notify::new()),
            outcomes: watch::channel(last).0,
            status: watch::channel(SenderStatus::default()).0,
            memory: Memory::default(),
            rpc,
            key,
            chain_id,
            journal,
            config,
        })
    }

    #[must_use]
    pub fn handle(&self) -> SenderHandle {
        SenderHandle {
            account: self.key.address(),
            wake: Arc::clone(&self.wake),
            outcomes: self.outcomes.subscribe(),
            status: self.status.subscribe(),
        }
    }

    /// Works until told to stop. May be dropped at any time.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), SendError> {
        loop {
            let round = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                round = self.round() => round,
            };
            let (delay, may_be_woken) = match round {
                Ok(()) => {
                    self.backoff.succeeded();
                    self.status.send_if_modified(|status| status.outage.take().is_some());
                    (self.config.poll_interval, true)
                }
                Err(Trouble::Rpc(error)) => (self.suffer(&error), false),
                Err(Trouble::Overtaken) => continue,
                Err(Trouble::Fatal(error)) => return Err(error),
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.wake.notified(), if may_be_woken => {}
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    fn suffer(&mut self, error: &RpcError) -> Duration {
        let delay = self.backoff.failed(error.retry_after());
        let failures = self.backoff.failures();
        tracing::debug!(%error, failures, ?delay, "the chain endpoint failed");
        self.status.send_modify(|status| Outage::record(&mut status.outage, failures, error));
        delay
    }

    /// Asks everything once and does all that follows from it.
    async fn round(&mut self) -> Result<(), Trouble> {
        let head = self.memory.head;
        let counts_cost = self.config.budget_wei_per_hour.is_some();
        let read = move |connection: &mut Connection| {
            let hour_ago = now_ms().saturating_sub(HOUR_MS);
            let spent = if counts_cost { outbox::spent_since(connection, hour_ago)? } else { U256::ZERO };
            Ok((outbox::live(connection, now_ms(), head)?, outbox::queued(connection)?, spent))
        };
        let (mut entries, queued, spent_wei) = self.journal.with(read).await?;
        if entries.is_empty() {
            self.show(&entries, queued, None, None);
            return Ok(());
        }
        let Some(facts) = self.gather(&entries, spent_wei).await? else {
            return Ok(());
        };
        let plan = loop {
            let plan = plan::plan(&entries, &facts, &self.config, now_ms());
            if !plan.is_bookkeeping() {
                break plan;
            }
            self.keep_books(plan.steps, &mut entries).await?;
        };
        let hold = self.carry_out(plan, &mut entries, &facts).await?;
        let head = BlockRef { number: facts.head.number, hash: facts.head.hash };
        self.memory.settled_at = plan::is_conclusive(&entries, &facts).then_some(head);
        self.show(&entries, queued, Some(facts.balance), hold);
        Ok(())
    }

    /// Writes down what has happened, all in one commit.
    async fn keep_books(&self, steps: Vec<Step>, entries: &mut [Entry]) -> Result<(), Trouble> {
        let mut changes = Vec::with_capacity(steps.len());
        for step in steps {
            match step {
                Step::Record { id, change } => changes.push((entry_of(entries, id).clone(), change)),
                Step::Settle { id, inclusion } => {
                    let entry = entry_of(entries, id).clone();
                    let revert = if inclusion.succeeded { None } else { Some(self.explain(&entry, inclusion).await) };
                    changes.push((entry, Change::Settled { inclusion, revert }));
                }
                other => unreachable!("{other:?} is not bookkeeping"),
            }
        }
        for entry in self.record(changes).await? {
            let place = entry_of(entries, entry.id);
            *place = entry;
        }
        Ok(())
    }

    /// Does what is planned, up to the first step that comes out otherwise: those behind it were numbered as if it had not.
    async fn carry_out(&mut self, plan: Plan, entries: &mut [Entry], facts: &Facts) -> Result<Option<Hold>, Trouble> {
        let mut spent_wei = U256::ZERO;
        for step in plan.steps {
            match self.take(step, entries, facts, spent_wei).await? {
                Taken::Done { committed_wei } => spent_wei += committed_wei,
                Taken::Held(hold) => return Ok(Some(hold)),
                Taken::Otherwise => {
                    self.wake.notify_one();
                    break;
                }
            }
        }
        Ok(plan.hold)
    }

    fn show(&self, entries: &[Entry], queued: usize, balance_wei: Option<U256>, hold: Option<Hold>) {
        let count = |wanted: fn(&State) -> bool| entries.iter().filter(|entry| wanted(&entry.state)).count();
        if let Some(hold) = &hold
            && self.status.borrow().hold.as_ref() != Some(hold)
        {
            tracing::warn!(%hold, "transactions wait");
        }
        self.status.send_if_modified(|status| {
            let now = SenderStatus {
                queued,
                pending: count(|state| matches!(state, State::Pending { .. })),
                mined: count(|state| matches!(state, State::Mined { .. })),
                balance_wei: balance_wei.or(status.balance_wei),
                hold,
                outage: status.outage.clone(),
                last_refusal: status.last_refusal.clone(),
            };
            let changed = *status != now;
            *status = now;
            changed
        });
    }

    async fn take(
        &mut self,
        step: Step,
        entries: &mut [Entry],
        facts: &Facts,
        spent_wei: U256,
    ) -> Result<Taken, Trouble> {
        match step {
            Step::Send { id, transaction } => {
                let entry = entry_of(entries, id);
                let attempt = entry.attempts.iter().find(|attempt| attempt.hash == transaction);
                let attempt = attempt.expect("planned from this entry").clone();
                self.send(&entry.action.key, &attempt).await?;
                Ok(Taken::Done { committed_wei: U256::ZERO })
            }
            Step::Bump { id, nonce, fees, gas_limit } => {
                self.sign_and_send(entry_of(entries, id), nonce, fees, gas_limit).await
            }
            Step::Start { id, nonce, fees, spendable_wei } => {
                let spendable_wei = spendable_wei.saturating_sub(spent_wei);
                let purse = Purse { account: facts.account, spendable_wei, block_gas: facts.head.gas_limit };
                self.start(entry_of(entries, id), nonce, fees, purse).await
            }
            Step::Fill { nonce } => {
                let account = facts.account;
                tracing::warn!(nonce, "no transaction has the account's next nonce; filling it");
                let fill =
                    move |connection: &mut Connection| outbox::enqueue_filler(connection, account, nonce, now_ms());
                self.journal.with(fill).await?;
                Ok(Taken::Otherwise)
            }
            Step::Record { .. } | Step::Settle { .. } => unreachable!("a plan is bookkeeping or has none"),
        }
    }

    async fn sign_and_send(
        &mut self,
        entry: &mut Entry,
        nonce: u64,
        fees: Fees,
        gas_limit: u64,
    ) -> Result<Taken, Trouble> {
        let before_wei = entry.committed_wei();
        let envelope = Envelope { chain_id: self.chain_id, nonce, fees, gas_limit };
        let attempt = transaction::sign(&entry.action, envelope, &self.key, now_ms()).map_err(SendError::Sign)?;
        // Journal first: bytes that a node has seen and we have forgotten could be mined behind our back.
        self.record_one(entry, Change::Signed(attempt.clone())).await?;
        self.send(&entry.action.key, &attempt).await?;
        Ok(Taken::Done { committed_wei: entry.committed_wei().saturating_sub(before_wei) })
    }

    /// A refusal is not an error here: the same bytes are sent again, replaced or mined, as the next rounds find out.
    async fn send(&mut self, key: &str, attempt: &Attempt) -> Result<(), RpcError> {
        let sent = self.rpc.send_raw(&attempt.raw).await;
        match sent {
            Ok(()) => {
                tracing::info!(key, transaction = %attempt.hash, nonce = attempt.nonce, "sent");
                self.status.send_if_modified(|status| status.last_refusal.take().is_some());
            }
            Err(RpcError::Refused { message, .. }) => match Refusal::of(&message) {
                Refusal::Known | Refusal::NonceUsed => {}
                Refusal::Underpriced => {
                    self.memory.underpriced.insert(attempt.hash);
                }
                Refusal::Other => {
                    tracing::warn!(key, transaction = %attempt.hash, message, "the node refuses a transaction");
                    self.status.send_modify(|status| status.last_refusal = Some(message));
                }
            },
            Err(error) => return Err(error),
        }
        self.memory.sent_at_ms.insert(attempt.hash, now_ms());
        Ok(())
    }

    async fn record_one(&self, entry: &mut Entry, change: Change) -> Result<(), SendError> {
        let changed = self.record(vec![(entry.clone(), change)]).await?;
        *entry = changed.into_iter().next().expect("one went in");
        Ok(())
    }

    async fn record(&self, changes: Vec<(Entry, Change)>) -> Result<Vec<Entry>, SendError> {
        let (entries, last) = self.journal.record(changes).await?;
        self.outcomes.send_if_modified(|known| {
            let news = *known != last;
            *known = last;
            news
        });
        Ok(entries)
    }
}

fn entry_of(entries: &mut [Entry], id: i64) -> &mut Entry {
    entries.iter_mut().find(|entry| entry.id == id).expect("planned from these entries")
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
