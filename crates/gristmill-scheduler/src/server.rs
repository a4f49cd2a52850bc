//! The pool as a role: opens its folder, listens on one port, serves workers and people.

mod apart;
mod api;
mod apps;
mod blobs;
mod events;
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
use crate::core::{Core, Replication, Tuning, Weights};
use crate::pool::{Clock, Pool};
use crate::shares::ShareCheckers;
use crate::store::{Store, Writer, WriterFailed};

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
    token: Arc<str>,
    pool: Arc<Pool>,
    apps: Apps,
    about: serde_json::Map<String, serde_json::Value>,
    apart: Apart,
    extra: Router,
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
        let token = secret_file(&config.data_dir.join("token"))?;
        let mut store = Store::open(&config.data_dir.join("pool.sqlite"))?;
        let restored = store.begin_run(random_bytes())?;
        let reader = store.reader()?;
        let mut core = Core::new(config.name, restored.secret, config.tuning, restored.run, restored.next_job)
            .with_weights(config.weights)
            .with_replication(config.replication);
        for (worker, class, standing) in restored.trust {
            core.restore_trust(worker, class, standing);
        }
        info!(run = restored.run, jobs = restored.jobs.len(), "pool restored");
        for job in restored.jobs {
            core.restore(job);
        }
        let apps = Apps::new(false, store.apps()?);
        let blobs = BlobStore::open(&config.data_dir)?;
        for (worker, standing) in restored.standings {
            core.restore_standing(worker, standing);
        }
        for (app, speed) in restored.speeds {
            core.restore_speed(app, speed);
        }
        let pool = Pool::new(core, Writer::start(store), reader, blobs, Clock::start(), config.share_checkers);
        Ok(Self {
            listener,
            address,
            token: token.into(),
            pool,
            apps,
            about: config.about,
            apart: config.apart,
            extra: Router::new(),
            _folder: folder,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets its holder change jobs over the API; also in the file `token` of the pool's folder.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where the pool keeps apps, inputs and outputs.
    pub fn blobs(&self) -> &BlobStore {
        &self.pool.blobs
    }

    /// Lets only those apps run that the admin has approved.
    #[must_use]
    pub fn with_approval(mut self) -> Self {
        self.apps.want_approval();
        self
    }

    /// Serves more on the same origin: the page, the way to the chain.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.extra = self.extra.merge(routes);
        self
    }

    /// Serves until `shutdown`, or until the database takes no more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let stopping = shutdown.child_token();
        let api = Arc::new(Api {
            pool: self.pool.clone(),
            apps: Mutex::new(self.apps),
            manifests: Mutex::default(),
            pool_name: self.pool.look(|core, _| core.pool().into()),
            apart: self.apart,
            token: self.token,
            about: self.about,
            watchers: Arc::new(Semaphore::new(events::WATCHERS_MAX)),
            shutdown: stopping.clone(),
        });
        let router = api::routes(api).merge(self.extra);
        let ticking = tokio::spawn(tick(self.pool.clone(), stopping.clone()));
        let failure = self.pool.failure();
        // Small messages must not wait for each other's acknowledgement.
        let listener = self.listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, router).with_graceful_shutdown(stopping.clone().cancelled_owned());
        info!(address = %self.address, "pool listens");
        let served = tokio::select! {
            served = async { server.await } => served.map_err(ServerError::Serve),
            failure = failure => {
                error!(%failure, "pool stops: nothing that was acknowledged is lost");
                Err(ServerError::Writer(failure))
            }
        };
        stopping.cancel();
        let _ = ticking.await;
        served
    }
}

/// Lets time pass for the core.
async fn tick(pool: Arc<Pool>, shutdown: CancellationToken) {
    let beat = Duration::from_millis(pool.look(|core, _| (core.tuning().reconnect_ms / 8).clamp(10, 250)));
    let mut interval = tokio::time::interval(beat);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(interval.tick()).await.is_some() {
        if pool.look(|core, now| core.next_tick().is_some_and(|at| at <= now)) {
            pool.act(|core, now, effects| core.tick(now, effects));
        }
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

pub(crate) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
