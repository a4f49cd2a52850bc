//! Virtual machines: QEMU in the same [sandbox](crate::sandbox) as any other program, with disks for what goes in and
//! comes out, and no network. What a guest breaks out into is a cell.
//!
//! The guest finds three disks by their serial numbers. `gristmill-in` is a tar archive: `in/` and `app/`, and
//! `gristmill/job.sh`, which sets the job's arguments and environment in a shell. `gristmill-out` is empty: the guest
//! writes a tar archive with `out/` and `status`, a number, and powers off. `gristmill-disk` is the app's disk, to which
//! it writes as it likes; nothing of that is kept. The first serial port is the log, the port `gristmill` the channel.

mod accel;
mod disks;

use std::path::{Path, PathBuf};

use gristmill_proto::app::{DiskFormat, VmTarget};
use gristmill_proto::job::JobSpec;
use gristmill_proto::message::Stream;
use gristmill_proto::outcome::{Exit, Limit};
use tokio_util::sync::CancellationToken;

pub use self::accel::{Accel, NoVm};
use crate::process::{self, Attempt, Finished, RunError};
use crate::sandbox::Sandbox;
use crate::sandbox::wire::{Ground, Spec};

/// What QEMU needs beside the guest's memory: its own code and data, translated code, buffers of disks.
pub const OVERHEAD_BYTES: u64 = 256 << 20;
/// Translated code, where there is no acceleration.
const TRANSLATED_MIB: u64 = 64;
const OUT: &str = "gristmill-out.tar";

/// The files of a machine on this one.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub disk: Option<(PathBuf, DiskFormat)>,
    pub kernel: Option<PathBuf>,
    pub initrd: Option<PathBuf>,
    pub command_line: String,
    pub memory_bytes: u64,
    pub cpus: u32,
    pub cloud_init: bool,
}

impl Machine {
    /// Of what an app says; its files are yet to be found.
    pub fn of(target: &VmTarget) -> Self {
        Self {
            command_line: target.kernel.as_ref().map(|kernel| kernel.command_line.clone()).unwrap_or_default(),
            memory_bytes: target.memory_bytes,
            cpus: target.cpus,
            cloud_init: target.cloud_init,
            ..Self::default()
        }
    }

    /// Whether a job's limits let it run at all.
    fn fits(&self, job: &JobSpec) -> Result<(), String> {
        let needed = self.memory_bytes.saturating_add(OVERHEAD_BYTES);
        if job.limits.memory_bytes < needed {
            return Err(format!(
                "error: a virtual machine of {} bytes needs {needed} with what runs it, and the job's limit is {}\n\n\
                 hint: set `memory_bytes` of the job's limits to {needed}",
                self.memory_bytes, job.limits.memory_bytes
            ));
        }
        Ok(())
    }
}

/// Runs an attempt in a machine of its own. `scratch` is where the disk of inputs is put together.
pub async fn run(
    sandbox: &Sandbox,
    accel: Accel,
    attempt: &Attempt<'_>,
    machine: &Machine,
    scratch: &Path,
    (progress, say): (impl Fn(u64) + Send, impl Fn(Stream, &[u8]) + Send + Sync),
    cancel: CancellationToken,
) -> Result<Finished, RunError> {
    let job = attempt.job;
    machine.fits(job).map_err(RunError::Job)?;
    let prepared = disks::Prepared::make(attempt, machine.cloud_init, scratch).await.map_err(RunError::Disks)?;
    let mut finished = process::run_aloud(sandbox, attempt, progress, say, cancel, |spec| {
        become_machine(spec, accel, machine, &prepared, job.limits.disk_bytes);
    })
    .await?;
    drop(prepared);
    if finished.exit != Exit::Code(0) {
        return Ok(finished);
    }
    let disk_bytes = job.limits.disk_bytes;
    let scratch = scratch.to_owned();
    // Whatever else is there is not the guest's doing.
    (finished.answer, finished.files) = (None, Vec::new());
    let disk = finished.out.open(OUT).map_err(RunError::Out)?;
    let taken = tokio::task::spawn_blocking(move || disks::take_out(disk, &scratch, disk_bytes)).await;
    match taken.map_err(|error| RunError::Out(error.into()))? {
        Ok(taken) => {
            finished.exit = Exit::Code(taken.status);
            if taken.status == 0 {
                match taken.out.list(disk_bytes) {
                    Ok(listing) => (finished.answer, finished.files) = (listing.answer, listing.files),
                    Err(process::ListError::Over(limit)) => finished.exit = Exit::Limit(limit),
                    Err(process::ListError::Io(error)) => return Err(RunError::Out(error)),
                }
            }
            finished.out = process::Outputs::Folder(taken.out);
        }
        Err(disks::TakeError::Full) => finished.exit = Exit::Limit(Limit::Disk),
        Err(disks::TakeError::Archive(reason)) => {
            finished.exit = Exit::Code(NO_RESULT);
            let said = format!("error: the guest powered off without a result: {reason}\n");
            finished.stderr.total_bytes += said.len() as u64;
            finished.stderr.head.extend_from_slice(said.as_bytes());
        }
    }
    Ok(finished)
}

/// What shells say of a program that could not do its work; the guest itself said nothing.
const NO_RESULT: i32 = 125;

fn become_machine(spec: &mut Spec, accel: Accel, machine: &Machine, prepared: &disks::Prepared, disk_bytes: u64) {
    spec.ground = Ground::Machine { kvm: accel == Accel::Kvm };
    spec.app_dir = None;
    spec.program = Some(accel::qemu());
    spec.env = accel::environment();
    // Half for what the guest writes to its disk, half for what it hands in.
    spec.blank = vec![(OUT.into(), disk_bytes / 2)];
    spec.inputs = vec![("gristmill-in.tar".into(), prepared.input.clone())];
    spec.inputs.extend(prepared.seed.iter().map(|(name, path)| (format!("seed/{name}"), path.clone())));
    let mut args = accel::plain_arguments(accel);
    let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
    let mebibytes = machine.memory_bytes.div_ceil(1 << 20);
    add(&["-m", &format!("{mebibytes}M"), "-smp", &machine.cpus.to_string()]);
    add(&["-chardev", "stdio,id=log,signal=off", "-serial", "chardev:log"]);
    add(&[
        "-add-fd",
        "fd=3,set=1",
        "-chardev",
        "file,id=channel,path=/dev/fdset/1,append=on",
        "-device",
        "virtio-serial",
    ]);
    add(&["-device", "virtserialport,chardev=channel,name=gristmill"]);
    let mut disk = |name: &str, drive: String| {
        add(&["-drive", &format!("if=none,id={name},{drive}")]);
        add(&["-device", &format!("virtio-blk-pci,drive={name},serial=gristmill-{name}")]);
    };
    if let Some((path, format)) = &machine.disk {
        spec.inputs.push(("gristmill-disk".into(), path.clone()));
        let format = match format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        };
        disk("disk", format!("file=/in/gristmill-disk,format={format},snapshot=on"));
    }
    disk("in", "file=/in/gristmill-in.tar,format=raw,readonly=on".into());
    disk("out", format!("file=/out/{OUT},format=raw,cache=unsafe"));
    if machine.cloud_init {
        add(&["-blockdev", "driver=vvfat,node-name=seed,dir=/in/seed,label=CIDATA,read-only=on"]);
        add(&["-device", "virtio-blk-pci,drive=seed"]);
    }
    for (option, path) in [("-kernel", &machine.kernel), ("-initrd", &machine.initrd)] {
        if let Some(path) = path {
            let name = format!("gristmill{option}");
            add(&[option, &format!("/in/{name}")]);
            spec.inputs.push((name, path.clone()));
        }
    }
    if machine.kernel.is_some() {
        add(&["-append", &machine.command_line]);
    }
    spec.args = args;
}
