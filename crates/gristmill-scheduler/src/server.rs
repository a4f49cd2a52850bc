//! The pool as a role: opens its folder, listens on one port, serves workers and people.

mod apart;
mod api;
mod apps;
mod blobs;
mod events;
mod external_ids;
mod front;
mod leading;
mod worker_session;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use gristmill_data::BlobStore;
use gristmill_proto::app::AppManifest;
use gristmill_proto::digest::Digest;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use apart::Apart;

use crate::apps::Apps;
use crate::core::{Replication, Tuning, Weights};
use crate::pool::Pool;
use crate::shares::ShareCheckers;
use crate::store::{Seat, Store, WriterFailed};
use external_ids::ExternalIds;
use front::Front;
use leading::Reign;

#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// The pool's name; workers sign it, so it must not change.
    pub name: String,
    pub tuning: Tuning,
    /// How users share the pool.
    pub weights: Weights,
    /// What is assumed of workers that vote on replicated tasks.
    pub replication: Replication,
    /// What keeps the voters on one task apart.
    pub apart: Apart,
    /// Who can tell the shares of a search, by the name that jobs use.
    pub share_checkers: ShareCheckers,
    /// More about this pool, shown to everyone who asks.
    pub about: serde_json::Map<String, serde_json::Value>,
    /// A database that other schedulers use too; a file in the folder if there is none.
    pub shared: Option<Shared>,
    /// Where blobs lie, if not in the folder. Schedulers of one pool share it.
    pub blobs_dir: Option<PathBuf>,
    /// Only those apps run that the admin has approved.
    pub approved_apps_only: bool,
}

/// How a scheduler is one of several.
#[derive(Clone, Debug)]
pub struct Shared {
    pub database: Box<tokio_postgres::Config>,
    /// A leader that could not say for so long that it lives leads no more.
    pub lease: Duration,
    /// Where workers and clients reach this scheduler, if not where it listens.
    pub url: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot use the folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another process uses the folder {}", path.display())]
    InUse { path: PathBuf },
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Blobs(#[from] gristmill_data::StoreError),
    #[error(transparent)]
    Writer(#[from] WriterFailed),
    #[error("the server stopped")]
    Serve(#[source] io::Error),
}

/// A pool that listens but does not serve yet.
pub struct Scheduler {
    listener: TcpListener,
    address: SocketAddr,
    token: String,
    blobs: BlobStore,
    /// Of a pool of its own: what its database holds. One that shares it looks when it leads.
    alone: Option<Store>,
    config: Config,
    extra: Router,
    led: Router,
    _folder: FolderLock,
}

pub(crate) struct Api {
    pub(crate) pool: Arc<Pool>,
    pub(crate) pool_name: Arc<str>,
    pub(crate) apps: Mutex<Apps>,
    pub(crate) manifests: Mutex<HashMap<Digest, Arc<AppManifest>>>,
    pub(crate) apart: Apart,
    /// Shown by whoever may change jobs.
    pub(crate) token: Arc<str>,
    pub(crate) about: serde_json::Map<String, serde_json::Value>,
    external_ids: ExternalIds,
    /// Event streams that may still be opened.
    watchers: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
}

impl Scheduler {
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        let folder = FolderLock::take(&config.data_dir)?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| ServerError::Listen { address: config.listen, source })?;
        let address = listener.local_addr().map_err(|source| ServerError::Listen { address: config.listen, source })?;
        let blobs = BlobStore::open(config.blobs_dir.as_ref().unwrap_or(&config.data_dir))?;
        let token_file = config.data_dir.join("token");
        let mut token = secret_file(&token_file)?;
        let alone = match &config.shared {
            None => Some(Store::open(&config.data_dir.join("pool.sqlite"))?),
            // A database that is not there is told of now, and waited for later.
            Some(shared) => {
                token = Seat::open(&shared.database, shared.lease)?.token(&token)?;
                write_secret(&token_file, &token)?;
                None
            }
        };
        let (extra, led) = (Router::new(), Router::new());
        Ok(Self { listener, address, token, blobs, alone, config, extra, led, _folder: folder })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets its holder change jobs over the API; also in the file `token` of the pool's folder. The same at all
    /// schedulers of a shared database.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where the pool keeps apps, inputs and outputs.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    /// Serves more on the same origin: the page, the way to the chain.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.extra = self.extra.merge(routes);
        self
    }

    /// Serves more while it leads; a stand-by refuses it.
    #[must_use]
    pub fn with_routes_led(mut self, routes: Router) -> Self {
        self.led = self.led.merge(routes);
        self
    }

    /// Serves until `shutdown`, or until a database of its own takes no more. With others it leads or stands by.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let stopping = shutdown.child_token();
        let url = self.config.shared.as_ref().and_then(|shared| shared.url.clone()).unwrap_or_else(|| self.url());
        let front = Front::new(self.config.name.clone(), self.extra, self.led);
        // Small messages must not wait for each other's acknowledgement.
        let listener = self.listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = front::router(front.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, router).with_graceful_shutdown(stopping.clone().cancelled_owned());
        info!(address = %self.address, "pool listens");
        let leading = async {
            match self.alone.take() {
                Some(store) => {
                    let reign = Reign::begin(store, &self.config, self.blobs, self.token, url, None)?;
                    Ok(reign.serve(&front, stopping.clone()).await?)
                }
                None => leading::take_turns(&self.config, &self.blobs, &self.token, &url, &front, &stopping).await,
            }
        };
        let serving = async { server.await.map_err(ServerError::Serve) };
        tokio::pin!(serving, leading);
        let served = tokio::select! {
            // A pool of its own leads before it answers anybody.
            biased;
            led = &mut leading => match led {
                // What is being answered is answered to its end.
                Ok(()) => serving.await,
                Err(error) => {
                    error!(error = &error as &dyn std::error::Error, "pool stops: nothing that was acknowledged is lost");
                    Err(error)
                }
            },
            served = &mut serving => {
                stopping.cancel();
                // A leader that stops says so, and nobody waits for its lease.
                leading.await.and(served)
            }
        };
        stopping.cancel();
        served
    }
}

/// Holds a role's folder for one process.
struct FolderLock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl FolderLock {
    fn take(dir: &Path) -> Result<Self, ServerError> {
        let folder = |source| ServerError::Folder { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(folder)?;
        let file = File::create(dir.join("lock")).map_err(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => Err(ServerError::InUse { path: dir.to_owned() }),
            Err(fs::TryLockError::Error(error)) => Err(folder(error)),
        }
    }
}

/// The secret in a file that only its owner can read; made when missing.
fn secret_file(path: &Path) -> Result<String, ServerError> {
    let folder = |source| ServerError::Folder { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = hex::encode(random_bytes());
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(folder)?;
            file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(folder)?;
            Ok(secret)
        }
        Err(error) => Err(folder(error)),
    }
}

/// Replaces the secret in a file, if it is another.
fn write_secret(path: &Path, secret: &str) -> Result<(), ServerError> {
    if secret_file(path)? == secret {
        return Ok(());
    }
    let folder = |source| ServerError::Folder { path: path.to_owned(), source };
    let fresh = path.with_added_extension("part");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(folder)?;
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(folder)?;
    fs::rename(&fresh, path).map_err(folder)
}

pub(crate) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
