//! `gridctl wait`.

use std::sync::Arc;

use super::{Ended, selection, watch};
use crate::cli::Wait;
use crate::client::Reach;
use crate::error::{CommandError, Exit};
use crate::output::screen::Screen;

/// Waits for jobs, and says nothing.
pub(super) async fn wait(args: Wait, screen: Screen) -> Ended {
    let profile = super::profile(&args.grid)?;
    let reach =
        Reach::connect(profile, args.patience.reconnect, move |text| screen.note(text)).await?;
    let jobs = args.jobs.iter().map(selection::job_ref).collect();
    let ended = watch::wait_all(&Arc::new(reach), jobs, None).await;
    let statuses = ended.map_err(|error| CommandError::of_wait(error, || again(&args)))?;
    let exits = statuses.iter().map(|status| selection::exit_of(status.job.state));
    Ok(exits.fold(Exit::Done, selection::worse))
}

fn again(args: &Wait) -> String {
    let jobs: Vec<String> = args.jobs.iter().map(ToString::to_string).collect();
    format!("gridctl wait {}", jobs.join(" "))
}
