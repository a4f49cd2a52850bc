//! An app: a program that jobs run, described by a manifest. The manifest is a blob, and its digest is the app's name.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Files an app may have, its entry included.
pub const APP_FILES_MAX: usize = 1_000;
/// A manifest's encoded size.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// JSON when stored as a blob. Immutable: a changed app is another app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppManifest {
    pub name: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub targets: Vec<Target>,
}

/// One way to run the app. A worker takes the first it can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub runtime: Runtime,
    /// As Rust names them: `linux`, `x86_64`.
    pub os: String,
    pub arch: String,
    /// Path of the program among `files`.
    pub entry: String,
    pub files: Vec<AppFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// Native static or bundled program in a sandbox of namespaces.
    Process,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppFile {
    /// Relative, with `/` between parts and no `.` or `..`; seen by the app below `/app`.
    pub path: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    pub executable: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("not a manifest: {0}")]
    Malformed(String),
    #[error("manifest of {0} bytes is longer than {MANIFEST_BYTES_MAX}")]
    TooLong(usize),
    #[error("app has no target: nothing could run it")]
    NoTarget,
    #[error("target for {os} {arch} has {count} files, more than {APP_FILES_MAX}")]
    TooManyFiles { os: String, arch: String, count: usize },
    #[error("`{0}` is not a plain relative path")]
    BadPath(String),
    #[error("entry `{0}` is not among the target's executable files")]
    NoEntry(String),
}

impl AppManifest {
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has string keys only")
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// Reads a manifest that came from outside.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong(bytes.len()));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Malformed(error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.targets.is_empty() {
            return Err(ManifestError::NoTarget);
        }
        for target in &self.targets {
            if target.files.len() > APP_FILES_MAX {
                return Err(ManifestError::TooManyFiles {
                    os: target.os.clone(),
                    arch: target.arch.clone(),
                    count: target.files.len(),
                });
            }
            if let Some(file) = target.files.iter().find(|file| !is_plain_path(&file.path)) {
                return Err(ManifestError::BadPath(file.path.clone()));
            }
            if !target.files.iter().any(|file| file.path == target.entry && file.executable) {
                return Err(ManifestError::NoEntry(target.entry.clone()));
            }
        }
        Ok(())
    }
}

/// Whether `path` names a file below some directory and nothing else: relative, `/` between non-empty parts, no `.`,
/// `..`, backslash or control character.
pub fn is_plain_path(path: &str) -> bool {
    path.len() <= 1024
        && path.split('/').all(|part| {
            !part.is_empty()
                && part.len() <= 255
                && part != "."
                && part != ".."
                && !part.contains(|c: char| c == '\\' || c.is_control())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str, entry: &str) -> AppManifest {
        let file = AppFile { path: path.into(), digest: Digest::of(b"x"), size: 1, executable: true };
        AppManifest {
            name: "hello".into(),
            version: "1.0.0".into(),
            description: String::new(),
            targets: vec![Target {
                runtime: Runtime::Process,
                os: "linux".into(),
                arch: "x86_64".into(),
                entry: entry.into(),
                files: vec![file],
            }],
        }
    }

    #[test]
    fn manifest_survives_its_own_encoding() {
        let manifest = manifest("bin/hello", "bin/hello");
        assert_eq!(AppManifest::from_json(&manifest.to_json()), Ok(manifest));
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in ["../x", "/x", "a//b", "a/./b", "a/..", "", "a\\b", "a\nb", "a/"] {
            let bytes = manifest(path, path).to_json();
            assert_eq!(AppManifest::from_json(&bytes), Err(ManifestError::BadPath(path.into())), "{path:?}");
        }
    }

    #[test]
    fn entry_must_be_an_executable_file_of_the_app() {
        let bytes = manifest("bin/hello", "bin/other").to_json();
        assert_eq!(AppManifest::from_json(&bytes), Err(ManifestError::NoEntry("bin/other".into())));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = AppManifest::from_json(br#"{"name":"a","version":"1","targets":[],"sudo":true}"#).unwrap_err();
        assert!(error.to_string().contains("sudo"), "{error}");
    }
}
