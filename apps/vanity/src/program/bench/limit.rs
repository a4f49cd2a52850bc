//! What this processor could do at most with the AVX-512 back end: the operations of the algorithm over what its ports
//! can do of each kind, taken together or apart.
//!
//! No program of the algorithm is faster, however it orders its operations and whatever it overlaps. Left out, and so
//! lost against the limit: that operations wait for each other, the inversion of each block, loads and stores, branches,
//! exact checks. The hash is counted by running it on vectors that count ([`vanity::kernel::count`]), the curve by hand,
//! below. What ports can do is measured: the rate of a stream of operations that wait for nothing.
#![expect(unsafe_code, reason = "a stream of chosen instructions can only be written in assembly")]

use std::time::Instant;

use vanity::kernel::count::{Operations, hash_operations};

use super::clock;

/// Operations of a cycle, by kind.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) simple: f64,
    pub(super) rotations: f64,
    pub(super) multiplications: f64,
    /// Of the two before, which may share their ports.
    pub(super) either: f64,
    pub(super) shifts: f64,
    pub(super) shuffles: f64,
}

/// Of a candidate, with the products of limbs.
#[derive(Clone, Copy)]
struct Work {
    multiplications: f64,
    others: Operations<f64>,
}

/// Cycles per candidate.
pub(super) struct Cycles {
    /// Of both stages in one stream; not less than the longer of them, nor more than their sum.
    pub(super) both: f64,
    /// Alone.
    pub(super) hash: f64,
    pub(super) curve: f64,
    pub(super) rates: Rates,
}

/// Of an operation on eight field elements.
#[derive(Clone, Copy)]
struct Steps {
    multiplications: u32,
    shifts: u32,
    simple: u32,
}

impl Steps {
    const fn and(self, other: Self) -> Self {
        Self {
            multiplications: self.multiplications + other.multiplications,
            shifts: self.shifts + other.shifts,
            simple: self.simple + other.simple,
        }
    }

    const fn times(self, count: u32) -> Self {
        Self { multiplications: count * self.multiplications, shifts: count * self.shifts, simple: count * self.simple }
    }
}

/// Each limb's upper bits to the next.
const CARRIES: Steps = Steps { multiplications: 0, shifts: 4, simple: 4 };
/// Ten columns to the five limbs of a factor: carries above, ten products to fold, two for what lies above 2^256 in two
/// limbs, carries below.
const REDUCTION: Steps = CARRIES.times(2).and(Steps { multiplications: 10 + 2, shifts: 2, simple: 2 });
/// The same up to a canonical element: limbs are cut to 52 bits, and one carry goes on after the fold.
const CANONICAL_REDUCTION: Steps = REDUCTION.and(Steps { multiplications: 0, shifts: 1, simple: 4 + 1 + 1 });
/// Products of limbs.
const PRODUCT: Steps = Steps { multiplications: 50, shifts: 0, simple: 0 };
/// And sums to double those off the diagonal.
const SQUARE: Steps = Steps { multiplications: 30, shifts: 0, simple: 8 };
const SUM: Steps = Steps { multiplications: 0, shifts: 0, simple: 5 }.and(CARRIES);
/// Without carries.
const LESS: Steps = Steps { multiplications: 0, shifts: 0, simple: 5 };
/// −x − β·x: one small product for what lies above 2^256 in the last limb, carried and cut.
const THIRD: Steps = LESS.times(2).and(CARRIES).and(Steps { multiplications: 1, shifts: 1, simple: 1 + 4 });
/// Each of eight lanes' limbs to four words of 64 bits. Those go to rows of words of 32 bits by [`SHUFFLES`].
const WORDS: Steps = Steps { multiplications: 0, shifts: 7, simple: 4 };
/// Of a coordinate of eight lanes.
const SHUFFLES: u32 = 4;

/// Of a pair C ± i·G: three products for the shared inversion, two slopes, two squares; dx twice, gy ± cy; and x(C) and
/// x(i·G) taken from both squares.
const PAIR: Steps =
    PRODUCT.and(REDUCTION).times(5).and(SQUARE.and(CANONICAL_REDUCTION).and(LESS).times(2)).and(SUM.times(4)).and(LESS);
/// Of a point: β·x, −x − β·x, and three coordinates to words.
const POINT: Steps = PRODUCT.and(CANONICAL_REDUCTION).and(THIRD).and(WORDS.times(3));
/// Eight lanes; a point has six candidates.
const LANES_AND_CANDIDATES: u32 = 8 * 6;

fn curve_work() -> Work {
    let Steps { multiplications, shifts, simple } = PAIR.and(POINT.times(2));
    let each = |count: u32| f64::from(count) / f64::from(2 * LANES_AND_CANDIDATES);
    let shuffles = each(2 * 3 * SHUFFLES);
    let others = Operations { simple: each(simple), shifts: each(shifts), shuffles, rotations: 0.0, compares: 0.0 };
    Work { multiplications: each(multiplications), others }
}

impl Work {
    fn and(self, other: Self) -> Self {
        let (a, b) = (self.others, other.others);
        Self {
            multiplications: self.multiplications + other.multiplications,
            others: Operations {
                simple: a.simple + b.simple,
                rotations: a.rotations + b.rotations,
                shifts: a.shifts + b.shifts,
                shuffles: a.shuffles + b.shuffles,
                compares: a.compares + b.compares,
            },
        }
    }

    /// The longest that any kind, two that may share ports, or all together take.
    fn cycles(self, rates: Rates) -> f64 {
        let Self { multiplications, others: Operations { simple, rotations, shifts, shuffles, compares } } = self;
        let all = simple + rotations + multiplications + shifts + shuffles + compares;
        let parts = [
            all / rates.simple,
            rotations / rates.rotations,
            multiplications / rates.multiplications,
            (rotations + multiplications) / rates.either,
            shifts / rates.shifts,
            shuffles / rates.shuffles,
        ];
        parts.into_iter().fold(0.0, f64::max)
    }
}

/// Nothing where the processor lacks the instructions.
pub(super) fn cycles() -> Option<Cycles> {
    if !std::is_x86_feature_detected!("avx512ifma") || !std::is_x86_feature_detected!("avx512bw") {
        return None;
    }
    let (rotations, multiplications) = (rate(rotation_stream), rate(multiplication_stream));
    let rates = Rates {
        simple: rate(sum_stream),
        rotations,
        multiplications,
        either: rate(either_stream).max(rotations).max(multiplications),
        shifts: rate(shift_stream),
        shuffles: rate(shuffle_stream),
    };
    let (hash, curve) = (Work { multiplications: 0.0, others: hash_operations() }, curve_work());
    Some(Cycles { both: hash.and(curve).cycles(rates), hash: hash.cycles(rates), curve: curve.cycles(rates), rates })
}

const TURNS: u64 = 20_000;

/// Operations per cycle: the best of a few tries. Only where [`cycles`] has looked for the features.
fn rate(stream: unsafe fn(u64) -> u64) -> f64 {
    let hertz = clock::hertz();
    let tries = (0..5).map(|_| {
        let started = Instant::now();
        // SAFETY: the processor has the features, see above.
        let operations = unsafe { stream(TURNS) };
        operations as f64 / (started.elapsed().as_secs_f64() * hertz)
    });
    tries.fold(0.0, f64::max)
}

/// Two operations on each of four registers.
macro_rules! eight {
    ($odd:ident $even:ident: $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            one!($odd $a), one!($even $b), one!($odd $c), one!($even $d),
            one!($odd $e), one!($even $f), one!($odd $g), one!($even $h)
        )
    };
}
macro_rules! one {
    (sum $r:literal) => {
        concat!("vpaddd zmm", $r, ", zmm", $r, ", zmm30\n")
    };
    (rotation $r:literal) => {
        concat!("vprold zmm", $r, ", zmm", $r, ", 7\n")
    };
    (multiplication $r:literal) => {
        concat!("vpmadd52luq zmm", $r, ", zmm29, zmm30\n")
    };
    (shift $r:literal) => {
        concat!("vpsrlq zmm", $r, ", zmm", $r, ", 1\n")
    };
    (shuffle $r:literal) => {
        concat!("vpshufb zmm", $r, ", zmm", $r, ", zmm30\n")
    };
}

/// 24 registers, so that each has long finished when its turn comes again.
macro_rules! stream {
    ($name:ident, $odd:ident $even:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
        fn $name(turns: u64) -> u64 {
            for _ in 0..turns {
                // SAFETY: changes the named registers and nothing else.
                unsafe {
                    core::arch::asm!(
                        eight!($odd $even: 0 1 2 3 4 5 6 7),
                        eight!($odd $even: 8 9 10 11 12 13 14 15),
                        eight!($odd $even: 16 17 18 19 20 21 22 23),
                        eight!($odd $even: 0 1 2 3 4 5 6 7),
                        eight!($odd $even: 8 9 10 11 12 13 14 15),
                        eight!($odd $even: 16 17 18 19 20 21 22 23),
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
                        out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _,
                        out("zmm17") _, out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _,
                        out("zmm22") _, out("zmm23") _,
                        options(nomem, nostack, preserves_flags)
                    );
                }
            }
            48 * turns
        }
    };
}
stream!(sum_stream, sum sum);
stream!(rotation_stream, rotation rotation);
stream!(multiplication_stream, multiplication multiplication);
stream!(either_stream, rotation multiplication);
stream!(shift_stream, shift shift);
stream!(shuffle_stream, shuffle shuffle);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_what_a_processor_of_two_ports_could_do() {
        // Three ports would give two thirds; one, or a build without these instructions, twice as much.
        let Some(Cycles { both, hash, curve, .. }) = cycles() else { return };
        assert!((40.0..200.0).contains(&hash), "{hash}");
        assert!((3.0..20.0).contains(&curve), "{curve}");
        assert!(both >= hash.max(curve) && both <= (hash + curve) * 1.0001, "{hash} and {curve} are {both}");
    }

    #[test]
    fn what_few_ports_do_may_take_longest() {
        let rates =
            Rates { simple: 2.0, rotations: 1.0, multiplications: 1.0, either: 1.0, shifts: 1.0, shuffles: 1.0 };
        let others = Operations { simple: 10.0, rotations: 4.0, shifts: 1.0, shuffles: 1.0, compares: 2.0 };
        let cycles = |multiplications| Work { multiplications, others }.cycles(rates);
        assert!((cycles(0.0) - 9.0).abs() < 1e-9, "18 operations at two a cycle");
        assert!((cycles(12.0) - 16.0).abs() < 1e-9, "16 of them by the port of rotations and products");
    }

    #[test]
    fn the_curve_takes_what_its_formulas_say() {
        // Products of limbs and of folds: 5·62 + 2·42 for a pair, 63 for each of its points.
        let Work { multiplications, others } = curve_work();
        assert!((96.0 * multiplications - f64::from(5 * 62 + 2 * 42 + 2 * 63)).abs() < 1e-9, "{multiplications}");
        assert!((96.0 * others.shuffles - 24.0).abs() < 1e-9);
    }
}
