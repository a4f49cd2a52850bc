//! Upload and download of blobs over HTTP.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gristmill_data::StoreError;
use gristmill_proto::digest::Digest;

use super::Api;
use super::api::{Authorized, Refusal, bearer};
use crate::pool::UploadGrant;

/// Longest blob a pool takes.
const BLOB_BYTES_MAX: u64 = 16 << 30;
/// What is read of a blob that is here already.
const KNOWN_BYTES_READ_MAX: u64 = 1 << 20;
const CHUNK_BYTES: u64 = 256 << 10;

/// Who may upload: the holder of the pool's token anything, a worker what its leases allow.
pub(super) enum Uploader {
    Owner,
    Worker(Arc<UploadGrant>),
}

impl FromRequestParts<Arc<Api>> for Uploader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        match bearer(parts).and_then(|token| api.pool.upload_grant(token)) {
            Some(grant) => Ok(Self::Worker(grant)),
            None => Authorized::from_request_parts(parts, api).await.map(|_| Self::Owner),
        }
    }
}

pub(super) async fn upload(
    uploader: Uploader,
    State(api): State<Arc<Api>>,
    Path(digest): Path<Digest>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let size = headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse::<u64>().ok());
    let size = size.ok_or_else(|| {
        Refusal::new(StatusCode::LENGTH_REQUIRED, "a blob's length must be known beforehand", "send Content-Length")
    })?;
    if api.pool.blobs.contains(digest) {
        // A sender that is cut off in the middle takes that for a failure. Larger blobs are asked for beforehand.
        let mut rest = body.into_data_stream();
        while size <= KNOWN_BYTES_READ_MAX && rest.next().await.is_some_and(|chunk| chunk.is_ok()) {}
        return Ok(StatusCode::NO_CONTENT);
    }
    let allowed = match &uploader {
        Uploader::Owner => size <= BLOB_BYTES_MAX,
        Uploader::Worker(grant) => grant.spend(size),
    };
    if !allowed {
        let error = format!("{size} bytes are more than this sender may upload");
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            error,
            "a worker may send as much as its leases allow",
        ));
    }
    let mut incoming = api.pool.blobs.begin(digest, size).map_err(refusal)?;
    incoming.restart().map_err(refusal)?;
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error, "send the blob again"))?;
        incoming.write(&chunk).map_err(refusal)?;
    }
    tokio::task::spawn_blocking(move || incoming.finish())
        .await
        .map_err(|error| Refusal::internal(&error))?
        .map_err(refusal)?;
    Ok(StatusCode::CREATED)
}

fn refusal(error: StoreError) -> Refusal {
    match error {
        StoreError::Missing { .. } => Refusal::new(StatusCode::NOT_FOUND, error, ""),
        StoreError::WrongDigest { .. } | StoreError::TooLong { .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error, "the blob changed on its way: send it again")
        }
        StoreError::Busy { .. } => Refusal::new(StatusCode::CONFLICT, error, "try again in a moment"),
        StoreError::Io { .. } => Refusal::internal(&error),
    }
}

/// The blob's bytes, or from `Range: bytes=N-` on: RFC 9110, section 14, one open range only.
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    Path(digest): Path<Digest>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (mut file, size) = api.pool.blobs.open_blob(digest).map_err(refusal)?;
    let start = headers.get(header::RANGE).and_then(|range| open_range(range.to_str().ok()?));
    if start.is_some_and(|start| start >= size && size > 0) {
        let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
    }
    file.seek(SeekFrom::Start(start.unwrap_or(0))).map_err(|error| Refusal::internal(&error))?;
    let left = size - start.unwrap_or(0);
    let chunks = stream::try_unfold((file, left), |(file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(usize::try_from(left.min(CHUNK_BYTES)).expect("a chunk fits memory"));
            let mut file = file;
            (&mut file).take(CHUNK_BYTES.min(left)).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            Ok((file, chunk))
        });
        let (file, chunk) = read.await.map_err(std::io::Error::other)??;
        let left = left - chunk.len() as u64;
        Ok(Some((Bytes::from(chunk), (file, left))))
    });
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, left)
        // Strangers' bytes must never become a page of this origin.
        .header(header::CONTENT_DISPOSITION, "attachment")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    if let Some(start) = start {
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", size.saturating_sub(1)));
    }
    response.body(Body::from_stream(chunks)).map_err(|error| Refusal::internal(&error))
}

fn open_range(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}
