//! Calls that change nothing, gas estimates, and transactions that change something.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Bytes, TxKind, U256, keccak256},
    rpc::types::{TransactionRequest, state::StateOverride},
};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, TxEnv, either::Either},
};
use serde_json::{Map, Value};

use super::{Api, Params, RpcError, account, json, quantity};
use crate::dev::{
    block::Template,
    command::{Command, Reply},
    execute::{Outcome, block_env, call_config, run},
    node::Node,
    reader::Reader,
    refusal::Refusal,
    state::{SlotDiff, State},
    transaction::SignedTx,
};

/// Gas that a plain transfer takes.
const TRANSFER_GAS: u64 = 21_000;
/// An estimate may be this much above the least gas that works, as in geth: it spares half of the trial runs.
const ESTIMATE_TOLERANCE_PERCENT: u64 = 1;

pub(super) async fn send_raw_transaction(node: &Node, mut params: Params) -> Result<Value, RpcError> {
    let raw: Bytes = params.next()?;
    match node.execute(Command::Send(SignedTx::decode(&raw)?)).await? {
        Reply::Hash(hash) => json(hash),
        other => Err(RpcError::internal(&format!("{other:?} in answer to a transaction"))),
    }
}

pub(super) async fn call(api: &Api, mut params: Params) -> Result<Value, RpcError> {
    let request: TransactionRequest = params.next()?;
    let scene = Scene::new(&api.node, &mut params)?;
    let output = api.compute(move || {
        let tx = scene.to_evm(&request, scene.block.gas_limit)?;
        Ok(scene.run(tx)?.into_output()?)
    });
    json(output.await?)
}

pub(super) async fn estimate_gas(api: &Api, mut params: Params) -> Result<Value, RpcError> {
    let request: TransactionRequest = params.next()?;
    let scene = Scene::new(&api.node, &mut params)?;
    quantity(api.compute(move || Ok(estimate(&scene, &request)?)).await?)
}

/// The block and state in which a call runs.
struct Scene {
    chain: Reader,
    state: State,
    block: BlockEnv,
    number: u64,
}

impl Scene {
    /// From a call's block, state overrides and block overrides; none of them need be given.
    fn new(node: &Node, params: &mut Params) -> Result<Self, RpcError> {
        let id: Option<BlockId> = params.optional()?;
        let overrides: StateOverride = params.optional()?.unwrap_or_default();
        if params.optional::<Value>()?.is_some_and(|overrides| !overrides.as_object().is_some_and(Map::is_empty)) {
            return Err(RpcError::invalid_params("block overrides are not supported"));
        }
        let chain = node.chain();
        let number = account::number(&chain, id)?;
        let state = overridden(chain.state_at(number)?.clone(), overrides)?;
        let block = chain.block(number).expect("a block whose state is kept is in memory").clone();
        let template = if number == chain.head().number() {
            // Blocks come only with transactions, so the head may be hours old. A call at the head sees the time that a
            // transaction sent now would see: otherwise nothing could ever be found to have expired.
            let next = chain.template(node.now());
            let pending = id == Some(BlockId::Number(BlockNumberOrTag::Pending));
            Template { number: if pending { next.number } else { number }, ..next }
        } else {
            Template {
                parent: block.header.parent_hash,
                number,
                timestamp: block.header.timestamp,
                gas_limit: block.header.gas_limit,
                base_fee: block.base_fee(),
                forks: chain.forks,
            }
        };
        Ok(Self { block: block_env(&template), number: template.number, state, chain })
    }

    fn run(&self, tx: TxEnv) -> Result<Outcome, Refusal> {
        let mut config = call_config(self.chain.genesis.chain_id);
        config.disable_base_fee = tx.gas_price == 0;
        run(config, self.block.clone(), &self.state, self.chain.recent_hashes(self.number), tx)
    }

    fn to_evm(&self, request: &TransactionRequest, gas_max: u64) -> Result<TxEnv, Refusal> {
        if let Some(have) = request.chain_id.filter(|id| *id != self.chain.genesis.chain_id) {
            return Err(Refusal::WrongChain { have, want: self.chain.genesis.chain_id });
        }
        if request.gas_price.is_some() && request.max_fee_per_gas.is_some() {
            let text = "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified";
            return Err(Refusal::InvalidParams(text.into()));
        }
        let caller = request.from.unwrap_or_default();
        let fee_cap = request.max_fee_per_gas.or(request.gas_price);
        let tip = request.max_priority_fee_per_gas;
        // A tip alone says nothing about the cap; calls without a cap are free, as on other nodes.
        let tip = fee_cap.and(tip);
        let authorizations = request.authorization_list.clone().unwrap_or_default();
        let mut tx = TxEnv {
            caller,
            gas_limit: request.gas.unwrap_or(gas_max).min(gas_max),
            gas_price: fee_cap.unwrap_or_default(),
            gas_priority_fee: tip,
            kind: request.to.unwrap_or(TxKind::Create),
            value: request.value.unwrap_or_default(),
            data: request.input.input().cloned().unwrap_or_default(),
            nonce: request.nonce.unwrap_or_else(|| self.state.nonce(caller)),
            chain_id: Some(self.chain.genesis.chain_id),
            access_list: request.access_list.clone().unwrap_or_default(),
            authorization_list: authorizations.into_iter().map(Either::Left).collect(),
            ..TxEnv::default()
        };
        tx.derive_tx_type().map_err(|error| Refusal::InvalidParams(error.to_string()))?;
        Ok(tx)
    }
}

/// The state with parts of it replaced, for the length of a call.
fn overridden(mut state: State, overrides: StateOverride) -> Result<State, RpcError> {
    for (address, wanted) in overrides {
        if wanted.move_precompile_to.is_some() {
            return Err(RpcError::invalid_params("precompiles cannot be moved"));
        }
        let mut diff = state.balance_diff(address, wanted.balance.unwrap_or_else(|| state.balance(address)));
        let account = diff.accounts.first_mut().expect("a balance belongs to an account");
        account.nonce = wanted.nonce.unwrap_or(account.nonce);
        if let Some(code) = wanted.code {
            Bytecode::new_raw_checked(code.clone()).map_err(|error| RpcError::invalid_params(error.to_string()))?;
            account.code_hash = keccak256(&code);
            diff.codes = vec![code];
        }
        let slots = wanted.state.iter().chain(&wanted.state_diff).flatten();
        account.slots = slots.map(|(key, value)| SlotDiff { key: (*key).into(), value: (*value).into() }).collect();
        if wanted.state.is_some() {
            diff.removed = vec![address];
        }
        state.apply(&diff);
    }
    Ok(state)
}

/// The least gas with which `request` works, or close above it.
fn estimate(scene: &Scene, request: &TransactionRequest) -> Result<u64, Refusal> {
    let mut tx = scene.to_evm(request, scene.block.gas_limit)?;
    tx.gas_limit = affordable_gas(scene, &tx)?;
    let highest = tx.gas_limit;
    let is_transfer = matches!(tx.kind, TxKind::Call(to) if scene.state.code(to).is_empty()) && tx.data.is_empty();
    if is_transfer && tx.access_list.is_empty() && tx.authorization_list.is_empty() && highest >= TRANSFER_GAS {
        let transfer = TxEnv { gas_limit: TRANSFER_GAS, ..tx.clone() };
        if scene.run(transfer).is_ok_and(|outcome| outcome.success) {
            return Ok(TRANSFER_GAS);
        }
    }
    let first = scene.run(tx.clone())?;
    if !first.success {
        let out_of_gas = first.halt.is_some() && first.gas_used >= highest;
        return Err(first.into_output().err().filter(|_| !out_of_gas).unwrap_or(Refusal::GasAboveAllowance(highest)));
    }
    let works = |gas_limit| scene.run(TxEnv { gas_limit, ..tx.clone() }).is_ok_and(|outcome| outcome.success);
    let (mut low, mut high) = (first.gas_used - 1, highest);
    // Calls keep 1/64 of the gas back, so a little more than was spent is nearly always enough.
    let guess = first.gas_spent.saturating_add(2_300).saturating_mul(64) / 63;
    if guess < high {
        if works(guess) {
            high = guess;
        } else {
            low = guess;
        }
    }
    while low + 1 < high && (high - low) * 100 > high * ESTIMATE_TOLERANCE_PERCENT {
        // Most need little more than they spend: near the lower end first.
        let middle = (low + (high - low) / 2).min(low.saturating_mul(2));
        if works(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// The gas limit to try at most: what was asked for, and what the sender can pay if a price was named.
fn affordable_gas(scene: &Scene, tx: &TxEnv) -> Result<u64, Refusal> {
    if tx.gas_price == 0 {
        return Ok(tx.gas_limit);
    }
    let have = scene.state.balance(tx.caller);
    let left =
        have.checked_sub(tx.value).ok_or(Refusal::InsufficientFunds { address: tx.caller, have, want: tx.value })?;
    let affordable = left / U256::from(tx.gas_price);
    Ok(u64::try_from(affordable).unwrap_or(u64::MAX).min(tx.gas_limit))
}
