//! The first process of a sandbox: builds its walls, starts the app, reaps what the app leaves, and takes everything
//! down with it when it ends. Runs as the app's host user without capabilities, in the user namespace outside the
//! app's.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, Gid, Pid, Uid, setgroups, sethostname, setresgid, setresuid};

use super::app::{self, Descriptors};
use super::syscall::SingleThread;
use super::wire::{Context, Failure, Part, Report, Spec, Status, send_report};
use super::{landlock, root, syscall};

const HOST_NAME: &str = "gristmill";

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
    for procs in &spec.cgroups {
        // Zero is whoever writes.
        OpenOptions::new()
            .write(true)
            .open(procs)
            .and_then(|mut file| file.write_all(b"0"))
            .part(Part::Cgroup, || format!("entering {}", procs.display()))?;
    }
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .part(Part::Namespaces, || "unshare".into())?;
    sethostname(HOST_NAME).part(Part::Namespaces, || "naming the host".into())?;
    let landlock = landlock::offered();
    let root = root::enter(spec, user, landlock)?;
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
    let _ = send_report(control.as_fd(), &Report::Ready { landlock, proc: root.proc.is_some() }, Some(&root.out));
    drop(root.out);

    let stdin = std::fs::File::open("/dev/null").part(Part::RootFilesystem, || "opening /dev/null".into())?.into();
    let descriptors = Descriptors { stdin, channel, host_proc: root.host_proc };
    match alone.fork().part(Part::Launcher, || "fork".into())? {
        ForkResult::Child => app::become_app(spec, &descriptors),
        ForkResult::Parent { child } => {
            drop(descriptors);
            let status = wait_for(child);
            let _ = send_report(control.as_fd(), &Report::Exited(status), None);
            Ok(())
        }
    }
}

fn become_user(uid: Uid, gid: Gid) -> nix::Result<()> {
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn is_broken(lifeline: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) != Ok(0)
}

/// Reaps everyone until the app itself has ended.
fn wait_for(app: Pid) -> Status {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == app => return Status::Code(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == app => return Status::Signal(signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Status::Signal(Signal::SIGKILL as i32),
        }
    }
}
