//! What the kernel tells about processes and connections (proc(5)).

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

/// The living processes with `word` in their command line.
pub fn processes(word: &[u8]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (alive(pid) && words.windows(word.len()).any(|window| window == word)).then_some(pid)
    });
    pids.collect()
}

/// Is there such a process? One that has ended and waits to be reaped is none.
pub fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Threads of a process.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The other end of a connection has been closed, although what it had sent may still be on its way: the
/// kernel's list of connections (proc_pid_net(5)) has its socket in another state than 01, established.
pub fn abandoned(stream: &TcpStream) -> bool {
    // A connection that was reset has no other end any more.
    let (Ok(theirs), Ok(ours)) = (stream.peer_addr(), stream.local_addr()) else {
        return true;
    };
    let [theirs, ours] = [theirs, ours].map(|address| address.port());
    let list = fs::read_to_string("/proc/net/tcp").unwrap();
    let established = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        words.len() == 4
            && words[1].ends_with(&format!(":{theirs:04X}"))
            && words[2].ends_with(&format!(":{ours:04X}"))
            && words[3] == "01"
    };
    !list.lines().any(established)
}

/// A figure of `/proc/<pid>/status`, in KiB.
pub fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Memory of a process that is in RAM, in KiB.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// Memory that a process has used at most, in KiB.
pub fn peak_memory(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// Processor time that a process has used. The kernel counts it in hundredths of a second for everybody,
/// whatever its own clock does (USER_HZ, time(7)).
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    // Fields 14 and 15, counted from 1; the first of `rest` is number 3.
    let used = rest.split(' ').skip(11).take(2);
    let ticks: u64 = used.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// The living children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .filter(|&pid| alive(pid))
        .collect()
}
