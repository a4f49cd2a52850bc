//! Is this the chain, and are these the contracts, that the database was made for?
//!
//! ```no_run
//! # async fn example(rpc: gristmill_chain::rpc::Rpc, market: alloy::primitives::Address, stored: Option<String>)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! use gristmill_chain::check::ChainIdentity;
//!
//! let identity = ChainIdentity::read(&rpc, [("market", market)]).await?;
//! match stored {
//!     None => drop(serde_json::to_string(&identity)?), // first use: store it with the cursor
//!     Some(stored) => serde_json::from_str::<ChainIdentity>(&stored)?.expect_same(&identity)?,
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::rpc::{Rpc, RpcError};

/// What tells one chain, and one deployment on it, from all others.
///
/// The id alone does not: a wiped development chain keeps it, and so do forks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainIdentity {
    pub chain_id: u64,
    pub genesis: B256,
    /// By the name used in messages ("market").
    pub contracts: BTreeMap<String, ContractIdentity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractIdentity {
    pub address: Address,
    pub code_hash: B256,
}

/// Not the chain we know, or not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error("the node has no block 0\n\nhint: it may still be starting, or keep no old headers; try another endpoint")]
    NoGenesis,
    #[error(
        "there is no contract at {address}, where {name} should be, on chain {chain_id}\n\n\
         hint: check the address and the endpoint; on a development chain that was started anew, deploy again"
    )]
    NoContract { name: String, address: Address, chain_id: u64 },
    #[error(
        "this database was made on chain {stored}, but the endpoint serves chain {found}\n\n\
         hint: give the endpoint of chain {stored}, or start with another data directory"
    )]
    OtherChain { stored: u64, found: u64 },
    #[error(
        "chain {chain_id} now begins with block {found}, not with {stored}: it was wiped, or is another one with the same id\n\n\
         hint: start with another data directory, or move the old one away"
    )]
    OtherGenesis { chain_id: u64, stored: B256, found: B256 },
    #[error(
        "this database was made with {name} at {stored}, but the configuration says {found}\n\n\
         hint: orders and money are still in the old contract; use its address, or start with another data directory"
    )]
    OtherAddress { name: String, stored: Address, found: Address },
    #[error(
        "the code of {name} at {address} has changed (hash {found}, was {stored})\n\n\
         hint: this is not the contract that was trusted; start with another data directory only if you know why"
    )]
    OtherCode { name: String, address: Address, stored: B256, found: B256 },
    #[error("this database knows nothing of the contract {name}\n\nhint: start with another data directory")]
    UnknownContract { name: String },
}

impl CheckError {
    /// Worth trying again, because nothing was found out.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Rpc(_))
    }
}

impl ChainIdentity {
    /// Asks the node. Refuses an address without code.
    pub async fn read(rpc: &Rpc, contracts: impl IntoIterator<Item = (&str, Address)>) -> Result<Self, CheckError> {
        let chain_id = rpc.chain_id().await?;
        let genesis = rpc.block(0).await?.ok_or(CheckError::NoGenesis)?.hash;
        let mut found = BTreeMap::new();
        for (name, address) in contracts {
            let code = rpc.code(address).await?;
            if code.is_empty() {
                return Err(CheckError::NoContract { name: name.to_owned(), address, chain_id });
            }
            found.insert(name.to_owned(), ContractIdentity { address, code_hash: keccak256(&code) });
        }
        Ok(Self { chain_id, genesis, contracts: found })
    }

    /// Whether `found` is what was stored as `self`; the error names the first difference, the coarsest first.
    pub fn expect_same(&self, found: &Self) -> Result<(), CheckError> {
        if self.chain_id != found.chain_id {
            return Err(CheckError::OtherChain { stored: self.chain_id, found: found.chain_id });
        }
        if self.genesis != found.genesis {
            let (stored, found) = (self.genesis, found.genesis);
            return Err(CheckError::OtherGenesis { chain_id: self.chain_id, stored, found });
        }
        for (name, found) in &found.contracts {
            let name = name.clone();
            let Some(stored) = self.contracts.get(&name) else {
                return Err(CheckError::UnknownContract { name });
            };
            if stored.address != found.address {
                return Err(CheckError::OtherAddress { name, stored: stored.address, found: found.address });
            }
            if stored.code_hash != found.code_hash {
                let (stored, address, found) = (stored.code_hash, stored.address, found.code_hash);
                return Err(CheckError::OtherCode { name, address, stored, found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> ChainIdentity {
        let market = ContractIdentity { address: Address::repeat_byte(1), code_hash: B256::repeat_byte(2) };
        let contracts = BTreeMap::from([("market".to_owned(), market)]);
        ChainIdentity { chain_id: 7, genesis: B256::repeat_byte(3), contracts }
    }

    fn complaint(change: impl FnOnce(&mut ChainIdentity)) -> String {
        let mut found = identity();
        change(&mut found);
        identity().expect_same(&found).unwrap_err().to_string()
    }

    #[test]
    fn the_same_chain_is_accepted_after_a_round_trip() {
        let stored: ChainIdentity = serde_json::from_str(&serde_json::to_string(&identity()).unwrap()).unwrap();
        stored.expect_same(&identity()).unwrap();
    }

    #[test]
    fn each_difference_is_named_with_what_to_do() {
        let market = identity().contracts["market"];
        let checks = [
            (complaint(|found| found.chain_id = 8), "made on chain 7, but the endpoint serves chain 8"),
            (complaint(|found| found.genesis = B256::ZERO), "wiped"),
            (
                complaint(|found| {
                    let address = Address::repeat_byte(9);
                    found.contracts.insert("market".into(), ContractIdentity { address, ..market });
                }),
                "configuration says",
            ),
            (
                complaint(|found| {
                    let code_hash = B256::ZERO;
                    found.contracts.insert("market".into(), ContractIdentity { code_hash, ..market });
                }),
                "code of market",
            ),
            (complaint(|found| found.contracts = [("shop".to_owned(), market)].into()), "nothing of the contract shop"),
        ];
        for (message, expected) in checks {
            assert!(message.contains(expected) && message.contains("hint: "), "{message}");
        }
    }
}
