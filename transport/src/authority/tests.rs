use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::certificate::{PeerCertificate, ReadCertificateError};
use crate::credentials::NewKey;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca")
    }

    fn open(&self) -> Result<Authority, OpenAuthorityError> {
        Authority::open_or_create(&self.ca(), SystemTime::now())
    }

    fn refuses_to_open(&self) -> OpenAuthorityError {
        self.open().err().expect("a grid's authority must not be guessed at")
    }

    fn request(&self) -> Vec<u8> {
        NewKey::open_or_create(self.directory.path()).unwrap().signing_request().unwrap()
    }
}

fn worker() -> Identity {
    Identity::new(Role::Worker, 4, "node").unwrap()
}

#[test]
fn an_authority_is_made_once_and_then_opened() {
    let place = Place::new();
    let made = place.open().unwrap();
    let opened = place.open().unwrap();
    assert_eq!(made.hash(), opened.hash());
    assert_ne!(made.hash(), Place::new().open().unwrap().hash());
}

#[test]
fn the_key_is_its_owners_alone() {
    let place = Place::new();
    place.open().unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.ca().join(KEY_FILE)), 0o600);
    assert_eq!(mode(place.ca()), 0o700);
    let names: Vec<_> =
        fs::read_dir(place.ca()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "no temporary file stays: {names:?}");
}

#[test]
fn a_first_start_that_crashed_between_its_files_is_taken_up() {
    let place = Place::new();
    place.open().unwrap();
    let key = fs::read(place.ca().join(KEY_FILE)).unwrap();
    fs::remove_file(place.ca().join(CERTIFICATE_FILE)).unwrap();
    place.open().unwrap();
    assert_eq!(fs::read(place.ca().join(KEY_FILE)).unwrap(), key);
}

#[test]
fn damaged_files_are_named_and_left_alone() {
    let place = Place::new();
    place.open().unwrap();
    let (key, certificate) = (place.ca().join(KEY_FILE), place.ca().join(CERTIFICATE_FILE));
    let (good_key, good_certificate) = (fs::read(&key).unwrap(), fs::read(&certificate).unwrap());

    fs::write(&key, "nonsense").unwrap();
    let error = place.refuses_to_open();
    assert!(matches!(error, OpenAuthorityError::KeyMalformed { .. }), "{error}");
    assert!(error.to_string().contains("ca-key.pem"), "{error}");
    assert_eq!(fs::read(&key).unwrap(), b"nonsense");

    fs::remove_file(&key).unwrap();
    let error = place.refuses_to_open();
    assert!(matches!(error, OpenAuthorityError::KeyMissing { .. }), "{error}");
    assert!(!key.exists());

    fs::write(&key, &good_key).unwrap();
    fs::write(&certificate, "nonsense").unwrap();
    let error = place.refuses_to_open();
    assert!(matches!(error, OpenAuthorityError::CertificateMalformed { .. }), "{error}");

    fs::write(&certificate, &good_certificate).unwrap();
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = place.refuses_to_open();
    assert!(matches!(error, OpenAuthorityError::Mismatch { .. }), "{error}");
}

#[test]
fn a_certificate_bears_the_name_that_the_coordinator_chose_and_none_of_the_request() {
    let place = Place::new();
    let authority = place.open().unwrap();
    let mut params = CertificateParams::new(vec!["evil.example.org".to_owned()]).unwrap();
    let uri = Identity::new(Role::Admin, 1, "root").unwrap().to_uri();
    params.subject_alt_names.push(SanType::URI(Ia5String::try_from(uri).unwrap()));
    params.distinguished_name = common_name("root");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let der = authority.issue(request.der(), &worker(), SystemTime::now()).unwrap();
    assert_eq!(PeerCertificate::read(&der).unwrap().identity, worker());
    let text = String::from_utf8_lossy(&der).into_owned();
    assert!(!text.contains("evil") && !text.contains("root"), "{text:?}");
}

#[test]
fn certificates_hold_for_ninety_days_from_ten_minutes_ago() {
    let place = Place::new();
    let authority = place.open().unwrap();
    let now = SystemTime::now();
    let der = authority.issue(&place.request(), &worker(), now).unwrap();
    let validity = PeerCertificate::read(&der).unwrap().validity;
    assert_eq!(validity.check(now - Duration::from_secs(599)), Ok(()));
    validity.check(now - Duration::from_secs(602)).unwrap_err();
    assert_eq!(validity.check(now + CERTIFICATE_LIFETIME - DAY), Ok(()));
    validity.check(now + CERTIFICATE_LIFETIME + DAY).unwrap_err();

    let own = authority.coordinator_certificate("c", now).unwrap();
    assert_eq!(own.renew_at(), now + CERTIFICATE_LIFETIME / 2);
    let read = PeerCertificate::read(&own.chain[0]).unwrap();
    assert_eq!(read.identity.role(), Role::Coordinator);
    assert_eq!(read.validity.check(own.renew_at()), Ok(()));
}

#[test]
fn nothing_outlives_the_authority() {
    let place = Place::new();
    let authority = place.open().unwrap();
    let end = SystemTime::now() + AUTHORITY_LIFETIME;
    let der = authority.issue(&place.request(), &worker(), end - DAY).unwrap();
    PeerCertificate::read(&der).unwrap().validity.check(end + DAY).unwrap_err();
    let late = authority.issue(&place.request(), &worker(), end + DAY);
    assert!(matches!(late, Err(IssueError::AuthorityExpired)), "{late:?}");
}

#[test]
fn requests_that_are_not_signed_by_their_own_key_are_refused() {
    let place = Place::new();
    let authority = place.open().unwrap();
    let issue = |request: &[u8]| authority.issue(request, &worker(), SystemTime::now());
    let good = place.request();
    issue(&good).unwrap();
    // The last bytes are the signature.
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(issue(&forged), Err(IssueError::Request(_))));
    assert!(matches!(issue(&good[..good.len() / 2]), Err(IssueError::Request(_))));
    assert!(matches!(issue(b""), Err(IssueError::Request(_))));
    let large = vec![0; SIGNING_REQUEST_BYTES_MAX + 1];
    assert!(matches!(issue(&large), Err(IssueError::RequestTooLarge { bytes: 8193 })));
}

#[test]
fn nobody_is_enrolled_as_a_coordinator() {
    let place = Place::new();
    let authority = place.open().unwrap();
    let identity = Identity::new(Role::Coordinator, 1, "evil").unwrap();
    let issued = authority.issue(&place.request(), &identity, SystemTime::now());
    assert!(matches!(issued, Err(IssueError::Coordinator)), "{issued:?}");
}

#[test]
fn the_authority_itself_is_nobody() {
    let authority = Place::new().open().unwrap();
    let read = PeerCertificate::read(authority.certificate());
    assert_eq!(read, Err(ReadCertificateError::Names));
}
