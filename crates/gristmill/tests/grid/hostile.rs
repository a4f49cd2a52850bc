//! A worker that speaks the protocol and does as the test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gristmill_proto::PROTOCOL_VERSION;
use gristmill_proto::app::Runtime;
use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{LeaseId, TaskId, WorkerId};
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::{Purpose, Signature, WorkerKey};
use gristmill_proto::message::{
    Finished, Hello, Lease, MESSAGE_BYTES_MAX, ToPool, ToWorker, WorkerOffer, connect_statement,
};
use gristmill_proto::outcome::{Exit, Log, Outcome, Usage};
use gristmill_proto::receipt::{Statement, digest_of_job, sign_batch};
use gristmill_proto::vote::Salt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PATIENCE;

/// A lease and its job.
#[derive(Clone, Debug)]
pub struct Given {
    pub lease: LeaseId,
    pub task: TaskId,
    pub work: u64,
    pub job: Arc<JobSpec>,
}

pub struct HostileWorker {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub key: WorkerKey,
    pub pool: String,
    pub upload_token: String,
}

impl HostileWorker {
    /// A proper greeting; what comes after is up to the test.
    pub async fn connect(pool_url: &str, seed: u8) -> Self {
        let key = WorkerKey::from_bytes(&[seed; 32]).unwrap();
        let signer = key.clone();
        let greeting = Self::greet(pool_url, key, move |pool, nonce| {
            signer.sign(Purpose::Connect, &connect_statement(pool, nonce))
        });
        let (mut worker, answer) = greeting.await;
        let ToWorker::Welcome { upload_token, .. } = answer else { panic!("no welcome: {answer:?}") };
        worker.upload_token = upload_token;
        worker
    }

    /// The pool's answer to a hello with this signature.
    pub async fn greet(
        pool_url: &str,
        key: WorkerKey,
        sign: impl FnOnce(&str, &[u8]) -> Signature,
    ) -> (Self, ToWorker) {
        let url = format!("{}/api/worker", pool_url.replace("http://", "ws://"));
        let (socket, _) = connect_async(url).await.expect("the pool takes connections");
        let mut worker = Self { socket, key, pool: String::new(), upload_token: String::new() };
        let challenge = worker.hear().await.expect("a challenge");
        let ToWorker::Challenge { pool, nonce, .. } = challenge else { panic!("no challenge: {challenge:?}") };
        let signature = sign(&pool, &nonce);
        let offer = WorkerOffer {
            name: "hostile".into(),
            version: "0".into(),
            os: "linux".into(),
            arch: std::env::consts::ARCH.into(),
            runtimes: vec![Runtime::Process],
            slots: 1,
            memory_bytes: 64 << 30,
            gpus: 0,
            labels: BTreeMap::new(),
        };
        worker.pool = pool;
        worker.say(&ToPool::Hello(Hello { protocol: PROTOCOL_VERSION, signature, offer, running: vec![] })).await;
        let answer = worker.hear().await.expect("an answer to the hello");
        (worker, answer)
    }

    pub fn id(&self) -> WorkerId {
        self.key.id()
    }

    pub async fn say(&mut self, message: &ToPool) {
        self.send(codec::encode(message)).await;
    }

    pub async fn send(&mut self, bytes: Vec<u8>) {
        // The pool may hang up on what it hears.
        let _ = self.socket.send(Message::Binary(bytes.into())).await;
    }

    /// The next message; nothing once the pool has hung up.
    pub async fn hear(&mut self) -> Option<ToWorker> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the pool says something");
        match next? {
            Ok(Message::Binary(bytes)) => Some(codec::decode(&bytes, MESSAGE_BYTES_MAX).expect("a known message")),
            Ok(Message::Close(_)) | Err(_) => None,
            Ok(other) => panic!("{other:?}"),
        }
    }

    pub async fn lease(&mut self) -> Given {
        match self.hear().await {
            Some(ToWorker::Leases { jobs, leases }) => {
                let ([(_, job)], [lease]) = (&jobs[..], &leases[..]) else { panic!("{jobs:?} {leases:?}") };
                let Lease { lease, task, work, .. } = *lease;
                Given { lease, task, work, job: job.clone() }
            }
            other => panic!("no lease: {other:?}"),
        }
    }

    /// Says that the lease ended so, properly signed; the pool's refusal, if it refuses.
    pub async fn finish(&mut self, lease: &Given, outcome: Outcome) -> Option<String> {
        let signature = self.sign(lease, &outcome);
        self.finish_signed(lease, outcome, signature).await
    }

    pub async fn finish_signed(&mut self, lease: &Given, outcome: Outcome, signature: Signature) -> Option<String> {
        self.finish_with(lease, outcome, signature, None).await
    }

    /// Shows what a vote was for.
    pub async fn show(&mut self, lease: &Given, outcome: Outcome, salt: Salt) -> Option<String> {
        let signature = self.sign(lease, &outcome);
        self.finish_with(lease, outcome, signature, Some(salt)).await
    }

    async fn finish_with(
        &mut self,
        lease: &Given,
        outcome: Outcome,
        signature: Signature,
        salt: Option<Salt>,
    ) -> Option<String> {
        let leaf = self.leaf(lease, &outcome);
        let result = Finished { lease: lease.lease, outcome: codec::encode(&outcome), leaf, salt };
        self.say(&ToPool::Finished { results: vec![result], signature }).await;
        match self.hear().await {
            Some(ToWorker::Recorded { leases, refused }) if leases == [lease.lease] => {
                refused.into_iter().next().map(|(_, reason)| reason)
            }
            other => panic!("not recorded: {other:?}"),
        }
    }

    pub fn sign(&self, lease: &Given, outcome: &Outcome) -> Signature {
        sign_batch(&[self.leaf(lease, outcome)], &self.key)
    }

    fn leaf(&self, lease: &Given, outcome: &Outcome) -> Digest {
        let (app, job) = (lease.job.app, digest_of_job(&lease.job));
        Statement::new(&self.pool, lease.lease, lease.task, app, job, &codec::encode(outcome)).leaf()
    }

    /// Whether the pool stays silent for a while.
    pub async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(700), self.socket.next()).await.is_err()
    }
}

/// An attempt that went well and answers this.
pub fn answers(answer: impl Into<Vec<u8>>) -> Outcome {
    Outcome { answer: Some(answer.into()), ..in_vain(u64::MAX >> 20) }
}

/// An attempt that went well, did this much work and found nothing.
pub fn in_vain(work_done: u64) -> Outcome {
    Outcome {
        exit: Exit::Code(0),
        answer: None,
        files: vec![],
        stdout: Log::default(),
        stderr: Log::default(),
        usage: Usage { work_done, ..Usage::default() },
    }
}
