//! How a search goes, for people: rate, odds, time left. Never "percent done": a search has no memory.

use gristmill_proto::view::{Closest, JobView};
use serde_json::json;
use vanity::difficulty::probability_found;

use crate::report::{Report, duration, si};

#[expect(clippy::cast_precision_loss, reason = "odds for people")]
pub fn tell_progress(view: &JobView, difficulty: f64, report: &Report) {
    let rate = view.progress.rate_per_s;
    let probability = probability_found(difficulty, view.progress.done as f64);
    let expected_left = difficulty / rate;
    let facts = json!({
        "candidates": view.progress.done,
        "rate_per_s": rate,
        "probability": probability,
        "expected_seconds_left": if expected_left.is_finite() { Some(expected_left) } else { None },
        "workers": view.workers,
        "closest": view.closest.as_ref().map(|closest| &closest.text),
    });
    let line = match view.workers {
        0 if view.tasks.done == 0 => "waiting for a free worker".to_owned(),
        0 => "waiting for a worker to go on".to_owned(),
        workers => {
            let on = if workers == 1 { String::new() } else { format!(" on {workers} workers") };
            let left = if expected_left.is_finite() {
                format!("about {} to go", duration(expected_left))
            } else {
                "starting".into()
            };
            let closest = view.closest.as_ref().map(beginning).unwrap_or_default();
            format!("{}keys/s{on} · {:.0} % likely by now · {left}{closest}", si(rate), probability * 100.0)
        }
    };
    report.progress("progress", &facts, &line);
}

/// As much of a near miss as matches, and the letter that does not.
fn beginning(closest: &Closest) -> String {
    let letters = usize::try_from(closest.score).unwrap_or(usize::MAX).saturating_add(1).min(closest.text.len());
    format!(" · closest {}…", closest.text.get(..letters).unwrap_or_default())
}
