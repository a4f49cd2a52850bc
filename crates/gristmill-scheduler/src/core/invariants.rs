//! What always holds.

use super::Core;
use super::worker::Worker;

impl Core {
    /// Panics if the state contradicts itself. For tests.
    pub fn check_invariants(&self) {
        for (lease, given) in self.leases.iter() {
            let worker = self.workers.get(&given.worker).expect("a lease in force has a known worker");
            assert_eq!(worker.running.contains(&lease), given.begun.is_some(), "{lease:?} at {:?}", given.worker);
            assert!(worker.holds(lease), "{lease:?} is missing at {:?}", given.worker);
            let job = self.jobs.get(&given.task.job).expect("a lease in force has a live job");
            assert!(job.runs_under(given.task.index, lease), "{:?}", given.task);
            assert_eq!(worker.sealed.contains(&lease), self.has_sealed(given.worker, given.task, lease), "{lease:?}");
        }
        self.leases.check_invariants();
        for (id, job) in &self.jobs {
            job.check_invariants();
            for lease in job.leases() {
                assert!(self.leases.get(lease).is_some(), "{id:?} runs under {lease:?}, which is not in force");
            }
            assert_eq!(job.queued, job.has_waiting().then(|| job.place()), "{id:?} knows its place");
            let queue = &self.classes.get(job.class).queue;
            assert_eq!(self.classes.get(job.class).tails.contains(id), job.is_at_its_tail(), "{id:?} at its tail");
            let listed = queue.turns().filter(|(_, _, _, user, place)| **user == job.user && place.job == *id).count();
            assert_eq!(listed, usize::from(job.queued.is_some()), "{id:?} in the queue");
        }
        for (id, worker) in &self.workers {
            worker.check_invariants();
            for lease in worker.leases() {
                assert!(self.leases.of(*id, lease).is_some(), "{id:?} holds {lease:?}, which is not in force");
            }
            assert_eq!(self.crowded.contains(id), !worker.ahead.is_empty(), "{id:?} in the list of the crowded");
            assert!(self.lost_at.contains(&(worker.lost_at, *id)), "{id:?} is watched");
            for (class_id, class) in self.classes.iter() {
                assert_eq!(worker.classes.contains(&class_id), class.needs.met_by(&worker.offer));
                let idle = worker.connection.is_some()
                    && worker.classes.contains(&class_id)
                    && worker.has_room_for(&class.needs);
                assert_eq!(class.idle.contains(id), idle, "{id:?} in an idle list");
            }
        }
        assert_eq!(self.lost_at.len(), self.workers.len());
        for (id, class) in self.classes.iter() {
            let able = |worker: &&Worker| worker.connection.is_some() && worker.classes.contains(&id);
            assert_eq!(class.able, self.workers.values().filter(able).count());
            assert!(class.idle.iter().all(|id| self.workers.contains_key(id)));
            let queued = self.jobs.values().filter(|job| job.class == id && job.queued.is_some()).count();
            assert_eq!(class.queue.len(), queued);
        }
    }
}
