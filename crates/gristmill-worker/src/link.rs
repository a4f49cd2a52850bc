//! A worker's end of the connection to its pool.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gristmill_proto::codec;
use gristmill_proto::id::LeaseId;
use gristmill_proto::key::{Purpose, WorkerKey};
use gristmill_proto::message::{HeldLease, Hello, MESSAGE_BYTES_MAX, ToPool, ToWorker, WorkerOffer, connect_statement};
use gristmill_proto::{LEADER_HEADER, PROTOCOL_VERSION};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const READ_BUFFER_BYTES: usize = 4 << 10;
/// A pool that does not answer in this time is not there.
const GREETING_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot reach the pool: {0}")]
    Unreachable(String),
    #[error("the pool refuses this worker: {0}")]
    Refused(String),
    #[error("the pool speaks protocol {0}, this worker {PROTOCOL_VERSION}: use the same version of gristmill")]
    Protocol(u32),
    #[error("the scheduler at {url} stands by{}", leader.as_ref().map(|url| format!(": {url} leads")).unwrap_or_default())]
    StandsBy { url: String, leader: Option<String> },
    #[error("connection lost: {0}")]
    Lost(String),
}

/// A connection on which the pool has said who it is.
pub struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pool: String,
    nonce: Vec<u8>,
}

/// What the pool says to a worker it takes in.
#[derive(Debug)]
pub struct Welcome {
    /// Say that you are alive this often.
    pub alive: Duration,
    pub upload_token: String,
    /// Held leases that the pool does not want.
    pub drop: Vec<LeaseId>,
}

impl Link {
    /// Connects to `ws://…/api/worker` or `wss://…`.
    pub async fn open(url: &str) -> Result<Self, LinkError> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opened = tokio::time::timeout(GREETING_WAIT, async {
            let (socket, _) = connect_async_with_config(url, Some(config), true).await.map_err(|error| {
                stands_by(url, &error).unwrap_or_else(|| LinkError::Unreachable(format!("{url}: {error}")))
            })?;
            let mut link = Self { socket, pool: String::new(), nonce: Vec::new() };
            match link.hear().await? {
                ToWorker::Challenge { protocol, pool, nonce } if protocol == PROTOCOL_VERSION => {
                    (link.pool, link.nonce) = (pool, nonce);
                    Ok(link)
                }
                ToWorker::Challenge { protocol, .. } => Err(LinkError::Protocol(protocol)),
                ToWorker::Refused { reason } => Err(LinkError::Refused(reason)),
                _ => Err(LinkError::Lost("the pool does not begin with a challenge".into())),
            }
        });
        opened.await.map_err(|_| LinkError::Unreachable(format!("{url} does not answer")))?
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// Proves the worker's key and says what it has.
    pub async fn greet(
        &mut self,
        key: &WorkerKey,
        offer: WorkerOffer,
        running: Vec<HeldLease>,
    ) -> Result<Welcome, LinkError> {
        let signature = key.sign(Purpose::Connect, &connect_statement(&self.pool, &self.nonce));
        self.say(&ToPool::Hello(Hello { protocol: PROTOCOL_VERSION, signature, offer, running })).await?;
        let answer = tokio::time::timeout(GREETING_WAIT, self.hear()).await;
        match answer.map_err(|_| LinkError::Lost("the pool does not answer the hello".into()))?? {
            ToWorker::Welcome { alive_ms, upload_token, drop } => {
                Ok(Welcome { alive: Duration::from_millis(alive_ms.max(10)), upload_token, drop })
            }
            ToWorker::Refused { reason } => Err(LinkError::Refused(reason)),
            _ => Err(LinkError::Lost("the pool does not answer the hello".into())),
        }
    }

    pub async fn say(&mut self, message: &ToPool) -> Result<(), LinkError> {
        let sent = self.socket.send(Message::Binary(codec::encode(message).into())).await;
        sent.map_err(|error| LinkError::Lost(error.to_string()))
    }

    /// The next message. Nothing is lost if this is dropped before it is ready.
    pub async fn hear(&mut self) -> Result<ToWorker, LinkError> {
        let lost = |error: &dyn std::fmt::Display| LinkError::Lost(error.to_string());
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    return codec::decode(&bytes, MESSAGE_BYTES_MAX).map_err(|error| lost(&error));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => return Err(lost(&"the pool sends text")),
                Some(Ok(Message::Close(_))) | None => return Err(lost(&"the pool closed the connection")),
                Some(Err(error)) => return Err(lost(&error)),
            }
        }
    }

    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

/// Whether this is what a scheduler says that stands by.
fn stands_by(url: &str, error: &tungstenite::Error) -> Option<LinkError> {
    let tungstenite::Error::Http(response) = error else { return None };
    let leader = response.headers().get(LEADER_HEADER)?.to_str().ok()?;
    let leader = (!leader.is_empty()).then(|| leader.to_owned());
    Some(LinkError::StandsBy { url: url.to_owned(), leader })
}

/// Where a pool takes workers in.
pub fn worker_url(pool_url: &str) -> Option<String> {
    let rest = pool_url
        .trim_end_matches('/')
        .strip_prefix("http")
        .filter(|rest| rest.starts_with("://") || rest.starts_with("s://"))?;
    Some(format!("ws{rest}/api/worker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_connect_at_the_pools_origin() {
        assert_eq!(worker_url("http://127.0.0.1:7117").unwrap(), "ws://127.0.0.1:7117/api/worker");
        assert_eq!(worker_url("https://pool.example/").unwrap(), "wss://pool.example/api/worker");
        assert_eq!(worker_url("ftp://pool.example"), None);
        assert_eq!(worker_url("httpx://pool.example"), None);
    }
}
