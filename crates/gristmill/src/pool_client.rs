//! The pool's HTTP API from outside: what the oracle and the CLI use.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{Stream, StreamExt, stream};
use gristmill_proto::app::AppManifest;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::JobId;
use gristmill_proto::job::JobSpec;
use gristmill_proto::view::{ApiError, AppView, JobView, Submitted, VerdictRequest, WorkerView};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

/// Longest event of a stream: a job's picture with its results.
const EVENT_BYTES_MAX: usize = 64 << 20;

#[derive(Clone)]
pub struct PoolClient {
    http: Client,
    base: String,
    token: String,
}

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
        Self { http: Client::new(), base: base.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    pub fn url(&self) -> &str {
        &self.base
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

    pub async fn cancel(&self, id: JobId) -> Result<()> {
        self.send(self.request(Method::POST, &format!("/api/jobs/{id}/cancel"))).await.map(drop)
    }

    pub async fn judge(&self, id: JobId, verdict: &VerdictRequest) -> Result<()> {
        self.send(self.request(Method::POST, &format!("/api/jobs/{id}/verdict")).json(verdict)).await.map(drop)
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

    async fn upload(&self, digest: Digest, bytes: Vec<u8>) -> Result<()> {
        self.send(self.request(Method::PUT, &format!("/api/blobs/{digest}")).body(bytes)).await.map(drop)
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
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = self.send(request).await?;
        answer.json().await.with_context(|| format!("the pool at {} answers in a way we do not know", self.base))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.with_context(|| format!("cannot reach the pool at {}", self.base))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let ApiError { error, hint } = response.json().await.unwrap_or_else(|_| ApiError {
            error: format!("the pool at {} answers {status}", self.base),
            hint: String::new(),
        });
        Err(PoolRefusal { status, error, hint }.into())
    }
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
