//! What an order becomes in the pool.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use anyhow::{Context, Result, bail};
use gristmill_chain::contracts::IMarket;
use gristmill_proto::id::UnixMillis;
use gristmill_proto::job::{DoneWhen, JobSpec, Search, Trust};
use gristmill_proto::view::AppView;

use super::ledger::is_bag;
use crate::deployment::{AppOffer, Judge, Plan};
use crate::vanity_shares;

/// Of a bag settled by one root: its results are read once more, to build the tree.
pub(super) const BAG_TASKS_MAX: u64 = 100_000;
/// Of a bag whose results the verifier judges: the pool shows so many that wait for a verdict.
pub(super) const JUDGED_BAG_TASKS_MAX: u64 = 500;
/// A task shall take a slot so long: short enough to lose little with it, long enough that its start costs nothing.
const TASK_SECONDS: f64 = 90.0;
/// What was paid for is cut into so many tasks per slot, so that all work on a small order, to its end.
const TASKS_PER_SLOT: u64 = 4;

/// The job of an order. An error is final: these parameters will never make a job.
pub(super) fn job_of(id: B256, order: &IMarket::Order, plan: &Plan, app: &AppView) -> Result<JobSpec> {
    let paid = order.units.saturating_mul(plan.unit_work);
    let task_work = task_work(paid, plan, app);
    let search = search_job(&id.0, &order.params, plan, task_work)?;
    Ok(JobSpec {
        external_id: Some(format!("{id:#x}")),
        search: search.search.map(|search| Search { work_max: paid.saturating_mul(plan.overrun), ..search }),
        // Requesters share the pool, however many orders each has.
        user: format!("{:#x}", order.requester),
        labels: BTreeMap::from([("order".to_owned(), format!("{id:#x}"))]),
        ..search
    })
}

/// A search without an end, in tasks of so much work.
pub(crate) fn search_job(order: &[u8; 32], params: &[u8], plan: &Plan, task_work: u64) -> Result<JobSpec> {
    let (shares, ranges) = match plan.share_checker.as_deref() {
        Some(vanity_shares::CHECKER) => vanity_shares::terms(params, order, task_work).map(Some)?.unzip(),
        Some(other) => bail!("the plan's shares are those of `{other}`, which this oracle does not know"),
        None => (None, None),
    };
    let places = [
        ("{params}", alloy::hex::encode(params)),
        ("{order}", alloy::hex::encode(order)),
        ("{shares}", ranges.unwrap_or_default()),
    ];
    let fill = |arg: &String| places.iter().fold(arg.clone(), |arg, (place, value)| arg.replace(place, value));
    Ok(JobSpec {
        args: plan.args.iter().map(fill).collect(),
        tasks: plan.tasks,
        done_when: DoneWhen::AnyTask,
        search: Some(Search { task_work, work_max: u64::MAX, shares }),
        trust: Trust::Submitter,
        limits: plan.limits.clone(),
        ..JobSpec::new(plan.app)
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is right")]
fn task_work(paid: u64, plan: &Plan, app: &AppView) -> u64 {
    let slot_rate = app.slot_rate_per_s.unwrap_or(plan.slot_rate as f64);
    let long_enough = (slot_rate * TASK_SECONDS) as u64;
    let small_enough = paid / (TASKS_PER_SLOT * app.slots.max(1));
    long_enough.min(small_enough).clamp(plan.task_work_min, plan.task_work_max)
}

/// The job of an order under an app's offer: each task of a bag is one. An error is final.
pub(super) fn app_job(id: B256, order: &IMarket::Order, offer: &AppOffer) -> Result<JobSpec> {
    let tasks = if is_bag(order) { order.units } else { 1 };
    let tasks_max = match offer.judge {
        Judge::Pool => BAG_TASKS_MAX,
        Judge::Verifier => JUDGED_BAG_TASKS_MAX,
    };
    if tasks > tasks_max {
        bail!("a bag of {tasks} tasks is larger than the {tasks_max} that this pool takes under this offer");
    }
    let plan = &offer.plan;
    let trust = match offer.judge {
        Judge::Pool => Trust::Pool,
        Judge::Verifier => Trust::Submitter,
    };
    let job = JobSpec {
        external_id: Some(format!("{id:#x}")),
        args: app_args(id, &order.params, &plan.args)?,
        env: plan.env.clone(),
        tasks,
        // Whatever fails is refunded; the rest is settled.
        failed_max: tasks,
        trust,
        limits: plan.limits.clone(),
        resources: plan.resources,
        require: plan.require.clone(),
        retries: plan.retries,
        user: format!("{:#x}", order.requester),
        labels: BTreeMap::from([("order".to_owned(), format!("{id:#x}"))]),
        deadline_ms: Some(UnixMillis(order.deadline.saturating_mul(1_000))),
        ..JobSpec::new(plan.app)
    };
    job.check()?;
    Ok(job)
}

fn app_args(id: B256, params: &[u8], args: &[String]) -> Result<Vec<String>> {
    let text = || std::str::from_utf8(params).context("the order's parameters are no text, which this app reads");
    let mut filled = Vec::new();
    for arg in args {
        if arg == "{args}" {
            let list = serde_json::from_str::<Vec<String>>(text()?);
            filled.extend(list.context("the order's parameters are no JSON list of texts, which this app reads")?);
            continue;
        }
        let mut arg = arg.replace("{params}", &alloy::hex::encode(params)).replace("{order}", &format!("{id:x}"));
        if arg.contains("{text}") {
            arg = arg.replace("{text}", text()?);
        }
        filled.push(arg);
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, U256};
    use gristmill_proto::digest::Digest;
    use gristmill_proto::job::Limits;

    use super::*;

    fn plan() -> Plan {
        Plan {
            app: Digest::of(b"app"),
            args: vec!["{params}/{order}/{task}/{work}".to_owned()],
            tasks: 1_000,
            task_work_min: 1_000,
            task_work_max: 100_000_000,
            slot_rate: 5_000,
            share_checker: None,
            unit_work: 10_000,
            overrun: 20,
            limits: Limits::default(),
        }
    }

    fn app(slot_rate_per_s: Option<f64>, slots: u64) -> AppView {
        AppView { slot_rate_per_s, slots }
    }

    #[test]
    fn tasks_are_as_long_as_the_pool_is_fast_and_short_for_small_orders() {
        let huge = u64::MAX;
        assert_eq!(task_work(huge, &plan(), &app(Some(1e6), 2)), 90_000_000);
        assert_eq!(task_work(huge, &plan(), &app(None, 2)), 450_000);
        assert_eq!(task_work(80_000, &plan(), &app(Some(1e6), 2)), 10_000);
        assert_eq!(task_work(80_000, &plan(), &app(Some(1e6), 1_000)), 1_000);
        assert_eq!(task_work(80_000, &plan(), &app(Some(1e6), 0)), 20_000);
        assert_eq!(task_work(huge, &plan(), &app(Some(1e12), 2)), 100_000_000);
    }

    #[test]
    fn what_was_paid_for_bounds_the_search() {
        let order = IMarket::Order { units: 3, params: vec![0xab].into(), ..IMarket::Order::default() };
        let job = job_of(B256::repeat_byte(7), &order, &plan(), &app(None, 1)).unwrap();
        assert_eq!(job.check(), Ok(()));
        assert_eq!(job.search.unwrap().work_max, 600_000);
        assert_eq!(job.args, [format!("ab/{}/{{task}}/{{work}}", "07".repeat(32))]);
    }

    #[test]
    fn an_order_that_no_search_can_be_made_of_is_refused() {
        let order = IMarket::Order { params: vec![1, 2, 3].into(), ..IMarket::Order::default() };
        let of = |checker: &str| {
            let plan = Plan { share_checker: Some(checker.to_owned()), ..plan() };
            job_of(B256::ZERO, &order, &plan, &app(None, 1)).unwrap_err().to_string()
        };
        assert!(of("dowsing").contains("`dowsing`"));
        assert!(!of(vanity_shares::CHECKER).is_empty());
    }

    fn offer(judge: Judge, args: &[&str]) -> AppOffer {
        let plan = serde_json::json!({ "app": Digest::of(b"app"), "args": args });
        let offer = serde_json::json!({ "id": B256::ZERO, "name": "a", "judge": judge, "verifier": Address::ZERO,
            "provider": Address::ZERO, "unit_price": 1, "pool_fee_bps": 0, "provider_fee_bps": 0, "duration": 60,
            "plan": plan });
        serde_json::from_value(offer).unwrap()
    }

    fn bag(units: u64, params: &str) -> IMarket::Order {
        let nonce = U256::from(1) << 255;
        IMarket::Order { units, nonce, params: params.as_bytes().to_vec().into(), ..IMarket::Order::default() }
    }

    #[test]
    fn a_bag_is_a_job_with_as_many_tasks() {
        let job =
            app_job(B256::repeat_byte(7), &bag(9, "[\"a b\",\"{task}\"]"), &offer(Judge::Pool, &["-n", "{args}"]));
        let job = job.unwrap();
        assert_eq!((job.tasks, job.trust), (9, Trust::Pool));
        assert_eq!(job.args, ["-n", "a b", "{task}"]);
        let single = IMarket::Order { units: 9, params: b"x".into(), ..IMarket::Order::default() };
        let job = app_job(B256::ZERO, &single, &offer(Judge::Verifier, &["{params}:{text}"])).unwrap();
        assert_eq!((job.tasks, job.trust), (1, Trust::Submitter));
        assert_eq!(job.args, ["78:x"]);
    }

    #[test]
    fn bags_and_parameters_that_cannot_be_served_are_refused() {
        let of = |judge, units, params| app_job(B256::ZERO, &bag(units, params), &offer(judge, &["{args}"]));
        assert!(of(Judge::Pool, BAG_TASKS_MAX, "[]").is_ok());
        assert!(of(Judge::Pool, BAG_TASKS_MAX + 1, "[]").is_err());
        assert!(of(Judge::Verifier, JUDGED_BAG_TASKS_MAX, "[]").is_ok());
        assert!(of(Judge::Verifier, JUDGED_BAG_TASKS_MAX + 1, "[]").is_err());
        assert!(of(Judge::Pool, 1, "no list").is_err());
    }
}
