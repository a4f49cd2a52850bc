//! The one thread that writes: it commits whatever gathered during its last flush, then releases what waited for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use tokio::sync::watch;

use super::Store;
use crate::core::Change;

/// Groups of changes one transaction may hold. Bounds the time a commit takes, and so the wait of whoever comes next.
const GROUPS_PER_COMMIT_MAX: usize = 4096;

type Released = Box<dyn FnOnce() + Send>;

/// The thread that commits. Changes are committed in the order they were handed over; while one commit runs, the next
/// gathers, so the cost of a flush is shared by everyone who waits for it.
pub struct Writer {
    queue: mpsc::Sender<(Vec<Change>, Released)>,
    waiting: Arc<AtomicUsize>,
    failed: watch::Receiver<Option<WriterFailed>>,
}

/// The database took no more. Nothing after the failure was acknowledged; the pool must stop and start again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot write the pool's database: {0}")]
pub struct WriterFailed(pub String);

impl Writer {
    pub fn start(mut store: Store) -> Self {
        let (queue, incoming) = mpsc::channel::<(Vec<Change>, Released)>();
        let (fail, failed) = watch::channel(None);
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = waiting.clone();
        let work = move || {
            while let Ok(first) = incoming.recv() {
                let mut groups = vec![first];
                groups.extend(incoming.try_iter().take(GROUPS_PER_COMMIT_MAX - 1));
                let changes: Vec<&Change> = groups.iter().flat_map(|(changes, _)| changes).collect();
                if !changes.is_empty()
                    && let Err(error) = store.commit(changes)
                {
                    // Memory is ahead of the disk now: nothing more may be said.
                    let _ = fail.send(Some(WriterFailed(causes(&error))));
                    return;
                }
                for (_, release) in groups {
                    release();
                    done.fetch_sub(1, Ordering::Release);
                }
            }
        };
        thread::Builder::new().name("pool-writer".into()).spawn(work).expect("the system can start one more thread");
        Self { queue, waiting, failed }
    }

    /// Calls `release` once the changes are durable and everything handed over before has been released. Calls must
    /// not overlap: the caller holds the core's lock, which also makes their order that of the core.
    pub fn hand_over(&self, changes: Vec<Change>, release: impl FnOnce() + Send + 'static) {
        if changes.is_empty() && self.waiting.load(Ordering::Acquire) == 0 {
            return release();
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A writer that has failed drops the release with the queue, so nothing is acknowledged.
        let _ = self.queue.send((changes, Box::new(release)));
    }

    /// Resolves when the writer has failed.
    pub fn failure(&self) -> impl Future<Output = WriterFailed> + Send + 'static {
        let mut failed = self.failed.clone();
        async move {
            let failure = failed.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
            match failure {
                Some(failure) => failure,
                None => std::future::pending().await,
            }
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
