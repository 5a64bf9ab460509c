//! What only event mode promises: one process with a few threads holds thousands of connections for little
//! memory; one worker serves greedy, slow, stuck and honest clients at once, and sleeps when there is
//! nothing to do; whatever becomes of its connections, nothing of them is left behind.

use crate::support::*;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// What LIST answers when there is nothing.
const NOTHING: &str = r#"{"status":"OK","data":[]}"#;

/// How long the server is watched doing nothing.
const WATCH: Duration = Duration::from_secs(1);

/// Processor time in `WATCH` that is no spinning, which would take all of it: a tenth.
const ASLEEP: Duration = Duration::from_millis(100);

/// The file that is too large to be read to its end in a test. It is sparse and takes no disk.
const ENDLESS: u64 = 4 << 30;

fn start(workers: usize, folder: &Folder, options: &str) -> Server {
    Server::start("event", workers, folder, options)
}

/// The server hardly uses the processor for a while.
#[track_caller]
fn assert_asleep(server: &Server, what: &str) {
    let before = processor_time(server.pid());
    thread::sleep(WATCH);
    let used = processor_time(server.pid()) - before;
    assert!(
        used <= ASLEEP,
        "{what}: {used:?} of processor time in {WATCH:?} of waiting"
    );
}

// ---- what it is made of ----

#[test]
fn it_is_one_process_with_a_thread_for_each_worker() {
    for workers in [1, 2, 5] {
        let folder = Folder::new();
        let server = start(workers, &folder, "");
        assert_eq!(threads(server.pid()), workers + 1);
        let wires: Vec<Wire> = (0..20).map(|_| server.connect()).collect();
        for mut wire in wires {
            assert_eq!(wire.ask("LIST\n"), NOTHING);
        }
        assert_eq!(threads(server.pid()), workers + 1, "connections cost no threads");
        assert_eq!(children(server.pid()), []);
    }
}

#[test]
fn all_workers_take_part() {
    let folder = Folder::new();
    let server = start(3, &folder, "");
    let mut asking = server.connect();
    // Whoever is free takes the next connection, so it may need some until each has had one.
    eventually("each worker has served something", || {
        let mut crowd: Vec<Wire> = (0..30).map(|_| server.connect()).collect();
        crowd.iter_mut().for_each(|wire| wire.send("LIST\n"));
        crowd
            .iter_mut()
            .for_each(|wire| assert_eq!(wire.reply(), NOTHING));
        let stats = asking.ask("STATS\n");
        let (_, workers) = stats.split_once(r#""per_worker":["#).unwrap();
        !workers.contains(r#""served":0,"#)
    });
    let stats = asking.ask("STATS\n");
    assert_eq!(
        (number(&stats, "workers"), number(&stats, "alive")),
        (3, 3),
        "{stats}"
    );
}

// ---- thousands of connections ----

/// Idle connections of the memory test.
const CROWD: usize = 1000;

/// KiB that they may cost altogether: 3 each, and some for the table they are in.
const CROWD_KIB: u64 = 3 * CROWD as u64 + 512;

#[test]
fn a_thousand_idle_connections_cost_little() {
    if !sys::may_hold_a_thousand() {
        return;
    }
    let folder = Folder::new();
    folder.write("a", noise(1 << 20, 1));
    let server = start(2, &folder, "");
    // Whatever is made once and kept is made now.
    let mut asking = server.connect();
    for _ in 0..20 {
        assert!(server.ask("GET a\n") == got("a", &noise(1 << 20, 1)));
    }
    let connections = |asking: &mut Wire| number(&asking.ask("STATS\n"), "connections");
    let (seen, before) = (connections(&mut asking), resident(server.pid()));
    let mut crowd: Vec<Wire> = (0..CROWD).map(|_| server.connect()).collect();
    eventually("all are accepted", || {
        connections(&mut asking) == seen + CROWD as u64
    });
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown <= CROWD_KIB, "{CROWD} fresh connections cost {grown} KiB");
    for wire in &mut crowd {
        assert_eq!(wire.ask("LIST\n"), r#"{"status":"OK","data":["a"]}"#);
    }
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(
        grown <= CROWD_KIB,
        "{CROWD} connections that have been served cost {grown} KiB"
    );
    assert_asleep(&server, "idle connections");
    assert!(asking.ask("GET a\n") == got("a", &noise(1 << 20, 1)));
    let start = Instant::now();
    server.signal(libc::SIGTERM);
    crowd.iter_mut().for_each(Wire::assert_closed);
    drop((crowd, asking));
    assert_eq!(server.finish(PATIENCE), "");
    // They do not hold the stop up.
    assert_took(..SOON, start);
}

#[test]
fn fifty_transfers_at_once_are_all_right() {
    let folder = Folder::new();
    let server = start(2, &folder, "");
    let contents: Vec<Vec<u8>> = (0..50).map(|at| noise(300_000 + at, at as u64)).collect();
    thread::scope(|scope| {
        for (at, content) in contents.iter().enumerate() {
            let (address, name) = (server.address, format!("{at}.bin"));
            scope.spawn(move || {
                let mut wire = Wire::connect(address);
                for _ in 0..3 {
                    assert_eq!(wire.ask(upload(&name, content)), stored(&name, content.len()));
                    assert!(wire.ask(format!("GET {name}\n")) == got(&name, content), "{name}");
                }
            });
        }
    });
    assert_eq!(folder.names().len(), 50);
}

// ---- one worker, many kinds of clients ----

/// Sends `bytes` again and again as fast as it can.
fn send_on(wire: &Wire, bytes: Vec<u8>) -> Background {
    let mut stream = wire.stream.try_clone().unwrap();
    Background::repeat(move || stream.write_all(&bytes).is_ok())
}

#[test]
fn a_greedy_client_does_not_starve_the_others() {
    for greedy in ["download", "pipelined requests", "refused upload"] {
        let folder = Folder::new();
        folder.write("a", b"A");
        folder.sparse("endless", ENDLESS);
        let server = start(1, &folder, "");
        let mut hog = server.connect();
        hog.send(match greedy {
            "download" => "GET endless\n",
            "refused upload" => "UPLOAD .. ",
            _ => "",
        });
        let moved = Arc::new(AtomicU64::new(0));
        let _reading = Background::read(&hog, moved.clone());
        let _sending = (greedy != "download").then(|| {
            let what = if greedy == "refused upload" {
                b"QUJD".repeat(50_000)
            } else {
                b"GET a\n".repeat(1000)
            };
            send_on(&hog, what)
        });
        if greedy != "refused upload" {
            eventually("it is served", || moved.load(Relaxed) > 1 << 20);
        }
        // 200 small requests, eight at a time. If the greedy one had to be over first, this would take a
        // minute, or for ever.
        let before = moved.load(Relaxed);
        let mut honest: Vec<Wire> = (0..8).map(|_| server.connect()).collect();
        for _ in 0..25 {
            honest.iter_mut().for_each(|wire| wire.send("GET a\n"));
            honest
                .iter_mut()
                .for_each(|wire| assert_eq!(wire.reply(), got("a", b"A"), "{greedy}"));
        }
        let after = moved.load(Relaxed);
        assert!(after < ENDLESS, "{greedy}: the download was over before");
        if greedy != "refused upload" {
            eventually("the greedy one is served too", || moved.load(Relaxed) > before);
        }
        hog.stream.shutdown(Shutdown::Both).unwrap();
    }
}

#[test]
fn small_requests_are_over_before_a_large_download_is() {
    let folder = Folder::new();
    folder.write("a", b"A");
    let size = 64 << 20;
    folder.sparse("large", size);
    let server = start(1, &folder, "");
    let mut large = server.connect();
    large.send("GET large\n");
    let moved = Arc::new(AtomicU64::new(0));
    let _reading = Background::read(&large, moved.clone());
    eventually("the download has begun", || moved.load(Relaxed) > 0);
    // Two hundred in one write, so that the machine's own scheduling has little to do with it.
    let mut small = server.connect();
    small.send("GET a\n".repeat(200));
    for _ in 0..200 {
        assert_eq!(small.reply(), got("a", b"A"));
    }
    let moved_by_then = moved.load(Relaxed);
    assert!(moved_by_then < size / 3 * 4, "the whole download came first");
    // Behind the content and the words around it comes the end mark; then the connection stays open.
    let whole = got("large", b"").len() as u64 + (size.div_ceil(3) * 4) + 4;
    eventually("the download is whole", || moved.load(Relaxed) == whole);
    large.stream.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn slow_and_stuck_clients_and_an_honest_one_share_one_worker() {
    let folder = Folder::new();
    let content = noise(12 << 20, 1);
    folder.write("big", &content);
    let server = start(1, &folder, "");
    let pause = Duration::from_millis(5);
    let mut stuck = server.connect();
    stuck.send("GET big\n");
    let mut slow = server.connect();
    slow.send("GET big\n");
    let mut dripping = begin_upload(&server, &folder, b"UPLOAD dripped QUJD");
    let drip = Background::drip(&dripping, "\n", pause);
    let mut half = server.connect();
    half.send("GET bi");
    let mut slowly = vec![0; 3 << 20];
    for piece in slowly.chunks_mut(64 * 1024) {
        // Each step of the slow reader is one of everybody else.
        slow.stream.read_exact(piece).unwrap();
        let reply = server.ask(upload("quick", piece));
        assert_eq!(reply, stored("quick", 64 * 1024));
        assert!(server.ask("DELETE quick\n").contains("OK"));
    }
    drop(drip);
    dripping.send("RA==\r\n\r\n");
    assert_eq!(dripping.reply(), stored("dripped", 4));
    assert_eq!(folder.read("dripped"), b"ABCD");
    half.send("g\n");
    let expected = got("big", &content);
    assert!(half.reply() == expected);
    assert!(stuck.reply() == expected);
    let rest = slow.try_reply().unwrap();
    assert!([str::from_utf8(&slowly).unwrap(), &rest].concat() == expected);
}

#[test]
fn many_dripping_heads_are_ended_and_the_honest_are_answered_meanwhile() {
    let folder = Folder::new();
    let server = start(1, &folder, "--head-timeout 1");
    let began = Instant::now();
    let mut slow: Vec<Wire> = (0..60).map(|_| server.connect()).collect();
    slow.iter_mut().for_each(|wire| wire.send("GET "));
    let mut streams: Vec<_> = slow.iter().map(|wire| wire.stream.try_clone().unwrap()).collect();
    let dripping = Background::repeat(move || {
        thread::sleep(Duration::from_millis(20));
        // Those who were answered may refuse to hear more.
        streams.iter_mut().for_each(|stream| drop(stream.write_all(b"n")));
        true
    });
    let mut answered = 0;
    while began.elapsed() < Duration::from_millis(1200) {
        let asked = Instant::now();
        assert_eq!(server.ask("LIST\n"), NOTHING);
        // An honest client does not wait for the slow ones.
        assert_took(..Duration::from_millis(900), asked);
        answered += 1;
    }
    assert!(answered > 5, "{answered} answers");
    for wire in &mut slow {
        let reply = wire.reply();
        assert!(reply.starts_with(&refused("timeout")), "{reply}");
    }
    assert_took(Duration::from_millis(950)..SOON, began);
    drop(dripping);
    slow.iter_mut().for_each(Wire::assert_closed);
}

#[test]
fn each_connection_has_a_clock_of_its_own() {
    let folder = Folder::new();
    let server = start(1, &folder, "--idle-timeout 1 --head-timeout 1");
    // Each of these ends, although others begin and are served all the time.
    let busy_folder = folder.join("busy");
    std::fs::write(&busy_folder, b"busy").unwrap();
    let address = server.address;
    let busy = Background::repeat(move || Wire::connect(address).ask("GET busy\n") == got("busy", b"busy"));
    let begin = |first| {
        let (mut wire, began) = (server.connect(), Instant::now());
        wire.send(first);
        (first, wire, began)
    };
    for (first, mut wire, began) in ["", "LIST\n", "GET a", "UPLOAD a QUJD"].map(begin) {
        let expected = match first {
            "" => None,
            "LIST\n" => Some(r#"{"status":"OK","data":["busy"]}"#.to_owned()),
            _ => Some(refused("timeout")),
        };
        if let Some(expected) = expected {
            let reply = wire.reply();
            assert!(reply.starts_with(&expected), "{first:?}: {reply}");
        }
        wire.assert_closed();
        assert_took(Duration::from_millis(950)..SOON, began);
    }
    drop(busy);
    eventually("nothing is left", || folder.names() == ["busy"]);
}

// ---- waiting without working ----

#[test]
fn nobody_is_waited_for_busily() {
    let folder = Folder::new();
    folder.write("big", noise(12 << 20, 1));
    let server = start(2, &folder, "");
    let fresh = server.connect();
    let mut half = server.connect();
    half.send("GET bi");
    let sending = begin_upload(&server, &folder, b"UPLOAD a QUJD");
    let mut stuck = server.connect();
    stuck.send("GET big\n");
    stuck.first_byte();
    // A half-closed peer is readable for ever, and this one does not take what it asked for.
    let mut silent = server.connect();
    silent.send("GET big\n");
    silent.half_close();
    silent.first_byte();
    // And this one has sent more than the server may take before the reply is gone.
    let mut eager = server.connect();
    eager.send("GET big\nLIST\nLIST\n");
    eager.first_byte();
    // One that was refused is listened to until it closes too.
    let mut refused = server.connect();
    refused.send("X".repeat(9000));
    refused.reply();
    thread::sleep(Duration::from_millis(200));
    assert_asleep(&server, "stuck, silent, eager and half-closed clients");
    assert_eq!(threads(server.pid()), 3);
    let rest = silent.try_reply().unwrap();
    assert!(format!("{{{rest}") == got("big", &noise(12 << 20, 1)));
    silent.assert_closed();
    drop((fresh, half, sending, stuck, eager, refused));
    eventually("nothing is left", || folder.names() == ["big"]);
    assert_asleep(&server, "nobody");
}

#[test]
fn running_out_of_descriptors_costs_no_processor_time() {
    let folder = Folder::new();
    folder.write("a", b"A");
    let server = Server::launch("event", 2, folder.path(), "");
    let mut early = server.connect();
    assert_eq!(early.ask("GET a\n"), got("a", b"A"));
    sys::limit_descriptors(server.pid(), 16);
    let full = descriptors(server.pid()) + 16;
    let began = Instant::now();
    let crowd: Vec<Wire> = (0..60).map(|_| server.connect()).collect();
    eventually("it has run out of descriptors", || {
        descriptors(server.pid()) >= full
    });
    assert_asleep(&server, "no descriptors");
    assert!(early.ask("STATS\n").contains("OK"), "those who are in are served");
    drop(crowd);
    let asked = Instant::now();
    assert_eq!(server.ask("GET a\n"), got("a", b"A"));
    assert_took(..SOON, asked);
    assert_eq!(early.ask("GET a\n"), got("a", b"A"));
    drop(early);
    let log = server.stop_with_log();
    let complaints = log.lines().filter(|line| line.contains("cannot accept")).count() as u64;
    assert!(
        (1..=began.elapsed().as_secs() + 2).contains(&complaints),
        "{complaints} complaints: {log}"
    );
}

// ---- clients that vanish ----

#[test]
fn clients_that_vanish_leave_no_descriptor_and_no_file() {
    let folder = Folder::new();
    folder.write("big", noise(4 << 20, 1));
    let server = start(2, &folder, "");
    server.ask("LIST\n");
    eventually("it is quiet", || {
        number(&server.ask("STATS\n"), "connections") >= 2
    });
    let settled = || descriptors(server.pid());
    let mut before = settled();
    eventually("the last connection is closed", || {
        let last = std::mem::replace(&mut before, settled());
        last == before && threads(server.pid()) == 3
    });
    let request = upload("a", &noise(5000, 2));
    for round in 0..200 {
        let mut wire = server.connect();
        match round % 5 {
            // In the middle of an upload, at any byte of it.
            0 | 1 => wire.send(&request[..request.len() * round / 200]),
            // In the middle of a download, with unread bytes: that is a reset.
            2 => {
                wire.send("GET big\n");
                wire.stream.read_exact(&mut [0; 100]).unwrap();
            }
            // Having asked and not waited.
            3 => wire.send("GET big\nLIST\nGET big\n"),
            // Without a word.
            _ => {}
        }
    }
    eventually("all descriptors are back", || descriptors(server.pid()) <= before);
    eventually("no temporary file is left", || folder.names() == ["big"]);
    assert_eq!(number(&server.ask("STATS\n"), "alive"), 2);
    assert!(server.ask("GET big\n") == got("big", &noise(4 << 20, 1)));
}

#[test]
fn a_client_that_is_killed_in_the_middle_of_an_upload_leaves_nothing() {
    let folder = Folder::new();
    folder.write("a", b"old");
    let server = start(2, &folder, "");
    let address = server.address.to_string();
    let before = descriptors(server.pid());
    for round in 0..5 {
        let mut command = kolam(format!("upload - --as a --server {address}"));
        let mut run = Run::start(command.stdin(Stdio::piped()));
        let mut stdin = run.0.stdin.take().unwrap();
        stdin.write_all(&noise(400_000 * round, 1)).unwrap();
        eventually("the upload has begun", || !folder.temporary().is_empty());
        run.signal(libc::SIGKILL);
        run.wait(PATIENCE);
        eventually("no temporary file is left", || folder.names() == ["a"]);
        assert_eq!(folder.read("a"), b"old");
    }
    eventually("all descriptors are back", || descriptors(server.pid()) <= before);
    assert_eq!(server.ask(upload("a", b"new")), stored("a", 3));
}

// ---- stopping ----

#[test]
fn sigterm_closes_the_idle_and_lets_the_active_finish() {
    for workers in [1, 3] {
        let folder = Folder::new();
        let content = noise(12 << 20, 1);
        folder.write("big", &content);
        let server = start(workers, &folder, "--grace 60");
        let mut idle: Vec<Wire> = (0..50).map(|_| server.connect()).collect();
        idle.iter_mut().for_each(|wire| drop(wire.ask("LIST\n")));
        let mut reading = server.connect();
        reading.send("GET big\nLIST\n");
        reading.first_byte();
        let request = upload("a", &noise(500_000, 2));
        let (first, second) = request.split_at(request.len() / 2);
        let mut writing = begin_upload(&server, &folder, first);
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        // The idle go at once, while both transfers are still under way.
        idle.iter_mut().for_each(Wire::assert_closed);
        assert_eq!(writing.ask(second), stored("a", 500_000));
        writing.assert_closed();
        let rest = reading.try_reply().unwrap();
        assert!(format!("{{{rest}") == got("big", &content));
        let reply = reading.reply();
        assert!(reply.starts_with(&refused("server stopping")), "{reply}");
        reading.assert_closed();
        drop((idle, reading, writing));
        assert_eq!(server.finish(PATIENCE), "");
        assert!(folder.read("a") == noise(500_000, 2));
        assert_eq!(folder.names(), ["a", "big"]);
    }
}

#[test]
fn a_download_that_ends_late_in_the_grace_arrives_although_its_client_has_sent_on() {
    let folder = Folder::new();
    let content = noise(6 << 20, 1);
    folder.write("big", &content);
    let server = start(1, &folder, "--grace 10");
    let mut wire = server.connect();
    wire.send("GET big\n");
    let mut text = vec![0; 64 * 1024];
    wire.stream.read_exact(&mut text).unwrap();
    // Never heard: closing on it in haste would be a reset, which destroys what is still on its way.
    wire.send("LIST\n");
    server.signal(libc::SIGTERM);
    server.wait_until_closed();
    // Longer than connections are waited for that are over when the request to stop comes.
    let [pause, long] = [40, 2200].map(Duration::from_millis);
    text.extend(wire.read_slowly(32 * 1024, pause, long));
    text.extend(wire.rest().unwrap());
    let reply = [got("big", &content).as_bytes(), b"\r\n\r\n"].concat();
    assert!(
        text.starts_with(&reply),
        "{} of {} bytes",
        text.len(),
        reply.len()
    );
    drop(wire);
    server.finish(PATIENCE);
}

#[test]
fn the_grace_ends_the_stuck_and_only_them() {
    let folder = Folder::new();
    let content = noise(12 << 20, 1);
    folder.write("big", &content);
    // How long the download takes depends on the machine: after a grace that was too short, a longer one.
    let graces = [1, 4, 15].map(Duration::from_secs);
    let whole = graces
        .into_iter()
        .find(|&grace| is_sent_beside_the_stuck(&folder, &content, grace));
    assert!(whole.is_some(), "it is not sent whole within any of {graces:?}");
}

/// Stops a server while one client reads `big` and ten do not: has the one all of it when the grace ends?
fn is_sent_beside_the_stuck(folder: &Folder, content: &[u8], grace: Duration) -> bool {
    let server = start(1, folder, &format!("--grace {}", grace.as_secs()));
    let stuck: Vec<Wire> = (0..10)
        .map(|_| {
            let mut wire = server.connect();
            wire.send("GET big\n");
            wire
        })
        .collect();
    let mut good = server.connect();
    good.send("GET big\n");
    good.first_byte();
    let began = Instant::now();
    server.signal(libc::SIGTERM);
    let whole = match good.try_reply() {
        Ok(rest) => {
            assert!(
                format!("{{{rest}") == got("big", content),
                "what is whole is right"
            );
            true
        }
        Err(_) => {
            assert_took(grace * 9 / 10.., began);
            false
        }
    };
    drop(good);
    assert_eq!(server.finish(PATIENCE), "");
    // As long as the grace, and not for ever.
    assert_took(grace * 9 / 10.., began);
    for mut wire in stuck {
        match wire.rest() {
            Ok(part) => assert!(part.len() < content.len()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    whole
}

#[test]
fn one_connection_too_many_is_refused_and_the_rest_is_served() {
    let folder = Folder::new();
    let server = start(2, &folder, "--max-connections 30");
    let mut seated: Vec<Wire> = (0..30).map(|_| server.connect()).collect();
    seated
        .iter_mut()
        .for_each(|wire| assert_eq!(wire.ask("LIST\n"), NOTHING));
    let began = Instant::now();
    let mut others: Vec<Wire> = (0..60).map(|_| server.connect()).collect();
    for wire in &mut others {
        let reply = wire.reply();
        assert!(reply.starts_with(&refused("server busy")), "{reply}");
    }
    assert_took(..SOON, began);
    seated
        .iter_mut()
        .for_each(|wire| assert_eq!(wire.ask("LIST\n"), NOTHING));
    others.iter_mut().for_each(Wire::assert_closed);
    drop((seated, others));
    eventually("there is room again", || server.ask("LIST\n") == NOTHING);
}

#[test]
fn a_mistyped_event_is_guessed() {
    assert_usage("serve --mode evnet => evnet | did you mean event?");
}
