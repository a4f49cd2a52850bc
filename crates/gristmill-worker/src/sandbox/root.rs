//! The file system an app sees: a read-only tmpfs that holds nothing but `/app`, `/in`, `/out`, `/tmp`, `/dev` and
//! `/proc`; or an image, with the same folders over it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{Gid, Uid, chdir, chown, pivot_root};

use super::wire::{Context, Failure, Ground, Part, Spec};

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Where a machine's programs are; something else is mounted over it inside.
const MACHINE_PROGRAMS: &str = "/usr";
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
    let sources = Sources::open(spec)?;
    // The host never sees what is mounted on it here.
    let anchor = match &spec.ground {
        Ground::Image { rootfs } => rootfs,
        Ground::Machine { .. } => Path::new(MACHINE_PROGRAMS),
        Ground::Bare => spec.app_dir.as_deref().unwrap_or(Path::new("/")),
    };
    mount_new("tmpfs", anchor, QUIET, ROOT_OPTIONS)?;
    chdir(anchor).part(Part::RootFilesystem, || "entering the new root".into())?;
    let root = match &sources.image {
        Some(image) => stand_on(image, spec.disk_bytes, owner)?,
        None => stand_bare(spec.disk_bytes, owner)?,
    };
    if let Some(app) = &sources.app {
        make_directory("app")?;
        bind(app, Path::new("app"), QUIET | MsFlags::MS_RDONLY)?;
    }
    show_machine(&sources.machine)?;
    show_inputs(&sources.inputs, root)?;
    show_devices(&sources.devices, root)?;
    make_blank(&spec.blank, owner)?;
    let proc = mount_proc(show_proc)?;
    let out = open_directory(Path::new("out"))?;

    pivot_root(".", ".").part(Part::RootFilesystem, || "pivot_root".into())?;
    umount2(".", MntFlags::MNT_DETACH).part(Part::RootFilesystem, || "detaching the host's root".into())?;
    chdir("/").part(Part::RootFilesystem, || "entering the new root".into())?;
    match root {
        Kind::Own => remount(Path::new("/"), DATA | MsFlags::MS_RDONLY)?,
        // As it was mounted.
        Kind::Image => {}
    }
    Ok(Root { out, host_proc, proc })
}

/// Whose folders and files the mounts go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    /// Its unpacker has seen to it that our folders are there, and are folders.
    Image,
}

/// What the sandbox shows of the host.
struct Sources {
    image: Option<OwnedFd>,
    app: Option<OwnedFd>,
    inputs: Vec<(String, OwnedFd)>,
    devices: Vec<(&'static str, OwnedFd)>,
    machine: Vec<(&'static str, Shown)>,
}

/// A link is shown as what it says.
enum Shown {
    Link(PathBuf),
    Entry(OwnedFd),
}

impl Sources {
    fn open(spec: &Spec) -> Result<Self, Failure> {
        let inputs = spec.inputs.iter().map(|(name, path)| Ok((name.clone(), open_path(path)?)));
        let image = match &spec.ground {
            Ground::Image { rootfs } => Some(open_directory(rootfs)?),
            Ground::Bare | Ground::Machine { .. } => None,
        };
        let kvm = matches!(spec.ground, Ground::Machine { kvm: true }).then_some("kvm");
        let devices = DEVICES.into_iter().chain(kvm);
        let machine = match spec.ground {
            Ground::Machine { .. } => machine_programs()?,
            Ground::Bare | Ground::Image { .. } => Vec::new(),
        };
        Ok(Self {
            image,
            app: spec.app_dir.as_deref().map(open_path).transpose()?,
            inputs: inputs.collect::<Result<_, Failure>>()?,
            devices: devices
                .map(|name| Ok((name, open_path(&Path::new(HOST_DEVICES).join(name))?)))
                .collect::<Result<_, Failure>>()?,
            machine,
        })
    }
}

/// Programs, their libraries, and where the loader is told which.
fn machine_programs() -> Result<Vec<(&'static str, Shown)>, Failure> {
    let mut shown = Vec::new();
    for name in ["usr", "bin", "lib", "lib64", "etc/ld.so.cache", "etc/alternatives"] {
        let path = Path::new("/").join(name);
        if let Ok(target) = std::fs::read_link(&path) {
            shown.push((name, Shown::Link(target)));
        } else if path.exists() {
            shown.push((name, Shown::Entry(open_path(&path)?)));
        }
    }
    Ok(shown)
}

fn show_machine(shown: &[(&'static str, Shown)]) -> Result<(), Failure> {
    for (name, what) in shown {
        let target = Path::new(name);
        match what {
            Shown::Link(to) => {
                std::os::unix::fs::symlink(to, target).part(Part::RootFilesystem, || format!("making /{name}"))?;
            }
            Shown::Entry(source) => {
                make_directory(target.parent().expect("names a path"))?;
                let kind =
                    nix::sys::stat::fstat(source).part(Part::RootFilesystem, || format!("looking at /{name}"))?;
                match kind.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR {
                    true => make_directory(target)?,
                    false => make_file(target)?,
                }
                bind(source, target, QUIET | MsFlags::MS_RDONLY)?;
            }
        }
    }
    Ok(())
}

fn stand_bare(disk_bytes: u64, owner: Option<(Uid, Gid)>) -> Result<Kind, Failure> {
    for directory in ["in", "out", "tmp", "dev", "proc"] {
        make_directory(directory)?;
    }
    mount_disk(Path::new("tmp"), disk_bytes, &["out", "tmp"], owner)?;
    bind(&open_path(Path::new("tmp/out"))?, Path::new("out"), DATA)?;
    let inner = open_path(Path::new("tmp/tmp"))?;
    bind(&inner, Path::new("tmp"), DATA)?;
    Ok(Kind::Own)
}

/// The image with what the app writes to it on the app's disk; where the kernel lays no file system over another (an
/// ordinary user's, before 5.11), the image alone, read-only.
fn stand_on(image: &OwnedFd, disk_bytes: u64, owner: Option<(Uid, Gid)>) -> Result<Kind, Failure> {
    for directory in ["disk", "root"] {
        make_directory(directory)?;
    }
    let folders = ["out", "tmp", "shm", "written", "work"];
    mount_disk(Path::new("disk"), disk_bytes, &folders, owner)?;
    let [out, tmp, shm] = ["disk/out", "disk/tmp", "disk/shm"].map(|folder| open_path(Path::new(folder)));
    let lower = format!("lowerdir=/proc/self/fd/{}", image.as_raw_fd());
    let written = "upperdir=disk/written,workdir=disk/work";
    // An ordinary user's overlay keeps its notes in attributes that he may write.
    let options = [format!("{lower},{written}"), format!("{lower},{written},userxattr")];
    let overlaid = options
        .iter()
        .any(|options| mount(Some("overlay"), "root", Some("overlay"), QUIET, Some(options.as_str())).is_ok());
    if !overlaid {
        bind(image, Path::new("root"), QUIET | MsFlags::MS_RDONLY)?;
    }
    chdir("root").part(Part::RootFilesystem, || "entering the image".into())?;
    bind(&out?, Path::new("out"), DATA)?;
    bind(&tmp?, Path::new("tmp"), DATA)?;
    mount_new("tmpfs", Path::new("in"), DATA, ROOT_OPTIONS)?;
    mount_new("tmpfs", Path::new("dev"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, ROOT_OPTIONS)?;
    make_directory("dev/shm")?;
    bind(&shm?, Path::new("dev/shm"), DATA)?;
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        std::os::unix::fs::symlink(Path::new("/proc/self").join(target), Path::new("dev").join(name))
            .part(Part::RootFilesystem, || format!("making /dev/{name}"))?;
    }
    Ok(Kind::Image)
}

fn make_blank(files: &[(String, u64)], owner: Option<(Uid, Gid)>) -> Result<(), Failure> {
    for (name, bytes) in files {
        let doing = || format!("making /out/{name}");
        let path = Path::new("out").join(name);
        File::create_new(&path).and_then(|file| file.set_len(*bytes)).part(Part::RootFilesystem, doing)?;
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid), Some(gid)).part(Part::RootFilesystem, doing)?;
        }
    }
    Ok(())
}

fn show_inputs(inputs: &[(String, OwnedFd)], root: Kind) -> Result<(), Failure> {
    for (name, source) in inputs {
        let target = Path::new("in").join(name);
        make_directory(target.parent().expect("joined above"))?;
        make_file(&target)?;
        bind(source, &target, DATA | MsFlags::MS_RDONLY)?;
    }
    match root {
        Kind::Own => Ok(()),
        Kind::Image => remount(Path::new("in"), DATA | MsFlags::MS_RDONLY),
    }
}

fn show_devices(devices: &[(&'static str, OwnedFd)], root: Kind) -> Result<(), Failure> {
    for (name, source) in devices {
        let target = Path::new("dev").join(name);
        make_file(&target)?;
        bind(source, &target, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
    }
    match root {
        Kind::Own => Ok(()),
        Kind::Image => remount(Path::new("dev"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY),
    }
}

fn make_private() -> Result<(), Failure> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .part(Part::RootFilesystem, || "keeping mounts private".into())
}

fn mount_new(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<(), Failure> {
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .part(Part::RootFilesystem, || format!("mounting a {kind}"))
}

/// One tmpfs for all that the app writes, so that it has one quota.
fn mount_disk(place: &Path, bytes: u64, folders: &[&str], owner: Option<(Uid, Gid)>) -> Result<(), Failure> {
    let inodes = (bytes / BYTES_PER_INODE).clamp(INODES_MIN, INODES_MAX);
    mount_new("tmpfs", place, DATA, &format!("size={bytes},nr_inodes={inodes},mode=700"))?;
    for name in folders {
        let directory = place.join(name);
        make_directory(&directory)?;
        if let Some((uid, gid)) = owner {
            chown(&directory, Some(uid), Some(gid)).part(Part::RootFilesystem, || format!("giving /{name} away"))?;
        }
    }
    Ok(())
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
