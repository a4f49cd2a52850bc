//! What is simulated, as its file says it. `docs/simulation.md` is the reference; each field is explained here once.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_scheduler::core::{Tuning, UserTerms, WEIGHT_MAX, Weights};
use serde::{Deserialize, Serialize};

use crate::distribution::{Distribution, Positive, Share};

/// Workers of a scenario, and tasks of one job.
const WORKERS_MAX: u32 = 2_000_000;
const TASKS_MAX: u64 = 1_000_000_000;
const JOBS_MAX: u64 = 10_000_000;
const GROUPS_MAX: usize = 1_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// A sentence for whoever reads the report.
    #[serde(default)]
    pub about: String,
    #[serde(default = "one")]
    pub seed: u64,
    /// When to stop although jobs go on.
    pub end_h: Option<Positive>,
    #[serde(default)]
    pub pool: PoolTerms,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub disk: Disk,
    #[serde(default)]
    pub faults: Faults,
    #[serde(default)]
    pub money: Money,
    pub workers: Vec<Group>,
    pub jobs: Vec<Stream>,
    /// Weight of each user that has another than 1.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
    /// Sign every result, check the core's invariants after every event and the whole history in the end. Slow.
    #[serde(default)]
    pub checked: bool,
}

fn one() -> u64 {
    1
}

/// The pool's timing, as its command line has it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolTerms {
    pub alive_ms: u64,
    pub lost_ms: u64,
    pub reconnect_ms: u64,
    pub transfer_ms: u64,
}

impl Default for PoolTerms {
    fn default() -> Self {
        let Tuning { alive_ms, lost_ms, reconnect_ms, transfer_ms, .. } = Tuning::default();
        Self { alive_ms, lost_ms, reconnect_ms, transfer_ms }
    }
}

impl PoolTerms {
    pub(crate) fn tuning(self) -> Tuning {
        let Self { alive_ms, lost_ms, reconnect_ms, transfer_ms } = self;
        let (workers_max, jobs_live_max) = (WORKERS_MAX as usize, JOBS_MAX as usize);
        Tuning { alive_ms, lost_ms, reconnect_ms, transfer_ms, jobs_live_max, workers_max }
    }
}

/// Between each worker and the pool.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Of a message, one way.
    pub delay_ms: Distribution,
    /// Messages that are lost; their connection breaks with them.
    pub lost: Share,
    /// Messages that come twice.
    pub doubled: Share,
    /// Messages that may overtake others of their connection.
    pub overtaking: Share,
}

impl Default for Network {
    fn default() -> Self {
        let none = Share::default();
        Self { delay_ms: Distribution::constant(30.0), lost: none, doubled: none, overtaking: none }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// How long a commit takes.
    pub flush_ms: Distribution,
}

impl Default for Disk {
    fn default() -> Self {
        Self { flush_ms: Distribution::constant(4.0) }
    }
}

/// What befalls the pool, and who asks it to stop what it does.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Commits at which the pool dies: half the time the commit is on disk, half the time it is not.
    pub crash_at_commit: Share,
    /// Time between the deaths of a leader, at whatever moment; none: it lives.
    pub leader_life_h: Option<Distribution>,
    /// Until a restarted pool, or another that takes over, serves again.
    pub takeover_ms: Option<Distribution>,
    /// Jobs that their users cancel.
    pub cancelled: Share,
    /// When all this ends, and the network loses, doubles and turns round nothing any more.
    pub until_s: Option<Positive>,
}

/// What is paid and what it costs, in any unit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Money {
    /// For each result that is paid, per second of computing that its task takes at speed 1.
    pub price_per_s: Positive,
    /// What a worker of speed 1 spends on a second of computing.
    pub cost_per_s: Positive,
    /// Part of that which an attempt costs whoever makes its result up.
    pub lie_cost: Share,
}

impl Default for Money {
    fn default() -> Self {
        let lie_cost = 0.1.try_into().expect("a share");
        Self { price_per_s: Positive::new(1.0), cost_per_s: Positive::new(0.5), lie_cost }
    }
}

/// Workers of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    #[serde(deserialize_with = "between::<1, 2_000_000, _, _>")]
    pub count: u32,
    #[serde(default)]
    pub nature: Nature,
    #[serde(default = "one_slot", deserialize_with = "between::<1, 4_096, _, _>")]
    pub slots: u32,
    /// How many seconds of computing it does in a second.
    #[serde(default = "unit")]
    pub speed: Distribution,
    #[serde(default)]
    pub availability: Availability,
    /// To how many owners they belong; none: each to its own.
    pub owners: Option<u32>,
}

/// Reads a number in a range, and names the range if it is not.
fn between<'de, const LEAST: u32, const MOST: u32, D, N>(deserializer: D) -> Result<N, D::Error>
where
    D: serde::Deserializer<'de>,
    N: TryFrom<u32>,
{
    let number = i64::deserialize(deserializer)?;
    let within = u32::try_from(number).ok().filter(|number| (LEAST..=MOST).contains(number));
    let fits = within.and_then(|number| N::try_from(number).ok());
    fits.ok_or_else(|| serde::de::Error::custom(format!("{number} is not from {LEAST} to {MOST}")))
}

fn one_slot() -> u32 {
    1
}

fn unit() -> Distribution {
    Distribution::constant(1.0)
}

/// What a worker does with what it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Nature {
    #[default]
    Honest,
    /// Takes work and never answers, but says that it lives.
    Silent,
    /// Of a search, says at once that it was in vain; of anything else, lies.
    Idle,
    /// Signs with a key that is not its own.
    Forging,
    /// Cannot run anything.
    Broken,
    /// The program fails on it, so often.
    Unlucky { rate: Share },
    /// Lies on so many of its tasks, after it was honest on so many. Liars that lie together choose the same tasks and
    /// give the same wrong answer.
    Liar {
        rate: Share,
        #[serde(default)]
        after: u64,
        #[serde(default = "yes")]
        together: bool,
    },
    /// Claims attempts of others as its own, and lies about them.
    Stealing,
}

fn yes() -> bool {
    true
}

impl Nature {
    /// Whether its results can be wrong on purpose.
    pub fn is_hostile(self) -> bool {
        !matches!(self, Self::Honest | Self::Unlucky { .. } | Self::Broken)
    }
}

/// When a worker is there. Without `on_h` and `off_h` it always is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Availability {
    pub on_h: Option<Distribution>,
    pub off_h: Option<Distribution>,
    /// When its owner's machine is likely to be switched on; none: at any time alike.
    pub hours: Option<Hours>,
    /// Until it leaves for good.
    pub life_h: Option<Distribution>,
    /// Departures after which its attempts go on where they were, once it is back. The others lose them.
    pub suspends: Share,
    /// Departures that the pool learns only from silence.
    pub unannounced: Share,
}

/// Hours of the day and days of the week.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// From and to, of the owner's day. `from` may be after `to`: then it is the night.
    #[serde(deserialize_with = "between::<0, 24, _, _>")]
    pub from: u32,
    #[serde(deserialize_with = "between::<0, 24, _, _>")]
    pub to: u32,
    /// How likely it is to come at other hours, as part of how likely it is in these.
    #[serde(default)]
    pub outside: Share,
    /// The same for Saturday and Sunday.
    #[serde(default = "all")]
    pub weekend: Share,
    /// Over how many time zones the owners live.
    #[serde(default = "one_zone", deserialize_with = "between::<1, 24, _, _>")]
    pub zones: u32,
    /// Whether it goes when its hours end.
    #[serde(default)]
    pub leaves: bool,
}

fn all() -> Share {
    Share::ALL
}

fn one_zone() -> u32 {
    1
}

/// Jobs of one user, alike and one after the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    pub user: String,
    /// How many jobs.
    #[serde(default = "one")]
    pub count: u64,
    /// When the first comes.
    #[serde(default)]
    pub at_s: u64,
    /// How long until the next; none: all at once.
    pub every_s: Option<Distribution>,
    /// Of each job.
    pub tasks: u64,
    /// What a task takes at speed 1.
    pub task_s: Distribution,
    #[serde(default)]
    pub trust: TrustTerms,
    /// In a search, the first answer ends the job. On average, one task in so many has it.
    pub search: Option<SearchTerms>,
    #[serde(default = "one_slot", deserialize_with = "between::<1, 4_096, _, _>")]
    pub cores: u32,
    #[serde(default)]
    pub priority: i8,
    /// What an attempt may take.
    pub wall_s: Option<Positive>,
    pub retries: Option<u32>,
    /// Tasks that may fail.
    #[serde(default)]
    pub failed_max: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrustTerms {
    #[default]
    Pool,
    /// The user judges each answer, and is never wrong.
    Submitter,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchTerms {
    #[serde(deserialize_with = "between::<1, 1_000_000, _, _>")]
    pub one_in: u32,
    /// Work units of a task.
    pub task_work: u64,
    pub work_max: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    #[error("{0}")]
    Contradiction(String),
}

impl Scenario {
    /// Reads a scenario file.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check().map_err(ScenarioError::Contradiction)?;
        Ok(scenario)
    }

    /// What no single field shows.
    fn check(&self) -> Result<(), String> {
        let (groups, streams) = (self.workers.len(), self.jobs.len());
        if groups == 0 || groups > GROUPS_MAX {
            return Err(format!("{groups} tables `[[workers]]`: between 1 and {GROUPS_MAX} are allowed"));
        }
        if streams == 0 || streams > GROUPS_MAX {
            return Err(format!("{streams} tables `[[jobs]]`: between 1 and {GROUPS_MAX} are allowed"));
        }
        let workers: u64 = self.workers.iter().map(|group| u64::from(group.count)).sum();
        if workers > u64::from(WORKERS_MAX) {
            return Err(format!("{workers} workers in all are more than {WORKERS_MAX}"));
        }
        let jobs = self.jobs.iter().fold(0, |sum: u64, stream| sum.saturating_add(stream.count));
        if jobs > JOBS_MAX {
            return Err(format!("{jobs} jobs in all are more than {JOBS_MAX}"));
        }
        let mut names = BTreeSet::new();
        if let Some(group) = self.workers.iter().find(|group| !names.insert(&group.name)) {
            return Err(format!("two groups of workers are called `{}`", group.name));
        }
        for group in &self.workers {
            group.check().map_err(|reason| format!("workers `{}`: {reason}", group.name))?;
        }
        for stream in &self.jobs {
            stream.check().map_err(|reason| format!("jobs of `{}`: {reason}", stream.user))?;
        }
        let users: BTreeSet<&String> = self.jobs.iter().map(|stream| &stream.user).collect();
        if let Some(user) = self.weights.keys().find(|user| !users.contains(user)) {
            return Err(format!("`weights` names `{user}`, who has no jobs"));
        }
        if let Some((user, weight)) = self.weights.iter().find(|(_, weight)| !(1..=WEIGHT_MAX).contains(*weight)) {
            return Err(format!("the weight of `{user}` is {weight}: between 1 and {WEIGHT_MAX} are allowed"));
        }
        let PoolTerms { alive_ms, lost_ms, reconnect_ms, .. } = self.pool;
        if alive_ms == 0 || lost_ms <= alive_ms || reconnect_ms == 0 {
            return Err("`pool`: `alive_ms` and `reconnect_ms` must be above 0, and `lost_ms` above `alive_ms`".into());
        }
        Ok(())
    }

    pub(crate) fn weights(&self) -> Weights {
        let users = self.weights.iter().map(|(user, weight)| {
            let terms = UserTerms { group: String::new(), weight: *weight };
            (user.clone(), terms)
        });
        Weights { users: users.collect(), ..Weights::default() }
    }

    /// With hundreds of seeds, the files stay as they are.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl Group {
    fn check(&self) -> Result<(), String> {
        let Availability { on_h, off_h, hours, .. } = self.availability;
        if on_h.is_some() != off_h.is_some() {
            return Err("`on_h` and `off_h` belong together".into());
        }
        if hours.is_some_and(|hours| hours.from == hours.to) {
            return Err("`hours` from and to are the same".into());
        }
        if hours.is_some() && on_h.is_none() {
            return Err("`hours` say when a worker comes: `on_h` and `off_h` must say how long it stays".into());
        }
        if self.owners.is_some_and(|owners| owners == 0 || owners > self.count) {
            return Err("`owners` must be between 1 and `count`".into());
        }
        Ok(())
    }
}

impl Stream {
    fn check(&self) -> Result<(), String> {
        if self.count == 0 {
            return Err("`count` is 0".into());
        }
        if !(1..=TASKS_MAX).contains(&self.tasks) {
            return Err(format!("{} tasks: between 1 and {TASKS_MAX} are allowed", self.tasks));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "small"
[[workers]]
name = "lab"
count = 3
[[jobs]]
user = "alice"
tasks = 10
task_s = 60
"#;

    #[test]
    fn a_small_file_is_enough() {
        let scenario = Scenario::parse(GOOD).unwrap();
        assert_eq!((scenario.seed, scenario.workers[0].nature, scenario.jobs[0].count), (1, Nature::Honest, 1));
    }

    /// Each says what is wrong, and where, as far as a line can say it.
    #[test]
    fn mistakes_are_named() {
        for (from, to, expected) in [
            ("count = 3", "count = 0", "line 5"),
            ("count = 3", "count = 0", "0 is not from 1 to 2000000"),
            ("count = 3", "cuont = 3", "unknown field `cuont`"),
            ("task_s = 60", "task_s = -1", "-1 is not above 0"),
            ("task_s = 60", "task_s = { weibul = { shape = 1 } }", "unknown variant `weibul`"),
            ("task_s = 60", "task_s = { uniform = { least = 2, most = 1 } }", "`least` is more than `most`"),
            ("tasks = 10", "tasks = 0", "jobs of `alice`: 0 tasks: between 1 and 1000000000"),
            ("count = 3", "count = 3\nnature = { liar = { rate = 1.5 } }", "1.5 is not from 0 to 1"),
            ("count = 3", "count = 3\nnature = \"evil\"", "unknown variant `evil`"),
            ("count = 3", "count = 3\navailability = { on_h = 1 }", "`on_h` and `off_h` belong together"),
            ("count = 3", "count = 3\nowners = 4", "`owners` must be between 1 and `count`"),
            ("[[jobs]]", "[network]\nlost = 2\n[[jobs]]", "line 7"),
            ("[[jobs]]", "[weights]\nbob = 2\n[[jobs]]", "`weights` names `bob`, who has no jobs"),
            ("[[jobs]]", "[pool]\nlost_ms = 1\n[[jobs]]", "`lost_ms` above `alive_ms`"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = Scenario::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
