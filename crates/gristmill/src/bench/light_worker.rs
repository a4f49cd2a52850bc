//! A worker that runs nothing and says at once that it has.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gristmill_proto::app::Runtime;
use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::WorkerKey;
use gristmill_proto::message::{BATCH_MAX, Finished, HeldLease, Lease, ToPool, ToWorker, WorkerOffer};
use gristmill_proto::outcome::{Exit, Log, Outcome, Usage};
use gristmill_proto::receipt::{Statement, digest_of_job, sign_batch};
use gristmill_worker::link::{Link, LinkError, worker_url};
use tokio_util::sync::CancellationToken;

/// What a program that writes 64 bytes to its standard output comes to.
fn outcome() -> Vec<u8> {
    codec::encode(&Outcome {
        exit: Exit::Code(0),
        answer: None,
        files: vec![],
        stdout: Log { head: vec![b'.'; 64], total_bytes: 64 },
        stderr: Log::default(),
        usage: Usage::default(),
    })
}

#[derive(Default)]
pub(super) struct Recorded {
    /// Results that the pool says it has recorded.
    pub(super) results: AtomicU64,
    /// Of them, those it did not want.
    pub(super) refused: AtomicU64,
}

pub(super) struct LightWorker {
    key: WorkerKey,
    url: String,
    slots: u32,
    recorded: Arc<Recorded>,
    unrecorded: HashMap<LeaseId, (HeldLease, Finished)>,
    outcome: Vec<u8>,
}

impl LightWorker {
    pub(super) fn new(number: u64, pool_url: &str, slots: u32, recorded: Arc<Recorded>) -> Self {
        let mut key = [1; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let key = WorkerKey::from_bytes(&key).expect("a key");
        let url = worker_url(pool_url).expect("the pool's own address");
        Self { key, url, slots, recorded, unrecorded: HashMap::new(), outcome: outcome() }
    }

    /// Works until told to stop, over as many connections as it takes.
    pub(super) async fn run(mut self, connected: Arc<AtomicU64>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let once = stop.run_until_cancelled(Box::pin(self.connected(&connected))).await;
            if let Some(Err(error)) = once {
                tracing::debug!(%error, "light worker");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn connected(&mut self, connected: &AtomicU64) -> Result<(), LinkError> {
        let mut link = Link::open(&self.url).await?;
        let held = self.unrecorded.values().map(|(held, _)| held.clone()).collect();
        let welcome = link.greet(&self.key, self.offer(), held).await?;
        connected.fetch_add(1, Ordering::Relaxed);
        for lease in welcome.drop {
            self.unrecorded.remove(&lease);
        }
        let again: Vec<Finished> = self.unrecorded.values().map(|(_, finished)| finished.clone()).collect();
        for results in again.chunks(BATCH_MAX) {
            self.tell(&mut link, results.to_vec()).await?;
        }
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + welcome.alive, welcome.alive);
        loop {
            tokio::select! {
                message = link.hear() => self.hear(&mut link, message?).await?,
                _ = beat.tick() => {
                    let leases = self.unrecorded.keys().copied().collect();
                    link.say(&ToPool::Alive { leases }).await?;
                }
            }
        }
    }

    async fn hear(&mut self, link: &mut Link, message: ToWorker) -> Result<(), LinkError> {
        match message {
            ToWorker::Leases { jobs, leases } => {
                let jobs: HashMap<JobId, (Arc<JobSpec>, Digest)> =
                    jobs.into_iter().map(|(id, job)| (id, (job.clone(), digest_of_job(&job)))).collect();
                let mut results = Vec::with_capacity(leases.len());
                for Lease { lease, task, work, seal } in leases {
                    let (job, digest) = &jobs[&task.job];
                    let leaf = Statement::new(link.pool(), lease, task, job.app, *digest, &self.outcome).leaf();
                    let finished = Finished { lease, outcome: self.outcome.clone(), leaf, salt: None };
                    self.unrecorded.insert(lease, (HeldLease { lease, task, work, seal }, finished.clone()));
                    results.push(finished);
                }
                self.tell(link, results).await
            }
            ToWorker::Recorded { leases, refused } => {
                for lease in &leases {
                    self.unrecorded.remove(lease);
                }
                self.recorded.results.fetch_add(leases.len() as u64, Ordering::Relaxed);
                self.recorded.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
                Ok(())
            }
            ToWorker::Cancel { lease, .. } => {
                self.unrecorded.remove(&lease);
                Ok(())
            }
            ToWorker::Retract { .. } => link.say(&ToPool::Returned { leases: vec![] }).await,
            ToWorker::Refused { reason } => Err(LinkError::Refused(reason)),
            ToWorker::Open { .. } => Err(LinkError::Lost("nothing was voted on".into())),
            ToWorker::Challenge { .. } | ToWorker::Welcome { .. } => Err(LinkError::Lost("greeted twice".into())),
        }
    }

    async fn tell(&self, link: &mut Link, results: Vec<Finished>) -> Result<(), LinkError> {
        let leaves: Vec<Digest> = results.iter().map(|finished| finished.leaf).collect();
        let signature = sign_batch(&leaves, &self.key);
        link.say(&ToPool::Finished { results, signature }).await
    }

    fn offer(&self) -> WorkerOffer {
        WorkerOffer {
            name: "light".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            runtimes: vec![Runtime::Process],
            slots: self.slots,
            memory_bytes: u64::MAX,
            gpus: 0,
            labels: Default::default(),
        }
    }
}
