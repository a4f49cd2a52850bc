//! Server-sent events: a job's picture now and after each change.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use gristmill_proto::id::JobId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::Api;
use super::api::{Authorized, Refusal};
use crate::pool::Touched;

/// Streams open at once: each costs a socket and a buffer.
pub(super) const WATCHERS_MAX: usize = 4096;
/// Ended jobs that one who missed changes is told of besides the live ones.
const MISSED_MAX: u32 = 1000;
/// Shortest time between two pictures of one job: people see no faster. The last is shown at once.
const PAUSE: Duration = Duration::from_millis(100);

type Events =
    Sse<axum::response::sse::KeepAliveStream<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>>;

/// The job's picture now and after each change, until it has ended.
pub(super) async fn of_job(State(api): State<Arc<Api>>, Path(id): Path<JobId>) -> Result<Events, Refusal> {
    let changes = api.pool.watch();
    if api.pool.job(id).await?.is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no {id:?}"), ""));
    }
    watch(api, changes, Some(id), BTreeSet::from([id]))
}

/// Pictures of all jobs that change, and first of all live ones.
pub(super) async fn of_all(_: Authorized, State(api): State<Arc<Api>>) -> Result<Events, Refusal> {
    let changes = api.pool.watch();
    let live = api.pool.look(|core, _| core.live_jobs().collect());
    watch(api, changes, None, live)
}

struct Watch {
    api: Arc<Api>,
    changes: broadcast::Receiver<Touched>,
    only: Option<JobId>,
    due: BTreeSet<JobId>,
    ended: bool,
    /// When the next picture may be shown, unless it is the last.
    rested: tokio::time::Instant,
    _place: OwnedSemaphorePermit,
}

fn watch(
    api: Arc<Api>,
    changes: broadcast::Receiver<Touched>,
    only: Option<JobId>,
    due: BTreeSet<JobId>,
) -> Result<Events, Refusal> {
    let place = api.watchers.clone().try_acquire_owned().map_err(|_| {
        let error = format!("{WATCHERS_MAX} streams are open");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "read the job with a plain request instead")
    })?;
    let rested = tokio::time::Instant::now();
    let watch = Watch { api, changes, only, due, ended: false, rested, _place: place };
    let events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream::unfold(watch, next));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

async fn next(mut watch: Watch) -> Option<(Result<Event, Infallible>, Watch)> {
    loop {
        if watch.ended {
            return None;
        }
        if let Some(id) = watch.due.pop_first() {
            let Ok(Some(view)) = watch.api.pool.job(id).await else { continue };
            watch.ended = watch.only.is_some() && view.state.is_final();
            let event = Event::default().event("job").json_data(&view).expect("a view has string keys only");
            return Some((Ok(event), watch));
        }
        watch.wait().await?;
    }
}

impl Watch {
    /// Waits for changes and gathers what has changed; nothing when the pool stops.
    async fn wait(&mut self) -> Option<()> {
        let shutdown = self.api.shutdown.clone();
        shutdown
            .run_until_cancelled(async {
                let mut over = false;
                while self.due.is_empty() || !over && self.rested > tokio::time::Instant::now() {
                    let rest = tokio::time::sleep_until(self.rested);
                    tokio::select! {
                        change = self.changes.recv() => match change {
                            Ok(Touched { job, ended }) => over |= self.note(job) && ended,
                            Err(RecvError::Lagged(_)) => self.note_all().await,
                            Err(RecvError::Closed) => return None,
                        },
                        () = rest, if !self.due.is_empty() => {}
                    }
                }
                self.rested = tokio::time::Instant::now() + PAUSE;
                Some(())
            })
            .await?
    }

    /// Whether this watcher looks at the job.
    fn note(&mut self, id: JobId) -> bool {
        let watched = self.only.is_none_or(|only| only == id);
        if watched {
            self.due.insert(id);
        }
        watched
    }

    /// Some changes were missed: look at everything that may have changed.
    async fn note_all(&mut self) {
        match self.only {
            Some(id) => drop(self.note(id)),
            None => {
                let live: Vec<JobId> = self.api.pool.look(|core, _| core.live_jobs().collect());
                let newest = self.api.pool.read(|reader| reader.job_ids(None, MISSED_MAX)).await.unwrap_or_default();
                self.due.extend(live.into_iter().chain(newest));
            }
        }
    }
}
