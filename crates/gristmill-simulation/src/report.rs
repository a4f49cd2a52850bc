//! What came of a simulation.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::measure::{Call, Histogram, Measure, Sample};
use crate::scenario::Scenario;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub name: String,
    pub about: String,
    pub seed: u64,
    /// How long it took in the simulated world.
    pub simulated_s: f64,
    pub workers: u64,
    pub workers_connected_most: u64,
    pub jobs: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
    pub jobs_cancelled: u64,
    pub tasks_certified: u64,
    /// Of a second, on average.
    pub tasks_per_s: f64,
    /// Leases that were given.
    pub attempts: u64,
    /// Results that were taken, for each certified task.
    pub redundancy: f64,
    /// Leases that were given, for each certified task: lost and failed attempts count too.
    pub attempts_per_task: f64,
    pub failures: u64,
    pub rejected: u64,
    pub wrong: u64,
    pub error_rate: f64,
    /// Slots of connected workers that ran something, over time.
    pub slots_used: f64,
    pub latencies: BTreeMap<String, Latencies>,
    pub groups: Vec<GroupReport>,
    pub users: Vec<UserReport>,
    /// Jain's index over users of the computing each was given, for its weight, while it and another had tasks that
    /// waited: 1 is fair.
    pub fairness: Option<f64>,
    pub messages_to_pool: u64,
    pub messages_to_workers: u64,
    pub messages_lost: u64,
    pub commits: u64,
    pub changes: u64,
    pub crashes: u64,
    #[serde(skip)]
    pub samples: Vec<Sample>,
    pub machine: Machine,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latencies {
    pub count: u64,
    pub p50_ms: u64,
    pub p90_ms: u64,
    pub p99_ms: u64,
    pub most_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    pub name: String,
    pub workers: u32,
    pub hostile: bool,
    pub attempts: u64,
    pub lies: u64,
    pub certified: u64,
    pub earned: f64,
    pub earned_by_lies: f64,
    pub spent: f64,
    pub net: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserReport {
    pub name: String,
    pub weight: u32,
    pub jobs: u64,
    pub done: u64,
    pub tasks: u64,
    pub slot_hours: f64,
    /// How long it had tasks that waited while another user had some too, and how much computing it was given then, on
    /// average over that time: slots of speed 1.
    pub contended_s: f64,
    pub contended_slots: f64,
    pub turnaround: Latencies,
}

/// What the machine that simulated needed: not the same twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    pub seconds: f64,
    pub events: u64,
    pub core_seconds: f64,
    pub core_calls: u64,
    pub core_us_per_task: f64,
    /// Of pool and simulated hosts together, when it ended.
    pub memory_bytes: u64,
    /// Of the core, for a worker that is connected and idle; zero if nobody was there in the beginning.
    pub bytes_per_worker: u64,
    pub calls: BTreeMap<&'static str, CallReport>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CallReport {
    pub count: u64,
    pub mean_us: f64,
    pub most_us: f64,
}

impl Latencies {
    fn of(histogram: &Histogram) -> Self {
        let at = |share| histogram.quantile(share);
        Self { count: histogram.count(), p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), most_ms: at(1.0) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn per(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

impl Machine {
    pub(crate) fn of(measure: &Measure, events: u64) -> Self {
        let calls = Call::ALL.map(|call| (call, measure.calls[call as usize]));
        let nanos = calls.iter().map(|(_, calls)| calls.nanos).sum::<u64>();
        let report = |(call, calls): &(Call, crate::measure::Calls)| {
            let (mean_us, most_us) = (per(calls.nanos, calls.count) / 1e3, per(calls.nanos_most, 1_000));
            (call.name(), CallReport { count: calls.count, mean_us, most_us })
        };
        Self {
            events,
            core_seconds: per(nanos, 1_000_000_000),
            core_calls: calls.iter().map(|(_, calls)| calls.count).sum(),
            core_us_per_task: per(nanos, measure.certified) / 1e3,
            calls: calls.iter().filter(|(_, calls)| calls.count > 0).map(report).collect(),
            ..Self::default()
        }
    }
}

impl Report {
    pub(crate) fn new(scenario: &Scenario, now_ms: u64, measure: &Measure, machine: Machine) -> Self {
        let users: Vec<UserReport> = measure
            .users
            .iter()
            .map(|(name, tally)| UserReport {
                name: name.clone(),
                weight: scenario.weights.get(name).copied().unwrap_or(1),
                jobs: tally.jobs,
                done: tally.done,
                tasks: tally.tasks,
                slot_hours: per(tally.slot_ms, 3_600_000),
                contended_s: per(tally.contended_ms, 1_000),
                contended_slots: if tally.contended_ms == 0 {
                    0.0
                } else {
                    tally.contended_work_s / per(tally.contended_ms, 1_000)
                },
                turnaround: Latencies::of(&tally.turnaround),
            })
            .collect();
        let groups = scenario.workers.iter().zip(&measure.groups).map(|(group, tally)| GroupReport {
            name: group.name.clone(),
            workers: group.count,
            hostile: group.nature.is_hostile(),
            attempts: tally.attempts,
            lies: tally.lies,
            certified: tally.certified,
            earned: tally.earned,
            earned_by_lies: tally.earned_by_lies,
            spent: tally.spent,
            net: tally.earned - tally.spent,
        });
        let of_users = |count: fn(&crate::measure::UserTally) -> u64| measure.users.values().map(count).sum();
        let (busy, slots) =
            measure.samples.taken.iter().fold((0, 0), |(busy, slots), s| (busy + s.busy, slots + s.slots));
        Self {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            seed: scenario.seed,
            simulated_s: per(now_ms, 1_000),
            workers: scenario.workers.iter().map(|group| u64::from(group.count)).sum(),
            workers_connected_most: measure.connected_most,
            jobs: of_users(|user| user.jobs),
            jobs_done: of_users(|user| user.done),
            jobs_failed: of_users(|user| user.failed),
            jobs_cancelled: of_users(|user| user.cancelled),
            tasks_certified: measure.certified,
            tasks_per_s: per(measure.certified * 1_000, now_ms),
            attempts: measure.attempts,
            redundancy: per(measure.results, measure.certified),
            attempts_per_task: per(measure.attempts, measure.certified),
            failures: measure.failures,
            rejected: measure.rejected,
            wrong: measure.wrong,
            error_rate: per(measure.wrong, measure.certified),
            slots_used: per(busy, slots),
            latencies: [("attempt", Latencies::of(&measure.attempt)), ("task", Latencies::of(&measure.task))]
                .map(|(name, latencies)| (name.to_owned(), latencies))
                .into(),
            groups: groups.collect(),
            fairness: fairness(&users),
            users,
            messages_to_pool: measure.to_pool,
            messages_to_workers: measure.to_workers,
            messages_lost: measure.lost,
            commits: measure.commits,
            changes: measure.changes,
            crashes: measure.crashes,
            samples: measure.samples.taken.clone(),
            machine,
        }
    }
}

/// Jain, Chiu, Hawe 1984. None where nobody had to share.
fn fairness(users: &[UserReport]) -> Option<f64> {
    let shares: Vec<f64> = users
        .iter()
        .filter(|user| user.contended_s > 0.0)
        .map(|user| user.contended_slots / f64::from(user.weight))
        .collect();
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    #[expect(clippy::cast_precision_loss, reason = "a count of users")]
    let count = shares.len() as f64;
    (shares.len() > 1).then(|| sum * sum / (count * squares))
}

/// As people read it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, seed {}", self.name, self.seed)?;
        if !self.about.is_empty() {
            writeln!(f, "{}", self.about)?;
        }
        writeln!(f)?;
        for (name, value) in self.lines() {
            writeln!(f, "{name:<12} {value}")?;
        }
        self.write_groups(f)?;
        self.write_users(f)?;
        self.write_machine(f)
    }
}

impl Report {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("simulated", duration(self.simulated_s)),
            ("workers", format!("{}, at most {} at once", self.workers, self.workers_connected_most)),
            (
                "jobs",
                format!(
                    "{}: {} done, {} failed, {} cancelled",
                    self.jobs, self.jobs_done, self.jobs_failed, self.jobs_cancelled
                ),
            ),
            ("tasks", format!("{} certified, {:.2} a second", self.tasks_certified, self.tasks_per_s)),
            (
                "attempts",
                format!(
                    "{} given, {:.3} a task; results {:.3} a task; {} failed, {} rejected",
                    self.attempts, self.attempts_per_task, self.redundancy, self.failures, self.rejected
                ),
            ),
            ("wrong", format!("{} of {} certified: {:.1e}", self.wrong, self.tasks_certified, self.error_rate)),
            ("slots used", format!("{:.1} %", 100.0 * self.slots_used)),
        ];
        if let Some(fairness) = self.fairness {
            lines.push((
                "fairness",
                format!(
                    "{fairness:.4} (Jain's index over users of what each got, for its weight, while it had to share)"
                ),
            ));
        }
        for (name, latencies) in &self.latencies {
            let what = if name == "task" { "from submission to certificate" } else { "from lease to receipt" };
            lines.push(("latency", format!("{name}, {what}: {latencies}")));
        }
        lines.push((
            "messages",
            format!(
                "{} to the pool, {} to workers, {} lost",
                self.messages_to_pool, self.messages_to_workers, self.messages_lost
            ),
        ));
        lines.push(("commits", format!("{} of {} changes; {} crashes", self.commits, self.changes, self.crashes)));
        lines
    }

    fn write_groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<20} {:>9} {:>11} {:>9} {:>11} {:>13} {:>12} {:>13}  net each",
            "workers", "count", "attempts", "lies", "paid", "earned", "by lies", "spent"
        )?;
        for group in &self.groups {
            let GroupReport { name, workers, attempts, lies, certified, earned, earned_by_lies, spent, net, .. } =
                group;
            let each = net / f64::from(*workers);
            writeln!(
                f,
                "{name:<20} {workers:>9} {attempts:>11} {lies:>9} {certified:>11} {earned:>13.1} {earned_by_lies:>12.1} \
                 {spent:>13.1}  {each:.3}"
            )?;
        }
        Ok(())
    }

    fn write_users(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<20} {:>6} {:>9} {:>11} {:>12} {:>13}  turnaround",
            "users", "weight", "jobs", "tasks", "slot hours", "slots, shared"
        )?;
        for user in &self.users {
            let UserReport { name, weight, done, tasks, slot_hours, contended_slots, turnaround, .. } = user;
            writeln!(
                f,
                "{name:<20} {weight:>6} {done:>9} {tasks:>11} {slot_hours:>12.2} {contended_slots:>13.2}  {turnaround}"
            )?;
        }
        Ok(())
    }

    fn write_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { seconds, events, core_seconds, core_us_per_task, memory_bytes, bytes_per_worker, .. } =
            self.machine;
        if seconds == 0.0 {
            return Ok(());
        }
        let mut calls = String::new();
        for (name, call) in &self.machine.calls {
            write!(
                calls,
                "\n  {name:<12} {:>11} calls, {:>9.2} us each, {:>11.1} us at most",
                call.count, call.mean_us, call.most_us
            )?;
        }
        write!(
            f,
            "\nsimulated in {seconds:.1} s, {events} events; the core took {core_seconds:.1} s of it, \
             {core_us_per_task:.2} us a task; {:.1} MiB in all, {bytes_per_worker} B of the pool for each idle worker{calls}",
            per(memory_bytes, 1 << 20)
        )
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, most] =
            [self.p50_ms, self.p90_ms, self.p99_ms, self.most_ms].map(|ms| duration(per(ms, 1_000)));
        write!(f, "p50 {p50}, p90 {p90}, p99 {p99}, at most {most}")
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1_000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}
