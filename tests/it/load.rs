//! `kolam bench http` against a small server inside the test, which plays a script: what the report and the
//! line of figures say, which answers count as failures and why, and what happens to connections.

use crate::support::fake::field;
use crate::support::pty::{Screen, Terminal};
use crate::support::*;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self};
use std::time::{Duration, Instant};

// ---- the server of the tests ----

fn url(server: &Fake) -> String {
    format!("http://{}/a?b=c", server.address)
}

#[track_caller]
fn bench(server: &Fake, options: impl Words) -> Ended {
    let words = format!("bench http {}", url(server));
    run([words.words(), options.words()].concat())
}

/// Answers whatever the client does: each request with `answer`, until the client or `Connection: close` in
/// the request ends it.
fn polite(answer: &'static str) -> Fake {
    Fake::start(move |guest| {
        while guest.request().is_some() {
            guest.send(answer);
            if guest.seen.last.lock().unwrap().contains("Connection: close") {
                return;
            }
        }
    })
}

/// Answers each request with `answer`, and does not close.
fn keeping(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Fake {
    Fake::start(move |guest| {
        while guest.request().is_some() {
            guest.send(&answer);
        }
    })
}

/// Answers each request on a connection of its own with what `answer` says for its number.
fn one_each(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Fake {
    Fake::start(move |guest| {
        if let Some(number) = guest.request() {
            guest.send(answer(number));
        }
    })
}

fn close_with(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nServer: test/1\r\nContent-Length: 5\r\n\r\nhello";
const GOOD_CLOSE: &str =
    "HTTP/1.1 200 OK\r\nServer: test/1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

/// What stands behind `name:` in a report.
fn value<'t>(ended: &'t Ended, name: &str) -> &'t str {
    let line = ended
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {ended:?}")).trim()
}

fn count(ended: &Ended, name: &str) -> usize {
    value(ended, name)
        .parse()
        .unwrap_or_else(|_| panic!("{name} is no number in {ended:?}"))
}

fn counts<const N: usize>(ended: &Ended, names: [&str; N]) -> [usize; N] {
    names.map(|name| count(ended, name))
}

/// The line of figures of a good run.
fn cells(ended: &Ended) -> Vec<f64> {
    let cells = ended.ok().trim_end().split(',');
    cells.map(|cell| cell.parse().unwrap()).collect()
}

/// All requests are over, so many of them complete, and all others failed for `cause` alone.
#[track_caller]
fn assert_failed(ended: &Ended, complete: usize, failed: usize, cause: &str) {
    let found = counts(ended, ["Complete requests", "Failed requests"]);
    assert_eq!(found, [complete, failed], "{ended:?}");
    let causes = ended
        .text()
        .lines()
        .find(|line| line.starts_with("   ("))
        .unwrap();
    let counted = causes
        .trim_matches([' ', '(', ')'])
        .split(", ")
        .filter(|part| !part.ends_with(": 0"));
    assert_eq!(
        counted.collect::<Vec<_>>(),
        [format!("{cause}: {failed}")],
        "{ended:?}"
    );
    ended.failed(
        1,
        &[&format!("{failed} of {} requests failed", complete + failed)],
    );
}

// ---- good runs ----

#[test]
fn every_request_has_a_connection_of_its_own() {
    let server = polite(GOOD_CLOSE);
    let ended = bench(&server, "-n 200 -c 10");
    ended.ok();
    assert_eq!((server.connections(), server.requests()), (200, 200));
    assert!(
        server.seen.most.load(SeqCst) <= 10,
        "{} connections at once",
        server.seen.most.load(SeqCst)
    );
    let head = server.last();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "GET /a?b=c HTTP/1.1");
    assert_eq!(lines[1], format!("Host: {}", server.address));
    assert!(
        lines[2].starts_with("User-Agent: kolam/") && lines[3..] == ["Accept: */*", "Connection: close", ""]
    );
    let names = ended
        .text()
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect::<Vec<_>>();
    let expected = "Server Software, Server Hostname, Server Port, Document Path, Document Length, \
                    Concurrency Level, Time taken for tests, Complete requests, Failed requests, \
                    Total transferred, HTML transferred, Requests per second, Time per request, \
                    Time per request, Transfer rate";
    assert_eq!(names.join(", "), expected);
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
    let percentages = ended
        .text()
        .lines()
        .filter(|line| line[..line.len().min(5)].ends_with('%'))
        .count();
    assert_eq!(percentages, 9, "{ended:?}");
    let bars = ended
        .text()
        .lines()
        .filter_map(|line| line.split_once(" to ")?.1.split_whitespace().nth(1));
    let counts: Vec<usize> = bars.map(|count| count.parse().unwrap()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 200, "{ended:?}");
    assert!(
        ended.text().is_ascii() && ended.text().lines().all(|line| line.len() <= 80),
        "{ended:?}"
    );
}

#[test]
fn a_url_without_a_path_names_the_root() {
    let server = polite(GOOD_CLOSE);
    for (end, target) in [("", "/"), ("/", "/"), ("?a=b", "/?a=b")] {
        let ended = run(format!("bench http http://{}{end} -n 2", server.address));
        ended.ok();
        let first = server.last().lines().next().unwrap().to_owned();
        assert_eq!(first, format!("GET {target} HTTP/1.1"));
        assert_eq!(value(&ended, "Document Path"), target);
    }
}

#[test]
fn connections_are_kept_when_asked() {
    let server = polite(GOOD);
    let ended = bench(&server, "-n 200 -c 10 -k");
    ended.ok();
    assert_eq!((server.connections(), server.requests()), (10, 200));
    assert_has(&server.last(), &["\r\nConnection: keep-alive\r\n"]);
    assert_eq!(counts(&ended, ["Complete requests", "Failed requests"]), [200, 0]);
    assert_eq!(
        counts(&ended, ["Keep-Alive requests", "Reconnected requests"]),
        [200, 0]
    );
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
    let server = Fake::start(move |guest| {
        let Some(number) = guest.request() else { return };
        let answer = forms[number % forms.len()].as_bytes();
        match number < forms.len() {
            true => guest.send(answer),
            false => answer.chunks(1).for_each(|byte| guest.send(byte)),
        }
    });
    let ended = bench(&server, "-n 12 -c 1");
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
    let ended = bench(&server, "-n 60 -c 6 --csv");
    let cells = cells(&ended);
    assert_eq!((ended.text().lines().count(), cells.len()), (1, 13), "{ended:?}");
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
    let [
        connections,
        seconds,
        complete,
        failed,
        bytes,
        rate,
        mean,
        all,
        transfer,
    ] = cells[..9]
    else {
        panic!()
    };
    assert_eq!((connections, complete, failed), (6.0, 60.0, 0.0));
    assert_eq!(bytes, (60 * GOOD_CLOSE.len()) as f64);
    assert!(
        near(rate, 60.0 / seconds) && near(mean, 6e3 * seconds / 60.0),
        "{ended:?}"
    );
    assert!(near(all, 1e3 * seconds / 60.0), "{ended:?}");
    assert!(near(transfer, bytes / 1024.0 / seconds), "{ended:?}");
    let [p50, p90, p99, max] = cells[9..] else {
        panic!()
    };
    assert!(
        0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= max && max <= 1e3 * seconds + 0.001,
        "{ended:?}"
    );
}

// ---- what is asked, and for how long ----

#[test]
fn the_time_ends_a_run_and_what_has_begun_is_finished() {
    let server = Fake::start(|guest| {
        while guest.request().is_some() {
            thread::sleep(Duration::from_millis(50));
            guest.send(GOOD);
        }
    });
    for options in ["-k", ""] {
        server.seen.requests.store(0, SeqCst);
        let ended = bench(&server, format!("-z 500ms -c 2 --csv {options}"));
        let [_, seconds, complete, failed, ..] = cells(&ended)[..] else {
            panic!()
        };
        assert!((0.5..5.0).contains(&seconds), "{ended:?}");
        // Ten rounds of two at most, and one that had begun.
        assert!((2.0..=22.0).contains(&complete) && failed == 0.0, "{ended:?}");
        assert_eq!(
            server.requests(),
            complete as usize,
            "a request was dropped: {ended:?}"
        );
    }
}

#[test]
fn of_time_and_number_the_first_ends_a_run() {
    let server = polite(GOOD);
    let start = Instant::now();
    let ended = bench(&server, "-z 1h -n 30 -c 3 -k");
    ended.ok();
    assert_took(..PATIENCE, start);
    assert_eq!((count(&ended, "Complete requests"), server.requests()), (30, 30));
    let silent = Fake::start(|guest| {
        guest.request();
        guest.wait();
    });
    let ended = bench(&silent, "-z 1ms -n 30 -c 3 --timeout 200ms");
    let failed = count(&ended, "Failed requests");
    assert!((1..=3).contains(&failed), "{ended:?}");
    assert_failed(&ended, 0, failed, "Timeout");
}

#[test]
fn fields_are_added_and_replace_ours() {
    let server = polite(GOOD_CLOSE);
    let words = [
        "-n",
        "2",
        "-H",
        "host: example.org",
        "-H",
        "X-A: 1",
        "-H",
        "X-A:2",
        "-H",
        "Accept: a, b",
    ];
    bench(&server, &words).ok();
    let head = server.last();
    let lines: Vec<&str> = head.trim_end().lines().collect();
    assert_eq!(lines[..2], ["GET /a?b=c HTTP/1.1", "host: example.org"]);
    assert_eq!(
        lines[3..],
        ["Accept: a, b", "Connection: close", "X-A: 1", "X-A: 2"]
    );
    for (field, words) in [
        ("A", &["Name: value"][..]),
        ("A: b\r\nC: d", &["-H", "no line end"]),
        ("Connection: close", &["-H Connection", "-k"]),
        ("content-length: 1", &["-H content-length", "-d"]),
        ("Transfer-Encoding: chunked", &["-H Transfer-Encoding"]),
    ] {
        bench(&server, &["-H", field]).failed(2, words);
    }
    bench(&server, &["-H", "Host: a", "-H", "Host: b"]).failed(2, &["Host", "once"]);
    assert_eq!(server.requests(), 2, "a bad command line asks nothing");
}

#[test]
fn a_body_is_sent_whole_with_its_length() {
    let (server, folder) = (polite(GOOD), Folder::new());
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    folder.write("body", &body);
    folder.write("empty", b"");
    let path = |name: &str| folder.word(name);
    for (options, method) in [("-k", "POST"), ("-m PUT", "PUT")] {
        let ended = bench(&server, format!("-n 6 -c 2 -d {} {options}", path("body")));
        ended.ok();
        let head = server.last();
        assert!(
            head.starts_with(&format!("{method} /a?b=c HTTP/1.1\r\n")),
            "{head}"
        );
        assert_eq!(field(&head, "Content-Length"), Some("3000000"));
        assert_eq!(field(&head, "Content-Type"), Some("application/octet-stream"));
        assert!(*server.seen.body.lock().unwrap() == body, "another body arrived");
        assert_eq!(
            (value(&ended, "Request Method"), value(&ended, "Request Body")),
            (method, "3000000 bytes")
        );
    }
    bench(
        &server,
        &["-n", "1", "-d", &path("empty"), "-H", "Content-Type: text/plain"],
    )
    .ok();
    let head = server.last();
    assert_eq!(
        (field(&head, "Content-Length"), field(&head, "Content-Type")),
        (Some("0"), Some("text/plain"))
    );
    let url = format!("http://{}/", server.address);
    run_with_input(format!("bench http {url} -n 1 -d -"), b"from stdin").ok();
    assert_eq!(*server.seen.body.lock().unwrap(), b"from stdin");
    bench(&server, &["-d", &path("none")]).failed(1, &["-d", "none: cannot read it"]);
}

#[test]
fn every_method_is_sent_as_it_should_be() {
    let server = Fake::start(|guest| {
        while guest.request().is_some() {
            let head = guest.seen.last.lock().unwrap().starts_with("HEAD");
            guest.send(if head { &GOOD[..GOOD.len() - 5] } else { GOOD });
        }
    });
    for (method, length) in [
        ("HEAD", None),
        ("OPTIONS", None),
        ("DELETE", None),
        ("POST", Some("0")),
        ("PURGE", Some("0")),
    ] {
        for options in ["-k", "-c 2"] {
            let ended = bench(&server, format!("-n 4 -m {method} {options}"));
            ended.ok();
            let head = server.last();
            assert!(head.starts_with(&format!("{method} /a")), "{head}");
            assert_eq!(field(&head, "Content-Length"), length, "{method}");
        }
    }
    assert_eq!(
        server.connections(),
        5 + 5 * 4,
        "an answer to HEAD keeps its connection too"
    );
    for method in ["get", "", "G T", "CONNECT"] {
        bench(&server, &["-m", method]).failed(2, &["-m"]);
    }
}

#[test]
fn an_answer_to_half_a_request_is_an_answer() {
    let folder = Folder::new();
    folder.write("body", vec![b'x'; 20 << 20]);
    let path = folder.word("body");
    // Too much for the buffers of both sides: the rest of the request is never read.
    let refusing = Fake::start(|guest| {
        guest.head();
        guest.send(close_with("413 Too Large", "no"));
        guest.wait();
    });
    for options in [format!("-n 4 -c 2 -d {path}"), format!("-n 4 -k -d {path}")] {
        assert_failed(&bench(&refusing, options), 0, 4, "Status");
    }
    let stuck = Fake::start(|guest| {
        guest.head();
        guest.send(GOOD);
        // The client has to go, although the server stays.
        eventually("the client closes", || abandoned(&guest.stream));
    });
    let ended = bench(&stuck, format!("-n 2 -k -d {path}"));
    ended.ok();
    assert_eq!(
        (stuck.connections(), count(&ended, "Keep-Alive requests")),
        (2, 0)
    );
    let gone = Fake::start(|guest| {
        guest.head();
    });
    assert_failed(&bench(&gone, format!("-n 3 -d {path}")), 0, 3, "Receive");
}

/// The server may have done what it was asked, so only what may be done twice is asked twice.
#[test]
fn a_lost_request_is_sent_again_only_if_that_does_no_harm() {
    let script = |guest: &mut Guest| {
        if guest.request().is_some() {
            guest.send(GOOD);
            // A socket that is closed with unread bytes resets its connection.
            let _ = guest.stream.read(&mut [0]);
        }
    };
    for (method, again) in [
        ("GET", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        let server = Fake::start(script);
        let ended = bench(&server, format!("-n 10 -k -m {method}"));
        if again {
            ended.ok();
            assert_eq!(
                (count(&ended, "Reconnected requests"), server.requests()),
                (9, 10),
                "{method}"
            );
        } else {
            assert_failed(&ended, 5, 5, "Receive");
            ended.failed(1, &[&format!("{method} is not sent a second time")]);
            assert_eq!(
                (count(&ended, "Reconnected requests"), server.requests()),
                (0, 5),
                "{method}"
            );
        }
    }
}

// ---- how it is shown ----

#[test]
fn the_object_has_every_figure_by_its_name() {
    let server = polite(GOOD);
    for options in ["-k", "-c 5", "-m PUT -k -c 2"] {
        let ended = bench(&server, format!("-n 40 --json {options}"));
        let text = ended.ok();
        assert_eq!(text.lines().count(), 1, "{text}");
        let [keep, method] = [options.contains("-k"), options.contains("PUT")];
        assert_has(
            text,
            &[
                &format!("\"url\":\"{}\"", url(&server)),
                &format!("\"keep_alive\":{keep}"),
                &format!("\"method\":\"{}\"", if method { "PUT" } else { "GET" }),
                "\"complete\":40",
                "\"failed\":0",
                "\"first_failure\":null",
                "\"document_bytes\":5",
                "\"content_bytes\":200",
                "\"stray_answers\":0",
                "\"server\":\"test/1\"",
                "\"histogram\":[{\"from_ms\":",
            ],
        );
    }
    bench(&server, &["--csv", "--json"]).failed(2, &["--csv and --json", "choose one"]);
}

#[test]
fn the_line_of_figures_has_a_note_about_stray_bytes() {
    let server = one_each(|_| format!("{GOOD_CLOSE}\r\n\r\n"));
    let ended = bench(&server, "-n 3 --csv");
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), "kolam: bench: stray bytes after 3 answers\n")
    );
    assert_eq!(ended.text().trim_end().split(',').count(), 13);
    let ended = bench(&server, "-n 3 --json");
    assert_has(ended.ok(), &["\"stray_answers\":3,\"stray_bytes\":12"]);
}

#[test]
fn a_terminal_shows_progress_in_one_line_of_its_own() {
    let server = Fake::start(|guest| {
        guest.request();
        eventually("the test has seen the line", || guest.told());
        guest.send(GOOD_CLOSE);
    });
    let url = url(&server);
    let mut command = kolam(format!("bench http {url} -n 2 -c 2"));
    command
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    let terminal = Terminal::start(&mut command, 80);
    terminal.wait_for(0, "bench http: 0 of 2 requests, 0 failed | ");
    server.tell();
    let (code, bytes) = terminal.finish(PATIENCE);
    let screen = Screen::show(80, &bytes);
    assert_eq!((code, screen.wrapped), (Some(0), 0), "{:?}", screen.lines());
    assert_eq!(
        screen.lines()[0],
        "Server Software:        test/1",
        "the live line is still there"
    );
}

// ---- connections that end ----

#[test]
fn a_server_that_announces_to_close_is_connected_to_again() {
    let server = Fake::start(|guest| {
        for left in (0..7).rev() {
            if guest.request().is_none() {
                return;
            }
            guest.send(if left == 0 { GOOD_CLOSE } else { GOOD });
        }
    });
    let ended = bench(&server, "-n 70 -c 1 -k");
    ended.ok();
    assert_eq!((server.connections(), server.requests()), (10, 70));
    assert_eq!(
        counts(&ended, ["Keep-Alive requests", "Reconnected requests"]),
        [60, 0]
    );
}

#[test]
fn a_server_that_closes_between_two_requests_is_connected_to_again() {
    let server = Fake::start(|guest| {
        for _ in 0..7 {
            if guest.request().is_none() {
                return;
            }
            guest.send(GOOD);
        }
    });
    for _ in 0..5 {
        server.seen.connections.store(0, SeqCst);
        let ended = bench(&server, "-n 350 -c 5 -k");
        ended.ok();
        assert!(server.connections() >= 50, "{ended:?}");
        assert_eq!(
            count(&ended, "Reconnected requests"),
            server.connections() - 5,
            "{ended:?}"
        );
        assert_eq!(count(&ended, "Complete requests"), 350);
    }
}

#[test]
fn a_request_that_the_server_took_and_did_not_answer_has_failed() {
    let server = Fake::start(|guest| {
        if guest.request().is_some() {
            guest.send(GOOD);
            guest.request();
        }
    });
    let ended = bench(&server, "-n 20 -c 1 -k");
    assert_failed(&ended, 10, 10, "Short");
    assert_eq!((server.connections(), server.requests()), (10, 20));
}

#[test]
fn a_server_that_wants_to_keep_the_connection_is_left() {
    let server = keeping(GOOD);
    bench(&server, "-n 20 -c 2").ok();
    assert_eq!(server.connections(), 20);
}

#[test]
fn a_server_that_announces_to_close_and_does_not_is_left_too() {
    let server = Fake::start(|guest| {
        guest.request();
        guest.send(GOOD_CLOSE);
        guest.wait();
    });
    let start = Instant::now();
    let ended = bench(&server, "-n 4 -c 4 --csv");
    assert_took(..PATIENCE, start);
    assert!(
        cells(&ended)[1] < 0.9,
        "waiting for the end is no time of a request: {ended:?}"
    );
}

/// Servers as they are written in a first course: no reason phrase, no length, or an empty line or two after
/// the content, at once or in a write of its own.
#[test]
fn stray_bytes_after_the_last_answer_are_counted_and_do_no_harm() {
    let head = "HTTP/1.0 200\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    let old = one_each(move |_| format!("{head}hello\r\n\r\n"));
    for options in ["-n 40 -c 4", "-n 40 -c 4 -k"] {
        let ended = bench(&old, options);
        ended.ok();
        assert_eq!(counts(&ended, ["Complete requests", "Failed requests"]), [40, 0]);
        assert_eq!(value(&ended, "Stray bytes"), "160 after 40 answers");
        assert_eq!(value(&ended, "HTML transferred"), "200 bytes");
        assert_eq!(
            value(&ended, "Total transferred"),
            format!("{} bytes", 40 * (head.len() + 9))
        );
    }
    let later = Fake::start(move |guest| {
        guest.request();
        guest.send(format!("{head}hello"));
        // So that they do not come together.
        thread::sleep(Duration::from_millis(20));
        guest.send("\r\n");
        thread::sleep(Duration::from_millis(20));
        guest.send("\r\n");
    });
    let ended = bench(&later, "-n 4 -c 4");
    ended.ok();
    assert_eq!(value(&ended, "Stray bytes"), "16 after 4 answers");
    let open = one_each(|_| "HTTP/1.0 200\r\n\r\nhello\r\n\r\n".to_owned());
    let ended = bench(&open, "-n 4 -c 2");
    ended.ok();
    assert_eq!(
        (value(&ended, "Document Length"), ended.text().contains("Stray")),
        ("9 bytes", false)
    );
}

#[test]
fn stray_bytes_without_end_do_not_hold_a_request() {
    let server = Fake::start(|guest| {
        guest.request();
        guest.send(GOOD_CLOSE);
        while guest.stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    let start = Instant::now();
    let ended = bench(&server, "-n 2 -c 2");
    ended.ok();
    assert_took(..PATIENCE, start);
    assert!(
        value(&ended, "Stray bytes").ends_with(" after 2 answers"),
        "{ended:?}"
    );
}

// ---- failures by cause ----

#[test]
fn any_status_but_2xx_is_a_failure() {
    let server = one_each(|_| close_with("500 Oh", "no"));
    let ended = bench(&server, "-n 30 -c 3");
    assert_failed(&ended, 0, 30, "Status");
    assert_eq!(
        (
            count(&ended, "Non-2xx responses"),
            value(&ended, "Document Length")
        ),
        (30, "- bytes")
    );
    assert_eq!(value(&ended, "Requests per second"), "- [#/sec] (mean)");
    ended.failed(1, &["status 500"]);
    let server = one_each(|number| close_with(["200 OK", "204 OK", "301 Moved", "404 No"][number % 4], ""));
    assert_failed(&bench(&server, "-n 40 -c 4"), 20, 20, "Status");
    let kept = polite("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    assert_failed(&bench(&kept, "-n 30 -c 3 -k"), 0, 30, "Status");
    assert_eq!(kept.connections(), 3);
}

/// Runs 20 requests, of which 9 are answered with `answer`, none of them before the first good one is over,
/// and expects those to fail for `cause`.
#[track_caller]
fn assert_cause(answer: &str, cause: &str, why: &str) {
    let bad = answer.to_owned();
    let good = |number: usize| number < 2 || number.is_multiple_of(2);
    let server = one_each(move |number| {
        if good(number) {
            GOOD_CLOSE.to_owned()
        } else {
            bad.clone()
        }
    });
    for options in ["-n 20 -c 2", "-n 20 -c 2 -k"] {
        server.seen.requests.store(0, SeqCst);
        let ended = bench(&server, options);
        assert_failed(&ended, 11, 9, cause);
        ended.failed(1, &[why]);
    }
}

#[test]
fn an_answer_of_another_length_is_a_failure() {
    assert_cause(
        &close_with("200 OK", "hell"),
        "Length",
        "4 bytes of body where 5 were",
    );
    assert_cause(
        &close_with("200 OK", ""),
        "Length",
        "0 bytes of body where 5 were",
    );
    assert_cause(
        "HTTP/1.1 200 OK\r\n\r\nhell",
        "Length",
        "4 bytes of body where 5 were",
    );
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
    assert_cause(
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "Malformed",
        "carriage return",
    );
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(64 * 1024));
    assert_cause(&endless, "Malformed", "head and trailer are longer");
}

#[test]
fn stray_bytes_on_a_connection_that_stays_open_are_a_failure() {
    let server = keeping(format!("{GOOD}\r\n\r\n"));
    let ended = bench(&server, "-n 6 -c 2 -k");
    assert_failed(&ended, 0, 6, "Malformed");
    ended.failed(1, &["bytes come after it, on a connection that stays open"]);
    assert_eq!(
        (server.connections(), ended.text().contains("Stray")),
        (6, false),
        "{ended:?}"
    );
    // Without -k the same server does no harm.
    let ended = bench(&server, "-n 6 -c 2");
    assert_eq!(
        (count(&ended, "Complete requests"), value(&ended, "Stray bytes")),
        (6, "24 after 6 answers")
    );
}

#[test]
fn a_body_is_in_memory_once() {
    const BODY: usize = 64 << 20;
    let folder = Folder::new();
    folder.write("body", vec![b'x'; BODY]);
    let looked = Arc::new(AtomicBool::new(false));
    let waiting = looked.clone();
    let server = Fake::start(move |guest| {
        guest.head();
        eventually("its memory has been looked at", || waiting.load(SeqCst));
    });
    let path = folder.word("body");
    let run = Run::start(&mut kolam(format!("bench http {} -n 1 -d {path}", url(&server))));
    eventually("the request comes", || server.requests() == 1);
    let peak = peak_memory(run.pid());
    looked.store(true, SeqCst);
    run.finish(PATIENCE).failed(1, &["1 of 1 requests failed"]);
    let body = BODY as u64 / 1024;
    assert!((body..body + body / 2).contains(&peak), "{peak} KiB");
}

#[test]
fn a_connection_that_is_reset_is_a_failure() {
    let server = Fake::start(|guest| {
        // A socket that is closed with unread bytes resets its connection.
        let _ = guest.stream.read(&mut [0]);
    });
    for options in ["-n 20 -c 2", "-n 20 -c 2 -k"] {
        let ended = bench(&server, options);
        assert_failed(&ended, 0, 20, "Receive");
        ended.failed(1, &["the connection broke"]);
    }
    assert_eq!(server.connections(), 40);
}

#[test]
fn a_connection_that_is_refused_is_a_failure() {
    let address = nobody();
    let ended = run(format!("bench http http://{address}/ -n 50 -c 5"));
    assert_failed(&ended, 0, 50, "Connect");
    ended.failed(1, &["cannot connect to", &address.to_string(), "refused"]);
    let line = run(format!("bench http http://{address}/ -n 1 --csv"));
    assert_eq!(
        (line.code, line.text().split(',').count()),
        (Some(1), 13),
        "{line:?}"
    );
    assert_has(line.text(), &[",0,1,0,,,,,,,,"]);
}

#[test]
fn a_server_that_is_not_there_is_asked_now_and_then() {
    let ended = run(format!("bench http http://{}/ -z 500ms -c 3", nobody()));
    // Each of the three places asks at once, and again after each 10 ms.
    let failed = count(&ended, "Failed requests");
    assert!((3..=3 * 51).contains(&failed), "{ended:?}");
    assert_failed(&ended, 0, failed, "Connect");
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    for start in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"] {
        let server = Fake::start(move |guest| {
            guest.request();
            guest.send(start);
            guest.wait();
        });
        let begin = Instant::now();
        let ended = bench(&server, "-n 6 -c 3 --timeout 0.2");
        assert_failed(&ended, 0, 6, "Timeout");
        ended.failed(1, &["nothing moved for 200ms"]);
        assert_took(Duration::from_millis(400).., begin);
    }
}

#[test]
fn a_server_that_is_slow_and_moves_is_waited_for() {
    let server = Fake::start(|guest| {
        guest.request();
        for piece in GOOD_CLOSE.as_bytes().chunks(6) {
            thread::sleep(Duration::from_millis(100));
            guest.send(piece);
        }
    });
    let ended = bench(&server, "-n 3 -c 3 --timeout 1 --csv");
    assert!(
        cells(&ended)[9] >= 1200.0,
        "the time of a request does not go to its last byte: {ended:?}"
    );
}

// ---- the user ----

#[test]
fn ctrl_c_reports_what_was_done_so_far() {
    for signal_number in [libc::SIGINT, libc::SIGTERM] {
        let server = Fake::start(|guest| {
            if guest.request().is_some_and(|number| number < 5) {
                guest.send(GOOD_CLOSE);
            } else {
                guest.wait();
            }
        });
        let words = format!("bench http {} -n 100 -c 3", url(&server));
        let run = Run::start(kolam(words).stdin(Stdio::null()));
        eventually("three requests wait", || server.requests() == 8);
        run.signal(signal_number);
        let ended = run.finish(PATIENCE);
        ended.failed(130, &["interrupted"]);
        assert_eq!(
            counts(&ended, ["Complete requests", "Failed requests"]),
            [5, 0],
            "{ended:?}"
        );
    }
}

#[test]
fn a_closed_stdout_changes_nothing_of_the_verdict() {
    let (good, bad) = (polite(GOOD_CLOSE), one_each(|_| close_with("500 Oh", "")));
    for (server, code) in [(&good, 0), (&bad, 1)] {
        let mut command = kolam(format!("bench http {} -n 5", url(server)));
        let stdout = std::io::pipe().unwrap().1;
        let status = command.stdout(stdout).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn mistakes_end_with_2_and_say_what_to_do() {
    assert_usage(
        &"bench http => URL is missing | http://HOST[:PORT][/PATH]
        bench http @ b => unexpected word 'b'
        bench http 127.0.0.1:1/ => 127.0.0.1:1/ | http://HOST[:PORT][/PATH] | does not begin
        bench http https://127.0.0.1/ => https://127.0.0.1/ | no TLS
        bench http http://127.0.0.1#a => %23
        bench http http:/// => host is missing
        bench http http://127.0.0.1:x/ => port | 1 to 65535
        bench http http://127.0.0.1:0/ => port | 1 to 65535
        bench http @ -n 0 => -n 0 | from 1
        bench http @ -n many => -n many | whole number
        bench http @ -c 0 => -c 0 | from 1
        bench http @ -n 10 -c 11 => -c 11 | 10 requests
        bench http @ -c => -c needs a value
        bench http @ -k=yes => -k takes no value
        bench http @ --timeout 0 => --timeout 0
        bench htpp @ => cannot time htpp | base64, request or http
        bench base64 @ => is for http, not for base64
        bench request -n 5 => -n is for http, not for request
        bench http @ --server 127.0.0.1:1 => --server is for request, not for http
        bench http @ --port 80 => unknown option --port; kolam bench --help lists all
        bench request --port 80 => unknown option --port; it is part of --server HOST:PORT
        bench http --concurrency 5 => --concurrency; did you mean -c N?"
            .replace('@', "http://127.0.0.1:1/"),
    );
    run(&["bench", "http", "http://127.0.0.1/a b"]).failed(2, &["%20"]);
    let help = run("bench --help");
    assert_has(help.ok(), &["usage: kolam bench WHAT [URL] [options]"]);
    assert!(help.text().lines().all(|line| line.len() <= 110), "{help:?}");
}
