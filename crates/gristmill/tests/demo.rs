//! The demo as a newcomer runs it, and runs it again.

mod grid;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use grid::GRISTMILL;
use serde_json::Value;

fn start(args: &[&str], home: &Path) -> Child {
    let mut demo = Command::new(GRISTMILL);
    demo.args(["demo", "--exit", "--json"]).args(args).env("GRISTMILL_HOME", home);
    demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Its events, the last of which is the result.
fn events(demo: Child) -> Vec<Value> {
    let output = demo.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn result<'a>(events: &'a [Value], pattern: &str) -> &'a Value {
    let result = events.last().expect("a result");
    assert_eq!(result["event"], "result");
    assert!(result["address"].as_str().unwrap().starts_with(pattern), "{result}");
    assert!(Path::new(result["key_file"].as_str().unwrap()).is_file());
    result
}

fn has(events: &[Value], name: &str) -> bool {
    events.iter().any(|event| event["event"] == name)
}

#[test]
fn two_demos_at_once() {
    let home = tempfile::tempdir().unwrap();
    let both = [start(&["1Lo"], home.path()), start(&["1Lo"], home.path())].map(events);
    let [first, second] = both.each_ref().map(|events| result(events, "1Lo"));
    assert_ne!(first["key_file"], second["key_file"]);
}

/// What another version of the program put on the chain is left alone; its own is found again.
#[test]
fn another_version_deploys_its_own_contracts() {
    let home = tempfile::tempdir().unwrap();
    let demo = || events(start(&["1Lo"], home.path()));
    let first = demo();
    assert!(has(&first, "deployed") && !has(&first, "contracts"), "{first:?}");

    let again = demo();
    assert!(has(&again, "contracts") && !has(&again, "deployed"), "{again:?}");
    assert_ne!(result(&first, "1Lo")["key_file"], result(&again, "1Lo")["key_file"]);

    let files = std::fs::read_dir(home.path().join("demo")).unwrap().map(|entry| entry.unwrap().path());
    let is_deployment =
        |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("deployment");
    let deployment = files.into_iter().find(is_deployment).expect("the demo keeps its deployment");
    std::fs::rename(&deployment, deployment.with_file_name("deployment-0badcafe.json")).unwrap();
    let other = demo();
    assert!(has(&other, "deployed"), "{other:?}");
    result(&other, "1Lo");
}

#[test]
fn a_fresh_start_keeps_the_keys_of_former_orders() {
    let home = tempfile::tempdir().unwrap();
    let first = events(start(&["1Lo"], home.path()));
    let fresh = events(start(&["1Lo", "--fresh"], home.path()));
    assert!(has(&fresh, "deployed"), "{fresh:?}");
    result(&fresh, "1Lo");
    result(&first, "1Lo");
}
