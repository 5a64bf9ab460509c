//! What does the kernel tell about another process? Its memory, its threads and its processor time, with
//! those of its children, and what it has not read yet (proc(5), proc_pid_status(5)).

use super::call::filled;
use super::process::Pid;
use std::time::Duration;
use std::{fs, io, iter};

/// Units of /proc/<pid>/stat in a second: USER_HZ, which is 100 on every machine that Rust knows.
const TICKS: u32 = 100;

/// TCP_LISTEN in the kernel's include/net/tcp_states.h.
const LISTENING: u8 = 10;

/// A process and all that it has started, itself or by these.
fn family(pid: Pid) -> Vec<Pid> {
    // A child belongs to the thread that forked it.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let lists = threads
        .flatten()
        .map(|thread| fs::read_to_string(thread.path().join("children")));
    let children: String = lists.flatten().collect();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    iter::once(pid).chain(children.flat_map(family)).collect()
}

/// Peak resident memory in KiB: the sum of each process's peak, with shared pages (the program itself, the
/// counters) counted once. An estimate: the peaks need not have been at the same time, and a child that was
/// replaced is not in it. `None`: there is no such process.
pub fn peak_memory(pid: Pid) -> Option<u64> {
    family(pid)
        .into_iter()
        .map(|member| {
            let peak = memory(member, "VmHWM")?;
            if member == pid {
                return Some(peak);
            }
            let shared = memory(member, "RssFile")? + memory(member, "RssShmem")?;
            Some(peak.saturating_sub(shared))
        })
        .sum()
}

/// Resident memory in KiB that a process does not read from files and does not share on purpose.
pub fn private_memory(pid: Pid) -> Option<u64> {
    memory(pid, "RssAnon")
}

/// Lets the peak begin again at what is in use now (5 in `clear_refs`, see proc_pid_clear_refs(5)); only the
/// owner of the process may.
pub fn forget_peak(pid: Pid) -> io::Result<()> {
    let mut family = family(pid).into_iter();
    family.try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

/// Processor time of a process and its family, of its ended children too: their parent inherits it when it
/// waits for them. `None`: there is no such process.
pub fn processor_time(pid: Pid) -> Option<Duration> {
    let stat = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    stat(pid)?;
    let all = family(pid).into_iter().filter_map(|pid| ticks(&stat(pid)?));
    Some(Duration::from_secs(1) * all.sum::<u32>() / TICKS)
}

/// utime, stime, cutime and cstime together: the 14th to the 17th field (proc_pid_stat(5)).
fn ticks(stat: &str) -> Option<u32> {
    // The second field is the program's name, in which anything may stand; the third follows the last `)`.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(4);
    times.map(|field| field.parse::<u32>().ok()).sum()
}

/// Threads of a process and its children.
pub fn threads(pid: Pid) -> usize {
    let tasks = family(pid)
        .into_iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    tasks.map(Iterator::count).sum()
}

/// Bytes that came from our port `ours` and that the server at port `theirs` has not read yet
/// (proc_pid_net(5)). `None`: it is not on this machine.
pub fn unread(ours: u16, theirs: u16) -> Option<usize> {
    let (theirs, ours) = (format!(":{theirs:04X}"), format!(":{ours:04X}"));
    // Its number, local address, remote address, state, `sending:received`, in hexadecimal.
    let received = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(5).collect();
        let [_, local, remote, _, queues] = words[..] else {
            return None;
        };
        let found = local.ends_with(&theirs) && remote.ends_with(&ours);
        usize::from_str_radix(queues.split_once(':').filter(|_| found)?.1, 16).ok()
    };
    // The lists are long after many short connections: the second is made only when it is needed.
    let mut lists = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter();
    lists.find_map(|path| fs::read_to_string(path).ok()?.lines().find_map(received))
}

/// Connections that wait at the listener with this number (TCP_INFO, tcp(7)); `None`: it is no listener, or
/// none any more. Only the number crosses a fork, and a wrong one does no harm.
pub fn backlog(listener: u64) -> Option<u64> {
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the structure is made of integers, for which zero is a value, and has the length stated.
    let info = unsafe {
        filled(|info: *mut libc::tcp_info| {
            let (fd, place) = (listener as i32, info.cast());
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, place, &mut length)
        })
    };
    // For a listener, this field counts what waits to be accepted.
    let info = info.ok().filter(|info| info.tcpi_state == LISTENING)?;
    Some(info.tcpi_unacked.into())
}

/// A field of the status of a process, in KiB.
fn memory(pid: Pid, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| *name == field)?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 1 0 99";
        assert_eq!(ticks(stat), Some(575));
        assert_eq!(ticks("77 (cut"), None);
    }

    #[test]
    fn what_waits_is_counted_at_a_listener_and_nowhere_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |fd: i32| backlog(fd as u64);
        assert_eq!(at(listener.as_raw_fd()), Some(0));
        let waiting: Vec<_> = (0..3)
            .map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap())
            .collect();
        assert_eq!(at(listener.as_raw_fd()), Some(3));
        assert_eq!(at(waiting[0].as_raw_fd()), None);
        assert_eq!(at(-1), None);
    }

    #[test]
    fn a_family_is_found_and_a_process_that_is_none_is_not() {
        let pid = std::process::id() as Pid;
        assert!(family(pid).contains(&pid));
        assert!(peak_memory(pid).is_some_and(|kib| kib > 100) && processor_time(pid).is_some());
        // No process has a number as great.
        assert_eq!((peak_memory(1 << 22), processor_time(1 << 22)), (None, None));
        assert!(forget_peak(1 << 22).is_err());
    }
}
