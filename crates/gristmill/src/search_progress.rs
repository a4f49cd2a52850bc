//! How a search goes, for people: rate, odds, time left. Never "percent done": a search has no memory.

use gristmill_proto::view::JobView;
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
    });
    let line = match view.workers {
        0 if view.tasks.done == 0 => "waiting for a free worker".to_owned(),
        0 => "waiting for a worker to go on".to_owned(),
        workers => format!(
            "{}keys/s · {workers} worker{} · found by now: {:.0} % likely · {}",
            si(rate),
            if workers == 1 { "" } else { "s" },
            probability * 100.0,
            if expected_left.is_finite() {
                format!("about {} to go", duration(expected_left))
            } else {
                "starting".into()
            },
        ),
    };
    report.progress("progress", &facts, &line);
}
