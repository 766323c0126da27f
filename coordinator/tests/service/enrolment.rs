//! Who is let in, and as what.

use gridctl_core::state::LOCAL_ADMIN;
use gridctl_jobs::state::JobState;
use gridctl_transport::endpoint::{self, JoinError};
use gridctl_transport::handshake::{EpochMemory, greet};
use gridctl_transport::identity::Role;
use gridctl_transport::join_token::JoinToken;
use gridctl_transport::message::client::{Answer, JobRef, RefusedKind, Request, TokenRole};

use crate::client::{Client, target};
use crate::world::{World, job, new_id, within};

async fn token(admin: &Client, role: TokenRole, uses: Option<u32>) -> (u64, JoinToken) {
    match admin.ask_one(Request::CreateToken { role, uses, valid_ms: 60_000 }).await {
        Answer::TokenCreated { token_id, token, .. } => (token_id, token.parse().unwrap()),
        other => panic!("not a token: {other:?}"),
    }
}

async fn join(
    world: &World,
    token: &JoinToken,
    name: &str,
    as_worker: bool,
) -> Result<String, JoinError> {
    let directory = world.directory(&format!("{name}-{as_worker}"));
    let joined = within("an enrolment", endpoint::join(token, name, as_worker, &directory)).await?;
    Ok(joined.credentials.identity().name().to_owned())
}

#[tokio::test]
async fn standing_token_enrols_any_number_of_workers_under_names_of_their_own() {
    let world = World::new().await;
    let token = world.worker_token();
    assert_eq!(token.addresses(), world.handle().advertised());
    for expected in ["box", "box-2", "box-3"] {
        let directory = world.directory(expected);
        let joined = endpoint::join(&token, "box", true, &directory).await.unwrap();
        assert_eq!(joined.credentials.identity().name(), expected);
        assert_eq!(
            (joined.credentials.identity().role(), joined.grid.as_str()),
            (Role::Worker, "grid")
        );
    }
}

#[tokio::test]
async fn token_for_the_other_kind_is_refused_and_not_used_up() {
    let world = World::new().await;
    let (_, people) = token(&world.admin().await, TokenRole::User, Some(1)).await;
    let why = join(&world, &people, "ann", true).await.unwrap_err().to_string();
    assert!(why.contains("gridctl login TOKEN"), "{why}");
    let why = join(&world, &world.worker_token(), "ann", false).await.unwrap_err().to_string();
    assert!(why.contains("gridctl worker --join TOKEN"), "{why}");
    assert_eq!(join(&world, &people, "ann", false).await.unwrap(), "ann");
    let why = join(&world, &people, "bob", false).await.unwrap_err().to_string();
    assert!(why.contains("used as often as it may be"), "{why}");
}

#[tokio::test]
async fn revoked_token_lets_nobody_in_any_more() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (token_id, token) = token(&admin, TokenRole::Worker, None).await;
    assert_eq!(admin.ask_one(Request::RevokeToken { token_id }).await, Answer::TokenRevoked);
    let why = join(&world, &token, "box", true).await.unwrap_err().to_string();
    assert!(why.contains("revoked"), "{why}");
    let Answer::Tokens(rows) = admin.ask_one(Request::Tokens).await else { panic!("tokens") };
    let revoked: Vec<(u64, bool)> = rows.iter().map(|row| (row.token_id, row.revoked)).collect();
    assert_eq!(revoked, [(1, false), (token_id, true)], "the standing one, and this one");
    let refused = admin.refused(Request::RevokeToken { token_id: 99 }).await;
    assert_eq!(refused.kind, RefusedKind::NotFound);
}

#[tokio::test]
async fn users_see_every_job_and_change_only_their_own() {
    let world = World::new().await;
    let (admin, ann) = (world.admin().await, world.user("ann").await);
    let of_admin = admin.submit(new_id(), &job("of the admin", &[("a", 1)])).await;
    let of_ann = ann.submit(new_id(), &job("of ann", &[("a", 1)])).await;
    assert_eq!(ann.status(of_admin).await.job.owner, "local");
    assert_eq!(
        ann.refused(Request::Cancel { target: target(of_admin) }).await.kind,
        RefusedKind::Role
    );
    for request in [
        Request::CreateToken { role: TokenRole::Admin, uses: None, valid_ms: 1_000 },
        Request::Tokens,
        Request::RevokeToken { token_id: 1 },
    ] {
        assert_eq!(ann.refused(request).await.kind, RefusedKind::Role);
    }
    admin.ask_one(Request::Cancel { target: target(of_ann) }).await;
    assert_eq!(ann.wait(of_ann).await, JobState::Cancelled);
}

#[tokio::test]
async fn tokens_without_use_or_without_end_are_refused() {
    let admin = World::new().await;
    let admin = (admin.admin().await, admin);
    for (uses, valid_ms) in [(Some(0), 1_000), (None, 0), (None, u64::MAX)] {
        let request = Request::CreateToken { role: TokenRole::Worker, uses, valid_ms };
        assert_eq!(admin.0.refused(request).await.kind, RefusedKind::Invalid);
    }
}

#[tokio::test]
async fn local_admin_is_the_same_person_after_a_restart() {
    let mut world = World::new().await;
    let admin = world.admin().await;
    admin.submit(new_id(), &job("before", &[("a", 1)])).await;
    world.stop().await;
    world.start().await;
    let admin = world.admin().await;
    let Answer::Status(status) = admin.ask_one(Request::Status { job: JobRef::Last }).await else {
        panic!("a job")
    };
    assert_eq!(status.job.name, "before");
    assert_eq!(admin.connection.peer().role(), Role::Coordinator);
    let credentials = world.handle().enrol_local_admin(&world.directory("again")).unwrap();
    assert_eq!(
        (credentials.identity().id(), credentials.identity().role()),
        (LOCAL_ADMIN.0, Role::Admin)
    );
}

#[tokio::test]
async fn person_that_the_grid_does_not_know_is_refused_by_name_of_the_way_back() {
    // The directory was put back from before ann joined: her certificate is genuine, and she is not known.
    let mut world = World::new().await;
    let (_, token) = token(&world.admin().await, TokenRole::User, None).await;
    let directory = world.directory("ann");
    let joined =
        within("an enrolment", endpoint::join(&token, "ann", false, &directory)).await.unwrap();
    world.stop().await;
    let data = world.settings().data_dir;
    std::fs::remove_dir_all(data.join("journal")).unwrap();
    world.start().await;
    let connection = world.connect(&joined.credentials).await;
    let mut memory = EpochMemory::open(&joined.credentials).unwrap();
    let why = within("a refusal", greet(&connection, &mut memory)).await.unwrap_err().to_string();
    assert!(why.contains("gridctl login TOKEN"), "{why}");
}
