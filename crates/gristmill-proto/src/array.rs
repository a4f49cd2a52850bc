//! Arrays: one job for every combination of some values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Names in one array.
pub const NAMES_MAX: usize = 16;
/// Longest file whose lines are values.
pub const LINES_BYTES_MAX: u64 = 64 << 20;

/// What a name stands for, one value a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    List(Vec<String>),
    Range(Range),
    Lines(Lines),
}

/// `from`, `from + step`, and so on, up to and with `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub from: i64,
    pub to: i64,
    #[serde(default = "one")]
    pub step: i64,
}

fn one() -> i64 {
    1
}

/// The lines of a file that is a blob of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// The blob.
    pub file: Digest,
    pub count: u64,
}

/// One value of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Number(i64),
    /// The line of this number, counted from 0.
    Line(Digest, u64),
}

impl Values {
    /// How many there are.
    pub fn count(&self) -> u64 {
        match self {
            Self::List(list) => list.len() as u64,
            Self::Range(Range { from, to, step }) => {
                let (span, step) = (i128::from(*to) - i128::from(*from), i128::from(*step));
                if step == 0 || span.signum() * step.signum() < 0 {
                    return 0;
                }
                u64::try_from(span / step).map_or(u64::MAX, |steps| steps.saturating_add(1))
            }
            Self::Lines(lines) => lines.count,
        }
    }

    fn get(&self, index: u64) -> Value<'_> {
        match self {
            Self::List(list) => Value::Text(usize::try_from(index).ok().and_then(|i| list.get(i)).map_or("", |v| v)),
            Self::Range(range) => {
                let value = i128::from(range.from) + i128::from(range.step) * i128::from(index);
                Value::Number(i64::try_from(value).unwrap_or(range.to))
            }
            Self::Lines(lines) => Value::Line(lines.file, index),
        }
    }

    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::List(list) => list.iter().map(String::len).sum(),
            Self::Range(_) | Self::Lines(_) => 0,
        }
    }
}

/// Tasks of the array: every combination. Nothing if they are more than can be counted.
pub fn combinations(array: &BTreeMap<String, Values>) -> Option<u64> {
    array.values().try_fold(1_u64, |product, values| product.checked_mul(values.count()))
}

/// The values of one task. The last name, in alphabetical order, varies fastest.
pub fn values_of(array: &BTreeMap<String, Values>, mut task: u64) -> Vec<(&str, Value<'_>)> {
    let mut values: Vec<_> = array
        .iter()
        .rev()
        .map(|(name, values)| {
            let count = values.count().max(1);
            let value = values.get(task % count);
            task /= count;
            (name.as_str(), value)
        })
        .collect();
    values.reverse();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64, step: i64) -> Values {
        Values::Range(Range { from, to, step })
    }

    #[test]
    fn ranges_are_counted() {
        assert_eq!(range(1, 10, 1).count(), 10);
        assert_eq!(range(0, 10, 3).count(), 4);
        assert_eq!(range(5, 5, 7).count(), 1);
        assert_eq!(range(10, 1, -3).count(), 4);
        assert_eq!(range(1, 10, 0).count(), 0);
        assert_eq!(range(1, 10, -1).count(), 0);
        assert_eq!(range(i64::MIN, i64::MAX, 1).count(), u64::MAX);
        assert_eq!(range(10, 1, -3).get(3), Value::Number(1));
        assert_eq!(range(i64::MIN, i64::MAX, i64::MAX).get(2), Value::Number(i64::MAX - 1));
    }

    #[test]
    fn every_combination_is_one_task() {
        let words = |words: &[&str]| Values::List(words.iter().map(|word| (*word).to_owned()).collect());
        let array = BTreeMap::from([("b".to_owned(), range(1, 3, 1)), ("a".to_owned(), words(&["x", "y"]))]);
        assert_eq!(combinations(&array), Some(6));
        let all: Vec<_> = (0..6).map(|task| values_of(&array, task)).collect();
        let expected = |a, b| vec![("a", Value::Text(a)), ("b", Value::Number(b))];
        assert_eq!(all[0], expected("x", 1));
        assert_eq!(all[2], expected("x", 3));
        assert_eq!(all[3], expected("y", 1));
        assert_eq!(all[5], expected("y", 3));
        assert_eq!(combinations(&BTreeMap::new()), Some(1));
        let huge = BTreeMap::from([("a".to_owned(), range(0, i64::MAX, 1)), ("b".to_owned(), range(1, 3, 1))]);
        assert_eq!(combinations(&huge), None);
    }
}
