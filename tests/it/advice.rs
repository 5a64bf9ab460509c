//! Tests of other people's servers: what is wrong with them is said at once, what they cost is measured when
//! they run here, and a test that leads to nothing ends early.

use crate::support::wrong::{Mistake, WrongServer};
use crate::support::*;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// The kind and the number of rows do not matter here.
const FEW: &str = "--ops upload --volumes 1 --clients 2";

/// A test of the server at `address`. Returns how it ended and the folder of its results.
fn stress(address: SocketAddr, words: &str) -> (Ended, Folder) {
    let (out, root) = (Folder::new(), Folder::new());
    let [results, files] = [&out, &root].map(|folder| folder.path().to_str().unwrap());
    let words = format!("stress --target {address} --out {results} --root {files} {words}");
    (Run::start(&mut kolam(words)).finish(5 * PATIENCE), out)
}

/// The cells of a column, the first of which is its title.
fn column(out: &Folder, table: &str, title: &str) -> Vec<String> {
    let text = String::from_utf8(out.read(&format!("{table}.csv"))).unwrap();
    let titles: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let at = titles.iter().position(|found| *found == title).unwrap();
    let cells = text.lines().map(|line| line.splitn(titles.len(), ',').nth(at));
    cells.map(|cell| cell.unwrap().to_owned()).collect()
}

// ---- what is wrong is said at once ----

/// Tests a server that cannot be measured, which must be told soon, with the words `told`. Where the server
/// says nothing, all of `timeout` is waited for.
#[track_caller]
fn assert_found_out(address: SocketAddr, timeout: f64, told: &[&str]) {
    let begun = Instant::now();
    let (ended, out) = stress(address, &format!("--timeout {timeout}"));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    ended.failed(
        1,
        &[&format!("kolam: --target {address}: no row would succeed: ")],
    );
    ended.failed(1, &[&format!("; kolam check {address} asks more")]);
    ended.says(told);
    assert_eq!(out.names(), Vec::<String>::new());
}

#[test]
fn a_server_that_does_not_reply_as_it_should_is_told_so_before_the_first_row() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // For how long, the load of the machine decides.
    let silence = "received  nothing for ";
    assert_found_out(silent.local_addr().unwrap(), 0.3, &["FAIL end ", silence]);
    let no_end = r#"\"data\":[]}\n (then "#;
    let replies: [(&'static str, f64, &[&str]); 3] = [
        ("", 5.0, &["FAIL end ", "received  the connection was closed"]),
        ("{\"status\":\"OK\",\"data\":[]}\n", 0.3, &["FAIL end ", no_end]),
        (
            "{'status': 'OK'}\r\n\r\n",
            5.0,
            &["FAIL object ", r"{\'status\'", "cause     the reply is no JSON"],
        ),
    ];
    for (reply, timeout, told) in replies {
        let server = Fake::start(move |guest| {
            guest.read_to(END);
            guest.send(reply);
            // Silence is no end of the connection.
            if !reply.is_empty() {
                guest.wait();
            }
        });
        assert_found_out(server.address, timeout, told);
    }
}

#[test]
fn a_server_from_which_no_file_comes_back_is_told_so_before_the_first_row() {
    let piece = WrongServer::start(Mistake::EachReceiveIsARequest);
    assert_found_out(
        piece.address,
        5.0,
        &["FAIL split-reads ", "each receive is taken for a whole request"],
    );
    let symbols = WrongServer::start(Mistake::UrlSafeAlphabet);
    assert_found_out(symbols.address, 1.0, &["FAIL every-byte "]);
    let files = Folder::new();
    let refuses = Server::start("thread", 2, &files, "--read-only");
    assert_found_out(
        refuses.address,
        5.0,
        &[
            "FAIL round-trip ",
            "permission denied",
            "cause     the server refuses it",
        ],
    );
    assert_eq!(files.names(), Vec::<String>::new());
}

#[test]
fn workers_that_do_not_work_are_counted() {
    let serial = WrongServer::start(Mistake::OneAtATime);
    let claims = WrongServer::start(Mistake::TwoWorkersOfFour);
    let right = WrongServer::start(Mistake::None);
    let table = [
        (
            serial.address,
            "--servers 4",
            "4 workers claimed, one connection at a time served: ",
        ),
        (serial.address, "", "note       one connection at a time served\n"),
        (
            claims.address,
            "",
            "4 workers claimed, 2 connections at a time served: ",
        ),
        (
            claims.address,
            "--lang id",
            "4 worker diklaim, 2 koneksi dilayani pada satu waktu: ",
        ),
        (right.address, "--servers 4", ""),
    ];
    for (address, words, told) in table {
        let (ended, _) = stress(address, &format!("{FEW} --timeout 3 {words}"));
        assert_has(ended.ok(), &[told]);
        assert_eq!(
            ended.text().contains(" served"),
            told.contains(" served"),
            "{ended:?}"
        );
    }
}

#[test]
fn a_pool_that_claims_nothing_is_labelled_with_what_was_counted() {
    let files = Folder::new();
    let pool = Server::start("thread", 3, &files, "");
    // A server that does not know STATS, in front of the same workers: each connection has one of them.
    let address = pool.address;
    let front = Fake::start(move |guest| {
        let mut back = Wire::connect(address);
        loop {
            let request = guest.read_whole(END);
            match request.as_str() {
                "" => return,
                "STATS\r\n\r\n" => guest.send(refused("unknown") + "\r\n\r\n"),
                _ => {
                    back.send(request.as_bytes());
                    guest.send(back.reply() + "\r\n\r\n");
                }
            }
        }
    });
    let (ended, out) = stress(front.address, FEW);
    ended.says(&[
        "note       3 connections at a time served\n",
        "the rows are labelled thread mode, 3 workers;",
    ]);
    ended.ok();
    assert_eq!(column(&out, "thread", "server_workers"), ["server_workers", "3"]);
    assert_eq!(files.names(), Vec::<String>::new());
}

#[test]
fn a_server_without_stats_and_delete_is_measured_and_both_are_said_once() {
    let server = WrongServer::start(Mistake::DeletesNothing);
    let (ended, out) = stress(server.address, FEW);
    let text = ended.ok();
    assert_eq!(text.matches("no STATS there").count(), 1, "{text}");
    assert_eq!(text.matches("DELETE is missing").count(), 1, "{text}");
    // What the questions leave there is named, and so is what the row leaves.
    assert_has(
        text,
        &[
            "note       may be left there: kolam-check-",
            "-hello",
            "left       2 files stay on",
        ],
    );
    assert_eq!(column(&out, "single", "client_ok")[1], "2");
}

#[test]
fn an_interrupt_ends_the_questions() {
    let silent = Fake::start(|guest| {
        guest.read_to(END);
        guest.wait();
    });
    let out = Folder::new();
    let words = format!("stress --target {} --out {}", silent.address, out.word("new"));
    let run = Run::start(&mut kolam(words));
    eventually("it is asked", || silent.connections() > 0);
    run.signal(libc::SIGINT);
    run.finish(PATIENCE).failed(130, &["interrupted"]);
    assert_eq!(out.names(), Vec::<String>::new());
}

// ---- a test that leads to nothing ----

#[test]
fn a_test_is_given_up_when_three_rows_in_a_row_fail() {
    let files = Folder::new();
    let pool = Server::start("thread", 20, &files, "");
    let address = pool.address;
    // It breaks at the fourth large upload, and stays broken.
    let breaks = Fake::start(move |guest| {
        let mut back = Wire::connect(address);
        loop {
            let request = guest.read_whole(END);
            let large = request.len() > 1_000_000;
            let broken = large && guest.seen.requests.fetch_add(1, SeqCst) >= 3;
            if request.is_empty() || broken {
                return;
            }
            back.send(request.as_bytes());
            guest.send(back.reply() + "\r\n\r\n");
        }
    });
    let words = "--ops upload --volumes 1 --clients 1,2,3,4,5,6,7";
    let (ended, out) = stress(breaks.address, words);
    let check = format!("kolam check {} says more", breaks.address);
    ended.failed(
        1,
        &[
            "given up after thread row 5: in 3 rows one after another no client succeeded",
            &check,
        ],
    );
    assert_eq!(
        column(&out, "thread", "client_ok"),
        ["client_ok", "1", "2", "0", "0", "0"]
    );
    let errors = column(&out, "thread", "first_error");
    assert_eq!(errors[..3], ["first_error", "", ""]);
    assert!(
        errors[3..]
            .iter()
            .all(|error| error.contains("client ") && error.contains(": ")),
        "{errors:?}"
    );
    // What was measured is shown all the same.
    ended.says(&["rows       5 of 7\n", "\nmode thread\n"]);
    assert_has(
        &String::from_utf8(out.read("machine.txt")).unwrap(),
        &["state    failed: given up after"],
    );
    assert!(out.names().contains(&"tables.md".to_owned()));
}

// ---- what it costs ----

#[test]
fn memory_and_processor_time_of_a_process_are_measured_with_its_children() {
    each_case_at_once(MODES, FILE, |case, files| {
        let server = case.serve(files, 3, "");
        let words = format!("--volumes 20 --clients 3 --pid {}", server.pid());
        let (ended, out) = stress(server.address, &words);
        // A kolam holds no file in memory.
        assert!(!ended.ok().contains("memory follows"), "{ended:?}");
        let peaks = column(&out, case.mode, "server_peak_rss_kib");
        let least = if case.mode == "process" { 1500.0 } else { 500.0 };
        for peak in &peaks[1..] {
            let kib: f64 = peak.parse().unwrap();
            assert!((least..60_000.0).contains(&kib), "{peaks:?}");
        }
        let times = column(&out, case.mode, "server_cpu_s");
        let spent: f64 = times[1..].iter().map(|cell| cell.parse::<f64>().unwrap()).sum();
        assert!((0.01..60.0).contains(&spent), "{times:?}");
    });
}

#[test]
fn time_that_grows_faster_than_the_file_is_told_of() {
    // For twice the bytes it takes at least six times as long, unless the machine stands still.
    let slow = Fake::start(|guest| {
        let request = guest.read_whole(END);
        let reply = match request.split(' ').next() {
            Some("LIST\r\n\r\n") => r#"{"status":"OK","data":[]}"#.to_owned(),
            Some("UPLOAD") => {
                thread::sleep(Duration::from_secs(if request.len() > 2_000_000 { 3 } else { 0 }));
                *guest.seen.last.lock().unwrap() = request.rsplit(' ').next().unwrap().trim().to_owned();
                r#"{"status":"OK"}"#.to_owned()
            }
            Some("GET") => format!(
                r#"{{"status":"OK","data_file":"{}"}}"#,
                guest.seen.last.lock().unwrap()
            ),
            _ => refused("unknown"),
        };
        guest.send(reply + "\r\n\r\n");
    });
    let words = "--ops upload --volumes 1,2 --clients 1 --servers 1";
    let (ended, _) = stress(slow.address, words);
    assert_has(
        ended.ok(),
        &[
            "note       2 times the bytes took ",
            " times as long (single row 2): ",
        ],
    );
}

// ---- mistakes ----

#[test]
fn mistakes_name_the_option_and_the_remedy() {
    assert_usage(
        "stress --pid x --target 127.0.0.1:1 => --pid x: expected a whole number from 1 to 4194304
        stress --pid 0 --target 127.0.0.1:1 => --pid 0: expected a whole number
        stress --pid 1 => --pid 1: it is for a server that runs already | add --target HOST:PORT
        stress --number-from x => --number-from x: expected a whole number from 1 to 1000000
        stress --number-from 0 => --number-from 0: expected
        stress --number-from => --number-from needs a value: --number-from N
        stress --client-mode foo => --client-mode foo: expected same, thread, process
        stress --client-mode thread,same,thread => --client-mode thread,same,thread: thread is there twice
        stress --ops list,,upload => --ops : expected download, upload, list
        stress --ops upload,list,upload => --ops upload,list,upload: upload is there twice",
    );
    // The number after the greatest that the kernel gives.
    run("stress --pid 4194304 --target 127.0.0.1:1").failed(1, &["--pid 4194304: there is no such process"]);
}
