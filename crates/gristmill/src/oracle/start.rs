//! Orders that become jobs.

use std::collections::HashMap;

use alloy::primitives::B256;
use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream};
use gristmill_chain::contracts::IMarket;
use gristmill_proto::digest::Digest;
use gristmill_proto::job::JobSpec;
use gristmill_proto::view::AppView;
use tracing::{info, warn};

use super::ledger::{Ledger, is_bag};
use super::offers::{Terms, terms};
use super::work::Work;
use super::{Oracle, job};
use crate::deployment::Deployment;
use crate::pool_client::PoolRefusal;

/// Jobs that are being submitted at the same time.
const SUBMITS_AT_ONCE: usize = 16;
/// Jobs that are booked together: the first of many must not wait for the last.
const BOOKED_TOGETHER: usize = 64;

impl Oracle {
    pub(super) async fn start_jobs(&self, ids: Vec<B256>) -> Result<()> {
        for some in ids.chunks(BOOKED_TOGETHER) {
            let apps = self.apps_of(some).await;
            let starts: Vec<_> = some.iter().map(|id| self.start_job(*id, &apps)).collect();
            let started: Vec<(B256, Result<Work>)> =
                stream::iter(starts).buffer_unordered(SUBMITS_AT_ONCE).collect().await;
            self.book_started(started).await?;
        }
        Ok(())
    }

    /// What the pool knows of the searches that are to start: it says how long a task is.
    async fn apps_of(&self, ids: &[B256]) -> HashMap<Digest, AppView> {
        let deployment = self.offers.deployment();
        let search = deployment.offer.plan.app;
        let mut apps = HashMap::new();
        if !ids.is_empty()
            && let Ok(view) = self.pool.app(search).await
        {
            apps.insert(search, view);
        }
        apps
    }

    /// Submits the order's job. Its external id makes that happen once, however often it is tried.
    async fn start_job(&self, id: B256, apps: &HashMap<Digest, AppView>) -> (B256, Result<Work>) {
        (id, self.submit(id, apps).await)
    }

    async fn submit(&self, id: B256, apps: &HashMap<Digest, AppView>) -> Result<Work> {
        let details = self.ready_details(&id).await?;
        let deployment = self.offers.deployment();
        let job = match job_of(id, &details, &deployment, apps) {
            Ok(Some(job)) => job,
            Ok(None) => bail!("the pool does not answer"),
            // Parameters that no job can be made of will not become better: give the money back.
            Err(error) => return Ok(Work::Failed { reason: format!("{error:#}") }),
        };
        match self.pool.submit(&job).await {
            Ok(submitted) => {
                info!(order = %id, job = %submitted.id, known = submitted.known, "job submitted");
                if submitted.known {
                    // It may have ended before this process listened.
                    let view = self.pool.job(submitted.id).await?;
                    self.pool_news.lock().await.early(view);
                }
                Ok(Work::Started { job: submitted.id })
            }
            // A job that the pool refuses will not become acceptable: give the money back.
            Err(error) if is_final_refusal(&error) => Ok(Work::Failed { reason: format!("{error}") }),
            Err(error) => Err(error),
        }
    }

    async fn book_started(&self, started: Vec<(B256, Result<Work>)>) -> Result<()> {
        let (mut works, mut jobs) = (Vec::new(), Vec::new());
        for (id, work) in started {
            match work {
                Ok(work) => {
                    jobs.extend(work.job());
                    works.push((id, work));
                }
                Err(error) => warn!(order = %id, error = format!("{error:#}"), "no job yet; trying again"),
            }
        }
        let change = |ledger: &mut Ledger| works.into_iter().for_each(|(id, work)| ledger.work(id, work));
        self.book(change, |_| Ok(())).await?;
        self.hear_early(&jobs).await
    }

    pub(super) async fn ready_details(&self, id: &B256) -> Result<IMarket::Order> {
        let books = self.books.lock().await;
        Ok(books.ledger.get(id).context("an order to act on is in the ledger")?.details.clone())
    }
}

/// Nothing while the pool has not told what it must be made of.
fn job_of(
    id: B256,
    order: &IMarket::Order,
    deployment: &Deployment,
    apps: &HashMap<Digest, AppView>,
) -> Result<Option<JobSpec>> {
    match terms(deployment, order.offer).context("this pool has withdrawn the offer's plan")? {
        Terms::App(offer) => job::app_job(id, order, offer).map(Some),
        Terms::Search(_) if is_bag(order) => bail!("searches are not sold in bags"),
        Terms::Search(plan) => apps.get(&plan.app).map(|app| job::job_of(id, order, plan, app)).transpose(),
    }
}

fn is_final_refusal(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<PoolRefusal>();
    refusal.is_some_and(|refusal| refusal.status == reqwest::StatusCode::UNPROCESSABLE_ENTITY)
}
