//! Following a job to its end, through outages.

use gridctl_transport::message::client::{Answer, JobRef, JobStatus, Request};
use tokio::sync::watch;

use super::connection::AskError;
use super::reach::{Link, Reach, ReachError};

/// Follows a job until what is waited for `has_ended`, and returns its status then. Each status on the way
/// goes to `seen`; one that nobody has looked at yet is overwritten.
///
/// # Errors
/// See [`ReachError`].
pub(crate) async fn follow(
    reach: &Reach,
    job: &JobRef,
    has_ended: impl Fn(&JobStatus) -> bool,
    seen: &watch::Sender<Option<JobStatus>>,
) -> Result<JobStatus, ReachError> {
    let mut job = job.clone();
    let mut link = reach.link().await;
    loop {
        match follow_on(reach, &link, &mut job, &has_ended, seen).await {
            Ok(status) => return Ok(status),
            Err(error) => link = reach.again(&link, error).await?,
        }
    }
}

/// Follows over one connection. As soon as the job's id is known, `job` is that: `last` and a name may
/// mean another one after an outage.
async fn follow_on(
    reach: &Reach,
    link: &Link,
    job: &mut JobRef,
    has_ended: impl Fn(&JobStatus) -> bool,
    seen: &watch::Sender<Option<JobStatus>>,
) -> Result<JobStatus, AskError> {
    let mut answers = link.client.ask(&Request::Watch { job: job.clone() }).await?;
    loop {
        let status = answers
            .next_of(
                |answer| if let Answer::Status(status) = answer { Some(*status) } else { None },
            )
            .await?;
        // A coordinator that stops ends its answers too.
        let status = status.ok_or(AskError::Cut)?;
        reach.heard(link).await;
        *job = JobRef::Id(status.job.id);
        seen.send_replace(Some(status.clone()));
        if has_ended(&status) {
            return Ok(status);
        }
    }
}
