//! Nothing of a secret key is left on the heap: whatever is given back is looked through.
#![expect(unsafe_code, reason = "an allocator is unsafe to write, and only one sees memory that is given back")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use vanity::{AddressKind, Image, Record, SecretKey, base58};
use zeroize::Zeroize;

const SECRET: [u8; 32] = *b"\x17 thirty-two bytes like no other";
/// Half a key is a secret, too.
const PART: usize = 16;

/// What must not be seen; not set until the test knows it.
static SIGHTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
static SEEN: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: passes on what the system's allocator gives and takes. Memory comes zeroed, so that all of it can be read.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that this function wants.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(sights) = SIGHTS.get() {
            // SAFETY: the block was given out with this size, all of it initialised, and nobody uses it any more.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            if sights.iter().any(|sight| bytes.windows(PART).any(|part| sight.windows(PART).any(|own| own == part))) {
                SEEN.fetch_add(1, Ordering::Relaxed);
            }
        }
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

/// How often something of the secret was given back unwiped.
fn seen_while(action: impl FnOnce()) -> usize {
    let before = SEEN.load(Ordering::Relaxed);
    action();
    SEEN.load(Ordering::Relaxed) - before
}

#[test]
fn keys_and_their_texts_are_wiped() {
    let key = || SecretKey::from_bytes(&SECRET).expect("a key");
    let (offset, image) = (k256::Scalar::from(7u64), Image::new(3).expect("an image"));
    let record = Record::new(AddressKind::P2pkh, "1", &key().public_key(), &offset, image).expect("finite");
    let combined = key().combine(&offset, image).expect("not zero");
    let mut sights = Vec::new();
    for key in [key(), combined] {
        let bytes = key.to_bytes().to_vec();
        // Numbers lie in memory with their last byte first.
        sights.push(bytes.iter().rev().copied().collect());
        sights.push(hex::encode(&bytes).into_bytes());
        sights.push(key.to_wif().as_bytes().to_vec());
        // And so do the digits of a number in base 58.
        sights.push(key.to_wif().chars().rev().map(|letter| base58::digit(letter).expect("Base58")).collect());
        sights.push(bytes);
    }
    let (digits, wif) = (key().to_hex(), key().to_wif());
    SIGHTS.set(sights).expect("set once");

    // The watch sees what is left behind: a box, a text, a vector that had to grow.
    assert_eq!(seen_while(|| drop(black_box(Box::new(SECRET)))), 1);
    assert_eq!(seen_while(|| drop(black_box(digits.to_string()))), 1);
    let grow = || {
        let mut bytes = black_box(SECRET.to_vec());
        bytes.reserve(1_000);
        bytes.zeroize();
    };
    assert_eq!(seen_while(grow), 1);

    assert_eq!(seen_while(|| drop(black_box(Box::new(key())))), 0, "a key");
    let own = key();
    assert_eq!(seen_while(|| drop(black_box(Box::new(own.clone())))), 0, "its copy");
    assert_eq!(*own.to_bytes(), SECRET, "which is another's end");
    assert_eq!(seen_while(|| drop(black_box(key().to_hex()))), 0, "hex");
    assert_eq!(seen_while(|| drop(black_box(key().to_wif()))), 0, "wallet import format");
    for kind in [AddressKind::P2pkh, AddressKind::Ethereum] {
        assert_eq!(seen_while(|| drop(black_box(key().to_import_text(kind)))), 0, "the text for {kind}");
    }
    for text in [&digits, &wif] {
        assert_eq!(seen_while(|| drop(black_box(SecretKey::from_text(text).map(Box::new)))), 0, "a key that is read");
    }
    let mistyped = [&wif[..51], "1"].concat();
    assert_eq!(seen_while(|| drop(black_box(SecretKey::from_wif(&mistyped)))), 0, "a key with a mistake");
    assert_eq!(seen_while(|| drop(black_box(record.combine(&key()).map(Box::new)))), 0, "both halves");
}

#[test]
fn a_key_is_not_printed_by_mistake() {
    let key = SecretKey::from_bytes(&SECRET).expect("a key");
    for text in [format!("{key:?}"), format!("{key:#?}"), format!("{:?}", Some(&key))] {
        assert!(text.contains("SecretKey(…)") && text.len() < 40, "{text}");
    }
}
