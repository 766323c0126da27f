//! Coming back: one connection that is replaced when it is lost, for as long as patience lasts.

use std::time::Duration;

use gridctl_transport::backoff::Backoff;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{AskError, Client, ConnectClientError};
use crate::error::with_causes;
use crate::output::time::short;
use crate::profile::Profile;

/// How long the last try may take, however little patience is left: a few round trips.
const TRY_LEAST: Duration = Duration::from_secs(1);

/// A grid that is reached again after an outage. Shared by everything that one command waits for, so
/// that an outage is told and mended once.
pub(crate) struct Reach {
    profile: Profile,
    patience: Duration,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    link: Link,
    outage: Option<Outage>,
}

/// A connection, and which one in a row it is.
#[derive(Clone)]
pub(crate) struct Link {
    pub client: Client,
    generation: u64,
}

/// Since when nothing has been heard, and how often it was tried since.
#[derive(Clone, Copy)]
struct Outage {
    since: Instant,
    attempts: u32,
}

/// Why a request was not answered in spite of all patience.
#[derive(Debug, Error)]
pub(crate) enum ReachError {
    #[error(transparent)]
    Connect(#[from] ConnectClientError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
}

/// The coordinator stayed away for too long.
#[derive(Debug, Error)]
#[error("the coordinator could not be reached for {}: {last}", short(*.patience))]
pub(crate) struct GaveUp {
    patience: Duration,
    last: String,
}

impl Reach {
    /// Connects. Messages about outages go to `tell`.
    ///
    /// # Errors
    /// Where it cannot connect now: patience is for outages of what was there before.
    pub(crate) async fn connect(
        profile: Profile,
        patience: Duration,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ConnectClientError> {
        let client = Client::connect(&profile).await?;
        let state = State { link: Link { client, generation: 0 }, outage: None };
        Ok(Self { profile, patience, tell: Box::new(tell), state: Mutex::new(state) })
    }

    /// Returns the connection that is used now.
    pub(crate) async fn link(&self) -> Link {
        self.state.lock().await.link.clone()
    }

    /// Takes note that `link` has been heard of, so that an outage is over.
    pub(crate) async fn heard(&self, link: &Link) {
        let mut state = self.state.lock().await;
        if state.link.generation == link.generation && state.outage.take().is_some() {
            (self.tell)("the coordinator is back");
        }
    }

    /// Returns another connection than `lost`, which failed with `error`, once there is one.
    ///
    /// # Errors
    /// The error itself where it is no outage; else [`GaveUp`], or why we are not welcome any more.
    pub(crate) async fn again(&self, lost: &Link, error: AskError) -> Result<Link, ReachError> {
        if !error.is_outage() {
            return Err(error.into());
        }
        let mut state = self.state.lock().await;
        if state.link.generation != lost.generation {
            return Ok(state.link.clone());
        }
        let mut outage = state.outage.unwrap_or(Outage { since: Instant::now(), attempts: 0 });
        if outage.attempts == 0 {
            let patience = short(self.patience);
            (self.tell)(&format!(
                "the coordinator is out of reach ({error}); trying again for up to {patience}"
            ));
        }
        let mut last = error.to_string();
        loop {
            outage.attempts += 1;
            // Kept also where this is cancelled: the next one goes on with the same outage.
            state.outage = Some(outage);
            let left = self.patience.saturating_sub(outage.since.elapsed());
            if left.is_zero() {
                return Err(GaveUp { patience: self.patience, last }.into());
            }
            let seed = u64::from(std::process::id());
            sleep(Backoff::RECONNECT.delay(seed, outage.attempts).min(left)).await;
            let left = self.patience.saturating_sub(outage.since.elapsed()).max(TRY_LEAST);
            let Ok(connected) = timeout(left, Client::connect(&self.profile)).await else {
                continue;
            };
            match connected {
                Ok(client) => {
                    state.link = Link { client, generation: lost.generation + 1 };
                    return Ok(state.link.clone());
                }
                Err(error) if error.is_outage() => last = with_causes(&error),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
