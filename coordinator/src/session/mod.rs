//! One task a connection: what comes in becomes events, what is due goes out.
//!
//! - `accept`: who is let in · `join`: enrolment
//! - `worker`: a worker's control stream · `heartbeats` · `uploads`
//! - `client`: a person's requests · `control`: what changes jobs and workers · `answers`: tables · `output`, `watch`: what goes on and on
//! - `room`: what is refused on a full disk, and what waits
//! - `end`: why a session ended, and what is said about it

mod accept;
mod answers;
mod backup;
mod client;
mod control;
mod end;
mod heartbeats;
mod join;
mod output;
mod room;
mod uploads;
mod watch;
mod worker;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use gridctl_jobs::id::Epoch;
use gridctl_transport::authority::Authority;
use gridctl_transport::endpoint::Connection;
use tokio::sync::{Semaphore, watch as watch_channel};

use crate::keeping::Keeper;
use crate::leases::Leases;
use crate::limits::{SUBMISSION_BYTES_IN_FLIGHT_MAX, UPLOAD_BYTES_IN_FLIGHT_MAX};
use crate::reactor::ReactorHandle;
use crate::results::Results;
use crate::space::Space;
use crate::views::Views;

pub(crate) use accept::accept;
pub(crate) use client::create_token;

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) reactor: ReactorHandle,
    pub(crate) views: Arc<Views>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) results: Arc<Results>,
    pub(crate) space: Arc<Space>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) authority: Authority,
    pub(crate) grid: String,
    /// Of this life.
    pub(crate) epoch: Epoch,
    pub(crate) heartbeat_ms: u64,
    pub(crate) advertised: Vec<String>,
    pub(crate) room: Room,
    /// Turns true when sessions of clients are to end.
    pub(crate) stopping: watch_channel::Receiver<bool>,
}

/// Memory that peers can make us use, in units of [`ROOM_UNIT`] bytes.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) submissions: Arc<Semaphore>,
}

/// A semaphore counts in 32 bits at a time; kibibytes always fit.
const ROOM_UNIT: usize = 1 << 10;

impl Default for Room {
    fn default() -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / ROOM_UNIT));
        Self {
            uploads: of(UPLOAD_BYTES_IN_FLIGHT_MAX),
            submissions: of(SUBMISSION_BYTES_IN_FLIGHT_MAX),
        }
    }
}

/// Returns how many units `bytes` take; never more than `of`, so that one of the largest is always let in.
fn room_units(bytes: usize, of: usize) -> u32 {
    u32::try_from(bytes.min(of).div_ceil(ROOM_UNIT).max(1)).expect("both rooms are far below 4 TiB")
}

/// A peer in a log: its name, role and where it is.
#[derive(Clone, Debug)]
struct Peer {
    who: String,
    address: SocketAddr,
}

impl Peer {
    fn of(connection: &Connection) -> Self {
        let identity = connection.peer();
        let who = format!("{} {}", identity.role().as_str(), identity.name());
        Self { who, address: canonical(connection.remote_address()) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.who, self.address)
    }
}

/// Writes an IPv4 peer of an IPv6 socket as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
