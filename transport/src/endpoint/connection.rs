//! A connection whose other end is known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, VarInt};

use super::limits::{
    BI_STREAMS_PER_CLIENT_MAX, BI_STREAMS_PER_WORKER_MAX, CONNECTION_WINDOW_BYTES,
    UNI_STREAMS_PER_WORKER_MAX,
};
use super::lost::LostConnection;
use crate::frame::{FrameReader, FrameWriter};
use crate::identity::{Identity, Role};

/// Why a connection or stream is closed, as the other side sees it. The numbers are on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseCode {
    /// 0: everything was said.
    Done,
    /// 1: not let in.
    Refused,
    /// 2: the peer broke the protocol.
    Violation,
    /// 3: this side is stopping.
    Stopping,
    /// 4: the same identity has a newer session.
    Superseded,
    /// 5: too many at once; the same may be tried later.
    Overloaded,
    /// 6: something that is due did not come in time.
    Late,
    /// Any other: from a later release.
    Unknown,
}

/// A connection to a peer whose identity was verified. Cheap to clone; closed when the last clone goes.
#[derive(Clone)]
pub struct Connection {
    quic: quinn::Connection,
    peer: Arc<Identity>,
    /// Of the dialling side: what sends the last packets after the connection was closed.
    endpoint: Option<Endpoint>,
}

impl CloseCode {
    const WIRE: [Self; 7] = [
        Self::Done,
        Self::Refused,
        Self::Violation,
        Self::Stopping,
        Self::Superseded,
        Self::Overloaded,
        Self::Late,
    ];

    /// Says whether coming back as the same peer cannot help.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Refused | Self::Violation | Self::Superseded => true,
            Self::Done | Self::Stopping | Self::Overloaded | Self::Late | Self::Unknown => false,
        }
    }

    pub(super) fn from_wire(code: VarInt) -> Self {
        let place = usize::try_from(code.into_inner()).unwrap_or(usize::MAX);
        Self::WIRE.get(place).copied().unwrap_or(Self::Unknown)
    }
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        Self::from_u32(match code {
            CloseCode::Done => 0,
            CloseCode::Refused => 1,
            CloseCode::Violation => 2,
            CloseCode::Stopping => 3,
            CloseCode::Superseded => 4,
            CloseCode::Overloaded => 5,
            CloseCode::Late => 6,
            CloseCode::Unknown => 7,
        })
    }
}

impl Connection {
    pub(super) fn accepted(quic: quinn::Connection, peer: Identity) -> Self {
        let (bi_streams, uni_streams) = match peer.role() {
            Role::Worker => (BI_STREAMS_PER_WORKER_MAX, UNI_STREAMS_PER_WORKER_MAX),
            Role::User | Role::Admin => (BI_STREAMS_PER_CLIENT_MAX, 0),
            // Never admitted as a peer.
            Role::Coordinator => (0, 0),
        };
        quic.set_max_concurrent_bi_streams(VarInt::from_u32(bi_streams));
        quic.set_max_concurrent_uni_streams(VarInt::from_u32(uni_streams));
        quic.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
        Self { quic, peer: Arc::new(peer), endpoint: None }
    }

    pub(super) fn dialled(quic: quinn::Connection, peer: Identity, endpoint: Endpoint) -> Self {
        Self { quic, peer: Arc::new(peer), endpoint: Some(endpoint) }
    }

    /// Returns who the other side is, by its certificate.
    pub fn peer(&self) -> &Identity {
        &self.peer
    }

    /// Returns where the other side is now; it may change while the connection goes on.
    pub fn remote_address(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Opens a stream in both directions.
    ///
    /// # Errors
    /// [`LostConnection`] where the connection is gone.
    pub async fn open_bi(&self) -> Result<(FrameWriter, FrameReader), LostConnection> {
        let (send, receive) = self.quic.open_bi().await?;
        Ok((FrameWriter::new(send), FrameReader::new(receive)))
    }

    /// Opens a stream to the other side only.
    ///
    /// # Errors
    /// [`LostConnection`] where the connection is gone.
    pub async fn open_uni(&self) -> Result<FrameWriter, LostConnection> {
        Ok(FrameWriter::new(self.quic.open_uni().await?))
    }

    /// Waits for the other side to open a stream in both directions. May be cancelled.
    ///
    /// # Errors
    /// [`LostConnection`] where the connection is gone.
    pub async fn accept_bi(&self) -> Result<(FrameWriter, FrameReader), LostConnection> {
        let (send, receive) = self.quic.accept_bi().await?;
        Ok((FrameWriter::new(send), FrameReader::new(receive)))
    }

    /// Waits for the other side to open a stream to this one. May be cancelled.
    ///
    /// # Errors
    /// [`LostConnection`] where the connection is gone.
    pub async fn accept_uni(&self) -> Result<FrameReader, LostConnection> {
        Ok(FrameReader::new(self.quic.accept_uni().await?))
    }

    /// Closes it at once; what was sent and not confirmed may be lost.
    pub fn close(&self, code: CloseCode, why: &str) {
        self.quic.close(code.into(), why.as_bytes());
    }

    /// Closes it and waits, up to `patience`, until the other side can have heard of it. For a program
    /// that is about to exit; otherwise [`close`](Self::close) does. QUIC lingers for three probe
    /// timeouts (measured: 80 ms on loopback), and the packet is on its way after the first millisecond:
    /// a person should not wait for the rest.
    pub async fn close_and_flush(&self, code: CloseCode, why: &str, patience: Duration) {
        self.close(code, why);
        if let Some(endpoint) = &self.endpoint {
            // Out of patience: the other side finds out by its idle timeout.
            let _ = tokio::time::timeout(patience, endpoint.wait_idle()).await;
        }
    }

    /// Waits until the connection is gone, and says why. May be cancelled.
    pub async fn closed(&self) -> LostConnection {
        self.quic.closed().await.into()
    }

    /// Returns why the connection is gone; `None` while it is there.
    pub fn lost(&self) -> Option<LostConnection> {
        self.quic.close_reason().map(LostConnection::from)
    }

    #[cfg(test)]
    pub(super) fn endpoint_for_test(&self) -> &Endpoint {
        self.endpoint.as_ref().expect("the test dialled")
    }

    /// Returns the connection itself, for measures such as the round-trip time.
    pub const fn quic(&self) -> &quinn::Connection {
        &self.quic
    }
}
