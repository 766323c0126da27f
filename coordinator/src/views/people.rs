//! Workers, join tokens, and the names of those who are enrolled.

use std::collections::BTreeMap;

use gridctl_core::activity::{Granted, WorkerState};
use gridctl_core::fact::{TokenId, UserRole};
use gridctl_core::state::{EnrolledWorker, JoinToken};
use gridctl_jobs::id::{Epoch, Token, UserId, WorkerId};
use gridctl_jobs::units::{Cpus, WallMs};
use gridctl_transport::message::client::{ROWS_PER_ANSWER_MAX, TokenRow, WorkerRow};

use super::{Content, Views};
use crate::{clock, convert};

impl Views {
    /// Returns the epoch of this life, once it has begun.
    pub(crate) fn epoch(&self) -> Epoch {
        self.read(|content| content.state.epoch())
    }

    /// Returns what a person may do; `None` for someone who is not enrolled.
    pub(crate) fn user_role(&self, user: UserId) -> Option<UserRole> {
        self.read(|content| content.state.directory().user(user).map(|user| user.role))
    }

    /// Returns what a person is called; `None` for someone who is not enrolled.
    pub(crate) fn user_name(&self, user: UserId) -> Option<String> {
        self.read(|content| content.state.directory().user(user).map(|user| user.name.clone()))
    }

    /// Returns until when a join token holds; `None` where there is no such token.
    pub(crate) fn token_expires_at(&self, token: TokenId) -> Option<WallMs> {
        self.read(|content| {
            content.state.directory().token(token).map(|token| token.created.expires_at)
        })
    }

    /// Lists workers with ids above `after`; an empty page ends the list.
    pub(crate) fn workers_after(&self, after: Option<WorkerId>) -> Vec<WorkerRow> {
        let now = clock::mono();
        self.read(|content| {
            let running = running_by_worker(content);
            let enrolled = content
                .state
                .directory()
                .workers()
                .filter(|(id, _)| after.is_none_or(|after| *id > after));
            let row = |(id, worker): (WorkerId, &EnrolledWorker)| {
                let activity = content.activity.workers.get(&id);
                WorkerRow {
                    name: worker.name.clone(),
                    id: id.0,
                    state: convert::worker_state(
                        activity.map_or(WorkerState::Lost, |activity| activity.state),
                    ),
                    cpus: activity.map_or(Cpus::ZERO, |activity| activity.cpus),
                    reserved: activity.map_or(Cpus::ZERO, |activity| activity.reserved),
                    running: running.get(&id).copied().unwrap_or_default(),
                    last_heartbeat_ms: self.leases.heard_ms_ago(id, now),
                    enrolled_at: worker.at,
                }
            };
            enrolled.take(ROWS_PER_ANSWER_MAX).map(row).collect()
        })
    }

    /// Lists join tokens with ids above `after`; an empty page ends the list.
    pub(crate) fn tokens_after(&self, after: u64) -> Vec<TokenRow> {
        self.read(|content| {
            let tokens = content.state.directory().tokens().filter(|(id, _)| id.0 > after);
            tokens.take(ROWS_PER_ANSWER_MAX).map(|(_, token)| token_row(token)).collect()
        })
    }
}

fn token_row(token: &JoinToken) -> TokenRow {
    let used = u32::try_from(token.used()).unwrap_or(u32::MAX);
    TokenRow {
        token_id: token.created.token.0,
        role: convert::wire_token_role(token.created.role),
        uses_left: token.created.uses.map(|uses| uses.saturating_sub(used)),
        used,
        created_at: token.created.at,
        expires_at: token.created.expires_at,
        revoked: token.revoked,
    }
}

pub(super) fn worker_name(content: &Content, worker: WorkerId) -> String {
    let enrolled = content.state.directory().worker(worker);
    enrolled.map_or_else(|| format!("worker {}", worker.0), |worker| worker.name.clone())
}

/// Counts the tasks that run on each worker: those said to have begun, and of the others as many as the
/// worker has lanes left for.
fn running_by_worker(content: &Content) -> BTreeMap<WorkerId, u64> {
    let mut running = BTreeMap::new();
    for pieces in content.activity.granted.values() {
        let mut of_stage: BTreeMap<WorkerId, OfStage> = BTreeMap::new();
        for (start, piece) in pieces {
            of_stage.entry(piece.worker).or_default().add(piece.end - start, piece);
        }
        for (worker, of_stage) in of_stage {
            *running.entry(worker).or_default() += of_stage.running();
        }
    }
    running
}

/// What one worker holds of one stage.
#[derive(Default)]
struct OfStage {
    begun: u64,
    not_begun: u64,
    /// Of the latest grant, which counts.
    lanes: (Token, u32),
}

impl OfStage {
    fn add(&mut self, tasks: u64, piece: &Granted) {
        if piece.started.is_some() {
            self.begun += tasks;
        } else {
            self.not_begun += tasks;
        }
        self.lanes = self.lanes.max((piece.token, piece.lanes));
    }

    fn running(&self) -> u64 {
        self.begun + self.not_begun.min(u64::from(self.lanes.1).saturating_sub(self.begun))
    }
}
