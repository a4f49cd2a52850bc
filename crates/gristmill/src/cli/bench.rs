//! `gristmill bench`.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum as _};

use crate::bench::{self, Row, SchedulerBench};
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
    let What::Scheduler(args) = args.what;
    roles::open_many_files();
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
