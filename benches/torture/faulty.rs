//! What if the system itself fails? System calls fail one after another, sessions panic: each costs its own request.

use crate::site::{Place, Site, at_once, everywhere, exchange, is_whole, places, ready_of};
use crate::support::http;
use crate::support::{
    Folder, MODES, PATIENCE, PROTOCOLS, Running, Tracer, Wire, children, eventually, kolam,
};
use crate::tools::preload;
use crate::trial::{Trial, Verdict, require};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Errors of accept(2) that are none of the server's business, or pass.
const PASSING: [&str; 5] = ["ECONNABORTED", "EINTR", "EPROTO", "ENOBUFS", "ENOMEM"];

/// Promise 14: the first calls of accept fail, in each thread of each process.
pub fn accept_may_fail(trial: Trial) -> Verdict {
    let requests = trial.at_least(5, 20);
    let found = at_once(&everywhere(), |place, folder| {
        folder.write("a", b"kolam");
        let log = if place.balanced { "" } else { "--idle-timeout 30" };
        let site = Site::with_log(place, folder, 3, log, "");
        let before = site.family();
        for error in PASSING {
            let tracer = Tracer::inject(&front(&site), &[format!("accept4:error={error}:when=1..3")]);
            for _ in 0..requests {
                let reply = exchange(site.address, &place.case.get("a")).unwrap();
                assert!(is_whole(place.case, "a", b"kolam", &reply), "after {error}");
            }
            drop(tracer);
        }
        assert_eq!(site.family(), before, "a process has ended");
        assert!(!site.end().contains("panicked"));
    });
    let all = found.len() * PASSING.len() * requests;
    Verdict::of(
        format!(
            "{all} of {all} requests right after {} errors",
            PASSING.join(", ")
        ),
        &[],
    )
}

/// The processes that take connections.
fn front(site: &Site) -> Vec<u32> {
    site.balancer
        .as_ref()
        .map_or_else(|| site.server.family(), |balancer| vec![balancer.pid()])
}

// ---- Every call of a request ----

/// A system call fails with this: what is likely for it.
fn error_of(call: &str) -> Option<&'static str> {
    match call {
        // Their failures are not passed on to the program, or strace would leave open what the kernel closes.
        "futex" | "close" | "munmap" | "exit" | "exit_group" | "rt_sigreturn" | "restart_syscall"
        | "madvise" => None,
        "accept4" => Some("ECONNABORTED"),
        "mmap" | "brk" | "ppoll" | "poll" | "epoll_wait" | "epoll_pwait" => Some("ENOMEM"),
        "openat" | "openat2" | "socket" | "pipe2" => Some("EMFILE"),
        "recvfrom" | "sendto" | "connect" => Some("ECONNRESET"),
        "epoll_ctl" => Some("ENOSPC"),
        _ => Some("EIO"),
    }
}

/// The requests that are walked.
fn verbs(place: Place) -> Vec<Vec<u8>> {
    let upload = place.case.puts("new", &[b'x'; 3000]).remove(0);
    let more = match place.case.is_http() {
        true => vec![http::get("/").into(), http::get("/_metrics").into()],
        false => vec![b"LIST\n".to_vec(), b"STATS\n".to_vec()],
    };
    [more, vec![place.case.get("a"), upload, place.case.delete("new")]].concat()
}

/// The most that is tried of one system call: later ones are of the same place in the program.
const TRIES: usize = 4;

/// Promise 17: each system call of each verb fails once.
pub fn every_failure_was_walked(trial: Trial) -> Verdict {
    let tries = trial.at_least(1, TRIES);
    let found = at_once(&everywhere(), |place, folder| walk(place, folder, tries));
    let (mut wrong, mut all) = (Vec::new(), 0);
    for (place, (count, faults)) in found {
        all += count;
        wrong.extend(faults.into_iter().map(|fault| format!("{place}: {fault}")));
    }
    Verdict::of(
        format!("{all} failures: 0 panics, 0 hangs, 0 leftovers, each next request right"),
        &wrong,
    )
}

/// How many failures were tried, and what has gone wrong.
fn walk(place: Place, folder: &Folder, tries: usize) -> (usize, Vec<String>) {
    folder.write("a", b"kolam");
    let (mut count, mut wrong) = (0, Vec::new());
    for request in verbs(place) {
        let verb = String::from_utf8_lossy(&request)
            .split([' ', '\n'])
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let verb: String = verb.chars().filter(|c| !c.is_control()).take(20).collect();
        let site = Site::with_log(place, folder, 1, "--idle-timeout 3", "--workers 1");
        let first = site.family();
        for (call, times) in calls_of(&site, &request) {
            let Some(error) = error_of(&call) else { continue };
            for when in 1..=times.min(tries) {
                count += 1;
                let fault = format!("{call}:error={error}:when={when}");
                if let Err(what) = survives(place, &site, folder, &request, &fault) {
                    // At once: it may not go on well after that.
                    eprintln!("{place}: {verb}, {fault}: {what}");
                    wrong.push(format!("{verb}, {fault}: {what}"));
                }
            }
        }
        if site.family() != first {
            wrong.push(format!("{verb}: a process has ended"));
        }
        if site.end().contains("panicked") {
            wrong.push(format!("{verb}: a panic"));
        }
    }
    (count, wrong)
}

/// How often a request makes each system call in the front.
fn calls_of(site: &Site, request: &[u8]) -> BTreeMap<String, usize> {
    let here = Folder::new();
    let log = here.join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-qqq", "-e", "signal=none", "-o"]).arg(&log);
    let tracer = Tracer::attach(command, &front(site));
    let _ = exchange(site.address, request);
    drop(tracer);
    let text = fs::read_to_string(log).unwrap();
    let mut calls = BTreeMap::new();
    for line in text.lines().filter(|line| !line.contains("resumed>")) {
        // `1234 openat(3, "a", …) = 7`
        let name = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.split_once('('))
            .map(|(name, _)| name);
        if let Some(name) = name.filter(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }) {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

/// Makes one request while one call fails, and then another.
fn survives(place: Place, site: &Site, folder: &Folder, request: &[u8], fault: &str) -> Result<(), String> {
    folder.write("new", b"old");
    let tracer = Tracer::inject(&front(site), &[fault.to_owned()]);
    let began = Instant::now();
    // Whatever becomes of it, it does not wait long.
    let _ = exchange(site.address, request);
    let took = began.elapsed();
    drop(tracer);
    let after = exchange(site.address, &place.case.get("a"));
    let whole = after.is_ok_and(|reply| is_whole(place.case, "a", b"kolam", &reply));
    let left = !crate::system::within(Duration::from_secs(5), || folder.temporary().is_empty());
    let temporary = folder.temporary();
    temporary
        .iter()
        .for_each(|name| fs::remove_file(folder.join(name)).unwrap());
    match (took > Duration::from_secs(5), left, whole) {
        (false, false, true) => Ok(()),
        (true, ..) => Err(format!("the client waits {} s", took.as_secs())),
        (_, true, _) => Err(format!("{temporary:?} is left")),
        _ => Err("the next request fails".to_owned()),
    }
}

// ---- Panics ----

/// Promise 19: a session panics in the middle of an upload, again and again.
pub fn a_panic_costs_one_request(trial: Trial) -> Verdict {
    let panics = trial.at_least(20, 1000);
    let library = preload();
    let found = at_once(&places(MODES, PROTOCOLS), |place, folder| {
        let log = Folder::new();
        panic_often(place, folder, &library, &log.join("log"), panics);
        let text = fs::read_to_string(log.join("log")).unwrap();
        let told = text.lines().filter(|line| line.contains("panicked")).count();
        (told, failed_in(&text))
    });
    let (mut wrong, all) = (Vec::new(), found.len() * panics);
    for (place, (told, failed)) in &found {
        require(&mut wrong, *told == panics, || {
            format!("{place}: {told} panics told")
        });
        require(&mut wrong, *failed == panics, || {
            format!("{place}: {failed} errors counted")
        });
    }
    let counted: usize = found.iter().map(|(_, (_, failed))| failed).sum();
    Verdict::of(
        format!("{all} panics: {counted} errors counted, all workers serve"),
        &wrong,
    )
}

/// The failures that the last line counts.
fn failed_in(log: &str) -> usize {
    let rest = log.rsplit_once(", failed ").map_or("", |(_, rest)| rest);
    rest.split(',')
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or_default()
}

/// A server that panics so often, serves all the same, and stops well; what it says goes to `log`.
fn panic_often(place: Place, folder: &Folder, library: &Path, log: &Path, panics: usize) {
    let Place { case, .. } = place;
    folder.write("a", b"kolam");
    let workers = if case.mode == "single" { 1 } else { 3 };
    let words = format!(
        "serve --listen 127.0.0.1:0 --mode {} --protocol {}",
        case.mode, case.protocol
    );
    let mut command = kolam(format!(
        "{words} --workers {workers} --root {}",
        folder.path().display()
    ));
    command
        .env("LD_PRELOAD", library)
        .env("PANIC", "PANIC")
        .stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(File::create(log).unwrap());
    let mut server = Running::spawn(&mut command);
    let address = ready_of(&mut server);
    let before = children(server.pid());
    (0..panics).for_each(|_| panic_once(place, address));
    assert_eq!(children(server.pid()), before, "a worker has ended");
    for _ in 0..=workers {
        let reply = exchange(address, &case.get("a")).unwrap();
        assert!(is_whole(case, "a", b"kolam", &reply), "the next request fails");
    }
    eventually("no temporary file is left", || folder.names() == ["a"]);
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
}

/// Begins an upload; when the server has begun it, too, sends what it panics at.
fn panic_once(place: Place, address: SocketAddr) {
    let mut peer = Wire::connect(address);
    let start = match place.case.is_http() {
        true => b"PUT /new HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
            .to_vec(),
        // Its answer says that the connection is served.
        false => b"LIST\nUPLOAD new QUJD".to_vec(),
    };
    peer.send(start);
    let answer = peer.take_to_end().unwrap();
    assert!(!answer.is_empty());
    std::thread::sleep(Duration::from_millis(2));
    peer.send("PANIC");
    let rest = peer.rest().unwrap_or_default();
    assert!(rest.is_empty(), "an answer to what has panicked");
}
