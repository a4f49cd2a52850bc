//! What passes between the worker and its launcher: one specification in, a few reports out, over a packet socket.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use gristmill_proto::codec;
use gristmill_proto::outcome::Limit;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use serde::{Deserialize, Serialize};

use super::cgroup::{DiskBytes, Group, Used};
use super::syscall;

/// A job's texts and its input paths fit many times.
const SPEC_BYTES_MAX: usize = 4 << 20;
const REPORT_BYTES_MAX: usize = 4096;

/// What to run and within which walls. Paths are the host's unless said otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) ground: Ground,
    /// The app's files, shown as `/app`.
    pub(crate) app_dir: Option<PathBuf>,
    /// A path inside, or a name to be looked for in the environment's `PATH`. `None` builds the sandbox, enters it and
    /// ends there: how a host is probed.
    pub(crate) program: Option<String>,
    /// Inside.
    pub(crate) work_dir: String,
    /// Who the app is to itself: user and group.
    pub(crate) inner_ids: (u32, u32),
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Path below `/in` and the file shown there.
    pub(crate) inputs: Vec<(String, PathBuf)>,
    /// Empty files in `/out` and their sizes, for programs that find their outputs there.
    pub(crate) blank: Vec<(String, u64)>,
    pub(crate) disk_bytes: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) processes: u32,
    /// Without a memory cgroup: what all processes together may hold, watched by the sandbox's own init.
    pub(crate) watched_memory_bytes: Option<u64>,
    /// Whether there is a way out: TCP to [`super::egress::PORT`] of the sandbox's own loopback, where the worker listens.
    pub(crate) egress: bool,
    pub(crate) group: Option<Group>,
    /// The host user the app runs as; `None`: the user who runs the worker.
    pub(crate) host_ids: Option<super::HostIds>,
}

/// What the app stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ground {
    /// Nothing but its own files.
    Bare,
    /// An unpacked image. What the app writes to it lies on its disk, and vanishes with that.
    Image { rootfs: PathBuf },
    /// The machine's installed programs, to read and execute; and its processor's virtualisation.
    Machine { kvm: bool },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The socket at which the app asks to be connected to the world; it comes along. Said before all others.
    Egress,
    /// The file system stands; a descriptor of `/out` comes along.
    Ready { landlock: bool },
    /// The app could not be started. Nothing of it has run.
    Failed { part: Part, reason: String },
    /// Of the app, or of the watch over it.
    Ended(End),
    /// Every process of the sandbox is dead and reaped, its group removed.
    Gone { cpu_ms: u64, memory_peak_bytes: u64, disk: DiskBytes, used: Used },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
}

/// What the sandbox's first process can tell about the end of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Exited {
        status: Status,
        watched: Watched,
    },
    /// Over a limit that no control group keeps.
    Over {
        limit: Limit,
        watched: Watched,
    },
}

/// Seen by looking now and then, where no control group counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub(crate) memory_peak_bytes: u64,
    pub(crate) processes_met: bool,
}

/// A part of the sandbox, as named to the worker's owner when it cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    Launcher,
    Cgroup,
    UserNamespace,
    Namespaces,
    RootFilesystem,
    UnprivilegedUser,
    Limits,
    NoNewPrivileges,
    Landlock,
    Seccomp,
    /// Not a wall, but a door in it.
    Egress,
    /// Not a wall: the app's program itself could not be executed.
    Program,
}

#[derive(Debug, thiserror::Error)]
#[error("{part}: {reason}")]
pub(super) struct Failure {
    pub(super) part: Part,
    pub(super) reason: String,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Launcher => "launcher",
            Self::Cgroup => "control group",
            Self::UserNamespace => "user namespace",
            Self::Namespaces => "mount, process, network, IPC and host name namespaces",
            Self::RootFilesystem => "private root file system",
            Self::UnprivilegedUser => "unprivileged user",
            Self::Limits => "resource limits",
            Self::NoNewPrivileges => "no new privileges",
            Self::Landlock => "Landlock",
            Self::Seccomp => "seccomp filter",
            Self::Egress => "way to the network",
            Self::Program => "program",
        })
    }
}

/// Adds the part and what was being done to a system error.
pub(super) trait Context<T> {
    fn part(self, part: Part, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Context<T> for Result<T, E> {
    fn part(self, part: Part, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure { part, reason: format!("{}: {error}", doing()) })
    }
}

pub(super) fn socket_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

fn send(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[RawFd]) -> nix::Result<()> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(packet)], control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// The specification travels in an anonymous file, because it may be longer than a packet.
pub(super) fn send_spec(socket: BorrowedFd<'_>, spec: &Spec, channel: &OwnedFd) -> std::io::Result<()> {
    let file = memfd_create("gristmill-spec", MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&codec::encode(spec))?;
    std::io::Seek::rewind(&mut file)?;
    Ok(send(socket, b"spec", &[file.as_raw_fd(), channel.as_raw_fd()])?)
}

/// `None`: the worker is gone before it said what to do.
pub(super) fn receive_spec(socket: BorrowedFd<'_>) -> std::io::Result<Option<(Spec, OwnedFd)>> {
    let mut packet = [0; 16];
    let (length, descriptors) = syscall::receive(socket, &mut packet)?;
    if length == 0 {
        return Ok(None);
    }
    let [file, channel] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|found| std::io::Error::other(format!("{} descriptors instead of two", found.len())))?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).read_to_end(&mut bytes)?;
    let spec = codec::decode(&bytes, SPEC_BYTES_MAX).map_err(std::io::Error::other)?;
    Ok(Some((spec, channel)))
}

pub(super) fn send_report(socket: BorrowedFd<'_>, report: &Report, along: Option<&OwnedFd>) -> nix::Result<()> {
    let descriptors: Vec<RawFd> = along.map(|fd| fd.as_fd().as_raw_fd()).into_iter().collect();
    send(socket, &codec::encode(report), &descriptors)
}

/// `None`: launcher and sandbox are gone.
pub(super) fn receive_report(socket: BorrowedFd<'_>) -> std::io::Result<Option<(Report, Option<OwnedFd>)>> {
    let mut packet = [0; REPORT_BYTES_MAX];
    let (length, mut descriptors) = syscall::receive(socket, &mut packet)?;
    if length == 0 {
        return Ok(None);
    }
    let report = codec::decode(&packet[..length], REPORT_BYTES_MAX).map_err(std::io::Error::other)?;
    Ok(Some((report, descriptors.pop())))
}
