use std::collections::{BTreeSet, HashMap};

use gristmill_proto::id::{JobId, TaskId, WorkerId};
use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, CastError, Commitment, Vote, Voter};
use super::decide::{self, Certificate, Decision};
use super::{AppClass, Draw, Policy, Terms};

/// What a worker has proven in one class of apps. A newcomer has proven nothing, and needs nothing else to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Votes compared with another's and found right, on jobs that let them prove something.
    pub passed: u64,
    /// It lied: it gets no more tasks of this class, and its votes count for nothing.
    pub exposed: bool,
}

/// What must be made durable, in order. The latest [`Fact::StandingChanged`] or [`Fact::Exposed`] of each worker and class and the
/// [`Fact::Held`] without a later fact of its task are all that [`Standings::restore`] needs.
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
    /// A result is certified, but neither delivered nor paid before each supporter has passed so many checks.
    Held {
        task: TaskId,
        class: AppClass,
        supporters: Vec<(WorkerId, u64)>,
    },
    /// The result may be delivered, and these workers are to be paid for it.
    Settled {
        task: TaskId,
        supporters: Vec<WorkerId>,
    },
    /// A held-back result rests on a liar: it is certified no more, and the ballot must be decided anew.
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

/// The checks a worker has passed and the results that wait for it to pass more.
#[derive(Debug, Default, PartialEq)]
struct Record {
    standing: Standing,
    /// Votes cast on tasks without a certificate so far: checks that it may yet pass by the past.
    undecided: u64,
    /// Unsettled results it voted for, by how many checks it must pass for them.
    unsettled: BTreeSet<(u64, TaskId)>,
}

#[derive(Debug, PartialEq)]
struct Held {
    class: AppClass,
    supporters: Vec<(WorkerId, u64)>,
    /// How many of them have yet to pass checks.
    waits_for: usize,
}

/// What workers have proven, and which results are held back until they prove more.
#[derive(Debug)]
pub struct Standings {
    policy: Policy,
    records: HashMap<(WorkerId, AppClass), Record>,
    held: HashMap<TaskId, Held>,
    /// How many checks those have passed who pass them these days. Only a guess at who will vote next.
    typical: HashMap<AppClass, f64>,
}

const FIRST_TASK: TaskId = TaskId { job: JobId(0), index: 0 };

/// The last few dozen votes make the typical one.
const TYPICAL_MEMORY: f64 = 32.0;

impl Standings {
    pub fn new(policy: Policy) -> Self {
        Self { policy, records: HashMap::new(), held: HashMap::new(), typical: HashMap::new() }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn standing(&self, worker: WorkerId, class: AppClass) -> Standing {
        self.records.get(&(worker, class)).map(|record| record.standing).unwrap_or_default()
    }

    /// Certified results that are not settled.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn typical(&self, class: AppClass) -> f64 {
        self.typical.get(&class).copied().unwrap_or_default()
    }

    /// Takes a commitment.
    pub fn cast(&mut self, ballot: &mut Ballot, voter: Voter, commitment: Commitment) -> Result<(), CastError> {
        if self.standing(voter.worker, ballot.class).exposed {
            return Err(CastError::Exposed);
        }
        if !ballot.admits(&voter) {
            return Err(CastError::VotedAlready);
        }
        let round = self.round(ballot).ok_or(CastError::Opening)?;
        let record = self.records.entry((voter.worker, ballot.class)).or_default();
        record.undecided += 1;
        let mark = record.standing.passed + record.undecided;
        ballot.votes.push(Vote { voter, commitment, answer: None, round, mark, decided: false });
        Ok(())
    }

    /// The round that a vote would be cast in; none while one is being opened.
    fn round(&self, ballot: &Ballot) -> Option<u32> {
        let counts = |vote: &&Vote| !self.standing(vote.voter.worker, ballot.class).exposed;
        let Some(last) = ballot.votes.iter().map(|vote| vote.round).max() else { return Some(0) };
        let this_round = || ballot.votes.iter().filter(counts).filter(|vote| vote.round == last);
        let sealed = this_round().any(|vote| vote.answer.is_none());
        let opened = this_round().any(|vote| vote.answer.is_some());
        match (sealed, opened) {
            (true, true) => None,
            (true, false) => Some(last),
            (false, _) => Some(last + 1),
        }
    }

    /// What to do next about a task: called after each vote, and again if one of its voters was exposed. `voters_left`
    /// counts owners that have not voted and might.
    pub fn decide(&self, ballot: &Ballot, terms: &Terms, voters_left: usize, draw: Draw) -> Decision {
        let counted = ballot.counted(|vote| {
            let standing = self.standing(vote.voter.worker, ballot.class);
            (!standing.exposed).then_some(standing.passed)
        });
        let decision = decide::decide(&counted, &self.policy, terms, self.typical(ballot.class), draw);
        decide::possible(decision, voters_left)
    }

    /// Draws the consequences of a certificate: liars are exposed, voters pass a check, results are settled.
    pub fn certify(&mut self, ballot: &mut Ballot, certificate: &Certificate, facts: &mut Vec<Fact>) {
        let Ballot { task, class, .. } = *ballot;
        self.release(task);
        for &liar in &certificate.dissenters {
            self.expose(liar, class, task, Why::Contradicted, facts);
        }
        let compared = certificate.supporters.len() > 1;
        for vote in ballot.votes.iter_mut().filter(|vote| !vote.decided) {
            vote.decided = true;
            let Voter { worker, owner, .. } = vote.voter;
            let Some(record) = self.records.get_mut(&(worker, class)) else { continue };
            record.undecided = record.undecided.saturating_sub(1);
            if compared && vote.answer == Some(certificate.answer) && ballot.payer.lets_prove(owner) {
                self.pass(worker, class, facts);
            }
        }
        if certificate.hold == 0 {
            facts.push(Fact::Settled { task, supporters: certificate.supporters.clone() });
        } else {
            self.hold(ballot, certificate, facts);
        }
    }

    fn hold(&mut self, ballot: &Ballot, certificate: &Certificate, facts: &mut Vec<Fact>) {
        let Ballot { task, class, .. } = *ballot;
        let supports = |vote: &&Vote| certificate.supporters.contains(&vote.voter.worker);
        let due = |vote: &Vote| (vote.voter.worker, vote.mark + certificate.hold);
        let supporters: Vec<_> = ballot.votes.iter().filter(supports).map(due).collect();
        facts.push(Fact::Held { task, class, supporters: supporters.clone() });
        self.wait(task, class, supporters);
        self.settle_if_due(task, facts);
    }

    fn wait(&mut self, task: TaskId, class: AppClass, supporters: Vec<(WorkerId, u64)>) {
        let mut waits_for = 0;
        for &(worker, due) in &supporters {
            let record = self.records.entry((worker, class)).or_default();
            record.unsettled.insert((due, task));
            waits_for += usize::from(due > record.standing.passed);
        }
        self.held.insert(task, Held { class, supporters, waits_for });
    }

    fn pass(&mut self, worker: WorkerId, class: AppClass, facts: &mut Vec<Fact>) {
        let Some(record) = self.records.get_mut(&(worker, class)) else { return };
        if record.standing.exposed {
            return;
        }
        let standing = Standing { passed: record.standing.passed + 1, ..record.standing };
        facts.push(Fact::StandingChanged { worker, class, standing });
        for task in self.set(worker, class, standing) {
            self.settle_if_due(task, facts);
        }
    }

    /// Returns the results that no longer wait for this worker.
    fn set(&mut self, worker: WorkerId, class: AppClass, standing: Standing) -> Vec<TaskId> {
        let record = self.records.entry((worker, class)).or_default();
        let passed = (record.standing.passed + 1, FIRST_TASK)..(standing.passed + 1, FIRST_TASK);
        record.standing = standing;
        let done: Vec<TaskId> = match passed.start < passed.end {
            true => record.unsettled.range(passed).map(|(_, task)| *task).collect(),
            false => Vec::new(),
        };
        for task in &done {
            if let Some(held) = self.held.get_mut(task) {
                held.waits_for -= 1;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean of counts")]
        let passed = standing.passed as f64;
        let typical = self.typical.entry(class).or_default();
        *typical += (passed - *typical) / TYPICAL_MEMORY;
        done
    }

    fn settle_if_due(&mut self, task: TaskId, facts: &mut Vec<Fact>) {
        let Some(held) = self.held.get(&task).filter(|held| held.waits_for == 0) else { return };
        let supporters = held.supporters.iter().map(|(worker, _)| *worker).collect();
        self.release(task);
        facts.push(Fact::Settled { task, supporters });
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
        let record = self.records.entry((worker, class)).or_default();
        if record.standing.exposed {
            return;
        }
        record.standing.exposed = true;
        facts.push(Fact::Exposed { worker, class, standing: record.standing, task, why });
        for (_, task) in record.unsettled.clone() {
            self.release(task);
            facts.push(Fact::Reopened { task, liar: worker });
        }
    }

    fn release(&mut self, task: TaskId) {
        let Some(held) = self.held.remove(&task) else { return };
        for (worker, due) in held.supporters {
            if let Some(record) = self.records.get_mut(&(worker, held.class)) {
                record.unsettled.remove(&(due, task));
            }
        }
    }

    /// A held-back result cannot wait any longer: it is decided anew, with an [outlook](Terms::outlook) of zero.
    pub fn recall(&mut self, ballot: &Ballot, facts: &mut Vec<Fact>) {
        if self.held.contains_key(&ballot.task) {
            self.release(ballot.task);
            facts.push(Fact::Recalled { task: ballot.task });
        }
    }

    /// The task ended without a certificate: it failed or was cancelled. Its votes prove nothing.
    pub fn forget(&mut self, ballot: &Ballot) {
        self.release(ballot.task);
        for vote in ballot.votes.iter().filter(|vote| !vote.decided) {
            if let Some(record) = self.records.get_mut(&(vote.voter.worker, ballot.class)) {
                record.undecided = record.undecided.saturating_sub(1);
            }
        }
    }

    /// Takes a fact back from the store.
    pub fn restore(&mut self, fact: Fact) {
        match fact {
            Fact::StandingChanged { worker, class, standing } => drop(self.set(worker, class, standing)),
            Fact::Exposed { worker, class, standing, .. } => {
                self.records.entry((worker, class)).or_default().standing = standing;
            }
            Fact::Held { task, class, supporters } => {
                self.release(task);
                self.wait(task, class, supporters);
            }
            Fact::Settled { task, .. } | Fact::Reopened { task, .. } | Fact::Recalled { task } => self.release(task),
        }
    }

    /// Takes a ballot of a task that is neither settled nor failed back from the store, after all facts.
    pub fn restore_ballot(&mut self, ballot: &Ballot) {
        for vote in ballot.votes.iter().filter(|vote| !vote.decided) {
            self.records.entry((vote.voter.worker, ballot.class)).or_default().undecided += 1;
        }
    }

    /// For tests.
    pub fn check_invariants(&self) {
        for ((worker, class), record) in &self.records {
            assert!(record.unsettled.is_empty() || !record.standing.exposed, "results rest on {worker}, a liar");
            for (due, task) in &record.unsettled {
                let held = &self.held[task];
                assert!(held.class == *class && held.supporters.contains(&(*worker, *due)), "{task} of {worker}");
            }
        }
        for (task, held) in &self.held {
            let records = held.supporters.iter().map(|(worker, due)| (due, &self.records[&(*worker, held.class)]));
            let waits_for = records.clone().filter(|(due, record)| **due > record.standing.passed).count();
            assert!(waits_for > 0 && waits_for == held.waits_for, "{task} waits for {waits_for}");
            assert!(records.clone().all(|(due, record)| record.unsettled.contains(&(*due, *task))), "{task}");
        }
    }
}
