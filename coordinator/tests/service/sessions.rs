//! Leases, heartbeats, and what becomes of a worker's session.

use std::time::Duration;

use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::JobState;
use gridctl_transport::message::Turned;
use gridctl_transport::message::client::{Answer, Request, WorkerState};
use gridctl_transport::message::worker::{CoordinatorMessage, WorkerMessage};

use crate::client::Client;
use crate::scripted_worker::{Heart, ScriptedWorker, hello, item};
use crate::world::{PATIENCE, World, job, new_id, within};

async fn worker(world: &World, name: &str) -> ScriptedWorker {
    let credentials = world.enrol_worker(name).await;
    ScriptedWorker::welcomed(world.connect(&credentials).await, hello(1, Vec::new())).await.0
}

/// Waits until the table of workers shows `expected`, in order of enrolment.
async fn until_workers_are(client: &Client, expected: &[WorkerState]) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let Answer::Workers(rows) = client.ask_one(Request::Workers).await else {
            panic!("workers")
        };
        let states: Vec<WorkerState> = rows.iter().map(|row| row.state).collect();
        if states == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < give_up, "still {states:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn silent_worker_is_lost_after_its_lease_and_its_task_goes_to_another() {
    let world = World::with_lease(Duration::from_millis(600)).await;
    let client = world.admin().await;
    let mut silent = worker(&world, "silent").await;
    let number = client.submit(new_id(), &job("j", &[("only", 1)])).await;
    let lost = silent.grant().await;
    let mut other = worker(&world, "other").await;
    let mut heart = Heart::open(&other.connection).await;
    let grant = loop {
        tokio::select! {
            grant = other.grant() => break grant,
            () = tokio::time::sleep(Duration::from_millis(100)) => drop(heart.beat().await),
        }
    };
    assert!(grant.token > lost.token && grant.range == lost.range);
    silent.closed().await;
    other.report(vec![item(&grant, TaskRange::one(0), None)]).await;
    assert_eq!(client.wait(number).await, JobState::Done);
}

#[tokio::test]
async fn heartbeats_keep_a_lease_and_every_one_is_answered() {
    let world = World::with_lease(Duration::from_millis(500)).await;
    let client = world.admin().await;
    let worker = worker(&world, "box").await;
    let mut heart = Heart::open(&worker.connection).await;
    let until = tokio::time::Instant::now() + Duration::from_millis(1_500);
    while tokio::time::Instant::now() < until {
        assert_eq!(heart.beat().await.lease_ms, 500);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_workers_are(&client, &[WorkerState::Ready]).await;
}

#[tokio::test]
async fn closed_connection_is_no_loss_until_the_lease_ends() {
    let world = World::with_lease(Duration::from_secs(3)).await;
    let client = world.admin().await;
    let worker = worker(&world, "box").await;
    worker.connection.close(gridctl_transport::endpoint::CloseCode::Done, "a cut link");
    until_workers_are(&client, &[WorkerState::Suspect]).await;
    until_workers_are(&client, &[WorkerState::Lost]).await;
}

#[tokio::test]
async fn worker_that_says_goodbye_leaves_at_once() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut leaving = worker(&world, "box").await;
    until_workers_are(&client, &[WorkerState::Ready]).await;
    leaving.say(&WorkerMessage::Goodbye).await;
    // Not connected is shown as lost; with this lease only a goodbye is so fast.
    until_workers_are(&client, &[WorkerState::Lost]).await;
}

#[tokio::test]
async fn newer_session_of_the_same_machine_supersedes_the_older() {
    let world = World::new().await;
    let credentials = world.enrol_worker("box").await;
    let (old, _) =
        ScriptedWorker::welcomed(world.connect(&credentials).await, hello(1, Vec::new())).await;
    let (_new, _) =
        ScriptedWorker::welcomed(world.connect(&credentials).await, hello(1, Vec::new())).await;
    let lost = old.closed().await;
    assert!(lost.to_string().contains("connected again"), "{lost}");
}

#[tokio::test]
async fn identity_on_a_second_machine_is_turned_away_by_name() {
    let world = World::new().await;
    let credentials = world.enrol_worker("box").await;
    let (_first, _) =
        ScriptedWorker::welcomed(world.connect(&credentials).await, hello(1, Vec::new())).await;
    let mut elsewhere = hello(1, Vec::new());
    elsewhere.machine = [8; 16];
    let mut second = ScriptedWorker::begin(world.connect(&credentials).await, elsewhere).await;
    let turned = second.next().await;
    assert_eq!(
        turned,
        CoordinatorMessage::Turned(Turned::IdentityInUse { name: "box".to_owned() })
    );
    second.closed().await;
}

#[tokio::test]
async fn worker_that_saw_a_later_epoch_is_told_that_this_coordinator_is_old() {
    let world = World::new().await;
    let credentials = world.enrol_worker("box").await;
    let mut hello = hello(1, Vec::new());
    hello.epoch_seen.0 = u64::MAX;
    let mut worker = ScriptedWorker::begin(world.connect(&credentials).await, hello).await;
    let turned = within("an answer", worker.next()).await;
    assert!(
        matches!(turned, CoordinatorMessage::Turned(Turned::OldCoordinator { .. })),
        "{turned:?}"
    );
}
