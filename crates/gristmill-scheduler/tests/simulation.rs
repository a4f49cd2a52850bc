//! A whole pool in one thread: the real core with a simulated clock, network, disk, submitter and workers that are
//! honest, slow, lying, forging, silent or dying. Messages are delayed, doubled and lost; the pool crashes between
//! event and commit. Everything follows from a seed, which a failure names: `GRISTMILL_SEED=7 cargo test` replays it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_proto::app::{ProcessTarget, Runtime, Target};
use gristmill_proto::codec::{decode, encode};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec, Limits, Search, Trust};
use gristmill_proto::key::WorkerKey;
use gristmill_proto::message::{HeldLease, Lease, Seal, ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Log, Outcome, Usage};
use gristmill_proto::receipt::{Statement, digest_of_job, sign_batch, signer_of_batch};
use gristmill_proto::view::{Closest, JobState, Verdict};
use gristmill_scheduler::core::{
    Batch, Change, ConnectionId, Core, Effects, Fault, Finish, PoolSecret, ResultAdded, Speed, StoredJob, StoredResult,
    Tuning, VerdictError,
};
use gristmill_scheduler::store::Store;

const POOL: &str = "simulated";
const SECRET: PoolSecret = PoolSecret([7; 32]);
const TUNING: Tuning = Tuning {
    alive_ms: 1_000,
    lost_ms: 5_000,
    reconnect_ms: 2_000,
    transfer_ms: 8_000,
    jobs_live_max: 1_000,
    workers_max: 100,
};
const WALL_MS: u64 = 4_000;
const TASK_WORK: u64 = 64;
/// More than the searches of this simulation ever spend.
const WORK_MAX: u64 = 100_000;

#[test]
fn nothing_is_lost_or_done_twice_whatever_happens() {
    let given = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = given.map_or(0..150, |seed| seed..seed + 1);
    let (mut done, mut failed) = (0, 0);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| Simulation::new(seed).run());
        let states = run.unwrap_or_else(|panic| {
            eprintln_seed(seed);
            std::panic::resume_unwind(panic)
        });
        done += states.iter().filter(|state| **state == JobState::Done).count();
        failed += states.iter().filter(|state| **state == JobState::Failed).count();
    }
    assert!(done > 10 * failed, "{done} jobs were done and {failed} failed");
}

#[expect(clippy::print_stderr, reason = "the seed replays the failure")]
fn eprintln_seed(seed: u64) {
    eprintln!("failing seed: GRISTMILL_SEED={seed}");
}

/// What the real store gives back after a restart is what the changes say.
#[test]
fn the_store_restores_what_the_changes_say() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        simulation.storm(400);
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("pool.sqlite")).unwrap();
        for group in simulation.disk.chunks(3) {
            store.commit(group).unwrap();
        }
        drop(store);
        let mut store = Store::open(&dir.path().join("pool.sqlite")).unwrap();
        let restored = store.begin_run([1; 32]).unwrap();
        let mut jobs = restored.jobs;
        jobs.sort_by_key(|job| job.job);
        let expected = restore(&simulation.disk);
        assert_eq!(jobs.len(), expected.len(), "seed {seed}");
        for (found, wanted) in jobs.iter().zip(&expected) {
            let sorted = |job: &StoredJob| {
                let mut failures: Vec<_> =
                    job.failures.iter().map(|(task, worker, fault)| (*task, *worker, *fault as u8)).collect();
                failures.sort_unstable();
                let mut results: Vec<_> = job
                    .results
                    .iter()
                    .map(|result| (result.index, result.lease, result.worker, result.verdict as u8, result.work))
                    .collect();
                results.sort_unstable();
                (job.job, job.spec.clone(), job.needs.clone(), job.at, failures, results, job.work_done)
            };
            assert_eq!(sorted(found), sorted(wanted), "seed {seed}");
        }
        let speeds: BTreeMap<Digest, Speed> = restored.speeds.into_iter().collect();
        assert_eq!(speeds, restored_speeds(&simulation.disk), "seed {seed}");
        assert_eq!(store.begin_run([2; 32]).unwrap().run, 2, "each start is counted");
    }
}

/// One worker with both slots taken, at time 0.
fn busy_worker() -> (Core, WorkerId, Vec<LeaseId>) {
    let mut core = Core::new(POOL.to_owned(), SECRET, TUNING, 1, JobId(1));
    let id = WorkerKey::from_bytes(&[1; 32]).unwrap().id();
    let mut effects = Effects::default();
    let spec = JobSpec { tasks: 10, ..JobSpec::new(Digest::of(b"app")) };
    core.submit(spec, &[target()], UnixMillis(0), &mut effects).unwrap();
    core.connect(id, ConnectionId(1), offer(), &[], UnixMillis(0), &mut effects).unwrap();
    core.greeted(id, UnixMillis(0), &mut effects);
    (core, id, leases_in(&effects))
}

/// A lease and its job, as a worker knows them.
#[derive(Clone, Debug)]
struct Given {
    lease: LeaseId,
    task: TaskId,
    work: u64,
    seal: Seal,
    job: Arc<JobSpec>,
}

fn given_in(message: &ToWorker) -> Vec<Given> {
    let ToWorker::Leases { jobs, leases } = message else { return Vec::new() };
    let jobs: BTreeMap<JobId, &Arc<JobSpec>> = jobs.iter().map(|(id, job)| (*id, job)).collect();
    let given = |lease: &Lease| {
        let Lease { lease, task, work, seal } = *lease;
        Given { lease, task, work, seal, job: jobs[&task.job].clone() }
    };
    leases.iter().map(given).collect()
}

fn all_given(effects: &Effects) -> Vec<Given> {
    effects.messages.iter().flat_map(|(_, _, message)| given_in(message)).collect()
}

fn leases_in(effects: &Effects) -> Vec<LeaseId> {
    all_given(effects).iter().map(|given| given.lease).collect()
}

/// What a worker with this key sends of attempts that have ended.
fn batch_of(ended: Vec<(&Given, Outcome)>, key: &WorkerKey, closest: Option<&Closest>) -> Batch {
    let (mut leaves, mut finishes) = (Vec::new(), Vec::new());
    for (given, outcome) in ended {
        let encoded = encode(&outcome);
        let (app, job) = (given.job.app, digest_of_job(&given.job));
        leaves.push(Statement::new(POOL, given.lease, given.task, app, job, &encoded).leaf());
        let (lease, outcome) = (given.lease, Box::new(outcome));
        finishes.push(Finish { lease, outcome, encoded, flaw: None, salt: None, shares: 0, closest: closest.cloned() });
    }
    let signature = sign_batch(&leaves, key);
    Batch { finishes, leaves, signature }
}

#[test]
fn a_lease_that_its_worker_does_not_list_is_given_anew() {
    let (mut core, id, leases) = busy_worker();
    assert_eq!(leases.len(), 2);
    let mut effects = Effects::default();
    // It may have crossed the first beat on the way.
    core.alive(id, ConnectionId(1), &leases[..1], UnixMillis(TUNING.alive_ms), &mut effects);
    assert_eq!(leases_in(&effects), []);
    core.alive(id, ConnectionId(1), &leases[..1], UnixMillis(TUNING.alive_ms + 1), &mut effects);
    let again = leases_in(&effects);
    assert!(again.len() == 1 && !leases.contains(&again[0]), "{again:?}");
    core.check_invariants();
}

/// Ends an attempt well, without an answer.
fn end(core: &mut Core, id: WorkerId, lease: &Given, closest: Option<&Closest>) -> Effects {
    end_with(core, id, lease, None, closest)
}

fn end_with(
    core: &mut Core,
    id: WorkerId,
    lease: &Given,
    answer: Option<Vec<u8>>,
    closest: Option<&Closest>,
) -> Effects {
    let outcome = Outcome {
        exit: Exit::Code(0),
        answer,
        files: vec![],
        stdout: Log::default(),
        stderr: Log::default(),
        usage: Usage { work_done: lease.work, ..Usage::default() },
    };
    let batch = batch_of(vec![(lease, outcome)], &WorkerKey::from_bytes(&[1; 32]).unwrap(), closest);
    let mut effects = Effects::default();
    core.finished(id, ConnectionId(1), batch, UnixMillis(2), &mut effects);
    core.check_invariants();
    effects
}

fn lease_in(effects: &Effects) -> Option<Given> {
    all_given(effects).into_iter().next()
}

/// A job that came first does not keep the slots that come free.
#[test]
fn jobs_take_turns() {
    let (mut core, id, leases) = busy_worker();
    let mut effects = Effects::default();
    let spec = JobSpec { tasks: 10, ..JobSpec::new(Digest::of(b"app")) };
    core.submit(spec.clone(), &[target()], UnixMillis(1), &mut effects).unwrap();
    assert_eq!(leases_in(&effects), [], "both slots are taken");
    let task = TaskId { job: JobId(1), index: 0 };
    let first = Given { lease: leases[0], task, work: 0, seal: Seal([0; 16]), job: Arc::new(spec) };
    let effects = end(&mut core, id, &first, None);
    assert_eq!(lease_in(&effects).map(|lease| lease.task.job), Some(JobId(2)));
}

/// Slots that come free because nobody wants their attempts any more are not left idle until somebody speaks.
#[test]
fn cancelled_attempts_make_room_at_once() {
    let (mut core, _, leases) = busy_worker();
    let mut effects = Effects::default();
    let spec = JobSpec { tasks: 10, ..JobSpec::new(Digest::of(b"app")) };
    core.submit(spec, &[target()], UnixMillis(1), &mut effects).unwrap();
    assert_eq!(leases_in(&effects), []);
    core.cancel(JobId(1), "not wanted", UnixMillis(2), &mut effects);
    assert_eq!(leases_in(&effects).len(), leases.len());
    assert!(all_given(&effects).iter().all(|given| given.task.job == JobId(2)));
    core.check_invariants();
}

/// An answer that turns out wrong costs the worker the job, and its slots go to others.
#[test]
fn a_verdict_makes_room_at_once() {
    let (mut core, id, leases) = searching_on(2, WORK_MAX);
    let mut effects = Effects::default();
    core.submit(JobSpec::new(Digest::of(b"app")), &[target()], UnixMillis(1), &mut effects).unwrap();
    end_with(&mut core, id, &leases[0], Some(b"found".to_vec()), None);
    let mut effects = Effects::default();
    core.judge(JobId(1), leases[0].lease, false, "wrong", UnixMillis(3), &mut effects).unwrap();
    core.submit(JobSpec::new(Digest::of(b"app")), &[target()], UnixMillis(4), &mut effects).unwrap();
    assert!(all_given(&effects).iter().any(|given| given.task.job == JobId(3)), "{effects:?}");
    core.check_invariants();
}

/// One search, one slot.
fn searching(work_max: u64) -> (Core, WorkerId, Given) {
    let (core, id, mut leases) = searching_on(1, work_max);
    (core, id, leases.remove(0))
}

fn searching_on(slots: u32, work_max: u64) -> (Core, WorkerId, Vec<Given>) {
    let mut core = Core::new(POOL.to_owned(), SECRET, TUNING, 1, JobId(1));
    let id = WorkerKey::from_bytes(&[1; 32]).unwrap().id();
    let mut effects = Effects::default();
    let search = Search { task_work: TASK_WORK, work_max, shares: None };
    let spec = JobSpec {
        tasks: 1_000,
        done_when: DoneWhen::AnyTask,
        search: Some(search),
        trust: Trust::Submitter,
        ..JobSpec::new(Digest::of(b"app"))
    };
    core.submit(spec, &[target()], UnixMillis(0), &mut effects).unwrap();
    core.connect(id, ConnectionId(1), WorkerOffer { slots, ..offer() }, &[], UnixMillis(0), &mut effects).unwrap();
    core.greeted(id, UnixMillis(0), &mut effects);
    (core, id, all_given(&effects))
}

#[test]
fn a_search_ends_when_what_was_paid_for_is_spent() {
    let (mut core, id, mut lease) = searching(3 * TASK_WORK);
    for _ in 0..2 {
        let effects = end(&mut core, id, &lease, None);
        lease = lease_in(&effects).expect("the search goes on");
    }
    let effects = end(&mut core, id, &lease, None);
    assert!(lease_in(&effects).is_none());
    let failed = effects.changes.iter().any(|change| {
        matches!(change, Change::JobEnded { state: JobState::Failed, reason: Some(reason), .. } if reason.contains("in vain"))
    });
    assert!(failed, "{:?}", effects.changes);
}

/// The search was paid for to its end, and somebody has found something at the last moment.
#[test]
fn a_find_that_waits_for_its_verdict_is_not_thrown_away() {
    let (mut core, id, leases) = searching_on(2, TASK_WORK);
    let [finder, other] = &leases[..] else { panic!("two slots") };
    end_with(&mut core, id, finder, Some(b"found".to_vec()), None);
    let effects = end(&mut core, id, other, None);
    assert!(!effects.changes.iter().any(|change| matches!(change, Change::JobEnded { .. })), "{:?}", effects.changes);
    let mut effects = Effects::default();
    core.judge(JobId(1), finder.lease, true, "", UnixMillis(3), &mut effects).unwrap();
    let done = |change: &Change| matches!(change, Change::JobEnded { state: JobState::Done, .. });
    assert!(effects.changes.iter().any(done), "{:?}", effects.changes);
}

#[test]
fn only_a_better_near_miss_is_kept() {
    let (mut core, id, mut lease) = searching(WORK_MAX);
    let mut kept = Vec::new();
    for score in [3, 5, 4, 5, 6] {
        let closest = Closest { score, text: score.to_string(), record: String::new() };
        let effects = end(&mut core, id, &lease, Some(&closest));
        kept.extend(effects.changes.iter().filter_map(|change| match change {
            Change::CameCloser { closest, .. } => Some(closest.score),
            _ => None,
        }));
        lease = lease_in(&effects).expect("the search goes on");
    }
    assert_eq!(kept, [3, 5, 6]);
}

/// Claims of progress beyond what was given out count for nothing.
#[test]
fn nobody_searches_more_than_was_given() {
    let (mut core, id, lease) = searching(WORK_MAX);
    let mut effects = Effects::default();
    core.progress(id, ConnectionId(1), lease.lease, u64::MAX, UnixMillis(1), &mut effects);
    assert_eq!(core.job_status(JobId(1), UnixMillis(1)).unwrap().progress.done, lease.work);
    let mut inflated = lease.clone();
    inflated.work = u64::MAX;
    end(&mut core, id, &inflated, None);
    assert_eq!(core.job_status(JobId(1), UnixMillis(2)).unwrap().progress.done, lease.work);
}

#[test]
fn what_a_former_connection_says_is_ignored() {
    let (mut core, id, leases) = busy_worker();
    let held = |lease: &LeaseId| HeldLease {
        lease: *lease,
        task: TaskId { job: JobId(1), index: 0 },
        work: 0,
        seal: Seal([0; 16]),
    };
    let held: Vec<HeldLease> = leases.iter().map(held).collect();
    let mut effects = Effects::default();
    core.connect(id, ConnectionId(2), offer(), &held, UnixMillis(10), &mut effects).unwrap();
    let mut stale = Effects::default();
    core.alive(id, ConnectionId(1), &[], UnixMillis(60_000), &mut stale);
    core.declined(id, ConnectionId(1), leases[0], "stale", UnixMillis(60_000), &mut stale);
    core.disconnect(id, ConnectionId(1), UnixMillis(60_000));
    assert!(stale.is_empty(), "{stale:?}");
    assert!(core.worker_statuses()[0].connected);
    assert_eq!(core.next_tick(), Some(UnixMillis(10 + TUNING.lost_ms)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Character {
    Honest,
    /// Takes work and never answers, but says that it lives.
    Silent,
    /// Says that it has searched in vain, at once.
    Idler,
    /// Answers with what is not so.
    Liar,
    /// Signs with another key.
    Forger,
    /// Cannot run anything.
    Broken,
    /// The program fails on it every other time.
    Unlucky,
}

struct SimulatedWorker {
    key: WorkerKey,
    character: Character,
    connection: Option<ConnectionId>,
    /// Never comes back.
    gone: bool,
    held: BTreeMap<LeaseId, (Given, UnixMillis, bool)>,
}

/// Something under way.
#[derive(Clone, Debug)]
enum Delivery {
    ToWorker(usize, ConnectionId, ToWorker),
    Finished(usize, ConnectionId, Box<Batch>),
    Returned(usize, ConnectionId, Vec<LeaseId>),
    Alive(usize, ConnectionId, Vec<LeaseId>),
    Progress(usize, ConnectionId, LeaseId, u64),
    Verdict(JobId, LeaseId, bool),
}

struct Simulation {
    random: Random,
    now: UnixMillis,
    core: Core,
    run: u64,
    /// What is durable, and what was acted on but is not yet.
    disk: Vec<Change>,
    uncommitted: Vec<Effects>,
    workers: Vec<SimulatedWorker>,
    under_way: BTreeMap<(UnixMillis, u64), Delivery>,
    sent: u64,
    connections: u64,
    /// Jobs whose submission was acknowledged.
    acknowledged: BTreeSet<JobId>,
    /// Leases whose result a worker was told is on record.
    recorded: BTreeSet<LeaseId>,
    /// Every lease told, to whom, and how much there was to do.
    leases_seen: BTreeMap<LeaseId, (WorkerId, u64)>,
    /// Leases that came to something.
    ended: BTreeSet<LeaseId>,
    /// Who must get no more of a job.
    excluded: BTreeSet<(JobId, WorkerId)>,
    calm: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let count = 2 + random.below(5);
        let characters = [
            Character::Silent,
            Character::Idler,
            Character::Liar,
            Character::Forger,
            Character::Broken,
            Character::Unlucky,
        ];
        let workers = (0..count)
            .map(|number| SimulatedWorker {
                key: WorkerKey::from_bytes(&[u8::try_from(number).unwrap() + 1; 32]).unwrap(),
                // One honest worker at least, or nothing would ever get done.
                character: if number == 0 || random.chance(50) {
                    Character::Honest
                } else {
                    characters[random.index(characters.len())]
                },
                connection: None,
                gone: false,
                held: BTreeMap::new(),
            })
            .collect();
        Self {
            random,
            now: UnixMillis(1_000_000),
            core: Core::new(POOL.to_owned(), SECRET, TUNING, 1, JobId(1)),
            run: 1,
            disk: Vec::new(),
            uncommitted: Vec::new(),
            workers,
            under_way: BTreeMap::new(),
            sent: 0,
            connections: 0,
            acknowledged: BTreeSet::new(),
            recorded: BTreeSet::new(),
            leases_seen: BTreeMap::new(),
            ended: BTreeSet::new(),
            excluded: BTreeSet::new(),
            calm: false,
        }
    }

    /// How its jobs ended.
    fn run(mut self) -> Vec<JobState> {
        self.storm(600);
        self.calm = true;
        for number in 1..self.workers.len() {
            if self.random.chance(30) {
                // The pool hears nothing of it.
                (self.workers[number].gone, self.workers[number].connection) = (true, None);
            }
        }
        let mut steps = 0;
        while self.core.live_jobs().next().is_some() {
            self.step();
            steps += 1;
            assert!(steps < 200_000, "jobs never end: {:?}", self.core.live_jobs().collect::<Vec<_>>());
        }
        for _ in 0..600 {
            self.step();
        }
        self.commit();
        for worker in self.core.worker_statuses() {
            assert_eq!(worker.running, 0, "{:?} still has slots taken", worker.id);
        }
        self.check_history()
    }

    fn storm(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// One thing happens.
    fn step(&mut self) {
        if self.calm {
            self.send_alive();
        }
        self.now = self.now.plus(self.random.below(if self.calm { 300 } else { 120 }));
        match self.random.below(100) {
            0..3 if !self.calm => self.submit(),
            3..5 if !self.calm => self.crash_pool(),
            5..8 if !self.calm => self.drop_connection(),
            8..10 if !self.calm => self.kill_worker(),
            10 if !self.calm => self.cancel_something(),
            11..30 => self.connect_somebody(),
            30..45 => self.work(),
            45..55 => self.send_alive(),
            55..75 => self.commit(),
            75..80 => self.act(|core, now, effects| core.tick(now, effects)),
            _ => self.deliver(),
        }
        while self.calm && self.under_way.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
            self.deliver();
        }
        self.core.check_invariants();
    }

    fn act<R>(&mut self, event: impl FnOnce(&mut Core, UnixMillis, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let result = event(&mut self.core, self.now, &mut effects);
        self.uncommitted.push(effects);
        result
    }

    fn submit(&mut self) {
        let any = self.random.chance(50);
        let spec = JobSpec {
            tasks: 1 + self.random.below(if any { 30 } else { 8 }),
            done_when: if any { DoneWhen::AnyTask } else { DoneWhen::AllTasks },
            search: any.then_some(Search { task_work: TASK_WORK, work_max: WORK_MAX, shares: None }),
            limits: Limits { wall_ms: WALL_MS, ..Limits::default() },
            trust: if self.random.chance(60) { Trust::Submitter } else { Trust::Pool },
            retries: 20,
            ..JobSpec::new(Digest::of(b"app"))
        };
        self.act(|core, now, effects| core.submit(spec, &[target()], now, effects)).expect("a good job");
    }

    fn cancel_something(&mut self) {
        let jobs: Vec<JobId> = self.core.live_jobs().collect();
        if !jobs.is_empty() {
            let job = jobs[self.random.index(jobs.len())];
            self.act(|core, now, effects| core.cancel(job, "not wanted", now, effects));
        }
    }

    /// All that gathered becomes durable, and only then is anything said.
    fn commit(&mut self) {
        for effects in std::mem::take(&mut self.uncommitted) {
            for change in &effects.changes {
                if let Change::ResultAdded(ResultAdded { lease, .. }) | Change::AttemptFailed { lease, .. } = change {
                    self.ended.insert(*lease);
                }
                match change {
                    Change::JobAdded { job, .. } => {
                        self.acknowledged.insert(*job);
                    }
                    Change::ResultAdded(ResultAdded { task, lease, outcome, verdict: Verdict::Pending, .. }) => {
                        self.post(&Delivery::Verdict(task.job, *lease, is_true(&decoded(outcome))));
                    }
                    Change::AttemptFailed { task, worker, fault: Fault::Worker, .. }
                    | Change::VerdictGiven { task, worker, certified: false, .. } => {
                        self.excluded.insert((task.job, *worker));
                    }
                    _ => {}
                }
            }
            self.disk.extend(effects.changes);
            for (worker, connection, message) in effects.messages {
                let number = self.workers.iter().position(|w| w.key.id() == worker).expect("a known worker");
                for lease in given_in(&message) {
                    assert!(
                        !self.excluded.contains(&(lease.task.job, worker)),
                        "{worker:?} gets more of {:?}",
                        lease.task
                    );
                    let before = self.leases_seen.insert(lease.lease, (worker, lease.work));
                    assert!(before.is_none(), "{:?} was given twice", lease.lease);
                }
                self.post(&Delivery::ToWorker(number, connection, message));
            }
        }
    }

    /// What was not committed never happened; connections break.
    fn crash_pool(&mut self) {
        self.uncommitted.clear();
        self.run += 1;
        let jobs = restore(&self.disk);
        let next = self.disk.iter().filter_map(|change| match change {
            Change::JobAdded { job, .. } => Some(job.0 + 1),
            _ => None,
        });
        let next = JobId(next.max().unwrap_or(1));
        self.core = Core::new(POOL.to_owned(), SECRET, TUNING, self.run, next);
        let mut pending = Vec::new();
        for job in jobs {
            for StoredResult { index, lease, verdict, .. } in &job.results {
                if *verdict == Verdict::Pending {
                    pending.push((TaskId { job: job.job, index: *index }, *lease));
                }
            }
            self.core.restore(job);
        }
        for (app, speed) in restored_speeds(&self.disk) {
            self.core.restore_speed(app, speed);
        }
        // The submitter looks at what waits for it.
        for (task, lease) in pending {
            let truth = self.disk.iter().any(|change| {
                matches!(change, Change::ResultAdded(result) if result.lease == lease && is_true(&decoded(&result.outcome)))
            });
            self.post(&Delivery::Verdict(task.job, lease, truth));
        }
        for worker in &mut self.workers {
            worker.connection = None;
        }
    }

    fn drop_connection(&mut self) {
        let number = self.random.index(self.workers.len());
        let id = self.workers[number].key.id();
        if let Some(connection) = self.workers[number].connection.take() {
            self.act(|core, now, _| core.disconnect(id, connection, now));
        }
    }

    /// It loses all it holds, and the pool hears of it only by the connection.
    fn kill_worker(&mut self) {
        let number = self.random.index(self.workers.len());
        self.workers[number].held.clear();
        let id = self.workers[number].key.id();
        if let Some(connection) = self.workers[number].connection.take()
            && self.random.chance(70)
        {
            self.act(|core, now, _| core.disconnect(id, connection, now));
        }
    }

    fn connect_somebody(&mut self) {
        let number = self.random.index(self.workers.len());
        if self.workers[number].connection.is_some() || self.workers[number].gone {
            return;
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let worker = &mut self.workers[number];
        worker.connection = Some(connection);
        let id = worker.key.id();
        let mut held: Vec<HeldLease> = worker
            .held
            .values()
            .map(|(lease, _, _)| {
                // An idler would like to do less.
                let work = if worker.character == Character::Idler { lease.work.min(1) } else { lease.work };
                HeldLease { lease: lease.lease, task: lease.task, work, seal: lease.seal }
            })
            .collect();
        let forged = LeaseId(self.random.below(1 << 40));
        if worker.character == Character::Forger
            && let Some(job) = self.core.live_jobs().min()
        {
            held.push(HeldLease { lease: forged, task: TaskId { job, index: 0 }, work: 1, seal: Seal([0; 16]) });
        }
        let drop = self
            .act(|core, now, effects| core.connect(id, connection, offer(), &held, now, effects))
            .expect("a good worker");
        for HeldLease { lease, .. } in held.iter().filter(|held| !drop.contains(&held.lease)) {
            assert!(*lease != forged, "a lease was made up");
            assert!(!self.ended.contains(lease), "{lease:?} has ended and goes on");
        }
        let worker = &mut self.workers[number];
        for lease in drop {
            worker.held.remove(&lease);
        }
        // What had finished before the connection broke is told again.
        let again: Vec<(Given, bool)> =
            worker.held.values().filter(|(_, _, done)| *done).map(|(lease, _, done)| (lease.clone(), *done)).collect();
        self.act(|core, now, effects| core.greeted(id, now, effects));
        let again: Vec<Given> = again.into_iter().map(|(lease, _)| lease).collect();
        self.finish(number, connection, &again);
    }

    /// Attempts that are due end.
    fn work(&mut self) {
        let number = self.random.index(self.workers.len());
        let Some(connection) = self.workers[number].connection else { return };
        if self.workers[number].character == Character::Liar && self.random.chance(30) {
            self.finish_for_another(number, connection);
        }
        let due: Vec<Given> = self.workers[number]
            .held
            .values()
            .filter(|(_, at, done)| !done && *at <= self.now)
            .map(|(lease, _, _)| lease.clone())
            .collect();
        if self.workers[number].character == Character::Silent {
            return;
        }
        for lease in &due {
            if self.random.chance(30) {
                let done = self.random.below(1000);
                self.post(&Delivery::Progress(number, connection, lease.lease, done));
            }
        }
        self.finish(number, connection, &due);
    }

    /// Claims an attempt that is under way elsewhere.
    fn finish_for_another(&mut self, number: usize, connection: ConnectionId) {
        let theirs = self.workers.iter().flat_map(|worker| worker.held.values()).map(|(lease, _, _)| lease.clone());
        let theirs: Vec<Given> = theirs.filter(|lease| !self.workers[number].held.contains_key(&lease.lease)).collect();
        if !theirs.is_empty() {
            let lease = theirs[self.random.index(theirs.len())].clone();
            self.finish(number, connection, &[lease]);
        }
    }

    /// Says that these attempts have ended, all at once.
    fn finish(&mut self, number: usize, connection: ConnectionId, ended: &[Given]) {
        let worker = &mut self.workers[number];
        if ended.is_empty() {
            return;
        }
        let (character, id) = (worker.character, worker.key.id());
        let mut outcomes = Vec::new();
        for lease in ended {
            if let Some(held) = worker.held.get_mut(&lease.lease) {
                held.2 = true;
            }
            let mut outcome = outcome_of(lease, id);
            match character {
                Character::Liar => outcome.answer = Some(b"a lie".to_vec()),
                Character::Idler if lease.job.done_when == DoneWhen::AnyTask => {
                    (outcome.answer, outcome.usage.work_done) = (None, 1);
                }
                Character::Broken => outcome = Outcome::not_run("no such runtime"),
                Character::Unlucky if lease.lease.0.is_multiple_of(2) => outcome.exit = Exit::Code(1),
                _ => {}
            }
            outcomes.push((lease, outcome));
        }
        let forged = WorkerKey::from_bytes(&[99; 32]).unwrap();
        let key = if character == Character::Forger { &forged } else { &worker.key };
        let mut batch = batch_of(outcomes, key, None);
        // As the shell does.
        if !batch.is_signed_by(id) {
            batch.finishes.iter_mut().for_each(|finish| finish.flaw = Some("not signed".to_owned()));
        }
        self.post(&Delivery::Finished(number, connection, Box::new(batch)));
    }

    /// In a storm somebody beats, else everybody does.
    fn send_alive(&mut self) {
        let somebody = self.random.index(self.workers.len());
        for number in 0..self.workers.len() {
            if let Some(connection) = self.workers[number].connection
                && (self.calm || number == somebody)
            {
                let leases = self.workers[number].held.keys().copied().collect();
                self.post(&Delivery::Alive(number, connection, leases));
            }
        }
    }

    /// Sends something on its way; in a storm it may be lost or doubled.
    fn post(&mut self, delivery: &Delivery) {
        let verdict = matches!(delivery, Delivery::Verdict(..));
        let copies = match self.random.below(100) {
            0..5 if !self.calm && !verdict => 0,
            5..10 => 2,
            _ => 1,
        };
        // A connection keeps its order and loses nothing while it stands: what is lost breaks it.
        if copies == 0
            && let Delivery::ToWorker(number, connection, _)
            | Delivery::Finished(number, connection, ..)
            | Delivery::Alive(number, connection, _)
            | Delivery::Progress(number, connection, ..)
            | Delivery::Returned(number, connection, _) = delivery
        {
            if self.workers[*number].connection == Some(*connection) {
                self.workers[*number].connection = None;
                let id = self.workers[*number].key.id();
                self.act(|core, now, _| core.disconnect(id, *connection, now));
            }
            return;
        }
        for _ in 0..copies {
            self.sent += 1;
            let at = self.now.plus(self.random.below(200));
            self.under_way.insert((at, self.sent), delivery.clone());
        }
    }

    fn deliver(&mut self) {
        let Some(entry) = self.under_way.first_entry() else { return };
        if entry.key().0 > self.now {
            self.now = entry.key().0;
        }
        match entry.remove() {
            Delivery::ToWorker(number, connection, message) => self.hear(number, connection, message),
            Delivery::Finished(number, connection, batch) => {
                let id = self.workers[number].key.id();
                self.act(|core, now, effects| core.finished(id, connection, *batch, now, effects));
            }
            Delivery::Alive(number, connection, leases) => {
                let id = self.workers[number].key.id();
                self.act(|core, now, effects| core.alive(id, connection, &leases, now, effects));
            }
            Delivery::Progress(number, connection, lease, done) => {
                let id = self.workers[number].key.id();
                self.act(|core, now, effects| core.progress(id, connection, lease, done, now, effects));
            }
            Delivery::Returned(number, connection, leases) => {
                let id = self.workers[number].key.id();
                self.act(|core, now, effects| core.returned(id, connection, &leases, now, effects));
            }
            Delivery::Verdict(job, lease, truth) => {
                let judged = self.act(|core, now, effects| core.judge(job, lease, truth, "untrue", now, effects));
                assert!(
                    matches!(judged, Ok(()) | Err(VerdictError::NoSuchJob(_) | VerdictError::NotPending(..))),
                    "{judged:?}"
                );
            }
        }
    }

    fn hear(&mut self, number: usize, connection: ConnectionId, message: ToWorker) {
        let finish_in = 50 + self.random.below(3_000);
        let worker = &mut self.workers[number];
        if worker.connection != Some(connection) {
            return;
        }
        match message {
            ToWorker::Leases { .. } => {
                let at = self.now.plus(finish_in);
                for given in given_in(&message) {
                    worker.held.entry(given.lease).or_insert((given, at, false));
                }
            }
            ToWorker::Cancel { lease, .. } => drop(worker.held.remove(&lease)),
            ToWorker::Retract { mut leases } => {
                leases.retain(|lease| worker.held.remove(lease).is_some_and(|(_, _, done)| !done));
                self.post(&Delivery::Returned(number, connection, leases));
            }
            ToWorker::Recorded { leases, refused } => {
                for lease in leases {
                    let held = worker.held.remove(&lease);
                    let refused = refused.iter().any(|(other, _)| *other == lease);
                    let honest = held.is_some_and(|(_, _, done)| done) && !refused;
                    if honest && worker.character == Character::Honest {
                        self.recorded.insert(lease);
                    }
                }
            }
            ToWorker::Refused { .. } => worker.connection = None,
            ToWorker::Challenge { .. } | ToWorker::Welcome { .. } | ToWorker::Open { .. } => {}
        }
    }

    /// The whole history, from what is on disk.
    fn check_history(&self) -> Vec<JobState> {
        let mut ended: BTreeMap<JobId, JobState> = BTreeMap::new();
        let mut certified: BTreeMap<TaskId, LeaseId> = BTreeMap::new();
        let mut results: BTreeMap<LeaseId, (TaskId, bool)> = BTreeMap::new();
        let mut specs: BTreeMap<JobId, Arc<JobSpec>> = BTreeMap::new();
        let mut batches = BTreeMap::new();
        for change in &self.disk {
            match change {
                Change::JobAdded { job, spec, .. } => {
                    assert!(specs.insert(*job, spec.clone()).is_none(), "{job:?} was added twice");
                }
                Change::BatchSigned { batch, worker, leaves, signature } => {
                    assert_eq!(signer_of_batch(leaves, signature), Some(*worker));
                    batches.insert(*batch, (leaves.clone(), *worker));
                }
                Change::ResultAdded(ResultAdded {
                    task,
                    lease,
                    outcome: encoded,
                    verdict,
                    batch,
                    position,
                    worker,
                    work,
                    ..
                }) => {
                    let outcome = &decoded(encoded);
                    let spec = &specs[&task.job];
                    let statement = Statement::new(POOL, *lease, *task, spec.app, digest_of_job(spec), encoded);
                    let (leaves, signer) = &batches[batch];
                    assert_eq!(leaves[*position as usize], statement.leaf(), "{lease:?} is not what was signed");
                    assert_eq!(signer, worker, "{lease:?} is not signed by its worker");
                    let (holder, to_do) = self.leases_seen[lease];
                    assert_eq!(holder, *worker, "{lease:?} is somebody else's");
                    if to_do > 0 && outcome.answer.is_none() {
                        assert_eq!(*work, to_do, "{lease:?} was not searched to its end");
                    }
                    assert!(results.insert(*lease, (*task, is_true(outcome))).is_none(), "{lease:?} has two results");
                    if *verdict == Verdict::Certified {
                        assert!(certified.insert(*task, *lease).is_none(), "{task:?} was certified twice");
                    }
                }
                Change::VerdictGiven { task, lease, certified: true, .. } => {
                    assert!(results[lease].1, "a lie was certified");
                    assert!(certified.insert(*task, *lease).is_none(), "{task:?} was certified twice");
                }
                Change::BallotChanged { .. }
                | Change::TaskSettled { .. }
                | Change::TrustChanged { .. }
                | Change::LiarExposed { .. } => panic!("nothing is replicated here"),
                Change::VerdictGiven { .. }
                | Change::AttemptFailed { .. }
                | Change::SpeedMeasured { .. }
                | Change::StandingChanged { .. }
                | Change::AppChanged(_)
                | Change::CameCloser { .. } => {}
                Change::JobEnded { job, state, reason, .. } => {
                    let reason = reason.as_deref().unwrap_or_default();
                    assert!(!reason.contains("without an answer"), "idlers ended the search of {job:?}");
                    assert!(ended.insert(*job, *state).is_none(), "{job:?} ended twice");
                }
            }
        }
        for job in &self.acknowledged {
            let spec = &specs[job];
            let state = ended.get(job).unwrap_or_else(|| panic!("{job:?} was acknowledged and lost"));
            let tasks = certified.keys().filter(|task| task.job == *job).count() as u64;
            match (state, spec.done_when) {
                (JobState::Done, DoneWhen::AllTasks) => assert_eq!(tasks, spec.tasks, "{job:?} is not complete"),
                (JobState::Done, DoneWhen::AnyTask) => assert!(tasks >= 1, "{job:?} has no result"),
                _ => {}
            }
        }
        for lease in &self.recorded {
            let failed = self.disk.iter().any(|c| matches!(c, Change::AttemptFailed { lease: l, .. } if l == lease));
            assert!(results.contains_key(lease) || failed, "{lease:?} was acknowledged and lost");
        }
        ended.into_values().collect()
    }
}

/// The live jobs that a sequence of changes leaves.
fn restore(changes: &[Change]) -> Vec<StoredJob> {
    let mut jobs: BTreeMap<JobId, StoredJob> = BTreeMap::new();
    for change in changes {
        match change {
            Change::JobAdded { job, spec, needs, at } => {
                let stored = StoredJob {
                    job: *job,
                    spec: spec.clone(),
                    needs: needs.clone(),
                    at: *at,
                    results: vec![],
                    failures: vec![],
                    ballots: vec![],
                    work_done: 0,
                    closest_score: None,
                };
                jobs.insert(*job, stored);
            }
            Change::ResultAdded(ResultAdded { task, lease, worker, verdict, work, .. }) => {
                if let Some(job) = jobs.get_mut(&task.job) {
                    let (index, lease, worker, verdict, work) = (task.index, *lease, *worker, *verdict, *work);
                    job.results.push(StoredResult { index, lease, worker, verdict, work });
                    job.work_done += work;
                }
            }
            Change::SpeedMeasured { .. }
            | Change::StandingChanged { .. }
            | Change::CameCloser { .. }
            | Change::AppChanged(_)
            | Change::BallotChanged { .. }
            | Change::TaskSettled { .. }
            | Change::TrustChanged { .. }
            | Change::LiarExposed { .. }
            | Change::BatchSigned { .. } => {}
            Change::VerdictGiven { task, lease, certified, .. } => {
                let results = jobs.get_mut(&task.job).map(|job| &mut job.results);
                for result in results.into_iter().flatten().filter(|result| result.lease == *lease) {
                    result.verdict = if *certified { Verdict::Certified } else { Verdict::Rejected };
                }
            }
            Change::AttemptFailed { task, worker, fault, work_done, .. } => {
                if let Some(job) = jobs.get_mut(&task.job) {
                    job.failures.push((task.index, *worker, *fault));
                    job.work_done += work_done;
                }
            }
            Change::JobEnded { job, .. } => {
                jobs.remove(job);
            }
        }
    }
    jobs.into_values().collect()
}

/// The last that was said of each.
fn restored_speeds(changes: &[Change]) -> BTreeMap<Digest, Speed> {
    let speed = |change: &Change| match change {
        Change::SpeedMeasured { app, speed } => Some((*app, *speed)),
        _ => None,
    };
    changes.iter().filter_map(speed).collect()
}

fn target() -> Target {
    let (os, arch, entry) = ("linux".into(), "x86_64".into(), "a".into());
    Target::Process(ProcessTarget { os, arch, entry, files: vec![] })
}

fn offer() -> WorkerOffer {
    WorkerOffer {
        name: "w".into(),
        version: "0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        runtimes: vec![Runtime::Process],
        slots: 2,
        memory_bytes: 8 << 30,
        gpus: 0,
        labels: BTreeMap::new(),
    }
}

/// What an honest worker gets: in a search, one task in five has the answer, and the last one always.
fn outcome_of(lease: &Given, worker: WorkerId) -> Outcome {
    let search = lease.job.done_when == DoneWhen::AnyTask;
    let hit = !search || lease.task.index % 5 == 4 || lease.task.index + 1 == lease.job.tasks;
    Outcome {
        exit: Exit::Code(0),
        answer: hit.then(|| format!("true, says {worker}").into_bytes()),
        files: vec![],
        stdout: Log::default(),
        stderr: Log::default(),
        usage: Usage { work_done: if lease.work > 0 { lease.work } else { TASK_WORK }, ..Usage::default() },
    }
}

fn decoded(outcome: &[u8]) -> Outcome {
    decode(outcome, outcome.len()).unwrap()
}

fn is_true(outcome: &Outcome) -> bool {
    outcome.answer.as_ref().is_none_or(|answer| answer.starts_with(b"true"))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
