//! `gristmill bench`.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum as _};

use crate::bench::{self, OracleBench, OracleRow, Row, SchedulerBench, VanityBench};
use crate::report::Report;
use crate::roles;

#[derive(Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure a pool: throughput, latency, memory, restarts and crashes, beside this machine's floors
    Scheduler(SchedulerArgs),
    /// Measure the way from an order to its job and back: latency, a burst of orders, a start behind a long chain
    Oracle(OracleArgs),
    /// Measure what a search loses in a grid: a pool and workers of one slot on this machine, beside the same program alone.
    /// Exits with 1 below the floor of 98 %
    Vanity(VanityArgs),
}

#[derive(Args)]
struct VanityArgs {
    /// Workers, and threads of the program alone [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Rounds of one measurement each; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Tasks of each worker in a round, after one to warm up
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    tasks: u8,
    /// Seconds of a task. The oracle's orders have tasks of 90
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    task_seconds: u16,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct OracleArgs {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    rows: Vec<OracleRow>,
    /// Orders of a burst
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    orders: u64,
    /// Blocks to catch up
    #[arg(long, default_value_t = 100_000)]
    blocks: u64,
    /// Orders in them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=35_000))]
    events: u64,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SchedulerArgs {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Tasks in a row of lives
    #[arg(long, default_value_t = 100_000)]
    tasks: u64,
    /// Runs of each row of lives; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Workers of the row `idle`
    #[arg(long, default_value_t = 20_000)]
    idle_workers: u64,
    /// Kills in the row `crashes`
    #[arg(long, default_value_t = 100)]
    crashes: u64,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: BenchArgs) -> Result<()> {
    roles::open_many_files();
    let args = match args.what {
        What::Scheduler(args) => args,
        What::Vanity(VanityArgs { workers, rounds, tasks, task_seconds, json }) => {
            let report = Report::new(json);
            let workers = workers.unwrap_or_else(roles::machine_cores);
            let bench =
                VanityBench { workers, rounds: rounds.into(), tasks: tasks.into(), task_seconds: task_seconds.into() };
            return report.concluded(Box::pin(bench::run_vanity(&bench, &report)).await);
        }
        What::Oracle(OracleArgs { rows, orders, blocks, events, json }) => {
            let rows = if rows.is_empty() { OracleRow::value_variants().to_vec() } else { rows };
            let report = Report::new(json);
            let bench = OracleBench { rows, orders, blocks, events };
            return report.concluded(Box::pin(bench::run_oracle(&bench, &report)).await);
        }
    };
    let rows = if args.rows.is_empty() { Row::value_variants().to_vec() } else { args.rows };
    let report = Report::new(args.json);
    let bench = SchedulerBench {
        rows,
        tasks: args.tasks,
        rounds: args.rounds.into(),
        idle_workers: args.idle_workers,
        crashes: args.crashes,
    };
    report.concluded(bench::run(&bench, &report).await)
}
