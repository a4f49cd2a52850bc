//! What the oracle knows about each order, and what follows from it: pure.
//!
//! The chain and the pool both tell of an order, in any order and more than once; a reorganisation takes back what the
//! chain told. [`Order::todo`] looks at the whole and says the next thing to do, so whatever is interrupted is taken up
//! where it stopped by asking again.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{B256, U256};
use gristmill_chain::contracts::IMarket;
use serde::{Deserialize, Serialize};

use super::work::{Answer, Batch, Earner, Work};
use gristmill_proto::id::JobId;

#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) details: IMarket::Order,
    /// Block of the `Requested` event; none while a reorganisation has taken it away.
    pub(super) requested_in: Option<u64>,
    /// Head of the chain when it was taken away.
    missing_since: u64,
    /// How the chain says it ended.
    pub(super) closed: Option<Closed>,
    pub(super) course: Course,
    pub(super) work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) how: Closing,
    pub(super) block: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Closing {
    Settled,
    Refunded,
}

/// What the chain told of an order between its beginning and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    /// Settlements, one for each block that has some.
    settlements: Vec<Settlement>,
    /// The newest word on a wish to cancel, by block.
    cancels: Vec<(u64, Cancel)>,
    /// Seconds: by when it was seen first.
    seen_at: u64,
    /// The chain is told that work has begun, which a cancellation until then must not end.
    kept_until: u64,
    /// Whom the pool pays out of what it is paid: kept apart from the work, since a settlement may be mined after the pool
    /// has given it up.
    earners: Vec<Earner>,
    /// What its workers earned is in their accounts with the pool.
    credited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Settlement {
    block: u64,
    /// Tasks that are done from then on.
    done: u64,
    /// What workers were paid for them, in nRLC.
    paid: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cancel {
    /// Its requester may have it back after this second, unless the pool keeps it.
    Until(u64),
    Kept,
}

/// The next thing to do about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    StartJob,
    CancelJob {
        job: JobId,
    },
    /// Tell the chain that work has begun.
    Keep {
        until: u64,
    },
    /// There is no time left to wait for the rest of a bag.
    CutShort {
        job: JobId,
    },
    Settle {
        answer: Answer,
        /// Not together with others: one of them was refused.
        alone: bool,
    },
    SettleBag {
        batch: Batch,
        /// The first task that is not done.
        first: u64,
    },
    Decline {
        reason: String,
    },
    /// Book what the workers have earned.
    Credit {
        earners: Vec<Earner>,
        amount: u128,
    },
}

/// The chain as the oracle has seen it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChainView {
    pub(super) head: u64,
    /// Seconds, of the newest block seen.
    pub(super) timestamp: u64,
    /// The newest block that the chain calls final, where it has such a notion.
    pub(super) finalized: Option<u64>,
    /// More blocks are known to be there: what they say of an order is not known yet.
    pub(super) behind: bool,
}

/// Blocks on top of an order's own before the oracle acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmations {
    /// Work may start early: what is lost is the pool's own time.
    pub start: u64,
    /// Money moves late: what is on chain cannot be taken back.
    pub settle: u64,
    /// And, where the chain knows finality, not before the block is final.
    pub finality: bool,
}

impl Confirmations {
    fn allow_money(self, chain: ChainView, block: u64) -> bool {
        let deep = chain.head.checked_sub(block).is_some_and(|depth| depth >= self.settle);
        let is_final = chain.finalized.is_none_or(|finalized| finalized >= block);
        deep && (is_final || !self.finality)
    }
}

/// In an order's nonce: each unit is a task.
const BAG_BIT: usize = 255;

impl Order {
    fn new(details: IMarket::Order, block: u64) -> Self {
        let (course, work) = (Course::default(), Work::None);
        Self { details, requested_in: Some(block), missing_since: 0, closed: None, course, work }
    }

    /// As it was stored. How long it has been missing is counted anew.
    pub(super) fn stored(
        details: IMarket::Order,
        requested_in: Option<u64>,
        closed: Option<Closed>,
        course: Course,
        work: Work,
        chain: ChainView,
    ) -> Self {
        Self { details, requested_in, missing_since: chain.head, closed, course, work }
    }

    pub(super) fn is_bag(&self) -> bool {
        is_bag(&self.details)
    }

    /// Tasks of a bag that the chain has as done.
    fn done(&self) -> u64 {
        self.course.settlements.last().map_or(0, |settlement| settlement.done)
    }

    /// What workers were paid so far, in nRLC.
    pub(super) fn paid(&self) -> u128 {
        self.course.settlements.iter().map(|settlement| settlement.paid).sum()
    }

    fn cancel_until(&self) -> Option<u64> {
        match self.course.cancels.last() {
            Some((_, Cancel::Until(until))) => Some(*until),
            Some((_, Cancel::Kept)) | None => None,
        }
    }

    /// The last second in which it can be settled.
    fn last_second(&self) -> u64 {
        self.details.deadline.min(self.cancel_until().unwrap_or(u64::MAX))
    }

    /// A reorganisation took it away, and it did not come back.
    fn is_gone(&self, chain: ChainView) -> bool {
        self.requested_in.is_none() && chain.head >= self.missing_since + GONE_DEPTH
    }

    /// Nothing that could still happen concerns it.
    fn is_past(&self, chain: ChainView) -> bool {
        let closed = self.closed.is_some_and(|closed| closed.block + FORGET_DEPTH <= chain.head);
        let missing = self.requested_in.is_none() && self.missing_since + FORGET_DEPTH <= chain.head;
        let expired = self.details.deadline.saturating_add(FORGET_SECONDS) < chain.timestamp;
        (closed || missing || expired) && !matches!(self.work, Work::Started { .. }) && self.credit().is_none()
    }

    /// What is still to be booked for its workers.
    fn credit(&self) -> Option<(Vec<Earner>, u128)> {
        let earners = &self.course.earners;
        let due = self.closed.is_some() && !self.course.credited && !earners.is_empty() && self.paid() > 0;
        due.then(|| (earners.clone(), self.paid()))
    }

    /// `now_s` is the chain's clock as it must be by now: no block may have come for a while.
    pub(super) fn todo(&self, chain: ChainView, now_s: u64, confirmations: Confirmations) -> Option<Todo> {
        let expired = now_s > self.last_second();
        if self.closed.is_some() || expired || self.is_gone(chain) {
            return self.todo_afterwards(chain, confirmations);
        }
        let requested_in = self.requested_in?;
        let may_start = !chain.behind && chain.head.checked_sub(requested_in)? >= confirmations.start;
        if let Some(todo) = self.todo_about_time(now_s).filter(|_| may_start) {
            return Some(todo);
        }
        if matches!(self.work, Work::None) {
            return may_start.then_some(Todo::StartJob);
        }
        if confirmations.allow_money(chain, requested_in) { self.todo_with_money() } else { None }
    }

    /// Once it is over on chain, or there is no time left.
    fn todo_afterwards(&self, chain: ChainView, confirmations: Confirmations) -> Option<Todo> {
        if let Work::Started { job } = self.work {
            return Some(Todo::CancelJob { job });
        }
        match (self.closed, self.requested_in) {
            (Some(closed), _) if confirmations.allow_money(chain, closed.block) => {
                self.credit().map(|(earners, amount)| Todo::Credit { earners, amount })
            }
            // Nobody else may think of it, and the money is its requester's.
            (None, Some(block)) if confirmations.allow_money(chain, block) && !self.work.declines() => {
                Some(Todo::Decline { reason: "there was no result in time".to_owned() })
            }
            _ => None,
        }
    }

    fn todo_about_time(&self, now_s: u64) -> Option<Todo> {
        match (&self.work, self.cancel_until()) {
            (Work::None, Some(_)) => Some(Todo::Decline { reason: "cancelled before work began".to_owned() }),
            (work, Some(until)) if work.job().is_some() && self.course.kept_until < until => Some(Todo::Keep { until }),
            (Work::Started { job }, _) if self.is_bag() && now_s + self.margin() > self.last_second() => {
                Some(Todo::CutShort { job: *job })
            }
            _ => None,
        }
    }

    /// What a bag has so long before its deadline is settled.
    fn margin(&self) -> u64 {
        let time = self.details.deadline.saturating_sub(self.course.seen_at);
        MARGIN_SECONDS_MAX.min(time / 4)
    }

    fn todo_with_money(&self) -> Option<Todo> {
        match &self.work {
            Work::Answered { answer, .. } => Some(Todo::Settle { answer: answer.clone(), alone: false }),
            Work::Alone { answer, .. } => Some(Todo::Settle { answer: answer.clone(), alone: true }),
            Work::Gathered { batch } => Some(Todo::SettleBag { batch: batch.clone(), first: self.done() }),
            Work::Delivering { batch, upto } if self.done() == *upto => {
                Some(Todo::SettleBag { batch: batch.clone(), first: self.done() })
            }
            Work::Failed { reason } => Some(Todo::Decline { reason: reason.clone() }),
            _ => None,
        }
    }
}

pub(super) fn is_bag(details: &IMarket::Order) -> bool {
    details.nonce.bit(BAG_BIT)
}

/// Orders that are open, or closed so recently that a reorganisation could open them again.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    orders: BTreeMap<B256, Order>,
    pub(super) chain: ChainView,
    changed: BTreeSet<B256>,
    forgotten: Vec<B256>,
}

/// An order that a reorganisation took away is worked on for so many blocks more: most come back with the next.
const GONE_DEPTH: u64 = 64;
/// An order that was closed or taken away so many blocks ago is forgotten, as is one long past its deadline: its
/// requester may take the money back at any time, or never.
const FORGET_DEPTH: u64 = 256;
const FORGET_SECONDS: u64 = 7 * 24 * 3600;
/// Before a bag's deadline: a settlement needs its time too.
const MARGIN_SECONDS_MAX: u64 = 120;

impl Ledger {
    pub(super) fn restore(orders: impl IntoIterator<Item = (B256, Order)>, chain: ChainView) -> Self {
        Self { orders: orders.into_iter().collect(), chain, ..Self::default() }
    }

    pub(super) fn get(&self, id: &B256) -> Option<&Order> {
        self.orders.get(id)
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = (&B256, &Order)> {
        self.orders.iter()
    }

    pub(super) fn todos(&self, now_s: u64, confirmations: Confirmations) -> Vec<(B256, Todo)> {
        let now_s = now_s.max(self.chain.timestamp);
        let todo = |(id, order): (&B256, &Order)| Some((*id, order.todo(self.chain, now_s, confirmations)?));
        self.orders.iter().filter_map(todo).collect()
    }

    /// Blocks above `to` are gone, and with them what they told.
    pub(super) fn rewind(&mut self, to: u64) {
        for (id, order) in &mut self.orders {
            let requested = order.requested_in.filter(|block| *block <= to);
            let closed = order.closed.filter(|closed| closed.block <= to);
            let rewound = order.course.rewind(to);
            if rewound || (requested, closed) != (order.requested_in, order.closed) {
                if requested.is_none() && order.requested_in.is_some() {
                    order.missing_since = to;
                }
                (order.requested_in, order.closed) = (requested, closed);
                self.changed.insert(*id);
            }
        }
        self.chain.head = to;
    }

    pub(super) fn requested(&mut self, id: B256, details: IMarket::Order, block: u64) {
        self.orders.entry(id).or_insert_with(|| Order::new(details, block)).requested_in = Some(block);
        let chain = self.chain;
        self.change(id, |order| {
            if order.course.seen_at == 0 {
                order.course.seen_at = chain.timestamp;
            }
        });
    }

    /// The chain will hear that work goes on.
    pub(super) fn kept(&mut self, id: B256, until: u64) {
        self.change(id, |order| order.course.kept_until = until);
    }

    pub(super) fn closed(&mut self, id: B256, how: Closing, block: u64) {
        self.change(id, |order| order.closed = Some(Closed { how, block }));
    }

    /// Tasks up to `done` are settled, for which `paid` nRLC went to workers. The last of them closes the order.
    pub(super) fn settled(&mut self, id: B256, done: u64, paid: u128, block: u64) {
        self.change(id, |order| {
            order.course.settle(done, paid, block);
            if done >= order.details.units {
                order.closed = Some(Closed { how: Closing::Settled, block });
            }
        });
    }

    pub(super) fn cancel(&mut self, id: B256, cancel: Cancel, block: u64) {
        self.change(id, |order| order.course.cancels.push((block, cancel)));
    }

    fn change(&mut self, id: B256, change: impl FnOnce(&mut Order)) {
        if let Some(order) = self.orders.get_mut(&id) {
            change(order);
            self.changed.insert(id);
        }
    }

    /// The chain has come to `chain`; what is closed for good is forgotten.
    pub(super) fn advance(&mut self, chain: ChainView) {
        self.chain = chain;
        self.forgotten.extend(self.orders.extract_if(.., |_, order| order.is_past(chain)).map(|(id, _)| id));
    }

    /// The pool's part of an order has moved on. A step back is ignored: it is old news.
    pub(super) fn work(&mut self, id: B256, work: Work) {
        if self.orders.get(&id).is_some_and(|order| order.work.rank() < work.rank()) {
            self.change(id, |order| {
                if !work.earners().is_empty() {
                    order.course.earners = work.earners().to_vec();
                }
                order.work = work;
            });
        }
    }

    /// A group was refused: each of its orders is settled alone.
    pub(super) fn scatter(&mut self, name: B256) {
        let member = |(id, order): (&B256, &Order)| match &order.work {
            Work::Settling { job, answer, group } if *group == Some(name) => Some((*id, *job, answer.clone())),
            _ => None,
        };
        let members: Vec<_> = self.orders.iter().filter_map(member).collect();
        for (id, job, answer) in members {
            self.work(id, Work::Alone { job, answer });
        }
    }

    /// The workers of an order have what they earned; `false` if they had it already.
    pub(super) fn credited(&mut self, id: B256) -> bool {
        let due = self.orders.get(&id).is_some_and(|order| !order.course.credited);
        if due {
            self.change(id, |order| order.course.credited = true);
        }
        due
    }

    /// Orders forgotten since last asked; their rows stay for the record.
    pub(super) fn take_forgotten(&mut self) -> Vec<B256> {
        std::mem::take(&mut self.forgotten)
    }

    /// Orders changed since last asked, to be made durable.
    pub(super) fn take_changed(&mut self) -> Vec<(B256, Order)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|id| Some((id, self.orders.get(&id)?.clone()))).collect()
    }
}

impl Course {
    fn settle(&mut self, done: u64, paid: u128, block: u64) {
        match self.settlements.last_mut().filter(|last| last.block == block) {
            Some(last) => (last.done, last.paid) = (done, last.paid + paid),
            None => self.settlements.push(Settlement { block, done, paid }),
        }
    }

    fn rewind(&mut self, to: u64) -> bool {
        let before = (self.settlements.len(), self.cancels.len());
        self.settlements.retain(|settlement| settlement.block <= to);
        self.cancels.retain(|(block, _)| *block <= to);
        before != (self.settlements.len(), self.cancels.len())
    }
}

/// An amount that a contract counts in 256 bits; more nRLC than 128 bits count do not exist.
pub(super) fn nrlc(amount: U256) -> u128 {
    u128::try_from(amount).unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Bytes, U256};

    use super::*;

    const ID: B256 = B256::repeat_byte(7);
    const AT_ONCE: Confirmations = Confirmations { start: 0, settle: 0, finality: false };

    fn details() -> IMarket::Order {
        IMarket::Order {
            offer: B256::ZERO,
            requester: Address::ZERO,
            callback: Address::ZERO,
            callbackGas: 0,
            units: 1,
            price: "1".parse().unwrap(),
            deadline: 1_000,
            nonce: U256::ZERO,
            params: Bytes::new(),
        }
    }

    fn at(head: u64, timestamp: u64) -> ChainView {
        ChainView { head, timestamp, finalized: None, behind: false }
    }

    fn answer() -> Answer {
        Answer { worker: Address::repeat_byte(1), result: Bytes::from_static(b"k"), earners: Vec::new() }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.requested(ID, details(), 10);
        ledger.advance(at(10, 500));
        ledger
    }

    fn todo(ledger: &Ledger) -> Option<Todo> {
        ledger.todos(0, AT_ONCE).pop().map(|(_, todo)| todo)
    }

    #[test]
    fn an_order_is_started_answered_and_settled_once() {
        let mut ledger = ledger();
        assert_eq!(todo(&ledger), Some(Todo::StartJob));
        ledger.work(ID, Work::Started { job: JobId(1) });
        assert_eq!(todo(&ledger), None);
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        assert_eq!(todo(&ledger), Some(Todo::Settle { answer: answer(), alone: false }));
        ledger.work(ID, Work::Settling { job: JobId(1), answer: answer(), group: None });
        assert_eq!(todo(&ledger), None);
        // Old news from the pool does not bring it back.
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        assert_eq!(todo(&ledger), None);
        ledger.closed(ID, Closing::Settled, 11);
        assert_eq!(todo(&ledger), None);
    }

    #[test]
    fn an_order_that_a_reorganisation_dropped_is_never_settled() {
        let mut ledger = ledger();
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.rewind(9);
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        assert_eq!(todo(&ledger), None);
        ledger.requested(ID, details(), 10);
        ledger.advance(at(10, 500));
        assert_eq!(todo(&ledger), Some(Todo::Settle { answer: answer(), alone: false }));
    }

    #[test]
    fn an_order_that_does_not_come_back_is_let_go() {
        let mut ledger = ledger();
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.rewind(9);
        ledger.advance(at(9 + GONE_DEPTH - 1, 501));
        assert_eq!(todo(&ledger), None);
        ledger.advance(at(9 + GONE_DEPTH, 502));
        assert_eq!(todo(&ledger), Some(Todo::CancelJob { job: JobId(1) }));
        ledger.advance(at(9 + FORGET_DEPTH, 503));
        assert!(ledger.get(&ID).is_some(), "its job is still to be cancelled");
        ledger.work(ID, Work::Over { reason: "gone".into() });
        ledger.advance(at(9 + FORGET_DEPTH, 503));
        assert!(ledger.get(&ID).is_none());
    }

    #[test]
    fn an_order_that_nobody_closes_is_forgotten_long_after_its_deadline() {
        let mut ledger = ledger();
        ledger.advance(at(11, 1_000 + FORGET_SECONDS));
        assert!(ledger.get(&ID).is_some());
        ledger.advance(at(12, 1_001 + FORGET_SECONDS));
        assert!(ledger.get(&ID).is_none());
    }

    #[test]
    fn work_starts_early_and_money_moves_late() {
        let mut ledger = ledger();
        let careful = Confirmations { start: 1, settle: 5, finality: false };
        assert_eq!(ledger.todos(0, careful), []);
        ledger.advance(at(11, 501));
        assert_eq!(ledger.todos(0, careful), [(ID, Todo::StartJob)]);
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        ledger.advance(at(14, 504));
        assert_eq!(ledger.todos(0, careful), []);
        ledger.advance(at(15, 505));
        assert_eq!(ledger.todos(0, careful), [(ID, Todo::Settle { answer: answer(), alone: false })]);
        // Blocks that a reorganisation took away are no confirmations.
        ledger.rewind(13);
        assert_eq!(ledger.todos(0, careful), []);
    }

    #[test]
    fn an_order_that_others_closed_or_that_expired_stops_its_job() {
        for expire in [false, true] {
            let mut ledger = ledger();
            ledger.work(ID, Work::Started { job: JobId(3) });
            if expire {
                ledger.advance(at(11, 1_001));
            } else {
                ledger.closed(ID, Closing::Refunded, 10);
            }
            assert_eq!(todo(&ledger), Some(Todo::CancelJob { job: JobId(3) }));
            ledger.work(ID, Work::Over { reason: "expired".into() });
            // The money of an order that nobody has ended goes back.
            assert_eq!(matches!(todo(&ledger), Some(Todo::Decline { .. })), expire);
            ledger.work(ID, Work::Declining { reason: "late".into() });
            assert_eq!(todo(&ledger), None);
        }
    }

    #[test]
    fn a_cancelled_order_is_given_back_at_once_unless_work_has_begun() {
        let mut ledger = ledger();
        ledger.cancel(ID, Cancel::Until(800), 10);
        assert!(matches!(todo(&ledger), Some(Todo::Decline { .. })));
        ledger.work(ID, Work::Started { job: JobId(1) });
        assert_eq!(todo(&ledger), Some(Todo::Keep { until: 800 }));
        ledger.kept(ID, 800);
        assert_eq!(todo(&ledger), None);
        // Until the chain says that it is kept, there is an hour only.
        ledger.advance(at(11, 801));
        assert_eq!(todo(&ledger), Some(Todo::CancelJob { job: JobId(1) }));
        ledger.cancel(ID, Cancel::Kept, 11);
        assert_eq!(todo(&ledger), None);
        ledger.rewind(10);
        ledger.advance(at(10, 700));
        assert_eq!(todo(&ledger), None, "the chain has been told already");
    }

    fn bag(units: u64) -> Ledger {
        let mut ledger = Ledger { chain: at(9, 490), ..Ledger::default() };
        ledger.requested(ID, IMarket::Order { units, nonce: U256::from(1) << BAG_BIT, ..details() }, 10);
        ledger.advance(at(10, 500));
        ledger
    }

    fn batch(root: Option<B256>) -> Batch {
        let earners = root.iter().map(|_| Earner { worker: Address::repeat_byte(1), weight: 1 }).collect();
        Batch { job: JobId(1), failed: 1, root, earners }
    }

    #[test]
    fn a_bag_is_delivered_in_parts_each_after_the_last() {
        let mut ledger = bag(5);
        ledger.work(ID, Work::Started { job: JobId(1) });
        let gathered = batch(None);
        ledger.work(ID, Work::Gathered { batch: gathered.clone() });
        assert_eq!(todo(&ledger), Some(Todo::SettleBag { batch: gathered.clone(), first: 0 }));
        ledger.work(ID, Work::Delivering { batch: gathered.clone(), upto: 3 });
        assert_eq!(todo(&ledger), None);
        (1..=3).for_each(|done| ledger.settled(ID, done, 1, 11));
        assert_eq!(todo(&ledger), Some(Todo::SettleBag { batch: gathered.clone(), first: 3 }));
        // What a reorganisation takes away the outbox sends again.
        ledger.rewind(10);
        assert_eq!(todo(&ledger), None);
        ledger.settled(ID, 3, 3, 12);
        ledger.advance(at(12, 501));
        ledger.work(ID, Work::Delivering { batch: gathered, upto: 5 });
        ledger.settled(ID, 5, 1, 13);
        assert!(ledger.get(&ID).is_some_and(|order| order.closed.is_some() && order.paid() == 4));
        assert_eq!(todo(&ledger), None, "the chain has paid its workers itself");
    }

    #[test]
    fn what_a_bag_earned_is_credited_once_and_only_when_it_is_final() {
        let mut ledger = bag(5);
        let careful = Confirmations { start: 0, settle: 2, finality: true };
        let batch = batch(Some(B256::ZERO));
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.work(ID, Work::Gathered { batch: batch.clone() });
        ledger.work(ID, Work::Delivering { batch: batch.clone(), upto: 5 });
        ledger.settled(ID, 5, 40, 11);
        ledger.advance(ChainView { finalized: Some(10), ..at(13, 502) });
        assert_eq!(ledger.todos(0, careful), []);
        ledger.advance(ChainView { finalized: Some(11), ..at(12, 502) });
        assert_eq!(ledger.todos(0, careful), []);
        ledger.advance(ChainView { finalized: Some(11), ..at(13, 503) });
        let credit = Todo::Credit { earners: batch.earners, amount: 40 };
        assert_eq!(ledger.todos(0, careful), [(ID, credit)]);
        assert!(ledger.credited(ID));
        assert!(!ledger.credited(ID));
        assert_eq!(ledger.todos(0, careful), []);
        ledger.advance(at(11 + FORGET_DEPTH, 504));
        assert!(ledger.get(&ID).is_none());
    }

    #[test]
    fn nothing_is_begun_before_the_whole_chain_is_known() {
        let mut ledger = ledger();
        ledger.advance(ChainView { behind: true, ..at(20, 500) });
        assert_eq!(todo(&ledger), None);
        ledger.closed(ID, Closing::Refunded, 15);
        ledger.advance(at(20, 510));
        assert_eq!(todo(&ledger), None, "it is over, and no work was done in vain");
    }

    #[test]
    fn a_bag_that_runs_late_is_cut_short_while_there_is_time_to_settle_it() {
        let mut ledger = bag(5);
        ledger.work(ID, Work::Started { job: JobId(1) });
        // A quarter of 510 seconds is more than the margin.
        assert_eq!(ledger.todos(1_000 - MARGIN_SECONDS_MAX, AT_ONCE), []);
        let cut = Todo::CutShort { job: JobId(1) };
        assert_eq!(ledger.todos(1_001 - MARGIN_SECONDS_MAX, AT_ONCE), [(ID, cut)]);
    }

    #[test]
    fn the_orders_of_a_refused_group_are_settled_alone() {
        let mut ledger = ledger();
        let name = B256::repeat_byte(9);
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        ledger.work(ID, Work::Settling { job: JobId(1), answer: answer(), group: Some(name) });
        ledger.scatter(B256::ZERO);
        assert_eq!(todo(&ledger), None);
        ledger.scatter(name);
        assert_eq!(todo(&ledger), Some(Todo::Settle { answer: answer(), alone: true }));
    }

    #[test]
    fn an_order_is_settled_up_to_its_last_second_only() {
        let mut ledger = ledger();
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        ledger.advance(at(11, 1_000));
        assert!(matches!(todo(&ledger), Some(Todo::Settle { .. })));
        ledger.advance(at(12, 1_001));
        assert_eq!(todo(&ledger), Some(Todo::Decline { reason: "there was no result in time".into() }));
    }

    #[test]
    fn a_failed_job_is_declined() {
        let mut ledger = ledger();
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.work(ID, Work::Failed { reason: "poison".into() });
        assert_eq!(todo(&ledger), Some(Todo::Decline { reason: "poison".into() }));
        ledger.work(ID, Work::Declining { reason: "poison".into() });
        assert_eq!(todo(&ledger), None);
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_long_closed_is_forgotten() {
        let mut ledger = ledger();
        assert_eq!(ledger.take_changed().len(), 1);
        assert_eq!(ledger.take_changed().len(), 0);
        ledger.rewind(20);
        assert_eq!(ledger.take_changed().len(), 0);
        ledger.closed(ID, Closing::Settled, 11);
        ledger.advance(at(11 + FORGET_DEPTH - 1, 500));
        assert!(ledger.get(&ID).is_some());
        ledger.advance(at(11 + FORGET_DEPTH, 500));
        assert!(ledger.get(&ID).is_none());
        assert_eq!(ledger.take_forgotten(), [ID]);
    }
}
