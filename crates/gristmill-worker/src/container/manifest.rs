//! What the parts of an image say: an index names manifests, a manifest its configuration and layers. Only what running
//! needs is read. Everything here is a stranger's.

use gristmill_proto::app::OciDigest;
use serde::{Deserialize, Serialize};

/// An index, a manifest or a configuration.
pub(super) const TEXT_BYTES_MAX: u64 = 4 << 20;
pub(super) const LAYERS_MAX: usize = 256;
const INDEX_ENTRIES_MAX: usize = 1_024;
const WORDS_MAX: usize = 1_024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) manifests: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) digest: OciDigest,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Part,
    pub(super) layers: Vec<Part>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) digest: OciDigest,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) media_type: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    pub(super) architecture: String,
    pub(super) os: String,
    #[serde(default)]
    pub(super) config: Run,
    pub(super) rootfs: Layers,
}

#[derive(Debug, Deserialize)]
pub(super) struct Layers {
    pub(super) diff_ids: Vec<OciDigest>,
}

/// How the image wants to be run. Docker writes `null` for what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Run {
    pub(super) user: Option<String>,
    pub(super) env: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) working_dir: Option<String>,
}

/// Either of the two that an image's digest may name.
pub(super) enum Root {
    Index(Index),
    Manifest(Manifest),
}

impl Root {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let said = |error: serde_json::Error| error.to_string();
        if value.get("manifests").is_some() {
            let index: Index = serde_json::from_value(value).map_err(said)?;
            let count = index.manifests.len();
            return if count <= INDEX_ENTRIES_MAX { Ok(Self::Index(index)) } else { Err(too_many("manifests", count)) };
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(said)?;
        let count = manifest.layers.len();
        if count <= LAYERS_MAX { Ok(Self::Manifest(manifest)) } else { Err(too_many("layers", count)) }
    }
}

impl Index {
    /// The manifest for Linux on a processor, as Rust names it.
    pub(super) fn for_arch(&self, arch: &str) -> Option<OciDigest> {
        let wanted = oci_arch(arch);
        let fits = |entry: &&Entry| {
            entry.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == wanted)
        };
        self.manifests.iter().find(fits).map(|entry| entry.digest)
    }
}

impl Configuration {
    pub(super) fn read(bytes: &[u8], layers: usize, arch: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let (wanted, found) = (oci_arch(arch), &read.architecture);
        if read.os != "linux" || *found != wanted {
            return Err(format!("it is for {} {found}, not for linux {wanted}", read.os));
        }
        if read.rootfs.diff_ids.len() != layers {
            return Err(format!("it has {layers} layers, but its configuration {}", read.rootfs.diff_ids.len()));
        }
        let run = &read.config;
        let lists = [&run.env, &run.entrypoint, &run.cmd];
        match lists.into_iter().flatten().map(Vec::len).max() {
            Some(count) if count > WORDS_MAX => Err(too_many("words", count)),
            _ => Ok(read),
        }
    }
}

fn oci_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn too_many(what: &str, count: usize) -> String {
    format!("{count} {what} are more than any image needs")
}
