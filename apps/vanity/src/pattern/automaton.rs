//! A wish about letters anywhere in an address, as an automaton that reads the address once.

use std::error::Error as _;

use regex_automata::{
    Input,
    dfa::{Automaton as _, dense},
    nfa::thompson,
    util::{primitives::StateID, syntax},
};

use super::Reason;

/// A strange regular expression can need more states than there is memory; what people type needs a few kilobytes.
const BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Automaton(Box<dense::DFA<Vec<u32>>>);

/// How far an automaton has come in an address. Once it has seen what it looks for, the rest does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Accepted,
    At(StateID),
}

impl Automaton {
    /// Of a regular expression over single bytes, as addresses are written in nothing else.
    pub(super) fn new(regex: &str, ignore_case: bool) -> Result<Self, Reason> {
        let nfa = thompson::Compiler::new()
            .syntax(syntax::Config::new().unicode(false).utf8(false).case_insensitive(ignore_case))
            .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(BYTES_MAX)))
            .build(regex)
            .map_err(|error| match error.size_limit() {
                Some(_) => Reason::Complicated,
                // The cause alone names what is wrong with the text.
                None => Reason::Regex(error.source().map_or_else(|| error.to_string(), ToString::to_string)),
            })?;
        let limits = dense::Config::new().dfa_size_limit(Some(BYTES_MAX)).determinize_size_limit(Some(BYTES_MAX));
        let built = dense::Builder::new().configure(limits).build_from_nfa(&nfa);
        built.map(|automaton| Self(Box::new(automaton))).map_err(|error| match error.is_size_limit_exceeded() {
            true => Reason::Complicated,
            false => Reason::Regex(error.to_string()),
        })
    }

    pub(super) fn accepts(&self, address: &str) -> bool {
        let found = self.0.try_search_fwd(&Input::new(address).earliest(true));
        found.expect("without Unicode no byte stops it").is_some()
    }

    pub(super) fn start(&self) -> Place {
        let state = self.0.start_state_forward(&Input::new("")).expect("without Unicode no byte stops it");
        self.place(state).expect("what matches nothing is never built")
    }

    /// `None` if nothing that follows can be accepted.
    pub(super) fn after(&self, place: Place, byte: u8) -> Option<Place> {
        match place {
            Place::Accepted => Some(Place::Accepted),
            Place::At(state) => self.place(self.0.next_state(state, byte)),
        }
    }

    pub(super) fn is_accepted_at_end(&self, place: Place) -> bool {
        match place {
            Place::Accepted => true,
            Place::At(state) => self.0.is_match_state(self.0.next_eoi_state(state)),
        }
    }

    fn place(&self, state: StateID) -> Option<Place> {
        match () {
            () if self.0.is_match_state(state) => Some(Place::Accepted),
            () if self.0.is_dead_state(state) => None,
            () => Some(Place::At(state)),
        }
    }
}
