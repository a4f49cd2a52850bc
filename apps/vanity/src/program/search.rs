//! A search on this machine alone.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use vanity::{
    Image, Pattern, PublicKey, Ranges, Record, SecretKey,
    kernel::Backend,
    pattern::Choice,
    threads::search_on_threads,
    unit::{Found, Search, Slice},
};

use super::{
    bad_argument, key_file, nice, print,
    progress::Progress,
    resume::ResumeFile,
    unit::{backend, fixed_bytes, thread_count},
    wish::WishArguments,
};

/// A stopped search loses this much at most.
const SAVE_PERIOD: Duration = Duration::from_secs(10);
const FIRST_SAVED_POINTS: u64 = 1 << 22;

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
    threads: Option<NonZeroUsize>,
    /// Use this back end instead of the fastest
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Go on with this file if it exists, and keep it up to date; the secret key goes to FILE.key until the find
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
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
    let choice = arguments.wish.choice()?;
    let kind = choice.kind();
    let given = arguments.public_key.as_deref().map(given_key).transpose()?;
    let wish = || arguments.wish.canonical_text();
    let mut resume = arguments.resume.as_ref().map(|path| ResumeFile::open(path, wish(), given)).transpose()?;
    let secret = match (&resume, given) {
        (Some(resume), _) => resume.secret(),
        (None, Some(_)) => None,
        (None, None) => Some(SecretKey::generate()?),
    };
    let public_key = given.or_else(|| secret.as_ref().map(SecretKey::public_key)).expect("given or made");
    if !arguments.no_nice {
        nice::lower_priority();
    }
    let search = Search {
        public_key,
        base: k256::Scalar::ONE,
        kind,
        targets: choice.ranges().clone(),
        shares: Ranges::default(),
        backend: backend(arguments.backend.as_deref())?,
    };
    let before = resume.as_ref().map_or(0, |resume| resume.state.next.saturating_mul(Image::COUNT));
    let mut progress = Progress::start(choice.expected_candidates(), before, arguments.quiet);
    let threads = thread_count(arguments.threads);
    let (found, pattern) = find(&search, &choice, threads, &mut progress, resume.as_mut())?;
    progress.end();

    let offset = search.base + k256::Scalar::from(found.index);
    let record = Record::new(kind, pattern.text(), &public_key, &offset, found.image)?;
    ensure!(
        pattern.matches(found.hash),
        "the search found {}, which does not match: a bug or bad hardware",
        record.address
    );
    ensure!(kind.encode(found.hash) == record.address, "the found hash does not verify: a bug or bad hardware");
    report(arguments, &record, secret.as_ref(), &progress, search.backend)?;
    if let Some(resume) = resume {
        resume.remove();
    }
    Ok(())
}

fn given_key(text: &str) -> Result<PublicKey> {
    PublicKey::from_bytes(&fixed_bytes("--public-key", text)?)
        .map_err(|error| bad_argument(format!("--public-key is refused: {error}")))
}

/// Searches to the end of the indices, or, if the state is to be saved, in slices of some seconds.
fn find<'choice>(
    search: &Search,
    choice: &'choice Choice,
    threads: usize,
    progress: &mut Progress,
    mut resume: Option<&mut ResumeFile>,
) -> Result<(Found, &'choice Pattern)> {
    let mut next = resume.as_ref().map_or(0, |resume| resume.state.next);
    let mut length = if resume.is_some() { FIRST_SAVED_POINTS } else { u64::MAX };
    loop {
        let slice = Slice { start: next, length: length.min(u64::MAX - next) };
        ensure!(slice.length > 0, "all indices have been searched");
        let started = Instant::now();
        let mut first = None;
        search_on_threads(search, slice, threads, |step| {
            progress.add(Image::COUNT * step.points);
            let matching = |hit: &Found| Some((*hit, choice.fulfilled_by(hit.hash)?));
            first = first.or_else(|| step.hits.iter().find_map(matching));
            if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(first) = first {
            return Ok(first);
        }
        next = next.saturating_add(slice.length);
        if let Some(resume) = &mut resume {
            resume.advance(slice.length)?;
            let factor = SAVE_PERIOD.as_secs_f64() / started.elapsed().as_secs_f64().max(1e-3);
            length = (length as f64 * factor.clamp(0.5, 4.0)) as u64;
        }
    }
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
        key_file::write(&path, key, record.kind)?;
        key_path = Some(path);
    }
    let shown = key.filter(|_| arguments.show_key).map(|key| key.to_import_text(record.kind));
    if arguments.json {
        print::result_json(&json!({
            "address": record.address, "pattern": record.pattern, "record": record, "key_file": key_path,
            "private_key": shown.as_ref().map(|key| key.as_str()), "candidates": candidates, "seconds": seconds,
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
    if let Some(key) = shown {
        print::result(&key);
    }
    Ok(())
}
