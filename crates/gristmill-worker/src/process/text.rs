//! What the app is told: arguments, environment, and where its inputs are.

use std::collections::BTreeMap;

use gristmill_proto::array::{Value, values_of};

use super::Attempt;
use crate::egress;
use crate::sandbox::wire::Spec;

/// The descriptor on which the app reports.
const CHANNEL: u32 = 3;

/// Longest arguments of a program, together.
const ARGS_BYTES_MAX: usize = 128 << 10;

/// What the job's arguments may name in braces, for one task. A text that a value brings is not looked at again.
fn fill_in(arg: &str, places: &[(&str, String)]) -> String {
    let (mut filled, mut rest) = (String::with_capacity(arg.len()), arg);
    while let Some(at) = rest.find('{') {
        let named = |(name, _): &&(&str, String)| rest[at + 1..].strip_prefix(name).is_some_and(|r| r.starts_with('}'));
        filled.push_str(&rest[..at]);
        match places.iter().find(named) {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[at + name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &rest[at + 1..];
            }
        }
    }
    filled + rest
}

/// Whether the filled-in arguments would be longer than a program is given. Looked at before they are made: a short text
/// can name a long value many times.
fn too_long(args: &[String], places: &[(&str, String)]) -> bool {
    let longest = places.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    let bound = |arg: &String| arg.len().saturating_add(arg.matches('{').count().saturating_mul(longest));
    args.iter().map(bound).fold(0, usize::saturating_add) > ARGS_BYTES_MAX
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Program,
    /// Is told nothing that differs between workers.
    Module,
}

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// What the program is told, or why it cannot be.
pub(crate) fn tell(attempt: &Attempt<'_>, to: To) -> Result<Told, String> {
    let Attempt { job, task, work, worker, lines, .. } = *attempt;
    let mut places = vec![("task", task.index.to_string()), ("work", work.to_string()), ("worker", worker.to_string())];
    for (name, value) in values_of(&job.array, task.index) {
        let value = match value {
            Value::Text(text) => text.to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Line(..) => {
                lines.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, l)| l.clone())
            }
        };
        places.push((name, value));
    }
    if too_long(&job.args, &places) {
        return Err(format!("error: the arguments may become longer than {ARGS_BYTES_MAX} bytes with their values"));
    }
    let args: Vec<String> = job.args.iter().map(|arg| fill_in(arg, &places)).collect();
    // The job's own words come before what iExec would say, and after what we do.
    let mut env = as_iexec(attempt, &args);
    env.extend(job.env.clone());
    env.extend(ours(attempt, to).into_iter().map(|(name, value)| (name.to_owned(), value)));
    if !attempt.hosts.is_empty() {
        env.extend(egress::variables());
    }
    Ok(Told { args, env: env.into_iter().collect() })
}

fn ours(attempt: &Attempt<'_>, to: To) -> Vec<(&'static str, String)> {
    let Attempt { task, lease, worker, .. } = *attempt;
    let mut ours = vec![("GRISTMILL_JOB", task.job.to_string()), ("GRISTMILL_TASK", task.index.to_string())];
    match to {
        To::Program => ours.extend([
            ("GRISTMILL_WORKER", worker.to_string()),
            ("GRISTMILL_ATTEMPT", lease.to_string()),
            ("GRISTMILL_CHANNEL_FD", CHANNEL.to_string()),
        ]),
        To::Module => ours.push(("GRISTMILL_CHANNEL", "/dev/channel".to_owned())),
    }
    ours
}

/// The variables that programs made for iExec look for.
fn as_iexec(attempt: &Attempt<'_>, args: &[String]) -> BTreeMap<String, String> {
    let Attempt { job, task, inputs, .. } = *attempt;
    let mut env = BTreeMap::from(
        [
            ("IEXEC_IN", "/in".to_owned()),
            ("IEXEC_OUT", "/out".to_owned()),
            ("IEXEC_ARGS", args.join(" ")),
            ("IEXEC_TASK_ID", format!("0x{:048x}{:016x}", task.job.0, task.index)),
            ("IEXEC_BOT_FIRST_INDEX", "0".to_owned()),
            ("IEXEC_BOT_TASK_INDEX", task.index.to_string()),
            ("IEXEC_BOT_SIZE", job.tasks.to_string()),
            ("IEXEC_INPUT_FILES_FOLDER", "/in".to_owned()),
            ("IEXEC_INPUT_FILES_NUMBER", inputs.len().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let names = inputs.iter().zip(1..).map(|((path, _), number)| (format!("IEXEC_INPUT_FILE_NAME_{number}"), path));
    env.extend(names.map(|(name, path)| (name, path.clone())));
    env
}

/// Says what the program gets, or why it cannot get it.
pub(super) fn describe(attempt: &Attempt<'_>, spec: &mut Spec) -> Result<(), String> {
    let Told { args, env } = tell(attempt, To::Program)?;
    spec.app_dir = Some(attempt.app_dir.to_owned());
    spec.program = Some(format!("/app/{}", attempt.entry));
    spec.args = args;
    spec.env = env;
    spec.inputs = attempt.inputs.to_vec();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_does_not_become_a_long_one() {
        let places = [("l", "x".repeat(1_000))];
        assert!(!too_long(&["{l}".repeat(100)], &places));
        assert!(too_long(&["{l}".repeat(200)], &places));
    }

    #[test]
    fn places_are_filled_in_wherever_they_stand() {
        let places = [("task", "7".to_owned()), ("work", "90".to_owned()), ("name", "{task}".to_owned())];
        let fill_in = |arg| fill_in(arg, &places);
        assert_eq!(fill_in("{task}"), "7");
        assert_eq!(fill_in("{work} of {task}"), "90 of 7");
        assert_eq!(fill_in("--from={task}00-{task}99"), "--from=700-799");
        assert_eq!(fill_in("{other} {{task}} {"), "{other} {7} {");
        assert_eq!(fill_in("{name}!"), "{task}!", "values are not looked into");
        assert_eq!(fill_in("ä{task}ß"), "ä7ß");
    }
}
