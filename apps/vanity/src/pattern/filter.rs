//! Wishes that only the written address can answer: suffix, substring, regular expression, EIP-55 case.
//!
//! They need the checksum and the conversion to text, a microsecond or so, and are asked only about hashes that the
//! prefix has already let through.

use super::{
    PatternError, Reason, Wish,
    automaton::Automaton,
    nearest,
    odds::{Beginning, TooComplicated},
};
use crate::{AddressKind, base58, bech32};

#[derive(Debug, Clone)]
pub(super) enum Filter {
    /// The prefix exactly as typed, for Ethereum, whose ranges do not know case.
    Case(String),
    Letters(Automaton),
}

/// An option that asks for letters, with what it asks for.
struct Request<'wish> {
    option: &'static str,
    text: &'wish str,
}

impl Filter {
    pub(super) fn accepts(&self, address: &str) -> bool {
        match self {
            Self::Case(prefix) => address.starts_with(prefix.as_str()),
            Self::Letters(automaton) => automaton.accepts(address),
        }
    }
}

/// The filters of a wish, and how many addresses with its prefix there are for each that they accept.
pub(super) fn all_of(wish: &Wish, kind: AddressKind) -> Result<(Vec<Filter>, f64), PatternError> {
    let requests = [("--suffix", &wish.suffix), ("--contains", &wish.contains), ("--regex", &wish.regex)];
    let requests: Vec<Request> =
        requests.iter().filter_map(|(option, text)| Some(Request { option, text: text.as_deref()? })).collect();
    let automata: Vec<Automaton> =
        requests.iter().map(|request| request.automaton(kind, wish.ignore_case)).collect::<Result<_, _>>()?;
    let beginning = Beginning::new(kind, &wish.prefix, wish.ignore_case);
    let share = |automata: &[&Automaton]| {
        beginning.share_accepted(automata).map_err(|TooComplicated| PatternError {
            text: wish.prefix.clone(),
            reason: Reason::Complicated,
            nearest: None,
        })
    };
    for (request, automaton) in requests.iter().zip(&automata) {
        if share(&[automaton])? == 0.0 {
            let nearest = request.nearest_that(kind, wish.ignore_case, |automaton| {
                beginning.share_accepted(&[automaton]).is_ok_and(|share| share > 0.0)
            });
            let reason = Reason::Never { kind, option: request.option, text: request.text.to_owned() };
            return Err(PatternError { text: wish.prefix.clone(), reason, nearest });
        }
    }
    let together = share(&automata.iter().collect::<Vec<_>>())?;
    if together == 0.0 {
        let reason = Reason::NeverTogether { kind };
        return Err(PatternError { text: wish.prefix.clone(), reason, nearest: None });
    }
    let is_case_wanted = kind == AddressKind::Ethereum && !wish.ignore_case;
    let case = (is_case_wanted && super::ethereum_prefix::letters(&wish.prefix) > 0)
        .then(|| Filter::Case(wish.prefix.clone()));
    Ok((case.into_iter().chain(automata.into_iter().map(Filter::Letters)).collect(), 1.0 / together))
}

impl Request<'_> {
    fn automaton(&self, kind: AddressKind, ignore_case: bool) -> Result<Automaton, PatternError> {
        let error = |reason, nearest| PatternError { text: self.text.to_owned(), reason, nearest };
        if self.text.is_empty() {
            return Err(error(Reason::EmptyFilter(self.option), None));
        }
        let regex = match self.option {
            "--regex" => self.text.to_owned(),
            _ => {
                check_letters(self.text, kind, ignore_case).map_err(|reason| {
                    let nearest = nearest::to_letters(self.text, |letter| is_letter(letter, kind, ignore_case));
                    error(reason, nearest.map(|text| self.with(&text)))
                })?;
                self.regex_of(self.text)
            }
        };
        Automaton::new(&regex, ignore_case).map_err(|reason| error(reason, None))
    }

    /// Letters and digits mean themselves in a regular expression.
    fn regex_of(&self, letters: &str) -> String {
        if self.option == "--suffix" { format!("{letters}$") } else { letters.to_owned() }
    }

    /// The longest part of the text that is possible: a suffix loses its first letters, another text its last.
    fn nearest_that(
        &self,
        kind: AddressKind,
        ignore_case: bool,
        is_possible: impl Fn(&Automaton) -> bool,
    ) -> Option<String> {
        if self.option == "--regex" {
            return None;
        }
        let parts = (1..self.text.len()).map(|cut| match self.option {
            "--suffix" => &self.text[cut..],
            _ => &self.text[..self.text.len() - cut],
        });
        let mut possible = parts.filter(|part| {
            let request = Request { option: self.option, text: part };
            request.automaton(kind, ignore_case).is_ok_and(|automaton| is_possible(&automaton))
        });
        possible.next().map(|part| self.with(part))
    }

    fn with(&self, text: &str) -> String {
        format!("{} {text}", self.option)
    }
}

fn check_letters(text: &str, kind: AddressKind, ignore_case: bool) -> Result<(), Reason> {
    match text.chars().enumerate().find(|(_, character)| !is_letter(*character, kind, ignore_case)) {
        Some((position, character)) => Err(Reason::Character { kind, character, position: position + 1 }),
        None => Ok(()),
    }
}

/// Whether addresses of the kind show this character.
fn is_letter(character: char, kind: AddressKind, ignore_case: bool) -> bool {
    let is_shown = |character: char| match kind {
        AddressKind::P2pkh | AddressKind::P2shP2wpkh => base58::digit(character).is_some(),
        AddressKind::P2wpkh => bech32::digit(character).is_some(),
        AddressKind::Ethereum => character.is_ascii_hexdigit(),
    };
    is_shown(character)
        || ignore_case && (is_shown(character.to_ascii_lowercase()) || is_shown(character.to_ascii_uppercase()))
}
