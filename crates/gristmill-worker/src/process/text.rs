//! What the app is told: arguments, environment, and where its inputs are.

use gristmill_proto::id::WorkerId;

use super::Attempt;
use crate::sandbox::wire::Spec;

/// The descriptor on which the app reports.
const CHANNEL: u32 = 3;

/// Puts the task's index, its work and the worker's id where a job's argument says `{task}`, `{work}` and `{worker}`.
fn fill_in(arg: &str, task_index: u64, work: u64, worker: WorkerId) -> String {
    let places = [("{task}", task_index.to_string()), ("{work}", work.to_string()), ("{worker}", worker.to_string())];
    places.iter().fold(arg.to_owned(), |arg, (place, value)| arg.replace(place, value))
}

pub(super) fn describe(attempt: &Attempt<'_>, spec: &mut Spec) {
    let Attempt { job, task, work, lease, worker, app_dir, entry, inputs } = *attempt;
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
    spec.args = job.args.iter().map(|arg| fill_in(arg, task.index, work, worker)).collect();
    spec.env = env.into_iter().collect();
    spec.inputs = inputs.to_vec();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_wherever_they_stand() {
        let worker = WorkerId([0xab; 20]);
        let id = format!("0x{}", "ab".repeat(20));
        assert_eq!(fill_in("{task}", 7, 90, worker), "7");
        assert_eq!(fill_in("{work} of {task}", 7, 90, worker), "90 of 7");
        assert_eq!(fill_in("--from={task}00-{task}99", 7, 90, worker), "--from=700-799");
        assert_eq!(fill_in("{worker}/{task}", u64::MAX, 90, worker), format!("{id}/18446744073709551615"));
        assert_eq!(fill_in("{other} {{task}", 7, 90, worker), "{other} {7");
    }
}
