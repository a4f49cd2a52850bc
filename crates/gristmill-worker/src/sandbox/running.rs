//! A sandbox at work, seen from the worker.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gristmill_proto::outcome::Limit;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cgroup::{DiskBytes, Group};
use super::launcher::{AS_ROOT, LAUNCHER_ARGUMENT};
use super::wire::{self, End, Report, Spec, Status, Watched};
use super::{HostIds, SandboxError};
use crate::egress::Gate;

/// The launcher answers at once or not at all.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

pub(crate) struct Running {
    child: Child,
    /// In truth a packet socket; tokio has no type for it, and only waits on this one.
    control: UnixStream,
    /// Until the launcher has removed it.
    group: Option<Group>,
    /// Who serves the way out.
    gate: Option<Arc<Gate>>,
    /// Closes what the app still has open.
    gate_open: Option<DropGuard>,
    seen: Ended,
}

#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
    pub(crate) channel: pipe::Receiver,
}

/// What is known once every process of the sandbox is dead.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) landlock: bool,
    /// Of the app, unless it was killed with everything else.
    pub(crate) status: Option<Status>,
    pub(crate) failed: Option<SandboxError>,
    /// Found by the watch inside.
    pub(crate) over: Option<Limit>,
    pub(crate) out_of_memory: bool,
    pub(crate) out_of_processes: bool,
    /// `/out`, kept by nothing else any more.
    pub(crate) out: Option<OwnedFd>,
    pub(crate) cpu_ms: u64,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) disk: DiskBytes,
}

/// A launcher that has done all that is the same for every sandbox, and waits to be told which.
#[derive(Debug)]
pub(super) struct Spare {
    child: Child,
    control: OwnedFd,
    channel: OwnedFd,
    streams: Streams,
}

impl Spare {
    pub(super) fn spawn(launcher: &Path, host_ids: Option<HostIds>) -> io::Result<Self> {
        let (control, launcher_control) = wire::socket_pair()?;
        let (stdout, app_stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, app_stderr) = pipe2(OFlag::O_CLOEXEC)?;
        let (channel, app_channel) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&control, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let child = Command::new(launcher)
            .arg(LAUNCHER_ARGUMENT)
            .args(host_ids.map(|_| AS_ROOT))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(launcher_control))
            .stdout(Stdio::from(app_stdout))
            .stderr(Stdio::from(app_stderr))
            // The owner's Ctrl-C is for the worker to act upon.
            .process_group(0)
            // Nor is it killed when dropped: the closed socket tells it to end, and it still has to tidy up.
            .spawn()?;
        let streams = Streams {
            stdout: pipe::Receiver::from_owned_fd(stdout)?,
            stderr: pipe::Receiver::from_owned_fd(stderr)?,
            channel: pipe::Receiver::from_owned_fd(channel)?,
        };
        Ok(Self { child, control, channel: app_channel, streams })
    }
}

impl Running {
    pub(super) fn start(spare: Spare, spec: &Spec, gate: Option<Arc<Gate>>) -> io::Result<(Self, Streams)> {
        let Spare { child, control, channel, streams } = spare;
        wire::send_spec(control.as_fd(), spec, &channel)?;
        let group = spec.group.clone();
        let control = UnixStream::from_std(control.into())?;
        Ok((Self { child, control, group, gate, gate_open: None, seen: Ended::default() }, streams))
    }

    /// Asks for the end of every process; [`Self::ended`] tells when they are gone.
    pub(crate) fn kill(&self) {
        // Fails only if the launcher is gone, and the sandbox with it.
        let _ = shutdown(self.control.as_raw_fd(), Shutdown::Write);
    }

    pub(crate) fn cpu_ms(&self) -> Option<u64> {
        self.group.as_ref()?.cpu_ms()
    }

    /// Waits until every process of the sandbox is dead. May be dropped and called again.
    pub(crate) async fn all_dead(&mut self) {
        loop {
            let control = &self.control;
            match control.async_io(Interest::READABLE, || wire::receive_report(control.as_fd())).await {
                Ok(Some((report, along))) => self.note(report, along),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "report of a sandbox");
                    return;
                }
            }
        }
    }

    fn note(&mut self, report: Report, along: Option<OwnedFd>) {
        match report {
            Report::Egress => {
                if let (Some(gate), Some(listener)) = (&self.gate, along) {
                    let over = CancellationToken::new();
                    tokio::spawn(gate.clone().serve(listener.into(), over.clone()));
                    self.gate_open = Some(over.drop_guard());
                }
            }
            Report::Ready { landlock } => {
                self.seen.landlock = landlock;
                self.seen.out = along;
            }
            Report::Failed { part, reason } => self.seen.failed = Some(SandboxError::Part { part, reason }),
            Report::Ended(End::Exited { status, watched }) => {
                self.seen.status = Some(status);
                self.note_watched(watched);
            }
            Report::Ended(End::Over { limit, watched }) => {
                self.seen.over = Some(limit);
                self.note_watched(watched);
            }
            Report::Gone { cpu_ms, memory_peak_bytes, disk, used } => {
                self.group = None;
                let seen = &mut self.seen;
                seen.cpu_ms = used.cpu_ms.unwrap_or(cpu_ms);
                seen.memory_peak_bytes =
                    used.memory_peak_bytes.unwrap_or(memory_peak_bytes.max(seen.memory_peak_bytes));
                seen.disk = used.disk.unwrap_or(disk);
                seen.out_of_memory = used.out_of_memory;
                seen.out_of_processes |= used.out_of_processes;
            }
        }
    }

    fn note_watched(&mut self, watched: Watched) {
        self.seen.memory_peak_bytes = watched.memory_peak_bytes;
        self.seen.out_of_processes = watched.processes_met;
    }

    /// Lets the sandbox come to its own end.
    pub(super) async fn finish(mut self) -> Ended {
        self.all_dead().await;
        self.bury().await
    }

    /// Buries the sandbox: call after [`Self::all_dead`], or to end it by force.
    pub(crate) async fn bury(mut self) -> Ended {
        self.kill();
        if tokio::time::timeout(KILL_PATIENCE, self.all_dead()).await.is_err() {
            tracing::error!("a sandbox's launcher does not answer; killing it");
            let _ = self.child.start_kill();
            if let Some(group) = &self.group {
                group.kill();
            }
            let _ = tokio::time::timeout(KILL_PATIENCE, self.all_dead()).await;
        }
        if tokio::time::timeout(KILL_PATIENCE, self.child.wait()).await.is_err() {
            tracing::error!("a sandbox's launcher does not end");
        }
        // Removed by the launcher, unless that was killed.
        if let Some(group) = self.group.take() {
            let _ = tokio::task::spawn_blocking(move || group.remove()).await;
        }
        self.seen
    }
}
