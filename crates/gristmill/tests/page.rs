//! The page in a real browser, against a real grid, with a wallet that really signs: `web/test/e2e.mjs`.

mod grid;

use std::path::Path;
use std::process::Command;

use grid::{GRISTMILL, Role, text};

#[test]
fn a_person_orders_follows_and_finishes_in_the_browser() {
    let dir = tempfile::tempdir().unwrap();
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    assert!(web.join("node_modules").is_dir(), "the browser test's packages are missing: run `cargo xtask setup`");
    let log = dir.path().join("dev.log");
    let data = dir.path().join("dev");
    let grid = Role::start_until(
        &["dev", "--json", "--data-dir", text(&data), "--port", "0", "--chain-port", "0", "--workers", "2"],
        &log,
        |line| line.contains("\"serving\""),
    );
    let serving: serde_json::Value = serde_json::from_str(&grid.first_line).expect("an event is JSON");
    let page = format!("{}/", serving["page"].as_str().expect("the page's address"));
    // A build of the whole workspace has it; the page's commands are then tried with it, too.
    let vanity = Path::new(GRISTMILL).with_file_name("vanity");
    let output = Command::new("node")
        .arg("test/e2e.mjs")
        .current_dir(web)
        .env("PAGE_URL", page)
        .env("SHOTS", dir.path())
        .envs(vanity.is_file().then_some(("VANITY", &vanity)))
        .output()
        .expect("node runs");
    assert!(
        output.status.success(),
        "{}\n{}\n{}\n{GRISTMILL}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        std::fs::read_to_string(log).unwrap_or_default()
    );
}
