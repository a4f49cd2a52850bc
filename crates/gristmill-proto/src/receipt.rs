//! A receipt: a worker's signed statement of what it ran and what came out.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::digest::Digest;
use crate::id::{LeaseId, TaskId, WorkerId};
use crate::job::JobSpec;
use crate::key::{Purpose, Signature, WorkerKey};
use crate::outcome::Outcome;

/// What the worker signs: the CBOR encoding of this struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The pool's name, so that a receipt made for one pool is void in another.
    pub pool: String,
    pub lease: LeaseId,
    pub task: TaskId,
    pub app: Digest,
    /// Digest of the job as the worker received it: arguments, inputs and limits.
    pub job: Digest,
    /// Digest of the encoded [`Outcome`].
    pub outcome: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub statement: Statement,
    pub signature: Signature,
}

impl Statement {
    pub fn new(pool: &str, lease: LeaseId, task: TaskId, job: &JobSpec, outcome: &Outcome) -> Self {
        Self {
            pool: pool.to_owned(),
            lease,
            task,
            app: job.app,
            job: Digest::of(&codec::encode(job)),
            outcome: Digest::of(&codec::encode(outcome)),
        }
    }

    pub fn sign(self, key: &WorkerKey) -> Receipt {
        let signature = key.sign(Purpose::Receipt, &codec::encode(&self));
        Receipt { statement: self, signature }
    }
}

impl Receipt {
    pub fn signer(&self) -> Option<WorkerId> {
        self.signature.signer(Purpose::Receipt, &codec::encode(&self.statement))
    }
}
