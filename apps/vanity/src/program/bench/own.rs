//! Our own back ends, and the small times that matter on a grid.

use std::{
    hint::black_box,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::Result;
use k256::Scalar;
use serde_json::json;
use vanity::{
    AddressKind, Hash160, Image, Pattern, Ranges, SecretKey,
    kernel::Backend,
    ranges::HashRange,
    shares::{Share, ShareChecker},
    threads::search_on_threads,
    unit::{Search, Slice, search},
};

use super::{clock, median, print};

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

pub(super) fn print_small_things(as_json: bool) -> Result<()> {
    let start_ms = 1e3 * start_seconds()?;
    let verify_us = 1e6 * verify_seconds()?;
    let overhead = 100.0 * share_overhead()?;
    match as_json {
        true => print::result_json(
            &json!({ "start_ms": start_ms, "verify_share_us": verify_us, "share_overhead_percent": overhead }),
        ),
        false => {
            print::result(&format!("64 shares per 2^20 points cost {overhead:.2} %"));
            print::result(&format!("start of a process to its first candidates: {start_ms:.1} ms"));
            print::result(&format!("verifying one share: {verify_us:.1} µs"));
        }
    }
    Ok(())
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
