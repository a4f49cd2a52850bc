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
    products: Box<[B::Field]>,
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
            products: vec![B::Field::splat(&Element::default()); B::HALF + 2].into(),
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
        match self.goal.kind {
            AddressKind::Ethereum => self.check_block_with::<true>(centres, finds),
            AddressKind::P2pkh | AddressKind::P2wpkh | AddressKind::P2shP2wpkh => {
                self.check_block_with::<false>(centres, finds)
            }
        }
    }

    #[inline(always)]
    fn check_block_with<const HEIGHTS: bool>(
        &mut self,
        centres: &Centres<B::Field>,
        finds: &mut Vec<Find>,
    ) -> Option<Centres<B::Field>> {
        let multiples = &table::multiples()[..B::HALF];
        let Centres { x: cx, y: cy } = *centres;
        // Two chains of products in turn, since each product waits for the one before: 1 with dx of odd i, and dx of the
        // jump with those of even i.
        let mut odd = B::Field::splat(&Element::ONE);
        let mut even = B::Field::splat(&self.jump.x).difference(&cx);
        (self.products[0], self.products[1]) = (odd, even);
        for (pair, products) in multiples.chunks_exact(2).zip(self.products[2..].chunks_exact_mut(2)) {
            odd = odd.multiply(&B::Field::splat(&pair[0].x).difference(&cx));
            even = even.multiply(&B::Field::splat(&pair[1].x).difference(&cx));
            (products[0], products[1]) = (odd, even);
        }
        let product = odd.canonical_product(&even).exactly();
        if product.is_any_zero() {
            return None;
        }

        let inverse = product.invert();
        let (mut odd_inverse, mut even_inverse) = (inverse.multiply(&even), inverse.multiply(&odd));
        macro_rules! push {
            ($x:expr, $step:expr, y: $slope:ident * ($from:ident - $to:ident) - cy) => {
                self.pending.push($x, $step);
                if HEIGHTS {
                    let y = $slope.canonical_product_less(&$from.difference(&$to), &cy);
                    self.pending.set_height(y);
                }
            };
        }
        self.pending.push(cx, 0);
        if HEIGHTS {
            self.pending.set_height(cy);
        }
        for step in (1..B::HALF as i32).step_by(2).rev() {
            let [odd, even] = [step as usize, step as usize + 1];
            let [odd_g, even_g] = [&multiples[odd - 1], &multiples[even - 1]];
            let (odd_gx, even_gx) = (B::Field::splat(&odd_g.x), B::Field::splat(&even_g.x));
            let (odd_gy, even_gy) = (B::Field::splat(&odd_g.y), B::Field::splat(&even_g.y));
            let odd_inverse_dx = odd_inverse.multiply(&self.products[odd - 1]);
            let even_inverse_dx = even_inverse.multiply(&self.products[even - 1]);
            odd_inverse = odd_inverse.multiply(&odd_gx.difference(&cx));
            even_inverse = even_inverse.multiply(&even_gx.difference(&cx));

            // The slope to −i·G is (−gy − cy)/dx; its sign is turned here and in y.
            let odd_down = odd_gy.sum(&cy).multiply(&odd_inverse_dx);
            let even_down = even_gy.sum(&cy).multiply(&even_inverse_dx);
            let odd_up = odd_gy.difference(&cy).multiply(&odd_inverse_dx);
            let even_up = even_gy.difference(&cy).multiply(&even_inverse_dx);
            let odd_below = odd_down.canonical_square_less(&cx, &odd_gx);
            let even_below = even_down.canonical_square_less(&cx, &even_gx);
            let odd_above = odd_up.canonical_square_less(&cx, &odd_gx);
            let even_above = even_up.canonical_square_less(&cx, &even_gx);
            push!(even_below, -step - 1, y: even_down * (even_below - cx) - cy);
            // C + HALF·G belongs to the next lane, but groups are made of pairs.
            push!(even_above, step + 1, y: even_up * (cx - even_above) - cy);
            push!(odd_below, -step, y: odd_down * (odd_below - cx) - cy);
            push!(odd_above, step, y: odd_up * (cx - odd_above) - cy);
            if self.pending.is_full() {
                self.flush(finds);
            }
        }
        let inverse = even_inverse;
        self.flush(finds);

        let jump_x = B::Field::splat(&self.jump.x);
        let slope = B::Field::splat(&self.jump.y).difference(&cy).multiply(&inverse);
        let x = slope.canonical_square_less(&cx, &jump_x).exactly();
        let y = slope.canonical_product_less(&cx.difference(&x), &cy).exactly();
        Some(Centres { x, y })
    }

    fn flush(&mut self, finds: &mut Vec<Find>) {
        B::spread(&mut self.pending);
        let count = (self.pending.count * B::Field::LANES).div_ceil(GROUP);
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
        self.pending.count = 0;
    }

    /// The exact check of the few candidates that the vector compare lets through.
    #[cold]
    fn confirm(&self, group: usize, image: Image, accepted: u32, finds: &mut Vec<Find>) {
        for column in (0..GROUP).filter(|column| accepted >> column & 1 == 1) {
            let point = group * GROUP + column;
            let Some(&step) = self.pending.steps[..self.pending.count].get(point / B::Field::LANES) else { break };
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
    /// How many of the following are set.
    count: usize,
    /// x of each lane's point.
    xs: Box<[F]>,
    /// y, only for Ethereum.
    ys: Box<[F]>,
    /// How far each of these vectors is from its lane's centre.
    steps: Box<[i32]>,
    groups: Box<[Group; GROUPS]>,
    /// Empty but for Ethereum.
    heights: Vec<Heights>,
}

impl<F: FieldLanes> Pending<F> {
    fn new(with_heights: bool) -> Self {
        let vectors = GROUPS * GROUP / F::LANES;
        let zero = F::splat(&Element::default());
        Self {
            count: 0,
            xs: vec![zero; vectors].into(),
            ys: vec![zero; if with_heights { vectors } else { 0 }].into(),
            steps: vec![0; vectors].into(),
            groups: Box::new([[Coordinates::ZERO; 3]; GROUPS]),
            heights: if with_heights { vec![[Coordinates::ZERO; 2]; GROUPS] } else { Vec::new() },
        }
    }

    #[inline(always)]
    fn push(&mut self, x: F, step: i32) {
        self.xs[self.count] = x;
        self.steps[self.count] = step;
        self.count += 1;
    }

    /// Of the point pushed last.
    #[inline(always)]
    fn set_height(&mut self, y: F) {
        self.ys[self.count - 1] = y;
    }

    /// No room for the points of another step.
    #[inline(always)]
    fn is_full(&self) -> bool {
        (self.count + 4) * F::LANES > GROUPS * GROUP
    }

    /// Turns each point by β and β², and writes all as words by column.
    #[inline(always)]
    pub(crate) fn spread_inline(&mut self) {
        let zero = F::splat(&Element::default());
        let beta = F::splat(&BETA);
        let mut doubt = F::no_doubt();
        // Two vectors at a time, as each waits for its own results. A single last one is taken for both.
        for (pair, xs) in self.xs[..self.count].chunks(2).enumerate() {
            let (group, column) = (2 * pair * F::LANES / GROUP, 2 * pair * F::LANES % GROUP);
            let (a, b) = (&xs[0], &xs[xs.len() - 1]);
            let (turned_a, turned_b) = (a.canonical_product(&beta), b.canonical_product(&beta));
            let third_a = zero.canonical_difference(a, &turned_a);
            let third_b = zero.canonical_difference(b, &turned_b);
            let [image, turned, third] = &mut self.groups[group];
            F::store_words([a, b], image, column);
            F::store_words([&turned_a, &turned_b], turned, column);
            F::store_words([&third_a, &third_b], third, column);
            doubt = F::and_doubt(doubt, a, b);
            doubt = F::and_doubt(doubt, &turned_a, &turned_b);
            doubt = F::and_doubt(doubt, &third_a, &third_b);
            if let Some([positive, negative]) = self.heights.get_mut(group) {
                let ys = &self.ys[2 * pair..2 * pair + xs.len()];
                let (a, b) = (&ys[0], &ys[ys.len() - 1]);
                let negatives = (zero.canonical_difference(a, &zero), zero.canonical_difference(b, &zero));
                F::store_words([a, b], positive, column);
                F::store_words([&negatives.0, &negatives.1], negative, column);
                doubt = F::and_doubt(doubt, a, b);
                doubt = F::and_doubt(doubt, &negatives.0, &negatives.1);
            }
        }
        if F::is_in_doubt(doubt) {
            self.spread_exactly();
        }
    }

    /// The same one by one, where some coordinate may not be canonical after all.
    #[cold]
    fn spread_exactly(&mut self) {
        let negative = |element: &Element| Element::default().difference(element).canonical();
        for (number, x) in self.xs[..self.count].iter().enumerate() {
            for lane in 0..F::LANES {
                let point = number * F::LANES + lane;
                let (group, column) = (point / GROUP, point % GROUP);
                let x = x.lane(lane).canonical();
                let turned = x.multiply(&BETA).canonical();
                for (image, x) in self.groups[group].iter_mut().zip([x, turned, negative(&x.sum(&turned).canonical())])
                {
                    image.set(column, &x);
                }
                if let Some([positive_y, negative_y]) = self.heights.get_mut(group) {
                    let y = self.ys[number].lane(lane).canonical();
                    positive_y.set(column, &y);
                    negative_y.set(column, &negative(&y));
                }
            }
        }
    }
}
