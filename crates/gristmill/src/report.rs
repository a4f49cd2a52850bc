//! What commands say: results on standard output, everything else on standard error. With `--json`, standard output
//! is one JSON object a line and nothing else.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value};

pub struct Report {
    json: bool,
    bar: ProgressBar,
    /// Without a terminal, when progress was last told.
    told: Mutex<Option<Instant>>,
}

/// How often progress is told where it cannot move.
const TELL_PAUSE: Duration = Duration::from_secs(10);

/// The user stopped what he had asked for. Says what becomes of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

impl Report {
    pub fn new(json: bool) -> Self {
        let bar = if json || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template known to be good");
            ProgressBar::new_spinner().with_style(style)
        };
        Self { json, bar, told: Mutex::default() }
    }

    /// Something has happened: an event for programs, a line on standard error for people.
    pub fn event(&self, name: &str, facts: &impl Serialize, line: &str) {
        if self.json {
            let mut event = Map::from_iter([("event".to_owned(), Value::from(name))]);
            if let Value::Object(facts) = serde_json::to_value(facts).expect("facts have string keys only") {
                event.extend(facts);
            }
            print_line(&Value::Object(event).to_string());
        } else if !line.is_empty() {
            self.bar.suspend(|| eprint_line(line));
        }
    }

    /// The present state of something that goes on: an event for programs, a line that moves for people.
    pub fn progress(&self, name: &str, facts: &impl Serialize, line: &str) {
        if self.json {
            self.event(name, facts, "");
        } else if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(Duration::from_millis(120));
            self.bar.set_message(line.to_owned());
        } else {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_none_or(|at| at.elapsed() >= TELL_PAUSE) {
                *told = Some(Instant::now());
                eprint_line(line);
            }
        }
    }

    /// How the command ended. Programs hear of failure on standard output too; people will read it from `main`.
    pub fn concluded(&self, result: Result<()>) -> Result<()> {
        self.bar.finish_and_clear();
        if self.json
            && let Err(error) = &result
        {
            let name = if error.is::<Interrupted>() { "interrupted" } else { "error" };
            let text = error_text(error);
            let (what, hint) = text.split_once(HINT).unwrap_or((&text, ""));
            let what = what.strip_prefix("error: ").unwrap_or(what);
            self.event(name, &serde_json::json!({ "message": what, "hint": hint }), "");
        }
        result
    }

    /// Nothing moves any more.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// What the command was for: an event for programs, text on standard output for people.
    pub fn result(&self, name: &str, facts: &impl Serialize, text: &str) {
        self.bar.finish_and_clear();
        if self.json {
            self.event(name, facts, "");
        } else {
            print_line(text);
        }
    }
}

/// An error as people read it: what failed, why, what to try. Any link of the chain may bring a hint.
pub fn error_text(error: &anyhow::Error) -> String {
    let (mut text, mut hints, mut last) = (String::new(), String::new(), String::new());
    for cause in error.chain() {
        let said = cause.to_string();
        let (what, hint) = said.split_once(HINT).unwrap_or((&said, ""));
        // Some libraries repeat their source in their own message.
        match () {
            () if text.is_empty() => text = format!("error: {what}"),
            () if !last.contains(what) => text += &format!("\n  because {what}"),
            () => {}
        }
        if !hint.is_empty() {
            hints += &format!("{HINT}{hint}");
        }
        last = what.to_owned();
    }
    text + &hints
}

const HINT: &str = "\n\nhint: ";

/// A reader that has gone away (`| head`) ends nothing but the output.
pub fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

pub fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// `12345678` as `12.3 M`.
pub fn si(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e12 => (v / 1e12, " T"),
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " k"),
        v => (v, " "),
    };
    format!("{scaled:.1}{unit}")
}

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "unknown".to_owned(),
        s if s < 90.0 => format!("{s:.1} s"),
        s if s < 5_400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s if s < 63_072_000.0 => format!("{:.0} days", s / 86_400.0),
        s => format!("{} years", si(s / 31_536_000.0)),
    }
}

/// A count that may be beyond all integers: `123,456`, or `1.96 × 10^24`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are positive, and this one is small"
)]
pub fn count(value: f64) -> String {
    if value < 1e15 {
        return thousands(value.round() as u64);
    }
    let text = format!("{value:.2e}");
    text.replacen('e', " × 10^", 1)
}

/// `123456` as `123,456`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits are ASCII")).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(4_476_343.2), "4,476,343");
        assert_eq!(count(1.964e24), "1.96 × 10^24");
        assert_eq!(si(12_345_678.0), "12.3 M");
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(600.0), "10 min");
        assert_eq!(duration(f64::INFINITY), "unknown");
    }

    #[test]
    fn an_error_tells_each_cause_once() {
        let error = anyhow::anyhow!("disk full").context("cannot write x").context("cannot save: cannot write x");
        assert_eq!(error_text(&error), "error: cannot save: cannot write x\n  because disk full");
        let error = anyhow::anyhow!("no such file").context("cannot read x\n\nhint: make one");
        assert_eq!(error_text(&error), "error: cannot read x\n  because no such file\n\nhint: make one");
    }
}
