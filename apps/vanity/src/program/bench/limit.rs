//! What this processor could do at most with the AVX-512 back end: the operations of the algorithm, at the rate of a
//! stream of such operations in which nothing waits for anything.
//!
//! Left out, and so lost against the limit: the inversion of each block, loads and stores, branches, exact checks. The
//! hash is counted by running it on vectors that count ([`vanity::kernel::count`]), the curve by hand, below.
#![expect(unsafe_code, reason = "a stream of chosen instructions can only be written in assembly")]

use std::time::Instant;

use vanity::kernel::count::hash_operations;

use super::clock;

/// Cycles per candidate.
pub(super) struct Cycles {
    pub(super) hash: f64,
    pub(super) curve: f64,
}

/// Vector operations that make ten columns the five limbs of a factor: 12 multiplications to fold, 4 for what lies above
/// 2^256, and two chains of 4 carries.
const REDUCTION: u32 = 12 + 4 + 2 * 8;
/// The same up to a canonical element: limbs are cut to 52 bits, and one carry goes on after the fold.
const CANONICAL_REDUCTION: u32 = REDUCTION + 4 + 3;
/// Products of limbs.
const PRODUCT: u32 = 50;
/// 30 products of limbs, and 8 sums to double those off the diagonal.
const SQUARE: u32 = 30 + 8;
/// A sum for each limb, and 4 carries.
const SUM: u32 = 5 + 8;
/// −x − β·x: two sums for each limb, a fold of 3, carried and cut.
const THIRD: u32 = 10 + 3 + 12;
/// Each of eight lanes' limbs to four words of 64 bits, and those to rows of words of 32 bits.
const WORDS: u32 = 11 + 4;

/// Of a pair C ± i·G: three products for the shared inversion, two slopes, two squares; dx twice, gy ± cy; and x(C) and
/// x(i·G) taken from both squares.
const PAIR: u32 = 5 * (PRODUCT + REDUCTION) + 2 * (SQUARE + CANONICAL_REDUCTION) + 4 * SUM + 3 * 5;
/// Of a point: β·x, −x − β·x, and three coordinates to words.
const POINT: u32 = PRODUCT + CANONICAL_REDUCTION + THIRD + 3 * WORDS;
/// Eight lanes; a point has six candidates.
const LANES_AND_CANDIDATES: u32 = 8 * 6;

/// Nothing where the processor lacks the instructions.
pub(super) fn cycles() -> Option<Cycles> {
    if !std::is_x86_feature_detected!("avx512ifma") {
        return None;
    }
    let curve = f64::from(PAIR + 2 * POINT) / f64::from(2 * LANES_AND_CANDIDATES);
    Some(Cycles { hash: hash_operations() / rate(hash_stream), curve: curve / rate(curve_stream) })
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

/// Sixteen operations on sixteen registers, in the proportions of the hash: 6 rotations, 7 sums, 3 of logic.
macro_rules! hash_mix {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal
     $i:literal $j:literal $k:literal $l:literal $m:literal $n:literal $o:literal $p:literal) => {
        concat!(
            hash_mix!(rotate $a), hash_mix!(sum $b), hash_mix!(sum $c), hash_mix!(rotate $d), hash_mix!(logic $e),
            hash_mix!(sum $f), hash_mix!(rotate $g), hash_mix!(sum $h), hash_mix!(rotate $i), hash_mix!(logic $j),
            hash_mix!(sum $k), hash_mix!(rotate $l), hash_mix!(sum $m), hash_mix!(logic $n), hash_mix!(rotate $o),
            hash_mix!(sum $p)
        )
    };
    (rotate $r:literal) => { concat!("vprold zmm", $r, ", zmm", $r, ", 7\n") };
    (sum $r:literal) => { concat!("vpaddd zmm", $r, ", zmm", $r, ", zmm30\n") };
    (logic $r:literal) => { concat!("vpternlogd zmm", $r, ", zmm29, zmm30, 0x96\n") };
}

/// The same for the curve: 9 multiplications, 3 sums, 3 shifts, 1 of logic. The multipliers may be what limits it.
macro_rules! curve_mix {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal
     $i:literal $j:literal $k:literal $l:literal $m:literal $n:literal $o:literal $p:literal) => {
        concat!(
            curve_mix!(multiply $a), curve_mix!(sum $b), curve_mix!(multiply $c), curve_mix!(shift $d),
            curve_mix!(multiply $e), curve_mix!(logic $f), curve_mix!(multiply $g), curve_mix!(sum $h),
            curve_mix!(multiply $i), curve_mix!(shift $j), curve_mix!(multiply $k), curve_mix!(multiply $l),
            curve_mix!(multiply $m), curve_mix!(shift $n), curve_mix!(multiply $o), curve_mix!(sum $p)
        )
    };
    (multiply $r:literal) => { concat!("vpmadd52luq zmm", $r, ", zmm29, zmm30\n") };
    (sum $r:literal) => { concat!("vpaddq zmm", $r, ", zmm", $r, ", zmm30\n") };
    (shift $r:literal) => { concat!("vpsrlq zmm", $r, ", zmm", $r, ", 1\n") };
    (logic $r:literal) => { concat!("vpandq zmm", $r, ", zmm", $r, ", zmm30\n") };
}

/// 28 registers, so that each has long finished when its turn comes again.
macro_rules! stream {
    ($name:ident, $mix:ident) => {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn $name(turns: u64) -> u64 {
            for _ in 0..turns {
                // SAFETY: changes the named registers and nothing else.
                unsafe {
                    core::arch::asm!(
                        $mix!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                        $mix!(16 17 18 19 20 21 22 23 24 25 26 27 0 1 2 3),
                        $mix!(4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19),
                        $mix!(20 21 22 23 24 25 26 27 0 1 2 3 4 5 6 7),
                        $mix!(8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23),
                        $mix!(24 25 26 27 0 1 2 3 4 5 6 7 8 9 10 11),
                        $mix!(12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27),
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
                        out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _,
                        out("zmm17") _, out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _,
                        out("zmm22") _, out("zmm23") _, out("zmm24") _, out("zmm25") _, out("zmm26") _,
                        out("zmm27") _,
                        options(nomem, nostack, preserves_flags)
                    );
                }
            }
            7 * 16 * turns
        }
    };
}
stream!(hash_stream, hash_mix);
stream!(curve_stream, curve_mix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_what_a_processor_of_two_ports_could_do() {
        // Three ports would give two thirds; one, or a build without these instructions, twice as much.
        let Some(Cycles { hash, curve }) = cycles() else { return };
        assert!((40.0..200.0).contains(&hash), "{hash}");
        assert!((3.0..20.0).contains(&curve), "{curve}");
    }
}
