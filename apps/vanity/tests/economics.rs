//! A grid of honest and cheating workers under the pay rules: cheating must not pay.
//!
//! A worker is paid per verified share, gets a bonus for a winner among its shares, and is expelled, losing what is held
//! back, when its counts become unbelievable or an audit finds a share missing. The seeds are fixed.

use vanity::shares::Standing;

/// Shares that an honest worker finds in a unit, on average.
const SHARES_PER_UNIT: f64 = 64.0;
/// Shares to a winner.
const WIDTH: f64 = 4_096.0;
const PAY_PER_SHARE: f64 = 1.0;
/// The finder's bonus, about a tenth of what the shares to a winner are paid.
const BONUS: f64 = 400.0;
/// What a unit's electricity costs: three quarters of what it is paid.
const COST_PER_UNIT: f64 = 48.0;
/// Pay of the last units that is lost when a worker is expelled.
const UNITS_HELD_BACK: usize = 20;
/// One part of each unit in this many is searched again.
const AUDIT_PARTS: f64 = 1_000.0;
const UNITS: usize = 2_000;
/// An honest worker is expelled with this probability per look.
const INNOCENCE_MIN: f64 = 1e-9;

#[derive(Clone, Copy)]
struct Behaviour {
    /// Share of each unit that is searched; all of it is claimed.
    searched: f64,
    /// Probability that a found share is not reported.
    withheld: f64,
    /// What a withheld winner brings elsewhere. A worker that cannot tell a winner sells nothing.
    resale: f64,
}

struct Outcome {
    profit_per_unit: f64,
    expelled_after: Option<usize>,
    winners_withheld: u64,
}

/// SplitMix64: enough for dice, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn new(seed: u8) -> Self {
        Self(u64::from(seed) << 32)
    }

    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Knuth's product of uniforms: fine for means near 64.
    fn poisson(&mut self, mean: f64) -> u64 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }
}

fn work(behaviour: Behaviour, seed: u8) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut standing = Standing::default();
    let mut pays: Vec<f64> = Vec::new();
    let (mut costs, mut resold, mut winners_withheld) = (0.0, 0.0, 0);
    let mut expelled_after = None;
    for unit in 0..UNITS {
        costs += COST_PER_UNIT * behaviour.searched;
        let found = dice.poisson(SHARES_PER_UNIT * behaviour.searched);
        let missed = dice.poisson(SHARES_PER_UNIT * (1.0 - behaviour.searched));
        let (mut pay, mut withheld) = (0.0, 0);
        for _ in 0..found {
            let winner = dice.chance(1.0 / WIDTH);
            if dice.chance(behaviour.withheld) {
                withheld += 1;
                winners_withheld += u64::from(winner);
                resold += if winner { behaviour.resale } else { 0.0 };
            } else {
                pay += PAY_PER_SHARE + if winner { BONUS } else { 0.0 };
            }
        }
        pays.push(pay);
        standing.add((SHARES_PER_UNIT * 256.0) as u64, 256.0, found - withheld);
        let caught = (0..missed + withheld).any(|_| dice.chance(1.0 / AUDIT_PARTS));
        if caught || standing.innocence() < INNOCENCE_MIN {
            expelled_after = Some(unit + 1);
            pays.truncate(pays.len().saturating_sub(UNITS_HELD_BACK));
            break;
        }
    }
    let units = expelled_after.unwrap_or(UNITS) as f64;
    Outcome { profit_per_unit: (pays.iter().sum::<f64>() + resold - costs) / units, expelled_after, winners_withheld }
}

const HONEST: Behaviour = Behaviour { searched: 1.0, withheld: 0.0, resale: 0.0 };

fn mean_profit(behaviour: Behaviour) -> f64 {
    (0..20).map(|seed| work(behaviour, seed).profit_per_unit).sum::<f64>() / 20.0
}

#[test]
fn honest_workers_earn_and_are_left_alone() {
    for seed in 0..40 {
        let outcome = work(HONEST, seed);
        assert_eq!(outcome.expelled_after, None, "seed {seed}");
        assert!(outcome.profit_per_unit > 10.0, "seed {seed}: {}", outcome.profit_per_unit);
    }
}

#[test]
fn who_withholds_shares_loses_money() {
    let honest = mean_profit(HONEST);
    for withheld in [0.02, 0.1, 0.3, 1.0] {
        let profit = mean_profit(Behaviour { withheld, ..HONEST });
        assert!(profit < honest - 50.0 * withheld, "withholding {withheld}: {profit} instead of {honest}");
        let expelled = (0..20).filter(|&seed| work(Behaviour { withheld, ..HONEST }, seed).expelled_after.is_some());
        assert!(expelled.count() == 20, "withholding {withheld} goes unnoticed");
    }
}

/// Were winners recognisable, stealing them would pay: one in 4096 shares is worth withholding for, say, 5000.
/// In the dark the same thief must withhold them all.
#[test]
fn stealing_winners_pays_only_where_they_can_be_recognised() {
    const PRIZE: f64 = 5_000.0;
    let honest = mean_profit(HONEST);
    let clairvoyant = honest + SHARES_PER_UNIT / WIDTH * (PRIZE - BONUS - PAY_PER_SHARE);
    assert!(clairvoyant > honest + 50.0);
    let blind = Behaviour { withheld: 0.2, resale: PRIZE, ..HONEST };
    let (profit, stolen) = (mean_profit(blind), (0..20).map(|seed| work(blind, seed).winners_withheld).sum::<u64>());
    // A blind thief keeps what it withholds in case the requester's opening shows it to be a winner, but then it is too
    // late: the search goes on until somebody reports one, and the pay for the rest is gone.
    assert!(profit < honest, "{profit} instead of {honest}, {stolen} stolen");
}

#[test]
fn who_searches_less_than_claimed_loses_money_once_expelled() {
    for searched in [0.0, 0.5, 0.8, 0.9] {
        let slacker = Behaviour { searched, ..HONEST };
        let mut worst = 0;
        for seed in 0..20 {
            let outcome = work(slacker, seed);
            worst = worst.max(outcome.expelled_after.expect("found out"));
            let honest_profit = SHARES_PER_UNIT * (PAY_PER_SHARE + BONUS / WIDTH) - COST_PER_UNIT;
            assert!(outcome.profit_per_unit < honest_profit, "{searched}, seed {seed}: {}", outcome.profit_per_unit);
        }
        assert!(worst < 400, "{searched} found out only after {worst} units");
    }
}
