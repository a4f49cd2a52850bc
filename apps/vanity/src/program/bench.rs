//! Measures each back end, and rivals whose commands are given, in one interleaved run.
//!
//! An absolute rate says little on a shared machine, so every round measures everything once, medians are over rounds,
//! and the run ends in a table of ratios and times beside their floors.

mod clock;
#[cfg(target_arch = "x86_64")]
mod limit;
mod own;
mod rival;
mod table;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use vanity::kernel::Backend;

use self::rival::Rival;
use super::{print, progress};

#[derive(Args)]
pub(super) struct BenchArguments {
    /// Another tool to measure in the same rounds; what it says it has counted is read. {threads} and {pattern} are filled in.
    /// The table of floors knows the names native, stock (both VanitySearch) and vanitygen
    #[arg(long = "rival", value_name = "NAME=COMMAND")]
    rivals: Vec<String>,
    /// Back ends to measure; all that this machine has if not given
    #[arg(long = "backend", value_name = "NAME")]
    backends: Vec<String>,
    /// Thread counts to measure
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Rounds; medians are over these
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement and round
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// Candidates on which all back ends must report the same shares; 4294967296 takes half an hour, 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 1 << 24)]
    compared: u64,
    /// Print only the table of what is promised (measured, floor, aim), and exit with 1 if a row is below its floor
    #[arg(long)]
    table: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Something that can be measured again and again.
enum Contestant {
    Own(Backend),
    Rival(Rival),
}

struct Series {
    contestant: Contestant,
    threads: usize,
    rates: Vec<f64>,
    cycles: Vec<f64>,
}

pub(super) fn run(arguments: &BenchArguments) -> Result<()> {
    let mut all = series(arguments)?;
    let time = Duration::from_secs_f64(arguments.seconds);
    for _ in 0..arguments.rounds.max(1) {
        for series in &mut all {
            series.measure(time)?;
        }
    }
    #[cfg(target_arch = "x86_64")]
    let limit = limit_of(&all);
    #[cfg(not(target_arch = "x86_64"))]
    let limit: Option<Limit> = None;
    if !arguments.table {
        for series in &all {
            print_series(series, arguments.json);
        }
        print_ratios(&all, arguments.json);
        print_scaling(&all, arguments.json);
        if let Some(limit) = &limit {
            print_limit(limit, arguments.json);
        }
    }
    let share_of_limit = limit.map(|limit| limit.share());
    let below = table::print_table(&all, share_of_limit, &own::checks(arguments.compared)?, arguments.json);
    anyhow::ensure!(
        below.is_empty() || !arguments.table,
        "below the floor: {}\n\nhint: floors are for a machine that does nothing else; try --rounds 5 --seconds 8 on such a one",
        below.join("; ")
    );
    Ok(())
}

fn series(arguments: &BenchArguments) -> Result<Vec<Series>> {
    let backends: Vec<Backend> = match arguments.backends.as_slice() {
        [] => Backend::ALL.into_iter().filter(|backend| backend.is_available()).collect(),
        names => names.iter().map(|name| super::unit::backend(Some(name))).collect::<Result<_>>()?,
    };
    let rivals: Vec<Rival> = arguments.rivals.iter().map(|text| Rival::parse(text)).collect::<Result<_>>()?;
    let of_threads = |&threads: &usize| {
        let own = backends.iter().map(|&backend| Contestant::Own(backend));
        let others = rivals.iter().cloned().map(Contestant::Rival);
        own.chain(others).map(move |contestant| Series { contestant, threads, rates: vec![], cycles: vec![] })
    };
    Ok(arguments.threads.iter().flat_map(of_threads).collect())
}

impl Series {
    fn measure(&mut self, time: Duration) -> Result<()> {
        match &self.contestant {
            Contestant::Own(backend) => {
                let before = clock::hertz();
                let run = own::run(*backend, self.threads, time);
                let clock = before.max(clock::hertz());
                self.cycles.push(clock * run.processor_seconds / run.candidates);
                self.rates.push(run.candidates / run.seconds);
            }
            Contestant::Rival(rival) => self.rates.push(rival.rate(self.threads, time)?),
        }
        Ok(())
    }

    fn name(&self) -> &str {
        match &self.contestant {
            Contestant::Own(backend) => backend.name(),
            Contestant::Rival(rival) => &rival.name,
        }
    }

    fn rate(&self) -> f64 {
        median(&self.rates)
    }

    fn is_own(&self) -> bool {
        matches!(self.contestant, Contestant::Own(_))
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

fn print_series(series: &Series, as_json: bool) {
    let kind = if series.is_own() { "backend" } else { "rival" };
    let cycles = series.is_own().then(|| median(&series.cycles));
    let best = series.rates.iter().copied().fold(f64::NAN, f64::max);
    if as_json {
        return print::result_json(&json!({
            kind: series.name(), "threads": series.threads, "addresses_per_s": series.rate(),
            "addresses_per_s_best": best, "cycles_per_address": cycles, "rounds": series.rates.len(),
        }));
    }
    let cycles = cycles.map_or_else(String::new, |cycles| format!("  {cycles:7.1} cycles per address"));
    let (name, threads, rate) = (series.name(), series.threads, progress::count(series.rate()));
    print::result(&format!("{name:<28} {threads:>2} threads  {rate:>9}/s{cycles}"));
}

fn print_ratios(all: &[Series], as_json: bool) {
    for own in all.iter().filter(|series| series.is_own()) {
        for rival in all.iter().filter(|series| !series.is_own() && series.threads == own.threads) {
            let ratio = own.rate() / rival.rate();
            if as_json {
                print::result_json(&json!({
                    "backend": own.name(), "rival": rival.name(), "threads": own.threads, "ratio": ratio,
                }));
            } else {
                let (own, rival, threads) = (own.name(), rival.name(), own.threads);
                print::result(&format!("{own} / {rival}, {threads} threads: {ratio:.2}"));
            }
        }
    }
}

/// Of the AVX-512 back end, in cycles per candidate.
struct Limit {
    #[cfg(target_arch = "x86_64")]
    counted: limit::Cycles,
    both: f64,
    measured: f64,
}

impl Limit {
    fn share(&self) -> f64 {
        self.both / self.measured
    }
}

#[cfg(target_arch = "x86_64")]
fn limit_of(all: &[Series]) -> Option<Limit> {
    let is_vectors =
        |series: &&Series| matches!(series.contestant, Contestant::Own(Backend::Avx512)) && series.threads == 1;
    let measured = median(&all.iter().find(is_vectors)?.cycles);
    let counted = limit::cycles()?;
    Some(Limit { both: counted.both, counted, measured })
}

#[cfg(target_arch = "x86_64")]
fn print_limit(limit: &Limit, as_json: bool) {
    let limit::Cycles { both, hash, curve, rates } = &limit.counted;
    let limit::Rates { simple, rotations, multiplications, either, shifts, shuffles } = rates;
    let (share, backend) = (limit.share(), Backend::Avx512.name());
    if as_json {
        return print::result_json(&json!({
            "backend": backend, "limit_cycles": both, "limit_hash_cycles": hash, "limit_curve_cycles": curve,
            "share_of_limit": share,
            "operations_per_cycle": {
                "sums": simple, "rotations": rotations, "multiplications": multiplications,
                "rotations_and_multiplications": either, "shifts": shifts, "shuffles": shuffles,
            },
        }));
    }
    print::result(&format!(
        "{backend}: {:.1} % of the counted limit of {both:.1} cycles per address (hash alone {hash:.1}, curve alone {curve:.1})",
        100.0 * share
    ));
    print::result(&format!(
        "{backend}: this processor does {simple:.2} sums a cycle, {rotations:.2} rotations, {multiplications:.2} \
         multiplications, {either:.2} of these two in turn, {shifts:.2} shifts, {shuffles:.2} shuffles"
    ));
}

#[cfg(not(target_arch = "x86_64"))]
fn print_limit(_: &Limit, _: bool) {}

fn print_scaling(all: &[Series], as_json: bool) {
    let single = |name: &str| all.iter().find(|series| series.threads == 1 && series.name() == name);
    for many in all.iter().filter(|series| series.is_own() && series.threads > 1) {
        let Some(one) = single(many.name()) else { continue };
        let (name, threads, ratio) = (many.name(), many.threads, many.rate() / one.rate());
        match as_json {
            true => print::result_json(&json!({ "backend": name, "threads": threads, "scaling": ratio })),
            false => print::result(&format!("{name}: {threads} threads / 1 thread = {ratio:.2}")),
        }
    }
}
