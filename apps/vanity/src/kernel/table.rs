//! Multiples of G that every walk adds: made once, shared by all threads.

use std::sync::OnceLock;

use k256::{
    AffinePoint, ProjectivePoint, Scalar,
    elliptic_curve::{BatchNormalize, sec1::ToEncodedPoint},
};

use crate::{
    AddressKind, Hash160, Image,
    field::{BETA, Element},
};

/// Pairs ±i per block and lane that a back end may ask for.
pub(crate) const HALF_MAX: usize = 512;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) x: Element,
    pub(crate) y: Element,
}

impl Affine {
    /// `None` at infinity.
    pub(crate) fn of(point: &ProjectivePoint) -> Option<Self> {
        Self::of_affine(&point.to_affine())
    }

    fn of_affine(point: &AffinePoint) -> Option<Self> {
        let encoded = point.to_encoded_point(false);
        let coordinate = |bytes: Option<&k256::FieldBytes>| Some(Element::from_bytes(&(*bytes?).into()));
        Some(Self { x: coordinate(encoded.x())?, y: coordinate(encoded.y())? })
    }
}

impl Affine {
    /// The hash of one of the six images of this point.
    pub(crate) fn image_hash(&self, image: Image, kind: AddressKind) -> Hash160 {
        let turned = (0..image.endomorphism()).fold(self.x, |x, _| x.multiply(&BETA).canonical());
        let is_odd = self.y.0[0] & 1 == 1;
        let y = if is_odd == image.is_odd() { self.y } else { Element::default().difference(&self.y).canonical() };
        kind.hash_of_point(&turned.bytes(), &y.bytes())
    }
}

/// G, 2·G, … HALF_MAX·G.
pub(crate) fn multiples() -> &'static [Affine] {
    static TABLE: OnceLock<Vec<Affine>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let multiples =
            std::iter::successors(Some(ProjectivePoint::GENERATOR), |point| Some(*point + ProjectivePoint::GENERATOR));
        let multiples: Vec<ProjectivePoint> = multiples.take(HALF_MAX).collect();
        let affine: Vec<AffinePoint> =
            <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(multiples.as_slice());
        affine.iter().map(|point| Affine::of_affine(point).expect("small multiples of G are finite")).collect()
    })
}

/// How far a walk with so many points per block jumps.
pub(crate) fn jump(points: u32) -> Affine {
    Affine::of(&(ProjectivePoint::GENERATOR * Scalar::from(points))).expect("small multiples of G are finite")
}
