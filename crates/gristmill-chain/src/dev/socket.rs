//! One WebSocket connection: requests as over HTTP, and subscriptions.

use std::{collections::BTreeMap, sync::Arc};

use alloy::rpc::types::Filter;
use axum::extract::ws::{Message, WebSocket};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    branch::{arrivals, branch},
    chain::Chain,
    rpc::{Api, Params, Request, RpcError, failure, logs_between, success, view},
};

/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX: usize = 64;

enum Subscription {
    NewHeads,
    Logs(Box<Filter>),
    /// Whole transactions, or only their hashes.
    Transactions {
        full: bool,
    },
}

#[derive(Default)]
struct Subscriptions {
    open: BTreeMap<u64, Subscription>,
    next: u64,
}

/// Serves the connection until the client leaves or `shutdown`. Whoever reads slowly skips versions of the chain instead
/// of piling them up here: what is sent is the step from the last version that was.
pub(crate) async fn run(mut socket: WebSocket, api: &Api, shutdown: CancellationToken) {
    let mut chains = api.node().watch();
    let mut told = chains.borrow_and_update().clone();
    let mut subscriptions = Subscriptions::default();
    loop {
        let outgoing = tokio::select! {
            () = shutdown.cancelled() => break,
            changed = chains.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = chains.borrow_and_update().clone();
                let old = std::mem::replace(&mut told, now);
                subscriptions.notifications(&old, &told)
            }
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Text(text))) => answer(api, &mut subscriptions, text.as_bytes()).await,
                Some(Ok(Message::Binary(bytes))) => answer(api, &mut subscriptions, &bytes).await,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        };
        for text in outgoing {
            if socket.send(Message::Text(text.into())).await.is_err() {
                return;
            }
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}

/// Subscriptions are made by single requests; in a batch, as over HTTP, there is no such method.
async fn answer(api: &Api, subscriptions: &mut Subscriptions, body: &[u8]) -> Vec<String> {
    let single = serde_json::from_slice(body).ok().and_then(|request| Request::parse(request).ok());
    let Some(Request { id: Some(id), method, params }) = single else {
        return api.answer(body).await.into_iter().collect();
    };
    let result = match method.as_str() {
        "eth_subscribe" => subscriptions.open(Params::new(params)),
        "eth_unsubscribe" => subscriptions.close(Params::new(params)),
        _ => return api.answer(body).await.into_iter().collect(),
    };
    vec![result.map_or_else(|error| failure(&id, &error), |result| success(&id, &result))]
}

impl Subscriptions {
    fn open(&mut self, mut params: Params) -> Result<Value, RpcError> {
        if self.open.len() >= SUBSCRIPTIONS_MAX {
            return Err(RpcError::limit(format!("at most {SUBSCRIPTIONS_MAX} subscriptions on one connection")));
        }
        let subscription = match params.next::<String>()?.as_str() {
            "newHeads" => Subscription::NewHeads,
            "logs" => Subscription::Logs(params.optional()?.unwrap_or_default()),
            "newPendingTransactions" => Subscription::Transactions { full: params.optional()?.unwrap_or_default() },
            other => return Err(RpcError::invalid_params(format!("no \"{other}\" subscription in eth namespace"))),
        };
        self.next += 1;
        self.open.insert(self.next, subscription);
        Ok(id_text(self.next))
    }

    fn close(&mut self, mut params: Params) -> Result<Value, RpcError> {
        let id = params.number()?;
        Ok(Value::Bool(self.open.remove(&id).is_some()))
    }

    fn notifications(&self, old: &Arc<Chain>, new: &Arc<Chain>) -> Vec<String> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let step = branch(old, new);
        let mut texts = Vec::new();
        for (id, subscription) in &self.open {
            match subscription {
                Subscription::NewHeads => {
                    texts.extend(step.added.iter().map(|block| notification(*id, &view::header(block))));
                }
                Subscription::Logs(filter) => {
                    texts.extend(logs_between(&step, filter).map(|log| notification(*id, &log)));
                }
                Subscription::Transactions { full: true } => {
                    let fresh = arrivals(old, new, &step);
                    texts.extend(fresh.iter().map(|tx| notification(*id, &view::waiting_transaction(tx))));
                }
                Subscription::Transactions { full: false } => {
                    texts.extend(arrivals(old, new, &step).iter().map(|tx| notification(*id, &tx.hash)));
                }
            }
        }
        texts
    }
}

fn notification(id: u64, result: &impl Serialize) -> String {
    let params = json!({ "subscription": id_text(id), "result": result });
    json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": params }).to_string()
}

fn id_text(id: u64) -> Value {
    Value::String(format!("{id:#x}"))
}
