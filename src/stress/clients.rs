//! How do fifty clients start at the same moment, and how do we know what they did? Each is a thread or a
//! forked process. All write "ready" into one pipe, wait at a second one, and start when it holds a byte for
//! each of them; at the end each writes one record into the first. Pipes work alike between threads and
//! between processes. Every worker that was started ends in exactly one record, also when it panics or is
//! killed; success means status, length and content.

use crate::client::{Client, Error};
use crate::pool::ThreadPool;
use crate::stress::run_files::RunId;
use crate::stress::trace::Progress;
use crate::sys::{self, Interest, Pid, Stop};
use std::io::{self, BufRead, PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What each worker does, once.
pub struct Task {
    pub address: SocketAddr,
    /// `download`, `upload` or `list`.
    pub operation: &'static str,
    /// The run: the names of uploaded files begin with its id.
    pub run: RunId,
    /// The name on the server of the file to download.
    pub name: String,
    /// The expected content of a download, and the content of an upload.
    pub content: Arc<Vec<u8>>,
    /// The expected reply to LIST: these names and, if `only`, no others.
    pub names: Vec<String>,
    pub only: bool,
    pub timeout: Duration,
    pub stop: Stop,
    /// Counts what all workers move, for the progress line.
    pub progress: Progress,
}

/// What one worker reports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    pub index: usize,
    /// From before `connect` to the end of the reply.
    pub time: Duration,
    /// When it ended, counted from the start of the row's clock.
    pub end: Duration,
    /// Bytes that arrived; only those of successful workers count.
    pub bytes: u64,
    /// Processor time between start and end.
    pub cpu: Duration,
    /// Cause (index into `CAUSES`) and reason, if it failed.
    pub failure: Option<(usize, String)>,
}

/// Bytes of a record on the pipe. The kernel keeps writes whole up to PIPE_BUF (pipe(7)), 4096 bytes on
/// Linux, so that records of fifty writers never mix.
const RECORD: usize = 256;

/// Bytes of it that are numbers; the rest is the reason.
const NUMBERS: usize = 7 * 8;

/// The first number of a record: its kind.
const READY: u64 = 0;
const SUCCEEDED: u64 = 1;
const FAILED: u64 = 2;

impl Record {
    /// The record of a worker that failed in no time.
    fn failed(index: usize, error: &Error) -> Record {
        Record {
            index,
            failure: Some((error.cause(), error.to_string())),
            ..Record::default()
        }
    }

    /// The record of a worker that could not report.
    fn lost(index: usize) -> Record {
        Record::failed(index, &Error::Local(io::Error::other("the client worker died")))
    }

    fn to_bytes(&self) -> [u8; RECORD] {
        let (kind, cause, reason) = match &self.failure {
            None => (SUCCEEDED, 0, ""),
            Some((cause, reason)) => (FAILED, *cause as u64, reason.as_str()),
        };
        let reason = &reason.as_bytes()[..reason.len().min(RECORD - NUMBERS)];
        let [time, end, cpu] = [self.time, self.end, self.cpu].map(|time| time.as_nanos() as u64);
        let numbers = [kind, self.index as u64, time, end, self.bytes, cpu, cause];
        let mut bytes = [0; RECORD];
        for (slot, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes[NUMBERS..][..reason.len()].copy_from_slice(reason);
        bytes
    }

    /// `None` for the message that a worker is ready.
    fn from_bytes(bytes: &[u8; RECORD]) -> Option<Record> {
        let (numbers, _) = bytes.as_chunks::<8>();
        let number = |at: usize| u64::from_le_bytes(numbers[at]);
        // After the reason come zeroes, or a part of a character that was cut.
        let reason = String::from_utf8_lossy(&bytes[NUMBERS..]);
        let reason = reason.trim_end_matches(['\0', '\u{fffd}']).to_owned();
        (number(0) != READY).then(|| Record {
            index: number(1) as usize,
            time: Duration::from_nanos(number(2)),
            end: Duration::from_nanos(number(3)),
            bytes: number(4),
            cpu: Duration::from_nanos(number(5)),
            failure: (number(0) == FAILED).then_some((number(6) as usize, reason)),
        })
    }
}

/// The records of a row that could not begin because of `error`: all workers failed.
pub fn not_run(count: usize, error: &Error) -> Vec<Record> {
    (0..count).map(|index| Record::failed(index, error)).collect()
}

/// The workers' ends of the two pipes between them and the tester.
///
/// ```text
///   worker 0 ─┐  ready, later a record  ┌───────────┐
///   worker 1 ─┼────────────────────────►│  tester   │
///   …         └◄────── one byte each ───┴───────────┘
/// ```
struct StartBarrier {
    results: PipeWriter,
    start: PipeReader,
    /// The common zero of all times; `Instant` means the same before and after a fork.
    zero: Instant,
}

/// Sends a worker's record to the tester when it is dropped, and so after a panic too.
struct Reporter<'b> {
    pipe: &'b PipeWriter,
    record: Record,
}

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        // It fails only when the tester has gone, and then no one can read it.
        let _ = self.pipe.write_all(&self.record.to_bytes());
    }
}

/// Runs one client worker.
fn work(index: usize, task: &Task, barrier: &StartBarrier) {
    let mut reporter = Reporter {
        pipe: &barrier.results,
        record: Record::lost(index),
    };
    let ready = (&barrier.results).write_all(&[0; RECORD]);
    if ready.is_err() || (&barrier.start).read_exact(&mut [0]).is_err() {
        return;
    }
    let (start, cpu) = (Instant::now(), sys::thread_cpu());
    let result = perform(index, task);
    let (end, cpu) = (Instant::now(), sys::thread_cpu() - cpu);
    let done = match result {
        Ok(bytes) => Record {
            index,
            bytes,
            ..Record::default()
        },
        Err(error) => Record::failed(index, &error),
    };
    reporter.record = Record {
        time: end - start,
        end: end - barrier.zero,
        cpu,
        ..done
    };
}

/// One connection, one operation; returns the bytes that arrived right.
fn perform(index: usize, task: &Task) -> Result<u64, Error> {
    let mut client = Client::connect(task.address, task.timeout, task.stop)?;
    let progress = task.progress.client(index, &mut client);
    let content: &[u8] = &task.content;
    match task.operation {
        "download" => download(&mut client, &task.name, content, progress),
        "upload" => {
            let mut source = Feed {
                rest: content,
                taken: |count| progress.add(count),
            };
            client.upload(&task.run.upload(index), &mut source)
        }
        _ => {
            let names = client.list()?;
            let others = names.iter().filter(|name| !task.names.contains(name)).count();
            if names.len() - others != task.names.len() || task.only && others > 0 {
                return Err(Error::Corrupt("the list is not what is in the folder".to_owned()));
            }
            Ok(client.received())
        }
    }
}

/// Downloads `name` and compares it with `content` while it streams.
pub fn download(client: &mut Client, name: &str, content: &[u8], progress: Progress) -> Result<u64, Error> {
    let mut sink = Compare {
        expected: content,
        at: 0,
        progress,
    };
    let size = client.download(name, &mut sink)?;
    if size < content.len() as u64 {
        return Err(Error::Short(client.received()));
    }
    Ok(size)
}

/// A sink that keeps nothing: what arrives must be what is expected.
pub struct Compare<'c> {
    pub expected: &'c [u8],
    /// Bytes that have arrived.
    pub at: usize,
    pub progress: Progress,
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let expected = &self.expected[self.at..];
        if expected.get(..bytes.len()) != Some(bytes) {
            let pairs = bytes.iter().zip(expected);
            let wrong = self.at + pairs.take_while(|(got, wanted)| got == wanted).count();
            return Err(io::Error::other(format!("wrong content at byte {wrong}")));
        }
        self.at += bytes.len();
        self.progress.add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source in memory that tells how many bytes have been taken each time.
pub struct Feed<'c, F: FnMut(u64)> {
    pub rest: &'c [u8],
    pub taken: F,
}

impl<F: FnMut(u64)> Read for Feed<'_, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.rest.read(out)
    }
}

impl<F: FnMut(u64)> BufRead for Feed<'_, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        (self.taken)(count as u64);
    }
}

/// The workers of either kind.
enum Workers {
    Threads(ThreadPool<usize>),
    /// Process of each worker, and whether it has been reaped.
    Processes(Vec<(Pid, bool)>),
}

/// How long threads may take to notice that the tester is to stop.
const NOTICE: Duration = Duration::from_secs(1);

impl Workers {
    fn threads(count: usize, task: &Arc<Task>, barrier: &Arc<StartBarrier>) -> io::Result<Workers> {
        let pool = ThreadPool::start((0..count).map(|_| {
            let (task, barrier) = (task.clone(), barrier.clone());
            move |index| work(index, &task, &barrier)
        }))?;
        (0..count).for_each(|index| pool.submit(index));
        Ok(Workers::Threads(pool))
    }

    fn fork(count: usize, task: &Task, barrier: &StartBarrier) -> io::Result<Workers> {
        let mut pids = Vec::new();
        for index in 0..count {
            let forked = sys::fork(|| {
                work(index, task, barrier);
                0
            });
            match forked {
                Ok(pid) => pids.push((pid, false)),
                Err(error) => {
                    Workers::Processes(pids).end(None);
                    return Err(error);
                }
            }
        }
        Ok(Workers::Processes(pids))
    }

    /// Adds the records of processes that ended without one. Called when the pipe is empty. It adds a record
    /// only at the second call: the record of a process that has just ended may still be in the pipe.
    fn record_lost(&mut self, records: &mut Vec<Record>) {
        let Workers::Processes(pids) = self else { return };
        for (index, (pid, reaped)) in pids.iter_mut().enumerate() {
            if records.iter().any(|record| record.index == index) {
                continue;
            }
            if *reaped {
                records.push(Record::lost(index));
            } else {
                *reaped = !matches!(sys::reap(*pid, false), Ok(None));
            }
        }
    }

    /// Ends them: nothing more is sent to the server. With a `deadline` they may not have done their work,
    /// and a thread that is still connecting then goes on; it ends with the program.
    fn end(self, deadline: Option<Instant>) {
        match self {
            Workers::Threads(pool) => match deadline {
                None => pool.finish(),
                Some(deadline) => drop(pool.finish_by(deadline)),
            },
            Workers::Processes(pids) => {
                for (pid, _) in pids.iter().filter(|(_, reaped)| !reaped) {
                    let _ = sys::kill(*pid, sys::SIGKILL);
                    let _ = sys::reap(*pid, true);
                }
            }
        }
    }
}

/// Runs `count` workers, threads or processes as `mode` says, and calls `tick` from time to time. Returns
/// their records, and the time from the common start to the end of the last worker. The caller has no
/// threads.
pub fn run(
    mode: &str,
    count: usize,
    task: &Arc<Task>,
    mut tick: impl FnMut(),
) -> io::Result<(Vec<Record>, Duration)> {
    let (mut results, sender) = io::pipe()?;
    let (receiver, mut start) = io::pipe()?;
    let barrier = Arc::new(StartBarrier {
        results: sender,
        start: receiver,
        zero: Instant::now(),
    });
    let mut workers = match mode {
        "process" => Workers::fork(count, task, &barrier)?,
        _ => Workers::threads(count, task, &barrier)?,
    };
    let (mut ready, mut released) = (0, None);
    let mut records: Vec<Record> = Vec::new();
    while records.len() < count {
        // A worker that died before the start does not keep the others waiting.
        if released.is_none() && ready + records.len() >= count {
            released = Some(barrier.zero.elapsed());
            start.write_all(&vec![0; count])?;
        }
        match next_message(&mut results)?.as_ref().map(Record::from_bytes) {
            Some(None) => ready += 1,
            Some(Some(record)) => records.push(record),
            None if task.stop.requested() => {
                workers.end(Some(Instant::now() + NOTICE));
                return Err(io::ErrorKind::Interrupted.into());
            }
            None => {
                tick();
                workers.record_lost(&mut records);
            }
        }
    }
    workers.end(None);
    let last = records.iter().map(|record| record.end).max().unwrap_or_default();
    Ok((records, last.saturating_sub(released.unwrap_or_default())))
}

/// The next message of a worker. `None`: there is none yet, and it is time for other things.
fn next_message(results: &mut PipeReader) -> io::Result<Option<[u8; RECORD]>> {
    let next = Instant::now() + Duration::from_millis(100);
    if sys::poll(&[(results.as_fd(), Interest::Read)], Some(next))? == 0 {
        return Ok(None);
    }
    let mut bytes = [0; RECORD];
    results.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_pipe() {
        // The reason is cut within its last character, which has two bytes.
        let (long, cut) = (format!("{}é", "x".repeat(199)), "x".repeat(199));
        let short = Some((3, "short".to_owned()));
        for (failure, read) in [
            (None, None),
            (short.clone(), short),
            (Some((5, long)), Some((5, cut))),
        ] {
            let second = Duration::from_secs;
            let record = Record {
                index: 9,
                time: second(1),
                end: second(2),
                bytes: 77,
                cpu: second(3),
                failure,
            };
            let expected = Record {
                failure: read,
                ..record.clone()
            };
            assert_eq!(Record::from_bytes(&record.to_bytes()), Some(expected));
        }
        assert!(Record::from_bytes(&[0; RECORD]).is_none());
    }

    #[test]
    fn only_the_expected_content_passes() {
        let progress = Progress::new().unwrap();
        let sink = |expected| Compare {
            expected,
            at: 0,
            progress,
        };
        let mut whole = sink(b"abcdef");
        assert!(whole.write_all(b"abc").is_ok() && whole.write_all(b"de").is_ok());
        assert_eq!((whole.at, progress.bytes()), (5, 5));
        assert!(whole.write_all(b"x").is_err());
        assert!(sink(b"abc").write_all(b"abcd").is_err(), "longer than expected");
        for at in 0..=6 {
            let (mut sink, mut content) = (sink(b"abcdef"), *b"abcdefg");
            content[at] = b'!';
            let (head, tail) = content.split_at(at / 2);
            let wrong = sink.write_all(head).and_then(|()| sink.write_all(tail));
            let error = wrong.unwrap_err().to_string();
            assert_eq!(error, format!("wrong content at byte {at}"));
        }
    }
}
