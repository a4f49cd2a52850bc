//! Invariants of ARCHITECTURE.md that can be read off the sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run::{root, say};

/// Who may name whom. A crate that is not listed may use none of ours.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("crates/gristmill-proto", &[]),
    ("crates/gristmill-data", &["gristmill-proto"]),
    ("crates/gristmill-scheduler", &["gristmill-proto", "gristmill-data"]),
    ("crates/gristmill-simulation", &["gristmill-proto", "gristmill-scheduler"]),
    ("crates/gristmill-worker", &["gristmill-proto", "gristmill-data"]),
    ("crates/gristmill-chain", &[]),
    (
        "crates/gristmill",
        &[
            "gristmill-proto",
            "gristmill-data",
            "gristmill-scheduler",
            "gristmill-simulation",
            "gristmill-worker",
            "gristmill-chain",
            "vanity",
        ],
    ),
    ("apps/vanity", &[]),
    ("xtask", &[]),
];

/// Pure code: time and random numbers come in as arguments, nothing goes out but return values.
const PURE: [&str; 14] = [
    "crates/gristmill-proto/src",
    "crates/gristmill-scheduler/src/core.rs",
    "crates/gristmill-scheduler/src/trust.rs",
    "crates/gristmill-scheduler/src/trust",
    "crates/gristmill-scheduler/src/core",
    "crates/gristmill-simulation/src",
    "crates/gristmill/src/oracle/ledger.rs",
    "crates/gristmill/src/iexec/oracle/job.rs",
    "crates/gristmill/src/iexec/oracle/ledger.rs",
    "crates/gristmill/src/iexec/oracle/request.rs",
    "crates/gristmill/src/iexec/gateway/book.rs",
    "crates/gristmill/src/iexec/gateway/order.rs",
    "crates/gristmill/src/oracle/work.rs",
    "crates/gristmill/src/oracle/gather.rs",
];
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "SystemTime",
    "Instant",
    "tokio::",
    "getrandom",
    "rusqlite",
];

/// Only the oracle and what composes roles may know both sides.
const BOTH_SIDES: [&str; 8] =
    ["oracle.rs", "oracle/", "iexec/oracle.rs", "iexec/oracle/", "demo.rs", "roles.rs", "cli/", "bench/oracle.rs"];

pub(crate) fn check() -> Result<()> {
    let mut problems = Vec::new();
    dependencies(&mut problems)?;
    purity(&mut problems)?;
    chain_and_grid(&mut problems)?;
    words(&mut problems)?;
    if !problems.is_empty() {
        bail!("tidy:\n  {}", problems.join("\n  "));
    }
    say("tidy: dependency direction, pure cores, chain and grid apart, no unfinished marks");
    Ok(())
}

fn dependencies(problems: &mut Vec<String>) -> Result<()> {
    let ours: Vec<&str> = MAY_USE.iter().filter_map(|(dir, _)| dir.rsplit('/').next()).collect();
    for (dir, allowed) in MAY_USE {
        let manifest = fs::read_to_string(root().join(dir).join("Cargo.toml"))?;
        let used = manifest.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        for name in used.filter(|name| ours.contains(name)) {
            if !allowed.contains(&name) && !dir.ends_with(name) {
                problems.push(format!("{dir} must not use {name}"));
            }
        }
    }
    Ok(())
}

fn purity(problems: &mut Vec<String>) -> Result<()> {
    for pure in PURE {
        for (file, text) in sources(&root().join(pure))? {
            for (number, line) in code_lines(&text) {
                for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                    problems.push(format!("{}:{number}: `{word}` in pure code", file.display()));
                }
            }
        }
    }
    Ok(())
}

fn chain_and_grid(problems: &mut Vec<String>) -> Result<()> {
    let sources_dir = root().join("crates/gristmill/src");
    for (file, text) in sources(&sources_dir)? {
        let inside = file.strip_prefix(&sources_dir)?.display().to_string();
        if knows_both_sides(&text) && !BOTH_SIDES.iter().any(|allowed| inside.starts_with(allowed)) {
            problems.push(format!("{inside} knows both chain and grid: only the oracle may"));
        }
    }
    Ok(())
}

/// Whether code names both the chain and jobs, workers or pools.
fn knows_both_sides(text: &str) -> bool {
    const CHAIN: [&str; 1] = ["gristmill_chain"];
    const GRID: [&str; 4] = ["gristmill_scheduler", "gristmill_worker", "pool_client", "JobSpec"];
    let code: String = code_lines(text).map(|(_, line)| line).collect();
    CHAIN.iter().any(|word| code.contains(word)) && GRID.iter().any(|word| code.contains(word))
}

fn words(problems: &mut Vec<String>) -> Result<()> {
    let marks = ["todo", "unimplemented"].map(|word| format!("{word}!("));
    let marks = [marks[0].clone(), marks[1].clone(), ["FIX", "ME"].concat()];
    for dir in ["crates", "apps", "xtask"] {
        for (file, text) in sources(&root().join(dir))? {
            for (number, line) in text.lines().enumerate() {
                if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
                    problems.push(format!("{}:{}: `{mark}`", file.display(), number + 1));
                }
            }
        }
    }
    Ok(())
}

/// Lines up to the tests, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .enumerate()
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// Rust files at or below a path.
fn sources(path: &Path) -> Result<Vec<(PathBuf, String)>> {
    if path.is_file() {
        return Ok(vec![(path.to_owned(), fs::read_to_string(path)?)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(sources(&path)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_seen_however_they_are_imported() {
        assert!(knows_both_sides("use gristmill_chain::rpc::Rpc;\nuse gristmill_proto::job::{DoneWhen, JobSpec};"));
        assert!(knows_both_sides("gristmill_chain::x(); crate::pool_client::y()"));
        assert!(!knows_both_sides("use gristmill_chain::rpc::Rpc;\n// JobSpec\nuse gristmill_proto::digest::Digest;"));
        assert!(!knows_both_sides("use gristmill_chain::rpc::Rpc;\n#[cfg(test)]\nuse crate::pool_client::PoolClient;"));
    }
}
