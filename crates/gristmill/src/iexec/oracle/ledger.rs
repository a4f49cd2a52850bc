//! What the oracle knows about each deal and its tasks, and what follows from it: pure.
//!
//! Chain and pool tell of a task in any order and more than once, and a reorganisation takes back what the chain told.
//! [`Ledger::todos`] looks at the whole and says what to do next, so whatever is interrupted is taken up by asking again.
//! Of a large bag only so many tasks are taken up at a time.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{B256, Bytes};
use gristmill_proto::id::JobId;
use serde::{Deserialize, Serialize};

use super::job::{Terms, task_id};
use crate::oracle::Confirmations;

/// Tasks of one deal that are in the pool at the same time.
pub(super) const TASKS_AT_ONCE: u64 = 256;
/// Tasks that one transaction settles: with callbacks, half of what Ethereum lets a transaction burn.
pub(super) const SETTLED_AT_ONCE: usize = 16;
/// And bytes of results in it, which are kept as code at 200 gas each.
const SETTLED_BYTES_AT_ONCE: usize = 16 << 10;
pub(super) const DECLINED_AT_ONCE: usize = 100;
/// Tasks of a deal without a runnable app that are given back at this pool's expense; the rest can be claimed.
pub(super) const REFUSED_MAX: u64 = 1_000;
/// A deal that a reorganisation took away is worked on for so many blocks more: most come back with the next.
const GONE_DEPTH: u64 = 64;
/// What ended so many blocks ago is forgotten.
const FORGET_DEPTH: u64 = 256;
const FORGET_SECONDS: u64 = 7 * 24 * 3600;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deal {
    /// Block of its notice; none while a reorganisation has taken it away.
    pub(super) seen_in: Option<u64>,
    /// Head of the chain when it was taken away.
    missing_since: u64,
    pub(super) reading: Reading,
    /// The task to be taken up next.
    next: u64,
}

/// What the oracle made of a deal's text on chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reading {
    NotYet,
    Runnable(Terms),
    /// None of its tasks can be run here.
    Refused {
        terms: Terms,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) work: Work,
    /// Block in which the chain says it ended.
    pub(super) closed_in: Option<u64>,
}

/// What the pool has done about a task. Only ever moves forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    Taken,
    Started {
        job: JobId,
    },
    /// The job is done; its outputs are to be put where the requester finds them.
    Ran {
        job: JobId,
    },
    Reported {
        report: Report,
    },
    /// A settlement is in the outbox, under the name of the first task of its batch.
    Settling {
        batch: u64,
    },
    Failed {
        reason: String,
    },
    Declining {
        batch: u64,
        reason: String,
    },
    /// Nothing more will be done: the chain refuses what was tried.
    Over {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) results: Bytes,
    pub(super) callback: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    Read(B256),
    Start(B256, u64),
    Collect(B256, u64, JobId),
    Cancel(B256, u64, JobId),
    Settle(B256, Vec<(u64, Report)>),
    Decline(B256, Vec<u64>, String),
}

/// The chain as seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChainView {
    pub(super) head: u64,
    /// Seconds, of the newest block seen.
    pub(super) timestamp: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    deals: BTreeMap<B256, Deal>,
    tasks: BTreeMap<(B256, u64), Task>,
    by_id: BTreeMap<B256, (B256, u64)>,
    pub(super) chain: ChainView,
    changed_deals: BTreeSet<B256>,
    changed_tasks: BTreeSet<(B256, u64)>,
    forgotten_deals: Vec<B256>,
    forgotten_tasks: Vec<(B256, u64)>,
}

impl Deal {
    pub(super) fn terms(&self) -> Option<&Terms> {
        match &self.reading {
            Reading::NotYet => None,
            Reading::Runnable(terms) | Reading::Refused { terms, .. } => Some(terms),
        }
    }

    /// A reorganisation took it away, and it did not come back.
    fn is_gone(&self, chain: ChainView) -> bool {
        self.seen_in.is_none() && chain.head >= self.missing_since + GONE_DEPTH
    }

    fn is_expired(&self, chain: ChainView) -> bool {
        self.terms().is_some_and(|terms| chain.timestamp >= terms.deadline)
    }

    fn is_past(&self, chain: ChainView) -> bool {
        let missing = self.seen_in.is_none() && self.missing_since + FORGET_DEPTH <= chain.head;
        let long_over =
            self.terms().is_some_and(|terms| terms.deadline.saturating_add(FORGET_SECONDS) < chain.timestamp);
        missing || long_over
    }
}

impl Ledger {
    pub(super) fn restore(
        deals: impl IntoIterator<Item = (B256, Deal)>,
        tasks: impl IntoIterator<Item = ((B256, u64), Task)>,
        chain: ChainView,
    ) -> Self {
        let tasks: BTreeMap<_, _> = tasks.into_iter().collect();
        let by_id = tasks.keys().map(|key| (task_id(key.0, key.1), *key)).collect();
        Self { deals: deals.into_iter().collect(), tasks, by_id, chain, ..Self::default() }
    }

    pub(super) fn deal(&self, id: &B256) -> Option<&Deal> {
        self.deals.get(id)
    }

    pub(super) fn task(&self, key: &(B256, u64)) -> Option<&Task> {
        self.tasks.get(key)
    }

    /// The deal and index of a task that was taken up.
    pub(super) fn key_of(&self, task: &B256) -> Option<(B256, u64)> {
        self.by_id.get(task).copied()
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.deals.len(), self.tasks.len())
    }

    /// Jobs whose end is awaited.
    pub(super) fn started(&self) -> Vec<JobId> {
        let job = |task: &Task| match task.work {
            Work::Started { job } => Some(job),
            _ => None,
        };
        self.tasks.values().filter_map(job).collect()
    }

    pub(super) fn todos(&self, confirmations: Confirmations) -> Vec<Todo> {
        let mut todos = Vec::new();
        for (id, deal) in &self.deals {
            self.todos_of(*id, deal, confirmations, &mut todos);
        }
        todos
    }

    fn todos_of(&self, id: B256, deal: &Deal, confirmations: Confirmations, todos: &mut Vec<Todo>) {
        let tasks = || self.tasks.range((id, 0)..=(id, u64::MAX)).map(|((_, index), task)| (*index, task));
        let stopped = deal.is_gone(self.chain) || deal.is_expired(self.chain);
        for (index, task) in tasks() {
            match task.work {
                Work::Started { job } if stopped || task.closed_in.is_some() => {
                    todos.push(Todo::Cancel(id, index, job));
                }
                Work::Ran { job } if !stopped && task.closed_in.is_none() => todos.push(Todo::Collect(id, index, job)),
                _ => {}
            }
        }
        let Some(depth) = deal.seen_in.and_then(|block| self.chain.head.checked_sub(block)) else { return };
        if stopped {
            return;
        }
        let Some(terms) = deal.terms() else {
            todos.push(Todo::Read(id));
            return;
        };
        let open = tasks().filter(|(_, task)| task.closed_in.is_none());
        if depth >= confirmations.start && matches!(deal.reading, Reading::Runnable(_)) {
            let taken = open.clone().filter(|(_, task)| task.work == Work::Taken).map(|(index, _)| index);
            todos.extend(taken.map(|index| Todo::Start(id, index)));
        }
        if depth < confirmations.settle {
            return;
        }
        let in_deal = |index: u64| (terms.first..terms.first + terms.size).contains(&index);
        let (mut settled, mut declined, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut why = "";
        for (index, task) in open.filter(|(index, _)| in_deal(*index)) {
            match &task.work {
                Work::Reported { report } if settled.len() < SETTLED_AT_ONCE => {
                    bytes += report.results.len() + report.callback.len();
                    if settled.is_empty() || bytes <= SETTLED_BYTES_AT_ONCE {
                        settled.push((index, report.clone()));
                    }
                }
                Work::Failed { reason } if declined.len() < DECLINED_AT_ONCE => {
                    why = reason;
                    declined.push(index);
                }
                _ => {}
            }
        }
        if !settled.is_empty() {
            todos.push(Todo::Settle(id, settled));
        }
        if !declined.is_empty() {
            todos.push(Todo::Decline(id, declined, why.to_owned()));
        }
    }

    /// Blocks above `to` are gone, and with them what they told.
    pub(super) fn rewind(&mut self, to: u64) {
        for (id, deal) in &mut self.deals {
            if deal.seen_in.is_some_and(|block| block > to) {
                // Mined anew it may have other prices, another end and another length.
                (deal.seen_in, deal.missing_since, deal.reading) = (None, to, Reading::NotYet);
                self.changed_deals.insert(*id);
            }
        }
        for (key, task) in &mut self.tasks {
            if task.closed_in.is_some_and(|block| block > to) {
                task.closed_in = None;
                self.changed_tasks.insert(*key);
            }
        }
        self.chain.head = to;
    }

    pub(super) fn noticed(&mut self, id: B256, block: u64) {
        let fresh = Deal { seen_in: None, missing_since: 0, reading: Reading::NotYet, next: 0 };
        self.deals.entry(id).or_insert(fresh).seen_in = Some(block);
        self.changed_deals.insert(id);
    }

    /// The deal's text is known.
    pub(super) fn read(&mut self, id: B256, reading: Reading) {
        if let Some(deal) = self.deals.get_mut(&id) {
            deal.reading = reading;
            self.changed_deals.insert(id);
            self.take_up(id);
        }
    }

    /// It is another pool's.
    pub(super) fn foreign(&mut self, id: B256) {
        self.forget_deal(id);
    }

    /// Takes up tasks of a deal as long as there is room for them.
    fn take_up(&mut self, id: B256) {
        let Some(deal) = self.deals.get_mut(&id) else { return };
        let Some(terms) = deal.terms() else { return };
        let (first, end) = (terms.first, terms.first + terms.size);
        let (work, room) = match &deal.reading {
            Reading::Refused { reason, .. } => (Work::Failed { reason: reason.clone() }, REFUSED_MAX),
            _ => {
                let live = |(_, task): &(&(B256, u64), &Task)| {
                    task.closed_in.is_none()
                        && matches!(task.work, Work::Taken | Work::Started { .. } | Work::Ran { .. })
                };
                let live = self.tasks.range((id, 0)..=(id, u64::MAX)).filter(live).count() as u64;
                (Work::Taken, TASKS_AT_ONCE.saturating_sub(live))
            }
        };
        let from = deal.next.max(first);
        let to = match &deal.reading {
            Reading::Refused { .. } => end.min(first + room),
            _ => end.min(from + room),
        };
        if from >= to {
            return;
        }
        deal.next = to;
        self.changed_deals.insert(id);
        for index in from..to {
            self.tasks.entry((id, index)).or_insert(Task { work: work.clone(), closed_in: None });
            self.by_id.insert(task_id(id, index), (id, index));
            self.changed_tasks.insert((id, index));
        }
    }

    /// The chain says that a task has ended.
    pub(super) fn closed(&mut self, task: B256, block: u64) -> Option<(B256, u64)> {
        let key = self.key_of(&task)?;
        self.tasks.get_mut(&key).expect("indexed").closed_in = Some(block);
        self.changed_tasks.insert(key);
        self.take_up(key.0);
        Some(key)
    }

    /// The chain has come to `chain`; what ended long ago is forgotten.
    pub(super) fn advance(&mut self, chain: ChainView) {
        self.chain = chain;
        let past = |(id, deal): (&B256, &Deal)| (deal.is_past(chain) && !self.has_started(id)).then_some(*id);
        let past: Vec<B256> = self.deals.iter().filter_map(past).collect();
        past.into_iter().for_each(|id| self.forget_deal(id));
        let ended = |task: &Task| task.closed_in.is_some_and(|block| block + FORGET_DEPTH <= chain.head);
        let ended = |(key, task): (&(B256, u64), &Task)| {
            (ended(task) && !matches!(task.work, Work::Started { .. })).then_some(*key)
        };
        let ended: Vec<(B256, u64)> = self.tasks.iter().filter_map(ended).collect();
        for key in ended {
            self.forget_task(key);
            let all_taken = |deal: &Deal| deal.terms().is_some_and(|terms| deal.next >= terms.first + terms.size);
            let last = self.tasks.range((key.0, 0)..=(key.0, u64::MAX)).next().is_none();
            if last && self.deals.get(&key.0).is_some_and(all_taken) {
                self.forget_deal(key.0);
            }
        }
    }

    fn has_started(&self, id: &B256) -> bool {
        self.tasks.range((*id, 0)..=(*id, u64::MAX)).any(|(_, task)| matches!(task.work, Work::Started { .. }))
    }

    fn forget_deal(&mut self, id: B256) {
        let tasks: Vec<_> = self.tasks.range((id, 0)..=(id, u64::MAX)).map(|(key, _)| *key).collect();
        tasks.into_iter().for_each(|key| self.forget_task(key));
        self.deals.remove(&id);
        self.changed_deals.remove(&id);
        self.forgotten_deals.push(id);
    }

    fn forget_task(&mut self, key: (B256, u64)) {
        self.tasks.remove(&key);
        self.by_id.remove(&task_id(key.0, key.1));
        self.changed_tasks.remove(&key);
        self.forgotten_tasks.push(key);
    }

    /// The pool's part of a task has moved on. A step back is ignored: it is old news.
    pub(super) fn work(&mut self, key: (B256, u64), work: Work) {
        if let Some(task) = self.tasks.get_mut(&key).filter(|task| task.work.rank() < work.rank()) {
            task.work = work;
            self.changed_tasks.insert(key);
            self.take_up(key.0);
        }
    }

    /// The chain refuses the transaction of a batch.
    pub(super) fn refused(&mut self, deal: B256, first: u64, settling: bool, reason: &str) {
        let of_batch = |work: &Work| match work {
            Work::Settling { batch } => settling && *batch == first,
            Work::Declining { batch, .. } => !settling && *batch == first,
            _ => false,
        };
        let tasks = self.tasks.range((deal, 0)..=(deal, u64::MAX)).filter(|(_, task)| of_batch(&task.work));
        let keys: Vec<_> = tasks.map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.work(key, Work::Over { reason: reason.to_owned() }));
    }

    /// Deals changed since last asked, to be made durable.
    pub(super) fn take_changed_deals(&mut self) -> Vec<(B256, Deal)> {
        let changed = std::mem::take(&mut self.changed_deals);
        changed.into_iter().filter_map(|id| Some((id, self.deals.get(&id)?.clone()))).collect()
    }

    pub(super) fn take_changed_tasks(&mut self) -> Vec<((B256, u64), Task)> {
        let changed = std::mem::take(&mut self.changed_tasks);
        changed.into_iter().filter_map(|key| Some((key, self.tasks.get(&key)?.clone()))).collect()
    }

    /// Deals and tasks forgotten since last asked.
    pub(super) fn take_forgotten(&mut self) -> (Vec<B256>, Vec<(B256, u64)>) {
        (std::mem::take(&mut self.forgotten_deals), std::mem::take(&mut self.forgotten_tasks))
    }
}

impl Work {
    fn rank(&self) -> u8 {
        match self {
            Self::Taken => 0,
            Self::Started { .. } => 1,
            Self::Ran { .. } => 2,
            Self::Reported { .. } => 3,
            Self::Settling { .. } => 4,
            Self::Failed { .. } => 5,
            Self::Declining { .. } => 6,
            Self::Over { .. } => 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::terms;
    use super::*;

    const DEAL: B256 = B256::repeat_byte(7);
    const LATE: Confirmations = Confirmations { start: 1, settle: 3, finality: false };

    fn report() -> Report {
        Report { results: Bytes::from_static(b"{}"), callback: Bytes::new() }
    }

    fn bag(size: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.noticed(DEAL, 10);
        ledger.advance(ChainView { head: 10, timestamp: 100 });
        assert_eq!(ledger.todos(LATE), [Todo::Read(DEAL)]);
        ledger.read(DEAL, Reading::Runnable(Terms { size, ..terms() }));
        ledger
    }

    fn at(ledger: &mut Ledger, head: u64) -> Vec<Todo> {
        ledger.advance(ChainView { head, timestamp: 100 });
        ledger.todos(LATE)
    }

    #[test]
    fn work_starts_early_and_money_moves_late() {
        let mut ledger = bag(1);
        assert_eq!(ledger.todos(LATE), []);
        assert_eq!(at(&mut ledger, 11), [Todo::Start(DEAL, 0)]);
        let job = JobId(4);
        ledger.work((DEAL, 0), Work::Started { job });
        assert_eq!(ledger.todos(LATE), []);
        ledger.work((DEAL, 0), Work::Ran { job });
        assert_eq!(ledger.todos(LATE), [Todo::Collect(DEAL, 0, job)]);
        ledger.work((DEAL, 0), Work::Reported { report: report() });
        assert_eq!(ledger.todos(LATE), []);
        assert_eq!(at(&mut ledger, 13), [Todo::Settle(DEAL, vec![(0, report())])]);
        ledger.work((DEAL, 0), Work::Settling { batch: 0 });
        assert_eq!(ledger.todos(LATE), []);
        assert_eq!(ledger.closed(task_id(DEAL, 0), 14), Some((DEAL, 0)));
        assert_eq!(at(&mut ledger, 14 + FORGET_DEPTH), []);
        assert_eq!(ledger.counts(), (0, 0));
        assert_eq!(ledger.take_forgotten(), (vec![DEAL], vec![(DEAL, 0)]));
    }

    #[test]
    fn old_news_changes_nothing() {
        let mut ledger = bag(1);
        ledger.work((DEAL, 0), Work::Reported { report: report() });
        ledger.work((DEAL, 0), Work::Started { job: JobId(1) });
        ledger.work((DEAL, 0), Work::Ran { job: JobId(1) });
        assert_eq!(at(&mut ledger, 13), [Todo::Settle(DEAL, vec![(0, report())])]);
    }

    #[test]
    fn a_large_bag_is_taken_up_bit_by_bit() {
        let mut ledger = bag(1_000_000);
        assert_eq!(at(&mut ledger, 11).len() as u64, TASKS_AT_ONCE);
        for index in 0..3 {
            ledger.work((DEAL, index), Work::Reported { report: report() });
        }
        assert_eq!(ledger.counts().1 as u64, TASKS_AT_ONCE + 3);
        let todos = at(&mut ledger, 13);
        assert_eq!(todos.len() as u64, TASKS_AT_ONCE + 1);
        assert_eq!(todos.last(), Some(&Todo::Settle(DEAL, (0..3).map(|index| (index, report())).collect())));
    }

    #[test]
    fn transactions_stay_small() {
        let mut ledger = bag(100);
        for index in 0..100 {
            ledger.work((DEAL, index), Work::Reported { report: report() });
        }
        let settled = |ledger: &mut Ledger| match &at(ledger, 13)[..] {
            [Todo::Settle(_, tasks)] => tasks.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(settled(&mut ledger), SETTLED_AT_ONCE);
        let mut ledger = bag(100);
        let long = Report { callback: Bytes::from(vec![1; SETTLED_BYTES_AT_ONCE / 2]), ..report() };
        for index in 0..100 {
            ledger.work((DEAL, index), Work::Reported { report: long.clone() });
        }
        assert_eq!(settled(&mut ledger), 1);
    }

    #[test]
    fn what_cannot_be_run_is_given_back() {
        let mut ledger = Ledger::default();
        ledger.noticed(DEAL, 10);
        let terms = Terms { first: 5, size: REFUSED_MAX + 7, ..terms() };
        ledger.read(DEAL, Reading::Refused { terms, reason: "no such app".to_owned() });
        let mut given_back = 0;
        while let [Todo::Decline(_, tasks, reason)] = &at(&mut ledger, 13)[..] {
            assert_eq!(reason, "no such app");
            assert!(tasks.len() <= DECLINED_AT_ONCE);
            given_back += tasks.len() as u64;
            for index in tasks {
                ledger.work((DEAL, *index), Work::Declining { batch: tasks[0], reason: reason.clone() });
            }
        }
        assert_eq!(given_back, REFUSED_MAX);
    }

    #[test]
    fn a_reorganisation_takes_back_what_was_told() {
        let mut ledger = bag(1);
        let job = JobId(1);
        ledger.work((DEAL, 0), Work::Started { job });
        ledger.work((DEAL, 0), Work::Reported { report: report() });
        ledger.closed(task_id(DEAL, 0), 12);
        assert_eq!(at(&mut ledger, 13), []);
        ledger.rewind(11);
        assert_eq!(at(&mut ledger, 13), [Todo::Settle(DEAL, vec![(0, report())])]);
        ledger.rewind(9);
        assert_eq!(at(&mut ledger, 14), []);
        ledger.noticed(DEAL, 14);
        assert_eq!(ledger.todos(LATE), [Todo::Read(DEAL)]);
        ledger.read(DEAL, Reading::Runnable(terms()));
        assert_eq!(at(&mut ledger, 17), [Todo::Settle(DEAL, vec![(0, report())])]);
    }

    #[test]
    fn a_deal_that_is_gone_or_late_frees_its_workers() {
        let job = JobId(1);
        let mut ledger = bag(1);
        ledger.work((DEAL, 0), Work::Started { job });
        ledger.rewind(9);
        assert_eq!(at(&mut ledger, 9 + GONE_DEPTH - 1), []);
        assert_eq!(at(&mut ledger, 9 + GONE_DEPTH), [Todo::Cancel(DEAL, 0, job)]);

        let mut ledger = bag(1);
        ledger.work((DEAL, 0), Work::Started { job });
        ledger.advance(ChainView { head: 20, timestamp: terms().deadline });
        assert_eq!(ledger.todos(LATE), [Todo::Cancel(DEAL, 0, job)]);
    }

    #[test]
    fn a_refused_batch_is_over_and_no_other() {
        let mut ledger = bag(4);
        for (index, batch) in [(0, 0), (1, 0), (2, 2)] {
            ledger.work((DEAL, index), Work::Settling { batch });
        }
        ledger.refused(DEAL, 0, true, "late");
        let over = |index| matches!(ledger.task(&(DEAL, index)).unwrap().work, Work::Over { .. });
        assert_eq!([0, 1, 2, 3].map(over), [true, true, false, false]);
    }
}
