//! Who this process is to a coordinator: a directory with `key.pem` (mode 0600), `certificate.pem` and
//! `ca.pem`.
//!
//! The key is made here and never leaves. While an enrolment is under way it is `joining-key.pem`, so
//! that trying again after a crash asks with the same key and gets the same identity.
//! Deliberately absent: renewal; an expired identity joins again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::BASE64;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::{
    PeerCertificate, ReadCertificateError, TimeError, Validity, read_public_key,
};
use crate::files::{FileError, Readable, create_directory, read_text, rename, write_atomically};
use crate::identity::{Identity, Role};

const KEY_FILE: &str = "key.pem";
const JOINING_KEY_FILE: &str = "joining-key.pem";
const CERTIFICATE_FILE: &str = "certificate.pem";
const AUTHORITY_FILE: &str = "ca.pem";
/// Characters of a line in a PEM file (RFC 7468).
const PEM_LINE_CHARS: usize = 64;

/// A key with its certificate, and the authority that signed it.
pub struct Credentials {
    identity: Identity,
    validity: Validity,
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    directory: PathBuf,
}

/// A key that has no certificate yet.
pub struct NewKey {
    key: KeyPair,
    directory: PathBuf,
}

/// Why there are no credentials to use.
#[derive(Debug, thiserror::Error)]
pub enum LoadCredentialsError {
    /// A file or the directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing is there: never joined.
    #[error("there is no identity in {}; {JOIN_HINT}", directory.display())]
    None {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// One of the files is missing, malformed, or does not belong to the others.
    #[error("the identity in {} is not whole: {part} {trouble}; {JOIN_HINT}", directory.display())]
    Damaged {
        /// Where it is.
        directory: PathBuf,
        /// The file.
        part: &'static str,
        /// What about it.
        trouble: &'static str,
    },
    /// The certificate's content.
    #[error("the certificate in {} is not an identity", directory.display())]
    Certificate {
        /// Where it is.
        directory: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReadCertificateError,
    },
}

/// Why a key or what was issued for it could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SaveCredentialsError {
    /// A file or the directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// The random source, or the cryptography.
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
    /// What came back cannot be read.
    #[error("the coordinator issued a certificate that cannot be used; upgrade the older side")]
    Certificate(#[source] ReadCertificateError),
    /// It is for another key.
    #[error("the coordinator issued a certificate for another key; join again")]
    OtherKey,
}

/// What to do about an identity that cannot be used.
const JOIN_HINT: &str = "join with a token from `gridctl token create`: `gridctl worker --join TOKEN` on a worker, `gridctl login TOKEN` as a person";

/// That this process' own certificate does not hold now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{time}; {}", how_to_join(*.role))]
pub struct OutdatedError {
    /// Of the certificate: tells how to join again.
    pub role: Role,
    /// Both clocks.
    pub time: TimeError,
}

impl NewKey {
    /// Takes up the key of an enrolment that was begun in `directory` and not finished, or makes one.
    ///
    /// # Errors
    /// [`SaveCredentialsError`] where the directory cannot be made or written.
    pub fn open_or_create(directory: &Path) -> Result<Self, SaveCredentialsError> {
        create_directory(directory)?;
        let directory = directory.to_owned();
        let path = directory.join(JOINING_KEY_FILE);
        // One that cannot be read was never sent anywhere: it is written atomically.
        let kept = read_text(&path)?.and_then(|pem| KeyPair::from_pem(&pem).ok());
        if let Some(key) = kept {
            return Ok(Self { key, directory });
        }
        let key = KeyPair::generate().map_err(SaveCredentialsError::Key)?;
        write_atomically(&path, &key.serialize_pem(), Readable::Owner)?;
        Ok(Self { key, directory })
    }

    /// Returns a certificate signing request (DER) for it, without any name.
    ///
    /// # Errors
    /// [`SaveCredentialsError::Key`] where signing fails.
    pub fn signing_request(&self) -> Result<Vec<u8>, SaveCredentialsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.key).map_err(SaveCredentialsError::Key)?;
        Ok(request.der().to_vec())
    }

    /// Keeps what was issued for the key (DER), in place of whatever identity was in the directory.
    ///
    /// # Errors
    /// [`SaveCredentialsError`] where the certificate is not one for this key, or cannot be written.
    pub fn save(
        self,
        certificate: &[u8],
        authority: &[u8],
    ) -> Result<Credentials, SaveCredentialsError> {
        let read = PeerCertificate::read(certificate).map_err(SaveCredentialsError::Certificate)?;
        let public_key = read_public_key(certificate).map_err(SaveCredentialsError::Certificate)?;
        if public_key != self.key.der_bytes() {
            return Err(SaveCredentialsError::OtherKey);
        }
        let file = |name| self.directory.join(name);
        write_atomically(&file(AUTHORITY_FILE), &to_pem(authority), Readable::Everyone)?;
        write_atomically(&file(CERTIFICATE_FILE), &to_pem(certificate), Readable::Everyone)?;
        // Last: a crash before it is healed when the credentials are next loaded.
        rename(&file(JOINING_KEY_FILE), &file(KEY_FILE))?;
        Ok(Credentials {
            identity: read.identity,
            validity: read.validity,
            key: PrivateKeyDer::try_from(self.key.serialize_der())
                .expect("a key that was just used is written in PKCS #8"),
            certificate: CertificateDer::from(certificate.to_vec()),
            authority: CertificateDer::from(authority.to_vec()),
            directory: self.directory,
        })
    }
}

impl Credentials {
    /// Loads the identity in `directory`. An expired one loads too; see [`check`](Self::check).
    ///
    /// # Errors
    /// [`LoadCredentialsError`] says whether there is none or what is wrong with it, and how to join.
    pub fn load(directory: &Path) -> Result<Self, LoadCredentialsError> {
        let damaged = |part, trouble| LoadCredentialsError::Damaged {
            directory: directory.to_owned(),
            part,
            trouble,
        };
        let certificate = read_text(&directory.join(CERTIFICATE_FILE))?
            .ok_or_else(|| LoadCredentialsError::None { directory: directory.to_owned() })?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| damaged(CERTIFICATE_FILE, "is not a certificate"))?;
        let authority = read_text(&directory.join(AUTHORITY_FILE))?
            .ok_or_else(|| damaged(AUTHORITY_FILE, "is missing"))?;
        let authority = CertificateDer::from_pem_slice(authority.as_bytes())
            .map_err(|_| damaged(AUTHORITY_FILE, "is not a certificate"))?;
        let bad_certificate =
            |source| LoadCredentialsError::Certificate { directory: directory.to_owned(), source };
        let read = PeerCertificate::read(&certificate).map_err(bad_certificate)?;
        let public_key = read_public_key(&certificate).map_err(bad_certificate)?;
        let key = load_key(directory, &public_key)?
            .ok_or_else(|| damaged(KEY_FILE, "is missing or not the certificate's"))?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|_| damaged(KEY_FILE, "is not a private key"))?;
        Ok(Self {
            identity: read.identity,
            validity: read.validity,
            key,
            certificate,
            authority,
            directory: directory.to_owned(),
        })
    }

    /// Checks that the certificate holds at `now`.
    ///
    /// # Errors
    /// [`OutdatedError`] names both clocks and how to join again.
    pub fn check(&self, now: SystemTime) -> Result<(), OutdatedError> {
        let role = self.identity.role();
        self.validity.check(now).map_err(|time| OutdatedError { role, time })
    }

    /// Returns who the bearer is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns when the certificate holds.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Returns the certificate (DER) of the authority that both sides were signed by.
    pub const fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// Returns where they were loaded from.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

/// Hides the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Says how someone of that role gets a new identity.
pub(crate) const fn how_to_join(role: Role) -> &'static str {
    match role {
        Role::Worker => {
            "join again with a token from `gridctl token create --role worker`: gridctl worker --join TOKEN"
        }
        Role::User => {
            "join again with a token from `gridctl token create --role user`: gridctl login TOKEN"
        }
        Role::Admin => {
            "join again with a token from `gridctl token create --role admin`: gridctl login TOKEN, or restart the coordinator if this is its own machine"
        }
        Role::Coordinator => "restart the coordinator",
    }
}

/// Finds the key that belongs to the certificate; finishes an enrolment that crashed before its last step.
fn load_key(directory: &Path, public_key: &[u8]) -> Result<Option<KeyPair>, FileError> {
    let matching = |path: &Path| -> Result<Option<KeyPair>, FileError> {
        let key = read_text(path)?.and_then(|pem| KeyPair::from_pem(&pem).ok());
        Ok(key.filter(|key| key.der_bytes() == public_key))
    };
    let path = directory.join(KEY_FILE);
    if let Some(key) = matching(&path)? {
        return Ok(Some(key));
    }
    let joining = directory.join(JOINING_KEY_FILE);
    let key = matching(&joining)?;
    if key.is_some() {
        rename(&joining, &path)?;
    }
    Ok(key)
}

fn to_pem(certificate: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = BASE64.encode(certificate);
    while !rest.is_empty() {
        let tail = rest.split_off(rest.len().min(PEM_LINE_CHARS));
        pem.push_str(&rest);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests;
