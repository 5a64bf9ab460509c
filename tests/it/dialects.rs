//! The dialects of the file protocol as bytes, in every mode: each sentence of their grammars, what clients
//! of each rely on, that a stranger is told what it speaks, and that all promises of uploads hold.

use crate::support::*;
use std::io::Read;
use std::net::Shutdown;
use std::thread;

/// What is answered to `request`, after which the peer sends no more, until the server closes. An end mark is
/// shown as `|`.
fn told(server: &Server, request: impl AsRef<[u8]>, drip: bool) -> String {
    let mut wire = server.connect();
    wire.send_cut(request, drip);
    // A server that has answered and closed is gone already.
    let _ = wire.stream.shutdown(Shutdown::Write);
    shown(&wire.rest().unwrap())
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n\r\n", "|")
}

fn error(reason: &str) -> String {
    format!("{}\"}}|", refused(reason))
}

/// Each row is a request and all that is answered to it on a connection of its own.
fn play(dialect: &str, rows: &[(&str, &str)]) {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("a.bin", b"kolam");
        folder.write("my file", b"x");
        folder.write("empty", b"");
        folder.folder("folder");
        folder.link("/etc/hostname", "link");
        let before = folder.names();
        let server = case.serve(folder, 2, &format!("--dialect {dialect} --max-upload 1000"));
        for (request, expected) in rows {
            for drip in [false, true] {
                assert_eq!(told(&server, request, drip), *expected, "{request:?} {drip}");
            }
        }
        assert_eq!(folder.names(), before);
    });
}

const READY: &str = "READY TO RECEIVE FILE|";
const UNKNOWN: &str = r#"{"status":"ERROR","data":"request tidak dikenali"}|"#;
const GOT: &str = r#"{"status":"OK","data_namafile":"a.bin","data_file":"a29sYW0="}|"#;
const LISTED: &str = r#"{"status":"OK","data":["a.bin","empty","my file"]}|"#;

fn stored_as(name: &str) -> String {
    let data = format!(r#""data":{{"file_path":"{name}"}}"#);
    format!(r#"{{"status":"OK","message":"File uploaded successfully",{data}}}|"#)
}

#[test]
fn a_line_is_a_request() {
    let no_file = error("[Errno 2] No such file or directory: 'nope.txt'");
    let not_regular = error("not a regular file");
    let no_name = error("list index out of range");
    play(
        "line",
        &[
            ("LIST\n", LISTED),
            (" \t list\r\n", LISTED),
            ("LIST\r\n\r\n", &format!("{LISTED}{UNKNOWN}")),
            ("GET a.bin\nLIST\nGET a.bin\n", &format!("{GOT}{LISTED}{GOT}")),
            ("get a.bin \r\n", GOT),
            ("GET \"a.bin\" more\n", GOT),
            ("GET 'my file'\n", &(got("my file", b"x") + "|")),
            ("GET empty\n", &(got("empty", b"") + "|")),
            ("GET A.BIN\n", &no_file.replace("nope.txt", "A.BIN")),
            ("GET nope.txt\n", &no_file),
            ("DELETE nope.txt\n", &no_file),
            ("GET\n", &no_name),
            ("DELETE \n", &no_name),
            ("GET \"\"\nLIST\n", &format!("null|{LISTED}")),
            ("\n", UNKNOWN),
            (
                "FROB a.bin\nupload\nLIST\n",
                &format!("{UNKNOWN}{UNKNOWN}{LISTED}"),
            ),
            ("STATS\n", UNKNOWN),
            ("GET \"a.bin\nLIST\n", &error("No closing quotation")),
            ("GET folder\n", &not_regular),
            ("DELETE link\n", &not_regular),
            ("GET ../a.bin\n", &error("invalid file name: begins with a dot")),
            (
                "DELETE /etc/hostname\n",
                &error("invalid file name: contains a slash or backslash"),
            ),
            (
                "GET a\x01b\n",
                &error("invalid file name: contains a control character"),
            ),
            ("LIST", ""),
            ("LIST\nGET a.bin", LISTED),
            (
                "UPLOAD a.bin\nQUI\nENDUPLOAD\nLIST\n",
                &(READY.to_owned() + &error("Incorrect padding")),
            ),
            (
                "UPLOAD\nQ\nENDUPLOAD\n",
                &(READY.to_owned() + &error("Incorrect padding")),
            ),
            (
                "UPLOAD\nQUJD\nENDUPLOAD",
                &(READY.to_owned() + &error("request cut off: the stream ended before the file did")),
            ),
        ],
    );
}

#[test]
fn a_content_names_itself() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--dialect line");
        for (lines, name) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("S29sYW0=\n", "0f24fe57bd21a6a9b5ffc330e6115694"),
            (
                "Sw==\r\nb2w=\r\n\r\n (Y)W 0=\n",
                "0f24fe57bd21a6a9b5ffc330e6115694",
            ),
            ("iVBORw0KGgp4\n", "c7e69a9b989ef43cfabe9b7fbe817e05.png"),
            ("/9j/eA==\n", "c4538101825994a3fec494a3d1bf1ec0.jpeg"),
            ("JVBERi0xLjc=\n", "f87357c6cdc4f067e19f42aebabc6fb7.pdf"),
            ("R0lGODdh\n", "dc1faa7a890085c88096df9d5d611594.gif"),
            ("R0lGODlh\n", "1ac2109d47dbc72551f71df89d01ed18.gif"),
            ("UEsDBA==\n", "10893fd7cff66dca193f658ca9438d15.zip"),
            ("SUQz\n", "c0f44879dc0d4eae7b3f0b3e801e373c.mpeg"),
            ("//t4\n", "cd358da87cefe25cfa1b58f7dbf6ba2c.mpeg"),
            ("iVBORw0KGg==\n", "8dbfc0c5479f862387e0327f19837deb"),
            // The letters of the last line are symbols of base64: only a whole line of them is the end.
            ("ENDUPLOADAAA\n", "03006d1c933f9561dadeed132bc306f1"),
        ] {
            for drip in [false, true] {
                let upload = format!("UPLOAD what.txt\n{lines}ENDUPLOAD\nFROB\n");
                let answer = told(&server, upload, drip);
                let made = folder.names().pop().unwrap_or_default();
                assert_eq!(answer, format!("{READY}{}{UNKNOWN}", stored_as(&made)), "{lines}");
                assert_eq!(made, name, "{lines}");
                let get = format!("GET {made}\nDELETE {made}\n");
                assert!(told(&server, get, drip).ends_with("deleted successfully\"}|"));
            }
        }
        assert_eq!(folder.names(), [""; 0]);
    });
}

#[test]
fn a_head_says_how_long_the_rest_is() {
    let ready = "OK Ready to receive|";
    let no_base64 = format!("{ready}ERROR Invalid Base64 data stream|");
    let no_size = "ERROR Invalid size format|";
    let file_error = "ERROR Server file error|";
    let long = |length: usize| format!("GET {}\r\n\r\n", "x".repeat(length - 4));
    play(
        "sized",
        &[
            ("GET a.bin\r\n\r\n", "OK 5|kolam"),
            ("get a.bin\r\n\r\nGET a.bin\r\n\r\n", "OK 5|kolam"),
            ("GET ../files/a.bin and more\r\n\r\n", "OK 5|kolam"),
            ("GET\na.bin\r\n\r\n", "OK 5|kolam"),
            ("GET empty\r\n\r\n", "OK 0|"),
            ("GET A.BIN\r\n\r\n", "ERROR File not found|"),
            ("GET folder\r\n\r\n", "ERROR File not found|"),
            ("GET link\r\n\r\n", "ERROR File not found|"),
            ("GET /\r\n\r\n", "ERROR File not found|"),
            ("GET ..\r\n\r\n", "ERROR File not found|"),
            ("GET\r\n\r\n", ""),
            ("\r\n\r\n", ""),
            ("GET a.bin\r\n\r", ""),
            ("FROB a.bin\r\n\r\n", "ERROR Unknown command|"),
            ("DELETE a.bin\r\n\r\n", "ERROR Unknown command|"),
            (&long(8192), "ERROR File not found|"),
            (&long(8193), "ERROR Header too large|"),
            ("UPLOAD n\r\n\r\n", "ERROR No size provided for UPLOAD|"),
            ("UPLOAD n 4x\r\n\r\nQUJD", no_size),
            ("UPLOAD n 4.0\r\n\r\nQUJD", no_size),
            ("UPLOAD .. 4\r\n\r\nQUJD", file_error),
            ("UPLOAD folder 4\r\n\r\nQUJD", file_error),
            ("UPLOAD a.bin 4\r\n\r\nQ*JD", &no_base64),
            ("UPLOAD a.bin 3\r\n\r\nQUJD", &no_base64),
            ("UPLOAD a.bin 8\r\n\r\nQQ==QUJD", &no_base64),
            (
                "UPLOAD a.bin 8\r\n\r\nQUJD",
                &format!("{ready}ERROR request cut off: the stream ended before the file did|"),
            ),
        ],
    );
}

#[test]
fn sized_uploads_are_as_long_as_their_heads_say() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--dialect sized --max-upload 1000");
        let fine = "OK Ready to receive|OK Upload complete|";
        for (upload, content) in [
            ("UPLOAD n 4\r\n\r\nQUJD", "ABC"),
            ("upload ../up/n 4 more\r\n\r\nQUJDQUJD", "ABC"),
            ("UPLOAD n 8\r\n\r\nQUJDRA==and what is no part of it", "ABCD"),
            ("UPLOAD n 7\r\n\r\nQ\r\nQ==\n", "A"),
            ("UPLOAD n 0\r\n\r\n", ""),
            ("UPLOAD n -4\r\n\r\nQUJD", ""),
            ("UPLOAD n +4\r\n\r\nQUJD", "ABC"),
        ] {
            for drip in [false, true] {
                folder.write("n", b"old");
                assert_eq!(told(&server, upload, drip), fine, "{upload} {drip}");
                folder.assert_only("n", content.as_bytes());
            }
        }
        for (size, answer) in [(1000, "OK Upload complete|"), (1001, "ERROR Server file error|")] {
            folder.write("n", b"old");
            let text = base64(&noise(size, 1));
            let upload = format!("UPLOAD n {}\r\n\r\n{text}", text.len());
            assert_eq!(
                told(&server, upload, false),
                format!("OK Ready to receive|{answer}")
            );
            let kept = if size > 1000 {
                b"old".to_vec()
            } else {
                noise(size, 1)
            };
            folder.assert_only("n", &kept);
        }
    });
}

/// What its clients do: one connection a command, one look at what came last.
#[test]
fn each_receive_of_a_line_client_holds_what_it_looks_for() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--dialect line");
        let content = noise(100_000, 3);
        let text = base64(&content);
        let mut wire = server.connect();
        wire.send("UPLOAD photo.jpg\n");
        let ready = latest(&mut wire);
        assert_eq!(shown(&ready), READY);
        let lines = text.as_bytes().chunks(1000);
        lines.for_each(|line| wire.send([line, b"\n"].concat()));
        wire.send("ENDUPLOAD\n");
        let name = String::from_utf8(latest(&mut wire)).unwrap();
        let name = name.split("file_path\":\"").nth(1).unwrap();
        let name = name.split('"').next().unwrap();
        drop(wire);
        folder.assert_only(name, &content);
        for (request, last) in [
            (
                format!("GET {name}\n"),
                format!("{}\r\n\r\n", got(name, &content)),
            ),
            (
                "LIST\n".to_owned(),
                format!("{{\"status\":\"OK\",\"data\":[\"{name}\"]}}\r\n\r\n"),
            ),
        ] {
            let mut wire = server.connect();
            wire.send(request);
            let mut all = Vec::new();
            loop {
                let piece = latest(&mut wire);
                all.extend_from_slice(&piece);
                if piece.windows(4).any(|window| window == END) {
                    break;
                }
            }
            assert!(all == last.as_bytes());
        }
    });
}

/// One receive, as large as its client makes it.
fn latest(wire: &mut Wire) -> Vec<u8> {
    let mut piece = vec![0; 1 << 20];
    let count = wire.stream.read(&mut piece).unwrap();
    piece.truncate(count);
    piece
}

#[test]
fn a_sized_client_shakes_hands_and_counts_bytes() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--dialect sized");
        let content = noise(1_000_000, 4);
        let text = base64(&content);
        let mut wire = server.connect();
        wire.send(format!("UPLOAD photo.jpg {}\r\n\r\n", text.len()));
        assert_eq!(wire.take_to_end().unwrap(), b"OK Ready to receive");
        text.as_bytes().chunks(8192).for_each(|piece| wire.send(piece));
        assert_eq!(wire.take_to_end().unwrap(), b"OK Upload complete");
        wire.assert_closed();
        folder.assert_only("photo.jpg", &content);
        let mut wire = server.connect();
        wire.send("GET photo.jpg\r\n\r\n");
        assert_eq!(wire.take_to_end().unwrap(), b"OK 1000000");
        let mut received = wire.take(content.len()).unwrap();
        assert!(received == content);
        received = wire.rest().unwrap();
        assert_eq!(received, b"");
    });
}

#[test]
fn silence_ends_a_request_and_a_slow_sender_is_misread() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("a", b"A");
        folder.write("abc", b"ABC");
        let server = case.serve(folder, 2, "--dialect pause --pause 200ms");
        let mut wire = server.connect();
        for (request, reply) in [
            ("LIST", r#"{"status":"OK","data":["a","abc"]}"#.to_owned()),
            ("GET abc", got("abc", b"ABC")),
            ("GET abc\r\n\r\n", got("abc", b"ABC")),
            ("UPLOAD abc QUI=\r\n\r\n", stored("abc", 2)),
            ("FROB", refused("request tidak dikenali") + "\"}"),
            ("GET", refused("missing file name") + "\"}"),
        ] {
            assert_eq!(wire.ask(request), reply, "{request}");
        }
        // The lesson: `GET abc` from a sender that pauses in the middle is another request.
        wire.send("GET a");
        assert_eq!(wire.reply(), got("a", b"A"), "the silence was taken for the end");
        wire.send("bc");
        assert_eq!(wire.reply(), refused("request tidak dikenali") + "\"}");
        drop(wire);
        for upload in ["UPLOAD", "UPLOAD abc", "UPLOAD abc QUJD", "UPLOAD abc QUJD\r\n"] {
            let mut wire = server.connect();
            let reply = wire.ask(upload);
            assert!(
                reply.starts_with(&refused("UPLOAD needs its terminator")),
                "{reply}"
            );
            wire.assert_closed();
        }
        assert_eq!(folder.read("abc"), b"AB");
        assert_eq!(folder.names(), ["a", "abc"]);
    });
}

#[test]
fn a_pause_that_is_shorter_than_the_limit_ends_nothing() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("abc", b"ABC");
        let server = case.serve(folder, 2, "--dialect pause --pause 5s");
        let mut wire = server.connect();
        wire.send("GET a");
        thread::sleep(MOMENT);
        wire.send("bc\n");
        assert_eq!(wire.reply(), got("abc", b"ABC"));
    });
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("old", b"old");
        for (dialect, beginning) in [
            ("line", "UPLOAD\nQUJD\n"),
            ("sized", "UPLOAD old 4000\r\n\r\nQUJD"),
            ("pause", "UPLOAD old QUJD"),
        ] {
            let server = case.serve(folder, 2, &format!("--dialect {dialect}"));
            drop(begin_upload(&server, folder, beginning.as_bytes()));
            eventually("the temporary file is gone", || folder.names() == ["old"]);
            folder.assert_only("old", b"old");
        }
    });
}

#[test]
fn sigterm_lets_an_upload_of_any_dialect_finish() {
    each_case_at_once(MODES, FILE, |case, folder| {
        for (dialect, beginning, end, answer) in [
            (
                "line",
                "UPLOAD\nQUJD\n",
                "QUJD\nENDUPLOAD\n",
                stored_as("6a1423d3711726df945da02a8ebf0f59"),
            ),
            (
                "sized",
                "UPLOAD n 8\r\n\r\nQUJD",
                "QUJD",
                "OK Upload complete|".to_owned(),
            ),
        ] {
            let server = case.serve(folder, 2, &format!("--dialect {dialect}"));
            let mut wire = begin_upload(&server, folder, beginning.as_bytes());
            server.signal(libc::SIGTERM);
            server.wait_until_closed();
            wire.send(end);
            let told = shown(&wire.rest().unwrap());
            drop(wire);
            let name = folder.names().pop().unwrap();
            assert_eq!(folder.read(&name), b"ABCABC");
            assert!(told.contains(&answer), "{told}");
            assert_eq!(server.finish(PATIENCE), "");
            std::fs::remove_file(folder.join(&name)).unwrap();
        }
    });
}

#[test]
fn memory_does_not_depend_on_the_size_of_a_file() {
    const SIZE: u64 = 100 << 20;
    let folder = Folder::new();
    folder.sparse("big", SIZE);
    // 3 MiB of zeros in lines of a million symbols.
    let lines = format!("{}\n", "A".repeat(1 << 20)).repeat(4);
    for (dialect, head, text, end) in [
        (
            "sized",
            format!("UPLOAD copy {}\r\n\r\n", 128 << 20),
            "A".repeat(4 << 20),
            "",
        ),
        ("line", "UPLOAD\n".to_owned(), lines, "ENDUPLOAD\n"),
    ] {
        let server = Server::start("thread", 1, &folder, &format!("--dialect {dialect}"));
        let mut wire = server.connect();
        wire.send(head);
        (0..32).for_each(|_| wire.send(&text));
        wire.send(end);
        let ready = wire.take_to_end().unwrap();
        let told = wire.take_to_end().unwrap();
        assert!(shown(&told).contains("OK"), "{} {}", shown(&ready), shown(&told));
        drop(wire);
        let mut wire = server.connect();
        wire.send(if dialect == "line" {
            "GET big\n"
        } else {
            "GET big\r\n\r\n"
        });
        let mut sink = vec![0; 1 << 20];
        let (mut count, least) = (0, if dialect == "line" { SIZE / 3 * 4 } else { SIZE });
        while count < least {
            count += wire.stream.read(&mut sink).unwrap() as u64;
        }
        let peak = peak_memory(server.pid());
        assert!(peak < 16 * 1024, "{dialect}: {peak} KiB");
    }
    assert_eq!(folder.names().len(), 3);
}

#[test]
fn what_is_not_allowed_is_refused_in_the_words_of_the_dialect() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("a", b"old");
        let denied = error("permission denied: this server runs with --read-only");
        let server = case.serve(folder, 2, "--dialect line --read-only");
        assert_eq!(
            told(&server, "UPLOAD a\nQUJD\nDELETE a\nENDUPLOAD\n", false),
            denied
        );
        assert_eq!(told(&server, "DELETE a\n", false), denied);
        drop(server);
        let server = case.serve_with_log(folder, 2, "--dialect sized --read-only");
        assert_eq!(
            told(&server, "UPLOAD a 4\r\n\r\nQUJD", false),
            "ERROR Server file error|"
        );
        let log = server.stop_with_log();
        assert_has(
            &log,
            &[
                "UPLOAD \"a\" 0 bytes",
                "ERROR Server file error: permission denied: this server",
            ],
        );
        let server = case.serve(folder, 2, "--dialect line --max-upload 1000");
        let text = base64(&noise(1001, 1));
        let upload = format!("UPLOAD a\n{text}\nENDUPLOAD\n");
        let too_large = error("file too large: more than --max-upload 1000 bytes");
        assert_eq!(told(&server, upload, false), format!("{READY}{too_large}"));
        let blank = format!("UPLOAD a\n{}ENDUPLOAD\n", " \n".repeat(10_000));
        assert_eq!(told(&server, blank, false), format!("{READY}{too_large}"));
        let command = format!("GET {}\n", "x".repeat(8189));
        assert_eq!(told(&server, command, false), error("request too long"));
        folder.assert_only("a", b"old");
    });
}

#[test]
fn a_line_of_content_has_at_most_a_mebibyte() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--dialect line");
        let line = "A".repeat(1 << 20);
        let upload = |line: &str| told(&server, format!("UPLOAD\n{line}\r\nENDUPLOAD\n"), false);
        assert!(upload(&line).starts_with(&format!("{READY}{{\"status\":\"OK\"")));
        assert!(upload(&(line + "AAAA")).starts_with(&format!("{READY}{}", refused("line too long"))));
        assert_eq!(folder.names().len(), 1);
    });
}

#[test]
fn limits_of_time_and_connections_hold_in_every_dialect() {
    each_case_at_once(POOLS, FILE, |case, folder| {
        for (dialect, begun, body) in [
            ("line", "LIS", "UPLOAD\nQU"),
            ("sized", "GET a\r\n", "UPLOAD a 9\r\n\r\nQU"),
        ] {
            let options = format!("--dialect {dialect} --head-timeout 0.3 --idle-timeout 0.3");
            let server = case.serve(folder, 2, &options);
            for (request, reason) in [
                (begun, "timeout: "),
                (body, "timeout: nothing arrived for as long as --idle-timeout"),
                ("", ""),
            ] {
                let mut wire = server.connect();
                wire.send(request);
                let told = shown(&wire.rest().unwrap());
                assert!(
                    told.contains(reason) && told.is_empty() == reason.is_empty(),
                    "{told}"
                );
            }
            assert_eq!(folder.names(), [""; 0]);
        }
        let server = case.serve(folder, 2, "--dialect sized --max-connections 1");
        let _first = begin_upload(&server, folder, b"UPLOAD a 9\r\n\r\nQU");
        if case.mode != "process" {
            let told = shown(&server.connect().rest().unwrap());
            assert!(told.starts_with("ERROR server busy: "), "{told}");
        }
    });
}

#[test]
fn a_stranger_is_told_which_dialect_it_speaks() {
    let http = "this looks like HTTP: start the server with --protocol http";
    let line = "this looks like the line dialect: start the server with --dialect line";
    let pause = "this looks like the pause dialect: start the server with --dialect pause";
    let delimiter = "this looks like the delimiter dialect: start the server with --dialect delimiter";
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let long = format!("UPLOAD a {}\r\n\r\n", base64(&noise(9000, 1)));
    let short = format!("UPLOAD a {}\r\n\r\n", base64(&noise(50, 1)));
    each_case_at_once(MODES, FILE, |case, folder| {
        for (dialect, rows) in [
            (
                "delimiter",
                &[
                    (page, http),
                    ("UPLOAD a\n", line),
                    ("GET a", pause),
                    ("UPLOAD a\r\n", line),
                ][..],
            ),
            (
                "line",
                &[
                    (page, http),
                    (&long, delimiter),
                    (&short, delimiter),
                    ("LIST", pause),
                ],
            ),
            (
                "sized",
                &[
                    (page, http),
                    ("LIST\r\n\r\n", delimiter),
                    (&long, delimiter),
                    (&short, delimiter),
                    ("GET a\n", line),
                    ("LIST", pause),
                ],
            ),
            ("pause", &[(page, http), ("UPLOAD a\n", line)]),
        ] {
            let options = format!("--dialect {dialect} --head-timeout 0.3 --idle-timeout 0.3");
            let server = case.serve(folder, 2, &options);
            for (request, hint) in rows {
                let mut wire = server.connect();
                wire.send(request);
                let told = String::from_utf8(wire.rest().unwrap()).unwrap();
                assert!(told.contains(hint), "{dialect} {request:.30?}: {told}");
                assert_readable(&told, *hint == http);
            }
        }
        assert_eq!(folder.names(), [""; 0]);
    });
}

/// A hint in words that a peer can read which speaks HTTP, or one of the dialects that are answered in JSON.
#[track_caller]
fn assert_readable(told: &str, http: bool) {
    if http {
        let (head, text) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{told}");
        let length = format!("Content-Length: {}\r\n", text.len());
        assert!(head.contains(&length), "{told}");
    } else {
        assert!(
            told.starts_with(&refused("")) && told.ends_with("\"}\r\n\r\n"),
            "{told}"
        );
    }
}

#[test]
fn what_means_something_here_has_its_usual_answer() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "");
        // The head of a sized upload is a whole canonical upload of six bytes.
        assert_eq!(server.ask("UPLOAD a 13980112\r\n\r\n"), stored("a", 6));
        assert_eq!(server.ask("UPLOAD a \n\r\n\r\n"), stored("a", 0));
        assert_eq!(
            server.ask("UPLOAD a\r\n\r\n"),
            refused("missing file content") + "\"}"
        );
    });
}

#[test]
fn mistakes_with_the_options_are_told() {
    assert_usage(
        "serve --dialect foo => --dialect foo: expected delimiter, line, sized, pause
         serve --dialect lien => did you mean line?
         serve --dialect line --protocol http => --dialect: this option needs --protocol file
         serve --pause 10ms --protocol http => --pause: this option needs --protocol file
         serve --pause 10ms => --pause: this option needs --dialect pause
         serve --pause 10ms --dialect line => --pause: this option needs --dialect pause
         serve --pause soon --dialect pause => --pause soon: expected a time
         serve --pause 10 --dialect pause => --pause: it must be shorter than --head-timeout",
    );
}

#[test]
fn each_request_of_a_dialect_is_logged_and_counted() {
    each_case_at_once(MODES, FILE, |case, folder| {
        folder.write("a", b"A");
        for (dialect, requests, lines) in [
            (
                "line",
                "UPLOAD x\nQUJD\nENDUPLOAD\nGET a\nFROB\n",
                &[
                    "UPLOAD \"902fbdd2b1df0c4f70b4a5d23525e932\" 3 bytes",
                    "GET \"a\" 1 bytes",
                    "- \"\" 0 bytes",
                ][..],
            ),
            ("sized", "GET ../a\r\n\r\n", &["GET \"a\" 1 bytes"]),
            ("sized", "UPLOAD a 4\r\n\r\nQUJD", &["UPLOAD \"a\" 3 bytes"]),
        ] {
            let server = case.serve_with_log(folder, 1, &format!("--dialect {dialect}"));
            told(&server, requests, false);
            let log = server.stop_with_log();
            assert_eq!(log.lines().count(), lines.len(), "{log}");
            assert_has(&log, lines);
        }
    });
}

#[test]
fn our_client_names_the_dialect_that_it_meets() {
    let folder = Folder::new();
    folder.write("a", b"A");
    let source = folder.word("a");
    for (dialect, commands) in [
        ("line", [format!("upload {source}"), "upload - --as b".to_owned()]),
        (
            "sized",
            ["download a -o -".to_owned(), format!("upload {source}")],
        ),
    ] {
        let server = Server::start("thread", 1, &folder, &format!("--dialect {dialect}"));
        for command in commands {
            let told = format!("this looks like the {dialect} dialect; this client speaks delimiter alone");
            run(format!("{command} --server {}", server.address)).failed(1, &[&told]);
        }
    }
    assert_eq!(folder.names(), ["a"]);
}

/// The answer repeats the name as the client sent it; the log shows it once, with escapes.
#[test]
fn a_name_that_turns_its_neighbours_is_escaped_in_the_log() {
    each_case_at_once(MODES, FILE, |case, folder| {
        let server = case.serve_with_log(folder, 1, "--dialect line");
        let expected = error("[Errno 2] No such file or directory: 'a\u{202e}b'");
        assert_eq!(told(&server, "GET a\u{202e}b\n", false), expected);
        let log = server.stop_with_log();
        assert_has(&log, &[r#" GET "a\u{202e}b" "#, " ERROR file not found\n"]);
        assert!(!log.contains('\u{202e}'), "{log}");
    });
}
