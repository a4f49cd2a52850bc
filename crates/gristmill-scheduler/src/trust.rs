//! The trust engine: pure. It says when votes on a task are enough, whose word counts for what, and when pay is due.
//!
//! A *vote* is the digest of what one attempt came to. A worker first sends a commitment to it, and opens that when
//! every vote of the round is in ([`Ballot`]). [`Standings::decide`] reads a ballot and says what to do next;
//! [`Standings::certify`] draws the consequences. A certificate that rests on few votes is *held back*: the result is
//! delivered and its voters are paid only when they have since passed more checks.
//!
//! # What is assumed
//!
//! 1. Of the votes that workers not yet exposed are asked for, at most a share `f` ([`Policy::liars`]) falls to liars,
//!    and which worker is asked is random. Who pays for a job, or votes, has no say in that.
//! 2. Honest workers agree. All liars are one: they lie on the same tasks with the same answer, without looking honest
//!    workers' answers up.
//! 3. A liar lies on a share `s` of its tasks from some task on; both are its choice and unknown. It does not know which
//!    workers hold the same task, nor prefers some tasks of an app to others.
//!
//! # What is promised
//!
//! Each task is delivered with a wrong result with a probability of at most ε ([`Terms::max_error`]), for every `s`, for
//! every moment from which liars lie, from the first task of a new pool on.
//!
//! # Why it holds
//!
//! Let `ρ = f / (1 − f)`, and let `d` be the least number with `ρ^d ≤ ε`.
//!
//! *Votes that differ.* The answer wins that leads the next one by `d` votes. To every order of votes by which the wrong
//! answer wins belongs the mirrored one by which the right one does, `ρ^-d` times as likely (Wald, "Sequential tests of
//! statistical hypotheses", 1945, for two simple hypotheses). So the wrong one wins in at most `ρ^d ≤ ε` of the tasks on
//! which votes differ. Past checks play no part here: a sleeper has passed them all.
//!
//! *`m` votes that agree* are all of liars with probability `f^m` and wrong with probability `f^m s`. A later check of
//! one of these workers, a vote of its compared with another's, exposes it with probability at least `s (1 − f)`. If
//! the result counts only after they have passed `K` more checks in all, it is wrong with probability
//! `f^m s (1 − s (1 − f))^K`, and since `s (1 − s c)^K ≤ 1 / (e c K)` whatever `s` is,
//!
//! ```text
//! K(m) = ρ^m / (e (1 − f) ε)   checks suffice for   f^m s (1 − s (1 − f))^K ≤ (1 − f)^m ε.
//! ```
//!
//! With `m ≥ d` votes none are needed. The two ways to be wrong add up to
//! `(1 − f)^m ε + (1 − (1 − f)^m) ε = ε`.
//!
//! The maximum over `s` is Sarmenta's credibility of a worker that passed `k` spot-checks under blacklisting,
//! `1 − f / (1 − f) · 1 / (k e)` (Sabotage-tolerance mechanisms for volunteer computing systems, Future Generation Computer
//! Systems 18(4), 2002, section on credibility). There `k` counts checks *before* the vote and credibilities of
//! voters multiply, as if liars chose their lies apart. Neither survives a worker that is honest until it is trusted, nor
//! liars that lie together: a pair then errs with `f²` at the moment they turn. Here checks from before only decide how
//! many votes to begin with (the same `K(m)`, summed over the voters); what is *promised* rests on those passed since.
//!
//! No rule does with fewer votes where nothing can be held back: sleepers look honest until they lie, so `m` agreeing
//! votes are wrong with probability `f^m`, whatever their past.
//!
//! # What is not promised
//!
//! Liars that know from each other who else votes on a task, and lie only when all of its votes are theirs, pass every
//! check by agreement; only the checks drawn after the commitment find them ([`Policy::check_rate_min`], `q`). They
//! deliver about `1 / q` wrong results before all voters of one are exposed, and forfeit what is held back. The
//! same holds for a worker that lies once and never again.

mod ballot;
mod decide;
mod estimate;
mod odds;
mod standings;

use gristmill_proto::digest::Digest;
use serde::{Deserialize, Serialize};

pub use ballot::{Ballot, CastError, Commitment, HostId, OpenError, OwnerId, Payer, Salt, Vote, Voter};
pub use decide::{Certificate, Decision, Hopeless};
pub use estimate::{Estimate, Load};
pub use standings::{Fact, Standing, Standings, Why};

/// More than nothing and less than a half.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fraction(f64);

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a number above 0 and below 0.5")]
pub struct NotAFraction(f64);

impl Fraction {
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Fraction {
    type Error = NotAFraction;

    fn try_from(number: f64) -> Result<Self, NotAFraction> {
        (number > 0.0 && number < 0.5).then_some(Self(number)).ok_or(NotAFraction(number))
    }
}

impl From<Fraction> for f64 {
    fn from(fraction: Fraction) -> Self {
        fraction.0
    }
}

/// Set for a whole pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The share of votes that is assumed to fall to liars who are not yet exposed.
    pub liars: Fraction,
    /// Of results whose certificate needs no further vote, this share gets one nevertheless, whatever the standing of
    /// the voters. Drawn after they are committed.
    pub check_rate_min: Fraction,
}

impl Default for Policy {
    fn default() -> Self {
        Self { liars: Fraction(0.2), check_rate_min: Fraction(0.1) }
    }
}

/// What a job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// ε: the promised bound on the share of tasks delivered with a wrong result.
    pub max_error: Fraction,
    /// A task with more votes fails.
    pub votes_max: usize,
    /// How many tasks of its app class a worker can be expected to vote on while this job's results are held back.
    /// Zero for a job that waits for nothing: then votes alone must do.
    pub outlook: u64,
}

/// Standing is earned per app class: what a worker has proven for one app says nothing of another, and an app with
/// answers that differ from machine to machine does no harm to its voters elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppClass(pub Digest);

/// Uniform over all values, unknown to workers before they are committed, and the same whenever a task is decided anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(pub u64);

impl Draw {
    #[expect(clippy::cast_precision_loss, reason = "a chance needs no 64 bits")]
    fn below(self, rate: f64) -> bool {
        (self.0 as f64) < rate * 2f64.powi(64)
    }
}
