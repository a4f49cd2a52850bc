mod grid;

use grid::run;
use serde_json::Value;

/// A machine that passes the tests of the sandbox is one on which the doctor finds it.
#[test]
fn the_doctor_finds_what_workers_need() {
    let told = run(&["doctor"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success() && text.starts_with("good      sandbox:"), "{text}");
    let told = String::from_utf8(run(&["doctor", "--json"]).stdout).unwrap();
    let findings: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let about: Vec<&str> = findings.iter().filter_map(|finding| finding["about"].as_str()).collect();
    assert_eq!(about, ["sandbox", "isolation class", "control groups", "Landlock", "virtual machines"]);
    assert!(findings.iter().all(|finding| finding["state"] != "missing"), "{told}");
}
