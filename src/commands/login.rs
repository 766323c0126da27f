//! `gridctl login`.

use gridctl_transport::endpoint::{ConnectError, JoinError, join};
use gridctl_transport::join_token::{AuthorityHash, JoinToken, ParseTokenError};
use thiserror::Error;

use super::Ended;
use crate::cli::Login;
use crate::dirs::Dirs;
use crate::error::Exit;
use crate::output::screen::Screen;
use crate::profile::{KeepProfileError, Profile, ProfileFile, Profiles};

/// What a person is called whose account has no name.
const NAMELESS: &str = "someone";

/// Why nobody was enrolled.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Token(#[from] ParseTokenError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Keep(#[from] KeepProfileError),
}

impl LoginError {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Token(_) => Exit::Usage,
            Self::Join(error) => of_join(error),
            Self::Keep(_) => Exit::Machine,
        }
    }
}

/// Returns the exit code of an enrolment that failed.
pub(super) fn of_join(error: &JoinError) -> Exit {
    match error {
        JoinError::Name(_) => Exit::Usage,
        JoinError::Save(_) => Exit::Machine,
        JoinError::Connect(ConnectError::Unreachable { .. })
        | JoinError::Lost(_)
        | JoinError::Late => Exit::NotReached,
        JoinError::Connect(_) | JoinError::Refused { .. } | JoinError::Clocks(_) => Exit::Refused,
        JoinError::Write(_)
        | JoinError::Read(_)
        | JoinError::Issued
        | JoinError::Certificate(_) => Exit::NotReached,
    }
}

/// Enrols this person.
pub(super) async fn login(args: Login, screen: Screen) -> Ended {
    let token: JoinToken = args.token.parse().map_err(LoginError::from)?;
    let profiles = Profiles::new(&Dirs::new()?);
    let directory = profiles.joining(&token.token_id().to_string());
    let joined = join(&token, &account(), false, &directory).await.map_err(LoginError::from)?;
    let wanted = args.grid.as_deref().unwrap_or(&joined.grid);
    // Logging in again replaces; another grid of the same name stays.
    let same_grid = |profile: &Profile| {
        let credentials = profile.credentials();
        credentials.is_ok_and(|other| AuthorityHash::of(other.authority()) == token.authority())
    };
    let name = profiles.free_name(wanted, |profile, _| same_grid(profile))?;
    let file = ProfileFile { addresses: token.addresses().to_vec(), coordinator: None };
    let kept = profiles.keep(&name, &directory, &file).map_err(LoginError::from)?;
    let identity = joined.credentials.identity();
    let (who, role, grid) = (identity.name(), identity.role(), &joined.grid);
    screen.note(format_args!("you are {who} ({role}) on the grid {grid}; profile {}", kept.name()));
    Ok(Exit::Done)
}

/// Returns the name of this account, as far as it can be an identity's.
fn account() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let name = user.unwrap_or_default();
    if gridctl_transport::identity::check_name(&name).is_ok() { name } else { NAMELESS.to_owned() }
}
