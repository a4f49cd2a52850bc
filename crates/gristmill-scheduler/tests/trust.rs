//! A pool's history as the trust engine sees it: tasks, votes of honest workers and of liars of every kind, and what is
//! delivered and paid in the end. Everything follows from a seed, which a failure names: `GRISTMILL_SEED=7 cargo test`
//! replays it. `cargo test --release --test trust -- --nocapture --test-threads 1` prints the tables.
//!
//! A task counts as delivered when it is settled: at once where votes alone carry the certificate, else at the end of
//! its hold-back. What was wrong and reopened before that is no error; what was wrong and settled is one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, TaskId, WorkerId};
use gristmill_scheduler::trust::{
    AppClass, Ballot, CastError, Commitment, Decision, Draw, Fact, Fraction, Hopeless, HostId, OpenError, OwnerId,
    Payer, Policy, Salt, Standings, Terms, Voter, Why,
};
use proptest::prelude::*;

const CLASS: AppClass = AppClass(Digest([9; 32]));
const RIGHT: Digest = Digest([1; 32]);
const WRONG: Digest = Digest([2; 32]);
const SALT: Salt = Salt([3; 32]);
const SEEDS: u64 = 100;
/// Tasks that wait for votes at the same time.
const IN_FLIGHT: usize = 30;
/// What a vote earns, what computing its answer costs, and what an attempt costs that computes nothing.
const PRICE: f64 = 1.0;
const COMPUTING: f64 = 0.5;
const IDLING: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    Honest,
    /// Lies on a share of its tasks, once workers have voted so often on average since it came. All such liars lie on
    /// the same tasks.
    Liar {
        rate: f64,
        after: u64,
    },
    /// Knows who else of its kind holds a task. Where it votes first and nobody else was asked, it lies as the above; later,
    /// it lies if only its kind has voted, and lied.
    Cautious {
        rate: f64,
        after: u64,
    },
    /// As cautious, and lies only once where it votes first.
    Once {
        after: u64,
    },
    /// Repeats the commitment of whoever voted first and, once it is shown, what opens it.
    Copier,
}

/// After each so many votes, the engine is restored from what it said is to be made durable.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crashes {
    Never,
    /// From all facts so far.
    Log(u64),
    /// From the latest of each kind, in no order.
    Rows(u64),
}

struct Worker {
    voter: Voter,
    nature: Nature,
    exposed: bool,
    has_lied: bool,
    /// When it came, in votes of all.
    joined: u64,
    earned: f64,
    earned_by_lies: f64,
    spent: f64,
}

struct Task {
    ballot: Ballot,
    /// Workers that have yet to vote.
    asked: Vec<usize>,
    draw: Draw,
    /// Liars lie on the tasks with the lowest moods.
    mood: f64,
    answer: Option<Digest>,
    lied_on: bool,
    hurried: bool,
    delivered: bool,
    /// Open while at least half of the liars lied.
    at_risk: bool,
}

#[derive(Clone, Debug)]
struct Scenario {
    policy: Policy,
    terms: Terms,
    workers: usize,
    tasks: usize,
    liars: f64,
    nature: Nature,
    /// All liars belong to one owner.
    sybil: bool,
    /// A liar that is exposed comes back under a new name.
    returning: bool,
    crashes: Crashes,
}

/// Where more than the usual share of liars is expected, votes that differ need more honest workers to be decided.
fn scenario(share: f64, nature: Nature) -> Scenario {
    let usual = share <= 0.2;
    Scenario {
        policy: Policy { liars: if usual { 0.2 } else { share }.try_into().unwrap(), ..Policy::default() },
        terms: terms(1e-3, 100),
        workers: if usual { 40 } else { 60 },
        tasks: if usual { 800 } else { 600 },
        liars: share,
        nature,
        sybil: false,
        returning: false,
        crashes: Crashes::Never,
    }
}

fn terms(max_error: f64, outlook: u64) -> Terms {
    Terms { max_error: max_error.try_into().unwrap(), votes_max: 60, outlook }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Tally {
    delivered: u64,
    wrong: u64,
    /// Of tasks at risk.
    delivered_at_risk: u64,
    wrong_at_risk: u64,
    failed: u64,
    reopened: u64,
    honest_exposed: u64,
    liars: u64,
    liars_exposed: u64,
    /// Tasks and their votes, of the first tenth and of the last half.
    fresh: (u64, u64),
    grown: (u64, u64),
    /// Of all tasks.
    votes: u64,
    liars_net: f64,
    liars_by_lies: f64,
    honest_net: f64,
    honest: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.wrong += other.wrong;
        self.delivered_at_risk += other.delivered_at_risk;
        self.wrong_at_risk += other.wrong_at_risk;
        self.failed += other.failed;
        self.reopened += other.reopened;
        self.honest_exposed += other.honest_exposed;
        self.liars += other.liars;
        self.liars_exposed += other.liars_exposed;
        self.fresh = (self.fresh.0 + other.fresh.0, self.fresh.1 + other.fresh.1);
        self.grown = (self.grown.0 + other.grown.0, self.grown.1 + other.grown.1);
        self.votes += other.votes;
        self.liars_net += other.liars_net;
        self.liars_by_lies += other.liars_by_lies;
        self.honest_net += other.honest_net;
        self.honest += other.honest;
    }

    fn error(&self) -> f64 {
        self.wrong as f64 / self.delivered as f64
    }

    fn redundancy(&self) -> f64 {
        self.votes as f64 / self.delivered as f64
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
    /// Those not exposed.
    active: Vec<usize>,
    /// Of active workers.
    owners: usize,
    liars: usize,
    at_risk: bool,
    tasks: Vec<Task>,
    /// Tasks that want votes.
    open: Vec<usize>,
    /// Held-back tasks, and the count of votes at which they cannot wait any longer.
    patience: VecDeque<(u64, usize)>,
    votes: u64,
    durable: Vec<Fact>,
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
        let liars = (scenario.workers as f64 * scenario.liars).ceil() as usize;
        let mut world = Self {
            scenario,
            random: Random(seed),
            standings: Standings::new(scenario.policy),
            workers: Vec::new(),
            active: Vec::new(),
            owners: 0,
            liars,
            at_risk: false,
            tasks: Vec::new(),
            open: Vec::new(),
            patience: VecDeque::new(),
            votes: 0,
            durable: Vec::new(),
            tally: Tally::default(),
        };
        for index in 0..scenario.workers {
            world.join(if index < liars { scenario.nature } else { Nature::Honest });
        }
        world
    }

    fn join(&mut self, nature: Nature) {
        let index = self.workers.len();
        let one_owner = nature != Nature::Honest && self.scenario.sybil;
        let owner = OwnerId(worker_id(if one_owner { 0 } else { index }).0);
        self.owners += usize::from(!self.active.iter().any(|active| self.workers[*active].voter.owner == owner));
        self.active.push(index);
        self.workers.push(Worker {
            voter: Voter { worker: worker_id(index), owner, host: HostId(index as u64) },
            nature,
            exposed: false,
            has_lied: false,
            joined: self.votes,
            earned: 0.0,
            earned_by_lies: 0.0,
            spent: 0.0,
        });
    }

    /// Returns tasks that wait for no other vote than this worker's.
    fn leave(&mut self, index: usize) -> Vec<usize> {
        self.workers[index].exposed = true;
        self.active.retain(|active| *active != index);
        let owner = self.workers[index].voter.owner;
        self.owners -= usize::from(!self.active.iter().any(|active| self.workers[*active].voter.owner == owner));
        let mut waiting = Vec::new();
        for &task in &self.open {
            let asked = &mut self.tasks[task].asked;
            let before = asked.len();
            asked.retain(|asked| *asked != index);
            if asked.is_empty() && before > 0 {
                waiting.push(task);
            }
        }
        waiting
    }

    fn turned(&self, worker: &Worker) -> bool {
        match worker.nature {
            Nature::Honest => false,
            Nature::Liar { after, .. } | Nature::Cautious { after, .. } | Nature::Once { after } => {
                self.votes >= worker.joined + after * self.scenario.workers as u64
            }
            Nature::Copier => true,
        }
    }

    fn look_at_risk(&mut self) {
        let turned = self.active.iter().filter(|index| self.turned(&self.workers[**index])).count();
        let at_risk = 2 * turned >= self.liars;
        if at_risk && !self.at_risk {
            self.open.iter().for_each(|task| self.tasks[*task].at_risk = true);
        }
        self.at_risk = at_risk;
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
        if self.votes.is_multiple_of(self.scenario.workers as u64 / 4) {
            self.look_at_risk();
        }
        let place = self.random.below(self.open.len());
        self.vote(self.open[place]);
        match self.scenario.crashes {
            Crashes::Log(votes) if self.votes.is_multiple_of(votes) => self.crash(self.durable.clone()),
            Crashes::Rows(votes) if self.votes.is_multiple_of(votes) => self.crash(self.rows()),
            _ => {}
        }
        true
    }

    fn crash(&mut self, facts: Vec<Fact>) {
        self.standings = Standings::new(self.scenario.policy);
        facts.into_iter().for_each(|fact| self.standings.restore(fact));
        for task in self.tasks.iter().filter(|task| !task.delivered) {
            self.standings.restore_ballot(&task.ballot);
        }
        self.standings.check_invariants();
    }

    fn rows(&self) -> Vec<Fact> {
        let mut standings = BTreeMap::new();
        let mut held = BTreeMap::new();
        for fact in self.durable.iter().cloned() {
            match fact {
                Fact::StandingChanged { worker, .. } | Fact::Exposed { worker, .. } => {
                    standings.insert(worker, fact);
                }
                Fact::Held { task, .. } => {
                    held.insert(task, fact);
                }
                Fact::Settled { task, .. } | Fact::Reopened { task, .. } | Fact::Recalled { task } => {
                    held.remove(&task);
                }
            }
        }
        held.into_values().chain(standings.into_values()).collect()
    }

    fn submit(&mut self) {
        let index = self.tasks.len();
        let id = TaskId { job: JobId(1), index: index as u64 };
        self.tasks.push(Task {
            ballot: Ballot::new(id, CLASS, Payer::Pool),
            asked: Vec::new(),
            draw: Draw(self.random.next()),
            mood: self.random.fraction(),
            answer: None,
            lied_on: false,
            hurried: false,
            delivered: false,
            at_risk: self.at_risk,
        });
        self.reopen(index);
    }

    /// The held-back result cannot wait any longer.
    fn hurry(&mut self, task: usize) {
        let mut facts = Vec::new();
        self.tasks[task].hurried = true;
        self.standings.recall(&self.tasks[task].ballot, &mut facts);
        facts.into_iter().for_each(|fact| self.apply(fact));
    }

    fn ask(&mut self, task: usize, votes: usize) {
        while self.tasks[task].asked.len() < votes {
            let worker = self.active[self.random.below(self.active.len())];
            let Task { ballot, asked, .. } = &mut self.tasks[task];
            let voter = self.workers[worker].voter;
            let same_owner = |asked: &usize| self.workers[*asked].voter.owner == voter.owner;
            if ballot.admits(&voter) && !asked.iter().any(same_owner) {
                asked.push(worker);
            }
        }
    }

    fn vote(&mut self, task: usize) {
        let place = self.random.below(self.tasks[task].asked.len());
        let lies = self.lies(self.tasks[task].asked[place], task);
        let worker = self.tasks[task].asked.swap_remove(place);
        self.cast(worker, task, lies);
        if self.tasks[task].asked.is_empty() {
            self.decide(task);
        }
    }

    fn cast(&mut self, worker: usize, task: usize, lies: bool) {
        let Worker { voter, nature, .. } = self.workers[worker];
        let ballot = &mut self.tasks[task].ballot;
        let commitment = match ballot.votes().first() {
            Some(first) if nature == Nature::Copier => first.commitment,
            _ => Commitment::new(voter.worker, ballot.task, if lies { WRONG } else { RIGHT }, SALT),
        };
        let idle = lies || nature == Nature::Copier && !ballot.votes().is_empty();
        let others_asked = self.tasks[task].asked.len();
        self.standings.cast(&mut self.tasks[task].ballot, voter, commitment, others_asked).unwrap();
        self.tasks[task].lied_on |= lies;
        self.workers[worker].has_lied |= lies;
        self.workers[worker].spent += if idle { IDLING } else { COMPUTING };
        self.votes += 1;
    }

    fn lies(&self, worker: usize, task: usize) -> bool {
        let (worker, task) = (&self.workers[worker], &self.tasks[task]);
        let first = task.ballot.votes().is_empty();
        self.turned(worker)
            && match worker.nature {
                Nature::Honest | Nature::Copier => false,
                Nature::Liar { rate, .. } => task.mood < rate,
                Nature::Cautious { rate, .. } if first => self.unobserved(task) && task.mood < rate,
                Nature::Once { .. } if first => self.unobserved(task) && !worker.has_lied,
                Nature::Cautious { .. } | Nature::Once { .. } => self.unobserved(task) && task.lied_on,
            }
    }

    /// As far as liars can know: who was asked, but not who will be.
    fn unobserved(&self, task: &Task) -> bool {
        let voted = task.ballot.votes().iter().map(|vote| index_of(vote.voter.worker));
        voted.chain(task.asked.iter().copied()).all(|index| self.workers[index].nature != Nature::Honest)
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
                Decision::Ask(votes) => return self.ask(task, votes),
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
        let sealed: Vec<_> =
            self.tasks[task].ballot.votes().iter().filter(|vote| vote.answer.is_none()).cloned().collect();
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
        if self.scenario.crashes != Crashes::Never {
            self.durable.push(fact.clone());
        }
        match fact {
            Fact::Settled { task, supporters } => self.deliver(task.index as usize, &supporters),
            Fact::Held { task, .. } => {
                let deadline = self.votes + self.scenario.terms.outlook * self.scenario.workers as u64;
                self.patience.push_back((deadline, task.index as usize));
            }
            Fact::Exposed { worker, .. } => {
                let nature = self.workers[index_of(worker)].nature;
                let waiting = self.leave(index_of(worker));
                self.tally.honest_exposed += u64::from(nature == Nature::Honest);
                self.tally.liars_exposed += u64::from(nature != Nature::Honest);
                if self.scenario.returning && nature != Nature::Honest {
                    self.join(nature);
                }
                waiting.into_iter().for_each(|task| self.decide(task));
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
        self.tally.delivered_at_risk += u64::from(task.at_risk);
        self.tally.wrong_at_risk += u64::from(task.at_risk && wrong);
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
        self.tally.votes = self.votes;
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

fn simulate(scenario: &Scenario) -> Tally {
    simulate_seeds(scenario, seeds())
}

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("GRISTMILL_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    given.map_or(0..SEEDS, |seed| seed..seed + 1)
}

#[expect(clippy::print_stderr, reason = "the seed replays the failure")]
fn simulate_seeds(scenario: &Scenario, seeds: std::ops::Range<u64>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
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
    let per = |sum: f64, count: u64| sum / count.max(1) as f64;
    println!(
        "{name:38} {:>3.0}% | wrong {:>7.1e} of {:>6}, at risk {:>7.1e} of {:>6}, failed {:>2} | redundancy {:>5.2}, \
         fresh {:>5.2}, grown {:>4.2} | exposed {:>3.0}% of liars, {:>2} honest | reopened {:>4.1}% | net: liar {:>6.2}, \
         of it by lies {:>4.2}, honest {:>7.2}",
        100.0 * scenario.liars,
        tally.error(),
        tally.delivered,
        tally.wrong_at_risk as f64 / tally.delivered_at_risk.max(1) as f64,
        tally.delivered_at_risk,
        tally.failed,
        tally.redundancy(),
        tally.fresh_redundancy(),
        tally.grown_redundancy(),
        100.0 * per(tally.liars_exposed as f64, tally.liars),
        tally.honest_exposed,
        100.0 * per(tally.reopened as f64, tally.delivered),
        per(tally.liars_net, tally.liars),
        per(tally.liars_by_lies, tally.liars),
        per(tally.honest_net, tally.honest),
    );
}

/// The bound holds over the whole history, and among the tasks that liars could do most harm to; these are few, so that
/// chance is granted three standard deviations.
fn assert_bound(name: &str, scenario: &Scenario, tally: &Tally) {
    let max_error = scenario.terms.max_error.get();
    assert!(tally.error() <= max_error, "{name}: {tally:?}");
    let expected = max_error * tally.delivered_at_risk as f64;
    assert!(tally.wrong_at_risk as f64 <= expected + 3.0 * expected.sqrt(), "{name}: {tally:?}");
}

fn check(name: &str, scenario: &Scenario) -> Tally {
    let tally = simulate(scenario);
    print_row(name, scenario, &tally);
    assert_bound(name, scenario, &tally);
    tally
}

const SHARES: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.35];

#[test]
fn the_bound_holds_in_every_cell() {
    for share in SHARES {
        for rate in [0.05, 0.25, 0.5, 1.0] {
            let name = format!("lies at {:.0}%", 100.0 * rate);
            let tally = check(&name, &scenario(share, Nature::Liar { rate, after: 0 }));
            assert!(rate < 1.0 || tally.liars_net < 0.0, "{share} {rate}: {tally:?}");
        }
    }
}

#[test]
fn a_good_past_lets_nobody_lie() {
    for share in SHARES {
        for after in [10, 50, 100] {
            let tasks = if share > 0.2 { 400 + 12 * after as usize } else { 500 + 14 * after as usize };
            let nature = Nature::Liar { rate: 1.0, after };
            let tally = check(&format!("lies after {after}"), &Scenario { tasks, ..scenario(share, nature) });
            assert!(tally.liars_by_lies < 0.1 * tally.liars as f64, "{share} {after}: {tally:?}");
        }
    }
}

/// A low rate comes closest to the bound: it leaves the liars time.
#[test]
fn colluders_that_know_each_other_do_not_know_who_is_asked_next() {
    for share in SHARES {
        check("lies unobserved", &scenario(share, Nature::Cautious { rate: 1.0, after: 0 }));
    }
    for after in [0, 50] {
        let nature = Nature::Cautious { rate: 0.05, after };
        check(&format!("lies unobserved at 5% after {after}"), &Scenario { tasks: 3_000, ..scenario(0.2, nature) });
    }
}

/// Redundancy in a long-running pool, by the error bound and by how long results may be held back.
#[test]
fn a_good_past_makes_results_cheap() {
    for (max_error, outlook, tasks, redundancy) in [
        (1e-2, 0, 2_000, 4.0),
        (1e-2, 100, 16_000, 1.22),
        (1e-3, 0, 2_000, 5.0),
        (1e-3, 100, 8_000, 2.0),
        (1e-3, 2_000, 200_000, 1.1),
        (1e-4, 120, 8_000, 4.0),
    ] {
        let always = Nature::Liar { rate: 1.0, after: 0 };
        let scenario = Scenario { terms: terms(max_error, outlook), tasks, ..scenario(0.2, always) };
        let tally = simulate_seeds(&scenario, 0..(80_000 / tasks as u64).max(2));
        print_row(&format!("error {max_error:.0e}, outlook {outlook}"), &scenario, &tally);
        assert_bound("a long-running pool", &scenario, &tally);
        assert!((tally.grown_redundancy() / redundancy - 1.0).abs() < 0.05, "{max_error} {outlook}: {tally:?}");
    }
}

#[test]
fn a_fifth_of_liars_costs_little_in_the_long_run() {
    for (rate, after) in [(0.05, 0), (1.0, 50), (0.05, 50)] {
        let name = format!("lies at {:.0}% after {after}, long run", 100.0 * rate);
        let tally = check(&name, &Scenario { tasks: 4_500, ..scenario(0.2, Nature::Liar { rate, after }) });
        assert!(tally.grown_redundancy() <= 2.4 && tally.redundancy() <= 2.9, "{name}: {tally:?}");
    }
}

/// Nearly half of the workers, where a fifth is assumed.
#[test]
fn many_names_of_one_owner_are_one_voice() {
    for rate in [0.05, 1.0] {
        let nature = Nature::Liar { rate, after: 0 };
        let scenario = Scenario { sybil: true, policy: Policy::default(), ..scenario(0.45, nature) };
        let tally = check("one owner", &scenario);
        assert_eq!((tally.wrong, tally.honest_exposed), (0, 0), "{tally:?}");
    }
}

#[test]
fn whoever_copies_gains_nothing() {
    let tally = check("copies", &scenario(0.2, Nature::Copier));
    assert_eq!((tally.liars_exposed, tally.honest_exposed), (tally.liars, 0));
    assert!(tally.liars_net < 0.0, "{tally:?}");
}

#[test]
fn whoever_comes_back_under_a_new_name_starts_anew() {
    for (rate, after) in [(1.0, 0), (0.05, 0), (1.0, 10)] {
        let name = format!("lies at {:.0}% after {after}, returns", 100.0 * rate);
        check(&name, &Scenario { returning: true, ..scenario(0.2, Nature::Liar { rate, after }) });
    }
}

/// No bound per task is promised against those, but one per name: each lie is met by an honest second vote with
/// probability 1 - f at least.
#[test]
fn whoever_lies_once_and_never_again_does_little() {
    for after in [0, 50] {
        let scenario = Scenario { tasks: 1_500, ..scenario(0.2, Nature::Once { after }) };
        let tally = simulate(&scenario);
        print_row(&format!("lies once after {after}"), &scenario, &tally);
        assert!((tally.wrong as f64) < 0.25 * tally.liars as f64, "{tally:?}");
    }
}

/// Where the share of liars is larger than assumed, the bound is broken at first. It is kept in the long run, since
/// they are exposed all the same.
#[test]
fn more_liars_than_assumed_are_exposed_too() {
    for (rate, after) in [(1.0, 0), (0.05, 0), (1.0, 50)] {
        let nature = Nature::Liar { rate, after };
        let scenario = Scenario { policy: Policy::default(), tasks: 1_500, ..scenario(0.35, nature) };
        let tally = simulate(&scenario);
        print_row(&format!("lies at {:.0}% after {after}, 20% assumed", 100.0 * rate), &scenario, &tally);
        assert!(tally.error() <= scenario.terms.max_error.get(), "{tally:?}");
    }
}

#[test]
fn a_restored_engine_goes_on_as_the_one_that_crashed() {
    for nature in [Nature::Liar { rate: 0.25, after: 10 }, Nature::Copier] {
        let run = |crashes, seed| World::new(&Scenario { crashes, ..scenario(0.2, nature) }, seed).run();
        for seed in 0..3 {
            assert_eq!(run(Crashes::Log(7), seed), run(Crashes::Never, seed), "seed {seed}");
            // Without their order, how many votes are typical is forgotten, and no more.
            assert!(run(Crashes::Rows(500), seed).delivered > 700, "seed {seed}");
        }
    }
}

/// Falls on no result that is not always checked.
const NO_CHECK: Draw = Draw(u64::MAX);

fn voter(index: u8) -> Voter {
    Voter { worker: WorkerId([index; 20]), owner: OwnerId([index; 20]), host: HostId(u64::from(index)) }
}

fn ballot(index: u64, payer: Payer) -> Ballot {
    Ballot::new(TaskId { job: JobId(1), index }, CLASS, payer)
}

fn cast(standings: &mut Standings, ballot: &mut Ballot, index: u8, answer: Digest) {
    let commitment = Commitment::new(voter(index).worker, ballot.task, answer, SALT);
    standings.cast(ballot, voter(index), commitment, 0).unwrap();
}

fn vote(standings: &mut Standings, ballot: &mut Ballot, index: u8, answer: Digest) {
    cast(standings, ballot, index, answer);
    ballot.open(voter(index).worker, answer, SALT).unwrap();
}

/// Decides with a draw that leads to no check, and draws the consequences.
fn certify(standings: &mut Standings, ballot: &mut Ballot, terms: &Terms) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Decision::Certify(certificate) = standings.decide(ballot, terms, 99, NO_CHECK) else {
        panic!("{:?}", standings.decide(ballot, terms, 99, NO_CHECK))
    };
    standings.certify(ballot, &certificate, &mut facts);
    standings.check_invariants();
    facts
}

/// Lets workers 1 and 2 agree on so many tasks.
fn prove(standings: &mut Standings, payer: Payer, tasks: u64) -> Vec<Fact> {
    let mut facts = Vec::new();
    for index in 0..tasks {
        let mut ballot = ballot(1_000 + index, payer);
        for worker in 1..=5 {
            vote(standings, &mut ballot, worker, RIGHT);
        }
        facts.extend(certify(standings, &mut ballot, &terms(1e-3, 0)));
    }
    facts
}

#[test]
fn standing_is_proven_on_jobs_that_others_pay_for() {
    for (payer, proven) in [
        (Payer::Pool, [3, 3]),
        (Payer::Nobody, [0, 0]),
        (Payer::Owner(voter(1).owner), [0, 3]),
        (Payer::Owner(voter(9).owner), [3, 3]),
    ] {
        let mut standings = Standings::new(Policy::default());
        prove(&mut standings, payer, 3);
        let agreed = [1, 2].map(|worker| standings.standing(voter(worker).worker, CLASS).agreed);
        assert_eq!(agreed, proven, "{payer:?}");
        // Who voted first was alone at that time.
        assert_eq!(standings.standing(voter(2).worker, CLASS).passed, 0);
    }
}

#[test]
fn newcomers_need_no_more_than_other_votes() {
    let standings = Standings::new(Policy::default());
    let ballot = ballot(1, Payer::Pool);
    assert_eq!(standings.decide(&ballot, &terms(1e-3, 100), 99, NO_CHECK), Decision::Ask(5));
    assert_eq!(
        standings.decide(&ballot, &terms(1e-3, 100), 4, NO_CHECK),
        Decision::GiveUp(Hopeless::TooFewVoters { more: 5, left: 4 })
    );
    let few = Terms { votes_max: 3, ..terms(1e-3, 100) };
    let hopeless = Hopeless::TooManyVotes { wanted: 5, votes_max: 3 };
    assert_eq!(standings.decide(&ballot, &few, 99, NO_CHECK), Decision::GiveUp(hopeless));
}

#[test]
fn the_proven_are_believed_on_fewer_votes_and_paid_later() {
    let mut standings = Standings::new(Policy::default());
    prove(&mut standings, Payer::Pool, 40);
    let terms = terms(1e-3, 100);
    let mut first = ballot(1, Payer::Pool);
    assert_eq!(standings.decide(&first, &terms, 99, NO_CHECK), Decision::Ask(1), "nobody else may be asked yet");
    vote(&mut standings, &mut first, 2, RIGHT);
    assert_eq!(standings.decide(&first, &terms, 99, NO_CHECK), Decision::Ask(1));
    vote(&mut standings, &mut first, 3, RIGHT);
    let facts = certify(&mut standings, &mut first, &terms);
    assert!(matches!(facts.last(), Some(Fact::Held { due: 30, .. })), "{facts:?}");
    // It has passed one check by this vote itself, and 29 more settle it.
    for index in 2..=30 {
        assert_eq!(standings.held() as u64, index - 1);
        let mut ballot = ballot(index, Payer::Pool);
        vote(&mut standings, &mut ballot, 2, RIGHT);
        vote(&mut standings, &mut ballot, 4, RIGHT);
        let facts = certify(&mut standings, &mut ballot, &terms);
        let settled = facts.iter().any(|fact| matches!(fact, Fact::Settled { task, .. } if *task == first.task));
        assert_eq!(settled, index == 30, "{index}: {facts:?}");
    }
}

#[test]
fn what_cannot_wait_is_bought_with_votes_instead() {
    let mut standings = Standings::new(Policy::default());
    prove(&mut standings, Payer::Pool, 40);
    let mut ballot = ballot(1, Payer::Pool);
    vote(&mut standings, &mut ballot, 1, RIGHT);
    vote(&mut standings, &mut ballot, 2, RIGHT);
    certify(&mut standings, &mut ballot, &terms(1e-3, 100));
    let before = standings.standing(voter(1).worker, CLASS);
    let mut facts = Vec::new();
    standings.recall(&ballot, &mut facts);
    assert_eq!(facts, [Fact::Recalled { task: ballot.task }]);
    assert_eq!(standings.decide(&ballot, &terms(1e-3, 0), 99, NO_CHECK), Decision::Ask(3));
    for worker in 3..=5 {
        vote(&mut standings, &mut ballot, worker, RIGHT);
    }
    let facts = certify(&mut standings, &mut ballot, &terms(1e-3, 0));
    let everybody = (1..=5).map(|worker| voter(worker).worker).collect();
    assert_eq!(facts.last(), Some(&Fact::Settled { task: ballot.task, supporters: everybody }));
    assert_eq!(standings.standing(voter(1).worker, CLASS), before, "a vote is a check once");
}

#[test]
fn a_liar_takes_down_what_rests_on_it() {
    let mut standings = Standings::new(Policy::default());
    prove(&mut standings, Payer::Pool, 40);
    for (index, [one, other]) in [[1, 2], [2, 3], [3, 4]].into_iter().enumerate() {
        let mut ballot = ballot(index as u64, Payer::Pool);
        vote(&mut standings, &mut ballot, one, RIGHT);
        vote(&mut standings, &mut ballot, other, RIGHT);
        certify(&mut standings, &mut ballot, &terms(1e-3, 100));
    }
    let mut contested = ballot(9, Payer::Pool);
    vote(&mut standings, &mut contested, 2, WRONG);
    for worker in 11..=16 {
        vote(&mut standings, &mut contested, worker, RIGHT);
    }
    let facts = certify(&mut standings, &mut contested, &terms(1e-3, 100));
    let reopened: Vec<u64> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Reopened { task, liar } if *liar == voter(2).worker => Some(task.index),
            _ => None,
        })
        .collect();
    assert_eq!(reopened, [1, 0], "as first and as second voter, but not the third");
    let refused = standings.cast(&mut ballot(10, Payer::Pool), voter(2), contested.votes()[0].commitment, 0);
    assert_eq!(refused, Err(CastError::Exposed));
}

#[test]
fn lone_votes_are_checked_at_least_so_often_and_nobody_knows_which() {
    let mut standings = Standings::new(Policy::default());
    prove(&mut standings, Payer::Pool, 200);
    let mut ballot = ballot(1, Payer::Pool);
    cast(&mut standings, &mut ballot, 1, RIGHT);
    let decision = |outlook, draw: f64| {
        let draw = Draw((draw * u64::MAX as f64) as u64);
        standings.decide(&ballot, &terms(1e-3, outlook), 99, draw)
    };
    assert_eq!(decision(u64::MAX, 0.099), Decision::Ask(1));
    assert_eq!(decision(u64::MAX, 0.101), Decision::Open);
    // The shorter the hold-back, the more checks: 1.5 * 115 / (600 - 1.5 * 115) = 0.4.
    assert_eq!(decision(600, 0.40), Decision::Ask(1));
    assert_eq!(decision(600, 0.41), Decision::Open);
    assert_eq!(decision(300, 0.99), Decision::Ask(1), "two votes are cheaper");
}

#[test]
fn who_knew_of_others_proves_nothing() {
    let mut standings = Standings::new(Policy::default());
    prove(&mut standings, Payer::Pool, 200);
    let mut ballot = ballot(1, Payer::Pool);
    let commitment = Commitment::new(voter(1).worker, ballot.task, RIGHT, SALT);
    standings.cast(&mut ballot, voter(1), commitment, 1).unwrap();
    let decision = standings.decide(&ballot, &terms(1e-3, u64::MAX), 99, NO_CHECK);
    assert_eq!(decision, Decision::Ask(4), "only votes help");
}

#[test]
fn a_vote_is_bound_and_nobody_votes_on_what_was_shown() {
    let mut standings = Standings::new(Policy::default());
    let mut ballot = ballot(1, Payer::Pool);
    cast(&mut standings, &mut ballot, 1, RIGHT);
    cast(&mut standings, &mut ballot, 2, RIGHT);
    let stolen = ballot.votes()[0].commitment;
    standings.cast(&mut ballot, voter(3), stolen, 0).unwrap();
    assert_eq!(ballot.open(voter(1).worker, WRONG, SALT), Err(OpenError::NotCommitted));
    ballot.open(voter(1).worker, RIGHT, SALT).unwrap();
    assert_eq!(ballot.open(voter(1).worker, RIGHT, SALT), Err(OpenError::NoSealedVote));
    assert_eq!(ballot.open(voter(3).worker, RIGHT, SALT), Err(OpenError::NotCommitted), "of use to its maker only");
    let late = Commitment::new(voter(4).worker, ballot.task, RIGHT, SALT);
    assert_eq!(standings.cast(&mut ballot, voter(4), late, 0), Err(CastError::Opening));
    ballot.open(voter(2).worker, RIGHT, SALT).unwrap();
    let mut facts = Vec::new();
    standings.withheld(&mut ballot, voter(3).worker, &mut facts);
    assert!(matches!(facts[..], [Fact::Exposed { why: Why::Withheld, .. }]), "{facts:?}");
    standings.cast(&mut ballot, voter(4), late, 0).unwrap();
}

/// Somebody could otherwise have honest workers exposed by a job that is content with little.
#[test]
fn nobody_is_exposed_on_weak_evidence() {
    let mut standings = Standings::new(Policy::default());
    let mut ballot = ballot(1, Payer::Nobody);
    let loose = terms(0.3, 0);
    assert_eq!(standings.decide(&ballot, &loose, 99, NO_CHECK), Decision::Ask(1));
    vote(&mut standings, &mut ballot, 1, RIGHT);
    vote(&mut standings, &mut ballot, 2, WRONG);
    vote(&mut standings, &mut ballot, 3, WRONG);
    assert_eq!(standings.decide(&ballot, &loose, 99, NO_CHECK), Decision::Ask(4));
}

/// What is estimated for a new pool is what a simulated one costs at first, and for a proven one later.
#[test]
fn the_estimate_is_what_it_costs() {
    let mut standings = Standings::new(Policy::default());
    let fresh = standings.estimate(CLASS, &terms(1e-3, 100), 40).unwrap();
    assert_eq!((fresh.quiet.redundancy, fresh.hold), (5.0, 0));
    // Votes until one answer leads by five, a fifth of them wrong: 5 (1 - 2 / 1025) / 0.6 if nothing stopped before.
    assert!((fresh.hostile.redundancy - 8.317).abs() < 0.01, "{fresh:?}");
    assert!((fresh.hostile.cost_factor - 0.8 * fresh.hostile.redundancy).abs() < 1e-9);
    prove(&mut standings, Payer::Pool, 400);
    for (outlook, redundancy, hold) in [(0, 5.0, 0), (40, 3.0, 8), (100, 2.0, 29), (2_000, 1.1, 115)] {
        let proven = standings.estimate(CLASS, &terms(1e-3, outlook), 40).unwrap();
        assert_eq!((proven.quiet.redundancy, proven.hold), (redundancy, hold), "{outlook}");
        assert_eq!(proven.quiet.cost_factor, redundancy);
    }
    let hopeless = Hopeless::TooFewVoters { more: 5, left: 4 };
    assert_eq!(standings.estimate(CLASS, &terms(1e-3, 0), 4), Err(hopeless));
}

#[test]
fn fractions_are_checked_where_they_come_in() {
    for number in [0.0, 0.5, -0.1, f64::NAN, f64::INFINITY] {
        assert!(Fraction::try_from(number).is_err(), "{number}");
    }
    let text = r#"{"max_error":0.6,"votes_max":9,"outlook":0}"#;
    let refused = serde_json::from_str::<Terms>(text).unwrap_err().to_string();
    assert!(refused.starts_with("0.6 is not a number above 0 and below 0.5"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_worker_owner_or_host_votes_twice(voters in prop::collection::vec((0..9u8, 0..6u8, 0..6u64), 1..40)) {
        let mut standings = Standings::new(Policy::default());
        let mut ballot = ballot(1, Payer::Pool);
        for (worker, owner, host) in voters {
            let voter = Voter { worker: WorkerId([worker; 20]), owner: OwnerId([owner; 20]), host: HostId(host) };
            let admitted = ballot.admits(&voter);
            let commitment = Commitment::new(voter.worker, ballot.task, RIGHT, SALT);
            prop_assert_eq!(standings.cast(&mut ballot, voter, commitment, 0).is_ok(), admitted);
        }
        let distinct = |of: fn(&Voter) -> u64| {
            ballot.votes().iter().map(|vote| of(&vote.voter)).collect::<BTreeSet<_>>().len() == ballot.votes().len()
        };
        prop_assert!(distinct(|voter| u64::from(voter.worker.0[0])));
        prop_assert!(distinct(|voter| u64::from(voter.owner.0[0])));
        prop_assert!(distinct(|voter| voter.host.0));
    }

    /// Whatever is answered in whatever order: votes are asked for until either all agree and are enough, or one
    /// answer leads by as many as the bound asks for.
    #[test]
    fn a_certificate_follows_from_its_votes(
        answers in prop::collection::vec(0..3u8, 60),
        proven in 0..60u64,
        outlook in 0..3_000u64,
        max_error in prop::sample::select(vec![0.2, 1e-2, 1e-3, 1e-5]),
        draw: u64,
    ) {
        let mut standings = Standings::new(Policy::default());
        prove(&mut standings, Payer::Pool, proven);
        let terms = terms(max_error, outlook);
        let mut ballot = ballot(1, Payer::Pool);
        let mut answers = answers.into_iter().zip(1..);
        let lead = (max_error.min(1e-3).ln() / 0.25f64.ln()).ceil() as usize;
        loop {
            match standings.decide(&ballot, &terms, 99, Draw(draw)) {
                Decision::Ask(votes) => {
                    for (answer, index) in answers.by_ref().take(votes) {
                        vote(&mut standings, &mut ballot, index, Digest([answer; 32]));
                    }
                }
                Decision::Open => prop_assert!(false, "all votes are open"),
                Decision::GiveUp(Hopeless::TooManyVotes { wanted, .. }) => {
                    prop_assert!(wanted > terms.votes_max);
                    break;
                }
                Decision::GiveUp(hopeless) => prop_assert!(false, "{hopeless}"),
                Decision::Certify(certificate) => {
                    let votes = |answer| ballot.votes().iter().filter(|vote| vote.answer == Some(answer)).count();
                    let won = votes(certificate.answer);
                    prop_assert_eq!(won, certificate.supporters.len());
                    prop_assert_eq!(ballot.votes().len(), won + certificate.dissenters.len());
                    let second = (0..3).map(|answer| Digest([answer; 32])).filter(|answer| *answer != certificate.answer);
                    let second = second.map(votes).max().unwrap();
                    prop_assert!(second == 0 || won - second == lead && certificate.hold == 0);
                    let mut facts = Vec::new();
                    standings.certify(&mut ballot, &certificate, &mut facts);
                    standings.check_invariants();
                    break;
                }
            }
        }
    }
}
