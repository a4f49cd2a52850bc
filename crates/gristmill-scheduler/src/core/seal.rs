//! Proof that this pool gave a lease, for when it comes back after a restart that forgot it.

use std::fmt;

use gristmill_proto::id::{LeaseId, TaskId, WorkerId};
use gristmill_proto::message::Seal;

use crate::trust::Draw;

/// The pool's own secret, from which it makes the seals of leases.
#[derive(Clone)]
pub struct PoolSecret(pub [u8; 32]);

impl fmt::Debug for PoolSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolSecret(…)")
    }
}

impl PoolSecret {
    pub(super) fn seal(&self, lease: LeaseId, task: TaskId, work: u64, worker: WorkerId) -> Seal {
        let hash = self.hash(lease, task, work, worker);
        Seal(hash.as_bytes()[..16].try_into().expect("16 of 32 bytes"))
    }

    pub(super) fn sealed(&self, lease: LeaseId, task: TaskId, work: u64, worker: WorkerId, seal: Seal) -> bool {
        // blake3::Hash compares in constant time.
        let mut padded = *self.hash(lease, task, work, worker).as_bytes();
        padded[..16].copy_from_slice(&seal.0);
        self.hash(lease, task, work, worker) == padded
    }

    /// What is drawn about a task: unknown to everyone else, and always the same.
    pub(super) fn draw(&self, task: TaskId) -> Draw {
        Draw(self.number(b"draw", task.job.0, task.index))
    }

    /// What nobody else can foresee, and different for each number.
    pub(super) fn dice(&self, number: u64) -> u64 {
        self.number(b"dice", number, 0)
    }

    fn number(&self, purpose: &[u8; 4], one: u64, other: u64) -> u64 {
        let mut message = [0; 20];
        message[..4].copy_from_slice(purpose);
        message[4..12].copy_from_slice(&one.to_le_bytes());
        message[12..].copy_from_slice(&other.to_le_bytes());
        let hash = blake3::keyed_hash(&self.0, &message);
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 of 32 bytes"))
    }

    fn hash(&self, lease: LeaseId, task: TaskId, work: u64, worker: WorkerId) -> blake3::Hash {
        let mut message = [0; 52];
        message[..8].copy_from_slice(&lease.0.to_le_bytes());
        message[8..16].copy_from_slice(&task.job.0.to_le_bytes());
        message[16..24].copy_from_slice(&task.index.to_le_bytes());
        message[24..32].copy_from_slice(&work.to_le_bytes());
        message[32..].copy_from_slice(&worker.0);
        blake3::keyed_hash(&self.0, &message)
    }
}
