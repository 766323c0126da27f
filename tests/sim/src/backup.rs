//! A copy of the coordinator's directory, and a coordinator that goes on from it: set back, and judged only by what
//! was acknowledged before the copy.

use gridctl_coordinator::disk::SimDisk;
use gridctl_core::effect::FactIndex;

use crate::client::Operation;
use crate::invariants::Violation;
use crate::world::{Happening, World};

/// A copy, and what was durable when it was made.
#[derive(Debug)]
pub(crate) struct Backup {
    disk: SimDisk,
    durable: FactIndex,
}

impl World<'_> {
    /// Copies the directory as it is. Only a grid whose machines are enrolled is worth a copy.
    pub(crate) fn back_up(&mut self) -> bool {
        let enrols =
            |open: &&Operation| matches!(open, Operation::CreateToken | Operation::Enrol(_));
        if self.coordinator.is_none() || self.clients.open().iter().any(|open| enrols(&open)) {
            return false;
        }
        let durable = self.ledger.durable_index();
        self.backup = Some(Backup { disk: self.disk.fork(), durable });
        true
    }

    /// The coordinator's disk is lost, and another one goes on from the copy.
    pub(crate) fn restore(&mut self, down_ms: u64) -> Result<bool, Violation> {
        let Some(backup) = self.backup.take().filter(|_| self.coordinator.is_some()) else {
            return Ok(false);
        };
        self.crash_coordinator(down_ms)?;
        self.disk = backup.disk;
        self.no_room_until = self.now;
        self.is_restored = true;
        self.was_restored = true;
        self.ledger.set_back(backup.durable);
        // Who drained a worker sees that it has to be resumed again, or is no longer drained.
        if let Some(drain) = self.schedule.drain {
            let resume = Operation::Resume(drain.worker);
            self.clients.reopen(resume);
            self.agenda.put(self.now.after(down_ms), Happening::Ask(resume));
        }
        Ok(true)
    }
}
