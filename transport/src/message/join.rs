//! Enrolment (`grid-join/1`): the only thing that can be said without a certificate.
//!
//! One stream, one request, one answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Asks for a certificate. Sent only after the coordinator's CA was checked against the token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinRequest {
    pub version: u32,
    pub token_id: u64,
    pub secret: [u8; 16],
    /// A certificate signing request (DER); its key is made where it is used. Names in it are ignored.
    pub signing_request: Vec<u8>,
    /// What the bearer would like to be called; the coordinator may add `-2`.
    pub wanted_name: String,
    /// What the bearer means to be: a worker's token does not enrol a person, nor the reverse.
    pub as_worker: bool,
}

/// Hides the secret, so that it can never reach a log.
impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("version", &self.version)
            .field("token_id", &self.token_id)
            .field("wanted_name", &self.wanted_name)
            .field("as_worker", &self.as_worker)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`JoinRequest`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum JoinAnswer {
    Enrolled {
        name: String,
        /// The grid's name, for the profile.
        grid: String,
        /// DER; signed by the CA that the token pinned.
        certificate: Vec<u8>,
        /// DER.
        ca: Vec<u8>,
    },
    /// Why not, in words for a person.
    Refused { why: String },
}
