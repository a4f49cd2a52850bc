//! The pool: a pure scheduling [`core`], the durable truth behind it, and the server in front.
//!
//! Life of an event: a request or a worker's message comes in ([`server`]), the core acts on it under one lock
//! ([`core`]), the writer makes the changes durable, and only then are answers sent ([`store`]).

pub mod apps;
pub mod core;
mod live_logs;
mod metrics;
mod pool;
pub mod server;
pub mod shares;
pub mod store;
pub mod trust;
