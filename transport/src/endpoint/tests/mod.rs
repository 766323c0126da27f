//! Endpoints against each other, and against strangers, over real QUIC on loopback.

mod dialling;
mod enrolment;
mod frames;
mod greeting;
mod strangers;
mod world;
