//! The whole worker over real QUIC, with a coordinator that says what the test tells it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test takes what it looks for")]

#[path = "whole/coordinator.rs"]
mod coordinator;

use std::sync::atomic::Ordering;
use std::time::Instant;

use gridctl_jobs::range::TaskRange;
use gridctl_transport::message::Turned;
use gridctl_transport::message::worker::{
    CoordinatorMessage, HeldAnswer, Outcome, Output, Phase, Verdict,
};
use gridctl_worker::WorkerEnd;
use gridctl_worker::agent::AgentExit;

use coordinator::{Coordinator, Heard, STAGE, Session, command, function, token};

/// Has a grant run to its end, and counts the reports.
async fn run_all(session: &mut Session, counter: u64, tasks: TaskRange, lanes: u32) -> usize {
    session.assign(counter, tasks.start, tasks.end, lanes).await;
    let (mut done, mut reports) = (0, 0);
    while done < tasks.len() {
        let (report, _) = session.report().await;
        for item in &report.items {
            assert_eq!(item.outcome, Outcome::Done);
            done += item.range.len();
        }
        session.settle(&report).await;
        reports += 1;
    }
    reports
}

#[tokio::test]
async fn a_worker_joins_works_and_leaves_in_order() {
    let mut coordinator = Coordinator::start();
    let data = tempfile::tempdir().unwrap();
    let mut worker = coordinator.worker(data.path(), 2).await;
    assert_eq!(worker.name(), "tester");
    let mut session = coordinator.session().await;
    assert!(session.hello.held.is_empty());
    session.welcome(vec![]).await;
    assert!(matches!(session.hear().await, Heard::Heartbeat), "the first comes at once");
    session.say(function("noop")).await;
    let reports = run_all(&mut session, 1, TaskRange::new(0, 50_000), 2).await;
    assert!(reports < 500, "{reports}");
    worker.drain();
    session.goodbye().await;
    assert_eq!(worker.wait().await, WorkerEnd::Agent(AgentExit::Drained));
}

#[tokio::test]
async fn the_same_token_joins_once() {
    let mut coordinator = Coordinator::start();
    let data = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut worker = coordinator.worker(data.path(), 1).await;
        let mut session = coordinator.session().await;
        session.welcome(vec![]).await;
        worker.stop();
        assert_eq!(worker.wait().await, WorkerEnd::Stopped);
    }
    assert_eq!(coordinator.issued.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_large_output_is_complete_before_the_report_that_names_it() {
    let mut coordinator = Coordinator::start();
    let data = tempfile::tempdir().unwrap();
    let _worker = coordinator.worker(data.path(), 1).await;
    let mut session = coordinator.session().await;
    session.welcome(vec![]).await;
    session.say(command(&["head", "-c", "3000000", "/dev/zero"])).await;
    session.assign(1, 0, 1, 1).await;
    let mut upload = None;
    let named = loop {
        match session.hear().await {
            Heard::Upload(id, bytes) => upload = Some((id, bytes.len())),
            Heard::Message(gridctl_transport::message::worker::WorkerMessage::Report(report)) => {
                break report.items[0].output.clone();
            }
            _ => {}
        }
    };
    let Some(Output::Uploaded(id)) = named else { panic!("{named:?}") };
    // The two streams are read side by side, so that the report may be seen first.
    while upload.is_none() {
        if let Heard::Upload(id, bytes) = session.hear().await {
            upload = Some((id, bytes.len()));
        }
    }
    assert_eq!(upload, Some((id, 3_000_000)));
}

#[tokio::test]
async fn a_lost_coordinator_costs_no_task() {
    let mut coordinator = Coordinator::start();
    let data = tempfile::tempdir().unwrap();
    let _worker = coordinator.worker(data.path(), 1).await;
    let mut session = coordinator.session().await;
    session.welcome(vec![]).await;
    let go = data.path().join("go");
    let wait = format!("while ! [ -e {} ]; do sleep 0.01; done", go.display());
    session.say(command(&["sh", "-c", &wait])).await;
    session.assign(1, 0, 2, 1).await;
    // It is announced once it has run for a while.
    while !matches!(session.hear().await, Heard::Message(_)) {}
    session.cut();
    let mut session = coordinator.session().await;
    let phases: Vec<_> = session.hello.held.iter().map(|held| (held.range, held.phase)).collect();
    assert_eq!(phases, [(TaskRange::one(0), Phase::Running), (TaskRange::one(1), Phase::Queued)]);
    let adopt =
        |range| HeldAnswer { token: token(1), stage: STAGE, range, verdict: Verdict::Adopt };
    session.welcome(vec![adopt(TaskRange::new(0, 2))]).await;
    std::fs::write(&go, "").unwrap();
    let mut done = 0;
    while done < 2 {
        let (report, _) = session.report().await;
        done += report.items.iter().map(|item| item.range.len()).sum::<u64>();
        assert!(report.items.iter().all(|item| item.outcome == Outcome::Done));
    }
}

#[tokio::test]
async fn a_worker_that_is_not_known_any_more_ends_and_says_what_to_do() {
    let mut coordinator = Coordinator::start();
    let data = tempfile::tempdir().unwrap();
    let mut worker = coordinator.worker(data.path(), 1).await;
    let mut session = coordinator.session().await;
    session.say(CoordinatorMessage::Turned(Turned::UnknownIdentity)).await;
    let WorkerEnd::Agent(AgentExit::Refused(why)) = worker.wait().await else { panic!("it ends") };
    assert!(why.contains("join again"), "{why}");
}

#[tokio::test]
async fn a_handle_that_is_dropped_stops_the_worker_and_its_processes() {
    let mut coordinator = Coordinator::start();
    let data = tempfile::tempdir().unwrap();
    let worker = coordinator.worker(data.path(), 1).await;
    let mut session = coordinator.session().await;
    session.welcome(vec![]).await;
    session.say(command(&["sleep", "1000"])).await;
    session.assign(1, 0, 1, 1).await;
    while !matches!(session.hear().await, Heard::Message(_)) {}
    drop(worker);
    // The data directory is free once everything has ended.
    let deadline = Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let config = gridctl_worker::WorkerConfig::new(data.path());
        match gridctl_worker::Worker::start(config, gridctl_worker::Functions::new()).await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}
