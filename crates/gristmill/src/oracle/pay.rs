//! Workers of a pool that is paid for them: what each has earned, and the vouchers that say so.
//!
//! An order's earnings are booked once its settlement can no longer be taken back, in the commit that marks the order as
//! credited. Everything after that only tells of it and may happen again: a voucher says what is owed in all, and the
//! market's lock for vouchers is raised to what all workers are owed.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use alloy::signers::SignerSync as _;
use alloy::sol_types::SolCall;
use anyhow::{Context, Result};
use gristmill_chain::contracts::Market;
use gristmill_chain::send::Action;
use gristmill_chain::voucher::voucher_hash;
use gristmill_proto::id::WorkerId;
use tracing::{error, info};

use super::work::Earner;
use super::{Oracle, store};
use crate::vouchers::VoucherView;

const LOCK_RETRY_PAUSE: Duration = Duration::from_secs(600);
/// Vouchers told at once.
const TELL_MAX: usize = 500;

/// Shares an amount out by weight. The parts add up to it exactly; what does not divide goes to the first.
pub(super) fn split(amount: u128, earners: &[Earner]) -> Vec<(Address, u128)> {
    let weights: U256 = earners.iter().map(|earner| U256::from(earner.weight)).sum();
    if weights.is_zero() {
        return Vec::new();
    }
    let part = |earner: &Earner| {
        let part = U256::from(amount) * U256::from(earner.weight) / weights;
        (earner.worker, part.to::<u128>())
    };
    let mut parts: Vec<(Address, u128)> = earners.iter().map(part).collect();
    let shared: u128 = parts.iter().map(|(_, part)| part).sum();
    parts[0].1 += amount - shared;
    parts.retain(|(_, part)| *part > 0);
    parts
}

impl Oracle {
    pub(super) async fn credit(&self, id: B256, earners: &[Earner], amount: u128) -> Result<()> {
        let mut paid = Vec::new();
        for earner in earners {
            let payout = self.pool.payout(WorkerId(earner.worker.into_array())).await?;
            paid.push(Earner { worker: payout.map_or(earner.worker, Address::from), weight: earner.weight });
        }
        let parts = merged(split(amount, &paid));
        info!(order = %id, amount, workers = parts.len(), "workers have earned");
        let books = &mut *self.books.lock().await;
        let due = books.ledger.credited(id);
        books.store.commit(&mut books.ledger, |sql| if due { store::credit(sql, id, &parts) } else { Ok(()) })?;
        self.news.notify_one();
        Ok(())
    }

    /// Tells workers what they are owed, and has the market keep it for them.
    pub(super) async fn pay(&self) -> Result<()> {
        self.cover().await?;
        loop {
            let untold = self.books.lock().await.store.untold(TELL_MAX)?;
            if untold.is_empty() {
                return Ok(());
            }
            let vouchers = untold.iter().map(|(payee, earned)| self.voucher(*payee, *earned));
            let vouchers = vouchers.collect::<Result<Vec<_>>>()?;
            self.pool.tell_vouchers(&vouchers).await?;
            self.books.lock().await.store.told(&untold)?;
        }
    }

    fn voucher(&self, payee: Address, cumulative: u128) -> Result<VoucherView> {
        let hash = voucher_hash(self.chain_id, self.market, self.pool_account, payee, cumulative);
        let signature = self.key.sign_hash_sync(&hash).context("the voucher cannot be signed")?;
        Ok(VoucherView {
            chain_id: self.chain_id,
            market: self.market,
            pool: self.pool_account,
            worker: payee,
            cumulative: cumulative.to_string(),
            signature: signature.as_bytes().into(),
        })
    }

    /// The pool's account does not hold what it was paid: its owner has taken it out, and may put it back.
    pub(super) async fn lock_refused(&self, key: &str) -> Result<()> {
        let Some(locked) = key.split(' ').nth(1).and_then(|locked| locked.parse().ok()) else { return Ok(()) };
        error!(
            "the pool's account in the market is too low to cover its workers' vouchers: deposit what was withdrawn"
        );
        *self.cover_after.lock().await = Some(Instant::now() + LOCK_RETRY_PAUSE);
        self.book(|_| (), |sql| store::set_locked(sql, locked)).await
    }

    /// One transaction at a time: while it is under way, what is to be locked adds up.
    async fn cover(&self) -> Result<()> {
        let mut books = self.books.lock().await;
        let cover = books.store.cover()?;
        let status = self.sender.status();
        let is_busy = { status.borrow().queued + status.borrow().pending > 0 };
        if cover.owed <= cover.locked || is_busy || self.cover_after.lock().await.is_some_and(|at| Instant::now() < at)
        {
            return Ok(());
        }
        let more = cover.owed - cover.locked;
        let call = Market::lockCall { amount: U256::from(more) }.abi_encode();
        // Refused once, it is another action the next time.
        let key = format!("lock {} {} {}", cover.locked, cover.owed, books.store.outcomes_seen()?);
        let action = Action::call(key, self.market, call);
        let books = &mut *books;
        books.store.commit(&mut books.ledger, |sql| {
            store::set_locked(sql, cover.owed)?;
            store::enqueue(sql, &action)
        })?;
        self.sender.wake();
        Ok(())
    }
}

/// Several workers may be paid at one address.
fn merged(mut parts: Vec<(Address, u128)>) -> Vec<(Address, u128)> {
    parts.sort_unstable();
    parts.dedup_by(|next, first| {
        let same = next.0 == first.0;
        if same {
            first.1 += next.1;
        }
        same
    });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earner(worker: u8, weight: u64) -> Earner {
        Earner { worker: Address::repeat_byte(worker), weight }
    }

    #[test]
    fn parts_add_up_to_what_was_paid() {
        for amount in [0, 1, 7, 100, u128::from(u64::MAX), (1 << 96) - 1] {
            for weights in [vec![1], vec![1, 1, 1], vec![3, 0, 5], vec![u64::MAX, u64::MAX, 1]] {
                let earners: Vec<Earner> =
                    weights.iter().zip(1..).map(|(weight, worker)| earner(worker, *weight)).collect();
                let parts = split(amount, &earners);
                assert_eq!(parts.iter().map(|(_, part)| part).sum::<u128>(), amount, "{weights:?}");
                let most = parts.iter().all(|(worker, _)| *worker != Address::repeat_byte(2) || weights[1] > 0);
                assert!(most, "nothing for no work");
            }
        }
        assert_eq!(split(5, &[]), []);
        assert_eq!(
            split(10, &[earner(1, 1), earner(2, 4)]),
            [(Address::repeat_byte(1), 2), (Address::repeat_byte(2), 8)]
        );
    }

    #[test]
    fn workers_with_one_address_get_one_sum() {
        let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
        assert_eq!(merged(vec![(two, 3), (one, 1), (two, 4)]), [(one, 1), (two, 7)]);
    }
}
