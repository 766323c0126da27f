//! `gridctl retry`.

use gridctl_transport::message::client::{Answer, Request};

use super::{Ended, selection};
use crate::cli::Retry;
use crate::error::Exit;
use crate::output::screen::Screen;

/// Lets what was named run again.
pub(super) async fn retry(args: Retry, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let request = Request::Retry { target: selection::target(&args.target), all: args.all };
    let take = |answer| {
        let Answer::Retried { number, tasks } = answer else { return None };
        Some((number, tasks))
    };
    let (number, tasks) = client.ask_one(&request, take).await?;
    let counted = if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
    screen.note(format_args!(
        "job {number}: {counted} to run again; to see it go: gridctl watch {number}"
    ));
    Ok(Exit::Done)
}
