//! A search on this machine alone.

use std::{ops::ControlFlow, path::PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use vanity::{
    AddressKind, Pattern, PublicKey, Ranges, Record, SecretKey,
    kernel::Backend,
    threads::search_on_threads,
    unit::{Found, Search, Slice},
};

use super::{
    bad_argument, key_file, nice, print,
    progress::Progress,
    unit::{backend, fixed_bytes, thread_count},
    wish::WishArguments,
};

#[derive(Args)]
pub(super) struct SearchArguments {
    #[command(flatten)]
    wish: WishArguments,
    /// Search for the owner of this public key; without it, a fresh key is made here
    #[arg(long, value_name = "HEX")]
    public_key: Option<String>,
    /// Where the key of the address goes; ADDRESS.key if not given
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    out: Option<PathBuf>,
    /// Also print the secret key
    #[arg(long, conflicts_with = "public_key")]
    show_key: bool,
    /// Threads; all of the machine's if not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Use this back end instead of the fastest
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Keep normal priority instead of stepping back for other programs
    #[arg(long)]
    no_nice: bool,
    /// No progress line
    #[arg(short, long)]
    quiet: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &SearchArguments) -> Result<()> {
    let patterns = arguments.wish.patterns()?;
    let kind = kind_of_all(&patterns)?;
    let secret = match &arguments.public_key {
        Some(_) => None,
        None => Some(SecretKey::generate()?),
    };
    let public_key = match (&arguments.public_key, &secret) {
        (Some(text), _) => PublicKey::from_bytes(&fixed_bytes("--public-key", text)?)
            .map_err(|error| bad_argument(format!("--public-key is refused: {error}")))?,
        (None, secret) => secret.as_ref().expect("made just now").public_key(),
    };
    if !arguments.no_nice {
        nice::lower_priority();
    }
    let search = Search {
        public_key,
        base: k256::Scalar::ONE,
        kind,
        targets: Ranges::union(patterns.iter().flat_map(|pattern| pattern.ranges().as_slice()).copied()),
        shares: Ranges::default(),
        backend: backend(arguments.backend.as_deref())?,
    };
    let mut progress = Progress::start(expected_candidates(&patterns), 0, arguments.quiet);
    let (found, pattern) = find(&search, &patterns, thread_count(arguments.threads), &mut progress);
    progress.end();

    let offset = search.base + k256::Scalar::from(found.index);
    let record = Record::new(kind, pattern.text(), &public_key, &offset, found.image)?;
    ensure!(
        pattern.matches(found.hash),
        "the search found {}, which does not match: a bug or bad hardware",
        record.address
    );
    ensure!(kind.encode(found.hash) == record.address, "the found hash does not verify: a bug or bad hardware");
    report(arguments, &record, secret.as_ref(), &progress, search.backend)
}

fn kind_of_all(patterns: &[Pattern]) -> Result<AddressKind> {
    let kind = patterns[0].kind();
    match patterns.iter().find(|pattern| pattern.kind() != kind) {
        None => Ok(kind),
        Some(other) => Err(bad_argument(format!(
            "{} is a {kind} pattern and {} a {} one: one search looks for one kind",
            patterns[0].text(),
            other.text(),
            other.kind()
        ))),
    }
}

/// Of any of the patterns.
fn expected_candidates(patterns: &[Pattern]) -> f64 {
    1.0 / patterns.iter().map(|pattern| 1.0 / pattern.expected_candidates()).sum::<f64>()
}

fn find<'patterns>(
    search: &Search,
    patterns: &'patterns [Pattern],
    threads: usize,
    progress: &mut Progress,
) -> (Found, &'patterns Pattern) {
    let everything = Slice { start: 0, length: u64::MAX };
    let mut first = None;
    search_on_threads(search, everything, threads, |step| {
        progress.add(6 * step.points);
        let matching = |hit: &Found| Some((*hit, patterns.iter().find(|pattern| pattern.matches(hit.hash))?));
        first = first.or_else(|| step.hits.iter().find_map(matching));
        if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    first.expect("2^64 points were not searched without a find")
}

fn report(
    arguments: &SearchArguments,
    record: &Record,
    secret: Option<&SecretKey>,
    progress: &Progress,
    backend: Backend,
) -> Result<()> {
    let (candidates, seconds, rate) = (progress.candidates(), progress.seconds(), progress.rate());
    let key = secret.map(|secret| record.combine(secret)).transpose()?;
    let mut key_path = None;
    if let Some(key) = &key {
        let path = arguments.out.clone().unwrap_or_else(|| format!("{}.key", record.address).into());
        key_file::write(&path, key)?;
        key_path = Some(path);
    }
    let wif = key.filter(|_| arguments.show_key).map(|key| key.to_wif());
    if arguments.json {
        print::result_json(&json!({
            "address": record.address, "pattern": record.pattern, "record": record, "key_file": key_path,
            "wif": wif.as_ref().map(|wif| wif.as_str()), "candidates": candidates, "seconds": seconds,
            "addresses_per_s": rate, "backend": backend.name(),
        }));
        return Ok(());
    }
    match &key_path {
        Some(path) => {
            print::note(&format!("{candidates} addresses in {seconds:.2} s; secret key written to {}", path.display()));
            print::result(&record.address);
        }
        // The record is the result: the address is in it.
        None => print::result(&record.to_json()),
    }
    if let Some(wif) = wif {
        print::result(&wif);
    }
    Ok(())
}
