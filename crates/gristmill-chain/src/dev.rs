//! An Ethereum chain in this process, for development, demonstrations and private grids.
//!
//! Real transactions, a real EVM (Prague rules), instant blocks, state on disk, and a JSON-RPC port on loopback that
//! alloy, viem, cast and wallets use like any other node. It is not a network: there is one node, no consensus, and
//! whoever reaches the port can rewrite history. [`bind`] opens one, [`DevChain::run`] serves it:
//!
//! ```no_run
//! use gristmill_chain::dev::{self, Config};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example() -> Result<(), dev::Error> {
//! let chain = dev::bind(Config { data_dir: Some("chain".into()), ..Config::default() }).await?;
//! let url = chain.url();
//! let shutdown = CancellationToken::new();
//! let serving = tokio::spawn(chain.run(shutdown.clone()));
//! // Clients use `url`; the accounts of `dev::accounts()` have money.
//! # let _ = (url, serving); Ok(()) }
//! ```
//!
//! Where it differs from a public network:
//!
//! - Each transaction is mined at once, alone in its block. Timestamps always grow, so a burst of blocks takes the chain's
//!   clock ahead of the wall clock, by a second a block; it is caught up with later.
//! - The head is final. `safe`, `finalized` and `latest` are the same block, and history changes only on request.
//! - Calls at the head see the time that a transaction sent now would see.
//! - States of the last [`STATES_KEPT`] blocks answer calls; blocks, transactions, receipts and logs are kept for ever.
//! - The contracts that consensus maintains (beacon roots, block-hash history, deposits) do not exist, nor do blobs.
//! - The node holds no keys and signs nothing.
//!
//! For tests it has `evm_mine`, `anvil_mine`, `evm_setAutomine`, `evm_increaseTime`, `evm_setTime`,
//! `evm_setNextBlockTimestamp`, `evm_snapshot`, `evm_revert`, `anvil_setBalance`, `anvil_setNextBlockBaseFeePerGas` and
//! `anvil_dropTransaction`, as anvil has them, and `dev_reorg(depth, {drop, blocks})`: the last `depth` blocks go, and as
//! many others (or `blocks` of them) come, with the same transactions unless `drop` is true.

mod accounts;
mod block;
mod branch;
mod chain;
mod change;
mod checkpoint;
mod command;
mod door;
mod execute;
mod journal;
mod node;
mod origin;
mod pool;
mod reader;
mod refusal;
mod rpc;
mod serve;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod transaction;
mod trie;

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accounts::{accounts, addresses};
pub use chain::STATES_KEPT;
pub use command::{BLOCKS_PER_REQUEST_MAX, SNAPSHOTS_MAX};
pub use door::CONNECTIONS_MAX;
pub use journal::JournalError;
pub use node::{Clock, system_clock};
pub use pool::{NONCES_AHEAD_MAX, WAITING_MAX};
pub use refusal::Refusal;
pub use rpc::{FILTERS_MAX, Limits};
pub use serve::{REQUEST_BYTES_MAX, SOCKETS_MAX};
pub use socket::SUBSCRIPTIONS_MAX;
pub use transaction::TRANSACTION_BYTES_MAX;

use chain::Chain;
use change::{Change, FORMAT, Genesis};
use checkpoint::Checkpoints;
use journal::{Archive, Covered, Journal};
use node::{Node, Store, Writer, node};
use origin::Origins;
use rpc::Api;

/// Id of this kind of chain. Its own, because wallets treat 1337 and 31337 specially and remember nonces by chain id, so
/// that a shared id mixes up unrelated chains; below 2^31 because some wallets keep it in 32 signed bits.
pub const CHAIN_ID: u64 = 47_474_747;
/// As on most networks: room for the largest deployments.
const GAS_LIMIT: u64 = 30_000_000;
/// One gwei, so that fees look like fees.
const BASE_FEE: u64 = 1_000_000_000;

/// How a development chain is set up.
#[derive(Clone)]
pub struct Config {
    /// Where the JSON-RPC server listens. Anything but loopback gives the chain to strangers.
    pub listen: SocketAddr,
    /// Where the chain is kept; in memory only if none.
    pub data_dir: Option<PathBuf>,
    /// Throws away the chain in `data_dir` and starts over.
    pub fresh: bool,
    pub chain_id: u64,
    /// Origins of web pages that may use the port, such as `https://example.org`, besides pages from this machine's
    /// loopback.
    pub allow_origins: Vec<String>,
    /// Time of the first block; now if none.
    pub genesis_timestamp: Option<u64>,
    pub clock: Clock,
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: None,
            fresh: false,
            chain_id: CHAIN_ID,
            allow_origins: Vec::new(),
            genesis_timestamp: None,
            clock: system_clock(),
            limits: Limits::default(),
        }
    }
}

/// Why a chain cannot be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing} {}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the chain in {} is in use by another process", .path.display())]
    Locked { path: PathBuf },
    #[error("the chain in {} has id {found}, not {wanted}", .path.display())]
    OtherChain { path: PathBuf, found: u64, wanted: u64 },
    #[error("the chain in {} was written in format {found}; this program reads {FORMAT}", .path.display())]
    OtherFormat { path: PathBuf, found: u64 },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the chain's writer died; this is a bug")]
    WriterDied,
    #[error("the server failed")]
    Serve(#[source] io::Error),
}

/// An opened chain whose port is bound and not served yet.
pub struct DevChain {
    node: Node,
    writer: Writer,
    listener: TcpListener,
    address: SocketAddr,
    allow_origins: Vec<String>,
    limits: Limits,
    /// Keeps other processes out of the folder for as long as it lives.
    lock: Option<File>,
}

/// A chain's folder in use.
struct Opened {
    store: Store,
    archive: Archive,
    lock: File,
}

/// Opens the chain and its port.
pub async fn bind(config: Config) -> Result<DevChain, Error> {
    let now = (config.clock)();
    let genesis = Genesis {
        format: FORMAT,
        chain_id: config.chain_id,
        timestamp: config.genesis_timestamp.unwrap_or(now),
        gas_limit: GAS_LIMIT,
        base_fee: BASE_FEE,
    };
    let listener =
        TcpListener::bind(config.listen).await.map_err(|source| Error::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;
    let Config { data_dir, fresh, clock, allow_origins, limits, .. } = config;
    let opened = tokio::task::spawn_blocking(move || match data_dir {
        None => Ok((Chain::found(genesis), None)),
        Some(folder) => open(&folder, fresh, genesis).map(|(chain, opened)| (chain, Some(opened))),
    });
    let (chain, opened) = opened.await.expect("opening a chain does not panic")?;
    let (store, archive, lock) = match opened {
        None => (None, None, None),
        Some(Opened { store, archive, lock }) => (Some(store), Some(Arc::new(archive)), Some(lock)),
    };
    let (node, writer) = node(chain, store, archive, clock);
    Ok(DevChain { node, writer, listener, address, allow_origins, limits, lock })
}

impl DevChain {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients find the chain over HTTP; the same with `ws:` for subscriptions.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until `shutdown`. When this returns, everything acknowledged is on disk and the folder is free again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { node, writer, listener, allow_origins, limits, lock, .. } = self;
        let shutdown = shutdown.child_token();
        // Should the writer die, the chain is of no use any more.
        let stop = shutdown.clone().drop_guard();
        let writer = tokio::task::spawn_blocking(move || {
            writer.run();
            drop(stop);
        });
        let api = Api::new(node.clone(), limits);
        let served = serve::serve(listener, api, Origins::new(allow_origins), shutdown).await;
        // A connection that was left behind still has its way to the writer.
        node.stop().await;
        let written = writer.await;
        drop(lock);
        written.map_err(|_| Error::WriterDied)?;
        served.map_err(Error::Serve)
    }
}

/// Opens the chain in `folder`, which is created if need be.
fn open(folder: &Path, fresh: bool, wanted: Genesis) -> Result<(Chain, Opened), Error> {
    let failed = |doing| move |source| Error::Io { doing, path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed("create"))?;
    let lock = lock(folder)?;
    let path = folder.join("journal");
    if fresh {
        empty(folder).map_err(failed("empty"))?;
    }
    let checkpoint = checkpoint::read(folder);
    let (mut chain, covered) = checkpoint.map_or((None, Covered::default()), |(chain, covered)| (Some(chain), covered));
    if let Some(chain) = &chain {
        check_genesis(folder, chain.genesis, wanted)?;
    }
    let covered_head = chain.as_ref().map_or(0, |chain| chain.head().number());
    let mut journal = Journal::open(&path, covered, &mut |changes| {
        for (change, span) in changes {
            match (&mut chain, change) {
                (None, Change::Founded(genesis)) => {
                    check_genesis(folder, genesis, wanted)?;
                    chain = Some(Chain::found(genesis));
                }
                (Some(chain), change) => {
                    chain.apply(&change);
                    chain.note_span(&change, span);
                }
                (None, _) => return Err(JournalError::Foreign { path: path.clone() }.into()),
            }
        }
        Ok::<(), Error>(())
    })?;
    let chain = match chain {
        Some(chain) => chain,
        None => {
            journal.append(&[Change::Founded(wanted)])?;
            Chain::found(wanted)
        }
    };
    let archive = Archive::open(&path)?;
    let mut checkpoints = Checkpoints::new(folder, covered_head);
    checkpoints.consider(&chain, journal.covered());
    Ok((chain, Opened { store: Store { journal, checkpoints }, archive, lock }))
}

/// Throws a chain away. The checkpoint goes first: without its journal it must not be found.
fn empty(folder: &Path) -> io::Result<()> {
    checkpoint::remove(folder)?;
    match fs::remove_file(folder.join("journal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn check_genesis(folder: &Path, genesis: Genesis, wanted: Genesis) -> Result<(), Error> {
    let path = folder.to_owned();
    if genesis.format != FORMAT {
        return Err(Error::OtherFormat { path, found: genesis.format });
    }
    if genesis.chain_id != wanted.chain_id {
        return Err(Error::OtherChain { path, found: genesis.chain_id, wanted: wanted.chain_id });
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let failed = |source| Error::Io { doing: "lock", path: path.clone(), source };
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
