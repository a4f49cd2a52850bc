//! What certified results come to for the market.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes};
use anyhow::{Context, Result, bail};
use gristmill_chain::batch_proof;
use gristmill_chain::outcome::{ANSWER_BYTES_MAX, Outcome};
use gristmill_proto::digest::Digest;
use gristmill_proto::id::JobId;
use gristmill_proto::outcome::{Exit, OutputFile};
use gristmill_proto::view::TaskResultView;

use super::work::{Answer, Batch, Earner};
use crate::deployment::{AppOffer, Judge, Meter};

/// What a single order of a trusted pool is settled with; none if there is no result.
pub(super) fn answer(results: &[TaskResultView], pool: Address, offer: &AppOffer) -> Result<Option<Answer>> {
    let Some(result) = results.first() else { return Ok(None) };
    let earners = vec![Earner { worker: Address::from(result.worker.0), weight: 1.max(weight(result, offer)) }];
    Ok(Some(Answer { worker: pool, result: outcome(result)?, earners }))
}

/// What a bag of `tasks` is settled with; none if no task has a result.
pub(super) fn batch(job: JobId, results: &[TaskResultView], tasks: u64, offer: &AppOffer) -> Result<Option<Batch>> {
    // A result that the market cannot take has failed, like one that is not there.
    let taken: Vec<(&TaskResultView, Bytes)> = match offer.judge {
        Judge::Pool => results.iter().filter_map(|result| Some((result, outcome(result).ok()?))).collect(),
        Judge::Verifier => results.iter().filter_map(|result| Some((result, raw_answer(result)?))).collect(),
    };
    if taken.is_empty() {
        return Ok(None);
    }
    let failed = tasks.checked_sub(taken.len() as u64).context("the pool has more results than the bag has tasks")?;
    let batch = match offer.judge {
        Judge::Verifier => Batch { job, failed, root: None, earners: Vec::new() },
        Judge::Pool => {
            let leaves: Vec<B256> = taken.iter().map(|(result, bytes)| batch_proof::leaf(result.task, bytes)).collect();
            let earners = earners(taken.iter().map(|(result, _)| *result), offer);
            Batch { job, failed, root: Some(batch_proof::root(&leaves)), earners }
        }
    };
    Ok(Some(batch))
}

fn earners<'a>(results: impl Iterator<Item = &'a TaskResultView>, offer: &AppOffer) -> Vec<Earner> {
    let mut weights: BTreeMap<Address, u64> = BTreeMap::new();
    for result in results {
        let sum = weights.entry(Address::from(result.worker.0)).or_default();
        *sum = sum.saturating_add(weight(result, offer));
    }
    // Nobody has worked for nothing: clocks may be coarse.
    if weights.values().all(|weight| *weight == 0) {
        weights.values_mut().for_each(|weight| *weight = 1);
    }
    weights.into_iter().map(|(worker, weight)| Earner { worker, weight }).collect()
}

fn weight(result: &TaskResultView, offer: &AppOffer) -> u64 {
    match offer.meter {
        Meter::Task => 1,
        // What a worker says of itself counts no further than its limit, which the pool has watched by its own clock.
        Meter::CpuSecond => result.usage.cpu_ms.min(offer.plan.limits.cpu_ms),
    }
}

/// A result as contracts and requesters of a trusted pool read it.
pub fn outcome(result: &TaskResultView) -> Result<Bytes> {
    let answer = raw_answer(result).unwrap_or_default();
    if answer.len() > ANSWER_BYTES_MAX {
        bail!("the answer has {} bytes, and the market takes {ANSWER_BYTES_MAX}", answer.len());
    }
    let exit_status = match result.exit {
        Exit::Code(code) => u32::from_be_bytes(code.to_be_bytes()),
        Exit::Signal(_) | Exit::Limit(_) | Exit::NotRun(_) => u32::MAX,
    };
    Ok(Outcome { exit_status, location: location(&result.files).0.into(), answer }.encode())
}

pub(super) fn raw_answer(result: &TaskResultView) -> Option<Bytes> {
    Some(alloy::hex::decode(result.answer.as_deref()?).ok()?.into())
}

/// Names all files that a task left: the digest of their list. Zero if there are none.
pub fn location(files: &[OutputFile]) -> Digest {
    if files.is_empty() { Digest([0; 32]) } else { Digest::of(&file_list(files)) }
}

/// The list that [`location`] names, a blob of the pool.
pub fn file_list(files: &[OutputFile]) -> Vec<u8> {
    serde_json::to_vec(files).expect("a list of files has text keys only")
}

#[cfg(test)]
mod tests {
    use gristmill_proto::id::WorkerId;
    use gristmill_proto::outcome::Usage;
    use serde_json::json;

    use super::*;

    fn offer(judge: Judge, meter: Meter) -> AppOffer {
        let plan = json!({ "app": Digest::of(b"app"), "args": [], "limits": { "cpu_ms": 1_000 } });
        let offer = json!({ "id": B256::ZERO, "name": "a", "judge": judge, "verifier": Address::ZERO,
            "provider": Address::ZERO, "unit_price": 1, "pool_fee_bps": 0, "provider_fee_bps": 0, "duration": 60,
            "meter": meter, "plan": plan });
        serde_json::from_value(offer).unwrap()
    }

    fn result(task: u64, worker: u8, answer: Option<&str>, cpu_ms: u64) -> TaskResultView {
        let usage = Usage { cpu_ms, ..Usage::default() };
        let answer = answer.map(str::to_owned);
        TaskResultView {
            task,
            lease: task,
            worker: WorkerId([worker; 20]),
            exit: Exit::Code(0),
            answer,
            files: vec![],
            usage,
        }
    }

    #[test]
    fn a_bag_of_a_trusted_pool_has_one_root_and_pays_whoever_worked() {
        let results = [result(0, 1, Some("0x61"), 10), result(2, 2, None, 5_000), result(3, 1, Some("0x"), 20)];
        let batch = batch(JobId(1), &results, 5, &offer(Judge::Pool, Meter::Task)).unwrap().unwrap();
        assert_eq!(batch.failed, 2);
        let leaves: Vec<B256> =
            results.iter().map(|result| batch_proof::leaf(result.task, &outcome(result).unwrap())).collect();
        assert_eq!(batch.root, Some(batch_proof::root(&leaves)));
        let weights: Vec<u64> = batch.earners.iter().map(|earner| earner.weight).collect();
        assert_eq!(weights, [2, 1]);
    }

    #[test]
    fn processor_time_counts_up_to_its_limit() {
        let results = [result(0, 1, None, 400), result(1, 2, None, u64::MAX)];
        let by_time = batch(JobId(1), &results, 2, &offer(Judge::Pool, Meter::CpuSecond)).unwrap().unwrap();
        let weights: Vec<u64> = by_time.earners.iter().map(|earner| earner.weight).collect();
        assert_eq!(weights, [400, 1_000]);
        let idle = [result(0, 1, None, 0)];
        let batch = batch(JobId(1), &idle, 1, &offer(Judge::Pool, Meter::CpuSecond)).unwrap().unwrap();
        assert_eq!(batch.earners[0].weight, 1);
    }

    #[test]
    fn results_that_the_market_cannot_take_have_failed() {
        let long = format!("0x{}", "00".repeat(ANSWER_BYTES_MAX + 1));
        let longest = format!("0x{}", "00".repeat(ANSWER_BYTES_MAX));
        let of = |answer: &str| {
            batch(JobId(1), &[result(0, 1, Some(answer), 1)], 1, &offer(Judge::Pool, Meter::Task)).unwrap()
        };
        assert!(of(&longest).is_some_and(|batch| batch.failed == 0));
        assert_eq!(of(&long), None);
        let silent = [result(0, 1, None, 1)];
        assert_eq!(batch(JobId(1), &silent, 1, &offer(Judge::Verifier, Meter::Task)).unwrap(), None);
    }
}
