//! A whole grid in one thread: the real scheduling core and trust engine with a simulated clock, network, disk and
//! workers. Everything that happens follows from a [`Scenario`] and its seed.
//!
//! Begin at [`simulate`]; `grid.rs` is the loop. What is modelled and what is not says `docs/simulation.md`.

mod availability;
mod disk;
mod distribution;
mod grid;
mod history;
mod host;
mod measure;
pub mod plot;
mod queue;
mod random;
mod report;
mod scenario;
mod workload;

pub use grid::{Probe, simulate};
pub use measure::Sample;
pub use report::{GroupReport, Latencies, Machine, Report, UserReport};
pub use scenario::{Scenario, ScenarioError};
