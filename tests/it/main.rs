//! Black-box tests: the real binary on loopback, port 0, seen through its sockets, files, output, exit codes.
//! Each module is one subject; `support` is what they share. What a volume promises stands in modules of its
//! own, so a volume goes with its lines here.

// The helpers of a test may fail like the test itself.
#![allow(clippy::unwrap_used)]

mod support;

// The core.
mod both;
mod command_line;
mod elsewhere;
mod faults;
mod lists;
mod deploy;
mod manners;
mod resist;
mod stress_run;
mod terminal;
mod top;
mod wire;

// a service
mod access;
mod service;

// server/event
mod event;

// http
mod browser;
mod http;
mod http_commands;
mod http_strict;
mod page;
mod proxies;
mod resuming;
mod watch;

// balance
mod balance;

// check
mod advice;
mod check;

// report
mod repeats;
mod report;
mod timeline;

// dialects
mod dialects;

// bench, and the scripts that use it
mod bench_scripts;
mod load;
