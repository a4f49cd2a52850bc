//! The README's grid by hand, its lines run as they are written there.

mod grid;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use grid::{GRISTMILL, PATIENCE};

/// A shell in a home and a working folder of its own, with `gristmill` on its path.
struct Person(tempfile::TempDir);

impl Person {
    fn shell(&self, line: &str) -> Command {
        let bin = Path::new(GRISTMILL).parent().expect("a program lies in a folder");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.0.path()).env("HOME", self.0.path()).env("PATH", path);
        shell.env_remove("GRISTMILL_HOME").env_remove("XDG_DATA_HOME").stdin(Stdio::null());
        shell
    }

    fn run(&self, line: &str) -> Output {
        self.shell(line).output().expect("sh runs")
    }

    fn serve(&self, line: &str) -> Serving {
        let child = self.shell(line).process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Serving(child.expect("sh runs"))
    }
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn answers(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The commands of the code block that begins with `first`, without comments and with continued lines joined.
fn commands(first: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let block = readme.split("```").find(|block| block.trim_start().starts_with(first)).expect("the README shows it");
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_grid_by_hand() {
    let lines = commands("gristmill chain");
    let [chain, deploy, scheduler, oracle, worker, order, status, finish] = lines.as_slice() else {
        panic!("another number of commands than this test knows: {lines:?}");
    };
    assert!(!answers(7117) && !answers(7118), "the README's ports are taken on this machine");
    let person = Person(tempfile::tempdir().unwrap());
    let mut serving = vec![person.serve(chain)];
    until("the chain answers", || answers(7118).then_some(()));
    let deployed = person.run(deploy);
    assert!(deployed.status.success(), "{}", String::from_utf8_lossy(&deployed.stderr));
    serving.push(person.serve(scheduler));
    until("the pool answers", || answers(7117).then_some(()));
    serving.extend([person.serve(oracle), person.serve(worker)]);

    let ordered = person.run(order);
    assert!(ordered.status.success(), "{}", String::from_utf8_lossy(&ordered.stderr));
    let id = String::from_utf8(ordered.stdout).unwrap().lines().next().expect("the order's id").to_owned();
    until("it is settled", || {
        let told = String::from_utf8(person.run(status).stdout).unwrap();
        assert!(told.starts_with(&id), "{told}");
        told.contains("settled").then_some(())
    });
    let finished = person.run(finish);
    let told = String::from_utf8(finished.stdout).unwrap();
    assert!(finished.status.success() && told.starts_with("1LoVE"), "{told}");
    let key = told.lines().find_map(|line| line.strip_prefix("private key  ")).expect("where the key is");
    assert!(Path::new(key).starts_with(person.0.path()), "{key} is not in the person's home");
    assert!(std::fs::read_to_string(key).unwrap().starts_with(['K', 'L']), "a WIF of a compressed key");
}
