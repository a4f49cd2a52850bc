//! The network: what is under way between the pool and its workers.

use gristmill_proto::id::{JobId, LeaseId};
use gristmill_proto::message::ToWorker;
use gristmill_scheduler::core::Batch;

use super::{Event, Grid};
use crate::workload::ms_of;

#[derive(Clone, Debug)]
pub(super) enum Parcel {
    ToWorker(u32, u64, ToWorker),
    Hello(u32, u64),
    Finished(u32, u64, Box<Batch>),
    Alive(u32, u64, Vec<LeaseId>),
    Returned(u32, u64, Vec<LeaseId>),
    /// The user's word on an answer, over a connection of its own.
    Verdict(JobId, LeaseId, bool),
}

impl Parcel {
    fn connection(&self) -> Option<(u32, u64)> {
        match self {
            Self::ToWorker(worker, connection, _)
            | Self::Hello(worker, connection)
            | Self::Finished(worker, connection, _)
            | Self::Alive(worker, connection, _)
            | Self::Returned(worker, connection, _) => Some((*worker, *connection)),
            Self::Verdict(..) => None,
        }
    }
}

impl Grid<'_> {
    /// A connection keeps its order and loses nothing while it stands: what is lost breaks it.
    pub(super) fn post(&mut self, parcel: Parcel) {
        let to_worker = matches!(parcel, Parcel::ToWorker(..));
        if to_worker {
            self.measure.to_workers += 1;
        } else {
            self.measure.to_pool += 1;
        }
        let network = &self.scenario.network;
        let calm = self.is_calm();
        if let Some((worker, connection)) = parcel.connection() {
            if self.workers[worker as usize].connection != connection {
                return;
            }
            if !calm && self.random.chance(network.lost.get()) {
                self.measure.lost += 1;
                return self.breaks(worker);
            }
        }
        let doubled = !calm && self.random.chance(network.doubled.get());
        if doubled {
            self.send(parcel.clone(), to_worker);
        }
        self.send(parcel, to_worker);
    }

    fn send(&mut self, parcel: Parcel, to_worker: bool) {
        let network = &self.scenario.network;
        let mut at = self.now + ms_of(network.delay_ms.draw(&mut self.random) / 1_000.0);
        let overtakes = !self.is_calm() && self.random.chance(network.overtaking.get());
        if let Some((worker, _)) = parcel.connection()
            && !overtakes
        {
            let host = &mut self.workers[worker as usize];
            let last = if to_worker { &mut host.last_from_pool } else { &mut host.last_to_pool };
            at = at.max(*last);
            *last = at;
        }
        let place = self.parcels.put(parcel);
        self.queue.put(at, Event::Arrives(place));
    }

    pub(super) fn arrives(&mut self, place: u32) {
        match self.parcels.take(place) {
            Parcel::ToWorker(worker, connection, message) => self.hears(worker, connection, message),
            Parcel::Hello(worker, connection) => self.greets(worker, connection),
            Parcel::Finished(worker, connection, batch) => self.takes_results(worker, connection, *batch),
            Parcel::Alive(worker, connection, leases) => self.sees_alive(worker, connection, &leases),
            Parcel::Returned(worker, connection, leases) => self.takes_back(worker, connection, &leases),
            Parcel::Verdict(job, lease, certified) => self.judges(job, lease, certified),
        }
    }

    /// The connection is gone, and both sides notice.
    pub(super) fn breaks(&mut self, worker: u32) {
        self.hang_up(worker, true);
        self.connect_later(worker);
    }
}
