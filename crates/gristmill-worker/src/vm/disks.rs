//! What goes into a machine and comes out, as tar archives on disks of its own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::container::{Room, UnpackError, unpack_plain};
use crate::process::{Attempt, OutDir};

/// Told to cloud-init, which runs it once.
const RUN: &str = "#!/bin/sh\n\
    mkdir -p /gristmill && cd /gristmill || exit 1\n\
    tar -xf /dev/disk/by-id/virtio-gristmill-in\n\
    ln -sfn /gristmill/in /in; ln -sfn /gristmill/app /app; mkdir -p out; ln -sfn /gristmill/out /out\n\
    . ./gristmill/job.sh\n\
    cd /out && ( if [ -x /app/run ]; then /app/run \"$@\"; else \"$@\"; fi ) >/dev/ttyS0 2>&1\n\
    echo $? >/gristmill/status\n\
    tar -C /gristmill -cf /dev/disk/by-id/virtio-gristmill-out out status; sync; poweroff -f\n";

/// The disks of one attempt, on this machine until dropped.
pub(super) struct Prepared {
    dir: PathBuf,
    pub(super) input: PathBuf,
    /// Files of the NoCloud seed.
    pub(super) seed: Vec<(&'static str, PathBuf)>,
}

impl Prepared {
    pub(super) async fn make(attempt: &Attempt<'_>, cloud_init: bool, scratch: &Path) -> io::Result<Self> {
        let dir = fresh_folder(scratch)?;
        let prepared = Self { input: dir.join("in.tar"), seed: Vec::new(), dir };
        let (path, script) = (prepared.input.clone(), job_script(attempt));
        let (app, inputs) = (attempt.app_dir.to_owned(), attempt.inputs.to_vec());
        let written = tokio::task::spawn_blocking(move || write_input(&path, &script, &app, &inputs));
        written.await.map_err(io::Error::other)??;
        if cloud_init { prepared.with_seed(attempt) } else { Ok(prepared) }
    }

    fn with_seed(mut self, attempt: &Attempt<'_>) -> io::Result<Self> {
        let about = format!("instance-id: gristmill-{}\nlocal-hostname: gristmill\n", attempt.lease);
        for (name, content) in [("user-data", RUN), ("meta-data", &about)] {
            let path = self.dir.join(name);
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
            self.seed.push((name, path));
        }
        Ok(self)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn fresh_folder(scratch: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = scratch.join(format!("vm-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn write_input(path: &Path, script: &str, app: &Path, inputs: &[(String, PathBuf)]) -> io::Result<()> {
    let mut tar = tar::Builder::new(io::BufWriter::new(File::create(path)?));
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "gristmill/job.sh", script.as_bytes())?;
    for folder in ["in", "app"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        tar.append_data(&mut header, folder, io::empty())?;
    }
    for (name, file) in inputs {
        tar.append_path_with_name(file, Path::new("in").join(name))?;
    }
    if app.is_dir() {
        tar.append_dir_all("app", app)?;
    }
    tar.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.flush()?;
    // Under root, QEMU is another user.
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Arguments and environment, for a shell to read.
fn job_script(attempt: &Attempt<'_>) -> String {
    let job = attempt.job;
    let mut script = String::from("set --");
    for arg in &job.args {
        script.push(' ');
        script.push_str(&quoted(&arg.replace("{task}", &attempt.task.index.to_string())));
    }
    script.push('\n');
    let own = [
        ("GRISTMILL_JOB", attempt.task.job.to_string()),
        ("GRISTMILL_TASK", attempt.task.index.to_string()),
        ("GRISTMILL_WORKER", attempt.worker.to_string()),
        ("GRISTMILL_ATTEMPT", attempt.lease.to_string()),
    ];
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let theirs = job.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let is_name = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    for (name, value) in theirs.chain(own).filter(|(name, _)| is_name(name)) {
        script.push_str(&format!("export {name}={}\n", quoted(value)));
    }
    script
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(super) struct Taken {
    pub(super) status: i32,
    pub(super) out: OutDir,
}

pub(super) enum TakeError {
    Full,
    Archive(String),
}

/// Unpacks what a guest has written to its disk: a stranger's archive, like the layer of an image. What is returned is
/// all that holds it.
pub(super) fn take_out(disk: File, scratch: &Path, bytes_max: u64) -> Result<Taken, TakeError> {
    let said = |error: io::Error| TakeError::Archive(error.to_string());
    let dir = fresh_folder(scratch).map_err(said)?;
    let taken = unpack_plain(disk, &dir, &mut Room::new(bytes_max));
    let opened = || -> io::Result<(String, OwnedFd)> {
        let status = fs::symlink_metadata(dir.join("status"))?;
        let status =
            if status.is_file() && status.len() < 16 { fs::read_to_string(dir.join("status"))? } else { String::new() };
        // Made before the guest's archive could say what it is.
        let flags = nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_CLOEXEC;
        Ok((status, nix::fcntl::open(&dir.join("out"), flags, nix::sys::stat::Mode::empty())?))
    };
    let opened = match taken {
        Ok(()) => opened().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TakeError::Archive("no `status` and `out` on its disk".into()),
            _ => said(error),
        }),
        Err(UnpackError::TooLarge(_) | UnpackError::TooMany) => Err(TakeError::Full),
        Err(error) => Err(TakeError::Archive(error.to_string())),
    };
    let result = opened.and_then(|(status, out)| {
        let status = status.trim().parse().map_err(|_| TakeError::Archive("its status is no number".into()))?;
        Ok(Taken { status, out: OutDir::kept(out, dir.clone()) })
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&dir);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_what_was_said() {
        let hostile = "a'; rm -rf / #$(x) `y` \"\n\\";
        let script = format!("printf %s {}", quoted(hostile));
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        assert_eq!(said, hostile.as_bytes());
    }
}
