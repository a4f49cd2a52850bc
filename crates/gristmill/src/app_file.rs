//! `gristmill.toml`: what an app's author writes. Files are named by path; digests and sizes are found out here.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use gristmill_proto::app::{
    AppFile, AppManifest, ContainerTarget, Determinism, Disk, DiskFormat, Image, ImageSource, Kernel, Meter, OciDigest,
    Param, ProcessTarget, SizedBlob, Slot, Target, Verifier, VmTarget, WasmTarget,
};
use gristmill_proto::digest::Digest;
use gristmill_proto::host::HostPort;
use gristmill_proto::job::Limits;
use gristmill_proto::requirement::Requirement;
use serde::Deserialize;

pub const NAME: &str = "gristmill.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppToml {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub licence: String,
    pub icon: Option<PathBuf>,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default, rename = "param")]
    pub params: Vec<Param>,
    pub limits: Option<Limits>,
    #[serde(default, rename = "input")]
    pub inputs: Vec<Slot>,
    #[serde(default, rename = "output")]
    pub outputs: Vec<Slot>,
    pub checker: Option<PathBuf>,
    pub verifier: Option<Verifier>,
    #[serde(default)]
    pub determinism: Determinism,
    #[serde(default)]
    pub require: Vec<Requirement>,
    #[serde(default)]
    pub network: Vec<HostPort>,
    pub meter: Option<Meter>,
    #[serde(default, rename = "target")]
    pub targets: Vec<TargetToml>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "runtime", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetToml {
    Process {
        #[serde(default = "linux")]
        os: String,
        #[serde(default = "this_arch")]
        arch: String,
        entry: String,
        #[serde(default)]
        files: Vec<String>,
        build: Option<String>,
    },
    Wasm {
        entry: String,
        #[serde(default)]
        files: Vec<String>,
        build: Option<String>,
    },
    Container {
        #[serde(default = "this_arch")]
        arch: String,
        /// `registry/name@sha256:…`, or with `layout` only the digest.
        image: String,
        /// A tar archive of an OCI layout.
        layout: Option<PathBuf>,
        #[serde(default)]
        entrypoint: Vec<String>,
        #[serde(default)]
        files: Vec<String>,
        build: Option<String>,
    },
    Vm {
        #[serde(default = "this_arch")]
        arch: String,
        disk: Option<PathBuf>,
        #[serde(default = "qcow2")]
        format: DiskFormat,
        kernel: Option<PathBuf>,
        initrd: Option<PathBuf>,
        #[serde(default)]
        command_line: String,
        memory_mib: u64,
        cpus: u32,
        #[serde(default)]
        cloud_init: bool,
        #[serde(default)]
        files: Vec<String>,
        build: Option<String>,
    },
}

fn linux() -> String {
    "linux".to_owned()
}

fn this_arch() -> String {
    std::env::consts::ARCH.to_owned()
}

fn qcow2() -> DiskFormat {
    DiskFormat::Qcow2
}

/// A manifest, and where its blobs lie on this machine.
#[derive(Debug)]
pub struct LocalApp {
    pub manifest: AppManifest,
    pub blobs: BTreeMap<Digest, PathBuf>,
}

impl AppToml {
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}\n\nhint: `gristmill app init` makes a folder that has one", path.display())
        })?;
        toml::from_str(&text)
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("{} is no app", path.display()))
    }

    /// How its targets are built.
    pub fn builds(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter_map(TargetToml::build)
    }

    /// The manifest, with what it names found in `dir`.
    pub fn prepare(self, dir: &Path) -> Result<LocalApp> {
        let mut found = Found { dir, blobs: BTreeMap::new() };
        let targets = self.targets.into_iter().map(|target| target.prepare(&mut found)).collect::<Result<_>>()?;
        let manifest = AppManifest {
            description: self.description,
            licence: self.licence,
            icon: self.icon.map(|icon| found.blob(&icon)).transpose()?,
            args: self.args,
            params: self.params,
            limits: self.limits,
            inputs: self.inputs,
            outputs: self.outputs,
            checker: self.checker.map(|checker| found.blob(&checker)).transpose()?,
            verifier: self.verifier,
            determinism: self.determinism,
            require: self.require,
            network: self.network,
            meter: self.meter,
            ..AppManifest::new(self.name, self.version, targets)
        };
        manifest.check().with_context(|| format!("{} describes no app that could run", dir.join(NAME).display()))?;
        Ok(LocalApp { manifest, blobs: found.blobs })
    }
}

impl TargetToml {
    pub fn build(&self) -> Option<&str> {
        match self {
            Self::Process { build, .. }
            | Self::Wasm { build, .. }
            | Self::Container { build, .. }
            | Self::Vm { build, .. } => build.as_deref(),
        }
    }

    fn prepare(self, found: &mut Found<'_>) -> Result<Target> {
        let hint = self.build().map(str::to_owned);
        self.prepared(found).map_err(|error| match hint {
            Some(build) => error.context(format!("is it built? `gristmill app build` runs: {build}")),
            None => error,
        })
    }

    fn prepared(self, found: &mut Found<'_>) -> Result<Target> {
        Ok(match self {
            Self::Process { os, arch, entry, files, build: _ } => {
                let files = found.files(&entry, &files)?;
                let executable = |file: &AppFile| file.path != entry || file.executable;
                if !files.iter().all(executable) {
                    bail!("{entry} is not executable\n\nhint: chmod +x {entry}");
                }
                Target::Process(ProcessTarget { os, arch, entry, files })
            }
            Self::Wasm { entry, files, build: _ } => {
                Target::Wasm(WasmTarget { files: found.files(&entry, &files)?, entry })
            }
            Self::Container { arch, image, layout, entrypoint, files, build: _ } => {
                let (from, digest) = image.rsplit_once('@').unwrap_or(("", &image));
                let digest: OciDigest = digest.parse().map_err(|error| {
                    let hint = "name an image by its digest, as in docker.io/library/debian@sha256:…";
                    anyhow!("image `{image}`: {error}\n\nhint: {hint}")
                })?;
                let from = match layout {
                    Some(layout) => ImageSource::Layout(found.blob(&layout)?),
                    None => ImageSource::Registry(from.to_owned()),
                };
                let files = files.iter().map(|file| found.file(file)).collect::<Result<_>>()?;
                Target::Container(ContainerTarget { arch, image: Image { digest, from }, entrypoint, files })
            }
            Self::Vm {
                arch,
                disk,
                format,
                kernel,
                initrd,
                command_line,
                memory_mib,
                cpus,
                cloud_init,
                files,
                build: _,
            } => {
                let disk = disk.map(|disk| anyhow::Ok(Disk { image: found.blob(&disk)?, format })).transpose()?;
                let initrd = initrd.map(|initrd| found.blob(&initrd)).transpose()?;
                let kernel = kernel
                    .map(|kernel| anyhow::Ok(Kernel { image: found.blob(&kernel)?, initrd, command_line }))
                    .transpose()?;
                let memory_bytes = memory_mib.checked_mul(1 << 20).context("`memory_mib` is too large")?;
                let files = files.iter().map(|file| found.file(file)).collect::<Result<_>>()?;
                Target::Vm(VmTarget { arch, disk, kernel, memory_bytes, cpus, cloud_init, files })
            }
        })
    }
}

struct Found<'a> {
    dir: &'a Path,
    blobs: BTreeMap<Digest, PathBuf>,
}

impl Found<'_> {
    fn files(&mut self, entry: &str, files: &[String]) -> Result<Vec<AppFile>> {
        let others = files.iter().filter(|file| *file != entry).map(String::as_str);
        std::iter::once(entry).chain(others).map(|file| self.file(file)).collect()
    }

    fn file(&mut self, path: &str) -> Result<AppFile> {
        let SizedBlob { digest, size } = self.blob(Path::new(path))?;
        let mode = std::fs::metadata(self.dir.join(path))?.permissions().mode();
        Ok(AppFile { path: path.to_owned(), digest, size, executable: mode & 0o111 != 0 })
    }

    fn blob(&mut self, path: &Path) -> Result<SizedBlob> {
        let path = self.dir.join(path);
        let measure = || {
            let mut hasher = blake3::Hasher::new();
            let size = std::io::copy(&mut std::fs::File::open(&path)?, &mut hasher)?;
            std::io::Result::Ok(SizedBlob { digest: Digest(*hasher.finalize().as_bytes()), size })
        };
        let blob = measure().with_context(|| format!("cannot read {}", path.display()))?;
        self.blobs.insert(blob.digest, path);
        Ok(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> Result<LocalApp> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), text).unwrap();
        std::fs::write(dir.path().join("a.wasm"), "module").unwrap();
        AppToml::read(dir.path())?.prepare(dir.path())
    }

    const HEAD: &str = "name = \"a\"\nversion = \"1.0.0\"\n";

    #[test]
    fn an_app_is_read() {
        let text = format!(
            "{HEAD}determinism = \"everywhere\"\nargs = [\"{{n}}\"]\n[[param]]\nname = \"n\"\ntype = \"integer\"\n\
             default = \"5\"\n[[target]]\nruntime = \"wasm\"\nentry = \"a.wasm\"\n"
        );
        let app = app(&text).unwrap();
        assert_eq!(app.manifest.params[0].name, "n");
        assert_eq!(app.manifest.targets[0].files()[0].digest, Digest::of(b"module"));
        assert!(app.blobs.contains_key(&Digest::of(b"module")));
    }

    #[test]
    fn mistakes_are_named() {
        let image = "[[target]]\nruntime = \"container\"\nimage = \"debian:12\"\n";
        let missing = "[[target]]\nruntime = \"wasm\"\nentry = \"b.wasm\"\nbuild = \"make\"\n";
        let machine = "[[target]]\nruntime = \"vm\"\nmemory_mib = 100\ncpus = 1\n";
        for (text, word) in [
            ("", "no target"),
            ("licens = \"MIT\"\n", "licens"),
            (image, "by its digest"),
            (missing, "make"),
            (machine, "boot from"),
            ("[[target]]\nruntime = \"java\"\n", "java"),
        ] {
            let error = format!("{:#}", app(&format!("{HEAD}{text}")).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
