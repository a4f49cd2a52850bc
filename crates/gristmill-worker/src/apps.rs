//! Apps on this worker: fetched by digest from the pool, unpacked once, checked before each run.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gristmill_data::{BlobStore, TransferError, fetch};
use gristmill_proto::app::{AppManifest, MANIFEST_BYTES_MAX, ManifestError, Runtime, Target};
use gristmill_proto::array::{LINES_BYTES_MAX, Value, values_of};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::JobSpec;
use reqwest::Client;
use tracing::info;

use crate::patience::Patience;

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
    #[error("app {app} has no target for {os} {arch} that this worker can run")]
    NoTarget { app: Digest, os: &'static str, arch: &'static str },
    #[error("error: file {digest} has no line {number}, counted from 0, that could be an argument")]
    NoLine { digest: Digest, number: u64 },
    #[error("cannot unpack app {app} to {}: {source}", path.display())]
    Unpack { app: Digest, path: PathBuf, source: io::Error },
}

/// An app ready to run.
pub(crate) struct PreparedApp {
    pub(crate) dir: PathBuf,
    pub(crate) entry: String,
}

pub(crate) struct AppCache {
    blobs: BlobStore,
    dir: PathBuf,
    client: Client,
    pool_url: String,
    /// Attempts that start together unpack an app once.
    unpacking: Mutex<()>,
}

impl AppCache {
    pub(crate) fn new(blobs: BlobStore, dir: PathBuf, client: Client, pool_url: String) -> Self {
        Self { blobs, dir, client, pool_url, unpacking: Mutex::default() }
    }

    pub(crate) async fn prepare(&self, app: Digest) -> Result<PreparedApp, AppError> {
        self.fetch(app, MANIFEST_BYTES_MAX as u64).await?;
        let bytes = self.blobs.read(app, MANIFEST_BYTES_MAX as u64)?;
        let manifest = AppManifest::from_json(&bytes).map_err(|source| AppError::Manifest { app, source })?;
        let target = manifest.targets.into_iter().find(runs_here).ok_or(AppError::NoTarget {
            app,
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        })?;
        let dir = self.dir.join(app.to_string());
        for file in &target.files {
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
        Ok(PreparedApp { dir, entry: target.entry })
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
            match fetch(&self.client, &self.pool_url, &self.blobs, digest, size_max).await {
                Err(error) if error.is_passing() => {
                    info!(%error, "waiting for the pool");
                    patience.wait().await;
                }
                ended => return ended,
            }
        }
    }
}

fn runs_here(target: &Target) -> bool {
    target.runtime == Runtime::Process && target.os == std::env::consts::OS && target.arch == std::env::consts::ARCH
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

    use gristmill_proto::app::AppFile;

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
        let target = Target {
            runtime: Runtime::Process,
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            entry: "program".into(),
            files: vec![file],
        };
        let (name, version, description) = ("twice".into(), "1".into(), String::new());
        let manifest = AppManifest { name, version, description, targets: vec![target] }.to_json();
        let app = Digest::of(&manifest);
        for bytes in [&program, &manifest] {
            blobs.put(bytes).unwrap();
        }
        let nowhere = "http://127.0.0.1:9".to_owned();
        for round in 0..20 {
            let apps = dir.path().join(format!("apps-{round}"));
            let blobs = BlobStore::open(dir.path()).unwrap();
            let cache = Arc::new(AppCache::new(blobs, apps, Client::new(), nowhere.clone()));
            let all: Vec<_> = (0..8)
                .map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(async move { cache.prepare(app).await })
                })
                .collect();
            for prepared in all {
                let prepared = prepared.await.unwrap().unwrap();
                assert!(fs::read(prepared.dir.join(prepared.entry)).unwrap() == program, "not the whole program");
            }
        }
    }
}
