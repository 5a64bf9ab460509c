//! Promises that must hold when things go wrong: hostile names, broken, slow, stuck and vanishing clients,
//! killed workers and servers, stopping with work in hand, odd files, a full disk; in every mode that each
//! of them touches.

use crate::support::{
    Background, Disk, Folder, MODES, PATIENCE, Server, Wire, abandoned, alive, base64, begin_upload,
    children, eventually, got, in_every_mode, names, noise, number, refused, signal, stored, threads, upload,
};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that is not waiting for us to have happened.
const MOMENT: Duration = Duration::from_millis(150);

/// Longest wait for something that a limit of a fraction of a second must end.
const SOON: Duration = Duration::from_secs(5);

/// Both halves of a request.
fn halves(request: &[u8]) -> (&[u8], &[u8]) {
    request.split_at(request.len() / 2)
}

#[track_caller]
fn assert_refused(context: &str, reply: &str, reason: &str) {
    assert!(reply.starts_with(&refused(reason)), "{context}: {reply}");
}

// ---- names ----

/// Everything in a folder: path, and content or target.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            seen.extend(
                snapshot(&path)
                    .into_iter()
                    .map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else if about.is_symlink() {
            seen.push((
                name,
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
            ));
        } else {
            seen.push((name, fs::read(&path).unwrap()));
        }
    }
    seen
}

/// A folder to serve with a secret beside it and every kind of link to the secret in it.
fn trap() -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.join("inside")).unwrap();
    fs::create_dir(folder.join("outside")).unwrap();
    folder.write("outside/secret", b"do not read");
    folder.write("inside/plain", b"harmless");
    folder.write("inside/.kolam", b"hidden");
    let outside = folder.join("outside");
    for (name, target) in [
        ("link", outside.join("secret")),
        ("short", "../outside/secret".into()),
        ("door", outside.clone()),
        ("up", "..".into()),
        ("new", outside.join("new")),
        ("chain", "link".into()),
        ("root", "/".into()),
        ("self", "/proc/self/cwd".into()),
    ] {
        symlink(target, folder.join("inside").join(name)).unwrap();
    }
    folder
}

fn hostile_names(folder: &Folder) -> Vec<Vec<u8>> {
    let absolute = folder.join("outside/secret").display().to_string();
    let mut names: Vec<Vec<u8>> = [
        "../outside/secret",
        "..",
        ".",
        "../outside/new",
        "door/secret",
        "door/new",
        "up/outside/secret",
        "link",
        "short",
        "door",
        "up",
        "new",
        "chain",
        "root",
        "self",
        "root/etc/passwd",
        "./link",
        "link/",
        "link/.",
        "./",
        "plain/../link",
        "..\\outside\\secret",
        "..%2foutside%2fsecret",
        "%2e%2e/outside/secret",
        "....//outside",
        ".kolam",
        ".kolam-1-0.tmp",
        "../inside/plain",
        "/etc/passwd",
        "//etc/passwd",
        "link\0",
        "../outside/secret\0",
        "plain\0/../../outside/secret",
        "\u{ff0e}\u{ff0e}/x",
        "..;/outside/secret",
        "../../../../../../../../etc/passwd",
        "file:///etc/passwd",
        "/proc/self/environ",
        "\\\\host\\share",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(absolute.into_bytes());
    names.push(b"..\xc0\xafoutside\xc0\xafsecret".to_vec());
    names.push([b"../".repeat(60), b"etc/passwd".to_vec()].concat());
    let quoted = names
        .iter()
        .map(|name| [b"\"", name.as_slice(), b"\""].concat())
        .collect::<Vec<_>>();
    [names, quoted].concat()
}

#[test]
fn hostile_names_and_planted_links_never_lead_outside() {
    for mode in MODES {
        let folder = trap();
        let before = snapshot(folder.path());
        let server = Server::launch(mode, 2, &folder.join("inside"), &["--quiet"]);
        let mut wire = server.connect();
        let secret = base64(b"do not read");
        for name in hostile_names(&folder) {
            for (verb, rest) in [("GET", ""), ("DELETE", ""), ("UPLOAD", " c3Rvcm0=")] {
                let request = [verb.as_bytes(), b" ", &name, rest.as_bytes(), b"\r\n\r\n"].concat();
                let reply = wire.ask(&request);
                let shown = String::from_utf8_lossy(&request);
                assert!(!reply.contains(&secret), "{mode} {shown:?} {reply}");
                assert!(reply.starts_with(&refused("")), "{mode} {shown:?} {reply}");
            }
        }
        assert_eq!(
            wire.ask("LIST\n"),
            r#"{"status":"OK","data":["plain"]}"#,
            "{mode}"
        );
        drop(wire);
        server.stop();
        assert_eq!(snapshot(folder.path()), before, "{mode}");
    }
}

#[test]
fn an_entry_that_turns_into_a_link_all_the_time_never_leads_outside() {
    for mode in MODES {
        let folder = trap();
        let outside = snapshot(&folder.join("outside"));
        let inside = folder.join("inside");
        let server = Server::launch(mode, 2, &inside, &["--quiet"]);
        let swapping = Background::repeat({
            let inside = inside.clone();
            move || {
                fs::write(inside.join("spare"), "harmless").unwrap();
                fs::rename(inside.join("spare"), inside.join("turncoat")).unwrap();
                symlink("../outside/secret", inside.join("spare")).unwrap();
                fs::rename(inside.join("spare"), inside.join("turncoat")).is_ok()
            }
        });
        let mut wire = server.connect();
        let secret = base64(b"do not read");
        // Many in one write, so that the server takes one straight after the other.
        let batch = "GET turncoat\n".repeat(98) + "UPLOAD turncoat c3Rvcm0=\r\n\r\nDELETE turncoat\n";
        for _ in 0..300 {
            wire.send(&batch);
            for _ in 0..100 {
                let reply = wire.reply();
                assert!(!reply.contains(&secret), "{mode} {reply}");
            }
        }
        drop((swapping, wire));
        assert_eq!(snapshot(&folder.join("outside")), outside, "{mode}");
        server.stop();
    }
}

// ---- uploads ----

#[test]
fn an_upload_that_fails_leaves_the_old_file_and_nothing_else() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        folder.write("a.bin", b"old");
        let options = [
            "--max-upload",
            "500000",
            "--idle-timeout",
            "0.3",
            "--head-timeout",
            "0.3",
        ];
        let server = Server::start(mode, 1, &folder, &options);
        let text = base64(&noise(399_999, 1));
        let failures: [(&str, String, &str); 6] = [
            (
                "bad base64 at the end",
                format!("{text}!\r\n\r\n"),
                "invalid base64",
            ),
            (
                "bad base64 in the middle",
                format!("{text}QQ=={text}\r\n\r\n"),
                "invalid base64",
            ),
            ("too large", format!("{text}{text}\r\n\r\n"), "file too large"),
            (
                "silence in the middle",
                text.clone(),
                "timeout: nothing arrived for as long as --idle-timeout",
            ),
            ("silence in the end mark", format!("{text}\r\n\r"), "timeout"),
            ("the client closes", text.clone(), ""),
        ];
        for (what, payload, reason) in failures {
            let mut wire = begin_upload(&server, &folder, b"UPLOAD a.bin QUJD");
            wire.send(payload);
            if reason.is_empty() {
                drop(wire);
            } else {
                assert_refused(&format!("{mode}, {what}"), &wire.reply(), reason);
            }
            eventually(what, || folder.names() == ["a.bin"]);
            assert_eq!(folder.read("a.bin"), b"old", "{mode}, {what}");
        }
        assert_eq!(server.ask(upload("a.bin", b"new")), stored("a.bin", 3));
        server.stop();
    });
}

#[test]
fn a_client_that_resets_its_connection_leaves_nothing() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("big", &noise(1 << 20, 1));
        let server = Server::start(mode, 2, &folder, &[]);
        let request = upload("a.bin", &noise(5000, 2));
        for round in 0..40 {
            let mut wire = server.connect();
            wire.send(&request[..request.len() * round / 40]);
            // What is unread when a socket is closed turns its end into a reset.
            let mut other = server.connect();
            drop(wire);
            other.send("GET big\n");
            if round % 2 == 0 {
                let _ = other.stream.read(&mut [0; 10]);
            }
        }
        eventually("no temporary file is left", || folder.names() == ["big"]);
        eventually("all connections are over", || {
            number(&server.ask("STATS\n"), "connections") >= 81
        });
        assert!(
            server.ask("GET big\n") == got("big", &noise(1 << 20, 1)),
            "{mode}"
        );
        server.stop();
    }
}

#[test]
fn two_uploads_of_one_name_at_once_are_each_whole() {
    for mode in ["thread", "process", "event"] {
        let folder = Folder::new();
        let server = Server::start(mode, 3, &folder, &[]);
        let contents = [noise(300_001, 1), noise(420_000, 2)];
        let requests = contents.each_ref().map(|content| upload("a.bin", content));
        let replies = contents.each_ref().map(|content| got("a.bin", content));
        assert_eq!(server.ask(&requests[0]), stored("a.bin", contents[0].len()));
        let mut seen = BTreeSet::new();
        let mut wires = [server.connect(), server.connect()];
        for round in 0..50 {
            for (wire, request) in wires.iter_mut().zip(&requests) {
                wire.send(halves(request).0);
            }
            thread::scope(|scope| {
                for (wire, (request, content)) in wires.iter_mut().zip(requests.iter().zip(&contents)) {
                    scope.spawn(move || {
                        assert_eq!(wire.ask(halves(request).1), stored("a.bin", content.len()));
                    });
                }
                let reply = server.ask("GET a.bin\n");
                assert!(
                    replies.contains(&reply),
                    "{mode}, round {round}: half a file, {} bytes",
                    reply.len()
                );
            });
            seen.insert(
                contents
                    .iter()
                    .position(|content| *content == folder.read("a.bin")),
            );
        }
        assert!(!seen.contains(&None), "{mode}: a mixed file");
        assert_eq!(folder.names(), ["a.bin"], "{mode}");
        drop(wires);
        server.stop();
    }
}

#[test]
fn a_download_goes_on_with_the_file_that_it_opened() {
    for mode in MODES {
        let folder = Folder::new();
        // More than all buffers on the way can hold, so that the server is still reading it.
        let old = noise(24 << 20, 1);
        folder.write("a.bin", &old);
        let server = Server::start(mode, 2, &folder, &[]);
        let mut wire = server.connect();
        wire.send("GET a.bin\n");
        let mut first = [0; 100];
        wire.stream.read_exact(&mut first).unwrap();
        if mode == "single" {
            folder.write("other", b"new");
            fs::rename(folder.join("other"), folder.join("a.bin")).unwrap();
        } else {
            let mut other = server.connect();
            assert_eq!(other.ask(upload("a.bin", b"new")), stored("a.bin", 3));
            assert_eq!(other.ask("GET a.bin\n"), got("a.bin", b"new"));
            assert!(other.ask("DELETE a.bin\n").starts_with(r#"{"status":"OK""#));
        }
        let rest = wire.try_reply().unwrap();
        let reply = [str::from_utf8(&first).unwrap(), &rest].concat();
        assert!(reply == got("a.bin", &old), "{mode}");
        drop(wire);
        server.stop();
    }
}

// ---- limits ----

#[test]
fn a_refusal_is_read_although_the_client_sends_on() {
    for mode in MODES {
        let folder = Folder::new();
        let server = Server::start(mode, 2, &folder, &["--max-upload", "1000"]);
        let flood = vec![b'A'; 8 << 20];
        let mark = b"\r\n\r\n";
        for round in 0..10 {
            let endless: [(&[u8], &str); 5] = [
                (b"UPLOAD a ", "file too large"),
                (b"UPLOAD a", "request too long"),
                (b"G", "request too long"),
                (b"UPLOAD .. ", "invalid file name"),
                (b"UPLOAD a -", "invalid base64"),
            ];
            for (start, reason) in endless {
                let mut wire = server.connect();
                wire.send(start);
                wire.send(&flood);
                wire.send(mark);
                assert_refused(&format!("{mode}, round {round}"), &wire.reply(), reason);
            }
        }
        assert!(folder.names().is_empty(), "{mode}");
        server.stop();
    }
}

#[test]
fn a_head_that_drips_is_answered_timeout() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let server = Server::start(mode, 2, &folder, &["--head-timeout", "0.3"]);
        for verb in ["GET ", "UPLOAD "] {
            let mut wire = server.connect();
            let start = Instant::now();
            wire.send(verb);
            // A name that grows by a byte every moment.
            let dripping = Background::drip(&wire, b'n', Duration::from_millis(20));
            assert_refused(
                mode,
                &wire.reply(),
                "timeout: the head of the request took longer than --head-timeout",
            );
            let elapsed = start.elapsed();
            assert!(
                elapsed >= Duration::from_millis(250) && elapsed < SOON,
                "{mode} {elapsed:?}"
            );
            drop(dripping);
            wire.assert_closed();
        }
        server.stop();
    });
}

#[test]
fn blank_lines_that_drip_do_not_hold_a_worker_for_ever() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let options = ["--head-timeout", "0.3", "--idle-timeout", "0.3"];
        let server = Server::start(mode, 1, &folder, &options);
        let wire = server.connect();
        let dripping = Background::drip(&wire, b'\n', Duration::from_millis(20));
        let mut honest = server.connect();
        honest.stream.set_read_timeout(Some(SOON)).unwrap();
        honest.send("LIST\n");
        assert!(
            honest.try_reply().is_ok(),
            "{mode}: the only worker listens to blank lines for ever"
        );
        drop(dripping);
        server.stop();
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let server = Server::start(mode, 2, &folder, &["--idle-timeout", "0.3"]);
        for first in ["", "LIST\n", "\r\n\r\n"] {
            let mut wire = server.connect();
            let start = Instant::now();
            wire.send(first);
            if first.starts_with("LIST") {
                wire.reply();
            }
            wire.assert_closed();
            assert!(
                start.elapsed() >= Duration::from_millis(250),
                "{mode} {:?}",
                start.elapsed()
            );
            assert!(start.elapsed() < SOON, "{mode} {:?}", start.elapsed());
        }
        server.stop();
    });
}

#[test]
fn a_transfer_that_moves_may_take_longer_than_the_idle_limit() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let options = ["--idle-timeout", "0.4", "--head-timeout", "0.4"];
        let server = Server::start(mode, 2, &folder, &options);
        let content = noise(60_000, 1);
        let request = upload("a.bin", &content);
        let mut wire = server.connect();
        let start = Instant::now();
        for piece in request.chunks(request.len() / 16 + 1) {
            wire.send(piece);
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(wire.reply(), stored("a.bin", content.len()), "{mode}");
        assert!(
            start.elapsed() > Duration::from_millis(600),
            "{mode}: not slow enough to show anything"
        );
        drop(wire);
        server.stop();
    });
}

#[test]
fn a_client_that_reads_slowly_and_is_alone_is_not_cut() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let content = noise(6 << 20, 1);
        folder.write("a.bin", &content);
        let server = Server::start(mode, 1, &folder, &["--idle-timeout", "0.4"]);
        let mut slow = server.connect();
        slow.take_little();
        slow.send("GET a.bin\n");
        // Less within the limit than makes room in a full socket buffer, for three times the limit.
        let (start, mut text, mut piece) = (Instant::now(), Vec::new(), vec![0; 4096]);
        while start.elapsed() < Duration::from_millis(1200) {
            let count = slow.stream.read(&mut piece).unwrap();
            text.extend_from_slice(&piece[..count]);
            thread::sleep(Duration::from_millis(20));
        }
        text.extend(slow.rest().unwrap());
        assert!(
            text == [got("a.bin", &content).as_bytes(), b"\r\n\r\n"].concat(),
            "{mode}: {}",
            text.len()
        );
        drop(slow);
        server.stop();
    });
}

#[test]
fn a_client_that_stops_reading_is_cut() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let content = noise(24 << 20, 1);
        folder.write("a.bin", &content);
        let server = Server::start(mode, 1, &folder, &["--idle-timeout", "0.3"]);
        let mut stuck = server.connect();
        stuck.send("GET a.bin\n");
        // The only worker is free again only when the stuck client has been given up; in event mode always.
        assert_eq!(
            server.ask("LIST\n"),
            r#"{"status":"OK","data":["a.bin"]}"#,
            "{mode}"
        );
        eventually("the stuck client has been given up", || abandoned(&stuck.stream));
        if let Ok(part) = stuck.rest() {
            assert!(
                !part.ends_with(b"\r\n\r\n") && part.len() < content.len(),
                "{mode}"
            );
        }
        server.stop();
    });
}

#[test]
fn one_connection_too_many_is_told_that_the_server_is_busy() {
    for mode in ["thread", "process", "event"] {
        let folder = Folder::new();
        let server = Server::start(mode, 3, &folder, &["--max-connections", "2"]);
        let mut seated = [server.connect(), server.connect()];
        seated.iter_mut().for_each(|wire| drop(wire.ask("LIST\n")));
        let start = Instant::now();
        // They stay, as badly behaved clients do: a refusal must not cost the next one its answer.
        let mut others: Vec<Wire> = (0..10).map(|_| server.connect()).collect();
        for wire in &mut others {
            let reason = "server busy: as many connections are open as --max-connections allows";
            assert_refused(mode, &wire.reply(), reason);
        }
        let elapsed = start.elapsed();
        others.iter_mut().for_each(Wire::assert_closed);
        assert!(
            elapsed < Duration::from_millis(1500),
            "{mode}: ten refusals took {elapsed:?}"
        );
        seated
            .iter_mut()
            .for_each(|wire| assert!(wire.ask("LIST\n").contains("OK"), "{mode}"));
        drop((seated, others));
        eventually("there is room again", || server.ask("LIST\n").contains("OK"));
        server.stop();
    }
}

#[test]
fn a_read_only_server_changes_nothing() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("a", b"A");
        let server = Server::start(mode, 2, &folder, &["--read-only"]);
        let mut wire = server.connect();
        for request in ["UPLOAD a QUJD\r\n\r\n", "UPLOAD b QUJD\r\n\r\n", "DELETE a\n"] {
            assert_refused(
                mode,
                &wire.ask(request),
                "permission denied: this server runs with --read-only",
            );
        }
        assert_eq!(wire.ask("GET a\n"), got("a", b"A"), "{mode}");
        drop(wire);
        server.stop();
        assert_eq!(folder.names(), ["a"], "{mode}");
    }
}

// ---- workers ----

#[test]
fn each_mode_has_the_threads_and_processes_that_its_name_says() {
    for (mode, tasks, processes) in [
        ("single", 1, 0),
        ("thread", 4, 0),
        ("process", 1, 3),
        ("event", 4, 0),
    ] {
        let folder = Folder::new();
        let server = Server::start(mode, 3, &folder, &[]);
        assert_eq!(threads(server.pid()), tasks, "{mode}");
        let workers: BTreeSet<u32> = server.workers().into_iter().collect();
        assert_eq!(workers.len(), processes, "{mode}");
        assert!(
            workers
                .iter()
                .all(|&pid| threads(pid) == 1 && children(pid).is_empty()),
            "{mode}"
        );
        server.stop();
    }
}

#[test]
fn two_workers_serve_two_at_once_and_a_third_waits() {
    for mode in ["thread", "process"] {
        let folder = Folder::new();
        let server = Server::start(mode, 2, &folder, &[]);
        let (a, b) = (upload("a", &noise(100, 1)), upload("b", &noise(100, 2)));
        let mut first = begin_upload(&server, &folder, halves(&a).0);
        let mut second = begin_upload(&server, &folder, halves(&b).0);
        let mut third = server.connect();
        third.send("LIST\n");
        third.assert_silent(MOMENT);
        assert_eq!(second.ask(halves(&b).1), stored("b", 100), "{mode}");
        assert_eq!(first.ask(halves(&a).1), stored("a", 100), "{mode}");
        drop(second);
        assert_eq!(third.reply(), r#"{"status":"OK","data":["a","b"]}"#, "{mode}");
        drop((first, third));
        server.stop();
    }
}

#[test]
fn a_single_server_serves_one_after_another() {
    let folder = Folder::new();
    let server = Server::start("single", 1, &folder, &[]);
    let request = upload("a", b"abcdefghijklmnopqrstuvwxyz");
    let mut first = begin_upload(&server, &folder, halves(&request).0);
    let mut second = server.connect();
    second.send("LIST\n");
    second.assert_silent(MOMENT);
    assert_eq!(first.ask(halves(&request).1), stored("a", 26));
    second.assert_silent(MOMENT);
    drop(first);
    assert_eq!(second.reply(), r#"{"status":"OK","data":["a"]}"#);
    drop(second);
    server.stop();
}

/// The process whose temporary file appeared last.
fn uploader(folder: &Folder, known: &[String]) -> u32 {
    let name = folder
        .temporary()
        .into_iter()
        .find(|name| !known.contains(name))
        .unwrap();
    name.split('-').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_killed_worker_costs_its_own_request_and_is_replaced() {
    let folder = Folder::new();
    folder.write("a", b"old");
    let server = Server::start("process", 3, &folder, &[]);
    eventually("all are at work", || number(&server.ask("STATS\n"), "alive") == 3);
    let before = server.workers();
    let (a, b) = (upload("a", &noise(5000, 1)), upload("b", &noise(5000, 2)));
    let mut unhurt = begin_upload(&server, &folder, halves(&b).0);
    let known = folder.temporary();
    let mut hurt = begin_upload(&server, &folder, halves(&a).0);
    let victim = uploader(&folder, &known);
    assert!(before.contains(&victim) && victim != uploader(&folder, &[]) || known.len() == 1);
    signal(victim, libc::SIGKILL);
    hurt.assert_cut();
    eventually("the worker is replaced", || {
        let now = server.workers();
        now.len() == 3 && !now.contains(&victim) && now.iter().filter(|pid| before.contains(pid)).count() == 2
    });
    eventually("what it left is removed", || folder.temporary() == known);
    assert_eq!(unhurt.ask(halves(&b).1), stored("b", 5000));
    assert_eq!(folder.read("a"), b"old");
    eventually("all are at work again", || {
        number(&server.ask("STATS\n"), "alive") == 3
    });
    let stats = server.ask("STATS\n");
    assert_eq!(
        (number(&stats, "restarts"), number(&stats, "failed")),
        (1, 1),
        "{stats}"
    );
    assert_eq!(server.ask(&a), stored("a", 5000));
    drop(unhurt);
    server.stop();
    assert_eq!(folder.names(), ["a", "b"]);
}

#[test]
fn twenty_killed_workers_are_all_replaced() {
    let folder = Folder::new();
    let server = Server::start("process", 4, &folder, &[]);
    for round in 1..=20 {
        let victim = server.workers()[round as usize % 4];
        signal(victim, libc::SIGKILL);
        eventually("the worker is replaced", || {
            let workers = server.workers();
            workers.len() == 4 && !workers.contains(&victim)
        });
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":[]}"#);
        eventually("the restart is counted", || {
            number(&server.ask("STATS\n"), "restarts") == round
        });
    }
    server.stop();
}

#[test]
fn a_killed_parent_takes_its_workers_along_and_frees_its_port() {
    let folder = Folder::new();
    folder.write("a", b"old");
    let mut server = Server::start("process", 4, &folder, &[]);
    let request = upload("a", &noise(5000, 1));
    let mut wire = begin_upload(&server, &folder, halves(&request).0);
    let workers = server.workers();
    assert_eq!(workers.len(), 4);
    server.signal(libc::SIGKILL);
    server.wait(SOON);
    crate::support::within(SOON, "all workers have ended", || {
        !workers.iter().any(|&pid| alive(pid))
    });
    wire.assert_cut();
    drop(TcpListener::bind(server.address).unwrap());
    assert_eq!(folder.read("a"), b"old");
    let again = Server::start("process", 2, &folder, &[]);
    assert_eq!(folder.names(), ["a"], "the next start removes what was left");
    again.stop();
}

#[test]
fn killing_everything_at_any_time_leaves_the_old_file_or_the_new() {
    for mode in MODES {
        let folder = Folder::new();
        let contents = [noise(400_000, 1), noise(500_000, 2)];
        folder.write("a", &contents[0]);
        for round in 0..12 {
            let mut server = Server::start(mode, 2, &folder, &[]);
            let request = upload("a", &contents[round % 2]);
            let mut wire = begin_upload(&server, &folder, &request[..20]);
            wire.send(&request[20..request.len() * (round + 1) / 12]);
            server.signal(libc::SIGKILL);
            server.wait(SOON);
            assert!(contents.contains(&folder.read("a")), "{mode}, round {round}");
            wire.rest().ok();
        }
        Server::start(mode, 2, &folder, &[]).stop();
        assert_eq!(folder.names(), ["a"], "{mode}");
    }
}

#[test]
fn a_start_removes_what_a_killed_server_left_and_no_file_of_a_user() {
    for mode in MODES {
        let folder = Folder::new();
        let mut server = Server::start(mode, 2, &folder, &[]);
        let mut wire = begin_upload(&server, &folder, b"UPLOAD a.bin AAAA");
        server.signal(libc::SIGKILL);
        server.wait(SOON);
        wire.rest().ok();
        let left = folder.temporary();
        assert_eq!(left.len(), 1, "{mode}");
        // Names that look like it, one of them the very same but for its last digit.
        let front = left[0].strip_suffix(".tmp").unwrap();
        let last = if front.ends_with('0') { '1' } else { '0' };
        let changed = format!("{}{last}.tmp", &front[..front.len() - 1]);
        let mut own = vec![
            ".kolam-notes.tmp",
            ".kolam-1-1.tmp",
            ".kolam-.tmp",
            &changed,
            "notes.tmp",
        ];
        own.iter().for_each(|name| folder.write(name, b"a user's"));
        let again = Server::start(mode, 2, &folder, &[]);
        own.sort_unstable();
        assert_eq!(folder.names(), own, "{mode}");
        again.stop();
        assert_eq!(folder.names(), own, "{mode}");
    }
}

// ---- stopping ----

#[test]
fn sigterm_lets_an_upload_finish_and_refuses_everybody_else() {
    for mode in MODES {
        for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            let folder = Folder::new();
            let server = Server::start(mode, 3, &folder, &[]);
            let request = upload("a", &noise(500_000, 1));
            let mut wire = begin_upload(&server, &folder, halves(&request).0);
            server.signal(number);
            server.wait_until_closed();
            assert_eq!(wire.ask(halves(&request).1), stored("a", 500_000), "{mode}");
            wire.assert_closed();
            drop(wire);
            assert_eq!(server.finish(PATIENCE), "", "{mode}");
            assert!(folder.read("a") == noise(500_000, 1), "{mode}");
        }
    }
}

/// As nohup(1) starts a program.
#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("a", b"content");
        let words = [
            "serve",
            "--quiet",
            "--listen",
            "127.0.0.1:0",
            "--mode",
            mode,
            "--root",
        ];
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "trap '' HUP; exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_kolam"),
            ])
            .args(words);
        let mut server = command.arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        for pid in [vec![server.id()], children(server.id())].concat() {
            signal(pid, libc::SIGHUP);
            assert_eq!(
                Wire::connect(address).ask("GET a\r\n\r\n"),
                got("a", b"content"),
                "{mode}"
            );
        }
        signal(server.id(), libc::SIGTERM);
        assert_eq!(server.wait().unwrap().code(), Some(0), "{mode}");
    }
}

#[test]
fn sigterm_lets_a_download_finish() {
    for mode in MODES {
        let folder = Folder::new();
        let content = noise(16 << 20, 1);
        folder.write("a", &content);
        let server = Server::start(mode, 2, &folder, &[]);
        let mut wire = server.connect();
        wire.send("GET a\nLIST\n");
        let mut first = [0; 1];
        wire.stream.read_exact(&mut first).unwrap();
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        let reply = wire.try_reply().unwrap();
        assert!(format!("{{{reply}") == got("a", &content), "{mode}");
        assert_refused(mode, &wire.reply(), "server stopping");
        wire.assert_closed();
        drop(wire);
        assert_eq!(server.finish(PATIENCE), "", "{mode}");
    }
}

#[test]
fn a_stop_says_in_one_line_what_was_served() {
    for mode in MODES {
        let folder = Folder::new();
        let server = Server::start_with_log(mode, 2, &folder, &[]);
        let request = upload("a", b"kolam");
        assert_eq!(server.ask(&request), stored("a", 5));
        let (mut wire, mut bytes_in) = (server.connect(), request.len());
        for request in ["GET a\n", "GET none\n", "LIST\n"] {
            wire.ask(request);
            bytes_in += request.len();
        }
        drop(wire);
        // One more is in hand and does not come to its end.
        let half = b"UPLOAD b AAAA";
        let mut hurt = begin_upload(&server, &folder, half);
        bytes_in += half.len();
        hurt.half_close();
        hurt.rest().unwrap();
        server.signal(libc::SIGTERM);
        let log = server.finish(PATIENCE);
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("stopped after "))
            .collect();
        assert_eq!(lines.len(), 1, "{mode} {log}");
        assert_eq!(log.lines().last(), Some(lines[0]), "{mode}: it is the last {log}");
        let counts = format!("s: connections 3, requests 5, failed 2, bytes in {bytes_in}, bytes out ");
        let (before, bytes_out) = lines[0]
            .split_once(&counts)
            .unwrap_or_else(|| panic!("{mode} {}", lines[0]));
        let seconds: f64 = before
            .rsplit_once(' ')
            .unwrap()
            .0
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap();
        assert!((0.0..60.0).contains(&seconds), "{mode} {log}");
        assert!(bytes_out.parse::<u64>().unwrap() > 100, "{mode} {log}");
    }
}

#[test]
fn an_idle_connection_does_not_hold_the_stop_up() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        let server = Server::start(mode, 2, &folder, &["--grace", "60"]);
        let mut used = server.connect();
        used.ask("LIST\n");
        let mut fresh = server.connect();
        if mode != "single" {
            eventually("both are served", || {
                number(&used.ask("STATS\n"), "connections") == 2
            });
        }
        server.signal(libc::SIGTERM);
        used.assert_closed();
        match fresh.rest() {
            Ok(rest) => assert!(rest.is_empty() || rest.starts_with(refused("server stopping").as_bytes())),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{mode}"),
        }
        assert_eq!(server.finish(SOON), "", "{mode}");
    });
}

#[test]
fn a_stuck_client_is_cut_when_the_grace_is_over() {
    in_every_mode(|mode| {
        for what in [
            "silent upload",
            "dripping upload",
            "dripping refusal",
            "unread download",
        ] {
            let folder = Folder::new();
            folder.write("a", &noise(24 << 20, 1));
            let server = Server::start(mode, 2, &folder, &["--grace", "0.5"]);
            let wire = match what {
                "silent upload" | "dripping upload" => begin_upload(&server, &folder, b"UPLOAD a QUJD"),
                _ => server.connect(),
            };
            let mut sender = &wire.stream;
            match what {
                "dripping refusal" => sender.write_all(b"UPLOAD .. QUJD").unwrap(),
                "unread download" => {
                    sender.write_all(b"GET a\n").unwrap();
                    sender.read_exact(&mut [0; 9]).unwrap();
                }
                _ => {}
            }
            server.signal(libc::SIGTERM);
            let start = Instant::now();
            let pause = Duration::from_millis(10);
            let dripping = what
                .starts_with("dripping")
                .then(|| Background::drip(&wire, b'Q', pause));
            let log = server.finish(2 * PATIENCE);
            drop(dripping);
            assert_eq!(log, "", "{mode}, {what}");
            let elapsed = start.elapsed();
            assert!(
                elapsed >= Duration::from_millis(450) && elapsed < Duration::from_secs(2),
                "{mode}, {what}: {elapsed:?}"
            );
            assert!(folder.read("a") == noise(24 << 20, 1), "{mode}, {what}");
            assert_eq!(folder.names(), ["a"], "{mode}, {what}");
        }
    });
}

#[test]
fn sigterm_to_one_worker_costs_that_worker_and_nothing_else() {
    let folder = Folder::new();
    let server = Server::start("process", 3, &folder, &[]);
    let old = server.workers();
    let first = old[0];
    signal(first, libc::SIGTERM);
    eventually("the worker is replaced", || {
        let now = server.workers();
        now.len() == 3 && !now.contains(&first)
    });
    assert!(
        old[1..].iter().all(|pid| server.workers().contains(pid)),
        "its siblings are untouched"
    );
    for _ in 0..6 {
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":[]}"#);
    }
    server.stop();
}

#[test]
fn sigterm_to_all_processes_at_once_lets_an_upload_finish() {
    let folder = Folder::new();
    let server = Server::start("process", 2, &folder, &[]);
    let request = upload("a", b"kolam");
    let (first, second) = halves(&request);
    let mut wire = begin_upload(&server, &folder, first);
    let mut everybody = server.workers();
    everybody.push(server.pid());
    // Held fast meanwhile, so that none has ended before the last has its signal.
    for number in [libc::SIGSTOP, libc::SIGTERM, libc::SIGCONT] {
        everybody.iter().for_each(|&pid| signal(pid, number));
    }
    server.wait_until_closed();
    wire.send(second);
    assert_eq!(wire.reply(), stored("a", 5));
    assert_eq!(server.finish(PATIENCE), "");
    assert_eq!(folder.read("a"), b"kolam");
}

#[test]
fn a_limit_on_file_sizes_is_an_answer_and_not_the_end() {
    for mode in MODES {
        let folder = Folder::new();
        let server = Server::start(mode, 1, &folder, &[]);
        for pid in std::iter::once(server.pid()).chain(server.workers()) {
            let limited = Command::new("prlimit")
                .args(["--pid", &pid.to_string(), "--fsize=100000"])
                .status();
            if !limited.is_ok_and(|status| status.success()) {
                return eprintln!("skipped: prlimit is not here or may not limit {pid}");
            }
        }
        assert_refused(mode, &server.ask(upload("a", &noise(300_000, 1))), "storage full");
        assert_eq!(server.ask(upload("b", b"small")), stored("b", 5), "{mode}");
        assert_eq!(folder.names(), ["b"], "{mode}");
        server.stop();
    }
}

#[test]
fn a_second_sigterm_ends_the_server_at_once() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("a", b"old");
        let mut server = Server::start(mode, 2, &folder, &["--grace", "60"]);
        let workers = server.workers();
        let mut wire = begin_upload(&server, &folder, b"UPLOAD a QUJD");
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        wire.assert_silent(MOMENT);
        server.signal(libc::SIGTERM);
        let status = server.wait(SOON);
        assert_eq!(status.code(), Some(130), "{mode} {status}");
        crate::support::within(SOON, "all workers have ended", || {
            !workers.iter().any(|&pid| alive(pid))
        });
        wire.assert_cut();
        assert_eq!(folder.read("a"), b"old", "{mode}");
        Server::start(mode, 2, &folder, &[]).stop();
        assert_eq!(folder.names(), ["a"], "{mode}");
    }
}

// ---- files and disks ----

#[test]
fn a_file_that_is_cut_short_while_it_is_sent_ends_without_the_end_mark() {
    for mode in MODES {
        let folder = Folder::new();
        let file = File::create(folder.join("a")).unwrap();
        file.set_len(64 << 20).unwrap();
        let server = Server::start(mode, 2, &folder, &[]);
        let mut wire = server.connect();
        wire.send("GET a\n");
        wire.stream.read_exact(&mut [0; 1000]).unwrap();
        file.set_len(1 << 20).unwrap();
        let rest = wire.rest().unwrap();
        assert!(rest.len() < 64 << 20, "{mode} {}", rest.len());
        assert!(
            rest.iter().all(|&byte| byte == b'A'),
            "{mode}: more than zeroes, or an end mark"
        );
        drop(wire);
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":["a"]}"#, "{mode}");
        server.stop();
    }
}

#[test]
fn odd_files_are_answered_and_never_waited_for() {
    for mode in MODES {
        let folder = Folder::new();
        fs::create_dir(folder.join("folder")).unwrap();
        symlink("/dev/zero", folder.join("zero")).unwrap();
        symlink("pipe", folder.join("link")).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(folder.join("pipe"))
                .status()
                .unwrap()
                .success()
        );
        folder.write("locked", b"locked");
        fs::set_permissions(folder.join("locked"), Permissions::from_mode(0o000)).unwrap();
        // Whoever may read it all the same (root) must get the right bytes.
        let readable = File::open(folder.join("locked")).is_ok();
        let server = Server::start(mode, 2, &folder, &[]);
        let start = Instant::now();
        let mut wire = server.connect();
        for name in ["folder", "zero", "link", "pipe"] {
            for request in [format!("GET {name}\n"), format!("DELETE {name}\n")] {
                assert_refused(mode, &wire.ask(request), "not a regular file");
            }
            assert_refused(mode, &wire.ask(upload(name, b"A")), "");
        }
        let reply = wire.ask("GET locked\n");
        let expected = if readable {
            got("locked", b"locked")
        } else {
            refused("permission denied")
        };
        assert!(reply.starts_with(&expected), "{mode} {reply}");
        assert!(start.elapsed() < SOON, "{mode}");
        drop(wire);
        server.stop();
        assert_eq!(
            folder.names(),
            ["folder", "link", "locked", "pipe", "zero"],
            "{mode}"
        );
    }
}

#[test]
fn a_full_disk_is_an_answer_and_its_space_comes_back() {
    for mode in MODES {
        let folder = Folder::new();
        let Some(_disk) = Disk::mount(&folder, "1m") else {
            eprintln!("skipped: only root may mount the small disk that this test fills");
            return;
        };
        let old = noise(100_000, 1);
        folder.write("a", &old);
        let server = Server::start(mode, 2, &folder, &[]);
        let mut wire = server.connect();
        for size in [950_000, 3 << 20] {
            assert_refused(mode, &wire.ask(upload("a", &noise(size, 2))), "storage full");
            assert_eq!(folder.names(), ["a"], "{mode}");
            assert!(folder.read("a") == old, "{mode}");
        }
        let new = noise(800_000, 3);
        assert_eq!(wire.ask(upload("a", &new)), stored("a", new.len()), "{mode}");
        assert!(wire.ask("GET a\n") == got("a", &new), "{mode}");
        drop(wire);
        server.stop();
    }
}

#[test]
fn a_folder_on_which_nothing_may_be_written_is_served_read_only_or_not_at_all() {
    let folder = Folder::new();
    folder.write("a", b"A");
    let Some(disk) = Disk::mount(&folder, "1m") else {
        eprintln!("skipped: only root may mount the read-only disk that this test serves");
        return;
    };
    folder.write("b", b"B");
    let status = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let server = Server::start("thread", 1, &folder, &["--read-only"]);
    assert_eq!(server.ask("GET b\n"), got("b", b"B"));
    assert_refused("read-only", &server.ask("DELETE b\n"), "permission denied");
    server.stop();
    let root = folder.path().to_str().unwrap();
    let refused = crate::support::run(&["serve", "--listen", "127.0.0.1:0", "--root", root]);
    refused.failed(1, &["--root", root, "--read-only"]);
    drop(disk);
    assert_eq!(folder.names(), ["a"]);
}

#[test]
fn running_out_of_descriptors_is_survived() {
    for mode in MODES {
        let folder = Folder::new();
        let server = Server::start(mode, 2, &folder, &[]);
        let limit = format!("--pid={}", server.pid());
        let mut limited = vec![limit];
        limited.extend(server.workers().iter().map(|pid| format!("--pid={pid}")));
        for pid in limited {
            let done = Command::new("prlimit")
                .args([pid.as_str(), "--nofile=16"])
                .status();
            if !done.is_ok_and(|status| status.success()) {
                eprintln!("skipped: there is no prlimit");
                return;
            }
        }
        let crowd: Vec<TcpStream> = (0..60)
            .map(|_| TcpStream::connect(server.address).unwrap())
            .collect();
        drop(crowd);
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":[]}"#, "{mode}");
        server.stop();
    }
}

#[test]
fn a_file_that_grows_while_it_is_sent_is_sent_as_long_as_it_was() {
    for mode in MODES {
        let folder = Folder::new();
        let content = noise(16 << 20, 1);
        folder.write("a", &content);
        let server = Server::start(mode, 2, &folder, &[]);
        let mut wire = server.connect();
        wire.send("GET a\n");
        wire.stream.read_exact(&mut [0; 1]).unwrap();
        let mut file = OpenOptions::new().append(true).open(folder.join("a")).unwrap();
        file.write_all(b"more").unwrap();
        let reply = wire.try_reply().unwrap();
        assert!(format!("{{{reply}") == got("a", &content), "{mode}");
        drop(wire);
        server.stop();
    }
}
