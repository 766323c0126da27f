//! `gridctl cancel`.

use gridctl_transport::message::client::{Answer, Request};

use super::{Ended, selection};
use crate::cli::Cancel;
use crate::error::Exit;
use crate::output::screen::Screen;

/// Cancels what was named.
pub(super) async fn cancel(args: Cancel, screen: Screen) -> Ended {
    let client = super::connect(&args.grid).await?;
    let request = Request::Cancel { target: selection::target(&args.target) };
    let take = |answer| {
        let Answer::Cancelled { number, tasks } = answer else { return None };
        Some((number, tasks))
    };
    let (number, tasks) = client.ask_one(&request, take).await?;
    let counted = if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
    screen.note(format_args!("job {number}: {counted} cancelled"));
    Ok(Exit::Done)
}
