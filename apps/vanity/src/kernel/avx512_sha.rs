//! AVX-512 with the SHA instructions beside it, for processors on which they are fast (AMD's Zen).
//!
//! `sha256rnds2` keeps one port busy and leaves the others idle, so the rounds of one set of sixteen hashes are done
//! between the RIPEMD-160 steps of the set before. What the rounds need comes from vector code: message words plus
//! round constants for sixteen messages at a time, transposed so that each message has its own four in a row.
#![expect(unsafe_code, reason = "vector instructions exist only as unsafe intrinsics until the processor is known")]

use core::{arch::x86_64::*, ptr};

use super::{
    avx512::{Avx512, Words},
    filter::WordFilter,
    hash::{self, OtherWork, SHA_INITIAL},
    lanes::{Accepted, GROUP, Group, Hasher, Heights, WordLanes},
};

/// Hashes only; the field is that of [`Avx512`].
///
/// Only [`super::Backend::is_available`] may lead here: it looks for each feature named in the functions below.
pub(crate) struct Avx512Sha;

impl Hasher for Avx512Sha {
    fn key_hashes(&self, groups: &[Group], filter: &WordFilter, accepted: &mut [[Accepted; 3]]) {
        // SAFETY: walks of this back end are only started where its features are, see the type.
        unsafe { key_hashes(groups, filter, accepted) }
    }

    fn wrapped_key_hashes(&self, groups: &[Group], filter: &WordFilter, accepted: &mut [[Accepted; 3]]) {
        Avx512.wrapped_key_hashes(groups, filter, accepted);
    }

    fn ethereum_hashes(
        &self,
        groups: &[Group],
        heights: &[Heights],
        filter: &WordFilter,
        accepted: &mut [[Accepted; 3]],
    ) {
        Avx512.ethereum_hashes(groups, heights, filter, accepted);
    }
}

/// Message words plus round constants: for each four rounds, four words of each message, by slot.
#[repr(C, align(64))]
struct Schedule {
    quads: [[u32; 4 * GROUP]; 16],
    /// The load of the last two words takes four.
    padding: [u32; 2],
}

impl Schedule {
    const ZERO: Self = Self { quads: [[0; 4 * GROUP]; 16], padding: [0; 2] };
}

/// The states after the rounds, by slot: words f, e, b, a and then h, g, d, c.
#[repr(align(64))]
struct States([[u32; 4 * GROUP]; 2]);

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,sha,sse4.1")]
fn key_hashes(groups: &[Group], filter: &WordFilter, accepted: &mut [[Accepted; 3]]) {
    let mut schedules = [Schedule::ZERO; 2];
    let mut states = States([[0; 4 * GROUP]; 2]);
    let mut before: Option<&mut u32> = None;
    for (coordinates, accepted) in groups.as_flattened().iter().zip(accepted.as_flattened_mut()) {
        let [even, odd] = &mut schedules;
        hash::expand(hash::key_block::<Words>(coordinates, 0, false), |quad, words| {
            store(words, &mut even.quads[quad]);
        });
        hash::expand(hash::key_block::<Words>(coordinates, 0, true), |quad, words| store(words, &mut odd.quads[quad]));
        for (schedule, accepted) in schedules.iter().zip(accepted) {
            let last = finish_and_start(schedule, &mut states, filter);
            if let Some(accepted) = before.replace(accepted) {
                *accepted = last;
            }
        }
    }
    // The last set has nothing to be done beside it; the first schedule at hand takes the place.
    if let Some(accepted) = before {
        *accepted = finish_and_start(&schedules[0], &mut states, filter);
    }
}

/// Finishes the hashes whose SHA-256 states are given, and replaces these by those of the schedule.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,sha,sse4.1")]
fn finish_and_start(schedule: &Schedule, states: &mut States, filter: &WordFilter) -> u32 {
    let digest = digest_of(states);
    let mut rounds = Rounds { schedule, states, low: [zero(); STREAMS], high: [zero(); STREAMS] };
    hash::ripemd160_among(digest, &mut rounds)[0].accepted_by(filter)
}

#[inline(always)]
fn zero() -> __m128i {
    // SAFETY: computes on values alone; the processor has the instruction, see `Avx512Sha`.
    unsafe { _mm_setzero_si128() }
}

/// Transposes each four by four words within 128 bits: columns 4j + i of the rows are lane j of output i.
#[inline(always)]
fn transposed([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: computes on values alone; the processor has the instructions, see `Avx512Sha`.
    unsafe {
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    }
}

/// Column 4j + i goes to slot 4i + j.
#[inline(always)]
fn store(rows: [Words; 4], to: &mut [u32; 4 * GROUP]) {
    let [a, b, c, d] = rows;
    for (number, vector) in transposed([a.0, b.0, c.0, d.0]).into_iter().enumerate() {
        let part = &mut to[GROUP * number..GROUP * (number + 1)];
        // SAFETY: the slice just taken has the sixteen words that are written, without alignment.
        unsafe { _mm512_storeu_si512(part.as_mut_ptr().cast(), vector) };
    }
}

/// Slot 4i + j comes back to column 4j + i: transposing is its own inverse.
#[inline(always)]
fn digest_of(states: &States) -> [Words; 8] {
    let ([f, e, b, a], [h, g, d, c]) = (rows_of(&states.0[0]), rows_of(&states.0[1]));
    [a, b, c, d, e, f, g, h]
}

#[inline(always)]
fn rows_of(half: &[u32; 4 * GROUP]) -> [Words; 4] {
    let row = |number: usize| &half[GROUP * number..GROUP * (number + 1)];
    let rows = [Words::load(row(0)).0, Words::load(row(1)).0, Words::load(row(2)).0, Words::load(row(3)).0];
    let [a, b, c, d] = transposed(rows);
    [Words(a), Words(b), Words(c), Words(d)]
}

/// Messages whose rounds go on side by side: enough to hide the latency of an instruction.
const STREAMS: usize = 4;
/// RIPEMD-160 steps in which the 64 rounds of four messages are done; 80 steps take all sixteen.
const STEPS: usize = 80 * STREAMS / GROUP;

struct Rounds<'a> {
    schedule: &'a Schedule,
    states: &'a mut States,
    /// Words f, e, b, a.
    low: [__m128i; STREAMS],
    /// Words h, g, d, c.
    high: [__m128i; STREAMS],
}

impl OtherWork for Rounds<'_> {
    #[inline(always)]
    fn step(&mut self, step: usize) {
        let first_slot = step / STEPS * STREAMS;
        match step % STEPS {
            0 => {
                self.start();
                self.four_rounds(first_slot, 0);
            }
            quad @ 1..16 => self.four_rounds(first_slot, quad),
            16 => self.end(first_slot),
            _ => (),
        }
    }
}

impl Rounds<'_> {
    #[inline(always)]
    fn initial() -> [__m128i; 2] {
        let [a, b, c, d, e, f, g, h] = SHA_INITIAL.map(u32::cast_signed);
        // SAFETY: computes on values alone; the processor has the instruction, see `Avx512Sha`.
        unsafe { [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)] }
    }

    #[inline(always)]
    fn start(&mut self) {
        let [low, high] = Self::initial();
        (self.low, self.high) = ([low; STREAMS], [high; STREAMS]);
    }

    #[inline(always)]
    fn four_rounds(&mut self, first_slot: usize, quad: usize) {
        for stream in 0..STREAMS {
            let at = 4 * (GROUP * quad + first_slot + stream);
            let (low, high) = (self.low[stream], self.high[stream]);
            // SAFETY: `at` is at most four words before the end of the quads, so the first load ends with them and the
            // second, whose upper half does not matter, with the padding that follows. The rest computes on values,
            // with instructions the processor has, see `Avx512Sha`.
            unsafe {
                let words = ptr::from_ref(self.schedule).cast::<u32>().add(at);
                let first = _mm_load_si128(words.cast());
                // Loading once and shifting would cost a port that the hashes need.
                let second = _mm_loadu_si128(words.add(2).cast());
                self.high[stream] = _mm_sha256rnds2_epu32(high, low, first);
                self.low[stream] = _mm_sha256rnds2_epu32(low, self.high[stream], second);
            }
        }
    }

    #[inline(always)]
    fn end(&mut self, first_slot: usize) {
        let initial = Self::initial();
        for (half, (states, initial)) in [self.low, self.high].into_iter().zip(initial).enumerate() {
            for (stream, state) in states.into_iter().enumerate() {
                let words = &mut self.states.0[half][4 * (first_slot + stream)..][..4];
                // SAFETY: the slice just taken has the four words that are written, without alignment.
                unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), _mm_add_epi32(state, initial)) };
            }
        }
    }
}
