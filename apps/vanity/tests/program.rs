//! The program as people use it: what it prints, writes and refuses.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use vanity::{
    AddressKind, Pattern, SecretKey,
    kernel::Backend,
    unit::{Search, Slice, search},
};

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vanity"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    fn told(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let told = self.told(args);
        assert_eq!(told.lines().count(), 1, "one object: {told}");
        serde_json::from_str(&told).unwrap()
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} should fail");
        assert!(output.stdout.is_empty(), "{args:?} prints no result");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Of which nothing else is known.
    fn another_key(&self) -> String {
        SecretKey::generate().unwrap().public_key().to_string()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

fn key_in(file: &Path) -> SecretKey {
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "only its owner reads {}", file.display());
    SecretKey::from_text(fs::read_to_string(file).unwrap().trim()).unwrap()
}

#[test]
fn a_search_writes_the_key_of_the_address_it_prints() {
    for (pattern, kind) in [
        ("1Lo", AddressKind::P2pkh),
        ("bc1qxy", AddressKind::P2wpkh),
        ("3Ab", AddressKind::P2shP2wpkh),
        ("0xbee", AddressKind::Ethereum),
    ] {
        let desk = Desk::new();
        let told = desk.told(&["search", pattern, "--quiet"]);
        let address = told.trim();
        assert!(address.to_lowercase().starts_with(&pattern.to_lowercase()), "{address}");
        let key = key_in(&desk.path(&format!("{address}.key")));
        assert_eq!(key.public_key().address(kind), address);
        // As wallets import it.
        let written = fs::read_to_string(desk.path(&format!("{address}.key"))).unwrap();
        let is_hex = written.starts_with("0x") && written.trim().len() == 66;
        assert_eq!(is_hex, kind == AddressKind::Ethereum, "{pattern}");
        assert!(!told.contains(key.to_wif().as_str()), "the key is not printed unasked");
    }
}

#[test]
fn a_split_key_goes_from_keygen_to_combine() {
    let desk = Desk::new();
    let public_key = desk.json(&["keygen", "--json"])["public_key"].as_str().unwrap().to_owned();
    let half = key_in(&desk.path("vanity.key"));
    let record = desk.told(&["search", "1Lo", "--public-key", &public_key, "--quiet"]);
    fs::write(desk.path("found.json"), &record).unwrap();
    assert!(desk.told(&["verify", "found.json"]).starts_with("valid: 1Lo"));
    let combined = desk.json(&["combine", "found.json", "--json"]);
    let address = combined["address"].as_str().unwrap();
    let key = key_in(&desk.path(combined["key_file"].as_str().unwrap()));
    assert_eq!(key.public_key().address(AddressKind::P2pkh), address);
    assert_ne!(*key.to_bytes(), *half.to_bytes());

    // A record for another key, or one that was changed, is refused, and nothing is written.
    desk.told(&["keygen", "--out", "other.key"]);
    let said = desk.refused(&["combine", "found.json", "--key", "other.key", "--out", "never.key"]);
    assert!(said.contains("error:") && !desk.path("never.key").exists(), "{said}");
    let mut changed: Value = serde_json::from_str(&record).unwrap();
    changed["address"] = "1LoVEL9VZ4BLv4DDLLjmEMqq2qTjQNqq1L".into();
    fs::write(desk.path("changed.json"), changed.to_string()).unwrap();
    desk.refused(&["verify", "changed.json"]);
    desk.refused(&["combine", "changed.json"]);
    // No key file is ever overwritten.
    let said = desk.refused(&["keygen"]);
    assert!(said.contains("vanity.key") && said.contains("--out"), "{said}");
}

/// Wallets' own library, on libsecp256k1: reads each kind of key as they are imported, and derives the address that was
/// printed, of a key made here and of one that was split.
#[test]
fn another_library_imports_every_kind() {
    for (pattern, kind) in [
        ("1Lo", AddressKind::P2pkh),
        ("bc1qx", AddressKind::P2wpkh),
        ("3Ab", AddressKind::P2shP2wpkh),
        ("0xBe", AddressKind::Ethereum),
    ] {
        let desk = Desk::new();
        let alone = desk.told(&["search", pattern, "--quiet", "--out", "alone.key"]);
        let public_key = desk.told(&["keygen"]);
        let record = desk.told(&["search", pattern, "--public-key", public_key.trim(), "--quiet"]);
        fs::write(desk.path("found.json"), record).unwrap();
        let split = desk.told(&["combine", "found.json", "--out", "split.key"]);
        for (told, file) in [(alone, "alone.key"), (split, "split.key")] {
            let address = told.trim();
            let written = fs::read_to_string(desk.path(file)).unwrap();
            assert!(address.starts_with(pattern), "{address}");
            assert_eq!(imported(kind, written.trim()), address.to_owned(), "{file}");
        }
    }
}

/// The address of a key file's text, by another library.
fn imported(kind: AddressKind, text: &str) -> String {
    use bitcoin::{Address, CompressedPublicKey, Network, PrivateKey, secp256k1};
    let secp = secp256k1::Secp256k1::new();
    if kind == AddressKind::Ethereum {
        let bytes = hex::decode(text.strip_prefix("0x").expect("as wallets write it")).expect("hex");
        let point = secp256k1::SecretKey::from_slice(&bytes).expect("a key").public_key(&secp).serialize_uncompressed();
        let digest = <sha3::Keccak256 as sha3::Digest>::digest(&point[1..]);
        return checksummed(&hex::encode(&digest[12..]));
    }
    let key = PrivateKey::from_wif(text).expect("a key in wallet import format");
    assert!(key.network.is_mainnet() && key.compressed);
    let public_key = CompressedPublicKey::from_private_key(&secp, &key).expect("compressed");
    match kind {
        AddressKind::P2pkh => Address::p2pkh(public_key, Network::Bitcoin).to_string(),
        AddressKind::P2wpkh => Address::p2wpkh(&public_key, Network::Bitcoin).to_string(),
        AddressKind::P2shP2wpkh => Address::p2shwpkh(&public_key, Network::Bitcoin).to_string(),
        AddressKind::Ethereum => unreachable!("returned above"),
    }
}

/// EIP-55 as its text has it: a letter is upper case where the hash of the lower-case address has a digit above 7.
fn checksummed(lower: &str) -> String {
    let hash = hex::encode(<sha3::Keccak256 as sha3::Digest>::digest(lower));
    let cased = |(letter, digit): (char, char)| if digit > '7' { letter.to_ascii_uppercase() } else { letter };
    format!("0x{}", lower.chars().zip(hash.chars()).map(cased).collect::<String>())
}

#[test]
fn several_patterns_are_told_with_their_union() {
    let desk = Desk::new();
    let objects = |args: &[&str]| -> Vec<Value> {
        desk.told(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let told = objects(&["difficulty", "1Lo", "1Lov", "1Bit", "--json", "--rate", "1000"]);
    let of = |at: usize| told[at]["difficulty"].as_f64().unwrap();
    assert_eq!(told.len(), 4);
    assert_eq!(told[3]["any_of"], serde_json::json!(["1Lo", "1Lov", "1Bit"]));
    let together = 1.0 / (1.0 / of(0) + 1.0 / of(2));
    assert!((of(3) / together - 1.0).abs() < 1e-12, "{told:?}");
    let half = told[3]["candidates_50"].as_f64().unwrap();
    assert!((told[3]["seconds_50"].as_f64().unwrap() - half / 1000.0).abs() < 1e-9);
    assert!(desk.told(&["difficulty", "1Lo", "1Lov"]).contains("any of these 2: 1 in "));
    // Of two kinds there is no search, and nothing to say about both.
    assert_eq!(objects(&["difficulty", "1Lo", "3Ab", "--json"]).len(), 2);
}

#[test]
fn what_can_never_be_found_is_not_looked_for() {
    let desk = Desk::new();
    for (option, text, hint) in [
        ("--regex", "^2", None),
        ("--contains", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some("--contains AAAA")),
        ("--suffix", "l0ve", Some("--suffix Love")),
    ] {
        let said = desk.refused(&["search", "1Lo", option, text, "--quiet"]);
        assert!(said.starts_with("error:"), "{said}");
        match hint {
            Some(hint) => assert!(said.contains("hint:") && said.contains(hint), "{said}"),
            None => assert!(said.contains(option) && said.contains(text), "{said}"),
        }
    }
}

#[test]
fn a_mistake_is_answered_in_kind() {
    let desk = Desk::new();
    let said = desk.refused(&["search", "bad", "--kind", "ethereum"]);
    assert!(said.contains("0xbad"), "{said}");
    assert!(desk.refused(&["search", "1Lo", "--threads", "0"]).contains("--threads"));
    let said = desk.told(&["difficulty", "1zzzzzzzzzzzzz"]);
    assert!(said.contains("× 10^"), "{said}");
}

#[test]
fn the_first_of_several_wishes_is_found() {
    let desk = Desk::new();
    let found = desk.json(&["search", "1Lov", "1a", "--json", "--quiet"]);
    let (address, pattern) = (found["address"].as_str().unwrap(), found["pattern"].as_str().unwrap());
    assert!(address.starts_with(pattern) && ["1Lov", "1a"].contains(&pattern), "{found}");
    let found = desk.json(&["search", "1lo", "--ignore-case", "--json", "--quiet"]);
    assert!(found["address"].as_str().unwrap().to_lowercase().starts_with("1lo"), "{found}");
    let found = desk.json(&["search", "1L", "--suffix", "7", "--json", "--quiet"]);
    assert!(found["address"].as_str().unwrap().ends_with('7'), "{found}");
    let found = desk.json(&["search", "1", "--contains", "ab", "--json", "--quiet"]);
    assert!(found["address"].as_str().unwrap().contains("ab"), "{found}");
    let found = desk.json(&["search", "1", "--regex", "^1.[0-9]{2}", "--json", "--quiet"]);
    assert!(found["address"].as_str().unwrap()[2..4].bytes().all(|byte| byte.is_ascii_digit()), "{found}");
}

#[test]
fn every_back_end_finds() {
    let desk = Desk::new();
    for backend in ["portable", "avx2", "avx512"] {
        if Backend::from_name(backend).is_some_and(|backend| backend.is_available()) {
            let found = desk.json(&["search", "1Lo", "--backend", backend, "--json", "--quiet"]);
            assert_eq!(found["backend"], backend);
        }
    }
}

#[test]
fn a_stopped_search_goes_on_where_it_was() {
    let desk = Desk::new();
    let search = ["search", "1LoVEaaaa", "--resume", "state", "--quiet"];
    let next = || {
        let state = fs::read_to_string(desk.path("state")).ok()?;
        serde_json::from_str::<Value>(&state).ok()?["next"].as_u64()
    };
    let mut last = 0;
    for _ in 0..2 {
        let mut child = desk.command(&search).spawn().unwrap();
        let started = Instant::now();
        while next().is_none_or(|next| next <= last) {
            assert!(started.elapsed() < Duration::from_secs(120), "nothing is saved");
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        last = next().unwrap();
    }
    key_in(&desk.path("state.key"));
    let said = desk.refused(&["search", "1Noth", "--resume", "state", "--quiet"]);
    assert!(said.contains("belongs to another search"), "{said}");
}

/// Three finds in a row, of which the state says that the first is behind: neither does the search begin anew, nor is
/// the place passed over where it goes on.
#[test]
fn a_search_goes_on_exactly_where_it_was() {
    let desk = Desk::new();
    let key = SecretKey::from_bytes(&[0x42; 32]).unwrap().public_key();
    let job = Search {
        public_key: key,
        base: k256::Scalar::ONE,
        kind: AddressKind::P2pkh,
        targets: Pattern::parse("1LoV").unwrap().ranges().clone(),
        shares: vanity::Ranges::default(),
        backend: Backend::Portable,
    };
    let found = search(&job, Slice::new(0, 100_000).unwrap(), |_| ControlFlow::Continue(())).hits;
    let [first, second, third] = [&found[0], &found[1], &found[2]];
    assert!(first.index < second.index && second.index < third.index, "six of a point would be a wonder");
    for (next, expected) in [(first.index + 1, second), (second.index, second), (second.index + 1, third)] {
        // As an earlier version has written it.
        let state = serde_json::json!({
            "format": "vanity-search/1", "wish": "[[\"1LoV\"],null,false,null,null,null]",
            "public_key": key.to_string(), "next": next,
        });
        fs::write(desk.path("state"), state.to_string()).unwrap();
        let key = key.to_string();
        let search = ["search", "1LoV", "--public-key", &key, "--resume", "state", "--threads", "1", "--quiet"];
        let record: Value = serde_json::from_str(&desk.told(&search)).unwrap();
        assert_eq!(record["address"], AddressKind::P2pkh.encode(expected.hash), "from {next} on");
        assert_eq!(record["offset"], format!("{:064x}", expected.index + 1));
        assert!(!desk.path("state").exists(), "nothing is left to go on with");
    }
    let state = serde_json::json!({
        "format": "vanity-search/1", "wish": "[[\"1LoV\"],null,false,null,null,null]",
        "public_key": key.to_string(), "next": 7,
    });
    fs::write(desk.path("state"), state.to_string()).unwrap();
    let said = desk.refused(&["search", "1LoV", "--public-key", &desk.another_key(), "--resume", "state"]);
    assert!(said.contains("belongs to the public key"), "{said}");
}

/// Of the processes of this machine.
#[cfg(target_os = "linux")]
fn nice_of(process: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field is a name in parentheses; nice is the nineteenth.
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_search_steps_back_and_takes_the_threads_it_is_given() {
    let desk = Desk::new();
    let own = nice_of("self");
    for (options, threads, nice) in
        [(&["--threads", "3"][..], 3, (own + 10).min(19)), (&["--threads", "2", "--no-nice"], 2, own)]
    {
        let args = [&["search", "1LoVEaaaa", "--quiet"], options].concat();
        let mut child = desk.command(&args).spawn().unwrap();
        let process = child.id().to_string();
        let count = || fs::read_dir(format!("/proc/{process}/task")).unwrap().count();
        let started = Instant::now();
        while count() < threads {
            assert!(started.elapsed() < Duration::from_secs(60), "{} threads", count());
            std::thread::sleep(Duration::from_millis(10));
        }
        let seen = (count(), nice_of(&process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, (threads, nice), "{options:?}");
    }
}

/// On a terminal, which `script` pretends to be, and nowhere else.
#[test]
fn a_terminal_shows_how_it_goes() {
    let desk = Desk::new();
    let program = env!("CARGO_BIN_EXE_vanity");
    let shown = |options: &str| {
        let line = format!("timeout 2 {program} search 1LoVEaaaa {options}");
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(desk.0.path()).output();
        String::from_utf8_lossy(&output.expect("util-linux is there").stdout).into_owned()
    };
    let told = shown("");
    let line = told.rsplit('\r').find(|line| line.contains("checked")).unwrap_or_else(|| panic!("{told:?}"));
    assert!(line.contains("/s, ") && line.contains("chance of a find by now 0.0 %; from here 50 % in "), "{line}");
    assert!(told.matches("checked").count() > 1, "it is drawn again and again: {told:?}");
    assert!(!shown("--quiet").contains("checked"));
    let mut piped = desk.command(&["search", "1LoVEaaaa"]).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    piped.kill().unwrap();
    let said = piped.wait_with_output().unwrap().stderr;
    assert!(said.is_empty(), "a log gets no line every quarter of a second: {}", String::from_utf8_lossy(&said));
}

/// Its numbers are others' business; that they are there, and which, is everybody's who reads them by a program.
#[test]
fn a_benchmark_prints_an_object_for_everything_it_measures() {
    let desk = Desk::new();
    fs::write(desk.path("rival.sh"), "echo $0 $* >> asked\nwhile :; do echo '[2.50 Mkey/s]'; sleep 0.02; done\n")
        .unwrap();
    let rival = "fake=sh rival.sh {threads} {pattern}";
    // Floors may be missed by so short a run: that decides about the exit, not about what is printed.
    let output = desk.run(&[
        "bench",
        "--json",
        "--rounds",
        "1",
        "--seconds",
        "0.4",
        "--threads",
        "1,2",
        "--compared",
        "65536",
        "--backend",
        "portable",
        "--rival",
        rival,
    ]);
    let told = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let with = |wanted: &[(&str, Value)]| {
        let mut fitting = objects.iter().filter(|object| wanted.iter().all(|(name, value)| object[name] == *value));
        let found = fitting.next().unwrap_or_else(|| panic!("{wanted:?} in {told}"));
        assert!(fitting.next().is_none(), "once: {wanted:?} in {told}");
        found.clone()
    };
    for threads in [1, 2] {
        let own = with(&[("backend", "portable".into()), ("threads", threads.into()), ("rounds", 1.into())]);
        let rate = own["addresses_per_s"].as_f64().unwrap();
        assert!(rate > 1e4 && own["cycles_per_address"].as_f64().unwrap() > 100.0, "{own}");
        let other = with(&[("rival", "fake".into()), ("threads", threads.into()), ("rounds", 1.into())]);
        assert_eq!(other["addresses_per_s"], 2.5e6);
        let ratio = objects.iter().find(|object| object["threads"] == threads && !object["ratio"].is_null());
        let ratio = ratio.unwrap()["ratio"].as_f64().unwrap();
        assert!((ratio / (rate / 2.5e6) - 1.0).abs() < 1e-9, "{ratio}");
    }
    assert!(
        with(&[("backend", "portable".into()), ("threads", 2.into()), ("rounds", Value::Null), ("rival", Value::Null)])
            ["scaling"]
            .is_f64()
    );
    let asked = fs::read_to_string(desk.path("asked")).unwrap();
    let asked: Vec<Vec<&str>> = asked.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(asked.iter().map(|words| words[1]).collect::<Vec<_>>(), ["1", "2"], "threads are filled in");
    assert!(asked.iter().all(|words| Pattern::parse(words[2]).is_ok()), "and the pattern: {asked:?}");

    let silent = desk.refused(&[
        "bench",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--threads",
        "1",
        "--backend",
        "portable",
        "--rival",
        "mute=true",
    ]);
    assert!(silent.contains("mute printed no count and no rate"), "{silent}");
    assert!(desk.refused(&["bench", "--rival", "mute"]).contains("is not NAME=COMMAND"));
}

#[test]
fn difficulty_is_exact_and_impossible_patterns_are_refused_with_a_possible_one() {
    let desk = Desk::new();
    let told = desk.json(&["difficulty", "1LoVE", "--json"]);
    // As vanitygen's own calculation gives it, too.
    assert!((told["difficulty"].as_f64().unwrap() - 4_476_342.8).abs() < 0.1, "{told}");
    assert!(told["candidates_95"].as_f64().unwrap() > told["candidates_50"].as_f64().unwrap());
    for (pattern, nearest) in [("1L0VE", "1LoVE"), ("bc1qbio", "hint:"), ("3zzz", "hint:"), ("0xghi", "hint:")] {
        let said = desk.refused(&["difficulty", pattern]);
        assert!(said.starts_with("error:") && said.contains(nearest), "{said}");
    }
    let said = desk.refused(&["search", "1Lo", "bc1qxy"]);
    assert!(said.contains("one search looks for one kind"), "{said}");
    let said = desk.refused(&["search", "1Lo", "--public-key", &format!("02{}", "ff".repeat(32))]);
    assert!(said.contains("--public-key is refused"), "{said}");
}

/// The rival is a shell command that claims a rate, so which side of the floor the row is on is known.
#[test]
fn a_table_with_a_row_below_its_floor_fails() {
    const ROW: &str = "portable / vanitygen++";
    let desk = Desk::new();
    let bench = |rate: &str| {
        let rival = format!("vanitygen=echo {rate}");
        let quick = ["bench", "--backend", "portable", "--threads", "1", "--rounds", "1", "--seconds", "0.1"];
        desk.run(&[&quick[..], &["--compared", "0", "--table", "--rival", &rival]].concat())
    };
    let verdict = |output: &Output| {
        let told = String::from_utf8(output.stdout.clone()).unwrap();
        told.lines().find(|line| line.starts_with(ROW)).unwrap().split(' ').next_back().unwrap().to_owned()
    };
    let below = bench("900000 Mkey/s");
    assert_eq!(verdict(&below), "BELOW");
    assert_eq!(below.status.code(), Some(1));
    let said = String::from_utf8(below.stderr).unwrap();
    assert!(
        said.starts_with("error: below the floor: ") && said.contains(ROW) && said.contains("\n\nhint: "),
        "{said}"
    );

    let above = bench("1 key/s");
    assert_eq!(verdict(&above), "holds");
    // Another row may be below its floor on a machine that is busy.
    assert!(!String::from_utf8(above.stderr).unwrap().contains(ROW));
}

#[test]
fn a_reader_that_leaves_is_no_crash() {
    let desk = Desk::new();
    let mut child =
        desk.command(&["difficulty", "1LoVE"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
