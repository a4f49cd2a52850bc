//! The shell around the core: one lock, one writer, the connections, and those who watch.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gristmill_data::BlobStore;
use gristmill_proto::id::{JobId, UnixMillis};
use gristmill_proto::message::{Lease, ToWorker};
use gristmill_proto::view::{JobView, WorkerView};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::core::{ConnectionId, Core, Effects};
use crate::live_logs::LiveLogs;
use crate::metrics::Counters;
use crate::shares::ShareCheckers;
use crate::store::{Reader, StoreError, Writer};

/// Messages a worker's connection may be behind. One that reads slower is cut off, so that it costs nobody memory.
const OUTBOX_MAX: usize = 2 * gristmill_proto::message::SLOTS_MAX as usize;
/// Changes a watcher may be behind before it is told to look at everything anew.
const WATCH_BACKLOG: usize = 4096;

pub(crate) struct Pool {
    core: Mutex<Core>,
    writer: Writer,
    reader: tokio::sync::Mutex<Reader>,
    pub(crate) blobs: BlobStore,
    pub(crate) clock: Clock,
    pub(crate) share_checkers: ShareCheckers,
    connections: Mutex<HashMap<ConnectionId, Connection>>,
    next_connection: AtomicU64,
    changed: broadcast::Sender<Touched>,
    counters: Counters,
    pub(crate) live_logs: Mutex<LiveLogs>,
}

/// Bytes that a worker may be allowed to upload without holding leases for them.
const UPLOAD_GATHERED_MAX: i64 = 4 << 30;

/// A job that is no longer what it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub(crate) job: JobId,
    pub(crate) ended: bool,
}

#[derive(Clone)]
struct Connection {
    outbox: mpsc::Sender<ToWorker>,
    upload: Arc<UploadGrant>,
}

/// What a connected worker may upload: as much as its leases allow.
pub(crate) struct UploadGrant {
    pub(crate) token: String,
    bytes_left: AtomicI64,
}

/// Resolves once what happened is durable. Errs if the pool could not make it so.
pub(crate) type Durable = oneshot::Receiver<()>;

impl Pool {
    pub(crate) fn new(
        core: Core,
        writer: Writer,
        reader: Reader,
        blobs: BlobStore,
        clock: Clock,
        share_checkers: ShareCheckers,
    ) -> Arc<Self> {
        Arc::new(Self {
            core: Mutex::new(core),
            writer,
            reader: tokio::sync::Mutex::new(reader),
            blobs,
            clock,
            share_checkers,
            connections: Mutex::default(),
            next_connection: AtomicU64::new(1),
            changed: broadcast::channel(WATCH_BACKLOG).0,
            counters: Counters::default(),
            live_logs: Mutex::default(),
        })
    }

    /// Lets the core act on an event. Its effects are released in order, after their changes are durable.
    pub(crate) fn act<R>(
        self: &Arc<Self>,
        event: impl FnOnce(&mut Core, UnixMillis, &mut Effects) -> R,
    ) -> (R, Durable) {
        let (done, durable) = oneshot::channel();
        let mut core = lock(&self.core);
        let mut effects = Effects::default();
        let result = event(&mut core, self.clock.now(), &mut effects);
        self.counters.count(&effects);
        let pool = self.clone();
        let Effects { changes, messages, touched } = effects;
        let touched = touched.into_iter().map(|job| Touched { job, ended: !core.is_live(job) }).collect::<Vec<_>>();
        self.writer.hand_over(changes, move || {
            for (_, connection, message) in messages {
                pool.send(connection, message);
            }
            for job in touched {
                let _ = pool.changed.send(job);
            }
            let _ = done.send(());
        });
        drop(core);
        (result, durable)
    }

    pub(crate) fn look<R>(&self, question: impl FnOnce(&Core, UnixMillis) -> R) -> R {
        question(&lock(&self.core), self.clock.now())
    }

    /// Asks the database. It may be slow and the server's threads are few, so one of them waits for it at most.
    pub(crate) async fn read<R>(&self, question: impl FnOnce(&Reader) -> R) -> R {
        let reader = self.reader.lock().await;
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| question(&reader)),
            _ => question(&reader),
        }
    }

    pub(crate) fn failure(&self) -> impl Future<Output = crate::store::WriterFailed> + Send + 'static {
        self.writer.failure()
    }

    /// A job as it is now, if the pool ever had it.
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let Some(mut view) = self.read(|reader| reader.job(id)).await? else { return Ok(None) };
        if let Some(status) = self.look(|core, now| core.job_status(id, now))
            && !view.state.is_final()
        {
            view.state = status.state;
            view.tasks = status.tasks;
            view.progress = status.progress;
            view.workers = status.workers;
        }
        Ok(Some(view))
    }

    /// The job of an external id, live or ended. One that ends between the two looks is in the database if its
    /// submission was acknowledged.
    pub(crate) async fn job_of(&self, external_id: &str) -> Result<Option<JobId>, StoreError> {
        match self.look(|core, _| core.job_of(external_id)) {
            Some(id) => Ok(Some(id)),
            None => self.read(|reader| reader.job_of(external_id)).await,
        }
    }

    /// Every worker known: connected ones first.
    pub(crate) async fn workers(&self) -> Result<Vec<WorkerView>, StoreError> {
        let mut counted: HashMap<_, _> =
            self.read(Reader::workers).await?.into_iter().map(|view| (view.id, view)).collect();
        let present = self.look(|core, _| core.worker_statuses()).into_iter().map(|status| {
            let known = counted.remove(&status.id);
            let (certified, failed, rejected, shares) =
                known.map_or((0, 0, 0, 0), |w| (w.certified, w.failed, w.rejected, w.shares));
            WorkerView {
                id: status.id,
                name: status.name,
                connected: status.connected,
                slots: status.slots,
                running: status.running,
                certified,
                failed,
                rejected,
                shares,
            }
        });
        let mut views: Vec<WorkerView> = present.collect();
        views.extend(counted.into_values());
        views.sort_by_key(|view| (!view.connected, view.id));
        Ok(views)
    }

    /// For Prometheus.
    pub(crate) fn metrics(&self) -> String {
        self.counters.text(&self.look(|core, _| core.totals()))
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<Touched> {
        self.changed.subscribe()
    }

    /// Opens the way out to a worker. The receiver ends when the connection is to be closed.
    pub(crate) fn add_connection(&self, token: String) -> (ConnectionId, mpsc::Receiver<ToWorker>, Arc<UploadGrant>) {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let upload = Arc::new(UploadGrant { token, bytes_left: AtomicI64::new(0) });
        lock(&self.connections).insert(id, Connection { outbox, upload: upload.clone() });
        (id, messages, upload)
    }

    pub(crate) fn remove_connection(&self, id: ConnectionId) {
        lock(&self.connections).remove(&id);
    }

    pub(crate) fn send(&self, id: ConnectionId, message: ToWorker) {
        let mut connections = lock(&self.connections);
        let Some(connection) = connections.get(&id) else { return };
        if let ToWorker::Leases { jobs, leases } = &message {
            let allowed = |lease: &Lease| {
                let spec = jobs.iter().find(|(job, _)| *job == lease.task.job).map(|(_, spec)| spec);
                spec.map_or(0, |spec| spec.limits.disk_bytes)
            };
            connection.upload.grant(leases.iter().map(allowed).fold(0, u64::saturating_add));
        }
        if connection.outbox.try_send(message).is_err() {
            connections.remove(&id);
        }
    }

    /// The grant of the connected worker that shows this token.
    pub(crate) fn upload_grant(&self, token: &str) -> Option<Arc<UploadGrant>> {
        let connections = lock(&self.connections);
        connections.values().find(|c| same_secret(&c.upload.token, token)).map(|c| c.upload.clone())
    }
}

impl UploadGrant {
    pub(crate) fn grant(&self, bytes: u64) {
        self.bytes_left.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX / 2), Ordering::Relaxed);
    }

    /// What was granted for leases that are over is not kept. Looked at only when much has gathered.
    pub(crate) fn shrink(&self, allowed: impl FnOnce() -> u64) {
        if self.bytes_left.load(Ordering::Relaxed) > UPLOAD_GATHERED_MAX {
            let allowed = i64::try_from(allowed()).unwrap_or(i64::MAX / 2);
            self.bytes_left.fetch_min(allowed.max(UPLOAD_GATHERED_MAX), Ordering::Relaxed);
        }
    }

    pub(crate) fn spend(&self, bytes: u64) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX / 2);
        let spent = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(bytes).filter(|left| *left >= 0)
        });
        spent.is_ok()
    }
}

/// Compares without telling by its timing how far the two agree.
pub(crate) fn same_secret(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

/// Wall-clock time that only moves forward: leases must not expire because somebody set the clock.
pub(crate) struct Clock {
    started: Instant,
    at_start: UnixMillis,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_start = UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        Self { started: Instant::now(), at_start }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.at_start.plus(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// A panic elsewhere must not take the pool down: the core asserts only in tests, and what it holds is restored from
/// the store at the next start anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
