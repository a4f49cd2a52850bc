//! Bounded exponential backoff with seeded jitter.
//!
//! The jitter exists so that many clients of one endpoint do not return in step after an outage; it is seeded so that
//! a test that failed can be run again exactly.

use std::time::Duration;

/// How fast to come back to an endpoint that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffPolicy {
    pub first: Duration,
    pub max: Duration,
    pub seed: u64,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), max: Duration::from_secs(30), seed: 0 }
    }
}

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    random: u64,
}

impl Backoff {
    #[must_use]
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, failures: 0, random: policy.seed }
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Counts one more failure. The delay lies between half and all of `first * 2^failures`, at most `max`; an
    /// endpoint that names its own delay gets it, within the same bound.
    pub fn failed(&mut self, asked_for: Option<Duration>) -> Duration {
        let doublings = self.failures.min(30);
        self.failures = self.failures.saturating_add(1);
        let full = self.policy.first.saturating_mul(1 << doublings).min(self.policy.max);
        let half = full / 2;
        let jitter = half.mul_f64(self.unit());
        asked_for.map_or(half + jitter, |asked| asked.max(half + jitter).min(self.policy.max))
    }

    /// SplitMix64: enough to spread clients, and no dependency.
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_bound_and_start_over_after_success() {
        let policy = BackoffPolicy { first: Duration::from_millis(100), max: Duration::from_secs(2), seed: 7 };
        let mut backoff = Backoff::new(policy);
        for failure in 0..40 {
            let full = Duration::from_millis(100).saturating_mul(1 << failure.min(20)).min(policy.max);
            let delay = backoff.failed(None);
            assert!(delay >= full / 2 && delay <= full, "failure {failure}: {delay:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed(None) <= policy.first);
    }

    #[test]
    fn an_endpoint_s_own_delay_is_kept_within_the_bound() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        assert_eq!(backoff.failed(Some(Duration::from_secs(5))), Duration::from_secs(5));
        assert_eq!(backoff.failed(Some(Duration::from_secs(86_400))), Duration::from_secs(30));
    }

    #[test]
    fn equal_seeds_wait_equally_and_others_do_not() {
        let delays = |seed| {
            let mut backoff = Backoff::new(BackoffPolicy { seed, ..BackoffPolicy::default() });
            (0..8).map(|_| backoff.failed(None)).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
