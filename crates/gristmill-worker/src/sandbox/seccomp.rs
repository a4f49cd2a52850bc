//! Which system calls an app may make: a list of those allowed. Everything else fails with ENOSYS, which programs
//! take for an older kernel and work around; a call of a foreign architecture kills.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpArgLen::Qword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use super::wire::{Ground, Spec};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Allowed, some of them with some arguments only: `not_permitted` and `wrong_family` below narrow clone, prctl, fcntl,
/// chmod, mknod, the setting of limits, and sockets.
///
/// Left out on purpose, among the rest: clone3 (its flags lie in memory that a filter cannot read), memfd_create (memory that no quota sees where there is no memory cgroup), sync and syncfs
/// (they flush the owner's disks), inotify and fanotify (they watch files shared with other attempts), vmsplice, tee
/// and splice (a history of holes), io_uring, ptrace and its kin, keyrings, bpf, perf, userfaultfd, mounts, set*id,
/// personality, pidfd_getfd, System V and POSIX message queues and shared memory, open_by_handle_at.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    // Descriptors
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_readahead,
    libc::SYS_sendfile, libc::SYS_copy_file_range, libc::SYS_pipe2, libc::SYS_eventfd2, libc::SYS_signalfd4,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // Files
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_newfstatat,
    libc::SYS_fstat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_getdents64,
    libc::SYS_readlinkat, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_unlinkat, libc::SYS_renameat2,
    libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_truncate, libc::SYS_fchmod, libc::SYS_fchmodat,
    libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_umask, libc::SYS_getcwd, libc::SYS_chdir,
    libc::SYS_fchdir,
    // Memory
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise,
    libc::SYS_msync, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_munlock, libc::SYS_membarrier,
    // Processes and threads
    libc::SYS_clone, libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4,
    libc::SYS_waitid, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getpgid, libc::SYS_setpgid,
    libc::SYS_getsid, libc::SYS_setsid, libc::SYS_set_tid_address, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_prctl,
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_capget, libc::SYS_prlimit64, libc::SYS_getrusage,
    libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_sched_yield, libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler, libc::SYS_sched_getattr,
    libc::SYS_sched_setscheduler, libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval, libc::SYS_getcpu,
    // Signals
    libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    // Time, randomness, what machine this is
    libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_getitimer, libc::SYS_setitimer, libc::SYS_timer_create,
    libc::SYS_timer_settime, libc::SYS_timer_gettime, libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    libc::SYS_getrandom, libc::SYS_uname, libc::SYS_sysinfo,
    // Sockets, between the app's own processes: which family is judged by another filter
    libc::SYS_socket, libc::SYS_socketpair, libc::SYS_bind, libc::SYS_connect, libc::SYS_listen, libc::SYS_accept,
    libc::SYS_accept4, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_getpeername,
    libc::SYS_setsockopt, libc::SYS_getsockopt,
];

/// Older spellings that only this architecture has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[i64] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink,
    libc::SYS_getdents, libc::SYS_mkdir, libc::SYS_mknod, libc::SYS_rmdir, libc::SYS_unlink, libc::SYS_rename,
    libc::SYS_renameat, libc::SYS_link, libc::SYS_symlink, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown,
    libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_signalfd,
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_getpgrp, libc::SYS_alarm, libc::SYS_pause, libc::SYS_time,
    libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[libc::SYS_renameat];

/// What a program needs to learn that its output is not a terminal, and a few harmless switches.
const IOCTLS: [u64; 7] =
    [libc::TCGETS, libc::TIOCGWINSZ, libc::TIOCGPGRP, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];

/// The byte of an ioctl's number that says whose it is; all of KVM's have this one.
const IOCTL_KIND: u64 = 0xff00;
const KVM_IOCTLS: u64 = 0xae00;

/// The bits of a socket's type that are not flags.
const SOCKET_KIND: u64 = 0xf;

const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;
/// Locks and watches on files that other attempts, or the worker, use too.
const F_SETLEASE: u64 = libc::F_SETLEASE as u64;
const F_NOTIFY: u64 = libc::F_NOTIFY as u64;
const SET_ID_BITS: u64 = (libc::S_ISUID | libc::S_ISGID) as u64;

/// In the order of installation: the kernel asks all of them, the last-installed first among equals.
pub(super) fn install(spec: &Spec) -> seccompiler::Result<()> {
    if spec.egress || matches!(spec.ground, Ground::Machine { kvm: true }) {
        let filters = [wrong_family(spec.egress), not_permitted(), allow_list(&spec.ground)].map(compile);
        return filters.iter().try_for_each(|program| seccompiler::apply_filter(program));
    }
    COMMON.iter().try_for_each(|program| seccompiler::apply_filter(program))
}

/// Of every sandbox without a way out, on every ground but one.
static COMMON: LazyLock<[BpfProgram; 3]> =
    LazyLock::new(|| [wrong_family(false), not_permitted(), allow_list(&Ground::Bare)].map(compile));

/// Makes the filters before they are needed.
pub(super) fn warm() {
    LazyLock::force(&COMMON);
}

struct Filter {
    rules: Rules,
    matched: SeccompAction,
    otherwise: SeccompAction,
}

fn compile(filter: Filter) -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().expect("the sandbox is built for architectures seccompiler knows");
    SeccompFilter::new(filter.rules, filter.otherwise, filter.matched, arch)
        .and_then(BpfProgram::try_from)
        .expect("the rules are constant and compiled by a test")
}

fn errno(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.cast_unsigned())
}

fn allow_list(ground: &Ground) -> Filter {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    let mut ioctls: Vec<_> = IOCTLS.iter().map(|command| all([argument(1, SeccompCmpOp::Eq, *command)])).collect();
    if let Ground::Machine { kvm: true } = ground {
        ioctls.push(all([argument(1, SeccompCmpOp::MaskedEq(IOCTL_KIND), KVM_IOCTLS)]));
    }
    rules.insert(libc::SYS_ioctl, ioctls);
    Filter { rules, matched: SeccompAction::Allow, otherwise: errno(libc::ENOSYS) }
}

/// Sockets reach the app's own processes only. An empty network namespace would allow no more, but the protocols'
/// code would be open to attack, and AF_VSOCK reaches through namespaces. Who has a way out has TCP over IPv4, which
/// is how it begins.
fn wrong_family(egress: bool) -> Filter {
    let is_not = |index, value| argument(index, SeccompCmpOp::Ne, value);
    let not_unix = || is_not(0, libc::AF_UNIX as u64);
    let other = if egress {
        let inet = || argument(0, SeccompCmpOp::Eq, libc::AF_INET as u64);
        // The type's upper bits are flags. A filter can tell what is, not what is not, under a mask.
        let kinds = (0..=SOCKET_KIND).filter(|kind| *kind != libc::SOCK_STREAM as u64);
        let wrong_kind = kinds.map(|kind| all([inet(), argument(1, SeccompCmpOp::MaskedEq(SOCKET_KIND), kind)]));
        let wrong_protocol = all([inet(), is_not(2, 0), is_not(2, libc::IPPROTO_TCP as u64)]);
        let neither = all([not_unix(), is_not(0, libc::AF_INET as u64)]);
        wrong_kind.chain([wrong_protocol, neither]).collect()
    } else {
        vec![all([not_unix()])]
    };
    Filter {
        rules: [(libc::SYS_socket, other), (libc::SYS_socketpair, vec![all([not_unix()])])].into(),
        matched: errno(libc::EAFNOSUPPORT),
        otherwise: SeccompAction::Allow,
    }
}

fn not_permitted() -> Filter {
    let namespaces = (0..64)
        .map(|bit| 1 << bit)
        .filter(|flag| NEW_NAMESPACES & flag != 0)
        .map(|flag| all([flag_set(0, flag)]))
        .collect();
    let set_id = |index| {
        (0..64)
            .map(|bit| 1 << bit)
            .filter(|flag| SET_ID_BITS & flag != 0)
            .map(|flag| all([flag_set(index, flag)]))
            .collect::<Vec<_>>()
    };
    let device = |index| {
        [libc::S_IFCHR, libc::S_IFBLK]
            .map(|kind| all([argument(index, SeccompCmpOp::MaskedEq(libc::S_IFMT.into()), kind.into())]))
            .to_vec()
    };
    // A crash may run a program of the host's with the app's memory as its input, unless the limit of core files is 1.
    let set_core_limit = || {
        let new_limit = SeccompCondition::new(2, Qword, SeccompCmpOp::Ne, 0).expect("calls have six arguments");
        vec![all([argument(1, SeccompCmpOp::Eq, libc::RLIMIT_CORE.into()), new_limit])]
    };
    let watch_files = [F_SETLEASE, F_NOTIFY].map(|command| all([argument(1, SeccompCmpOp::Eq, command)])).to_vec();
    let mut rules: Rules = [
        (libc::SYS_clone, namespaces),
        (libc::SYS_fchmod, set_id(1)),
        (libc::SYS_fchmodat, set_id(2)),
        (libc::SYS_mknodat, device(2)),
        (libc::SYS_prctl, vec![outside(0, &PRCTLS)]),
        (libc::SYS_prlimit64, set_core_limit()),
        (libc::SYS_fcntl, watch_files),
    ]
    .into();
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        (libc::SYS_chmod, set_id(1)),
        (libc::SYS_mknod, device(1)),
        (libc::SYS_setrlimit, vec![all([argument(0, SeccompCmpOp::Eq, libc::RLIMIT_CORE.into())])]),
    ]);
    Filter { rules, matched: errno(libc::EPERM), otherwise: SeccompAction::Allow }
}

const PRCTLS: [i32; 12] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_PDEATHSIG,
    libc::PR_GET_PDEATHSIG,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_CAPBSET_READ,
    libc::PR_SET_TIMERSLACK,
    libc::PR_GET_TIMERSLACK,
    libc::PR_SET_VMA,
    libc::PR_SET_THP_DISABLE,
];

/// The argument is none of these.
fn outside(index: u8, values: &[i32]) -> SeccompRule {
    SeccompRule::new(
        values.iter().map(|value| argument(index, SeccompCmpOp::Ne, u64::from(value.cast_unsigned()))).collect(),
    )
    .expect("there are conditions")
}

fn flag_set(index: u8, flag: u64) -> SeccompCondition {
    SeccompCondition::new(index, Qword, SeccompCmpOp::MaskedEq(flag), flag).expect("calls have six arguments")
}

fn argument(index: u8, comparison: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(index, Dword, comparison, value).expect("calls have six arguments")
}

fn all(conditions: impl Into<Vec<SeccompCondition>>) -> SeccompRule {
    SeccompRule::new(conditions.into()).expect("there are conditions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_compile_and_fit_the_kernel() {
        for filter in
            [wrong_family(false), wrong_family(true), not_permitted(), allow_list(&Ground::Machine { kvm: true })]
        {
            let length = compile(filter).len();
            assert!((1..4096).contains(&length), "{length} instructions");
        }
    }

    #[test]
    fn what_reaches_out_of_the_sandbox_is_not_on_the_list() {
        let allowed = allow_list(&Ground::Machine { kvm: true }).rules;
        for call in [
            libc::SYS_clone3,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_memfd_create,
            libc::SYS_setuid,
            libc::SYS_setresuid,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_open_by_handle_at,
            libc::SYS_pidfd_getfd,
            libc::SYS_seccomp,
            libc::SYS_sync,
            libc::SYS_reboot,
        ] {
            assert!(!allowed.contains_key(&call), "call {call}");
        }
    }
}
