//! Running transactions and calls in the EVM, against one version of the state. Nothing here keeps anything.

use alloy::{
    consensus::Transaction as _,
    primitives::{Address, B256, Bytes, Log, U256},
    sol_types::{Panic, Revert, SolError},
};
use revm::{
    Context, ExecuteEvm, MainBuilder, MainContext,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction},
    },
    context_interface::block::BlobExcessGasAndPrice,
    database_interface::WrapDatabaseRef,
    primitives::{eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, hardfork::SpecId},
};

use super::{
    block::{Block, COINBASE, MinedTx, Template, receipt},
    refusal::Refusal,
    state::{Diff, State, StateReader},
    transaction::SignedTx,
};

/// Fixed, so that contracts, tests and journals mean the same with every EVM release.
pub(crate) const SPEC: SpecId = SpecId::PRAGUE;

/// What a transaction or call came to.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    /// Before refunds: what the transaction must have had.
    pub(crate) gas_spent: u64,
    pub(crate) logs: Vec<Log>,
    pub(crate) output: Bytes,
    pub(crate) halt: Option<HaltReason>,
    pub(crate) diff: Diff,
}

/// A block under construction, then its parts.
pub(crate) struct Built {
    pub(crate) block: Block,
    pub(crate) diffs: Vec<Diff>,
    pub(crate) state: State,
    /// Those that did not go in, with the reason.
    pub(crate) left_out: Vec<(B256, Refusal)>,
}

/// Puts `transactions` into a block, in this order, as far as they are valid and fit.
pub(crate) fn build_block(
    chain_id: u64,
    template: &Template,
    mut state: State,
    hashes: impl Fn(u64) -> B256,
    transactions: impl IntoIterator<Item = SignedTx>,
) -> Built {
    let env = block_env(template);
    let (mut mined, mut diffs, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let (mut gas_used, mut logs) = (0, 0);
    for tx in transactions {
        let gas_left = template.gas_limit - gas_used;
        if tx.envelope.gas_limit() > gas_left {
            left_out.push((tx.hash, Refusal::GasAboveBlockLimit { gas: tx.envelope.gas_limit(), limit: gas_left }));
            continue;
        }
        let outcome = match run(config(chain_id), env.clone(), &state, &hashes, tx.to_evm()) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                left_out.push((tx.hash, refusal));
                continue;
            }
        };
        state.apply(&outcome.diff);
        gas_used += outcome.gas_used;
        let first_log = logs;
        logs += outcome.logs.len() as u64;
        let receipt = receipt(&tx, outcome.success, gas_used, outcome.logs);
        mined.push(MinedTx { tx, receipt, gas_used: outcome.gas_used, first_log });
        diffs.push(outcome.diff);
    }
    let block = Block::seal(template, mined, state.root());
    Built { block, diffs, state, left_out }
}

/// The rules for transactions.
pub(crate) fn config(chain_id: u64) -> CfgEnv {
    CfgEnv::new_with_spec(SPEC).with_chain_id(chain_id)
}

/// The rules for calls, which need neither money nor the right nonce.
pub(crate) fn call_config(chain_id: u64) -> CfgEnv {
    let mut config = config(chain_id);
    config.disable_nonce_check = true;
    config.disable_eip3607 = true;
    config
}

pub(crate) fn block_env(template: &Template) -> BlockEnv {
    BlockEnv {
        number: U256::from(template.number),
        beneficiary: COINBASE,
        timestamp: U256::from(template.timestamp),
        gas_limit: template.gas_limit,
        basefee: template.base_fee,
        prevrandao: Some(template.randomness()),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE)),
        ..BlockEnv::default()
    }
}

pub(crate) fn run(
    config: CfgEnv,
    block: BlockEnv,
    state: &State,
    hashes: impl Fn(u64) -> B256,
    tx: TxEnv,
) -> Result<Outcome, Refusal> {
    let sender = tx.caller;
    let database = WrapDatabaseRef(StateReader { state, hashes });
    let mut evm = Context::mainnet().with_db(database).with_cfg(config).with_block(block).build_mainnet();
    let done = evm.transact(tx).map_err(|error| refusal(error, sender))?;
    let gas_used = done.result.tx_gas_used();
    let gas_spent = done.result.gas().total_gas_spent().max(gas_used);
    let diff = state.diff_of(done.state);
    Ok(match done.result {
        ExecutionResult::Success { logs, output, .. } => {
            Outcome { success: true, gas_used, gas_spent, logs, output: output.into_data(), halt: None, diff }
        }
        // Logs of a failed transaction never happened.
        ExecutionResult::Revert { output, .. } => {
            Outcome { success: false, gas_used, gas_spent, logs: Vec::new(), output, halt: None, diff }
        }
        ExecutionResult::Halt { reason, .. } => Outcome {
            success: false,
            gas_used,
            gas_spent,
            logs: Vec::new(),
            output: Bytes::new(),
            halt: Some(reason),
            diff,
        },
    })
}

impl Outcome {
    /// The output, or the error that a node answers to a call that failed.
    pub(crate) fn into_output(self) -> Result<Bytes, Refusal> {
        match self.halt {
            None if self.success => Ok(self.output),
            None => Err(Refusal::Reverted { reason: revert_reason(&self.output), data: self.output }),
            Some(reason) => Err(Refusal::Halted(halt_message(&reason))),
        }
    }
}

/// What `require(.., "text")` and the compiler's own checks say. Errors of a contract's own stay data: only who has its
/// interface can read them.
fn revert_reason(output: &[u8]) -> Option<String> {
    if let Ok(Revert { reason }) = Revert::abi_decode(output) {
        return Some(reason);
    }
    Panic::abi_decode(output).ok().map(|panic| panic.to_string())
}

/// geth's words, on which clients match.
fn halt_message(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".into(),
        HaltReason::InvalidFEOpcode => "invalid opcode: INVALID".into(),
        HaltReason::OpcodeNotFound => "invalid opcode".into(),
        HaltReason::CreateCollision => "contract address collision".into(),
        HaltReason::CreateContractSizeLimit => "max code size exceeded".into(),
        HaltReason::StateChangeDuringStaticCall => "write protection".into(),
        other => other.to_string(),
    }
}

fn refusal(error: EVMError<std::convert::Infallible>, address: Address) -> Refusal {
    let error = match error {
        EVMError::Transaction(error) => error,
        other => return Refusal::Invalid(other.to_string()),
    };
    match error {
        InvalidTransaction::NonceTooLow { tx, state } => Refusal::NonceTooLow { next: state, nonce: tx },
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            Refusal::InsufficientFunds { address, have: *balance, want: *fee }
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            Refusal::IntrinsicGas { gas: gas_limit, minimum: initial_gas }
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            Refusal::IntrinsicGas { gas: gas_limit, minimum: gas_floor }
        }
        InvalidTransaction::RejectCallerWithCode => Refusal::SenderIsContract(address),
        other => Refusal::Invalid(other.to_string()),
    }
}
