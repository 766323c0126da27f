//! What a worker was given: stage orders, and queues of tasks that have not begun.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::render::Renderer;
use gridctl_jobs::spec::{ItemSource, StageOrder};
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::Grant;

use super::event::{GrantItems, Violation};
use super::pace::Pace;
use super::ranges::without;
use crate::limits::{PIECES_MAX, STAGES_MAX};

/// All stages that this worker knows.
#[derive(Debug, Default)]
pub(super) struct Stages {
    known: BTreeMap<StageId, Stage>,
    /// Stages with something in their queue, so that a step costs what waits and not what is known.
    waiting: BTreeSet<StageId>,
    pieces: usize,
}

/// A stage, and what of it waits here.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) renderer: Arc<Renderer>,
    /// How many tasks may run at once here.
    pub(super) lanes: u32,
    /// How many do.
    pub(super) busy: u32,
    pub(super) pace: Pace,
    queue: VecDeque<Piece>,
    /// Tasks in the queue.
    queued: u64,
    forgotten: bool,
}

/// Tasks of one grant that have not begun.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) head: Arc<GrantHead>,
    pub(super) range: TaskRange,
}

/// What all tasks of a grant share.
#[derive(Debug)]
pub(super) struct GrantHead {
    pub(super) token: Token,
    pub(super) attempt: u32,
    pub(super) items: Option<GrantItems>,
}

impl Stages {
    /// Takes a stage order; a repeated one changes nothing but that the stage is remembered again.
    pub(super) fn learn(&mut self, order: Arc<StageOrder>) -> Result<(), Violation> {
        let id = StageId { job: order.job, stage: order.stage };
        if let Some(stage) = self.known.get_mut(&id) {
            stage.forgotten = false;
            return Ok(());
        }
        if self.known.len() >= STAGES_MAX {
            return Err(Violation::TooMany);
        }
        let renderer =
            Renderer::new(Arc::unwrap_or_clone(order)).map_err(|_| Violation::BadOrder)?;
        self.known.insert(id, Stage::new(renderer));
        Ok(())
    }

    /// Queues what was granted.
    pub(super) fn grant(&mut self, grant: Grant) -> Result<(), Violation> {
        let stage = self.known.get_mut(&grant.stage).ok_or(Violation::UnknownStage)?;
        if !fits(stage.renderer.order(), &grant) {
            return Err(Violation::BadGrant);
        }
        if self.pieces >= PIECES_MAX {
            return Err(Violation::TooMany);
        }
        stage.lanes = grant.lanes.max(1);
        let first = grant.range.start;
        let head = Arc::new(GrantHead {
            token: grant.token,
            attempt: grant.attempt,
            items: grant.items.map(|list| GrantItems::new(list, first)),
        });
        stage.queued += grant.range.len();
        stage.queue.push_back(Piece { head, range: grant.range });
        self.pieces += 1;
        self.waiting.insert(grant.stage);
        Ok(())
    }

    pub(super) fn stage(&self, id: StageId) -> Option<&Stage> {
        self.known.get(&id)
    }

    pub(super) fn stage_mut(&mut self, id: StageId) -> Option<&mut Stage> {
        self.known.get_mut(&id)
    }

    /// Returns the stages with something in their queue.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (StageId, &Stage)> {
        self.waiting.iter().filter_map(|id| Some((*id, self.known.get(id)?)))
    }

    /// Says whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes up to `tasks` from the front of a stage's queue, of one piece.
    pub(super) fn take_first(&mut self, id: StageId, tasks: u64) -> Option<Piece> {
        let stage = self.known.get_mut(&id)?;
        let first = stage.queue.front_mut()?;
        let end = first.range.end.min(first.range.start.saturating_add(tasks));
        let taken =
            Piece { head: Arc::clone(&first.head), range: TaskRange::new(first.range.start, end) };
        first.range.start = end;
        if first.range.is_empty() {
            stage.queue.pop_front();
            self.pieces -= 1;
        }
        stage.queued -= taken.range.len();
        self.tidy(id);
        Some(taken)
    }

    /// Puts tasks that turned out not to have begun at the front of the queue again.
    pub(super) fn put_back(&mut self, id: StageId, piece: Piece) {
        let Some(stage) = self.known.get_mut(&id) else { return };
        stage.queued += piece.range.len();
        stage.queue.push_front(piece);
        self.pieces += 1;
        self.waiting.insert(id);
    }

    /// Counts the tasks in the queue that came with this token.
    pub(super) fn queued_with(&self, id: StageId, token: Token) -> u64 {
        let pieces = self.known.get(&id).into_iter().flat_map(|stage| &stage.queue);
        pieces.filter(|piece| piece.head.token == token).map(|piece| piece.range.len()).sum()
    }

    /// Takes up to `tasks` that came with this token out of the queue, from its end.
    pub(super) fn take_last(&mut self, id: StageId, token: Token, tasks: u64) -> Vec<TaskRange> {
        let Some(stage) = self.known.get_mut(&id) else { return Vec::new() };
        let mut left = tasks;
        let mut taken = Vec::new();
        for piece in stage.queue.iter_mut().rev().filter(|piece| piece.head.token == token) {
            let cut = piece.range.end - left.min(piece.range.len());
            if cut < piece.range.end {
                taken.push(TaskRange::new(cut, piece.range.end));
                left -= piece.range.end - cut;
                piece.range.end = cut;
            }
        }
        stage.queued -= tasks - left;
        self.drop_empty_pieces(id);
        taken
    }

    /// Takes the tasks of `range` that came with this token out of the queue.
    ///
    /// # Errors
    /// `TooMany` where that leaves more pieces than a worker keeps.
    pub(super) fn remove(
        &mut self,
        id: StageId,
        token: Token,
        range: TaskRange,
    ) -> Result<(), Violation> {
        let Some(stage) = self.known.get_mut(&id) else { return Ok(()) };
        let before = stage.queue.len();
        for piece in std::mem::take(&mut stage.queue) {
            if piece.head.token != token {
                stage.queue.push_back(piece);
                continue;
            }
            stage.queued -= piece.range.intersect(range).len();
            for rest in without(piece.range, range) {
                stage.queue.push_back(Piece { head: Arc::clone(&piece.head), range: rest });
            }
        }
        self.pieces = self.pieces - before + stage.queue.len();
        self.tidy(id);
        if self.pieces > PIECES_MAX { Err(Violation::TooMany) } else { Ok(()) }
    }

    /// Takes everything out of every queue.
    pub(super) fn take_all(&mut self) -> Vec<(StageId, Piece)> {
        let mut all = Vec::new();
        for id in std::mem::take(&mut self.waiting) {
            if let Some(stage) = self.known.get_mut(&id) {
                stage.queued = 0;
                all.extend(stage.queue.drain(..).map(|piece| (id, piece)));
            }
            self.tidy(id);
        }
        self.pieces = 0;
        all
    }

    /// Drops everything that waits of stages that stop with the lease.
    pub(super) fn drop_stopping(&mut self) {
        let stopping = self.waiting().filter(|(_, stage)| stage.stops());
        let stopping: Vec<StageId> = stopping.map(|(id, _)| id).collect();
        for id in stopping {
            if let Some(stage) = self.known.get_mut(&id) {
                stage.queued = 0;
                self.pieces -= stage.queue.len();
                stage.queue.clear();
            }
            self.tidy(id);
        }
    }

    /// Returns everything that waits, stage by stage.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (StageId, &Piece)> {
        self.waiting().flat_map(|(id, stage)| stage.queue.iter().map(move |piece| (id, piece)))
    }

    /// Forgets a stage once nothing of it is here any more.
    pub(super) fn forget(&mut self, id: StageId) {
        if let Some(stage) = self.known.get_mut(&id) {
            stage.forgotten = true;
        }
        self.tidy(id);
    }

    /// Drops what is over of a stage: its mark as waiting, and itself if it is to be forgotten.
    pub(super) fn tidy(&mut self, id: StageId) {
        let Some(stage) = self.known.get(&id) else { return };
        if stage.queue.is_empty() {
            self.waiting.remove(&id);
            if stage.forgotten && stage.busy == 0 {
                self.known.remove(&id);
            }
        }
    }

    fn drop_empty_pieces(&mut self, id: StageId) {
        if let Some(stage) = self.known.get_mut(&id) {
            let before = stage.queue.len();
            stage.queue.retain(|piece| !piece.range.is_empty());
            self.pieces = self.pieces - before + stage.queue.len();
        }
        self.tidy(id);
    }
}

impl Stage {
    fn new(renderer: Renderer) -> Self {
        Self {
            renderer: Arc::new(renderer),
            lanes: 1,
            busy: 0,
            pace: Pace::default(),
            queue: VecDeque::new(),
            queued: 0,
            forgotten: false,
        }
    }

    /// Returns what each of its tasks asks for.
    pub(super) fn cpus(&self) -> Cpus {
        self.renderer.order().task.cpus
    }

    /// Says whether another of its tasks may run at once with those that do.
    pub(super) const fn has_free_lane(&self) -> bool {
        self.busy < self.lanes
    }

    /// Returns the token of what waits at the front.
    pub(super) fn first_token(&self) -> Option<Token> {
        self.queue.front().map(|piece| piece.head.token)
    }

    /// Returns how many tasks the next slice should have: what lasts as long as a slice is made for, and
    /// not more than this lane's share of what waits, so that all lanes end together.
    pub(super) fn next_slice_tasks(&self) -> u64 {
        let share = self.queued.div_ceil(u64::from(self.lanes));
        self.pace.slice_tasks().min(share).max(1)
    }
}

/// Says whether a grant is one that this stage can have.
fn fits(order: &StageOrder, grant: &Grant) -> bool {
    let items_wanted = match order.source {
        ItemSource::Single | ItemSource::Numbers(_) => None,
        ItemSource::Texts | ItemSource::Files { .. } => Some(grant.range.len()),
    };
    grant.range.is_valid(order.count)
        && grant.items.as_ref().map(|items| items.len() as u64) == items_wanted
}
