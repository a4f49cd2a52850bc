//! The demo as a newcomer runs it, and runs it again.

mod grid;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use grid::GRISTMILL;
use serde_json::Value;

fn start(args: &[&str], home: &Path) -> Child {
    let mut demo = Command::new(GRISTMILL);
    demo.args(["demo", "--json"]).args(args).env("GRISTMILL_HOME", home);
    demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs one to its end.
fn run(args: &[&str], home: &Path) -> Vec<Value> {
    events(start(&[args, &["--exit"]].concat(), home))
}

/// Presses Ctrl-C when an event has come. Returns all events, and the status.
fn interrupt_after(wanted: &str, args: &[&str], home: &Path) -> (Vec<Value>, Option<i32>) {
    let mut demo = start(args, home);
    let mut events: Vec<Value> = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        events.push(serde_json::from_str(&line.unwrap()).expect("each line is JSON"));
        if events.last().unwrap()["event"] == wanted {
            let told = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
            assert!(told.success());
        }
    }
    let status = demo.wait().unwrap();
    assert!(has(&events, wanted), "{events:?}");
    (events, status.code())
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
    let both = [start(&["1Lo", "--exit"], home.path()), start(&["1Lo", "--exit"], home.path())].map(events);
    let [first, second] = both.each_ref().map(|events| result(events, "1Lo"));
    assert_ne!(first["key_file"], second["key_file"]);
}

/// What another version of the program put on the chain is left alone; its own is found again.
#[test]
fn another_version_deploys_its_own_contracts() {
    let home = tempfile::tempdir().unwrap();
    let demo = || run(&["1Lo"], home.path());
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
    let first = run(&["1Lo"], home.path());
    let fresh = run(&["1Lo", "--fresh"], home.path());
    assert!(has(&fresh, "deployed"), "{fresh:?}");
    result(&fresh, "1Lo");
    result(&first, "1Lo");
}

/// Takes some seconds. It is interrupted before anybody can have found it.
const LONGER: &str = "1QLbz";

#[test]
fn an_interrupted_search_goes_on_and_is_not_paid_twice() {
    let home = tempfile::tempdir().unwrap();
    let (events, status) = interrupt_after("ordered", &[LONGER, "--exit"], home.path());
    assert_eq!(status, Some(130), "{events:?}");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "interrupted");
    assert!(last["message"].as_str().unwrap().contains("is paid for"), "{last}");

    let again = run(&[LONGER], home.path());
    assert!(has(&again, "resumed") && !has(&again, "ordered"), "{again:?}");
    assert_eq!(
        result(&again, LONGER)["order"],
        events.iter().find(|event| event["event"] == "ordered").unwrap()["order"]
    );
}

#[test]
fn what_an_interrupted_search_finds_later_is_finished_too() {
    let home = tempfile::tempdir().unwrap();
    let (_, status) = interrupt_after("ordered", &[LONGER], home.path());
    assert_eq!(status, Some(130));
    let (events, status) = interrupt_after("collected", &["1Lo"], home.path());
    assert!(matches!(status, Some(0 | 130)), "{status:?} {events:?}");
    let collected = events.iter().find(|event| event["event"] == "collected").unwrap();
    assert!(collected["address"].as_str().unwrap().starts_with(LONGER), "{collected}");
    assert!(Path::new(collected["key_file"].as_str().unwrap()).is_file());
}

#[test]
fn a_fresh_start_tells_what_it_gives_up() {
    let home = tempfile::tempdir().unwrap();
    interrupt_after("ordered", &[LONGER], home.path());
    let fresh = run(&["1Lo", "--fresh"], home.path());
    let given_up = fresh.iter().find(|event| event["event"] == "given_up").expect("it is told");
    assert_eq!(given_up["orders"], 1);
    let again = run(&["1Lo", "--fresh"], home.path());
    assert!(!has(&again, "given_up"), "it is told once");
}

#[test]
fn failures_are_events_too() {
    let home = tempfile::tempdir().unwrap();
    for (args, wanted) in [
        (&["bc1qqqq"][..], "begin with 1"),
        (&["3Ab"], "begin with 1"),
        (&["0xabc"], "begin with 1"),
        (&["1LoVE", "--workers", "0"], "never begin"),
        (&["1zzzzzzzzzzzzzz"], "hint"),
    ] {
        let demo = start(&[args, &["--exit"]].concat(), home.path()).wait_with_output().unwrap();
        let stdout = String::from_utf8(demo.stdout).unwrap();
        assert_eq!(demo.status.code(), Some(1), "{stdout}");
        let last: Value = serde_json::from_str(stdout.lines().last().expect("an event")).unwrap();
        assert_eq!(last["event"], "error");
        assert!(last.to_string().contains(wanted), "{last}");
        assert!(!stdout.contains("ordered"), "nothing was paid: {stdout}");
    }
    let orders = std::fs::read_dir(home.path().join("demo/orders")).map_or(0, Iterator::count);
    assert_eq!(orders, 0, "what was never paid for leaves nothing behind");
}
