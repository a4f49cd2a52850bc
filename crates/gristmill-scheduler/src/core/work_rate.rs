//! How fast a job is being worked on, from what its workers report.

use gristmill_proto::id::UnixMillis;

/// Work units a second over the last few seconds.
#[derive(Debug, Default)]
pub(super) struct WorkRate {
    /// The window now filling, and the one before it.
    start: UnixMillis,
    units: u64,
    former_units: u64,
    former_ms: u64,
}

/// Long enough that a worker which reports once a second moves the rate smoothly.
const WINDOW_MS: u64 = 5_000;

impl WorkRate {
    /// Work begins now: what is reported first was done since.
    pub(super) fn begin(&mut self, now: UnixMillis) {
        if now.since(self.start) >= 3 * WINDOW_MS {
            *self = Self { start: now, ..Self::default() };
        }
    }

    pub(super) fn add(&mut self, units: u64, now: UnixMillis) {
        let elapsed = now.since(self.start);
        if elapsed >= WINDOW_MS {
            // After a long silence the former window says nothing about the present.
            let silent = elapsed >= 3 * WINDOW_MS;
            (self.former_units, self.former_ms) = if silent { (0, 0) } else { (self.units, elapsed) };
            self.start = now;
            self.units = 0;
        }
        self.units = self.units.saturating_add(units);
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn per_second(&self, now: UnixMillis) -> f64 {
        let elapsed = now.since(self.start);
        if elapsed >= 3 * WINDOW_MS {
            return 0.0;
        }
        let ms = (elapsed + self.former_ms).max(500);
        self.units.saturating_add(self.former_units) as f64 * 1000.0 / ms as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_is_not_taken_for_a_burst() {
        let mut rate = WorkRate::default();
        rate.begin(UnixMillis(1_000_000));
        rate.add(2_000, UnixMillis(1_002_000));
        assert!((rate.per_second(UnixMillis(1_002_000)) - 1_000.0).abs() < 1.0);
        rate.begin(UnixMillis(1_003_000));
        assert!((rate.per_second(UnixMillis(1_003_000)) - 667.0).abs() < 1.0);
    }

    #[test]
    fn a_steady_worker_shows_its_rate_and_a_silent_one_none() {
        let mut rate = WorkRate::default();
        let start = 1_000_000;
        for second in 0..20 {
            rate.add(700, UnixMillis(start + second * 1000));
        }
        let shown = rate.per_second(UnixMillis(start + 19_000));
        assert!((650.0..=800.0).contains(&shown), "{shown}");
        assert!(rate.per_second(UnixMillis(start + 60_000)).abs() < f64::EPSILON);
    }
}
