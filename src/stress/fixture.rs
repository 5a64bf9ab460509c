//! # Chapter 13c. What does a row of the stress test need?
//!
//! The files that are sent, the server that is tested, and the comparison of what arrived. The server is the
//! same program in a separate process, so that its memory and processor time are its own; or it is a target,
//! and then we know only its replies.
//!
//! The invariant: the server ends with the tester, however that ends. Nothing in this file runs while a row
//! is timed.
//!
//! What must not live here: the order of the rows, the folder and the names of the files
//! (`stress/run_files.rs`).
//!
//! Experiment: flip one byte of an upload before `verify` sees it, and read the CSV.

use crate::client::{Client, Error};
use crate::json::Value;
use crate::stress::clients::{Record, Task, download};
use crate::stress::matrix::{Plan, Row};
use crate::stress::run_files::RunFiles;
use crate::stress::target::Target;
use crate::sys::{self, Interest, Pid, Stop};
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// How long a server may take to stop when nothing is in flight.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Files are compared in pieces of this many bytes.
const CHUNK: usize = 1 << 20;

/// The files of a stress test.
pub struct Fixture {
    /// The folder that our servers serve, removed at the end.
    files: RunFiles,
    /// A server that we did not start; `None`: each row has one of our own.
    pub target: Option<Target>,
    /// Does it answer STATS? A server that does not may take long to refuse.
    tells: bool,
    /// Volume in MiB and what its file holds. Kept in memory, apart from what the server can touch: a file
    /// mapped in from there would change with it, and forked clients would find its pages one by one.
    sources: Vec<(u64, Arc<Vec<u8>>)>,
    /// Seconds a byte for making and writing a source. The fastest of all sources, because other work on the
    /// machine slows some of them down.
    pub making: f64,
    timeout: Duration,
    stop: Stop,
    /// Bytes moved by the clients of the running row.
    pub progress: &'static AtomicU64,
}

impl Fixture {
    /// Makes the files.
    pub fn new(plan: &Plan, stop: Stop) -> io::Result<Fixture> {
        let progress = &sys::shared_counters(1)?[0];
        let files = RunFiles::make(&plan.root)?;
        let target = plan
            .target
            .map(|address| Target::new(address, files.run, plan.words))
            .transpose()?;
        let (sources, timeout, tells) = (Vec::new(), plan.timeout, plan.tells || target.is_none());
        let making = f64::INFINITY;
        let mut fixture = Fixture {
            files,
            target,
            tells,
            sources,
            making,
            timeout,
            stop,
            progress,
        };
        for volume in plan.volumes() {
            let start = Instant::now();
            let content = random(volume << 20, volume);
            if fixture.target.is_none() {
                fs::write(
                    fixture.files.path.join(fixture.files.run.source(volume)),
                    &content,
                )?;
            }
            fixture.making = fixture
                .making
                .min(start.elapsed().as_secs_f64() / content.len() as f64);
            fixture.sources.push((volume, Arc::new(content)));
        }
        Ok(fixture)
    }

    fn content(&self, row: &Row) -> Arc<Vec<u8>> {
        let found = self.sources.iter().find(|(volume, _)| *volume == row.volume_mib);
        found.expect("each volume of the plan has a source").1.clone()
    }

    /// What the clients of `row` are to do.
    pub fn task(&self, row: &Row, server: &Server) -> Task {
        let run = self.files.run;
        let name = run.source(row.volume_mib);
        let names = self.sources.iter().map(|(volume, _)| run.source(*volume));
        let only = server.is_ours();
        Task {
            address: server.address,
            operation: row.operation,
            run,
            names: if only { names.collect() } else { vec![name.clone()] },
            only,
            name,
            content: self.content(row),
            timeout: self.timeout,
            stop: self.stop,
            progress: self.progress,
        }
    }

    fn connect(&self, address: SocketAddr) -> Result<Client, Error> {
        Client::connect(address, self.timeout, self.stop)
    }

    /// Uploads to a target the file to download or to list. All names that are sent to it, now and by the
    /// clients, are remembered. `tick` is told how many bytes have gone, from 0 on.
    pub fn before(&mut self, row: &Row, mut tick: impl FnMut(u64)) -> Result<(), Error> {
        let (run, content) = (self.files.run, self.content(row));
        let Some(target) = &mut self.target else {
            return Ok(());
        };
        let bytes = content.len() as u64;
        if row.operation == "upload" {
            (0..row.clients as usize).for_each(|index| target.will_store(run.upload(index), bytes));
            return Ok(());
        }
        let name = run.source(row.volume_mib);
        target.will_store(name.clone(), bytes);
        tick(0);
        let mut source = BufReader::with_capacity(
            CHUNK,
            Counted {
                rest: &content,
                of: bytes,
                tick,
            },
        );
        Client::connect(target.address, self.timeout, self.stop)?
            .upload(&name, &mut source)
            .map(drop)
    }

    /// Compares what each successful worker uploaded with what it should be; on a difference it has failed.
    pub fn verify(&self, row: &Row, server: &Server, records: &mut [Record]) {
        let content = self.content(row);
        for record in records.iter_mut().filter(|record| record.failure.is_none()) {
            let name = self.files.run.upload(record.index);
            let result = if server.is_ours() {
                compare(&self.files.path.join(name), &content)
            } else {
                let client = self.connect(server.address);
                client
                    .and_then(|mut client| download(&mut client, &name, &content, self.progress))
                    .map(drop)
            };
            record.failure = result
                .err()
                .map(|error| (error.cause(), format!("stored upload: {error}")));
        }
    }

    /// Removes the files of a row, if there are any.
    pub fn after(&mut self, row: &Row) {
        match &mut self.target {
            Some(target) => target.clean(self.stop),
            None if row.operation == "upload" => {
                let names = (0..row.clients as usize).map(|index| self.files.run.upload(index));
                names.for_each(|name| drop(fs::remove_file(self.files.path.join(name))));
            }
            None => {}
        }
    }

    /// The counters of the server, if it answers STATS.
    pub fn stats(&self, server: &Server) -> Option<Stats> {
        if !self.tells {
            return None;
        }
        Stats::from(&self.connect(server.address).ok()?.stats().ok()?)
    }
}

/// What is read out of memory, and how much of it is told.
struct Counted<'c, F: FnMut(u64)> {
    rest: &'c [u8],
    of: u64,
    tick: F,
}

impl<F: FnMut(u64)> Read for Counted<'_, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        (self.tick)(self.of - self.rest.len() as u64);
        self.rest.read(out)
    }
}

/// Bytes that do not compress and do not repeat (SplitMix64: Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014).
fn random(bytes: u64, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut content = vec![0; bytes as usize];
    sys::prefer_huge_pages(&mut content);
    for word in content.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(mixed ^ mixed >> 31).to_le_bytes());
    }
    content
}

/// Compares a stored file with what it should hold.
fn compare(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut file = File::open(path).map_err(|error| Error::Corrupt(error.to_string()))?;
    let length = file.metadata().map_err(Error::Local)?.len();
    if length != content.len() as u64 {
        return Err(Error::Corrupt(format!(
            "{length} bytes instead of {}",
            content.len()
        )));
    }
    let mut chunk = vec![0; CHUNK];
    for (number, expected) in content.chunks(CHUNK).enumerate() {
        let chunk = &mut chunk[..expected.len()];
        file.read_exact(chunk).map_err(Error::Local)?;
        if chunk != expected {
            return Err(Error::Corrupt(format!("wrong content in MiB {number}")));
        }
    }
    Ok(())
}

/// The part of STATS about failures.
pub struct Stats {
    alive: u64,
    restarts: u64,
    /// Failed requests of each worker.
    failed: Vec<u64>,
}

impl Stats {
    fn from(value: &Value) -> Option<Stats> {
        let count = |key| value.get(key).and_then(Value::as_u64);
        let workers = value.get("per_worker")?.as_array()?;
        let failed = workers
            .iter()
            .map(|worker| worker.get("failed").and_then(Value::as_u64));
        Some(Stats {
            alive: count("alive")?,
            restarts: count("restarts")?,
            failed: failed.collect::<Option<_>>()?,
        })
    }

    /// Workers that have lived and failed nothing since `before`, and the others; `None` if they are not
    /// `expected` many. STATS does not say which workers died, so we assume that they are among those that
    /// failed a request: most die in the middle of one.
    pub fn workers_since(&self, before: Option<&Stats>, expected: u64) -> Option<(u64, u64)> {
        let workers = self.failed.len() as u64;
        let then = |index: usize| {
            before
                .and_then(|stats| stats.failed.get(index))
                .copied()
                .unwrap_or(0)
        };
        let failing = self
            .failed
            .iter()
            .enumerate()
            .filter(|(index, failed)| **failed > then(*index));
        let died = self.restarts - before.map_or(0, |stats| stats.restarts).min(self.restarts);
        let bad = (failing.count() as u64)
            .max(died)
            .max(workers.saturating_sub(self.alive))
            .min(workers);
        (workers == expected).then_some((workers - bad, bad))
    }
}

/// The server of one row.
pub struct Server {
    pub address: SocketAddr,
    /// `None`: it is a target, which we do not stop.
    child: Option<Child>,
}

/// A server that we have started.
struct Child {
    pid: Pid,
    /// Ends when the last process of the server has ended.
    stdout: ChildStdout,
}

impl Server {
    /// Starts the server of `row` and waits for its ready line.
    pub fn start(plan: &Plan, row: &Row, fixture: &Fixture) -> Result<Server, String> {
        if let Some(address) = plan.target {
            return Ok(Server { address, child: None });
        }
        let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let mut command = Command::new(program);
        command.args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--mode", row.mode]);
        command.args(["--workers", &row.servers.to_string(), "--max-upload", "1024G"]);
        command.args(["--max-connections", &(row.clients + 16).to_string()]);
        command
            .args([
                "--idle-timeout",
                &(fixture.timeout.as_secs() + 1).to_string(),
                "--root",
            ])
            .arg(&fixture.files.path);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        sys::die_with_parent(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("the server has no stdout")?);
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .map_err(|error| format!("cannot hear the server: {error}"))?;
        let pid = child.id() as Pid;
        // `listening on 127.0.0.1:40001 (…`
        let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        let child = Some(Child {
            pid,
            stdout: stdout.into_inner(),
        });
        match address {
            Some(address) => Ok(Server { address, child }),
            None => {
                let _ = Server {
                    address: ([127, 0, 0, 1], 0).into(),
                    child,
                }
                .stop();
                Err("the server did not become ready".to_owned())
            }
        }
    }

    pub fn is_ours(&self) -> bool {
        self.child.is_some()
    }

    /// Peak resident memory in KiB: the sum of each process's peak, with shared pages (the program itself,
    /// the counters) counted once. An estimate: the peaks need not have been at the same time, and a worker
    /// that was replaced is not in it.
    pub fn peak_rss_kib(&self) -> Option<u64> {
        let pid = self.child.as_ref()?.pid;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let mut peak = memory(pid, "VmHWM")?;
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let shared = memory(child, "RssFile")? + memory(child, "RssShmem")?;
            peak += memory(child, "VmHWM")?.saturating_sub(shared);
        }
        Some(peak)
    }

    /// Stops it and waits until all its processes have ended; returns their processor time.
    pub fn stop(mut self) -> Result<Option<Duration>, String> {
        let Some(child) = self.child.take() else {
            return Ok(None);
        };
        let _ = sys::kill(child.pid, sys::SIGTERM);
        let deadline = Instant::now() + STOP_LIMIT;
        // All its processes hold the other end of the pipe: its end of file means that all have ended.
        let mut ended = Ok(0);
        while matches!(ended, Ok(0)) && Instant::now() < deadline {
            ended = sys::poll(&[(child.stdout.as_fd(), Interest::Read)], Some(deadline));
        }
        let in_time = matches!(ended, Ok(1..));
        if !in_time {
            let _ = sys::kill(child.pid, sys::SIGKILL);
        }
        match sys::reap(child.pid, true) {
            Ok(Some(ended)) if in_time && ended.code == Some(0) => Ok(Some(ended.cpu)),
            Ok(Some(_)) if !in_time => Err(format!("the server did not stop within {STOP_LIMIT:?}")),
            Ok(ended) => Err(format!("the server ended badly: {ended:?}")),
            Err(error) => Err(format!("cannot wait for the server: {error}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = sys::kill(child.pid, sys::SIGKILL);
            let _ = sys::reap(child.pid, true);
        }
    }
}

/// A field of /proc/<pid>/status in KiB (proc_pid_status(5)).
fn memory(pid: Pid, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Folder;

    fn stats(alive: u64, restarts: u64, failed: &[u64]) -> Stats {
        Stats {
            alive,
            restarts,
            failed: failed.to_vec(),
        }
    }

    #[test]
    fn server_workers_are_counted_not_guessed() {
        let table = [
            (stats(3, 0, &[0, 0, 0]), None, 3, Some((3, 0))),
            (stats(3, 0, &[0, 2, 1]), None, 3, Some((1, 2))),
            (stats(3, 1, &[0, 1, 0]), None, 3, Some((2, 1))),
            (stats(3, 1, &[0, 0, 0]), None, 3, Some((2, 1))),
            (stats(2, 0, &[0, 0, 0]), None, 3, Some((2, 1))),
            (stats(3, 9, &[0, 0, 0]), None, 3, Some((0, 3))),
            (
                stats(3, 1, &[0, 1, 0]),
                Some(stats(3, 1, &[0, 1, 0])),
                3,
                Some((3, 0)),
            ),
            (stats(3, 0, &[0, 0, 0]), None, 5, None),
        ];
        for (now, before, expected, result) in table {
            assert_eq!(now.workers_since(before.as_ref(), expected), result);
        }
    }

    #[test]
    fn a_stored_upload_must_be_right() {
        let folder = Folder::new();
        let path = folder.path().join("a");
        let content = random(3 << 20, 1);
        fs::write(&path, &content).unwrap();
        assert!(compare(&path, &content).is_ok());
        let mut wrong = content.clone();
        wrong[2 << 20] ^= 1;
        assert!(compare(&path, &wrong).is_err());
        assert!(compare(&path, &content[1..]).is_err());
        assert!(compare(&folder.path().join("b"), &content).is_err());
    }
}
