//! What one attempt has: its files, its descriptors, its clock and its luck, and what it has said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use gristmill_proto::message::Stream;
use gristmill_proto::outcome::Log;
use wasmtime::ResourceLimiter;

use super::errno::Errno;
use super::files::{Files, NodeId};
use crate::process::capture::TELL_PAUSE;
use crate::process::progress::{Line, Lines};

/// Descriptors open at once.
pub(super) const HANDLES_MAX: usize = 1_024;
/// Elements of all tables together.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// Every clock starts here, on the first of January 2020, and goes on by a microsecond each time it is read: time is a
/// thing that workers would not agree on.
const CLOCK_START_NS: u64 = 1_577_836_800_000_000_000;
const CLOCK_STEP_NS: u64 = 1_000;

pub(super) struct State {
    pub(super) files: Files,
    pub(super) handles: BTreeMap<u32, Handle>,
    /// Zero-terminated, as the module gets them.
    pub(super) args: Vec<Vec<u8>>,
    pub(super) env: Vec<Vec<u8>>,
    pub(super) stdout: Words,
    pub(super) stderr: Words,
    pub(super) random: blake3::OutputReader,
    pub(super) reports: Lines,
    pub(super) work_done: u64,
    progress: Box<dyn Fn(u64) + Send>,
    clock_ns: u64,
    pub(super) memory: MemoryCount,
}

/// An open descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    Stdin,
    Stdout,
    Stderr,
    Node { node: NodeId, at: u64, append: bool, read: bool, write: bool, shown_as: Option<&'static str> },
}

/// Who hears of an attempt while it runs.
pub(super) struct Hears {
    pub(super) progress: Box<dyn Fn(u64) + Send>,
    pub(super) say: Say,
}

pub(super) type Say = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

impl Hears {
    pub(super) fn nothing() -> Self {
        Self { progress: Box::new(|_| {}), say: Arc::new(|_, _| {}) }
    }
}

/// What a module says: the head is kept and told while it grows, the rest counted.
pub(super) struct Words {
    pub(super) log: Log,
    stream: Stream,
    kept_bytes_max: usize,
    say: Say,
    told: usize,
    tell_at: Instant,
}

impl Words {
    fn new(stream: Stream, kept_bytes_max: usize, say: Say) -> Self {
        Self { log: Log::default(), stream, kept_bytes_max, say, told: 0, tell_at: Instant::now() + TELL_PAUSE }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.kept_bytes_max - self.log.head.len());
        self.log.head.extend_from_slice(&bytes[..kept]);
        self.log.total_bytes += bytes.len() as u64;
        // The module cannot tell whether anybody listens.
        if self.told < self.log.head.len() && Instant::now() >= self.tell_at {
            (self.say)(self.stream, &self.log.head[self.told..]);
            (self.told, self.tell_at) = (self.log.head.len(), Instant::now() + TELL_PAUSE);
        }
    }
}

impl State {
    pub(super) fn new(
        files: Files,
        args: Vec<Vec<u8>>,
        env: Vec<Vec<u8>>,
        kept_bytes_max: usize,
        memory_bytes_max: usize,
        seed: &blake3::Hasher,
        hears: Hears,
    ) -> Self {
        let Hears { progress, say } = hears;
        let words = |stream| Words::new(stream, kept_bytes_max, say.clone());
        let handles = [(0, Handle::Stdin), (1, Handle::Stdout), (2, Handle::Stderr)].into();
        Self {
            files,
            handles,
            args,
            env,
            stdout: words(Stream::Stdout),
            stderr: words(Stream::Stderr),
            random: seed.finalize_xof(),
            reports: Lines::default(),
            work_done: 0,
            progress,
            clock_ns: 0,
            memory: MemoryCount {
                bytes: 0,
                bytes_max: memory_bytes_max,
                elements: 0,
                denied: false,
                denied_now: false,
            },
        }
    }

    pub(super) fn handle(&mut self, fd: u32) -> Result<&mut Handle, Errno> {
        self.handles.get_mut(&fd).ok_or(Errno::BadF)
    }

    pub(super) fn node(&mut self, fd: u32) -> Result<NodeId, Errno> {
        match self.handle(fd)? {
            Handle::Node { node, .. } => Ok(*node),
            _ => Err(Errno::BadF),
        }
    }

    /// Opens a node under the lowest free number.
    pub(super) fn open(&mut self, handle: Handle) -> Result<u32, Errno> {
        if self.handles.len() >= HANDLES_MAX {
            return Err(Errno::MFile);
        }
        let fd = (0..).find(|fd| !self.handles.contains_key(fd)).expect("fewer are open than there are numbers");
        if let Handle::Node { node, .. } = handle {
            self.files.hold(node);
        }
        self.handles.insert(fd, handle);
        Ok(fd)
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        if let Handle::Node { node, .. } = self.handles.remove(&fd).ok_or(Errno::BadF)? {
            self.files.release(node);
        }
        Ok(())
    }

    /// Nanoseconds since the attempt began.
    pub(super) fn monotonic_ns(&mut self) -> u64 {
        self.clock_ns = self.clock_ns.saturating_add(CLOCK_STEP_NS);
        self.clock_ns
    }

    pub(super) fn real_ns(&mut self) -> u64 {
        CLOCK_START_NS.saturating_add(self.monotonic_ns())
    }

    /// A sleep takes no time: the clock is put forward.
    pub(super) fn sleep_until(&mut self, monotonic_ns: u64) {
        self.clock_ns = self.clock_ns.max(monotonic_ns);
    }

    pub(super) fn report(&mut self, bytes: &[u8]) {
        if let Some(Line::Progress { done }) = self.reports.feed(bytes).pop() {
            self.work_done = done;
            (self.progress)(done);
        }
    }
}

/// Memories and tables together.
#[derive(Debug)]
pub(super) struct MemoryCount {
    pub(super) bytes: usize,
    bytes_max: usize,
    elements: usize,
    /// It asked for more than it may have, ever and just now.
    pub(super) denied: bool,
    denied_now: bool,
}

impl MemoryCount {
    fn allows(&mut self, allowed: bool) -> bool {
        self.denied_now = !allowed;
        self.denied |= !allowed;
        allowed
    }
}

impl ResourceLimiter for MemoryCount {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired - current);
        if self.allows(bytes <= self.bytes_max) {
            self.bytes = bytes;
        }
        Ok(!self.denied_now)
    }

    /// The host had less than the job may use. Another worker may have more, so the module must not see it.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if self.denied_now { Ok(()) } else { Err(error) }
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired - current);
        if self.allows(elements <= TABLE_ELEMENTS_MAX) {
            self.elements = elements;
        }
        Ok(!self.denied_now)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if self.denied_now { Ok(()) } else { Err(error) }
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        4
    }
}
