//! Writes frames into segments.

use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_core::fact::Fact;
use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskError, DiskFile, zero_fill};
use crate::space::Space;

use super::format::{FrameHeader, FrameKind, HEADER_BYTES, Term, begin_frame, finish_frame};
use super::segment::{prepare_now, publish_next};

/// Bytes of a segment: written ahead in a tenth of a second, and few files even for years.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of the very first segment: a new grid, of a `gridctl run` above all, starts without waiting for 64
/// MiB of zeros, and makes the next segment while it fills this one.
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// Appends facts to the journal: encode with [`Writer::stage`], make durable with [`Writer::commit`].
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    space: Arc<Space>,
    segment_bytes: u64,
    term: Term,
    active: ActiveSegment,
    /// In segments before the active one, as far as this writer wrote them.
    finished_bytes: u64,
    next: Option<Next>,
    /// The frame that is being put together; its header is filled in last.
    frame: Vec<u8>,
    staged: FactIndex,
    durable: FactIndex,
}

/// Returns the segment that is being made ahead, once it is made.
pub(crate) type NextSegment = Box<dyn FnOnce() -> Result<Arc<dyn DiskFile>, DiskError> + Send>;

/// The segment after the active one.
enum Next {
    /// On another thread.
    Making(NextSegment),
    /// Of so many bytes.
    Made(Arc<dyn DiskFile>, u64),
}

/// The segment that is written.
pub(crate) struct ActiveSegment {
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Its last frame is one of kind *end*.
    pub(crate) is_ended: bool,
}

impl Writer {
    /// Makes a writer that goes on after `last`, which is durable, in the term of that.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        space: Arc<Space>,
        segment_bytes: u64,
        active: ActiveSegment,
        last: FactIndex,
        term: Term,
    ) -> Self {
        let mut frame = Vec::new();
        begin_frame(&mut frame);
        Self {
            disk,
            space,
            segment_bytes,
            term: term.max(Term::SINGLE),
            active,
            finished_bytes: 0,
            next: None,
            frame,
            staged: last,
            durable: last,
        }
    }

    /// Makes the first segment, or the one after a finished one: `last` is the last fact before it.
    ///
    /// # Errors
    /// [`DiskError`] where the disk refuses.
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        space: Arc<Space>,
        segment_bytes: u64,
        last: FactIndex,
        term: Term,
    ) -> Result<Self, DiskError> {
        let bytes = if last == FactIndex(0) {
            FIRST_SEGMENT_BYTES.min(segment_bytes)
        } else {
            segment_bytes
        };
        let (file, bytes) = prepare_now(&*disk, &space, bytes, 0)?;
        space.with_reserve(|| publish_next(&*disk, FactIndex(last.0 + 1)))?;
        let active = ActiveSegment { file, offset: 0, bytes, is_ended: false };
        Ok(Self::resume(disk, space, segment_bytes, active, last, term))
    }

    /// Encodes `fact` into the frame that the next commit writes.
    ///
    /// # Panics
    /// Where `index` is not the one after the last: facts reach the journal in order, without a gap.
    pub(crate) fn stage(&mut self, index: FactIndex, fact: &Fact) {
        assert_eq!(index.0, self.staged.0 + 1, "facts reach the journal in order");
        let frame = std::mem::take(&mut self.frame);
        self.frame = postcard::to_extend(fact, frame)
            .expect("every fact can be encoded, and memory only grows");
        self.staged = index;
    }

    /// Returns how many bytes are staged.
    pub(crate) fn staged_bytes(&self) -> usize {
        self.frame.len() - HEADER_BYTES
    }

    /// Returns what is durable for certain.
    pub(crate) fn durable(&self) -> FactIndex {
        self.durable
    }

    /// Returns how many bytes the segments of this life hold that are written, and the one before them.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.finished_bytes + self.active.offset
    }

    /// Writes what is staged as one frame, syncs it, and returns the index that is durable now.
    ///
    /// # Errors
    /// [`DiskError`] where the disk refuses. Of no room: the same commit may be tried again, as often as it takes.
    /// Of anything else: the writer must not be used after that, what is on the device is not known.
    pub(crate) fn commit(&mut self) -> Result<FactIndex, DiskError> {
        if self.staged == self.durable {
            return Ok(self.durable);
        }
        match self.write_frame() {
            Err(error) if error.is_no_room() && is_on(Bug::FullDiskAcknowledged) => {}
            written => written?,
        }
        self.durable = self.staged;
        begin_frame(&mut self.frame);
        Ok(self.durable)
    }

    fn write_frame(&mut self) -> Result<(), DiskError> {
        let needed = self.frame.len() as u64;
        if self.active.offset + needed + HEADER_BYTES as u64 > self.active.bytes {
            self.roll(needed + HEADER_BYTES as u64)?;
        }
        let header = FrameHeader {
            kind: FrameKind::Facts,
            term: self.term,
            index: self.staged,
            durable: self.durable,
        };
        finish_frame(&mut self.frame, header);
        let (active, frame) = (&self.active, &self.frame);
        self.space.with_reserve(|| active.file.write_all_at(active.offset, frame))?;
        if !is_on(Bug::AcknowledgeBeforeSync) {
            self.active.file.sync_data()?;
        }
        self.active.offset += needed;
        Ok(())
    }

    /// Says whether it is time to make the next segment ahead, and of how many bytes.
    pub(crate) fn wants_next(&self) -> Option<u64> {
        let wants = self.next.is_none() && self.active.offset > self.active.bytes / 2;
        // It is made ahead to be faster, which takes no room from what is needed.
        (wants && self.space.is_ample(self.segment_bytes)).then_some(self.segment_bytes)
    }

    /// Takes a segment that [`prepare_next`] makes meanwhile. Only one may be in the making: they have the
    /// same name, and `next` is waited for before another one is made.
    pub(crate) fn adopt_next(&mut self, next: NextSegment) {
        self.next = Some(Next::Making(next));
    }

    /// Ends the active segment, and goes on in another one that has room for `bytes`. May be tried again where
    /// there was no room: what is done already is not done twice.
    fn roll(&mut self, bytes: u64) -> Result<(), DiskError> {
        // Before the active one is ended: where there is no room for another one, nothing has changed.
        let (file, file_bytes) = self.next_made(bytes)?;
        if !self.active.is_ended {
            self.end_active()?;
        }
        let (disk, first) = (&*self.disk, FactIndex(self.durable.0 + 1));
        self.space.with_reserve(|| publish_next(disk, first))?;
        self.next = None;
        self.finished_bytes += self.active.offset;
        self.active = ActiveSegment { file, offset: 0, bytes: file_bytes, is_ended: false };
        Ok(())
    }

    /// Returns the next segment, which is there and has room for `bytes`, under its temporary name.
    fn next_made(&mut self, bytes: u64) -> Result<(Arc<dyn DiskFile>, u64), DiskError> {
        let made = match self.next.take() {
            Some(Next::Making(made)) => match made() {
                Ok(file) => Some((file, self.segment_bytes)),
                Err(error) if error.is_no_room() => None,
                Err(error) => return Err(error),
            },
            Some(Next::Made(file, file_bytes)) => Some((file, file_bytes)),
            None => None,
        };
        let (file, file_bytes) = match made {
            Some(made) => made,
            None => prepare_now(&*self.disk, &self.space, self.segment_bytes, bytes)?,
        };
        self.next = Some(Next::Made(Arc::clone(&file), file_bytes));
        if bytes > file_bytes {
            self.space.with_reserve(|| zero_fill(&*file, file_bytes, bytes))?;
            self.next = Some(Next::Made(Arc::clone(&file), bytes));
        }
        Ok((file, file_bytes.max(bytes)))
    }

    fn end_active(&mut self) -> Result<(), DiskError> {
        let mut end = Vec::new();
        begin_frame(&mut end);
        let header = FrameHeader {
            kind: FrameKind::End,
            term: self.term,
            index: self.durable,
            durable: self.durable,
        };
        finish_frame(&mut end, header);
        let active = &mut self.active;
        self.space.with_reserve(|| active.file.write_all_at(active.offset, &end))?;
        if !is_on(Bug::SegmentEndNotSynced) {
            active.file.sync_data()?;
        }
        active.is_ended = true;
        Ok(())
    }
}
