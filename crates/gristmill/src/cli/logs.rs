//! `gristmill logs`: what a task says.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use gristmill_proto::id::{JobId, LeaseId, TaskId};
use gristmill_proto::view::Verdict;
use tokio_util::sync::CancellationToken;

use super::job::PoolArgs;
use crate::pool_client::PoolClient;

#[derive(Args)]
pub(super) struct LogsArgs {
    /// JOB/TASK; JOB alone is its task 0
    #[arg(value_parser = task)]
    task: TaskId,
    /// Standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    /// Stay until the task has ended
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

/// Workers tell what is new about twice a second.
const PAUSE: Duration = Duration::from_millis(500);

fn task(text: &str) -> Result<TaskId, String> {
    let (job, index) = text.split_once('/').unwrap_or((text, "0"));
    let read = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number: expected JOB/TASK"));
    Ok(TaskId { job: JobId(read(job)?), index: read(index)? })
}

pub(super) async fn run(args: LogsArgs, shutdown: CancellationToken) -> Result<()> {
    let pool = args.pool.reader();
    let mut shown = (None, 0);
    loop {
        let (lease, words) = match said(&pool, args.task, args.stderr).await? {
            Said::Ended(lease, words) => {
                show(&mut shown, lease, &words)?;
                return Ok(());
            }
            Said::SoFar(lease, words) => (lease, words),
            Said::Nothing if args.follow => {
                if pool.job(args.task.job).await?.state.is_final() {
                    bail!("the job is over, and its task {} left no result", args.task.index);
                }
                (LeaseId(0), Vec::new())
            }
            Said::Nothing => {
                let why = format!("gristmill why {} tells what it waits for, --follow waits too", args.task.job);
                bail!("task {} has said nothing yet\n\nhint: {why}", args.task)
            }
        };
        show(&mut shown, lease, &words)?;
        if !args.follow || shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}

enum Said {
    /// By the attempt whose result counts.
    Ended(LeaseId, Vec<u8>),
    SoFar(LeaseId, Vec<u8>),
    Nothing,
}

async fn said(pool: &PoolClient, task: TaskId, stderr: bool) -> Result<Said> {
    let attempts = pool.attempts(task.job, task.index).await?;
    let counts = attempts.into_iter().find(|attempt| attempt.verdict != Verdict::Rejected);
    if let Some(attempt) = counts {
        let outcome = attempt.outcome;
        let log = if stderr { outcome.stderr } else { outcome.stdout };
        return Ok(Said::Ended(attempt.lease, log.head));
    }
    // Of several attempts at one task, the first that was given out.
    let running = pool.live_log(task.job, task.index).await?.into_iter().min_by_key(|log| log.lease);
    Ok(running.map_or(Said::Nothing, |log| {
        let words = if stderr { log.stderr } else { log.stdout };
        Said::SoFar(log.lease, words)
    }))
}

/// Prints what has not been shown; all of it, if another attempt speaks now.
fn show(shown: &mut (Option<LeaseId>, usize), lease: LeaseId, words: &[u8]) -> Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    if shown.0.is_some_and(|former| former != lease) {
        crate::report::eprint_line("another attempt begins");
        shown.1 = 0;
    }
    let fresh = words.get(shown.1..).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    out.write_all(fresh).and_then(|()| out.flush()).context("cannot write to standard output")?;
    *shown = (Some(lease), words.len());
    Ok(())
}
