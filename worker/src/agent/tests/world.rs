//! A small world around one agent: time stands still unless moved, and everything it says is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{
    Args, ItemSource, Keep, Numbers, OnLostLease, Run, StageOrder, Stdin, TaskTemplate,
};
use gridctl_jobs::template::{Part, Template};
use gridctl_jobs::units::{Cpus, WallMs};
use gridctl_transport::message::worker::{
    CoordinatorMessage, Grant, HeldAnswer, Hello, Outcome, Report, Verdict, Welcome, WorkerMessage,
};

use crate::agent::{
    Agent, AgentConfig, AgentEffect, AgentEvent, AgentExit, LinkEnd, LinkId, MonoMs, Notice, Now,
    Slice, SliceId, TaskEnd, TaskOutput,
};

pub(super) const LEASE_MS: u64 = 10_000;
pub(super) const GRACE_MS: u64 = 30_000;
/// A run time far over what a slice is made for, so that such tasks run singly.
pub(super) const LONG_NS: u64 = 1_000_000_000;

pub(super) struct World {
    pub(super) agent: Agent,
    pub(super) now: MonoMs,
    /// What the agent wanted and no check has taken yet.
    effects: Vec<AgentEffect>,
    /// Everything that was ever begun.
    begun: BTreeMap<SliceId, Slice>,
}

impl World {
    /// Makes an agent that has not begun to connect.
    pub(super) fn fresh(cpus: u32) -> Self {
        let config = AgentConfig {
            cpus: Cpus::whole(cpus),
            machine: [7; 16],
            process: [8; 16],
            life: 1,
            predecessor_gone: false,
            ends_trees: true,
            epoch_seen: Epoch(3),
            grace_ms: GRACE_MS,
            seed: 1,
        };
        Self {
            agent: Agent::new(config),
            now: MonoMs(1_000),
            effects: Vec::new(),
            begun: BTreeMap::new(),
        }
    }

    /// Makes an agent that was welcomed and knows [`sleepers`] and [`noops`].
    pub(super) fn connected(cpus: u32) -> Self {
        let mut world = Self::fresh(cpus);
        world.happens(AgentEvent::Start);
        world.come_up();
        world.welcome(&[]);
        world.hear(CoordinatorMessage::Stage(order(sleepers(), process())));
        world.hear(CoordinatorMessage::Stage(order(noops(), function())));
        world.effects.clear();
        world
    }

    pub(super) fn happens(&mut self, event: AgentEvent) {
        let wall = WallMs(1_700_000_000_000 + self.now.0);
        let now = Now { mono: self.now, wall };
        let from = self.effects.len();
        self.agent.step(now, event, &mut self.effects);
        for effect in &self.effects[from..] {
            if let AgentEffect::Begin(slice) = effect {
                self.begun.insert(slice.id, slice.clone());
            }
        }
        self.agent.check_invariants();
    }

    /// Lets time pass, with a tick at every deadline.
    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now.after(ms);
        while let Some(at) = self.agent.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.happens(AgentEvent::Tick);
            assert!(
                self.agent.next_deadline().is_none_or(|next| next > self.now),
                "a tick does what is due, so that the next is later"
            );
        }
        self.now = end;
    }

    /// Lets time pass with heartbeats that are answered.
    pub(super) fn wait_connected(&mut self, ms: u64) {
        let end = self.now.after(ms);
        while self.now < end {
            self.renew_lease_from(self.now);
            self.wait(end.since(self.now).min(LEASE_MS / 3));
        }
    }

    /// Lets the link that the agent wants come up, and returns what it says first.
    pub(super) fn come_up(&mut self) -> Hello {
        let link = self.link();
        self.happens(AgentEvent::LinkUp { link });
        let hello = self.said().into_iter().find_map(|message| match message {
            WorkerMessage::Hello(hello) => Some(hello),
            _ => None,
        });
        hello.expect("Hello comes first")
    }

    pub(super) fn break_link(&mut self) {
        let (link, why) = (self.link(), LinkEnd::Broken("cut".to_owned()));
        self.happens(AgentEvent::LinkDown { link, why });
    }

    /// Breaks the link and makes a new one, up to Hello.
    pub(super) fn reconnect(&mut self) -> Hello {
        self.break_link();
        self.wait(200);
        self.come_up()
    }

    pub(super) fn welcome(&mut self, answers: &[HeldAnswer]) {
        self.welcome_of(Epoch(5), answers);
    }

    pub(super) fn welcome_of(&mut self, epoch: Epoch, answers: &[HeldAnswer]) {
        self.hear(CoordinatorMessage::Welcome(Welcome {
            version: 1,
            epoch,
            grid: "home".to_owned(),
            lease_ms: LEASE_MS,
            heartbeat_ms: LEASE_MS / 3,
            answers: answers.to_vec(),
        }));
    }

    pub(super) fn hear(&mut self, message: CoordinatorMessage) {
        let link = self.link();
        self.happens(AgentEvent::Message { link, message });
    }

    /// Renews the lease as if the answered heartbeat had been sent at `sent`.
    pub(super) fn renew_lease_from(&mut self, sent: MonoMs) {
        let link = self.link();
        self.happens(AgentEvent::LeaseRenewed { link, sent, lease_ms: LEASE_MS });
    }

    pub(super) fn grant(&mut self, stage: StageId, counter: u64, start: u64, end: u64, lanes: u32) {
        self.hear(CoordinatorMessage::Assign(Grant {
            token: token(counter),
            stage,
            range: TaskRange::new(start, end),
            attempt: 1,
            lanes,
            items: None,
        }));
    }

    pub(super) fn stop(&mut self, stage: StageId, counter: u64, start: u64, end: u64) {
        let range = TaskRange::new(start, end);
        self.hear(CoordinatorMessage::Stop { token: token(counter), stage, range });
    }

    pub(super) fn take_back(&mut self, stage: StageId, counter: u64, tasks: u64) {
        self.hear(CoordinatorMessage::TakeBack { token: token(counter), stage, tasks });
    }

    /// Lets tasks of a slice succeed, each within `each_ns`.
    pub(super) fn done(&mut self, slice: SliceId, range: TaskRange, each_ns: u64) {
        self.end(slice, range, each_ns * range.len(), Outcome::Done, None);
    }

    /// Lets a whole slice succeed and return.
    pub(super) fn finish(&mut self, slice: SliceId, each_ns: u64) {
        self.done(slice, self.begun[&slice].range, each_ns);
        self.happens(AgentEvent::Returned { slice });
    }

    pub(super) fn end(
        &mut self,
        slice: SliceId,
        range: TaskRange,
        busy_ns: u64,
        outcome: Outcome,
        output: Option<TaskOutput>,
    ) {
        let ended = WallMs(1_700_000_000_000 + self.now.0);
        let output = output.map(Arc::new);
        let end = TaskEnd { range, started: ended, ended, busy_ns, outcome, output };
        self.happens(AgentEvent::Ended { slice, ends: vec![end] });
    }

    /// Takes the slices that the agent has begun since the last look.
    pub(super) fn slices(&mut self) -> Vec<(SliceId, TaskRange)> {
        self.take(|effect| match effect {
            AgentEffect::Begin(slice) => Some((slice.id, slice.range)),
            _ => None,
        })
    }

    /// Takes what the agent has said since the last look.
    pub(super) fn said(&mut self) -> Vec<WorkerMessage> {
        self.take(|effect| match effect {
            AgentEffect::Send { message, .. } => Some(message.clone()),
            _ => None,
        })
    }

    pub(super) fn reports(&mut self) -> Vec<Report> {
        let said = self.said().into_iter();
        said.filter_map(|message| match message {
            WorkerMessage::Report(report) => Some(report),
            _ => None,
        })
        .collect()
    }

    /// Takes the ranges that were given back since the last look.
    pub(super) fn given_back(&mut self) -> Vec<Vec<TaskRange>> {
        let said = self.said().into_iter();
        said.filter_map(|message| match message {
            WorkerMessage::GivenBack { ranges, .. } => Some(ranges),
            _ => None,
        })
        .collect()
    }

    pub(super) fn notices(&mut self) -> Vec<Notice> {
        self.take(|effect| match effect {
            AgentEffect::Notice(notice) => Some(notice.clone()),
            _ => None,
        })
    }

    pub(super) fn exit(&mut self) -> Option<AgentExit> {
        self.take(|effect| match effect {
            AgentEffect::Exit(exit) => Some(exit.clone()),
            _ => None,
        })
        .pop()
    }

    /// Takes the effects that `choose` knows, and leaves the others.
    pub(super) fn take<T>(&mut self, choose: impl Fn(&AgentEffect) -> Option<T>) -> Vec<T> {
        let (chosen, left): (Vec<_>, Vec<_>) =
            self.effects.drain(..).partition(|effect| choose(effect).is_some());
        self.effects = left;
        chosen.iter().filter_map(choose).collect()
    }

    pub(super) fn asked_to_reclaim(&mut self) -> Vec<SliceId> {
        self.take(|effect| match effect {
            AgentEffect::Reclaim { slice } => Some(*slice),
            _ => None,
        })
    }

    pub(super) fn cancelled(&mut self) -> Vec<(SliceId, TaskRange)> {
        self.take(|effect| match effect {
            AgentEffect::Cancel { slice, range } => Some((*slice, *range)),
            _ => None,
        })
    }

    pub(super) fn reclaimed(&mut self, slice: SliceId, start: u64) {
        let tail = TaskRange::new(start, self.begun[&slice].range.end);
        self.happens(AgentEvent::Reclaimed { slice, tail });
    }

    fn link(&self) -> LinkId {
        self.agent.session.link().expect("there is a link")
    }
}

pub(super) fn token(counter: u64) -> Token {
    Token { epoch: Epoch(5), counter }
}

/// A stage of processes with one cpu each.
pub(super) fn sleepers() -> StageId {
    stage(0)
}

/// A stage of functions with one cpu each.
pub(super) fn noops() -> StageId {
    stage(1)
}

pub(super) fn stage(index: u32) -> StageId {
    StageId { job: JobId(uuid()), stage: StageIndex(index) }
}

pub(super) fn process() -> Run {
    let text = |text: &str| Template { parts: vec![Part::Literal(text.to_owned())] };
    Run::Command { argv: vec![text("/bin/sleep"), text("1")] }
}

pub(super) fn function() -> Run {
    Run::Function { name: "noop".to_owned(), args: Args::Item }
}

pub(super) fn order(stage: StageId, run: Run) -> Arc<StageOrder> {
    order_of(stage, run, Cpus::ONE)
}

pub(super) fn order_of(stage: StageId, run: Run, cpus: Cpus) -> Arc<StageOrder> {
    let count = 1_000_000;
    Arc::new(StageOrder {
        job: stage.job,
        number: JobNumber(1),
        job_name: "trial".to_owned(),
        stage: stage.stage,
        stage_name: format!("stage-{}", stage.stage.0),
        count,
        task: Arc::new(TaskTemplate {
            run,
            env: BTreeMap::new(),
            stdin: Stdin::Empty,
            cwd: None,
            cpus,
            timeout: None,
            stdout: Keep::Keep,
            stderr: Keep::Keep,
            on_lost_lease: OnLostLease::Finish,
        }),
        source: ItemSource::Numbers(Numbers { first: 0, step: 1, numbers: count, chunk: None }),
    })
}

pub(super) fn answer(
    stage: StageId,
    counter: u64,
    start: u64,
    end: u64,
    verdict: Verdict,
) -> HeldAnswer {
    HeldAnswer { token: token(counter), stage, range: TaskRange::new(start, end), verdict }
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)
}
