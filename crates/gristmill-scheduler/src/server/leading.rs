//! Who serves the pool: one scheduler alone, or one of several at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_data::BlobStore;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::external_ids::ExternalIds;
use super::front::Front;
use super::{Api, Config, ServerError, Shared, api, events, random_bytes, secret_file};
use crate::apps::Apps;
use crate::core::Core;
use crate::pool::{Clock, Pool};
use crate::store::{Seat, Seen, Store, StoreError, Term, Writer, WriterFailed};

/// Beats within a lease: some may get lost.
const BEATS_PER_LEASE: u32 = 5;

/// The pool while this process serves it.
pub(super) struct Reign {
    pool: Arc<Pool>,
    api: Api,
    term: Option<Term>,
    url: String,
}

impl Reign {
    /// Takes over what the store holds.
    pub(super) fn begin(
        mut store: Store,
        config: &Config,
        blobs: BlobStore,
        token: String,
        url: String,
        term: Option<Term>,
    ) -> Result<Self, ServerError> {
        let restored = store.begin_run(random_bytes())?;
        let reader = store.reader()?;
        let mut core =
            Core::new(config.name.clone(), restored.secret, config.tuning.clone(), restored.run, restored.next_job)
                .with_weights(config.weights.clone())
                .with_replication(config.replication);
        for (worker, class, standing) in restored.trust {
            core.restore_trust(worker, class, standing);
        }
        info!(run = restored.run, jobs = restored.jobs.len(), "pool restored");
        for job in restored.jobs {
            core.restore(job);
        }
        for (worker, standing) in restored.standings {
            core.restore_standing(worker, standing);
        }
        for (app, speed) in restored.speeds {
            core.restore_speed(app, speed);
        }
        let apps = Apps::new(config.approved_apps_only, store.apps()?);
        let checkers = config.share_checkers.clone();
        let pool = Pool::new(core, Writer::start(store), reader, blobs, Clock::start(), checkers);
        let api = Api {
            pool: pool.clone(),
            apps: Mutex::new(apps),
            manifests: Mutex::default(),
            apart: config.apart,
            pool_name: config.name.as_str().into(),
            token: token.into(),
            about: config.about.clone(),
            external_ids: ExternalIds::default(),
            watchers: Arc::new(Semaphore::new(events::WATCHERS_MAX)),
            shutdown: CancellationToken::new(),
        };
        Ok(Self { pool, api, term, url })
    }

    /// Answers until `stop`, or until the database takes no more.
    pub(super) async fn serve(mut self, front: &Front, stop: CancellationToken) -> Result<(), WriterFailed> {
        let stopping = stop.child_token();
        self.api.shutdown = stopping.clone();
        let ticking = tokio::spawn(tick(self.pool.clone(), stopping.clone()));
        front.lead(api::routes(Arc::new(self.api)), self.term, &self.url);
        let failure = self.pool.failure();
        let led = stop.run_until_cancelled(failure).await;
        front.stand_by(None);
        stopping.cancel();
        let _ = ticking.await;
        led.map_or(Ok(()), Err)
    }
}

/// Lets time pass for the core.
async fn tick(pool: Arc<Pool>, shutdown: CancellationToken) {
    let beat = Duration::from_millis(pool.look(|core, _| (core.tuning().reconnect_ms / 8).clamp(10, 250)));
    let mut interval = tokio::time::interval(beat);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(interval.tick()).await.is_some() {
        if pool.look(|core, now| core.next_tick().is_some_and(|at| at <= now)) {
            pool.act(|core, now, effects| core.tick(now, effects));
        }
    }
}

/// Stands by until nobody leads, leads until another does or the database is out of reach, and so on until told to
/// stop. Whatever goes wrong under a term, the next one begins with what is durable.
pub(super) async fn take_turns(
    config: &Config,
    blobs: &BlobStore,
    token: &str,
    url: &str,
    front: &Front,
    stop: &CancellationToken,
) -> Result<(), ServerError> {
    let shared = config.shared.as_ref().expect("who takes turns shares");
    let mut election = Election { shared: shared.clone(), seat: None };
    let holder = secret_file(&config.data_dir.join("holder"))?;
    while let Some(term) = stand_by(&mut election, &holder, url, front, stop).await {
        info!(term = term.0, "this scheduler leads");
        let reigning = stop.child_token();
        let store = Store::lead(&shared.database, term, shared.lease);
        let reign = store
            .map_err(ServerError::from)
            .and_then(|store| Reign::begin(store, config, blobs.clone(), token.to_owned(), url.to_owned(), Some(term)));
        let ended = match reign {
            Ok(reign) => {
                let serving = reign.serve(front, reigning.clone());
                tokio::pin!(serving);
                tokio::select! {
                    ended = &mut serving => ended.map_err(ServerError::from),
                    lost = election.beat(term) => {
                        warn!(term = term.0, lost, "this scheduler leads no more");
                        reigning.cancel();
                        serving.await.map_err(ServerError::from)
                    }
                }
            }
            Err(ServerError::Store(error @ StoreError::Newer { .. })) => return Err(error.into()),
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            warn!(term = term.0, error = &error as &dyn std::error::Error, "this scheduler leads no more");
        }
        // Nobody needs to wait until the lease is over, whether it led well or cannot lead.
        election.leave(term).await;
        if stop.run_until_cancelled(tokio::time::sleep(election.pause())).await.is_none() {
            break;
        }
    }
    Ok(())
}

/// Watches the leader, and takes the next term when it is silent or has left. Nothing when told to stop.
async fn stand_by(
    election: &mut Election,
    holder: &str,
    url: &str,
    front: &Front,
    stop: &CancellationToken,
) -> Option<Term> {
    let mut watched: Option<(Seen, Instant)> = None;
    loop {
        match election.ask(|seat| seat.look()).await {
            Ok(seen) => {
                front.stand_by(seen.url.clone().filter(|_| seen.holder != holder));
                let silent = watched.as_ref().filter(|(before, _)| *before == seen).map(|(_, since)| since.elapsed());
                // The folder's lock says that the former process of this folder is gone.
                let free = seen.url.is_none() || seen.holder == holder;
                if free || silent.is_some_and(|silent| silent >= election.shared.lease) {
                    let (holder, url) = (holder.to_owned(), url.to_owned());
                    match election.ask(move |seat| seat.take(&seen, &holder, &url)).await {
                        Ok(Some(term)) => return Some(term),
                        Ok(None) => watched = None,
                        Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot take the lead"),
                    }
                } else if silent.is_none() {
                    watched = Some((seen, Instant::now()));
                }
            }
            Err(error) => {
                front.stand_by(None);
                warn!(error = &error as &dyn std::error::Error, "cannot see who leads");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(election.pause())).await?;
    }
}

/// The way to the election.
struct Election {
    shared: Shared,
    /// Away while a question is asked, and lost with one that takes too long.
    seat: Option<Seat>,
}

impl Election {
    fn pause(&self) -> Duration {
        self.shared.lease / BEATS_PER_LEASE
    }

    /// Asks the database, on a thread that may wait; a session that failed is begun anew the next time.
    async fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Seat) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (seat, shared) = (self.seat.take(), self.shared.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let mut seat = seat.map_or_else(|| Seat::open(&shared.database, shared.lease), Ok)?;
            let answer = question(&mut seat)?;
            Ok::<_, StoreError>((seat, answer))
        });
        let lease = self.shared.lease;
        let answer = tokio::time::timeout(lease, asked).await.map_err(|_| StoreError::Silent(lease))?;
        let (seat, answer) = answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        self.seat = Some(seat);
        Ok(answer)
    }

    /// Beats as long as the term is its own; why it is no more.
    async fn beat(&mut self, term: Term) -> &'static str {
        let (lease, pause) = (self.shared.lease, self.pause());
        let mut until = Instant::now() + lease;
        loop {
            tokio::time::sleep(pause).await;
            let asked = Instant::now();
            match tokio::time::timeout_at(until, self.ask(move |seat| seat.beat(term))).await {
                Ok(Ok(true)) => until = asked + lease,
                Ok(Ok(false)) => return "another leads",
                Ok(Err(error)) => warn!(error = &error as &dyn std::error::Error, "a beat was lost"),
                Err(_) => return "the database was silent for the whole lease",
            }
            if Instant::now() >= until {
                return "the database was out of reach for the whole lease";
            }
        }
    }

    async fn leave(&mut self, term: Term) {
        if let Err(error) = self.ask(move |seat| seat.leave(term)).await {
            warn!(error = &error as &dyn std::error::Error, "could not say that it leads no more");
        }
    }
}
