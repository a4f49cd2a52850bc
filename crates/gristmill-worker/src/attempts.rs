//! One attempt from lease to outcome: fetch what it needs, run it, hand in what it left.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use gristmill_data::{TransferError, upload};
use gristmill_proto::app::{
    ContainerTarget, Disk, ImageSource, OciBlob, Runtime, SizedBlob, Target, VmTarget, is_plain_path,
};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::{LeaseId, WorkerId};
use gristmill_proto::job::{JobSpec, Trust};
use gristmill_proto::message::{Lease, Stream};
use gristmill_proto::outcome::{Exit, Log, Outcome, OutputFile};
use gristmill_proto::vote::Salt;
use reqwest::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::apps::{AppCache, AppError, PreparedApp};
use crate::container::{self, ImageError, Images, Parts, Place};
use crate::patience::Patience;
use crate::pools::PoolUrl;
use crate::process::{self, Attempt, Finished, RunError};
use crate::sandbox::Sandbox;
use crate::session::Event;
use crate::vm::{self, Accel, Machine};
use crate::votes::{KeptVote, VoteFolder};
use crate::wasm::{Program, Wasm};

pub(crate) struct Attempts {
    pub(crate) worker: WorkerId,
    pub(crate) sandbox: Sandbox,
    pub(crate) wasm: Wasm,
    pub(crate) apps: AppCache,
    pub(crate) images: Images,
    /// Nothing where there are no virtual machines.
    pub(crate) accel: Option<Accel>,
    /// For the disks of virtual machines.
    pub(crate) scratch: PathBuf,
    pub(crate) client: Client,
    pub(crate) pool_url: PoolUrl,
    pub(crate) votes: VoteFolder,
}

/// What an attempt came to, and what it is bound to by a vote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) salt: Option<Salt>,
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Image(Box<ImageError>),
    #[error("the image's archive: {0}")]
    Layout(io::Error),
    #[error("this worker does not offer the runtime {0}")]
    NotOffered(Runtime),
    #[error("output {path}: {source}")]
    Output { path: String, source: io::Error },
    #[error("the vote cannot be kept: {0}")]
    Vote(io::Error),
    #[error("output {path}: {source}")]
    Upload { path: String, source: TransferError },
}

impl Attempts {
    pub(crate) async fn run(
        &self,
        pool: &str,
        lease: Lease,
        job: &JobSpec,
        upload_token: &UploadToken,
        events: &mpsc::UnboundedSender<Event>,
        cancel: CancellationToken,
    ) -> Ended {
        let ended = tokio::select! {
            ended = self.attempt(pool, lease, job, upload_token, events, &cancel) => ended,
            () = async { cancel.cancelled().await; tokio::time::sleep(CANCEL_PATIENCE).await } => {
                Err(AttemptError::Run(RunError::Cancelled))
            }
        };
        ended.unwrap_or_else(|error| {
            let reason = sources(&error);
            if !cancel.is_cancelled() {
                warn!(lease = %lease.lease, reason, "attempt could not be run");
            }
            let outcome = match error {
                // No other worker would fare better: it counts as a failure of the program.
                AttemptError::Run(RunError::Job(_) | RunError::Program(_))
                | AttemptError::App(AppError::NoLine { .. }) => {
                    let stderr = Log { total_bytes: reason.len() as u64, head: reason.into_bytes() };
                    Outcome { exit: Exit::Code(CANNOT_EXECUTE), stderr, ..Outcome::not_run("") }
                }
                _ => Outcome::not_run(reason),
            };
            Ended { outcome, salt: None }
        })
    }

    async fn attempt(
        &self,
        pool: &str,
        lease: Lease,
        job: &JobSpec,
        upload_token: &UploadToken,
        events: &mpsc::UnboundedSender<Event>,
        cancel: &CancellationToken,
    ) -> Result<Ended, AttemptError> {
        let app = unless(cancel, self.apps.prepare(job.app)).await??;
        let inputs = unless(cancel, self.apps.inputs(job)).await??;
        let lines = unless(cancel, self.apps.lines(job, lease.task.index)).await??;
        let attempt = Attempt {
            job,
            task: lease.task,
            work: lease.work,
            lease: lease.lease,
            worker: self.worker,
            app_dir: &app.dir,
            entry: app.entry(),
            inputs: &inputs,
            lines: &lines,
            hosts: &app.hosts,
        };
        let progress = {
            let events = events.clone();
            move |done| drop(events.send(Event::Progress(lease.lease, done)))
        };
        let votes = matches!(job.trust, Trust::Replicate(_));
        let say = {
            let events = events.clone();
            // What is voted on nobody hears before it is shown.
            move |stream, bytes: &[u8]| {
                if !votes {
                    drop(events.send(Event::Said(lease.lease, stream, bytes.to_vec())));
                }
            }
        };
        let finished = Box::pin(self.execute(&app, &attempt, progress, say, cancel.clone())).await?;
        if votes && finished.exit == Exit::Code(0) {
            return self.vote(pool, lease, job, finished);
        }
        let files = unless(cancel, self.hand_in(&finished, upload_token)).await??;
        let Finished { exit, answer, stdout, stderr, usage, .. } = finished;
        Ok(Ended { outcome: Outcome { exit, answer, files, stdout, stderr, usage }, salt: None })
    }

    /// Keeps what the attempt came to. Nobody else sees it before the pool asks, or it could be copied.
    fn vote(&self, pool: &str, lease: Lease, job: &JobSpec, finished: Finished) -> Result<Ended, AttemptError> {
        self.votes.begin(lease.lease).map_err(AttemptError::Vote)?;
        let mut files = Vec::with_capacity(finished.files.len());
        for listed in finished.files.iter().filter(|file| is_plain_path(&file.path)) {
            let path = listed.path.clone();
            let failed = |source| AttemptError::Output { path: path.clone(), source };
            let mut output = finished.out.open(&listed.path).map_err(failed)?;
            let (digest, size) = measure(&mut output).map_err(failed)?;
            let mut kept = File::create(self.votes.output(lease.lease, files.len())).map_err(AttemptError::Vote)?;
            io::copy(&mut output, &mut kept).and_then(|_| kept.sync_all()).map_err(AttemptError::Vote)?;
            files.push(OutputFile { path: listed.path.clone(), digest, size });
        }
        let Finished { exit, answer, stdout, stderr, usage, .. } = finished;
        let outcome = Outcome { exit, answer, files, stdout, stderr, usage };
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).expect("the operating system gives random bytes");
        let vote = KeptVote { pool: pool.to_owned(), lease, job: job.clone(), outcome, salt: Salt(salt) };
        self.votes.keep(&vote).map_err(AttemptError::Vote)?;
        Ok(Ended { outcome: vote.outcome, salt: Some(vote.salt) })
    }

    /// Hands in the outputs that a vote was for. Errs if they cannot be had any more.
    pub(crate) async fn show(
        &self,
        lease: LeaseId,
        files: &[OutputFile],
        upload_token: &UploadToken,
        cancel: &CancellationToken,
    ) -> Result<(), String> {
        for (number, file) in files.iter().enumerate() {
            let path = self.votes.output(lease, number);
            let open = || {
                let failed = |source| AttemptError::Output { path: file.path.clone(), source };
                File::open(&path).map_err(failed)
            };
            let sent = unless(cancel, self.send(&file.path, file.digest, file.size, open, upload_token)).await;
            sent.map_err(AttemptError::Run).flatten().map_err(|error| sources(&error))?;
        }
        Ok(())
    }

    async fn image(&self, target: &ContainerTarget) -> Result<container::Prepared, AttemptError> {
        let mut parts = Parts::default();
        let place = match &target.image.from {
            ImageSource::Registry(name) => Place::Registry(name.clone()),
            ImageSource::Layout(layout) => {
                let archive = self.apps.part(*layout).await?;
                Place::Parts(Parts::of_layout(&archive).map_err(AttemptError::Layout)?)
            }
            ImageSource::Blobs(blobs) => {
                for OciBlob { oci, digest, size } in blobs {
                    let path = self.apps.part(SizedBlob { digest: *digest, size: *size }).await?;
                    parts.add(*oci, path).map_err(AttemptError::Layout)?;
                }
                Place::Parts(parts)
            }
        };
        let shows_app = !target.files.is_empty();
        let prepared = self.images.prepare(target.image.digest, &place, &target.arch, shows_app).await;
        prepared.map_err(|error| AttemptError::Image(Box::new(error)))
    }

    async fn machine(&self, target: &VmTarget) -> Result<Machine, AttemptError> {
        let mut machine = Machine::of(target);
        if let Some(Disk { image, format }) = target.disk {
            machine.disk = Some((self.apps.part(image).await?, format));
        }
        if let Some(kernel) = &target.kernel {
            machine.kernel = Some(self.apps.part(kernel.image).await?);
            if let Some(initrd) = kernel.initrd {
                machine.initrd = Some(self.apps.part(initrd).await?);
            }
        }
        Ok(machine)
    }

    /// Each runtime in its own way; what comes out is the same.
    async fn execute(
        &self,
        app: &PreparedApp,
        attempt: &Attempt<'_>,
        progress: impl Fn(u64) + Send + 'static,
        say: impl Fn(Stream, &[u8]) + Send + Sync + 'static,
        cancel: CancellationToken,
    ) -> Result<Finished, AttemptError> {
        match &app.target {
            Target::Process(_) => Ok(process::run_aloud(&self.sandbox, attempt, progress, say, cancel, |_| {}).await?),
            Target::Wasm(target) => {
                let entry = target.files.iter().find(|file| file.path == target.entry);
                let digest = entry.expect("a manifest is checked when it is read").digest;
                let files = target.files.iter().map(|file| (file.path.clone(), app.dir.join(&file.path)));
                let program = Program { digest, files: files.collect() };
                Ok(self.wasm.run_aloud(attempt, &program, progress, say, cancel).await?)
            }
            Target::Container(target) => {
                let image = unless(&cancel, self.image(target)).await??;
                let entrypoint = &target.entrypoint;
                Ok(container::run(&self.sandbox, attempt, &image, entrypoint, (progress, say), cancel).await?)
            }
            Target::Vm(target) => {
                let accel = self.accel.ok_or(AttemptError::NotOffered(Runtime::Vm))?;
                let machine = unless(&cancel, self.machine(target)).await??;
                Ok(vm::run(&self.sandbox, accel, attempt, &machine, &self.scratch, (progress, say), cancel).await?)
            }
        }
    }

    /// Uploads the output files. Their names and sizes were the app's to choose, so they are checked as anyone's.
    async fn hand_in(&self, finished: &Finished, upload_token: &UploadToken) -> Result<Vec<OutputFile>, AttemptError> {
        let mut files = Vec::with_capacity(finished.files.len());
        for listed in finished.files.iter().filter(|file| is_plain_path(&file.path)) {
            let path = || listed.path.clone();
            let failed = |source| AttemptError::Output { path: path(), source };
            let (digest, size) = measure(&mut finished.out.open(&listed.path).map_err(failed)?).map_err(failed)?;
            self.send(&listed.path, digest, size, || finished.out.open(&listed.path).map_err(failed), upload_token)
                .await?;
            files.push(OutputFile { path: path(), digest, size });
        }
        Ok(files)
    }

    async fn send(
        &self,
        path: &str,
        digest: Digest,
        size: u64,
        open: impl Fn() -> Result<File, AttemptError>,
        upload_token: &UploadToken,
    ) -> Result<(), AttemptError> {
        let mut patience = Patience::default();
        loop {
            let token = upload_token.read().unwrap_or_else(PoisonError::into_inner).clone();
            match upload(&self.client, &self.pool_url.get(), &token, digest, size, open()?).await {
                Ok(()) => return Ok(()),
                Err(error) if may_be_sent(&error) => {
                    info!(%error, "waiting for the pool");
                    patience.wait().await;
                }
                Err(source) => return Err(AttemptError::Upload { path: path.to_owned(), source }),
            }
        }
    }
}

/// Bearer token of the connection that stands now: uploads go on over a reconnect.
pub(crate) type UploadToken = Arc<RwLock<String>>;

/// A pool that has restarted knows the token only once this worker has connected again.
fn may_be_sent(error: &TransferError) -> bool {
    let stranger =
        matches!(error, TransferError::Status { status, .. } if *status == reqwest::StatusCode::UNAUTHORIZED);
    stranger || error.is_passing()
}

/// What shells say of a program that is there and cannot be run.
const CANNOT_EXECUTE: i32 = 126;
/// What the sandbox has to kill a cancelled attempt, which takes milliseconds.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

async fn unless<T>(cancel: &CancellationToken, work: impl Future<Output = T>) -> Result<T, RunError> {
    cancel.run_until_cancelled(work).await.ok_or(RunError::Cancelled)
}

fn measure(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(file, &mut hasher)?;
    io::Seek::rewind(file)?;
    Ok((Digest(*hasher.finalize().as_bytes()), size))
}

/// The whole chain of causes, for the one line that the pool and the job's owner will see.
fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}
