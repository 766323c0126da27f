//! Enrolment from the side of the one who has a token.

use std::path::Path;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use tokio::time::timeout;

use super::admit::JOIN_PROTOCOL;
use super::connection::CloseCode;
use super::dial::{ConnectError, Dial};
use super::limits::{JOIN_DEADLINE, Timing};
use super::lost::LostConnection;
use super::verify::{PeerVerifier, Trust};
use crate::certificate::{PeerCertificate, ReadCertificateError};
use crate::credentials::{Credentials, NewKey, OutdatedError, SaveCredentialsError};
use crate::frame::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError};
use crate::identity::{NameError, Role, check_name};
use crate::join_token::{AuthorityHash, JoinToken};
use crate::message::PROTOCOL_VERSION;
use crate::message::join::{JoinAnswer, JoinRequest};

/// What an enrolment gave.
#[derive(Debug)]
pub struct Joined {
    /// Who the bearer is now; already saved.
    pub credentials: Credentials,
    /// What the grid is called.
    pub grid: String,
}

/// Why nobody was enrolled.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The wanted name is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The coordinator was not reached, or is not the one that the token names. The secret was not sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The key cannot be made, or what came cannot be kept.
    #[error(transparent)]
    Save(#[from] SaveCredentialsError),
    /// The coordinator said no.
    #[error("the coordinator refused: {why}")]
    Refused {
        /// In its words.
        why: String,
    },
    /// The connection went away in the middle.
    #[error("the connection was lost while joining; run the same command again")]
    Lost(#[source] LostConnection),
    /// No answer came.
    #[error("the coordinator gave no answer within {} seconds; run the same command again", JOIN_DEADLINE.as_secs())]
    Late,
    /// The request does not fit, or cannot be encoded.
    #[error("the request to join cannot be sent")]
    Write(#[source] WriteFrameError),
    /// The answer is not one.
    #[error("the coordinator's answer cannot be read; upgrade the older side")]
    Read(#[source] ReadFrameError),
    /// What was issued is not a certificate of the grid that the token names, or not for this purpose.
    #[error(
        "the coordinator issued a certificate that is not what was asked for; upgrade the older side"
    )]
    Issued,
    /// What was issued cannot be read.
    #[error("the coordinator issued a certificate that cannot be read; upgrade the older side")]
    Certificate(#[from] ReadCertificateError),
    /// The two clocks differ by more than what certificates tolerate.
    #[error(transparent)]
    Clocks(#[from] OutdatedError),
}

/// Asks the coordinator that `token` names for an identity, and keeps it in `directory` in place of
/// whatever was there. The key is made there and stays; the secret is sent only to a server that proved
/// to be of the authority that the token pins. Doing it again after a failure asks for the same identity.
///
/// # Errors
/// [`JoinError`] says how far it came and what to do.
pub async fn join(
    token: &JoinToken,
    wanted_name: &str,
    as_worker: bool,
    directory: &Path,
) -> Result<Joined, JoinError> {
    check_name(wanted_name)?;
    let key = NewKey::open_or_create(directory)?;
    let request = JoinRequest {
        version: PROTOCOL_VERSION,
        token_id: token.token_id(),
        secret: token.secret().to_bytes(),
        signing_request: key.signing_request()?,
        wanted_name: wanted_name.to_owned(),
        as_worker,
    };
    let dial = Dial {
        protocol: JOIN_PROTOCOL,
        trust: Trust::Hash(token.authority()),
        own: None,
        timing: Timing::DEFAULT,
    };
    let reached = dial.race(token.addresses()).await?;
    let answer = timeout(JOIN_DEADLINE, ask(&reached.quic, &request))
        .await
        .unwrap_or(Err(JoinError::Late))?;
    reached.quic.close(CloseCode::Done.into(), b"");
    match answer {
        JoinAnswer::Refused { why } => Err(JoinError::Refused { why }),
        JoinAnswer::Enrolled { name: _, grid, certificate, ca } => {
            check_issued(token.authority(), as_worker, &certificate, &ca)?;
            Ok(Joined { credentials: key.save(&certificate, &ca)?, grid })
        }
    }
}

async fn ask(
    connection: &quinn::Connection,
    request: &JoinRequest,
) -> Result<JoinAnswer, JoinError> {
    let (send, receive) =
        connection.open_bi().await.map_err(|error| JoinError::Lost(error.into()))?;
    let mut writer = FrameWriter::new(send);
    writer
        .write(request)
        .await
        .map_err(|error| error.into_lost().map_or_else(JoinError::Write, lost_while_joining))?;
    writer.finish();
    FrameReader::new(receive)
        .expect()
        .await
        .map_err(|error| error.into_lost().map_or_else(JoinError::Read, lost_while_joining))
}

fn lost_while_joining(lost: LostConnection) -> JoinError {
    match lost {
        LostConnection::Refused { why } | LostConnection::Closed { why, .. } => {
            JoinError::Refused { why }
        }
        LostConnection::Silent
        | LostConnection::Forgotten
        | LostConnection::Here
        | LostConnection::Failed { .. } => JoinError::Lost(lost),
    }
}

/// Holds the coordinator to what was asked, before anything that was there is replaced.
fn check_issued(
    pinned: AuthorityHash,
    as_worker: bool,
    certificate: &[u8],
    authority: &[u8],
) -> Result<(), JoinError> {
    if AuthorityHash::of(authority) != pinned {
        return Err(JoinError::Issued);
    }
    let read = PeerCertificate::read(certificate)?;
    let role = read.identity.role();
    let fits = match role {
        Role::Worker => as_worker,
        Role::User | Role::Admin => !as_worker,
        Role::Coordinator => false,
    };
    if !fits {
        return Err(JoinError::Issued);
    }
    let verifier = PeerVerifier::new(&CertificateDer::from(authority.to_vec()));
    verifier
        .ok_or(JoinError::Issued)?
        .verify_client_cert(&CertificateDer::from(certificate), &[], UnixTime::now())
        .map_err(|_| JoinError::Issued)?;
    let time = read.validity.check(SystemTime::now());
    time.map_err(|time| JoinError::Clocks(OutdatedError { role, time }))
}
