//! One connection to a coordinator, and requests on it.

use gridctl_transport::FileError;
use gridctl_transport::credentials::LoadCredentialsError;
use gridctl_transport::endpoint::{
    AddressError, ConnectError, Connection, LostConnection, Timing, TriedAddress, connect,
};
use gridctl_transport::frame::{FrameReader, ReadFrameError, WriteFrameError};
use gridctl_transport::handshake::{EpochMemory, GreetError, greet};
use gridctl_transport::identity::Role;
use gridctl_transport::message::Turned;
use gridctl_transport::message::client::{Answer, Refused, Request};
use thiserror::Error;

use crate::profile::Profile;

/// A coordinator that has welcomed us. Cheap to clone; the connection ends with the last clone.
#[derive(Clone)]
pub(crate) struct Client {
    connection: Connection,
}

/// The answers to one request, as they come.
pub(crate) struct Answers {
    reader: FrameReader,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectClientError {
    /// There is no identity to connect with.
    #[error(transparent)]
    Credentials(#[from] LoadCredentialsError),
    /// It is an identity that asks for nothing.
    #[error(
        "the identity {name} is that of a {role}, not of a person; enrol yourself with a token: gridctl login TOKEN"
    )]
    NoPerson { name: String, role: Role },
    /// The highest epoch that was seen cannot be read.
    #[error(transparent)]
    Memory(#[from] FileError),
    /// Nobody answered, or not as a coordinator of this grid.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The coordinator answered, and did not let us in.
    #[error(transparent)]
    Greet(#[from] GreetError),
}

/// Why a request was not answered as it should.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// The connection is gone, or the coordinator gave the request up.
    #[error(transparent)]
    Lost(#[from] LostConnection),
    /// The answers ended before they were complete: the coordinator is stopping.
    #[error("the coordinator is stopping")]
    Cut,
    /// The coordinator says no.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// The request is larger than the coordinator takes.
    #[error("the request is too large")]
    TooLarge(#[source] WriteFrameError),
    /// What came is not what was asked for.
    #[error("the coordinator's answer cannot be understood; upgrade the older of the two")]
    Protocol(#[source] Option<ReadFrameError>),
}

impl Client {
    /// Connects by a profile and is welcomed: a handshake alone does not mean to be let in.
    ///
    /// # Errors
    /// See [`ConnectClientError`].
    pub(crate) async fn connect(profile: &Profile) -> Result<Self, ConnectClientError> {
        let credentials = profile.credentials()?;
        let identity = credentials.identity();
        match identity.role() {
            Role::User | Role::Admin => {}
            role @ (Role::Worker | Role::Coordinator) => {
                let name = identity.name().to_owned();
                return Err(ConnectClientError::NoPerson { name, role });
            }
        }
        let mut memory = EpochMemory::open(&credentials)?;
        let connection = connect(profile.addresses(), &credentials, Timing::DEFAULT).await?;
        greet(&connection, &mut memory).await?;
        Ok(Self { connection })
    }

    /// Sends a request, on a stream of its own.
    ///
    /// # Errors
    /// [`AskError::Lost`], [`AskError::TooLarge`].
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answers, AskError> {
        let (mut writer, reader) = self.connection.open_bi().await?;
        match writer.write(request).await {
            Ok(()) => writer.finish(),
            // The coordinator has answered before it read everything: the answer says why.
            Err(WriteFrameError::Stopped) => {}
            Err(WriteFrameError::Lost(lost)) => return Err(lost.into()),
            Err(
                error @ (WriteFrameError::TooLarge { .. }
                | WriteFrameError::Encode(_)
                | WriteFrameError::Finished),
            ) => return Err(AskError::TooLarge(error)),
        }
        Ok(Answers { reader })
    }

    /// Sends a request that has one answer, and returns what `take` finds in it.
    ///
    /// # Errors
    /// See [`AskError`].
    pub(crate) async fn ask_one<T>(
        &self,
        request: &Request,
        take: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, AskError> {
        take(self.ask(request).await?.next().await?).ok_or(AskError::Protocol(None))
    }
}

impl Answers {
    /// Waits for the next answer, and returns what `take` finds in it; `None` at the end. May be cancelled
    /// and called again.
    ///
    /// # Errors
    /// See [`AskError`].
    pub(crate) async fn next_of<T>(
        &mut self,
        take: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<Option<T>, AskError> {
        let answer = self.next().await?;
        if answer == Answer::End {
            return Ok(None);
        }
        take(answer).map(Some).ok_or(AskError::Protocol(None))
    }

    async fn next(&mut self) -> Result<Answer, AskError> {
        match self.reader.read().await {
            Ok(Some(Answer::Refused(refused))) => Err(AskError::Refused(refused)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(ReadFrameError::Reset) => Err(AskError::Cut),
            Err(ReadFrameError::Lost(lost)) => Err(lost.into()),
            Err(
                error @ (ReadFrameError::TooLarge { .. }
                | ReadFrameError::Truncated { .. }
                | ReadFrameError::Ended
                | ReadFrameError::Malformed(_)),
            ) => Err(AskError::Protocol(Some(error))),
        }
    }
}

impl ConnectClientError {
    /// Says whether trying again later may help: nobody was reached, or whoever was is on its way out.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::NoPerson { .. } | Self::Memory(_) => false,
            Self::Connect(ConnectError::Unreachable { .. }) => true,
            Self::Connect(ConnectError::Refused(TriedAddress {
                why: AddressError::Lost(lost),
                ..
            })) => !lost.is_refusal(),
            Self::Connect(
                ConnectError::Refused(_) | ConnectError::Outdated(_) | ConnectError::Identity(_),
            ) => false,
            Self::Greet(GreetError::Turned(turned)) => *turned == Turned::Stopping,
            Self::Greet(GreetError::Lost(lost)) => !lost.is_refusal(),
            Self::Greet(GreetError::Late | GreetError::Read(ReadFrameError::Reset)) => true,
            Self::Greet(GreetError::Read(_) | GreetError::Write(_) | GreetError::Memory(_)) => {
                false
            }
        }
    }
}

impl AskError {
    /// Says whether the same request may succeed on a new connection.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Lost(lost) => !lost.is_refusal(),
            Self::Cut => true,
            Self::Refused(_) | Self::TooLarge(_) | Self::Protocol(_) => false,
        }
    }
}
