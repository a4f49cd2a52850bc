//! Tests of the core: no clock, file or socket, so that thousands of histories run in a second.

mod checkpoint;
mod durability;
mod history;
mod mining;
mod reorg;
mod waiting;
mod writer;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::SignerRecoverable as _},
    network::TxSignerSync,
    primitives::{Address, B256, Bytes, TxKind, U256, bytes},
    signers::local::PrivateKeySigner,
};

use super::{
    BASE_FEE, CHAIN_ID, GAS_LIMIT, accounts,
    chain::Chain,
    change::{Change, FORMAT, Genesis},
    command::{Command, Reply},
    refusal::Refusal,
    transaction::SignedTx,
};

pub(super) const GENESIS: Genesis =
    Genesis { format: FORMAT, chain_id: CHAIN_ID, timestamp: 1_000_000, gas_limit: GAS_LIMIT, base_fee: BASE_FEE };

/// Deploys a contract that logs and stores its calldata's first word under the caller, and reverts with 0x1234 if called
/// with nothing.
pub(super) const LOGGER: Bytes =
    bytes!("60248060095f395ff33615601857366000600037600035366000a13360003555005b61123460005260206000fd");

/// A chain under test, its wall clock, and everything that happened to it.
pub(super) struct Core {
    pub(super) chain: Chain,
    pub(super) now: u64,
    pub(super) changes: Vec<Change>,
    keys: Vec<PrivateKeySigner>,
}

/// What a test sends, with defaults that work.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) from: usize,
    pub(super) nonce: u64,
    pub(super) to: TxKind,
    pub(super) value: U256,
    pub(super) input: Bytes,
    pub(super) gas_limit: u64,
    pub(super) fee_cap: u128,
    pub(super) tip: u128,
}

impl Core {
    pub(super) fn new() -> Self {
        let chain = Chain::found(GENESIS);
        Self { chain, now: GENESIS.timestamp, changes: Vec::new(), keys: accounts() }
    }

    pub(super) fn execute(&mut self, command: Command) -> Result<Reply, Refusal> {
        let mut next = self.chain.clone();
        let before = self.changes.len();
        let answer = next.execute(command, self.now, &mut self.changes);
        match answer {
            Ok(_) => self.chain = next,
            Err(_) => self.changes.truncate(before),
        }
        check_invariants(&self.chain);
        answer
    }

    pub(super) fn send(&mut self, draft: &Draft) -> Result<B256, Refusal> {
        let tx = self.sign(draft);
        let hash = tx.hash;
        self.execute(Command::Send(tx)).map(|reply| {
            assert_eq!(reply, Reply::Hash(hash));
            hash
        })
    }

    pub(super) fn sign(&self, draft: &Draft) -> SignedTx {
        let mut tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: draft.nonce,
            gas_limit: draft.gas_limit,
            max_fee_per_gas: draft.fee_cap,
            max_priority_fee_per_gas: draft.tip,
            to: draft.to,
            value: draft.value,
            access_list: Default::default(),
            input: draft.input.clone(),
        };
        let signer = &self.keys[draft.from];
        let signature = signer.sign_transaction_sync(&mut tx).expect("a local key signs");
        SignedTx::trusted(TxEnvelope::from(tx.into_signed(signature)), signer.address())
    }

    pub(super) fn address(&self, index: usize) -> Address {
        self.keys[index].address()
    }

    /// A transfer of one wei from account `from` with its next nonce.
    pub(super) fn transfer(&self, from: usize) -> Draft {
        Draft {
            from,
            nonce: self.chain.pool.next_nonce(self.address(from), self.chain.state()),
            to: Address::repeat_byte(0x77).into(),
            value: U256::from(1),
            input: Bytes::new(),
            gas_limit: 21_000,
            fee_cap: 10 * u128::from(BASE_FEE),
            tip: 1_000,
        }
    }

    pub(super) fn deploy(&mut self, from: usize, code: &Bytes) -> Address {
        let draft = self.transfer(from);
        let nonce = draft.nonce;
        let draft = Draft { to: TxKind::Create, value: U256::ZERO, input: code.clone(), gas_limit: 1_000_000, ..draft };
        self.send(&draft).expect("deploys");
        self.address(from).create(nonce)
    }

    pub(super) fn mined(&self, hash: B256) -> bool {
        self.chain.place(&hash).is_some()
    }

    /// The chain that a restart would find.
    pub(super) fn reopened(&self) -> Chain {
        let mut chain = Chain::found(GENESIS);
        for change in &self.changes {
            chain.apply(&Change::from_bytes(&change.to_bytes()).expect("what was written can be read"));
        }
        chain
    }
}

/// What must hold for any chain at any time.
pub(super) fn check_invariants(chain: &Chain) {
    let head = chain.head().number();
    for number in 0..=head {
        let block = chain.block(number).expect("blocks have no gaps");
        assert_eq!(block.number(), number);
        assert_eq!(block.hash, block.header.hash_slow());
        assert_eq!(chain.number_of(&block.hash), Some(number));
        let mut logs = 0;
        let mut gas_used = 0;
        for (index, mined) in block.transactions.iter().enumerate() {
            assert_eq!(chain.place(&mined.tx.hash), Some((number, index)));
            assert_eq!(mined.first_log, logs);
            logs += mined.receipt.logs().len() as u64;
            gas_used += mined.gas_used;
            assert_eq!(mined.receipt.cumulative_gas_used(), gas_used);
            assert_eq!(mined.tx.envelope.recover_signer().expect("it was signed"), mined.tx.sender);
        }
        assert_eq!(block.header.gas_used, gas_used);
        if number > 0 {
            let parent = chain.block(number - 1).expect("blocks have no gaps");
            assert_eq!(block.header.parent_hash, parent.hash);
            assert!(block.header.timestamp > parent.header.timestamp);
        }
    }
    assert!(chain.block(head + 1).is_none());
    assert!(chain.state_at(head).is_ok());
    for tx in chain.pool.iter() {
        assert!(chain.place(&tx.hash).is_none(), "a transaction waits and is mined");
    }
}

/// Every wei belongs to an account or was burned, if nobody's balance was set by hand.
pub(super) fn check_money(chain: &Chain) {
    let owned = chain.state().accounts().fold(U256::ZERO, |sum, account| sum + account.balance);
    let burned = (0..=chain.head().number())
        .filter_map(|number| chain.block(number))
        .fold(U256::ZERO, |sum, block| sum + U256::from(block.base_fee()) * U256::from(block.header.gas_used));
    assert_eq!(owned + burned, accounts::BALANCE * U256::from(10));
}

/// What two chains must agree on to be the same.
pub(super) fn fingerprint(chain: &Chain) -> impl PartialEq + std::fmt::Debug + use<> {
    let blocks: Vec<_> =
        (0..=chain.head().number()).map(|number| chain.block(number).map(|block| block.hash)).collect();
    let states: Vec<_> = (chain.oldest_state()..=chain.head().number())
        .map(|number| chain.state_at(number).map(|state| state.root()))
        .collect();
    let waiting: Vec<_> = chain.pool.iter().map(|tx| tx.hash).collect();
    let snapshots: Vec<_> = chain.snapshots.iter().map(|(id, chain)| (*id, chain.head().hash)).collect();
    let control = (chain.time, chain.automine, chain.forks, chain.snapshot_next, chain.base_fee_next());
    (blocks, states, waiting, snapshots, control)
}
