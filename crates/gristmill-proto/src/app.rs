//! An app: a program that jobs run, described by a manifest. The manifest is a blob, and its digest is the app's name.

pub mod param;
pub mod target;

use serde::{Deserialize, Serialize};

pub use self::param::Param;
pub use self::target::{
    ContainerTarget, Disk, DiskFormat, Image, ImageSource, Kernel, OciBlob, OciDigest, ProcessTarget, Runtime,
    SizedBlob, Target, VmTarget, WasmTarget,
};
use crate::digest::Digest;
use crate::host::HostPort;
use crate::id::ProviderId;
use crate::job::Limits;
use crate::key::{Purpose, Signature, WorkerKey};
use crate::requirement::{NETWORK, Requirement};

/// Files an app may have, its entry included.
pub const APP_FILES_MAX: usize = 1_000;
/// A manifest's encoded size.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Ways to run one app: every operating system on every processor.
pub const TARGETS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
/// Arguments, inputs, outputs, conditions, hosts: each list.
const LIST_MAX: usize = 256;

/// JSON when stored as a blob. Immutable: a changed app is another app. What is not said is not written, so a manifest
/// has one encoding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppManifest {
    pub name: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// As SPDX names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// A PNG or SVG image, which the pool has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<SizedBlob>,
    pub targets: Vec<Target>,
    /// What the program is given before the job's own arguments; `{name}` stands for a parameter's value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// For jobs that do not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What jobs bring below `/in`, and what they find below `/out` afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Slot>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Slot>,
    /// A module that judges results, the same for everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checker: Option<SizedBlob>,
    /// A contract that judges answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Verifier>,
    #[serde(default, skip_serializing_if = "Determinism::is_none")]
    pub determinism: Determinism,
    /// What its jobs ask of workers' labels; `app/blender >= 4` asks for a program that the worker's owner has installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Requirement>,
    /// Hosts it wants to reach. It runs where the worker's owner grants them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<HostPort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
    /// Who answers for it, and their signature over everything else here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_hex")]
    pub signature: Option<Signature>,
}

/// A file that comes in or goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    pub path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    pub chain_id: u64,
    /// 0x and 40 hexadecimal digits.
    pub address: String,
}

/// Whether the same task always gives the same outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Determinism {
    #[default]
    None,
    /// On workers that take the same target.
    Target,
    /// On every worker.
    Everywhere,
}

impl Determinism {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What its price is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    pub per: MeterUnit,
    /// In 10^-9 RLC.
    pub nrlc: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterUnit {
    Task,
    /// A second of wall-clock time.
    Second,
    /// A second of one processor.
    CpuSecond,
    /// 10^9 steps of a wasm module.
    Gigafuel,
    /// The app's own count.
    WorkUnit,
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
    #[error("{what}: {count} are more than {max}")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error("its {0} is empty, longer than {NAME_BYTES_MAX} bytes, or holds a control character")]
    BadName(&'static str),
    #[error("target for {runtime} has {count} files, more than {APP_FILES_MAX}")]
    TooManyFiles { runtime: Runtime, count: usize },
    #[error("`{0}` is not a plain relative path")]
    BadPath(String),
    #[error("entry `{0}` is not among the target's executable files")]
    NoEntry(String),
    #[error("image: {0}")]
    Image(String),
    #[error("virtual machine: {0}")]
    Machine(String),
    #[error("parameter `{name}`: {fault}")]
    Param { name: String, fault: String },
    #[error("it wants to reach hosts, which the runtime {0} cannot: only process and container can")]
    CutOff(Runtime),
    #[error("verifier `{0}` is no address of a contract")]
    BadVerifier(String),
    #[error("{0}")]
    Limits(String),
    #[error("it is not signed by the provider it names")]
    BadSignature,
}

impl AppManifest {
    /// One that says nothing but how to run it.
    pub fn new(name: impl Into<String>, version: impl Into<String>, targets: Vec<Target>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            description: String::new(),
            licence: String::new(),
            icon: None,
            targets,
            args: Vec::new(),
            params: Vec::new(),
            limits: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            checker: None,
            verifier: None,
            determinism: Determinism::default(),
            require: Vec::new(),
            network: Vec::new(),
            meter: None,
            provider: None,
            signature: None,
        }
    }

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

    /// The same, with the provider's name and signature.
    #[must_use]
    pub fn signed(self, key: &WorkerKey) -> Self {
        let unsigned = Self { provider: Some(ProviderId(key.id().0)), signature: None, ..self };
        let signature = key.sign(Purpose::App, &unsigned.digest().0);
        Self { signature: Some(signature), ..unsigned }
    }

    /// Everything that the pool must have before the app can be run.
    pub fn blobs(&self) -> Vec<SizedBlob> {
        self.targets.iter().flat_map(Target::blobs).chain(self.icon).chain(self.checker).collect()
    }

    pub fn check(&self) -> Result<(), ManifestError> {
        for (what, text) in [("name", &self.name), ("version", &self.version)] {
            if !(1..=NAME_BYTES_MAX).contains(&text.len()) || text.contains(|c: char| c.is_control()) {
                return Err(ManifestError::BadName(what));
            }
        }
        if self.targets.is_empty() {
            return Err(ManifestError::NoTarget);
        }
        let lists = [
            ("targets", self.targets.len(), TARGETS_MAX),
            ("parameters", self.params.len(), param::PARAMS_MAX),
            ("arguments", self.args.len(), LIST_MAX),
            ("inputs", self.inputs.len(), LIST_MAX),
            ("outputs", self.outputs.len(), LIST_MAX),
            ("conditions", self.require.len(), crate::job::REQUIREMENTS_MAX),
            ("hosts", self.network.len(), LIST_MAX),
        ];
        if let Some((what, count, max)) = lists.into_iter().find(|(_, count, max)| count > max) {
            return Err(ManifestError::TooMany { what, count, max });
        }
        self.targets.iter().try_for_each(Target::check)?;
        for param in &self.params {
            let twice = self.params.iter().filter(|other| other.name == param.name).count() > 1;
            let fault = param.fault().or_else(|| twice.then(|| "there are two of this name".to_owned()));
            if let Some(fault) = fault {
                return Err(ManifestError::Param { name: param.name.chars().take(80).collect(), fault });
            }
        }
        if let Some(slot) = self.inputs.iter().chain(&self.outputs).find(|slot| !is_plain_path(&slot.path)) {
            return Err(ManifestError::BadPath(slot.path.clone()));
        }
        let is_cut_off = |target: &&Target| matches!(target.runtime(), Runtime::Wasm | Runtime::Vm);
        if let Some(target) = self.targets.iter().find(is_cut_off).filter(|_| !self.network.is_empty()) {
            return Err(ManifestError::CutOff(target.runtime()));
        }
        if let Some(Verifier { address, .. }) = &self.verifier {
            let digits = address.strip_prefix("0x").filter(|digits| digits.len() == 40);
            if !digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit())) {
                return Err(ManifestError::BadVerifier(address.chars().take(80).collect()));
            }
        }
        if let Some(limits) = &self.limits {
            limits.check().map_err(|error| ManifestError::Limits(error.to_string()))?;
        }
        self.check_signature()
    }

    /// All that its jobs ask of workers' labels.
    pub fn requirements(&self) -> Vec<Requirement> {
        let network = (!self.network.is_empty()).then(|| Requirement::label_is_there(NETWORK));
        let missing = network.filter(|network| !self.require.contains(network));
        self.require.iter().cloned().chain(missing).collect()
    }

    fn check_signature(&self) -> Result<(), ManifestError> {
        let signer = match (&self.provider, &self.signature) {
            (None, None) => return Ok(()),
            (Some(_), Some(signature)) => {
                let unsigned = Self { signature: None, ..self.clone() };
                signature.signer(Purpose::App, &unsigned.digest().0)
            }
            _ => None,
        };
        let named = self.provider.map(|provider| provider.0);
        (named.is_some() && signer.map(|signer| signer.0) == named).then_some(()).ok_or(ManifestError::BadSignature)
    }
}

/// A signature as `0x` and hexadecimal digits.
mod optional_hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::key::Signature;

    pub(super) fn serialize<S: Serializer>(signature: &Option<Signature>, serializer: S) -> Result<S::Ok, S::Error> {
        match signature {
            Some(signature) => serializer.collect_str(&format_args!("0x{}", hex::encode(signature.0))),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Signature>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 65];
        let digits = text.strip_prefix("0x").unwrap_or_default();
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| D::Error::custom("no signature of 65 bytes"))?;
        Ok(Some(Signature(bytes)))
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
        let (os, arch, entry) = ("linux".into(), "x86_64".into(), entry.into());
        let target = Target::Process(ProcessTarget { os, arch, entry, files: vec![file] });
        AppManifest::new("hello", "1.0.0", vec![target])
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

    #[test]
    fn a_plain_manifest_has_the_encoding_it_always_had() {
        let digest = Digest::of(b"x");
        let json = format!(
            "{{\"name\":\"hello\",\"version\":\"1.0.0\",\"targets\":[{{\"runtime\":\"process\",\"os\":\"linux\",\"arch\":\"x86_64\",\
             \"entry\":\"a\",\"files\":[{{\"path\":\"a\",\"digest\":\"{digest}\",\"size\":1,\"executable\":true}}]}}]}}"
        );
        assert_eq!(String::from_utf8(manifest("a", "a").to_json()).unwrap(), json);
    }

    #[test]
    fn a_signature_is_for_every_word() {
        let key = WorkerKey::from_bytes(&[7; 32]).unwrap();
        let signed = manifest("a", "a").signed(&key);
        assert_eq!(signed.check(), Ok(()));
        assert_eq!(AppManifest::from_json(&signed.to_json()), Ok(signed.clone()));
        assert_eq!(manifest("a", "a").signed(&key).digest(), signed.digest(), "signing is deterministic");
        let refused = |manifest: AppManifest| assert_eq!(manifest.check(), Err(ManifestError::BadSignature));
        refused(AppManifest { version: "1.0.1".into(), ..signed.clone() });
        refused(AppManifest { provider: Some(ProviderId([1; 20])), ..signed.clone() });
        refused(AppManifest { provider: None, ..signed.clone() });
        refused(AppManifest { signature: None, ..signed });
    }

    #[test]
    fn what_no_app_needs_is_refused() {
        let whole = manifest("a", "a");
        let refused = |manifest: AppManifest| manifest.check().unwrap_err();
        refused(AppManifest { name: String::new(), ..whole.clone() });
        refused(AppManifest { name: "x".repeat(NAME_BYTES_MAX + 1), ..whole.clone() });
        refused(AppManifest { version: "1\u{1b}".into(), ..whole.clone() });
        refused(AppManifest { targets: vec![whole.targets[0].clone(); TARGETS_MAX + 1], ..whole.clone() });
        refused(AppManifest { args: vec![String::new(); LIST_MAX + 1], ..whole.clone() });
        let network = vec!["example.org:443".parse().unwrap()];
        assert_eq!(AppManifest { network: network.clone(), ..whole.clone() }.check(), Ok(()));
        refused(AppManifest { network: vec![network[0].clone(); LIST_MAX + 1], ..whole.clone() });
        let wasm = Target::Wasm(WasmTarget { entry: "a".into(), files: whole.targets[0].files().to_vec() });
        let cut_off = AppManifest { network, targets: vec![wasm], ..whole.clone() };
        assert_eq!(cut_off.check(), Err(ManifestError::CutOff(Runtime::Wasm)));
        let slot = Slot { path: "../x".into(), description: String::new(), optional: false };
        refused(AppManifest { inputs: vec![slot], ..whole.clone() });
        let verifier = Verifier { chain_id: 1, address: "0x12".into() };
        refused(AppManifest { verifier: Some(verifier), ..whole.clone() });
        let limits = Limits { wall_ms: 0, ..Limits::default() };
        refused(AppManifest { limits: Some(limits), ..whole });
    }
}
