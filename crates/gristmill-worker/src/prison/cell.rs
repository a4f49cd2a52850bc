//! Where a runtime locks the hostile program in.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_proto::app::{OciDigest, Runtime};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::victims::Victims;
use super::{HOSTILE_PROGRAM, PrisonError};
use crate::container::{self, IMAGES_BYTES_MAX, Images, Parts, Place, Prepared, Registries};
use crate::process::{self, Attempt, Finished, RunError};
use crate::sandbox::wire::{Ground, Spec};
use crate::sandbox::{Config, Sandbox};

/// How long the other attempt may take to start.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Cell {
    pub(super) runtime: Runtime,
    sandbox: Arc<Sandbox>,
    /// Of the container runtime: nothing but the program.
    image: Option<Prepared>,
    app: PathBuf,
    inputs: Vec<(String, PathBuf)>,
}

/// Another attempt that holds a secret.
pub(super) struct Neighbour {
    /// Of its program, as the host counts.
    pub(super) pid: u32,
    task: JoinHandle<()>,
}

impl Cell {
    pub(super) async fn new(runtime: Runtime, config: Config, victims: &Victims) -> Result<Self, PrisonError> {
        let inputs = vec![("input".to_owned(), victims.secret().into())];
        let sandbox = Sandbox::open(config).await?.into();
        let image = match runtime {
            Runtime::Container => Some(image_of_program(victims).await?),
            _ => None,
        };
        Ok(Self { runtime, sandbox, image, app: victims.path("app").into(), inputs })
    }

    /// Where the program finds itself.
    pub(super) fn program(&self) -> &'static str {
        if self.image.is_some() { "/hostile" } else { "/app/hostile" }
    }

    /// The file on the machine that all attempts execute.
    pub(super) fn shared_program(&self) -> PathBuf {
        self.image.as_ref().map_or_else(|| self.app.clone(), |image| image.rootfs.clone()).join("hostile")
    }

    /// An honest job is not met by these limits within an attack's life.
    fn limits() -> Limits {
        Limits {
            wall_ms: 3_000,
            cpu_ms: 2_000,
            memory_bytes: 64 << 20,
            disk_bytes: 8 << 20,
            processes: 32,
            ..Limits::default()
        }
    }

    pub(super) async fn run(&self, args: &[String]) -> Result<Finished, RunError> {
        self.run_for(args, Self::limits()).await
    }

    async fn run_for(&self, args: &[String], limits: Limits) -> Result<Finished, RunError> {
        let mut job = JobSpec::new(Digest::of(b"hostile"));
        job.args = args.to_vec();
        job.limits = limits;
        let attempt = Attempt {
            job: &job,
            task: TaskId { job: JobId(0), index: 0 },
            work: 0,
            lease: LeaseId(0),
            worker: WorkerId([0; 20]),
            app_dir: &self.app,
            entry: "hostile",
            inputs: &self.inputs,
            lines: &[],
            hosts: &[],
        };
        let cancel = CancellationToken::new();
        match &self.image {
            // A guest that has taken over what runs it: the program stands in QEMU's place.
            None if self.runtime == Runtime::Vm => {
                let stand = |spec: &mut Spec| spec.ground = Ground::Machine { kvm: false };
                process::run_on(&self.sandbox, &attempt, |_| {}, cancel, stand).await
            }
            None => process::run(&self.sandbox, &attempt, |_| {}, cancel).await,
            Some(image) => {
                container::run(&self.sandbox, &attempt, image, &[], (|_| {}, |_, _: &[u8]| {}), cancel).await
            }
        }
    }

    pub(super) async fn neighbour(&self, victims: &Victims) -> Result<Neighbour, PrisonError> {
        let secret = format!("of-neighbour-{}", victims.process.pid());
        let (cell, args) = (self.clone(), ["keep-secret".to_owned(), secret.clone()]);
        let limits = Limits { wall_ms: 600_000, ..Self::limits() };
        let task = tokio::spawn(async move { drop(cell.run_for(&args, limits).await) });
        let started = Instant::now();
        loop {
            if let Some(pid) = processes_with(&secret).into_iter().next() {
                return Ok(Neighbour { pid, task });
            }
            if started.elapsed() > NEIGHBOUR_PATIENCE {
                let source = io::ErrorKind::TimedOut.into();
                return Err(PrisonError::Victim { what: "another attempt", source });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An image of one layer that holds the program, by the way that every image takes. It asks to be root.
async fn image_of_program(victims: &Victims) -> Result<Prepared, PrisonError> {
    let failed = |source| PrisonError::Victim { what: "an image", source };
    let dir = PathBuf::from(victims.path("image"));
    let mut parts = Parts::default();
    let mut add = |name: &str, bytes: &[u8]| -> io::Result<OciDigest> {
        let digest = OciDigest(Sha256::digest(bytes).into());
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(name), bytes)?;
        parts.add(digest, dir.join(name))?;
        Ok(digest)
    };
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(HOSTILE_PROGRAM.len() as u64);
    header.set_mode(0o4755);
    let written = layer.append_data(&mut header, "hostile", HOSTILE_PROGRAM).and_then(|()| layer.into_inner());
    let layer = written.map_err(failed)?;
    let size = layer.len();
    let layer = add("layer", &layer).map_err(failed)?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::json!({
        "architecture": arch, "os": "linux", "rootfs": { "type": "layers", "diff_ids": [layer] },
        "config": { "Entrypoint": ["/hostile"], "User": "0:0", "WorkingDir": "/out" },
    })
    .to_string();
    let config_digest = add("config", config.as_bytes()).map_err(failed)?;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": { "digest": config_digest, "size": config.len() },
        "layers": [{ "digest": layer, "size": size }],
    })
    .to_string();
    let manifest = add("manifest", manifest.as_bytes()).map_err(failed)?;
    let registries = Registries { client: reqwest::Client::new(), known: Default::default() };
    let images = Images::open(dir.join("images"), registries, IMAGES_BYTES_MAX).map_err(failed)?;
    let prepared = images.prepare(manifest, &Place::Parts(parts), std::env::consts::ARCH, false).await;
    prepared.map_err(|error| PrisonError::Image(error.into()))
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Processes of the machine with this text among their arguments.
pub(super) fn processes_with(marker: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes())
        })
        .collect()
}
