//! A coordinator as far as a worker can see one: it lets in, hears, and says what a test tells it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{
    Args, ItemSource, Keep, Numbers, OnLostLease, Run, StageOrder, Stdin, TaskTemplate,
};
use gridctl_jobs::template::{Part, Template};
use gridctl_jobs::units::Cpus;
use gridctl_transport::authority::Authority;
use gridctl_transport::endpoint::{
    Admitted, CloseCode, Connection, Listener, ServingCertificate, Timing,
};
use gridctl_transport::frame::{FrameReader, FrameWriter};
use gridctl_transport::identity::{Identity, Role};
use gridctl_transport::join_token::{JoinToken, Secret};
use gridctl_transport::message::join::JoinAnswer;
use gridctl_transport::message::worker::{
    CoordinatorMessage, Grant, Heartbeat, HeartbeatAnswer, HeldAnswer, Hello, Report, StreamKind,
    UploadId, Welcome, WorkerMessage,
};
use gridctl_worker::{Functions, Worker, WorkerConfig, WorkerHandle};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

pub(crate) const STAGE: StageId =
    StageId { job: JobId(uuid::Uuid::from_u128(1)), stage: StageIndex(0) };
/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
const LEASE_MS: u64 = 10_000;

pub(crate) struct Coordinator {
    pub(crate) token: JoinToken,
    sessions: UnboundedReceiver<Session>,
    /// How many identities were issued.
    pub(crate) issued: Arc<std::sync::atomic::AtomicU64>,
    _data: TempDir,
}

/// One connection of the worker.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    connection: Connection,
    writer: FrameWriter,
    heard: UnboundedReceiver<Heard>,
}

/// What the worker says on any of its streams.
pub(crate) enum Heard {
    Message(WorkerMessage),
    Upload(UploadId, Vec<u8>),
    Heartbeat,
}

impl Coordinator {
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let authority = Authority::open_or_create(data.path(), now).unwrap();
        let certificate = authority.coordinator_certificate("coordinator", now).unwrap();
        let certificate = ServingCertificate::new(certificate).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(loopback, &authority, certificate, Timing::DEFAULT).unwrap();
        let address = listener.local_address().unwrap().to_string();
        let token = JoinToken::new([address], authority.hash(), 1, Secret::random()).unwrap();
        let (arrived, sessions) = unbounded_channel();
        let issued = Arc::default();
        tokio::spawn(serve(listener, authority, Arc::clone(&issued), arrived));
        Self { token, sessions, issued, _data: data }
    }

    pub(crate) async fn worker(&self, data_dir: &Path, cpus: u32) -> WorkerHandle {
        let config = WorkerConfig {
            join: Some(self.token.clone()),
            name: Some("tester".to_owned()),
            cpus: Some(Cpus::whole(cpus)),
            ..WorkerConfig::new(data_dir)
        };
        Worker::start(config, Functions::new()).await.unwrap()
    }

    /// Waits for the worker to say Hello.
    pub(crate) async fn session(&mut self) -> Session {
        let session = timeout(DEADLINE, self.sessions.recv()).await;
        session.expect("the worker says Hello in time").unwrap()
    }
}

async fn serve(
    mut listener: Listener,
    authority: Authority,
    issued: Arc<std::sync::atomic::AtomicU64>,
    arrived: UnboundedSender<Session>,
) {
    while let Some(admitted) = listener.accept().await {
        match admitted.unwrap() {
            Admitted::Joining(mut peer) => {
                let request = peer.request().await.unwrap();
                let id = 1 + issued.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let identity =
                    Identity::new(Role::Worker, id, request.wanted_name.clone()).unwrap();
                let certificate = authority
                    .issue(&request.signing_request, &identity, SystemTime::now())
                    .unwrap();
                let answer = JoinAnswer::Enrolled {
                    name: request.wanted_name,
                    grid: "test".to_owned(),
                    certificate,
                    ca: authority.certificate().to_vec(),
                };
                peer.answer(&answer).await.unwrap();
            }
            Admitted::Peer(connection) => {
                tokio::spawn(greet(connection, arrived.clone()));
            }
        }
    }
}

async fn greet(connection: Connection, arrived: UnboundedSender<Session>) {
    let Ok((writer, mut reader)) = connection.accept_bi().await else { return };
    let Ok(StreamKind::Control) = reader.expect().await else { return };
    let Ok(WorkerMessage::Hello(hello)) = reader.expect().await else { return };
    let (hear, heard) = unbounded_channel();
    tokio::spawn(control(reader, hear.clone()));
    tokio::spawn(heartbeats(connection.clone(), hear.clone()));
    tokio::spawn(uploads(connection.clone(), hear));
    let _ = arrived.send(Session { hello, connection, writer, heard });
}

async fn control(mut reader: FrameReader, hear: UnboundedSender<Heard>) {
    while let Ok(Some(message)) = reader.read().await {
        let _ = hear.send(Heard::Message(message));
    }
}

async fn heartbeats(connection: Connection, hear: UnboundedSender<Heard>) {
    let Ok((mut writer, mut reader)) = connection.accept_bi().await else { return };
    let Ok(StreamKind::Heartbeats) = reader.expect().await else { return };
    while let Ok(Some(Heartbeat { sequence })) = reader.read().await {
        let _ = hear.send(Heard::Heartbeat);
        let answer = HeartbeatAnswer { sequence, lease_ms: LEASE_MS };
        if writer.write(&answer).await.is_err() {
            return;
        }
    }
}

async fn uploads(connection: Connection, hear: UnboundedSender<Heard>) {
    while let Ok(mut reader) = connection.accept_uni().await {
        let kind: StreamKind = reader.expect().await.unwrap();
        let StreamKind::Upload { upload, stdout_bytes, stderr_bytes, result_bytes } = kind else {
            panic!("{kind:?} on an upload")
        };
        let mut all = Vec::new();
        while let Some(bytes) = reader.read_raw(1 << 20).await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        let announced = stdout_bytes + stderr_bytes + result_bytes;
        assert_eq!(all.len(), announced as usize);
        let _ = hear.send(Heard::Upload(upload, all));
    }
}

impl Session {
    pub(crate) async fn welcome(&mut self, answers: Vec<HeldAnswer>) {
        let welcome = Welcome {
            version: 1,
            epoch: Epoch(9),
            grid: "test".to_owned(),
            lease_ms: LEASE_MS,
            heartbeat_ms: LEASE_MS / 3,
            answers,
        };
        self.say(CoordinatorMessage::Welcome(welcome)).await;
    }

    pub(crate) async fn say(&mut self, message: CoordinatorMessage) {
        self.writer.write(&message).await.unwrap();
    }

    pub(crate) async fn assign(&mut self, counter: u64, start: u64, end: u64, lanes: u32) {
        let grant = Grant {
            token: token(counter),
            stage: STAGE,
            range: TaskRange::new(start, end),
            attempt: 1,
            lanes,
            items: None,
        };
        self.say(CoordinatorMessage::Assign(grant)).await;
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = timeout(DEADLINE, self.heard.recv()).await;
        heard.expect("the worker says something in time").expect("the worker is there")
    }

    /// Waits for the next report, settles it, and takes the uploads that came before it.
    pub(crate) async fn report(&mut self) -> (Report, BTreeMap<u64, Vec<u8>>) {
        let mut uploads = BTreeMap::new();
        loop {
            match self.hear().await {
                Heard::Message(WorkerMessage::Report(report)) => return (report, uploads),
                Heard::Upload(UploadId(id), bytes) => drop(uploads.insert(id, bytes)),
                Heard::Message(_) | Heard::Heartbeat => {}
            }
        }
    }

    pub(crate) async fn settle(&mut self, report: &Report) {
        self.say(CoordinatorMessage::Settled { up_to: report.sequence }).await;
    }

    /// Waits until the worker has left in order.
    pub(crate) async fn goodbye(&mut self) {
        loop {
            if let Heard::Message(WorkerMessage::Goodbye) = self.hear().await {
                return;
            }
        }
    }

    /// Breaks the connection off.
    pub(crate) fn cut(self) {
        self.connection.close(CloseCode::Stopping, "cut by the test");
    }
}

pub(crate) fn token(counter: u64) -> Token {
    Token { epoch: Epoch(9), counter }
}

pub(crate) fn function(name: &str) -> CoordinatorMessage {
    stage(Run::Function { name: name.to_owned(), args: Args::Item })
}

pub(crate) fn command(argv: &[&str]) -> CoordinatorMessage {
    let text = |text: &&str| Template { parts: vec![Part::Literal((*text).to_owned())] };
    stage(Run::Command { argv: argv.iter().map(text).collect() })
}

fn stage(run: Run) -> CoordinatorMessage {
    let count = 10_000_000;
    CoordinatorMessage::Stage(Arc::new(StageOrder {
        job: STAGE.job,
        number: JobNumber(1),
        job_name: "trial".to_owned(),
        stage: STAGE.stage,
        stage_name: "main".to_owned(),
        count,
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
        source: ItemSource::Numbers(Numbers { first: 0, step: 1, numbers: count, chunk: None }),
    }))
}
