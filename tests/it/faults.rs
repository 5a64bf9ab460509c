//! Promises that must hold when things go wrong: hostile names, broken, slow, stuck and vanishing clients,
//! killed workers and servers, stopping with work in hand, odd files, a full disk; in every mode that each
//! of them touches.

use crate::support::*;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[track_caller]
fn assert_refused(reply: &str, reason: &str) {
    assert!(reply.starts_with(&refused(reason)), "{reply} and not {reason}");
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
    folder.folder("inside");
    folder.folder("outside");
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
    let plain = "../outside/secret .. . ../outside/new door/secret door/new up/outside/secret link \
                 short door up new chain root self root/etc/passwd ./link link/ link/. ./ \
                 plain/../link ..\\outside\\secret ..%2foutside%2fsecret %2e%2e/outside/secret \
                 ....//outside .kolam .kolam-1-0.tmp ../inside/plain /etc/passwd //etc/passwd \
                 ..;/outside/secret ../../../../../../../../etc/passwd file:///etc/passwd \
                 /proc/self/environ \\\\host\\share";
    let odd = [
        "link\0",
        "../outside/secret\0",
        "plain\0/../../outside/secret",
        "\u{ff0e}\u{ff0e}/x",
    ];
    let names = plain.split(' ').chain(odd);
    let mut names: Vec<Vec<u8>> = names.map(|name| name.as_bytes().to_vec()).collect();
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
    each_case(MODES, FILE, |Case { mode, .. }, _| {
        let folder = trap();
        let before = snapshot(folder.path());
        let server = Server::launch(mode, 2, &folder.join("inside"), "--quiet");
        let mut wire = server.connect();
        let secret = base64(b"do not read");
        for name in hostile_names(&folder) {
            for (verb, rest) in [("GET", ""), ("DELETE", ""), ("UPLOAD", " c3Rvcm0=")] {
                let request = [verb.as_bytes(), b" ", &name, rest.as_bytes(), b"\r\n\r\n"].concat();
                let reply = wire.ask(&request);
                let shown = String::from_utf8_lossy(&request);
                assert!(!reply.contains(&secret), "{shown:?} {reply}");
                assert!(reply.starts_with(&refused("")), "{shown:?} {reply}");
            }
        }
        assert_eq!(wire.ask("LIST\n"), r#"{"status":"OK","data":["plain"]}"#);
        drop(wire);
        server.stop();
        assert_eq!(snapshot(folder.path()), before);
    });
}

#[test]
fn an_entry_that_turns_into_a_link_all_the_time_never_leads_outside() {
    each_case(MODES, FILE, |Case { mode, .. }, _| {
        let folder = trap();
        let outside = snapshot(&folder.join("outside"));
        let inside = folder.join("inside");
        let server = Server::launch(mode, 2, &inside, "--quiet");
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
                assert!(!reply.contains(&secret), "{reply}");
            }
        }
        drop((swapping, wire));
        assert_eq!(snapshot(&folder.join("outside")), outside);
    });
}

// ---- uploads ----

#[test]
fn an_upload_that_fails_leaves_the_old_file_and_nothing_else() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("a.bin", b"old");
        let options = "--max-upload 500000 --idle-timeout 0.3 --head-timeout 0.3";
        let server = case.serve(folder, 1, options);
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
            let mut wire = begin_upload(&server, folder, b"UPLOAD a.bin QUJD");
            wire.send(payload);
            if reason.is_empty() {
                drop(wire);
            } else {
                assert_refused(&wire.reply(), reason);
            }
            eventually(what, || folder.names() == ["a.bin"]);
            assert_eq!(folder.read("a.bin"), b"old", "{what}");
        }
        assert_eq!(server.ask(upload("a.bin", b"new")), stored("a.bin", 3));
    });
}

#[test]
fn a_client_that_resets_its_connection_leaves_nothing() {
    each_case(MODES, FILE, |case, folder| {
        folder.write("big", noise(1 << 20, 1));
        let server = case.serve(folder, 2, "");
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
        assert!(server.ask("GET big\n") == got("big", &noise(1 << 20, 1)));
    });
}

#[test]
fn two_uploads_of_one_name_at_once_are_each_whole() {
    each_case(POOLS, FILE, |case, folder| {
        let server = case.serve(folder, 3, "");
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
                    "round {round}: half a file, {} bytes",
                    reply.len()
                );
            });
            seen.insert(
                contents
                    .iter()
                    .position(|content| *content == folder.read("a.bin")),
            );
        }
        assert!(!seen.contains(&None), "a mixed file");
        assert_eq!(folder.names(), ["a.bin"]);
    });
}

#[test]
fn a_download_goes_on_with_the_file_that_it_opened() {
    each_case(MODES, FILE, |case, folder| {
        // More than all buffers on the way can hold, so that the server is still reading it.
        let old = noise(24 << 20, 1);
        folder.write("a.bin", &old);
        let server = case.serve(folder, 2, "");
        let mut wire = server.connect();
        wire.send("GET a.bin\n");
        let mut first = [0; 100];
        wire.stream.read_exact(&mut first).unwrap();
        if case.mode == "single" {
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
        assert!(reply == got("a.bin", &old));
    });
}

// ---- limits ----

#[test]
fn a_refusal_is_read_although_the_client_sends_on() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--max-upload 1000");
        let flood = vec![b'A'; 8 << 20];
        let mark = b"\r\n\r\n";
        for _ in 0..10 {
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
                assert_refused(&wire.reply(), reason);
            }
        }
        assert!(folder.names().is_empty());
    });
}

#[test]
fn a_client_that_reads_slowly_and_is_alone_is_not_cut() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let content = noise(6 << 20, 1);
        folder.write("a.bin", &content);
        let server = case.serve(folder, 1, "--idle-timeout 1");
        let mut slow = server.connect();
        slow.take_little();
        slow.send("GET a.bin\n");
        // Less within the limit than makes room in a full socket buffer, for longer than the limit.
        let [pause, long] = [20, 2400].map(Duration::from_millis);
        let mut text = slow.read_slowly(4096, pause, long);
        text.extend(slow.rest().unwrap());
        assert!(
            text == [got("a.bin", &content).as_bytes(), b"\r\n\r\n"].concat(),
            "{}",
            text.len()
        );
    });
}

#[test]
fn a_client_that_stops_reading_is_cut() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let content = noise(24 << 20, 1);
        folder.write("a.bin", &content);
        let server = case.serve(folder, 1, "--idle-timeout 0.3");
        let mut stuck = server.connect();
        stuck.send("GET a.bin\n");
        // The only worker is free again only when the stuck client has been given up; in event mode always.
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":["a.bin"]}"#);
        eventually("the stuck client has been given up", || abandoned(&stuck.stream));
        if let Ok(part) = stuck.rest() {
            assert!(!part.ends_with(b"\r\n\r\n") && part.len() < content.len());
        }
    });
}

// ---- workers ----

#[test]
fn each_mode_has_the_threads_and_processes_that_its_name_says() {
    let table = [
        ("single", 1, 0),
        ("thread", 4, 0),
        ("process", 1, 3),
        ("event", 4, 0),
    ];
    for (mode, tasks, processes) in table.into_iter().filter(|row| MODES.contains(&row.0)) {
        let folder = Folder::new();
        let server = Server::start(mode, 3, &folder, "");
        assert_eq!(threads(server.pid()), tasks, "{mode}");
        let workers: BTreeSet<u32> = server.workers().into_iter().collect();
        assert_eq!(workers.len(), processes, "{mode}");
        assert!(
            workers
                .iter()
                .all(|&pid| threads(pid) == 1 && children(pid).is_empty()),
            "{mode}"
        );
    }
}

#[test]
fn two_workers_serve_two_at_once_and_a_third_waits() {
    each_case(CLIENTS, FILE, |case, folder| {
        let server = case.serve(folder, 2, "");
        let (a, b) = (upload("a", &noise(100, 1)), upload("b", &noise(100, 2)));
        let mut first = begin_upload(&server, folder, halves(&a).0);
        let mut second = begin_upload(&server, folder, halves(&b).0);
        let mut third = server.connect();
        third.send("LIST\n");
        third.assert_silent(MOMENT);
        assert_eq!(second.ask(halves(&b).1), stored("b", 100));
        assert_eq!(first.ask(halves(&a).1), stored("a", 100));
        drop(second);
        assert_eq!(third.reply(), r#"{"status":"OK","data":["a","b"]}"#);
    });
}

#[test]
fn a_single_server_serves_one_after_another() {
    let folder = Folder::new();
    let server = Server::start("single", 1, &folder, "");
    let request = upload("a", b"abcdefghijklmnopqrstuvwxyz");
    let mut first = begin_upload(&server, &folder, halves(&request).0);
    let mut second = server.connect();
    second.send("LIST\n");
    second.assert_silent(MOMENT);
    assert_eq!(first.ask(halves(&request).1), stored("a", 26));
    second.assert_silent(MOMENT);
    drop(first);
    assert_eq!(second.reply(), r#"{"status":"OK","data":["a"]}"#);
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
    let server = Server::start("process", 3, &folder, "");
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
    server.wait_until_replaced(victim, 3);
    let now = server.workers();
    assert_eq!(now.iter().filter(|pid| before.contains(pid)).count(), 2);
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
    let server = Server::start("process", 4, &folder, "");
    for round in 1..=20 {
        let victim = server.workers()[round as usize % 4];
        signal(victim, libc::SIGKILL);
        server.wait_until_replaced(victim, 4);
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":[]}"#);
        eventually("the restart is counted", || {
            number(&server.ask("STATS\n"), "restarts") == round
        });
    }
}

#[test]
fn a_killed_parent_takes_its_workers_along_and_frees_its_port() {
    let folder = Folder::new();
    folder.write("a", b"old");
    let mut server = Server::start("process", 4, &folder, "");
    let request = upload("a", &noise(5000, 1));
    let mut wire = begin_upload(&server, &folder, halves(&request).0);
    let workers = server.workers();
    assert_eq!(workers.len(), 4);
    server.signal(libc::SIGKILL);
    server.wait(SOON);
    within(SOON, "all workers have ended", || {
        !workers.iter().any(|&pid| alive(pid))
    });
    wire.assert_cut();
    drop(TcpListener::bind(server.address).unwrap());
    assert_eq!(folder.read("a"), b"old");
    let again = Server::start("process", 2, &folder, "");
    assert_eq!(folder.names(), ["a"], "the next start removes what was left");
    again.stop();
}

#[test]
fn killing_everything_at_any_time_leaves_the_old_file_or_the_new() {
    each_case(MODES, FILE, |case, folder| {
        let contents = [noise(400_000, 1), noise(500_000, 2)];
        folder.write("a", &contents[0]);
        for round in 0..12 {
            let mut server = case.serve(folder, 2, "");
            let request = upload("a", &contents[round % 2]);
            let mut wire = begin_upload(&server, folder, &request[..20]);
            wire.send(&request[20..request.len() * (round + 1) / 12]);
            server.signal(libc::SIGKILL);
            server.wait(SOON);
            assert!(contents.contains(&folder.read("a")), "round {round}");
            wire.rest().ok();
        }
        case.serve(folder, 2, "").stop();
        assert_eq!(folder.names(), ["a"]);
    });
}

#[test]
fn a_start_removes_what_a_killed_server_left_and_no_file_of_a_user() {
    each_case(MODES, FILE, |case, folder| {
        let mut server = case.serve(folder, 2, "");
        let mut wire = begin_upload(&server, folder, b"UPLOAD a.bin AAAA");
        server.signal(libc::SIGKILL);
        server.wait(SOON);
        wire.rest().ok();
        let left = folder.temporary();
        assert_eq!(left.len(), 1);
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
        let again = case.serve(folder, 2, "");
        own.sort_unstable();
        assert_eq!(folder.names(), own);
        again.stop();
        assert_eq!(folder.names(), own);
    });
}

// ---- stopping ----

#[test]
fn sigterm_lets_an_upload_finish_and_refuses_everybody_else() {
    each_case(MODES, FILE, |case, _| {
        for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            if number == libc::SIGHUP && case.mode == "process" {
                // There it has two meanings: see `service.rs`.
                continue;
            }
            let folder = Folder::new();
            let server = case.serve(&folder, 3, "");
            let request = upload("a", &noise(500_000, 1));
            let mut wire = begin_upload(&server, &folder, halves(&request).0);
            server.signal(number);
            server.wait_until_closed();
            assert_eq!(wire.ask(halves(&request).1), stored("a", 500_000));
            wire.assert_closed();
            drop(wire);
            assert_eq!(server.finish(PATIENCE), "");
            assert!(folder.read("a") == noise(500_000, 1));
        }
    });
}

#[test]
fn requests_that_came_before_sigterm_are_answered() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 8, "");
        let count = if case.mode == "single" { 1 } else { 8 };
        let mut wires: Vec<Wire> = (0..count).map(|_| server.connect()).collect();
        for wire in &mut wires {
            assert_eq!(wire.ask("GET a\n"), got("a", b"A"));
        }
        // The server stands still meanwhile, and then finds the requests and the signal together.
        let all = server.family();
        all.iter().for_each(|&pid| signal(pid, libc::SIGSTOP));
        wires.iter_mut().for_each(|wire| wire.send("GET a\n"));
        for number in [libc::SIGTERM, libc::SIGCONT] {
            all.iter().for_each(|&pid| signal(pid, number));
        }
        for wire in &mut wires {
            assert_eq!(wire.reply(), got("a", b"A"));
            wire.assert_closed();
        }
        assert_eq!(server.finish(PATIENCE), "");
    });
}

/// As nohup(1) starts a program.
#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    each_case(MODES, FILE, |Case { mode, .. }, folder| {
        folder.write("a", b"content");
        let serve = format!("serve --quiet --listen 127.0.0.1:0 --mode {mode} --root");
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap '' HUP; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_kolam"),
        ]);
        command.args(serve.words()).arg(folder.path());
        let mut server = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        for pid in [vec![server.id()], children(server.id())].concat() {
            signal(pid, libc::SIGHUP);
            assert_eq!(Wire::connect(address).ask("GET a\r\n\r\n"), got("a", b"content"));
        }
        signal(server.id(), libc::SIGTERM);
        assert_eq!(server.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn sigterm_lets_a_download_finish() {
    each_case(MODES, FILE, |case, folder| {
        let content = noise(16 << 20, 1);
        folder.write("a", &content);
        let server = case.serve(folder, 2, "");
        let mut wire = server.connect();
        wire.send("GET a\nLIST\n");
        wire.first_byte();
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        let reply = wire.try_reply().unwrap();
        assert!(format!("{{{reply}") == got("a", &content));
        assert_refused(&wire.reply(), "server stopping");
        wire.assert_closed();
        drop(wire);
        assert_eq!(server.finish(PATIENCE), "");
    });
}

#[test]
fn a_stop_says_in_one_line_what_was_served() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve_with_log(folder, 2, "");
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
        let mut hurt = begin_upload(&server, folder, half);
        bytes_in += half.len();
        hurt.half_close();
        hurt.rest().unwrap();
        server.signal(libc::SIGTERM);
        let log = server.finish(PATIENCE);
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("stopped after "))
            .collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert_eq!(log.lines().last(), Some(lines[0]), "it is the last {log}");
        let counts = format!("s: connections 3, requests 5, failed 2, bytes in {bytes_in}, bytes out ");
        let (before, bytes_out) = lines[0]
            .split_once(&counts)
            .unwrap_or_else(|| panic!("{}", lines[0]));
        let seconds: f64 = before
            .rsplit_once(' ')
            .unwrap()
            .0
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap();
        assert!((0.0..60.0).contains(&seconds), "{log}");
        assert!(bytes_out.parse::<u64>().unwrap() > 100, "{log}");
    });
}

#[test]
fn an_idle_connection_does_not_hold_the_stop_up() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--grace 60");
        let mut used = server.connect();
        used.ask("LIST\n");
        let mut fresh = server.connect();
        if case.mode != "single" {
            eventually("both are served", || {
                number(&used.ask("STATS\n"), "connections") == 2
            });
        }
        server.signal(libc::SIGTERM);
        used.assert_closed();
        match fresh.rest() {
            Ok(rest) => assert!(rest.is_empty() || rest.starts_with(refused("server stopping").as_bytes())),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert_eq!(server.finish(SOON), "");
    });
}

#[test]
fn a_stuck_client_is_cut_when_the_grace_is_over() {
    each_case_at_once(MODES, FILE, |case, _| {
        for what in "silent upload|dripping upload|dripping refusal|unread download".split('|') {
            let folder = Folder::new();
            folder.write("a", noise(24 << 20, 1));
            let server = case.serve(&folder, 2, "--grace 0.5");
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
                .then(|| Background::drip(&wire, "Q", pause));
            let log = server.finish(2 * PATIENCE);
            drop(dripping);
            assert_eq!(log, "", "{what}");
            assert_took(Duration::from_millis(450)..Duration::from_secs(5), start);
            assert!(folder.read("a") == noise(24 << 20, 1), "{what}");
            assert_eq!(folder.names(), ["a"], "{what}");
        }
    });
}

#[test]
fn sigterm_to_one_worker_costs_that_worker_and_nothing_else() {
    let folder = Folder::new();
    let server = Server::start("process", 3, &folder, "");
    let old = server.workers();
    let first = old[0];
    signal(first, libc::SIGTERM);
    server.wait_until_replaced(first, 3);
    assert!(
        old[1..].iter().all(|pid| server.workers().contains(pid)),
        "its siblings are untouched"
    );
    for _ in 0..6 {
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":[]}"#);
    }
}

#[test]
fn sigterm_to_all_processes_at_once_lets_an_upload_finish() {
    let folder = Folder::new();
    let server = Server::start("process", 2, &folder, "");
    let request = upload("a", b"kolam");
    let (first, second) = halves(&request);
    let mut wire = begin_upload(&server, &folder, first);
    let everybody = server.family();
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
fn a_second_sigterm_ends_the_server_at_once() {
    each_case(MODES, FILE, |case, folder| {
        folder.write("a", b"old");
        let mut server = case.serve(folder, 2, "--grace 60");
        let workers = server.workers();
        let mut wire = begin_upload(&server, folder, b"UPLOAD a QUJD");
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        wire.assert_silent(MOMENT);
        server.signal(libc::SIGTERM);
        let status = server.wait(SOON);
        assert_eq!(status.code(), Some(130), "{status}");
        within(SOON, "all workers have ended", || {
            !workers.iter().any(|&pid| alive(pid))
        });
        wire.assert_cut();
        assert_eq!(folder.read("a"), b"old");
        case.serve(folder, 2, "").stop();
        assert_eq!(folder.names(), ["a"]);
    });
}

// ---- files and disks ----

#[test]
fn a_file_that_is_cut_short_while_it_is_sent_ends_without_the_end_mark() {
    each_case(MODES, FILE, |case, folder| {
        let file = folder.sparse("a", 64 << 20);
        let server = case.serve(folder, 2, "");
        let mut wire = server.connect();
        wire.send("GET a\n");
        wire.stream.read_exact(&mut [0; 1000]).unwrap();
        file.set_len(1 << 20).unwrap();
        let rest = wire.rest().unwrap();
        assert!(rest.len() < 64 << 20, "{}", rest.len());
        assert!(
            rest.iter().all(|&byte| byte == b'A'),
            "more than zeroes, or an end mark"
        );
        drop(wire);
        assert_eq!(server.ask("LIST\n"), r#"{"status":"OK","data":["a"]}"#);
    });
}

#[test]
fn odd_files_are_answered_and_never_waited_for() {
    each_case(MODES, FILE, |case, folder| {
        folder.folder("folder");
        folder.link("/dev/zero", "zero");
        folder.link("pipe", "link");
        folder.pipe("pipe");
        folder.write("locked", b"locked");
        fs::set_permissions(folder.join("locked"), Permissions::from_mode(0o000)).unwrap();
        // Whoever may read it all the same (root) must get the right bytes.
        let readable = File::open(folder.join("locked")).is_ok();
        let server = case.serve(folder, 2, "");
        let start = Instant::now();
        let mut wire = server.connect();
        for name in ["folder", "zero", "link", "pipe"] {
            for request in [format!("GET {name}\n"), format!("DELETE {name}\n")] {
                assert_refused(&wire.ask(request), "not a regular file");
            }
            assert_refused(&wire.ask(upload(name, b"A")), "");
        }
        let reply = wire.ask("GET locked\n");
        let expected = if readable {
            got("locked", b"locked")
        } else {
            refused("permission denied")
        };
        assert!(reply.starts_with(&expected), "{reply}");
        assert_took(..SOON, start);
        drop(wire);
        server.stop();
        assert_eq!(folder.names(), ["folder", "link", "locked", "pipe", "zero"]);
    });
}

#[test]
fn a_full_disk_is_an_answer_and_its_space_comes_back() {
    each_case(MODES, FILE, |case, folder| {
        let Some(_disk) = Disk::mount(folder, "1m") else {
            return;
        };
        let old = noise(100_000, 1);
        folder.write("a", &old);
        let server = case.serve(folder, 2, "");
        let mut wire = server.connect();
        for size in [950_000, 3 << 20] {
            assert_refused(&wire.ask(upload("a", &noise(size, 2))), "storage full");
            assert_eq!(folder.names(), ["a"]);
            assert!(folder.read("a") == old);
        }
        let new = noise(800_000, 3);
        assert_eq!(wire.ask(upload("a", &new)), stored("a", new.len()));
        assert!(wire.ask("GET a\n") == got("a", &new));
    });
}

#[test]
fn a_folder_on_which_nothing_may_be_written_is_served_read_only_or_not_at_all() {
    let folder = Folder::new();
    folder.write("a", b"A");
    let Some(disk) = Disk::mount(&folder, "1m") else {
        return;
    };
    folder.write("b", b"B");
    let status = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let server = Server::start("thread", 1, &folder, "--read-only");
    assert_eq!(server.ask("GET b\n"), got("b", b"B"));
    assert_refused(&server.ask("DELETE b\n"), "permission denied");
    server.stop();
    let root = folder.word("");
    let refused = run(format!("serve --listen 127.0.0.1:0 --root {root}"));
    refused.failed(1, &["--root", &root, "--read-only"]);
    drop(disk);
    assert_eq!(folder.names(), ["a"]);
}
