//! # Chapter 1. What is in this program?
//!
//! kolam is a file server with four ways to serve many clients and two protocols to serve them by, a client,
//! a stress tester that shows the difference, a load balancer, and a load generator. This file is the table
//! of contents: the chapters in reading order, the subcommands, the exit codes (0 fine, 1 something failed,
//! 2 usage, 130 interrupted).
//!
//! ```text
//!   b64 ── json ── store ── session ── ledger ──┬── grammar ── transfer ── protocol ──┐
//!                                               └── http ─────────────────────────────┤
//!   client ── commands ── stress ── report          sys ── pool, host, event ── server ┘
//!   balance ── link ── relay                        bench ── load
//! ```
//!
//! The invariant: arrows between chapters never form a circle; `tests/tidy.rs` checks it.
//!
//! What must not live here: anything that does the work.
//!
//! before: the README … after: `args.rs`
//!
//! Experiment: remove `#[allow(unsafe_code)]` above `mod sys`, and read what the compiler says.

#[cfg(not(target_os = "linux"))]
compile_error!("kolam runs on Linux only: it uses epoll, /proc and processes that die with their parent");

mod args; //      1b   options, errors, exit codes
mod hints; //     1c   what was probably meant
mod b64; //       2    bytes become text
#[allow(unsafe_code)]
mod b64_simd; //  2b   the same at the speed of memcpy
mod json; //      3    structure becomes text
mod store; //     4    one folder and its files
mod session; //   5    a protocol without sockets
mod dates; //     5a   seconds become dates
mod ledger; //    5b   counts and log
mod grammar; //   6    a stream becomes requests
mod transfer; //  6b   files cross in pieces
mod protocol; //  6c   what each verb does
mod server; //    7    listener, mode, stop
mod house; //     7a   what all workers share
mod host; //      7b   one connection, accept to close
mod farewell; //  7c   closing so that the reply arrives
mod browser; //   7d   the URL of a server
mod pool; //      8    threads, processes, supervisor
#[allow(unsafe_code)]
mod sys; //       9    system calls
mod signals; //   9b   noticing the request to stop
mod event; //     10   many connections, one thread
mod client; //    11   the other side
mod terminal; //  11a  a line that changes
mod commands; //  11b  the client's command line
mod stress; //    12   all combinations
mod plan; //      12a  which rows there are
mod clients; //   12b  all start at once
mod rig; //       12c  files and server of a row
mod machine; //   12d  what was measured on
mod run_folder; // 12e where results go
mod live; //      12f  what one waits for
mod run_files; // 12g  what a run may remove
mod target; //    12h  a server that is not ours
mod report; //    13   tables and findings
mod words; //     13a  in two languages
mod http; //      14   the second protocol
mod http_head; // 14a  what exactly is asked
mod http_target; // 14b who is asked for what
mod http_body; // 14c  where a body ends
mod http_reply; // 14d  conditions, ranges, answers
mod http_pages; // 14e  the folder, the counters
mod http_form; // 14f  files out of a form
mod balance; //   15   one address, many servers
mod link; //      15a  one connection through it
mod backends; //  15b  whose turn it is
mod relay; //     15c  bytes between two sockets
mod bench; //     16   one step by itself
mod load; //      16b  many requests over HTTP
mod load_plan; // 16c  what the user wants to know
mod load_url; //  16d  which server, which document
mod load_request; // 16e what each request says
mod answer; //    16f  when an answer is whole
mod score; //     16g  what is counted
mod load_report; // 16h what the figures say

#[cfg(test)]
mod testing; //        what unit tests share

use args::{Args, Command, Failure, say};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, panic};

/// What `kolam` can be asked to do.
static COMMANDS: [&Command; 9] = [
    &server::SERVE,
    &commands::LIST,
    &commands::DOWNLOAD,
    &commands::UPLOAD,
    &commands::DELETE,
    &commands::STATS,
    &stress::STRESS,
    &balance::BALANCE,
    &bench::BENCH,
];

fn main() -> ExitCode {
    // One line instead of Rust's many: a panic is a fault of ours, and costs one request.
    panic::set_hook(Box::new(|info| {
        let _ = writeln!(io::stderr(), "kolam: this is a bug: {}", info.to_string().replace('\n', " "));
    }));
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    run(&words).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn run(words: &[OsString]) -> Result<(), Failure> {
    let Some((name, rest)) = words.split_first() else {
        return Err(Failure::Usage(format!("no command\n{}", overview())));
    };
    let name = name.to_string_lossy();
    match name.as_ref() {
        "--help" | "-h" | "help" => return help(rest),
        "--version" | "-V" => return say(concat!("kolam ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => {}
    }
    let command = find(&name)?;
    match Args::parse(command, rest)? {
        Some(args) => {
            b64_simd::choose().map_err(Failure::Usage)?;
            (command.run)(&args)
        }
        None => say(&command.help()),
    }
}

/// `kolam help`, or `kolam help COMMAND`, which is the same as `kolam COMMAND --help`.
fn help(words: &[OsString]) -> Result<(), Failure> {
    let options = |word: &&OsString| !word.as_encoded_bytes().starts_with(b"-");
    match words.iter().find(options) {
        Some(name) if name != "help" => say(&find(&name.to_string_lossy())?.help()),
        _ => say(&overview()),
    }
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    COMMANDS.into_iter().find(|command| command.name == name).ok_or_else(|| {
        let hint = hints::for_command(name, COMMANDS.iter().map(|command| command.name));
        let hint = hint.unwrap_or_else(|| "try kolam --help".to_owned());
        Failure::Usage(format!("unknown command {name}; {hint}"))
    })
}

fn overview() -> String {
    let mut text = "usage: kolam COMMAND [options]\n\n".to_owned();
    for command in COMMANDS {
        let about = command.about.lines().next().unwrap_or_default();
        text += &format!("  {:<10} {about}\n", command.name);
    }
    text + "\nkolam help COMMAND tells more; kolam --version prints the version\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word of the tables must lead somewhere: to options and commands that exist, from a word that is
    /// none itself in at least one command that has what it leads to.
    #[test]
    fn every_hint_leads_to_something_that_exists() {
        for (words, meant, _) in hints::OTHER_OPTIONS {
            for word in *words {
                let useful = COMMANDS.iter().any(|command| {
                    let names: Vec<_> = command.options.iter().copied().flatten().map(|o| o.name).collect();
                    !names.contains(word) && meant.iter().any(|name| names.contains(name))
                });
                assert!(useful, "{word} leads nowhere: {meant:?}");
            }
            for name in *meant {
                let exists =
                    |command: &&Command| command.options.iter().copied().flatten().any(|o| o.name == *name);
                assert!(COMMANDS.iter().copied().any(|command| exists(&command)), "no command has {name}");
            }
        }
        for (words, meant) in hints::OTHER_COMMANDS {
            assert!(find(meant).is_ok(), "there is no command {meant}");
            assert!(words.iter().all(|word| find(word).is_err()), "{words:?}: one is a command");
        }
    }
}
