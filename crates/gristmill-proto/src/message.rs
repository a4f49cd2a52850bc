//! How a worker and a pool talk: CBOR messages over one WebSocket that the worker opens.
//!
//! ```text
//! pool   → Challenge
//! worker → Hello          proves its key, says what it has and which leases it still runs
//! pool   → Welcome        or Refused, and the connection ends
//! pool   → Lease …        pushed as there is work and the worker has free slots
//! worker → Progress …     at most a few a second
//! worker → Finished       kept by the worker until …
//! pool   → Recorded       … the pool says that it is durable
//! worker → Alive          every `alive_ms`; renews every lease it lists
//! pool   → Cancel         stop this attempt
//! ```

use serde::{Deserialize, Serialize};

use crate::app::Runtime;
use crate::id::{LeaseId, TaskId};
use crate::job::JobSpec;
use crate::key::Signature;
use crate::outcome::Outcome;

/// Longest message either side accepts. An outcome at all its limits fits.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Attempts one worker may run at once.
pub const SLOTS_MAX: u32 = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToPool {
    Hello(Hello),
    Alive {
        leases: Vec<LeaseId>,
    },
    /// `done` counts the app's own work units since the attempt began.
    Progress {
        lease: LeaseId,
        done: u64,
    },
    Finished {
        lease: LeaseId,
        outcome: Box<Outcome>,
        /// Over the [`crate::receipt::Statement`] that both sides can build.
        signature: Signature,
    },
    /// The worker will not run this lease, or has stopped it as told.
    Declined {
        lease: LeaseId,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    /// Over the challenge's nonce and the pool's name; its signer is the worker's id.
    pub signature: Signature,
    pub offer: WorkerOffer,
    /// Leases that still run or wait to be recorded here, from before the connection was lost.
    pub running: Vec<HeldLease>,
}

/// A lease as its worker knows it. The seal proves that the pool gave it, so that a pool which has restarted can take
/// the attempt back without having stored the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLease {
    pub lease: LeaseId,
    pub task: TaskId,
    pub work: u64,
    pub seal: Seal,
}

/// Only the pool can make or check one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seal(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// What a worker has to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOffer {
    /// A name for people; says nothing about who the worker is.
    pub name: String,
    /// Version of the worker's program.
    pub version: String,
    pub os: String,
    pub arch: String,
    pub runtimes: Vec<Runtime>,
    /// Attempts it runs at once.
    pub slots: u32,
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    Challenge {
        protocol: u32,
        pool: String,
        #[serde(with = "serde_bytes")]
        nonce: Vec<u8>,
    },
    Welcome {
        /// Say `Alive` this often.
        alive_ms: u64,
        /// Lets this connection upload blobs over HTTP, as a bearer token.
        upload_token: String,
        /// Leases the worker announced that it should stop: the pool no longer wants them.
        drop: Vec<LeaseId>,
    },
    Refused {
        reason: String,
    },
    Lease(Box<Lease>),
    Cancel {
        lease: LeaseId,
        reason: String,
    },
    /// The result of this lease is durable, or is not wanted; the worker may forget it.
    Recorded {
        lease: LeaseId,
        refused: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub lease: LeaseId,
    pub task: TaskId,
    /// In a search, how many of its work units this worker is to search; else zero.
    pub work: u64,
    pub seal: Seal,
    pub job: std::sync::Arc<JobSpec>,
}

/// What a worker signs to connect: the nonce is fresh for each connection.
pub fn connect_statement(pool: &str, nonce: &[u8]) -> Vec<u8> {
    [nonce, pool.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn a_message_survives_the_wire() {
        let message = ToPool::Alive { leases: vec![LeaseId(1), LeaseId(u64::MAX)] };
        assert_eq!(codec::decode::<ToPool>(&codec::encode(&message), MESSAGE_BYTES_MAX).unwrap(), message);
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"\xff", b"hello", &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert!(codec::decode::<ToPool>(bytes, MESSAGE_BYTES_MAX).is_err(), "{bytes:?}");
        }
        let nested = vec![0x81; 100_000];
        assert!(codec::decode::<ToPool>(&nested, MESSAGE_BYTES_MAX).is_err());
    }

    #[test]
    fn what_follows_a_message_is_an_error() {
        let mut bytes = codec::encode(&ToPool::Alive { leases: vec![] });
        bytes.push(0);
        assert!(matches!(codec::decode::<ToPool>(&bytes, MESSAGE_BYTES_MAX), Err(codec::DecodeError::Trailing(1))));
    }
}
