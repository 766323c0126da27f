//! Who a peer is: a role, a number and a name, as its certificate says.
//!
//! Deliberately absent: what a role may do; that is the table of [`crate::permission`].

use std::fmt;

/// Characters of an identity's name: as long as other names of a grid may be.
pub const NAME_CHARS_MAX: usize = 128;

/// The scheme of an identity's URI.
const SCHEME: &str = "gridctl://";

/// What a certificate makes of its bearer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Hands out work; the only role that a client or worker accepts at the other end.
    Coordinator,
    /// Runs tasks.
    Worker,
    /// Submits jobs, sees every job, changes their own.
    User,
    /// Changes every job, and who is enrolled.
    Admin,
}

/// Who a peer is. Written into the one URI among a certificate's alternative names, as
/// `gridctl://ROLE/ID/NAME`: the role in lower case, the id in decimal, the name percent-encoded
/// (UTF-8) where it is not an ASCII letter, a digit, `-`, `_` or `.`.
///
/// The coordinator chooses id and name; both are unique among identities of the same role.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    role: Role,
    id: u64,
    name: String,
}

/// Why a name cannot be an identity's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("a name cannot be empty; choose 1 to {NAME_CHARS_MAX} letters, digits, -, _ or .")]
    Empty,
    /// More than [`NAME_CHARS_MAX`].
    #[error(
        "a name can have {NAME_CHARS_MAX} characters, this one has {chars}; choose a shorter one"
    )]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// A character outside of the alphabet.
    #[error("a name cannot contain {character:?}; use letters, digits, -, _ and .")]
    Character {
        /// The first such character.
        character: char,
    },
}

/// Why a URI does not name an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseIdentityError {
    /// Not of the form `gridctl://ROLE/ID/NAME`.
    #[error("the name in the certificate is not of the form {SCHEME}ROLE/ID/NAME; join again")]
    Form,
    /// A role that this version does not know.
    #[error("the certificate has a role that this version does not know; upgrade the older side")]
    Role,
    /// Not a number as it would be written here.
    #[error("the id in the certificate is not a number; join again")]
    Id,
    /// Not a name as it would be written here.
    #[error("the name in the certificate is malformed; join again")]
    Name,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Coordinator, Self::Worker, Self::User, Self::Admin];

    /// Returns the word for it in certificates, tables and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Identity {
    /// Makes an identity.
    ///
    /// # Errors
    /// [`NameError`] where the name is not one of [`check_name`].
    pub fn new(role: Role, id: u64, name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { role, id, name })
    }

    /// Returns what it may do, by [`crate::permission`].
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Returns its number, unique within its role.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns its name, unique within its role at the time it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes it as in a certificate.
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.role, self.id, percent_encode(&self.name))
    }

    /// Reads it from a certificate's URI; accepts only what [`to_uri`](Self::to_uri) writes.
    ///
    /// # Errors
    /// [`ParseIdentityError`] says which part is malformed.
    pub fn from_uri(uri: &str) -> Result<Self, ParseIdentityError> {
        let rest = uri.strip_prefix(SCHEME).ok_or(ParseIdentityError::Form)?;
        let mut parts = rest.splitn(3, '/');
        let mut part = || parts.next().ok_or(ParseIdentityError::Form);
        let (role, id, name) = (part()?, part()?, part()?);
        let role = Role::named(role).ok_or(ParseIdentityError::Role)?;
        let number: u64 = id.parse().map_err(|_| ParseIdentityError::Id)?;
        if number.to_string() != id {
            return Err(ParseIdentityError::Id);
        }
        let decoded = percent_decode(name).ok_or(ParseIdentityError::Name)?;
        // One way to write a name, so that two certificates never differ in form alone.
        if percent_encode(&decoded) != name {
            return Err(ParseIdentityError::Name);
        }
        Self::new(role, number, decoded).map_err(|_| ParseIdentityError::Name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.role, self.name, self.id)
    }
}

/// Checks the name of a worker or a person: 1 to [`NAME_CHARS_MAX`] characters, each a Unicode letter
/// or digit, `-`, `_` or `.`; nothing that could break a line of a log or a table.
///
/// # Errors
/// [`NameError`] says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        return Err(NameError::TooLong { chars });
    }
    match name.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        Some(character) => Err(NameError::Character { character }),
        None => Ok(()),
    }
}

fn percent_encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn percent_decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_way_through_its_uri() {
        for role in Role::ALL {
            for name in ["node-a", "büro_2.local", "ノード", "x"] {
                for id in [0, 7, u64::MAX] {
                    let identity = Identity::new(role, id, name).unwrap();
                    assert_eq!(Identity::from_uri(&identity.to_uri()), Ok(identity));
                }
            }
        }
    }

    #[test]
    fn the_form_in_certificates_stays_as_documented() {
        let identity = Identity::new(Role::Worker, 7, "büro").unwrap();
        assert_eq!(identity.to_uri(), "gridctl://worker/7/b%C3%BCro");
    }

    #[test]
    fn malformed_uris_are_refused_by_part() {
        use ParseIdentityError as E;
        for (uri, expected) in [
            ("", E::Form),
            ("https://worker/7/a", E::Form),
            ("gridctl://worker", E::Form),
            ("gridctl://worker/7", E::Form),
            ("gridctl://root/7/a", E::Role),
            ("gridctl://Worker/7/a", E::Role),
            ("gridctl://worker/x/a", E::Id),
            ("gridctl://worker/07/a", E::Id),
            ("gridctl://worker/+7/a", E::Id),
            ("gridctl://worker/-1/a", E::Id),
            ("gridctl://worker/18446744073709551616/a", E::Id),
            ("gridctl://worker/7/", E::Name),
            ("gridctl://worker/7/a/b", E::Name),
            ("gridctl://worker/7/a%", E::Name),
            ("gridctl://worker/7/a%4", E::Name),
            ("gridctl://worker/7/a%zz", E::Name),
            ("gridctl://worker/7/a%61", E::Name),
            ("gridctl://worker/7/a%c3%bc", E::Name),
            ("gridctl://worker/7/a%FF", E::Name),
            ("gridctl://worker/7/a%0A", E::Name),
            ("gridctl://worker/7/ü", E::Name),
        ] {
            assert_eq!(Identity::from_uri(uri), Err(expected), "{uri}");
        }
    }

    #[test]
    fn names_that_could_confuse_a_reader_are_refused() {
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name("a b"), Err(NameError::Character { character: ' ' }));
        assert_eq!(check_name("a\nb"), Err(NameError::Character { character: '\n' }));
        assert_eq!(check_name("\u{202e}a"), Err(NameError::Character { character: '\u{202e}' }));
        assert_eq!(check_name(&"ü".repeat(128)), Ok(()));
        assert_eq!(check_name(&"ü".repeat(129)), Err(NameError::TooLong { chars: 129 }));
    }
}
