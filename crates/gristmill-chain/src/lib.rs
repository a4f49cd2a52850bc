//! The chain side of gristmill: what is read from an Ethereum node and what is sent to one.
//!
//! - [`contracts`]: bindings of the committed contract artefacts
//! - [`rpc`]: one endpoint, with deadlines and sorted errors
//! - [`check`]: is this the chain the database was made for?
//! - [`follow`]: logs, through reorganisations and outages
//! - [`send`]: transactions, each exactly once
//! - [`keystore`]: keys on disk
//! - [`dev`]: a chain of one's own, in this process
//!
//! Nothing here knows of jobs, workers or the grid; the oracle joins the two.

pub mod backoff;
pub mod check;
pub mod contracts;
pub mod dev;
pub mod follow;
pub mod keystore;
pub mod rpc;
pub mod send;
