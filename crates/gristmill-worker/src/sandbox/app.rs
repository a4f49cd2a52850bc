//! The last steps of the process that becomes the app: every right it does not need goes, in an order in which each
//! step still can be done, and then it executes the program.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, execve, getgid, getuid, setsid};

use super::wire::{Context, Failure, Part, Spec};
use super::{landlock, seccomp, syscall};

/// Who the app is to itself. Files of anyone else belong to 65534 in its eyes.
pub(super) const INNER_ID: u32 = 1000;
/// The machine's owner comes first.
const NICE: i32 = 19;
const OPEN_FILES_MAX: u64 = 1024;
/// Zero would forbid a core file, but not a program of the host's that takes it through a pipe; one forbids both. (Where
/// the worker's own limit is zero already, that program gets a core without memory.)
const NO_CORE: u64 = 1;
const STACK_BYTES_MAX: u64 = 64 << 20;
const STACK_BYTES: u64 = 8 << 20;
/// Where memory is watched by looking: what one process may reserve beyond, for stacks and pools it never fills. Bounds
/// what it can take between two looks.
const UNTOUCHED_BYTES: u64 = 2 << 30;

pub(super) struct Descriptors {
    pub(super) stdin: OwnedFd,
    pub(super) channel: OwnedFd,
    pub(super) host_proc: OwnedFd,
}

/// Returns only if it fails, or for a probe, which ends where the program would start.
pub(super) fn become_app(spec: &Spec, descriptors: &Descriptors, landlock: bool) -> Result<(), Failure> {
    setsid().part(Part::Limits, || "starting a session".into())?;
    let work_dir = spec.work_dir.as_str();
    chdir(work_dir).part(Part::RootFilesystem, || format!("entering {work_dir}"))?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .part(Part::Limits, || "unblocking signals".into())?;
    syscall::restore_broken_pipe_signal().part(Part::Limits, || "restoring a signal".into())?;
    enter_user_namespace(&descriptors.host_proc, spec.inner_ids)?;
    write_own(&descriptors.host_proc, "coredump_filter", "0").part(Part::Limits, || "emptying core dumps".into())?;
    limit_resources(spec).part(Part::Limits, || "setting a resource limit".into())?;
    syscall::drop_capabilities().part(Part::UnprivilegedUser, || "dropping capabilities".into())?;
    prctl::set_no_new_privs().part(Part::NoNewPrivileges, || "prctl".into())?;
    install_descriptors(descriptors).part(Part::Launcher, || "handing descriptors over".into())?;
    let landlocked = landlock::install(spec).part(Part::Landlock, || "restricting".into())?;
    if landlock && !landlocked {
        return Err(Failure { part: Part::Landlock, reason: "offered by the kernel but not enforced".into() });
    }
    let (programs, args, env) = command(spec)?;
    // Late, or a busy machine would make the walls wait too.
    syscall::set_nice(NICE).part(Part::Limits, || "lowering the priority".into())?;
    seccomp::install(spec).part(Part::Seccomp, || "installing the filters".into())?;
    let Some(name) = &spec.program else { return Ok(()) };
    let mut said = Errno::ENOENT;
    for program in programs {
        let Err::<Infallible, Errno>(errno) = execve(&program, &args, &env);
        // Of the places where a name is looked for, most do not have it.
        if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            said = errno;
        }
    }
    Err(Failure { part: Part::Program, reason: format!("{name}: {}", said.desc()) })
}

/// The app gets a user namespace of its own: the mounts, processes and host name it sees belong to another one, over
/// which even a capability it might win here would give it no power. It also makes the process limit count only
/// this sandbox's processes.
fn enter_user_namespace(host_proc: &OwnedFd, inner: (u32, u32)) -> Result<(), Failure> {
    let (uid, gid) = (getuid(), getgid());
    // A process that changed its user may not write its own maps until it is dumpable again, as it is after exec.
    prctl::set_dumpable(true).part(Part::UserNamespace, || "prctl".into())?;
    unshare(CloneFlags::CLONE_NEWUSER).part(Part::UserNamespace, || "making the app's own".into())?;
    write_maps(host_proc, inner, uid, gid)
}

/// Maps one user and one group, those of this process, into the user namespace it has just made.
pub(super) fn write_maps(proc: &OwnedFd, inner: (u32, u32), uid: Uid, gid: Gid) -> Result<(), Failure> {
    for (file, content) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {uid} 1", inner.0)),
        ("gid_map", format!("{} {gid} 1", inner.1)),
    ] {
        write_own(proc, file, &content).part(Part::UserNamespace, || format!("writing {file}"))?;
    }
    Ok(())
}

/// Writes a file below /proc/self.
fn write_own(proc: &OwnedFd, file: &str, content: &str) -> std::io::Result<()> {
    let path = Path::new("self").join(file);
    let opened = openat(proc.as_fd(), &path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    std::fs::File::from(opened).write_all(content.as_bytes())
}

fn limit_resources(spec: &Spec) -> nix::Result<()> {
    // A second more than the total that is watched from outside, so that one busy process meets the watch first.
    let cpu_seconds = spec.cpu_ms.div_ceil(1000).saturating_add(1);
    let mut limits = vec![
        (Resource::RLIMIT_CPU, cpu_seconds),
        (Resource::RLIMIT_FSIZE, spec.disk_bytes),
        (Resource::RLIMIT_NOFILE, OPEN_FILES_MAX),
        // One more than a control group allows, which is then met first and tells.
        (Resource::RLIMIT_NPROC, u64::from(spec.processes) + u64::from(spec.group.is_some())),
        (Resource::RLIMIT_CORE, NO_CORE),
        (Resource::RLIMIT_STACK, STACK_BYTES_MAX),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_MEMLOCK, 64 << 10),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
    ];
    if let Some(bytes) = spec.watched_memory_bytes {
        limits.push((Resource::RLIMIT_DATA, bytes.saturating_add(UNTOUCHED_BYTES)));
    }
    for (resource, limit) in limits {
        // A limit that the worker itself lives under stays.
        let (_, inherited) = getrlimit(resource)?;
        let (soft, hard) = match resource {
            // SIGXCPU a second before SIGKILL, so that the end can be told from others.
            Resource::RLIMIT_CPU => (limit, limit.saturating_add(1)),
            // Each thread reserves as much as the soft limit says: keep it usual, let the program raise it.
            Resource::RLIMIT_STACK => (limit.min(STACK_BYTES), limit),
            _ => (limit, limit),
        };
        setrlimit(resource, soft.min(inherited), hard.min(inherited))?;
    }
    Ok(())
}

fn install_descriptors(descriptors: &Descriptors) -> nix::Result<()> {
    syscall::install_descriptor(descriptors.stdin.as_fd(), 0)?;
    syscall::install_descriptor(descriptors.channel.as_fd(), 3)?;
    syscall::close_on_exec_from(4)
}

type Command = (Vec<CString>, Vec<CString>, Vec<CString>);

/// Where programs are looked for when the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The files to try, the arguments and the environment.
fn command(spec: &Spec) -> Result<Command, Failure> {
    let text = |text: String| CString::new(text).part(Part::Program, || "argument or environment".into());
    let Some(program) = &spec.program else { return Ok(Default::default()) };
    let path = spec.env.iter().find(|(name, _)| name == "PATH").map_or(PATH, |(_, path)| path);
    let programs = match program.contains('/') {
        true => vec![text(program.clone())?],
        false => path.split(':').map(|place| text(format!("{place}/{program}"))).collect::<Result<_, _>>()?,
    };
    let args = std::iter::once(program).chain(&spec.args).cloned().map(text);
    let env = spec.env.iter().map(|(name, value)| text(format!("{name}={value}")));
    Ok((programs, args.collect::<Result<_, _>>()?, env.collect::<Result<_, _>>()?))
}
