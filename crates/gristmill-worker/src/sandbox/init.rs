//! The first process of a sandbox: builds its walls, starts the app, reaps what the app leaves, and takes everything
//! down with it when it ends. Runs as the app's host user without capabilities, in the user namespace outside the
//! app's.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, setgroups, setresgid, setresuid};

use super::app::{self, Descriptors};
use super::syscall::SingleThread;
use super::watch::{self, Watch};
use super::wire::{Context, End, Failure, Part, Report, Spec, Status, Watched, send_report};
use super::{landlock, root, syscall};

/// What the launcher says on the lifeline.
pub(super) const ADMITTED: &[u8] = &[1];

pub(super) struct Init<'a> {
    pub(super) spec: &'a Spec,
    /// The host user to become; `None`: stay who the worker is.
    pub(super) user: Option<(Uid, Gid)>,
    pub(super) control: OwnedFd,
    pub(super) channel: OwnedFd,
    /// Breaks when the launcher is gone.
    pub(super) lifeline: OwnedFd,
    pub(super) alone: SingleThread,
}

/// Never returns: the process ends when the app has.
pub(super) fn run(init: Init<'_>) -> ! {
    let control = init.control.try_clone();
    let ended = start(init);
    if let (Err(Failure { part, mut reason }), Ok(control)) = (ended, control) {
        reason.truncate(reason.floor_char_boundary(1000));
        // With the worker gone there is nobody to tell.
        let _ = send_report(control.as_fd(), &Report::Failed { part, reason }, None);
    }
    std::process::exit(0)
}

fn start(init: Init<'_>) -> Result<(), Failure> {
    let Init { spec, user, control, channel, lifeline, alone } = init;
    unshare(CloneFlags::CLONE_NEWNS).part(Part::Namespaces, || "unshare".into())?;
    let landlock = landlock::offered();
    // Only Landlock keeps the app from opening what procfs shows, so without it the app gets none.
    let root = root::enter(spec, user, landlock)?;
    if !is_admitted(&lifeline) {
        return Ok(());
    }
    // Last, so that the group it has been put into is the root of what it can see.
    unshare(CloneFlags::CLONE_NEWCGROUP).part(Part::Namespaces, || "unshare of control groups".into())?;
    if let Some((uid, gid)) = user {
        become_user(uid, gid).part(Part::UnprivilegedUser, || format!("becoming user {uid}"))?;
    }
    syscall::drop_held_capabilities().part(Part::UnprivilegedUser, || "dropping capabilities".into())?;
    prctl::set_dumpable(false).part(Part::Launcher, || "prctl".into())?;
    // Not earlier: a change of user clears it.
    prctl::set_pdeathsig(Signal::SIGKILL).part(Part::Launcher, || "prctl".into())?;
    if is_broken(&lifeline) {
        return Ok(());
    }
    let watch = match (spec.watched_memory_bytes, root.proc) {
        (None, _) => None,
        (Some(bytes), Some(proc)) => Some(Watch::new(proc, bytes, spec.cpu_ms, spec.processes)),
        (Some(_), None) => {
            let reason = "neither a memory control group nor a procfs to watch it by can be had".into();
            return Err(Failure { part: Part::Limits, reason });
        }
    };
    let children = SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .and_then(|children| SigSet::from(Signal::SIGCHLD).thread_block().map(|()| children))
        .part(Part::Launcher, || "listening to signals".into())?;
    let _ = send_report(control.as_fd(), &Report::Ready { landlock }, Some(&root.out));
    drop(root.out);

    let stdin = std::fs::File::open("/dev/null").part(Part::RootFilesystem, || "opening /dev/null".into())?.into();
    let descriptors = Descriptors { stdin, channel, host_proc: root.host_proc };
    match alone.fork().part(Part::Launcher, || "fork".into())? {
        ForkResult::Child => app::become_app(spec, &descriptors, landlock),
        ForkResult::Parent { child } => {
            drop(descriptors);
            let end = wait_for(child, &children, watch);
            let _ = send_report(control.as_fd(), &Report::Ended(end), None);
            Ok(())
        }
    }
}

fn become_user(uid: Uid, gid: Gid) -> nix::Result<()> {
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Waits until the launcher has put this process into its control group, which takes about as long as building the root.
fn is_admitted(lifeline: &OwnedFd) -> bool {
    nix::unistd::read(lifeline, &mut [0]) == Ok(ADMITTED.len())
}

fn is_broken(lifeline: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) != Ok(0)
}

/// Reaps everyone until the app itself has ended, or all together are over a limit.
fn wait_for(app: Pid, children: &SignalFd, mut watch: Option<Watch>) -> End {
    let tick = if watch.is_some() { PollTimeout::from(watch::TICK_MS) } else { PollTimeout::NONE };
    loop {
        let over = watch.as_mut().and_then(Watch::look);
        let watched = watch.as_ref().map_or_else(Watched::default, |watch| watch.watched);
        if let Some(status) = reap(app) {
            return End::Exited { status, watched };
        }
        if let Some(limit) = over {
            return End::Over { limit, watched };
        }
        let _ = poll(&mut [PollFd::new(children.as_fd(), PollFlags::POLLIN)], tick);
        while let Ok(Some(_)) = children.read_signal() {}
    }
}

/// Buries all that have ended. The status of the app, if it is among them.
fn reap(app: Pid) -> Option<Status> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == app => return Some(Status::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == app => return Some(Status::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) => return None,
            // The app is a child of this process until one of the first two arms says otherwise.
            Err(errno) if errno != Errno::EINTR => return Some(Status::Signal(Signal::SIGKILL as i32)),
            _ => {}
        }
    }
}
