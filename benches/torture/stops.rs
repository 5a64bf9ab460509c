//! What does a stop promise? Transfers in progress arrive, nothing new begins, a stuck client is waited for as long as
//! was said, and a second signal is heard at once.

use crate::site::{Place, Site, at_once, everywhere, in_turn, is_whole, worst};
use crate::support::http::Http;
use crate::support::{Folder, Wire, eventually, noise};
use crate::tools::slow_down;
use crate::trial::{Trial, Verdict, joined, require, shown};
use std::fs;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Transfers in progress when the signal comes.
const TRANSFERS: usize = 20;

/// Promise 4: SIGTERM beside transfers over a slow link; stuck clients; a second signal.
pub fn a_stop_is_graceful(trial: Trial) -> Verdict {
    let stuck = at_once(&everywhere(), |place, folder| {
        [
            stop_beside_a_stuck_client(place, folder),
            stop_twice(place, folder),
        ]
    });
    // Twenty transfers then take a few seconds.
    slow_down("160mbit");
    let size = trial.at_least(200_000, 2 << 20);
    let moved = in_turn(&everywhere(), |place, folder| {
        stop_beside_transfers(place, folder, size)
    });
    let mut wrong = Vec::new();
    let limit = Duration::from_secs(3);
    let (place, off) = worst(
        stuck
            .iter()
            .map(|(place, times)| (*place, times[0].abs_diff(limit))),
    );
    require(&mut wrong, off <= Duration::from_secs(1), || {
        format!("{place}: stuck {} off", shown(off))
    });
    let (place, second) = worst(stuck.iter().map(|(place, times)| (*place, times[1])));
    require(&mut wrong, second <= Duration::from_millis(200), || {
        format!("{place}: the second signal")
    });
    let (place, closed) = worst(moved.iter().map(|(place, (_, closed))| (*place, *closed)));
    require(&mut wrong, closed <= Duration::from_millis(100), || {
        format!("{place}: listens on")
    });
    let right: usize = moved.iter().map(|(_, (right, _))| right).sum();
    let figures = format!(
        "{right} of {right} transfers right, exit 0; listener closed after {}; a stuck client {} off the limit; \
         second signal {}",
        shown(closed),
        shown(off),
        shown(second)
    );
    Verdict::of(figures, &wrong)
}

/// Waits until the front has ended with this code; how long that took since `began`.
fn ended(mut site: Site, code: i32, began: Instant) -> Duration {
    let found = site.wait();
    let took = began.elapsed();
    assert_eq!(found, Some(code), "its exit code");
    took
}

/// A client that stops in the middle of an upload.
fn stuck_client(place: Place, site: &Site, folder: &Folder, name: &str) -> Wire {
    let mut peer = Wire::connect(site.address);
    let request = place.case.puts(name, &noise(10_000, 3)).remove(0);
    peer.send(&request[..5000]);
    eventually("the upload has begun", || folder.temporary().len() == 1);
    peer
}

fn stop_beside_a_stuck_client(place: Place, folder: &Folder) -> Duration {
    let site = place.serve(folder, 2, "--grace 3", "--grace 3");
    let peer = stuck_client(place, &site, folder, "a");
    let began = Instant::now();
    site.signal(libc::SIGTERM);
    let took = ended(site, 0, began);
    drop(peer);
    eventually("no temporary file is left", || folder.names().is_empty());
    took
}

fn stop_twice(place: Place, folder: &Folder) -> Duration {
    let site = place.serve(folder, 2, "--grace 60", "--grace 60");
    let peer = stuck_client(place, &site, folder, "b");
    site.signal(libc::SIGTERM);
    eventually("it listens no more", || !listens(site.address));
    let began = Instant::now();
    site.signal(libc::SIGTERM);
    let took = ended(site, 130, began);
    drop(peer);
    took
}

/// How many transfers have arrived, and how long after the signal nothing new could begin.
fn stop_beside_transfers(place: Place, folder: &Folder, size: usize) -> (usize, Duration) {
    let content = noise(size, 1);
    folder.write("a", &content);
    let site = place.serve(folder, TRANSFERS, "--grace 60", "--grace 60");
    let count = if place.case.mode == "single" { 1 } else { TRANSFERS };
    let (begun, go_on) = (AtomicUsize::new(0), Barrier::new(count + 1));
    let address = site.address;
    thread::scope(|scope| {
        let start = |number: usize| {
            let (content, begun, go_on) = (&content, &begun, &go_on);
            scope.spawn(move || match number % 2 {
                0 => download(place, address, content, begun, go_on),
                _ => upload(place, address, &format!("new-{number}"), content, begun, go_on),
            })
        };
        let transfers: Vec<_> = (0..count).map(start).collect();
        let uploads = || folder.temporary().len() == count / 2;
        eventually("all have begun", || begun.load(SeqCst) == count && uploads());
        let told = Instant::now();
        site.signal(libc::SIGTERM);
        eventually("it listens no more", || !listens(address));
        let closed = told.elapsed();
        go_on.wait();
        transfers.into_iter().for_each(joined);
        for number in (0..count).filter(|number| number % 2 == 1) {
            assert!(
                folder.read(&format!("new-{number}")) == content,
                "an upload has other content"
            );
        }
        ended(site, 0, told);
        (count, closed)
    })
}

fn download(place: Place, address: SocketAddr, content: &[u8], begun: &AtomicUsize, go_on: &Barrier) {
    let mut peer = Wire::connect(address);
    peer.send(place.case.get("a"));
    peer.half_close();
    let first = peer.first_byte();
    begun.fetch_add(1, SeqCst);
    go_on.wait();
    let rest = peer.rest().unwrap();
    assert!(
        is_whole(place.case, "a", content, &[&[first], &rest[..]].concat()),
        "a download is cut"
    );
}

fn upload(
    place: Place,
    address: SocketAddr,
    name: &str,
    content: &[u8],
    begun: &AtomicUsize,
    go_on: &Barrier,
) {
    let mut peer = Http::connect(address);
    let request = place.case.puts(name, content).remove(0);
    let (first, second) = request.split_at(request.len() / 2);
    peer.send(first);
    begun.fetch_add(1, SeqCst);
    go_on.wait();
    peer.send(second);
    place.case.answer(&mut peer, &request).unwrap();
}

/// Does anything listen there? The list of the kernel tells (proc_pid_net(5)): state 0A.
fn listens(address: SocketAddr) -> bool {
    let port = format!(":{:04X}", address.port());
    let is_it = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        words.len() == 4 && words[1].ends_with(&port) && words[3] == "0A"
    };
    fs::read_to_string("/proc/net/tcp").unwrap().lines().any(is_it)
}
