//! `kolam top`: what it says of a pool, and of servers that have none to show.

use crate::support::pty::Terminal;
use crate::support::*;
use std::io::Write;

#[test]
fn a_killed_worker_is_seen_and_ctrl_c_gives_the_terminal_back() {
    let folder = Folder::new();
    folder.write("big", noise(4 << 20, 1));
    let server = Server::start("process", 2, &folder, "");
    let mut command = kolam(format!("top --interval 50ms --server {}", server.address));
    command
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    let terminal = Terminal::start(&mut command, 100);
    terminal.wait_for(0, "restarts 0");
    // A client that reads nothing holds its worker in the middle of a file.
    let mut held = server.connect();
    held.send("GET big\n");
    terminal.wait_for(0, &format!("GET big  {}", held.stream.local_addr().unwrap()));
    // Its own colour says that it is busy.
    terminal.wait_for(0, "\x1b[1;32mbusy\x1b[0m");
    let stats = server.ask("STATS\n");
    let (_, now) = stats.split_once("\"now\":[").unwrap();
    let busy = now.split('{').find(|worker| worker.contains("\"busy\"")).unwrap();
    let victim = number(busy, "pid") as u32;
    assert!(
        server.workers().contains(&victim) && busy.contains("\"total\":5592408,"),
        "{busy}"
    );
    assert!((1..5_592_408).contains(&number(busy, "bytes")), "{busy}");
    signal(victim, libc::SIGKILL);
    terminal.wait_for(0, "restarts 1");
    terminal.wait_for(0, "1 failed");
    signal(terminal.child.id(), libc::SIGINT);
    let (code, bytes) = terminal.finish(PATIENCE);
    let text = String::from_utf8_lossy(&bytes);
    let (_, after) = text
        .rsplit_once("\x1b[?25h\x1b[?1049l")
        .expect("the first screen is back");
    assert!(
        after.contains("restarts 1") && after.ends_with("kolam: interrupted\r\n"),
        "{after:?}"
    );
    assert_eq!(code, Some(130));
}

#[test]
fn a_server_that_drips_its_answer_is_waited_for_once() {
    let line = "top --once --timeout 300ms --server";
    for start in ["{\"status\":\"OK\",\"data\":", "HTTP/1.1 200 OK\r\n\r\n"] {
        let server = Fake::start(move |guest| {
            guest.read_to(END);
            guest.send(start);
            while guest.stream.write_all(b" ").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let ended = run(format!("{line} {}", server.address));
        ended.failed(1, &["no answer within 0.3 s"]);
    }
}

#[test]
fn a_server_that_cannot_be_watched_is_told_in_one_sentence() {
    for (said, why) in [
        (
            r#"{"status":"ERROR","data":"unknown \u202e"}"#.to_owned() + "\r\n\r\n",
            "it answers STATS with an error, unknown \\u{202e};",
        ),
        (
            r#"{"status":"OK","data":{"mode":"x"}}"#.to_owned() + "\r\n\r\n",
            "it is not kolam, or an older one",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), "it is not kolam"),
        ("SSH-2.0-x\r\n".to_owned(), "cannot be understood"),
    ] {
        let server = Fake::start(move |guest| {
            guest.read_to(END);
            guest.send(&said);
        });
        let ended = run(format!("top --server {}", server.address));
        ended.failed(1, &[&format!("{} cannot be watched: ", server.address), why]);
        assert!(!ended.stderr.contains('\u{202e}'), "{ended:?}");
    }
    let ended = run(format!("top --server {}", nobody()));
    ended.failed(1, &["cannot be watched: cannot connect: "]);
    // Both servers of one command are in one picture, and nothing of it is for a terminal only.
    let folder = Folder::new();
    let (thread, event) = (
        Server::start("thread", 2, &folder, ""),
        Server::start("event", 1, &folder, ""),
    );
    let ended = run(format!(
        "top --interval 50ms --server {} --server {}",
        thread.address, event.address
    ));
    assert_has(
        ended.ok(),
        &["  thread mode  ", "  event mode  ", " idle*", "requests/s"],
    );
    assert!(!ended.ok().contains('\u{1b}'), "{ended:?}");
}
