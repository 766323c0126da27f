//! Both executors, with real processes and real pools.

mod functions;
mod grid;
mod processes;
mod timing;
