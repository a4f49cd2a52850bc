//! What the user wants an address to look like, as exact sets of hashes.
//!
//! A prefix becomes a few ranges of 160-bit hashes, which is all that a search compares. The checksum at the end of a
//! Base58 address shifts the edges of these ranges by at most one hash, and since it is a function of the hash, even
//! the edges are decided exactly here.

mod automaton;
mod base58_prefix;
mod bech32_prefix;
mod choice;
mod ethereum_prefix;
mod filter;
mod nearest;
mod odds;

use thiserror::Error;

use crate::{AddressKind, Difficulty, Hash160, Ranges};
pub use choice::{Choice, ChoiceError};
use filter::Filter;

/// A pattern longer than any address is a mistake, not a search.
const TEXT_LENGTH_MAX: usize = 64;

/// Spellings tried for a case-insensitive pattern: 16 letters that exist in both cases.
const SPELLINGS_MAX: usize = 1 << 16;

/// What the user typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Decided by the first characters of the prefix if `None`.
    pub kind: Option<AddressKind>,
    pub prefix: String,
    pub ignore_case: bool,
    pub suffix: Option<String>,
    pub contains: Option<String>,
    pub regex: Option<String>,
}

/// A wish that some address can fulfil.
#[derive(Debug, Clone)]
pub struct Pattern {
    wish: Wish,
    kind: AddressKind,
    ranges: Ranges,
    difficulty: Difficulty,
    filters: Vec<Filter>,
    /// How many addresses with the prefix there are for each that the filters accept.
    odds: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is impossible: {reason}")]
pub struct PatternError {
    pub text: String,
    pub reason: Reason,
    /// The most similar prefix that some address has; if an option is what is impossible, the option with the most
    /// similar text.
    pub nearest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {TEXT_LENGTH_MAX} characters, longer than any address")]
    TooLong,
    #[error(
        "no address starts like this: a Bitcoin address starts with 1 (P2PKH), 3 (P2SH) or bc1q (P2WPKH), an Ethereum \
         address with 0x"
    )]
    Start,
    #[error("{kind} addresses start with {start}")]
    KindStart { kind: AddressKind, start: &'static str },
    #[error("bc1p is a Taproot address, which this program does not search")]
    Taproot,
    #[error("{kind} addresses never contain '{character}' (character {position})")]
    Character { kind: AddressKind, character: char, position: usize },
    #[error("a bech32 address is all lower case or all upper case")]
    MixedCase,
    #[error("no {kind} address starts with it; the longest beginning that exists is {possible:?}")]
    Unreachable { kind: AddressKind, possible: String },
    #[error("it has more than {SPELLINGS_MAX} spellings when case is ignored")]
    Spellings,
    #[error("the regular expression is not valid: {0}")]
    Regex(String),
    #[error("{0} is given but empty")]
    EmptyFilter(&'static str),
    #[error("no {kind} address that starts with it passes {option} {text:?}")]
    Never { kind: AddressKind, option: &'static str, text: String },
    #[error("no {kind} address that starts with it passes all that is asked of it")]
    NeverTogether { kind: AddressKind },
    #[error("what is asked of it is so complicated that nobody can say how rare it is")]
    Complicated,
}

impl Pattern {
    /// A plain, case-sensitive prefix.
    pub fn parse(prefix: &str) -> Result<Self, PatternError> {
        Self::new(Wish { prefix: prefix.to_owned(), ..Wish::default() })
    }

    pub fn new(wish: Wish) -> Result<Self, PatternError> {
        let error = |reason, nearest| PatternError { text: wish.prefix.clone(), reason, nearest };
        if wish.prefix.is_empty() {
            return Err(error(Reason::Empty, None));
        }
        if wish.prefix.len() > TEXT_LENGTH_MAX {
            return Err(error(Reason::TooLong, None));
        }
        let kind = kind_of(&wish).map_err(|reason| {
            let near = wish
                .kind
                .map_or_else(|| nearest::to_unknown_kind(&wish.prefix), |kind| nearest::to(kind, &wish.prefix));
            error(reason, near)
        })?;
        let ranges = ranges_of(kind, &wish.prefix, wish.ignore_case)
            .map_err(|reason| error(reason, nearest::to(kind, &wish.prefix)))?;
        let unreachable = || Reason::Unreachable { kind, possible: nearest::longest_beginning(kind, &wish.prefix) };
        let difficulty = Difficulty::of_disjoint([(&ranges, case_bits(kind, &wish))])
            .ok_or_else(|| error(unreachable(), nearest::to(kind, &wish.prefix)))?;
        let (filters, odds) = filter::all_of(&wish, kind)?;
        Ok(Self { kind, ranges, difficulty, filters, odds, wish })
    }

    pub fn kind(&self) -> AddressKind {
        self.kind
    }

    /// The prefix as it was typed.
    pub fn text(&self) -> &str {
        &self.wish.prefix
    }

    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Every hash whose address has the prefix, whatever the filters say.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Exact difficulty of the prefix (for Ethereum with the wanted case); filters come on top.
    pub fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// Expected number of candidates, filters included. Estimated as soon as there is a filter.
    pub fn expected_candidates(&self) -> f64 {
        self.difficulty.candidates() * self.odds
    }

    /// Whether every address that fulfils `narrower` fulfils this one, of which it differs in its prefix alone.
    fn covers(&self, narrower: &Self) -> bool {
        let has_its_case = self.case_bits() == 0 || narrower.text().starts_with(self.text());
        has_its_case && narrower.ranges.is_within(&self.ranges)
    }

    fn case_bits(&self) -> u32 {
        case_bits(self.kind, &self.wish)
    }

    /// Whether [`Self::expected_candidates`] is exact: no filter is estimated.
    pub fn is_exact(&self) -> bool {
        self.filters.iter().all(|filter| matches!(filter, Filter::Case(_)))
    }

    pub fn matches(&self, hash: Hash160) -> bool {
        self.ranges.contains(hash) && self.filters_accept(hash)
    }

    /// The slow part of [`Self::matches`]: writes the address out.
    pub fn filters_accept(&self, hash: Hash160) -> bool {
        self.filters.is_empty() || {
            let address = self.kind.encode(hash);
            self.filters.iter().all(|filter| filter.accepts(&address))
        }
    }
}

fn kind_of(wish: &Wish) -> Result<AddressKind, Reason> {
    let text = wish.prefix.as_str();
    let lower = text.to_ascii_lowercase();
    let kind = match wish.kind {
        Some(kind) => kind,
        None if text.starts_with('1') => AddressKind::P2pkh,
        None if text.starts_with('3') => AddressKind::P2shP2wpkh,
        None if lower.starts_with("bc1p") => return Err(Reason::Taproot),
        None if starts_alike(&lower, "bc1q") => AddressKind::P2wpkh,
        None if starts_alike(&lower, "0x") && text.len() > 1 => AddressKind::Ethereum,
        None => return Err(Reason::Start),
    };
    let start = start_of(kind);
    match kind {
        AddressKind::P2wpkh if lower.starts_with("bc1p") => Err(Reason::Taproot),
        _ if starts_alike(&lower, start) => Ok(kind),
        _ => Err(Reason::KindStart { kind, start }),
    }
}

/// One is the beginning of the other.
fn starts_alike(text: &str, start: &str) -> bool {
    text.starts_with(start) || start.starts_with(text)
}

/// What every address of the kind starts with.
fn start_of(kind: AddressKind) -> &'static str {
    match kind {
        AddressKind::P2pkh => "1",
        AddressKind::P2shP2wpkh => "3",
        AddressKind::P2wpkh => "bc1q",
        AddressKind::Ethereum => "0x",
    }
}

/// Exact ranges of a prefix: empty when its letters are fine but no address has it.
fn ranges_of(kind: AddressKind, prefix: &str, ignore_case: bool) -> Result<Ranges, Reason> {
    match kind {
        AddressKind::P2pkh | AddressKind::P2shP2wpkh => base58_prefix::ranges(kind, prefix, ignore_case),
        AddressKind::P2wpkh => bech32_prefix::ranges(prefix),
        AddressKind::Ethereum => ethereum_prefix::ranges(prefix),
    }
}

/// EIP-55 gives each letter a case at random: one bit per letter whose case matters.
fn case_bits(kind: AddressKind, wish: &Wish) -> u32 {
    match kind {
        AddressKind::Ethereum if !wish.ignore_case => ethereum_prefix::letters(&wish.prefix),
        _ => 0,
    }
}
