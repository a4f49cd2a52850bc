use gristmill_proto::digest::Digest;
use gristmill_proto::id::WorkerId;

use super::ballot::{Ballot, Vote};
use super::odds::Odds;
use super::standings::Standing;
use super::{Draw, Fraction, Policy, Terms};

/// What to do next about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// So many more votes than are on the ballot, from voters it admits, and from no more than that: who votes first
    /// must not know who will be second.
    Ask(usize),
    /// No further vote is wanted before the sealed ones are opened.
    Open,
    Certify(Certificate),
    GiveUp(Hopeless),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub answer: Digest,
    pub supporters: Vec<WorkerId>,
    /// They lied.
    pub dissenters: Vec<WorkerId>,
    /// How many checks the first supporter must pass after its vote, until the result is settled. Zero: it is.
    pub hold: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hopeless {
    #[error("{wanted} votes would be needed, and the job allows {votes_max}")]
    TooManyVotes { wanted: usize, votes_max: usize },
    #[error("{more} more votes would be needed, and only {left} other owners have a worker for it")]
    TooFewVoters { more: usize, left: usize },
}

/// Nobody is called a liar on weaker evidence, whatever a job is content with. Else, somebody could have honest workers
/// exposed by jobs with a loose bound.
const EXPOSING_ERROR_MAX: Fraction = Fraction::new(1e-3).expect("it is one");

/// A vote that counts, and what its worker has proven.
pub(super) struct Counted<'a> {
    pub(super) vote: &'a Vote,
    pub(super) standing: Standing,
    /// Nothing was on the ballot before it, nor was anyone else asked.
    pub(super) blind: bool,
}

impl Counted<'_> {
    /// Checks passed by votes cast after this one.
    fn since(&self) -> u64 {
        self.standing.passed.saturating_sub(self.vote.mark)
    }
}

pub(super) fn decide(counted: &[Counted<'_>], policy: &Policy, terms: &Terms, typical: f64, draw: Draw) -> Decision {
    let tally = Tally::of(counted);
    let wanted = if tally.answers.len() > 1 {
        counted.len() - tally.sealed + lead_wanted(policy, terms).saturating_sub(tally.lead())
    } else {
        let plan = Plan::of(counted, policy, terms, typical);
        if counted.is_empty() { plan.first_round } else { plan.votes + usize::from(draw.below(plan.check_rate)) }
    };
    if wanted > terms.votes_max {
        return Decision::GiveUp(Hopeless::TooManyVotes { wanted, votes_max: terms.votes_max });
    }
    if wanted > counted.len() {
        return Decision::Ask(wanted - counted.len());
    }
    if tally.sealed > 0 {
        return Decision::Open;
    }
    Decision::Certify(certificate(counted, &tally, Odds::new(policy, terms.max_error)))
}

/// By how many votes an answer must lead where they differ.
pub(super) fn lead_wanted(policy: &Policy, terms: &Terms) -> usize {
    let exacting = if terms.max_error < EXPOSING_ERROR_MAX { terms.max_error } else { EXPOSING_ERROR_MAX };
    Odds::new(policy, exacting).votes_firm()
}

/// Opened votes by answer, the most frequent first.
struct Tally {
    answers: Vec<(Digest, usize)>,
    sealed: usize,
}

impl Tally {
    fn of(counted: &[Counted<'_>]) -> Self {
        let mut opened: Vec<Digest> = counted.iter().filter_map(|counted| counted.vote.answer).collect();
        let sealed = counted.len() - opened.len();
        opened.sort_unstable_by_key(|answer| answer.0);
        let mut answers: Vec<_> = opened.chunk_by(|one, next| one == next).map(|same| (same[0], same.len())).collect();
        answers.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
        Self { answers, sealed }
    }

    fn lead(&self) -> usize {
        self.answers[0].1 - self.answers[1].1
    }
}

/// With how many votes a task is certified if they agree.
pub(super) struct Plan {
    pub(super) votes: usize,
    /// Asked at once, when there is no vote yet.
    first_round: usize,
    /// The share of such results that get another vote.
    pub(super) check_rate: f64,
    /// How many checks the first voter must pass afterwards.
    pub(super) hold: u64,
}

/// A lone vote is worth its long hold-back only if fewer than half of such results need a check.
const LONE_CHECK_RATE_MAX: f64 = 0.5;

impl Plan {
    /// The fewest votes that are credible by what their workers have proven, and whose hold-back ends in time. Of
    /// workers not yet asked, it supposes the typical.
    pub(super) fn of(counted: &[Counted<'_>], policy: &Policy, terms: &Terms, typical: f64) -> Self {
        let odds = Odds::new(policy, terms.max_error);
        let votes_firm = odds.votes_firm();
        let firm = Self { votes: votes_firm, first_round: votes_firm, check_rate: 0.0, hold: 0 };
        // A later voter may have known who voted before it: its checks say nothing of this vote.
        if counted.first().is_some_and(|first| !first.blind) {
            return firm;
        }
        let since = counted.first().map_or(0, Counted::since);
        let mut agreed = 0.0;
        for votes in 1..votes_firm.min(terms.votes_max + 1) {
            agreed += counted.get(votes - 1).map_or(typical, |counted| as_f64(counted.standing.agreed));
            let hold = odds.checks(votes);
            if agreed < as_f64(hold) {
                continue;
            }
            if let Some(check_rate) = check_rate(votes, hold.saturating_sub(since), policy, terms) {
                return Self { votes, first_round: 1, check_rate, hold };
            }
        }
        firm
    }
}

/// Workers differ in how soon they pass checks; so much longer than the mean leaves few results behind.
const PATIENCE: f64 = 1.5;

/// How often such a result must be checked so that its first voter passes the missing checks in time; none if it
/// cannot. With several votes, each result is a check of its first voter.
fn check_rate(votes: usize, missing: u64, policy: &Policy, terms: &Terms) -> Option<f64> {
    if missing == 0 {
        return Some(0.0);
    }
    let (missing, outlook) = (PATIENCE * as_f64(missing), as_f64(terms.outlook));
    if votes > 1 {
        return (missing * as_f64(votes as u64) <= outlook).then_some(0.0);
    }
    // Where a share q of lone votes is checked, q / (1 + q) of all votes are a check of whoever cast them.
    let needed = missing / (outlook - missing);
    (needed > 0.0 && needed <= LONE_CHECK_RATE_MAX).then_some(needed.max(policy.check_rate_min.get()))
}

fn certificate(counted: &[Counted<'_>], tally: &Tally, odds: Odds) -> Certificate {
    let answer = tally.answers[0].0;
    let (supporters, dissenters): (Vec<_>, Vec<_>) =
        counted.iter().partition(|counted| counted.vote.answer == Some(answer));
    let workers = |votes: &[&Counted<'_>]| votes.iter().map(|counted| counted.vote.voter.worker).collect();
    let checks = odds.checks(supporters.len());
    // Where votes differed, their lead carries the certificate, and that is firm.
    let settled = !dissenters.is_empty() || supporters[0].since() >= checks;
    let hold = if settled { 0 } else { checks };
    Certificate { answer, supporters: workers(&supporters), dissenters: workers(&dissenters), hold }
}

#[expect(clippy::cast_precision_loss, reason = "more than 2^53 checks are as good as that many")]
fn as_f64(checks: u64) -> f64 {
    checks as f64
}

/// How many other votes can still be had decides nothing, but makes some decisions vain.
pub(super) fn possible(decision: Decision, voters_left: usize) -> Decision {
    match decision {
        Decision::Ask(more) if more > voters_left => {
            Decision::GiveUp(Hopeless::TooFewVoters { more, left: voters_left })
        }
        decision => decision,
    }
}

impl Ballot {
    /// Votes of workers that were not exposed since.
    pub(super) fn counted<'a>(&'a self, standing: impl Fn(WorkerId) -> Standing) -> Vec<Counted<'a>> {
        let counted = |(index, vote): (usize, &'a Vote)| {
            let standing = standing(vote.voter.worker);
            (!standing.exposed).then_some(Counted { vote, standing, blind: index == 0 && vote.blind })
        };
        self.votes().iter().enumerate().filter_map(counted).collect()
    }
}
