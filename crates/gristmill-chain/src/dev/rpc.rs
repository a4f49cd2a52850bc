//! The JSON-RPC methods, apart from how requests arrive. Each reads one version of the chain or sends one command.

mod account;
mod call;
mod control;
mod error;
mod fee;
mod filter;
mod history;
mod log;
mod params;
pub(crate) mod view;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{journal::JournalError, node::Node, refusal::Refusal};

pub(crate) use error::RpcError;
pub use filter::FILTERS_MAX;
use filter::Filters;
pub(crate) use log::between as logs_between;
pub(crate) use params::Params;

/// How much one request may make the chain do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in one batch.
    pub batch: usize,
    /// Bytes in all answers to one batch; requests after that are refused one by one.
    pub batch_answer_bytes: usize,
    /// Blocks that one search for logs may span.
    pub log_range: u64,
    /// Logs in one answer.
    pub log_results: usize,
    /// Data of the logs in one answer: a single log can have megabytes.
    pub log_bytes: usize,
}

impl Default for Limits {
    /// Batches as in geth, logs as on public nodes, but a range that covers weeks of a busy private grid: it is answered
    /// within a second.
    fn default() -> Self {
        Self {
            batch: 1_000,
            batch_answer_bytes: 25_000_000,
            log_range: 100_000,
            log_results: 20_000,
            log_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Calls, estimates and searches for logs that run at a time, each on a thread of its own.
const COMPUTING_MAX: usize = 16;

/// The name and version that `web3_clientVersion` gives.
const CLIENT_VERSION: &str = concat!("gristmill/", env!("CARGO_PKG_VERSION"));

/// Everything that requests are answered from.
pub(crate) struct Api {
    node: Node,
    limits: Limits,
    filters: Filters,
    computing: Arc<Semaphore>,
}

impl Api {
    pub(crate) fn new(node: Node, limits: Limits) -> Self {
        Self { node, limits, filters: Filters::default(), computing: Arc::new(Semaphore::new(COMPUTING_MAX)) }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Does what may take long where it does not hold up other connections.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let place = self.computing.clone().acquire_owned().await.map_err(|error| RpcError::internal(&error))?;
        let work = move || {
            // Held by the work, not by the request: a client that goes away does not make room.
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| RpcError::internal(&error))?
    }

    /// Answers one request or a batch. None if there is nothing to answer: all were notifications.
    pub(crate) async fn answer(&self, body: &[u8]) -> Option<String> {
        match serde_json::from_slice(body) {
            Err(error) => Some(failure(&Value::Null, &RpcError::parse(&error))),
            Ok(Value::Array(requests)) if requests.is_empty() => {
                Some(failure(&Value::Null, &RpcError::invalid_request("empty batch")))
            }
            Ok(Value::Array(requests)) if requests.len() > self.limits.batch => {
                let text = format!("batch of {} requests, at most {} are taken", requests.len(), self.limits.batch);
                Some(failure(&Value::Null, &RpcError::limit(text)))
            }
            Ok(Value::Array(requests)) => self.answer_batch(requests).await,
            Ok(request) => self.answer_one(request).await,
        }
    }

    async fn answer_batch(&self, requests: Vec<Value>) -> Option<String> {
        let mut answers = String::new();
        for request in requests {
            let answer = if answers.len() > self.limits.batch_answer_bytes {
                let id = request.get("id").cloned().unwrap_or_default();
                Some(failure(&id, &RpcError::limit("the answers to this batch are too long")))
            } else {
                self.answer_one(request).await
            };
            if let Some(answer) = answer {
                answers.push(if answers.is_empty() { '[' } else { ',' });
                answers.push_str(&answer);
            }
        }
        (!answers.is_empty()).then(|| answers + "]")
    }

    async fn answer_one(&self, request: Value) -> Option<String> {
        let request = match Request::parse(request) {
            Ok(request) => request,
            Err(error) => return Some(failure(&Value::Null, &error)),
        };
        let answer = call(self, &request.method, Params::new(request.params)).await;
        let id = request.id?;
        Some(match answer {
            Ok(result) => success(&id, &result),
            Err(error) => failure(&id, &error),
        })
    }
}

pub(crate) struct Request {
    /// None for a notification.
    pub(crate) id: Option<Value>,
    pub(crate) method: String,
    pub(crate) params: Value,
}

impl Request {
    pub(crate) fn parse(request: Value) -> Result<Self, RpcError> {
        let Value::Object(mut fields) = request else {
            return Err(RpcError::invalid_request("a request is an object"));
        };
        let Some(Value::String(method)) = fields.remove("method") else {
            return Err(RpcError::invalid_request("a request has a method"));
        };
        let params = fields.remove("params").unwrap_or(Value::Null);
        Ok(Self { id: fields.remove("id"), method, params })
    }
}

pub(crate) fn success(id: &Value, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
}

pub(crate) fn failure(id: &Value, error: &RpcError) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}

/// All methods but the two that need a connection to push to.
async fn call(api: &Api, method: &str, params: Params) -> Result<Value, RpcError> {
    let node = &api.node;
    match method {
        "web3_clientVersion" => json(CLIENT_VERSION),
        "web3_sha3" => account::sha3(params),
        "net_version" => json(node.chain().genesis.chain_id.to_string()),
        "net_listening" => json(true),
        "net_peerCount" => json("0x0"),
        "eth_chainId" => quantity(node.chain().genesis.chain_id),
        "eth_syncing" => json(false),
        "eth_mining" => json(false),
        "eth_hashrate" => json("0x0"),
        // The node holds no keys: wallets sign. The prefunded accounts' keys are public.
        "eth_accounts" => json(json!([])),
        "eth_blockNumber" => quantity(node.chain().head().number()),

        "eth_getBalance" => account::balance(node, params),
        "eth_getTransactionCount" => account::transaction_count(node, params),
        "eth_getCode" => account::code(node, params),
        "eth_getStorageAt" => account::storage_at(node, params),

        "eth_getBlockByNumber" => history::block_by_number(node, params),
        "eth_getBlockByHash" => history::block_by_hash(node, params),
        "eth_getHeaderByNumber" => history::header_by_number(node, params),
        "eth_getHeaderByHash" => history::header_by_hash(node, params),
        "eth_getBlockTransactionCountByNumber" => history::transaction_count_by_number(node, params),
        "eth_getBlockTransactionCountByHash" => history::transaction_count_by_hash(node, params),
        "eth_getUncleCountByBlockNumber" | "eth_getUncleCountByBlockHash" => json("0x0"),
        "eth_getUncleByBlockNumberAndIndex" | "eth_getUncleByBlockHashAndIndex" => Ok(Value::Null),
        "eth_getTransactionByHash" => history::transaction_by_hash(node, params),
        "eth_getTransactionByBlockNumberAndIndex" => history::transaction_by_number_and_index(node, params),
        "eth_getTransactionByBlockHashAndIndex" => history::transaction_by_hash_and_index(node, params),
        "eth_getRawTransactionByHash" => history::raw_transaction_by_hash(node, params),
        "eth_getTransactionReceipt" => history::receipt(node, params),
        "eth_getBlockReceipts" => history::block_receipts(node, params),
        "eth_getLogs" => log::logs(api, params).await,
        "eth_newFilter" => api.filters.new_logs(node, params),
        "eth_newBlockFilter" => api.filters.new_blocks(node),
        "eth_newPendingTransactionFilter" => api.filters.new_transactions(node),
        "eth_getFilterChanges" => api.filters.changes(node, params),
        "eth_getFilterLogs" => api.filters.logs(api, params).await,
        "eth_uninstallFilter" => api.filters.remove(params),
        "txpool_status" => history::pool_status(node),
        "txpool_content" => history::pool_content(node),

        "eth_call" => call::call(api, params).await,
        "eth_estimateGas" => call::estimate_gas(api, params).await,
        "eth_gasPrice" => fee::gas_price(node),
        "eth_maxPriorityFeePerGas" => fee::tip(),
        "eth_blobBaseFee" => quantity(1u64),
        "eth_feeHistory" => fee::history(node, params),
        "eth_sendRawTransaction" => call::send_raw_transaction(node, params).await,

        _ => control::call(node, method, params).await,
    }
}

fn json(value: impl Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|error| RpcError::internal(&error))
}

fn quantity(value: impl Into<u128>) -> Result<Value, RpcError> {
    Ok(Value::String(format!("{:#x}", value.into())))
}

impl From<JournalError> for RpcError {
    fn from(error: JournalError) -> Self {
        Self::internal(&error)
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(&refusal)
    }
}
