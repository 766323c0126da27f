//! How a job goes, now and at every change, until it has ended.

use gridctl_transport::message::client::{Answer, JobRef};
use tokio::time::{Instant, sleep_until};

use super::client::Asked;
use super::end::End;
use crate::limits::WATCH_EVERY;

/// Serves a watcher until the job has ended or nobody watches.
pub(super) async fn serve(asked: &mut Asked, job: &JobRef) -> Result<(), End> {
    let views = std::sync::Arc::clone(&asked.shared.views);
    let job = match views.resolve_job(job, asked.caller.user) {
        Ok(job) => job,
        Err(refused) => return asked.answer(Answer::Refused(refused)).await,
    };
    let mut gone = std::pin::pin!(asked.gone());
    let mut changes = views.changes();
    let mut shown = None;
    loop {
        changes.mark_unchanged();
        let ended = views.has_ended(job);
        let status = views.status(job);
        if status != shown {
            if let Some(status) = status.clone() {
                asked.answer(Answer::Status(Box::new(status))).await?;
            }
            shown = status;
        }
        if ended {
            return asked.answer(Answer::End).await;
        }
        let not_before = Instant::now() + WATCH_EVERY;
        let mut changed = false;
        loop {
            tokio::select! {
                () = &mut gone => return Ok(()),
                woken = changes.changed() => {
                    // The views live as long as any session.
                    if woken.is_err() {
                        return Ok(());
                    }
                    changed = true;
                    // The end never waits for the pace of the others.
                    if Instant::now() >= not_before || views.has_ended(job) {
                        break;
                    }
                }
                () = sleep_until(not_before), if changed => break,
            }
        }
    }
}
