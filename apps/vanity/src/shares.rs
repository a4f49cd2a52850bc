//! Near misses as proof of work: checking them fast, checking that none is missing, and what their count says.

use std::collections::HashSet;

use k256::{AffinePoint, ProjectivePoint, Scalar, elliptic_curve::BatchNormalize};
use sha3::{Digest, Keccak256};
use std::sync::OnceLock;
use thiserror::Error;

use crate::{
    AddressKind, Hash160, Image, PublicKey, Ranges,
    kernel::table::Affine,
    unit::{Found, Search, Slice, search},
};

/// A near miss as a worker reports it: everything else follows from the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    pub index: u64,
    pub image: Image,
}

pub const SHARE_LENGTH: usize = 9;

impl Share {
    /// `index (8, big endian) ‖ image (1)`.
    pub fn encode(&self) -> [u8; SHARE_LENGTH] {
        let mut bytes = [0; SHARE_LENGTH];
        bytes[..8].copy_from_slice(&self.index.to_be_bytes());
        bytes[8] = self.image.number();
        bytes
    }

    pub fn decode(bytes: &[u8; SHARE_LENGTH]) -> Option<Self> {
        let (index, image) = bytes.split_first_chunk::<8>()?;
        Some(Self { index: u64::from_be_bytes(*index), image: Image::new(image[0])? })
    }
}

impl From<Found> for Share {
    fn from(found: Found) -> Self {
        Self { index: found.index, image: found.image }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShareError {
    #[error("index {0} is not in the unit")]
    OutsideUnit(u64),
    #[error("index {0} has the offset zero or the point at infinity")]
    NoPoint(u64),
    #[error("index {index} image {image} hashes to {hash}, which is no share")]
    NotAShare { index: u64, image: u8, hash: Hash160 },
    #[error("index {0} is reported twice")]
    Duplicate(u64),
}

/// Checks shares of one order and worker, each in a few microseconds.
pub struct ShareChecker {
    /// P + base·G.
    origin: ProjectivePoint,
    base: Scalar,
    kind: AddressKind,
    ranges: Ranges,
}

impl ShareChecker {
    pub fn new(public_key: &PublicKey, base: Scalar, kind: AddressKind, ranges: Ranges) -> Self {
        let origin = ProjectivePoint::from(public_key.point()) + ProjectivePoint::GENERATOR * base;
        Self { origin, base, kind, ranges }
    }

    /// The hash of a share that belongs to the unit and lies in the ranges.
    pub fn check(&self, unit: Slice, share: Share) -> Result<Hash160, ShareError> {
        let Share { index, image } = share;
        if !unit.contains(index) {
            return Err(ShareError::OutsideUnit(index));
        }
        if self.base + Scalar::from(index) == Scalar::ZERO {
            return Err(ShareError::NoPoint(index));
        }
        let point = Affine::of(&(self.origin + multiple(index))).ok_or(ShareError::NoPoint(index))?;
        let hash = point.image_hash(image, self.kind);
        match self.ranges.contains(hash) {
            true => Ok(hash),
            false => Err(ShareError::NotAShare { index, image: image.number(), hash }),
        }
    }

    /// All shares of a unit; the first wrong one spoils the report, since no honest worker sends any.
    pub fn check_all(&self, unit: Slice, shares: &[Share]) -> Result<Vec<Found>, ShareError> {
        let mut seen = HashSet::with_capacity(shares.len());
        let check = |share: &Share| {
            if !seen.insert(*share) {
                return Err(ShareError::Duplicate(share.index));
            }
            let hash = self.check(unit, *share)?;
            Ok(Found { index: share.index, image: share.image, hash })
        };
        shares.iter().map(check).collect()
    }
}

/// index·G from a table of each byte's multiples: eight additions instead of a multiplication.
fn multiple(index: u64) -> ProjectivePoint {
    const BYTES: usize = 8;
    static TABLE: OnceLock<Vec<AffinePoint>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut multiples = Vec::with_capacity(BYTES * 256);
        let mut unit = ProjectivePoint::GENERATOR;
        for _ in 0..BYTES {
            let mut multiple = ProjectivePoint::IDENTITY;
            for _ in 0..256 {
                multiples.push(multiple);
                multiple += unit;
            }
            unit = multiple;
        }
        // The identities have no affine form in a batch; they are never added.
        let finite: Vec<ProjectivePoint> = multiples
            .iter()
            .map(|point| if *point == ProjectivePoint::IDENTITY { ProjectivePoint::GENERATOR } else { *point })
            .collect();
        <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(finite.as_slice())
    });
    let bytes = index.to_le_bytes().into_iter().map(usize::from).enumerate().filter(|(_, byte)| *byte != 0);
    bytes.fold(ProjectivePoint::IDENTITY, |sum, (position, byte)| sum + table[256 * position + byte])
}

/// What an audit of part of a unit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub slice: Slice,
    /// Shares that are there and were not reported.
    pub missing: Vec<Found>,
    /// Reported shares that are not there.
    pub invented: Vec<Share>,
}

impl Audit {
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.invented.is_empty()
    }
}

/// Where to audit: `1/parts` of the unit, chosen by a seed that the worker learns only after its report.
pub fn audit_slice(unit: Slice, parts: u64, seed: &[u8; 32]) -> Slice {
    let length = (unit.length / parts.max(1)).max(1).min(unit.length);
    let digest = Keccak256::new().chain_update(seed).chain_update(unit.start.to_be_bytes()).finalize();
    let random = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
    Slice { start: unit.start + random % (unit.length - length + 1), length }
}

/// Searches the slice again and compares. The shares of a slice are a function of the order, so nothing is forgiven.
pub fn audit(job: &Search, slice: Slice, reported: &[Share]) -> Audit {
    let report = search(job, slice, |_| std::ops::ControlFlow::Continue(()));
    let claimed: HashSet<Share> = reported.iter().copied().filter(|share| slice.contains(share.index)).collect();
    let actual: HashSet<Share> = report.shares.iter().copied().map(Share::from).collect();
    let missing = report.shares.into_iter().filter(|found| !claimed.contains(&Share::from(*found))).collect();
    let mut invented: Vec<Share> = claimed.difference(&actual).copied().collect();
    invented.sort_unstable();
    Audit { slice, missing, invented }
}

/// Running totals of one worker: shares come at random, so only sums can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Standing {
    /// Shares an honest worker would have found in the units claimed, on average.
    pub expected: f64,
    pub found: u64,
}

impl Standing {
    pub fn add(&mut self, candidates: u64, share_difficulty: f64, found: u64) {
        self.expected += candidates as f64 / share_difficulty;
        self.found += found;
    }

    /// Standard deviations above (or, if negative, below) what honest work gives.
    pub fn deviations(&self) -> f64 {
        if self.expected > 0.0 { (self.found as f64 - self.expected) / self.expected.sqrt() } else { 0.0 }
    }

    /// The share of the claimed work that was really done, as the shares tell.
    pub fn diligence(&self) -> f64 {
        if self.expected > 0.0 { self.found as f64 / self.expected } else { 1.0 }
    }

    /// Chance that an honest worker has so few shares: the lower tail of Poisson's distribution.
    pub fn innocence(&self) -> f64 {
        poisson_at_most(self.found, self.expected)
    }
}

/// Above this mean Poisson's distribution is taken as normal.
const POISSON_SUM_MAX: f64 = 600.0;

/// P(X ≤ count).
fn poisson_at_most(count: u64, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 1.0;
    }
    if mean > POISSON_SUM_MAX {
        return normal_below((count as f64 + 0.5 - mean) / mean.sqrt());
    }
    let mut term = (-mean).exp();
    let mut sum = term;
    for number in 1..=count {
        term *= mean / number as f64;
        sum += term;
    }
    sum.min(1.0)
}

/// The normal distribution's lower tail, by the fit of the complementary error function in Numerical Recipes §6.2:
/// right to 1.2e-7 of its value, however small.
fn normal_below(deviations: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = -deviations / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let complement = t * (polynomial - x * x).exp();
    0.5 * if x >= 0.0 { complement } else { 2.0 - complement }
}
