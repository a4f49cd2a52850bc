//! The follower itself: where to look next, and what it means.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use alloy::{
    eips::BlockNumberOrTag,
    primitives::B256,
    rpc::types::{Filter, Header, Log},
};
use tokio::{sync::watch, time::Instant};

use super::{
    Advance, FollowConfig, FollowError, FollowStatus, HISTORY_LENGTH, Outage, Step,
    history::{BlockRef, History},
    window::Window,
};
use crate::{
    backoff::Backoff,
    rpc::{Rpc, RpcError},
};

/// Failures in a row on one block after which the walk starts over from a fresh head: the block may have been reorganised
/// away while we were asking for it, and no node will ever know it again.
const FAILURES_BEFORE_NEW_WALK: u32 = 3;

/// Headers walked by hash beyond the safe depth before known blocks are compared by number instead.
const WALK_SLACK: u64 = 64;

/// Some endpoints refuse batches, each in its own words. One success says that they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batches {
    Untried,
    Taken,
    Refused,
}

/// Headers remembered of unfinished walks; several walks' worth.
const WALKED_MAX: usize = 1_024;

enum Trouble {
    Rpc(RpcError),
    Fatal(FollowError),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

/// Delivers the logs of a filter, block after block. See the [module](super).
#[derive(Debug)]
pub struct Follower {
    rpc: Rpc,
    config: FollowConfig,
    history: History,
    /// Headers above the cursor, each the parent of the next; the first is a child of the cursor.
    pending: VecDeque<Header>,
    /// Headers of the walk under way, by hash. Where every other answer is "unknown block", a walk that began again each
    /// time would never arrive.
    walked: HashMap<B256, Header>,
    head: Option<u64>,
    finalized: Option<u64>,
    window: Window,
    batches: Batches,
    /// Since when the head has been below the cursor.
    behind_since: Option<Instant>,
    backoff: Backoff,
    status: watch::Sender<FollowStatus>,
}

impl Follower {
    #[must_use]
    pub fn new(rpc: Rpc, config: FollowConfig) -> Self {
        let history = History::new(config.known.clone(), HISTORY_LENGTH);
        let status = FollowStatus { cursor: history.cursor(), ..FollowStatus::default() };
        Self {
            window: Window::new(config.window_blocks_max),
            backoff: Backoff::new(config.backoff),
            pending: VecDeque::new(),
            walked: HashMap::new(),
            head: None,
            finalized: None,
            batches: Batches::Untried,
            behind_since: None,
            status: watch::channel(status).0,
            rpc,
            config,
            history,
        }
    }

    /// Head, cursor and outage, as they change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<FollowStatus> {
        self.status.subscribe()
    }

    #[must_use]
    pub fn cursor(&self) -> Option<BlockRef> {
        self.history.cursor()
    }

    /// The next step; waits for it as long as it takes, through outages. Cancel-safe.
    pub async fn next(&mut self) -> Result<Step, FollowError> {
        loop {
            let delay = match self.look().await {
                Ok(found) => {
                    self.backoff.succeeded();
                    self.publish(None);
                    match found {
                        Some(step) => return Ok(step),
                        None if self.pending.is_empty() => self.config.poll_interval,
                        None => Duration::ZERO,
                    }
                }
                Err(Trouble::Rpc(error)) => self.suffer(&error),
                Err(Trouble::Fatal(error)) => return Err(error),
            };
            tokio::time::sleep(delay).await;
        }
    }

    fn publish(&self, trouble: Option<&RpcError>) {
        self.status.send_if_modified(|status| {
            let mut now = FollowStatus {
                head: self.head,
                finalized: self.finalized,
                cursor: self.history.cursor(),
                outage: status.outage.clone(),
            };
            match trouble {
                Some(error) => Outage::record(&mut now.outage, self.backoff.failures(), error),
                None => now.outage = None,
            }
            let changed = *status != now;
            *status = now;
            changed
        });
    }

    fn suffer(&mut self, error: &RpcError) -> Duration {
        let delay = self.backoff.failed(error.retry_after());
        tracing::debug!(%error, failures = self.backoff.failures(), ?delay, "the chain endpoint failed");
        if self.backoff.failures() >= FAILURES_BEFORE_NEW_WALK {
            self.pending.clear();
        }
        self.publish(Some(error));
        delay
    }

    /// One look at the chain. Changes `self` only after its last request, so that it may be dropped anywhere.
    async fn look(&mut self) -> Result<Option<Step>, Trouble> {
        if let Some(block) = self.pending.front() {
            let logs = self.logs_of(block).await?;
            let block = self.pending.pop_front().expect("looked at above");
            return Ok(Some(self.advance(&block, logs)));
        }
        let head = self.rpc.head().await?;
        self.note_finalized(&head).await;
        let Some(cursor) = self.history.cursor() else {
            return self.anchor(&head).await;
        };
        if self.is_behind(&head, cursor) {
            return Ok(None);
        }
        self.head = Some(head.number);
        if head.hash == cursor.hash {
            return Ok(None);
        }
        if head.number > cursor.number + self.config.safe_depth {
            return self.catch_up(&head, cursor).await.map(Some);
        }
        self.walk(head, cursor).await
    }

    async fn note_finalized(&mut self, head: &Header) {
        if self.head == Some(head.number) {
            return;
        }
        // Chains without finality refuse the tag; they are asked again with each new head, which costs them little.
        if let Ok(Some(finalized)) = self.rpc.tagged(BlockNumberOrTag::Finalized).await {
            self.finalized = self.finalized.max(Some(finalized.number));
        }
    }

    /// The block below the first one wanted: a known block to rewind to if the first blocks are reorganised.
    async fn anchor(&mut self, head: &Header) -> Result<Option<Step>, Trouble> {
        let number = self.config.start.saturating_sub(1);
        if head.number < number {
            return Ok(None);
        }
        let anchor = self.known_to_node(number).await?;
        Ok(Some(self.advance(&anchor, Vec::new())))
    }

    /// A lower head than ours is, most of the time, another node of the same endpoint. Rewinding at once would make every
    /// such answer look like a reorganisation; never rewinding would miss a chain that really shrank.
    fn is_behind(&mut self, head: &Header, cursor: BlockRef) -> bool {
        if head.number >= cursor.number {
            self.behind_since = None;
            return false;
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        since.elapsed() < self.config.lag_patience
    }

    /// Walks parents from the head until it meets a block we know.
    async fn walk(&mut self, head: Header, cursor: BlockRef) -> Result<Option<Step>, Trouble> {
        let oldest = self.history.oldest().expect("a cursor was found");
        let length_max = self.config.safe_depth + WALK_SLACK;
        let head_ref = reference(&head);
        if self.history.contains(head_ref) {
            return Ok(Some(self.rewind(head_ref)));
        }
        let mut walked = VecDeque::from([head]);
        let ancestor = loop {
            let lowest = walked.front().expect("never empty");
            if lowest.number <= oldest.number {
                return Err(self.too_deep(oldest, head_ref.number));
            }
            let parent = BlockRef { number: lowest.number - 1, hash: lowest.parent_hash };
            if self.history.contains(parent) {
                break parent;
            }
            if walked.len() as u64 >= length_max {
                let ancestor = self.ancestor_by_number(head_ref.number).await?;
                return Ok((ancestor != cursor).then(|| self.rewind(ancestor)));
            }
            let parent = self.walk_to(parent.hash).await?;
            walked.push_front(parent);
        };
        self.walked.clear();
        self.pending = walked;
        self.behind_since = None;
        if ancestor == cursor {
            return Ok(None);
        }
        let pending = std::mem::take(&mut self.pending);
        let step = self.rewind(ancestor);
        self.pending = pending;
        Ok(Some(step))
    }

    async fn walk_to(&mut self, hash: B256) -> Result<Header, RpcError> {
        if let Some(header) = self.walked.get(&hash) {
            return Ok(header.clone());
        }
        let header = self.rpc.block_by_hash(hash).await?;
        self.backoff.succeeded();
        if self.walked.len() >= WALKED_MAX {
            self.walked.clear();
        }
        self.walked.insert(hash, header.clone());
        Ok(header)
    }

    /// Far behind the head: one window of blocks, by number.
    async fn catch_up(&mut self, head: &Header, cursor: BlockRef) -> Result<Step, Trouble> {
        loop {
            let to = (cursor.number + self.window.blocks()).min(head.number - self.config.safe_depth);
            let filter = self.config.filter.clone().from_block(cursor.number + 1).to_block(to);
            match self.window_of(&filter, cursor.number, to).await {
                Ok((below, logs, last)) => {
                    if below.hash != cursor.hash {
                        let ancestor = self.ancestor_by_number(head.number).await?;
                        if ancestor == cursor {
                            let what = format!("block {}, which another node has", cursor.number);
                            return Err(RpcError::Behind { method: "eth_getBlockByNumber", what }.into());
                        }
                        return Ok(self.rewind(ancestor));
                    }
                    check_logs(&logs, cursor.number + 1, to)?;
                    self.window.worked();
                    return Ok(self.advance(&last, logs));
                }
                Err(error) if error.asks_for_smaller_range() && self.window.too_large() => {
                    tracing::debug!(%error, blocks = self.window.blocks(), "the log window is halved");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The block below the window, the logs of it, and its last block; from one node where batches are taken.
    async fn window_of(
        &mut self,
        filter: &Filter,
        below: u64,
        to: u64,
    ) -> Result<(Header, Vec<Log>, Header), RpcError> {
        if self.batches != Batches::Refused {
            let answer = self.rpc.logs_between(filter, below, to).await;
            if answer.is_ok() {
                self.batches = Batches::Taken;
            }
            if self.batches == Batches::Taken {
                return answer;
            }
        }
        let below = self.known_to_node(below).await?;
        let logs = self.rpc.logs(filter).await?;
        let last = self.known_to_node(to).await?;
        self.batches = Batches::Refused;
        Ok((below, logs, last))
    }

    async fn known_to_node(&self, number: u64) -> Result<Header, RpcError> {
        let block = self.rpc.block(number).await?;
        block.ok_or_else(|| RpcError::Behind { method: "eth_getBlockByNumber", what: format!("block {number}") })
    }

    /// The newest known block that the chain still has at its number.
    async fn ancestor_by_number(&self, head: u64) -> Result<BlockRef, Trouble> {
        for known in self.history.newest_first() {
            if known.number <= head && self.known_to_node(known.number).await?.hash == known.hash {
                return Ok(known);
            }
        }
        let oldest = self.history.oldest().expect("a cursor was found");
        Err(self.too_deep(oldest, head))
    }

    fn too_deep(&self, oldest: BlockRef, head: u64) -> Trouble {
        Trouble::Fatal(FollowError::ReorgTooDeep { oldest_known: oldest.number, head })
    }

    /// By hash: a node without the block refuses, where a number query would answer with an empty list.
    async fn logs_of(&self, block: &Header) -> Result<Vec<Log>, Trouble> {
        let logs = self.rpc.logs(&self.config.filter.clone().at_block_hash(block.hash)).await?;
        check_logs(&logs, block.number, block.number)?;
        Ok(logs)
    }

    fn advance(&mut self, to: &Header, mut logs: Vec<Log>) -> Step {
        let block = reference(to);
        let head = self.head.map_or(block.number, |head| head.max(block.number));
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        self.history.advance(block);
        self.head = Some(head);
        self.publish(None);
        Step::Advance(Advance { to: block, timestamp: to.timestamp, logs, head, finalized: self.finalized })
    }

    fn rewind(&mut self, to: BlockRef) -> Step {
        self.pending.clear();
        self.behind_since = None;
        self.history.rewind(to);
        tracing::info!(block = to.number, "the chain was reorganised; going back");
        self.publish(None);
        Step::Rewind { to }
    }
}

fn reference(header: &Header) -> BlockRef {
    BlockRef { number: header.number, hash: header.hash }
}

fn check_logs(logs: &[Log], from: u64, to: u64) -> Result<(), RpcError> {
    let strays =
        logs.iter().find(|log| log.removed || !log.block_number.is_some_and(|number| (from..=to).contains(&number)));
    match strays {
        Some(log) => Err(RpcError::Nonsense {
            method: "eth_getLogs",
            reason: format!("asked for blocks {from} to {to}, got a log of block {:?}", log.block_number),
        }),
        None => Ok(()),
    }
}
