//! A whole coordinator over real QUIC on loopback, with workers and clients that follow a script.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod client;
mod enrolment;
mod hostile;
mod jobs;
mod restart;
mod scripted_worker;
mod sessions;
mod submissions;
mod world;
