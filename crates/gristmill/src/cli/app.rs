//! `gristmill app`: make, check, publish and run apps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, CommandFactory as _, Subcommand};
use gristmill_proto::app::param::{Kind, arguments, complete};
use gristmill_proto::app::{AppManifest, Determinism, Param, Target};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::{Input, JobSpec};
use gristmill_proto::outcome::Exit;
use gristmill_proto::view::AppEntry;
use gristmill_worker::wasm::{INTERPRETER, Settings};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::job::{Asked, PoolArgs, run_to_end};
use crate::app_file::{AppToml, LocalApp};
use crate::dry_run::{Ran, Rehearsal, can_run, lints};
use crate::pool_client::PoolClient;
use crate::report::{Report, eprint_line, print_line, thousands};
use crate::roles;
use crate::templates::Template;

#[derive(Args)]
pub(super) struct AppArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a folder with everything an app needs
    Init(InitArgs),
    /// Run the build commands of an app's targets
    Build(FolderArgs),
    /// Find mistakes, run it once in the sandbox, and test what it claims
    Check(CheckArgs),
    /// Sign it and put it into a pool
    Publish(PublishArgs),
    /// List a pool's apps
    List(ListArgs),
    /// Show an app and its parameters
    Show(ShowArgs),
    /// Run an app on a pool: `gristmill app run NAME --help` tells its parameters
    #[command(disable_help_flag = true)]
    Run(RunArgs),
    /// Let no new job use a version
    Retire(ChangeArgs),
    /// As the pool's admin, let jobs use a version
    Approve(ChangeArgs),
}

#[derive(Args)]
struct InitArgs {
    /// The new folder; its last part becomes the app's name
    folder: PathBuf,
    #[arg(long, short, value_enum)]
    template: Template,
}

#[derive(Args)]
struct FolderArgs {
    /// The app's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
}

#[derive(Args)]
struct CheckArgs {
    /// The app's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// A parameter's value for the dry run
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = super::job::pair)]
    params: Vec<(String, String)>,
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct PublishArgs {
    /// The app's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The provider's key: a file of 64 hexadecimal digits [default: provider.key in $GRISTMILL_HOME, made when missing]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
struct ListArgs {
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
struct ShowArgs {
    /// NAME, NAME@VERSION or a digest
    app: String,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

#[derive(Args)]
struct RunArgs {
    /// Where the files go that the app wrote to /out [default: job-N, if there are any]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object a line instead of the app's output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
    /// Print help: after the app's name its own, which tells its parameters
    #[arg(long, short)]
    help: bool,
    /// NAME, NAME@VERSION or a digest
    #[arg(required_unless_present = "help")]
    app: Option<String>,
    /// The app's parameters, --NAME VALUE each, and after `--` arguments of your own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "--NAME VALUE")]
    rest: Vec<String>,
}

#[derive(Args)]
struct ChangeArgs {
    /// NAME@VERSION
    app: String,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pool: PoolArgs,
}

pub(super) async fn run(args: AppArgs, shutdown: CancellationToken) -> Result<()> {
    match args.command {
        Command::Init(args) => init(&args),
        Command::Build(args) => build(&args.folder),
        Command::Check(args) => {
            let report = Report::new(args.json);
            let done = Box::pin(check(&args, &report)).await;
            report.concluded(done)
        }
        Command::Publish(args) => {
            let report = Report::new(args.json);
            let done = Box::pin(publish(&args, &report)).await;
            report.concluded(done)
        }
        Command::List(args) => list(&args).await,
        Command::Show(args) => show(&args).await,
        Command::Run(args) => Box::pin(start(args, shutdown)).await,
        Command::Retire(args) => change(&args, "retire", "retired").await,
        Command::Approve(args) => change(&args, "approve", "approved").await,
    }
}

fn init(args: &InitArgs) -> Result<()> {
    let name = args.folder.file_name().and_then(|name| name.to_str()).context("the folder needs a name")?;
    if args.folder.symlink_metadata().is_ok() {
        bail!("{} is there already\n\nhint: choose a new folder", args.folder.display());
    }
    for (path, text) in args.template.files() {
        let path = args.folder.join(path);
        let folder = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text.replace("NAME", name)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    print_line(&format!("{} is an app now; README.md there says how it goes on", args.folder.display()));
    Ok(())
}

fn build(folder: &Path) -> Result<()> {
    let app = AppToml::read(folder)?;
    for command in app.builds() {
        eprint_line(command);
        let done = std::process::Command::new("sh").args(["-c", command]).current_dir(folder).status();
        let done = done.context("cannot start a shell")?;
        if !done.success() {
            bail!("`{command}` failed: {done}\n\nhint: README.md in {} says what it needs", folder.display());
        }
    }
    Ok(())
}

async fn check(args: &CheckArgs, report: &Report) -> Result<()> {
    let app = AppToml::read(&args.folder)?.prepare(&args.folder)?;
    for lint in lints(&app.manifest) {
        report.event("lint", &json!({ "text": lint }), &format!("lint: {lint}"));
    }
    let given: BTreeMap<String, String> = args.params.iter().cloned().collect();
    let values = complete(&app.manifest.params, &given)?;
    let inputs = files_of(&app.manifest.params, &values).collect::<Vec<_>>();
    let job = JobSpec {
        args: arguments(&app.manifest.args, &app.manifest.params, &values),
        limits: app.manifest.limits.clone().unwrap_or_default(),
        ..JobSpec::new(app.manifest.digest())
    };
    job.check()?;
    let rehearsal = Rehearsal::new(&app)?;
    let mut first: Option<Ran> = None;
    for target in &app.manifest.targets {
        if !can_run(target) {
            let text = format!("{}: not run, because this machine cannot without a worker", place(target));
            report.event("skipped", &json!({ "target": place(target) }), &text);
            continue;
        }
        let ran = check_target(&rehearsal, target, &job, &inputs, app.manifest.determinism, report).await?;
        if app.manifest.determinism == Determinism::Everywhere {
            if let Some(difference) = first.as_ref().and_then(|first| first.difference(&without_fuel(&ran))) {
                bail!("determinism = \"everywhere\" does not hold between targets: {difference}");
            }
            first = first.or(Some(without_fuel(&ran)));
        }
    }
    let digest = app.manifest.digest();
    report.result("checked", &json!({ "app": digest }), &format!("{} can be published", app.manifest.name));
    Ok(())
}

/// Fuel is counted for modules only.
fn without_fuel(ran: &Ran) -> Ran {
    let mut ran = ran.clone();
    ran.usage.fuel = 0;
    ran
}

async fn check_target(
    rehearsal: &Rehearsal<'_>,
    target: &Target,
    job: &JobSpec,
    inputs: &[(String, PathBuf)],
    claim: Determinism,
    report: &Report,
) -> Result<Ran> {
    let place = place(target);
    let ran = Box::pin(rehearsal.run(target, job, inputs, Settings::default())).await?;
    if ran.exit != Exit::Code(0) {
        let said = String::from_utf8_lossy(&ran.stderr);
        bail!("{place}: the dry run ended with {}\n  {}", ran.exit, said.trim_end().replace('\n', "\n  "));
    }
    let fuel = if ran.usage.fuel > 0 { format!(", {} fuel", thousands(ran.usage.fuel)) } else { String::new() };
    let text = format!("{place}: runs; {} files out, {} ms{fuel}", ran.files.len(), ran.usage.cpu_ms);
    report.event("ran", &json!({ "target": place, "usage": ran.usage, "files": ran.files }), &text);
    if claim == Determinism::None {
        return Ok(ran);
    }
    let plain = Settings::default();
    let mut ways = vec![("again", plain)];
    if matches!(target, Target::Wasm(_)) {
        ways.push(("compiled without optimisation", Settings { unoptimised: true, ..plain }));
        if INTERPRETER {
            ways.push(("interpreted", Settings { interpreted: true, ..plain }));
        }
    }
    for (way, settings) in ways {
        let again = Box::pin(rehearsal.run(target, job, inputs, settings)).await?;
        if let Some(difference) = ran.difference(&again) {
            bail!("{place}: run {way}, {difference}\n\nhint: claim less in `determinism`, or find what differs");
        }
        let text = format!("{place}: the same {way}");
        report.event("same", &json!({ "target": place, "way": way }), &text);
    }
    Ok(ran)
}

fn place(target: &Target) -> String {
    match (target.os(), target.arch()) {
        (Some(os), Some(arch)) => format!("{} on {os} {arch}", target.runtime()),
        (_, Some(arch)) => format!("{} on {arch}", target.runtime()),
        _ => target.runtime().to_string(),
    }
}

/// Parameters that are files: below `/in` under their own names.
fn files_of<'a>(
    params: &'a [Param],
    values: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (String, PathBuf)> + 'a {
    let files = params.iter().filter(|param| param.kind == Kind::File);
    files.filter_map(|param| Some((param.name.clone(), PathBuf::from(values.get(&param.name)?))))
}

async fn publish(args: &PublishArgs, report: &Report) -> Result<()> {
    let LocalApp { manifest, blobs } = AppToml::read(&args.folder)?.prepare(&args.folder)?;
    let file = match &args.key {
        Some(file) if !file.exists() => bail!("there is no key in {}\n\nhint: leave --key out", file.display()),
        Some(file) => file.clone(),
        None => {
            let home = roles::home()?;
            std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
            home.join("provider.key")
        }
    };
    let manifest = manifest.signed(&gristmill_worker::load_key(&file)?);
    let pool = args.pool.client()?;
    for path in blobs.values() {
        pool.upload_file(path).await?;
    }
    let app = pool.publish(&manifest, &[]).await?;
    let entry = pool.publish_name(app).await?;
    let text = format!("{}@{} is {}", entry.name, entry.version, entry.app);
    report.result("published", &entry, &text);
    Ok(())
}

async fn list(args: &ListArgs) -> Result<()> {
    let apps = args.pool.reader().apps().await?;
    if args.json {
        apps.iter().try_for_each(|app| serde_json::to_string(app).map(|line| print_line(&line)))?;
        return Ok(());
    }
    if apps.is_empty() {
        eprint_line("no app yet: make one with `gristmill app init`");
        return Ok(());
    }
    print_line(&format!("{:<32} {:<10} {:<18} {}", "app", "digest", "state", "provider"));
    for entry in apps {
        let AppEntry { app, name, version, provider, approved, retired, .. } = entry;
        let state = match (retired, approved) {
            (true, _) => "retired",
            (_, true) => "approved",
            _ => "",
        };
        let provider = provider.map_or_else(String::new, |provider| provider.to_string());
        let line = format!("{:<32} {:<10} {state:<18} {provider}", format!("{name}@{version}"), app.short());
        print_line(line.trim_end());
    }
    Ok(())
}

/// The digest and manifest of an app that the pool has.
async fn find(pool: &PoolClient, name: &str) -> Result<(Digest, AppManifest)> {
    let digest = match name.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => pool.app_named(name).await?.app,
    };
    let bytes = pool.blob(digest, gristmill_proto::app::MANIFEST_BYTES_MAX).await?;
    let manifest = AppManifest::from_json(&bytes).with_context(|| format!("{digest} is no app"))?;
    Ok((digest, manifest))
}

async fn show(args: &ShowArgs) -> Result<()> {
    let (digest, manifest) = find(&args.pool.reader(), &args.app).await?;
    if args.json {
        print_line(&json!({ "app": digest, "manifest": manifest }).to_string());
        return Ok(());
    }
    print_line(&format!("{}@{}  {digest}", manifest.name, manifest.version));
    for (title, text) in [("about", &manifest.description), ("licence", &manifest.licence)] {
        if !text.is_empty() {
            print_line(&format!("  {title:<10} {text}"));
        }
    }
    if let Some(provider) = manifest.provider {
        print_line(&format!("  {:<10} {provider}", "provider"));
    }
    for target in &manifest.targets {
        print_line(&format!("  {:<10} {}", "runs as", place(target)));
    }
    params_in_words(&manifest.params).iter().for_each(|line| print_line(line));
    Ok(())
}

fn params_in_words(params: &[Param]) -> Vec<String> {
    let line = |param: &Param| {
        let kind = match param.kind {
            Kind::Flag => String::new(),
            Kind::Choice => format!(" {}", param.choices.join("|")),
            Kind::File => " FILE".to_owned(),
            Kind::Integer | Kind::Number => " NUMBER".to_owned(),
            Kind::Text => " TEXT".to_owned(),
        };
        let bounds = match (param.min, param.max) {
            (Some(min), Some(max)) => format!(" [{min} to {max}]"),
            (Some(min), None) => format!(" [at least {min}]"),
            (None, Some(max)) => format!(" [at most {max}]"),
            (None, None) => String::new(),
        };
        let default = match &param.default {
            Some(default) => format!(" [default: {default}]"),
            None if param.optional || param.kind == Kind::Flag => String::new(),
            None => " [must be given]".to_owned(),
        };
        format!("  {:<24} {}{bounds}{default}", format!("--{}{kind}", param.name), param.description)
            .trim_end()
            .to_owned()
    };
    params.iter().map(line).collect()
}

/// `--name value`, `--name=value` and `--flag` after the app's name, and what follows `--`.
fn parse(params: &[Param], rest: &[String]) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut values, mut rest) = (BTreeMap::new(), rest.iter());
    while let Some(word) = rest.next() {
        if word == "--" {
            return Ok((values, rest.cloned().collect()));
        }
        let Some(named) = word.strip_prefix("--") else {
            bail!(
                "`{word}` is no parameter\n\nhint: give parameters as --NAME VALUE, and the app's arguments after --"
            );
        };
        let (name, value) = named.split_once('=').map_or((named, None), |(name, value)| (name, Some(value)));
        let is_flag = params.iter().any(|param| param.name == name && param.kind == Kind::Flag);
        let value = match value {
            Some(value) => value.to_owned(),
            None if is_flag => "true".to_owned(),
            None => rest.next().cloned().ok_or_else(|| anyhow!("--{name} needs a value"))?,
        };
        values.insert(name.to_owned(), value);
    }
    Ok((values, Vec::new()))
}

/// The command's, where no app is named.
fn own_help() -> Result<()> {
    let mut command = super::Cli::command();
    let run = command.find_subcommand_mut("app").and_then(|app| app.find_subcommand_mut("run"));
    print_line(&run.context("this command is there")?.render_help().to_string());
    Ok(())
}

async fn start(args: RunArgs, shutdown: CancellationToken) -> Result<()> {
    let report = Report::new(args.json);
    let Some(app) = &args.app else { return own_help() };
    let work = async {
        let (digest, manifest) = find(&args.pool.reader(), app).await?;
        let asks_for_help = |word: &String| word == "--help" || word == "-h";
        if args.help || args.rest.iter().take_while(|word| *word != "--").any(asks_for_help) {
            let AppManifest { name, version, description, params, .. } = &manifest;
            print_line(&format!("{name}@{version}: {description}"));
            print_line(&format!("\nUsage: gristmill app run {app} [--NAME VALUE]... [-- ARGUMENTS]\n"));
            params_in_words(params).iter().for_each(|line| print_line(line));
            return Ok(());
        }
        let (given, own) = parse(&manifest.params, &args.rest)?;
        let values = complete(&manifest.params, &given)?;
        let pool = args.pool.client()?;
        let mut inputs = Vec::new();
        for (path, file) in files_of(&manifest.params, &values) {
            inputs.push(Input { path, digest: pool.upload_file(&file).await? });
        }
        let job = JobSpec {
            args: arguments(&manifest.args, &manifest.params, &values).into_iter().chain(own).collect(),
            inputs,
            require: manifest.requirements(),
            limits: manifest.limits.unwrap_or_default(),
            retries: 0,
            ..JobSpec::new(digest)
        };
        let asked = Asked { job, out: args.out, json: args.json };
        run_to_end(&pool, asked, &report, &shutdown).await
    };
    let done = Box::pin(work).await;
    report.concluded(done)
}

async fn change(args: &ChangeArgs, verb: &str, done: &str) -> Result<()> {
    let pool = args.pool.client()?;
    let digest = match args.app.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) if !args.app.contains('@') => {
            bail!("which version of {}?\n\nhint: write {0}@VERSION; `gristmill app list` shows them", args.app)
        }
        Err(_) => pool.app_named(&args.app).await?.app,
    };
    let entry = pool.change_app(digest, verb).await?;
    Report::new(args.json).result(done, &entry, &format!("{}@{} is {done}", entry.name, entry.version));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_they_are_typed() {
        let param = |name: &str, kind| Param {
            name: name.into(),
            description: String::new(),
            kind,
            default: None,
            optional: true,
            min: None,
            max: None,
            choices: vec![],
        };
        let params = [param("limit", Kind::Integer), param("loud", Kind::Flag)];
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (values, own) = parse(&params, &words("--limit 5 --loud -- a --b")).unwrap();
        assert_eq!(values, [("limit", "5"), ("loud", "true")].map(|(n, v)| (n.to_owned(), v.to_owned())).into());
        assert_eq!(own, ["a", "--b"]);
        assert_eq!(parse(&params, &words("--limit=-5 --loud=false")).unwrap().0["limit"], "-5");
        for wrong in ["5", "--limit"] {
            assert!(parse(&params, &words(wrong)).is_err(), "{wrong}");
        }
    }
}
