//! When a schedule is over, and whether it ended as it must.

use std::collections::BTreeSet;
use std::sync::Arc;

use gridctl_coordinator::results::Part;
use gridctl_core::state::{Counts, Stage};
use gridctl_jobs::id::{StageId, StageIndex};
use gridctl_jobs::state::JobState;

use crate::coordinator::has_nothing_reserved;
use crate::executor::output_of;
use crate::invariants::{Rule, Violation, check, name};
use crate::schedule::{Behaviour, JobPlan};
use crate::time::SimMs;
use crate::world::World;

/// How long everything may take once the faults have stopped: backoffs of retries (seconds), leases and
/// windows (seconds; ten minutes where the coordinator was set back), the work itself (half a minute), many times over.
const END_WITHIN_MS: u64 = 1_800_000;

impl World<'_> {
    /// Says whether everyone has what they wanted and nothing is left to do.
    pub(crate) fn has_ended(&self) -> bool {
        let Some(coordinator) = &self.coordinator else { return false };
        self.clients.are_content()
            && coordinator.is_settled()
            && coordinator.scheduler.state().open_job_count() == 0
            && self.workers.iter().all(crate::worker::Worker::is_idle)
    }

    /// Counts the jobs that have not ended, as far as a coordinator is there to know.
    pub(crate) fn open_jobs(&self) -> usize {
        self.coordinator
            .as_ref()
            .map_or(1, |coordinator| coordinator.scheduler.state().open_job_count())
    }

    /// Fails once it has taken too long.
    pub(crate) fn check_deadline(&self) -> Result<(), Violation> {
        let until = self.schedule.calm_at.after(END_WITHIN_MS);
        check(self.now < until, Rule::EverythingEnds, || {
            let open: Vec<String> = self
                .coordinator
                .iter()
                .flat_map(|coordinator| {
                    coordinator
                        .scheduler
                        .state()
                        .open_jobs()
                        .map(|job| format!("{}: {:?}", job.number(), job.counts()))
                })
                .collect();
            let busy: Vec<usize> =
                (0..self.workers.len()).filter(|worker| !self.workers[*worker].is_idle()).collect();
            format!(
                "open jobs {open:?}, busy workers {busy:?}, unanswered {:?}",
                self.clients.open()
            )
        })
    }

    /// Checks what is left at the end, and that a restart finds the same.
    pub(crate) fn check_end(&mut self) -> Result<(), Violation> {
        self.check_views()?;
        self.no_room_until = SimMs(0);
        self.heal_disk();
        let Some(coordinator) = self.coordinator.take() else {
            return check(false, Rule::EverythingEnds, || "there is no coordinator".to_owned());
        };
        let state = coordinator.scheduler.state().clone();
        let free = has_nothing_reserved(&coordinator.seen_activity);
        check(free, Rule::CapacityInAccount, || "cpus are reserved, and nothing runs".to_owned())?;
        for plan in &self.schedule.jobs {
            let job = state.job(plan.id);
            let is_lost = self.was_restored && job.is_none();
            if is_lost || self.ledger.is_forgotten(plan.id) {
                continue;
            }
            check(job.is_some(), Rule::AcknowledgedJobSurvives, || {
                format!("job {} is not there", plan.id)
            })?;
            let Some(job) = job else { continue };
            self.check_job(plan, job.ended(), job.stages())?;
        }
        drop(coordinator);
        let reopened = self.reopen()?;
        check(reopened.state == state, Rule::ReplayIsState, || {
            "the journal gives another state".to_owned()
        })?;
        check(reopened.facts == self.ledger.facts(), Rule::ReplayIsState, || {
            "the journal gives other facts".to_owned()
        })?;
        self.ledger.check_jobs_survive(&state)?;
        let results = Arc::clone(reopened.store.results());
        for job in state.jobs() {
            for stage in job.stages() {
                check_outputs(self.schedule.behaviour(stage.id()), stage, |kept, part| {
                    results.read(kept, part).map_err(|error| error.to_string())
                })?;
            }
        }
        Ok(())
    }
}

impl World<'_> {
    /// Checks that a job ended as its tasks behave.
    fn check_job(
        &self,
        plan: &JobPlan,
        ended: Option<JobState>,
        stages: &[Stage],
    ) -> Result<(), Violation> {
        let fails = |holds, what: &str| {
            check(holds, Rule::EverythingEnds, || format!("job {}: {what}", plan.id))
        };
        fails(ended.is_some(), "has not ended")?;
        let mut succeeded: Vec<bool> = Vec::new();
        for (stage, (spec, behaviour)) in
            stages.iter().zip(plan.spec.stages.iter().zip(&plan.behaviours))
        {
            let counts = stage.counts();
            fails(counts.open() == 0, "has open tasks")?;
            succeeded.push(counts.done == counts.total);
            let skipped = spec.needs.iter().any(|need| !succeeded[need.0 as usize]);
            if plan.cancel.is_none() && behaviour.missing_on.is_none() {
                let set_aside = self.ledger.set_aside(stage.id());
                check_counts(plan, stage, behaviour, skipped, set_aside)?;
            }
        }
        if plan.cancel.is_none() {
            let expected =
                if succeeded.iter().all(|done| *done) { JobState::Done } else { JobState::Failed };
            fails(ended == Some(expected), &format!("ended as {ended:?} and not as {expected:?}"))?;
        }
        Ok(())
    }
}

/// Checks what became of the tasks of a stage that nobody cancelled.
fn check_counts(
    plan: &JobPlan,
    stage: &Stage,
    behaviour: &Behaviour,
    skipped: bool,
    mut failing: BTreeSet<u64>,
) -> Result<(), Violation> {
    let counts = stage.counts();
    failing.extend(behaviour.broken.filter(|index| *index < counts.total));
    let place = stage.id().stage.0 as usize;
    let most = plan.spec.stages[place].budget.max_failures;
    // Once that many have failed, the others may or may not have begun.
    let ended_early = !skipped && most.is_some_and(|most| counts.failed >= most);
    let broken = if ended_early { counts.failed } else { failing.len() as u64 };
    let left_out = if ended_early { counts.skipped } else { 0 };
    check(broken <= failing.len() as u64, Rule::EverythingEnds, || {
        format!("{broken} tasks of a stage of job {} failed, and not {failing:?}", plan.id)
    })?;
    let expected = if skipped {
        Counts { total: counts.total, skipped: counts.total, ..Counts::default() }
    } else {
        Counts {
            total: counts.total,
            done: counts.total - broken - left_out,
            failed: broken,
            skipped: left_out,
            ..Counts::default()
        }
    };
    check(counts == expected, Rule::EverythingEnds, || {
        let StageId { stage: StageIndex(index), .. } = stage.id();
        format!("stage {index} of job {} ended with {counts:?} and not {expected:?}", plan.id)
    })
}

/// Checks that the kept outputs of a stage are those of the attempts that committed.
fn check_outputs(
    behaviour: Option<&Behaviour>,
    stage: &Stage,
    mut read: impl FnMut(&gridctl_core::fact::Kept, Part) -> Result<Vec<u8>, String>,
) -> Result<(), Violation> {
    let Some(behaviour) = behaviour else { return Ok(()) };
    let mut from = 0;
    while let Some((index, done)) = stage.kept_from(from) {
        from = index + 1;
        let expected = output_of(behaviour, stage.id(), index, done.token);
        let stdout = read(&done.kept, Part::Stdout);
        let result = read(&done.kept, Part::Result);
        let same = expected
            .is_some_and(|expected| stdout == Ok(expected.stdout) && result == Ok(expected.result));
        check(same, Rule::RightResult, || {
            format!("the kept output of {} is not that of {}", name(stage.id(), index), done.token)
        })?;
    }
    Ok(())
}
