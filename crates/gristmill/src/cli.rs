//! The command line: one file per subcommand.

mod app;
mod bench;
mod chain;
mod dapp;
mod demo;
mod deploy;
mod doctor;
mod iexec;
mod job;
mod key;
mod logs;
mod offer;
mod oracle;
mod order;
mod prison;
mod scheduler;
mod simulate;
mod vanity;
mod voucher;
mod worker;
mod worker_pay;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::report::{Interrupted, eprint_line, error_text};

/// A decentralized cloud in one binary: pay for a computation, have it done by strangers, get a certified result
#[derive(Parser)]
#[command(name = "gristmill", version, max_term_width = 110)]
struct Cli {
    /// What to log on standard error: error, warn, info, debug, or a filter such as `gristmill_scheduler=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "GRISTMILL_LOG")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// See it work: a chain, contracts, a pool, a worker, a page, and a paid vanity search, all on this machine
    Demo(demo::DemoArgs),
    /// The same grid without an order, for development
    Dev(demo::DevArgs),
    /// Run a program on a pool and get what it writes
    Run(job::RunArgs),
    /// Make, check, publish and run apps
    App(app::AppArgs),
    /// Make contracts that have something computed
    Dapp(dapp::DappArgs),
    /// Submit a job file to a pool
    Submit(job::SubmitArgs),
    /// List a pool's jobs
    Jobs(job::JobsArgs),
    /// Show a job, and why its attempts failed
    Job(job::JobArgs),
    /// Show what a task has said, also while it runs
    Logs(logs::LogsArgs),
    /// Follow a job until it has ended
    Watch(job::JobArgs),
    /// Get the results of a job
    Fetch(job::FetchArgs),
    /// End a job
    Cancel(job::JobArgs),
    /// Tell what a job waits for, or what a worker is to the jobs that wait
    Why(job::WhyArgs),
    /// Get the signed receipt of a task
    Receipt(job::ReceiptArgs),
    /// Check a receipt, and say what it proves
    Verify(job::VerifyArgs),
    /// Run the embedded development chain alone
    Chain(chain::ChainArgs),
    /// Run a pool: scheduler, API and page
    Scheduler(scheduler::SchedulerArgs),
    /// Run the oracle between a chain and a pool
    Oracle(oracle::OracleArgs),
    /// Lend this machine to a pool
    Worker(worker::WorkerArgs),
    /// Tell what protects this machine from the apps it would run, and what is missing
    Doctor(doctor::DoctorArgs),
    /// Put a pool's contracts on a chain and publish its offer
    Deploy(deploy::DeployArgs),
    /// Serve and use a pool with iExec's own tools
    Iexec(iexec::IexecArgs),
    /// Sell an app: publish, list, withdraw or sign offers
    Offer(offer::OfferArgs),
    /// Buy a computation: quote, place, status, fetch, cancel, refund
    Order(order::OrderArgs),
    /// What pools owe this worker, and how it gets it
    Voucher(voucher::VoucherArgs),
    /// Measure this machine as a grid
    Bench(bench::BenchArgs),
    /// Simulate a whole grid: crashes, liars, volunteers who come and go, up to millions of tasks
    Simulate(simulate::SimulateArgs),
    /// Order a vanity address, see how it goes, and finish its key
    Vanity(vanity::VanityArgs),
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let serves =
        matches!(cli.command, Command::Chain(_) | Command::Scheduler(_) | Command::Oracle(_) | Command::Worker(_))
            || matches!(&cli.command, Command::Iexec(args) if args.serves());
    let level = if serves { LevelFilter::INFO } else { LevelFilter::ERROR };
    let filter = EnvFilter::builder().with_default_directive(level.into());
    let filter = match &cli.log {
        Some(text) => filter.parse(text),
        None => Ok(filter.parse_lossy("")),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            eprint_line(&format!("error: --log: {error}"));
            return ExitCode::from(2);
        }
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    // A second provider in the tree would make the choice ambiguous; ring needs no C beyond what Rust needs anyway.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the system starts threads");
    let result = runtime.block_on(run(cli.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprint_line(&error.to_string());
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprint_line(&error_text(&error));
            ExitCode::FAILURE
        }
    }
}

/// What shells report of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

async fn run(command: Command) -> Result<()> {
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    match command {
        Command::Demo(args) => Box::pin(demo::demo(args, shutdown)).await,
        Command::Dev(args) => Box::pin(demo::dev(args, shutdown)).await,
        Command::Run(args) => Box::pin(job::run(args, shutdown)).await,
        Command::App(args) => Box::pin(app::run(args, shutdown)).await,
        Command::Dapp(args) => dapp::run(&args),
        Command::Submit(args) => Box::pin(job::submit(args, shutdown)).await,
        Command::Jobs(args) => job::jobs(args).await,
        Command::Job(args) => job::job(args).await,
        Command::Logs(args) => logs::run(args, shutdown).await,
        Command::Watch(args) => job::watch(args, shutdown).await,
        Command::Fetch(args) => job::fetch(args).await,
        Command::Cancel(args) => job::cancel(args).await,
        Command::Why(args) => job::why(args).await,
        Command::Receipt(args) => job::receipt(args).await,
        Command::Verify(args) => job::verify(&args),
        Command::Chain(args) => chain::run(args, shutdown).await,
        Command::Scheduler(args) => Box::pin(scheduler::run(args, shutdown)).await,
        Command::Oracle(args) => Box::pin(oracle::run(args, shutdown)).await,
        Command::Worker(args) => Box::pin(worker::run(args, shutdown)).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Deploy(args) => Box::pin(deploy::run(args)).await,
        Command::Iexec(args) => Box::pin(iexec::run(args, shutdown)).await,
        Command::Offer(args) => Box::pin(offer::run(args)).await,
        Command::Order(args) => order::run(args).await,
        Command::Voucher(args) => Box::pin(voucher::run(args)).await,
        Command::Bench(args) => Box::pin(bench::run(args)).await,
        Command::Simulate(args) => simulate::run(args, shutdown).await,
        Command::Vanity(args) => Box::pin(vanity::run(args, shutdown)).await,
    }
}

/// The first Ctrl-C or SIGTERM stops the roles; the second ends the process at once.
async fn stop_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if shutdown.is_cancelled() {
            std::process::exit(INTERRUPTED.into());
        }
        shutdown.cancel();
    }
}
