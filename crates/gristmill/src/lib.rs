//! gristmill: a decentralized cloud in one binary. Start with `ARCHITECTURE.md`.
//!
//! A library, so that tests can run whole grids in one process; [`main`] is the program.

pub mod app_file;
pub mod bench;
mod cli;
pub mod clock;
pub mod dapp;
pub mod demo;
pub mod deploy;
pub mod deployment;
pub mod dry_run;
pub mod embedded;
pub mod iexec;
pub mod job_file;
pub mod market_order;
pub mod offer;
pub mod oracle;
pub mod pool_client;
pub mod report;
pub mod rlc;
pub mod roles;
pub mod search_progress;
pub mod site;
pub mod templates;
pub mod vanity_order;
pub mod vanity_shares;
pub mod vouchers;
pub mod wallet;

pub use cli::main;
