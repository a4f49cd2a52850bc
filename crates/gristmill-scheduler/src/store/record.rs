//! What the core's changes are in rows.

use std::collections::HashMap;

use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, TaskId, WorkerId};
use gristmill_proto::view::{AppEntry, JobState, Verdict};

use super::StoreError;
use super::sql::{Statement, Value, values};
use crate::core::{Change, Fault, ResultAdded, Shares, Speed};
use crate::trust::Why;

/// The statements that make changes durable, in their order, and last what many of them add up to.
pub(super) fn statements<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<Statement<'a>> {
    let mut rows = Rows::default();
    for change in changes {
        rows.write(change);
    }
    rows.sums.write(&mut rows.statements);
    rows.statements
}

#[derive(Default)]
struct Rows<'a> {
    statements: Vec<Statement<'a>>,
    sums: Sums,
}

/// What many changes of one commit add up to, written once.
#[derive(Default)]
struct Sums {
    work: HashMap<JobId, u64>,
    workers: HashMap<WorkerId, Counts>,
    standings: HashMap<WorkerId, Shares>,
    speeds: HashMap<Digest, Speed>,
}

#[derive(Default)]
struct Counts {
    certified: u64,
    failed: u64,
    rejected: u64,
    shares: u64,
}

/// JSON readers know no greater number.
const WORK_MAX: u64 = (1 << 53) - 1;

impl Sums {
    fn worked(&mut self, job: JobId, units: u64) {
        if units > 0 {
            let sum = self.work.entry(job).or_default();
            *sum = sum.saturating_add(units);
        }
    }

    fn worker(&mut self, worker: WorkerId) -> &mut Counts {
        self.workers.entry(worker).or_default()
    }

    fn write(self, statements: &mut Vec<Statement<'_>>) {
        let mut add = |statement| statements.push(statement);
        for (job, work) in self.work {
            let sql =
                "UPDATE job SET work_done = CASE WHEN work_done > ?3 THEN ?4 ELSE work_done + ?2 END WHERE id = ?1";
            let work = work.min(WORK_MAX);
            add(Statement::new(sql, values![job, work, WORK_MAX - work, WORK_MAX]));
        }
        for (worker, Counts { certified, failed, rejected, shares }) in self.workers {
            let sql = "INSERT INTO worker (id, certified, failed, rejected, shares) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (id) DO UPDATE SET certified = worker.certified + ?2, failed = worker.failed + ?3,
                    rejected = worker.rejected + ?4, shares = worker.shares + ?5";
            add(Statement::new(sql, values![worker.0.to_vec(), certified, failed, rejected, shares]));
        }
        for (worker, Shares { found, expected }) in self.standings {
            let sql = "INSERT INTO worker (id, shares_found, shares_expected) VALUES (?1, ?2, ?3)
                ON CONFLICT (id) DO UPDATE SET shares_found = ?2, shares_expected = ?3";
            add(Statement::new(sql, values![worker.0.to_vec(), found, expected]));
        }
        for (app, Speed { work, ms }) in self.speeds {
            let sql = "INSERT INTO speed (app, work, ms) VALUES (?1, ?2, ?3)
                ON CONFLICT (app) DO UPDATE SET work = ?2, ms = ?3";
            add(Statement::new(sql, values![app.0.to_vec(), work, ms]));
        }
    }
}

impl<'a> Rows<'a> {
    fn add(&mut self, sql: &'static str, values: impl Into<Vec<Value<'a>>>) {
        self.statements.push(Statement::new(sql, values));
    }

    fn write(&mut self, change: &'a Change) {
        match change {
            Change::JobAdded { job, spec, needs, at } => {
                let sql = "INSERT INTO job (id, external_id, spec, needs, state, created_at)
                    VALUES (?1, ?2, ?3, ?4, 'live', ?5)";
                let (encoded, needs) = (codec::encode(&**spec), codec::encode(needs));
                self.add(sql, values![*job, spec.external_id.as_deref(), encoded, needs, *at]);
            }
            Change::BatchSigned { batch, worker, leaves, signature } => {
                let leaves: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
                let sql = "INSERT INTO batch (id, worker, leaves, signature) VALUES (?1, ?2, ?3, ?4)";
                self.add(sql, values![*batch, worker, leaves, &signature.0[..]]);
            }
            Change::ResultAdded(result) => self.result(result),
            Change::CameCloser { job, closest } => {
                let sql = "UPDATE job SET closest_score = ?2, closest_text = ?3, closest_record = ?4 WHERE id = ?1";
                self.add(sql, values![*job, closest.score, &*closest.text, &*closest.record]);
            }
            Change::StandingChanged { worker, standing } => drop(self.sums.standings.insert(*worker, *standing)),
            Change::SpeedMeasured { app, speed } => drop(self.sums.speeds.insert(*app, *speed)),
            Change::AppChanged(entry) => self.app(entry),
            Change::VerdictGiven { task, lease, worker, certified, reason, at: _ } => {
                let verdict = if *certified { Verdict::Certified } else { Verdict::Rejected };
                if *certified {
                    self.certified_once(*task);
                }
                let sql = "UPDATE result SET verdict = ?4, reason = ?5 WHERE job = ?1 AND task = ?2 AND lease = ?3";
                self.add(sql, values![task.job, task.index, *lease, verdict_word(verdict), &**reason]);
                let counts = self.sums.worker(*worker);
                counts.certified += u64::from(*certified);
                counts.rejected += u64::from(!certified);
            }
            Change::AttemptFailed { task, lease, worker, fault, reason, work_done, at } => {
                let sql = "INSERT INTO failure (lease, job, task, worker, fault, reason, at)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
                self.add(sql, values![*lease, task.job, task.index, worker, fault_word(*fault), &**reason, *at]);
                self.sums.worked(task.job, *work_done);
                self.sums.worker(*worker).failed += 1;
            }
            Change::BallotChanged { task, ballot } => {
                let sql = "INSERT INTO ballot (job, task, ballot) VALUES (?1, ?2, ?3)
                    ON CONFLICT (job, task) DO UPDATE SET ballot = ?3";
                self.add(sql, values![task.job, task.index, codec::encode(&**ballot)]);
            }
            Change::TaskSettled { task, results, shown, at: _ } => self.settle(*task, results, *shown),
            Change::TrustChanged { worker, class, standing } => {
                let sql = "INSERT INTO trust (class, worker, standing) VALUES (?1, ?2, ?3)
                    ON CONFLICT (class, worker) DO UPDATE SET standing = ?3";
                self.add(sql, values![&class.0, worker, codec::encode(standing)]);
            }
            Change::LiarExposed { worker, class, task, why, at } => {
                let sql = "INSERT INTO exposure (class, worker, job, task, why, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                self.add(sql, values![&class.0, worker, task.job, task.index, why_word(*why), *at]);
            }
            Change::JobEnded { job, state, reason, done, failed, at } => {
                self.add("DELETE FROM ballot WHERE job = ?1", values![*job]);
                let sql = "UPDATE job SET state = ?2, reason = ?3, tasks_done = ?4, tasks_failed = ?5, finished_at = ?6
                    WHERE id = ?1";
                self.add(sql, values![*job, state_word(*state), reason.as_deref(), *done, *failed, *at]);
            }
        }
    }

    fn app(&mut self, entry: &'a AppEntry) {
        let AppEntry { app, name, version, provider, approved, retired, published_at_ms } = entry;
        let sql = "INSERT INTO app (name, version, digest, provider, approved, retired, published_at, number)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT coalesce(max(number), 0) + 1 FROM app))
            ON CONFLICT (name, version) DO UPDATE SET approved = ?5, retired = ?6";
        let provider = provider.as_ref();
        self.add(sql, values![&**name, &**version, app, provider, *approved, *retired, *published_at_ms]);
    }

    fn result(&mut self, result: &'a ResultAdded) {
        let ResultAdded { task, lease, worker, batch, position, outcome, verdict, shown, work, shares, at } = result;
        if *verdict == Verdict::Certified {
            self.certified_once(*task);
        }
        let sql = "INSERT INTO result (job, task, lease, worker, batch, position, outcome, verdict, shown, work,
            shares, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let verdict_word = verdict_word(*verdict);
        self.add(
            sql,
            values![
                task.job,
                task.index,
                *lease,
                worker,
                *batch,
                *position,
                &outcome[..],
                verdict_word,
                *shown,
                *work,
                *shares,
                *at
            ],
        );
        self.sums.worked(task.job, *work);
        let counts = self.sums.worker(*worker);
        counts.shares += shares;
        counts.certified += u64::from(*verdict == Verdict::Certified);
    }

    /// What the votes on a task were for gets its verdict.
    fn settle(&mut self, task: TaskId, results: &[(LeaseId, WorkerId, Verdict)], shown: bool) {
        self.certified_once(task);
        let sql = "UPDATE result SET verdict = ?4, shown = ?5, reason = ?6 WHERE job = ?1 AND task = ?2 AND lease = ?3";
        for (lease, worker, verdict) in results {
            let rejected = *verdict == Verdict::Rejected;
            let reason = rejected.then_some("its worker is a liar: other workers came to something else");
            let to_show = shown && *verdict == Verdict::Certified;
            self.add(sql, values![task.job, task.index, *lease, verdict_word(*verdict), to_show, reason]);
            let counts = self.sums.worker(*worker);
            counts.certified += u64::from(!rejected);
            counts.rejected += u64::from(rejected);
        }
        self.add("DELETE FROM ballot WHERE job = ?1 AND task = ?2", values![task.job, task.index]);
    }

    /// One certified result a task, whatever the core believes.
    fn certified_once(&mut self, task: TaskId) {
        let sql = "SELECT 1 FROM result WHERE job = ?1 AND task = ?2 AND verdict = 'certified'";
        self.statements.push(Statement::new(sql, values![task.job, task.index]).must_meet(0));
    }
}

fn why_word(why: Why) -> &'static str {
    match why {
        Why::Contradicted => "contradicted",
        Why::Withheld => "withheld",
    }
}

macro_rules! words {
    ($type:ty, $to:ident, $from:ident, $($value:pat => $word:literal $result:expr),*) => {
        pub(super) fn $to(value: $type) -> &'static str {
            match value { $($value => $word),* }
        }
        pub(super) fn $from(word: &str) -> Result<$type, StoreError> {
            match word { $($word => Ok($result),)* _ => Err(StoreError::UnknownWord(word.to_owned())) }
        }
    };
}
words!(Verdict, verdict_word, verdict_of,
    Verdict::Pending => "pending" Verdict::Pending,
    Verdict::Certified => "certified" Verdict::Certified,
    Verdict::Rejected => "rejected" Verdict::Rejected,
    Verdict::Voted => "voted" Verdict::Voted,
    Verdict::Agreed => "agreed" Verdict::Agreed);
words!(Fault, fault_word, fault_of,
    Fault::App => "app" Fault::App,
    Fault::Worker => "worker" Fault::Worker,
    Fault::Late => "late" Fault::Late);
words!(JobState, state_word, state_of,
    JobState::Queued | JobState::Running => "live" JobState::Running,
    JobState::Done => "done" JobState::Done,
    JobState::Failed => "failed" JobState::Failed,
    JobState::Cancelled => "cancelled" JobState::Cancelled);
