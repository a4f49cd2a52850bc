//! The shell around [`plan`](super::plan): asks the chain, writes rows, signs and sends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::{Header, TransactionReceipt},
    signers::{Error as SignerError, local::PrivateKeySigner},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use rusqlite::Connection;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    SendConfig,
    entry::{Action, Attempt, Change, Entry, Inclusion, State},
    fees::Fees,
    journal::Journal,
    outbox::{self, OutboxError},
    plan::{self, Facts, Head, Hold, Plan, Step},
    refusal::Refusal,
    revert::Revert,
    transaction::{self, Envelope},
};
use crate::{
    backoff::Backoff,
    follow::{BlockRef, Outage},
    rpc::{Rpc, RpcError},
};

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

/// For displays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SenderStatus {
    pub queued: usize,
    /// Signed, not in a block.
    pub pending: usize,
    /// In a block, waiting for confirmations.
    pub mined: usize,
    pub balance_wei: Option<U256>,
    pub hold: Option<Hold>,
    pub outage: Option<Outage>,
    /// What the node last said against a transaction of ours.
    pub last_refusal: Option<String>,
}

/// A sender seen from outside.
#[derive(Debug, Clone)]
pub struct SenderHandle {
    account: Address,
    wake: Arc<Notify>,
    outcomes: watch::Receiver<u64>,
    status: watch::Receiver<SenderStatus>,
}

impl SenderHandle {
    #[must_use]
    pub fn account(&self) -> Address {
        self.account
    }

    /// Something was enqueued. Without it the sender finds out at its next poll.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The sequence number of the newest outcome; see [`outbox::outcomes_after`].
    #[must_use]
    pub fn outcomes(&self) -> watch::Receiver<u64> {
        self.outcomes.clone()
    }

    #[must_use]
    pub fn status(&self) -> watch::Receiver<SenderStatus> {
        self.status.clone()
    }
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

/// Times the node may fail to simulate an action (for another reason than a revert, which is final at once) before the
/// action is refused. With the delays between them, that is four minutes.
const SIMULATIONS_MAX: u32 = 8;

/// First delay of an action that cannot be simulated; doubled each time.
const POSTPONE_MS: u64 = 1_000;

/// Receipts asked for at the same time. Public endpoints count requests per second.
const RECEIPTS_AT_ONCE: usize = 8;

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
    Fatal(SendError),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

impl From<SendError> for Trouble {
    fn from(error: SendError) -> Self {
        Self::Fatal(error)
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
        let read = move |connection: &mut Connection| {
            Ok((outbox::live(connection, now_ms(), head)?, outbox::queued(connection)?))
        };
        let (mut entries, queued) = self.journal.with(read).await?;
        if entries.is_empty() {
            self.show(&entries, queued, None, None);
            return Ok(());
        }
        let Some(facts) = self.gather(&entries).await? else {
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

    /// `None`: the node that answered is behind one that answered before.
    async fn gather(&mut self, entries: &[Entry]) -> Result<Option<Facts>, Trouble> {
        let account = self.key.address();
        let header = self.rpc.head().await?;
        if self.is_behind(header.number) {
            return Ok(None);
        }
        let grown = self.has_grown(&header).await?;
        let base_fee_wei = header.base_fee_per_gas.map(u128::from).unwrap_or_default();
        let head = Head { number: header.number, hash: header.hash, base_fee_wei, gas_limit: header.gas_limit };
        let nonce = self.rpc.nonce(account).await?;
        let balance = self.rpc.balance(account).await?;
        let tip_wei = self.tip().await?;
        let wanted = plan::transactions_to_ask_for(entries, grown, head.number, &self.config);
        let receipts: BTreeMap<_, _> = stream::iter(wanted)
            .map(async |transaction| {
                let receipt = self.rpc.receipt(transaction).await?;
                Ok::<_, RpcError>((transaction, receipt.as_ref().and_then(inclusion)))
            })
            .buffered(RECEIPTS_AT_ONCE)
            .try_collect()
            .await?;
        let mut blocks = BTreeMap::new();
        for number in plan::blocks_to_ask_for(entries, &receipts) {
            if let Some(block) = self.rpc.block(number).await? {
                blocks.insert(number, block.hash);
            }
        }
        self.memory.sent_at_ms.retain(|transaction, _| receipts.contains_key(transaction));
        self.memory.underpriced.retain(|transaction| receipts.contains_key(transaction));
        let gap = plan::has_gap(entries, nonce);
        self.memory.gap_since_ms = gap.then(|| self.memory.gap_since_ms.unwrap_or_else(now_ms));
        let now_ms = now_ms();
        let postponed = self.memory.postponed.iter().filter(|(_, postponed)| postponed.until_ms > now_ms);
        Ok(Some(Facts {
            account,
            head,
            nonce,
            balance,
            tip_wei,
            receipts,
            blocks,
            sent_at_ms: self.memory.sent_at_ms.clone(),
            underpriced: self.memory.underpriced.clone(),
            gap_since_ms: self.memory.gap_since_ms,
            postponed: postponed.map(|(id, _)| *id).collect(),
        }))
    }

    /// Whether the head of that round is still part of the chain.
    async fn has_grown(&self, head: &Header) -> Result<bool, RpcError> {
        let Some(last) = self.memory.settled_at else {
            return Ok(false);
        };
        if head.hash == last.hash || head.parent_hash == last.hash {
            return Ok(true);
        }
        Ok(self.rpc.block(last.number).await?.is_some_and(|block| block.hash == last.hash))
    }

    fn is_behind(&mut self, head: u64) -> bool {
        if head >= self.memory.head {
            self.memory.head = head;
            self.memory.behind_since = None;
            return false;
        }
        let since = *self.memory.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.config.lag_patience {
            return true;
        }
        self.memory.head = head;
        self.memory.behind_since = None;
        false
    }

    async fn tip(&self) -> Result<u128, RpcError> {
        match self.rpc.priority_fee().await {
            Ok(tip_wei) => Ok(tip_wei),
            // Not every node offers the method.
            Err(RpcError::Refused { .. } | RpcError::Nonsense { .. }) => Ok(self.config.tip_wei_default),
            Err(error) => Err(error),
        }
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

    async fn start(&mut self, entry: &mut Entry, nonce: u64, fees: Fees, purse: Purse) -> Result<Taken, Trouble> {
        if let Some(hold) = purse.lacks(entry.action.value) {
            return Ok(Taken::Held(hold));
        }
        let gas_limit = match self.simulate(&entry.action).await {
            Ok(Ok(gas_limit)) if gas_limit > purse.block_gas => {
                let reason = format!("needs {gas_limit} gas, and a block of this chain takes {}", purse.block_gas);
                return self.refuse(entry, Revert::without_data(reason)).await;
            }
            Ok(Ok(gas_limit)) => gas_limit,
            Ok(Err(revert)) => return self.refuse(entry, revert).await,
            Err(RpcError::Refused { message, .. }) => return self.postpone(entry, message).await,
            Err(error) => return Err(error.into()),
        };
        if let Some(hold) = purse.lacks(fees.cost_max(gas_limit) + entry.action.value) {
            return Ok(Taken::Held(hold));
        }
        self.sign_and_send(entry, nonce, fees, gas_limit).await
    }

    async fn refuse(&mut self, entry: &mut Entry, revert: Revert) -> Result<Taken, Trouble> {
        tracing::info!(key = entry.action.key, reason = revert.reason, "the chain would refuse this action");
        self.memory.postponed.remove(&entry.id);
        self.record_one(entry, Change::Refused(revert)).await?;
        Ok(Taken::Otherwise)
    }

    /// The node says neither yes nor no: it may be behind, or it cannot stomach this action. Others must not wait for it.
    async fn postpone(&mut self, entry: &mut Entry, message: String) -> Result<Taken, Trouble> {
        let times = self.memory.postponed.get(&entry.id).map_or(0, |postponed| postponed.times) + 1;
        if times >= SIMULATIONS_MAX {
            return self.refuse(entry, Revert::without_data(message)).await;
        }
        tracing::warn!(key = entry.action.key, message, times, "the node cannot simulate this action");
        let until_ms = now_ms().saturating_add(POSTPONE_MS << times);
        self.memory.postponed.insert(entry.id, Postponed { until_ms, times });
        self.status.send_modify(|status| status.last_refusal = Some(message));
        Ok(Taken::Otherwise)
    }

    /// The gas to allow, or why the action would revert.
    async fn simulate(&self, action: &Action) -> Result<Result<u64, Revert>, RpcError> {
        let request = transaction::request(action, self.key.address());
        let revert = |error: RpcError| match error.revert() {
            Some(data) => Ok(Err(Revert::new(data, self.config.describe_revert))),
            None => Err(error),
        };
        if let Err(error) = self.rpc.call_at(request.clone(), self.memory.head).await {
            return revert(error);
        }
        if let Some(gas_limit) = action.gas_limit {
            return Ok(Ok(gas_limit));
        }
        match self.rpc.estimate_gas_at(request, self.memory.head).await {
            Ok(gas) => Ok(Ok(gas.saturating_add(gas.saturating_mul(self.config.gas_margin_percent) / 100))),
            Err(error) => revert(error),
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

    /// Runs a failed transaction again on the state before its block. Others of that block are not seen, so this can be
    /// wrong; it is the best that works on every node. It must not keep the failure itself from being told.
    async fn explain(&self, entry: &Entry, inclusion: Inclusion) -> Revert {
        let attempt = entry.attempts.iter().find(|attempt| attempt.hash == inclusion.transaction);
        let gas_limit = attempt.expect("only our own transactions are looked for").gas_limit;
        if inclusion.gas_used == gas_limit {
            return Revert::without_data(format!("used all of its {gas_limit} gas"));
        }
        let request = transaction::request(&entry.action, self.key.address()).gas_limit(gas_limit);
        match self.rpc.call_at(request, inclusion.block.number.saturating_sub(1)).await {
            Ok(_) => Revert::without_data("reverted, because of another transaction before it in its block"),
            Err(error) => match error.revert() {
                Some(data) => Revert::new(data, self.config.describe_revert),
                None => Revert::without_data(format!("reverted, and the reason is not to be had: {error}")),
            },
        }
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

/// What a new transaction may cost.
#[derive(Debug, Clone, Copy)]
struct Purse {
    account: Address,
    spendable_wei: U256,
    block_gas: u64,
}

impl Purse {
    fn lacks(self, need_wei: U256) -> Option<Hold> {
        let hold = Hold::Funds { account: self.account, have_wei: self.spendable_wei, need_wei };
        (need_wei > self.spendable_wei).then_some(hold)
    }
}

fn entry_of(entries: &mut [Entry], id: i64) -> &mut Entry {
    entries.iter_mut().find(|entry| entry.id == id).expect("planned from these entries")
}

fn inclusion(receipt: &TransactionReceipt) -> Option<Inclusion> {
    Some(Inclusion {
        transaction: receipt.transaction_hash,
        block: BlockRef { number: receipt.block_number?, hash: receipt.block_hash? },
        succeeded: receipt.status(),
        gas_used: receipt.gas_used,
        gas_price_wei: receipt.effective_gas_price,
    })
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
