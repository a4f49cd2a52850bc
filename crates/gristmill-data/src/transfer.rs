use std::fs::File;

use futures_util::StreamExt;
use gristmill_proto::digest::Digest;
use reqwest::{Client, StatusCode, header};

use crate::store::{BlobStore, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("blob {digest}: {url} cannot be reached")]
    Unreachable { digest: Digest, url: String, source: reqwest::Error },
    #[error("blob {digest}: {url} answered {status}")]
    Status { digest: Digest, url: String, status: StatusCode },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransferError {
    /// Whether it may go well another time: the other side is away, stopping or busy, rather than of another opinion.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => {
                let busy =
                    [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS].contains(status);
                status.is_server_error() || busy
            }
            // Enough others bring the same blob here already.
            Self::Store(error) => matches!(error, StoreError::Busy { .. }),
        }
    }
}

/// Brings a blob into the store from `{base}/api/blobs/{digest}`, unless it is there.
pub async fn fetch(
    client: &Client,
    base: &str,
    store: &BlobStore,
    digest: Digest,
    size_max: u64,
) -> Result<(), TransferError> {
    if store.contains(digest) {
        return Ok(());
    }
    let url = blob_url(base, digest);
    let unreachable = |source| TransferError::Unreachable { digest, url: url.clone(), source };
    let mut incoming = store.begin(digest, size_max)?;
    let mut request = client.get(&url);
    if incoming.size() > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", incoming.size()));
    }
    let response = request.send().await.map_err(unreachable)?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::OK => incoming.restart()?,
        // What we have is already the whole blob, or garbage: `finish` tells which.
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(incoming.finish()?),
        status => return Err(TransferError::Status { digest, url, status }),
    }
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        incoming.write(&chunk.map_err(unreachable)?)?;
    }
    Ok(incoming.finish()?)
}

/// A larger blob is asked for before it is sent: it may be there.
const ASKED_BYTES_MIN: u64 = 64 << 10;

/// Sends `size` bytes of a file as the blob `digest` to `{base}/api/blobs/{digest}`.
pub async fn upload(
    client: &Client,
    base: &str,
    token: &str,
    digest: Digest,
    size: u64,
    file: File,
) -> Result<(), TransferError> {
    let url = blob_url(base, digest);
    if size >= ASKED_BYTES_MIN {
        let known = client.head(&url).bearer_auth(token).send().await;
        if known.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
    }
    let response = client
        .put(&url)
        .bearer_auth(token)
        .header(header::CONTENT_LENGTH, size)
        .body(tokio::fs::File::from_std(file))
        .send()
        .await
        .map_err(|source| TransferError::Unreachable { digest, url: url.clone(), source })?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(TransferError::Status { digest, url, status }),
    }
}

fn blob_url(base: &str, digest: Digest) -> String {
    format!("{}/api/blobs/{digest}", base.trim_end_matches('/'))
}
