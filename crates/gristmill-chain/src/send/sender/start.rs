//! An action on the border between wish and transaction: would it work, and can it be paid?

use alloy::primitives::{Address, U256};

use super::{Postponed, Sender, Taken, Trouble, now_ms};
use crate::{
    rpc::RpcError,
    send::{
        entry::{Action, Change, Entry, Inclusion},
        fees::Fees,
        plan::Hold,
        revert::Revert,
        transaction,
    },
};

/// Times the node may fail to simulate an action (for another reason than a revert, which is final at once) before the
/// action is refused. With the delays between them, that is four minutes.
const SIMULATIONS_MAX: u32 = 8;

/// First delay of an action that cannot be simulated; doubled each time.
const POSTPONE_MS: u64 = 1_000;

/// What a new transaction may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purse {
    pub(super) account: Address,
    pub(super) spendable_wei: U256,
    pub(super) block_gas: u64,
}

impl Purse {
    fn lacks(self, need_wei: U256) -> Option<Hold> {
        let hold = Hold::Funds { account: self.account, have_wei: self.spendable_wei, need_wei };
        (need_wei > self.spendable_wei).then_some(hold)
    }
}

impl Sender {
    pub(super) async fn start(
        &mut self,
        entry: &mut Entry,
        nonce: u64,
        fees: Fees,
        purse: Purse,
    ) -> Result<Taken, Trouble> {
        if let Some(hold) = purse.lacks(entry.action.value) {
            return Ok(Taken::Held(hold));
        }
        let gas_limit = match self.simulate(&entry.action).await {
            Ok(Ok(gas_limit)) if gas_limit > purse.block_gas => {
                let reason = format!("needs {gas_limit} gas, and a block of this chain takes {}", purse.block_gas);
                return self.refuse(entry, Revert::without_data(reason)).await;
            }
            Ok(Ok(gas_limit)) => gas_limit,
            Ok(Err(revert)) => return self.refuse(entry, revert).await,
            Err(RpcError::Refused { message, .. }) => return self.postpone(entry, message).await,
            Err(error) => return Err(error.into()),
        };
        if let Some(hold) = purse.lacks(fees.cost_max(gas_limit) + entry.action.value) {
            return Ok(Taken::Held(hold));
        }
        self.sign_and_send(entry, nonce, fees, gas_limit).await
    }

    async fn refuse(&mut self, entry: &mut Entry, revert: Revert) -> Result<Taken, Trouble> {
        tracing::info!(key = entry.action.key, reason = revert.reason, "the chain would refuse this action");
        self.memory.postponed.remove(&entry.id);
        self.record_one(entry, Change::Refused(revert)).await?;
        Ok(Taken::Otherwise)
    }

    /// The node says neither yes nor no: it may be behind, or it cannot stomach this action. Others must not wait for it.
    async fn postpone(&mut self, entry: &mut Entry, message: String) -> Result<Taken, Trouble> {
        let times = self.memory.postponed.get(&entry.id).map_or(0, |postponed| postponed.times) + 1;
        if times >= SIMULATIONS_MAX {
            return self.refuse(entry, Revert::without_data(message)).await;
        }
        tracing::warn!(key = entry.action.key, message, times, "the node cannot simulate this action");
        let until_ms = now_ms().saturating_add(POSTPONE_MS << times);
        self.memory.postponed.insert(entry.id, Postponed { until_ms, times });
        self.status.send_modify(|status| status.last_refusal = Some(message));
        Ok(Taken::Otherwise)
    }

    /// The gas to allow, or why the action would revert.
    async fn simulate(&self, action: &Action) -> Result<Result<u64, Revert>, RpcError> {
        let request = transaction::request(action, self.key.address());
        let revert = |error: RpcError| match error.revert() {
            Some(data) => Ok(Err(Revert::new(data, self.config.describe_revert))),
            None => Err(error),
        };
        if let Err(error) = self.rpc.call_at(request.clone(), self.memory.head).await {
            return revert(error);
        }
        if let Some(gas_limit) = action.gas_limit {
            return Ok(Ok(gas_limit));
        }
        match self.rpc.estimate_gas_at(request, self.memory.head).await {
            Ok(gas) => Ok(Ok(gas.saturating_add(gas.saturating_mul(self.config.gas_margin_percent) / 100))),
            Err(error) => revert(error),
        }
    }

    /// Runs a failed transaction again on the state before its block. Others of that block are not seen, so this can be
    /// wrong; it is the best that works on every node. It must not keep the failure itself from being told.
    pub(super) async fn explain(&self, entry: &Entry, inclusion: Inclusion) -> Revert {
        let attempt = entry.attempts.iter().find(|attempt| attempt.hash == inclusion.transaction);
        let gas_limit = attempt.expect("only our own transactions are looked for").gas_limit;
        if inclusion.gas_used == gas_limit {
            return Revert::without_data(format!("used all of its {gas_limit} gas"));
        }
        let request = transaction::request(&entry.action, self.key.address()).gas_limit(gas_limit);
        match self.rpc.call_at(request, inclusion.block.number.saturating_sub(1)).await {
            Ok(_) => Revert::without_data("reverted, because of another transaction before it in its block"),
            Err(error) => match error.revert() {
                Some(data) => Revert::new(data, self.config.describe_revert),
                None => Revert::without_data(format!("reverted, and the reason is not to be had: {error}")),
            },
        }
    }
}
