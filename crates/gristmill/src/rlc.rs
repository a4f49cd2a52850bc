//! Amounts of the token, which the contracts count in nRLC.

use alloy::primitives::U256;

pub const NRLC_PER_RLC: u128 = 1_000_000_000;

/// An amount of nRLC for people.
pub fn rlc(amount: U256) -> String {
    let per = U256::from(NRLC_PER_RLC);
    let fraction = format!("{:09}", (amount % per).to::<u64>());
    match fraction.trim_end_matches('0') {
        "" => format!("{} RLC", amount / per),
        fraction => format!("{}.{fraction} RLC", amount / per),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(rlc(U256::ZERO), "0 RLC");
        assert_eq!(rlc(U256::from(5_000_000)), "0.005 RLC");
        assert_eq!(rlc(U256::from(12_000_000_001_u64)), "12.000000001 RLC");
        assert_eq!(rlc(U256::from(3_000_000_000_u64)), "3 RLC");
    }
}
