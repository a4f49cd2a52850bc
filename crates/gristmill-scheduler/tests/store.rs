//! What the store gives back, where the simulation does not look.

use std::sync::Arc;

use gristmill_proto::codec::encode;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{DoneWhen, JobSpec, Search};
use gristmill_proto::key::Signature;
use gristmill_proto::outcome::{Exit, Log, Outcome, OutputFile, Usage};
use gristmill_proto::view::{Closest, Verdict};
use gristmill_scheduler::core::{Change, Needs, ResultAdded, Shares};
use gristmill_scheduler::store::Store;

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

/// However long a search was, its answer is seen.
#[test]
fn searches_in_vain_do_not_hide_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pool.sqlite");
    let mut store = Store::open(&path).unwrap();
    let added = Change::JobAdded {
        job: JOB,
        spec: search(),
        needs: Needs { targets: vec![], cores: 1, memory_bytes: 0, gpus: 0, require: vec![] },
        at: UnixMillis(0),
    };
    let closest = Closest { score: 4, text: "1LoVaa".into(), record: "0x00".into() };
    let vain = (0..2_000).map(|number| result(number, None));
    let leaves = vec![Digest::of(b"leaf")];
    let (batch, worker, signature) = (LeaseId(1), WorkerId([1; 20]), Signature([0; 65]));
    let signed = Change::BatchSigned { batch, worker, leaves, signature };
    let changes: Vec<Change> = [added, signed]
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
