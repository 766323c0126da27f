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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authority::Authority;
    use crate::credentials::NewKey;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// What a peer may present, by the case's name, at a time at which it does or does not hold.
    fn presentations(now: SystemTime) -> Vec<(String, Presented)> {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(directory.path(), now - 400 * DAY).unwrap();
        let request = NewKey::open_or_create(directory.path()).unwrap().signing_request().unwrap();
        let mut cases = vec![
            ("nothing".to_owned(), Presented::Nothing),
            ("malformed".to_owned(), Presented::Malformed(ReadCertificateError::Names)),
        ];
        for (time, issued) in [("now", now), ("past", now - 91 * DAY), ("future", now + DAY)] {
            for role in Role::ALL {
                let der = match role {
                    Role::Coordinator => {
                        let own = authority.coordinator_certificate("c", issued).unwrap();
                        own.chain[0].to_vec()
                    }
                    Role::Worker | Role::User | Role::Admin => {
                        let identity = Identity::new(role, 5, "x").unwrap();
                        authority.issue(&request, &identity, issued).unwrap()
                    }
                };
                let read = PeerCertificate::read(&der).unwrap();
                cases.push((format!("{role} {time}"), Presented::Certificate(read)));
            }
        }
        cases
    }

    fn verdict(outcome: Result<Admission, Refusal>) -> String {
        match outcome {
            Ok(Admission::Join) => "join".to_owned(),
            Ok(Admission::Peer(identity)) => format!("in as {}", identity.role()),
            Err(Refusal::Protocol) => "protocol".to_owned(),
            Err(Refusal::NoCertificate) => "no certificate".to_owned(),
            Err(Refusal::CertificateOnJoin) => "certificate on join".to_owned(),
            Err(Refusal::Malformed(_)) => "malformed".to_owned(),
            Err(Refusal::Role { .. }) => "role".to_owned(),
            Err(Refusal::Time { .. }) => "time".to_owned(),
            Err(
                other @ (Refusal::OtherAuthority | Refusal::Handshake { .. } | Refusal::Overloaded),
            ) => panic!("{other}"),
        }
    }

    #[test]
    fn every_combination_of_protocol_certificate_and_role_has_its_verdict() {
        let expected_on_grid = [
            ("nothing", "no certificate"),
            ("malformed", "malformed"),
            ("coordinator now", "role"),
            ("worker now", "in as worker"),
            ("user now", "in as user"),
            ("admin now", "in as admin"),
            ("coordinator past", "role"),
            ("worker past", "time"),
            ("user past", "time"),
            ("admin past", "time"),
            ("coordinator future", "role"),
            ("worker future", "time"),
            ("user future", "time"),
            ("admin future", "time"),
        ];
        let now = SystemTime::now();
        let cases = presentations(now);
        assert_eq!(cases.len(), expected_on_grid.len());
        for ((name, presented), (expected_name, expected)) in cases.iter().zip(expected_on_grid) {
            assert_eq!(name, expected_name);
            let on = |protocol| verdict(admit(protocol, presented.clone(), now));
            assert_eq!(on(Some(PROTOCOL)), expected, "{name} on grid/1");
            let expected_on_join = if name == "nothing" { "join" } else { "certificate on join" };
            assert_eq!(on(Some(JOIN_PROTOCOL)), expected_on_join, "{name} on grid-join/1");
            for other in [None, Some(&b"h3"[..]), Some(b""), Some(b"grid/2"), Some(b"grid/1 ")] {
                assert_eq!(on(other), "protocol", "{name} on {other:?}");
            }
        }
    }
}
