//! Lets things go wrong.

use gridctl_worker::agent::AgentEvent;

use crate::coverage::Group;
use crate::faults::Fault;
use crate::invariants::Violation;
use crate::network::ConnectionId;
use crate::time::SimMs;
use crate::world::{Happening, World};

/// How long after all others a fault that found nothing may still come.
const MISSED_UNTIL_MS: u64 = 10_000;
/// How long after a fault that found nothing it is tried again.
const MISSED_AGAIN_MS: u64 = 100;

impl World<'_> {
    /// Lets a fault happen. It counts only if it finds something to go wrong.
    #[expect(clippy::too_many_lines, reason = "an arm for each kind of fault")]
    pub(crate) fn strike(&mut self, fault: Fault) -> Result<(), Violation> {
        self.trace.note(("fault", fault.kind()), || format!("FAULT {fault:?}"));
        let hit = match fault {
            Fault::Break { worker } => self.break_worker(worker, false),
            Fault::Late { worker } => self.break_worker(worker, true),
            Fault::OneWay { worker, up, for_ms } => {
                self.stall(worker, up, for_ms);
                true
            }
            Fault::Duplicate { worker, reports } => {
                self.workers[worker].reports_to_duplicate += reports;
                true
            }
            Fault::WorkerCrash { worker, down_ms } => {
                let runs = self.workers[worker].agent.is_some();
                self.kill_worker(worker);
                self.agenda.put(self.now.after(down_ms), Happening::StartWorker(worker));
                runs
            }
            Fault::WorkerDrain { worker, down_ms } => {
                self.workers[worker].away_ms = down_ms;
                let runs = self.workers[worker].agent.is_some();
                if runs && self.rng.u8(0..8) == 0 {
                    self.workers[worker].crash_after_steps = Some((1, down_ms));
                }
                let life = self.workers[worker].life();
                let event = Box::new(AgentEvent::Drain);
                self.agenda.put(self.now, Happening::FromExecutor(life, event));
                self.workers[worker].agent.is_some()
            }
            Fault::WorkerPause { worker, for_ms } => {
                self.workers[worker].paused_until = self.now.after(for_ms);
                self.workers[worker].agent.is_some()
            }
            Fault::CoordinatorCrash { down_ms } => {
                let runs = self.coordinator.is_some();
                self.crash_coordinator(down_ms)?;
                runs
            }
            Fault::CoordinatorKill { down_ms } => {
                let runs = self.coordinator.is_some();
                self.kill_coordinator(down_ms)?;
                runs
            }
            Fault::CrashInCommit { changes, down_ms } => {
                self.crash_in_commit = Some((changes, down_ms));
                true
            }
            Fault::FailedSync { down_ms } => {
                self.fail_next_sync = Some(down_ms);
                true
            }
            Fault::SlowDisk { for_ms, sync_ms } => {
                self.slow_disk = (self.now.after(for_ms), sync_ms);
                true
            }
            Fault::FullDisk { for_ms, left_bytes } => {
                self.fill_disk(left_bytes, for_ms);
                true
            }
            Fault::ReadOnly { for_ms } => {
                self.forbid_writes(for_ms);
                true
            }
            Fault::Backup => self.back_up(),
            Fault::Restore { down_ms } => self.restore(down_ms)?,
            Fault::CoordinatorPause { for_ms } => {
                self.coordinator_paused_until = self.now.after(for_ms);
                self.coordinator.is_some()
            }
            Fault::LostReplies { replies } => {
                self.replies_to_lose += replies;
                true
            }
            Fault::LostRequests { requests } => {
                self.requests_to_lose += requests;
                true
            }
            Fault::DuplicateRequests { requests } => {
                self.requests_to_duplicate += requests;
                true
            }
            Fault::Reorder { for_ms } => {
                self.jitter_until = self.now.after(for_ms);
                true
            }
            Fault::Overload { for_ms, cost_ms } => {
                self.overload.until = self.now.after(for_ms);
                self.overload.cost_ms = cost_ms;
                self.coordinator.is_some()
            }
            Fault::Race { worker, up, early_ms, late_ms } => {
                self.race(worker, up, early_ms, late_ms)
            }
            Fault::WallJump { worker: Some(worker), to_ms } => {
                self.workers[worker].wall_ahead_ms = to_ms;
                true
            }
            Fault::WallJump { worker: None, to_ms } => {
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator.wall_ahead_ms = to_ms;
                }
                self.coordinator.is_some()
            }
            Fault::CrashAtEvent { events, down_ms } => {
                self.crash_after_events = Some((events, down_ms));
                true
            }
            Fault::WorkerCrashAtStep { worker, steps, down_ms } => {
                let runs = self.workers[worker].agent.is_some();
                if runs {
                    self.workers[worker].crash_after_steps = Some((steps, down_ms));
                }
                runs
            }
        };
        let work_is_open = !self.clients.are_content() || self.open_jobs() > 0;
        if hit && work_is_open {
            self.faults_that_hit += 1;
            self.coverage.hit(Group::Fault, fault.kind());
        } else if !hit && work_is_open && self.now < self.schedule.calm_at.after(MISSED_UNTIL_MS) {
            // It found nothing to go wrong: later there may be.
            self.agenda.put(self.now.after(MISSED_AGAIN_MS), Happening::Fault(fault));
        }
        Ok(())
    }

    /// Lets nothing through in one direction until about the end of the lease.
    fn race(&mut self, worker: usize, up: bool, early_ms: u64, late_ms: u64) -> bool {
        let Some(ends) = self.lease_ends(worker) else { return false };
        let until = SimMs((ends.0 + late_ms).saturating_sub(early_ms));
        let machine = &mut self.workers[worker];
        let stalled =
            if up { &mut machine.stalled_up_until } else { &mut machine.stalled_down_until };
        *stalled = until.max(*stalled);
        true
    }

    fn break_worker(&mut self, worker: usize, late: bool) -> bool {
        let lease_ms = self.schedule.lease_ms;
        let Some(id) = self.open_connection(worker) else { return false };
        if late {
            let late_ms = self.rng.u64(0..2 * lease_ms);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.late_until = self.now.after(late_ms);
            }
        }
        self.break_connection(id, late, lease_ms);
        true
    }

    /// Lets nothing through in one direction; where that lasts, the connection does not survive it.
    fn stall(&mut self, worker: usize, up: bool, for_ms: u64) {
        let until = self.now.after(for_ms);
        let machine = &mut self.workers[worker];
        if up {
            machine.stalled_up_until = until;
        } else {
            machine.stalled_down_until = until;
        }
        let lease_ms = self.schedule.lease_ms;
        if for_ms > lease_ms
            && let Some(id) = self.open_connection(worker)
        {
            self.break_connection(id, true, for_ms);
        }
    }

    fn open_connection(&self, worker: usize) -> Option<ConnectionId> {
        let id = self.workers[worker].connection?;
        self.connections.get(&id).filter(|connection| connection.worker_open).map(|_| id)
    }
}
