//! Zeros ahead of the writer, so that a sync writes data only and no metadata.

use super::error::DiskError;
use super::traits::DiskFile;

/// Bytes of zeros written at once: large enough that the number of calls does not count.
const FILL_BYTES: u64 = 1 << 20;

/// Writes zeros over `from..to`, where that is not empty, and syncs them.
///
/// # Errors
/// [`DiskError`] where writing or syncing fails.
pub(crate) fn zero_fill(file: &dyn DiskFile, from: u64, to: u64) -> Result<(), DiskError> {
    if from >= to {
        return Ok(());
    }
    write_zeros(file, from, to)?;
    file.sync_data()
}

/// Writes zeros over `from..to`, without a sync.
///
/// # Errors
/// [`DiskError`] where writing fails.
pub(crate) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> Result<(), DiskError> {
    let most = FILL_BYTES.min(to.saturating_sub(from));
    let zeros = vec![0u8; usize::try_from(most).expect("at most FILL_BYTES")];
    let mut at = from;
    while at < to {
        let step = (to - at).min(FILL_BYTES);
        file.write_all_at(at, &zeros[..usize::try_from(step).expect("at most FILL_BYTES")])?;
        at += step;
    }
    Ok(())
}
