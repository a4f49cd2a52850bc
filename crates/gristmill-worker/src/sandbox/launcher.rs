//! The program between the worker and a sandbox. The worker has many threads and must not fork; it executes this
//! binary again instead, which stays outside the sandbox, starts its first process, and kills it when the worker says
//! so or is gone.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::time::TimeValLike;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, getgid, getuid, sethostname, write};

use super::cgroup::{DiskBytes, Group};
use super::init::{self, Init};
use super::syscall::SingleThread;
use super::wire::{self, Context, Failure, Part, Report, Spec};
use super::{app, egress, seccomp};

/// What a binary must see as its first argument to call [`launcher_main`].
pub const LAUNCHER_ARGUMENT: &str = "sandbox-launcher";

/// The second argument where the worker is root, and apps get users of the host's.
pub(super) const AS_ROOT: &str = "as-root";
/// In which the kernel counts what passes between memory and disks.
const BLOCK_BYTES: u64 = 512;
const HOST_NAME: &str = "gristmill";

/// The launcher's life. A binary that is given to [`super::Config`] as the launcher calls this first thing in `main`,
/// before it starts any thread, if its first argument is [`LAUNCHER_ARGUMENT`].
pub fn launcher_main() -> ! {
    let control = match take_control() {
        Ok(control) => control,
        // Typed by a person: there is no worker on the other side of standard input.
        Err(_) => std::process::exit(2),
    };
    let ended = launch(&control);
    let report = match ended {
        Ok(report) => report,
        Err(Failure { part, mut reason }) => {
            reason.truncate(reason.floor_char_boundary(1000));
            Some(Report::Failed { part, reason })
        }
    };
    if let Some(report) = report {
        let _ = wire::send_report(control.as_fd(), &report, None);
    }
    std::process::exit(0)
}

/// Standard input is the socket to the worker; moves it out of the way of the app's descriptors.
fn take_control() -> nix::Result<OwnedFd> {
    let stdin = std::io::stdin();
    super::syscall::duplicate_above(stdin.as_fd(), 10)
}

fn launch(control: &OwnedFd) -> Result<Option<Report>, Failure> {
    let as_root = std::env::args_os().any(|argument| argument == AS_ROOT);
    // Told when there is somebody who waits for it.
    let entered = enter_namespaces(as_root);
    seccomp::warm();
    let Some((spec, channel)) =
        wire::receive_spec(control.as_fd()).part(Part::Launcher, || "reading the specification".into())?
    else {
        return Ok(None);
    };
    let opened = entered.and_then(|()| if spec.egress { egress::open(control) } else { Ok(()) });
    let started = opened.and_then(|()| start_init(&spec, control, channel));
    let (init, lifeline) = started.inspect_err(|_| spec.group.iter().for_each(Group::remove))?;
    let admitted = admit(init, spec.group.as_ref(), &lifeline);
    if admitted.is_ok() {
        watch(control, &lifeline);
    }
    // Also after it ended by itself: it cannot have been reaped, only `bury` does. SIGKILL to the first process takes
    // the whole namespace.
    let _ = kill(init, Signal::SIGKILL);
    let gone = bury(init, spec.group.as_ref());
    admitted.map(|()| Some(gone))
}

/// The lifeline breaks on either side when the other is dead.
fn start_init(spec: &Spec, control: &OwnedFd, channel: OwnedFd) -> Result<(Pid, OwnedFd), Failure> {
    let alone = SingleThread::check().part(Part::Launcher, || "counting threads".into())?;
    let user = spec.host_ids.map(|ids| ids.pick(std::process::id()));
    let (lifeline, init_lifeline) = wire::socket_pair().part(Part::Launcher, || "socket pair".into())?;
    match alone.fork().part(Part::Launcher, || "fork".into())? {
        ForkResult::Child => {
            drop(lifeline);
            let control = control.try_clone().part(Part::Launcher, || "descriptor".into())?;
            init::run(Init { spec, user, control, channel, lifeline: init_lifeline, alone })
        }
        ForkResult::Parent { child } => Ok((child, lifeline)),
    }
}

fn admit(init: Pid, group: Option<&Group>, lifeline: &OwnedFd) -> Result<(), Failure> {
    if let Some(group) = group {
        group.admit(init).part(Part::Cgroup, || "entering the group".into())?;
    }
    // Fails if init has ended already, and then says why itself.
    let _ = write(lifeline, init::ADMITTED);
    Ok(())
}

/// Those that hold nothing of the app, made before it is known. The next child is the first process of a new process
/// namespace. An ordinary user needs a user namespace for it.
fn enter_namespaces(as_root: bool) -> Result<(), Failure> {
    if !as_root {
        let (uid, gid) = (getuid(), getgid());
        unshare(CloneFlags::CLONE_NEWUSER).part(Part::UserNamespace, || "unshare".into())?;
        let proc = open("/proc", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .part(Part::UserNamespace, || "opening /proc".into())?;
        app::write_maps(&proc, (app::INNER_ID, app::INNER_ID), uid, gid)?;
    }
    let all = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    unshare(all).part(Part::Namespaces, || "unshare".into())?;
    sethostname(HOST_NAME).part(Part::Namespaces, || "naming the host".into())
}

/// Returns when the sandbox has ended, or the worker wants it to: whatever comes from the worker, even if only its end
/// of the socket closing, means kill.
fn watch(control: &OwnedFd, lifeline: &OwnedFd) {
    let mut both = [control, lifeline].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
    while poll(&mut both, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

/// The kernel lets the first process of a namespace be reaped only after all others are gone.
fn bury(init: Pid, group: Option<&Group>) -> Report {
    while waitpid(init, None) == Err(Errno::EINTR) {}
    let used = group.map(Group::used).unwrap_or_default();
    if let Some(group) = group {
        group.remove();
    }
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return Report::Gone { cpu_ms: 0, memory_peak_bytes: 0, disk: DiskBytes::default(), used };
    };
    let cpu_ms = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
    let bytes = |blocks: i64| blocks.cast_unsigned() * BLOCK_BYTES;
    Report::Gone {
        cpu_ms: cpu_ms.cast_unsigned(),
        // In KiB.
        memory_peak_bytes: usage.max_rss().cast_unsigned() * 1024,
        disk: DiskBytes { read: bytes(usage.block_reads()), written: bytes(usage.block_writes()) },
        used,
    }
}
