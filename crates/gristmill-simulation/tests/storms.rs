//! Small pools in which everything goes wrong. A failure names its seed: `GRISTMILL_SEED=7 cargo test` replays it.

use gristmill_simulation::{Probe, Report, Scenario, simulate};

fn scenario(name: &str) -> Scenario {
    let path = format!("{}/../../examples/simulations/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    Scenario::parse(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[expect(clippy::print_stderr, reason = "the seed replays the failure")]
fn over_seeds(scenario: &Scenario, seeds: u64) -> Vec<Report> {
    let given = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = given.map_or(0..seeds, |seed| seed..seed + 1);
    let run = |seed| {
        let scenario = scenario.clone().with_seed(seed);
        let run = std::panic::catch_unwind(|| simulate(&scenario, &Probe::NONE));
        run.unwrap_or_else(|panic| {
            eprintln!("failing seed: GRISTMILL_SEED={seed}");
            std::panic::resume_unwind(panic)
        })
    };
    seeds.map(run).collect()
}

/// The simulation itself looks at every event and at the whole history.
#[test]
fn nothing_is_lost_or_done_twice_whatever_happens() {
    let reports = over_seeds(&scenario("storm"), 150);
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (done, failed) = (sum(|report| report.jobs_done), sum(|report| report.jobs_failed));
    assert!(done > 10 * failed, "{done} jobs were done and {failed} failed");
    assert!(sum(|report| report.crashes) > 2 * reports.len() as u64, "pools died");
    assert!(sum(|report| report.messages_lost) > 10 * reports.len() as u64, "messages were lost");
    assert!(sum(|report| report.rejected) > reports.len() as u64, "lies were told");
}

#[test]
fn the_same_seed_is_the_same_history() {
    let report = |seed| {
        let report = simulate(&scenario("storm").with_seed(seed), &Probe::NONE);
        Report { machine: gristmill_simulation::Machine::default(), ..report }
    };
    for seed in 0..5 {
        assert_eq!(report(seed), report(seed), "seed {seed}");
    }
    assert_ne!(report(1), report(2));
}
