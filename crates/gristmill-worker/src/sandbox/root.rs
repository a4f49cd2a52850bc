//! The file system an app sees: a read-only tmpfs that holds nothing but `/app`, `/in`, `/out`, `/tmp`, `/dev` and
//! `/proc`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{Gid, Uid, chdir, chown, pivot_root};

use super::wire::{Context, Failure, Part, Spec};

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Where host device nodes are bound from.
const HOST_DEVICES: &str = "/dev";
/// Directories and the mount points of 256 input files with long paths.
const ROOT_OPTIONS: &str = "size=4m,nr_inodes=8k,mode=755";
/// A tmpfs spends kernel memory on each file, however small.
const BYTES_PER_INODE: u64 = 4096;
const INODES_MIN: u64 = 1024;
const INODES_MAX: u64 = 65_536;

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const DATA: MsFlags = QUIET.union(MsFlags::MS_NOEXEC);

pub(super) struct Root {
    /// `/out`, for the worker to read after everything is dead.
    pub(super) out: OwnedFd,
    /// The host's procfs, where a process finds the files that map its user namespace. Closed before the app starts.
    pub(super) host_proc: OwnedFd,
    /// A procfs of the sandbox's processes, or none where the kernel refuses one.
    pub(super) proc: Option<OwnedFd>,
}

/// Builds the file system and makes it the root of this process, which must be alone in a fresh mount namespace and
/// the first of a fresh process namespace. `owner` gets `/out` and `/tmp`; `show_proc` leaves `/proc` to the app.
pub(super) fn enter(spec: &Spec, owner: Option<(Uid, Gid)>, show_proc: bool) -> Result<Root, Failure> {
    let host_proc = open_path(Path::new("/proc"))?;
    make_private()?;
    // Everything from the host is opened before the new root hides any of it.
    let app = open_path(&spec.app_dir)?;
    let inputs = spec.inputs.iter().map(|(name, path)| Ok((name, open_path(path)?))).collect::<Result<Vec<_>, _>>()?;
    let devices = DEVICES.map(|name| open_path(&Path::new(HOST_DEVICES).join(name)).map(|device| (name, device)));

    // The app's own directory is the one place that is sure to exist; the host never sees what is mounted on it here.
    mount_new("tmpfs", &spec.app_dir, QUIET, ROOT_OPTIONS)?;
    chdir(&spec.app_dir).part(Part::RootFilesystem, || "entering the new root".into())?;
    for directory in ["app", "in", "out", "tmp", "dev", "proc"] {
        make_directory(directory)?;
    }
    bind(&app, Path::new("app"), QUIET | MsFlags::MS_RDONLY)?;
    for (name, source) in inputs {
        let target = Path::new("in").join(name);
        make_directory(target.parent().expect("joined above"))?;
        make_file(&target)?;
        bind(&source, &target, DATA | MsFlags::MS_RDONLY)?;
    }
    for device in devices {
        let (name, source) = device?;
        let target = Path::new("dev").join(name);
        make_file(&target)?;
        bind(&source, &target, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
    }
    mount_disk(spec.disk_bytes, owner)?;
    let proc = mount_proc(show_proc)?;
    let out = open_directory(Path::new("out"))?;

    pivot_root(".", ".").part(Part::RootFilesystem, || "pivot_root".into())?;
    umount2(".", MntFlags::MNT_DETACH).part(Part::RootFilesystem, || "detaching the host's root".into())?;
    chdir("/").part(Part::RootFilesystem, || "entering the new root".into())?;
    remount(Path::new("/"), DATA | MsFlags::MS_RDONLY)?;
    Ok(Root { out, host_proc, proc })
}

fn make_private() -> Result<(), Failure> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .part(Part::RootFilesystem, || "keeping mounts private".into())
}

fn mount_new(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<(), Failure> {
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .part(Part::RootFilesystem, || format!("mounting a {kind}"))
}

/// One tmpfs behind `/out` and `/tmp`, so that they share one quota.
fn mount_disk(bytes: u64, owner: Option<(Uid, Gid)>) -> Result<(), Failure> {
    let inodes = (bytes / BYTES_PER_INODE).clamp(INODES_MIN, INODES_MAX);
    let shared = Path::new("tmp");
    mount_new("tmpfs", shared, DATA, &format!("size={bytes},nr_inodes={inodes},mode=700"))?;
    for name in ["out", "tmp"] {
        let directory = shared.join(name);
        make_directory(&directory)?;
        if let Some((uid, gid)) = owner {
            chown(&directory, Some(uid), Some(gid)).part(Part::RootFilesystem, || format!("giving /{name} away"))?;
        }
    }
    bind(&open_path(&shared.join("out"))?, Path::new("out"), DATA)?;
    let inner = open_path(&shared.join("tmp"))?;
    bind(&inner, shared, DATA)
}

/// Shows only the sandbox's own processes and nothing of the machine. Landlock lets the app follow its links
/// (`/proc/self/exe`: loaders and runtimes find their files by it) and open nothing.
fn mount_proc(show: bool) -> Result<Option<OwnedFd>, Failure> {
    let flags = DATA | MsFlags::MS_RDONLY;
    if mount(Some("proc"), "proc", Some("proc"), flags, Some("subset=pid")).is_err() {
        // Where the host's own procfs is partly hidden (a container), a user may not mount a whole one.
        return Ok(None);
    }
    let proc = open_directory(Path::new("proc"))?;
    if !show {
        umount2("proc", MntFlags::MNT_DETACH).part(Part::RootFilesystem, || "hiding /proc".into())?;
    }
    Ok(Some(proc))
}

fn bind(source: &OwnedFd, target: &Path, flags: MsFlags) -> Result<(), Failure> {
    let doing = || format!("binding /{}", target.display());
    let link = PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd()));
    mount(Some(&link), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).part(Part::RootFilesystem, doing)?;
    // In a user namespace, flags the source's mount came with cannot be taken away.
    let kept = fstatvfs(source).part(Part::RootFilesystem, doing)?.flags();
    remount(target, flags | as_mount_flags(kept))
}

fn as_mount_flags(flags: FsFlags) -> MsFlags {
    let pairs = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    pairs.into_iter().filter(|(found, _)| flags.contains(*found)).map(|(_, kept)| kept).collect()
}

fn remount(target: &Path, flags: MsFlags) -> Result<(), Failure> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .part(Part::RootFilesystem, || format!("protecting {}", target.display()))
}

fn open_path(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, OFlag::O_PATH)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, OFlag::O_DIRECTORY)
}

fn open(path: &Path, flags: OFlag) -> Result<OwnedFd, Failure> {
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map(OwnedFd::from)
        .part(Part::RootFilesystem, || format!("opening {}", path.display()))
}

fn make_directory(path: impl AsRef<Path>) -> Result<(), Failure> {
    let path = path.as_ref();
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .part(Part::RootFilesystem, || format!("making /{}", path.display()))
}

fn make_file(path: &Path) -> Result<(), Failure> {
    File::create_new(path).map(drop).part(Part::RootFilesystem, || format!("making /{}", path.display()))
}
