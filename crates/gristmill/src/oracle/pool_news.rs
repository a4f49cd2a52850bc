//! What the pool says of jobs: answers to judge, results, ends.

use std::collections::{HashMap, HashSet};

use alloy::primitives::{Address, B256, Bytes, keccak256};
use alloy::sol_types::SolValue;
use anyhow::{Context, Result};
use futures_util::StreamExt;
use gristmill_proto::id::JobId;
use gristmill_proto::view::{JobState, JobView, ResultView, Verdict, VerdictRequest};
use tracing::{info, warn};

use super::ledger::Order;
use super::offers::{Terms, terms};
use super::work::{Answer, Work};
use super::{Oracle, RETRY_PAUSE, gather};
use crate::deployment::{AppOffer, Judge};
use crate::pool_client::PoolRefusal;

alloy::sol! {
    /// A contract that judges results: part of an app's offer.
    #[sol(rpc)]
    interface IVerifier {
        function verify(bytes32 order, address worker, bytes calldata params, bytes calldata result)
            external view returns (bool);
    }
}

/// Pictures kept of jobs that the ledger does not know as its own yet.
const EARLY_MAX: usize = 4_096;
/// File lists that are being stored at the same time.
const LISTS_AT_ONCE: usize = 8;

/// What may be forgotten in a crash: all of it is asked for again.
#[derive(Default)]
pub(super) struct PoolNews {
    /// Leases of live jobs whose verdict the pool has heard: pictures of before that may still come.
    judged: HashMap<JobId, HashSet<u64>>,
    /// Pictures that came before the ledger knew the job.
    early: HashMap<JobId, JobView>,
}

impl PoolNews {
    /// The newest picture of a job that the ledger does not know yet.
    pub(super) fn early(&mut self, view: JobView) {
        if self.early.len() < EARLY_MAX || self.early.contains_key(&view.id) {
            self.early.insert(view.id, view);
        }
    }
}

impl Oracle {
    pub(super) async fn watch_pool(&self) -> Result<()> {
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
        let started: Vec<JobId> = {
            let books = self.books.lock().await;
            let job = |order: &Order| match order.work {
                Work::Started { job } => Some(job),
                _ => None,
            };
            books.ledger.orders().filter_map(|(_, order)| job(order)).collect()
        };
        for job in started {
            self.hear(&self.pool.job(job).await?).await?;
        }
        while let Some(view) = pictures.next().await {
            self.hear(&view?).await?;
        }
        Ok(())
    }

    /// Takes in what was said of jobs before they were known as ours.
    pub(super) async fn hear_early(&self, jobs: &[JobId]) -> Result<()> {
        for job in jobs {
            let early = self.pool_news.lock().await.early.remove(job);
            if let Some(view) = early
                && let Err(error) = self.hear(&view).await
            {
                warn!(%job, error = format!("{error:#}"), "early news could not be taken in; asking again");
                self.pool_news.lock().await.early.insert(*job, view);
            }
        }
        Ok(())
    }

    /// Takes in a job's picture: judges answers that wait, notes how it ended.
    pub(super) async fn hear(&self, view: &JobView) -> Result<()> {
        let Some(id) = view.external_id.as_deref().and_then(|id| id.parse::<B256>().ok()) else { return Ok(()) };
        if view.state.is_final() {
            self.pool_news.lock().await.judged.remove(&view.id);
        }
        let order = {
            // Both are looked at together: what is early here is asked for once the ledger has changed.
            let books = self.books.lock().await;
            let Some(order) = books.ledger.get(&id) else { return Ok(()) };
            if matches!(order.work, Work::None) {
                self.pool_news.lock().await.early(view.clone());
                return Ok(());
            }
            if order.work.job().is_none() {
                return Ok(());
            }
            order.clone()
        };
        let pending = view.results.iter().filter(|result| result.verdict == Verdict::Pending && !view.state.is_final());
        for result in pending {
            let judged = self.pool_news.lock().await.judged.get(&view.id).is_some_and(|of| of.contains(&result.lease));
            if !judged {
                self.judge(id, &order, view, result).await?;
                self.pool_news.lock().await.judged.entry(view.id).or_default().insert(result.lease);
            }
        }
        if view.state.is_final() && matches!(order.work, Work::Started { .. }) {
            Box::pin(self.note_end(id, &order, view)).await?;
        }
        Ok(())
    }

    async fn note_end(&self, id: B256, order: &Order, view: &JobView) -> Result<()> {
        let deployment = self.offers.deployment();
        let reason = view.reason.clone().unwrap_or_else(|| "the job ended without an answer".to_owned());
        match terms(&deployment, order.details.offer) {
            Some(Terms::App(_)) if order.is_bag() => self.gather_bag(id, view.id, &reason).await,
            Some(Terms::App(offer)) if offer.judge == Judge::Pool && view.state == JobState::Done => {
                self.gather_answer(id, view.id, offer).await
            }
            // A certified answer whose word to us was lost between its verdict and our book.
            _ if view.state == JobState::Done => {
                let certified = view.results.iter().find(|result| result.verdict == Verdict::Certified);
                match certified.and_then(answer_of) {
                    Some(answer) => self.work(id, Work::Answered { job: view.id, answer }).await,
                    None => self.failed(id, "the program gave no answer").await,
                }
            }
            _ => self.failed(id, &reason).await,
        }
    }

    async fn failed(&self, id: B256, reason: &str) -> Result<()> {
        warn!(order = %id, reason, "no answer for this order");
        self.work(id, Work::Failed { reason: reason.to_owned() }).await
    }

    async fn gather_answer(&self, id: B256, job: JobId, offer: &AppOffer) -> Result<()> {
        let results = self.pool.results(job).await?;
        match gather::answer(&results, self.pool_account, offer) {
            Ok(Some(answer)) => {
                self.keep_file_lists(&results).await?;
                self.work(id, Work::Answered { job, answer }).await
            }
            Ok(None) => {
                let failure = self.pool.failures(job).await?.into_iter().next();
                self.failed(id, &failure.map_or("the program failed".to_owned(), |failure| failure.reason)).await
            }
            Err(error) => self.failed(id, &format!("{error:#}")).await,
        }
    }

    /// Whatever a bag's job has come to.
    pub(super) async fn gather_bag(&self, id: B256, job: JobId, reason: &str) -> Result<()> {
        let order = self.ready_details(&id).await?;
        let deployment = self.offers.deployment();
        let Some(Terms::App(offer)) = terms(&deployment, order.offer) else {
            return self.failed(id, "this pool has withdrawn the offer's plan").await;
        };
        let results = self.pool.results(job).await?;
        match gather::batch(job, &results, order.units, offer)? {
            Some(batch) => {
                info!(order = %id, %job, failed = batch.failed, "bag done");
                self.keep_file_lists(&results).await?;
                self.work(id, Work::Gathered { batch }).await
            }
            None => self.failed(id, reason).await,
        }
    }

    /// Puts the lists that results name where requesters find them.
    async fn keep_file_lists(&self, results: &[gristmill_proto::view::TaskResultView]) -> Result<()> {
        let lists = results.iter().filter(|result| !result.files.is_empty());
        let uploads: Vec<_> = lists.map(|result| self.pool.upload_bytes(gather::file_list(&result.files))).collect();
        let mut stored = futures_util::stream::iter(uploads).buffer_unordered(LISTS_AT_ONCE);
        while let Some(stored) = stored.next().await {
            stored?;
        }
        Ok(())
    }

    /// Asks the verifier contract, and tells the pool what it said.
    async fn judge(&self, id: B256, order: &Order, view: &JobView, result: &ResultView) -> Result<()> {
        let deployment = self.offers.deployment();
        let verifier = match terms(&deployment, order.details.offer) {
            Some(Terms::App(offer)) => offer.verifier,
            _ => deployment.verifier,
        };
        let name = if order.is_bag() { task_id(id, result.task) } else { id };
        let answer = answer_of(result);
        let accepted = match &answer {
            Some(answer) => self.verify(verifier, name, &order.details.params, answer).await?,
            None => false,
        };
        let reason = if accepted { "" } else { "the verifier contract refuses the answer" }.to_owned();
        info!(order = %id, task = result.task, worker = %result.worker, accepted, "answer judged");
        if let (true, false, Some(answer)) = (accepted, order.is_bag(), answer) {
            self.work(id, Work::Answered { job: view.id, answer }).await?;
        }
        let verdict = VerdictRequest { lease: result.lease, certified: accepted, reason };
        match self.pool.judge(view.id, &verdict).await {
            Err(error) if error.downcast_ref::<PoolRefusal>().is_some() => {
                info!(order = %id, %error, "the verdict came too late");
                Ok(())
            }
            told => told,
        }
    }

    async fn verify(&self, verifier: Address, id: B256, params: &Bytes, answer: &Answer) -> Result<bool> {
        let verifier = IVerifier::new(verifier, self.rpc.provider());
        let question = verifier.verify(id, answer.worker, params.clone(), answer.result.clone());
        match question.call().await {
            Ok(accepted) => Ok(accepted),
            // A verifier that reverts does not accept.
            Err(error) if error.as_revert_data().is_some() => Ok(false),
            Err(error) => Err(error).context("the verifier cannot be asked"),
        }
    }
}

/// What a verifier knows a bag's task by: `taskIdOf` of the market.
fn task_id(bag: B256, index: u64) -> B256 {
    keccak256((bag, alloy::primitives::U256::from(index)).abi_encode())
}

fn answer_of(result: &ResultView) -> Option<Answer> {
    let bytes = alloy::hex::decode(result.answer.as_deref()?).ok()?;
    Some(Answer { worker: Address::from(result.worker.0), result: bytes.into(), earners: Vec::new() })
}
