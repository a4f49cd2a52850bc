//! The trust engine: pure. It says when votes on a task are enough, whose word counts for what, and when pay is due.
//!
//! A *vote* is the digest of what one attempt came to. A worker first sends a commitment to it, and opens that when
//! every vote of the round is in ([`Ballot`]). [`Standings::decide`] reads a ballot and says what to do next;
//! [`Standings::certify`] draws the consequences. A certificate that rests on few votes is *held back*: the result is
//! delivered and its voters are paid only when the first of them has since passed more *checks*. A vote is a check if
//! it was cast before anyone else was asked, and another then agreed with it.
//!
//! Each task has a ballot. Its loop is: decide; ask for so many votes as that says, and never for more; take each
//! commitment with [`Standings::cast`]; when told to, have the votes opened; certify; make the facts durable before
//! acting on them; and decide every reopened or recalled ballot anew. What cannot wait for its checks is recalled and
//! bought with votes. A decision costs as much as the task may have votes; memory is a few words for each worker and
//! class, and each result that is held back.
//!
//! # What is assumed
//!
//! 1. Whoever is asked for a vote is a liar with probability `f` at most ([`Policy::liars`]), whatever was on the
//!    ballot before: the pool chooses at random among workers that are not exposed, and neither requesters nor workers
//!    have a say in it.
//! 2. Honest workers agree with each other.
//! 3. Liars may be one: know each other, tell each other what they hold, and give the same wrong answer. They learn
//!    neither what honest workers answered (commitments are opened to the pool, which keeps its ballots to itself) nor
//!    whom the pool will ask next.
//! 4. A liar that votes first lies with some probability `s`, from some task on. Both are its choice and unknown, and
//!    may differ between liars. Tasks of one class are alike to it.
//!
//! # What is promised
//!
//! Each task is delivered with a wrong result with a probability of at most ε ([`Terms::max_error`]): for every `s`, at
//! the moment when all liars turn as at any other, and from the first task of a new pool on. *Delivered* means settled:
//! at once if the certificate carries itself, after its hold-back if not.
//!
//! # Why it holds
//!
//! Let `ρ = f / (1 − f)`, and let `d` be the least number with `ρ^d ≤ ε`.
//!
//! *Votes that differ.* The answer wins that leads each other one by `d` votes. To every order of votes by which the
//! wrong answer wins belongs the mirrored one by which the right one does, `ρ^-d` times as likely (Wald, "Sequential
//! tests of statistical hypotheses", Annals of Mathematical Statistics 16, 1945, for two simple hypotheses). So the
//! wrong one wins in at most `ρ^d ≤ ε` of the tasks on which votes differ. Standing plays no part here: a sleeper has
//! the best.
//!
//! *`m` votes that agree* are all of liars with probability `f^m`, and wrong if the first of these lied: `f^m s`. Each
//! later check of that first worker exposes it with probability `s (1 − f)` at least, for it must choose before it can
//! know whether the next to be asked is honest. If the result counts only after its worker has passed `K` more checks,
//! it is wrong with probability `f^m s (1 − s (1 − f))^K`; and since `s (1 − s c)^K ≤ 1 / (e c K)` whatever `s` is,
//!
//! ```text
//! K(m) = ρ^m / (e (1 − f) ε)   checks suffice for   f^m s (1 − s (1 − f))^K ≤ (1 − f)^m ε.
//! ```
//!
//! With `m ≥ d` votes none are needed. The two ways to be wrong add up to `(1 − f)^m ε + (1 − (1 − f)^m) ε = ε`. If the
//! first voter is exposed, only votes help: the others may have known.
//!
//! The maximum over `s` is Sarmenta's credibility of a worker that passed `k` spot-checks under blacklisting, `1 − f /
//! (1 − f) · 1 / (k e)` ("Sabotage-tolerance mechanisms for volunteer computing systems", Future Generation Computer
//! Systems 18, 2002, credibility of workers). There `k` counts checks *before* the vote, and the chances of several
//! voters to be wrong multiply, as if liars chose their lies apart. Neither survives a worker that is honest until it
//! is trusted, nor liars that lie together: a pair then errs with `f²` at the moment they turn. Here the past only
//! decides how many votes to begin with, by the same `K(m)`; what is *promised* rests on checks passed since. A worker
//! whose votes were few is backed by more of others: that is what a newcomer pays for its lack of standing, not a bond.
//!
//! No rule does with fewer than `ln ε / ln f` votes where nothing can be held back: sleepers look honest until they
//! lie, so `m` agreeing votes are wrong with probability `f^m`, whatever their past.
//!
//! # What is not promised
//!
//! A liar that lies once and is honest ever after is not found by later checks, only by the second vote on the same
//! task (with a probability of `1 − f` or more) or, if its vote was a lone one, by a check (`q (1 − f)`, with `q` at
//! least [`Policy::check_rate_min`]). It so delivers `f / (1 − f)` or `1 / (q (1 − f)) − 1` wrong results at most
//! before it is exposed and forfeits what is held back. The same holds for one that lies only on tasks it knows to be
//! worth more than others of their class: what is worth more should be another class. And where there are more liars
//! than `f`, the bound is a weaker one until they are exposed.

mod ballot;
mod decide;
mod estimate;
mod odds;
mod standings;

use gristmill_proto::digest::Digest;
pub use gristmill_proto::vote::{Commitment, Fraction, NotAFraction, Salt};
use serde::{Deserialize, Serialize};

pub use ballot::{Ballot, CastError, HostId, OpenError, OwnerId, Payer, Vote, Voter};
pub use decide::{Certificate, Decision, Hopeless};
pub use estimate::{Estimate, Load};
pub use standings::{Fact, Standing, Standings, Why};

/// Set for a whole pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The share of votes that is assumed to fall to liars who are not yet exposed.
    pub liars: Fraction,
    /// The least share of lone votes that is compared with another, whatever their worker's standing. Drawn after they
    /// are committed. (Of two votes, the second is such a comparison, and the share is one.)
    pub check_rate_min: Fraction,
}

impl Default for Policy {
    fn default() -> Self {
        const LIARS: Fraction = Fraction::new(0.2).expect("it is one");
        const CHECKED: Fraction = Fraction::new(0.1).expect("it is one");
        Self { liars: LIARS, check_rate_min: CHECKED }
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
    /// How many votes a worker can be expected to cast in this class of apps while the job's results are held back: the
    /// scheduler's guess. Zero for a job that waits for nothing; then votes alone must do.
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
