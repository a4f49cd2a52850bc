//! The walk: blocks of consecutive points around centres, one field inversion for a whole block.
//!
//! Each lane has a centre C and checks C − HALF·G … C + (HALF − 1)·G. The points C ± i·G share dx = x(i·G) − x(C), and
//! all the dx of a block, with the one of the jump to the next centre, share one inversion (Montgomery's trick). For
//! Bitcoin the y coordinate is never computed: both prefixes of each x are candidates.

use k256::{ProjectivePoint, Scalar};

use super::{
    Find, Goal, Walk,
    back_end::BackEnd,
    lanes::{Coordinates, FieldLanes, GROUP, Group, Heights},
    table::{self, Affine},
};
use crate::{
    AddressKind, Hash160, Image,
    field::{BETA, Element},
};

pub(crate) struct Walker<'goal, B: BackEnd> {
    goal: &'goal Goal,
    origin: ProjectivePoint,
    /// The block starts at `origin + next·G`.
    next: Scalar,
    /// `None` when a centre is at infinity, or has to be found afresh.
    centres: Option<Centres<B::Field>>,
    jump: Affine,
    products: Vec<B::Field>,
    pending: Pending<B::Field>,
}

#[derive(Clone, Copy)]
pub(crate) struct Centres<F> {
    x: F,
    y: F,
}

impl<'goal, B: BackEnd> Walker<'goal, B> {
    pub(crate) fn new(goal: &'goal Goal, origin: ProjectivePoint, first: Scalar) -> Self {
        let mut walker = Self {
            goal,
            origin,
            next: first,
            centres: None,
            jump: table::jump(B::BLOCK_POINTS),
            products: Vec::with_capacity(B::HALF + 1),
            pending: Pending::new(goal.kind == AddressKind::Ethereum),
        };
        walker.find_centres();
        walker
    }

    fn find_centres(&mut self) {
        let spacing = ProjectivePoint::GENERATOR * Scalar::from(2 * B::HALF as u64);
        let first = self.origin + ProjectivePoint::GENERATOR * (self.next + Scalar::from(B::HALF as u64));
        let points = std::iter::successors(Some(first), |point| Some(point + &spacing));
        let centres: Option<Vec<Affine>> = points.take(B::Field::LANES).map(|point| Affine::of(&point)).collect();
        self.centres = centres.map(|centres| {
            let x: Vec<Element> = centres.iter().map(|centre| centre.x).collect();
            let y: Vec<Element> = centres.iter().map(|centre| centre.y).collect();
            Centres { x: B::Field::load(&x), y: B::Field::load(&y) }
        });
    }

    /// Checks the block around the centres and returns the next ones; `None` if two points to add share their x.
    #[inline(always)]
    pub(crate) fn check_block_inline(
        &mut self,
        centres: &Centres<B::Field>,
        finds: &mut Vec<Find>,
    ) -> Option<Centres<B::Field>> {
        let multiples = &table::multiples()[..B::HALF];
        let Centres { x: cx, y: cy } = *centres;
        let zero = B::Field::splat(&Element::default());
        let with_heights = self.goal.kind == AddressKind::Ethereum;

        self.products.clear();
        let mut product = B::Field::splat(&self.jump.x).difference(&cx);
        self.products.push(product);
        for multiple in multiples {
            product = product.multiply(&B::Field::splat(&multiple.x).difference(&cx));
            self.products.push(product);
        }
        if product.is_any_zero() {
            return None;
        }

        let mut inverse = product.invert();
        self.pending.push(cx, cy, 0);
        for i in (1..=B::HALF).rev() {
            let multiple = &multiples[i - 1];
            let gx = B::Field::splat(&multiple.x);
            let gy = B::Field::splat(&multiple.y);
            let inverse_dx = inverse.multiply(&self.products[i - 1]);
            inverse = inverse.multiply(&gx.difference(&cx));

            // The slope to −i·G is (−gy − cy)/dx; its sign is turned here and in y.
            let slope = gy.sum(&cy).multiply(&inverse_dx);
            let x = slope.square().canonical_difference(&cx, &gx);
            let mut y = zero;
            if with_heights {
                y = slope.multiply(&x.difference(&cx)).canonical_difference(&cy, &zero);
            }
            self.pending.push(x, y, -(i as i32));

            let slope = gy.difference(&cy).multiply(&inverse_dx);
            let x = slope.square().canonical_difference(&cx, &gx);
            if with_heights {
                y = slope.multiply(&cx.difference(&x)).canonical_difference(&cy, &zero);
            }
            // C + HALF·G belongs to the next lane, but groups are made of pairs.
            self.pending.push(x, y, i as i32);
            if self.pending.is_full() {
                self.flush(finds);
            }
        }
        self.flush(finds);

        let jump_x = B::Field::splat(&self.jump.x);
        let slope = B::Field::splat(&self.jump.y).difference(&cy).multiply(&inverse);
        let x = slope.square().canonical_difference(&cx, &jump_x);
        let y = slope.multiply(&cx.difference(&x)).canonical_difference(&cy, &zero);
        Some(Centres { x, y })
    }

    fn flush(&mut self, finds: &mut Vec<Find>) {
        B::spread(&mut self.pending);
        let count = (self.pending.points.len() * B::Field::LANES).div_ceil(GROUP);
        let (groups, filter) = (&self.pending.groups[..count], &self.goal.filter);
        let mut accepted = [[[0; 2]; 3]; GROUPS];
        let results = &mut accepted[..count];
        match self.goal.kind {
            AddressKind::P2pkh | AddressKind::P2wpkh => {
                for (x, accepted) in groups.as_flattened().iter().zip(results.as_flattened_mut()) {
                    *accepted = B::key_hashes(x, filter);
                }
            }
            AddressKind::P2shP2wpkh => {
                for (x, accepted) in groups.as_flattened().iter().zip(results.as_flattened_mut()) {
                    *accepted = [false, true].map(|odd| B::wrapped_key_hashes(x, odd, filter));
                }
            }
            AddressKind::Ethereum => {
                for ((group, heights), accepted) in groups.iter().zip(&self.pending.heights).zip(results) {
                    for (x, accepted) in group.iter().zip(accepted) {
                        *accepted = [&heights[0], &heights[1]].map(|y| B::ethereum_hashes(x, y, filter));
                    }
                }
            }
        }
        for (group, accepted) in accepted[..count].iter().enumerate() {
            for (image, &columns) in (0..6).filter_map(Image::new).zip(accepted.as_flattened()) {
                if columns != 0 {
                    self.confirm(group, image, columns, finds);
                }
            }
        }
        self.pending.points.clear();
        self.pending.steps.clear();
    }

    /// The exact check of the few candidates that the vector compare lets through.
    #[cold]
    fn confirm(&self, group: usize, image: Image, accepted: u32, finds: &mut Vec<Find>) {
        for column in (0..GROUP).filter(|column| accepted >> column & 1 == 1) {
            let point = group * GROUP + column;
            let Some(&step) = self.pending.steps.get(point / B::Field::LANES) else { break };
            if step == B::HALF as i32 {
                continue;
            }
            let lane = point % B::Field::LANES;
            let (image, hash) = self.exact(group, image, column);
            if self.goal.ranges.contains(hash) {
                let position = ((2 * lane + 1) * B::HALF) as i32 + step;
                finds.push(Find { position: position.cast_unsigned(), image, hash });
            }
        }
    }

    fn exact(&self, group: usize, image: Image, column: usize) -> (Image, Hash160) {
        let x = self.pending.groups[group][usize::from(image.endomorphism())].element_bytes(column);
        if self.goal.kind == AddressKind::Ethereum {
            // The vector code knows y and −y, but not which of them is odd.
            let y = self.pending.heights[group][usize::from(image.is_odd())].element_bytes(column);
            let image = Image::of(image.endomorphism(), y[31] % 2 == 1);
            return (image, self.goal.kind.hash_of_point(&x, &y));
        }
        // Only the parity of y matters for a compressed key.
        let mut y = [0; 32];
        y[31] = u8::from(image.is_odd());
        (image, self.goal.kind.hash_of_point(&x, &y))
    }

    /// One point at a time with complete formulas: for the block in which some addition is exceptional, because a
    /// centre is ±i·G, the jump point, or infinity.
    #[cold]
    fn check_block_slowly(&self, finds: &mut Vec<Find>) {
        let mut point = self.origin + ProjectivePoint::GENERATOR * self.next;
        for position in 0..B::BLOCK_POINTS {
            if let Some(finite) = Affine::of(&point) {
                for image in (0..6).filter_map(Image::new) {
                    let hash = finite.image_hash(image, self.goal.kind);
                    if self.goal.ranges.contains(hash) {
                        finds.push(Find { position, image, hash });
                    }
                }
            }
            point += ProjectivePoint::GENERATOR;
        }
    }
}

impl<B: BackEnd> Walk for Walker<'_, B> {
    fn block_points(&self) -> u32 {
        B::BLOCK_POINTS
    }

    fn next_block(&mut self, finds: &mut Vec<Find>) {
        let next_centres = match self.centres {
            Some(centres) => B::check_block(self, &centres, finds),
            None => None,
        };
        if next_centres.is_none() {
            self.check_block_slowly(finds);
        }
        self.next += Scalar::from(B::BLOCK_POINTS);
        self.centres = next_centres;
        if self.centres.is_none() {
            self.find_centres();
        }
    }
}

/// Groups between the curve and the hashes: enough that a group's stores have left the processor's store queue before
/// wider loads read them; few enough for the second-level cache.
const GROUPS: usize = 32;

/// Points whose coordinates are known and whose hashes are not.
pub(crate) struct Pending<F> {
    /// x and y of each lane's point; y only for Ethereum.
    points: Vec<(F, F)>,
    /// How far each of these vectors is from its lane's centre.
    steps: Vec<i32>,
    groups: Box<[Group; GROUPS]>,
    /// Empty but for Ethereum.
    heights: Vec<Heights>,
}

impl<F: FieldLanes> Pending<F> {
    fn new(with_heights: bool) -> Self {
        let vectors = GROUPS * GROUP / F::LANES;
        Self {
            points: Vec::with_capacity(vectors),
            steps: Vec::with_capacity(vectors),
            groups: Box::new([[Coordinates::ZERO; 3]; GROUPS]),
            heights: if with_heights { vec![[Coordinates::ZERO; 2]; GROUPS] } else { Vec::new() },
        }
    }

    #[inline(always)]
    fn push(&mut self, x: F, y: F, step: i32) {
        self.points.push((x, y));
        self.steps.push(step);
    }

    /// No room for another pair.
    #[inline(always)]
    fn is_full(&self) -> bool {
        (self.points.len() + 2) * F::LANES > GROUPS * GROUP
    }

    /// Turns each point by β and β², and writes all as words by column.
    #[inline(always)]
    pub(crate) fn spread_inline(&mut self) {
        let zero = F::splat(&Element::default());
        let beta = F::splat(&BETA);
        for (number, (x, y)) in self.points.iter().enumerate() {
            let (group, column) = (number * F::LANES / GROUP, number * F::LANES % GROUP);
            let turned = x.multiply(&beta).canonical();
            let images = &mut self.groups[group];
            x.store_words(&mut images[0], column);
            turned.store_words(&mut images[1], column);
            zero.canonical_difference(x, &turned).store_words(&mut images[2], column);
            if let Some([positive, negative]) = self.heights.get_mut(group) {
                y.store_words(positive, column);
                zero.canonical_difference(y, &zero).store_words(negative, column);
            }
        }
    }
}
