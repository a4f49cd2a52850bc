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

/// Whether the blob need not be sent, because it is long and `{base}` has it.
pub async fn is_known(client: &Client, base: &str, token: &str, digest: Digest, size: u64) -> bool {
    size >= ASKED_BYTES_MIN && has(client, base, token, digest).await
}

/// Whether `{base}` has the blob. A receiver that has it may hang up on whoever sends it: ask after a broken upload.
pub async fn has(client: &Client, base: &str, token: &str, digest: Digest) -> bool {
    let answer = client.head(blob_url(base, digest)).bearer_auth(token).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

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
    if is_known(client, base, token, digest, size).await {
        return Ok(());
    }
    let file = tokio::fs::File::from_std(file);
    let sent = client.put(&url).bearer_auth(token).header(header::CONTENT_LENGTH, size).body(file).send().await;
    match sent.map(|response| response.status()) {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(TransferError::Status { digest, url, status }),
        Err(_) if has(client, base, token, digest).await => Ok(()),
        Err(source) => Err(TransferError::Unreachable { digest, url, source }),
    }
}

fn blob_url(base: &str, digest: Digest) -> String {
    format!("{}/api/blobs/{digest}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn answer(mut stream: TcpStream, status: &str) -> String {
        let mut head = [0; 1 << 10];
        let read = stream.read(&mut head).unwrap();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..read]).split(' ').next().unwrap().to_owned()
    }

    /// Another brings the same blob while this one is on its way: the receiver hangs up, and has it.
    #[tokio::test]
    async fn a_receiver_that_hangs_up_because_it_has_the_blob_is_no_failure() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (at_last, is_fine) in [("204 No Content", true), ("404 Not Found", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let pool = std::thread::spawn(move || {
                let asked = answer(listener.accept().unwrap().0, "404 Not Found");
                // Closed with the body unread: the sender's connection is reset.
                drop(listener.accept().unwrap());
                (asked, answer(listener.accept().unwrap().0, at_last))
            });
            let bytes = vec![7; 4 << 20];
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            file.rewind().unwrap();
            let sent = upload(&Client::new(), &base, "token", Digest::of(&bytes), bytes.len() as u64, file).await;
            assert_eq!(sent.is_ok(), is_fine, "{sent:?}");
            assert_eq!(pool.join().unwrap(), ("HEAD".to_owned(), "HEAD".to_owned()));
        }
    }
}
