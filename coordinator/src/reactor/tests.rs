//! The loop over a simulated disk: what is acknowledged is durable, and nothing else is acknowledged.

use std::sync::Arc;

use gridctl_core::effect::{FactIndex, Reply};
use gridctl_core::event::{Caller, Event, Report, ReportItem, SessionId};
use gridctl_core::fact::{Span, UserRole};
use gridctl_core::scheduler::{Config, Scheduler};
use gridctl_core::state::{LOCAL_ADMIN, State};
use gridctl_jobs::id::{JobId, JobNumber, StageId, StageIndex, Token};
use gridctl_jobs::range::TaskRange;
use gridctl_jobs::spec::{Items, JobSpec, Keep, OnLostLease, Run, StageSpec, Stdin, TaskTemplate};
use gridctl_jobs::template::{Part, Template};
use gridctl_jobs::units::Cpus;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::input::{Input, PARTS_MAX};
use super::{Reactor, ReactorError, ReactorHandle};
use crate::disk::{CrashSeed, SimDisk};
use crate::journal::{JournalThread, Store, StoreConfig};
use crate::leases::Leases;
use crate::views::Views;

const LEASE_MS: u64 = 10_000;
/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    handle: ReactorHandle,
    views: Arc<Views>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<Result<(), ReactorError>>,
}

fn open(disk: &SimDisk) -> (Store, State, FactIndex) {
    let config = StoreConfig { segment_bytes: 1 << 16, ..StoreConfig::default() };
    let opened = Store::open(Arc::new(disk.clone()), config, &mut |_, _| {}).unwrap();
    (opened.store, opened.state, opened.recovered.last)
}

fn start(disk: &SimDisk) -> Running {
    let (store, state, last) = open(disk);
    let results = Arc::clone(store.results());
    let (journal, _thread) = JournalThread::spawn(store).unwrap();
    let leases = Arc::new(Leases::new(LEASE_MS, LEASE_MS / 3));
    let views = Arc::new(Views::new(state.clone(), Arc::clone(&leases)));
    let (handle, inputs) = ReactorHandle::new();
    let scheduler = Scheduler::new(Config::new(LEASE_MS, 1), state);
    let reactor =
        Reactor::new(scheduler, last, journal, Arc::clone(&views), leases, &results, false);
    let (stop, stopped) = watch::channel(false);
    let ended = tokio::spawn(reactor.run(inputs, stopped));
    Running { handle, views, stop, ended }
}

/// A stage of `true`.
pub(crate) fn stage(name: &str, items: Items) -> StageSpec {
    let task = TaskTemplate {
        run: Run::Command {
            argv: vec![Template { parts: vec![Part::Literal("true".to_owned())] }],
        },
        env: Default::default(),
        stdin: Stdin::Empty,
        cwd: None,
        cpus: Cpus::ONE,
        timeout: None,
        stdout: Keep::Keep,
        stderr: Keep::Keep,
        on_lost_lease: OnLostLease::Finish,
    };
    StageSpec {
        name: name.to_owned(),
        items,
        needs: Vec::new(),
        budget: gridctl_jobs::budget::Budget::default(),
        task: Arc::new(task),
    }
}

fn submit(n: u128, request: gridctl_core::event::RequestId) -> Event {
    let stage = stage("only", Items::Single);
    let spec = JobSpec { name: format!("job {n}"), priority: 0, stages: vec![stage] };
    let caller = Caller { user: LOCAL_ADMIN, role: UserRole::Admin };
    let id = JobId(Uuid::from_u128(n));
    Event::Submit { request, caller, id, digest: [0; 32], spec: Arc::new(spec) }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap()
}

#[tokio::test]
async fn acknowledged_submission_is_shown_and_survives_the_loss_of_everything_unsynced() {
    let disk = SimDisk::new();
    let running = start(&disk);
    let reply = within(running.handle.ask(|request| submit(1, request))).await.unwrap();
    let number = JobNumber(1);
    assert_eq!(reply, Reply::Submitted { id: JobId(Uuid::from_u128(1)), number, new: true });
    assert!(
        running.views.read(|content| content.state.job_by_number(number).is_some()),
        "shown before the reply"
    );
    disk.crash(CrashSeed(1));
    let (_, state, _) = open(&disk);
    assert!(state.job_by_number(number).is_some(), "acknowledged is durable");
}

#[tokio::test]
async fn nothing_is_acknowledged_or_shown_once_a_sync_failed() {
    let disk = SimDisk::new();
    let running = start(&disk);
    within(running.handle.ask(|request| submit(1, request))).await.unwrap();
    disk.set_failing_syncs(true);
    let refused = within(running.handle.ask(|request| submit(2, request))).await;
    assert!(refused.is_err(), "not acknowledged: {refused:?}");
    let ended = within(running.ended).await.unwrap();
    assert!(matches!(ended, Err(ReactorError::Journal(_))), "{ended:?}");
    assert_eq!(running.views.read(|content| content.state.jobs().count()), 1, "not shown");
    let after = within(running.handle.ask(|request| submit(3, request))).await;
    assert!(after.is_err(), "and so it stays: {after:?}");
}

#[tokio::test]
async fn what_came_in_before_the_stop_is_decided_and_acknowledged() {
    let disk = SimDisk::new();
    let running = start(&disk);
    let asked: Vec<_> = (1..=50)
        .map(|n| {
            let handle = running.handle.clone();
            tokio::spawn(async move { handle.ask(|request| submit(n, request)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    running.stop.send_replace(true);
    within(running.ended).await.unwrap().unwrap();
    let mut acknowledged = 0;
    for asked in asked {
        // Those that came too late were told so.
        acknowledged += usize::from(within(asked).await.unwrap().is_ok());
    }
    disk.crash(CrashSeed(2));
    let (_, state, _) = open(&disk);
    assert_eq!(state.jobs().count(), acknowledged);
    assert!(acknowledged > 0, "they were all sent before the stop");
}

#[tokio::test]
async fn reports_that_wait_for_the_reactor_are_bounded_by_their_items() {
    let (handle, mut inputs) = ReactorHandle::new();
    let item = ReportItem {
        token: Token::default(),
        stage: StageId { job: JobId(Uuid::nil()), stage: StageIndex(0) },
        range: TaskRange::one(0),
        attempt: 1,
        span: Span::default(),
        busy_us: 0,
        outcome: gridctl_core::event::Outcome::Done { kept: None },
    };
    let half = |sequence| Event::Report {
        session: SessionId(1),
        report: Report { sequence, items: vec![item.clone(); PARTS_MAX / 2] },
    };
    handle.tell(half(1)).await.unwrap();
    handle.tell(half(2)).await.unwrap();
    let third = timeout(Duration::from_millis(1), handle.tell(half(3))).await;
    assert!(third.is_err(), "there is no room for a third");
    let taken: Option<Input> = inputs.recv().await;
    drop(taken);
    within(handle.tell(half(3))).await.unwrap();
}
