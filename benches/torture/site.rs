//! Where must a promise hold? In each mode and protocol, and behind the balancer: servers, balancers in front of
//! them, and the clients that all promises share.

use crate::support::http::Http;
use crate::support::{Case, Folder, MODES, PATIENCE, PROTOCOLS, Running, Server, kolam};
use crate::trial::message;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// One of the places where a promise must hold.
#[derive(Clone, Copy)]
pub struct Place {
    pub case: Case,
    /// A balancer stands in front of the server.
    pub balanced: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.balanced {
            true => write!(f, "balancer, {}", self.case.protocol),
            false => write!(f, "{}, {}", self.case.mode, self.case.protocol),
        }
    }
}

/// All pairs of these modes and protocols.
pub fn places(modes: &[&'static str], protocols: &[&'static str]) -> Vec<Place> {
    let place = |mode, protocol| Place {
        case: Case { mode, protocol },
        balanced: false,
    };
    let of = |&protocol: &&'static str| modes.iter().map(move |&mode| place(mode, protocol));
    protocols.iter().flat_map(of).collect()
}

/// The balancer in front of an event-mode server, for each protocol: it carries both without knowing them.
pub fn balanced() -> Vec<Place> {
    let mut list = places(&["event"], PROTOCOLS);
    list.iter_mut().for_each(|place| place.balanced = true);
    list
}

/// All modes and protocols, and the balancer.
pub fn everywhere() -> Vec<Place> {
    [places(MODES, PROTOCOLS), balanced()].concat()
}

/// What a test has found in each place. A panic in one does not stop the others; all are told in the end.
fn collect<T>(results: Vec<(Place, thread::Result<T>)>) -> Vec<(Place, T)> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for (place, result) in results {
        match result {
            Ok(value) => found.push((place, value)),
            Err(cause) => wrong.push(format!("{place}: {}", message(&*cause))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("; "));
    found
}

/// Tries a promise in one place after another, each with an empty folder.
pub fn in_turn<T: Send>(list: &[Place], test: impl Fn(Place, &Folder) -> T + Sync) -> Vec<(Place, T)> {
    let each = |place: &Place| {
        let test = || test(*place, &Folder::new());
        let result = thread::scope(|scope| scope.spawn(test).join());
        (*place, result)
    };
    collect(list.iter().map(each).collect())
}

/// The same in all places at once: for a test that mostly waits.
pub fn at_once<T: Send>(list: &[Place], test: impl Fn(Place, &Folder) -> T + Sync) -> Vec<(Place, T)> {
    let results = thread::scope(|scope| {
        let start = |place: &Place| {
            let (place, test) = (*place, &test);
            (place, scope.spawn(move || test(place, &Folder::new())))
        };
        let threads: Vec<_> = list.iter().map(start).collect();
        let join = |(place, thread): (Place, thread::ScopedJoinHandle<'_, T>)| (place, thread.join());
        threads.into_iter().map(join).collect()
    });
    collect(results)
}

/// The largest value, with the place where it was found.
pub fn worst<T: PartialOrd + Copy>(found: impl IntoIterator<Item = (Place, T)>) -> (Place, T) {
    let larger = |a: (Place, T), b: (Place, T)| if b.1 > a.1 { b } else { a };
    found.into_iter().reduce(larger).unwrap()
}

// ---- Servers ----

/// A server, and what stands in front of it.
pub struct Site {
    /// Where clients connect. The balancer goes first: its connections end before those of the server.
    pub address: SocketAddr,
    pub balancer: Option<Balancer>,
    pub server: Server,
}

impl Place {
    /// Starts a quiet server of `folder`; over a balancer with `front` as its options.
    pub fn serve(self, folder: &Folder, workers: usize, options: &str, front: &str) -> Site {
        self.in_front_of(self.case.serve(folder, workers, options), front)
    }

    /// The same of a folder by its path.
    pub fn serve_path(self, root: &Path, workers: usize, options: &str) -> Site {
        let options = format!("--quiet --protocol {} {options}", self.case.protocol);
        let server = Server::launch(self.case.mode, workers, root, &options);
        self.in_front_of(server, "")
    }

    fn in_front_of(self, server: Server, front: &str) -> Site {
        let balancer = self.balanced.then(|| Balancer::start(&[server.address], front));
        let address = balancer
            .as_ref()
            .map_or(server.address, |balancer| balancer.address);
        Site {
            address,
            balancer,
            server,
        }
    }

    /// Workers that serve one connection each at the same time; 0: as many as come.
    pub fn hands(self, workers: usize) -> usize {
        match self.case.mode {
            "single" => 1,
            "event" => 0,
            _ => workers,
        }
    }
}

impl Site {
    #[track_caller]
    pub fn http(&self) -> Http {
        Http::connect(self.address)
    }

    /// All processes of it.
    pub fn family(&self) -> Vec<u32> {
        let front = self.balancer.iter().map(|balancer| balancer.pid());
        self.server.family().into_iter().chain(front).collect()
    }
}

/// A running balancer; when it is dropped it is told to stop, and must end well.
pub struct Balancer {
    process: Running,
    pub address: SocketAddr,
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
    /// In front of `backends`.
    pub fn start(backends: &[SocketAddr], options: &str) -> Balancer {
        let named: String = backends
            .iter()
            .map(|address| format!(" --backend {address}"))
            .collect();
        Balancer::launch(&format!("balance --listen 127.0.0.1:0 {named} {options}"))
    }

    pub fn launch(words: &str) -> Balancer {
        let mut command = kolam(words);
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
        let address = ready_of(&mut process);
        Balancer {
            process,
            address,
            log,
            reader: Some(reader),
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has ended; returns its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        let code = self.process.wait(PATIENCE).code();
        self.reader.take().map(JoinHandle::join);
        code
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if self.reader.is_some() && !thread::panicking() {
            self.process.signal(libc::SIGTERM);
            assert_eq!(self.wait(), Some(0), "{}", self.log());
        }
    }
}

/// Starts a program that is not to end well, without a log, on a port that the kernel chooses.
pub fn launch(words: &str) -> (Running, SocketAddr) {
    launch_on(words, "127.0.0.1:0")
}

/// The same on the port that another one has had.
pub fn launch_at(words: &str, address: SocketAddr) -> Running {
    launch_on(words, &address.to_string()).0
}

fn launch_on(words: &str, address: &str) -> (Running, SocketAddr) {
    let (command, options) = words.split_once(' ').unwrap();
    let mut command = kolam(format!("{command} --listen {address} {options}"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = Running::spawn(&mut command);
    let address = ready_of(&mut process);
    (process, address)
}

/// Waits for the ready line: `listening on …`, `balancing on …`. Those of the servers of --spawn come first.
pub fn ready_of(process: &mut Running) -> SocketAddr {
    let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let ready = lines
        .find(|line| !line.starts_with("server "))
        .expect("it does not become ready");
    ready
        .split(' ')
        .nth(2)
        .and_then(|word| word.parse().ok())
        .expect(&ready)
}

// ---- Clients ----

/// A connection that may fail, and does not panic then: for clients beside what is being killed.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request on a connection of its own, and all that is answered.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(request)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}

/// A whole and good answer to a GET of a file with this content: nothing else, and nothing missing.
pub fn is_whole(case: Case, name: &str, content: &[u8], reply: &[u8]) -> bool {
    if case.is_http() {
        return reply.starts_with(b"HTTP/1.1 200 ")
            && reply
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
                .is_some_and(|end| reply[end + 4..] == *content);
    }
    reply == [crate::support::got(name, content).as_bytes(), crate::support::END].concat()
}

/// What became of one GET of a small file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    Whole,
    /// The connection was refused, reset or closed before the whole reply.
    Cut,
    /// The whole of something else.
    Wrong,
}

pub fn ask(case: Case, address: SocketAddr, name: &str, content: &[u8]) -> Asked {
    match exchange(address, &case.get(name)) {
        Ok(reply) if is_whole(case, name, content, &reply) => Asked::Whole,
        Ok(reply) if reply.is_empty() => Asked::Cut,
        Ok(_) => Asked::Wrong,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Asked::Wrong,
        Err(_) => Asked::Cut,
    }
}

impl Site {
    /// Sends a signal to what the clients talk to.
    #[track_caller]
    pub fn signal(&self, number: i32) {
        match &self.balancer {
            Some(balancer) => balancer.signal(number),
            None => self.server.signal(number),
        }
    }

    /// Waits until that has ended; its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        match &mut self.balancer {
            Some(balancer) => balancer.wait(),
            None => self.server.wait(PATIENCE).code(),
        }
    }

    /// As `Place::serve`, with a log.
    pub fn with_log(place: Place, folder: &Folder, workers: usize, options: &str, front: &str) -> Site {
        place.in_front_of(place.case.serve_with_log(folder, workers, options), front)
    }

    /// Stops a site with a log; returns what was logged.
    pub fn end(self) -> String {
        let front = self.balancer.map(|mut balancer| {
            balancer.signal(libc::SIGTERM);
            assert_eq!(balancer.wait(), Some(0));
            balancer.log()
        });
        self.server.signal(libc::SIGTERM);
        front.unwrap_or_default() + &self.server.finish(PATIENCE)
    }
}
