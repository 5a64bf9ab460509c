//! What is measured here, and how? One program, whose first word says what; the targets of the Makefile run
//! it. Peers (iperf3, nginx, HAProxy, ab, curl) are measured where they are installed, and are never needed.
//!
//! The invariant: both sides of a comparison take turns in one run on one machine, and the median counts.

mod ab; // the HTTP tables, 1 to 100 connections
mod examples; // what becomes of the servers of chapter 0
mod goals; // every goal that this project has set itself
mod modes; // what the modes differ in
mod run; // a folder for each run, progress, tables
mod system; // programs that run beside us

use run::{Failure, usage};
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["bench"] => goals::measure(),
        ["modes"] => modes::all(),
        ["modes", column] => modes::one(column),
        ["ab"] => ab::measure(),
        ["examples"] => examples::measure(),
        _ => usage("expected bench, modes, ab or examples"),
    };
    let Err(Failure(code, text)) = outcome else {
        return ExitCode::SUCCESS;
    };
    if !text.is_empty() {
        eprintln!("make {}: {text}", words.first().unwrap_or(&"bench"));
    }
    ExitCode::from(code)
}
