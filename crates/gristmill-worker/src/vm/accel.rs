//! What runs a guest's code: the processor, or QEMU's translator. A device node that opens proves nothing; code that has
//! run in time does.

use std::path::Path;

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::outcome::Exit;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::TRANSLATED_MIB;
use crate::process::{self, Attempt};
use crate::sandbox::Sandbox;
use crate::sandbox::wire::Ground;

/// Runs 50 million turns of a loop in 64-bit mode, and says so by QEMU's exit device. Its source is beside it.
const BOOT_SECTOR: &[u8] = include_bytes!("boot.bin");
/// What QEMU makes of the 0x21 that the sector writes.
const ARRIVED: i32 = 0x21 << 1 | 1;
/// A real processor takes some 50 ms, firmware included.
const KVM_PATIENCE_MS: u64 = 2_000;
const TCG_PATIENCE_MS: u64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Accel {
    Kvm,
    /// Translated: several times slower, and as well contained.
    Tcg,
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVm {
    #[error("{} is not installed", qemu())]
    NoQemu,
    #[error("a guest's code did not run: {0}")]
    DoesNotRun(String),
}

pub(super) fn qemu() -> String {
    format!("/usr/bin/qemu-system-{}", std::env::consts::ARCH)
}

/// No device that is not asked for, no file of the machine's settings, no network.
pub(super) fn plain_arguments(accel: Accel) -> Vec<String> {
    let (accel, cpu) = match accel {
        Accel::Kvm => ("kvm".to_owned(), "host"),
        Accel::Tcg => (format!("tcg,tb-size={TRANSLATED_MIB}"), "max"),
    };
    let words = ["-accel", &accel, "-cpu", cpu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
    words.into_iter().map(str::to_owned).collect()
}

/// Overlays of disks go where the sandbox has room. Not to `/tmp`, which QEMU takes for `/var/tmp`.
pub(super) fn environment() -> Vec<(String, String)> {
    vec![("TMPDIR".into(), "/out".into()), ("PATH".into(), "/usr/bin".into())]
}

impl Accel {
    /// The best that runs code on this machine, as far as that can be told quickly.
    pub async fn choose(sandbox: &Sandbox, scratch: &Path) -> Result<Self, NoVm> {
        if !Path::new(&qemu()).exists() {
            return Err(NoVm::NoQemu);
        }
        let kvm = Path::new("/dev/kvm").exists() && Self::Kvm.runs(sandbox, scratch).await.is_ok();
        Ok(if kvm { Self::Kvm } else { Self::Tcg })
    }

    /// Runs the boot sector in the sandbox, under a deadline.
    pub async fn runs(self, sandbox: &Sandbox, scratch: &Path) -> Result<(), NoVm> {
        let sector = scratch.join(format!("boot-{}", std::process::id()));
        std::fs::write(&sector, BOOT_SECTOR).map_err(|error| NoVm::DoesNotRun(error.to_string()))?;
        let ended = self.boots(sandbox, &sector).await;
        let _ = std::fs::remove_file(sector);
        ended.map_err(NoVm::DoesNotRun)
    }

    async fn boots(self, sandbox: &Sandbox, sector: &Path) -> Result<(), String> {
        let wall_ms = match self {
            Self::Kvm => KVM_PATIENCE_MS,
            Self::Tcg => TCG_PATIENCE_MS,
        };
        let mut job = JobSpec::new(Digest::of(BOOT_SECTOR));
        job.limits = Limits { wall_ms, memory_bytes: 512 << 20, disk_bytes: 4 << 20, ..Limits::default() };
        let attempt = Attempt {
            job: &job,
            task: TaskId { job: JobId(0), index: 0 },
            work: 0,
            lease: LeaseId(0),
            worker: WorkerId([0; 20]),
            app_dir: Path::new("/"),
            entry: "",
            inputs: &[],
            lines: &[],
            hosts: &[],
        };
        let ended = process::run_on(
            sandbox,
            &attempt,
            |_| {},
            CancellationToken::new(),
            |spec| {
                spec.ground = Ground::Machine { kvm: self == Self::Kvm };
                spec.app_dir = None;
                spec.program = Some(qemu());
                spec.env = environment();
                spec.inputs = vec![("boot".into(), sector.to_owned())];
                spec.args = plain_arguments(self);
                let more = ["-m", "32M", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive"];
                spec.args.extend(more.map(str::to_owned));
                spec.args.push("file=/in/boot,format=raw,if=ide,snapshot=on".into());
            },
        );
        let ended = ended.await.map_err(|error| error.to_string())?;
        if ended.exit == Exit::Code(ARRIVED) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr.head).lines().next().unwrap_or_default().to_owned();
        Err(format!("{}: {said}", ended.exit))
    }
}
