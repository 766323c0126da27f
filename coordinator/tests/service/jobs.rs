//! Jobs from submission to output.

use gridctl_jobs::id::{JobNumber, StageIndex};
use gridctl_jobs::limits::{OUTPUT_BYTES_MAX, STAGES_MAX, TASKS_PER_STAGE_MAX};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::reason::WaitReason;
use gridctl_jobs::spec::{Args, Items, JobSpec, Numbers, Run};
use gridctl_jobs::state::{Failure, JobState, TaskState};
use gridctl_transport::message::client::{
    Answer, JobRef, OutputStages, OutputStream, RefusedKind, Request, Target, WorkerState,
};
use gridctl_transport::message::worker::{Outcome, Output, StreamKind, UploadId};

use crate::client::{output_of, target};
use crate::scripted_worker::{ScriptedWorker, hello, item, stdout};
use crate::world::{World, job, literal, new_id, stage};

async fn worker(world: &World, name: &str, cpus: u32) -> ScriptedWorker {
    let credentials = world.enrol_worker(name).await;
    ScriptedWorker::welcomed(world.connect(&credentials).await, hello(cpus, Vec::new())).await.0
}

#[tokio::test]
async fn job_goes_from_submission_to_ordered_output() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut worker = worker(&world, "box", 2).await;
    let number = client.submit(new_id(), &job("two stages", &[("first", 5), ("second", 1)])).await;
    worker.run(6, |index| format!("line {index}\n")).await;
    assert_eq!(client.wait(number).await, JobState::Done);
    let status = client.status(number).await;
    assert_eq!(
        (status.job.tasks.total, status.job.tasks.done, status.job.name.as_str()),
        (6, 6, "two stages")
    );
    assert_eq!(status.stages[1].needs, ["first"]);
    let text = client.output(number, OutputStream::Stdout).await;
    assert_eq!(text, "line 0\nline 1\nline 2\nline 3\nline 4\nline 0\n");
    assert_eq!(client.output(number, OutputStream::Stderr).await, "");
}

#[tokio::test]
async fn output_follows_tasks_in_order_as_soon_as_those_before_are_out() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut worker = worker(&world, "box", 3).await;
    let number = client.submit(new_id(), &job("j", &[("only", 3)])).await;
    let mut output = client.begin(output_of(target(number), OutputStream::Stdout, true)).await;
    let mut grants = Vec::new();
    while grants
        .iter()
        .map(|grant: &gridctl_transport::message::worker::Grant| grant.range.len())
        .sum::<u64>()
        < 3
    {
        grants.push(worker.grant().await);
    }
    let of = |index| grants.iter().find(|grant| grant.range.contains(index)).unwrap();
    for index in [2, 0, 1] {
        let done = item(of(index), TaskRange::one(index), Some(stdout(&format!("{index}\n"))));
        worker.report(vec![done]).await;
        worker.settled().await;
        if index == 0 {
            let Some(Answer::Output { index: 0, bytes, .. }) = output.next().await else {
                panic!("task 0 is due")
            };
            assert_eq!(bytes, b"0\n");
        }
    }
    let mut rest = Vec::new();
    while let Some(Answer::Output { index, .. }) = output.next().await {
        rest.push(index);
    }
    assert_eq!(rest, [1, 2]);
}

#[tokio::test]
async fn large_output_comes_as_an_upload_and_is_given_back_whole() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut worker = worker(&world, "box", 1).await;
    let number = client.submit(new_id(), &job("j", &[("only", 1)])).await;
    let grant = worker.grant().await;
    let text: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    // The report first: it waits for the upload.
    worker.report(vec![item(&grant, TaskRange::one(0), Some(Output::Uploaded(UploadId(4))))]).await;
    let mut stream = worker.connection.open_uni().await.unwrap();
    let stdout_bytes = u32::try_from(text.len()).unwrap();
    let kind =
        StreamKind::Upload { upload: UploadId(4), stdout_bytes, stderr_bytes: 3, result_bytes: 0 };
    stream.write(&kind).await.unwrap();
    stream.write_raw(format!("{text}err").into_bytes().into()).await.unwrap();
    stream.finish();
    worker.settled().await;
    assert!(client.output(number, OutputStream::Stdout).await == text, "what came in goes out");
    assert_eq!(client.output(number, OutputStream::Stderr).await, "err");
}

#[tokio::test]
async fn upload_that_announces_too_much_closes_the_worker() {
    let world = World::new().await;
    let worker = worker(&world, "box", 1).await;
    let mut stream = worker.connection.open_uni().await.unwrap();
    let stdout_bytes = u32::try_from(OUTPUT_BYTES_MAX + 1).unwrap();
    let kind =
        StreamKind::Upload { upload: UploadId(1), stdout_bytes, stderr_bytes: 0, result_bytes: 0 };
    stream.write(&kind).await.unwrap();
    let lost = worker.closed().await;
    assert!(lost.to_string().contains("more than a task may leave behind"), "{lost}");
}

#[tokio::test]
async fn result_of_a_function_is_one_line_and_a_unit_result_none() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut worker = worker(&world, "box", 2).await;
    let run = Run::Function { name: "noop".to_owned(), args: Args::Item };
    let spec = JobSpec { name: "f".to_owned(), priority: 0, stages: vec![stage("f", 2, run)] };
    let number = client.submit(new_id(), &spec).await;
    let mut left = 2;
    while left > 0 {
        let grant = worker.grant().await;
        for index in grant.range.start..grant.range.end {
            let result = if index == 0 { b"{\"a\":1}".to_vec() } else { Vec::new() };
            let output = Output::Inline { stdout: Vec::new(), stderr: Vec::new(), result };
            worker.report(vec![item(&grant, TaskRange::one(index), Some(output))]).await;
            left -= 1;
        }
    }
    client.wait(number).await;
    assert_eq!(client.output(number, OutputStream::Stdout).await, "{\"a\":1}\n");
}

#[tokio::test]
async fn failed_task_shows_its_failure_and_gives_its_last_output() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut worker = worker(&world, "box", 1).await;
    let number = client.submit(new_id(), &job("j", &[("only", 1), ("after", 1)])).await;
    let grant = worker.grant().await;
    let mut failed = item(&grant, TaskRange::one(0), Some(stdout("oh\n")));
    failed.outcome = Outcome::Failed(Failure::Exit { code: 3 });
    worker.report(vec![failed]).await;
    assert_eq!(client.wait(number).await, JobState::Failed);
    let status = client.status(number).await;
    let last = status.last_failure.unwrap();
    assert_eq!((last.exit_code, last.worker.as_deref(), last.attempts), (Some(3), Some("box"), 1));
    assert_eq!(status.stages[1].skipped_because.as_deref(), Some("only"));
    assert_eq!(client.output(number, OutputStream::Stdout).await, "oh\n");
    let only = |attempt| Request::Output {
        target: target(number),
        stream: OutputStream::Stdout,
        follow: true,
        attempt: Some(attempt),
        stages: OutputStages::All,
    };
    assert_eq!(client.ask(only(1)).await.len(), 1);
    assert_eq!(client.ask(only(2)).await, []);
    let of_task = |attempt| Request::Output {
        target: Target {
            stage: Some("only".to_owned()),
            range: Some(TaskRange::one(0)),
            ..target(number)
        },
        stream: OutputStream::Stdout,
        follow: false,
        attempt: Some(attempt),
        stages: OutputStages::All,
    };
    assert_eq!(client.ask(of_task(1)).await.len(), 1);
    let refused = client.refused(of_task(2)).await;
    assert_eq!(refused.kind, RefusedKind::NotFound);
    assert!(refused.message.ends_with("of attempt 2 of task 0; there is 1"), "{refused:?}");
    let rows = client
        .ask(Request::Tasks { target: target(number), states: vec![TaskState::Skipped] })
        .await;
    let [Answer::Tasks(rows)] = rows.as_slice() else { panic!("one page: {rows:?}") };
    assert_eq!(
        rows.iter().map(|row| (row.stage.as_str(), row.index)).collect::<Vec<_>>(),
        [("after", 0)]
    );
}

#[tokio::test]
async fn same_submission_is_the_same_job_and_other_content_is_refused() {
    let world = World::new().await;
    let client = world.admin().await;
    let id = new_id();
    let spec = job("once", &[("only", 3)]);
    let first = client.ask_one(Request::Submit { id, spec: spec.clone() }).await;
    assert_eq!(first, Answer::Submitted { id, number: JobNumber(1), new: true });
    let again = client.ask_one(Request::Submit { id, spec }).await;
    assert_eq!(again, Answer::Submitted { id, number: JobNumber(1), new: false });
    let refused = client.refused(Request::Submit { id, spec: job("once", &[("only", 4)]) }).await;
    assert_eq!(refused.kind, RefusedKind::Invalid);
    assert!(refused.message.contains("already job 1"), "{}", refused.message);
}

#[tokio::test]
async fn job_that_is_not_valid_is_refused_with_the_reason() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut spec = job("j", &[("only", 1)]);
    spec.stages[0].items = Items::Numbers(Numbers {
        first: 0,
        step: 1,
        numbers: TASKS_PER_STAGE_MAX + 1,
        chunk: None,
    });
    let refused = client.refused(Request::Submit { id: new_id(), spec }).await;
    assert_eq!(refused.kind, RefusedKind::Invalid);
    assert!(refused.message.starts_with("the job is not valid: "), "{}", refused.message);
}

#[tokio::test]
async fn selectors_find_what_is_meant_and_say_what_is_not_there() {
    let world = World::new().await;
    let (admin, user) = (world.admin().await, world.user("ann").await);
    admin.submit(new_id(), &job("same name", &[("a", 1)])).await;
    admin.submit(new_id(), &job("same name", &[("a", 1)])).await;
    let own = user.submit(new_id(), &job("own", &[("a", 4), ("b", 1)])).await;
    let status = |job| Request::Status { job };
    let Answer::Status(last) = user.ask_one(status(JobRef::Last)).await else {
        panic!("ann has one")
    };
    assert_eq!((last.job.number, last.job.owner.as_str()), (own, "ann"));
    let twice = admin.refused(status(JobRef::Name("same name".to_owned()))).await;
    assert_eq!(twice.kind, RefusedKind::Invalid);
    assert!(twice.message.contains("jobs 1 and 2"), "{}", twice.message);
    let none = admin.refused(status(JobRef::Number(JobNumber(99)))).await;
    assert_eq!(
        (none.kind, none.message.as_str()),
        (RefusedKind::NotFound, "there is no job 99; `gridctl jobs` lists those there are")
    );
    let tasks = |stage: &str, range| {
        let target = Target { job: JobRef::Number(own), stage: Some(stage.to_owned()), range };
        Request::Tasks { target, states: Vec::new() }
    };
    let Answer::Tasks(rows) = user.ask_one(tasks("a", Some(TaskRange::new(1, 3)))).await else {
        panic!("rows")
    };
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        user.refused(tasks("c", None)).await.message,
        "job 3 has no stage \"c\"; it has a, b"
    );
    assert_eq!(
        user.refused(tasks("a", Some(TaskRange::new(0, 5)))).await.kind,
        RefusedKind::NotFound
    );
}

#[tokio::test]
async fn cancel_ends_a_job_and_tells_the_worker() {
    let world = World::new().await;
    let client = world.admin().await;
    let mut worker = worker(&world, "box", 1).await;
    let number = client.submit(new_id(), &job("long", &[("only", 100)])).await;
    let grant = worker.grant().await;
    let cancelled = client.ask_one(Request::Cancel { target: target(number) }).await;
    assert_eq!(cancelled, Answer::Cancelled { number, tasks: 100 });
    assert_eq!(client.wait(number).await, JobState::Cancelled);
    worker
        .report(vec![item(&grant, TaskRange::one(grant.range.start), Some(stdout("late\n")))])
        .await;
    worker.settled().await;
    assert_eq!(
        client.output(number, OutputStream::Stdout).await,
        "",
        "what was cancelled never commits"
    );
}

#[tokio::test]
async fn tables_of_jobs_workers_and_reasons_tell_what_there_is() {
    let world = World::new().await;
    let client = world.admin().await;
    let number = client.submit(new_id(), &job("waits", &[("only", 3)])).await;
    let explain = Request::Explain { job: JobRef::Number(number) };
    let Answer::Explained(why) = client.ask_one(explain.clone()).await else { panic!("explained") };
    assert_eq!(
        (why[0].stage.as_str(), why[0].reasons.as_slice()),
        ("only", &[WaitReason::NoWorkers][..])
    );
    let mut worker = worker(&world, "box", 1).await;
    worker.grant().await;
    let Answer::Workers(rows) = client.ask_one(Request::Workers).await else { panic!("workers") };
    assert_eq!(
        (rows[0].name.as_str(), rows[0].state, rows[0].running),
        ("box", WorkerState::Ready, 1)
    );
    assert!(rows[0].last_heartbeat_ms.is_some(), "its Hello was heard");
    let Answer::Jobs(jobs) = client.ask_one(Request::Jobs { open_only: true }).await else {
        panic!("jobs")
    };
    assert_eq!(
        (jobs[0].number, jobs[0].state, jobs[0].tasks.running),
        (number, JobState::Running, 1)
    );
}

#[tokio::test]
async fn status_and_reasons_of_the_most_entangled_job_fit_an_answer() {
    let world = World::new().await;
    let client = world.admin().await;
    let names: Vec<String> =
        (0..STAGES_MAX).map(|n| format!("{n:0>4}{}", "数".repeat(124))).collect();
    let run = || Run::Command { argv: vec![literal("true")] };
    let entangled = |(place, name): (usize, &String)| {
        let mut stage = stage(name, 1, run());
        stage.needs = (0..u32::try_from(place).unwrap()).map(StageIndex).collect();
        stage
    };
    let stages = names.iter().enumerate().map(entangled).collect();
    let number =
        client.submit(new_id(), &JobSpec { name: "j".to_owned(), priority: 0, stages }).await;
    let status = client.status(number).await;
    assert_eq!(status.stages.len(), STAGES_MAX);
    assert_eq!(status.stages[2].needs, names[..2], "the first stages tell all that they need");
    let explain = Request::Explain { job: JobRef::Number(number) };
    let Answer::Explained(why) = client.ask_one(explain).await else { panic!("explained") };
    assert_eq!(why.len(), STAGES_MAX);
}

#[tokio::test]
async fn long_table_of_tasks_comes_in_pages() {
    let world = World::new().await;
    let client = world.admin().await;
    let number = client.submit(new_id(), &job("many", &[("a", 5_000), ("b", 10)])).await;
    let pages = client
        .ask(Request::Tasks { target: target(number), states: vec![TaskState::Waiting] })
        .await;
    let mut rows = Vec::new();
    for page in &pages {
        let Answer::Tasks(page) = page else { panic!("rows: {page:?}") };
        rows.extend(page.iter().map(|row| (row.stage.clone(), row.index)));
    }
    assert!(pages.len() > 1, "one answer holds at most 4,096 rows");
    let expected = (0..5_000)
        .map(|index| ("a".to_owned(), index))
        .chain((0..10).map(|index| ("b".to_owned(), index)));
    assert!(rows.into_iter().eq(expected), "each task once, in order");
}
