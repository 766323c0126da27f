//! Who talks to whom: identities and roles, certificates, enrolment, QUIC endpoints, framed messages.
//!
//! Everything that reaches a peer goes through an [`endpoint`], which lets nobody in without a
//! certificate of this grid's [`authority`] (or, to get one, a [`join_token`]); what is then said are
//! the [`message`]s, in [`frame`]s with a maximum, by the one table of [`permission`].
//!
//! Deliberately absent: scheduling. Nothing here knows what a message means, only who may send it.

#![warn(missing_docs)]

pub mod authority;
pub mod backoff;
pub mod certificate;
pub mod credentials;
pub mod endpoint;
mod files;
pub mod frame;
pub mod handshake;
pub mod identity;
pub mod join_token;
#[expect(
    missing_docs,
    reason = "fields are named for what they are; where that is not all, they have a comment"
)]
pub mod message;
pub mod permission;
mod random;

pub use files::FileError;
