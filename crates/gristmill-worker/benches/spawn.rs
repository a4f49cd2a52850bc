//! How long an attempt of a program that does nothing takes, from the call to the outcome, against the floor: util-linux
//! `unshare` making the same namespaces around the same program. `cargo bench -p gristmill-worker --bench spawn`

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::outcome::Exit;
use gristmill_worker::process::{self, Attempt};
use gristmill_worker::sandbox::{Config, Sandbox};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio_util::sync::CancellationToken;

const RUNS: usize = 200;

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn main() {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let app = dir.path().join("app");
    std::fs::create_dir(&app).expect("fresh directory");
    compile_nothing(&app.join("nothing"));
    let root = nix::unistd::geteuid().is_root();
    let namespaces = ["--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup"];
    let user: &[&str] = if root { &[] } else { &["--user", "--map-current-user"] };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let config = Config { launcher: env!("CARGO_BIN_EXE_gristmill-launcher").into(), host_ids: Default::default() };
    let sandbox = runtime.block_on(Sandbox::open(config)).expect("a host with all parts");
    let job = JobSpec::new(Digest::of(b"nothing"));
    let attempt = Attempt {
        job: &job,
        task: TaskId { job: JobId(1), index: 0 },
        work: 0,
        lease: LeaseId(1),
        worker: WorkerId([0; 20]),
        app_dir: &app,
        entry: "nothing",
        inputs: &[],
        lines: &[],
    };
    // In turns, so that whatever else the machine does falls on all three alike.
    let measured = measure([
        &|| assert!(quiet(&mut Command::new(app.join("nothing")))),
        &|| assert!(quiet(Command::new("unshare").args(user).args(namespaces).arg(app.join("nothing")))),
        &|| {
            let finished = runtime.block_on(process::run(&sandbox, &attempt, |_| {}, CancellationToken::new()));
            assert_eq!(finished.expect("runs").exit, Exit::Code(0));
        },
    ]);
    println!("spawn to end, {RUNS} runs, as {}", if root { "root" } else { "an ordinary user" });
    println!("{:<12} {:>12} {:>10} {:>22}", "", "median", "", "processor time, mean");
    let floor = &measured[1];
    for (name, one) in ["no sandbox", "unshare", "gristmill"].into_iter().zip(&measured) {
        let [median, floor_median] = [one.median, floor.median].map(|time| time.as_secs_f64() * 1e3);
        let [cpu, floor_cpu] = [one.cpu, floor.cpu].map(|time| time.as_secs_f64() * 1e3);
        println!("{name:<12} {median:>9.2} ms {:>9.2}x {cpu:>9.2} ms {:>9.2}x", median / floor_median, cpu / floor_cpu);
    }
}

fn compile_nothing(program: &Path) {
    let source = program.with_extension("c");
    std::fs::write(&source, "int main(void) { return 0; }").expect("writable");
    assert!(quiet(Command::new("cc").args(["-static", "-o"]).arg(program).arg(source)), "cc and a static C library");
    for path in [program.parent().expect("has one"), program] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("our own");
    }
}

fn quiet(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("executes").success()
}

struct Measured {
    median: Duration,
    /// Of all processes started. Says more than the clock on a busy machine.
    cpu: Duration,
}

fn measure<const N: usize>(runs: [&dyn Fn(); N]) -> [Measured; N] {
    let mut times = [const { Vec::new() }; N];
    let mut cpu = [Duration::ZERO; N];
    for _ in 0..RUNS {
        for (number, run) in runs.iter().enumerate() {
            let (started, cpu_before) = (Instant::now(), cpu_of_children());
            run();
            times[number].push(started.elapsed());
            cpu[number] += cpu_of_children() - cpu_before;
        }
    }
    std::array::from_fn(|number| {
        times[number].sort();
        Measured { median: times[number][RUNS / 2], cpu: cpu[number] / RUNS as u32 }
    })
}

fn cpu_of_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("always there");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(microseconds.cast_unsigned())
}
