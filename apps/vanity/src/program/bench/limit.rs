//! What this processor could do at most with the AVX-512 back end: the operations that stand in the machine code of its
//! inner loops, at the rate of a stream of such operations in which nothing waits for anything.
//!
//! Left out, and so lost against the limit: the inversion of each block, loads and stores, branches, exact checks.
#![expect(unsafe_code, reason = "a stream of chosen instructions can only be written in assembly")]

use std::{process::Command, time::Instant};

use super::clock;

/// Cycles per candidate.
pub(super) struct Limit {
    pub(super) hash: f64,
    pub(super) curve: f64,
}

/// Vector operations of a piece of code.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Operations {
    all: u32,
    multiplications: u32,
}

/// Candidates that a key hash, a turn of each loop over a block, and a turn of the spreading loop work on.
const HASHED: f64 = 32.0;
const WALKED: f64 = 192.0;
const SPREAD: f64 = 96.0;

/// Nothing where the code cannot be read: without `objdump`, or in a stripped program.
pub(super) fn limit() -> Option<Limit> {
    if !std::is_x86_feature_detected!("avx512ifma") {
        return None;
    }
    let text =
        Command::new("objdump").args(["-d", "-C", "--no-show-raw-insn"]).arg(std::env::current_exe().ok()?).output();
    let text = String::from_utf8(text.ok()?.stdout).ok()?;
    let code = |name: &str| {
        let functions = text.split("\n\n").map(parse);
        functions.into_iter().find(|(symbol, _)| symbol.contains("avx512::Avx512") && symbol.contains(name))
    };
    let (_, hash) = code("::key_hashes::key_hashes>")?;
    let (_, walk) = code("::check_block::check_block>")?;
    let (_, spread) = code("::spread::spread>")?;
    let hash = operations(&hash);
    // The two loops over a block, without heights: the lightest of each kind. Squaring in the inversion is lighter.
    let loops = loops(&walk);
    let products = lightest(&loops, 100..400)?;
    let points = lightest(&loops, 400..1_000)?;
    let spread = lightest(&self::loops(&spread), 100..400)?;
    let (hash_rate, curve_rate) = (rate(hash_stream), rate(curve_stream));
    let curve = f64::from(products.all + points.all) / WALKED + f64::from(spread.all) / SPREAD;
    Some(Limit { hash: f64::from(hash.all) / HASHED / hash_rate, curve: curve / curve_rate })
}

/// Address and instruction.
type Line<'text> = (u64, &'text str);

fn parse(function: &str) -> (&str, Vec<Line<'_>>) {
    let mut lines = function.trim_start().lines();
    let symbol = lines.next().unwrap_or_default();
    let line = |line| -> Option<Line<'_>> {
        let line: &str = line;
        let (address, instruction) = line.trim().split_once(":\t")?;
        Some((u64::from_str_radix(address, 16).ok()?, instruction))
    };
    (symbol, lines.filter_map(line).collect())
}

fn operations(lines: &[Line<'_>]) -> Operations {
    const COUNTED: [&str; 10] =
        ["vpadd", "vpsub", "vptern", "vpand", "vpor", "vprol", "vpsrl", "vpsll", "vpshuf", "vpmovqd"];
    let mut operations = Operations::default();
    for (_, instruction) in lines.iter().filter(|(_, instruction)| instruction.contains("%zmm")) {
        let multiplies = instruction.starts_with("vpmadd52");
        operations.multiplications += u32::from(multiplies);
        operations.all += u32::from(multiplies || COUNTED.iter().any(|name| instruction.starts_with(name)));
    }
    operations
}

/// Bodies between a jump back and where it goes.
fn loops(lines: &[Line<'_>]) -> Vec<Operations> {
    let back = lines.iter().enumerate().filter_map(|(end, (address, instruction))| {
        let target = instruction.strip_prefix('j')?.split_whitespace().nth(1)?;
        let target = u64::from_str_radix(target, 16).ok().filter(|target| target < address)?;
        let start = lines.iter().position(|(address, _)| *address == target)?;
        Some(operations(&lines[start..=end]))
    });
    back.collect()
}

fn lightest(loops: &[Operations], multiplications: std::ops::Range<u32>) -> Option<Operations> {
    let fitting = loops.iter().filter(|operations| multiplications.contains(&operations.multiplications));
    fitting.min_by_key(|operations| operations.all).copied()
}

const TURNS: u64 = 20_000;

/// Operations per cycle: the best of a few tries. Only where [`limit`] has looked for the features.
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

/// The same for the curve: 6 multiplications, 4 sums, 3 shifts, 3 of logic.
macro_rules! curve_mix {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal
     $i:literal $j:literal $k:literal $l:literal $m:literal $n:literal $o:literal $p:literal) => {
        concat!(
            curve_mix!(multiply $a), curve_mix!(sum $b), curve_mix!(multiply $c), curve_mix!(shift $d),
            curve_mix!(logic $e), curve_mix!(multiply $f), curve_mix!(sum $g), curve_mix!(multiply $h),
            curve_mix!(shift $i), curve_mix!(logic $j), curve_mix!(multiply $k), curve_mix!(sum $l),
            curve_mix!(shift $m), curve_mix!(multiply $n), curve_mix!(logic $o), curve_mix!(sum $p)
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
    fn loops_and_operations_are_read_from_a_listing() {
        let listing = "0000000000001000 <vanity::kernel::avx512::Avx512>:\n    1000:\tvpaddd %zmm1,%zmm2,%zmm3\n    \
                       1006:\tvpmadd52luq %zmm1,%zmm2,%zmm3\n    100c:\tmov    %rax,%rbx\n    1010:\tvpxor  %xmm0,%xmm0,%xmm0\n    \
                       1014:\tjne    1006 <vanity::kernel::avx512::Avx512+0x6>\n    1016:\tret\n";
        let (symbol, lines) = parse(listing);
        assert!(symbol.contains("avx512::Avx512"));
        assert_eq!(lines.len(), 6);
        assert_eq!(operations(&lines), Operations { all: 2, multiplications: 1 });
        let found = loops(&lines);
        assert_eq!(found, [Operations { all: 1, multiplications: 1 }]);
        assert_eq!(lightest(&found, 1..2), Some(found[0]));
        assert_eq!(lightest(&found, 2..9), None);
    }
}
