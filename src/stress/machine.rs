//! # Chapter 14g. On what machine, and with what program, was that measured?
//!
//! A figure without its machine says nothing. So every run writes down the processor, the memory, the kernel,
//! the file system of the served folder, and which program it was: the version, and the commit when the
//! program lies in the `target` folder of its own checkout.
//!
//! The invariant: each line is a name and a value; a value that cannot be found is `unknown`.
//!
//! What must not live here: what was measured.
//!
//! before: `stress/run_folder.rs` … after: `stress/live.rs`
//!
//! Experiment: run `make stress-quick` with and without `STRESS_ROOT=/dev/shm` and compare `root on`.

use crate::stats::utc;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;
use std::{env, fs, thread};

/// The machine in a few lines, each with its name; `root` is the folder whose file system counts.
pub fn machine(root: &Path) -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("date", utc(SystemTime::now())),
        ("version", concat!("kolam ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("commit", commit().unwrap_or_else(|| "unknown".to_owned())),
        ("cpu", field(&read("/proc/cpuinfo"), "model name")),
        ("cores", cores.to_string()),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("root on", file_system(root, &read("/proc/self/mountinfo"))),
    ]
}

/// The commit of the checkout that holds this program as `<checkout>/target/<profile>/kolam`, with `-dirty`
/// after it when files differ from it. It is that of now; `make` builds before it measures.
fn commit() -> Option<String> {
    let program = env::current_exe().ok()?;
    let checkout = program.ancestors().nth(3)?;
    // Another project's checkout would give another project's commit.
    let manifest = fs::read_to_string(checkout.join("Cargo.toml")).ok()?;
    if !manifest.lines().any(|line| line == concat!("name = \"", env!("CARGO_PKG_NAME"), "\"")) {
        return None;
    }
    let mut git = Command::new("git");
    // No locks: somebody may be at work in the checkout.
    git.arg("--no-optional-locks").arg("-C").arg(checkout);
    git.args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let told = git.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let commit = String::from_utf8(told.stdout).ok()?.trim().to_owned();
    (told.status.success() && !commit.is_empty()).then_some(commit)
}

/// The type of the file system that holds `path`: that of the longest mount point above it
/// (proc_pid_mountinfo(5)).
fn file_system(path: &Path, mounts: &str) -> String {
    let path = path.canonicalize().unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let (place, about) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?;
        path.starts_with(point).then_some((point.len(), about.split(' ').next()?))
    });
    // A later mount hides an earlier one at the same point; `max_by_key` takes the last of equals.
    mounted.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /dev rw - devtmpfs dev rw\n\
                      3 2 0:3 / /dev/shm rw - tmpfs tmpfs rw\n4 1 0:4 / /de rw - xfs x rw\n";
        assert_eq!(file_system(Path::new("/dev/shm"), mounts), "tmpfs");
        assert_eq!(file_system(Path::new("/dev"), mounts), "devtmpfs");
        assert_eq!(file_system(Path::new("/proc"), mounts), "ext4");
    }
}
