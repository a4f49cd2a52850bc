//! The few system calls that nix leaves unsafe or does not know.
#![expect(
    unsafe_code,
    reason = "fork, capset, PR_CAPBSET_DROP, close_range, SIOCSIFFLAGS and received descriptors have no safe API"
)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::ForkResult;

/// Proof that this process has one thread, which makes `fork` as harmless as in C.
pub(super) struct SingleThread(());

impl SingleThread {
    pub(super) fn check() -> std::io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            count => Err(std::io::Error::other(format!("the launcher has {count} threads instead of one"))),
        }
    }

    pub(super) fn fork(&self) -> nix::Result<ForkResult> {
        // SAFETY: no other thread exists (see `check`; the launcher starts none), so no lock can be held by one.
        unsafe { nix::unistd::fork() }
    }
}

/// The loopback device of a new network namespace is down. Any socket will do.
pub(super) fn bring_up_loopback(socket: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: integers and arrays of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, letter) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = letter.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).expect("both are among the lower bits");
    // SAFETY: the call reads an ifreq, which `request` is, and keeps nothing of it.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// Gives up every capability for good: not even a program with file capabilities gets one back.
pub(super) fn drop_capabilities() -> nix::Result<()> {
    // One more than any kernel has; the kernel says EINVAL after its last one.
    for capability in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes one integer and touches no memory of ours.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong, 0, 0, 0) };
        match Errno::result(dropped) {
            Ok(_) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    // SAFETY: takes integers only.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    Errno::result(cleared)?;
    drop_held_capabilities()
}

/// Empties the permitted, effective and inheritable sets.
pub(super) fn drop_held_capabilities() -> nix::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [const { Data { effective: 0, permitted: 0, inheritable: 0 } }; 2];
    // SAFETY: version 3 reads one header and two data structs, laid out as in linux/capability.h; both outlive the call.
    let set = unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) };
    Errno::result(set).map(drop)
}

/// Marks every descriptor from `first` up to be closed by exec.
pub(super) fn close_on_exec_from(first: u32) -> nix::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only sets a flag on descriptors; none is closed while something here still owns it.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    Errno::result(marked).map(drop)
}

/// Makes `fd` available under the number `number`, kept across exec. Whatever had that number is closed.
pub(super) fn install_descriptor(fd: BorrowedFd<'_>, number: i32) -> nix::Result<()> {
    // SAFETY: called by the app's process just before exec, with numbers 0 to 3, which no owner there uses again.
    let done = unsafe {
        if fd.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, 0)
        } else {
            libc::dup2(fd.as_raw_fd(), number)
        }
    };
    Errno::result(done).map(drop)
}

/// Whether two processes are one to their memory, as a process and its child made by vfork are. False if unknown.
pub(super) fn share_memory(one: u32, other: u32) -> bool {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: takes integers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) == 0 }
}

/// Receives one packet and the descriptors that came with it. An empty packet means that the peer is gone.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([libc::c_int; 4]);
    let mut parts = [std::io::IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just installed these numbers for us, and nothing else knows them.
            descriptors.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, descriptors))
}

/// A copy of `fd` numbered `lowest` or above, closed by exec.
pub(super) fn duplicate_above(fd: BorrowedFd<'_>, lowest: i32) -> nix::Result<OwnedFd> {
    let number = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: fcntl has just made this number for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Ends the inheritance of what Rust's start-up code sets: a program expects SIGPIPE to kill it.
pub(super) fn restore_broken_pipe_signal() -> nix::Result<()> {
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) }
        .map(drop)
}

pub(crate) fn set_nice(nice: i32) -> nix::Result<()> {
    // SAFETY: takes integers only; a lower priority is always allowed.
    let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    Errno::result(set).map(drop)
}
