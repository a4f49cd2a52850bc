//! The sender's own connection to the outbox.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior};

use super::{
    entry::{Change, Entry},
    outbox::{self, OutboxError},
    sender::SendError,
};

/// The caller's transactions may hold the database for a while, but not for this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Commits wait for the disk, so they run beside the async threads.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    connection: Arc<Mutex<Connection>>,
}

impl Journal {
    pub(super) fn open(connection: Connection) -> Result<Self, OutboxError> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // NORMAL may lose the newest commits of a WAL database in a power cut, and with them bytes already sent.
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, OutboxError> + Send + 'static,
    ) -> Result<T, SendError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().expect("a panic while writing the outbox ends the sender");
            work(&mut connection)
        });
        Ok(done.await.map_err(SendError::Journal)??)
    }

    /// Writes all changes down in one transaction, and gives the entries back as they are then, with the number of the newest
    /// outcome.
    pub(super) async fn record(&self, changes: Vec<(Entry, Change)>) -> Result<(Vec<Entry>, u64), SendError> {
        self.with(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut entries = Vec::with_capacity(changes.len());
            for (mut entry, change) in changes {
                outbox::record(&transaction, &mut entry, &change)?;
                entries.push(entry);
            }
            let last = outbox::last_outcome(&transaction)?;
            transaction.commit()?;
            Ok((entries, last))
        })
        .await
    }
}
