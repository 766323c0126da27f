//! Names of segments, and making one ahead of its use.

use std::sync::Arc;

use gridctl_core::effect::FactIndex;
use gridctl_jobs::planted::{Bug, is_on};

use crate::disk::{Disk, DiskError, DiskFile, zero_fill};
use crate::space::Space;

/// Where the segments lie.
pub(crate) const JOURNAL_DIR: &str = "journal";
/// A segment that has no content yet.
const NEXT: &str = "journal/next";
const SUFFIX: &str = ".log";
/// Bytes of a segment that is made where there is no room for a whole one.
const SEGMENT_BYTES_LEAST: u64 = 1 << 20;
/// Enough for every `u64`, so that byte order is index order.
const DIGITS: usize = 20;

/// Returns the path of the segment whose first fact has the index `first`.
pub(crate) fn segment_path(first: FactIndex) -> String {
    format!("{JOURNAL_DIR}/{:0DIGITS$}{SUFFIX}", first.0)
}

/// Returns the index in a segment's file name, `None` where it is the name of something else.
pub(crate) fn parse_segment_name(name: &str) -> Option<FactIndex> {
    let digits = name.strip_suffix(SUFFIX)?;
    let ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ours { digits.parse().ok().map(FactIndex) } else { None }
}

/// Removes the segments of which every fact has an index up to `up_to`; the last one stays. Returns how many.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn cut(disk: &dyn Disk, up_to: FactIndex) -> Result<usize, DiskError> {
    let segments = list(disk)?;
    let followed = segments.iter().zip(segments.iter().skip(1));
    let over = followed.take_while(|(_, next)| next.0 <= up_to.0 + 1);
    let mut removed = 0;
    for (first, _) in over {
        disk.remove(&segment_path(*first))?;
        removed += 1;
    }
    if removed > 0 {
        disk.sync_dir(JOURNAL_DIR)?;
    }
    Ok(removed)
}

/// Lists the segments, by the index of their first fact, in order.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<FactIndex>, DiskError> {
    Ok(disk.list(JOURNAL_DIR)?.iter().filter_map(|name| parse_segment_name(name)).collect())
}

/// Makes the next segment ahead, zero-filled and synced, without giving it its name yet.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn prepare_next(disk: &dyn Disk, bytes: u64) -> Result<Arc<dyn DiskFile>, DiskError> {
    let file = disk.create(NEXT)?;
    if let Err(error) = zero_fill(&*file, 0, bytes) {
        // Half a segment is room that nobody has. Where it cannot go either, it is made anew next time.
        let _ = disk.remove(NEXT);
        return Err(error);
    }
    Ok(file)
}

/// Makes a segment now, of `wanted` bytes where there is room for that, else smaller and from the reserve, but of
/// `least` at least. Returns how many bytes it has.
///
/// # Errors
/// [`DiskError`] where the disk refuses, of no room once the reserve is used up.
pub(crate) fn prepare_now(
    disk: &dyn Disk,
    space: &Space,
    wanted: u64,
    least: u64,
) -> Result<(Arc<dyn DiskFile>, u64), DiskError> {
    let wanted = wanted.max(least);
    if space.is_ample(wanted) {
        match prepare_next(disk, wanted) {
            Err(error) if error.is_no_room() => {}
            made => return Ok((made?, wanted)),
        }
    }
    let bytes = SEGMENT_BYTES_LEAST.max(least).min(wanted);
    let file = space.with_reserve(|| prepare_next(disk, bytes))?;
    Ok((file, bytes))
}

/// Gives the segment that was made ahead its name, durably.
///
/// # Errors
/// [`DiskError`] where the disk refuses.
pub(crate) fn publish_next(disk: &dyn Disk, first: FactIndex) -> Result<(), DiskError> {
    disk.rename(NEXT, &segment_path(first))?;
    if is_on(Bug::SegmentNameNotSynced) {
        return Ok(());
    }
    disk.sync_dir(JOURNAL_DIR)
}
