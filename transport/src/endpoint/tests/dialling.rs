//! Whom the dialling side accepts, and what it says where it finds nobody.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, SystemTime};

use super::world::{Grid, LONG_AGO, soon};
use crate::certificate::{TimeError, at};
use crate::credentials::Credentials;
use crate::endpoint::{
    AddressError, CloseCode, ConnectError, LostConnection, ServingCertificate, Timing, connect,
};
use crate::identity::Role;

async fn connect_to(addresses: &[String], who: &Credentials) -> ConnectError {
    match soon(connect(addresses, who, Timing::DEFAULT)).await {
        Ok(connection) => panic!("connected to {}", connection.remote_address()),
        Err(error) => error,
    }
}

/// Connects to a server that nobody has to watch.
async fn refused_by(mut server: super::world::Server, who: &Credentials) -> AddressError {
    let addresses = server.addresses();
    let error = tokio::select! {
        error = connect_to(&addresses, who) => error,
        outcome = async { loop { server.outcome().await.unwrap_err(); } } => outcome,
    };
    let ConnectError::Refused(tried) = error else { panic!("{error}") };
    assert_eq!(tried.address, addresses[0]);
    tried.why
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let grid = Grid::new();
    let mut server = grid.serve();
    for role in [Role::Worker, Role::User, Role::Admin] {
        let who = grid.enrol(role, role.as_str());
        let (ours, theirs) = server.admit(&who).await;
        assert_eq!(ours.peer(), who.identity());
        assert_eq!(theirs.peer().role(), Role::Coordinator);
        theirs.close_and_flush(CloseCode::Done, "bye", Duration::from_secs(5)).await;
        let expected = LostConnection::Closed { code: CloseCode::Done, why: "bye".to_owned() };
        assert_eq!(soon(ours.closed()).await, expected);
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_accepted() {
    let (grid, other) = (Grid::new(), Grid::new());
    let who = grid.enrol(Role::User, "ada");
    let why = refused_by(other.serve(), &who).await;
    assert!(matches!(why, AddressError::OtherAuthority), "{why}");
}

#[tokio::test]
async fn a_worker_in_the_place_of_the_coordinator_is_not_accepted() {
    let grid = Grid::new();
    let user = grid.enrol(Role::User, "ada");
    // Even one that was signed for servers: it is the role that counts.
    for serves in [false, true] {
        let worker = grid.authority.sign_anything(Role::Worker, serves);
        let server = grid.serve_with(ServingCertificate::new(worker).unwrap());
        let why = refused_by(server, &user).await;
        assert!(matches!(why, AddressError::NotCoordinator { role: Role::Worker }), "{why}");
    }
}

#[tokio::test]
async fn an_expired_server_is_refused_with_both_clocks() {
    let grid = Grid::new();
    let then = SystemTime::now() - LONG_AGO;
    let server = grid.serve_with(grid.coordinator_certificate(then));
    let why = refused_by(server, &grid.enrol(Role::User, "ada")).await;
    assert!(matches!(why, AddressError::Time(TimeError::Expired { .. })), "{why}");
}

#[tokio::test]
async fn a_server_from_the_future_is_refused_with_both_clocks() {
    let grid = Grid::new();
    let then = SystemTime::now() + Duration::from_secs(3600);
    let server = grid.serve_with(grid.coordinator_certificate(then));
    let why = refused_by(server, &grid.enrol(Role::User, "ada")).await;
    assert!(matches!(why, AddressError::Time(TimeError::NotYetValid { .. })), "{why}");
    let text = why.to_string();
    assert!(text.contains(&at(then)), "{text} lacks the coordinator's clock");
    assert!(text.contains(&at(SystemTime::now())[..8]), "{text} lacks this machine's clock");
}

#[tokio::test]
async fn an_own_certificate_that_has_expired_is_noticed_before_anybody_is_asked() {
    let grid = Grid::new();
    let who = grid.enrol_at(Role::Worker, "node", SystemTime::now() - LONG_AGO);
    let error = connect_to(&[], &who).await;
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Outdated(_)), "{text}");
    assert!(text.contains(&at(who.validity().not_after())), "{text}");
    assert!(text.contains(&at(SystemTime::now())[..8]), "{text}");
    assert!(text.contains("gridctl worker --join TOKEN"), "{text}");
}

#[tokio::test]
async fn every_address_that_did_not_answer_is_named_with_its_reason() {
    let grid = Grid::new();
    let closed = {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let addresses = [closed.clone(), "no-port".to_owned()];
    let error = connect_to(&addresses, &grid.enrol(Role::User, "ada")).await;
    let text = error.to_string();
    assert!(text.contains(&format!("{closed}: nothing listens there")), "{text}");
    assert!(text.contains("no-port: the name cannot be resolved"), "{text}");
}

#[tokio::test]
async fn without_any_address_the_error_says_so() {
    let error = connect_to(&[], &Grid::new().enrol(Role::User, "ada")).await;
    assert!(error.to_string().contains("no address is known"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_hold_up_the_next() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addresses = [silent.local_addr().unwrap().to_string(), server.address.to_string()];
    let who = grid.enrol(Role::User, "ada");
    let (ours, theirs) =
        tokio::join!(server.peer(), soon(connect(&addresses, &who, Timing::DEFAULT)));
    assert_eq!(ours.peer(), who.identity());
    assert_eq!(theirs.unwrap().remote_address(), server.address);
}

#[tokio::test]
async fn an_answer_counts_for_more_than_silence() {
    let (grid, other) = (Grid::new(), Grid::new());
    let mut server = other.serve();
    let closed = {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let addresses = [closed, server.address.to_string()];
    let who = grid.enrol(Role::User, "ada");
    let (_, error) = tokio::join!(server.refusal(), connect_to(&addresses, &who));
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_to_newcomers_and_leaves_others_alone() {
    let grid = Grid::new();
    let then = SystemTime::now() - LONG_AGO;
    let mut server = grid.serve_with(grid.coordinator_certificate(then));
    let who = grid.enrol(Role::User, "ada");
    let addresses = server.addresses();
    let (_, error) = tokio::join!(server.refusal(), connect_to(&addresses, &who));
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");

    let renew = || grid.authority.coordinator_certificate("c", SystemTime::now()).unwrap();
    server.certificate.replace(renew()).unwrap();
    let (ours, theirs) = server.admit(&who).await;
    server.certificate.replace(renew()).unwrap();
    server.admit(&who).await;
    assert_eq!((ours.lost(), theirs.lost()), (None, None));
}

#[tokio::test]
async fn a_connection_outlives_a_change_of_address() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let (ours, theirs) = server.admit(&grid.enrol(Role::Worker, "node")).await;
    let before = ours.remote_address();
    let moved = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let after = moved.local_addr().unwrap();
    theirs.endpoint_for_test().rebind(moved).unwrap();

    let (mut writer, _reader) = theirs.open_bi().await.unwrap();
    writer.write(&crate::message::worker::StreamKind::Control).await.unwrap();
    let (_writer, mut reader) = soon(ours.accept_bi()).await.unwrap();
    soon(reader.expect::<crate::message::worker::StreamKind>()).await.unwrap();
    assert_ne!(before.port(), after.port());
    assert_eq!(ours.remote_address().port(), after.port());
}

#[test]
fn a_connection_of_a_killed_coordinator_is_gone_once_another_serves_there() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let grid = Grid::new();
    let (killed, lives) = (runtime(), runtime());
    let mut server = killed.block_on(async { grid.serve() });
    let who = grid.enrol(Role::Worker, "node");
    let addresses = server.addresses();
    let connecting =
        lives.spawn(async move { super::super::connect(&addresses, &who, Timing::DEFAULT).await });
    let ours = killed.block_on(server.peer());
    let theirs = lives.block_on(connecting).unwrap().unwrap();
    // Nothing is sent any more: as little as by a process that was killed.
    let address = server.address;
    killed.shutdown_timeout(Duration::from_secs(60));
    drop((ours, server));

    lives.block_on(async {
        let certificate = grid.coordinator_certificate(SystemTime::now());
        let again = async {
            loop {
                let bound = super::super::Listener::bind(
                    address,
                    &grid.authority,
                    certificate.clone(),
                    Timing::DEFAULT,
                );
                match bound {
                    Ok(listener) => return listener,
                    // The killed one still lets go of its socket.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let _serving = soon(again).await;
        let (mut writer, _reader) = theirs.open_bi().await.unwrap();
        writer.write(&crate::message::worker::StreamKind::Control).await.unwrap();
        assert_eq!(soon(theirs.closed()).await, LostConnection::Forgotten);
    });
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let grid = Grid::new();
    let server = grid.serve();
    let again = super::super::Listener::bind(
        server.address,
        &grid.authority,
        grid.coordinator_certificate(SystemTime::now()),
        Timing::DEFAULT,
    );
    let text = again.err().unwrap().to_string();
    assert!(text.contains(&server.address.to_string()), "{text}");
    assert!(text.contains("--listen"), "{text}");
}
