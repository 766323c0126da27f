//! What tasks printed: stages in file order, tasks in theirs, nothing added.

use std::sync::Arc;

use gridctl_transport::message::client::{
    Answer, OutputStages, OutputStream, Refused, RefusedKind, Target,
};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Shared;
use super::client::Asked;
use super::end::End;
use crate::limits::{FOLLOW_EVERY, OUTPUT_PIECE_BYTES_MAX};
use crate::results::{Part, ReadResultError};
use crate::views::{NextOutput, OutputCursor, OutputOf, OutputPiece};

/// A request for output.
pub(super) struct Wanted {
    pub(super) target: Target,
    pub(super) stream: OutputStream,
    pub(super) follow: bool,
    pub(super) attempt: Option<u32>,
    pub(super) stages: OutputStages,
}

/// Sends output until there is no more, or nobody reads.
pub(super) async fn serve(asked: &mut Asked, wanted: Wanted) -> Result<(), End> {
    let Wanted { target, stream, follow, attempt, stages } = wanted;
    let target = match asked.shared.views.resolve(&target, asked.caller.user) {
        Ok(target) => target,
        Err(refused) => return asked.answer(Answer::Refused(refused)).await,
    };
    // Who follows may be early.
    if let (Some(attempt), false) = (attempt, follow)
        && let Err(refused) = asked.shared.views.check_attempt(&target, attempt)
    {
        return asked.answer(Answer::Refused(refused)).await;
    }
    let of = OutputOf { target, stream, stages, follow, attempt };
    let mut cursor = OutputCursor::default();
    let mut changes = asked.shared.views.changes();
    let mut gone = std::pin::pin!(asked.gone());
    loop {
        changes.mark_unchanged();
        let (pieces, next) = asked.shared.views.output(&of, &mut cursor);
        if let Err(error) = send(asked, pieces).await? {
            tracing::error!(%error, "a task's output cannot be read");
            let refused = Refused { kind: RefusedKind::Internal, message: error.to_string() };
            return asked.answer(Answer::Refused(refused)).await;
        }
        match next {
            NextOutput::End => return asked.answer(Answer::End).await,
            NextOutput::More => {}
            NextOutput::Wait => tokio::select! {
                () = &mut gone => return Ok(()),
                changed = changes.changed() => {
                    // The views live as long as any session.
                    if changed.is_err() {
                        return Ok(());
                    }
                    // Many changes in a row are looked at together.
                    sleep(FOLLOW_EVERY).await;
                }
            },
        }
    }
}

/// Reads and sends some pieces.
async fn send(
    asked: &mut Asked,
    pieces: Vec<OutputPiece>,
) -> Result<Result<(), ReadResultError>, End> {
    if pieces.is_empty() {
        return Ok(Ok(()));
    }
    let shared = Arc::clone(&asked.shared);
    // The disk may have to be read: not where heartbeats are served.
    let read =
        spawn_blocking(move || read_all(&shared, pieces)).await.map_err(|_| End::Abnormal)?;
    let read = match read {
        Ok(read) => read,
        Err(error) => return Ok(Err(error)),
    };
    for (piece, bytes) in read {
        for chunk in bytes.chunks(OUTPUT_PIECE_BYTES_MAX) {
            let OutputPiece { stage, index, attempt, .. } = piece;
            asked.queue(&Answer::Output { stage, index, attempt, bytes: chunk.to_vec() })?;
            if asked.queued_bytes() >= OUTPUT_PIECE_BYTES_MAX {
                asked.flush().await?;
            }
        }
    }
    asked.flush().await?;
    Ok(Ok(()))
}

fn read_all(
    shared: &Shared,
    pieces: Vec<OutputPiece>,
) -> Result<Vec<(OutputPiece, Vec<u8>)>, ReadResultError> {
    let read = |piece: OutputPiece| {
        let mut bytes = shared.results.read(&piece.kept, piece.part)?;
        if piece.part == Part::Result {
            // A result is JSON text; people and pipes want a line of it.
            bytes.push(b'\n');
        }
        Ok((piece, bytes))
    };
    pieces.into_iter().map(read).collect()
}
