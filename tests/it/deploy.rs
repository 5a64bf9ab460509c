//! How others start a server: with a listener that is open already, as a service manager does.

use crate::support::*;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

/// Starts a server with `listener` as descriptor 3, and these variables.
fn start(listener: TcpListener, variables: &str, folder: &Folder, words: &str) -> Running {
    let script = format!("exec 3<&0 0</dev/null; {variables} exec \"$@\"");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_kolam"),
        "serve",
        "--quiet",
    ]);
    command.args(words.words()).arg("--root").arg(folder.path());
    command.stdin(Stdio::from(OwnedFd::from(listener)));
    Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

fn first_line(server: &mut Running) -> String {
    let mut line = String::new();
    let stdout = server.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_listener_that_is_passed_on_is_served() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"kept");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let words = format!("--mode {} --protocol {} --workers 1", case.mode, case.protocol);
        let kept = listener.try_clone().unwrap();
        let mut server = start(listener, "LISTEN_PID=$$ LISTEN_FDS=1", folder, &words);
        assert!(first_line(&mut server).contains(&format!("listening on {address} ")));
        let mut peer = http::Http::connect(address);
        assert_has(
            &case.ask(&mut peer, &case.get("a")).unwrap(),
            &[&case.got("a", "kept")],
        );
        // Nothing is lost between two servers: connections wait in the listener that the manager keeps. This
        // one comes while the only worker has another, and in single and process mode nobody has accepted it.
        let mut waits = http::Http::connect(address);
        let is_first = !case.is_http() && ["single", "process"].contains(&case.mode);
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait(PATIENCE).code(), Some(0));
        if !is_first {
            waits = http::Http::connect(address);
        }
        let mut next = start(kept, "LISTEN_PID=$$ LISTEN_FDS=1", folder, &words);
        assert_has(
            &case.ask(&mut waits, &case.get("a")).unwrap(),
            &[&case.got("a", "kept")],
        );
        next.signal(libc::SIGTERM);
        assert_eq!(next.wait(PATIENCE).code(), Some(0));
    });
}

#[test]
fn a_listener_of_another_process_is_left_alone() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap();
    let words = "--listen 127.0.0.1:0";
    let mut server = start(listener, "LISTEN_PID=1 LISTEN_FDS=1", &folder, words);
    assert!(!first_line(&mut server).contains(&format!("listening on {other} ")));
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(PATIENCE).code(), Some(0));
}

#[test]
fn what_is_passed_on_must_be_one_socket() {
    let folder = Folder::new();
    for (variables, words) in [
        ("LISTEN_PID=$$ LISTEN_FDS=2", "LISTEN_FDS=2: expected one socket"),
        (
            "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1",
            "cannot use the socket",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = start(listener, variables, &folder, "");
        assert_eq!(server.wait(PATIENCE).code(), Some(1));
        let told = std::io::read_to_string(server.0.stderr.take().unwrap()).unwrap();
        assert_has(&told, &[words]);
    }
}
