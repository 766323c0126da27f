//! Who may send what: the one table of message × role.
//!
//! Whoever receives a message asks here before doing anything else with it. Deliberately absent: whose
//! job it is; a permission may say *own only*, and the receiver knows the owner.

use crate::identity::Role;
use crate::message::client::Request;
use crate::message::worker::{StreamKind, WorkerMessage};

/// Who sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// Someone without a certificate, on `grid-join/1`.
    Joining,
    /// The bearer of a certificate of this role, on `grid/1`.
    Enrolled(Role),
}

/// What a sender may do with a kind of message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// Send it, about anything.
    All,
    /// Send it, about jobs of their own.
    OwnOnly,
    /// Not send it.
    Never,
}

macro_rules! message_kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// Every kind of message that reaches a coordinator.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum MessageKind { $($(#[$doc])* $kind,)* }

        impl MessageKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];
        }
    };
}

message_kinds! {
    /// [`crate::message::join::JoinRequest`].
    Join,
    /// [`crate::message::client::ClientHello`].
    ClientHello,
    /// [`Request::Submit`].
    Submit,
    /// [`Request::Cancel`].
    Cancel,
    /// [`Request::Jobs`].
    Jobs,
    /// [`Request::Status`].
    Status,
    /// [`Request::Tasks`].
    Tasks,
    /// [`Request::Watch`].
    Watch,
    /// [`Request::Output`].
    Output,
    /// [`Request::Explain`].
    Explain,
    /// [`Request::Workers`].
    Workers,
    /// [`Request::CreateToken`].
    CreateToken,
    /// [`Request::Tokens`].
    Tokens,
    /// [`Request::RevokeToken`].
    RevokeToken,
    /// [`Request::Retry`].
    Retry,
    /// [`Request::Forget`].
    Forget,
    /// [`Request::DrainWorker`].
    DrainWorker,
    /// [`Request::ResumeWorker`].
    ResumeWorker,
    /// [`Request::Backup`].
    Backup,
    /// [`StreamKind::Control`].
    ControlStream,
    /// [`StreamKind::Heartbeats`].
    HeartbeatStream,
    /// [`StreamKind::Upload`].
    UploadStream,
    /// [`WorkerMessage::Hello`].
    WorkerHello,
    /// [`WorkerMessage::Started`].
    Started,
    /// [`WorkerMessage::Report`].
    Report,
    /// [`WorkerMessage::GivenBack`].
    GivenBack,
    /// [`WorkerMessage::Goodbye`].
    Goodbye,
    /// [`crate::message::worker::Heartbeat`].
    Heartbeat,
}

impl From<&Request> for MessageKind {
    fn from(request: &Request) -> Self {
        match request {
            Request::Submit { .. } => Self::Submit,
            Request::Cancel { .. } => Self::Cancel,
            Request::Jobs { .. } => Self::Jobs,
            Request::Status { .. } => Self::Status,
            Request::Tasks { .. } => Self::Tasks,
            Request::Watch { .. } => Self::Watch,
            Request::Output { .. } => Self::Output,
            Request::Explain { .. } => Self::Explain,
            Request::Workers => Self::Workers,
            Request::CreateToken { .. } => Self::CreateToken,
            Request::Tokens => Self::Tokens,
            Request::RevokeToken { .. } => Self::RevokeToken,
            Request::Retry { .. } => Self::Retry,
            Request::Forget { .. } => Self::Forget,
            Request::DrainWorker { .. } => Self::DrainWorker,
            Request::ResumeWorker { .. } => Self::ResumeWorker,
            Request::Backup => Self::Backup,
        }
    }
}

impl From<&StreamKind> for MessageKind {
    fn from(kind: &StreamKind) -> Self {
        match kind {
            StreamKind::Control => Self::ControlStream,
            StreamKind::Heartbeats => Self::HeartbeatStream,
            StreamKind::Upload { .. } => Self::UploadStream,
        }
    }
}

impl From<&WorkerMessage> for MessageKind {
    fn from(message: &WorkerMessage) -> Self {
        match message {
            WorkerMessage::Hello(_) => Self::WorkerHello,
            WorkerMessage::Started { .. } => Self::Started,
            WorkerMessage::Report(_) => Self::Report,
            WorkerMessage::GivenBack { .. } => Self::GivenBack,
            WorkerMessage::Goodbye => Self::Goodbye,
        }
    }
}

/// Looks up what `sender` may do with messages of a kind.
pub const fn permission(sender: Sender, kind: MessageKind) -> Permission {
    use MessageKind as Kind;
    let (joining, worker, user, admin) = match kind {
        Kind::Join => (Permission::All, Permission::Never, Permission::Never, Permission::Never),
        Kind::ClientHello
        | Kind::Submit
        | Kind::Jobs
        | Kind::Status
        | Kind::Tasks
        | Kind::Watch
        | Kind::Output
        | Kind::Explain
        | Kind::Workers => (Permission::Never, Permission::Never, Permission::All, Permission::All),
        Kind::Cancel | Kind::Retry | Kind::Forget => {
            (Permission::Never, Permission::Never, Permission::OwnOnly, Permission::All)
        }
        Kind::CreateToken
        | Kind::Tokens
        | Kind::RevokeToken
        | Kind::DrainWorker
        | Kind::ResumeWorker
        | Kind::Backup => {
            (Permission::Never, Permission::Never, Permission::Never, Permission::All)
        }
        Kind::ControlStream
        | Kind::HeartbeatStream
        | Kind::UploadStream
        | Kind::WorkerHello
        | Kind::Started
        | Kind::Report
        | Kind::GivenBack
        | Kind::Goodbye
        | Kind::Heartbeat => {
            (Permission::Never, Permission::All, Permission::Never, Permission::Never)
        }
    };
    match sender {
        Sender::Joining => joining,
        Sender::Enrolled(Role::Worker) => worker,
        Sender::Enrolled(Role::User) => user,
        Sender::Enrolled(Role::Admin) => admin,
        // A coordinator answers; it never asks.
        Sender::Enrolled(Role::Coordinator) => Permission::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out by hand, apart from the table: who may send each kind, as letters for joining,
    /// worker, user (small: own only) and admin.
    const EXPECTED: &[(MessageKind, &str)] = &[
        (MessageKind::Join, "J"),
        (MessageKind::ClientHello, "UA"),
        (MessageKind::Submit, "UA"),
        (MessageKind::Cancel, "uA"),
        (MessageKind::Jobs, "UA"),
        (MessageKind::Status, "UA"),
        (MessageKind::Tasks, "UA"),
        (MessageKind::Watch, "UA"),
        (MessageKind::Output, "UA"),
        (MessageKind::Explain, "UA"),
        (MessageKind::Workers, "UA"),
        (MessageKind::CreateToken, "A"),
        (MessageKind::Tokens, "A"),
        (MessageKind::RevokeToken, "A"),
        (MessageKind::Retry, "uA"),
        (MessageKind::Forget, "uA"),
        (MessageKind::DrainWorker, "A"),
        (MessageKind::ResumeWorker, "A"),
        (MessageKind::Backup, "A"),
        (MessageKind::ControlStream, "W"),
        (MessageKind::HeartbeatStream, "W"),
        (MessageKind::UploadStream, "W"),
        (MessageKind::WorkerHello, "W"),
        (MessageKind::Started, "W"),
        (MessageKind::Report, "W"),
        (MessageKind::GivenBack, "W"),
        (MessageKind::Goodbye, "W"),
        (MessageKind::Heartbeat, "W"),
    ];

    #[test]
    fn every_message_has_the_senders_that_the_design_gives_it() {
        assert_eq!(EXPECTED.len(), MessageKind::ALL.len(), "a kind lacks its line in this test");
        let senders = [
            (Sender::Joining, 'J'),
            (Sender::Enrolled(Role::Coordinator), 'C'),
            (Sender::Enrolled(Role::Worker), 'W'),
            (Sender::Enrolled(Role::User), 'U'),
            (Sender::Enrolled(Role::Admin), 'A'),
        ];
        for (&kind, &(expected_kind, letters)) in MessageKind::ALL.iter().zip(EXPECTED) {
            assert_eq!(kind, expected_kind, "the test lists kinds in the order of the enum");
            for (sender, letter) in senders {
                let expected = if letters.contains(letter) {
                    Permission::All
                } else if letters.contains(letter.to_ascii_lowercase()) {
                    Permission::OwnOnly
                } else {
                    Permission::Never
                };
                assert_eq!(permission(sender, kind), expected, "{sender:?} {kind:?}");
            }
        }
    }
}
