//! What a back end has to give, and how one made of vector code is put together.

use super::{
    Find,
    filter::WordFilter,
    lanes::{Accepted, Coordinates, FieldLanes},
    walk::{Centres, Pending, Walker},
};

/// Field elements, hashes, and the walk compiled for them. Each function has the processor features of the back end.
pub(crate) trait BackEnd: Sized {
    type Field: FieldLanes;
    /// Pairs per lane and block.
    const HALF: usize;
    const BLOCK_POINTS: u32 = (2 * Self::HALF * Self::Field::LANES) as u32;

    /// [`Walker::check_block_inline`].
    fn check_block(
        walker: &mut Walker<'_, Self>,
        centres: &Centres<Self::Field>,
        finds: &mut Vec<Find>,
    ) -> Option<Centres<Self::Field>>;

    /// [`Pending::spread_inline`].
    fn spread(pending: &mut Pending<Self::Field>);

    /// Hashes of compressed keys, with both prefixes.
    fn key_hashes(x: &Coordinates, filter: &WordFilter) -> Accepted;

    /// The script hashes that wrap these, with one prefix.
    fn wrapped_key_hashes(x: &Coordinates, odd: bool, filter: &WordFilter) -> u32;

    /// Ethereum addresses.
    fn ethereum_hashes(x: &Coordinates, y: &Coordinates, filter: &WordFilter) -> u32;
}

/// A back end whose functions need processor features: [`super::Backend::is_available`] looks for each of them, and
/// only it leads here.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_back_end {
    (
        $name:ident, $features:literal, field $field:ty, half $half:literal, words $words:ty, doubles $doubles:ty,
        key_hashes $key_hashes:path
    ) => {
        impl BackEnd for $name {
            type Field = $field;
            const HALF: usize = $half;

            fn check_block(
                walker: &mut Walker<'_, Self>,
                centres: &Centres<$field>,
                finds: &mut Vec<Find>,
            ) -> Option<Centres<$field>> {
                #[target_feature(enable = $features)]
                fn check_block(
                    walker: &mut Walker<'_, $name>,
                    centres: &Centres<$field>,
                    finds: &mut Vec<Find>,
                ) -> Option<Centres<$field>> {
                    walker.check_block_inline(centres, finds)
                }
                // SAFETY: walks of this back end are only started where its features are, see `vector_back_end`.
                unsafe { check_block(walker, centres, finds) }
            }

            fn spread(pending: &mut Pending<$field>) {
                #[target_feature(enable = $features)]
                fn spread(pending: &mut Pending<$field>) {
                    pending.spread_inline();
                }
                // SAFETY: as in `check_block`.
                unsafe { spread(pending) }
            }

            fn key_hashes(x: &Coordinates, filter: &WordFilter) -> Accepted {
                #[target_feature(enable = $features)]
                fn key_hashes(x: &Coordinates, filter: &WordFilter) -> Accepted {
                    $key_hashes(x, filter)
                }
                // SAFETY: as in `check_block`.
                unsafe { key_hashes(x, filter) }
            }

            fn wrapped_key_hashes(x: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
                #[target_feature(enable = $features)]
                fn wrapped_key_hashes(x: &Coordinates, odd: bool, filter: &WordFilter) -> u32 {
                    hash::wrapped_key_hashes::<$words>(x, odd, filter)
                }
                // SAFETY: as in `check_block`.
                unsafe { wrapped_key_hashes(x, odd, filter) }
            }

            fn ethereum_hashes(x: &Coordinates, y: &Coordinates, filter: &WordFilter) -> u32 {
                #[target_feature(enable = $features)]
                fn ethereum_hashes(x: &Coordinates, y: &Coordinates, filter: &WordFilter) -> u32 {
                    keccak::address_words::<$doubles>(x, y, filter)
                }
                // SAFETY: as in `check_block`.
                unsafe { ethereum_hashes(x, y, filter) }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use vector_back_end;
