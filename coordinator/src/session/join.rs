//! Enrolment: the core decides on the token, then the certificate is signed.

use std::sync::Arc;
use std::time::SystemTime;

use gridctl_core::effect::{Enrolled, Refusal, Reply};
use gridctl_core::event::Event;
use gridctl_core::fact::{Digest, TokenId, TokenRole, UserRole};
use gridctl_core::state::State;
use gridctl_transport::authority::{Authority, IssueError};
use gridctl_transport::endpoint::{JoiningError, JoiningPeer};
use gridctl_transport::handshake;
use gridctl_transport::identity::{Identity, NameError, Role};
use gridctl_transport::join_token::Secret;
use gridctl_transport::message::Turned;
use gridctl_transport::message::join::{JoinAnswer, JoinRequest};
use thiserror::Error;

use super::{Shared, canonical};
use crate::reactor::Stopped;
use crate::space::Shortage;

/// Bytes of the fact that somebody is enrolled, at most.
const ENROLMENT_BYTES: u64 = 1 << 10;

/// Serves one enrolment.
pub(super) async fn serve(shared: Arc<Shared>, mut peer: JoiningPeer) {
    let address = canonical(peer.remote_address());
    let outcome = match peer.request().await {
        Ok(request) => match enrol(&shared, request).await {
            Ok(answer) => peer.answer(&answer).await.map_err(NotEnrolled::from),
            Err(why) => {
                let answer = JoinAnswer::Refused { why: why.to_string() };
                // Who does not take the refusal is gone; the reason below is the one that matters.
                let _ = peer.answer(&answer).await;
                Err(why)
            }
        },
        Err(error) => Err(error.into()),
    };
    if let Err(why) = outcome {
        tracing::warn!(peer = %address, %why, "refused to enrol a peer");
    }
}

/// Why somebody was not enrolled.
#[derive(Debug, Error)]
enum NotEnrolled {
    #[error(transparent)]
    Joining(#[from] JoiningError),
    #[error(transparent)]
    Turned(#[from] Turned),
    #[error(transparent)]
    Core(Refusal),
    #[error(transparent)]
    NoRoom(#[from] Shortage),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("this token makes workers; join with it by: gridctl worker --join TOKEN")]
    TokenOfWorkers,
    #[error("this token is for people; log in with it by: gridctl login TOKEN")]
    TokenOfPeople,
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

async fn enrol(shared: &Shared, request: JoinRequest) -> Result<JoinAnswer, NotEnrolled> {
    handshake::agree_version(request.version)?;
    let token = TokenId(request.token_id);
    let secret_hash: Digest = Secret::from_bytes(request.secret).hash().0;
    // Someone who does not know the secret learns nothing from this: the core then refuses all the same.
    check_role(
        shared.views.read(|content| role_of(&content.state, token, &secret_hash)),
        request.as_worker,
    )?;
    let _admitted = shared.space.admit(ENROLMENT_BYTES)?;
    let key = Authority::requested_key(&request.signing_request)?;
    let key: Digest = *blake3::hash(&key).as_bytes();
    let wanted_name = request.wanted_name;
    let reply = shared
        .reactor
        .ask(|request| Event::Enrol { request, token, secret_hash, key, wanted_name })
        .await?;
    let identity = match reply {
        Reply::Enrolled(Enrolled::Worker { worker, name }) => {
            Identity::new(Role::Worker, worker.0, name)?
        }
        Reply::Enrolled(Enrolled::User { user, name, role }) => {
            Identity::new(role_name(role), user.0, name)?
        }
        Reply::Refused(refusal) => return Err(NotEnrolled::Core(refusal)),
        other @ (Reply::Submitted { .. }
        | Reply::Cancelled { .. }
        | Reply::Retried { .. }
        | Reply::Forgotten { .. }
        | Reply::WorkerDraining { .. }
        | Reply::WorkerResumed { .. }
        | Reply::TokenCreated { .. }
        | Reply::TokenRevoked) => unreachable!("the core answers an enrolment in kind: {other:?}"),
    };
    let certificate =
        shared.authority.issue(&request.signing_request, &identity, SystemTime::now())?;
    Ok(JoinAnswer::Enrolled {
        name: identity.name().to_owned(),
        grid: shared.grid.clone(),
        certificate,
        ca: shared.authority.certificate().to_vec(),
    })
}

/// Returns what a token makes of its bearer, if the secret is its own.
fn role_of(state: &State, token: TokenId, secret_hash: &Digest) -> Option<TokenRole> {
    let token = &state.directory().token(token)?.created;
    (token.secret_hash == *secret_hash).then_some(token.role)
}

/// A token that was taken for one of the other kind is not used up by the mistake.
fn check_role(role: Option<TokenRole>, as_worker: bool) -> Result<(), NotEnrolled> {
    match (role, as_worker) {
        (Some(TokenRole::Worker), false) => Err(NotEnrolled::TokenOfWorkers),
        (Some(TokenRole::User(_)), true) => Err(NotEnrolled::TokenOfPeople),
        (Some(TokenRole::Worker), true) | (Some(TokenRole::User(_)), false) | (None, _) => Ok(()),
    }
}

fn role_name(role: UserRole) -> Role {
    match role {
        UserRole::User => Role::User,
        UserRole::Admin => Role::Admin,
    }
}
