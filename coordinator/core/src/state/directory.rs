//! Who belongs to the grid: join tokens, workers and users.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{UserId, WorkerId};
use gridctl_jobs::units::WallMs;
use serde::{Deserialize, Serialize};

use crate::fact::{Digest, TokenCreated, TokenId, UserRole};

/// The person who runs the coordinator: there from the beginning, with role admin.
pub const LOCAL_ADMIN: UserId = UserId(0);

/// Its name.
const LOCAL_ADMIN_NAME: &str = "local";

/// Join tokens, workers and users. Ids count up and are never reused; nobody is ever removed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Directory {
    tokens: BTreeMap<TokenId, JoinToken>,
    workers: BTreeMap<WorkerId, EnrolledWorker>,
    users: BTreeMap<UserId, EnrolledUser>,
    worker_names: BTreeSet<String>,
    user_names: BTreeSet<String>,
}

/// A join token.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct JoinToken {
    /// How it was made.
    pub created: TokenCreated,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Who came in by it, by the hash of their public key.
    pub enrolled: BTreeMap<Digest, Identity>,
}

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnrolledWorker {
    /// Unique among workers.
    pub name: String,
    /// The hash of its public key.
    pub key: Digest,
    /// When it joined.
    pub at: WallMs,
    /// Whether it is to finish what it runs, and to get nothing new.
    pub draining: bool,
}

/// A person, or a program of theirs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnrolledUser {
    /// Unique among users.
    pub name: String,
    /// What they may do.
    pub role: UserRole,
    /// The hash of their public key; `None` for the local admin, whose certificate is made anew.
    pub key: Option<Digest>,
    /// When they joined.
    pub at: WallMs,
}

/// What a join token made of its bearer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Identity {
    /// A machine.
    Worker(WorkerId),
    /// A person.
    User(UserId),
}

impl Default for Directory {
    fn default() -> Self {
        let admin = EnrolledUser {
            name: LOCAL_ADMIN_NAME.to_owned(),
            role: UserRole::Admin,
            key: None,
            at: WallMs(0),
        };
        Self {
            tokens: BTreeMap::new(),
            workers: BTreeMap::new(),
            user_names: BTreeSet::from([admin.name.clone()]),
            users: BTreeMap::from([(LOCAL_ADMIN, admin)]),
            worker_names: BTreeSet::new(),
        }
    }
}

impl JoinToken {
    /// Counts its enrolments.
    pub fn used(&self) -> usize {
        self.enrolled.len()
    }
}

impl Directory {
    /// Returns a worker.
    pub fn worker(&self, id: WorkerId) -> Option<&EnrolledWorker> {
        self.workers.get(&id)
    }

    /// Lists all workers by id.
    pub fn workers(&self) -> impl DoubleEndedIterator<Item = (WorkerId, &EnrolledWorker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    /// Returns a user.
    pub fn user(&self, id: UserId) -> Option<&EnrolledUser> {
        self.users.get(&id)
    }

    /// Lists all users by id; the first is the local admin.
    pub fn users(&self) -> impl DoubleEndedIterator<Item = (UserId, &EnrolledUser)> {
        self.users.iter().map(|(id, user)| (*id, user))
    }

    /// Returns a join token.
    pub fn token(&self, id: TokenId) -> Option<&JoinToken> {
        self.tokens.get(&id)
    }

    /// Lists all join tokens by id.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = (TokenId, &JoinToken)> {
        self.tokens.iter().map(|(id, token)| (*id, token))
    }

    pub(crate) fn next_token(&self) -> TokenId {
        TokenId(self.tokens.last_key_value().map_or(0, |(id, _)| id.0) + 1)
    }

    pub(crate) fn next_worker(&self) -> WorkerId {
        WorkerId(self.workers.last_key_value().map_or(0, |(id, _)| id.0) + 1)
    }

    pub(crate) fn next_user(&self) -> UserId {
        UserId(self.users.last_key_value().map_or(0, |(id, _)| id.0) + 1)
    }

    pub(crate) fn has_worker_name(&self, name: &str) -> bool {
        self.worker_names.contains(name)
    }

    pub(crate) fn has_user_name(&self, name: &str) -> bool {
        self.user_names.contains(name)
    }

    pub(super) fn apply_token_created(&mut self, created: &TokenCreated) {
        self.tokens.entry(created.token).or_insert_with(|| JoinToken {
            created: created.clone(),
            revoked: false,
            enrolled: BTreeMap::new(),
        });
    }

    pub(super) fn apply_token_revoked(&mut self, token: TokenId) {
        if let Some(token) = self.tokens.get_mut(&token) {
            token.revoked = true;
        }
    }

    pub(super) fn apply_worker_enrolled(
        &mut self,
        worker: WorkerId,
        name: &str,
        key: Digest,
        token: TokenId,
        at: WallMs,
    ) {
        if self.workers.contains_key(&worker) {
            return;
        }
        self.workers
            .insert(worker, EnrolledWorker { name: name.to_owned(), key, at, draining: false });
        self.worker_names.insert(name.to_owned());
        self.note_use(token, key, Identity::Worker(worker));
    }

    pub(super) fn apply_worker_draining(&mut self, worker: WorkerId, draining: bool) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.draining = draining;
        }
    }

    pub(super) fn apply_user_enrolled(
        &mut self,
        user: UserId,
        name: &str,
        role: UserRole,
        key: Digest,
        token: TokenId,
        at: WallMs,
    ) {
        if self.users.contains_key(&user) {
            return;
        }
        self.users.insert(user, EnrolledUser { name: name.to_owned(), role, key: Some(key), at });
        self.user_names.insert(name.to_owned());
        self.note_use(token, key, Identity::User(user));
    }

    fn note_use(&mut self, token: TokenId, key: Digest, identity: Identity) {
        if let Some(token) = self.tokens.get_mut(&token) {
            token.enrolled.insert(key, identity);
        }
    }
}
