//! The chain as a value: blocks, recent states, waiting transactions, clock. No file, socket, lock or wall clock.
//!
//! [`Chain::execute`](super::command) decides what a command does and lists it as changes; [`Chain::apply`] makes a change.
//! Opening a journal is applying its changes. Cloning is cheap, so whoever executes a command does so on a clone and
//! keeps it only once the changes are durable.

use std::{collections::BTreeMap, sync::Arc};

use alloy::{
    eips::{
        BlockNumberOrTag,
        eip1559::{BaseFeeParams, calc_next_block_base_fee},
    },
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, address, bytes, keccak256},
};

use super::{
    accounts,
    block::{Block, Template},
    change::{Change, Genesis, Mined, RolledBack, Time},
    journal::Span,
    pool::Pool,
    refusal::Refusal,
    state::{AccountDiff, Diff, State},
    transaction::SignedTx,
    trie::Trie,
};

/// States of the last so many blocks answer calls, and that is also how deep a reorganisation can go: twice what
/// followers of real chains plan for.
pub const STATES_KEPT: u64 = 128;
/// How far back the BLOCKHASH instruction sees.
pub(crate) const BLOCK_HASHES_KEPT: u64 = 256;

/// The deterministic-deployment proxy that wallets and tools expect on every chain, where it has this address because its
/// creation is a transaction that nobody holds the key of.
const CREATE2_PROXY: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");
const CREATE2_PROXY_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    head: Arc<Block>,
    /// By number: the recent ones for sure, and all that were mined since the chain was opened.
    blocks: Trie<Arc<Block>>,
    /// Where each block is in the journal, by number, as far as that is known: not for those that are just being mined.
    spans: Trie<Span>,
    /// Numbers by block hash, of all blocks.
    numbers: Trie<u64>,
    /// Places of mined transactions by hash.
    places: Trie<(u64, usize)>,
    /// State after a block by its number, for the last [`STATES_KEPT`] and the head.
    states: Trie<Kept>,
    pub(crate) pool: Pool,
    pub(crate) time: Time,
    pub(crate) automine: bool,
    /// Set for one block only.
    pub(crate) base_fee_set: Option<u64>,
    pub(crate) forks: u64,
    pub(crate) snapshots: Arc<BTreeMap<u64, Chain>>,
    pub(crate) snapshot_next: u64,
}

/// A state, and what led to it from the one before.
#[derive(Clone, Debug)]
struct Kept {
    state: State,
    diffs: Arc<Vec<Diff>>,
}

/// What a chain is made of, for one that was written down.
pub(crate) struct Parts {
    pub(crate) genesis: Genesis,
    pub(crate) time: Time,
    pub(crate) automine: bool,
    pub(crate) base_fee_set: Option<u64>,
    pub(crate) forks: u64,
    pub(crate) snapshot_next: u64,
    /// Oldest first.
    pub(crate) waiting: Vec<SignedTx>,
    /// Number of the block after which the first of `states` is.
    pub(crate) oldest: u64,
    pub(crate) states: Vec<(State, Vec<Diff>)>,
    /// Blocks from the second on.
    pub(crate) index: Vec<Indexed>,
}

/// A block that need not be in memory.
pub(crate) struct Indexed {
    pub(crate) hash: B256,
    pub(crate) span: Span,
    pub(crate) transactions: Vec<B256>,
    pub(crate) body: Option<Arc<Block>>,
}

impl Chain {
    pub(crate) fn found(genesis: Genesis) -> Self {
        let mut state = State::default();
        state.apply(&genesis_accounts());
        let template = Template {
            parent: B256::ZERO,
            number: 0,
            timestamp: genesis.timestamp,
            gas_limit: genesis.gas_limit,
            base_fee: genesis.base_fee,
            forks: genesis.chain_id,
        };
        let head = Arc::new(Block::seal(&template, Vec::new(), state.root()));
        let mut chain = Self {
            genesis,
            head: head.clone(),
            blocks: Trie::default(),
            spans: Trie::default(),
            numbers: Trie::default(),
            places: Trie::default(),
            states: Trie::default(),
            pool: Pool::default(),
            time: Time::default(),
            automine: true,
            base_fee_set: None,
            forks: 0,
            snapshots: Arc::default(),
            snapshot_next: 1,
        };
        chain.push(&head, state, Vec::new());
        chain
    }

    /// Makes a change that [`Chain::execute`](super::command) decided, now or before a restart.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Founded(_) => unreachable!("a journal's reader takes it for the start of a chain"),
            Change::Queued(tx) => self.pool.insert(tx.clone()),
            Change::Dropped(which) => self.pool.remove(which.sender, which.nonce),
            Change::Mined(mined) => self.apply_mined(mined),
            Change::Edited(diff) => {
                let key = number_key(self.head.number());
                let mut kept = self.kept().clone();
                kept.state.apply(diff);
                Arc::make_mut(&mut kept.diffs).push(diff.clone());
                self.states.insert(key, kept);
            }
            Change::TimeSet(time) => self.time = *time,
            Change::AutomineSet(on) => self.automine = *on,
            Change::BaseFeeSet(fee) => self.base_fee_set = Some(*fee),
            Change::RolledBack(rolled_back) => self.roll_back(*rolled_back),
            Change::SnapshotTaken => {
                // Restoring one takes the older ones from the chain, so it needs none of its own.
                let snapshot = Self { snapshots: Arc::default(), ..self.clone() };
                Arc::make_mut(&mut self.snapshots).insert(self.snapshot_next, snapshot);
                self.snapshot_next += 1;
            }
            Change::SnapshotRestored(id) => self.restore(*id),
        }
    }

    fn apply_mined(&mut self, mined: &Mined) {
        let state = mined.state.clone().unwrap_or_else(|| {
            let mut state = self.state().clone();
            mined.diffs.iter().for_each(|diff| state.apply(diff));
            state
        });
        for mined in &mined.block.transactions {
            self.pool.remove(mined.tx.sender, mined.tx.nonce());
        }
        self.base_fee_set = None;
        self.push(&mined.block, state, mined.diffs.clone());
    }

    fn push(&mut self, block: &Arc<Block>, state: State, diffs: Vec<Diff>) {
        let number = block.number();
        for (index, mined) in block.transactions.iter().enumerate() {
            self.places.insert(mined.tx.hash, (number, index));
        }
        self.numbers.insert(block.hash, number);
        self.blocks.insert(number_key(number), block.clone());
        self.states.insert(number_key(number), Kept { state, diffs: diffs.into() });
        if let Some(old) = number.checked_sub(STATES_KEPT) {
            self.states.remove(&number_key(old));
        }
        self.head = block.clone();
    }

    fn roll_back(&mut self, rolled_back: RolledBack) {
        self.forks += 1;
        for number in (rolled_back.to + 1..=self.head.number()).rev() {
            let block = self.block(number).expect("blocks have no gaps").clone();
            for mined in &block.transactions {
                self.places.remove(&mined.tx.hash);
                if rolled_back.requeue {
                    self.pool.insert(mined.tx.clone());
                }
            }
            self.numbers.remove(&block.hash);
            self.blocks.remove(&number_key(number));
            self.spans.remove(&number_key(number));
            self.states.remove(&number_key(number));
        }
        self.head = self.block(rolled_back.to).expect("it is below the old head").clone();
    }

    fn restore(&mut self, id: u64) {
        let Some(snapshot) = self.snapshots.get(&id).cloned() else { return };
        let older = self.snapshots.range(..id).map(|(id, chain)| (*id, chain.clone())).collect();
        let (forks, snapshot_next) = (self.forks + 1, self.snapshot_next);
        *self = Self { forks, snapshot_next, snapshots: Arc::new(older), ..snapshot };
    }

    pub(crate) fn head(&self) -> &Arc<Block> {
        &self.head
    }

    /// State after the head.
    pub(crate) fn state(&self) -> &State {
        &self.kept().state
    }

    fn kept(&self) -> &Kept {
        self.states.get(&number_key(self.head.number())).expect("the head's state is always kept")
    }

    /// State after block `number`.
    pub(crate) fn state_at(&self, number: u64) -> Result<&State, Refusal> {
        if number > self.head.number() {
            return Err(Refusal::NoBlock(number.to_string()));
        }
        self.states
            .get(&number_key(number))
            .map(|kept| &kept.state)
            .ok_or_else(|| Refusal::StateNotKept { block: number, oldest: self.oldest_state() })
    }

    pub(crate) fn oldest_state(&self) -> u64 {
        let (oldest, _) = self.states.iter().next().expect("the head's state is always kept");
        U256::from_be_bytes(oldest.0).to()
    }

    /// What block `number` changed, if its state is kept.
    pub(crate) fn diffs(&self, number: u64) -> &[Diff] {
        self.states.get(&number_key(number)).map_or(&[], |kept| &kept.diffs)
    }

    /// A block that is in memory: one of the last few hundred always is.
    pub(crate) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        self.blocks.get(&number_key(number))
    }

    /// Where the journal has a block.
    pub(crate) fn span(&self, number: u64) -> Option<Span> {
        self.spans.get(&number_key(number)).copied()
    }

    /// Notes where the journal has what `change` did.
    pub(crate) fn note_span(&mut self, change: &Change, span: Span) {
        let Change::Mined(mined) = change else { return };
        let number = mined.block.number();
        // It may have been rolled back within the same batch.
        if self.numbers.get(&mined.block.hash) == Some(&number) {
            self.spans.insert(number_key(number), span);
        }
        if !self.snapshots.is_empty() {
            Arc::make_mut(&mut self.snapshots).values_mut().for_each(|chain| chain.note_span(change, span));
        }
    }

    /// Hash, place in the journal, and transactions of each block from the second on. None if a block is not journaled.
    pub(crate) fn index(&self) -> Option<Vec<(B256, Span, Vec<B256>)>> {
        let blocks = self.head.number() as usize + 1;
        let (mut hashes, mut transactions) = (vec![B256::ZERO; blocks], vec![Vec::new(); blocks]);
        self.numbers.iter().for_each(|(hash, number)| hashes[*number as usize] = *hash);
        self.places.iter().for_each(|(hash, (number, index))| transactions[*number as usize].push((*index, *hash)));
        let indexed = (0..).zip(hashes).zip(transactions).skip(1).map(|((number, hash), mut transactions)| {
            transactions.sort_unstable();
            Some((hash, self.span(number)?, transactions.into_iter().map(|(_, hash)| hash).collect()))
        });
        indexed.collect()
    }

    /// The number of the block with this hash.
    pub(crate) fn number_of(&self, hash: &B256) -> Option<u64> {
        self.numbers.get(hash).copied()
    }

    pub(crate) fn from_parts(parts: Parts) -> Option<Self> {
        let mut chain = Self::found(parts.genesis);
        for (number, Indexed { hash, span, transactions, body }) in (1..).zip(parts.index) {
            for (index, hash) in transactions.into_iter().enumerate() {
                chain.places.insert(hash, (number, index));
            }
            chain.numbers.insert(hash, number);
            chain.spans.insert(number_key(number), span);
            if let Some(body) = body {
                chain.blocks.insert(number_key(number), body.clone());
                chain.head = body;
            }
        }
        chain.states = Trie::default();
        for (number, (state, diffs)) in (parts.oldest..).zip(parts.states) {
            chain.states.insert(number_key(number), Kept { state, diffs: diffs.into() });
        }
        parts.waiting.into_iter().for_each(|tx| chain.pool.insert(tx));
        let Parts { time, automine, base_fee_set, forks, snapshot_next, .. } = parts;
        let chain = Self { time, automine, base_fee_set, forks, snapshot_next, ..chain };
        // A head without its state, or one whose state is another, would be no chain.
        let sound = chain.states.get(&number_key(chain.head.number())).is_some();
        sound.then_some(chain)
    }

    /// The number that a tag stands for. There is no consensus that could finalise anything, so the head is final;
    /// `pending` is answered as the head.
    pub(crate) fn number(&self, tag: BlockNumberOrTag) -> u64 {
        match tag {
            BlockNumberOrTag::Number(number) => number,
            BlockNumberOrTag::Earliest => 0,
            _ => self.head.number(),
        }
    }

    /// Number of the block that has this transaction, and the transaction's index in it.
    pub(crate) fn place(&self, hash: &B256) -> Option<(u64, usize)> {
        self.places.get(hash).copied()
    }

    /// Answers the BLOCKHASH instruction in a block `of` that number.
    pub(crate) fn recent_hashes(&self, of: u64) -> impl Fn(u64) -> B256 + '_ {
        move |number| {
            let visible = number < of && of - number <= BLOCK_HASHES_KEPT;
            visible.then(|| self.block(number)).flatten().map_or(B256::ZERO, |block| block.hash)
        }
    }

    pub(crate) fn base_fee_next(&self) -> u64 {
        self.base_fee_set.unwrap_or_else(|| base_fee_after(&self.head))
    }

    /// The chain's time while the wall clock shows `now`, in seconds.
    pub(crate) fn clock(&self, now: u64) -> u64 {
        (now + self.time.ahead).saturating_sub(self.time.behind)
    }

    /// The block that would be mined now.
    pub(crate) fn template(&self, now: u64) -> Template {
        let clock = if self.time.next == 0 { self.clock(now) } else { self.time.next };
        Template {
            parent: self.head.hash,
            number: self.head.number() + 1,
            timestamp: clock.max(self.head.header.timestamp + 1),
            gas_limit: self.genesis.gas_limit,
            base_fee: self.base_fee_next(),
            forks: self.forks,
        }
    }
}

/// What the base fee is after `block`.
pub(crate) fn base_fee_after(block: &Block) -> u64 {
    let header = &block.header;
    calc_next_block_base_fee(header.gas_used, header.gas_limit, block.base_fee(), BaseFeeParams::ethereum())
}

fn number_key(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn genesis_accounts() -> Diff {
    let funded = accounts::addresses().into_iter().map(|address| AccountDiff {
        address,
        nonce: 0,
        balance: accounts::BALANCE,
        code_hash: KECCAK256_EMPTY,
        slots: Vec::new(),
    });
    let proxy = AccountDiff {
        address: CREATE2_PROXY,
        nonce: 1,
        balance: U256::ZERO,
        code_hash: keccak256(&CREATE2_PROXY_CODE),
        slots: Vec::new(),
    };
    Diff { accounts: funded.chain([proxy]).collect(), removed: Vec::new(), codes: vec![CREATE2_PROXY_CODE] }
}
