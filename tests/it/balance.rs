//! What the balancer promises: bytes cross unchanged, shares are even, back ends die and come back without
//! anybody noticing more than he must, ends of streams are passed on both ways, slow sides are waited for,
//! counters tell the truth, and it stops as it was asked to.

use crate::support::http::{Http, with};
use crate::support::*;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How soon a back end that answers again gets connections again.
const BACK: Duration = Duration::from_secs(2);

// ---- what the tests are made of ----

/// A running balancer.
struct Balancer {
    process: Running,
    address: SocketAddr,
    /// How many back ends it has.
    backends: usize,
    /// What it has written to stderr so far.
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Deref for Balancer {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.process
    }
}

impl Balancer {
    /// In front of `backends`; it has said that it is ready.
    fn start(backends: &[SocketAddr], options: &str) -> Balancer {
        let named: String = backends
            .iter()
            .map(|address| format!(" --backend {address}"))
            .collect();
        let words = format!("balance --listen 127.0.0.1:0 {named} {options}");
        Balancer::launch(kolam(words), backends.len())
    }

    fn launch(mut command: Command, backends: usize) -> Balancer {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Running::spawn(&mut command);
        let log = Arc::new(Mutex::new(String::new()));
        let (sink, stderr) = (log.clone(), BufReader::new(process.0.stderr.take().unwrap()));
        let reader = thread::spawn(move || {
            for line in stderr.lines() {
                *sink.lock().unwrap() += &format!("{}\n", line.unwrap());
            }
        });
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let mut lines = stdout.lines().map(Result::unwrap);
        // With --spawn, the ready lines of the servers come first.
        let ready = lines
            .find(|line| !line.starts_with("server "))
            .unwrap_or_default();
        let rest = ready.strip_prefix("balancing on ").expect(&ready);
        let address = rest.split(' ').next().unwrap().parse().unwrap();
        Balancer {
            process,
            address,
            backends,
            log,
            reader: Some(reader),
        }
    }

    fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Everything that a new connection is told.
    fn told(&self) -> String {
        String::from_utf8(self.connect().rest().unwrap()).unwrap()
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How many lines of the log hold `words`.
    fn logged(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until it has logged `words`, and fails if they are there more than `times`.
    #[track_caller]
    fn assert_logged(&self, words: &str, times: usize) {
        eventually("it is in the log", || self.logged(words) >= times);
        assert_eq!(self.logged(words), times, "{words}\n{}", self.log());
    }

    /// What it counts now, by the address of the back end.
    fn counters(&self) -> HashMap<String, Counters> {
        let before = self.log().len();
        self.signal(libc::SIGUSR1);
        let mut seen = HashMap::new();
        eventually("the counters are shown", || {
            seen = counters(&self.log()[before..]);
            seen.len() == self.backends
        });
        seen
    }

    /// The figures of a back end.
    fn figures(&self, backend: SocketAddr) -> [u64; 5] {
        self.counters()[&backend.to_string()].figures
    }

    /// Processor time that it uses in the next moment.
    fn cpu_during(&self, moment: Duration) -> Duration {
        let before = processor_time(self.pid());
        thread::sleep(moment);
        processor_time(self.pid()) - before
    }

    /// Waits until it has ended well; returns its log.
    fn finish(mut self, limit: Duration) -> String {
        let status = self.process.wait(limit);
        self.reader.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.log()
    }

    fn stop(self) -> String {
        self.signal(libc::SIGTERM);
        self.finish(PATIENCE)
    }
}

/// What the balancer counts for one back end.
#[derive(Debug, Clone, PartialEq)]
struct Counters {
    state: String,
    /// Open now, connections, failures, bytes to it, bytes from it.
    figures: [u64; 5],
}

/// The last counters in a log, by the address of the back end. They stand in aligned columns that fit a
/// terminal.
fn counters(log: &str) -> HashMap<String, Counters> {
    let Some((_, table)) = log.rsplit_once("Z counters\nback end ") else {
        return HashMap::new();
    };
    let lines = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("127.0.0.1:"));
    let entry = |line: &str| {
        assert_eq!(line.len(), 79, "{line:?}");
        let (address, rest) = line.split_once(' ').unwrap();
        let mut words = rest.split_whitespace();
        let state = words.next().unwrap().to_owned();
        let figures: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        (
            address.to_owned(),
            Counters {
                state,
                figures: figures.try_into().unwrap(),
            },
        )
    };
    lines.map(entry).collect()
}

fn count<'t>(names: &[String], name: &'t str) -> (&'t str, usize) {
    (name, names.iter().filter(|seen| *seen == name).count())
}

/// A back end that sends back whatever comes.
fn echo() -> Fake {
    Fake::start(Guest::echo)
}

// ---- bytes ----

#[test]
fn bytes_cross_unchanged_both_ways() {
    let folder = Folder::new();
    let server = Server::start("thread", 4, &folder, "");
    let balancer = Balancer::start(&[server.address], "--workers 2");
    thread::scope(|scope| {
        for (name, length) in [("none", 0), ("one", 1), ("piece", 200_000), ("large", 9_000_001)] {
            let (folder, balancer) = (&folder, &balancer);
            scope.spawn(move || {
                let content = noise(length, length as u64);
                let mut wire = balancer.connect();
                assert_eq!(wire.ask(upload(name, &content)), stored(name, length));
                assert!(
                    folder.read(name) == content,
                    "{name} has not arrived as it was sent"
                );
                assert!(
                    wire.ask(format!("GET {name}\r\n\r\n")) == got(name, &content),
                    "{name} has changed"
                );
            });
        }
    });
    balancer.stop();
}

#[test]
fn both_directions_flow_at_the_same_time() {
    let backend = echo();
    let balancer = Balancer::start(&[backend.address], "--workers 1");
    thread::scope(|scope| {
        for seed in 0..3 {
            let balancer = &balancer;
            scope.spawn(move || {
                let content = noise(5_000_000, seed);
                let mut wire = balancer.connect();
                let (mut sender, bytes) = (wire.stream.try_clone().unwrap(), content.clone());
                let sender = thread::spawn(move || {
                    sender.write_all(&bytes).unwrap();
                    sender.shutdown(Shutdown::Write).unwrap();
                });
                assert!(wire.rest().unwrap() == content, "the echo differs");
                sender.join().unwrap();
            });
        }
    });
}

#[test]
fn an_ipv6_back_end_is_reached() {
    // A machine without IPv6 has nothing to test.
    let Ok(backend) = Fake::start_at("[::1]:0", Guest::echo) else {
        return;
    };
    let balancer = Balancer::start(&[backend.address], "");
    let mut wire = balancer.connect();
    wire.send("six");
    wire.half_close();
    assert_eq!(wire.rest().unwrap(), b"six");
}

#[test]
fn a_slow_reader_is_waited_for_with_little_memory() {
    const LENGTH: usize = 64 << 20;
    let sent = Arc::new(AtomicU64::new(0));
    let (progress, block) = (sent.clone(), noise(1 << 20, 1));
    let content = block.clone();
    let backend = Fake::start(move |guest| {
        let mut first = [0];
        if guest.stream.read(&mut first).unwrap() == 1 && first == *b"L" {
            for _ in 0..LENGTH >> 20 {
                guest.stream.write_all(&block).unwrap();
                progress.fetch_add(1 << 20, SeqCst);
            }
        }
    });
    let balancer = Balancer::start(&[backend.address], "--workers 1");
    let mut slow: Vec<Wire> = (0..2).map(|_| balancer.connect()).collect();
    slow.iter_mut().for_each(|wire| wire.send("L"));
    let (mut before, mut since) = (0, Instant::now());
    eventually("everything is full", || {
        let now = sent.load(SeqCst);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        now > 0 && since.elapsed() > MOMENT
    });
    assert!(before < 2 * LENGTH as u64, "nothing has been held back");
    for _ in 0..20 {
        let mut wire = balancer.connect();
        wire.send("S");
        wire.assert_closed();
    }
    for mut wire in slow {
        let rest = wire.rest().unwrap();
        assert_eq!(rest.len(), LENGTH);
        assert!(
            rest.chunks(1 << 20).all(|piece| piece == content),
            "bytes have changed"
        );
    }
    assert!(
        peak_memory(balancer.pid()) < 16 * 1024,
        "{} KiB of memory",
        peak_memory(balancer.pid())
    );
}

// ---- ends ----

#[test]
fn half_close_is_passed_on_both_ways() {
    // The client says first that it has no more to say, and still gets its reply.
    let backend = Fake::start(|guest| {
        let mut all = Vec::new();
        guest.stream.read_to_end(&mut all).unwrap();
        all.reverse();
        guest.stream.write_all(&all).unwrap();
    });
    let balancer = Balancer::start(&[backend.address], "");
    let mut wire = balancer.connect();
    wire.send("drawer");
    wire.assert_silent(Duration::from_millis(20));
    wire.half_close();
    assert_eq!(wire.rest().unwrap(), b"reward");
    // At once and without a word.
    let mut wire = balancer.connect();
    wire.half_close();
    wire.assert_closed();

    // The back end says it first, and still hears the client.
    let (sender, heard) = mpsc::channel();
    let sender = Mutex::new(sender);
    let backend = Fake::start(move |guest| {
        guest.stream.write_all(b"over").unwrap();
        guest.stream.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        guest.stream.read_to_string(&mut all).unwrap();
        sender.lock().unwrap().send(all).unwrap();
    });
    let balancer = Balancer::start(&[backend.address], "");
    let mut wire = balancer.connect();
    assert_eq!(wire.rest().unwrap(), b"over");
    let used = balancer.cpu_during(MOMENT);
    assert!(used <= MOMENT / 3, "{used:?} of processor time for waiting");
    wire.send("and ");
    assert_eq!(
        heard.recv_timeout(Duration::from_millis(20)),
        Err(mpsc::RecvTimeoutError::Timeout)
    );
    wire.send("out");
    drop(wire);
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "and out");
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let backend = Fake::start(|guest| {
        guest.stream.write_all(b"half of ").unwrap();
        // Closed with unread bytes, which is a reset, as soon as there are any.
        guest.stream.peek(&mut [0]).unwrap();
    });
    let balancer = Balancer::start(&[backend.address], "");
    let mut wire = balancer.connect();
    let mut half = [0; 8];
    wire.stream.read_exact(&mut half).unwrap();
    wire.send("unread");
    assert_eq!(
        wire.rest().map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionReset)
    );
}

#[test]
fn a_client_that_vanishes_frees_its_place() {
    let backend = echo();
    let balancer = Balancer::start(&[backend.address], "--workers 1");
    let address = backend.address;
    let open = || balancer.figures(address)[0];
    let sockets = || descriptors(balancer.pid());
    // The first connection proves that the worker has everything that it needs.
    balancer.connect().half_close();
    eventually("it is closed", || backend.connections() == 1 && open() == 0);
    let before = sockets();
    for length in [0, 1, 100_000] {
        let mut wire = balancer.connect();
        wire.send(noise(length, 1));
        // With unread bytes in its socket it resets the connection.
        eventually("the echo begins", || {
            length == 0 || wire.stream.peek(&mut [0]).unwrap() == 1
        });
    }
    eventually("all are closed", || open() == 0);
    assert_eq!(sockets(), before);
    assert_eq!(balancer.figures(address)[..3], [0, 4, 0]);
}

// ---- shares ----

#[test]
fn shares_are_even() {
    let backends = ["a", "b", "c"].map(Fake::saying);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let balancer = Balancer::start(&addresses, "--workers 2");
    let told: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| (0..6).map(|_| balancer.told()).collect::<Vec<_>>()))
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(
        ["a", "b", "c"].map(|name| count(&told, name)),
        [("a", 10), ("b", 10), ("c", 10)]
    );
}

#[test]
fn least_connections_evens_out_what_is_open() {
    let backends = [echo(), echo(), echo()];
    let addresses = backends.each_ref().map(|backend| backend.address);
    let balancer = Balancer::start(&addresses, "--policy least-connections");
    // In turn as long as all are equal; closing those of one makes it the next, twice.
    let mut open: Vec<(usize, Wire)> = Vec::new();
    let connect = |open: &mut Vec<(usize, Wire)>| {
        let before = backends.each_ref().map(Fake::connections);
        let wire = balancer.connect();
        let mut at = None;
        eventually("a back end is reached", || {
            at = (0..3).find(|&index| backends[index].connections() > before[index]);
            at.is_some()
        });
        open.push((at.unwrap(), wire));
        at.unwrap()
    };
    let mut first: Vec<usize> = (0..6).map(|_| connect(&mut open)).collect();
    first.sort();
    assert_eq!(first, [0, 0, 1, 1, 2, 2]);
    open.retain(|(at, _)| *at != 1);
    let address = addresses[1];
    eventually("the places are free", || balancer.figures(address)[0] == 0);
    assert_eq!([connect(&mut open), connect(&mut open)], [1, 1]);
}

#[test]
fn a_download_is_resumed_at_another_back_end_that_has_a_copy_of_the_file() {
    let content = noise(3_000_000, 5);
    let folders = [Folder::new(), Folder::new()];
    folders[0].write("a.bin", &content);
    // As `cp -p` and rsync do: the same date, in another folder and so under another inode.
    let copied = Command::new("cp")
        .arg("-p")
        .args([folders[0].join("a.bin"), folders[1].join("a.bin")])
        .status();
    assert!(copied.unwrap().success());
    let servers = [0, 1].map(|at| Server::start("event", 1, &folders[at], "--protocol http"));
    let balancer = Balancer::start(&[servers[0].address, servers[1].address], "");
    let mut tag = String::new();
    let mut got = Vec::new();
    for at in 0..6 {
        // Each connection goes to the other one; each takes a piece more.
        let (from, to) = (at * 500_000, (at + 1) * 500_000 - 1);
        let lines = match at {
            0 => format!("Range: bytes=0-{to}\r\n"),
            _ => format!("Range: bytes={from}-{to}\r\nIf-Range: {tag}\r\n"),
        };
        let reply = Http::connect(balancer.address).ask(with("GET", "/a.bin", &lines));
        assert_eq!(reply.status, 206, "piece {at}: {:?}", reply.header("ETag"));
        tag = reply.must("ETag").to_owned();
        got.extend(reply.body);
    }
    assert!(got == content, "put together wrong");
    let counters = balancer.counters();
    assert!(
        counters.values().all(|of_one| of_one.figures[1] == 3),
        "both took part: {counters:?}"
    );
    balancer.stop();
    servers.into_iter().for_each(Server::stop);
}

// ---- back ends that die ----

#[test]
fn a_dead_back_end_is_skipped_unseen() {
    let (first, last) = (Fake::saying("a"), Fake::saying("c"));
    let balancer = Balancer::start(&[first.address, nobody(), last.address], "--workers 2");
    let told: Vec<String> = (0..30).map(|_| balancer.told()).collect();
    let (a, c) = (count(&told, "a").1, count(&told, "c").1);
    assert!(a + c == 30 && a.abs_diff(c) <= 1, "{told:?}");
    balancer.assert_logged("is taken out: Connection refused", 1);
    assert_eq!(balancer.logged("down"), 0);
}

#[test]
fn what_the_client_has_said_is_told_to_the_next_back_end() {
    let backend = echo();
    // Whoever is asked first: one connection in two finds the dead one, until it is taken out.
    for dead_first in [true, false] {
        let mut backends = [nobody(), backend.address];
        if !dead_first {
            backends.reverse();
        }
        let balancer = Balancer::start(&backends, "--workers 1");
        for round in 0..2 {
            let mut wire = balancer.connect();
            let content = noise(300_000, round);
            let (mut sender, bytes) = (wire.stream.try_clone().unwrap(), content.clone());
            let sender = thread::spawn(move || {
                sender.write_all(&bytes).unwrap();
                sender.shutdown(Shutdown::Write).unwrap();
            });
            assert!(wire.rest().unwrap() == content);
            sender.join().unwrap();
        }
    }
}

#[test]
fn a_back_end_that_never_answers_is_given_up() {
    // A full queue: Linux ignores those who knock.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    sys::shorten_queue(&deaf);
    let address = deaf.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
        queue.push(stream);
    }
    let backend = Fake::saying("b");
    let balancer = Balancer::start(&[address, backend.address], "--connect-timeout 0.1");
    assert_eq!([balancer.told(), balancer.told()], ["b", "b"]);
    balancer.assert_logged("is taken out: no answer", 1);
}

#[test]
fn a_killed_back_end_costs_what_it_had_in_hand_and_is_back_in_time() {
    const CLIENTS: usize = 12;
    let folder = Folder::new();
    folder.write("one", b"1");
    let start = |options: &str| Server::start("thread", CLIENTS, &folder, options);
    let mut servers: Vec<Server> = (0..3).map(|_| start("")).collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let balancer = Balancer::start(&addresses, "--workers 2");
    let (ok, failures) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let load: Vec<Background> = (0..CLIENTS)
        .map(|_| {
            let (ok, failures, address) = (ok.clone(), failures.clone(), balancer.address);
            Background::repeat(move || {
                let mut wire = Wire::connect(address);
                let asked = wire.stream.write_all(b"GET one\r\n\r\n");
                match asked.and_then(|()| wire.try_reply()) {
                    Ok(reply) => assert_eq!(reply, got("one", b"1")),
                    Err(_) => failures.lock().unwrap().push(Instant::now()),
                }
                ok.fetch_add(1, SeqCst);
                true
            })
        })
        .collect();
    eventually("all are busy", || ok.load(SeqCst) > 20 * CLIENTS);
    let killed = Instant::now();
    signal(servers[1].pid(), libc::SIGKILL);
    eventually("it is taken out", || balancer.logged("is taken out") == 1);
    let after = ok.load(SeqCst);
    eventually("the others go on", || ok.load(SeqCst) > after + 20 * CLIENTS);
    servers.remove(1).wait(PATIENCE);
    let again = start(&format!("--listen {}", addresses[1]));
    let restarted = Instant::now();
    within(BACK, "it is back", || balancer.logged("is back") == 1);
    let before = balancer.figures(addresses[1])[1];
    within(BACK - restarted.elapsed(), "it is back in turn", || {
        balancer.figures(addresses[1])[1] > before
    });
    drop(load);
    let failures = failures.lock().unwrap();
    assert!(failures.len() <= CLIENTS, "{} failures", failures.len());
    assert!(failures.iter().all(|&at| at - killed < Duration::from_secs(1)));
    // Even again.
    let before = balancer.counters();
    (0..30).for_each(|_| assert_eq!(balancer.connect().ask("GET one\r\n\r\n"), got("one", b"1")));
    let now = balancer.counters();
    for address in addresses.iter().map(SocketAddr::to_string) {
        let share = now[&address].figures[1] - before[&address].figures[1];
        assert!((9..=11).contains(&share), "{share} of 30");
    }
    balancer.stop();
    servers.into_iter().chain([again]).for_each(Server::stop);
}

#[test]
fn when_all_are_down_clients_are_turned_away_until_one_is_back() {
    let down = [nobody(), nobody()];
    let balancer = Balancer::start(&down, "--workers 2");
    for _ in 0..3 {
        let asked = Instant::now();
        balancer.connect().assert_closed();
        assert_took(..Duration::from_secs(1), asked);
    }
    // What nobody will read, because it came while the balancer slept, must not turn the end into a reset.
    balancer.signal(libc::SIGSTOP);
    let mut wires: Vec<Wire> = (0..3).map(|_| balancer.connect()).collect();
    wires.iter_mut().for_each(|wire| wire.send("hello"));
    balancer.signal(libc::SIGCONT);
    wires.iter_mut().for_each(Wire::assert_closed);
    balancer.assert_logged("is taken out", 2);
    balancer.assert_logged("all back ends are down", 1);
    let backend = Fake::start_at(&down[1].to_string(), |guest| guest.send("b")).unwrap();
    within(BACK, "it is back", || {
        balancer.logged(&format!("back end {} is back", down[1])) == 1
    });
    assert_eq!(balancer.told(), "b");
    drop(backend);
    assert_eq!([balancer.told(), balancer.told()], ["", ""]);
    balancer.assert_logged("all back ends are down", 2);
}

/// A client is not refused because the next health check is still to come.
#[test]
fn when_none_is_alive_each_is_tried_once_more() {
    let down = [nobody(), nobody(), nobody()];
    let balancer = Balancer::start(&down, "--workers 1");
    for address in down {
        balancer.connect().assert_closed();
        let backend = Fake::start_at(&address.to_string(), |guest| guest.send("b")).unwrap();
        assert_eq!(balancer.told(), "b");
        balancer.assert_logged(&format!("back end {address} is back"), 1);
        drop(backend);
    }
}

// ---- limits ----

#[test]
fn idle_connections_are_closed_and_slow_ones_are_not() {
    let backend = echo();
    let balancer = Balancer::start(&[backend.address], "--idle-timeout 1");
    let (mut idle, mut slow) = (balancer.connect(), balancer.connect());
    let since = Instant::now();
    let drip = Background::drip(&slow, "x", Duration::from_millis(80));
    idle.assert_closed();
    assert_took(Duration::from_secs(1).., since);
    let mut twenty = [0; 20];
    slow.stream.read_exact(&mut twenty).unwrap();
    assert_eq!(twenty, [b'x'; 20]);
    drop(drip);
}

#[test]
fn a_reader_slower_than_the_idle_limit_lives_as_long_as_it_reads() {
    let content = noise(24 << 20, 1);
    let backend = Fake::saying(content.clone());
    let balancer = Balancer::start(&[backend.address], "--idle-timeout 2");
    let mut wire = balancer.connect();
    // Slowly for longer than the limit: less than makes room in a full socket buffer. Then the rest.
    let [pause, long] = [20, 3500].map(Duration::from_millis);
    let mut got = wire.read_slowly(64 * 1024, pause, long);
    got.extend(wire.rest().unwrap());
    assert!(got == content, "{} of {} bytes", got.len(), content.len());
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let backend = echo();
    let mut command = Command::new("sh");
    let script = "ulimit -n 32 && exec \"$0\" balance --listen 127.0.0.1:0 --workers 2 --backend \"$1\"";
    command.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_kolam"),
        &backend.address.to_string(),
    ]);
    let (began, balancer) = (Instant::now(), Balancer::launch(command, 1));
    let crowd: Vec<Wire> = (0..30).map(|_| balancer.connect()).collect();
    eventually("descriptors run out", || {
        balancer.logged("cannot take a connection for now") >= 1
    });
    let inside = balancer.figures(backend.address)[0];
    assert!(
        (5..30).contains(&inside),
        "{inside} are served\n{}",
        balancer.log()
    );
    let used = balancer.cpu_during(2 * MOMENT);
    assert!(used <= MOMENT / 2, "{used:?} of processor time for doing nothing");
    drop(crowd);
    let mut wire = balancer.connect();
    wire.send("still here");
    wire.half_close();
    assert_eq!(wire.rest().unwrap(), b"still here");
    // One line a second.
    let most = began.elapsed().as_secs() as usize + 2;
    assert!(balancer.logged("cannot take") <= most, "{}", balancer.log());
    assert_eq!(
        balancer.logged("taken out"),
        0,
        "it was not the back end's fault\n{}",
        balancer.log()
    );
}

// ---- counters, stopping, mistakes ----

#[test]
fn counters_tell_what_went_where() {
    let (backend, dead) = (echo(), nobody());
    let balancer = Balancer::start(&[backend.address, dead], "--workers 1 --quiet");
    let mut open = balancer.connect();
    open.send("12345");
    open.stream.read_exact(&mut [0; 5]).unwrap();
    for _ in 0..2 {
        let mut wire = balancer.connect();
        wire.send("123");
        wire.half_close();
        assert_eq!(wire.rest().unwrap(), b"123");
    }
    // The last one is closed a moment after it has said its last byte.
    let mut counted = HashMap::new();
    eventually("the last is closed", || {
        counted = balancer.counters();
        counted[&backend.address.to_string()].figures[0] == 1
    });
    let expected = |state: &str, figures| Counters {
        state: state.to_owned(),
        figures,
    };
    assert_eq!(
        counted[&backend.address.to_string()],
        expected("alive", [1, 3, 0, 11, 11])
    );
    assert_eq!(counted[&dead.to_string()], expected("out", [0, 0, 1, 0, 0]));
    // Nothing but counters was written: a line with the time, the headings, and two back ends.
    assert_eq!(balancer.logged("Z counters") * 4, balancer.log().lines().count());
}

#[test]
fn a_stop_lets_open_connections_finish_and_shows_the_counters() {
    let backend = echo();
    let balancer = Balancer::start(&[backend.address], "--workers 2");
    let mut wire = balancer.connect();
    wire.send("before");
    wire.stream.read_exact(&mut [0; 6]).unwrap();
    // Those who were at the door before the request to stop are taken in.
    balancer.signal(libc::SIGSTOP);
    let mut waiting: Vec<Wire> = (0..5).map(|_| balancer.connect()).collect();
    balancer.signal(libc::SIGTERM);
    balancer.signal(libc::SIGCONT);
    eventually("new connections are refused", || {
        TcpStream::connect(balancer.address).is_err()
    });
    waiting.push(wire);
    for mut wire in waiting {
        wire.send("after");
        wire.half_close();
        assert_eq!(wire.rest().unwrap(), b"after");
    }
    let log = balancer.finish(PATIENCE);
    let [open, connections, failures, to, from] = counters(&log)[&backend.address.to_string()].figures;
    // Asking whether it still takes connections made another one or two.
    assert_eq!(
        (open, connections >= 6, failures, to, from),
        (0, true, 0, 36, 36),
        "{log}"
    );
}

#[test]
fn a_stop_does_not_wait_longer_than_the_grace_nor_for_a_second_request() {
    let backend = echo();
    let started: Vec<Balancer> = ["0.2", "0.2", "100"]
        .map(|grace| Balancer::start(&[backend.address], &format!("--grace {grace}")))
        .into();
    let wires: Vec<Wire> = started.iter().map(Balancer::connect).collect();
    eventually("both are connected", || backend.connections() == 3);
    let [short, hung_up, mut long]: [Balancer; 3] = started.try_into().ok().unwrap();
    for (short, number) in [(short, libc::SIGINT), (hung_up, libc::SIGHUP)] {
        let stopped = Instant::now();
        short.signal(number);
        if number == libc::SIGHUP {
            eventually("new connections are refused", || {
                TcpStream::connect(short.address).is_err()
            });
            // The kernel and the shell both tell that the terminal has closed: that is one request.
            short.signal(number);
        }
        short.finish(PATIENCE);
        assert_took(Duration::from_millis(200)..Duration::from_secs(2), stopped);
    }
    long.signal(libc::SIGTERM);
    eventually("new connections are refused", || {
        TcpStream::connect(long.address).is_err()
    });
    long.signal(libc::SIGTERM);
    assert_eq!(long.process.wait(Duration::from_secs(1)).code(), Some(130));
    drop(wires);
}

/// A balancer in front of `count` servers that it has started itself, for `folder`.
fn with_servers(folder: &Folder, count: usize, options: &str) -> Balancer {
    let words = format!("balance --listen 127.0.0.1:0 --spawn {count} {options} -- --mode thread --root");
    let mut command = kolam(words);
    command.arg(folder.path());
    Balancer::launch(command, count)
}

#[test]
fn servers_of_its_own_are_started_replaced_and_stopped() {
    let folder = Folder::new();
    folder.write("a", b"hello");
    let balancer = with_servers(&folder, 2, "");
    let ask = || {
        let reply = Http::connect(balancer.address).ask(with("GET", "/a", "Connection: close\r\n"));
        assert_eq!(reply.text(), "hello");
    };
    let servers = children(balancer.pid());
    assert_eq!(servers.len(), 2);
    (0..4).for_each(|_| ask());
    let counters = balancer.counters();
    let shares: Vec<u64> = counters.values().map(|of_one| of_one.figures[1]).collect();
    assert_eq!(shares, [2, 2], "each has had its share");
    signal(servers[0], libc::SIGKILL);
    balancer.assert_logged("has ended (signal: 9 (SIGKILL)): one more start", 1);
    eventually("there are two again", || {
        let now = children(balancer.pid());
        now.len() == 2 && !now.contains(&servers[0])
    });
    // Nothing is lost meanwhile, and after its next health check the new one has its share again.
    eventually("both are used", || {
        let before = balancer.counters();
        (0..2).for_each(|_| ask());
        let after = balancer.counters();
        let mut all = before.iter();
        all.all(|(address, of_one)| of_one.figures[1] < after[address].figures[1])
    });
    let servers = children(balancer.pid());
    balancer.stop();
    assert!(!servers.into_iter().any(alive));
}

#[test]
fn servers_of_its_own_die_with_a_balancer_that_is_killed() {
    let folder = Folder::new();
    let other = Server::http_of("thread", 4, &folder, "");
    let mut balancer = with_servers(&folder, 2, &format!("--backend {}", other.address));
    let servers = children(balancer.pid());
    balancer.backends = 3;
    let both = balancer.counters().contains_key(&other.address.to_string());
    assert!(both, "both kinds together");
    balancer.signal(libc::SIGKILL);
    eventually("they are gone", || !servers.iter().copied().any(alive));
}

#[test]
fn mistakes_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_usage(
        "balance => --backend is missing | --backend HOST:PORT
        balance --backend here => --backend here | expected HOST:PORT
        balance --backend 127.0.0.1:1 --backend 127.0.0.1:0 => --backend 127.0.0.1:0 | expected
        balance --backend 127.0.0.1:1 --listen 127.0.0.1:1 => --backend 127.0.0.1:1 | behind
        balance --backend 127.0.0.1:1 --policy round => --policy round | round-robin | least-connections
        balance --backend 127.0.0.1:1 --workers 0 => --workers 0 | from 1 to
        balance --backend 127.0.0.1:1 --wrokers 2 => did you mean --workers?
        balance --spawn 0 => --spawn 0 | from 1 to 9999
        balance --backend 127.0.0.1:1 -- --mode event => after -- | --spawn N
        balance --backend 127.0.0.1:1 files => unexpected word 'files'
        balance --port=80 => --port; it is part of --listen HOST:PORT",
    );
    let ended = run("balance --listen 127.0.0.1:0 --spawn 2 -- --mode evnt");
    assert_eq!((ended.code, ended.text()), (Some(1), ""), "{ended:?}");
    assert!(
        ended.stderr.starts_with("kolam: --mode evnt: expected"),
        "{ended:?}"
    );
    assert_has(
        &ended.stderr,
        &["kolam: server 1 of --spawn did not start: exit status: 2"],
    );
    let ended = run(format!("balance --backend 127.0.0.1:1 --listen {address}"));
    ended.failed(1, &["cannot listen on", &address.to_string(), "choose another"]);
    assert!(run("balance --help").ok().contains("--policy POLICY"));
}
