//! What is counted in a load test, and what counts as a failure? Each request that is over is noted once: as
//! complete with its time, or as failed with its cause. Failed requests are in no rate and in no percentile;
//! a percentile is a time that was really measured; a figure that was not measured is `None`, never 0.

use crate::bench::response::Answer;
use crate::cli::{nearest_rank, visible};
use std::time::{Duration, Instant};

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection: refused, unreachable, no port or descriptor left.
    Connect,
    /// The connection broke.
    Receive,
    /// More or fewer bytes of body than in the first good reply.
    Length,
    /// The server closed before its reply was whole.
    Short,
    /// The reply is not well-formed HTTP.
    Malformed,
    /// Nothing moved for too long.
    Timeout,
    /// Any status but 2xx.
    Status,
}

/// Names of the causes, in their order.
const CAUSES: [&str; 7] = [
    "Connect",
    "Receive",
    "Length",
    "Short",
    "Malformed",
    "Timeout",
    "Status",
];

/// Times that the first allocation has room for: 8 MiB, of which the kernel provides only what is used. To
/// grow it moves pages, not bytes (mremap(2)), and so without a pause.
const ROOM: usize = 1 << 20;

/// A failed request: its cause, and a sentence about it.
pub type Fault = (Cause, String);

/// The counts and times of a run. A complete request had a reply with a status of 2xx, well-formed to its
/// last byte, with as many bytes of body as the first. (`ab` counts a reply with status 500 as complete.)
pub struct LoadStats {
    pub start: Instant,
    /// When the last request was over.
    pub end: Instant,
    /// How long each complete request took, in nanoseconds.
    times: Vec<u64>,
    failures: [u64; CAUSES.len()],
    pub first_fault: Option<String>,
    /// Bytes of body of the first good reply.
    pub length: Option<u64>,
    /// The field Server of the first reply.
    pub server: Option<String>,
    /// Bytes that came, heads and all.
    pub received: u64,
    /// Bytes of body of the requests that are over.
    pub body: u64,
    /// Replies whose connection could be used again.
    pub kept: u64,
    /// Requests that were sent again, because the connection that was kept for them had been closed.
    pub reconnects: u64,
    /// Whole replies with bytes after them, on connections that were being closed, and those bytes.
    pub stray_answers: u64,
    pub stray_bytes: u64,
}

impl LoadStats {
    /// For at most `requests`.
    pub fn new(requests: u64) -> LoadStats {
        let now = Instant::now();
        LoadStats {
            start: now,
            end: now,
            times: Vec::with_capacity(ROOM.min(requests as usize)),
            failures: [0; CAUSES.len()],
            first_fault: None,
            length: None,
            server: None,
            received: 0,
            body: 0,
            kept: 0,
            reconnects: 0,
            stray_answers: 0,
            stray_bytes: 0,
        }
    }

    /// A request that began at `start` is over.
    pub fn note(&mut self, start: Instant, answer: &Answer, verdict: Result<Duration, Fault>) {
        let end = verdict
            .as_ref()
            .map_or_else(|_| Instant::now(), |took| start + *took);
        self.end = self.end.max(end);
        self.body += answer.body;
        if self.server.is_none() && answer.status > 0 {
            self.server = Some(visible(&String::from_utf8_lossy(&answer.server)));
        }
        if verdict.is_ok() {
            self.stray_answers += u64::from(answer.stray > 0);
            self.stray_bytes += answer.stray;
        }
        match verdict.and_then(|took| self.judge(answer).map(|()| took)) {
            Ok(took) => self.times.push(took.as_nanos() as u64),
            Err((cause, why)) => {
                self.failures[cause as usize] += 1;
                self.first_fault.get_or_insert(why);
            }
        }
    }

    /// Is a whole reply a success?
    fn judge(&mut self, answer: &Answer) -> Result<(), Fault> {
        if !(200..300).contains(&answer.status) {
            return Err((Cause::Status, format!("status {}", answer.status)));
        }
        match *self.length.get_or_insert(answer.body) {
            length if length == answer.body => Ok(()),
            length => Err((
                Cause::Length,
                format!("{} bytes of body where {length} were before", answer.body),
            )),
        }
    }

    pub fn complete(&self) -> u64 {
        self.times.len() as u64
    }

    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Requests that are over.
    pub fn over(&self) -> u64 {
        self.complete() + self.failed()
    }

    /// Failed requests with a status other than 2xx.
    pub fn refused(&self) -> u64 {
        self.failures[Cause::Status as usize]
    }

    /// Time taken, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start).as_secs_f64()
    }

    /// Complete requests a second.
    pub fn rate(&self) -> Option<f64> {
        (self.complete() > 0).then(|| self.complete() as f64 / self.seconds())
    }

    /// Milliseconds a request, with `at_once` of them at the same time.
    pub fn mean(&self, at_once: u64) -> Option<f64> {
        self.rate().map(|rate| at_once as f64 * 1e3 / rate)
    }

    /// KiB received a second.
    pub fn transfer(&self) -> Option<f64> {
        (self.received > 0).then(|| self.received as f64 / 1024.0 / self.seconds())
    }

    /// Ends the counting and sorts the times.
    pub fn finish(&mut self) {
        self.times.sort_unstable();
    }

    /// The times of the complete requests in nanoseconds, sorted.
    pub fn times(&self) -> &[u64] {
        &self.times
    }

    /// Milliseconds in which this share of the complete requests, in thousandths, was over (nearest rank).
    pub fn percentile(&self, thousandths: usize) -> Option<f64> {
        nearest_rank(self.times.len(), thousandths).map(|at| self.times[at] as f64 / 1e6)
    }

    /// The failures by cause, with those that did not occur.
    pub fn causes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CAUSES.into_iter().zip(self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        let mut answer = Answer::new("GET");
        assert_eq!(answer.feed(text.as_bytes()), Ok(true));
        answer
    }

    /// Stats with complete requests of these milliseconds.
    fn stats(times: &[u64]) -> LoadStats {
        let mut stats = LoadStats::new(times.len() as u64);
        let good = answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        times
            .iter()
            .for_each(|&time| stats.note(stats.start, &good, Ok(Duration::from_millis(time))));
        stats.finish();
        stats
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let of = |times: &[u64]| {
            let stats = stats(times);
            [500, 900, 990, 1000].map(|rank| stats.percentile(rank).map(|time| time as u64))
        };
        assert_eq!(of(&[]), [None; 4]);
        assert_eq!(of(&[7]), [Some(7); 4]);
        assert_eq!(of(&[2, 1]), [1, 2, 2, 2].map(Some));
        assert_eq!(of(&[3, 2, 1]), [2, 3, 3, 3].map(Some));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), [50, 90, 99, 100].map(Some));
        let more: Vec<u64> = (1..=101).collect();
        assert_eq!(of(&more), [51, 91, 100, 101].map(Some));
    }

    #[test]
    fn rates_are_those_of_the_complete_requests() {
        let mut stats = stats(&[10, 20, 30, 40]);
        stats.note(
            stats.start,
            &Answer::new("GET"),
            Err((Cause::Timeout, "late".to_owned())),
        );
        stats.end = stats.start + Duration::from_secs(2);
        stats.received = 4096;
        assert_eq!((stats.complete(), stats.failed(), stats.body), (4, 1, 12));
        assert_eq!((stats.rate(), stats.transfer()), (Some(2.0), Some(2.0)));
        assert_eq!((stats.mean(5), stats.mean(1)), (Some(2500.0), Some(500.0)));
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        let mut stats = LoadStats::new(1);
        stats.note(
            stats.start,
            &Answer::new("GET"),
            Err((Cause::Connect, "refused".to_owned())),
        );
        assert_eq!(
            (
                stats.rate(),
                stats.mean(1),
                stats.transfer(),
                stats.percentile(500)
            ),
            (None, None, None, None)
        );
    }

    #[test]
    fn status_and_length_decide() {
        let mut stats = stats(&[1]);
        let moment = Ok(Duration::from_millis(1));
        for text in [
            "HTTP/1.1 199 A\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 299 OK\r\nContent-Length: 3\r\n\r\nxyz",
        ] {
            stats.note(stats.start, &answer(text), moment.clone());
        }
        assert_eq!((stats.complete(), stats.failed()), (3, 0));
        for text in [
            "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 300 Oh\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 204 OK\r\n\r\n",
        ] {
            stats.note(stats.start, &answer(text), moment.clone());
        }
        assert_eq!((stats.complete(), stats.failed()), (3, 4));
        let counted = [Cause::Status, Cause::Length].map(|cause| stats.failures[cause as usize]);
        assert_eq!(
            (counted, stats.first_fault.as_deref()),
            ([2, 2], Some("status 500"))
        );
        assert_eq!(stats.refused(), 2);
    }
}
