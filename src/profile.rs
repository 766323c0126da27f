//! Profiles: which grids this person can talk to, and as whom.
//!
//! A profile is a directory `profiles/NAME` below the configuration directory: the identity (`key.pem`,
//! mode 0600, `certificate.pem`, `ca.pem`) and `profile.toml`, which says where the coordinator is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gridctl_transport::credentials::{Credentials, LoadCredentialsError};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{self, ReadConfigError};
use crate::dirs::Dirs;

/// The file of a profile that says where the coordinator is.
const PROFILE_FILE: &str = "profile.toml";
/// Profiles that share a grid's name: past it somebody is making them in a loop.
const SAME_NAME_MAX: u32 = 1000;

/// All profiles of this account.
#[derive(Debug)]
pub(crate) struct Profiles {
    directory: PathBuf,
}

/// How to reach a grid, and where the identity for it is.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    name: String,
    directory: PathBuf,
    addresses: Vec<String>,
}

/// What `profile.toml` says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ProfileFile {
    /// Where the coordinator may be reached (`HOST:PORT`), best first.
    pub addresses: Vec<String>,
    /// The data directory of the coordinator on this machine that made the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<PathBuf>,
}

/// Why there is no profile to use.
#[derive(Debug, Error)]
pub(crate) enum PickProfileError {
    /// This account knows no grid.
    #[error("no grid is known here")]
    None,
    /// It knows others.
    #[error("there is no profile {asked}; there {}", list(names))]
    Unknown { asked: String, names: Vec<String> },
    /// It knows several, and none was named.
    #[error("there {}, and none of them was named", list(names))]
    Several { names: Vec<String> },
    /// The name cannot be a profile's.
    #[error(
        "{name:?} cannot be the name of a profile: it is made of letters, digits, `-`, `_` and `.`"
    )]
    Name { name: String },
    /// The directory of profiles is there, and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What it says.
    #[error(transparent)]
    File(#[from] ReadConfigError),
}

/// Why a profile could not be kept.
#[derive(Debug, Error)]
pub(crate) enum KeepProfileError {
    /// A file or a directory.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another profile of that name cannot be read.
    #[error(transparent)]
    Pick(#[from] PickProfileError),
}

impl Profiles {
    /// Looks where profiles are kept.
    pub(crate) fn new(dirs: &Dirs) -> Self {
        Self { directory: dirs.config().join("profiles") }
    }

    /// Returns the profile that was asked for, or the only one there is.
    ///
    /// # Errors
    /// Lists those that there are.
    pub(crate) fn pick(&self, asked: Option<&str>) -> Result<Profile, PickProfileError> {
        // An empty variable means that none is set.
        let asked = asked.filter(|name| !name.is_empty());
        if let Some(name) = asked {
            check_name(name)?;
        }
        let mut names = self.names()?;
        match (asked, names.len()) {
            (Some(asked), _) if names.iter().any(|name| name == asked) => self.open(asked),
            (_, 0) => Err(PickProfileError::None),
            (Some(asked), _) => Err(PickProfileError::Unknown { asked: asked.to_owned(), names }),
            (None, 1) => self.open(&names.remove(0)),
            (None, _) => Err(PickProfileError::Several { names }),
        }
    }

    /// Returns the directory in which an identity is made whose profile has no name yet: the same one
    /// for the same `what`, so that an enrolment that was cut short can go on.
    pub(crate) fn joining(&self, what: &str) -> PathBuf {
        self.directory.join(format!(".joining-{what}"))
    }

    /// Returns the name under which to keep a profile of a grid called `wanted`: that name, or with a
    /// number where it is the name of another profile that `replaces` does not want gone.
    ///
    /// # Errors
    /// Where the name cannot be a profile's, or those there are cannot be read.
    pub(crate) fn free_name(
        &self,
        wanted: &str,
        replaces: impl Fn(&Profile, &ProfileFile) -> bool,
    ) -> Result<String, PickProfileError> {
        check_name(wanted)?;
        for number in 1..SAME_NAME_MAX {
            let name = if number == 1 { wanted.to_owned() } else { format!("{wanted}-{number}") };
            let directory = self.directory.join(&name);
            let file: Option<ProfileFile> = config::read(&directory.join(PROFILE_FILE))?;
            let free = file.is_none_or(|file| replaces(&self.profile(&name, Vec::new()), &file));
            if free {
                return Ok(name);
            }
        }
        Err(PickProfileError::Several { names: self.names()? })
    }

    /// Keeps a profile whose identity has been made in `made`, in place of one of the same name.
    ///
    /// # Errors
    /// Names what cannot be written.
    pub(crate) fn keep(
        &self,
        name: &str,
        made: &Path,
        file: &ProfileFile,
    ) -> Result<Profile, KeepProfileError> {
        check_name(name)?;
        let text = toml::to_string(file).expect("texts and lists of texts can be written as TOML");
        write(&made.join(PROFILE_FILE), &text)?;
        let directory = self.directory.join(name);
        let replaced = self.directory.join(format!(".replaced-{name}"));
        let failed = |source| KeepProfileError::Write { path: directory.clone(), source };
        // At once, where the file system can: commands that run meanwhile see the one or the other.
        if renameat_with(CWD, made, CWD, &directory, RenameFlags::EXCHANGE).is_ok() {
            remove_directory(made).map_err(failed)?;
            return Ok(self.profile(name, file.addresses.clone()));
        }
        remove_directory(&replaced).map_err(failed)?;
        match fs::rename(&directory, &replaced) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        fs::rename(made, &directory).map_err(failed)?;
        remove_directory(&replaced).map_err(failed)?;
        Ok(self.profile(name, file.addresses.clone()))
    }

    fn names(&self) -> Result<Vec<String>, PickProfileError> {
        let failed = |source| PickProfileError::Read { path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let known = name.to_str().filter(|name| check_name(name).is_ok());
            names.extend(
                known
                    .filter(|name| self.directory.join(name).join(PROFILE_FILE).exists())
                    .map(String::from),
            );
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> Result<Profile, PickProfileError> {
        let file: Option<ProfileFile> =
            config::read(&self.directory.join(name).join(PROFILE_FILE))?;
        let file = file.ok_or(PickProfileError::None)?;
        Ok(self.profile(name, file.addresses))
    }

    fn profile(&self, name: &str, addresses: Vec<String>) -> Profile {
        Profile { name: name.to_owned(), directory: self.directory.join(name), addresses }
    }
}

impl Profile {
    /// Makes one that is in no list: the identity is in `directory`.
    pub(crate) fn unlisted(name: &str, directory: PathBuf, addresses: Vec<String>) -> Self {
        Self { name: name.to_owned(), directory, addresses }
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the coordinator may be reached, best first.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Loads the identity.
    ///
    /// # Errors
    /// Says what is wrong with it, and how to join again.
    pub(crate) fn credentials(&self) -> Result<Credentials, LoadCredentialsError> {
        Credentials::load(&self.directory)
    }
}

fn check_name(name: &str) -> Result<(), PickProfileError> {
    match gridctl_jobs::name::check_stage_name(name) {
        // A leading dot is how directories that are not profiles (yet) are told apart.
        Ok(()) if !name.starts_with('.') => Ok(()),
        Ok(()) | Err(_) => Err(PickProfileError::Name { name: name.to_owned() }),
    }
}

fn list(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{verb} {}", names.join(", "))
}

/// Writes a file whole or not at all; a reader sees the old text or the new.
fn write(path: &Path, text: &str) -> Result<(), KeepProfileError> {
    let failed = |source| KeepProfileError::Write { path: path.to_owned(), source };
    let directory = path.parent().expect("every path here has a directory before it");
    fs::create_dir_all(directory).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home {
        profiles: Profiles,
        _directory: tempfile::TempDir,
    }

    impl Home {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let profiles = Profiles { directory: directory.path().join("config/profiles") };
            Self { profiles, _directory: directory }
        }

        fn add(&self, name: &str) -> Profile {
            let made = self.profiles.joining(name);
            fs::create_dir_all(&made).unwrap();
            fs::write(made.join("key.pem"), name).unwrap();
            let file = ProfileFile { addresses: vec![format!("{name}:7443")], coordinator: None };
            self.profiles.keep(name, &made, &file).unwrap()
        }
    }

    #[test]
    fn the_only_profile_is_taken_without_asking() {
        let home = Home::new();
        assert!(matches!(home.profiles.pick(None), Err(PickProfileError::None)));
        home.add("lab");
        for asked in [None, Some(""), Some("lab")] {
            let profile = home.profiles.pick(asked).unwrap();
            assert_eq!(
                (profile.name(), profile.addresses()),
                ("lab", &["lab:7443".to_owned()][..])
            );
        }
    }

    #[test]
    fn of_several_one_has_to_be_named_and_the_error_lists_them() {
        let home = Home::new();
        home.add("lab");
        home.add("attic");
        let error = home.profiles.pick(None).unwrap_err().to_string();
        assert!(error.contains("are attic, lab"), "{error}");
        let error = home.profiles.pick(Some("office")).unwrap_err().to_string();
        assert!(error.contains("office") && error.contains("are attic, lab"), "{error}");
        assert_eq!(home.profiles.pick(Some("lab")).unwrap().name(), "lab");
    }

    #[test]
    fn a_name_never_leads_out_of_the_directory() {
        let home = Home::new();
        home.add("lab");
        for name in ["../lab", "/etc", ".joining-1", "a b"] {
            assert!(
                matches!(home.profiles.pick(Some(name)), Err(PickProfileError::Name { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_profile_is_replaced_whole_and_unfinished_ones_are_not_listed() {
        let home = Home::new();
        home.add("lab");
        fs::write(home.profiles.directory.join("lab/old"), "").unwrap();
        fs::create_dir_all(home.profiles.joining("7")).unwrap();
        home.add("lab");
        assert!(!home.profiles.directory.join("lab/old").exists());
        assert_eq!(home.profiles.names().unwrap(), ["lab"]);
    }

    #[test]
    fn a_taken_name_gets_a_number_unless_it_may_be_replaced() {
        let home = Home::new();
        home.add("lab");
        assert_eq!(home.profiles.free_name("lab", |_, _| true).unwrap(), "lab");
        assert_eq!(home.profiles.free_name("lab", |_, _| false).unwrap(), "lab-2");
        assert_eq!(home.profiles.free_name("attic", |_, _| false).unwrap(), "attic");
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let home = Home::new();
        home.add("lab");
        let path = home.profiles.directory.join("lab").join(PROFILE_FILE);
        fs::write(path, "addresses = []\nadress = \"x\"\n").unwrap();
        let error = home.profiles.pick(None).unwrap_err().to_string();
        assert!(error.contains("profile.toml:2: ") && error.contains("adress"), "{error}");
    }
}
