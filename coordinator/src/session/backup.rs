//! A backup on its way to an admin: read by a thread of its own, sent as fast as it is taken.

use std::sync::Arc;

use gridctl_transport::message::client::{Answer, RefusedKind};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::client::Asked;
use super::end::End;
use crate::backup::{Backup, MakeBackupError};
use crate::clock;

/// Pieces that wait to be sent.
const PIECES_MAX: usize = 4;

/// Sends a backup until it is whole, or nobody reads.
pub(super) async fn serve(asked: &mut Asked) -> Result<(), End> {
    let keeper = Arc::clone(&asked.shared.keeper);
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let read = spawn_blocking(move || -> Result<(), MakeBackupError> {
        let mut backup = Backup::begin(&keeper, clock::wall())?;
        while let Some(piece) = backup.next_piece()? {
            // Whoever asked may have gone.
            if sender.blocking_send(piece).is_err() {
                break;
            }
        }
        Ok(())
    });
    tracing::info!("a backup is being taken");
    while let Some(bytes) = pieces.recv().await {
        asked.answer(Answer::Backup { bytes }).await?;
    }
    match read.await.map_err(|_| End::Abnormal)? {
        Ok(()) => asked.answer(Answer::End).await,
        Err(error) => {
            tracing::error!(%error, "a backup cannot be taken");
            asked
                .refuse(RefusedKind::Internal, format!("the backup cannot be taken: {error}"))
                .await
        }
    }
}
