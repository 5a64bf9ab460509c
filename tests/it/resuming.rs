//! Downloads over HTTP that break: what is kept, when it is continued, and that the bytes are right whatever
//! the server does meanwhile.

use crate::support::*;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Where the first connection breaks, in bytes of the reply.
const BREAK: u64 = 1_000_000;

/// The names of the hidden files of a download in `folder`.
fn hidden(folder: &Folder) -> Vec<String> {
    let names = folder.names().into_iter();
    names.filter(|name| name.starts_with(".kolam-")).collect()
}

/// Before a server of HTTP: of each pair of connections, the first breaks.
fn breaking(server: &Server) -> Fake {
    let address = server.address;
    Fake::start(move |guest| {
        let Some(number) = guest.head() else { return };
        let head = guest.seen.last.lock().unwrap().clone();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let limit = if number % 2 == 0 { BREAK } else { u64::MAX };
        let _ = io::copy(&mut stream.take(limit), &mut guest.stream);
    })
}

#[test]
fn a_broken_download_goes_on_where_it_stopped_or_begins_again() {
    let (files, here) = (Folder::new(), Folder::new());
    let (old, new) = (noise(3_000_001, 1), noise(2_500_000, 2));
    files.write("a b", &old);
    let server = Server::http_of("thread", 2, &files, "");
    let proxy = breaking(&server);
    let target = here.word("copy");
    let site = format!("http://{}", proxy.address);
    let download =
        |more: &[&str]| run([&["download", "a b", "-o", &target, "--server", &site], more].concat());
    let breaks = |more: &[&str]| {
        let ended = download(more);
        assert_eq!(
            (ended.code, ended.stderr.lines().count()),
            (Some(1), 2),
            "{ended:?}"
        );
        assert_has(&ended.stderr, &["bytes are kept", "--resume", "incomplete reply"]);
        assert_eq!(hidden(&here).len(), 2, "the bytes, and what they are of");
    };
    let seen = || proxy.seen.last.lock().unwrap().to_lowercase();
    here.write("copy", b"before");
    breaks(&[]);
    assert_eq!(here.read("copy"), b"before");
    assert_eq!(
        download(&["--resume"]).ok(),
        format!("{target} downloaded, 3000001 bytes\n")
    );
    assert_has(&seen(), &["range: bytes=99", "if-range: \""]);
    assert!(here.read("copy") == old);
    assert_eq!(here.names(), ["copy"]);
    // The file changes between the two: all begins again.
    breaks(&["--resume"]);
    files.write("a b", &new);
    assert_eq!(
        download(&["--resume"]).ok(),
        format!("{target} downloaded, 2500000 bytes\n")
    );
    assert_has(&seen(), &["range: bytes=99"]);
    assert!(here.read("copy") == new);
    // Without the option, nothing of before is used.
    breaks(&[]);
    assert_eq!(download(&[]).code, Some(0));
    assert!(!seen().contains("range:") && here.read("copy") == new);
    assert_eq!(here.names(), ["copy"]);
    let long = run(&[
        "list",
        "--long",
        "--server",
        &format!("http://{}/", server.address),
    ]);
    let line = long.ok().lines().next().unwrap_or_default();
    assert!(
        line.starts_with("2500000  20") && line.ends_with("Z  a b"),
        "{line}"
    );
    drop(proxy);
}

#[test]
fn a_server_that_lies_about_a_part_is_not_believed() {
    // The replies to a request with a range, and what the client says; the version is "v1", of 8 bytes, and
    // 4 bytes of it are there.
    let part = |range: &str, fields: &str, body: &str| {
        let length = body.len();
        let fields = format!("Content-Length: {length}\r\nContent-Range: {range}\r\n{fields}");
        format!("HTTP/1.1 206 Partial Content\r\n{fields}\r\n{body}")
    };
    let table = [
        (part("bytes 4-7/8", "ETag: \"v1\"\r\n", "5678"), Ok("12345678")),
        (part("bytes 4-7/8", "", "5678"), Ok("12345678")),
        (part("bytes 3-7/8", "", "45678"), Err("another part")),
        (part("bytes 4-6/8", "", "567"), Err("another part")),
        (part("bytes 4-7/8", "", "567"), Err("another part")),
        (part("bytes 4-7/*", "", "5678"), Err("without its place")),
        (
            part("bytes 4-7/8", "ETag: \"v2\"\r\n", "5678"),
            Err("another version"),
        ),
        (
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            Ok("other"),
        ),
        // A part that was not asked for is not taken for the rest, nor for the whole.
        (
            "HTTP/1.1 416 Range Not Satisfiable\r\nNext: part\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Err("206 Partial Content"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnew\r\n0\r\n\r\n".to_owned(),
            Ok("new"),
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nnew".to_owned(),
            Err("where the body ends"),
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned(),
            Err("503 Service Unavailable"),
        ),
    ];
    std::thread::scope(|scope| {
        for (reply, expected) in table {
            scope.spawn(move || lies(&reply, expected));
        }
    });
}

/// The first download breaks after 4 bytes, the second gets `reply`, and what follows it is `other`.
fn lies(reply: &str, expected: Result<&str, &str>) {
    let (here, told) = (Folder::new(), reply.to_owned());
    let server = Fake::start(move |guest| {
        let ranged = |guest: &Guest| {
            guest
                .seen
                .last
                .lock()
                .unwrap()
                .contains("\r\nRange: bytes=4-\r\n")
        };
        while guest.head().is_some() {
            if ranged(guest) {
                guest.send(&told);
            } else if guest.seen.requests.load(std::sync::atomic::Ordering::SeqCst) == 1 {
                guest.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nETag: \"v1\"\r\n\r\n1234");
                return;
            } else if told.contains("Next: part") {
                guest.send("HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\n5");
            } else {
                guest.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother");
            }
            if !told.contains("416") {
                return;
            }
        }
    });
    let target = here.word("a");
    let line = format!(
        "download a -o {target} --resume --server http://{}",
        server.address
    );
    assert_eq!(run(&*line).code, Some(1));
    let ended = run(&*line);
    match expected {
        Ok(content) => {
            assert_eq!(ended.code, Some(0), "{reply}: {ended:?}");
            assert_eq!(String::from_utf8(here.read("a")).unwrap(), content, "{reply}");
            assert_eq!(here.names(), ["a"], "{reply}");
        }
        Err(why) => {
            assert_eq!(ended.code, Some(1), "{reply}: {ended:?}");
            assert_has(&ended.stderr, &[why]);
            assert!(!here.join("a").exists(), "{reply}");
        }
    }
}

#[test]
fn a_reply_that_never_begins_ends_and_a_part_alone_is_no_file() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nXY";
    let all = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nETag: \"v1\"\r\n\r\n1234";
    let beyond = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n";
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(4000);
    let server = Fake::start(move |guest| {
        while let Some(number) = guest.head() {
            let ranged = guest.seen.last.lock().unwrap().contains("\r\nRange: ");
            match (number, ranged) {
                (0, _) => return guest.send(all),
                (_, true) => guest.send(beyond),
                (4, _) => return guest.send(&endless),
                _ => return guest.send(part),
            }
        }
    });
    let here = Folder::new();
    let line = format!(
        "download a -o {} --server http://{}",
        here.word("a"),
        server.address
    );
    assert_has(&run(&*line).stderr, &["4 bytes are kept"]);
    run(format!("{line} --resume")).failed(1, &["206 Partial Content"]);
    assert_eq!(
        here.names(),
        [""; 0],
        "what lies beyond the end of a file is no part of it"
    );
    run(&*line).failed(1, &["206 Partial Content"]);
    run(&*line).failed(1, &["its head is too long"]);
    assert_eq!(here.names(), [""; 0]);
}
