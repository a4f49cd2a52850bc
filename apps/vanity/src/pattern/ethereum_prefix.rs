//! Prefixes of Ethereum addresses: four bits per character. The case of letters is a filter, not a range.

use super::Reason;
use crate::{AddressKind, Hash160, Ranges, ranges::HashRange};

const KIND: AddressKind = AddressKind::Ethereum;
const START: &str = "0x";
const NIBBLES: usize = 40;

pub(super) fn ranges(prefix: &str) -> Result<Ranges, Reason> {
    let Some(rest) = prefix.strip_prefix(START) else {
        let character = prefix.chars().find(|character| !START.contains(*character)).unwrap_or('X');
        return Err(Reason::Character { kind: KIND, character, position: prefix.find(character).unwrap_or(0) + 1 });
    };
    let nibbles = rest.chars().enumerate().map(|(position, character)| {
        let position = START.len() + position + 1;
        character.to_digit(16).ok_or(Reason::Character { kind: KIND, character, position })
    });
    let nibbles: Vec<u32> = nibbles.collect::<Result<_, _>>()?;
    let fits = nibbles.len() <= NIBBLES;
    let range = fits.then(|| HashRange { low: filled(&nibbles, 0), high: filled(&nibbles, 15) });
    Ok(Ranges::union(range))
}

pub(super) fn letters(prefix: &str) -> u32 {
    prefix.chars().skip(START.len()).filter(char::is_ascii_alphabetic).count() as u32
}

fn filled(nibbles: &[u32], rest: u32) -> Hash160 {
    let nibble = |position: usize| *nibbles.get(position).unwrap_or(&rest) as u8;
    Hash160(std::array::from_fn(|byte| nibble(2 * byte) << 4 | nibble(2 * byte + 1)))
}
