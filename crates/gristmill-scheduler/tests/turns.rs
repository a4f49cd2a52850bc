//! Who gets what, in which order: the core alone, with a clock of ours.

use std::collections::BTreeMap;

use gristmill_proto::app::{ProcessTarget, Runtime, Target};
use gristmill_proto::codec::encode;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, UnixMillis, WorkerId};
use gristmill_proto::job::{JobSpec, Limits, Resources};
use gristmill_proto::key::Signature;
use gristmill_proto::message::{Lease, ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Log, Outcome, Usage};
use gristmill_proto::view::JobState;
use gristmill_scheduler::core::{
    Batch, Change, ConnectError, ConnectionId, Core, Effects, Finish, PoolSecret, Tuning, UserTerms, Weights,
};

struct Bench {
    core: Core,
    now: UnixMillis,
    out: Effects,
}

fn job() -> JobSpec {
    JobSpec { tasks: 1_000_000, ..JobSpec::new(Digest::of(b"app")) }
}

fn of_user(user: &str) -> JobSpec {
    JobSpec { user: user.to_owned(), ..job() }
}

fn id(number: u8) -> WorkerId {
    WorkerId([number; 20])
}

fn offer(slots: u32) -> WorkerOffer {
    WorkerOffer {
        name: "w".into(),
        version: "0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        runtimes: vec![Runtime::Process],
        slots,
        memory_bytes: 64 << 30,
        gpus: 0,
        labels: BTreeMap::new(),
    }
}

fn outcome(exit: Exit) -> Outcome {
    Outcome {
        exit,
        answer: None,
        files: vec![],
        stdout: Log::default(),
        stderr: Log::default(),
        usage: Usage::default(),
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Weights::default())
    }

    fn with(weights: Weights) -> Self {
        let core = Core::new("pool".into(), PoolSecret([7; 32]), Tuning::default(), 1, JobId(1)).with_weights(weights);
        Self { core, now: UnixMillis(1_000_000_000), out: Effects::default() }
    }

    fn submit(&mut self, spec: JobSpec) -> JobId {
        let (os, arch, entry) = ("linux".into(), "x86_64".into(), "a".into());
        let target = Target::Process(ProcessTarget { os, arch, entry, files: vec![] });
        let submitted = self.core.submit(spec, &[target], self.now, &mut self.out).expect("a good job");
        self.core.check_invariants();
        submitted.id
    }

    fn connect(&mut self, worker: u8, offer: WorkerOffer) {
        let (id, connection) = (id(worker), ConnectionId(u64::from(worker)));
        self.core.connect(id, connection, offer, &[], self.now, &mut self.out).expect("a good worker");
        self.core.greeted(id, self.now, &mut self.out);
        self.core.check_invariants();
    }

    /// What was given out since this was last asked.
    fn given(&mut self) -> Vec<(WorkerId, Lease)> {
        let messages = std::mem::take(&mut self.out).messages;
        let leases = |(worker, _, message): (WorkerId, ConnectionId, ToWorker)| match message {
            ToWorker::Leases { leases, .. } => leases.into_iter().map(|lease| (worker, lease)).collect(),
            _ => Vec::new(),
        };
        messages.into_iter().flat_map(leases).collect()
    }

    fn jobs_given(&mut self) -> Vec<u64> {
        self.given().iter().map(|(_, lease)| lease.task.job.0).collect()
    }

    /// These attempts end after so much time, all at once.
    fn end(&mut self, worker: u8, leases: &[LeaseId], ms: u64) {
        self.end_as(worker, leases, ms, &Exit::Code(0));
    }

    fn end_as(&mut self, worker: u8, leases: &[LeaseId], ms: u64, exit: &Exit) {
        self.now = self.now.plus(ms);
        let finish = |lease: &LeaseId| {
            let outcome = outcome(exit.clone());
            let encoded = encode(&outcome);
            Finish {
                lease: *lease,
                outcome: Box::new(outcome),
                encoded,
                flaw: None,
                salt: None,
                shares: 0,
                closest: None,
            }
        };
        let finishes = leases.iter().map(finish).collect();
        let batch = Batch { finishes, leaves: vec![Digest::of(b"leaf"); leases.len()], signature: Signature([0; 65]) };
        let connection = ConnectionId(u64::from(worker));
        self.core.finished(id(worker), connection, batch, self.now, &mut self.out);
        self.core.check_invariants();
    }

    /// One worker of one slot runs a second for whomever it is given; how often it was whose turn.
    fn shares(&mut self, rounds: usize) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        let mut next = self.given();
        for _ in 0..rounds {
            let (_, lease) = next[0];
            *counts.entry(lease.task.job.0).or_default() += 1;
            self.end(1, &[lease.lease], 1_000);
            next = self.given();
        }
        counts
    }
}

/// Ten jobs of one user count as much as one of another.
#[test]
fn users_share_whatever_they_submit() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.submit(of_user("many"));
    }
    let lone = bench.submit(of_user("lone"));
    bench.connect(1, offer(1));
    let counts = bench.shares(100);
    assert!((48..=52).contains(&counts[&lone.0]), "{counts:?}");
    assert!(counts.iter().filter(|(job, _)| **job != lone.0).all(|(_, turns)| (4..=6).contains(turns)), "{counts:?}");
}

#[test]
fn weights_say_how_much_a_user_and_a_group_get() {
    let user = |group: &str, weight| UserTerms { group: group.to_owned(), weight };
    let weights = Weights {
        groups: [("physics".to_owned(), 3)].into(),
        users: [
            ("ann".to_owned(), user("physics", 2)),
            ("bob".to_owned(), user("physics", 1)),
            ("eve".to_owned(), user("other", 5)),
        ]
        .into(),
    };
    let mut bench = Bench::with(weights);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|user| bench.submit(of_user(user)).0);
    bench.connect(1, offer(1));
    let counts = bench.shares(120);
    // Physics gets three quarters, and ann two thirds of that.
    assert!((58..=62).contains(&counts[&ann]), "{counts:?}");
    assert!((28..=32).contains(&counts[&bob]), "{counts:?}");
    assert!((28..=32).contains(&counts[&eve]), "{counts:?}");
}

/// Whoever was away has not saved anything up, nor lost anything.
#[test]
fn a_pause_earns_nothing() {
    let mut bench = Bench::new();
    let first = bench.submit(of_user("first"));
    bench.connect(1, offer(1));
    bench.shares(50);
    let late = bench.submit(of_user("late"));
    let lease = bench.core.lease(id(1), LeaseId((1 << 36) + 50)).expect("the next of the first");
    assert_eq!(lease.task.job, first);
    bench.end(1, &[LeaseId((1 << 36) + 50)], 1_000);
    let counts = bench.shares(40);
    assert!((19..=21).contains(&counts[&late.0]), "{counts:?}");
}

/// What an attempt costs its user is the time that it took, not that it was.
#[test]
fn long_tasks_cost_more() {
    let mut bench = Bench::new();
    let [long, short] = ["long", "short"].map(|user| bench.submit(of_user(user)));
    bench.connect(1, offer(1));
    let (mut time, mut next) = (BTreeMap::<u64, u64>::new(), bench.given());
    for _ in 0..400 {
        let (_, lease) = next[0];
        let ms = if lease.task.job == long { 10_000 } else { 1_000 };
        *time.entry(lease.task.job.0).or_default() += ms;
        bench.end(1, &[lease.lease], ms);
        next = bench.given();
    }
    let (long, short) = (time[&long.0], time[&short.0]);
    assert!(long.abs_diff(short) < 25_000, "{long} ms and {short} ms");
}

#[test]
fn a_users_own_jobs_go_by_priority_then_deadline_then_turn() {
    let mut bench = Bench::new();
    let low = bench.submit(JobSpec { priority: -1, tasks: 1, ..job() });
    let late = bench.submit(JobSpec { deadline_ms: Some(bench.now.plus(9_000_000)), tasks: 1, ..job() });
    let soon = bench.submit(JobSpec { deadline_ms: Some(bench.now.plus(1_000_000)), tasks: 1, ..job() });
    let (one, two) = (bench.submit(JobSpec { tasks: 2, ..job() }), bench.submit(JobSpec { tasks: 2, ..job() }));
    let high = bench.submit(JobSpec { priority: 1, tasks: 1, ..job() });
    bench.connect(1, offer(8));
    let wanted = [high, soon, late, one, two, one, two, low].map(|job| job.0);
    assert_eq!(bench.jobs_given(), wanted);
}

/// Ten minutes of waiting are worth a step of priority: nothing waits for ever.
#[test]
fn who_waits_long_comes_first() {
    let mut bench = Bench::new();
    let old = bench.submit(JobSpec { tasks: 1, ..job() });
    bench.now = bench.now.plus(3 * 600_000);
    let new = bench.submit(JobSpec { tasks: 1, priority: 2, ..job() });
    bench.connect(1, offer(2));
    assert_eq!(bench.jobs_given(), [old.0, new.0]);
}

#[test]
fn a_job_goes_only_where_its_conditions_hold() {
    let mut bench = Bench::new();
    let require = ["site == lyon".parse().unwrap(), "slots >= 2".parse().unwrap()];
    let limits = Limits { memory_bytes: 65 << 30, ..Limits::default() };
    let picky = bench.submit(JobSpec { require: require.to_vec(), tasks: 1, ..job() });
    bench.submit(JobSpec { limits, tasks: 1, ..job() });
    let labelled =
        |slots, site: &str| WorkerOffer { labels: [("site".to_owned(), site.to_owned())].into(), ..offer(slots) };
    bench.connect(1, labelled(4, "paris"));
    bench.connect(2, labelled(1, "lyon"));
    bench.connect(3, WorkerOffer { os: "macos".into(), ..labelled(4, "lyon") });
    assert_eq!(bench.jobs_given(), [0; 0]);
    bench.connect(4, labelled(4, "lyon"));
    assert_eq!(
        bench.given().iter().map(|(worker, lease)| (*worker, lease.task.job)).collect::<Vec<_>>(),
        [(id(4), picky)]
    );
}

/// Nobody calls itself by what the pool says of it.
#[test]
fn a_worker_cannot_choose_the_labels_it_has_by_itself() {
    let mut bench = Bench::new();
    bench.submit(JobSpec { require: vec!["slots >= 64".parse().unwrap()], ..job() });
    bench.connect(1, WorkerOffer { labels: [("slots".to_owned(), "999".to_owned())].into(), ..offer(1) });
    assert_eq!(bench.jobs_given(), [0; 0]);
    let labels: BTreeMap<String, String> = (0..300).map(|number| (number.to_string(), String::new())).collect();
    let hostile = WorkerOffer { labels, ..offer(1) };
    let refused = bench.core.connect(id(2), ConnectionId(2), hostile, &[], bench.now, &mut bench.out);
    assert_eq!(refused, Err(ConnectError::Labels));
}

/// Memory is counted together, not attempt by attempt.
#[test]
fn attempts_share_the_memory_of_their_worker() {
    let mut bench = Bench::new();
    let limits = Limits { memory_bytes: 20 << 30, disk_bytes: 1 << 20, ..Limits::default() };
    bench.submit(JobSpec { limits, ..job() });
    bench.connect(1, offer(8));
    assert_eq!(bench.given().len(), 3);
}

/// A task of many cores is not overtaken for ever by those of one.
#[test]
fn a_wide_task_waits_at_a_worker_until_it_has_room() {
    let mut bench = Bench::new();
    bench.submit(of_user("narrow"));
    bench.connect(1, offer(4));
    let mut narrow: Vec<LeaseId> = bench.given().iter().map(|(_, lease)| lease.lease).collect();
    assert_eq!(narrow.len(), 4);
    let wide = bench.submit(JobSpec { resources: Resources { cores: 4, gpus: 0 }, ..of_user("wide") });
    bench.end(1, &[narrow.pop().unwrap()], 10_000);
    assert_eq!(bench.jobs_given(), [wide.0], "it is next, and waits there");
    bench.end(1, &narrow[..2], 10_000);
    assert_eq!(bench.jobs_given(), [0; 0], "nobody slips in before it");
    bench.end(1, &narrow[2..], 10_000);
    let status = &bench.core.worker_statuses()[0];
    assert_eq!(status.running, 1, "all slots are its own");
}

/// Short tasks are given ahead, and asked back when one before them takes long.
#[test]
fn short_tasks_are_given_ahead_and_asked_back() {
    let mut bench = Bench::new();
    bench.submit(job());
    bench.connect(1, offer(1));
    let first = bench.given();
    assert_eq!(first.len(), 1, "nothing is known of its length");
    bench.end(1, &[first[0].1.lease], 10);
    let next = bench.given();
    assert_eq!(next.len(), 21, "one to run, and as many as take 200 ms");
    assert_eq!(bench.core.worker_statuses()[0].running, 1);

    bench.now = bench.now.plus(2_000);
    assert!(bench.core.next_tick().is_some_and(|at| at <= bench.now));
    bench.core.tick(bench.now, &mut bench.out);
    let retracted = bench.out.messages.iter().find_map(|(_, _, message)| match message {
        ToWorker::Retract { leases } => Some(leases.clone()),
        _ => None,
    });
    let ahead: Vec<LeaseId> = next[1..].iter().map(|(_, lease)| lease.lease).collect();
    assert_eq!(retracted.as_deref(), Some(&ahead[..]));
    bench.given();
    bench.core.returned(id(1), ConnectionId(1), &ahead, bench.now, &mut bench.out);
    bench.core.check_invariants();
    assert_eq!(bench.given(), [], "not again while the long one runs");
    bench.connect(2, offer(1));
    let elsewhere = bench.given();
    assert_eq!(elsewhere[0].1.task, next[1].1.task, "what was asked back goes to others first");
}

/// A task that failed for good does not take the rest with it, where the job says so.
#[test]
fn tasks_may_fail_where_the_job_allows() {
    let mut bench = Bench::new();
    let spec = JobSpec { tasks: 3, retries: 0, failed_max: 1, ..job() };
    let (patient, strict) = (bench.submit(spec.clone()), bench.submit(JobSpec { failed_max: 0, ..spec }));
    bench.connect(1, offer(8));
    let given = bench.given();
    let of = |job: JobId| given.iter().filter(move |(_, lease)| lease.task.job == job).map(|(_, lease)| lease.lease);
    let (patient_leases, strict_leases): (Vec<_>, Vec<_>) = (of(patient).collect(), of(strict).collect());
    let ended = |bench: &Bench, job: JobId| {
        bench.out.changes.iter().find_map(|change| match change {
            Change::JobEnded { job: ended, state, reason, done, failed, .. } if *ended == job => {
                Some((*state, reason.clone().unwrap_or_default(), *done, *failed))
            }
            _ => None,
        })
    };
    bench.end_as(1, &strict_leases[..1], 10, &Exit::Code(3));
    let (state, reason, ..) = ended(&bench, strict).expect("one failed task is too many");
    assert!(state == JobState::Failed && reason.contains("exit status 3"), "{reason}");
    bench.end_as(1, &patient_leases[..1], 10, &Exit::Code(3));
    assert_eq!(ended(&bench, patient), None);
    bench.end(1, &patient_leases[1..], 10);
    assert_eq!(ended(&bench, patient), Some((JobState::Done, String::new(), 2, 1)));
}

/// Near the end of a job, who has nothing to do tries again what takes long elsewhere; the first to end counts.
#[test]
fn stragglers_are_copied_and_the_slower_is_stopped() {
    let mut bench = Bench::new();
    let job = bench.submit(JobSpec { tasks: 3, ..job() });
    bench.connect(1, offer(3));
    let given = bench.given();
    let leases: Vec<LeaseId> = given.iter().map(|(_, lease)| lease.lease).collect();
    bench.end(1, &leases[..2], 4_000);
    bench.connect(2, offer(1));
    assert_eq!(bench.jobs_given(), [0; 0]);
    let mut tick = |ms: u64| {
        bench.now = bench.now.plus(ms);
        bench.core.tick(bench.now, &mut bench.out);
        bench.core.check_invariants();
        bench.given()
    };
    assert_eq!(tick(3_000), [], "7 s, where 4 s are usual");
    let copies = tick(1_500);
    let [(worker, copy)] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!((*worker, copy.task), (id(2), given[2].1.task), "not to the one that has it");
    assert_eq!(tick(10_000), [], "one copy is enough");
    bench.end(2, &[copy.lease], 1_000);
    let stopped = bench.out.messages.iter().any(|(worker, _, message)| {
        *worker == id(1) && matches!(message, ToWorker::Cancel { lease, .. } if *lease == leases[2])
    });
    assert!(stopped, "{:?}", bench.out.messages);
    let done = |change: &Change| matches!(change, Change::JobEnded { state: JobState::Done, done: 3, .. });
    assert!(bench.out.changes.iter().any(done), "{job:?} {:?}", bench.out.changes);
}

/// The one of two attempts that fails takes nothing from the other.
#[test]
fn a_copy_that_fails_changes_nothing() {
    let mut bench = Bench::new();
    bench.submit(JobSpec { tasks: 2, ..job() });
    bench.connect(1, offer(2));
    let first = bench.given();
    bench.end(1, &[first[0].1.lease], 1_000);
    bench.connect(2, offer(1));
    bench.now = bench.now.plus(60_000);
    bench.core.tick(bench.now, &mut bench.out);
    let copy = bench.given()[0].1;
    bench.end_as(2, &[copy.lease], 1_000, &Exit::Code(1));
    assert_eq!(bench.jobs_given(), [0; 0], "the other attempt runs");
    bench.end(1, &[first[1].1.lease], 1_000);
    let done = |change: &Change| matches!(change, Change::JobEnded { state: JobState::Done, done: 2, .. });
    assert!(bench.out.changes.iter().any(done));
}

/// The first result of a batch may be one that the pool never asked for.
#[test]
fn a_batch_is_named_by_what_was_asked_for() {
    let mut bench = Bench::new();
    bench.submit(job());
    bench.connect(1, offer(1));
    let lease = bench.given()[0].1.lease;
    bench.end(1, &[LeaseId(u64::MAX), lease], 10);
    let names = bench.out.changes.iter().filter_map(|change| match change {
        Change::BatchSigned { batch, .. } => Some(*batch),
        Change::ResultAdded(result) => Some(result.batch),
        _ => None,
    });
    assert_eq!(names.collect::<Vec<_>>(), [lease, lease]);
    bench.out = Effects::default();
    bench.end(1, &[LeaseId(u64::MAX)], 10);
    assert!(bench.out.changes.is_empty(), "nothing is kept of it");
}

/// The attempt that was the last takes the other one with it.
#[test]
fn a_copy_that_fails_for_good_ends_the_task() {
    for failed_max in [0, 1] {
        let mut bench = Bench::new();
        bench.submit(JobSpec { tasks: 2, retries: 0, failed_max, ..job() });
        bench.connect(1, offer(2));
        let first = bench.given();
        bench.end(1, &[first[0].1.lease], 1_000);
        bench.connect(2, offer(1));
        bench.now = bench.now.plus(60_000);
        bench.core.tick(bench.now, &mut bench.out);
        let copy = bench.given()[0].1;
        bench.end_as(2, &[copy.lease], 1_000, &Exit::Code(1));
        let ended = bench.out.changes.iter().find_map(|change| match change {
            Change::JobEnded { state, done, failed, .. } => Some((*state, *done, *failed)),
            _ => None,
        });
        let state = if failed_max == 0 { JobState::Failed } else { JobState::Done };
        assert_eq!(ended, Some((state, 1, 1)));
        bench.out = Effects::default();
        bench.end(1, &[first[1].1.lease], 1_000);
        assert!(bench.out.changes.is_empty(), "it comes too late");
    }
}

/// A worker that comes again with less is taken for what it is now.
#[test]
fn another_offer_leaves_nothing_of_the_former() {
    let mut bench = Bench::new();
    let labels = |site: &str| [("site".to_owned(), site.to_owned())].into();
    bench.submit(JobSpec { require: vec!["site == lyon".parse().unwrap()], ..job() });
    bench.connect(1, WorkerOffer { labels: labels("lyon"), ..offer(1) });
    assert_eq!(bench.given().len(), 1);
    bench.connect(1, WorkerOffer { labels: labels("paris"), ..offer(1) });
    assert_eq!(bench.given().len(), 0);
    bench.connect(1, WorkerOffer { labels: labels("lyon"), ..offer(3) });
    assert_eq!(bench.given().len(), 3);
}

/// Who does not give back what was asked back loses it.
#[test]
fn leases_that_are_not_given_back_are_taken() {
    let mut bench = Bench::new();
    bench.submit(JobSpec { tasks: 30, ..job() });
    bench.connect(1, offer(1));
    let first = bench.given()[0].1.lease;
    bench.end(1, &[first], 10);
    let held: Vec<LeaseId> = bench.given().iter().map(|(_, lease)| lease.lease).collect();
    assert_eq!(held.len(), 21);
    bench.now = bench.now.plus(2_000);
    bench.core.tick(bench.now, &mut bench.out);
    bench.given();
    bench.now = bench.now.plus(Tuning::default().lost_ms - 1);
    bench.core.alive(id(1), ConnectionId(1), &held, bench.now, &mut bench.out);
    bench.connect(2, offer(64));
    assert_eq!(bench.given().len(), 8, "what was never given out");
    bench.now = bench.now.plus(1);
    assert!(bench.core.next_tick().is_some_and(|at| at <= bench.now));
    bench.core.tick(bench.now, &mut bench.out);
    bench.core.check_invariants();
    let given = bench.given();
    // And a copy of the one that takes so long.
    assert!(given.len() == 21 && given.iter().all(|(worker, _)| *worker == id(2)), "{given:?}");
}

/// Nobody knows how long the first attempts take, and users share them all the same.
#[test]
fn the_first_attempts_are_shared_too() {
    let mut bench = Bench::new();
    for _ in 0..64 {
        for user in ["ann", "bob"] {
            bench.submit(JobSpec { tasks: 1, ..of_user(user) });
        }
    }
    bench.connect(1, offer(64));
    let given = bench.jobs_given();
    let of_bob = given.iter().filter(|job| **job % 2 == 0).count();
    assert_eq!((given.len(), of_bob), (64, 32));
}
