//! The ways to run an app, one for each runtime.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{APP_FILES_MAX, AppFile, ManifestError, is_plain_path};
use crate::digest::Digest;

/// Parts of an image that lie in the pool, and words of its command.
const IMAGE_BLOBS_MAX: usize = 256;
const COMMAND_WORDS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// What a virtual machine may have.
const VM_CPUS_MAX: u32 = 256;

/// One way to run the app. A worker takes the first it can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "runtime", rename_all = "snake_case")]
pub enum Target {
    Process(ProcessTarget),
    Wasm(WasmTarget),
    Container(ContainerTarget),
    Vm(VmTarget),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// Native static or bundled program in a sandbox of namespaces.
    Process,
    /// WebAssembly module with WASI preview 1, the same everywhere to the last bit.
    Wasm,
    /// OCI image in the sandbox.
    Container,
    /// Disk image or kernel under QEMU.
    Vm,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Wasm => "wasm",
            Self::Container => "container",
            Self::Vm => "vm",
        })
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Process, Self::Wasm, Self::Container, Self::Vm];
        let known = all.into_iter().find(|runtime| runtime.to_string() == text);
        known.ok_or_else(|| format!("`{text}` is no runtime: there are process, wasm, container and vm"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTarget {
    /// As Rust names them: `linux`, `x86_64`.
    pub os: String,
    pub arch: String,
    /// Path of the program among `files`.
    pub entry: String,
    pub files: Vec<AppFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmTarget {
    /// Path of the module among `files`.
    pub entry: String,
    pub files: Vec<AppFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerTarget {
    pub arch: String,
    pub image: Image,
    /// In place of the image's own entry point. The job's arguments follow it; where there are none, the image's own do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Shown below `/app`, beside the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<AppFile>,
}

/// An OCI image. Whatever it comes from, only what the digest names is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Of its manifest, or of an index that names one for the architecture.
    pub digest: OciDigest,
    pub from: ImageSource,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// `registry.example/name`; `docker.io/library/debian`.
    Registry(String),
    /// A tar archive of an OCI layout, which the pool has.
    Layout(SizedBlob),
    /// Manifest, configuration and layers one by one, which the pool has.
    Blobs(Vec<OciBlob>),
}

/// Bytes that the pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizedBlob {
    pub digest: Digest,
    pub size: u64,
}

/// A part of an image: what the image calls it, and what the pool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OciBlob {
    pub oci: OciDigest,
    pub digest: Digest,
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmTarget {
    pub arch: String,
    /// What it boots from, unless `kernel` is given. An attempt writes to an overlay, never to the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    pub memory_bytes: u64,
    pub cpus: u32,
    /// The image reads a NoCloud seed: cloud-init in it is told what to run.
    #[serde(default)]
    pub cloud_init: bool,
    /// Found on the disk of inputs, below `app`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<AppFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub image: SizedBlob,
    pub format: DiskFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    pub image: SizedBlob,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<SizedBlob>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command_line: String,
}

/// SHA-256 as OCI writes it: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OciDigest(pub [u8; 32]);

impl fmt::Display for OciDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for OciDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OciDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("sha256:").filter(|digits| !digits.contains(|c: char| c.is_uppercase()));
        let read = digits.is_some_and(|digits| hex::decode_to_slice(digits, &mut bytes).is_ok());
        read.then_some(Self(bytes)).ok_or_else(|| "expected `sha256:` and 64 hexadecimal digits".to_owned())
    }
}

impl Serialize for OciDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OciDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Target {
    pub fn runtime(&self) -> Runtime {
        match self {
            Self::Process(_) => Runtime::Process,
            Self::Wasm(_) => Runtime::Wasm,
            Self::Container(_) => Runtime::Container,
            Self::Vm(_) => Runtime::Vm,
        }
    }

    /// The operating system that a worker must have; `None`: any that offers the runtime.
    pub fn os(&self) -> Option<&str> {
        match self {
            Self::Process(target) => Some(&target.os),
            Self::Container(_) => Some("linux"),
            Self::Wasm(_) | Self::Vm(_) => None,
        }
    }

    /// The processor that a worker must have; `None`: any.
    pub fn arch(&self) -> Option<&str> {
        match self {
            Self::Process(target) => Some(&target.arch),
            Self::Container(target) => Some(&target.arch),
            Self::Vm(target) => Some(&target.arch),
            Self::Wasm(_) => None,
        }
    }

    /// What is shown below `/app`.
    pub fn files(&self) -> &[AppFile] {
        match self {
            Self::Process(target) => &target.files,
            Self::Wasm(target) => &target.files,
            Self::Container(target) => &target.files,
            Self::Vm(target) => &target.files,
        }
    }

    /// Everything that the pool must have before it can be run.
    pub fn blobs(&self) -> Vec<SizedBlob> {
        let of_file = |file: &AppFile| SizedBlob { digest: file.digest, size: file.size };
        let mut blobs: Vec<SizedBlob> = self.files().iter().map(of_file).collect();
        match self {
            Self::Process(_) | Self::Wasm(_) => {}
            Self::Container(target) => match &target.image.from {
                ImageSource::Registry(_) => {}
                ImageSource::Layout(layout) => blobs.push(*layout),
                ImageSource::Blobs(parts) => {
                    blobs.extend(parts.iter().map(|part| SizedBlob { digest: part.digest, size: part.size }));
                }
            },
            Self::Vm(target) => {
                blobs.extend(target.disk.map(|disk| disk.image));
                let kernel = target.kernel.iter();
                blobs.extend(kernel.flat_map(|kernel| std::iter::once(kernel.image).chain(kernel.initrd)));
            }
        }
        blobs
    }

    pub(super) fn check(&self) -> Result<(), ManifestError> {
        let files = self.files();
        if files.len() > APP_FILES_MAX {
            return Err(ManifestError::TooManyFiles { runtime: self.runtime(), count: files.len() });
        }
        if let Some(file) = files.iter().find(|file| !is_plain_path(&file.path)) {
            return Err(ManifestError::BadPath(file.path.clone()));
        }
        match self {
            Self::Process(ProcessTarget { entry, .. }) => {
                let is_entry = |file: &AppFile| file.path == *entry && file.executable;
                files.iter().any(is_entry).then_some(()).ok_or_else(|| ManifestError::NoEntry(entry.clone()))
            }
            Self::Wasm(WasmTarget { entry, .. }) => {
                let is_entry = |file: &AppFile| file.path == *entry;
                files.iter().any(is_entry).then_some(()).ok_or_else(|| ManifestError::NoEntry(entry.clone()))
            }
            Self::Container(target) => target.check(),
            Self::Vm(target) => target.check(),
        }
    }
}

impl ContainerTarget {
    fn check(&self) -> Result<(), ManifestError> {
        let text: usize = self.entrypoint.iter().map(String::len).sum();
        if self.entrypoint.len() > COMMAND_WORDS_MAX || text > TEXT_BYTES_MAX {
            return Err(ManifestError::Image("its entry point is too long".into()));
        }
        if self.entrypoint.iter().any(|word| word.contains('\0')) {
            return Err(ManifestError::Image("its entry point holds a zero byte".into()));
        }
        match &self.image.from {
            ImageSource::Registry(name) if !is_repository(name) => {
                Err(ManifestError::Image(format!("`{name}` does not name a registry and a repository")))
            }
            ImageSource::Blobs(parts) if parts.len() > IMAGE_BLOBS_MAX => {
                Err(ManifestError::Image(format!("{} parts are more than {IMAGE_BLOBS_MAX}", parts.len())))
            }
            ImageSource::Blobs(parts) if !parts.iter().any(|part| part.oci == self.image.digest) => {
                Err(ManifestError::Image("its own manifest is not among its parts".into()))
            }
            _ => Ok(()),
        }
    }
}

/// `host[:port]/path`, in the characters that registries allow; without tag or digest.
fn is_repository(name: &str) -> bool {
    let Some((host, path)) = name.split_once('/') else { return false };
    let host_letter = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let path_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let part = |part: &str| !part.is_empty() && part.chars().all(path_letter) && part != "." && part != "..";
    name.len() <= 512 && !host.is_empty() && host.chars().all(host_letter) && path.split('/').all(part)
}

impl VmTarget {
    fn check(&self) -> Result<(), ManifestError> {
        if self.disk.is_none() && self.kernel.is_none() {
            return Err(ManifestError::Machine("it has neither a disk nor a kernel to boot from".into()));
        }
        if !(1..=VM_CPUS_MAX).contains(&self.cpus) {
            return Err(ManifestError::Machine(format!("{} processors: 1 to {VM_CPUS_MAX} are allowed", self.cpus)));
        }
        if self.memory_bytes == 0 {
            return Err(ManifestError::Machine("it has no memory".into()));
        }
        let line = self.kernel.as_ref().map_or("", |kernel| &kernel.command_line);
        if line.len() > TEXT_BYTES_MAX || line.contains(|c: char| c.is_control()) {
            return Err(ManifestError::Machine("its kernel's command line is no line".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(from: ImageSource) -> Target {
        let image = Image { digest: OciDigest([7; 32]), from };
        Target::Container(ContainerTarget { arch: "x86_64".into(), image, entrypoint: vec![], files: vec![] })
    }

    #[test]
    fn an_image_names_where_it_comes_from() {
        for name in ["docker.io/library/debian", "127.0.0.1:5000/a/b-c", "[::1]:5000/x", "ghcr.io/a_b/c.d"] {
            assert_eq!(container(ImageSource::Registry(name.into())).check(), Ok(()), "{name}");
        }
        for name in
            ["debian", "docker.io/", "docker.io//x", "docker.io/x:latest", "a/b@c", "a/../b", "a/B", "/x", "a b/c"]
        {
            let refused = container(ImageSource::Registry(name.into())).check();
            assert!(matches!(refused, Err(ManifestError::Image(_))), "{name}");
        }
        let part = |oci| OciBlob { oci: OciDigest(oci), digest: Digest::of(b"x"), size: 1 };
        assert_eq!(container(ImageSource::Blobs(vec![part([7; 32])])).check(), Ok(()));
        assert!(container(ImageSource::Blobs(vec![part([8; 32])])).check().is_err());
        assert!(container(ImageSource::Blobs(vec![part([7; 32]); IMAGE_BLOBS_MAX + 1])).check().is_err());
    }

    #[test]
    fn a_machine_has_what_it_boots_from() {
        let disk = Disk { image: SizedBlob { digest: Digest::of(b"disk"), size: 4 }, format: DiskFormat::Qcow2 };
        let (memory_bytes, files) = (1 << 28, Vec::new());
        let whole = VmTarget {
            arch: "x86_64".into(),
            disk: Some(disk),
            kernel: None,
            memory_bytes,
            cpus: 1,
            cloud_init: true,
            files,
        };
        assert_eq!(whole.check(), Ok(()));
        assert!(VmTarget { disk: None, ..whole.clone() }.check().is_err());
        for cpus in [0, VM_CPUS_MAX + 1] {
            assert!(VmTarget { cpus, ..whole.clone() }.check().is_err());
        }
        assert!(VmTarget { memory_bytes: 0, ..whole.clone() }.check().is_err());
        let kernel = |command_line: &str| {
            let kernel = Kernel { image: disk.image, initrd: Some(disk.image), command_line: command_line.into() };
            Target::Vm(VmTarget { kernel: Some(kernel), ..whole.clone() })
        };
        assert_eq!(kernel("console=ttyS0 quiet").check(), Ok(()));
        assert!(kernel("quiet\nroot=/dev/sda").check().is_err());
        assert_eq!(kernel("").blobs().len(), 3);
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = OciDigest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "sha256:", "sha512:00", &"a".repeat(64), &format!("sha256:{}", "A".repeat(64))] {
            assert!(text.parse::<OciDigest>().is_err(), "{text}");
        }
    }
}
