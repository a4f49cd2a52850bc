//! Roles running in this process: started one by one, stopped together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use gristmill_chain::dev::{self, DevChain};
use gristmill_scheduler::server::{Config as SchedulerConfig, Scheduler, ServerError};
use gristmill_worker::sandbox;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Roles of one process. The first that ends by itself ends them all.
pub struct Roles {
    tasks: JoinSet<(&'static str, Result<()>)>,
    shutdown: CancellationToken,
}

impl Roles {
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    pub fn start(&mut self, name: &'static str, role: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, role.await) });
    }

    /// Resolves when a role has ended before it was told to; the others go on until [`Roles::stop`].
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow!("the {name} stopped by itself"),
            Some(Ok((name, Err(error)))) => error.context(format!("the {name} failed")),
            Some(Err(panic)) => anyhow!(panic).context("a role failed"),
            None => std::future::pending().await,
        }
    }

    /// Tells every role to stop and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        self.shutdown.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended =
                ended.map_err(Into::into).and_then(|(name, ended)| ended.with_context(|| format!("the {name} failed")));
            result = result.and(ended);
        }
        result
    }
}

/// An address to listen on, and whether another port will do if that is taken.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    pub or_any_port: bool,
    /// The option that chooses it.
    pub option: &'static str,
}

impl Listen {
    pub fn exactly(address: SocketAddr, option: &'static str) -> Self {
        Self { address, or_any_port: false, option }
    }

    /// This port of the loopback interface, or any other.
    pub fn preferably(port: u16, option: &'static str) -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, port).into(), or_any_port: true, option }
    }

    /// A remark if another port had to do.
    pub fn elsewhere(self, url: &str) -> String {
        let taken = self.or_any_port && !url.ends_with(&format!(":{}", self.address.port()));
        if taken { format!("  ({} is taken)", self.address.port()) } else { String::new() }
    }

    fn hint(self) -> String {
        format!("\n\nhint: another program may use that port; choose one with {}", self.option)
    }

    fn any_port(self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), 0)
    }
}

const IN_USE: &str = "\n\nhint: stop the other process, or choose another --data-dir";
const NOT_WRITABLE: &str = "\n\nhint: choose a folder you can write to with --data-dir";

pub async fn bind_chain(config: dev::Config, listen: Listen) -> Result<DevChain> {
    let config = dev::Config { listen: listen.address, ..config };
    let any = dev::Config { listen: listen.any_port(), ..config.clone() };
    let chain = match dev::bind(config).await {
        Err(dev::Error::Listen { .. }) if listen.or_any_port => dev::bind(any).await,
        bound => bound,
    };
    chain.map_err(|error| {
        let hint = match &error {
            dev::Error::Listen { .. } => listen.hint(),
            dev::Error::Locked { .. } => IN_USE.to_owned(),
            dev::Error::Io { .. } => NOT_WRITABLE.to_owned(),
            _ => String::new(),
        };
        with_hint(&error, &hint)
    })
}

pub async fn bind_scheduler(config: SchedulerConfig, listen: Listen) -> Result<Scheduler> {
    let config = SchedulerConfig { listen: listen.address, ..config };
    let any = SchedulerConfig { listen: listen.any_port(), ..config.clone() };
    let scheduler = match Scheduler::bind(config).await {
        Err(ServerError::Listen { .. }) if listen.or_any_port => Scheduler::bind(any).await,
        bound => bound,
    };
    scheduler.map_err(|error| {
        let hint = match &error {
            ServerError::Listen { .. } => listen.hint(),
            ServerError::InUse { .. } => IN_USE.to_owned(),
            ServerError::Folder { .. } => NOT_WRITABLE.to_owned(),
            _ => String::new(),
        };
        with_hint(&error, &hint)
    })
}

/// The hint belongs to the first line: it is what the reader does next.
fn with_hint(error: &dyn std::error::Error, hint: &str) -> anyhow::Error {
    anyhow!("{}{hint}", causes(error))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The sandbox's launcher is this program itself.
pub fn sandbox_config() -> sandbox::Config {
    // Not its path: an upgrade may put another program there while this one runs.
    sandbox::Config { launcher: "/proc/self/exe".into(), host_ids: sandbox::HostIds::default() }
}

/// Where roles keep their folders: `$GRISTMILL_HOME`, or `gristmill` in the user's data directory.
pub fn home() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("GRISTMILL_HOME")
        .or_else(|| from("XDG_DATA_HOME").map(|dir| dir.join("gristmill")))
        .or_else(|| from("HOME").map(|dir| dir.join(".local/share/gristmill")))
        .context("neither GRISTMILL_HOME nor HOME is set\n\nhint: set GRISTMILL_HOME to the folder where all is kept")
}

/// The folder given, or the role's own below [`home`].
pub fn folder(given: Option<PathBuf>, role: &str) -> Result<PathBuf> {
    given.map_or_else(|| Ok(home()?.join(role)), Ok)
}

/// Memory of this machine, in bytes.
pub fn machine_memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(1 << 20) * 1024
}

pub fn machine_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

pub fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "worker".to_owned() } else { name.to_owned() }
}

/// Holds a role's folder for this process; nothing if another has it.
pub fn try_lock(dir: &Path) -> Result<Option<std::fs::File>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}{NOT_WRITABLE}", dir.display()))?;
    let file = std::fs::File::create(dir.join("lock"))
        .with_context(|| format!("cannot write to {}{NOT_WRITABLE}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Lets this process open as many files as the system allows: every worker is one. Root may ask for more than that.
pub fn open_many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = hard.max(FILES_WANTED);
    if setrlimit(Resource::RLIMIT_NOFILE, raised, raised).is_err() && soft < hard {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

const FILES_WANTED: u64 = 1 << 17;
