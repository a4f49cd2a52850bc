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
    let line = format!(
        "{}keys/s on {} workers · {}checked · found by now with probability {:.0} % · {} to go on average",
        si(rate),
        view.workers,
        si(view.progress.done as f64),
        probability * 100.0,
        duration(expected_left)
    );
    report.progress("progress", &facts, &line);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a difficulty is positive")]
pub fn whole(value: f64) -> u64 {
    value.round() as u64
}
