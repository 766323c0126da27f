//! What a peer could have got wrong in a job or a stage's order, checked before anything relies on it.
//!
//! The job file and the builders find the same mistakes earlier and point at the place; here only one is
//! named, because only a broken or hostile peer gets this far with one.

mod items;
mod order;
mod spec;
mod task;

pub use items::ItemsError;
pub use order::OrderError;
pub use spec::SpecError;
pub use task::{CpusError, EnvNameError, TaskError};

pub(crate) use items::check_item;
pub(crate) use task::check_env_name;
