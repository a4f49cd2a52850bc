//! `gristmill bench vanity`: a pool and workers of one slot, each a process of this machine, beside the same program
//! with as many threads and no grid, in turn.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, WorkerId};
use gristmill_proto::outcome::Exit;
use gristmill_proto::view::{AttemptView, Verdict, WorkerView};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use vanity::kernel::Backend;
use vanity::{Params, Pattern, SecretKey};

use super::pool_process::PoolProcess;
use crate::deploy::{self, Terms};
use crate::embedded;
use crate::oracle::search_job;
use crate::pool_client::PoolClient;
use crate::report::{Report, count};

pub struct VanityBench {
    pub workers: u32,
    pub rounds: usize,
    /// Of each worker in a round, after its first.
    pub tasks: usize,
    pub task_seconds: u64,
}

/// Of the speed of the program alone.
const FLOOR: f64 = 0.98;
/// Exact difficulty 2.9e15: no round finds it.
const PATTERN: &str = "1LoVExyzAB";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(200);

pub async fn run(bench: &VanityBench, report: &Report) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("gristmill-bench-vanity-{}", std::process::id()));
    std::fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
    let measured = ratio(bench, report, &dir).await;
    std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    let ratio = measured?;
    let holds = ratio >= FLOOR;
    let facts = json!({ "ratio": ratio, "floor": FLOOR, "holds": holds, "workers": bench.workers });
    let verdict = if holds { "holds" } else { "BELOW" };
    let line = format!(
        "grid        {} workers find {:.2} % of what {0} threads find alone, floor {:.0} %  {verdict}",
        bench.workers,
        100.0 * ratio,
        100.0 * FLOOR
    );
    report.result("grid", &facts, &line);
    ensure!(
        holds,
        "the grid is below its floor\n\nhint: floors are for a machine that does nothing else; longer tasks lose less, see --task-seconds"
    );
    Ok(())
}

/// Median over rounds.
async fn ratio(bench: &VanityBench, report: &Report, dir: &Path) -> Result<f64> {
    let program = dir.join("vanity");
    std::fs::write(&program, embedded::vanity_program())?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700))?;
    let grid = Grid::start(bench.workers, dir).await?;
    let mut ratios = Vec::with_capacity(bench.rounds);
    for round in 0..bench.rounds {
        let alone = alone(bench, &program).await?;
        let together = grid.rate(bench, alone).await?;
        ratios.push(together / alone);
        let facts = json!({ "round": round, "alone_per_s": alone, "grid_per_s": together });
        let line = format!("round       alone {}/s, grid {}/s", count(alone), count(together));
        report.event("round", &facts, &line);
    }
    grid.stop().await?;
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ratios.len() / 2])
}

/// Candidates a second of the program by itself, with a thread for each worker.
async fn alone(bench: &VanityBench, program: &Path) -> Result<f64> {
    let (threads, seconds) = (bench.workers.to_string(), (bench.tasks as u64 * bench.task_seconds).to_string());
    let quick = ["bench", "--json", "--rounds", "1", "--compared", "0", "--backend", Backend::best().name()];
    let output = Command::new(program)
        .args(quick)
        .args(["--threads", &threads, "--seconds", &seconds])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting the program alone")?;
    ensure!(output.status.success(), "the program alone: {}", String::from_utf8_lossy(&output.stderr));
    let objects = output.stdout.split(|&byte| byte == b'\n').map(serde_json::from_slice::<Value>);
    let rate = objects.filter_map(Result::ok).find_map(|object| object["addresses_per_s"].as_f64());
    rate.context("the program alone told no rate")
}

struct Grid {
    pool: PoolProcess,
    client: PoolClient,
    workers: Vec<Child>,
}

impl Grid {
    async fn start(workers: u32, dir: &Path) -> Result<Self> {
        let pool = PoolProcess::start(&dir.join("pool"), "127.0.0.1:0").await?;
        let client = pool.client()?;
        let program = std::env::current_exe().context("finding this program")?;
        let start = |number| {
            Command::new(&program)
                .args(["--log", "error", "worker", "--slots", "1", "--pool", &pool.url, "--data-dir"])
                .arg(dir.join(format!("worker-{number}")))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("starting a worker")
        };
        let workers = (0..workers).map(start).collect::<Result<Vec<Child>>>()?;
        let grid = Self { pool, client, workers };
        let all = |seen: &[WorkerView]| seen.iter().filter(|seen| seen.connected).count() == grid.workers.len();
        let problem = "the workers cannot connect\n\nhint: `gristmill doctor` tells what a worker lacks here";
        grid.until(all, problem).await?;
        Ok(grid)
    }

    async fn until(&self, is_so: impl Fn(&[WorkerView]) -> bool, problem: &'static str) -> Result<()> {
        let started = Instant::now();
        while !is_so(&self.client.workers().await?) {
            ensure!(started.elapsed() < PATIENCE, problem);
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }

    /// Candidates a second whose shares the pool has verified.
    async fn rate(&self, bench: &VanityBench, alone: f64) -> Result<f64> {
        let job = self.submit(bench, alone).await?;
        let records = self.records(bench, job).await;
        self.client.cancel(job).await?;
        let is_idle = |workers: &[WorkerView]| workers.iter().all(|worker| worker.running == 0);
        self.until(is_idle, "the workers do not end what is cancelled").await?;
        Ok(records?.values().map(|records| rate_of(records)).sum())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive")]
    async fn submit(&self, bench: &VanityBench, alone: f64) -> Result<JobId> {
        let key = SecretKey::generate()?.public_key();
        let params = Params::new(key, Pattern::parse(PATTERN)?.ranges().clone())?.encode();
        let plan = deploy::plan(embedded::vanity_manifest().digest(), &Terms::default());
        let task_work = (alone / f64::from(bench.workers) * bench.task_seconds as f64) as u64;
        let task_work = task_work.clamp(plan.task_work_min, plan.task_work_max);
        // The key is fresh, and so is this order.
        let order = Digest::of(&params).0;
        Ok(self.client.submit(&search_job(&order, &params, &plan, task_work)?).await?.id)
    }

    /// What each worker has done, task by task, until all have done enough.
    async fn records(&self, bench: &VanityBench, job: JobId) -> Result<BTreeMap<WorkerId, Vec<Record>>> {
        let (enough, started) = (bench.tasks + 1, Instant::now());
        let patience = PATIENCE + Duration::from_secs(4 * enough as u64 * bench.task_seconds);
        let mut all: BTreeMap<WorkerId, Vec<Record>> = BTreeMap::new();
        // Tasks are given in order, and end in nearly the same.
        let (mut open, mut next) = (Vec::new(), 0);
        while all.len() < bench.workers as usize || all.values().any(|records| records.len() < enough) {
            ensure!(started.elapsed() < patience, "the workers have done {all:?} of {enough} tasks each");
            tokio::time::sleep(LOOK_PAUSE).await;
            while open.len() < 2 * bench.workers as usize {
                open.push(next);
                next += 1;
            }
            let mut unfinished = Vec::new();
            for task in open {
                match self.client.attempts(job, task).await?.pop() {
                    Some(attempt) => all.entry(attempt.worker).or_default().push(Record::of(&attempt)?),
                    None => unfinished.push(task),
                }
            }
            open = unfinished;
        }
        Ok(all)
    }

    async fn stop(mut self) -> Result<()> {
        for worker in &mut self.workers {
            worker.kill().await?;
        }
        self.pool.kill().await
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    at_ms: u64,
    candidates: u64,
}

impl Record {
    fn of(attempt: &AttemptView) -> Result<Self> {
        let AttemptView { verdict, reason, outcome, .. } = attempt;
        let is_good = *verdict != Verdict::Rejected && outcome.exit == Exit::Code(0);
        ensure!(is_good, "a task ended with {:?}: {}", outcome.exit, reason.as_deref().unwrap_or("no reason"));
        Ok(Self { at_ms: attempt.at_ms.0, candidates: outcome.usage.work_done })
    }
}

/// From the first result to the last: the pauses between tasks are in it, and no task that was cut off.
fn rate_of(records: &[Record]) -> f64 {
    let mut records = records.to_vec();
    records.sort_unstable_by_key(|record| record.at_ms);
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return 0.0 };
    let candidates: u64 = records[1..].iter().map(|record| record.candidates).sum();
    candidates as f64 * 1e3 / last.at_ms.saturating_sub(first.at_ms).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_what_was_done_after_the_first_result() {
        let record = |at_ms, candidates| Record { at_ms, candidates };
        let rate = rate_of(&[record(9_000, 400), record(1_000, 100), record(5_000, 300)]);
        assert!((rate - 700.0 / 8.0).abs() < 1e-9, "{rate}");
        assert!(rate_of(&[]).abs() < 1e-9);
        assert!(rate_of(&[record(5, 7)]).abs() < 1e-9, "one result tells no rate");
    }
}
