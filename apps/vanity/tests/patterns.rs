//! What patterns are possible, what is said about the others, and what matches.

use k256::elliptic_curve::bigint::U256;
use proptest::prelude::*;
use vanity::{
    AddressKind, Hash160, Pattern, base58,
    difficulty::{candidates_for, probability_found},
    pattern::{Choice, ChoiceError, Reason, Wish},
};

fn refused(text: &str) -> (String, Option<String>) {
    let error = Pattern::parse(text).expect_err("impossible");
    (error.reason.to_string(), error.nearest)
}

fn nearest(text: &str) -> String {
    refused(text).1.expect("something is near")
}

#[test]
fn impossible_patterns_come_with_a_reason_and_a_neighbour() {
    assert_eq!(nearest("1L0VE"), "1LoVE");
    assert_eq!(nearest("1lIO"), "1Lio");
    assert_eq!(nearest("3S"), "3R");
    assert_eq!(nearest("LoVE"), "1LoVE");
    assert_eq!(nearest("bc1qbio"), "bc1q6h0");
    assert_eq!(nearest("bc1ptest"), "bc1qtest");
    assert_eq!(nearest("0xgrist").len(), 7);
    assert!(refused("1L0VE").0.contains("'0' (character 3)"));
    assert!(refused("3S").0.contains("the longest beginning that exists is \"3\""));
    assert!(refused("bc1qAb").0.contains("all lower case or all upper case"));
    assert!(refused("").0.contains("empty"));
    assert!(refused(&"1".repeat(65)).0.contains("longer than any address"));
    assert!(refused("é").0.contains("no address starts like this"));
}

#[test]
fn every_neighbour_is_possible() {
    for text in ["1L0VE", "3S", "3zzz", "LoVE", "hello", "bc1qbio", "bc1pzz", "0xhello", "0OIl", "1", "Ω"] {
        if let Err(error) = Pattern::parse(text) {
            let near = error.nearest.unwrap_or_else(|| panic!("nothing is near {text}"));
            assert!(Pattern::parse(&near).is_ok(), "{text} → {near}");
        }
    }
}

#[test]
fn the_second_character_is_as_hard_as_measured() {
    let difficulty = |text: &str| Pattern::parse(text).expect("possible").difficulty().candidates();
    for (text, expected, tolerance) in [
        ("12", 23.34, 0.01),
        ("15", 23.34, 0.01),
        ("16", 23.05, 0.01),
        ("17", 22.94, 0.01),
        ("1P", 22.94, 0.01),
        ("1Q", 65.7, 0.1),
        ("1R", 1_353.6, 0.1),
        ("1z", 1_353.6, 0.1),
        ("11", 256.0, 1e-9),
        ("31", 75.3, 0.1),
        ("32", 23.3, 0.1),
        ("3R", 836.0, 1.0),
        ("1LoVE", 4_476_342.8, 0.1),
        ("1QLbz", 36_188_224.7, 0.1),
        ("1RTest", 15_318_045_009.0, 1.0),
        ("1Bitcoin", 873_388_193_411.0, 1.0),
        ("bc1qxyz", 32_768.0, 1e-9),
    ] {
        assert!((difficulty(text) - expected).abs() <= tolerance, "{text}: {}", difficulty(text));
    }
}

#[test]
fn case_is_ignored_when_asked() {
    let any = |prefix: &str| Wish { prefix: prefix.to_owned(), ignore_case: true, ..Wish::default() };
    let love = Pattern::new(any("1love")).expect("possible");
    for spelling in ["1LoVE", "1Love", "1LOVe".replace('O', "o").as_str()] {
        let exact = Pattern::parse(spelling).expect("possible");
        assert!(exact.ranges().is_within(love.ranges()), "{spelling}");
    }
    // l has one spelling, o one, v and e two: four, of equal size.
    let ratio = Pattern::parse("1LoVE").expect("possible").difficulty().candidates() / love.difficulty().candidates();
    assert!((ratio - 4.0).abs() < 1e-3, "{ratio}");
    // Letters above Q exist only in the rare short addresses: 1qq is nearly as hard as 1QQ alone.
    assert!(Pattern::new(any("1qq")).is_ok());
    let long = Pattern::new(any("1abcdefghijkmnpqrstu"));
    assert!(matches!(long.expect_err("too many spellings").reason, Reason::Spellings));
    let ethereum = Pattern::new(any("0xABC")).expect("possible");
    assert_eq!(ethereum.difficulty().candidates(), 4_096.0);
    assert_eq!(Pattern::parse("0xABC").expect("possible").difficulty().candidates(), 8.0 * 4_096.0);
}

#[test]
fn filters_look_at_the_written_address() {
    let hash = Hash160([0x75; 20]);
    let address = AddressKind::P2pkh.encode(hash);
    let (start, end, middle) = (&address[..3], &address[address.len() - 2..], &address[10..13]);
    let wish = Wish { prefix: start.to_owned(), ..Wish::default() };
    let matching = Wish {
        suffix: Some(end.to_owned()),
        contains: Some(middle.to_owned()),
        regex: Some(format!("^{start}.*{end}$")),
        ..wish.clone()
    };
    let pattern = Pattern::new(matching).expect("possible");
    assert!(pattern.matches(hash) && !pattern.is_exact());
    let with = |wish: Wish| Pattern::new(wish).expect("possible");
    assert!(!with(Wish { suffix: Some("zzz".into()), ..wish.clone() }).matches(hash));
    assert!(!with(Wish { contains: Some("zzzz".into()), ..wish.clone() }).matches(hash));
    assert!(!with(Wish { regex: Some("zzzz$".into()), ..wish.clone() }).matches(hash));
    let suffix = with(Wish { suffix: Some("zz".into()), ..wish.clone() });
    let ratio = suffix.expected_candidates() / suffix.difficulty().candidates();
    assert!((ratio - 58.0 * 58.0).abs() < 1e-6);
    let sampled = with(Wish { regex: Some("[a-m]$".into()), ..wish.clone() });
    let ratio = sampled.expected_candidates() / sampled.difficulty().candidates();
    assert!((ratio - 58.0 / 12.0).abs() < 0.3, "{ratio}");
    assert!(matches!(
        Pattern::new(Wish { suffix: Some("0".into()), ..wish.clone() }).expect_err("not Base58").reason,
        Reason::Character { .. }
    ));
    assert!(matches!(
        Pattern::new(Wish { regex: Some("(".into()), ..wish }).expect_err("unbalanced").reason,
        Reason::Regex(_)
    ));
}

fn wish(prefix: &str) -> Wish {
    Wish { prefix: prefix.to_owned(), ..Wish::default() }
}

/// Before it was computed from automata, it would have been looked for for ever.
#[test]
fn what_no_letters_can_fulfil_is_refused() {
    let refused = |wish: Wish| {
        let error = Pattern::new(wish).expect_err("impossible");
        (error.reason, error.nearest)
    };
    let never = |wish: Wish| match refused(wish) {
        (Reason::Never { option, .. }, nearest) => (option, nearest),
        (other, _) => panic!("refused for another reason: {other}"),
    };
    for regex in ["^2", "^1.*l", "^.{36}", "^1[^1-9A-Za-z]", "[^\\x00-\\x7f]"] {
        assert_eq!(never(Wish { regex: Some(regex.into()), ..wish("1Lo") }), ("--regex", None), "{regex}");
    }
    assert_eq!(never(Wish { regex: Some("^0x.*[g-z]".into()), ..wish("0xab") }).0, "--regex");
    let (option, nearest) = never(Wish { contains: Some("A".repeat(40)), ..wish("1Lo") });
    assert_eq!((option, nearest), ("--contains", Some(format!("--contains {}", "A".repeat(32)))));
    let (option, nearest) = never(Wish { suffix: Some(format!("x{}", "a".repeat(39))), ..wish("bc1q") });
    assert_eq!((option, nearest), ("--suffix", Some(format!("--suffix {}", "a".repeat(38)))));
    // Over the end of the prefix: the suffix says another letter there.
    let long = format!("1{}", "Q".repeat(4));
    let (option, _) = never(Wish { suffix: Some(format!("1QR{}", "Q".repeat(31))), ..wish(&long) });
    assert_eq!(option, "--suffix");
    let together = Wish { suffix: Some("a".into()), regex: Some("b$".into()), ..wish("1Lo") };
    assert!(matches!(refused(together), (Reason::NeverTogether { .. }, None)));

    // A letter that no address shows has a look-alike.
    let (reason, nearest) = refused(Wish { suffix: Some("L0ve".into()), ..wish("1Lo") });
    assert!(matches!(reason, Reason::Character { character: '0', position: 2, .. }), "{reason}");
    assert_eq!(nearest.as_deref(), Some("--suffix Love"));
    assert_eq!(refused(Wish { contains: Some("bIO".into()), ..wish("1") }).1.as_deref(), Some("--contains bio"));
    assert_eq!(refused(Wish { contains: Some("lo".into()), ..wish("bc1q") }).1.as_deref(), Some("--contains l0"));
    // What is only very rare is not impossible.
    for rare in ["VELoVELo", "abcdefghijk"] {
        let pattern = Pattern::new(Wish { contains: Some(rare.into()), ..wish("1Lo") }).expect("possible");
        let places = (34 - 3 - rare.len() + 1) as f64;
        let ratio = pattern.expected_candidates() / pattern.difficulty().candidates();
        let expected = 58_f64.powi(rare.len() as i32) / places;
        assert!((ratio / expected - 1.0).abs() < 1e-3, "{rare}: {ratio}, not {expected}");
    }
}

/// A regular expression with more states than anyone waits for is refused, and soon.
#[test]
fn what_is_too_complicated_is_refused() {
    let of = |regex: &str, contains: Option<&str>| {
        let (regex, contains) = (Some(regex.to_owned()), contains.map(str::to_owned));
        Pattern::new(Wish { regex, contains, ..wish("1Lo") }).map(|_| ()).map_err(|error| error.reason)
    };
    assert_eq!(of("(a|b).{7}(a|b)", Some("Q")), Ok(()));
    // Few enough states for an automaton, too many together with those of another one.
    assert_eq!(of("[a-k].{9}[a-k]", Some("abcd")), Err(Reason::Complicated));
    assert_eq!(of("[a-k].{20}[a-k]", None), Err(Reason::Complicated));
    assert_eq!(of("((a{50}){50}){50}", None), Err(Reason::Complicated));
    assert!(matches!(of("a{", None), Err(Reason::Regex(_))));
}

/// The odds are those of addresses of real hashes: close, as what they say is random only looks so.
#[test]
fn odds_of_filters_are_those_of_written_addresses() {
    let some = |text: &str| Some(text.to_owned());
    for (wish, tolerance) in [
        (Wish { suffix: some("7"), ..wish("1L") }, 0.15),
        (Wish { contains: some("a"), ..wish("3") }, 0.03),
        (Wish { contains: some("a"), ignore_case: true, ..wish("1l") }, 0.03),
        (Wish { regex: some("^1[2-9]"), ..wish("1") }, 0.03),
        (Wish { regex: some("^1[a-z]"), ..wish("1") }, 0.3),
        (Wish { regex: some("[0-9]{3}"), contains: some("7"), ..wish("bc1qx") }, 0.05),
        (Wish { regex: some("A.*B"), ..wish("0x") }, 0.03),
        (Wish { regex: some("a.*b"), ignore_case: true, ..wish("0xC") }, 0.03),
    ] {
        let pattern = Pattern::new(wish.clone()).expect("possible");
        let written = |number: u32| {
            let digest = <sha2::Sha256 as sha2::Digest>::digest(number.to_be_bytes());
            Hash160(digest[..20].try_into().expect("20 bytes"))
        };
        let inside: Vec<Hash160> = (0..400_000).map(written).filter(|hash| pattern.ranges().contains(*hash)).collect();
        let inside = &inside[..inside.len().min(20_000)];
        let accepted = inside.iter().filter(|hash| pattern.filters_accept(**hash)).count();
        let measured = inside.len() as f64 / accepted as f64;
        let odds = pattern.expected_candidates() / pattern.difficulty().candidates();
        assert!((odds / measured - 1.0).abs() < tolerance, "{wish:?}: {odds}, measured {measured}");
    }
}

/// Exact values, where a formula with logarithms of nearly one, or none, would be off.
#[test]
fn the_chance_of_a_find_follows_from_the_difficulty() {
    let close = |value: f64, expected: f64| {
        assert!((value / expected - 1.0).abs() < 1e-12, "{value} instead of {expected}");
    };
    // 1 − (1 − 1/d)ⁿ in fractions.
    close(probability_found(2.0, 1.0), 0.5);
    close(probability_found(2.0, 10.0), 1023.0 / 1024.0);
    close(probability_found(16.0, 2.0), 31.0 / 256.0);
    close(probability_found(58.0, 3.0), 1.0 - 57.0_f64.powi(3) / 58.0_f64.powi(3));
    close(probability_found(1e40, 1e20), 1e-20);
    close(probability_found(1e9, 1e9), 1.0 - (-1.0_f64).exp() * (1.0 - 0.5e-9));
    assert_eq!(probability_found(1000.0, 0.0), 0.0);
    assert_eq!((probability_found(1.0, 0.0), probability_found(1.0, 1.0)), (0.0, 1.0));
    assert!(probability_found(1000.0, 30_000.0) < 1.0);

    close(candidates_for(2.0, 0.5), 1.0);
    close(candidates_for(2.0, 0.9375), 4.0);
    close(candidates_for(1e12, 0.5), 1e12 * std::f64::consts::LN_2 - 0.5 * std::f64::consts::LN_2);
    close(candidates_for(1e12, 0.95) / candidates_for(1e12, 0.5), 20.0_f64.log2());
    assert_eq!(candidates_for(1.0, 0.95), 1.0);
    for chance in [0.01, 0.5, 0.95] {
        close(probability_found(65_536.0, candidates_for(65_536.0, chance)), chance);
    }
}

#[test]
fn several_patterns_are_as_hard_as_their_union() {
    let choice = |common: &Wish, prefixes: &[&str]| {
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        Choice::new(common, &prefixes)
    };
    let of = |prefixes: &[&str]| choice(&Wish::default(), prefixes).expect("possible").difficulty();
    let alone = |prefix: &str| Pattern::parse(prefix).expect("possible").difficulty();
    assert_eq!(of(&["1Lo", "1Lov"]), alone("1Lo"));
    assert_eq!(of(&["1Lov", "1Lo", "1Lo", "1LoVE"]), alone("1Lo"));
    assert_eq!(of(&["bc1qa", "bc1qc"]).fraction(), ("16".to_owned(), "1".to_owned()));
    let (apart, one, two) = (of(&["1Lo", "1Bit"]), alone("1Lo"), alone("1Bit"));
    let sum = 1.0 / (1.0 / one.candidates() + 1.0 / two.candidates());
    assert!((apart.candidates() / sum - 1.0).abs() < 1e-12);
    // The case of Ethereum's letters, which ranges do not know: 0xaBc is one of 0xaB, and not one of 0xAB.
    assert_eq!(of(&["0xaB", "0xaBc"]), alone("0xaB"));
    assert_eq!(of(&["0xAB", "0xaBc"]).fraction(), ("32768".to_owned(), "33".to_owned()));
    assert_eq!(of(&["0xaB", "0xAb", "0xAB", "0xab"]).fraction(), ("256".to_owned(), "1".to_owned()));
    let any_case = Wish { ignore_case: true, ..Wish::default() };
    let both = choice(&any_case, &["0xab", "0xABc"]).expect("possible");
    assert_eq!(both.difficulty().fraction(), ("256".to_owned(), "1".to_owned()));
    assert!(both.is_exact());

    // Filters come on top.
    let suffix = Wish { suffix: Some("zz".into()), ..Wish::default() };
    let filtered = choice(&suffix, &["1Lo", "1Lov"]).expect("possible");
    assert!(!filtered.is_exact());
    let ratio = filtered.expected_candidates() / alone("1Lo").candidates();
    assert!((ratio / (58.0 * 58.0) - 1.0).abs() < 1e-9, "{ratio}");

    assert!(matches!(choice(&Wish::default(), &["1Lo", "32"]), Err(ChoiceError::Kinds(..))));
    assert!(matches!(choice(&Wish::default(), &[]), Err(ChoiceError::Empty)));
    let both = choice(&Wish::default(), &["1Lov", "1Lo"]).expect("possible");
    let edge = alone_ranges("1Lov").as_slice()[0].low;
    assert_eq!(both.fulfilled_by(edge).map(Pattern::text), Some("1Lov"), "the first that fits");
    assert!(both.fulfilled_by(Hash160::MAX).is_none());
}

fn alone_ranges(prefix: &str) -> vanity::Ranges {
    Pattern::parse(prefix).expect("possible").ranges().clone()
}

/// How many hashes match.
fn size(pattern: &Pattern) -> U256 {
    let number = |hash: Hash160| U256::from_be_slice(&[&[0; 12][..], &hash.0].concat());
    let sizes = pattern
        .ranges()
        .as_slice()
        .iter()
        .map(|range| number(range.high).wrapping_sub(&number(range.low)).wrapping_add(&U256::ONE));
    sizes.fold(U256::ZERO, |sum, size| sum.wrapping_add(&size))
}

/// Each address that starts with a prefix starts with one longer by one character: no hash is forgotten, none counted
/// twice, and all are there at the start. With the edges being right (below), that makes every difficulty exact.
#[test]
fn prefixes_are_the_sums_of_their_continuations() {
    const WALKS: u64 = 250;
    const DEPTH: usize = 8;
    let space = U256::ONE.shl_vartime(160);
    assert_eq!(size(&Pattern::parse("1").unwrap()), space);
    let mut checked = 0;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..WALKS {
        let mut prefix = "1".to_owned();
        for _ in 0..DEPTH {
            let parent = Pattern::parse(&prefix).expect("chosen among the possible");
            let possible: Vec<Pattern> = base58::ALPHABET
                .iter()
                .filter_map(|&letter| Pattern::parse(&format!("{prefix}{}", char::from(letter))).ok())
                .collect();
            let sum = possible.iter().fold(U256::ZERO, |sum, child| sum.wrapping_add(&size(child)));
            assert_eq!(sum, size(&parent), "{prefix}");

            for pattern in possible.iter().step_by(possible.len().div_ceil(6)) {
                let (numerator, denominator) = pattern.difficulty().fraction();
                let exact = numerator.parse::<f64>().unwrap() / denominator.parse::<f64>().unwrap();
                assert!((pattern.difficulty().candidates() / exact - 1.0).abs() < 1e-9, "{}", pattern.text());
                checked += 1;
            }

            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let choice = usize::try_from(random >> 33).unwrap() % possible.len();
            prefix = possible[choice].text().to_owned();
        }
    }
    assert!(checked >= 10_000, "{checked} difficulties were compared");
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let kind = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(vec![
            AddressKind::P2pkh,
            AddressKind::P2wpkh,
            AddressKind::P2shP2wpkh,
            AddressKind::Ethereum,
        ])
        .prop_map(Some),
    ];
    let prefix = prop_oneof![
        4 => "1[1-9A-HJ-NP-Za-km-z]{0,3}",
        2 => "3[1-9A-HJ-NP-Za-km-z]{0,3}",
        2 => "bc1q[02-9ac-hj-np-z]{0,4}",
        2 => "0x[0-9a-fA-F]{0,4}",
        1 => "\\PC{0,12}",
    ];
    let letters = || prop_oneof![3 => "[1-9a-fA-F]{1,3}", 1 => "[0-9a-zA-Z]{0,45}", 1 => "\\PC{0,6}"];
    let regex = prop_oneof!["[0-9a-f^$.*+?()|]{0,10}", "\\^?(1|3|bc1q|0x)?[a-f.]{0,3}[*+?]?\\$?", "\\PC{0,12}"];
    let parts = (prop::option::of(letters()), prop::option::of(letters()), prop::option::of(regex));
    (kind, prefix, any::<bool>(), parts).prop_map(|(kind, prefix, ignore_case, (suffix, contains, regex))| Wish {
        kind,
        prefix,
        ignore_case,
        suffix,
        contains,
        regex,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any text at all: refused with a possible neighbour, or possible and then consistent.
    #[test]
    fn any_text_is_handled(text in "\\PC{0,70}", ignore_case: bool) {
        match Pattern::new(Wish { prefix: text, ignore_case, ..Wish::default() }) {
            Ok(pattern) => prop_assert!(!pattern.ranges().is_empty()),
            Err(error) => {
                if let Some(near) = error.nearest {
                    prop_assert!(Pattern::parse(&near).is_ok(), "{near}");
                }
            }
        }
    }

    /// A whole wish of noise that looks right: refused, or its filters say what plain comparisons of the text say.
    #[test]
    fn any_wish_is_handled(wish in any_wish(), bytes: [u8; 20]) {
        let Ok(pattern) = Pattern::new(wish.clone()) else { return Ok(()) };
        let (difficulty, expected) = (pattern.difficulty().candidates(), pattern.expected_candidates());
        prop_assert!(difficulty >= 1.0 && expected.is_finite() && expected >= difficulty * (1.0 - 1e-9), "{}", expected);
        let range = pattern.ranges().as_slice()[0];
        for hash in [range.low, range.high, Hash160(bytes)] {
            let address = pattern.kind().encode(hash);
            let shown = |text: &str| if wish.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
            let (address, suffix, part) = (shown(&address), wish.suffix.as_deref(), wish.contains.as_deref());
            let fits = suffix.is_none_or(|suffix| address.ends_with(&shown(suffix)))
                && part.is_none_or(|part| address.contains(&shown(part)));
            // Ranges do not know the case of Ethereum's letters.
            let is_any_case = pattern.kind() != AddressKind::Ethereum
                || wish.ignore_case
                || wish.prefix[2..].bytes().all(|letter| letter.is_ascii_digit());
            let has_case = is_any_case || address.starts_with(&wish.prefix);
            if wish.regex.is_none() {
                prop_assert_eq!(pattern.filters_accept(hash), fits && has_case, "{} {:?}", address, &wish);
            } else {
                prop_assert!(fits && has_case || !pattern.filters_accept(hash), "{} {:?}", address, &wish);
            }
        }
    }

    #[test]
    fn base58_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let text = base58::encode(&bytes);
        prop_assert_eq!(base58::decode(&text), Ok(bytes));
    }

    /// The ranges of a prefix hold exactly the hashes whose written address starts with it.
    #[test]
    fn ranges_say_what_addresses_say(bytes: [u8; 20], length in 2usize..12, step in -2i32..3) {
        for kind in [AddressKind::P2pkh, AddressKind::P2shP2wpkh, AddressKind::P2wpkh] {
            let address = kind.encode(Hash160(bytes));
            let start = if kind == AddressKind::P2wpkh { 4 } else { 1 };
            let pattern = Pattern::parse(&address[..start + length]).expect("an address has it");
            for range in pattern.ranges().as_slice() {
                for edge in [range.low, range.high] {
                    let near = (0..step.abs()).try_fold(edge, |hash, _| {
                        if step > 0 { hash.successor() } else { hash.predecessor() }
                    });
                    if let Some(near) = near {
                        let written = kind.encode(near).starts_with(pattern.text());
                        prop_assert_eq!(pattern.matches(near), written, "{} {}", pattern.text(), near);
                    }
                }
            }
        }
    }
}
