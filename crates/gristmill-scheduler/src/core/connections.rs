//! Workers come, say that they live, and go.

use std::collections::BTreeSet;

use gristmill_proto::id::{LeaseId, UnixMillis, WorkerId};
use gristmill_proto::message::{HeldLease, LABEL_BYTES_MAX, LABELS_MAX, SLOTS_MAX, ToWorker, WorkerOffer};
use gristmill_proto::requirement::is_label;

use super::worker::{AHEAD_MAX, Worker};
use super::{ConnectionId, Core, Effects};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the pool has {0} workers and takes no more for now")]
    Full(usize),
    #[error("a worker offers between 1 and {SLOTS_MAX} slots, not {0}")]
    Slots(u32),
    #[error(
        "a worker has at most {LABELS_MAX} labels, its name and version among them, of letters, digits and `-_./`, with \
         values that can be printed, {LABEL_BYTES_MAX} bytes together"
    )]
    Labels,
}

impl Core {
    /// A worker has proven its key on a new connection. Its former connection, if any, is told to go. Returns what it
    /// shall stop of what it holds.
    pub fn connect(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        mut offer: WorkerOffer,
        held: &[HeldLease],
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<Vec<LeaseId>, ConnectError> {
        complete(&mut offer)?;
        self.decide_all(now, out);
        if self.workers.len() >= self.tuning.workers_max && !self.workers.contains_key(&id) {
            return Err(ConnectError::Full(self.workers.len()));
        }
        self.unplug(id);
        if let Some(former) = self.workers.get_mut(&id).and_then(|worker| worker.connection.take()) {
            let reason = "the same worker has connected again".to_owned();
            out.messages.push((id, former, ToWorker::Refused { reason }));
        }
        let kept: BTreeSet<LeaseId> = held.iter().map(|held| held.lease).collect();
        let changed = self.workers.get(&id).is_some_and(|worker| worker.offer != offer);
        let gone: Vec<LeaseId> = self
            .workers
            .get(&id)
            .map_or_else(Vec::new, |worker| worker.leases().filter(|lease| changed || !kept.contains(lease)).collect());
        for lease in gone {
            self.release(lease, now, out);
        }
        let lost_at = now.plus(self.tuning.lost_ms);
        match self.workers.get_mut(&id).filter(|_| !changed) {
            Some(worker) => {
                self.lost_at.remove(&(worker.lost_at, id));
                (worker.connection, worker.lost_at) = (Some(connection), lost_at);
            }
            None => {
                if let Some(former) = self.workers.insert(id, Worker::new(connection, offer, lost_at, now)) {
                    self.lost_at.remove(&(former.lost_at, id));
                }
            }
        }
        self.lost_at.insert((lost_at, id));
        self.plug_in(id);
        // In the order in which the worker begins them.
        let mut held: Vec<&HeldLease> = held.iter().collect();
        held.sort_by_key(|held| held.lease);
        let drop = held.into_iter().filter(|held| !self.take_back(id, held, now)).map(|held| held.lease).collect();
        self.refresh_worker(id);
        Ok(drop)
    }

    /// What must follow the greeting that the shell sends after [`Core::connect`].
    pub fn greeted(&mut self, id: WorkerId, now: UnixMillis, out: &mut Effects) {
        self.ask_again_to_open(id, out);
        self.roomy.insert(id);
        self.place(now, out);
    }

    /// Whether the worker may go on with a lease it holds: ours, or one we gave before a restart and whose task is
    /// still to do.
    pub(super) fn take_back(&mut self, id: WorkerId, held: &HeldLease, now: UnixMillis) -> bool {
        if let Some(given) = self.leases.get(held.lease) {
            return given.worker == id;
        }
        if !self.secret.sealed(held.lease, held.task, held.work, id, held.seal) {
            return false;
        }
        if self.has_sealed(id, held.task, held.lease) {
            self.put_in_force(id, held.task, held.work, held.lease, now);
            return true;
        }
        let Some(job) = self.jobs.get(&held.task.job) else { return false };
        let worker = &self.workers[&id];
        let welcome = worker.classes.contains(&job.class) && !job.excluded.contains(&id) && !job.avoided.contains(&id);
        let room = worker.has_room_for(&self.classes.get(job.class).needs) || worker.ahead.len() < AHEAD_MAX;
        if !room || !welcome {
            return false;
        }
        let taken = match job.ballots {
            Some(_) => self.may_run(id, job) && self.take_vote_back(id, held.task, held.lease),
            None => self.jobs.get_mut(&held.task.job).expect("looked up above").take(held.task.index),
        };
        if !taken {
            return false;
        }
        self.put_in_force(id, held.task, held.work, held.lease, now);
        self.leases.get_mut(held.lease).expect("just put in force").taken_back = true;
        self.refresh(held.task.job);
        true
    }

    /// The connection is gone; the worker may come back.
    pub fn disconnect(&mut self, id: WorkerId, connection: ConnectionId, now: UnixMillis) {
        if self.workers.get(&id).is_some_and(|worker| worker.connection == Some(connection)) {
            self.unplug(id);
            let lost_at = now.plus(self.tuning.reconnect_ms);
            let worker = self.workers.get_mut(&id).expect("looked up above");
            worker.connection = None;
            self.lost_at.remove(&(worker.lost_at, id));
            worker.lost_at = lost_at;
            self.lost_at.insert((lost_at, id));
        }
    }

    /// Counts the worker in at every class it can serve.
    pub(super) fn plug_in(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(&id).expect("the caller knows it");
        worker.classes = self
            .classes
            .iter()
            .filter(|(_, class)| class.needs.met_by(&worker.offer))
            .map(|(class, _)| class)
            .collect();
        for class in &worker.classes {
            self.classes.get_mut(*class).able += 1;
        }
        self.refresh_worker(id);
    }

    /// Counts the worker out, if it is connected.
    pub(super) fn unplug(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.connection.is_some()) else { return };
        for class in &worker.classes {
            let class = self.classes.get_mut(*class);
            class.able -= 1;
            class.idle.remove(&id);
        }
    }

    /// A sign of life with the leases the worker still holds.
    pub fn alive(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        held: &[LeaseId],
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        let worker = &self.workers[&id];
        for lease in held.iter().filter(|lease| !worker.holds(**lease)) {
            let reason = "this lease is no longer wanted".to_owned();
            out.messages.push((id, connection, ToWorker::Cancel { lease: *lease, reason }));
        }
        // A lease younger than one beat may have crossed this message on the way.
        let listed: BTreeSet<&LeaseId> = held.iter().collect();
        let settled =
            |lease: &LeaseId| self.leases.get(*lease).is_none_or(|l| now.since(l.given_at) > self.tuning.alive_ms);
        let forgotten: Vec<LeaseId> =
            worker.leases().filter(|lease| !listed.contains(lease) && settled(lease)).collect();
        for lease in forgotten {
            self.release(lease, now, out);
        }
        self.roomy.insert(id);
        self.place(now, out);
    }

    /// Whether the message comes from the worker's present connection; if so, it counts as a sign of life.
    pub(super) fn renew(&mut self, id: WorkerId, connection: ConnectionId, now: UnixMillis) -> bool {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.connection == Some(connection)) else {
            return false;
        };
        let lost_at = now.plus(self.tuning.lost_ms);
        if worker.lost_at != lost_at {
            self.lost_at.remove(&(worker.lost_at, id));
            worker.lost_at = lost_at;
            self.lost_at.insert((lost_at, id));
        }
        true
    }
}

/// Adds the labels that every worker has by itself, and refuses an offer that no honest worker makes.
fn complete(offer: &mut WorkerOffer) -> Result<(), ConnectError> {
    if !(1..=SLOTS_MAX).contains(&offer.slots) {
        return Err(ConnectError::Slots(offer.slots));
    }
    let own = [
        ("os", offer.os.clone()),
        ("arch", offer.arch.clone()),
        ("name", offer.name.clone()),
        ("version", offer.version.clone()),
        ("slots", offer.slots.to_string()),
        ("gpus", offer.gpus.to_string()),
    ];
    offer.labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let bytes: usize = offer.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    let plain = |(name, value): (&String, &String)| is_label(name) && !value.contains(char::is_control);
    let few = offer.labels.len() <= LABELS_MAX && bytes <= LABEL_BYTES_MAX && offer.runtimes.len() <= LABELS_MAX;
    if few && offer.labels.iter().all(plain) { Ok(()) } else { Err(ConnectError::Labels) }
}
