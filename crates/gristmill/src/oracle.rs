//! The oracle: the only place that knows both the chain and the grid.
//!
//! Three sides talk to it, each in its own time: the chain (orders and their ends, through the follower), the pool
//! (answers and failures, through its event stream) and its own transactions (through the outbox). Each piece of news
//! goes into the `ledger` and to disk together with its cursor; then `Oracle::act` does whatever the ledger says
//! comes next. Nothing depends on having seen a piece of news once: on every start, all of it is asked for again.

mod job;
mod ledger;
mod store;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use alloy::rpc::types::{Filter, Log};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use anyhow::{Context, Result, anyhow};
use futures_util::StreamExt;
use gristmill_chain::check::{ChainIdentity, CheckError};
use gristmill_chain::contracts::{IMarket, Market};
use gristmill_chain::follow::{Advance, FollowConfig, Follower, Step};
use gristmill_chain::rpc::Rpc;
use gristmill_chain::send::{Action, Outcome, OutcomeStatus, SendConfig, Sender, SenderHandle};
use gristmill_proto::id::JobId;
use gristmill_proto::view::{JobState, JobView, ResultView, Verdict, VerdictRequest};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use ledger::Confirmations;
use ledger::{Answer, ChainView, Closing, Ledger, Todo, Work};
use store::Store;

use crate::deployment::Deployment;
use crate::pool_client::PoolClient;
use crate::roles;

alloy::sol! {
    /// A contract that judges results: part of an app's offer.
    #[sol(rpc)]
    interface IVerifier {
        function verify(bytes32 order, address worker, bytes calldata params, bytes calldata result)
            external view returns (bool);
    }
}

pub struct Config {
    pub data_dir: PathBuf,
    pub rpc_url: String,
    pub deployment: Deployment,
    /// Key of the offer's pool.
    pub key: PrivateKeySigner,
    pub pool: PoolClient,
    pub confirmations: Confirmations,
    /// The chain runs on this machine: look often, pay no tips.
    pub local_chain: bool,
}

/// What the market takes of a reason: `MAX_REASON_BYTES` in `Market.sol`.
const DECLINE_REASON_BYTES_MAX: usize = 256;
/// While the pool or the chain cannot be reached.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// What could not be done is tried again at least this often.
const REVIEW_PAUSE: Duration = Duration::from_secs(2);

struct Oracle {
    deployment: Deployment,
    rpc: Rpc,
    pool: PoolClient,
    confirmations: Confirmations,
    books: Mutex<Books>,
    /// Leases of live jobs whose verdict the pool has heard: pictures of before that may still come.
    judged: Mutex<HashMap<JobId, HashSet<u64>>>,
    news: Notify,
    sender: SenderHandle,
}

/// The ledger and the disk behind it.
struct Books {
    ledger: Ledger,
    store: Store,
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
    if config.key.address() != deployment.offer.pool {
        return Err(anyhow!(
            "the key given is that of {}, but the offer belongs to {}\n\nhint: only the offer's pool can settle; give its key",
            config.key.address(),
            deployment.offer.pool
        ));
    }

    let send_config = SendConfig { confirmations: config.confirmations.settle, ..SendConfig::default() };
    let send_config = if config.local_chain { SendConfig::local() } else { send_config };
    let sender = Sender::open(rpc.clone(), config.key, store::connect(&database)?, send_config).await?;
    let filter = Filter::new().address(deployment.market);
    let follow = FollowConfig::new(filter).start(deployment.market_block).known(store.known_blocks()?);
    let follow = if config.local_chain { follow.local() } else { follow };
    let ledger = store.ledger()?;
    info!(orders = ledger.orders().count(), market = %deployment.market, "oracle starts");
    let oracle = Arc::new(Oracle {
        deployment,
        rpc: rpc.clone(),
        pool: config.pool,
        confirmations: config.confirmations,
        books: Mutex::new(Books { ledger, store }),
        judged: Mutex::default(),
        news: Notify::new(),
        sender: sender.handle(),
    });

    let stop = shutdown.child_token();
    let _stop_all = stop.clone().drop_guard();
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = flatten(tokio::spawn(sender.run(stop.clone()))) => ended,
        ended = oracle.follow(Follower::new(rpc, follow)) => ended,
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
        let Books { ledger, store } = &mut *self.books.lock().await;
        change(ledger);
        store.commit(ledger, beside)?;
        self.news.notify_one();
        Ok(())
    }

    async fn follow(&self, mut follower: Follower) -> Result<()> {
        loop {
            match follower.next().await? {
                Step::Rewind { to } => {
                    warn!(to = to.number, "the chain was reorganised");
                    self.book(|ledger| ledger.rewind(to.number), |sql| store::rewind(sql, to)).await?;
                }
                Step::Advance(Advance { to, timestamp, logs, head, .. }) => {
                    let note = |ledger: &mut Ledger| {
                        logs.iter().for_each(|log| self.note(ledger, log));
                        ledger.advance(ChainView { head: head.max(to.number), timestamp });
                    };
                    self.book(note, |sql| store::advance(sql, to)).await?;
                }
            }
        }
    }

    fn note(&self, ledger: &mut Ledger, log: &Log) {
        let (Some(topic), Some(block)) = (log.topic0(), log.block_number) else { return };
        match *topic {
            Market::Requested::SIGNATURE_HASH => {
                if let Ok(event) = Market::Requested::decode_log(&log.inner)
                    && event.offer == self.deployment.offer.id
                {
                    info!(order = %event.order, units = event.details.units, block, "order");
                    ledger.requested(event.order, event.data.details, block);
                }
            }
            Market::Settled::SIGNATURE_HASH => {
                if let Ok(event) = Market::Settled::decode_log(&log.inner) {
                    info!(order = %event.order, worker = %event.worker, block, "settled");
                    ledger.closed(event.order, Closing::Settled, block);
                }
            }
            Market::Refunded::SIGNATURE_HASH => {
                if let Ok(event) = Market::Refunded::decode_log(&log.inner) {
                    info!(order = %event.order, block, "refunded");
                    ledger.closed(event.order, Closing::Refunded, block);
                }
            }
            _ => {}
        }
    }

    /// Does what comes next, whenever something has happened.
    async fn act(&self) -> Result<()> {
        loop {
            let todos = self.books.lock().await.ledger.todos(self.confirmations);
            for (id, todo) in todos {
                if let Err(error) = self.take(id, &todo).await {
                    warn!(order = %id, ?todo, error = format!("{error:#}"), "could not be done; trying again");
                }
            }
            let _ = tokio::time::timeout(REVIEW_PAUSE, self.news.notified()).await;
        }
    }

    async fn take(&self, id: B256, todo: &Todo) -> Result<()> {
        match todo {
            Todo::StartJob => self.start_job(id).await,
            Todo::CancelJob { job } => {
                self.pool.cancel(*job).await?;
                let reason = "the order was closed or expired before there was an answer".to_owned();
                self.book(|ledger| ledger.work(id, Work::Over { reason }), |_| Ok(())).await
            }
            Todo::Settle { answer } => {
                let order = self.details(&id).await?;
                let Answer { worker, result } = answer.clone();
                let call = Market::settleCall { order, worker, result }.abi_encode();
                let action = Action::call(settle_key(id), self.deployment.market, call);
                let job = self.books.lock().await.ledger.get(&id).and_then(|order| order.work.job());
                let job = job.context("an answer comes from a job")?;
                let work = Work::Settling { job, answer: answer.clone() };
                self.enqueue(id, work, action).await
            }
            Todo::Decline { reason } => {
                let order = self.details(&id).await?;
                let short = &reason[..reason.floor_char_boundary(DECLINE_REASON_BYTES_MAX)];
                let call = Market::declineCall { order, reason: Bytes::copy_from_slice(short.as_bytes()) }.abi_encode();
                let action = Action::call(format!("decline {id}"), self.deployment.market, call);
                self.enqueue(id, Work::Declining { reason: reason.clone() }, action).await
            }
        }
    }

    async fn enqueue(&self, id: B256, work: Work, action: Action) -> Result<()> {
        self.book(|ledger| ledger.work(id, work), |sql| store::enqueue(sql, &action)).await?;
        self.sender.wake();
        Ok(())
    }

    async fn details(&self, id: &B256) -> Result<IMarket::Order> {
        let books = self.books.lock().await;
        Ok(books.ledger.get(id).context("an order to act on is in the ledger")?.details.clone())
    }

    /// Submits the order's job. Its external id makes that happen once, however often it is tried.
    async fn start_job(&self, id: B256) -> Result<()> {
        let details = self.details(&id).await?;
        let plan = &self.deployment.offer.plan;
        let app = self.pool.app(plan.app).await?;
        let job = match job::job_of(id, &details, plan, &app) {
            Ok(job) => job,
            // Parameters that no search can be made of will not become better: give the money back.
            Err(error) => {
                let reason = format!("{error:#}");
                return self.book(|ledger| ledger.work(id, Work::Failed { reason }), |_| Ok(())).await;
            }
        };
        let submitted = match self.pool.submit(&job).await {
            Ok(submitted) => submitted,
            // A job that the pool refuses will not become acceptable: give the money back.
            Err(error) if is_final_refusal(&error) => {
                let reason = format!("{error}");
                return self.book(|ledger| ledger.work(id, Work::Failed { reason }), |_| Ok(())).await;
            }
            Err(error) => return Err(error),
        };
        info!(order = %id, job = %submitted.id, known = submitted.known, "job submitted");
        self.book(|ledger| ledger.work(id, Work::Started { job: submitted.id }), |_| Ok(())).await?;
        // Its events so far may have come before we knew that the job is ours.
        let view = self.pool.job(submitted.id).await?;
        self.hear(&view).await
    }

    async fn watch_pool(&self) -> Result<()> {
        loop {
            if let Err(error) = self.watch_pool_once().await {
                warn!(error = format!("{error:#}"), "the pool's news could not be taken in; trying again");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn watch_pool_once(&self) -> Result<()> {
        let mut pictures = Box::pin(self.pool.watch_all().await?);
        // Jobs that ended while nobody listened are not among the live ones.
        let started: HashMap<B256, _> = {
            let books = self.books.lock().await;
            let job = |(id, order): (&B256, &ledger::Order)| match order.work {
                Work::Started { job } => Some((*id, job)),
                _ => None,
            };
            books.ledger.orders().filter_map(job).collect()
        };
        for job in started.into_values() {
            self.hear(&self.pool.job(job).await?).await?;
        }
        while let Some(view) = pictures.next().await {
            self.hear(&view?).await?;
        }
        Ok(())
    }

    /// Takes in a job's picture: judges answers that wait, notes how it ended.
    async fn hear(&self, view: &JobView) -> Result<()> {
        let Some(id) = view.external_id.as_deref().and_then(|id| id.parse::<B256>().ok()) else { return Ok(()) };
        if view.state.is_final() {
            self.judged.lock().await.remove(&view.id);
        }
        let running =
            |work: &Work| matches!(work, Work::Started { .. } | Work::Answered { .. } | Work::Settling { .. });
        let known = self.books.lock().await.ledger.get(&id).filter(|order| running(&order.work)).cloned();
        let Some(order) = known else { return Ok(()) };
        let pending = view.results.iter().filter(|result| result.verdict == Verdict::Pending && !view.state.is_final());
        for result in pending {
            if self.judged.lock().await.get(&view.id).is_none_or(|leases| !leases.contains(&result.lease)) {
                self.judge(id, &order.details.params, view, result).await?;
                self.judged.lock().await.entry(view.id).or_default().insert(result.lease);
            }
        }
        match view.state {
            JobState::Failed | JobState::Cancelled => {
                let reason = view.reason.clone().unwrap_or_else(|| "the job ended without an answer".to_owned());
                warn!(order = %id, reason, "no answer for this order");
                self.book(|ledger| ledger.work(id, Work::Failed { reason }), |_| Ok(())).await
            }
            // A certified answer whose word to us was lost between its verdict and our book.
            JobState::Done if matches!(order.work, Work::Started { .. }) => {
                let certified = view.results.iter().find(|result| result.verdict == Verdict::Certified);
                match certified.and_then(answer_of) {
                    Some(answer) => self.answered(id, view, answer).await,
                    None => Ok(()),
                }
            }
            JobState::Done | JobState::Queued | JobState::Running => Ok(()),
        }
    }

    /// Asks the verifier contract, and tells the pool what it said.
    async fn judge(&self, id: B256, params: &Bytes, view: &JobView, result: &ResultView) -> Result<()> {
        let answer = answer_of(result);
        let accepted = match &answer {
            Some(answer) => self.verify(id, params, answer).await?,
            None => false,
        };
        let reason = if accepted { "" } else { "the verifier contract refuses the answer" }.to_owned();
        info!(order = %id, worker = %result.worker, accepted, "answer judged");
        if let (true, Some(answer)) = (accepted, answer) {
            self.answered(id, view, answer).await?;
        }
        let verdict = VerdictRequest { lease: result.lease, certified: accepted, reason };
        match self.pool.judge(view.id, &verdict).await {
            Err(error) if error.downcast_ref::<crate::pool_client::PoolRefusal>().is_some() => {
                info!(order = %id, %error, "the verdict came too late");
                Ok(())
            }
            told => told,
        }
    }

    async fn answered(&self, id: B256, view: &JobView, answer: Answer) -> Result<()> {
        self.book(|ledger| ledger.work(id, Work::Answered { job: view.id, answer }), |_| Ok(())).await
    }

    async fn verify(&self, id: B256, params: &Bytes, answer: &Answer) -> Result<bool> {
        let verifier = IVerifier::new(self.deployment.verifier, self.rpc.provider());
        let question = verifier.verify(id, answer.worker, params.clone(), answer.result.clone());
        match question.call().await {
            Ok(accepted) => Ok(accepted),
            // A verifier that reverts does not accept.
            Err(error) if error.as_revert_data().is_some() => Ok(false),
            Err(error) => Err(error).context("the verifier cannot be asked"),
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
        match outcome.status {
            OutcomeStatus::Confirmed => info!(action = outcome.key, gas = outcome.gas_used, "transaction confirmed"),
            OutcomeStatus::Dropped => warn!(action = outcome.key, "transaction lost in a reorganisation; sent again"),
            OutcomeStatus::Refused | OutcomeStatus::Failed => {
                error!(action = outcome.key, reason, "the market refuses a transaction");
            }
        }
        let refused = matches!(outcome.status, OutcomeStatus::Refused | OutcomeStatus::Failed);
        let order = outcome.key.split(' ').nth(1).and_then(|id| id.parse::<B256>().ok());
        let change = |ledger: &mut Ledger| {
            if let (true, Some(id)) = (refused, order) {
                ledger.work(id, Work::Over { reason: format!("the market refused: {reason}") });
            }
        };
        self.book(change, |sql| store::outcome_seen(sql, outcome)).await
    }
}

fn settle_key(id: B256) -> String {
    format!("settle {id}")
}

fn answer_of(result: &ResultView) -> Option<Answer> {
    let bytes = alloy::hex::decode(result.answer.as_deref()?).ok()?;
    Some(Answer { worker: Address::from(result.worker.0), result: bytes.into() })
}

fn is_final_refusal(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<crate::pool_client::PoolRefusal>();
    refusal.is_some_and(|refusal| refusal.status == reqwest::StatusCode::UNPROCESSABLE_ENTITY)
}
