//! A PostgreSQL of the test's own: in a folder that goes with it, reached by a socket there.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Postgres {
    server: Child,
    dir: tempfile::TempDir,
}

impl Postgres {
    /// Panics, and says what to install, if there is none.
    pub fn start() -> Self {
        let programs = programs();
        let dir = tempfile::tempdir().expect("a folder for the database");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("a folder can be made");
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        if let Some((user, group)) = servant() {
            chown(dir.path(), Some(user), Some(group)).expect("root may");
            chown(&data, Some(user), Some(group)).expect("root may");
        }
        let made = command(&programs, dir.path(), "initdb")
            .args(["--username", "mill", "--auth", "trust", "--encoding", "UTF8", "--no-sync", "--pgdata"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let postgres = Self { server: serve(&programs, dir.path()), dir };
        postgres.wait_until_ready();
        postgres
    }

    fn wait_until_ready(&self) {
        let started = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            if ready(&log) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "PostgreSQL does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn url(&self) -> String {
        format!("postgres://mill@{}/postgres", self.dir.path().display().to_string().replace('/', "%2F"))
    }

    /// The socket that clients connect to.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    fn end(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(programs: &Path, dir: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("a log");
    command(programs, dir, "postgres")
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-k")
        .arg(dir)
        .args(["-c", "listen_addresses=", "-c", "max_connections=50"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres runs")
}

/// As it says itself since it was last started.
fn ready(log: &str) -> bool {
    log.rsplit("starting PostgreSQL").next().is_some_and(|log| log.contains("ready to accept connections"))
}

/// PostgreSQL refuses to run as root.
fn command(programs: &Path, dir: &Path, name: &str) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(dir).stdin(Stdio::null());
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
    command
}

/// Who runs it when the test is root: `nobody`.
fn servant() -> Option<(u32, u32)> {
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("Linux")) == 0;
    root.then_some((65_534, 65_534))
}

/// Debian keeps them out of the path.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::split_paths(&path));
    let found = folders.into_iter().rev().find(|folder| folder.join("initdb").is_file());
    found.unwrap_or_else(|| panic!("this test needs PostgreSQL\n\nhint: `cargo xtask setup` installs it"))
}
