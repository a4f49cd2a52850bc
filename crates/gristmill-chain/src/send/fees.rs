//! What a unit of gas is offered.

use alloy::primitives::U256;

/// The two caps of EIP-1559, in wei per unit of gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    pub max_wei: u128,
    pub tip_wei: u128,
}

/// A replacement has to raise *both* caps: geth asks for 10 %, reth for strictly more than that.
const BUMP_DIVISOR: u128 = 8;

impl Fees {
    /// Twice the base fee outlasts six full blocks in a row.
    #[must_use]
    pub fn market(base_fee_wei: u128, tip_wei: u128) -> Self {
        Self { max_wei: base_fee_wei.saturating_mul(2).saturating_add(tip_wei), tip_wei }
    }

    /// Less than the market asks, if the cap is that low, but enough for the next block; `None` if not even that.
    #[must_use]
    pub fn within(self, cap_wei: u128, base_fee_wei: u128) -> Option<Self> {
        let capped = Self { max_wei: self.max_wei.min(cap_wei), tip_wei: self.tip_wei.min(cap_wei) };
        (capped.max_wei >= base_fee_wei.saturating_add(capped.tip_wei)).then_some(capped)
    }

    /// The price of a replacement: an eighth more, or the market if that has risen further.
    #[must_use]
    pub fn bumped(self, market: Self) -> Self {
        let raise = |wei: u128| wei.saturating_add(wei.div_ceil(BUMP_DIVISOR)).max(wei.saturating_add(1));
        let tip_wei = raise(self.tip_wei).max(market.tip_wei);
        Self { max_wei: raise(self.max_wei).max(market.max_wei).max(tip_wei), tip_wei }
    }

    #[must_use]
    pub fn cost_max(self, gas: u64) -> U256 {
        U256::from(self.max_wei) * U256::from(gas)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cap_below_the_market_is_used_while_it_reaches_the_next_block() {
        let market = Fees::market(100, 10);
        assert_eq!(market, Fees { max_wei: 210, tip_wei: 10 });
        assert_eq!(market.within(150, 100), Some(Fees { max_wei: 150, tip_wei: 10 }));
        assert_eq!(market.within(109, 100), None);
    }

    proptest! {
        #[test]
        fn a_replacement_raises_both_caps_by_more_than_a_tenth(max in 0..u128::MAX / 2, tip in 0..u128::MAX / 2, base in 0..1_u128 << 90) {
            let old = Fees { max_wei: max.max(tip), tip_wei: tip };
            let new = old.bumped(Fees::market(base, 7));
            prop_assert!(new.max_wei > old.max_wei + old.max_wei / 10);
            prop_assert!(new.tip_wei > old.tip_wei + old.tip_wei / 10);
            prop_assert!(new.max_wei >= new.tip_wei);
        }
    }
}
