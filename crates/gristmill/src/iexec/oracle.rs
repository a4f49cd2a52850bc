//! The oracle of the hub: every deal of a pool that its key owns becomes jobs, and its tasks are settled.
//!
//! The same habits as the market's oracle: news of chain, pool and outbox go into the `ledger` and to disk together with
//! their cursors, then `Oracle::act` does what the ledger says comes next. One job per task, named by the task's id.

mod archive;
mod job;
mod ledger;
mod request;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::{Filter, Log};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use anyhow::{Context, Result, anyhow};
use futures_util::StreamExt;
use gristmill_chain::check::{ChainIdentity, CheckError};
use gristmill_chain::contracts::{IPocoHub, PocoHub};
use gristmill_chain::follow::{Advance, FollowConfig, Follower, Step};
use gristmill_chain::rpc::Rpc;
use gristmill_chain::send::{Action, Outcome, OutcomeStatus, SendConfig, Sender, SenderHandle, outbox};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::JobId;
use gristmill_proto::outcome::Outcome as AttemptOutcome;
use gristmill_proto::view::{JobState, JobView, Verdict};
use serde_json::json;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use archive::Content;
use job::Terms;
use ledger::{ChainView, Ledger, Reading, Report, Todo, Work};
use request::Request;
use store::Store;

use super::{Hub, content};
use crate::oracle::Confirmations;
use crate::pool_client::{PoolClient, PoolRefusal};
use crate::roles;

alloy::sol! {
    /// What the oracle asks an app's entry.
    #[sol(rpc)]
    interface IAppEntry {
        function m_appMultiaddr() external view returns (bytes memory);
        function m_appChecksum() external view returns (bytes32);
    }

    /// And a dataset's.
    #[sol(rpc)]
    interface IDatasetEntry {
        function m_datasetMultiaddr() external view returns (bytes memory);
    }
}

pub struct Config {
    pub data_dir: PathBuf,
    pub rpc_url: String,
    pub hub: Hub,
    /// Owner of the pools that are served.
    pub key: PrivateKeySigner,
    pub pool: PoolClient,
    pub confirmations: Confirmations,
    /// The chain runs on this machine: look often, pay no tips.
    pub local_chain: bool,
}

/// An app whose multiaddr begins so is the manifest that its checksum names.
pub const APP_PREFIX: &str = "/gristmill/";
/// `MAX_RESULT_BYTES` of the hub.
const CALLBACK_BYTES_MAX: usize = 8192;
/// What an app says about its outputs, after iExec's convention.
const COMPUTED: &str = "computed.json";
const COMPUTED_BYTES_MAX: u64 = 64 << 10;
const STDOUT: &str = "stdout.txt";
const ANSWER: &str = "result";
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// What could not be done is tried again at least this often.
const REVIEW_PAUSE: Duration = Duration::from_secs(2);

struct Oracle {
    hub: Hub,
    account: Address,
    rpc: Rpc,
    pool: PoolClient,
    confirmations: Confirmations,
    /// Where outputs are put together.
    scratch: PathBuf,
    books: Mutex<Books>,
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
    let database = config.data_dir.join("hub.sqlite");
    let store = Store::open(&database)?;
    let rpc = Rpc::connect(&config.rpc_url)?;
    let Some(identity) = identity(&rpc, &config.hub, &shutdown).await? else { return Ok(()) };
    store.check_identity(&identity)?;

    let send_config = match config.local_chain {
        true => SendConfig::local(),
        false => SendConfig { confirmations: config.confirmations.settle, ..SendConfig::default() },
    };
    let account = config.key.address();
    let sender = Sender::open(rpc.clone(), config.key, store::connect(&database)?, send_config).await?;
    let topics = [
        PocoHub::SchedulerNotice::SIGNATURE_HASH,
        PocoHub::TaskFinalize::SIGNATURE_HASH,
        PocoHub::TaskClaimed::SIGNATURE_HASH,
    ];
    let filter = Filter::new().address(config.hub.hub).event_signature(topics.to_vec());
    let follow = FollowConfig::new(filter).start(config.hub.hub_block).known(store.known_blocks()?);
    let follow = if config.local_chain { follow.local() } else { follow };
    let ledger = store.ledger()?;
    let (deals, tasks) = ledger.counts();
    info!(deals, tasks, hub = %config.hub.hub, owner = %account, "hub oracle starts");
    let scratch = config.data_dir.join("outputs");
    start_empty(&scratch)?;
    let oracle = Arc::new(Oracle {
        hub: config.hub,
        account,
        rpc: rpc.clone(),
        pool: config.pool,
        confirmations: config.confirmations,
        scratch,
        books: Mutex::new(Books { ledger, store }),
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
    info!("hub oracle stops");
    ended
}

async fn flatten<E: Into<anyhow::Error>>(task: tokio::task::JoinHandle<Result<(), E>>) -> Result<()> {
    task.await?.map_err(Into::into)
}

/// What a former run left half done is made anew.
fn start_empty(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Asks until the chain answers; nothing if told to stop first.
async fn identity(rpc: &Rpc, hub: &Hub, shutdown: &CancellationToken) -> Result<Option<ChainIdentity>> {
    loop {
        match ChainIdentity::read(rpc, [("hub", hub.hub)]).await {
            Ok(identity) if identity.chain_id == hub.chain_id => return Ok(Some(identity)),
            Ok(identity) => {
                return Err(anyhow!(
                    "the hub is on chain {}, but the endpoint serves chain {}\n\nhint: give the right endpoint",
                    hub.chain_id,
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

    async fn note_work(&self, key: (B256, u64), work: Work) -> Result<()> {
        self.book(|ledger| ledger.work(key, work), |_| Ok(())).await
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
                        logs.iter().for_each(|log| note(ledger, log));
                        ledger.advance(ChainView { head: head.max(to.number), timestamp });
                    };
                    self.book(note, |sql| store::advance(sql, to)).await?;
                }
            }
        }
    }

    /// Does what comes next, whenever something has happened.
    async fn act(&self) -> Result<()> {
        loop {
            let todos = self.books.lock().await.ledger.todos(self.confirmations);
            for todo in todos {
                let what = format!("{todo:?}");
                if let Err(error) = self.take(todo).await {
                    let what = &what[..what.floor_char_boundary(200)];
                    warn!(what, error = format!("{error:#}"), "could not be done; trying again");
                }
            }
            let _ = tokio::time::timeout(REVIEW_PAUSE, self.news.notified()).await;
        }
    }

    async fn take(&self, todo: Todo) -> Result<()> {
        match todo {
            Todo::Read(deal) => self.read(deal).await,
            Todo::Start(deal, index) => self.start(deal, index).await,
            Todo::Collect(deal, index, job) => self.collect(deal, index, job).await,
            Todo::Cancel(deal, index, job) => {
                self.pool.cancel(job).await?;
                let reason = "the task was closed or expired before there was a result".to_owned();
                self.note_work((deal, index), Work::Over { reason }).await
            }
            Todo::Settle(deal, tasks) => self.settle(deal, tasks).await,
            Todo::Decline(deal, tasks, reason) => self.decline(deal, tasks, reason).await,
        }
    }

    /// Learns what a deal is about, and whether it can be run here.
    async fn read(&self, id: B256) -> Result<()> {
        let hub = PocoHub::new(self.hub.hub, self.rpc.provider());
        let deal = hub.viewDeal(id).call().await.context("the deal cannot be read")?;
        if deal.workerpool.owner != self.account {
            return self.book(|ledger| ledger.foreign(id), |_| Ok(())).await;
        }
        let category = hub.viewCategory(deal.category).call().await.context("its category cannot be read")?;
        let ratio = hub.final_deadline_ratio().call().await.context("the hub's deadline cannot be read")?;
        let attempt_s = saturate(category.workClockTimeRef);
        let mut terms = Terms {
            app: Digest([0; 32]),
            args: Vec::new(),
            files: Vec::new(),
            dataset: None,
            requester: deal.requester,
            called_back: deal.callback != Address::ZERO,
            first: saturate(deal.botFirst),
            size: saturate(deal.botSize),
            attempt_s,
            deadline: saturate(deal.startTime).saturating_add(saturate(ratio).saturating_mul(attempt_s)),
        };
        let reading = match self.fill(&mut terms, &deal).await? {
            Ok(()) => Reading::Runnable(terms),
            Err(reason) => Reading::Refused { terms, reason },
        };
        match &reading {
            Reading::Refused { reason, .. } => warn!(deal = %id, reason, "this deal cannot be run here"),
            _ => info!(deal = %id, tasks = %deal.botSize, app = %deal.app.pointer, "deal"),
        }
        self.book(|ledger| ledger.read(id, reading), |_| Ok(())).await
    }

    /// App, arguments and files; the inner error is a reason that will not change.
    async fn fill(&self, terms: &mut Terms, deal: &IPocoHub::Deal) -> Result<Result<(), String>> {
        if deal.trust > U256::from(1) {
            return Ok(Err(format!(
                "trust {} needs signatures of bonded workers, which this pool has not",
                deal.trust
            )));
        }
        match Request::parse(&deal.params) {
            Ok(Request { args, files }) => {
                terms.args = args;
                terms.files = files.into_iter().map(|file| (file.name, file.digest)).collect();
            }
            Err(error) => return Ok(Err(error.to_string())),
        }
        let entry = IAppEntry::new(deal.app.pointer, self.rpc.provider());
        let multiaddr = entry.m_appMultiaddr().call().await.context("the app cannot be read")?;
        if multiaddr.starts_with(APP_PREFIX.as_bytes()) {
            terms.app = Digest(entry.m_appChecksum().call().await.context("the app cannot be read")?.0);
        } else if let Some(digest) = content::parse_multiaddr(&multiaddr) {
            terms.app = digest;
        } else {
            let name = String::from_utf8_lossy(&multiaddr).into_owned();
            return Ok(Err(format!("this pool cannot run `{name}`: only apps below {APP_PREFIX}, by their checksum")));
        }
        if deal.dataset.pointer != Address::ZERO {
            let entry = IDatasetEntry::new(deal.dataset.pointer, self.rpc.provider());
            let multiaddr = entry.m_datasetMultiaddr().call().await.context("the dataset cannot be read")?;
            let Some(digest) = content::parse_multiaddr(&multiaddr) else {
                let name = String::from_utf8_lossy(&multiaddr).into_owned();
                return Ok(Err(format!("dataset `{name}` is not stored here: it must be /ipfs/ with a BLAKE3 CID")));
            };
            terms.dataset = Some((deal.dataset.pointer, digest));
        }
        Ok(Ok(()))
    }

    /// Submits a task's job. Its external id makes that happen once, however often it is tried.
    async fn start(&self, deal: B256, index: u64) -> Result<()> {
        let terms = self.terms(&deal).await?;
        let job = job::job_of(deal, &terms, index);
        let submitted = match self.pool.submit(&job).await {
            Ok(submitted) => submitted,
            // A job that the pool refuses will not become acceptable: give the money back.
            Err(error) if is_final_refusal(&error) => {
                let reason = format!("{error}");
                warn!(%deal, index, reason, "the pool refuses this task");
                return self.note_work((deal, index), Work::Failed { reason }).await;
            }
            Err(error) => return Err(error),
        };
        info!(%deal, index, job = %submitted.id, known = submitted.known, "job submitted");
        self.note_work((deal, index), Work::Started { job: submitted.id }).await?;
        // It may have ended before we knew that it is ours.
        let view = self.pool.job(submitted.id).await?;
        self.hear(&view).await
    }

    async fn terms(&self, deal: &B256) -> Result<Terms> {
        let books = self.books.lock().await;
        let terms = books.ledger.deal(deal).and_then(|deal| deal.terms());
        Ok(terms.context("the deal was taken away by a reorganisation")?.clone())
    }

    /// Puts a task's outputs where its requester will look for them.
    async fn collect(&self, deal: B256, index: u64, job: JobId) -> Result<()> {
        let key = (deal, index);
        let called_back = self.terms(&deal).await?.called_back;
        let attempts = self.pool.attempts(job, 0).await?;
        let Some(attempt) = attempts.into_iter().find(|attempt| attempt.verdict == Verdict::Certified) else {
            return self.note_work(key, Work::Failed { reason: "the job left no certified result".to_owned() }).await;
        };
        let folder = self.scratch.join(format!("{:x}", job::task_id(deal, index)));
        let collected = self.publish(&folder, &attempt.outcome, called_back).await;
        let _ = tokio::fs::remove_dir_all(&folder).await;
        let (archive, callback) = collected?;
        if callback.len() > CALLBACK_BYTES_MAX {
            let reason = format!("{} bytes for the contract are more than {CALLBACK_BYTES_MAX}", callback.len());
            return self.note_work(key, Work::Failed { reason }).await;
        }
        let results = json!({ "storage": "ipfs", "location": content::path(archive) }).to_string();
        info!(%deal, index, %results, "task done");
        self.note_work(key, Work::Reported { report: Report { results: results.into_bytes().into(), callback } }).await
    }

    /// The digest of the archive that the pool now has, and what the requester's contract is to receive.
    async fn publish(&self, folder: &Path, outcome: &AttemptOutcome, called_back: bool) -> Result<(Digest, Bytes)> {
        tokio::fs::create_dir_all(folder).await?;
        let mut entries = Vec::with_capacity(outcome.files.len() + 2);
        let mut callback = outcome.answer.clone().unwrap_or_default();
        for (number, file) in outcome.files.iter().enumerate() {
            let path = folder.join(number.to_string());
            self.pool.download(file.digest, file.size, &path).await?;
            if file.path == COMPUTED && file.size <= COMPUTED_BYTES_MAX {
                callback = callback_data(&tokio::fs::read(&path).await?).unwrap_or(callback);
            }
            entries.push((file.path.clone(), Content::File(path)));
        }
        if let Some(answer) = &outcome.answer {
            entries.push((ANSWER.to_owned(), Content::Bytes(answer.clone())));
        }
        if !outcome.files.iter().any(|file| file.path == STDOUT) {
            entries.push((STDOUT.to_owned(), Content::Bytes(outcome.stdout.head.clone())));
        }
        let archive = folder.join("outputs.zip");
        let path = archive.clone();
        tokio::task::spawn_blocking(move || archive::write(&path, entries)).await??;
        let digest = self.pool.upload_file(&archive).await?;
        Ok((digest, if called_back { callback.into() } else { Bytes::new() }))
    }

    async fn settle(&self, deal: B256, tasks: Vec<(u64, Report)>) -> Result<()> {
        let batch = tasks[0].0;
        let indices: Vec<u64> = tasks.iter().map(|(index, _)| *index).collect();
        let report = |(index, report): (u64, Report)| IPocoHub::TaskReport {
            idx: U256::from(index),
            results: report.results,
            resultsCallback: report.callback,
            proof: Bytes::new(),
        };
        let reports = tasks.into_iter().map(report).collect();
        let call = PocoHub::settleTasksCall { dealid: deal, reports }.abi_encode();
        let action = Action::call(action_key(SETTLE, deal, batch), self.hub.hub, call);
        let change = |ledger: &mut Ledger| {
            indices.iter().for_each(|index| ledger.work((deal, *index), Work::Settling { batch }));
        };
        self.enqueue(change, &action).await
    }

    async fn decline(&self, deal: B256, indices: Vec<u64>, reason: String) -> Result<()> {
        let batch = indices[0];
        warn!(%deal, tasks = indices.len(), reason, "tasks are given back");
        let indexes = indices.iter().map(|index| U256::from(*index)).collect();
        let call = PocoHub::declineTasksCall { dealid: deal, indexes }.abi_encode();
        let action = Action::call(action_key(DECLINE, deal, batch), self.hub.hub, call);
        let change = |ledger: &mut Ledger| {
            let work = |reason: &str| Work::Declining { batch, reason: reason.to_owned() };
            indices.iter().for_each(|index| ledger.work((deal, *index), work(&reason)));
        };
        self.enqueue(change, &action).await
    }

    async fn enqueue(&self, change: impl FnOnce(&mut Ledger), action: &Action) -> Result<()> {
        let beside = |sql: &rusqlite::Transaction<'_>| {
            outbox::enqueue(sql, action)?;
            Ok(())
        };
        self.book(change, beside).await?;
        self.sender.wake();
        Ok(())
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
        let started = self.books.lock().await.ledger.started();
        for job in started {
            self.hear(&self.pool.job(job).await?).await?;
        }
        while let Some(view) = pictures.next().await {
            self.hear(&view?).await?;
        }
        Ok(())
    }

    /// Notes how a task's job ended.
    async fn hear(&self, view: &JobView) -> Result<()> {
        let Some(id) = view.external_id.as_deref().and_then(|id| id.parse::<B256>().ok()) else { return Ok(()) };
        let key = {
            let books = self.books.lock().await;
            let started = |key: &(B256, u64)| {
                books.ledger.task(key).is_some_and(|task| matches!(task.work, Work::Started { .. }))
            };
            books.ledger.key_of(&id).filter(started)
        };
        let Some(key) = key else { return Ok(()) };
        match view.state {
            JobState::Failed | JobState::Cancelled => {
                let reason = view.reason.clone().unwrap_or_else(|| "the job ended without a result".to_owned());
                self.note_work(key, Work::Failed { reason }).await
            }
            JobState::Done => self.note_work(key, Work::Ran { job: view.id }).await,
            JobState::Queued | JobState::Running => Ok(()),
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
        match outcome.status {
            OutcomeStatus::Confirmed => info!(action = outcome.key, gas = outcome.gas_used, "transaction confirmed"),
            OutcomeStatus::Dropped => warn!(action = outcome.key, "transaction lost in a reorganisation; sent again"),
            OutcomeStatus::Refused | OutcomeStatus::Failed => {
                error!(action = outcome.key, reason, "the hub refuses a transaction");
            }
        }
        let change = |ledger: &mut Ledger| {
            if let (true, Some((verb, deal, batch))) = (refused, parse_action_key(&outcome.key)) {
                ledger.refused(deal, batch, verb == SETTLE, &format!("the hub refused: {reason}"));
            }
        };
        self.book(change, |sql| store::outcome_seen(sql, outcome)).await
    }
}

fn note(ledger: &mut Ledger, log: &Log) {
    let (Some(topic), Some(block)) = (log.topic0(), log.block_number) else { return };
    match *topic {
        PocoHub::SchedulerNotice::SIGNATURE_HASH => {
            if let Ok(event) = PocoHub::SchedulerNotice::decode_log(&log.inner) {
                ledger.noticed(event.dealid, block);
            }
        }
        PocoHub::TaskFinalize::SIGNATURE_HASH => {
            if let Ok(event) = PocoHub::TaskFinalize::decode_log(&log.inner)
                && let Some((deal, index)) = ledger.closed(event.taskid, block)
            {
                info!(%deal, index, block, "settled");
            }
        }
        PocoHub::TaskClaimed::SIGNATURE_HASH => {
            if let Ok(event) = PocoHub::TaskClaimed::decode_log(&log.inner)
                && let Some((deal, index)) = ledger.closed(event.taskid, block)
            {
                info!(%deal, index, block, "refunded");
            }
        }
        _ => {}
    }
}

const SETTLE: &str = "settle";
const DECLINE: &str = "decline";

fn action_key(verb: &str, deal: B256, batch: u64) -> String {
    format!("{verb} {deal} {batch}")
}

fn parse_action_key(key: &str) -> Option<(&str, B256, u64)> {
    let mut parts = key.split(' ');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What `computed.json` says is for the contract.
fn callback_data(computed: &[u8]) -> Option<Vec<u8>> {
    let computed: serde_json::Value = serde_json::from_slice(computed).ok()?;
    alloy::hex::decode(computed.get("callback-data")?.as_str()?).ok()
}

fn is_final_refusal(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<PoolRefusal>();
    refusal.is_some_and(|refusal| refusal.status == reqwest::StatusCode::UNPROCESSABLE_ENTITY)
}

fn saturate(number: U256) -> u64 {
    number.saturating_to()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_names_its_batch() {
        let deal = B256::repeat_byte(3);
        assert_eq!(parse_action_key(&action_key(DECLINE, deal, 9)), Some((DECLINE, deal, 9)));
        assert_eq!(parse_action_key("settle"), None);
    }

    #[test]
    fn computed_json_says_what_a_contract_receives() {
        assert_eq!(callback_data(br#"{"callback-data":"0x0102"}"#), Some(vec![1, 2]));
        assert_eq!(callback_data(br#"{"deterministic-output-path":"/out/x"}"#), None);
        assert_eq!(callback_data(br#"{"callback-data":"zz"}"#), None);
    }
}
