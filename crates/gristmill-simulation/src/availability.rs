//! When a worker is there: a renewal process of sessions and absences, slowed down outside its owner's hours.

use crate::distribution::Distribution;
use crate::random::Random;
use crate::scenario::{Availability, Hours};

pub(crate) const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The process has run for so long when the simulation begins, on a Monday at midnight.
const PAST_MS: u64 = 28 * DAY_MS;
/// A machine that is not switched on at an unlikely hour may be an hour later, on average.
const ANOTHER_TRY_MS: f64 = HOUR_MS as f64;
/// No absence takes more tries than this: `outside` and `weekend` may both be zero.
const TRIES_MAX: u32 = 1_000;

/// Milliseconds of so many hours, one at least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "bounded")]
pub(crate) fn hours_ms(hours: f64) -> u64 {
    ((hours * HOUR_MS as f64) as u64).clamp(1, u64::MAX >> 8)
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence {
    on_h: Distribution,
    off_h: Distribution,
    hours: Option<Hours>,
    /// Of the owner.
    zone_ms: u64,
}

impl Presence {
    /// None for a worker that is always there.
    pub(crate) fn of(terms: &Availability, random: &mut Random) -> Option<Self> {
        let zones = terms.hours.map_or(1, |hours| hours.zones);
        let zone_ms = random.below(u64::from(zones)) * HOUR_MS;
        Some(Self { on_h: terms.on_h?, off_h: terms.off_h?, hours: terms.hours, zone_ms })
    }

    /// Whether it is there in the beginning, and until when.
    pub(crate) fn begin(&self, random: &mut Random) -> (bool, u64) {
        // The clock runs from -PAST_MS, moved to be positive; weeks are whole in it.
        let (mut now, mut there) = (0, false);
        loop {
            let until = if there { self.leaves_at(now, random) } else { self.comes_at(now, random) };
            if until > PAST_MS {
                return (there, until - PAST_MS);
            }
            (now, there) = (until, !there);
        }
    }

    pub(crate) fn comes_at(&self, now: u64, random: &mut Random) -> u64 {
        let mut at = now.saturating_add(hours_ms(self.off_h.draw(random)));
        for _ in 0..TRIES_MAX {
            if self.hours.is_none_or(|hours| random.chance(hours.likelihood(at + self.zone_ms))) {
                break;
            }
            at = at.saturating_add(hours_ms(random.exponential() * ANOTHER_TRY_MS / HOUR_MS as f64));
        }
        at
    }

    pub(crate) fn leaves_at(&self, now: u64, random: &mut Random) -> u64 {
        let at = now.saturating_add(hours_ms(self.on_h.draw(random)));
        let end = self.hours.filter(|hours| hours.leaves).and_then(|hours| hours.end_after(now + self.zone_ms));
        at.min(end.map_or(u64::MAX, |ms| now.saturating_add(ms)))
    }
}

impl Hours {
    fn contains(&self, local: u64) -> bool {
        let hour = u32::try_from(local % DAY_MS / HOUR_MS).expect("below 24");
        if self.from < self.to { (self.from..self.to).contains(&hour) } else { hour >= self.from || hour < self.to }
    }

    fn likelihood(&self, local: u64) -> f64 {
        let day = if local / DAY_MS % 7 >= 5 { self.weekend.get() } else { 1.0 };
        day * if self.contains(local) { 1.0 } else { self.outside.get() }
    }

    /// Until these hours end, if they have begun.
    fn end_after(&self, local: u64) -> Option<u64> {
        let of_day = local % DAY_MS;
        let end = u64::from(self.to) * HOUR_MS;
        self.contains(local).then(|| if end > of_day { end - of_day } else { end + DAY_MS - of_day })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn availability(text: &str) -> Availability {
        #[derive(serde::Deserialize)]
        struct Line {
            availability: Availability,
        }
        toml::from_str::<Line>(&format!("availability = {text}")).unwrap().availability
    }

    /// Share of hosts that are there, by hour of the week.
    fn week(text: &str, hosts: u64) -> Vec<f64> {
        let terms = availability(text);
        let mut there = vec![0u32; 168];
        for host in 0..hosts {
            let mut random = Random::of(1, 2, host);
            let presence = Presence::of(&terms, &mut random).unwrap();
            let (mut on, mut until) = presence.begin(&mut random);
            for (hour, count) in there.iter_mut().enumerate() {
                let now = hour as u64 * HOUR_MS + HOUR_MS / 2;
                while until <= now {
                    until =
                        if on { presence.comes_at(until, &mut random) } else { presence.leaves_at(until, &mut random) };
                    on = !on;
                }
                *count += u32::from(on);
            }
        }
        there.iter().map(|count| f64::from(*count) / hosts as f64).collect()
    }

    #[test]
    fn a_host_is_there_for_its_share_of_time_from_the_first_moment_on() {
        let week =
            week("{ on_h = { weibull = { shape = 0.5, scale = 3 } }, off_h = { exponential = { mean = 2 } } }", 4_000);
        // A mean of 6 on to 2 off.
        for share in week {
            assert!((share - 0.75).abs() < 0.05, "{share}");
        }
    }

    #[test]
    fn days_nights_and_weekends_differ() {
        let office =
            "{ on_h = 20, off_h = 1, hours = { from = 8, to = 18, outside = 0.02, weekend = 0.1, leaves = true } }";
        let week = week(office, 2_000);
        let (noon, night, sunday) = (week[2 * 24 + 12], week[2 * 24 + 3], week[6 * 24 + 12]);
        assert!(noon > 0.85 && night < 0.35 && sunday < 0.5 && sunday < noon / 2.0, "{noon} {night} {sunday}");
    }
}
