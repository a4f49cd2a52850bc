//! The options that say what is wanted, shared by `search` and `difficulty`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use vanity::{
    AddressKind, Pattern,
    pattern::{Choice, ChoiceError, PatternError, Wish},
};

use super::{BadArgument, bad_argument};

#[derive(Args)]
pub(super) struct WishArguments {
    /// What the address starts with: 1… (P2PKH), bc1q… (P2WPKH), 3… (P2SH-P2WPKH), 0x… (Ethereum)
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
    /// Accept upper and lower case alike
    #[arg(short, long)]
    ignore_case: bool,
    /// The address must also end with this
    #[arg(long, value_name = "TEXT")]
    suffix: Option<String>,
    /// The address must also contain this
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// The address must also match this regular expression
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
    /// The kind of address, if the pattern alone does not say
    #[arg(long, value_enum)]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    P2pkh,
    P2wpkh,
    P2shP2wpkh,
    Ethereum,
}

impl WishArguments {
    pub(super) fn choice(&self) -> Result<Choice> {
        Choice::new(&self.wish(""), &self.patterns).map_err(bad_choice)
    }

    /// One by one: they need not be of one kind.
    pub(super) fn patterns(&self) -> Result<Vec<Pattern>> {
        self.patterns
            .iter()
            .map(|prefix| Pattern::new(self.wish(prefix)).map_err(|error| bad_pattern(&error)))
            .collect()
    }

    /// What is wanted, in one line that differs for different searches.
    pub(super) fn canonical_text(&self) -> String {
        let kind = self.kind.map(|kind| kind.to_possible_value().map(|value| value.get_name().to_owned()));
        let Self { patterns, ignore_case, suffix, contains, regex, .. } = self;
        serde_json::json!([patterns, kind, ignore_case, suffix, contains, regex]).to_string()
    }

    fn wish(&self, prefix: &str) -> Wish {
        let kind = self.kind.map(|kind| match kind {
            Kind::P2pkh => AddressKind::P2pkh,
            Kind::P2wpkh => AddressKind::P2wpkh,
            Kind::P2shP2wpkh => AddressKind::P2shP2wpkh,
            Kind::Ethereum => AddressKind::Ethereum,
        });
        Wish {
            kind,
            prefix: prefix.to_owned(),
            ignore_case: self.ignore_case,
            suffix: self.suffix.clone(),
            contains: self.contains.clone(),
            regex: self.regex.clone(),
        }
    }
}

fn bad_choice(error: ChoiceError) -> anyhow::Error {
    match error {
        ChoiceError::Pattern(error) => bad_pattern(&error),
        ChoiceError::Empty | ChoiceError::Kinds(..) => bad_argument(error.to_string()),
    }
}

fn bad_pattern(error: &PatternError) -> anyhow::Error {
    let hint = error.nearest.as_ref().map(|nearest| format!("the nearest possible pattern is {nearest}"));
    BadArgument { problem: error.to_string(), hint }.into()
}
