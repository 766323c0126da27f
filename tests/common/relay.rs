//! A relay of UDP between workers and a coordinator, which can lose, cut and move: what a network does, on
//! one machine, without any privilege.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often a waiting thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of the largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Stands between those that dial its address and the coordinator. Ends when it goes out of scope.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    below: UdpSocket,
    coordinator: Mutex<Option<SocketAddr>>,
    ended: AtomicBool,
    cut: AtomicBool,
    loss_percent: AtomicU32,
    /// Counts the moves: sockets towards the coordinator of an earlier one are dead.
    moves: AtomicU64,
    passed: AtomicU64,
    lost: AtomicU64,
    chance: Mutex<fastrand::Rng>,
}

impl Relay {
    /// Binds a port of loopback; what it loses follows from `seed` and the order of what comes.
    pub(crate) fn new(seed: u64) -> Self {
        let below = UdpSocket::bind("127.0.0.1:0").unwrap();
        below.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let address = below.local_addr().unwrap();
        let shared = Arc::new(Shared {
            below,
            coordinator: Mutex::new(None),
            ended: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            loss_percent: AtomicU32::new(0),
            moves: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
        });
        let relayed = Arc::clone(&shared);
        thread::spawn(move || relayed.relay_up());
        Self { address, shared }
    }

    /// Where to dial.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Says where the coordinator is; until then everything is lost.
    pub(crate) fn lead_to(&self, coordinator: SocketAddr) {
        *self.shared.coordinator.lock().unwrap() = Some(coordinator);
    }

    /// Loses everything from now on, or nothing any more.
    pub(crate) fn cut(&self, cut: bool) {
        self.shared.cut.store(cut, Ordering::SeqCst);
    }

    /// Loses this share of the datagrams, both ways.
    pub(crate) fn lose(&self, percent: u32) {
        self.shared.loss_percent.store(percent, Ordering::SeqCst);
    }

    /// Forgets every mapping, as a NAT does: the coordinator hears from another port from now on, and what
    /// it sends to the old one is lost.
    pub(crate) fn rebind(&self) {
        self.shared.moves.fetch_add(1, Ordering::SeqCst);
    }

    /// How many datagrams it has passed on, and how many it has lost.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.passed.load(Ordering::SeqCst), self.shared.lost.load(Ordering::SeqCst))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    /// From those below to the coordinator, from a socket for each of them.
    fn relay_up(self: &Arc<Self>) {
        let mut above: HashMap<SocketAddr, (u64, Arc<UdpSocket>)> = HashMap::new();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        while !self.ended.load(Ordering::SeqCst) {
            let Ok((bytes, from)) = self.below.recv_from(&mut datagram) else { continue };
            let Some(coordinator) = *self.coordinator.lock().unwrap() else { continue };
            if self.is_lost() {
                continue;
            }
            let moves = self.moves.load(Ordering::SeqCst);
            let known = above.get(&from).filter(|(made, _)| *made == moves);
            let socket = match known {
                Some((_, socket)) => Arc::clone(socket),
                None => {
                    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
                    above.insert(from, (moves, Arc::clone(&socket)));
                    let (relayed, back) = (Arc::clone(self), Arc::clone(&socket));
                    thread::spawn(move || relayed.relay_down(&back, from, moves));
                    socket
                }
            };
            // What cannot be sent is lost, as on any network.
            let _ = socket.send_to(&datagram[..bytes], coordinator);
        }
    }

    fn relay_down(&self, above: &UdpSocket, to: SocketAddr, moves: u64) {
        above.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        while !self.ended.load(Ordering::SeqCst) && self.moves.load(Ordering::SeqCst) == moves {
            let Ok((bytes, _)) = above.recv_from(&mut datagram) else { continue };
            if self.moves.load(Ordering::SeqCst) == moves && !self.is_lost() {
                let _ = self.below.send_to(&datagram[..bytes], to);
            }
        }
    }

    fn is_lost(&self) -> bool {
        let percent = self.loss_percent.load(Ordering::SeqCst);
        let drawn = percent > 0 && self.chance.lock().unwrap().u32(0..100) < percent;
        let lost = drawn || self.cut.load(Ordering::SeqCst);
        let counter = if lost { &self.lost } else { &self.passed };
        counter.fetch_add(1, Ordering::SeqCst);
        lost
    }
}
