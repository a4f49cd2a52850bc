//! The process runtime: a native program in the [sandbox](crate::sandbox). One attempt in, one [`Finished`] out.

pub(crate) mod capture;
pub(crate) mod computed;
mod outputs;
pub(crate) mod progress;
pub(crate) mod text;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::maybe_done;
use gristmill_proto::host::HostPort;
use gristmill_proto::id::{LeaseId, TaskId, WorkerId};
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::message::Stream;
use gristmill_proto::outcome::{Exit, LOG_BYTES_MAX, Limit, Log, Usage};
use nix::libc::{SIGXCPU, SIGXFSZ};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::capture::STREAM_BYTES_MAX;
use crate::egress::Gate;
use crate::sandbox::cgroup::Bounds;
pub(crate) use crate::sandbox::out::ListError;
use crate::sandbox::running::{Ended, Running, Streams};
use crate::sandbox::wire::{Spec, Status};
use crate::sandbox::{Part, Sandbox, SandboxError};

pub use self::outputs::Outputs;
pub(crate) use crate::sandbox::out::OutDir;
pub use crate::sandbox::out::OutFile;

/// How often the processor time of all processes together is compared with its limit.
const CPU_TICK: Duration = Duration::from_millis(100);
/// What is left in a pipe when its writers are dead is read in no time.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// One execution of a task.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub job: &'a JobSpec,
    pub task: TaskId,
    /// Of a search, the work units to do.
    pub work: u64,
    pub lease: LeaseId,
    pub worker: WorkerId,
    /// Unpacked files of the app, shown as `/app`. Everyone must be able to read them, and the inputs, because under
    /// root the app runs as another user. (Directories above may be closed.)
    pub app_dir: &'a Path,
    /// The program, below `app_dir`.
    pub entry: &'a str,
    /// Path below `/in`, and the file to show there.
    pub inputs: &'a [(String, PathBuf)],
    /// The task's lines of files, by their names in the job's array.
    pub lines: &'a [(String, String)],
    /// The hosts that the app may reach.
    pub hosts: &'a [HostPort],
}

/// What an attempt that ran came to.
#[derive(Debug)]
pub struct Finished {
    pub exit: Exit,
    /// Of `/out/result`; like `files` only after exit status 0.
    pub answer: Option<Vec<u8>>,
    pub files: Vec<OutFile>,
    /// Holds `files` until dropped.
    pub out: Outputs,
    pub stdout: Log,
    pub stderr: Log,
    pub usage: Usage,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cancelled")]
    Cancelled,
    /// The job asks for what no worker can do.
    #[error("{0}")]
    Job(String),
    /// Not a program that this machine can execute.
    #[error(
        "error: cannot execute {0}: programs must be made for this processor, and be static or bring what they need"
    )]
    Program(String),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("reading /out: {0}")]
    Out(std::io::Error),
    #[error("making the disks of a virtual machine: {0}")]
    Disks(std::io::Error),
}

/// Why an attempt did not come to its own end.
enum Stop {
    Cancelled,
    Over(Limit),
}

/// Runs an attempt to its end, whatever ends it; afterwards none of its processes is alive. `progress` hears the app's
/// count of work units, at most some twenty times a second. Dropping the future kills the attempt too.
pub async fn run(
    sandbox: &Sandbox,
    attempt: &Attempt<'_>,
    progress: impl Fn(u64) + Send,
    cancel: CancellationToken,
) -> Result<Finished, RunError> {
    run_on(sandbox, attempt, progress, cancel, |_| {}).await
}

/// The same on another ground than the app's own files: `stand` changes what a native program would be given.
pub(crate) async fn run_on(
    sandbox: &Sandbox,
    attempt: &Attempt<'_>,
    progress: impl Fn(u64) + Send,
    cancel: CancellationToken,
    stand: impl FnOnce(&mut Spec),
) -> Result<Finished, RunError> {
    run_aloud(sandbox, attempt, progress, |_, _| {}, cancel, stand).await
}

/// The same; `say` hears what the app says while it runs, a few times a second.
pub(crate) async fn run_aloud(
    sandbox: &Sandbox,
    attempt: &Attempt<'_>,
    progress: impl Fn(u64) + Send,
    say: impl Fn(Stream, &[u8]) + Send + Sync,
    cancel: CancellationToken,
    stand: impl FnOnce(&mut Spec),
) -> Result<Finished, RunError> {
    let limits = &attempt.job.limits;
    let mut spec = sandbox.walls(limits);
    text::describe(attempt, &mut spec).map_err(RunError::Job)?;
    stand(&mut spec);
    let started = Instant::now();
    let gate = (!attempt.hosts.is_empty()).then(|| Gate::to(attempt.hosts));
    let (mut running, streams) = sandbox.start(spec, Bounds::of(limits, attempt.job.resources.cores), gate.clone())?;

    let flooded = Notify::new();
    let dead = CancellationToken::new();
    let mut pumps = Box::pin(maybe_done(pump(streams, limits, (progress, say), &flooded, &dead)));
    let stop = tokio::select! {
        biased;
        stop = run_to_end(&mut running, limits.cpu_ms) => stop,
        () = cancel.cancelled() => Some(Stop::Cancelled),
        () = tokio::time::sleep(Duration::from_millis(limits.wall_ms)) => Some(Stop::Over(Limit::Wall)),
        () = flooded.notified() => Some(Stop::Over(Limit::Output)),
        // An app may close its streams and go on.
        () = async { (&mut pumps).await; std::future::pending().await } => unreachable!("pending for ever"),
    };
    let mut ended = running.bury().await;
    dead.cancel();
    let wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let _ = tokio::time::timeout(STREAM_PATIENCE, &mut pumps).await;
    let (stdout, stderr, work_done) = pumps.as_mut().take_output().unwrap_or_default();

    if let Some(error) = ended.failed.take() {
        return Err(match error {
            SandboxError::Part { part: Part::Program, reason } => RunError::Program(reason),
            error => RunError::Sandbox(error),
        });
    }
    let mut out = OutDir::new(ended.out.take().ok_or(SandboxError::Silent)?);
    let mut exit = match stop {
        Some(Stop::Cancelled) => return Err(RunError::Cancelled),
        Some(Stop::Over(limit)) => Exit::Limit(limit),
        // It may have died of the closed stream before it was killed.
        None if [&stdout, &stderr].iter().any(|log| log.total_bytes > STREAM_BYTES_MAX) => Exit::Limit(Limit::Output),
        None => judge(&ended, &out)?,
    };
    let mut listing = Default::default();
    if exit == Exit::Code(0) {
        let disk_bytes = limits.disk_bytes;
        // Tens of thousands of names are an app's to make, and take a while.
        let listed = tokio::task::spawn_blocking(move || (out.list(disk_bytes), out)).await;
        let listed = listed.map_err(|error| RunError::Out(error.into()))?;
        out = listed.1;
        match listed.0 {
            Ok(found) => listing = found,
            Err(ListError::Over(limit)) => exit = Exit::Limit(limit),
            Err(ListError::Io(error)) => return Err(RunError::Out(error)),
        }
    }
    let Ended { cpu_ms, memory_peak_bytes, disk, .. } = ended;
    let (network_received_bytes, network_sent_bytes) = gate.map_or((0, 0), |gate| gate.passed());
    let usage = Usage {
        wall_ms,
        cpu_ms,
        memory_peak_bytes,
        work_done,
        disk_read_bytes: disk.read,
        disk_written_bytes: disk.written,
        network_received_bytes,
        network_sent_bytes,
        ..Usage::default()
    };
    let (answer, out) = (listing.answer.or_else(|| out.computed_answer(&listing.files)), Outputs::Folder(out));
    Ok(Finished { exit, answer, files: listing.files, out, stdout, stderr, usage })
}

async fn pump(
    streams: Streams,
    limits: &Limits,
    (progress, say): (impl Fn(u64) + Send, impl Fn(Stream, &[u8]) + Send + Sync),
    flooded: &Notify,
    dead: &CancellationToken,
) -> (Log, Log, u64) {
    let kept = usize::try_from(limits.log_bytes).unwrap_or(usize::MAX).min(LOG_BYTES_MAX);
    tokio::join!(
        capture::capture(streams.stdout, kept, flooded, |bytes| say(Stream::Stdout, bytes)),
        capture::capture(streams.stderr, kept, flooded, |bytes| say(Stream::Stderr, bytes)),
        progress::follow(streams.channel, progress, dead)
    )
}

async fn run_to_end(running: &mut Running, cpu_ms_max: u64) -> Option<Stop> {
    loop {
        tokio::select! {
            biased;
            () = running.all_dead() => return None,
            () = tokio::time::sleep(CPU_TICK) => {}
        }
        if running.cpu_ms().is_some_and(|used| used > cpu_ms_max) {
            return Some(Stop::Over(Limit::Cpu));
        }
    }
}

/// The exit of an app that nobody stopped. A limit is named if it was met and the app did not come through.
fn judge(ended: &Ended, out: &OutDir) -> Result<Exit, SandboxError> {
    if let Some(limit) = ended.over {
        return Ok(Exit::Limit(limit));
    }
    Ok(match ended.status {
        Some(Status::Code(0)) => Exit::Code(0),
        _ if ended.out_of_memory => Exit::Limit(Limit::Memory),
        Some(Status::Signal(SIGXCPU)) => Exit::Limit(Limit::Cpu),
        Some(Status::Signal(SIGXFSZ)) => Exit::Limit(Limit::Disk),
        Some(_) if out.is_full() => Exit::Limit(Limit::Disk),
        Some(_) if ended.out_of_processes => Exit::Limit(Limit::Processes),
        Some(Status::Code(code)) => Exit::Code(code),
        Some(Status::Signal(signal)) => Exit::Signal(signal),
        None => return Err(SandboxError::Silent),
    })
}
