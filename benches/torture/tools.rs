//! What is the system asked for? Namespaces, cgroups, slow links, resets, a mean C library; and can it do that here? Nothing of
//! it has to be taken back, but for the cgroup and the bound of a device: it ends with the namespaces of the process.

use crate::run::has;
use std::ffi::OsStr;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

/// What a promise cannot be tried without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The real one, which may mount and limit.
    Root,
    /// Namespaces for processes, mounts and the network.
    Namespaces,
    /// A program of this name.
    Program(&'static str),
    /// A control group that limits memory.
    MemoryLimit,
    /// Room on a disk: files in memory would be memory of the server.
    Disk,
    /// A library in front of the C library (`preload.rs`).
    Preload,
    /// The program of the black-box tests, whose path the Makefile gives.
    Tests,
    /// That of the unit tests.
    Units,
}

impl Need {
    /// Why it cannot be had here; `None`: it can.
    pub fn lacks(self) -> Option<String> {
        let (has_it, why) = match self {
            Need::Root => (is_root(), "only root may do what it needs".to_owned()),
            Need::Namespaces => (
                UNSHARE.is_some(),
                "unshare(1) makes no namespaces here".to_owned(),
            ),
            Need::Program(name) => (has(name), format!("{name} is not installed")),
            Need::MemoryLimit => match memory_groups() {
                None => (false, "no memory cgroup is mounted".to_owned()),
                Some((_, is_new)) => (
                    is_new || knows_strict_limits(),
                    "a memory cgroup of version 1 needs Linux 6.2".to_owned(),
                ),
            },
            Need::Disk => (disk_has_room(), "TMPDIR has no 8 GiB on a disk".to_owned()),
            Need::Preload => {
                let is_known = cfg!(target_arch = "x86_64");
                let why = if is_known {
                    "rustc is not installed"
                } else {
                    "preload.rs knows x86-64 only"
                };
                (is_known && has("rustc"), why.to_owned())
            }
            Need::Tests => (
                tests().is_some(),
                "TESTS does not name the program of the tests".to_owned(),
            ),
            Need::Units => (
                units().is_some(),
                "UNITS does not name the program of the unit tests".to_owned(),
            ),
        };
        (!has_it).then_some(why)
    }
}

/// The program of the black-box tests.
pub fn tests() -> Option<PathBuf> {
    program("TESTS")
}

/// The program of the unit tests, which are the fuzz tests, too.
pub fn units() -> Option<PathBuf> {
    program("UNITS")
}

fn program(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_file())
}

/// Where temporary files go: are there 8 GiB, and on a disk?
fn disk_has_room() -> bool {
    let path = env::temp_dir();
    let said = crate::run::said(&format!("stat -f -c %T:%a:%S {}", path.display()));
    let [kind, blocks, size] = *said.split(':').collect::<Vec<_>>() else {
        return false;
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    !["tmpfs", "ramfs"].contains(&kind) && number(blocks).saturating_mul(number(size)) >= 8 << 30
}

fn is_root() -> bool {
    crate::run::said("id -u") == "0"
}

/// Does a command end well?
pub fn runs(words: &str) -> bool {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let command = command.args(words).stdin(Stdio::null());
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A command that must end well.
#[track_caller]
pub fn must(words: &str) {
    let mut command = Command::new("sh");
    let output = command.args(["-c", words]).stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

// ---- Namespaces ----

/// The words that run a command in namespaces of its own; `None`: not here.
static UNSHARE: LazyLock<Option<&str>> = LazyLock::new(|| {
    let spaces = "unshare --mount --net --pid --fork --kill-child --mount-proc";
    let user = "unshare --user --map-root-user --mount --net --pid --fork --kill-child --mount-proc";
    [spaces, user]
        .into_iter()
        .find(|words| runs(&format!("{words} true")))
});

/// A command of this program in namespaces of its own, if there are any.
pub fn isolated(program: &Path) -> Command {
    let Some(words) = *UNSHARE else {
        return Command::new(program);
    };
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(program).env("TORTURE_ISOLATED", "yes");
    command
}

/// In a network namespace, loopback is down at first.
pub fn begin() {
    if env::var_os("TORTURE_ISOLATED").is_some() {
        must("ip link set lo up");
    }
}

/// From now on loopback carries so many bits a second. Its queue is short, so that nothing waits long in it.
pub fn slow_down(rate: &str) {
    must(&format!(
        "tc qdisc add dev lo root tbf rate {rate} burst 256kb latency 50ms"
    ));
}

// ---- Memory ----

/// Where control groups for memory are made, and whether they are of version 2.
fn memory_groups() -> Option<(PathBuf, bool)> {
    let old = PathBuf::from("/sys/fs/cgroup/memory");
    if old.join("memory.limit_in_bytes").exists() {
        return Some((old, false));
    }
    let new = PathBuf::from("/sys/fs/cgroup");
    let list = fs::read_to_string(new.join("cgroup.subtree_control")).unwrap_or_default();
    list.contains("memory").then_some((new, true))
}

/// A limit on the memory of a group of processes, files in the page cache included. It is taken away by the
/// process of the run, when the last process of the group has ended.
pub struct MemoryGroup {
    folder: PathBuf,
    is_new: bool,
}

impl MemoryGroup {
    pub fn of(bytes: u64) -> MemoryGroup {
        let (parent, is_new) = memory_groups().unwrap();
        let folder = parent.join(env::var_os("TORTURE_NAME").unwrap());
        fs::create_dir_all(&folder).unwrap();
        let limit = if is_new {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        fs::write(folder.join(limit), bytes.to_string()).unwrap();
        MemoryGroup { folder, is_new }
    }

    /// A process becomes a member; what it has taken before is not counted.
    pub fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Processes that the kernel has killed because there was no memory left.
    pub fn killed(&self) -> u64 {
        let name = if self.is_new {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap()
    }
}

/// What waits to be written, a folder for each device.
const DEVICES: &str = "/sys/class/bdi";

/// In the folder of the promise: the device that was bounded.
const BOUND_DEVICE: &str = "bounded-device";

/// Does the kernel bound what waits to be written to one device? (sysfs-class-bdi, Linux 6.2)
fn knows_strict_limits() -> bool {
    let mut devices = fs::read_dir(DEVICES).into_iter().flatten().flatten();
    devices.any(|device| device.path().join("strict_limit").exists())
}

/// From now on temporary files are on a file system of their own, and at most 32 MiB of them wait to be written. A
/// group of version 1 counts what waits, and does not slow down who writes, but kills: beside a slow disk that
/// would be the figure, however little the program takes. Version 2 slows down by itself.
pub fn bound_writeback() {
    if memory_groups().is_none_or(|(_, is_new)| is_new) {
        return;
    }
    let folder = env::temp_dir();
    let folder = folder.display();
    must(&format!(
        "truncate -s 8G {folder}/image && mkfs.ext4 -q -F {folder}/image"
    ));
    must(&format!("mount -o loop {folder}/image {folder}"));
    let device = crate::run::said(&format!("mountpoint -d {folder}"));
    // Before there is something to take back.
    fs::write(BOUND_DEVICE, &device).unwrap();
    let bound = 32 << 20;
    must(&format!(
        "cd {DEVICES}/{device} && echo 1 >strict_limit && echo {bound} >max_bytes"
    ));
}

/// Takes that back, which stays with the loop device.
pub fn unbound_writeback(room: &Path) {
    if let Ok(device) = fs::read_to_string(room.join(BOUND_DEVICE)) {
        must(&format!(
            "cd {DEVICES}/{device} && echo 0 >strict_limit && echo 100 >max_ratio"
        ));
    }
}

/// Takes the group of that name away; its processes have ended, or are about to.
pub fn remove_cgroup(name: &OsStr) {
    let Some((parent, _)) = memory_groups() else {
        return;
    };
    let folder = parent.join(name);
    crate::system::within(crate::system::PATIENCE, || {
        !folder.exists() || fs::remove_dir(&folder).is_ok()
    });
}

// ---- A mean kernel ----

/// Compiles `preload.rs`; returns the library.
pub fn preload() -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/torture/preload.rs");
    let library = env::temp_dir().join("preload.so");
    must(&format!(
        "rustc --edition 2024 -O --crate-type cdylib -o {} {source}",
        library.display()
    ));
    library
}

/// The power fails: what is not on the disk of this file system stays away (ext4's EXT4_IOC_SHUTDOWN, without the log).
#[allow(unsafe_code)]
pub fn shut_down(folder: &Path) {
    const SHUTDOWN: libc::c_ulong = 0x8004_587d;
    let without_log = 2_u32;
    let folder = fs::File::open(folder).unwrap();
    // SAFETY: the call reads one integer, which is alive.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const without_log) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

// ---- Connections ----

/// Ends a connection with a reset: nothing more is sent, and nothing more is taken.
#[allow(unsafe_code)]
pub fn reset(stream: TcpStream) {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let value = std::ptr::from_ref(&at_once).cast();
    let size = size_of_val(&at_once) as libc::socklen_t;
    // SAFETY: `value` points to a structure that is alive, of the size stated.
    let result =
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size) };
    assert_eq!(result, 0, "SO_LINGER");
}
