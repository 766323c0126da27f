//! The log of services: standard error, a line an event.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::output::screen::Screen;

/// Sets how much is logged, as `info` or `gridctl_worker=debug`.
const VARIABLE: &str = "GRID_LOG";

/// Starts the log. Events of libraries below warnings are left out unless they are asked for.
pub(super) fn init(screen: Screen) {
    let usual = if screen.is_quiet() {
        "warn"
    } else {
        "warn,gridctl=info,gridctl_coordinator=info,gridctl_worker=info"
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal() && screen.is_live())
        .init();
}
