//! A tiny machine: Debian's cloud kernel and a root file system of busybox, under QEMU's translator. Needs Debian's
//! `qemu-system-x86` and `busybox-static`, and a kernel in `target/vm-kernel` (`cargo xtask test` puts it there).
#![cfg(target_arch = "x86_64")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::outcome::{Exit, Limit};
use gristmill_worker::process::{Attempt, Finished, RunError};
use gristmill_worker::sandbox::{Config, Sandbox};
use gristmill_worker::vm::{self, Accel, Machine, OVERHEAD_BYTES};
use tokio_util::sync::CancellationToken;

const MODULES: [&str; 7] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
];
const MEMORY_BYTES: u64 = 128 << 20;

fn kernel(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../vm-kernel").join(name);
    assert!(path.exists(), "no kernel in target/vm-kernel: `cargo xtask test` puts one there");
    path
}

/// What the guest does when its disks are there.
const INIT: &str = "#!/bin/busybox sh
B=/bin/busybox
$B mkdir -p /proc /sys /dev
$B mount -t proc proc /proc; $B mount -t sysfs sysfs /sys; $B mount -t devtmpfs dev /dev
for m in $MODULES; do $B insmod /$m.ko; done
for d in /sys/block/vd*; do eval \"disk_$($B cat $d/serial | $B tr - _)=/dev/${d##*/}\"; done
cd /; $B tar -xf $disk_gristmill_in
$B mkdir -p /out
. /gristmill/job.sh
cd /out
$B --install -s /bin
\"$@\"
echo $? >/status
[ -e /no-result ] || tar -C / -cf $disk_gristmill_out out status
sync; poweroff -f
";

/// The archive that kernels unpack as their first file system.
fn initrd() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = std::fs::read(busybox.expect("these tests need Debian's busybox-static")).unwrap();
    let mut bytes = Vec::new();
    let mut entry = |name: &str, mode: u32, content: &[u8]| {
        let fields = [0, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|field| bytes.extend_from_slice(format!("{field:08x}").as_bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    entry("bin", 0o40755, b"");
    entry("bin/busybox", 0o100_755, &busybox);
    for name in MODULES {
        entry(&format!("{name}.ko"), 0o100_644, &std::fs::read(kernel(&format!("{name}.ko"))).unwrap());
    }
    entry("init", 0o100_755, INIT.replace("$MODULES", &MODULES.join(" ")).as_bytes());
    entry("TRAILER!!!", 0, b"");
    bytes
}

struct Host {
    dir: tempfile::TempDir,
    sandbox: Sandbox,
    machine: Machine,
    limits: Limits,
}

impl Host {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let launcher = env!("CARGO_BIN_EXE_gristmill-launcher").into();
        let sandbox = Sandbox::open(Config { launcher, host_ids: Default::default() }).await.unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let machine = Machine {
            kernel: Some(kernel("vmlinuz")),
            initrd: Some(file("initrd", &initrd())),
            command_line: "console=ttyS0 quiet panic=-1".into(),
            memory_bytes: MEMORY_BYTES,
            cpus: 1,
            ..Machine::default()
        };
        file("input", b"given");
        std::fs::create_dir(dir.path().join("app")).unwrap();
        file("app/data", b"of the app");
        let limits = Limits {
            wall_ms: 60_000,
            memory_bytes: MEMORY_BYTES + OVERHEAD_BYTES,
            disk_bytes: 32 << 20,
            ..Limits::default()
        };
        Self { dir, sandbox, machine, limits }
    }

    async fn try_run(&self, args: &[&str], cancel: CancellationToken) -> Result<Finished, RunError> {
        let mut job = JobSpec::new(Digest::of(b"vm"));
        job.args = args.iter().map(ToString::to_string).collect();
        job.env = [("GIVEN".to_owned(), "it's \"here\"".to_owned())].into();
        job.limits = self.limits.clone();
        let inputs = [("input".to_owned(), self.dir.path().join("input"))];
        let attempt = Attempt {
            job: &job,
            task: TaskId { job: JobId(1), index: 3 },
            work: 0,
            lease: LeaseId(1),
            worker: WorkerId([0; 20]),
            app_dir: &self.dir.path().join("app"),
            entry: "",
            inputs: &inputs,
            lines: &[],
            hosts: &[],
        };
        let scratch = self.dir.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        vm::run(&self.sandbox, Accel::Tcg, &attempt, &self.machine, &scratch, (|_| {}, |_, _: &[u8]| {}), cancel).await
    }

    async fn run(&self, args: &[&str]) -> Finished {
        self.try_run(args, CancellationToken::new()).await.unwrap()
    }

    fn scratch_is_empty(&self) -> bool {
        std::fs::read_dir(self.dir.path().join("scratch")).unwrap().next().is_none()
    }
}

fn text(finished: &Finished) -> String {
    format!("{}{}", String::from_utf8_lossy(&finished.stdout.head), String::from_utf8_lossy(&finished.stderr.head))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_takes_inputs_and_hands_in_outputs() {
    let host = Host::new().await;
    let script = "echo to the log; echo \"{task} $GIVEN\" > more; cat /in/input /app/data > result; ls -la / >&2; \
        echo '{\"type\":\"progress\",\"done\":77}' > /dev/vport0p1; ln -s /etc/passwd link; mkfifo pipe";
    let finished = host.run(&["sh", "-c", script]).await;
    let said = text(&finished);
    assert_eq!(finished.exit, Exit::Code(0), "{said}");
    assert!(said.contains("to the log"), "{said}");
    assert_eq!(finished.answer.as_deref(), Some(&b"givenof the app"[..]));
    assert_eq!(finished.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["more"]);
    let more = std::io::read_to_string(finished.out.open("more").unwrap()).unwrap();
    assert_eq!(more, "3 it's \"here\"\n");
    assert_eq!(finished.usage.work_done, 77);
    assert!(finished.usage.cpu_ms > 100 && finished.usage.memory_peak_bytes > 10 << 20, "{:?}", finished.usage);
    drop(finished);
    assert!(host.scratch_is_empty());

    assert_eq!(host.run(&["sh", "-c", "exit 7"]).await.exit, Exit::Code(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_guest_gets_no_further() {
    let mut host = Host::new().await;
    // No result, one that is no archive, one that leads out, one that is larger than it may be.
    let finished = host.run(&["touch", "/no-result"]).await;
    assert_eq!(finished.exit, Exit::Code(125), "{}", text(&finished));
    assert!(text(&finished).contains("without a result"));
    let garbage = "touch /no-result; yes | head -c 100000 > $disk_gristmill_out";
    assert_eq!(host.run(&["sh", "-c", &format!("disk_gristmill_out=/dev/vdb; {garbage}")]).await.exit, Exit::Code(125));
    let outside = "touch /no-result; mkdir -p /a/b; echo x > /evil; cd /a/b; echo 0 > status; mkdir out; \
        ln -s / out/root; tar -cf /dev/vdb status out ../../evil 2>&1; tar -tf /dev/vdb";
    let finished = host.run(&["sh", "-c", outside]).await;
    assert!(!host.dir.path().join("evil").exists() && finished.out.open("root/etc/passwd").is_err());
    drop(finished);
    let finished = host.run(&["sh", "-c", "dd if=/dev/zero of=/out/large bs=1M count=40"]).await;
    assert!(matches!(finished.exit, Exit::Limit(Limit::Disk) | Exit::Code(125)), "{:?}", finished.exit);
    let cards = text(&host.run(&["sh", "-c", "ls /sys/class/net"]).await);
    assert!(cards.lines().any(|line| line.trim() == "lo") && !cards.contains("eth"), "{cards}");
    // The log is cut, time ends, and a cancelled machine is gone at once.
    host.limits.wall_ms = 8_000;
    let finished = host.run(&["sh", "-c", "while :; do echo flood flood flood flood; done"]).await;
    assert!(matches!(finished.exit, Exit::Limit(Limit::Wall | Limit::Output)), "{:?}", finished.exit);
    assert!(finished.stdout.head.len() as u64 <= host.limits.log_bytes);
    let cancel = CancellationToken::new();
    let args = ["sleep", "1000"];
    let running = host.try_run(&args, cancel.clone());
    let stop = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        cancel.cancel();
        Instant::now()
    };
    let (ended, stopped) = tokio::join!(running, stop);
    assert!(matches!(ended, Err(RunError::Cancelled)));
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    assert!(host.scratch_is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn acceleration_is_tried_by_running_code() {
    let host = Host::new().await;
    Accel::Tcg.runs(&host.sandbox, host.dir.path()).await.unwrap();
    let chosen = Accel::choose(&host.sandbox, host.dir.path()).await.unwrap();
    assert_eq!(chosen == Accel::Kvm, Accel::Kvm.runs(&host.sandbox, host.dir.path()).await.is_ok());
    let mut small = host;
    small.limits.memory_bytes = MEMORY_BYTES;
    let refused = small.try_run(&["true"], CancellationToken::new()).await.unwrap_err();
    assert!(refused.to_string().contains("hint: set `memory_bytes`"), "{refused}");
}

/// From the call to the outcome, against QEMU alone with the same disks. Prints; `cargo test … -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement prints its table")]
async fn beside_qemu_alone() {
    let host = Host::new().await;
    let path = |name: &str| host.dir.path().join(name).display().to_string();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut input = tar::Builder::new(Vec::new());
        let script = b"set -- 'true'\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(script.len() as u64);
        header.set_mode(0o644);
        input.append_data(&mut header, "gristmill/job.sh", &script[..]).unwrap();
        std::fs::write(path("in.tar"), input.into_inner().unwrap()).unwrap();
        std::fs::File::create(path("out.tar")).unwrap().set_len(16 << 20).unwrap();
        let started = Instant::now();
        let done = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,tb-size=64", "-cpu", "max", "-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-no-reboot", "-m", "128M", "-chardev", "stdio,id=log,signal=off", "-serial", "chardev:log"])
            .args(["-device", "virtio-serial", "-append", &host.machine.command_line])
            .args(["-drive", &format!("if=none,id=in,file={},format=raw,readonly=on", path("in.tar"))])
            .args(["-device", "virtio-blk-pci,drive=in,serial=gristmill-in"])
            .args(["-drive", &format!("if=none,id=out,file={},format=raw,cache=unsafe", path("out.tar"))])
            .args(["-device", "virtio-blk-pci,drive=out,serial=gristmill-out"])
            .arg("-kernel")
            .arg(kernel("vmlinuz"))
            .args(["-initrd", &path("initrd")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success());
        bare.push(started.elapsed());
        let started = Instant::now();
        assert_eq!(host.run(&["true"]).await.exit, Exit::Code(0));
        ours.push(started.elapsed());
    }
    bare.sort();
    ours.sort();
    let ratio = ours[2].as_secs_f64() / bare[2].as_secs_f64();
    println!("qemu alone {:.2?}, an attempt {:.2?}: {ratio:.2}x (medians of 5)", bare[2], ours[2]);
}
