//! What a search has done so far, in words. It has no memory, so there is no "percent done".

use std::time::{Duration, Instant};

use vanity::difficulty::{candidates_for, probability_found};

use super::print;

/// A terminal is redrawn often enough to look alive; a log gets a line now and then.
const TERMINAL_PERIOD: Duration = Duration::from_millis(250);
const LOG_PERIOD: Duration = Duration::from_secs(30);

pub(super) struct Progress {
    started: Instant,
    shown: Instant,
    difficulty: f64,
    candidates: u64,
    before: u64,
    terminal: bool,
    quiet: bool,
}

impl Progress {
    /// `before` candidates were checked by an earlier run that this one resumes.
    pub(super) fn start(difficulty: f64, before: u64, quiet: bool) -> Self {
        let now = Instant::now();
        let terminal = print::stderr_is_terminal();
        Self { started: now, shown: now, difficulty, candidates: 0, before, terminal, quiet }
    }

    pub(super) fn add(&mut self, candidates: u64) {
        self.candidates += candidates;
        let period = if self.terminal { TERMINAL_PERIOD } else { LOG_PERIOD };
        if !self.quiet && self.shown.elapsed() >= period {
            self.shown = Instant::now();
            match self.terminal {
                true => print::transient(&self.line()),
                false => print::note(&self.line()),
            }
        }
    }

    pub(super) fn end(&self) {
        if self.terminal && !self.quiet {
            print::transient("");
        }
    }

    pub(super) fn candidates(&self) -> u64 {
        self.candidates
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(super) fn rate(&self) -> f64 {
        self.candidates as f64 / self.seconds().max(1e-9)
    }

    fn line(&self) -> String {
        let rate = self.rate();
        let done = (self.before + self.candidates) as f64;
        let chance = 100.0 * probability_found(self.difficulty, done);
        let left = |probability| duration(candidates_for(self.difficulty, probability) / rate);
        format!(
            "{}/s, {} checked; chance of a find by now {chance:.1} %; from here 50 % in {}, 95 % in {}",
            count(rate),
            count(done),
            left(0.5),
            left(0.95)
        )
    }
}

/// A count with a unit: 12.3 M.
pub(super) fn count(number: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    if number >= 1e15 {
        return format!("{number:.2e}").replacen('e', " × 10^", 1);
    }
    let unit = UNITS.iter().find(|(size, _)| number >= *size);
    match unit {
        Some((size, name)) => format!("{:.2}{name}", number / size),
        None => format!("{number:.0}"),
    }
}

pub(super) fn duration(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(365.25 * 86_400.0, "years"), (86_400.0, "days"), (3_600.0, "h"), (60.0, "min")];
    match UNITS.iter().find(|(size, _)| seconds >= *size) {
        Some((size, name)) => format!("{:.1} {name}", seconds / size),
        None => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the search had begun some time ago: its speed is what it did since then, its chances are those of all runs.
    #[test]
    fn a_line_tells_speed_and_chances() {
        let difficulty = 1e9;
        let mut progress = Progress::start(difficulty, 400_000_000, true);
        progress.started -= Duration::from_secs(1_000);
        progress.candidates = 293_147_180;
        let line = progress.line();
        assert!(line.starts_with("293.1"), "{line}");
        assert!(line.contains(" k/s, 693.15 M checked; chance of a find by now 50.0 %;"), "{line}");
        // ln 2 and ln 20 times the difficulty, at 293,147 a second.
        assert!(line.contains("50 % in 39.4 min, 95 % in 2.8 h"), "{line}");
    }

    #[test]
    fn numbers_have_their_units() {
        let counts =
            [(999.0, "999"), (1_500.0, "1.50 k"), (12.345e6, "12.35 M"), (7e12, "7.00 T"), (2e15, "2.00 × 10^15")];
        for (number, text) in counts {
            assert_eq!(count(number), text);
        }
        for (seconds, text) in
            [(0.04, "0.0 s"), (59.9, "59.9 s"), (90.0, "1.5 min"), (5_400.0, "1.5 h"), (3.15576e9, "100.0 years")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
