//! What does each worker do at this moment? Its newest request and how many bytes have crossed for it stand
//! in a slot of the shared memory, three cache lines a row. Only the worker writes there, a few stores a
//! request. A watcher reads at the same time and discards what has changed meanwhile (a sequence lock), so
//! no worker ever waits for a watcher.

use super::{Field, ROW, RequestLog, Scoreboard, WorkerStats};
use crate::json::Writer;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence};
use std::time::SystemTime;

/// Words of 8 bytes in a slot.
pub const SLOT: usize = 24;

/// Odd while a request is being written; otherwise the ticket of the request that the slot shows.
const TICKET: usize = 0;
/// Connections that the worker has.
const OPEN: usize = 1;
/// 1 while the request runs.
const RUNS: usize = 2;
/// When it began, in microseconds since 1970.
const SINCE: usize = 3;
/// Bytes that have crossed its connection since.
const BYTES: usize = 4;
/// How many there will be; 0: nothing is known.
const TOTAL: usize = 5;
/// Up to 8 letters.
const VERB: usize = 6;
/// The port of the peer, and above it the length of the name in bytes.
const PORT: usize = 7;
/// Two words; an IPv4 address is written as IPv6 writes it.
const ADDRESS: usize = 8;
/// The name fills the rest.
const NAME: usize = 10;

/// Longest part of a name that is kept, in bytes: more does not fit into a line of a terminal.
const NAME_LIMIT: usize = (SLOT - NAME) * 8;

/// Reads of a slot before a watcher goes without: a write takes less than a microsecond, but a worker that
/// is killed in the middle of one never ends it.
const TRIES: u32 = 16;

/// Microseconds since 1970.
pub fn micros() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_micros() as u64)
}

/// What a slot says.
pub struct Doing {
    pub connections: u64,
    pub runs: bool,
    /// Microseconds since 1970.
    pub since: u64,
    pub bytes: u64,
    pub total: u64,
    pub verb: String,
    pub name: String,
    pub peer: SocketAddr,
}

impl WorkerStats {
    fn word(&self, word: usize) -> &AtomicU64 {
        let Scoreboard { workers, cells, .. } = self.scoreboard;
        &cells[(2 * workers + 1) * ROW + self.row * SLOT + word]
    }

    fn put(&self, word: usize, value: u64) {
        self.word(word).store(value, Relaxed);
    }

    /// The ticket of the request that the slot shows.
    pub fn ticket(&self) -> u64 {
        self.word(TICKET).load(Relaxed)
    }

    /// After a turn of a connection, before which the slot showed `before`: adds its bytes to the request
    /// with this ticket, if it is still shown, and returns the ticket. A request that was first shown in this
    /// turn is one of this connection, for a worker serves one at a time.
    pub fn crossed(&self, before: u64, ticket: u64, bytes: u64) -> u64 {
        let shown = self.ticket();
        if shown != ticket && shown == before {
            return ticket;
        }
        self.put(BYTES, self.word(BYTES).load(Relaxed) + bytes);
        shown
    }

    /// Its process has died: it has no connection and no request.
    pub fn clear_slot(&self) {
        self.put(OPEN, 0);
        self.put(RUNS, 0);
    }

    /// What it does now; `None`: that changed too often, or its process died while it wrote.
    pub fn doing(&self) -> Option<Doing> {
        (0..TRIES).find_map(|_| {
            let ticket = self.word(TICKET).load(Acquire);
            let words: [u64; SLOT] = std::array::from_fn(|word| self.word(word).load(Relaxed));
            // No load above may move below this, so an unchanged ticket means that nothing was written.
            fence(Acquire);
            (ticket.is_multiple_of(2) && ticket == self.ticket()).then(|| decode(&words))
        })
    }
}

fn decode(words: &[u64; SLOT]) -> Doing {
    let text = |words: &[u64], length: usize| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        String::from_utf8_lossy(&bytes[..length.min(bytes.len())]).into_owned()
    };
    let address = u128::from(words[ADDRESS]) << 64 | u128::from(words[ADDRESS + 1]);
    let (port, length) = (words[PORT] as u16, (words[PORT] >> 16) as usize);
    let mut name = text(&words[NAME..], length);
    if length > NAME_LIMIT {
        // The limit may lie in the middle of a character.
        name = name.trim_end_matches('\u{fffd}').to_owned() + "…";
    }
    Doing {
        connections: words[OPEN],
        runs: words[RUNS] == 1,
        since: words[SINCE],
        bytes: words[BYTES],
        total: words[TOTAL],
        verb: text(&words[VERB..=VERB], 8).trim_end_matches('\0').to_owned(),
        name,
        peer: SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address)).to_canonical(), port),
    }
}

/// What one connection shows in the slot of its worker.
pub struct Shown {
    stats: WorkerStats,
    /// `None`: it has gone already.
    peer: Option<SocketAddr>,
    /// Of its request that runs; 0: none does.
    ticket: u64,
}

impl Shown {
    /// `None`: the connection belongs to no worker, since it is refused.
    pub fn new(stats: WorkerStats, peer: Option<SocketAddr>) -> Option<Shown> {
        if stats.row == 0 {
            return None;
        }
        let shown = Shown {
            stats,
            peer,
            ticket: 0,
        };
        let open = stats.word(OPEN).load(Relaxed);
        stats.put(OPEN, open + 1);
        // A worker that waits for its only peer shows whose silence that is.
        if open == 0 {
            shown.write("", b"");
        }
        Some(shown)
    }

    /// A request begins. One that only watches is not shown: it would hide what it asks for.
    pub fn request(&mut self, verb: &str, name: &[u8]) {
        if self.peer.is_some() && verb != "STATS" && !name.starts_with(b"/_pool") {
            self.ticket = self.write(verb, name);
            self.stats.put(RUNS, 1);
        }
    }

    /// About this many bytes will cross for it.
    pub fn expects(&self, bytes: u64) {
        if self.ticket == self.stats.ticket() {
            self.stats.put(TOTAL, bytes);
        }
    }

    /// The request is over: the slot still shows it, as one that does not run.
    pub fn end(&mut self) {
        if self.ticket == self.stats.ticket() {
            self.stats.put(RUNS, 0);
        }
        self.ticket = 0;
    }

    /// Writes a request over the one that the slot shows. Returns its ticket; 0: there is nothing to show.
    fn write(&self, verb: &str, name: &[u8]) -> u64 {
        let (stats, Some(peer)) = (&self.stats, self.peer) else {
            return 0;
        };
        let odd = stats.ticket() | 1;
        stats.put(TICKET, odd);
        // No store below may become visible before the odd ticket.
        fence(Release);
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
            u64::from_le_bytes(word)
        };
        let address = match peer.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
            IpAddr::V6(ip) => u128::from(ip),
        };
        for (at, value) in [
            (RUNS, 0),
            (SINCE, micros()),
            (BYTES, 0),
            (TOTAL, 0),
            (VERB, word(verb.as_bytes())),
            (PORT, u64::from(peer.port()) | (name.len() as u64) << 16),
            (ADDRESS, (address >> 64) as u64),
            (ADDRESS + 1, address as u64),
        ] {
            stats.put(at, value);
        }
        let pieces = name.chunks(8).take(SLOT - NAME).enumerate();
        pieces.for_each(|(at, piece)| stats.put(NAME + at, word(piece)));
        stats.word(TICKET).store(odd + 1, Release);
        odd + 1
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end();
        let open = self.stats.word(OPEN).load(Relaxed);
        self.stats.put(OPEN, open.saturating_sub(1));
    }
}

/// The part of a connection's log that watchers need.
impl RequestLog {
    /// Shows the requests of `peer`.
    pub fn shown(mut self, peer: Option<SocketAddr>) -> RequestLog {
        self.shown = Shown::new(self.stats, peer);
        self
    }

    /// About this many bytes will cross for the request.
    pub fn expects(&self, bytes: u64) {
        self.shown.iter().for_each(|shown| shown.expects(bytes));
    }

    /// The answer of STATS, by the worker of this connection.
    pub fn write_pool(&self, w: &mut Writer) {
        self.scoreboard().write(Some(self.stats.row), w);
    }
}

/// Connections that were taken and have no worker yet, as far as this process can count them.
pub fn queued(scoreboard: &Scoreboard) -> u64 {
    let rows = 1..=2 * scoreboard.workers;
    let served = rows.map(|row| scoreboard.row(row).word(OPEN).load(Relaxed));
    scoreboard
        .server()
        .get(Field::Permits)
        .saturating_sub(served.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    #[test]
    fn a_slot_shows_the_newest_request_until_it_ends() {
        let scoreboard = Scoreboard::new("event", 2).unwrap();
        let stats = scoreboard.worker(1);
        let mut first = Shown::new(stats, peer("127.0.0.1:5")).unwrap();
        let mut second = Shown::new(stats, peer("[2001:db8::1]:65535")).unwrap();
        first.request("GET", b"a.bin");
        first.expects(9);
        let ticket = stats.crossed(0, 0, 3);
        assert_eq!(stats.crossed(ticket, ticket, 4), ticket);
        let doing = stats.doing().unwrap();
        assert_eq!(
            (doing.connections, doing.runs, doing.bytes, doing.total),
            (2, true, 7, 9)
        );
        assert_eq!((doing.verb.as_str(), doing.name.as_str()), ("GET", "a.bin"));
        assert_eq!(doing.peer, peer("127.0.0.1:5").unwrap());
        second.request("UPLOAD", b"b");
        // What the first one still does belongs to no request that is shown.
        let other = stats.ticket();
        assert_eq!(stats.crossed(other, ticket, 100), ticket);
        first.expects(100);
        first.end();
        let doing = stats.doing().unwrap();
        assert_eq!(
            (doing.runs, doing.bytes, doing.total, doing.name.as_str()),
            (true, 0, 0, "b")
        );
        assert_eq!(doing.peer, peer("[2001:db8::1]:65535").unwrap());
        second.request("STATS", b"");
        drop(second);
        let doing = stats.doing().unwrap();
        assert_eq!((doing.connections, doing.runs), (1, false));
        assert!(
            scoreboard
                .worker(0)
                .doing()
                .is_some_and(|doing| doing.connections == 0)
        );
    }

    #[test]
    fn a_name_is_cut_at_its_bound_and_never_inside_a_character() {
        let scoreboard = Scoreboard::new("thread", 1).unwrap();
        let stats = scoreboard.worker(0);
        let mut shown = Shown::new(stats, peer("127.0.0.1:5")).unwrap();
        for (name, seen) in [
            (String::new(), String::new()),
            ("n".repeat(NAME_LIMIT), "n".repeat(NAME_LIMIT)),
            ("n".repeat(NAME_LIMIT + 1), "n".repeat(NAME_LIMIT) + "…"),
            ("n".repeat(NAME_LIMIT - 1) + "é", "n".repeat(NAME_LIMIT - 1) + "…"),
            ("n".repeat(9000), "n".repeat(NAME_LIMIT) + "…"),
        ] {
            shown.request("OPTIONS", name.as_bytes());
            let doing = stats.doing().unwrap();
            assert_eq!((doing.verb.as_str(), doing.name), ("OPTIONS", seen));
        }
    }

    #[test]
    fn what_a_killed_process_was_writing_is_never_shown() {
        let scoreboard = Scoreboard::new("process", 1).unwrap();
        let stats = scoreboard.worker(0);
        let mut killed = Shown::new(stats, peer("127.0.0.1:5")).unwrap();
        killed.request("GET", b"a");
        stats.put(TICKET, stats.ticket() | 1);
        assert!(stats.doing().is_none());
        std::mem::forget(killed);
        stats.record_exit();
        let _next = Shown::new(stats, peer("127.0.0.1:6")).unwrap();
        let doing = stats.doing().unwrap();
        assert_eq!((doing.connections, doing.runs, doing.peer.port()), (1, false, 6));
    }

    #[test]
    fn a_reader_beside_a_writer_sees_whole_requests_only() {
        let scoreboard = Scoreboard::new("thread", 1).unwrap();
        let stats = scoreboard.worker(0);
        let mut shown = Shown::new(stats, peer("127.0.0.1:5")).unwrap();
        shown.request("GET", b"0");
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for round in 0..20_000_u32 {
                    let name = round.to_string().repeat(20);
                    shown.request("GET", name.as_bytes());
                }
            });
            while !writer.is_finished() {
                let Some(doing) = stats.doing() else { continue };
                let name = doing.name.trim_end_matches('…');
                let whole = (1..=5).any(|digits| {
                    let first = name.get(..digits).unwrap_or(name);
                    first.repeat(20).starts_with(name)
                });
                assert!(whole, "{name}");
            }
        });
    }

    #[test]
    fn a_server_that_may_not_be_watched_tells_counts_alone() {
        let scoreboard = Scoreboard::new("thread", 1).unwrap();
        let stats = scoreboard.worker(0);
        stats.set(Field::Pid, 7);
        let mut shown = Shown::new(stats, peer("127.0.0.1:5")).unwrap();
        shown.request("GET", b"secret");
        let told = |asked| {
            let mut out = Vec::new();
            scoreboard.write(asked, &mut Writer::new(&mut out));
            String::from_utf8(out).unwrap()
        };
        let all = r#""name":"secret","bytes":0,"total":0,"peer":"127.0.0.1:5""#;
        assert!(told(Some(7)).contains(all));
        scoreboard.server().set(Field::Private, 1);
        assert!(told(None).contains(all), "it is asked from outside");
        let told = told(Some(7));
        assert!(
            told.ends_with(r#""state":"waits","connections":1,"requests":0}]}"#),
            "{told}"
        );
        assert!(Shown::new(scoreboard.server(), peer("127.0.0.1:5")).is_none());
    }
}
