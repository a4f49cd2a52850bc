use std::collections::{BTreeSet, HashMap};

use gristmill_proto::id::{TaskId, WorkerId};
use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, CastError, Vote, Voter};
use super::decide::{self, Certificate, Decision};
use super::{AppClass, Commitment, Draw, Policy, Terms};

/// What a worker has proven in one class of apps. A newcomer has proven nothing, and needs nothing else to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Votes that another's agreed with, on jobs that let them prove something. They decide with how many votes a task
    /// begins.
    pub agreed: u64,
    /// Of these, checks: cast before anyone else was asked. They end a hold-back.
    pub passed: u64,
    /// It lied: it gets no more tasks of this class, and its votes count for nothing.
    pub exposed: bool,
}

/// What must be made durable, in order. The latest [`Fact::StandingChanged`] or [`Fact::Exposed`] of each worker and
/// class, and each [`Fact::Held`] without a later fact of its task, are all that [`Standings::restore`] needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    StandingChanged {
        worker: WorkerId,
        class: AppClass,
        standing: Standing,
    },
    Exposed {
        worker: WorkerId,
        class: AppClass,
        standing: Standing,
        task: TaskId,
        why: Why,
    },
    /// A result is certified, but neither delivered nor paid before its first supporter has passed `due` checks.
    Held {
        task: TaskId,
        class: AppClass,
        supporters: Vec<WorkerId>,
        due: u64,
    },
    /// The result may be delivered, and these workers are to be paid for it.
    Settled {
        task: TaskId,
        supporters: Vec<WorkerId>,
    },
    /// A held-back result rests on a liar: it is certified no more, and its ballot must be decided anew.
    Reopened {
        task: TaskId,
        liar: WorkerId,
    },
    /// A held-back result could not wait any longer: its ballot must be decided anew.
    Recalled {
        task: TaskId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Contradicted,
    /// Committed, but did not show to what. If that were free, a liar would do it whenever it was checked.
    Withheld,
}

/// What a worker has proven, and the unsettled results that rest on it.
#[derive(Debug, Default)]
struct Record {
    standing: Standing,
    /// Blind votes on tasks without a certificate so far: checks that it may yet pass by the past.
    undecided: u64,
    /// Results of which it is the first supporter, by how many checks it must pass for them.
    waiting: BTreeSet<(u64, TaskId)>,
    /// Results that it supports but not as the first.
    seconded: BTreeSet<TaskId>,
}

#[derive(Debug, Default)]
struct Class {
    records: HashMap<WorkerId, Record>,
    /// In how many votes those have been agreed with who are these days. Only a guess at who will vote next.
    typical: f64,
}

/// The last few dozen votes make the typical worker.
const TYPICAL_MEMORY: f64 = 32.0;

#[derive(Debug)]
struct Held {
    class: AppClass,
    supporters: Vec<WorkerId>,
    due: u64,
}

/// What workers have proven, and which results are held back until they prove more.
#[derive(Debug)]
pub struct Standings {
    policy: Policy,
    classes: HashMap<AppClass, Class>,
    held: HashMap<TaskId, Held>,
}

impl Standings {
    pub fn new(policy: Policy) -> Self {
        Self { policy, classes: HashMap::new(), held: HashMap::new() }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn standing(&self, worker: WorkerId, class: AppClass) -> Standing {
        self.classes.get(&class).map(|class| class.standing(worker)).unwrap_or_default()
    }

    /// Certified results that are not settled.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn typical(&self, class: AppClass) -> f64 {
        self.classes.get(&class).map_or(0.0, |class| class.typical)
    }

    /// Takes a commitment. `others_asked` counts other workers that hold a lease for this task at the moment.
    pub fn cast(
        &mut self,
        ballot: &mut Ballot,
        voter: Voter,
        commitment: Commitment,
        others_asked: usize,
    ) -> Result<(), CastError> {
        if !ballot.admits(&voter) {
            return Err(CastError::VotedAlready);
        }
        let class = self.classes.entry(ballot.class).or_default();
        let round = class.round(ballot).ok_or(CastError::Opening)?;
        let record = class.records.entry(voter.worker).or_default();
        if record.standing.exposed {
            return Err(CastError::Exposed);
        }
        let blind = ballot.votes.is_empty() && others_asked == 0;
        record.undecided += u64::from(blind);
        let mark = record.standing.passed + record.undecided;
        ballot.votes.push(Vote { voter, commitment, answer: None, round, blind, mark, decided: false });
        Ok(())
    }

    /// What to do next about a task: called after each vote, and again if one of its voters was exposed. `voters_left`
    /// counts owners that have not voted and might.
    pub fn decide(&self, ballot: &Ballot, terms: &Terms, voters_left: usize, draw: Draw) -> Decision {
        let class = self.classes.get(&ballot.class);
        let counted = ballot.counted(|worker| class.map(|class| class.standing(worker)).unwrap_or_default());
        let typical = class.map_or(0.0, |class| class.typical);
        let decision = decide::decide(&counted, &self.policy, terms, typical, draw);
        decide::possible(decision, voters_left)
    }

    /// Draws the consequences of a certificate: exposes liars, counts checks, holds results back or settles them.
    pub fn certify(&mut self, ballot: &mut Ballot, certificate: &Certificate, facts: &mut Vec<Fact>) {
        let Ballot { task, class, payer, .. } = *ballot;
        self.release(task);
        for &liar in &certificate.dissenters {
            self.expose(liar, class, task, Why::Contradicted, facts);
        }
        let compared = certificate.supporters.len() > 1;
        let mut done = Vec::new();
        let known = self.classes.entry(class).or_default();
        for vote in ballot.votes.iter_mut().filter(|vote| !vote.decided) {
            vote.decided = true;
            let Voter { worker, owner, .. } = vote.voter;
            let Standing { agreed, passed, exposed } = known.decided(vote);
            let right = vote.answer == Some(certificate.answer) && !exposed;
            if compared && right && payer.lets_prove(owner) {
                let standing = Standing { agreed: agreed + 1, passed: passed + u64::from(vote.blind), exposed };
                facts.push(Fact::StandingChanged { worker, class, standing });
                done.extend(known.set(worker, standing));
            }
        }
        done.into_iter().for_each(|task| self.settle(task, facts));
        if certificate.hold == 0 {
            facts.push(Fact::Settled { task, supporters: certificate.supporters.clone() });
        } else {
            self.hold(ballot, certificate, facts);
        }
    }

    fn hold(&mut self, ballot: &Ballot, certificate: &Certificate, facts: &mut Vec<Fact>) {
        let Ballot { task, class, .. } = *ballot;
        let supporters = certificate.supporters.clone();
        let first = ballot.votes.iter().find(|vote| vote.voter.worker == supporters[0]).expect("it is on the ballot");
        let due = first.mark + certificate.hold;
        let passed = self.standing(supporters[0], class).passed;
        facts.push(Fact::Held { task, class, supporters: supporters.clone(), due });
        self.wait(task, Held { class, supporters, due });
        // The vote that made this certificate may have been the last check it waited for.
        if passed >= due {
            self.settle(task, facts);
        }
    }

    fn wait(&mut self, task: TaskId, held: Held) {
        let class = self.classes.entry(held.class).or_default();
        for (index, &worker) in held.supporters.iter().enumerate() {
            let record = class.records.entry(worker).or_default();
            if index == 0 {
                record.waiting.insert((held.due, task));
            } else {
                record.seconded.insert(task);
            }
        }
        self.held.insert(task, held);
    }

    fn settle(&mut self, task: TaskId, facts: &mut Vec<Fact>) {
        if let Some(held) = self.release(task) {
            facts.push(Fact::Settled { task, supporters: held.supporters });
        }
    }

    fn release(&mut self, task: TaskId) -> Option<Held> {
        let held = self.held.remove(&task)?;
        let class = self.classes.get_mut(&held.class)?;
        for worker in &held.supporters {
            if let Some(record) = class.records.get_mut(worker) {
                record.waiting.remove(&(held.due, task));
                record.seconded.remove(&task);
            }
        }
        Some(held)
    }

    /// A vote was not opened within the time given for it.
    pub fn withheld(&mut self, ballot: &mut Ballot, worker: WorkerId, facts: &mut Vec<Fact>) {
        let sealed = |vote: &Vote| vote.voter.worker == worker && vote.answer.is_none();
        if ballot.votes.iter().any(sealed) {
            ballot.votes.retain(|vote| !sealed(vote));
            self.expose(worker, ballot.class, ballot.task, Why::Withheld, facts);
        }
    }

    /// Bars a worker and opens again whatever is held back that it voted for.
    fn expose(&mut self, worker: WorkerId, class: AppClass, task: TaskId, why: Why, facts: &mut Vec<Fact>) {
        let record = self.classes.entry(class).or_default().records.entry(worker).or_default();
        if record.standing.exposed {
            return;
        }
        record.standing.exposed = true;
        facts.push(Fact::Exposed { worker, class, standing: record.standing, task, why });
        let waiting = record.waiting.iter().map(|(_, task)| *task);
        for task in waiting.chain(record.seconded.iter().copied()).collect::<Vec<_>>() {
            self.release(task);
            facts.push(Fact::Reopened { task, liar: worker });
        }
    }

    /// A held-back result cannot wait any longer: it is decided anew, with an [outlook](Terms::outlook) of zero.
    pub fn recall(&mut self, ballot: &Ballot, facts: &mut Vec<Fact>) {
        if self.release(ballot.task).is_some() {
            facts.push(Fact::Recalled { task: ballot.task });
        }
    }

    /// The task ended without a certificate: it failed or was cancelled. Its votes prove nothing.
    pub fn forget(&mut self, ballot: &Ballot) {
        self.release(ballot.task);
        let Some(class) = self.classes.get_mut(&ballot.class) else { return };
        for vote in ballot.votes.iter().filter(|vote| !vote.decided) {
            class.decided(vote);
        }
    }

    /// Takes a fact back from the store.
    pub fn restore(&mut self, fact: Fact) {
        match fact {
            Fact::StandingChanged { worker, class, standing } => {
                self.classes.entry(class).or_default().set(worker, standing);
            }
            Fact::Exposed { worker, class, standing, .. } => {
                self.classes.entry(class).or_default().records.entry(worker).or_default().standing = standing;
            }
            Fact::Held { task, class, supporters, due } => self.wait(task, Held { class, supporters, due }),
            Fact::Settled { task, .. } | Fact::Reopened { task, .. } | Fact::Recalled { task } => {
                self.release(task);
            }
        }
    }

    /// Takes the ballot of a task that is neither settled nor failed back from the store.
    pub fn restore_ballot(&mut self, ballot: &Ballot) {
        let class = self.classes.entry(ballot.class).or_default();
        for vote in ballot.votes.iter().filter(|vote| vote.blind && !vote.decided) {
            class.records.entry(vote.voter.worker).or_default().undecided += 1;
        }
    }

    /// For tests.
    pub fn check_invariants(&self) {
        for (class, known) in &self.classes {
            for (worker, record) in &known.records {
                let rests = !record.waiting.is_empty() || !record.seconded.is_empty();
                assert!(!rests || !record.standing.exposed, "results rest on {worker}, a liar");
                for (due, task) in &record.waiting {
                    let held = &self.held[task];
                    assert!(
                        (held.class, held.due, held.supporters[0]) == (*class, *due, *worker),
                        "{task} of {worker}"
                    );
                    assert!(*due > record.standing.passed, "{task} has waited enough for {worker}");
                }
                for task in &record.seconded {
                    assert!(self.held[task].supporters[1..].contains(worker), "{task} of {worker}");
                }
            }
        }
        for (task, held) in &self.held {
            let first = &self.classes[&held.class].records[&held.supporters[0]];
            assert!(first.waiting.contains(&(held.due, *task)), "{task} waits for nobody");
        }
    }
}

impl Class {
    fn standing(&self, worker: WorkerId) -> Standing {
        self.records.get(&worker).map(|record| record.standing).unwrap_or_default()
    }

    /// The round that a vote would be cast in; none while one is being opened.
    fn round(&self, ballot: &Ballot) -> Option<u32> {
        let Some(last) = ballot.votes.iter().map(|vote| vote.round).max() else { return Some(0) };
        let this_round = || ballot.votes.iter().filter(|vote| vote.round == last);
        if this_round().all(|vote| vote.answer.is_none()) {
            return Some(last);
        }
        let waited_for = |vote: &Vote| vote.answer.is_none() && !self.standing(vote.voter.worker).exposed;
        (!this_round().any(waited_for)).then_some(last + 1)
    }

    /// The vote is no longer a check that its worker may yet pass.
    fn decided(&mut self, vote: &Vote) -> Standing {
        let record = self.records.entry(vote.voter.worker).or_default();
        record.undecided = record.undecided.saturating_sub(u64::from(vote.blind));
        record.standing
    }

    /// Returns the results that need not wait any longer.
    fn set(&mut self, worker: WorkerId, standing: Standing) -> Vec<TaskId> {
        #[expect(clippy::cast_precision_loss, reason = "a mean of counts")]
        let agreed = standing.agreed as f64;
        self.typical += (agreed - self.typical) / TYPICAL_MEMORY;
        let record = self.records.entry(worker).or_default();
        record.standing = standing;
        let due = record.waiting.iter().take_while(|(due, _)| *due <= standing.passed);
        due.map(|(_, task)| *task).collect()
    }
}
