//! What the oracle knows about each order, and what follows from it: pure.
//!
//! The chain and the pool both tell of an order, in any order and more than once; a reorganisation takes back what the
//! chain told. [`Order::todo`] looks at the whole and says the next thing to do, so whatever is interrupted is taken up
//! where it stopped by asking again.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, Bytes};
use gristmill_chain::contracts::IMarket;
use gristmill_proto::id::JobId;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) details: IMarket::Order,
    /// Block of the `Requested` event; none while a reorganisation has taken it away.
    pub(super) requested_in: Option<u64>,
    /// Head of the chain when it was taken away.
    missing_since: u64,
    /// How the chain says it ended.
    pub(super) closed: Option<Closed>,
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

/// What the pool has done about it. Only ever moves forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    None,
    Started {
        job: JobId,
    },
    /// The verifier accepts this answer.
    Answered {
        job: JobId,
        answer: Answer,
    },
    /// A settlement is in the outbox.
    Settling {
        job: JobId,
        answer: Answer,
    },
    /// The pool cannot or will not do it.
    Failed {
        reason: String,
    },
    /// A decline is in the outbox.
    Declining {
        reason: String,
    },
    /// Nothing more will be done: the chain refuses what was tried, or the order is gone.
    Over {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) worker: Address,
    pub(super) result: Bytes,
}

/// The next thing to do about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    StartJob,
    CancelJob { job: JobId },
    Settle { answer: Answer },
    Decline { reason: String },
}

/// The chain as the oracle has seen it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChainView {
    pub(super) head: u64,
    /// Seconds, of the newest block seen.
    pub(super) timestamp: u64,
}

/// Blocks on top of an order's own before the oracle acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmations {
    /// Work may start early: what is lost is the pool's own time.
    pub start: u64,
    /// Money moves late: what is on chain cannot be taken back.
    pub settle: u64,
}

impl Order {
    fn new(details: IMarket::Order, block: u64) -> Self {
        Self { details, requested_in: Some(block), missing_since: 0, closed: None, work: Work::None }
    }

    /// As it was stored. How long it has been missing is counted anew.
    pub(super) fn stored(
        details: IMarket::Order,
        requested_in: Option<u64>,
        closed: Option<Closed>,
        work: Work,
        chain: ChainView,
    ) -> Self {
        Self { details, requested_in, missing_since: chain.head, closed, work }
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
        (closed || missing || expired) && !matches!(self.work, Work::Started { .. })
    }

    pub(super) fn todo(&self, chain: ChainView, confirmations: Confirmations) -> Option<Todo> {
        let expired = chain.timestamp > self.details.deadline;
        if self.closed.is_some() || expired || self.is_gone(chain) {
            return match self.work {
                Work::Started { job } => Some(Todo::CancelJob { job }),
                _ => None,
            };
        }
        let depth = chain.head.checked_sub(self.requested_in?)?;
        match &self.work {
            Work::None if depth >= confirmations.start => Some(Todo::StartJob),
            Work::Answered { answer, .. } if depth >= confirmations.settle => {
                Some(Todo::Settle { answer: answer.clone() })
            }
            Work::Failed { reason } if depth >= confirmations.settle => Some(Todo::Decline { reason: reason.clone() }),
            _ => None,
        }
    }
}

impl Work {
    pub(super) fn job(&self) -> Option<JobId> {
        match self {
            Self::Started { job } | Self::Answered { job, .. } | Self::Settling { job, .. } => Some(*job),
            Self::None | Self::Failed { .. } | Self::Declining { .. } | Self::Over { .. } => None,
        }
    }
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

    pub(super) fn todos(&self, confirmations: Confirmations) -> Vec<(B256, Todo)> {
        let todo = |(id, order): (&B256, &Order)| Some((*id, order.todo(self.chain, confirmations)?));
        self.orders.iter().filter_map(todo).collect()
    }

    /// Blocks above `to` are gone, and with them what they told.
    pub(super) fn rewind(&mut self, to: u64) {
        for (id, order) in &mut self.orders {
            let requested = order.requested_in.filter(|block| *block <= to);
            let closed = order.closed.filter(|closed| closed.block <= to);
            if (requested, closed) != (order.requested_in, order.closed) {
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
        self.changed.insert(id);
    }

    pub(super) fn closed(&mut self, id: B256, how: Closing, block: u64) {
        if let Some(order) = self.orders.get_mut(&id) {
            order.closed = Some(Closed { how, block });
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
        if let Some(order) = self.orders.get_mut(&id).filter(|order| order.work.rank() < work.rank()) {
            order.work = work;
            self.changed.insert(id);
        }
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

impl Work {
    fn rank(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Started { .. } => 1,
            Self::Answered { .. } | Self::Failed { .. } => 2,
            Self::Settling { .. } | Self::Declining { .. } => 3,
            Self::Over { .. } => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;

    const ID: B256 = B256::repeat_byte(7);
    const AT_ONCE: Confirmations = Confirmations { start: 0, settle: 0 };

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

    fn answer() -> Answer {
        Answer { worker: Address::repeat_byte(1), result: Bytes::from_static(b"k") }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.requested(ID, details(), 10);
        ledger.advance(ChainView { head: 10, timestamp: 500 });
        ledger
    }

    fn todo(ledger: &Ledger) -> Option<Todo> {
        ledger.todos(AT_ONCE).pop().map(|(_, todo)| todo)
    }

    #[test]
    fn an_order_is_started_answered_and_settled_once() {
        let mut ledger = ledger();
        assert_eq!(todo(&ledger), Some(Todo::StartJob));
        ledger.work(ID, Work::Started { job: JobId(1) });
        assert_eq!(todo(&ledger), None);
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        assert_eq!(todo(&ledger), Some(Todo::Settle { answer: answer() }));
        ledger.work(ID, Work::Settling { job: JobId(1), answer: answer() });
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
        ledger.advance(ChainView { head: 10, timestamp: 500 });
        assert_eq!(todo(&ledger), Some(Todo::Settle { answer: answer() }));
    }

    #[test]
    fn an_order_that_does_not_come_back_is_let_go() {
        let mut ledger = ledger();
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.rewind(9);
        ledger.advance(ChainView { head: 9 + GONE_DEPTH - 1, timestamp: 501 });
        assert_eq!(todo(&ledger), None);
        ledger.advance(ChainView { head: 9 + GONE_DEPTH, timestamp: 502 });
        assert_eq!(todo(&ledger), Some(Todo::CancelJob { job: JobId(1) }));
        ledger.advance(ChainView { head: 9 + FORGET_DEPTH, timestamp: 503 });
        assert!(ledger.get(&ID).is_some(), "its job is still to be cancelled");
        ledger.work(ID, Work::Over { reason: "gone".into() });
        ledger.advance(ChainView { head: 9 + FORGET_DEPTH, timestamp: 503 });
        assert!(ledger.get(&ID).is_none());
    }

    #[test]
    fn an_order_that_nobody_closes_is_forgotten_long_after_its_deadline() {
        let mut ledger = ledger();
        ledger.advance(ChainView { head: 11, timestamp: 1_000 + FORGET_SECONDS });
        assert!(ledger.get(&ID).is_some());
        ledger.advance(ChainView { head: 12, timestamp: 1_001 + FORGET_SECONDS });
        assert!(ledger.get(&ID).is_none());
    }

    #[test]
    fn work_starts_early_and_money_moves_late() {
        let mut ledger = ledger();
        let careful = Confirmations { start: 1, settle: 5 };
        assert_eq!(ledger.todos(careful), []);
        ledger.advance(ChainView { head: 11, timestamp: 501 });
        assert_eq!(ledger.todos(careful), [(ID, Todo::StartJob)]);
        ledger.work(ID, Work::Started { job: JobId(1) });
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        ledger.advance(ChainView { head: 14, timestamp: 504 });
        assert_eq!(ledger.todos(careful), []);
        ledger.advance(ChainView { head: 15, timestamp: 505 });
        assert_eq!(ledger.todos(careful), [(ID, Todo::Settle { answer: answer() })]);
        // Blocks that a reorganisation took away are no confirmations.
        ledger.rewind(13);
        assert_eq!(ledger.todos(careful), []);
    }

    #[test]
    fn an_order_that_others_closed_or_that_expired_stops_its_job() {
        for expire in [false, true] {
            let mut ledger = ledger();
            ledger.work(ID, Work::Started { job: JobId(3) });
            if expire {
                ledger.advance(ChainView { head: 11, timestamp: 1_001 });
            } else {
                ledger.closed(ID, Closing::Refunded, 10);
            }
            assert_eq!(todo(&ledger), Some(Todo::CancelJob { job: JobId(3) }));
            ledger.work(ID, Work::Over { reason: "expired".into() });
            assert_eq!(todo(&ledger), None);
        }
    }

    #[test]
    fn an_order_is_settled_up_to_its_last_second_only() {
        let mut ledger = ledger();
        ledger.work(ID, Work::Answered { job: JobId(1), answer: answer() });
        ledger.advance(ChainView { head: 11, timestamp: 1_000 });
        assert!(matches!(todo(&ledger), Some(Todo::Settle { .. })));
        ledger.advance(ChainView { head: 12, timestamp: 1_001 });
        assert_eq!(todo(&ledger), None);
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
        ledger.advance(ChainView { head: 11 + FORGET_DEPTH - 1, timestamp: 500 });
        assert!(ledger.get(&ID).is_some());
        ledger.advance(ChainView { head: 11 + FORGET_DEPTH, timestamp: 500 });
        assert!(ledger.get(&ID).is_none());
        assert_eq!(ledger.take_forgotten(), [ID]);
    }
}
