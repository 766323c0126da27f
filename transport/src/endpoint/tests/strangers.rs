//! Whoever may not come in is refused, told why, and costs nobody else anything.

use std::time::SystemTime;

use super::world::{Grid, LONG_AGO, own_chain, soon, stranger};
use crate::certificate::at;
use crate::endpoint::{Admitted, JOIN_PROTOCOL, LostConnection, PROTOCOL, Refusal};
use crate::identity::Role;

fn why_refused(error: quinn::ConnectionError) -> String {
    let lost = LostConnection::from(error);
    let LostConnection::Refused { why } = lost else { panic!("{lost}") };
    why
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_refused_and_told_how_to_join() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let address = server.address;
    let (outcome, stranger) =
        tokio::join!(server.refusal(), soon(stranger(address, PROTOCOL, None)));
    assert_eq!(outcome.why, Refusal::NoCertificate);
    let (endpoint, connection) = stranger.unwrap();
    assert_eq!(outcome.address.port(), endpoint.local_addr().unwrap().port());
    assert!(!outcome.to_string().contains('\n'), "a refusal is one line of a log");
    let why = why_refused(soon(connection.closed()).await);
    assert!(why.contains("gridctl login TOKEN"), "{why}");
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn a_peer_of_another_authority_is_refused() {
    let (grid, other) = (Grid::new(), Grid::new());
    let mut server = grid.serve();
    let own = own_chain(&other.enrol(Role::Admin, "mallory"));
    let address = server.address;
    let attempt = async {
        match stranger(address, PROTOCOL, Some(own)).await {
            Ok((_endpoint, connection)) => connection.closed().await,
            Err(error) => error,
        }
    };
    let (outcome, error) = tokio::join!(server.refusal(), soon(attempt));
    assert_eq!(outcome.why, Refusal::OtherAuthority);
    let why = why_refused(error);
    assert!(why.contains("another grid"), "{why}");
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn a_coordinators_certificate_does_not_let_in() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let stolen = grid.authority.coordinator_certificate("evil", SystemTime::now()).unwrap();
    let address = server.address;
    let own = (stolen.chain, stolen.key);
    let (outcome, _stranger) =
        tokio::join!(server.refusal(), soon(stranger(address, PROTOCOL, Some(own))));
    assert!(matches!(outcome.why, Refusal::Handshake { .. }), "{outcome}");

    // Even one that was signed for clients: it is the role that counts.
    let signed = grid.authority.sign_anything(Role::Coordinator, false);
    let own = (signed.chain, signed.key);
    let (outcome, _stranger) =
        tokio::join!(server.refusal(), soon(stranger(address, PROTOCOL, Some(own))));
    assert_eq!(outcome.why, Refusal::Role { role: Role::Coordinator });
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn a_certificate_does_not_help_to_join() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let own = own_chain(&grid.enrol(Role::Worker, "node"));
    let address = server.address;
    let (outcome, _stranger) =
        tokio::join!(server.refusal(), soon(stranger(address, JOIN_PROTOCOL, Some(own))));
    assert_eq!(outcome.why, Refusal::CertificateOnJoin);
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let address = server.address;
    let (outcome, stranger) = tokio::join!(server.refusal(), soon(stranger(address, b"h3", None)));
    assert!(matches!(outcome.why, Refusal::Handshake { .. }), "{outcome}");
    let why = why_refused(stranger.err().unwrap());
    assert!(why.contains("upgrade"), "{why}");
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_both_clocks() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let expired = grid.enrol_at(Role::Worker, "node", SystemTime::now() - LONG_AGO);
    let address = server.address;
    let own = Some(own_chain(&expired));
    let (outcome, stranger) =
        tokio::join!(server.refusal(), soon(stranger(address, PROTOCOL, own)));
    let Refusal::Time { role: Role::Worker, .. } = outcome.why else { panic!("{outcome}") };
    let (_endpoint, connection) = stranger.unwrap();
    let why = why_refused(soon(connection.closed()).await);
    assert!(why.contains(&at(expired.validity().not_after())), "{why}");
    let this_month = &at(SystemTime::now())[..8];
    assert!(why.contains(this_month), "{why} lacks the coordinator's clock");
    assert!(why.contains("gridctl worker --join TOKEN"), "{why}");
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn garbage_is_dropped_without_a_word() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address).await.unwrap();
    let mut chance = fastrand::Rng::with_seed(1);
    for length in [0, 1, 2, 20, 21, 40, 600, 1200, 1201, 1452, 9000] {
        for first in [0x00, 0x40, 0x7f, 0x80, 0xc0, 0xc3, 0xff] {
            let mut packet: Vec<u8> = (0..length).map(|_| chance.u8(..)).collect();
            if let Some(byte) = packet.first_mut() {
                *byte = first;
            }
            // QUIC version 1, so that some get further than the first look.
            if length >= 1200 {
                packet[1..5].copy_from_slice(&[0, 0, 0, 1]);
                packet[5] = 8;
            }
            socket.send(&packet).await.unwrap();
        }
    }
    server.serves_on(&grid).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_off_in_its_handshake_holds_up_nobody() {
    let grid = Grid::new();
    let mut server = grid.serve();
    let silent = stranger(server.address, PROTOCOL, None);
    // Begun and abandoned: its first packet is on the way at most.
    drop(tokio::time::timeout(std::time::Duration::ZERO, silent).await);
    let user = grid.enrol(Role::User, "ada");
    let addresses = server.addresses();
    let connecting = super::super::connect(&addresses, &user, super::super::Timing::DEFAULT);
    let admitted = async {
        loop {
            if let Ok(Admitted::Peer(connection)) = server.outcome().await {
                return connection;
            }
        }
    };
    let (ours, theirs) = tokio::join!(admitted, soon(connecting));
    assert_eq!(ours.peer(), user.identity());
    assert_eq!(theirs.unwrap().peer().role(), Role::Coordinator);
}
