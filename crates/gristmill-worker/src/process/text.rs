//! What the app is told: arguments, environment, and where its inputs are.

use gristmill_proto::array::{Value, values_of};

use super::Attempt;
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

/// Says what the program gets, or why it cannot get it.
pub(super) fn describe(attempt: &Attempt<'_>, spec: &mut Spec) -> Result<(), String> {
    let Attempt { job, task, work, lease, worker, app_dir, entry, inputs, lines } = *attempt;
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
    let ours = [
        ("GRISTMILL_JOB", task.job.to_string()),
        ("GRISTMILL_TASK", task.index.to_string()),
        ("GRISTMILL_WORKER", worker.to_string()),
        ("GRISTMILL_ATTEMPT", lease.to_string()),
        ("GRISTMILL_CHANNEL_FD", CHANNEL.to_string()),
    ];
    let mut env = job.env.clone();
    env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    spec.app_dir = Some(app_dir.to_owned());
    spec.program = Some(format!("/app/{entry}"));
    if too_long(&job.args, &places) {
        return Err(format!("error: the arguments may become longer than {ARGS_BYTES_MAX} bytes with their values"));
    }
    spec.args = job.args.iter().map(|arg| fill_in(arg, &places)).collect();
    spec.env = env.into_iter().collect();
    spec.inputs = inputs.to_vec();
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
