//! Time passes.

use gristmill_proto::id::UnixMillis;
use gristmill_proto::message::ToWorker;

use super::leases::GivenLease;
use super::{Core, Effects, Fault};

/// How often stragglers are looked for.
const TAIL_BEAT_MS: u64 = 1_000;

impl Core {
    /// Time has passed: workers that stayed silent too long are lost, leases that outlast any honest attempt are over,
    /// and those that wait behind a long attempt are wanted back.
    pub fn tick(&mut self, now: UnixMillis, out: &mut Effects) {
        while let Some(&(at, id)) = self.lost_at.first().filter(|(at, _)| *at <= now) {
            self.unplug(id);
            self.lost_at.remove(&(at, id));
            let worker = self.workers.get_mut(&id).expect("a worker that can be lost is known");
            if let Some(connection) = worker.connection.take() {
                let reason = format!("nothing was heard from this worker for {} ms", self.tuning.lost_ms);
                out.messages.push((id, connection, ToWorker::Refused { reason }));
            }
            for lease in worker.leases().collect::<Vec<_>>() {
                self.release(lease, now, out);
            }
            self.workers.remove(&id);
            self.crowded.remove(&id);
        }
        while let Some((_, lease)) = self.leases.first_due().filter(|(at, _)| *at <= now) {
            let GivenLease { task, worker, work_done, .. } = *self.leases.get(lease).expect("due leases are in force");
            let reason = "the attempt took longer than the job allows".to_owned();
            self.tell_to_stop(worker, lease, reason.clone(), out);
            self.fail_attempt(task, lease, worker, Fault::Late, &reason, work_done, now, out);
        }
        self.close_openings(now, out);
        self.ask_back(now, out);
        self.place(now, out);
        if self.tails_due().is_some_and(|at| at <= now) {
            self.tails_seen = now;
            self.copy_stragglers(now, out);
        }
    }

    /// Wants back what waits behind attempts that take long. A worker that does not give it back loses it.
    pub(super) fn ask_back(&mut self, now: UnixMillis, out: &mut Effects) {
        let mut kept = Vec::new();
        for id in &self.crowded {
            let worker = self.workers.get_mut(id).expect("a crowded worker is known");
            if worker.ask_back_at(self.tuning.lost_ms).is_none_or(|at| at > now) {
                continue;
            }
            if worker.stuck_since.is_some() {
                kept.extend(worker.ahead.iter().map(|lease| (*id, *lease)));
            } else if let Some(connection) = worker.connection {
                worker.stuck_since = Some(now);
                let leases = worker.ahead.iter().copied().collect();
                out.messages.push((*id, connection, ToWorker::Retract { leases }));
            }
        }
        for (id, lease) in kept {
            self.tell_to_stop(id, lease, "it was asked back, and has not begun".to_owned(), out);
            self.release(lease, now, out);
        }
    }

    /// When stragglers are looked for next: never while there is none, or nobody to take over.
    pub(super) fn tails_due(&self) -> Option<UnixMillis> {
        let any = self.classes.iter().any(|(_, class)| !class.tails.is_empty() && !class.idle.is_empty());
        any.then(|| self.tails_seen.plus(TAIL_BEAT_MS))
    }

    /// When [`Core::tick`] has something to do next.
    pub fn next_tick(&self) -> Option<UnixMillis> {
        let (lost, due) = (self.lost_at.first().map(|(at, _)| *at), self.leases.first_due().map(|(at, _)| at));
        let lost_ms = self.tuning.lost_ms;
        let stuck = self.crowded.iter().filter_map(|id| self.workers[id].ask_back_at(lost_ms)).min();
        let opens = self.opening.first().map(|(at, _)| *at);
        lost.into_iter().chain(due).chain(stuck).chain(opens).chain(self.tails_due()).min()
    }
}
