//! What runs on the other machine? `kolam stress --as-server`: it waits for a byte from its stdin, makes the
//! files of one row, starts the server, says where it listens, and waits for the end of its stdin. Then it
//! stops the server, says what that used, and removes the files.

use crate::cli::{self, Args, Failure, failed, usage};
use crate::stress::fixture::{Fixture, Process, Server};
use crate::stress::machine::machine;
use crate::stress::matrix::{Plan, Row, Told};
use crate::stress::run_folder::{MadeFolder, cannot, require_space};
use crate::stress::wire;
use crate::sys::{self, Interest, Listen, Stop};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// It ends when its server has done nothing for this many times `--timeout`: each client has given up by
/// then. A network that fails closes no pipe for hours.
const SILENT_TIMEOUTS: u32 = 3;

/// What the server of `--as-server` depends on: it ends with its stdin, or at a signal.
pub struct Leash {
    stdin: File,
    pub stop: Stop,
}

/// Why a wait has ended.
pub enum Woken {
    /// A byte came through stdin.
    Byte,
    /// Stdin has ended, or a signal asks to stop.
    End,
    /// The other descriptor is readable.
    Other,
    /// The time is over.
    Late,
}

impl Leash {
    pub fn wait(&mut self, other: Option<BorrowedFd>, deadline: Option<Instant>) -> Woken {
        loop {
            let mut fds = vec![self.stop.as_fd(), self.stdin.as_fd()];
            fds.extend(other);
            let watched: Vec<_> = fds.iter().map(|&fd| (fd, Interest::Read)).collect();
            let ready = sys::poll(&watched, deadline);
            if self.stop.requested() {
                return Woken::End;
            }
            // `poll` tells how many are ready, not which.
            if !matches!(sys::poll(&watched[1..2], Some(Instant::now())), Ok(0)) {
                return match self.stdin.read(&mut [0; 64]) {
                    Ok(1..) => Woken::Byte,
                    _ => Woken::End,
                };
            }
            match ready {
                Ok(1..) => return Woken::Other,
                _ if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Woken::Late,
                // A signal that is not for us.
                _ => {}
            }
        }
    }
}

/// `--as-server`: what a command of `--launch` runs on its side.
pub fn serve(args: &Args) -> Result<(), Failure> {
    let wire = args.choice("--as-server", "row", &["row", "wire"])? == "wire";
    let plan = Plan::from(args, &Told::default())?;
    let [row, others @ ..] = &plan.rows[..] else {
        return Ok(());
    };
    if !wire && !others.is_empty() {
        let rows = plan.rows.len();
        return usage(format!(
            "--as-server row: these are {rows} rows; give each option one value"
        ));
    }
    let stop = Stop::listen(Listen::Stop).or_else(|error| failed(format!("no signals: {error}")))?;
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.or_else(|error| failed(format!("cannot read stdin: {error}")))?;
    let mut leash = Leash {
        stdin: stdin.into(),
        stop,
    };
    match leash.wait(None, None) {
        Woken::Byte if wire => wire::serve(&plan, &mut leash),
        Woken::Byte => serve_row(row, &plan, &mut leash),
        _ if stop.requested() => Err(Failure::Interrupted),
        _ => failed(
            "--as-server ends with its stdin, which is closed already; let the command pass it on (docker \
             run: with -i; ssh: without -n)",
        ),
    }
}

fn serve_row(row: &Row, plan: &Plan, leash: &mut Leash) -> Result<(), Failure> {
    let _root = MadeFolder::make("--root", true, &plan.root)?;
    require_space(plan)?;
    let fixture = Fixture::new(plan, leash.stop);
    let fixture = fixture.map_err(|error| cannot("prepare files in", &plan.root, &error))?;
    let server = Server::start(row, &fixture).or_else(failed)?;
    cli::print(&format!(
        "kolam run {}\nkolam listening on {}\n",
        server.run, server.address
    ))?;
    if let Process::Here(pid, stdout) = &server.process {
        let (mut work, limit) = (None, plan.timeout * SILENT_TIMEOUTS);
        loop {
            // Its stdout is readable when it has ended.
            match leash.wait(Some(stdout.as_fd()), Some(Instant::now() + limit)) {
                Woken::Byte => {}
                Woken::End | Woken::Other => break,
                Woken::Late if work == sys::processor_time(*pid) => break,
                Woken::Late => work = sys::processor_time(*pid),
            }
        }
    }
    let (peak, cpu) = server.stop().or_else(failed)?;
    let peak = peak.map_or("-".to_owned(), |peak| peak.to_string());
    let cpu = cpu.unwrap_or_default().as_secs_f64();
    cli::print(&format!("kolam used {peak} {cpu:.6}\n"))
}

/// This machine, as `machine.txt` would describe it.
pub fn about(plan: &Plan) -> String {
    let lines = machine(&plan.root).into_iter();
    lines
        .map(|(name, value)| format!("kolam server {name:<8} {value}\n"))
        .collect()
}
