//! QUIC endpoints: the coordinator's [`Listener`], and [`connect`] and [`join`] for everybody else.
//!
//! TLS 1.3 only, with ring; no 0-RTT, no resumption, no datagrams. Both sides verify by the identity in
//! the other's certificate and by the one authority of the grid; DNS names and the machine's own store
//! of authorities play no part. Deliberately absent: what is said after the doors are open.

mod admit;
mod connection;
mod dial;
mod join;
mod limits;
mod listener;
mod lost;
mod reset;
mod serving;
mod verify;

pub use admit::{Admission, JOIN_PROTOCOL, PROTOCOL, Presented, Refusal, admit};
pub use connection::{CloseCode, Connection};
pub use dial::{AddressError, ConnectError, TriedAddress, connect};
pub use join::{JoinError, Joined, join};
pub use limits::{
    BI_STREAMS_PER_CLIENT_MAX, BI_STREAMS_PER_WORKER_MAX, BI_STREAMS_UNADMITTED_MAX,
    CONNECT_DEADLINE, CONNECTION_WINDOW_BYTES, HANDSHAKE_DEADLINE, HANDSHAKES_MAX, JOIN_DEADLINE,
    JOINING_MAX, STREAM_WINDOW_BYTES, Timing, UNADMITTED_WINDOW_BYTES, UNI_STREAMS_PER_WORKER_MAX,
};
pub use listener::{Admitted, BindError, JoiningError, JoiningPeer, Listener, RefusedPeer};
pub use lost::LostConnection;
pub(crate) use reset::ResetKey;
pub use serving::{ServeError, ServingCertificate};

#[cfg(test)]
mod tests;
