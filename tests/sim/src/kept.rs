//! What a worker must still have: results that ended in its hands and that nobody took.

use std::collections::{BTreeMap, BTreeSet};

use gridctl_jobs::id::{StageId, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_transport::message::worker::{CoordinatorMessage, Hello, Report, Verdict};
use gridctl_worker::agent::TaskEnd;

use crate::invariants::{Rule, Violation, check, name};

/// The results of one life of a worker that are neither settled nor void.
#[derive(Debug, Default)]
pub(crate) struct KeptResults {
    open: BTreeSet<(StageId, Token, u64)>,
    reported: BTreeMap<u64, Vec<(StageId, Token, TaskRange)>>,
}

impl KeptResults {
    /// Takes in that tasks have ended.
    pub(crate) fn ended(&mut self, stage: StageId, token: Token, ends: &[TaskEnd]) {
        let indexes = ends.iter().flat_map(|end| end.range.start..end.range.end);
        self.open.extend(indexes.map(|index| (stage, token, index)));
    }

    /// Takes in what a report tells.
    pub(crate) fn sent(&mut self, report: &Report) {
        let items = report.items.iter().map(|item| (item.stage, item.token, item.range));
        self.reported.insert(report.sequence, items.collect());
    }

    /// Takes in what the coordinator says of results.
    pub(crate) fn heard(&mut self, message: &CoordinatorMessage) {
        match message {
            CoordinatorMessage::Settled { up_to } => {
                let later = self.reported.split_off(&(up_to + 1));
                for (stage, token, range) in
                    std::mem::replace(&mut self.reported, later).into_values().flatten()
                {
                    self.take(stage, token, range);
                }
            }
            CoordinatorMessage::Stop { token, stage, range } => self.take(*stage, *token, *range),
            CoordinatorMessage::Welcome(welcome) => {
                for answer in
                    welcome.answers.iter().filter(|answer| answer.verdict != Verdict::Adopt)
                {
                    self.take(answer.stage, answer.token, answer.range);
                }
            }
            CoordinatorMessage::Turned(_)
            | CoordinatorMessage::Stage(_)
            | CoordinatorMessage::Assign(_)
            | CoordinatorMessage::TakeBack { .. }
            | CoordinatorMessage::Forget { .. }
            | CoordinatorMessage::Stopping => {}
        }
    }

    /// Checks that a Hello announces all of them.
    pub(crate) fn check_hello(&self, hello: &Hello) -> Result<(), Violation> {
        for (stage, token, index) in &self.open {
            let announced = hello.held.iter().any(|held| {
                held.stage == *stage && held.token == *token && held.range.contains(*index)
            });
            check(announced, Rule::ResultsAreKept, || {
                format!("{} ended under {token}, and is not announced", name(*stage, *index))
            })?;
        }
        Ok(())
    }

    fn take(&mut self, stage: StageId, token: Token, range: TaskRange) {
        let hit: Vec<u64> = self
            .open
            .range((stage, token, range.start)..(stage, token, range.end))
            .map(|(_, _, index)| *index)
            .collect();
        for index in hit {
            self.open.remove(&(stage, token, index));
        }
    }
}
