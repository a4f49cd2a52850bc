//! Workers that lie, forge, copy, flood or sit still: what they say is refused, they get no more of the job, and the
//! order is completed by somebody else.

#![allow(clippy::large_futures, reason = "a test runs once")]

mod grid;

use std::time::{Duration, Instant};

use alloy::primitives::Address;
use futures_util::StreamExt;
use grid::hostile::{Given, HostileWorker, answers, in_vain};
use grid::{Grid, PATIENCE};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::{JobSpec, Limits};
use gristmill_proto::key::{Purpose, WorkerKey};
use gristmill_proto::message::{MESSAGE_BYTES_MAX, ToPool, ToWorker};
use gristmill_proto::outcome::{LOG_BYTES_MAX, Log, Outcome, OutputFile, Usage};
use vanity::kernel::Backend;
use vanity::shares::Share;
use vanity::unit::{Search, Slice};
use vanity::{AddressKind, Order, Params, Ranges, Solution};

const PATTERN: &str = "1Lo";

/// A grid whose only worker is hostile, with a lease of a paid order.
struct Trap {
    grid: Grid,
    order: gristmill::vanity_order::LocalOrder,
    hostile: HostileWorker,
    lease: Given,
}

impl Trap {
    async fn set() -> Self {
        Self::set_with(PATTERN).await
    }

    async fn set_with(pattern: &str) -> Self {
        let mut grid = Grid::bare();
        grid.start_oracle();
        let mut hostile = HostileWorker::connect(&grid.pool_url, 66).await;
        let order = grid.order(pattern);
        let lease = hostile.lease().await;
        Self { grid, order, hostile, lease }
    }

    /// The worker gets nothing more of this job, though there is nobody else; then an honest one completes the order.
    async fn completes_by_another(mut self) {
        assert!(self.hostile.hears_nothing().await, "the liar gets more of the job");
        self.completes_despite_it().await;
    }

    async fn completes_despite_it(mut self) {
        self.grid.start_worker();
        let settlement = self.grid.until_settled(&self.order).await;
        assert_ne!(settlement.worker, Address::from(self.hostile.id().0), "the liar is not paid");
        self.order.finish(&settlement).expect("the result is good");
        self.grid.check_money(&[&self.order], &[]).await;
    }

    /// What the pool counts against the worker: failed attempts and rejected answers.
    async fn blame(&self) -> (u64, u64) {
        let id = self.hostile.id();
        let workers = self.grid.pool().workers().await.unwrap();
        workers.iter().find(|worker| worker.id == id).map_or((0, 0), |worker| (worker.failed, worker.rejected))
    }

    async fn answers_in_vain(answer: impl FnOnce(&Self) -> Vec<u8>) {
        let mut trap = Self::set().await;
        let answer = answer(&trap);
        let refused = trap.hostile.finish(&trap.lease, answers(answer)).await;
        assert_eq!(refused, None, "an answer is on record before it is judged");
        let started = Instant::now();
        while trap.blame().await.1 == 0 {
            assert!(started.elapsed() < PATIENCE, "the answer was never rejected");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Until the verdict it was as good as any worker, and had begun another task.
        let next = trap.hostile.lease().await.lease;
        let cancelled = trap.hostile.hear().await;
        assert!(matches!(cancelled, Some(ToWorker::Cancel { lease, .. }) if lease == next), "{cancelled:?}");
        trap.completes_by_another().await;
    }

    async fn is_refused(outcome: Outcome, why: &str) {
        let mut trap = Self::set().await;
        let refused = trap.hostile.finish(&trap.lease, outcome).await.expect("it is refused");
        assert!(refused.contains(why), "{refused}");
        assert_eq!(trap.blame().await, (1, 0));
        trap.completes_by_another().await;
    }

    /// All shares of the lease's task but those that win.
    fn near_misses(&self, lease: &Given) -> Vec<Share> {
        let params = Params::decode(&self.order.record.params).unwrap();
        let at = lease.job.args.iter().position(|arg| arg == "--shares").expect("shares are asked for");
        let ranges = alloy::hex::decode(&lease.job.args[at + 1]).unwrap();
        let ranges = Params::decode(&[&params.public_key().to_bytes()[..], &ranges].concat()).unwrap().ranges().clone();
        let search = Search {
            public_key: *params.public_key(),
            base: Order { id: self.order.record.order.unwrap().0, worker: self.hostile.id().0 }.base(),
            kind: AddressKind::P2pkh,
            targets: params.ranges().clone(),
            shares: ranges,
            backend: Backend::best(),
        };
        let slice = Slice::of_unit(lease.task.index, lease.work.div_ceil(6)).unwrap();
        let report = vanity::unit::search(&search, slice, |_| std::ops::ControlFlow::Continue(()));
        let near = report.shares.into_iter().filter(|found| !report.hits.contains(found));
        near.map(Share::from).collect()
    }

    /// The outcome with these shares, which are uploaded.
    async fn with_shares(&self, outcome: Outcome, bytes: Vec<u8>) -> Outcome {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let put = reqwest::Client::new().put(format!("{}/api/blobs/{digest}", self.grid.pool_url));
        let put = put.bearer_auth(&self.hostile.upload_token).body(bytes).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        Outcome { files: vec![OutputFile { path: "shares".into(), digest, size }], ..outcome }
    }

    /// An answer that is right for some other worker of the same order.
    fn answer_of_another(&self) -> Vec<u8> {
        let id = self.order.record.order.expect("a paid order");
        let params = Params::decode(&self.order.record.params).unwrap();
        let order = Order { id: id.0, worker: [7; 20] };
        let search = Search {
            public_key: *params.public_key(),
            base: order.base(),
            kind: AddressKind::P2pkh,
            targets: params.ranges().clone(),
            shares: Ranges::default(),
            backend: Backend::best(),
        };
        let found = vanity::unit::search(&search, Slice::new(0, 1 << 22).unwrap(), |step| {
            if step.hits.is_empty() { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
        });
        let hit = found.hits.first().expect("three letters are found in four million");
        Solution::new(&params, &order, hit.index, hit.image).unwrap().encode().to_vec()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_offset() {
    Trap::answers_in_vain(|trap| {
        let mut answer = trap.answer_of_another();
        answer[..20].copy_from_slice(&trap.hostile.id().0);
        answer
    })
    .await;
}

/// As seen in somebody else's transaction: right, but bound to that worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_offset() {
    Trap::answers_in_vain(Trap::answer_of_another).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_for_an_answer() {
    Trap::answers_in_vain(|_| (0..=255).cycle().take(8 * 1024).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer() {
    Trap::answers_in_vain(|_| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_vain_without_the_work() {
    Trap::is_refused(in_vain(0), "work units").await;
}

/// It claims all the work, but near misses cannot be made up.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_vain_without_shares() {
    Trap::is_refused(in_vain(u64::MAX >> 20), "never happen").await;
}

/// No single task shows that a third of it was left out. Some together do.
#[tokio::test(flavor = "multi_thread")]
async fn a_slacker() {
    let mut trap = Trap::set_with("1LoVE").await;
    let mut lease = trap.lease.clone();
    for task in 1.. {
        let shares = trap.near_misses(&lease);
        let kept = shares.len() - shares.len() / 3;
        let bytes: Vec<u8> = shares[..kept].iter().flat_map(Share::encode).collect();
        let refused = trap.hostile.finish(&lease, trap.with_shares(in_vain(lease.work), bytes).await).await;
        match refused {
            None => lease = trap.hostile.lease().await,
            // Sooner, if what was left out lies where is searched again.
            Some(reason) if reason.contains("over all its tasks") || reason.contains("are missing") => break,
            Some(reason) => panic!("refused for another reason: {reason}"),
        }
        assert!(task < 40, "a third of the work is missing and nobody sees it");
    }
    trap.completes_by_another().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_searcher_is_believed() {
    let mut trap = Trap::set_with("1LoVE").await;
    let mut lease = trap.lease.clone();
    for _ in 0..10 {
        let bytes = trap.near_misses(&lease).iter().flat_map(Share::encode).collect();
        let refused = trap.hostile.finish(&lease, trap.with_shares(in_vain(lease.work), bytes).await).await;
        assert_eq!(refused, None);
        lease = trap.hostile.lease().await;
    }
}

/// Numbers that no database column holds.
#[tokio::test(flavor = "multi_thread")]
async fn work_beyond_all_numbers() {
    let mut trap = Trap::set().await;
    trap.hostile.say(&ToPool::Progress { lease: trap.lease.lease, done: u64::MAX }).await;
    let whole = u64::MAX;
    let usage = Usage { wall_ms: whole, cpu_ms: whole, memory_peak_bytes: whole, work_done: whole, ..Usage::default() };
    let refused = trap.hostile.finish(&trap.lease, Outcome { usage, ..in_vain(0) }).await;
    assert!(refused.expect("it has no shares").contains("never happen"));

    let app = trap.grid.deployment.offer.plan.app;
    let job = trap.grid.pool().submit(&JobSpec::new(app)).await.unwrap().id;
    let lease = trap.hostile.lease().await;
    assert_eq!(lease.task.job, job);
    trap.hostile.say(&ToPool::Progress { lease: lease.lease, done: u64::MAX }).await;
    let refused = trap.hostile.finish(&lease, Outcome { usage, ..in_vain(0) }).await;
    assert_eq!(refused, None);
    trap.completes_by_another().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_longer_than_allowed() {
    Trap::is_refused(answers(vec![0; 8 * 1024 + 1]), "longer than 8192").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_longer_than_allowed() {
    let head = vec![b'x'; LOG_BYTES_MAX + 1];
    Trap::is_refused(Outcome { stdout: Log { head, total_bytes: 0 }, ..in_vain(u64::MAX) }, "log of").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_path_that_climbs_out() {
    let digest = Digest::of(b"loot");
    let file = OutputFile { path: "../../etc/cron.d/x".into(), digest, size: 4 };
    let mut trap = Trap::set().await;
    let url = format!("{}/api/blobs/{digest}", trap.grid.pool_url);
    let put =
        reqwest::Client::new().put(url).bearer_auth(&trap.hostile.upload_token).body("loot").send().await.unwrap();
    assert!(put.status().is_success(), "a worker may upload what its leases allow");
    let refused = trap.hostile.finish(&trap.lease, Outcome { files: vec![file], ..answers(*b"x") }).await;
    assert!(refused.expect("it is refused").contains("plain relative path"));
    trap.completes_by_another().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_was_never_sent() {
    let file = OutputFile { path: "big".into(), digest: Digest::of(b"nothing"), size: 1 << 30 };
    Trap::is_refused(Outcome { files: vec![file], ..answers(*b"x") }, "was not uploaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_of_output() {
    let trap = Trap::set().await;
    let url = format!("{}/api/blobs/{}", trap.grid.pool_url, Digest::of(b"a gigabyte"));
    let gigabyte = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1 << 20])).take(1 << 10);
    let client = reqwest::Client::new();
    let put = client.put(&url).bearer_auth(&trap.hostile.upload_token);
    let put = put.header("content-length", 1 << 30).body(reqwest::Body::wrap_stream(gigabyte)).send().await;
    if let Ok(answer) = put {
        assert_eq!(answer.status(), 413);
    }
    let unnamed = client.put(&url).body("who am I").send().await.unwrap();
    assert_eq!(unnamed.status(), 401);
    // Within the allowance, but not the blob it says.
    let wrong = client.put(&url).bearer_auth(&trap.hostile.upload_token).body("something else").send().await.unwrap();
    assert_eq!(wrong.status(), 422);
    let stored = std::fs::read_dir(trap.grid.path("scheduler")).unwrap().flatten();
    let stored: u64 = stored.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    assert!(stored < 32 << 20, "{stored} bytes were kept");
    trap.completes_despite_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_longer_than_allowed() {
    let mut trap = Trap::set().await;
    trap.hostile.send(vec![0; MESSAGE_BYTES_MAX + 1]).await;
    while trap.hostile.hear().await.is_some() {}
    trap.completes_despite_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_instead_of_messages() {
    let mut trap = Trap::set().await;
    trap.hostile.send(b"\xff\xfe not CBOR".to_vec()).await;
    let refused = trap.hostile.hear().await;
    assert!(matches!(refused, Some(ToWorker::Refused { .. })), "{refused:?}");
    assert_eq!(trap.hostile.hear().await, None, "the pool hangs up");
    trap.completes_despite_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_another_key_signed() {
    let mut trap = Trap::set().await;
    let outcome = answers(*b"x");
    let key = std::mem::replace(&mut trap.hostile.key, WorkerKey::from_bytes(&[67; 32]).unwrap());
    let forged = trap.hostile.sign(&trap.lease, &outcome);
    trap.hostile.key = key;
    let refused = trap.hostile.finish_signed(&trap.lease, outcome, forged).await;
    assert!(refused.expect("it is refused").contains("not signed by this worker"));
    trap.completes_by_another().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_another_result() {
    let mut trap = Trap::set().await;
    let signature = trap.hostile.sign(&trap.lease, &answers(*b"one"));
    let refused = trap.hostile.finish_signed(&trap.lease, answers(*b"another"), signature).await;
    assert!(refused.expect("it is refused").contains("not signed by this worker"));
    trap.completes_by_another().await;
}

/// A lease is its worker's own: another cannot finish it, nor take it back by naming it.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_lease() {
    let trap = Trap::set().await;
    let mut thief = HostileWorker::connect(&trap.grid.pool_url, 68).await;
    let mine = thief.lease().await;
    assert_ne!(mine.task, trap.lease.task);
    let refused = thief.finish(&trap.lease, answers(*b"x")).await;
    assert!(refused.expect("it is refused").contains("no longer wanted"));
    assert_eq!(trap.blame().await, (0, 0));
    drop(thief);
    trap.completes_despite_it().await;
}

/// Beats, but never ends: its lease passes to another when no attempt could last so long.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_worker() {
    let mut grid = Grid::bare();
    let mut silent = HostileWorker::connect(&grid.pool_url, 69).await;
    let pool = grid.pool();
    let spec = JobSpec {
        limits: Limits { wall_ms: 500, ..Limits::default() },
        args: vec!["difficulty".into(), "1Love".into()],
        ..JobSpec::new(grid.deployment.offer.plan.app)
    };
    let job = pool.submit(&spec).await.unwrap().id;
    let lease = silent.lease().await;
    let beating = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            silent.say(&ToPool::Alive { leases: vec![lease.lease] }).await;
            let heard = tokio::time::timeout(Duration::from_millis(200), silent.hear()).await;
            match heard {
                Ok(Some(ToWorker::Cancel { lease: cancelled, .. })) => return assert_eq!(cancelled, lease.lease),
                Ok(other) => panic!("{other:?}"),
                Err(_) => {}
            }
        }
    });
    beating.await.expect("the lease ends");
    grid.start_worker();
    let started = Instant::now();
    while !pool.job(job).await.unwrap().state.is_final() {
        assert!(started.elapsed() < PATIENCE, "nobody takes over\n{}", grid.log("worker-0"));
        silent.say(&ToPool::Alive { leases: vec![lease.lease] }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pool.job(job).await.unwrap().state, gristmill_proto::view::JobState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_made_for_another_connection() {
    let grid = Grid::bare();
    let key = WorkerKey::from_bytes(&[70; 32]).unwrap();
    let mut old = None;
    let honest = |pool: &str, nonce: &[u8]| {
        let signature = key.sign(Purpose::Connect, &gristmill_proto::message::connect_statement(pool, nonce));
        old = Some(signature);
        signature
    };
    let (_first, answer) = HostileWorker::greet(&grid.pool_url, key.clone(), honest).await;
    assert!(matches!(answer, ToWorker::Welcome { .. }));
    // The signature is good for its nonce only: replayed, it names somebody nobody knows.
    let replayed = old.unwrap();
    let (_second, _) = HostileWorker::greet(&grid.pool_url, key.clone(), |_, _| replayed).await;
    let workers = grid.pool().workers().await.unwrap();
    let mine = workers.iter().filter(|worker| worker.id == key.id() && worker.connected).count();
    assert_eq!((workers.len(), mine), (2, 1), "{workers:?}");
}
