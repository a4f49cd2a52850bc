//! The pool's part of an order: how far it has come. Pure.

use alloy::primitives::{Address, B256, Bytes};
use gristmill_proto::id::JobId;
use serde::{Deserialize, Serialize};

/// What the pool has done about an order. Only ever moves forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    None,
    Started {
        job: JobId,
    },
    /// Accepted by whom the offer names as its judge.
    Answered {
        job: JobId,
        answer: Answer,
    },
    /// A settlement is in the outbox.
    Settling {
        job: JobId,
        answer: Answer,
        /// Together with others, in the action of this name.
        #[serde(default)]
        group: Option<B256>,
    },
    /// The chain refuses the group; this order may not be the reason.
    Alone {
        job: JobId,
        answer: Answer,
    },
    SettlingAlone {
        job: JobId,
        answer: Answer,
    },
    /// A bag's tasks have ended.
    Gathered {
        batch: Batch,
    },
    /// Settlements of a bag's tasks below `upto` are in the outbox, or done.
    Delivering {
        batch: Batch,
        upto: u64,
    },
    /// The pool cannot or will not do it.
    Failed {
        reason: String,
    },
    /// Nothing more will be done: the chain refuses what was tried, or the order is gone.
    Over {
        reason: String,
    },
    /// A decline is in the outbox.
    Declining {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Whom the chain pays.
    pub(super) worker: Address,
    pub(super) result: Bytes,
    /// Whom the pool pays out of that by voucher; none if the chain pays the worker itself.
    #[serde(default)]
    pub(super) earners: Vec<Earner>,
}

/// How a bag's tasks ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) job: JobId,
    pub(super) failed: u64,
    /// Of all results; none if the offer's verifier judges each result, which the pool keeps until then.
    pub(super) root: Option<B256>,
    pub(super) earners: Vec<Earner>,
}

/// A worker's part of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Earner {
    pub(super) worker: Address,
    /// By what the app's meter counts.
    pub(super) weight: u64,
}

impl Work {
    pub(super) fn job(&self) -> Option<JobId> {
        match self {
            Self::Started { job }
            | Self::Answered { job, .. }
            | Self::Settling { job, .. }
            | Self::Alone { job, .. }
            | Self::SettlingAlone { job, .. } => Some(*job),
            Self::Gathered { batch } | Self::Delivering { batch, .. } => Some(batch.job),
            Self::None | Self::Failed { .. } | Self::Declining { .. } | Self::Over { .. } => None,
        }
    }
}

impl Work {
    /// What workers are to be paid for by voucher.
    pub(super) fn earners(&self) -> &[Earner] {
        match self {
            Self::Settling { answer, .. } | Self::SettlingAlone { answer, .. } => &answer.earners,
            Self::Delivering { batch, .. } => &batch.earners,
            _ => &[],
        }
    }

    pub(super) fn declines(&self) -> bool {
        matches!(self, Self::Declining { .. })
    }

    /// Later work has a higher one. Tasks of a bag that are delivered count too.
    pub(super) fn rank(&self) -> (u8, u64) {
        match self {
            Self::None => (0, 0),
            Self::Started { .. } => (1, 0),
            Self::Answered { .. } | Self::Gathered { .. } | Self::Failed { .. } => (2, 0),
            Self::Settling { .. } => (3, 0),
            Self::Delivering { upto, .. } => (3, *upto),
            Self::Alone { .. } => (4, 0),
            Self::SettlingAlone { .. } => (5, 0),
            Self::Over { .. } => (6, 0),
            Self::Declining { .. } => (7, 0),
        }
    }
}
