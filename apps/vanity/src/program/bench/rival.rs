//! Other tools, run for a while and asked for the rate they show.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use regex_lite::Regex;

use super::{super::bad_argument, median, own::PATTERN};

/// A tool that prints without end is cut here.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

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

    /// Runs the command through the shell. What it says it has counted, over the time between, is its rate; the rates
    /// that tools show are too high at first, and stand in only where there is no count.
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
        let reader = thread::spawn(move || read_timed(output));
        child.wait()?;
        let said = reader.join().expect("reading does not panic")?;
        let rate = counted_rate(&said, time.mul_f64(WARM_UP)).or_else(|| shown_rate(&said));
        rate.with_context(|| format!("{} printed no count and no rate like \"6.5 Mkey/s\" within {time:?}", self.name))
    }
}

/// What was said, and when.
type Said = Vec<(Duration, String)>;

/// Part of a run whose counts are passed over.
const WARM_UP: f64 = 0.25;

fn read_timed(mut output: impl Read) -> std::io::Result<Said> {
    let started = Instant::now();
    let (mut said, mut bytes, mut total) = (Said::new(), vec![0; 1 << 16], 0);
    loop {
        let length = output.read(&mut bytes)?;
        total += length;
        if length == 0 || total > OUTPUT_BYTES_MAX {
            return Ok(said);
        }
        said.push((started.elapsed(), String::from_utf8_lossy(&bytes[..length]).into_owned()));
    }
}

/// From the first count after the warm-up to the last one.
fn counted_rate(said: &Said, warm_up: Duration) -> Option<f64> {
    let counts = said.iter().filter_map(|(at, text)| Some((*at, last_count(text)?)));
    let mut steady = counts.skip_while(|(at, _)| *at < warm_up);
    let (first_at, first) = steady.next()?;
    let (last_at, last) = steady.last()?;
    let seconds = (last_at - first_at).as_secs_f64();
    (seconds > 0.0 && last > first).then(|| (last - first) / seconds)
}

/// `[Total 2^23.62]` and `[total 903680]`.
fn last_count(text: &str) -> Option<f64> {
    let pattern = Regex::new(r"(?i)\[total (2\^)?([0-9]+(?:\.[0-9]+)?)\]").expect("a constant");
    let found = pattern.captures_iter(text).last()?;
    let number: f64 = found[2].parse().ok()?;
    Some(if found.get(1).is_some() { number.exp2() } else { number })
}

/// The median of all rates but the first.
fn shown_rate(said: &Said) -> Option<f64> {
    let rates: Vec<f64> = said.iter().flat_map(|(_, text)| rates_in(text)).collect();
    let steady = if rates.len() > 1 { &rates[1..] } else { &rates[..] };
    if steady.is_empty() { None } else { Some(median(steady)) }
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
    fn a_rate_is_what_was_counted_after_the_warm_up() {
        let at = |seconds, count: u32| (Duration::from_secs(seconds), format!("[9 Mkey/s][total {count}]"));
        let said = vec![at(1, 9_000_000), at(4, 20_000_000), at(6, 30_000_000), at(8, 41_000_000)];
        let rate = counted_rate(&said, Duration::from_secs(2)).unwrap();
        assert!((rate - 5.25e6).abs() < 1.0, "{rate}");
        assert_eq!(counted_rate(&said, Duration::from_secs(7)), None);
        assert_eq!(shown_rate(&said), Some(9e6));
        assert_eq!(shown_rate(&Said::new()), None);
    }

    #[test]
    fn rates_are_read_as_the_tools_print_them() {
        let vanitysearch = "\r[6.43 Mkey/s][GPU 0.00 Mkey/s][Total 2^23.62][Prob 0.0%]\r[6.50 Mkey/s][GPU 0.00 Mkey/s]";
        assert_eq!(rates_in(vanitysearch), [6.43e6, 6.5e6]);
        assert_eq!(rates_in("[451.23 Kkey/s][total 903680]"), [451_230.0]);
        assert_eq!(rates_in("Total 123 keys in 10 seconds: ~5 Mkeys/s (5200000 keys/s)"), [5e6, 5.2e6]);
        assert!(rates_in("no rate").is_empty());
        assert_eq!(last_count(vanitysearch), Some(23.62f64.exp2()));
        assert_eq!(last_count("[451.23 Kkey/s][total 903680]"), Some(903_680.0));
        assert_eq!(last_count("total 9"), None);
    }
}
