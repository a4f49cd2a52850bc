use gristmill_proto::digest::Digest;
use gristmill_proto::id::{TaskId, WorkerId};
use serde::{Deserialize, Serialize};

use super::{AppClass, Commitment, Salt};

/// Whoever is paid for a worker. Its workers count as one voice on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerId(pub [u8; 20]);

/// The machine or network that a worker is on, as far as the pool can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    pub worker: WorkerId,
    pub owner: OwnerId,
    pub host: HostId,
}

/// Who pays for a job, and so whose workers prove nothing by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payer {
    Pool,
    Owner(OwnerId),
    /// A job with no price, or less than it costs to farm standing, or that says which workers may do it.
    Nobody,
}

impl Payer {
    pub(super) fn lets_prove(self, owner: OwnerId) -> bool {
        match self {
            Self::Pool => true,
            Self::Owner(payer) => payer != owner,
            Self::Nobody => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub voter: Voter,
    pub commitment: Commitment,
    /// None while it is sealed.
    pub answer: Option<Digest>,
    /// Votes of one round are cast before any of them is opened.
    pub round: u32,
    /// Cast before anyone else was asked: its worker could not know with whom it would be compared, nor whether.
    pub blind: bool,
    /// The most checks that the worker can have passed by votes cast up to this one. What it passed beyond that, it
    /// passed since.
    pub mark: u64,
    /// The task was certified with this vote on the ballot. A vote is a check at most once, and never long after it
    /// was cast: it would speak of a past in which its worker may have been another.
    pub decided: bool,
}

/// The votes on one task. Nothing of it may be shown to workers before the task is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    pub task: TaskId,
    pub class: AppClass,
    pub payer: Payer,
    pub(super) votes: Vec<Vote>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    #[error("the worker was exposed as a liar in this class of apps")]
    Exposed,
    #[error("the worker, its owner or its host has voted on this task")]
    VotedAlready,
    #[error("votes on this task are being opened")]
    Opening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the worker has no sealed vote on this task")]
    NoSealedVote,
    #[error("the answer is not what the worker was committed to")]
    NotCommitted,
}

impl Ballot {
    pub fn new(task: TaskId, class: AppClass, payer: Payer) -> Self {
        Self { task, class, payer, votes: Vec::new() }
    }

    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// Whether this voter may still be asked.
    pub fn admits(&self, voter: &Voter) -> bool {
        let same = |vote: &Vote| {
            let cast = vote.voter;
            cast.worker == voter.worker || cast.owner == voter.owner || cast.host == voter.host
        };
        !self.votes.iter().any(same)
    }

    pub fn open(&mut self, worker: WorkerId, answer: Digest, salt: Salt) -> Result<(), OpenError> {
        let mut sealed = self.votes.iter_mut().filter(|vote| vote.answer.is_none());
        let vote = sealed.find(|vote| vote.voter.worker == worker).ok_or(OpenError::NoSealedVote)?;
        if vote.commitment != Commitment::new(worker, self.task, answer, salt) {
            return Err(OpenError::NotCommitted);
        }
        vote.answer = Some(answer);
        Ok(())
    }
}
