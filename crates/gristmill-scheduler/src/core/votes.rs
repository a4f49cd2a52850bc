//! Votes on the tasks of replicated jobs: asked for, cast, shown and counted as the [trust engine](crate::trust) says.

use std::collections::BTreeSet;

use gristmill_proto::id::{JobId, LeaseId, TaskId, UnixMillis, WorkerId};
use gristmill_proto::message::ToWorker;
use gristmill_proto::view::Verdict;
use gristmill_proto::vote::{Sealed, compared};

use super::ballots::{Ballots, Held, Pick, ShownVote, owner_of};
use super::job::Job;
use super::{Change, ConnectionId, Core, Effects, Fault, Finish, ResultAdded, kept};
use crate::trust::{AppClass, Certificate, Decision, Fact, HostId, OwnerId, Policy, Standing, Voter};

/// What the pool assumes of its workers where they vote.
#[derive(Clone, Copy, Debug)]
pub struct Replication {
    pub policy: Policy,
    /// A vote that was cast must be shown within this time after that was asked, or its worker counts as a liar. Long,
    /// because a machine may be switched off in between.
    pub open_ms: u64,
}

impl Default for Replication {
    fn default() -> Self {
        Self { policy: Policy::default(), open_ms: 24 * 3_600_000 }
    }
}

/// A worker that gave up so many leases of one job, and more than it voted under, gets no more of it: it may be looking
/// for tasks that its friends have.
const GIVEN_UP_MAX: u64 = 16;
/// Idle workers that are looked at for a task, and those among whom one is drawn.
const DRAWN_FROM_MAX: usize = 64;
const DRAWN_MAX: usize = 16;
/// The label by which a worker says whose it is.
const OWNER_LABEL: &str = "owner";

impl Core {
    /// Before the first job.
    #[must_use]
    pub fn with_replication(mut self, replication: Replication) -> Self {
        self.trust = crate::trust::Standings::new(replication.policy);
        self.open_ms = replication.open_ms;
        self
    }

    /// Takes what a worker has proven back from the store; before the jobs.
    pub fn restore_trust(&mut self, worker: WorkerId, class: AppClass, standing: Standing) {
        self.trust.restore(Fact::StandingChanged { worker, class, standing });
    }

    pub fn trust_in(&self, worker: WorkerId, class: AppClass) -> Standing {
        self.trust.standing(worker, class)
    }

    /// Where a connected worker is, as far as the pool can tell. Workers of one host count as one voice.
    pub fn seen_at(&mut self, id: WorkerId, host: HostId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.host = Some(host);
        }
    }

    /// Who a worker is among voters. Nobody can claim to be more than one: a worker that names an owner shares its voice
    /// with all others that name the same, and one that names nobody stands for itself.
    pub(super) fn voter(&self, id: WorkerId) -> Voter {
        let worker = self.workers.get(&id);
        let owner = worker.and_then(|worker| owner_of(worker.offer.labels.get(OWNER_LABEL)?));
        let itself = u64::from_le_bytes(id.0[..8].try_into().expect("8 of 20 bytes"));
        let host = worker.and_then(|worker| worker.host).unwrap_or(HostId(itself));
        Voter { worker: id, owner: owner.unwrap_or(OwnerId(id.0)), host }
    }

    /// Whether the job has a task for this worker: of a replicated one, one that wants its vote.
    pub(super) fn has_task_for(&self, id: WorkerId, job: &Job) -> bool {
        let Some(ballots) = &job.ballots else { return true };
        self.pick(id, job, ballots).is_some()
    }

    fn pick(&self, id: WorkerId, job: &Job, ballots: &Ballots) -> Option<Pick> {
        let fresh = job.has_fresh() && ballots.has_space(self.classes.get(job.class).able);
        ballots.pick(&self.voter(id), self.secret.dice(self.next_lease.0), fresh)
    }

    /// Somebody with room for a task of this replicated job, drawn so that nobody can make sure to be the one.
    pub(super) fn draw_worker(&self, job: &Job) -> Option<WorkerId> {
        let dice = self.secret.dice(self.next_lease.0);
        let idle = &self.classes.get(job.class).idle;
        let mut point = [0; 20];
        point[..8].copy_from_slice(&dice.to_le_bytes());
        let point = WorkerId(point);
        let around = idle.range(point..).chain(idle.range(..point)).copied().take(DRAWN_FROM_MAX);
        let able = around.filter(|id| self.may_run(*id, job) && self.has_task_for(*id, job));
        let able: Vec<WorkerId> = able.take(DRAWN_MAX).collect();
        let drawn = usize::try_from(dice.rotate_left(32) % able.len().max(1) as u64).expect("a few");
        able.get(drawn).copied()
    }

    /// Makes the lease's worker a voter on a task that it was picked for.
    pub(super) fn ask(&mut self, id: WorkerId, job_id: JobId, lease: LeaseId) -> u64 {
        let voter = self.voter(id);
        let job = &self.jobs[&job_id];
        let ballots = job.ballots.as_ref().expect("the caller found a replicated job");
        let pick = self.pick(id, job, ballots).expect("the caller found the job ready");
        let job = self.jobs.get_mut(&job_id).expect("looked up above");
        let index = match pick {
            Pick::Of(index) => index,
            Pick::Fresh => job.next_waiting().expect("a fresh task is there"),
        };
        if pick == Pick::Fresh {
            self.begin_ballot(TaskId { job: job_id, index });
        }
        self.ballots_mut(job_id).expect("looked up above").ask(index, lease, voter);
        index
    }

    fn begin_ballot(&mut self, task: TaskId) {
        self.ballots_mut(task.job).expect("the caller found a replicated job").begin(task);
        let leases = match self.decision(task) {
            Some(Decision::Ask(leases)) => leases,
            // What cannot be decided is asked for once, and given up when the vote is in.
            _ => 1,
        };
        self.ballots_mut(task.job).expect("just begun").want(task.index, leases);
    }

    fn ballots_mut(&mut self, job: JobId) -> Option<&mut Ballots> {
        self.jobs.get_mut(&job)?.ballots.as_mut()
    }

    /// Whether the worker may go on with a lease of a replicated job that it was given before a restart.
    pub(super) fn take_vote_back(&mut self, id: WorkerId, task: TaskId, lease: LeaseId) -> bool {
        let voter = self.voter(id);
        let Some(job) = self.jobs.get_mut(&task.job) else { return false };
        let Some(ballots) = job.ballots.as_mut() else { return false };
        if ballots.contains(task.index) {
            if !ballots.admits(task.index, &voter) {
                return false;
            }
        } else {
            if !job.take(task.index) {
                return false;
            }
            self.begin_ballot(task);
        }
        self.ballots_mut(task.job).expect("looked up above").ask(task.index, lease, voter);
        true
    }

    pub(super) fn has_sealed(&self, id: WorkerId, task: TaskId, lease: LeaseId) -> bool {
        let open = self.jobs.get(&task.job).and_then(|job| job.ballots.as_ref()?.get(task.index));
        open.is_some_and(|open| open.kept.sealed.contains(&(lease, id)))
    }

    /// Attempts have ended well, and their worker is bound to what they came to.
    pub fn committed(
        &mut self,
        id: WorkerId,
        connection: ConnectionId,
        votes: &[Sealed],
        now: UnixMillis,
        out: &mut Effects,
    ) {
        if !self.renew(id, connection, now) {
            return;
        }
        for vote in votes {
            let task = self.leases.of(id, vote.lease).map(|given| given.task);
            match task {
                None => self.tell_to_stop(id, vote.lease, "this lease is no longer wanted".to_owned(), out),
                // Told again after a reconnect.
                Some(_) if self.workers[&id].sealed.contains(&vote.lease) => {}
                Some(task) => self.cast(id, task, vote, now, out),
            }
        }
        self.roomy.insert(id);
        self.place(now, out);
    }

    fn cast(&mut self, id: WorkerId, task: TaskId, vote: &Sealed, now: UnixMillis, out: &mut Effects) {
        let given = self.leases.get(vote.lease).expect("the caller found it in force");
        // One that was taken back after a restart may have ended before there was room for it by our count.
        let began = given.begun.map_or(given.given_at, |begun| begun.at);
        let job = self.jobs.get_mut(&task.job).expect("a lease in force has a live job");
        let open = job.ballots.as_mut().and_then(|ballots| ballots.get_mut(task.index));
        let asked = open.and_then(|open| {
            let place = open.asked.iter().position(|(lease, _)| *lease == vote.lease)?;
            Some((open, place))
        });
        let Some((open, place)) = asked else {
            let reason = "nobody asked for a vote on this task";
            return self.fail_attempt(task, vote.lease, id, Fault::Worker, reason, 0, now, out);
        };
        let (_, voter) = open.asked.remove(place);
        let others = open.asked.len();
        if self.trust.cast(&mut open.kept.ballot, voter, vote.commitment, others).is_err() {
            // It was exposed, or the votes before it are being shown since it was asked: no fault of this attempt.
            open.asked.push((vote.lease, voter));
            self.tell_to_stop(id, vote.lease, "its vote is not wanted".to_owned(), out);
            self.take_lease(vote.lease, now, out);
            return;
        }
        open.kept.sealed.push((vote.lease, id));
        job.voted(id);
        job.took(now.since(began));
        self.seal_lease(vote.lease, now);
        self.ballot_changed(task, out);
        self.to_decide.insert(task);
    }

    fn ballot_changed(&self, task: TaskId, out: &mut Effects) {
        let open = self.jobs.get(&task.job).and_then(|job| job.ballots.as_ref()?.get(task.index));
        if let Some(open) = open {
            out.changes.push(Change::BallotChanged { task, ballot: Box::new(open.kept.clone()) });
            out.touched.insert(task.job);
        }
    }

    /// Decides every ballot to which something has happened, until nothing more follows.
    pub(super) fn decide_all(&mut self, now: UnixMillis, out: &mut Effects) {
        while let Some(task) = self.to_decide.pop_first() {
            self.decide(task, now, out);
            self.hurry(task.job, now, out);
        }
    }

    fn decision(&self, task: TaskId) -> Option<Decision> {
        let job = self.jobs.get(&task.job)?;
        let ballots = job.ballots.as_ref()?;
        let open = ballots.get(task.index)?;
        let terms = ballots.terms(self.outlook(job));
        // A voter who is missing today may come tomorrow: `why` says so meanwhile.
        Some(self.trust.decide(&open.kept.ballot, &terms, usize::MAX, self.secret.draw(task)))
    }

    /// How many votes a worker may cast on what is left of the job.
    fn outlook(&self, job: &Job) -> u64 {
        job.unfinished().saturating_mul(2) / (self.classes.get(job.class).able.max(1) as u64)
    }

    fn decide(&mut self, task: TaskId, now: UnixMillis, out: &mut Effects) {
        let open = self.jobs.get(&task.job).and_then(|job| job.ballots.as_ref()?.get(task.index));
        let Some(open) = open else { return };
        if !open.asked.is_empty() || open.wanted > 0 || open.kept.held.is_some() {
            return;
        }
        // What was asked to be shown is shown before anything else is made of it.
        let class = open.kept.ballot.class;
        let counts = |(_, worker): &(LeaseId, WorkerId)| !self.trust.standing(*worker, class).exposed;
        if open.kept.opening && open.kept.sealed.iter().any(counts) {
            return self.ask_to_open(task, now, out);
        }
        self.stop_waiting(task);
        match self.decision(task).expect("it has a ballot") {
            Decision::Ask(leases) => {
                self.ballots_mut(task.job).expect("it has a ballot").want(task.index, leases);
                self.refresh(task.job);
            }
            Decision::Open => self.ask_to_open(task, now, out),
            Decision::Certify(certificate) => self.certify(task, &certificate, now, out),
            Decision::GiveUp(hopeless) => {
                let reason = hopeless.to_string();
                self.close_ballot(task, &reason, now, out);
                let job = self.jobs.get_mut(&task.job).expect("it has a ballot");
                let step = job.give_up(task.index, &reason);
                self.after_step(task.job, step, now, out);
            }
        }
    }

    fn ask_to_open(&mut self, task: TaskId, now: UnixMillis, out: &mut Effects) {
        let by = now.plus(self.open_ms);
        let open = self.ballots_mut(task.job).and_then(|ballots| ballots.get_mut(task.index)).expect("it has a ballot");
        if open.opens_by.is_some() {
            return;
        }
        (open.opens_by, open.kept.opening) = (Some(by), true);
        let sealed = open.kept.sealed.clone();
        self.opening.insert((by, task));
        self.ballot_changed(task, out);
        for (lease, worker) in sealed {
            self.tell_to_open(worker, vec![lease], out);
        }
    }

    fn tell_to_open(&self, id: WorkerId, leases: Vec<LeaseId>, out: &mut Effects) {
        if let Some(connection) = self.workers.get(&id).and_then(|worker| worker.connection) {
            out.messages.push((id, connection, ToWorker::Open { leases }));
        }
    }

    /// What a worker that has come back should have shown meanwhile.
    pub(super) fn ask_again_to_open(&mut self, id: WorkerId, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        let wanted = |lease: &LeaseId| {
            let task = self.leases.get(*lease).map(|given| given.task);
            let open = task.and_then(|task| self.jobs.get(&task.job)?.ballots.as_ref()?.get(task.index));
            open.is_some_and(|open| open.opens_by.is_some())
        };
        let leases: Vec<LeaseId> = worker.sealed.iter().copied().filter(wanted).collect();
        if !leases.is_empty() {
            self.tell_to_open(id, leases, out);
        }
    }

    fn stop_waiting(&mut self, task: TaskId) {
        let open = self.ballots_mut(task.job).and_then(|ballots| ballots.get_mut(task.index));
        let Some(open) = open else { return };
        open.kept.opening = false;
        if let Some(by) = open.opens_by.take() {
            self.opening.remove(&(by, task));
        }
    }

    /// Votes that nobody has shown in time are withheld.
    pub(super) fn close_openings(&mut self, now: UnixMillis, out: &mut Effects) {
        while let Some(&(_, task)) = self.opening.first().filter(|(at, _)| *at <= now) {
            self.stop_waiting(task);
            let open = self.jobs.get(&task.job).and_then(|job| job.ballots.as_ref()?.get(task.index));
            for (lease, worker) in open.map(|open| open.kept.sealed.clone()).unwrap_or_default() {
                self.withhold(task, lease, worker, "its vote was not shown in time", now, out);
            }
            self.to_decide.insert(task);
        }
    }

    /// The worker did not show what it was bound to: it counts as a liar.
    fn withhold(
        &mut self,
        task: TaskId,
        lease: LeaseId,
        id: WorkerId,
        reason: &str,
        now: UnixMillis,
        out: &mut Effects,
    ) {
        let mut facts = Vec::new();
        let Some(job) = self.jobs.get_mut(&task.job) else { return };
        let Some(open) = job.ballots.as_mut().and_then(|ballots| ballots.get_mut(task.index)) else { return };
        open.kept.sealed.retain(|(sealed, _)| *sealed != lease);
        self.trust.withheld(&mut open.kept.ballot, id, &mut facts);
        job.blame(task.index, id, Fault::Worker);
        let (fault, reason) = (Fault::Worker, kept(reason));
        let failure = Change::AttemptFailed { task, lease, worker: id, fault, reason, work_done: 0, at: now };
        out.changes.push(failure);
        if self.end_lease(lease, now).is_some() {
            self.tell_to_stop(id, lease, "its vote was not shown".to_owned(), out);
        }
        self.ballot_changed(task, out);
        self.to_decide.insert(task);
        self.apply(facts, now, out);
    }

    /// A worker shows what its vote was for. Errs with why that does not count.
    pub(super) fn opened(
        &mut self,
        task: TaskId,
        id: WorkerId,
        finish: Finish,
        (batch, position): (LeaseId, u32),
        now: UnixMillis,
        out: &mut Effects,
    ) -> Result<bool, String> {
        let Finish { lease, outcome, encoded, flaw, salt, .. } = finish;
        let job = self.jobs.get_mut(&task.job).expect("a lease in force has a live job");
        let ballots = job.ballots.as_mut().expect("the caller found a replicated job");
        let open = ballots.get_mut(task.index).expect("a sealed vote has a ballot");
        let invalid = match (outcome.check(), salt) {
            (Err(error), _) => Some(error.to_string()),
            _ if open.opens_by.is_none() => Some("it was shown before that was asked".to_owned()),
            (Ok(()), None) => Some("it came without its salt".to_owned()),
            (Ok(()), Some(salt)) => flaw.or_else(|| {
                let opened = open.kept.ballot.open(id, compared(&outcome), salt);
                opened.err().map(|error| error.to_string())
            }),
        };
        if let Some(reason) = invalid {
            self.withhold(task, lease, id, &reason, now, out);
            return Err(reason);
        }
        let answered = outcome.answer.is_some();
        let to_show = answered || !outcome.files.is_empty();
        open.kept.sealed.retain(|(sealed, _)| *sealed != lease);
        open.kept.shown.push(ShownVote { lease, worker: id, answered, to_show });
        out.changes.push(Change::ResultAdded(ResultAdded {
            task,
            lease,
            worker: id,
            batch,
            position,
            outcome: encoded,
            verdict: Verdict::Voted,
            shown: false,
            work: outcome.usage.work_done,
            shares: 0,
            at: now,
        }));
        self.end_lease(lease, now);
        self.ballot_changed(task, out);
        self.to_decide.insert(task);
        Ok(true)
    }

    fn certify(&mut self, task: TaskId, certificate: &Certificate, now: UnixMillis, out: &mut Effects) {
        let mut facts = Vec::new();
        let job = self.jobs.get_mut(&task.job).expect("it has a ballot");
        let open = job.ballots.as_mut().and_then(|ballots| ballots.get_mut(task.index)).expect("it has a ballot");
        self.trust.certify(&mut open.kept.ballot, certificate, &mut facts);
        self.apply(facts, now, out);
        self.ballot_changed(task, out);
    }

    /// What the engine has found becomes durable and takes its course.
    fn apply(&mut self, facts: Vec<Fact>, now: UnixMillis, out: &mut Effects) {
        for fact in facts {
            match fact {
                Fact::StandingChanged { worker, class, standing } => {
                    out.changes.push(Change::TrustChanged { worker, class, standing });
                }
                Fact::Exposed { worker, class, standing, task, why } => {
                    out.changes.push(Change::TrustChanged { worker, class, standing });
                    out.changes.push(Change::LiarExposed { worker, class, task, why, at: now });
                    self.bar(worker, class, now, out);
                }
                Fact::Held { task, supporters, due, .. } => {
                    if let Some(ballots) = self.ballots_mut(task.job) {
                        ballots.set_held(task.index, Some(Held { supporters, due }));
                    }
                }
                Fact::Settled { task, supporters } => self.settle(task, &supporters, now, out),
                Fact::Reopened { task, .. } | Fact::Recalled { task } => {
                    if let Some(ballots) = self.ballots_mut(task.job) {
                        ballots.set_held(task.index, None);
                        self.ballot_changed(task, out);
                        self.to_decide.insert(task);
                    }
                }
            }
        }
    }

    /// The result may be delivered.
    fn settle(&mut self, task: TaskId, supporters: &[WorkerId], now: UnixMillis, out: &mut Effects) {
        self.stop_waiting(task);
        let Some(open) = self.ballots_mut(task.job).and_then(|ballots| ballots.close(task.index)) else { return };
        let believed = |shown: &&ShownVote| supporters.contains(&shown.worker);
        let certified = *open.kept.shown.iter().find(believed).expect("a supporter has shown its vote");
        let verdict = |shown: &ShownVote| match shown {
            shown if shown.lease == certified.lease => Verdict::Certified,
            shown if believed(&shown) => Verdict::Agreed,
            _ => Verdict::Rejected,
        };
        let results = open.kept.shown.iter().map(|shown| (shown.lease, shown.worker, verdict(shown))).collect();
        out.changes.push(Change::TaskSettled { task, results, shown: certified.to_show, at: now });
        out.touched.insert(task.job);
        for (lease, worker) in open.kept.sealed {
            if self.end_lease(lease, now).is_some() {
                self.tell_to_stop(worker, lease, "the task is settled".to_owned(), out);
            }
        }
        let job = self.jobs.get_mut(&task.job).expect("it had a ballot");
        let step = job.certify(task.index, certified.lease, certified.answered, 0);
        self.after_step(task.job, step, now, out);
    }

    /// A liar gets no more of this class of apps, and nothing that it has not shown counts.
    fn bar(&mut self, id: WorkerId, class: AppClass, now: UnixMillis, out: &mut Effects) {
        let Some(worker) = self.workers.get(&id) else { return };
        let leases: Vec<(LeaseId, TaskId)> = worker
            .leases()
            .filter_map(|lease| Some((lease, self.leases.get(lease)?.task)))
            .filter(|(_, task)| self.jobs[&task.job].ballots.as_ref().is_some_and(|ballots| ballots.class == class))
            .collect();
        for (lease, task) in leases {
            self.tell_to_stop(id, lease, "the worker was exposed as a liar".to_owned(), out);
            let sealed = self.workers[&id].sealed.contains(&lease);
            self.end_lease(lease, now);
            if let Some(job) = self.jobs.get_mut(&task.job) {
                if sealed {
                    let open = job.ballots.as_mut().and_then(|ballots| ballots.get_mut(task.index));
                    open.expect("a sealed vote has a ballot").kept.sealed.retain(|(other, _)| *other != lease);
                    self.ballot_changed(task, out);
                } else {
                    job.give_back(task.index, lease);
                }
            }
            self.to_decide.insert(task);
            self.refresh(task.job);
        }
    }

    /// Results that wait for checks which nobody will pass any more are bought with votes.
    fn hurry(&mut self, job_id: JobId, now: UnixMillis, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&job_id) else { return };
        let only_held = !job.has_waiting() && job.leases().next().is_none();
        let Some(ballots) = job.ballots.as_mut() else { return };
        if !only_held || ballots.held() == 0 || ballots.held() < ballots.len() {
            return;
        }
        ballots.hurried = true;
        let mut facts = Vec::new();
        for (_, open) in ballots.iter() {
            self.trust.recall(&open.kept.ballot, &mut facts);
        }
        self.apply(facts, now, out);
    }

    /// The task ends without a certificate.
    pub(super) fn close_ballot(&mut self, task: TaskId, reason: &str, now: UnixMillis, out: &mut Effects) {
        self.stop_waiting(task);
        let Some(mut open) = self.ballots_mut(task.job).and_then(|ballots| ballots.close(task.index)) else { return };
        self.trust.forget(&open.kept.ballot);
        for (lease, worker) in std::mem::take(&mut open.kept.sealed) {
            if self.end_lease(lease, now).is_some() {
                self.tell_to_stop(worker, lease, reason.to_owned(), out);
            }
        }
        open.kept.hopeless = Some(reason.to_owned());
        out.changes.push(Change::BallotChanged { task, ballot: Box::new(open.kept) });
    }

    /// All ballots of a job that ends.
    pub(super) fn close_ballots(&mut self, job_id: JobId, reason: &str, now: UnixMillis, out: &mut Effects) {
        let Some(ballots) = self.jobs.get(&job_id).and_then(|job| job.ballots.as_ref()) else { return };
        let indices: Vec<u64> = ballots.iter().map(|(index, _)| index).collect();
        for index in indices {
            let task = TaskId { job: job_id, index };
            self.stop_waiting(task);
            self.to_decide.remove(&task);
            let Some(open) = self.ballots_mut(job_id).and_then(|ballots| ballots.close(index)) else { continue };
            self.trust.forget(&open.kept.ballot);
            for (lease, worker) in open.kept.sealed {
                if self.end_lease(lease, now).is_some() {
                    self.tell_to_stop(worker, lease, reason.to_owned(), out);
                }
            }
        }
    }

    /// A worker that gives up too many leases of a replicated job is taken off it.
    pub(super) fn note_given_up(&mut self, id: WorkerId, job_id: JobId) {
        let Some(job) = self.jobs.get_mut(&job_id).filter(|job| job.ballots.is_some()) else { return };
        let (given_up, votes) = job.gave_up(id);
        if given_up > GIVEN_UP_MAX + votes {
            job.excluded.insert(id);
        }
    }

    /// Why a replicated job stands still, though workers that could run it are idle or its tasks have all been run.
    pub(super) fn why_votes(&self, job: &Job) -> Option<(String, String)> {
        let ballots = job.ballots.as_ref()?;
        let able = self.workers.iter().filter(|(id, worker)| {
            worker.connection.is_some() && worker.classes.contains(&job.class) && self.may_run(**id, job)
        });
        let (mut owners, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        for (id, _) in able {
            let Voter { owner, host, .. } = self.voter(*id);
            owners.insert(owner);
            hosts.insert(host);
        }
        let voices = owners.len().min(hosts.len()) as u64;
        let terms = ballots.terms(self.outlook(job));
        let needed = self.trust.estimate(ballots.class, &terms, usize::MAX).map_or(1.0, |plan| plan.quiet.redundancy);
        let (open, held, wanting) = (ballots.len(), ballots.held(), ballots.wanting());
        #[expect(clippy::cast_precision_loss, reason = "a count of workers")]
        if needed > voices as f64 && (wanting > 0 || job.has_fresh()) {
            let reason = format!(
                "a task needs {needed:.0} votes of workers with different owners and addresses, and {voices} such workers \
                 could vote"
            );
            let hint = "connect workers elsewhere, accept a larger `max_error`, or, if you know your workers, start the \
                        scheduler with `--voters-apart workers`";
            return Some((reason, hint.to_owned()));
        }
        let voting = open - held;
        (open > 0 && !job.has_waiting()).then(|| {
            let reason = format!(
                "{voting} tasks wait for votes, and {held} results until the workers that gave them have passed more checks"
            );
            (reason, "a larger `max_error` needs fewer of both".to_owned())
        })
    }
}
