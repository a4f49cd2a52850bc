//! What the pool does: the real core, and around it what the shell does in a real one. The writer commits whatever
//! gathered during its last flush, and only then is anything said.

use gristmill_proto::codec::decode;
use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::message::{HeldLease, Seal, ToWorker};
use gristmill_proto::outcome::Outcome;
use gristmill_proto::view::{JobState, Verdict};
use gristmill_scheduler::core::{Batch, Change, ConnectionId, Core, Effects, ResultAdded, VerdictError};

use super::post::Parcel;
use super::{Event, Grid, POOL, RETRY_MS, SECRET};
use crate::host::offer_of;
use crate::measure::Call;
use crate::scenario::{Nature, Stream};
use crate::workload::{JobName, KnownJob, Task, ms_of, name_of, target};

/// Groups of effects in one commit, as in the writer.
const GROUPS_PER_COMMIT_MAX: usize = 4_096;
/// Until a pool that died serves again, where the scenario does not say.
const TAKEOVER_MS: u64 = 1_000;

impl Grid<'_> {
    /// Lets the core act, if there is one, and hands what it wants done to the writer.
    pub(super) fn act<R>(
        &mut self,
        call: Call,
        event: impl FnOnce(&mut Core, UnixMillis, &mut Effects) -> R,
    ) -> Option<R> {
        let now = self.clock();
        let core = self.core.as_mut()?;
        let mut effects = Effects::default();
        let begun = (self.probe.nanos)();
        let result = event(core, now, &mut effects);
        let nanos = (self.probe.nanos)() - begun;
        let calls = &mut self.measure.calls[call as usize];
        (calls.count, calls.nanos, calls.nanos_most) =
            (calls.count + 1, calls.nanos + nanos, calls.nanos_most.max(nanos));
        if self.scenario.checked {
            core.check_invariants();
        }
        self.hand_over(effects);
        Some(result)
    }

    fn hand_over(&mut self, effects: Effects) {
        let idle = self.gathered.is_empty() && self.flushing.is_none();
        if idle && effects.changes.is_empty() {
            return self.release(effects);
        }
        self.gathered.push(effects);
        if idle {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let count = self.gathered.len().min(GROUPS_PER_COMMIT_MAX);
        let groups: Vec<Effects> = self.gathered.drain(..count).collect();
        let any = groups.iter().any(|effects| !effects.changes.is_empty());
        let ms = if any { ms_of(self.scenario.disk.flush_ms.draw(&mut self.random) / 1_000.0) } else { 0 };
        self.measure.commits += u64::from(any);
        self.flushing = Some(groups);
        self.queue.put(self.now + ms, Event::Flushed { run: self.run });
    }

    pub(super) fn flushed(&mut self, run: u64) {
        if run != self.run || self.core.is_none() {
            return;
        }
        if !self.is_calm() && self.random.chance(self.scenario.faults.crash_at_commit.get()) {
            let durable = self.random.chance(0.5);
            return self.die(durable);
        }
        let groups = self.flushing.take().expect("a flush that ends was begun");
        for effects in &groups {
            self.commit(effects);
        }
        for effects in groups {
            self.release(effects);
        }
        if !self.gathered.is_empty() && self.flushing.is_none() {
            self.flush();
        }
    }

    /// These changes are on disk from now on.
    fn commit(&mut self, effects: &Effects) {
        self.measure.changes += effects.changes.len() as u64;
        for change in &effects.changes {
            self.disk.apply(change);
            self.count(change);
        }
    }

    fn count(&mut self, change: &Change) {
        match change {
            Change::JobAdded { job, spec, .. } => {
                let name = name_of(spec);
                let known = KnownJob { name, spec: spec.clone(), submitted_at: self.now, given: 0 };
                self.jobs.insert(*job, known);
                self.measure.live_jobs += 1;
                self.measure.users.entry(spec.user.clone()).or_default().jobs += 1;
                self.backlog_changes(&spec.user, 1);
            }
            Change::ResultAdded(result) => self.count_result(result),
            Change::VerdictGiven { task, worker, certified: true, .. } => {
                self.count_certified(*task, *worker, true);
            }
            Change::VerdictGiven { .. } => self.measure.rejected += 1,
            Change::AttemptFailed { .. } => self.measure.failures += 1,
            Change::JobEnded { job, state, .. } => self.count_ended(*job, *state),
            _ => {}
        }
    }

    fn count_result(&mut self, result: &ResultAdded) {
        self.measure.results += 1;
        let ResultAdded { task, worker, verdict, outcome, .. } = result;
        let right = self.is_right(*task, outcome);
        self.count_slot_time(*task, outcome);
        if *verdict == Verdict::Certified {
            self.count_certified(*task, *worker, right);
        }
    }

    fn count_certified(&mut self, task: TaskId, worker: WorkerId, right: bool) {
        self.measure.certified += 1;
        self.measure.wrong += u64::from(!right);
        let Some(job) = self.jobs.get(&task.job) else { return };
        self.measure.task.add(self.now - job.submitted_at);
        let price =
            self.workload.seconds(Task { job: job.name, index: task.index }) * self.scenario.money.price_per_s.get();
        if let Some(user) = self.measure.users.get_mut(&job.spec.user) {
            user.tasks += 1;
        }
        let group = self.workers[self.number(worker) as usize].group;
        let tally = &mut self.measure.groups[group as usize];
        tally.certified += 1;
        tally.earned += price;
        tally.earned_by_lies += if right { 0.0 } else { price };
    }

    /// Users share slots, not tasks.
    fn count_slot_time(&mut self, task: TaskId, outcome: &[u8]) {
        let Some(job) = self.jobs.get(&task.job) else { return };
        let ms = decoded(outcome).usage.wall_ms * u64::from(job.spec.resources.cores);
        if let Some(user) = self.measure.users.get_mut(&job.spec.user) {
            user.slot_ms += ms;
        }
    }

    fn count_ended(&mut self, id: JobId, state: JobState) {
        self.measure.live_jobs -= 1;
        let Some(job) = self.jobs.remove(&id) else { return };
        if job.given < job.spec.tasks {
            self.backlog_changes(&job.spec.user, -1);
        }
        let user = self.measure.users.entry(job.spec.user.clone()).or_default();
        user.turnaround.add(self.now - job.submitted_at);
        match state {
            JobState::Done => user.done += 1,
            JobState::Cancelled => user.cancelled += 1,
            _ => user.failed += 1,
        }
    }

    /// Whether an answer is what an honest worker gives; no answer is right where there is none.
    pub(super) fn is_right(&self, task: TaskId, outcome: &[u8]) -> bool {
        let Some(job) = self.jobs.get(&task.job) else { return true };
        let truth = self.workload.truth(Task { job: job.name, index: task.index });
        decoded(outcome).answer.is_none_or(|answer| answer == truth.to_le_bytes())
    }

    /// What is durable may be said.
    fn release(&mut self, effects: Effects) {
        self.note(&effects);
        for change in &effects.changes {
            match change {
                Change::JobAdded { job, spec, .. } => {
                    self.unacknowledged.remove(&name_of(spec));
                    if let Some(history) = &mut self.history {
                        history.acknowledged(*job);
                    }
                    if !self.is_calm() && self.random.chance(self.scenario.faults.cancelled.get()) {
                        let after = self.random.below(60_000);
                        self.queue.put(self.now + after, Event::Cancels(*job));
                    }
                }
                Change::ResultAdded(ResultAdded { task, lease, outcome, verdict: Verdict::Pending, .. }) => {
                    let right = self.is_right(*task, outcome);
                    self.post(Parcel::Verdict(task.job, *lease, right));
                }
                _ => {}
            }
        }
        for (id, connection, message) in effects.messages {
            let worker = self.number(id);
            if let ToWorker::Leases { leases, .. } = &message {
                self.measure.attempts += leases.len() as u64;
                for lease in leases {
                    if let Some(history) = &mut self.history {
                        history.gives(id, lease);
                    }
                    self.count_given(lease.task);
                }
            }
            self.post(Parcel::ToWorker(worker, connection.0, message));
        }
    }

    fn count_given(&mut self, task: TaskId) {
        let Some(job) = self.jobs.get_mut(&task.job) else { return };
        job.given += 1;
        let (name, all) = (job.name, job.given == job.spec.tasks);
        let seconds = self.workload.seconds(Task { job: name, index: task.index });
        let user = &self.workload.stream(name).user;
        if self.is_contended(user)
            && let Some(tally) = self.measure.users.get_mut(user)
        {
            tally.contended_work_s += seconds;
        }
        if all {
            self.backlog_changes(user, -1);
        }
    }

    /// Whether this user and another have tasks that wait.
    fn is_contended(&self, user: &str) -> bool {
        self.backlog.len() > 1 && self.backlog.contains_key(user)
    }

    /// A job more or less of this user has tasks that were never given out. What was until now is counted first.
    fn backlog_changes(&mut self, user: &str, by: i64) {
        let ms = self.now - std::mem::replace(&mut self.backlog_since, self.now);
        if self.backlog.len() > 1 {
            for user in self.backlog.keys() {
                self.measure.users.entry(user.clone()).or_default().contended_ms += ms;
            }
        }
        let jobs = self.backlog.get(user).copied().unwrap_or_default().saturating_add_signed(by);
        if jobs == 0 {
            self.backlog.remove(user);
        } else {
            self.backlog.insert(user.to_owned(), jobs);
        }
    }

    fn note(&mut self, effects: &Effects) {
        if let Some(history) = &mut self.history {
            effects.changes.iter().for_each(|change| history.see(change));
        }
    }

    /// The pool dies, with or without what it was about to commit.
    fn die(&mut self, durable: bool) {
        self.measure.crashes += 1;
        self.gathered.clear();
        let groups = self.flushing.take().unwrap_or_default();
        if durable {
            for effects in &groups {
                self.commit(effects);
                self.note(effects);
            }
        }
        self.core = None;
        for worker in 0..u32::try_from(self.workers.len()).expect("bounded by the scenario") {
            if self.workers[worker as usize].connection != 0 {
                self.hang_up(worker, false);
                self.connect_later(worker);
            }
        }
        let takeover = self.scenario.faults.takeover_ms;
        let ms = takeover.map_or(TAKEOVER_MS, |ms| ms_of(ms.draw(&mut self.random) / 1_000.0));
        self.queue.put(self.now + ms, Event::Serves);
    }

    pub(super) fn dies(&mut self, run: u64) {
        if run == self.run && self.core.is_some() && !self.is_calm() {
            self.die(false);
        }
    }

    /// A pool starts, or a stand-by takes over: what is on disk is all it knows.
    pub(super) fn serve(&mut self) {
        self.run += 1;
        let begun = (self.probe.nanos)();
        let mut core = Core::new(POOL.to_owned(), SECRET, self.tuning.clone(), self.run, self.disk.next_job)
            .with_weights(self.scenario.weights());
        for (worker, standing) in &self.disk.standings {
            core.restore_standing(*worker, *standing);
        }
        for job in self.disk.live_jobs() {
            core.restore(job);
        }
        for (app, speed) in &self.disk.speeds {
            core.restore_speed(*app, *speed);
        }
        let calls = &mut self.measure.calls[Call::Restore as usize];
        (calls.count, calls.nanos) = (calls.count + 1, calls.nanos + (self.probe.nanos)() - begun);
        self.core = Some(core);
        // The user's program looks at what waits for its word.
        for (task, lease, outcome) in self.disk.pending() {
            let right = self.is_right(task, &outcome);
            self.post(Parcel::Verdict(task.job, lease, right));
        }
        for name in self.unacknowledged.clone() {
            self.submit(name);
        }
        self.queue.put(self.now + self.beat_ms(), Event::Ticks { run: self.run });
        if let Some(life) = self.scenario.faults.leader_life_h {
            let ms = crate::availability::hours_ms(life.draw(&mut self.random));
            self.queue.put(self.now + ms, Event::Dies { run: self.run });
        }
    }

    /// As the server beats.
    fn beat_ms(&self) -> u64 {
        (self.tuning.reconnect_ms / 8).clamp(10, 250)
    }

    pub(super) fn ticks(&mut self, run: u64) {
        if run != self.run {
            return;
        }
        let now = self.clock();
        if self.core.as_ref().is_some_and(|core| core.next_tick().is_some_and(|at| at <= now)) {
            self.act(Call::Tick, |core, now, effects| core.tick(now, effects));
        }
        self.queue.put(self.now + self.beat_ms(), Event::Ticks { run });
    }

    pub(super) fn submit_next(&mut self, stream: u32, number: u32) {
        let terms: &Stream = &self.scenario.jobs[stream as usize];
        let name = JobName { stream, number };
        self.to_submit -= 1;
        self.unacknowledged.insert(name);
        if u64::from(number) + 1 < terms.count {
            let pause = terms.every_s.map_or(0, |every| ms_of(every.draw(&mut self.random)));
            self.queue.put(self.now + pause, Event::Submit { stream, number: number + 1 });
        }
        self.submit(name);
    }

    /// Where no pool serves, the next to serve is asked.
    fn submit(&mut self, name: JobName) {
        let spec = self.workload.spec(name);
        let submitted = self.act(Call::Submit, |core, now, effects| core.submit(spec, &[target()], now, effects));
        match submitted {
            Some(Ok(submitted)) if submitted.known => drop(self.unacknowledged.remove(&name)),
            Some(Ok(_)) | None => {}
            Some(Err(error)) => panic!("the core refuses a job of the scenario: {error}"),
        }
    }

    pub(super) fn cancels(&mut self, job: JobId) {
        self.act(Call::Cancel, |core, now, effects| core.cancel(job, "not wanted", now, effects));
    }

    /// A worker connects.
    pub(super) fn greets(&mut self, worker: u32, connection: u64) {
        let host = &self.workers[worker as usize];
        if host.connection != connection {
            return;
        }
        let nature = self.nature(worker);
        let (id, group, mut held) = (host.id, host.group, host.holdings(nature));
        let forged = self.forged(nature, &mut held);
        let offer = offer_of(&self.scenario.workers[group as usize]);
        let connected = self.act(Call::Connect, |core, now, effects| {
            core.connect(id, ConnectionId(connection), offer, &held, now, effects)
        });
        let Some(Ok(drop)) = connected else {
            self.hang_up(worker, false);
            let pause = RETRY_MS + self.random.below(RETRY_MS);
            return self.queue.put(self.now + pause, Event::Connects(worker));
        };
        if let Some(history) = &self.history {
            let kept = held.iter().map(|held| held.lease).filter(|lease| !drop.contains(lease));
            history.goes_on(kept, forged);
        }
        let alive_ms = self.tuning.alive_ms;
        let welcome = ToWorker::Welcome { alive_ms, upload_token: String::new(), drop };
        self.post(Parcel::ToWorker(worker, connection, welcome));
        self.act(Call::Connect, |core, now, effects| core.greeted(id, now, effects));
    }

    /// A lease that was never given.
    fn forged(&mut self, nature: Nature, held: &mut Vec<HeldLease>) -> Option<LeaseId> {
        let first = self.core.as_ref().filter(|_| nature == Nature::Forging)?.live_jobs().min()?;
        let lease = LeaseId(self.random.below(1 << 36));
        let (task, seal) = (TaskId { job: first, index: 0 }, Seal([0; 16]));
        held.push(HeldLease { lease, task, work: 1, seal });
        Some(lease)
    }

    pub(super) fn takes_results(&mut self, worker: u32, connection: u64, mut batch: Batch) {
        let id = self.workers[worker as usize].id;
        // As the shell does.
        if self.scenario.checked && !batch.is_signed_by(id) {
            batch.finishes.iter_mut().for_each(|finish| finish.flaw = Some("not signed".to_owned()));
        }
        self.act(Call::Finished, |core, now, effects| {
            core.finished(id, ConnectionId(connection), batch, now, effects);
        });
    }

    pub(super) fn sees_alive(&mut self, worker: u32, connection: u64, leases: &[LeaseId]) {
        let id = self.workers[worker as usize].id;
        self.act(Call::Alive, |core, now, effects| core.alive(id, ConnectionId(connection), leases, now, effects));
    }

    pub(super) fn takes_back(&mut self, worker: u32, connection: u64, leases: &[LeaseId]) {
        let id = self.workers[worker as usize].id;
        self.act(Call::Returned, |core, now, effects| {
            core.returned(id, ConnectionId(connection), leases, now, effects);
        });
    }

    pub(super) fn judges(&mut self, job: JobId, lease: LeaseId, certified: bool) {
        let judged = self.act(Call::Judge, |core, now, effects| {
            core.judge(job, lease, certified, if certified { "" } else { "untrue" }, now, effects)
        });
        let expected =
            matches!(judged, None | Some(Ok(()) | Err(VerdictError::NoSuchJob(_) | VerdictError::NotPending(..))));
        assert!(expected, "{judged:?}");
    }

    /// Nothing runs once all jobs have ended.
    pub(super) fn check_quiet(&self) {
        let Some(core) = &self.core else { return };
        for worker in core.worker_statuses() {
            assert_eq!(worker.running, 0, "{:?} still has slots taken", worker.id);
        }
    }
}

fn decoded(outcome: &[u8]) -> Outcome {
    decode(outcome, outcome.len()).expect("encoded by a simulated worker")
}
