//! External ids that are being submitted: the same one by one submission at a time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use tokio::sync::{Mutex, MutexGuard};

/// Ids that share a turn wait for each other as the same one does: at most for a commit, which they share otherwise.
const TURNS: usize = 1024;

/// Whether a job of an external id is known stands in the database, which may be slow, and must not change between
/// the question and the job's being durable. So whoever submits an id keeps its turn over both. Nobody else waits.
pub(super) struct ExternalIds {
    turns: Box<[Mutex<()>]>,
    /// Nobody outside can choose ids that share a turn.
    hasher: RandomState,
}

impl Default for ExternalIds {
    fn default() -> Self {
        Self { turns: (0..TURNS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl ExternalIds {
    pub(super) async fn turn(&self, id: &str) -> MutexGuard<'_, ()> {
        let number = self.hasher.hash_one(id) % TURNS as u64;
        self.turns[usize::try_from(number).expect("below a thousand or so")].lock().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_id_has_one_turn_at_a_time_and_others_go_on() {
        let ids = ExternalIds::default();
        let first = ids.turn("a").now_or_never().expect("nobody has it");
        assert!(ids.turn("a").now_or_never().is_none());
        let others = (0..1_000).filter(|number| ids.turn(&number.to_string()).now_or_never().is_some()).count();
        assert!(others > 950, "{others}");
        drop(first);
        assert!(ids.turn("a").now_or_never().is_some());
    }
}
