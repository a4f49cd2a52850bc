//! Each back end against k256, sha2, ripemd and sha3: all of its lanes, all columns of its hashes, and the points at
//! which adding goes wrong.

use std::fmt;

use k256::{
    AffinePoint, ProjectivePoint, Scalar,
    elliptic_curve::{BatchNormalize, bigint::U256, sec1::ToEncodedPoint},
};
use proptest::prelude::*;
use ripemd::Ripemd160;
use sha2::Sha256;
use sha3::{Digest, Keccak256};

use super::{
    Backend, Find, Goal, Walk,
    back_end::BackEnd,
    filter::{WordFilter, WordInterval},
    lanes::{Accepted, Coordinates, FieldLanes, GROUP},
    portable::Portable,
    walk::Walker,
};
use crate::{
    AddressKind, Hash160, Image, Ranges,
    field::{
        Element,
        tests::{element, number, product},
    },
    ranges::HashRange,
};

const KINDS: [AddressKind; 4] =
    [AddressKind::P2pkh, AddressKind::P2wpkh, AddressKind::P2shP2wpkh, AddressKind::Ethereum];

macro_rules! on_each_back_end {
    ($check:ident($($argument:expr),*)) => {
        $check::<Portable>($($argument),*);
        #[cfg(target_arch = "aarch64")]
        $check::<super::neon::Neon>($($argument),*);
        #[cfg(target_arch = "x86_64")]
        {
            if Backend::Avx2.is_available() {
                $check::<super::avx2::Avx2>($($argument),*);
            }
            if Backend::Avx512.is_available() {
                $check::<super::avx512::Avx512>($($argument),*);
            }
        }
    };
}

fn name_of<B>() -> &'static str {
    std::any::type_name::<B>()
}

fn hash_by_libraries(kind: AddressKind, x: &[u8; 32], y: &[u8; 32]) -> Hash160 {
    let key_hash = || {
        let digest = Sha256::new().chain_update([2 + y[31] % 2]).chain_update(x).finalize();
        Ripemd160::digest(digest)
    };
    match kind {
        AddressKind::P2pkh | AddressKind::P2wpkh => Hash160(key_hash().into()),
        AddressKind::P2shP2wpkh => {
            let script = Sha256::new().chain_update([0, 20]).chain_update(key_hash()).finalize();
            Hash160(Ripemd160::digest(script).into())
        }
        AddressKind::Ethereum => {
            let digest = Keccak256::new().chain_update(x).chain_update(y).finalize();
            Hash160(digest[12..].try_into().expect("20 bytes"))
        }
    }
}

/// The multiples of G from `first` on, turned by λ⁰, λ¹ and λ²: a running sum for each, and nothing of ours.
fn multiples(first: Scalar, count: usize) -> Vec<[AffinePoint; 3]> {
    let turned: [Vec<AffinePoint>; 3] = [0, 2, 4].map(|image| {
        let step = ProjectivePoint::GENERATOR * Image::new(image).expect("an image").multiplier();
        // Infinity as a constant: the division by all z at once does not see every way to write it.
        let plain = |sum| if sum == ProjectivePoint::IDENTITY { ProjectivePoint::IDENTITY } else { sum };
        let sums = std::iter::successors(Some(step * first), |sum| Some(*sum + step)).take(count).map(plain);
        let sums: Vec<ProjectivePoint> = sums.collect();
        <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(sums.as_slice())
    });
    (0..count).map(|at| [turned[0][at], turned[1][at], turned[2][at]]).collect()
}

/// What a search has to find if everything is wanted, in its order.
fn candidates(kind: AddressKind, points: &[[AffinePoint; 3]]) -> Vec<Find> {
    let of_image = |position: u32, image: Image, point: &AffinePoint| {
        // Infinity has no coordinates.
        let is_odd = point.to_encoded_point(false).y()?[31] % 2 == 1;
        let signed = if is_odd == image.is_odd() { *point } else { -*point };
        let encoded = signed.to_encoded_point(false);
        let hash = hash_by_libraries(kind, &(*encoded.x()?).into(), &(*encoded.y()?).into());
        Some(Find { position, image, hash })
    };
    let images = || (0..6).filter_map(Image::new);
    let of_point = |(position, turned): (usize, &[AffinePoint; 3])| -> Vec<Find> {
        let position = u32::try_from(position).expect("few points");
        images().filter_map(|image| of_image(position, image, &turned[usize::from(image.endomorphism())])).collect()
    };
    points.iter().enumerate().flat_map(of_point).collect()
}

/// What so many blocks from `origin + first·G` on give.
fn walked<B: BackEnd>(goal: &Goal, origin: ProjectivePoint, first: Scalar, blocks: u32) -> Vec<Find> {
    let mut walker = Walker::<B>::new(goal, origin, first);
    let mut found = Vec::new();
    for block in 0..blocks {
        let mut finds = Vec::new();
        walker.next_block(&mut finds);
        finds.sort_unstable();
        let moved = |find: Find| Find { position: block * B::BLOCK_POINTS + find.position, ..find };
        found.extend(finds.into_iter().map(moved));
    }
    found
}

fn check_same(found: &[Find], expected: &[Find], story: &dyn fmt::Display) {
    let differs = |at: &usize| found.get(*at) != expected.get(*at);
    if let Some(at) = (0..found.len().max(expected.len())).find(differs) {
        panic!("{story}: {:?} instead of {:?}", found.get(at), expected.get(at));
    }
}

/// All that begins with one of these bytes.
fn beginning_with(bytes: impl IntoIterator<Item = u8>) -> Ranges {
    Ranges::union(bytes.into_iter().map(|byte| {
        let (mut low, mut high) = (Hash160::MIN, Hash160::MAX);
        (low.0[0], high.0[0]) = (byte, byte);
        HashRange::new(low, high).expect("in order")
    }))
}

/// Three blocks of the widest back end, as many points of the others. Where everything is wanted each coordinate is
/// checked, and where half is, the vector code for hashes decides.
fn check_walk<B: BackEnd>(points: &[[AffinePoint; 3]], origin: ProjectivePoint, first: Scalar) {
    let blocks = u32::try_from(points.len()).expect("few points") / B::BLOCK_POINTS;
    assert!(blocks >= 3);
    for kind in KINDS {
        let expected = candidates(kind, &points[..(blocks * B::BLOCK_POINTS) as usize]);
        let wishes = [
            ("everything", Ranges::everything()),
            ("the lower half", beginning_with(0..0x80)),
            ("one byte of two", beginning_with((0..0x80).map(|half| 2 * half + 1))),
        ];
        for (wish, ranges) in wishes {
            let wanted: Vec<Find> = expected.iter().copied().filter(|find| ranges.contains(find.hash)).collect();
            let found = walked::<B>(&Goal::new(kind, ranges), origin, first, blocks);
            check_same(&found, &wanted, &format_args!("{}, {kind}, {wish}", name_of::<B>()));
        }
    }
}

#[test]
fn every_point_of_every_lane_is_what_other_libraries_say() {
    // Any key, and any place to start that has no small multiples of G about it.
    let (secret, first) = (Scalar::from(0x1234_5678_9abc_def1_u64).invert().expect("not zero"), -Scalar::from(7u64));
    let points = multiples(secret + first, 3 * 8 * 1024);
    let origin = ProjectivePoint::GENERATOR * secret;
    on_each_back_end!(check_walk(&points, origin, first));
}

/// Of all candidates of the points `first·G`, `(first + 1)·G` and so on.
struct Near {
    kind: AddressKind,
    first: i64,
    expected: Vec<Find>,
}

impl Near {
    fn new(kind: AddressKind, first: i64, last: i64) -> Self {
        let count = usize::try_from(last - first).expect("in order");
        Self { kind, first, expected: candidates(kind, &multiples(scalar(first), count)) }
    }

    fn part(&self, first: i64, count: u32) -> Vec<Find> {
        let skipped = u32::try_from(first - self.first).expect("inside");
        let from = self.expected.partition_point(|find| find.position < skipped);
        let to = self.expected.partition_point(|find| find.position < skipped + count);
        let moved = |find: &Find| Find { position: find.position - skipped, ..*find };
        self.expected[from..to].iter().map(moved).collect()
    }
}

fn scalar(number: i64) -> Scalar {
    let size = Scalar::from(number.unsigned_abs());
    if number < 0 { -size } else { size }
}

/// Each lane's centre in turn is a point at which some addition of its block has no formula: ±G and ±HALF·G are what is
/// added first and last, the next centre is one jump away, and infinity has no coordinates. It is met at once, or in
/// the second block, to which only a jump leads; the block after it has to be right again.
fn check_exceptions<B: BackEnd>(near: &Near, lanes: std::ops::Range<i64>) {
    const BEFORE: i64 = 5;
    let (half, block) = (B::HALF as i64, i64::from(B::BLOCK_POINTS));
    let goal = Goal::new(near.kind, Ranges::everything());
    let origin = ProjectivePoint::GENERATOR * Scalar::from(BEFORE as u64);
    for lane in lanes {
        for centre in [1, half, -1, -half, 0, block, -block] {
            for blocks_before in [0, 1] {
                let first = centre - half - 2 * half * lane - block * blocks_before;
                let blocks = 2 + blocks_before as u32;
                let found = walked::<B>(&goal, origin, scalar(first - BEFORE), blocks);
                let expected = near.part(first, blocks * B::BLOCK_POINTS);
                let story = format_args!("{}: lane {lane} at {centre}·G", name_of::<B>());
                check_same(&found, &expected, &format_args!("{story}, after {blocks_before} blocks, {}", near.kind));
            }
        }
    }
}

fn check_exceptions_of_a_kind<B: BackEnd>(kind: AddressKind) {
    let (lanes, block) = (B::Field::LANES as i64, i64::from(B::BLOCK_POINTS));
    let near = Near::new(kind, -3 * block, 3 * block);
    // What is added does not depend on the kind but for the heights: their lanes need not all be seen.
    let first_lane = if kind == AddressKind::Ethereum { lanes - 1 } else { 0 };
    check_exceptions::<B>(&near, first_lane..lanes);
}

#[test]
fn a_centre_may_be_where_no_formula_holds_in_every_lane() {
    on_each_back_end!(check_exceptions_of_a_kind(AddressKind::P2pkh));
}

#[test]
fn heights_are_right_where_no_formula_holds() {
    on_each_back_end!(check_exceptions_of_a_kind(AddressKind::Ethereum));
}

/// What a hash makes of any coordinates, on a curve or not; some begin with zeros.
fn coordinate() -> impl Strategy<Value = [u8; 32]> {
    let zeros = prop_oneof![2 => Just(0), 1 => 1..=32_usize];
    (any::<[u8; 32]>(), zeros).prop_map(|(mut bytes, zeros)| {
        bytes[..zeros].fill(0);
        bytes
    })
}

/// The columns of `words` that an interval holds.
fn columns_in(words: &[u32; GROUP], interval: WordInterval) -> u32 {
    let holds = |word: u32| word >= interval.low && word - interval.low <= interval.width;
    words.iter().enumerate().map(|(column, &word)| u32::from(holds(word)) << column).sum()
}

fn check_columns<B: BackEnd>(points: &[([u8; 32], [u8; 32]); GROUP]) {
    let (mut x, mut y) = (Coordinates::ZERO, Coordinates::ZERO);
    for (column, point) in points.iter().enumerate() {
        x.set(column, &Element::from_bytes(&point.0));
        y.set(column, &Element::from_bytes(&point.1));
    }
    for kind in KINDS {
        let accepted = |filter: &WordFilter| -> Accepted {
            match kind {
                AddressKind::P2pkh | AddressKind::P2wpkh => B::key_hashes(&x, filter),
                AddressKind::P2shP2wpkh => [false, true].map(|odd| B::wrapped_key_hashes(&x, odd, filter)),
                AddressKind::Ethereum => [B::ethereum_hashes(&x, &y, filter), B::ethereum_hashes(&y, &x, filter)],
            }
        };
        let words: [[u32; GROUP]; 2] = [0, 1].map(|second| {
            points.map(|(x, y)| match (kind, second) {
                (AddressKind::Ethereum, 0) => hash_by_libraries(kind, &x, &y).first_word(),
                (AddressKind::Ethereum, _) => hash_by_libraries(kind, &y, &x).first_word(),
                (_, parity) => hash_by_libraries(kind, &x, &[parity; 32]).first_word(),
            })
        });
        let story = format!("{}, {kind}", name_of::<B>());
        // One hash at a time, what lies between it and another, and what does not.
        for (&word, &other) in words.as_flattened().iter().zip(words.as_flattened().iter().skip(1)) {
            let (low, high) = (word.min(other), word.max(other));
            for interval in [(word, word), (low, high), (high, u32::MAX), (0, low)] {
                let interval = WordInterval { low: interval.0, width: interval.1 - interval.0 };
                let expected = words.map(|words| columns_in(&words, interval));
                assert_eq!(accepted(&WordFilter::of_interval(interval)), expected, "{story}, {interval:x?}");
            }
        }
        // Several, compared one by one or through the bitmap.
        for count in [2, super::filter::INTERVALS_MAX, 2 * GROUP] {
            let wanted = &words.as_flattened()[..count];
            let expected = words.map(|words| {
                words.iter().enumerate().map(|(column, word)| u32::from(wanted.contains(word)) << column).sum::<u32>()
            });
            let edge = |word: &u32, rest: u8| {
                let mut hash = [rest; 20];
                hash[..4].copy_from_slice(&word.to_be_bytes());
                Hash160(hash)
            };
            let ranges = wanted.iter().filter_map(|word| HashRange::new(edge(word, 0), edge(word, u8::MAX)));
            assert_eq!(accepted(&WordFilter::new(&Ranges::union(ranges))), expected, "{story}, {count} intervals");
        }
    }
}

/// Sixteen points, one for each column.
fn group() -> impl Strategy<Value = [([u8; 32], [u8; 32]); GROUP]> {
    prop::collection::vec((coordinate(), coordinate()), GROUP).prop_map(|points| points.try_into().expect("as many"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn inverses_are_those_of_numbers(a in element()) {
        prop_assume!(!a.is_zero());
        let inverse = FieldLanes::invert(&a);
        prop_assert_eq!(product(&number(&inverse), &number(&a)), U256::ONE);
    }

    #[test]
    fn each_column_is_hashed_as_by_other_libraries(points in group()) {
        on_each_back_end!(check_columns(&points));
    }
}
