//! What a worker writes into its log: one line a thing that a person wants to know.

use tracing::{info, warn};

use crate::agent::Notice;

pub(crate) fn log(notice: &Notice) {
    match notice {
        Notice::Connected { grid, epoch } => {
            info!(epoch = epoch.0, "connected to the coordinator of grid {grid}");
        }
        Notice::Lost { why, running } => {
            warn!(running, "lost the coordinator: {why}; what runs goes on, reconnecting");
        }
        Notice::NotReached { why } => warn!("the coordinator is not reached: {why}; trying again"),
        Notice::LeaseEnded => warn!("the lease has ended: what runs goes on, nothing new begins"),
        Notice::Stopped { tasks } => warn!(
            tasks,
            "the lease is nearly over: killed what must not run on without the coordinator (on_lost_lease = \"stop\")"
        ),
        Notice::OldCoordinator { epoch, seen } => warn!(
            "refused the coordinator: its epoch {} is older than {}, which was seen before; it was set back, or is an old copy: stop it, or restore it with `gridctl coordinator --restore`; trying again",
            epoch.0, seen.0
        ),
        Notice::Turned(turned) => warn!("turned away: {turned}; trying again"),
        Notice::Violation(violation) => {
            warn!("the coordinator sent {violation}; the connection was closed, trying again");
        }
        Notice::Dropped { tasks } => {
            info!(tasks, "dropped results that the coordinator no longer wants");
        }
        Notice::Overrun { stage, cpus } => warn!(
            "overrun: a function of stage {stage} is over and has not returned; it keeps {cpus} cpus until it does"
        ),
        Notice::CoordinatorStopping => info!("the coordinator is stopping; what runs goes on"),
        Notice::Draining { running } => {
            info!(running, "draining: nothing new begins, what runs is finished");
        }
    }
}
