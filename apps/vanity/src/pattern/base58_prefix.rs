//! Prefixes of Base58Check addresses as ranges of hashes.
//!
//! An address writes the 200-bit number version ‖ hash ‖ checksum in base 58, with a '1' for each leading zero byte.
//! A prefix of it is one interval of numbers for each possible length of the address.

use k256::elliptic_curve::bigint::{Encoding, U256};

use super::{Reason, SPELLINGS_MAX};
use crate::{
    AddressKind, Hash160, Ranges, address,
    base58::{self, checksum},
    ranges::{HashRange, hash_of},
};

/// 58^35 exceeds 2^200.
const LENGTH_MAX: usize = 35;
const NUMBER_BYTES: usize = 25;

pub(super) fn ranges(kind: AddressKind, prefix: &str, ignore_case: bool) -> Result<Ranges, Reason> {
    let version = version_of(kind);
    if !ignore_case {
        let digits = prefix.chars().enumerate().map(|(position, character)| {
            base58::digit(character).ok_or(Reason::Character { kind, character, position: position + 1 })
        });
        let digits: Vec<u8> = digits.collect::<Result<_, _>>()?;
        return Ok(Ranges::union(ranges_of_digits(version, &digits)));
    }
    let mut spellings = vec![Vec::new()];
    for (position, character) in prefix.chars().enumerate() {
        let choices = digits_of_either_case(character);
        if choices.is_empty() {
            return Err(Reason::Character { kind, character, position: position + 1 });
        }
        spellings = longer_spellings(version, &spellings, &choices);
        if spellings.len() > SPELLINGS_MAX {
            return Err(Reason::Spellings);
        }
    }
    Ok(Ranges::union(spellings.iter().flat_map(|digits| ranges_of_digits(version, digits))))
}

fn version_of(kind: AddressKind) -> u8 {
    match kind {
        AddressKind::P2shP2wpkh => address::P2SH_VERSION,
        _ => address::P2PKH_VERSION,
    }
}

fn digits_of_either_case(character: char) -> Vec<u8> {
    let mut digits: Vec<u8> = [character.to_ascii_lowercase(), character.to_ascii_uppercase()]
        .into_iter()
        .filter_map(base58::digit)
        .collect();
    digits.dedup();
    digits
}

fn longer_spellings(version: u8, spellings: &[Vec<u8>], choices: &[u8]) -> Vec<Vec<u8>> {
    let longer = spellings.iter().flat_map(|spelling| choices.iter().map(|&digit| [spelling, &[digit][..]].concat()));
    longer.filter(|digits| !ranges_of_digits(version, digits).is_empty()).take(SPELLINGS_MAX + 1).collect()
}

fn ranges_of_digits(version: u8, digits: &[u8]) -> Vec<HashRange> {
    if digits.len() > LENGTH_MAX {
        return Vec::new();
    }
    intervals(version, digits).into_iter().filter_map(|interval| hashes_in(version, &interval)).collect()
}

/// Numbers from `low` up to and not including `end`.
struct Interval {
    low: U256,
    end: U256,
}

impl Interval {
    fn intersection(&self, other: &Self) -> Option<Self> {
        let (low, end) = (self.low.max(other.low), self.end.min(other.end));
        (low < end).then_some(Self { low, end })
    }
}

fn intervals(version: u8, digits: &[u8]) -> Vec<Interval> {
    let ones = digits.iter().take_while(|&&digit| digit == 0).count();
    let significant = &digits[ones..];
    let with_version =
        Interval { low: U256::from_u8(version).shl_vartime(192), end: U256::from_u8(version + 1).shl_vartime(192) };
    if ones >= NUMBER_BYTES {
        return Vec::new();
    }
    if significant.is_empty() {
        let zeros_at_least = Interval { low: U256::ZERO, end: bytes_below(NUMBER_BYTES - ones) };
        return zeros_at_least.intersection(&with_version).into_iter().collect();
    }
    let zeros_exactly = Interval { low: bytes_below(NUMBER_BYTES - ones - 1), end: bytes_below(NUMBER_BYTES - ones) };
    let Some(space) = zeros_exactly.intersection(&with_version) else { return Vec::new() };

    let mut low = significant
        .iter()
        .fold(U256::ZERO, |value, &digit| value.wrapping_mul(&U256::from_u8(58)).wrapping_add(&U256::from_u8(digit)));
    let mut end = low.wrapping_add(&U256::ONE);
    let mut found = Vec::new();
    while low < space.end {
        found.extend(Interval { low, end }.intersection(&space));
        low = low.wrapping_mul(&U256::from_u8(58));
        end = end.wrapping_mul(&U256::from_u8(58));
    }
    found
}

/// The first number that does not fit in so many bytes.
fn bytes_below(bytes: usize) -> U256 {
    U256::ONE.shl_vartime(8 * bytes)
}

/// Cuts an interval of hash ‖ checksum to the hashes whose own checksum falls inside.
fn hashes_in(version: u8, interval: &Interval) -> Option<HashRange> {
    let inside = |hash: Hash160| {
        let number = number_with_checksum(version, hash);
        interval.low <= number && number < interval.end
    };
    let first = hash_of(&interval.low.shr_vartime(32));
    let last = hash_of(&interval.end.wrapping_sub(&U256::ONE).shr_vartime(32));
    let low = if inside(first) { first } else { first.successor()? };
    let high = if inside(last) { last } else { last.predecessor()? };
    HashRange::new(low, high)
}

fn number_with_checksum(version: u8, hash: Hash160) -> U256 {
    let mut payload = [version; 21];
    payload[1..].copy_from_slice(&hash.0);
    let mut bytes = [0; 32];
    bytes[7..28].copy_from_slice(&payload);
    bytes[28..].copy_from_slice(&checksum(&payload));
    U256::from_be_bytes(bytes)
}
