//! The loop: one thing happens after the other, at its time.
//!
//! `pool.rs` is the pool's side (the real core, its writer and its crashes), `workers.rs` the workers', `post.rs` the
//! network between them.

mod pool;
mod post;
mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gristmill_proto::id::{JobId, LeaseId, UnixMillis, WorkerId};
use gristmill_scheduler::core::{Core, Effects, PoolSecret, Tuning};

use crate::availability::hours_ms;
use crate::disk::Disk;
use crate::history::History;
use crate::host::{Host, number_of};
use crate::measure::{GroupTally, Measure, Sample};
use crate::queue::{Queue, Slab};
use crate::random::Random;
use crate::report::{Machine, Report};
use crate::scenario::{Nature, Scenario};
use crate::workload::{JobName, KnownJob, Workload, ms_of};
use post::Parcel;

/// The clock and memory of the machine that simulates. Nothing that happens depends on them.
pub struct Probe<'a> {
    pub nanos: &'a dyn Fn() -> u64,
    /// Of this process, at present.
    pub memory_bytes: &'a dyn Fn() -> u64,
    /// Called now and then with the simulated time and the tasks that are certified; false stops the simulation.
    pub goes_on: &'a dyn Fn(u64, u64) -> bool,
}

impl Probe<'_> {
    /// Measures nothing.
    pub const NONE: Probe<'static> = Probe { nanos: &|| 0, memory_bytes: &|| 0, goes_on: &|_, _| true };
}

const POOL: &str = "simulated";
const SECRET: PoolSecret = PoolSecret([7; 32]);
/// The simulation begins on Monday, 1 January 2024, at midnight.
const BEGINS_AT: u64 = 1_704_067_200_000;
/// Where the user's own program tries again to submit, and a worker to connect.
const RETRY_MS: u64 = 1_000;
const RECONNECT_MS: u64 = 5_000;
/// Events between two looks at whether to go on.
const LOOK_EVERY: u64 = 1 << 16;

#[derive(Clone, Copy, Debug)]
enum Event {
    Submit { stream: u32, number: u32 },
    Arrives(u32),
    AttemptEnds { worker: u32, lease: LeaseId },
    Beats { worker: u32, connection: u64 },
    Comes(u32),
    Leaves(u32),
    LeavesForGood(u32),
    Connects(u32),
    Cancels(JobId),
    Flushed { run: u64 },
    Ticks { run: u64 },
    Dies { run: u64 },
    Serves,
    Sampled,
}

struct Grid<'a> {
    scenario: &'a Scenario,
    probe: &'a Probe<'a>,
    tuning: Tuning,
    workload: Workload<'a>,
    random: Random,
    now: u64,
    queue: Queue<Event>,
    parcels: Slab<Parcel>,
    /// None while no pool serves.
    core: Option<Core>,
    run: u64,
    disk: Disk,
    /// What the writer has yet to commit, and what it commits just now.
    gathered: Vec<Effects>,
    flushing: Option<Vec<Effects>>,
    workers: Vec<Host>,
    natures: Vec<Nature>,
    /// Where ids do not tell.
    numbers: HashMap<WorkerId, u32>,
    connections: u64,
    jobs: HashMap<JobId, KnownJob>,
    unacknowledged: BTreeSet<JobName>,
    to_submit: u64,
    /// Users and how many of their jobs have tasks that were never given out; and since when that is so.
    backlog: BTreeMap<String, u64>,
    backlog_since: u64,
    measure: Measure,
    history: Option<History>,
    /// After that, nothing breaks any more.
    calm_at: u64,
}

/// Runs a scenario to its end. Two runs of the same scenario differ in [`Report::machine`] alone.
pub fn simulate(scenario: &Scenario, probe: &Probe<'_>) -> Report {
    let begun = (probe.nanos)();
    let memory = (probe.memory_bytes)();
    let mut grid = Grid::new(scenario, probe);
    let hosts = (probe.memory_bytes)();
    grid.begin();
    grid.connect_all();
    let connected = (probe.memory_bytes)().saturating_sub(hosts);
    let connected_workers = grid.measure.connected;
    let events = grid.run();
    let mut machine = Machine::of(&grid.measure, events);
    machine.seconds = seconds((probe.nanos)() - begun);
    machine.memory_bytes = (probe.memory_bytes)().saturating_sub(memory);
    machine.bytes_per_worker = connected.checked_div(connected_workers).unwrap_or(0);
    if let Some(history) = &grid.history {
        let log = grid.disk.log.as_deref().expect("kept for the history");
        history.check(log, &grid.workload, grid.is_over());
    }
    Report::new(scenario, grid.now, &grid.measure, machine)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl<'a> Grid<'a> {
    fn new(scenario: &'a Scenario, probe: &'a Probe<'a>) -> Self {
        let mut workers = Vec::new();
        for (group, terms) in (0..).zip(&scenario.workers) {
            for _ in 0..terms.count {
                let number = u32::try_from(workers.len()).expect("bounded by the scenario");
                workers.push(Host::new(number, group, terms, scenario.seed, scenario.checked));
            }
        }
        let numbers = (0..).zip(&workers).filter(|_| scenario.checked).map(|(number, host)| (host.id, number));
        let faults = &scenario.faults;
        let dies = faults.crash_at_commit.get() > 0.0 || faults.leader_life_h.is_some();
        Self {
            scenario,
            probe,
            tuning: scenario.pool.tuning(),
            workload: Workload::new(scenario),
            random: Random::of(scenario.seed, 0, 0),
            now: 0,
            queue: Queue::new(),
            parcels: Slab::new(),
            core: None,
            run: 0,
            disk: Disk::new(dies || scenario.checked, scenario.checked),
            gathered: Vec::new(),
            flushing: None,
            numbers: numbers.collect(),
            workers,
            natures: scenario.workers.iter().map(|group| group.nature).collect(),
            connections: 0,
            jobs: HashMap::new(),
            unacknowledged: BTreeSet::new(),
            to_submit: scenario.jobs.iter().map(|stream| stream.count).sum(),
            backlog: BTreeMap::new(),
            backlog_since: 0,
            measure: Measure { groups: vec![GroupTally::default(); scenario.workers.len()], ..Measure::default() },
            history: scenario.checked.then(History::default),
            calm_at: faults.until_s.map_or(u64::MAX, |s| ms_of(s.get())),
        }
    }

    /// Puts in what happens by itself.
    fn begin(&mut self) {
        self.serve();
        self.queue.put(0, Event::Sampled);
        for (stream, terms) in (0..).zip(&self.scenario.jobs) {
            self.queue.put(terms.at_s * 1_000, Event::Submit { stream, number: 0 });
        }
        for number in 0..self.workers.len() {
            let worker = u32::try_from(number).expect("bounded by the scenario");
            let host = &mut self.workers[number];
            let availability = &self.scenario.workers[host.group as usize].availability;
            if let Some(life) = availability.life_h {
                let at = hours_ms(life.draw(&mut host.random));
                self.queue.put(at, Event::LeavesForGood(worker));
            }
            let Some(presence) = host.presence.as_deref().copied() else {
                host.there = true;
                continue;
            };
            let (there, until) = presence.begin(&mut host.random);
            host.there = there;
            self.queue.put(until, if there { Event::Leaves(worker) } else { Event::Comes(worker) });
        }
    }

    /// Everybody who is there in the beginning is connected in the beginning: nothing has waited for them yet.
    fn connect_all(&mut self) {
        for number in 0..self.workers.len() {
            if self.workers[number].there {
                let worker = u32::try_from(number).expect("bounded by the scenario");
                self.connect(worker);
            }
        }
        let settled = self.now + 10_000;
        while self.measure.connected < self.connections && self.now < settled && self.step() {}
    }

    /// Returns how many events there were.
    fn run(&mut self) -> u64 {
        let end = self.scenario.end_h.map_or(u64::MAX, |hours| hours_ms(hours.get()));
        let mut events = 0_u64;
        // What ends with the last job is looked at until all is quiet.
        let mut quiet_at = None;
        while quiet_at.is_none_or(|at| self.now < at) && self.now < end && self.step() {
            events += 1;
            if events.is_multiple_of(LOOK_EVERY) && !(self.probe.goes_on)(self.now, self.measure.certified) {
                break;
            }
            if self.is_over() && quiet_at.is_none() {
                quiet_at = Some(if self.scenario.checked { self.now + 3 * self.tuning.lost_ms } else { self.now });
            }
        }
        if self.scenario.checked && quiet_at.is_some() {
            self.check_quiet();
        }
        events
    }

    fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.next() else { return false };
        self.now = at;
        match event {
            Event::Submit { stream, number } => self.submit_next(stream, number),
            Event::Arrives(place) => self.arrives(place),
            Event::AttemptEnds { worker, lease } => self.attempt_ends(worker, lease),
            Event::Beats { worker, connection } => self.beats(worker, connection),
            Event::Comes(worker) => self.comes(worker),
            Event::Leaves(worker) => self.leaves(worker),
            Event::LeavesForGood(worker) => self.leaves_for_good(worker),
            Event::Connects(worker) => self.connect(worker),
            Event::Cancels(job) => self.cancels(job),
            Event::Flushed { run } => self.flushed(run),
            Event::Ticks { run } => self.ticks(run),
            Event::Dies { run } => self.dies(run),
            Event::Serves => self.serve(),
            Event::Sampled => self.sample(),
        }
        true
    }

    /// Whether every job has ended.
    fn is_over(&self) -> bool {
        self.to_submit == 0 && self.measure.live_jobs == 0 && self.unacknowledged.is_empty()
    }

    fn is_calm(&self) -> bool {
        self.now >= self.calm_at
    }

    fn clock(&self) -> UnixMillis {
        UnixMillis(BEGINS_AT + self.now)
    }

    fn nature(&self, worker: u32) -> Nature {
        self.natures[self.workers[worker as usize].group as usize]
    }

    fn number(&self, id: WorkerId) -> u32 {
        self.numbers.get(&id).copied().unwrap_or_else(|| number_of(id))
    }

    fn sample(&mut self) {
        let Measure { connected, slots, busy, attempts, certified, wrong, live_jobs, .. } = self.measure;
        self.measure.samples.add(Sample {
            at_ms: self.now,
            connected,
            slots,
            busy,
            attempts,
            certified,
            wrong,
            live_jobs,
        });
        self.queue.put(self.now + self.measure.samples.every_ms, Event::Sampled);
    }

    fn group_slots(&self, worker: u32) -> u64 {
        u64::from(self.scenario.workers[self.workers[worker as usize].group as usize].slots)
    }
}
