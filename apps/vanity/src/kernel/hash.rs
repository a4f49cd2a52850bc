//! RIPEMD-160(SHA-256(key)) on several lanes, down to the one word that the range check needs.

use super::{
    filter::WordFilter,
    lanes::{Accepted, Coordinates, GROUP, Pair, WordLanes},
};

pub(crate) const SHA_INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

const SHA_ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
];

/// The message block of a compressed key: prefix byte, x, padding, length 264 bits.
#[inline(always)]
pub(crate) fn key_block<W: WordLanes>(coordinates: &Coordinates, first: usize, odd: bool) -> [W; 16] {
    let mut x = [W::splat(0); 8];
    for (x, row) in x.iter_mut().zip(&coordinates.0) {
        *x = W::load(&row[first..first + W::LANES]);
    }
    let mut block = [W::splat(0); 16];
    block[0] = x[0].shift_right::<8>().or(W::splat((2 + u32::from(odd)) << 24));
    for word in 1..8 {
        block[word] = x[word - 1].shift_left::<24>().or(x[word].shift_right::<8>());
    }
    block[8] = x[7].shift_left::<24>().or(W::splat(0x0080_0000));
    block[15] = W::splat(33 * 8);
    block
}

#[inline(always)]
fn splat_all<W: WordLanes, const N: usize>(words: &[u32; N]) -> [W; N] {
    // Not `map`, which would be a function of its own, without the vector features of its caller.
    let mut all = [W::splat(0); N];
    for (lanes, word) in all.iter_mut().zip(words) {
        *lanes = W::splat(*word);
    }
    all
}

#[inline(always)]
pub(crate) fn sha256<W: WordLanes>(mut block: [W; 16]) -> [W; 8] {
    let initial = splat_all::<W, 8>(&SHA_INITIAL);
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = initial;
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $t:expr) => {
            // Word by word between the rounds: rotations are scarcer than sums, and spread evenly they hide among them.
            if $t >= 16 {
                let far = block[($t + 1) % 16];
                let near = block[($t + 14) % 16];
                let sum0 = far.rotate_left::<25, 7>().xor3(far.rotate_left::<14, 18>(), far.shift_right::<3>());
                let sum1 = near.rotate_left::<15, 17>().xor3(near.rotate_left::<13, 19>(), near.shift_right::<10>());
                block[$t % 16] = block[$t % 16].add(sum0).add(block[($t + 9) % 16]).add(sum1);
            }
            let sum1 = $e.rotate_left::<26, 6>().xor3($e.rotate_left::<21, 11>(), $e.rotate_left::<7, 25>());
            // Word and constant first: many words are the same for both prefixes, and then so is this sum.
            let word = block[$t % 16].add(W::splat(SHA_ROUND[$t]));
            let first = $h.add(word).add($e.choose($f, $g)).add(sum1);
            let sum0 = $a.rotate_left::<30, 2>().xor3($a.rotate_left::<19, 13>(), $a.rotate_left::<10, 22>());
            $d = $d.add(first);
            $h = first.add(sum0.add($a.majority($b, $c)));
        };
    }
    macro_rules! eight {
        ($($t:literal)*) => { $(
            round!(a b c d e f g h, $t);
            round!(h a b c d e f g, $t + 1);
            round!(g h a b c d e f, $t + 2);
            round!(f g h a b c d e, $t + 3);
            round!(e f g h a b c d, $t + 4);
            round!(d e f g h a b c, $t + 5);
            round!(c d e f g h a b, $t + 6);
            round!(b c d e f g h a, $t + 7);
        )* };
    }
    eight!(0 8 16 24 32 40 48 56);
    let [i0, i1, i2, i3, i4, i5, i6, i7] = initial;
    [a.add(i0), b.add(i1), c.add(i2), d.add(i3), e.add(i4), f.add(i5), g.add(i6), h.add(i7)]
}

const RIPEMD_INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// RIPEMD-160 of a SHA-256 digest, given and returned as big-endian words.
///
/// The two lines of the function are taken in turn: alone, each waits for its own results.
#[inline(always)]
pub(crate) fn ripemd160<W: WordLanes>(digest: [W; 8]) -> [W; 5] {
    let mut block = [W::splat(0); 16];
    for (word, value) in block.iter_mut().zip(&digest) {
        *word = value.swap_bytes();
    }
    block[8] = W::splat(0x80);
    block[14] = W::splat(256);

    // One operation of each line in turn, and the compiler held to that order: the processor looks only so far ahead, and
    // in any other order some of what it sees there waits for something else.
    macro_rules! step {
        ($n:expr, $fl:ident $kl:literal $wl:literal $sl:literal, $fr:ident $kr:literal $wr:literal $sr:literal,
         $a:ident $b:ident $c:ident $d:ident $e:ident, $p:ident $q:ident $r:ident $s:ident $t:ident) => {
            macro_rules! in_order {
                () => {
                    // What becomes constant at the start, or is not needed at the end, the compiler shall still find out.
                    if $n < 76 {
                        W::in_order([
                            &mut $a, &mut $b, &mut $c, &mut $d, &mut $e, &mut $p, &mut $q, &mut $r, &mut $s, &mut $t,
                        ]);
                    }
                };
            }
            $a = $a.add(plus_constant::<W, $kl>(block[$wl]));
            $p = $p.add(plus_constant::<W, $kr>(block[$wr]));
            in_order!();
            $a = $a.add($fl($b, $c, $d));
            $p = $p.add($fr($q, $r, $s));
            in_order!();
            $a = $a.rotate_left::<$sl, { 32 - $sl }>();
            $p = $p.rotate_left::<$sr, { 32 - $sr }>();
            in_order!();
            $a = $a.add($e);
            $p = $p.add($t);
            in_order!();
            $c = $c.rotate_left::<10, 22>();
            $r = $r.rotate_left::<10, 22>();
            in_order!();
        };
    }
    // Five steps bring the variables back to their places; sixteen shift them by one.
    macro_rules! round {
        ($n:literal, $fl:ident $kl:literal, $fr:ident $kr:literal,
         $a:ident $b:ident $c:ident $d:ident $e:ident, $p:ident $q:ident $r:ident $s:ident $t:ident, $($step:tt)*) => {
            round!(@ $n, $fl $kl, $fr $kr, $a $b $c $d $e, $p $q $r $s $t, $($step)*);
        };
        (@ $n:expr, $fl:ident $kl:literal, $fr:ident $kr:literal,
         $a:ident $b:ident $c:ident $d:ident $e:ident, $p:ident $q:ident $r:ident $s:ident $t:ident,
         $wl:literal $sl:literal $wr:literal $sr:literal $($rest:tt)*) => {
            step!($n, $fl $kl $wl $sl, $fr $kr $wr $sr, $a $b $c $d $e, $p $q $r $s $t);
            round!(@ $n + 1, $fl $kl, $fr $kr, $e $a $b $c $d, $t $p $q $r $s, $($rest)*);
        };
        (@ $n:expr, $fl:ident $kl:literal, $fr:ident $kr:literal,
         $a:ident $b:ident $c:ident $d:ident $e:ident, $p:ident $q:ident $r:ident $s:ident $t:ident,) => {};
    }
    let [mut a, mut b, mut c, mut d, mut e] = splat_all::<W, 5>(&RIPEMD_INITIAL);
    let [mut p, mut q, mut r, mut s, mut t] = splat_all::<W, 5>(&RIPEMD_INITIAL);
    // Word and rotation of the left step, then of the right.
    round!(0, f1 0x0000_0000, f5 0x50a2_8be6, a b c d e, p q r s t,
        0 11 5 8  1 14 14 9  2 15 7 9  3 12 0 11  4 5 9 13  5 8 2 15  6 7 11 15  7 9 4 5
        8 11 13 7  9 13 6 7  10 14 15 8  11 15 8 11  12 6 1 14  13 7 10 14  14 9 3 12  15 8 12 6);
    round!(16, f2 0x5a82_7999, f4 0x5c4d_d124, e a b c d, t p q r s,
        7 7 6 9  4 6 11 13  13 8 3 15  1 13 7 7  10 11 0 12  6 9 13 8  15 7 5 9  3 15 10 11
        12 7 14 7  0 12 15 7  9 15 8 12  5 9 12 7  2 11 4 6  14 7 9 15  11 13 1 13  8 12 2 11);
    round!(32, f3 0x6ed9_eba1, f3 0x6d70_3ef3, d e a b c, s t p q r,
        3 11 15 9  10 13 5 7  14 6 1 15  4 7 3 11  9 14 7 8  15 9 14 6  8 13 6 6  1 15 9 14
        2 14 11 12  7 8 8 13  0 13 12 5  6 6 2 14  13 5 10 13  11 12 0 13  5 7 4 7  12 5 13 5);
    round!(48, f4 0x8f1b_bcdc, f2 0x7a6d_76e9, c d e a b, r s t p q,
        1 11 8 15  9 12 6 5  11 14 4 8  10 15 1 11  0 14 3 14  8 15 11 14  12 9 15 6  4 8 0 14
        13 9 5 6  3 14 12 9  7 5 2 12  15 6 13 9  14 8 9 12  5 6 7 5  6 5 10 15  2 12 14 8);
    round!(64, f5 0xa953_fd4e, f1 0x0000_0000, b c d e a, q r s t p,
        4 9 12 8  0 15 15 5  5 5 10 12  9 11 4 9  7 6 1 12  12 8 5 5  2 13 8 14  10 12 7 6
        14 5 6 8  1 12 2 13  3 13 13 6  8 14 14 5  11 11 0 15  6 8 3 13  15 5 9 11  13 6 11 11);
    // After 80 steps the variables sit where they started.
    macro_rules! sums {
        ($($i:literal $left:ident $right:ident)*) => {
            [$(W::splat(RIPEMD_INITIAL[$i]).add($left).add($right).swap_bytes()),*]
        };
    }
    sums!(1 c s  2 d t  3 e p  4 a q  0 b r)
}

#[inline(always)]
fn plus_constant<W: WordLanes, const CONSTANT: u32>(word: W) -> W {
    if CONSTANT == 0 { word } else { word.add(W::splat(CONSTANT)) }
}

#[inline(always)]
fn f1<W: WordLanes>(x: W, y: W, z: W) -> W {
    x.xor3(y, z)
}
#[inline(always)]
fn f2<W: WordLanes>(x: W, y: W, z: W) -> W {
    x.choose(y, z)
}
#[inline(always)]
fn f3<W: WordLanes>(x: W, y: W, z: W) -> W {
    x.or_not_xor(y, z)
}
#[inline(always)]
fn f4<W: WordLanes>(x: W, y: W, z: W) -> W {
    z.choose(x, y)
}
#[inline(always)]
fn f5<W: WordLanes>(x: W, y: W, z: W) -> W {
    y.or_not_xor(z, x)
}

/// The first word of each key's hash, tested against the filter, for both prefixes.
#[inline(always)]
pub(crate) fn key_hashes<W: WordLanes>(x: &Coordinates, filter: &WordFilter) -> Accepted {
    let mut accepted = [0; 2];
    // A loop, so that the code is there once; no closure, which would be a function without the vector features.
    for (odd, accepted) in accepted.iter_mut().enumerate() {
        for first in (0..GROUP).step_by(W::LANES) {
            let digest = sha256(key_block::<W>(x, first, odd == 1));
            *accepted |= ripemd160(digest)[0].accepted_by(filter) << first;
        }
    }
    accepted
}

/// The same with the hashes of the two prefixes step by step in turn, for processors with registers for both: one alone
/// is not enough to keep the arithmetic ports busy.
#[inline(always)]
pub(crate) fn key_hashes_paired<W: WordLanes>(x: &Coordinates, filter: &WordFilter) -> Accepted {
    const { assert!(W::LANES == GROUP) };
    let (even, odd) = (key_block::<W>(x, 0, false), key_block::<W>(x, 0, true));
    let mut block = [Pair(even[0], odd[0]); 16];
    for (pair, (even, odd)) in block.iter_mut().zip(even.iter().zip(&odd)) {
        *pair = Pair(*even, *odd);
    }
    let Pair(even, odd) = ripemd160(sha256(block))[0];
    [even.accepted_by(filter), odd.accepted_by(filter)]
}

/// As [`key_hashes`] for one prefix, of the P2SH script hash of the key's witness program.
#[inline(always)]
pub(crate) fn wrapped_key_hashes<W: WordLanes>(x: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
    let mut accepted = 0;
    for first in (0..GROUP).step_by(W::LANES) {
        let mut block = key_block::<W>(x, first, odd);
        let mut hash = [W::splat(0); 5];
        // A loop, so that the code of the two hashes is there once.
        for _ in 0..2 {
            hash = ripemd160(sha256(block));
            block = script_block(hash);
        }
        accepted |= hash[0].accepted_by(filter) << first;
    }
    accepted
}

/// `00 14 ‖ key hash`, padded: 22 bytes.
#[inline(always)]
fn script_block<W: WordLanes>(hash: [W; 5]) -> [W; 16] {
    let mut block = [W::splat(0); 16];
    block[0] = W::splat(0x0014_0000).or(hash[0].shift_right::<16>());
    for word in 1..5 {
        block[word] = hash[word - 1].shift_left::<16>().or(hash[word].shift_right::<16>());
    }
    block[5] = hash[4].shift_left::<16>().or(W::splat(0x8000));
    block[15] = W::splat(22 * 8);
    block
}
