//! A receipt: a worker's signed statement of what it ran and what came out.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::digest::Digest;
use crate::id::{LeaseId, TaskId, WorkerId};
use crate::job::JobSpec;
use crate::key::{Purpose, Signature, WorkerKey};

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
    /// Digest of the encoded [`crate::outcome::Outcome`].
    pub outcome: Digest,
}

/// A statement, and the proof that its worker signed it: one signature covers a batch of statements by the root of a
/// Merkle tree over them, so that signing does not set the pace of short tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub statement: Statement,
    /// From the statement's leaf to the root, the digest beside each node, and whether it stands on the left.
    pub path: Vec<(Side, Digest)>,
    pub signature: Signature,
}

/// A receipt with what it speaks of, so that it can be checked by anyone who has only this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// Who is said to have signed it.
    pub worker: WorkerId,
    pub receipt: Receipt,
    pub job: JobSpec,
    /// As the worker encoded and signed it: hexadecimal CBOR of an [`crate::outcome::Outcome`].
    #[serde(with = "hex::serde")]
    pub outcome: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Left,
    Right,
}

impl Statement {
    /// Of an encoded outcome and the digest of the encoded job.
    pub fn new(pool: &str, lease: LeaseId, task: TaskId, app: Digest, job: Digest, outcome: &[u8]) -> Self {
        Self { pool: pool.to_owned(), lease, task, app, job, outcome: Digest::of(outcome) }
    }

    /// The digest that stands for this statement in the tree.
    pub fn leaf(&self) -> Digest {
        hashed(b"gristmill receipt leaf v1\n", &[&codec::encode(self)])
    }
}

/// What a job's statements call it by.
pub fn digest_of_job(job: &JobSpec) -> Digest {
    Digest::of(&codec::encode(job))
}

fn hashed(tag: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tag);
    for part in parts {
        hasher.update(part);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// One level up; a node without a neighbour goes up as it is.
fn parents(level: &[Digest]) -> Vec<Digest> {
    let parent = |pair: &[Digest]| match pair {
        [left, right] => hashed(b"gristmill receipt node v1\n", &[&left.0, &right.0]),
        alone => alone[0],
    };
    level.chunks(2).map(parent).collect()
}

/// The root over the leaves of a batch. There must be one at least.
pub fn root_of(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(&level);
    }
    level[0]
}

/// From one leaf of a batch to its root.
pub fn path_of(leaves: &[Digest], mut position: usize) -> Vec<(Side, Digest)> {
    let (mut level, mut path) = (leaves.to_vec(), Vec::new());
    while level.len() > 1 {
        let side = if position.is_multiple_of(2) { Side::Right } else { Side::Left };
        path.extend(level.get(position ^ 1).map(|beside| (side, *beside)));
        (level, position) = (parents(&level), position / 2);
    }
    path
}

/// Signs all statements of a batch at once.
pub fn sign_batch(leaves: &[Digest], key: &WorkerKey) -> Signature {
    key.sign(Purpose::Receipt, &root_of(leaves).0)
}

/// Who signed this batch.
pub fn signer_of_batch(leaves: &[Digest], signature: &Signature) -> Option<WorkerId> {
    signature.signer(Purpose::Receipt, &root_of(leaves).0)
}

impl Receipt {
    /// The worker that signed it, if anyone did.
    pub fn signer(&self) -> Option<WorkerId> {
        let up = |node: Digest, (side, beside): &(Side, Digest)| match side {
            Side::Left => parents(&[*beside, node])[0],
            Side::Right => parents(&[node, *beside])[0],
        };
        self.signature.signer(Purpose::Receipt, &self.path.iter().fold(self.statement.leaf(), up).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::JobId;

    fn statement(number: u64) -> Statement {
        let task = TaskId { job: JobId(1), index: number };
        Statement::new("pool", LeaseId(number), task, Digest::of(b"app"), Digest::of(b"job"), b"outcome")
    }

    #[test]
    fn each_statement_of_a_batch_has_its_own_proof() {
        let key = WorkerKey::from_bytes(&[7; 32]).unwrap();
        for count in 1..=33 {
            let leaves: Vec<Digest> = (0..count).map(|number| statement(number).leaf()).collect();
            let signature = sign_batch(&leaves, &key);
            assert_eq!(signer_of_batch(&leaves, &signature), Some(key.id()));
            for number in 0..count {
                let path = path_of(&leaves, usize::try_from(number).unwrap());
                assert!(path.len() <= 6, "{count} leaves, {} steps", path.len());
                let receipt = Receipt { statement: statement(number), path, signature };
                assert_eq!(receipt.signer(), Some(key.id()), "{number} of {count}");
                let other = Receipt { statement: statement(number + 1), ..receipt.clone() };
                assert_ne!(other.signer(), Some(key.id()));
                if let [first, ..] = receipt.path[..] {
                    let mut swapped = receipt;
                    swapped.path[0].0 = if first.0 == Side::Left { Side::Right } else { Side::Left };
                    assert_ne!(swapped.signer(), Some(key.id()));
                }
            }
        }
    }
}
