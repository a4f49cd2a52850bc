//! What iExec's tools ask a pool for over HTTP: its order book, and results by the addresses that are on chain.
//!
//! The paths and shapes are those of iExec's market. An order comes in only if the chain says that its owner signed it and
//! that something is left of it; when the hub tells of a deal or a closing, the orders concerned are asked about again.

mod book;
mod login;
mod order;
mod store;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::{Eip712Domain, SolEvent};
use anyhow::{Context, Result};
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query as UrlQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use gristmill_chain::contracts::{PocoHub, WorkerpoolRegistry};
use gristmill_chain::follow::{FollowConfig, Follower, Step};
use gristmill_chain::rpc::Rpc;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use book::{Book, Published, Query};
use login::Login;
use order::{Kind, Order, domain};
use store::Store;

use super::{Hub, content};
use crate::clock;

/// An order with params at the hub's limit.
const REQUEST_BYTES_MAX: usize = 32 << 10;
/// All orders are asked about again so often: their assets may have been sold.
const REVIEW_PAUSE: Duration = Duration::from_secs(600);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const QUESTIONS_AT_ONCE: usize = 16;

pub struct Gateway {
    hub: Hub,
    domain: Eip712Domain,
    rpc: Rpc,
    login: Login,
    local_chain: bool,
    shelf: Mutex<Shelf>,
}

/// The orders and the disk behind them.
struct Shelf {
    book: Book,
    store: Store,
}

/// What the chain says about an order.
enum Standing {
    Good { signer: Address, remaining: U256 },
    Bad(String),
}

struct Refusal(StatusCode, String);

impl Refusal {
    #[expect(clippy::needless_pass_by_value, reason = "errors are given away here, at the end of their life")]
    fn new(status: StatusCode, error: impl ToString) -> Self {
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "ok": false, "error": self.1 }))).into_response()
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        warn!(error = format!("{error:#}"), "the order book could not answer");
        Self::new(StatusCode::BAD_GATEWAY, "the pool cannot ask the chain now; try again in a moment")
    }
}

impl Gateway {
    /// `seed` is anything that only this pool knows.
    pub fn open(folder: &Path, hub: Hub, rpc_url: &str, seed: &str) -> Result<Arc<Self>> {
        let store = Store::open(&folder.join("orders.sqlite"))?;
        let domain = domain(&hub);
        let book = Book::restore(store.orders(hub.hub, &domain)?);
        Ok(Arc::new(Self {
            domain,
            rpc: Rpc::connect(rpc_url)?,
            login: Login::new(seed, hub.chain_id),
            local_chain: hub.chain_id == gristmill_chain::dev::CHAIN_ID,
            shelf: Mutex::new(Shelf { book, store }),
            hub,
        }))
    }

    pub fn routes(self: &Arc<Self>) -> Router {
        let mut router = Router::new().route("/challenge", get(challenge)).route("/ipfs/{cid}", get(result));
        for kind in Kind::ALL {
            let path = format!("/{}", kind.path());
            let list = move |state, query, filter| list(kind, state, query, filter);
            let publish = move |state, query, headers, body| publish(kind, state, query, headers, body);
            let unpublish = move |state, query, headers, body| unpublish(kind, state, query, headers, body);
            let show = move |state, query, hash| show(kind, state, query, hash);
            router = router.route(&path, get(list).post(publish).put(unpublish));
            router = router.route(&format!("{path}/{{hash}}"), get(show));
        }
        router.layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state(self.clone())
    }

    /// Keeps what is left of the orders up to date.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) -> Result<()> {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = self.follow() => ended,
            () = self.review_all() => Ok(()),
        }
    }

    async fn follow(&self) -> Result<()> {
        // Only what is left now matters, not how it came to be.
        let head = loop {
            match self.rpc.head().await {
                Ok(head) => break head.number,
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        };
        let topics = [
            PocoHub::OrdersMatched::SIGNATURE_HASH,
            PocoHub::ClosedAppOrder::SIGNATURE_HASH,
            PocoHub::ClosedDatasetOrder::SIGNATURE_HASH,
            PocoHub::ClosedWorkerpoolOrder::SIGNATURE_HASH,
            PocoHub::ClosedRequestOrder::SIGNATURE_HASH,
        ];
        let filter = Filter::new().address(self.hub.hub).event_signature(topics.to_vec());
        let config = FollowConfig::new(filter).start(head);
        let mut follower = Follower::new(self.rpc.clone(), if self.local_chain { config.local() } else { config });
        loop {
            let touched: Vec<B256> = match follower.next().await? {
                Step::Rewind { .. } => self.shelf().book.hashes(),
                Step::Advance(advance) => {
                    let touched: BTreeSet<B256> = advance.logs.iter().flat_map(orders_of).collect();
                    let shelf = self.shelf();
                    touched.into_iter().filter(|hash| shelf.book.order(hash).is_some()).collect()
                }
            };
            self.review(touched).await;
        }
    }

    async fn review_all(&self) {
        loop {
            let all = self.shelf().book.hashes();
            self.review(all).await;
            tokio::time::sleep(REVIEW_PAUSE).await;
        }
    }

    /// Asks the chain about orders again. One that is used up, closed or no longer its owner's leaves the book.
    async fn review(&self, hashes: Vec<B256>) {
        let reviews = hashes.into_iter().map(|hash| self.review_one(hash));
        stream::iter(reviews).buffer_unordered(QUESTIONS_AT_ONCE).collect::<()>().await;
    }

    async fn review_one(&self, hash: B256) {
        let Some(order) = self.shelf().book.order(&hash).cloned() else { return };
        let outcome = match self.standing(&order).await {
            Ok(Standing::Good { remaining, .. }) => {
                self.shelf().book.set_remaining(&hash, remaining);
                Ok(())
            }
            Ok(Standing::Bad(reason)) => {
                info!(order = %hash, reason, "order leaves the book");
                self.shelf().remove(&hash)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            warn!(order = %hash, error = format!("{error:#}"), "an order could not be looked at again");
        }
    }

    async fn standing(&self, order: &Order) -> Result<Standing> {
        let provider = self.rpc.provider();
        let hub = PocoHub::new(self.hub.hub, provider);
        let signer = match order.kind {
            Kind::Request => order.terms.requester,
            kind => {
                // The three registries answer the same questions.
                let registry = WorkerpoolRegistry::new(self.registry(kind), provider);
                if !registry.isRegistered(order.subject()).call().await.context("the registry does not answer")? {
                    return Ok(Standing::Bad(format!("{} is not registered", order.subject())));
                }
                let token_id = U256::from_be_bytes(order.subject().into_word().0);
                registry.ownerOf(token_id).call().await.context("the registry does not answer")?
            }
        };
        let signed = hub.verifyPresignatureOrSignature(signer, order.hash, order.sign.clone());
        if !signed.call().await.context("the hub does not answer")? {
            return Ok(Standing::Bad(format!("the order is not signed by {signer}")));
        }
        let consumed = hub.viewConsumed(order.hash).call().await.context("the hub does not answer")?;
        match order.terms.volume.saturating_sub(consumed) {
            U256::ZERO => Ok(Standing::Bad("the order is used up or closed".to_owned())),
            remaining => Ok(Standing::Good { signer, remaining }),
        }
    }

    fn registry(&self, kind: Kind) -> Address {
        match kind {
            Kind::App => self.hub.appregistry,
            Kind::Dataset => self.hub.datasetregistry,
            Kind::Workerpool | Kind::Request => self.hub.workerpoolregistry,
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_chain(&self, query: &ChainId) -> Result<(), Refusal> {
        if query.chain_id == self.hub.chain_id {
            return Ok(());
        }
        let error = format!("this order book is of chain {}, not of {}", self.hub.chain_id, query.chain_id);
        Err(Refusal::new(StatusCode::BAD_REQUEST, error))
    }

    fn account(&self, headers: &HeaderMap) -> Result<Address, Refusal> {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok());
        let account = self.login.account(header, clock::now().0 / 1_000);
        account.map_err(|error| Refusal::new(StatusCode::UNAUTHORIZED, error))
    }

    fn view(&self, published: &Published) -> Value {
        json!({
            "orderHash": published.order.hash,
            "order": published.order.json,
            "chainId": self.hub.chain_id,
            "status": "open",
            "remaining": u64::try_from(published.remaining).unwrap_or(u64::MAX),
            "signer": published.signer,
            "publicationTimestamp": published.at,
        })
    }
}

impl Shelf {
    /// From the book last: what cannot be made durable has not happened.
    fn remove(&mut self, hash: &B256) -> Result<()> {
        self.store.remove(hash)?;
        self.book.remove(hash);
        Ok(())
    }
}

/// Hashes of the orders that an event of the hub concerns.
fn orders_of(log: &Log) -> Vec<B256> {
    match PocoHub::OrdersMatched::decode_log(&log.inner) {
        Ok(event) => vec![event.appHash, event.datasetHash, event.workerpoolHash, event.requestHash],
        // The four closings carry one hash each.
        Err(_) => log.data().data.get(..32).map(B256::from_slice).into_iter().collect(),
    }
}

#[derive(Deserialize)]
struct ChainId {
    #[serde(rename = "chainId")]
    chain_id: u64,
}

#[derive(Deserialize)]
struct WhoAsks {
    #[serde(rename = "chainId")]
    chain_id: u64,
    address: Address,
}

#[derive(Deserialize)]
struct ToPublish {
    order: Map<String, Value>,
}

/// Which orders are to go: one by its hash, or those of one subject.
#[derive(Deserialize)]
struct ToUnpublish {
    #[serde(default)]
    target: Target,
    #[serde(rename = "orderHash")]
    order_hash: Option<B256>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Target {
    #[default]
    #[serde(rename = "unpublish_orderHash")]
    OrderHash,
    #[serde(rename = "unpublish_last")]
    Last,
    #[serde(rename = "unpublish_all")]
    All,
}

type Answer = Result<Json<Value>, Refusal>;

async fn challenge(State(gateway): State<Arc<Gateway>>, UrlQuery(who): UrlQuery<WhoAsks>) -> Answer {
    gateway.check_chain(&ChainId { chain_id: who.chain_id })?;
    let data = gateway.login.challenge(who.address, clock::now().0 / 1_000);
    Ok(Json(json!({ "ok": true, "data": data })))
}

async fn list(
    kind: Kind,
    State(gateway): State<Arc<Gateway>>,
    UrlQuery(chain): UrlQuery<ChainId>,
    UrlQuery(query): UrlQuery<Query>,
) -> Answer {
    gateway.check_chain(&chain)?;
    let shelf = gateway.shelf();
    let page = shelf.book.list(kind, &query);
    let orders: Vec<Value> = page.orders.into_iter().map(|published| gateway.view(published)).collect();
    let mut answer = json!({ "ok": true, "count": page.count, "orders": orders });
    if let Some(next) = page.next {
        answer["nextPage"] = next.into();
    }
    Ok(Json(answer))
}

async fn show(
    kind: Kind,
    State(gateway): State<Arc<Gateway>>,
    UrlQuery(chain): UrlQuery<ChainId>,
    UrlPath(hash): UrlPath<B256>,
) -> Answer {
    gateway.check_chain(&chain)?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, format!("no {} of this hash is published", kind.path()));
    let mut view = gateway.shelf().book.get(kind, &hash).map(|found| gateway.view(found)).ok_or_else(unknown)?;
    view["ok"] = true.into();
    Ok(Json(view))
}

async fn publish(
    kind: Kind,
    State(gateway): State<Arc<Gateway>>,
    UrlQuery(chain): UrlQuery<ChainId>,
    headers: HeaderMap,
    Json(ToPublish { order }): Json<ToPublish>,
) -> Answer {
    gateway.check_chain(&chain)?;
    let account = gateway.account(&headers)?;
    let unusable = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error);
    let order = Order::parse(kind, order, &gateway.domain).map_err(|error| unusable(error.to_string()))?;
    let (signer, remaining) = match gateway.standing(&order).await? {
        Standing::Good { signer, remaining } => (signer, remaining),
        Standing::Bad(reason) => return Err(unusable(reason)),
    };
    if signer != account {
        let error = format!("only {signer}, who signed the order, may publish it");
        return Err(Refusal::new(StatusCode::FORBIDDEN, error));
    }
    let published = Published { order, signer, remaining, at: clock::now() };
    let view = gateway.view(&published);
    let mut shelf = gateway.shelf();
    shelf.book.admits(&published.order.hash, kind, signer).map_err(|error| unusable(error.to_string()))?;
    shelf.store.insert(gateway.hub.hub, &published)?;
    info!(order = %published.order.hash, kind = kind.path(), %signer, "order published");
    shelf.book.insert(published);
    Ok(Json(json!({ "ok": true, "published": view })))
}

async fn unpublish(
    kind: Kind,
    State(gateway): State<Arc<Gateway>>,
    UrlQuery(chain): UrlQuery<ChainId>,
    headers: HeaderMap,
    Json(wanted): Json<ToUnpublish>,
) -> Answer {
    gateway.check_chain(&chain)?;
    let account = gateway.account(&headers)?;
    let bad = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error);
    let mut shelf = gateway.shelf();
    let hashes = match wanted.target {
        Target::OrderHash => {
            let hash = wanted.order_hash.ok_or_else(|| bad("`orderHash` is missing".to_owned()))?;
            let own = shelf.book.get(kind, &hash).is_some_and(|published| published.signer == account);
            if own { vec![hash] } else { Vec::new() }
        }
        target => {
            let subject = wanted.others.get(kind.subject()).and_then(Value::as_str);
            let subject = subject.and_then(|text| text.parse::<Address>().ok());
            let subject = subject.ok_or_else(|| bad(format!("`{}` must be an address", kind.subject())))?;
            let mut own = shelf.book.of(kind, account, subject);
            if target == Target::Last {
                own.drain(..own.len().saturating_sub(1));
            }
            own
        }
    };
    if hashes.is_empty() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("{account} has no such order published")));
    }
    for hash in &hashes {
        shelf.remove(hash)?;
    }
    Ok(Json(json!({ "ok": true, "unpublished": hashes })))
}

/// A result is a blob of the pool under another name.
async fn result(UrlPath(cid): UrlPath<String>) -> Result<Redirect, Refusal> {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "this pool has only content named by raw BLAKE3 CIDs");
    let digest = content::parse_cid(&cid).ok_or_else(unknown)?;
    Ok(Redirect::temporary(&format!("/api/blobs/{digest}")))
}
