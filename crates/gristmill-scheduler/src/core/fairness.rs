//! Whose turn it is: start-time fair queueing (Goyal, Vin, Cheng 1996) over groups of users, and in each over its users.
//!
//! Who is served pays in virtual time, slots times milliseconds over weight, and whoever has paid least is served next.
//! One who comes back after a pause starts level with those who are there: a pause saves nothing up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gristmill_proto::id::JobId;
use serde::Deserialize;

use super::class::{ClassId, Classes};

/// A user's or a group's name.
pub(super) type Name = Arc<str>;

/// Virtual time of one slot-millisecond at weight 1.
const UNIT: u64 = 1_000;
pub const WEIGHT_MAX: u32 = 1_000;
/// Users without live jobs whose debts are remembered.
const REMEMBERED_MAX: usize = 100_000;

/// A job's place among those of its user: the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Ten minutes of waiting are worth one step of priority.
    pub(super) age: i64,
    pub(super) deadline: u64,
    /// Jobs take turns: the one that was served longest ago is next.
    pub(super) served: u64,
    pub(super) job: JobId,
}

/// Where a job stands in the whole queue.
pub(super) type Turn<'a> = (u64, &'a Name, u64, &'a Name, Place);

/// The jobs of one class that have a task to give, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Queue {
    groups: BTreeSet<(u64, Name)>,
    users: BTreeMap<Name, BTreeSet<(u64, Name)>>,
    jobs: BTreeMap<Name, BTreeSet<Place>>,
}

impl Queue {
    pub(super) fn turns(&self) -> impl Iterator<Item = Turn<'_>> {
        self.groups.iter().flat_map(move |(group_paid, group)| {
            self.users[group].iter().flat_map(move |(paid, user)| {
                self.jobs[user].iter().map(move |place| (*group_paid, group, *paid, user, *place))
            })
        })
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.values().map(BTreeSet::len).sum()
    }
}

/// What the operator says of users; whoever is not named has a weight of 1 and is in the nameless group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    pub groups: BTreeMap<String, u32>,
    pub users: BTreeMap<String, UserTerms>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserTerms {
    #[serde(default)]
    pub group: String,
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the weight of `{name}` is {weight}: between 1 and {WEIGHT_MAX} are allowed")]
pub struct WeightError {
    name: String,
    weight: u32,
}

impl Weights {
    pub fn check(&self) -> Result<(), WeightError> {
        let users = self.users.iter().map(|(name, terms)| (name, terms.weight));
        let mut all = self.groups.iter().map(|(name, weight)| (name, *weight)).chain(users);
        let wrong = all.find(|(_, weight)| !(1..=WEIGHT_MAX).contains(weight));
        wrong.map_or(Ok(()), |(name, weight)| Err(WeightError { name: name.clone(), weight }))
    }
}

#[derive(Debug)]
struct Payer {
    paid: u64,
    weight: u64,
    live_jobs: usize,
    /// Classes in whose queues it stands, and with how many jobs.
    queued: BTreeMap<ClassId, usize>,
}

impl Payer {
    fn new(paid: u64, weight: u32) -> Self {
        Self { paid, weight: u64::from(weight.clamp(1, WEIGHT_MAX)), live_jobs: 0, queued: BTreeMap::new() }
    }

    fn queue(&mut self, class: ClassId) -> bool {
        let jobs = self.queued.entry(class).or_default();
        *jobs += 1;
        *jobs == 1
    }

    fn unqueue(&mut self, class: ClassId) -> bool {
        let jobs = self.queued.get_mut(&class).expect("it stands in this queue");
        *jobs -= 1;
        let last = *jobs == 0;
        if last {
            self.queued.remove(&class);
        }
        last
    }

    fn charge(&mut self, slot_ms: i64) {
        let due = slot_ms.unsigned_abs().saturating_mul(UNIT) / self.weight;
        self.paid = if slot_ms < 0 { self.paid.saturating_sub(due) } else { self.paid.saturating_add(due) };
    }
}

#[derive(Debug)]
struct Group {
    payer: Payer,
    /// What the last of its users that was served had paid before.
    level: u64,
}

#[derive(Debug, Default)]
pub(super) struct Fairness {
    weights: Weights,
    groups: HashMap<Name, Group>,
    users: HashMap<Name, (Name, Payer)>,
    /// What the last group that was served had paid before.
    level: u64,
}

impl Fairness {
    pub(super) fn new(weights: Weights) -> Self {
        Self { weights, ..Self::default() }
    }

    /// A live job more of this user.
    pub(super) fn add_job(&mut self, user: &Name) {
        if self.users.len() >= REMEMBERED_MAX {
            self.users.retain(|_, (group, payer)| payer.live_jobs > 0 || payer.paid > self.groups[group].level);
        }
        let terms = self.weights.users.get(&**user);
        let (group_name, weight) = terms.map_or(("", 1), |terms| (terms.group.as_str(), terms.weight));
        if !self.groups.contains_key(group_name) {
            let weight = self.weights.groups.get(group_name).copied().unwrap_or(1);
            self.groups.insert(group_name.into(), Group { payer: Payer::new(self.level, weight), level: 0 });
        }
        let group = self.groups.get_mut(group_name).expect("made above");
        let name: Name = group_name.into();
        let (_, payer) = self.users.entry(user.clone()).or_insert_with(|| (name, Payer::new(group.level, weight)));
        payer.live_jobs += 1;
        group.payer.live_jobs += 1;
    }

    pub(super) fn remove_job(&mut self, user: &Name) {
        let (group, payer) = self.users.get_mut(user).expect("the user of a live job is known");
        let group = self.groups.get_mut(group).expect("its group is known");
        payer.live_jobs -= 1;
        group.payer.live_jobs -= 1;
        if payer.live_jobs == 0 && payer.paid <= group.level {
            self.users.remove(user);
        }
    }

    pub(super) fn enqueue(&mut self, class: ClassId, queue: &mut Queue, user: &Name, place: Place) {
        let (group_name, payer) = self.users.get_mut(user).expect("the user of a live job is known");
        let group = self.groups.get_mut(group_name).expect("its group is known");
        if payer.queued.is_empty() {
            payer.paid = payer.paid.max(group.level);
        }
        if group.payer.queued.is_empty() {
            group.payer.paid = group.payer.paid.max(self.level);
        }
        if payer.queue(class) {
            queue.users.entry(group_name.clone()).or_default().insert((payer.paid, user.clone()));
        }
        if group.payer.queue(class) {
            queue.groups.insert((group.payer.paid, group_name.clone()));
        }
        queue.jobs.entry(user.clone()).or_default().insert(place);
    }

    pub(super) fn dequeue(&mut self, class: ClassId, queue: &mut Queue, user: &Name, place: Place) {
        let (group_name, payer) = self.users.get_mut(user).expect("the user of a live job is known");
        let group = self.groups.get_mut(group_name).expect("its group is known");
        queue.jobs.get_mut(user).expect("the user stands in this queue").remove(&place);
        if payer.unqueue(class) {
            queue.jobs.remove(user);
            queue
                .users
                .get_mut(group_name)
                .expect("the group stands in this queue")
                .remove(&(payer.paid, user.clone()));
        }
        if group.payer.unqueue(class) {
            queue.users.remove(group_name);
            queue.groups.remove(&(group.payer.paid, group_name.clone()));
        }
    }

    /// Whoever is served stands where the others have come to.
    pub(super) fn serve(&mut self, user: &Name) {
        let (group, payer) = &self.users[user];
        let group = self.groups.get_mut(group).expect("its group is known");
        self.level = self.level.max(group.payer.paid);
        group.level = group.level.max(payer.paid);
    }

    /// Charges slot-milliseconds, or gives back what was charged too much.
    pub(super) fn charge(&mut self, classes: &mut Classes, user: &Name, slot_ms: i64) {
        if slot_ms == 0 {
            return;
        }
        let Some((group_name, payer)) = self.users.get_mut(user) else { return };
        let group = &mut self.groups.get_mut(group_name).expect("its group is known").payer;
        let (user_before, group_before) = (payer.paid, group.paid);
        payer.charge(slot_ms);
        group.charge(slot_ms);
        for class in payer.queued.keys() {
            let users = classes.get_mut(*class).queue.users.get_mut(group_name).expect("the group stands there too");
            users.remove(&(user_before, user.clone()));
            users.insert((payer.paid, user.clone()));
        }
        for class in group.queued.keys() {
            let groups = &mut classes.get_mut(*class).queue.groups;
            groups.remove(&(group_before, group_name.clone()));
            groups.insert((group.paid, group_name.clone()));
        }
    }
}
