//! Every maximum of an endpoint in one place, each with why that value.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

/// Handshakes under way at once; each holds some 50 KiB of state and at most
/// [`UNADMITTED_WINDOW_BYTES`] of data, so strangers never hold more than 32 MiB. Further ones are refused,
/// and come back by themselves.
pub const HANDSHAKES_MAX: usize = 256;
/// Handshakes under way from which on addresses have to prove themselves first (a QUIC retry, which
/// costs a round trip): a quarter, so that a forged flood never reaches the maximum.
pub(super) const RETRY_FROM: usize = HANDSHAKES_MAX / 4;
/// How long a handshake may take: ten round trips on the worst of links.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Peers that enrol at once. Signing takes a millisecond; more than this is not enrolment.
pub const JOINING_MAX: usize = 64;
/// How long an enrolment may take, with the coordinator's disk at its slowest.
pub const JOIN_DEADLINE: Duration = Duration::from_secs(20);
/// How long a client tries all addresses of a coordinator together.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client waits for one address before it also tries the next (RFC 8305 recommends 250 ms).
pub(crate) const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Addresses that names may resolve to, together; a handful of names with a few addresses each.
pub(crate) const RESOLVED_ADDRESSES_MAX: usize = 64;

/// Streams that a peer may open before it was admitted: what a worker opens at once, and as much again.
pub const BI_STREAMS_UNADMITTED_MAX: u32 = 4;
/// Bytes that a peer may have sent before it was admitted; a request to join has 16 KiB at most.
pub const UNADMITTED_WINDOW_BYTES: u32 = 64 << 10;
/// Requests that a client may have open at once; more than any of our programs makes.
pub const BI_STREAMS_PER_CLIENT_MAX: u32 = 64;
/// A worker's control and heartbeats, and as much again for streams that are just being closed.
pub const BI_STREAMS_PER_WORKER_MAX: u32 = 4;
/// Uploads that a worker may have open at once: enough to keep a link full, few enough to read at once.
pub const UNI_STREAMS_PER_WORKER_MAX: u32 = 16;
/// Bytes that one connection may have sent and not seen read: 16 MiB is a gigabit at 130 ms.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The same for one stream: a quarter, so that one slow reader does not stall the others.
pub const STREAM_WINDOW_BYTES: u32 = CONNECTION_WINDOW_BYTES / 4;
/// Bytes that we send on one connection before the peer has confirmed any.
const SEND_WINDOW_BYTES: u64 = 8 << 20;
/// The shortest time to give a silent connection up after: with a lease of less, a lost packet and its
/// retransmission would already count as silence.
const IDLE_LEAST: Duration = Duration::from_secs(2);

/// When a silent connection is given up, and how often it is kept from falling silent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    idle: Duration,
    keep_alive: Duration,
}

impl Timing {
    /// For those who do not know the lease yet: that of a lease of ten seconds, the default. The shorter
    /// of the two sides' counts.
    pub const DEFAULT: Self =
        Self { idle: Duration::from_secs(10), keep_alive: Duration::from_millis(2500) };

    /// Gives a connection up when a lease would have run out (but not before two seconds), and lets
    /// three signs of life in a row be lost before that.
    pub fn for_lease(lease: Duration) -> Self {
        // The wire counts milliseconds in 62 bits; a day is beyond any use.
        let idle = lease.clamp(IDLE_LEAST, Duration::from_secs(24 * 3600));
        Self { idle, keep_alive: idle / 4 }
    }

    /// Returns after how long without a sign of life a connection is given up.
    pub const fn idle(self) -> Duration {
        self.idle
    }
}

/// The side that streams are opened to.
pub(crate) fn listener_transport(timing: Timing) -> Arc<TransportConfig> {
    let mut config = common(timing);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(BI_STREAMS_UNADMITTED_MAX))
        .receive_window(VarInt::from_u32(UNADMITTED_WINDOW_BYTES));
    Arc::new(config)
}

/// The side that opens streams: the coordinator opens none.
pub(crate) fn dialer_transport(timing: Timing) -> Arc<TransportConfig> {
    let mut config = common(timing);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    Arc::new(config)
}

fn common(timing: Timing) -> TransportConfig {
    let idle = IdleTimeout::try_from(timing.idle).expect("a timing is at most a day");
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(timing.keep_alive))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        // None turns datagrams off.
        .datagram_receive_buffer_size(None);
    config
}
