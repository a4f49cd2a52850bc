//! What an app left in `/out`, read when nothing of it is alive any more. The names, kinds and sizes of these files are
//! a stranger's: only regular files are opened, no link is followed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use gristmill_proto::app::is_plain_path;
use gristmill_proto::outcome::{ANSWER_BYTES_MAX, Limit, OUTPUT_FILES_MAX, OUTPUT_PATHS_BYTES_MAX};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statvfs::fstatvfs;

use crate::process::computed;

/// The file a contract's answer comes from.
const ANSWER: &str = "result";

/// `/out` of an attempt that is over. Lives in memory and vanishes when dropped.
#[derive(Debug)]
pub struct OutDir {
    directory: OwnedFd,
    _kept: Option<Kept>,
}

/// A folder of this machine, for one that does not vanish by itself.
#[derive(Debug)]
struct Kept(PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file below `/out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutFile {
    pub path: String,
    pub size: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) files: Vec<OutFile>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error("over the limit")]
    Over(Limit),
    #[error("reading /out: {0}")]
    Io(#[from] io::Error),
}

impl OutDir {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory, _kept: None }
    }

    /// Of what was unpacked on this machine; `folder` is removed with it.
    pub(crate) fn kept(directory: OwnedFd, folder: PathBuf) -> Self {
        Self { directory, _kept: Some(Kept(folder)) }
    }

    /// Opens a file that [`crate::process::run`] has listed.
    pub fn open(&self, path: &str) -> io::Result<File> {
        self.open_as(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map(File::from)
    }

    /// Whether the app met its disk limit.
    pub(crate) fn is_full(&self) -> bool {
        fstatvfs(&self.directory).is_ok_and(|disk| disk.blocks_free() == 0 || disk.files_free() == 0)
    }

    fn open_as(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV);
        Ok(openat2(self.directory.as_fd(), path, how)?)
    }

    /// Regular files with plain paths that their owner may read, sorted; others are left out. `disk_bytes` bounds the sum of the sizes, which
    /// links and holes could make larger than the disk.
    pub(crate) fn list(&self, disk_bytes: u64) -> Result<Listing, ListError> {
        let mut listing = Listing::default();
        let (mut total, mut paths_bytes) = (0_u64, 0);
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            for path in self.entries(&directory)? {
                match self.kind(&path)? {
                    Kind::Directory => directories.push(path),
                    Kind::Other => {}
                    Kind::Regular(size) if path == ANSWER => listing.answer = Some(self.read_answer(size)?),
                    Kind::Regular(size) => {
                        total = total.saturating_add(size);
                        paths_bytes += path.len();
                        listing.files.push(OutFile { path, size });
                    }
                }
                if listing.files.len() > OUTPUT_FILES_MAX || paths_bytes > OUTPUT_PATHS_BYTES_MAX {
                    return Err(ListError::Over(Limit::Output));
                }
                if total > disk_bytes {
                    return Err(ListError::Over(Limit::Disk));
                }
            }
        }
        listing.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(listing)
    }

    /// Paths of what is in a directory, as far as they are plain. Their number is bounded by the disk's inodes.
    fn entries(&self, directory: &str) -> io::Result<Vec<String>> {
        let path = if directory.is_empty() { "." } else { directory };
        let opened = self.open_as(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut paths = Vec::new();
        for entry in Dir::from_fd(opened)?.iter() {
            let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else { continue };
            let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
            if is_plain_path(&path) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn kind(&self, path: &str) -> io::Result<Kind> {
        // O_PATH looks without opening: opening a pipe or a device would already be an act.
        let opened = match self.open_as(path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Ok(opened) => File::from(opened),
            Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => return Ok(Kind::Other),
            Err(error) => return Err(error),
        };
        let metadata = opened.metadata()?;
        let readable = |bits| metadata.mode() & bits == bits;
        Ok(if metadata.is_dir() && readable(0o500) {
            Kind::Directory
        } else if metadata.is_file() && readable(0o400) {
            Kind::Regular(metadata.len())
        } else {
            Kind::Other
        })
    }

    /// What `computed.json` names, for a program that left no other answer.
    pub(crate) fn computed_answer(&self, files: &[OutFile]) -> Option<Vec<u8>> {
        let listed = files.iter().find(|file| file.path == computed::FILE)?;
        let mut bytes = Vec::new();
        self.open(&listed.path).ok()?.take(computed::FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        computed::answer(&bytes)
    }

    fn read_answer(&self, size: u64) -> Result<Vec<u8>, ListError> {
        if size > ANSWER_BYTES_MAX as u64 {
            return Err(ListError::Over(Limit::Output));
        }
        let mut answer = Vec::new();
        self.open(ANSWER)?.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

enum Kind {
    Directory,
    Regular(u64),
    Other,
}
