//! Prefixes of P2WPKH addresses: five bits of hash per character after `bc1q`.

use super::Reason;
use crate::{AddressKind, Hash160, Ranges, bech32, ranges::HashRange};

const KIND: AddressKind = AddressKind::P2wpkh;
const START: &str = "bc1q";
const PROGRAM_SYMBOLS: usize = 32;

pub(super) fn ranges(prefix: &str) -> Result<Ranges, Reason> {
    let lower = prefix.to_ascii_lowercase();
    if prefix != lower && prefix != prefix.to_ascii_uppercase() {
        return Err(Reason::MixedCase);
    }
    let Some(rest) = lower.strip_prefix(START) else { return Ok(Ranges::everything()) };
    let symbols = rest.chars().enumerate().map(|(position, character)| {
        let position = START.len() + position + 1;
        bech32::digit(character).ok_or(Reason::Character { kind: KIND, character, position })
    });
    let symbols: Vec<u8> = symbols.collect::<Result<_, _>>()?;
    let program = &symbols[..symbols.len().min(PROGRAM_SYMBOLS)];
    let range = HashRange { low: filled(program, false), high: filled(program, true) };
    // Past the program come the six characters of the checksum, which one hash either has or has not.
    let exists = symbols.len() <= PROGRAM_SYMBOLS || KIND.encode(range.low).starts_with(&lower);
    Ok(Ranges::union(exists.then_some(range)))
}

/// The symbols, then zeros or ones.
fn filled(symbols: &[u8], ones: bool) -> Hash160 {
    let mut hash = if ones { Hash160::MAX } else { Hash160::MIN };
    for (position, symbol) in symbols.iter().enumerate() {
        for bit in 0..5 {
            let at = 5 * position + bit;
            let mask = 0x80 >> (at % 8);
            let set = symbol >> (4 - bit) & 1 == 1;
            hash.0[at / 8] = if set { hash.0[at / 8] | mask } else { hash.0[at / 8] & !mask };
        }
    }
    hash
}
