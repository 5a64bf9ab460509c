//! What a server needs that runs for months.

use crate::support::pty::Terminal;
use crate::support::*;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A server in process mode without a terminal, as a service manager starts it.
fn service(case: Case, folder: &Folder, workers: usize) -> Server {
    let options = format!("--protocol {}", case.protocol);
    let words = format!("serve --listen 127.0.0.1:0 --mode process --workers {workers} {options} --root");
    let mut command = Command::new("setsid");
    command.arg(env!("CARGO_BIN_EXE_kolam"));
    command.args(words.words()).arg(folder.path());
    Server::ready(&mut command, "process", workers, folder.path(), &options)
}

/// Asks for `a` again and again, and counts the answers; all must be good. `keeps`: on one connection as long
/// as the server allows. It may close that between two requests, as an HTTP client must expect.
fn client(case: Case, address: SocketAddr, keeps: bool, answered: Arc<AtomicU64>) -> Background {
    let mut kept: Option<http::Http> = None;
    Background::repeat(move || {
        let again = kept.is_some();
        let mut peer = kept.take().unwrap_or_else(|| http::Http::connect(address));
        let request = case.get("a");
        if case.is_http() {
            let sent = std::io::Write::write_all(&mut peer.stream, &request);
            match sent.and_then(|()| peer.try_reply("GET")) {
                Err(_) if again && peer.received_all() => return true,
                reply => {
                    let reply = reply.unwrap();
                    assert_eq!((reply.status, reply.text()), (200, "content"));
                    kept = (keeps && !reply.closes()).then_some(peer);
                }
            }
        } else {
            assert_eq!(case.ask(&mut peer, &request), Ok(got("a", b"content")));
            kept = keeps.then_some(peer);
        }
        answered.fetch_add(1, Ordering::Relaxed);
        true
    })
}

/// All processes are new, and no client has noticed. An upload that has begun is finished by the old worker,
/// also when the server is told to stop meanwhile.
#[test]
fn a_hangup_replaces_all_workers_and_no_request_fails() {
    each_case_at_once(&["process"], PROTOCOLS, |case, folder| {
        folder.write("a", b"content");
        let server = service(case, folder, 3);
        let mut old = server.workers();
        let content = noise(300_000, 1);
        for round in 0..2 {
            let request = case.puts("new", &content).remove(0);
            let mut upload = begin_upload(&server, folder, halves(&request).0);
            let answered = Arc::new(AtomicU64::new(0));
            let clients: Vec<Background> = [true, false, false]
                .map(|keeps| client(case, server.address, keeps, answered.clone()))
                .into();
            let count = || answered.load(Ordering::Relaxed);
            eventually("the clients are served", || count() > 20);
            server.signal(libc::SIGHUP);
            eventually("there are three new workers", || {
                let now = server.workers();
                now.iter().filter(|pid| !old.contains(pid)).count() == 3
            });
            let before = count();
            eventually("the new workers serve", || count() > before + 20);
            drop(clients);
            eventually("only the worker of the upload is old", || {
                server.workers().len() == 4
            });
            if round == 1 {
                server.signal(libc::SIGTERM);
                server.wait_until_closed();
            }
            upload.send(halves(&request).1);
            let mut upload = http::Http::of(upload);
            case.answer(&mut upload, &request).unwrap();
            drop(upload);
            assert!(folder.read("new") == content);
            if round == 0 {
                eventually("all workers are new", || {
                    let now = server.workers();
                    now.len() == 3 && now.iter().all(|pid| !old.contains(pid))
                });
                old = server.workers();
            }
        }
        let log = server.finish(PATIENCE);
        for index in 0..3 {
            let told = format!("worker {index} is now process ");
            assert_eq!(log.matches(&told).count(), 2, "{log}");
        }
        assert!(
            !log.contains("ended with") && log.contains(", failed 0, "),
            "{log}"
        );
    });
}

/// A shell passes the hangup on to its jobs with kill(2), so this is what they get.
#[test]
fn a_closed_terminal_stops_a_server_and_renews_nothing() {
    let folder = Folder::new();
    let mut command = Command::new("setsid");
    let words = "serve --quiet --listen 127.0.0.1:0 --mode process --workers 2 --root";
    command.arg("--ctty").arg(env!("CARGO_BIN_EXE_kolam"));
    let terminal = Terminal::start(command.args(words.words()).arg(folder.path()), 200);
    terminal.wait_for(0, "root ");
    let line = String::from_utf8(terminal.bytes()).unwrap();
    let mut wire = Wire::connect(line.split(' ').nth(2).unwrap().parse().unwrap());
    let request = upload("a", &noise(300_000, 1));
    wire.send(halves(&request).0);
    eventually("the upload has begun", || !folder.temporary().is_empty());
    let pid = terminal.child.id();
    for pid in [children(pid), vec![pid]].concat() {
        signal(pid, libc::SIGHUP);
    }
    assert_eq!(wire.ask(halves(&request).1), stored("a", 300_000));
    drop(wire);
    assert_eq!(terminal.finish(PATIENCE).0, Some(0));
}
