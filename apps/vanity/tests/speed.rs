//! A function of a vector back end that is compiled without vectors still gives right answers, only a hundred times
//! slower: no other test would see it.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use vanity::{
    AddressKind, Ranges, SecretKey,
    kernel::Backend,
    unit::{Search, Slice, search},
};

/// Points a second; the best of three short runs.
fn rate(backend: Backend, kind: AddressKind) -> f64 {
    let job = Search {
        public_key: SecretKey::generate().unwrap().public_key(),
        base: k256::Scalar::from(12_345_u64),
        kind,
        targets: Ranges::default(),
        shares: Ranges::default(),
        backend,
    };
    let run = || {
        let started = Instant::now();
        let report = search(&job, Slice::new(0, 1 << 30).unwrap(), |_| {
            if started.elapsed() < Duration::from_millis(60) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        report.points as f64 / started.elapsed().as_secs_f64()
    };
    (0..3).map(|_| run()).fold(0.0, f64::max)
}

#[test]
fn vectors_are_faster_than_none() {
    for kind in [AddressKind::P2pkh, AddressKind::P2wpkh, AddressKind::P2shP2wpkh, AddressKind::Ethereum] {
        let portable = rate(Backend::Portable, kind);
        for backend in [Backend::Avx2, Backend::Avx512].into_iter().filter(|backend| backend.is_available()) {
            let ratio = rate(backend, kind) / portable;
            let least = if kind == AddressKind::Ethereum { 1.2 } else { 2.0 };
            assert!(ratio > least, "{backend} on {kind:?} is only {ratio:.2} times as fast as portable code");
        }
    }
}
