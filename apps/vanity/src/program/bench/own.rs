//! Our own back ends, and the small times that matter on a grid.

use std::{
    hint::black_box,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::Result;
use k256::{Scalar, elliptic_curve::bigint::U256};
use vanity::{
    AddressKind, Hash160, Image, Pattern, Ranges, SecretKey,
    kernel::Backend,
    ranges::HashRange,
    shares::{Share, ShareChecker},
    threads::search_on_threads,
    unit::{Search, Slice, search},
};

use super::{clock, median};

/// Exact difficulty 2.9e15: a run never finds it.
pub(super) const PATTERN: &str = "1LoVExyzAB";

fn job(backend: Backend, shares: Ranges) -> Result<Search> {
    Ok(Search {
        public_key: SecretKey::generate()?.public_key(),
        base: Scalar::ONE,
        kind: AddressKind::P2pkh,
        targets: Pattern::parse(PATTERN)?.ranges().clone(),
        shares,
        backend,
    })
}

pub(super) struct Run {
    pub(super) candidates: f64,
    pub(super) seconds: f64,
    pub(super) processor_seconds: f64,
}

pub(super) fn run(backend: Backend, threads: usize, time: Duration) -> Run {
    let job = job(backend, Ranges::default()).expect("a key and a possible pattern");
    let (started, processor) = (Instant::now(), clock::processor_seconds());
    let everything = Slice { start: 0, length: u64::MAX };
    let report = search_on_threads(&job, everything, threads, |_| match started.elapsed() < time {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    });
    Run {
        candidates: report.candidates() as f64,
        seconds: started.elapsed().as_secs_f64(),
        processor_seconds: clock::processor_seconds() - processor,
    }
}

/// What needs no rival and no rounds.
pub(super) struct Checks {
    pub(super) start_ms: f64,
    pub(super) verify_us: f64,
    pub(super) share_overhead_percent: f64,
    pub(super) difficulty_error: f64,
    pub(super) differing_back_ends: Option<f64>,
}

pub(super) fn checks(compared: u64) -> Result<Checks> {
    Ok(Checks {
        start_ms: 1e3 * start_seconds()?,
        verify_us: 1e6 * verify_seconds()?,
        share_overhead_percent: 100.0 * share_overhead()?,
        difficulty_error: difficulty_error()?,
        differing_back_ends: if compared == 0 { None } else { Some(differing_back_ends(compared)?) },
    })
}

/// The largest relative error of the difficulties that are shown, over beginnings of random addresses.
fn difficulty_error() -> Result<f64> {
    const PREFIXES: usize = 10_000;
    let mut worst = 0.0_f64;
    for number in 0..PREFIXES {
        let mut hash = [0; 20];
        getrandom::fill(&mut hash)?;
        let address = AddressKind::P2pkh.encode(Hash160(hash));
        let prefix = &address[..2 + number % 12];
        let shown = Pattern::parse(prefix)?.difficulty().candidates();
        worst = worst.max((shown / difficulty_by_division(prefix) - 1.0).abs());
    }
    Ok(worst)
}

/// Another way to the difficulty of a P2PKH prefix: an address is the number hash·2^32 + checksum in base 58, after a `1`
/// for the version and for each zero byte that the hash begins with. Which checksums stand at the ends of an interval
/// is left out: it changes less than one in 2^80.
fn difficulty_by_division(prefix: &str) -> f64 {
    const DIGITS: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let digits = prefix.trim_start_matches('1');
    let zero_bytes = prefix.len() - digits.len() - 1;
    let above = U256::ONE.shl_vartime(192 - 8 * zero_bytes);
    let below = if digits.is_empty() { U256::ZERO } else { above.shr_vartime(8) };
    let base = U256::from_u8(58);
    let number = digits.chars().fold(U256::ZERO, |number, digit| {
        number.wrapping_mul(&base).wrapping_add(&U256::from(DIGITS.find(digit).expect("of an address") as u64))
    });
    let (mut first, mut after) = (number, number.wrapping_add(&U256::ONE));
    let mut count = if digits.is_empty() { above } else { U256::ZERO };
    while !digits.is_empty() && first < above {
        let (low, high) = (first.max(below), after.min(above));
        if low < high {
            count = count.wrapping_add(&high.wrapping_sub(&low));
        }
        (first, after) = (first.wrapping_mul(&base), after.wrapping_mul(&base));
    }
    let count = count.as_words().iter().rev().fold(0.0, |value, &word| value * 64f64.exp2() + word as f64);
    192f64.exp2() / count
}

/// How many back ends report other shares than the fastest one on so many candidates.
fn differing_back_ends(candidates: u64) -> Result<f64> {
    let mut high = Hash160::MAX;
    high.0[..3].copy_from_slice(&[0, 0, 0xff]);
    let best = job(Backend::best(), Ranges::union(HashRange::new(Hash160::MIN, high)))?;
    let slice = Slice { start: 0, length: candidates.div_ceil(Image::COUNT) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = |backend| {
        let job = Search { backend, ..best.clone() };
        search_on_threads(&job, slice, threads, |_| ControlFlow::Continue(())).shares
    };
    let expected = shares(Backend::best());
    anyhow::ensure!(!expected.is_empty() || candidates < 1 << 20, "no shares to compare on {candidates} candidates");
    let others = Backend::ALL.into_iter().filter(|&backend| backend.is_available() && backend != Backend::best());
    Ok(others.filter(|&backend| shares(backend) != expected).count() as f64)
}

/// A fresh process of this program that checks one block: tables and all.
fn start_seconds() -> Result<f64> {
    let program = std::env::current_exe()?;
    let key = SecretKey::generate()?.public_key();
    let params = vanity::Params::new(key, Pattern::parse(PATTERN)?.ranges().clone())?.encode();
    let once = || -> Result<f64> {
        let started = Instant::now();
        let mut command = std::process::Command::new(&program);
        command.args(["unit", "--start", "0", "--length", "1", "--threads", "1", "--params", &hex::encode(&params)]);
        command.args(["--order", &"00".repeat(32), "--worker", &"00".repeat(20)]);
        anyhow::ensure!(command.status()?.success(), "the unit failed");
        Ok(started.elapsed().as_secs_f64())
    };
    let times: Vec<f64> = (0..9).map(|_| once()).collect::<Result<_>>()?;
    Ok(median(&times))
}

/// With the order's checker at hand: its table and its point are made once.
fn verify_seconds() -> Result<f64> {
    const SHARES: u64 = 2_000;
    let key = SecretKey::generate()?.public_key();
    let checker = ShareChecker::new(&key, Scalar::ONE, AddressKind::P2pkh, Ranges::everything());
    let unit = Slice { start: 0, length: u64::MAX };
    let check = |index: u64| {
        let image = Image::new((index % 6) as u8).expect("below six");
        checker.check(unit, Share { index: index << 20 | 0xf_ffff, image })
    };
    check(0)?;
    let times = (0..5).map(|round| {
        let started = clock::processor_seconds();
        for index in 0..SHARES {
            black_box(check(round * SHARES + index))?;
        }
        Ok((clock::processor_seconds() - started) / SHARES as f64)
    });
    let times: Vec<f64> = times.collect::<Result<_>>()?;
    Ok(median(&times))
}

/// How much longer a block of work takes when it also reports 64 shares.
fn share_overhead() -> Result<f64> {
    const POINTS: u64 = 1 << 20;
    const ROUNDS: usize = 9;
    let none = job(Backend::best(), Ranges::default())?;
    // One share in 6·2^20 / 64 candidates, as a first word below this.
    let mut high = Hash160::MAX;
    high.0[..4].copy_from_slice(&((1u64 << 32) * 64 / (6 * POINTS)).to_be_bytes()[4..]);
    let some = Search { shares: Ranges::union(HashRange::new(Hash160::MIN, high)), ..none.clone() };
    let slice = Slice { start: 0, length: POINTS };
    let seconds = |job: &Search| {
        let started = clock::processor_seconds();
        black_box(search(job, slice, |_| ControlFlow::Continue(())));
        clock::processor_seconds() - started
    };
    let ratios: Vec<f64> = (0..ROUNDS).map(|_| seconds(&some) / seconds(&none)).collect();
    Ok(median(&ratios) - 1.0)
}
