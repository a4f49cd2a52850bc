//! Searching one slice of an order: a pure, resumable function of its arguments.
//!
//! Candidate index `i` is the point `P + (base + i)·G`, which gives six addresses, its [images](Image). A slice of
//! `length` indices is therefore `6·length` candidates, and what is found in it depends neither on the back end nor on
//! how the slice is cut.

use std::ops::ControlFlow;

use k256::{ProjectivePoint, Scalar};

use crate::{
    AddressKind, Hash160, Image, PublicKey, Ranges,
    kernel::{Backend, Find, Goal, walk},
};

/// Everything a search needs to know but for where to look.
#[derive(Debug, Clone)]
pub struct Search {
    pub public_key: PublicKey,
    pub base: Scalar,
    pub kind: AddressKind,
    /// What is wanted.
    pub targets: Ranges,
    /// Near misses that prove work; empty if nobody asks for them.
    pub shares: Ranges,
    pub backend: Backend,
}

/// From the start of one unit to that of the next.
pub const UNIT_STRIDE: u64 = 1 << 34;
/// Units with all their indices below 2^64.
pub const UNITS: u64 = 1 << 30;

/// Indices from `start` up to and not including `start + length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub start: u64,
    pub length: u64,
}

impl Slice {
    /// `None` if an index would not fit in 64 bits.
    pub fn new(start: u64, length: u64) -> Option<Self> {
        (length == 0 || start.checked_add(length - 1).is_some()).then_some(Self { start, length })
    }

    /// The first indices of a unit. Units are apart, however much of each is searched.
    pub fn of_unit(unit: u64, length: u64) -> Option<Self> {
        let start = unit.checked_mul(UNIT_STRIDE)?;
        if length > UNIT_STRIDE { None } else { Self::new(start, length) }
    }

    pub fn candidates(&self) -> u64 {
        self.length.saturating_mul(Image::COUNT)
    }

    /// Whether the index belongs to the slice.
    pub fn contains(&self, index: u64) -> bool {
        index.checked_sub(self.start).is_some_and(|position| position < self.length)
    }
}

/// A candidate in one of the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub index: u64,
    pub image: Image,
    pub hash: Hash160,
}

/// How far a search came since it was last asked.
#[derive(Debug)]
pub struct Step<'report> {
    /// Points checked in this step; each is six candidates.
    pub points: u64,
    pub hits: &'report [Found],
    pub shares: &'report [Found],
}

/// What the checked part of a slice holds, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub hits: Vec<Found>,
    pub shares: Vec<Found>,
    /// Points checked, from the start of the slice: where to go on if this is less than its length.
    pub points: u64,
}

impl Report {
    pub fn candidates(&self) -> u64 {
        self.points * Image::COUNT
    }
}

/// Points between two calls of `on_step`: a few milliseconds of work.
const STEP_POINTS: u64 = 1 << 15;

/// Searches a slice in order until it ends or `on_step` breaks; steps end where a block of the back end does.
pub fn search(search: &Search, slice: Slice, mut on_step: impl FnMut(&Step<'_>) -> ControlFlow<()>) -> Report {
    let goal = goal_of(search);
    let origin = ProjectivePoint::from(search.public_key.point());
    let mut walk = walk(search.backend, &goal, origin, search.base + Scalar::from(slice.start));
    let mut report = Report::default();
    let mut finds = Vec::new();
    while report.points < slice.length {
        let (hits, shares, points) = (report.hits.len(), report.shares.len(), report.points);
        while report.points < slice.length && report.points - points < STEP_POINTS {
            walk.next_block(&mut finds);
            finds.sort_unstable();
            let block = u64::from(walk.block_points()).min(slice.length - report.points);
            let inside = finds.drain(..).filter(|find| u64::from(find.position) < block);
            file(search, slice.start + report.points, inside, &mut report);
            report.points += block;
        }
        let step =
            Step { points: report.points - points, hits: &report.hits[hits..], shares: &report.shares[shares..] };
        if on_step(&step).is_break() {
            break;
        }
    }
    report
}

fn goal_of(search: &Search) -> Goal {
    let both = search.targets.as_slice().iter().chain(search.shares.as_slice()).copied();
    Goal::new(search.kind, Ranges::union(both))
}

/// Sorts the finds of a block into hits and shares. An offset of zero is refused: it would give P away as the answer.
fn file(search: &Search, block_start: u64, finds: impl Iterator<Item = Find>, report: &mut Report) {
    for Find { position, image, hash } in finds {
        let found = Found { index: block_start + u64::from(position), image, hash };
        if search.base + Scalar::from(found.index) == Scalar::ZERO {
            continue;
        }
        if search.targets.contains(hash) {
            report.hits.push(found);
        }
        if search.shares.contains(hash) {
            report.shares.push(found);
        }
    }
}
