//! Wishes that only the written address can answer: suffix, substring, regular expression, EIP-55 case.
//!
//! They need the checksum and the conversion to text, a microsecond or so, and are asked only about hashes that the
//! prefix has already let through.

use regex_lite::{Regex, RegexBuilder};
use sha2::{Digest, Sha256};

use super::{Pattern, Reason, Wish};
use crate::{AddressKind, Hash160, base58, bech32};

/// Enough to see a filter that lets one address in a few thousand through.
const SAMPLES: u32 = 20_000;

#[derive(Debug, Clone)]
pub(crate) enum Filter {
    /// The prefix exactly as typed, for Ethereum, whose ranges do not know case.
    Case(String),
    Suffix {
        text: String,
        ignore_case: bool,
        odds: f64,
    },
    Contains {
        text: String,
        ignore_case: bool,
    },
    Regex(Regex),
}

impl Filter {
    pub(super) fn all_of(wish: &Wish, kind: AddressKind) -> Result<Vec<Self>, Reason> {
        let ignore_case = wish.ignore_case;
        let mut filters = Vec::new();
        if kind == AddressKind::Ethereum && !ignore_case && super::ethereum_prefix::letters(&wish.prefix) > 0 {
            filters.push(Self::Case(wish.prefix.clone()));
        }
        if let Some(text) = &wish.suffix {
            let text = checked_text("--suffix", text, kind, ignore_case)?;
            let odds = text.chars().map(|character| odds_of_character(character, kind, ignore_case)).product();
            filters.push(Self::Suffix { text, ignore_case, odds });
        }
        if let Some(text) = &wish.contains {
            filters.push(Self::Contains { text: checked_text("--contains", text, kind, ignore_case)?, ignore_case });
        }
        if let Some(text) = &wish.regex {
            let regex = RegexBuilder::new(text).case_insensitive(ignore_case).build();
            filters.push(Self::Regex(regex.map_err(|error| Reason::Regex(error.to_string()))?));
        }
        Ok(filters)
    }

    pub(super) fn accepts(&self, address: &str) -> bool {
        match self {
            Self::Case(prefix) => address.starts_with(prefix.as_str()),
            Self::Suffix { text, ignore_case: false, .. } => address.ends_with(text.as_str()),
            Self::Suffix { text, .. } => address.to_ascii_lowercase().ends_with(text.as_str()),
            Self::Contains { text, ignore_case: false } => address.contains(text.as_str()),
            Self::Contains { text, .. } => address.to_ascii_lowercase().contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(address),
        }
    }

    /// How many addresses with the prefix there are for each that this filter accepts.
    pub(super) fn odds(&self, pattern: &Pattern) -> f64 {
        match self {
            // Already part of the pattern's exact difficulty.
            Self::Case(_) => 1.0,
            Self::Suffix { odds, .. } => *odds,
            Self::Contains { .. } | Self::Regex(_) => self.sampled_odds(pattern),
        }
    }

    /// Infinite if none of the samples passes: then nobody can say how long it takes.
    fn sampled_odds(&self, pattern: &Pattern) -> f64 {
        let accepted = (0..SAMPLES).filter(|&number| self.accepts(&pattern.kind().encode(sample(pattern, number))));
        f64::from(SAMPLES) / accepted.count() as f64
    }
}

/// A hash of the widest range that looks random: its leading bits are kept, the rest comes from a counter.
fn sample(pattern: &Pattern, number: u32) -> Hash160 {
    let widest = pattern.ranges().as_slice().iter().max_by_key(|range| {
        let bytes = range.high.0.iter().zip(range.low.0).map(|(high, low)| i16::from(*high) - i16::from(low));
        bytes.collect::<Vec<_>>()
    });
    let range = widest.expect("a pattern matches something");
    let shared = range.low.0.iter().zip(range.high.0).take_while(|(low, high)| **low == *high).count();
    for attempt in 0u32.. {
        let digest = Sha256::new().chain_update(number.to_be_bytes()).chain_update(attempt.to_be_bytes()).finalize();
        let mut hash = range.low;
        hash.0[shared..].copy_from_slice(&digest[..20 - shared]);
        if range.contains(hash) {
            return hash;
        }
        if attempt == 2_000 {
            break;
        }
    }
    range.low
}

fn checked_text(name: &'static str, text: &str, kind: AddressKind, ignore_case: bool) -> Result<String, Reason> {
    if text.is_empty() {
        return Err(Reason::EmptyFilter(name));
    }
    for (position, character) in text.chars().enumerate() {
        if odds_of_character(character, kind, ignore_case).is_infinite() {
            return Err(Reason::Character { kind, character, position: position + 1 });
        }
    }
    Ok(if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() })
}

/// One over the share of the alphabet that shows as this character.
fn odds_of_character(character: char, kind: AddressKind, ignore_case: bool) -> f64 {
    let both = [character.to_ascii_lowercase(), character.to_ascii_uppercase()];
    let cases = if both[0] == both[1] || !ignore_case { 1 } else { 2 };
    let spellings = if ignore_case { &both[..cases] } else { &[character][..] };
    let known = |known: &dyn Fn(char) -> bool| spellings.iter().filter(|&&spelling| known(spelling)).count() as f64;
    match kind {
        AddressKind::P2pkh | AddressKind::P2shP2wpkh => 58.0 / known(&|letter| base58::digit(letter).is_some()),
        AddressKind::P2wpkh => 32.0 / known(&|letter| bech32::digit(letter).is_some()),
        AddressKind::Ethereum if !character.is_ascii_hexdigit() => f64::INFINITY,
        AddressKind::Ethereum if character.is_ascii_alphabetic() && !ignore_case => 32.0,
        AddressKind::Ethereum => 16.0,
    }
}
