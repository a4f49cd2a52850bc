//! One Ethereum endpoint, with a deadline on every request and errors sorted by what the caller can do about them.
//!
//! Everything in this crate that talks to a node goes through [`Rpc`], so that no call can hang for ever (alloy's own
//! heartbeat-based waiting can) and no error is told apart by its text in more than one place.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gristmill_chain::rpc::Rpc;
//!
//! let rpc = Rpc::connect("http://127.0.0.1:8545")?;
//! let head = rpc.head().await?;
//! assert_eq!(rpc.block(head.number).await?.map(|block| block.hash), Some(head.hash));
//! # Ok(()) }
//! ```

use std::{
    future::{Future, IntoFuture},
    sync::Once,
    time::Duration,
};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{
        client::{BatchRequest, RpcClient},
        types::{Block, Filter, Header, Log, TransactionReceipt, TransactionRequest},
    },
    transports::{RpcError as AlloyError, TransportError, TransportErrorKind},
};

/// Deadline of one request. Public endpoints answer within a second; ten leaves room for a large log query.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// A node said no, or said nothing.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error("`{0}` is not an http:// or https:// address")]
    Address(String),
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error("{method}: no answer within {deadline:?}")]
    Timeout { method: &'static str, deadline: Duration },
    #[error("{method}: the node cannot be reached: {reason}")]
    Unreachable { method: &'static str, reason: String, retry_after: Option<Duration> },
    #[error("{method}: the node refused: {message} (code {code})")]
    Refused { method: &'static str, code: i64, message: String, data: Option<Bytes> },
    /// Ordinary behind a load balancer: this answer came from a node that is behind the one asked before.
    #[error("{method}: this node does not know {what} yet")]
    Behind { method: &'static str, what: String },
    #[error("{method}: the answer makes no sense: {reason}")]
    Nonsense { method: &'static str, reason: String },
}

impl RpcError {
    /// The delay the endpoint asked for, if any.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether a log query should be tried again over fewer blocks.
    ///
    /// Endpoints agree neither on the code (-32005, -32602, -32603, -32000, 35, …) nor on the text, and -32005 also means
    /// "too many requests". So a refusal counts as too large unless it speaks of a rate; a needless halving costs one query.
    /// A time-out counts too: slow endpoints cut a large query off without a word.
    #[must_use]
    pub fn asks_for_smaller_range(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Refused { message, code, .. } => *code != 429 && !speaks_of_rate(message),
            Self::Unreachable { reason, .. } => reason.contains("413") || reason.contains("too large"),
            Self::Nonsense { .. } | Self::Behind { .. } | Self::Address(_) | Self::Client(_) => false,
        }
    }

    /// The revert data of a refused `eth_call`, `Some(empty)` for a revert that carries none; `None`: not a revert.
    #[must_use]
    pub fn revert(&self) -> Option<Bytes> {
        match self {
            Self::Refused { code, message, data, .. } => {
                let message = message.to_lowercase();
                let reverted = *code == 3
                    || message.contains("revert")
                    || message.contains("invalid opcode")
                    || message.contains("out of gas");
                reverted.then(|| data.clone().unwrap_or_default())
            }
            _ => None,
        }
    }

    fn from_alloy(method: &'static str, error: TransportError) -> Self {
        match error {
            AlloyError::ErrorResp(payload) => Self::Refused {
                method,
                code: payload.code,
                data: payload.as_revert_data().or_else(|| payload.try_data_as::<Bytes>()?.ok()),
                message: payload.message.into_owned(),
            },
            AlloyError::Transport(kind) => {
                Self::Unreachable { method, retry_after: kind.retry_after(), reason: whole_chain(&kind) }
            }
            AlloyError::NullResp => Self::Behind { method, what: "the answer".into() },
            other => Self::Nonsense { method, reason: excerpt(&other.to_string()) },
        }
    }
}

/// reqwest's `Display` says only "error sending request"; the cause an operator needs ("connection refused") is below it.
fn whole_chain(kind: &TransportErrorKind) -> String {
    let mut text = excerpt(&kind.to_string());
    let mut source = match kind {
        TransportErrorKind::Custom(inner) | TransportErrorKind::NonRetryable(inner) => inner.source(),
        other => std::error::Error::source(other),
    };
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&excerpt(&inner.to_string()));
        source = inner.source();
    }
    text
}

/// Bodies of error pages can be megabytes long.
fn excerpt(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn speaks_of_rate(message: &str) -> bool {
    let message = message.to_lowercase();
    ["rate", "per second", "too many requests", "request limit", "request count", "credits", "capacity", "concurrent"]
        .iter()
        .any(|word| message.contains(word))
}

/// A node, or a load balancer with nodes behind it.
#[derive(Debug, Clone)]
pub struct Rpc {
    provider: DynProvider,
    deadline: Duration,
}

impl Rpc {
    /// Sends nothing yet: an endpoint that is down is found out by the first request.
    pub fn connect(url: &str) -> Result<Self, RpcError> {
        let parsed: reqwest::Url = url.parse().map_err(|_| RpcError::Address(url.to_owned()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(RpcError::Address(url.to_owned()));
        }
        install_crypto();
        let mut builder = reqwest::Client::builder().connect_timeout(REQUEST_DEADLINE);
        if is_loopback(&parsed) {
            // A proxy from the environment must not see, or fail, what never leaves this machine.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(RpcError::Client)?;
        let client = RpcClient::new_http_with_client(client, parsed);
        Ok(Self::new(ProviderBuilder::default().connect_client(client)))
    }

    pub fn new(provider: impl Provider + 'static) -> Self {
        Self { provider: provider.erased(), deadline: REQUEST_DEADLINE }
    }

    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// For reading contracts through the `sol!` bindings. Calls made on it carry no deadline of their own.
    #[must_use]
    pub fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// Any request, under this endpoint's deadline and error sorting.
    pub async fn ask<T>(
        &self,
        method: &'static str,
        request: impl IntoFuture<Output = Result<T, TransportError>>,
    ) -> Result<T, RpcError> {
        self.bounded(method, request.into_future()).await
    }

    async fn bounded<T>(
        &self,
        method: &'static str,
        request: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, RpcError> {
        match tokio::time::timeout(self.deadline, request).await {
            Ok(answer) => answer.map_err(|error| RpcError::from_alloy(method, error)),
            Err(_) => Err(RpcError::Timeout { method, deadline: self.deadline }),
        }
    }

    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        self.ask("eth_chainId", self.provider.get_chain_id()).await
    }

    pub async fn head(&self) -> Result<Header, RpcError> {
        let head = self.tagged(BlockNumberOrTag::Latest).await?;
        head.ok_or(RpcError::Behind { method: "eth_getBlockByNumber", what: "its own head".into() })
    }

    /// The block of that number on the chain this node follows, if it has come that far.
    pub async fn block(&self, number: u64) -> Result<Option<Header>, RpcError> {
        let block = self.tagged(BlockNumberOrTag::Number(number)).await?;
        match block {
            Some(header) if header.number != number => Err(RpcError::Nonsense {
                method: "eth_getBlockByNumber",
                reason: format!("asked for block {number}, got {}", header.number),
            }),
            other => Ok(other),
        }
    }

    pub async fn tagged(&self, tag: BlockNumberOrTag) -> Result<Option<Header>, RpcError> {
        let block: Option<Block> = self.ask("eth_getBlockByNumber", self.provider.get_block_by_number(tag)).await?;
        Ok(block.map(|block| block.header))
    }

    pub async fn block_by_hash(&self, hash: B256) -> Result<Header, RpcError> {
        let block: Option<Block> = self.ask("eth_getBlockByHash", self.provider.get_block_by_hash(hash)).await?;
        match block {
            Some(block) if block.header.hash == hash => Ok(block.header),
            Some(block) => Err(RpcError::Nonsense {
                method: "eth_getBlockByHash",
                reason: format!("asked for block {hash}, got {}", block.header.hash),
            }),
            None => Err(RpcError::Behind { method: "eth_getBlockByHash", what: format!("block {hash}") }),
        }
    }

    pub async fn logs(&self, filter: &Filter) -> Result<Vec<Log>, RpcError> {
        self.ask("eth_getLogs", self.provider.get_logs(filter)).await
    }

    /// Logs of a range with the block below it and its last block, in one batch: load balancers keep a batch together, so
    /// the two blocks vouch for the node that read the logs.
    pub async fn logs_between(
        &self,
        filter: &Filter,
        below: u64,
        to: u64,
    ) -> Result<(Header, Vec<Log>, Header), RpcError> {
        const METHOD: &str = "eth_getLogs";
        let answers = async {
            let mut batch = BatchRequest::new(self.provider.client());
            let number = |number| (BlockNumberOrTag::Number(number), false);
            let below = batch.add_call::<_, Option<Block>>("eth_getBlockByNumber", &number(below))?;
            let logs = batch.add_call::<_, Vec<Log>>(METHOD, &(filter,))?;
            let last = batch.add_call::<_, Option<Block>>("eth_getBlockByNumber", &number(to))?;
            batch.send().await?;
            Ok((below.await?, logs.await?, last.await?))
        };
        let (below_block, logs, last_block) = self.bounded(METHOD, answers).await?;
        let behind = |number| RpcError::Behind { method: METHOD, what: format!("block {number}") };
        let below_block = below_block.ok_or_else(|| behind(below))?.header;
        let last_block = last_block.ok_or_else(|| behind(to))?.header;
        Ok((below_block, logs, last_block))
    }

    pub async fn code(&self, address: Address) -> Result<Bytes, RpcError> {
        self.ask("eth_getCode", self.provider.get_code_at(address)).await
    }

    pub async fn balance(&self, address: Address) -> Result<U256, RpcError> {
        self.ask("eth_getBalance", self.provider.get_balance(address)).await
    }

    /// Transactions of this account that are in blocks; its next nonce.
    pub async fn nonce(&self, address: Address) -> Result<u64, RpcError> {
        self.ask("eth_getTransactionCount", self.provider.get_transaction_count(address)).await
    }

    pub async fn receipt(&self, transaction: B256) -> Result<Option<TransactionReceipt>, RpcError> {
        self.ask("eth_getTransactionReceipt", self.provider.get_transaction_receipt(transaction)).await
    }

    /// `eth_call` on top of a named block, so that a node which is behind answers with an error, not with old state.
    pub async fn call_at(&self, request: TransactionRequest, block: u64) -> Result<Bytes, RpcError> {
        self.ask("eth_call", self.provider.call(request).block(BlockId::number(block))).await
    }

    pub async fn estimate_gas_at(&self, request: TransactionRequest, block: u64) -> Result<u64, RpcError> {
        self.ask("eth_estimateGas", self.provider.estimate_gas(request).block(BlockId::number(block))).await
    }

    pub async fn priority_fee(&self) -> Result<u128, RpcError> {
        self.ask("eth_maxPriorityFeePerGas", self.provider.get_max_priority_fee_per_gas()).await
    }

    pub async fn send_raw(&self, raw: &[u8]) -> Result<(), RpcError> {
        self.bounded("eth_sendRawTransaction", async { self.provider.send_raw_transaction(raw).await.map(|_| ()) })
            .await
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// reqwest is built without a choice of TLS provider (see the workspace manifest), and panics if nobody has made one.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the binary has chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
