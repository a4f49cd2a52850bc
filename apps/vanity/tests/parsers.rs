//! Everything that is parsed from strangers, fed with noise and with damaged real input: it may refuse, never panic.

use k256::{Scalar, elliptic_curve::PrimeField};
use proptest::prelude::*;
use vanity::{
    AddressKind, Image, Order, Params, Pattern, Record, SecretKey, Solution,
    order::ParamsError,
    record::{OrderPart, RecordError},
    solution::SolutionError,
};

const ORDER: [u8; 32] = [0xab; 32];
const WORKER: [u8; 20] = [0x11; 20];

fn key() -> SecretKey {
    SecretKey::from_bytes(&[0x42; 32]).expect("a key")
}

fn params() -> Params {
    let ranges = Pattern::parse("1LoVE").expect("possible").ranges().clone();
    Params::new(key().public_key(), ranges).expect("few ranges")
}

fn record() -> Record {
    let order = Order { id: ORDER, worker: WORKER };
    let image = Image::new(3).expect("an image");
    let mut record =
        Record::new(AddressKind::P2pkh, "1", &key().public_key(), &order.offset(9), image).expect("finite");
    record.order = Some(OrderPart { order: hex::encode(ORDER), worker: hex::encode(WORKER), index: 9 });
    record
}

#[test]
fn a_record_comes_back_and_combines() {
    let record = record();
    let parsed = Record::from_json(&record.to_json()).expect("its own text");
    assert_eq!(parsed, record);
    let combined = parsed.combine(&key()).expect("the right key");
    assert_eq!(combined.public_key().address(AddressKind::P2pkh), record.address);
    let other = SecretKey::from_bytes(&[0x43; 32]).expect("a key");
    assert!(matches!(parsed.combine(&other), Err(RecordError::OtherKey(_))));
}

#[test]
fn a_record_that_does_not_hold_is_refused() {
    let check = |change: &dyn Fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        Record::from_json(&record.to_json()).expect_err("changed")
    };
    assert!(matches!(check(&|record| record.pattern = "1LoVE".into()), RecordError::Pattern { .. }));
    assert!(matches!(check(&|record| record.pattern = record.address.clone() + "1"), RecordError::Pattern { .. }));
    assert!(matches!(check(&|record| record.image = 2), RecordError::Wrong(_)));
    assert!(matches!(check(&|record| record.image = 6), RecordError::Image(6)));
    assert!(matches!(check(&|record| record.address.push('1')), RecordError::Wrong(_)));
    assert!(matches!(check(&|record| record.kind = AddressKind::P2wpkh), RecordError::Wrong(_)));
    assert!(matches!(check(&|record| record.offset = "00".repeat(32)), RecordError::Offset));
    assert!(matches!(check(&|record| record.offset = "ff".repeat(32)), RecordError::Offset));
    assert!(matches!(check(&|record| record.offset = "é".repeat(32)), RecordError::Hex("offset")));
    assert!(matches!(
        check(&|record| record.public_key = "02".repeat(33)),
        RecordError::Key(_) | RecordError::Wrong(_)
    ));
    assert!(matches!(check(&|record| record.order.as_mut().expect("set").index = 8), RecordError::Order));
    assert!(matches!(Record::from_json(&" ".repeat(20_000)), Err(RecordError::TooLong(20_000))));
    let later = record().to_json().replace("vanity-record/1", "vanity-record/2");
    assert!(matches!(Record::from_json(&later), Err(RecordError::Format(_))));
    let extra = record().to_json().replacen('{', "{\"more\":1,", 1);
    assert!(matches!(Record::from_json(&extra), Err(RecordError::Json(_))));
}

#[test]
fn parameters_are_exactly_what_the_chain_takes() {
    let bytes = params().encode();
    assert_eq!(bytes.len(), 33 + 40 * params().ranges().len());
    assert_eq!(Params::decode(&bytes), Ok(params()));
    let range = |low: u8, high: u8| [[low; 20], [high; 20]].concat();
    let with = |ranges: &[Vec<u8>]| Params::decode(&[bytes[..33].to_vec(), ranges.concat()].concat());
    assert!(matches!(with(&[]), Err(ParamsError::Length(33))));
    assert!(matches!(with(&[range(2, 1)]), Err(ParamsError::Inverted(0))));
    assert!(matches!(with(&[range(3, 4), range(1, 2)]), Err(ParamsError::Unsorted(1))));
    assert!(matches!(with(&[range(1, 3), range(3, 4)]), Err(ParamsError::Unsorted(1))));
    assert!(with(&(0..32).map(|at| range(2 * at, 2 * at + 1)).collect::<Vec<_>>()).is_ok());
    let many = with(&(0..33).map(|at| range(2 * at, 2 * at + 1)).collect::<Vec<_>>());
    assert!(matches!(many, Err(ParamsError::Length(_))));
    assert!(matches!(Params::decode(&bytes[..72]), Err(ParamsError::Length(72))));
}

/// x = n + 2 is on the curve, and no contract can check orders with it.
#[test]
fn a_key_whose_x_is_not_below_the_group_order_is_refused() {
    let above: Vec<_> = (0..200u8)
        .filter_map(|step| {
            let mut bytes =
                hex::decode("02fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").expect("hex");
            let (low, carry) = bytes[32].overflowing_add(step);
            bytes[32] = low;
            bytes[31] += u8::from(carry);
            vanity::PublicKey::from_bytes(&bytes.try_into().expect("33 bytes")).ok()
        })
        .collect();
    assert!(above.len() > 50, "half of all x are on the curve");
    for key in above {
        assert!(!key.is_payable());
        let ranges = params().ranges().clone();
        assert_eq!(Params::new(key, ranges), Err(ParamsError::KeyNotPayable));
    }
}

#[test]
fn a_solution_for_another_worker_or_order_is_refused() {
    let order = Order { id: ORDER, worker: WORKER };
    let everything = Params::new(key().public_key(), vanity::Ranges::everything()).expect("one range");
    let solution = Solution::new(&everything, &order, 5, Image::new(4).expect("an image")).expect("finite");
    assert!(solution.check(&everything, &ORDER).is_ok());
    assert!(solution.check(&everything, &[1; 32]).is_err());
    assert!(Solution { worker: [0x12; 20], ..solution }.check(&everything, &ORDER).is_err());
    assert!(Solution { index: 6, ..solution }.check(&everything, &ORDER).is_err());
    assert!(solution.check(&params(), &ORDER).is_err(), "not in the ranges");
}

#[test]
fn a_record_holds_whatever_the_case_of_its_pattern() {
    let mut record = record();
    for pattern in [record.address.to_ascii_lowercase(), record.address[..4].to_ascii_uppercase(), String::new()] {
        record.pattern = pattern;
        assert!(Record::from_json(&record.to_json()).is_ok(), "{}", record.pattern);
    }
}

/// Whoever has a key of its own, or knows how its point hangs together with the requester's, is paid for nothing but
/// P + k·G, whose key takes both halves.
#[test]
fn rogue_points_are_refused() {
    let order = Order { id: ORDER, worker: WORKER };
    let everything = Params::new(key().public_key(), vanity::Ranges::everything()).expect("one range");
    let of = |secret: Scalar| SecretKey::from_bytes(&secret.to_bytes().into()).expect("not zero").public_key();
    let (p, k, own) = (Scalar::from_repr((*key().to_bytes()).into()).unwrap(), order.offset(5), Scalar::from(0x99u64));
    let lambda = Image::new(2).expect("an image").multiplier();
    for image in (0..6).filter_map(Image::new) {
        let honest = Solution::new(&everything, &order, 5, image).expect("finite");
        assert_eq!(honest.point, of(p + k));
        assert!(honest.check(&everything, &ORDER).is_ok());
        for (name, secret) in [
            ("X", own),
            ("X − P", own - p),
            ("X − P + k·G", own - p + k),
            ("X + P", own + p),
            ("X + P + k·G", own + p + k),
            ("k·G", k),
            ("P", p),
            ("−(P + k·G)", -(p + k)),
            ("λ·(P + k·G)", lambda * (p + k)),
            ("P + (k + 1)·G", p + k + Scalar::ONE),
        ] {
            let rogue = Solution { point: of(secret), ..honest };
            assert_eq!(rogue.check(&everything, &ORDER), Err(SolutionError::WrongPoint), "{name}");
        }
    }
}

#[test]
fn only_02_and_03_begin_a_public_key() {
    let bytes = key().public_key().to_bytes();
    for tag in 0..=255 {
        let tagged: [u8; 33] = [&[tag], &bytes[1..]].concat().try_into().unwrap();
        assert_eq!(vanity::PublicKey::from_bytes(&tagged).is_ok(), tag == 2 || tag == 3, "{tag}");
    }
}

const KINDS: [AddressKind; 4] =
    [AddressKind::P2pkh, AddressKind::P2wpkh, AddressKind::P2shP2wpkh, AddressKind::Ethereum];

/// A record that holds, with or without an order, and the key it belongs to.
fn drawn_record() -> impl Strategy<Value = (SecretKey, Record)> {
    let parts = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 20]>(), any::<u64>());
    let choices = (0..4_usize, 0..6_u8, 0..12_usize, any::<bool>());
    (parts, choices).prop_filter_map(
        "not a key",
        |((secret, order, worker, index), (kind, image, letters, is_paid))| {
            let secret = SecretKey::from_bytes(&secret).ok()?;
            let offset = Order { id: order, worker }.offset(index);
            let mut record = Record::new(KINDS[kind], "", &secret.public_key(), &offset, Image::new(image)?).ok()?;
            record.pattern = record.address[..letters].to_owned();
            record.order = is_paid.then(|| OrderPart { order: hex::encode(order), worker: hex::encode(worker), index });
            Some((secret, record))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        let _ = Params::decode(&bytes);
        let _ = Solution::decode(&bytes);
        let _ = Record::from_json(&text);
        let _ = SecretKey::from_text(&text);
        let _ = vanity::base58::decode_check(&text);
    }

    /// One changed byte anywhere: parsed to something else or refused, and what is parsed encodes to what was read.
    #[test]
    fn damaged_parameters_stay_consistent(at in 0usize..73, byte: u8) {
        let mut bytes = params().encode();
        let position = at % bytes.len();
        bytes[position] = byte;
        if let Ok(parsed) = Params::decode(&bytes) {
            prop_assert_eq!(parsed.encode(), bytes);
        }
    }

    #[test]
    fn damaged_records_are_refused(at in 0usize..500, character in "[ -~]") {
        let text = record().to_json();
        let position = at % text.len();
        let mut damaged = text;
        damaged.replace_range(position..=position, &character);
        if let Ok(parsed) = Record::from_json(&damaged) {
            // Only hex and pattern may change, and those their case.
            prop_assert_eq!(parsed.address, record().address);
        }
    }

    /// Well-formed, of any key, and then perhaps changed in one place: what passes owns its address.
    #[test]
    fn records_hold_or_are_refused(drawn in drawn_record(), change in 0..12_usize, number: u64, byte: [u8; 32]) {
        let (secret, record) = drawn;
        prop_assert!(Record::from_json(&record.to_json()).is_ok(), "{}", record.to_json());
        let mut changed = record.clone();
        match (change, &mut changed.order) {
            (0, _) => changed.image = (number % 8) as u8,
            (1, _) => changed.offset = hex::encode(byte),
            (2, _) => changed.public_key = format!("02{}", hex::encode(byte)),
            (3, _) => changed.kind = KINDS[number as usize % 4],
            (4, _) => changed.address = changed.kind.encode(vanity::Hash160::of(&byte)),
            (5, _) => changed.pattern = record.address[..number as usize % record.address.len()].to_uppercase(),
            (6, _) => changed.pattern = hex::encode(byte)[..number as usize % 64].to_owned(),
            (7, Some(order)) => order.index = number,
            (8, Some(order)) => order.worker = hex::encode(&byte[..20]),
            (9, Some(order)) => order.order = hex::encode(byte),
            (10, _) => changed.order = None,
            _ => changed.address = changed.address.to_lowercase(),
        }
        if let Ok(parsed) = Record::from_json(&changed.to_json()) {
            prop_assert_eq!(&parsed, &changed);
            // Only what does not matter can have changed: the address is still that of the key.
            prop_assert_eq!(&parsed.address, &record.address);
            let key = parsed.combine(&secret).expect("it was verified");
            let owned = key.public_key().address(parsed.kind);
            prop_assert_eq!(&owned, &parsed.address);
            prop_assert!(parsed.address.to_lowercase().starts_with(&parsed.pattern.to_lowercase()));
            if let Some(part) = &parsed.order {
                let (id, worker) = (hex::decode(&part.order).unwrap(), hex::decode(&part.worker).unwrap());
                let order = Order { id: id.try_into().unwrap(), worker: worker.try_into().unwrap() };
                let offset = hex::encode(order.offset(part.index).to_bytes());
                prop_assert_eq!(&offset, &parsed.offset);
            }
        }
    }

    #[test]
    fn solutions_come_back(index: u64, image in 0u8..6) {
        let order = Order { id: ORDER, worker: WORKER };
        if let Some(solution) = Solution::new(&params(), &order, index, Image::new(image).expect("below six")) {
            prop_assert_eq!(Solution::decode(&solution.encode()), Ok(solution));
        }
    }
}
