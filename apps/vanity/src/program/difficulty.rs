use anyhow::Result;
use clap::Args;
use serde_json::json;
use vanity::{AddressKind, Difficulty, Pattern, difficulty::candidates_for, pattern::Choice};

use super::{print, progress, wish::WishArguments};

#[derive(Args)]
pub(super) struct DifficultyArguments {
    #[command(flatten)]
    wish: WishArguments,
    /// Also say how long it takes at this many addresses per second
    #[arg(long, value_name = "ADDRESSES_PER_S")]
    rate: Option<f64>,
    /// Print one JSON object per pattern, and, of several, one for any of them
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &DifficultyArguments) -> Result<()> {
    let patterns = arguments.wish.patterns()?;
    for pattern in &patterns {
        match arguments.json {
            true => print::result_json(&as_json(pattern, arguments.rate)),
            false => {
                print_text(&format!("{} ({})", pattern.text(), pattern.kind()), &Odds::of(pattern), arguments.rate);
            }
        }
    }
    let is_one_search = patterns.len() > 1 && patterns.iter().all(|pattern| pattern.kind() == patterns[0].kind());
    if is_one_search {
        let choice = arguments.wish.choice()?;
        match arguments.json {
            true => print::result_json(&choice_as_json(&choice, arguments.rate)),
            false => print_text(&format!("any of these {}", patterns.len()), &Odds::of_choice(&choice), arguments.rate),
        }
    }
    Ok(())
}

/// How hard something is to find.
struct Odds {
    expected: f64,
    difficulty: Difficulty,
    is_exact: bool,
}

impl Odds {
    fn of(pattern: &Pattern) -> Self {
        let (expected, is_exact) = (pattern.expected_candidates(), pattern.is_exact());
        Self { expected, difficulty: pattern.difficulty(), is_exact }
    }

    fn of_choice(choice: &Choice) -> Self {
        let (expected, is_exact) = (choice.expected_candidates(), choice.is_exact());
        Self { expected, difficulty: choice.difficulty(), is_exact }
    }

    fn as_json(&self, kind: AddressKind, rate: Option<f64>) -> serde_json::Value {
        let (numerator, denominator) = self.difficulty.fraction();
        let (half, most) = (candidates_for(self.expected, 0.5), candidates_for(self.expected, 0.95));
        json!({
            "kind": kind,
            "difficulty": self.expected,
            "prefix_difficulty": { "numerator": numerator, "denominator": denominator },
            "exact": self.is_exact,
            "candidates_50": half,
            "candidates_95": most,
            "seconds_50": rate.map(|rate| half / rate),
            "seconds_95": rate.map(|rate| most / rate),
        })
    }
}

fn as_json(pattern: &Pattern, rate: Option<f64>) -> serde_json::Value {
    let ranges = pattern.ranges().as_slice().iter();
    let ranges: Vec<_> = ranges.map(|range| [range.low.to_string(), range.high.to_string()]).collect();
    let mut object = Odds::of(pattern).as_json(pattern.kind(), rate);
    object["pattern"] = json!(pattern.text());
    object["ranges"] = json!(ranges);
    object
}

fn choice_as_json(choice: &Choice, rate: Option<f64>) -> serde_json::Value {
    let texts: Vec<&str> = choice.patterns().iter().map(Pattern::text).collect();
    let mut object = Odds::of_choice(choice).as_json(choice.kind(), rate);
    object["any_of"] = json!(texts);
    object
}

fn print_text(what: &str, odds: &Odds, rate: Option<f64>) {
    let (half, most) = (candidates_for(odds.expected, 0.5), candidates_for(odds.expected, 0.95));
    let about = if odds.is_exact { "" } else { "about " };
    print::result(&format!("{what}: {about}1 in {:.1} addresses", odds.expected));
    print::result(&format!("  50 % chance after {}, 95 % after {}", progress::count(half), progress::count(most)));
    if let Some(rate) = rate {
        let (half, most) = (progress::duration(half / rate), progress::duration(most / rate));
        print::result(&format!("  at {}/s: {half}, {most}", progress::count(rate)));
    }
}
