//! The one owner of a chain: a thread that executes commands, makes their changes durable, and only then shows the new
//! chain and answers. Whatever waits is taken together, so concurrent senders share a flush.

use std::{
    error::Error,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    chain::Chain,
    change::Change,
    checkpoint::Checkpoints,
    command::{Command, Reply},
    journal::{Archive, Journal},
    reader::Reader,
    refusal::Refusal,
};

/// Commands that wait for the writer; whoever comes later waits for a place.
const COMMANDS_WAITING_MAX: usize = 1_024;
/// Commands that share one flush: enough to hide the flush, few enough that the first does not wait long for the last.
const BATCH_MAX: usize = 256;

/// The wall clock: seconds since 1970. Tests give their own.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// A way to the chain: readers get a version that never changes, commands go through the writer.
#[derive(Clone)]
pub(crate) struct Node {
    chain: watch::Receiver<Arc<Chain>>,
    commands: mpsc::Sender<Request>,
    archive: Option<Arc<Archive>>,
    clock: Clock,
}

/// Where a chain is kept.
pub(crate) struct Store {
    pub(crate) journal: Journal,
    pub(crate) checkpoints: Checkpoints,
}

/// Executes commands until [`Node::stop`], or until every node is gone.
pub(crate) struct Writer {
    chain: watch::Sender<Arc<Chain>>,
    commands: mpsc::Receiver<Request>,
    store: Option<Store>,
    clock: Clock,
}

enum Request {
    Execute(Asked),
    Stop,
}

struct Asked {
    command: Command,
    reply: oneshot::Sender<Result<Reply, Refusal>>,
}

/// `store` and `archive` are none for a chain that lives in memory only.
pub(crate) fn node(chain: Chain, store: Option<Store>, archive: Option<Arc<Archive>>, clock: Clock) -> (Node, Writer) {
    let (shown, chain) = watch::channel(Arc::new(chain));
    let (sender, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
    let node = Node { chain, commands: sender, archive, clock: clock.clone() };
    (node, Writer { chain: shown, commands, store, clock })
}

impl Node {
    /// The chain as it is now.
    pub(crate) fn chain(&self) -> Reader {
        Reader::new(self.chain.borrow().clone(), self.archive.clone())
    }

    /// Wakes at each new version of the chain.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Chain>> {
        self.chain.clone()
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Carries out a command; once this returns, its effects are durable.
    pub(crate) async fn execute(&self, command: Command) -> Result<Reply, Refusal> {
        let stopped = || Refusal::Stopped("it is shutting down".into());
        let (reply, answer) = oneshot::channel();
        self.commands.send(Request::Execute(Asked { command, reply })).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// How many commands wait for the writer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// Ends the writer once it has done what was asked before.
    pub(crate) async fn stop(&self) {
        // An error says that it has ended.
        let _ = self.commands.send(Request::Stop).await;
    }
}

impl Writer {
    pub(crate) fn run(mut self) {
        while let Some(Request::Execute(first)) = self.commands.blocking_recv() {
            let mut batch = vec![first];
            let mut stop = false;
            while batch.len() < BATCH_MAX && !stop {
                match self.commands.try_recv() {
                    Ok(Request::Execute(next)) => batch.push(next),
                    Ok(Request::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            self.execute(batch);
            if stop {
                break;
            }
        }
        if let Some(Store { checkpoints, .. }) = self.store {
            checkpoints.finish();
        }
    }

    fn execute(&mut self, batch: Vec<Asked>) {
        let mut chain = Chain::clone(&self.chain.borrow());
        let mut changes = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        for Asked { command, reply } in batch {
            let mut next = chain.clone();
            let before = changes.len();
            let answer = next.execute(command, (self.clock)(), &mut changes);
            match answer {
                Ok(_) => chain = next,
                Err(_) => changes.truncate(before),
            }
            answers.push((reply, answer));
        }
        if let Err(stopped) = self.commit(chain, &changes) {
            for (_, answer) in answers.iter_mut().filter(|(_, answer)| answer.is_ok()) {
                *answer = Err(stopped.clone());
            }
        }
        for (reply, answer) in answers {
            // Whoever asked may have gone; what was done stays done.
            let _ = reply.send(answer);
        }
    }

    fn commit(&mut self, mut chain: Chain, changes: &[Change]) -> Result<(), Refusal> {
        if changes.is_empty() {
            return Ok(());
        }
        if let Some(Store { journal, checkpoints }) = &mut self.store {
            let spans = journal.append(changes).map_err(|error| {
                tracing::error!(error = &error as &dyn Error, "cannot write the journal");
                let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
                Refusal::Stopped(format!("{error}{source}"))
            })?;
            changes.iter().zip(spans).for_each(|(change, span)| chain.note_span(change, span));
            checkpoints.consider(&chain, journal.covered());
        }
        self.chain.send_replace(Arc::new(chain));
        Ok(())
    }
}
