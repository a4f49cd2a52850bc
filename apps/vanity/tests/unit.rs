//! A slice searched by each back end, held against k256, sha2 and ripemd one candidate at a time.

use std::ops::ControlFlow;

use k256::{ProjectivePoint, Scalar, elliptic_curve::PrimeField};
use vanity::{
    AddressKind, Image, PublicKey, Ranges, SecretKey,
    hash160::Hash160,
    kernel::Backend,
    ranges::HashRange,
    threads::search_on_threads,
    unit::{Found, Report, Search, Slice, search},
    verify::hash_of_candidate,
};

fn available() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available())
}

fn public_key(secret: u64) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&secret.to_be_bytes());
    SecretKey::from_bytes(&bytes).expect("a key").public_key()
}

fn ranges(bounds: &[(u8, u8)]) -> Ranges {
    Ranges::union(bounds.iter().map(|&(low, high)| {
        let (mut first, mut last) = (Hash160::MIN, Hash160::MAX);
        (first.0[0], last.0[0]) = (low, high);
        HashRange::new(first, last).expect("in order")
    }))
}

fn job(secret: u64, base: Scalar, backend: Backend) -> Search {
    Search {
        public_key: public_key(secret),
        base,
        kind: AddressKind::P2pkh,
        targets: ranges(&[(0, 0), (0x7f, 0x80), (0xff, 0xff)]),
        shares: ranges(&[(0, 3)]),
        backend,
    }
}

fn run(job: &Search, slice: Slice) -> Report {
    search(job, slice, |_| ControlFlow::Continue(()))
}

/// Every candidate on the slow and independent path.
fn expected(job: &Search, slice: Slice) -> Report {
    let mut report = Report { points: slice.length, ..Report::default() };
    for index in slice.start..slice.start + slice.length {
        let offset = job.base + Scalar::from(index);
        for image in (0..6).filter_map(Image::new) {
            let Ok(hash) = hash_of_candidate(&job.public_key, &offset, image, job.kind) else { continue };
            let found = Found { index, image, hash };
            if offset == Scalar::ZERO {
                continue;
            }
            if job.targets.contains(hash) {
                report.hits.push(found);
            }
            if job.shares.contains(hash) {
                report.shares.push(found);
            }
        }
    }
    report
}

#[test]
fn every_candidate_of_a_slice_is_found_and_nothing_else() {
    let slice = Slice::new(77, 1_500).expect("small");
    let reference = expected(&job(0xdead_beef, Scalar::from(12_345u64), Backend::Portable), slice);
    assert!(reference.hits.len() > 100 && reference.shares.len() > 100);
    for backend in available() {
        let job = job(0xdead_beef, Scalar::from(12_345u64), backend);
        assert_eq!(run(&job, slice), reference, "{backend}");
    }
}

/// With small keys a centre meets ±iG, the jump point, infinity and offset zero; a base near n wraps.
#[test]
fn exceptional_points_are_searched_like_any_other() {
    let slice = Slice::new(0, 40).expect("small");
    for backend in available() {
        for secret in [1, 2, 5, 17] {
            for base in [Scalar::ZERO, -Scalar::from(secret), -Scalar::from(20u64), -Scalar::from(300u64)] {
                let job = job(secret, base, backend);
                assert!(run(&job, slice) == expected(&job, slice), "{backend}, secret {secret}, base {base:?}");
            }
        }
    }
}

#[test]
fn each_kind_of_address_is_found() {
    let slice = Slice::new(3, 300).expect("small");
    for backend in available() {
        for kind in [AddressKind::P2pkh, AddressKind::P2wpkh, AddressKind::P2shP2wpkh, AddressKind::Ethereum] {
            let job = Search { kind, ..job(99_999, Scalar::from(7u64), backend) };
            assert!(run(&job, slice) == expected(&job, slice), "{backend}, {kind}");
        }
    }
}

#[test]
fn a_slice_may_be_cut_anywhere_or_spread_over_threads() {
    let start = u64::MAX - 60_000;
    let whole = Slice::new(start, 60_001).expect("ends at the last index");
    for backend in available() {
        let job = job(4_242, Scalar::from(1u64), backend);
        let report = run(&job, whole);
        let mut pieces = Report::default();
        let mut at = start;
        for length in [1, 15, 16, 999, 8_191, 30_000, 60_001 - 39_222] {
            let piece = run(&job, Slice::new(at, length).expect("inside"));
            pieces.hits.extend(piece.hits);
            pieces.shares.extend(piece.shares);
            pieces.points += piece.points;
            at = at.wrapping_add(length);
        }
        assert_eq!(pieces, report, "{backend}");
        assert_eq!(search_on_threads(&job, whole, 3, |_| ControlFlow::Continue(())), report, "{backend}");
        assert_eq!(report.candidates(), 6 * 60_001);
    }
}

#[test]
fn a_search_that_was_broken_off_goes_on_where_it_stopped() {
    let job = job(31_337, Scalar::from(5u64), Backend::best());
    let slice = Slice::new(1_000, 200_000).expect("small");
    let first = search(&job, slice, |_| ControlFlow::Break(()));
    assert!(first.points > 0 && first.points < slice.length);
    let rest = run(&job, Slice::new(slice.start + first.points, slice.length - first.points).expect("inside"));
    let joined = Report {
        hits: [first.hits, rest.hits].concat(),
        shares: [first.shares, rest.shares].concat(),
        points: first.points + rest.points,
    };
    assert_eq!(joined, run(&job, slice));
}

/// The edges of a range decide whole hashes, not first words.
#[test]
fn both_edges_of_an_interval_belong_to_it() {
    let slice = Slice::new(0, 64).expect("small");
    for backend in available() {
        let everything = Search { targets: Ranges::everything(), ..job(123, Scalar::from(9u64), backend) };
        let all = run(&everything, slice).hits;
        assert_eq!(all.len(), 6 * 64);
        for found in all.into_iter().step_by(37) {
            let only = Ranges::union(HashRange::new(found.hash, found.hash));
            let below = Ranges::union(HashRange::new(Hash160::MIN, found.hash.predecessor().expect("not zero")));
            let above = Ranges::union(HashRange::new(found.hash.successor().expect("not the last"), Hash160::MAX));
            for (targets, wanted) in [(only, true), (below, false), (above, false)] {
                let job = Search { targets, shares: Ranges::default(), ..everything.clone() };
                assert_eq!(run(&job, slice).hits.contains(&found), wanted, "{backend} {found:?}");
            }
        }
    }
}

#[test]
fn many_intervals_are_found_through_the_bitmap() {
    let bounds: Vec<(u8, u8)> = (0..40).map(|number| (6 * number, 6 * number + 1)).collect();
    let slice = Slice::new(0, 500).expect("small");
    for backend in available() {
        let job = Search { targets: ranges(&bounds), ..job(77, Scalar::from(1u64), backend) };
        assert!(run(&job, slice) == expected(&job, slice), "{backend}");
    }
}

#[test]
fn lambda_and_beta_belong_together() {
    let lambda = Image::new(2).expect("an image").multiplier();
    assert_eq!(lambda * lambda * lambda, Scalar::ONE);
    assert_ne!(lambda, Scalar::ONE);
    assert!(Image::new(6).is_none());
    let turned = (ProjectivePoint::GENERATOR * lambda).to_affine();
    assert_ne!(turned, ProjectivePoint::GENERATOR.to_affine());
    assert_eq!(lambda.to_repr()[0], 0x53);
}

/// Back end against back end: a share in 2^`rarity` candidates, and what the slower arithmetic of one of them would get
/// wrong the others would not.
fn share_sets_are_equal(candidates: u64, rarity: u32) {
    let slice = Slice { start: u64::MAX >> 3, length: candidates.div_ceil(Image::COUNT) };
    let mut high = Hash160::MAX;
    high.0[..4].copy_from_slice(&(u32::MAX >> rarity).to_be_bytes());
    let shares = Ranges::union(HashRange::new(Hash160::MIN, high));
    let of = |backend| {
        let job =
            Search { targets: Ranges::default(), shares: shares.clone(), ..job(0xdead_beef, Scalar::ONE, backend) };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        search_on_threads(&job, slice, threads, |_| ControlFlow::Continue(())).shares
    };
    let reports: Vec<(Backend, Vec<Found>)> = available().map(|backend| (backend, of(backend))).collect();
    let expected = (candidates >> rarity) as f64;
    for (backend, found) in &reports {
        let off = (found.len() as f64 - expected).abs();
        assert!(off < 6.0 * expected.sqrt(), "{backend}: {} shares, {expected} expected", found.len());
        assert!(*found == reports[0].1, "{backend} and {} differ", reports[0].0);
    }
}

#[test]
fn share_sets_are_equal_over_sixteen_million_candidates() {
    share_sets_are_equal(1 << 24, 11);
}

/// More candidates than a rare slip could hide in.
#[test]
#[ignore = "half an hour of a processor: cargo test --release -p vanity --test unit -- --ignored"]
fn share_sets_are_equal_over_four_billion_candidates() {
    share_sets_are_equal(1 << 32, 15);
}
