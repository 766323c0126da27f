//! A grid of one test: an authority, a listener, and peers of every kind.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, SignatureScheme};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::credentials::{Credentials, NewKey};
use crate::endpoint::{Admitted, Connection, Listener, RefusedPeer, ServingCertificate, Timing};
use crate::handshake::welcome_client;
use crate::identity::{Identity, Role};
use crate::message::client::Request;
use crate::random::provider;

/// How long anything may take before a test fails; never reached by one that passes.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// Ninety days and more, so that certificates made so long ago have expired.
pub(super) const LONG_AGO: Duration = Duration::from_secs(100 * 24 * 3600);

pub(super) type OwnChain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(super) struct Grid {
    pub(super) authority: Authority,
    directory: TempDir,
}

/// A listener and where it listens.
pub(super) struct Server {
    pub(super) listener: Listener,
    pub(super) address: SocketAddr,
    pub(super) certificate: ServingCertificate,
}

/// Waits for something that has to happen.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("this happens long before the deadline")
}

impl Grid {
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        // Old enough to have signed what has expired since.
        let born = SystemTime::now() - 3 * LONG_AGO;
        let authority = Authority::open_or_create(&directory.path().join("ca"), born).unwrap();
        Self { authority, directory }
    }

    pub(super) fn enrol(&self, role: Role, name: &str) -> Credentials {
        self.enrol_at(role, name, SystemTime::now())
    }

    pub(super) fn enrol_at(&self, role: Role, name: &str, now: SystemTime) -> Credentials {
        let key = NewKey::open_or_create(&self.directory.path().join(name)).unwrap();
        let identity = Identity::new(role, 7, name).unwrap();
        let certificate =
            self.authority.issue(&key.signing_request().unwrap(), &identity, now).unwrap();
        key.save(&certificate, self.authority.certificate()).unwrap()
    }

    pub(super) fn coordinator_certificate(&self, now: SystemTime) -> ServingCertificate {
        let certificate = self.authority.coordinator_certificate("coordinator", now).unwrap();
        ServingCertificate::new(certificate).unwrap()
    }

    pub(super) fn serve(&self) -> Server {
        self.serve_with(self.coordinator_certificate(SystemTime::now()))
    }

    pub(super) fn serve_with(&self, certificate: ServingCertificate) -> Server {
        let listener = Listener::bind(
            (Ipv4Addr::LOCALHOST, 0).into(),
            &self.authority,
            certificate.clone(),
            Timing::DEFAULT,
        )
        .unwrap();
        let address = listener.local_address().unwrap();
        Server { listener, address, certificate }
    }
}

impl Server {
    pub(super) fn addresses(&self) -> Vec<String> {
        vec![self.address.to_string()]
    }

    pub(super) async fn outcome(&mut self) -> Result<Admitted, RefusedPeer> {
        soon(self.listener.accept()).await.unwrap()
    }

    pub(super) async fn peer(&mut self) -> Connection {
        match self.outcome().await.unwrap() {
            Admitted::Peer(connection) => connection,
            Admitted::Joining(peer) => panic!("{} joins", peer.remote_address()),
        }
    }

    pub(super) async fn refusal(&mut self) -> RefusedPeer {
        self.outcome().await.unwrap_err()
    }

    /// Connects as someone who is who they say, on both sides.
    pub(super) async fn admit(&mut self, who: &Credentials) -> (Connection, Connection) {
        let addresses = self.addresses();
        let connecting = super::super::connect(&addresses, who, Timing::DEFAULT);
        let (ours, theirs) = tokio::join!(self.peer(), soon(connecting));
        (ours, theirs.unwrap())
    }

    /// Holds that the listener still serves whoever may come in, request and all.
    pub(super) async fn serves_on(&mut self, grid: &Grid) {
        let user = grid.enrol(Role::User, "someone-else");
        let (ours, theirs) = self.admit(&user).await;
        let mut memory = crate::handshake::EpochMemory::open(&user).unwrap();
        let epoch = gridctl_jobs::id::Epoch(1);
        let (welcomed, greeted) = tokio::join!(
            welcome_client(&ours, epoch, "grid"),
            crate::handshake::greet(&theirs, &mut memory)
        );
        assert_eq!(greeted.unwrap().version, welcomed.unwrap());
        let ask = async {
            let (mut writer, _reader) = theirs.open_bi().await.unwrap();
            writer.write(&Request::Workers).await.unwrap();
        };
        let listen = async {
            let (_writer, mut reader) = ours.accept_bi().await.unwrap();
            reader.expect::<Request>().await.unwrap()
        };
        let ((), request) = soon(async { tokio::join!(ask, listen) }).await;
        assert_eq!(request, Request::Workers);
    }
}

/// Someone who does not use our dialling side: any protocol, any certificate, and no questions asked of
/// the server.
pub(super) async fn stranger(
    address: SocketAddr,
    protocol: &[u8],
    own: Option<OwnChain>,
) -> Result<(Endpoint, quinn::Connection), quinn::ConnectionError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut tls = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![protocol.to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connection = endpoint.connect_with(config, address, "x.invalid").unwrap().await?;
    Ok((endpoint, connection))
}

pub(super) fn own_chain(credentials: &Credentials) -> OwnChain {
    (credentials.chain(), credentials.key())
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
