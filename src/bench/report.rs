//! How are the figures of a load test shown? For people in the layout of Apache's `ab`, so that two reports
//! can be compared, with a histogram; for tables as a line of CSV; for programs as one JSON object. A figure
//! that was not measured is `-`, empty or `null` there, never 0.

use crate::bench::plan::Plan;
use crate::bench::score::LoadStats;
use crate::json::Writer;
use std::time::{Duration, Instant};

/// Longest bar of the histogram, in characters.
const BAR: u64 = 40;

/// The lines of the report: title, name of the figure, and what stands after it.
const LINES: [(&str, &str, &str); 15] = [
    ("Document Length", "document_bytes", " bytes"),
    ("Concurrency Level", "concurrency", ""),
    ("Time taken for tests", "time_s", " seconds"),
    ("Complete requests", "complete", ""),
    ("Failed requests", "failed", ""),
    ("Non-2xx responses", "non_2xx", ""),
    ("Keep-Alive requests", "kept", ""),
    ("Reconnected requests", "reconnected", ""),
    ("Stray bytes", "stray_bytes", ""),
    ("Total transferred", "transferred_bytes", " bytes"),
    ("HTML transferred", "content_bytes", " bytes"),
    ("Requests per second", "requests_per_s", " [#/sec] (mean)"),
    ("Time per request", "time_per_request_ms", " [ms] (mean)"),
    (
        "Time per request",
        "time_per_request_all_ms",
        " [ms] (mean, across all concurrent requests)",
    ),
    ("Transfer rate", "transfer_KiBps", " [Kbytes/sec] received"),
];

/// The percentiles of the report, in thousandths: those of `ab`.
const SHOWN: [usize; 9] = [500, 660, 750, 800, 900, 950, 980, 990, 1000];

/// The columns of CSV.
const COLUMNS: &str = "concurrency,time_s,complete,failed,transferred_bytes,requests_per_s,\
                       time_per_request_ms,time_per_request_all_ms,transfer_KiBps,\
                       p50_ms,p90_ms,p99_ms,max_ms";

/// All figures, as they are written, by their names in the object. `None`: it was not measured.
struct Figures(Vec<(&'static str, Option<String>)>);

impl Figures {
    fn new(stats: &LoadStats, connections: u64) -> Figures {
        let whole = |figure: u64| Some(figure.to_string());
        let (rate, transfer) = (stats.rate(), stats.transfer());
        let mut figures = vec![
            ("concurrency", whole(connections)),
            ("complete", whole(stats.complete())),
            ("failed", whole(stats.failed())),
            ("non_2xx", whole(stats.refused())),
            ("kept", whole(stats.kept)),
            ("reconnected", whole(stats.reconnects)),
            ("stray_answers", whole(stats.stray_answers)),
            ("stray_bytes", whole(stats.stray_bytes)),
            ("transferred_bytes", whole(stats.received)),
            ("content_bytes", whole(stats.body)),
            ("document_bytes", stats.length.and_then(whole)),
            ("time_s", Some(format!("{:.6}", stats.seconds()))),
            ("requests_per_s", rate.map(|rate| format!("{rate:.2}"))),
            ("time_per_request_ms", stats.mean(connections).map(milliseconds)),
            ("time_per_request_all_ms", stats.mean(1).map(milliseconds)),
            ("transfer_KiBps", transfer.map(|rate| format!("{rate:.2}"))),
        ];
        for (name, thousandths) in [
            ("p50_ms", 500),
            ("p75_ms", 750),
            ("p90_ms", 900),
            ("p95_ms", 950),
            ("p98_ms", 980),
            ("p99_ms", 990),
            ("p99_9_ms", 999),
            ("max_ms", 1000),
        ] {
            figures.push((name, stats.percentile(thousandths).map(milliseconds)));
        }
        Figures(figures)
    }

    /// The figure `name`, or `nothing` if it was not measured.
    fn get<'f>(&'f self, name: &str, nothing: &'f str) -> &'f str {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, text)| text.as_deref()).unwrap_or(nothing)
    }
}

fn milliseconds(figure: f64) -> String {
    format!("{figure:.3}")
}

pub fn csv(stats: &LoadStats, plan: &Plan) -> String {
    let figures = Figures::new(stats, plan.connections);
    let cells: Vec<&str> = COLUMNS.split(',').map(|name| figures.get(name, "")).collect();
    cells.join(",") + "\n"
}

/// The report for people; no line is wider than 80 columns, unless the path or the server's name is long.
pub fn text(stats: &LoadStats, plan: &Plan) -> String {
    let mut text = asked(stats, plan);
    let figures = Figures::new(stats, plan.connections);
    for (title, name, unit) in LINES {
        let (shown, after) = match name {
            "failed" => (true, causes(stats)),
            "non_2xx" => (stats.refused() > 0, String::new()),
            "kept" | "reconnected" => (plan.keep, String::new()),
            "stray_bytes" => (
                stats.stray_answers > 0,
                format!(" after {} answers", stats.stray_answers),
            ),
            "document_bytes" => (true, format!("{unit}\n")),
            _ => (true, unit.to_owned()),
        };
        if shown {
            text += &row(title, &(figures.get(name, "-").to_owned() + &after));
        }
    }
    text += "\nPercentage of the requests served within a certain time (ms)\n";
    for thousandths in SHOWN {
        let time = stats.percentile(thousandths).map_or("-".to_owned(), milliseconds);
        let longest = if thousandths == 1000 {
            " (longest request)"
        } else {
            ""
        };
        text += &format!("{:>4}% {time:>10}{longest}\n", thousandths / 10);
    }
    text + &bars(stats)
}

/// The first lines: the server and the request.
fn asked(stats: &LoadStats, plan: &Plan) -> String {
    let Plan { url, request, .. } = plan;
    let mut text = row("Server Software", stats.server.as_deref().unwrap_or("-"));
    text += &row("Server Hostname", &url.host);
    text += &row("Server Port", &format!("{}\n", url.port));
    if request.method != "GET" || request.body > 0 {
        text += &row("Request Method", &request.method);
        text += &row("Request Body", &format!("{} bytes", request.body));
    }
    text + &row("Document Path", &url.path)
}

fn row(title: &str, value: &str) -> String {
    format!("{:<23} {value}\n", format!("{title}:"))
}

/// A line below the number of failures, if there are any.
fn causes(stats: &LoadStats) -> String {
    let counts = stats.causes().filter(|&(_, count)| count > 0);
    let counts: Vec<String> = counts.map(|(cause, count)| format!("{cause}: {count}")).collect();
    if counts.is_empty() {
        return String::new();
    }
    // Four of them fit into a line.
    let lines: Vec<String> = counts.chunks(4).map(|four| four.join(", ")).collect();
    format!("\n   ({})", lines.join(",\n    "))
}

/// The live line: how far the run is, and how fast. `limits` are those of requests and of time.
pub fn progress(
    stats: &LoadStats,
    now: Instant,
    limits: (Option<u64>, Option<Duration>),
) -> (String, String) {
    let elapsed = (now - stats.start).as_secs_f64();
    let of = |limit: Option<String>| limit.map_or(String::new(), |limit| format!(" of {limit}"));
    let requests = of(limits.0.map(|requests| requests.to_string()));
    let time = of(limits.1.map(|time| format!("{} s", time.as_secs_f64())));
    // In the first moment there is no rate.
    let rate = stats.complete() as f64 / elapsed.max(0.001);
    let text = format!(
        "bench http: {}{requests} requests, {} failed",
        stats.over(),
        stats.failed()
    );
    (text, format!(" | {elapsed:.1} s{time} | {rate:.0}/s"))
}

// ---- The histogram ----

/// Times from `from` to below `to`, in nanoseconds, and how many they are.
#[derive(Debug, PartialEq)]
struct Bin {
    from: u64,
    to: u64,
    count: u64,
}

/// Where bin `index` begins, in nanoseconds: 1, 2, 5, 10, 20, 50 … Bins of equal width would show a run in
/// which one request took a hundred times as long as all others as one bar.
fn edge(index: u32) -> u64 {
    [1, 2, 5][index as usize % 3] * 10_u64.saturating_pow(index / 3)
}

/// The bins from the shortest time to the longest, those without any time too, of times that are sorted. From
/// a nanosecond to thirty years they are 54, from a microsecond to the usual timeout 23.
fn histogram(times: &[u64]) -> Vec<Bin> {
    let (mut bins, mut left) = (Vec::new(), times);
    for index in 0.. {
        let (from, to) = (edge(index), edge(index + 1));
        let (inside, above) = left.split_at(left.partition_point(|&time| time < to));
        if !inside.is_empty() || !bins.is_empty() {
            let count = inside.len() as u64;
            bins.push(Bin { from, to, count });
        }
        left = above;
        if left.is_empty() {
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
pub fn json(stats: &LoadStats, plan: &Plan) -> String {
    let mut out = Vec::new();
    let mut json = Writer::new(&mut out);
    let Plan { url, request, .. } = plan;
    json.open(b'{');
    json.pair("url", &format!("http://{}{}", url.authority, url.path));
    json.pair("method", &request.method);
    json.key("request_body_bytes");
    json.number(request.body);
    json.key("keep_alive");
    json.number(plan.keep);
    for (key, text) in [("server", &stats.server), ("first_failure", &stats.first_fault)] {
        json.key(key);
        match text {
            Some(text) => json.string(text),
            None => json.number("null"),
        }
    }
    for (key, figure) in &Figures::new(stats, plan.connections).0 {
        json.key(key);
        json.number(figure.as_deref().unwrap_or("null"));
    }
    json.key("failures");
    json.open(b'{');
    for (cause, count) in stats.causes() {
        json.key(&cause.to_lowercase());
        json.number(count);
    }
    json.close(b'}');
    json.key("histogram");
    bins(&mut json, stats);
    json.close(b'}');
    String::from_utf8_lossy(&out).into_owned() + "\n"
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
    use crate::bench::request::Request;
    use crate::bench::response::Answer;
    use crate::bench::score::Cause;
    use crate::bench::url::Url;
    use crate::json::{Reader, Value};

    /// GET of a document, on this many connections.
    fn plan(connections: u64, keep: bool) -> Plan {
        let request = Request {
            method: "GET".to_owned(),
            body: 0,
            bytes: Vec::new(),
        };
        Plan {
            url: Url::parse("http://host/a").unwrap(),
            server: ([127, 0, 0, 1], 80).into(),
            request,
            requests: 1000,
            time: None,
            connections,
            keep,
            timeout: Duration::from_secs(1),
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
        let plan = plan(5, false);
        let mut stats = stats(&[10_000, 20_000, 30_000, 40_000]);
        fail(&mut stats, Cause::Timeout, "late");
        let line = "5,2.000000,4,1,4096,2.00,2500.000,500.000,2.00,20.000,40.000,40.000,40.000\n";
        assert_eq!(csv(&stats, &plan), line);
        let report = text(&stats, &plan);
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
        assert_object(&json(&stats, &plan));
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
        let plan = plan(5, true);
        let mut stats = LoadStats::new(1);
        fail(&mut stats, Cause::Connect, "refused");
        stats.end = stats.start;
        assert_eq!(csv(&stats, &plan), "5,0.000000,0,1,0,,,,,,,,\n");
        let report = text(&stats, &plan);
        let lines = [
            "Server Software:        -",
            "Requests per second:    - [#/sec] (mean)",
            "  50%          -",
        ];
        assert_lines(&report, &lines);
        assert!(!report.contains("How many requests took"), "{report}");
        let object = json(&stats, &plan);
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
        let plan = plan(20_000, true);
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
        assert_lines(&text(&stats, &plan), &lines);
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
