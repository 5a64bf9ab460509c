//! Promises of the server that hold in every mode and in every protocol: limits of time, of connections, of
//! files and of descriptors.

use crate::support::http::Http;
use crate::support::*;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpStream;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

/// Between two bytes of a client that drips.
const DRIP: Duration = Duration::from_millis(20);

/// How soon a limit of 0.3 seconds may end something, and how late.
const BY_LIMIT: Range<Duration> = Duration::from_millis(250)..SOON;

#[test]
fn a_head_that_drips_is_answered_timeout() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        let server = case.serve(folder, 2, "--head-timeout 0.3");
        let beginnings = match case.is_http() {
            true => &["G", "GET /", "GET / HTTP/1.1\r\nHost: a\r\nX: "][..],
            false => &["GET ", "UPLOAD "],
        };
        for beginning in beginnings {
            let (mut peer, began) = (server.http(), Instant::now());
            peer.send(beginning);
            // A name, or a value, that grows by a byte every moment.
            let dripping = Background::drip(&peer, "n", DRIP);
            let answer = case.answer(&mut peer, b"GET");
            case.assert_refused(
                answer,
                408,
                "timeout: the head of the request took longer than --head-timeout",
            );
            assert_took(BY_LIMIT, began);
            drop(dripping);
            peer.assert_closed();
        }
    });
}

#[test]
fn blank_lines_that_drip_do_not_hold_a_worker_for_ever() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 1, "--head-timeout 0.3 --idle-timeout 0.3");
        let wire = server.connect();
        let _dripping = Background::drip(&wire, if case.is_http() { "\r\n" } else { "\n" }, DRIP);
        let mut honest = server.http();
        honest.stream.set_read_timeout(Some(SOON)).unwrap();
        case.ask(&mut honest, &case.get("a"))
            .expect("the only worker listens to blank lines for ever");
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 2, "--idle-timeout 0.3");
        for (requests, more) in [(0, ""), (1, ""), (3, ""), (0, "\r\n\r\n")] {
            if case.is_http() && !more.is_empty() {
                continue;
            }
            let (mut peer, began) = (server.http(), Instant::now());
            for _ in 0..requests {
                case.ask(&mut peer, &case.get("a")).unwrap();
            }
            peer.send(more);
            peer.assert_closed();
            assert_took(BY_LIMIT, began);
        }
    });
}

#[test]
fn a_transfer_that_moves_may_take_longer_than_the_idle_limit() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        let server = case.serve(folder, 2, "--idle-timeout 1 --head-timeout 1");
        let content = noise(60_000, 1);
        for request in case.puts("a", &content) {
            let (mut peer, began) = (server.http(), Instant::now());
            for piece in request.chunks(request.len() / 16 + 1) {
                peer.send(piece);
                thread::sleep(Duration::from_millis(100));
            }
            case.answer(&mut peer, &request).unwrap();
            // Less would show nothing.
            assert_took(Duration::from_millis(1500).., began);
            assert!(folder.read("a") == content);
        }
    });
}

#[test]
fn one_connection_too_many_is_told_that_the_server_is_busy() {
    each_case(POOLS, PROTOCOLS, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 3, "--max-connections 2");
        let request = case.get("a");
        let mut seated = [server.http(), server.http()];
        let served = |peer: &mut Http| case.ask(peer, &request).unwrap();
        seated.iter_mut().for_each(|peer| drop(served(peer)));
        let began = Instant::now();
        // They stay, as badly behaved clients do: a refusal must not cost the next one its answer.
        let mut others: Vec<Http> = (0..10).map(|_| server.http()).collect();
        for (at, peer) in others.iter_mut().enumerate() {
            // Some ask before they listen, some do not.
            peer.send(if at % 2 == 0 { &request[..] } else { b"" });
            let answer = case.answer(peer, &request);
            let reason = "server busy: as many connections are open as --max-connections allows";
            case.assert_refused(answer, 503, reason);
        }
        assert_took(..Duration::from_millis(1500), began);
        others.iter_mut().for_each(|peer| peer.assert_closed());
        seated.iter_mut().for_each(|peer| drop(served(peer)));
        drop((seated, others));
        eventually("there is room again", || {
            case.ask(&mut server.http(), &request).is_ok()
        });
    });
}

#[test]
fn a_read_only_server_changes_nothing() {
    each_case(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"old");
        let server = case.serve(folder, 2, "--read-only");
        let uploads = [case.puts("a", b"new"), case.puts("b", b"new")].concat();
        for request in [uploads, vec![case.delete("a")]].concat() {
            let answer = case.ask(&mut server.http(), &request);
            case.assert_refused(
                answer,
                403,
                "permission denied: this server runs with --read-only",
            );
        }
        let mut peer = server.http();
        assert_eq!(case.ask(&mut peer, &case.get("a")).unwrap(), case.got("a", "old"));
        case.assert_refused(case.ask(&mut peer, &case.get("b")), 404, "file not found");
        folder.assert_only("a", b"old");
    });
}

#[test]
fn a_limit_on_file_sizes_is_an_answer_and_not_the_end() {
    each_case(MODES, PROTOCOLS, |case, folder| {
        let server = case.serve(folder, 1, "");
        for pid in server.family() {
            sys::limit(pid, libc::RLIMIT_FSIZE, 100_000);
        }
        for request in case.puts("a", &noise(300_000, 1)) {
            case.assert_refused(case.ask(&mut server.http(), &request), 507, "storage full");
        }
        for request in case.puts("b", b"small") {
            case.ask(&mut server.http(), &request).unwrap();
        }
        eventually("no temporary file is left", || folder.names() == ["b"]);
    });
}

#[test]
fn running_out_of_descriptors_is_survived() {
    each_case(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 2, "");
        // Some are needed to serve; the crowd wants many more.
        for pid in server.family() {
            sys::limit_descriptors(pid, 8);
        }
        let crowd: Vec<TcpStream> = (0..60)
            .map(|_| TcpStream::connect(server.address).unwrap())
            .collect();
        drop(crowd);
        // One that comes before the server has closed theirs may be told to come again, and why.
        eventually("it serves again", || {
            let answer = case.ask(&mut server.http(), &case.get("a"));
            if let Err(why) = &answer {
                assert!(why.contains("Too many open files"), "{why}");
            }
            answer.is_ok()
        });
    });
}

#[test]
fn a_file_that_grows_while_it_is_sent_is_sent_as_long_as_it_was() {
    each_case(MODES, PROTOCOLS, |case, folder| {
        let content = "kolam ".repeat(3 << 20);
        folder.write("a", &content);
        let server = case.serve(folder, 2, "");
        let (mut peer, request) = (server.http(), case.get("a"));
        peer.send(&request);
        // The answer has begun, and is more than fits between the two.
        peer.stream.peek(&mut [0]).unwrap();
        let mut file = OpenOptions::new().append(true).open(folder.join("a")).unwrap();
        file.write_all(b"more").unwrap();
        assert!(case.answer(&mut peer, &request).unwrap() == case.got("a", &content));
    });
}
