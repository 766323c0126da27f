//! Who is let in: the one function that pairs protocol, certificate and role.
//!
//! TLS' own verifier cannot see the protocol, so there a certificate is optional, and here it is
//! demanded. That a certificate presented is of this grid's authority, and that the peer has its key,
//! the TLS handshake has verified before; everything else about it is decided here.

use std::time::SystemTime;

use crate::certificate::{PeerCertificate, ReadCertificateError, TimeError};
use crate::credentials::how_to_join;
use crate::identity::{Identity, Role};

/// The protocol of workers and clients, which have certificates (ALPN).
pub const PROTOCOL: &[u8] = b"grid/1";
/// The protocol of enrolment, where only the coordinator has one (ALPN).
pub const JOIN_PROTOCOL: &[u8] = b"grid-join/1";

/// What a peer presented in the handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Presented {
    /// No certificate.
    Nothing,
    /// A certificate of this grid's authority, for the key that the peer has.
    Certificate(PeerCertificate),
    /// Such a certificate, but not one that we would write.
    Malformed(ReadCertificateError),
}

/// As what a peer is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// To ask for a certificate, and nothing else.
    Join,
    /// As this worker, user or admin.
    Peer(Identity),
}

/// Why a peer is not let in. What it says goes to the peer, and into our log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Neither of the two protocols.
    #[error("no protocol in common; upgrade the older of the two sides")]
    Protocol,
    /// It would have to have a certificate.
    #[error(
        "no certificate was presented; join with a token: gridctl worker --join TOKEN, or gridctl login TOKEN"
    )]
    NoCertificate,
    /// It presented one where it asks for its first.
    #[error("a certificate was presented where one is asked for; leave it out to join")]
    CertificateOnJoin,
    /// One that says nothing that we understand.
    #[error(transparent)]
    Malformed(#[from] ReadCertificateError),
    /// A coordinator that dials in, or a stolen certificate of one.
    #[error("the role {role} does not connect to a coordinator; {}", how_to_join(Role::Worker))]
    Role {
        /// The role.
        role: Role,
    },
    /// Expired, or not valid yet.
    #[error("by the coordinator, {time}; {}", how_to_join(*.role))]
    Time {
        /// Tells how to join again.
        role: Role,
        /// The certificate's time and the coordinator's clock.
        time: TimeError,
    },
    /// The certificate was issued by another grid's authority.
    #[error("the certificate was issued by another grid")]
    OtherAuthority,
    /// The handshake failed otherwise, or took too long.
    #[error("the handshake failed: {what}")]
    Handshake {
        /// In the words of the QUIC library.
        what: String,
    },
    /// Too many enrol at once.
    #[error("too many are joining at once; try again in a minute")]
    Overloaded,
}

/// Decides whether a peer is let in, and as what.
///
/// # Errors
/// [`Refusal`] says why not.
pub fn admit(
    protocol: Option<&[u8]>,
    presented: Presented,
    now: SystemTime,
) -> Result<Admission, Refusal> {
    match (protocol, presented) {
        (Some(JOIN_PROTOCOL), Presented::Nothing) => Ok(Admission::Join),
        (Some(JOIN_PROTOCOL), Presented::Certificate(_) | Presented::Malformed(_)) => {
            Err(Refusal::CertificateOnJoin)
        }
        (Some(PROTOCOL), Presented::Nothing) => Err(Refusal::NoCertificate),
        (Some(PROTOCOL), Presented::Malformed(error)) => Err(Refusal::Malformed(error)),
        (Some(PROTOCOL), Presented::Certificate(certificate)) => admit_peer(certificate, now),
        (Some(_) | None, _) => Err(Refusal::Protocol),
    }
}

fn admit_peer(certificate: PeerCertificate, now: SystemTime) -> Result<Admission, Refusal> {
    let role = certificate.identity.role();
    match role {
        Role::Worker | Role::User | Role::Admin => {}
        Role::Coordinator => return Err(Refusal::Role { role }),
    }
    match certificate.validity.check(now) {
        Ok(()) => Ok(Admission::Peer(certificate.identity)),
        Err(time) => Err(Refusal::Time { role, time }),
    }
}
