//! The page at `/` as people and browsers use it: sorted through its links, sound behind a proxy, with
//! names that try to look like something else.

use crate::support::http::{Http, ask, get, once, put_chunked, with};
use crate::support::*;
use std::fs::{self, File};
use std::time::{Duration, UNIX_EPOCH};

fn start(mode: &str, folder: &Folder, options: &str) -> Server {
    Server::http_of(mode, 2, folder, options)
}

/// The page at `/`, asked for with these header lines.
fn page(server: &Server, lines: &str) -> String {
    let reply = once(server, with("GET", "/", lines));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.text().to_owned()
}

/// The targets of the links to files, in the order of the rows.
fn rows(page: &str) -> Vec<&str> {
    let cells = page.split("<tr><th scope=row><a href=\"").skip(1);
    cells.map(|cell| cell.split_once('"').unwrap().0).collect()
}

/// A file of this size that was changed in this second since 1970.
fn file(folder: &Folder, name: &str, size: u64, second: u64) {
    let file = File::create(folder.join(name)).unwrap();
    file.set_len(size).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(second))
        .unwrap();
}

#[test]
fn rows_are_sorted_as_the_url_says() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        file(folder, "a", 5, 1_000_000_000);
        file(folder, "b", 1_048_575, 900_000_000);
        file(folder, "c", 5, 1_100_000_000);
        file(folder, "d", 0, 1_000_000_000);
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        for (target, names, sorted) in [
            ("/", "abcd", "\"?sort=name&amp;order=desc\""),
            ("/?sort=name&order=desc", "dcba", "\"?sort=name\""),
            ("/?sort=size", "dacb", "\"?sort=size&amp;order=desc\""),
            ("/?sort=size&order=desc", "bacd", "\"?sort=size\""),
            ("/?sort=date", "badc", "\"?sort=date&amp;order=desc\""),
            ("/?order=desc&sort=date", "cadb", "\"?sort=date\""),
            ("/?sort=owner&order=up", "abcd", "\"?sort=name&amp;order=desc\""),
        ] {
            let reply = peer.ask(get(target));
            let text = reply.text();
            assert_eq!(rows(text).concat(), names, "{target}");
            // The one column that the rows are sorted by leads to the other direction.
            let way = if target.contains("desc") {
                "descending"
            } else {
                "ascending"
            };
            let head = format!("<th scope=col aria-sort={way}><a href={sorted}>");
            assert!(
                text.contains(&head) && text.matches(" aria-sort=").count() == 1,
                "{target} {text}"
            );
        }
        let whole = peer.ask(get("/"));
        let text = whole.text();
        assert_has(
            text,
            &[
                "<caption>4 files.</caption>",
                "<tfoot>\n<tr><th scope=row>Total<td><data value=1048585 title=\"1048585 bytes\">1.0 MiB",
                "<td><data value=1048575 title=\"1048575 bytes\">1.0 MiB</data>",
                "<td>5 B<td>",
                "<td><time datetime=2001-09-09T01:46:40.000Z>2001-09-09 01:46</time>",
            ],
        );
        // What programs read stays as it is.
        let json = peer.ask(get("/?json"));
        assert!(
            json.text()
                .starts_with("[{\"name\":\"a\",\"size\":5,\"modified\":"),
            "{json:?}"
        );
    });
}

#[test]
fn names_are_isolated_and_what_deceives_is_shown() {
    let folder = Folder::new();
    let names = [
        "invoice\u{202e}fdp.exe",
        "\u{2066}<b>\u{200b}",
        "שלום.txt",
        "a:b",
        "two  blanks",
        ".hidden",
    ];
    let blank = ["ok.txt", "ok.txt ", "\u{2800}", "\u{fe0f}"];
    for name in names.into_iter().chain(blank) {
        file(&folder, name, 1, 1_000_000_000);
    }
    let server = start("thread", &folder, "");
    let text = page(&server, "");
    let parts = [
        r#"<a href="invoice%E2%80%AEfdp.exe"><bdi>invoice<span class=odd>\u{202e}</span>fdp.exe</bdi></a>"#,
        "<bdi><span class=odd>\\u{2066}</span>&lt;b&gt;<span class=odd>\\u{200b}</span></bdi>",
        "<bdi>שלום.txt</bdi>",
        "<a href=\"a%3Ab\"><bdi>a:b</bdi></a>",
        "<bdi>two<span class=odd>\\u{20}</span><span class=odd>\\u{20}</span>blanks</bdi>",
        "<bdi>ok.txt</bdi>",
        "<bdi>ok.txt<span class=odd>\\u{20}</span></bdi>",
        "<bdi><span class=odd>\\u{2800}</span></bdi>",
        "<bdi><span class=odd>\\u{fe0f}</span></bdi>",
    ];
    assert_has(&text, &parts);
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{text}");
    for target in rows(&text) {
        assert!(!target.starts_with('.') && !target.contains(':'), "{target}");
        assert_eq!(once(&server, get(&format!("/{target}"))).status, 200, "{target}");
    }
}

#[test]
fn folders_are_counted_and_nothing_else_is() {
    let folder = Folder::new();
    let server = start("thread", &folder, "");
    let text = page(&server, "");
    assert!(
        text.contains("No files yet.\n") && !text.contains("<table"),
        "{text}"
    );
    for name in ["x", ".git"] {
        folder.folder(name);
    }
    folder.link(".", "link");
    assert!(page(&server, "").contains("No files yet. 1 folder not shown.\n"));
    for name in ["y", "z"] {
        folder.folder(name);
    }
    file(&folder, "a", 1024, 1_000_000_000);
    assert!(page(&server, "").contains("<caption>1 file. 3 folders not shown.</caption>"));
}

#[test]
fn the_line_with_curl_is_right_behind_a_proxy() {
    let folder = Folder::new();
    let server = start("thread", &folder, "");
    let line = |lines: &str| {
        let text = page(&server, lines);
        let (_, rest) = text.split_once("<code>curl -T FILE ").unwrap();
        rest.split_once("</code>").unwrap().0.to_owned()
    };
    for (lines, address) in [
        ("", "http://localhost/"),
        ("X-Forwarded-Proto: https\r\n", "https://localhost/"),
        (
            "X-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /files\r\n",
            "http://localhost/files/",
        ),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /a/b-c_d.e~/\r\n",
            "https://localhost/a/b-c_d.e~/",
        ),
        // Nothing else is believed, and whoever says two things says nothing.
        ("X-Forwarded-Proto: https, http\r\n", "http://localhost/"),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n",
            "http://localhost/",
        ),
        ("X-Forwarded-Proto: javascript\r\n", "http://localhost/"),
        ("X-Forwarded-Prefix: files\r\n", "http://localhost/"),
        ("X-Forwarded-Prefix: //example.org\r\n", "http://localhost/"),
        ("X-Forwarded-Prefix: /a/../b\r\n", "http://localhost/"),
        ("X-Forwarded-Prefix: /a;reboot\r\n", "http://localhost/"),
        ("X-Forwarded-Prefix: /<script>\r\n", "http://localhost/"),
        ("X-Forwarded-Host: example.org\r\n", "http://localhost/"),
    ] {
        assert_eq!(line(lines), address, "{lines}");
    }
    let old = |host: &str| {
        once(&server, format!("GET / HTTP/1.0\r\n{host}\r\n"))
            .text()
            .to_owned()
    };
    assert!(old("").contains("<code>curl -T FILE http://HOST:PORT/</code>"));
    assert!(old("Host: 127.0.0.1:80\r\n").contains("<code>curl -T FILE http://127.0.0.1:80/</code>"));
    server.stop();
    // A host may hold what means something to a shell.
    let server = start("thread", &folder, "--any-host");
    let text = once(&server, "GET / HTTP/1.1\r\nHost: a;$(b)\r\n\r\n")
        .text()
        .to_owned();
    assert_has(&text, &["<code>curl -T FILE http://HOST:PORT/</code>"]);
    server.stop();
    let server = start("thread", &folder, "--read-only");
    assert!(
        !page(&server, "").contains("curl"),
        "a server that takes nothing says how to send"
    );
}

#[test]
fn the_page_needs_nothing_else_and_runs_nothing() {
    let folder = Folder::new();
    file(&folder, "a", 1, 1_000_000_000);
    let server = start("thread", &folder, "");
    let reply = once(&server, get("/"));
    let policy = reply.must("Content-Security-Policy");
    assert_has(
        policy,
        &[
            "default-src 'none'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ],
    );
    assert!(!policy.contains("script"), "{policy}");
    assert_eq!(reply.must("X-Content-Type-Options"), "nosniff");
    let text = reply.text();
    for outside in "<script|<link|<img|@import|url(|src=|//|style=\"| onclick".split('|') {
        let count = text.matches(outside).count();
        assert_eq!(count, usize::from(outside == "//"), "{outside} in {text}");
    }
    let head = once(&server, ask("HEAD", "/"));
    assert_eq!(head.must("Content-Security-Policy"), policy);
}

// ---- the form ----

/// Begins the line between two parts; it occurs, nearly, in the files.
const BOUNDARY: &str = "----WebKitFormBoundaryd41d8cd98f00b204";

/// A form with these files, as Chromium sends it.
fn body(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in files {
        let head = "Content-Disposition: form-data; name=\"file\"; filename=";
        let kind = "Content-Type: application/octet-stream";
        body.extend(format!("--{BOUNDARY}\r\n{head}\"{name}\"\r\n{kind}\r\n\r\n").bytes());
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

fn head(length: usize, lines: &str) -> String {
    let kind = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
    with("POST", "/", &format!("{kind}Content-Length: {length}\r\n{lines}"))
}

fn post(files: &[(&str, &[u8])], lines: &str) -> Vec<u8> {
    let body = body(files);
    [head(body.len(), lines).as_bytes(), &body].concat()
}

#[test]
fn a_form_stores_its_files_and_leads_back_to_the_page() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("old.bin", b"old");
        let server = case.serve(folder, 2, "");
        let text = page_of(&mut server.http());
        assert_has(
            &text,
            &[
                "<form method=post enctype=\"multipart/form-data\">",
                "<label for=files>Add files</label>",
                "<input type=file id=files name=file multiple required aria-describedby=rules>",
                "At most 1.0 GiB each. A file of the same name is replaced.",
            ],
        );
        // Ends like the beginning of a boundary, many times.
        let trap = format!("\r\n--{}", &BOUNDARY[..BOUNDARY.len() - 1])
            .repeat(50)
            .into_bytes();
        let large = noise(700_000, 1);
        let files: [(&str, &[u8]); 4] = [
            ("old.bin", &large),
            ("é日😀.txt", b""),
            ("t%22rap", &trap),
            ("d/n", b"n"),
        ];
        let request = post(&files, "Sec-Fetch-Site: same-origin\r\n");
        let small = post(&files[1..], "");
        let chunked = {
            let put = put_chunked("/", &body(&files[1..]), &[1, 70, 7]);
            let kind =
                format!("POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\"{BOUNDARY}\"\r\n");
            [kind.as_bytes(), &put[b"PUT / HTTP/1.1\r\n".len()..]].concat()
        };
        for (request, drip) in [
            (request, false),
            (small.clone(), true),
            (small, false),
            (chunked, true),
        ] {
            let mut peer = server.http();
            if drip {
                peer.drip(&request);
            } else {
                // With a second request behind it.
                peer.send([&request[..], get("/healthz").as_bytes()].concat());
            }
            let reply = peer.reply("POST");
            assert_eq!((reply.status, reply.must("Location")), (303, "./"), "{reply:?}");
            assert!(reply.text().ends_with(" files stored\n"), "{reply:?}");
            if !drip {
                assert_eq!(peer.reply("GET").text(), "ok\n");
            }
            assert_eq!(folder.names(), ["n", "old.bin", "t\"rap", "é日😀.txt"]);
            assert!(folder.read("t\"rap") == trap && folder.read("old.bin") == large);
            for name in ["n", "t\"rap", "é日😀.txt"] {
                fs::remove_file(folder.join(name)).unwrap();
            }
        }
    });
}

fn page_of(peer: &mut Http) -> String {
    peer.ask(get("/")).text().to_owned()
}

#[test]
fn a_form_leads_back_to_the_page_in_its_order() {
    let folder = Folder::new();
    let server = start("event", &folder, "");
    for (query, expected) in [
        ("?sort=size&order=desc", "./?sort=size&order=desc"),
        ("?sort=date", "./?sort=date"),
        ("?sort=//evil.example", "./"),
    ] {
        let request = String::from_utf8(post(&[("a", b"A")], "")).unwrap();
        let reply = once(&server, request.replacen("POST /", &format!("POST /{query}"), 1));
        assert_eq!((reply.status, reply.must("Location")), (303, expected));
    }
}

#[test]
fn the_log_names_each_file_of_a_form() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve_with_log(folder, 2, "--protocol http");
        let reply = once(
            &server,
            post(&[("a b", b"A"), ("line%22end", b"BC"), (".x", b"")], ""),
        );
        assert_eq!(reply.status, 400);
        let log = server.stop_with_log();
        let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
        for part in [
            " FILE \"a b\" 1 bytes OK",
            " FILE \"line\\\"end\" 2 bytes OK",
            " FILE ",
            " POST \"/\" ",
        ] {
            assert_eq!(lines(part), if part == " FILE " { 2 } else { 1 }, "{part}: {log}");
        }
    });
}

#[test]
fn a_form_that_fails_stores_what_came_before_and_says_so() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("b", b"old");
        folder.folder("inner");
        let server = case.serve(folder, 2, "--max-upload 1000");
        let before = "; stored before that: 1 file\n";
        let none = "; stored before that: none\n";
        for (name, content, status, reason, stored) in [
            ("b", vec![b'x'; 1001], 413, "b: file too large", before),
            (
                ".x",
                Vec::new(),
                400,
                ".x: invalid file name: begins with a dot",
                before,
            ),
            ("inner", b"x".to_vec(), 403, "inner: not a regular file", before),
            (
                "x%0Ay",
                Vec::new(),
                400,
                "x\\u{a}y: invalid file name: contains a control character",
                before,
            ),
        ] {
            let request = post(&[("a", b"A"), (name, &content), ("c", b"C")], "");
            let reply = once(&server, &request);
            assert_eq!(reply.status, status, "{name} {reply:?}");
            assert!(
                reply.text().starts_with(reason) && reply.text().ends_with(stored),
                "{reply:?}"
            );
            assert_eq!(
                (folder.names(), folder.read("b")),
                (["a", "b", "inner"].map(str::to_owned).to_vec(), b"old".to_vec())
            );
            fs::remove_file(folder.join("a")).unwrap();
        }
        for (files, reason) in [
            (
                &[("", &b""[..])][..],
                "no file was chosen: go back and choose one\n",
            ),
            (&[], "no file was chosen: go back and choose one\n"),
            (
                &[("", b"x")],
                &*format!("malformed request: a file without a name{none}"),
            ),
        ] {
            let reply = once(&server, post(files, ""));
            assert_eq!((reply.status, reply.text()), (400, reason));
        }
    });
}

#[test]
fn a_form_that_is_cut_leaves_the_files_before_the_cut_alone() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("b", b"old");
        let server = case.serve(folder, 2, "");
        let request = post(&[("a", b"A"), ("b", &noise(500_000, 1))], "");
        for short in [1, 45, 200_000] {
            let mut peer = server.http();
            peer.send(&request[..request.len() - short]);
            eventually("the first file is stored", || folder.join("a").exists());
            peer.half_close();
            assert!(peer.rest().unwrap().is_empty(), "an answer to half a form");
            drop(peer);
            eventually("no temporary file is left", || folder.names() == ["a", "b"]);
            // Its last boundary was there, or it was not.
            let whole = short == 1;
            assert_eq!(folder.read("b") == b"old", !whole, "{short}");
            folder.write("b", b"old");
            fs::remove_file(folder.join("a")).unwrap();
        }
    });
}

#[test]
fn a_form_of_another_site_is_refused() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        for (lines, status) in [
            (
                "Sec-Fetch-Site: cross-site\r\nOrigin: http://evil.example\r\n",
                403,
            ),
            ("Sec-Fetch-Site: same-site\r\n", 403),
            ("Origin: http://evil.example\r\n", 403),
            ("Origin: null\r\n", 403),
            ("Origin: http://localhost\r\n", 303),
            ("Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n", 303),
            ("", 303),
        ] {
            let reply = peer.ask(post(&[("a", b"A")], lines));
            assert_eq!(reply.status, status, "{lines} {reply:?}");
            let names = folder.names();
            assert_eq!(names.len(), usize::from(status == 303), "{lines} {names:?}");
            if status == 303 {
                fs::remove_file(folder.join("a")).unwrap();
            } else {
                assert_has(reply.text(), &["another site"]);
            }
        }
    });
}

#[test]
fn a_server_that_takes_no_form_neither_shows_nor_reads_one() {
    let folder = Folder::new();
    folder.write("a", b"old");
    let server = start("thread", &folder, "--read-only");
    assert!(
        !page(&server, "").contains("<form"),
        "a form on a read-only server"
    );
    let reply = once(&server, post(&[("a", b"new")], ""));
    assert!(
        reply.status == 403 && reply.text().contains("read-only"),
        "{reply:?}"
    );
    assert_eq!(folder.read("a"), b"old");
    server.stop();
    let server = start("thread", &folder, "");
    for (request, status) in [
        (ask("POST", "/"), 415),
        (
            with("POST", "/", "Content-Type: text/plain\r\nContent-Length: 1\r\n") + "x",
            415,
        ),
        (
            with(
                "POST",
                "/",
                &format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"),
            ),
            411,
        ),
        (head(0, ""), 400),
        (head(5, "").replace("; boundary", "; border") + "hello", 400),
        (head(5, "").replace("POST / ", "POST /a ") + "hello", 405),
        (head(5, "").replace("POST / ", "POST /metrics ") + "hello", 405),
    ] {
        assert_eq!(once(&server, &request).status, status, "{request:?}");
    }
    assert_eq!(folder.names(), ["a"]);
}

/// Whoever sends a large form that is refused must still be able to read why.
#[test]
fn a_refused_form_is_answered_although_its_sender_goes_on() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "--max-upload 1000");
        let flood = noise(8 << 20, 1);
        for (name, lines, status) in [
            ("a", "", 413),
            (".x", "", 400),
            ("a", "Origin: null\r\n", 403),
            ("a", "Expect: 100-continue\r\n", 413),
        ] {
            let mut peer = server.http();
            peer.send(post(&[(name, &flood)], lines));
            let reply = peer.reply("POST");
            assert_eq!(reply.status, status, "{name} {lines} {reply:?}");
        }
        assert!(folder.names().is_empty());
    });
}

#[test]
fn a_large_form_takes_no_more_memory_than_a_small_one() {
    let folder = Folder::new();
    let server = start("event", &folder, "");
    let content = noise(50 << 20, 1);
    assert_eq!(once(&server, post(&[("a", &content[..1000])], "")).status, 303);
    let before = resident(server.pid());
    assert_eq!(once(&server, post(&[("a", &content)], "")).status, 303);
    let after = resident(server.pid());
    assert!(folder.read("a") == content, "the file is another one");
    assert!(after < before + 4096, "from {before} to {after} KiB");
}
