use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::authority::Authority;

struct World {
    directory: TempDir,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let authority =
            Authority::open_or_create(&directory.path().join("ca"), SystemTime::now()).unwrap();
        Self { directory, authority }
    }

    fn mine(&self) -> PathBuf {
        self.directory.path().join("mine")
    }

    fn issue(&self, key: &NewKey, name: &str) -> Vec<u8> {
        let identity = Identity::new(Role::User, 2, name).unwrap();
        let request = key.signing_request().unwrap();
        self.authority.issue(&request, &identity, SystemTime::now()).unwrap()
    }

    fn enrol(&self, name: &str) -> Credentials {
        let key = NewKey::open_or_create(&self.mine()).unwrap();
        let certificate = self.issue(&key, name);
        key.save(&certificate, self.authority.certificate()).unwrap()
    }

    fn load_error(&self) -> LoadCredentialsError {
        Credentials::load(&self.mine()).unwrap_err()
    }
}

#[test]
fn what_was_saved_is_loaded() {
    let world = World::new();
    let saved = world.enrol("ada");
    let loaded = Credentials::load(&world.mine()).unwrap();
    assert_eq!(loaded.identity(), saved.identity());
    assert_eq!(loaded.authority(), saved.authority());
    assert_eq!(loaded.chain(), saved.chain());
    assert_eq!(loaded.key(), saved.key());
    assert_eq!(loaded.check(SystemTime::now()), Ok(()));
    assert!(!world.mine().join(JOINING_KEY_FILE).exists());
}

#[test]
fn keys_are_their_owners_alone_also_while_joining() {
    let world = World::new();
    let mode = |name| fs::metadata(world.mine().join(name)).unwrap().permissions().mode() & 0o777;
    let key = NewKey::open_or_create(&world.mine()).unwrap();
    assert_eq!(mode(JOINING_KEY_FILE), 0o600);
    let certificate = world.issue(&key, "ada");
    key.save(&certificate, world.authority.certificate()).unwrap();
    assert_eq!(mode(KEY_FILE), 0o600);
}

#[test]
fn nothing_there_says_how_to_join() {
    let world = World::new();
    let error = world.load_error();
    assert!(matches!(error, LoadCredentialsError::None { .. }), "{error}");
    assert!(error.to_string().contains("gridctl login TOKEN"), "{error}");
}

#[test]
fn an_enrolment_that_crashed_before_its_last_step_is_finished() {
    let world = World::new();
    world.enrol("ada");
    let (key, joining) = (world.mine().join(KEY_FILE), world.mine().join(JOINING_KEY_FILE));
    fs::rename(&key, &joining).unwrap();
    // A key of an older identity may still be there.
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(Credentials::load(&world.mine()).unwrap().identity().name(), "ada");
    assert!(!joining.exists());
}

#[test]
fn joining_again_replaces_the_identity_only_when_it_is_there() {
    let world = World::new();
    world.enrol("ada");
    let key = NewKey::open_or_create(&world.mine()).unwrap();
    assert_eq!(Credentials::load(&world.mine()).unwrap().identity().name(), "ada");
    let certificate = world.issue(&key, "grace");
    key.save(&certificate, world.authority.certificate()).unwrap();
    assert_eq!(Credentials::load(&world.mine()).unwrap().identity().name(), "grace");
}

#[test]
fn a_certificate_for_another_key_is_not_saved() {
    let world = World::new();
    world.enrol("ada");
    let other = NewKey::open_or_create(&world.directory.path().join("other")).unwrap();
    let certificate = world.issue(&other, "grace");
    let key = NewKey::open_or_create(&world.mine()).unwrap();
    let saved = key.save(&certificate, world.authority.certificate());
    assert!(matches!(saved, Err(SaveCredentialsError::OtherKey)), "{saved:?}");
    assert_eq!(Credentials::load(&world.mine()).unwrap().identity().name(), "ada");
}

#[test]
fn damaged_files_are_named() {
    for (file, content) in [
        (KEY_FILE, None),
        (KEY_FILE, Some("nonsense")),
        (CERTIFICATE_FILE, Some("nonsense")),
        (AUTHORITY_FILE, None),
        (AUTHORITY_FILE, Some("nonsense")),
    ] {
        let world = World::new();
        world.enrol("ada");
        let path = world.mine().join(file);
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let error = world.load_error();
        assert!(matches!(error, LoadCredentialsError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
}

#[test]
fn an_expired_identity_loads_and_says_how_to_join_again() {
    let world = World::new();
    let credentials = world.enrol("ada");
    let later = SystemTime::now() + Duration::from_secs(91 * 24 * 3600);
    let error = credentials.check(later).unwrap_err().to_string();
    assert!(error.contains("the certificate was valid until"), "{error}");
    assert!(error.contains("gridctl login TOKEN"), "{error}");
}

#[test]
fn debug_output_hides_the_key() {
    let shown = format!("{:?}", World::new().enrol("ada"));
    assert!(shown.contains("ada") && !shown.contains("key"), "{shown}");
}
