//! Jobs from outside: files, builders and peers, through the crate's public face.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod hostile_files;
mod legal_files;
mod machine;
mod peers;
mod properties;
mod render;
mod resolve;
mod wrong_files;
