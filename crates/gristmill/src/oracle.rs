//! The oracle: the only place that knows both the chain and the grid.
//!
//! Three sides talk to it, each in its own time: the chain (orders and their ends, through the follower), the pool
//! (answers and failures, through its event stream) and its own transactions (through the outbox). Each piece of news
//! goes into the `ledger` and to disk together with its cursor; then `Oracle::act` does whatever the ledger says
//! comes next. Nothing depends on having seen a piece of news once: on every start, all of it is asked for again.

mod chain_news;
mod dashboard;
mod gather;
mod job;
mod ledger;
mod offers;
mod pay;
mod pool_news;
mod settle;
#[cfg(test)]
mod simulation;
mod start;
mod store;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::Filter;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use anyhow::{Context, Result, anyhow};
use gristmill_chain::check::{ChainIdentity, CheckError};
use gristmill_chain::contracts::Market;
use gristmill_chain::follow::{Advance, FollowConfig, FollowStatus, Follower, Step};
use gristmill_chain::rpc::Rpc;
use gristmill_chain::send::{Action, Outcome, OutcomeStatus, SendConfig, Sender, SenderHandle};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use dashboard::{Dashboard, Status};
pub use gather::{file_list, location, outcome};
pub(crate) use job::search_job;
pub use ledger::Confirmations;
use ledger::{ChainView, Ledger, Todo};
use offers::Offers;
use pool_news::PoolNews;
use settle::{Ready, Waiting, groups};
use store::Store;
use work::Work;

use crate::deployment::Deployment;
use crate::pool_client::PoolClient;
use crate::roles;

pub struct Config {
    pub data_dir: PathBuf,
    pub rpc_url: String,
    pub deployment: Deployment,
    /// Where the deployment came from: offers that are added there are served.
    pub deployment_file: Option<PathBuf>,
    /// Key of the offer's pool.
    pub key: PrivateKeySigner,
    pub pool: PoolClient,
    pub confirmations: Confirmations,
    /// The chain runs on this machine: look often, pay no tips.
    pub local_chain: bool,
    /// Most that its transactions may cost in an hour, and that it offers for a unit of gas.
    pub budget_wei_per_hour: Option<U256>,
    pub fee_per_gas_wei_max: Option<u128>,
    /// Where it is shown how it is.
    pub dashboard: Dashboard,
}

/// What the market takes of a reason: `MAX_REASON_BYTES` in `Market.sol`.
const DECLINE_REASON_BYTES_MAX: usize = 256;
/// While the pool or the chain cannot be reached.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// What could not be done is tried again at least this often.
const REVIEW_PAUSE: Duration = Duration::from_secs(2);
/// How long a result waits for others to be settled with: about a block of Ethereum, and less where blocks come at once.
const COMPANY_WAIT: Duration = Duration::from_secs(12);
const COMPANY_WAIT_LOCAL: Duration = Duration::from_secs(2);

struct Oracle {
    offers: Offers,
    market: Address,
    chain_id: u64,
    /// The pool's own account: the key's.
    pool_account: Address,
    key: PrivateKeySigner,
    rpc: Rpc,
    pool: PoolClient,
    confirmations: Confirmations,
    local_chain: bool,
    books: Mutex<Books>,
    pool_news: Mutex<PoolNews>,
    /// The market refused to lock what workers are owed; not again before then.
    cover_after: Mutex<Option<Instant>>,
    news: Notify,
    sender: SenderHandle,
    follow_status: watch::Receiver<FollowStatus>,
}

/// The ledger and the disk behind it.
struct Books {
    ledger: Ledger,
    store: Store,
    /// When the chain was last seen to grow.
    seen: Instant,
}

pub async fn run(config: Config, shutdown: CancellationToken) -> Result<()> {
    // Two oracles on one outbox would both number its transactions.
    let _folder = roles::try_lock(&config.data_dir)?.with_context(|| {
        format!("another oracle uses {}\n\nhint: stop it, or choose another --data-dir", config.data_dir.display())
    })?;
    let database = config.data_dir.join("oracle.sqlite");
    let store = Store::open(&database)?;
    let rpc = Rpc::connect(&config.rpc_url)?;
    let deployment = config.deployment;
    let Some(identity) = identity(&rpc, &deployment, &shutdown).await? else { return Ok(()) };
    store.check_identity(&identity)?;
    let pool_account = config.key.address();
    if pool_account != deployment.offer.pool {
        return Err(anyhow!(
            "the key given is that of {pool_account}, but the offer belongs to {}\n\nhint: only the offer's pool can settle; give its key",
            deployment.offer.pool
        ));
    }

    let send_config = SendConfig { confirmations: config.confirmations.settle, ..SendConfig::default() };
    let send_config = if config.local_chain { SendConfig::local() } else { send_config };
    let send_config = SendConfig {
        budget_wei_per_hour: config.budget_wei_per_hour,
        fee_per_gas_wei_max: config.fee_per_gas_wei_max.unwrap_or(send_config.fee_per_gas_wei_max),
        ..send_config
    };
    let key = config.key;
    let sender = Sender::open(rpc.clone(), key.clone(), store::connect(&database)?, send_config).await?;
    let filter = Filter::new().address(deployment.market);
    let follow = FollowConfig::new(filter).start(deployment.market_block).known(store.known_blocks()?);
    let follow = if config.local_chain { follow.local() } else { follow };
    let follower = Follower::new(rpc.clone(), follow);
    let ledger = store.ledger()?;
    info!(orders = ledger.orders().count(), market = %deployment.market, "oracle starts");
    let oracle = Arc::new(Oracle {
        market: deployment.market,
        chain_id: deployment.chain_id,
        offers: Offers::new(deployment, config.deployment_file),
        pool_account,
        key,
        rpc,
        pool: config.pool,
        confirmations: config.confirmations,
        local_chain: config.local_chain,
        books: Mutex::new(Books { ledger, store, seen: Instant::now() }),
        pool_news: Mutex::default(),
        cover_after: Mutex::default(),
        news: Notify::new(),
        sender: sender.handle(),
        follow_status: follower.status(),
    });
    config.dashboard.show(&oracle);

    let stop = shutdown.child_token();
    let _stop_all = stop.clone().drop_guard();
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = flatten(tokio::spawn(sender.run(stop.clone()))) => ended,
        ended = oracle.follow(follower) => ended,
        ended = oracle.watch_pool() => ended,
        ended = oracle.watch_outbox() => ended,
        ended = oracle.act() => ended,
    };
    info!("oracle stops");
    ended
}

async fn flatten<E: Into<anyhow::Error>>(task: tokio::task::JoinHandle<Result<(), E>>) -> Result<()> {
    task.await?.map_err(Into::into)
}

/// Asks until the chain answers; nothing if told to stop first.
async fn identity(rpc: &Rpc, deployment: &Deployment, shutdown: &CancellationToken) -> Result<Option<ChainIdentity>> {
    loop {
        let contracts = [("market", deployment.market), ("verifier", deployment.verifier)];
        match ChainIdentity::read(rpc, contracts).await {
            Ok(identity) if identity.chain_id == deployment.chain_id => return Ok(Some(identity)),
            Ok(identity) => {
                return Err(anyhow!(
                    "the deployment is on chain {}, but the endpoint serves chain {}\n\nhint: give the right endpoint",
                    deployment.chain_id,
                    identity.chain_id
                ));
            }
            Err(CheckError::Rpc(error)) => warn!(%error, "the chain does not answer; trying again"),
            Err(error) => return Err(error.into()),
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await.is_none() {
            return Ok(None);
        }
    }
}

impl Oracle {
    /// Changes the ledger and commits, with what belongs beside it.
    async fn book(
        &self,
        change: impl FnOnce(&mut Ledger),
        beside: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<()>,
    ) -> Result<()> {
        let Books { ledger, store, .. } = &mut *self.books.lock().await;
        change(ledger);
        store.commit(ledger, beside)?;
        self.news.notify_one();
        Ok(())
    }

    async fn work(&self, id: B256, work: Work) -> Result<()> {
        self.book(|ledger| ledger.work(id, work), |_| Ok(())).await
    }

    async fn follow(&self, mut follower: Follower) -> Result<()> {
        loop {
            match follower.next().await? {
                Step::Rewind { to } => {
                    warn!(to = to.number, "the chain was reorganised");
                    self.book(|ledger| ledger.rewind(to.number), |sql| store::rewind(sql, to)).await?;
                }
                Step::Advance(Advance { to, timestamp, logs, head, finalized }) => {
                    let note = |ledger: &mut Ledger| {
                        ledger.chain.timestamp = timestamp;
                        logs.iter().for_each(|log| chain_news::note(&self.offers, ledger, log));
                        let behind = to.number < head;
                        ledger.advance(ChainView { head: head.max(to.number), timestamp, finalized, behind });
                    };
                    self.book(note, |sql| store::advance(sql, to)).await?;
                    self.books.lock().await.seen = Instant::now();
                }
            }
        }
    }

    /// Does what comes next, whenever something has happened.
    async fn act(&self) -> Result<()> {
        let mut waiting = Waiting::default();
        loop {
            let (todos, others) = self.todos().await;
            let (starts, todos): (Vec<_>, Vec<_>) = todos.into_iter().partition(|(_, todo)| *todo == Todo::StartJob);
            self.start_jobs(starts.into_iter().map(|(id, _)| id).collect()).await?;
            let mut ready = Vec::new();
            for (id, todo) in todos {
                match todo {
                    Todo::Settle { answer, alone: false } => ready.push(self.ready(id, answer).await?),
                    todo => {
                        let what = format!("{todo:?}");
                        let done = Box::pin(self.take(id, todo)).await;
                        self.told(id, &what, done);
                    }
                }
            }
            let company_wait = if self.local_chain { COMPANY_WAIT_LOCAL } else { COMPANY_WAIT };
            let wait = waiting.for_more(ready.len(), others, company_wait);
            if wait.is_none() {
                self.settle(ready).await;
            }
            if let Err(error) = self.pay().await {
                warn!(error = format!("{error:#}"), "workers cannot be paid for now; trying again");
            }
            let pause = wait.unwrap_or(REVIEW_PAUSE).min(REVIEW_PAUSE);
            let _ = tokio::time::timeout(pause, self.news.notified()).await;
        }
    }

    /// What there is to do, and how many orders are being worked on.
    async fn todos(&self) -> (Vec<(B256, Todo)>, usize) {
        let Books { ledger, seen, .. } = &*self.books.lock().await;
        let now_s = ledger.chain.timestamp + seen.elapsed().as_secs();
        let others =
            ledger.orders().filter(|(_, order)| matches!(order.work, Work::None | Work::Started { .. })).count();
        (ledger.todos(now_s, self.confirmations), others)
    }

    fn told(&self, id: B256, what: &str, done: Result<()>) {
        if let Err(error) = done {
            warn!(order = %id, what, error = format!("{error:#}"), "could not be done; trying again");
        }
    }

    async fn settle(&self, ready: Vec<Ready>) {
        for group in groups(ready) {
            let (id, size) = (group[0].id, group.len());
            self.told(id, &format!("settle {size}"), self.settle_group(group).await);
        }
    }

    async fn take(&self, id: B256, todo: Todo) -> Result<()> {
        match todo {
            Todo::StartJob => self.start_jobs(vec![id]).await,
            Todo::CancelJob { job } => {
                self.pool.cancel(job).await?;
                let reason = "the order was closed or expired before there was an answer".to_owned();
                self.work(id, Work::Over { reason }).await
            }
            Todo::CutShort { job } => {
                warn!(order = %id, %job, "no time is left for the rest of this bag");
                self.pool.cancel(job).await?;
                self.gather_bag(id, job, "there was no result in time").await
            }
            Todo::Keep { until } => {
                let order = self.ready_details(&id).await?;
                let call = Market::keepCall { order }.abi_encode();
                let action = Action::call(format!("keep {id} {until}"), self.market, call);
                self.enqueue(|ledger| ledger.kept(id, until), action).await
            }
            Todo::Settle { answer, .. } => {
                let ready = self.ready(id, answer).await?;
                self.settle_alone(ready).await
            }
            Todo::SettleBag { batch, first } => self.settle_bag(id, batch, first).await,
            Todo::Decline { reason } => {
                let order = self.ready_details(&id).await?;
                let short = &reason[..reason.floor_char_boundary(DECLINE_REASON_BYTES_MAX)];
                let call = Market::declineCall { order, reason: Bytes::copy_from_slice(short.as_bytes()) }.abi_encode();
                let action = Action::call(format!("decline {id}"), self.market, call);
                self.enqueue(|ledger| ledger.work(id, Work::Declining { reason }), action).await
            }
            Todo::Credit { earners, amount } => self.credit(id, &earners, amount).await,
        }
    }

    async fn watch_outbox(&self) -> Result<()> {
        let mut news = self.sender.outcomes();
        loop {
            let outcomes = self.books.lock().await.store.outcomes()?;
            for outcome in outcomes {
                self.note_outcome(&outcome).await?;
            }
            if news.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn note_outcome(&self, outcome: &Outcome) -> Result<()> {
        let reason = outcome.revert.as_ref().map(|revert| revert.reason.clone()).unwrap_or_default();
        let refused = matches!(outcome.status, OutcomeStatus::Refused | OutcomeStatus::Failed);
        let was_done = refused && is_done_already(&reason);
        match outcome.status {
            OutcomeStatus::Confirmed => info!(action = outcome.key, gas = outcome.gas_used, "transaction confirmed"),
            OutcomeStatus::Dropped => warn!(action = outcome.key, "transaction lost in a reorganisation; sent again"),
            _ if was_done => info!(action = outcome.key, "was done already"),
            OutcomeStatus::Refused | OutcomeStatus::Failed => {
                error!(action = outcome.key, reason, "the market refuses a transaction");
            }
        }
        let change = |ledger: &mut Ledger| {
            if refused && !was_done {
                note_refusal(ledger, &outcome.key, &reason);
            }
        };
        self.book(change, |sql| store::outcome_seen(sql, outcome)).await?;
        if refused && outcome.key.starts_with("lock ") { self.lock_refused(&outcome.key).await } else { Ok(()) }
    }
}

/// The chain has an end of the order, and tells of it by its own event.
fn is_done_already(reason: &str) -> bool {
    ["NotOpen", "NotCancelling"].iter().any(|error| reason.contains(error))
}

fn note_refusal(ledger: &mut Ledger, key: &str, reason: &str) {
    let mut words = key.split(' ');
    let (Some(verb), Some(Ok(id))) = (words.next(), words.next().map(str::parse::<B256>)) else { return };
    match verb {
        // One of them was refused: each has to try for itself.
        "group" => ledger.scatter(id),
        "settle" if matches!(ledger.get(&id).map(|order| &order.work), Some(Work::Settling { group: Some(_), .. })) => {
        }
        "settle" | "bag" => ledger.work(id, Work::Over { reason: format!("the market refused: {reason}") }),
        _ => {}
    }
}
