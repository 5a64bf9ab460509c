//! What does the kernel tell about another process? Its memory and its threads, with those of its children
//! (proc(5), proc_pid_status(5)).

use super::process::Pid;
use std::{fs, io, iter};

/// A process and its children.
fn family(pid: Pid) -> impl Iterator<Item = Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<Pid> = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect();
    iter::once(pid).chain(children)
}

/// Peak resident memory in KiB: the sum of each process's peak, with shared pages (the program itself, the
/// counters) counted once. An estimate: the peaks need not have been at the same time, and a child that was
/// replaced is not in it. `None`: there is no such process.
pub fn peak_memory(pid: Pid) -> Option<u64> {
    family(pid)
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

/// Lets the peak begin again at what is in use now (5 in `clear_refs`, see proc_pid_clear_refs(5)); only the
/// owner of the process may.
pub fn forget_peak(pid: Pid) -> io::Result<()> {
    family(pid).try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

/// Threads of a process and its children.
pub fn threads(pid: Pid) -> usize {
    let tasks = family(pid).filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    tasks.map(Iterator::count).sum()
}

/// A field of the status of a process, in KiB.
fn memory(pid: Pid, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| *name == field)?;
    value.trim().trim_end_matches(" kB").parse().ok()
}
