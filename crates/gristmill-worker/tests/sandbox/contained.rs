//! Attacks on the host, on its network, on other processes and on the sandbox itself.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::libc;

use crate::prison::{Prison, is_root, marker, processes_with, wait_until};

#[tokio::test]
async fn files_of_the_host() {
    let prison = Prison::new().await;
    let secret = prison.host_file("secret", "secret");
    for path in [&secret, "/etc/passwd", "/proc/cmdline", "/proc/self/mountinfo", "/proc/self/environ", "/proc/meminfo"]
    {
        prison.assert_contained(&["read", path]).await;
    }
    let scratch = prison.scratch().join("written");
    prison.assert_contained(&["write", scratch.to_str().unwrap()]).await;
    for path in ["/sys/kernel/uevent_seqnum", "/proc/version"] {
        prison.assert_contained(&["read", path]).await;
    }
    // Ways around the new root.
    for path in ["/proc/1/root/etc/passwd", "/proc/self/root/../../etc/passwd", "/../../etc/passwd"] {
        prison.assert_fails_inside(&["read", path]).await;
    }
}

#[tokio::test]
async fn what_proc_tells() {
    let prison = Prison::new().await;
    assert!(prison.outside(&["list", "/proc"]).contains("cmdline"));
    assert_eq!(prison.inside(&["list", "/proc"]).await, "1 2 self thread-self");
    assert_eq!(prison.inside(&["readlink", "/proc/self/exe"]).await, "/app/hostile");
    for path in ["/proc/1/exe", "/proc/1/cwd", "/proc/1/root"] {
        prison.assert_fails_inside(&["readlink", path]).await;
    }
    for file in ["/proc/1/cmdline", "/proc/1/mem", "/proc/self/mem", "/proc/self/maps", "/proc/self/cgroup"] {
        prison.assert_fails_inside(&["read", file]).await;
    }
}

#[tokio::test]
async fn the_network() {
    let prison = Prison::new().await;
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    prison.assert_contained(&["tcp", &tcp.local_addr().unwrap().port().to_string()]).await;

    let name = marker("abstract");
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    prison.assert_contained(&["unix", &format!("@{name}")]).await;
    let path = prison.scratch().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    prison.assert_contained(&["unix", path.to_str().unwrap()]).await;
}

#[tokio::test]
async fn families_of_sockets() {
    let prison = Prison::new().await;
    let family = |family: i32, kind: i32, protocol: i32| [family, kind, protocol].map(|number| number.to_string());
    for [family, kind, protocol] in [
        family(libc::AF_INET, libc::SOCK_STREAM, 0),
        family(libc::AF_INET, libc::SOCK_DGRAM, 0),
        family(libc::AF_INET6, libc::SOCK_STREAM, 0),
        family(libc::AF_NETLINK, libc::SOCK_RAW, 0),
        family(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
    ] {
        prison.assert_contained(&["family", &family, &kind, &protocol]).await;
    }
    for [family, kind, protocol] in [
        family(libc::AF_PACKET, libc::SOCK_RAW, 0),
        family(libc::AF_INET, libc::SOCK_RAW, 1),
        family(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        family(libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
    ] {
        prison.assert_fails_inside(&["family", &family, &kind, &protocol]).await;
    }
    let unix = libc::AF_UNIX.to_string();
    assert_eq!(prison.inside(&["family", &unix, "1", "0"]).await, "yes");
}

#[tokio::test]
async fn other_processes_of_the_same_user() {
    let prison = Prison::new().await;
    let mut victim = prison.spawn_outside(&["be-a-victim", &marker("victim")]);
    let pid = victim.pid();
    wait_until("the victim runs", || !processes_with(&marker("victim")).is_empty()).await;
    prison.assert_contained(&["signal", &pid, "0"]).await;
    prison.assert_contained(&["attach", &pid]).await;
    prison.assert_contained(&["read", &format!("/proc/{pid}/environ")]).await;
    prison.assert_contained(&["vm-read"]).await;
    prison.assert_contained(&["trace-child"]).await;
    // Everyone it can reach: itself. The sandbox ends with it, and nobody else does.
    let _ = prison.run(&["signal", "-1", "9"]).await;
    assert_eq!(victim.0.try_wait().unwrap(), None, "the victim lives");
}

#[tokio::test]
async fn the_sandbox_s_own_first_process() {
    let prison = Prison::new().await;
    // Landlock forbids it where it can; if not, it has no effect: the first process of a namespace gets no signal from
    // inside that it does not want. The app ends well in both cases.
    for signal in ["9", "15", "19"] {
        prison.inside(&["signal", "1", signal]).await;
    }
    prison.assert_fails_inside(&["attach", "1"]).await;
}

#[tokio::test]
async fn more_rights() {
    let prison = Prison::new().await;
    prison.assert_contained(&["set-id-file", "set-id"]).await;
    prison.assert_contained_from_root(&["set-uid", "1"]).await;
    for id in ["0", "1000", "65534"] {
        prison.assert_fails_inside(&["set-uid", id]).await;
    }
    prison.assert_contained(&["unshare", &libc::CLONE_NEWUSER.to_string()]).await;
    prison.assert_contained(&["clone", &libc::CLONE_NEWUSER.to_string()]).await;
    for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWNET, libc::CLONE_NEWPID, libc::CLONE_NEWIPC, libc::CLONE_NEWUTS] {
        prison.assert_contained_from_root(&["clone", &flag.to_string()]).await;
        prison.assert_contained_from_root(&["unshare", &flag.to_string()]).await;
    }
    for kind in ["block", "character"] {
        prison.assert_contained_from_root(&["node", kind, kind]).await;
        prison.assert_fails_inside(&["node", &format!("/tmp/{kind}"), kind]).await;
    }
    assert_eq!(prison.inside(&["node", "/tmp/fifo", "fifo"]).await, "yes");
    prison.assert_contained_from_root(&["chroot", "/"]).await;
    prison.assert_contained_from_root(&["real-time"]).await;
    prison.assert_fails_inside(&["priority", "0"]).await;
    prison.assert_fails_inside(&["host-name", "mine"]).await;
}

#[tokio::test]
async fn mounts() {
    let prison = Prison::new().await;
    for place in ["/tmp", "/out", "/app", "/proc"] {
        prison.assert_fails_inside(&["mount", place]).await;
        prison.assert_fails_inside(&["remount", place]).await;
        prison.assert_fails_inside(&["unmount", place]).await;
    }
    if is_root() {
        let place = prison.scratch();
        let place = place.to_str().unwrap();
        prison.assert_contained_from_root(&["mount", place]).await;
        prison.assert_contained_from_root(&["remount", place]).await;
        prison.assert_contained_from_root(&["unmount", place]).await;
    }
}

#[tokio::test]
async fn corners_of_the_kernel() {
    let prison = Prison::new().await;
    prison.assert_contained(&["add-key"]).await;
    prison.assert_contained(&["io-uring"]).await;
    prison.assert_contained(&["clone3"]).await;
    // Calls with arguments that do no harm where they work.
    let calls: &[(i64, &[i64])] = &[
        (libc::SYS_memfd_create, &[0x40_0000, 0]),
        (libc::SYS_keyctl, &[0, -2, 0]),
        (libc::SYS_inotify_init1, &[0]),
        (libc::SYS_personality, &[0xffff_ffff]),
        (libc::SYS_sync, &[]),
        (libc::SYS_pidfd_open, &[1, 0]),
        (libc::SYS_vmsplice, &[1, 0, 0, 0]),
        (libc::SYS_shmget, &[0, 4096, 0o1600]),
        (libc::SYS_msgget, &[0, 0o1600]),
        (libc::SYS_mq_unlink, &[0]),
        (libc::SYS_name_to_handle_at, &[-1, 0, 0, 0, 0]),
        (libc::SYS_add_key, &[0, 0, 0, 0, 0]),
        (libc::SYS_kcmp, &[-1, -1, 0, 0, 0]),
        (libc::SYS_seccomp, &[0xff, 0, 0]),
        (libc::SYS_landlock_create_ruleset, &[0, 0, 1]),
        (libc::SYS_setns, &[-1, 0]),
        (libc::SYS_memfd_secret, &[0]),
        (libc::SYS_migrate_pages, &[-1, 0, 0, 0]),
    ];
    for (number, arguments) in calls {
        let texts: Vec<String> = [number].into_iter().chain(*arguments).map(ToString::to_string).collect();
        let args: Vec<&str> = std::iter::once("call").chain(texts.iter().map(String::as_str)).collect();
        if *number == libc::SYS_memfd_secret {
            // Off by default in many kernels.
            prison.assert_fails_inside(&args).await;
        } else {
            prison.assert_contained(&args).await;
        }
    }
    for number in [libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_open_by_handle_at] {
        prison.assert_fails_inside(&["call", &number.to_string(), "0", "0", "0", "0", "0"]).await;
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn calls_of_a_foreign_architecture_kill() {
    let prison = Prison::new().await;
    // The third, x32, numbers its calls like this; few kernels have it.
    prison.assert_fails_inside(&["call", &(libc::SYS_getpid | 0x4000_0000).to_string()]).await;
    if prison.outside(&["foreign"]) == "yes" {
        let finished = prison.run(&["foreign"]).await;
        assert_eq!(finished.exit, gristmill_proto::outcome::Exit::Signal(libc::SIGSYS));
    }
}

#[tokio::test]
async fn limits_are_not_raised() {
    let prison = Prison::new().await;
    for (limit, value) in [(libc::RLIMIT_NPROC, "1000"), (libc::RLIMIT_FSIZE, "1000000000"), (libc::RLIMIT_CORE, "0")] {
        prison.assert_fails_inside(&["limit", &limit.to_string(), value]).await;
    }
    let nofile = libc::RLIMIT_NOFILE.to_string();
    assert_eq!(prison.inside(&["limit", &nofile, "512"]).await, "yes");
    prison.assert_fails_inside(&["limit", &nofile, "4096"]).await;
}
