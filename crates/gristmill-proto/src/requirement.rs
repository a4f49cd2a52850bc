//! What a job asks of its workers by their labels.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One condition: `gpu` (the worker has that label), `site == lyon`, `ram-speed >= 3200`. Numbers are compared as
/// numbers where both sides are, else as text. What is installed on a worker is a label that begins with `app/`, and its
/// value a version: `app/blender >= 4.10`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    label: String,
    /// Nothing asks only that the label is there.
    compare: Option<(Operator, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Longer ones first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::More),
];

impl Requirement {
    pub fn is_met_by(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.label);
        let Some((operator, wanted)) = &self.compare else { return found.is_some() };
        let Some(found) = found else { return *operator == Operator::Unequal };
        let order = match (found.parse::<f64>(), wanted.parse::<f64>()) {
            _ if self.label.starts_with(INSTALLED) => compare_versions(found, wanted),
            (Ok(found), Ok(wanted)) => found.total_cmp(&wanted),
            _ => found.as_str().cmp(wanted),
        };
        match operator {
            Operator::Equal => order.is_eq(),
            Operator::Unequal => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::AtMost => order.is_le(),
            Operator::More => order.is_gt(),
            Operator::AtLeast => order.is_ge(),
        }
    }

    pub(crate) fn label_is_there(label: &str) -> Self {
        Self { label: label.to_owned(), compare: None }
    }

    pub fn label(&self) -> &str {
        &self.label
    }
}

/// The label of workers whose owners let apps reach hosts of the Internet, some or all.
pub const NETWORK: &str = "network";

/// How labels begin that name a program of the worker's owner.
const INSTALLED: &str = "app/";

/// Part by part: 4.10 comes after 4.9, and 4 stands for every 4.x that is compared with it.
fn compare_versions(found: &str, wanted: &str) -> Ordering {
    let parts = |version: &str| -> Vec<String> { version.split(['.', '-', '+']).map(str::to_owned).collect() };
    for (found, wanted) in parts(found).iter().zip(&parts(wanted)) {
        let order = match (found.parse::<u64>(), wanted.parse::<u64>()) {
            (Ok(found), Ok(wanted)) => found.cmp(&wanted),
            _ => found.cmp(wanted),
        };
        if order.is_ne() {
            return order;
        }
    }
    // What is found says less than what is wanted: 4 may be older than 4.2.
    if parts(found).len() < parts(wanted).len() { Ordering::Less } else { Ordering::Equal }
}

/// Whether this may be the name of a label.
pub fn is_label(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no condition: write a label (letters, digits, `-_./`), or a label, one of == != < <= > >=, and a value"
)]
pub struct RequirementError(String);

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || RequirementError(text.chars().take(80).collect());
        let at = text.find(['=', '!', '<', '>']).unwrap_or(text.len());
        let (label, rest) = (text[..at].trim(), &text[at..]);
        if !is_label(label) {
            return Err(refused());
        }
        if rest.is_empty() {
            return Ok(Self { label: label.to_owned(), compare: None });
        }
        let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(refused)?;
        let value = rest[sign.len()..].trim();
        if value.is_empty() || value.contains(['=', '!', '<', '>']) {
            return Err(refused());
        }
        Ok(Self { label: label.to_owned(), compare: Some((operator, value.to_owned())) })
    }
}

impl schemars::JsonSchema for Requirement {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Requirement".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A label, or a label, one of == != < <= > >=, and a value: `site == lyon`, `app/blender >= 4`.",
            "pattern": r"^\s*[A-Za-z0-9_./-]{1,64}\s*((==|!=|<=|>=|<|>)\s*[^=!<>]+)?$",
        })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((operator, value)) = &self.compare else { return f.write_str(&self.label) };
        let (sign, _) = OPERATORS.into_iter().find(|(_, known)| known == operator).expect("every operator has a sign");
        write!(f, "{} {sign} {value}", self.label)
    }
}

impl Serialize for Requirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_or_do_not() {
        let labels = [("site", "lyon"), ("mhz", "3200"), ("gpu", "")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let holds = |text: &str| text.parse::<Requirement>().unwrap().is_met_by(&labels);
        for text in ["gpu", "site == lyon", "site!=paris", "mhz >= 3200", "mhz>900", "mhz < 10000", "tpu != v5"] {
            assert!(holds(text), "{text}");
        }
        for text in ["tpu", "site == paris", "mhz > 3200", "mhz <= 900", "site < abc", "tpu == v5", "tpu < 9"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_installed_is_compared_by_version() {
        let labels = [("app/blender".to_owned(), "4.10.2".to_owned())].into();
        let holds = |text: &str| text.parse::<Requirement>().unwrap().is_met_by(&labels);
        for text in ["app/blender", "app/blender >= 4", "app/blender >= 4.9", "app/blender == 4.10", "app/blender < 5"]
        {
            assert!(holds(text), "{text}");
        }
        for text in ["app/gimp >= 1", "app/blender > 4.10.2", "app/blender == 4.1", "app/blender >= 4.10.2.1"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["", " ", "== x", "a b", "site =", "site = lyon", "site == ", "a == b == c", "a <> b", "a\0"] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
        for text in ["gpu", "site == lyon 2", "mhz >= 3200"] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
    }
}
