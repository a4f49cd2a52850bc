//! `gristmill bench`: how fast a pool is on this machine, beside what the machine can do at all.
//!
//! The pool is the real one, a process of its own with its own database; its workers are real connections that answer
//! every lease at once, so that what is measured is the pool and not the programs it runs.

mod floors;
mod light_worker;
mod oracle;
mod pool_process;
mod scheduler;
mod vanity;

pub use oracle::{OracleBench, OracleRow, run as run_oracle};
pub use scheduler::{Row, SchedulerBench, run};
pub use vanity::{VanityBench, run as run_vanity};
