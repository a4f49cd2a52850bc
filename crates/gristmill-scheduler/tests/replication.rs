//! Replicated jobs through the real core: honest workers, and liars that agree with each other, withhold their votes or
//! lie only once they are trusted. Connections break, and the pool crashes between event and commit. Everything follows
//! from a seed, which a failure names: `GRISTMILL_SEED=7 cargo test --test replication` replays it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gristmill_proto::app::{ProcessTarget, Runtime, Target};
use gristmill_proto::codec::encode;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{JobSpec, Replicate, Trust};
use gristmill_proto::key::WorkerKey;
use gristmill_proto::message::{HeldLease, Lease, ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Log, Outcome, Usage};
use gristmill_proto::receipt::{Statement, digest_of_job, sign_batch};
use gristmill_proto::view::{JobState, Verdict};
use gristmill_proto::vote::{Commitment, Fraction, Salt, Sealed, compared};
use gristmill_scheduler::core::{Batch, Change, ConnectionId, Core, Effects, Finish, Replication, Tuning};
use gristmill_scheduler::store::Store;
use gristmill_scheduler::trust::{AppClass, HostId};

const TUNING: Tuning = Tuning {
    alive_ms: 1_000,
    lost_ms: 600_000,
    reconnect_ms: 200_000,
    transfer_ms: 60_000,
    jobs_live_max: 1_000,
    workers_max: 100,
};
const OPEN_MS: u64 = 900_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Honest,
    /// Gives the wrong answer that all liars give, to so many percent of the tasks, from its vote of this number on.
    Liar(u64, u64),
    /// Does not show what it voted for, of a task in three.
    Withholder,
    /// Shows something else than it voted for, of a task in three.
    Swapper,
    /// Shows its votes before it is asked.
    Hasty,
    /// Claims to have finished without having voted.
    Skipper,
    /// Takes leases and forgets them, most of the time.
    Fisher,
}

#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    job: Arc<JobSpec>,
    due: UnixMillis,
    vote: Option<(Outcome, Salt)>,
    asked: bool,
    shown: bool,
}

struct SimulatedWorker {
    key: WorkerKey,
    nature: Nature,
    connection: Option<ConnectionId>,
    held: BTreeMap<LeaseId, Held>,
    votes: u64,
}

struct World {
    random: Random,
    now: UnixMillis,
    core: Core,
    runs: u64,
    disk: Vec<Change>,
    uncommitted: Vec<Effects>,
    workers: Vec<SimulatedWorker>,
    connections: u64,
    /// Told or not, the pool will not hear of what was said on them before.
    inbox: Vec<(usize, ConnectionId, ToWorker)>,
    dir: tempfile::TempDir,
}

fn app() -> Digest {
    Digest::of(b"app")
}

fn spec(tasks: u64, max_error: f64) -> JobSpec {
    let trust = Trust::Replicate(Replicate::new(Fraction::new(max_error).unwrap()));
    JobSpec { tasks, trust, retries: 50, ..JobSpec::new(app()) }
}

fn outcome(answer: String) -> Outcome {
    Outcome {
        exit: Exit::Code(0),
        answer: Some(answer.into_bytes()),
        files: vec![],
        stdout: Log::default(),
        stderr: Log::default(),
        usage: Usage::default(),
    }
}

fn right(task: TaskId) -> Outcome {
    outcome(format!("right {task}"))
}

fn wrong(task: TaskId) -> Outcome {
    outcome(format!("wrong {task}"))
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

fn target() -> Target {
    let (os, arch, entry) = ("linux".into(), "x86_64".into(), "a".into());
    Target::Process(ProcessTarget { os, arch, entry, files: vec![] })
}

impl World {
    fn new(seed: u64, natures: &[Nature]) -> Self {
        let workers = natures.iter().zip(1u8..).map(|(nature, number)| SimulatedWorker {
            key: WorkerKey::from_bytes(&[number; 32]).unwrap(),
            nature: *nature,
            connection: None,
            held: BTreeMap::new(),
            votes: 0,
        });
        let mut world = Self {
            random: Random(seed),
            now: UnixMillis(1_000_000),
            core: Core::new(String::new(), gristmill_scheduler::core::PoolSecret([0; 32]), TUNING, 1, JobId(1)),
            runs: 0,
            disk: Vec::new(),
            uncommitted: Vec::new(),
            workers: workers.collect(),
            connections: 0,
            inbox: Vec::new(),
            dir: tempfile::tempdir().unwrap(),
        };
        world.restart();
        world
    }

    /// What was not committed never happened.
    fn restart(&mut self) {
        self.uncommitted.clear();
        self.inbox.clear();
        self.runs += 1;
        let path = self.dir.path().join(format!("{}.sqlite", self.runs));
        let mut store = Store::open(&path).unwrap();
        for _ in 1..self.runs {
            store.begin_run([5; 32]).unwrap();
        }
        store.commit(&self.disk).unwrap();
        let restored = store.begin_run([5; 32]).unwrap();
        self.core = Core::new("pool".to_owned(), restored.secret, TUNING, restored.run, restored.next_job)
            .with_replication(Replication { open_ms: OPEN_MS, ..Replication::default() });
        for (worker, class, standing) in restored.trust {
            self.core.restore_trust(worker, class, standing);
        }
        for job in restored.jobs {
            self.core.restore(job);
        }
        for worker in &mut self.workers {
            worker.connection = None;
        }
    }

    fn act<R>(&mut self, event: impl FnOnce(&mut Core, UnixMillis, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let result = event(&mut self.core, self.now, &mut effects);
        self.uncommitted.push(effects);
        self.core.check_invariants();
        result
    }

    fn commit(&mut self) {
        for effects in std::mem::take(&mut self.uncommitted) {
            self.disk.extend(effects.changes);
            for (id, connection, message) in effects.messages {
                let number = self.workers.iter().position(|worker| worker.key.id() == id).unwrap();
                self.inbox.push((number, connection, message));
            }
        }
        for (number, connection, message) in std::mem::take(&mut self.inbox) {
            if self.workers[number].connection == Some(connection) {
                self.hear(number, message);
            }
        }
    }

    fn hear(&mut self, number: usize, message: ToWorker) {
        let due = self.now.plus(self.random.below(3_000));
        let fishes = self.workers[number].nature == Nature::Fisher && self.random.chance(80);
        let worker = &mut self.workers[number];
        match message {
            ToWorker::Leases { jobs, leases } => {
                for lease in leases.into_iter().filter(|_| !fishes) {
                    let job = jobs.iter().find(|(id, _)| *id == lease.task.job).unwrap().1.clone();
                    let held = Held { lease, job, due, vote: None, asked: false, shown: false };
                    worker.held.insert(lease.lease, held);
                }
            }
            ToWorker::Open { leases } => {
                for lease in leases {
                    let held = worker.held.get_mut(&lease);
                    assert!(held.is_some() || worker.nature != Nature::Honest, "{lease:?} is not held");
                    if let Some(held) = held {
                        assert!(held.vote.is_some(), "{lease:?} has not voted");
                        held.asked = true;
                    }
                }
            }
            ToWorker::Cancel { lease, .. } => drop(worker.held.remove(&lease)),
            ToWorker::Recorded { leases, refused } => {
                let honest = worker.nature == Nature::Honest;
                let blamed = refused.iter().find(|(_, why)| !why.contains("no longer"));
                assert!(!honest || blamed.is_none(), "an honest worker is blamed: {blamed:?}");
                for lease in leases {
                    worker.held.remove(&lease);
                }
            }
            ToWorker::Retract { .. } => panic!("nobody gets replicas ahead of his room"),
            ToWorker::Refused { .. } => worker.connection = None,
            ToWorker::Challenge { .. } | ToWorker::Welcome { .. } => {}
        }
    }

    fn connect(&mut self, number: usize) {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let worker = &mut self.workers[number];
        worker.connection = Some(connection);
        let id = worker.key.id();
        let held: Vec<HeldLease> = worker
            .held
            .values()
            .map(|held| HeldLease {
                lease: held.lease.lease,
                task: held.lease.task,
                work: held.lease.work,
                seal: held.lease.seal,
            })
            .collect();
        for held in worker.held.values_mut() {
            // Said again if the pool asks again.
            (held.asked, held.shown) = (false, false);
        }
        let drop = self.act(|core, now, effects| {
            let drop = core.connect(id, connection, offer(), &held, now, effects);
            core.seen_at(id, HostId(number as u64));
            drop
        });
        for lease in drop.unwrap() {
            self.workers[number].held.remove(&lease);
        }
        self.act(|core, now, effects| core.greeted(id, now, effects));
        let votes: Vec<Sealed> = self.workers[number].held.values().filter_map(|held| sealed(id, held)).collect();
        self.act(|core, now, effects| core.committed(id, connection, &votes, now, effects));
    }

    fn step(&mut self, calm: bool) {
        self.now = self.now.plus(self.random.below(300));
        let number = self.random.below(self.workers.len() as u64) as usize;
        match (self.workers[number].connection, self.random.below(100)) {
            (None, _) => self.connect(number),
            (Some(connection), 0) if !calm => {
                let id = self.workers[number].key.id();
                self.workers[number].connection = None;
                self.act(|core, now, _| core.disconnect(id, connection, now));
            }
            (_, 3) if !calm && self.random.chance(20) => self.restart(),
            (_, 4..30) => self.commit(),
            (_, 30..35) => self.act(|core, now, effects| core.tick(now, effects)),
            (Some(connection), 35..45) => {
                // What a worker was given a beat ago has reached it by then.
                self.commit();
                let id = self.workers[number].key.id();
                let leases: Vec<LeaseId> = self.workers[number].held.keys().copied().collect();
                self.act(|core, now, effects| core.alive(id, connection, &leases, now, effects));
            }
            (Some(connection), _) => self.work(number, connection),
        }
    }

    /// Attempts that are due end, and votes that are asked for are shown.
    fn work(&mut self, number: usize, connection: ConnectionId) {
        let (now, id) = (self.now, self.workers[number].key.id());
        let nature = self.workers[number].nature;
        let mut commitments = Vec::new();
        let mut shown = Vec::new();
        let mut held: Vec<Held> = self.workers[number].held.values().cloned().collect();
        for held in &mut held {
            let (task, third) = (held.lease.task, mixed(held.lease.task).is_multiple_of(3));
            if held.vote.is_none() && held.due <= now {
                self.workers[number].votes += 1;
                let lies = match nature {
                    Nature::Liar(percent, after) => self.workers[number].votes > after && mixed(task) % 100 < percent,
                    _ => false,
                };
                let salt = Salt([self.random.below(256) as u8; 32]);
                held.vote = Some((if lies { wrong(task) } else { right(task) }, salt));
                if nature == Nature::Skipper && third {
                    shown.push(held.clone());
                } else {
                    commitments.extend(sealed(id, held));
                }
            }
            let early = nature == Nature::Hasty && held.vote.is_some() && third;
            if !held.shown && (held.asked || early) {
                let mut show = held.clone();
                match nature {
                    Nature::Withholder if third => continue,
                    Nature::Swapper if third => show.vote.as_mut().unwrap().0 = wrong(task),
                    _ => {}
                }
                held.shown = true;
                shown.push(show);
            }
        }
        for held in held {
            self.workers[number].held.insert(held.lease.lease, held);
        }
        if !commitments.is_empty() {
            self.act(|core, now, effects| core.committed(id, connection, &commitments, now, effects));
        }
        if !shown.is_empty() {
            let batch = batch(&shown, &self.workers[number].key);
            self.act(|core, now, effects| core.finished(id, connection, batch, now, effects));
        }
    }

    fn run(&mut self, jobs: &[JobSpec]) {
        for job in jobs {
            self.act(|core, now, effects| core.submit(job.clone(), &[target()], now, effects)).unwrap();
            self.commit();
        }
        for _ in 0..4_000 {
            self.step(false);
        }
        let mut steps = 0;
        while self.core.live_jobs().next().is_some() {
            self.step(true);
            steps += 1;
            if steps > 200_000 {
                let why: Vec<_> = self.core.live_jobs().map(|job| self.core.why_job(job)).collect();
                let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
                for change in &self.disk {
                    if let Change::AttemptFailed { reason, .. } = change {
                        *reasons.entry(reason.clone()).or_default() += 1;
                    }
                }
                panic!("jobs never end: {reasons:?} exposed {:?} {why:?}", self.exposed());
            }
        }
        self.commit();
        self.check();
    }

    fn exposed(&self) -> BTreeSet<WorkerId> {
        let liar = |change: &Change| match change {
            Change::LiarExposed { worker, .. } => Some(*worker),
            _ => None,
        };
        self.disk.iter().filter_map(liar).collect()
    }

    fn check(&self) {
        let mut settled = BTreeSet::new();
        let mut results: BTreeMap<LeaseId, (WorkerId, Verdict)> = BTreeMap::new();
        for change in &self.disk {
            match change {
                Change::ResultAdded(result) => {
                    assert_eq!(result.verdict, Verdict::Voted);
                    assert!(results.insert(result.lease, (result.worker, Verdict::Voted)).is_none(), "recorded twice");
                }
                Change::TaskSettled { task, results: verdicts, .. } => {
                    assert!(settled.insert(*task), "{task} was settled twice");
                    let certified = verdicts.iter().filter(|(_, _, verdict)| *verdict == Verdict::Certified);
                    assert_eq!(certified.count(), 1, "{task}");
                    let mut voters = BTreeSet::new();
                    for (lease, worker, verdict) in verdicts {
                        assert_eq!(results[lease].0, *worker);
                        assert!(voters.insert(worker), "{worker} voted twice on {task}");
                        results.insert(*lease, (*worker, *verdict));
                    }
                }
                _ => {}
            }
        }
        let honest = self.workers.iter().filter(|worker| worker.nature == Nature::Honest);
        let exposed = self.exposed();
        for worker in honest {
            assert!(!exposed.contains(&worker.key.id()), "an honest worker was exposed");
        }
    }

    /// Settled tasks, and those of them with a wrong answer.
    fn tally(&self) -> (u64, u64) {
        let mut outcomes = BTreeMap::new();
        let (mut settled, mut false_ones) = (0, 0);
        for change in &self.disk {
            match change {
                Change::ResultAdded(result) => drop(outcomes.insert(result.lease, result.outcome.clone())),
                Change::TaskSettled { task, results, .. } => {
                    let certified = results.iter().find(|(_, _, verdict)| *verdict == Verdict::Certified).unwrap();
                    settled += 1;
                    false_ones += u64::from(outcomes[&certified.0] != encode(&right(*task)));
                }
                _ => {}
            }
        }
        (settled, false_ones)
    }

    fn states(&self) -> Vec<JobState> {
        let state = |change: &Change| match change {
            Change::JobEnded { state, .. } => Some(*state),
            _ => None,
        };
        self.disk.iter().filter_map(state).collect()
    }
}

fn sealed(worker: WorkerId, held: &Held) -> Option<Sealed> {
    let (outcome, salt) = held.vote.as_ref()?;
    let commitment = Commitment::new(worker, held.lease.task, compared(outcome), *salt);
    Some(Sealed { lease: held.lease.lease, commitment })
}

fn batch(shown: &[Held], key: &WorkerKey) -> Batch {
    let (mut leaves, mut finishes) = (Vec::new(), Vec::new());
    for held in shown {
        let (outcome, salt) = held.vote.clone().unwrap();
        let (lease, task, encoded) = (held.lease.lease, held.lease.task, encode(&outcome));
        leaves.push(Statement::new("pool", lease, task, held.job.app, digest_of_job(&held.job), &encoded).leaf());
        let (outcome, salt) = (Box::new(outcome), Some(salt));
        finishes.push(Finish { lease, outcome, encoded, flaw: None, salt, shares: 0, closest: None });
    }
    let signature = sign_batch(&leaves, key);
    Batch { finishes, leaves, signature }
}

/// All liars agree on which tasks they lie on.
fn mixed(task: TaskId) -> u64 {
    Random(task.job.0 << 32 | task.index).next()
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let given = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    given.map_or(0..count, |seed| seed..seed + 1)
}

#[expect(clippy::print_stderr, reason = "the seed replays the failure")]
fn with_seed<T>(seed: u64, run: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        eprintln!("failing seed: GRISTMILL_SEED={seed}");
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn honest_workers_certify_every_task() {
    for seed in seeds(10) {
        with_seed(seed, || {
            let mut world = World::new(seed, &[Nature::Honest; 7]);
            world.run(&[spec(40, 1e-3)]);
            assert_eq!(world.states(), [JobState::Done]);
            assert_eq!(world.tally(), (40, 0));
        });
    }
}

/// A fifth of the workers lies together, in every way. The job is done all the same, and what it delivers is right.
#[test]
fn lies_are_outvoted_and_liars_exposed() {
    let (mut settled, mut false_ones, mut liars, mut exposed) = (0, 0, 0, 0);
    for seed in seeds(40) {
        let mut natures = vec![Nature::Honest; 12];
        let kinds = [
            [Nature::Liar(100, 0); 3],
            [Nature::Liar(30, 0); 3],
            [Nature::Liar(50, 10); 3],
            [Nature::Withholder, Nature::Swapper, Nature::Hasty],
            [Nature::Skipper, Nature::Fisher, Nature::Liar(60, 5)],
        ];
        natures.extend(kinds[seed as usize % kinds.len()]);
        with_seed(seed, || {
            let mut world = World::new(seed, &natures);
            world.run(&[spec(60, 1e-3), spec(20, 1e-2)]);
            assert_eq!(world.states(), [JobState::Done; 2]);
            let (these, wrong) = world.tally();
            assert_eq!(these, 80);
            (settled, false_ones) = (settled + these, false_ones + wrong);
            let lies = world.workers.iter().filter(|worker| matches!(worker.nature, Nature::Liar(100, _)));
            let lies: Vec<WorkerId> = lies.map(|worker| worker.key.id()).collect();
            liars += lies.len();
            exposed += lies.iter().filter(|liar| world.exposed().contains(*liar)).count();
        });
    }
    assert!(false_ones * 200 <= settled, "{false_ones} of {settled} results are wrong");
    assert_eq!(exposed, liars, "whoever always lies is exposed");
}

/// All workers of one host, or of one owner, have one voice.
#[test]
fn one_machine_cannot_vote_twice() {
    let mut world = World::new(1, &[Nature::Honest; 6]);
    for number in 0..6 {
        world.connect(number);
        let id = world.workers[number].key.id();
        world.act(|core, _, _| core.seen_at(id, HostId(7)));
    }
    world.act(|core, now, effects| core.submit(spec(3, 1e-3), &[target()], now, effects)).unwrap();
    let asked =
        world.uncommitted.iter().flat_map(|effects| &effects.messages).filter_map(|(_, _, message)| match message {
            ToWorker::Leases { leases, .. } => Some(leases.iter().map(|lease| lease.task.index).collect::<Vec<_>>()),
            _ => None,
        });
    let mut asked: Vec<u64> = asked.flatten().collect();
    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2], "each task is asked of one of them");
    let why = world.core.why_job(JobId(1)).unwrap();
    assert!(why.reason.contains("5 votes") && why.reason.contains("1 such worker"), "{}", why.reason);
}

/// Whoever takes leases and lets them go, again and again, gets no more: it may be looking for its friends' tasks.
#[test]
fn who_looks_for_certain_tasks_is_taken_off_the_job() {
    let mut world = World::new(1, &[Nature::Honest]);
    world.connect(0);
    let id = world.workers[0].key.id();
    world.act(|core, now, effects| core.submit(spec(1_000, 1e-3), &[target()], now, effects)).unwrap();
    let mut rounds = 0;
    loop {
        world.commit();
        if world.workers[0].held.is_empty() {
            break;
        }
        world.workers[0].held.clear();
        world.now = world.now.plus(2 * TUNING.alive_ms);
        let connection = world.workers[0].connection.unwrap();
        world.act(|core, now, effects| core.alive(id, connection, &[], now, effects));
        rounds += 1;
        assert!(rounds < 40, "it is still given tasks");
    }
    assert!(rounds >= 4, "a few may get lost: {rounds}");
}

/// What a worker has proven, and that it lied, outlives the pool.
#[test]
fn standing_survives_a_restart() {
    let mut natures = vec![Nature::Honest; 8];
    natures.push(Nature::Liar(100, 0));
    let mut world = World::new(3, &natures);
    world.run(&[spec(30, 1e-2)]);
    let before: Vec<_> =
        world.workers.iter().map(|worker| world.core.trust_in(worker.key.id(), AppClass(app()))).collect();
    assert!(before[..8].iter().any(|standing| standing.agreed > 0) && before[8].exposed);
    world.restart();
    let after: Vec<_> =
        world.workers.iter().map(|worker| world.core.trust_in(worker.key.id(), AppClass(app()))).collect();
    assert_eq!(before, after);
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

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
