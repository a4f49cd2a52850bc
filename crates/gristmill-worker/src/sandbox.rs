//! The walls around a stranger's program: namespaces, an own root file system, an unprivileged user, limits, Landlock
//! and seccomp, as root and as an ordinary user. There is no weaker mode: what cannot be had is a [`SandboxError`] that
//! names the part. `docs/sandbox.md` says what an app sees and which wall stops what.
//!
//! [`Sandbox::open`] proves the host once; [`crate::process`] runs attempts in it. Inside, in the order of a life:
//! `running` (worker's side) executes `launcher`, which forks `init`, which builds `root` and forks `app`.

mod app;
pub(crate) mod cgroup;
pub(crate) mod egress;
mod init;
mod landlock;
mod launcher;
pub(crate) mod out;
mod root;
pub(crate) mod running;
mod seccomp;
mod syscall;
mod watch;
pub(crate) mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_proto::job::Limits;
use nix::unistd::{Gid, Uid, geteuid};
use serde::{Deserialize, Serialize};

use self::cgroup::{Bounds, Cgroups, Group, Version};
pub use self::launcher::{LAUNCHER_ARGUMENT, launcher_main};
use self::running::{Running, Spare, Streams};
pub(crate) use self::syscall::set_nice;
pub use self::wire::Part;
use self::wire::{Ground, Spec};
use crate::egress::Gate;

#[derive(Clone, Debug)]
pub struct Config {
    /// A binary that calls [`launcher_main`] when its first argument is [`LAUNCHER_ARGUMENT`]: `/proc/self/exe` if that
    /// is the worker's own, which stays right when the file is replaced by an upgrade.
    pub launcher: PathBuf,
    /// Whom apps run as when the worker runs as root.
    pub host_ids: HostIds,
}

/// A range of users and groups of the host that nobody else uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIds {
    pub first: u32,
    pub count: u32,
}

impl Default for HostIds {
    /// Inside the range that systemd's table of user ids leaves unused, one for each process id Linux can have.
    fn default() -> Self {
        Self { first: 1_900_000_000, count: 1 << 22 }
    }
}

impl HostIds {
    /// In a container root may have only some users to give.
    fn check(self) -> Result<(), SandboxError> {
        let reason = |reason| SandboxError::Part { part: Part::UnprivilegedUser, reason };
        for file in ["/proc/self/uid_map", "/proc/self/gid_map"] {
            let map = std::fs::read_to_string(file).map_err(|error| reason(format!("{file}: {error}")))?;
            if !self.is_within(&map) {
                let Self { first, count } = self;
                return Err(reason(format!("{count} ids from {first} on are not all in {file}: {}", map.trim())));
            }
        }
        Ok(())
    }

    fn is_within(self, map: &str) -> bool {
        let last = u64::from(self.first) + u64::from(self.count.max(1)) - 1;
        map.lines().any(|line| {
            let mut numbers = line.split_whitespace().map(str::parse::<u64>);
            let (Some(Ok(inside)), Some(_), Some(Ok(length))) = (numbers.next(), numbers.next(), numbers.next()) else {
                return false;
            };
            (inside..inside.saturating_add(length)).contains(&self.first.into())
                && (inside..inside.saturating_add(length)).contains(&last)
                && self.first != 0
        })
    }

    /// A user of its own for each sandbox: no two launchers alive have the same process id.
    fn pick(self, launcher: u32) -> (Uid, Gid) {
        let id = self.first + launcher % self.count.max(1);
        (Uid::from_raw(id), Gid::from_raw(id))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("sandbox: {part}: {reason}")]
    Part { part: Part, reason: String },
    #[error("sandbox: cannot execute the launcher {}: {source}", launcher.display())]
    Launcher { launcher: PathBuf, source: std::io::Error },
    #[error("sandbox: the launcher ended without a word")]
    Silent,
}

/// A host on which the sandbox has been tried and found whole.
#[derive(Debug)]
pub struct Sandbox {
    config: Config,
    /// Without, limits of single processes and a watch inside the sandbox take their place. The error says why not.
    cgroups: Result<Cgroups, String>,
    landlock: bool,
    /// For the next sandbox, so that it need not wait for what all have in common. Serves one and ends with it.
    spare: Mutex<Option<Spare>>,
}

/// What hosts differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    pub landlock: bool,
    /// The version, or why there are none.
    pub control_groups: Result<u8, String>,
}

impl Isolation {
    /// What jobs may ask for, by the label `isolation`. 1: every required wall. 2: Landlock behind them, and limits kept
    /// by the kernel. Virtual machines are not asked for by it, but by their runtime.
    pub fn class(&self) -> u32 {
        if self.landlock && self.control_groups.is_ok() { 2 } else { 1 }
    }
}

impl Sandbox {
    /// Tries every part by entering a sandbox and leaving it before the program would start.
    pub async fn open(config: Config) -> Result<Self, SandboxError> {
        if geteuid().is_root() {
            config.host_ids.check()?;
        }
        let mut sandbox = Self { config, cgroups: Cgroups::find(), landlock: false, spare: Mutex::default() };
        let limits = Limits { memory_bytes: 64 << 20, disk_bytes: 1 << 20, ..Limits::default() };
        let spec = Spec { app_dir: Some(std::env::temp_dir()), ..sandbox.walls(&limits) };
        let (running, _streams) = sandbox.start(spec, Bounds::of(&limits, 1), None)?;
        let ended = running.finish().await;
        match ended.failed {
            Some(error) => Err(error),
            None if ended.status.is_none() => Err(SandboxError::Silent),
            None => {
                sandbox.landlock = ended.landlock;
                Ok(sandbox)
            }
        }
    }

    pub fn isolation(&self) -> Isolation {
        let version = |cgroups: &Cgroups| match cgroups.version {
            Version::One => 1,
            Version::Two => 2,
        };
        Isolation { landlock: self.landlock, control_groups: self.cgroups.as_ref().map(version).map_err(String::clone) }
    }

    /// Everything of a specification that does not depend on the app.
    pub(crate) fn walls(&self, limits: &Limits) -> Spec {
        Spec {
            ground: Ground::Bare,
            app_dir: None,
            program: None,
            work_dir: "/out".into(),
            inner_ids: (app::INNER_ID, app::INNER_ID),
            args: Vec::new(),
            env: Vec::new(),
            inputs: Vec::new(),
            blank: Vec::new(),
            disk_bytes: limits.disk_bytes,
            cpu_ms: limits.cpu_ms,
            processes: limits.processes,
            egress: false,
            watched_memory_bytes: self.cgroups.is_err().then_some(limits.memory_bytes),
            group: None,
            host_ids: geteuid().is_root().then_some(self.config.host_ids),
        }
    }

    /// A gate opens a way out of it.
    pub(crate) fn start(
        &self,
        mut spec: Spec,
        bounds: Bounds,
        gate: Option<Arc<Gate>>,
    ) -> Result<(Running, Streams), SandboxError> {
        spec.egress = gate.is_some();
        let bounded = self.cgroups.as_ref().ok().map(|cgroups| {
            let group = cgroups.make()?;
            group.bound(bounds).inspect_err(|_| group.remove())?;
            Ok(group)
        });
        let group = bounded
            .transpose()
            .map_err(|error: std::io::Error| SandboxError::Part { part: Part::Cgroup, reason: error.to_string() })?;
        spec.group.clone_from(&group);
        let started = self.take_spare(&spec).and_then(|spare| Running::start(spare, &spec, gate));
        // While the sandbox is being built.
        *self.spare() = self.make_spare(&spec).ok();
        started.map_err(|source| {
            // Nobody else will.
            group.iter().for_each(Group::remove);
            SandboxError::Launcher { launcher: self.config.launcher.clone(), source }
        })
    }

    fn take_spare(&self, spec: &Spec) -> std::io::Result<Spare> {
        let spare = self.spare().take();
        spare.map_or_else(|| self.make_spare(spec), Ok)
    }

    fn make_spare(&self, spec: &Spec) -> std::io::Result<Spare> {
        Spare::spawn(&self.config.launcher, spec.host_ids)
    }

    fn spare(&self) -> MutexGuard<'_, Option<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_part_is_of_a_lower_class() {
        let class = |landlock, control_groups| Isolation { landlock, control_groups }.class();
        assert_eq!(class(true, Ok(1)), 2);
        assert_eq!([class(false, Ok(2)), class(true, Err(String::new()))], [1, 1]);
    }

    #[test]
    fn host_ids_must_all_be_mapped_and_never_be_root() {
        let ids = |first, count| HostIds { first, count };
        let host = "         0          0 4294967295\n";
        assert!(HostIds::default().is_within(host));
        assert!(!ids(0, 1).is_within(host));
        let container = "0 100000 65536\n";
        assert!(!HostIds::default().is_within(container));
        assert!(ids(60_000, 5536).is_within(container));
        assert!(!ids(60_000, 5537).is_within(container));
        assert!(!ids(u32::MAX, 2).is_within(host));
    }
}
