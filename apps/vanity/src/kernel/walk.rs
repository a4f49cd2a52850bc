//! The walk: blocks of consecutive points around centres, one field inversion for a whole block.
//!
//! Each lane has a centre C and checks C − HALF·G … C + (HALF − 1)·G. The points C ± i·G share dx = x(i·G) − x(C), and
//! all the dx of a block, with the one of the jump to the next centre, share one inversion (Montgomery's trick). The y
//! coordinate is never computed: both prefixes of each x are candidates.

use k256::{ProjectivePoint, Scalar};

use super::{
    Find, Goal, Walk,
    lanes::{Coordinates, FieldLanes, GROUP, Hasher},
    table::{self, Affine},
};
use crate::{
    AddressKind, Hash160, Image, PublicKey,
    field::{BETA, Element},
    verify,
};

/// A back end: how it does field elements and hashes.
pub(crate) trait Arithmetic {
    type Field: FieldLanes;
    type Hasher: Hasher;
    /// Pairs per lane and block.
    const HALF: usize;

    const BLOCK_POINTS: u32 = (2 * Self::HALF * Self::Field::LANES) as u32;
}

pub(crate) struct Walker<'goal, A: Arithmetic> {
    goal: &'goal Goal,
    origin: ProjectivePoint,
    /// The block starts at `origin + next·G`.
    next: Scalar,
    /// `None` when a centre is at infinity, or has to be found afresh.
    centres: Option<Centres<A::Field>>,
    jump: Affine,
    products: Vec<A::Field>,
    pending: Pending,
}

#[derive(Clone, Copy)]
struct Centres<F> {
    x: F,
    y: F,
}

impl<'goal, A: Arithmetic> Walker<'goal, A> {
    pub(crate) fn new(goal: &'goal Goal, origin: ProjectivePoint, first: Scalar) -> Self {
        let mut walker = Self {
            goal,
            origin,
            next: first,
            centres: None,
            jump: table::jump(A::BLOCK_POINTS),
            products: Vec::with_capacity(A::HALF + 1),
            pending: Pending::new(),
        };
        walker.find_centres();
        walker
    }

    fn find_centres(&mut self) {
        let spacing = ProjectivePoint::GENERATOR * Scalar::from(2 * A::HALF as u64);
        let first = self.origin + ProjectivePoint::GENERATOR * (self.next + Scalar::from(A::HALF as u64));
        let points = std::iter::successors(Some(first), |point| Some(point + &spacing));
        let centres: Option<Vec<Affine>> = points.take(A::Field::LANES).map(|point| Affine::of(&point)).collect();
        self.centres = centres.map(|centres| {
            let x: Vec<Element> = centres.iter().map(|centre| centre.x).collect();
            let y: Vec<Element> = centres.iter().map(|centre| centre.y).collect();
            Centres { x: A::Field::load(&x), y: A::Field::load(&y) }
        });
    }

    /// Checks the block around the centres and returns the next ones; `None` if two points to add share their x.
    #[inline(always)]
    fn check_block(&mut self, centres: Centres<A::Field>, finds: &mut Vec<Find>) -> Option<Centres<A::Field>> {
        let multiples = &table::multiples()[..A::HALF];
        let Centres { x: cx, y: cy } = centres;
        let jump_dx = A::Field::splat(&self.jump.x).difference(&cx);

        self.products.clear();
        let mut product = jump_dx.multiply(&A::Field::splat(&Element::ONE));
        self.products.push(product);
        for multiple in multiples {
            product = product.multiply(&A::Field::splat(&multiple.x).difference(&cx));
            self.products.push(product);
        }
        if product.is_any_zero() {
            return None;
        }

        let half = A::HALF as i32;
        let mut inverse = product.invert();
        self.push(cx.canonical(), 0, finds);
        for i in (1..=A::HALF).rev() {
            let multiple = &multiples[i - 1];
            let gx = A::Field::splat(&multiple.x);
            let gy = A::Field::splat(&multiple.y);
            let inverse_dx = inverse.multiply(&self.products[i - 1]);
            inverse = inverse.multiply(&gx.difference(&cx));

            // The slope to −i·G is (−gy − cy)/dx; only its square matters.
            let slope = gy.sum(&cy).multiply(&inverse_dx);
            let x = slope.square().canonical_difference(&cx, &gx);
            self.push(x, -(i as i32), finds);
            if (i as i32) < half {
                let slope = gy.difference(&cy).multiply(&inverse_dx);
                let x = slope.square().canonical_difference(&cx, &gx);
                self.push(x, i as i32, finds);
            }
        }
        self.flush(finds);

        let jump_x = A::Field::splat(&self.jump.x);
        let slope = A::Field::splat(&self.jump.y).difference(&cy).multiply(&inverse);
        let x = slope.square().canonical_difference(&cx, &jump_x);
        let y = slope.multiply(&cx.difference(&x)).canonical_difference(&cy, &A::Field::splat(&Element::default()));
        Some(Centres { x, y })
    }

    /// Queues the points at `step` from each lane's centre.
    #[inline(always)]
    fn push(&mut self, x: A::Field, step: i32, finds: &mut Vec<Find>) {
        let turned = x.multiply(&A::Field::splat(&BETA)).canonical();
        let zero = A::Field::splat(&Element::default());
        let twice_turned = zero.canonical_difference(&x, &turned);

        let (group, column) = (self.pending.points / GROUP, self.pending.points % GROUP);
        let images = &mut self.pending.groups[group];
        x.store_words(&mut images[0], column);
        turned.store_words(&mut images[1], column);
        twice_turned.store_words(&mut images[2], column);
        let first = (A::HALF as i32 + step) as u32;
        for lane in 0..A::Field::LANES {
            self.pending.positions[group][column + lane] = first + (lane * 2 * A::HALF) as u32;
        }
        self.pending.points += A::Field::LANES;
        if self.pending.points == GROUPS * GROUP {
            self.flush(finds);
        }
    }

    #[inline(always)]
    fn flush(&mut self, finds: &mut Vec<Find>) {
        for group in 0..self.pending.points.div_ceil(GROUP) {
            for endomorphism in 0..3 {
                for odd in [false, true] {
                    let coordinates = &self.pending.groups[group][usize::from(endomorphism)];
                    let accepted = match self.goal.kind {
                        AddressKind::P2shP2wpkh => A::Hasher::wrapped_key_hashes(coordinates, odd, &self.goal.filter),
                        _ => A::Hasher::key_hashes(coordinates, odd, &self.goal.filter),
                    };
                    if accepted != 0 {
                        self.confirm(group, Image::of(endomorphism, odd), accepted, finds);
                    }
                }
            }
        }
        self.pending.points = 0;
    }

    /// The exact check of the few candidates that the vector compare lets through.
    #[cold]
    fn confirm(&self, group: usize, image: Image, accepted: u32, finds: &mut Vec<Find>) {
        let in_use = (self.pending.points - group * GROUP).min(GROUP);
        for column in (0..in_use).filter(|column| accepted >> column & 1 == 1) {
            let mut key = [2 + u8::from(image.is_odd()); 33];
            let coordinates = &self.pending.groups[group][usize::from(image.endomorphism())];
            key[1..].copy_from_slice(&coordinates.element_bytes(column));
            let hash = match self.goal.kind {
                AddressKind::P2shP2wpkh => Hash160::of(&key).wrapped_p2wpkh(),
                _ => Hash160::of(&key),
            };
            if self.goal.ranges.contains(hash) {
                finds.push(Find { position: self.pending.positions[group][column], image, hash });
            }
        }
    }

    /// One point at a time with complete formulas: for the block in which some addition is exceptional, because a
    /// centre is ±i·G, the jump point, or infinity.
    #[cold]
    fn check_block_slowly(&self, finds: &mut Vec<Find>) {
        let mut point = self.origin + ProjectivePoint::GENERATOR * self.next;
        for position in 0..A::BLOCK_POINTS {
            if let Some(finite) = PublicKey::from_point(point.to_affine()) {
                for image in (0..6).filter_map(Image::new) {
                    let hash = verify::hash_of_image(&finite, image, self.goal.kind);
                    if self.goal.ranges.contains(hash) {
                        finds.push(Find { position, image, hash });
                    }
                }
            }
            point += ProjectivePoint::GENERATOR;
        }
    }
}

impl<A: Arithmetic> Walk for Walker<'_, A> {
    fn block_points(&self) -> u32 {
        A::BLOCK_POINTS
    }

    fn next_block(&mut self, finds: &mut Vec<Find>) {
        let next_centres = match self.centres {
            Some(centres) if self.goal.kind != AddressKind::Ethereum => self.check_block(centres, finds),
            _ => None,
        };
        if next_centres.is_none() {
            self.check_block_slowly(finds);
        }
        self.next += Scalar::from(A::BLOCK_POINTS);
        self.centres = next_centres;
        if self.centres.is_none() {
            self.find_centres();
        }
    }
}

/// Groups between the curve and the hashes: enough that a group's stores have left the processor's store queue before
/// wider loads read them, few enough for the first-level cache.
const GROUPS: usize = 8;

/// Points whose x is known and whose hashes are not.
struct Pending {
    groups: Box<[[Coordinates; 3]; GROUPS]>,
    positions: [[u32; GROUP]; GROUPS],
    points: usize,
}

impl Pending {
    fn new() -> Self {
        Self { groups: Box::new([[Coordinates::ZERO; 3]; GROUPS]), positions: [[0; GROUP]; GROUPS], points: 0 }
    }
}
