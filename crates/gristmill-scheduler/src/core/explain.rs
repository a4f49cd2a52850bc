//! Why a job does not run, from what the matcher itself looks at.

use gristmill_proto::id::{JobId, WorkerId};
use gristmill_proto::requirement::NETWORK;
use gristmill_proto::view::{Condition, WhyJob, WhyWorker};

use super::class::Needs;
use super::job::Job;
use super::worker::Worker;
use super::{Core, Lack};

/// Jobs looked at for one worker.
const JOBS_SHOWN_MAX: usize = 100;

impl Core {
    /// What holds a live job back; nothing if there is no such job.
    pub fn why_job(&self, id: JobId) -> Option<WhyJob> {
        let job = self.jobs.get(&id)?;
        let class = self.classes.get(job.class);
        let connected: Vec<(&WorkerId, &Worker)> =
            self.workers.iter().filter(|(_, worker)| worker.connection.is_some()).collect();
        let conditions = conditions(&class.needs, &connected);
        let able = |id: &&WorkerId| self.workers.get(id).is_some_and(|worker| worker.classes.contains(&job.class));
        let trusted = connected
            .iter()
            .filter(|(id, worker)| worker.classes.contains(&job.class) && self.may_run(**id, job))
            .count() as u64;
        let before = class.queue.turns().position(|(_, _, _, _, place)| place.job == id).map(|place| place as u64);
        let counts = job.counts();
        let mut why = WhyJob {
            job: id,
            tasks: counts,
            workers: connected.len() as u64,
            able: class.able as u64,
            excluded: job.excluded.iter().filter(able).copied().collect(),
            avoided: job.avoided.iter().filter(able).copied().collect(),
            idle: class.idle.iter().filter(|id| self.may_run(**id, job) && self.has_task_for(**id, job)).count() as u64,
            jobs_before: before,
            expected_ms: self.expected_ms(job, class.able as u64),
            conditions,
            reason: String::new(),
            hint: String::new(),
        };
        (why.reason, why.hint) = self.why_votes(job).unwrap_or_else(|| in_words(&why, trusted));
        Some(why)
    }

    /// Which jobs that wait for a worker this one would get, and why not the others; nothing if it is not here.
    pub fn why_worker(&self, id: WorkerId) -> Option<WhyWorker> {
        let worker = self.workers.get(&id)?;
        let waiting = self.jobs.iter().filter(|(_, job)| job.has_waiting()).take(JOBS_SHOWN_MAX);
        let mut jobs: Vec<(JobId, String)> =
            waiting.map(|(job_id, job)| (*job_id, self.obstacle(id, worker, job))).collect();
        jobs.sort_unstable();
        Some(WhyWorker {
            worker: id,
            connected: worker.connection.is_some(),
            slots: worker.offer.slots,
            running: u32::try_from(worker.running.len()).unwrap_or(u32::MAX),
            ahead: u32::try_from(worker.ahead.len()).unwrap_or(u32::MAX),
            labels: worker.offer.labels.clone(),
            jobs,
        })
    }

    /// Why the worker does not run this job now.
    fn obstacle(&self, id: WorkerId, worker: &Worker, job: &Job) -> String {
        let needs = &self.classes.get(job.class).needs;
        if let Some(lack) = needs.lacks(&worker.offer).next() {
            return what(&lack, needs).0;
        }
        if job.ballots.as_ref().is_some_and(|ballots| self.trust_in(id, ballots.class).exposed) {
            return "it was exposed as a liar with this app".to_owned();
        }
        if job.excluded.contains(&id) {
            return "it lied about this job or could not run it".to_owned();
        }
        if !self.may_run(id, job) {
            return "the program failed here, and other workers are tried first".to_owned();
        }
        if worker.connection.is_none() {
            return "it is not connected".to_owned();
        }
        if !worker.has_room_for(needs) {
            return "it has no room left".to_owned();
        }
        if !self.has_task_for(id, job) {
            return "it, its owner or its address has voted on the tasks that want votes".to_owned();
        }
        "nothing: other jobs have their turn first".to_owned()
    }

    /// How long the job's waiting tasks take on all who could run them, if one has ended already.
    fn expected_ms(&self, job: &Job, able: u64) -> Option<u64> {
        let counts = job.counts();
        Some(job.expected_ms(counts.waiting + counts.running)? / able.max(1))
    }
}

/// What each condition of the job asks, and how many connected workers meet it.
fn conditions(needs: &Needs, connected: &[(&WorkerId, &Worker)]) -> Vec<Condition> {
    let all = [Lack::Target, Lack::Slots, Lack::Memory].into_iter();
    let gpus = (needs.gpus > 0).then_some(Lack::Gpus);
    let labels = needs.require.iter().cloned().map(Lack::Label);
    let condition = |lack: Lack| {
        let lacking =
            connected.iter().filter(|(_, worker)| needs.lacks(&worker.offer).any(|other| other == lack)).count();
        let (_, asks, hint) = describe(&lack, needs);
        Condition { asks, admits: (connected.len() - lacking) as u64, hint }
    };
    all.chain(gpus).chain(labels).map(condition).collect()
}

fn what(lack: &Lack, needs: &Needs) -> (String, String) {
    let (lacks, asks, _) = describe(lack, needs);
    (lacks, asks)
}

/// What the worker lacks, what the job asks, and what can be done about it.
fn describe(lack: &Lack, needs: &Needs) -> (String, String, String) {
    match lack {
        Lack::Target => {
            let targets: Vec<String> = needs
                .targets
                .iter()
                .map(|(runtime, os, arch)| match format!("{os} {arch}").trim() {
                    "" => runtime.to_string(),
                    place => format!("{runtime} on {place}"),
                })
                .collect();
            let targets = targets.join(", or ");
            (
                format!("it cannot run what the app is made for: {targets}"),
                format!("runs {targets}"),
                "publish the app for what the workers have, or connect other workers".to_owned(),
            )
        }
        Lack::Slots => (
            format!("it has fewer than {} slots", needs.cores),
            format!("{} slots", needs.cores),
            "ask for fewer `cores`, or connect a worker with more `--slots`".to_owned(),
        ),
        Lack::Memory => {
            let mebibytes = needs.memory_bytes.div_ceil(1 << 20);
            (
                format!("it has less than {mebibytes} MiB of memory"),
                format!("{mebibytes} MiB of memory (`memory_bytes` and `disk_bytes`)"),
                "lower the job's limits".to_owned(),
            )
        }
        Lack::Gpus => (
            format!("it has fewer than {} GPUs", needs.gpus),
            format!("{} GPUs", needs.gpus),
            "ask for fewer `gpus`".to_owned(),
        ),
        Lack::Label(condition) => (
            format!("`{condition}` does not hold"),
            condition.to_string(),
            match condition.label() {
                NETWORK => "start a worker with `--allow-host NAME:PORT`, which lets apps reach that host".to_owned(),
                label => format!("drop the condition, or start a worker with `--label {label}=…`"),
            },
        ),
    }
}

/// The one thing that holds the job back, and what to do about it.
fn in_words(why: &WhyJob, trusted: u64) -> (String, String) {
    let said = |reason: &str, hint: &str| (reason.to_owned(), hint.to_owned());
    if why.tasks.waiting == 0 {
        return match (why.tasks.running, why.tasks.pending) {
            (0, 0) => said("nothing waits", ""),
            (0, _) => said("its results wait for the submitter's verdict", "look whether the oracle runs"),
            _ => said("all its tasks that are left are running", ""),
        };
    }
    if why.workers == 0 {
        return said("no worker is connected", "start one: gristmill worker --pool URL");
    }
    if why.able == 0 {
        let unmet: Vec<&Condition> = why.conditions.iter().filter(|condition| condition.admits == 0).collect();
        return match unmet.first() {
            Some(condition) => (format!("no worker meets a condition: {}", condition.asks), condition.hint.clone()),
            None => said("no worker meets all conditions at once", "drop one of them, or connect another worker"),
        };
    }
    if trusted == 0 {
        return said(
            "every worker that could run it lied about it or could not run it",
            "see why its attempts failed with `gristmill job`, or connect another worker",
        );
    }
    if why.idle > 0 {
        return said("nothing: it is about to start", "");
    }
    let before = why.jobs_before.unwrap_or(0);
    let reason = match before {
        0 => "every worker that could run it is busy; it is next".to_owned(),
        1 => "every worker that could run it is busy, and 1 job has its turn first".to_owned(),
        _ => format!("every worker that could run it is busy, and {before} jobs have their turn first"),
    };
    (reason, "wait, raise its `priority` among your own jobs, or connect more workers".to_owned())
}
