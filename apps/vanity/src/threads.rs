//! One slice on several threads.

use std::{
    ops::ControlFlow,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::unit::{Report, Search, Slice, Step, search};

/// Points a thread takes at a time: enough that finding its first centre (a quarter of a millisecond) costs less than a
/// thousandth.
const PIECE_POINTS_MAX: u64 = 1 << 21;
/// Short slices are cut finer, so that the threads end together.
const PIECES_PER_THREAD: u64 = 16;
const PIECE_POINTS_MIN: u64 = 1 << 14;

/// Searches a slice on `threads` threads; `on_step` is called by all of them, one at a time.
///
/// Without a break the report equals that of [`search`]. After one, `points` counts what was checked, which need not
/// be the beginning of the slice.
pub fn search_on_threads(
    job: &Search,
    slice: Slice,
    threads: usize,
    on_step: impl FnMut(&Step<'_>) -> ControlFlow<()> + Send,
) -> Report {
    let pieces = PIECES_PER_THREAD * threads.max(1) as u64;
    let piece_points = (slice.length / pieces).clamp(PIECE_POINTS_MIN, PIECE_POINTS_MAX);
    let taken = AtomicU64::new(0);
    let stopped = AtomicBool::new(false);
    let on_step = Mutex::new(on_step);
    let step = |step: &Step<'_>| {
        let flow = on_step.lock().unwrap_or_else(std::sync::PoisonError::into_inner)(step);
        if flow.is_break() {
            // Only a hint to the others; what they found travels through their join handles.
            stopped.store(true, Ordering::Relaxed);
        }
        if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { flow }
    };
    let work = || {
        let mut whole = Report::default();
        while !stopped.load(Ordering::Relaxed) {
            let Some(piece) = take_piece(&taken, slice, piece_points) else { break };
            let report = search(job, piece, step);
            whole.points += report.points;
            whole.hits.extend(report.hits);
            whole.shares.extend(report.shares);
        }
        whole
    };
    let reports: Vec<Report> = thread::scope(|scope| {
        let handles: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        handles.into_iter().map(|handle| handle.join().expect("a search does not panic")).chain([own]).collect()
    });
    merge(reports)
}

fn take_piece(taken: &AtomicU64, slice: Slice, piece_points: u64) -> Option<Slice> {
    let take = |done: u64| (done < slice.length).then(|| done.saturating_add(piece_points).min(slice.length));
    let from = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
    Some(Slice { start: slice.start + from, length: piece_points.min(slice.length - from) })
}

fn merge(reports: Vec<Report>) -> Report {
    let mut whole = Report::default();
    for report in reports {
        whole.points += report.points;
        whole.hits.extend(report.hits);
        whole.shares.extend(report.shares);
    }
    whole.hits.sort_unstable();
    whole.shares.sort_unstable();
    whole
}
