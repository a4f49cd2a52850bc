//! Walking along `P + k·G` and hashing what is passed: one algorithm, several back ends.
//!
//! [`walk`] adds multiples of G to a centre with one shared inversion, on a [`lanes::FieldLanes`]; [`hash`] turns the
//! x coordinates into first words of hashes on a [`lanes::WordLanes`]. A back end is a pair of these. The arithmetic
//! is exact, so every back end reports the same candidates.

mod filter;
mod hash;
mod lanes;
mod portable;
mod table;
mod walk;

use std::fmt;

use k256::{ProjectivePoint, Scalar};
use serde::{Deserialize, Serialize};

use crate::{AddressKind, Hash160, Image, Ranges};
use filter::WordFilter;

/// The code that does the arithmetic, chosen at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    Portable,
}

impl Backend {
    pub const ALL: [Self; 1] = [Self::Portable];

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
        }
    }

    /// The fastest one that this processor can run.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|backend| backend.is_available()).unwrap_or(Self::Portable)
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A candidate whose hash lies in the wanted ranges; `position` counts points from the start of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Find {
    pub(crate) position: u32,
    pub(crate) image: Image,
    pub(crate) hash: Hash160,
}

/// Points are checked a block at a time, in order.
pub(crate) trait Walk {
    fn block_points(&self) -> u32;

    /// Checks the next block and appends what it finds, unordered.
    fn next_block(&mut self, finds: &mut Vec<Find>);
}

/// What a walk looks for.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) kind: AddressKind,
    pub(crate) ranges: Ranges,
    pub(crate) filter: WordFilter,
}

impl Goal {
    pub(crate) fn new(kind: AddressKind, ranges: Ranges) -> Self {
        Self { kind, filter: WordFilter::new(&ranges), ranges }
    }
}

/// Starts at `origin + first·G`.
pub(crate) fn walk<'goal>(
    backend: Backend,
    goal: &'goal Goal,
    origin: ProjectivePoint,
    first: Scalar,
) -> Box<dyn Walk + 'goal> {
    match backend {
        Backend::Portable => Box::new(walk::Walker::<portable::Portable>::new(goal, origin, first)),
    }
}
