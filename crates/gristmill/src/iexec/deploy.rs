//! Puts the hub, its registries and a pool of them on a chain.

use alloy::primitives::{Address, U256};
use alloy::sol_types::{SolCall, SolConstructor, SolEvent};
use anyhow::{Context, Result};
use gristmill_chain::contracts::{AppRegistry, DatasetRegistry, PocoHub, WorkerpoolRegistry};

use gristmill_proto::digest::Digest;

use super::Hub;
use crate::deploy::Deployed;
use crate::wallet::Wallet;

/// A name for what [`deploy`] puts on a chain: other contracts have another.
pub fn edition(token: Address) -> String {
    let contracts =
        [&AppRegistry::BYTECODE, &DatasetRegistry::BYTECODE, &WorkerpoolRegistry::BYTECODE, &PocoHub::BYTECODE];
    let contracts: Vec<u8> = contracts.into_iter().flat_map(|code| code.to_vec()).chain(token.0.0).collect();
    Digest::of(&contracts).to_string()[..8].to_owned()
}

/// The caller of this becomes the owner of the pool, whose deals its key settles.
pub async fn deploy(owner: &Wallet, token: Address, description: &str, mut step: impl FnMut(Deployed)) -> Result<Hub> {
    let mut put = async |name: &'static str, code: Vec<u8>| -> Result<(Address, u64)> {
        let (address, receipt) = owner.deploy(&format!("deploy {name}"), code).await?;
        step(Deployed { name, address, gas: receipt.gas_used });
        Ok((address, receipt.block_number.context("a mined transaction has a block")?))
    };
    let (appregistry, _) = put("AppRegistry", AppRegistry::BYTECODE.to_vec()).await?;
    let (datasetregistry, _) = put("DatasetRegistry", DatasetRegistry::BYTECODE.to_vec()).await?;
    let (workerpoolregistry, _) = put("WorkerpoolRegistry", WorkerpoolRegistry::BYTECODE.to_vec()).await?;
    let arguments = PocoHub::constructorCall {
        token_: token,
        apps: appregistry,
        datasets: datasetregistry,
        pools: workerpoolregistry,
        // No court: this hub offers the pool's word and no more, and refuses orders that ask for more.
        court: Address::ZERO,
    };
    let code = [&PocoHub::BYTECODE[..], &arguments.abi_encode()].concat();
    let (hub, hub_block) = put("PocoHub", code).await?;

    let call = WorkerpoolRegistry::createWorkerpoolCall { owner: owner.address(), description: description.to_owned() };
    let receipt = owner.call("register the pool", workerpoolregistry, call.abi_encode()).await?;
    let minted = receipt.logs().iter().find_map(|log| WorkerpoolRegistry::Transfer::decode_log(&log.inner).ok());
    let token_id = minted.context("registering a pool leaves an event")?.tokenId;
    let workerpool = Address::from_word(U256::to_be_bytes::<32>(&token_id).into());
    step(Deployed { name: "Workerpool", address: workerpool, gas: receipt.gas_used });

    Ok(Hub {
        chain_id: owner.rpc.chain_id().await?,
        token,
        hub,
        hub_block,
        appregistry,
        datasetregistry,
        workerpoolregistry,
        workerpool,
    })
}
