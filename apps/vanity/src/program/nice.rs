//! A search for days must not make the machine feel slow.

/// Lowers this process's priority; without effect where that is not possible.
#[cfg(target_os = "linux")]
pub(super) fn lower_priority() {
    #![expect(unsafe_code, reason = "nice is a libc call and has no safe wrapper in std")]

    unsafe extern "C" {
        fn nice(increment: i32) -> i32;
    }
    const INCREMENT: i32 = 10;
    // SAFETY: nice takes an integer, touches no memory of ours, and cannot fail for a positive increment.
    unsafe { nice(INCREMENT) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lower_priority() {}
