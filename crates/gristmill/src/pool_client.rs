//! The pool's HTTP API from outside: what the oracle and the CLI use.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{Stream, StreamExt, stream};
use gristmill_proto::LEADER_HEADER;
use gristmill_proto::app::AppManifest;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::receipt::ReceiptFile;
use gristmill_proto::view::{
    ApiError, AppEntry, AppView, AttemptView, FailureView, JobView, LiveLogView, PublishRequest, Submitted,
    TaskResultView, VerdictRequest, WhyJob, WhyWorker, WorkerView,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::vouchers::{Payout, SignedPayout, VoucherView};

/// Longest event of a stream: a job's picture with its results.
const EVENT_BYTES_MAX: usize = 64 << 20;

#[derive(Clone)]
pub struct PoolClient {
    http: Client,
    /// The pool's schedulers: the address that answered last, or whom it named, and all that were given.
    base: Arc<RwLock<String>>,
    given: Vec<String>,
    token: String,
}

/// A pool with several schedulers is without a leader for as long as its lease, and a little.
const TAKE_OVER_WAIT: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// The pool answered, and refused.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{hint}", if hint.is_empty() { "" } else { "\n\nhint: " })]
pub struct PoolRefusal {
    pub status: StatusCode,
    error: String,
    hint: String,
}

impl PoolClient {
    pub fn new(base: &str, token: &str) -> Self {
        let given: Vec<String> = base.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        Self { http: Client::new(), base: Arc::new(RwLock::new(given[0].clone())), given, token: token.to_owned() }
    }

    pub fn url(&self) -> String {
        self.base.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the pool tells everybody about itself.
    pub async fn facts(&self) -> Result<serde_json::Map<String, serde_json::Value>> {
        self.json(self.request(Method::GET, "/api/pool")).await
    }

    pub async fn submit(&self, job: &JobSpec) -> Result<Submitted> {
        self.json(self.request(Method::POST, "/api/jobs").json(job)).await
    }

    pub async fn job(&self, id: JobId) -> Result<JobView> {
        self.json(self.request(Method::GET, &format!("/api/jobs/{id}"))).await
    }

    /// Nothing if the pool has no such job.
    pub async fn job_by_external_id(&self, external_id: &str) -> Result<Option<JobView>> {
        let found = self.json(self.request(Method::GET, &format!("/api/jobs/by-external/{external_id}"))).await;
        match found {
            Err(error) if error.downcast_ref::<PoolRefusal>().is_some_and(|r| r.status == StatusCode::NOT_FOUND) => {
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    pub async fn app(&self, app: Digest) -> Result<AppView> {
        self.json(self.request(Method::GET, &format!("/api/apps/{app}"))).await
    }

    /// All certified results of a job, by task.
    pub async fn results(&self, id: JobId) -> Result<Vec<TaskResultView>> {
        let mut results: Vec<TaskResultView> = Vec::new();
        loop {
            let from = results.last().map_or(0, |last| last.task + 1);
            let path = format!("/api/jobs/{id}/results?from={from}");
            let page: Vec<TaskResultView> = self.json(self.request(Method::GET, &path)).await?;
            if page.iter().zip(from..).any(|(result, at_least)| result.task < at_least) {
                bail!("the pool's results are out of order");
            }
            if page.is_empty() {
                return Ok(results);
            }
            results.extend(page);
        }
    }

    /// Puts bytes into the pool; their digest.
    pub async fn upload_bytes(&self, bytes: Vec<u8>) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        self.upload(digest, bytes).await?;
        Ok(digest)
    }

    pub async fn cancel(&self, id: JobId) -> Result<()> {
        self.send(self.request(Method::POST, &format!("/api/jobs/{id}/cancel"))).await.map(drop)
    }

    pub async fn judge(&self, id: JobId, verdict: &VerdictRequest) -> Result<()> {
        self.send(self.request(Method::POST, &format!("/api/jobs/{id}/verdict")).json(verdict)).await.map(drop)
    }

    /// Where a worker wants to be paid, if not at its own address.
    pub async fn payout(&self, worker: WorkerId) -> Result<Option<[u8; 20]>> {
        let payout: Option<Payout> = self.json(self.request(Method::GET, &format!("/api/payouts/{worker}"))).await?;
        Ok(payout.map(|payout| payout.to.into_array()))
    }

    pub async fn set_payout(&self, worker: WorkerId, signed: &SignedPayout) -> Result<()> {
        self.send(self.request(Method::PUT, &format!("/api/payouts/{worker}")).json(signed)).await.map(drop)
    }

    pub async fn tell_vouchers(&self, vouchers: &[VoucherView]) -> Result<()> {
        self.send(self.request(Method::PUT, "/api/vouchers").json(vouchers)).await.map(drop)
    }

    pub async fn vouchers(&self, worker: WorkerId) -> Result<Vec<VoucherView>> {
        self.json(self.request(Method::GET, &format!("/api/vouchers/{worker}"))).await
    }

    pub async fn workers(&self) -> Result<Vec<WorkerView>> {
        self.json(self.request(Method::GET, "/api/workers")).await
    }

    /// Uploads an app's files and its manifest.
    pub async fn publish(&self, manifest: &AppManifest, files: &[(&Digest, Vec<u8>)]) -> Result<Digest> {
        for (digest, bytes) in files {
            self.upload(**digest, bytes.clone()).await?;
        }
        let bytes = manifest.to_json();
        let digest = Digest::of(&bytes);
        self.upload(digest, bytes).await?;
        Ok(digest)
    }

    /// Makes an app known by the name in its manifest.
    pub async fn publish_name(&self, app: Digest) -> Result<AppEntry> {
        self.json(self.request(Method::POST, "/api/apps").json(&PublishRequest { app })).await
    }

    pub async fn apps(&self) -> Result<Vec<AppEntry>> {
        self.json(self.request(Method::GET, "/api/apps")).await
    }

    /// `NAME` or `NAME@VERSION`.
    pub async fn app_named(&self, name: &str) -> Result<AppEntry> {
        // As a part of the path: a slash would make two of it, and no app's name has one.
        let name: String = name.chars().map(|c| if "/?#%".contains(c) || c.is_control() { '_' } else { c }).collect();
        self.json(self.request(Method::GET, &format!("/api/apps/named/{name}"))).await
    }

    /// `approve` or `retire`.
    pub async fn change_app(&self, app: Digest, verb: &str) -> Result<AppEntry> {
        self.json(self.request(Method::POST, &format!("/api/apps/{app}/{verb}"))).await
    }

    /// A small blob, whole and checked.
    pub async fn blob(&self, digest: Digest, size_max: usize) -> Result<Vec<u8>> {
        let response = self.send(self.request(Method::GET, &format!("/api/blobs/{digest}"))).await?;
        let (mut bytes, mut content) = (Box::pin(response.bytes_stream()), Vec::new());
        while let Some(chunk) = bytes.next().await {
            content.extend_from_slice(&chunk.context("the pool's answer broke")?);
            if content.len() > size_max {
                bail!("{digest} is longer than {size_max} bytes");
            }
        }
        if Digest::of(&content) != digest {
            bail!("the pool sent other bytes than those asked for");
        }
        Ok(content)
    }

    /// Puts a file into the pool; its digest.
    pub async fn upload_file(&self, path: &Path) -> Result<Digest> {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut hasher = blake3::Hasher::new();
        let size = io::copy(&mut file, &mut hasher).with_context(|| format!("cannot read {}", path.display()))?;
        io::Seek::rewind(&mut file)?;
        let digest = Digest(*hasher.finalize().as_bytes());
        gristmill_data::upload(&self.http, &self.url(), &self.token, digest, size, file).await?;
        Ok(digest)
    }

    /// Gets a blob into a file, which appears when its bytes are what the digest says.
    pub async fn download(&self, digest: Digest, size: u64, path: &Path) -> Result<()> {
        let folder = path.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let response = self.send(self.request(Method::GET, &format!("/api/blobs/{digest}"))).await?;
        let fresh = path.with_added_extension("part");
        let written = write_checked(response, digest, size, &fresh).await;
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(std::fs::rename(&fresh, path)?)
    }

    pub async fn jobs(&self, limit: u32) -> Result<Vec<JobView>> {
        self.json(self.request(Method::GET, &format!("/api/jobs?limit={limit}"))).await
    }

    pub async fn attempts(&self, job: JobId, task: u64) -> Result<Vec<AttemptView>> {
        self.json(self.request(Method::GET, &format!("/api/jobs/{job}/tasks/{task}"))).await
    }

    /// What the task's running attempts have said so far.
    pub async fn live_log(&self, job: JobId, task: u64) -> Result<Vec<LiveLogView>> {
        self.json(self.request(Method::GET, &format!("/api/jobs/{job}/tasks/{task}/log"))).await
    }

    pub async fn receipt(&self, job: JobId, task: u64, lease: LeaseId) -> Result<ReceiptFile> {
        self.json(self.request(Method::GET, &format!("/api/jobs/{job}/tasks/{task}/receipts/{lease}"))).await
    }

    pub async fn failures(&self, job: JobId) -> Result<Vec<FailureView>> {
        self.json(self.request(Method::GET, &format!("/api/jobs/{job}/failures"))).await
    }

    pub async fn why_job(&self, job: JobId) -> Result<WhyJob> {
        self.json(self.request(Method::GET, &format!("/api/jobs/{job}/why"))).await
    }

    pub async fn why_worker(&self, worker: WorkerId) -> Result<WhyWorker> {
        self.json(self.request(Method::GET, &format!("/api/workers/{worker}/why"))).await
    }

    async fn upload(&self, digest: Digest, bytes: Vec<u8>) -> Result<()> {
        let (http, token) = (&self.http, &self.token);
        if gristmill_data::is_known(http, &self.url(), token, digest, bytes.len() as u64).await {
            return Ok(());
        }
        match self.send(self.request(Method::PUT, &format!("/api/blobs/{digest}")).body(bytes)).await {
            Err(_) if gristmill_data::has(http, &self.url(), token, digest).await => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// Pictures of the pool's jobs: of all live ones first, then of each that changes. Ends when the connection does.
    pub async fn watch_all(&self) -> Result<impl Stream<Item = Result<JobView>> + use<>> {
        Ok(pictures(self.send(self.request(Method::GET, "/api/events")).await?))
    }

    /// Pictures of one job until it has ended.
    pub async fn watch(&self, id: JobId) -> Result<impl Stream<Item = Result<JobView>> + use<>> {
        Ok(pictures(self.send(self.request(Method::GET, &format!("/api/jobs/{id}/events"))).await?))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url())).bearer_auth(&self.token)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = self.send(request).await?;
        answer.json().await.with_context(|| format!("the pool at {} answers in a way we do not know", self.url()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = self.ask(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let ApiError { error, hint } = response.json().await.unwrap_or_else(|_| ApiError {
            error: format!("the pool at {} answers {status}", self.url()),
            hint: String::new(),
        });
        Err(PoolRefusal { status, error, hint }.into())
    }

    /// Asks the scheduler that leads. Where several were given they are asked in turn, for as long as one of them may
    /// need to take over.
    async fn ask(&self, request: RequestBuilder) -> Result<Response> {
        let mut request = request.build()?;
        let started = Instant::now();
        for turn in 1.. {
            let again = request.try_clone();
            let answer = self.http.execute(request).await;
            let told = answer.as_ref().ok().and_then(|answer| answer.headers().get(LEADER_HEADER));
            let told = told.map(|url| url.to_str().unwrap_or_default().to_owned());
            let unreachable = answer.as_ref().is_err_and(reqwest::Error::is_connect);
            let patient = self.given.len() > 1 && started.elapsed() < TAKE_OVER_WAIT;
            let next = match &told {
                Some(leader) if !leader.is_empty() && (turn == 1 || patient) => leader,
                Some(_) if patient => &self.given[turn % self.given.len()],
                None if unreachable && patient => &self.given[turn % self.given.len()],
                _ => return answer.with_context(|| format!("cannot reach the pool at {}", self.url())),
            };
            let Some(again) = again else {
                return answer.with_context(|| format!("cannot reach the pool at {}", self.url()));
            };
            if turn > 1 {
                tokio::time::sleep(TRY_AGAIN).await;
            }
            next.clone_into(&mut self.base.write().unwrap_or_else(PoisonError::into_inner));
            request = again;
            // Another request may have moved on meanwhile, so what it was built with is not known.
            let path = request.url().path().find("/api/").map_or("", |start| &request.url().path()[start..]);
            let query = request.url().query().map(|query| format!("?{query}")).unwrap_or_default();
            *request.url_mut() =
                format!("{next}{path}{query}").parse().context("a scheduler names no address as its leader")?;
        }
        unreachable!("a turn ends the loop")
    }
}

async fn write_checked(response: Response, digest: Digest, size: u64, path: &Path) -> Result<()> {
    let (mut file, mut hasher, mut length) = (File::create(path)?, blake3::Hasher::new(), 0_u64);
    let mut bytes = Box::pin(response.bytes_stream());
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.context("the pool's answer broke")?;
        length += chunk.len() as u64;
        if length > size {
            bail!("the pool sends more than the {size} bytes it promised");
        }
        hasher.update(&chunk);
        file.write_all(&chunk)?;
    }
    if Digest(*hasher.finalize().as_bytes()) != digest {
        bail!("the pool sent other bytes than those asked for");
    }
    Ok(file.sync_all()?)
}

/// The pool's token from its file.
pub fn read_token(file: &Path) -> Result<String> {
    let token = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the pool's token from {}", file.display()))?;
    Ok(token.trim().to_owned())
}

/// The `job` events of a stream after the WHATWG specification of server-sent events.
fn pictures(response: Response) -> impl Stream<Item = Result<JobView>> {
    let bytes = Box::pin(response.bytes_stream());
    stream::try_unfold((bytes, Vec::<u8>::new()), |(mut bytes, mut buffer)| async move {
        loop {
            if let Some(end) = find(&buffer, b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                if let Some(view) = picture(&event)? {
                    return Ok(Some((view, (bytes, buffer))));
                }
                continue;
            }
            match bytes.next().await {
                Some(chunk) => buffer.extend_from_slice(&chunk.context("the pool's event stream broke")?),
                None => return Ok(None),
            }
            if buffer.len() > EVENT_BYTES_MAX {
                bail!("the pool sends an event longer than {EVENT_BYTES_MAX} bytes");
            }
        }
    })
}

fn picture(event: &[u8]) -> Result<Option<JobView>> {
    let event = std::str::from_utf8(event).context("the pool's event stream is not text")?;
    let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    if data.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(data.trim_start()).map(Some).map_err(|error| anyhow!("the pool's event: {error}"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
