//! How rare it is that the letters after a prefix fulfil the rest of a wish, were they as random as they look.
//!
//! All automata read one address of which every letter is possible: what is carried along is how likely each combination
//! of their states is. Nothing is sampled, so what comes out as zero can never be.

use std::collections::HashMap;

use super::{
    automaton::{Automaton, Place},
    ranges_of, start_of,
};
use crate::{AddressKind, Difficulty, base58, bech32};

/// Combinations of states carried along at once; a text to be found has as many as it has letters.
const COMBINATIONS_MAX: usize = 1 << 10;

/// More combinations of states than anybody should wait for.
#[derive(Debug)]
pub(super) struct TooComplicated;

/// What is known of an address: how it starts.
pub(super) struct Beginning {
    kind: AddressKind,
    ignore_case: bool,
    text: String,
}

impl Beginning {
    pub(super) fn new(kind: AddressKind, prefix: &str, ignore_case: bool) -> Self {
        let written = match kind {
            AddressKind::P2wpkh => prefix.to_ascii_lowercase(),
            _ if ignore_case => prefix.to_ascii_lowercase(),
            AddressKind::P2pkh | AddressKind::P2shP2wpkh | AddressKind::Ethereum => prefix.to_owned(),
        };
        let start = start_of(kind);
        Self { kind, ignore_case, text: if written.len() < start.len() { start.to_owned() } else { written } }
    }

    /// The share of all addresses with this beginning that every automaton accepts; zero only if there are none.
    pub(super) fn share_accepted(&self, automata: &[&Automaton]) -> Result<f64, TooComplicated> {
        if automata.is_empty() {
            return Ok(1.0);
        }
        let usual = self.share_of_length(automata, self.usual_length())?;
        if usual > 0.0 {
            return Ok(usual);
        }
        self.other_lengths()
            .into_iter()
            .try_fold(0.0, |most: f64, length| Ok(most.max(self.share_of_length(automata, length)?)))
    }

    fn share_of_length(&self, automata: &[&Automaton], length: usize) -> Result<f64, TooComplicated> {
        let Some(free) = length.checked_sub(self.text.len()) else { return Ok(0.0) };
        let start: Vec<Place> = automata.iter().map(|automaton| automaton.start()).collect();
        let start = self.text.bytes().try_fold(start, |places, byte| all_after(automata, &places, byte));
        let mut shares: HashMap<Vec<Place>, f64> = start.map(|places| (places, 1.0)).into_iter().collect();
        let (letters, mut next) = (self.letters(), self.letters_after_the_beginning());
        for _ in 0..free {
            let mut following = HashMap::new();
            for (places, share) in &shares {
                for (letter, likely) in &next {
                    if let Some(places) = all_after(automata, places, *letter) {
                        *following.entry(places).or_insert(0.0) += share * likely;
                    }
                }
            }
            if following.len() > COMBINATIONS_MAX {
                return Err(TooComplicated);
            }
            shares = following;
            next.clone_from(&letters);
        }
        let is_accepted = |places: &[Place]| {
            automata.iter().zip(places).all(|(automaton, place)| automaton.is_accepted_at_end(*place))
        };
        Ok(shares.iter().filter(|(places, _)| is_accepted(places)).map(|(_, share)| share).sum())
    }

    /// Each letter that addresses show, and how often. Where case is ignored, small letters stand for both.
    fn letters(&self) -> Vec<(u8, f64)> {
        let of_case = |letter: u8| if self.ignore_case { letter.to_ascii_lowercase() } else { letter };
        let alphabet: Vec<(u8, f64)> = match self.kind {
            AddressKind::P2pkh | AddressKind::P2shP2wpkh => base58::ALPHABET.map(|letter| (letter, 1.0 / 58.0)).into(),
            AddressKind::P2wpkh => bech32::ALPHABET.map(|letter| (letter, 1.0 / 32.0)).into(),
            AddressKind::Ethereum => {
                let digits = (b'0'..=b'9').map(|digit| (digit, 1.0 / 16.0));
                let letters = (b'a'..=b'f').flat_map(|letter| [letter, letter.to_ascii_uppercase()]);
                digits.chain(letters.map(|letter| (letter, 1.0 / 32.0))).collect()
            }
        };
        let mut letters: Vec<(u8, f64)> = Vec::new();
        for (letter, likely) in alphabet {
            match letters.iter_mut().find(|(known, _)| *known == of_case(letter)) {
                Some((_, sum)) => *sum += likely,
                None => letters.push((of_case(letter), likely)),
            }
        }
        letters
    }

    /// The letter after the beginning, exactly: in Base58 the first of a number is far from random.
    fn letters_after_the_beginning(&self) -> Vec<(u8, f64)> {
        let letters = self.letters();
        if !self.is_base58() {
            return letters;
        }
        let difficulty = |text: &str| Difficulty::of(&ranges_of(self.kind, text, self.ignore_case).ok()?);
        let Some(beginning) = difficulty(&self.text) else { return letters };
        let share = |letter: u8| {
            let longer = difficulty(&format!("{}{}", self.text, char::from(letter)))?;
            Some((letter, beginning.candidates() / longer.candidates()))
        };
        let known: Vec<(u8, f64)> = letters.iter().filter_map(|(letter, _)| share(*letter)).collect();
        if known.is_empty() { letters } else { known }
    }

    fn is_base58(&self) -> bool {
        matches!(self.kind, AddressKind::P2pkh | AddressKind::P2shP2wpkh)
    }

    /// Each 1 at the start stands for a byte, and the bytes after them for one letter in 5.86 bits.
    fn usual_length(&self) -> usize {
        const BYTES: usize = 25;
        match self.kind {
            AddressKind::P2pkh => {
                let ones = self.text.bytes().take_while(|byte| *byte == b'1').count().min(BYTES);
                ones + (8.0 * (BYTES - ones) as f64 / 58_f64.log2()).ceil() as usize
            }
            AddressKind::P2shP2wpkh => 34,
            AddressKind::P2wpkh | AddressKind::Ethereum => 42,
        }
    }

    fn other_lengths(&self) -> Vec<usize> {
        if self.is_base58() { (25..=35).rev().collect() } else { Vec::new() }
    }
}

fn all_after(automata: &[&Automaton], places: &[Place], byte: u8) -> Option<Vec<Place>> {
    automata.iter().zip(places).map(|(automaton, place)| automaton.after(*place, byte)).collect()
}
