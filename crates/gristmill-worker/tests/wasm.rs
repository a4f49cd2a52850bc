//! The wasm runtime: hostile modules end within their limits, and the same task comes out the same however it is compiled.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::outcome::{Exit, Limit};
use gristmill_worker::process::{Attempt, Finished, RunError};
use gristmill_worker::wasm::{INTERPRETER, Judged, Program, Settings, Wasm};
use tokio_util::sync::CancellationToken;

/// Far more than any of these modules needs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    dir: tempfile::TempDir,
    wasm: Wasm,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let wasm = Wasm::open(&dir.path().join("compiled"), [7; 32], 2, settings).unwrap();
        Self { dir, wasm }
    }

    async fn run(&self, text: &str, job: &JobSpec) -> Result<Finished, RunError> {
        self.run_task(text, job, 0, CancellationToken::new()).await
    }

    async fn run_task(
        &self,
        text: &str,
        job: &JobSpec,
        index: u64,
        cancel: CancellationToken,
    ) -> Result<Finished, RunError> {
        let module = wat::parse_str(text).expect("a module in text");
        let path = self.dir.path().join("module.wasm");
        std::fs::write(&path, &module).unwrap();
        let program = program(&path, &module);
        let input = self.dir.path().join("input");
        std::fs::write(&input, "from outside").unwrap();
        let attempt = Attempt {
            job,
            task: TaskId { job: JobId(1), index },
            work: 0,
            lease: LeaseId(1),
            worker: WorkerId([1; 20]),
            app_dir: self.dir.path(),
            entry: "module.wasm",
            inputs: &[("a/input".to_owned(), input)],
            lines: &[],
            hosts: &[],
        };
        let running = self.wasm.run(&attempt, &program, |_| {}, cancel);
        tokio::time::timeout(PATIENCE, running).await.expect("within its limits")
    }

    async fn exit(&self, text: &str, limits: Limits) -> Exit {
        self.run(text, &job(limits)).await.expect("it runs").exit
    }
}

fn program(path: &Path, module: &[u8]) -> Program {
    let files: Vec<(String, PathBuf)> = vec![("module.wasm".to_owned(), path.to_owned())];
    Program { digest: Digest::of(module), files }
}

fn job(limits: Limits) -> JobSpec {
    JobSpec { limits, ..JobSpec::new(Digest::of(b"app")) }
}

fn said(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stderr.head).into_owned()
}

const ENDLESS: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;
/// Runs when the module is instantiated, before anything of it is called.
const ENDLESS_START: &str =
    r#"(module (memory (export "memory") 1) (func $f (loop (br 0))) (start $f) (func (export "_start")))"#;
const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

#[tokio::test]
async fn an_endless_loop_meets_whichever_limit_comes_first() {
    let bench = Bench::new(Settings::default());
    for text in [ENDLESS, ENDLESS_START] {
        let cpu = Limits { cpu_ms: 100, ..Limits::default() };
        assert_eq!(bench.exit(text, cpu).await, Exit::Limit(Limit::Cpu));
        let wall = Limits { wall_ms: 100, ..Limits::default() };
        assert_eq!(bench.exit(text, wall).await, Exit::Limit(Limit::Wall));
        let fuel = Limits { fuel: Some(1_000_000), ..Limits::default() };
        let finished = bench.run(text, &job(fuel)).await.unwrap();
        assert_eq!(finished.exit, Exit::Limit(Limit::Fuel));
        assert_eq!(finished.usage.fuel, 1_000_000);
    }
    assert_eq!(bench.exit(NOTHING, Limits::default()).await, Exit::Code(0), "the threads are free again");
}

#[tokio::test]
async fn a_cancelled_module_stops_at_once() {
    let bench = Bench::new(Settings::default());
    for text in [ENDLESS, ENDLESS_START] {
        let cancel = CancellationToken::new();
        let (job, started) = (job(Limits::default()), Instant::now());
        let stop = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(bench.run_task(text, &job, 0, cancel.clone()), stop);
        assert!(matches!(ended, Err(RunError::Cancelled)));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn memory_and_tables_have_their_limit() {
    let bench = Bench::new(Settings::default());
    let limits = || Limits { memory_bytes: 8 << 20, ..Limits::default() };
    let grows = r#"(module (memory (export "memory") 1) (func (export "_start")
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))"#;
    let finished = bench.run(grows, &job(limits())).await.unwrap();
    assert_eq!(finished.exit, Exit::Limit(Limit::Memory));
    assert_eq!(finished.usage.memory_peak_bytes, 8 << 20);
    let large = r#"(module (memory (export "memory") 1000) (func (export "_start")))"#;
    assert_eq!(bench.exit(large, limits()).await, Exit::Limit(Limit::Memory));
    let tables = r#"(module (table 100000000 funcref) (memory (export "memory") 1) (func (export "_start")))"#;
    assert_eq!(bench.exit(tables, limits()).await, Exit::Limit(Limit::Memory));
    let grows_table = r#"(module (table 1 funcref) (memory (export "memory") 1) (func (export "_start")
        (loop (br_if 0 (i32.ne (table.grow 0 (ref.null func) (i32.const 100000)) (i32.const -1)))) unreachable))"#;
    assert_eq!(bench.exit(grows_table, limits()).await, Exit::Limit(Limit::Memory));
}

#[tokio::test]
async fn deep_recursion_ends_the_module_alone() {
    let bench = Bench::new(Settings::default());
    let text = r#"(module (memory (export "memory") 1) (func $f (param i64) (result i64)
        (i64.add (call $f (local.get 0)) (i64.const 1))) (func (export "_start") (drop (call $f (i64.const 0)))))"#;
    let finished = bench.run(text, &job(Limits::default())).await.unwrap();
    assert_eq!(finished.exit, Exit::Code(134));
    assert!(said(&finished).contains("call stack exhausted"), "{}", said(&finished));
}

#[tokio::test]
async fn what_would_differ_between_workers_is_refused() {
    let bench = Bench::new(Settings::default());
    let start = r#"(func (export "_start"))"#;
    for text in [
        format!(r#"(module (import "env" "system" (func (param i32))) (memory (export "memory") 1) {start})"#),
        format!(r#"(module (memory (export "memory") 1 2 shared) {start})"#),
        format!(r#"(module (memory (export "memory") i64 1) {start})"#),
    ] {
        let refused = bench.run(&text, &job(Limits::default())).await.unwrap_err();
        assert!(matches!(refused, RunError::Program(_)), "{refused}");
    }
    let no_start = r#"(module (memory (export "memory") 1))"#;
    assert_eq!(bench.exit(no_start, Limits::default()).await, Exit::Code(134));
}

/// Asks everything that differs from run to run in other environments, and writes the answers to standard output.
const CURIOUS: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 8) "a/input")
    (func (export "_start") (local $n i32)
        (drop (call $random (i32.const 1024) (i32.const 64)))
        (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 1100)))
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 1108)))
        (drop (call $environ (i32.const 4096) (i32.const 8192)))
        (drop (call $list (i32.const 4) (i32.const 2048) (i32.const 512) (i64.const 0) (i32.const 1116)))
        (drop (call $stat (i32.const 4) (i32.const 0) (i32.const 8) (i32.const 7) (i32.const 1200)))
        ;; Not-a-numbers of several makes.
        (f64.store (i32.const 1300) (f64.div (f64.const 0) (f64.const 0)))
        (f64.store (i32.const 1308) (f64.add (f64.const nan:0xdead) (f64.const 1)))
        (f64.store (i32.const 1316) (f64.sqrt (f64.const -1)))
        (f32.store (i32.const 1324) (f32.mul (f32.const inf) (f32.const 0)))
        (f64.store (i32.const 1332) (f64.min (f64.const nan:0x1234) (f64.const 0)))
        (loop
            (i32.store (i32.add (i32.const 20000) (i32.mul (local.get $n) (i32.const 4)))
                (i32.mul (local.get $n) (i32.const 0x9e3779b1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $n) (i32.const 10000))))
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 60000))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

#[tokio::test]
async fn a_task_comes_out_the_same_however_its_code_is_made() {
    let job = JobSpec { limits: Limits { log_bytes: 1 << 18, ..Limits::default() }, ..job(Limits::default()) };
    let optimised = Bench::new(Settings::default());
    let first = optimised.run(CURIOUS, &job).await.unwrap();
    assert_eq!((first.exit.clone(), first.stdout.total_bytes), (Exit::Code(0), 60_000), "{}", said(&first));
    assert!(first.usage.fuel > 100_000);
    // The interpreter stands for another processor: it shares no code generator with this one. It is compiled in by
    // the feature of that name.
    for settings in [
        Settings::default(),
        Settings { unoptimised: true, ..Settings::default() },
        Settings { interpreted: INTERPRETER, ..Settings::default() },
    ] {
        let again = Bench::new(settings).run(CURIOUS, &job).await.unwrap();
        assert_eq!(again.exit, Exit::Code(0), "{settings:?}: {}", said(&again));
        assert!(again.stdout == first.stdout, "{settings:?}: other output");
        assert_eq!(again.usage.fuel, first.usage.fuel, "{settings:?}");
    }
    let other = optimised.run_task(CURIOUS, &job, 1, CancellationToken::new()).await.unwrap();
    assert!(other.stdout.head[..64] != first.stdout.head[..64], "another task, other luck");
}

/// Writes a line to standard output again and again, and leaves well.
const FLOOD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 20)
    (func (export "_start") (local $n i32)
        (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1000000))
        (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $n) (i32.const 100))))))"#;

#[tokio::test]
async fn a_flood_of_output_is_kept_short_and_is_a_failure() {
    let bench = Bench::new(Settings::default());
    let finished = bench.run(FLOOD, &job(Limits::default())).await.unwrap();
    assert_eq!(finished.exit, Exit::Limit(Limit::Output));
    assert_eq!(finished.stdout.head.len() as u64, Limits::default().log_bytes);
}

/// Writes a megabyte to `/out/f`, `$times` over, and fails if a write does.
fn writes(times: u32) -> String {
    format!(
        r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 20)
    (data (i32.const 32) "f")
    (func (export "_start") (local $n i32)
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 1) (i64.const 64)
            (i64.const 0) (i32.const 0) (i32.const 40)) (then unreachable))
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1048576))
        (loop (if (call $write (i32.load (i32.const 40)) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $n) (i32.const {times}))))))"#
    )
}

#[tokio::test]
async fn what_is_written_counts_against_the_disk() {
    let bench = Bench::new(Settings::default());
    let limits = || Limits { disk_bytes: 4 << 20, ..Limits::default() };
    let whole = bench.run(&writes(4), &job(limits())).await.unwrap();
    assert_eq!((whole.exit.clone(), whole.files[0].size), (Exit::Code(0), 4 << 20), "{}", said(&whole));
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut whole.out.open("f").unwrap(), &mut content).unwrap();
    assert_eq!(content.len(), 4 << 20);
    assert_eq!(bench.exit(&writes(5), limits()).await, Exit::Limit(Limit::Disk));
}

/// Exits with a status of its own.
fn exits(status: u32) -> String {
    format!(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {status}))))"#
    )
}

#[tokio::test]
async fn compiled_code_that_this_worker_did_not_write_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let bench = |secret: u8| {
        let wasm = Wasm::open(&dir.path().join("compiled"), [secret; 32], 1, Settings::default()).unwrap();
        Bench { dir: tempfile::tempdir().unwrap(), wasm }
    };
    let [three, four] = [exits(3), exits(4)];
    assert_eq!(bench(7).exit(&three, Limits::default()).await, Exit::Code(3));
    assert_eq!(bench(7).exit(&four, Limits::default()).await, Exit::Code(4));
    let compiled = |text: &str| {
        let digest = Digest::of(&wat::parse_str(text).unwrap()).to_string();
        let files = std::fs::read_dir(dir.path().join("compiled")).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        paths.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&digest)).expect("kept on disk")
    };
    let [of_three, of_four] = [compiled(&three), compiled(&four)];
    // A module's file in the place of another's, a changed byte, and a worker with another secret.
    std::fs::copy(&of_four, &of_three).unwrap();
    assert_eq!(bench(7).exit(&three, Limits::default()).await, Exit::Code(3));
    let mut bytes = std::fs::read(&of_three).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&of_three, &bytes).unwrap();
    assert_eq!(bench(7).exit(&three, Limits::default()).await, Exit::Code(3));
    assert_eq!(bench(8).exit(&three, Limits::default()).await, Exit::Code(3));
}

/// Accepts a result whose file `sum` is there and begins with a 7.
const CHECKER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 32) "sum")
    (func (export "_start")
        (if (call $open (i32.const 6) (i32.const 0) (i32.const 32) (i32.const 3) (i32.const 0) (i64.const 2)
            (i64.const 0) (i32.const 0) (i32.const 40)) (then unreachable))
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1))
        (drop (call $read (i32.load (i32.const 40)) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $exit (i32.ne (i32.load8_u (i32.const 64)) (i32.const 55)))))"#;

#[tokio::test]
async fn a_checker_accepts_rejects_or_fails() {
    let bench = Bench::new(Settings::default());
    let module = wat::parse_str(CHECKER).unwrap();
    let (path, sum) = (bench.dir.path().join("module.wasm"), bench.dir.path().join("sum"));
    std::fs::write(&path, &module).unwrap();
    let (program, job) = (program(&path, &module), job(Limits::default()));
    let attempt = Attempt {
        job: &job,
        task: TaskId { job: JobId(1), index: 0 },
        work: 0,
        lease: LeaseId(1),
        worker: WorkerId([1; 20]),
        app_dir: bench.dir.path(),
        entry: "module.wasm",
        inputs: &[],
        lines: &[],
        hosts: &[],
    };
    let judge =
        async |files: &[(String, PathBuf)]| bench.wasm.judge(&attempt, &program, files, CancellationToken::new()).await;
    let files = [("sum".to_owned(), sum.clone())];
    std::fs::write(&sum, "7\n").unwrap();
    assert_eq!(judge(&files).await.unwrap(), Judged::Accepted);
    std::fs::write(&sum, "8\n").unwrap();
    assert_eq!(judge(&files).await.unwrap(), Judged::Rejected(String::new()));
    assert!(matches!(judge(&[]).await, Err(RunError::Program(_))), "a checker that traps has no say");
}
