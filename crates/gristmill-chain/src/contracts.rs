//! Bindings of the contracts, generated from the committed artefacts: building gristmill never needs a Solidity compiler.
//!
//! ```no_run
//! # use alloy::primitives::{Address, Bytes, U256};
//! # async fn example(rpc: gristmill_chain::rpc::Rpc, at: Address, log: alloy::rpc::types::Log, worker: Address,
//! #     result: Bytes) -> Result<(), Box<dyn std::error::Error>> {
//! use alloy::sol_types::{SolCall, SolEvent};
//! use gristmill_chain::contracts::Market;
//!
//! let balance: U256 = Market::new(at, rpc.provider()).accountOf(worker).call().await?;
//! let requested = Market::Requested::decode_log(&log.inner)?;
//! let calldata = Market::settleCall { order: requested.details.clone(), worker, result }.abi_encode();
//! # Ok(()) }
//! ```

// The code is generated: its lints are alloy's business.
#![allow(clippy::all, clippy::pedantic, clippy::nursery, missing_docs, unreachable_pub, unused_qualifications)]

use alloy::sol_types::SolInterface;

alloy::sol!(
    #[sol(rpc, all_derives)]
    Market,
    "../../contracts/artifacts/Market.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    RLC,
    "../../contracts/artifacts/RLC.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    DevRLC,
    "../../contracts/artifacts/DevRLC.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    PoolWord,
    "../../contracts/artifacts/PoolWord.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    VanityVerifier,
    "../../contracts/artifacts/VanityVerifier.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    VanityShop,
    "../../contracts/artifacts/VanityShop.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    PocoHub,
    "../../contracts/artifacts/PocoHub.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    AppRegistry,
    "../../contracts/artifacts/AppRegistry.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    DatasetRegistry,
    "../../contracts/artifacts/DatasetRegistry.json"
);
alloy::sol!(
    #[sol(rpc, all_derives)]
    WorkerpoolRegistry,
    "../../contracts/artifacts/WorkerpoolRegistry.json"
);

/// The name and fields of one of our contracts' own errors, or a standard error's text; `None` for anything else.
#[must_use]
pub fn describe_revert(data: &[u8]) -> Option<String> {
    fn named<E: SolInterface + std::fmt::Debug>(data: &[u8]) -> Option<String> {
        E::abi_decode(data).ok().map(|error| format!("{error:?}"))
    }
    named::<Market::MarketErrors>(data)
        .or_else(|| named::<VanityShop::VanityShopErrors>(data))
        .or_else(|| named::<DevRLC::DevRLCErrors>(data))
        .or_else(|| named::<PocoHub::PocoHubErrors>(data))
}
