//! The coordinator's end and beginning: what a crash leaves, and what is made of it.

use std::sync::Arc;

use gridctl_coordinator::disk::{CrashSeed, Disk};
use gridctl_coordinator::journal::{Recovered, Store, StoreConfig};
use gridctl_coordinator::results::ResultsConfig;
use gridctl_coordinator::space::SpaceConfig;
use gridctl_core::event::Event;
use gridctl_core::fact::Fact;
use gridctl_core::gate::ReleaseGate;
use gridctl_core::lease::EXPIRE_EVERY_MS;
use gridctl_core::scheduler::{Config, Scheduler};
use gridctl_core::state::State;

use crate::coordinator::{Circumstances, Coordinator};
use crate::coverage::Group;
use crate::invariants::{Rule, Violation, check};
use crate::schedule::{WALL_SKEW_MS, draw_clock};
use crate::world::{Happening, Life, World};

/// The changes of the disk that a recovery makes at most before it may crash again.
const RECOVERY_CHANGES_MAX: u64 = 12;

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
        self.check_replay(&coordinator)?;
        drop(coordinator);
        self.disk.crash(CrashSeed(self.rng.u64(..)));
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
        let lease_ms = self.schedule.lease_ms;
        let config = Config::new(lease_ms, self.rng.u64(..));
        let life = Circumstances {
            clock: draw_clock(&mut self.rng),
            wall_ahead_ms: self.rng.i64(-WALL_SKEW_MS..WALL_SKEW_MS),
            gate: ReleaseGate::new(recovered.last),
        };
        let scheduler = Scheduler::new(config, state);
        self.coordinator = Some(Coordinator::new(scheduler, store, lease_ms, life));
        self.agenda.put(self.now.after(EXPIRE_EVERY_MS), Happening::ExpireLeases(self.life));
        self.tell_scheduler(Event::Start { restored: false })
    }

    /// Reads the journal and the results back from the disk.
    pub(crate) fn reopen(&self) -> Result<Reopened, Violation> {
        let mut facts = Vec::new();
        let mut state = State::new();
        let config = StoreConfig {
            segment_bytes: self.schedule.journal_segment_bytes,
            results: ResultsConfig {
                block_bytes: 4 << 10,
                segment_bytes: 32 << 10,
                buffered_bytes_max: 16 << 10,
            },
            space: SpaceConfig { reserve_bytes: 32 << 10, kept_free_bytes: 8 << 10 },
        };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let opened = Store::open(disk, config, &mut |_, fact| {
            state.apply(&fact);
            facts.push(fact);
        });
        match opened {
            Ok((store, recovered)) => Ok(Reopened { store, recovered, facts, state }),
            Err(error) => {
                check(false, Rule::JournalRecovers, || format!("recovery refuses: {error}"))?;
                unreachable!("the check above fails")
            }
        }
    }
}
