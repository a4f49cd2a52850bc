//! A sandbox with the hostile program as its app, and the same program outside.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gristmill_proto::digest::Digest;
use gristmill_proto::host::HostPort;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::outcome::Exit;
use gristmill_worker::prison::HOSTILE_PROGRAM;
use gristmill_worker::process::{self, Attempt, Finished, RunError};
use gristmill_worker::sandbox::{Config, HostIds, Sandbox};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const LAUNCHER_VARIABLE: &str = "GRISTMILL_TEST_LAUNCHER";
pub(crate) const HOSTILE_VARIABLE: &str = "GRISTMILL_TEST_HOSTILE";
pub(crate) const HONEST_VARIABLE: &str = "GRISTMILL_TEST_HONEST";
pub(crate) const REACHING_VARIABLE: &str = "GRISTMILL_TEST_REACHING";
/// The host user apps run as when the suite runs as root: one known beforehand, so that victims can be of that user.
pub(crate) const JOB_USER: u32 = 1_899_999_999;
/// The user the suite runs as the second time. Has no entry in /etc/passwd and needs none.
pub(crate) const ORDINARY_USER: u32 = 1_899_999_998;
pub(crate) const TASK: TaskId = TaskId { job: JobId(5), index: 3 };
pub(crate) const LEASE: LeaseId = LeaseId(77);
pub(crate) const WORKER: WorkerId = WorkerId([0xab; 20]);

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) fn launcher() -> PathBuf {
    std::env::var_os(LAUNCHER_VARIABLE).map_or_else(|| env!("CARGO_BIN_EXE_gristmill-launcher").into(), PathBuf::from)
}

/// Written once per run of the suite.
pub(crate) fn hostile_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        assert!(!HOSTILE_PROGRAM.is_empty(), "these tests need a static C library (Debian: libc6-dev)");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        let partial = program.with_extension(std::process::id().to_string());
        std::fs::write(&partial, HOSTILE_PROGRAM).unwrap();
        std::fs::rename(partial, &program).unwrap();
        program
    };
    PROGRAM.get_or_init(|| std::env::var_os(HOSTILE_VARIABLE).map_or_else(write, PathBuf::from)).clone()
}

/// Compiled once per run of the suite.
pub(crate) fn rust_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| in_rust(HONEST_VARIABLE, "honest_program.rs")).clone()
}

/// Compiled once per run of the suite.
pub(crate) fn reaching_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| in_rust(REACHING_VARIABLE, "reaching_program.rs")).clone()
}

fn in_rust(variable: &str, source: &str) -> PathBuf {
    let rustc = || compile("rustc", &["--edition=2024", "-Ctarget-feature=+crt-static"], source);
    std::env::var_os(variable).map_or_else(rustc, PathBuf::from)
}

fn compile(compiler: &str, options: &[&str], source: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source).with_extension("program");
    let partial = program.with_extension(std::process::id().to_string());
    let compiled = Command::new(compiler)
        .args(options)
        .arg("-o")
        .arg(&partial)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox").join(source))
        .output()
        .unwrap_or_else(|error| panic!("these tests need {compiler}: {error}"));
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "these tests need a static C library (Debian: libc6-dev): {said}");
    std::fs::rename(partial, &program).unwrap();
    program
}

pub(crate) struct Prison {
    pub(crate) dir: TempDir,
    pub(crate) app: PathBuf,
    pub(crate) sandbox: Sandbox,
    pub(crate) limits: Limits,
    pub(crate) inputs: Vec<(String, PathBuf)>,
    pub(crate) hosts: Vec<HostPort>,
}

impl Prison {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        std::fs::create_dir(&app).unwrap();
        std::fs::copy(hostile_program(), app.join("hostile")).unwrap();
        for path in [dir.path(), &app, &app.join("hostile")] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let sandbox = Sandbox::open(config()).await.unwrap();
        let limits =
            Limits { wall_ms: 20_000, memory_bytes: 64 << 20, disk_bytes: 8 << 20, processes: 32, ..Limits::default() };
        Self { dir, app, sandbox, limits, inputs: Vec::new(), hosts: Vec::new() }
    }

    /// A file that everyone on the host can read.
    pub(crate) fn host_file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) async fn try_run(
        &self,
        args: &[&str],
        progress: impl Fn(u64) + Send,
        cancel: CancellationToken,
    ) -> Result<Finished, RunError> {
        let mut job = JobSpec::new(Digest::of(b"hostile"));
        job.args = args.iter().map(ToString::to_string).collect();
        job.limits = self.limits.clone();
        let attempt = Attempt {
            job: &job,
            task: TASK,
            work: 4_000,
            lease: LEASE,
            worker: WORKER,
            app_dir: &self.app,
            entry: "hostile",
            inputs: &self.inputs,
            lines: &[],
            hosts: &self.hosts,
        };
        process::run(&self.sandbox, &attempt, progress, cancel).await
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Finished {
        self.try_run(args, |_| {}, CancellationToken::new()).await.unwrap()
    }

    /// What the app printed.
    pub(crate) async fn inside(&self, args: &[&str]) -> String {
        let finished = self.run(args).await;
        assert_eq!(finished.exit, Exit::Code(0), "{args:?}: {}", text(&finished.stderr.head));
        text(&finished.stdout.head)
    }

    /// The app cannot, and whoever it runs as outside can.
    pub(crate) async fn assert_contained(&self, args: &[&str]) {
        assert_eq!(self.outside(args), "yes", "control of {args:?}");
        self.assert_fails_inside(args).await;
    }

    /// The app cannot, and root outside can; without root there is no control.
    pub(crate) async fn assert_contained_from_root(&self, args: &[&str]) {
        if is_root() {
            let mut command = self.hostile(args);
            assert_eq!(text(&command.output().unwrap().stdout), "yes", "control of {args:?}");
        }
        self.assert_fails_inside(args).await;
    }

    pub(crate) async fn assert_fails_inside(&self, args: &[&str]) {
        let said = self.inside(args).await;
        assert!(said.starts_with("no: "), "{args:?} said {said}");
    }

    /// What the program prints outside the sandbox.
    pub(crate) fn outside(&self, args: &[&str]) -> String {
        let done = as_job_user(&mut self.hostile(args)).output().unwrap();
        text(&done.stdout)
    }

    pub(crate) fn spawn_outside(&self, args: &[&str]) -> Victim {
        Victim(as_job_user(&mut self.hostile(args)).stdout(Stdio::null()).spawn().unwrap())
    }

    fn hostile(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.app.join("hostile"));
        command.args(args).current_dir(self.scratch()).stdin(Stdio::null());
        command
    }

    /// A directory that controls may write to.
    pub(crate) fn scratch(&self) -> PathBuf {
        let scratch = self.dir.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        std::fs::set_permissions(&scratch, PermissionsExt::from_mode(0o777)).unwrap();
        scratch
    }
}

pub(crate) fn config() -> Config {
    Config { launcher: launcher(), host_ids: HostIds { first: JOB_USER, count: 1 } }
}

/// The host user an app has inside the sandbox.
pub(crate) fn as_job_user(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(JOB_USER).gid(JOB_USER) } else { command }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// A process outside, ended with the test.
pub(crate) struct Victim(pub(crate) Child);

impl Victim {
    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes on the whole machine with this text among their arguments. A process that is being executed or has ended
/// shows none.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes())
        })
        .collect()
}

/// A text no other test of this or another run uses.
pub(crate) fn marker(name: &str) -> String {
    format!("gristmill-test-{name}-{}-{}", std::process::id(), is_root())
}

pub(crate) async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
