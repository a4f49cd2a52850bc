//! Several prefixes, with the rest of the wish in common: an address with any of them will do.

use super::{Pattern, PatternError, Wish};
use crate::{AddressKind, Difficulty, Hash160, Ranges};

#[derive(Debug, Clone)]
pub struct Choice {
    patterns: Vec<Pattern>,
    kind: AddressKind,
    ranges: Ranges,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error(transparent)]
    Pattern(PatternError),
    #[error("there is nothing to choose from")]
    Empty,
    #[error("{0} is a {1} pattern and {2} a {3} one: one search looks for one kind")]
    Kinds(String, AddressKind, String, AddressKind),
}

impl Choice {
    /// `common` is everything that is wanted but the prefix.
    pub fn new(common: &Wish, prefixes: &[String]) -> Result<Self, ChoiceError> {
        let pattern = |prefix: &String| Pattern::new(Wish { prefix: prefix.clone(), ..common.clone() });
        let patterns: Vec<Pattern> =
            prefixes.iter().map(pattern).collect::<Result<_, _>>().map_err(ChoiceError::Pattern)?;
        let first = patterns.first().ok_or(ChoiceError::Empty)?;
        let kind = first.kind();
        if let Some(other) = patterns.iter().find(|pattern| pattern.kind() != kind) {
            let [one, two] = [first, other].map(|pattern| pattern.text().to_owned());
            return Err(ChoiceError::Kinds(one, kind, two, other.kind()));
        }
        let ranges = Ranges::union(patterns.iter().flat_map(|pattern| pattern.ranges().as_slice()).copied());
        Ok(Self { patterns, kind, ranges })
    }

    pub fn kind(&self) -> AddressKind {
        self.kind
    }

    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Every hash whose address has one of the prefixes, whatever the filters say.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// The first pattern that this hash fulfils.
    pub fn fulfilled_by(&self, hash: Hash160) -> Option<&Pattern> {
        self.patterns.iter().find(|pattern| pattern.matches(hash))
    }

    /// Exact difficulty of all prefixes together (for Ethereum with the wanted case); filters come on top.
    pub fn difficulty(&self) -> Difficulty {
        let parts = self.apart().map(|pattern| (pattern.ranges(), pattern.case_bits()));
        Difficulty::of_disjoint(parts).expect("no pattern is impossible")
    }

    /// Expected number of candidates until the first find, filters included.
    pub fn expected_candidates(&self) -> f64 {
        match self.is_exact() {
            true => self.difficulty().candidates(),
            false => 1.0 / self.apart().map(|pattern| 1.0 / pattern.expected_candidates()).sum::<f64>(),
        }
    }

    /// Whether [`Self::expected_candidates`] is exact: no filter is estimated.
    pub fn is_exact(&self) -> bool {
        self.patterns.iter().all(Pattern::is_exact)
    }

    /// Without those that another one covers. What is left has no address in common: of two prefixes one begins with
    /// the other, or nothing begins with both.
    fn apart(&self) -> impl Iterator<Item = &Pattern> {
        let others = |place: usize| self.patterns.iter().enumerate().filter(move |(other, _)| *other != place);
        self.patterns.iter().enumerate().filter_map(move |(place, pattern)| {
            // Of equals the first one stays.
            let covered =
                others(place).any(|(other, wider)| wider.covers(pattern) && (other < place || !pattern.covers(wider)));
            (!covered).then_some(pattern)
        })
    }
}
