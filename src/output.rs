//! What people and scripts see: data on standard output, all else on standard error.

pub(crate) mod escape;
pub(crate) mod explain;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod rate;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod time;
