//! The sandbox against a hostile program. Every attack is also run outside the sandbox, by the host user the app runs
//! as, where it must work: an attack that fails everywhere shows nothing.
//!
//! Started by root, the suite runs twice: as root, and again as an ordinary user by [`as_an_ordinary_user`].

mod bombs;
mod contained;
mod egress;
mod endings;
mod escapes;
mod host;
mod inside;
mod outputs;
mod prison;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::prison::{
    HONEST_VARIABLE, HOSTILE_VARIABLE, LAUNCHER_VARIABLE, ORDINARY_USER, REACHING_VARIABLE, hostile_program, is_root,
    launcher, reaching_program, rust_program,
};

#[test]
fn as_an_ordinary_user() {
    if !is_root() {
        return;
    }
    // The build directory may be closed to others.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = |from: &std::path::Path, name: &str| {
        let to = dir.path().join(name);
        std::fs::copy(from, &to).unwrap();
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o755)).unwrap();
        to
    };
    let suite = copy(&std::env::current_exe().unwrap(), "suite");
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(ORDINARY_USER), Some(ORDINARY_USER)).unwrap();
    let done = Command::new(suite)
        .env(LAUNCHER_VARIABLE, copy(&launcher(), "launcher"))
        .env(HOSTILE_VARIABLE, copy(&hostile_program(), "hostile"))
        .env(REACHING_VARIABLE, copy(&reaching_program(), "reaching"))
        .env(HONEST_VARIABLE, copy(&rust_program(), "honest"))
        .env("TMPDIR", &home)
        .current_dir("/")
        .uid(ORDINARY_USER)
        .gid(ORDINARY_USER)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "as user {ORDINARY_USER}:\n{said}");
    assert!(said.contains("test result: ok"), "{said}");
}
