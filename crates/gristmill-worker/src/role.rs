use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_data::BlobStore;
use gristmill_proto::app::Runtime;
use gristmill_proto::host::HostPort;
use gristmill_proto::id::WorkerId;
use gristmill_proto::key::WorkerKey;
use gristmill_proto::message::WorkerOffer;
use gristmill_proto::requirement::NETWORK;
use reqwest::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::apps::AppCache;
use crate::attempts::Attempts;
use crate::container::{IMAGES_BYTES_MAX, Images, Registries, Registry};
use crate::link::{LinkError, worker_url};
use crate::patience::Patience;
use crate::policy::Policy;
use crate::pools::{PoolUrl, Pools};
use crate::sandbox::{self, Sandbox, SandboxError};
use crate::session::Session;
use crate::vm::Accel;
use crate::votes::VoteFolder;
use crate::wasm::{Settings, Wasm, WasmError};

#[derive(Clone, Debug)]
pub struct Config {
    /// The pool's one origin, `https://pool.example`; those of all its schedulers with commas between them.
    pub pool_url: String,
    pub data_dir: PathBuf,
    /// A name for people.
    pub name: String,
    /// Attempts run at once.
    pub slots: u32,
    pub memory_bytes: u64,
    /// What jobs may ask for.
    pub labels: BTreeMap<String, String>,
    pub sandbox: sandbox::Config,
    pub policy: Policy,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot use the folder {}\n\nhint: choose a folder you can write to with --data-dir", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another worker uses the folder {}\n\nhint: stop it, or choose another --data-dir", path.display())]
    InUse { path: PathBuf },
    #[error("{} is no key: expected 64 hexadecimal digits", path.display())]
    Key { path: PathBuf },
    #[error("the pool's address must begin with http:// or https://, not `{0}`")]
    Url(String),
    #[error("{} does not say how registries are reached: {reason}\n\nhint: write {EXAMPLE}", path.display())]
    Registries { path: PathBuf, reason: String },
    #[error(
        "this machine offers none of the runtimes that its owner allows\n\nhint: allow process or wasm with --runtime"
    )]
    NoRuntime,
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Wasm(#[from] WasmError),
    #[error(transparent)]
    Blobs(#[from] gristmill_data::StoreError),
}

const EXAMPLE: &str = r#"{"docker.io": {"mirrors": ["mirror.example"], "login": {"user": "…", "password": "…"}}}"#;
/// The label that says how virtual machines run: `vm == kvm`.
const VM: &str = "vm";
/// The label by which jobs ask for the walls they want: `isolation >= 2`.
const ISOLATION: &str = "isolation";

/// A connection that lasted so long was a good one: the next failure starts with short pauses again.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);

/// A worker that has its key, its folder and a sandbox that was tried.
pub struct Worker {
    session: Session,
    pools: Pools,
    _folder: File,
}

impl Worker {
    pub async fn open(config: Config) -> Result<Self, WorkerError> {
        let folder = lock_folder(&config.data_dir)?;
        let key = load_key(&config.data_dir.join("key"))?;
        let pools = Pools::new(&config.pool_url);
        if let Some(url) = pools.given().iter().find(|url| worker_url(url).is_none()) {
            return Err(WorkerError::Url(url.clone()));
        }
        let pool_url = PoolUrl::new(pools.current());
        let sandbox = Sandbox::open(config.sandbox).await?;
        let client = Client::new();
        let blobs = BlobStore::open(&config.data_dir)?;
        let scratch = config.data_dir.join("machines");
        // What a worker that was killed has left.
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).map_err(|source| WorkerError::Folder { path: scratch.clone(), source })?;
        let accel = Accel::choose(&sandbox, &scratch).await.ok();
        let vm = accel.map(|_| Runtime::Vm);
        let working: Vec<_> = [Runtime::Process, Runtime::Wasm, Runtime::Container].into_iter().chain(vm).collect();
        let runtimes = config.policy.offered(&working);
        if runtimes.is_empty() {
            return Err(WorkerError::NoRuntime);
        }
        let secret = key.secret("gristmill worker compiled modules v1");
        let wasm = Wasm::open(&config.data_dir.join("wasm"), secret, config.slots, Settings::default())?;
        let known = load_registries(&config.data_dir.join("registries.json"))?;
        let registries = Registries { client: client.clone(), known };
        let images_dir = config.data_dir.join("images");
        let images = Images::open(images_dir.clone(), registries, IMAGES_BYTES_MAX)
            .map_err(|source| WorkerError::Folder { path: images_dir, source })?;
        let mut labels = config.labels;
        if let Some(accel) = accel {
            labels.insert(VM.into(), accel.to_string());
        }
        if config.policy.hosts_allowed.is_empty() {
            labels.remove(NETWORK);
        } else {
            let hosts = config.policy.hosts_allowed.iter().map(HostPort::to_string).collect::<Vec<_>>().join(" ");
            labels.insert(NETWORK.into(), hosts);
        }
        labels.insert(ISOLATION.into(), sandbox.isolation().class().to_string());
        let apps =
            AppCache::new(blobs, config.data_dir.join("apps"), client.clone(), pool_url.clone(), runtimes.clone())
                .under(config.policy);
        let folder_error = |source| WorkerError::Folder { path: config.data_dir.clone(), source };
        let votes = VoteFolder::open(config.data_dir.join("votes")).map_err(folder_error)?;
        let kept = votes.kept().map_err(folder_error)?;
        let attempts = Arc::new(Attempts {
            worker: key.id(),
            sandbox,
            wasm,
            apps,
            images,
            accel,
            scratch,
            client,
            pool_url,
            votes,
        });
        let offer = WorkerOffer {
            name: config.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            runtimes,
            slots: config.slots,
            memory_bytes: config.memory_bytes,
            // The sandbox shows no device.
            gpus: 0,
            labels,
        };
        Ok(Self { session: Session::new(key, offer, attempts, kept), pools, _folder: folder })
    }

    pub fn id(&self) -> WorkerId {
        self.session.id()
    }

    /// Works for the pool until told to stop; then nothing of any attempt is left.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut patience = Patience::default();
        while !shutdown.is_cancelled() {
            let started = tokio::time::Instant::now();
            let Err(error) = self.session.connected(self.pools.current(), &shutdown).await else { break };
            match &error {
                LinkError::Lost(_) | LinkError::StandsBy { .. } => info!(%error, "trying again"),
                LinkError::Unreachable(_) | LinkError::Refused(_) | LinkError::Protocol(_) => {
                    warn!(%error, "trying again");
                }
            }
            if started.elapsed() > GOOD_CONNECTION {
                patience = Patience::default();
            }
            self.pools.turn(match error {
                LinkError::StandsBy { leader, .. } => leader,
                _ => None,
            });
            tokio::select! {
                () = patience.wait() => {}
                () = self.session.offline() => {}
                () = shutdown.cancelled() => {}
            }
        }
        self.session.stop().await;
        info!("worker stopped");
    }
}

fn lock_folder(dir: &Path) -> Result<File, WorkerError> {
    let folder = |source| WorkerError::Folder { path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(folder)?;
    let file = File::create(dir.join("lock")).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(WorkerError::InUse { path: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(folder(error)),
    }
}

/// Mirrors and sign-ins of registries, if the owner has any.
fn load_registries(path: &Path) -> Result<BTreeMap<String, Registry>, WorkerError> {
    let said = |reason: String| WorkerError::Registries { path: path.to_owned(), reason };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| said(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(said(error.to_string())),
    }
}

/// A key from its file, which is made when it is missing and is readable by its owner only.
pub fn load_key(path: &Path) -> Result<WorkerKey, WorkerError> {
    let folder = |source| WorkerError::Folder { path: path.to_owned(), source };
    let invalid = || WorkerError::Key { path: path.to_owned() };
    match fs::read_to_string(path) {
        Ok(text) => {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| invalid())?;
            WorkerKey::from_bytes(&bytes).map_err(|_| invalid())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (key, bytes) = random_key();
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(folder)?;
            file.write_all(hex::encode(bytes).as_bytes()).and_then(|()| file.sync_all()).map_err(folder)?;
            Ok(key)
        }
        Err(error) => Err(folder(error)),
    }
}

fn random_key() -> (WorkerKey, [u8; 32]) {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        // All but one in 2^128 are keys.
        if let Ok(key) = WorkerKey::from_bytes(&bytes) {
            return (key, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = load_key(&path).unwrap().id();
        assert_eq!(load_key(&path).unwrap().id(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "abc").unwrap();
        assert!(matches!(load_key(&path), Err(WorkerError::Key { .. })));
    }
}
