//! Shares of vanity searches: near misses that lie in ranges around the wanted ones.
//!
//! Everything about them follows from the order's parameters and id and from the work of an ordinary task, so oracle,
//! worker and pool agree without telling each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gristmill_proto::id::WorkerId;
use gristmill_proto::job::ShareTerms;
use gristmill_proto::view::Closest;
use gristmill_scheduler::shares::{Question, ShareChecker, ShareCheckers};
use vanity::kernel::Backend;
use vanity::oblivious::Opening;
use vanity::shares::{SHARE_LENGTH, Share, ShareChecker as PointChecker, Standing, audit, audit_slice};
use vanity::unit::{Found, Search, Slice};
use vanity::{AddressKind, Difficulty, Image, Order, Params, Ranges};

/// Its name in jobs and plans.
pub const CHECKER: &str = "vanity";
/// Where the program leaves them, below `/out`.
const FILE: &str = "shares";
/// Aimed at in each task: an honest task almost never has less than half of it.
const EXPECTED: f64 = 64.0;
/// An honest worker's task is refused once in so many.
const TASKS_PER_REFUSAL: f64 = 1e9;
/// The chance of standing so low by bad luck, below which a worker is not believed any more.
const INNOCENCE_MIN: f64 = 1e-6;
/// One in so many points of a task is searched again.
const AUDIT_PARTS: u64 = 4_096;

/// What every pool that carries the vanity program can check.
pub fn checkers() -> ShareCheckers {
    BTreeMap::from([(CHECKER.to_owned(), Arc::new(Vanity) as Arc<dyn ShareChecker>)])
}

/// A task's terms, and the ranges of its shares as the program wants them.
pub fn terms(params: &[u8], order: &[u8; 32], task_work: u64) -> Result<(ShareTerms, String)> {
    let params = Params::decode(params)?;
    let wide = share_ranges(&params, order, task_work);
    let expected = expected(&wide, task_work);
    if expected < EXPECTED / 2.0 {
        bail!("what is wanted is so rare that no search can be shown to take place");
    }
    let ranges = wide.as_slice().iter().flat_map(|range| [range.low.0, range.high.0]).collect::<Vec<_>>().concat();
    let terms = ShareTerms {
        checker: CHECKER.to_owned(),
        file: FILE.to_owned(),
        expected: (expected.round() as u64).min(gristmill_proto::job::SHARES_MAX),
        params: BTreeMap::from([
            ("params".to_owned(), hex::encode(params.encode())),
            ("order".to_owned(), hex::encode(order)),
        ]),
    };
    Ok((terms, hex::encode(ranges)))
}

/// The wanted ranges, each inside one so much wider that a task holds some dozens. An easy pattern is its own share.
fn share_ranges(params: &Params, order: &[u8; 32], task_work: u64) -> Ranges {
    let targets = params.ranges().clone();
    let width = (EXPECTED / expected(&targets, task_work)).ceil().max(1.0) as u64;
    Opening { targets, width, seed: *order }.wide()
}

/// Finds among so many candidates, on average.
fn expected(ranges: &Ranges, candidates: u64) -> f64 {
    Difficulty::of(ranges).map_or(0.0, |difficulty| candidates as f64 / difficulty.candidates())
}

/// An order's search as its terms tell it.
struct Terms {
    params: Params,
    order: [u8; 32],
}

impl Terms {
    fn of(terms: &ShareTerms) -> Result<Self> {
        let param = |name: &str| terms.params.get(name).with_context(|| format!("the parameter `{name}` is missing"));
        let order = hex::decode(param("order")?)?.try_into().ok().context("an order's id has 32 bytes")?;
        Ok(Self { params: Params::decode(&hex::decode(param("params")?)?)?, order })
    }
}

/// What the wanted addresses have in common: the pattern, or its beginning.
fn wanted_beginning(targets: &Ranges) -> String {
    let edges = targets.as_slice().iter().flat_map(|range| [range.low, range.high]);
    let addresses = edges.map(|hash| AddressKind::P2pkh.encode(hash));
    addresses.reduce(|a, b| a[..shared_letters(&a, &b)].to_owned()).unwrap_or_default()
}

fn shared_letters(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// The near miss that shares most letters with what is wanted.
fn closest(near: &[Found], targets: &Ranges, worker: WorkerId) -> Option<Closest> {
    let wanted = wanted_beginning(targets);
    let described = near.iter().map(|found| {
        let text = AddressKind::P2pkh.encode(found.hash);
        let record = NearMiss { worker: worker.0, index: found.index, image: found.image }.to_text();
        Closest { score: shared_letters(&text, &wanted) as u64, text, record }
    });
    described.max_by_key(|closest| closest.score)
}

/// Where a near miss is, so that the requester can make its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearMiss {
    pub worker: [u8; 20],
    pub index: u64,
    pub image: Image,
}

impl NearMiss {
    /// `worker (20) ‖ index (8) ‖ image (1)` in hexadecimal.
    fn to_text(self) -> String {
        let bytes = [&self.worker[..], &self.index.to_be_bytes(), &[self.image.number()]].concat();
        format!("0x{}", hex::encode(bytes))
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 29] = hex::decode(text.strip_prefix("0x")?).ok()?.try_into().ok()?;
        let (worker, rest) = bytes.split_first_chunk::<20>()?;
        let (index, image) = rest.split_first_chunk::<8>()?;
        Some(Self { worker: *worker, index: u64::from_be_bytes(*index), image: Image::new(image[0])? })
    }
}

struct Vanity;

impl ShareChecker for Vanity {
    fn understands(&self, terms: &ShareTerms) -> Result<(), String> {
        Terms::of(terms).map(drop).map_err(|error| format!("{error:#}"))
    }

    fn count(&self, question: &Question<'_>) -> Result<(u64, Option<Closest>), String> {
        let Terms { params, order } = Terms::of(question.terms).map_err(|error| format!("{error:#}"))?;
        let unit = Slice::of_unit(question.task, question.work.div_ceil(Image::COUNT));
        let unit = unit.ok_or("the task reaches beyond its unit")?;
        let (shares, rest) = question.shares.as_chunks::<SHARE_LENGTH>();
        if !rest.is_empty() {
            return Err(format!("{} bytes of shares are no whole number of them", question.shares.len()));
        }
        let shares: Option<Vec<Share>> = shares.iter().map(Share::decode).collect();
        let shares = shares.ok_or("a share has an image beyond the sixth")?;
        let base = Order { id: order, worker: question.worker.0 }.base();
        let ranges = share_ranges(&params, &order, question.task_work);
        let expected = expected(&ranges, question.work);
        let checker = PointChecker::new(params.public_key(), base, AddressKind::P2pkh, ranges.clone());
        let near = checker.check_all(unit, &shares).map_err(|error| error.to_string())?;
        let found = shares.len() as u64;
        let closest = closest(&near, params.ranges(), question.worker);
        if !question.whole {
            return Ok((found, closest));
        }
        if near.iter().any(|near| params.ranges().contains(near.hash)) {
            return Err("a find was handed in as a near miss".to_owned());
        }
        if (Standing { expected, found }).innocence() < 1.0 / TASKS_PER_REFUSAL {
            return Err(format!("{found} shares where {expected:.0} are expected: so few never happen"));
        }
        let search = Search {
            public_key: *params.public_key(),
            base,
            kind: AddressKind::P2pkh,
            targets: Ranges::default(),
            shares: ranges,
            backend: Backend::best(),
        };
        let audit = audit(&search, audit_slice(unit, AUDIT_PARTS, &question.seed), &shares);
        match audit.is_clean() {
            true => Ok((found, closest)),
            false => Err(format!("{} shares of a part that was searched again are missing", audit.missing.len())),
        }
    }

    fn is_too_few(&self, found: u64, expected: u64) -> bool {
        Standing { expected: expected as f64, found }.innocence() < INNOCENCE_MIN
    }
}

#[cfg(test)]
mod tests {
    use vanity::{Pattern, SecretKey};

    use super::*;

    const TASK_WORK: u64 = 6 << 18;
    const ORDER: [u8; 32] = [3; 32];
    const WORKER: WorkerId = WorkerId([9; 20]);

    /// The terms of a hard search, and what an honest worker hands in for a task.
    fn searched(task: u64) -> (ShareTerms, Vec<Share>) {
        let key = SecretKey::from_bytes(&[5; 32]).unwrap().public_key();
        let params = Params::new(key, Pattern::parse("1LoVEaaa").unwrap().ranges().clone()).unwrap();
        let (terms, ranges) = terms(&params.encode(), &ORDER, TASK_WORK).unwrap();
        assert_eq!(ranges.len() % 80, 0);
        let search = Search {
            public_key: key,
            base: Order { id: ORDER, worker: WORKER.0 }.base(),
            kind: AddressKind::P2pkh,
            targets: Ranges::default(),
            shares: share_ranges(&params, &ORDER, TASK_WORK),
            backend: Backend::best(),
        };
        let slice = Slice::of_unit(task, TASK_WORK / 6).unwrap();
        let report = vanity::unit::search(&search, slice, |_| std::ops::ControlFlow::Continue(()));
        (terms, report.shares.into_iter().map(Share::from).collect())
    }

    fn count(terms: &ShareTerms, task: u64, shares: &[Share]) -> Result<(u64, Option<Closest>), String> {
        let bytes: Vec<u8> = shares.iter().flat_map(Share::encode).collect();
        Vanity.count(&question(terms, task, &bytes))
    }

    fn question<'a>(terms: &'a ShareTerms, task: u64, shares: &'a [u8]) -> Question<'a> {
        let (task_work, work) = (TASK_WORK, TASK_WORK);
        Question { terms, task_work, task, work, worker: WORKER, shares, whole: true, seed: [1; 32] }
    }

    #[test]
    fn an_honest_task_is_believed_and_a_lazy_one_is_not() {
        let (terms, shares) = searched(7);
        assert!(terms.expected.abs_diff(64) <= 1, "{}", terms.expected);
        let (found, closest) = count(&terms, 7, &shares).unwrap();
        assert_eq!(found, shares.len() as u64);
        let closest = closest.unwrap();
        assert!(closest.text.starts_with(&"1LoVEaaa"[..usize::try_from(closest.score).unwrap()]), "{closest:?}");
        let place = NearMiss::from_text(&closest.record).unwrap();
        assert!(shares.contains(&Share { index: place.index, image: place.image }) && place.worker == WORKER.0);
        assert!(count(&terms, 7, &shares[..shares.len() / 4]).unwrap_err().contains("never happen"));
        assert!(count(&terms, 7, &[]).is_err());
    }

    #[test]
    fn shares_of_another_task_worker_or_order_and_doubled_ones_are_refused() {
        let (terms, shares) = searched(7);
        assert!(count(&terms, 8, &shares).unwrap_err().contains("not in the unit"));
        let mut doubled = shares.clone();
        doubled.push(shares[0]);
        assert!(count(&terms, 7, &doubled).unwrap_err().contains("twice"));
        let bytes: Vec<u8> = shares.iter().flat_map(Share::encode).collect();
        let other = WorkerId([8; 20]);
        let of_other = Question { worker: other, ..question(&terms, 7, &bytes) };
        assert!(Vanity.count(&of_other).unwrap_err().contains("no share"));
        assert!(Vanity.count(&question(&terms, 7, &bytes[1..])).unwrap_err().contains("whole number"));
    }

    #[test]
    fn a_part_of_a_task_has_its_part_of_the_shares() {
        let (terms, shares) = searched(7);
        let half: Vec<u8> = shares
            .iter()
            .filter(|share| share.index < 7 * vanity::unit::UNIT_STRIDE + TASK_WORK / 12)
            .flat_map(Share::encode)
            .collect();
        let of_half = Question { work: TASK_WORK / 2, ..question(&terms, 7, &half) };
        assert_eq!(Vanity.count(&of_half).unwrap().0, half.len() as u64 / 9);
        let beyond = Question { work: 6 * vanity::unit::UNIT_STRIDE + 1, ..of_half };
        assert!(Vanity.count(&beyond).unwrap_err().contains("beyond its unit"));
    }

    /// Where is searched again, only a seed drawn afterwards says; what was left out there is missed.
    #[test]
    fn a_share_left_out_of_the_part_searched_again_is_missed() {
        let (terms, shares) = searched(7);
        let unit = Slice::of_unit(7, TASK_WORK / 6).unwrap();
        let seeds = (0..u32::MAX).map(|number| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            seed
        });
        let (seed, left_out) = seeds
            .filter_map(|seed| {
                let slice = audit_slice(unit, AUDIT_PARTS, &seed);
                Some((seed, shares.iter().position(|share| slice.contains(share.index))?))
            })
            .next()
            .expect("some part has a share");
        let mut kept = shares;
        kept.remove(left_out);
        let bytes: Vec<u8> = kept.iter().flat_map(Share::encode).collect();
        let audited = Question { seed, ..question(&terms, 7, &bytes) };
        assert!(Vanity.count(&audited).unwrap_err().contains("missing"));
        assert!(Vanity.count(&question(&terms, 7, &bytes)).is_ok(), "another part says nothing");
    }

    /// A tail of the distribution costs the same however much was expected.
    #[test]
    fn an_easy_search_in_vain_is_refused_at_once() {
        let key = SecretKey::from_bytes(&[5; 32]).unwrap().public_key();
        let params = Params::new(key, Pattern::parse("1").unwrap().ranges().clone()).unwrap();
        let (terms, _) = terms(&params.encode(), &ORDER, 1 << 36).unwrap();
        let started = std::time::Instant::now();
        let of_all = Question { task_work: 1 << 36, work: 1 << 36, ..question(&terms, 7, &[]) };
        assert!(Vanity.count(&of_all).unwrap_err().contains("never happen"));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }

    #[test]
    fn one_hash_among_all_has_no_shares() {
        let key = SecretKey::from_bytes(&[5; 32]).unwrap().public_key();
        let one = vanity::ranges::HashRange::new(vanity::Hash160([7; 20]), vanity::Hash160([7; 20]));
        let params = Params::new(key, Ranges::union(one)).unwrap();
        assert!(terms(&params.encode(), &ORDER, TASK_WORK).unwrap_err().to_string().contains("so rare"));
    }

    #[test]
    fn what_is_wanted_is_read_from_the_ranges() {
        for pattern in ["1LoVE", "1", "111", "1Bitcoin"] {
            assert_eq!(wanted_beginning(Pattern::parse(pattern).unwrap().ranges()), pattern);
        }
        assert_eq!(wanted_beginning(&Ranges::default()), "");
        for text in ["", "0x", "0x00", "zz", &format!("0x{}06", "00".repeat(28))] {
            assert_eq!(NearMiss::from_text(text), None, "{text}");
        }
    }

    /// A tenth left out shows in no single task, but in a hundred.
    #[test]
    fn a_slacker_stands_ever_worse() {
        assert!(!Vanity.is_too_few(58, 64));
        assert!(!Vanity.is_too_few(640, 640));
        assert!(Vanity.is_too_few(5_760, 6_400));
        assert!(!Vanity.is_too_few(6_400, 6_400));
    }

    #[test]
    fn terms_that_make_no_sense_are_refused() {
        let (good, _) = searched(0);
        for (name, value) in [("params", "zz"), ("order", "00")] {
            let mut bad = good.clone();
            bad.params.insert(name.to_owned(), value.to_owned());
            assert!(Vanity.understands(&bad).is_err(), "{name}");
            bad.params.remove(name);
            assert!(Vanity.understands(&bad).unwrap_err().contains(name));
        }
    }
}
