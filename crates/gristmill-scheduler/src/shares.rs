//! Certifying work by its near misses: a search in vain is believed if its shares are there.
//!
//! What a share is, only the app's makers know. They bring a [`ShareChecker`]; the pool calls it for each result, and
//! what it refuses is a worker's fault. Besides, the pool sums each worker's shares over all its tasks, so that one who
//! leaves out a tenth is found out in time though no single task tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill_proto::id::WorkerId;
use gristmill_proto::job::ShareTerms;
use gristmill_proto::view::Closest;

/// Longest file of shares that is read.
pub(crate) const SHARE_FILE_BYTES_MAX: u64 = 1 << 20;

/// The shares of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub terms: &'a ShareTerms,
    /// Work units in an ordinary task, which the terms speak of.
    pub task_work: u64,
    pub task: u64,
    /// Work units that the task had for this worker.
    pub work: u64,
    pub worker: WorkerId,
    /// The file's bytes.
    pub shares: &'a [u8],
    /// Whether the task was searched to its end; a find ends it before.
    pub whole: bool,
    /// Drawn after the attempt has ended: what is looked at more closely, the worker cannot have known.
    pub seed: [u8; 32],
}

pub trait ShareChecker: Send + Sync {
    /// Refuses terms that it could not check by.
    fn understands(&self, terms: &ShareTerms) -> Result<(), String>;
    /// The number of good shares and the best of them; or what is wrong with them.
    fn count(&self, question: &Question<'_>) -> Result<(u64, Option<Closest>), String>;
    /// Whether no honest worker has so few shares of so many expected.
    fn is_too_few(&self, found: u64, expected: u64) -> bool;
}

/// By the name that jobs use.
pub type ShareCheckers = BTreeMap<String, Arc<dyn ShareChecker>>;
