//! Blobs: bytes named by their BLAKE3 digest, kept in a folder, moved over HTTP, verified whenever they change hands.
//!
//! [`BlobStore`] is the folder; [`fetch`] fills it from a pool, resuming where an earlier try stopped; [`upload`] is
//! the other direction. Nobody is believed about content: a blob enters the store only under the digest of its bytes.

mod store;
mod transfer;

pub use store::{BlobStore, Incoming, StoreError};
pub use transfer::{TransferError, fetch, has, is_known, upload};
