//! Where the pool is: one of the addresses given, or where the scheduler there says that the leader is.

use std::sync::{Arc, PoisonError, RwLock};

/// The address of the connection that stands now: fetching and handing in go on over a change of leaders.
#[derive(Clone, Debug)]
pub(crate) struct PoolUrl(Arc<RwLock<String>>);

impl PoolUrl {
    pub(crate) fn new(url: &str) -> Self {
        Self(Arc::new(RwLock::new(url.to_owned())))
    }

    pub(crate) fn get(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, url: &str) {
        url.clone_into(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Addresses to try, in turn.
#[derive(Debug)]
pub(crate) struct Pools {
    given: Vec<String>,
    next: usize,
    /// Told by a scheduler that stands by; tried once.
    leader: Option<String>,
}

impl Pools {
    /// Of one or more addresses with commas between them.
    pub(crate) fn new(urls: &str) -> Self {
        let given = urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        Self { given, next: 0, leader: None }
    }

    pub(crate) fn given(&self) -> &[String] {
        &self.given
    }

    pub(crate) fn current(&self) -> &str {
        self.leader.as_deref().unwrap_or(&self.given[self.next])
    }

    /// After a failure: what was told last is not believed twice in a row.
    pub(crate) fn turn(&mut self, leader: Option<String>) {
        let tried = self.leader.take();
        if let Some(leader) = leader
            && tried.as_ref() != Some(&leader)
            && self.given[self.next] != leader
        {
            self.leader = Some(leader);
            return;
        }
        if tried.is_none() {
            self.next = (self.next + 1) % self.given.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_tried_and_the_one_that_leads_first() {
        let mut pools = Pools::new("http://a, http://b/");
        assert_eq!(pools.current(), "http://a");
        pools.turn(None);
        assert_eq!(pools.current(), "http://b");
        pools.turn(Some("http://c".into()));
        assert_eq!(pools.current(), "http://c");
        pools.turn(Some("http://c".into()));
        assert_eq!(pools.current(), "http://b", "and not for ever");
        pools.turn(None);
        assert_eq!(pools.current(), "http://a");
    }
}
