//! What a developer or CI runs: `cargo xtask setup`, `test`, `ci`. Plain cargo does the rest.

mod contracts;
mod iexec;
mod policy;
mod run;
mod setup;
mod tidy;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::run::{cargo, npm, say};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Set-up, tests and checks of gristmill")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need, saying what: npm packages, Chromium, strace
    Setup,
    /// All tests: Rust, contracts, page, whole system. Does the set-up first
    Test,
    /// What CI does: format, lints, docs, drift and policy checks, all tests, and the README's first command
    Ci,
    /// Drive a pool with iExec's own command line, from registering an app to the refund of a task that nobody did
    Iexec,
    /// What takes too long for every day: a million random calls to each contract that holds money
    Nightly,
    /// Static analysis of the contracts
    Slither,
    /// Rules of this repository that no compiler checks
    Tidy,
    /// Which dependencies may be used, and under which licences
    Policy,
}

fn main() -> Result<()> {
    let started = Instant::now();
    std::env::set_current_dir(run::root())?;
    match Xtask::parse().task {
        Task::Setup => setup::all(),
        Task::Test => test(),
        Task::Ci => ci(),
        Task::Iexec => iexec::check(),
        Task::Nightly => contracts::nightly(),
        Task::Slither => contracts::slither(),
        Task::Tidy => tidy::check(),
        Task::Policy => policy::check(),
    }?;
    say(&format!("done in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn test() -> Result<()> {
    setup::all()?;
    tidy::check()?;
    // The optimized build is what ships, keeps its overflow checks, and is the same that `cargo run --release` needs.
    cargo(&["test", "--release", "--workspace", "--locked"])?;
    contracts::test()?;
    npm("web", &["run", "check"])?;
    npm("web", &["test"])
}

fn ci() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    policy::check()?;
    setup::all()?;
    npm("contracts", &["run", "fmt:check"])?;
    npm("contracts", &["run", "lint"])?;
    for drift in ["artifacts:check", "vectors:check", "gas:check"] {
        npm("contracts", &["run", drift])?;
    }
    contracts::slither()?;
    cargo(&["clippy", "--release", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])?;
    run::cargo_with(&["doc", "--release", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    test()?;
    iexec::check()?;
    readme_demo()
}

/// The README's first command as written there, in a folder of its own.
fn readme_demo() -> Result<()> {
    let readme = std::fs::read_to_string("README.md")?;
    let command = "cargo run --release -- demo 1LoVE";
    ensure!(readme.contains(command), "README.md no longer shows `{command}`");
    let home = std::env::temp_dir().join(format!("gristmill-readme-{}", std::process::id()));
    let (_, args) = command.split_once(' ').context("a command has words")?;
    let args: Vec<&str> = args.split(' ').chain(["--exit", "--json"]).collect();
    let home_text = home.display().to_string();
    let output = run::cargo_output(&args, &[("GRISTMILL_HOME", &home_text)])?;
    let last = output.lines().last().context("the demo printed nothing")?;
    let result: serde_json::Value = serde_json::from_str(last).context("the demo's last line is no JSON")?;
    let seconds = result["seconds"].as_f64().context("the result has no `seconds`")?;
    let address = result["address"].as_str().unwrap_or_default();
    ensure!(result["event"] == "result" && address.starts_with("1LoVE"), "unexpected last line: {last}");
    ensure!(seconds < 30.0, "the demo took {seconds} s: 30 s are promised");
    say(&format!("the README's demo found {address} in {seconds:.1} s"));
    Ok(std::fs::remove_dir_all(home)?)
}
