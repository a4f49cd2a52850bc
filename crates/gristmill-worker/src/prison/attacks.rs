//! The list of attacks: what each does, how it is shown to work outside, and how its failure is told from its success.

use std::io;

use gristmill_proto::app::Runtime;
use gristmill_proto::outcome::{Exit, Limit};
use nix::libc;
use nix::unistd::geteuid;

use super::HOSTILE_PROGRAM;
use super::cell::{Cell, processes_with};
use super::victims::Victims;
use crate::process::{Finished, STREAM_BYTES_MAX};

pub(super) struct Attack {
    pub(super) target: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What the program is told in the cell.
    pub(super) inside: Vec<String>,
    outside: Outside,
    contained_if: ContainedIf,
}

/// How it is shown that the attack works.
enum Outside {
    /// By whoever the program is in the cell.
    Same(Vec<String>),
    /// By the owner: root's own powers, or those an ordinary user has over his attempts.
    Owner(Vec<String>),
    /// By root alone.
    Root(Vec<String>),
    /// By what it says, more than anyone would keep or show.
    Says(Vec<String>, fn(&[u8]) -> bool),
    /// By a reader who is not careful.
    Careless(fn(&Victims) -> bool),
}

enum ContainedIf {
    Refused,
    /// It is stopped at one of its limits before it has done all it wanted.
    Stopped,
    /// Killed at once by the kernel.
    Killed,
    /// No process with this among its arguments is left.
    Gone(String),
    /// None of these is taken for a file of the job, nor the secret for content.
    NotTaken(&'static [&'static str]),
    /// The program is as it was.
    StillThere(std::path::PathBuf),
    /// The owner's file is as it was.
    Unchanged(String),
    /// What is kept of the output is bounded.
    Bounded,
    /// A terminal gets no control character of it.
    Harmless,
}

impl Attack {
    /// Whether the attack works outside.
    pub(super) fn control(&self, victims: &Victims) -> io::Result<Option<bool>> {
        let mut command = match &self.outside {
            Outside::Same(args) => victims.outside(args),
            Outside::Owner(args) => victims.outside_as_owner(args),
            Outside::Root(args) if geteuid().is_root() => victims.outside_as_owner(args),
            Outside::Root(_) => return Ok(None),
            Outside::Says(args, enough) => {
                return Ok(Some(enough(&victims.outside(args).output()?.stdout)));
            }
            Outside::Careless(falls_for) => return Ok(Some(falls_for(victims))),
        };
        let said = command.output()?.stdout;
        let said = String::from_utf8_lossy(&said);
        Ok(Some(match &self.contained_if {
            // The number it was told to reach.
            ContainedIf::Stopped => said.trim() == "yes" || self.inside.iter().any(|wanted| said.trim() == wanted),
            ContainedIf::Gone(marker) => bury(&processes_with(marker)),
            _ => said.trim() == "yes",
        }))
    }

    pub(super) fn judge(&self, ended: &Finished) -> (bool, String) {
        let said = visible(&ended.stdout.head);
        let seen = if said.is_empty() { ended.exit.to_string() } else { format!("{}; said {said}", ended.exit) };
        let contained = match &self.contained_if {
            ContainedIf::Refused => ended.exit == Exit::Code(0) && said.starts_with("no: "),
            ContainedIf::Stopped => {
                let done = said == "yes" || self.inside.contains(&said);
                !done
                    && (matches!(ended.exit, Exit::Limit(_) | Exit::Signal(_))
                        || said.starts_with("no: ")
                        || ended.exit == Exit::Code(1))
            }
            ContainedIf::Killed => ended.exit == Exit::Signal(libc::SIGSYS),
            ContainedIf::Gone(marker) => processes_with(marker).is_empty(),
            ContainedIf::NotTaken(names) => {
                let named = ended.files.iter().any(|file| names.contains(&file.path.as_str()));
                let taken = ended.files.iter().any(|file| {
                    let content = ended.out.open(&file.path).and_then(io::read_to_string);
                    content.is_ok_and(|content| content.contains("owner"))
                });
                !named && !taken && ended.answer.is_none()
            }
            ContainedIf::StillThere(path) => std::fs::read(path).is_ok_and(|content| content == HOSTILE_PROGRAM),
            ContainedIf::Unchanged(path) => std::fs::read(path).is_ok_and(|content| content == b"the owner's"),
            ContainedIf::Bounded => {
                let kept = ended.stdout.head.len() + ended.stderr.head.len();
                matches!(ended.exit, Exit::Limit(Limit::Output | Limit::Wall)) && kept <= 1 << 20
            }
            ContainedIf::Harmless => !said.contains(char::is_control),
        };
        (contained, seen)
    }
}

fn bury(left: &[u32]) -> bool {
    for pid in left {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    !left.is_empty()
}

/// The first line of what a stranger's program said, for a terminal.
fn visible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.trim_end().lines().next().unwrap_or_default();
    line.chars()
        .take(200)
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

fn with(first: &str, args: &[&str]) -> Vec<String> {
    std::iter::once(first).chain(args.iter().copied()).map(str::to_owned).collect()
}

/// Collects attacks under what they are aimed at.
struct List {
    target: &'static str,
    all: Vec<Attack>,
}

impl List {
    fn aim_at(&mut self, target: &'static str) {
        self.target = target;
    }

    fn add(&mut self, name: &'static str, about: &'static str, inside: &[&str], outside: Outside, judge: ContainedIf) {
        let (target, inside) = (self.target, owned(inside));
        self.all.push(Attack { target, name, about, inside, outside, contained_if: judge });
    }

    /// The same outside, as the same user.
    fn refused(&mut self, name: &'static str, about: &'static str, args: &[&str]) {
        self.add(name, about, args, Outside::Same(owned(args)), ContainedIf::Refused);
    }

    /// Outside as root of namespaces that are the attacker's own.
    fn refused_root(&mut self, name: &'static str, about: &'static str, args: &[&str]) {
        self.add(name, about, args, Outside::Same(with("as-root", args)), ContainedIf::Refused);
    }

    fn refused_real_root(&mut self, name: &'static str, about: &'static str, args: &[&str]) {
        self.add(name, about, args, Outside::Root(owned(args)), ContainedIf::Refused);
    }

    fn stopped(&mut self, name: &'static str, about: &'static str, args: &[&str]) {
        self.add(name, about, args, Outside::Same(owned(args)), ContainedIf::Stopped);
    }
}

pub(super) fn all(victims: &Victims, cell: &Cell, neighbour: u32) -> Vec<Attack> {
    let mut list = List { target: "", all: Vec::new() };
    owners_files(&mut list, victims, neighbour);
    network(&mut list, victims);
    processes(&mut list, victims, neighbour);
    rights(&mut list, victims, cell);
    kernel(&mut list, victims, cell);
    bombs(&mut list);
    results(&mut list, victims);
    list.all
}

fn owners_files(list: &mut List, victims: &Victims, neighbour: u32) {
    list.aim_at("files");
    let secret = &victims.secret();
    list.refused("read-file", "read a file of the owner that everyone may read", &["read", secret]);
    let written = &victims.path("written");
    list.refused("write-file", "write where everyone may write", &["write", written]);
    list.refused("read-passwd", "read who has an account here", &["read", "/etc/passwd"]);
    list.refused("list-folder", "list what the owner has", &["list-any", &victims.path("")]);
    for (name, path) in [("through-init", "/proc/1/root"), ("through-itself", "/proc/self/root/../..")] {
        let inside = format!("{path}{secret}");
        let about = "reach the owner's file by a way around the new root";
        list.add(name, about, &["read", &inside], Outside::Same(owned(&["read", secret])), ContainedIf::Refused);
    }
    let other = &format!("/proc/{neighbour}/root/out/secret");
    list.add(
        "other-attempt",
        "read what another attempt has written",
        &["read", other],
        Outside::Owner(owned(&["read", other])),
        ContainedIf::Refused,
    );
    let escape = &["escape-root", secret];
    list.refused_root("chroot-escape", "leave the root directory by changing it again", escape);
    list.add(
        "write-input",
        "change an input that other attempts see too",
        &["write", "/in/input"],
        Outside::Same(owned(&["write", &victims.path("written")])),
        ContainedIf::Refused,
    );
    list.refused("read-sys", "learn about devices", &["read", "/sys/kernel/uevent_seqnum"]);
    list.refused("watch-files", "be told when a shared file is used", &["watch", "/"]);
    list.add(
        "lease-file",
        "block others who open a shared file",
        &["lease", "/in/input"],
        Outside::Owner(owned(&["lease", secret])),
        ContainedIf::Refused,
    );
}

fn network(list: &mut List, victims: &Victims) {
    list.aim_at("network");
    list.refused("loopback", "reach a service of this machine", &["tcp", &victims.tcp.to_string()]);
    if let Some(port) = victims.tcp_six {
        list.refused("loopback-ipv6", "reach a service of this machine by IPv6", &["tcp-six", &port.to_string()]);
    }
    list.refused("names", "ask a name server", &["ask-names", &victims.names.to_string()]);
    let metadata = &["tcp", "80", "169.254.169.254"];
    list.add(
        "metadata",
        "ask a cloud for the machine's credentials",
        metadata,
        Outside::Same(with("with-metadata", metadata)),
        ContainedIf::Refused,
    );
    list.refused(
        "abstract-socket",
        "reach a desktop's or a daemon's hidden socket",
        &["unix", &victims.abstract_socket],
    );
    list.refused("named-socket", "reach a socket in the file system", &["unix", &victims.path("socket")]);
    let family = |family: i32, kind: i32, protocol: i32| [family, kind, protocol].map(|number| number.to_string());
    for (name, about, [family, kind, protocol]) in [
        ("vsock", "reach the machine's hypervisor", family(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
        ("netlink", "ask the kernel about networks", family(libc::AF_NETLINK, libc::SOCK_RAW, 0)),
        ("alg", "reach the kernel's cryptography", family(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ] {
        list.refused(name, about, &["family", &family, &kind, &protocol]);
    }
    for (name, about, [family, kind, protocol]) in [
        ("packets", "listen to the network", family(libc::AF_PACKET, libc::SOCK_RAW, 0)),
        ("raw-packets", "forge packets", family(libc::AF_INET, libc::SOCK_RAW, 1)),
    ] {
        list.refused_root(name, about, &["family", &family, &kind, &protocol]);
    }
}

fn processes(list: &mut List, victims: &Victims, neighbour: u32) {
    list.aim_at("processes");
    let pid = &victims.process.pid();
    list.refused("signal", "stop a process of the same user", &["signal", pid, "0"]);
    list.refused("ptrace", "take a process of the same user over", &["attach", pid]);
    list.refused("read-memory", "read a process's memory", &["vm-read-of", pid, &victims.address]);
    list.refused("read-environment", "read a process's secrets", &["read", &format!("/proc/{pid}/environ")]);
    list.refused("trace-child", "use the debugger's system call at all", &["trace-child"]);
    list.refused("own-memory", "use the call that reads other processes", &["vm-read"]);
    let other = &neighbour.to_string();
    list.add(
        "signal-attempt",
        "stop another attempt",
        &["signal", other, "0"],
        Outside::Owner(owned(&["signal", other, "0"])),
        ContainedIf::Refused,
    );
    for (name, about, path) in [
        ("kernel-line", "read the kernel's start options", "/proc/cmdline"),
        ("mount-table", "learn the owner's paths", "/proc/self/mountinfo"),
        ("memory-facts", "learn what the machine does", "/proc/meminfo"),
        ("kernel-version", "learn which kernel to attack", "/proc/version"),
        ("own-maps", "learn where the kernel put things", "/proc/self/maps"),
    ] {
        list.refused(name, about, &["read", path]);
    }
    let marker = format!("left-behind-{}", std::process::id());
    let leave = ["leave-behind", marker.as_str()];
    let outside = Outside::Same(owned(&leave));
    list.add("leftovers", "stay after its end", &leave, outside, ContainedIf::Gone(marker.clone()));
    let marker = format!("stays-{}", std::process::id());
    let stay = ["stay", marker.as_str()];
    list.add(
        "unkillable",
        "outlive its time, deaf to every signal, in two sessions",
        &stay,
        Outside::Same(with("left-alone", &stay)),
        ContainedIf::Gone(marker.clone()),
    );
}

fn rights(list: &mut List, victims: &Victims, cell: &Cell) {
    list.aim_at("rights");
    list.refused("setuid-file", "make a program that runs as its user", &["set-id-file", "set-id"]);
    list.refused_root("setuid", "become root", &["set-uid", "0"]);
    for (name, kind) in [("block-device", "block"), ("character-device", "character")] {
        list.refused_real_root(name, "make a device", &["node", name, kind]);
    }
    list.add(
        "mount",
        "mount a file system",
        &["mount", "/tmp"],
        Outside::Same(with("as-root", &["mount", &victims.path("")])),
        ContainedIf::Refused,
    );
    list.add(
        "remount",
        "make a read-only file system writable",
        &["remount", "/in/input"],
        Outside::Root(owned(&["mount-and", "remount"])),
        ContainedIf::Refused,
    );
    list.add(
        "unmount",
        "look below a file system",
        &["unmount", "/proc"],
        Outside::Same(with("as-root", &["mount-and", "unmount"])),
        ContainedIf::Refused,
    );
    list.refused_root("host-name", "rename the machine", &["host-name", "mine"]);
    for (name, flag) in [
        ("user-namespace", libc::CLONE_NEWUSER),
        ("mount-namespace", libc::CLONE_NEWNS),
        ("network-namespace", libc::CLONE_NEWNET),
        ("process-namespace", libc::CLONE_NEWPID),
    ] {
        list.refused_root(name, "win rights in a namespace of its own", &["unshare", &flag.to_string()]);
    }
    list.refused("clone-namespace", "the same by clone", &["clone", &libc::CLONE_NEWUSER.to_string()]);
    list.refused("clone3", "the same where no filter can look", &["clone3"]);
    list.refused_real_root("real-time", "keep the processor from everyone", &["real-time"]);
    list.add(
        "priority",
        "come before the owner's programs",
        &["priority", "0"],
        Outside::Same(owned(&["priority", "0"])),
        ContainedIf::Refused,
    );
    let core = libc::RLIMIT_CORE.to_string();
    list.refused("core-dump", "hand its memory to the host's crash handler", &["limit", &core, "0"]);
    list.refused_real_root("clock", "set the machine's clock", &["clock"]);
    if let Some(group) = own_group() {
        list.refused_real_root("leave-group", "leave the control group that limits it", &["leave-group", &group]);
    }
    // In an image it may write what only it will see.
    let judge = if cell.runtime == Runtime::Container {
        ContainedIf::StillThere(cell.shared_program())
    } else {
        ContainedIf::Refused
    };
    list.add(
        "change-program",
        "change a program that other attempts run",
        &["replace", cell.program()],
        Outside::Same(owned(&["write", &victims.path("written")])),
        judge,
    );
}

/// Where this process's control group takes processes in.
fn own_group() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup"))?.split(' ').nth(4)?.to_owned();
    Some(format!("{mount}/cgroup.procs"))
}

fn kernel(list: &mut List, victims: &Victims, cell: &Cell) {
    list.aim_at("kernel");
    list.refused("keyrings", "put a key into the kernel", &["add-key"]);
    list.refused("session-keys", "read the session's keys", &["read-session-keys"]);
    list.refused("io-uring", "make system calls that no filter sees", &["io-uring"]);
    list.add(
        "execute-memory",
        "run a program that is in no file system",
        &["execute-memory", cell.program()],
        Outside::Same(owned(&["execute-memory", &victims.path("app/hostile")])),
        ContainedIf::Refused,
    );
    // Calls with arguments that do no harm where they work.
    let calls: &[(&'static str, i64, &[i64])] = &[
        ("personality", libc::SYS_personality, &[0xffff_ffff]),
        ("sync", libc::SYS_sync, &[]),
        ("vmsplice", libc::SYS_vmsplice, &[1, 0, 0, 0]),
        ("shared-memory", libc::SYS_shmget, &[0, 4096, 0o1600]),
        ("message-queue", libc::SYS_msgget, &[0, 0o1600]),
        ("handles", libc::SYS_name_to_handle_at, &[-1, 0, 0, 0, 0]),
        ("compare", libc::SYS_kcmp, &[-1, -1, 0, 0, 0]),
        ("enter-namespace", libc::SYS_setns, &[-1, 0]),
        ("pidfd", libc::SYS_pidfd_open, &[1, 0]),
    ];
    for (name, number, arguments) in calls {
        let numbers = std::iter::once(number).chain(*arguments);
        let args: Vec<String> = std::iter::once("call".to_owned()).chain(numbers.map(ToString::to_string)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        list.refused(name, "reach a rarely used part of the kernel", &args);
    }
    if cfg!(target_arch = "x86_64") {
        list.add(
            "foreign-calls",
            "make system calls of another architecture",
            &["foreign"],
            Outside::Same(owned(&["foreign"])),
            ContainedIf::Killed,
        );
    }
}

fn bombs(list: &mut List) {
    list.aim_at("resources");
    list.stopped("fork-bomb", "start processes without end", &["fork-bomb", "200", "end"]);
    list.stopped("thread-bomb", "start threads without end", &["thread-bomb", "200"]);
    let private = libc::MAP_PRIVATE.to_string();
    let shared = libc::MAP_SHARED.to_string();
    list.stopped("memory-bomb", "take memory without end", &["memory-bomb", "300", &private, "500"]);
    list.stopped("shared-memory-bomb", "take shared memory without end", &["memory-bomb", "300", &shared, "500"]);
    list.stopped("memory-by-many", "take memory by many small processes", &["memory-bombs", "8", "40"]);
    list.stopped("descriptor-bomb", "open files without end", &["descriptor-bomb", "3000"]);
    let filled = (32 << 20).to_string();
    for (name, place) in [("disk-bomb", "/out/x"), ("scratch-bomb", "/tmp/x")] {
        let outside = Outside::Same(owned(&["fill", "filled", &filled]));
        list.add(name, "fill the disk", &["fill", place, &filled], outside, ContainedIf::Stopped);
    }
    let outside = Outside::Same(owned(&["inode-bomb", ".", "5000"]));
    list.add("file-bomb", "make files without end", &["inode-bomb", "/tmp", "5000"], outside, ContainedIf::Stopped);
    let gigabyte = (1_u64 << 30).to_string();
    list.add(
        "huge-file",
        "make a file larger than the disk",
        &["sparse", "/out/x", &gigabyte],
        Outside::Same(owned(&["sparse", "sparse", &gigabyte])),
        ContainedIf::Refused,
    );
    for (name, number) in [("output-flood", "1"), ("error-flood", "2"), ("channel-flood", "3")] {
        let much = Outside::Says(owned(&["flood", "1", &(2 * STREAM_BYTES_MAX).to_string()]), |said| {
            said.len() as u64 == 2 * STREAM_BYTES_MAX
        });
        list.add(name, "fill the owner's disk with logs", &["flood", number, &gigabyte], much, ContainedIf::Bounded);
    }
    for (name, processes) in [("endless-loop", "1"), ("endless-loops", "4")] {
        let outside = Outside::Same(owned(&["burn-a-while", processes]));
        list.add(name, "compute for ever", &["burn", processes], outside, ContainedIf::Stopped);
    }
}

fn results(list: &mut List, victims: &Victims) {
    list.aim_at("results");
    let secret = &victims.secret();
    let reads = |victims: &Victims| {
        let link = victims.path("link-to-secret");
        let _ = std::os::unix::fs::symlink(victims.secret(), &link);
        std::fs::read(link).is_ok_and(|content| content == b"the owner's")
    };
    list.add(
        "links",
        "have a file of the owner taken for a result, by links, pipes and odd names",
        &["out-links", secret],
        Outside::Careless(reads),
        ContainedIf::NotTaken(&["to-host", "to-root", "dir/up", "fifo", "socket", "closed"]),
    );
    list.add(
        "answer-link",
        "have a file of the owner taken for the answer",
        &["out-result", "symlink", secret],
        Outside::Careless(reads),
        ContainedIf::NotTaken(&[]),
    );
    list.add(
        "answer-pipe",
        "make whoever reads the answer wait for ever",
        &["out-result", "fifo"],
        Outside::Careless(|victims| {
            let path = victims.path("fifo");
            nix::unistd::mkfifo(path.as_str(), nix::sys::stat::Mode::S_IRWXU).is_ok()
        }),
        ContainedIf::NotTaken(&[]),
    );
    list.add(
        "race",
        "change a folder into a link while it is read",
        &["out-race", victims.path("").trim_end_matches('/')],
        Outside::Careless(reads),
        ContainedIf::NotTaken(&[]),
    );
    list.add(
        "hard-links",
        "have one file counted a hundred times",
        &["out-multiplied", "100", "4194304"],
        Outside::Careless(|victims| {
            let names = (0..100).map(|number| victims.path(&format!("hard-{number}")));
            let sizes = names.map(|name| {
                let _ = std::fs::hard_link(victims.secret(), &name);
                std::fs::metadata(name).map_or(0, |about| about.len())
            });
            sizes.sum::<u64>() > 1000
        }),
        ContainedIf::Stopped,
    );
    list.add(
        "many-files",
        "hand in more files than a pool takes",
        &["out-many", "1001"],
        Outside::Same(owned(&["inode-bomb", ".", "1001"])),
        ContainedIf::Stopped,
    );
    list.add(
        "write-through-link",
        "have the owner's file overwritten through a link",
        &["out-links", secret],
        Outside::Careless(reads),
        ContainedIf::Unchanged(secret.clone()),
    );
    list.add(
        "terminal-escapes",
        "command the terminal of who reads the log",
        &["out-escapes"],
        Outside::Says(owned(&["out-escapes"]), |said| said.contains(&0x1b)),
        ContainedIf::Harmless,
    );
}
