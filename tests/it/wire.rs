//! The file protocol as bytes: every verb and every error as a transcript, in every mode, each sent whole,
//! byte by byte, and with all requests in one write; names, contents and limits from both sides.

use crate::support::*;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::thread;

/// Requests and the replies to them. A reply that is not a whole object is the beginning of one.
type Transcript = Vec<(Vec<u8>, String)>;

fn line(request: impl AsRef<[u8]>, reply: impl Into<String>) -> (Vec<u8>, String) {
    (request.as_ref().to_vec(), reply.into())
}

/// What LIST answers.
fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!(r#"{{"status":"OK","data":[{}]}}"#, names.join(","))
}

fn deleted(name: &str) -> String {
    format!(r#"{{"status":"OK","data":"{name} deleted successfully","data_namafile":"{name}"}}"#)
}

#[track_caller]
fn check(context: &str, request: &[u8], reply: &str, expected: &str) {
    let right = if expected.ends_with('}') {
        reply == expected
    } else {
        reply.starts_with(expected)
    };
    let shown = String::from_utf8_lossy(&request[..request.len().min(300)]);
    assert!(right, "{context}: {shown:?}\n   got {reply}\nwanted {expected}");
}

/// Plays a transcript in every mode, cut in every way, each time on a fresh folder and server.
fn play(transcript: &Transcript, prepare: impl Fn(&Folder) + Sync) {
    each_case(MODES, FILE, |case, _| {
        for cut in ["whole", "byte by byte", "all at once"] {
            let folder = Folder::new();
            prepare(&folder);
            let server = case.serve(&folder, 2, "");
            let mut wire = server.connect();
            if cut == "all at once" {
                let all: Vec<&[u8]> = transcript.iter().map(|(request, _)| &request[..]).collect();
                wire.send(all.concat());
                wire.half_close();
            }
            for (request, expected) in transcript {
                match cut {
                    "whole" => wire.send(request),
                    "byte by byte" => wire.drip(request),
                    _ => {}
                }
                check(cut, request, &wire.reply(), expected);
            }
            if cut == "all at once" {
                wire.assert_closed();
            }
            drop(wire);
            assert!(folder.temporary().is_empty(), "{cut}");
        }
    });
}

fn play_in_empty_folder(transcript: Transcript) {
    play(&transcript, |_| {});
}

#[test]
fn a_file_is_uploaded_listed_downloaded_and_deleted() {
    play_in_empty_folder(vec![
        line("LIST\r\n\r\n", listed(&[])),
        line("UPLOAD b.bin S29sYW0=\r\n\r\n", stored("b.bin", 5)),
        line("UPLOAD a.bin a29sYW1rb2xhbQ==\r\n\r\n", stored("a.bin", 10)),
        line("LIST\r\n\r\n", listed(&["a.bin", "b.bin"])),
        line("GET b.bin\r\n\r\n", got("b.bin", b"Kolam")),
        line("GET a.bin\r\n\r\n", got("a.bin", b"kolamkolam")),
        line("UPLOAD a.bin QQ==\r\n\r\n", stored("a.bin", 1)),
        line("GET a.bin\r\n\r\n", got("a.bin", b"A")),
        line("DELETE a.bin\r\n\r\n", deleted("a.bin")),
        line("GET a.bin\r\n\r\n", refused("file not found")),
        line("DELETE a.bin\r\n\r\n", refused("file not found")),
        line("LIST\r\n\r\n", listed(&["b.bin"])),
    ]);
}

#[test]
fn lines_may_end_in_three_ways_and_verbs_have_any_case() {
    play_in_empty_folder(vec![
        line("LIST\n", listed(&[])),
        line("list\r\n", listed(&[])),
        line("LiSt\r\n\r\n", listed(&[])),
        line("\r\n\n\r\n\r\n\nLIST\n", listed(&[])),
        line("LIST of what there is\n", listed(&[])),
        line("list\tall\r\n\r\n", listed(&[])),
        line("upload \t a.bin\tQQ==\r\n\r\n", stored("a.bin", 1)),
        line("Get\t \ta.bin\n", got("a.bin", b"A")),
        line("gET  a.bin \t \r\n", got("a.bin", b"A")),
        line("stats please\n", r#"{"status":"OK","data":{"mode":""#),
        line("delete a.bin\n", deleted("a.bin")),
    ]);
}

#[test]
fn names_may_hold_spaces_quotes_and_any_script() {
    let uploaded = |escaped: &str| stored(escaped, 1);
    play_in_empty_folder(vec![
        line("UPLOAD \"my notes.pdf\" QQ==\r\n\r\n", uploaded("my notes.pdf")),
        line("GET my notes.pdf\r\n\r\n", got("my notes.pdf", b"A")),
        line("GET \"my notes.pdf\"\n", got("my notes.pdf", b"A")),
        line("GET  my notes.pdf \t\r\n", got("my notes.pdf", b"A")),
        line(
            r#"UPLOAD "say \"hi\"" QQ=="#.to_owned() + "\r\n\r\n",
            uploaded(r#"say \"hi\""#),
        ),
        line("GET \"say \\\"hi\\\"\"\n", got(r#"say \"hi\""#, b"A")),
        line("GET say \"hi\"\n", got(r#"say \"hi\""#, b"A")),
        line("UPLOAD é日😀.txt QQ==\r\n\r\n", uploaded("é日😀.txt")),
        line("GET é日😀.txt\r\n\r\n", got("é日😀.txt", b"A")),
        line("UPLOAD -rf QQ==\r\n\r\n", uploaded("-rf")),
        line("UPLOAD \" led\" QQ==\r\n\r\n", uploaded(" led")),
        line("GET \" led\"\n", got(" led", b"A")),
        line(
            "LIST\n",
            listed(&[" led", "-rf", "my notes.pdf", r#"say \"hi\""#, "é日😀.txt"]),
        ),
        line("DELETE my notes.pdf\n", deleted("my notes.pdf")),
        line("DELETE \"say \\\"hi\\\"\"\n", deleted(r#"say \"hi\""#)),
        line("DELETE é日😀.txt\n", deleted("é日😀.txt")),
    ]);
}

#[test]
fn content_may_be_empty_short_unpadded_or_wrapped() {
    let long = noise(1000, 1);
    let text = base64(&long);
    let wrapped: Vec<&str> = text
        .as_bytes()
        .chunks(76)
        .map(|row| str::from_utf8(row).unwrap())
        .collect();
    let by_unix = format!("UPLOAD w {}\n\r\n\r\n", wrapped.join("\n"));
    let by_mail = format!("UPLOAD w {}\r\n\r\n", wrapped.join("\r\n"));
    play_in_empty_folder(vec![
        line("UPLOAD a \r\n\r\n", stored("a", 0)),
        line("GET a\n", got("a", b"")),
        line("UPLOAD a QQ==\r\n\r\n", stored("a", 1)),
        line("GET a\n", got("a", b"A")),
        line("UPLOAD a QQ\r\n\r\n", stored("a", 1)),
        line("UPLOAD a QUI\r\n\r\n", stored("a", 2)),
        line("GET a\n", got("a", b"AB")),
        line(
            "UPLOAD a \t Q\r\nU \tJ\nD\r\n \r\nR A\r=\n= \r\n\r\n",
            stored("a", 4),
        ),
        line("GET a\n", got("a", b"ABCD")),
        line(by_unix, stored("w", 1000)),
        line("GET w\n", got("w", &long)),
        line(by_mail, stored("w", 1000)),
        line("GET w\n", got("w", &long)),
    ]);
}

#[test]
fn unknown_verbs_and_missing_arguments_are_told_apart() {
    let unknown = refused("request tidak dikenali");
    let no_name = refused("missing file name");
    let no_content = refused("missing file content");
    let mut transcript = Vec::new();
    for request in "FROB|GETa.bin|LISTS|UPLOADS a QQ==|{}|GE|\u{e9}|\"LIST\"".split('|') {
        transcript.push(line(format!("{request}\r\n\r\n"), &unknown));
    }
    for request in "GET|GET |get \t |DELETE|DELETE  |UPLOAD|UPLOAD |upload\t ".split('|') {
        transcript.push(line(format!("{request}\r\n\r\n"), &no_name));
    }
    for request in ["GET", "DELETE\t"] {
        transcript.push(line(format!("{request}\n"), &no_name));
    }
    for request in ["UPLOAD a.bin", "upload \"a b\""] {
        transcript.push(line(format!("{request}\r\n\r\n"), &no_content));
    }
    transcript.push(line("LIST\n", listed(&[])));
    play_in_empty_folder(transcript);
}

#[test]
fn bad_names_are_refused_by_all_three_verbs() {
    let bad = refused("invalid file name");
    let mut transcript = Vec::new();
    let names = [
        "\"\"",
        ".",
        "..",
        ".hidden",
        "a/b",
        "/",
        "/etc/passwd",
        "../a",
        "a\\b",
        "\"a\\\\b\"",
        "a\0b",
        "a\x01b",
        "a\x1b[2J",
        "a\x7f",
        "a\u{80}b",
        "a\u{9b}b",
        "\"a\rb\"",
        "\"a",
        "\"a\"b",
        "\"a\\\"",
        "\"",
    ];
    for name in names {
        for verb in ["GET", "DELETE"] {
            transcript.push(line(format!("{verb} {name}\r\n\r\n"), &bad));
        }
        transcript.push(line(format!("UPLOAD {name} QQ==\r\n\r\n"), &bad));
    }
    for request in [
        &b"GET a\xff\n"[..],
        b"DELETE \xc0\xaf\n",
        b"UPLOAD \xed\xa0\x80 QQ==\r\n\r\n",
    ] {
        transcript.push(line(request, &bad));
    }
    transcript.push(line("LIST\n", listed(&[])));
    play_in_empty_folder(transcript);
}

#[test]
fn names_have_at_most_255_bytes() {
    let bad = refused("invalid file name");
    let mut transcript = Vec::new();
    for (good, long) in [
        ("n".repeat(255), "n".repeat(256)),
        ("é".repeat(127) + "n", "é".repeat(128)),
    ] {
        transcript.push(line(upload(&good, b"A"), stored(&good, 1)));
        transcript.push(line(format!("GET {good}\n"), got(&good, b"A")));
        transcript.push(line(format!("DELETE \"{good}\"\n"), deleted(&good)));
        transcript.push(line(upload(&long, b"A"), &bad));
        transcript.push(line(format!("GET {long}\n"), &bad));
        transcript.push(line(format!("DELETE {long}\n"), &bad));
    }
    // Quoted, with every character escaped, a name is as long on the wire as it can be.
    let quotes = "\\\"".repeat(255);
    transcript.push(line(upload(&format!("\"{quotes}\""), b"A"), stored(&quotes, 1)));
    transcript.push(line("LIST\n", listed(&[&quotes])));
    play_in_empty_folder(transcript);
}

#[test]
fn broken_base64_is_refused_with_its_place() {
    let old = || line("GET a\n", got("a", b"old"));
    let bad = |text: &str, at: &str| {
        line(
            format!("UPLOAD a {text}\r\n\r\n"),
            refused(&format!("invalid base64 at byte {at}")),
        )
    };
    let mut transcript = vec![line(upload("a", b"old"), stored("a", 3)), old()];
    let table = [
        ("QUJ*", "3:"),
        ("*", "0:"),
        ("QU JD\n-", "6:"),
        ("QUJD QUJD _", "10:"),
        ("Q", ""),
        ("QUJDQ", ""),
        ("QQ=", ""),
        ("QQ===", ""),
        ("=", ""),
        ("Q===", ""),
        ("QUI==", ""),
        ("QQ==QQ==", ""),
        ("QQ==\nA", ""),
        ("QR==", ""),
        ("QR", ""),
        ("QUJ=", ""),
        ("QUJD\0", "4:"),
        ("QUJDé", "4:"),
    ];
    for (text, at) in table {
        transcript.extend([bad(text, at), old()]);
    }
    play_in_empty_folder(transcript);
}

#[test]
fn the_payload_of_a_refused_upload_is_never_taken_for_requests() {
    let payload = "QUJD\nLIST\nDELETE a\r\nGET a\n\r\n\r\n";
    let keep = || line("LIST\n", listed(&["a"]));
    play_in_empty_folder(vec![
        line(upload("a", b"old"), stored("a", 3)),
        line(format!("UPLOAD .. {payload}"), refused("invalid file name")),
        keep(),
        line(format!("UPLOAD \"b {payload}"), refused("invalid file name")),
        keep(),
        line(format!("UPLOAD \"b\"b {payload}"), refused("invalid file name")),
        keep(),
        line(
            format!("UPLOAD b !{payload}"),
            refused("invalid base64 at byte 0"),
        ),
        keep(),
        line("UPLOAD b\nDELETE a\n\r\n\r\n", refused("missing file content")),
        keep(),
        line("UPLOAD\nDELETE a\n\r\n\r\n", refused("missing file name")),
        keep(),
        // The end mark may come cut, doubled or after something that looks like it.
        line("UPLOAD .. \r\n\r\r\n\n\r\r\n\r\n", refused("invalid file name")),
        keep(),
        line("UPLOAD a \r\r\n\r\r\n\r\n", stored("a", 0)),
        keep(),
    ]);
}

#[test]
fn folders_links_and_pipes_are_no_regular_files() {
    let mut transcript = Vec::new();
    for name in ["folder", "link", "dangling", "loop", "pipe", "socket"] {
        transcript.push(line(format!("GET {name}\r\n\r\n"), refused("not a regular file")));
        transcript.push(line(
            format!("DELETE {name}\r\n\r\n"),
            refused("not a regular file"),
        ));
        transcript.push(line(upload(name, b"A"), refused("")));
    }
    transcript.push(line("LIST\n", listed(&["a"])));
    play(&transcript, |folder| {
        folder.write("a", b"A");
        folder.write(".hidden", b"A");
        folder.write("back\\slash", b"A");
        folder.folder("folder");
        folder.link("a", "link");
        folder.link("nowhere", "dangling");
        folder.link("loop", "loop");
        folder.pipe("pipe");
        drop(UnixListener::bind(folder.join("socket")).unwrap());
    });
}

#[test]
fn files_of_all_sizes_around_a_piece_cross_both_ways() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "--sync");
        let mut wire = server.connect();
        for size in [
            1, 2, 3, 4, 255, 196_607, 196_608, 196_609, 262_143, 393_217, 1_048_577,
        ] {
            let content = noise(size, size as u64);
            let request = upload("a.bin", &content);
            // Odd pieces, so that groups of four symbols are cut everywhere.
            request
                .chunks(request.len() / 7 + 1)
                .for_each(|piece| wire.send(piece));
            assert_eq!(wire.reply(), stored("a.bin", size));
            assert!(folder.read("a.bin") == content, "{size}");
            assert!(wire.ask("GET a.bin\n") == got("a.bin", &content), "{size}");
        }
    });
}

#[test]
fn pipelined_downloads_come_whole_and_in_order_after_a_half_close() {
    each_case(MODES, FILE, |case, folder| {
        let contents: Vec<Vec<u8>> = (0..4).map(|seed| noise(700_000 + seed, seed as u64)).collect();
        for (at, content) in contents.iter().enumerate() {
            folder.write(&format!("{at}.bin"), content);
        }
        let server = case.serve(folder, 2, "");
        let mut wire = server.connect();
        let requests: String = (0..4).map(|at| format!("GET {at}.bin\r\n\r\n")).collect();
        wire.send(requests + "GET none\n");
        wire.half_close();
        for (at, content) in contents.iter().enumerate() {
            assert!(wire.reply() == got(&format!("{at}.bin"), content), "{at}");
        }
        assert!(wire.reply().starts_with(&refused("file not found")));
        wire.assert_closed();
    });
}

#[test]
fn thousands_of_pipelined_requests_are_all_answered() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut wire = server.connect();
        let mut writer = wire.stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            for round in 0..500 {
                let mut requests = upload(&format!("f{}", round % 3), &noise(round % 50, round as u64));
                requests.extend(format!("GET f{}\r\n\r\nLIST\nFROB\n", round % 3).bytes());
                writer.write_all(&requests).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        for round in 0..500 {
            let name = format!("f{}", round % 3);
            assert_eq!(wire.reply(), stored(&name, round % 50));
            assert_eq!(wire.reply(), got(&name, &noise(round % 50, round as u64)));
            assert!(wire.reply().starts_with(r#"{"status":"OK","data":["f0""#));
            assert!(wire.reply().starts_with(&refused("request tidak")));
        }
        sender.join().unwrap();
        wire.assert_closed();
    });
}

#[test]
fn the_head_of_a_request_has_at_most_8192_bytes() {
    each_case(MODES, FILE, |case, _| {
        for drip in [false, true] {
            let folder = Folder::new();
            let server = case.serve(&folder, 2, "");
            let mut wire = server.connect();
            let long = |verb: &str, length: usize| {
                let head = format!("{verb} {}", "n".repeat(length - verb.len() - 1));
                assert_eq!(head.len(), length);
                head + if verb == "UPLOAD" {
                    " QQ==\r\n\r\n"
                } else {
                    "\r\n\r\n"
                }
            };
            let ask = |wire: &mut Wire, request: &str| {
                if drip {
                    wire.drip(request.as_bytes())
                } else {
                    wire.send(request)
                }
                wire.reply()
            };
            for verb in ["GET", "DELETE", "UPLOAD"] {
                let reply = ask(&mut wire, &long(verb, 8192));
                assert!(reply.starts_with(&refused("invalid file name")), "{verb} {reply}");
                let reply = ask(&mut wire, &long(verb, 8193));
                assert!(reply.starts_with(&refused("request too long")), "{verb} {reply}");
                wire.assert_closed();
                wire = server.connect();
            }
            let reply = ask(&mut wire, &("GET".to_owned() + &" ".repeat(8188) + "a\n"));
            assert!(reply.starts_with(&refused("file not found")), "{reply}");
            let reply = ask(&mut wire, &("X".repeat(8193) + "\n"));
            assert!(reply.starts_with(&refused("request too long")), "{reply}");
            wire.assert_closed();
        }
    });
}

#[test]
fn an_upload_has_at_most_the_allowed_size() {
    each_case(MODES, FILE, |case, _| {
        for limit in [10, 1000, 300_000] {
            let folder = Folder::new();
            let server = case.serve(&folder, 2, &format!("--max-upload {limit}"));
            let mut wire = server.connect();
            let content = noise(limit + 1, 5);
            assert_eq!(wire.ask(upload("a", &content[..limit])), stored("a", limit));
            let reply = wire.ask(upload("a", &content));
            assert!(
                reply.starts_with(&refused("file too large: more than --max-upload ")),
                "{reply}"
            );
            wire.assert_closed();
            drop(wire);
            assert!(folder.read("a") == content[..limit]);
            assert_eq!(folder.names(), ["a"]);
        }
    });
}

#[test]
fn blanks_do_not_make_a_tiny_file_too_large_but_cannot_go_on_for_ever() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 1, "--max-upload 1");
        let spread = |blanks: usize| format!("UPLOAD a Q{}Q==\r\n\r\n", " \r\n".repeat(blanks / 3));
        let mut wire = server.connect();
        assert_eq!(wire.ask(spread(3000)), stored("a", 1));
        let reply = wire.ask(spread(6000));
        assert!(reply.starts_with(&refused("file too large")), "{reply}");
    });
}

#[test]
fn a_request_without_its_end_does_nothing() {
    each_case(MODES, FILE, |case, folder| {
        folder.write("a", b"old");
        let server = case.serve(folder, 2, "");
        let whole = upload("a", b"new!");
        let cut = (1..=whole.len()).map(|left| whole[..whole.len() - left].to_vec());
        for part in cut.chain([
            "DELETE a".into(),
            "DELETE a\r".into(),
            "GET a".into(),
            "LIST".into(),
        ]) {
            let mut wire = server.connect();
            wire.send(&part);
            wire.half_close();
            // It is told why, like any other bad request; a connection without a request is just closed.
            let rest = String::from_utf8(wire.rest().unwrap()).unwrap();
            let told = format!(
                "{}: the stream ended before the request did\"}}\r\n\r\n",
                refused("request cut off")
            );
            assert_eq!(
                rest,
                if part.is_empty() { String::new() } else { told },
                "{part:?}"
            );
            assert_eq!(folder.read("a"), b"old", "{part:?}");
        }
        assert_eq!(folder.names(), ["a"]);
    });
}

#[test]
fn a_refusal_is_heard_by_a_client_that_gave_up_sending() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve(folder, 2, "");
        for (request, reason) in [
            ("UPLOAD .. QUJD", "invalid file name"),
            ("UPLOAD a !", "invalid base64"),
        ] {
            let mut wire = server.connect();
            wire.send(request);
            wire.half_close();
            let reply = wire.reply();
            assert!(reply.starts_with(&refused(reason)), "{reply}");
            wire.assert_closed();
        }
    });
}

#[test]
fn stats_are_counted() {
    each_case(MODES, FILE, |case, folder| {
        let mode = case.mode;
        let server = case.serve(folder, 1, "");
        let requests = [
            "UPLOAD a QUJD\r\n\r\n",
            "GET a\n",
            "GET b\n",
            "DELETE a\n",
            "FROB\n",
            "LIST\n",
        ];
        let mut wire = server.connect();
        let bytes_out: usize = requests
            .iter()
            .map(|request| wire.ask(request).len() + END.len())
            .sum();
        let bytes_in: usize = requests.iter().map(|request| request.len()).sum();
        drop(wire);
        let reply = server.ask("STATS\r\n\r\n");
        let (head, tail) = reply.split_once(r#""bytes_in":"#).unwrap();
        let crew = r#""workers":1,"alive":1,"restarts":0,"connections":2,"requests":6,"failed":2,"#;
        assert_eq!(
            head,
            format!(r#"{{"status":"OK","data":{{"mode":"{mode}",{crew}"#)
        );
        assert!(
            tail.contains(r#","per_worker":[{"served":4,"failed":2}],"pid":"#),
            "{tail}"
        );
        assert_eq!(number(&reply, "bytes_in"), bytes_in as u64);
        assert_eq!(number(&reply, "bytes_out"), bytes_out as u64);
    });
}

#[test]
fn stats_add_up_over_all_workers() {
    each_case(POOLS, FILE, |case, folder| {
        let server = case.serve(folder, 3, "");
        let wires: Vec<Wire> = (0..3).map(|_| server.connect()).collect();
        for mut wire in wires {
            wire.ask("LIST\n");
            wire.ask("GET none\n");
        }
        eventually("all is counted", || number(&server.ask("STATS\n"), "failed") == 3);
        eventually("all are at work", || number(&server.ask("STATS\n"), "alive") == 3);
        // The STATS before may just be counted by another worker, between the total and the rows.
        eventually("all add up", || {
            let reply = server.ask("STATS\n");
            assert_eq!((number(&reply, "workers"), number(&reply, "alive")), (3, 3));
            assert!(number(&reply, "connections") >= 5, "{reply}");
            let (_, workers) = reply.split_once(r#""per_worker":["#).unwrap();
            let (workers, _) = workers.split_once(']').unwrap();
            let workers: Vec<&str> = workers.split("},{").collect();
            let sum = |key| workers.iter().map(|worker| number(worker, key)).sum::<u64>();
            assert_eq!((workers.len(), sum("failed")), (3, 3), "{reply}");
            sum("served") + sum("failed") == number(&reply, "requests")
        });
    });
}

#[test]
fn a_log_has_one_line_for_each_request_and_no_control_characters() {
    each_case(MODES, FILE, |case, folder| {
        let server = case.serve_with_log(folder, 1, "");
        let requests = [
            &b"GET a\x1b[2Jb\n"[..],
            b"GET a\xff\xfe\n",
            b"DELETE \"a\rb\"\n",
            "GET \u{9b}2J\u{202e}\n".as_bytes(),
            b"UPLOAD a\x07 QQ==\r\n\r\n",
            b"\x1b]0;title\x07\n",
            b"LIST\n",
        ];
        let mut wire = server.connect();
        requests.iter().for_each(|request| drop(wire.ask(request)));
        drop(wire);
        let log = server.stop_with_log();
        assert_eq!(log.lines().count(), requests.len(), "{log:?}");
        assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
        assert!(
            log.lines().all(|line| line.contains(" worker 0 127.0.0.1:")),
            "{log:?}"
        );
        assert!(log.ends_with(" ms OK\n"), "{log:?}");
    });
}
