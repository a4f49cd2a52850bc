//! The chain side of gristmill: what is read from an Ethereum node and what is sent to one.
//!
//! - [`contracts`]: bindings of the committed contract artefacts
//! - [`batch_proof`], [`outcome`]: what results look like to contracts
//! - [`rpc`]: one endpoint, with deadlines and sorted errors
//! - [`check`]: is this the chain the database was made for?
//! - [`follow`]: logs, through reorganisations and outages
//! - [`send`]: transactions, each exactly once
//! - [`keystore`]: keys on disk
//! - [`voucher`]: what a pool signs for its workers
//! - [`dev`]: a chain of one's own, in this process
//!
//! Nothing here knows of jobs, workers or the grid; the oracle joins the two.

pub mod backoff;
pub mod batch_proof;
pub mod check;
pub mod contracts;
pub mod dev;
pub mod follow;
pub mod keystore;
pub mod outcome;
pub mod rpc;
pub mod send;
pub mod voucher;
