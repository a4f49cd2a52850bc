//! The worker: takes leases from a pool, runs strangers' programs in a sandbox, returns signed outcomes.
//!
//! [`Worker`] is the role. Below it, `session` talks with the pool over a [`link`], `attempts` takes one lease from fetching to outcome,
//! [`process`] runs a program and [`sandbox`] holds it; [`wasm`] runs a module.

mod apps;
mod attempts;
pub mod container;
pub mod doctor;
mod egress;
pub mod link;
mod patience;
pub mod policy;
mod pools;
pub mod prison;
pub mod process;
mod role;
pub mod sandbox;
mod session;
pub mod vm;
mod votes;
pub mod wasm;

pub use role::{Config, Worker, WorkerError, load_key};
