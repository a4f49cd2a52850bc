//! The jobs of a scenario, and what is true of their tasks.

use std::sync::Arc;

use gristmill_proto::app::{ProcessTarget, Target};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::{DoneWhen, JobSpec, Limits, Resources, Search, Trust};

use crate::random::{Random, mix};
use crate::scenario::{Scenario, Stream, TrustTerms};

/// One job of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JobName {
    pub(crate) stream: u32,
    pub(crate) number: u32,
}

/// A job that was submitted.
#[derive(Clone, Debug)]
pub(crate) struct KnownJob {
    pub(crate) name: JobName,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) submitted_at: u64,
    /// Leases that were given for it.
    pub(crate) given: u64,
}

/// A task, whoever runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) job: JobName,
    pub(crate) index: u64,
}

#[derive(Debug)]
pub(crate) struct Workload<'a> {
    seed: u64,
    streams: &'a [Stream],
}

/// Streams of random numbers of tasks.
const DURATIONS: u64 = 1;
const ANSWERS: u64 = 2;
const MOODS: u64 = 3;

impl<'a> Workload<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        Self { seed: scenario.seed, streams: &scenario.jobs }
    }

    pub(crate) fn stream(&self, name: JobName) -> &'a Stream {
        &self.streams[name.stream as usize]
    }

    pub(crate) fn spec(&self, name: JobName) -> JobSpec {
        let stream = self.stream(name);
        let limits = Limits::default();
        let search = stream.search;
        let trust = match stream.trust {
            TrustTerms::Pool => Trust::Pool,
            TrustTerms::Submitter => Trust::Submitter,
        };
        let defaults = JobSpec::new(Digest::of(b"a simulated app"));
        JobSpec {
            external_id: Some(external_id(name)),
            tasks: stream.tasks,
            done_when: if search.is_some() { DoneWhen::AnyTask } else { DoneWhen::AllTasks },
            search: search.map(|s| Search { task_work: s.task_work, work_max: s.work_max, shares: None }),
            limits: Limits { wall_ms: stream.wall_s.map_or(limits.wall_ms, |s| ms_of(s.get())), ..limits },
            resources: Resources { cores: stream.cores, ..Resources::default() },
            trust,
            user: stream.user.clone(),
            priority: stream.priority,
            failed_max: stream.failed_max,
            retries: stream.retries.unwrap_or(defaults.retries),
            ..defaults
        }
    }

    /// What the task takes at speed 1: the same, whoever runs it.
    pub(crate) fn seconds(&self, task: Task) -> f64 {
        self.stream(task.job).task_s.draw(&mut self.random(task, DURATIONS))
    }

    pub(crate) fn truth(&self, task: Task) -> u64 {
        self.random(task, ANSWERS).next()
    }

    /// Liars that lie together lie on the tasks with the lowest moods.
    pub(crate) fn mood(&self, task: Task) -> f64 {
        self.random(task, MOODS).fraction()
    }

    /// Whether there is anything to find: always, but in a search.
    pub(crate) fn has_answer(&self, task: Task) -> bool {
        let stream = self.stream(task.job);
        let last = task.index + 1 == stream.tasks;
        stream.search.is_none_or(|search| last || self.truth(task).is_multiple_of(u64::from(search.one_in)))
    }

    fn random(&self, task: Task, what: u64) -> Random {
        let job = u64::from(task.job.stream) << 32 | u64::from(task.job.number);
        Random::of(mix(self.seed ^ what), job, task.index)
    }
}

/// What all simulated liars call the answer.
pub(crate) fn common_lie(truth: u64) -> u64 {
    mix(truth ^ 1)
}

/// Seconds as the milliseconds of the clock, one at least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
pub(crate) fn ms_of(seconds: f64) -> u64 {
    ((seconds * 1_000.0) as u64).clamp(1, u64::MAX >> 8)
}

fn external_id(name: JobName) -> String {
    format!("{}-{}", name.stream, name.number)
}

pub(crate) fn name_of(spec: &JobSpec) -> JobName {
    let read = |text: &str| {
        let (stream, number) = text.split_once('-')?;
        Some(JobName { stream: stream.parse().ok()?, number: number.parse().ok()? })
    };
    spec.external_id.as_deref().and_then(read).expect("every job here was named by `external_id`")
}

pub(crate) fn target() -> Target {
    let (os, arch, entry) = ("linux".into(), "x86_64".into(), "app".into());
    Target::Process(ProcessTarget { os, arch, entry, files: Vec::new() })
}
