//! How a worker and a pool talk: CBOR messages over one WebSocket that the worker opens.
//!
//! ```text
//! pool   → Challenge
//! worker → Hello          proves its key, says what it has and which leases it still runs
//! pool   → Welcome        or Refused, and the connection ends
//! pool   → Leases …       pushed as there is work and the worker has room; a few more than it has room for, where
//!                         tasks are short
//! worker → Progress …     at most a few a second
//! worker → Said …         what a program says while it runs, at most a few times a second
//! worker → Finished       as many results as have gathered, signed once; kept by the worker until …
//! pool   → Recorded       … the pool says that they are durable
//! worker → Committed      … but of replicated jobs first what binds it to an outcome that it keeps to itself
//! pool   → Open           the other votes are in: send those outcomes, with their salts, as Finished
//! worker → Alive          every `alive_ms`; renews every lease it lists
//! pool   → Cancel         stop this attempt
//! pool   → Retract        give back those of these leases that have not begun
//! worker → Returned       these had not begun
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::Runtime;
use crate::digest::Digest;
use crate::id::{JobId, LeaseId, TaskId};
use crate::job::JobSpec;
use crate::key::Signature;
use crate::vote::{Salt, Sealed};

/// Longest message either side accepts. An outcome at all its limits fits.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Results or leases in one message.
pub const BATCH_MAX: usize = 1_024;
/// Jobs in one message of leases: so many at their limits fit.
pub const BATCH_JOBS_MAX: usize = 4;
/// A worker signs and sends when the outcomes it has gathered are so long: one more, at its limits, still fits.
pub const BATCH_BYTES_FULL: usize = 64 << 10;
/// Attempts one worker may run at once.
pub const SLOTS_MAX: u32 = 4096;
/// Labels of a worker, and bytes of them together.
pub const LABELS_MAX: usize = 256;
pub const LABEL_BYTES_MAX: usize = 16 << 10;

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
    /// The next bytes of what an attempt has said, as far as they are kept.
    Said {
        lease: LeaseId,
        stream: Stream,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    Finished {
        results: Vec<Finished>,
        /// Over the root of the tree of their [`crate::receipt::Statement`]s, which both sides can build.
        signature: Signature,
    },
    /// Attempts of replicated jobs have ended well. Said again on each new connection until they are to be opened.
    Committed {
        votes: Vec<Sealed>,
    },
    /// The worker will not run this lease.
    Declined {
        lease: LeaseId,
        reason: String,
    },
    /// The worker has not begun these, and will not.
    Returned {
        leases: Vec<LeaseId>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub lease: LeaseId,
    /// An encoded [`crate::outcome::Outcome`], byte for byte what the receipt is for and what the pool keeps.
    #[serde(with = "serde_bytes")]
    pub outcome: Vec<u8>,
    /// What the receipt's [statement](crate::receipt::Statement::leaf) is in the tree that was signed.
    pub leaf: Digest,
    /// Opens the vote that was cast for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
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
    /// Attempts of one core that it runs at once.
    pub slots: u32,
    pub memory_bytes: u64,
    pub gpus: u32,
    /// What jobs may ask for by [`crate::requirement::Requirement`].
    pub labels: BTreeMap<String, String>,
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
    Leases {
        /// Every job that the leases are of.
        jobs: Vec<(JobId, Arc<JobSpec>)>,
        leases: Vec<Lease>,
    },
    Cancel {
        lease: LeaseId,
        reason: String,
    },
    /// Show what the votes under these leases were for.
    Open {
        leases: Vec<LeaseId>,
    },
    Retract {
        leases: Vec<LeaseId>,
    },
    /// These results are durable, or are not wanted; the worker may forget them.
    Recorded {
        leases: Vec<LeaseId>,
        /// Those of them that are not wanted, and why.
        refused: Vec<(LeaseId, String)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub lease: LeaseId,
    pub task: TaskId,
    /// In a search, how many of its work units this worker is to search; else zero.
    pub work: u64,
    pub seal: Seal,
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
