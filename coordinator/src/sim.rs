//! What the simulator needs of the shell beside the journal: messages into events, effects into messages.
//!
//! Only there with the feature `sim`. The code is the sessions' own.

use gridctl_core::effect::ToWorker;
use gridctl_core::event::{Event, Report, SessionId, WorkerHello};
use gridctl_core::fact::Kept;
use gridctl_transport::message::worker::{self, CoordinatorMessage, WorkerMessage};

use crate::convert::{self, Malformed, Terms};

/// A message that no worker of ours sends.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Refused(#[from] Malformed);

/// Reads a Hello.
///
/// # Errors
/// [`Refused`] where it is not valid.
pub fn hello(hello: &worker::Hello) -> Result<WorkerHello, Refused> {
    Ok(convert::hello(hello)?)
}

/// Reads what a worker says after its Hello; `keep` puts away what a task left behind.
///
/// # Errors
/// [`Refused`] where it is not valid.
pub fn event(
    session: SessionId,
    message: WorkerMessage,
    mut keep: impl FnMut(&worker::Output) -> Kept,
) -> Result<Option<Event>, Refused> {
    Ok(match message {
        WorkerMessage::Hello(_) => None,
        WorkerMessage::Started { tasks } => {
            Some(Event::Started { session, tasks: convert::started(&tasks)? })
        }
        WorkerMessage::Report(report) => {
            convert::report_length(&report)?;
            let items = report.items.iter().map(|item| {
                let kept = item.output.as_ref().map(&mut keep);
                convert::report_item(item, kept)
            });
            let items = items.collect::<Result<Vec<_>, _>>()?;
            Some(Event::Report { session, report: Report { sequence: report.sequence, items } })
        }
        WorkerMessage::GivenBack { token, stage, ranges } => {
            Some(Event::GivenBack { session, token, stage, ranges: convert::given_back(&ranges)? })
        }
        WorkerMessage::Goodbye => Some(Event::Goodbye { session }),
    })
}

/// Writes what a worker is told.
pub fn message(message: ToWorker, lease_ms: u64, heartbeat_ms: u64) -> CoordinatorMessage {
    let terms = Terms { grid: "sim".to_owned(), version: 1, lease_ms, heartbeat_ms };
    convert::to_worker(message, &terms)
}
