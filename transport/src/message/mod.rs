//! Everything that is said over the wire.
//!
//! Messages are postcard in length-prefixed frames. New variants go to the end of their enum: postcard
//! numbers variants by place. Core types are not wire types, except plain ids and specs.

pub mod client;
pub mod join;
pub mod worker;

use gridctl_jobs::id::Epoch;
use serde::{Deserialize, Serialize};

/// The version of the protocol that this build speaks best.
pub const PROTOCOL_VERSION: u32 = 1;
/// The oldest version that it still speaks.
pub const PROTOCOL_VERSION_MIN: u32 = 1;

/// Why a peer is turned away before anything else is said. It says what to do next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Turned {
    /// No version in common.
    #[error(
        "this side speaks protocol {ours_min} to {ours_max}, the other {theirs}; upgrade the older of the two"
    )]
    Version { ours_min: u32, ours_max: u32, theirs: u32 },
    /// The peer has seen a later epoch: this coordinator was set back, or is an old copy.
    #[error("this coordinator (epoch {}) is older than one that was seen before (epoch {})", .ours.0, .seen.0)]
    OldCoordinator { ours: Epoch, seen: Epoch },
    #[error(
        "the identity {name} is in use by another machine; join with a token of its own: gridctl worker --join TOKEN"
    )]
    IdentityInUse { name: String },
    #[error(
        "this identity is not known to the coordinator (any more); join again: gridctl worker --join TOKEN, or gridctl login TOKEN"
    )]
    UnknownIdentity,
    #[error("the coordinator is stopping")]
    Stopping,
    #[error("the other side broke the protocol: {what}")]
    Violation { what: String },
    #[error(
        "an earlier process of this worker may still run tasks; its lease has to run out first, so this one tries again"
    )]
    LeaseRuns,
}

#[cfg(test)]
mod tests;
