//! What do the pools promise? That a worker which dies costs only itself, that none is left over, that they really
//! work at the same time.

use crate::site::{Asked, Balancer, Place, ask, at_once, in_turn, launch, places, ready_of, worst};
use crate::support::http::Http;
use crate::support::{
    Background, Folder, MODES, PATIENCE, PROTOCOLS, Running, Words, alive, children, eventually, noise,
    resident, signal,
};
use crate::system;
use crate::trial::{Trial, Verdict, joined, percentile, require, shown};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Workers of the server whose workers are killed.
const WORKERS: usize = 5;

/// What the kills in one place have cost.
struct Killed {
    /// From each kill until all workers are there again.
    times: Vec<Duration>,
    /// Answers that were whole, cut off, and of something else.
    answers: [usize; 3],
    /// KiB that the parent has more than after the first kills.
    grown: u64,
}

/// Promise 1: kill -9 of a random worker, again and again, beside clients that ask all the time.
pub fn a_dead_worker_is_replaced(trial: Trial) -> Verdict {
    let kills = trial.at_least(20, 200);
    let found = in_turn(&places(&["process"], PROTOCOLS), |place, folder| {
        kill_workers(place, folder, kills)
    });
    let (mut times, mut wrong, mut served, mut cut) = (Vec::new(), Vec::new(), 0, 0);
    for (place, killed) in found {
        let ([whole, lost, bad], grown) = (killed.answers, killed.grown);
        times.extend(killed.times);
        served += whole;
        cut += lost;
        require(&mut wrong, bad == 0, || format!("{place}: {bad} wrong answers"));
        require(&mut wrong, lost <= kills, || {
            format!("{place}: {lost} requests cut by {kills} kills")
        });
        require(&mut wrong, whole > kills, || {
            format!("{place}: only {whole} requests answered")
        });
        require(&mut wrong, grown <= 64, || {
            format!("{place}: the parent has grown by {grown} KiB")
        });
    }
    let [median, late] = [50, 99].map(|percent| percentile(&mut times, percent));
    require(&mut wrong, median <= Duration::from_millis(5), || {
        "median".to_owned()
    });
    require(&mut wrong, late <= Duration::from_millis(20), || "p99".to_owned());
    let (kills, all) = (times.len(), served + cut);
    let [median, late] = [median, late].map(shown);
    let figures =
        format!("{kills} kills: back after {median} (median), {late} (p99); {cut} of {all} requests cut");
    Verdict::of(figures, &wrong)
}

fn kill_workers(place: Place, folder: &Folder, kills: usize) -> Killed {
    let content = noise(20_000, 1);
    folder.write("a", &content);
    let server = place.case.serve(folder, WORKERS, "");
    let counts: Arc<[AtomicUsize; 3]> = Arc::default();
    let client = |_| {
        let (counts, content, address) = (counts.clone(), content.clone(), server.address);
        Background::repeat(move || {
            // `Asked` is in this order.
            counts[ask(place.case, address, "a", &content) as usize].fetch_add(1, SeqCst);
            true
        })
    };
    let clients: Vec<Background> = (0..4).map(client).collect();
    let (mut times, mut memory) = (Vec::new(), 0);
    for round in 0..kills {
        // The first rounds pay for what the others find ready.
        if round == kills / 10 {
            memory = resident(server.pid());
        }
        let workers = server.workers();
        let victim = workers[noise(1, round as u64 + 1)[0] as usize % WORKERS];
        let began = Instant::now();
        signal(victim, libc::SIGKILL);
        server.wait_until_replaced(victim, WORKERS);
        times.push(began.elapsed());
        let mut others = workers.iter().filter(|&&pid| pid != victim);
        assert!(others.all(|&pid| alive(pid)), "another worker has ended, too");
        thread::sleep(Duration::from_millis(10));
    }
    drop(clients);
    let grown = resident(server.pid()).saturating_sub(memory);
    let answers = [0, 1, 2].map(|at| counts[at].load(SeqCst));
    Killed {
        times,
        answers,
        grown,
    }
}

/// Promise 2: workers that cannot begin, and workers, all or some of them, that crash as soon as they have begun.
pub fn no_storm_of_forks(trial: Trial) -> Verdict {
    // All that has to be over then: a part of the time would show nothing.
    let whole = Duration::from_secs(10);
    let long = trial.seconds(10).max(Duration::from_secs(2));
    let mut wrong = Vec::new();
    let (mut most_forks, mut most_lines, mut last) = (0, 0, Duration::ZERO);
    for (place, (forks, lines, ended)) in in_turn(&places(&["process"], PROTOCOLS), |place, folder| {
        [unable(place, folder, whole), crashing(place, folder, whole)]
    })
    .into_iter()
    .flat_map(|(place, both)| both.map(|one| (place, one)))
    {
        most_forks = forks.max(most_forks);
        most_lines = lines.max(most_lines);
        let (after, code) = ended.unwrap_or((whole, None));
        last = last.max(after);
        require(&mut wrong, matches!(code, Some(1..)), || {
            format!("{place}: ends with {code:?}")
        });
    }
    let (of_some, lines_of_some, back) = some_crash(long, &mut wrong);
    let (starts, lines_of_starts) = unable_behind_a_balancer(long);
    for (what, forks, lines) in [
        ("all workers", most_forks, most_lines),
        ("some workers", of_some, lines_of_some),
        ("balancer", starts, lines_of_starts),
    ] {
        require(&mut wrong, forks <= 10, || format!("{what}: {forks} forks"));
        require(&mut wrong, lines <= 20, || format!("{what}: {lines} lines"));
    }
    let figures = format!(
        "{} forks, {} lines at most; given up after {} at most; beside sound workers {of_some} forks at most, \
         and a killed one is back after {}",
        most_forks.max(of_some).max(starts),
        most_lines.max(lines_of_some).max(lines_of_starts),
        shown(last),
        shown(back)
    );
    Verdict::of(figures, &wrong)
}

/// One to four of five workers crash: the most forks and lines, and the longest time until a sound worker that is
/// killed is back.
fn some_crash(long: Duration, wrong: &mut Vec<String>) -> (usize, usize, Duration) {
    let found = at_once(&places(&["process"], PROTOCOLS), |place, folder| {
        folder.write("a", b"kolam");
        thread::scope(|scope| {
            let start = |sound| scope.spawn(move || beside_sound_workers(place, folder, long, sound));
            let servers: Vec<_> = (1..WORKERS).map(start).collect();
            servers.into_iter().map(joined).collect::<Vec<_>>()
        })
    });
    let all: Vec<_> = found.into_iter().flat_map(|(_, servers)| servers).collect();
    for one in &all {
        wrong.extend(one.wrong.iter().cloned());
    }
    let most = |of: fn(&Partly) -> usize| all.iter().map(of).max().unwrap_or_default();
    let back = all.iter().map(|one| one.back).max().unwrap_or_default();
    (most(|one| one.forks), most(|one| one.lines), back)
}

/// Servers of a balancer that cannot start any more: it goes on, and starts few of them.
fn unable_behind_a_balancer(long: Duration) -> (usize, usize) {
    let here = Folder::new();
    let root = here.join("root");
    let mut balancer = Balancer::launch(&format!(
        "balance --listen 127.0.0.1:0 --spawn 3 -- --root {}",
        root.display()
    ));
    let servers = children(balancer.pid());
    fs::remove_dir(&root).unwrap();
    fs::write(&root, "no folder").unwrap();
    servers.iter().for_each(|&pid| signal(pid, libc::SIGKILL));
    thread::sleep(long);
    balancer.signal(libc::SIGTERM);
    assert_eq!(balancer.wait(), Some(0), "a balancer without servers goes on");
    let log = balancer.log();
    let lines = log.lines().take_while(|line| !line.contains("stopped"));
    (log.matches("one more start").count(), lines.count())
}

/// Forks, lines of the log, and when it has ended with which exit code.
type Storm = (usize, usize, Option<(Duration, Option<i32>)>);

/// A server whose workers cannot make what they wait with.
fn unable(place: Place, folder: &Folder, long: Duration) -> Storm {
    let here = Folder::new();
    let (log, calls) = (here.join("log"), here.join("calls"));
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qqq", "-e", "trace=clone,clone3,fork,vfork", "-o"])
        .arg(&calls);
    command.args([
        "-e",
        "inject=epoll_create1:error=EMFILE",
        "-e",
        "trace=clone,clone3,fork,vfork,epoll_create1",
    ]);
    command
        .arg(env!("CARGO_BIN_EXE_kolam"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(serve_words(place).words().split_off(1))
        .arg(folder.path());
    let ended = watch(&mut command, &log, long);
    let calls = fs::read_to_string(calls).unwrap();
    // A call that other lines have come between has two, and one that a signal has interrupted is made again.
    let result = |line: &str| line.rsplit_once(" = ")?.1.parse::<u32>().ok();
    let forks = calls
        .lines()
        .filter(|line| !line.contains("epoll") && result(line).is_some());
    (forks.count(), lines_of(&log), ended)
}

/// A server whose workers, but for the first of them, crash as soon as they are there.
struct Crashing {
    server: Running,
    log: PathBuf,
    /// All its workers that were seen, in this order.
    seen: Arc<Mutex<Vec<u32>>>,
    killer: Background,
}

impl Crashing {
    fn start(place: Place, folder: &Folder, here: &Folder, sound: usize) -> Crashing {
        let log = here.join("log");
        let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kolam"));
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(serve_words(place).words().split_off(1))
            .arg(folder.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let server = Running::spawn(&mut command);
        let (parent, list) = (server.pid(), seen.clone());
        let killer = Background::repeat(move || {
            for pid in children(parent) {
                let mut seen = list.lock().unwrap();
                if !seen.contains(&pid) {
                    seen.push(pid);
                }
                let is_sound = seen.iter().take(sound).any(|&one| one == pid);
                drop(seen);
                if !is_sound {
                    // The first one only takes away the handler that std has put there.
                    let _ = Command::new("kill")
                        .args(["-SEGV", &pid.to_string()])
                        .stderr(Stdio::null())
                        .status();
                }
            }
            thread::sleep(Duration::from_millis(1));
            true
        });
        Crashing {
            server,
            log,
            seen,
            killer,
        }
    }

    fn forks(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// All workers crash.
fn crashing(place: Place, folder: &Folder, long: Duration) -> Storm {
    let here = Folder::new();
    let began = Instant::now();
    let mut all = Crashing::start(place, folder, &here, 0);
    let ended = end_of(&mut all.server, began, long);
    (all.forks(), lines_of(&all.log), ended)
}

/// What came of a server some of whose workers crash.
struct Partly {
    forks: usize,
    lines: usize,
    /// From the kill of a sound worker until there is another one.
    back: Duration,
    wrong: Vec<String>,
}

/// Some workers are sound: they serve all the time, and one of them that is killed is replaced at once.
fn beside_sound_workers(place: Place, folder: &Folder, long: Duration, sound: usize) -> Partly {
    let here = Folder::new();
    let began = Instant::now();
    let mut some = Crashing::start(place, folder, &here, sound);
    let address = ready_of(&mut some.server);
    let (mut whole, mut cut, mut wrong) = (0, 0, Vec::new());
    while began.elapsed() < long {
        match ask(place.case, address, "a", b"kolam") {
            Asked::Whole => whole += 1,
            Asked::Cut => cut += 1,
            Asked::Wrong => wrong.push(format!("{place}: a wrong answer")),
        }
        thread::sleep(Duration::from_millis(10));
    }
    let (forks, lines, parent) = (some.forks(), lines_of(&some.log), some.server.pid());
    let victim = some.seen.lock().unwrap()[0];
    drop(some.killer);
    let before = children(parent);
    let killed = Instant::now();
    signal(victim, libc::SIGKILL);
    eventually("another worker is there", || {
        let now = children(parent);
        now.len() >= before.len() && !now.contains(&victim)
    });
    let back = killed.elapsed();
    some.server.signal(libc::SIGTERM);
    let code = some.server.wait(PATIENCE).code();
    let of = format!("{place}, {sound} of {WORKERS} sound");
    require(&mut wrong, code == Some(0), || {
        format!("{of}: ends with {code:?}")
    });
    // A worker that crashes costs its own connection.
    require(&mut wrong, cut <= forks && whole > cut, || {
        format!("{of}: {cut} requests cut, {whole} answered")
    });
    require(&mut wrong, back <= Duration::from_secs(1), || {
        format!("{of}: a killed worker is back after {}", shown(back))
    });
    Partly {
        forks,
        lines,
        back,
        wrong,
    }
}

fn serve_words(place: Place) -> String {
    let protocol = place.case.protocol;
    format!("serve --mode process --workers 5 --protocol {protocol} --root")
}

/// Starts a command with its stderr in `log`; when and how it has ended within the time.
fn watch(command: &mut Command, log: &Path, long: Duration) -> Option<(Duration, Option<i32>)> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log).unwrap());
    let began = Instant::now();
    end_of(&mut Running::spawn(command), began, long)
}

fn end_of(server: &mut Running, began: Instant, long: Duration) -> Option<(Duration, Option<i32>)> {
    let mut status = None;
    system::within(long, || {
        status = server.0.try_wait().unwrap();
        status.is_some()
    });
    status.map(|status| (began.elapsed(), status.code()))
}

/// Those of the requests do not count.
fn lines_of(log: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap();
    text.lines().filter(|line| !line.contains(" GET ")).count()
}

/// Promise 3: kill -9 of the parent beside clients that ask all the time.
pub fn no_orphans(trial: Trial) -> Verdict {
    let rounds = trial.at_least(5, 50);
    let mut list = places(&["process"], PROTOCOLS);
    // The balancer is the parent of the servers that it starts itself.
    list.push(Place {
        balanced: true,
        ..list[1]
    });
    let found = in_turn(&list, |place, folder| {
        folder.write("a", b"kolam");
        let mut worst = [Duration::ZERO; 2];
        for _ in 0..rounds {
            let [gone, free] = kill_the_parent(place, folder);
            worst = [worst[0].max(gone), worst[1].max(free)];
        }
        worst
    });
    let [(_, gone), (_, free)] =
        [0, 1].map(|at| worst(found.iter().map(|(place, times)| (*place, times[at]))));
    let mut wrong = Vec::new();
    require(&mut wrong, gone <= Duration::from_secs(1), || {
        "processes are left".to_owned()
    });
    require(&mut wrong, free <= Duration::from_millis(100), || {
        "the port is not free".to_owned()
    });
    let kills = rounds * list.len();
    let figures = format!(
        "{kills} kills: all processes gone after {} at most, port free after {}",
        shown(gone),
        shown(free)
    );
    Verdict::of(figures, &wrong)
}

/// When the last process is gone, and when the port is free; zombies count as there until init has them.
fn kill_the_parent(place: Place, folder: &Folder) -> [Duration; 2] {
    let root = folder.path().display();
    let (mut parent, address) = match place.balanced {
        true => launch(&format!("balance --spawn 3 -- --root {root}")),
        false => launch(&format!("{} {root}", serve_words(place))),
    };
    let family = children(parent.pid());
    assert!(family.len() >= 3, "{family:?}");
    let clients: Vec<Background> = (0..3)
        .map(|_| {
            Background::repeat(move || {
                let _ = ask(place.case, address, "a", b"kolam");
                true
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(20));
    let began = Instant::now();
    parent.signal(libc::SIGKILL);
    parent.wait(PATIENCE);
    eventually("the port is free", || TcpListener::bind(address).is_ok());
    let free = began.elapsed();
    eventually("no process is left", || !family.iter().any(|&pid| alive(pid)));
    let gone = began.elapsed();
    drop(clients);
    [gone, free]
}

/// Promise 20: requests whose clients pause in the middle hold their workers for that long.
pub fn the_pool_is_parallel(trial: Trial) -> Verdict {
    let pause = trial.seconds(2);
    let found = at_once(&places(MODES, PROTOCOLS), |place, folder| {
        four_and_one_more(place, folder, pause)
    });
    let mut wrong = Vec::new();
    let mut figures = [Duration::ZERO; 3];
    for (place, (wall, waited)) in found {
        let turns = if place.case.mode == "single" {
            AT_ONCE as u32
        } else {
            1
        };
        let bounds = (pause, pause * turns + pause / 2);
        require(&mut wrong, wall >= bounds.0 && wall <= bounds.1, || {
            format!("{place}: all after {}", shown(wall))
        });
        let at = match place.case.mode {
            "single" => continue,
            "event" => 2,
            _ => 1,
        };
        // One connection more than workers waits for a worker, but for none in event mode.
        let right = if at == 2 {
            waited <= pause / 4
        } else {
            waited >= pause / 2
        };
        require(&mut wrong, right, || {
            format!("{place}: one more waits {}", shown(waited))
        });
        figures[0] = figures[0].max(wall);
        figures[at] = figures[at].max(waited);
    }
    let [wall, waits, event] = figures.map(shown);
    let figures = format!(
        "4 requests of {} in {wall} at most; one more waits {waits}, event mode {event}",
        shown(pause)
    );
    Verdict::of(figures, &wrong)
}

/// Requests at once, one for each worker.
const AT_ONCE: usize = 4;

/// How long they take together, and how long one more waits that comes after them.
fn four_and_one_more(place: Place, folder: &Folder, pause: Duration) -> (Duration, Duration) {
    let server = place.case.serve(folder, AT_ONCE, "");
    let address = server.address;
    let slow = |number: usize| {
        let request = place.case.puts(&format!("file-{number}"), b"kolam").remove(0);
        let (start, end) = request.split_at(request.len() - 3);
        let mut peer = Http::connect(address);
        peer.send(start);
        thread::sleep(pause);
        peer.send(end);
        place.case.answer(&mut peer, &request).unwrap();
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let busy: Vec<_> = (0..AT_ONCE)
            .map(|number| scope.spawn(move || slow(number)))
            .collect();
        thread::sleep(pause / 5);
        let later = Instant::now();
        place
            .case
            .ask(&mut Http::connect(address), &place.case.get("none"))
            .unwrap_err();
        let waited = later.elapsed();
        busy.into_iter().for_each(joined);
        (began.elapsed(), waited)
    })
}
