//! `gristmill simulate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use gristmill_simulation::{Probe, Report as Simulated, Scenario, ScenarioError, plot, simulate};
use tokio_util::sync::CancellationToken;

use crate::report::{Interrupted, Report, duration, si};

#[derive(Args)]
pub(super) struct SimulateArgs {
    /// What to simulate; docs/simulation.md explains the file, and examples/simulations has some
    scenario: PathBuf,
    /// Another seed than the file's
    #[arg(long)]
    seed: Option<u64>,
    /// So many seeds, one after the other, beginning with the first
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// Draw plots into this folder
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: SimulateArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.json);
    // It computes and never waits: not on a thread that others wait for.
    let run = tokio::task::spawn_blocking(move || {
        let report = Report::new(args.json);
        run_seeds(&args, &report, &shutdown)
    });
    report.concluded(run.await.context("the simulation broke off")?)
}

fn run_seeds(args: &SimulateArgs, report: &Report, shutdown: &CancellationToken) -> Result<()> {
    let scenario = read(&args.scenario)?;
    let first = args.seed.unwrap_or(scenario.seed);
    for seed in first..first.saturating_add(args.seeds) {
        let begun = Instant::now();
        let goes_on = |now_ms: u64, certified: u64| {
            let line = format!(
                "seed {seed}: {} simulated, tasks certified: {}",
                duration(std::time::Duration::from_millis(now_ms).as_secs_f64()),
                si(u32::try_from(certified).map_or(f64::INFINITY, f64::from))
            );
            report.progress(
                "simulating",
                &serde_json::json!({ "simulated_ms": now_ms, "certified": certified }),
                &line,
            );
            !shutdown.is_cancelled()
        };
        let nanos = || u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let probe = Probe { nanos: &nanos, memory_bytes: &resident_bytes, goes_on: &goes_on };
        let simulated = simulate(&scenario.clone().with_seed(seed), &probe);
        if shutdown.is_cancelled() {
            return Err(Interrupted(format!("stopped; seed {seed} replays it")).into());
        }
        report.result("simulated", &simulated, &simulated.to_string());
        if let Some(folder) = &args.plots {
            draw(&simulated, folder, args.seeds > 1, report)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Scenario> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("cannot read {}\n\nhint: name a scenario file, such as examples/simulations/lab.toml", path.display())
    })?;
    Scenario::parse(&text).map_err(|error| {
        let hint = match &error {
            ScenarioError::Syntax(_) => "docs/simulation.md lists the fields, their units and their ranges",
            ScenarioError::Contradiction(_) => "docs/simulation.md says how the fields belong together",
        };
        anyhow::anyhow!("{}: {}\n\nhint: {hint}", path.display(), error.to_string().trim_end())
    })
}

fn draw(simulated: &Simulated, folder: &Path, many: bool, report: &Report) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, svg) in plot::plots(simulated) {
        let name = if many { format!("{}-{name}", simulated.seed) } else { name.to_owned() };
        let path = folder.join(name);
        fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        report.event("plotted", &serde_json::json!({ "file": path }), &format!("drew {}", path.display()));
    }
    Ok(())
}

/// Memory of this process, as the system counts it; zero where it does not say.
fn resident_bytes() -> u64 {
    let pages = || fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok();
    pages().unwrap_or(0) * 4_096
}
