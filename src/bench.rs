//! # Chapter 17. How fast is one step by itself?
//!
//! `kolam bench base64` times the codec alone: one piece of content, small enough for the second-level cache,
//! with each loop that this processor can run, next to a copy of the same bytes. `kolam bench request` times
//! the opposite: a request so small that only its round trip counts. `kolam bench http` loads a server with
//! requests.
//!
//! ```text
//!   round 1: copy, scalar encode, scalar decode, avx512 encode, …   round 2: the same   … → medians
//! ```
//!
//! The invariant: all are measured in turn in one run, so that a machine that slows down slows all of them;
//! the figure is the median; what is not right is a failure, and in no time.
//!
//! What must not live here: anything that the program itself needs.
//!
//! before: `balance.rs` … after: `check.rs`
//!
//! Experiment:
//! edit: count a reply with any status as complete, as Apache's ab does
//! run: cargo test --locked --bin kolam bench::score
//! see: status_and_length_decide ... FAILED

mod load; // many requests over HTTP
mod plan; // the options, checked
mod url; // which server, which document
mod request; // what each request says
mod response; // when a reply is whole
mod score; // what is counted
mod report; // how the figures are shown

use crate::b64::{self, Decoder, Encoder, Kernel, decoded_room, encoded_len};
use crate::cli::{Args, Command, Failure, failed, opt, print, usage};
use crate::client::{Client, Error};
use crate::session::{PIECE, PIECE_TEXT};
use crate::sys::{self, Listen, Stop};
use load::Load;
use plan::Plan;
use score::LoadStats;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub static BENCH: Command = Command {
    name: "bench",
    words: &["WHAT", "[URL]"],
    about: "time one step; WHAT is base64, request, or http with a URL",
    options: &[
        &[opt(
            "--server",
            "HOST:PORT",
            "for request: a server that has a file `one`",
        )],
        plan::OPTIONS,
    ],
    run,
};

fn run(args: &Args) -> Result<(), Failure> {
    let (what, url) = (args.word(0).unwrap_or_default(), args.word(1));
    let mistake = match (what, args.misplaced(), url) {
        ("base64" | "request" | "http", Some((option, only)), _) => {
            format!("{option} is for {only}, not for {what}")
        }
        ("http", None, Some(url)) => return http(args, url),
        ("http", None, None) => "URL is missing: kolam bench http http://HOST[:PORT][/PATH]".to_owned(),
        ("base64" | "request", None, Some(url)) => format!("{url} is for http, not for {what}"),
        ("base64", None, None) => return base64(),
        ("request", None, None) => return request(args.address("--server", "127.0.0.1:6666")?),
        _ => format!("cannot time {what}; try base64, request or http"),
    };
    usage(format!("bench: {mistake}"))
}

/// Rounds, of which the median counts.
const ROUNDS: usize = 9;

/// How long one measurement of a round takes.
const SPAN: Duration = Duration::from_millis(20);

/// Buffers begin at a page, so that the allocator has no influence.
const PAGE: usize = 4096;

/// A buffer that begins at a page.
struct Aligned(Vec<u8>, usize);

impl Aligned {
    fn new(length: usize) -> Aligned {
        let bytes = vec![1; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Aligned(bytes, start)
    }

    fn slice(&mut self) -> &mut [u8] {
        &mut self.0[self.1..]
    }
}

/// The buffers of all measurements.
struct Bench {
    content: Aligned,
    text: Aligned,
    out: Aligned,
}

impl Bench {
    fn copy(&mut self) {
        self.out.slice()[..PIECE].copy_from_slice(black_box(&self.content.slice()[..PIECE]));
        black_box(self.out.slice());
    }

    fn encode(&mut self, kernel: Option<&'static Kernel>) {
        let content = &self.content.slice()[..PIECE];
        Encoder::with(kernel).encode(black_box(content), self.text.slice());
        black_box(self.text.slice());
    }

    fn decode(&mut self, kernel: Option<&'static Kernel>) -> bool {
        let text = &self.text.slice()[..PIECE_TEXT];
        let step = Decoder::with(kernel).decode(black_box(text), self.out.slice());
        black_box(self.out.slice());
        step.wrote == PIECE
    }
}

/// Content in GB (10^9 bytes) a second that `step` handles.
fn rate(mut step: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut pieces = 0_u32;
    while start.elapsed() < SPAN {
        // Reading the clock costs as much as a few kilobytes.
        (0..16).for_each(|_| step());
        pieces += 16;
    }
    PIECE as f64 * f64::from(pieces) / start.elapsed().as_secs_f64() / 1e9
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Prints a line for each codec: content encoded and decoded, and copied, in GB/s.
fn base64() -> Result<(), Failure> {
    let mut bench = Bench {
        content: Aligned::new(PIECE),
        text: Aligned::new(encoded_len(PIECE + 2)),
        out: Aligned::new(decoded_room(PIECE_TEXT) + 64),
    };
    let content = bench.content.slice().iter_mut().enumerate();
    content.for_each(|(at, byte)| *byte = (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[1]);
    let kernels: Vec<Option<&'static Kernel>> = std::iter::once(None)
        .chain(b64::available().into_iter().rev().map(Some))
        .collect();
    // Copy, then encode and decode of each kernel.
    let mut rates = vec![Vec::new(); 1 + 2 * kernels.len()];
    for _ in 0..ROUNDS {
        rates[0].push(rate(|| bench.copy()));
        for (number, &kernel) in kernels.iter().enumerate() {
            bench.encode(kernel);
            if !bench.decode(kernel) || bench.out.slice()[..PIECE] != bench.content.slice()[..PIECE] {
                return failed(format!("{} does not give back what it was given", name(kernel)));
            }
            rates[1 + 2 * number].push(rate(|| bench.encode(kernel)));
            rates[2 + 2 * number].push(rate(|| assert!(bench.decode(kernel))));
        }
    }
    let figures: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
    let mut text = format!("{:<8} {:>8} {:>8} {:>8}\n", "GB/s", "encode", "decode", "memcpy");
    for (number, &kernel) in kernels.iter().enumerate() {
        let (encode, decode) = (figures[1 + 2 * number], figures[2 + 2 * number]);
        text += &format!(
            "{:<8} {encode:>8.2} {decode:>8.2} {:>8.2}\n",
            name(kernel),
            figures[0]
        );
    }
    print(&text)
}

fn name(kernel: Option<&'static Kernel>) -> &'static str {
    kernel.map_or("scalar", |kernel| kernel.name)
}

/// Requests of each kind, of which the median counts.
const REQUESTS: usize = 2000;

/// A small request from its first byte out to its last byte in: on one connection after the other (`new`),
/// with connecting and closing in it, and on one that stays open (`kept`).
fn request(server: SocketAddr) -> Result<(), Failure> {
    let stop = Stop::listen(Listen::Stop).or_else(|error| failed(format!("no signals: {error}")))?;
    let connect = || Client::connect(server, Duration::from_secs(5), stop);
    let ask = |client: &mut Client| client.download("one", &mut std::io::sink());
    let measure = || -> Result<(f64, f64), Error> {
        let new = microseconds(|| ask(&mut connect()?).map(drop))?;
        let mut client = connect()?;
        Ok((new, microseconds(|| ask(&mut client).map(drop))?))
    };
    let (new, kept) = measure().or_else(|error| failed(format!("{server}: {error}")))?;
    print(&format!("new {new:.1} µs\nkept {kept:.1} µs\n"))
}

/// The median time of `step`.
fn microseconds(mut step: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let start = Instant::now();
        step()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&mut times))
}

/// Runs `kolam bench http`: a closed loop. It sends a slow server fewer requests, so its times are those of
/// `-c` users who wait for each reply. They hide the times of users who come whether or not the server is
/// ready ("coordinated omission").
fn http(args: &Args, url: &str) -> Result<(), Failure> {
    let plan = Plan::from(args, url)?;
    // When this fails, connections that get no descriptor count as failed.
    let _ = sys::raise_descriptor_limit();
    let stop = Stop::listen(Listen::Stop).or_else(|error| failed(format!("no signals: {error}")))?;
    let run = Load::new(&plan, stop).and_then(Load::run);
    let stats = run.or_else(|error| failed(format!("bench: cannot wait for connections: {error}")))?;
    let form = match (args.has("--csv"), args.has("--json")) {
        (true, _) => report::csv,
        (_, true) => report::json,
        _ => report::text,
    };
    match print(&form(&stats, &plan)) {
        // The reader has closed our output; the exit code still tells the verdict.
        Err(Failure::OutputClosed) => {}
        other => other?,
    }
    notes(&plan, &stats, args.has("--csv"));
    match (&stats.first_fault, stats.failed()) {
        _ if stop.requested() => Err(Failure::Interrupted),
        (Some(first), count) => {
            let over = stats.over();
            failed(format!(
                "bench: {count} of {over} requests failed; the first: {first}"
            ))
        }
        (None, _) => Ok(()),
    }
}

/// Notes for the user that the figures do not tell. There is no remedy for a closed stderr.
fn notes(plan: &Plan, stats: &LoadStats, csv: bool) {
    let note = |text: String| drop(writeln!(io::stderr(), "kolam: bench: {text}"));
    // The other forms show it themselves.
    if csv && stats.stray_answers > 0 {
        note(format!("stray bytes after {} answers", stats.stray_answers));
    }
    let most = plan.requests;
    if let (None, Some(time)) = plan.limits()
        && stats.over() == most
    {
        note(format!(
            "{most} requests, the most of a run, took less than {time:?}"
        ));
    }
}
