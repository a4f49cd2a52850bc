//! Hiding what is wanted inside something wider.
//!
//! Workers are told only a wide set of ranges, somewhere in which lie the targets. To them a winner is a share like any
//! other: it can neither be recognised nor withheld but together with the pay for as many shares as there are to a
//! winner. What is hidden is committed to beforehand, so that the requester cannot change it afterwards either.

use k256::elliptic_curve::bigint::{Encoding, NonZero, U256};
use sha3::{Digest, Keccak256};
use thiserror::Error;

use crate::{
    Ranges,
    ranges::{HashRange, hash_of, number_of},
};

/// Domain of the commitment, so that it is never another message's hash.
const DOMAIN: &[u8] = b"vanity oblivious ranges 1";

/// What stays secret until the search is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub targets: Ranges,
    /// How many times wider than a target its cover is: shares per winner, on average.
    pub width: u64,
    /// From the operating system's generator; whoever guesses it knows the targets.
    pub seed: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpeningError {
    #[error("the opening is not what was committed to")]
    Commitment,
    #[error("the wide ranges do not follow from the opening")]
    Wide,
}

impl Opening {
    /// Published with the order, before anyone searches.
    pub fn commitment(&self) -> [u8; 32] {
        let mut hash = Keccak256::new().chain_update(DOMAIN).chain_update(self.seed);
        hash = hash.chain_update(self.width.to_be_bytes());
        for range in self.targets.as_slice() {
            hash = hash.chain_update(range.low.0).chain_update(range.high.0);
        }
        hash.finalize().into()
    }

    /// What workers search: for each target a cover with the target at a random place in it.
    pub fn wide(&self) -> Ranges {
        let covers = self.targets.as_slice().iter().enumerate();
        Ranges::union(covers.map(|(number, target)| self.cover(number as u64, target)))
    }

    /// Checks a revealed opening against what was published before.
    pub fn check(&self, commitment: &[u8; 32], wide: &Ranges) -> Result<(), OpeningError> {
        if self.commitment() != *commitment {
            return Err(OpeningError::Commitment);
        }
        if self.wide() != *wide {
            return Err(OpeningError::Wide);
        }
        Ok(())
    }

    fn cover(&self, number: u64, target: &HashRange) -> HashRange {
        let space = U256::ONE.shl_vartime(160);
        let (low, end) = (number_of(target.low), number_of(target.high).wrapping_add(&U256::ONE));
        let size = end.wrapping_sub(&low);
        // A target of 2^160 hashes times 2^64 fits in 256 bits.
        let wide = size.wrapping_mul(&U256::from_u64(self.width.max(1))).min(space);
        let before = self.random_below(number, &wide.wrapping_sub(&size).wrapping_add(&U256::ONE));
        // At the ends of the space the cover is pushed inside; the target keeps a random place but for the very edge.
        let first = if low < before { U256::ZERO } else { low.wrapping_sub(&before) };
        let first = first.min(space.wrapping_sub(&wide));
        let last = first.wrapping_add(&wide).wrapping_sub(&U256::ONE);
        HashRange { low: hash_of(&first), high: hash_of(&last) }
    }

    /// Uniform but for a bias of 2^-96 at most, as the bound has at most 160 bits.
    fn random_below(&self, number: u64, bound: &U256) -> U256 {
        let digest = Keccak256::new().chain_update(self.seed).chain_update(number.to_be_bytes()).finalize();
        let bound = NonZero::new(*bound).expect("at least one place");
        U256::from_be_bytes(digest.into()).rem(&bound)
    }
}
