//! The files of one data directory, as journal and results see them.
//!
//! [`Disk`] names files by paths relative to the data directory; [`RealDisk`] is a locked directory of this
//! machine, `SimDisk` (feature `sim`) one in memory that loses and tears what was not synced. Writers and recovery are
//! pure code over the trait, so that the simulator runs the same bytes as the product.
//!
//! Deliberately absent: caching, retries (a failed sync is final), and any knowledge of what the files hold.

mod error;
mod fill;
mod real;
#[cfg(any(test, feature = "sim"))]
mod sim;
mod traits;

pub use error::{DiskAction, DiskError};
pub(crate) use fill::zero_fill;
pub use real::{OpenDiskError, RealDisk};
#[cfg(any(test, feature = "sim"))]
pub use sim::{CrashSeed, SimDisk};
pub use traits::{Disk, DiskFile, FreeSpace};
