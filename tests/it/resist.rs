//! What an attacker tried once, and what must not work again.

use crate::support::http::{put, with};
use crate::support::*;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A server whose log is a pipe that is not read, and its address.
fn unread(case: Case, folder: &Folder) -> (Running, std::net::SocketAddr) {
    logging(case, folder, Stdio::piped())
}

/// The same, with its log in `stderr`.
fn logging(case: Case, folder: &Folder, stderr: Stdio) -> (Running, std::net::SocketAddr) {
    let words = format!(
        "serve --listen 127.0.0.1:0 --mode {} --protocol {} --workers 1 --root",
        case.mode, case.protocol
    );
    let mut command = kolam(words);
    command.arg(folder.path()).stdin(Stdio::null());
    let mut server = Running::spawn(command.stdout(Stdio::piped()).stderr(stderr));
    let mut line = String::new();
    let stdout = server.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.split(' ').nth(2).expect(&line).parse().unwrap();
    (server, address)
}

/// A pipe holds 64 KiB, about 700 lines. The others are lost, and the log says how many.
#[test]
fn a_log_that_is_not_read_stops_nothing() {
    const REQUESTS: usize = 1500;
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"");
        let (mut server, address) = unread(case, folder);
        let stderr = server.0.stderr.take().unwrap();
        let mut peer = http::Http::connect(address);
        for _ in 0..REQUESTS {
            case.ask(&mut peer, &case.get("a")).unwrap();
        }
        let log = Arc::new(Mutex::new(String::new()));
        let sink = log.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                *sink.lock().unwrap() += &format!("{}\n", line.unwrap());
            }
        });
        // The pipe has room again as soon as the thread has read something of it.
        let mut more = 0;
        eventually("the gap is told", || {
            case.ask(&mut peer, &case.get("a")).unwrap();
            more += 1;
            log.lock().unwrap().contains("the log was not read: ")
        });
        drop(peer);
        let told = Instant::now();
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait(PATIENCE).code(), Some(0));
        assert!(told.elapsed() < SOON);
        reader.join().unwrap();
        let log = log.lock().unwrap();
        let requests = log.lines().filter(|line| line.contains(" GET ")).count();
        let lost = |line: &str| line.split_once("the log was not read: ")?.1.parse::<usize>().ok();
        let lost: usize = log.lines().filter_map(lost).sum();
        assert!(lost > 0, "{requests} lines of {REQUESTS}");
        assert_eq!(requests + lost, REQUESTS + more);
    });
}

/// Everybody who may read the folder can lock it (flock(2)).
#[test]
fn a_strangers_lock_on_the_folder_delays_nothing() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let stranger = File::open(folder.path()).unwrap();
        stranger.lock().unwrap();
        let server = case.serve(folder, 1, "");
        let mut peer = server.http();
        let first = String::from_utf8(put("/a", b"1")).unwrap();
        let first = first.replacen("\r\n", "\r\nIf-None-Match: *\r\n", 1);
        for (request, status) in [
            (first.as_str(), 201),
            (first.as_str(), 412),
            (&with("DELETE", "/a", "If-Match: *\r\n"), 204),
        ] {
            peer.send(request);
            assert_eq!(peer.reply("PUT").status, status);
        }
        assert!(folder.names().is_empty());
    });
}

/// A connection, a file and a lock need three descriptors, beside those of the server itself.
#[test]
fn too_few_descriptors_for_a_single_connection_are_told_at_once() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        let words = format!(
            "--nofile=10 {} serve --listen 127.0.0.1:0 --mode {} --protocol {} --workers 1 --root {}",
            env!("CARGO_BIN_EXE_kolam"),
            case.mode,
            case.protocol,
            folder.path().display()
        );
        let mut command = std::process::Command::new("prlimit");
        let ended = Run::start(command.args(words.split(' ')).stdin(Stdio::null())).finish(PATIENCE);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_has(&ended.stderr, &["descriptors", "ulimit -n"]);
    });
}

/// The temporary file is there already when its name and its owner are looked at.
#[test]
fn an_upload_whose_file_cannot_be_looked_at_leaves_nothing() {
    if !installed("strace") {
        return;
    }
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        let server = case.serve(folder, 1, "");
        let tracer = Tracer::inject(&server.family(), &["statx:error=EIO:when=1".to_owned()]);
        let _ = case.ask(&mut server.http(), &case.puts("a", b"kolam")[0]);
        drop(tracer);
        assert!(folder.temporary().is_empty(), "{:?}", folder.names());
        case.ask(&mut server.http(), &case.puts("a", b"kolam")[0])
            .unwrap();
        folder.assert_only("a", b"kolam");
    });
}

/// Answers each request with these bytes.
fn saying(reply: &'static str) -> Fake {
    Fake::start(move |guest| {
        guest.read_to(END);
        guest.send(reply);
    })
}

#[test]
fn a_reply_with_two_verdicts_is_no_success() {
    for reply in [
        "{\"status\":\"ERROR\",\"data\":[],\"status\":\"OK\"}\r\n\r\n",
        "{\"status\":\"OK\",\"data\":[],\"status\":\"ERROR\"}\r\n\r\n",
    ] {
        let server = saying(reply);
        run(format!("list --server {}", server.address)).failed(1, &["it has status twice"]);
    }
    let twice = "{\"status\":\"OK\",\"data_file\":\"\",\"data_file\":\"QQ==\"}\r\n\r\n";
    let server = saying(twice);
    run(format!("download a -o - --server {}", server.address)).failed(1, &["it has data_file twice"]);
}

#[test]
fn endless_blanks_are_no_reply() {
    for before in ["", "{\"status\":\"OK\",", "{\"status\":\"OK\",\"data\":[\"a\""] {
        let server = Fake::start(move |guest| {
            guest.read_to(END);
            guest.send(before);
            while guest.stream.write_all(&[b' '; 4096]).is_ok() {}
        });
        run(format!("list --server {} --timeout 5", server.address)).failed(1, &["white space"]);
    }
}

/// What the kernel takes in advance counts as taken; the limit begins with that, and not again later.
#[test]
fn a_server_that_never_reads_costs_one_timeout() {
    let here = Folder::new();
    drop(here.sparse("large", 64 << 20));
    let server = Fake::start(|guest| {
        while !guest.seen.told.load(std::sync::atomic::Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let begun = Instant::now();
    let words = format!(
        "upload {} --timeout 1 --server {}",
        here.word("large"),
        server.address
    );
    run(words).failed(1, &["--timeout"]);
    let took = begun.elapsed();
    server.seen.told.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!((1000..1900).contains(&took.as_millis()), "{took:?}");
}

/// That of a service under systemd is one. A socket cannot be opened a second time.
#[test]
fn a_log_that_is_a_full_socket_stops_nothing() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"");
        let (unread, log) = UnixStream::pair().unwrap();
        let (mut server, address) = logging(case, folder, OwnedFd::from(log).into());
        let mut peer = http::Http::connect(address);
        // With what the kernel adds to each, there is room for some hundred lines.
        for _ in 0..3000 {
            case.ask(&mut peer, &case.get("a")).unwrap();
        }
        drop(peer);
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait(PATIENCE).code(), Some(0));
        unread.set_nonblocking(true).unwrap();
        let lines = BufReader::new(unread).lines().map_while(Result::ok).count();
        assert!((1..3000).contains(&lines), "{lines}");
    });
}
