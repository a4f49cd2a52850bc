//! The orders that are published here, and how they are found: pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use gristmill_proto::id::UnixMillis;
use serde::{Deserialize, Deserializer};

use super::order::{Kind, Order};

/// Of all kinds together: a list of it looks at each.
pub(super) const ORDERS_MAX: usize = 10_000;
/// Of one kind and one signer, as at iExec's market.
pub(super) const ORDERS_PER_SIGNER_MAX: usize = 50;
const PAGE_SIZE: usize = 20;
const PAGE_SIZE_MAX: usize = 100;
/// An order of a dataset for any number of tasks, as the SDK writes it.
const ENDLESS_VOLUME: u64 = (1 << 53) - 1;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Published {
    pub(super) order: Order,
    pub(super) signer: Address,
    pub(super) remaining: U256,
    pub(super) at: UnixMillis,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    orders: BTreeMap<B256, Published>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BookError {
    #[error("this order is published already")]
    Known,
    #[error("{ORDERS_PER_SIGNER_MAX} orders of this kind are published by {0}: unpublish some first")]
    SignerFull(Address),
    #[error("the order book is full ({ORDERS_MAX} orders): try again later")]
    Full,
}

/// Whose orders are looked for: those open to everybody and those for one account, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    One(Address),
    Any,
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "any" {
            return Ok(Self::Any);
        }
        text.parse().map(Self::One).map_err(serde::de::Error::custom)
    }
}

/// What the SDK asks for in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Query {
    pub(super) app: Option<Who>,
    pub(super) dataset: Option<Who>,
    pub(super) workerpool: Option<Who>,
    pub(super) requester: Option<Who>,
    pub(super) beneficiary: Option<Who>,
    pub(super) app_owner: Option<Who>,
    pub(super) dataset_owner: Option<Who>,
    pub(super) workerpool_owner: Option<Who>,
    pub(super) is_app_strict: bool,
    pub(super) is_dataset_strict: bool,
    pub(super) is_workerpool_strict: bool,
    pub(super) is_requester_strict: bool,
    pub(super) bulk_only: bool,
    pub(super) min_tag: Option<B256>,
    pub(super) max_tag: Option<B256>,
    pub(super) min_volume: Option<u64>,
    pub(super) min_trust: Option<u64>,
    pub(super) max_trust: Option<u64>,
    pub(super) category: Option<u64>,
    pub(super) page_index: usize,
    pub(super) page_size: Option<usize>,
}

pub(super) struct Page<'a> {
    pub(super) orders: Vec<&'a Published>,
    /// On all pages.
    pub(super) count: usize,
    pub(super) next: Option<usize>,
}

impl Book {
    pub(super) fn restore(orders: impl IntoIterator<Item = Published>) -> Self {
        Self { orders: orders.into_iter().map(|published| (published.order.hash, published)).collect() }
    }

    pub(super) fn get(&self, kind: Kind, hash: &B256) -> Option<&Published> {
        self.orders.get(hash).filter(|published| published.order.kind == kind)
    }

    pub(super) fn hashes(&self) -> Vec<B256> {
        self.orders.keys().copied().collect()
    }

    pub(super) fn order(&self, hash: &B256) -> Option<&Order> {
        self.orders.get(hash).map(|published| &published.order)
    }

    /// Whether one more of this kind and signer may come in.
    pub(super) fn admits(&self, hash: &B256, kind: Kind, signer: Address) -> Result<(), BookError> {
        if self.orders.contains_key(hash) {
            return Err(BookError::Known);
        }
        let of_signer = self.orders.values().filter(|known| known.order.kind == kind && known.signer == signer);
        if of_signer.count() >= ORDERS_PER_SIGNER_MAX {
            return Err(BookError::SignerFull(signer));
        }
        if self.orders.len() >= ORDERS_MAX { Err(BookError::Full) } else { Ok(()) }
    }

    pub(super) fn insert(&mut self, published: Published) {
        self.orders.insert(published.order.hash, published);
    }

    pub(super) fn remove(&mut self, hash: &B256) -> bool {
        self.orders.remove(hash).is_some()
    }

    pub(super) fn set_remaining(&mut self, hash: &B256, remaining: U256) {
        if let Some(published) = self.orders.get_mut(hash) {
            published.remaining = remaining;
        }
    }

    /// A signer's orders of one kind for one subject, the oldest first.
    pub(super) fn of(&self, kind: Kind, signer: Address, subject: Address) -> Vec<B256> {
        let wanted = |published: &&Published| {
            published.order.kind == kind && published.signer == signer && published.order.subject() == subject
        };
        let mut found: Vec<&Published> = self.orders.values().filter(wanted).collect();
        found.sort_by_key(|published| (published.at, published.order.hash));
        found.into_iter().map(|published| published.order.hash).collect()
    }

    /// The best first: cheap offers, and requests that pay well.
    pub(super) fn list(&self, kind: Kind, query: &Query) -> Page<'_> {
        let matches = |published: &&Published| published.order.kind == kind && query.admits(published);
        let mut found: Vec<&Published> = self.orders.values().filter(matches).collect();
        match kind {
            Kind::Request => found.sort_by_key(|one| (Reverse(one.order.terms.price), one.at)),
            _ => found.sort_by_key(|one| (one.order.terms.price, one.at)),
        }
        let size = query.page_size.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE_MAX);
        let count = found.len();
        let start = query.page_index.saturating_mul(size);
        let orders: Vec<&Published> = found.into_iter().skip(start).take(size).collect();
        let next = (start.saturating_add(size) < count).then(|| query.page_index + 1);
        Page { orders, count, next }
    }
}

impl Query {
    fn admits(&self, published: &Published) -> bool {
        let terms = &published.order.terms;
        let kind = published.order.kind;
        // What an order sells is named outright; beside it stand restrictions.
        let restriction = |wanted: Option<Who>, strict: bool, found: Address| match wanted {
            Some(Who::Any) => true,
            Some(Who::One(wanted)) if strict => found == wanted,
            Some(Who::One(wanted)) => found == wanted || found == Address::ZERO,
            None => found == Address::ZERO,
        };
        let named = |wanted: Option<Who>, found: Address| match wanted {
            Some(Who::One(wanted)) => found == wanted,
            Some(Who::Any) | None => true,
        };
        let app = || restriction(self.app, self.is_app_strict, terms.app);
        let dataset = || restriction(self.dataset, self.is_dataset_strict, terms.dataset);
        let workerpool = || restriction(self.workerpool, self.is_workerpool_strict, terms.workerpool);
        let requester = || restriction(self.requester, self.is_requester_strict, terms.requester);
        let parties = match kind {
            Kind::App => {
                let owner = named(self.app_owner, published.signer);
                named(self.app, terms.app) && owner && dataset() && workerpool() && requester()
            }
            Kind::Dataset => {
                let owner = named(self.dataset_owner, published.signer);
                let endless = !self.bulk_only || terms.volume >= U256::from(ENDLESS_VOLUME);
                named(self.dataset, terms.dataset) && owner && endless && app() && workerpool() && requester()
            }
            Kind::Workerpool => {
                let owner = named(self.workerpool_owner, published.signer);
                named(self.workerpool, terms.workerpool) && owner && app() && dataset() && requester()
            }
            Kind::Request => {
                let named = named(self.app, terms.app)
                    && named(self.dataset, terms.dataset)
                    && named(self.requester, terms.requester)
                    && named(self.beneficiary, terms.beneficiary);
                named && workerpool()
            }
        };
        let at_least = |wanted: Option<u64>, found: U256| wanted.is_none_or(|wanted| found >= U256::from(wanted));
        // Trust of 0 and of 1 are the same.
        let min_trust = self.min_trust.filter(|trust| *trust > 1);
        parties
            && self.min_tag.is_none_or(|tag| tag & !terms.tag == B256::ZERO)
            && self.max_tag.is_none_or(|tag| terms.tag & !tag == B256::ZERO)
            && at_least(self.min_volume, published.remaining)
            && at_least(min_trust, terms.trust)
            && self.max_trust.is_none_or(|trust| terms.trust <= U256::from(trust))
            && self.category.is_none_or(|category| kind < Kind::Workerpool || terms.category == U256::from(category))
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::domain;
    use super::super::order::tests::{app_order, hub};
    use super::*;

    const ALICE: Address = Address::repeat_byte(0xa1);
    const BOB: Address = Address::repeat_byte(0xb0);
    const APP: Address = Address::repeat_byte(0xaa);

    fn published(price: u64, at: u64, restriction: Option<(&str, Address)>, tag: u8) -> Published {
        let json = app_order(price, |order| {
            if let Some((field, account)) = restriction {
                order.insert(field.to_owned(), account.to_string().into());
            }
            order.insert("tag".into(), format!("{:#x}", B256::with_last_byte(tag)).into());
            order.insert("salt".into(), format!("{:#x}", B256::from(U256::from(at))).into());
        });
        let order = Order::parse(Kind::App, json, &domain(&hub())).unwrap();
        let remaining = order.terms.volume;
        Published { order, signer: ALICE, remaining, at: UnixMillis(at) }
    }

    fn prices(book: &Book, query: &Query) -> Vec<u64> {
        let query = Query { app: Some(Who::One(APP)), ..query.clone() };
        book.list(Kind::App, &query).orders.iter().map(|found| found.order.terms.price.to::<u64>()).collect()
    }

    #[test]
    fn the_cheapest_comes_first_and_the_older_of_equals() {
        let book = Book::restore([published(3, 1, None, 0), published(1, 3, None, 0), published(1, 2, None, 0)]);
        let query = Query { app: Some(Who::One(APP)), ..Query::default() };
        let found: Vec<u64> = book.list(Kind::App, &query).orders.iter().map(|found| found.at.0).collect();
        assert_eq!(found, [2, 3, 1]);
        assert_eq!(book.list(Kind::Workerpool, &Query::default()).count, 0);
        let other = Query { app: Some(Who::One(BOB)), ..Query::default() };
        assert_eq!(book.list(Kind::App, &other).count, 0);
    }

    #[test]
    fn restricted_orders_are_for_whom_they_name() {
        let pool = Some(("workerpoolrestrict", BOB));
        let book = Book::restore([published(1, 1, None, 0), published(2, 2, pool, 0)]);
        let of = |workerpool, is_workerpool_strict| Query { workerpool, is_workerpool_strict, ..Query::default() };
        assert_eq!(prices(&book, &of(None, false)), [1]);
        assert_eq!(prices(&book, &of(Some(Who::One(BOB)), false)), [1, 2]);
        assert_eq!(prices(&book, &of(Some(Who::One(ALICE)), false)), [1]);
        assert_eq!(prices(&book, &of(Some(Who::One(BOB)), true)), [2]);
        assert_eq!(prices(&book, &of(Some(Who::Any), false)), [1, 2]);
    }

    #[test]
    fn tags_and_volumes_bound_what_is_found() {
        let book = Book::restore([published(1, 1, None, 0), published(2, 2, None, 0b1001)]);
        let tag = |tag| Some(B256::with_last_byte(tag));
        assert_eq!(prices(&book, &Query { min_tag: tag(1), ..Query::default() }), [2]);
        assert_eq!(prices(&book, &Query { max_tag: tag(1), ..Query::default() }), [1]);
        assert_eq!(prices(&book, &Query { max_tag: tag(0b1011), ..Query::default() }), [1, 2]);
        assert_eq!(prices(&book, &Query { min_volume: Some(6), ..Query::default() }), [0; 0]);
        assert_eq!(prices(&book, &Query { min_volume: Some(5), ..Query::default() }), [1, 2]);
    }

    #[test]
    fn pages_end() {
        let book = Book::restore((0..25).map(|number| published(number, number, None, 0)));
        let page = |page_index| book.list(Kind::App, &Query { page_index, page_size: Some(10), ..Query::default() });
        assert_eq!((page(0).orders.len(), page(0).count, page(0).next), (10, 25, Some(1)));
        assert_eq!((page(2).orders.len(), page(2).next), (5, None));
        assert_eq!((page(usize::MAX).orders.len(), page(usize::MAX).next), (0, None));
    }

    #[test]
    fn a_signer_has_room_for_so_many_and_all_together_too() {
        let mut book = Book::default();
        for number in 0..ORDERS_PER_SIGNER_MAX as u64 {
            let order = published(1, number, None, 0);
            assert_eq!(book.admits(&order.order.hash, Kind::App, ALICE), Ok(()));
            book.insert(order);
        }
        let one_more = published(1, 1_000, None, 0).order.hash;
        assert_eq!(book.admits(&one_more, Kind::App, ALICE), Err(BookError::SignerFull(ALICE)));
        assert_eq!(book.admits(&one_more, Kind::App, BOB), Ok(()));
        assert_eq!(book.admits(&one_more, Kind::Request, ALICE), Ok(()));
        let known = book.hashes()[0];
        assert_eq!(book.admits(&known, Kind::App, BOB), Err(BookError::Known));
        for number in 0..ORDERS_MAX as u64 {
            book.insert(published(2, number, None, 0));
        }
        assert_eq!(book.admits(&one_more, Kind::Request, BOB), Err(BookError::Full));
    }
}
