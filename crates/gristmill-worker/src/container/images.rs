//! Images on this machine: each unpacked once, into a folder that attempts share and none can change.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use gristmill_proto::app::OciDigest;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::info;

use super::ImageError;
use super::manifest::{Configuration, Manifest, Root, Run, TEXT_BYTES_MAX};
use super::registry::Registries;
use super::source::{Kind, Place};
use super::unpack::{Room, unpack};

/// Images kept, unpacked and as they came.
pub const IMAGES_BYTES_MAX: u64 = 32 << 30;
/// What one image may take.
const IMAGE_BYTES_MAX: u64 = 16 << 30;
/// Folders that every image gets: something of the sandbox's is mounted there.
const OURS: [&str; 6] = ["app", "in", "out", "tmp", "dev", "proc"];

pub struct Images {
    dir: PathBuf,
    registries: Registries,
    bytes_max: u64,
    /// Attempts that start together unpack an image once.
    unpacking: Mutex<()>,
}

/// An image ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub rootfs: PathBuf,
    pub shows_app: bool,
    pub(super) user: (u32, u32),
    pub(super) env: Vec<(String, String)>,
    pub(super) work_dir: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
}

/// Kept beside the unpacked files: all that a start needs.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    run: Run,
    user: (u32, u32),
    home: String,
    bytes: u64,
}

impl Prepared {
    /// What comes before the job's own words: the first of all is the program.
    pub(super) fn words(&self, entrypoint: &[String], job_says_nothing: bool) -> Vec<String> {
        let own = entrypoint.is_empty();
        let first = if own { &self.entrypoint } else { entrypoint };
        let then: &[String] = if own && job_says_nothing { &self.cmd } else { &[] };
        first.iter().chain(then).cloned().collect()
    }
}

impl Images {
    /// Keeps images below `dir`, at most so many bytes of them as long as they are not in use.
    pub fn open(dir: PathBuf, registries: Registries, bytes_max: u64) -> io::Result<Self> {
        for folder in [&dir, &dir.join("layers"), &dir.join("unpacked")] {
            fs::create_dir_all(folder)?;
        }
        // Within, everything is open to whoever an attempt is.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for left in fs::read_dir(&dir)?.flatten().filter(|entry| is_fresh(&entry.path())) {
            let _ = fs::remove_dir_all(left.path());
        }
        Ok(Self { dir, registries, bytes_max, unpacking: Mutex::default() })
    }

    pub async fn prepare(
        &self,
        digest: OciDigest,
        place: &Place,
        arch: &str,
        shows_app: bool,
    ) -> Result<Prepared, ImageError> {
        let home = self.dir.join("unpacked").join(hex::encode(digest.0));
        if let Some(prepared) = ready(&home, shows_app) {
            return Ok(prepared);
        }
        let _alone = self.unpacking.lock().await;
        if let Some(prepared) = ready(&home, shows_app) {
            return Ok(prepared);
        }
        self.make(digest, place, arch, &home).await?;
        let keep = |source| ImageError::Keep { image: digest, source };
        self.trim(&home).map_err(keep)?;
        ready(&home, shows_app).ok_or_else(|| keep(io::ErrorKind::NotFound.into()))
    }

    async fn make(&self, image: OciDigest, place: &Place, arch: &str, home: &Path) -> Result<(), ImageError> {
        let malformed = |fault: String| ImageError::Malformed { image, fault };
        let keep = |source| ImageError::Keep { image, source };
        let bytes = self.text(image, place, image, Kind::Manifest).await?;
        let manifest = match Root::read(&bytes).map_err(malformed)? {
            Root::Manifest(manifest) => manifest,
            Root::Index(index) => {
                let chosen = index.for_arch(arch).ok_or_else(|| malformed(format!("it has none for linux {arch}")))?;
                let bytes = self.text(image, place, chosen, Kind::Manifest).await?;
                match Root::read(&bytes).map_err(malformed)? {
                    Root::Manifest(manifest) => manifest,
                    Root::Index(_) => return Err(malformed("its index names an index".into())),
                }
            }
        };
        let bytes = self.text(image, place, manifest.config.digest, Kind::Blob).await?;
        let configuration = Configuration::read(&bytes, manifest.layers.len(), arch).map_err(malformed)?;
        let size = manifest.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        if size > IMAGE_BYTES_MAX {
            return Err(malformed(format!("its layers are {size} bytes, more than {IMAGE_BYTES_MAX}")));
        }
        let fresh = self.dir.join(format!("fresh-{}", hex::encode(image.0)));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(fresh.join("rootfs")).map_err(keep)?;
        let made = self.fill(image, place, &manifest, configuration, &fresh).await;
        if made.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        made?;
        fs::rename(&fresh, home).map_err(keep)
    }

    async fn fill(
        &self,
        image: OciDigest,
        place: &Place,
        manifest: &Manifest,
        configuration: Configuration,
        fresh: &Path,
    ) -> Result<(), ImageError> {
        let rootfs = fresh.join("rootfs");
        let mut room = Room::new(IMAGE_BYTES_MAX);
        for (layer, diff_id) in manifest.layers.iter().zip(configuration.rootfs.diff_ids) {
            let path = self.layer(image, place, layer.digest, layer.size).await?;
            let (media_type, rootfs, digest) = (layer.media_type.clone(), rootfs.clone(), layer.digest);
            let failed = move |source| ImageError::Unpack { image, layer: digest, source };
            let unpacked = tokio::task::spawn_blocking(move || {
                let unpacked = File::open(path)
                    .map_err(Into::into)
                    .and_then(|file| unpack(file, &media_type, diff_id, &rootfs, &mut room));
                (unpacked, room)
            });
            let (unpacked, left) = unpacked.await.map_err(|error| failed(io::Error::other(error).into()))?;
            unpacked.map_err(failed)?;
            room = left;
        }
        let keep = |source| ImageError::Keep { image, source };
        let run = configuration.config;
        ready_to_mount(&rootfs, run.working_dir.as_deref().unwrap_or("/")).map_err(keep)?;
        let names = users::Names::read(&rootfs);
        let (user, home) = names
            .find(run.user.as_deref().unwrap_or_default())
            .map_err(|fault| ImageError::Malformed { image, fault })?;
        let kept = Kept { run, user, home, bytes: IMAGE_BYTES_MAX - room.bytes };
        fs::write(fresh.join("image.json"), serde_json::to_vec(&kept).expect("has string keys only")).map_err(keep)?;
        info!(%image, bytes = kept.bytes, "image unpacked");
        Ok(())
    }

    /// A layer as it came. Kept, because other images are built on it too.
    async fn layer(&self, image: OciDigest, place: &Place, layer: OciDigest, size: u64) -> Result<PathBuf, ImageError> {
        let path = self.dir.join("layers").join(hex::encode(layer.0));
        if !path.exists() {
            let fresh = path.with_extension("fresh");
            let fetched = place.fetch(&self.registries, layer, Kind::Blob, size, &fresh).await;
            fetched.map_err(|source| ImageError::Fetch { image, source })?;
            fs::rename(&fresh, &path).map_err(|source| ImageError::Keep { image, source })?;
        }
        Ok(path)
    }

    async fn text(&self, image: OciDigest, place: &Place, part: OciDigest, kind: Kind) -> Result<Vec<u8>, ImageError> {
        let path = self.dir.join(format!("fresh-text-{}", hex::encode(part.0)));
        let fetched = place.fetch(&self.registries, part, kind, TEXT_BYTES_MAX, &path).await;
        fetched.map_err(|source| ImageError::Fetch { image, source })?;
        let bytes = fs::read(&path).map_err(|source| ImageError::Keep { image, source });
        let _ = fs::remove_file(path);
        bytes
    }

    /// Removes what was longest not used, layers before images, until the rest fits. What runs keeps its files open.
    fn trim(&self, newest: &Path) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(self.dir.join("layers"))?.flatten() {
            let about = entry.metadata()?;
            kept.push((0, about.modified()?, about.len(), entry.path()));
        }
        for entry in fs::read_dir(self.dir.join("unpacked"))?.flatten().filter(|entry| entry.path() != newest) {
            let used = fs::metadata(entry.path().join("used")).and_then(|about| about.modified());
            kept.push((1, used.unwrap_or(SystemTime::UNIX_EPOCH), bytes_of(&entry.path()), entry.path()));
        }
        let mut total: u64 = kept.iter().map(|(_, _, bytes, _)| bytes).sum::<u64>() + bytes_of(newest);
        kept.sort();
        for (_, _, bytes, path) in kept {
            if total <= self.bytes_max {
                break;
            }
            if path.is_dir() {
                // Not half an image under its name, should this be interrupted.
                let fresh = self.dir.join(format!("fresh-{}", path.file_name().unwrap_or_default().display()));
                fs::rename(&path, &fresh)?;
                fs::remove_dir_all(fresh)?;
            } else {
                fs::remove_file(&path)?;
            }
            total -= bytes;
        }
        Ok(())
    }
}

fn is_fresh(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fresh-"))
}

fn bytes_of(home: &Path) -> u64 {
    read_kept(home).map_or(0, |kept| kept.bytes)
}

fn read_kept(home: &Path) -> Option<Kept> {
    serde_json::from_slice(&fs::read(home.join("image.json")).ok()?).ok()
}

fn ready(home: &Path, shows_app: bool) -> Option<Prepared> {
    let Kept { run, user, home: user_home, .. } = read_kept(home)?;
    let _ = File::create(home.join("used"));
    let words = run.env.unwrap_or_default();
    let mut env: Vec<(String, String)> = words
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), user_home));
    }
    Some(Prepared {
        rootfs: home.join("rootfs"),
        shows_app,
        user,
        env,
        work_dir: absolute(run.working_dir.as_deref().unwrap_or("/")),
        entrypoint: run.entrypoint.unwrap_or_default(),
        cmd: run.cmd.unwrap_or_default(),
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Makes the folders that are mounted over, whatever the image has under their names, and the one it wants to start in.
fn ready_to_mount(rootfs: &Path, work_dir: &str) -> io::Result<()> {
    for name in OURS {
        let path = rootfs.join(name);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => {}
            Ok(_) => {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
            }
            Err(_) => fs::create_dir(&path)?,
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    }
    super::unpack::make_folder_within(rootfs, Path::new(work_dir))
}

/// Users of an image by their names.
mod users {
    use super::{Path, io};
    use crate::container::unpack::read_within;

    /// Longest `/etc/passwd` or `/etc/group` that is looked at.
    const BYTES_MAX: u64 = 1 << 20;

    pub(super) struct Names {
        passwd: String,
        group: String,
    }

    impl Names {
        pub(super) fn read(rootfs: &Path) -> Self {
            let read = |path| -> io::Result<String> {
                Ok(String::from_utf8_lossy(&read_within(rootfs, Path::new(path), BYTES_MAX)?).into_owned())
            };
            Self { passwd: read("etc/passwd").unwrap_or_default(), group: read("etc/group").unwrap_or_default() }
        }

        /// What `user`, `user:group` with names or numbers means here, and where that user is at home.
        pub(super) fn find(&self, text: &str) -> Result<((u32, u32), String), String> {
            let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
            let user = if user.is_empty() { "0" } else { user };
            let line = self.passwd.lines().map(fields).find(|line| {
                let (name, id) = (line.first(), line.get(2));
                name.is_some_and(|name| *name == user) || id.is_some_and(|id| *id == user)
            });
            let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u32>().ok());
            let of_line = line.as_deref();
            let id = of_line.map_or_else(|| user.parse().ok(), |line| number(line.get(2)));
            let id = id.ok_or_else(|| format!("it has no user `{}`", user.chars().take(80).collect::<String>()))?;
            let group = match group {
                None => of_line.and_then(|line| number(line.get(3))).unwrap_or(0),
                Some(group) => self
                    .group
                    .lines()
                    .map(fields)
                    .find(|line| line.first() == Some(&group))
                    .map_or_else(|| group.parse().ok(), |line| number(line.get(2)))
                    .ok_or_else(|| format!("it has no group `{}`", group.chars().take(80).collect::<String>()))?,
            };
            // The two that mean "none" to the kernel.
            if id == u32::MAX || group == u32::MAX {
                return Err("it wants to run as nobody at all".into());
            }
            let home = of_line.and_then(|line| line.get(5)).filter(|home| home.starts_with('/')).unwrap_or(&"/");
            Ok(((id, group), (*home).to_owned()))
        }
    }

    fn fields(line: &str) -> Vec<&str> {
        line.split(':').collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn users_are_found_by_name_and_number() {
            let names = Names {
                passwd: "root:x:0:0:root:/root:/bin/sh\nrunner:x:1000:100::/home/runner:/bin/sh\nodd:x\n".into(),
                group: "users:x:100:\nstaff:x:50:\n".into(),
            };
            let found = |text| names.find(text).unwrap();
            assert_eq!(found(""), ((0, 0), "/root".into()));
            assert_eq!(found("runner"), ((1000, 100), "/home/runner".into()));
            assert_eq!(found("1000"), ((1000, 100), "/home/runner".into()));
            assert_eq!(found("runner:staff"), ((1000, 50), "/home/runner".into()));
            assert_eq!(found("7:8"), ((7, 8), "/".into()));
            for text in ["odd", "nobody", "runner:nobody", "4294967295", "-1"] {
                assert!(names.find(text).is_err(), "{text}");
            }
        }
    }
}
