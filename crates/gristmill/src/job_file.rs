//! Job files: what `gristmill submit` reads. TOML or JSON with the fields of a job, and three conveniences: `app` may be
//! a program of this machine, an input may be a file of this machine, and a value of the array may be the lines of one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use gristmill_proto::app::{AppFile, AppManifest, ProcessTarget, Target};
use gristmill_proto::array::{Lines, Range, Values, combinations};
use gristmill_proto::digest::Digest;
use gristmill_proto::job::{DoneWhen, Input, JobSpec, Limits, Resources, Trust};
use gristmill_proto::requirement::Requirement;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pool_client::PoolClient;

/// A job of gristmill, as `gristmill submit` reads it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// A name, a digest, `vanity`, or the path of a program.
    pub app: String,
    /// What the program is given. `{task}`, `{worker}` and the names of the array stand for their values in each task.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files that the program finds below /in.
    #[serde(default)]
    pub inputs: Vec<FileInput>,
    /// How many tasks the job has; one, or as many as the array has combinations, if this is left out.
    pub tasks: Option<u64>,
    /// Values by name: a task for every combination.
    #[serde(default)]
    pub array: BTreeMap<String, FileValues>,
    /// When the job is done.
    #[serde(default)]
    pub done_when: DoneWhen,
    /// How a result becomes certified.
    #[serde(default)]
    pub trust: Trust,
    /// What one attempt may use at most.
    #[serde(default)]
    pub limits: Limits,
    /// What one attempt takes of its worker, beside the memory that `limits` name.
    #[serde(default)]
    pub resources: Resources,
    /// Conditions on the worker's labels; `os`, `arch`, `name`, `version`, `slots` and `gpus` are there by themselves.
    #[serde(default)]
    pub require: Vec<Requirement>,
    /// On whose account it runs: users share the pool, however many jobs each has.
    #[serde(default)]
    pub user: String,
    /// Among the user's own jobs. A job with a priority of one less waits ten minutes longer.
    #[serde(default)]
    pub priority: i8,
    /// Seconds from now.
    pub deadline_s: Option<u64>,
    /// Tasks that may fail for good before the job is given up.
    #[serde(default)]
    pub failed_max: u64,
    /// Attempts that may fail, per task, before the task does.
    pub retries: Option<u32>,
    /// Your own name for the job: the same name submitted again is the same job.
    pub external_id: Option<String>,
    /// For people and pages.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileInput {
    /// Below `/in`.
    pub path: String,
    /// A blob that the pool has.
    pub digest: Option<Digest>,
    /// A file of this machine, from the job file's folder.
    pub file: Option<PathBuf>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FileValues {
    List(Vec<Word>),
    Range(Range),
    Lines(LinesOfFile),
}

/// A value of a list: numbers need no quotes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Word {
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinesOfFile {
    /// A file of this machine: a value for each of its lines.
    pub lines_of: PathBuf,
}

impl JobFile {
    /// The JSON schema of job files, for editors and other programs.
    pub fn schema() -> String {
        serde_json::to_string_pretty(&schemars::schema_for!(Self)).expect("a schema is JSON") + "\n"
    }

    /// Reads a file by its ending: `.json` is JSON, everything else TOML.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let parsed = if path.extension().is_some_and(|ending| ending == "json") {
            serde_json::from_str(&text).map_err(|error| anyhow!("{error}"))
        } else {
            toml::from_str(&text).map_err(|error| anyhow!("{error}"))
        };
        parsed.with_context(|| format!("{} is no job", path.display()))
    }

    /// The job itself. What it needs of this machine is put into the pool; paths are meant from `base`.
    pub async fn prepare(self, base: &Path, pool: &PoolClient) -> Result<JobSpec> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for FileInput { path, digest, file } in self.inputs {
            let digest = match (digest, file) {
                (Some(digest), None) => digest,
                (None, Some(file)) => pool.upload_file(&base.join(file)).await?,
                _ => bail!("input `{path}` needs either a `digest` or a `file`"),
            };
            inputs.push(Input { path, digest });
        }
        let mut array = BTreeMap::new();
        for (name, values) in self.array {
            array.insert(name, values.prepare(base, pool).await?);
        }
        let found = combinations(&array).context("the array has more combinations than can be counted")?;
        let tasks = match self.tasks {
            Some(tasks) if !array.is_empty() && tasks != found => {
                bail!("`tasks` says {tasks}, and the array has {found} combinations\n\nhint: leave `tasks` out")
            }
            Some(tasks) => tasks,
            None => found,
        };
        let new = JobSpec::new(app(&self.app, base, pool).await?);
        let spec = JobSpec {
            args: self.args,
            env: self.env,
            inputs,
            tasks,
            array,
            done_when: self.done_when,
            trust: self.trust,
            limits: self.limits,
            resources: self.resources,
            require: self.require,
            user: self.user,
            priority: self.priority,
            deadline_ms: self.deadline_s.map(crate::clock::in_seconds),
            failed_max: self.failed_max,
            retries: self.retries.unwrap_or(new.retries),
            external_id: self.external_id,
            labels: self.labels,
            ..new
        };
        spec.check()?;
        Ok(spec)
    }
}

impl FileValues {
    async fn prepare(self, base: &Path, pool: &PoolClient) -> Result<Values> {
        Ok(match self {
            Self::List(words) => Values::List(words.into_iter().map(Word::into_text).collect()),
            Self::Range(range) => Values::Range(range),
            Self::Lines(LinesOfFile { lines_of }) => {
                let path = base.join(lines_of);
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Values::Lines(Lines { file: pool.upload_file(&path).await?, count: text.lines().count() as u64 })
            }
        })
    }
}

impl Word {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

const NO_APP: &str = "give an app's name or digest, `vanity`, or the path of a program";

/// The digest of an app that the pool has by then.
pub async fn app(name: &str, base: &Path, pool: &PoolClient) -> Result<Digest> {
    if let Ok(digest) = name.parse::<Digest>() {
        return Ok(digest);
    }
    if name == "vanity" {
        return Ok(crate::embedded::vanity_manifest().digest());
    }
    let path = base.join(name);
    if !path.exists() && !name.contains('/') {
        return Ok(pool.app_named(name).await.with_context(|| format!("`{name}` is no app\n\nhint: {NO_APP}"))?.app);
    }
    let program = std::fs::read(&path).with_context(|| format!("`{name}` is no app\n\nhint: {NO_APP}"))?;
    let file_name = path.file_name().context("a program has a name")?.to_string_lossy().into_owned();
    let file =
        AppFile { path: file_name.clone(), digest: Digest::of(&program), size: program.len() as u64, executable: true };
    let target = Target::Process(ProcessTarget {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        entry: file_name.clone(),
        files: vec![file.clone()],
    });
    let manifest = AppManifest::new(file_name, "0", vec![target]);
    pool.publish(&manifest, &[(&file.digest, program)]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JobFile> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.toml");
        std::fs::write(&path, text).unwrap();
        JobFile::read(&path)
    }

    #[test]
    fn a_job_file_is_read() {
        let file = parse(
            "app = \"./render\"\nargs = [\"--frame\", \"{frame}\"]\nrequire = [\"site == lyon\"]\n\
             [array]\nframe = { from = 1, to = 24 }\nscene = [\"a\", 2]\nline = { lines_of = \"x.txt\" }\n\
             [limits]\nwall_ms = 5000\n",
        );
        let file = file.unwrap();
        assert_eq!(file.limits.wall_ms, 5_000);
        assert_eq!(file.limits.processes, Limits::default().processes);
        assert!(matches!(file.array["frame"], FileValues::Range(Range { from: 1, to: 24, step: 1 })));
        assert!(matches!(&file.array["scene"], FileValues::List(list) if list.len() == 2));
        assert!(matches!(&file.array["line"], FileValues::Lines(_)));
    }

    /// `gristmill submit --schema > docs/job.schema.json`
    #[test]
    fn the_schema_is_published_as_it_is() {
        let published = include_str!("../../../docs/job.schema.json");
        assert!(published == JobFile::schema(), "write it again: {}", JobFile::schema());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, word) in [
            ("app = \"x\"\nargz = []\n", "line 2", "argz"),
            ("app = \"x\"\n\n[limits]\nwall = 5\n", "line 4", "wall"),
            ("app = \"x\"\nrequire = [\"a = b\"]\n", "line 2", "condition"),
            ("app = \"x\"\npriority = 1000\n", "line 2", "1000"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(line) && error.contains(word), "{error}");
        }
    }
}
