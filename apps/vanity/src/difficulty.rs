//! How many candidates a search takes: exactly, and as odds.
//!
//! A search has no memory, so there is no "percent done": only the chance of having found one by now, and how many
//! candidates give a 50 % or a 95 % chance.

use std::fmt;

use k256::elliptic_curve::bigint::{NonZero, U256};

use crate::ranges::Ranges;

/// Expected number of candidates per match: an exact fraction, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difficulty {
    numerator: U256,
    denominator: U256,
}

impl Difficulty {
    /// `None` for the empty set, which nothing matches.
    pub fn of(ranges: &Ranges) -> Option<Self> {
        Self::of_disjoint([(ranges, 0)])
    }

    /// Of sets that have no hash in common, of each of which one in `2^bits` counts.
    pub(crate) fn of_disjoint<'ranges>(parts: impl IntoIterator<Item = (&'ranges Ranges, u32)>) -> Option<Self> {
        /// The letters of an Ethereum address, whose case is a bit each.
        const BITS_MAX: u32 = 40;
        let weight =
            |(ranges, bits): (&Ranges, u32)| ranges.count().shl_vartime(BITS_MAX.saturating_sub(bits) as usize);
        let sum = parts.into_iter().fold(U256::ZERO, |sum, part| sum.wrapping_add(&weight(part)));
        (sum != U256::ZERO).then(|| Self::ratio(U256::ONE.shl_vartime(160 + BITS_MAX as usize), sum))
    }

    fn ratio(numerator: U256, denominator: U256) -> Self {
        let divisor = NonZero::new(greatest_common_divisor(numerator, denominator)).expect("neither part is zero");
        Self { numerator: numerator.wrapping_div(&divisor), denominator: denominator.wrapping_div(&divisor) }
    }

    pub fn candidates(&self) -> f64 {
        as_f64(&self.numerator) / as_f64(&self.denominator)
    }

    /// Decimal digits of numerator and denominator.
    pub fn fraction(&self) -> (String, String) {
        (decimal(self.numerator), decimal(self.denominator))
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1}", self.candidates())
    }
}

/// Chance of at least one match among `candidates` tries.
pub fn probability_found(difficulty: f64, candidates: f64) -> f64 {
    if difficulty <= 1.0 {
        return if candidates > 0.0 { 1.0 } else { 0.0 };
    }
    -(candidates * (-1.0 / difficulty).ln_1p()).exp_m1()
}

/// How many tries give this chance (0..1) of at least one match.
pub fn candidates_for(difficulty: f64, probability: f64) -> f64 {
    if difficulty <= 1.0 {
        return 1.0;
    }
    (-probability).ln_1p() / (-1.0 / difficulty).ln_1p()
}

fn greatest_common_divisor(mut a: U256, mut b: U256) -> U256 {
    while let Some(divisor) = Option::<NonZero<U256>>::from(NonZero::new(b)) {
        (a, b) = (b, a.rem(&divisor));
    }
    a
}

fn as_f64(number: &U256) -> f64 {
    number.as_words().iter().rev().fold(0.0, |value, &word| value * 18_446_744_073_709_551_616.0 + word as f64)
}

fn decimal(mut number: U256) -> String {
    let ten = NonZero::new(U256::from_u8(10)).expect("ten is not zero");
    let mut digits = Vec::new();
    loop {
        let (quotient, remainder) = number.div_rem(&ten);
        digits.push(char::from(b'0' + remainder.as_words()[0] as u8));
        if quotient == U256::ZERO {
            return digits.into_iter().rev().collect();
        }
        number = quotient;
    }
}
