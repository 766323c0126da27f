//! The coordinator's end and beginning: what a crash leaves, and what is made of it.

use gridctl_coordinator::disk::{CrashSeed, Disk};
use gridctl_coordinator::journal::{Opened, Recovered, Store, StoreConfig};
use gridctl_coordinator::results::ResultsConfig;
use gridctl_core::effect::FactIndex;
use gridctl_core::event::Event;
use gridctl_core::fact::Fact;
use gridctl_core::gate::ReleaseGate;
use gridctl_core::lease::EXPIRE_EVERY_MS;
use gridctl_core::scheduler::{Config, Scheduler};
use gridctl_core::state::State;

use crate::coordinator::{Circumstances, Coordinator};
use crate::coverage::Group;
use crate::invariants::{Rule, Violation, check};
use crate::room::SPACE;
use crate::schedule::{WALL_SKEW_MS, draw_clock};
use crate::world::{Happening, Life, World};

/// The changes of the disk that a recovery makes at most before it may crash again.
const RECOVERY_CHANGES_MAX: u64 = 12;

/// The changes of the disk that a sweep makes about.
const SWEEP_CHANGES_MAX: u64 = 16;

/// What is read back.
pub(crate) struct Reopened {
    pub(crate) store: Store,
    pub(crate) recovered: Recovered,
    pub(crate) facts: Vec<Fact>,
    pub(crate) state: State,
}

impl World<'_> {
    /// The power of the coordinator's machine goes, in the middle of whatever it was writing.
    pub(crate) fn crash_coordinator(&mut self, down_ms: u64) -> Result<(), Violation> {
        let Some(mut coordinator) = self.coordinator.take() else { return Ok(()) };
        if coordinator.is_committing && !self.disk.is_down() && self.rng.bool() {
            self.disk.crash_in(self.rng.u64(1..5));
            // How far it got is what the disk says afterwards.
            let _ = coordinator.store.commit();
        }
        if let Some(sweep) = coordinator.sweep.take().filter(|_| !self.disk.is_down()) {
            self.disk.crash_in(self.rng.u64(1..SWEEP_CHANGES_MAX));
            // As above.
            let _ = sweep();
        }
        self.check_replay(&coordinator)?;
        drop(coordinator);
        self.disk.crash(CrashSeed(self.rng.u64(..)));
        self.damage_snapshot();
        self.trace.note("crash", || format!("the coordinator crashes, down for {down_ms} ms"));
        self.start_later(down_ms);
        Ok(())
    }

    /// The coordinator's process ends at once; what it wrote is there, synced or not.
    pub(crate) fn kill_coordinator(&mut self, down_ms: u64) -> Result<(), Violation> {
        let Some(mut coordinator) = self.coordinator.take() else { return Ok(()) };
        if coordinator.is_committing && self.rng.bool() {
            // Written, and maybe synced; nobody is told.
            self.disk.set_failing_syncs(self.rng.bool());
            let _ = coordinator.store.commit();
            self.disk.set_failing_syncs(false);
        }
        self.check_replay(&coordinator)?;
        drop(coordinator);
        self.trace.note("kill", || format!("the coordinator is killed, down for {down_ms} ms"));
        self.start_later(down_ms);
        Ok(())
    }

    fn check_replay(&self, coordinator: &Coordinator) -> Result<(), Violation> {
        let mut replayed = State::new();
        self.ledger.facts().iter().for_each(|fact| replayed.apply(fact));
        check(replayed == *coordinator.scheduler.state(), Rule::ReplayIsState, || {
            "the facts that were made give another state than the scheduler has".to_owned()
        })
    }

    fn start_later(&mut self, down_ms: u64) {
        let lease_ms = self.schedule.lease_ms;
        self.break_all(2 * lease_ms);
        self.agenda.put(self.now.after(down_ms), Happening::StartCoordinator);
    }

    pub(crate) fn start_coordinator(&mut self) -> Result<(), Violation> {
        if self.coordinator.is_some() {
            return Ok(());
        }
        if self.now < self.schedule.calm_at && self.rng.u8(0..6) == 0 {
            self.disk.crash_in(self.rng.u64(1..RECOVERY_CHANGES_MAX));
        }
        let reopened = match self.reopen() {
            Ok(reopened) => reopened,
            Err(_) if self.disk.is_down() => {
                // It crashed again while it recovered.
                self.disk.crash(CrashSeed(self.rng.u64(..)));
                self.agenda.put(self.now.after(1), Happening::StartCoordinator);
                return Ok(());
            }
            Err(_) if self.has_no_room() => {
                // Started again and again until there is room.
                let at = self.try_again_at();
                self.agenda.put(at, Happening::StartCoordinator);
                return Ok(());
            }
            Err(violation) => return Err(violation),
        };
        self.disk.cancel_crash();
        let Reopened { store, recovered, facts, state } = reopened;
        self.coverage.hit(Group::Elsewhere, "recovery");
        if recovered.cut.is_some() {
            self.coverage.hit(Group::Elsewhere, "torn journal tail cut");
        }
        self.ledger.recovered(&facts, &state)?;
        self.life = Life(self.life.0 + 1);
        self.trace.note(("starts", recovered.last), || {
            format!(
                "the coordinator starts with {} facts, cut {:?}",
                recovered.last.0, recovered.cut
            )
        });
        let restored = self.is_restored;
        let lease_ms = self.schedule.lease_ms;
        let config = Config::new(lease_ms, self.rng.u64(..));
        let life = Circumstances {
            clock: draw_clock(&mut self.rng),
            // Its epoch is to outgrow what the copy has forgotten: its clock is not behind.
            wall_ahead_ms: if restored {
                WALL_SKEW_MS
            } else {
                self.rng.i64(-WALL_SKEW_MS..WALL_SKEW_MS)
            },
            gate: ReleaseGate::new(recovered.last),
        };
        let scheduler = Scheduler::new(config, state);
        self.coordinator = Some(Coordinator::new(scheduler, store, lease_ms, life));
        self.agenda.put(self.now.after(EXPIRE_EVERY_MS), Happening::ExpireLeases(self.life));
        self.tell_scheduler(Event::Start { restored })
    }

    /// Puts the facts that a snapshot stands for before those that were read.
    fn since_the_beginning(
        &self,
        snapshot: Option<FactIndex>,
        tail: Vec<Fact>,
    ) -> Result<Vec<Fact>, Violation> {
        let count = snapshot.map_or(0, |index| usize::try_from(index.0).unwrap_or(usize::MAX));
        let before = self.ledger.facts().get(..count);
        check(before.is_some(), Rule::ReplayIsState, || {
            format!("a snapshot holds {count} facts, and fewer were made")
        })?;
        Ok(before.into_iter().flatten().cloned().chain(tail).collect())
    }

    /// Lets the newest of two snapshots rot while the machine is down, sometimes: the other one must do.
    fn damage_snapshot(&mut self) {
        let names = self.disk.list("snapshots").unwrap_or_default();
        let [.., _, newest] = &*names else { return };
        let path = format!("snapshots/{newest}");
        if !newest.ends_with(".snap") || self.rng.u8(0..4) > 0 {
            return;
        }
        if let Some(mut bytes) = self.disk.content(&path).filter(|bytes| bytes.len() > 12) {
            // Not its version: that would be a newer one, which is refused.
            let place = self.rng.usize(12..bytes.len());
            bytes[place] ^= 1 << self.rng.u8(0..8);
            self.disk.put(&path, bytes);
            self.coverage.hit(Group::Elsewhere, "snapshot damaged");
        }
    }

    /// A snapshot is made, and what it replaces is cleared away.
    pub(crate) fn sweep(&mut self, life: Life) -> Result<(), Violation> {
        let Some(coordinator) = self.coordinator.as_mut().filter(|_| self.life == life) else {
            return Ok(());
        };
        let Some(sweep) = coordinator.sweep.take() else { return Ok(()) };
        let failing = self.fail_next_sync.take();
        self.disk.set_failing_syncs(failing.is_some());
        let swept = sweep();
        self.disk.set_failing_syncs(false);
        if let Some(down_ms) = failing {
            return self.crash_coordinator(down_ms);
        }
        match swept {
            Ok(Some(swept)) => {
                self.trace.note(("sweep", swept.snapshot), || format!("  {swept:?}"));
                self.coverage.hit(Group::Elsewhere, "snapshot");
                if swept.journal_segments > 0 {
                    self.coverage.hit(Group::Elsewhere, "journal cut");
                }
                if swept.results.removed > 0 {
                    self.coverage.hit(Group::Elsewhere, "result segment removed");
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            // There will be another one.
            Err(_) if self.has_no_room() => Ok(()),
            Err(error) => {
                check(false, Rule::JournalRecovers, || format!("a sweep failed: {error}"))
            }
        }
    }

    /// Reads the journal and the results back from the disk.
    pub(crate) fn reopen(&self) -> Result<Reopened, Violation> {
        let mut tail = Vec::new();
        let config = StoreConfig {
            segment_bytes: self.schedule.journal_segment_bytes,
            snapshot_every_bytes: self.schedule.journal_segment_bytes / 2,
            results: ResultsConfig {
                block_bytes: 1 << 10,
                segment_bytes: 4 << 10,
                buffered_bytes_max: 16 << 10,
            },
            space: SPACE,
        };
        match Store::open(self.disk(), config, &mut |_, fact| tail.push(fact.clone())) {
            Ok(Opened { store, state, recovered }) => {
                let facts = self.since_the_beginning(recovered.snapshot, tail)?;
                let mut replayed = State::new();
                facts.iter().for_each(|fact| replayed.apply(fact));
                check(replayed == state, Rule::ReplayIsState, || {
                    format!("snapshot {:?} and the journal give another state", recovered.snapshot)
                })?;
                Ok(Reopened { store, recovered, facts, state })
            }
            Err(error) => {
                check(false, Rule::JournalRecovers, || format!("recovery refuses: {error}"))?;
                unreachable!("the check above fails")
            }
        }
    }
}
