//! What do clients cost that come and go? Nothing that stays: no descriptor, no memory, no worker, no temporary file.

use crate::site::{Asked, Place, Site, ask, connect, everywhere, exchange, in_turn, worst};
use crate::support::{descriptors, eventually, noise, watch};
use crate::tools::reset;
use crate::trial::{Trial, Verdict, require};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;

const WORKERS: usize = 4;

/// Random numbers that differ for each round.
fn random(round: usize, below: usize) -> usize {
    let bytes = noise(8, round as u64 + 1);
    let number = bytes
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (number % below as u64) as usize
}

/// Descriptors of each process.
fn open(site: &Site) -> Vec<usize> {
    site.family().into_iter().map(descriptors).collect()
}

/// KiB of all processes that no file backs, heaps and stacks. Pages of the program come and go with the cache of
/// the kernel.
fn memory(site: &Site) -> u64 {
    let anonymous = |pid| watch::memory(pid, "RssAnon:");
    site.family().into_iter().map(anonymous).sum()
}

/// Promise 15: resets at random bytes of downloads and uploads.
pub fn clients_may_vanish(trial: Trial) -> Verdict {
    let resets = trial.at_least(50, 1000);
    let large = noise(300_000, 1);
    let found = in_turn(&everywhere(), |place, folder| {
        folder.write("a", &large);
        let site = place.serve(folder, WORKERS, "", "");
        let upload = place.case.puts("b", &noise(60_000, 2)).remove(0);
        (0..20).for_each(|round| vanish(place, site.address, &upload, round));
        eventually("the server answers", || {
            ask(place.case, site.address, "a", &large) == Asked::Whole
        });
        let workers = site.server.workers();
        let before = settled(&site, 0);
        (20..20 + resets).for_each(|round| vanish(place, site.address, &upload, round));
        // As many at once as there are workers, each on a connection that another one has to serve.
        let mut peers: Vec<_> = (0..place.hands(WORKERS).max(1)).map(|_| site.http()).collect();
        for peer in &mut peers {
            place.case.ask(peer, &place.case.get("none")).unwrap_err();
        }
        drop(peers);
        let left = settled(&site, before.iter().sum());
        assert_eq!(site.server.workers(), workers, "a worker has ended");
        eventually("no temporary file is left", || folder.temporary().is_empty());
        left.iter().sum::<usize>().abs_diff(before.iter().sum())
    });
    let (place, more) = worst(found.iter().copied());
    let mut wrong = Vec::new();
    require(&mut wrong, more == 0, || format!("{place}: {more} descriptors"));
    let all = resets * found.len();
    Verdict::of(
        format!("{all} resets: {more} descriptors more, all workers serve, 0 temporary files"),
        &wrong,
    )
}

/// Resets a connection after a random number of bytes: every second time of a reply, else of an upload.
fn vanish(place: Place, address: SocketAddr, upload: &[u8], round: usize) {
    let mut stream = connect(address).unwrap();
    if round.is_multiple_of(2) {
        stream.write_all(&place.case.get("a")).unwrap();
        let count = random(round, 300_000);
        let _ = (&mut stream).take(count as u64).read_to_end(&mut Vec::new());
    } else {
        // The server may close first, when the rest of an upload before it was taken for a request.
        let _ = stream.write_all(&upload[..random(round, upload.len())]);
    }
    reset(stream);
}

/// The descriptors of each process, when connections that are over have been closed.
fn settled(site: &Site, expected: usize) -> Vec<usize> {
    let mut last = open(site);
    crate::system::within(crate::system::PATIENCE, || {
        thread::sleep(std::time::Duration::from_millis(50));
        let now = open(site);
        let steady = now == last && (expected == 0 || now.iter().sum::<usize>() == expected);
        last = now;
        steady
    });
    last
}

/// Promise 18: requests of all kinds, a tenth of them cut off.
pub fn nothing_leaks(trial: Trial) -> Verdict {
    let requests = trial.at_least(10_000, 20_000);
    let found = in_turn(&everywhere(), |place, folder| {
        folder.write("a", noise(5_000, 1));
        let site = place.serve(folder, WORKERS, "", "");
        let small = place.case.puts("b", &noise(20_000, 2)).remove(0);
        let ask = |range: std::ops::Range<usize>| {
            range.for_each(|round| one_of_many(place, site.address, &small, round));
            (settled(&site, 0).iter().sum::<usize>(), memory(&site))
        };
        let first = ask(0..requests / 4);
        let last = ask(requests / 4..requests);
        (last.0.abs_diff(first.0), last.1.abs_diff(first.1))
    });
    let (place, more) = worst(found.iter().map(|(place, (more, _))| (*place, *more)));
    let (heavy, grown) = worst(found.iter().map(|(place, (_, grown))| (*place, *grown)));
    let mut wrong = Vec::new();
    require(&mut wrong, more == 0, || format!("{place}: {more} descriptors"));
    require(&mut wrong, grown <= 1024, || format!("{heavy}: {grown} KiB"));
    let all = requests * found.len();
    let figures = format!(
        "{all} requests: descriptors ± {more}, memory ± {grown} KiB ({heavy}) after the first quarter"
    );
    Verdict::of(figures, &wrong)
}

fn one_of_many(place: Place, address: SocketAddr, upload: &[u8], round: usize) {
    let request = match round % 5 {
        0 => upload.to_vec(),
        1 => place.case.get("none"),
        2 if place.case.is_http() => crate::support::http::get("/").into(),
        2 => b"LIST\n".to_vec(),
        3 if round.is_multiple_of(2) => place.case.delete("b"),
        _ => place.case.get("a"),
    };
    if random(round, 10) == 0 {
        let mut stream = connect(address).unwrap();
        let _ = stream.write_all(&request[..random(round, request.len())]);
        return reset(stream);
    }
    let reply = exchange(address, &request).unwrap();
    assert!(
        !reply.is_empty(),
        "no answer to {}",
        String::from_utf8_lossy(&request[..20])
    );
}
