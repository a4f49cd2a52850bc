//! The wasm runtime: a module with WASI preview 1, in this process. The same task gives the same outputs and uses the
//! same fuel on every worker: no threads, no host clock, no host randomness, one form of not-a-number.
//!
//! [`Wasm`] is made once. `modules` compiles, `state` is what one attempt has, `wasi` what it can call, `files` what it
//! sees. `docs/adr/0018` says why this is not in a sandbox of its own.

mod errno;
mod files;
mod modules;
mod state;
mod wasi;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gristmill_proto::digest::Digest;
use gristmill_proto::job::Limits;
use gristmill_proto::message::Stream;
use gristmill_proto::outcome::{
    ANSWER_BYTES_MAX, Exit, LOG_BYTES_MAX, Limit, OUTPUT_FILES_MAX, OUTPUT_PATHS_BYTES_MAX, Usage,
};
use gristmill_proto::receipt::digest_of_job;
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime as Threads;
use tokio_util::sync::CancellationToken;
use wasmtime::{Config, Engine, InstancePre, Linker, OptLevel, Store, Trap};

use self::errno::Errno;
use self::files::{Files, Given, Kind};
use self::modules::{LoadError, Modules};
use self::state::{Handle, Hears, State};
use crate::process::capture::STREAM_BYTES_MAX;
use crate::process::{Attempt, Finished, OutFile, Outputs, RunError, computed, text};

/// Fuel between two looks at clock and limits: less than a millisecond.
const FUEL_SLICE: u64 = 10_000_000;
/// Depth of calls, in bytes. Frames differ between processors, so a module that goes deeper than this fails on some.
const STACK_BYTES: usize = 1 << 20;
/// With room for the worker's own functions.
const FIBER_STACK_BYTES: usize = STACK_BYTES + (1 << 20);
/// The machine's owner comes first.
const NICE: i32 = 19;
/// What shells say of a program that aborted.
const TRAPPED: i32 = 134;
const REASON_LENGTH_MAX: usize = 300;
/// Of the first folder that is shown, where relative paths begin.
const OUT_FD: u32 = 3;

pub struct Wasm {
    modules: Arc<Modules>,
    /// Threads of low priority, on which modules run in turns.
    threads: Option<Threads>,
}

/// How a module's code is made. Everything that an outcome could depend on is fixed; the rest may differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Compile fast and run slowly.
    pub unoptimised: bool,
    /// For wasmtime's own interpreter instead of this machine's processor; where [`INTERPRETER`] says that it is here.
    pub interpreted: bool,
    /// Do not count steps; for comparison only, nothing then ends an endless loop.
    pub unmetered: bool,
}

pub const INTERPRETER: bool = cfg!(feature = "interpreter");

#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    #[error("the wasm engine: {0}")]
    Engine(String),
    #[error("the folder for compiled modules: {0}")]
    Folder(io::Error),
}

/// A module, and the files it finds below `/app`: itself is one of them.
#[derive(Clone, Debug)]
pub struct Program {
    pub digest: Digest,
    pub files: Vec<(String, PathBuf)>,
}

/// A checker's word on a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Accepted,
    /// And what it said.
    Rejected(String),
}

/// A folder that a module is shown, read only.
struct Shown<'a> {
    name: &'static str,
    files: &'a [(String, PathBuf)],
}

fn engine(settings: Settings) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .consume_fuel(!settings.unmetered)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .cranelift_opt_level(if settings.unoptimised { OptLevel::None } else { OptLevel::Speed })
        .wasm_backtrace_max_frames(None);
    if settings.interpreted {
        config.target("pulley64")?;
    }
    Engine::new(&config)
}

impl Wasm {
    /// Compiled modules are kept in `dir`, sealed with a secret of this worker.
    pub fn open(dir: &Path, secret: [u8; 32], threads: u32, settings: Settings) -> Result<Self, WasmError> {
        let failed = |error: wasmtime::Error| WasmError::Engine(format!("{error:#}"));
        let engine = engine(settings).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasi::add_to(&mut linker).map_err(failed)?;
        let modules = Modules::new(engine, linker, dir.to_owned(), secret).map_err(WasmError::Folder)?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(usize::try_from(threads.max(1)).unwrap_or(1))
            .thread_name("wasm")
            .on_thread_start(|| crate::sandbox::set_nice(NICE).unwrap_or_default())
            .enable_time()
            .build()
            .map_err(WasmError::Folder)?;
        Ok(Self { modules: Arc::new(modules), threads: Some(threads) })
    }

    fn threads(&self) -> &Threads {
        self.threads.as_ref().expect("there until dropped")
    }

    /// Runs an attempt to its end, whatever ends it.
    pub async fn run(
        &self,
        attempt: &Attempt<'_>,
        program: &Program,
        progress: impl Fn(u64) + Send + 'static,
        cancel: CancellationToken,
    ) -> Result<Finished, RunError> {
        self.run_aloud(attempt, program, progress, |_, _| {}, cancel).await
    }

    /// The same; `say` hears what the module says while it runs, a few times a second.
    pub(crate) async fn run_aloud(
        &self,
        attempt: &Attempt<'_>,
        program: &Program,
        progress: impl Fn(u64) + Send + 'static,
        say: impl Fn(Stream, &[u8]) + Send + Sync + 'static,
        cancel: CancellationToken,
    ) -> Result<Finished, RunError> {
        let hears = Hears { progress: Box::new(progress), say: Arc::new(say) };
        self.run_beside(attempt, program, &[], hears, cancel).await
    }

    /// Lets an app's checker judge a result: a module that finds the result's files below `/result` and everything
    /// else as the app did, and ends with 0 if it accepts it, with 1 if not.
    pub async fn judge(
        &self,
        attempt: &Attempt<'_>,
        checker: &Program,
        result: &[(String, PathBuf)],
        cancel: CancellationToken,
    ) -> Result<Judged, RunError> {
        let finished = self.run_beside(attempt, checker, result, Hears::nothing(), cancel).await?;
        let said = String::from_utf8_lossy(&finished.stdout.head).trim().chars().take(REASON_LENGTH_MAX).collect();
        match finished.exit {
            Exit::Code(0) => Ok(Judged::Accepted),
            Exit::Code(1) => Ok(Judged::Rejected(said)),
            exit => Err(RunError::Program(format!("error: the checker itself failed: {exit}"))),
        }
    }

    async fn run_beside(
        &self,
        attempt: &Attempt<'_>,
        program: &Program,
        result: &[(String, PathBuf)],
        hears: Hears,
        cancel: CancellationToken,
    ) -> Result<Finished, RunError> {
        let told = text::tell(attempt, text::To::Module).map_err(RunError::Job)?;
        let mut seed = blake3::Hasher::new_derive_key("gristmill wasm task v1");
        seed.update(&digest_of_job(attempt.job).0).update(&attempt.task.index.to_le_bytes());
        let shown = [
            Shown { name: "/in", files: attempt.inputs },
            Shown { name: "/app", files: &program.files },
            Shown { name: "/result", files: result },
        ];
        let ready = self.ready(program.digest, &attempt.app_dir.join(attempt.entry)).await?;
        let limits = attempt.job.limits.clone();
        let state = prepare(&limits, told, attempt.entry, &shown, &seed, hears)?;
        let running = self.threads().spawn(run(ready, state, limits, cancel));
        running.await.map_err(|error| RunError::Program(format!("the wasm engine failed: {error}")))?
    }

    async fn ready(&self, module: Digest, path: &Path) -> Result<InstancePre<State>, RunError> {
        if let Some(ready) = self.modules.loaded(module) {
            return Ok(ready);
        }
        let (modules, path) = (self.modules.clone(), path.to_owned());
        let loaded = self.threads().spawn_blocking(move || modules.load(module, || std::fs::read(path))).await;
        match loaded.map_err(|error| RunError::Program(format!("the wasm compiler failed: {error}")))? {
            Ok(ready) => Ok(ready),
            Err(LoadError::Module(why)) => {
                Err(RunError::Program(format!("error: not a module that can be run: {why}")))
            }
            Err(LoadError::Read(error)) => Err(RunError::Out(error)),
        }
    }
}

impl Drop for Wasm {
    fn drop(&mut self) {
        // Waiting is forbidden where asynchronous code drops this, and nothing is left to wait for.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

fn prepare(
    limits: &Limits,
    told: text::Told,
    entry: &str,
    folders: &[Shown<'_>],
    seed: &blake3::Hasher,
    hears: Hears,
) -> Result<State, RunError> {
    let mut files = Files::new(limits.disk_bytes);
    let mut shown = Vec::new();
    for Shown { name, files: list } in folders {
        let root = files.root(false);
        for (path, host) in *list {
            let put = files.give(root, path, Kind::Given(Given::new(host.clone())));
            put.map_err(|errno| RunError::Job(format!("error: {name}/{path} cannot be shown: {errno:?}")))?;
        }
        shown.push((root, *name));
    }
    let (out, tmp, device) = (files.root(true), files.root(true), files.root(false));
    let channel = files.give(device, "channel", Kind::Channel);
    debug_assert_eq!(channel, Ok(()), "an empty folder has room");
    shown.insert(0, (out, "/out"));
    shown.extend([(tmp, "/tmp"), (device, "/dev")]);
    let zero_ended = |text: String| [text.as_bytes(), b"\0"].concat();
    let args = std::iter::once(format!("/app/{entry}")).chain(told.args).map(zero_ended).collect();
    let env = told.env.into_iter().map(|(name, value)| zero_ended(format!("{name}={value}"))).collect();
    let kept = usize::try_from(limits.log_bytes).unwrap_or(usize::MAX).min(LOG_BYTES_MAX);
    let memory = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
    let mut state = State::new(files, args, env, kept, memory, seed, hears);
    for (node, name) in shown {
        let handle = Handle::Node { node, at: 0, append: false, read: false, write: false, shown_as: Some(name) };
        state.open(handle).map_err(|_: Errno| RunError::Job("error: too many folders".into()))?;
    }
    Ok(state)
}

/// Why a module that ran did not come to its own end.
#[derive(Clone, Copy)]
enum Stop {
    Cancelled,
    Over(Limit),
}

async fn run(
    ready: InstancePre<State>,
    state: State,
    limits: Limits,
    cancel: CancellationToken,
) -> Result<Finished, RunError> {
    let started = Instant::now();
    let fuel = limits.fuel.unwrap_or(u64::MAX);
    let mut store = Store::new(ready.module().engine(), state);
    store.limiter(|state| &mut state.memory);
    // Fails only where fuel is not counted, for comparison.
    let counted = store.set_fuel(fuel).is_ok();
    if counted {
        store.fuel_async_yield_interval(Some(FUEL_SLICE)).map_err(|error| RunError::Program(error.to_string()))?;
    }
    let mut cpu = Duration::ZERO;
    let ended = {
        let (call, used_max) = (Box::pin(start(&ready, &mut store)), Duration::from_millis(limits.cpu_ms));
        let call = Metered { call, used: &mut cpu, used_max };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Stop::Cancelled),
            ended = call => ended,
            () = tokio::time::sleep(Duration::from_millis(limits.wall_ms)) => Err(Stop::Over(Limit::Wall)),
        }
    };
    let fuel_left = if counted { store.get_fuel().unwrap_or(0) } else { fuel };
    let memory_peak_bytes = store.data().memory.bytes as u64;
    let mut state = store.into_data();
    let exit = match ended {
        Err(Stop::Cancelled) => return Err(RunError::Cancelled),
        Err(Stop::Over(limit)) => Exit::Limit(limit),
        Ok(ended) => judge(ended, &mut state),
    };
    let usage = Usage {
        wall_ms: millis(started.elapsed()),
        cpu_ms: millis(cpu),
        memory_peak_bytes,
        work_done: state.work_done,
        fuel: fuel - fuel_left,
        ..Usage::default()
    };
    Ok(finish(exit, state, usage))
}

/// A call that is over when it has used its processor time, and counts it.
struct Metered<'a, F> {
    call: Pin<Box<F>>,
    used: &'a mut Duration,
    used_max: Duration,
}

impl<F: Future<Output = wasmtime::Result<()>>> Future for Metered<'_, F> {
    type Output = Result<wasmtime::Result<()>, Stop>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let polled = self.call.as_mut().poll(context);
        *self.used += thread_time().saturating_sub(before);
        match polled {
            Poll::Ready(ended) => Poll::Ready(Ok(ended)),
            Poll::Pending if *self.used > self.used_max => Poll::Ready(Err(Stop::Over(Limit::Cpu))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn start(ready: &InstancePre<State>, store: &mut Store<State>) -> wasmtime::Result<()> {
    let instance = ready.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(store, ()).await
}

/// The exit of a module that nobody stopped. A limit is named if it was met and the module did not come through.
fn judge(ended: wasmtime::Result<()>, state: &mut State) -> Exit {
    let code = match &ended {
        Ok(()) => 0,
        Err(error) => error.downcast_ref::<wasi::Exited>().map_or(TRAPPED, |exited| exited.0),
    };
    if [&state.stdout, &state.stderr].iter().any(|stream| stream.log.total_bytes > STREAM_BYTES_MAX) {
        return Exit::Limit(Limit::Output);
    }
    let trap = ended.as_ref().err().and_then(|error| error.downcast_ref::<Trap>());
    match (code, trap) {
        (0, _) => Exit::Code(0),
        (_, Some(Trap::OutOfFuel)) => Exit::Limit(Limit::Fuel),
        _ if state.memory.denied => Exit::Limit(Limit::Memory),
        _ if state.files.full => Exit::Limit(Limit::Disk),
        _ => {
            if let Err(error) = ended
                && code == TRAPPED
            {
                state.stderr.write(format!("error: {}\n", error.root_cause()).as_bytes());
            }
            Exit::Code(code)
        }
    }
}

fn finish(exit: Exit, mut state: State, usage: Usage) -> Finished {
    let (stdout, stderr) = (std::mem::take(&mut state.stdout.log), std::mem::take(&mut state.stderr.log));
    let mut finished = Finished {
        exit,
        answer: None,
        files: Vec::new(),
        out: Outputs::Memory(BTreeMap::new()),
        stdout,
        stderr,
        usage,
    };
    if finished.exit != Exit::Code(0) {
        return finished;
    }
    let Ok(Handle::Node { node: out, .. }) = state.handle(OUT_FD).copied() else { return finished };
    let mut files: BTreeMap<String, Vec<u8>> = state.files.take_below(out).into_iter().collect();
    finished.answer = files.remove("result").or_else(|| computed::answer(files.get(computed::FILE)?));
    let paths: usize = files.keys().map(String::len).sum();
    let too_long = finished.answer.as_ref().is_some_and(|answer| answer.len() > ANSWER_BYTES_MAX);
    if too_long || files.len() > OUTPUT_FILES_MAX || paths > OUTPUT_PATHS_BYTES_MAX {
        return Finished { exit: Exit::Limit(Limit::Output), answer: None, ..finished };
    }
    finished.files =
        files.iter().map(|(path, bytes)| OutFile { path: path.clone(), size: bytes.len() as u64 }).collect();
    finished.out = Outputs::Memory(files);
    finished
}
