//! A full disk, as sessions meet it: what asks for more is refused by name, and results wait with their workers.

use std::sync::Arc;
use std::time::Duration;

use gridctl_transport::message::client::Request;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Shared;
use super::end::End;
use crate::results::{AppendResultError, Results};
use crate::space::{Admitted, Shortage};

/// How often a result that found no room is put away again.
const TRY_AGAIN_EVERY: Duration = Duration::from_millis(500);

/// Says whether there is room for what a request of `bytes` will make durable, and promises it until what is
/// returned is dropped. What only reads needs none; what ends or removes something may use the reserve.
///
/// # Errors
/// [`Shortage`] says why not, and what to do about it.
pub(super) fn admit(
    shared: &Shared,
    request: &Request,
    bytes: u64,
) -> Result<Option<Admitted>, Shortage> {
    let space = &shared.space;
    match request {
        // The same one again adds nothing.
        Request::Submit { id, .. } if shared.views.knows_job(*id) => Ok(None),
        Request::Submit { .. } | Request::Retry { .. } | Request::CreateToken { .. } => {
            space.admit(bytes).map(Some)
        }
        Request::Cancel { .. }
        | Request::Forget { .. }
        | Request::RevokeToken { .. }
        | Request::DrainWorker { .. }
        | Request::ResumeWorker { .. } => space.admit_relief().map(|()| None),
        Request::Jobs { .. }
        | Request::Status { .. }
        | Request::Tasks { .. }
        | Request::Watch { .. }
        | Request::Output { .. }
        | Request::Explain { .. }
        | Request::Workers
        | Request::Tokens
        | Request::Backup => Ok(None),
    }
}

/// Puts something away, where that may block; while there is no room, again and again. `work` goes on where it
/// was when it found none; `waits` is called before each wait.
pub(super) async fn put_away<T: Send + 'static>(
    shared: &Shared,
    mut work: impl FnMut(&Results) -> Result<T, AppendResultError> + Send + 'static,
    mut waits: impl FnMut(),
) -> Result<T, End> {
    loop {
        let results = Arc::clone(&shared.results);
        let done = spawn_blocking(move || (work(&results), work));
        let (done, again) = done.await.map_err(|_| End::Abnormal)?;
        match done {
            Err(error) if error.is_no_room() => {
                waits();
                sleep(TRY_AGAIN_EVERY).await;
                work = again;
            }
            done => return done.map_err(|error| End::Output(Arc::new(error))),
        }
    }
}
