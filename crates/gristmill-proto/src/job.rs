//! What one submission asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::is_plain_path;
use crate::array::{NAMES_MAX, Values, combinations};
use crate::digest::Digest;
use crate::id::UnixMillis;
use crate::message::SLOTS_MAX;
use crate::requirement::{Requirement, is_label};
use crate::vote::Fraction;

pub const EXTERNAL_ID_BYTES_MAX: usize = 128;
pub const ARGS_MAX: usize = 256;
/// All text of a job together, so that it stays cheap to send with leases.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
pub const INPUTS_MAX: usize = 256;
pub const RETRIES_MAX: u32 = 100;
pub const USER_BYTES_MAX: usize = 128;
pub const REQUIREMENTS_MAX: usize = 32;
/// Of an ordinary task: a fast worker is given several times as much.
const TASK_WORK_MAX: u64 = WORK_MAX >> 8;
/// Shares expected of a task: checking them must cost the pool far less than finding them cost the worker.
pub const SHARES_MAX: u64 = 1_000;
/// Task indices stay exact in every JSON reader.
pub const TASKS_MAX: u64 = 1 << 53;
/// Votes on one task.
pub const VOTES_MAX: u32 = 200;
/// Work units of an attempt that are believed: so many stay exact everywhere.
pub const WORK_MAX: u64 = 1 << 53;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The submitter's own name for the job. Submitting the same id again returns the first job: a paid job uses its
    /// order id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Digest of the app's manifest.
    pub app: Digest,
    /// `{task}` and `{worker}` stand for the task's index and the worker's id, `{work}` for the work units to search,
    /// and each name of the array for the task's value.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// The job is a bag of this many tasks.
    #[serde(default = "one")]
    pub tasks: u64,
    /// Values by name: the job has a task for every combination, and `tasks` says how many those are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub array: BTreeMap<String, Values>,
    #[serde(default)]
    pub done_when: DoneWhen,
    /// How much there is to search in a job that any task may end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    #[serde(default)]
    pub trust: Trust,
    #[serde(default)]
    pub limits: Limits,
    /// What one attempt takes of its worker, beside the memory that `limits` name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// Conditions on the worker's labels. `os`, `arch`, `name`, `version`, `slots` and `gpus` are there by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Requirement>,
    /// On whose account it runs: users share the pool, however many jobs each has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Among the user's own jobs. A job with a priority of one less waits ten minutes longer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i8,
    /// By when it should be done: earlier ones first among equals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<UnixMillis>,
    /// Tasks that may fail for good before the job is given up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failed_max: u64,
    /// Attempts that may fail, per task, before the task does.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// For people and pages; the scheduler only carries them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn one() -> u64 {
    1
}

fn default_retries() -> u32 {
    3
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Slots of the worker; the app may run so many threads.
    pub cores: u32,
    pub gpus: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cores: 1, gpus: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where the app finds it below `/in`.
    pub path: String,
    pub digest: Digest,
}

/// A space so large that each worker can be given as much of it as it searches in the same time. Counted in work units,
/// as the app counts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// For a worker of the pool's ordinary speed; a faster one is given more, a slower one less.
    pub task_work: u64,
    /// The search is given up after so much in vain.
    pub work_max: u64,
    /// How a search in vain is shown to have taken place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<ShareTerms>,
}

/// A search that finds near misses at a known rate, and leaves them in a file, shows its work: the pool checks and
/// counts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareTerms {
    /// Who checks them: a name that the pool knows.
    pub checker: String,
    /// The file that holds them, below `/out`.
    pub file: String,
    /// Shares in `task_work`, on average.
    pub expected: u64,
    /// What the checker has to know of the search.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}

impl Search {
    /// Shares in so much work, on average and rounded down.
    pub fn shares_expected(&self, work: u64) -> u64 {
        let shares = self.shares.as_ref().map_or(0, |terms| terms.expected);
        let expected = u128::from(shares) * u128::from(work) / u128::from(self.task_work.max(1));
        u64::try_from(expected).unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoneWhen {
    /// Every task has a certified result.
    #[default]
    AllTasks,
    /// One task has a certified result with an answer; the rest is cancelled. A task that ends well without an answer
    /// has searched in vain and is not run again.
    AnyTask,
}

/// How a result becomes certified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The pool's own workers are believed.
    #[default]
    Pool,
    /// Whoever submitted the job judges each answer, for instance by asking a verifier contract. A result without an
    /// answer needs no judgement: it earns nothing.
    Submitter,
    /// Several workers of different owners run each task, and what they come to is compared bit by bit.
    Replicate(Replicate),
}

/// How sure the submitter wants to be of results that several workers agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// The promised bound on the share of tasks delivered with a wrong result.
    pub max_error: Fraction,
    /// A task on which so many votes decide nothing fails.
    #[serde(default = "default_votes")]
    pub votes_max: u32,
}

fn default_votes() -> u32 {
    30
}

impl Replicate {
    pub fn new(max_error: Fraction) -> Self {
        Self { max_error, votes_max: default_votes() }
    }
}

/// What one attempt may use at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_bytes: u64,
    /// `/out` and `/tmp` together.
    pub disk_bytes: u64,
    pub processes: u32,
    /// What is kept of standard output and of standard error, each.
    pub log_bytes: u64,
    /// Steps of a wasm module. Unlike a limit of time it ends the same task in the same place on every worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_ms: 10 * 60_000,
            cpu_ms: 60 * 60_000,
            memory_bytes: 512 << 20,
            disk_bytes: 64 << 20,
            processes: 64,
            log_bytes: 64 << 10,
            fuel: None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("a job needs at least one task")]
    NoTask,
    #[error("{0} tasks are more than {TASKS_MAX}")]
    TooManyTasks(u64),
    #[error("external id of {0} bytes: between 1 and {EXTERNAL_ID_BYTES_MAX} are allowed")]
    ExternalId(usize),
    #[error("{0} arguments are more than {ARGS_MAX}")]
    TooManyArgs(usize),
    #[error("the job's text takes {0} bytes, more than {TEXT_BYTES_MAX}\n\nhint: put what is long into an input file")]
    TooMuchText(usize),
    #[error("{0} inputs are more than {INPUTS_MAX}")]
    TooManyInputs(usize),
    #[error("path `{0}` is not a plain relative path")]
    BadPath(String),
    #[error("an argument or environment entry holds a zero byte, or a name is empty or holds `=`")]
    BadText,
    #[error("a search is done when any task is: `done_when` must be `any_task`")]
    SearchOfAllTasks,
    #[error("a search needs work: `task_work` and `work_max` must not be zero")]
    NoWork,
    #[error("{0} work units in a task are more than {TASK_WORK_MAX}")]
    TooMuchWork(u64),
    #[error("{0} shares in a task: between 1 and {SHARES_MAX} are allowed")]
    Shares(u64),
    #[error("{0} retries are more than {RETRIES_MAX}")]
    TooManyRetries(u32),
    #[error("the array has {combinations} combinations, and the job says {tasks} tasks")]
    Array { combinations: u64, tasks: u64 },
    #[error("the array's `{0}` has no value")]
    NoValue(String),
    #[error("`{0}` cannot be a name of the array: use letters, digits and `-_./`, and none of task, work, worker")]
    ArrayName(String),
    #[error("an array of {0} names is larger than {NAMES_MAX}")]
    TooManyNames(usize),
    #[error("`user` is longer than {USER_BYTES_MAX} bytes")]
    User,
    #[error("{0} cores: between 1 and {SLOTS_MAX} are allowed")]
    Cores(u32),
    #[error("{0} conditions are more than {REQUIREMENTS_MAX}")]
    TooManyRequirements(usize),
    #[error("a search cannot be replicated: its shares or its submitter certify it")]
    ReplicatedSearch,
    #[error("`votes_max` is {0}: between 1 and {VOTES_MAX} are allowed")]
    VotesMax(u32),
    #[error("limit `{0}` is zero: no attempt could run")]
    ZeroLimit(&'static str),
}

impl JobSpec {
    /// A job of one task with everything else at its default.
    pub fn new(app: Digest) -> Self {
        Self {
            external_id: None,
            app,
            args: Vec::new(),
            env: BTreeMap::new(),
            inputs: Vec::new(),
            tasks: 1,
            array: BTreeMap::new(),
            done_when: DoneWhen::default(),
            search: None,
            trust: Trust::default(),
            limits: Limits::default(),
            resources: Resources::default(),
            require: Vec::new(),
            user: String::new(),
            priority: 0,
            deadline_ms: None,
            failed_max: 0,
            retries: default_retries(),
            labels: BTreeMap::new(),
        }
    }

    /// Refuses what no pool could run, before it is stored.
    pub fn check(&self) -> Result<(), JobError> {
        if self.tasks == 0 {
            return Err(JobError::NoTask);
        }
        if self.tasks > TASKS_MAX {
            return Err(JobError::TooManyTasks(self.tasks));
        }
        if let Some(id) = &self.external_id
            && !(1..=EXTERNAL_ID_BYTES_MAX).contains(&id.len())
        {
            return Err(JobError::ExternalId(id.len()));
        }
        if self.args.len() > ARGS_MAX {
            return Err(JobError::TooManyArgs(self.args.len()));
        }
        let shares = self.search.as_ref().and_then(|search| search.shares.as_ref());
        let params = shares.iter().flat_map(|shares| &shares.params);
        let pairs = || self.env.iter().chain(&self.labels).chain(params.clone());
        let text = self.args.iter().map(String::len).sum::<usize>()
            + pairs().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.array.iter().map(|(name, values)| name.len() + values.text_bytes()).sum::<usize>()
            + self.inputs.iter().map(|input| input.path.len()).sum::<usize>()
            + self.require.iter().map(|condition| condition.to_string().len()).sum::<usize>()
            + shares.map_or(0, |shares| shares.checker.len() + shares.file.len());
        if text > TEXT_BYTES_MAX {
            return Err(JobError::TooMuchText(text));
        }
        let bad_name = |name: &str| name.is_empty() || name.contains(['=', '\0']);
        if self.args.iter().any(|arg| arg.contains('\0'))
            || self.env.iter().any(|(name, value)| bad_name(name) || value.contains('\0'))
        {
            return Err(JobError::BadText);
        }
        if self.inputs.len() > INPUTS_MAX {
            return Err(JobError::TooManyInputs(self.inputs.len()));
        }
        if let Some(input) = self.inputs.iter().find(|input| !is_plain_path(&input.path)) {
            return Err(JobError::BadPath(input.path.clone()));
        }
        if let Some(search) = &self.search {
            if self.done_when != DoneWhen::AnyTask {
                return Err(JobError::SearchOfAllTasks);
            }
            if search.task_work == 0 || search.work_max == 0 {
                return Err(JobError::NoWork);
            }
            if search.task_work > TASK_WORK_MAX {
                return Err(JobError::TooMuchWork(search.task_work));
            }
        }
        if let Some(shares) = shares {
            if !is_plain_path(&shares.file) {
                return Err(JobError::BadPath(shares.file.clone()));
            }
            if !(1..=SHARES_MAX).contains(&shares.expected) {
                return Err(JobError::Shares(shares.expected));
            }
        }
        self.check_array()?;
        if let Trust::Replicate(terms) = self.trust {
            if self.search.is_some() {
                return Err(JobError::ReplicatedSearch);
            }
            if !(1..=VOTES_MAX).contains(&terms.votes_max) {
                return Err(JobError::VotesMax(terms.votes_max));
            }
        }
        if self.user.len() > USER_BYTES_MAX {
            return Err(JobError::User);
        }
        if !(1..=SLOTS_MAX).contains(&self.resources.cores) {
            return Err(JobError::Cores(self.resources.cores));
        }
        if self.require.len() > REQUIREMENTS_MAX {
            return Err(JobError::TooManyRequirements(self.require.len()));
        }
        if self.retries > RETRIES_MAX {
            return Err(JobError::TooManyRetries(self.retries));
        }
        self.limits.check()
    }
}

impl JobSpec {
    fn check_array(&self) -> Result<(), JobError> {
        if self.array.is_empty() {
            return Ok(());
        }
        if self.array.len() > NAMES_MAX {
            return Err(JobError::TooManyNames(self.array.len()));
        }
        for (name, values) in &self.array {
            if !is_label(name) || ["task", "work", "worker"].contains(&name.as_str()) {
                return Err(JobError::ArrayName(name.chars().take(80).collect()));
            }
            if values.count() == 0 {
                return Err(JobError::NoValue(name.clone()));
            }
            if let Values::List(list) = values
                && list.iter().any(|value| value.contains('\0'))
            {
                return Err(JobError::BadText);
            }
        }
        let combinations = combinations(&self.array).unwrap_or(u64::MAX);
        if combinations != self.tasks {
            return Err(JobError::Array { combinations, tasks: self.tasks });
        }
        Ok(())
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), JobError> {
        let zero = [
            ("wall_ms", self.wall_ms),
            ("cpu_ms", self.cpu_ms),
            ("memory_bytes", self.memory_bytes),
            ("disk_bytes", self.disk_bytes),
            ("processes", u64::from(self.processes)),
            ("fuel", self.fuel.unwrap_or(1)),
        ];
        zero.into_iter().find(|(_, value)| *value == 0).map_or(Ok(()), |(name, _)| Err(JobError::ZeroLimit(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobSpec {
        JobSpec::new(Digest::of(b"app"))
    }

    #[test]
    fn what_no_pool_could_run_is_refused() {
        assert_eq!(job().check(), Ok(()));
        assert_eq!(JobSpec { tasks: 0, ..job() }.check(), Err(JobError::NoTask));
        assert_eq!(JobSpec { external_id: Some(String::new()), ..job() }.check(), Err(JobError::ExternalId(0)));
        assert_eq!(JobSpec { external_id: Some("x".repeat(129)), ..job() }.check(), Err(JobError::ExternalId(129)));
        assert_eq!(JobSpec { args: vec![String::new(); 257], ..job() }.check(), Err(JobError::TooManyArgs(257)));
        assert_eq!(JobSpec { args: vec!["x".repeat(65_537)], ..job() }.check(), Err(JobError::TooMuchText(65_537)));
        assert_eq!(JobSpec { args: vec!["a\0b".into()], ..job() }.check(), Err(JobError::BadText));
        assert_eq!(JobSpec { env: [("A=B".into(), "c".into())].into(), ..job() }.check(), Err(JobError::BadText));
        assert_eq!(JobSpec { retries: 101, ..job() }.check(), Err(JobError::TooManyRetries(101)));
        let limits = Limits { memory_bytes: 0, ..Limits::default() };
        assert_eq!(JobSpec { limits, ..job() }.check(), Err(JobError::ZeroLimit("memory_bytes")));
        let input = Input { path: "../etc/passwd".into(), digest: Digest::of(b"") };
        assert_eq!(JobSpec { inputs: vec![input], ..job() }.check(), Err(JobError::BadPath("../etc/passwd".into())));
    }

    /// Whatever a job says survives both encodings; what it does not say is not written.
    #[test]
    fn a_job_survives_its_encodings() {
        let array = [
            ("list".to_owned(), Values::List(vec!["a".into(), "b".into()])),
            ("lines".to_owned(), Values::Lines(crate::array::Lines { file: Digest::of(b"x"), count: 3 })),
            ("range".to_owned(), Values::Range(crate::array::Range { from: -1, to: 9, step: 2 })),
        ];
        let whole = JobSpec {
            external_id: Some("x".into()),
            array: array.into(),
            tasks: 36,
            resources: Resources { cores: 4, gpus: 1 },
            require: vec!["site == lyon".parse().unwrap()],
            user: "ann".into(),
            priority: -3,
            deadline_ms: Some(UnixMillis(7)),
            failed_max: 5,
            ..job()
        };
        assert_eq!(whole.check(), Ok(()));
        for spec in [job(), whole] {
            let encoded = crate::codec::encode(&spec);
            assert_eq!(crate::codec::decode::<JobSpec>(&encoded, 1 << 20).unwrap(), spec);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<JobSpec>(&json).unwrap(), spec);
        }
        let plain = serde_json::to_value(job()).unwrap();
        for field in ["array", "resources", "require", "user", "priority", "deadline_ms", "failed_max"] {
            assert!(plain.get(field).is_none(), "{field} was not said");
        }
    }

    #[test]
    fn a_replicated_job_says_how_sure_it_wants_to_be() {
        let job_of = |trust: &str| {
            let json = format!(r#"{{ "app": "{}", "trust": {trust} }}"#, Digest::of(b"app"));
            serde_json::from_str::<JobSpec>(&json).map_err(|error| error.to_string())
        };
        let spec = job_of(r#"{ "replicate": { "max_error": 0.001 } }"#).unwrap();
        assert_eq!(spec.trust, Trust::Replicate(Replicate::new(Fraction::new(0.001).unwrap())));
        assert_eq!(spec.check(), Ok(()));
        let encoded = crate::codec::encode(&spec);
        assert_eq!(crate::codec::decode::<JobSpec>(&encoded, 1 << 20).unwrap(), spec);
        assert!(job_of(r#"{ "replicate": { "max_error": 0.5 } }"#).unwrap_err().contains("below 0.5"));
        assert!(job_of(r#"{ "replicate": { "max_error": 0.1, "votes": 3 } }"#).unwrap_err().contains("votes"));
        let many = job_of(r#"{ "replicate": { "max_error": 0.1, "votes_max": 201 } }"#).unwrap();
        assert_eq!(many.check(), Err(JobError::VotesMax(201)));
        let search = Some(Search { task_work: 10, work_max: 100, shares: None });
        let search = JobSpec { search, done_when: DoneWhen::AnyTask, ..spec };
        assert_eq!(search.check(), Err(JobError::ReplicatedSearch));
    }

    #[test]
    fn so_many_jobs_at_their_limits_fit_in_a_message() {
        use crate::message::{BATCH_JOBS_MAX, BATCH_MAX, Lease, MESSAGE_BYTES_MAX, Seal, ToWorker};
        let inputs = (0..INPUTS_MAX).map(|number| Input { path: format!("{number:0>200}"), digest: Digest([255; 32]) });
        let room = TEXT_BYTES_MAX - INPUTS_MAX * 200;
        let largest = JobSpec { inputs: inputs.collect(), args: vec!["\u{7f}".repeat(room)], ..job() };
        assert_eq!(largest.check(), Ok(()));
        let require = vec![format!("site == {}", "x".repeat(TEXT_BYTES_MAX)).parse().unwrap()];
        assert!(matches!(JobSpec { require, ..job() }.check(), Err(JobError::TooMuchText(_))));
        let (id, spec) = (crate::id::JobId(u64::MAX), std::sync::Arc::new(largest));
        let task = crate::id::TaskId { job: id, index: u64::MAX };
        let lease = Lease { lease: crate::id::LeaseId(u64::MAX), task, work: u64::MAX, seal: Seal([255; 16]) };
        let message = ToWorker::Leases { jobs: vec![(id, spec); BATCH_JOBS_MAX], leases: vec![lease; BATCH_MAX] };
        assert!(crate::codec::encode(&message).len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn an_array_that_makes_no_sense_is_refused() {
        let range = |from, to, step| Values::Range(crate::array::Range { from, to, step });
        let with = |name: &str, values, tasks| JobSpec { array: [(name.to_owned(), values)].into(), tasks, ..job() };
        assert_eq!(with("seed", range(1, 9, 1), 9).check(), Ok(()));
        assert_eq!(with("seed", range(1, 9, 1), 8).check(), Err(JobError::Array { combinations: 9, tasks: 8 }));
        assert_eq!(with("seed", range(1, 9, -1), 1).check(), Err(JobError::NoValue("seed".into())));
        assert_eq!(with("task", range(1, 9, 1), 9).check(), Err(JobError::ArrayName("task".into())));
        assert_eq!(with("a b", range(1, 9, 1), 9).check(), Err(JobError::ArrayName("a b".into())));
        let long = Values::List(vec!["x".repeat(TEXT_BYTES_MAX + 1)]);
        assert!(matches!(with("seed", long, 1).check(), Err(JobError::TooMuchText(_))));
    }

    #[test]
    fn a_search_that_makes_no_sense_is_refused() {
        let search = |search: Search| JobSpec { done_when: DoneWhen::AnyTask, search: Some(search), ..job() };
        let whole = Search { task_work: 10, work_max: 100, shares: None };
        assert_eq!(search(whole.clone()).check(), Ok(()));
        let of_all = JobSpec { done_when: DoneWhen::AllTasks, ..search(whole.clone()) };
        assert_eq!(of_all.check(), Err(JobError::SearchOfAllTasks));
        assert_eq!(search(Search { task_work: 0, ..whole.clone() }).check(), Err(JobError::NoWork));
        assert_eq!(search(Search { work_max: 0, ..whole.clone() }).check(), Err(JobError::NoWork));
        assert_eq!(
            search(Search { task_work: WORK_MAX, ..whole.clone() }).check(),
            Err(JobError::TooMuchWork(WORK_MAX))
        );
        let terms = ShareTerms {
            checker: "any".into(),
            file: "shares".into(),
            expected: 64,
            params: BTreeMap::from([("width".into(), "7".into())]),
        };
        let with = |terms: ShareTerms| search(Search { shares: Some(terms), ..whole.clone() }).check();
        assert_eq!(with(terms.clone()), Ok(()));
        assert_eq!(
            with(ShareTerms { file: "/etc/shares".into(), ..terms.clone() }),
            Err(JobError::BadPath("/etc/shares".into()))
        );
        for expected in [0, SHARES_MAX + 1] {
            assert_eq!(with(ShareTerms { expected, ..terms.clone() }), Err(JobError::Shares(expected)));
        }
        let long = BTreeMap::from([("width".to_owned(), "7".repeat(TEXT_BYTES_MAX))]);
        assert!(matches!(with(ShareTerms { params: long, ..terms }), Err(JobError::TooMuchText(_))));
    }
}
