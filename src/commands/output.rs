//! `gridctl output`.

use std::io::{Write as _, stdout};

use gridctl_transport::message::client::{OutputStages, OutputStream};

use super::{Ended, selection};
use crate::cli::Output;
use crate::client::{OutputAsked, Pieces, Reach};
use crate::error::{CommandError, Exit};
use crate::output::screen::Screen;

/// Prints what tasks printed, as it is.
pub(super) async fn output(args: Output, screen: Screen) -> Ended {
    let profile = super::profile(&args.grid)?;
    let reach =
        Reach::connect(profile, args.patience.reconnect, move |text| screen.note(text)).await?;
    let asked = OutputAsked {
        target: selection::target(&args.target),
        stream: if args.stderr { OutputStream::Stderr } else { OutputStream::Stdout },
        follow: args.follow,
        attempt: args.attempt,
        stages: OutputStages::All,
    };
    let again = || format!("gridctl output --follow {}", args.target);
    let mut pieces = Pieces::ask(&reach, asked).await;
    let mut out = stdout().lock();
    while let Some(piece) =
        pieces.next().await.map_err(|error| CommandError::of_wait(error, again))?
    {
        out.write_all(&piece.bytes)?;
        if args.follow {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}
