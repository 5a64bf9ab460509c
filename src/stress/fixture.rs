//! What does a row of the stress test need? The files that are sent, the server that is tested, and the
//! comparison of what arrived. The server is the same program in a separate process, so that its memory and
//! processor time are its own; or it is a target, and then we know only its replies. The server ends with the
//! tester, however that ends. Nothing in this file runs while a row is timed.

use crate::client::{Client, Error};
use crate::json::Value;
use crate::stress::clients::{Compare, Feed, Record, Task, download};
use crate::stress::launch::{Launched, Place, Usage};
use crate::stress::matrix::{Plan, Row};
use crate::stress::run_files::{RunFiles, RunId};
use crate::stress::target::Target;
use crate::stress::trace::Progress;
use crate::sys::{self, Interest, Pid, Stop};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, iter, mem};

/// How long a server may take to stop when nothing is in flight.
pub const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Files are compared in pieces of this many bytes.
const CHUNK: usize = 1 << 20;

/// The files of a stress test.
pub struct Fixture<'p> {
    plan: &'p Plan,
    stop: Stop,
    /// The folder that our servers serve, removed at the end.
    files: RunFiles,
    /// A server that we did not start; `None`: each row has one of our own.
    pub target: Option<Target>,
    /// Volume in MiB and what its file holds. Kept in memory, apart from what the server can touch: a file
    /// mapped in from there would change with it, and forked clients would find its pages one by one.
    sources: BTreeMap<u64, Arc<Vec<u8>>>,
    /// Seconds a byte for making and writing a source. The fastest of all sources, because other work on the
    /// machine slows some of them down.
    pub making: f64,
    /// Bytes moved by the clients of the running row.
    pub progress: Progress,
}

impl Fixture<'_> {
    /// Makes the files.
    pub fn new(plan: &Plan, stop: Stop) -> io::Result<Fixture<'_>> {
        let files = RunFiles::make(&plan.root)?;
        let target = match plan.target {
            Some(address) => Some(Target::new(address, files.run, plan.language)?),
            None => None,
        };
        let (mut sources, mut making) = (BTreeMap::new(), f64::INFINITY);
        for &volume in &plan.volumes {
            let start = Instant::now();
            let content = random(volume << 20, volume);
            if plan.files_are_here() {
                fs::write(files.path.join(files.run.source(volume)), &content)?;
            }
            making = making.min(start.elapsed().as_secs_f64() / content.len() as f64);
            sources.insert(volume, Arc::new(content));
        }
        Ok(Fixture {
            plan,
            stop,
            progress: Progress::of(plan, &files)?,
            files,
            target,
            sources,
            making,
        })
    }

    fn content(&self, row: &Row) -> Arc<Vec<u8>> {
        self.sources[&row.volume_mib].clone()
    }

    fn connect(&self, address: SocketAddr) -> Result<Client, Error> {
        Client::connect(address, self.plan.timeout, self.stop)
    }

    /// What the clients of `row` are to do.
    pub fn task(&self, row: &Row, server: &Server) -> Task {
        let run = server.run;
        let volumes = self.plan.volumes.iter();
        let all = volumes.map(|&volume| run.source(volume)).collect();
        let name = run.source(row.volume_mib);
        let only = server.is_ours();
        Task {
            address: server.address,
            operation: row.operation,
            run,
            names: if only { all } else { vec![name.clone()] },
            only,
            name,
            content: self.content(row),
            timeout: self.plan.timeout,
            stop: self.stop,
            progress: self.progress,
        }
    }

    /// Uploads to a target the file to download or to list. All names that are sent to it, now and by the
    /// clients, are remembered. `tick` is told how many bytes have gone, from 0 on.
    pub fn before(&mut self, row: &Row, mut tick: impl FnMut(u64)) -> Result<(), Error> {
        let (run, content) = (self.files.run, self.content(row));
        let bytes = content.len() as u64;
        let Some(target) = &mut self.target else {
            return Ok(());
        };
        if row.operation == "upload" {
            (0..row.clients as usize).for_each(|index| target.will_store(run.upload(index), bytes));
            return Ok(());
        }
        let (name, address) = (run.source(row.volume_mib), target.address);
        target.will_store(name.clone(), bytes);
        let mut gone = 0;
        tick(gone);
        let mut source = Feed {
            rest: &content,
            taken: |count| {
                gone += count;
                tick(gone);
            },
        };
        self.connect(address)?.upload(&name, &mut source).map(drop)
    }

    /// Compares what each successful worker uploaded with what it should be; on a difference it has failed.
    pub fn verify(&self, row: &Row, server: &Server, records: &mut [Record]) {
        let content = self.content(row);
        for record in records.iter_mut().filter(|record| record.failure.is_none()) {
            let name = server.run.upload(record.index);
            let result = if server.is_ours() {
                compare(&self.files.path.join(name), &content, self.progress)
            } else {
                self.connect(server.address)
                    .and_then(|mut client| download(&mut client, &name, &content, self.progress))
            };
            let wrong = result.err();
            record.failure = wrong.map(|error| (error.cause(), format!("stored upload: {error}")));
        }
    }

    /// Removes the files of a row, if there are any.
    pub fn after(&mut self, row: &Row) {
        match &mut self.target {
            Some(target) => target.clean(self.stop),
            None if row.operation == "upload" => {
                for index in 0..row.clients as usize {
                    let _ = fs::remove_file(self.files.path.join(self.files.run.upload(index)));
                }
            }
            None => {}
        }
    }

    /// The counters of the server, if it answers STATS. A target that does not may take long to refuse.
    pub fn stats(&self, server: &Server) -> Option<Stats> {
        if matches!(server.process, Process::Theirs) && !self.plan.tells {
            return None;
        }
        Stats::from(&self.connect(server.address).ok()?.stats().ok()?)
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

/// Compares a stored file with what it should hold; returns its length.
fn compare(path: &Path, content: &[u8], progress: Progress) -> Result<u64, Error> {
    let file = File::open(path).map_err(Error::Local)?;
    let length = file.metadata().map_err(Error::Local)?.len();
    let wanted = content.len() as u64;
    if length != wanted {
        return Err(Error::Corrupt(format!("{length} bytes instead of {wanted}")));
    }
    let mut sink = Compare {
        expected: content,
        at: 0,
        progress,
    };
    io::copy(&mut BufReader::with_capacity(CHUNK, file), &mut sink).map_err(Error::Local)
}

/// The part of STATS about failures. The default: nothing has failed yet.
#[derive(Default)]
pub struct Stats {
    alive: u64,
    restarts: u64,
    /// Failed requests of each worker.
    failed: Vec<u64>,
}

impl Stats {
    fn from(value: &Value) -> Option<Stats> {
        let count = |value: &Value, key| value.get(key).and_then(Value::as_u64);
        let workers = value.get("per_worker")?.as_array()?.iter();
        let failed = workers.map(|worker| count(worker, "failed"));
        Some(Stats {
            alive: count(value, "alive")?,
            restarts: count(value, "restarts")?,
            failed: failed.collect::<Option<_>>()?,
        })
    }

    /// Workers that have lived and failed nothing since `before`, and the others; `None` if they are not
    /// `expected` many. STATS does not say which workers died, so we assume that they are among those that
    /// failed a request: most die in the middle of one.
    pub fn workers_since(&self, before: &Stats, expected: u64) -> Option<(u64, u64)> {
        let workers = self.failed.len() as u64;
        let then = before.failed.iter().chain(iter::repeat(&0));
        let pairs = self.failed.iter().zip(then);
        let failing = pairs.filter(|(now, then)| now > then).count() as u64;
        let bad = failing
            .max(self.restarts.saturating_sub(before.restarts))
            .max(workers.saturating_sub(self.alive))
            .min(workers);
        (workers == expected).then_some((workers - bad, bad))
    }
}

/// The server of one row.
pub struct Server {
    pub address: SocketAddr,
    /// The names of its files hold this id.
    pub run: RunId,
    pub process: Process,
}

pub enum Process {
    /// Its first process, and its stdout, which ends when the last process of the server has ended.
    Here(Pid, ChildStdout),
    Elsewhere(Launched),
    /// It is a target, which we do not stop.
    Theirs,
}

impl Server {
    /// Starts the server of `row` and waits for its ready line.
    pub fn start(row: &Row, fixture: &Fixture) -> Result<Server, String> {
        if let Some(target) = &fixture.target {
            return Ok(Server {
                address: target.address,
                run: fixture.files.run,
                process: Process::Theirs,
            });
        }
        let at = match &fixture.plan.place {
            Place::Here(at) => at.to_string(),
            Place::Elsewhere(launch) => return launch.serve(row, fixture.plan, fixture.stop),
        };
        let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let idle = (fixture.plan.timeout.as_secs() + 1).to_string();
        let mut command = Command::new(program);
        command
            .args(["serve", "--allow-write", "--listen", &at, "--mode", row.mode])
            .args(["--workers", &row.servers.to_string(), "--max-upload", "1024G"])
            .args(["--max-connections", &(row.clients + 16).to_string()])
            .args(["--idle-timeout", &idle, "--root"])
            .arg(&fixture.files.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        sys::die_with_parent(&mut command);
        let logged = fixture.progress.log_of(row, &mut command);
        logged.map_err(|error| format!("cannot make the log of the server: {error}"))?;
        let spawned = command.spawn();
        let mut child = spawned.map_err(|error| format!("cannot start the server: {error}"))?;
        let mut stdout = child.stdout.take().ok_or("the server has no stdout")?;
        let mut line = String::new();
        let heard = BufReader::new(&mut stdout).read_line(&mut line);
        let pid = child.id() as Pid;
        // From here on it is stopped when it is dropped.
        let mut server = Server {
            address: ([127, 0, 0, 1], 0).into(),
            run: fixture.files.run,
            process: Process::Here(pid, stdout),
        };
        heard.map_err(|error| format!("cannot hear the server: {error}"))?;
        // `listening on 127.0.0.1:40001 (…`
        let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        server.address = address.ok_or("the server did not become ready")?;
        Ok(server)
    }

    /// Are its files on this machine?
    pub fn is_ours(&self) -> bool {
        matches!(self.process, Process::Here(..))
    }

    /// Stops it, unless it is a target, and waits until all its processes have ended; returns what they used.
    pub fn stop(mut self) -> Result<Usage, String> {
        let (pid, stdout) = match mem::replace(&mut self.process, Process::Theirs) {
            Process::Here(pid, stdout) => (pid, stdout),
            Process::Elsewhere(launched) => return launched.stop(),
            Process::Theirs => return Ok((None, None)),
        };
        let peak = sys::peak_memory(pid);
        let _ = sys::kill(pid, sys::SIGTERM);
        let deadline = Instant::now() + STOP_LIMIT;
        // All its processes hold the other end of the pipe: its end of file means that all have ended.
        let mut ended = Ok(0);
        while matches!(ended, Ok(0)) && Instant::now() < deadline {
            ended = sys::poll(&[(stdout.as_fd(), Interest::Read)], Some(deadline));
        }
        let in_time = matches!(ended, Ok(1..));
        if !in_time {
            let _ = sys::kill(pid, sys::SIGKILL);
        }
        match sys::reap(pid, true) {
            Ok(Some(_)) if !in_time => Err(format!("the server did not stop within {STOP_LIMIT:?}")),
            Ok(Some(ended)) if ended.code == Some(0) => Ok((peak, Some(ended.cpu))),
            Ok(ended) => Err(format!("the server ended badly: {ended:?}")),
            Err(error) => Err(format!("cannot wait for the server: {error}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Process::Here(pid, _) = self.process {
            let _ = sys::kill(pid, sys::SIGKILL);
            let _ = sys::reap(pid, true);
        }
    }
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
            (stats(3, 0, &[0, 0, 0]), Stats::default(), 3, Some((3, 0))),
            (stats(3, 0, &[0, 2, 1]), Stats::default(), 3, Some((1, 2))),
            (stats(3, 1, &[0, 1, 0]), Stats::default(), 3, Some((2, 1))),
            (stats(3, 1, &[0, 0, 0]), Stats::default(), 3, Some((2, 1))),
            (stats(2, 0, &[0, 0, 0]), Stats::default(), 3, Some((2, 1))),
            (stats(3, 9, &[0, 0, 0]), Stats::default(), 3, Some((0, 3))),
            (stats(3, 1, &[0, 1, 0]), stats(3, 1, &[0, 1, 0]), 3, Some((3, 0))),
            (stats(3, 0, &[0, 0, 0]), Stats::default(), 5, None),
        ];
        for (now, before, expected, result) in table {
            assert_eq!(now.workers_since(&before, expected), result);
        }
    }

    #[test]
    fn a_stored_upload_must_be_right() {
        let folder = Folder::new();
        let path = folder.path().join("a");
        let content = random(3 << 20, 1);
        fs::write(&path, &content).unwrap();
        let progress = Progress::new().unwrap();
        let good = |path: &Path, content: &[u8]| compare(path, content, progress).is_ok();
        assert!(good(&path, &content));
        let mut wrong = content.clone();
        wrong[2 << 20] ^= 1;
        assert!(!good(&path, &wrong));
        assert!(!good(&path, &content[1..]));
        assert!(!good(&folder.path().join("b"), &content));
    }
}
