//! The pool's HTTP API: jobs, workers, results.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use gristmill_proto::PROTOCOL_VERSION;
use gristmill_proto::app::{AppManifest, MANIFEST_BYTES_MAX};
use gristmill_proto::array::{LINES_BYTES_MAX, Values};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::receipt::ReceiptFile;
use gristmill_proto::view::{
    ApiError, AppView, AttemptView, FailureView, JobView, LiveLogView, Submitted, TaskResultView, VerdictRequest,
    WhyJob, WhyWorker, WorkerView,
};
use serde::Deserialize;

use super::{Api, apps, blobs, events, worker_session};
use crate::core::{SubmitError, VerdictError};
use crate::live_logs::LiveLog;
use crate::pool::{lock, same_secret};
use crate::store::{StoreError, StoredAttempt, StoredReceipt};

/// A job at its limits fits.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const JOBS_PER_PAGE_MAX: u32 = 200;
const RESULTS_PER_PAGE_MAX: u32 = 500;
const FAILURES_SHOWN: u32 = 100;
/// Manifests kept at hand. They never change: their digests name them.
const MANIFESTS_MAX: usize = 1_024;

pub(super) fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/api/pool", get(pool))
        .route("/api/jobs", get(jobs).post(submit))
        .route("/api/jobs/{id}", get(job))
        .route("/api/jobs/{id}/events", get(events::of_job))
        .route("/api/jobs/{id}/cancel", post(cancel))
        .route("/api/jobs/{id}/results", get(results))
        .route("/api/jobs/{id}/verdict", post(judge))
        .route("/api/jobs/by-external/{external_id}", get(job_by_external_id))
        .route("/api/events", get(events::of_all))
        .route("/api/apps", get(apps::list).post(apps::publish))
        .route("/api/apps/named/{name}", get(apps::named))
        .route("/api/apps/{digest}", get(app))
        .route("/api/apps/{digest}/approve", post(apps::approve))
        .route("/api/apps/{digest}/retire", post(apps::retire))
        .route("/api/workers", get(workers))
        .route("/api/jobs/{id}/why", get(why_job))
        .route("/api/jobs/{id}/failures", get(failures))
        .route("/api/workers/{id}/why", get(why_worker))
        .route("/api/jobs/{id}/tasks/{index}", get(task))
        .route("/api/jobs/{id}/tasks/{index}/log", get(live_log))
        .route("/api/jobs/{id}/tasks/{index}/receipts/{lease}", get(receipt))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .route("/api/blobs/{digest}", get(blobs::download).put(blobs::upload).layer(DefaultBodyLimit::disable()))
        .route("/api/worker", get(worker_session::connect))
        .with_state(api)
}

/// A refusal: what failed, why, and what to try.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    hint: &'static str,
}

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "errors are given away here, at the end of their life")]
    pub(super) fn new(status: StatusCode, error: impl ToString, hint: &'static str) -> Self {
        Self { status, error: error.to_string(), hint }
    }

    pub(super) fn not_found(what: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, "")
    }

    /// The pool's own fault; its log says more.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error, "the pool's log says more")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(ApiError { error: self.error, hint: self.hint.to_owned() })).into_response()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error, ""),
            SubmitError::Full(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error, "try again later"),
        }
    }
}

impl From<VerdictError> for Refusal {
    fn from(error: VerdictError) -> Self {
        Self::new(StatusCode::CONFLICT, error, "read the job again: its state has moved on")
    }
}

/// Proof that the request showed the pool's token.
pub(super) struct Authorized;

impl FromRequestParts<Arc<Api>> for Authorized {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        match bearer(parts) {
            Some(token) if same_secret(token, &api.token) => Ok(Self),
            _ => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "this request needs the pool's token",
                "send `Authorization: Bearer …` with the content of the file `token` in the pool's folder",
            )),
        }
    }
}

pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn pool(State(api): State<Arc<Api>>) -> Json<serde_json::Value> {
    let mut facts = api.about.clone();
    facts.insert("pool".into(), (*api.pool_name).into());
    facts.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    facts.insert("protocol".into(), PROTOCOL_VERSION.into());
    Json(facts.into())
}

async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.pool.metrics())
}

async fn app(State(api): State<Arc<Api>>, Path(digest): Path<Digest>) -> Json<AppView> {
    Json(api.pool.look(|core, _| AppView { slot_rate_per_s: core.speed(&digest).per_second(), slots: core.slots() }))
}

async fn submit(
    _: Authorized,
    State(api): State<Arc<Api>>,
    Json(mut spec): Json<JobSpec>,
) -> Result<Response, Refusal> {
    let manifest = manifest(&api, spec.app)?;
    for asked in manifest.requirements() {
        if !spec.require.contains(&asked) {
            spec.require.push(asked);
        }
    }
    lock(&api.apps).may_run(&spec.app)?;
    let pool = &api.pool;
    for values in spec.array.values() {
        if let Values::Lines(lines) = values {
            let refuse = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why, "");
            let (_, size) = pool.blobs.open_blob(lines.file).map_err(|error| refuse(format!("array: {error}")))?;
            if size > LINES_BYTES_MAX {
                return Err(refuse(format!("array: a file of {size} bytes is longer than {LINES_BYTES_MAX}")));
            }
        }
    }
    if let Some(search) = &spec.search
        && let Some(terms) = &search.shares
    {
        let refuse = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("shares: {why}"), "");
        let checker = pool.share_checkers.get(&terms.checker).ok_or_else(|| {
            let known: Vec<&str> = pool.share_checkers.keys().map(String::as_str).collect();
            refuse(format!("no checker `{}` here, but {}", terms.checker, known.join(", ")))
        })?;
        checker.understands(terms).map_err(refuse)?;
    }
    // To its end, whether or not the client waits for it: see `ExternalIds`.
    let submitting = tokio::spawn(submit_once(api, spec, manifest)).await;
    let submitted = submitting.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let status = if submitted.known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(submitted)).into_response())
}

/// Submits a job, or finds that its external id is known.
async fn submit_once(api: Arc<Api>, spec: JobSpec, manifest: Arc<AppManifest>) -> Result<Submitted, Refusal> {
    let external_id = spec.external_id.clone();
    let _turn = match &external_id {
        Some(id) => Some(api.external_ids.turn(id).await),
        None => None,
    };
    if let Some(external_id) = &external_id
        && let Some(id) = api.pool.job_of(external_id).await?
    {
        return Ok(Submitted { id, known: true });
    }
    let (submitted, durable) = api.pool.act(|core, now, effects| core.submit(spec, &manifest.targets, now, effects));
    let submitted = submitted?;
    committed(durable).await?;
    Ok(submitted)
}

/// The manifest of an app that the pool has.
pub(super) fn manifest(api: &Api, app: Digest) -> Result<Arc<AppManifest>, Refusal> {
    if let Some(known) = lock(&api.manifests).get(&app) {
        return Ok(known.clone());
    }
    let unusable = |error: String, hint| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error, hint);
    let bytes = api
        .pool
        .blobs
        .read(app, MANIFEST_BYTES_MAX as u64)
        .map_err(|error| unusable(error.to_string(), "upload the app's manifest and files first"))?;
    let manifest = AppManifest::from_json(&bytes).map_err(|error| unusable(format!("app {app}: {error}"), ""))?;
    let mut manifests = lock(&api.manifests);
    if manifests.len() >= MANIFESTS_MAX {
        manifests.clear();
    }
    Ok(manifests.entry(app).or_insert(Arc::new(manifest)).clone())
}

async fn cancel(_: Authorized, State(api): State<Arc<Api>>, Path(id): Path<JobId>) -> Result<StatusCode, Refusal> {
    let (live, durable) =
        api.pool.act(|core, now, effects| core.cancel(id, "cancelled by its submitter", now, effects));
    committed(durable).await?;
    if live || api.pool.job(id).await?.is_some() {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::not_found(format!("there is no {id:?}")))
    }
}

async fn judge(
    _: Authorized,
    State(api): State<Arc<Api>>,
    Path(id): Path<JobId>,
    Json(verdict): Json<VerdictRequest>,
) -> Result<StatusCode, Refusal> {
    let (judged, durable) = api.pool.act(|core, now, effects| {
        core.judge(id, LeaseId(verdict.lease), verdict.certified, &verdict.reason, now, effects)
    });
    judged?;
    committed(durable).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Page {
    before: Option<JobId>,
    limit: Option<u32>,
}

async fn jobs(State(api): State<Arc<Api>>, Query(page): Query<Page>) -> Result<Json<Vec<JobView>>, Refusal> {
    let limit = page.limit.unwrap_or(20).min(JOBS_PER_PAGE_MAX);
    let ids = api.pool.read(|reader| reader.job_ids(page.before, limit)).await?;
    let mut views = Vec::with_capacity(ids.len());
    for id in ids {
        views.extend(api.pool.job(id).await?);
    }
    Ok(Json(views))
}

async fn job(State(api): State<Arc<Api>>, Path(id): Path<JobId>) -> Result<Json<JobView>, Refusal> {
    api.pool.job(id).await?.map(Json).ok_or_else(|| Refusal::not_found(format!("there is no {id:?}")))
}

async fn job_by_external_id(
    State(api): State<Arc<Api>>,
    Path(external_id): Path<String>,
) -> Result<Json<JobView>, Refusal> {
    let unknown = || Refusal::not_found("no job has this external id");
    let id = api.pool.job_of(&external_id).await?.ok_or_else(unknown)?;
    api.pool.job(id).await?.map(Json).ok_or_else(unknown)
}

async fn workers(State(api): State<Arc<Api>>) -> Result<Json<Vec<WorkerView>>, Refusal> {
    Ok(Json(api.pool.workers().await?))
}

async fn why_job(State(api): State<Arc<Api>>, Path(id): Path<JobId>) -> Result<Json<WhyJob>, Refusal> {
    let ended = || Refusal::not_found(format!("{id:?} is not live: it has ended or was never submitted"));
    api.pool.look(|core, _| core.why_job(id)).map(Json).ok_or_else(ended)
}

async fn why_worker(State(api): State<Arc<Api>>, Path(id): Path<WorkerId>) -> Result<Json<WhyWorker>, Refusal> {
    let unknown = || Refusal::not_found(format!("{id} is not connected to this pool"));
    api.pool.look(|core, _| core.why_worker(id)).map(Json).ok_or_else(unknown)
}

/// Why attempts failed, the newest first.
async fn failures(State(api): State<Arc<Api>>, Path(id): Path<JobId>) -> Result<Json<Vec<FailureView>>, Refusal> {
    let found = api.pool.read(|reader| reader.last_failures(id, FAILURES_SHOWN)).await?;
    let view = |(task, worker, reason)| FailureView { task, worker, reason };
    Ok(Json(found.into_iter().map(view).collect()))
}

#[derive(Deserialize)]
struct ResultsPage {
    #[serde(default)]
    from: u64,
    limit: Option<u32>,
}

/// Certified results by task, from a task on.
async fn results(
    State(api): State<Arc<Api>>,
    Path(id): Path<JobId>,
    Query(page): Query<ResultsPage>,
) -> Result<Json<Vec<TaskResultView>>, Refusal> {
    let limit = page.limit.unwrap_or(RESULTS_PER_PAGE_MAX).min(RESULTS_PER_PAGE_MAX);
    Ok(Json(api.pool.read(|reader| reader.certified_results(id, page.from, limit)).await?))
}

/// Everything the task's attempts left, logs included.
async fn task(
    State(api): State<Arc<Api>>,
    Path((job, index)): Path<(JobId, u64)>,
) -> Result<Json<Vec<AttemptView>>, Refusal> {
    let attempts = api.pool.read(|reader| reader.attempts(TaskId { job, index })).await?;
    let view = |attempt: StoredAttempt| AttemptView {
        lease: attempt.lease,
        worker: attempt.worker,
        verdict: attempt.verdict,
        reason: attempt.reason,
        at_ms: attempt.at,
        outcome: attempt.outcome,
    };
    Ok(Json(attempts.into_iter().map(view).collect()))
}

/// What the task's running attempts have said so far.
async fn live_log(State(api): State<Arc<Api>>, Path((job, index)): Path<(JobId, u64)>) -> Json<Vec<LiveLogView>> {
    let logs: Vec<LiveLogView> = {
        let logs = lock(&api.pool.live_logs);
        let view = |(lease, log): (LeaseId, &LiveLog)| LiveLogView {
            lease,
            worker: log.worker,
            stdout: log.stdout.clone(),
            stderr: log.stderr.clone(),
        };
        logs.of_task(TaskId { job, index }).map(view).collect()
    };
    let in_force = |log: &LiveLogView| api.pool.look(|core, _| core.lease(log.worker, log.lease).is_some());
    Json(logs.into_iter().filter(in_force).collect())
}

async fn receipt(
    State(api): State<Arc<Api>>,
    Path((job, index, lease)): Path<(JobId, u64, LeaseId)>,
) -> Result<Json<ReceiptFile>, Refusal> {
    let found = api.pool.read(|reader| reader.receipt(&api.pool_name, TaskId { job, index }, lease)).await?;
    let StoredReceipt { worker, receipt, spec, outcome } =
        found.ok_or_else(|| Refusal::not_found(format!("{lease:?} left no signed result of this task")))?;
    Ok(Json(ReceiptFile { worker, receipt, job: spec, outcome }))
}

/// Waits until what was done is durable.
pub(super) async fn committed(durable: crate::pool::Durable) -> Result<(), Refusal> {
    durable.await.map_err(|_| {
        let hint = "ask again when the pool is back: the same external id never makes a second job";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the pool's database takes no more", hint)
    })
}
