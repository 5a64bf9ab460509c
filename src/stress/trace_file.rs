//! What does a line of `trace.csv` join? What a client has noted, and what the server's log says of the
//! connection with its port: which worker took it, when, and when the reply was done. One more line tells
//! of each worker that died. All times are seconds since the first connection of the row.

use crate::cli::parse_digits;
use crate::client::CAUSES;
use crate::stress::clients::Record;
use crate::stress::matrix::Row;
use crate::stress::run_folder::append;
use crate::stress::trace::{CONNECTED, FIRST, LAST, MARKS, PART, PORT, SLOW, Tracer};
use crate::sys::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The file in the folder of the run.
pub const TRACE: &str = "trace.csv";

const HEAD: &str = "table,no,timestamp,what,client,worker,process,connected_s,taken_s,first_byte_s,\
                    last_byte_s,done_s,result\n";

/// What the log says of one connection; times in seconds of the shared clock.
#[derive(Debug, Clone, Default, PartialEq)]
struct Served {
    worker: u64,
    process: Pid,
    taken: f64,
    /// `None`: its worker died, or still serves it.
    done: Option<f64>,
}

/// A worker that died.
#[derive(Debug, PartialEq)]
struct Death {
    at: f64,
    worker: u64,
    process: Pid,
    /// `killed by signal 9`
    how: String,
}

/// What the log of a server says.
#[derive(Default)]
struct Told {
    /// By the port of the client.
    served: HashMap<u64, Served>,
    deaths: Vec<Death>,
}

/// line = seconds " worker " number " " ( peer " taken by process " pid | peer " " verb … | "(process " pid
/// ") was killed by " … ) ; other lines are not about a worker
fn read(log: &str) -> Told {
    let mut told = Told::default();
    for line in log.lines() {
        let _ = told.take(line);
    }
    told
}

impl Told {
    /// `None`: the line tells nothing that is asked for here.
    fn take(&mut self, line: &str) -> Option<()> {
        let (seconds, rest) = line.split_once(" worker ")?;
        let at = seconds.parse().ok()?;
        let (worker, rest) = rest.split_once(' ')?;
        let worker = parse_digits(worker)?;
        if let Some((process, how)) = rest
            .strip_prefix("(process ")
            .and_then(|rest| rest.split_once(") "))
        {
            let process = parse_digits::<u32>(process)? as Pid;
            let how = how.trim_start_matches("was ").to_owned();
            self.deaths.push(Death {
                at,
                worker,
                process,
                how,
            });
            return Some(());
        }
        let (peer, what) = rest.split_once(' ')?;
        let port = parse_digits(peer.rsplit_once(':')?.1)?;
        match what.strip_prefix("taken by process ") {
            Some(process) => {
                let (process, taken, done) = (parse_digits::<u32>(process)? as Pid, at, None);
                self.served.insert(
                    port,
                    Served {
                        worker,
                        process,
                        taken,
                        done,
                    },
                );
            }
            None => self.served.get_mut(&port)?.done = Some(at),
        }
        Some(())
    }
}

/// The process that has taken the connection of the client with this port.
pub fn worker_of(log: &str, port: u64) -> Option<Pid> {
    read(log).served.get(&port).map(|served| served.process)
}

/// Appends what was recorded of one run of `row`, which began at `timestamp`.
pub fn write(
    folder: &Path,
    tracer: &Tracer,
    row: &Row,
    timestamp: &str,
    records: &[Record],
) -> Result<(), String> {
    let (path, text) = (folder.join(TRACE), lines(tracer, row, timestamp, records));
    let file = File::options().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| {
        let head = if file.metadata()?.len() == 0 { HEAD } else { "" };
        append(&mut file, &(head.to_owned() + &text))
    });
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn lines(tracer: &Tracer, row: &Row, timestamp: &str, records: &[Record]) -> String {
    let told = read(&tracer.text());
    let (marks, _) = tracer.marks.as_chunks::<MARKS>();
    let noted = |marks: &[AtomicU64; MARKS], mark: usize| match marks[mark].load(Relaxed) {
        0 => None,
        nanoseconds => Some(nanoseconds as f64 / 1e9),
    };
    let used = &marks[..row.clients as usize];
    let connected = used.iter().filter_map(|marks| noted(marks, CONNECTED));
    // A worker may take a connection before its client notes that there is one.
    let taken = told.served.values().map(|served| served.taken);
    let zero = connected.chain(taken).fold(f64::INFINITY, f64::min);
    let cell = |time: Option<f64>| time.map_or(String::new(), |time| format!("{:.6}", time - zero));
    let begin = format!("{},{},{timestamp}", row.table, row.number);
    let mut text = String::new();
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort_by_key(|record| record.index);
    for record in sorted {
        let (marks, index) = (&used[record.index], record.index);
        let served = told.served.get(&marks[PORT].load(Relaxed));
        let [connected, first, last] = [CONNECTED, FIRST, LAST].map(|mark| cell(noted(marks, mark)));
        let taken = cell(served.map(|served| served.taken));
        let done = cell(served.and_then(|served| served.done));
        let worker = served.map_or(",".to_owned(), |served| {
            format!("{},{}", served.worker, served.process)
        });
        let slow = marks[PART].load(Relaxed) == SLOW;
        let what = if slow { "slow client" } else { "client" };
        let result = record.failure.as_ref().map_or("ok", |(cause, _)| CAUSES[*cause]);
        text +=
            &format!("{begin},{what},{index},{worker},{connected},{taken},{first},{last},{done},{result}\n");
    }
    for Death {
        at,
        worker,
        process,
        how,
    } in told.deaths
    {
        text += &format!("{begin},death,,{worker},{process},,,,,{},{how}\n", cell(Some(at)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_who_was_served_by_whom_and_when() {
        let told = read(
            "1.5 worker 0 127.0.0.1:50001 taken by process 70\n\
             1.6 worker 12 [::1]:50002 taken by process 71\n\
             2.0 worker 0 (process 70) was killed by signal 9\n\
             2.5 worker 12 [::1]:50002 GET \"a worker 3\" 7 bytes 900.000 ms OK\n\
             2.6 worker 12 [::1]:50009 GET \"of a connection that nothing is known of\" 7 bytes 1.0 ms OK\n\
             2.7 stopped after 1.2 s: connections 2\n\
             worker\n worker 1\n",
        );
        let served = |worker, process, taken, done| Served {
            worker,
            process,
            taken,
            done,
        };
        assert_eq!(told.served.len(), 2);
        assert_eq!(told.served[&50001], served(0, 70, 1.5, None));
        assert_eq!(told.served[&50002], served(12, 71, 1.6, Some(2.5)));
        let death = Death {
            at: 2.0,
            worker: 0,
            process: 70,
            how: "killed by signal 9".to_owned(),
        };
        assert_eq!(told.deaths, [death]);
    }
}
