use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{npm, root, run, say};

/// Everything the tests need besides Rust, Node, Python and a C compiler.
pub(crate) fn all() -> Result<()> {
    for dir in ["contracts", "web"] {
        npm_packages(dir)?;
    }
    chromium()?;
    strace()?;
    // Of Debian's names; elsewhere the tests say what they miss.
    programs(&[("busybox", "busybox-static"), ("docker-registry", "docker-registry")])?;
    guests()?;
    qemu()?;
    guest_kernel()?;
    other_processor()?;
    postgres()
}

/// What the vanity library is also compiled for, as nothing here runs on it.
pub(crate) const OTHER_TARGET: &str = "aarch64-unknown-linux-gnu";

/// The standard library for it, where the tool chain can be extended.
fn other_processor() -> Result<()> {
    if has_other_target()? {
        return Ok(());
    }
    say(&format!("installing Rust's standard library for {OTHER_TARGET} with rustup"));
    let added = in_path("rustup")
        && run(Command::new("rustup").args(["target", "add", OTHER_TARGET])).is_ok()
        && has_other_target()?;
    if !added {
        say(&format!("rustup cannot: nothing will be compiled for {OTHER_TARGET}"));
    }
    Ok(())
}

pub(crate) fn has_other_target() -> Result<bool> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", OTHER_TARGET]).output()?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn programs(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| !in_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() || !in_path("apt-get") {
        return Ok(());
    }
    say(&format!("installing {} with apt-get", missing.join(" ")));
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"][..], &missing].concat())
}

fn qemu() -> Result<()> {
    let program = format!("qemu-system-{}", std::env::consts::ARCH);
    if cfg!(target_arch = "x86_64") { programs(&[(&program, "qemu-system-x86")]) } else { Ok(()) }
}

/// Debian's kernel for virtual machines, and the modules a tiny guest needs, unpacked beside the build and not installed.
fn guest_kernel() -> Result<()> {
    let place = root().join("target/vm-kernel");
    if place.join("vmlinuz").exists() || !cfg!(target_arch = "x86_64") || !in_path("apt-get") {
        return Ok(());
    }
    say("fetching a kernel for virtual machines with apt-get");
    let work = root().join("target/vm-kernel-package");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let depends = Command::new("apt-cache").args(["depends", "linux-image-cloud-amd64"]).output()?;
    let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .context("apt knows no kernel: `apt-get update` may help")?;
    run(Command::new("apt-get").args(["download", "-qq", package]).current_dir(&work))?;
    let archive = only_entry(&work)?;
    run(Command::new("dpkg").arg("-x").arg(archive).arg(work.join("unpacked")))?;
    fs::create_dir_all(&place)?;
    let modules = only_entry(&work.join("unpacked/lib/modules"))?.join("kernel/drivers");
    for module in GUEST_MODULES {
        let name = Path::new(module).file_name().context("a path of a file")?;
        fs::copy(modules.join(module), place.join(name))?;
    }
    for entry in fs::read_dir(work.join("unpacked/boot"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")) {
            fs::copy(&path, place.join("vmlinuz"))?;
        }
    }
    Ok(fs::remove_dir_all(work)?)
}

const GUEST_MODULES: [&str; 7] = [
    "virtio/virtio.ko",
    "virtio/virtio_ring.ko",
    "virtio/virtio_pci_modern_dev.ko",
    "virtio/virtio_pci_legacy_dev.ko",
    "virtio/virtio_pci.ko",
    "block/virtio_blk.ko",
    "char/virtio_console.ko",
];

fn only_entry(dir: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(dir)?;
    Ok(entries.next().with_context(|| format!("{} is empty", dir.display()))??.path())
}

/// Installs what a folder's lock file names; anew only when that has changed.
pub(crate) fn npm_packages(dir: &str) -> Result<()> {
    let dir = Path::new(dir);
    let lock = fs::read(dir.join("package-lock.json"))?;
    let installed = dir.join("node_modules/.installed");
    if fs::read(&installed).ok().as_ref() == Some(&lock) {
        return Ok(());
    }
    say(&format!("installing npm packages in {}", dir.display()));
    npm(&dir.display().to_string(), &["ci", "--no-audit", "--no-fund"])?;
    Ok(fs::write(installed, lock)?)
}

fn chromium() -> Result<()> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let given = std::env::var_os("CHROMIUM").is_some_and(|path| Path::new(&path).exists());
    if given || names.iter().any(|name| in_path(name)) {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the browser tests need Chromium\n\nhint: install it, or name it in the variable CHROMIUM");
    }
    say("installing chromium with apt-get");
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", "chromium"])
        .context("the browser tests need Chromium; install it, or name it in the variable CHROMIUM")
}

/// Kills roles at chosen system calls.
fn strace() -> Result<()> {
    if in_path("strace") {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the crash tests need strace\n\nhint: install it");
    }
    say("installing strace with apt-get");
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", "strace"]).context("the crash tests need strace")
}

/// What makes the apps of the tutorial: modules of C, and the shell that a script brings along.
fn guests() -> Result<()> {
    let library = Path::new("/usr/include/wasm32-wasi").exists();
    let packages: Vec<&str> = [
        (!in_path("clang"), "clang"),
        (!in_path("wasm-ld"), "lld"),
        (!library, "wasi-libc"),
        (!library, "libclang-rt-dev-wasm32"),
        (!in_path("busybox"), "busybox-static"),
    ]
    .into_iter()
    .filter_map(|(missing, package)| missing.then_some(package))
    .collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the tests of apps need {}\n\nhint: install them", packages.join(", "));
    }
    say(&format!("installing {} with apt-get", packages.join(", ")));
    apt(&["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(packages);
    apt(&args).context("the tests of apps need them")
}

/// The store's other database. Debian keeps its programs out of the path; tests start servers
/// of their own.
fn postgres() -> Result<()> {
    // A client alone has a folder there too.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    if in_path("initdb") || versions.map(|version| version.path()).any(|version| version.join("bin/initdb").is_file()) {
        return Ok(());
    }
    if !in_path("apt-get") {
        bail!("the store's tests need PostgreSQL\n\nhint: install its server");
    }
    say("installing postgresql with apt-get");
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", "postgresql"]).context("the store's tests need PostgreSQL")
}

fn apt(args: &[&str]) -> Result<()> {
    let root = fs::metadata("/proc/self").map(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)?;
    let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
    if !root {
        command.arg("apt-get");
    }
    run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}
