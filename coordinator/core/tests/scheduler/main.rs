//! The scheduler from outside: an event in, exact facts and effects out. One file for each kind of
//! transition; [`world`] builds what they play in.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of effect")]

mod admission;
mod adopting;
mod cancelling;
mod draining;
mod ending_early;
mod enrolling;
mod explaining;
mod folding;
mod forgetting;
mod granting;
mod jobs_ending;
mod leases;
mod lines;
mod losing;
mod needs;
#[cfg(feature = "planted-bugs")]
mod planted;
mod queueing;
mod reopening;
mod reporting;
mod retrying;
mod specs;
mod stopping;
mod taking_back;
mod viewing;
mod walking;
mod window;
mod world;
