//! Following a job to its end, through outages.

use gridctl_transport::message::client::{Answer, JobRef, JobStatus, Request};
use tokio::sync::watch;

use super::connection::AskError;
use super::reach::{Link, Reach, ReachError};

/// Follows a job until it has ended, and returns its last status. Each status on the way goes to `seen`;
/// one that nobody has looked at yet is overwritten.
///
/// # Errors
/// See [`ReachError`].
pub(crate) async fn follow(
    reach: &Reach,
    job: &JobRef,
    seen: &watch::Sender<Option<JobStatus>>,
) -> Result<JobStatus, ReachError> {
    let mut job = job.clone();
    let mut link = reach.link().await;
    loop {
        match follow_on(reach, &link, &mut job, seen).await {
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
    seen: &watch::Sender<Option<JobStatus>>,
) -> Result<JobStatus, AskError> {
    let mut answers = link.client.ask(&Request::Watch { job: job.clone() }).await?;
    let mut last: Option<JobStatus> = None;
    loop {
        let status = answers
            .next_of(
                |answer| if let Answer::Status(status) = answer { Some(*status) } else { None },
            )
            .await?;
        let Some(status) = status else {
            // A coordinator that stops ends its answers too.
            return last.filter(|status| status.job.state.is_ended()).ok_or(AskError::Cut);
        };
        reach.heard(link).await;
        *job = JobRef::Id(status.job.id);
        seen.send_replace(Some(status.clone()));
        last = Some(status);
    }
}
