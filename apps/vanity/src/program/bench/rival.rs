//! Other tools, run for a while and asked for the rate they show.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use regex_lite::Regex;

use super::{super::bad_argument, median, own::PATTERN};

/// A tool that prints without end is cut here.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;

#[derive(Clone)]
pub(super) struct Rival {
    pub(super) name: String,
    command: String,
}

impl Rival {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (name, command) =
            text.split_once('=').ok_or_else(|| bad_argument(format!("--rival {text:?} is not NAME=COMMAND")))?;
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }

    /// Runs the command through the shell and takes the median of the rates it prints, less the first, which warms up.
    pub(super) fn rate(&self, threads: usize, time: Duration) -> Result<f64> {
        let filled = self.command.replace("{threads}", &threads.to_string()).replace("{pattern}", PATTERN);
        // `timeout` ends the whole group of the command, which may start processes of its own.
        let line = format!("exec timeout -k 1 {} sh -c '{}' 2>&1", time.as_secs_f64(), filled.replace('\'', "'\\''"));
        let mut child = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let output = child.stdout.take().expect("it is piped");
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            output.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
        });
        child.wait()?;
        let bytes = reader.join().expect("reading does not panic")?;
        let rates = rates_in(&String::from_utf8_lossy(&bytes));
        let steady = if rates.len() > 1 { &rates[1..] } else { &rates[..] };
        anyhow::ensure!(!steady.is_empty(), "{} printed no rate like \"6.5 Mkey/s\" within {time:?}", self.name);
        Ok(median(steady))
    }
}

/// All rates of the processor in a tool's output; VanitySearch shows the one of its GPU beside it.
fn rates_in(text: &str) -> Vec<f64> {
    let pattern = Regex::new(r"(?i)(gpu\s*)?([0-9]+(?:\.[0-9]+)?)\s*([kmg]?)key(?:s)?/s").expect("a constant");
    let rates = pattern.captures_iter(text).filter(|found| found.get(1).is_none()).filter_map(|found| {
        let number: f64 = found[2].parse().ok()?;
        let unit = match found[3].to_ascii_lowercase().as_str() {
            "k" => 1e3,
            "m" => 1e6,
            "g" => 1e9,
            _ => 1.0,
        };
        Some(number * unit)
    });
    rates.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_the_tools_print_them() {
        let vanitysearch = "\r[6.43 Mkey/s][GPU 0.00 Mkey/s][Total 2^23.62][Prob 0.0%]\r[6.50 Mkey/s][GPU 0.00 Mkey/s]";
        assert_eq!(rates_in(vanitysearch), [6.43e6, 6.5e6]);
        assert_eq!(rates_in("[451.23 Kkey/s][total 903680]"), [451_230.0]);
        assert_eq!(rates_in("Total 123 keys in 10 seconds: ~5 Mkeys/s (5200000 keys/s)"), [5e6, 5.2e6]);
        assert!(rates_in("no rate").is_empty());
    }
}
