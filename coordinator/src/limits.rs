//! Every maximum of the shell that a peer could reach, in one place, each with why that value. (What one
//! queue holds stands with that queue.)

use std::time::Duration;

/// How long a new connection may take to say what it wants: its first stream and its first message.
pub(crate) const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take to send a request of ordinary size, or to take one piece of an answer.
pub(crate) const CLIENT_STEP_WITHIN: Duration = Duration::from_secs(60);
/// How long a whole submission may take to arrive: 256 MiB over a slow line.
pub(crate) const SUBMISSION_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long the writer of a worker's session waits for a worker to take anything at all; about the longest
/// stall of a network that comes back.
pub(crate) const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How long a report waits for an upload that it names and that has not begun to arrive: the stream was
/// opened before the report was sent, so this is reordering and loss on the way, nothing more.
pub(crate) const UPLOAD_BEGINS_WITHIN: Duration = Duration::from_secs(30);
/// How long an upload may stand still.
pub(crate) const UPLOAD_STALL: Duration = Duration::from_secs(30);
/// How long a report waits for an upload that has begun to arrive: 48 MiB over a slow line.
pub(crate) const UPLOAD_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long a worker that said goodbye may stay for its last acknowledgements.
pub(crate) const LINGER: Duration = Duration::from_secs(10);
/// How long a goodbye may take to reach those who are told that the coordinator stops.
pub(crate) const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Connections at once, of all kinds: 46 KiB each before anything is said.
pub(crate) const CONNECTIONS_MAX: usize = 8192;
/// Uploads of one worker that were received and not yet named by a report.
pub(crate) const UPLOADS_PER_WORKER_MAX: usize = 64;
/// Bytes of uploads that are being received at once, over all workers: each is held whole, so that one record
/// of it is written.
pub(crate) const UPLOAD_BYTES_IN_FLIGHT_MAX: usize = 256 << 20;
/// Heartbeats that may come within one interval: a worker that was cut off sends what it missed, once.
pub(crate) const HEARTBEATS_PER_INTERVAL_MAX: u32 = 32;
/// Bytes of a request beyond which room for it is reserved before it is read.
pub(crate) const SMALL_REQUEST_BYTES_MAX: usize = 256 << 10;
/// Bytes of submissions that are being received at once, over all clients: one of the largest, and many of
/// ordinary size beside it.
pub(crate) const SUBMISSION_BYTES_IN_FLIGHT_MAX: usize = 1 << 30;
/// Statuses that a watcher is sent in a second at most, but for the last one, which never waits.
pub(crate) const WATCH_EVERY: Duration = Duration::from_millis(100);
/// How often a follower of output looks for more at most.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_millis(5);
/// Bytes of one piece of output.
pub(crate) const OUTPUT_PIECE_BYTES_MAX: usize = 256 << 10;
/// How long a join token may hold: a year.
pub(crate) const TOKEN_VALID_MS_MAX: u64 = 366 * 24 * 3600 * 1000;
/// How long the worker token holds that a coordinator prints when it starts: a day.
pub(crate) const STANDING_TOKEN_VALID_MS: u64 = 24 * 3600 * 1000;
