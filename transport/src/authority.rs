//! The grid's certificate authority: made by the coordinator on its first start, opened on later ones.
//!
//! Its directory holds `ca-key.pem` (mode 0600) and `ca.pem`. Whoever has the key can make
//! certificates of any role. Deliberately absent: deciding whom to enrol, and under which name.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};

use crate::certificate::{CLOCK_TOLERANCE, read_public_key, read_validity};
use crate::endpoint::ResetKey;
use crate::files::{FileError, Readable, create_directory, read_text, write_atomically};
use crate::identity::{Identity, NameError, Role};
use crate::join_token::AuthorityHash;
use crate::random::random_bytes;

/// How long the authority holds: longer than anybody wants to think about it.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a certificate holds: short enough that a forgotten machine drops out by itself.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// Bytes of a signing request: one with a P-256 key has about 250.
pub const SIGNING_REQUEST_BYTES_MAX: usize = 8 << 10;

const KEY_FILE: &str = "ca-key.pem";
const CERTIFICATE_FILE: &str = "ca.pem";

/// A certificate authority, with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: SystemTime,
}

/// The coordinator's own certificate and key, for an endpoint to serve with.
pub struct CoordinatorCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    renew_at: SystemTime,
}

/// Why the authority cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenAuthorityError {
    /// A file or the directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate is there without its key.
    #[error(
        "the key of the certificate authority, {}, is missing; put it back from a backup, or remove {} to begin a new grid that everybody has to join again",
        key.display(), certificate.display()
    )]
    KeyMissing {
        /// Where the key should be.
        key: PathBuf,
        /// The certificate that is there.
        certificate: PathBuf,
    },
    /// The key file does not hold a key.
    #[error("{} does not hold a private key; put it back from a backup", path.display())]
    KeyMalformed {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate file does not hold the authority's certificate.
    #[error("{} does not hold the certificate of an authority; put it back from a backup", path.display())]
    CertificateMalformed {
        /// The certificate file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together.
    #[error("the key in {} is not that of {}; put both back from the same backup", key.display(), certificate.display())]
    Mismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// Making the key or the certificate failed.
    #[error("cannot make a certificate authority")]
    Make(#[source] rcgen::Error),
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Larger than [`SIGNING_REQUEST_BYTES_MAX`].
    #[error(
        "the signing request has {bytes} bytes, more than the {SIGNING_REQUEST_BYTES_MAX} allowed"
    )]
    RequestTooLarge {
        /// How many.
        bytes: usize,
    },
    /// Malformed, of a kind of key that we do not use, or not signed by its own key.
    #[error(
        "the signing request is malformed or not signed by its own key; upgrade the older side"
    )]
    Request(#[source] rcgen::Error),
    /// The authority itself is at its end.
    #[error(
        "the certificate authority has expired; begin a new grid (another --data-dir) and join again"
    )]
    AuthorityExpired,
    /// Only the authority itself makes certificates of the role coordinator.
    #[error("nobody is enrolled with the role coordinator")]
    Coordinator,
    /// The coordinator's name cannot stand in a certificate.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Signing failed.
    #[error("cannot sign the certificate")]
    Sign(#[source] rcgen::Error),
}

impl Authority {
    /// Opens the authority in `directory`, or makes one there. `now` is when a new one begins to hold.
    ///
    /// # Errors
    /// [`OpenAuthorityError`] names the file and what to do about it. Nothing that is there is ever
    /// overwritten.
    pub fn open_or_create(directory: &Path, now: SystemTime) -> Result<Self, OpenAuthorityError> {
        create_directory(directory)?;
        let key_path = directory.join(KEY_FILE);
        let certificate_path = directory.join(CERTIFICATE_FILE);
        match (read_text(&key_path)?, read_text(&certificate_path)?) {
            (Some(key), Some(certificate)) => {
                let key = parse_key(&key_path, &key)?;
                Self::open(key, &certificate, &key_path, certificate_path)
            }
            // The coordinator crashed between the two files of its first start: nobody has seen a
            // certificate yet.
            (Some(key), None) => Self::create(parse_key(&key_path, &key)?, &certificate_path, now),
            (None, None) => {
                let key = KeyPair::generate().map_err(OpenAuthorityError::Make)?;
                write_atomically(&key_path, &key.serialize_pem(), Readable::Owner)?;
                Self::create(key, &certificate_path, now)
            }
            (None, Some(_)) => {
                Err(OpenAuthorityError::KeyMissing { key: key_path, certificate: certificate_path })
            }
        }
    }

    fn open(
        key: KeyPair,
        certificate: &str,
        key_path: &Path,
        path: PathBuf,
    ) -> Result<Self, OpenAuthorityError> {
        let Ok(certificate) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
            return Err(OpenAuthorityError::CertificateMalformed { path });
        };
        let (Ok(public_key), Ok(validity)) =
            (read_public_key(&certificate), read_validity(&certificate))
        else {
            return Err(OpenAuthorityError::CertificateMalformed { path });
        };
        if public_key != key.der_bytes() {
            let key = key_path.to_owned();
            return Err(OpenAuthorityError::Mismatch { key, certificate: path });
        }
        let Ok(issuer) = Issuer::from_ca_cert_der(&certificate, key) else {
            return Err(OpenAuthorityError::CertificateMalformed { path });
        };
        Ok(Self { issuer, certificate, not_after: validity.not_after() })
    }

    fn create(key: KeyPair, path: &Path, now: SystemTime) -> Result<Self, OpenAuthorityError> {
        let not_after = now + AUTHORITY_LIFETIME;
        let mut params = CertificateParams::default();
        params.not_before = (now - CLOCK_TOLERANCE).into();
        params.not_after = not_after.into();
        params.serial_number = Some(serial_number());
        // Verifiers find an authority by its name: two grids must not share one.
        let name = data_encoding::HEXLOWER.encode(&random_bytes::<8>());
        params.distinguished_name = common_name(&format!("gridctl authority {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(OpenAuthorityError::Make)?;
        write_atomically(path, &certificate.pem(), Readable::Everyone)?;
        let certificate = certificate.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, not_after })
    }

    /// Returns the authority's own certificate (DER), which every peer keeps.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns what join tokens pin.
    pub fn hash(&self) -> AuthorityHash {
        AuthorityHash::of(&self.certificate)
    }

    /// Returns what proves to peers of an earlier life of the coordinator that it is the same one.
    pub(crate) fn reset_key(&self) -> ResetKey {
        ResetKey::derive(&self.issuer.key().serialize_der())
    }

    /// Signs the key of a signing request (DER) for `identity`, for [`CERTIFICATE_LIFETIME`] from `now`;
    /// gives the certificate in DER. Whatever names and wishes the request holds are ignored.
    ///
    /// # Errors
    /// [`IssueError`] where the request is malformed or not signed by its own key, where the identity
    /// is a coordinator's, or where the authority has expired.
    pub fn issue(
        &self,
        signing_request: &[u8],
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Vec<u8>, IssueError> {
        if identity.role() == Role::Coordinator {
            return Err(IssueError::Coordinator);
        }
        let request = read_signing_request(signing_request)?;
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        Ok(self.sign(&request.public_key, identity, purpose, now)?.to_vec())
    }

    /// Returns the raw public key that a signing request (DER) wants a certificate for, once it is found
    /// to be signed by that key: the same key that asks again is the same enrolment.
    ///
    /// # Errors
    /// [`IssueError`] where the request is too large, malformed or not signed by its own key.
    pub fn requested_key(signing_request: &[u8]) -> Result<Vec<u8>, IssueError> {
        Ok(read_signing_request(signing_request)?.public_key.der_bytes().to_vec())
    }

    /// Makes a certificate and key for the coordinator itself: at every start, and again when
    /// [`renew_at`](CoordinatorCertificate::renew_at) has come.
    ///
    /// # Errors
    /// [`IssueError`] where `name` is not a name, or the authority has expired.
    pub fn coordinator_certificate(
        &self,
        name: &str,
        now: SystemTime,
    ) -> Result<CoordinatorCertificate, IssueError> {
        let identity = Identity::new(Role::Coordinator, 0, name)?;
        let key = KeyPair::generate().map_err(IssueError::Sign)?;
        let certificate = self.sign(&key, &identity, ExtendedKeyUsagePurpose::ServerAuth, now)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .expect("a key that was just made is written in PKCS #8");
        // The authority goes along so that a joining peer can compare it with its token.
        let chain = vec![certificate, self.certificate.clone()];
        Ok(CoordinatorCertificate { chain, key, renew_at: now + CERTIFICATE_LIFETIME / 2 })
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        purpose: ExtendedKeyUsagePurpose,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, IssueError> {
        if now >= self.not_after {
            return Err(IssueError::AuthorityExpired);
        }
        let uri = Ia5String::try_from(identity.to_uri()).expect("an identity's URI is ASCII");
        let mut params = CertificateParams::default();
        params.not_before = (now - CLOCK_TOLERANCE).into();
        params.not_after = (now + CERTIFICATE_LIFETIME).min(self.not_after).into();
        params.serial_number = Some(serial_number());
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.distinguished_name = common_name("gridctl");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(IssueError::Sign)?;
        Ok(certificate.der().clone())
    }
}

#[cfg(test)]
impl Authority {
    /// Signs what a sound authority never would: any role, for either side of a connection.
    pub(crate) fn sign_anything(&self, role: Role, serves: bool) -> CoordinatorCertificate {
        let key = KeyPair::generate().expect("keys can be made");
        let identity = Identity::new(role, 1, "evil").expect("a name");
        let purpose = if serves {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        };
        let now = SystemTime::now();
        let certificate = self.sign(&key, &identity, purpose, now).expect("it signs");
        CoordinatorCertificate {
            chain: vec![certificate, self.certificate.clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8"),
            renew_at: now,
        }
    }
}

impl CoordinatorCertificate {
    /// Returns when to make the next one: at half its time.
    pub const fn renew_at(&self) -> SystemTime {
        self.renew_at
    }
}

fn read_signing_request(der: &[u8]) -> Result<CertificateSigningRequestParams, IssueError> {
    if der.len() > SIGNING_REQUEST_BYTES_MAX {
        return Err(IssueError::RequestTooLarge { bytes: der.len() });
    }
    let request = CertificateSigningRequestDer::from(der);
    CertificateSigningRequestParams::from_der(&request).map_err(IssueError::Request)
}

fn parse_key(path: &Path, pem: &str) -> Result<KeyPair, OpenAuthorityError> {
    KeyPair::from_pem(pem)
        .map_err(|source| OpenAuthorityError::KeyMalformed { path: path.to_owned(), source })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// RFC 5280 wants a positive number of at most 20 bytes that nobody can guess.
fn serial_number() -> SerialNumber {
    let mut bytes: [u8; 16] = random_bytes();
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests;
