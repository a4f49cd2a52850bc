//! The worker's connection to its pool, and what it keeps when that breaks: running attempts go on, results wait.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gristmill_proto::codec;
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{JobId, LeaseId, WorkerId};
use gristmill_proto::job::{JobSpec, Trust};
use gristmill_proto::key::WorkerKey;
use gristmill_proto::message::{
    BATCH_BYTES_FULL, BATCH_MAX, Finished, HeldLease, Lease, Stream, ToPool, ToWorker, WorkerOffer,
};
use gristmill_proto::outcome::Outcome;
use gristmill_proto::receipt::{Statement, digest_of_job, sign_batch};
use gristmill_proto::vote::{Commitment, Salt, Sealed, compared};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::attempts::{Attempts, Ended, UploadToken};
use crate::link::{Link, LinkError, worker_url};
use crate::votes::KeptVote;

/// Progress of one attempt is told at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);
/// Leases that wait for room here: more than any pool gives.
const WAITING_MAX: usize = 4_096;
/// What happens in this worker.
#[derive(Debug)]
pub(crate) enum Event {
    Progress(LeaseId, u64),
    /// The next bytes of what it says.
    Said(LeaseId, Stream, Vec<u8>),
    Finished(LeaseId, Box<Ended>),
    /// The outputs that a vote was for are at the pool, or cannot be had.
    Shown(LeaseId, Result<(), String>),
}

/// A lease this worker has taken and the pool has not yet put on record.
struct Held {
    lease: Lease,
    job: Arc<JobSpec>,
    /// Of the job.
    digest: Digest,
    state: State,
    /// Work units told last, and when.
    told: (u64, tokio::time::Instant),
}

enum State {
    /// There is no room for it yet.
    Waiting,
    Running(CancellationToken),
    /// It is being ended because nobody wants it, and still takes its room.
    Cancelled,
    /// It has ended well, the pool knows what this worker is bound to, and nobody has asked yet what that is.
    Sealed(Vote),
    /// The outputs that the vote is for are on their way.
    Showing(Vote, CancellationToken),
    /// What to tell the pool until it has recorded it.
    Finished(Finished),
}

#[derive(Clone)]
struct Vote {
    outcome: Outcome,
    salt: Salt,
}

/// What attempts may take of this machine together.
#[derive(Clone, Copy)]
struct Room {
    slots: u32,
    memory_bytes: u64,
    gpus: u32,
}

impl Room {
    fn of(offer: &WorkerOffer) -> Self {
        Self { slots: offer.slots, memory_bytes: offer.memory_bytes, gpus: offer.gpus }
    }

    /// What is left when such an attempt runs; nothing if there is too little.
    fn less(self, job: &JobSpec) -> Option<Self> {
        Some(Self {
            slots: self.slots.checked_sub(job.resources.cores)?,
            memory_bytes: self.memory_bytes.checked_sub(memory_of(job))?,
            gpus: self.gpus.checked_sub(job.resources.gpus)?,
        })
    }

    fn free(&mut self, job: &JobSpec) {
        self.slots += job.resources.cores;
        self.memory_bytes += memory_of(job);
        self.gpus += job.resources.gpus;
    }
}

/// What the program writes lies in memory too.
fn memory_of(job: &JobSpec) -> u64 {
    job.limits.memory_bytes.saturating_add(job.limits.disk_bytes)
}

pub(crate) struct Session {
    key: WorkerKey,
    offer: WorkerOffer,
    attempts: Arc<Attempts>,
    held: HashMap<LeaseId, Held>,
    /// Those that wait, in the order in which they begin.
    waiting: BTreeSet<LeaseId>,
    room: Room,
    /// Finished and not yet told on this connection.
    untold: VecDeque<LeaseId>,
    events: mpsc::UnboundedReceiver<Event>,
    events_in: mpsc::UnboundedSender<Event>,
    /// The pool whose leases are held: another pool at the same address must not get their results.
    pool: Option<String>,
    upload_token: UploadToken,
}

impl Session {
    /// `kept` are votes from before this start.
    pub(crate) fn new(key: WorkerKey, offer: WorkerOffer, attempts: Arc<Attempts>, kept: Vec<KeptVote>) -> Self {
        let (events_in, events) = mpsc::unbounded_channel();
        let pool = kept.first().map(|vote| vote.pool.clone());
        let held = kept.into_iter().map(|KeptVote { lease, job, outcome, salt, .. }| {
            let (digest, state) = (digest_of_job(&job), State::Sealed(Vote { outcome, salt }));
            let told = (0, tokio::time::Instant::now());
            (lease.lease, Held { lease, job: Arc::new(job), digest, state, told })
        });
        Self {
            held: held.collect(),
            pool,
            key,
            room: Room::of(&offer),
            offer,
            attempts,
            waiting: BTreeSet::new(),
            untold: VecDeque::new(),
            events,
            events_in,
            upload_token: UploadToken::default(),
        }
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.key.id()
    }

    /// One connection, from greeting to loss. Ends well only when told to shut down.
    pub(crate) async fn connected(&mut self, url: &str, shutdown: &CancellationToken) -> Result<(), LinkError> {
        let socket_url = worker_url(url).ok_or_else(|| LinkError::Unreachable(format!("`{url}` is no address")))?;
        let (mut link, alive) = self.greet(&socket_url).await?;
        self.attempts.pool_url.set(url);
        info!(pool = self.pool, worker = %self.key.id(), "connected");
        let finished = |held: &Held| matches!(held.state, State::Finished(_));
        self.untold = self.held.iter().filter(|(_, held)| finished(held)).map(|(lease, _)| *lease).collect();
        let sealed = self.held.iter().filter_map(|(lease, held)| match &held.state {
            State::Sealed(vote) | State::Showing(vote, _) => Some(self.sealed(*lease, held, vote)),
            _ => None,
        });
        for votes in sealed.collect::<Vec<_>>().chunks(BATCH_MAX) {
            link.say(&ToPool::Committed { votes: votes.to_vec() }).await?;
        }
        let mut beat = tokio::time::interval(alive);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.tell(&mut link).await?;
            tokio::select! {
                message = link.hear() => {
                    for answer in self.hear(message?)? {
                        link.say(&answer).await?;
                    }
                }
                Some(event) = self.events.recv() => {
                    let mut next = Some(event);
                    // What has gathered goes together: one signature for all.
                    while let Some(event) = next {
                        if let Some(message) = self.note(event) {
                            link.say(&message).await?;
                        }
                        next = self.events.try_recv().ok();
                    }
                }
                _ = beat.tick() => {
                    let leases = self.held.keys().copied().collect();
                    link.say(&ToPool::Alive { leases }).await?;
                }
                () = shutdown.cancelled() => {
                    link.close().await;
                    return Ok(());
                }
            }
        }
    }

    /// Sends what has finished, in as few batches as fit.
    async fn tell(&mut self, link: &mut Link) -> Result<(), LinkError> {
        while !self.untold.is_empty() {
            let (mut results, mut bytes) = (Vec::new(), 0);
            // In the order in which they ended, which is how the pool counts what waits behind them.
            let fits = |told: &[Finished], bytes| told.len() < BATCH_MAX && bytes < BATCH_BYTES_FULL;
            while fits(&results, bytes)
                && let Some(lease) = self.untold.pop_front()
            {
                if let Some(State::Finished(finished)) = self.held.get(&lease).map(|held| &held.state) {
                    bytes += finished.outcome.len();
                    results.push(finished.clone());
                }
            }
            if results.is_empty() {
                continue;
            }
            let leaves: Vec<Digest> = results.iter().map(|finished| finished.leaf).collect();
            let signature = sign_batch(&leaves, &self.key);
            link.say(&ToPool::Finished { results, signature }).await?;
        }
        Ok(())
    }

    /// While there is no connection, attempts still end.
    pub(crate) async fn offline(&mut self) {
        while let Some(event) = self.events.recv().await {
            self.note(event);
        }
    }

    /// Ends every attempt and waits until nothing of them is left.
    pub(crate) async fn stop(&mut self) {
        // Votes that are cast stay, and are shown after the next start.
        let running = self.held.iter().filter(|(_, held)| matches!(held.state, State::Running(_)));
        for lease in running.map(|(lease, _)| *lease).collect::<Vec<_>>() {
            self.cancel(lease, "this worker stops");
        }
        while self.held.values().any(|held| matches!(held.state, State::Cancelled)) {
            match self.events.recv().await {
                Some(event) => drop(self.note(event)),
                None => return,
            }
        }
    }

    async fn greet(&mut self, socket_url: &str) -> Result<(Link, Duration), LinkError> {
        let mut link = Link::open(socket_url).await?;
        if self.pool.as_ref().is_some_and(|known| known != link.pool()) {
            let (former, pool) = (&self.pool, link.pool());
            warn!(former, pool, "another pool answers at this address: leases of the former are dropped");
            self.drop_all("its pool is gone");
        }
        self.pool = Some(link.pool().to_owned());
        let held = self.held.values().filter(|held| !matches!(held.state, State::Cancelled));
        let held = held.map(|held| {
            let Lease { lease, task, work, seal } = held.lease;
            HeldLease { lease, task, work, seal }
        });
        let held = held.collect();
        let welcome = link.greet(&self.key, self.offer.clone(), held).await?;
        for lease in welcome.drop {
            self.cancel(lease, "the pool no longer wants it");
        }
        *self.upload_token.write().unwrap_or_else(PoisonError::into_inner) = welcome.upload_token;
        Ok((link, welcome.alive))
    }

    fn hear(&mut self, message: ToWorker) -> Result<Vec<ToPool>, LinkError> {
        debug!(?message, "heard");
        match message {
            ToWorker::Leases { jobs, leases } => {
                let jobs: HashMap<JobId, (Arc<JobSpec>, Digest)> =
                    jobs.into_iter().map(|(id, job)| (id, (job.clone(), digest_of_job(&job)))).collect();
                let taken = leases.into_iter().filter_map(|lease| self.take(lease, jobs.get(&lease.task.job)));
                let declined = taken.collect();
                self.begin_waiting();
                Ok(declined)
            }
            ToWorker::Cancel { lease, reason } => {
                self.cancel(lease, &reason);
                Ok(Vec::new())
            }
            ToWorker::Open { leases } => {
                leases.into_iter().for_each(|lease| self.show(lease));
                Ok(Vec::new())
            }
            ToWorker::Retract { leases } => {
                let leases = leases.into_iter().filter(|lease| self.waiting.remove(lease)).collect::<Vec<_>>();
                leases.iter().for_each(|lease| drop(self.held.remove(lease)));
                Ok(vec![ToPool::Returned { leases }])
            }
            ToWorker::Recorded { leases, refused } => {
                for (lease, reason) in refused {
                    warn!(%lease, reason, "result refused");
                }
                for lease in leases {
                    // A pool cannot have recorded what has not ended.
                    if self.held.get(&lease).is_some_and(|held| matches!(held.state, State::Finished(_))) {
                        self.forget(lease);
                    }
                }
                Ok(Vec::new())
            }
            ToWorker::Refused { reason } => Err(LinkError::Refused(reason)),
            ToWorker::Challenge { .. } | ToWorker::Welcome { .. } => {
                Err(LinkError::Lost("the pool greets twice".into()))
            }
        }
    }

    /// Takes a lease, or says why not.
    fn take(&mut self, lease: Lease, job: Option<&(Arc<JobSpec>, Digest)>) -> Option<ToPool> {
        let id = lease.lease;
        let declined = |reason: &str| Some(ToPool::Declined { lease: id, reason: reason.to_owned() });
        let Some((job, digest)) = job else { return declined("the pool does not say what the lease is for") };
        if Room::of(&self.offer).less(job).is_none() {
            return declined("this worker has less than the job may use");
        }
        if self.held.contains_key(&id) {
            return None;
        }
        if self.waiting.len() >= WAITING_MAX {
            return declined("too many leases wait here");
        }
        let told = (0, tokio::time::Instant::now() - PROGRESS_PAUSE);
        self.held.insert(id, Held { lease, job: job.clone(), digest: *digest, state: State::Waiting, told });
        self.waiting.insert(id);
        None
    }

    /// Begins what waits, in its order, as far as there is room.
    fn begin_waiting(&mut self) {
        while let Some(id) = self.waiting.first().copied() {
            let held = self.held.get_mut(&id).expect("what waits is held");
            let Some(room) = self.room.less(&held.job) else { return };
            self.room = room;
            self.waiting.remove(&id);
            let (lease, job, cancel) = (held.lease, held.job.clone(), CancellationToken::new());
            held.state = State::Running(cancel.clone());
            info!(lease = %id, task = %lease.task, app = job.app.short(), "attempt starts");
            let pool = self.pool.clone().expect("a lease comes from a pool");
            let (attempts, events, token) = (self.attempts.clone(), self.events_in.clone(), self.upload_token.clone());
            tokio::spawn(async move {
                let ended = attempts.run(&pool, lease, &job, &token, &events, cancel).await;
                let _ = events.send(Event::Finished(id, Box::new(ended)));
            });
        }
    }

    /// Stops an attempt, if it is here.
    fn cancel(&mut self, lease: LeaseId, reason: &str) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        match &held.state {
            State::Running(cancel) => {
                info!(%lease, reason, "attempt cancelled");
                cancel.cancel();
                held.state = State::Cancelled;
            }
            State::Cancelled => {}
            State::Showing(_, cancel) => {
                cancel.cancel();
                self.forget(lease);
            }
            State::Waiting | State::Sealed(_) | State::Finished(_) => {
                self.waiting.remove(&lease);
                self.forget(lease);
            }
        }
    }

    /// Nothing more is to be said of this lease.
    fn forget(&mut self, lease: LeaseId) {
        if let Some(held) = self.held.remove(&lease)
            && matches!(held.job.trust, Trust::Replicate(_))
        {
            self.attempts.votes.forget(lease);
        }
    }

    fn sealed(&self, lease: LeaseId, held: &Held, vote: &Vote) -> Sealed {
        let commitment = Commitment::new(self.id(), held.lease.task, compared(&vote.outcome), vote.salt);
        Sealed { lease, commitment }
    }

    /// Hands in what a vote was for, now that the others have voted too.
    fn show(&mut self, id: LeaseId) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let State::Sealed(vote) = &held.state else { return };
        let (vote, cancel) = (vote.clone(), CancellationToken::new());
        held.state = State::Showing(vote.clone(), cancel.clone());
        let (attempts, events, token) = (self.attempts.clone(), self.events_in.clone(), self.upload_token.clone());
        tokio::spawn(async move {
            let shown = attempts.show(id, &vote.outcome.files, &token, &cancel).await;
            let _ = events.send(Event::Shown(id, shown));
        });
    }

    /// What the pool is told of an attempt that has ended.
    fn conclude(&mut self, lease: LeaseId, outcome: &Outcome, salt: Option<Salt>) {
        let pool = self.pool.as_deref().expect("a lease comes from a pool");
        let held = self.held.get_mut(&lease).expect("the caller holds it");
        let outcome = codec::encode(outcome);
        let (task, app) = (held.lease.task, held.job.app);
        let leaf = Statement::new(pool, lease, task, app, held.digest, &outcome).leaf();
        held.state = State::Finished(Finished { lease, outcome, leaf, salt });
        self.untold.push_back(lease);
    }

    fn drop_all(&mut self, reason: &str) {
        let leases: Vec<LeaseId> = self.held.keys().copied().collect();
        for lease in leases {
            self.cancel(lease, reason);
        }
    }

    fn note(&mut self, event: Event) -> Option<ToPool> {
        match event {
            Event::Progress(lease, done) => {
                let held = self.held.get_mut(&lease)?;
                let now = tokio::time::Instant::now();
                let running = matches!(held.state, State::Running(_));
                if !running || done <= held.told.0 || now - held.told.1 < PROGRESS_PAUSE {
                    return None;
                }
                held.told = (done, now);
                Some(ToPool::Progress { lease, done })
            }
            Event::Said(lease, stream, bytes) => {
                let running = self.held.get(&lease).is_some_and(|held| matches!(held.state, State::Running(_)));
                running.then_some(ToPool::Said { lease, stream, bytes })
            }
            Event::Finished(lease, ended) => {
                let Ended { outcome, salt } = *ended;
                let held = self.held.get_mut(&lease).expect("an attempt that runs is held");
                self.room.free(&held.job);
                let mut vote = None;
                if matches!(held.state, State::Cancelled) {
                    self.forget(lease);
                } else {
                    info!(%lease, exit = %outcome.exit, answer = outcome.answer.is_some(), "attempt ended");
                    match salt {
                        Some(salt) => {
                            held.state = State::Sealed(Vote { outcome: outcome.clone(), salt });
                            let votes = vec![self.sealed(lease, &self.held[&lease], &Vote { outcome, salt })];
                            vote = Some(ToPool::Committed { votes });
                        }
                        None => self.conclude(lease, &outcome, None),
                    }
                }
                self.begin_waiting();
                vote
            }
            Event::Shown(lease, shown) => {
                let held = self.held.get(&lease)?;
                let State::Showing(vote, _) = &held.state else { return None };
                let Vote { outcome, salt } = vote.clone();
                if let Err(error) = shown {
                    warn!(%lease, error, "what a vote was for cannot be shown");
                }
                self.conclude(lease, &outcome, Some(salt));
                None
            }
        }
    }
}
