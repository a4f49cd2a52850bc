use serde::{Deserialize, Serialize};

use super::decide::{Decision, Hopeless, Plan};
use super::standings::Standings;
use super::{AppClass, Draw, Fraction, Terms, decide};

/// What a job's terms come to, per task, said before it is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// While nobody lies, as in a pool that has exposed its liars.
    pub quiet: Load,
    /// While the whole assumed share of liars lies on every task.
    pub hostile: Load,
    /// How many checks the first voter of a result must pass before it is delivered.
    pub hold: u64,
    /// The promised bound on the share of tasks delivered with a wrong result.
    pub max_error: Fraction,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Attempts.
    pub redundancy: f64,
    /// Attempts that are paid.
    pub cost_factor: f64,
}

impl Standings {
    /// `voters` counts owners with a worker that may be asked.
    pub fn estimate(&self, class: AppClass, terms: &Terms, voters: usize) -> Result<Estimate, Hopeless> {
        let typical = self.typical(class);
        let first = decide::decide(&[], self.policy(), terms, typical, Draw(u64::MAX));
        if let Decision::GiveUp(hopeless) = decide::possible(first, voters) {
            return Err(hopeless);
        }
        let plan = Plan::of(&[], self.policy(), terms, typical);
        let quiet = as_f64(plan.votes) + plan.check_rate;
        let liars = self.policy().liars.get();
        let lead = decide::lead_wanted(self.policy(), terms);
        let hostile = plan.check_rate + votes_if_liars_lie(plan.votes, lead, liars);
        Ok(Estimate {
            quiet: Load { redundancy: quiet, cost_factor: quiet },
            hostile: Load { redundancy: hostile, cost_factor: hostile * (1.0 - liars) },
            hold: plan.hold,
            max_error: terms.max_error,
        })
    }
}

/// Mean votes until `votes` agree or one answer leads by `lead`, where each vote is a lie with probability `liars`.
fn votes_if_liars_lie(votes: usize, lead: usize, liars: f64) -> f64 {
    let honest = 1.0 - liars;
    let power = |base: f64, exponent: usize| base.powf(as_f64(exponent));
    let agreed = (power(honest, votes) + power(liars, votes)) * as_f64(votes);
    let differed = (2..=votes).map(|first| {
        let ahead = as_f64(first - 2);
        let right_ahead = power(honest, first - 1) * liars * (as_f64(first) + walk(ahead, lead, liars));
        let wrong_ahead = power(liars, first - 1) * honest * (as_f64(first) + walk(-ahead, lead, liars));
        right_ahead + wrong_ahead
    });
    agreed + differed.sum::<f64>()
}

/// Mean further votes until either answer leads by `lead`, when the right one is `ahead`: the duration of play in the
/// gambler's ruin (Feller, An Introduction to Probability Theory and Its Applications I, 3rd edition 1968, XIV.3).
fn walk(ahead: f64, lead: usize, liars: f64) -> f64 {
    let (ratio, lead) = (liars / (1.0 - liars), as_f64(lead));
    let right_wins = (1.0 - ratio.powf(ahead + lead)) / (1.0 - ratio.powf(2.0 * lead));
    (2.0 * lead * right_wins - (ahead + lead)) / (1.0 - 2.0 * liars)
}

#[expect(clippy::cast_precision_loss, reason = "counts of votes")]
fn as_f64(votes: usize) -> f64 {
    votes as f64
}
