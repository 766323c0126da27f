//! What must hold between any two steps; the simulator asks after each.

use std::collections::BTreeMap;

use gridctl_jobs::id::{StageId, WorkerId};
use gridctl_jobs::range::TaskRange;

use super::Scheduler;
use super::limits::OUTSTANDING_MAX;
use crate::activity::WorkerState;
use crate::ranges;

impl Scheduler {
    /// Recounts everything that is kept in two places.
    ///
    /// # Panics
    /// With what is broken.
    pub fn check_invariants(&self) {
        self.state.check_invariants();
        self.fleet.check_invariants();
        self.check_jobs();
        self.check_stages();
        self.check_bars();
        self.check_loads();
        self.check_queue();
        self.check_workers_shown();
        self.check_nothing_idles();
    }

    /// Jobs that are over are ended, and stages that can run do.
    fn check_jobs(&self) {
        for job in self.state.open_jobs() {
            assert!(job.counts().open() > 0, "job {} is over and has not ended", job.number());
        }
        for (id, runnable) in &self.stages {
            let job = self.state.job(id.job).expect("a stage that runs has a job");
            let stage = job.stage(id.stage).expect("its job has it");
            assert!(stage.counts().open() > 0, "{id:?} runs and has nothing open");
            for needed in &super::runnable::stage_spec(job.spec(), stage).needs {
                let needed = job.stage(*needed).expect("needs were checked at admission");
                assert!(needed.has_succeeded(), "{id:?} runs before what it needs");
            }
            assert_eq!(runnable.rank.id(), *id, "a stage runs under another's name");
        }
    }

    /// Every open task of a stage that runs is in exactly one place.
    fn check_stages(&self) {
        for stage in self.activity.granted.keys() {
            assert!(self.stages.contains_key(stage), "{stage:?} is granted and does not run");
        }
        for (id, runnable) in &self.stages {
            let stage = self.state.stage(*id).expect("a stage that runs is known");
            let empty = BTreeMap::new();
            let granted = self.activity.granted.get(id).unwrap_or(&empty);
            ranges::check(granted, "granted");
            for (start, piece) in granted {
                let range = TaskRange::new(*start, piece.end);
                let open = stage.committable(range, piece.token);
                assert_eq!(
                    open,
                    [range],
                    "{id:?}: {range} is granted under {} and could not commit",
                    piece.token
                );
                assert!(piece.token <= self.token, "{id:?}: a token that was never given out");
            }
            let held = self.activity.granted_tasks(*id);
            assert_eq!(held, runnable.granted, "{id:?}: granted tasks, counted anew");
            let everything = TaskRange::new(0, stage.counts().total);
            let barred = self.bars.within(*id, everything).into_iter();
            let barred: u64 =
                barred.flat_map(|part| self.loose(*id, part)).map(|part| part.len()).sum();
            let places = runnable.waiting() + held + barred;
            assert_eq!(
                places,
                stage.counts().open(),
                "{id:?}: open tasks are pending, granted, waiting or barred"
            );
            if let Some((last, piece)) = granted.last_key_value() {
                let watermark = stage.watermark();
                assert!(piece.end <= watermark, "{id:?}: {last} is granted above the watermark");
            }
            let waits_alone = !runnable.suspects.is_empty();
            assert_eq!(
                self.suspects.contains(&runnable.rank),
                waits_alone,
                "{id:?}: listed if and only if some of it wait to run alone"
            );
            let free = |range: TaskRange| {
                ranges::overlapping(granted, range).next().is_none()
                    && stage.next_open(range.start) == Some(range.start)
                    && stage.open_until(range.start) >= range.end
                    && self.bars.within(*id, range).is_empty()
            };
            runnable.pending.check_invariants(free);
            for index in runnable.later.indexes() {
                assert!(
                    free(TaskRange::one(index)),
                    "{id:?}: task {index} waits for a retry and is not free"
                );
            }
            for index in runnable.suspects.keys().map(|index| u64::from(*index)) {
                assert!(
                    free(TaskRange::one(index)) && stage.is_suspect(index),
                    "{id:?}: task {index} waits to run alone and is not free, or no suspect"
                );
            }
        }
    }

    /// What workers hold is what is granted.
    fn check_loads(&self) {
        let mut held: BTreeMap<(WorkerId, StageId), u64> = BTreeMap::new();
        for (stage, pieces) in &self.activity.granted {
            for (start, piece) in pieces {
                *held.entry((piece.worker, *stage)).or_default() += piece.end - start;
            }
        }
        let loads: BTreeMap<(WorkerId, StageId), u64> = self
            .fleet
            .iter()
            .flat_map(|(worker, machine)| {
                machine.loads.iter().map(move |(stage, load)| ((worker, *stage), load.outstanding))
            })
            .collect();
        assert_eq!(loads, held, "what workers hold, counted anew");
    }

    fn check_queue(&self) {
        for (id, runnable) in &self.stages {
            let pending = runnable.pending.len() > 0;
            let queued = self.queue.contains(runnable.cpus, runnable.rank);
            assert_eq!(queued, pending, "{id:?}: in the queue if and only if something is pending");
            assert!(
                runnable.claims.len() as u64 <= runnable.pending.len(),
                "{id:?} claims more workers than it has tasks"
            );
            assert_eq!(
                runnable.timer,
                runnable.later.next(),
                "{id:?}: the timer is set for the first retry"
            );
            for worker in &runnable.claims {
                let claim = self.fleet.get(*worker).and_then(|machine| machine.claim);
                assert_eq!(
                    claim,
                    Some(runnable.rank),
                    "{id:?}: its claim on {worker:?} is known there"
                );
            }
            let backoff = self.activity.backoff.get(id).map_or(0, |backoff| backoff.tasks);
            assert_eq!(backoff, runnable.later.len(), "{id:?}: readers see what waits for a retry");
        }
        for (_, rank) in self.queue.iter() {
            assert!(self.stages.contains_key(&rank.id()), "{rank:?} is queued and does not run");
        }
        for (at, stage) in &self.timers {
            let timer = self.stages.get(stage).and_then(|runnable| runnable.timer);
            assert_eq!(timer, Some(*at), "{stage:?}: a timer of nobody");
        }
    }

    fn check_workers_shown(&self) {
        for (worker, machine) in self.fleet.iter() {
            let shown = self.activity.workers.get(&worker).expect("readers see every worker");
            let there = (machine.shown_state(), machine.cpus, machine.reserved);
            assert_eq!(
                (shown.state, shown.cpus, shown.reserved),
                there,
                "{worker:?} is shown as it is"
            );
            assert_eq!(
                machine.is_withheld,
                self.is_withheld(worker),
                "{worker:?} is kept from work as the facts say"
            );
            assert_eq!(shown.alone, machine.is_reserved(), "{worker:?} is shown as it is");
            if machine.alone {
                let held: u64 = machine.loads.values().map(|load| load.outstanding).sum();
                assert_eq!(held, 1, "{worker:?} runs one task alone");
            }
            let kept = self.kept_for_suspects == Some(worker);
            assert!(
                kept || !machine.kept_for_suspects,
                "{worker:?} is kept for suspects, beside another"
            );
            if machine.state == WorkerState::Lost {
                assert!(machine.loads.is_empty(), "{worker:?} is lost and holds tasks");
            }
        }
    }

    /// No worker has room for something that is pending, unless it is kept free for a wider task.
    fn check_nothing_idles(&self) {
        if self.kept_for_suspects.is_none() {
            assert_eq!(
                self.worker_for_suspects(),
                None,
                "suspects wait, and no worker is kept for them"
            );
        }
        for (worker, machine) in self.fleet.iter() {
            if !machine.takes_work() || machine.claim.is_some() {
                continue;
            }
            for (cpus, rank) in self.queue.iter().filter(|(cpus, _)| *cpus <= machine.free()) {
                let full = machine.load(rank.id()).outstanding >= OUTSTANDING_MAX;
                let runnable = self.runnable(rank.id());
                let has = runnable.may_run_on(machine) && runnable.pending.has_for(worker);
                assert!(
                    full || !has,
                    "{worker:?} has {} cpus free for {rank:?} of {cpus}",
                    machine.free()
                );
            }
        }
    }
}
