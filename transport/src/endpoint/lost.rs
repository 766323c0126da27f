//! Why a connection ended, as far as it can be known, in words for a person.

use quinn::ConnectionError;

use super::connection::CloseCode;

/// Characters of a reason that a peer gives: the rest would not fit its packet either.
const REASON_CHARS_MAX: usize = 1024;
/// What TLS says of a certificate by an unknown authority (RFC 8446, section 6.2).
const ALERT_UNKNOWN_CA: u8 = 48;
/// What TLS says where no protocol is common (RFC 7301).
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;
/// Where QUIC carries the alerts of TLS (RFC 9001, section 4.8).
const CRYPTO_ERRORS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;

/// Why a connection is no more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LostConnection {
    /// The other side does not let this one in, and coming back as the same will not help.
    #[error("the other side refused: {why}")]
    Refused {
        /// In its words.
        why: String,
    },
    /// The other side closed it.
    #[error("the other side closed the connection: {why}")]
    Closed {
        /// What for.
        code: CloseCode,
        /// In its words.
        why: String,
    },
    /// Nothing was heard for too long: the link is cut, or the other side stands still.
    #[error("nothing was heard from the other side for too long")]
    Silent,
    /// The other side does not know the connection: it was started anew.
    #[error("the other side does not know the connection any more")]
    Forgotten,
    /// This side closed it.
    #[error("the connection was closed on this side")]
    Here,
    /// The handshake failed, or one of the sides broke QUIC's rules.
    #[error("the connection failed: {what}")]
    Failed {
        /// In the words of the QUIC library.
        what: String,
    },
}

impl LostConnection {
    /// Says whether trying again as the same peer cannot help.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Closed { code, .. } => code.is_final(),
            Self::Silent | Self::Forgotten | Self::Here | Self::Failed { .. } => false,
        }
    }
}

impl From<ConnectionError> for LostConnection {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let why = printable(&close.reason);
                let code = CloseCode::from_wire(close.error_code);
                if code == CloseCode::Refused {
                    Self::Refused { why }
                } else {
                    Self::Closed { code, why }
                }
            }
            ConnectionError::ConnectionClosed(close) => {
                of_transport(u64::from(close.error_code), &close.to_string())
            }
            ConnectionError::TransportError(error) => {
                Self::Failed { what: printable(error.to_string().as_bytes()) }
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Forgotten,
            ConnectionError::LocallyClosed => Self::Here,
            ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
                Self::Failed { what: error.to_string() }
            }
        }
    }
}

/// The TLS alert that a code of QUIC carries.
pub(super) fn alert_of(code: u64) -> Option<u8> {
    CRYPTO_ERRORS.contains(&code).then_some((code & 0xff) as u8)
}

/// Says whether the alert means that a certificate is by an authority unknown to who sent it.
pub(super) const fn is_unknown_authority(alert: Option<u8>) -> bool {
    matches!(alert, Some(ALERT_UNKNOWN_CA))
}

fn of_transport(code: u64, text: &str) -> LostConnection {
    let refused = |why: &str| LostConnection::Refused { why: why.to_owned() };
    match alert_of(code) {
        alert @ Some(ALERT_UNKNOWN_CA) if is_unknown_authority(alert) => refused(
            "this identity was issued by another grid; join this one: gridctl worker --join TOKEN, or gridctl login TOKEN",
        ),
        Some(ALERT_NO_APPLICATION_PROTOCOL) => {
            refused("it speaks no protocol that this side speaks; upgrade the older of the two")
        }
        Some(_) | None => LostConnection::Failed { what: printable(text.as_bytes()) },
    }
}

/// Makes words of a peer fit for a log and a terminal: bounded, without control characters.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(REASON_CHARS_MAX)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
