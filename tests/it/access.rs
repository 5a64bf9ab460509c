//! Who may come in: those who know the token of the server, and nobody learns it from the server.

use crate::support::http::with;
use crate::support::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const TOKEN: &str = "a-token-of-this-test-alone";
const WRONG: &str = "a-token-of-nobody-at-all-!";

/// How late the answer to a wrong token is.
const LATE: Duration = Duration::from_secs(1);

/// A folder with a token file, as an option.
fn token_file(text: &str) -> (Folder, String) {
    let keys = Folder::new();
    keys.write("token", format!("{text}\n"));
    fs::set_permissions(keys.join("token"), Permissions::from_mode(0o600)).unwrap();
    let option = format!("--token-file {}", keys.word("token"));
    (keys, option)
}

/// A request for `a` with this token; none: it shows nothing.
fn get(case: Case, token: &str) -> Vec<u8> {
    match (case.is_http(), token) {
        (true, "") => with("GET", "/a", ""),
        (true, token) => with("GET", "/a", &format!("Authorization: Bearer {token}\r\n")),
        (false, "") => "GET a\n".to_owned(),
        (false, token) => format!("AUTH {token}\r\n\r\n"),
    }
    .into()
}

/// The right token, none, and wrong ones; while these wait for their answer, others are served at once.
#[test]
fn only_the_token_opens_a_server_and_a_guess_waits_alone() {
    each_case_at_once(MODES, PROTOCOLS, |case, folder| {
        folder.write("a", b"content");
        let (_keys, option) = token_file(TOKEN);
        let server = case.serve_with_log(folder, 2, &option);
        let mut nothing = server.http();
        case.assert_refused(
            case.ask(&mut nothing, &get(case, "")),
            401,
            "authentication required",
        );
        drop(nothing);
        let begun = Instant::now();
        let mut guesses: Vec<http::Http> = (0..4)
            .map(|_| {
                let mut guess = server.http();
                guess.send(get(case, WRONG));
                guess
            })
            .collect();
        let mut honest = server.http();
        if !case.is_http() {
            // In one packet, and byte by byte.
            honest.send([get(case, TOKEN), case.get("a")].concat());
            assert!(Wire::reply(&mut honest).contains("welcome"));
            assert_eq!(
                case.answer(&mut honest, &case.get("a")),
                Ok(case.got("a", "content"))
            );
            drop(honest);
            honest = server.http();
            honest.drip(&get(case, TOKEN));
            assert!(Wire::reply(&mut honest).contains("welcome"));
            honest.send(case.get("a"));
        } else {
            honest.send(get(case, TOKEN));
        }
        assert_eq!(
            case.answer(&mut honest, &case.get("a")),
            Ok(case.got("a", "content"))
        );
        // On a busy machine the answers may be there by now.
        if begun.elapsed() < LATE / 2 {
            guesses[0].assert_silent(Duration::from_millis(50));
        }
        for guess in &mut guesses {
            let told = case.answer(guess, &case.get("a"));
            case.assert_refused(told, 401, "wrong token");
            assert_took(LATE..SOON, begun);
            guess.assert_closed();
        }
        drop((honest, guesses));
        // Nothing shows the token.
        for pid in server.family() {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            assert!(!String::from_utf8_lossy(&words).contains(TOKEN));
        }
        server.signal(libc::SIGTERM);
        let log = server.finish(PATIENCE);
        assert!(!log.contains(TOKEN) && !log.contains(WRONG), "{log}");
        assert_has(&log, &["refused tokens 4\n", "ERROR wrong token"]);
    });
}

/// As browsers and curl do it, and what a body, a HEAD or the health of the server have to do with it.
#[test]
fn http_asks_for_the_token_and_takes_it_as_a_password() {
    let folder = Folder::new();
    folder.write("a", b"content");
    let (_keys, option) = token_file(TOKEN);
    let server = Server::http_of("event", 1, &folder, &option);
    let basic = |user: &str| {
        let pair = base64(format!("{user}:{TOKEN}").as_bytes());
        format!("Authorization: Basic {pair}\r\n")
    };
    let mut peer = server.http();
    for (method, path, status) in [
        ("GET", "/a", 401),
        ("HEAD", "/a", 401),
        ("OPTIONS", "/a", 401),
        ("DELETE", "/a", 401),
        ("GET", "/", 401),
        ("GET", "/metrics", 401),
        ("GET", "/none", 401),
        ("GET", "/healthz", 200),
    ] {
        let reply = peer.ask(with(method, path, ""));
        assert_eq!(reply.status, status, "{method} {path}");
        if status == 401 {
            let challenge = reply.must("WWW-Authenticate");
            assert_has(challenge, &["Basic realm=\"kolam\", charset=\"UTF-8\"", "Bearer"]);
        }
    }
    for field in [
        basic(""),
        basic("anyone"),
        format!("authorization: bearer {TOKEN}\r\n"),
    ] {
        assert_eq!(peer.ask(with("GET", "/a", &field)).text(), "content");
    }
    // Before the body, also when that is not asked for.
    for lines in [
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
        "Content-Length: 500000\r\n",
    ] {
        let mut peer = server.http();
        assert_eq!(peer.ask(with("PUT", "/new", lines)).status, 401);
        peer.assert_closed();
    }
    assert_eq!(folder.names(), ["a"]);
    if installed("curl") {
        let url = format!("http://{}/a", server.address);
        let mut curl = std::process::Command::new("curl");
        let ended = Run::start(curl.args(["-s", "-u", &format!(":{TOKEN}"), &url])).finish(PATIENCE);
        assert_eq!(ended.ok(), "content");
    }
}

/// The client, the grader, the stress test and the load generator; and what may be wrong with a file.
#[test]
fn every_command_shows_the_token_of_its_file() {
    let (folder, here) = (Folder::new(), Folder::new());
    folder.write("a", b"content");
    let (keys, option) = token_file(TOKEN);
    let server = Server::start("thread", 6, &folder, &option);
    let address = server.address;
    let to = format!("--server {address}");
    run(format!("list {to} {option}")).says(&["a\n"]);
    run(format!("download a -o - {to} {option}")).says(&["content"]);
    run(format!("stats {to} {option}")).says(&["requests"]);
    run(format!("list {to}")).failed(1, &["authentication required", "--token-file"]);
    let (_others, wrong) = token_file(WRONG);
    run(format!("list {to} {wrong}")).failed(1, &["wrong token"]);
    let out = here.word("out");
    let words = format!("stress --target {address} --ops list --volumes 1 --clients 2 --out {out} {option}");
    assert_eq!(run(words).code, Some(0));
    drop(server);
    let server = Server::http_of("event", 1, &folder, &option);
    let words = format!("bench http http://{}/a -n 3 {option}", server.address);
    run(words).ok();
    run("stress --quick --dry-run --token-file x").failed(2, &["--target"]);
    run(format!("serve --dialect line --listen 127.0.0.1:0 {option}")).failed(2, &["--dialect delimiter"]);
    keys.write("short", "secret");
    for (name, mode, told) in [
        ("short", 0o600, "16 to 256"),
        ("token", 0o644, "chmod 600"),
        ("none", 0, "cannot read it"),
    ] {
        if mode != 0 {
            fs::set_permissions(keys.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let ended = run(format!(
            "serve --listen 127.0.0.1:0 --token-file {}",
            keys.word(name)
        ));
        ended.failed(1, &["--token-file", name, told]);
        assert!(!ended.stderr.contains(TOKEN) && !ended.stderr.contains("secret"));
    }
}

/// On its own: one of its rules is that a small reply comes in one piece, which the network may cut.
#[test]
fn the_grader_shows_the_token_and_never_prints_it() {
    let folder = Folder::new();
    let (_keys, option) = token_file(TOKEN);
    let server = Server::start("thread", 6, &folder, &option);
    let graded = run(format!("check {} --quick {option}", server.address));
    assert!(!format!("{graded:?}").contains(TOKEN));
    assert_eq!(graded.code, Some(0), "{graded:?}");
}
