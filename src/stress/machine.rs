//! On what machine, and with what program, was that measured? A figure without its machine says nothing: so
//! every run writes down the processor, the memory, the kernel, the file system of the served folder, and
//! which program it was. Each line is a name and a value; a value that cannot be found is `unknown`.

use crate::stats::utc;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;
use std::{env, fs, thread};

/// The machine in a few lines, each with its name; `root` is the folder whose file system counts.
pub fn machine(root: &Path) -> Vec<(&'static str, String)> {
    // Without /proc these values are unknown.
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = thread::available_parallelism().ok();
    let found = [
        ("date", Some(utc(SystemTime::now()))),
        (
            "version",
            Some(concat!("kolam ", env!("CARGO_PKG_VERSION")).to_owned()),
        ),
        ("commit", commit()),
        ("cpu", field(&read("/proc/cpuinfo"), "model name")),
        ("cores", cores.map(|count| count.to_string())),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        (
            "kernel",
            Some(read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ),
        ("root on", file_system(root, &read("/proc/self/mountinfo"))),
    ];
    found.map(|(name, value)| (name, or_unknown(value))).to_vec()
}

/// `unknown` for a value that cannot be found, or is empty.
fn or_unknown(value: Option<String>) -> String {
    value
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The value of the first line `name…: value`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// The commit of the checkout that holds this program as `<checkout>/target/<profile>/kolam`, with `-dirty`
/// after it when files differ from it. It is the commit now, not at the build; `make` builds before it
/// measures.
fn commit() -> Option<String> {
    let program = env::current_exe().ok()?;
    let checkout = program.ancestors().nth(3)?;
    // Another project's checkout would give another project's commit.
    let manifest = fs::read_to_string(checkout.join("Cargo.toml")).ok()?;
    let name = concat!("name = \"", env!("CARGO_PKG_NAME"), "\"");
    manifest.lines().find(|line| *line == name)?;
    let mut git = Command::new("git");
    // No locks: someone may be working in the checkout.
    git.arg("--no-optional-locks").arg("-C").arg(checkout);
    git.args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let told = git.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let commit = String::from_utf8(told.stdout).ok()?.trim().to_owned();
    (told.status.success() && !commit.is_empty()).then_some(commit)
}

/// The type of the file system that holds `path`: that of the longest mount point above it
/// (proc_pid_mountinfo(5)).
fn file_system(path: &Path, mounts: &str) -> Option<String> {
    let path = path.canonicalize().unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let (place, about) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?;
        let kind = about.split(' ').next()?;
        path.starts_with(point).then_some((point.len(), kind))
    });
    // A later mount hides an earlier one at the same point; `max_by_key` takes the last of equals.
    let (_, kind) = mounted.max_by_key(|(length, _)| *length)?;
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /dev rw - devtmpfs dev rw\n\
                      3 2 0:3 / /dev/shm rw - tmpfs tmpfs rw\n4 1 0:4 / /de rw - xfs x rw\n";
        for (path, kind) in [("/dev/shm", "tmpfs"), ("/dev", "devtmpfs"), ("/proc", "ext4")] {
            assert_eq!(file_system(Path::new(path), mounts).as_deref(), Some(kind));
        }
    }

    #[test]
    fn what_cannot_be_found_is_unknown_and_never_empty() {
        for missing in [
            None,
            Some(String::new()),
            field("", "MemTotal"),
            field("MemTotal: \n", "MemTotal"),
        ] {
            assert_eq!(or_unknown(missing), "unknown");
        }
        assert_eq!(or_unknown(file_system(Path::new("/"), "")), "unknown");
        assert_eq!(or_unknown(field("a: b\nMemTotal:  5 kB\n", "MemTotal")), "5 kB");
        let about = machine(Path::new("/nowhere/at/all"));
        assert!(about.iter().all(|(_, value)| !value.is_empty()), "{about:?}");
        assert_eq!(about.last(), Some(&("root on", "unknown".to_owned())));
    }
}
