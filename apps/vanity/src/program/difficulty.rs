use anyhow::Result;
use clap::Args;
use serde_json::json;
use vanity::{Pattern, difficulty::candidates_for};

use super::{print, progress, wish::WishArguments};

#[derive(Args)]
pub(super) struct DifficultyArguments {
    #[command(flatten)]
    wish: WishArguments,
    /// Also say how long it takes at this many addresses per second
    #[arg(long, value_name = "ADDRESSES_PER_S")]
    rate: Option<f64>,
    /// Print one JSON object per pattern
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &DifficultyArguments) -> Result<()> {
    for pattern in arguments.wish.patterns()? {
        match arguments.json {
            true => print::result_json(&as_json(&pattern, arguments.rate)),
            false => print_text(&pattern, arguments.rate),
        }
    }
    Ok(())
}

fn as_json(pattern: &Pattern, rate: Option<f64>) -> serde_json::Value {
    let (numerator, denominator) = pattern.difficulty().fraction();
    let expected = pattern.expected_candidates();
    let ranges = pattern.ranges().as_slice().iter();
    let ranges: Vec<_> = ranges.map(|range| [range.low.to_string(), range.high.to_string()]).collect();
    json!({
        "pattern": pattern.text(),
        "kind": pattern.kind(),
        "difficulty": expected,
        "prefix_difficulty": { "numerator": numerator, "denominator": denominator },
        "exact": pattern.is_exact(),
        "candidates_50": candidates_for(expected, 0.5),
        "candidates_95": candidates_for(expected, 0.95),
        "seconds_50": rate.map(|rate| candidates_for(expected, 0.5) / rate),
        "seconds_95": rate.map(|rate| candidates_for(expected, 0.95) / rate),
        "ranges": ranges,
    })
}

fn print_text(pattern: &Pattern, rate: Option<f64>) {
    let expected = pattern.expected_candidates();
    let (half, most) = (candidates_for(expected, 0.5), candidates_for(expected, 0.95));
    let about = if pattern.is_exact() { "" } else { "about " };
    print::result(&format!("{} ({}): {about}1 in {expected:.1} addresses", pattern.text(), pattern.kind()));
    print::result(&format!("  50 % chance after {}, 95 % after {}", progress::count(half), progress::count(most)));
    if let Some(rate) = rate {
        let (half, most) = (progress::duration(half / rate), progress::duration(most / rate));
        print::result(&format!("  at {}/s: {half}, {most}", progress::count(rate)));
    }
}
