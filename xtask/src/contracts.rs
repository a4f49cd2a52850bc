//! Checks of the contracts that take more than a command of npm: random calls counted, and static analysis.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run::{print, root, run, say, words};
use crate::setup::npm_packages;

const DIR: &str = "contracts";
/// Random calls to the contracts that hold money: all of CI's, and each contract's by night.
const CALLS_CI: u64 = 100_000;
const CALLS_NIGHTLY: u64 = 1_000_000;
const SLITHER: &str = "slither-analyzer==0.11.6";

/// All tests of forge, with the seed of foundry.toml.
pub(crate) fn test() -> Result<()> {
    let calls: u64 = forge_test(&[], &[])?.iter().sum();
    say(&format!("{calls} random calls in invariants"));
    ensure!(calls >= CALLS_CI, "{calls} random calls in invariants: {CALLS_CI} are promised");
    Ok(())
}

/// The invariants alone, ten times as long and more, from another start every night.
pub(crate) fn nightly() -> Result<()> {
    npm_packages(DIR)?;
    let seed = match std::env::var("GRISTMILL_SEED") {
        Ok(seed) => seed,
        Err(_) => format!("{:#x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()),
    };
    say(&format!("seed {seed}: GRISTMILL_SEED={seed} replays it"));
    let started = Instant::now();
    let arguments = ["--match-test", "invariant_", "--fuzz-seed", &seed];
    let calls = forge_test(&arguments, &[("FOUNDRY_PROFILE", "nightly")]).with_context(|| format!("seed {seed}"))?;
    say(&format!("{calls:?} random calls in {} s, seed {seed}", started.elapsed().as_secs()));
    ensure!(!calls.is_empty(), "no invariant has run");
    ensure!(calls.iter().all(|calls| *calls >= CALLS_NIGHTLY), "{CALLS_NIGHTLY} random calls are promised to each");
    Ok(())
}

/// How many calls each invariant made.
fn forge_test(arguments: &[&str], env: &[(&str, &str)]) -> Result<Vec<u64>> {
    let mut command = Command::new("npx");
    command.args(["--no-install", "forge", "test"]).args(arguments).envs(env.iter().copied());
    command.current_dir(DIR).stdout(Stdio::piped());
    say(&words(&command));
    let mut forge = command.spawn().context("npx cannot be run")?;
    let mut calls = Vec::new();
    let lines = forge.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
    // Until its output ends, or is no text: the status says the rest.
    for line in lines.map_while(Result::ok) {
        print(&line);
        calls.extend(calls_in(&line));
    }
    let status = forge.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}", words(&command));
    }
    Ok(calls)
}

/// Of a line such as `[PASS] invariant_x() (runs: 350, calls: 35000, reverts: 0)`.
fn calls_in(line: &str) -> Option<u64> {
    if !line.starts_with("[PASS] invariant_") {
        return None;
    }
    line.split_once("calls: ")?.1.split_once(',')?.0.parse().ok()
}

/// Static analysis. What it finds must be among what is meant to be so, with the reason, and that must be found.
pub(crate) fn slither() -> Result<()> {
    npm_packages(DIR)?;
    let tool = installed_slither()?;
    let bin = root().join(DIR).join("node_modules/.bin");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(&tool);
    command
        .args([".", "--filter-paths", "node_modules", "--fail-none", "--json", "-"])
        .current_dir(DIR)
        .env("PATH", path);
    say(&words(&command));
    let output = command.stderr(Stdio::null()).output().context("Slither cannot be run")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("Slither's report is no JSON")?;
    ensure!(report["success"] == true, "Slither failed: {}", report["error"]);
    let accepted = std::fs::read_to_string(root().join(DIR).join("slither.json"))?;
    let accepted: Vec<Value> = serde_json::from_str(&accepted).context("contracts/slither.json")?;
    let found = findings(&report);
    let problems = unexpected(&found, &accepted);
    if !problems.is_empty() {
        bail!(
            "Slither:\n  {}\n\nhint: mend it, or say why it is right in contracts/slither.json",
            problems.join("\n  ")
        );
    }
    say(&format!("Slither found nothing but {} things that are meant to be so", found.len()));
    Ok(())
}

struct Finding {
    check: String,
    /// Contract, function and variable, with dots.
    place: String,
    text: String,
}

fn findings(report: &Value) -> Vec<Finding> {
    let all = report["results"]["detectors"].as_array().map_or(&[][..], Vec::as_slice);
    let finding = |found: &Value| Finding {
        check: found["check"].as_str().unwrap_or_default().to_owned(),
        place: place(&found["elements"][0]),
        text: found["description"].as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned(),
    };
    all.iter().map(finding).collect()
}

fn place(element: &Value) -> String {
    let mut names = Vec::new();
    let mut inner = element;
    while let Some(name) = inner["name"].as_str() {
        if inner["type"] != "node" {
            names.push(name);
        }
        inner = &inner["type_specific_fields"]["parent"];
    }
    names.reverse();
    names.join(".")
}

/// What nobody has accepted, and what was accepted and is there no more.
fn unexpected(found: &[Finding], accepted: &[Value]) -> Vec<String> {
    let covers = |entry: &Value, finding: &Finding| {
        let here = |places: &Vec<Value>| places.iter().any(|place| *place == finding.place.as_str());
        entry["check"] == finding.check.as_str() && entry["where"].as_array().is_none_or(here)
    };
    let new = found.iter().filter(|finding| !accepted.iter().any(|entry| covers(entry, finding)));
    let new = new.map(|finding| format!("{} in {}: {}", finding.check, finding.place, finding.text));
    let gone = accepted.iter().flat_map(|entry| {
        let places = entry["where"].as_array().map_or(&[][..], Vec::as_slice);
        let gone = places.iter().filter(|place| {
            !found.iter().any(|finding| entry["check"] == finding.check.as_str() && **place == finding.place.as_str())
        });
        gone.map(|place| format!("{} in {place} is there no more", entry["check"]))
    });
    new.chain(gone).collect()
}

fn installed_slither() -> Result<PathBuf> {
    let folder = root().join("target").join(SLITHER.replace("==", "-"));
    let tool = folder.join("bin/slither");
    if !tool.exists() {
        say(&format!("installing {SLITHER} from PyPI into {}", relative(&folder)));
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        made.context("Slither needs Python with venv: on Debian the package python3-venv")?;
        let pip = folder.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", SLITHER]))?;
    }
    Ok(tool)
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_of_invariants_are_counted_and_of_nothing_else() {
        assert_eq!(calls_in("[PASS] invariant_books() (runs: 350, calls: 35000, reverts: 0)"), Some(35_000));
        assert_eq!(calls_in("[FAIL] invariant_books() (runs: 350, calls: 35000, reverts: 0)"), None);
        assert_eq!(calls_in("[PASS] test_fuzz_x(uint256) (runs: 256, calls: 7, ~: 3)"), None);
    }

    #[test]
    fn findings_are_compared_with_what_is_accepted() {
        let contract = json!({ "type": "contract", "name": "Market" });
        let function = json!({ "type": "function", "name": "pay", "type_specific_fields": { "parent": contract } });
        let node = json!({ "type": "node", "name": "x = 1", "type_specific_fields": { "parent": function } });
        let found = json!({ "check": "weak-prng", "description": "Market.pay is weak\nmore", "elements": [node] });
        let found = findings(&json!({ "results": { "detectors": [found] } }));
        let told = |accepted: Value| unexpected(&found, accepted.as_array().unwrap());
        assert_eq!(told(json!([])), ["weak-prng in Market.pay: Market.pay is weak"]);
        assert_eq!(told(json!([{ "check": "weak-prng" }])), [""; 0]);
        assert_eq!(told(json!([{ "check": "weak-prng", "where": ["Market.pay"] }])), [""; 0]);
        assert_eq!(told(json!([{ "check": "weak-prng", "where": ["Market.settle"] }])).len(), 2);
    }
}
