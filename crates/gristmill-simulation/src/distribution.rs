//! Distributions of positive numbers, as scenario files name them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::random::Random;

/// A number for constants, or `{ weibull = { shape = 0.5, scale = 3 } }` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    Constant(Positive),
    Uniform {
        least: Positive,
        most: Positive,
    },
    Exponential {
        mean: Positive,
    },
    LogNormal {
        median: Positive,
        sigma: Positive,
    },
    Weibull {
        shape: Positive,
        scale: Positive,
    },
    Pareto {
        least: Positive,
        shape: Positive,
    },
    /// With probability `share` exponential with mean `mean`, else with mean `other_mean`.
    HyperExponential {
        share: Share,
        mean: Positive,
        other_mean: Positive,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Positive(f64);

impl Positive {
    /// Panics unless the number is one. For constants.
    pub(crate) const fn new(number: f64) -> Self {
        assert!(number > 0.0 && number <= POSITIVE_MAX);
        Self(number)
    }

    pub(crate) const fn get(self) -> f64 {
        self.0
    }
}

/// More than any duration, speed or price here has sense.
const POSITIVE_MAX: f64 = 1e12;

impl TryFrom<f64> for Positive {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        let good = number > 0.0 && number <= POSITIVE_MAX;
        if good { Ok(Self(number)) } else { Err(format!("{number} is not above 0 and at most {POSITIVE_MAX:e}")) }
    }
}

/// From 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Share(f64);

impl Share {
    pub(crate) const ALL: Self = Self(1.0);

    pub(crate) const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&number) { Ok(Self(number)) } else { Err(format!("{number} is not from 0 to 1")) }
    }
}

impl Distribution {
    pub(crate) const fn constant(number: f64) -> Self {
        Self::Constant(Positive::new(number))
    }

    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        match self {
            Self::Constant(number) => number.get(),
            Self::Uniform { least, most } => least.get() + (most.get() - least.get()) * random.fraction(),
            Self::Exponential { mean } => mean.get() * random.exponential(),
            Self::LogNormal { median, sigma } => median.get() * (sigma.get() * random.normal()).exp(),
            Self::Weibull { shape, scale } => scale.get() * random.exponential().powf(1.0 / shape.get()),
            Self::Pareto { least, shape } => least.get() * (random.exponential() / shape.get()).exp(),
            Self::HyperExponential { share, mean, other_mean } => {
                let mean = if random.chance(share.get()) { mean } else { other_mean };
                mean.get() * random.exponential()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrNamed)
    }
}

/// What stands in braces.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Named {
    Uniform { least: Positive, most: Positive },
    Exponential { mean: Positive },
    LogNormal { median: Positive, sigma: Positive },
    Weibull { shape: Positive, scale: Positive },
    Pareto { least: Positive, shape: Positive },
    HyperExponential { share: Share, mean: Positive, other_mean: Positive },
}

struct NumberOrNamed;

impl<'de> Visitor<'de> for NumberOrNamed {
    type Value = Distribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a distribution such as `{ exponential = { mean = 10 } }`")
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of people")]
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Distribution, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Distribution, E> {
        number.try_into().map(Distribution::Constant).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Distribution, A::Error> {
        Ok(match Named::deserialize(MapAccessDeserializer::new(map))? {
            Named::Uniform { least, most } if least > most => {
                return Err(serde::de::Error::custom("`least` is more than `most`"));
            }
            Named::Uniform { least, most } => Distribution::Uniform { least, most },
            Named::Exponential { mean } => Distribution::Exponential { mean },
            Named::LogNormal { median, sigma } => Distribution::LogNormal { median, sigma },
            Named::Weibull { shape, scale } => Distribution::Weibull { shape, scale },
            Named::Pareto { least, shape } => Distribution::Pareto { least, shape },
            Named::HyperExponential { share, mean, other_mean } => {
                Distribution::HyperExponential { share, mean, other_mean }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Line {
        x: Distribution,
    }

    /// The median of each is where its formula says.
    #[test]
    fn medians_are_as_named() {
        for (text, median) in [
            ("3", 3.0),
            ("{ uniform = { least = 1, most = 3 } }", 2.0),
            ("{ exponential = { mean = 10 } }", 6.93),
            ("{ log_normal = { median = 5, sigma = 1.5 } }", 5.0),
            ("{ weibull = { shape = 0.5, scale = 4 } }", 1.92),
            ("{ pareto = { least = 1, shape = 2 } }", 1.414),
            ("{ hyper_exponential = { share = 1, mean = 10, other_mean = 1 } }", 6.93),
        ] {
            let Line { x } = toml::from_str(&format!("x = {text}")).unwrap();
            let mut random = Random::of(7, 0, 0);
            let mut drawn: Vec<f64> = (0..20_001).map(|_| x.draw(&mut random)).collect();
            drawn.sort_by(f64::total_cmp);
            assert!((drawn[10_000] / median - 1.0).abs() < 0.05, "{text}: {}", drawn[10_000]);
        }
    }
}
