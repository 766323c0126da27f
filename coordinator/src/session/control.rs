//! What changes jobs and workers: what is meant is looked up in the views, whether it may be is the core's
//! to say.

use gridctl_core::effect::Reply;
use gridctl_core::event::{Event, RequestId};
use gridctl_transport::message::client::{Answer, JobRef, Refused, Target};

use super::client::Asked;
use super::end::End;
use crate::convert;

pub(super) async fn cancel(asked: &mut Asked, target: &Target) -> Result<(), End> {
    let caller = asked.caller;
    match asked.shared.views.resolve(target, caller.user) {
        Ok(found) => {
            let target = found.into();
            ask(asked, |request| Event::Cancel { request, caller, target }).await
        }
        Err(refused) => refuse(asked, refused).await,
    }
}

pub(super) async fn retry(asked: &mut Asked, target: &Target, all: bool) -> Result<(), End> {
    let caller = asked.caller;
    match asked.shared.views.resolve(target, caller.user) {
        Ok(found) => {
            let target = found.into();
            ask(asked, |request| Event::Retry { request, caller, target, all }).await
        }
        Err(refused) => refuse(asked, refused).await,
    }
}

pub(super) async fn forget(asked: &mut Asked, job: &JobRef) -> Result<(), End> {
    let caller = asked.caller;
    match asked.shared.views.resolve_job(job, caller.user) {
        Ok(job) => ask(asked, |request| Event::Forget { request, caller, job }).await,
        Err(refused) => refuse(asked, refused).await,
    }
}

pub(super) async fn drain_worker(asked: &mut Asked, worker: &str) -> Result<(), End> {
    let caller = asked.caller;
    match asked.shared.views.resolve_worker(worker) {
        Ok(worker) => ask(asked, |request| Event::DrainWorker { request, caller, worker }).await,
        Err(refused) => refuse(asked, refused).await,
    }
}

pub(super) async fn resume_worker(asked: &mut Asked, worker: &str) -> Result<(), End> {
    let caller = asked.caller;
    match asked.shared.views.resolve_worker(worker) {
        Ok(worker) => ask(asked, |request| Event::ResumeWorker { request, caller, worker }).await,
        Err(refused) => refuse(asked, refused).await,
    }
}

async fn ask(asked: &mut Asked, event: impl FnOnce(RequestId) -> Event) -> Result<(), End> {
    let reply: Reply = asked.shared.reactor.ask(event).await?;
    asked.answer(convert::answer(reply)).await
}

async fn refuse(asked: &mut Asked, refused: Refused) -> Result<(), End> {
    asked.answer(Answer::Refused(refused)).await
}
