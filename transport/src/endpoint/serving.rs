//! The certificate that a listener serves with, which can be swapped while it serves.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::CoordinatorCertificate;
use crate::random::provider;

/// A place for the coordinator's certificate. Clones share it.
#[derive(Clone)]
pub struct ServingCertificate {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
}

/// Why a certificate cannot be served with.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("the coordinator's certificate cannot be used")]
pub struct ServeError(#[source] rustls::Error);

impl ServingCertificate {
    /// Makes a place with its first certificate.
    ///
    /// # Errors
    /// [`ServeError`] where TLS cannot use the key.
    pub fn new(certificate: CoordinatorCertificate) -> Result<Self, ServeError> {
        let current = Arc::new(RwLock::new(certified(certificate)?));
        Ok(Self { current })
    }

    /// Serves handshakes from now on with another certificate; connections go on with theirs.
    ///
    /// # Errors
    /// [`ServeError`] where TLS cannot use the key; the old one then stays.
    pub fn replace(&self, certificate: CoordinatorCertificate) -> Result<(), ServeError> {
        let certificate = certified(certificate)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        Ok(())
    }
}

/// Hides the key.
impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServingCertificate(..)")
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(certificate: CoordinatorCertificate) -> Result<Arc<CertifiedKey>, ServeError> {
    let key = provider().key_provider.load_private_key(certificate.key).map_err(ServeError)?;
    Ok(Arc::new(CertifiedKey::new(certificate.chain, key)))
}
