//! Control groups, version 1 and 2: bounds on memory and processes of a whole sandbox, and what it has used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What the kernel itself needs for a sandbox's namespaces, its first process and its page tables.
const OVERHEAD_BYTES: u64 = 8 << 20;
/// The sandbox's first process.
const OVERHEAD_PROCESSES: u32 = 1;
/// A group can be removed once the kernel has buried its last process, which it may finish a moment after reaping.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);
const NAME_PREFIX: &str = "gristmill-";

/// Where groups can be made: below the worker's own, so that a limit set on the worker holds for its sandboxes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroups {
    pub(crate) version: Version,
    memory: PathBuf,
    pids: PathBuf,
    /// Version 1 counts processor time in a hierarchy of its own, which may be missing.
    cpu: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    One,
    Two,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes: u64,
    pub(crate) processes: u32,
}

/// The group of one sandbox. One directory per hierarchy; with version 2 they are the same. Made by the worker, removed
/// by the launcher, which outlives the sandbox even if the worker does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    version: Version,
    memory: PathBuf,
    pids: PathBuf,
    cpu: Option<PathBuf>,
}

/// What a sandbox has used, as far as its group knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) memory_peak_bytes: Option<u64>,
    /// A process was killed for it.
    pub(crate) out_of_memory: bool,
    /// A process or thread was refused for it.
    pub(crate) out_of_processes: bool,
}

impl Cgroups {
    /// Finds a hierarchy that holds this process and in which it may make groups. The error says what is in the way.
    pub(crate) fn find() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("mounts: {error}"))?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("own group: {error}"))?;
        let places = Places::parse(&mounts, &own);
        let cgroups = places.version_one().or_else(|| places.version_two()).ok_or(
            "no hierarchy with the memory and pids controllers is mounted, or they are not enabled for this process",
        )?;
        cgroups.sweep();
        // Writing rights are known only by trying.
        let trial = cgroups.make(Bounds { memory_bytes: 64 << 20, processes: 8 });
        trial.map_err(|error| format!("making a group in {}: {error}", cgroups.memory.display()))?.remove_now();
        Ok(cgroups)
    }

    pub(crate) fn make(&self, bounds: Bounds) -> io::Result<Group> {
        let group = self.claim()?;
        match group.set_up(bounds) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove_now();
                Err(error)
            }
        }
    }

    /// Makes the directories of the first name that is free in every hierarchy.
    fn claim(&self) -> io::Result<Group> {
        let own = std::process::id();
        let mut number = 0_u64;
        loop {
            let name = format!("{NAME_PREFIX}{own}-{number}");
            let group = Group {
                version: self.version,
                memory: self.memory.join(&name),
                pids: self.pids.join(&name),
                cpu: self.cpu.as_ref().map(|cpu| cpu.join(&name)),
            };
            match group.create() {
                Ok(()) => return Ok(group),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what a worker that was killed left behind. Groups still in use refuse to go.
    fn sweep(&self) {
        for directory in [Some(&self.memory), Some(&self.pids), self.cpu.as_ref()].into_iter().flatten() {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| is_left_behind(&entry.file_name().to_string_lossy())) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

fn is_left_behind(name: &str) -> bool {
    let owner = name.strip_prefix(NAME_PREFIX).and_then(|rest| rest.split_once('-')).map(|(owner, _)| owner);
    owner.is_some_and(|owner| owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists())
}

impl Group {
    /// All directories or none.
    fn create(&self) -> io::Result<()> {
        let mut created = Vec::new();
        for directory in self.directories() {
            if let Err(error) = fs::create_dir(directory) {
                created.iter().for_each(|directory| drop(fs::remove_dir(directory)));
                return Err(error);
            }
            created.push(directory);
        }
        Ok(())
    }

    fn set_up(&self, bounds: Bounds) -> io::Result<()> {
        let memory = bounds.memory_bytes.saturating_add(OVERHEAD_BYTES).to_string();
        let processes = bounds.processes.saturating_add(OVERHEAD_PROCESSES).to_string();
        write(&self.pids.join("pids.max"), &processes)?;
        match self.version {
            Version::One => {
                write(&self.memory.join("memory.limit_in_bytes"), &memory)?;
                write_if_there(&self.memory.join("memory.memsw.limit_in_bytes"), &memory)
            }
            Version::Two => {
                write(&self.memory.join("memory.max"), &memory)?;
                write_if_there(&self.memory.join("memory.swap.max"), "0")?;
                write_if_there(&self.memory.join("memory.oom.group"), "1")
            }
        }
    }

    /// Puts a process into the group, with all children it will have.
    pub(crate) fn admit(&self, process: Pid) -> io::Result<()> {
        self.directories().try_for_each(|directory| write(&directory.join("cgroup.procs"), &process.to_string()))
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        let others = [Some(&self.pids), self.cpu.as_ref()].into_iter().flatten();
        std::iter::once(&self.memory).chain(others.filter(|directory| **directory != self.memory))
    }

    pub(crate) fn cpu_ms(&self) -> Option<u64> {
        let cpu = self.cpu.as_ref()?;
        match self.version {
            Version::One => read_number(&cpu.join("cpuacct.usage")).map(|nanoseconds| nanoseconds / 1_000_000),
            Version::Two => read_field(&cpu.join("cpu.stat"), "usage_usec").map(|microseconds| microseconds / 1000),
        }
    }

    fn memory_peak_bytes(&self) -> Option<u64> {
        read_number(&self.memory.join(match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        }))
    }

    fn was_out_of_memory(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        read_field(&self.memory.join(file), "oom_kill").is_some_and(|kills| kills > 0)
    }

    fn was_out_of_processes(&self) -> bool {
        read_field(&self.pids.join("pids.events"), "max").is_some_and(|refusals| refusals > 0)
    }

    /// Kills what is in the group, should the launcher have failed to. Version 1 knows no such thing.
    pub(crate) fn kill(&self) {
        let _ = write_if_there(&self.memory.join("cgroup.kill"), "1");
    }

    pub(crate) fn used(&self) -> Used {
        Used {
            cpu_ms: self.cpu_ms(),
            memory_peak_bytes: self.memory_peak_bytes(),
            out_of_memory: self.was_out_of_memory(),
            out_of_processes: self.was_out_of_processes(),
        }
    }

    /// Waits for the kernel where it must: only the launcher may.
    pub(crate) fn remove(&self) {
        for _ in 0..REMOVE_TRIES {
            if self.remove_now() {
                return;
            }
            std::thread::sleep(REMOVE_PAUSE);
        }
    }

    fn remove_now(&self) -> bool {
        self.directories().all(|directory| match fs::remove_dir(directory) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
    }
}

/// Not `fs::write`, which would create the file where the kernel has none.
fn write(file: &Path, content: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut opened| opened.write_all(content.as_bytes()))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn write_if_there(file: &Path, content: &str) -> io::Result<()> {
    match write(file, content) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn read_field(file: &Path, name: &str) -> Option<u64> {
    let content = fs::read_to_string(file).ok()?;
    let mut fields = content.lines().filter_map(|line| line.split_once(' '));
    fields.find(|(field, _)| *field == name)?.1.trim().parse().ok()
}

/// Mounted hierarchies and this process's place in each.
struct Places {
    /// Mount point, path of the hierarchy shown there, controllers; version 2 has none.
    mounts: Vec<(PathBuf, PathBuf, Vec<String>)>,
    /// Controllers and path; version 2 has none.
    own: Vec<(Vec<String>, PathBuf)>,
}

impl Places {
    fn parse(mountinfo: &str, own: &str) -> Self {
        let words = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let mounts = mountinfo
            .lines()
            .filter_map(|line| {
                let (left, right) = line.split_once(" - ")?;
                let left: Vec<&str> = left.split(' ').collect();
                let right: Vec<&str> = right.split(' ').collect();
                let controllers = match *right.first()? {
                    "cgroup" => words(right.get(2)?),
                    "cgroup2" => Vec::new(),
                    _ => return None,
                };
                Some((PathBuf::from(left.get(4)?), PathBuf::from(left.get(3)?), controllers))
            })
            .collect();
        let own = own
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                Some((words(fields.next()?), PathBuf::from(fields.next()?)))
            })
            .collect();
        Self { mounts, own }
    }

    fn version_one(&self) -> Option<Cgroups> {
        Some(Cgroups {
            version: Version::One,
            memory: self.directory(Some("memory"))?,
            pids: self.directory(Some("pids"))?,
            cpu: self.directory(Some("cpuacct")),
        })
    }

    fn version_two(&self) -> Option<Cgroups> {
        let own = self.directory(None)?;
        enable_controllers(&own).then(|| Cgroups {
            version: Version::Two,
            memory: own.clone(),
            pids: own.clone(),
            cpu: Some(own),
        })
    }

    /// This process's directory in the hierarchy of a controller, or in that of version 2.
    fn directory(&self, controller: Option<&str>) -> Option<PathBuf> {
        let is_it = |controllers: &[String]| match controller {
            Some(controller) => controllers.iter().any(|one| one == controller),
            None => controllers.is_empty(),
        };
        let (_, own) = self.own.iter().find(|(controllers, _)| is_it(controllers))?;
        let (mount, root, _) = self.mounts.iter().find(|(_, _, controllers)| is_it(controllers))?;
        // In a container the hierarchy may be shown from some path down.
        let below = own.strip_prefix(root).or_else(|_| own.strip_prefix("/")).ok()?;
        Some(mount.join(below))
    }
}

/// Version 2 wants a group's processes at its leaves: a group that gives controllers to children may hold none itself,
/// unless it is the root.
fn enable_controllers(own: &Path) -> bool {
    let has = |file: &str| {
        let content = fs::read_to_string(own.join(file)).unwrap_or_default();
        ["memory", "pids"].iter().all(|wanted| content.split_whitespace().any(|word| word == *wanted))
    };
    if !has("cgroup.controllers") {
        return false;
    }
    if has("cgroup.subtree_control") {
        return true;
    }
    let enable = || write(&own.join("cgroup.subtree_control"), "+memory +pids");
    if enable().is_ok() {
        return true;
    }
    // Alone in a delegated group: step aside into a leaf.
    let pid = std::process::id().to_string();
    let alone = fs::read_to_string(own.join("cgroup.procs")).is_ok_and(|procs| procs.trim() == pid);
    let leaf = own.join("worker");
    alone
        && (leaf.exists() || fs::create_dir(&leaf).is_ok())
        && write(&leaf.join("cgroup.procs"), &pid).is_ok()
        && enable().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_directories_are_found_in_separate_hierarchies() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/docker/abc/x\n1:name=systemd:/\n0::/\n";
        let found = Places::parse(mounts, own).version_one();
        let expected = Cgroups {
            version: Version::One,
            memory: "/sys/fs/cgroup/memory/a/b".into(),
            pids: "/sys/fs/cgroup/pids/x".into(),
            cpu: Some("/sys/fs/cgroup/cpu,cpuacct/".into()),
        };
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn a_group_of_a_dead_worker_is_left_behind() {
        assert!(is_left_behind("gristmill-4194305-0"));
        let own = std::process::id();
        for name in [&format!("gristmill-{own}-0"), "gristmill-x-0", "system.slice", "gristmill-4194305"] {
            assert!(!is_left_behind(name), "{name}");
        }
    }
}
