//! The tasks of one replicated job on which workers vote: who was asked, who has voted, and how many more are wanted.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_proto::id::{LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::job::{JobSpec, Replicate};
use serde::{Deserialize, Serialize};

use crate::trust::{AppClass, Ballot, Fact, OwnerId, Payer, Terms, Voter};

/// Ballots of one job that are open at once, beside two for each worker that could run it: what waits for votes of
/// workers that never come must not fill the memory.
const OPEN_MAX: usize = 4_096;
/// Where fewer tasks than this want votes, new tasks are begun first: a worker that times its coming must not know
/// which task it will get.
const MIX: usize = 64;
/// Tasks that are looked at for one worker.
const LOOKED_AT_MAX: usize = 64;

/// A ballot as it is kept on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenBallot {
    pub(super) ballot: Ballot,
    /// Leases whose votes are not shown yet.
    pub(super) sealed: Vec<(LeaseId, WorkerId)>,
    pub(super) shown: Vec<ShownVote>,
    /// Its sealed votes were asked for. Durable before anyone hears of it: a worker may show its vote after a restart.
    pub(super) opening: bool,
    /// Certified, but neither delivered nor paid before the first supporter has passed so many checks.
    pub(super) held: Option<Held>,
    /// Why no number of votes that the job allows decides it.
    pub(super) hopeless: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) supporters: Vec<WorkerId>,
    pub(super) due: u64,
}

/// A vote whose outcome is on record.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ShownVote {
    pub(super) lease: LeaseId,
    pub(super) worker: WorkerId,
    /// Its outcome has an answer, or something that somebody may ask for.
    pub(super) answered: bool,
    pub(super) to_show: bool,
}

impl OpenBallot {
    /// The fact that holds it back, for the engine.
    pub(super) fn held_fact(&self) -> Option<Fact> {
        let Held { supporters, due } = self.held.clone()?;
        Some(Fact::Held { task: self.ballot.task, class: self.ballot.class, supporters, due })
    }

    pub(super) fn sealed_under(&self, lease: LeaseId) -> bool {
        self.sealed.iter().any(|(sealed, _)| *sealed == lease)
    }
}

/// What of an open ballot a restart forgets.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) kept: OpenBallot,
    /// Who holds a lease for it and has not voted.
    pub(super) asked: Vec<(LeaseId, Voter)>,
    /// Leases to give for it.
    pub(super) wanted: usize,
    /// By when its sealed votes must be shown, once that was asked.
    pub(super) opens_by: Option<UnixMillis>,
}

#[derive(Debug)]
pub(super) struct Ballots {
    terms: Replicate,
    pub(super) class: AppClass,
    payer: Payer,
    open: BTreeMap<u64, Open>,
    /// Tasks for which leases are to give.
    wanting: BTreeSet<u64>,
    held: usize,
    /// Nothing but held-back results is left, and nobody will pass checks by this job any more.
    pub(super) hurried: bool,
}

/// The next task for a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// One that nobody has been asked for.
    Fresh,
    Of(u64),
}

impl Ballots {
    pub(super) fn new(spec: &JobSpec, terms: Replicate) -> Self {
        Self {
            terms,
            class: AppClass(spec.app),
            payer: payer_of(spec),
            open: BTreeMap::new(),
            wanting: BTreeSet::new(),
            held: 0,
            hurried: false,
        }
    }

    /// Takes a ballot back from the store.
    pub(super) fn restore(&mut self, index: u64, kept: OpenBallot) {
        self.held += usize::from(kept.held.is_some());
        self.open.insert(index, Open { kept, asked: Vec::new(), wanted: 0, opens_by: None });
    }

    /// What the job asks for, if a worker casts about so many votes while its results are held back.
    pub(super) fn terms(&self, outlook: u64) -> Terms {
        let votes_max = self.terms.votes_max as usize;
        Terms { max_error: self.terms.max_error, votes_max, outlook: if self.hurried { 0 } else { outlook } }
    }

    pub(super) fn get(&self, index: u64) -> Option<&Open> {
        self.open.get(&index)
    }

    pub(super) fn get_mut(&mut self, index: u64) -> Option<&mut Open> {
        self.open.get_mut(&index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Open)> {
        self.open.iter().map(|(index, open)| (*index, open))
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.open.contains_key(&index)
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn wants_votes(&self) -> bool {
        !self.wanting.is_empty()
    }

    pub(super) fn wanting(&self) -> usize {
        self.wanting.len()
    }

    /// Whether one more task may be begun.
    pub(super) fn has_space(&self, able: usize) -> bool {
        self.open.len() < OPEN_MAX + 2 * able
    }

    pub(super) fn begin(&mut self, task: TaskId) {
        let ballot = Ballot::new(task, self.class, self.payer);
        let kept =
            OpenBallot { ballot, sealed: Vec::new(), shown: Vec::new(), opening: false, held: None, hopeless: None };
        self.open.insert(task.index, Open { kept, asked: Vec::new(), wanted: 0, opens_by: None });
    }

    pub(super) fn close(&mut self, index: u64) -> Option<Open> {
        self.wanting.remove(&index);
        let open = self.open.remove(&index)?;
        self.held -= usize::from(open.kept.held.is_some());
        Some(open)
    }

    pub(super) fn want(&mut self, index: u64, leases: usize) {
        let Some(open) = self.open.get_mut(&index) else { return };
        open.wanted = leases;
        if leases > 0 {
            self.wanting.insert(index);
        } else {
            self.wanting.remove(&index);
        }
    }

    pub(super) fn set_held(&mut self, index: u64, held: Option<Held>) {
        let Some(open) = self.open.get_mut(&index) else { return };
        self.held -= usize::from(open.kept.held.is_some());
        self.held += usize::from(held.is_some());
        open.kept.held = held;
    }

    /// Asks this voter, under this lease.
    pub(super) fn ask(&mut self, index: u64, lease: LeaseId, voter: Voter) {
        let open = self.open.get_mut(&index).expect("only a task with a ballot is voted on");
        open.asked.push((lease, voter));
        let wanted = open.wanted.saturating_sub(1);
        self.want(index, wanted);
    }

    /// The lease came to no vote. Another is wanted in its place, unless the task is as if nobody had been asked: then
    /// its ballot is gone, and this is true.
    pub(super) fn unask(&mut self, index: u64, lease: LeaseId) -> bool {
        let Some(open) = self.open.get_mut(&index) else { return false };
        let before = open.asked.len();
        open.asked.retain(|(asked, _)| *asked != lease);
        if open.asked.len() == before {
            return false;
        }
        if open.asked.is_empty() && open.kept.ballot.votes().is_empty() {
            self.close(index);
            return true;
        }
        let wanted = open.wanted + 1;
        self.want(index, wanted);
        false
    }

    /// Whether the task still wants this voter.
    pub(super) fn admits(&self, index: u64, voter: &Voter) -> bool {
        let Some(open) = self.open.get(&index).filter(|open| open.wanted > 0) else { return false };
        let same = |(_, asked): &(LeaseId, Voter)| {
            asked.worker == voter.worker || asked.owner == voter.owner || asked.host == voter.host
        };
        open.kept.ballot.admits(voter) && !open.asked.iter().any(same)
    }

    /// A task for this voter, by a throw of dice that workers cannot foresee.
    pub(super) fn pick(&self, voter: &Voter, dice: u64, fresh: bool) -> Option<Pick> {
        let fresh = fresh.then_some(Pick::Fresh);
        if fresh.is_some() && self.wanting.len() < MIX {
            return fresh;
        }
        let (Some(first), Some(last)) = (self.wanting.first(), self.wanting.last()) else { return fresh };
        let start = first + dice % (last - first + 1);
        let from_there = self.wanting.range(start..).chain(self.wanting.range(..start));
        let admitted = from_there.take(LOOKED_AT_MAX).find(|index| self.admits(**index, voter));
        admitted.map(|index| Pick::Of(*index)).or(fresh)
    }

    pub(super) fn check_invariants(&self) {
        let held = self.open.values().filter(|open| open.kept.held.is_some()).count();
        assert_eq!(self.held, held);
        for (index, open) in &self.open {
            assert_eq!(self.wanting.contains(index), open.wanted > 0, "{index} in the list of the wanting");
            let votes = open.kept.ballot.votes();
            let sealed = |(_, worker): &(LeaseId, WorkerId)| {
                votes.iter().any(|vote| vote.voter.worker == *worker && vote.answer.is_none())
            };
            assert!(open.kept.sealed.iter().all(sealed), "a sealed vote of {index} is on its ballot");
            let shown =
                |shown: &ShownVote| votes.iter().any(|vote| vote.voter.worker == shown.worker && vote.answer.is_some());
            assert!(open.kept.shown.iter().all(shown), "a shown vote of {index} is on its ballot");
            let idle = open.asked.is_empty() && open.kept.sealed.is_empty() && open.wanted == 0;
            assert!(!idle || open.kept.held.is_some(), "{index} waits for nothing: {open:?}");
        }
    }
}

/// Who pays for a job, and so whose workers prove nothing by it.
fn payer_of(spec: &JobSpec) -> Payer {
    const OF_EVERY_WORKER: [&str; 3] = ["os", "arch", "gpus"];
    let chooses = spec.require.iter().any(|condition| !OF_EVERY_WORKER.contains(&condition.label()));
    if chooses {
        return Payer::Nobody;
    }
    owner_of(&spec.user).map_or(Payer::Pool, Payer::Owner)
}

/// An owner's address.
pub(super) fn owner_of(text: &str) -> Option<OwnerId> {
    text.parse::<WorkerId>().ok().map(|address| OwnerId(address.0))
}
