//! # Chapter 16e. What do the figures of a load test say, and what counts as a failure?
//!
//! Each request that is over is noted once, as complete with its time or as failed with its cause. At the end
//! these become the report, in the layout of Apache's `ab`, and the one line that a table is made of.
//!
//! ```text
//!   Complete ──► times ──sort──► 50 % … 100 %     requests a second = complete ÷ seconds
//!   Failed ────► causes                           time per request  = seconds × connections ÷ complete
//! ```
//!
//! The invariant: a figure that was not measured is `-` in the report and empty in the line, never 0; failed
//! requests are in no rate and in no percentile.
//!
//! What must not live here: sockets.
//!
//! before: `answer.rs` … after: the README again
//!
//! Experiment: run with `-c 1` and `-c 100`. Which of the two times per request stays the same, and why?

use crate::answer::Answer;
use crate::store::visible;
use std::time::{Duration, Instant};

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection: refused, unreachable, no port or descriptor left.
    Connect,
    /// The connection broke.
    Receive,
    /// More or fewer bytes of body than the first good answer had.
    Length,
    /// The server closed before its answer was whole.
    Short,
    /// The answer is not HTTP as it must be.
    Malformed,
    /// Nothing moved for too long.
    Timeout,
    /// Any status but 2xx.
    Status,
}

/// What the report calls the causes, in their order.
const CAUSES: [&str; 7] = ["Connect", "Receive", "Length", "Short", "Malformed", "Timeout", "Status"];

/// A failed request: its cause, and what to tell about it.
pub type Fault = (Cause, String);

/// What the report says about the question.
pub struct Subject<'u> {
    pub host: &'u str,
    pub port: u16,
    pub path: &'u str,
    pub connections: u64,
    /// Connections were to be kept.
    pub keep: bool,
}

/// What has been counted.
pub struct Score {
    pub start: Instant,
    /// When the last request was over.
    pub end: Instant,
    /// How long each complete request took, in nanoseconds.
    times: Vec<u64>,
    failures: [u64; CAUSES.len()],
    pub first_fault: Option<String>,
    /// Bytes of body of the first good answer.
    length: Option<u64>,
    /// How the first server that answered calls itself.
    server: Option<String>,
    /// Bytes that came, heads and all.
    pub received: u64,
    /// Bytes of body of the requests that are over.
    body: u64,
    /// Answers whose connection could be used again.
    pub kept: u64,
    /// Requests that were sent again, because the connection that was kept for them had been closed.
    pub reconnects: u64,
    /// Whole answers with bytes after them, on connections that were being closed, and those bytes.
    stray_answers: u64,
    stray_bytes: u64,
}

impl Score {
    /// Room for so many requests is set aside at once: growing would be a pause in the middle of the run.
    pub fn new(requests: usize) -> Score {
        let now = Instant::now();
        Score {
            start: now,
            end: now,
            times: Vec::with_capacity(requests),
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
        let end = verdict.as_ref().map_or_else(|_| Instant::now(), |took| start + *took);
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

    /// Is an answer that is whole a good one too?
    fn judge(&mut self, answer: &Answer) -> Result<(), Fault> {
        if !(200..300).contains(&answer.status) {
            return Err((Cause::Status, format!("status {}", answer.status)));
        }
        match *self.length.get_or_insert(answer.body) {
            length if length == answer.body => Ok(()),
            length => {
                Err((Cause::Length, format!("{} bytes of body where {length} were before", answer.body)))
            }
        }
    }

    pub fn complete(&self) -> u64 {
        self.times.len() as u64
    }

    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Time taken, in seconds.
    fn seconds(&self) -> f64 {
        (self.end - self.start).as_secs_f64()
    }

    /// Complete requests a second.
    fn rate(&self) -> Option<f64> {
        (self.complete() > 0).then(|| self.complete() as f64 / self.seconds())
    }

    /// Milliseconds a request, when `at_once` of them go on at the same time.
    fn mean(&self, at_once: u64) -> Option<f64> {
        self.rate().map(|rate| at_once as f64 * 1e3 / rate)
    }

    /// KiB that came in a second.
    fn transfer(&self) -> Option<f64> {
        (self.received > 0).then(|| self.received as f64 / 1024.0 / self.seconds())
    }

    /// Milliseconds within which 50, 90, 99 and 100 percent of the complete requests were over, by nearest
    /// rank: each of these times was really measured.
    fn percentiles(&self) -> [(usize, Option<f64>); 4] {
        let mut times = self.times.clone();
        times.sort_unstable();
        [50, 90, 99, 100].map(|percent| {
            let rank = (times.len() * percent).div_ceil(100);
            (percent, rank.checked_sub(1).map(|at| times[at] as f64 / 1e6))
        })
    }

    /// connections, seconds, complete, failed, bytes received, requests a second, milliseconds a request, KiB
    /// a second, then the percentiles in milliseconds
    pub fn csv(&self, subject: &Subject) -> String {
        let Score { received, .. } = self;
        let (complete, failed, seconds) = (self.complete(), self.failed(), self.seconds());
        let mean = digits(self.mean(subject.connections), 3, "");
        let [rate, transfer] = [self.rate(), self.transfer()].map(|figure| digits(figure, 2, ""));
        let times = self.percentiles().map(|(_, time)| digits(time, 3, "")).join(",");
        let connections = subject.connections;
        format!(
            "{connections},{seconds:.6},{complete},{failed},{received},{rate},{mean},{transfer},{times}\n"
        )
    }

    /// All of it, in words.
    pub fn report(&self, subject: &Subject) -> String {
        let length = digits(self.length.map(|length| length as f64), 0, "-");
        let mut text = format!("{:<23} {}\n", "Server Software:", self.server.as_deref().unwrap_or("-"));
        let mut line = |name: &str, value: String| text += &format!("{:<23} {value}\n", format!("{name}:"));
        line("Server Hostname", subject.host.to_owned());
        line("Server Port", format!("{}\n", subject.port));
        line("Document Path", subject.path.to_owned());
        line("Document Length", format!("{length} bytes\n"));
        line("Concurrency Level", subject.connections.to_string());
        line("Time taken for tests", format!("{:.6} seconds", self.seconds()));
        line("Complete requests", self.complete().to_string());
        line("Failed requests", self.failed().to_string() + &self.causes());
        let refused = self.failures[Cause::Status as usize];
        if refused > 0 {
            line("Non-2xx responses", refused.to_string());
        }
        if subject.keep {
            line("Keep-Alive requests", self.kept.to_string());
            line("Reconnected requests", self.reconnects.to_string());
        }
        if self.stray_answers > 0 {
            line("Stray bytes", format!("{} after {} answers", self.stray_bytes, self.stray_answers));
        }
        line("Total transferred", format!("{} bytes", self.received));
        line("HTML transferred", format!("{} bytes", self.body));
        line("Requests per second", digits(self.rate(), 2, "-") + " [#/sec] (mean)");
        let [each, all] = [subject.connections, 1].map(|at_once| digits(self.mean(at_once), 3, "-"));
        line("Time per request", each + " [ms] (mean)");
        line("Time per request", all + " [ms] (mean, across all concurrent requests)");
        line("Transfer rate", digits(self.transfer(), 2, "-") + " [Kbytes/sec] received");
        text += "\nPercentage of the requests served within a certain time (ms)\n";
        for (percent, time) in self.percentiles() {
            let longest = if percent == 100 { " (longest request)" } else { "" };
            text += &format!("{percent:>4}% {:>10}{longest}\n", digits(time, 3, "-"));
        }
        text
    }

    /// A line below the number of failures, if there are any.
    fn causes(&self) -> String {
        let counts = CAUSES.iter().zip(self.failures).map(|(cause, count)| format!("{cause}: {count}"));
        if self.failed() == 0 {
            String::new()
        } else {
            format!("\n   ({})", counts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A figure with so many decimals, or what stands for one that there is not.
fn digits(figure: Option<f64>, decimals: usize, nothing: &str) -> String {
    figure.map_or(nothing.to_owned(), |figure| format!("{figure:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject = Subject { host: "host", port: 80, path: "/a", connections: 5, keep: false };

    fn answer(text: &str) -> Answer {
        let mut answer = Answer::new();
        assert_eq!(answer.feed(text.as_bytes()), Ok(true));
        answer
    }

    /// A score with complete requests of so many milliseconds, within 2 seconds.
    fn score(times: &[u64]) -> Score {
        let mut score = Score::new(times.len());
        let good = answer("HTTP/1.1 200 OK\r\nServer: a\u{9b}b\r\nContent-Length: 3\r\n\r\nabc");
        times.iter().for_each(|&time| score.note(score.start, &good, Ok(Duration::from_millis(time))));
        score.end = score.start + Duration::from_secs(2);
        score.received = 4096;
        score
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let of = |times: &[u64]| score(times).percentiles().map(|(_, time)| time.map(|time| time as u64));
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
        let mut score = score(&[10, 20, 30, 40]);
        score.note(score.start, &Answer::new(), Err((Cause::Timeout, "late".to_owned())));
        score.end = score.start + Duration::from_secs(2);
        assert_eq!(
            score.csv(&SUBJECT),
            "5,2.000000,4,1,4096,2.00,2500.000,2.00,20.000,40.000,40.000,40.000\n"
        );
        let report = score.report(&SUBJECT);
        for line in [
            "Server Software:        a\\u{9b}b",
            "Server Hostname:        host",
            "Document Length:        3 bytes",
            "Time taken for tests:   2.000000 seconds",
            "Complete requests:      4",
            "Failed requests:        1",
            "   (Connect: 0, Receive: 0, Length: 0, Short: 0, Malformed: 0, Timeout: 1, Status: 0)",
            "HTML transferred:       12 bytes",
            "Requests per second:    2.00 [#/sec] (mean)",
            "Time per request:       2500.000 [ms] (mean)",
            "Time per request:       500.000 [ms] (mean, across all concurrent requests)",
            "Transfer rate:          2.00 [Kbytes/sec] received",
            "  50%     20.000",
            " 100%     40.000 (longest request)",
        ] {
            assert!(report.lines().any(|found| found == line), "no {line:?} in\n{report}");
        }
        assert!(!report.contains("Non-2xx") && !report.contains("Keep-Alive"));
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        let mut score = Score::new(1);
        score.note(score.start, &Answer::new(), Err((Cause::Connect, "refused".to_owned())));
        score.end = score.start;
        assert_eq!(score.csv(&SUBJECT), "5,0.000000,0,1,0,,,,,,,\n");
        let report = score.report(&SUBJECT);
        for line in
            ["Server Software:        -", "Requests per second:    - [#/sec] (mean)", "  50%          -"]
        {
            assert!(report.lines().any(|found| found == line), "no {line:?} in\n{report}");
        }
    }

    #[test]
    fn status_and_length_decide() {
        let mut score = score(&[1]);
        let moment = Ok(Duration::from_millis(1));
        for text in [
            "HTTP/1.1 199 A\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 299 OK\r\nContent-Length: 3\r\n\r\nxyz",
        ] {
            score.note(score.start, &answer(text), moment.clone());
        }
        assert_eq!((score.complete(), score.failed()), (3, 0));
        for text in [
            "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 300 Oh\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 204 OK\r\n\r\n",
        ] {
            score.note(score.start, &answer(text), moment.clone());
        }
        assert_eq!((score.complete(), score.failed()), (3, 4));
        let counted = [Cause::Status, Cause::Length].map(|cause| score.failures[cause as usize]);
        assert_eq!((counted, score.first_fault.as_deref()), ([2, 2], Some("status 500")));
        assert!(score.report(&SUBJECT).contains("Non-2xx responses:      2\n"));
    }
}
