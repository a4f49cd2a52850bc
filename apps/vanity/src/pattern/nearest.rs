//! The most similar prefix that exists, to offer instead of an impossible one.

use super::{ranges_of, start_of};
use crate::{AddressKind, base58, bech32};

/// For a prefix of a known kind: keeps what can be kept and replaces each character that cannot.
pub(super) fn to(kind: AddressKind, text: &str) -> Option<String> {
    let start = start_of(kind);
    let mut nearest = start.to_owned();
    for wanted in without_start(kind, text).chars() {
        match alternatives(kind, wanted).find(|&character| exists(kind, &format!("{nearest}{character}"))) {
            Some(character) => nearest.push(character),
            None => break,
        }
    }
    (nearest != text).then_some(nearest)
}

/// For a text that starts like no address: the same letters as a P2PKH address.
pub(super) fn to_unknown_kind(text: &str) -> Option<String> {
    if text.to_ascii_lowercase().starts_with("bc1") {
        let rest: String = text.chars().skip(4).collect();
        let version_0 = format!("bc1q{rest}");
        return to(AddressKind::P2wpkh, &version_0).or(Some(version_0));
    }
    let prefixed = format!("1{text}");
    to(AddressKind::P2pkh, &prefixed).or(Some(prefixed))
}

/// The same text with a look-alike, or the other case, for each character that does not exist.
pub(super) fn to_letters(text: &str, is_letter: impl Fn(char) -> bool) -> Option<String> {
    let letter = |wanted: char| {
        let alike = [wanted, swapped(wanted)].into_iter().chain(look_alike(wanted));
        // A look-alike may look like another one: O, o, 0.
        alike.flat_map(|one| [one].into_iter().chain(look_alike(one))).find(|&character| is_letter(character))
    };
    text.chars().map(letter).collect()
}

pub(super) fn longest_beginning(kind: AddressKind, text: &str) -> String {
    let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
    let possible = ends.map(|end| &text[..end]).take_while(|beginning| exists(kind, beginning));
    possible.last().unwrap_or_default().to_owned()
}

fn exists(kind: AddressKind, prefix: &str) -> bool {
    ranges_of(kind, prefix, false).is_ok_and(|ranges| !ranges.is_empty())
}

/// What the user meant to follow the fixed start, whether or not it was typed.
fn without_start(kind: AddressKind, text: &str) -> &str {
    let start = start_of(kind);
    let shared = text.chars().zip(start.chars()).take_while(|(typed, fixed)| typed.eq_ignore_ascii_case(fixed)).count();
    &text[shared..]
}

/// The character itself, its other case, its look-alike, then the rest of the alphabet by distance.
fn alternatives(kind: AddressKind, wanted: char) -> impl Iterator<Item = char> {
    let alphabet: &[u8] = match kind {
        AddressKind::P2pkh | AddressKind::P2shP2wpkh => base58::ALPHABET,
        AddressKind::P2wpkh => b"023456789acdefghjklmnpqrstuvwxyz",
        AddressKind::Ethereum => b"0123456789abcdef",
    };
    debug_assert!(kind != AddressKind::P2wpkh || alphabet.iter().all(|byte| bech32::ALPHABET.contains(byte)));
    let mut others: Vec<char> = alphabet.iter().map(|&byte| char::from(byte)).collect();
    others.sort_by_key(|&other| u32::from(other).abs_diff(u32::from(wanted)));
    [wanted, swapped(wanted)].into_iter().chain(look_alike(wanted)).chain(others)
}

fn swapped(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}

fn look_alike(wanted: char) -> Option<char> {
    match wanted {
        '0' | 'O' => Some('o'),
        'I' | '1' => Some('i'),
        'l' | 'i' => Some('L'),
        'o' => Some('0'),
        'b' => Some('6'),
        _ => None,
    }
}
