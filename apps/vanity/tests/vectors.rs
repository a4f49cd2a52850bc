//! Everything that has an independent implementation, held against it: `vectors/generate.py` wrote the expectations.

use serde::Deserialize;
use vanity::{
    AddressKind, Image, Order, Params, Pattern, PublicKey, Ranges, SecretKey, Solution, difficulty::Difficulty,
    solution,
};

#[derive(Deserialize)]
struct Vectors {
    keys: Vec<KeyVector>,
    splits: Vec<SplitVector>,
    prefixes: Vec<PrefixVector>,
}

#[derive(Deserialize)]
struct KeyVector {
    secret: String,
    wif: String,
    public_key: String,
    hash160: String,
    p2pkh: String,
    p2wpkh: String,
    p2sh_p2wpkh: String,
    ethereum: String,
}

#[derive(Deserialize)]
struct SplitVector {
    secret: String,
    order: String,
    worker: String,
    index: String,
    image: u8,
    public_key: String,
    offset: String,
    key: String,
    hash160: String,
    solution: String,
}

#[derive(Deserialize)]
struct PrefixVector {
    prefix: String,
    /// Of 2^192 numbers hash ‖ checksum.
    numbers: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/vectors.json")).expect("the vectors are committed and valid")
}

fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    hex::decode(text).expect("hex").try_into().expect("length")
}

#[test]
fn keys_have_the_addresses_of_another_implementation() {
    for vector in vectors().keys {
        let key = SecretKey::from_bytes(&bytes(&vector.secret)).expect("a key");
        let public_key = key.public_key();
        assert_eq!(public_key.to_string(), vector.public_key);
        assert_eq!(key.to_wif().as_str(), vector.wif);
        assert_eq!(SecretKey::from_text(&vector.wif).expect("WIF").to_bytes(), key.to_bytes());
        assert_eq!(public_key.hash(AddressKind::P2pkh).to_string(), vector.hash160);
        assert_eq!(public_key.address(AddressKind::P2pkh), vector.p2pkh);
        assert_eq!(public_key.address(AddressKind::P2wpkh), vector.p2wpkh);
        assert_eq!(public_key.address(AddressKind::P2shP2wpkh), vector.p2sh_p2wpkh);
        assert_eq!(public_key.address(AddressKind::Ethereum), vector.ethereum);
    }
}

#[test]
fn an_address_matches_every_beginning_of_itself_and_no_other() {
    for vector in vectors().keys {
        let key = SecretKey::from_bytes(&bytes(&vector.secret)).expect("a key").public_key();
        for address in [&vector.p2pkh, &vector.p2wpkh, &vector.p2sh_p2wpkh, &vector.ethereum] {
            for end in 2..=address.len() {
                let pattern = Pattern::parse(&address[..end]).expect("the beginning of an address is possible");
                let hash = key.hash(pattern.kind());
                assert!(pattern.matches(hash), "{address} matches {}", pattern.text());
                let neighbour = hash.successor().expect("not the last hash");
                let starts_alike = pattern.kind().encode(neighbour).starts_with(pattern.text());
                assert_eq!(pattern.matches(neighbour), starts_alike, "neighbour of {address} and {}", pattern.text());
            }
        }
    }
}

#[test]
fn split_keys_combine_as_in_another_implementation() {
    for vector in vectors().splits {
        let secret = SecretKey::from_bytes(&bytes(&vector.secret)).expect("a key");
        let (order, worker) = (bytes::<32>(&vector.order), bytes::<20>(&vector.worker));
        let index: u64 = vector.index.parse().expect("an index");
        let image = Image::new(vector.image).expect("an image");
        assert_eq!(secret.public_key(), PublicKey::from_bytes(&bytes(&vector.public_key)).expect("a point"));
        let params = Params::new(secret.public_key(), Ranges::everything()).expect("parameters");
        let place = Order { id: order, worker };
        assert_eq!(hex::encode(place.offset(index).to_bytes()), vector.offset);

        let found = Solution::new(&params, &place, index, image).expect("not infinity");
        assert_eq!(hex::encode(found.encode()), vector.solution);
        let decoded = Solution::decode(&hex::decode(&vector.solution).expect("hex")).expect("a solution");
        assert_eq!(decoded, found);
        assert_eq!(decoded.check(&params, &order).expect("it holds").to_string(), vector.hash160);
        let key = solution::combine(&secret, &order, &worker, index, image).expect("a key");
        assert_eq!(hex::encode(key.to_bytes()), vector.key);
        assert_eq!(key.public_key().hash(AddressKind::P2pkh).to_string(), vector.hash160);
    }
}

/// Cutting the edges to whole hashes moves the count by at most one hash per edge.
#[test]
fn prefix_counts_agree_with_bisection_on_written_addresses() {
    for PrefixVector { prefix, numbers } in vectors().prefixes {
        let numbers: f64 = numbers.parse().expect("a number");
        match Pattern::parse(&prefix) {
            Ok(pattern) => {
                let expected = 2f64.powi(192) / numbers;
                let ratio = pattern.difficulty().candidates() / expected;
                assert!((ratio - 1.0).abs() < 1e-12, "{prefix}: {} instead of {expected}", pattern.difficulty());
            }
            Err(error) => assert_eq!(numbers, 0.0, "{error}"),
        }
    }
}

#[test]
fn difficulty_is_a_fraction_in_lowest_terms() {
    let of = |prefix: &str| Pattern::parse(prefix).expect("possible").difficulty().fraction();
    assert_eq!(of("111"), ("65536".to_owned(), "1".to_owned()));
    assert_eq!(of("bc1qqq"), ("1024".to_owned(), "1".to_owned()));
    assert_eq!(of("0x0aB"), ("16384".to_owned(), "1".to_owned()));
    let everything = Difficulty::of(&Ranges::everything()).expect("not empty");
    assert_eq!(everything.fraction(), ("1".to_owned(), "1".to_owned()));
}
