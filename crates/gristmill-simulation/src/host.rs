//! A simulated worker: what it holds, what it runs, and whether it tells the truth.

use std::collections::BTreeMap;

use gristmill_proto::app::Runtime;
use gristmill_proto::id::{LeaseId, TaskId, WorkerId};
use gristmill_proto::key::WorkerKey;
use gristmill_proto::message::{HeldLease, Lease, WorkerOffer};
use gristmill_proto::outcome::{Exit, Limit, Log, Outcome, Usage};

use crate::availability::Presence;
use crate::random::{Random, mix};
use crate::scenario::{Group, Nature};
use crate::workload::{Task, Workload, common_lie, ms_of};

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: WorkerId,
    pub(crate) group: u32,
    /// Where results are signed.
    pub(crate) key: Option<Box<WorkerKey>>,
    pub(crate) random: Random,
    pub(crate) presence: Option<Box<Presence>>,
    pub(crate) there: bool,
    /// It will not come back.
    pub(crate) gone: bool,
    /// Zero while there is none.
    pub(crate) connection: u64,
    pub(crate) welcomed: bool,
    pub(crate) speed: f32,
    pub(crate) free: u32,
    /// When the last message of each direction arrives: no other of that connection comes before it.
    pub(crate) last_to_pool: u64,
    pub(crate) last_from_pool: u64,
    pub(crate) finished: u64,
    /// In the order in which they are begun. Few: a vector is smaller than any tree.
    pub(crate) held: Vec<Held>,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    pub(crate) task: Task,
    pub(crate) cores: u32,
    pub(crate) given_at: u64,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Waiting,
    Running {
        since: u64,
        ends_at: u64,
        end: End,
    },
    /// Its machine is off.
    Suspended {
        left_ms: u64,
        end: End,
    },
    Done {
        end: End,
        ms: u64,
    },
}

/// What an attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answer(u64),
    /// Ended well, without an answer.
    Vain,
    /// Says that it was in vain, after so much of its work.
    Skipped,
    Failed,
    NotRun,
    TooLong,
}

/// Whoever makes something up needs so long for it.
const LIE_MS: u64 = 50;

impl Host {
    pub(crate) fn new(number: u32, group_number: u32, group: &Group, seed: u64, signs: bool) -> Self {
        let mut random = Random::of(seed, 0xface, u64::from(number));
        let key = signs.then(|| Box::new(key_of(number)));
        let speed = group.speed.draw(&mut random);
        let presence = Presence::of(&group.availability, &mut random).map(Box::new);
        #[expect(clippy::cast_possible_truncation, reason = "a speed")]
        Self {
            id: key.as_ref().map_or_else(|| id_of(number), |key| key.id()),
            group: group_number,
            key,
            random,
            presence,
            there: false,
            gone: false,
            connection: 0,
            welcomed: false,
            speed: speed as f32,
            free: group.slots,
            last_to_pool: 0,
            last_from_pool: 0,
            finished: 0,
            held: Vec::new(),
        }
    }

    pub(crate) fn position(&self, lease: LeaseId) -> Option<usize> {
        self.held.iter().position(|held| held.lease.lease == lease)
    }

    /// Takes a lease out, and frees what it ran on.
    pub(crate) fn drop_lease(&mut self, lease: LeaseId) -> Option<Held> {
        let held = self.held.remove(self.position(lease)?);
        if matches!(held.state, State::Running { .. }) {
            self.free += held.cores;
        }
        Some(held)
    }

    /// As it tells a pool that it connects to.
    pub(crate) fn holdings(&self, nature: Nature) -> Vec<HeldLease> {
        let holding = |held: &Held| {
            let Lease { lease, task, work, seal } = held.lease;
            // An idler would like to do less.
            let work = if nature == Nature::Idle { work.min(1) } else { work };
            HeldLease { lease, task, work, seal }
        };
        self.held.iter().map(holding).collect()
    }

    /// Begins what there is room for, and returns the ends of that.
    pub(crate) fn begin_waiting(
        &mut self,
        nature: Nature,
        work: &Workload<'_>,
        lie_cost: f64,
        wall_ms: impl Fn(TaskId) -> u64,
        now: u64,
    ) -> Vec<(u64, LeaseId)> {
        let mut ends = Vec::new();
        if !self.there {
            return ends;
        }
        for place in 0..self.held.len() {
            let held = &self.held[place];
            if !matches!(held.state, State::Waiting | State::Suspended { .. }) {
                continue;
            }
            if held.cores > self.free {
                break;
            }
            let (left_ms, end) = match held.state {
                State::Suspended { left_ms, end } => (left_ms, end),
                _ => self.plan(place, nature, work, lie_cost, wall_ms(held.lease.task)),
            };
            let held = &mut self.held[place];
            self.free -= held.cores;
            held.state = State::Running { since: now, ends_at: now.saturating_add(left_ms), end };
            if nature != Nature::Silent {
                ends.push((now.saturating_add(left_ms), held.lease.lease));
            }
        }
        ends
    }

    /// How long an attempt will take, and what will come of it.
    fn plan(&mut self, place: usize, nature: Nature, work: &Workload<'_>, lie_cost: f64, wall_ms: u64) -> (u64, End) {
        let (task, lease) = (self.held[place].task, self.held[place].lease);
        let truth = work.truth(task);
        let portion = if lease.work > 0 { self.portion(work, task, lease.work) } else { 1.0 };
        let whole = ms_of(work.seconds(task) * portion / f64::from(self.speed));
        let honest = if work.has_answer(task) { End::Answer(truth) } else { End::Vain };
        match nature {
            Nature::Broken => (LIE_MS, End::NotRun),
            Nature::Idle if honest == End::Vain => (LIE_MS, End::Skipped),
            Nature::Idle | Nature::Stealing => (LIE_MS, End::Answer(common_lie(truth))),
            Nature::Liar { .. } if self.lies(nature, work, task) => {
                let Nature::Liar { together, .. } = nature else { unreachable!("a liar") };
                let own = mix(truth ^ u64::from_le_bytes(self.id.0[..8].try_into().expect("8 of 20 bytes")));
                let cheap = ms_of(work.seconds(task) * lie_cost / f64::from(self.speed));
                (cheap, End::Answer(if together { common_lie(truth) } else { own }))
            }
            _ if whole > wall_ms => (wall_ms, End::TooLong),
            Nature::Unlucky { rate } if self.random.chance(rate.get()) => (whole, End::Failed),
            _ => (whole, honest),
        }
    }

    /// Of a search's ordinary task.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn portion(&self, work: &Workload<'_>, task: Task, given: u64) -> f64 {
        work.stream(task.job).search.map_or(1.0, |search| given as f64 / search.task_work as f64)
    }

    pub(crate) fn lies(&mut self, nature: Nature, work: &Workload<'_>, task: Task) -> bool {
        match nature {
            Nature::Liar { rate, after, together } if self.finished >= after => {
                let mood = if together { work.mood(task) } else { self.random.fraction() };
                mood < rate.get()
            }
            _ => false,
        }
    }
}

/// Room of a simulated worker for every slot: memory never decides here.
pub(crate) fn offer_of(group: &Group) -> WorkerOffer {
    WorkerOffer {
        name: group.name.clone(),
        version: "0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        runtimes: vec![Runtime::Process],
        slots: group.slots,
        memory_bytes: u64::from(group.slots) << 30,
        gpus: 0,
        labels: BTreeMap::new(),
    }
}

/// Without a key, ids are as scattered as addresses, and lead back to their worker.
fn id_of(number: u32) -> WorkerId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&mix(u64::from(number) + 1).to_le_bytes());
    id[8..12].copy_from_slice(&number.to_le_bytes());
    WorkerId(id)
}

/// Whose id that is.
pub(crate) fn number_of(id: WorkerId) -> u32 {
    u32::from_le_bytes(id.0[8..12].try_into().expect("4 of 20 bytes"))
}

pub(crate) fn key_of(number: u32) -> WorkerKey {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&(number + 1).to_le_bytes());
    WorkerKey::from_bytes(&bytes).expect("a number far below the group's order")
}

/// What an attempt that came to this is reported as.
pub(crate) fn outcome_of(end: End, wall_ms: u64, work: u64) -> Outcome {
    let (exit, answer) = match end {
        End::Answer(answer) => (Exit::Code(0), Some(answer.to_le_bytes().to_vec())),
        End::Vain | End::Skipped => (Exit::Code(0), None),
        End::Failed => (Exit::Code(1), None),
        End::NotRun => (Exit::NotRun("no such runtime".to_owned()), None),
        End::TooLong => (Exit::Limit(Limit::Wall), None),
    };
    let work_done = if end == End::Skipped { work.min(1) } else { work };
    let usage = Usage { wall_ms, cpu_ms: wall_ms, work_done, ..Usage::default() };
    Outcome { exit, answer, files: Vec::new(), stdout: Log::default(), stderr: Log::default(), usage }
}
