//! # Chapter 17g. How are the figures of a load test shown?
//!
//! People get the layout of Apache's `ab`, so that two reports can be compared, and a histogram; tables get
//! one line of CSV; programs get one JSON object with a name for each figure.
//!
//! ```text
//!   times   0.07 ms  0.2 ms  0.21 ms … ──►  0.05 to 0.1   1  ##          each row begins with 1, 2 or 5
//!                                           0.1  to 0.2   0              times a power of ten
//!                                           0.2  to 0.5  20  ########
//! ```
//!
//! The invariant: a figure that was not measured is `-` in the report, empty in the line and `null` in the
//! object, never 0; the names in the object are those of the columns that `bench/ab` writes.
//!
//! What must not live here: sockets; what is a failure.
//!
//! Experiment: make the rows of the histogram equally wide, as many tools do, and look at a run in which one
//! request of a thousand took a hundred times as long as the others.

use crate::bench::request::Request;
use crate::bench::score::LoadStats;
use crate::bench::url::Url;
use crate::json::Writer;
use std::time::{Duration, Instant};

/// Longest bar of the histogram, in characters.
const BAR: u64 = 40;

/// The percentiles of the report, in thousandths: those of `ab`.
const SHOWN: [usize; 9] = [500, 660, 750, 800, 900, 950, 980, 990, 1000];

/// The percentiles of the line of figures.
const COLUMNS: [usize; 4] = [500, 900, 990, 1000];

/// The percentiles of the object.
const KEYS: [(&str, usize); 8] = [
    ("p50_ms", 500),
    ("p75_ms", 750),
    ("p90_ms", 900),
    ("p95_ms", 950),
    ("p98_ms", 980),
    ("p99_ms", 990),
    ("p99_9_ms", 999),
    ("max_ms", 1000),
];

/// What was requested, and how.
pub struct Target<'p> {
    pub url: &'p Url,
    pub request: &'p Request,
    /// Connections at the same time.
    pub connections: u64,
    /// Connections were to be kept.
    pub keep: bool,
}

/// concurrency, time_s, complete, failed, transferred_bytes, requests_per_s, time_per_request_ms,
/// time_per_request_all_ms, transfer_KiBps, p50_ms, p90_ms, p99_ms, max_ms
pub fn csv(stats: &LoadStats, target: &Target) -> String {
    let mut cells = vec![
        target.connections.to_string(),
        format!("{:.6}", stats.seconds()),
        stats.complete().to_string(),
        stats.failed().to_string(),
        stats.received.to_string(),
        digits(stats.rate(), 2, ""),
    ];
    cells.extend([target.connections, 1].map(|at_once| digits(stats.mean(at_once), 3, "")));
    cells.push(digits(stats.transfer(), 2, ""));
    cells.extend(COLUMNS.map(|thousandths| digits(stats.percentile(thousandths), 3, "")));
    cells.join(",") + "\n"
}

/// The report for people; no line is wider than 80 columns, unless the path or the server's name is long.
pub fn text(stats: &LoadStats, target: &Target) -> String {
    let mut text = asked(stats, target) + "\n";
    let mut line = |name: &str, value: String| text += &row(name, &value);
    line("Concurrency Level", target.connections.to_string());
    line("Time taken for tests", format!("{:.6} seconds", stats.seconds()));
    line("Complete requests", stats.complete().to_string());
    line("Failed requests", stats.failed().to_string() + &causes(stats));
    if stats.refused() > 0 {
        line("Non-2xx responses", stats.refused().to_string());
    }
    if target.keep {
        line("Keep-Alive requests", stats.kept.to_string());
        line("Reconnected requests", stats.reconnects.to_string());
    }
    if stats.stray_answers > 0 {
        line(
            "Stray bytes",
            format!("{} after {} answers", stats.stray_bytes, stats.stray_answers),
        );
    }
    line("Total transferred", format!("{} bytes", stats.received));
    line("HTML transferred", format!("{} bytes", stats.body));
    line(
        "Requests per second",
        digits(stats.rate(), 2, "-") + " [#/sec] (mean)",
    );
    let [each, all] = [target.connections, 1].map(|at_once| digits(stats.mean(at_once), 3, "-"));
    line("Time per request", each + " [ms] (mean)");
    line(
        "Time per request",
        all + " [ms] (mean, across all concurrent requests)",
    );
    line(
        "Transfer rate",
        digits(stats.transfer(), 2, "-") + " [Kbytes/sec] received",
    );
    text += "\nPercentage of the requests served within a certain time (ms)\n";
    for thousandths in SHOWN {
        let longest = if thousandths == 1000 {
            " (longest request)"
        } else {
            ""
        };
        let (percent, time) = (thousandths / 10, digits(stats.percentile(thousandths), 3, "-"));
        text += &format!("{percent:>4}% {time:>10}{longest}\n");
    }
    text + &bars(stats)
}

/// The live line: how far the run is, and how fast. `limits` are those of requests and of time.
pub fn progress(
    stats: &LoadStats,
    now: Instant,
    limits: (Option<u64>, Option<Duration>),
) -> (String, String) {
    let elapsed = (now - stats.start).as_secs_f64();
    let over = stats.complete() + stats.failed();
    let of = |limit: Option<String>| limit.map_or(String::new(), |limit| format!(" of {limit}"));
    let requests = of(limits.0.map(|requests| requests.to_string()));
    let time = of(limits.1.map(|time| format!("{} s", time.as_secs_f64())));
    // In the first moment there is no rate.
    let rate = stats.complete() as f64 / elapsed.max(0.001);
    let text = format!("bench http: {over}{requests} requests, {} failed", stats.failed());
    (text, format!(" | {elapsed:.1} s{time} | {rate:.0}/s"))
}

/// The first lines: the server and the request.
fn asked(stats: &LoadStats, target: &Target) -> String {
    let (url, request) = (target.url, target.request);
    let mut text = row("Server Software", stats.server.as_deref().unwrap_or("-"));
    text += &row("Server Hostname", &url.host);
    text += &row("Server Port", &format!("{}\n", url.port));
    if request.method != "GET" || request.body > 0 {
        text += &row("Request Method", &request.method);
        text += &row("Request Body", &format!("{} bytes", request.body));
    }
    text += &row("Document Path", &url.path);
    let length = digits(stats.length.map(|length| length as f64), 0, "-");
    text + &row("Document Length", &format!("{length} bytes"))
}

fn row(name: &str, value: &str) -> String {
    format!("{:<23} {value}\n", format!("{name}:"))
}

/// A line below the number of failures, if there are any.
fn causes(stats: &LoadStats) -> String {
    let counts = stats.causes().filter(|&(_, count)| count > 0);
    let counts: Vec<String> = counts.map(|(cause, count)| format!("{cause}: {count}")).collect();
    // Four of them fit into a line.
    let lines: Vec<String> = counts.chunks(4).map(|four| four.join(", ")).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("\n   ({})", lines.join(",\n    "))
    }
}

/// A figure with `decimals`, or `nothing` if there is none.
fn digits(figure: Option<f64>, decimals: usize, nothing: &str) -> String {
    figure.map_or(nothing.to_owned(), |figure| format!("{figure:.decimals$}"))
}

// ---- The histogram ----

/// Times from `from` to below `to`, in nanoseconds, and how many they are.
#[derive(Debug, PartialEq)]
struct Bin {
    from: u64,
    to: u64,
    count: u64,
}

/// Where bin `index` begins, in nanoseconds: 1, 2, 5, 10, 20, 50 …
fn edge(index: u32) -> u64 {
    [1, 2, 5][index as usize % 3] * 10_u64.saturating_pow(index / 3)
}

/// The bins from the shortest time to the longest, those without any time too, of times that are sorted. From
/// a nanosecond to thirty years they are 54, from a microsecond to the usual timeout 23.
fn histogram(times: &[u64]) -> Vec<Bin> {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return Vec::new();
    };
    let mut bins = Vec::new();
    let mut before = 0;
    for index in 0.. {
        let (from, to) = (edge(index), edge(index + 1));
        let below = times.partition_point(|&time| time < to);
        // A time of 0 belongs to the first bin.
        if to > first {
            bins.push(Bin {
                from,
                to,
                count: (below - before) as u64,
            });
        }
        before = below;
        if to > last {
            break;
        }
    }
    bins
}

/// The histogram as bars of plain characters; the longest is that of the fullest bin.
fn bars(stats: &LoadStats) -> String {
    let bins = histogram(stats.times());
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    let mut text = String::new();
    if most > 0 {
        text += "\nHow many requests took how long (ms)\n";
    }
    for Bin { from, to, count } in bins {
        let [from, to] = [from, to].map(|edge| edge as f64 / 1e6);
        // What is not 0 shows at least one character.
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        text += format!("{from:>8} to {to:<8} {count:>9}  {bar}").trim_end();
        text.push('\n');
    }
    text
}

// ---- The object ----

/// One object in one line; the names are explained in `docs/results.md`.
pub fn json(stats: &LoadStats, target: &Target) -> String {
    let mut out = Vec::new();
    let mut json = Writer::new(&mut out);
    json.open(b'{');
    json.pair(
        "url",
        &format!("http://{}{}", target.url.authority, target.url.path),
    );
    json.pair("method", &target.request.method);
    for (key, count) in [
        ("request_body_bytes", target.request.body),
        ("concurrency", target.connections),
    ] {
        json.key(key);
        json.number(count);
    }
    json.key("keep_alive");
    json.number(target.keep);
    for (key, text) in [("server", &stats.server), ("first_failure", &stats.first_fault)] {
        json.key(key);
        match text {
            Some(text) => json.string(text),
            None => json.number("null"),
        }
    }
    counts(&mut json, stats);
    for (key, figure, decimals) in [
        ("time_s", Some(stats.seconds()), 6),
        ("requests_per_s", stats.rate(), 2),
        ("time_per_request_ms", stats.mean(target.connections), 3),
        ("time_per_request_all_ms", stats.mean(1), 3),
        ("transfer_KiBps", stats.transfer(), 2),
    ] {
        json.key(key);
        json.number(digits(figure, decimals, "null"));
    }
    for (key, thousandths) in KEYS {
        json.key(key);
        json.number(digits(stats.percentile(thousandths), 3, "null"));
    }
    json.key("histogram");
    bins(&mut json, stats);
    json.close(b'}');
    String::from_utf8_lossy(&out).into_owned() + "\n"
}

/// The figures that are whole numbers.
fn counts(json: &mut Writer, stats: &LoadStats) {
    for (key, count) in [
        ("complete", stats.complete()),
        ("failed", stats.failed()),
        ("non_2xx", stats.refused()),
        ("kept", stats.kept),
        ("reconnected", stats.reconnects),
        ("stray_answers", stats.stray_answers),
        ("stray_bytes", stats.stray_bytes),
        ("transferred_bytes", stats.received),
        ("content_bytes", stats.body),
    ] {
        json.key(key);
        json.number(count);
    }
    json.key("document_bytes");
    json.number(digits(stats.length.map(|length| length as f64), 0, "null"));
    json.key("failures");
    json.open(b'{');
    for (cause, count) in stats.causes() {
        json.key(&cause.to_lowercase());
        json.number(count);
    }
    json.close(b'}');
}

/// The histogram as an array of objects.
fn bins(json: &mut Writer, stats: &LoadStats) {
    json.open(b'[');
    for bin in histogram(stats.times()) {
        json.open(b'{');
        for (key, edge) in [("from_ms", bin.from), ("to_ms", bin.to)] {
            json.key(key);
            json.number(edge as f64 / 1e6);
        }
        json.key("count");
        json.number(bin.count);
        json.close(b'}');
    }
    json.close(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::response::Answer;
    use crate::bench::score::Cause;
    use crate::json::{Reader, Value};

    fn url() -> Url {
        Url::parse("http://host/a").unwrap()
    }

    fn get() -> Request {
        Request {
            method: "GET".to_owned(),
            body: 0,
            bytes: Vec::new(),
        }
    }

    /// Stats with complete requests of these microseconds, within 2 seconds.
    fn stats(times: &[u64]) -> LoadStats {
        let mut stats = LoadStats::new(times.len() as u64);
        let mut good = Answer::new("GET");
        let text = "HTTP/1.1 200 OK\r\nServer: a\u{9b}b\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(good.feed(text.as_bytes()), Ok(true));
        times
            .iter()
            .for_each(|&time| stats.note(stats.start, &good, Ok(Duration::from_micros(time))));
        stats.end = stats.start + Duration::from_secs(2);
        stats.received = 4096;
        stats.finish();
        stats
    }

    fn fail(stats: &mut LoadStats, cause: Cause, why: &str) {
        stats.note(stats.start, &Answer::new("GET"), Err((cause, why.to_owned())));
        stats.end = stats.start + Duration::from_secs(2);
    }

    #[track_caller]
    fn assert_lines(report: &str, lines: &[&str]) {
        for line in lines {
            assert!(
                report.lines().any(|found| found == *line),
                "no {line:?} in\n{report}"
            );
        }
        assert!(report.lines().all(|line| line.len() <= 80), "too wide:\n{report}");
    }

    #[test]
    fn the_three_forms_say_the_same() {
        let (url, request) = (url(), get());
        let target = Target {
            url: &url,
            request: &request,
            connections: 5,
            keep: false,
        };
        let mut stats = stats(&[10_000, 20_000, 30_000, 40_000]);
        fail(&mut stats, Cause::Timeout, "late");
        let line = "5,2.000000,4,1,4096,2.00,2500.000,500.000,2.00,20.000,40.000,40.000,40.000\n";
        assert_eq!(csv(&stats, &target), line);
        let report = text(&stats, &target);
        assert_lines(
            &report,
            &[
                "Server Software:        a\\u{9b}b",
                "Server Hostname:        host",
                "Document Length:        3 bytes",
                "Time taken for tests:   2.000000 seconds",
                "Complete requests:      4",
                "Failed requests:        1",
                "   (Timeout: 1)",
                "HTML transferred:       12 bytes",
                "Requests per second:    2.00 [#/sec] (mean)",
                "Time per request:       2500.000 [ms] (mean)",
                "Time per request:       500.000 [ms] (mean, across all concurrent requests)",
                "Transfer rate:          2.00 [Kbytes/sec] received",
                "  50%     20.000",
                " 100%     40.000 (longest request)",
                "      10 to 20               1  ##############",
                "      20 to 50               3  ########################################",
            ],
        );
        assert!(!report.contains("Non-2xx") && !report.contains("Keep-Alive") && !report.contains("Stray"));
        assert_object(&json(&stats, &target));
    }

    /// The object of the same run.
    #[track_caller]
    fn assert_object(object: &str) {
        let value = Reader::new(object.as_bytes(), 4096).value(&mut 100_000).unwrap();
        let number = |key: &str| match value.get(key) {
            Some(Value::Number(number)) => *number,
            other => panic!("{key}: {other:?} in {object}"),
        };
        for (key, figure) in [
            ("concurrency", 5.0),
            ("time_s", 2.0),
            ("complete", 4.0),
            ("failed", 1.0),
            ("transferred_bytes", 4096.0),
            ("requests_per_s", 2.0),
            ("time_per_request_ms", 2500.0),
            ("time_per_request_all_ms", 500.0),
            ("transfer_KiBps", 2.0),
            ("p50_ms", 20.0),
            ("p99_9_ms", 40.0),
            ("max_ms", 40.0),
            ("document_bytes", 3.0),
            ("content_bytes", 12.0),
        ] {
            assert_eq!(number(key), figure, "{key}");
        }
        let text_of = |key| value.get(key).and_then(Value::as_str);
        assert_eq!(
            (text_of("url"), text_of("method")),
            (Some("http://host/a"), Some("GET"))
        );
        assert_eq!(
            (text_of("first_failure"), value.get("keep_alive")),
            (Some("late"), Some(&Value::Bool(false)))
        );
        assert_eq!(
            value.get("failures").and_then(|found| found.get("timeout")),
            Some(&Value::Number(1.0))
        );
        let bins = value.get("histogram").and_then(Value::as_array).unwrap();
        let counts: Vec<_> = bins
            .iter()
            .map(|bin| bin.get("count").and_then(Value::as_u64))
            .collect();
        assert_eq!(
            (counts, bins[0].get("from_ms")),
            (vec![Some(1), Some(3)], Some(&Value::Number(10.0)))
        );
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        let (url, request) = (url(), get());
        let target = Target {
            url: &url,
            request: &request,
            connections: 5,
            keep: true,
        };
        let mut stats = LoadStats::new(1);
        fail(&mut stats, Cause::Connect, "refused");
        stats.end = stats.start;
        assert_eq!(csv(&stats, &target), "5,0.000000,0,1,0,,,,,,,,\n");
        let report = text(&stats, &target);
        let lines = [
            "Server Software:        -",
            "Requests per second:    - [#/sec] (mean)",
            "  50%          -",
        ];
        assert_lines(&report, &lines);
        assert!(!report.contains("How many requests took"), "{report}");
        let object = json(&stats, &target);
        for pair in [
            "\"server\":null",
            "\"requests_per_s\":null",
            "\"p50_ms\":null",
            "\"histogram\":[]",
        ] {
            assert!(object.contains(pair), "no {pair} in {object}");
        }
    }

    #[test]
    fn all_causes_fit_into_the_width() {
        let (url, request) = (url(), get());
        let target = Target {
            url: &url,
            request: &request,
            connections: 20_000,
            keep: true,
        };
        let mut stats = stats(&[1]);
        for cause in [
            Cause::Connect,
            Cause::Receive,
            Cause::Length,
            Cause::Short,
            Cause::Malformed,
            Cause::Timeout,
            Cause::Status,
        ] {
            fail(&mut stats, cause, "why");
        }
        let lines = [
            "   (Connect: 1, Receive: 1, Length: 1, Short: 1,",
            "    Malformed: 1, Timeout: 1, Status: 1)",
        ];
        assert_lines(&text(&stats, &target), &lines);
    }

    #[test]
    fn a_time_is_in_one_bin_and_every_bin_is_there() {
        let counts = |times: &[u64]| histogram(times).iter().map(|bin| bin.count).collect::<Vec<_>>();
        assert_eq!(histogram(&[]), []);
        assert_eq!(
            histogram(&[7]),
            [Bin {
                from: 5,
                to: 10,
                count: 1
            }]
        );
        assert_eq!(
            histogram(&[0]),
            [Bin {
                from: 1,
                to: 2,
                count: 1
            }]
        );
        assert_eq!(counts(&[1, 2, 4, 5, 9, 10]), [1, 2, 2, 1]);
        assert_eq!(counts(&[1, 100]), [1, 0, 0, 0, 0, 0, 1]);
        let thirty_years = 1_000_000_000 * 1_000_000_000;
        let bins = histogram(&[0, thirty_years]);
        assert!(
            bins.len() <= 55 && bins.iter().map(|bin| bin.count).sum::<u64>() == 2,
            "{}",
            bins.len()
        );
        assert!(bins.windows(2).all(|two| two[0].to == two[1].from));
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_never_too_long() {
        let mut times = vec![60; 4000];
        times.extend([150, 30_000_000]);
        let bars = bars(&stats(&times));
        let lines: Vec<&str> = bars.lines().skip(2).collect();
        assert_eq!(
            lines[0],
            format!("    0.05 to 0.1           4000  {}", "#".repeat(40))
        );
        assert_eq!(
            lines[1..3],
            [
                "     0.1 to 0.2              1  #",
                "     0.2 to 0.5              0"
            ]
        );
        assert_eq!(lines.last(), Some(&"   20000 to 50000            1  #"));
        assert!(lines.iter().all(|line| line.len() <= 80), "{bars}");
    }

    #[test]
    fn the_live_line_says_how_far_the_run_is() {
        let stats = stats(&[1000; 30]);
        let now = stats.start + Duration::from_millis(1500);
        let line = |requests, time| {
            let (text, figures) = progress(&stats, now, (requests, time));
            text + &figures
        };
        assert_eq!(
            line(Some(1000), None),
            "bench http: 30 of 1000 requests, 0 failed | 1.5 s | 20/s"
        );
        let ten = Some(Duration::from_secs(10));
        assert_eq!(
            line(None, ten),
            "bench http: 30 requests, 0 failed | 1.5 s of 10 s | 20/s"
        );
        assert_eq!(
            line(Some(40), ten),
            "bench http: 30 of 40 requests, 0 failed | 1.5 s of 10 s | 20/s"
        );
    }
}
