//! Outputs that are too large for a report: each on a stream of its own, put away whole, then named by a report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gridctl_core::fact::Kept;
use gridctl_jobs::limits::{OUTPUT_BYTES_MAX, RESULT_BYTES_MAX};
use gridctl_transport::frame::FrameReader;
use gridctl_transport::message::worker::{StreamKind, UploadId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::end::End;
use super::room::put_away;
use super::{Shared, room_units};
use crate::limits::{
    FIRST_MESSAGE_WITHIN, UPLOAD_BEGINS_WITHIN, UPLOAD_BYTES_IN_FLIGHT_MAX, UPLOAD_STALL,
    UPLOAD_WITHIN, UPLOADS_PER_WORKER_MAX,
};
use crate::results::{Pin, Results};

/// The uploads of one connection that no report has named yet.
#[derive(Debug)]
pub(super) struct Uploads {
    entries: Mutex<BTreeMap<UploadId, Upload>>,
    changed: watch::Sender<()>,
}

/// How far an upload is.
#[derive(Debug)]
enum Upload {
    /// For want of memory, or of room on the disk: however long that takes.
    Waiting,
    Arriving {
        since: Instant,
    },
    /// Whole; `None` where it held nothing.
    PutAway(Option<(Kept, Pin)>),
}

/// Lengths of the parts of an upload, as announced.
#[derive(Clone, Copy, Debug)]
struct Parts {
    stdout: usize,
    stderr: usize,
    result: usize,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { entries: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Upload {
    fn into_kept(self) -> Option<(Kept, Pin)> {
        match self {
            Self::PutAway(kept) => kept,
            Self::Waiting | Self::Arriving { .. } => None,
        }
    }
}

impl Uploads {
    /// Takes an upload that a report names; waits where it is still on the way.
    pub(super) async fn take(&self, id: UploadId) -> Result<Option<(Kept, Pin)>, End> {
        let mut changes = self.changed.subscribe();
        let begun_by = Instant::now() + UPLOAD_BEGINS_WITHIN;
        loop {
            let deadline = {
                let mut entries = self.entries();
                match entries.get(&id) {
                    Some(Upload::PutAway(_)) => {
                        let whole = entries.remove(&id);
                        return Ok(whole.and_then(Upload::into_kept));
                    }
                    Some(Upload::Waiting) => None,
                    Some(Upload::Arriving { since }) => Some(*since + UPLOAD_WITHIN),
                    None => Some(begun_by),
                }
            };
            let changed = match deadline {
                Some(deadline) => timeout_at(deadline, changes.changed())
                    .await
                    .map_err(|_| End::UnknownUpload(id))?,
                None => changes.changed().await,
            };
            // The sender is here, in `self`.
            changed.map_err(|_| End::Abnormal)?;
        }
    }

    fn begin(&self, id: UploadId) -> Result<(), End> {
        let mut entries = self.entries();
        if entries.len() >= UPLOADS_PER_WORKER_MAX {
            return Err(End::Unexpected("too many uploads that no report names"));
        }
        if entries.insert(id, Upload::Waiting).is_some() {
            return Err(End::Unexpected("two uploads of the same number"));
        }
        drop(entries);
        self.changed.send_replace(());
        Ok(())
    }

    fn set(&self, id: UploadId, upload: Upload) {
        self.entries().insert(id, upload);
        self.changed.send_replace(());
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<UploadId, Upload>> {
        // Nothing panics while it holds the lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives one upload and puts it away.
pub(super) async fn receive(
    shared: Arc<Shared>,
    uploads: Arc<Uploads>,
    mut reader: FrameReader,
) -> Result<(), End> {
    let kind = timeout(FIRST_MESSAGE_WITHIN, reader.expect::<StreamKind>());
    let (id, parts) = match kind.await.map_err(|_| End::Late("the kind of a stream"))?? {
        StreamKind::Upload { upload, stdout_bytes, stderr_bytes, result_bytes } => {
            (upload, Parts::checked([stdout_bytes, stderr_bytes, result_bytes])?)
        }
        StreamKind::Control | StreamKind::Heartbeats => {
            return Err(End::Unexpected("a stream in one direction that is not an upload"));
        }
    };
    uploads.begin(id)?;
    let units = room_units(parts.all(), UPLOAD_BYTES_IN_FLIGHT_MAX);
    let room = Arc::clone(&shared.room.uploads)
        .acquire_many_owned(units)
        .await
        .map_err(|_| End::Stopping)?;
    uploads.set(id, Upload::Arriving { since: Instant::now() });
    let bytes = read_whole(&mut reader, parts.all()).await?;
    let append = move |results: &Results| {
        let (stdout, rest) = bytes.split_at(parts.stdout);
        let (stderr, result) = rest.split_at(parts.stderr);
        results.append(stdout, stderr, result)
    };
    let pin = Pin::new(&shared.results);
    let kept = put_away(&shared, append, || uploads.set(id, Upload::Waiting)).await?;
    drop(room);
    uploads.set(id, Upload::PutAway((parts.all() > 0).then_some((kept, pin))));
    Ok(())
}

async fn read_whole(reader: &mut FrameReader, length: usize) -> Result<Vec<u8>, End> {
    // What was announced allocates nothing: the buffer grows by what has arrived.
    let mut bytes = Vec::new();
    loop {
        let chunk = timeout(UPLOAD_STALL, reader.read_raw(length - bytes.len() + 1)).await;
        match chunk.map_err(|_| End::Late("the rest of an upload"))?? {
            Some(chunk) if bytes.len() + chunk.len() <= length => bytes.extend_from_slice(&chunk),
            Some(_) => return Err(End::Unexpected("an upload is longer than announced")),
            None if bytes.len() == length => return Ok(bytes),
            None => return Err(End::Unexpected("an upload is shorter than announced")),
        }
    }
}

impl Parts {
    fn checked(bytes: [u32; 3]) -> Result<Self, End> {
        let [stdout, stderr, result] = bytes.map(|bytes| bytes as usize);
        if stdout > OUTPUT_BYTES_MAX || stderr > OUTPUT_BYTES_MAX || result > RESULT_BYTES_MAX {
            return Err(End::Unexpected("an upload announces more than a task may leave behind"));
        }
        Ok(Self { stdout, stderr, result })
    }

    fn all(self) -> usize {
        self.stdout + self.stderr + self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn report_waits_for_the_upload_that_it_names() {
        let uploads = Arc::new(Uploads::default());
        let waiting = tokio::spawn({
            let uploads = Arc::clone(&uploads);
            async move { uploads.take(UploadId(7)).await }
        });
        tokio::task::yield_now().await;
        uploads.begin(UploadId(7)).expect("there is room");
        uploads.set(UploadId(7), Upload::PutAway(None));
        assert!(matches!(waiting.await.expect("no panic"), Ok(None)));
        assert!(uploads.entries().is_empty(), "it is taken once");
    }

    #[tokio::test(start_paused = true)]
    async fn upload_that_never_comes_is_waited_for_and_then_an_error() {
        let uploads = Uploads::default();
        let begun = Instant::now();
        assert!(matches!(uploads.take(UploadId(7)).await, Err(End::UnknownUpload(UploadId(7)))));
        assert_eq!(begun.elapsed(), UPLOAD_BEGINS_WITHIN);
        uploads.begin(UploadId(8)).expect("there is room");
        uploads.set(UploadId(8), Upload::Arriving { since: Instant::now() });
        let begun = Instant::now();
        assert!(uploads.take(UploadId(8)).await.is_err(), "it began and never became whole");
        assert_eq!(begun.elapsed(), UPLOAD_WITHIN);
        uploads.set(UploadId(8), Upload::Waiting);
        let taken = timeout(2 * UPLOAD_WITHIN, uploads.take(UploadId(8))).await;
        assert!(taken.is_err(), "for want of room it may wait as long as it takes");
    }

    #[test]
    fn uploads_that_nobody_names_are_bounded_and_numbers_are_used_once() {
        let uploads = Uploads::default();
        uploads.begin(UploadId(0)).expect("there is room");
        assert!(matches!(uploads.begin(UploadId(0)), Err(End::Unexpected(_))));
        for n in 1..UPLOADS_PER_WORKER_MAX as u64 {
            uploads.begin(UploadId(n)).expect("there is room");
        }
        assert!(matches!(uploads.begin(UploadId(999)), Err(End::Unexpected(_))));
    }

    #[test]
    fn announced_lengths_have_maxima() {
        let over = u32::try_from(OUTPUT_BYTES_MAX + 1).expect("fits");
        for bytes in [[over, 0, 0], [0, over, 0], [0, 0, over], [u32::MAX; 3]] {
            assert!(Parts::checked(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(Parts::checked([1, 2, 3]).expect("small").all(), 6);
    }
}
