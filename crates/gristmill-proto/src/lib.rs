//! What crosses a process border or is stored: ids and digests, keys, job and app descriptions, the messages between
//! worker and pool, receipts, and the JSON views of the HTTP API.
//!
//! The same struct travels on the wire, in the store and in tests. Nothing here does I/O. Start with [`job::JobSpec`]
//! (what a submission asks for) and [`message`] (how a pool and a worker talk).

pub mod app;
pub mod array;
pub mod codec;
pub mod digest;
pub mod host;
pub mod id;
pub mod job;
pub mod key;
pub mod message;
pub mod outcome;
pub mod receipt;
pub mod requirement;
pub mod view;
pub mod vote;

/// Version of the worker protocol. A pool speaks to workers of the same version only; see [`message`].
pub const PROTOCOL_VERSION: u32 = 5;

/// A scheduler that stands by refuses everything, and says in this header who leads; nothing if it does not know.
pub const LEADER_HEADER: &str = "gristmill-leader";
