//! The sandbox seen from the host: what an app is there, and hosts that cannot give it.

use std::process::Command;

use gristmill_worker::doctor;
use gristmill_worker::sandbox::{Config, Part, Sandbox, SandboxError};
use tokio_util::sync::CancellationToken;

use crate::prison::{JOB_USER, Prison, config, is_root, marker, processes_with, text, wait_until};

/// Set for a second process of this suite that runs one test, alone or on a host made poorer.
pub(crate) const SECOND_PROCESS: &str = "GRISTMILL_TEST_SECOND_PROCESS";

#[tokio::test]
async fn the_kernel_confirms_every_wall() {
    let prison = Prison::new().await;
    let name = marker("seen");
    let cancel = CancellationToken::new();
    let args = ["stay", &name];
    let look = async {
        wait_until("both processes run", || processes_with(&name).len() == 2).await;
        for pid in processes_with(&name) {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            };
            let user = if is_root() { JOB_USER } else { nix::unistd::geteuid().as_raw() };
            assert_eq!(field("Uid"), [user; 4].map(|id| id.to_string()).join(" "));
            assert_eq!(field("Groups"), "");
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(field(set), "0000000000000000", "{set}");
            }
            assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
            let core = std::fs::read_to_string(format!("/proc/{pid}/coredump_filter")).unwrap();
            assert_eq!(core.trim(), "00000000");
            for namespace in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
                let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"));
                // The app's own user needs more rights than the suite has to look at its namespaces.
                if let Ok(theirs) = link(&pid.to_string()) {
                    assert_ne!(theirs, link("self").unwrap(), "{namespace}");
                } else {
                    assert!(!is_root());
                }
            }
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(prison.try_run(&args, |_| {}, cancel.clone()), look);
    assert!(ended.is_err());
}

/// A job of one core has one, whatever it starts.
#[tokio::test]
async fn cores_are_the_kernels_to_keep() {
    let prison = Prison::new().await;
    if prison.sandbox.isolation().control_groups.is_err() {
        return;
    }
    let name = marker("cores");
    let (cancel, args) = (CancellationToken::new(), ["stay", &name]);
    let look = async {
        wait_until("both processes run", || processes_with(&name).len() == 2).await;
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", processes_with(&name)[0])).unwrap();
        let path_of =
            |controller: &str| groups.lines().find_map(|line| Some(line.split_once(controller)?.1.to_owned()));
        let read = |path: String| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let quota = match path_of(":cpu:").or_else(|| path_of(":cpu,cpuacct:")) {
            Some(group) => read(format!("/sys/fs/cgroup/cpu{group}/cpu.cfs_quota_us")),
            None => read(format!("/sys/fs/cgroup{}/cpu.max", path_of("0::").unwrap())),
        };
        assert!(["100000", "100000 100000"].contains(&quota.unwrap().as_str()));
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(prison.try_run(&args, |_| {}, cancel.clone()), look);
    assert!(ended.is_err());
}

#[tokio::test]
async fn nothing_stays_on_the_host() {
    if std::env::var_os(SECOND_PROCESS).is_none() {
        // In a process without other tests, whose groups come and go.
        return run_alone("host::nothing_stays_on_the_host", &mut Command::new(std::env::current_exe().unwrap()));
    }
    let prison = Prison::new().await;
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    prison.run(&["honest", "/app/hostile"]).await;
    assert_eq!(mounts(), before);
    assert_eq!(std::fs::read_dir(&prison.app).unwrap().count(), 1);
    let own = format!("gristmill-{}-*", std::process::id());
    let groups = || text(&Command::new("find").args(["/sys/fs/cgroup", "-name", &own]).output().unwrap().stdout);
    assert_eq!(groups(), "");
    let name = marker("dropped-alone");
    let args = ["stay", &name];
    tokio::select! {
        _ = prison.run(&args) => panic!("it stays"),
        () = wait_until("it runs", || !processes_with(&name).is_empty()) => {}
    }
    wait_until("the dropped run is gone", || processes_with(&name).is_empty() && groups().is_empty()).await;
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    prison.run(&["leave", "0"]).await;
    assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), descriptors);
}

#[tokio::test]
async fn the_doctor_agrees() {
    let findings = doctor::examine(config()).await;
    assert_eq!(findings[0].state, doctor::State::Good, "{findings:?}");
    let ill = Config { launcher: "/nowhere/launcher".into(), ..config() };
    let findings = doctor::examine(ill).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].state, doctor::State::Missing);
    assert!(findings[0].advice.is_some());
}

#[tokio::test]
async fn a_launcher_that_is_none() {
    let missing = Config { launcher: "/nowhere/launcher".into(), ..config() };
    let error = Sandbox::open(missing).await.unwrap_err();
    assert!(error.to_string().starts_with("sandbox: cannot execute the launcher /nowhere/launcher: "), "{error}");
    let other = Config { launcher: "/bin/true".into(), ..config() };
    let error = Sandbox::open(other).await.unwrap_err();
    assert!(matches!(error, SandboxError::Silent | SandboxError::Launcher { .. }), "{error}");
}

#[tokio::test]
async fn a_host_without_user_namespaces_is_refused() {
    if std::env::var_os(SECOND_PROCESS).is_some() {
        let error = Sandbox::open(config()).await.unwrap_err();
        assert!(matches!(error, SandboxError::Part { part: Part::UserNamespace, .. }), "{error}");
        return;
    }
    // Who is root there lacks users to give to apps, and fails for that.
    if !is_root() {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
        let mut in_poor_host = Command::new("unshare");
        in_poor_host.args(["--user", "--map-current-user", "--keep-caps", "sh", "-c", script]);
        in_poor_host.arg(std::env::current_exe().unwrap());
        run_alone("host::a_host_without_user_namespaces_is_refused", &mut in_poor_host);
    }
}

#[tokio::test]
async fn a_root_that_has_no_other_user_to_give_is_refused() {
    if std::env::var_os(SECOND_PROCESS).is_some() {
        let error = Sandbox::open(config()).await.unwrap_err();
        assert!(matches!(error, SandboxError::Part { part: Part::UnprivilegedUser, .. }), "{error}");
        return;
    }
    let mut in_poor_host = Command::new("unshare");
    in_poor_host.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap());
    run_alone("host::a_root_that_has_no_other_user_to_give_is_refused", &mut in_poor_host);
}

pub(crate) fn run_alone(test: &str, command: &mut Command) {
    let done = command.args(["--exact", test, "--nocapture"]).env(SECOND_PROCESS, "1").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}
