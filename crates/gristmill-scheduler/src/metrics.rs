//! What the pool has done and holds, in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_proto::message::ToWorker;
use gristmill_proto::view::Verdict;

use crate::core::{Change, Effects, Totals};

/// Since this process began.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    jobs_submitted: AtomicU64,
    jobs_ended: AtomicU64,
    leases_given: AtomicU64,
    results_recorded: AtomicU64,
    results_certified: AtomicU64,
    results_rejected: AtomicU64,
    attempts_failed: AtomicU64,
    batches_signed: AtomicU64,
    tasks_settled: AtomicU64,
    liars_exposed: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn count(&self, effects: &Effects) {
        for change in &effects.changes {
            match change {
                Change::JobAdded { .. } => add(&self.jobs_submitted, 1),
                Change::JobEnded { .. } => add(&self.jobs_ended, 1),
                Change::BatchSigned { .. } => add(&self.batches_signed, 1),
                Change::ResultAdded(result) => {
                    add(&self.results_recorded, 1);
                    add(&self.results_certified, u64::from(result.verdict == Verdict::Certified));
                }
                Change::VerdictGiven { certified: true, .. } => add(&self.results_certified, 1),
                Change::VerdictGiven { certified: false, .. } => add(&self.results_rejected, 1),
                Change::AttemptFailed { .. } => add(&self.attempts_failed, 1),
                Change::TaskSettled { results, .. } => {
                    add(&self.tasks_settled, 1);
                    add(&self.results_certified, 1);
                    let rejected = results.iter().filter(|(_, _, verdict)| *verdict == Verdict::Rejected);
                    add(&self.results_rejected, rejected.count() as u64);
                }
                Change::LiarExposed { .. } => add(&self.liars_exposed, 1),
                Change::CameCloser { .. }
                | Change::StandingChanged { .. }
                | Change::SpeedMeasured { .. }
                | Change::BallotChanged { .. }
                | Change::TrustChanged { .. }
                | Change::AppChanged(_) => {}
            }
        }
        let leases = effects.messages.iter().map(|(_, _, message)| match message {
            ToWorker::Leases { leases, .. } => leases.len() as u64,
            _ => 0,
        });
        add(&self.leases_given, leases.sum());
    }

    /// With what the pool holds right now.
    pub(crate) fn text(&self, totals: &Totals) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = [
            ("jobs_submitted_total", "Jobs taken in", count(&self.jobs_submitted)),
            ("jobs_ended_total", "Jobs done, failed or cancelled", count(&self.jobs_ended)),
            ("leases_given_total", "Attempts given to workers", count(&self.leases_given)),
            ("results_recorded_total", "Results that are durable", count(&self.results_recorded)),
            ("results_certified_total", "Results that were certified", count(&self.results_certified)),
            ("results_rejected_total", "Answers that were rejected", count(&self.results_rejected)),
            ("attempts_failed_total", "Attempts that came to nothing", count(&self.attempts_failed)),
            ("batches_signed_total", "Signatures of workers under results", count(&self.batches_signed)),
            ("tasks_settled_total", "Replicated tasks whose votes decided", count(&self.tasks_settled)),
            ("liars_exposed_total", "Workers exposed as liars, in a class of apps", count(&self.liars_exposed)),
        ];
        let gauges = [
            ("jobs_live", "Jobs that have not ended", totals.live_jobs),
            ("jobs_waiting", "Live jobs with a task to give", totals.waiting_jobs),
            ("leases_in_force", "Attempts that workers hold", totals.leases),
            ("workers_connected", "Workers that are connected", totals.workers),
            ("slots", "Slots of the connected workers", totals.slots),
            ("resource_classes", "Different things that live jobs ask of workers", totals.classes),
        ];
        let mut text = String::new();
        for (kind, rows) in [("counter", &counters[..]), ("gauge", &gauges[..])] {
            for (name, help, value) in rows {
                let name = format!("gristmill_pool_{name}");
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
            }
        }
        text
    }
}
