//! Jobs from a shell: real binary, real processes.

mod grid;

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use grid::hostile::{HostileWorker, answers};
use grid::{PATIENCE, Role, run, text};
use gristmill_proto::message::{ToPool, ToWorker};
use gristmill_proto::vote::{Commitment, Salt, Sealed, compared};
use serde_json::Value;

/// A pool without a chain.
struct Pool {
    dir: tempfile::TempDir,
    url: String,
    _scheduler: Role,
    workers: Vec<Role>,
}

impl Pool {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("scheduler");
        let args = ["scheduler", "--listen", "127.0.0.1:0", "--data-dir", text(&data)];
        let args = [&args, more].concat();
        let scheduler = Role::start(&args, &dir.path().join("scheduler.log"));
        let url = scheduler.first_line.clone();
        Self { dir, url, _scheduler: scheduler, workers: Vec::new() }
    }

    fn add_worker(&mut self, more: &[&str]) -> String {
        let number = self.workers.len();
        let data = self.path(&format!("worker-{number}"));
        let args = ["worker", "--pool", &self.url, "--data-dir", text(&data), "--slots", "2"];
        let args = [&args, more].concat();
        let worker = Role::start(&args, &self.path(&format!("worker-{number}.log")));
        let id = worker.first_line.clone();
        self.workers.push(worker);
        id
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        text(&self.path(name)).to_owned()
    }

    fn say(&self, args: &[&str]) -> Output {
        let token = self.path("scheduler/token");
        let at = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
        let needs_token = ["run", "submit", "cancel"].contains(&args[0]);
        let pool = ["--pool", &self.url];
        let token = ["--pool-token", text(&token)];
        let pool = if needs_token { [&pool[..], &token[..]].concat() } else { pool.to_vec() };
        run(&[&args[..at], &pool, &args[at..]].concat())
    }

    /// What a command that goes well prints.
    fn hear(&self, args: &[&str]) -> String {
        let output = self.say(args);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`gristmill {}`:\n{stdout}\n{stderr}", args.join(" "));
        stdout.into_owned()
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.hear(&[&args[..1], &["--json"], &args[1..]].concat());
        serde_json::from_str(said.lines().last().expect("an event")).expect("each line is JSON")
    }

    fn wait_for(&self, job: &str, state: &str) -> Value {
        let started = Instant::now();
        loop {
            let view = self.json(&["job", job]);
            if view["job"]["state"] == state {
                return view;
            }
            assert!(started.elapsed() < PATIENCE, "{view}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_program_is_run_and_says_what_it_says_here() {
    let mut pool = Pool::start();
    pool.add_worker(&[]);
    let said = pool.hear(&["run", "vanity", "--", "difficulty", "1Love"]);
    assert!(said.contains("1Love"), "{said}");
    // A program that needs this machine's libraries finds none, wherever it runs.
    let dynamic = pool.say(&["run", "/bin/ls"]);
    let complaint = String::from_utf8_lossy(&dynamic.stderr);
    assert!(!dynamic.status.success() && complaint.contains("be static or bring"), "{complaint}");
    let failed = pool.say(&["run", "vanity", "--", "difficulty", "1L0VE"]);
    let complaint = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1));
    assert!(complaint.contains("P2PKH addresses never contain"), "the program's own words: {complaint}");
}

#[test]
fn an_array_is_one_task_for_every_combination() {
    let mut pool = Pool::start();
    pool.add_worker(&[]);
    pool.write("patterns.txt", "1Aa\n1Bb\n");
    let file = pool.write(
        "job.toml",
        "app = \"vanity\"\nargs = [\"difficulty\", \"{pattern}{letter}\", \"--json\"]\n\
         [array]\npattern = { lines_of = \"patterns.txt\" }\nletter = [\"x\", \"y\", \"z\"]\n",
    );
    let done = pool.json(&["submit", &file, "--watch"]);
    assert_eq!((&done["event"], &done["tasks"]["done"]), (&"done".into(), &6.into()), "{done}");
    let job = done["job"].to_string();
    let out = pool.path("results");
    pool.hear(&["fetch", &job, "--out", text(&out)]);
    let again = pool.say(&["fetch", &job, "--out", text(&out)]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is there already"));
    // Names in alphabetical order, the last varies fastest.
    let wanted = ["1Aax", "1Bbx", "1Aay", "1Bby", "1Aaz", "1Bbz"];
    for (task, pattern) in wanted.iter().enumerate() {
        let stdout = std::fs::read_to_string(out.join(format!("{task}.stdout"))).unwrap();
        assert!(stdout.contains(pattern), "task {task}: {stdout}");
    }
}

#[test]
fn a_receipt_is_checked_without_the_pool() {
    let mut pool = Pool::start();
    let worker = pool.add_worker(&[]);
    let job = pool.json(&["run", "vanity", "--", "difficulty", "1Love"])["job"].to_string();
    let file = pool.path("receipt.json");
    pool.hear(&["receipt", &job, "0", "--out", text(&file)]);
    drop(std::mem::take(&mut pool.workers));
    let checked = run(&["verify", text(&file)]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains(&worker), "{said}");
    assert!(said.contains("does not prove"), "{said}");

    let receipt: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let with = |path: &str, value: Value| {
        let mut forged = receipt.clone();
        *forged.pointer_mut(path).expect("a field of the receipt") = value;
        std::fs::write(&file, forged.to_string()).unwrap();
        let output = run(&["verify", text(&file), "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said.contains(&worker))
    };
    assert_eq!(with("/job/args/1", "1Hate".into()), (false, false));
    let outcome = receipt["outcome"].as_str().unwrap().replace("00", "01");
    assert_eq!(with("/outcome", outcome.into()), (false, false));
    assert!(!with("/receipt/statement/pool", "other".into()).0);
    assert!(!with("/worker", format!("0x{}", "ab".repeat(20)).into()).0);
}

#[test]
fn why_tells_what_a_job_waits_for() {
    let mut pool = Pool::start();
    let file =
        pool.write("job.toml", "app = \"vanity\"\nargs = [\"difficulty\", \"1Love\"]\nrequire = [\"site == lyon\"]\n");
    let job = pool.hear(&["submit", &file]).trim().to_owned();
    assert!(pool.hear(&["why", &job]).contains("no worker is connected"));

    let elsewhere = pool.add_worker(&["--label", "site=paris"]);
    let started = Instant::now();
    let why = loop {
        let why = pool.json(&["why", &job]);
        if why["workers"] == 1 {
            break why;
        }
        assert!(started.elapsed() < PATIENCE, "{why}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(why["reason"].as_str().unwrap().contains("site == lyon"), "{why}");
    assert!(why["hint"].as_str().unwrap().contains("--label site="), "{why}");
    let admits = |asks: &str| {
        let conditions = why["conditions"].as_array().unwrap();
        conditions.iter().find(|c| c["asks"].as_str().unwrap().contains(asks)).map(|c| c["admits"].as_u64().unwrap())
    };
    assert_eq!((admits("site"), admits("slots"), admits("memory")), (Some(0), Some(1), Some(1)));
    assert!(pool.hear(&["why", &elsewhere]).contains("`site == lyon` does not hold"));

    pool.add_worker(&["--label", "site=lyon"]);
    pool.wait_for(&job, "done");
    assert!(pool.hear(&["why", &job]).contains("is done"));
}

#[test]
fn a_job_that_fails_says_why_and_one_that_is_not_wanted_ends() {
    let mut pool = Pool::start();
    pool.add_worker(&[]);
    let file = pool.write("job.toml", "app = \"vanity\"\nargs = [\"difficulty\", \"1L0VE\"]\nretries = 1\n");
    let job = pool.hear(&["submit", &file]).trim().to_owned();
    pool.wait_for(&job, "failed");
    let said = pool.hear(&["job", &job]);
    assert!(said.contains("failed 2 times") && said.matches("task 0 on 0x").count() == 2, "{said}");

    let file = pool.write("long.toml", "app = \"vanity\"\nargs = [\"search\", \"1LoveLoveLove\"]\n");
    let job = pool.hear(&["submit", &file]).trim().to_owned();
    pool.wait_for(&job, "running");
    let said = pool.hear(&["cancel", &job]);
    assert!(said.contains("was cancelled"), "{said}");
    assert!(pool.hear(&["jobs"]).contains("cancelled"));
}

/// Seven real workers, and one that lies: it votes for an outcome of its own, properly bound and shown.
#[tokio::test(flavor = "multi_thread")]
async fn several_workers_vote_and_a_liar_is_outvoted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut pool = Pool::start_with(&["--voters-apart", "workers"]);
    let mut liar = HostileWorker::connect(&pool.url, 66).await;
    let job = "app = \"vanity\"\nargs = [\"difficulty\", \"1Love\"]\ntrust = { replicate = { max_error = 0.001 } }\n";
    let file = pool.write("job.toml", job);
    let job = pool.hear(&["submit", &file]).trim().to_owned();
    let lease = liar.lease().await;
    assert!(pool.hear(&["why", &job]).contains("5 votes"), "one worker is not enough");
    let (lie, salt) = (answers(b"a lie".to_vec()), Salt([7; 32]));
    let commitment = Commitment::new(liar.id(), lease.task, compared(&lie), salt);
    liar.say(&ToPool::Committed { votes: vec![Sealed { lease: lease.lease, commitment }] }).await;
    for _ in 0..7 {
        pool.add_worker(&[]);
    }
    match liar.hear().await {
        Some(ToWorker::Open { leases }) => assert_eq!(leases, [lease.lease]),
        other => panic!("{other:?}"),
    }
    // What others voted for is nobody's business yet, and a vote is shown with its salt or not at all.
    assert_eq!(liar.show(&lease, lie, salt).await, None, "it is what the liar was bound to");
    let done = pool.wait_for(&job, "done");
    assert_eq!(done["job"]["tasks"]["done"], 1, "{done}");
    let attempts = reqwest::get(format!("{}/api/jobs/{job}/tasks/0", pool.url)).await.unwrap();
    let attempts: Vec<Value> = serde_json::from_str(&attempts.text().await.unwrap()).unwrap();
    let of = |verdict: &str| attempts.iter().filter(|attempt| attempt["verdict"] == verdict).count();
    assert_eq!((of("certified"), of("rejected"), of("voted")), (1, 1, 0), "{attempts:?}");
    assert!(of("agreed") >= 4, "{attempts:?}");
    let rejected = attempts.iter().find(|attempt| attempt["verdict"] == "rejected").unwrap();
    assert_eq!(rejected["worker"], liar.id().to_string());
    // It gets no more of this app.
    pool.hear(&["submit", &file]);
    assert!(liar.hears_nothing().await, "an exposed liar is asked again");
}

#[tokio::test]
async fn the_pool_counts_what_it_does() {
    let mut pool = Pool::start();
    pool.add_worker(&[]);
    pool.hear(&["run", "vanity", "--", "difficulty", "1Love"]);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = reqwest::get(format!("{}/metrics", pool.url)).await.unwrap().text().await.unwrap();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("gristmill_pool_{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{name} in\n{text}"))
    };
    for name in ["jobs_submitted_total", "jobs_ended_total", "results_certified_total", "workers_connected"] {
        assert_eq!(value(name), 1, "{name}");
    }
    assert_eq!((value("slots"), value("jobs_live"), value("leases_in_force")), (2, 0, 0));
    assert!(text.lines().filter(|line| !line.starts_with('#')).all(|line| line.split(' ').count() == 2), "{text}");
}

#[test]
fn mistakes_in_a_job_are_named() {
    let pool = Pool::start();
    let refused = |content: &str, words: &str| {
        let file = pool.write("job.toml", content);
        let output = pool.say(&["submit", &file]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{content}: {said}");
    };
    refused("app = \"vanity\"\nargz = []\n", "line 2");
    refused("app = \"nowhere\"\n", "`nowhere` is no app");
    refused("app = \"vanity\"\ntasks = 3\n[array]\na = [1, 2]\n", "2 combinations");
    refused("app = \"vanity\"\n[resources]\ncores = 0\n", "0 cores");
    refused("app = \"vanity\"\n[[inputs]]\npath = \"x\"\n", "needs either");
    let unknown = "ab".repeat(32);
    refused(&format!("app = \"{unknown}\"\n"), "upload the app");
}

/// The ratio says nothing on a machine that also runs other tests, so only its parts are looked at.
#[test]
fn a_search_in_a_grid_is_measured_beside_the_same_program_alone() {
    let quick = ["--workers", "1", "--rounds", "1", "--tasks", "1", "--task-seconds", "2"];
    let output = run(&[&["bench", "vanity", "--json"], &quick[..]].concat());
    let told = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let event = |name: &str| events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("{told}"));
    let (round, grid) = (event("round"), event("grid"));
    let number = |value: &Value| value.as_f64().unwrap();
    let ratio = number(&round["grid_per_s"]) / number(&round["alone_per_s"]);
    assert!((number(&grid["ratio"]) - ratio).abs() < 1e-9 && ratio > 0.1 && ratio < 3.0, "{told}");
    let holds = number(&grid["ratio"]) >= number(&grid["floor"]);
    assert_eq!(grid["holds"], holds);
    assert_eq!(output.status.success(), holds, "below its floor it fails");
}
