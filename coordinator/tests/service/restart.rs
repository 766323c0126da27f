//! What a restart keeps: jobs, results, the port, and the tasks that run.

use gridctl_coordinator::{Coordinator, CoordinatorConfig, StartError};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::state::JobState;
use gridctl_transport::message::client::OutputStream;
use gridctl_transport::message::worker::{CoordinatorMessage, Held, Phase, Verdict};

use crate::scripted_worker::{ScriptedWorker, hello, item, stdout};
use crate::world::{World, job, new_id, within};

#[tokio::test]
async fn running_task_is_adopted_after_a_restart_and_nothing_done_is_run_again() {
    let mut world = World::new().await;
    let client = world.admin().await;
    let epoch = client.welcomed.epoch;
    let credentials = world.enrol_worker("box").await;
    let connection = world.connect(&credentials).await;
    let (mut worker, _) = ScriptedWorker::welcomed(connection, hello(1, Vec::new())).await;
    let number = client.submit(new_id(), &job("j", &[("only", 2)])).await;
    let grant = worker.grant().await;
    worker.report(vec![item(&grant, TaskRange::one(0), Some(stdout("zero\n")))]).await;
    worker.settled().await;
    let grant = if grant.range.len() == 2 { grant } else { worker.grant().await };
    let port = world.handle().local_address().port();

    world.stop().await;
    loop {
        if worker.next().await == CoordinatorMessage::Stopping {
            break;
        }
    }
    worker.closed().await;
    world.start().await;

    assert_eq!(world.handle().local_address().port(), port, "a port that was picked is used again");
    assert!(!world.handle().is_first_start());
    let running = Held {
        token: grant.token,
        stage: grant.stage,
        range: TaskRange::one(1),
        attempt: grant.attempt,
        phase: Phase::Running,
    };
    let connection = world.connect(&credentials).await;
    let (mut worker, welcome) = ScriptedWorker::welcomed(connection, hello(1, vec![running])).await;
    assert!(welcome.epoch > epoch, "every life has a later epoch");
    assert_eq!(
        welcome.answers.iter().map(|answer| answer.verdict).collect::<Vec<_>>(),
        [Verdict::Adopt]
    );
    worker.report(vec![item(&grant, TaskRange::one(1), Some(stdout("one\n")))]).await;
    let client = world.admin().await;
    assert_eq!(client.wait(number).await, JobState::Done);
    assert_eq!(client.output(number, OutputStream::Stdout).await, "zero\none\n");
    let status = client.status(number).await;
    assert_eq!((status.job.tasks.done, status.job.tasks.total), (2, 2));
}

#[tokio::test]
async fn finished_task_that_was_not_acknowledged_is_taken_after_a_restart() {
    let mut world = World::new().await;
    let client = world.admin().await;
    let credentials = world.enrol_worker("box").await;
    let (mut worker, _) =
        ScriptedWorker::welcomed(world.connect(&credentials).await, hello(1, Vec::new())).await;
    let number = client.submit(new_id(), &job("j", &[("only", 1)])).await;
    let grant = worker.grant().await;
    world.stop().await;
    world.start().await;
    let finished = Held {
        token: grant.token,
        stage: grant.stage,
        range: grant.range,
        attempt: grant.attempt,
        phase: Phase::Finished,
    };
    let connection = world.connect(&credentials).await;
    let (mut worker, welcome) =
        ScriptedWorker::welcomed(connection, hello(1, vec![finished])).await;
    assert_eq!(welcome.answers[0].verdict, Verdict::Adopt);
    for _ in 0..2 {
        // Sent twice, as after a link that broke before the acknowledgement: the second changes nothing.
        worker.report(vec![item(&grant, TaskRange::one(0), Some(stdout("once\n")))]).await;
    }
    worker.settled().await;
    let client = world.admin().await;
    assert_eq!(client.wait(number).await, JobState::Done);
    assert_eq!(client.output(number, OutputStream::Stdout).await, "once\n");
}

#[tokio::test]
async fn second_coordinator_over_the_same_directory_is_refused() {
    let world = World::new().await;
    let config = CoordinatorConfig::new(world.settings()).unwrap();
    let refused = Coordinator::start(config).await.err().expect("the directory is in use");
    assert!(matches!(refused, StartError::Disk(_)), "{refused}");
    assert!(refused.to_string().contains("is in use by"), "{refused}");
}

#[tokio::test]
async fn directory_of_another_grid_is_refused() {
    let mut world = World::new().await;
    world.stop().await;
    let mut settings = world.settings();
    settings.grid = Some("other".to_owned());
    let config = CoordinatorConfig::new(settings).unwrap();
    let refused = Coordinator::start(config).await.err().expect("another grid's");
    assert!(matches!(refused, StartError::Kept(_)), "{refused}");
}

#[tokio::test]
async fn idle_coordinator_stops_at_once() {
    let mut world = World::new().await;
    let client = world.admin().await;
    world.stop().await;
    let lost = within("the end of the connection", client.connection.closed()).await;
    assert!(lost.to_string().contains("the coordinator is stopping"), "{lost}");
}
