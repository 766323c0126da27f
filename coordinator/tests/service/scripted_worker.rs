//! A worker that does as the test says.

use gridctl_jobs::id::Epoch;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::units::{Cpus, WallMs};
use gridctl_transport::endpoint::{Connection, LostConnection};
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::message::PROTOCOL_VERSION;
use gridctl_transport::message::worker::{
    CoordinatorMessage, Grant, Heartbeat, HeartbeatAnswer, Held, Hello, Outcome, Output, Report,
    ReportItem, StreamKind, Welcome, WorkerMessage,
};

use crate::world::within;

/// A worker's connection with an open control stream.
pub(crate) struct ScriptedWorker {
    pub(crate) connection: Connection,
    pub(crate) to: FrameWriter,
    pub(crate) from: FrameReader,
    sequence: u64,
}

/// What a worker says of itself.
pub(crate) fn hello(cpus: u32, held: Vec<Held>) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        epoch_seen: Epoch(0),
        machine: [7; 16],
        cpus: Cpus::whole(cpus),
        wall: WallMs(0),
        held,
        process: [8; 16],
        life: 1,
        connection: 1,
        predecessor_gone: false,
        ends_trees: false,
    }
}

impl ScriptedWorker {
    /// Opens the control stream and says Hello.
    pub(crate) async fn begin(connection: Connection, hello: Hello) -> Self {
        let (mut to, from) = connection.open_bi().await.unwrap();
        to.write(&StreamKind::Control).await.unwrap();
        to.write(&WorkerMessage::Hello(hello)).await.unwrap();
        Self { connection, to, from, sequence: 0 }
    }

    /// Says Hello and is welcomed.
    pub(crate) async fn welcomed(connection: Connection, hello: Hello) -> (Self, Welcome) {
        let mut worker = Self::begin(connection, hello).await;
        match worker.next().await {
            CoordinatorMessage::Welcome(welcome) => (worker, welcome),
            other => panic!("not welcomed: {other:?}"),
        }
    }

    pub(crate) async fn next(&mut self) -> CoordinatorMessage {
        within("a message for the worker", self.from.expect()).await.unwrap()
    }

    /// Returns the next grant, passing over what else comes.
    pub(crate) async fn grant(&mut self) -> Grant {
        loop {
            if let CoordinatorMessage::Assign(grant) = self.next().await {
                return grant;
            }
        }
    }

    /// Waits until everything reported so far is durable.
    pub(crate) async fn settled(&mut self) {
        loop {
            if let CoordinatorMessage::Settled { up_to } = self.next().await
                && up_to >= self.sequence
            {
                return;
            }
        }
    }

    pub(crate) async fn say(&mut self, message: &WorkerMessage) {
        self.to.write(message).await.unwrap();
    }

    pub(crate) async fn report(&mut self, items: Vec<ReportItem>) {
        self.sequence += 1;
        let report = Report { sequence: self.sequence, items };
        self.say(&WorkerMessage::Report(report)).await;
    }

    /// Runs `tasks` tasks: whatever is granted is reported done with what `print` gives for its index.
    pub(crate) async fn run(&mut self, tasks: u64, print: impl Fn(u64) -> String) {
        let mut left = tasks;
        while left > 0 {
            let grant = self.grant().await;
            let one = |index| item(&grant, TaskRange::one(index), Some(stdout(&print(index))));
            self.report((grant.range.start..grant.range.end).map(one).collect()).await;
            left -= grant.range.len();
        }
    }

    /// Waits until the coordinator has closed the connection.
    pub(crate) async fn closed(&self) -> LostConnection {
        within("the end of the connection", self.connection.closed()).await
    }
}

/// A worker's heartbeat stream.
pub(crate) struct Heart {
    to: FrameWriter,
    from: FrameReader,
    sequence: u64,
}

impl Heart {
    pub(crate) async fn open(connection: &Connection) -> Self {
        let (mut to, from) = connection.open_bi().await.unwrap();
        to.write(&StreamKind::Heartbeats).await.unwrap();
        Self { to, from, sequence: 0 }
    }

    pub(crate) async fn send(&mut self) -> Result<(), gridctl_transport::frame::WriteFrameError> {
        self.sequence += 1;
        self.to.write(&Heartbeat { sequence: self.sequence }).await
    }

    /// Beats once; the answer must be to this beat.
    pub(crate) async fn beat(&mut self) -> HeartbeatAnswer {
        self.send().await.unwrap();
        let answer: HeartbeatAnswer =
            within("the answer to a heartbeat", self.from.expect()).await.unwrap();
        assert_eq!(answer.sequence, self.sequence);
        answer
    }
}

/// Says that tasks of a grant are done.
pub(crate) fn item(grant: &Grant, range: TaskRange, output: Option<Output>) -> ReportItem {
    ReportItem {
        token: grant.token,
        stage: grant.stage,
        range,
        attempt: grant.attempt,
        started: WallMs(1_000),
        ended: WallMs(2_000),
        busy_us: 1_000_000,
        outcome: Outcome::Done,
        output,
    }
}

pub(crate) fn stdout(text: &str) -> Output {
    Output::Inline { stdout: text.as_bytes().to_vec(), stderr: Vec::new(), result: Vec::new() }
}
