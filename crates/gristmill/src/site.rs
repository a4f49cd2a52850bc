//! What the pool's origin serves besides the grid's API: the page, and the way to the chain.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use gristmill_proto::digest::Digest;
use reqwest::Client;
use serde::Serialize;
use serde_json::{Value, json};

use crate::deployment::Deployment;

/// Built by the build script: name and content of each file of the page.
static PAGE: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Longest JSON-RPC request and answer that pass through.
const RPC_REQUEST_BYTES_MAX: usize = 256 << 10;
const RPC_ANSWER_BYTES_MAX: usize = 8 << 20;
const RPC_BATCH_MAX: usize = 100;
const RPC_WAIT: Duration = Duration::from_secs(30);

/// Nothing from elsewhere, no inline code, no frames: the page makes keys.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const NO_PAGE: &str = "This gristmill was built without its page: npm was missing. The API below /api works.\n";

/// What the page must know of the chain; part of `GET /api/pool`.
#[derive(Clone, Debug, Serialize)]
pub struct ChainFacts {
    pub chain_id: u64,
    pub rpc: &'static str,
    /// Play money on a development chain.
    pub dev: bool,
    pub market: Address,
    pub token: Address,
    pub shop: Address,
    pub verifier: Address,
    pub offer: B256,
    pub pool: Address,
    /// In nRLC, as decimal text.
    pub unit_price: String,
    /// The program that searches.
    pub app: Digest,
    pub unit_candidates: u64,
    pub min_units: u64,
    pub market_block: u64,
}

impl ChainFacts {
    pub fn of(deployment: &Deployment) -> Self {
        Self {
            chain_id: deployment.chain_id,
            rpc: "/rpc",
            dev: deployment.chain_id == gristmill_chain::dev::CHAIN_ID,
            market: deployment.market,
            token: deployment.token,
            shop: deployment.shop,
            verifier: deployment.verifier,
            offer: deployment.offer.id,
            pool: deployment.offer.pool,
            unit_price: deployment.offer.unit_price.to_string(),
            app: deployment.offer.plan.app,
            unit_candidates: deployment.offer.unit_candidates,
            min_units: deployment.offer.min_units,
            market_block: deployment.market_block,
        }
    }
}

pub fn has_page() -> bool {
    !PAGE.is_empty()
}

pub fn page() -> Router {
    Router::new()
        .route("/", get(|| file("index.html")))
        .route("/{*path}", get(|Path(path): Path<String>| async move { file(&path).await }))
}

async fn file(path: &str) -> Response {
    if PAGE.is_empty() {
        return (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], NO_PAGE).into_response();
    }
    let Some((name, bytes)) = PAGE.iter().find(|(name, _)| *name == path) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    // Vite puts a digest into the names below assets/.
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, content_type(name)),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (headers, *bytes).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

struct Node {
    url: String,
    http: Client,
}

/// Passes JSON-RPC on to the chain's node, so that the page needs no second origin.
pub fn rpc(url: &str) -> Router {
    let http = Client::builder().timeout(RPC_WAIT).build().expect("a client without special settings");
    Router::new()
        .route("/rpc", post(forward))
        .layer(DefaultBodyLimit::max(RPC_REQUEST_BYTES_MAX))
        .with_state(Arc::new(Node { url: url.to_owned(), http }))
}

async fn forward(State(node): State<Arc<Node>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return refuse(&Value::Null, -32_700, "this is not JSON");
    };
    let calls = request.as_array().map_or(std::slice::from_ref(&request), Vec::as_slice);
    if calls.len() > RPC_BATCH_MAX {
        return refuse(&Value::Null, -32_600, "too many calls in one batch");
    }
    // A node's other methods are its owner's: accounts, debugging, time travel.
    if let Some(call) = calls.iter().find(|call| !allowed(call["method"].as_str().unwrap_or_default())) {
        return refuse(&call["id"], -32_601, "this method is not passed on to the chain");
    }
    match node.http.post(&node.url).header(header::CONTENT_TYPE, "application/json").body(body).send().await {
        Ok(answer) if answer.content_length().unwrap_or(0) <= RPC_ANSWER_BYTES_MAX as u64 => {
            let status = answer.status();
            let mut left = RPC_ANSWER_BYTES_MAX;
            // Its length need not be announced.
            let bytes = answer.bytes_stream().map(move |chunk| {
                let chunk = chunk.map_err(io::Error::other)?;
                left =
                    left.checked_sub(chunk.len()).ok_or_else(|| io::Error::other("the node's answer is too long"))?;
                Ok::<_, io::Error>(chunk)
            });
            let mut response = Response::new(Body::from_stream(bytes));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Ok(_) => refuse(&Value::Null, -32_603, "the node's answer is too long"),
        Err(_) => refuse(&calls[0]["id"], -32_603, "the chain's node does not answer; try again in a moment"),
    }
}

fn allowed(method: &str) -> bool {
    (method.starts_with("eth_") || method.starts_with("net_") || method.starts_with("web3_"))
        && !matches!(method, "eth_accounts" | "eth_sign" | "eth_signTransaction" | "eth_sendTransaction")
}

fn refuse(id: &Value, code: i32, message: &str) -> Response {
    axum::Json(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })).into_response()
}
