//! Workers and clients that misbehave: each is closed, and the coordinator serves on.

use gridctl_jobs::id::Epoch;
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{JobSpec, Run};
use gridctl_jobs::state::{Failure, JobState};
use gridctl_jobs::units::Cpus;
use gridctl_transport::message::client::{
    Answer, ClientHello, ClientWelcome, Request, WorkerState,
};
use gridctl_transport::message::worker::{
    CoordinatorMessage, Outcome, Report, StreamKind, UploadId, WorkerMessage,
};
use gridctl_transport::message::{PROTOCOL_VERSION, Turned};

use crate::client::Client;
use crate::scripted_worker::{Heart, ScriptedWorker, hello, item, stdout};
use crate::world::{World, job, literal, new_id, stage, within};

async fn worker(world: &World, name: &str) -> ScriptedWorker {
    let credentials = world.enrol_worker(name).await;
    ScriptedWorker::welcomed(world.connect(&credentials).await, hello(1, Vec::new())).await.0
}

/// A job still goes all the way.
async fn still_serves(world: &World, client: &Client) {
    let mut good = worker(world, "good").await;
    let number = client.submit(new_id(), &job("still", &[("only", 3)])).await;
    good.run(3, |_| String::new()).await;
    assert_eq!(client.wait(number).await, JobState::Done);
}

#[tokio::test]
async fn garbage_on_any_stream_of_a_worker_closes_it_and_nothing_else() {
    let world = World::new().await;
    let client = world.admin().await;
    let credentials = world.enrol_worker("bad").await;
    let garbage: Vec<u8> =
        (0..4_096_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();

    let connection = world.connect(&credentials).await;
    let (mut first, _answers) = connection.open_bi().await.unwrap();
    first.write_raw(garbage.clone().into()).await.unwrap();
    within("the end", connection.closed()).await;

    let mut control = worker(&world, "bad").await;
    control.to.write_raw(garbage.clone().into()).await.unwrap();
    control.closed().await;

    let beats = worker(&world, "bad").await;
    let (mut stream, _answers) = beats.connection.open_bi().await.unwrap();
    stream.write_raw(garbage.clone().into()).await.unwrap();
    beats.closed().await;

    let uploads = worker(&world, "bad").await;
    let mut stream = uploads.connection.open_uni().await.unwrap();
    stream.write_raw(garbage.clone().into()).await.unwrap();
    uploads.closed().await;

    let (mut request, mut answers) = client.connection.open_bi().await.unwrap();
    request.write_raw(garbage.into()).await.unwrap();
    let nothing = within(
        "the end of the stream",
        answers.read::<gridctl_transport::message::client::Answer>(),
    )
    .await;
    assert!(!matches!(nothing, Ok(Some(_))), "garbage has no answer: {nothing:?}");
    still_serves(&world, &client).await;
}

#[tokio::test]
async fn an_identity_of_the_wrong_role_is_not_served_whatever_it_asks() {
    let world = World::new().await;
    let client = world.admin().await;

    let worker = world.connect(&world.enrol_worker("bad").await).await;
    let (mut asking, mut answers) = worker.open_bi().await.unwrap();
    let greeting = ClientHello { version: PROTOCOL_VERSION, epoch_seen: Epoch(0) };
    asking.write(&greeting).await.unwrap();
    let answer = within("the end", answers.read::<ClientWelcome>()).await;
    assert!(!matches!(answer, Ok(Some(_))), "a worker is no client: {answer:?}");
    within("the end", worker.closed()).await;

    let user = world.user("bad").await;
    let (mut control, mut answers) = user.connection.open_bi().await.unwrap();
    control.write(&StreamKind::Control).await.unwrap();
    // It may have been refused by now.
    let _ = control.write(&WorkerMessage::Hello(hello(64, Vec::new()))).await;
    let answer = within("the end", answers.read::<CoordinatorMessage>()).await;
    assert!(!matches!(answer, Ok(Some(_))), "a person is no worker: {answer:?}");
    let Answer::Workers(rows) = &client.ask(Request::Workers).await[0] else { panic!("a table") };
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [WorkerState::Lost], "only the worker is known, and it never said Hello");
    still_serves(&world, &client).await;
}

#[tokio::test]
async fn messages_that_no_worker_sends_close_the_session_with_the_reason() {
    let world = World::new().await;
    let client = world.admin().await;
    let number = client.submit(new_id(), &job("bait", &[("only", 2)])).await;
    let grant = worker(&world, "bad").await.grant().await;
    let report = |item| WorkerMessage::Report(Report { sequence: 1, items: vec![item] });
    let past_all = item(&grant, TaskRange::new(5, 5), None);
    let two_with_output = item(&grant, TaskRange::new(0, 2), Some(stdout("x")));
    let mut long = item(&grant, TaskRange::one(0), None);
    long.outcome = Outcome::Failed(Failure::Error { message: "x".repeat(1 << 20) });
    let mut inline = item(&grant, TaskRange::one(0), Some(stdout(&"x".repeat(100 << 10))));
    inline.outcome = Outcome::Done;
    for (message, why) in [
        (WorkerMessage::Hello(hello(1, Vec::new())), "a second Hello"),
        (report(past_all), "a range of tasks is empty"),
        (report(two_with_output), "only one task can have"),
        (report(long), "the message of a failure has"),
        (report(inline), "larger than that may be"),
    ] {
        let mut bad = worker(&world, "bad").await;
        bad.say(&message).await;
        let lost = bad.closed().await.to_string();
        assert!(lost.contains(why), "{lost:?} does not tell {why:?}");
    }
    client
        .ask(gridctl_transport::message::client::Request::Cancel {
            target: crate::client::target(number),
        })
        .await;
    still_serves(&world, &client).await;
}

#[tokio::test]
async fn machine_with_an_impossible_number_of_cpus_is_turned_away() {
    let world = World::new().await;
    let credentials = world.enrol_worker("bad").await;
    let mut impossible = hello(1, Vec::new());
    impossible.cpus = Cpus::from_ten_thousandths(u64::MAX);
    let mut bad = ScriptedWorker::begin(world.connect(&credentials).await, impossible).await;
    let turned = bad.next().await;
    assert!(matches!(turned, CoordinatorMessage::Turned(Turned::Violation { .. })), "{turned:?}");
}

#[tokio::test]
async fn two_uploads_of_one_number_and_a_second_heartbeat_stream_are_refused() {
    let world = World::new().await;
    let bad = worker(&world, "bad").await;
    for _ in 0..2 {
        let mut stream = bad.connection.open_uni().await.unwrap();
        let kind = StreamKind::Upload {
            upload: UploadId(1),
            stdout_bytes: 1,
            stderr_bytes: 0,
            result_bytes: 0,
        };
        // The second may already meet a closed connection.
        let _ = stream.write(&kind).await;
        let _ = stream.write_raw(b"x".as_slice().into()).await;
        stream.finish();
    }
    assert!(bad.closed().await.to_string().contains("two uploads of the same number"));
    let bad = worker(&world, "bad").await;
    let mut hearts = (Heart::open(&bad.connection).await, Heart::open(&bad.connection).await);
    // Whichever came second closes the connection, so either beat may fail.
    let _ = (hearts.0.send().await, hearts.1.send().await);
    assert!(bad.closed().await.to_string().contains("a second heartbeat stream"));
}

#[tokio::test]
async fn flood_of_heartbeats_closes_the_worker() {
    let world = World::new().await;
    let client = world.admin().await;
    let bad = worker(&world, "bad").await;
    let mut heart = Heart::open(&bad.connection).await;
    for _ in 0..1_000 {
        if heart.send().await.is_err() {
            break;
        }
    }
    assert!(bad.closed().await.to_string().contains("far too often"));
    still_serves(&world, &client).await;
}

#[tokio::test]
async fn worker_that_does_not_read_is_closed_while_others_are_served() {
    let world = World::new().await;
    let client = world.admin().await;
    let credentials = world.enrol_worker("deaf").await;
    let mut hello = hello(1, Vec::new());
    hello.cpus = Cpus::whole(60_000);
    let (deaf, _) = ScriptedWorker::welcomed(world.connect(&credentials).await, hello).await;
    // More than the windows of a stream take, so that what follows waits: a stage's text is sent to it.
    let text = "#".repeat(16 << 10);
    let script = || Run::Script { text: text.clone() };
    let heavy = (0..1_024).map(|n| stage(&format!("s{n}"), 1, script())).collect();
    client
        .submit(new_id(), &JobSpec { name: "heavy".to_owned(), priority: 0, stages: heavy })
        .await;
    for _ in 0..12 {
        let run = || Run::Command { argv: vec![literal("true")] };
        let light = (0..1_024).map(|n| stage(&format!("s{n}"), 1, run())).collect();
        client
            .submit(new_id(), &JobSpec { name: "light".to_owned(), priority: 0, stages: light })
            .await;
    }
    let lost = deaf.closed().await.to_string();
    assert!(lost.contains("does not read"), "{lost}");
    let mut good = worker(&world, "good").await;
    good.grant().await;
    client.status(gridctl_jobs::id::JobNumber(1)).await;
}
