//! One attempt of an app on this machine, without a pool: what `gristmill app check` does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gristmill_proto::app::{AppManifest, ProcessTarget, Runtime, Target, WasmTarget};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::outcome::{Exit, Usage};
use gristmill_worker::process::{self, Attempt, Finished};
use gristmill_worker::sandbox::Sandbox;
use gristmill_worker::wasm::{Program, Settings, Wasm};
use tokio_util::sync::CancellationToken;

use crate::app_file::LocalApp;
use crate::roles;

/// What one run came to, as far as replicas are compared by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub exit: Exit,
    pub answer: Option<Vec<u8>>,
    pub files: BTreeMap<String, Digest>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub usage: Usage,
}

impl Ran {
    /// What differs from another run that should have been the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let differ = |what: &str| Some(format!("{what} differs"));
        if self.exit != other.exit {
            return Some(format!("one ended with {}, the other with {}", self.exit, other.exit));
        }
        if self.answer != other.answer {
            return differ("/out/result");
        }
        if let Some(path) =
            self.files.keys().chain(other.files.keys()).find(|p| self.files.get(*p) != other.files.get(*p))
        {
            return differ(&format!("/out/{path}"));
        }
        if self.stdout != other.stdout {
            return differ("standard output");
        }
        if self.usage.fuel != other.usage.fuel {
            return differ("the fuel used");
        }
        None
    }
}

/// A folder with the app's files as a worker would have them.
pub struct Rehearsal<'a> {
    dir: tempfile::TempDir,
    app: &'a LocalApp,
}

/// Whether this machine can rehearse the target, whatever else could run it.
pub fn can_run(target: &Target) -> bool {
    matches!(target.runtime(), Runtime::Process | Runtime::Wasm)
        && target.os().is_none_or(|os| os == std::env::consts::OS)
        && target.arch().is_none_or(|arch| arch == std::env::consts::ARCH)
}

impl<'a> Rehearsal<'a> {
    pub fn new(app: &'a LocalApp) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a folder for the dry run")?;
        // As root, programs run as somebody else.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { dir, app })
    }

    /// Runs a target once. A module may be compiled in other ways, to see that they make no difference.
    pub async fn run(
        &self,
        target: &Target,
        job: &JobSpec,
        inputs: &[(String, PathBuf)],
        settings: Settings,
    ) -> Result<Ran> {
        let folder = self.dir.path().join("app");
        let _ = fs::remove_dir_all(&folder);
        self.unpack(target, &folder)?;
        let attempt = |entry| Attempt {
            job,
            task: TaskId { job: JobId(1), index: 0 },
            work: 0,
            lease: LeaseId(1),
            worker: WorkerId([0; 20]),
            app_dir: &folder,
            entry,
            inputs,
            lines: &[],
            hosts: &self.app.manifest.network,
        };
        let never = CancellationToken::new();
        let finished = match target {
            Target::Process(ProcessTarget { entry, .. }) => {
                let sandbox = Sandbox::open(roles::sandbox_config()).await?;
                Box::pin(process::run(&sandbox, &attempt(entry), |_| {}, never)).await?
            }
            Target::Wasm(WasmTarget { entry, files }) => {
                let compiled = self.dir.path().join("compiled");
                let wasm = Wasm::open(&compiled, [0; 32], 1, settings)?;
                let digest = files.iter().find(|file| file.path == *entry).context("the entry is a file")?.digest;
                let files = files.iter().map(|file| (file.path.clone(), folder.join(&file.path))).collect();
                wasm.run(&attempt(entry), &Program { digest, files }, |_| {}, never).await?
            }
            other => anyhow::bail!("{} cannot be run without a worker", other.runtime()),
        };
        ran(&finished)
    }

    fn unpack(&self, target: &Target, folder: &Path) -> Result<()> {
        for file in target.files() {
            let path = folder.join(&file.path);
            fs::create_dir_all(path.parent().expect("below the folder"))?;
            fs::copy(&self.app.blobs[&file.digest], &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(if file.executable { 0o555 } else { 0o444 }))?;
        }
        Ok(())
    }
}

fn ran(finished: &Finished) -> Result<Ran> {
    let mut files = BTreeMap::new();
    for file in &finished.files {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut finished.out.open(&file.path)?, &mut hasher)?;
        files.insert(file.path.clone(), Digest(*hasher.finalize().as_bytes()));
    }
    Ok(Ran {
        exit: finished.exit.clone(),
        answer: finished.answer.clone(),
        files,
        stdout: finished.stdout.head.clone(),
        stderr: finished.stderr.head.clone(),
        usage: finished.usage,
    })
}

/// What should be said of an app before others see it.
pub fn lints(manifest: &AppManifest) -> Vec<String> {
    let mut lints = Vec::new();
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !manifest.name.chars().all(letter) || manifest.name.len() > 64 {
        lints.push("`name`: use lower-case letters, digits and `-`, so that it can be typed".to_owned());
    }
    let numbers = manifest.version.split(['-', '+']).next().unwrap_or_default();
    if numbers.split('.').count() != 3 || numbers.split('.').any(|number| number.parse::<u64>().is_err()) {
        lints.push("`version`: three numbers, as in 1.0.0, tell what a change means".to_owned());
    }
    for (field, text) in [("description", &manifest.description), ("licence", &manifest.licence)] {
        if text.is_empty() {
            lints.push(format!("`{field}` is missing"));
        }
    }
    for param in manifest.params.iter().filter(|param| param.description.is_empty()) {
        lints.push(format!("parameter `{}` has no description", param.name));
    }
    for param in &manifest.params {
        if !manifest.args.iter().any(|arg| arg.contains(&format!("{{{}}}", param.name))) {
            lints.push(format!("parameter `{0}` is never used: `args` does not hold {{{0}}}", param.name));
        }
    }
    lints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let mut manifest = AppManifest::new("Word Count", "1", Vec::new());
        let said = lints(&manifest).join("\n");
        for word in ["`name`", "`version`", "`description`", "`licence`"] {
            assert!(said.contains(word), "{said}");
        }
        manifest = AppManifest {
            description: "Counts".into(),
            licence: "MIT".into(),
            ..AppManifest::new("word-count", "1.0.0-beta.1", Vec::new())
        };
        assert_eq!(lints(&manifest), Vec::<String>::new());
    }
}
