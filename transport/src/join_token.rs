//! The one word that lets a machine or a person in: where the coordinator is, which authority to
//! believe, and a secret.
//!
//! Deliberately absent: whom a token enrols, how often and until when. The coordinator keeps that, by
//! the token's id; the secret itself it keeps only as a hash.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::random::random_bytes;

/// Addresses in one token: those of any real machine; each costs 30 characters of the word.
pub const ADDRESSES_MAX: usize = 16;
/// Bytes of one address: the longest DNS name, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;
/// Characters of a token: more than sixteen longest addresses need.
const TEXT_CHARS_MAX: usize = 8 << 10;
/// What a token begins with; the digit is the version of the form.
const PREFIX: &str = "grid1-";
/// Bytes of the checksum: a slip passes once in four billion times.
const CHECKSUM_BYTES: usize = 4;

/// The BLAKE3 hash of a certificate authority's certificate (DER).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AuthorityHash(pub [u8; 32]);

/// What only the bearer of a token knows: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

/// The BLAKE3 hash of a [`Secret`]: all that the coordinator keeps of it. (A secret of 128 random bits
/// needs no salt and no slow hash.)
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SecretHash(pub [u8; 32]);

/// A join token. As text one word: `grid1-` and base32 in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinToken {
    addresses: Vec<String>,
    authority: AuthorityHash,
    token_id: u64,
    secret: Secret,
}

/// What the text holds, in postcard, before a checksum.
#[derive(Serialize, Deserialize)]
struct Content {
    addresses: Vec<String>,
    authority: AuthorityHash,
    token_id: u64,
    secret: [u8; 16],
}

/// Why no token can be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MakeTokenError {
    /// Nobody could reach the coordinator by it.
    #[error("a join token needs an address; start the coordinator with --advertise HOST:PORT")]
    NoAddress,
    /// Longer than [`ADDRESS_BYTES_MAX`].
    #[error(
        "the address {address:?} is longer than {ADDRESS_BYTES_MAX} bytes; advertise a shorter one"
    )]
    AddressTooLong {
        /// The address.
        address: String,
    },
}

/// Why a text is not a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseTokenError {
    /// It does not begin as tokens do.
    #[error(
        "this is not a join token: one begins with {PREFIX}; copy the whole word that `gridctl token create` printed"
    )]
    NotAToken,
    /// It begins as a token of a later release would.
    #[error("this join token was made by a later release; upgrade gridctl on this machine")]
    Later,
    /// A character was left out, added or changed.
    #[error("the join token is mistyped or cut off; copy the whole word again")]
    Mistyped,
}

impl AuthorityHash {
    /// Hashes an authority's certificate.
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(*blake3::hash(certificate_der).as_bytes())
    }
}

impl fmt::Debug for AuthorityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityHash({self})")
    }
}

/// The first 16 hexadecimal digits: enough for a person to compare.
impl fmt::Display for AuthorityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..8]))
    }
}

impl Secret {
    /// Makes a new one.
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// Takes the bytes that a peer sent.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes to send, once the other side is known to be the right one.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns what the coordinator keeps.
    pub fn hash(&self) -> SecretHash {
        SecretHash(*blake3::hash(&self.0).as_bytes())
    }
}

/// Hides it, so that it can never reach a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl JoinToken {
    /// Makes a token. Addresses are `HOST:PORT`, best first; those beyond [`ADDRESSES_MAX`] are left out.
    ///
    /// # Errors
    /// [`MakeTokenError`] where no address is given, or one is too long.
    pub fn new(
        addresses: impl IntoIterator<Item = String>,
        authority: AuthorityHash,
        token_id: u64,
        secret: Secret,
    ) -> Result<Self, MakeTokenError> {
        let addresses: Vec<String> = addresses.into_iter().take(ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            return Err(MakeTokenError::NoAddress);
        }
        match addresses.iter().find(|address| address.len() > ADDRESS_BYTES_MAX) {
            Some(address) => Err(MakeTokenError::AddressTooLong { address: address.clone() }),
            None => Ok(Self { addresses, authority, token_id, secret }),
        }
    }

    /// Returns where the coordinator may be reached, best first.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Returns which authority must have signed the coordinator's certificate.
    pub const fn authority(&self) -> AuthorityHash {
        self.authority
    }

    /// Returns the number by which the coordinator knows the token.
    pub const fn token_id(&self) -> u64 {
        self.token_id
    }

    /// Returns the secret.
    pub const fn secret(&self) -> Secret {
        self.secret
    }

    /// Returns what the coordinator keeps of the secret.
    pub fn secret_hash(&self) -> SecretHash {
        self.secret.hash()
    }
}

/// The whole token, secret and all: to be shown to its bearer, never logged.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = Content {
            addresses: self.addresses.clone(),
            authority: self.authority,
            token_id: self.token_id,
            secret: self.secret.0,
        };
        let mut bytes = postcard::to_stdvec(&content).map_err(|_| fmt::Error)?;
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    /// Reads a token; space around it and upper case are forgiven.
    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let text = text.trim().to_ascii_lowercase();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(unknown_prefix(&text));
        };
        if text.len() > TEXT_CHARS_MAX {
            return Err(ParseTokenError::Mistyped);
        }
        let bytes = BASE32_NOPAD
            .decode(encoded.to_ascii_uppercase().as_bytes())
            .map_err(|_| ParseTokenError::Mistyped)?;
        let (content, sum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(ParseTokenError::Mistyped)?;
        if checksum(content) != *sum {
            return Err(ParseTokenError::Mistyped);
        }
        let content: Content =
            postcard::from_bytes(content).map_err(|_| ParseTokenError::Mistyped)?;
        let secret = Secret(content.secret);
        Self::new(content.addresses, content.authority, content.token_id, secret)
            .map_err(|_| ParseTokenError::Mistyped)
    }
}

fn unknown_prefix(text: &str) -> ParseTokenError {
    let version = text.strip_prefix("grid").and_then(|rest| rest.split('-').next());
    match version {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            ParseTokenError::Later
        }
        Some(_) | None => ParseTokenError::NotAToken,
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        let addresses = ["grid.example.org:7443", "192.0.2.1:7443", "[2001:db8::1]:7443"];
        let authority = AuthorityHash::of(b"some certificate");
        let secret = Secret::from_bytes(*b"0123456789abcdef");
        JoinToken::new(addresses.map(String::from), authority, 42, secret).unwrap()
    }

    #[test]
    fn a_token_survives_the_way_through_its_text() {
        let text = token().to_string();
        assert!(text.starts_with("grid1-"), "{text}");
        assert!(text[6..].bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{text}");
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!("  {}\n", text.to_uppercase()).parse(), Ok(token()));
    }

    #[test]
    fn the_text_of_the_first_version_stays_readable() {
        let golden = include_str!("../tests/golden/join-token-1.txt");
        assert_eq!(token().to_string(), golden.trim());
        assert_eq!(golden.parse(), Ok(token()));
    }

    #[test]
    fn every_single_mistyped_character_is_noticed() {
        let text = token().to_string();
        for place in PREFIX.len()..text.len() {
            let mut typed = text.clone().into_bytes();
            typed[place] = if typed[place] == b'a' { b'b' } else { b'a' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(typed.parse::<JoinToken>(), Err(ParseTokenError::Mistyped), "{typed}");
        }
    }

    #[test]
    fn a_token_that_was_cut_off_anywhere_is_noticed() {
        let text = token().to_string();
        for end in PREFIX.len()..text.len() {
            assert_eq!(text[..end].parse::<JoinToken>(), Err(ParseTokenError::Mistyped), "{end}");
        }
        for end in 0..PREFIX.len() - 1 {
            assert_eq!(text[..end].parse::<JoinToken>(), Err(ParseTokenError::NotAToken), "{end}");
        }
    }

    #[test]
    fn other_words_are_told_apart() {
        assert_eq!("submit".parse::<JoinToken>(), Err(ParseTokenError::NotAToken));
        assert_eq!("grid-abc".parse::<JoinToken>(), Err(ParseTokenError::NotAToken));
        assert_eq!("grid2-abc".parse::<JoinToken>(), Err(ParseTokenError::Later));
        assert_eq!("grid1-é".parse::<JoinToken>(), Err(ParseTokenError::Mistyped));
        let endless = format!("grid1-{}", "a".repeat(1 << 20));
        assert_eq!(endless.parse::<JoinToken>(), Err(ParseTokenError::Mistyped));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let shown = format!("{:?}", token());
        assert!(shown.contains("Secret(..)"), "{shown}");
        assert!(!shown.contains("48, 49"), "{shown}");
    }

    #[test]
    fn two_secrets_differ_and_hash_differently() {
        let (one, other) = (Secret::random(), Secret::random());
        assert_ne!(one, other);
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.hash(), Secret::from_bytes(one.to_bytes()).hash());
    }

    #[test]
    fn a_token_without_an_address_is_not_made() {
        let make = |addresses: Vec<String>| {
            JoinToken::new(addresses, AuthorityHash([0; 32]), 1, Secret::random())
        };
        assert_eq!(make(vec![]), Err(MakeTokenError::NoAddress));
        let address = "a".repeat(ADDRESS_BYTES_MAX + 1);
        assert_eq!(make(vec![address.clone()]), Err(MakeTokenError::AddressTooLong { address }));
        assert_eq!(make(vec!["a:1".to_owned(); 40]).unwrap().addresses().len(), ADDRESSES_MAX);
    }
}
