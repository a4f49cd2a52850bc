//! What WebAssembly costs: an attempt that does nothing, the start of a module that was compiled before, and a loop of
//! SHA-256 against the same C source compiled for this processor. All in one run, because only ratios travel.
//! `cargo bench -p gristmill-worker --bench wasm`; needs clang, lld and wasi-libc.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::outcome::Exit;
use gristmill_worker::process::{Attempt, Finished};
use gristmill_worker::wasm::{Program, Settings, Wasm};
use tokio_util::sync::CancellationToken;

const COMPRESSIONS: &str = "2000000";
const ROUNDS: usize = 5;
const ATTEMPTS: u32 = 20_000;
const STARTS: usize = 101;

struct Made {
    dir: PathBuf,
    name: &'static str,
    program: Program,
}

impl Made {
    fn new(dir: &Path, name: &'static str, bytes: &[u8]) -> Self {
        let path = dir.join(name);
        std::fs::write(&path, bytes).expect("a fresh folder");
        let program = Program { digest: Digest::of(bytes), files: vec![(name.to_owned(), path)] };
        Self { dir: dir.to_owned(), name, program }
    }

    async fn run(&self, wasm: &Wasm, job: &JobSpec) -> Finished {
        let attempt = Attempt {
            job,
            task: TaskId { job: JobId(1), index: 0 },
            work: 0,
            lease: LeaseId(1),
            worker: WorkerId([0; 20]),
            app_dir: &self.dir,
            entry: self.name,
            inputs: &[],
            lines: &[],
            hosts: &[],
        };
        let finished = wasm.run(&attempt, &self.program, |_| {}, CancellationToken::new()).await.expect("runs");
        assert_eq!(finished.exit, Exit::Code(0), "{}", String::from_utf8_lossy(&finished.stderr.head));
        finished
    }
}

fn compile(command: &str, args: &[&str], out: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sha256.c");
    let done = Command::new(command).args(args).arg("-o").arg(out).arg(source).status();
    assert!(done.is_ok_and(|done| done.success()), "{command} {args:?}: needs clang, lld and wasi-libc");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn main() {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let (native, module) = (dir.path().join("native"), dir.path().join("sha256.wasm"));
    compile("clang", &["-O3"], &native);
    compile("clang", &["--target=wasm32-wasi", "-O3"], &module);
    let nothing =
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).expect("a module");
    let nothing = Made::new(dir.path(), "nothing.wasm", &nothing);
    let sha256 = Made::new(dir.path(), "loop.wasm", &std::fs::read(&module).expect("compiled"));
    let open = |settings| Wasm::open(&dir.path().join("compiled"), [7; 32], 1, settings).expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let job = JobSpec::new(Digest::of(b"app"));
        let (metered, unmetered) =
            (open(Settings::default()), open(Settings { unmetered: true, ..Settings::default() }));

        nothing.run(&metered, &job).await;
        let started = Instant::now();
        for _ in 0..ATTEMPTS {
            nothing.run(&metered, &job).await;
        }
        let rate = f64::from(ATTEMPTS) / started.elapsed().as_secs_f64();
        println!("attempts that do nothing     {rate:>10.0} a second, one thread");

        for made in [&nothing, &sha256] {
            made.run(&metered, &job).await;
            let mut times = Vec::new();
            for _ in 0..STARTS {
                // Another engine knows no module: this one comes from disk.
                let fresh = open(Settings::default());
                let started = Instant::now();
                made.run(&fresh, &job).await;
                times.push(started.elapsed());
            }
            let micros = median(times).as_secs_f64() * 1e6;
            println!("start from disk to end       {micros:>10.1} us  {}", made.name);
        }

        let job = JobSpec {
            args: vec![COMPRESSIONS.to_owned()],
            limits: Limits { cpu_ms: u64::MAX, ..Limits::default() },
            ..job
        };
        let (mut times, mut fuel) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let said = Command::new(&native).arg(COMPRESSIONS).output().expect("runs");
            times[0].push(started.elapsed());
            for (wasm, times) in [&unmetered, &metered].into_iter().zip(&mut times[1..]) {
                let started = Instant::now();
                let finished = sha256.run(wasm, &job).await;
                times.push(started.elapsed());
                assert_eq!(finished.stdout.head, said.stdout, "the same sums");
                fuel.push(finished.usage.fuel);
            }
        }
        let [native, unmetered, metered] = times.map(|times| median(times).as_secs_f64());
        println!("SHA-256 loop, native         {:>10.1} ms  1.00x", native * 1e3);
        println!("SHA-256 loop, without fuel   {:>10.1} ms  {:.2}x", unmetered * 1e3, unmetered / native);
        println!("SHA-256 loop, with fuel      {:>10.1} ms  {:.2}x", metered * 1e3, metered / native);
        let counted: Vec<u64> = fuel.into_iter().filter(|fuel| *fuel > 0).collect();
        assert!(counted.windows(2).all(|pair| pair[0] == pair[1]), "fuel differs between runs: {counted:?}");
        println!("fuel of each run             {:>10}", counted[0]);
    });
}
