//! How long an attempt of a program that does nothing takes, from the call to the outcome, against the floor: util-linux
//! `unshare` making the same namespaces around the same program. The same program in an image, and how fast layers are
//! unpacked beside `tar`. `cargo bench -p gristmill-worker --bench spawn`

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_proto::app::OciDigest;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::outcome::Exit;
use gristmill_worker::container;
use gristmill_worker::process::{self, Attempt};
use gristmill_worker::sandbox::{Config, Sandbox};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sha2::{Digest as _, Sha256};
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
        hosts: &[],
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let image = runtime.block_on(image_of(&app.join("nothing"), dir.path()));
    // In turns, so that whatever else the machine does falls on all three alike.
    let measured = measure([
        &|| assert!(quiet(&mut Command::new(app.join("nothing")))),
        &|| assert!(quiet(Command::new("unshare").args(user).args(namespaces).arg(app.join("nothing")))),
        &|| {
            let finished = runtime.block_on(process::run(&sandbox, &attempt, |_| {}, CancellationToken::new()));
            assert_eq!(finished.expect("runs").exit, Exit::Code(0));
        },
        &|| {
            let cancel = CancellationToken::new();
            let finished =
                runtime.block_on(container::run(&sandbox, &attempt, &image, &[], (|_| {}, |_, _: &[u8]| {}), cancel));
            assert_eq!(finished.expect("runs").exit, Exit::Code(0));
        },
    ]);
    println!("spawn to end, {RUNS} runs, as {}", if root { "root" } else { "an ordinary user" });
    println!("{:<12} {:>12} {:>10} {:>22}", "", "median", "", "processor time, mean");
    let floor = &measured[1];
    for (name, one) in ["no sandbox", "unshare", "gristmill", "in an image"].into_iter().zip(&measured) {
        let [median, floor_median] = [one.median, floor.median].map(|time| time.as_secs_f64() * 1e3);
        let [cpu, floor_cpu] = [one.cpu, floor.cpu].map(|time| time.as_secs_f64() * 1e3);
        println!("{name:<12} {median:>9.2} ms {:>9.2}x {cpu:>9.2} ms {:>9.2}x", median / floor_median, cpu / floor_cpu);
    }
    println!("image over process: {:.2}x", measured[3].median.as_secs_f64() / measured[2].median.as_secs_f64());
    unpack_beside_tar(dir.path());
}

/// A layer like a distribution's: ten thousand small files and some large ones.
#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
fn unpack_beside_tar(dir: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    let mut random = 1_u64;
    let mut add = |path: String, bytes: usize| {
        let words = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // About as compressible as programs are.
            (random >> 40 & 0x0f0f_0f0f).to_le_bytes()
        });
        let content: Vec<u8> = words.flatten().take(bytes).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes as u64);
        header.set_mode(0o644);
        layer.append_data(&mut header, path, &content[..]).expect("memory");
    };
    (0..10_000).for_each(|number| add(format!("usr/share/{}/{number}", number % 100), 4_000));
    (0..20).for_each(|number| add(format!("usr/lib/{number}.so"), 4 << 20));
    let layer = layer.into_inner().expect("memory");
    let diff_id = OciDigest(Sha256::digest(&layer).into());
    let packed = dir.join("layer.tar.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &layer).expect("memory");
    std::fs::write(&packed, gzip.finish().expect("memory")).expect("writable");
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..5 {
        let [ours, theirs] = ["ours", "theirs"].map(|name| dir.join(format!("{name}-{round}")));
        [&ours, &theirs].into_iter().for_each(|place| std::fs::create_dir(place).expect("fresh"));
        let started = Instant::now();
        let file = std::fs::File::open(&packed).expect("just written");
        container::unpack(file, "", diff_id, &ours, &mut container::Room::new(1 << 30)).expect("unpacks");
        times[0].push(started.elapsed());
        let started = Instant::now();
        assert!(quiet(Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(&theirs)));
        times[1].push(started.elapsed());
        [ours, theirs].iter().for_each(|place| std::fs::remove_dir_all(place).expect("ours"));
    }
    let [ours, theirs] = times.map(|mut times| {
        times.sort();
        times[2].as_secs_f64()
    });
    println!(
        "unpacking {} MB: {ours:.2} s, verified; tar {theirs:.2} s: {:.0} % of its speed",
        layer.len() / 1_000_000,
        theirs / ours * 100.0
    );
}

async fn image_of(program: &Path, dir: &Path) -> container::Prepared {
    let mut parts = container::Parts::default();
    let mut add = |name: &str, bytes: &[u8]| {
        let digest = OciDigest(Sha256::digest(bytes).into());
        std::fs::write(dir.join(name), bytes).expect("writable");
        parts.add(digest, dir.join(name)).expect("just written");
        digest
    };
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_path_with_name(program, "nothing").expect("readable");
    let layer = layer.into_inner().expect("memory");
    let (size, layer) = (layer.len(), add("layer", &layer));
    let arch = if std::env::consts::ARCH == "x86_64" { "amd64" } else { "arm64" };
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "config": { "Entrypoint": ["/nothing"] },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    });
    let config = config.to_string();
    let manifest = serde_json::json!({
        "config": { "digest": add("config", config.as_bytes()), "size": config.len() },
        "layers": [{ "digest": layer, "size": size }],
    });
    let manifest = add("manifest", manifest.to_string().as_bytes());
    let registries = container::Registries { client: reqwest::Client::new(), known: Default::default() };
    let images = container::Images::open(dir.join("images"), registries, 1 << 30).expect("writable");
    let place = container::Place::Parts(parts);
    images.prepare(manifest, &place, std::env::consts::ARCH, false).await.expect("an image")
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
