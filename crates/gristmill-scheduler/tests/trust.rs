//! A pool's history as the trust engine sees it: tasks, votes of honest workers and of liars of every kind, and what is
//! delivered and paid in the end. Everything follows from a seed, which a failure names: `GRISTMILL_SEED=7 cargo test`
//! replays it. `cargo test --release --test trust -- --nocapture --test-threads 1` prints the tables.
//!
//! A task counts as delivered when it is settled: at once where votes alone carry the certificate, else at the end of
//! its hold-back. What was wrong and reopened before that is no error; what was wrong and settled is one.

use std::collections::VecDeque;

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, TaskId, WorkerId};
use gristmill_scheduler::trust::{
    AppClass, Ballot, Commitment, Decision, Draw, Fact, HostId, OwnerId, Payer, Policy, Salt, Standings, Terms, Voter,
};

const CLASS: AppClass = AppClass(Digest([9; 32]));
const RIGHT: Digest = Digest([1; 32]);
const WRONG: Digest = Digest([2; 32]);
const SALT: Salt = Salt([3; 32]);
const SEEDS: u64 = 100;
const WORKERS: usize = 50;
/// Tasks that wait for votes at the same time.
const IN_FLIGHT: usize = 30;
/// What a vote earns, what computing its answer costs, and what an attempt costs that computes nothing.
const PRICE: f64 = 1.0;
const COMPUTING: f64 = 0.5;
const IDLING: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    Honest,
    /// Lies on a share of its tasks once it has voted so often. All such liars lie on the same tasks.
    Liar { rate: f64, after: u64 },
    /// Knows which of its kind hold a task, and lies when all votes on it are theirs.
    Cautious,
    /// Repeats the commitment of whoever voted first and, once it is shown, what opens it.
    Copier,
}

struct Worker {
    voter: Voter,
    nature: Nature,
    exposed: bool,
    votes: u64,
    earned: f64,
    earned_by_lies: f64,
    spent: f64,
}

struct Task {
    ballot: Ballot,
    draw: Draw,
    /// Liars lie on the tasks with the lowest moods.
    mood: f64,
    answer: Option<Digest>,
    hurried: bool,
    delivered: bool,
}

#[derive(Clone, Debug)]
struct Scenario {
    policy: Policy,
    terms: Terms,
    tasks: usize,
    liars: f64,
    nature: Nature,
    /// All liars belong to one owner.
    sybil: bool,
}

fn scenario(share: f64, nature: Nature) -> Scenario {
    let assumed = if share > 0.2 { share } else { 0.2 };
    Scenario {
        policy: Policy { liars: assumed.try_into().unwrap(), ..Policy::default() },
        terms: terms(1e-3, 60),
        tasks: 1_500,
        liars: share,
        nature,
        sybil: false,
    }
}

fn terms(max_error: f64, outlook: u64) -> Terms {
    Terms { max_error: max_error.try_into().unwrap(), votes_max: WORKERS, outlook }
}

#[derive(Clone, Debug, Default)]
struct Tally {
    delivered: u64,
    wrong: u64,
    failed: u64,
    reopened: u64,
    honest_exposed: u64,
    liars: u64,
    liars_exposed: u64,
    /// Tasks and their votes, of the first tenth and of the last half.
    fresh: (u64, u64),
    grown: (u64, u64),
    liars_net: f64,
    liars_by_lies: f64,
    honest_net: f64,
    honest: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.wrong += other.wrong;
        self.failed += other.failed;
        self.reopened += other.reopened;
        self.honest_exposed += other.honest_exposed;
        self.liars += other.liars;
        self.liars_exposed += other.liars_exposed;
        self.fresh = (self.fresh.0 + other.fresh.0, self.fresh.1 + other.fresh.1);
        self.grown = (self.grown.0 + other.grown.0, self.grown.1 + other.grown.1);
        self.liars_net += other.liars_net;
        self.liars_by_lies += other.liars_by_lies;
        self.honest_net += other.honest_net;
        self.honest += other.honest;
    }

    fn error(&self) -> f64 {
        self.wrong as f64 / self.delivered as f64
    }

    fn fresh_redundancy(&self) -> f64 {
        self.fresh.1 as f64 / self.fresh.0 as f64
    }

    fn grown_redundancy(&self) -> f64 {
        self.grown.1 as f64 / self.grown.0 as f64
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 2f64.powi(53)
    }
}

struct World<'a> {
    scenario: &'a Scenario,
    random: Random,
    standings: Standings,
    workers: Vec<Worker>,
    /// With a worker that is not exposed.
    owners: usize,
    tasks: Vec<Task>,
    /// Tasks that want votes.
    open: Vec<usize>,
    /// Held-back tasks, and the count of votes at which they cannot wait any longer.
    patience: VecDeque<(u64, usize)>,
    votes: u64,
    tally: Tally,
}

fn worker_id(index: usize) -> WorkerId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&(index as u64).to_le_bytes());
    WorkerId(id)
}

fn index_of(id: WorkerId) -> usize {
    u64::from_le_bytes(id.0[..8].try_into().unwrap()) as usize
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let liars = ((WORKERS as f64 * scenario.liars).round() as usize).max(1);
        let worker = |index: usize| {
            let liar = index < liars;
            let id = worker_id(index);
            let owner = if liar && scenario.sybil { 0 } else { index as u8 };
            Worker {
                voter: Voter { worker: id, owner: OwnerId([owner; 20]), host: HostId(index as u64) },
                nature: if liar { scenario.nature } else { Nature::Honest },
                exposed: false,
                votes: 0,
                earned: 0.0,
                earned_by_lies: 0.0,
                spent: 0.0,
            }
        };
        let workers: Vec<Worker> = (0..WORKERS).map(worker).collect();
        let mut owners: Vec<OwnerId> = workers.iter().map(|worker| worker.voter.owner).collect();
        owners.dedup();
        Self {
            scenario,
            owners: owners.len(),
            random: Random(seed),
            standings: Standings::new(scenario.policy),
            workers,
            tasks: Vec::new(),
            open: Vec::new(),
            patience: VecDeque::new(),
            votes: 0,
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> Tally {
        while self.step() {}
        for index in 0..self.tasks.len() {
            self.hurry(index);
        }
        while self.step() {}
        self.standings.check_invariants();
        self.close()
    }

    fn step(&mut self) -> bool {
        while self.open.len() < IN_FLIGHT && self.tasks.len() < self.scenario.tasks {
            self.submit();
        }
        while self.patience.front().is_some_and(|(deadline, _)| *deadline <= self.votes) {
            let (_, task) = self.patience.pop_front().unwrap();
            self.hurry(task);
        }
        if self.open.is_empty() {
            return false;
        }
        let place = self.random.below(self.open.len());
        self.vote(self.open[place]);
        true
    }

    fn submit(&mut self) {
        let index = self.tasks.len();
        let id = TaskId { job: JobId(1), index: index as u64 };
        self.tasks.push(Task {
            ballot: Ballot::new(id, CLASS, Payer::Pool),
            draw: Draw(self.random.next()),
            mood: self.random.fraction(),
            answer: None,
            hurried: false,
            delivered: false,
        });
        self.open.push(index);
    }

    /// The held-back result cannot wait any longer.
    fn hurry(&mut self, task: usize) {
        let mut facts = Vec::new();
        self.tasks[task].hurried = true;
        self.standings.recall(&self.tasks[task].ballot, &mut facts);
        facts.into_iter().for_each(|fact| self.apply(fact));
    }

    fn vote(&mut self, task: usize) {
        let worker = loop {
            let worker = self.random.below(WORKERS);
            if !self.workers[worker].exposed && self.tasks[task].ballot.admits(&self.workers[worker].voter) {
                break worker;
            }
        };
        let lies = self.lies(worker, task);
        let Worker { voter, nature, .. } = self.workers[worker];
        let ballot = &mut self.tasks[task].ballot;
        let commitment = match ballot.votes().first() {
            Some(first) if nature == Nature::Copier => first.commitment,
            _ => Commitment::new(voter.worker, ballot.task, if lies { WRONG } else { RIGHT }, SALT),
        };
        let idle = lies || nature == Nature::Copier && !ballot.votes().is_empty();
        self.standings.cast(ballot, voter, commitment).unwrap();
        self.workers[worker].votes += 1;
        self.workers[worker].spent += if idle { IDLING } else { COMPUTING };
        self.votes += 1;
        self.decide(task);
    }

    fn lies(&self, worker: usize, task: usize) -> bool {
        let (worker, task) = (&self.workers[worker], &self.tasks[task]);
        match worker.nature {
            Nature::Honest | Nature::Copier => false,
            Nature::Liar { rate, after } => worker.votes >= after && task.mood < rate,
            // It hears of later voters of its kind before it must commit; of later honest ones it cannot.
            Nature::Cautious => {
                task.ballot.votes().iter().all(|vote| self.workers[index_of(vote.voter.worker)].nature == worker.nature)
            }
        }
    }

    fn decide(&mut self, task: usize) {
        loop {
            let Scenario { mut terms, .. } = *self.scenario;
            let Task { ballot, draw, hurried, .. } = &self.tasks[task];
            if *hurried {
                terms.outlook = 0;
            }
            let voted = ballot.votes().iter().filter(|vote| !self.workers[index_of(vote.voter.worker)].exposed);
            match self.standings.decide(ballot, &terms, self.owners - voted.count(), *draw) {
                Decision::Ask(_) => return,
                Decision::Open => self.open_votes(task),
                Decision::Certify(certificate) => {
                    self.open.retain(|open| *open != task);
                    self.tasks[task].answer = Some(certificate.answer);
                    let mut facts = Vec::new();
                    self.standings.certify(&mut self.tasks[task].ballot, &certificate, &mut facts);
                    return facts.into_iter().for_each(|fact| self.apply(fact));
                }
                Decision::GiveUp(_) => {
                    self.open.retain(|open| *open != task);
                    self.standings.forget(&self.tasks[task].ballot);
                    self.tasks[task].delivered = true;
                    self.tally.failed += 1;
                    return;
                }
            }
        }
    }

    fn open_votes(&mut self, task: usize) {
        let sealed: Vec<_> = self.tasks[task].ballot.votes().iter().filter(|vote| vote.answer.is_none()).cloned().collect();
        let mut facts = Vec::new();
        for vote in sealed {
            let ballot = &mut self.tasks[task].ballot;
            // The copier knows what opens the vote it copied, which was shown a moment ago.
            let opened = [RIGHT, WRONG].iter().any(|answer| ballot.open(vote.voter.worker, *answer, SALT).is_ok());
            if !opened {
                self.standings.withheld(ballot, vote.voter.worker, &mut facts);
            }
        }
        facts.into_iter().for_each(|fact| self.apply(fact));
    }

    fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Settled { task, supporters } => self.deliver(task.index as usize, &supporters),
            Fact::Held { task, .. } => {
                let deadline = self.votes + self.scenario.terms.outlook * WORKERS as u64;
                self.patience.push_back((deadline, task.index as usize));
            }
            Fact::Exposed { worker, .. } => {
                let Worker { voter, nature, exposed, .. } = &mut self.workers[index_of(worker)];
                *exposed = true;
                self.tally.honest_exposed += u64::from(*nature == Nature::Honest);
                self.tally.liars_exposed += u64::from(*nature != Nature::Honest);
                let owner = voter.owner;
                let gone = self.workers.iter().all(|worker| worker.exposed || worker.voter.owner != owner);
                self.owners -= usize::from(gone);
            }
            Fact::Reopened { task, .. } => {
                self.tally.reopened += 1;
                self.reopen(task.index as usize);
            }
            Fact::Recalled { task } => self.reopen(task.index as usize),
            Fact::StandingChanged { .. } => {}
        }
    }

    fn reopen(&mut self, task: usize) {
        self.open.push(task);
        self.decide(task);
    }

    fn deliver(&mut self, index: usize, supporters: &[WorkerId]) {
        let task = &mut self.tasks[index];
        assert!(!task.delivered, "task {index} was settled twice");
        task.delivered = true;
        let wrong = task.answer == Some(WRONG);
        self.tally.delivered += 1;
        self.tally.wrong += u64::from(wrong);
        for id in supporters {
            let worker = &mut self.workers[index_of(*id)];
            worker.earned += PRICE;
            worker.earned_by_lies += if wrong { PRICE } else { 0.0 };
        }
    }

    fn close(mut self) -> Tally {
        assert!(self.tasks.iter().all(|task| task.delivered), "a task was neither delivered nor given up");
        let votes = |tasks: &[Task]| {
            (tasks.len() as u64, tasks.iter().map(|task| task.ballot.votes().len() as u64).sum::<u64>())
        };
        self.tally.fresh = votes(&self.tasks[..self.tasks.len() / 10]);
        // The end of the simulation, when nobody waits for checks any longer, is not what a pool is like that goes on.
        self.tally.grown = votes(&self.tasks[self.tasks.len() / 2..self.tasks.len() * 4 / 5]);
        for worker in &self.workers {
            let net = worker.earned - worker.spent;
            if worker.nature == Nature::Honest {
                self.tally.honest += 1;
                self.tally.honest_net += net;
            } else {
                self.tally.liars += 1;
                self.tally.liars_net += net;
                self.tally.liars_by_lies += worker.earned_by_lies;
            }
        }
        self.tally
    }
}

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    given.map_or(0..SEEDS, |seed| seed..seed + 1)
}

#[expect(clippy::print_stderr, reason = "the seed replays the failure")]
fn simulate(scenario: &Scenario) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| World::new(scenario, seed).run());
        sum.add(&run.unwrap_or_else(|panic| {
            eprintln!("failing seed: GRISTMILL_SEED={seed}");
            std::panic::resume_unwind(panic)
        }));
    }
    sum
}

#[expect(clippy::print_stdout, reason = "the table is for whoever asks for it with --nocapture")]
fn print_row(name: &str, scenario: &Scenario, tally: &Tally) {
    let per = |sum: f64, count: u64| sum / count as f64;
    println!(
        "{name:34} {:>5.0}% | wrong {:>8.1e} of {:>7} failed {:>4} | redundancy {:>5.2} fresh, {:>4.2} grown | exposed \
         {:>5.1}% of liars, {:>3} honest | reopened {:>6} | liar {:>7.2} (by lies {:>6.3}), honest {:>6.2}",
        100.0 * scenario.liars,
        tally.error(),
        tally.delivered,
        tally.failed,
        tally.fresh_redundancy(),
        tally.grown_redundancy(),
        100.0 * per(tally.liars_exposed as f64, tally.liars),
        tally.honest_exposed,
        tally.reopened,
        per(tally.liars_net, tally.liars),
        per(tally.liars_by_lies, tally.liars),
        per(tally.honest_net, tally.honest),
    );
}

const SHARES: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.35];

#[test]
fn the_bound_holds_in_every_cell() {
    for share in SHARES {
        for rate in [0.05, 0.25, 0.5, 1.0] {
            let scenario = scenario(share, Nature::Liar { rate, after: 0 });
            let tally = simulate(&scenario);
            print_row(&format!("lying at {:.0}%", 100.0 * rate), &scenario, &tally);
        }
    }
    for share in SHARES {
        for after in [10, 50, 100] {
            let mut scenario = scenario(share, Nature::Liar { rate: 1.0, after });
            scenario.tasks = 3_000;
            let tally = simulate(&scenario);
            print_row(&format!("lying after {after}"), &scenario, &tally);
        }
    }
}
