//! The writer and its disk: what is shown and answered when, and what happens when the disk does not do its part.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use alloy::{
    consensus::{SignableTransaction, TxEip7702},
    network::TxSignerSync,
};

use super::{Core, Draft, GENESIS, fingerprint};
use crate::dev::{
    accounts::accounts,
    chain::Chain,
    checkpoint::Checkpoints,
    command::{Command, Reply},
    journal::{Covered, Disk, Journal, JournalError, scan},
    node::{Node, Store, node},
    refusal::Refusal,
    transaction::SignedTx,
};

/// A disk in memory that can be held, and that fails on demand.
#[derive(Clone, Default)]
struct FakeDisk(Arc<(Mutex<Contents>, Condvar)>);

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    flushed: usize,
    flushes: usize,
    held: bool,
    appends_fail: bool,
    flushes_fail: bool,
    cuts_fail: bool,
}

impl FakeDisk {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.0.lock().unwrap()
    }

    fn hold(&self, held: bool) {
        self.contents().held = held;
        self.0.1.notify_all();
    }

    /// The chain that a restart would find.
    fn chain(&self) -> Chain {
        let mut chain = Chain::found(GENESIS);
        let start = Covered { len: 16, last: 0 };
        scan::<JournalError>("test".as_ref(), start, &self.contents().bytes, &mut |batch| {
            batch.iter().for_each(|(change, _)| chain.apply(change));
            Ok(())
        })
        .unwrap();
        chain
    }
}

impl Disk for FakeDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        if contents.appends_fail {
            contents.bytes.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        contents.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut contents = self.0.1.wait_while(self.contents(), |contents| contents.held).unwrap();
        if contents.flushes_fail {
            return Err(io::Error::other("no"));
        }
        contents.flushed = contents.bytes.len();
        contents.flushes += 1;
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut contents = self.contents();
        if contents.cuts_fail {
            return Err(io::Error::other("no"));
        }
        contents.bytes.truncate(len as usize);
        Ok(())
    }
}

struct Running {
    disk: FakeDisk,
    node: Option<Node>,
    writer: Option<JoinHandle<()>>,
    core: Core,
}

impl Running {
    fn start() -> Self {
        let disk = FakeDisk::default();
        let folder = std::path::Path::new("nowhere");
        let store = Store { journal: Journal::on(disk.clone()), checkpoints: Checkpoints::new(folder, 0) };
        let (node, writer) = node(Chain::found(GENESIS), Some(store), None, Arc::new(|| GENESIS.timestamp));
        let writer = std::thread::spawn(move || writer.run());
        Self { disk, node: Some(node), writer: Some(writer), core: Core::new() }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn transfer(&self, from: usize) -> Command {
        Command::Send(self.core.sign(&Draft {
            nonce: self.node().chain().state().nonce(self.core.address(from)),
            ..self.core.transfer(from)
        }))
    }

    async fn until(&self, what: &str, condition: impl Fn(&Contents) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(&self.disk.contents()) {
            assert!(Instant::now() < deadline, "{what} does not happen");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.disk.hold(false);
        self.node = None;
        let ended = self.writer.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

#[tokio::test]
async fn nothing_is_shown_or_answered_before_it_is_durable() {
    let running = Running::start();
    running.disk.hold(true);
    let (node, command) = (running.node().clone(), running.transfer(0));
    let answer = tokio::spawn(async move { node.execute(command).await });
    running.until("the write", |contents| !contents.bytes.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!answer.is_finished(), "answered before the flush");
    assert_eq!(running.node().chain().head().number(), 0, "shown before the flush");

    running.disk.hold(false);
    assert!(matches!(answer.await.unwrap(), Ok(Reply::Hash(_))));
    assert_eq!(running.node().chain().head().number(), 1);
    let flushed = running.disk.contents().flushed;
    assert_eq!(flushed, running.disk.contents().bytes.len());
    assert!(fingerprint(&running.disk.chain()) == fingerprint(&running.node().chain()));
}

#[tokio::test]
async fn concurrent_senders_share_a_flush() {
    let running = Running::start();
    running.disk.hold(true);
    let send = |from: usize| {
        let (node, command) = (running.node().clone(), running.transfer(from));
        tokio::spawn(async move { node.execute(command).await })
    };
    let mut answers = vec![send(0)];
    running.until("the first write", |contents| !contents.bytes.is_empty()).await;
    answers.extend((1..9).map(send));
    running.until("the others' arrival", |_| running.node().waiting() == 8).await;
    running.disk.hold(false);
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(running.node().chain().head().number(), 9);
    assert_eq!(running.disk.contents().flushes, 2, "one for the first, one for those that came meanwhile");
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_cannot_hold() {
    let running = Running::start();
    running.node().execute(running.transfer(0)).await.unwrap();
    let before = running.disk.contents().bytes.clone();
    running.disk.contents().appends_fail = true;
    let error = running.node().execute(running.transfer(0)).await.unwrap_err();
    assert!(matches!(&error, Refusal::Stopped(why) if why.contains("cannot write to test")), "{error}");
    assert_eq!(running.node().chain().head().number(), 1);
    assert_eq!(running.disk.contents().bytes, before, "the half-written batch is gone");

    running.disk.contents().appends_fail = false;
    running.node().execute(running.transfer(0)).await.unwrap();
    assert_eq!(running.node().chain().head().number(), 2);
    assert!(fingerprint(&running.disk.chain()) == fingerprint(&running.node().chain()));
}

#[tokio::test]
async fn after_a_failed_flush_nothing_is_written_any_more() {
    for cuts_fail in [false, true] {
        let running = Running::start();
        running.node().execute(running.transfer(0)).await.unwrap();
        {
            let mut contents = running.disk.contents();
            (contents.flushes_fail, contents.appends_fail, contents.cuts_fail) = (!cuts_fail, cuts_fail, cuts_fail);
        }
        running.node().execute(running.transfer(0)).await.unwrap_err();
        {
            let mut contents = running.disk.contents();
            (contents.flushes_fail, contents.appends_fail, contents.cuts_fail) = (false, false, false);
        }
        let error = running.node().execute(running.transfer(0)).await.unwrap_err();
        assert!(matches!(&error, Refusal::Stopped(why) if why.contains("an earlier write failed")), "{error}");
        assert_eq!(running.node().chain().head().number(), 1, "reading goes on");
    }
}

#[tokio::test]
async fn a_refused_command_leaves_no_trace() {
    let running = Running::start();
    let refused = running.node().execute(Command::SetNextTimestamp(1)).await;
    assert!(refused.is_err());
    // This one passes for good until it is executed.
    let mut tx = TxEip7702 {
        chain_id: GENESIS.chain_id,
        gas_limit: 100_000,
        max_fee_per_gas: 2_000_000_000,
        ..TxEip7702::default()
    };
    let signer = &accounts()[0];
    let signature = signer.sign_transaction_sync(&mut tx).unwrap();
    let tx = SignedTx::trusted(tx.into_signed(signature).into(), signer.address());
    let refused = running.node().execute(Command::Send(tx)).await.unwrap_err();
    assert!(matches!(&refused, Refusal::Invalid(why) if why.contains("authorization list")), "{refused}");
    assert!(running.disk.contents().bytes.is_empty());
    assert_eq!(running.node().chain().pool.len(), 0);
}
