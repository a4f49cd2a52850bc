//! The scenario files that come with the project.

use gristmill_simulation::{Machine, Probe, Report, Scenario, plot, simulate};

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/simulations")
}

fn scenario(name: &str) -> Scenario {
    Scenario::parse(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

#[test]
fn every_file_can_be_read() {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let read: Vec<String> = names.map(|name| scenario(&name).name).collect();
    assert!(read.len() >= 4, "{read:?}");
}

#[test]
fn a_lab_is_shared_by_weight_and_nothing_is_lost() {
    let report = simulate(&scenario("lab.toml"), &Probe::NONE);
    assert_eq!((report.jobs_done, report.tasks_certified, report.wrong), (102, 50_000, 0));
    assert!(report.fairness.unwrap() > 0.98, "{:?}", report.fairness);
    let slots = |name: &str| report.users.iter().find(|user| user.name == name).unwrap().contended_slots;
    assert!((slots("carol") / slots("alice") - 2.0).abs() < 0.3, "carol has twice the weight");
    // Every slot has something to do as long as there are tasks that were never given out.
    assert!(report.attempts_per_task < 1.05, "{}", report.attempts_per_task);
    let drawn = plot::plots(&report);
    assert_eq!(drawn.len(), 4);
    assert!(drawn.iter().all(|(_, svg)| svg.starts_with("<svg") && svg.ends_with("</svg>\n")));
}

/// A day of the week in `volunteers.toml`.
#[test]
fn volunteers_come_and_go_and_leaders_die_but_jobs_end() {
    let report = simulate(&scenario("volunteers.toml").with_seed(5), &Probe::NONE);
    assert_eq!((report.jobs_done, report.jobs_failed), (101, 0));
    assert!(report.crashes > 0 && report.attempts_per_task > 1.02, "{report}");
    // A fifth of what the liars did after their first ten, and all of it was believed.
    let liars = report.groups.iter().find(|group| group.hostile).unwrap();
    assert!(liars.lies > 0 && liars.net > 0.0, "{liars:?}");
    assert!(report.error_rate > 1e-3, "a pool that believes everybody is cheated");
    let connected: Vec<u64> = report.samples.iter().map(|sample| sample.connected).collect();
    let (least, most) = (connected[connected.len() / 10..].iter().min().unwrap(), connected.iter().max().unwrap());
    assert!(most > &(least + least / 2), "nights and days differ: {least} to {most}");
    let again = simulate(&scenario("volunteers.toml").with_seed(5), &Probe::NONE);
    let of = |report: Report| Report { machine: Machine::default(), ..report };
    assert_eq!(of(report), of(again));
}
