//! Two schedulers on one database: the leader is killed, stopped and cut off under load; nothing that was acknowledged is
//! lost, nothing is done twice, and workers and clients find the one that leads.

mod grid;
#[path = "../../gristmill-scheduler/tests/postgres/mod.rs"]
mod postgres;

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grid::{PATIENCE, Role, text};
use gristmill::pool_client::{PoolClient, read_token};
use gristmill_proto::id::{JobId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::view::{Health, JobState, Standing};
use postgres::Postgres;

/// Short enough for a test to see it lost.
const LEASE: Duration = Duration::from_millis(1500);

/// How long a database is waited for in these tests.
const STALL: Duration = Duration::from_secs(10);

struct Pair {
    dir: tempfile::TempDir,
    postgres: Postgres,
    /// Between the first scheduler and the database.
    wire: Wire,
    roles: Vec<Option<Role>>,
    urls: Vec<String>,
    worker: Option<Role>,
    lease: Duration,
}

impl Pair {
    async fn start(lease: Duration) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let postgres = Postgres::start();
        let wire = Wire::between(&dir.path().join("wire"), &postgres.socket());
        let databases = [wire.url(), postgres.url()];
        let mut pair = Self { dir, postgres, wire, roles: Vec::new(), urls: Vec::new(), worker: None, lease };
        for (number, database) in databases.iter().enumerate() {
            let role = start_scheduler(pair.dir.path(), number, database, "127.0.0.1:0", lease);
            pair.urls.push(role.first_line.clone());
            pair.roles.push(Some(role));
            pair.until(0, Standing::Leads).await;
        }
        let (both, data) = (pair.urls.join(","), pair.dir.path().join("worker"));
        let args = ["worker", "--pool", &both, "--data-dir", text(&data), "--slots", "2"];
        pair.worker = Some(Role::start(&args, &pair.dir.path().join("worker.log")));
        pair
    }

    /// What a scheduler says of itself; nothing if it does not answer.
    async fn health(&self, number: usize) -> Option<Health> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        client.get(format!("{}/health", self.urls[number])).send().await.ok()?.json().await.ok()
    }

    async fn until(&self, number: usize, standing: Standing) -> Health {
        let started = Instant::now();
        loop {
            if let Some(health) = self.health(number).await.filter(|health| health.standing == standing) {
                return health;
            }
            let log = std::fs::read_to_string(self.dir.path().join(format!("{number}.log"))).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "scheduler {number} is never {standing:?}: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn client(&self) -> PoolClient {
        let token = read_token(&self.dir.path().join("0/token")).unwrap();
        PoolClient::new(&self.urls.join(","), &token)
    }

    /// Waits until the job is in the leader's memory, or no more.
    async fn until_live(&self, job: JobId, live: bool) {
        let started = Instant::now();
        while reqwest::get(format!("{}/api/jobs/{job}/why", self.urls[0])).await.unwrap().status().is_success() != live
        {
            assert!(started.elapsed() < PATIENCE, "{job} is never live: {live}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The number in an answer of the database.
    async fn count(&self, sql: &str) -> i64 {
        let (client, connection) = tokio_postgres::connect(&self.postgres.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn start_scheduler(dir: &Path, number: usize, database: &str, listen: &str, lease: Duration) -> Role {
    let lease = lease.as_millis().to_string();
    let (data, blobs) = (dir.join(number.to_string()), dir.join("blobs"));
    let store = ["--store", database, "--lease-ms", &lease, "--blobs", text(&blobs)];
    let args = ["scheduler", "--listen", listen, "--data-dir", text(&data), "--alive-ms", "300", "--lost-ms", "5000"];
    Role::start(&[&args[..], &store].concat(), &dir.join(format!("{number}.log")))
}

/// A way to the database that can fall silent without being closed.
struct Wire {
    dir: std::path::PathBuf,
    silent: Arc<AtomicBool>,
}

impl Wire {
    fn between(dir: &Path, socket: &Path) -> Self {
        std::fs::create_dir(dir).unwrap();
        let listener = UnixListener::bind(dir.join(".s.PGSQL.5432")).unwrap();
        let (silent, socket) = (Arc::new(AtomicBool::new(false)), socket.to_owned());
        let wire = Self { dir: dir.to_owned(), silent: silent.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let silent = silent.clone();
                    std::thread::spawn(move || carry(from, to, &silent));
                }
            }
        });
        wire
    }

    fn url(&self) -> String {
        format!("postgres://mill@{}/postgres", self.dir.display().to_string().replace('/', "%2F"))
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, silent: &AtomicBool) {
    use std::io::{Read as _, Write as _};
    let mut bytes = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        while silent.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn job(app: gristmill_proto::digest::Digest, number: usize) -> JobSpec {
    JobSpec {
        external_id: Some(format!("load-{number}")),
        args: vec!["difficulty".into(), "1Aa".into()],
        tasks: 2,
        ..JobSpec::new(app)
    }
}

/// Submits one job after the other until told to stop; those that were acknowledged.
async fn load(pool: PoolClient, stop: Arc<AtomicBool>) -> Vec<usize> {
    let app = gristmill::embedded::vanity_manifest().digest();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if pool.submit(&job(app, number)).await.is_ok() {
            acknowledged.push(number);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    acknowledged
}

/// Something happens to the leader under load; the other leads, and what was acknowledged comes to its end, once.
async fn survives(harm: impl AsyncFnOnce(&mut Pair)) {
    let mut pair = Pair::start(LEASE).await;
    let pool = pair.client();
    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(pool.clone(), stop.clone()));
    tokio::time::timeout(PATIENCE, async {
        while pair.count("SELECT count(*) FROM result").await < 10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the worker works");
    harm(&mut pair).await;
    let health = pair.until(1, Standing::Leads).await;
    assert!(health.term > Some(1), "{health:?}");
    tokio::time::sleep(LEASE).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = loading.await.unwrap();
    assert!(pair.worker.as_mut().is_some_and(Role::is_running));
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    for number in &acknowledged {
        let started = Instant::now();
        loop {
            let job = pool.job_by_external_id(&format!("load-{number}")).await.unwrap();
            let job = job.unwrap_or_else(|| panic!("job {number} was acknowledged and is lost"));
            if job.state == JobState::Done {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{job:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let twice = "SELECT count(*) FROM (SELECT job, task FROM result WHERE verdict = 'certified'
        GROUP BY job, task HAVING count(*) > 1) AS twice";
    assert_eq!(pair.count(twice).await, 0);
    let doubled =
        "SELECT count(*) FROM (SELECT external_id FROM job GROUP BY external_id HAVING count(*) > 1) AS twice";
    assert_eq!(pair.count(doubled).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed() {
    survives(async |pair: &mut Pair| {
        pair.roles[0].take().expect("it runs").kill();
        pair.until(1, Standing::Leads).await;
        // It comes back as a stand-by, and says who leads.
        let address = pair.urls[0].trim_start_matches("http://").to_owned();
        pair.roles[0] = Some(start_scheduler(pair.dir.path(), 0, &pair.wire.url(), &address, pair.lease));
        let health = pair.until(0, Standing::StandBy).await;
        assert!(health.leader.is_none() || health.leader.as_ref() == Some(&pair.urls[1]), "{health:?}");
    })
    .await;
}

/// It wakes with its lease lost, and believes for a moment that it leads.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_stopped_past_its_lease() {
    survives(async |pair: &mut Pair| {
        pair.roles[0].as_ref().expect("it runs").signal("STOP");
        pair.until(1, Standing::Leads).await;
        pair.roles[0].as_ref().expect("it runs").signal("CONT");
        let health = pair.until(0, Standing::StandBy).await;
        assert_ne!(health.leader.as_ref(), Some(&pair.urls[0]));
    })
    .await;
}

/// The database stalls, for less than the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_waited_for() {
    let mut pair = Pair::start(Duration::from_secs(30)).await;
    let (pool, app) = (pair.client(), gristmill::embedded::vanity_manifest().digest());
    pool.submit(&job(app, 0)).await.unwrap();
    pair.wire.silent.store(true, Ordering::Relaxed);
    let stalled = Instant::now();
    let submit = |number| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.submit(&job(app, number)).await.unwrap() })
    };
    let first = submit(1);
    // As many as keep every thread of the server waiting, if they can.
    let many: Vec<_> = (2..40).map(submit).collect();
    // The same once more: it is found and not made again.
    let again = submit(1);
    while stalled.elapsed() < STALL {
        let asked = Instant::now();
        assert_eq!(pair.health(0).await.expect("it answers").standing, Standing::Leads);
        let metrics = reqwest::get(format!("{}/metrics", pair.urls[0])).await.unwrap();
        assert!(metrics.status().is_success() && asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!first.is_finished() && !many.iter().any(|submitted| submitted.is_finished()), "nothing is acknowledged");
    pair.wire.silent.store(false, Ordering::Relaxed);
    let (first, again) = (first.await.unwrap(), again.await.unwrap());
    assert_eq!(first.id, again.id);
    assert!(first.known != again.known, "{first:?}, {again:?}");
    for submitted in many {
        submitted.await.unwrap();
    }
    assert_eq!(pair.health(0).await.unwrap().term, Some(1), "nobody else has led");
    assert_eq!(pair.count("SELECT count(*) FROM job").await, 40);
    assert!(pair.worker.as_mut().is_some_and(Role::is_running));
}

/// What was submitted and cancelled in a commit that has not ended is submitted again.
#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_is_taken_once_however_soon_it_ends() {
    let pair = Pair::start(Duration::from_secs(30)).await;
    let (pool, app) = (pair.client(), gristmill::embedded::vanity_manifest().digest());
    let next = JobId(pool.submit(&job(app, 0)).await.unwrap().id.0 + 1);
    let (mut database, connection) =
        tokio_postgres::connect(&pair.postgres.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let held = database.transaction().await.unwrap();
    // It can be read and not written.
    held.batch_execute("LOCK TABLE job IN SHARE MODE").await.unwrap();
    let submit = || {
        let pool = pool.clone();
        tokio::spawn(async move { pool.submit(&job(app, 1)).await.unwrap() })
    };
    let first = submit();
    pair.until_live(next, true).await;
    let cancelled = tokio::spawn({
        let pool = pool.clone();
        async move { pool.cancel(next).await.unwrap() }
    });
    pair.until_live(next, false).await;
    let again = submit();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!first.is_finished() && !cancelled.is_finished() && !again.is_finished(), "nothing is durable");
    held.rollback().await.unwrap();
    let (first, again) = (first.await.unwrap(), again.await.unwrap());
    assert_eq!((first.id, first.known, again.id, again.known), (next, false, next, true));
    cancelled.await.unwrap();
    assert_eq!(pair.health(0).await.unwrap().term, Some(1), "nobody else has led");
    assert_eq!(pool.job(next).await.unwrap().state, JobState::Cancelled);
}

/// A desk of its own at each scheduler: only the leader's is open, and all know the same token.
#[tokio::test(flavor = "multi_thread")]
async fn vouchers_are_told_to_the_leader_alone() {
    let mut pair = Pair::start(LEASE).await;
    let token = |number: usize| read_token(&pair.dir.path().join(format!("{number}/token"))).unwrap();
    assert_eq!(token(0), token(1));
    let worker = WorkerId([7; 20]);
    let asked = reqwest::get(format!("{}/api/vouchers/{worker}", pair.urls[1])).await.unwrap();
    assert_eq!(asked.status(), 503, "an empty answer would say that there are none");
    let pool = pair.client();
    pool.tell_vouchers(&[]).await.unwrap();
    pair.roles[0].take().expect("it runs").kill();
    pair.until(1, Standing::Leads).await;
    pool.tell_vouchers(&[]).await.unwrap();
    assert!(pool.vouchers(worker).await.unwrap().is_empty());
}

/// Its connections stay open, and nothing comes through them.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_cut_off_from_the_database() {
    survives(async |pair: &mut Pair| {
        pair.wire.silent.store(true, Ordering::Relaxed);
        pair.until(0, Standing::StandBy).await;
        pair.until(1, Standing::Leads).await;
        pair.wire.silent.store(false, Ordering::Relaxed);
        pair.until(0, Standing::StandBy).await;
    })
    .await;
}
