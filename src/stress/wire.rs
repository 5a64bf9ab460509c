//! What is the limit between two machines: the servers, or the wire? Before the first row, plain bytes are
//! sent both ways (a bare transfer), started by `--launch` like the rows. A row that comes close to its speed
//! could not have been faster, whatever its pools are.

use crate::cli::{self, Failure, failed};
use crate::stress::as_server::{self, Leash, Woken};
use crate::stress::matrix::Plan;
use crate::stress::report::{Outcome, short_size};
use crate::stress::run_folder::About;
use crate::stress::words::{self, Language};
use crate::sys::Stop;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use std::{mem, thread};

/// Tenths of a second in which bytes are sent, again and again in each direction. The fastest time counts:
/// other work on the machines slows some down, and TCP needs the long one to fill a wire to far away.
const ROUNDS: [u8; 6] = [2, 2, 2, 2, 2, 10];

/// Connections at once: one alone waits whenever its reader does.
const STREAMS: usize = 4;

/// The first byte on a connection: what the server's side is to do. The second: for how many tenths.
const SEND: u8 = b's';
const RECEIVE: u8 = b'r';

/// Bytes in one call: the size in which base64 text is sent.
const PIECE: usize = 256 << 10;

/// On the wire 4 bytes of base64 stand for 3 bytes of a file.
const TEXT: f64 = 4.0 / 3.0;

/// From this part of the bare transfer on, the wire counts as full: heads, acknowledgements and the last
/// client, who is alone on the wire at the end, take the rest.
const FULL: f64 = 0.9;

/// A row that moves more than this part shows that the bare transfer had another limit than the wire, such as
/// the one core that sends: so no row can be held against it.
const TOO_MUCH: f64 = 1.1;

/// What is known about the way to the servers' machine.
#[derive(Default)]
pub struct Wire {
    /// Bytes a second from there, and to there. `None`: the servers are here, or not ours.
    rates: Option<[f64; 2]>,
    /// That machine.
    about: About,
}

/// Sends for a while, and says that this was all.
fn send(mut stream: &TcpStream, tenths: u8) -> io::Result<u64> {
    let (piece, mut sent, start) = ([0; PIECE], 0, Instant::now());
    while start.elapsed() < Duration::from_millis(100) * tenths.into() {
        sent += stream.write(&piece)? as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(sent)
}

/// Reads to the end.
fn receive(mut stream: &TcpStream) -> io::Result<u64> {
    let (mut piece, mut received) = ([0; PIECE], 0);
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(received),
            count => received += count as u64,
        }
    }
}

/// The server's side: does on each connection what the other side wants.
pub fn serve(plan: &Plan, leash: &mut Leash) -> Result<(), Failure> {
    let trouble = |error| {
        Failure::Failed(format!(
            "--as-server wire, --at {}: {error}",
            plan.place.address()
        ))
    };
    let listener = TcpListener::bind(plan.place.address()).map_err(trouble)?;
    let address = listener.local_addr().map_err(trouble)?;
    cli::print(&format!(
        "{}kolam listening on {address}\n",
        as_server::about(plan)
    ))?;
    while let Woken::Other = leash.wait(Some(listener.as_fd()), Some(Instant::now() + plan.timeout)) {
        let (stream, _) = listener.accept().map_err(trouble)?;
        limit(&stream, plan.timeout).map_err(trouble)?;
        // When a connection fails, its other side reports it.
        thread::spawn(move || answer(&stream));
    }
    cli::print("kolam used - 0\n")
}

fn answer(mut stream: &TcpStream) -> io::Result<u64> {
    let mut what = [0; 2];
    stream.read_exact(&mut what)?;
    match what {
        [SEND, tenths] => send(stream, tenths),
        // Its end tells the other side that everything has arrived.
        _ => receive(stream),
    }
}

/// One connection of the tester's side; the bytes that it has moved.
fn ask(what: u8, tenths: u8, address: SocketAddr, timeout: Duration) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    limit(&stream, timeout)?;
    stream.write_all(&[what, tenths])?;
    let sent = if what == RECEIVE {
        send(&stream, tenths)?
    } else {
        0
    };
    Ok(sent + receive(&stream)?)
}

/// Lets no read or write wait for longer.
fn limit(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))
}

impl Wire {
    /// Measures it, once for all rows.
    pub fn measure(plan: &Plan, stop: Stop) -> Result<Wire, Failure> {
        let Some(launch) = plan.launch() else {
            return Ok(Wire::default());
        };
        let measured = launch.start(None, plan, stop).and_then(|mut launched| {
            let (address, about) = (launched.address, mem::take(&mut launched.about));
            let rates = Wire::both_ways(address, plan.timeout);
            let rates = rates.map_err(|error| format!("--launch-address {address}: {error}"))?;
            launched.stop()?;
            Ok(Wire {
                rates: Some(rates),
                about,
            })
        });
        match measured {
            Err(_) if stop.requested() => Err(Failure::Interrupted),
            other => other.or_else(failed),
        }
    }

    fn both_ways(address: SocketAddr, timeout: Duration) -> io::Result<[f64; 2]> {
        let mut rates = [0.0_f64; 2];
        for (way, tenths) in ROUNDS.iter().flat_map(|&tenths| [(0, tenths), (1, tenths)]) {
            let (what, start) = ([SEND, RECEIVE][way], Instant::now());
            // All threads have ended when this has: forked clients need that.
            let moved = thread::scope(|scope| {
                let streams =
                    [(); STREAMS].map(|()| scope.spawn(move || ask(what, tenths, address, timeout)));
                let moved = streams.map(|stream| stream.join().unwrap_or(Ok(0)));
                moved.into_iter().sum::<io::Result<u64>>()
            })?;
            rates[way] = rates[way].max(moved as f64 / start.elapsed().as_secs_f64());
        }
        Ok(rates)
    }

    /// It and the other machine, for `machine.txt`.
    pub fn about(&self) -> About {
        let mut about = self.about.clone();
        if let Some([from, to]) = self.rates.map(|rates| rates.map(short_size)) {
            about.push((
                "wire",
                format!("{from}/s from the server, {to}/s to it: a bare transfer"),
            ));
        }
        about
    }

    /// The line of the summary: in how many rows the wire was the limit.
    pub fn limit(&self, outcomes: &[Outcome], language: Language) -> String {
        let Some(rates) = self.rates else {
            return String::new();
        };
        let shares = outcomes.iter().filter_map(|outcome| share(outcome, rates));
        let shares: Vec<f64> = shares.collect();
        let full = shares.iter().filter(|share| **share >= FULL).count();
        let best = shares.iter().copied().fold(0.0, f64::max);
        let percent = |share: f64| format!("{:.0}", share * 100.0);
        let [from, to] = rates.map(short_size);
        let what = if (FULL..=TOO_MUCH).contains(&best) {
            let [all, least] = [shares.len().to_string(), percent(FULL)];
            language.fill(words::THE_WIRE, &[&full, &all, &least, &from, &to])
        } else {
            language.fill(words::NOT_THE_WIRE, &[&percent(best), &from, &to])
        };
        language.line(words::LIMIT, &what)
    }
}

/// The part of its direction of the wire that a row filled; `None`: it moved nothing that counts.
fn share(outcome: &Outcome, [from, to]: [f64; 2]) -> Option<f64> {
    let wire = match outcome.row.operation {
        "download" => from,
        "upload" => to,
        _ => return None,
    };
    let rate = outcome.total_rate().filter(|_| outcome.bytes > 0)?;
    Some(rate * TEXT / wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::matrix::Row;
    use crate::stress::words::Language::{English, Indonesian};

    fn outcome(operation: &'static str, bytes: u64) -> Outcome {
        Outcome {
            row: Row {
                operation,
                ..Row::default()
            },
            bytes,
            wall: 1.0,
            ..Outcome::default()
        }
    }

    #[test]
    fn a_row_is_held_against_its_own_direction() {
        let wire = Wire {
            rates: Some([120e6, 60e6]),
            ..Wire::default()
        };
        // A row at the limit moves three quarters of the wire's bytes as content.
        let table: [(&[(&'static str, u64)], &str); 6] = [
            (
                &[("download", 90_000_000), ("upload", 40_000_000)],
                "the wire in 1 of 2 rows:",
            ),
            (
                &[("download", 40_000_000), ("upload", 45_000_000)],
                "the wire in 1 of 2 rows:",
            ),
            (&[("download", 81_000_000)], "the wire in 1 of 1 rows:"),
            (&[("download", 80_900_000)], "not the wire: at best 90 %"),
            (
                &[("download", 81_000_000), ("upload", 50_000_000)],
                "not the wire: at best 111 %",
            ),
            (
                &[("list", 90_000_000), ("download", 0)],
                "not the wire: at best 0 %",
            ),
        ];
        for (rows, begins) in table {
            let outcomes: Vec<Outcome> = rows
                .iter()
                .map(|(operation, bytes)| outcome(operation, *bytes))
                .collect();
            let line = wire.limit(&outcomes, English);
            assert!(line.starts_with(&format!("limit      {begins}")), "{line}");
            assert!(
                line.contains("114 MiB/s from the server and 57.2 MiB/s to it"),
                "{line}"
            );
            assert!(wire.limit(&outcomes, Indonesian).starts_with("batas "));
        }
    }
}
