//! What workers do.

use gristmill_proto::codec::encode;
use gristmill_proto::id::LeaseId;
use gristmill_proto::job::JobSpec;
use gristmill_proto::key::Signature;
use gristmill_proto::message::ToWorker;
use gristmill_proto::receipt::{Statement, digest_of_job, sign_batch};
use gristmill_scheduler::core::{Batch, ConnectionId, Finish};

use super::post::Parcel;
use super::{Event, Grid, POOL, RECONNECT_MS};
use crate::host::{End, Held, State, key_of, outcome_of};
use crate::measure::Call;
use crate::scenario::Nature;
use crate::workload::{Task, common_lie};

/// How often a thief tries.
const STEALS: f64 = 0.3;

impl Grid<'_> {
    pub(super) fn connect(&mut self, worker: u32) {
        let host = &mut self.workers[worker as usize];
        if !host.there || host.gone || host.connection != 0 {
            return;
        }
        self.connections += 1;
        (host.connection, host.welcomed) = (self.connections, false);
        self.post(Parcel::Hello(worker, self.connections));
    }

    /// Workers that lost their pool do not all come back in the same moment.
    pub(super) fn connect_later(&mut self, worker: u32) {
        let pause = 1 + self.workers[worker as usize].random.below(RECONNECT_MS);
        self.queue.put(self.now + pause, Event::Connects(worker));
    }

    /// The worker has no connection any more; the pool may learn that at once or from silence.
    pub(super) fn hang_up(&mut self, worker: u32, noticed: bool) {
        let host = &mut self.workers[worker as usize];
        let (id, connection) = (host.id, std::mem::take(&mut host.connection));
        if connection == 0 {
            return;
        }
        if host.welcomed {
            self.count_connected(worker, false);
        }
        self.workers[worker as usize].welcomed = false;
        if noticed {
            self.act(Call::Disconnect, |core, now, _| core.disconnect(id, ConnectionId(connection), now));
        }
    }

    pub(super) fn count_connected(&mut self, worker: u32, comes: bool) {
        let slots = self.group_slots(worker);
        let measure = &mut self.measure;
        if comes {
            (measure.connected, measure.slots) = (measure.connected + 1, measure.slots + slots);
            measure.connected_most = measure.connected_most.max(measure.connected);
        } else {
            (measure.connected, measure.slots) = (measure.connected - 1, measure.slots - slots);
        }
    }

    pub(super) fn comes(&mut self, worker: u32) {
        let now = self.now;
        let host = &mut self.workers[worker as usize];
        if host.gone {
            return;
        }
        host.there = true;
        let presence = host.presence.as_deref().copied().expect("only those that come and go come");
        let leaves_at = presence.leaves_at(now, &mut host.random);
        self.queue.put(leaves_at, Event::Leaves(worker));
        self.connect(worker);
        self.begin_waiting(worker);
    }

    pub(super) fn leaves(&mut self, worker: u32) {
        let now = self.now;
        let host = &mut self.workers[worker as usize];
        if host.gone {
            return;
        }
        let presence = host.presence.as_deref().copied().expect("only those that come and go leave");
        let comes_at = presence.comes_at(now, &mut host.random);
        self.queue.put(comes_at, Event::Comes(worker));
        self.goes_away(worker);
    }

    pub(super) fn leaves_for_good(&mut self, worker: u32) {
        self.goes_away(worker);
        self.workers[worker as usize].gone = true;
    }

    fn goes_away(&mut self, worker: u32) {
        let now = self.now;
        let host = &mut self.workers[worker as usize];
        if !host.there {
            return;
        }
        host.there = false;
        let availability = &self.scenario.workers[host.group as usize].availability;
        let suspends = host.random.chance(availability.suspends.get());
        let unannounced = host.random.chance(availability.unannounced.get());
        let slots = self.scenario.workers[host.group as usize].slots;
        self.measure.busy -= u64::from(slots - host.free);
        host.free = slots;
        let mut lost = if suspends { Vec::new() } else { std::mem::take(&mut host.held) };
        lost.retain(|held| matches!(held.state, State::Running { .. }));
        for held in &mut host.held {
            if let State::Running { ends_at, end, .. } = held.state {
                held.state = State::Suspended { left_ms: ends_at.saturating_sub(now), end };
            }
        }
        for held in lost {
            if let State::Running { since, ends_at, .. } = held.state {
                self.spend(worker, &held, now - since, ends_at - since);
            }
        }
        self.hang_up(worker, !unannounced);
    }

    /// Tells that it lives, and what it holds.
    pub(super) fn beats(&mut self, worker: u32, connection: u64) {
        let host = &self.workers[worker as usize];
        if host.connection != connection {
            return;
        }
        let leases = host.held.iter().map(|held| held.lease.lease).collect();
        self.post(Parcel::Alive(worker, connection, leases));
        self.queue.put(self.now + self.tuning.alive_ms, Event::Beats { worker, connection });
    }

    pub(super) fn hears(&mut self, worker: u32, connection: u64, message: ToWorker) {
        if self.workers[worker as usize].connection != connection {
            return;
        }
        match message {
            ToWorker::Welcome { drop, .. } => self.is_welcomed(worker, connection, &drop),
            ToWorker::Leases { jobs, leases } => {
                for lease in leases {
                    let (_, spec) = jobs.iter().find(|(job, _)| *job == lease.task.job).expect("told with its leases");
                    let task = Task { job: crate::workload::name_of(spec), index: lease.task.index };
                    let cores = spec.resources.cores;
                    let host = &mut self.workers[worker as usize];
                    if host.position(lease.lease).is_none() {
                        let held = Held { lease, task, cores, given_at: self.now, state: State::Waiting };
                        host.held.push(held);
                    }
                }
                // What came twice or late is begun in the pool's order all the same.
                self.workers[worker as usize].held.sort_by_key(|held| held.lease.lease);
                self.begin_waiting(worker);
            }
            ToWorker::Cancel { lease, .. } => {
                self.stops(worker, lease);
                self.begin_waiting(worker);
            }
            ToWorker::Retract { mut leases } => {
                let host = &mut self.workers[worker as usize];
                leases.retain(|lease| {
                    let place = host.position(*lease);
                    let waits = place.is_some_and(|place| host.held[place].state == State::Waiting);
                    if waits {
                        host.drop_lease(*lease);
                    }
                    waits
                });
                self.post(Parcel::Returned(worker, connection, leases));
            }
            ToWorker::Recorded { leases, refused } => {
                let honest = self.nature(worker) == Nature::Honest;
                for lease in leases {
                    let held = self.workers[worker as usize].drop_lease(lease);
                    let Some(Held { given_at, state: State::Done { .. }, .. }) = held else { continue };
                    self.measure.attempt.add(self.now - given_at);
                    let taken = !refused.iter().any(|(other, _)| *other == lease);
                    if let Some(history) = self.history.as_mut().filter(|_| taken && honest) {
                        history.told_recorded(lease);
                    }
                }
            }
            ToWorker::Refused { .. } => {
                self.hang_up(worker, false);
                self.connect_later(worker);
            }
            // Those of later versions are nothing to a worker of this simulation.
            _ => {}
        }
    }

    fn is_welcomed(&mut self, worker: u32, connection: u64, drop: &[LeaseId]) {
        self.workers[worker as usize].welcomed = true;
        self.count_connected(worker, true);
        for lease in drop {
            self.stops(worker, *lease);
        }
        // In a real pool, workers do not beat in step.
        let first = 1 + self.workers[worker as usize].random.below(self.tuning.alive_ms);
        self.queue.put(self.now + first, Event::Beats { worker, connection });
        // What had finished before the connection broke is told again.
        let done = |held: &&Held| matches!(held.state, State::Done { .. });
        let ended = self.workers[worker as usize].held.iter().filter(done).cloned().collect::<Vec<_>>();
        self.tell_finished(worker, &ended);
        self.begin_waiting(worker);
    }

    /// An attempt that is not wanted ends at once, whatever it has cost.
    fn stops(&mut self, worker: u32, lease: LeaseId) {
        let host = &mut self.workers[worker as usize];
        let Some(held) = host.drop_lease(lease) else { return };
        if let State::Running { since, ends_at, .. } = held.state {
            self.measure.busy -= u64::from(held.cores);
            self.spend(worker, &held, self.now - since, ends_at - since);
        }
    }

    fn begin_waiting(&mut self, worker: u32) {
        let nature = self.nature(worker);
        let lie_cost = self.scenario.money.lie_cost.get();
        let jobs = &self.jobs;
        let wall_ms =
            |task: gristmill_proto::id::TaskId| jobs.get(&task.job).map_or(u64::MAX, |job| job.spec.limits.wall_ms);
        let host = &mut self.workers[worker as usize];
        let before = host.free;
        let ends = host.begin_waiting(nature, &self.workload, lie_cost, wall_ms, self.now);
        self.measure.busy += u64::from(before - host.free);
        for (at, lease) in ends {
            self.queue.put(at, Event::AttemptEnds { worker, lease });
        }
    }

    pub(super) fn attempt_ends(&mut self, worker: u32, lease: LeaseId) {
        let now = self.now;
        let host = &mut self.workers[worker as usize];
        let Some(place) = host.position(lease) else { return };
        let State::Running { since, ends_at, end } = host.held[place].state else { return };
        // It may have been suspended since, and go on for longer.
        if ends_at != now {
            return;
        }
        host.held[place].state = State::Done { end, ms: now - since };
        let held = host.held[place].clone();
        host.free += held.cores;
        host.finished += 1;
        self.measure.busy -= u64::from(held.cores);
        self.spend(worker, &held, now - since, now - since);
        let truth = self.workload.truth(held.task);
        let tally = &mut self.measure.groups[self.workers[worker as usize].group as usize];
        tally.attempts += 1;
        tally.lies += u64::from(matches!(end, End::Answer(answer) if answer != truth) || end == End::Skipped);
        self.tell_finished(worker, std::slice::from_ref(&held));
        if self.nature(worker) == Nature::Stealing && self.random.chance(STEALS) {
            self.steal(worker);
        }
        self.begin_waiting(worker);
    }

    /// Claims an attempt that is under way elsewhere.
    fn steal(&mut self, worker: u32) {
        let other = self.random.index(self.workers.len());
        if other != worker as usize
            && let Some(held) = self.workers[other].held.first()
        {
            let truth = common_lie(self.workload.truth(held.task));
            let stolen = Held { state: State::Done { end: End::Answer(truth), ms: 1 }, ..held.clone() };
            self.tell_finished(worker, &[stolen]);
        }
    }

    fn spend(&mut self, worker: u32, held: &Held, ms: u64, whole_ms: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let part = if whole_ms == 0 { 1.0 } else { ms as f64 / whole_ms as f64 };
        let money = &self.scenario.money;
        let end = match held.state {
            State::Running { end, .. } | State::Suspended { end, .. } | State::Done { end, .. } => Some(end),
            State::Waiting => None,
        };
        let truth = self.workload.truth(held.task);
        let computes = match end {
            Some(End::Answer(answer)) if answer != truth => money.lie_cost.get(),
            Some(End::Skipped | End::NotRun) => money.lie_cost.get(),
            _ => 1.0,
        };
        let cost = self.workload.seconds(held.task) * money.cost_per_s.get() * computes * part;
        self.measure.groups[self.workers[worker as usize].group as usize].spent += cost;
    }

    /// Says that these attempts have ended, all at once.
    fn tell_finished(&mut self, worker: u32, ended: &[Held]) {
        let host = &self.workers[worker as usize];
        let nature = self.nature(worker);
        if ended.is_empty() || !host.welcomed || nature == Nature::Silent {
            return;
        }
        let connection = host.connection;
        let mut leaves = Vec::new();
        let finishes = ended.iter().map(|held| {
            let State::Done { end, ms } = held.state else { unreachable!("only what is done is told") };
            let outcome = outcome_of(end, ms, held.lease.work);
            let encoded = encode(&outcome);
            if host.key.is_some() {
                let spec = self.spec_of(held);
                let (app, job) = (spec.app, digest_of_job(&spec));
                leaves.push(Statement::new(POOL, held.lease.lease, held.lease.task, app, job, &encoded).leaf());
            }
            let (lease, outcome) = (held.lease.lease, Box::new(outcome));
            Finish { lease, outcome, encoded, flaw: None, salt: None, shares: 0, closest: None }
        });
        let mut finishes: Vec<Finish> = finishes.collect();
        let signature = match &host.key {
            Some(_) if nature == Nature::Forging => sign_batch(&leaves, &key_of(u32::MAX - 1)),
            Some(key) => sign_batch(&leaves, key),
            None => Signature([0; 65]),
        };
        if host.key.is_none() && nature == Nature::Forging {
            finishes.iter_mut().for_each(|finish| finish.flaw = Some("not signed".to_owned()));
        }
        let batch = Box::new(Batch { finishes, leaves, signature });
        self.post(Parcel::Finished(worker, connection, batch));
    }

    fn spec_of(&self, held: &Held) -> JobSpec {
        self.workload.spec(held.task.job)
    }
}
