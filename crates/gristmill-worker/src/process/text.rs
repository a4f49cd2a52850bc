//! What the app is told: arguments, environment, and where its inputs are.

use gristmill_proto::array::{Value, values_of};

use super::Attempt;
use crate::sandbox::wire::Spec;

/// The descriptor on which the app reports.
const CHANNEL: u32 = 3;

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

pub(super) fn describe(attempt: &Attempt<'_>, spec: &mut Spec) {
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
    spec.app_dir = app_dir.to_owned();
    spec.entry = Some(entry.to_owned());
    spec.args = job.args.iter().map(|arg| fill_in(arg, &places)).collect();
    spec.env = env.into_iter().collect();
    spec.inputs = inputs.to_vec();
}

#[cfg(test)]
mod tests {
    use super::*;

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
