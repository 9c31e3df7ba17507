//! A node leaves amid the troubles: what the harness does about it, and what it holds the operation to.

use super::desk::Job;
use super::harness::{Happening, Harness};
use super::machine::Role;
use crate::verdict::{Verdict, demand};
use control::view::OperationView;
use std::collections::BTreeSet;
use std::time::Duration;
use types::operation::OperationKind;

/// Once everything has healed, an operation has its last verdict within this.
const VERDICT_MAX: Duration = Duration::from_secs(150);

const VERDICT: &str = "an operation's verdict is true";

impl Harness<'_> {
    pub(super) fn plan_leave(&mut self) {
        let Some(job) = self.scenario.job else { return };
        let trouble = u64::try_from(self.scenario.trouble.as_millis()).unwrap_or(4_000);
        let at = self.dice.between(0, trouble * 2 / 3);
        self.after(Duration::from_millis(at), Happening::Leave(job));
        for _ in 0..self.dice.below(4) {
            let at = self.dice.between(at, trouble);
            self.after(Duration::from_millis(at), Happening::Order);
        }
    }

    pub(super) fn leave(&mut self, job: Job) {
        self.history.note(&format!("somebody asks for {job:?}"));
        self.desk.begin(job);
    }

    pub(super) fn give_order(&mut self) {
        let orders = ["pause", "resume", "pause", "resume", "retry", "cancel"];
        let order = *self.dice.pick(&orders);
        self.history.note(&format!("somebody says {order}"));
        self.desk.order(order);
    }

    /// What was not asked for before everything healed is asked for now, and what is paused goes on.
    pub(super) fn let_go_on(&mut self) {
        if let Some(job) = self.scenario.job {
            self.leave(job);
            self.desk.order("resume");
        }
    }

    /// The node that gets no new replicas, where there is no other one to make them: what its disk lost while it was
    /// in trouble stays lost.
    pub(super) fn takes_nothing(&self) -> Option<u64> {
        let leaves = self.scenario.job.is_some_and(|job| job.kind == OperationKind::Decommission);
        let seen = self.desk.seen().filter(|_| leaves && self.scenario.nodes == 3)?;
        let is_back = self.desk.own(&seen).is_some_and(|own| own.state == "cancelled");
        self.desk.node().filter(|_| !is_back)
    }

    /// Partitions of which something is in the folders of a node.
    fn left_on(&self, node: usize) -> BTreeSet<u64> {
        let paths = self.machine(Role::Node(node)).sim_disk().paths();
        let folder = |path: &String| {
            let (_, rest) = path.split_once("replicas/")?;
            rest.split_once('-')?.0.parse().ok()
        };
        paths.iter().filter_map(folder).collect()
    }

    /// Who says that it has succeeded is right at that moment: nothing is on the target. But for a disk that had
    /// failed by the word of its node, and works again.
    pub(super) fn check_claim(&mut self) -> Verdict {
        let Some(job) = self.scenario.job.filter(|job| job.kind == OperationKind::Decommission)
        else {
            return Ok(());
        };
        let Some(seen) = self.desk.news() else { return Ok(()) };
        let Some(operation) = self.desk.own(&seen) else { return Ok(()) };
        let evidence = operation.evidence.as_ref().filter(|evidence| evidence.dead.is_empty());
        if operation.state == "succeeded" && evidence.is_some() {
            let left = self.left_on(job.node);
            demand(left.is_empty(), VERDICT, || {
                format!("node-{} still has {left:?}: {operation:#?}", job.node)
            })?;
        }
        Ok(())
    }

    /// Once everything has healed, the operation ends by itself, or says rightly why it cannot.
    pub(super) fn see_verdict(&mut self) -> Verdict {
        let Some(job) = self.scenario.job else { return Ok(()) };
        let healed = self.sim.elapsed();
        self.until(VERDICT_MAX, "a true verdict", |harness| {
            let seen = harness.desk.seen().filter(|seen| seen.asked > healed);
            let Some(seen) = seen.filter(|_| harness.desk.is_served()) else { return false };
            let repairs = seen.operations.iter().filter(|o| o.kind == OperationKind::Repair.word());
            let repaired = { repairs }.all(|repair| harness.is_repaired(repair));
            harness.desk.own(&seen).is_some_and(|own| repaired && harness.is_true(job, own))
        })
    }

    fn is_repaired(&self, repair: &OperationView) -> bool {
        let has_no_place = || repair.residue.iter().all(|residue| residue.reason == "NO_TARGET");
        let lacks = repair.state == "incomplete" && self.takes_nothing().is_some();
        repair.state == "succeeded" || (lacks && has_no_place())
    }

    fn is_true(&self, job: Job, operation: &OperationView) -> bool {
        let left = self.left_on(job.node);
        match operation.state.as_str() {
            "cancelled" => true,
            "succeeded" if job.kind == OperationKind::Decommission => left.is_empty(),
            "succeeded" => self.leads_nothing(),
            // Nowhere to go: for each of what is there, and for nothing else.
            "incomplete" if self.scenario.nodes == 3 => {
                let residue = operation.residue.iter();
                let said: BTreeSet<u64> = residue.clone().filter_map(|r| r.partition).collect();
                said == left && residue.clone().all(|residue| residue.reason == "NO_TARGET")
            }
            _ => false,
        }
    }

    fn leads_nothing(&self) -> bool {
        let Some((shown, node)) = self.screen.last().zip(self.desk.node()) else { return false };
        shown.partitions.iter().all(|partition| {
            let leader = partition.leader;
            let leads = |id: u64| partition.replicas.iter().any(|r| r.id == id && r.node == node);
            leader.is_some_and(|leader| !leads(leader))
        })
    }

    /// When nothing is left of the volume, no operation has anything left to do.
    pub(super) fn see_all_end(&mut self) -> Verdict {
        if self.scenario.job.is_none() {
            return Ok(());
        }
        let deleted = self.sim.elapsed();
        self.until(VERDICT_MAX, "an end of all operations of the cluster", |harness| {
            let seen = harness.desk.seen().filter(|seen| seen.asked > deleted);
            seen.is_some_and(|seen| {
                let ended =
                    |o: &OperationView| matches!(o.state.as_str(), "succeeded" | "cancelled");
                seen.operations.iter().all(ended)
            })
        })
    }
}
