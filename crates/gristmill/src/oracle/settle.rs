//! Settlements on their way into the outbox.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::SolCall;
use anyhow::Result;
use gristmill_chain::contracts::{IMarket, Market};
use gristmill_chain::send::Action;

use super::gather::raw_answer;
use super::ledger::Ledger;
use super::work::{Answer, Batch, Work};
use super::{Oracle, store};

/// Orders settled in one transaction.
pub(super) const GROUP_MAX: usize = 100;
/// Nodes take 128 kB for a transaction.
const GROUP_BYTES_MAX: usize = 100_000;
/// A third of a block of Ethereum's smallest: whoever builds blocks still finds room for it.
const GROUP_GAS_MAX: u64 = 10_000_000;
/// What a settlement takes without verifier and callback, and what those may take besides.
const SETTLEMENT_GAS: u64 = 80_000;
/// Tasks of a bag that are settled one by one in one transaction.
const CHUNK_MAX: usize = 100;

/// An order that can be settled.
pub(super) struct Ready {
    pub(super) id: B256,
    pub(super) order: IMarket::Order,
    pub(super) answer: Answer,
}

/// Orders that wait for company.
#[derive(Default)]
pub(super) struct Waiting {
    since: Option<Instant>,
}

impl Waiting {
    /// How long to wait on; nothing if it is time. Nobody waits for what will not come.
    pub(super) fn for_more(&mut self, ready: usize, others: usize, at_most: Duration) -> Option<Duration> {
        if ready == 0 || ready >= GROUP_MAX || others == 0 {
            self.since = None;
            return None;
        }
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        let left = at_most.checked_sub(waited).filter(|left| !left.is_zero());
        if left.is_none() {
            self.since = None;
        }
        left
    }
}

/// Cuts what is ready into transactions that a node takes.
pub(super) fn groups(ready: Vec<Ready>) -> Vec<Vec<Ready>> {
    let mut groups: Vec<Vec<Ready>> = Vec::new();
    let (mut bytes, mut gas) = (usize::MAX, u64::MAX);
    for one in ready {
        // Its words, two offsets, and what is padded.
        let bytes_more = 32 * 20 + one.order.params.len() + one.answer.result.len();
        let gas_more = SETTLEMENT_GAS + u64::from(one.order.callbackGas) * 65 / 64 + 16 * bytes_more as u64;
        let is_full = groups.last().is_none_or(|group| group.len() >= GROUP_MAX)
            || bytes.saturating_add(bytes_more) > GROUP_BYTES_MAX
            || gas.saturating_add(gas_more) > GROUP_GAS_MAX;
        if is_full {
            groups.push(Vec::new());
            (bytes, gas) = (0, 0);
        }
        (bytes, gas) = (bytes + bytes_more, gas + gas_more);
        groups.last_mut().expect("there is one now").push(one);
    }
    groups
}

impl Oracle {
    pub(super) async fn settle_group(&self, mut group: Vec<Ready>) -> Result<()> {
        if group.len() == 1 {
            return self.settle_alone(group.swap_remove(0)).await;
        }
        let ids: Vec<u8> = group.iter().flat_map(|one| one.id.0).collect();
        let name = keccak256(ids);
        let settlement = |one: &Ready| IMarket::Settlement {
            order: one.order.clone(),
            worker: one.answer.worker,
            result: one.answer.result.clone(),
            proof: Bytes::new(),
        };
        let call = Market::settleManyCall { settlements: group.iter().map(settlement).collect() };
        let action = Action::call(group_key(name), self.market, call.abi_encode());
        let change = |ledger: &mut Ledger| {
            for one in group {
                if let Some(job) = job_of(ledger, &one.id) {
                    ledger.work(one.id, Work::Settling { job, answer: one.answer, group: Some(name) });
                }
            }
        };
        self.enqueue(change, action).await
    }

    pub(super) async fn settle_alone(&self, Ready { id, order, answer }: Ready) -> Result<()> {
        let Answer { worker, result, .. } = answer.clone();
        let call = Market::settleCall { order, worker, result }.abi_encode();
        let action = Action::call(format!("settle {id}"), self.market, call);
        let change = |ledger: &mut Ledger| {
            let Some(job) = job_of(ledger, &id) else { return };
            let before = ledger.get(&id).map(|order| order.work.clone());
            let work = match before {
                Some(Work::Alone { .. }) => Work::SettlingAlone { job, answer },
                _ => Work::Settling { job, answer, group: None },
            };
            ledger.work(id, work);
        };
        self.enqueue(change, action).await
    }

    pub(super) async fn settle_bag(&self, id: B256, batch: Batch, first: u64) -> Result<()> {
        let order = self.ready_details(&id).await?;
        let units = order.units;
        let (call, upto) = match batch.root {
            Some(root) => {
                let call = Market::settleBatchCall {
                    worker: self.pool_account,
                    count: U256::from(units - first),
                    failed: U256::from(batch.failed),
                    root,
                    proof: Bytes::new(),
                    order,
                };
                (call.abi_encode(), units)
            }
            None => {
                let results = self.next_tasks(&batch, first, &order).await?;
                let upto = first + results.len() as u64;
                (Market::settleTasksCall { order, results }.abi_encode(), upto)
            }
        };
        let action = Action::call(format!("bag {id} {first}"), self.market, call);
        self.enqueue(|ledger| ledger.work(id, Work::Delivering { batch, upto }), action).await
    }

    /// As many of a bag's next tasks as go into one transaction.
    async fn next_tasks(&self, batch: &Batch, first: u64, order: &IMarket::Order) -> Result<Vec<IMarket::TaskResult>> {
        let results = self.pool.results(batch.job).await?;
        let (mut tasks, mut bytes, mut gas) = (Vec::new(), order.params.len(), 0);
        for index in first..order.units {
            let found = results.binary_search_by_key(&index, |result| result.task).ok().map(|at| &results[at]);
            let found = found.and_then(|result| Some((Address::from(result.worker.0), raw_answer(result)?)));
            let (worker, result) = found.unwrap_or_default();
            bytes += 32 * 8 + result.len();
            gas += SETTLEMENT_GAS + u64::from(order.callbackGas) * 65 / 64 + 16 * result.len() as u64;
            let is_full = tasks.len() >= CHUNK_MAX || bytes > GROUP_BYTES_MAX || gas > GROUP_GAS_MAX;
            if is_full && !tasks.is_empty() {
                break;
            }
            tasks.push(IMarket::TaskResult { worker, result, proof: Bytes::new() });
        }
        Ok(tasks)
    }

    pub(super) async fn ready(&self, id: B256, answer: Answer) -> Result<Ready> {
        Ok(Ready { id, order: self.ready_details(&id).await?, answer })
    }

    /// Changes the ledger and asks for a transaction, in one commit.
    pub(super) async fn enqueue(&self, change: impl FnOnce(&mut Ledger), action: Action) -> Result<()> {
        self.book(change, |sql| store::enqueue(sql, &action)).await?;
        self.sender.wake();
        Ok(())
    }
}

pub(super) fn group_key(name: B256) -> String {
    format!("group {name}")
}

fn job_of(ledger: &Ledger, id: &B256) -> Option<gristmill_proto::id::JobId> {
    ledger.get(id)?.work.job()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(params: usize, callback_gas: u32) -> Ready {
        let order = IMarket::Order { params: vec![0; params].into(), callbackGas: callback_gas, ..Default::default() };
        let answer = Answer { worker: Address::ZERO, result: Bytes::new(), earners: Vec::new() };
        Ready { id: B256::ZERO, order, answer }
    }

    fn sizes(ready: Vec<Ready>) -> Vec<usize> {
        groups(ready).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_group_is_bounded_by_number_bytes_and_gas() {
        assert_eq!(sizes(vec![]), [] as [usize; 0]);
        let many = |count, params, gas| (0..count).map(|_| ready(params, gas)).collect::<Vec<_>>();
        assert_eq!(sizes(many(80, 0, 0)), [80]);
        let by_bytes = sizes(many(60, 4_096, 0));
        assert!(by_bytes.iter().all(|size| *size * (4_096 + 640) <= GROUP_BYTES_MAX), "{by_bytes:?}");
        let by_gas = sizes(many(20, 0, 2_000_000));
        assert!(by_gas.iter().all(|size| *size <= 4), "{by_gas:?}");
        assert_eq!(by_gas.iter().sum::<usize>(), 20);
        // One that is too large for any still goes, alone.
        assert_eq!(sizes(many(1, 0, 50_000_000)), [1]);
    }

    #[test]
    fn orders_wait_for_company_only_while_there_may_be_some() {
        let mut waiting = Waiting::default();
        let second = Duration::from_secs(1);
        assert_eq!(waiting.for_more(1, 0, second), None);
        assert!(waiting.for_more(1, 5, second).is_some());
        assert_eq!(waiting.for_more(GROUP_MAX, 5, second), None);
        assert_eq!(waiting.for_more(1, 5, Duration::ZERO), None);
    }
}
