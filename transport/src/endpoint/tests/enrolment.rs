//! Enrolment from both sides.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::world::{Grid, Server, soon, stranger};
use crate::credentials::Credentials;
use crate::endpoint::{
    AddressError, Admitted, ConnectError, JOIN_PROTOCOL, JoinError, Joined, JoiningError,
    JoiningPeer, join,
};
use crate::frame::FrameWriter;
use crate::identity::{Identity, Role};
use crate::join_token::{JoinToken, Secret};
use crate::message::join::{JoinAnswer, JoinRequest};
use crate::message::worker::Heartbeat;

fn token_for(grid: &Grid, server: &Server) -> JoinToken {
    JoinToken::new(server.addresses(), grid.authority.hash(), 3, Secret::random()).unwrap()
}

async fn joining(server: &mut Server) -> JoiningPeer {
    match server.outcome().await.unwrap() {
        Admitted::Joining(peer) => peer,
        Admitted::Peer(connection) => panic!("{} has a certificate", connection.peer()),
    }
}

/// What a coordinator does that finds the token in order.
fn enrol(grid: &Grid, request: &JoinRequest, role: Role, now: SystemTime) -> JoinAnswer {
    let identity = Identity::new(role, 12, format!("{}-2", request.wanted_name)).unwrap();
    JoinAnswer::Enrolled {
        name: identity.name().to_owned(),
        grid: "test grid".to_owned(),
        certificate: grid.authority.issue(&request.signing_request, &identity, now).unwrap(),
        ca: grid.authority.certificate().to_vec(),
    }
}

async fn join_with(
    server: &mut Server,
    token: &JoinToken,
    directory: &Path,
    answer: impl FnOnce(&JoinRequest) -> JoinAnswer,
) -> (JoinRequest, Result<Joined, JoinError>) {
    let serve = async {
        let mut peer = joining(server).await;
        let request = peer.request().await.unwrap();
        peer.answer(&answer(&request)).await.unwrap();
        request
    };
    soon(async { tokio::join!(serve, join(token, "node", true, directory)) }).await
}

#[tokio::test]
async fn a_token_becomes_an_identity_that_is_let_in() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let directory = TempDir::new().unwrap();
    let token = token_for(&grid, &server);
    let now = SystemTime::now();
    let (request, joined) = join_with(&mut server, &token, directory.path(), |request| {
        enrol(&grid, request, Role::Worker, now)
    })
    .await;
    assert_eq!(request.token_id, 3);
    assert_eq!(Secret::from_bytes(request.secret).hash(), token.secret_hash());
    let joined = joined.unwrap();
    assert_eq!(joined.grid, "test grid");
    assert_eq!(joined.credentials.identity().name(), "node-2");

    let loaded = Credentials::load(directory.path()).unwrap();
    assert_eq!(loaded.identity(), joined.credentials.identity());
    let mode = directory.path().join("key.pem").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (ours, _theirs) = server.admit(&loaded).await;
    assert_eq!(ours.peer(), loaded.identity());
}

#[tokio::test]
async fn the_secret_is_not_sent_to_a_server_of_another_authority() {
    let (grid, other) = (Grid::new(), Grid::new());
    let mut server = other.serve();
    let token = token_for(&grid, &server);
    let directory = TempDir::new().unwrap();
    let joining = join(&token, "node", true, directory.path());
    let (outcome, joined) = tokio::join!(server.outcome(), soon(joining));
    // The handshake itself failed: there was no stream on which a secret could have been sent.
    outcome.unwrap_err();
    let error = joined.unwrap_err();
    let JoinError::Connect(ConnectError::Refused(tried)) = error else { panic!("{error}") };
    assert!(matches!(tried.why, AddressError::OtherAuthority), "{}", tried.why);
}

#[tokio::test]
async fn a_refusal_is_told_and_leaves_the_old_identity_as_it_was() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let old = grid.enrol(Role::Worker, "old");
    let token = token_for(&grid, &server);
    let (_, joined) = join_with(&mut server, &token, old.directory(), |_| JoinAnswer::Refused {
        why: "the token has expired".to_owned(),
    })
    .await;
    let error = joined.unwrap_err();
    assert_eq!(error.to_string(), "the coordinator refused: the token has expired");
    assert_eq!(Credentials::load(old.directory()).unwrap().identity(), old.identity());
}

#[tokio::test]
async fn trying_again_asks_with_the_same_key() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let directory = TempDir::new().unwrap();
    let token = token_for(&grid, &server);
    // The answer is lost: the coordinator dies between enrolling and answering.
    let lose = async {
        let mut peer = joining(&mut server).await;
        let request = peer.request().await.unwrap();
        drop(peer);
        request
    };
    let (first, lost) =
        soon(async { tokio::join!(lose, join(&token, "node", true, directory.path())) }).await;
    lost.unwrap_err();
    let (second, joined) = join_with(&mut server, &token, directory.path(), |request| {
        enrol(&grid, request, Role::Worker, SystemTime::now())
    })
    .await;
    assert_eq!(key_of(&first), key_of(&second));
    joined.unwrap();
}

fn key_of(request: &JoinRequest) -> Vec<u8> {
    use x509_parser::prelude::{FromDer as _, X509CertificationRequest};
    let (_, parsed) = X509CertificationRequest::from_der(&request.signing_request).unwrap();
    parsed.certification_request_info.subject_pki.subject_public_key.data.to_vec()
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_kept() {
    let (grid, other) = (Grid::new(), Grid::new());
    let mut server = grid.serve();
    let token = token_for(&grid, &server);
    let now = SystemTime::now();
    let answers: [&dyn Fn(&JoinRequest) -> JoinAnswer; 3] = [
        // Another role than wanted.
        &|request| enrol(&grid, request, Role::Admin, now),
        // All of another authority than the token's.
        &|request| enrol(&other, request, Role::Worker, now),
        // The right authority's certificate with another one's signature.
        &|request| match enrol(&other, request, Role::Worker, now) {
            JoinAnswer::Enrolled { name, grid: called, certificate, ca: _ } => {
                let ca = grid.authority.certificate().to_vec();
                JoinAnswer::Enrolled { name, grid: called, certificate, ca }
            }
            refused @ JoinAnswer::Refused { .. } => refused,
        },
    ];
    for answer in answers {
        let directory = TempDir::new().unwrap();
        let (_, joined) = join_with(&mut server, &token, directory.path(), answer).await;
        let error = joined.unwrap_err();
        assert!(matches!(error, JoinError::Issued), "{error}");
        Credentials::load(directory.path()).unwrap_err();
    }
}

#[tokio::test]
async fn clocks_that_differ_too_much_are_named_when_joining() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let token = token_for(&grid, &server);
    let directory = TempDir::new().unwrap();
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    let (_, joined) = join_with(&mut server, &token, directory.path(), |request| {
        enrol(&grid, request, Role::Worker, ahead)
    })
    .await;
    let error = joined.unwrap_err();
    assert!(matches!(error, JoinError::Clocks(_)), "{error}");
    assert!(error.to_string().contains(&crate::certificate::at(ahead)), "{error}");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    let grid = Grid::new();
    let server = grid.serve();
    let directory = TempDir::new().unwrap();
    let joined = join(&token_for(&grid, &server), "two words", true, directory.path()).await;
    assert!(matches!(joined, Err(JoinError::Name(_))), "{joined:?}");
}

#[tokio::test]
async fn something_else_than_a_request_closes_an_enrolment() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let attempt = soon(stranger(server.address, JOIN_PROTOCOL, None));
    let (mut peer, stranger) = tokio::join!(joining(&mut server), attempt);
    let (_endpoint, connection) = stranger.unwrap();
    let (send, _receive) = connection.open_bi().await.unwrap();
    let mut writer = FrameWriter::new(send);
    writer.write(&Heartbeat { sequence: 1 }).await.unwrap();
    writer.finish();
    let error = soon(peer.request()).await.unwrap_err();
    assert!(matches!(error, JoiningError::Read(_)), "{error}");
    assert!(matches!(peer.request().await, Err(JoiningError::Lost(_))));
    soon(connection.closed()).await;
    server.serves_on(&grid).await;
}
