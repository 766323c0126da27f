//! How each side verifies the other's certificate within the TLS handshake.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use crate::certificate::{PeerCertificate, ReadCertificateError, TimeError, read_validity};
use crate::identity::{Identity, Role};
use crate::join_token::AuthorityHash;
use crate::random::provider;

/// Why a dialling side does not believe that it has reached its coordinator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("the server's certificate is of another authority")]
    Authority,
    #[error("the server's certificate is of the role {0}")]
    Role(Role),
    #[error(transparent)]
    Time(TimeError),
    #[error(transparent)]
    Malformed(ReadCertificateError),
}

/// Whom a dialling side believes.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// This authority, whose certificate it has.
    Certificate(CertificateDer<'static>),
    /// The authority with this hash, whose certificate comes along.
    Hash(AuthorityHash),
}

/// The dialling side's: accepts only a coordinator of the one authority.
#[derive(Debug)]
pub(super) struct CoordinatorVerifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    /// rustls passes on only its own errors; ours is left here.
    distrust: Mutex<Option<Distrust>>,
}

/// The coordinator's: verifies the chain of a certificate, where one is presented, but not its time: that
/// is refused later, in words that name the clocks.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
}

impl CoordinatorVerifier {
    pub(super) fn new(trust: Trust) -> Self {
        Self { trust, provider: provider(), distrust: Mutex::new(None) }
    }

    /// Returns why the server was not believed, if that was so.
    pub(super) fn distrust(&self) -> Option<Distrust> {
        self.distrust.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Distrust> {
        let read = PeerCertificate::read(certificate).map_err(Distrust::Malformed)?;
        let authority = match &self.trust {
            Trust::Certificate(authority) => authority.clone(),
            Trust::Hash(hash) => intermediates
                .iter()
                .find(|candidate| AuthorityHash::of(candidate) == *hash)
                .ok_or(Distrust::Authority)?
                .clone()
                .into_owned(),
        };
        // Time comes last and by our own words, so the chain is verified at a time at which it held.
        let parsed = ParsedCertificate::try_from(certificate).map_err(|_| Distrust::Authority)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(|_| Distrust::Authority)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let then = unix_time(read.validity.not_after());
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], then, algorithms).map_err(
            |error| match (error, read.identity.role()) {
                // A client's certificate is for clients only, which is not what is most wrong with it.
                (Error::InvalidCertificate(CertificateError::UnknownIssuer), _)
                | (_, Role::Coordinator) => Distrust::Authority,
                (_, role) => Distrust::Role(role),
            },
        )?;
        match read.identity.role() {
            Role::Coordinator => {}
            role @ (Role::Worker | Role::User | Role::Admin) => return Err(Distrust::Role(role)),
        }
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        read.validity.check(now).map_err(Distrust::Time)
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(distrust) => {
                *self.distrust.lock().unwrap_or_else(PoisonError::into_inner) = Some(distrust);
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl PeerVerifier {
    /// Verifies against `authority`; `None` where that is not a certificate.
    pub(super) fn new(authority: &CertificateDer<'static>) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).ok()?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .ok()?;
        Some(Self { chain })
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: a peer presents what it has, and is told what is wrong with it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let validity = read_validity(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let then = unix_time(validity.not_after());
        self.chain.verify_client_cert(end_entity, intermediates, then)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Reads who is at the other end, from the chain that the handshake verified.
pub(super) fn peer_identity(connection: &quinn::Connection) -> Option<Identity> {
    let certificate = peer_certificate(connection)?;
    PeerCertificate::read(&certificate).ok().map(|read| read.identity)
}

/// Returns the certificate that the other end presented.
pub(super) fn peer_certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}
