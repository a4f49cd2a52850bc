//! Accounts, storage and code after some block, and the changes one transaction makes to them.

use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::{Encodable, RlpDecodable, RlpEncodable};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    primitives::AddressMap,
    state::{Account as EvmAccount, AccountInfo},
};

use super::trie::{Commit, Trie};

/// One version of the state. Cloning is cheap, see [`Trie`].
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    accounts: Trie<Account>,
    /// By code hash. Code is never dropped: dozens of contracts, each a few kilobytes.
    codes: Trie<Bytecode>,
}

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) address: Address,
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
    pub(crate) storage: Trie<Slot>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) key: U256,
    pub(crate) value: U256,
}

/// What a transaction changed. It is journaled, so that opening a chain needs no EVM: a newer EVM cannot change the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Diff {
    pub(crate) accounts: Vec<AccountDiff>,
    pub(crate) removed: Vec<Address>,
    pub(crate) codes: Vec<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct AccountDiff {
    pub(crate) address: Address,
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
    pub(crate) slots: Vec<SlotDiff>,
}

/// A zero value removes the slot.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct SlotDiff {
    pub(crate) key: U256,
    pub(crate) value: U256,
}

impl State {
    pub(crate) fn account(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&keccak256(address))
    }

    pub(crate) fn nonce(&self, address: Address) -> u64 {
        self.account(address).map_or(0, |account| account.nonce)
    }

    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.account(address).map_or(U256::ZERO, |account| account.balance)
    }

    pub(crate) fn code(&self, address: Address) -> Bytes {
        self.account(address)
            .and_then(|account| self.codes.get(&account.code_hash))
            .map_or_else(Bytes::new, Bytecode::original_bytes)
    }

    pub(crate) fn slot(&self, address: Address, key: U256) -> U256 {
        self.account(address)
            .and_then(|account| account.storage.get(&slot_path(key)))
            .map_or(U256::ZERO, |slot| slot.value)
    }

    #[cfg(test)]
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().map(|(_, account)| account)
    }

    /// The change that makes this state out of nothing.
    pub(crate) fn to_diff(&self) -> Diff {
        let accounts = self.accounts.iter().map(|(_, account)| AccountDiff {
            address: account.address,
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
            slots: account.storage.iter().map(|(_, slot)| SlotDiff { key: slot.key, value: slot.value }).collect(),
        });
        let codes = self.codes.iter().map(|(_, code)| code.original_bytes());
        Diff { accounts: accounts.collect(), removed: Vec::new(), codes: codes.collect() }
    }

    pub(crate) fn root(&self) -> B256 {
        self.accounts.root_hash()
    }

    pub(crate) fn apply(&mut self, diff: &Diff) {
        for code in &diff.codes {
            self.codes.insert(keccak256(code), Bytecode::new_raw(code.clone()));
        }
        for address in &diff.removed {
            self.accounts.remove(&keccak256(address));
        }
        for change in &diff.accounts {
            let path = keccak256(change.address);
            let mut storage = self.accounts.get(&path).map(|account| account.storage.clone()).unwrap_or_default();
            for slot in &change.slots {
                if slot.value.is_zero() {
                    storage.remove(&slot_path(slot.key));
                } else {
                    storage.insert(slot_path(slot.key), Slot { key: slot.key, value: slot.value });
                }
            }
            let AccountDiff { address, nonce, balance, code_hash, .. } = *change;
            self.accounts.insert(path, Account { address, nonce, balance, code_hash, storage });
        }
    }

    /// The change that gives `address` this balance and nothing else.
    pub(crate) fn balance_diff(&self, address: Address, balance: U256) -> Diff {
        let account = self.account(address);
        let change = AccountDiff {
            address,
            nonce: account.map_or(0, |account| account.nonce),
            balance,
            code_hash: account.map_or(KECCAK256_EMPTY, |account| account.code_hash),
            slots: Vec::new(),
        };
        Diff { accounts: vec![change], ..Diff::default() }
    }

    /// What the EVM's outcome means for this state. Sorted, because the EVM's map has no order and the journal must not
    /// depend on chance.
    pub(crate) fn diff_of(&self, outcome: AddressMap<EvmAccount>) -> Diff {
        let mut diff = Diff::default();
        let mut touched: Vec<_> = outcome.into_iter().filter(|(_, account)| account.is_touched()).collect();
        touched.sort_unstable_by_key(|(address, _)| *address);
        for (address, account) in touched {
            if account.is_selfdestructed() || account.is_empty() {
                if self.account(address).is_some() {
                    diff.removed.push(address);
                }
                continue;
            }
            if let Some(code) = account.info.code.as_ref().filter(|code| !code.is_empty())
                && self.codes.get(&account.info.code_hash).is_none()
            {
                diff.codes.push(code.original_bytes());
            }
            let change = account_diff(address, &account);
            if !self.holds(&change) {
                diff.accounts.push(change);
            }
        }
        diff
    }

    fn holds(&self, change: &AccountDiff) -> bool {
        change.slots.is_empty()
            && self.account(change.address).is_some_and(|account| {
                account.nonce == change.nonce
                    && account.balance == change.balance
                    && account.code_hash == change.code_hash
            })
    }
}

fn account_diff(address: Address, account: &EvmAccount) -> AccountDiff {
    let mut slots: Vec<_> =
        account.changed_storage_slots().map(|(key, slot)| SlotDiff { key: *key, value: slot.present_value }).collect();
    slots.sort_unstable_by_key(|slot| slot.key);
    let AccountInfo { balance, nonce, code_hash, .. } = account.info;
    AccountDiff { address, nonce, balance, code_hash, slots }
}

fn slot_path(key: U256) -> B256 {
    keccak256(key.to_be_bytes::<32>())
}

impl Commit for Account {
    fn encode(&self, out: &mut Vec<u8>) {
        #[derive(RlpEncodable)]
        struct Stored {
            nonce: u64,
            balance: U256,
            storage_root: B256,
            code_hash: B256,
        }
        let storage_root = self.storage.root_hash();
        Stored { nonce: self.nonce, balance: self.balance, storage_root, code_hash: self.code_hash }.encode(out);
    }
}

impl Commit for Slot {
    fn encode(&self, out: &mut Vec<u8>) {
        self.value.encode(out);
    }
}

/// A state as the EVM reads it; `hashes` answers the BLOCKHASH instruction.
pub(crate) struct StateReader<'a, H> {
    pub(crate) state: &'a State,
    pub(crate) hashes: H,
}

impl<H: Fn(u64) -> B256> DatabaseRef for StateReader<'_, H> {
    type Error = std::convert::Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        Ok(self.state.account(address).map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: self.state.codes.get(&account.code_hash).cloned(),
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Self::Error> {
        Ok(self.state.codes.get(&code_hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, Self::Error> {
        Ok(self.state.slot(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Self::Error> {
        Ok((self.hashes)(number))
    }
}
