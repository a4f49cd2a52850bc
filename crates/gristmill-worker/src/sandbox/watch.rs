//! What a memory and a process control group would do, on a host that gives none: the sandbox's first process looks
//! at all others a few times a second. Coarser than a control group: between two looks an app can overshoot, and kernel
//! memory (sockets, pipes, page tables) is not seen.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use gristmill_proto::outcome::Limit;
use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::stat::Mode;
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

use super::syscall::share_memory;
use super::wire::Watched;

pub(super) const TICK_MS: u8 = 25;

pub(super) struct Watch {
    /// A procfs that shows the sandbox's processes.
    proc: OwnedFd,
    memory_bytes_max: u64,
    cpu_ms_max: u64,
    processes_max: u64,
    ticks_per_second: u64,
    pub(super) watched: Watched,
}

#[derive(Default)]
struct Seen {
    memory_bytes: u64,
    cpu_ticks: u64,
    threads: u64,
}

impl Watch {
    pub(super) fn new(proc: OwnedFd, memory_bytes_max: u64, cpu_ms_max: u64, processes_max: u32) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| ticks.try_into().ok());
        Self {
            proc,
            memory_bytes_max,
            cpu_ms_max,
            processes_max: processes_max.into(),
            ticks_per_second: ticks.unwrap_or(100),
            watched: Watched::default(),
        }
    }

    /// The limit that all processes together are over.
    pub(super) fn look(&mut self) -> Option<Limit> {
        let seen = self.see(MemoryOf::Mapped);
        // The one that is not counted may have just ended for want of more.
        self.watched.processes_met |= seen.threads + 1 >= self.processes_max;
        let peak = &mut self.watched.memory_peak_bytes;
        *peak = seen.memory_bytes.max(*peak);
        if self.cpu_ms(&seen) > self.cpu_ms_max {
            return Some(Limit::Cpu);
        }
        // What processes share is counted for each of them at first, and looked at more closely, which takes the kernel
        // longer, only when that matters.
        let over = seen.memory_bytes > self.memory_bytes_max
            && self.see(MemoryOf::Shares).memory_bytes > self.memory_bytes_max;
        over.then_some(Limit::Memory)
    }

    fn cpu_ms(&self, seen: &Seen) -> u64 {
        let buried = getrusage(UsageWho::RUSAGE_CHILDREN)
            .map_or(0, |usage| usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds());
        seen.cpu_ticks * 1000 / self.ticks_per_second + buried.cast_unsigned()
    }

    /// Adds up all processes but this one.
    fn see(&self, memory: MemoryOf) -> Seen {
        let mut seen = Seen::default();
        let Ok(mut entries) = Dir::openat(self.proc.as_fd(), ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        else {
            return seen;
        };
        for entry in entries.iter().flatten() {
            let name = entry.file_name().to_str().unwrap_or_default();
            // A process that ended since is missing its files.
            if let Some(pid) = name.parse::<u32>().ok().filter(|pid| *pid != 1) {
                self.add(pid, memory, &mut seen);
            }
        }
        seen
    }

    fn add(&self, pid: u32, memory: MemoryOf, seen: &mut Seen) {
        let Some(status) = self.read(pid, "status") else { return };
        seen.threads += field(&status, "Threads:").unwrap_or(1);
        seen.cpu_ticks += self.read(pid, "stat").map_or(0, |stat| cpu_ticks(&stat));
        let shares = match memory {
            MemoryOf::Mapped => None,
            MemoryOf::Shares if field(&status, "PPid:").is_some_and(|parent| share_memory(pid, parent as u32)) => {
                return;
            }
            MemoryOf::Shares => self.read(pid, "smaps_rollup"),
        };
        let (content, names) = match &shares {
            Some(shares) => (shares, ["Pss_Anon:", "Pss_Shmem:"]),
            None => (&status, ["RssAnon:", "RssShmem:"]),
        };
        let kibibytes = |content, name| field(content, name).unwrap_or(0);
        let page_tables = kibibytes(&status, "VmPTE:");
        seen.memory_bytes += names.map(|name| kibibytes(content, name)).iter().sum::<u64>() * 1024 + page_tables * 1024;
    }

    fn read(&self, pid: u32, file: &str) -> Option<String> {
        let path = format!("{pid}/{file}");
        let opened =
            openat(self.proc.as_fd(), path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        let mut content = Vec::new();
        std::fs::File::from(opened).read_to_end(&mut content).ok()?;
        // The process's name may be any bytes.
        Some(String::from_utf8_lossy(&content).into_owned())
    }
}

#[derive(Clone, Copy)]
enum MemoryOf {
    /// Whatever a process maps.
    Mapped,
    /// Of what several map, each its part.
    Shares,
}

/// The number after `name` at the start of a line.
fn field(content: &str, name: &str) -> Option<u64> {
    let line = content.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time of a process and of its children that have been waited for.
fn cpu_ticks(stat: &str) -> u64 {
    // The second field is the name in brackets, and may hold brackets and spaces.
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0 };
    rest.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_named_to_confuse_is_counted() {
        let stat = "7 (a) R 1 2) S 1 2 2 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 1 0 12345 1000";
        assert_eq!(cpu_ticks(stat), 110);
    }

    #[test]
    fn fields_are_found_at_line_starts_only() {
        let status = "Name:\tRssAnon: 5\nThreads:\t3\nRssAnon:\t      96 kB\n";
        assert_eq!(
            (field(status, "RssAnon:"), field(status, "Threads:"), field(status, "VmPTE:")),
            (Some(96), Some(3), None)
        );
    }
}
