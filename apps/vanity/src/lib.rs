//! Vanity address search with split keys.
//!
//! A requester keeps a secret `a` and publishes `P = a·G`. Strangers search the points `P + k·G` and answer with the
//! scalar `k`, which is worthless to everyone but the requester, whose key is `±λ^e·(a + k)`.
//!
//! Where to begin: [`pattern::Pattern`] says what is wanted and how hard it is, [`order`] holds the bytes that travel
//! with a paid order, [`unit::search`] does the work on one slice of it, [`solution`] is its answer, and [`keys`] puts
//! the halves together. [`verify`] checks everything again on a path that shares no arithmetic with the search.

pub mod address;
pub mod base58;
pub mod bech32;
pub mod difficulty;
mod field;
pub mod hash160;
pub mod image;
pub mod kernel;
pub mod keys;
pub mod oblivious;
pub mod order;
pub mod pattern;
pub mod ranges;
pub mod record;
pub mod shares;
pub mod solution;
pub mod threads;
pub mod unit;
pub mod verify;

pub use address::AddressKind;
pub use difficulty::Difficulty;
pub use hash160::Hash160;
pub use image::Image;
pub use keys::{PublicKey, SecretKey};
pub use order::{Order, Params};
pub use pattern::Pattern;
pub use ranges::Ranges;
pub use record::Record;
pub use solution::Solution;
