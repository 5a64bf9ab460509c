//! What is promised about files? An upload is all or nothing, a full disk is an answer, memory does not follow the
//! size of a file, the disk has what was answered with OK.

use crate::site::{Place, everywhere, exchange, in_turn, is_whole};
use crate::support::{Background, Disk, Folder, MODES, PROTOCOLS, SOON, Tracer, noise, stored};
use crate::trial::{Trial, Verdict, require};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Promise 10: overwrites beside readers, then kill -9 of everything at any time.
pub fn an_upload_is_all_or_nothing(trial: Trial) -> Verdict {
    let (overwrites, kills) = (trial.at_least(20, 1000), trial.at_least(10, 300));
    let contents = Arc::new([noise(200_000, 1), noise(300_000, 2)]);
    let found = in_turn(&everywhere(), |place, folder| {
        let read = overwrite(place, folder, &contents, overwrites);
        if !place.balanced {
            kill_all(place, folder, &contents, kills);
        }
        read
    });
    let (reads, places) = (found.iter().map(|(_, reads)| reads).sum::<usize>(), found.len());
    let mut wrong = Vec::new();
    require(&mut wrong, reads > places * overwrites / 10, || {
        "too few reads".to_owned()
    });
    let figures = format!(
        "{} overwrites, {reads} reads and {} kills: all old or all new, 0 temporary files",
        overwrites * places,
        kills * MODES.len() * PROTOCOLS.len()
    );
    Verdict::of(figures, &wrong)
}

/// Replaces one content with the other, again and again; counts what readers have read meanwhile.
fn overwrite(place: Place, folder: &Folder, contents: &Arc<[Vec<u8>; 2]>, times: usize) -> usize {
    folder.write("a", &contents[0]);
    let site = place.serve(folder, 6, "", "");
    let reads = Arc::new(AtomicUsize::new(0));
    let reader = |_| {
        let (contents, address, reads) = (contents.clone(), site.address, reads.clone());
        Background::repeat(move || {
            let reply = exchange(address, &place.case.get("a")).unwrap();
            let whole = contents
                .iter()
                .any(|content| is_whole(place.case, "a", content, &reply));
            assert!(whole, "a reader has got {} bytes of neither", reply.len());
            reads.fetch_add(1, SeqCst);
            true
        })
    };
    let readers: Vec<Background> = (0..4).map(reader).collect();
    for round in 1..=times {
        let content = &contents[round % 2];
        put(place, site.address, content);
        assert!(folder.read("a") == *content, "OK, and another content in place");
    }
    drop(readers);
    reads.load(SeqCst)
}

/// An upload that must be answered well.
fn put(place: Place, address: SocketAddr, content: &[u8]) {
    let request = place.case.puts("a", content).remove(0);
    let reply = exchange(address, &request).unwrap();
    let good = match place.case.is_http() {
        true => reply.starts_with(b"HTTP/1.1 20"),
        false => reply.starts_with(stored("a", content.len()).as_bytes()),
    };
    assert!(good, "{}", String::from_utf8_lossy(&reply));
}

/// Kills the server with all its workers at a random moment of an upload.
fn kill_all(place: Place, folder: &Folder, contents: &[Vec<u8>; 2], times: usize) {
    for round in 0..times {
        let mut server = place.case.serve(folder, 2, "");
        let (address, request) = (
            server.address,
            place.case.puts("a", &contents[round % 2]).remove(0),
        );
        let uploads =
            thread::spawn(move || while exchange(address, &request).is_ok_and(|reply| !reply.is_empty()) {});
        let random = noise(8, round as u64 + 1);
        // Up to 8 ms: some uploads are over by then.
        let pause = u64::from(u16::from_le_bytes([random[0], random[1]])) / 8;
        thread::sleep(Duration::from_micros(pause));
        let family = server.family();
        family
            .iter()
            .rev()
            .for_each(|&pid| crate::support::signal(pid, libc::SIGKILL));
        server.wait(SOON);
        uploads.join().unwrap();
        let there = folder.read("a");
        assert!(
            contents.contains(&there),
            "round {round}: {} bytes of neither",
            there.len()
        );
    }
    place.case.serve(folder, 2, "").stop();
    assert_eq!(folder.names(), ["a"], "a start removes what was left");
}

/// Promise 12: a file system of 20 MiB, then writes that fail for other reasons.
pub fn a_full_disk_is_an_answer(trial: Trial) -> Verdict {
    let rounds = trial.times(5);
    let found = in_turn(&everywhere(), |place, folder| {
        let disk = Disk::mount(folder, "20m").expect("the disk of this promise");
        let old = noise(1 << 20, 1);
        folder.write("a", &old);
        let site = place.serve(folder, 2, "", "");
        let refused = |size: usize, status: u16, reason: &str| {
            let request = place.case.puts("a", &noise(size, 2)).remove(0);
            let answer = place.case.ask(&mut site.http(), &request);
            place.case.assert_refused(answer, status, reason);
            folder.assert_only("a", &old);
        };
        for _ in 0..rounds {
            refused(50 << 20, 507, "storage full");
        }
        for (error, status, reason) in [("EDQUOT", 507, "storage full"), ("EIO", 500, "storage error")] {
            let faults = WRITES.map(|call| format!("{call}:error={error}"));
            let tracer = Tracer::inject(&site.server.family(), &faults);
            refused(1 << 20, status, reason);
            drop(tracer);
        }
        let new = noise(10 << 20, 3);
        put(place, site.address, &new);
        folder.assert_only("a", &new);
        drop(site);
        drop(disk);
    });
    let count = found.len() * (rounds + 2);
    let figures =
        format!("{count} of {count} told the cause; the old file whole, the next upload stored each time");
    Verdict::of(figures, &[])
}

/// The system calls by which content may get into a file, and nothing into a socket.
const WRITES: [&str; 2] = ["write", "splice"];
