//! Shares: checked, counted, audited, and hidden winners; with workers that cheat.

use std::ops::ControlFlow;

use k256::{Scalar, elliptic_curve::PrimeField};
use vanity::{
    AddressKind, Hash160, Image, Pattern, PublicKey, Ranges, SecretKey,
    kernel::Backend,
    oblivious::{Opening, OpeningError},
    ranges::HashRange,
    shares::{Share, ShareChecker, ShareError, Standing, audit, audit_slice},
    unit::{Found, Search, Slice, search},
};

fn secret(number: u64) -> SecretKey {
    let bytes = Scalar::from(number).to_repr().into();
    SecretKey::from_bytes(&bytes).expect("a key")
}

/// One candidate in 256 is a share.
fn job() -> Search {
    let mut high = Hash160::MAX;
    high.0[0] = 0;
    Search {
        public_key: secret(987_654_321).public_key(),
        base: Scalar::from(0x1234_5678_9abc_u64),
        kind: AddressKind::P2pkh,
        targets: Ranges::default(),
        shares: Ranges::union(HashRange::new(Hash160::MIN, high)),
        backend: Backend::best(),
    }
}

fn shares_of(job: &Search, unit: Slice) -> Vec<Found> {
    search(job, unit, |_| ControlFlow::Continue(())).shares
}

fn reported(found: &[Found]) -> Vec<Share> {
    found.iter().copied().map(Share::from).collect()
}

#[test]
fn honest_shares_are_accepted_and_bad_ones_named() {
    let (job, unit) = (job(), Slice::new(1 << 40, 3_000).expect("small"));
    let found = shares_of(&job, unit);
    assert!(found.len() > 40);
    let checker = ShareChecker::new(&job.public_key, job.base, job.kind, job.shares.clone());
    let shares = reported(&found);
    assert_eq!(checker.check_all(unit, &shares), Ok(found));

    let twice = [shares[0], shares[1], shares[0]];
    assert_eq!(checker.check_all(unit, &twice), Err(ShareError::Duplicate(shares[0].index)));
    let before = Share { index: unit.start - 1, ..shares[0] };
    assert_eq!(checker.check(unit, before), Err(ShareError::OutsideUnit(before.index)));
    let after = Share { index: unit.start + unit.length, ..shares[0] };
    assert_eq!(checker.check(unit, after), Err(ShareError::OutsideUnit(after.index)));
    let number = (shares[0].image.number() + 1) % 6;
    let forged = Share { image: Image::new(number).expect("below six"), ..shares[0] };
    assert!(matches!(checker.check(unit, forged), Err(ShareError::NotAShare { .. })));
    // Another order's share is none of this one: its base differs.
    let other = ShareChecker::new(&job.public_key, job.base + Scalar::ONE, job.kind, job.shares.clone());
    assert!(other.check_all(unit, &shares).is_err());
}

#[test]
fn shares_at_zero_and_infinity_are_refused() {
    let everything = Ranges::everything();
    let unit = Slice::new(0, u64::MAX).expect("fits");
    let any = Image::new(0).expect("an image");
    let key = secret(5).public_key();
    let checker = ShareChecker::new(&key, -Scalar::from(7u64), AddressKind::P2pkh, everything);
    assert_eq!(checker.check(unit, Share { index: 7, image: any }), Err(ShareError::NoPoint(7)), "offset zero");
    assert_eq!(checker.check(unit, Share { index: 2, image: any }), Err(ShareError::NoPoint(2)), "infinity");
    assert!(checker.check(unit, Share { index: 3, image: any }).is_ok());
}

#[test]
fn share_bytes_come_back() {
    let share = Share { index: 0x0102_0304_0506_0708, image: Image::new(5).expect("an image") };
    assert_eq!(share.encode(), [1, 2, 3, 4, 5, 6, 7, 8, 5]);
    assert_eq!(Share::decode(&share.encode()), Some(share));
    assert_eq!(Share::decode(&[0, 0, 0, 0, 0, 0, 0, 0, 6]), None);
}

#[test]
fn an_audit_finds_what_is_left_out_and_what_is_made_up() {
    let (job, unit) = (job(), Slice::new(5_000, 40_000).expect("small"));
    let slice = audit_slice(unit, 10, &[7; 32]);
    assert!(slice.start >= unit.start && slice.start + slice.length <= unit.start + unit.length);
    assert_eq!(slice.length, 4_000);
    let honest = reported(&shares_of(&job, unit));
    assert!(audit(&job, slice, &honest).is_clean());

    let victim = *honest.iter().find(|share| slice.contains(share.index)).expect("about 94 of them");
    let partial: Vec<Share> = honest.iter().copied().filter(|share| *share != victim).collect();
    let found = audit(&job, slice, &partial);
    assert_eq!(found.missing.iter().map(|found| Share::from(*found)).collect::<Vec<_>>(), [victim]);
    let mut padded = honest;
    let made_up = Share { index: victim.index + 1, image: victim.image };
    padded.push(made_up);
    assert_eq!(audit(&job, slice, &padded).invented, [made_up]);
}

/// A worker that searches half and claims the whole is found out by counting alone.
#[test]
fn a_slacker_stands_out_after_a_few_units() {
    let job = job();
    let (mut honest, mut slacker) = (Standing::default(), Standing::default());
    for number in 0..12 {
        let unit = Slice::new(number * 4_000, 4_000).expect("small");
        let half = Slice { length: unit.length / 2, ..unit };
        honest.add(unit.candidates(), 256.0, shares_of(&job, unit).len() as u64);
        slacker.add(unit.candidates(), 256.0, shares_of(&job, half).len() as u64);
    }
    assert!(honest.deviations().abs() < 3.5 && honest.innocence() > 1e-3, "{honest:?}");
    assert!(slacker.deviations() < -10.0 && slacker.innocence() < 1e-12, "{slacker:?}");
    assert!((slacker.diligence() - 0.5).abs() < 0.05);
}

#[test]
fn acceptance_bounds_follow_poisson() {
    // 64 expected: 3.2 standard deviations below is 40, as a table of the distribution says.
    let innocence = |expected, found| Standing { expected, found }.innocence();
    assert!(innocence(64.0, 40) <= 0.001 && innocence(64.0, 41) > 0.001);
    assert!(innocence(0.0, 0) > 0.001);
    assert!(innocence(10_000.0, 9_600) <= 0.001);
}

fn opening(prefix: &str, width: u64, seed: u8) -> Opening {
    let targets = Pattern::parse(prefix).expect("possible").ranges().clone();
    Opening { targets, width, seed: [seed; 32] }
}

#[test]
fn wide_ranges_cover_the_targets_at_places_nobody_can_guess() {
    let mut places = Vec::new();
    for seed in 0..200 {
        let opening = opening("1LoVE", 64, seed);
        let wide = opening.wide();
        assert!(opening.targets.is_within(&wide));
        let size = |ranges: &Ranges| ranges.count();
        assert_eq!(size(&wide), size(&opening.targets).saturating_mul(&k256::U256::from_u64(64)));
        let first = |ranges: &Ranges| f64::from(ranges.as_slice()[0].low.first_word());
        let last = f64::from(wide.as_slice()[0].high.first_word());
        places.push((first(&opening.targets) - first(&wide)) / (last - first(&wide)));
    }
    // Uniform on 0..63/64: mean near a half, both ends visited.
    let mean = places.iter().sum::<f64>() / 200.0;
    assert!((0.42..0.58).contains(&mean), "{mean}");
    assert!(places.iter().any(|place| *place < 0.1) && places.iter().any(|place| *place > 0.88));
}

#[test]
fn covers_at_the_edge_of_the_space_stay_inside() {
    for prefix in ["1111", "1QLbz", "0x0000", "0xffff", "1"] {
        let opening = opening(prefix, 1_000, 3);
        assert!(opening.targets.is_within(&opening.wide()), "{prefix}");
    }
}

#[test]
fn an_opening_is_held_to_its_commitment() {
    let honest = opening("1LoVE", 64, 1);
    let (commitment, wide) = (honest.commitment(), honest.wide());
    assert_eq!(honest.check(&commitment, &wide), Ok(()));
    let other_target = opening("1LoVF", 64, 1);
    assert_eq!(other_target.check(&commitment, &wide), Err(OpeningError::Commitment));
    assert_eq!(honest.check(&commitment, &opening("1LoVE", 64, 2).wide()), Err(OpeningError::Wide));
}

#[test]
fn public_keys_that_are_no_points_are_refused() {
    let mut off_curve = [0; 33];
    off_curve[0] = 2;
    off_curve[32] = 5;
    for bytes in [[0; 33], [4; 33], [2; 33].map(|_| 0xff), off_curve] {
        assert!(PublicKey::from_bytes(&bytes).is_err(), "{bytes:?}");
    }
}
