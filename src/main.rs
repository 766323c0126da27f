//! The `gridctl` binary: what can be typed is in `cli`, what it does in `commands`.

mod cli;
mod client;
mod commands;
mod config;
mod dirs;
mod error;
mod output;
mod profile;
mod surroundings;

fn main() -> std::process::ExitCode {
    commands::main()
}
