//! The two numbers that follow from an error bound; [`crate::trust`] derives them.

use super::{Fraction, Policy};

#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    liars: f64,
    max_error: f64,
}

impl Odds {
    pub(super) fn new(policy: &Policy, max_error: Fraction) -> Self {
        Self { liars: policy.liars.get(), max_error: max_error.get() }
    }

    /// ρ: how much likelier a vote is a liar's than not.
    pub(super) fn ratio(self) -> f64 {
        self.liars / (1.0 - self.liars)
    }

    /// d: so many votes suffice by themselves if they agree, or if they are so many more than those for another answer.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and some 10^19")]
    pub(super) fn votes_firm(self) -> usize {
        (self.max_error.ln() / self.ratio().ln()).ceil().max(1.0) as usize
    }

    /// K(m): how many checks the voters must pass in all to make up for the votes they fall short of.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap,
        reason = "fewer votes than a task ever has; more checks than 2^64 are as good as that many"
    )]
    pub(super) fn checks(self, votes: usize) -> u64 {
        if votes >= self.votes_firm() {
            return 0;
        }
        let all_lie = self.ratio().powi(votes as i32);
        (all_lie / (std::f64::consts::E * (1.0 - self.liars) * self.max_error)).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(liars: f64, max_error: f64) -> Odds {
        let policy = Policy { liars: liars.try_into().unwrap(), ..Policy::default() };
        Odds::new(&policy, max_error.try_into().unwrap())
    }

    #[test]
    fn votes_and_checks_stand_in_for_each_other() {
        let table = |liars, max_error| (1..=6).map(|votes| odds(liars, max_error).checks(votes)).collect::<Vec<_>>();
        assert_eq!(table(0.2, 1e-3), [115, 29, 8, 2, 0, 0]);
        assert_eq!(table(0.2, 1e-2), [12, 3, 1, 0, 0, 0]);
        assert_eq!(table(0.35, 1e-3), [305, 165, 89, 48, 26, 14]);
        assert_eq!(odds(0.35, 1e-3).votes_firm(), 12);
        assert_eq!(odds(0.2, 0.3).votes_firm(), 1);
    }

    /// The sum of both ways to be wrong, for each lying rate.
    #[test]
    fn the_bound_holds_for_every_lying_rate() {
        for liars in [0.01, 0.05, 0.2, 0.35, 0.45] {
            for max_error in [0.1, 1e-2, 1e-3, 1e-6] {
                let odds = odds(liars, max_error);
                for votes in 1..=odds.votes_firm() {
                    for rate in (1..=10_000).map(|part| f64::from(part) / 10_000.0) {
                        let wrong = error(odds, votes, rate);
                        assert!(wrong <= max_error * (1.0 + 1e-9), "{liars} {max_error} {votes} {rate}: {wrong}");
                    }
                }
            }
        }
    }

    #[expect(
        clippy::cast_possible_wrap,
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "small"
    )]
    fn error(odds: Odds, votes: usize, rate: f64) -> f64 {
        let (liars, m) = (odds.liars, votes as i32);
        let survives = (1.0 - rate * (1.0 - liars)).powf(odds.checks(votes) as f64);
        let agreed = liars.powi(m) * rate * survives;
        let differ = 1.0 - (1.0 - liars).powi(m) - liars.powi(m);
        let outvoted = rate * differ * odds.ratio().powi(odds.votes_firm() as i32);
        agreed + outvoted
    }
}
