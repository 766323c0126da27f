//! Admission: which submissions are accepted. The same one again is the same job.

use std::sync::Arc;

use gridctl_jobs::id::JobId;
use gridctl_jobs::planted::{Bug, is_on};
use gridctl_jobs::spec::JobSpec;

use super::{Scheduler, Step};
use crate::effect::{Refusal, Reply};
use crate::event::{Caller, RequestId};
use crate::fact::{Digest, Fact, JobSubmitted};

impl Scheduler {
    /// Someone submits a job.
    pub(super) fn on_submit(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        id: JobId,
        digest: Digest,
        spec: Arc<JobSpec>,
    ) {
        if let Some(job) = self.state.job(id).filter(|_| !is_on(Bug::DuplicateSubmission)) {
            let number = job.number();
            let reply = if job.digest() == digest || is_on(Bug::ContentNotCompared) {
                Reply::Submitted { id, number, new: false }
            } else {
                Reply::Refused(Refusal::OtherContent { id, number })
            };
            self.reply(cx, request, reply);
            return;
        }
        if let Some(gone) = self.state.forgotten(id)
            && gone.is_remembered(cx.now.wall)
            && !is_on(Bug::ForgottenIdAccepted)
        {
            let refusal = Refusal::Forgotten { id, number: gone.number };
            self.reply(cx, request, Reply::Refused(refusal));
            return;
        }
        if let Err(refusal) = self.check_new(&spec) {
            self.reply(cx, request, Reply::Refused(refusal));
            return;
        }
        let number = self.state.next_number();
        let (owner, at) = (caller.user, cx.now.wall);
        let submitted = JobSubmitted { number, id, owner, digest, spec, at };
        self.record(cx, Fact::JobSubmitted(submitted));
        self.dirty.jobs.insert(id);
        self.reply(cx, request, Reply::Submitted { id, number, new: true });
    }

    fn check_new(&self, spec: &JobSpec) -> Result<(), Refusal> {
        let max = self.config.open_jobs_max;
        if self.state.open_job_count() >= max {
            return Err(Refusal::TooManyJobs { max });
        }
        spec.check().map_err(|error| Refusal::BadJob(error.to_string()))
    }
}
