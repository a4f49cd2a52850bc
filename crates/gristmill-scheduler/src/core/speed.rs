//! How fast slots search with an app, and how much to give them for it.

use gristmill_proto::job::{Search, WORK_MAX};

/// Work units done and the time that slots took for them. The sums fade, so that they speak of the present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    pub work: u64,
    pub ms: u64,
}

/// Less tells more about starting than about working.
const MEASURED_MS_MIN: u64 = 500;
/// A worker's speed is that of its last minutes; the pool's that of its last slot-hours.
pub(super) const WORKER_MEMORY_MS: u64 = 600_000;
pub(super) const POOL_MEMORY_MS: u64 = 36_000_000;
/// Nobody gets more than this many times the ordinary task, or less than this part of it.
const SPREAD: u64 = 16;
/// Part of the ordinary task for a worker whose speed is unknown.
const UNKNOWN: u64 = 2;

impl Speed {
    pub(super) fn add(&mut self, work: u64, ms: u64, memory_ms: u64) {
        self.work = self.work.saturating_add(work);
        self.ms = self.ms.saturating_add(ms);
        while self.ms > memory_ms || self.work > WORK_MAX {
            self.work /= 2;
            self.ms /= 2;
        }
    }

    /// Work units a second of one slot, once it was measured.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people and estimates")]
    pub fn per_second(&self) -> Option<f64> {
        (self.work > 0 && self.ms >= MEASURED_MS_MIN).then(|| self.work as f64 * 1000.0 / self.ms as f64)
    }
}

/// Work that this slot does in the time an ordinary one needs for a task.
pub(super) fn portion(search: &Search, slot: Speed, pool: Speed) -> u64 {
    let ordinary = search.task_work;
    let (least, most) = (ordinary.div_ceil(SPREAD), ordinary.saturating_mul(SPREAD));
    if pool.per_second().is_none() {
        return ordinary;
    }
    if slot.per_second().is_none() {
        return ordinary.div_ceil(UNKNOWN);
    }
    let faster = u128::from(slot.work) * u128::from(pool.ms);
    let slower = u128::from(pool.work) * u128::from(slot.ms);
    let work = u128::from(ordinary).checked_mul(faster).map_or(u128::MAX, |product| product / slower);
    u64::try_from(work).unwrap_or(u64::MAX).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(task_work: u64) -> Search {
        Search { task_work, work_max: u64::MAX, shares: None }
    }

    fn speed(work: u64, ms: u64) -> Speed {
        Speed { work, ms }
    }

    #[test]
    fn everybody_works_for_the_same_time() {
        let pool = speed(30_000_000, 1_000);
        assert_eq!(portion(&search(1_000), pool, pool), 1_000);
        assert_eq!(portion(&search(1_000), speed(3_000_000, 1_000), pool), 100);
        assert_eq!(portion(&search(1_000), speed(90_000_000, 1_000), pool), 3_000);
        assert_eq!(portion(&search(1_000), Speed::default(), pool), 500);
        assert_eq!(portion(&search(1_000), speed(5_000, 5_000), Speed::default()), 1_000);
    }

    #[test]
    fn claims_beyond_belief_get_bounded_work() {
        let pool = speed(30_000, 1_000);
        assert_eq!(portion(&search(1_000), speed(u64::MAX, 500), pool), 16_000);
        assert_eq!(portion(&search(1_000), speed(1, u64::MAX), pool), 63);
        assert_eq!(portion(&search(u64::MAX), speed(u64::MAX, 500), speed(1, u64::MAX)), u64::MAX);
        assert_eq!(portion(&search(1), speed(1, u64::MAX), pool), 1);
    }

    #[test]
    fn the_past_fades() {
        let mut speed = Speed::default();
        assert_eq!(speed.per_second(), None);
        for _ in 0..100 {
            speed.add(1_000_000, 100_000, WORKER_MEMORY_MS);
        }
        for _ in 0..20 {
            speed.add(4_000_000, 100_000, WORKER_MEMORY_MS);
        }
        let shown = speed.per_second().unwrap();
        assert!((38_000.0..=40_000.0).contains(&shown), "{shown}");
        assert!(speed.ms <= WORKER_MEMORY_MS);
        speed.add(u64::MAX, u64::MAX, WORKER_MEMORY_MS);
        assert!(speed.ms <= WORKER_MEMORY_MS && speed.work <= WORK_MAX, "{speed:?}");
    }
}
