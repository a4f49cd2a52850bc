//! The vector operations that the hash of a candidate takes, counted by running the kernel's own code on vectors that
//! only take note of what is done to them.
//!
//! As a compiler would: operations on constants are done at once, equal operations are done once, and what no result
//! depends on is left out. One operation is what AVX-512 does in one: a ternary function of bits counts once.

use std::{cell::RefCell, collections::HashMap};

use super::{
    filter::{WordFilter, WordInterval},
    hash,
    lanes::{Coordinates, GROUP, WordLanes},
};

/// A constant, or the number of an operation of the [`Graph`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Counted {
    Constant(u32),
    Result(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    /// Words at this address.
    Load(usize),
    Sum(Counted, Counted),
    /// Left by so many bits.
    Rotation(Counted, i32),
    ShiftRight(Counted, u32),
    ShiftLeft(Counted, u32),
    ByteSwap(Counted),
    Difference(Counted, Counted),
    Compare(Counted),
    /// Any function of bits, by its AVX-512 truth table.
    Ternary(u8, Counted, Counted, Counted),
}

/// Operations in the order in which they were first done, and which of them the outcome depends on directly.
#[derive(Default)]
struct Graph {
    operations: Vec<Operation>,
    numbers: HashMap<Operation, usize>,
    outcome: Vec<usize>,
}

thread_local! {
    static GRAPH: RefCell<Graph> = RefCell::default();
}

impl Graph {
    fn number(&mut self, operation: Operation) -> usize {
        *self.numbers.entry(operation).or_insert_with(|| {
            self.operations.push(operation);
            self.operations.len() - 1
        })
    }

    /// What the outcome needs, without loads.
    fn needed(&self) -> Operations<usize> {
        let mut is_needed = vec![false; self.operations.len()];
        let mut waiting = self.outcome.clone();
        while let Some(number) = waiting.pop() {
            if !std::mem::replace(&mut is_needed[number], true) {
                waiting.extend(self.operations[number].operands().into_iter().flatten());
            }
        }
        let mut needed = Operations::default();
        for (operation, _) in self.operations.iter().zip(is_needed).filter(|(_, is_needed)| *is_needed) {
            match operation {
                Operation::Load(_) => {}
                Operation::Rotation(..) => needed.rotations += 1,
                Operation::ShiftRight(..) | Operation::ShiftLeft(..) => needed.shifts += 1,
                Operation::ByteSwap(_) => needed.shuffles += 1,
                Operation::Compare(_) => needed.compares += 1,
                Operation::Sum(..) | Operation::Difference(..) | Operation::Ternary(..) => needed.simple += 1,
            }
        }
        needed
    }
}

/// How many of what may be done by some of a processor's ports only.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Operations<N> {
    /// Sums and functions of bits, which every port does.
    pub simple: N,
    pub rotations: N,
    pub shifts: N,
    /// Of bytes or words.
    pub shuffles: N,
    pub compares: N,
}

impl Operation {
    fn operands(self) -> [Option<usize>; 3] {
        let result = |counted| match counted {
            Counted::Constant(_) => None,
            Counted::Result(number) => Some(number),
        };
        match self {
            Self::Load(_) => [None; 3],
            Self::Sum(a, b) | Self::Difference(a, b) => [result(a), result(b), None],
            Self::Rotation(a, _) | Self::ShiftRight(a, _) | Self::ShiftLeft(a, _) => [result(a), None, None],
            Self::ByteSwap(a) | Self::Compare(a) => [result(a), None, None],
            Self::Ternary(_, a, b, c) => [result(a), result(b), result(c)],
        }
    }

    fn done(self) -> Counted {
        Counted::Result(GRAPH.with_borrow_mut(|graph| graph.number(self)))
    }
}

/// Vector operations per candidate of a compressed key's hash and its comparison with one interval, for vectors of
/// sixteen lanes.
pub fn hash_operations() -> Operations<f64> {
    let filter = WordFilter::of_interval(WordInterval { low: 1 << 20, width: 1 << 10 });
    let graph = {
        GRAPH.set(Graph::default());
        hash::key_hashes_paired::<Counted>(&Coordinates::ZERO, &filter);
        GRAPH.take()
    };
    let Operations { simple, rotations, shifts, shuffles, compares } = graph.needed();
    let each = |count| count as f64 / (2 * GROUP) as f64;
    Operations {
        simple: each(simple),
        rotations: each(rotations),
        shifts: each(shifts),
        shuffles: each(shuffles),
        compares: each(compares),
    }
}

impl Counted {
    fn map(self, constant: impl FnOnce(u32) -> u32, operation: impl FnOnce(Self) -> Operation) -> Self {
        match self {
            Self::Constant(word) => Self::Constant(constant(word)),
            Self::Result(_) => operation(self).done(),
        }
    }

    fn ternary(table: u8, a: Self, b: Self, c: Self) -> Self {
        let (Self::Constant(x), Self::Constant(y), Self::Constant(z)) = (a, b, c) else {
            return Operation::Ternary(table, a, b, c).done();
        };
        let bit = |at: u32| {
            let row = (x >> at & 1) << 2 | (y >> at & 1) << 1 | z >> at & 1;
            u32::from(table >> row & 1) << at
        };
        Self::Constant((0..32).map(bit).sum())
    }

    fn binary(table: u8, a: Self, b: Self) -> Self {
        Self::ternary(table, a, b, Self::Constant(0))
    }
}

impl WordLanes for Counted {
    const LANES: usize = GROUP;

    fn load(words: &[u32]) -> Self {
        Operation::Load(words.as_ptr().addr()).done()
    }

    fn splat(word: u32) -> Self {
        Self::Constant(word)
    }

    /// A constant goes to the constant that one of the two already has.
    fn add(self, other: Self) -> Self {
        let (a, b) = if self <= other { (self, other) } else { (other, self) };
        match (a, b) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(a.wrapping_add(b)),
            (Self::Constant(0), b) => b,
            (Self::Constant(a), Self::Result(number)) => match GRAPH.with_borrow(|graph| graph.operations[number]) {
                Operation::Sum(Self::Constant(b), rest) => Self::Constant(a.wrapping_add(b)).add(rest),
                _ => Operation::Sum(Self::Constant(a), b).done(),
            },
            (a, b) => Operation::Sum(a, b).done(),
        }
    }

    fn xor(self, other: Self) -> Self {
        Self::binary(0x3c, self, other)
    }

    fn and(self, other: Self) -> Self {
        Self::binary(0xc0, self, other)
    }

    fn or(self, other: Self) -> Self {
        if self == Self::Constant(0) { other } else { Self::binary(0xfc, self, other) }
    }

    fn not(self) -> Self {
        Self::binary(0x0f, self, self)
    }

    fn rotate_left<const BITS: i32, const REST: i32>(self) -> Self {
        self.map(WordLanes::rotate_left::<BITS, REST>, |value| Operation::Rotation(value, BITS))
    }

    fn shift_right<const BITS: u32>(self) -> Self {
        self.map(|word| word >> BITS, |value| Operation::ShiftRight(value, BITS))
    }

    fn shift_left<const BITS: u32>(self) -> Self {
        self.map(|word| word << BITS, |value| Operation::ShiftLeft(value, BITS))
    }

    fn swap_bytes(self) -> Self {
        self.map(u32::swap_bytes, Operation::ByteSwap)
    }

    fn accepted_by(self, filter: &WordFilter) -> u32 {
        for interval in &filter.intervals {
            let above = Operation::Difference(self, Self::Constant(interval.low)).done();
            let Self::Result(number) = Operation::Compare(above).done() else { unreachable!("it depends on a load") };
            GRAPH.with_borrow_mut(|graph| graph.outcome.push(number));
        }
        0
    }

    fn xor3(self, b: Self, c: Self) -> Self {
        Self::ternary(0x96, self, b, c)
    }

    fn choose(self, b: Self, c: Self) -> Self {
        Self::ternary(0xca, self, b, c)
    }

    fn majority(self, b: Self, c: Self) -> Self {
        Self::ternary(0xe8, self, b, c)
    }

    fn or_not_xor(self, b: Self, c: Self) -> Self {
        Self::ternary(0x59, self, b, c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_constant_and_useless_operations_do_not_count() {
        GRAPH.set(Graph::default());
        let words = [0; GROUP];
        let x = Counted::load(&words);
        let five = Counted::splat(2).add(Counted::splat(3));
        assert!(five == Counted::Constant(5));
        let sum = x.add(five);
        assert!(sum == five.add(x), "a sum has no order");
        let Counted::Result(number) = sum.add(Counted::splat(1)) else { panic!("it depends on x") };
        let _useless = x.swap_bytes();
        GRAPH.with_borrow_mut(|graph| graph.outcome.push(number));
        assert_eq!(GRAPH.take().needed(), Operations { simple: 1, ..Operations::default() }, "x + 6");
    }

    #[test]
    fn truth_tables_are_those_of_the_other_back_ends() {
        let (a, b, c) = (0x0f0f_3355, 0x1234_5678, 0xfeed_beef);
        let of = |word: u32| Counted::splat(word);
        let same = |counted: Counted, word: u32| assert!(counted == Counted::Constant(word));
        same(of(a).xor3(of(b), of(c)), a.xor3(b, c));
        same(of(a).choose(of(b), of(c)), a.choose(b, c));
        same(of(a).majority(of(b), of(c)), a.majority(b, c));
        same(of(a).or_not_xor(of(b), of(c)), a.or_not_xor(b, c));
        same(of(a).xor(of(b)), a ^ b);
        same(of(a).and(of(b)), a & b);
        same(of(a).or(of(b)), a | b);
        same(of(a).not(), !a);
    }

    /// 64 rounds of 17 and 48 words of 11 operations, 160 steps of 6 or 7, less what is constant or shared.
    #[test]
    fn a_hash_takes_what_a_count_by_hand_says() {
        let Operations { simple, rotations, shifts, shuffles, compares } = hash_operations();
        let all = simple + rotations + shifts + shuffles + compares;
        assert!((150.0..162.0).contains(&all), "{all}");
        // 6 in each round, 4 in each word; 2 in each step.
        let by_hand = f64::from(6 * 64 + 4 * 48 + 2 * 160) / 16.0;
        assert!((by_hand - 5.0..by_hand).contains(&rotations), "{rotations}, by hand {by_hand}");
        // 2 in each word, and those that put prefix and coordinate together, which both prefixes share.
        assert!((5.0..7.0).contains(&shifts), "{shifts}");
        // Eight words of the first hash, and one of the second.
        assert!((shuffles - 9.0 / 16.0).abs() < 1e-9, "{shuffles}");
        assert!((compares - 1.0 / 16.0).abs() < 1e-9, "{compares}");
    }
}
