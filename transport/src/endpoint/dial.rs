//! Everybody else's end: finds the coordinator under one of its addresses.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admit::PROTOCOL;
use super::connection::Connection;
use super::limits::{
    CONNECT_DEADLINE, NEXT_ADDRESS_AFTER, RESOLVED_ADDRESSES_MAX, Timing, dialer_transport,
};
use super::lost::LostConnection;
use super::verify::{CoordinatorVerifier, Distrust, Trust, peer_identity};
use crate::certificate::{ReadCertificateError, TimeError};
use crate::credentials::{Credentials, OutdatedError};
use crate::identity::{Identity, Role};
use crate::random::provider;

/// TLS wants a name to ask for; nothing looks at it.
const SERVER_NAME: &str = "coordinator.gridctl.invalid";

/// Why there is no connection to a coordinator.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// None of the addresses answered.
    #[error(
        "no coordinator was reached: {}; check that it runs and that UDP reaches it",
        Tried(tried)
    )]
    Unreachable {
        /// Every address and why.
        tried: Vec<TriedAddress>,
    },
    /// One answered that is not to be believed, or that does not let this one in.
    #[error("the coordinator at {}: {}", .0.address, .0.why)]
    Refused(TriedAddress),
    /// This side's own certificate has expired, or does not hold yet.
    #[error(transparent)]
    Outdated(#[from] OutdatedError),
    /// TLS cannot use this side's own key or certificate.
    #[error("the identity of this machine cannot be used; join again with a new token")]
    Identity(#[source] rustls::Error),
}

/// What became of one address.
#[derive(Debug)]
pub struct TriedAddress {
    /// As it was given.
    pub address: String,
    /// Why there is no connection to it.
    pub why: AddressError,
}

/// Why there is no connection to one address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The name was not resolved.
    #[error("the name cannot be resolved ({0})")]
    Name(io::Error),
    /// The kernel has no way there.
    #[error("it cannot be sent to ({0})")]
    Socket(io::Error),
    /// The machine is there, and says that nothing listens on the port.
    #[error("nothing listens there")]
    NobodyListens,
    /// Nothing came back.
    #[error("no answer within {} seconds", CONNECT_DEADLINE.as_secs())]
    NoAnswer,
    /// A coordinator of another grid.
    #[error(
        "it belongs to another grid than the one that was joined; check the address, or join that grid with a token of its own"
    )]
    OtherAuthority,
    /// Someone of the same grid who is not its coordinator.
    #[error("it bears the role {role}, not coordinator; someone may be listening in its place")]
    NotCoordinator {
        /// The role in its certificate.
        role: Role,
    },
    /// Its certificate does not hold by this machine's clock.
    #[error("its certificate cannot be accepted: {0}")]
    Time(TimeError),
    /// Its certificate is not one of ours.
    #[error("its certificate cannot be accepted: {0}")]
    Certificate(ReadCertificateError),
    /// The connection ended before it was made.
    #[error(transparent)]
    Lost(LostConnection),
}

impl AddressError {
    /// Says whether someone was there: then this is what a person has to know, and not that another
    /// address did not answer.
    const fn is_answer(&self) -> bool {
        match self {
            Self::OtherAuthority
            | Self::NotCoordinator { .. }
            | Self::Time(_)
            | Self::Certificate(_)
            | Self::Lost(LostConnection::Refused { .. } | LostConnection::Closed { .. }) => true,
            Self::Name(_)
            | Self::Socket(_)
            | Self::NobodyListens
            | Self::NoAnswer
            | Self::Lost(
                LostConnection::Silent
                | LostConnection::Forgotten
                | LostConnection::Here
                | LostConnection::Failed { .. },
            ) => false,
        }
    }
}

struct Tried<'a>(&'a [TriedAddress]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address is known");
        }
        for (place, tried) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", tried.address, tried.why)?;
        }
        Ok(())
    }
}

/// Connects to the coordinator of the grid that `credentials` are of, under the first of its
/// `addresses` (`HOST:PORT`, best first) that answers. Only a coordinator of that grid is accepted.
///
/// The coordinator may still refuse: connected is who was answered its Hello.
///
/// # Errors
/// [`ConnectError`] names every address and why.
pub async fn connect(
    addresses: &[String],
    credentials: &Credentials,
    timing: Timing,
) -> Result<Connection, ConnectError> {
    credentials.check(SystemTime::now())?;
    let dial = Dial {
        protocol: PROTOCOL,
        trust: Trust::Certificate(credentials.authority().clone()),
        own: Some((credentials.chain(), credentials.key())),
        timing,
    };
    let reached = dial.race(addresses).await?;
    Ok(Connection::dialled(reached.quic, reached.peer, reached.endpoint))
}

/// How to reach a coordinator.
pub(super) struct Dial {
    pub(super) protocol: &'static [u8],
    pub(super) trust: Trust,
    pub(super) own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    pub(super) timing: Timing,
}

/// A coordinator that was verified.
pub(super) struct Reached {
    pub(super) quic: quinn::Connection,
    pub(super) peer: Identity,
    pub(super) endpoint: Endpoint,
}

impl Dial {
    /// Tries the addresses, each a little after the one before it, until one answers.
    pub(super) async fn race(self, addresses: &[String]) -> Result<Reached, ConnectError> {
        // Now, so that a fault of our own is not reported once for every address.
        self.tls(Arc::new(CoordinatorVerifier::new(self.trust.clone())))
            .map_err(ConnectError::Identity)?;
        let dial = Arc::new(self);
        let attempts = addresses.iter().map(|address| {
            let (dial, address) = (Arc::clone(&dial), address.clone());
            let attempt: Attempt<_, _> = Box::pin(async move {
                let outcome = timeout(CONNECT_DEADLINE, dial.try_address(&address)).await;
                let why = match outcome {
                    Ok(Ok(reached)) => return Ok(reached),
                    Ok(Err(why)) => why,
                    Err(_) => AddressError::NoAnswer,
                };
                Err(TriedAddress { address, why })
            });
            attempt
        });
        let mut tried = match staggered(attempts.collect()).await {
            Ok(reached) => return Ok(reached),
            Err(tried) => tried,
        };
        match tried.iter().position(|tried| tried.why.is_answer()) {
            Some(place) => Err(ConnectError::Refused(tried.swap_remove(place))),
            None => Err(ConnectError::Unreachable { tried }),
        }
    }

    async fn try_address(self: Arc<Self>, address: &str) -> Result<Reached, AddressError> {
        let resolved = tokio::net::lookup_host(address).await.map_err(AddressError::Name)?;
        let attempts = resolved.take(RESOLVED_ADDRESSES_MAX).map(|address| {
            let dial = Arc::clone(&self);
            let attempt: Attempt<_, _> = Box::pin(async move { dial.try_socket(address).await });
            attempt
        });
        staggered(attempts.collect()).await.map_err(|mut failed| {
            let place = failed.iter().position(AddressError::is_answer).unwrap_or(0);
            // A name that resolves to nothing is as good as unknown.
            if failed.is_empty() {
                return AddressError::Name(io::ErrorKind::NotFound.into());
            }
            failed.swap_remove(place)
        })
    }

    async fn try_socket(&self, address: SocketAddr) -> Result<Reached, AddressError> {
        let here: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(here).map_err(AddressError::Socket)?;
        let verifier = Arc::new(CoordinatorVerifier::new(self.trust.clone()));
        let invalid = |_| AddressError::Socket(io::ErrorKind::InvalidInput.into());
        let tls = self.tls(Arc::clone(&verifier)).map_err(invalid)?;
        let crypto = QuicClientConfig::try_from(tls).expect("ring has QUIC's first cipher suite");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(dialer_transport(self.timing));
        let connecting = endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|_| AddressError::Socket(io::ErrorKind::AddrNotAvailable.into()))?;
        let outcome = tokio::select! {
            outcome = connecting => outcome,
            () = nobody_listens(address) => return Err(AddressError::NobodyListens),
        };
        match outcome {
            Ok(quic) => {
                let peer =
                    peer_identity(&quic).expect("the verifier has read the same certificate");
                Ok(Reached { quic, peer, endpoint })
            }
            Err(error) => {
                Err(verifier.distrust().map_or(AddressError::Lost(error.into()), distrusted))
            }
        }
    }

    fn tls(
        &self,
        verifier: Arc<CoordinatorVerifier>,
    ) -> Result<rustls::ClientConfig, rustls::Error> {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut tls = match &self.own {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![self.protocol.to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        tls.enable_early_data = false;
        Ok(tls)
    }
}

fn distrusted(distrust: Distrust) -> AddressError {
    match distrust {
        Distrust::Authority => AddressError::OtherAuthority,
        Distrust::Role(role) => AddressError::NotCoordinator { role },
        Distrust::Time(time) => AddressError::Time(time),
        Distrust::Malformed(error) => AddressError::Certificate(error),
    }
}

/// Returns when the kernel has learned (by ICMP) that no socket is bound there, else never. QUIC's own
/// sockets are not connected and never hear of it, and a person would wait for a timeout.
async fn nobody_listens(address: SocketAddr) {
    let here: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let probe = async {
        let socket = UdpSocket::bind(here).await?;
        socket.connect(address).await?;
        // Not a QUIC packet: a coordinator drops it.
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    match probe.await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(_) | Err(_) => std::future::pending().await,
    }
}

type Attempt<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Runs attempts, beginning the next when the last one has failed or a little time has passed; gives the
/// first success, or every failure in the order of the attempts.
async fn staggered<T, E>(attempts: Vec<Attempt<T, E>>) -> Result<T, Vec<E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let mut waiting = attempts.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        if let Some((place, attempt)) = next {
            running.spawn(async move { (place, attempt.await) });
        }
        let patience = if is_last { Duration::MAX } else { NEXT_ADDRESS_AFTER };
        match timeout(patience, running.join_next()).await {
            Ok(Some(Ok((_, Ok(success))))) => return Ok(success),
            Ok(Some(Ok((place, Err(error))))) => failed.push((place, error)),
            // An attempt that panicked has its message on stderr; the others go on.
            Ok(Some(Err(_))) | Err(_) => {}
            Ok(None) if is_last => break,
            Ok(None) => {}
        }
    }
    failed.sort_by_key(|(place, _)| *place);
    Err(failed.into_iter().map(|(_, error)| error).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Attempt<&'static str, &'static str>;

    fn says(answer: Result<&'static str, &'static str>) -> Answer {
        Box::pin(std::future::ready(answer))
    }

    fn silent() -> Answer {
        Box::pin(std::future::pending())
    }

    #[tokio::test]
    async fn silence_holds_up_no_later_attempt() {
        let attempts = vec![silent(), silent(), says(Ok("third"))];
        let outcome = timeout(Duration::from_secs(20), staggered(attempts)).await;
        assert_eq!(outcome.expect("the third does not wait for the first"), Ok("third"));
    }

    #[tokio::test]
    async fn a_failure_lets_the_next_begin_and_all_are_reported_in_order() {
        let attempts = vec![says(Err("first")), says(Err("second"))];
        assert_eq!(staggered(attempts).await, Err(vec!["first", "second"]));
        assert_eq!(staggered(Vec::<Answer>::new()).await, Err(vec![]));
        assert_eq!(staggered(vec![says(Err("first")), says(Ok("second"))]).await, Ok("second"));
    }
}
