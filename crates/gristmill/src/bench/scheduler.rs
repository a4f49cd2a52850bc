//! The rows of `gristmill bench scheduler`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt as _;
use gristmill_proto::digest::Digest;
use gristmill_proto::job::JobSpec;
use gristmill_proto::view::JobState;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::floors;
use super::light_worker::{LightWorker, Recorded};
use super::pool_process::PoolProcess;
use crate::pool_client::PoolClient;
use crate::report::{Report, si};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Row {
    /// Lives of tasks that do nothing: submitted, leased, run, recorded
    Lives,
    /// Jobs of one task each, submitted by 64 clients at once
    Submits,
    /// From submitting a task to having its result, on a pool that does nothing else
    Latency,
    /// Workers that are connected and have nothing to do
    Idle,
    /// A bag of a million tasks that nobody runs
    Queue,
    /// A start with many live jobs
    Restart,
    /// Lives while the pool is killed again and again
    Crashes,
}

pub struct SchedulerBench {
    pub rows: Vec<Row>,
    /// Of a row of lives.
    pub tasks: u64,
    pub rounds: usize,
    pub idle_workers: u64,
    pub crashes: u64,
}

/// Patience with one row.
const PATIENCE: Duration = Duration::from_secs(300);
const CLIENTS: usize = 64;
const SUBMITTING: Duration = Duration::from_secs(3);
const LATENCY_RUNS: usize = 200;
const LIVE_JOBS: u64 = 100_000;

pub async fn run(bench: &SchedulerBench, report: &Report) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("gristmill-bench-{}", std::process::id()));
    std::fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    let measured = rows(bench, report, &dir).await;
    std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    measured
}

async fn rows(bench: &SchedulerBench, report: &Report, dir: &Path) -> Result<()> {
    for (row, number) in bench.rows.iter().zip(0..) {
        let dir = dir.join(format!("{number}"));
        std::fs::create_dir(&dir)?;
        let flush = floors::flush(&dir)?;
        let (sign, check) = floors::signature();
        let facts = json!({ "flush_us": micros(flush), "sign_us": micros(sign), "check_us": micros(check) });
        let line = format!(
            "floor       flush {:.0} us, signature {:.0} us, its check {:.0} us",
            micros(flush),
            micros(sign),
            micros(check)
        );
        report.event("floor", &facts, &line);
        match row {
            Row::Lives => {
                for (workers, slots) in [(16, 64), (1, 2)] {
                    lives(bench, report, &dir, workers, slots, flush).await?;
                }
            }
            Row::Submits => submits(report, &dir).await?,
            Row::Latency => latency(report, &dir, flush).await?,
            Row::Idle => idle(bench, report, &dir).await?,
            Row::Queue => queue(report, &dir).await?,
            Row::Restart => restart(report, &dir).await?,
            Row::Crashes => crashes(bench, report, &dir).await?,
        }
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Workers that answer at once.
struct Crew {
    recorded: Arc<Recorded>,
    connected: Arc<AtomicU64>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Crew {
    async fn start(url: &str, workers: u64, slots: u32) -> Result<Self> {
        let crew = Self {
            recorded: Arc::default(),
            connected: Arc::default(),
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        crew.join(url, workers, slots).await
    }

    async fn join(mut self, url: &str, workers: u64, slots: u32) -> Result<Self> {
        for number in 0..workers {
            let worker = LightWorker::new(number, url, slots, self.recorded.clone());
            self.tasks.spawn(worker.run(self.connected.clone(), self.stop.clone()));
        }
        let started = Instant::now();
        while self.connected.load(Ordering::Relaxed) < workers {
            ensure!(started.elapsed() < PATIENCE, "the workers could not connect");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(self)
    }

    async fn recorded(&self, count: u64) -> Result<()> {
        let started = Instant::now();
        while self.recorded.results.load(Ordering::Relaxed) < count {
            ensure!(started.elapsed() < PATIENCE, "only {:?} results were recorded", self.recorded.results);
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        Ok(())
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Any app that the pool has; nobody runs it.
static APP: LazyLock<Digest> = LazyLock::new(|| crate::embedded::vanity_manifest().digest());

fn bag(tasks: u64) -> JobSpec {
    JobSpec { tasks, ..JobSpec::new(*APP) }
}

async fn lives(
    bench: &SchedulerBench,
    report: &Report,
    dir: &Path,
    workers: u64,
    slots: u32,
    flush: Duration,
) -> Result<()> {
    let mut rounds = Vec::new();
    for round in 0..bench.rounds {
        let folder = dir.join(format!("pool-{workers}-{round}"));
        let pool = PoolProcess::start(&folder, "127.0.0.1:0").await?;
        let crew = Crew::start(&pool.url, workers, slots).await?;
        let before = pool.used()?;
        let started = Instant::now();
        let job = pool.client()?.submit(&bag(bench.tasks)).await?;
        crew.recorded(bench.tasks).await?;
        let seconds = started.elapsed().as_secs_f64();
        let after = pool.used()?;
        let view = pool.client()?.job(job.id).await?;
        ensure!(view.state == JobState::Done, "the job ended as {:?}: {:?}", view.state, view.reason);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let (rate, cpu_us) = (bench.tasks as f64 / seconds, micros(after.cpu - before.cpu) / bench.tasks as f64);
        rounds.push((rate, cpu_us, after.resident_bytes));
        crew.stop().await;
        pool.kill().await?;
        std::fs::remove_dir_all(&folder)?;
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (rate, cpu_us, resident) = rounds[rounds.len() / 2];
    let facts = json!({
        "workers": workers, "slots": slots, "tasks": bench.tasks, "rounds": bench.rounds,
        "lives_per_s": rate, "server_cpu_us_per_life": cpu_us, "server_resident_bytes": resident,
        "flush_us": micros(flush),
    });
    let line = format!(
        "lives       {workers} workers of {slots} slots, {} tasks: {}lives/s, {cpu_us:.1} us of the server's processor \
         each, {:.0} MiB resident",
        bench.tasks,
        si(rate),
        mebibytes(resident)
    );
    report.result("lives", &facts, &line);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

async fn submits(report: &Report, dir: &Path) -> Result<()> {
    let pool = PoolProcess::start(&dir.join("pool"), "127.0.0.1:0").await?;
    let before = pool.used()?;
    let (started, count) = submit_for(&pool, SUBMITTING, u64::MAX).await?;
    let seconds = started.elapsed().as_secs_f64();
    let used = pool.used()?.cpu - before.cpu;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let (rate, cpu_us) = (count as f64 / seconds, micros(used) / count as f64);
    let facts = json!({ "clients": CLIENTS, "submits_per_s": rate, "server_cpu_us_per_submit": cpu_us });
    let line =
        format!("submits     {CLIENTS} clients: {}jobs/s, {cpu_us:.1} us of the server's processor each", si(rate));
    report.result("submits", &facts, &line);
    pool.kill().await
}

/// Jobs of one task from many clients at once; since when, and how many.
async fn submit_for(pool: &PoolProcess, time: Duration, most: u64) -> Result<(Instant, u64)> {
    // Making a client takes longer than many submissions.
    let client = pool.client()?;
    let (count, mut clients, started) = (Arc::new(AtomicU64::new(0)), JoinSet::new(), Instant::now());
    for _ in 0..CLIENTS {
        let (client, count): (PoolClient, _) = (client.clone(), count.clone());
        clients.spawn(async move {
            while started.elapsed() < time && count.fetch_add(1, Ordering::Relaxed) < most {
                client.submit(&bag(1)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok((started, count.load(Ordering::Relaxed).min(most)))
}

async fn latency(report: &Report, dir: &Path, flush: Duration) -> Result<()> {
    let pool = PoolProcess::start(&dir.join("pool"), "127.0.0.1:0").await?;
    let crew = Crew::start(&pool.url, 1, 2).await?;
    let client = pool.client()?;
    let mut times = Vec::with_capacity(LATENCY_RUNS);
    for _ in 0..LATENCY_RUNS {
        let started = Instant::now();
        let job = client.submit(&bag(1)).await?.id;
        let mut pictures = Box::pin(client.watch(job).await?);
        while let Some(view) = pictures.next().await {
            if view?.state.is_final() {
                break;
            }
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[LATENCY_RUNS / 2], times[LATENCY_RUNS * 99 / 100]);
    let facts =
        json!({ "runs": LATENCY_RUNS, "p50_us": micros(p50), "p99_us": micros(p99), "flush_us": micros(flush) });
    let line =
        format!("latency     submit to result: p50 {:.2} ms, p99 {:.2} ms", micros(p50) / 1e3, micros(p99) / 1e3);
    report.result("latency", &facts, &line);
    crew.stop().await;
    pool.kill().await
}

async fn idle(bench: &SchedulerBench, report: &Report, dir: &Path) -> Result<()> {
    let watched = Duration::from_secs(30);
    // Each is a file of this process and one of the pool's.
    let most = files_allowed()?.saturating_sub(256);
    let workers = bench.idle_workers.min(most);
    if workers < bench.idle_workers {
        let line = format!("idle        this system lets a process open no more than {most} connections");
        report.event("limited", &json!({ "asked": bench.idle_workers, "workers": workers }), &line);
    }
    let pool = PoolProcess::start(&dir.join("pool"), "127.0.0.1:0").await?;
    let empty = pool.used()?;
    let started = Instant::now();
    let crew = Crew::start(&pool.url, workers, 1).await?;
    let connecting = started.elapsed();
    let connected = pool.used()?;
    tokio::time::sleep(watched).await;
    let after = pool.used()?;
    let bytes = after.resident_bytes.saturating_sub(empty.resident_bytes);
    let each = bytes / workers.max(1);
    let share = (after.cpu - connected.cpu).as_secs_f64() / watched.as_secs_f64();
    let facts = json!({
        "workers": workers, "resident_bytes": after.resident_bytes, "bytes_per_worker": each,
        "cores_used": share, "seconds_to_connect": connecting.as_secs_f64(),
        "server_cpu_us_per_connect": micros(connected.cpu - empty.cpu) / f64::from(u32::try_from(workers)?),
    });
    let line = format!(
        "idle        {} workers: {:.0} MiB resident, {each} bytes each, {:.2} % of a core; connected in {:.1} s",
        workers,
        mebibytes(after.resident_bytes),
        100.0 * share,
        connecting.as_secs_f64()
    );
    report.result("idle", &facts, &line);
    crew.stop().await;
    pool.kill().await
}

fn files_allowed() -> Result<u64> {
    use nix::sys::resource::{Resource, getrlimit};
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

async fn queue(report: &Report, dir: &Path) -> Result<()> {
    let pool = PoolProcess::start(&dir.join("pool"), "127.0.0.1:0").await?;
    let client = pool.client()?;
    client.submit(&bag(1)).await?;
    let before = pool.used()?.resident_bytes;
    client.submit(&bag(1_000_000)).await?;
    let more = pool.used()?.resident_bytes.saturating_sub(before);
    let facts = json!({ "tasks": 1_000_000, "more_resident_bytes": more });
    report.result("queue", &facts, &format!("queue       1,000,000 tasks in a bag: {:.2} MiB more", mebibytes(more)));
    pool.kill().await
}

async fn restart(report: &Report, dir: &Path) -> Result<()> {
    let folder = dir.join("pool");
    let pool = PoolProcess::start(&folder, "127.0.0.1:0").await?;
    let empty = pool.used()?.resident_bytes;
    let (_, count) = submit_for(&pool, PATIENCE, LIVE_JOBS).await?;
    pool.kill().await?;
    let started = Instant::now();
    let pool = PoolProcess::start(&folder, "127.0.0.1:0").await?;
    let crew = Crew::start(&pool.url, 1, 2).await?;
    crew.recorded(1).await?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes = pool.used()?.resident_bytes.saturating_sub(empty) / count;
    let facts = json!({ "live_jobs": count, "seconds_to_first_result": seconds, "bytes_per_job": bytes });
    let line = format!("restart     {count} live jobs: first result after {seconds:.2} s, {bytes} bytes each");
    report.result("restart", &facts, &line);
    crew.stop().await;
    pool.kill().await
}

async fn crashes(bench: &SchedulerBench, report: &Report, dir: &Path) -> Result<()> {
    let folder = dir.join("pool");
    let mut pool = PoolProcess::start(&folder, "127.0.0.1:0").await?;
    let address = pool.url.trim_start_matches("http://").to_owned();
    let crew = Crew::start(&pool.url, 16, 64).await?;
    let tasks = bench.tasks.saturating_mul(10);
    let job = pool.client()?.submit(&bag(tasks)).await?.id;
    let mut random = 0x9e37_79b9_u64;
    let mut killed = 0;
    while killed < bench.crashes && crew.recorded.results.load(Ordering::Relaxed) < tasks {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis((random >> 33) % 150)).await;
        pool.kill().await?;
        pool = PoolProcess::start(&folder, &address).await?;
        killed += 1;
    }
    let client = pool.client()?;
    let started = Instant::now();
    let view = loop {
        let view = client.job(job).await?;
        if view.state.is_final() {
            break view;
        }
        ensure!(started.elapsed() < PATIENCE, "the job does not end: {:?}", view.tasks);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let acknowledged = crew.recorded.results.load(Ordering::Relaxed) - crew.recorded.refused.load(Ordering::Relaxed);
    let workers = client.workers().await?;
    let certified: u64 = workers.iter().map(|worker| worker.certified).sum();
    let failed: u64 = workers.iter().map(|worker| worker.failed + worker.rejected).sum();
    let facts = json!({
        "killed": killed, "tasks": tasks, "done": view.tasks.done, "certified": certified,
        "acknowledged": acknowledged, "failed": failed,
    });
    let line = format!(
        "crashes     killed {killed} times: {} of {tasks} tasks done, {certified} certified, {acknowledged} acknowledged, \
         {failed} failed",
        view.tasks.done
    );
    report.result("crashes", &facts, &line);
    ensure!(view.state == JobState::Done, "the job ended as {:?}: {:?}", view.state, view.reason);
    ensure!(certified == tasks, "{certified} of {tasks} tasks were certified: one was lost or counted twice");
    // What was acknowledged is among what was certified; an acknowledgement may be lost on the way.
    ensure!(acknowledged <= certified, "{acknowledged} results were acknowledged and {certified} certified");
    crew.stop().await;
    pool.kill().await
}
