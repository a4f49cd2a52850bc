//! The worker's connection to its pool, and what it keeps when that breaks: running attempts go on, results wait.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gristmill_proto::PROTOCOL_VERSION;
use gristmill_proto::codec;
use gristmill_proto::id::{LeaseId, WorkerId};
use gristmill_proto::key::{Purpose, WorkerKey};
use gristmill_proto::message::{
    HeldLease, Hello, Lease, MESSAGE_BYTES_MAX, ToPool, ToWorker, WorkerOffer, connect_statement,
};
use gristmill_proto::outcome::Outcome;
use gristmill_proto::receipt::Statement;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::attempts::{Attempts, UploadToken};

/// Progress of one attempt is told at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);
/// A pool that does not answer the handshake in this time is not there.
const GREETING_WAIT: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What happens in this worker.
#[derive(Debug)]
pub(crate) enum Event {
    Progress(LeaseId, u64),
    Finished(LeaseId, Outcome),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("cannot reach the pool: {0}")]
    Unreachable(String),
    #[error("the pool refuses this worker: {0}")]
    Refused(String),
    #[error("the pool speaks protocol {0}, this worker {PROTOCOL_VERSION}: use the same version of gristmill")]
    Protocol(u32),
    #[error("connection lost: {0}")]
    Lost(String),
}

/// A lease this worker has taken and the pool has not yet put on record.
struct Held {
    lease: Arc<Lease>,
    cancel: CancellationToken,
    /// Set when the attempt has ended: what to tell the pool until it has recorded it.
    finished: Option<ToPool>,
    cancelled: bool,
    /// Work units told last, and when.
    told: (u64, tokio::time::Instant),
}

pub(crate) struct Session {
    key: WorkerKey,
    offer: WorkerOffer,
    url: String,
    attempts: Arc<Attempts>,
    held: HashMap<LeaseId, Held>,
    events: mpsc::UnboundedReceiver<Event>,
    events_in: mpsc::UnboundedSender<Event>,
    /// The pool whose leases are held: another pool at the same address must not get their results.
    pool: Option<String>,
    upload_token: UploadToken,
}

impl Session {
    pub(crate) fn new(key: WorkerKey, offer: WorkerOffer, url: String, attempts: Arc<Attempts>) -> Self {
        let (events_in, events) = mpsc::unbounded_channel();
        let held = HashMap::new();
        Self { key, offer, url, attempts, held, events, events_in, pool: None, upload_token: UploadToken::default() }
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.key.id()
    }

    /// One connection, from greeting to loss. Ends well only when told to shut down.
    pub(crate) async fn connected(&mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let (mut socket, alive) = tokio::time::timeout(GREETING_WAIT, self.greet())
            .await
            .map_err(|_| SessionError::Unreachable(format!("{} does not answer", self.url)))??;
        info!(pool = self.pool, worker = %self.key.id(), "connected");
        let unrecorded: Vec<ToPool> = self.held.values().filter_map(|held| held.finished.clone()).collect();
        for message in unrecorded {
            send(&mut socket, &message).await?;
        }
        let mut beat = tokio::time::interval(alive);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = socket.next() => {
                    if let Some(message) = read(message)?
                        && let Some(answer) = self.hear(message)?
                    {
                        send(&mut socket, &answer).await?;
                    }
                }
                Some(event) = self.events.recv() => {
                    if let Some(message) = self.note(event) {
                        send(&mut socket, &message).await?;
                    }
                }
                _ = beat.tick() => {
                    let leases = self.held.keys().copied().collect();
                    send(&mut socket, &ToPool::Alive { leases }).await?;
                }
                () = shutdown.cancelled() => {
                    let _ = socket.close(None).await;
                    return Ok(());
                }
            }
        }
    }

    /// While there is no connection, attempts still end.
    pub(crate) async fn offline(&mut self) {
        while let Some(event) = self.events.recv().await {
            self.note(event);
        }
    }

    /// Ends every attempt and waits until nothing of them is left.
    pub(crate) async fn stop(&mut self) {
        self.held.values().for_each(|held| held.cancel.cancel());
        while self.held.values().any(|held| held.finished.is_none()) {
            match self.events.recv().await {
                Some(event) => drop(self.note(event)),
                None => return,
            }
        }
    }

    async fn greet(&mut self) -> Result<(Socket, Duration), SessionError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (mut socket, _) = connect_async_with_config(&self.url, Some(config), true)
            .await
            .map_err(|error| SessionError::Unreachable(format!("{}: {error}", self.url)))?;
        let (pool, nonce) = match next(&mut socket).await? {
            ToWorker::Challenge { protocol, pool, nonce } if protocol == PROTOCOL_VERSION => (pool, nonce),
            ToWorker::Challenge { protocol, .. } => return Err(SessionError::Protocol(protocol)),
            ToWorker::Refused { reason } => return Err(SessionError::Refused(reason)),
            _ => return Err(SessionError::Lost("the pool does not begin with a challenge".into())),
        };
        if self.pool.as_ref().is_some_and(|known| *known != pool) {
            warn!(former = self.pool, pool, "another pool answers at this address: leases of the former are dropped");
            self.drop_all();
        }
        let signature = self.key.sign(Purpose::Connect, &connect_statement(&pool, &nonce));
        self.pool = Some(pool);
        let running = self
            .held
            .values()
            .filter(|held| !held.cancelled)
            .map(|held| {
                let Lease { lease, task, work, seal, .. } = *held.lease;
                HeldLease { lease, task, work, seal }
            })
            .collect();
        let hello = Hello { protocol: PROTOCOL_VERSION, signature, offer: self.offer.clone(), running };
        send(&mut socket, &ToPool::Hello(hello)).await?;
        match next(&mut socket).await? {
            ToWorker::Welcome { alive_ms, upload_token, drop } => {
                for lease in drop {
                    self.cancel(lease, "the pool no longer wants it");
                }
                *self.upload_token.write().unwrap_or_else(PoisonError::into_inner) = upload_token;
                Ok((socket, Duration::from_millis(alive_ms.max(10))))
            }
            ToWorker::Refused { reason } => Err(SessionError::Refused(reason)),
            _ => Err(SessionError::Lost("the pool does not answer the hello".into())),
        }
    }

    fn hear(&mut self, message: ToWorker) -> Result<Option<ToPool>, SessionError> {
        debug!(?message, "heard");
        match message {
            ToWorker::Lease(lease) => Ok(self.start(*lease)),
            ToWorker::Cancel { lease, reason } => Ok(self.cancel(lease, &reason)),
            ToWorker::Recorded { lease, refused } => {
                if let Some(reason) = refused {
                    warn!(%lease, reason, "result refused");
                }
                self.held.remove(&lease);
                Ok(None)
            }
            ToWorker::Refused { reason } => Err(SessionError::Refused(reason)),
            ToWorker::Challenge { .. } | ToWorker::Welcome { .. } => {
                Err(SessionError::Lost("the pool greets twice".into()))
            }
        }
    }

    fn start(&mut self, lease: Lease) -> Option<ToPool> {
        let id = lease.lease;
        let wanted = self.held.values().filter(|held| held.finished.is_none() && !held.cancelled);
        if wanted.count() >= self.offer.slots as usize {
            return Some(ToPool::Declined { lease: id, reason: "all slots are taken".into() });
        }
        let limits = &lease.job.limits;
        if limits.memory_bytes.saturating_add(limits.disk_bytes) > self.offer.memory_bytes {
            return Some(ToPool::Declined {
                lease: id,
                reason: "this worker has less memory than the job may use".into(),
            });
        }
        info!(lease = %id, task = %lease.task, app = lease.job.app.short(), "attempt starts");
        let lease = Arc::new(lease);
        let cancel = CancellationToken::new();
        let told = (0, tokio::time::Instant::now() - PROGRESS_PAUSE);
        self.held
            .insert(id, Held { lease: lease.clone(), cancel: cancel.clone(), finished: None, cancelled: false, told });
        let (attempts, events, token) = (self.attempts.clone(), self.events_in.clone(), self.upload_token.clone());
        tokio::spawn(async move {
            let outcome = attempts.run(&lease, &token, &events, cancel).await;
            let _ = events.send(Event::Finished(id, outcome));
        });
        None
    }

    /// Stops an attempt. The answer follows when it is gone; at once if it never was here.
    fn cancel(&mut self, lease: LeaseId, reason: &str) -> Option<ToPool> {
        let gone = ToPool::Declined { lease, reason: "cancelled".into() };
        let Some(held) = self.held.get_mut(&lease) else { return Some(gone) };
        if held.finished.is_some() {
            self.held.remove(&lease);
            return Some(gone);
        }
        if !held.cancelled {
            info!(%lease, reason, "attempt cancelled");
            held.cancelled = true;
            held.cancel.cancel();
        }
        None
    }

    fn drop_all(&mut self) {
        let leases: Vec<LeaseId> = self.held.keys().copied().collect();
        for lease in leases {
            self.cancel(lease, "its pool is gone");
        }
    }

    fn note(&mut self, event: Event) -> Option<ToPool> {
        match event {
            Event::Progress(lease, done) => {
                let held = self.held.get_mut(&lease)?;
                let now = tokio::time::Instant::now();
                if held.cancelled || done <= held.told.0 || now - held.told.1 < PROGRESS_PAUSE {
                    return None;
                }
                held.told = (done, now);
                Some(ToPool::Progress { lease, done })
            }
            Event::Finished(lease, outcome) => {
                let held = self.held.get_mut(&lease)?;
                if held.cancelled {
                    self.held.remove(&lease);
                    return Some(ToPool::Declined { lease, reason: "cancelled".into() });
                }
                info!(%lease, exit = %outcome.exit, answer = outcome.answer.is_some(), "attempt ended");
                let pool = self.pool.as_deref().expect("a lease comes from a pool");
                let statement = Statement::new(pool, lease, held.lease.task, &held.lease.job, &outcome);
                let signature = statement.sign(&self.key).signature;
                let message = ToPool::Finished { lease, outcome: Box::new(outcome), signature };
                held.finished = Some(message.clone());
                Some(message)
            }
        }
    }
}

async fn send(socket: &mut Socket, message: &ToPool) -> Result<(), SessionError> {
    socket
        .send(Message::Binary(codec::encode(message).into()))
        .await
        .map_err(|error| SessionError::Lost(error.to_string()))
}

async fn next(socket: &mut Socket) -> Result<ToWorker, SessionError> {
    loop {
        if let Some(message) = read(socket.next().await)? {
            return Ok(message);
        }
    }
}

type Received = Option<Result<Message, tokio_tungstenite::tungstenite::Error>>;

fn read(received: Received) -> Result<Option<ToWorker>, SessionError> {
    let lost = |error: &dyn std::fmt::Display| SessionError::Lost(error.to_string());
    match received {
        Some(Ok(Message::Binary(bytes))) => {
            codec::decode(&bytes, MESSAGE_BYTES_MAX).map(Some).map_err(|error| lost(&error))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Text(_))) => Err(lost(&"the pool sends text")),
        Some(Ok(Message::Close(_))) | None => Err(lost(&"the pool closed the connection")),
        Some(Err(error)) => Err(lost(&error)),
    }
}
