//! One slice of an order, as a grid's worker runs it: arguments in, 93 bytes out, progress on a channel.

use std::{
    fs::{self, File},
    io::Write,
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use vanity::{
    AddressKind, Image, Order, Params, Ranges, Solution,
    kernel::Backend,
    shares::Share,
    threads::search_on_threads,
    unit::{Search, Slice},
};

use super::{bad_argument, print};

/// The environment variable that names the channel's file descriptor.
const CHANNEL_VARIABLE: &str = "GRISTMILL_CHANNEL_FD";
const PROGRESS_PERIOD: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(super) struct UnitArguments {
    /// The order's parameters: public key and ranges
    #[arg(long, value_name = "HEX")]
    params: String,
    /// The order's id
    #[arg(long, value_name = "HEX32")]
    order: String,
    /// The worker's address, to which everything found is bound
    #[arg(long, value_name = "0xADDRESS")]
    worker: String,
    /// First index of the slice
    #[arg(long, value_name = "U64", required_unless_present = "unit", conflicts_with = "unit")]
    start: Option<u64>,
    /// Number of the slice: it starts at UNIT × 2^34, so that slices of any allowed length are apart
    #[arg(long, value_name = "U")]
    unit: Option<u64>,
    /// Indices to search; each is six candidates
    #[arg(long, value_name = "U64", required_unless_present = "candidates", conflicts_with = "candidates")]
    length: Option<u64>,
    /// Candidates to search, rounded up to whole indices
    #[arg(long, value_name = "U64")]
    candidates: Option<u64>,
    /// Threads; all of the machine's if not given
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Where the result goes if there is one
    #[arg(long, value_name = "FILE", default_value = "/out/result")]
    out: PathBuf,
    /// Ranges of shares to report besides, each 40 bytes: low and high
    #[arg(long, value_name = "HEX", requires = "shares_out")]
    shares: Option<String>,
    /// Where the shares go: 9 bytes each, index and image
    #[arg(long, value_name = "FILE", requires = "shares")]
    shares_out: Option<PathBuf>,
    /// Use this back end instead of the fastest
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
}

pub(super) fn run(arguments: &UnitArguments) -> Result<()> {
    let params = Params::decode(&bytes("--params", &arguments.params)?)
        .map_err(|error| bad_argument(format!("--params is refused: {error}")))?;
    let order =
        Order { id: fixed_bytes("--order", &arguments.order)?, worker: fixed_bytes("--worker", &arguments.worker)? };
    let slice = slice_of(arguments)?;
    let search = Search {
        public_key: *params.public_key(),
        base: order.base(),
        kind: AddressKind::P2pkh,
        targets: params.ranges().clone(),
        shares: share_ranges(arguments, &params)?,
        backend: backend(arguments.backend.as_deref())?,
    };
    let mut channel = Channel::open();
    let report = search_on_threads(&search, slice, thread_count(arguments.threads), |step| {
        channel.add(6 * step.points);
        if step.hits.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    channel.send();
    if let Some(path) = &arguments.shares_out {
        let shares: Vec<u8> = report.shares.iter().flat_map(|found| Share::from(*found).encode()).collect();
        fs::write(path, shares).with_context(|| format!("cannot write the shares to {}", path.display()))?;
    }
    let solutions = report.hits.iter().filter_map(|hit| Solution::new(&params, &order, hit.index, hit.image));
    // Checked with other arithmetic before it leaves the machine.
    let Some(solution) = solutions.into_iter().find(|solution| solution.check(&params, &order.id).is_ok()) else {
        anyhow::ensure!(
            report.hits.is_empty(),
            "the search found an offset that does not verify: a bug or bad hardware"
        );
        return Ok(());
    };
    fs::write(&arguments.out, solution.encode())
        .with_context(|| format!("cannot write the result to {}", arguments.out.display()))
}

/// Written like an order's ranges, and checked like them.
fn share_ranges(arguments: &UnitArguments, params: &Params) -> Result<Ranges> {
    let Some(text) = &arguments.shares else { return Ok(Ranges::default()) };
    let ranges = [params.public_key().to_bytes().to_vec(), bytes("--shares", text)?].concat();
    let ranges = Params::decode(&ranges).map_err(|error| bad_argument(format!("--shares is refused: {error}")))?;
    Ok(ranges.ranges().clone())
}

fn slice_of(arguments: &UnitArguments) -> Result<Slice> {
    let candidates = arguments.candidates.unwrap_or_default();
    let length = arguments.length.unwrap_or(candidates.div_ceil(Image::COUNT));
    let slice = match (arguments.start, arguments.unit) {
        (Some(start), _) => Slice::new(start, length),
        (None, unit) => Slice::of_unit(unit.unwrap_or_default(), length),
    };
    slice.ok_or_else(|| bad_argument("the slice has indices above 64 bits, or reaches into the next unit"))
}

pub(super) fn backend(name: Option<&str>) -> Result<Backend> {
    let Some(name) = name else { return Ok(Backend::best()) };
    let known = Backend::from_name(name).filter(|backend| backend.is_available());
    known.ok_or_else(|| {
        let names: Vec<_> = Backend::ALL.iter().filter(|one| one.is_available()).map(|one| one.name()).collect();
        bad_argument(format!("this machine has no back end {name:?}; it has {}", names.join(", ")))
    })
}

pub(super) fn thread_count(wanted: Option<NonZeroUsize>) -> usize {
    let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    wanted.unwrap_or_else(available).get()
}

pub(super) fn bytes(name: &str, text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode(digits).map_err(|error| bad_argument(format!("{name} is not hex: {error}")))
}

pub(super) fn fixed_bytes<const LENGTH: usize>(name: &str, text: &str) -> Result<[u8; LENGTH]> {
    let bytes = bytes(name, text)?;
    bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| bad_argument(format!("{name} has {} bytes instead of {LENGTH}", bytes.len())))
}

/// JSON lines for whoever started us; a reader that went away does not stop the search.
struct Channel {
    file: Option<File>,
    done: u64,
    sent: Instant,
}

impl Channel {
    fn open() -> Self {
        let number = std::env::var(CHANNEL_VARIABLE).ok().and_then(|text| text.parse().ok());
        let file = number.and_then(channel_file);
        Self { file, done: 0, sent: Instant::now() }
    }

    fn add(&mut self, candidates: u64) {
        self.done += candidates;
        if self.sent.elapsed() >= PROGRESS_PERIOD {
            self.send();
        }
    }

    fn send(&mut self) {
        self.sent = Instant::now();
        let line = format!("{{\"type\":\"progress\",\"done\":{}}}\n", self.done);
        if let Some(file) = &mut self.file
            && file.write_all(line.as_bytes()).is_err()
        {
            self.file = None;
        }
    }
}

/// Takes over an inherited descriptor. Opening `/dev/fd/N` would need `/proc`, which a sandbox may not have.
#[cfg(unix)]
fn channel_file(number: i32) -> Option<File> {
    if number < 3 {
        print::note(&format!("{CHANNEL_VARIABLE} is {number}: not a channel, ignored"));
        return None;
    }
    inherited::file(number)
}

#[cfg(not(unix))]
fn channel_file(_: i32) -> Option<File> {
    None
}

#[cfg(unix)]
mod inherited {
    #![expect(unsafe_code, reason = "an inherited descriptor is a number; only its opener can vouch for it")]

    use std::{fs::File, os::fd::FromRawFd};

    pub(super) fn file(number: i32) -> Option<File> {
        // SAFETY: whoever set the variable gives this descriptor to us alone; nothing else in this program owns it, as
        // std opens none before `main` but 0 to 2. A number that is not open makes each write fail with EBADF.
        Some(unsafe { File::from_raw_fd(number) })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        unit: UnitArguments,
    }

    fn parsed(options: &[(&str, String)]) -> Option<UnitArguments> {
        let given = options.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
        let fixed = ["unit", "--params", "00", "--order", "00", "--worker", "00"].map(str::to_owned);
        Line::try_parse_from(fixed.into_iter().chain(given)).ok().map(|line| line.unit)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn hex_is_read_or_refused(text in prop_oneof!["\\PC{0,90}", "(0x)?[0-9a-fA-F]{0,90}"]) {
            let digits = text.strip_prefix("0x").unwrap_or(&text);
            let is_hex = digits.len() % 2 == 0 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            match bytes("--params", &text) {
                Ok(bytes) => prop_assert!(is_hex && hex::encode(bytes) == digits.to_ascii_lowercase()),
                Err(error) => prop_assert!(!is_hex && error.to_string().contains("--params")),
            }
            let is_address = is_hex && digits.len() == 40;
            prop_assert_eq!(fixed_bytes::<20>("--worker", &text).is_ok(), is_address);
        }

        /// Whatever numbers are given: the slice is what was asked for, or there is none.
        #[test]
        fn slices_stay_inside(start: u64, unit: u64, length: u64, by_unit: bool, by_candidates: bool, shift in 0..64_u32) {
            let (unit, length) = (unit >> shift, length >> shift);
            let place = if by_unit { ("--unit", unit.to_string()) } else { ("--start", start.to_string()) };
            let size = if by_candidates { "--candidates" } else { "--length" };
            let arguments = parsed(&[place, (size, length.to_string())]).expect("four numbers");
            let points = if by_candidates { length.div_ceil(6) } else { length };
            let first = if by_unit { u128::from(unit) << 34 } else { u128::from(start) };
            let end = first + u128::from(points);
            let fits = end <= 1 << 64 && (!by_unit || first < 1 << 64 && points <= 1 << 34);
            let slice = slice_of(&arguments).ok();
            prop_assert_eq!(slice.is_some(), fits || points == 0 && first < 1 << 64);
            if let Some(slice) = slice {
                prop_assert_eq!((u128::from(slice.start), slice.length), (first, points));
            }
        }

        #[test]
        fn a_shown_number_is_one(text in "\\PC{0,20}") {
            if let Some(arguments) = parsed(&[("--unit", text.clone()), ("--length", "1".to_owned())]) {
                prop_assert_eq!(arguments.unit, text.parse().ok());
            }
        }
    }
}
