//! The report buffer: what ended is kept here until the coordinator has it for good.
//!
//! Ends are gathered, contiguous ones joined; a numbered report is made of them when there is a link; a
//! report goes when it is settled, and is sent again, in order, on every new link until then.

use std::collections::VecDeque;
use std::sync::Arc;

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::WallMs;
use gridctl_transport::message::worker::{
    INLINE_OUTPUT_BYTES_MAX, Outcome, Output, Report, ReportItem, UploadId,
};

use super::event::{MonoMs, TaskEnd, TaskOutput};
use super::ranges::without;
use super::stages::GrantHead;
use crate::limits::{
    COALESCE_LOOK_BACK, REPORT_BYTES_MAX, REPORT_DELAY_MS, REPORT_ITEM_BYTES, REPORT_ITEMS_MAX,
    UNSETTLED_BYTES_MAX, UNSETTLED_ITEMS_MAX,
};

/// Everything that ended and is not settled.
#[derive(Debug, Default)]
pub(super) struct ReportBuffer {
    /// Not in a report yet.
    gathered: Vec<Item>,
    gathered_since: Option<MonoMs>,
    /// Numbered, in order.
    numbered: VecDeque<Numbered>,
    last_sequence: u64,
    bytes: usize,
    items: usize,
}

/// A report that is not settled.
#[derive(Debug)]
struct Numbered {
    sequence: u64,
    items: Vec<Item>,
}

/// What became of tasks of one grant.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) token: Token,
    pub(super) stage: StageId,
    pub(super) range: TaskRange,
    pub(super) attempt: u32,
    started: WallMs,
    ended: WallMs,
    busy_ns: u64,
    outcome: Outcome,
    output: Option<Arc<TaskOutput>>,
}

/// A report on its way out, with the outputs that go on streams of their own first.
pub(super) struct Outgoing {
    pub(super) uploads: Vec<(UploadId, Arc<TaskOutput>)>,
    pub(super) report: Report,
}

impl ReportBuffer {
    /// Keeps what ended.
    pub(super) fn add(&mut self, now: MonoMs, stage: StageId, head: &GrantHead, end: TaskEnd) {
        self.gathered_since.get_or_insert(now);
        let item = Item::new(stage, head, end);
        let recent = self.gathered.iter_mut().rev().take(COALESCE_LOOK_BACK);
        for before in recent {
            if before.join(&item) {
                return;
            }
        }
        self.items += 1;
        self.bytes += item.bytes();
        self.gathered.push(item);
    }

    /// Says whether new tasks may begin: what they leave must not outgrow the bounds while the
    /// coordinator does not take it.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < UNSETTLED_BYTES_MAX && self.items < UNSETTLED_ITEMS_MAX
    }

    /// Says whether everything was settled.
    pub(super) const fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Counts the tasks of which the coordinator does not have the end for good.
    pub(super) fn tasks(&self) -> u64 {
        self.unsettled().map(|item| item.range.len()).sum()
    }

    /// Returns when a report should be made of what is gathered.
    pub(super) fn due(&self) -> Option<MonoMs> {
        self.gathered_since.map(|since| since.after(REPORT_DELAY_MS))
    }

    /// Says whether a report of what is gathered would be full.
    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= REPORT_ITEMS_MAX
    }

    /// Makes reports of what is gathered, and returns the number of the first of them.
    pub(super) fn number(&mut self) -> u64 {
        let first = self.last_sequence + 1;
        self.gathered_since = None;
        let mut items = Vec::new();
        let mut bytes = 0;
        for item in std::mem::take(&mut self.gathered) {
            bytes += item.message_bytes();
            items.push(item);
            if bytes >= REPORT_BYTES_MAX || items.len() >= REPORT_ITEMS_MAX {
                self.push(std::mem::take(&mut items));
                bytes = 0;
            }
        }
        if !items.is_empty() {
            self.push(items);
        }
        first
    }

    /// Returns the reports from number `first` on, as they travel. `next_upload` numbers uploads.
    pub(super) fn outgoing(
        &self,
        first: u64,
        mut next_upload: impl FnMut() -> UploadId,
    ) -> Vec<Outgoing> {
        let from = self.numbered.partition_point(|report| report.sequence < first);
        let reports = self.numbered.range(from..);
        reports.map(|report| report.outgoing(&mut next_upload)).collect()
    }

    /// Drops everything; reports that follow are numbered on.
    pub(super) fn forget(&mut self) {
        *self = Self { last_sequence: self.last_sequence, ..Self::default() };
    }

    /// Drops every report up to this number.
    pub(super) fn settle(&mut self, up_to: u64) {
        let settled = self.numbered.partition_point(|report| report.sequence <= up_to);
        for report in self.numbered.drain(..settled) {
            self.items -= report.items.len();
            self.bytes -= report.items.iter().map(Item::bytes).sum::<usize>();
        }
    }

    /// Returns everything that is not settled.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Item> {
        self.numbered.iter().flat_map(|report| &report.items).chain(&self.gathered)
    }

    /// Drops the tasks in `range` that came with this token, and counts them. Reports keep their numbers.
    pub(super) fn void(&mut self, stage: StageId, token: Token, range: TaskRange) -> u64 {
        let before = self.tasks();
        let lists = self.numbered.iter_mut().map(|report| &mut report.items);
        for items in lists.chain([&mut self.gathered]) {
            if items.iter().any(|item| item.is_hit(stage, token, range)) {
                *items = items.drain(..).flat_map(|item| item.cut(stage, token, range)).collect();
            }
        }
        self.numbered.retain(|report| !report.items.is_empty());
        if self.gathered.is_empty() {
            self.gathered_since = None;
        }
        let (items, bytes) =
            self.unsettled().fold((0, 0), |(items, bytes), item| (items + 1, bytes + item.bytes()));
        (self.items, self.bytes) = (items, bytes);
        before - self.tasks()
    }

    fn push(&mut self, items: Vec<Item>) {
        self.last_sequence += 1;
        self.numbered.push_back(Numbered { sequence: self.last_sequence, items });
    }
}

impl Numbered {
    fn outgoing(&self, next_upload: &mut impl FnMut() -> UploadId) -> Outgoing {
        let mut uploads = Vec::new();
        let mut wire = |item: &Item| {
            let output = item.output.as_ref().map(|output| {
                if output.bytes() <= INLINE_OUTPUT_BYTES_MAX {
                    let TaskOutput { stdout, stderr, result, .. } = TaskOutput::clone(output);
                    return Output::Inline { stdout, stderr, result };
                }
                let upload = next_upload();
                uploads.push((upload, Arc::clone(output)));
                Output::Uploaded(upload)
            });
            item.wire(output)
        };
        let items = self.items.iter().map(&mut wire).collect();
        Outgoing { report: Report { sequence: self.sequence, items }, uploads }
    }
}

impl Item {
    fn new(stage: StageId, head: &GrantHead, end: TaskEnd) -> Self {
        Self {
            token: head.token,
            stage,
            range: end.range,
            attempt: head.attempt,
            started: end.started,
            ended: end.ended,
            busy_ns: end.busy_ns,
            outcome: end.outcome,
            output: end.output,
        }
    }

    /// Takes in an end that continues it, before or behind; says whether it did.
    fn join(&mut self, other: &Self) -> bool {
        let plain = |item: &Self| item.outcome == Outcome::Done && item.output.is_none();
        let adjacent = self.range.end == other.range.start || other.range.end == self.range.start;
        if self.token != other.token
            || self.stage != other.stage
            || !adjacent
            || !plain(self)
            || !plain(other)
        {
            return false;
        }
        self.range = TaskRange::new(
            self.range.start.min(other.range.start),
            self.range.end.max(other.range.end),
        );
        self.started = self.started.min(other.started);
        self.ended = self.ended.max(other.ended);
        self.busy_ns = self.busy_ns.saturating_add(other.busy_ns);
        true
    }

    fn is_hit(&self, stage: StageId, token: Token, range: TaskRange) -> bool {
        self.stage == stage && self.token == token && !self.range.intersect(range).is_empty()
    }

    /// Returns what is left of it without the tasks in `range`, its run time shared out by tasks.
    fn cut(self, stage: StageId, token: Token, range: TaskRange) -> Vec<Self> {
        if !self.is_hit(stage, token, range) {
            return vec![self];
        }
        let each_ns = self.busy_ns / self.range.len().max(1);
        without(self.range, range)
            .map(|rest| Self {
                range: rest,
                busy_ns: each_ns.saturating_mul(rest.len()),
                ..self.clone()
            })
            .collect()
    }

    /// What it takes in memory.
    fn bytes(&self) -> usize {
        self.plain_bytes() + self.output.as_ref().map_or(0, |output| output.weight())
    }

    /// What it takes in a report, at most.
    fn message_bytes(&self) -> usize {
        let inline = |output: &Arc<TaskOutput>| match output.bytes() {
            bytes if bytes <= INLINE_OUTPUT_BYTES_MAX => bytes,
            _ => 0,
        };
        self.plain_bytes() + self.output.as_ref().map_or(0, inline)
    }

    /// What it takes without its output.
    fn plain_bytes(&self) -> usize {
        let message = match &self.outcome {
            Outcome::Failed(failure) => failure.message().map_or(0, str::len),
            Outcome::Done => 0,
        };
        REPORT_ITEM_BYTES + message
    }

    fn wire(&self, output: Option<Output>) -> ReportItem {
        ReportItem {
            token: self.token,
            stage: self.stage,
            range: self.range,
            attempt: self.attempt,
            started: self.started,
            ended: self.ended,
            busy_us: self.busy_ns / 1_000,
            outcome: self.outcome.clone(),
            output,
        }
    }
}
