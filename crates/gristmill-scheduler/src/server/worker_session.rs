//! A worker's WebSocket, from challenge to loss.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use gristmill_proto::PROTOCOL_VERSION;
use gristmill_proto::codec;
use gristmill_proto::id::WorkerId;
use gristmill_proto::job::{Search, Trust};
use gristmill_proto::key::{Purpose, Signature};
use gristmill_proto::message::{BATCH_MAX, Finished, Hello, MESSAGE_BYTES_MAX, ToPool, ToWorker, connect_statement};
use gristmill_proto::outcome::{Outcome, OutputFile};
use gristmill_proto::view::Closest;
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::{Api, random_bytes};
use crate::core::{Batch, ConnectError, ConnectionId, Finish, LeaseTerms, Shares};
use crate::pool::{UploadGrant, lock};
use crate::shares::{Question, SHARE_FILE_BYTES_MAX};

/// What each connection keeps for reading; longer messages make room for themselves.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// A worker that connects must have proven its key by then.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// A message that cannot be handed to the network for so long ends the connection.
const SEND_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn connect(
    State(api): State<Arc<Api>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        // Most workers say little most of the time.
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| Box::pin(session(api, socket, address.ip())))
}

async fn session(api: Arc<Api>, mut socket: WebSocket, address: IpAddr) {
    match tokio::time::timeout(HELLO_WAIT, greet(&api.pool_name, &mut socket)).await {
        Ok(Ok((id, hello))) => serve(api, socket, id, hello, address).await,
        Ok(Err(reason)) => refuse(&mut socket, reason).await,
        Err(_) => refuse(&mut socket, format!("no hello within {} s", HELLO_WAIT.as_secs())).await,
    }
}

/// Challenges the worker and learns who it is.
async fn greet(pool: &str, socket: &mut WebSocket) -> Result<(WorkerId, Hello), String> {
    let nonce = random_bytes().to_vec();
    let challenge = ToWorker::Challenge { protocol: PROTOCOL_VERSION, pool: pool.to_owned(), nonce: nonce.clone() };
    send(socket, &challenge).await?;
    let hello = match receive(socket).await? {
        Some(ToPool::Hello(hello)) => hello,
        _ => return Err("the first message must be a hello".to_owned()),
    };
    if hello.protocol != PROTOCOL_VERSION {
        return Err(format!(
            "this pool speaks protocol {PROTOCOL_VERSION}, the worker {}: use the same version of gristmill",
            hello.protocol
        ));
    }
    let statement = connect_statement(pool, &nonce);
    let id = hello.signature.signer(Purpose::Connect, &statement).ok_or("the hello is not signed")?;
    Ok((id, hello))
}

async fn serve(api: Arc<Api>, mut socket: WebSocket, id: WorkerId, hello: Hello, address: IpAddr) {
    let token = hex::encode(random_bytes());
    let (connection, mut outbox, upload) = api.pool.add_connection(token);
    let (connected, durable) = api.pool.act(|core, now, effects| {
        let drop = core.connect(id, connection, hello.offer.clone(), &hello.running, now, effects)?;
        if let Some(host) = api.apart.host_at(address) {
            core.seen_at(id, host);
        }
        // Leases given from here on bring their own allowance.
        upload.grant(core.output_allowed(id));
        Ok::<_, ConnectError>(drop)
    });
    let drop = match (connected, durable.await) {
        (Ok(drop), Ok(())) => drop,
        (Err(error), _) => {
            api.pool.remove_connection(connection);
            return refuse(&mut socket, error.to_string()).await;
        }
        (_, Err(_)) => return,
    };
    info!(worker = %id, name = hello.offer.name, slots = hello.offer.slots, "worker connected");
    let alive_ms = api.pool.look(|core, _| core.tuning().alive_ms);
    // Not through the outbox, where something may wait already: nothing goes before the greeting.
    let welcome = ToWorker::Welcome { alive_ms, upload_token: upload.token.clone(), drop };
    let reason = match send(&mut socket, &welcome).await {
        Ok(()) => {
            api.pool.act(|core, now, effects| core.greeted(id, now, effects));
            talk(&api, &mut socket, &mut outbox, id, connection, &upload).await
        }
        Err(reason) => reason,
    };
    api.pool.remove_connection(connection);
    api.pool.act(|core, now, _| core.disconnect(id, connection, now));
    info!(worker = %id, reason, "worker disconnected");
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(None))).await;
}

/// Until one side has enough; returns why.
async fn talk(
    api: &Arc<Api>,
    socket: &mut WebSocket,
    outbox: &mut mpsc::Receiver<ToWorker>,
    id: WorkerId,
    connection: ConnectionId,
    upload: &UploadGrant,
) -> String {
    loop {
        tokio::select! {
            message = receive(socket) => match message {
                Ok(Some(message)) => match hear(api, id, connection, message).await {
                    ControlFlow::Continue(()) => upload.shrink(|| api.pool.look(|core, _| core.output_allowed(id))),
                    ControlFlow::Break(reason) => {
                        let _ = send(socket, &ToWorker::Refused { reason: reason.clone() }).await;
                        return reason;
                    }
                },
                Ok(None) => return "the worker closed the connection".to_owned(),
                Err(reason) => {
                    let _ = send(socket, &ToWorker::Refused { reason: reason.clone() }).await;
                    return reason;
                }
            },
            message = outbox.recv() => {
                let Some(message) = message else { return "the worker reads too slowly".to_owned() };
                if let Err(reason) = send(socket, &message).await {
                    return reason;
                }
                if let ToWorker::Refused { reason } = message {
                    return reason;
                }
            }
            () = api.shutdown.cancelled() => return "the pool stops".to_owned(),
        }
    }
}

async fn hear(api: &Arc<Api>, id: WorkerId, connection: ConnectionId, message: ToPool) -> ControlFlow<String> {
    debug!(worker = %id, ?message, "heard");
    let pool = &api.pool;
    match message {
        ToPool::Hello(_) => return ControlFlow::Break("a second hello".to_owned()),
        ToPool::Alive { leases } => {
            pool.act(|core, now, effects| core.alive(id, connection, &leases, now, effects));
        }
        ToPool::Progress { lease, done } => {
            pool.act(|core, now, effects| core.progress(id, connection, lease, done, now, effects));
        }
        ToPool::Said { lease, stream, bytes } => {
            // Of a lease that is over nobody wants to hear, and of a vote nobody may before it is settled.
            let terms = pool.look(|core, _| core.lease(id, lease));
            if let Some(terms) = terms.filter(|terms| !matches!(terms.spec.trust, Trust::Replicate(_))) {
                lock(&pool.live_logs).add(id, lease, terms.task, stream, &bytes);
            }
        }
        ToPool::Committed { votes } => {
            if !(1..=BATCH_MAX).contains(&votes.len()) {
                return ControlFlow::Break(format!(
                    "{} votes at once: between 1 and {BATCH_MAX} are allowed",
                    votes.len()
                ));
            }
            pool.act(|core, now, effects| core.committed(id, connection, &votes, now, effects));
        }
        ToPool::Declined { lease, reason } => {
            pool.act(|core, now, effects| core.declined(id, connection, lease, &reason, now, effects));
        }
        ToPool::Finished { results, signature } => {
            let batch = match checked(api, id, results, signature).await {
                Ok(batch) => batch,
                Err(reason) => return ControlFlow::Break(reason),
            };
            {
                let mut logs = lock(&pool.live_logs);
                batch.finishes.iter().for_each(|finish| logs.remove(finish.lease));
            }
            pool.act(|core, now, effects| core.finished(id, connection, batch, now, effects));
        }
        ToPool::Returned { leases } => {
            pool.act(|core, now, effects| core.returned(id, connection, &leases, now, effects));
        }
    }
    ControlFlow::Continue(())
}

/// Decodes what a worker says of attempts that have ended, and checks what the core cannot: the signature, outputs and
/// shares. Errs only if it is no batch at all.
async fn checked(api: &Arc<Api>, id: WorkerId, results: Vec<Finished>, signature: Signature) -> Result<Batch, String> {
    if !(1..=BATCH_MAX).contains(&results.len()) {
        return Err(format!("{} results at once: between 1 and {BATCH_MAX} are allowed", results.len()));
    }
    let terms: Vec<Option<LeaseTerms>> =
        api.pool.look(|core, _| results.iter().map(|result| core.lease(id, result.lease)).collect());
    let leaves = results.iter().map(|result| result.leaf).collect();
    let mut batch = Batch { finishes: Vec::with_capacity(results.len()), leaves, signature };
    let signed = batch.is_signed_by(id);
    for (Finished { lease, outcome: encoded, leaf, salt }, terms) in results.into_iter().zip(terms) {
        let outcome: Box<Outcome> =
            Box::new(codec::decode(&encoded, MESSAGE_BYTES_MAX).map_err(|error| error.to_string())?);
        let matches = |terms: &LeaseTerms| terms.statement(&api.pool_name, lease, &encoded).leaf() == leaf;
        let checked = match &terms {
            Some(terms) if !signed || !matches(terms) => Err("the receipt is not signed by this worker".to_owned()),
            Some(terms) => looked_at(api, id, terms, &outcome).await,
            // Nor is it when it is given meanwhile: nobody ends what he was not given yet.
            None => Err("this lease is not in force".to_owned()),
        };
        let (flaw, (shares, closest)) = match checked {
            Ok(counted) => (None, counted),
            Err(flaw) => (Some(flaw), (0, None)),
        };
        batch.finishes.push(Finish { lease, outcome, encoded, flaw, salt, shares, closest });
    }
    Ok(batch)
}

/// The outputs' bytes must be here, and the shares good: their number and the best of them, or what is wrong.
async fn looked_at(
    api: &Arc<Api>,
    id: WorkerId,
    terms: &LeaseTerms,
    outcome: &Outcome,
) -> Result<(u64, Option<Closest>), String> {
    // An outcome beyond its limits is refused for that, a failed one counts as such.
    if outcome.check().is_err() || !outcome.succeeded() {
        return Ok((0, None));
    }
    let searched = terms.spec.search.as_ref().is_some_and(|search| search.shares.is_some());
    if outcome.files.is_empty() && !searched {
        return Ok((0, None));
    }
    let (api, files, whole) = (api.clone(), outcome.files.clone(), outcome.answer.is_none());
    let terms = terms.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let missing =
            |file: &&OutputFile| api.pool.blobs.open_blob(file.digest).map_or(true, |(_, size)| size != file.size);
        if let Some(file) = files.iter().find(missing) {
            return Err(format!("output {} was not uploaded", file.path));
        }
        match &terms.spec.search {
            Some(search) if searched => count_shares(&api, id, search, terms.task.index, terms.work, &files, whole),
            _ => Ok((0, None)),
        }
    });
    looked.await.unwrap_or_else(|_| Err("the outputs could not be looked at".to_owned()))
}

fn count_shares(
    api: &Api,
    worker: WorkerId,
    search: &Search,
    task: u64,
    work: u64,
    files: &[OutputFile],
    whole: bool,
) -> Result<(u64, Option<Closest>), String> {
    let terms = search.shares.as_ref().expect("the caller asks for shares");
    let checker = api.pool.share_checkers.get(&terms.checker);
    let checker = checker.ok_or_else(|| format!("nobody here can check shares of `{}`", terms.checker))?;
    let shares = match files.iter().find(|file| file.path == terms.file) {
        // An easy search finds more on the way than anyone wants to read.
        Some(file) if !whole && file.size > SHARE_FILE_BYTES_MAX => return Ok((0, None)),
        Some(file) => api.pool.blobs.read(file.digest, SHARE_FILE_BYTES_MAX).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    let task_work = search.task_work;
    let question = Question { terms, task_work, task, work, worker, shares: &shares, whole, seed: random_bytes() };
    let (found, closest) = checker.count(&question)?;
    if whole {
        let before = api.pool.look(|core, _| core.standing(worker));
        let sum = before.plus(Shares { found, expected: search.shares_expected(work) });
        if checker.is_too_few(sum.found, sum.expected) {
            let Shares { found, expected } = sum;
            return Err(format!("over all its tasks this worker has shown {found} shares of {expected} expected"));
        }
    }
    Ok((found, closest))
}

/// The next message; nothing when the worker closed the connection.
async fn receive(socket: &mut WebSocket) -> Result<Option<ToPool>, String> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Binary(bytes))) => {
                return codec::decode(&bytes, MESSAGE_BYTES_MAX).map(Some).map_err(|error| error.to_string());
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_))) => return Err("messages are binary".to_owned()),
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Err(error)) => return Err(error.to_string()),
        }
    }
}

async fn send(socket: &mut WebSocket, message: &ToWorker) -> Result<(), String> {
    let bytes = codec::encode(message);
    match tokio::time::timeout(SEND_WAIT, socket.send(Message::Binary(bytes.into()))).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("the worker reads too slowly".to_owned()),
    }
}

async fn refuse(socket: &mut WebSocket, reason: String) {
    info!(reason, "worker refused");
    let _ = send(socket, &ToWorker::Refused { reason }).await;
}
