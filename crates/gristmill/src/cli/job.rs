//! Jobs from a shell: submit, watch, fetch, and why one does not run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use gristmill_proto::codec;
use gristmill_proto::id::{JobId, WorkerId};
use gristmill_proto::job::{Input, JobSpec, Replicate, Resources, Trust};
use gristmill_proto::outcome::{Exit, Log, Outcome, Usage};
use gristmill_proto::receipt::{ReceiptFile, digest_of_job};
use gristmill_proto::requirement::Requirement;
use gristmill_proto::view::{AttemptView, JobState, JobView, Verdict, WhyJob, WhyWorker};
use gristmill_proto::vote::Fraction;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::job_file::{self, JobFile};
use crate::pool_client::{PoolClient, read_token};
use crate::report::{Interrupted, Report, duration, eprint_line, print_line, thousands};
use crate::roles;

/// One machine on which the program fails says little where several run it.
const REPLICA_RETRIES: u32 = 3;

#[derive(Args)]
pub(super) struct PoolArgs {
    /// The pool
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7117", env = "GRISTMILL_POOL")]
    pool: String,
    /// The pool's token: the file `token` in the scheduler's folder [default: that of this machine's scheduler]
    #[arg(long, value_name = "FILE", env = "GRISTMILL_POOL_TOKEN")]
    pool_token: Option<PathBuf>,
}

impl PoolArgs {
    /// For what needs no token.
    pub(super) fn reader(&self) -> PoolClient {
        PoolClient::new(&self.pool, "")
    }

    pub(super) fn client(&self) -> Result<PoolClient> {
        let file = match &self.pool_token {
            Some(file) => file.clone(),
            None => roles::home()?.join("scheduler").join("token"),
        };
        let token = read_token(&file).map_err(|error| anyhow!("{error:#}\n\nhint: name the file with --pool-token"))?;
        Ok(PoolClient::new(&self.pool, &token))
    }
}

#[derive(Args)]
pub(super) struct SubmitArgs {
    /// The job, in TOML or JSON
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the JSON schema of job files
    #[arg(long, exclusive = true)]
    schema: bool,
    /// Stay until it has ended
    #[arg(long)]
    watch: bool,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
pub(super) struct RunArgs {
    /// The digest of an app, `vanity`, or the path of a program
    app: String,
    /// What the program is given
    #[arg(last = true)]
    args: Vec<String>,
    /// A file the program finds below /in
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = pair)]
    inputs: Vec<(String, String)>,
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Where the files go that the program wrote to /out [default: job-N, if there are any]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Slots of the worker to take
    #[arg(long, default_value_t = 1)]
    cores: u32,
    /// A condition on the worker, such as `site == lyon`
    #[arg(long, value_name = "CONDITION")]
    require: Vec<Requirement>,
    /// Have several workers vote on the result, so that it is wrong with at most this probability; see docs/trust.md
    #[arg(long, value_name = "SHARE", value_parser = super::scheduler::fraction)]
    max_error: Option<Fraction>,
    /// One JSON object a line instead of the program's output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
pub(super) struct JobsArgs {
    /// How many, the newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
pub(super) struct JobArgs {
    job: JobId,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
pub(super) struct FetchArgs {
    job: JobId,
    /// Where to put it: a folder for each task, and what it said beside that [default: job-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
pub(super) struct WhyArgs {
    /// A job's number or a worker's id
    what: What,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Clone, Debug)]
enum What {
    Job(JobId),
    Worker(WorkerId),
}

impl std::str::FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let job = || text.parse().map(Self::Job);
        job()
            .or_else(|_| text.parse().map(Self::Worker))
            .map_err(|_| "expected a job's number, or a worker's id of 0x and 40 hexadecimal digits".to_owned())
    }
}

#[derive(Args)]
pub(super) struct ReceiptArgs {
    job: JobId,
    task: u64,
    /// Where to write it [default: receipt-JOB-TASK.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// A receipt, as `gristmill receipt` wrote it
    file: PathBuf,
    #[arg(long)]
    json: bool,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn submit(args: SubmitArgs, shutdown: CancellationToken) -> Result<()> {
    let Some(file) = args.file else {
        print_line(JobFile::schema().trim_end());
        return Ok(());
    };
    let report = Report::new(args.json);
    let work = async {
        let pool = args.pool.client()?;
        let base = file.parent().unwrap_or(Path::new("."));
        let spec = JobFile::read(&file)?.prepare(base, &pool).await?;
        let submitted = pool.submit(&spec).await?;
        let id = submitted.id;
        let facts = json!({ "job": id, "known": submitted.known, "tasks": spec.tasks });
        if args.watch {
            report.event("submitted", &facts, &format!("job {id} of {} tasks", thousands(spec.tasks)));
            return watch_until_end(&pool, id, &report, &shutdown).await.and_then(|view| conclude(&view, &report));
        }
        report.result("submitted", &facts, &id.to_string());
        Ok(())
    };
    let done = Box::pin(work).await;
    report.concluded(done)
}

pub(super) async fn run(args: RunArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.json);
    let work = async {
        let pool = args.pool.client()?;
        let here = Path::new(".");
        let mut inputs = Vec::new();
        for (path, file) in &args.inputs {
            inputs.push(Input { path: path.clone(), digest: pool.upload_file(Path::new(file)).await? });
        }
        let spec = JobSpec {
            args: args.args,
            env: args.env.into_iter().collect(),
            inputs,
            require: args.require,
            resources: Resources { cores: args.cores, ..Resources::default() },
            retries: if args.max_error.is_some() { REPLICA_RETRIES } else { 0 },
            trust: args.max_error.map_or(Trust::Pool, |share| Trust::Replicate(Replicate::new(share))),
            ..JobSpec::new(job_file::app(&args.app, here, &pool).await?)
        };
        let asked = Asked { job: spec, out: args.out, json: args.json };
        run_to_end(&pool, asked, &report, &shutdown).await
    };
    let done = Box::pin(work).await;
    report.concluded(done)
}

/// A job of one task whose result is wanted here.
pub(super) struct Asked {
    pub(super) job: JobSpec,
    pub(super) out: Option<PathBuf>,
    pub(super) json: bool,
}

/// Submits it, waits, and shows what came out.
pub(super) async fn run_to_end(
    pool: &PoolClient,
    asked: Asked,
    report: &Report,
    shutdown: &CancellationToken,
) -> Result<()> {
    asked.job.check()?;
    let id = pool.submit(&asked.job).await?.id;
    report.event("submitted", &json!({ "job": id }), "");
    let view = watch_until_end(pool, id, report, shutdown).await?;
    if view.state != JobState::Done {
        bail!("job {id} {}: {}", state_word(view.state), view.reason.unwrap_or_default());
    }
    let attempt = certified(pool, id, 0).await?.context("the result is gone")?;
    let files = attempt.outcome.files.len() + usize::from(attempt.outcome.answer.is_some());
    let folder = asked.out.unwrap_or_else(|| PathBuf::from(format!("job-{id}")));
    let written = if files > 0 { write_files(pool, &folder, &attempt.outcome).await? } else { Vec::new() };
    for path in &written {
        report.event("file", &json!({ "path": path }), &format!("wrote {}", path.display()));
    }
    let text = |log: &Log| String::from_utf8_lossy(&log.head).into_owned();
    let Outcome { stdout, stderr, usage, .. } = &attempt.outcome;
    if asked.json {
        let facts = json!({
            "job": id, "worker": attempt.worker, "stdout": text(stdout), "stderr": text(stderr),
            "files": written, "usage": usage,
        });
        report.result("result", &facts, "");
    } else {
        report.done();
        print_bytes(&stdout.head)?;
        eprint_line(text(stderr).trim_end());
    }
    Ok(())
}

fn print_bytes(bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    Ok(std::io::stdout().write_all(bytes)?)
}

/// The attempt whose result the task has.
async fn certified(pool: &PoolClient, job: JobId, task: u64) -> Result<Option<AttemptView>> {
    let attempts = pool.attempts(job, task).await?;
    Ok(attempts.into_iter().find(|attempt| attempt.verdict == Verdict::Certified))
}

/// A name that somebody else chose takes the place of nothing that is there.
fn is_free(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        bail!("{} is there already\n\nhint: choose another folder with --out", path.display());
    }
    Ok(())
}

/// Writes what the program left below `/out`.
async fn write_files(pool: &PoolClient, folder: &Path, outcome: &Outcome) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = Vec::new();
    if let Some(answer) = &outcome.answer {
        let path = folder.join("result");
        is_free(&path)?;
        std::fs::write(&path, answer).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    for file in &outcome.files {
        // The pool refuses paths that climb out; a hostile pool is not believed either.
        if !gristmill_proto::app::is_plain_path(&file.path) {
            bail!("the pool names an output `{}`, which is no plain path", file.path);
        }
        let path = folder.join(&file.path);
        is_free(&path)?;
        pool.download(file.digest, file.size, &path).await?;
        written.push(path);
    }
    Ok(written)
}

async fn watch_until_end(
    pool: &PoolClient,
    id: JobId,
    report: &Report,
    shutdown: &CancellationToken,
) -> Result<JobView> {
    let mut pictures = Box::pin(pool.watch(id).await?);
    let mut last = None;
    loop {
        let picture = tokio::select! {
            picture = pictures.next() => picture,
            () = shutdown.cancelled() => {
                let text = format!("job {id} goes on; see it with: gristmill watch {id}");
                return Err(Interrupted(text).into());
            }
        };
        let Some(view) = picture.transpose()? else { break };
        let line = progress_line(&view);
        report.progress("progress", &json!({ "job": id, "tasks": view.tasks, "state": view.state }), &line);
        if view.state.is_final() {
            return Ok(view);
        }
        last = Some(view);
    }
    Err(anyhow!("the pool went away{}", last.map_or("", |_| " before the job had ended")))
}

fn progress_line(view: &JobView) -> String {
    let tasks = &view.tasks;
    let failed = if tasks.failed > 0 { format!(" · {} failed", thousands(tasks.failed)) } else { String::new() };
    let on = if view.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", view.workers) };
    format!(
        "{} of {} tasks done{failed} · {} running on {on}",
        thousands(tasks.done),
        thousands(tasks.total),
        tasks.running
    )
}

/// Says how the job ended; an error if it did not end well.
fn conclude(view: &JobView, report: &Report) -> Result<()> {
    let reason = view.reason.clone().unwrap_or_default();
    if view.state != JobState::Done {
        bail!("job {} {}: {reason}", view.id, state_word(view.state));
    }
    let line = format!("job {} is done: {} tasks", view.id, thousands(view.tasks.done));
    report.result("done", &json!({ "job": view.id, "tasks": view.tasks }), &line);
    Ok(())
}

fn state_word(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "waits",
        JobState::Running => "runs",
        JobState::Done => "is done",
        JobState::Failed => "failed",
        JobState::Cancelled => "was cancelled",
    }
}

pub(super) async fn watch(args: JobArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.json);
    let ended = watch_until_end(&args.pool.reader(), args.job, &report, &shutdown).await;
    report.concluded(ended.and_then(|view| conclude(&view, &report)))
}

pub(super) async fn jobs(args: JobsArgs) -> Result<()> {
    let views = args.pool.reader().jobs(args.limit).await?;
    if args.json {
        views.iter().try_for_each(|view| serde_json::to_string(view).map(|line| print_line(&line)))?;
        return Ok(());
    }
    if views.is_empty() {
        eprint_line("no job yet: submit one with `gristmill submit` or `gristmill run`");
        return Ok(());
    }
    print_line(&format!("{:>8}  {:<10} {:>14} {:>14} {:>8}  {}", "job", "state", "done", "tasks", "running", "reason"));
    for view in views {
        let state = format!("{:?}", view.state).to_lowercase();
        let (done, tasks) = (thousands(view.tasks.done), thousands(view.tasks.total));
        let reason = view.reason.unwrap_or_default();
        let line = format!("{:>8}  {state:<10} {done:>14} {tasks:>14} {:>8}  {reason}", view.id, view.tasks.running);
        print_line(line.trim_end());
    }
    Ok(())
}

pub(super) async fn job(args: JobArgs) -> Result<()> {
    let pool = args.pool.reader();
    let (view, failures) = (pool.job(args.job).await?, pool.failures(args.job).await?);
    if args.json {
        print_line(&json!({ "job": view, "failures": failures }).to_string());
        return Ok(());
    }
    print_line(&format!("job {} {}", view.id, state_word(view.state)));
    if let Some(reason) = &view.reason {
        print_line(&format!("  because   {reason}"));
    }
    print_line(&format!("  app       {}", view.app));
    let tasks = &view.tasks;
    print_line(&format!(
        "  tasks     {} done, {} running, {} waiting, {} with a verdict to come, {} failed, of {}",
        thousands(tasks.done),
        thousands(tasks.running),
        thousands(tasks.waiting),
        thousands(tasks.pending),
        thousands(tasks.failed),
        thousands(tasks.total)
    ));
    for failure in failures.iter().take(10) {
        print_line(&format!("  failed    task {} on {}: {}", failure.task, failure.worker, failure.reason));
    }
    if !view.state.is_final() {
        print_line(&format!("\nhint: gristmill why {} tells what it waits for", view.id));
    }
    Ok(())
}

pub(super) async fn cancel(args: JobArgs) -> Result<()> {
    args.pool.client()?.cancel(args.job).await?;
    let view = args.pool.reader().job(args.job).await?;
    Report::new(args.json).result("cancelled", &view, &format!("job {} {}", view.id, state_word(view.state)));
    Ok(())
}

/// Of a job with more tasks, only those with an answer or files are fetched, as many as the pool shows.
const TASKS_FETCHED_MAX: u64 = 10_000_000;
/// Tasks fetched at once.
const FETCHING: usize = 16;

pub(super) async fn fetch(args: FetchArgs) -> Result<()> {
    let report = Report::new(args.json);
    let pool = args.pool.reader();
    let view = pool.job(args.job).await?;
    let folder = args.out.unwrap_or_else(|| PathBuf::from(format!("job-{}", args.job)));
    let total = view.tasks.total;
    // A search may have more tasks than anyone can count through; its answers are with the job.
    let all: Box<dyn Iterator<Item = u64> + Send> = if total <= TASKS_FETCHED_MAX {
        Box::new(0..total)
    } else {
        Box::new(view.results.iter().map(|result| result.task).collect::<Vec<_>>().into_iter())
    };
    let fetched = stream::iter(all).map(|task| fetch_task(&pool, args.job, task, &folder)).buffer_unordered(FETCHING);
    let mut counted = Box::pin(fetched);
    let (mut tasks, mut looked) = (0_u64, 0_u64);
    while let Some(had_result) = counted.try_next().await? {
        (tasks, looked) = (tasks + u64::from(had_result), looked + 1);
        if looked.is_multiple_of(100) {
            let line = format!("{} of {} tasks looked at", thousands(looked), thousands(total));
            report.progress("progress", &json!({ "looked_at": looked, "tasks": total }), &line);
        }
    }
    let facts = json!({ "job": args.job, "folder": folder, "tasks": tasks, "state": view.state });
    let open = if view.state.is_final() { "" } else { "; the job goes on" };
    report.result("fetched", &facts, &format!("{} results in {}{open}", thousands(tasks), folder.display()));
    Ok(())
}

/// Whether the task had a result to fetch.
async fn fetch_task(pool: &PoolClient, job: JobId, task: u64, folder: &Path) -> Result<bool> {
    let Some(attempt) = certified(pool, job, task).await? else { return Ok(false) };
    write_files(pool, &folder.join(task.to_string()), &attempt.outcome).await?;
    for (name, log) in [("stdout", &attempt.outcome.stdout), ("stderr", &attempt.outcome.stderr)] {
        if !log.head.is_empty() {
            let path = folder.join(format!("{task}.{name}"));
            is_free(&path)?;
            std::fs::write(&path, &log.head).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(true)
}

pub(super) async fn why(args: WhyArgs) -> Result<()> {
    let pool = args.pool.reader();
    match args.what {
        What::Job(id) => {
            let view = pool.job(id).await?;
            if view.state.is_final() {
                let reason = view.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let text = format!("job {id} {}{reason}", state_word(view.state));
                Report::new(args.json).result("why", &view, &text);
                return Ok(());
            }
            let why = pool.why_job(id).await?;
            Report::new(args.json).result("why", &why, &why_text(&why));
        }
        What::Worker(id) => {
            let why = pool.why_worker(id).await?;
            Report::new(args.json).result("why", &why, &why_worker_text(&why));
        }
    }
    Ok(())
}

fn why_text(why: &WhyJob) -> String {
    let mut lines = vec![format!("job {} waits because: {}", why.job, why.reason)];
    if why.tasks.waiting == 0 {
        lines[0] = format!("job {}: {}", why.job, why.reason);
    }
    if !why.hint.is_empty() {
        lines.push(format!("try: {}", why.hint));
    }
    let tasks = &why.tasks;
    lines.push(String::new());
    lines.push(format!(
        "{:>8} tasks wait, {} run, {} are done",
        thousands(tasks.waiting),
        thousands(tasks.running),
        thousands(tasks.done)
    ));
    lines.push(format!("{:>8} workers connected, of which", why.workers));
    lines.extend(why.conditions.iter().map(|condition| format!("{:>8} have {}", condition.admits, condition.asks)));
    lines.push(format!("{:>8} have all of it, {} with room now", why.able, why.idle));
    if !why.excluded.is_empty() || !why.avoided.is_empty() {
        lines.push(format!(
            "{:>8} are excluded for bad results, {} saw the program fail",
            why.excluded.len(),
            why.avoided.len()
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    lines.extend(why.expected_ms.map(|ms| format!("about {} of work for all of them", duration(ms as f64 / 1e3))));
    lines.join("\n")
}

fn why_worker_text(why: &WhyWorker) -> String {
    let connected = if why.connected { "connected" } else { "not connected" };
    let mut lines = vec![format!(
        "worker {}: {connected}, {} attempts on {} slots, {} leases wait there",
        why.worker, why.running, why.slots, why.ahead
    )];
    let labels = why.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    lines.push(format!("labels: {}", labels.join(" ")));
    if why.jobs.is_empty() {
        lines.push("no job has tasks to give".to_owned());
    }
    lines.extend(why.jobs.iter().map(|(job, reason)| format!("job {job}: {reason}")));
    lines.join("\n")
}

pub(super) async fn receipt(args: ReceiptArgs) -> Result<()> {
    let pool = args.pool.reader();
    let attempt = certified(&pool, args.job, args.task).await?;
    let attempt = attempt.with_context(|| format!("task {} of job {} has no certified result", args.task, args.job))?;
    let file = pool.receipt(args.job, args.task, attempt.lease).await?;
    let path = args.out.unwrap_or_else(|| PathBuf::from(format!("receipt-{}-{}.json", args.job, args.task)));
    std::fs::write(&path, serde_json::to_vec_pretty(&file)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    print_line(&path.display().to_string());
    Ok(())
}

/// What an attempt took, as far as its runtime counts it.
fn used(usage: &Usage) -> String {
    let counted = [
        (usage.fuel, "fuel"),
        (usage.disk_read_bytes, "bytes read from disk"),
        (usage.disk_written_bytes, "bytes written to disk"),
        (usage.network_received_bytes, "bytes received"),
        (usage.network_sent_bytes, "bytes sent"),
    ];
    let mut text = format!(
        "{} ms of wall-clock time, {} ms of processor time, {} bytes of memory",
        usage.wall_ms, usage.cpu_ms, usage.memory_peak_bytes
    );
    for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!(", {count} {what}");
    }
    text
}

/// Checks a receipt without asking anyone.
pub(super) fn verify(args: &VerifyArgs) -> Result<()> {
    let text = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let ReceiptFile { worker, receipt, job, outcome } =
        serde_json::from_slice(&text).with_context(|| format!("{} is no receipt", args.file.display()))?;
    let statement = &receipt.statement;
    if statement.job != digest_of_job(&job) || statement.app != job.app {
        bail!("the receipt is for another job than the one beside it");
    }
    if statement.outcome != gristmill_proto::digest::Digest::of(&outcome) {
        bail!("the receipt is for another outcome than the one beside it");
    }
    if receipt.signer() != Some(worker) {
        bail!("worker {worker} did not sign this receipt: it was altered, or is somebody else's");
    }
    let outcome: Outcome = codec::decode(&outcome, outcome.len()).context("the outcome cannot be read")?;
    let exit = match &outcome.exit {
        Exit::Code(0) => "ended well".to_owned(),
        exit => exit.to_string(),
    };
    let facts = json!({
        "worker": worker, "pool": statement.pool, "task": statement.task, "lease": statement.lease,
        "app": statement.app, "args": job.args, "inputs": job.inputs, "outcome": outcome,
    });
    let mut lines = vec![
        format!("worker    {worker}  signed this"),
        format!("pool      {}", statement.pool),
        format!("task      {}, lease {}", statement.task, statement.lease),
        format!("app       {}", statement.app),
        format!("arguments {}", job.args.join(" ")),
    ];
    lines.extend(job.inputs.iter().map(|input| format!("input     {}  {}", input.path, input.digest)));
    lines.push(format!("outcome   {exit}"));
    lines.extend(outcome.answer.iter().map(|answer| format!("answer    0x{}", hex::encode(answer))));
    lines.extend(outcome.files.iter().map(|file| format!("output    {}  {}", file.path, file.digest)));
    lines.push(format!("used      {}", used(&outcome.usage)));
    lines.push(String::new());
    lines
        .push("It proves that this worker said so, of this app, these arguments and inputs, for this pool.".to_owned());
    lines.push(
        "It does not prove that the worker said the truth: that is what the pool's certificate is for.".to_owned(),
    );
    Report::new(args.json).result("receipt", &facts, &lines.join("\n"));
    Ok(())
}
