//! The processor's clock, from a chain of operations whose latency is known.
//!
//! Virtual machines rarely offer cycle counters, and the time-stamp counter does not follow the real clock. A
//! multiplication of integers takes three cycles and an exclusive or takes one on every processor this is for.

use std::{hint::black_box, time::Instant};

const STEPS: u32 = 100_000;
const CYCLES_PER_STEP: f64 = 4.0;
const TRIES: u32 = 8;

/// Cycles per second: the best of a few tries, since another program may interrupt some.
pub(super) fn hertz() -> f64 {
    let seconds = (0..TRIES).map(|_| chain_seconds()).fold(f64::INFINITY, f64::min);
    f64::from(STEPS) * CYCLES_PER_STEP / seconds
}

/// Processor time of the whole process: what a thread really had, whatever else the machine does.
#[cfg(target_os = "linux")]
pub(super) fn processor_seconds() -> f64 {
    #![expect(unsafe_code, reason = "std has no processor time")]

    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    const PROCESS_CPUTIME: i32 = 2;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the structure has the layout of a 64-bit Linux `timespec` and lives through the call.
    unsafe { clock_gettime(PROCESS_CPUTIME, &raw mut time) };
    time.seconds as f64 + 1e-9 * time.nanoseconds as f64
}

fn chain_seconds() -> f64 {
    let (factor, mask) = black_box((0x9e37_79b9_7f4a_7c15_u64, 0x5555_u64));
    let started = Instant::now();
    let value = (0..STEPS).fold(black_box(1u64), |value, _| value.wrapping_mul(factor) ^ mask);
    black_box(value);
    started.elapsed().as_secs_f64()
}
