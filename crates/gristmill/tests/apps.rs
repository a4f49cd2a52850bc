//! Apps from a shell: docs/apps.md as it is written, and what a pool refuses.

mod grid;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use grid::{GRISTMILL, Role, text};

/// A pool with a worker, and somebody's shell.
struct Lab {
    dir: tempfile::TempDir,
    url: String,
    _scheduler: Role,
    _worker: Role,
}

impl Lab {
    fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("scheduler");
        let args = ["scheduler", "--listen", "127.0.0.1:0", "--data-dir", text(&data)];
        let scheduler = Role::start(&[&args[..], more].concat(), &dir.path().join("scheduler.log"));
        let url = scheduler.first_line.clone();
        let data = dir.path().join("worker");
        let args = ["worker", "--pool", &url, "--data-dir", text(&data), "--slots", "2"];
        let worker = Role::start(&args, &dir.path().join("worker.log"));
        Self { dir, url, _scheduler: scheduler, _worker: worker }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shell(&self, script: &str) -> Output {
        let bin = Path::new(GRISTMILL).parent().expect("a program lies in a folder");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", script]).current_dir(self.dir.path()).env("PATH", path).stdin(Stdio::null());
        shell.env("GRISTMILL_HOME", self.path("home")).env("GRISTMILL_POOL", &self.url);
        shell.env("GRISTMILL_POOL_TOKEN", self.path("scheduler/token"));
        // Programs are built for themselves, not as a part of this one.
        shell.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").output().expect("sh runs")
    }

    /// What a script that goes well says.
    fn says(&self, script: &str) -> String {
        let done = self.shell(script);
        let said = [&done.stdout[..], &done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(done.status.success(), "{script}\n{said}");
        said
    }

    fn fails(&self, script: &str) -> String {
        let done = self.shell(script);
        assert!(!done.status.success(), "{script} went well");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }
}

/// Code blocks of a page: what follows the back quotes, and the block's lines.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push((kind.to_owned(), block.join("\n")));
        }
    }
    blocks
}

fn has_rust_for_wasm() -> bool {
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", "wasm32-wasip1"]).output();
    asked.is_ok_and(|said| Path::new(String::from_utf8_lossy(&said.stdout).trim()).exists())
}

#[test]
#[expect(clippy::print_stderr, reason = "a part that is left out is named")]
fn the_tutorial_holds() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/apps.md")).unwrap();
    let lab = Lab::start(&[]);
    let (mut said, mut ran) = (None, 0);
    for (kind, block) in blocks(&page) {
        match kind.as_str() {
            "sh rust-wasm" if !has_rust_for_wasm() => {
                eprintln!("skipped: no Rust target wasm32-wasip1 here; `rustup target add wasm32-wasip1`");
                said = None;
            }
            "sh" | "sh rust-wasm" => {
                said = Some(lab.says(&block));
                ran += 1;
            }
            "text" => {
                if let Some(said) = &said {
                    for line in block.lines() {
                        assert!(said.contains(line), "`{line}` is not in what was said:\n{said}");
                    }
                }
            }
            other => panic!("a block of a kind that this test does not know: {other}"),
        }
    }
    assert!(ran >= 5, "the tutorial has shrunk to {ran} blocks");
}

/// The module's program, as small as it gets: the C template with another name.
fn made(lab: &Lab, name: &str) {
    lab.says(&format!("gristmill app init {name} --template shell && gristmill app build {name}"));
}

#[test]
fn a_version_is_published_once_and_by_one_provider() {
    let lab = Lab::start(&[]);
    made(&lab, "one");
    lab.says("gristmill app publish one");
    lab.says("gristmill app publish one");
    lab.says("echo '# more' >> one/main.sh");
    let refused = lab.fails("gristmill app publish one");
    assert!(refused.contains("never changes") && refused.contains("hint:"), "{refused}");
    lab.says("sed -i 's/^version = .*/version = \"0.2.0\"/' one/gristmill.toml && gristmill app publish one");
    let refused = lab.fails(
        "sed -i 's/^version = .*/version = \"0.3.0\"/' one/gristmill.toml && GRISTMILL_HOME=$PWD/other \
         gristmill app publish one",
    );
    assert!(refused.contains("belongs to"), "{refused}");
    lab.says("gristmill app retire one@0.2.0");
    assert!(lab.says("gristmill app show one").contains("one@0.1.0"));
    let refused = lab.fails("gristmill app run one@0.2.0");
    assert!(refused.contains("retired"), "{refused}");
    for (mistake, word) in [
        ("gristmill app run one --colour red", "no parameter `colour`"),
        ("gristmill app run nothing-like-it", "no app `nothing-like-it`"),
        ("gristmill app retire one", "which version"),
    ] {
        let refused = lab.fails(mistake);
        assert!(refused.contains(word) && refused.contains("hint:"), "{refused}");
    }
}

#[test]
fn where_approval_is_wanted_nothing_runs_without() {
    let lab = Lab::start(&["--approved-apps-only"]);
    made(&lab, "two");
    lab.says("gristmill app publish two");
    let refused = lab.fails("gristmill app run two");
    assert!(refused.contains("approval"), "{refused}");
    lab.says("gristmill app approve two@0.1.0");
    assert!(lab.says("gristmill app run two").contains("sorted 2 lines"));
    let refused = lab.fails("gristmill run two/busybox -- true");
    assert!(refused.contains("approval"), "a program without a name needs it too: {refused}");
}

/// An app that wants to reach hosts waits for a worker whose owner lets it, and is connected to no other.
#[test]
fn the_network_is_the_owners_to_grant() {
    let lab = Lab::start(&[]);
    made(&lab, "caller");
    lab.says("sed -i 's/^version = .*/&\\nnetwork = [\"*.example.org:443\"]/' caller/gristmill.toml");
    let main = "#!/app/busybox sh\necho \"by $https_proxy\"\nprintf 'CONNECT 127.0.0.1:443 HTTP/1.1\\r\\n\\r\\n' \
                | /app/busybox nc 127.0.0.1 3128 | /app/busybox head -n 1\n";
    std::fs::write(lab.path("caller/main.sh"), main).unwrap();
    lab.says("gristmill app publish caller");
    let waiting = lab.says("gristmill app run caller > run.log 2>&1 & until gristmill why 1 2>/dev/null | tee why.log | grep network; do sleep 0.1; done; cat why.log");
    assert!(waiting.contains("0 have network") && waiting.contains("--allow-host"), "{waiting}");
    let data = lab.path("generous");
    let args = ["worker", "--pool", &lab.url, "--data-dir", text(&data), "--allow-host", "*:443"];
    let _worker = Role::start(&args, &lab.path("generous.log"));
    lab.says("until grep -q HTTP run.log; do sleep 0.1; done");
    let said = std::fs::read_to_string(lab.path("run.log")).unwrap();
    assert!(said.contains("by http://127.0.0.1:3128") && said.contains("HTTP/1.1 403"), "{said}");
    let refused = lab.fails("gristmill worker --allow-host example.org --data-dir other");
    assert!(refused.contains("no host and port"), "{refused}");
}

/// What a program says is heard while it runs, and once only.
#[test]
fn a_task_is_heard_while_it_runs() {
    let lab = Lab::start(&[]);
    made(&lab, "talker");
    lab.says("printf '#!/app/busybox sh\\necho first\\n/app/busybox sleep 6\\necho last\\n' > talker/main.sh");
    lab.says("gristmill app publish talker");
    let job = "gristmill app run --json talker > run.log & until test -s run.log; do sleep 0.1; done; wait_first() { \
               until gristmill logs 1/0 2>/dev/null | grep -q first; do sleep 0.2; done; }; wait_first; \
               gristmill logs 1/0; echo ---; gristmill logs --follow 1/0; wait";
    let said = lab.says(job);
    let (so_far, whole) = said.split_once("---\n").expect("both were shown");
    assert_eq!((so_far, whole), ("first\n", "first\nlast\n"));
}

/// An app that claims what does not hold is told so.
#[test]
fn a_false_claim_is_found() {
    let lab = Lab::start(&[]);
    made(&lab, "three");
    lab.says("echo '/app/busybox head -c 8 /dev/urandom > /out/luck' >> three/main.sh");
    let refused = lab.fails("gristmill app check three");
    assert!(refused.contains("/out/luck differs") && refused.contains("hint:"), "{refused}");
    lab.says("echo 'exit 3' >> three/main.sh");
    assert!(lab.fails("gristmill app check three").contains("exit status 3"));
}
