//! Histories that nobody would think of: a market, a pool and a clock that do as a seed says, with the ledger between
//! them. Whatever happens, every order ends once, and every nRLC is somebody's.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, U256};
use gristmill_chain::contracts::IMarket;
use gristmill_proto::id::JobId;

use super::ledger::{Cancel, ChainView, Closing, Confirmations, Ledger, Todo};
use super::pay::split;
use super::work::{Answer, Batch, Earner, Work};

const UNIT_PRICE: u128 = 97;
const CONFIRMATIONS: Confirmations = Confirmations { start: 0, settle: 3, finality: false };
/// Blocks a reorganisation may take here: no deeper than what is waited for before money is promised.
const REORG_MAX: usize = 3;

struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The market's own books, as its contract keeps them.
#[derive(Clone, Default)]
struct Market {
    open: BTreeMap<B256, Open>,
    requesters: u128,
    workers: u128,
    pool: u128,
    paid_in: u128,
}

#[derive(Clone)]
struct Open {
    order: IMarket::Order,
    done: u64,
    cancel_until: Option<u64>,
    kept: bool,
}

#[derive(Clone)]
enum Event {
    Requested(B256, IMarket::Order),
    Settled(B256, u64, u128),
    Refunded(B256),
    Cancel(B256, Cancel),
}

#[derive(Clone)]
enum Sent {
    Settle(Vec<B256>),
    Bag { id: B256, first: u64, upto: u64, failed: u64 },
    Decline(B256),
    Keep(B256),
}

impl Market {
    fn request(&mut self, id: B256, order: IMarket::Order) -> Event {
        self.paid_in += price(&order);
        self.open.insert(id, Open { order: order.clone(), done: 0, cancel_until: None, kept: false });
        Event::Requested(id, order)
    }

    /// As the contract would: what has ended or is late is passed over.
    fn take(&mut self, sent: &Sent, now: u64) -> Vec<Event> {
        match sent {
            Sent::Settle(ids) => ids.iter().filter_map(|id| self.settle(*id, u64::MAX, 0, now)).collect(),
            Sent::Bag { id, first, upto, failed } => {
                let fits = self.open.get(id).is_some_and(|open| open.done == *first);
                fits.then(|| self.settle(*id, *upto, *failed, now)).flatten().into_iter().collect()
            }
            Sent::Decline(id) => self.refund(*id).into_iter().collect(),
            Sent::Keep(id) => {
                let Some(open) = self.open.get_mut(id) else { return Vec::new() };
                if open.cancel_until.take_if(|until| now <= *until).is_none() {
                    return Vec::new();
                }
                open.kept = true;
                vec![Event::Cancel(*id, Cancel::Kept)]
            }
        }
    }

    fn settle(&mut self, id: B256, upto: u64, failed: u64, now: u64) -> Option<Event> {
        let open = self.open.get_mut(&id)?;
        if now > open.order.deadline.min(open.cancel_until.unwrap_or(u64::MAX)) {
            return None;
        }
        let upto = upto.min(open.order.units);
        let worth = u128::from(upto - open.done - failed) * UNIT_PRICE;
        let (fee, refund) = (worth / 10, u128::from(failed) * UNIT_PRICE);
        open.done = upto;
        self.pool += fee;
        self.workers += worth - fee;
        self.requesters += refund;
        if upto == open.order.units {
            self.open.remove(&id);
        }
        Some(Event::Settled(id, upto, worth - fee))
    }

    fn refund(&mut self, id: B256) -> Option<Event> {
        let open = self.open.remove(&id)?;
        self.requesters += u128::from(open.order.units - open.done) * UNIT_PRICE;
        Some(Event::Refunded(id))
    }

    fn check(&self) {
        let open: u128 = self.open.values().map(|open| u128::from(open.order.units - open.done) * UNIT_PRICE).sum();
        assert_eq!(self.paid_in, open + self.requesters + self.workers + self.pool, "every nRLC is somebody's");
    }
}

fn price(order: &IMarket::Order) -> u128 {
    u128::from(order.units) * UNIT_PRICE
}

struct World {
    dice: Dice,
    /// The market after each block, and what the block said.
    blocks: Vec<(Market, Vec<Event>)>,
    now: u64,
    ledger: Ledger,
    outbox: Vec<Sent>,
    orders: u64,
    credits: BTreeMap<Address, u128>,
    /// By order: whether the pool is paid and owes its workers.
    vouchers: BTreeMap<B256, bool>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            blocks: vec![(Market::default(), Vec::new())],
            now: 1_000,
            ledger: Ledger::default(),
            outbox: Vec::new(),
            orders: 0,
            credits: BTreeMap::new(),
            vouchers: BTreeMap::new(),
        }
    }

    fn head(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    fn step(&mut self, ordering: bool) {
        self.now += self.dice.roll(40);
        match self.dice.roll(12) {
            0 if self.blocks.len() > REORG_MAX + 1 => self.reorganise(),
            1..=6 => self.mine(ordering),
            _ => {}
        }
        // News comes in any order and more than once; some is lost until it is asked for again.
        if self.dice.roll(3) > 0 {
            self.act();
        }
    }

    fn mine(&mut self, ordering: bool) {
        let mut market = self.blocks.last().expect("there is a first block").0.clone();
        let mut events = Vec::new();
        for _ in 0..self.dice.roll(3) {
            if ordering {
                let order = self.order();
                let id = B256::from(U256::from(self.orders));
                events.push(market.request(id, order));
            }
        }
        let some = market.open.keys().nth(self.dice.roll(20) as usize).copied();
        if let Some(id) = some
            && let Some(open) = market.open.get_mut(&id).filter(|open| !open.kept && open.done == 0)
            && open.cancel_until.is_none()
        {
            let until = self.now + 60;
            open.cancel_until = Some(until);
            events.push(Event::Cancel(id, Cancel::Until(until)));
        }
        // A node may take a transaction with any block; none is lost.
        for sent in self.outbox.clone() {
            if self.dice.roll(3) > 0 {
                events.extend(market.take(&sent, self.now));
            }
        }
        // Anybody may refund what is late.
        let late = |open: &Open| self.now > open.order.deadline.min(open.cancel_until.unwrap_or(u64::MAX));
        let late: Vec<B256> = market.open.iter().filter(|(_, open)| late(open)).map(|(id, _)| *id).collect();
        for id in late {
            if self.dice.roll(8) == 0 {
                events.extend(market.refund(id));
            }
        }
        market.check();
        self.blocks.push((market, events));
        self.tell_block();
    }

    fn order(&mut self) -> IMarket::Order {
        self.orders += 1;
        let is_bag = self.dice.roll(2) == 0;
        let id = B256::from(U256::from(self.orders));
        let voucher = self.dice.roll(2) == 0;
        self.vouchers.insert(id, voucher);
        IMarket::Order {
            units: 1 + self.dice.roll(9),
            deadline: self.now + 100 + self.dice.roll(1_000),
            nonce: if is_bag { U256::from(1) << 255 } else { U256::ZERO },
            ..IMarket::Order::default()
        }
    }

    fn tell_block(&mut self) {
        let block = self.head();
        self.ledger.chain.timestamp = self.now;
        for event in self.blocks.last().expect("there is a block").1.clone() {
            match event {
                Event::Requested(id, order) => self.ledger.requested(id, order, block),
                Event::Settled(id, done, paid) => self.ledger.settled(id, done, paid, block),
                Event::Refunded(id) => self.ledger.closed(id, Closing::Refunded, block),
                Event::Cancel(id, cancel) => self.ledger.cancel(id, cancel, block),
            }
        }
        self.ledger.advance(ChainView { head: block, timestamp: self.now, finalized: None, behind: false });
    }

    /// Orders of the lost blocks come again; what we sent stays in the outbox.
    fn reorganise(&mut self) {
        let lost = 1 + self.dice.roll(REORG_MAX as u64) as usize;
        let events: Vec<Event> = self.blocks.drain(self.blocks.len() - lost..).flat_map(|(_, events)| events).collect();
        self.ledger.rewind(self.head());
        let mut market = self.blocks.last().expect("there is a first block").0.clone();
        let mut again = Vec::new();
        for event in events {
            if let Event::Requested(id, order) = event {
                again.push(market.request(id, order));
            }
        }
        self.blocks.push((market.clone(), again));
        self.tell_block();
        // The chain that wins is the longer one.
        for _ in 0..lost {
            self.blocks.push((market.clone(), Vec::new()));
            self.tell_block();
        }
    }

    fn act(&mut self) {
        for (id, todo) in self.ledger.todos(self.now, CONFIRMATIONS) {
            if self.dice.roll(10) == 0 {
                continue;
            }
            self.take(id, todo);
        }
    }

    fn take(&mut self, id: B256, todo: Todo) {
        let job = JobId(1);
        match todo {
            Todo::StartJob if self.dice.roll(10) == 0 => self.ledger.work(id, Work::Failed { reason: "no".into() }),
            Todo::StartJob => {
                self.ledger.work(id, Work::Started { job });
                if self.dice.roll(3) > 0 {
                    self.finish(id);
                }
            }
            Todo::CancelJob { .. } => self.ledger.work(id, Work::Over { reason: "late".into() }),
            Todo::CutShort { .. } => self.finish(id),
            Todo::Keep { until } => {
                self.outbox.push(Sent::Keep(id));
                self.ledger.kept(id, until);
            }
            Todo::Settle { answer, alone: false } => {
                self.outbox.push(Sent::Settle(vec![id]));
                self.ledger.work(id, Work::Settling { job, answer, group: None });
            }
            Todo::Settle { answer, alone: true } => self.ledger.work(id, Work::SettlingAlone { job, answer }),
            Todo::SettleBag { batch, first } => {
                let units = self.ledger.get(&id).expect("it is there").details.units;
                // By root at once; by list in parts, whose failures are wherever they are.
                let (upto, failed) = match batch.root {
                    Some(_) => (units, batch.failed),
                    None => (units.min(first + 1 + self.dice.roll(4)), 0),
                };
                self.outbox.push(Sent::Bag { id, first, upto, failed });
                self.ledger.work(id, Work::Delivering { batch, upto });
            }
            Todo::Decline { reason } => {
                self.outbox.push(Sent::Decline(id));
                self.ledger.work(id, Work::Declining { reason });
            }
            Todo::Credit { earners, amount } => {
                assert!(self.ledger.credited(id), "credited once");
                for (worker, part) in split(amount, &earners) {
                    *self.credits.entry(worker).or_default() += part;
                }
            }
        }
    }

    fn finish(&mut self, id: B256) {
        let voucher = self.vouchers[&id];
        let order = self.ledger.get(&id).expect("it is there");
        let (is_bag, units) = (order.is_bag(), order.details.units);
        let mut earner =
            |_| Earner { worker: Address::repeat_byte(self.dice.roll(5) as u8), weight: self.dice.roll(9) };
        let mut earners: Vec<Earner> = if voucher { (0..3).map(&mut earner).collect() } else { Vec::new() };
        if let Some(first) = earners.first_mut() {
            first.weight += 1;
        }
        let work = if is_bag {
            let failed = if voucher { self.dice.roll(units) } else { 0 };
            let root = voucher.then_some(B256::ZERO);
            Work::Gathered { batch: Batch { job: JobId(1), failed, root, earners } }
        } else {
            let answer = Answer { worker: Address::ZERO, result: Bytes::new(), earners };
            Work::Answered { job: JobId(1), answer }
        };
        self.ledger.work(id, work);
    }

    /// What the market has paid to the pool for its workers.
    fn owed(&self) -> u128 {
        let events = self.blocks.iter().flat_map(|(_, events)| events);
        events
            .filter_map(|event| match event {
                Event::Settled(id, _, paid) if self.vouchers[id] => Some(*paid),
                _ => None,
            })
            .sum()
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed is shown when it fails")]
fn every_order_ends_once_and_every_nrlc_is_somebodys() {
    let first: u64 = std::env::var("GRISTMILL_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let last = if std::env::var_os("GRISTMILL_SEED").is_some() { first } else { 400 };
    for seed in first..=last {
        println!("GRISTMILL_SEED={seed}");
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..400).for_each(|_| world.step(true));
        (0..400).for_each(|_| world.step(false));
        let market = &world.blocks.last().unwrap().0;
        assert!(market.open.is_empty(), "orders are stuck: {:?}", market.open.keys());
        let mut ends: BTreeMap<B256, u64> = BTreeMap::new();
        for (_, events) in &world.blocks {
            for event in events {
                if let Event::Refunded(id) = event {
                    *ends.entry(*id).or_default() += 1;
                }
            }
        }
        assert!(ends.values().all(|times| *times == 1), "refunded twice");
        let credited: u128 = world.credits.values().sum();
        assert_eq!(credited, world.owed(), "workers have exactly what the market paid the pool for them");
        assert!(credited > 0 && market.requesters > 0, "a history in which something happens");
    }
}
