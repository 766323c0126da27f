//! What is read out of a certificate: who it is for, how long it holds, which key.
//!
//! Deliberately absent: whether to believe it. That it was signed by the grid's authority is checked
//! in the TLS handshake, before anything here is relied on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::identity::{Identity, ParseIdentityError};

/// Seconds since 1970 at the end of the year 9999, the last that RFC 3339 can write.
const LATEST_SECONDS: u64 = 253_402_300_799;

/// How far back every certificate begins to hold, so that clocks may differ that much.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(10 * 60);

/// From when until when a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    not_before_seconds: u64,
    not_after_seconds: u64,
}

/// A certificate in which everything that we rely on is in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerCertificate {
    /// Who it is for.
    pub identity: Identity,
    /// When it holds.
    pub validity: Validity,
}

/// That a certificate does not hold now, with both clocks as far as they are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// It has expired.
    #[error("the certificate was valid until {}, and the clock of this machine says {}", at(*.not_after), at(*.now))]
    Expired {
        /// When it ended, by the clock of the coordinator that made it.
        not_after: SystemTime,
        /// This machine's clock.
        now: SystemTime,
    },
    /// It does not hold yet: one of the two clocks is wrong.
    #[error(
        "the certificate is valid from {}, the coordinator's clock said {} or later, and the clock of this machine says {}; set the wrong one of the two",
        at(*.not_before), at(*.not_before + CLOCK_TOLERANCE), at(*.now)
    )]
    NotYetValid {
        /// When it begins, by the clock of the coordinator that made it.
        not_before: SystemTime,
        /// This machine's clock.
        now: SystemTime,
    },
}

/// Why a certificate cannot be a peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadCertificateError {
    /// Not X.509 in DER.
    #[error("the certificate cannot be read; join again")]
    Encoding,
    /// Not exactly one alternative name, a URI.
    #[error("the certificate does not have exactly one name, a URI; join again")]
    Names,
    /// The URI is malformed.
    #[error(transparent)]
    Identity(#[from] ParseIdentityError),
}

impl Validity {
    /// Returns when it begins.
    pub fn not_before(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_before_seconds)
    }

    /// Returns when it ends.
    pub fn not_after(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_after_seconds)
    }

    /// Checks that it holds at `now`.
    ///
    /// # Errors
    /// [`TimeError`] names the clocks.
    pub fn check(self, now: SystemTime) -> Result<(), TimeError> {
        if now < self.not_before() {
            return Err(TimeError::NotYetValid { not_before: self.not_before(), now });
        }
        // The last second is still part of it.
        if now >= self.not_after() + Duration::from_secs(1) {
            return Err(TimeError::Expired { not_after: self.not_after(), now });
        }
        Ok(())
    }
}

impl PeerCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`ReadCertificateError`] where anything in it is not as the authority writes it.
    pub fn read(der: &[u8]) -> Result<Self, ReadCertificateError> {
        let certificate = parse(der)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| ReadCertificateError::Names)?
            .ok_or(ReadCertificateError::Names)?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
            return Err(ReadCertificateError::Names);
        };
        let identity = Identity::from_uri(uri)?;
        Ok(Self { identity, validity: validity(&certificate) })
    }
}

/// Reads when a certificate holds, whoever it is for.
pub(crate) fn read_validity(der: &[u8]) -> Result<Validity, ReadCertificateError> {
    Ok(validity(&parse(der)?))
}

/// Returns the raw public key of a certificate.
pub(crate) fn read_public_key(der: &[u8]) -> Result<Vec<u8>, ReadCertificateError> {
    Ok(parse(der)?.public_key().subject_public_key.data.to_vec())
}

/// Writes a time for people: RFC 3339, UTC, whole seconds.
pub(crate) fn at(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let clamped = UNIX_EPOCH + Duration::from_secs(seconds.min(LATEST_SECONDS));
    humantime::format_rfc3339_seconds(clamped).to_string()
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ReadCertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(ReadCertificateError::Encoding),
    }
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0).min(LATEST_SECONDS);
    Validity {
        not_before_seconds: seconds(certificate.validity().not_before.timestamp()),
        not_after_seconds: seconds(certificate.validity().not_after.timestamp()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn validity(from: u64, until: u64) -> Validity {
        Validity { not_before_seconds: from, not_after_seconds: until }
    }

    fn seconds(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_certificate_holds_from_its_first_second_to_its_last() {
        let validity = validity(1000, 2000);
        assert!(validity.check(seconds(999)).is_err());
        assert_eq!(validity.check(seconds(1000)), Ok(()));
        assert_eq!(validity.check(seconds(2000) + Duration::from_millis(999)), Ok(()));
        assert!(validity.check(seconds(2001)).is_err());
    }

    #[test]
    fn a_refusal_for_time_names_both_clocks() {
        let validity = validity(1_000_000_000, 2_000_000_000);
        let early = validity.check(seconds(900_000_000)).unwrap_err().to_string();
        assert!(early.contains("from 2001-09-09T01:46:40Z"), "{early}");
        assert!(early.contains("coordinator's clock said 2001-09-09T01:56:40Z"), "{early}");
        assert!(early.contains("this machine says 1998-07-09T16:00:00Z"), "{early}");
        let late = validity.check(seconds(2_100_000_000)).unwrap_err().to_string();
        assert!(late.contains("until 2033-05-18T03:33:20Z"), "{late}");
        assert!(late.contains("this machine says 2036-07-18T13:20:00Z"), "{late}");
    }

    #[test]
    fn times_beyond_what_can_be_written_are_written_as_the_last_that_can() {
        assert_eq!(at(seconds(u64::from(u32::MAX) * 1000)), "9999-12-31T23:59:59Z");
        assert_eq!(at(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(PeerCertificate::read(&bytes).is_err());
        }
    }
}
