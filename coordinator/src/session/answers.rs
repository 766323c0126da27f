//! Tables and single rows, read from the views a page at a time.

use gridctl_jobs::id::{JobNumber, WorkerId};
use gridctl_jobs::reason::WaitReason;
use gridctl_jobs::state::TaskState;
use gridctl_transport::message::client::{Answer, JobRef, Target};

use super::client::Asked;
use super::end::End;
use crate::views::TaskCursor;

/// A job's status is sent at once, so its stages (at most 1,024) with all they need must fit an answer.
pub(super) async fn status(asked: &mut Asked, job: &JobRef) -> Result<(), End> {
    let views = &asked.shared.views;
    let answer = match views.status_of(job, asked.caller.user) {
        Ok(mut status) => {
            status.notice = asked.shared.space.shortage().map(|shortage| shortage.to_string());
            Answer::Status(Box::new(status))
        }
        Err(refused) => Answer::Refused(refused),
    };
    asked.answer(answer).await
}

pub(super) async fn explain(asked: &mut Asked, job: &JobRef) -> Result<(), End> {
    let views = &asked.shared.views;
    let answer = match views.resolve_job(job, asked.caller.user) {
        Ok(job) => {
            let mut stages = views.explain(job);
            if let Some(shortage) = asked.shared.space.shortage() {
                let place = |reasons: &[WaitReason]| if shortage.waits { 0 } else { reasons.len() };
                for stage in &mut stages {
                    let reason = WaitReason::NoRoom { what: shortage.to_string() };
                    stage.reasons.insert(place(&stage.reasons), reason);
                }
            }
            Answer::Explained(stages)
        }
        Err(refused) => Answer::Refused(refused),
    };
    asked.answer(answer).await
}

pub(super) async fn jobs(asked: &mut Asked, open_only: bool) -> Result<(), End> {
    let mut after = JobNumber(0);
    loop {
        let page = asked.shared.views.jobs_after(after, open_only);
        let Some(last) = page.last() else { break };
        after = last.number;
        asked.answer(Answer::Jobs(page)).await?;
    }
    asked.answer(Answer::End).await
}

pub(super) async fn tasks(
    asked: &mut Asked,
    target: &Target,
    states: &[TaskState],
) -> Result<(), End> {
    let of = match asked.shared.views.resolve(target, asked.caller.user) {
        Ok(of) => of,
        Err(refused) => return asked.answer(Answer::Refused(refused)).await,
    };
    let mut next = Some(TaskCursor::default());
    while let Some(cursor) = next {
        let (rows, more) = asked.shared.views.tasks(of, states, cursor);
        if !rows.is_empty() {
            asked.answer(Answer::Tasks(rows)).await?;
        }
        next = more;
    }
    asked.answer(Answer::End).await
}

pub(super) async fn workers(asked: &mut Asked) -> Result<(), End> {
    let mut after = None;
    loop {
        let page = asked.shared.views.workers_after(after);
        let Some(last) = page.last() else { break };
        after = Some(WorkerId(last.id));
        asked.answer(Answer::Workers(page)).await?;
    }
    asked.answer(Answer::End).await
}

pub(super) async fn tokens(asked: &mut Asked) -> Result<(), End> {
    let mut after = 0;
    loop {
        let page = asked.shared.views.tokens_after(after);
        let Some(last) = page.last() else { break };
        after = last.token_id;
        asked.answer(Answer::Tokens(page)).await?;
    }
    asked.answer(Answer::End).await
}
