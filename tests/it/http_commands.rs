//! What the commands say of HTTP: the first line of such a server, and what make passes on.

use crate::command_line::assert_passes;
use crate::support::*;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

/// The first line of a server that is started with `words`, after which it is stopped.
#[track_caller]
fn first_line(words: String) -> String {
    let mut command = kolam(words);
    let mut server = Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(PATIENCE).code(), Some(0), "{line}");
    assert_eq!(
        io::read_to_string(server.0.stderr.take().unwrap()).unwrap(),
        "",
        "{line}"
    );
    line
}

#[test]
fn the_first_line_of_an_http_server_ends_with_a_url() {
    let folder = Folder::new();
    let serve = format!("serve --quiet --allow-write --root {}", folder.word(""));
    for (listen, url) in [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        ("0.0.0.0:0", "http://127.0.0.1:"),
        ("[::1]:0", "http://[::1]:"),
        ("[::]:0", "http://[::1]:"),
    ] {
        if TcpListener::bind(listen).is_err() {
            skipped(format!("nothing can listen on {listen} here"));
            continue;
        }
        let line = first_line(format!("{serve} --protocol http --listen {listen}"));
        let (about, found) = line.trim_end().rsplit_once(' ').unwrap();
        let address: SocketAddr = about.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(found, format!("{url}{}/", address.port()), "{listen}: {line}");
        assert!(
            about.contains("event mode"),
            "HTTP is served in event mode unless asked: {line}"
        );
        let line = first_line(format!("{serve} --listen {listen}"));
        assert!(
            line.contains("thread mode") && !line.contains("http://"),
            "{listen}: {line}"
        );
    }
    // A port that browsers refuse, and that is free here.
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let refused = (6665..=6669).rev().find(free);
    let Some(port) = refused else {
        return skipped("ports 6665 to 6669 are taken");
    };
    let listen = format!("127.0.0.1:{port}");
    let line = first_line(format!("{serve} --protocol http --listen {listen}"));
    assert_has(&line, &[&format!("browsers refuse port {port}")]);
    assert!(line.ends_with(&format!(" http://{listen}/\n")), "{line}");
    assert!(!first_line(format!("{serve} --listen {listen}")).contains("browsers"));
}

#[test]
fn each_protocol_has_a_mode_and_a_port_of_its_own() {
    let help = run("serve --help");
    // Lines are broken between any two words.
    let text = help.ok().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_has(
        &text,
        &["thread; http: event", "127.0.0.1:6666; http: 127.0.0.1:8080"],
    );
    // What make passes on, as far as it is told by which protocol.
    for (words, passed) in rows(
        "server => serve --protocol file --root 'files'
        server PROTOCOL=http => serve --protocol http --root 'files'
        server PROTOCOL=http HOST=0.0.0.0 => serve --protocol http --listen 0.0.0.0:8080 --root 'files'
        server HOST=0.0.0.0 => serve --protocol file --listen 0.0.0.0:6666 --root 'files'
        server MODE=process W=5 PORT=7 => --mode process --workers 5 --listen 127.0.0.1:7 --root 'files'
        balancer => balance --spawn 3 --listen 127.0.0.1:7000
        balancer => --protocol http --mode event",
    ) {
        assert_passes(words, passed);
    }
}
