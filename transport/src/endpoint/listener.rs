//! The coordinator's end: takes connections in, decides on each, and hands on those that it admits.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{ConnectionError, Endpoint, Incoming};
use rustls::version::TLS13;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::admit::{Admission, JOIN_PROTOCOL, PROTOCOL, Presented, Refusal, admit};
use super::connection::{CloseCode, Connection};
use super::limits::{
    HANDSHAKE_DEADLINE, HANDSHAKES_MAX, JOIN_DEADLINE, JOINING_MAX, RETRY_FROM, Timing,
    UNADMITTED_WINDOW_BYTES, listener_transport,
};
use super::lost::{LostConnection, alert_of, is_unknown_authority};
use super::reset::ResetKey;
use super::serving::ServingCertificate;
use super::verify::{PeerVerifier, peer_certificate};
use crate::authority::Authority;
use crate::certificate::PeerCertificate;
use crate::frame::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError};
use crate::message::join::{JoinAnswer, JoinRequest};
use crate::random::provider;

/// Listens on one UDP port.
pub struct Listener {
    endpoint: Endpoint,
    handshakes: JoinSet<Result<Admitted, RefusedPeer>>,
    joining: Arc<Semaphore>,
}

/// Someone who was let in.
pub enum Admitted {
    /// A worker, user or admin.
    Peer(Connection),
    /// Someone with a token (or who says so) and no certificate yet.
    Joining(JoiningPeer),
}

/// Someone who was not let in; was told why, and is closed. Fit for one line of a log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("refused {address}: {why}")]
pub struct RefusedPeer {
    /// Where it came from.
    pub address: SocketAddr,
    /// Why.
    pub why: Refusal,
}

/// Someone who may ask for a certificate, once, before [`JOIN_DEADLINE`].
pub struct JoiningPeer {
    connection: quinn::Connection,
    deadline: Instant,
    answers: Option<FrameWriter>,
    _place: OwnedSemaphorePermit,
}

/// Why a listener cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The port is taken, or the address is not this machine's.
    #[error(
        "cannot listen on UDP {address}; another coordinator may be running, else choose another with --listen ADDR:PORT"
    )]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up with the authority.
    #[error("the certificate authority cannot be used for TLS; put it back from a backup")]
    Tls,
}

/// Why an enrolment was not finished.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoiningError {
    /// The request did not come, or the answer was not taken, in time.
    #[error("the enrolment took longer than {} seconds", JOIN_DEADLINE.as_secs())]
    Late,
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] LostConnection),
    /// What came was not a request to join.
    #[error(transparent)]
    Read(#[from] ReadFrameError),
    /// The answer could not be sent.
    #[error(transparent)]
    Write(#[from] WriteFrameError),
    /// A second request, or an answer without a request.
    #[error("an enrolment is one request and one answer")]
    Order,
}

impl Listener {
    /// Listens on `address`; where the machine has no IPv6, `[::]` is all of IPv4. Peers must be of
    /// `authority`. Those of an earlier life of the same authority at this address are told, when they
    /// speak, that their connections are gone.
    ///
    /// # Errors
    /// [`BindError`] names the address.
    pub fn bind(
        address: SocketAddr,
        authority: &Authority,
        certificate: ServingCertificate,
        timing: Timing,
    ) -> Result<Self, BindError> {
        let verifier = PeerVerifier::new(authority.certificate()).ok_or(BindError::Tls)?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| BindError::Tls)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(certificate));
        tls.alpn_protocols = vec![PROTOCOL.to_vec(), JOIN_PROTOCOL.to_vec()];
        // No resumption: every connection presents its certificate anew.
        tls.send_tls13_tickets = 0;
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        tls.max_early_data_size = 0;
        let crypto = QuicServerConfig::try_from(tls).map_err(|_| BindError::Tls)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(listener_transport(timing))
            .migration(true)
            .max_incoming(HANDSHAKES_MAX)
            .incoming_buffer_size(u64::from(UNADMITTED_WINDOW_BYTES))
            .incoming_buffer_size_total(u64::from(UNADMITTED_WINDOW_BYTES) * HANDSHAKES_MAX as u64);
        let endpoint = bind_socket(&authority.reset_key(), config, address)
            .map_err(|source| BindError::Socket { address, source })?;
        let joining = Arc::new(Semaphore::new(JOINING_MAX));
        Ok(Self { endpoint, handshakes: JoinSet::new(), joining })
    }

    /// Returns where it listens; with the port that was picked where 0 was asked for.
    ///
    /// # Errors
    /// What the kernel says where the socket is no more.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Waits for the next one who was let in, or was not; `None` once the listener was closed. May be
    /// cancelled. New handshakes begin only while somebody waits here.
    pub async fn accept(&mut self) -> Option<Result<Admitted, RefusedPeer>> {
        let mut closed = false;
        loop {
            tokio::select! {
                incoming = self.endpoint.accept(), if !closed => match incoming {
                    Some(incoming) => self.begin(incoming),
                    None => closed = true,
                },
                Some(outcome) = self.handshakes.join_next() => match outcome {
                    Ok(outcome) => return Some(outcome),
                    Err(error) => tracing::error!(%error, "a handshake ended abnormally"),
                },
                else => return None,
            }
        }
    }

    /// Closes every connection, and takes in no more.
    pub fn close(&self, code: CloseCode, why: &str) {
        self.endpoint.close(code.into(), why.as_bytes());
    }

    /// Waits, up to `patience`, until every peer can have heard that it was closed.
    pub async fn flush(&self, patience: Duration) {
        // Out of patience: the others find out by their idle timeout.
        let _ = timeout(patience, self.endpoint.wait_idle()).await;
    }

    fn begin(&mut self, incoming: Incoming) {
        let under_way = self.handshakes.len();
        if under_way >= HANDSHAKES_MAX {
            tracing::debug!(address = %incoming.remote_address(), "too many handshakes under way");
            incoming.refuse();
        } else if under_way >= RETRY_FROM && incoming.may_retry() {
            // An error would mean that it may not retry, which was just asked.
            let _ = incoming.retry();
        } else {
            self.handshakes.spawn(shake_hands(incoming, Arc::clone(&self.joining)));
        }
    }
}

impl JoiningPeer {
    /// Returns where it comes from.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Waits for what it asks.
    ///
    /// # Errors
    /// [`JoiningError`] where nothing, or nothing of the kind, comes in time; it is closed then.
    pub async fn request(&mut self) -> Result<JoinRequest, JoiningError> {
        if self.answers.is_some() {
            return Err(JoiningError::Order);
        }
        let read = async {
            let (send, receive) =
                self.connection.accept_bi().await.map_err(LostConnection::from)?;
            let request = FrameReader::new(receive).expect().await?;
            Ok((request, FrameWriter::new(send)))
        };
        let outcome = timeout_at(self.deadline, read).await.unwrap_or(Err(JoiningError::Late));
        match outcome {
            Ok((request, answers)) => {
                self.answers = Some(answers);
                Ok(request)
            }
            Err(error) => {
                let code = match error {
                    JoiningError::Late => CloseCode::Late,
                    JoiningError::Lost(_)
                    | JoiningError::Read(_)
                    | JoiningError::Write(_)
                    | JoiningError::Order => CloseCode::Violation,
                };
                self.connection.close(code.into(), error.to_string().as_bytes());
                Err(error)
            }
        }
    }

    /// Answers, waits until the answer has arrived, and closes.
    ///
    /// # Errors
    /// [`JoiningError`] where it did not arrive; the peer may ask again with the same key.
    pub async fn answer(mut self, answer: &JoinAnswer) -> Result<(), JoiningError> {
        let mut answers = self.answers.take().ok_or(JoiningError::Order)?;
        let send = async {
            answers.write(answer).await?;
            answers.finish_and_wait().await?;
            Ok(())
        };
        let outcome = timeout_at(self.deadline, send).await.unwrap_or(Err(JoiningError::Late));
        self.connection.close(CloseCode::Done.into(), b"");
        match outcome {
            // It has what it wanted and left first.
            Err(JoiningError::Lost(LostConnection::Closed { code: CloseCode::Done, .. })) => Ok(()),
            outcome => outcome,
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(connection) => f.debug_tuple("Peer").field(connection.peer()).finish(),
            Self::Joining(peer) => f.debug_tuple("Joining").field(&peer.remote_address()).finish(),
        }
    }
}

fn bind_socket(
    reset: &ResetKey,
    config: quinn::ServerConfig,
    address: SocketAddr,
) -> io::Result<Endpoint> {
    let socket = match UdpSocket::bind(address) {
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        }
        outcome => outcome,
    }?;
    Endpoint::new(reset.endpoint_config(), Some(config), socket, Arc::new(quinn::TokioRuntime))
}

async fn shake_hands(incoming: Incoming, joining: Arc<Semaphore>) -> Result<Admitted, RefusedPeer> {
    let address = incoming.remote_address();
    let refused = |why| RefusedPeer { address, why };
    let connection = match timeout(HANDSHAKE_DEADLINE, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(refused(failed_handshake(error))),
        Err(_) => {
            let what = format!("it took longer than {} seconds", HANDSHAKE_DEADLINE.as_secs());
            return Err(refused(Refusal::Handshake { what }));
        }
    };
    let close = |code: CloseCode, why: Refusal| {
        connection.close(code.into(), why.to_string().as_bytes());
        refused(why)
    };
    let admission =
        admit(protocol(&connection).as_deref(), presented(&connection), SystemTime::now())
            .map_err(|why| close(CloseCode::Refused, why))?;
    match admission {
        Admission::Peer(identity) => Ok(Admitted::Peer(Connection::accepted(connection, identity))),
        Admission::Join => {
            let place = joining
                .try_acquire_owned()
                .map_err(|_| close(CloseCode::Overloaded, Refusal::Overloaded))?;
            let deadline = Instant::now() + JOIN_DEADLINE;
            Ok(Admitted::Joining(JoiningPeer {
                connection,
                deadline,
                answers: None,
                _place: place,
            }))
        }
    }
}

fn protocol(connection: &quinn::Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

fn presented(connection: &quinn::Connection) -> Presented {
    match peer_certificate(connection) {
        None => Presented::Nothing,
        Some(der) => match PeerCertificate::read(&der) {
            Ok(certificate) => Presented::Certificate(certificate),
            Err(error) => Presented::Malformed(error),
        },
    }
}

fn failed_handshake(error: ConnectionError) -> Refusal {
    if let ConnectionError::TransportError(error) = &error
        && is_unknown_authority(alert_of(error.code.into()))
    {
        return Refusal::OtherAuthority;
    }
    Refusal::Handshake { what: LostConnection::from(error).to_string() }
}
