//! A client that asks and collects what comes back.

use gridctl_jobs::id::{JobId, JobNumber};
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::JobState;
use gridctl_transport::credentials::Credentials;
use gridctl_transport::endpoint::Connection;
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::handshake::{EpochMemory, Welcomed, greet};
use gridctl_transport::message::client::{
    Answer, JobRef, JobStatus, OutputStages, OutputStream, Refused, Request, Target,
};

use crate::world::within;

/// A connected client.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) welcomed: Welcomed,
}

/// A request whose answers are still coming.
pub(crate) struct Answers {
    _writer: FrameWriter,
    reader: FrameReader,
}

impl Client {
    pub(crate) async fn greet(connection: Connection, credentials: &Credentials) -> Self {
        let mut memory = EpochMemory::open(credentials).unwrap();
        let welcomed = within("a welcome", greet(&connection, &mut memory)).await.unwrap();
        Self { connection, welcomed }
    }

    pub(crate) async fn begin(&self, request: Request) -> Answers {
        let (mut writer, reader) = self.connection.open_bi().await.unwrap();
        within("a request to go out", writer.write(&request)).await.unwrap();
        Answers { _writer: writer, reader }
    }

    /// Asks, and returns all answers but `End`.
    pub(crate) async fn ask(&self, request: Request) -> Vec<Answer> {
        let mut answers = self.begin(request).await;
        let mut all = Vec::new();
        while let Some(answer) = answers.next().await {
            all.push(answer);
        }
        all
    }

    pub(crate) async fn ask_one(&self, request: Request) -> Answer {
        let mut answers = self.ask(request).await;
        assert_eq!(answers.len(), 1, "one answer is due: {answers:?}");
        answers.remove(0)
    }

    pub(crate) async fn submit(&self, id: JobId, spec: &JobSpec) -> JobNumber {
        match self.ask_one(Request::Submit { id, spec: spec.clone() }).await {
            Answer::Submitted { number, .. } => number,
            other => panic!("not submitted: {other:?}"),
        }
    }

    pub(crate) async fn status(&self, number: JobNumber) -> JobStatus {
        match self.ask_one(Request::Status { job: JobRef::Number(number) }).await {
            Answer::Status(status) => *status,
            other => panic!("not a status: {other:?}"),
        }
    }

    /// Watches a job to its end.
    pub(crate) async fn wait(&self, number: JobNumber) -> JobState {
        let mut answers = self.begin(Request::Watch { job: JobRef::Number(number) }).await;
        let mut last = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Answer::Status(status) => last = Some(status.job.state),
                other => panic!("not a status: {other:?}"),
            }
        }
        last.expect("a watch begins with the status as it is")
    }

    pub(crate) async fn refused(&self, request: Request) -> Refused {
        match self.ask_one(request).await {
            Answer::Refused(refused) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Returns all output of a job, as it would be printed.
    pub(crate) async fn output(&self, number: JobNumber, stream: OutputStream) -> String {
        let request = output_of(target(number), stream, false);
        let mut text = Vec::new();
        for answer in self.ask(request).await {
            match answer {
                Answer::Output { bytes, .. } => text.extend_from_slice(&bytes),
                other => panic!("not output: {other:?}"),
            }
        }
        String::from_utf8(text).unwrap()
    }
}

impl Answers {
    /// Returns the next answer; `None` at `End` or the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        match within("an answer", self.reader.read::<Answer>()).await.unwrap() {
            Some(Answer::End) | None => None,
            answer => answer,
        }
    }
}

pub(crate) fn target(number: JobNumber) -> Target {
    Target { job: JobRef::Number(number), stage: None, range: None }
}

pub(crate) fn output_of(target: Target, stream: OutputStream, follow: bool) -> Request {
    Request::Output { target, stream, follow, attempt: None, stages: OutputStages::All }
}
