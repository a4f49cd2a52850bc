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
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::Api;
use super::api::{Authorized, Refusal};

/// Streams open at once: each costs a socket and a buffer.
pub(super) const WATCHERS_MAX: usize = 4096;
/// Ended jobs that one who missed changes is told of besides the live ones.
const MISSED_MAX: u32 = 1000;
/// Shortest time between two pictures of one job: people see no faster, and the win itself is never held back longer.
const PAUSE: Duration = Duration::from_millis(100);

type Events =
    Sse<axum::response::sse::KeepAliveStream<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>>;

/// The job's picture now and after each change, until it has ended.
pub(super) async fn of_job(State(api): State<Arc<Api>>, Path(id): Path<JobId>) -> Result<Events, Refusal> {
    let changes = api.pool.watch();
    if api.pool.job(id)?.is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no {id:?}"), ""));
    }
    watch(api, changes, Some(id), vec![id])
}

/// Pictures of all jobs that change, and first of all live ones.
pub(super) async fn of_all(_: Authorized, State(api): State<Arc<Api>>) -> Result<Events, Refusal> {
    let changes = api.pool.watch();
    let live = api.pool.look(|core, _| core.live_jobs().collect());
    watch(api, changes, None, live)
}

struct Watch {
    api: Arc<Api>,
    changes: broadcast::Receiver<JobId>,
    only: Option<JobId>,
    due: Vec<JobId>,
    ended: bool,
    fresh: bool,
    _place: OwnedSemaphorePermit,
}

fn watch(
    api: Arc<Api>,
    changes: broadcast::Receiver<JobId>,
    only: Option<JobId>,
    due: Vec<JobId>,
) -> Result<Events, Refusal> {
    let place = api.watchers.clone().try_acquire_owned().map_err(|_| {
        let error = format!("{WATCHERS_MAX} streams are open");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "read the job with a plain request instead")
    })?;
    let watch = Watch { api, changes, only, due, ended: false, fresh: true, _place: place };
    let events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream::unfold(watch, next));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

async fn next(mut watch: Watch) -> Option<(Result<Event, Infallible>, Watch)> {
    loop {
        if watch.ended {
            return None;
        }
        if let Some(id) = watch.due.pop() {
            let Ok(Some(view)) = watch.api.pool.job(id) else { continue };
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
                if !std::mem::take(&mut self.fresh) {
                    tokio::time::sleep(PAUSE).await;
                }
                while self.due.is_empty() {
                    match self.changes.recv().await {
                        Ok(id) => self.note(id),
                        Err(RecvError::Lagged(_)) => self.note_all(),
                        Err(RecvError::Closed) => return None,
                    }
                    self.drain();
                }
                Some(())
            })
            .await?
    }

    fn drain(&mut self) {
        loop {
            match self.changes.try_recv() {
                Ok(id) => self.note(id),
                Err(TryRecvError::Lagged(_)) => self.note_all(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn note(&mut self, id: JobId) {
        if self.only.is_none_or(|only| only == id) && !self.due.contains(&id) {
            self.due.push(id);
        }
    }

    /// Some changes were missed: look at everything that may have changed.
    fn note_all(&mut self) {
        match self.only {
            Some(id) => self.note(id),
            None => {
                let live: Vec<JobId> = self.api.pool.look(|core, _| core.live_jobs().collect());
                let newest = self.api.pool.read(|reader| reader.job_ids(None, MISSED_MAX)).unwrap_or_default();
                let all: BTreeSet<JobId> = self.due.drain(..).chain(live).chain(newest).collect();
                self.due.extend(all);
            }
        }
    }
}
