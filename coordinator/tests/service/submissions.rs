//! A job is submitted once, however often it is sent, by whichever connection, whatever becomes of the answers.

use std::sync::Arc;

use gridctl_jobs::id::{JobId, JobNumber};
use gridctl_jobs::spec::JobSpec;
use gridctl_jobs::state::JobState;
use gridctl_transport::message::client::{Answer, JobRef, Refused, RefusedKind, Request};
use tokio::task::JoinSet;

use crate::client::{Client, target};
use crate::world::{World, job, new_id};

/// Connections at once.
const CLIENTS: usize = 6;
/// Requests at once on each.
const REQUESTS: usize = 4;

async fn clients(world: &World) -> Vec<Arc<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Arc::new(world.admin().await));
    }
    clients
}

/// Sends all of them at once, and returns the answers.
async fn all_at_once(requests: impl Iterator<Item = (Arc<Client>, Request)>) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for (client, request) in requests {
        asked.spawn(async move { client.ask_one(request).await });
    }
    asked.join_all().await
}

fn submit(id: JobId, spec: &JobSpec) -> Request {
    Request::Submit { id, spec: spec.clone() }
}

async fn job_count(client: &Client) -> usize {
    let mut count = 0;
    for answer in client.ask(Request::Jobs { open_only: false }).await {
        match answer {
            Answer::Jobs(jobs) => count += jobs.len(),
            other => panic!("not jobs: {other:?}"),
        }
    }
    count
}

fn numbers(answers: &[Answer], id: JobId) -> Vec<(JobNumber, bool)> {
    answers
        .iter()
        .map(|answer| match answer {
            Answer::Submitted { id: its, number, new } if *its == id => (*number, *new),
            other => panic!("not submitted as {id}: {other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn one_job_sent_many_times_at_once_over_many_connections_is_one_job() {
    let world = World::new().await;
    let clients = clients(&world).await;
    for round in 1..=5 {
        let (id, spec) = (new_id(), job(&format!("round {round}"), &[("only", 3)]));
        let requests = clients
            .iter()
            .flat_map(|client| (0..REQUESTS).map(|_| (Arc::clone(client), submit(id, &spec))));
        let numbers = numbers(&all_at_once(requests).await, id);
        assert_eq!(numbers.len(), CLIENTS * REQUESTS);
        assert!(numbers.iter().all(|(number, _)| *number == JobNumber(round)), "{numbers:?}");
        let new = numbers.iter().filter(|(_, new)| *new).count();
        assert_eq!(new, 1, "it is new once: {numbers:?}");
    }
    assert_eq!(job_count(&clients[0]).await, 5);
}

#[tokio::test]
async fn of_many_contents_under_one_id_one_is_the_job_and_the_others_are_refused_by_its_name() {
    let world = World::new().await;
    let clients = clients(&world).await;
    let id = new_id();
    let specs: Vec<JobSpec> = (0..CLIENTS as u64).map(|n| job("j", &[("only", n + 1)])).collect();
    let requests =
        clients.iter().zip(&specs).map(|(client, spec)| (Arc::clone(client), submit(id, spec)));
    let answers = all_at_once(requests).await;
    let (taken, refused): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| matches!(answer, Answer::Submitted { new: true, .. }));
    assert_eq!((taken.len(), refused.len()), (1, CLIENTS - 1), "{answers:?}");
    for answer in refused {
        let Answer::Refused(Refused { kind: RefusedKind::Invalid, message }) = answer else {
            panic!("not refused: {answer:?}")
        };
        assert!(message.contains(&format!("{id} is already job 1")), "{message}");
    }
    assert_eq!(job_count(&clients[0]).await, 1);
}

#[tokio::test]
async fn a_client_that_goes_before_its_answer_may_submit_again() {
    let world = World::new().await;
    // Large enough that handling takes a while: it is checked and hashed apart.
    let stages: Vec<String> = (0..200).map(|n| format!("stage{n}")).collect();
    let stages: Vec<(&str, u64)> = stages.iter().map(|name| (name.as_str(), 9)).collect();
    let spec = job("large", &stages);
    let last = world.admin().await;
    for round in 1..=5 {
        let id = new_id();
        let gone = world.admin().await;
        let lost = gone.begin(submit(id, &spec)).await;
        if round % 2 == 0 {
            drop(lost);
        }
        let second = world.admin().await;
        let also_lost = second.begin(submit(id, &spec)).await;
        drop(gone);
        let number = last.submit(id, &spec).await;
        assert_eq!(number, JobNumber(round));
        drop(also_lost);
        assert_eq!(last.submit(id, &spec).await, number);
    }
    assert_eq!(job_count(&last).await, 5);
}

#[tokio::test]
async fn a_submission_is_the_same_job_after_its_end_after_restarts_and_not_after_it_was_forgotten()
{
    let mut world = World::new().await;
    let client = world.admin().await;
    let (id, spec) = (new_id(), job("j", &[("only", 2)]));
    let number = client.submit(id, &spec).await;
    let cancelled = client.ask_one(Request::Cancel { target: target(number) }).await;
    assert!(matches!(cancelled, Answer::Cancelled { tasks: 2, .. }), "{cancelled:?}");
    assert_eq!(client.wait(number).await, JobState::Cancelled);
    for _ in 0..2 {
        world.stop().await;
        world.start().await;
        let clients = clients(&world).await;
        let requests = clients.iter().map(|client| (Arc::clone(client), submit(id, &spec)));
        let numbers = numbers(&all_at_once(requests).await, id);
        assert!(numbers.iter().all(|answer| *answer == (number, false)), "{numbers:?}");
    }
    let client = world.admin().await;
    let forgotten = client.ask_one(Request::Forget { job: JobRef::Id(id) }).await;
    assert_eq!(forgotten, Answer::Forgotten { number });
    world.stop().await;
    world.start().await;
    let client = world.admin().await;
    let refused = client.refused(submit(id, &spec)).await;
    assert_eq!(refused.kind, RefusedKind::Invalid);
    assert!(refused.message.contains(&format!("that of job {number}")), "{}", refused.message);
    let refused = client.refused(Request::Status { job: JobRef::Id(id) }).await;
    assert!(refused.message.contains("was forgotten"), "{}", refused.message);
    assert_eq!(client.submit(new_id(), &spec).await, JobNumber(number.0 + 1));
}

#[tokio::test]
async fn people_change_their_own_jobs_and_no_workers() {
    let world = World::new().await;
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let number = ann.submit(new_id(), &job("j", &[("only", 2)])).await;
    ann.ask_one(Request::Cancel { target: target(number) }).await;
    let retry = Request::Retry { target: target(number), all: false };
    let forget = Request::Forget { job: JobRef::Number(number) };
    for request in [retry.clone(), forget.clone()] {
        let refused = bob.refused(request).await;
        assert_eq!(refused.kind, RefusedKind::Role, "{refused:?}");
    }
    let worker = "box".to_owned();
    world.enrol_worker(&worker).await;
    for request in [
        Request::DrainWorker { worker: worker.clone() },
        Request::ResumeWorker { worker: worker.clone() },
    ] {
        assert_eq!(ann.refused(request).await.kind, RefusedKind::Role);
    }
    assert_eq!(ann.ask_one(retry).await, Answer::Retried { number, tasks: 2 });
    ann.ask_one(Request::Cancel { target: target(number) }).await;
    assert_eq!(ann.ask_one(forget).await, Answer::Forgotten { number });
    let admin = world.admin().await;
    let (running, new) = (0, true);
    let draining = Answer::WorkerDraining { name: worker.clone(), running, new };
    assert_eq!(admin.ask_one(Request::DrainWorker { worker: worker.clone() }).await, draining);
    let resumed = Answer::WorkerResumed { name: worker, new };
    assert_eq!(admin.ask_one(Request::ResumeWorker { worker: "1".to_owned() }).await, resumed);
}
