//! Who talks to whom: identities and roles, certificates, enrolment, QUIC endpoints, framed messages.
//!
//! Deliberately absent: scheduling. Nothing here knows what a message means, only who may send it.

pub mod message;
