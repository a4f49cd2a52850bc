//! Walking along `P + k·G` and hashing what is passed: one algorithm, several back ends.
//!
//! `walk` adds multiples of G to a centre with one shared inversion, on a `lanes::FieldLanes`; `hash` turns the
//! x coordinates into first words of hashes on a `lanes::WordLanes`. A back end is a pair of these. The arithmetic
//! is exact, so every back end reports the same candidates.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod back_end;
pub mod count;
mod filter;
mod hash;
mod keccak;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use k256::{ProjectivePoint, Scalar};
use serde::{Deserialize, Serialize};

use crate::{AddressKind, Hash160, Image, Ranges};
use filter::WordFilter;
use walk::Walker;

/// The code that does the arithmetic, chosen at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    Portable,
    /// NEON hashes, scalar curve.
    Neon,
    /// AVX2 hashes, scalar curve.
    Avx2,
    /// AVX-512 with IFMA.
    Avx512,
}

impl Backend {
    /// Slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("adx")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512ifma")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
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
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
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
    assert!(backend.is_available(), "this processor cannot run {backend}");
    match backend {
        #[cfg(target_arch = "aarch64")]
        Backend::Neon => Box::new(Walker::<neon::Neon>::new(goal, origin, first)),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx2 => Box::new(Walker::<avx2::Avx2>::new(goal, origin, first)),
        #[cfg(target_arch = "x86_64")]
        Backend::Avx512 => Box::new(Walker::<avx512::Avx512>::new(goal, origin, first)),
        _ => Box::new(Walker::<portable::Portable>::new(goal, origin, first)),
    }
}
