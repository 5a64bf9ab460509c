//! The page at `/` as people and browsers use it: sorted through its links, sound behind a proxy, with
//! names that try to look like something else.

// The helpers of a test may fail like the test itself.
#![allow(clippy::unwrap_used)]

mod common;

use common::http::{Http, Reply, ask, get, with};
use common::{Folder, Server, in_every_mode};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

fn start(mode: &str, folder: &Folder, options: &[&str]) -> Server {
    Server::start(mode, 2, folder, &[&["--protocol", "http"], options].concat())
}

/// One request on a connection of its own.
#[track_caller]
fn once(server: &Server, request: impl AsRef<[u8]>) -> Reply {
    Http::connect(server.address).ask(request)
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
    file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
}

#[test]
fn rows_are_sorted_as_the_url_says() {
    in_every_mode(|mode| {
        let folder = Folder::new();
        file(&folder, "a", 5, 1_000_000_000);
        file(&folder, "b", 1_048_575, 900_000_000);
        file(&folder, "c", 5, 1_100_000_000);
        file(&folder, "d", 0, 1_000_000_000);
        let server = start(mode, &folder, &[]);
        let mut peer = Http::connect(server.address);
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
            assert_eq!(rows(text).concat(), names, "{mode} {target}");
            // The one column that the rows are sorted by leads to the other direction.
            let way = if target.contains("desc") { "descending" } else { "ascending" };
            let head = format!("<th scope=col aria-sort={way}><a href={sorted}>");
            assert!(
                text.contains(&head) && text.matches(" aria-sort=").count() == 1,
                "{mode} {target} {text}"
            );
        }
        let whole = peer.ask(get("/"));
        let text = whole.text();
        for part in [
            "<caption>4 files, 1.0 MiB.</caption>",
            "<td><data value=1048575 title=\"1048575 bytes\">1.0 MiB</data>",
            "<td><data value=5>5 B</data>",
            "<td><time datetime=2001-09-09T01:46:40.000Z>2001-09-09 01:46</time>",
        ] {
            assert!(text.contains(part), "{mode}: no {part} in {text}");
        }
        // What programs read stays as it is.
        let json = peer.ask(get("/?json"));
        assert!(json.text().starts_with("[{\"name\":\"a\",\"size\":5,\"modified\":"), "{mode} {json:?}");
        drop(peer);
        server.stop();
    });
}

#[test]
fn names_are_isolated_and_what_deceives_is_shown() {
    let folder = Folder::new();
    for name in ["invoice\u{202e}fdp.exe", "\u{2066}<b>\u{200b}", "שלום.txt", "a:b", "two  blanks", ".hidden"]
    {
        file(&folder, name, 1, 1_000_000_000);
    }
    let server = start("thread", &folder, &[]);
    let text = page(&server, "");
    for part in [
        "<a href=\"invoice%E2%80%AEfdp.exe\"><bdi>invoice<span class=odd>\\u{202e}</span>fdp.exe</bdi></a>",
        "<bdi><span class=odd>\\u{2066}</span>&lt;b&gt;<span class=odd>\\u{200b}</span></bdi>",
        "<bdi>שלום.txt</bdi>",
        "<a href=\"a%3Ab\"><bdi>a:b</bdi></a>",
        "<bdi>two  blanks</bdi>",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{text}");
    for target in rows(&text) {
        assert!(!target.starts_with('.') && !target.contains(':'), "{target}");
        assert_eq!(once(&server, get(&format!("/{target}"))).status, 200, "{target}");
    }
    server.stop();
}

#[test]
fn folders_are_counted_and_nothing_else_is() {
    let folder = Folder::new();
    let server = start("thread", &folder, &[]);
    let text = page(&server, "");
    assert!(text.contains("No files yet.\n") && !text.contains("<table"), "{text}");
    for name in ["x", ".git"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    symlink(".", folder.join("link")).unwrap();
    assert!(page(&server, "").contains("No files yet. 1 folder not shown.\n"));
    for name in ["y", "z"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    file(&folder, "a", 1024, 1_000_000_000);
    assert!(page(&server, "").contains("<caption>1 file, 1.0 KiB. 3 folders not shown.</caption>"));
    server.stop();
}

#[test]
fn the_line_with_curl_is_right_behind_a_proxy() {
    let folder = Folder::new();
    let server = start("thread", &folder, &[]);
    let line = |lines: &str| {
        let text = page(&server, lines);
        let (_, rest) = text.split_once("<code>curl -T FILE ").unwrap();
        rest.split_once("</code>").unwrap().0.to_owned()
    };
    for (lines, address) in [
        ("", "http://localhost/"),
        ("X-Forwarded-Proto: https\r\n", "https://localhost/"),
        ("X-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /files\r\n", "http://localhost/files/"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /a/b-c_d.e~/\r\n", "https://localhost/a/b-c_d.e~/"),
        // Nothing else is believed, and whoever says two things says nothing.
        ("X-Forwarded-Proto: https, http\r\n", "http://localhost/"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n", "http://localhost/"),
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
    let old = |host: &str| once(&server, format!("GET / HTTP/1.0\r\n{host}\r\n")).text().to_owned();
    assert!(old("").contains("<code>curl -T FILE http://HOST:PORT/</code>"));
    assert!(old("Host: 127.0.0.1:80\r\n").contains("<code>curl -T FILE http://127.0.0.1:80/</code>"));
    server.stop();
    // A host may hold what means something to a shell.
    let server = start("thread", &folder, &["--any-host"]);
    let text = once(&server, "GET / HTTP/1.1\r\nHost: a;$(b)\r\n\r\n").text().to_owned();
    assert!(text.contains("<code>curl -T FILE http://HOST:PORT/</code>"), "{text}");
    server.stop();
    let server = start("thread", &folder, &["--read-only"]);
    assert!(!page(&server, "").contains("curl"), "a server that takes nothing says how to send");
    server.stop();
}

#[test]
fn the_page_needs_nothing_else_and_runs_nothing() {
    let folder = Folder::new();
    file(&folder, "a", 1, 1_000_000_000);
    let server = start("thread", &folder, &[]);
    let reply = once(&server, get("/"));
    let policy = reply.must("Content-Security-Policy");
    for part in ["default-src 'none'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "no {part} in {policy}");
    }
    assert!(!policy.contains("script"), "{policy}");
    assert_eq!(reply.must("X-Content-Type-Options"), "nosniff");
    let text = reply.text();
    for outside in ["<script", "<link", "<img", "@import", "url(", "src=", "//", "style=\"", " onclick"] {
        let count = text.matches(outside).count();
        assert_eq!(count, usize::from(outside == "//"), "{outside} in {text}");
    }
    let head = once(&server, ask("HEAD", "/"));
    assert_eq!(head.must("Content-Security-Policy"), policy);
    server.stop();
}
