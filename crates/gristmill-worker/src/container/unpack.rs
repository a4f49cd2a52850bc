//! Layers: a stranger's archives, written into a folder and nowhere else. Every path is resolved by the kernel as if
//! that folder were the root (`openat2`), so no link in it, old or new, leads out.
//!
//! Of what an archive says about a file, its kind, content and whether it can be executed are kept. All else means
//! nothing where an attempt is one user who owns what it sees: owners, groups, times, attributes, set-id bits, and
//! devices, pipes and sockets are left out.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use gristmill_proto::app::OciDigest;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{LinkatFlags, UnlinkatFlags, linkat, symlinkat, unlinkat};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

/// Of one image: a distribution with everything has fewer.
const ENTRIES_MAX: u64 = 2_000_000;
const PATH_BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 128;
/// A long name, or attributes that we do not keep.
const HEADER_BYTES_MAX: u64 = 1 << 20;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const CHUNK_BYTES: usize = 1 << 17;

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("it holds more than {ENTRIES_MAX} files")]
    TooMany,
    #[error("`{0}` is no path within an image")]
    Path(String),
    #[error("`{0}` is a kind of file that is not known here")]
    Kind(String),
    #[error("it is compressed in a way that is not known here: {0}")]
    Compression(String),
    #[error("it unpacks to {found}, not to {wanted}")]
    Other { wanted: OciDigest, found: OciDigest },
    #[error("{path}: {source}")]
    At { path: String, source: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an image may still take, over all its layers.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub(super) bytes: u64,
    entries: u64,
}

impl Room {
    pub fn new(bytes: u64) -> Self {
        Self { bytes, entries: ENTRIES_MAX }
    }
}

/// Writes a layer over what is in `root`, and checks that its content is what `diff_id` names.
pub fn unpack(
    layer: File,
    media_type: &str,
    diff_id: OciDigest,
    root: &Path,
    room: &mut Room,
) -> Result<(), UnpackError> {
    let content = decompress(layer, media_type)?;
    // Decompressing and writing take about the same time, and there is more than one processor.
    let (mut from, to) = io::pipe()?;
    nix::fcntl::fcntl(&to, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20)).map_err(io::Error::from)?;
    let bytes_max = room.bytes.saturating_mul(2).saturating_add(1 << 30);
    std::thread::scope(|scope| {
        let hashed = scope.spawn(move || hash_through(content, to, bytes_max));
        let written = Writer::below(root, room).and_then(|mut writer| writer.archive(&mut from));
        // What follows the archive's end belongs to the digest.
        if written.is_ok() {
            io::copy(&mut from, &mut io::sink())?;
        }
        drop(from);
        let hashed = hashed.join().unwrap_or_else(|_| Err(io::Error::other("decompression failed")));
        written?;
        let found = OciDigest(hashed?);
        if found == diff_id { Ok(()) } else { Err(UnpackError::Other { wanted: diff_id, found }) }
    })
}

/// Writes an archive that nobody has promised anything about.
pub(crate) fn unpack_plain(mut archive: File, root: &Path, room: &mut Room) -> Result<(), UnpackError> {
    Writer::below(root, room)?.archive(&mut archive)
}

fn decompress(mut layer: File, media_type: &str) -> Result<Box<dyn Read + Send>, UnpackError> {
    // Media types lie: Docker's say gzip of what is not. The first bytes do not.
    let mut magic = [0; 4];
    let read = layer.read(&mut magic)?;
    io::Seek::rewind(&mut layer)?;
    Ok(match &magic[..read] {
        [0x1f, 0x8b, ..] => {
            Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(CHUNK_BYTES, layer)))
        }
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(
            ruzstd::decoding::StreamingDecoder::new(io::BufReader::with_capacity(CHUNK_BYTES, layer))
                .map_err(|error| UnpackError::Compression(error.to_string()))?,
        ),
        [b'B', b'Z', b'h', _] | [0xfd, b'7', b'z', _] => {
            return Err(UnpackError::Compression(media_type.chars().take(100).collect()));
        }
        _ => Box::new(layer),
    })
}

fn hash_through(mut content: Box<dyn Read + Send>, mut to: io::PipeWriter, bytes_max: u64) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0_u64;
    while let read @ 1.. = content.read(&mut chunk)? {
        total += read as u64;
        if total > bytes_max {
            return Err(io::Error::other(format!("it decompresses to more than {bytes_max} bytes")));
        }
        hasher.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
    }
    Ok(hasher.finalize().into())
}

struct Writer<'a> {
    root: OwnedFd,
    room: &'a mut Room,
    /// What this layer has put there: an opaque folder keeps that.
    own: HashSet<PathBuf>,
    /// The folder of the file before, which is most often that of the next.
    parent: Option<(PathBuf, OwnedFd)>,
    chunk: Vec<u8>,
}

/// Paths from headers that come before the entry they are about.
#[derive(Default)]
struct Long {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<'a> Writer<'a> {
    fn below(root: &Path, room: &'a mut Room) -> Result<Self, UnpackError> {
        let root = openat(AT_FDCWD, root, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_PATH, Mode::empty());
        let root = root.map_err(io::Error::from)?;
        Ok(Self { root, room, own: HashSet::new(), parent: None, chunk: vec![0; CHUNK_BYTES] })
    }

    fn archive(&mut self, content: &mut impl Read) -> Result<(), UnpackError> {
        let mut archive = tar::Archive::new(content);
        let mut long = Long::default();
        // Raw: the library would read names and attributes of any length into memory.
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            self.room.entries = self.room.entries.checked_sub(1).ok_or(UnpackError::TooMany)?;
            match entry.header().entry_type() {
                EntryType::GNULongName => long.path = Some(text(&mut entry)?),
                EntryType::GNULongLink => long.link = Some(text(&mut entry)?),
                EntryType::XHeader => read_extensions(&mut entry, &mut long)?,
                EntryType::XGlobalHeader => {}
                _ => self.entry(&mut entry, std::mem::take(&mut long))?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>, long: Long) -> Result<(), UnpackError> {
        let named = long.path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let kind = entry.header().entry_type();
        let Some(path) = plain(&named)? else { return Ok(()) };
        let at = |source: Errno| UnpackError::At { path: path.display().to_string(), source: source.into() };
        let name = path.file_name().expect("a plain path has parts").to_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if name.as_bytes() == OPAQUE {
            return self.empty(&folder).map_err(at);
        }
        if let Some(gone) = name.as_bytes().strip_prefix(WHITEOUT) {
            let gone = OsStr::from_bytes(gone);
            if gone.is_empty() || gone == "." || gone == ".." || self.own.contains(&folder.join(gone)) {
                return Ok(());
            }
            self.parent = None;
            return match self.existing(&folder) {
                Ok(parent) => remove(&parent, gone).map_err(at),
                // Nothing there that could be removed.
                Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
                Err(errno) => Err(at(errno)),
            };
        }
        self.own.insert(path.clone());
        match kind {
            EntryType::Directory => self.make_folder(&folder, &name).map_err(at),
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode()? & 0o111 != 0;
                self.room.bytes =
                    self.room.bytes.checked_sub(entry.size()).ok_or(UnpackError::TooLarge(entry.size()))?;
                self.write_file(&folder, &name, executable, entry)
                    .map_err(|source| UnpackError::At { path: path.display().to_string(), source })
            }
            EntryType::Symlink => {
                let target = link_of(entry, long.link)?;
                let parent = self.folder(&folder).map_err(at)?;
                remove(parent, &name).map_err(at)?;
                symlinkat(OsStr::from_bytes(&target), parent, name.as_os_str()).map_err(at)
            }
            EntryType::Link => {
                let target = link_of(entry, long.link)?;
                let Some(target) = plain(&target)? else { return Ok(()) };
                self.link(&folder, &name, &target).map_err(at)
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => Ok(()),
            _ => Err(UnpackError::Kind(path.display().to_string())),
        }
    }

    /// A folder, made if it is not there; links on the way are followed as within the image.
    fn folder(&mut self, path: &Path) -> nix::Result<&OwnedFd> {
        if self.parent.as_ref().is_none_or(|(known, _)| known != path) {
            let opened = match self.existing(path) {
                Err(Errno::ENOENT) => self.make_all(path)?,
                other => other?,
            };
            self.parent = Some((path.to_owned(), opened));
        }
        Ok(&self.parent.as_ref().expect("just put there").1)
    }

    fn existing(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_DIRECTORY | OFlag::O_RDONLY)
    }

    fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        openat2(self.root.as_fd(), path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
    }

    fn make_all(&self, path: &Path) -> nix::Result<OwnedFd> {
        let mut so_far = PathBuf::new();
        for part in path.iter() {
            let parent = self.existing(&so_far)?;
            so_far.push(part);
            match mkdirat(&parent, part, folder_mode()) {
                Ok(()) => widen(&parent, part)?,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.existing(path)
    }

    fn make_folder(&mut self, folder: &Path, name: &OsStr) -> nix::Result<()> {
        self.parent = self.parent.take().filter(|(known, _)| known == folder);
        let parent = self.folder(folder)?;
        match mkdirat(parent, name, folder_mode()) {
            Err(Errno::EEXIST) => {
                let follow = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_PATH | OFlag::O_CLOEXEC;
                // A folder stays; what is not one makes way.
                if openat(parent, name, follow, Mode::empty()).is_ok() {
                    return Ok(());
                }
                remove(parent, name)?;
                mkdirat(parent, name, folder_mode())?;
                widen(parent, name)
            }
            Ok(()) => widen(parent, name),
            Err(errno) => Err(errno),
        }
    }

    fn write_file(&mut self, folder: &Path, name: &OsStr, executable: bool, content: &mut impl Read) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let parent = self.folder(folder)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(if executable { 0o777 } else { 0o666 });
        let opened = match openat(parent, name, flags, mode) {
            Err(Errno::EEXIST) => {
                remove(parent, name)?;
                openat(parent, name, flags, mode)?
            }
            other => other?,
        };
        nix::sys::stat::fchmod(&opened, mode)?;
        let mut file = File::from(opened);
        while let read @ 1.. = content.read(&mut chunk)? {
            file.write_all(&chunk[..read])?;
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Another name for a regular file of the image.
    fn link(&mut self, folder: &Path, name: &OsStr, target: &Path) -> nix::Result<()> {
        let place = self.existing(target.parent().unwrap_or(Path::new("")))?;
        let target = target.file_name().expect("a plain path has parts");
        let is_regular = nix::sys::stat::fstatat(&place, target, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map(|about| matches!(about.st_mode & nix::libc::S_IFMT, nix::libc::S_IFREG | nix::libc::S_IFLNK))?;
        if !is_regular {
            return Err(Errno::EPERM);
        }
        let parent = self.folder(folder)?;
        remove(parent, name)?;
        linkat(&place, target, parent, name, LinkatFlags::empty())
    }

    /// Takes what earlier layers had in a folder away.
    fn empty(&mut self, folder: &Path) -> nix::Result<()> {
        self.parent = None;
        let opened = match self.existing(folder) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        for name in names(&opened)? {
            if !self.own.contains(&folder.join(&name)) {
                remove(&opened, &name)?;
            }
        }
        Ok(())
    }
}

fn folder_mode() -> Mode {
    Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO
}

/// Past this process's umask: whoever an attempt is, the files are its own.
fn widen(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    let flags = nix::sys::stat::FchmodatFlags::FollowSymlink;
    nix::sys::stat::fchmodat(parent, name, folder_mode(), flags)
}

/// Removes whatever has this name, without following anything.
fn remove(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let folder = openat(parent, name, flags, Mode::empty())?;
    // As deep as paths are, which `plain` bounds.
    names(&folder)?.iter().try_for_each(|name| remove(&folder, name))?;
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

fn names(folder: &OwnedFd) -> nix::Result<Vec<std::ffi::OsString>> {
    let mut listed = Vec::new();
    let mut folder = Dir::openat(folder.as_fd(), ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            listed.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(listed)
}

/// The path without what says nothing. `None`: the root itself.
fn plain(path: &[u8]) -> Result<Option<PathBuf>, UnpackError> {
    let shown = || UnpackError::Path(String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned());
    if path.len() > PATH_BYTES_MAX || path.contains(&0) {
        return Err(shown());
    }
    let mut plain = PathBuf::new();
    let mut depth = 0;
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(part) => plain.push(part),
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => return Err(shown()),
        }
        depth += 1;
    }
    if depth > DEPTH_MAX {
        return Err(shown());
    }
    Ok((depth > 0).then_some(plain))
}

fn link_of(entry: &tar::Entry<'_, impl Read>, long: Option<Vec<u8>>) -> Result<Vec<u8>, UnpackError> {
    let target = long.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(&0) {
        let shown = String::from_utf8_lossy(&target[..target.len().min(200)]).into_owned();
        return Err(UnpackError::Path(shown));
    }
    Ok(target)
}

/// The content of a header, up to its zero byte.
fn text(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = header(entry)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

fn header(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, UnpackError> {
    if entry.size() > HEADER_BYTES_MAX {
        return Err(UnpackError::Path(format!("a name of {} bytes", entry.size())));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_extensions(entry: &mut tar::Entry<'_, impl Read>, long: &mut Long) -> Result<(), UnpackError> {
    let bytes = header(entry)?;
    for extension in tar::PaxExtensions::new(&bytes) {
        let extension = extension?;
        match extension.key_bytes() {
            b"path" => long.path = Some(extension.value_bytes().to_vec()),
            b"linkpath" => long.link = Some(extension.value_bytes().to_vec()),
            // Of files so large that the plain field cannot say it, or of holes: both are refused rather than misread.
            b"size" => return Err(UnpackError::Kind("a file of more than 8 GiB".into())),
            key if key.starts_with(b"GNU.sparse") => return Err(UnpackError::Kind("a file with holes".into())),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a folder of an image, whatever links there are on the way.
pub(super) fn make_folder_within(root: &Path, path: &Path) -> io::Result<()> {
    let Ok(Some(path)) = plain(path.as_os_str().as_bytes()) else { return Ok(()) };
    let mut room = Room::new(0);
    let writer = Writer::below(root, &mut room).map_err(io::Error::other)?;
    match writer.existing(&path) {
        Err(Errno::ENOENT) => writer.make_all(&path).map(drop).map_err(Into::into),
        other => other.map(drop).map_err(Into::into),
    }
}

/// Reads a file of an image, whatever links there are on the way.
pub(super) fn read_within(root: &Path, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut room = Room::new(0);
    let writer = Writer::below(root, &mut room).map_err(io::Error::other)?;
    let file = File::from(writer.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}
