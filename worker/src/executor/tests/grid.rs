//! An executor without an agent: slices go in, what became of their tasks comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageIndex, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::render::Renderer;
use gridctl_jobs::spec::{
    ItemSource, Keep, Numbers, OnLostLease, Run, StageOrder, Stdin, TaskTemplate,
};
use gridctl_jobs::state::Failure;
use gridctl_jobs::template::{Part, Template};
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::worker::Outcome;
use tempfile::TempDir;

use crate::agent::{AgentEvent, Slice, SliceId, TaskEnd, TaskOutput};
use crate::events::{Events, ToReactor};
use crate::executor::Executor;
use crate::functions::Functions;
use crate::scratch::ScratchRoot;
use crate::spill::Spill;

/// Far longer than anything here takes: a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Grid {
    pub(super) executor: Executor,
    pub(super) data: TempDir,
    inbox: Receiver<ToReactor>,
    slices: u64,
}

/// What became of a slice.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) ends: Vec<TaskEnd>,
    pub(super) reclaimed: Option<TaskRange>,
}

impl Grid {
    pub(super) fn new() -> Self {
        Self::with(Functions::new())
    }

    pub(super) fn with(functions: Functions) -> Self {
        let data = tempfile::tempdir().unwrap();
        // Beside each other, whatever else runs on this machine.
        let unique = format!("test-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let scratch = ScratchRoot::make(data.path(), &unique).unwrap();
        let (events, inbox) = Events::new();
        let spill = Spill::new(data.path());
        let executor = Executor::new(functions, scratch, spill, false, events);
        Self { executor, data, inbox, slices: 0 }
    }

    /// Begins a slice of a stage.
    pub(super) fn begin(&mut self, order: StageOrder, range: TaskRange) -> SliceId {
        self.slices += 1;
        let id = SliceId(self.slices);
        self.executor.begin(Slice {
            id,
            renderer: Arc::new(Renderer::new(order).unwrap()),
            token: Token { epoch: Epoch(1), counter: 7 },
            attempt: 1,
            range,
            items: None,
        });
        id
    }

    /// Waits until the slice that runs has returned.
    pub(super) fn wait(&mut self) -> Ran {
        self.wait_until(|_| false)
    }

    /// The same, or until `enough`.
    pub(super) fn wait_until(&mut self, enough: impl Fn(&Ran) -> bool) -> Ran {
        let mut ran = Ran::default();
        let deadline = Instant::now() + DEADLINE;
        while !enough(&ran) {
            self.executor.look_after(Instant::now());
            match self.inbox.recv_timeout(Duration::from_millis(5)) {
                Ok(ToReactor::Event(AgentEvent::Ended { ends, .. })) => ran.ends.extend(ends),
                Ok(ToReactor::Event(AgentEvent::Reclaimed { tail, .. })) => {
                    ran.reclaimed = Some(tail);
                }
                Ok(ToReactor::Event(AgentEvent::Returned { slice })) => {
                    self.executor.returned(slice);
                    return ran;
                }
                Ok(other) => panic!("no executor says {other:?}"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "the slice does not return; so far: {ran:?}");
        }
        ran
    }

    /// Runs one task of a stage.
    pub(super) fn run(&mut self, order: StageOrder) -> Ran {
        self.begin(order, TaskRange::one(0));
        self.wait()
    }

    /// Runs a command.
    pub(super) fn command(&mut self, argv: &[&str]) -> Ran {
        self.run(order(command(argv)))
    }

    /// Runs a script.
    pub(super) fn script(&mut self, text: &str) -> Ran {
        self.run(order(script(text)))
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        self.executor.kill_all();
    }
}

impl Ran {
    pub(super) fn outcome(&self) -> &Outcome {
        assert_eq!(self.ends.len(), 1, "{:?}", self.ends);
        &self.ends[0].outcome
    }

    pub(super) fn output(&self) -> TaskOutput {
        let output = self.ends[0].output.as_ref();
        output.map(|output| TaskOutput::clone(output)).unwrap_or_default()
    }

    pub(super) fn stdout(&self) -> String {
        assert_eq!(self.outcome(), &Outcome::Done, "{}", self.stderr());
        String::from_utf8(self.output().stdout).unwrap()
    }

    pub(super) fn stderr(&self) -> String {
        String::from_utf8(self.output().stderr).unwrap()
    }

    pub(super) fn could_not_start(&self) -> &str {
        let Outcome::Failed(Failure::CouldNotStart { message }) = self.outcome() else {
            panic!("it started: {self:?}")
        };
        message
    }

    pub(super) fn error(&self) -> &str {
        let Outcome::Failed(Failure::Error { message }) = self.outcome() else {
            panic!("no error: {self:?}")
        };
        message
    }
}

pub(super) fn text(text: &str) -> Template {
    Template { parts: vec![Part::Literal(text.to_owned())] }
}

pub(super) fn command(argv: &[&str]) -> Run {
    Run::Command { argv: argv.iter().map(|word| text(word)).collect() }
}

pub(super) fn script(text: &str) -> Run {
    Run::Script { text: text.to_owned() }
}

/// A stage over the numbers from 0.
pub(super) fn order(run: Run) -> StageOrder {
    let numbers = Numbers { first: 0, step: 1, numbers: 1_000_000, chunk: None };
    StageOrder {
        job: JobId(uuid::Uuid::from_u128(1)),
        number: JobNumber(3),
        job_name: "trial".to_owned(),
        stage: StageIndex(0),
        stage_name: "main".to_owned(),
        count: numbers.numbers,
        task: Arc::new(TaskTemplate {
            run,
            env: BTreeMap::new(),
            stdin: Stdin::Empty,
            cwd: None,
            cpus: Cpus::ONE,
            timeout: None,
            stdout: Keep::Keep,
            stderr: Keep::Keep,
            on_lost_lease: OnLostLease::Finish,
        }),
        source: ItemSource::Numbers(numbers),
    }
}

/// The same with other properties.
pub(super) fn order_with(run: Run, change: impl FnOnce(&mut TaskTemplate)) -> StageOrder {
    let mut order = order(run);
    change(Arc::make_mut(&mut order.task));
    order
}
