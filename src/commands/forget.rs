//! `gridctl forget`.

use gridctl_transport::message::client::{Answer, Request};

use super::{Ended, selection};
use crate::cli::Forget;
use crate::error::Exit;
use crate::output::screen::Screen;

/// Lets a job be gone.
pub(super) async fn forget(args: Forget, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let request = Request::Forget { job: selection::job_ref(&args.job) };
    let take = |answer| {
        let Answer::Forgotten { number } = answer else { return None };
        Some(number)
    };
    let number = client.ask_one(&request, take).await?;
    screen.note(format_args!("job {number} is forgotten"));
    Ok(Exit::Done)
}
