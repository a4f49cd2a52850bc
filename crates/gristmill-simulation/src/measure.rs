//! What is counted while a simulation runs.

use std::collections::BTreeMap;

use serde::Serialize;

/// Durations in milliseconds, to within some 4 %.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

/// Parts of each power of two.
const PARTS: u64 = 16;
const PARTS_BITS: u32 = 4;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * 16], total: 0, most: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, ms: u64) {
        self.counts[bucket(ms)] += 1;
        self.total += 1;
        self.most = self.most.max(ms);
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// So that at least this share of all is no longer.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return middle(index as u64).min(self.most);
            }
        }
        self.most
    }
}

fn bucket(ms: u64) -> usize {
    let index = if ms < PARTS {
        ms
    } else {
        let power = ms.ilog2() - PARTS_BITS;
        u64::from(power + 1) * PARTS + (ms >> power) - PARTS
    };
    usize::try_from(index).expect("fewer than 1,024")
}

fn middle(index: u64) -> u64 {
    if index < PARTS {
        return index;
    }
    let power = index / PARTS - 1;
    ((index % PARTS + PARTS) << power) + (1 << power) / 2
}

/// The state of the grid at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    pub at_ms: u64,
    pub connected: u64,
    /// Slots of connected workers, and those of them that run something.
    pub slots: u64,
    pub busy: u64,
    /// Since the beginning.
    pub attempts: u64,
    pub certified: u64,
    pub wrong: u64,
    pub live_jobs: u64,
}

/// Samples at even times, fewer and fewer as time goes on.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) every_ms: u64,
    pub(crate) taken: Vec<Sample>,
}

const SAMPLES_MAX: usize = 1_024;
const FIRST_EVERY_MS: u64 = 1_000;

impl Default for Samples {
    fn default() -> Self {
        Self { every_ms: FIRST_EVERY_MS, taken: Vec::new() }
    }
}

impl Samples {
    pub(crate) fn add(&mut self, sample: Sample) {
        self.taken.push(sample);
        if self.taken.len() >= SAMPLES_MAX {
            let mut place = 0;
            self.taken.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.every_ms *= 2;
        }
    }
}

/// What the core was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Submit,
    Connect,
    Disconnect,
    Alive,
    Finished,
    Returned,
    Judge,
    Cancel,
    Tick,
    Restore,
}

impl Call {
    pub(crate) const ALL: [Self; 10] = [
        Self::Submit,
        Self::Connect,
        Self::Disconnect,
        Self::Alive,
        Self::Finished,
        Self::Returned,
        Self::Judge,
        Self::Cancel,
        Self::Tick,
        Self::Restore,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Alive => "alive",
            Self::Finished => "finished",
            Self::Returned => "returned",
            Self::Judge => "judge",
            Self::Cancel => "cancel",
            Self::Tick => "tick",
            Self::Restore => "restore",
        }
    }
}

/// How often the core was called in one way, and how long that took in all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) count: u64,
    pub(crate) nanos: u64,
    pub(crate) nanos_most: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct GroupTally {
    pub(crate) attempts: u64,
    pub(crate) lies: u64,
    pub(crate) certified: u64,
    pub(crate) earned: f64,
    pub(crate) earned_by_lies: f64,
    pub(crate) spent: f64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct UserTally {
    pub(crate) jobs: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) tasks: u64,
    pub(crate) slot_ms: u64,
    /// How long it had tasks that waited while another user had some too, and how much computing it was given then.
    pub(crate) contended_ms: u64,
    pub(crate) contended_work_s: f64,
    pub(crate) turnaround: Histogram,
}

#[derive(Debug, Default)]
pub(crate) struct Measure {
    pub(crate) attempts: u64,
    /// That ended and whose results the pool took.
    pub(crate) results: u64,
    pub(crate) failures: u64,
    pub(crate) certified: u64,
    pub(crate) wrong: u64,
    pub(crate) rejected: u64,
    pub(crate) lost: u64,
    pub(crate) commits: u64,
    pub(crate) changes: u64,
    pub(crate) to_pool: u64,
    pub(crate) to_workers: u64,
    pub(crate) crashes: u64,
    pub(crate) connected: u64,
    pub(crate) connected_most: u64,
    pub(crate) slots: u64,
    pub(crate) busy: u64,
    pub(crate) live_jobs: u64,
    /// From the lease to the moment its worker knows that the result is recorded.
    pub(crate) attempt: Histogram,
    /// From the job's submission to the task's certificate.
    pub(crate) task: Histogram,
    pub(crate) groups: Vec<GroupTally>,
    pub(crate) users: BTreeMap<String, UserTally>,
    pub(crate) samples: Samples,
    pub(crate) calls: [Calls; Call::ALL.len()],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|ms| histogram.add(ms));
        for (share, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!((found / exact - 1.0).abs() < 0.04, "{share}: {found}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
        histogram.add(u64::MAX);
        assert_eq!(histogram.quantile(0.5) / 10_000, 5);
    }

    #[test]
    fn samples_thin_out_and_stay_even() {
        let mut samples = Samples::default();
        let mut at_ms = 0;
        for _ in 0..10_000 {
            at_ms += samples.every_ms;
            samples.add(Sample { at_ms, ..Sample::default() });
        }
        assert!(samples.taken.len() < SAMPLES_MAX);
        let gaps: std::collections::BTreeSet<u64> =
            samples.taken.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).collect();
        assert_eq!(gaps, [samples.every_ms].into());
    }
}
