//! What the store gives back, where the simulation does not look. Each test runs on both databases.

mod postgres;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_proto::app::{ProcessTarget, Runtime, Target};
use gristmill_proto::codec::encode;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, ProviderId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec, Replicate, Search, Trust};
use gristmill_proto::key::Signature;
use gristmill_proto::message::{ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Log, Outcome, OutputFile, Usage};
use gristmill_proto::view::{AppEntry, Closest, JobState, Verdict};
use gristmill_proto::vote::{Commitment, Fraction, Salt, Sealed, compared};
use gristmill_scheduler::core::{
    Change, ConnectionId, Core, Effects, Fault, Needs, OpenBallot, PoolSecret, ResultAdded, Shares, Tuning,
};
use gristmill_scheduler::store::{Place, Seat, Store, StoreError};
use gristmill_scheduler::trust::{AppClass, Standing, Why};
use postgres::Postgres;

const JOB: JobId = JobId(1);

fn search() -> Arc<JobSpec> {
    let search = Search { task_work: 10, work_max: 1_000_000, shares: None };
    Arc::new(JobSpec {
        done_when: DoneWhen::AnyTask,
        search: Some(search),
        tasks: 1 << 20,
        ..JobSpec::new(Digest::of(b"app"))
    })
}

fn result(number: u64, answer: Option<&[u8]>) -> Change {
    let outcome = Outcome {
        exit: Exit::Code(0),
        answer: answer.map(<[u8]>::to_vec),
        files: vec![OutputFile { path: "shares".into(), digest: Digest::of(&number.to_le_bytes()), size: 9 }],
        stdout: Log::default(),
        stderr: Log::default(),
        usage: Usage { work_done: 10, ..Usage::default() },
    };
    let (task, lease) = (TaskId { job: JOB, index: number }, LeaseId(number + 1));
    Change::ResultAdded(ResultAdded {
        task,
        lease,
        worker: WorkerId([1; 20]),
        batch: LeaseId(1),
        position: 0,
        verdict: if answer.is_some() { Verdict::Pending } else { Verdict::Certified },
        shown: answer.is_some(),
        outcome: encode(&outcome),
        work: 10,
        shares: 64,
        at: UnixMillis(number),
    })
}

const LEASE: Duration = Duration::from_secs(5);

fn shared(postgres: &Postgres) -> Box<tokio_postgres::Config> {
    match postgres.url().parse() {
        Ok(Place::Shared(config)) => config,
        other => panic!("a database that is shared, not {other:?}"),
    }
}

fn lead(config: &tokio_postgres::Config, holder: &str) -> Store {
    let mut seat = Seat::open(config, LEASE).unwrap();
    let seen = seat.look().unwrap();
    let term = seat.take(&seen, holder, "http://here").unwrap().expect("nobody else takes it");
    Store::lead(config, term, LEASE).unwrap()
}

/// Runs a test on each database; it may open the same one several times.
fn on_both(test: impl Fn(&dyn Fn() -> Store)) {
    let dir = tempfile::tempdir().unwrap();
    test(&|| Store::open(&dir.path().join("pool.sqlite")).unwrap());
    let postgres = Postgres::start();
    let config = shared(&postgres);
    test(&|| lead(&config, "test"));
}

fn added(job: JobId, spec: Arc<JobSpec>) -> Change {
    let needs = Needs { targets: vec![], cores: 1, memory_bytes: 0, gpus: 0, require: vec![] };
    Change::JobAdded { job, spec, needs, at: UnixMillis(0) }
}

fn signed() -> Change {
    let (leaves, worker) = (vec![Digest::of(b"leaf")], WorkerId([1; 20]));
    Change::BatchSigned { batch: LeaseId(1), worker, leaves, signature: Signature([0; 65]) }
}

/// However long a search was, its answer is seen.
#[test]
fn searches_in_vain_do_not_hide_an_answer() {
    on_both(|open| look_for_an_answer(open()));
}

fn look_for_an_answer(mut store: Store) {
    let added = added(JOB, search());
    let closest = Closest { score: 4, text: "1LoVaa".into(), record: "0x00".into() };
    let vain = (0..2_000).map(|number| result(number, None));
    let changes: Vec<Change> = [added, signed()]
        .into_iter()
        .chain(vain)
        .chain([
            result(2_000, Some(b"found")),
            Change::CameCloser { job: JOB, closest: closest.clone() },
            Change::StandingChanged { worker: WorkerId([1; 20]), standing: Shares { found: 60, expected: 64 } },
        ])
        .collect();
    store.commit(&changes).unwrap();

    let view = store.reader().unwrap().job(JOB).unwrap().unwrap();
    assert_eq!(view.results.len(), 1, "only what somebody asks for");
    assert_eq!(view.results[0].answer.as_deref(), Some("0x666f756e64"));
    assert_eq!(view.closest, Some(closest));
    assert_eq!(view.progress.done, 20_010);

    let restored = store.begin_run([1; 32]).unwrap();
    assert_eq!(restored.jobs[0].closest_score, Some(4));
    assert_eq!(restored.jobs[0].results.len(), 2_001);
    assert_eq!(restored.standings, [(WorkerId([1; 20]), Shares { found: 60, expected: 64 })]);
}

/// A commit is all or nothing, and a task has one certified result.
#[test]
fn a_second_certified_result_fails_its_whole_commit() {
    on_both(|open| {
        let mut store = open();
        store.commit(&[added(JOB, search()), signed(), result(7, None)]).unwrap();
        let Change::ResultAdded(mut again) = result(7, None) else { unreachable!() };
        again.lease = LeaseId(99);
        let other = added(JobId(2), search());
        let refused = store.commit(&[other, Change::ResultAdded(again)]);
        assert!(matches!(refused, Err(StoreError::Contradicted { rows: 1, .. })), "{refused:?}");
        assert!(store.reader().unwrap().job(JobId(2)).unwrap().is_none(), "nothing of it is left");
        assert_eq!(store.begin_run([1; 32]).unwrap().jobs[0].results.len(), 1);
        store.commit(&[result(8, None)]).unwrap();
    });
}

#[test]
fn jobs_come_back_as_they_were() {
    on_both(|open| {
        let mut store = open();
        let first = store.begin_run([1; 32]).unwrap();
        assert_eq!((first.run, first.next_job), (1, JobId(1)));
        let named = Arc::new(JobSpec { external_id: Some("0xfeed".into()), ..JobSpec::clone(&search()) });
        let (task, worker) = (TaskId { job: JOB, index: 3 }, WorkerId([2; 20]));
        let failed = Change::AttemptFailed {
            task,
            lease: LeaseId(50),
            worker,
            fault: Fault::Late,
            reason: "it took a zero \0 byte".into(),
            work_done: 5,
            at: UnixMillis(9),
        };
        let judged = Change::VerdictGiven {
            task: TaskId { job: JOB, index: 4 },
            lease: LeaseId(5),
            worker: WorkerId([1; 20]),
            certified: false,
            reason: "wrong".into(),
            at: UnixMillis(10),
        };
        let ended = Change::JobEnded {
            job: JobId(2),
            state: JobState::Failed,
            reason: Some("why".into()),
            done: 0,
            failed: 1,
            at: UnixMillis(11),
        };
        let changes = [
            added(JOB, named.clone()),
            added(JobId(2), search()),
            signed(),
            result(4, Some(b"a")),
            failed,
            judged,
            ended,
        ];
        store.commit(&changes).unwrap();
        drop(store);

        let mut store = open();
        let second = store.begin_run([2; 32]).unwrap();
        assert_eq!((second.run, second.next_job, second.secret.0), (2, JobId(3), first.secret.0));
        assert_eq!(second.jobs.len(), 1);
        assert_eq!(second.jobs[0].spec, named);
        assert_eq!(second.jobs[0].failures, [(3, worker, Fault::Late)]);
        assert_eq!(second.jobs[0].results[0].verdict, Verdict::Rejected);
        assert_eq!(second.jobs[0].work_done, 15);
        let reader = store.reader().unwrap();
        assert_eq!(reader.job_of("0xfeed").unwrap(), Some(JOB));
        assert_eq!(reader.job_of("0xdead").unwrap(), None);
        assert_eq!(reader.job_ids(None, 10).unwrap(), [JobId(2), JOB]);
        assert_eq!(reader.job_ids(Some(JobId(2)), 10).unwrap(), [JOB]);
        assert_eq!(reader.job(JobId(2)).unwrap().unwrap().state, JobState::Failed);
        assert_eq!(reader.attempts(TaskId { job: JOB, index: 4 }).unwrap()[0].reason.as_deref(), Some("wrong"));
        store.commit(&[result(6, None), result(5, None)]).unwrap();
        let certified = |from, limit| {
            let page = reader.certified_results(JOB, from, limit).unwrap();
            page.into_iter().map(|result| result.task).collect::<Vec<_>>()
        };
        assert_eq!((certified(0, 9), certified(6, 9), certified(0, 1)), (vec![5, 6], vec![6], vec![5]));
        assert_eq!(reader.last_failures(JOB, 5).unwrap().len(), 1);
        assert_eq!(reader.workers().unwrap().len(), 2);
        assert!(reader.receipt("pool", TaskId { job: JOB, index: 4 }, LeaseId(5)).unwrap().is_some());
    });
}

fn replicated() -> Arc<JobSpec> {
    let trust = Trust::Replicate(Replicate::new(Fraction::new(1e-3).unwrap()));
    Arc::new(JobSpec { tasks: 2, trust, ..JobSpec::new(Digest::of(b"app")) })
}

/// As the core leaves it when a worker has voted on a task of the replicated job.
fn ballot_after_a_vote() -> (TaskId, Box<OpenBallot>) {
    let (now, id, connection) = (UnixMillis(1_000_000), WorkerId([1; 20]), ConnectionId(1));
    let (os, arch, entry) = ("linux", "x86_64", "a");
    let target =
        Target::Process(ProcessTarget { os: os.into(), arch: arch.into(), entry: entry.into(), files: vec![] });
    let offer = WorkerOffer {
        name: "w".into(),
        version: "0".into(),
        os: os.into(),
        arch: arch.into(),
        runtimes: vec![Runtime::Process],
        slots: 1,
        memory_bytes: 8 << 30,
        gpus: 0,
        labels: BTreeMap::new(),
    };
    let mut core = Core::new("pool".to_owned(), PoolSecret([0; 32]), Tuning::default(), 1, JOB);
    let mut out = Effects::default();
    core.submit(JobSpec::clone(&replicated()), &[target], now, &mut out).unwrap();
    core.connect(id, connection, offer, &[], now, &mut out).unwrap();
    core.greeted(id, now, &mut out);
    let given = out.messages.iter().find_map(|(_, _, message)| match message {
        ToWorker::Leases { leases, .. } => leases.first().copied(),
        _ => None,
    });
    let lease = given.expect("it is asked for a vote");
    let commitment = Commitment::new(id, lease.task, compared(&Outcome::not_run("")), Salt([1; 32]));
    core.committed(id, connection, &[Sealed { lease: lease.lease, commitment }], now, &mut out);
    let voted = out.changes.into_iter().rev().find_map(|change| match change {
        Change::BallotChanged { task, ballot } => Some((task, ballot)),
        _ => None,
    });
    voted.expect("a vote is durable before anybody shows one")
}

fn shown_vote(task: TaskId, number: u8) -> Change {
    let Change::ResultAdded(added) = result(task.index, Some(b"a")) else { unreachable!() };
    let (lease, worker) = (LeaseId(number.into()), WorkerId([number; 20]));
    Change::ResultAdded(ResultAdded { lease, worker, verdict: Verdict::Voted, shown: false, ..added })
}

/// Votes outlive a restart, are told to nobody before their task is settled, and are judged together.
#[test]
fn votes_are_kept_and_hidden_until_they_are_settled() {
    on_both(|open| {
        let (task, ballot) = ballot_after_a_vote();
        let (class, liar) = (AppClass(Digest::of(b"class")), WorkerId([3; 20]));
        let proven = Standing { agreed: 3, passed: 1, exposed: false };
        let trust = |worker, standing| Change::TrustChanged { worker, class, standing };
        let other = TaskId { index: 1 - task.index, ..task };
        let cast = |task| Change::BallotChanged { task, ballot: ballot.clone() };
        let mut store = open();
        store.commit(&[added(JOB, replicated()), signed(), cast(task), cast(other), cast(task)]).unwrap();
        store.commit(&[shown_vote(task, 1), shown_vote(task, 2), shown_vote(task, 3)]).unwrap();
        store.commit(&[trust(liar, proven), trust(liar, Standing { exposed: true, ..proven })]).unwrap();
        let exposed = Change::LiarExposed { worker: liar, class, task, why: Why::Contradicted, at: UnixMillis(7) };
        store.commit(&[exposed]).unwrap();
        drop(store);

        let mut store = open();
        let restored = store.begin_run([1; 32]).unwrap();
        assert_eq!(restored.trust, [(liar, class, Standing { exposed: true, ..proven })]);
        let kept: Vec<(u64, Vec<u8>)> =
            restored.jobs[0].ballots.iter().map(|(task, ballot)| (*task, encode(ballot))).collect();
        assert_eq!(kept, [(0, encode(&*ballot)), (1, encode(&*ballot))]);
        assert_eq!(restored.jobs[0].results.len(), 3);
        let reader = store.reader().unwrap();
        assert!(reader.attempts(task).unwrap().is_empty(), "whoever is asked next could copy them");
        assert!(reader.receipt("pool", task, LeaseId(1)).unwrap().is_none());
        assert!(reader.job(JOB).unwrap().unwrap().results.is_empty());
        assert!(reader.certified_results(JOB, 0, 9).unwrap().is_empty());

        let judged = |number: u8, verdict| (LeaseId(number.into()), WorkerId([number; 20]), verdict);
        let results = vec![judged(1, Verdict::Certified), judged(2, Verdict::Agreed), judged(3, Verdict::Rejected)];
        let settled = Change::TaskSettled { task, results, shown: true, at: UnixMillis(8) };
        store.commit(&[settled]).unwrap();
        let attempts = reader.attempts(task).unwrap();
        let verdicts: Vec<Verdict> = attempts.iter().map(|attempt| attempt.verdict).collect();
        assert_eq!(verdicts, [Verdict::Certified, Verdict::Agreed, Verdict::Rejected]);
        let blamed: Vec<bool> = attempts.iter().map(|attempt| attempt.reason.is_some()).collect();
        assert_eq!(blamed, [false, false, true]);
        assert!(reader.receipt("pool", task, LeaseId(1)).unwrap().is_some());
        assert_eq!(reader.job(JOB).unwrap().unwrap().results.len(), 1, "one of those that agree is shown");
        let mut counts: Vec<_> = reader
            .workers()
            .unwrap()
            .into_iter()
            .map(|worker| (worker.id.0[0], worker.certified, worker.rejected))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [(1, 1, 0), (2, 1, 0), (3, 0, 1)]);
        let left = store.begin_run([1; 32]).unwrap().jobs.remove(0).ballots;
        assert_eq!(left.iter().map(|(task, _)| *task).collect::<Vec<_>>(), [other.index]);

        let results = vec![judged(2, Verdict::Certified)];
        let again = store.commit(&[Change::TaskSettled { task, results, shown: true, at: UnixMillis(9) }]);
        assert!(matches!(again, Err(StoreError::Contradicted { rows: 1, .. })), "{again:?}");
    });
}

#[test]
fn all_schedulers_have_the_token_of_the_first() {
    let postgres = Postgres::start();
    let config = shared(&postgres);
    let token = |mine: &str| Seat::open(&config, LEASE).unwrap().token(mine).unwrap();
    assert_eq!((token("a"), token("b")), ("a".to_owned(), "a".to_owned()));
    lead(&config, "test");
    assert_eq!(token("c"), "a");
}

/// What was deposed can write nothing, whatever it believes.
#[test]
fn a_former_leader_commits_nothing() {
    let postgres = Postgres::start();
    let config = shared(&postgres);
    let mut former = lead(&config, "a");
    former.commit(&[added(JOB, search())]).unwrap();
    let mut seat = Seat::open(&config, LEASE).unwrap();
    let seen = seat.look().unwrap();
    assert_eq!((seen.holder.as_str(), seen.url.as_deref()), ("a", Some("http://here")));

    let mut latter = lead(&config, "b");
    let refused = former.commit(&[added(JobId(2), search())]);
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
    assert!(matches!(former.begin_run([0; 32]), Err(StoreError::Deposed)));
    assert!(!seat.beat(seen.term).unwrap(), "nor does it beat any more");
    assert!(seat.take(&seen, "c", "http://there").unwrap().is_none(), "what was seen is no longer so");
    assert_eq!(latter.begin_run([1; 32]).unwrap().jobs.len(), 1);
    latter.commit(&[added(JobId(2), search())]).unwrap();
}

/// Written by the programs that had those formats: one job done, one failed, one live.
#[test]
fn databases_of_former_formats_are_read() {
    for format in ["format-3", "format-4"] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = former(dir.path(), format);
        let reader = store.reader().unwrap();
        let states: Vec<JobState> = (1..=3).map(|id| reader.job(JobId(id)).unwrap().unwrap().state).collect();
        assert_eq!(states, [JobState::Done, JobState::Failed, JobState::Running]);
        let done = reader.job(JOB).unwrap().unwrap();
        let result = &done.results[0];
        assert_eq!(result.files[0].path, "greeting");
        let receipt = reader
            .receipt("pool", TaskId { job: JOB, index: 0 }, LeaseId(result.lease))
            .unwrap()
            .expect("it was signed");
        let signed = receipt.receipt.signer();
        assert_eq!(signed, Some(receipt.worker), "and the signature still holds");
        assert_eq!(store.begin_run([9; 32]).unwrap().jobs.len(), 1);
    }
}

fn former(dir: &Path, format: &str) -> Store {
    let path = dir.join("pool.sqlite");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::copy(fixtures.join(format).with_extension("sqlite"), &path).unwrap();
    Store::open(&path).unwrap()
}

/// Format 4 knew it by the order of its rows.
#[test]
fn apps_of_format_4_keep_their_order_and_new_ones_come_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = former(dir.path(), "format-4");
    let versions = |store: &Store| store.apps().unwrap().into_iter().map(|app| app.version).collect::<Vec<_>>();
    assert_eq!(versions(&store), ["0.0.9", "0.0.10"]);
    store.commit(&[Change::AppChanged(app("greet", "0.0.1"))]).unwrap();
    assert_eq!(versions(&store), ["0.0.9", "0.0.10", "0.0.1"]);
}

fn app(name: &str, version: &str) -> AppEntry {
    AppEntry {
        app: Digest::of(format!("{name}@{version}").as_bytes()),
        name: name.into(),
        version: version.into(),
        provider: Some(ProviderId([7; 20])),
        approved: false,
        retired: false,
        published_at_ms: UnixMillis(5),
    }
}

/// Of two published in the same commit and the same instant too.
#[test]
fn apps_come_back_in_the_order_of_their_publication() {
    on_both(|open| {
        let (second, first) = (app("b", "0.0.10"), AppEntry { provider: None, ..app("b", "0.0.9") });
        let retired = AppEntry { retired: true, approved: true, ..first.clone() };
        let mut store = open();
        store.commit(&[Change::AppChanged(first), Change::AppChanged(second.clone())]).unwrap();
        store.commit(&[Change::AppChanged(app("a", "1"))]).unwrap();
        store.commit(&[Change::AppChanged(retired.clone())]).unwrap();
        drop(store);
        assert_eq!(open().apps().unwrap(), [retired, second, app("a", "1")]);
    });
}
