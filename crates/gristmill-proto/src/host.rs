//! The hosts of the Internet that an app wants, and that a worker's owner grants.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `example.org:443`; `*.example.org:443` for every name below it, `*:443` for every host. Addresses of IPv4 are names here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// In small letters.
    host: String,
    port: u16,
}

impl HostPort {
    /// Whether a connection to `host` is one of those meant.
    pub fn includes(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        // A dot at the end says that the name is whole, as all are here.
        let host = host.strip_suffix('.').unwrap_or(&host);
        port == self.port
            && match self.host.strip_prefix('*') {
                Some(rest) => host.len() > rest.len() && host.ends_with(rest) && !host.starts_with('.'),
                None => host == self.host,
            }
    }

    /// Whether all that `other` means is meant by this, too.
    pub fn covers(&self, other: &Self) -> bool {
        match other.host.strip_prefix('*') {
            Some(rest) => self.port == other.port && self.host.strip_prefix('*').is_some_and(|all| rest.ends_with(all)),
            None => self.includes(&other.host, other.port),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host and port, as in `example.org:443` or `*.example.org:443`")]
pub struct HostPortError(String);

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || HostPortError(text.chars().take(80).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(refused)?;
        let name = host.strip_prefix("*.").unwrap_or(host);
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter);
        if host.len() > 253 || (host != "*" && !name.split('.').all(is_label)) {
            return Err(refused());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_are_named_whole_or_by_their_end() {
        let one = of("Example.org:443");
        assert_eq!(one.to_string(), "example.org:443");
        assert!(one.includes("EXAMPLE.org", 443) && one.includes("example.org.", 443));
        assert!(!one.includes("example.org", 80) && !one.includes("a.example.org", 443));
        let below = of("*.example.org:443");
        assert!(below.includes("a.example.org", 443) && below.includes("a.b.example.org", 443));
        for other in ["example.org", ".example.org", "badexample.org", "example.org.evil.com"] {
            assert!(!below.includes(other, 443), "{other}");
        }
        assert!(of("*:443").includes("example.org", 443) && !of("*:443").includes("example.org", 80));
    }

    #[test]
    fn a_grant_covers_what_is_no_wider() {
        let covers = |grant: &str, wish: &str| of(grant).covers(&of(wish));
        assert!(covers("a.org:1", "a.org:1") && covers("*.org:1", "a.org:1") && covers("*:1", "*:1"));
        assert!(covers("*:1", "*.a.org:1") && covers("*.a.org:1", "*.b.a.org:1") && covers("*.a.org:1", "*.a.org:1"));
        assert!(!covers("*.a.org:1", "*:1") && !covers("a.org:1", "*.a.org:1") && !covers("*.b.a.org:1", "*.a.org:1"));
        assert!(!covers("*.a.org:1", "*.ba.org:1") && !covers("*:1", "a.org:2"));
    }

    #[test]
    fn other_texts_are_refused() {
        let long = format!("{}:1", ["a"; 128].join("."));
        for text in
            ["example.org", "example.org:0", ":443", "a b:443", "a.org:65536", "a.*.org:1", "*a.org:1", "a..b:1", &long]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
