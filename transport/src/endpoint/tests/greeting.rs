//! The first words of clients, on a real connection.

use gridctl_jobs::id::Epoch;

use super::world::{Grid, soon, stranger};
use crate::endpoint::{LostConnection, PROTOCOL};
use crate::handshake::{EpochMemory, GreetError, Welcomed, greet, welcome_client};
use crate::identity::Role;
use crate::message::client::{ClientHello, ClientWelcome};
use crate::message::{PROTOCOL_VERSION, Turned};

#[tokio::test]
async fn a_client_learns_the_grid_and_remembers_its_epoch() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let who = grid.enrol(Role::User, "ada");
    let (ours, theirs) = server.admit(&who).await;
    let mut memory = EpochMemory::open(&who).unwrap();
    let greeting =
        async { tokio::join!(welcome_client(&ours, Epoch(9), "lab"), greet(&theirs, &mut memory)) };
    let (version, welcomed) = soon(greeting).await;
    assert_eq!(version.unwrap(), PROTOCOL_VERSION);
    let expected = Welcomed { version: PROTOCOL_VERSION, epoch: Epoch(9), grid: "lab".to_owned() };
    assert_eq!(welcomed.unwrap(), expected);
    assert_eq!(EpochMemory::open(&who).unwrap().seen(), Epoch(9));
}

#[tokio::test]
async fn a_coordinator_of_a_lower_epoch_is_refused_on_both_sides() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let who = grid.enrol(Role::User, "ada");
    let (ours, theirs) = server.admit(&who).await;
    let mut memory = EpochMemory::open(&who).unwrap();
    memory.welcomed(Epoch(10)).unwrap();
    let greeting =
        async { tokio::join!(welcome_client(&ours, Epoch(9), "lab"), greet(&theirs, &mut memory)) };
    let (served, greeted) = soon(greeting).await;
    let old = Turned::OldCoordinator { ours: Epoch(9), seen: Epoch(10) };
    assert!(matches!(served, Err(GreetError::Turned(turned)) if turned == old));
    assert!(matches!(greeted, Err(GreetError::Turned(turned)) if turned == old));
    assert_eq!(memory.seen(), Epoch(10));
}

#[tokio::test]
async fn a_coordinator_that_hides_its_age_is_refused_by_the_client() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let who = grid.enrol(Role::User, "ada");
    let (ours, theirs) = server.admit(&who).await;
    let mut memory = EpochMemory::open(&who).unwrap();
    memory.welcomed(Epoch(10)).unwrap();
    let lie = async {
        let (mut writer, mut reader) = ours.accept_bi().await.unwrap();
        reader.expect::<ClientHello>().await.unwrap();
        let epoch = Epoch(9);
        let welcome = ClientWelcome::Welcome { version: 1, epoch, grid: "lab".to_owned() };
        writer.write(&welcome).await.unwrap();
    };
    let ((), greeted) = soon(async { tokio::join!(lie, greet(&theirs, &mut memory)) }).await;
    let error = greeted.unwrap_err();
    assert!(matches!(error, GreetError::Turned(Turned::OldCoordinator { .. })), "{error}");
}

#[tokio::test]
async fn a_client_that_was_refused_at_the_door_learns_it_from_its_greeting() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let address = server.address;
    // Without a certificate, a client believes that it is connected until it hears otherwise.
    let (refused, stranger) =
        tokio::join!(server.refusal(), soon(stranger(address, PROTOCOL, None)));
    let (endpoint, connection) = stranger.unwrap();
    let peer = grid.enrol(Role::User, "ada").identity().clone();
    let connection = crate::endpoint::Connection::dialled(connection, peer, endpoint);
    let mut memory = EpochMemory::open(&grid.enrol(Role::User, "ada")).unwrap();
    let error = soon(greet(&connection, &mut memory)).await.unwrap_err();
    let GreetError::Lost(LostConnection::Refused { why }) = error else { panic!("{error}") };
    assert_eq!(why, refused.why.to_string());
}
