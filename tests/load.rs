//! `kolam bench http` against a small server inside the test, which plays a script: what the report and the
//! line of figures say, which answers count as failures and why, and what happens to connections.

// The helpers of a test may fail like the test itself.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Ended, PATIENCE, Run, eventually, kolam, run, signal};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

// ---- the server of the tests ----

/// One accepted connection.
struct Guest {
    stream: TcpStream,
    counts: Arc<Counts>,
}

/// What the server has seen.
#[derive(Default)]
struct Counts {
    /// Accepted, and those of them that are open, now and at most.
    connections: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    requests: AtomicUsize,
    /// The head of the last request.
    last: Mutex<String>,
    over: AtomicBool,
}

impl Guest {
    /// Reads the head of a request; gives its number in the whole run, counted from 0. `None`: there is none.
    fn request(&mut self) -> Option<usize> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        *self.counts.last.lock().unwrap() = String::from_utf8(head).unwrap();
        Some(self.counts.requests.fetch_add(1, SeqCst))
    }

    fn send(&mut self, text: impl AsRef<[u8]>) {
        // The client may have had enough.
        let _ = self.stream.write_all(text.as_ref());
    }

    /// Waits until the client has closed.
    fn wait(&mut self) {
        let _ = self.stream.read(&mut [0; 64]);
    }
}

/// A server that lets `script` play with each connection, in a thread of its own.
struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

fn serve(script: impl Fn(&mut Guest) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
    let (script, shared) = (Arc::new(script), counts.clone());
    let thread = thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            if shared.over.load(SeqCst) {
                return;
            }
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            shared.connections.fetch_add(1, SeqCst);
            shared.most.fetch_max(shared.open.fetch_add(1, SeqCst) + 1, SeqCst);
            let (mut guest, script) = (Guest { stream, counts: shared.clone() }, script.clone());
            thread::spawn(move || {
                script(&mut guest);
                // Before the client can know.
                guest.counts.open.fetch_sub(1, SeqCst);
            });
        }
    });
    Server { address, counts, thread: Some(thread) }
}

impl Server {
    fn url(&self) -> String {
        format!("http://{}/a?b=c", self.address)
    }

    fn bench(&self, options: &[&str]) -> Ended {
        run(&[&["bench", "http", &self.url()][..], options].concat())
    }

    fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.counts.over.store(true, SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Answers whatever the client does: each request with `answer`, until the client or `Connection: close` in
/// the request ends it.
fn polite(answer: &'static str) -> Server {
    serve(move |guest| {
        while guest.request().is_some() {
            guest.send(answer);
            if guest.counts.last.lock().unwrap().contains("Connection: close") {
                return;
            }
        }
    })
}

/// Answers each request on a connection of its own with what `answer` says for its number.
fn one_each(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Server {
    serve(move |guest| {
        if let Some(number) = guest.request() {
            guest.send(answer(number));
        }
    })
}

fn close_with(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nServer: test/1\r\nContent-Length: 5\r\n\r\nhello";
const GOOD_CLOSE: &str =
    "HTTP/1.1 200 OK\r\nServer: test/1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

/// What stands behind `name:` in a report.
fn value<'t>(ended: &'t Ended, name: &str) -> &'t str {
    let line = ended.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {ended:?}")).trim()
}

fn count(ended: &Ended, name: &str) -> usize {
    value(ended, name).parse().unwrap_or_else(|_| panic!("{name} is no number in {ended:?}"))
}

/// All requests are over, so many of them complete, and all others failed for `cause` alone.
#[track_caller]
fn assert_failed(ended: &Ended, complete: usize, failed: usize, cause: &str) {
    let counts = [count(ended, "Complete requests"), count(ended, "Failed requests")];
    assert_eq!(counts, [complete, failed], "{ended:?}");
    let causes = ended.text().lines().find(|line| line.starts_with("   (")).unwrap();
    let counted = causes.trim_matches([' ', '(', ')']).split(", ").filter(|part| !part.ends_with(": 0"));
    assert_eq!(counted.collect::<Vec<_>>(), [format!("{cause}: {failed}")], "{ended:?}");
    ended.failed(1, &[&format!("{failed} of {} requests failed", complete + failed)]);
}

// ---- good runs ----

#[test]
fn every_request_has_a_connection_of_its_own() {
    let server = polite(GOOD_CLOSE);
    let ended = server.bench(&["-n", "200", "-c", "10"]);
    ended.ok();
    assert_eq!((server.connections(), server.requests()), (200, 200));
    assert!(server.counts.most.load(SeqCst) <= 10, "{} connections at once", server.counts.most.load(SeqCst));
    let head = server.counts.last.lock().unwrap().clone();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "GET /a?b=c HTTP/1.1");
    assert_eq!(lines[1], format!("Host: {}", server.address));
    assert!(
        lines[2].starts_with("User-Agent: kolam/") && lines[3..] == ["Accept: */*", "Connection: close", ""]
    );
    let names = ended.text().lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect::<Vec<_>>();
    let expected = [
        "Server Software",
        "Server Hostname",
        "Server Port",
        "Document Path",
        "Document Length",
        "Concurrency Level",
        "Time taken for tests",
        "Complete requests",
        "Failed requests",
        "Total transferred",
        "HTML transferred",
        "Requests per second",
        "Time per request",
        "Time per request",
        "Transfer rate",
    ];
    assert_eq!(names, expected);
    let bytes = format!("{} bytes", 200 * GOOD_CLOSE.len());
    let port = server.address.port().to_string();
    for (name, expected) in [
        ("Server Software", "test/1"),
        ("Server Hostname", "127.0.0.1"),
        ("Server Port", &port),
        ("Document Path", "/a?b=c"),
        ("Document Length", "5 bytes"),
        ("Concurrency Level", "10"),
        ("Complete requests", "200"),
        ("Failed requests", "0"),
        ("Total transferred", &bytes),
        ("HTML transferred", "1000 bytes"),
    ] {
        assert_eq!(value(&ended, name), expected, "{name}");
    }
    let percentages = ended.text().lines().filter(|line| line[..line.len().min(5)].ends_with('%')).count();
    assert_eq!(percentages, 4, "{ended:?}");
}

#[test]
fn a_url_without_a_path_names_the_root() {
    let server = polite(GOOD_CLOSE);
    for (end, target) in [("", "/"), ("/", "/"), ("?a=b", "/?a=b")] {
        let ended = run(&["bench", "http", &format!("http://{}{end}", server.address), "-n", "2"]);
        ended.ok();
        let first = server.counts.last.lock().unwrap().lines().next().unwrap().to_owned();
        assert_eq!(first, format!("GET {target} HTTP/1.1"));
        assert_eq!(value(&ended, "Document Path"), target);
    }
}

#[test]
fn connections_are_kept_when_asked() {
    let server = polite(GOOD);
    let ended = server.bench(&["-n", "200", "-c", "10", "-k"]);
    ended.ok();
    assert_eq!((server.connections(), server.requests()), (10, 200));
    assert!(server.counts.last.lock().unwrap().contains("\r\nConnection: keep-alive\r\n"));
    assert_eq!((count(&ended, "Complete requests"), count(&ended, "Failed requests")), (200, 0));
    assert_eq!((count(&ended, "Keep-Alive requests"), count(&ended, "Reconnected requests")), (200, 0));
}

#[test]
fn an_answer_may_come_in_every_form_and_in_pieces() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n";
    let forms = [
        GOOD,
        GOOD_CLOSE,
        chunked,
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nhello",
    ];
    let bytes: usize = 2 * forms.iter().map(|form| form.len()).sum::<usize>();
    let server = serve(move |guest| {
        let Some(number) = guest.request() else { return };
        let answer = forms[number % forms.len()].as_bytes();
        match number < forms.len() {
            true => guest.send(answer),
            false => answer.chunks(1).for_each(|byte| guest.send(byte)),
        }
    });
    let ended = server.bench(&["-n", "12", "-c", "1"]);
    ended.ok();
    assert_eq!(
        (server.connections(), value(&ended, "Total transferred")),
        (12, format!("{bytes} bytes").as_str())
    );
    assert_eq!(value(&ended, "HTML transferred"), "60 bytes");
}

#[test]
fn the_line_of_figures_has_all_cells_and_they_agree() {
    let server = polite(GOOD_CLOSE);
    let ended = server.bench(&["-n", "60", "-c", "6", "--csv"]);
    let cells: Vec<f64> = ended.ok().trim_end().split(',').map(|cell| cell.parse().unwrap()).collect();
    assert_eq!((ended.text().lines().count(), cells.len()), (1, 12), "{ended:?}");
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
    let [connections, seconds, complete, failed, bytes, rate, mean, transfer] = cells[..8] else { panic!() };
    assert_eq!((connections, complete, failed), (6.0, 60.0, 0.0));
    assert_eq!(bytes, (60 * GOOD_CLOSE.len()) as f64);
    assert!(near(rate, 60.0 / seconds) && near(mean, 6e3 * seconds / 60.0), "{ended:?}");
    assert!(near(transfer, bytes / 1024.0 / seconds), "{ended:?}");
    let [p50, p90, p99, max] = cells[8..] else { panic!() };
    assert!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max && max <= 1e3 * seconds + 0.001, "{ended:?}");
}

// ---- connections that end ----

#[test]
fn a_server_that_announces_to_close_is_connected_to_again() {
    let server = serve(|guest| {
        for left in (0..7).rev() {
            if guest.request().is_none() {
                return;
            }
            guest.send(if left == 0 { GOOD_CLOSE } else { GOOD });
        }
    });
    let ended = server.bench(&["-n", "70", "-c", "1", "-k"]);
    ended.ok();
    assert_eq!((server.connections(), server.requests()), (10, 70));
    assert_eq!((count(&ended, "Keep-Alive requests"), count(&ended, "Reconnected requests")), (60, 0));
}

#[test]
fn a_server_that_closes_between_two_requests_is_connected_to_again() {
    let server = serve(|guest| {
        for _ in 0..7 {
            if guest.request().is_none() {
                return;
            }
            guest.send(GOOD);
        }
    });
    for _ in 0..5 {
        server.counts.connections.store(0, SeqCst);
        let ended = server.bench(&["-n", "350", "-c", "5", "-k"]);
        ended.ok();
        assert!(server.connections() >= 50, "{ended:?}");
        assert_eq!(count(&ended, "Reconnected requests"), server.connections() - 5, "{ended:?}");
        assert_eq!(count(&ended, "Complete requests"), 350);
    }
}

#[test]
fn a_request_that_the_server_took_and_did_not_answer_has_failed() {
    let server = serve(|guest| {
        if guest.request().is_some() {
            guest.send(GOOD);
            guest.request();
        }
    });
    let ended = server.bench(&["-n", "20", "-c", "1", "-k"]);
    assert_failed(&ended, 10, 10, "Short");
    assert_eq!((server.connections(), server.requests()), (10, 20));
}

#[test]
fn a_server_that_wants_to_keep_the_connection_is_left() {
    let server = serve(|guest| {
        while guest.request().is_some() {
            guest.send(GOOD)
        }
    });
    server.bench(&["-n", "20", "-c", "2"]).ok();
    assert_eq!(server.connections(), 20);
}

#[test]
fn a_server_that_announces_to_close_and_does_not_is_left_too() {
    let server = serve(|guest| {
        guest.request();
        guest.send(GOOD_CLOSE);
        guest.wait();
    });
    let start = Instant::now();
    let ended = server.bench(&["-n", "4", "-c", "4", "--csv"]);
    let seconds: f64 = ended.ok().split(',').nth(1).unwrap().parse().unwrap();
    assert!(
        start.elapsed() < PATIENCE && seconds < 0.9,
        "waiting for the end is no time of a request: {ended:?}"
    );
}

/// Servers as they are written in a first course: no reason phrase, no length, or an empty line or two after
/// the content, at once or in a write of its own.
#[test]
fn stray_bytes_after_the_last_answer_are_counted_and_do_no_harm() {
    let head = "HTTP/1.0 200\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    let old = one_each(move |_| format!("{head}hello\r\n\r\n"));
    for options in [&["-n", "40", "-c", "4"][..], &["-n", "40", "-c", "4", "-k"]] {
        let ended = old.bench(options);
        ended.ok();
        assert_eq!((count(&ended, "Complete requests"), count(&ended, "Failed requests")), (40, 0));
        assert_eq!(value(&ended, "Stray bytes"), "160 after 40 answers");
        assert_eq!(value(&ended, "HTML transferred"), "200 bytes");
        assert_eq!(value(&ended, "Total transferred"), format!("{} bytes", 40 * (head.len() + 9)));
    }
    let later = serve(move |guest| {
        guest.request();
        guest.send(format!("{head}hello"));
        // So that they do not come together.
        thread::sleep(Duration::from_millis(20));
        guest.send("\r\n");
        thread::sleep(Duration::from_millis(20));
        guest.send("\r\n");
    });
    let ended = later.bench(&["-n", "4", "-c", "4"]);
    ended.ok();
    assert_eq!(value(&ended, "Stray bytes"), "16 after 4 answers");
    let open = one_each(|_| "HTTP/1.0 200\r\n\r\nhello\r\n\r\n".to_owned());
    let ended = open.bench(&["-n", "4", "-c", "2"]);
    ended.ok();
    assert_eq!((value(&ended, "Document Length"), ended.text().contains("Stray")), ("9 bytes", false));
}

#[test]
fn stray_bytes_without_end_do_not_hold_a_request() {
    let server = serve(|guest| {
        guest.request();
        guest.send(GOOD_CLOSE);
        while guest.stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    let start = Instant::now();
    let ended = server.bench(&["-n", "2", "-c", "2"]);
    ended.ok();
    assert!(start.elapsed() < PATIENCE, "{ended:?}");
    assert!(value(&ended, "Stray bytes").ends_with(" after 2 answers"), "{ended:?}");
}

// ---- failures by cause ----

#[test]
fn any_status_but_2xx_is_a_failure() {
    let server = one_each(|_| close_with("500 Oh", "no"));
    let ended = server.bench(&["-n", "30", "-c", "3"]);
    assert_failed(&ended, 0, 30, "Status");
    assert_eq!((count(&ended, "Non-2xx responses"), value(&ended, "Document Length")), (30, "- bytes"));
    assert_eq!(value(&ended, "Requests per second"), "- [#/sec] (mean)");
    ended.failed(1, &["status 500"]);
    let server = one_each(|number| close_with(["200 OK", "204 OK", "301 Moved", "404 No"][number % 4], ""));
    assert_failed(&server.bench(&["-n", "40", "-c", "4"]), 20, 20, "Status");
    let kept = polite("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    assert_failed(&kept.bench(&["-n", "30", "-c", "3", "-k"]), 0, 30, "Status");
    assert_eq!(kept.connections(), 3);
}

/// Runs 20 requests, of which 9 are answered with `answer`, none of them before the first good one is over,
/// and expects those to fail for `cause`.
#[track_caller]
fn assert_cause(answer: &str, cause: &str, why: &str) {
    let bad = answer.to_owned();
    let good = |number: usize| number < 2 || number.is_multiple_of(2);
    let server = one_each(move |number| if good(number) { GOOD_CLOSE.to_owned() } else { bad.clone() });
    for options in [&["-n", "20", "-c", "2"][..], &["-n", "20", "-c", "2", "-k"]] {
        server.counts.requests.store(0, SeqCst);
        let ended = server.bench(options);
        assert_failed(&ended, 11, 9, cause);
        ended.failed(1, &[why]);
    }
}

#[test]
fn an_answer_of_another_length_is_a_failure() {
    assert_cause(&close_with("200 OK", "hell"), "Length", "4 bytes of body where 5 were");
    assert_cause(&close_with("200 OK", ""), "Length", "0 bytes of body where 5 were");
    assert_cause("HTTP/1.1 200 OK\r\n\r\nhell", "Length", "4 bytes of body where 5 were");
}

#[test]
fn an_answer_that_is_cut_short_is_a_failure() {
    for cut in [0, 1, 20, GOOD_CLOSE.len() - 5, GOOD_CLOSE.len() - 1] {
        assert_cause(&GOOD_CLOSE[..cut], "Short", "closed too early");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    assert_cause(chunked, "Short", "closed too early");
}

#[test]
fn an_answer_that_is_no_http_is_a_failure() {
    assert_cause("garbage", "Malformed", "does not begin with HTTP/1.");
    assert_cause("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "Malformed", "carriage return");
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(64 * 1024));
    assert_cause(&endless, "Malformed", "head and trailer are longer");
}

#[test]
fn stray_bytes_on_a_connection_that_stays_open_are_a_failure() {
    let stray = format!("{GOOD}\r\n\r\n");
    let server = serve(move |guest| {
        while guest.request().is_some() {
            guest.send(&stray);
        }
    });
    let ended = server.bench(&["-n", "6", "-c", "2", "-k"]);
    assert_failed(&ended, 0, 6, "Malformed");
    ended.failed(1, &["bytes come after it, on a connection that stays open"]);
    assert_eq!((server.connections(), ended.text().contains("Stray")), (6, false), "{ended:?}");
    // Without -k the same server does no harm.
    let ended = server.bench(&["-n", "6", "-c", "2"]);
    assert_eq!((count(&ended, "Complete requests"), value(&ended, "Stray bytes")), (6, "24 after 6 answers"));
}

#[test]
fn a_connection_that_is_reset_is_a_failure() {
    let server = serve(|guest| {
        // A socket that is closed with unread bytes resets its connection.
        let _ = guest.stream.read(&mut [0]);
    });
    for options in [&["-n", "20", "-c", "2"][..], &["-n", "20", "-c", "2", "-k"]] {
        let ended = server.bench(options);
        assert_failed(&ended, 0, 20, "Receive");
        ended.failed(1, &["the connection broke"]);
    }
    assert_eq!(server.connections(), 40);
}

#[test]
fn a_connection_that_is_refused_is_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let ended = run(&["bench", "http", &format!("http://{address}/"), "-n", "50", "-c", "5"]);
    assert_failed(&ended, 0, 50, "Connect");
    ended.failed(1, &["cannot connect to", &address.to_string(), "refused"]);
    let line = run(&["bench", "http", &format!("http://{address}/"), "-n", "1", "--csv"]);
    assert_eq!((line.code, line.text().split(',').count()), (Some(1), 12), "{line:?}");
    assert!(line.text().contains(",0,1,0,,,,,,,"), "{line:?}");
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    for start in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"] {
        let server = serve(move |guest| {
            guest.request();
            guest.send(start);
            guest.wait();
        });
        let begin = Instant::now();
        let ended = server.bench(&["-n", "6", "-c", "3", "--timeout", "0.2"]);
        assert_failed(&ended, 0, 6, "Timeout");
        ended.failed(1, &["nothing moved for 200ms"]);
        assert!(begin.elapsed() >= Duration::from_millis(400), "too early: {ended:?}");
    }
}

#[test]
fn a_server_that_is_slow_and_moves_is_waited_for() {
    let server = serve(|guest| {
        guest.request();
        for piece in GOOD_CLOSE.as_bytes().chunks(6) {
            thread::sleep(Duration::from_millis(50));
            guest.send(piece);
        }
    });
    let ended = server.bench(&["-n", "3", "-c", "3", "--timeout", "0.5", "--csv"]);
    let p50: f64 = ended.ok().split(',').nth(8).unwrap().parse().unwrap();
    assert!(p50 >= 600.0, "the time of a request does not go to its last byte: {ended:?}");
}

// ---- the user ----

#[test]
fn ctrl_c_reports_what_was_done_so_far() {
    for signal_number in [libc::SIGINT, libc::SIGTERM] {
        let server = serve(|guest| {
            if guest.request().is_some_and(|number| number < 5) {
                guest.send(GOOD_CLOSE);
            } else {
                guest.wait();
            }
        });
        let words = ["bench", "http", &server.url(), "-n", "100", "-c", "3"];
        let run = Run::start(kolam(words).stdin(Stdio::null()));
        eventually("three requests wait", || server.requests() == 8);
        signal(run.child.id(), signal_number);
        let ended = run.finish(PATIENCE);
        ended.failed(130, &["interrupted"]);
        assert_eq!(
            (count(&ended, "Complete requests"), count(&ended, "Failed requests")),
            (5, 0),
            "{ended:?}"
        );
    }
}

#[test]
fn a_closed_stdout_changes_nothing_of_the_verdict() {
    let (good, bad) = (polite(GOOD_CLOSE), one_each(|_| close_with("500 Oh", "")));
    for (server, code) in [(&good, 0), (&bad, 1)] {
        let mut command = kolam(["bench", "http", &server.url(), "-n", "5"]);
        let stdout = std::io::pipe().unwrap().1;
        let status = command.stdout(stdout).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn mistakes_end_with_2_and_say_what_to_do() {
    let url = "http://127.0.0.1:1/";
    let table: [(&[&str], &[&str]); 19] = [
        (&["http"], &["URL is missing", "http://HOST[:PORT][/PATH]"]),
        (&["http", url, "b"], &["unexpected word 'b'"]),
        (&["http", "127.0.0.1:1/"], &["127.0.0.1:1/", "http://HOST[:PORT][/PATH]", "does not begin"]),
        (&["http", "https://127.0.0.1/"], &["https://127.0.0.1/", "no TLS"]),
        (&["http", "http://127.0.0.1#a"], &["%23"]),
        (&["http", "http:///"], &["host is missing"]),
        (&["http", "http://127.0.0.1:x/"], &["port", "1 to 65535"]),
        (&["http", "http://127.0.0.1:0/"], &["port", "1 to 65535"]),
        (&["http", "http://127.0.0.1/a b"], &["%20"]),
        (&["http", url, "-n", "0"], &["-n 0", "from 1"]),
        (&["http", url, "-n", "many"], &["-n many", "whole number"]),
        (&["http", url, "-c", "0"], &["-c 0", "from 1"]),
        (&["http", url, "-n", "10", "-c", "11"], &["-c 11", "10 requests"]),
        (&["http", url, "-c"], &["-c needs a value"]),
        (&["http", url, "-k=yes"], &["-k takes no value"]),
        (&["http", url, "--timeout", "0"], &["--timeout 0"]),
        (&["htpp", url], &["cannot time htpp", "base64, request or http"]),
        (&["base64", url], &["is for http, not for base64"]),
        (&["request", "-n", "5"], &["-n is for http, not for request"]),
    ];
    for (words, expected) in table {
        let ended = run(&[&["bench"], words].concat());
        ended.failed(2, expected);
        assert_eq!(ended.text(), "", "{words:?}");
    }
    let help = run(&["bench", "--help"]);
    assert!(help.ok().contains("usage: kolam bench WHAT [URL] [options]"), "{help:?}");
    assert!(help.text().lines().all(|line| line.len() <= 110), "{help:?}");
}
