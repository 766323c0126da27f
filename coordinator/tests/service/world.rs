//! A coordinator over a directory of its own, and those who connect to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gridctl_coordinator::{Coordinator, CoordinatorConfig, CoordinatorHandle, Settings};
use gridctl_jobs::id::{JobId, StageIndex};
use gridctl_jobs::spec::{
    Items, JobSpec, Keep, Numbers, OnLostLease, Run, StageSpec, Stdin, TaskTemplate,
};
use gridctl_jobs::template::{Part, Template};
use gridctl_jobs::units::Cpus;
use gridctl_transport::credentials::Credentials;
use gridctl_transport::endpoint::{self, Connection, Timing};
use gridctl_transport::join_token::JoinToken;
use gridctl_transport::message::client::{Answer, Request, TokenRole};
use tempfile::TempDir;
use uuid::Uuid;

use crate::client::Client;

/// How long anything may take before a test gives up and says what it waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A coordinator, and where everybody keeps their files.
pub(crate) struct World {
    dir: TempDir,
    lease: Duration,
    handle: Option<CoordinatorHandle>,
}

impl World {
    /// With a lease that no test outlives, however slow the machine: its workers need no heartbeats.
    pub(crate) async fn new() -> Self {
        Self::with_lease(2 * PATIENCE).await
    }

    pub(crate) async fn with_lease(lease: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self { dir, lease, handle: None };
        world.start().await;
        world
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.dir.path().join("coordinator"));
        settings.listen = ([127, 0, 0, 1], 0).into();
        settings.lease = self.lease;
        settings.reserve_bytes = 1 << 20;
        settings
    }

    pub(crate) async fn start(&mut self) {
        let config = CoordinatorConfig::new(self.settings()).unwrap();
        self.handle = Some(Coordinator::start(config).await.unwrap());
    }

    pub(crate) async fn stop(&mut self) {
        within("the shutdown", self.handle.take().unwrap().shutdown()).await.unwrap();
    }

    pub(crate) fn handle(&self) -> &CoordinatorHandle {
        self.handle.as_ref().unwrap()
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        vec![self.handle().local_address().to_string()]
    }

    pub(crate) fn worker_token(&self) -> JoinToken {
        self.handle().worker_token().parse().unwrap()
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Enrols a worker that wants to be called `name`.
    pub(crate) async fn enrol_worker(&self, name: &str) -> Credentials {
        let directory = self.directory(&format!("worker-{name}"));
        let token = self.worker_token();
        within("an enrolment", endpoint::join(&token, name, true, &directory))
            .await
            .unwrap()
            .credentials
    }

    pub(crate) async fn connect(&self, credentials: &Credentials) -> Connection {
        let (addresses, timing) = (self.addresses(), Timing::for_lease(self.lease));
        within("a connection", endpoint::connect(&addresses, credentials, timing)).await.unwrap()
    }

    pub(crate) async fn admin(&self) -> Client {
        let credentials = self.handle().enrol_local_admin(&self.directory("admin")).unwrap();
        Client::greet(self.connect(&credentials).await, &credentials).await
    }

    /// Enrols a person with role user and connects as them.
    pub(crate) async fn user(&self, name: &str) -> Client {
        let request =
            Request::CreateToken { role: TokenRole::User, uses: Some(1), valid_ms: 60_000 };
        let token: JoinToken = match self.admin().await.ask_one(request).await {
            Answer::TokenCreated { token, .. } => token.parse().unwrap(),
            other => panic!("not a token: {other:?}"),
        };
        let directory = self.directory(&format!("user-{name}"));
        let joined =
            within("an enrolment", endpoint::join(&token, name, false, &directory)).await.unwrap();
        Client::greet(self.connect(&joined.credentials).await, &joined.credentials).await
    }
}

/// Waits for something, and says what it was where it does not come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

pub(crate) fn new_id() -> JobId {
    JobId(Uuid::now_v7())
}

/// A job of stages that each run a command over `tasks` numbers, each after the one before.
pub(crate) fn job(name: &str, stages: &[(&str, u64)]) -> JobSpec {
    let stage = |(place, (name, tasks)): (usize, &(&str, u64))| {
        let run = Run::Command { argv: vec![literal("true")] };
        let mut stage = stage(name, *tasks, run);
        stage.needs = place
            .checked_sub(1)
            .map(|before| StageIndex(u32::try_from(before).unwrap()))
            .into_iter()
            .collect();
        stage
    };
    JobSpec {
        name: name.to_owned(),
        priority: 0,
        stages: stages.iter().enumerate().map(stage).collect(),
    }
}

pub(crate) fn stage(name: &str, tasks: u64, run: Run) -> StageSpec {
    StageSpec {
        name: name.to_owned(),
        items: Items::Numbers(Numbers::new(0, 1, tasks, None).unwrap()),
        needs: Vec::new(),
        budget: gridctl_jobs::budget::Budget::default(),
        task: Arc::new(TaskTemplate {
            run,
            env: Default::default(),
            stdin: Stdin::Empty,
            cwd: None,
            cpus: Cpus::ONE,
            timeout: None,
            stdout: Keep::Keep,
            stderr: Keep::Keep,
            on_lost_lease: OnLostLease::Finish,
        }),
    }
}

pub(crate) fn literal(text: &str) -> Template {
    Template { parts: vec![Part::Literal(text.to_owned())] }
}
