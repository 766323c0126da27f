//! `gridctl wait`.

use std::sync::Arc;

use super::selection::{self, Awaited};
use super::{Ended, watch};
use crate::cli::Wait;
use crate::client::Reach;
use crate::error::{CommandError, Exit};
use crate::output::screen::Screen;

/// Waits for jobs, and says nothing.
pub(super) async fn wait(args: Wait, screen: Screen) -> Ended {
    let profile = super::profile(&args.grid)?;
    let reach =
        Reach::connect(profile, args.patience.reconnect, move |text| screen.note(text)).await?;
    let awaited: Vec<Awaited> = args.targets.iter().map(Awaited::from).collect();
    let ended = watch::wait_all(&Arc::new(reach), &awaited, None).await;
    let statuses = ended.map_err(|error| CommandError::of_wait(error, || again(&args)))?;
    awaited.iter().zip(&statuses).try_fold(Exit::Done, |worst, (awaited, status)| {
        Ok(selection::worse(worst, awaited.exit(status)?))
    })
}

fn again(args: &Wait) -> String {
    let jobs: Vec<String> = args.targets.iter().map(ToString::to_string).collect();
    format!("gridctl wait {}", jobs.join(" "))
}
