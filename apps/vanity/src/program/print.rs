//! The only place that writes to the terminal: results to stdout, everything else to stderr.
//!
//! A reader that has gone away (`| head`) ends nothing but the output.

use std::io::{self, IsTerminal, Write};

use super::BadArgument;

pub(super) fn result(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

pub(super) fn result_json(value: &serde_json::Value) {
    let _ = writeln!(io::stdout().lock(), "{value}");
}

pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

pub(super) fn error(error: &anyhow::Error) {
    note(&format!("error: {error:#}"));
    if let Some(hint) = error.downcast_ref::<BadArgument>().and_then(|bad| bad.hint.as_ref()) {
        note(&format!("\nhint: {hint}"));
    }
}

pub(super) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Overwrites the current line of a terminal; lost output is no reason to stop a search.
pub(super) fn transient(line: &str) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
}
