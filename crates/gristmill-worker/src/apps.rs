//! Apps on this worker: fetched by digest from the pool, unpacked once, checked before each run.

use std::env::consts::{ARCH, OS};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gristmill_data::{BlobStore, TransferError, fetch};
use gristmill_proto::app::{AppManifest, MANIFEST_BYTES_MAX, ManifestError, Runtime, SizedBlob, Target};
use gristmill_proto::array::{LINES_BYTES_MAX, Value, values_of};
use gristmill_proto::digest::Digest;
use gristmill_proto::host::HostPort;
use gristmill_proto::job::JobSpec;
use reqwest::Client;
use tracing::info;

use crate::patience::Patience;
use crate::policy::Policy;
use crate::pools::PoolUrl;

/// Longest app file or input a worker takes.
const FILE_BYTES_MAX: u64 = 4 << 30;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Store(#[from] gristmill_data::StoreError),
    #[error("app {app}: {source}")]
    Manifest { app: Digest, source: ManifestError },
    #[error("app {app} has no target for {OS} {ARCH} that this worker can run: it offers {offered}")]
    NoTarget { app: Digest, offered: String },
    #[error("{0}")]
    Denied(String),
    #[error("error: file {digest} has no line {number}, counted from 0, that could be an argument")]
    NoLine { digest: Digest, number: u64 },
    #[error("cannot unpack app {app} to {}: {source}", path.display())]
    Unpack { app: Digest, path: PathBuf, source: io::Error },
}

/// Longest part of an image.
const PART_BYTES_MAX: u64 = 16 << 30;

/// An app ready to run.
pub(crate) struct PreparedApp {
    /// Its files.
    pub(crate) dir: PathBuf,
    pub(crate) target: Target,
    /// What it may reach.
    pub(crate) hosts: Vec<HostPort>,
}

impl PreparedApp {
    /// Path of the program or module below `dir`; empty where an image brings it.
    pub(crate) fn entry(&self) -> &str {
        match &self.target {
            Target::Process(target) => &target.entry,
            Target::Wasm(target) => &target.entry,
            Target::Container(_) | Target::Vm(_) => "",
        }
    }
}

pub(crate) struct AppCache {
    blobs: BlobStore,
    dir: PathBuf,
    client: Client,
    pool_url: PoolUrl,
    /// Runtimes that this worker offers.
    runtimes: Vec<Runtime>,
    policy: Policy,
    /// Attempts that start together unpack an app once.
    unpacking: Mutex<()>,
}

impl AppCache {
    pub(crate) fn new(
        blobs: BlobStore,
        dir: PathBuf,
        client: Client,
        pool_url: PoolUrl,
        runtimes: Vec<Runtime>,
    ) -> Self {
        Self { blobs, dir, client, pool_url, runtimes, policy: Policy::default(), unpacking: Mutex::default() }
    }

    pub(crate) fn under(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    pub(crate) async fn prepare(&self, app: Digest) -> Result<PreparedApp, AppError> {
        self.fetch(app, MANIFEST_BYTES_MAX as u64).await?;
        let bytes = self.blobs.read(app, MANIFEST_BYTES_MAX as u64)?;
        let manifest = AppManifest::from_json(&bytes).map_err(|source| AppError::Manifest { app, source })?;
        self.policy.may_run(app, &manifest).map_err(AppError::Denied)?;
        let hosts = manifest.network;
        let target = manifest.targets.into_iter().find(|target| runs_here(target, &self.runtimes));
        let target = target.ok_or_else(|| AppError::NoTarget { app, offered: in_words(&self.runtimes) })?;
        let dir = self.dir.join(app.to_string());
        for file in target.files() {
            let path = dir.join(&file.path);
            // Checked before each run: neither a disk that rots nor an earlier app must change what runs.
            let is_there = || digest_of(&path).is_ok_and(|digest| digest == file.digest);
            if is_there() {
                continue;
            }
            self.fetch(file.digest, file.size.min(FILE_BYTES_MAX)).await?;
            let _alone = self.unpacking.lock().unwrap_or_else(PoisonError::into_inner);
            if is_there() {
                continue;
            }
            let blob = self.blobs.verified_path(file.digest)?;
            unpack(&blob, &path, file.executable).map_err(|source| AppError::Unpack {
                app,
                path: path.clone(),
                source,
            })?;
        }
        Ok(PreparedApp { dir, target, hosts })
    }

    /// The job's inputs: where the app finds each below `/in`, and where it lies here.
    pub(crate) async fn inputs(&self, job: &JobSpec) -> Result<Vec<(String, PathBuf)>, AppError> {
        let mut inputs = Vec::with_capacity(job.inputs.len());
        for input in &job.inputs {
            self.fetch(input.digest, FILE_BYTES_MAX).await?;
            inputs.push((input.path.clone(), self.blobs.verified_path(input.digest)?));
        }
        Ok(inputs)
    }

    /// Something that the app's target names beside its files: a part of an image, a disk.
    pub(crate) async fn part(&self, part: SizedBlob) -> Result<PathBuf, AppError> {
        self.fetch(part.digest, part.size.min(PART_BYTES_MAX)).await?;
        Ok(self.blobs.verified_path(part.digest)?)
    }

    /// The task's lines of files in the job's array, by name.
    pub(crate) async fn lines(&self, job: &JobSpec, task: u64) -> Result<Vec<(String, String)>, AppError> {
        let mut lines = Vec::new();
        for (name, value) in values_of(&job.array, task) {
            if let Value::Line(digest, number) = value {
                self.fetch(digest, LINES_BYTES_MAX).await?;
                let bytes = self.blobs.read(digest, LINES_BYTES_MAX)?;
                let text = String::from_utf8_lossy(&bytes);
                let line = usize::try_from(number).ok().and_then(|number| text.lines().nth(number));
                let line = line.filter(|line| !line.contains('\0')).ok_or(AppError::NoLine { digest, number })?;
                lines.push((name.to_owned(), line.to_owned()));
            }
        }
        Ok(lines)
    }

    async fn fetch(&self, digest: Digest, size_max: u64) -> Result<(), TransferError> {
        let mut patience = Patience::default();
        loop {
            match fetch(&self.client, &self.pool_url.get(), &self.blobs, digest, size_max).await {
                Err(error) if error.is_passing() => {
                    info!(%error, "waiting for the pool");
                    patience.wait().await;
                }
                ended => return ended,
            }
        }
    }
}

/// Whether a worker on this machine that offers these runtimes can run the target.
fn runs_here(target: &Target, offered: &[Runtime]) -> bool {
    offered.contains(&target.runtime())
        && target.os().is_none_or(|os| os == OS)
        && target.arch().is_none_or(|arch| arch == ARCH)
}

fn in_words(runtimes: &[Runtime]) -> String {
    runtimes.iter().map(Runtime::to_string).collect::<Vec<_>>().join(", ")
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Copies rather than links: the app's file has its own mode, and the blob stays as it is whatever happens to it.
fn unpack(blob: &Path, path: &Path, executable: bool) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("a file of an app lies in the app's folder"))?;
    let fresh = path.with_extension("fresh");
    fs::copy(blob, &fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(if executable { 0o555 } else { 0o444 }))?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gristmill_proto::app::{AppFile, Disk, DiskFormat, ProcessTarget, SizedBlob, VmTarget, WasmTarget};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn attempts_that_start_together_share_an_app() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(dir.path()).unwrap();
        let program = vec![7; 1 << 20];
        let file = AppFile {
            path: "program".into(),
            digest: Digest::of(&program),
            size: program.len() as u64,
            executable: true,
        };
        let (os, arch, entry) = (OS.into(), ARCH.into(), "program".into());
        let target = Target::Process(ProcessTarget { os, arch, entry, files: vec![file] });
        let manifest = AppManifest::new("twice", "1", vec![target]).to_json();
        let app = Digest::of(&manifest);
        for bytes in [&program, &manifest] {
            blobs.put(bytes).unwrap();
        }
        let nowhere = PoolUrl::new("http://127.0.0.1:9");
        for round in 0..20 {
            let apps = dir.path().join(format!("apps-{round}"));
            let blobs = BlobStore::open(dir.path()).unwrap();
            let cache = AppCache::new(blobs, apps, Client::new(), nowhere.clone(), vec![Runtime::Process]);
            let cache = Arc::new(cache);
            let all: Vec<_> = (0..8)
                .map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(async move { cache.prepare(app).await })
                })
                .collect();
            for prepared in all {
                let prepared = prepared.await.unwrap().unwrap();
                assert!(fs::read(prepared.dir.join("program")).unwrap() == program, "not the whole program");
            }
        }
    }

    #[test]
    fn only_what_is_offered_is_taken() {
        let process = |os: &str, arch: &str| {
            let (os, arch, entry) = (os.into(), arch.into(), "a".into());
            Target::Process(ProcessTarget { os, arch, entry, files: vec![] })
        };
        let wasm = Target::Wasm(WasmTarget { entry: "a".into(), files: vec![] });
        let disk = Disk { image: SizedBlob { digest: Digest::of(b""), size: 0 }, format: DiskFormat::Raw };
        let vm = VmTarget {
            arch: ARCH.into(),
            disk: Some(disk),
            kernel: None,
            memory_bytes: 1,
            cpus: 1,
            cloud_init: false,
            files: vec![],
        };
        let all = [Runtime::Process, Runtime::Wasm, Runtime::Vm];
        assert!(
            runs_here(&process(OS, ARCH), &all) && runs_here(&wasm, &all) && runs_here(&Target::Vm(vm.clone()), &all)
        );
        assert!(!runs_here(&process("plan9", ARCH), &all) && !runs_here(&process(OS, "vax"), &all));
        assert!(!runs_here(&Target::Vm(VmTarget { arch: "vax".into(), ..vm }), &all));
        assert!(!runs_here(&wasm, &[Runtime::Process]));
    }
}
