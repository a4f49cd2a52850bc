//! Control groups, version 1 and 2: bounds on memory, processes and cores of a whole sandbox, and what it has used.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_proto::job::Limits;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What the kernel itself needs for a sandbox's namespaces, its first process and its page tables.
const OVERHEAD_BYTES: u64 = 8 << 20;
/// The sandbox's first process.
const OVERHEAD_PROCESSES: u32 = 1;
/// In which the processor time of so many cores is given out.
const PERIOD_US: u64 = 100_000;
/// A group can be removed once the kernel has buried its last process, which it may finish a moment after reaping.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);
const NAME_PREFIX: &str = "gristmill-";

/// Where groups can be made: below the worker's own, so that a limit set on the worker holds for its sandboxes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroups {
    pub(crate) version: Version,
    places: Places,
}

/// One directory per controller; with version 2 they are the same. What only counts or slows may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    memory: PathBuf,
    pids: PathBuf,
    /// Counts processor time.
    cpuacct: Option<PathBuf>,
    /// Limits it.
    cpu: Option<PathBuf>,
    /// Counts what passes between memory and disks. Version 1 counts that only where it is throttled.
    io: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    One,
    Two,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    memory_bytes: u64,
    processes: u32,
    cores: u32,
}

impl Bounds {
    pub(crate) fn of(limits: &Limits, cores: u32) -> Self {
        // Files in `/out` and `/tmp` are memory too, and have their own limit.
        let memory_bytes = limits.memory_bytes.saturating_add(limits.disk_bytes);
        Self { memory_bytes, processes: limits.processes, cores }
    }
}

/// The group of one sandbox. Made by the worker, removed by the launcher, which outlives the sandbox even if the worker
/// does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    version: Version,
    places: Places,
}

/// What a sandbox has used, as far as its group knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) memory_peak_bytes: Option<u64>,
    pub(crate) disk: Option<DiskBytes>,
    /// A process was killed for it.
    pub(crate) out_of_memory: bool,
    /// A process or thread was refused for it.
    pub(crate) out_of_processes: bool,
}

/// Between memory and disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskBytes {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl Cgroups {
    /// Finds a hierarchy that holds this process and in which it may make groups. The error says what is in the way.
    pub(crate) fn find() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("mounts: {error}"))?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("own group: {error}"))?;
        let mounted = Mounted::parse(&mounts, &own);
        let cgroups = mounted.version_one().or_else(|| mounted.version_two()).ok_or(
            "no hierarchy with the memory and pids controllers is mounted, or they are not enabled for this process",
        )?;
        cgroups.sweep();
        // Writing rights are known only by trying.
        let memory = cgroups.places.memory.display();
        let failed = |error| format!("making a group in {memory}: {error}");
        let trial = cgroups.make().map_err(failed)?;
        let bounded = trial.bound(Bounds { memory_bytes: 64 << 20, processes: 8, cores: 1 });
        trial.remove_now();
        bounded.map_err(failed)?;
        Ok(cgroups)
    }

    /// A group without bounds, of the first name that is free in every hierarchy.
    pub(crate) fn make(&self) -> io::Result<Group> {
        let own = std::process::id();
        let mut number = 0_u64;
        loop {
            let name = format!("{NAME_PREFIX}{own}-{number}");
            let group = Group { version: self.version, places: self.places.each(|place| place.join(&name)) };
            match group.create() {
                Ok(()) => return Ok(group),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what a worker that was killed left behind. Groups still in use refuse to go.
    fn sweep(&self) {
        for directory in self.places.directories() {
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

impl Places {
    fn each(&self, place: impl Fn(&PathBuf) -> PathBuf) -> Self {
        Self {
            memory: place(&self.memory),
            pids: place(&self.pids),
            cpuacct: self.cpuacct.as_ref().map(&place),
            cpu: self.cpu.as_ref().map(&place),
            io: self.io.as_ref().map(&place),
        }
    }

    /// Each once.
    fn directories(&self) -> BTreeSet<&PathBuf> {
        let some = [Some(&self.memory), Some(&self.pids), self.cpuacct.as_ref(), self.cpu.as_ref(), self.io.as_ref()];
        some.into_iter().flatten().collect()
    }
}

impl Group {
    /// All directories or none.
    fn create(&self) -> io::Result<()> {
        let mut created = Vec::new();
        for directory in self.places.directories() {
            if let Err(error) = fs::create_dir(directory) {
                created.iter().for_each(|directory| drop(fs::remove_dir(directory)));
                return Err(error);
            }
            created.push(directory);
        }
        Ok(())
    }

    pub(crate) fn bound(&self, bounds: Bounds) -> io::Result<()> {
        let Places { memory: memory_dir, pids, cpu, .. } = &self.places;
        let memory = bounds.memory_bytes.saturating_add(OVERHEAD_BYTES).to_string();
        let processes = bounds.processes.saturating_add(OVERHEAD_PROCESSES).to_string();
        write(&pids.join("pids.max"), &processes)?;
        let quota_us = u64::from(bounds.cores.max(1)) * PERIOD_US;
        match self.version {
            Version::One => {
                write(&memory_dir.join("memory.limit_in_bytes"), &memory)?;
                write_if_there(&memory_dir.join("memory.memsw.limit_in_bytes"), &memory)?;
                let Some(cpu) = cpu else { return Ok(()) };
                write_if_there(&cpu.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
                write_if_there(&cpu.join("cpu.cfs_quota_us"), &quota_us.to_string())
            }
            Version::Two => {
                write(&memory_dir.join("memory.max"), &memory)?;
                write_if_there(&memory_dir.join("memory.swap.max"), "0")?;
                write_if_there(&memory_dir.join("memory.oom.group"), "1")?;
                let Some(cpu) = cpu else { return Ok(()) };
                write_if_there(&cpu.join("cpu.max"), &format!("{quota_us} {PERIOD_US}"))
            }
        }
    }

    /// Puts a process into the group, with all children it will have.
    pub(crate) fn admit(&self, process: Pid) -> io::Result<()> {
        let mut directories = self.places.directories().into_iter();
        directories.try_for_each(|directory| write(&directory.join("cgroup.procs"), &process.to_string()))
    }

    pub(crate) fn cpu_ms(&self) -> Option<u64> {
        let cpu = self.places.cpuacct.as_ref()?;
        match self.version {
            Version::One => read_number(&cpu.join("cpuacct.usage")).map(|nanoseconds| nanoseconds / 1_000_000),
            Version::Two => read_field(&cpu.join("cpu.stat"), "usage_usec").map(|microseconds| microseconds / 1000),
        }
    }

    fn memory_peak_bytes(&self) -> Option<u64> {
        read_number(&self.places.memory.join(match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        }))
    }

    fn disk_bytes(&self) -> Option<DiskBytes> {
        let content = fs::read_to_string(self.places.io.as_ref()?.join("io.stat")).ok()?;
        Some(DiskBytes { read: sum_of_words(&content, "rbytes="), written: sum_of_words(&content, "wbytes=") })
    }

    fn was_out_of_memory(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        read_field(&self.places.memory.join(file), "oom_kill").is_some_and(|kills| kills > 0)
    }

    fn was_out_of_processes(&self) -> bool {
        read_field(&self.places.pids.join("pids.events"), "max").is_some_and(|refusals| refusals > 0)
    }

    /// Kills what is in the group, should the launcher have failed to. Version 1 knows no such thing.
    pub(crate) fn kill(&self) {
        let _ = write_if_there(&self.places.memory.join("cgroup.kill"), "1");
    }

    pub(crate) fn used(&self) -> Used {
        Used {
            disk: self.disk_bytes(),
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
        self.places.directories().into_iter().all(|directory| match fs::remove_dir(directory) {
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

/// The numbers that follow a word, together.
fn sum_of_words(content: &str, word: &str) -> u64 {
    let numbers = content.split(word).skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    numbers.filter_map(|number| number?.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

/// Mounted hierarchies and this process's place in each.
struct Mounted {
    /// Mount point, path of the hierarchy shown there, controllers; version 2 has none.
    mounts: Vec<(PathBuf, PathBuf, Vec<String>)>,
    /// Controllers and path; version 2 has none.
    own: Vec<(Vec<String>, PathBuf)>,
}

impl Mounted {
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
        let places = Places {
            memory: self.directory(Some("memory"))?,
            pids: self.directory(Some("pids"))?,
            cpuacct: self.directory(Some("cpuacct")),
            cpu: self.directory(Some("cpu")),
            io: None,
        };
        Some(Cgroups { version: Version::One, places })
    }

    fn version_two(&self) -> Option<Cgroups> {
        let own = self.directory(None)?;
        let own_place = || Some(own.clone());
        let (memory, pids) = (own.clone(), own.clone());
        let places = Places { memory, pids, cpuacct: own_place(), cpu: own_place(), io: own_place() };
        enable_controllers(&own).then_some(Cgroups { version: Version::Two, places })
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
    let control = own.join("cgroup.subtree_control");
    let enable = || {
        let enabled = write(&control, "+memory +pids");
        // Each for itself: not every worker is given them.
        enabled.inspect(|()| ["+cpu", "+io"].iter().for_each(|more| drop(write(&control, more))))
    };
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
        let found = Mounted::parse(mounts, own).version_one();
        let expected = Cgroups {
            version: Version::One,
            places: Places {
                memory: "/sys/fs/cgroup/memory/a/b".into(),
                pids: "/sys/fs/cgroup/pids/x".into(),
                cpuacct: Some("/sys/fs/cgroup/cpu,cpuacct/".into()),
                cpu: Some("/sys/fs/cgroup/cpu,cpuacct/".into()),
                io: None,
            },
        };
        assert_eq!(expected.places.directories().len(), 3, "a hierarchy of two controllers has one directory");
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn what_passed_to_and_from_disks_is_added_up() {
        let two = "8:0 rbytes=4096 wbytes=100 rios=1 wios=2 dbytes=0 dios=0\n254:0 rbytes=4 wbytes=0\n";
        assert_eq!((sum_of_words(two, "rbytes="), sum_of_words(two, "wbytes=")), (4100, 100));
        assert_eq!(sum_of_words("", "rbytes="), 0);
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
