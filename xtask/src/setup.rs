use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{npm, run, say};

/// Everything the tests need besides Rust, Node, Python and a C compiler.
pub(crate) fn all() -> Result<()> {
    for dir in ["contracts", "web"] {
        npm_packages(dir)?;
    }
    chromium()?;
    strace()
}

/// Installs what a folder's lock file names; anew only when that has changed.
pub(crate) fn npm_packages(dir: &str) -> Result<()> {
    let dir = Path::new(dir);
    let lock = fs::read(dir.join("package-lock.json"))?;
    let installed = dir.join("node_modules/.installed");
    if fs::read(&installed).ok().as_ref() == Some(&lock) {
        return Ok(());
    }
    say(&format!("installing npm packages in {}", dir.display()));
    npm(&dir.display().to_string(), &["ci", "--no-audit", "--no-fund"])?;
    Ok(fs::write(installed, lock)?)
}

fn chromium() -> Result<()> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let given = std::env::var_os("CHROMIUM").is_some_and(|path| Path::new(&path).exists());
    if given || names.iter().any(|name| in_path(name)) {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the browser tests need Chromium\n\nhint: install it, or name it in the variable CHROMIUM");
    }
    say("installing chromium with apt-get");
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", "chromium"])
        .context("the browser tests need Chromium; install it, or name it in the variable CHROMIUM")
}

/// Kills roles at chosen system calls.
fn strace() -> Result<()> {
    if in_path("strace") {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the crash tests need strace\n\nhint: install it");
    }
    say("installing strace with apt-get");
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", "strace"]).context("the crash tests need strace")
}

fn apt(args: &[&str]) -> Result<()> {
    let root = fs::metadata("/proc/self").map(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)?;
    let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
    if !root {
        command.arg("apt-get");
    }
    run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}
