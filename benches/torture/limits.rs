//! What do the limits promise? That a client which is slow, greedy or stuck costs what was said and no more: time,
//! memory, descriptors, places.

use crate::site::{Place, Site, at_once, everywhere, in_turn, is_whole, places, worst};
use crate::support::http::{self, Http};
use crate::support::{
    Background, Folder, MODES, PROTOCOLS, Wire, abandoned, eventually, noise, processor_time, resident, sys,
};
use crate::trial::{Trial, Verdict, joined, require, shown};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

// ---- Time ----

/// Promise 5: clients that send a byte a second, and honest ones beside them.
pub fn slow_heads_are_bounded(trial: Trial) -> Verdict {
    const WORKERS: usize = 4;
    const LIMIT: Duration = Duration::from_secs(2);
    let crowd = trial.at_least(4, 20);
    let found = at_once(&places(MODES, PROTOCOLS), |place, folder| {
        folder.write("a", b"kolam");
        let server = place.case.serve(folder, WORKERS, "--head-timeout 2");
        let hands = place.hands(WORKERS);
        let address = server.address;
        thread::scope(|scope| {
            let slow = |_| scope.spawn(move || drip_a_head(place, address));
            let slow: Vec<_> = (0..crowd + hands.max(1)).map(slow).collect();
            let honest = scope.spawn(move || ask_until(place, address, LIMIT * 3));
            let mut ends: Vec<Duration> = slow.into_iter().map(joined).collect();
            ends.sort_unstable();
            // A worker takes the next slow client when it is done with one: each costs it the limit.
            let late = |at: usize| match hands {
                0 => ends[at],
                _ => {
                    ends[at]
                        - if at < hands {
                            Duration::ZERO
                        } else {
                            ends[at - hands]
                        }
                }
            };
            let each = (0..ends.len()).map(late);
            let off = each.map(|time| time.abs_diff(LIMIT)).max().unwrap();
            (off, joined(honest))
        })
    });
    let mut wrong = Vec::new();
    let (place, off) = worst(found.iter().map(|(place, (off, _))| (*place, *off)));
    require(&mut wrong, off <= Duration::from_secs(1), || {
        format!("{place}: closed {} off", shown(off))
    });
    let honest: usize = found.iter().map(|(_, (_, times))| times.len()).sum();
    let event = found.iter().filter(|(place, _)| place.case.mode == "event");
    let slowest = event.flat_map(|(_, (_, times))| times).max().copied().unwrap();
    require(&mut wrong, slowest <= Duration::from_millis(100), || {
        "event mode keeps others waiting".to_owned()
    });
    let figures = format!(
        "closed {} off the limit at most; {honest} of {honest} honest requests answered, in event mode within {}",
        shown(off),
        shown(slowest)
    );
    Verdict::of(figures, &wrong)
}

/// Sends a byte of a head each second until the server says `timeout`; how long that takes.
fn drip_a_head(place: Place, address: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut peer = Http::connect(address);
    peer.stream
        .set_read_timeout(Some(Duration::from_secs(600)))
        .unwrap();
    let request = place.case.get(&"a".repeat(500));
    let mut stream = peer.stream.try_clone().unwrap();
    let mut bytes = request.into_iter();
    let dripping = Background::repeat(move || {
        let sent = bytes.next().is_some_and(|byte| stream.write_all(&[byte]).is_ok());
        thread::sleep(Duration::from_secs(1));
        sent
    });
    let answer = place.case.answer(&mut peer, b"GET ");
    let took = began.elapsed();
    place.case.assert_refused(answer, 408, "timeout");
    drop(peer);
    drop(dripping);
    took
}

/// Asks once a second; how long each answer takes.
fn ask_until(place: Place, address: SocketAddr, time: Duration) -> Vec<Duration> {
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed() < time {
        let asked = Instant::now();
        let mut peer = Http::connect(address);
        // In modes where a worker serves one connection, it may have to wait for all the slow ones.
        peer.stream
            .set_read_timeout(Some(Duration::from_secs(600)))
            .unwrap();
        place.case.ask(&mut peer, &place.case.get("a")).unwrap();
        times.push(asked.elapsed());
        thread::sleep(Duration::from_secs(1).saturating_sub(asked.elapsed()));
    }
    times
}

/// Promise 6: transfers at 100 KB a second, and clients that stop in the middle.
pub fn slow_transfers_live(trial: Trial) -> Verdict {
    let content = noise(trial.at_least(600_000, 10 << 20), 1);
    let found = at_once(&everywhere(), |place, folder| {
        folder.write("a", &content);
        folder.write("large", noise(40 << 20, 2));
        let site = place.serve(folder, 4, "--idle-timeout 5", "--idle-timeout 5");
        if place.case.mode == "single" {
            // One after another: it has one pair of hands.
            download_slowly(place, site.address, &content);
            upload_slowly(place, site.address, folder, &content);
            return [
                stop_reading(place, site.address),
                stop_sending(place, site.address),
            ];
        }
        thread::scope(|scope| {
            let (address, content) = (site.address, &content);
            scope.spawn(move || download_slowly(place, address, content));
            scope.spawn(move || upload_slowly(place, address, folder, content));
            let reader = scope.spawn(move || stop_reading(place, address));
            [joined(reader), stop_sending(place, address)]
        })
    });
    let limit = Duration::from_secs(5);
    let off = found
        .iter()
        .flat_map(|(place, times)| times.map(|time| (*place, time.abs_diff(limit))));
    let (place, off) = worst(off);
    let mut wrong = Vec::new();
    require(&mut wrong, off <= Duration::from_secs(1), || {
        format!("{place}: closed {} off", shown(off))
    });
    let figures = format!(
        "{} transfers of {} KiB arrived; {} that stopped closed {} off the limit at most",
        found.len() * 2,
        content.len() >> 10,
        found.len() * 2,
        shown(off)
    );
    Verdict::of(figures, &wrong)
}

/// Between two pieces of a tenth of a second's bytes.
const STEP: Duration = Duration::from_millis(100);

fn download_slowly(place: Place, address: SocketAddr, content: &[u8]) {
    let mut peer = Wire::connect(address);
    peer.take_little();
    peer.send(place.case.get("a"));
    peer.half_close();
    let mut reply = Vec::new();
    let mut piece = vec![0; 10_000];
    loop {
        // A step's bytes, however they come in pieces.
        let mut filled = 0;
        while filled < piece.len() {
            match peer
                .stream
                .read(&mut piece[filled..])
                .expect("a slow reader is cut")
            {
                0 => break,
                count => filled += count,
            }
        }
        reply.extend_from_slice(&piece[..filled]);
        if filled < piece.len() {
            break;
        }
        thread::sleep(STEP);
    }
    assert!(
        is_whole(place.case, "a", content, &reply),
        "a slow reader got {} bytes of something else: {:?}",
        reply.len(),
        String::from_utf8_lossy(&reply[..reply.len().min(100)])
    );
}

fn upload_slowly(place: Place, address: SocketAddr, folder: &Folder, content: &[u8]) {
    let mut peer = Http::connect(address);
    let request = place.case.puts("b", content).remove(0);
    for piece in request.chunks(10_000) {
        peer.send(piece);
        thread::sleep(STEP);
    }
    place.case.answer(&mut peer, &request).unwrap();
    assert!(folder.read("b") == content);
}

/// How long a client that does not read any more is waited for.
fn stop_reading(place: Place, address: SocketAddr) -> Duration {
    let mut peer = Wire::connect(address);
    peer.take_little();
    peer.send(place.case.get("large"));
    peer.first_byte();
    // Until the buffers on the way are full.
    thread::sleep(Duration::from_millis(300));
    time_until_abandoned(&peer)
}

/// How long a client that stops in its upload is waited for.
fn stop_sending(place: Place, address: SocketAddr) -> Duration {
    let mut peer = Wire::connect(address);
    let request = place.case.puts("c", &noise(10_000, 3)).remove(0);
    peer.send(&request[..5000]);
    time_until_abandoned(&peer)
}

fn time_until_abandoned(peer: &Wire) -> Duration {
    let began = Instant::now();
    eventually("the connection is closed", || abandoned(&peer.stream));
    began.elapsed()
}

// ---- Replies at a limit ----

/// Promise 7: endless heads and uploads over the limit, by clients that read only when they have sent all.
pub fn limits_are_answered(trial: Trial) -> Verdict {
    let rounds = trial.at_least(10, 100);
    let found = in_turn(&places(MODES, PROTOCOLS), |place, folder| {
        let server = place.case.serve(folder, 2, "--max-upload 100K");
        let once = |round: usize| {
            let endless = if round.is_multiple_of(2) {
                endless_head(place)
            } else {
                too_large(place)
            };
            let (request, status, reason) = endless;
            let mut peer = server.http();
            peer.send(&request);
            place
                .case
                .assert_refused(place.case.answer(&mut peer, &request[..4]), status, reason);
        };
        // Every worker has served both.
        (0..40).for_each(once);
        let memory = || server.family().into_iter().map(resident).sum::<u64>();
        let before = memory();
        (0..2 * rounds).for_each(once);
        memory().saturating_sub(before)
    });
    let (place, grown) = worst(found.iter().copied());
    let mut wrong = Vec::new();
    require(&mut wrong, grown <= 1024, || format!("{place}: {grown} KiB more"));
    let all = 2 * rounds * found.len();
    Verdict::of(
        format!("{all} of {all} errors read; {grown} KiB more memory at most"),
        &wrong,
    )
}

/// The bytes that are sent after the limit was passed: more than a socket takes in advance.
const FLOOD: usize = 2 << 20;

fn endless_head(place: Place) -> (Vec<u8>, u16, &'static str) {
    let target = vec![b'a'; FLOOD];
    match place.case.is_http() {
        true => ([b"GET /".as_slice(), &target].concat(), 414, ""),
        false => ([b"GET ".as_slice(), &target].concat(), 0, "request too long"),
    }
}

fn too_large(place: Place) -> (Vec<u8>, u16, &'static str) {
    let content = vec![0; FLOOD];
    match place.case.is_http() {
        true => (http::put_chunked("/a", &content, &[60_000]), 413, ""),
        false => (crate::support::upload("a", &content), 0, "file too large"),
    }
}

/// Promise 26: more connections than allowed.
pub fn a_full_server_says_so(trial: Trial) -> Verdict {
    const LIMIT: usize = 100;
    let crowd = trial.at_least(200, 1000);
    // In the others, no more are open than there are workers; the rest wait in the kernel's queue.
    let found = in_turn(&places(&["thread", "event"], PROTOCOLS), |place, folder| {
        folder.write("a", b"kolam");
        let server = place.case.serve(folder, 4, "--max-connections 100");
        let connect = |_| server.http();
        let mut inside: Vec<Http> = (0..LIMIT).map(connect).collect();
        if place.case.mode == "event" {
            inside
                .iter_mut()
                .for_each(|peer| drop(place.case.ask(peer, &place.case.get("a")).unwrap()));
        }
        let mut slowest = Duration::ZERO;
        for _ in LIMIT..crowd {
            let began = Instant::now();
            let mut peer = server.http();
            let answer = place.case.answer(&mut peer, b"GET ");
            slowest = slowest.max(began.elapsed());
            place.case.assert_refused(answer, 503, "server busy");
        }
        drop(inside);
        eventually("there is room again", || {
            place.case.ask(&mut server.http(), &place.case.get("a")).is_ok()
        });
        slowest
    });
    let (place, slowest) = worst(found.iter().copied());
    let mut wrong = Vec::new();
    require(&mut wrong, slowest <= Duration::from_millis(100), || {
        format!("{place} is slow")
    });
    let refused = found.len() * (crowd - LIMIT);
    Verdict::of(
        format!(
            "{refused} of {refused} told `server busy`, within {}",
            shown(slowest)
        ),
        &wrong,
    )
}

// ---- Descriptors, and the queue of the kernel ----

/// Promise 13: 32 descriptors, 200 connections that say nothing.
pub fn descriptors_may_run_out(trial: Trial) -> Verdict {
    let time = trial.seconds(10);
    let found = at_once(&everywhere(), |place, folder| {
        folder.write("a", b"kolam");
        let quiet = if place.balanced { "--quiet" } else { "" };
        let words = format!("--idle-timeout 60 --head-timeout 60 {quiet}");
        let site = Site::with_log(place, folder, 4, &words, "");
        site.family()
            .into_iter()
            .for_each(|pid| _ = sys::limit(pid, libc::RLIMIT_NOFILE, 32));
        let crowd: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect(site.address).unwrap())
            .collect();
        // What the first moments cost is not what waiting costs.
        thread::sleep(Duration::from_millis(500));
        let used = || site.family().into_iter().map(processor_time).sum::<Duration>();
        let before = used();
        thread::sleep(time);
        let load = (used() - before).as_secs_f64() / time.as_secs_f64() * 100.0;
        drop(crowd);
        let began = Instant::now();
        place.case.ask(&mut site.http(), &place.case.get("a")).unwrap();
        let back = began.elapsed();
        (load, back, site.end())
    });
    let (busiest, load) = worst(found.iter().map(|(place, (load, ..))| (*place, *load)));
    let (slowest, back) = worst(found.iter().map(|(place, (_, back, _))| (*place, *back)));
    let lines = |log: &str| {
        log.lines()
            .filter(|line| line.contains("descriptors") || line.contains("open files"))
            .count()
    };
    let (loudest, said) = worst(found.iter().map(|(place, (.., log))| (*place, lines(log))));
    let most = time.as_secs() as usize + 2;
    let mut wrong = Vec::new();
    require(&mut wrong, load <= 2.0, || format!("{busiest} is busy"));
    require(&mut wrong, back <= Duration::from_secs(1), || {
        format!("{slowest} serves late")
    });
    require(&mut wrong, said <= most, || format!("{loudest}: {said} lines"));
    let figures = format!(
        "{load:.1} % of a core at most ({busiest}), {said} lines in {}, serves again after {}",
        shown(time),
        shown(back)
    );
    Verdict::of(figures, &wrong)
}

/// Promise 21: a thousand connections at once for one worker.
pub fn the_backlog_holds(trial: Trial) -> Verdict {
    let crowd = trial.at_least(300, 1000);
    assert!(sys::may_hold_a_thousand(), "ulimit -n is too low");
    let overflows = overflows();
    let found = in_turn(&everywhere(), |place, folder| {
        folder.write("a", b"kolam");
        let site = place.serve(folder, 1, "", "--workers 1");
        let began = Instant::now();
        let mut peers: Vec<TcpStream> = (0..crowd)
            .map(|_| crate::site::connect(site.address).unwrap())
            .collect();
        for peer in &mut peers {
            peer.write_all(&place.case.get("a")).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        }
        for peer in &mut peers {
            let mut reply = Vec::new();
            peer.read_to_end(&mut reply).unwrap();
            assert!(
                is_whole(place.case, "a", b"kolam", &reply),
                "{}",
                String::from_utf8_lossy(&reply)
            );
        }
        began.elapsed()
    });
    let (_, slowest) = worst(found.iter().copied());
    let overflows = self::overflows() - overflows;
    let mut wrong = Vec::new();
    require(&mut wrong, overflows == 0, || {
        "the queue has overflown".to_owned()
    });
    let all = crowd * found.len();
    let figures = format!(
        "{all} of {all} served, {crowd} at once within {}; {overflows} overflows",
        shown(slowest)
    );
    Verdict::of(figures, &wrong)
}

/// Connections that the kernel has dropped because a queue was full (proc_net_netstat): of this namespace.
fn overflows() -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let [names, values] = [lines.next().unwrap(), lines.next().unwrap()];
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "ListenOverflows").unwrap();
    found.1.parse().unwrap()
}
