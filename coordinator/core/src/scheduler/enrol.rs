//! Join tokens, and what they make of their bearers.

use gridctl_jobs::limits::NAME_CHARS_MAX;
use gridctl_jobs::name::check_stage_name;
use gridctl_jobs::units::WallMs;

use super::{Scheduler, Step};
use crate::effect::{Enrolled, Refusal, Reply};
use crate::event::{Caller, RequestId};
use crate::fact::{Digest, Fact, TokenCreated, TokenId, TokenRole, UserRole};
use crate::state::{Identity, JoinToken};

/// A join token to be made.
pub(super) struct NewToken {
    pub(super) secret_hash: Digest,
    pub(super) role: TokenRole,
    pub(super) uses: Option<u32>,
    pub(super) valid_ms: u64,
}

/// Someone who shows a join token.
pub(super) struct Applicant {
    pub(super) token: TokenId,
    pub(super) secret_hash: Digest,
    pub(super) key: Digest,
    pub(super) wanted_name: String,
}

impl Scheduler {
    /// Someone makes a join token.
    pub(super) fn on_create_token(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        new: NewToken,
    ) {
        if caller.role != UserRole::Admin {
            self.reply(cx, request, Reply::Refused(Refusal::AdminOnly));
            return;
        }
        let token = self.state.directory().next_token();
        let at = cx.now.wall;
        self.record(
            cx,
            Fact::TokenCreated(TokenCreated {
                token,
                secret_hash: new.secret_hash,
                role: new.role,
                uses: new.uses,
                expires_at: WallMs(at.0.saturating_add(new.valid_ms)),
                by: caller.user,
                at,
            }),
        );
        self.reply(cx, request, Reply::TokenCreated { token });
    }

    /// Someone revokes a join token; whoever has come in by it stays.
    pub(super) fn on_revoke_token(
        &mut self,
        cx: &mut Step<'_>,
        request: RequestId,
        caller: Caller,
        token: TokenId,
    ) {
        let known = self.state.directory().token(token);
        let reply = match known {
            _ if caller.role != UserRole::Admin => Reply::Refused(Refusal::AdminOnly),
            None => Reply::Refused(Refusal::NoSuchToken),
            Some(known) if known.revoked => Reply::TokenRevoked,
            Some(_) => {
                let (by, at) = (caller.user, cx.now.wall);
                self.record(cx, Fact::TokenRevoked { token, by, at });
                Reply::TokenRevoked
            }
        };
        self.reply(cx, request, reply);
    }

    /// Someone shows a join token.
    pub(super) fn on_enrol(&mut self, cx: &mut Step<'_>, request: RequestId, applicant: Applicant) {
        let reply = match self.may_enrol(cx, &applicant) {
            Ok(Some(known)) => self.enrolled(known),
            Ok(None) => self.enrol(cx, &applicant),
            Err(refusal) => Reply::Refused(refusal),
        };
        self.reply(cx, request, reply);
    }

    /// Checks a join token; returns who the bearer is already, where they ask again.
    fn may_enrol(&self, cx: &Step<'_>, applicant: &Applicant) -> Result<Option<Identity>, Refusal> {
        let token = self.state.directory().token(applicant.token).ok_or(Refusal::BadToken)?;
        if token.revoked || token.created.secret_hash != applicant.secret_hash {
            return Err(Refusal::BadToken);
        }
        if let Some(known) = token.enrolled.get(&applicant.key) {
            return Ok(Some(*known));
        }
        if cx.now.wall >= token.created.expires_at {
            return Err(Refusal::TokenExpired);
        }
        if is_used_up(token) {
            return Err(Refusal::TokenUsedUp);
        }
        check_stage_name(&applicant.wanted_name).map_err(|_| Refusal::BadName)?;
        Ok(None)
    }

    fn enrol(&mut self, cx: &mut Step<'_>, applicant: &Applicant) -> Reply {
        let directory = self.state.directory();
        let Some(token) = directory.token(applicant.token) else {
            return Reply::Refused(Refusal::BadToken);
        };
        let (key, token, role) = (applicant.key, applicant.token, token.created.role);
        let at = cx.now.wall;
        match role {
            TokenRole::Worker => {
                let worker = directory.next_worker();
                let name =
                    free_name(&applicant.wanted_name, |name| directory.has_worker_name(name));
                self.record(cx, Fact::WorkerEnrolled { worker, name, key, token, at });
                self.enrolled(Identity::Worker(worker))
            }
            TokenRole::User(role) => {
                let user = directory.next_user();
                let name = free_name(&applicant.wanted_name, |name| directory.has_user_name(name));
                self.record(cx, Fact::UserEnrolled { user, name, role, key, token, at });
                self.enrolled(Identity::User(user))
            }
        }
    }

    fn enrolled(&self, identity: Identity) -> Reply {
        let directory = self.state.directory();
        let enrolled = match identity {
            Identity::Worker(worker) => directory
                .worker(worker)
                .map(|known| Enrolled::Worker { worker, name: known.name.clone() }),
            Identity::User(user) => directory.user(user).map(|known| Enrolled::User {
                user,
                name: known.name.clone(),
                role: known.role,
            }),
        };
        enrolled.map_or(Reply::Refused(Refusal::BadToken), Reply::Enrolled)
    }
}

fn is_used_up(token: &JoinToken) -> bool {
    token.created.uses.is_some_and(|uses| token.used() as u64 >= u64::from(uses))
}

/// Returns a name that nobody has: the wanted one, or with `-2`, `-3`, … behind it.
fn free_name(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(wanted) {
        return wanted.to_owned();
    }
    (2_u64..)
        .map(|number| {
            let suffix = format!("-{number}");
            let room = NAME_CHARS_MAX.saturating_sub(suffix.len());
            wanted.chars().take(room).chain(suffix.chars()).collect::<String>()
        })
        .find(|name| !is_taken(name))
        .expect("there are more numbers than names")
}
