//! A person's client: connects by a profile, asks, and comes back through outages.
//!
//! Deliberately absent: what is shown. Answers are handed to whoever asked.

mod connection;
mod follow;
mod output;
mod reach;

pub(crate) use connection::{AskError, Client, ConnectClientError};
pub(crate) use follow::follow;
pub(crate) use output::{OutputAsked, Piece, Pieces};
pub(crate) use reach::{GaveUp, Reach, ReachError};
