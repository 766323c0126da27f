//! What the first release said on the wire, later ones must still say to it, byte for byte. Until there is one,
//! `GRIDCTL_REWRITE=1 cargo test -p gridctl-transport message::` writes the bytes anew.

use std::fmt::Write as _;
use std::sync::Arc;

use gridctl_jobs::budget::Budget;
use gridctl_jobs::id::{Epoch, JobId, JobNumber, StageId, StageIndex, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::reason::WaitReason;
use gridctl_jobs::spec::{
    Args, ItemSource, Items, JobSpec, Keep, OnLostLease, Run, StageOrder, StageSpec, Stdin,
    TaskTemplate,
};
use gridctl_jobs::state::{Failure, JobState, TaskState};
use gridctl_jobs::units::{Cpus, WallMs};
use uuid::Uuid;

use super::client::*;
use super::join::*;
use super::worker::*;
use super::*;
use crate::frame::{Message, encode};

const GOLDEN: &str = include_str!("../../tests/golden/messages-1.txt");

const JOB: JobId = JobId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));
const STAGE: StageId = StageId { job: JOB, stage: StageIndex(2) };
const TOKEN: Token = Token { epoch: Epoch(300), counter: 4 };
const RANGE: TaskRange = TaskRange { start: 5, end: 600 };

/// The frames of a protocol, one a line: a name, and the bytes in hexadecimal.
struct Lines(String);

impl Lines {
    fn add<M: Message + PartialEq + std::fmt::Debug>(&mut self, name: &str, message: &M) {
        let frame = encode(message).unwrap();
        let (_, body) = frame.split_first_chunk::<4>().unwrap();
        assert_eq!(&postcard::from_bytes::<M>(body).unwrap(), message, "{name}");
        writeln!(self.0, "{name} {}", data_encoding::HEXLOWER.encode(&frame)).unwrap();
    }
}

fn task() -> Arc<TaskTemplate> {
    Arc::new(TaskTemplate {
        run: Run::Function { name: "noop".to_owned(), args: Args::Item },
        env: [].into(),
        stdin: Stdin::Empty,
        cwd: None,
        cpus: Cpus::ONE,
        timeout: None,
        stdout: Keep::Keep,
        stderr: Keep::Discard,
        on_lost_lease: OnLostLease::Finish,
    })
}

fn spec() -> JobSpec {
    let stage = StageSpec {
        name: "main".to_owned(),
        items: Items::Single,
        needs: vec![StageIndex(0)],
        budget: Budget { retries: 3, max_failures: Some(9), ..Budget::default() },
        task: task(),
    };
    JobSpec { name: "sweep".to_owned(), priority: -7, stages: vec![stage] }
}

fn target() -> Target {
    let (stage, range) = (Some("count".to_owned()), Some(RANGE));
    Target { job: JobRef::Number(JobNumber(7)), stage, range }
}

fn row() -> TaskRow {
    TaskRow {
        job: JobNumber(7),
        stage: "count".to_owned(),
        index: 12,
        state: TaskState::Failed,
        attempts: 2,
        worker: Some("node".to_owned()),
        failure: Some(Failure::Exit { code: 3 }),
        exit_code: Some(3),
        started_at: Some(WallMs(1)),
        finished_at: None,
        exact: true,
    }
}

fn status() -> JobStatus {
    let tasks = TaskCounts { total: 600, done: 500, failed: 1, ..TaskCounts::default() };
    let job = JobSummary {
        number: JobNumber(7),
        id: JOB,
        name: "sweep".to_owned(),
        owner: "ada".to_owned(),
        priority: 10,
        state: JobState::Running,
        tasks,
        submitted_at: WallMs(1),
        finished_at: None,
    };
    let stage = StageStatus {
        name: "count".to_owned(),
        needs: vec!["fit".to_owned()],
        tasks,
        skipped_because: None,
        ended_early_after: Some(9),
    };
    JobStatus {
        job,
        stages: vec![stage],
        last_failure: Some(row()),
        notice: Some("the disk is full".to_owned()),
    }
}

fn add_greetings(lines: &mut Lines) {
    lines.add("client-hello", &ClientHello { version: 1, epoch_seen: Epoch(300) });
    let grid = "lab".to_owned();
    let welcome = ClientWelcome::Welcome { version: 1, epoch: Epoch(300), grid };
    lines.add("client-welcome", &welcome);
    let turned = [
        ("version", Turned::Version { ours_min: 1, ours_max: 2, theirs: 3 }),
        ("old", Turned::OldCoordinator { ours: Epoch(1), seen: Epoch(2) }),
        ("in-use", Turned::IdentityInUse { name: "node".to_owned() }),
        ("unknown", Turned::UnknownIdentity),
        ("stopping", Turned::Stopping),
        ("violation", Turned::Violation { what: "x".to_owned() }),
    ];
    for (name, turned) in turned {
        lines.add(&format!("turned-{name}"), &ClientWelcome::Turned(turned));
    }
    let request = JoinRequest {
        version: 1,
        token_id: 9,
        secret: *b"0123456789abcdef",
        signing_request: vec![0x30, 0],
        wanted_name: "node".to_owned(),
        as_worker: true,
    };
    lines.add("join-request", &request);
    let enrolled = JoinAnswer::Enrolled {
        name: "node".to_owned(),
        grid: "lab".to_owned(),
        certificate: vec![1],
        ca: vec![2],
    };
    lines.add("join-enrolled", &enrolled);
    lines.add("join-refused", &JoinAnswer::Refused { why: "no".to_owned() });
}

fn add_requests(lines: &mut Lines) {
    let output = Request::Output {
        target: target(),
        stream: OutputStream::Stderr,
        follow: true,
        attempt: Some(1),
        stages: OutputStages::Last,
    };
    let tasks = Request::Tasks { target: target(), states: vec![TaskState::Failed] };
    let create =
        Request::CreateToken { role: TokenRole::Admin, uses: Some(1), valid_ms: 3_600_000 };
    let requests = [
        ("submit", Request::Submit { id: JOB, spec: spec() }),
        ("cancel", Request::Cancel { target: target() }),
        ("jobs", Request::Jobs { open_only: true }),
        ("status", Request::Status { job: JobRef::Last }),
        ("tasks", tasks),
        ("watch", Request::Watch { job: JobRef::Id(JOB) }),
        ("output", output),
        ("explain", Request::Explain { job: JobRef::Name("sweep".to_owned()) }),
        ("workers", Request::Workers),
        ("create-token", create),
        ("tokens", Request::Tokens),
        ("revoke-token", Request::RevokeToken { token_id: 9 }),
        ("retry", Request::Retry { target: target(), all: true }),
        ("forget-job", Request::Forget { job: JobRef::Number(JobNumber(7)) }),
        ("drain-worker", Request::DrainWorker { worker: "node".to_owned() }),
        ("resume-worker", Request::ResumeWorker { worker: "4".to_owned() }),
        ("backup", Request::Backup),
    ];
    for (name, request) in requests {
        lines.add(name, &request);
    }
}

fn add_answers(lines: &mut Lines) {
    let explanation = Explanation {
        stage: "count".to_owned(),
        tasks: TaskCounts::default(),
        reasons: vec![WaitReason::NoWorkers],
        workers: vec![],
    };
    let worker = WorkerRow {
        name: "node".to_owned(),
        id: 4,
        state: WorkerState::Suspect,
        cpus: Cpus::whole(8),
        reserved: Cpus::ONE,
        running: 1,
        last_heartbeat_ms: Some(5),
        enrolled_at: WallMs(1),
    };
    let created =
        Answer::TokenCreated { token_id: 9, token: "grid1-a".to_owned(), expires_at: WallMs(1) };
    let token = TokenRow {
        token_id: 9,
        role: TokenRole::User,
        uses_left: None,
        used: 1,
        created_at: WallMs(1),
        expires_at: WallMs(2),
        revoked: false,
    };
    let refused = Refused { kind: RefusedKind::NotFound, message: "no job 9".to_owned() };
    let draining = Answer::WorkerDraining { name: "node".to_owned(), running: 3, new: true };
    let output = Answer::Output { stage: StageIndex(2), index: 12, attempt: 1, bytes: vec![10] };
    let answers = [
        ("submitted", Answer::Submitted { id: JOB, number: JobNumber(7), new: true }),
        ("cancelled", Answer::Cancelled { number: JobNumber(7), tasks: 100 }),
        ("answer-jobs", Answer::Jobs(vec![status().job])),
        ("answer-status", Answer::Status(Box::new(status()))),
        ("answer-tasks", Answer::Tasks(vec![row()])),
        ("answer-output", output),
        ("explained", Answer::Explained(vec![explanation])),
        ("answer-workers", Answer::Workers(vec![worker])),
        ("token-created", created),
        ("answer-tokens", Answer::Tokens(vec![token])),
        ("token-revoked", Answer::TokenRevoked),
        ("end", Answer::End),
        ("refused", Answer::Refused(refused)),
        ("retried", Answer::Retried { number: JobNumber(7), tasks: 100 }),
        ("forgotten", Answer::Forgotten { number: JobNumber(7) }),
        ("worker-draining", draining),
        ("worker-resumed", Answer::WorkerResumed { name: "node".to_owned(), new: false }),
        ("answer-backup", Answer::Backup { bytes: vec![1, 2, 3] }),
    ];
    for (name, answer) in answers {
        lines.add(name, &answer);
    }
}

fn add_worker_messages(lines: &mut Lines) {
    let upload = StreamKind::Upload {
        upload: UploadId(1),
        stdout_bytes: 70_000,
        stderr_bytes: 0,
        result_bytes: 1,
    };
    lines.add("stream-control", &StreamKind::Control);
    lines.add("stream-heartbeats", &StreamKind::Heartbeats);
    lines.add("stream-upload", &upload);
    let held = Held { token: TOKEN, stage: STAGE, range: RANGE, attempt: 1, phase: Phase::Running };
    let hello = Hello {
        version: 1,
        epoch_seen: Epoch(300),
        machine: [7; 16],
        cpus: Cpus::whole(2),
        wall: WallMs(1),
        held: vec![held],
        process: [8; 16],
        life: 3,
        connection: 2,
        predecessor_gone: true,
        ends_trees: false,
    };
    let item = |outcome, output| ReportItem {
        token: TOKEN,
        stage: STAGE,
        range: RANGE,
        attempt: 1,
        started: WallMs(1),
        ended: WallMs(2),
        busy_us: 1000,
        outcome,
        output,
    };
    let inline = Output::Inline { stdout: vec![10], stderr: vec![], result: vec![] };
    let failed = Outcome::Failed(Failure::Signal { signal: 9 });
    let items = vec![
        item(Outcome::Done, Some(inline)),
        item(failed, Some(Output::Uploaded(UploadId(1)))),
        item(Outcome::Done, None),
    ];
    let started = StartedTasks { token: TOKEN, stage: STAGE, range: RANGE };
    let messages = [
        ("hello", WorkerMessage::Hello(hello)),
        ("started", WorkerMessage::Started { tasks: vec![started] }),
        ("report", WorkerMessage::Report(Report { sequence: 8, items })),
        (
            "given-back",
            WorkerMessage::GivenBack { token: TOKEN, stage: STAGE, ranges: vec![RANGE] },
        ),
        ("goodbye", WorkerMessage::Goodbye),
    ];
    for (name, message) in messages {
        lines.add(name, &message);
    }
    lines.add("heartbeat", &Heartbeat { sequence: 200 });
    lines.add("heartbeat-answer", &HeartbeatAnswer { sequence: 200, lease_ms: 10_000 });
}

fn add_coordinator_messages(lines: &mut Lines) {
    let verdicts = [Verdict::Adopt, Verdict::Done, Verdict::Void, Verdict::UnknownJob];
    let answers = verdicts
        .map(|verdict| HeldAnswer { token: TOKEN, stage: STAGE, range: RANGE, verdict })
        .to_vec();
    let welcome = Welcome {
        version: 1,
        epoch: Epoch(300),
        grid: "lab".to_owned(),
        lease_ms: 10_000,
        heartbeat_ms: 3_333,
        answers,
    };
    let order = StageOrder {
        job: JOB,
        number: JobNumber(7),
        job_name: "sweep".to_owned(),
        stage: StageIndex(2),
        stage_name: "count".to_owned(),
        count: 600,
        task: task(),
        source: ItemSource::Texts,
    };
    let items = Some(["a", "", "bc"].into_iter().collect());
    let grant = Grant { token: TOKEN, stage: STAGE, range: RANGE, attempt: 1, lanes: 2, items };
    let messages = [
        ("welcome", CoordinatorMessage::Welcome(welcome)),
        ("turned", CoordinatorMessage::Turned(Turned::Stopping)),
        ("stage", CoordinatorMessage::Stage(Arc::new(order))),
        ("assign", CoordinatorMessage::Assign(grant)),
        ("take-back", CoordinatorMessage::TakeBack { token: TOKEN, stage: STAGE, tasks: 3 }),
        ("stop", CoordinatorMessage::Stop { token: TOKEN, stage: STAGE, range: RANGE }),
        ("settled", CoordinatorMessage::Settled { up_to: 8 }),
        ("forget", CoordinatorMessage::Forget { stage: STAGE }),
        ("stopping", CoordinatorMessage::Stopping),
    ];
    for (name, message) in messages {
        lines.add(name, &message);
    }
}

/// `GRIDCTL_REWRITE=1` writes the golden bytes anew.
#[test]
fn every_message_is_written_as_the_first_version_wrote_it() {
    let mut lines = Lines(String::new());
    add_greetings(&mut lines);
    add_requests(&mut lines);
    add_answers(&mut lines);
    add_worker_messages(&mut lines);
    add_coordinator_messages(&mut lines);
    if std::env::var_os("GRIDCTL_REWRITE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages-1.txt");
        std::fs::write(path, lines.0).unwrap();
        return;
    }
    for (written, golden) in lines.0.lines().zip(GOLDEN.lines()) {
        assert_eq!(written, golden);
    }
    assert_eq!(lines.0.lines().count(), GOLDEN.lines().count(), "{}", lines.0);
}
