//! The agent's behaviour, one file a topic, in a small [`world`].

#![expect(clippy::wildcard_enum_match_arm, reason = "a check takes what it looks for")]

mod leaving;
mod lost_lease;
mod reporting;
mod session;
mod slicing;
mod stopping;
mod taking_back;
mod world;
