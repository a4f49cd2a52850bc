//! Parameters: what an app can be told, with types, so that a command line's help and a page's form can be made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub const PARAMS_MAX: usize = 64;
const CHOICES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Lower-case letters, digits and `-`.
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Without one the parameter must be given, unless it is `optional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Of a `choice`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Text,
    Integer,
    Number,
    /// `true` or `false`. In the arguments `{name}` becomes `--name`, or nothing.
    Flag,
    Choice,
    /// A file of the requester's, given to the program below `/in`; its value is its path there.
    File,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    #[error("the app has no parameter `{name}`\n\nhint: it has {known}")]
    Unknown { name: String, known: String },
    #[error("the parameter `{0}` is missing\n\nhint: give it with --{0}, see --help")]
    Missing(String),
    #[error("--{name} `{value}`: {why}")]
    Value { name: String, value: String, why: String },
}

impl Param {
    /// What is wrong with the parameter itself.
    pub(super) fn fault(&self) -> Option<String> {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let named = (1..=32).contains(&self.name.len()) && self.name.chars().all(letter);
        if !named || self.name.starts_with('-') {
            return Some("its name must be lower-case letters, digits and `-`".into());
        }
        if ["task", "work", "worker"].contains(&self.name.as_str()) {
            return Some("this name stands for something else in arguments".into());
        }
        if (self.kind == Kind::Choice) == self.choices.is_empty() || self.choices.len() > CHOICES_MAX {
            return Some(format!("a choice has `choices`, at most {CHOICES_MAX}, and nothing else does"));
        }
        if self.kind == Kind::File && self.default.is_some() {
            return Some("a file has no default".into());
        }
        self.default.as_ref().and_then(|default| self.refuses(default)).map(|why| format!("its default: {why}"))
    }

    /// Why it does not take this value.
    pub fn refuses(&self, value: &str) -> Option<String> {
        if value.len() > VALUE_BYTES_MAX || value.contains('\0') {
            return Some(format!("longer than {VALUE_BYTES_MAX} bytes, or with a zero byte"));
        }
        let number = match self.kind {
            Kind::Text | Kind::File => return None,
            Kind::Flag => return (!["true", "false"].contains(&value)).then(|| "expected true or false".into()),
            Kind::Choice => {
                let known = self.choices.iter().any(|choice| choice == value);
                return (!known).then(|| format!("expected one of {}", self.choices.join(", ")));
            }
            Kind::Integer => match value.parse::<i64>() {
                #[expect(clippy::cast_precision_loss, reason = "compared with bounds that are floating-point too")]
                Ok(number) => number as f64,
                Err(_) => return Some("expected a whole number".into()),
            },
            Kind::Number => match value.parse::<f64>() {
                Ok(number) if number.is_finite() => number,
                _ => return Some("expected a number".into()),
            },
        };
        match (self.min, self.max) {
            (Some(min), _) if number < min => Some(format!("less than {min}")),
            (_, Some(max)) if number > max => Some(format!("more than {max}")),
            _ => None,
        }
    }
}

/// Takes the values given and adds the defaults of the others; refuses what is unknown, missing or of the wrong type.
pub fn complete(params: &[Param], given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ParamError> {
    if let Some(name) = given.keys().find(|name| !params.iter().any(|param| param.name == **name)) {
        let known: Vec<&str> = params.iter().map(|param| param.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(ParamError::Unknown { name: name.clone(), known });
    }
    let mut values = BTreeMap::new();
    for param in params {
        let name = param.name.clone();
        match given.get(&name).or(param.default.as_ref()) {
            Some(value) => {
                if let Some(why) = param.refuses(value) {
                    return Err(ParamError::Value { name, value: value.chars().take(80).collect(), why });
                }
                values.insert(name, value.clone());
            }
            None if param.optional || param.kind == Kind::Flag => {}
            None => return Err(ParamError::Missing(name)),
        }
    }
    Ok(values)
}

/// The app's arguments with the values in their places. An argument that names a parameter without a value is left out.
/// Places that are no parameter stay for the worker to fill in.
pub fn arguments(args: &[String], params: &[Param], values: &BTreeMap<String, String>) -> Vec<String> {
    args.iter().filter_map(|arg| argument(arg, params, values)).collect()
}

fn argument(arg: &str, params: &[Param], values: &BTreeMap<String, String>) -> Option<String> {
    let (mut filled, mut rest) = (String::with_capacity(arg.len()), arg);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        let place = &rest[at + 1..];
        let named = |param: &&Param| place.strip_prefix(&param.name).is_some_and(|rest| rest.starts_with('}'));
        match params.iter().find(named) {
            Some(param) => {
                let value = values.get(&param.name)?;
                match (param.kind, value.as_str()) {
                    (Kind::Flag, "true") => filled.push_str(&format!("--{}", param.name)),
                    (Kind::Flag, _) => return None,
                    (Kind::File, _) => filled.push_str(&format!("/in/{}", param.name)),
                    _ => filled.push_str(value),
                }
                rest = &place[param.name.len() + 1..];
            }
            None => {
                filled.push('{');
                rest = place;
            }
        }
    }
    Some(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(name: &str, kind: Kind) -> Param {
        let (default, choices) = (None, Vec::new());
        let description = String::new();
        Param { name: name.into(), description, kind, default, optional: false, min: None, max: None, choices }
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_of_their_types() {
        let whole = Param { min: Some(1.0), max: Some(9.0), ..param("n", Kind::Integer) };
        for (value, good) in [("1", true), ("9", true), ("0", false), ("10", false), ("1.5", false), ("x", false)] {
            assert_eq!(whole.refuses(value).is_none(), good, "{value}");
        }
        let number = param("x", Kind::Number);
        assert!(number.refuses("-2.5e3").is_none() && number.refuses("NaN").is_some());
        let choice = Param { choices: vec!["a".into(), "b".into()], ..param("c", Kind::Choice) };
        assert!(choice.refuses("a").is_none() && choice.refuses("c").is_some());
        assert!(param("f", Kind::Flag).refuses("yes").is_some());
        assert!(param("t", Kind::Text).refuses(&"x".repeat(VALUE_BYTES_MAX + 1)).is_some());
    }

    #[test]
    fn a_parameter_that_makes_no_sense_is_refused() {
        assert_eq!(param("rate", Kind::Text).fault(), None);
        for name in ["", "A", "a b", "-a", "task", &"x".repeat(33)] {
            assert!(param(name, Kind::Text).fault().is_some(), "{name}");
        }
        assert!(param("c", Kind::Choice).fault().is_some(), "a choice of nothing");
        assert!(Param { default: Some("x".into()), ..param("n", Kind::Integer) }.fault().is_some());
        assert!(Param { default: Some("x".into()), ..param("f", Kind::File) }.fault().is_some());
    }

    #[test]
    fn what_is_not_given_has_its_default_or_is_missed() {
        let params = [
            Param { default: Some("5".into()), ..param("n", Kind::Integer) },
            Param { optional: true, ..param("note", Kind::Text) },
            param("name", Kind::Text),
            param("loud", Kind::Flag),
        ];
        assert_eq!(complete(&params, &values(&[("name", "x")])), Ok(values(&[("n", "5"), ("name", "x")])));
        assert_eq!(complete(&params, &values(&[])), Err(ParamError::Missing("name".into())));
        assert!(matches!(complete(&params, &values(&[("nam", "x")])), Err(ParamError::Unknown { .. })));
        assert!(matches!(complete(&params, &values(&[("name", "x"), ("n", "y")])), Err(ParamError::Value { .. })));
    }

    #[test]
    fn arguments_take_the_values() {
        let params = [param("n", Kind::Integer), param("loud", Kind::Flag), param("scene", Kind::File)];
        let args = ["--n={n}", "{loud}", "{scene}", "{task}", "{n}{n}"].map(str::to_owned);
        let filled = |pairs: &[(&str, &str)]| arguments(&args, &params, &values(pairs));
        let all = [("n", "{task}"), ("loud", "true"), ("scene", "my.blend")];
        assert_eq!(filled(&all), ["--n={task}", "--loud", "/in/scene", "{task}", "{task}{task}"]);
        assert_eq!(filled(&[("loud", "false")]), ["{task}"]);
    }
}
