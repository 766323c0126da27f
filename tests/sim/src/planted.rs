//! Planting a bug for one run.

use gridctl_jobs::planted::Bug;

/// Switches one bug on in this thread, or all off. Without the feature `planted-bugs` there is none to
/// switch on.
pub(crate) fn switch(bug: Option<Bug>) {
    #[cfg(feature = "planted-bugs")]
    gridctl_jobs::planted::plant(bug);
    #[cfg(not(feature = "planted-bugs"))]
    let _ = bug;
}
