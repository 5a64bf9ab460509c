//! # Chapter 1. What is in this program?
//!
//! kolam is a file server with three ways to serve many clients at once, a client for it, and a stress tester
//! that shows the difference. This file is the table of contents: the chapters in reading order, the
//! subcommands, the exit codes (0 fine, 1 something failed, 2 usage, 130 interrupted).
//!
//! ```text
//!   b64 ── json ── store ── session ── ledger ── grammar ── transfer ── protocol
//!                                                                          │
//!   client ── commands ── stress ── report         sys ── pool ── server ──┘
//! ```
//!
//! The invariant: arrows between chapters never form a circle; `tests/tidy.rs` checks it.
//!
//! What must not live here: anything that does the work.
//!
//! before: the README … after: `args.rs`
//!
//! Experiment: remove `#[allow(unsafe_code)]` above `mod sys`, and read what the compiler says.

#![allow(dead_code, unused_imports)]

#[cfg(not(target_os = "linux"))]
compile_error!("kolam runs on Linux only: it uses epoll, /proc and processes that die with their parent");

mod args; //      1b   options, errors, exit codes
mod b64; //       2    bytes become text
mod json; //      3    structure becomes text
mod store; //     4    one folder and its files
mod session; //   5    a protocol without sockets
mod ledger; //    5b   counts and log
mod grammar; //   6    a stream becomes requests
mod transfer; //  6b   files cross in pieces
mod protocol; //  6c   what each verb does
mod host; //      7a   one connection, accept to close
mod farewell; //  7b   closing so that the reply arrives
mod pool; //      8    threads, processes, supervisor
#[allow(unsafe_code)]
mod sys; //       9    system calls

#[cfg(test)]
mod testing; //        what unit tests share

fn main() {}
