//! However an attempt ends, nothing of it is left.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_proto::outcome::{Exit, Limit};
use gristmill_worker::process::RunError;
use gristmill_worker::sandbox::SandboxError;
use nix::libc;
use tokio_util::sync::CancellationToken;

use crate::prison::{Prison, marker, processes_with, wait_until};

/// From the order to die until nothing is left.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Set for a second process of this suite, which only starts an app that stays.
const DOOMED_WORKER: &str = "GRISTMILL_TEST_DOOMED_WORKER";

#[tokio::test]
async fn its_own_exit() {
    let prison = Prison::new().await;
    for (status, exit) in [("0", Exit::Code(0)), ("1", Exit::Code(1)), ("255", Exit::Code(255))] {
        assert_eq!(prison.run(&["leave", status]).await.exit, exit);
    }
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGABRT, libc::SIGPIPE] {
        assert_eq!(prison.run(&["die", &signal.to_string()]).await.exit, Exit::Signal(signal));
    }
}

#[tokio::test]
async fn a_process_left_behind() {
    let prison = Prison::new().await;
    let (outside, inside) = (marker("left-outside"), marker("left-inside"));
    prison.outside(&["leave-behind", &outside]);
    let left = processes_with(&outside);
    assert_eq!(left.len(), 1, "control: it stays");
    let left = nix::unistd::Pid::from_raw(left[0].cast_signed());
    nix::sys::signal::kill(left, nix::sys::signal::Signal::SIGKILL).unwrap();

    assert_eq!(prison.run(&["leave-behind", &inside]).await.exit, Exit::Code(0));
    assert!(processes_with(&inside).is_empty());
}

#[tokio::test]
async fn wall_clock() {
    let mut prison = Prison::new().await;
    prison.limits.wall_ms = 500;
    let name = marker("wall");
    let started = Instant::now();
    let finished = prison.run(&["stay", &name]).await;
    let late = started.elapsed().saturating_sub(Duration::from_millis(500));
    assert_eq!(finished.exit, Exit::Limit(Limit::Wall));
    assert!(processes_with(&name).is_empty());
    assert!(late < GONE_WITHIN, "{late:?} late");
    assert_eq!(finished.stdout.head, b"up\n");
}

#[tokio::test]
async fn cancel() {
    let prison = Prison::new().await;
    let name = marker("cancel");
    let cancel = CancellationToken::new();
    let args = ["stay", &name];
    let running = prison.try_run(&args, |_| {}, cancel.clone());
    let order = async {
        // Init's copy, which has not executed yet, has other arguments.
        wait_until("both processes run", || processes_with(&name).len() == 2).await;
        cancel.cancel();
        Instant::now()
    };
    let (ended, ordered) = tokio::join!(running, order);
    let took = ordered.elapsed();
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert!(processes_with(&name).is_empty());
    assert!(took < GONE_WITHIN, "{took:?}");
}

#[tokio::test]
async fn a_dropped_run() {
    let prison = Prison::new().await;
    let name = marker("dropped");
    let args = ["stay", &name];
    {
        let running = prison.try_run(&args, |_| {}, CancellationToken::new());
        let started = wait_until("both processes run", || processes_with(&name).len() == 2);
        tokio::select! {
            _ = running => panic!("it stays"),
            () = started => {}
        }
    }
    let dropped = Instant::now();
    wait_until("they are gone", || processes_with(&name).is_empty()).await;
    assert!(dropped.elapsed() < GONE_WITHIN);
}

#[tokio::test]
async fn a_worker_killed() {
    if let Some(name) = std::env::var_os(DOOMED_WORKER) {
        let prison = Prison::new().await;
        prison.run(&["stay", name.to_str().unwrap()]).await;
        unreachable!("killed before");
    }
    let name = marker("orphan");
    // It will not tidy up.
    let dir = tempfile::tempdir().unwrap();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .env("TMPDIR", dir.path())
        .args(["--exact", "endings::a_worker_killed", "--nocapture"])
        .env(DOOMED_WORKER, &name)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("both processes run", || processes_with(&name).len() == 2).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    let killed = Instant::now();
    wait_until("they are gone", || processes_with(&name).is_empty()).await;
    assert!(killed.elapsed() < GONE_WITHIN);
}

#[tokio::test]
async fn a_launcher_killed() {
    let prison = Prison::new().await;
    let name = marker("no-launcher");
    let args = ["stay", &name];
    let running = prison.try_run(&args, |_| {}, CancellationToken::new());
    let order = async {
        wait_until("both processes run", || processes_with(&name).len() == 2).await;
        // The app's parent is the sandbox's first process, whose parent is the launcher.
        let app = processes_with(&name).into_iter().min().unwrap();
        let launcher = parent_of(parent_of(app));
        assert_eq!(parent_of(launcher), std::process::id());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(launcher.cast_signed()), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        Instant::now()
    };
    let (ended, killed) = tokio::join!(running, order);
    assert!(matches!(ended, Err(RunError::Sandbox(SandboxError::Silent))), "{ended:?}");
    wait_until("they are gone", || processes_with(&name).is_empty()).await;
    assert!(killed.elapsed() < GONE_WITHIN);
}

fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn closed_streams_are_not_the_end() {
    let prison = Prison::new().await;
    let finished = prison.run(&["close-streams", "late answer"]).await;
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(finished.answer.as_deref(), Some(&b"late answer"[..]));
}

#[tokio::test]
async fn a_program_that_is_none() {
    let prison = Prison::new().await;
    for content in ["\0\0\0\0", "#!/bin/sh\necho hello\n"] {
        std::fs::write(prison.app.join("hostile"), content).unwrap();
        let ended = prison.try_run(&[], |_| {}, CancellationToken::new()).await;
        assert!(matches!(ended, Err(RunError::Program(_))), "{ended:?}");
    }
    std::fs::remove_file(prison.app.join("hostile")).unwrap();
    let ended = prison.try_run(&[], |_| {}, CancellationToken::new()).await.unwrap_err();
    assert!(
        ended.to_string().starts_with("error: cannot execute /app/hostile: No such file or directory: "),
        "{ended}"
    );
}
