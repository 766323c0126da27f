//! A disk without room, as the shell of a coordinator meets it: what asks for more is refused, results wait with
//! their workers, and what is decided waits in its order until there is room.

use std::sync::Arc;

use gridctl_coordinator::disk::Disk;
use gridctl_coordinator::space::{Admitted, SpaceConfig};

use crate::client::Operation;
use crate::coverage::Group;
use crate::invariants::{Rule, Violation, check};
use crate::network::ConnectionId;
use crate::time::SimMs;
use crate::world::{Happening, World};

/// What is held back on the simulated disk.
pub(crate) const SPACE: SpaceConfig =
    SpaceConfig { reserve_bytes: 32 << 10, kept_free_bytes: 8 << 10 };
/// How soon what found no room is tried again, at most.
pub(crate) const TRY_AGAIN_MS: u64 = 1_000;
/// How often the reserve is looked after.
const TEND_EVERY_MS: u64 = 1_000;
/// Of a request: more than any of ours takes.
const REQUEST_BYTES: u64 = 4 << 10;
/// More than any simulated disk holds.
const AMPLE_BYTES: u64 = 1 << 40;

/// What a request may use.
pub(crate) enum Room {
    /// It may go on; until its answer goes out this is promised to it.
    For(Option<Admitted>),
    Refused,
}

impl World<'_> {
    /// Lets the disk take only so many bytes more for a while.
    pub(crate) fn fill_disk(&mut self, left_bytes: u64, for_ms: u64) {
        self.disk.set_capacity(Some(AMPLE_BYTES));
        let free = self.disk.free().map_or(AMPLE_BYTES, |free| free.bytes);
        self.disk.set_capacity(Some(AMPLE_BYTES - free + left_bytes));
        self.heal_later(for_ms);
    }

    /// Lets every write be refused for a while.
    pub(crate) fn forbid_writes(&mut self, for_ms: u64) {
        self.disk.set_read_only(true);
        self.heal_later(for_ms);
    }

    fn heal_later(&mut self, for_ms: u64) {
        self.no_room_until = self.no_room_until.max(self.now.after(for_ms));
        self.agenda.put(self.no_room_until, Happening::DiskHeals);
    }

    /// There is room again, unless something else took it meanwhile.
    pub(crate) fn heal_disk(&mut self) {
        if self.now >= self.no_room_until {
            self.disk.set_capacity(None);
            self.disk.set_read_only(false);
        }
    }

    pub(crate) fn has_no_room(&self) -> bool {
        self.now < self.no_room_until
    }

    /// Looks after the reserve, now and then.
    pub(crate) fn tend_disk(&mut self) {
        if let Some(coordinator) = &mut self.coordinator
            && coordinator.tended.after(TEND_EVERY_MS) <= self.now
        {
            coordinator.tended = self.now;
            coordinator.store.space().tend();
        }
    }

    /// Says whether there is room for what a request makes durable.
    pub(crate) fn room_for(&mut self, operation: Operation) -> Result<Room, Violation> {
        let Some(coordinator) = &self.coordinator else { return Ok(Room::Refused) };
        let space = coordinator.store.space();
        let knows = |number: usize| {
            let id = self.schedule.jobs[number].id;
            coordinator.scheduler.state().job(id).is_some()
        };
        let room = match operation {
            Operation::Submit(number)
            | Operation::SubmitAgain(number)
            | Operation::SubmitOther(number)
                if knows(number) =>
            {
                Room::For(None)
            }
            Operation::CreateToken
            | Operation::Enrol(_)
            | Operation::Submit(_)
            | Operation::SubmitAgain(_)
            | Operation::SubmitOther(_)
            | Operation::Retry(_) => {
                space.admit(REQUEST_BYTES).map_or(Room::Refused, |room| Room::For(Some(room)))
            }
            Operation::Cancel(_)
            | Operation::Forget(_)
            | Operation::Drain(_)
            | Operation::Resume(_) => {
                space.admit_relief().map_or(Room::Refused, |()| Room::For(None))
            }
        };
        match &room {
            Room::Refused => self.coverage.hit(Group::Elsewhere, "refused: no room"),
            Room::For(Some(_)) => {
                let free = self.disk.free().map_or(0, |free| free.bytes);
                let has_room = free >= SPACE.kept_free_bytes || !self.has_no_room();
                check(has_room, Rule::FullDiskTakesNothingNew, || {
                    format!("{operation:?} is taken although only {free} bytes are free")
                })?;
            }
            Room::For(None) => {}
        }
        Ok(room)
    }

    /// What found no room is heard again.
    pub(crate) fn hear_again(&mut self, id: ConnectionId) -> Result<(), Violation> {
        let life = self.life;
        let is_there = self.coordinator.is_some();
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        connection.waits_for_room = false;
        if is_there && connection.coordinator == life && connection.coordinator_open {
            return self.hear_what_waits(id);
        }
        Ok(())
    }

    /// Returns when what found no room is tried again.
    pub(crate) fn try_again_at(&mut self) -> SimMs {
        self.coverage.hit(Group::Elsewhere, "waits for room");
        self.now.after(self.rng.u64(1..=TRY_AGAIN_MS))
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }
}
