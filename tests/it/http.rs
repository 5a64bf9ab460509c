//! HTTP as bytes, in every mode: every method and every refusal as a transcript, each sent whole, byte by
//! byte and all at once; heads that are malformed or could be understood in two ways, limits from both
//! sides, hostile names, slow and vanishing clients, and curl.

use crate::support::http::{self, Http, Reply, ask, escaped, get, once, put, put_chunked, with};
use crate::support::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The request that hides behind another, and must not be answered when that one is not understood.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn start(mode: &str, workers: usize, folder: &Folder, options: &str) -> Server {
    Server::http_of(mode, workers, folder, options)
}

/// The beginning of a request, for messages.
fn shown(request: &[u8]) -> String {
    let part = String::from_utf8_lossy(&request[..request.len().min(300)]);
    format!("{part:?}")
}

// ---- transcripts ----

/// What a reply must be.
enum Check {
    Header(&'static str, String),
    Without(&'static str),
    Body(Vec<u8>),
    Has(String),
    Stays,
    Closes,
}

/// A request and what is expected of its reply.
struct Step {
    request: Vec<u8>,
    /// Each of these will do.
    status: Vec<u16>,
    checks: Vec<Check>,
}

fn step(request: impl AsRef<[u8]>, status: u16) -> Step {
    Step {
        request: request.as_ref().to_vec(),
        status: vec![status],
        checks: Vec::new(),
    }
}

impl Step {
    fn also(mut self, check: Check) -> Step {
        self.checks.push(check);
        self
    }

    fn header(self, name: &'static str, value: impl Into<String>) -> Step {
        self.also(Check::Header(name, value.into()))
    }

    fn without(self, name: &'static str) -> Step {
        self.also(Check::Without(name))
    }

    fn body(self, body: impl AsRef<[u8]>) -> Step {
        self.also(Check::Body(body.as_ref().to_vec()))
    }

    fn has(self, text: impl Into<String>) -> Step {
        self.also(Check::Has(text.into()))
    }

    fn stays(self) -> Step {
        self.also(Check::Stays)
    }

    fn closes(self) -> Step {
        self.also(Check::Closes)
    }

    fn check(&self, context: &str, reply: &Reply) {
        let context = format!("{context}: {}\n   got {reply:?}", shown(&self.request));
        assert!(
            self.status.contains(&reply.status),
            "{context}\nwanted {:?}",
            self.status
        );
        for check in &self.checks {
            let (right, wanted) = match check {
                Check::Header(name, value) => (
                    reply.header(name) == Some(value.as_str()),
                    format!("{name}: {value}"),
                ),
                Check::Without(name) => (reply.header(name).is_none(), format!("no {name}")),
                Check::Body(body) => (reply.body == *body, shown(body)),
                Check::Has(text) => (reply.text().contains(text.as_str()), text.clone()),
                Check::Stays => (!reply.closes(), "that it stays open".to_owned()),
                Check::Closes => (reply.closes(), "that it closes".to_owned()),
            };
            assert!(right, "{context}\nwanted {wanted}");
        }
    }
}

/// Plays a transcript in every mode, cut in every way, each time on a fresh folder and server. A connection
/// that the server closes is followed by another; what was sent behind its last request is sent again.
fn play(steps: &[Step], options: &str, prepare: impl Fn(&Folder) + Sync) {
    each_case(MODES, HTTP, |case, _| {
        for cut in ["whole", "byte by byte", "all at once"] {
            let folder = Folder::new();
            prepare(&folder);
            let server = case.serve(&folder, 2, options);
            let (mut peer, mut fresh) = (server.http(), true);
            for (at, step) in steps.iter().enumerate() {
                match cut {
                    "whole" => peer.send(&step.request),
                    "byte by byte" => peer.drip(&step.request),
                    _ if fresh => {
                        let all: Vec<&[u8]> = steps[at..].iter().map(|step| &step.request[..]).collect();
                        peer.send(all.concat());
                    }
                    _ => {}
                }
                let reply = peer.reply(http::method(&step.request));
                step.check(cut, &reply);
                fresh = reply.closes();
                if fresh {
                    peer.assert_closed();
                    peer = server.http();
                }
            }
            peer.half_close();
            peer.assert_closed();
            drop(peer);
            assert!(folder.temporary().is_empty(), "{cut}");
        }
    });
}

fn play_in_empty_folder(steps: &[Step]) {
    play(steps, "", |_| {});
}

/// The time of a file in tests: `Sun, 06 Nov 1994 08:49:37 GMT`.
const OLD: u64 = 784_111_777;

/// Gives a file a time, in seconds and nanoseconds since 1970.
fn set_time(folder: &Folder, name: &str, seconds: u64, nanoseconds: u32) {
    let file = File::options().write(true).open(folder.join(name)).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
        .unwrap();
}

#[test]
fn dates_are_counted_right_in_here() {
    let table = [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (OLD, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
    ];
    for (seconds, text) in table {
        assert_eq!(http::date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
    }
}

// ---- files ----

#[test]
fn a_file_is_put_got_replaced_and_deleted() {
    play_in_empty_folder(&[
        step(get("/a.bin"), 404).has("file not found").stays(),
        step(put("/a.bin", b"kolam"), 201).stays(),
        step(get("/a.bin"), 200)
            .body("kolam")
            .header("Content-Type", "application/octet-stream")
            .stays(),
        step(ask("HEAD", "/a.bin"), 200)
            .header("Content-Length", "5")
            .header("Accept-Ranges", "bytes"),
        step(put("/a.bin", b""), 204).stays(),
        step(get("/a.bin"), 200).body(""),
        step(put("/a.bin", b"kolam ikan"), 204),
        step(put_chunked("/b.bin", b"in pieces", &[4, 1]), 201),
        step(put_chunked("/b.bin", b"in other pieces", &[100]), 204),
        step(put_chunked("/empty", b"", &[1]), 201),
        step(get("/b.bin"), 200).body("in other pieces"),
        step(get("/empty"), 200).body("").header("Content-Length", "0"),
        step(ask("DELETE", "/a.bin"), 204).stays(),
        step(ask("DELETE", "/a.bin"), 404).stays(),
        step(ask("HEAD", "/a.bin"), 404),
        step(get("/a.bin"), 404),
        step(get("/?json"), 200)
            .has(r#""name":"b.bin""#)
            .has(r#""name":"empty""#),
        step(get("/healthz"), 200).body("ok\n"),
    ]);
}

#[test]
fn a_name_is_decoded_exactly_once() {
    play_in_empty_folder(&[
        step(put("/%41%2Etxt", b"A"), 201),
        step(get("/A.txt"), 200).body("A"),
        step(get("/%41.txt"), 200).body("A"),
        step(put("/100%25", b"percent"), 201),
        step(get("/100%25"), 200).body("percent"),
        step(put("/x%2541", b"not xA"), 201),
        step(get("/xA"), 404),
        step(get("/x%2541"), 200).body("not xA"),
        step(put("/a+b", b"plus"), 201),
        step(get("/a%2Bb"), 200).body("plus"),
        step(get("/a%20b"), 404),
        step(put("/a%20b%3F%23", b"blank"), 201),
        step(get("/a%20b%3f%23"), 200).body("blank"),
        step(put("/%C3%A9%E6%97%A5%F0%9F%98%80", b"script"), 201),
        step(get("/%c3%a9%e6%97%a5%f0%9f%98%80"), 200).body("script"),
        step(put("/%3Fjson", b"no query"), 201),
        step(get("/%3Fjson"), 200).body("no query"),
        step(put(&format!("/{}", "%6E".repeat(255)), b"long"), 201),
        step(get(&format!("/{}", "n".repeat(255))), 200).body("long"),
        step(get(&format!("/{}", "n".repeat(256))), 404).has("invalid file name"),
    ]);
}

#[test]
fn content_types_follow_the_extension() {
    let folder = Folder::new();
    let server = start("thread", 2, &folder, "");
    let mut peer = server.http();
    let table: [(&str, &[&str]); 12] = [
        ("a.txt", &["text/plain"]),
        ("a.html", &["text/html"]),
        ("a.css", &["text/css"]),
        ("a.js", &["text/javascript", "application/javascript"]),
        ("a.json", &["application/json"]),
        ("a.png", &["image/png"]),
        ("a.jpg", &["image/jpeg"]),
        ("a.gif", &["image/gif"]),
        ("a.pdf", &["application/pdf"]),
        ("a.bin", &["application/octet-stream"]),
        ("a.unheard-of", &["application/octet-stream"]),
        ("plain", &["application/octet-stream"]),
    ];
    for (name, types) in table {
        folder.write(name, b"content");
        for method in ["GET", "HEAD"] {
            let reply = peer.ask(ask(method, &format!("/{name}")));
            let found = reply.must("Content-Type");
            let right = |kind: &&str| found == *kind || found.starts_with(&format!("{kind};"));
            assert!(types.iter().any(right), "{method} {name} {found}");
        }
    }
}

#[test]
fn large_files_cross_both_ways() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        let content = noise(5_000_001, 1);
        let chunked = put_chunked("/a", &content, &[70_000, 1, 300_001]);
        for (request, status) in [(put("/a", &content), 201), (chunked, 204)] {
            assert_eq!(peer.ask(request).status, status);
            assert!(folder.read("a") == content, "{status}");
            assert!(peer.ask(get("/a")).body == content);
        }
        // Several downloads one behind the other, and a half-close.
        peer.send(get("/a").repeat(3));
        peer.half_close();
        (0..3).for_each(|_| assert!(peer.reply("GET").body == content));
        peer.assert_closed();
    });
}

#[test]
fn files_of_all_sizes_around_a_piece_cross_both_ways() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "--sync");
        let mut peer = server.http();
        for size in [
            0, 1, 2, 65_535, 65_536, 65_537, 196_608, 196_609, 262_144, 262_145, 1_048_577,
        ] {
            let content = noise(size, size as u64);
            let target = format!("/{size}");
            assert_eq!(peer.ask(put(&target, &content)).status, 201, "{size}");
            assert!(peer.ask(get(&target)).body == content, "{size}");
            let sizes = [size / 3 + 1, 17, 4096];
            assert_eq!(
                peer.ask(put_chunked(&target, &content, &sizes)).status,
                204,
                "{size}"
            );
            assert!(folder.read(&size.to_string()) == content, "{size}");
        }
    });
}

#[test]
fn a_body_in_chunks_may_be_written_in_many_ways() {
    let chunked = |target: &str, body: &str| with("PUT", target, "Transfer-Encoding: chunked\r\n") + body;
    let table = [
        "5\r\nkolam\r\n0\r\n\r\n",
        "05\r\nkolam\r\n0\r\n\r\n",
        "000005\r\nkolam\r\n000\r\n\r\n",
        "1\r\nk\r\n1\r\no\r\n1\r\nl\r\n1\r\na\r\n1\r\nm\r\n0\r\n\r\n",
        "5;name=value\r\nkolam\r\n0\r\n\r\n",
        "5;a\r\nkolam\r\n0;b=\"quoted; text\"\r\n\r\n",
        "5 ; a = b \t;c=\"\\\"\\\\\"\r\nkolam\r\n0;d\r\n\r\n",
        "2;a=b;c=d\r\nko\r\n3\r\nlam\r\n0\r\n\r\n",
        "5\r\nkolam\r\n0\r\nTrailer: x\r\nX-Other: y\r\n\r\n",
        "5\r\nkolam\r\n0\r\nContent-Length: 9\r\n\r\n",
    ];
    let mut steps = Vec::new();
    for (at, body) in table.into_iter().enumerate() {
        let target = format!("/{at}");
        steps.push(step(chunked(&target, body), 201).stays());
        steps.push(step(get(&target), 200).body("kolam"));
    }
    let digits = "f".repeat(15);
    steps.push(step(
        chunked("/hex", &format!("f\r\n{digits}\r\nF\r\n{digits}\r\n0\r\n\r\n")),
        201,
    ));
    steps.push(step(get("/hex"), 200).body("f".repeat(30)));
    let mixed = with("PUT", "/case", "transfer-encoding: Chunked\r\n") + "1\r\nA\r\n0\r\n\r\n";
    steps.push(step(mixed, 201));
    steps.push(step(get("/case"), 200).body("A"));
    play_in_empty_folder(&steps);
}

#[test]
fn a_body_that_nobody_needs_is_read_and_dropped() {
    let body = "Content-Length: 5\r\n";
    let chunks = "Transfer-Encoding: chunked\r\n";
    let mut steps = vec![step(put("/a", b"A"), 201)];
    for (method, target, status) in [
        ("GET", "/a", 200),
        ("HEAD", "/a", 200),
        ("OPTIONS", "/a", 204),
        ("GET", "/none", 404),
        ("GET", "/", 200),
    ] {
        steps.push(step(with(method, target, body) + "hello", status).stays());
        steps.push(step(with(method, target, chunks) + "5\r\nhello\r\n0\r\n\r\n", status).stays());
        // What looks like a request is none.
        let inner = ask("DELETE", "/a");
        let outer = with(method, target, &format!("Content-Length: {}\r\n", inner.len()));
        steps.push(step(outer + &inner, status).stays());
        steps.push(step(get("/a"), 200).body("A"));
    }
    steps.push(step(with("DELETE", "/a", body) + "hello", 204).stays());
    steps.push(step(get("/a"), 404));
    play_in_empty_folder(&steps);
}

#[test]
fn a_file_that_is_cut_short_while_it_is_sent_ends_short() {
    each_case(MODES, HTTP, |case, folder| {
        let file = folder.sparse("a", 64 << 20);
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        peer.send(get("/a") + SMUGGLED);
        let (reply, length) = peer.begin_reply("GET");
        assert_eq!((reply.status, length), (200, 64 << 20));
        file.set_len(1 << 20).unwrap();
        // Fewer bytes than promised and then the end: never another reply in their place.
        let rest = peer.rest().unwrap_or_default();
        assert!(
            rest.len() < length && rest.iter().all(|&byte| byte == 0),
            "{}",
            rest.len()
        );
        drop(peer);
        assert_eq!(once(&server, get("/healthz")).text(), "ok\n");
    });
}

// ---- the page, the list, health and metrics ----

/// Names that mean something to HTML, to JSON, to an address or to a shell.
const AWKWARD: [&str; 20] = [
    "<b>bold<b>",
    "<script>alert(1)<",
    "say \"hi\"",
    "it's",
    "a&b",
    "a&amp;b",
    "&lt;",
    "a b",
    " led by a blank",
    "100%",
    "100%41",
    "what?json",
    "hash#1",
    "é日😀.txt",
    "a;b=c",
    "a+b",
    "javascript:alert(1)",
    "-dash",
    "$(x)`y`*~",
    "plain.txt",
];

fn awkward_folder() -> Folder {
    let folder = Folder::new();
    for (at, name) in AWKWARD.iter().enumerate() {
        folder.write(name, format!("content of {at}").as_bytes());
    }
    folder.write(".hidden", b"hidden");
    folder.write("back\\slash", b"no such name");
    folder.folder("inner");
    folder.link("plain.txt", "link");
    folder
}

/// Text of HTML as it is meant.
fn unescaped(html: &str) -> String {
    let mut text = html.to_owned();
    for (entity, meant) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
    ] {
        text = text.replace(entity, meant);
    }
    text.replace("&amp;", "&")
}

/// The links of a page: text and target.
fn links(page: &str) -> Vec<(String, String)> {
    let anchors = page.split("<a ").skip(1);
    let link = |anchor: &str| {
        let (_, rest) = anchor.split_once("href=\"").expect("an <a> without href");
        let (target, rest) = rest.split_once('"').unwrap();
        let (_, rest) = rest.split_once('>').unwrap();
        let (text, _) = rest.split_once("</a>").unwrap();
        let text = text
            .strip_prefix("<bdi>")
            .and_then(|text| text.strip_suffix("</bdi>"))
            .unwrap_or(text);
        (unescaped(text), unescaped(target))
    };
    anchors.map(link).collect()
}

/// Where a link on the page at `/` leads.
fn resolved(target: &str) -> String {
    let first = target.split(['/', '?', '#']).next().unwrap();
    assert!(!first.contains(':'), "{target:?} leads elsewhere");
    assert!(
        !target.starts_with("//") && !target.contains('#'),
        "{target:?} leads elsewhere"
    );
    let target = target.strip_prefix("./").unwrap_or(target);
    if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    }
}

#[test]
fn the_links_of_the_page_lead_to_the_files() {
    each_case(MODES, HTTP, |case, _| {
        let folder = awkward_folder();
        let server = case.serve(&folder, 2, "");
        let mut peer = server.http();
        let page = peer.ask(get("/"));
        assert_eq!(page.status, 200);
        assert!(page.must("Content-Type").starts_with("text/html"), "{page:?}");
        let head = peer.ask(ask("HEAD", "/"));
        assert_eq!(head.must("Content-Type"), page.must("Content-Type"));
        assert_eq!(head.must("Content-Length"), page.body.len().to_string());
        let text = page.text();
        assert_has(text, &["curl -T", "http://"]);
        for wrong in "<b>bold|<script>alert|.hidden|back\\slash|>inner<|>link<".split('|') {
            assert!(!text.contains(wrong), "{wrong} in {text}");
        }
        let links = links(text);
        for (at, name) in AWKWARD.iter().enumerate() {
            // A blank that cannot be seen is shown as an escape.
            let shown = name.replace(" led", "<span class=odd>\\u{20}</span>led");
            let mut leading = links.iter().filter(|(text, _)| *text == shown);
            let (_, target) = leading
                .next()
                .unwrap_or_else(|| panic!("no link {name:?} in {text}"));
            assert_eq!(leading.count(), 0, "{name} is there twice");
            let target = resolved(target);
            assert!(
                target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'),
                "{target}"
            );
            let reply = peer.ask(get(&target));
            assert_eq!(
                (reply.status, reply.text()),
                (200, &*format!("content of {at}")),
                "{name}"
            );
        }
    });
}

/// Reads JSON of one form only: a list of objects whose values are strings and numbers.
struct Json<'t>(&'t str);

impl Json<'_> {
    fn accept(&mut self, mark: char) -> bool {
        self.0 = self.0.trim_start();
        let found = self.0.strip_prefix(mark);
        self.0 = found.unwrap_or(self.0);
        found.is_some()
    }

    fn expect(&mut self, mark: char) {
        assert!(self.accept(mark), "no {mark:?} at {:?}", self.0);
    }

    fn string(&mut self) -> String {
        let (string, rest) = json_string(self.0.trim_start()).expect("no string, or one without end");
        self.0 = rest;
        string
    }

    fn value(&mut self) -> String {
        if self.0.trim_start().starts_with('"') {
            return self.string();
        }
        let end = self.0.find([',', '}']).unwrap();
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        number.trim().parse::<u64>().unwrap().to_string()
    }

    fn objects(mut self) -> Vec<BTreeMap<String, String>> {
        let mut objects = Vec::new();
        self.expect('[');
        while !self.accept(']') {
            let mut object = BTreeMap::new();
            self.expect('{');
            loop {
                let key = self.string();
                self.expect(':');
                let value = self.value();
                assert_eq!(object.insert(key, value), None, "a key is there twice");
                if !self.accept(',') {
                    break;
                }
            }
            self.expect('}');
            objects.push(object);
            if !self.accept(',') {
                self.expect(']');
                break;
            }
        }
        assert_eq!(self.0.trim(), "");
        objects
    }
}

#[test]
fn the_list_tells_names_sizes_and_times() {
    each_case(MODES, HTTP, |case, _| {
        let folder = awkward_folder();
        set_time(&folder, "plain.txt", 1_795_241_228, 9_000_000);
        let server = case.serve(&folder, 2, "");
        let mut peer = server.http();
        let reply = peer.ask(get("/?json"));
        assert!(
            reply.must("Content-Type").starts_with("application/json"),
            "{reply:?}"
        );
        let objects = Json(reply.text()).objects();
        let names: Vec<&str> = objects.iter().map(|object| object["name"].as_str()).collect();
        let mut expected = AWKWARD;
        expected.sort_unstable();
        assert_eq!(names, expected);
        for object in &objects {
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            assert_eq!(keys, ["modified", "name", "size"]);
            assert_eq!(object["size"], folder.read(&object["name"]).len().to_string());
        }
        let plain = objects
            .iter()
            .find(|object| object["name"] == "plain.txt")
            .unwrap();
        assert_eq!(plain["modified"], "2026-11-21T06:07:08.009Z");
        let head = peer.ask(ask("HEAD", "/?json"));
        assert_eq!(head.must("Content-Length"), reply.body.len().to_string());
    });
}

#[test]
fn an_empty_folder_is_an_empty_list_and_a_page() {
    play_in_empty_folder(&[
        step(get("/?json"), 200).has("[]"),
        step(get("/"), 200).has("curl -T"),
        step(get("/healthz"), 200).body("ok\n"),
        step(ask("HEAD", "/healthz"), 200).header("Content-Length", "3"),
    ]);
}

/// The samples of a Prometheus text, by name and labels; fails on what a scraper would not take.
fn samples(text: &str) -> BTreeMap<String, u64> {
    let (mut help, mut kinds, mut samples) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let mut closed = BTreeSet::new();
    let mut current = "";
    assert!(text.ends_with('\n'), "a line without its end");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, about) = rest.split_once(' ').unwrap();
            assert!(help.insert(name) && !about.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let wanted = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            assert_eq!(kind, wanted, "{line}");
            assert_eq!(kinds.insert(name, kind), None, "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            assert!(name.starts_with("kolam_"), "{line}");
            assert!(
                help.contains(name) && kinds.contains_key(name),
                "{line}: HELP and TYPE come first"
            );
            assert!(
                name == current || closed.insert(name),
                "{line}: not beside its like"
            );
            current = name;
            assert_eq!(
                samples.insert(sample.to_owned(), value.parse().unwrap()),
                None,
                "{line}"
            );
        }
    }
    samples
}

#[test]
fn metrics_are_counted_right() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 1, "");
        let mut peer = server.http();
        let requests = [
            put("/a", b"kolam"),
            get("/a").into(),
            get("/none").into(),
            get("/a").into(),
        ];
        let sent: usize = requests.iter().map(Vec::len).sum();
        let statuses = requests.map(|request| peer.ask(request).status);
        assert_eq!(statuses, [201, 200, 404, 200]);
        let received = peer.received;
        // On a connection of its own: bytes are counted when a turn is over, and this might be in the same.
        drop(peer);
        let reply = once(&server, get("/metrics"));
        assert!(reply.must("Content-Type").starts_with("text/plain"), "{reply:?}");
        let samples = samples(reply.text());
        let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name}"));
        // Whether the request for the metrics is in them is nobody's business.
        let own = get("/metrics").len() as u64;
        for (name, low, high) in [
            ("kolam_workers", 1, 1),
            ("kolam_workers_alive", 1, 1),
            ("kolam_restarts_total", 0, 0),
            ("kolam_connections_total", 2, 2),
            ("kolam_requests_total", 4, 5),
            ("kolam_requests_failed_total", 1, 1),
            ("kolam_bytes_in_total", sent as u64, sent as u64 + own),
            ("kolam_bytes_out_total", received, received),
            ("kolam_worker_served_total{worker=\"0\"}", 3, 4),
            ("kolam_worker_failed_total{worker=\"0\"}", 1, 1),
        ] {
            let found = value(name);
            assert!(
                (low..=high).contains(&found),
                "{name} is {found}, not {low} to {high}"
            );
        }
    });
}

#[test]
fn metrics_add_up_over_all_workers() {
    each_case(POOLS, HTTP, |case, folder| {
        let server = case.serve(folder, 3, "");
        for _ in 0..5 {
            assert_eq!(once(&server, get("/healthz")).status, 200);
            assert_eq!(once(&server, get("/none")).status, 404);
        }
        let scrape = || samples(once(&server, get("/metrics")).text());
        eventually("all is counted", || scrape()["kolam_requests_failed_total"] == 5);
        // The request before may just be counted by another worker, between the total and the rows.
        eventually("all add up", || {
            let samples = scrape();
            assert_eq!((samples["kolam_workers"], samples["kolam_workers_alive"]), (3, 3));
            assert!(samples["kolam_connections_total"] >= 11);
            let sum = |what: &str| {
                let one = |worker| samples[&format!("kolam_worker_{what}_total{{worker=\"{worker}\"}}")];
                (0..3).map(one).sum::<u64>()
            };
            assert_eq!(sum("failed"), 5);
            sum("served") + sum("failed") == samples["kolam_requests_total"]
        });
    });
}

// ---- methods ----

#[test]
fn methods_that_a_resource_has_not_are_refused_with_those_it_has() {
    let mut steps = vec![step(put("/a", b"A"), 201)];
    for method in ["POST", "PATCH", "TRACE"] {
        for target in ["/a", "/none", "/", "/healthz", "/metrics"] {
            // The one thing that can be sent to the folder is a form, which this is not.
            let status = if (method, target) == ("POST", "/") {
                415
            } else {
                405
            };
            steps.push(step(ask(method, target), status));
        }
        steps.push(step(with(method, "/a", "Content-Length: 5\r\n") + "hello", 405));
    }
    steps.push(step(ask("CONNECT", "localhost:443"), 405));
    for target in ["/", "/healthz", "/metrics"] {
        steps.push(step(put(target, b"hello"), 405));
        steps.push(step(ask("DELETE", target), 405));
    }
    for target in ["*", "/a", "/none", "/", "/healthz"] {
        steps.push(step(ask("OPTIONS", target), 204).stays());
    }
    steps.push(step(get("/a"), 200).body("A"));
    play_in_empty_folder(&steps);
}

#[test]
fn allow_names_the_methods() {
    let folder = Folder::new();
    folder.write("a", b"A");
    let server = start("thread", 2, &folder, "");
    let all = ["DELETE", "GET", "HEAD", "OPTIONS", "PUT"];
    let (some, folders) = (["GET", "HEAD", "OPTIONS"], ["GET", "HEAD", "OPTIONS", "POST"]);
    let table = [
        (ask("OPTIONS", "/a"), &all[..]),
        (ask("OPTIONS", "*"), &all),
        (ask("OPTIONS", "/"), &folders),
        (ask("POST", "/a"), &all),
        (ask("DELETE", "/"), &folders),
        (ask("DELETE", "/healthz"), &some),
        (ask("DELETE", "/metrics"), &some),
    ];
    for (request, expected) in table {
        let reply = once(&server, &request);
        let mut allowed: Vec<&str> = reply.must("Allow").split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, expected, "{}", shown(request.as_bytes()));
    }
}

#[test]
fn a_put_needs_a_length() {
    play_in_empty_folder(&[
        step(ask("PUT", "/a"), 411),
        step(with("PUT", "/a", "Connection: close\r\n"), 411).closes(),
        step(
            with("PUT", "/a", "Content-Length: 1\r\nContent-Range: bytes 0-0/5\r\n") + "A",
            400,
        ),
        step(get("/a"), 404),
        step(get("/?json"), 200).has("[]"),
    ]);
}

// ---- keep-alive ----

#[test]
fn connections_stay_or_close_as_each_version_says() {
    let old = |lines: &str| format!("GET /healthz HTTP/1.0\r\n{lines}\r\n");
    let new = |lines: &str| with("GET", "/healthz", lines);
    let ok = |request: String| step(request, 200).body("ok\n");
    play_in_empty_folder(&[
        ok(new("")).stays(),
        ok(new("Connection: keep-alive\r\n")).stays(),
        ok(new("Connection: close\r\n")).closes(),
        ok(new("connection: Close\r\n")).closes(),
        ok(new("Connection: x-other, close\r\n")).closes(),
        ok(new("Connection: x-other\r\nConnection: close\r\n")).closes(),
        ok(new("Connection: x-other\r\n")).stays(),
        ok(old("Connection: keep-alive\r\n")).header("Connection", "keep-alive"),
        ok(old("Host: localhost\r\nConnection: Keep-Alive\r\n")).header("Connection", "keep-alive"),
        ok(new("")).stays(),
        step(with("GET", "/none", "Connection: close\r\n"), 404).closes(),
        step(with("HEAD", "/healthz", "Connection: close\r\n"), 200).closes(),
        step(put("/a", b"A"), 201).stays(),
        step(with("GET", "/a", "Connection: close\r\n"), 200)
            .body("A")
            .closes(),
    ]);
}

#[test]
fn a_connection_of_http_1_0_is_closed_behind_the_reply() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        for lines in "|Host: localhost\r\n|Connection: close\r\n|Connection: x\r\n".split('|') {
            let mut peer = server.http();
            peer.send(format!("GET /healthz HTTP/1.0\r\n{lines}\r\n{SMUGGLED}"));
            let reply = peer.reply("GET");
            assert_eq!((reply.status, reply.text()), (200, "ok\n"));
            assert_ne!(reply.header("Connection"), Some("keep-alive"));
            peer.assert_closed();
        }
        let body = "PUT /a HTTP/1.0\r\nContent-Length: 5\r\n\r\nkolam";
        assert_eq!(once(&server, body).status, 201);
        assert_eq!(folder.read("a"), b"kolam");
    });
}

#[test]
fn thousands_of_pipelined_requests_are_all_answered_in_order() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        let mut sender = peer.stream.try_clone().unwrap();
        let content = |round: u64| noise(round as usize % 50, round);
        let mut round = 0;
        let _sending = Background::repeat(move || {
            use std::io::Write;
            let mut requests = put(&format!("/f{}", round % 3), &content(round));
            requests.extend(get(&format!("/f{}", round % 3)).bytes());
            requests.extend((ask("HEAD", "/healthz") + &get("/none")).bytes());
            round += 1;
            sender.write_all(&requests).is_ok() && round < 500
        });
        for round in 0..500 {
            let stored = peer.reply("PUT").status;
            assert_eq!(stored, if round < 3 { 201 } else { 204 }, "{round}");
            assert!(
                peer.reply("GET").body == noise(round as usize % 50, round),
                "{round}"
            );
            assert_eq!(peer.reply("HEAD").must("Content-Length"), "3", "{round}");
            assert_eq!(peer.reply("GET").status, 404, "{round}");
        }
    });
}

// ---- ranges and conditions ----

/// Ranges of a file of 100 bytes: the first and the last byte of what is sent.
const PARTS: [(&str, usize, usize); 17] = [
    ("0-0", 0, 0),
    ("0-1", 0, 1),
    ("0-98", 0, 98),
    ("0-99", 0, 99),
    ("0-100", 0, 99),
    ("0-18446744073709551615", 0, 99),
    ("0-", 0, 99),
    ("1-", 1, 99),
    ("99-", 99, 99),
    ("99-99", 99, 99),
    ("99-1000", 99, 99),
    ("50-60", 50, 60),
    ("-1", 99, 99),
    ("-99", 1, 99),
    ("-100", 0, 99),
    ("-101", 0, 99),
    ("-18446744073709551615", 0, 99),
];

#[test]
fn ranges_are_cut_exactly() {
    let content = noise(100, 1);
    let mut steps = Vec::new();
    for (range, first, last) in PARTS {
        let request = with("GET", "/a", &format!("Range: bytes={range}\r\n"));
        let part = step(request, 206).body(&content[first..=last]);
        steps.push(part.header("Content-Range", format!("bytes {first}-{last}/100")));
    }
    for range in "100- 100-100 101- 1000-2000 -0 18446744073709551615-".split(' ') {
        let request = with("GET", "/a", &format!("Range: bytes={range}\r\n"));
        steps.push(step(request, 416).header("Content-Range", "bytes */100").stays());
    }
    for range in "bytes=5-4 bytes=a-b bytes=- bytes= bytes bytes=0 bytes=0-0,5-6 bytes=0-0,200- \
            bytes=0x0-0x1 bytes=+1-2 bytes=--1 bytes=1-2-3 items=0-5 none =0-5"
        .split(' ')
    {
        let request = with("GET", "/a", &format!("Range: {range}\r\n"));
        steps.push(step(request, 200).body(&content).without("Content-Range"));
    }
    steps.push(step(with("GET", "/empty", "Range: bytes=0-\r\n"), 416).header("Content-Range", "bytes */0"));
    let whole = step(get("/a"), 200).body(&content);
    steps.push(whole.header("Accept-Ranges", "bytes"));
    play(&steps, "", |folder| {
        folder.write("a", &content);
        folder.write("empty", b"");
    });
}

#[test]
fn ranges_reach_beyond_four_gibibytes() {
    each_case(MODES, HTTP, |case, folder| {
        folder.sparse("a", (5 << 30) + 7);
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        for (range, found) in [
            ("4294967295-4294967300", "bytes 4294967295-4294967300/5368709127"),
            ("5368709120-", "bytes 5368709120-5368709126/5368709127"),
            ("-3", "bytes 5368709124-5368709126/5368709127"),
        ] {
            let reply = peer.ask(with("GET", "/a", &format!("Range: bytes={range}\r\n")));
            assert_eq!((reply.status, reply.must("Content-Range")), (206, found));
            assert!(reply.body.len() < 8 && reply.body.iter().all(|&byte| byte == 0));
        }
        assert_eq!(peer.ask(ask("HEAD", "/a")).must("Content-Length"), "5368709127");
    });
}

/// The same second in the three forms that a server must read (RFC 9110, section 5.6.7); `second` is 36, 37
/// or 38, and the file is of second 37.
fn dates(second: u32) -> [String; 3] {
    [
        format!("Sun, 06 Nov 1994 08:49:{second} GMT"),
        format!("Sunday, 06-Nov-94 08:49:{second} GMT"),
        format!("Sun Nov  6 08:49:{second} 1994"),
    ]
}

#[test]
fn dates_in_conditions_are_read_in_three_forms() {
    let request = |name: &str, date: &str| with("GET", "/a", &format!("{name}: {date}\r\n"));
    let mut steps = vec![step(get("/a"), 200).header("Last-Modified", &*dates(37)[0])];
    for form in 0..3 {
        for (second, changed, unchanged) in [(36, 200, 412), (37, 304, 200), (38, 304, 200)] {
            let date = &dates(second)[form];
            steps.push(step(request("If-Modified-Since", date), changed).stays());
            steps.push(step(request("If-Unmodified-Since", date), unchanged).stays());
            let ranged = format!("Range: bytes=0-0\r\nIf-Range: {date}\r\n");
            // Not before and not after: the very same date is asked for.
            let status = if second == 37 { 206 } else { 200 };
            steps.push(step(with("GET", "/a", &ranged), status));
        }
    }
    for garbage in "yesterday|0|Sun, 06 Nov 1994|Sun, 99 Nov 1994 08:49:37 GMT|784111777".split('|') {
        steps.push(step(request("If-Modified-Since", garbage), 200).body("content"));
        steps.push(step(request("If-Unmodified-Since", garbage), 200).body("content"));
    }
    let head = with("HEAD", "/a", &format!("If-Modified-Since: {}\r\n", dates(37)[0]));
    steps.push(step(head, 304).stays());
    play(&steps, "", |folder| {
        folder.write("a", b"content");
        // A fraction of a second, which no date can tell, must not make it look newer.
        set_time(folder, "a", OLD, 900_000_000);
    });
}

/// Conditions and the status that each leads to, by GET and by HEAD alike. `@` is the tag of the file, ` & `
/// stands between two fields; the file is of NOW.
const TAGS: &str = r#"If-None-Match: @ => 304
    If-None-Match: * => 304
    If-None-Match: "other", @ => 304
    If-None-Match: "other" & If-None-Match: @ => 304
    If-None-Match: "other",@,"x" => 304
    If-None-Match: W/@ => 304
    If-None-Match: "other" => 200
    If-None-Match: @ & If-Modified-Since: EARLIER => 304
    If-None-Match: "other" & If-Modified-Since: NOW => 200
    If-Match: @ => 200
    If-Match: * => 200
    If-Match: "other", @ => 200
    If-Match: "other" => 412
    If-Match: W/@ => 412
    If-Match: @ & If-Unmodified-Since: EARLIER => 200
    If-Match: "other" & If-None-Match: @ => 412
    If-Match: @ & If-None-Match: @ => 304"#;

#[test]
fn tags_in_conditions_are_compared() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("a", b"content");
        set_time(folder, "a", OLD, 0);
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        let tag = peer.ask(get("/a")).must("ETag").to_owned();
        assert!(
            tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'),
            "not strong: {tag}"
        );
        assert_eq!(peer.ask(ask("HEAD", "/a")).must("ETag"), tag);
        let fields = |text: &str| {
            let text = text.replace('@', &tag).replace("EARLIER", &dates(36)[0]);
            text.replace("NOW", &dates(37)[0]).replace(" & ", "\r\n") + "\r\n"
        };
        for (line, status) in rows(TAGS) {
            for method in ["GET", "HEAD"] {
                let reply = peer.ask(with(method, "/a", &fields(line)));
                assert_eq!(reply.status.to_string(), status, "{method} {line}");
                if reply.status != 412 {
                    assert_eq!(reply.must("ETag"), tag, "{method} {line}");
                }
            }
        }
        for (line, status, body) in [
            ("If-Range: @", 206, "on"),
            ("If-Range: \"other\"", 200, "content"),
            ("If-Range: W/@", 200, "content"),
            ("If-None-Match: @", 304, ""),
            ("If-Match: \"other\"", 412, ""),
        ] {
            let reply = peer.ask(with("GET", "/a", &fields(&format!("Range: bytes=1-2 & {line}"))));
            assert_eq!(reply.status, status, "{line}");
            assert!(body.is_empty() || reply.text() == body, "{line} {reply:?}");
        }
        let reply = peer.ask(with("GET", "/a", &fields("If-Range: @")));
        assert_eq!(reply.status, 200);
        // Another content is another tag, and so is the same length at another time.
        folder.write("a", b"changed");
        set_time(folder, "a", OLD + 1, 0);
        assert_ne!(peer.ask(get("/a")).must("ETag"), tag);
    });
}

#[test]
fn no_two_versions_of_a_file_have_the_same_tag() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut tags = BTreeSet::new();
        for round in 0..30 {
            // The same length, and far less time in between than the kernel's own dates tell apart.
            let mut peer = server.http();
            let reply = peer.ask(put("/a", format!("{round:03}").as_bytes()));
            assert!(reply.status == 201 || reply.status == 204, "{reply:?}");
            assert!(
                tags.insert(peer.ask(get("/a")).must("ETag").to_owned()),
                "round {round}"
            );
        }
    });
}

#[test]
fn two_servers_give_copies_of_a_file_the_same_tag() {
    let [here, there] = [Folder::new(), Folder::new()];
    for folder in [&here, &there] {
        folder.write("a", b"content");
        set_time(folder, "a", OLD, 123_456_789);
    }
    let servers = [start("thread", 1, &here, ""), start("event", 1, &there, "")];
    let date = http::date(UNIX_EPOCH + Duration::from_secs(OLD));
    let [one, two] = [0, 1].map(|at| once(&servers[at], get("/a")));
    assert_eq!(one.must("ETag"), two.must("ETag"));
    assert_eq!(
        (one.must("Last-Modified"), two.must("Last-Modified")),
        (&*date, &*date)
    );
    // One nanosecond is another version.
    set_time(&there, "a", OLD, 123_456_790);
    assert_ne!(once(&servers[1], get("/a")).must("ETag"), one.must("ETag"));
    servers.into_iter().for_each(Server::stop);
}

#[test]
fn conditions_protect_a_file_from_being_replaced_or_deleted() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("a", b"old");
        set_time(folder, "a", OLD, 0);
        let server = case.serve(folder, 2, "");
        // A refused PUT may end the connection, because its body need not be read.
        let conditional = |method: &str, target: &str, line: &str| {
            let body = if method == "PUT" { "new" } else { "" };
            let lines = format!("{line}\r\nContent-Length: {}\r\n", body.len());
            once(&server, with(method, target, &lines) + body).status
        };
        let tag = once(&server, get("/a")).must("ETag").to_owned();
        let earlier = dates(36)[0].clone();
        let refused = [
            "If-Match: \"other\"".to_owned(),
            format!("If-Match: W/{tag}"),
            "If-None-Match: *".to_owned(),
            format!("If-None-Match: {tag}"),
            format!("If-Unmodified-Since: {earlier}"),
        ];
        for line in &refused {
            for method in ["PUT", "DELETE"] {
                assert_eq!(conditional(method, "/a", line), 412, "{method} {line}");
            }
        }
        assert_eq!(conditional("PUT", "/b", "If-Match: *"), 412);
        assert_eq!(folder.names(), ["a"]);
        assert_eq!(folder.read("a"), b"old");
        assert_eq!(conditional("PUT", "/b", "If-None-Match: *"), 201);
        assert_eq!(conditional("PUT", "/b", "If-None-Match: *"), 412);
        assert_eq!(conditional("PUT", "/a", &format!("If-Match: {tag}")), 204);
        assert_eq!(folder.read("a"), b"new");
        assert_eq!(
            conditional("PUT", "/a", &format!("If-Match: {tag}")),
            412,
            "a lost update"
        );
        assert_eq!(conditional("DELETE", "/a", "If-Match: *"), 204);
        assert_eq!(folder.names(), ["b"]);
    });
}

#[test]
fn of_two_puts_that_both_want_to_be_the_first_one_is() {
    // Two at once need two workers, and `single` has one.
    each_case(POOLS, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let head = with("PUT", "/a", "If-None-Match: *\r\nContent-Length: 5\r\n");
        let mut slow = server.http();
        slow.send(format!("{head}fir"));
        // The slow one is in hand, so what it asked for was true when it asked.
        eventually("the upload has begun", || folder.temporary().len() == 1);
        assert_eq!(once(&server, format!("{head}quick")).status, 201);
        slow.send("st");
        assert_eq!(slow.reply("PUT").status, 412);
        assert_eq!(folder.read("a"), b"quick");
        assert_eq!(folder.names(), ["a"]);
    });
}

#[test]
fn a_refused_head_has_no_body() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 1, "");
        let mut peer = server.http();
        // The reader takes everything behind the head for the beginning of the next reply.
        peer.send(with("HEAD", "/a", "Content-Length: 2000000\r\n"));
        assert_eq!(peer.reply("HEAD").status, 413);
        peer.assert_closed();
    });
}

#[test]
fn who_calls_it_by_a_name_that_is_not_its_own_is_turned_away_on_loopback() {
    each_case(MODES, HTTP, |case, _| {
        for (options, status) in [("", 421), ("--any-host", 204)] {
            let folder = Folder::new();
            folder.write("a", b"a");
            let server = case.serve(&folder, 1, options);
            let request = "DELETE /a HTTP/1.1\r\nHost: a-b.c_d:80\r\n\r\n";
            assert_eq!(once(&server, request).status, status);
            assert_eq!(folder.names().is_empty(), status == 204);
        }
    });
}

// ---- Expect ----

#[test]
fn who_asks_before_sending_is_told_to_go_on() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        for (name, lines, body) in [
            ("a", "Expect: 100-continue\r\nContent-Length: 5\r\n", "kolam"),
            ("b", "expect: 100-Continue\r\nContent-Length: 5\r\n", "kolam"),
            (
                "c",
                "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nkolam\r\n0\r\n\r\n",
            ),
        ] {
            for status in [201, 204] {
                peer.send(with("PUT", &format!("/{name}"), lines));
                assert_eq!(peer.reply("PUT").status, 100);
                peer.assert_silent(Duration::from_millis(20));
                peer.send(body);
                assert_eq!(peer.reply("PUT").status, status);
                assert_eq!(folder.read(name), b"kolam");
            }
            // Who does not wait for it may get it or not.
            peer.send(with("PUT", &format!("/{name}"), lines) + body);
            let first = peer.reply("PUT").status;
            let last = if first == 100 {
                peer.reply("PUT").status
            } else {
                first
            };
            assert_eq!(last, 204);
        }
        assert_eq!(peer.ask(get("/healthz")).status, 200);
    });
}

#[test]
fn who_asks_before_sending_is_refused_at_once() {
    each_case(MODES, HTTP, |case, folder| {
        folder.folder("folder");
        folder.write("a", b"old");
        let server = case.serve(folder, 2, "--max-upload 1000");
        for (target, lines, status) in [
            ("/.hidden", "Content-Length: 5\r\n", 400),
            ("/a/b", "Content-Length: 5\r\n", 400),
            ("/folder", "Content-Length: 5\r\n", 403),
            ("/a", "Content-Length: 1001\r\n", 413),
            ("/a", "Content-Length: 5\r\nIf-None-Match: *\r\n", 412),
            ("/", "Content-Length: 5\r\n", 405),
            ("/.hidden", "Transfer-Encoding: chunked\r\n", 400),
        ] {
            let mut peer = server.http();
            peer.send(with("PUT", target, &format!("Expect: 100-continue\r\n{lines}")));
            assert_eq!(peer.reply("PUT").status, status, "{target} {lines}");
        }
        for expectation in ["200-ok", "100-continue, 200-ok", "tea"] {
            let lines = format!("Expect: {expectation}\r\nContent-Length: 5\r\n");
            let mut peer = server.http();
            peer.send(with("PUT", "/a", &lines));
            assert_eq!(peer.reply("PUT").status, 417, "{expectation}");
        }
        // In HTTP/1.0 there is no such thing as 100.
        let mut peer = server.http();
        peer.send("PUT /b HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        peer.assert_silent(MOMENT);
        peer.send("kolam");
        assert_eq!(peer.reply("PUT").status, 201);
        drop(peer);
        assert_eq!(
            (folder.read("a"), folder.read("b")),
            (b"old".to_vec(), b"kolam".to_vec())
        );
    });
}

// ---- what is not understood ----

/// Values of Content-Length that are none.
const NO_LENGTHS: [&str; 12] = [
    "", " ", "+5", "-1", "-0", "5, 5", "5,", "5 5", "0x5", "5a", "5.0", "five",
];

/// Fields of a length that is malformed, or said twice. The bodies are such that a server that believes the
/// other length sees a request in them.
const BAD_LENGTHS: [&str; 13] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5\r\ncontent-length: 0\r\n",
    "Content-Length:\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: 99999999999999999999999999\r\n",
    "Content-Length: \u{665}\r\n",
    "Content-Length : 5\r\n",
    "Content-Length\t: 5\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Content-Length\r\n",
];

const BAD_FIELDS: [&[u8]; 16] = [
    b"X-Folded: a\r\n b\r\n",
    b"X-Folded: a\r\n\tb\r\n",
    b"X-Lone: a\nX-Other: b\r\n",
    b"X-Lone: a\rX-Other: b\r\n",
    b"X-Null: a\0b\r\n",
    b"X-Control: a\x01b\r\n",
    b"X-Escape: a\x1bb\r\n",
    b"X-Delete: a\x7fb\r\n",
    b"X Blank: a\r\n",
    b"X-Blank : a\r\n",
    b" X-Led: a\r\n",
    b": nameless\r\n",
    b"no colon\r\n",
    b"X(Y): a\r\n",
    b"X\xc3\xa9: a\r\n",
    b"X\0: a\r\n",
];

/// Values of Host that are none.
const NO_HOSTS: [&str; 11] = [
    "", "\t", ":80", "%4", "a b", "a/b", "me@a", "[::1", "a:port", "<b>", "a\"b=c",
];

const BAD_HOSTS: [&str; 5] = [
    "",
    "Host:\r\n",
    "Host: [1.2.3.4]\r\n",
    "Host: a\r\nHost: a\r\n",
    "Host: a\r\nHost: b\r\n",
];

/// Request lines, without their line end.
const BAD_FIRST_LINES: [&[u8]; 23] = [
    b"GET  /a HTTP/1.1",
    b"GET /a  HTTP/1.1",
    b" GET /a HTTP/1.1",
    b"GET /a HTTP/1.1 ",
    b"GET\t/a\tHTTP/1.1",
    b"GET /a\tHTTP/1.1",
    b"GET /a b HTTP/1.1",
    b"GET /a",
    b"GET",
    b"GET HTTP/1.1",
    b" /a HTTP/1.1",
    b"GET /%",
    b"GET /% HTTP/1.1",
    b"GET /a%4 HTTP/1.1",
    b"GET /%4g HTTP/1.1",
    b"GET /%zz HTTP/1.1",
    b"GET /%+1 HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET /a\0 HTTP/1.1",
    b"GET /a\x1b[2J HTTP/1.1",
    b"GET /a\x7f HTTP/1.1",
    b"GET a HTTP/1.1",
    b"G\0T /a HTTP/1.1",
];

/// What is no version, and what is one and not ours.
const NO_VERSIONS: [&str; 8] = [
    "HTTP/1",
    "HTTP/1.",
    "HTTP/11",
    "http/1.1",
    "HTTP/1.1x",
    "HTTX/1.1",
    "HTTP /1.1",
    "1.1",
];
const OTHER_VERSIONS: [&str; 3] = ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9"];

/// Codings: one that is no other than chunked cannot be read to its end.
const BAD_CODINGS: [&str; 8] = [
    "gzip",
    "chunked, gzip",
    "chunked, chunked",
    "identity",
    "xchunked",
    "chunked;q=1",
    "\"chunked\"",
    "",
];
const OTHER_CODINGS: [&str; 2] = ["gzip, chunked", "gzip;q=1, deflate,chunked"];

/// Sizes of a chunk that are none; the chunk itself is right.
const NO_SIZES: [&str; 16] = [
    "-1", "+1", "0x1", " 1", "1 1", "1g", ";", "1;a\nb", "1;a\0b", "1;", "1;a=", "1;a b", "1;a=\"b", "1 ",
    "1;a ", "1\rX",
];

const BAD_CHUNKS: [&str; 15] = [
    "x\r\n",
    "\r\n\r\n",
    "1\nA\r\n0\r\n\r\n",
    "1\rA\r\n0\r\n\r\n",
    "1\rXA\r\n0\r\n\r\n",
    "1;a\rXA\r\n0\r\n\r\n",
    "1\r\nA\r\n0\rX\r\n",
    "1\r\nAX\n0\r\n\r\n",
    "1\r\nA\rX0\r\n\r\n",
    "1\r\nAB\r\n0\r\n\r\n",
    "1\r\nA0\r\n\r\n",
    "1\r\nA\n0\r\n\r\n",
    "10000000000000000\r\nA\r\n0\r\n\r\n",
    "1;a=\"\\\r\n\"\r\nA\r\n0\r\n\r\n",
    "1\r\nA\r\n0;\r\n\r\n",
];

/// Heads that break the grammar or can be understood in two ways, and what may be answered.
fn malformed() -> Vec<(Vec<u8>, &'static [u16])> {
    let host = "Host: localhost\r\n";
    let head = |first: &[u8], lines: &[u8]| [first, b"\r\n", lines, b"\r\n"].concat();
    let get = |lines: &[u8]| head(b"GET /a HTTP/1.1", lines);
    let put = |lines: &str| {
        [
            &head(b"PUT /smuggled HTTP/1.1", (host.to_owned() + lines).as_bytes())[..],
            b"0\r\n\r\n",
        ]
        .concat()
    };
    let coded = |coding: &str| put(&format!("Transfer-Encoding: {coding}\r\n"));
    let chunked = |body: &str| {
        let head = format!("PUT /smuggled HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n");
        (head + body).into_bytes()
    };
    let mut bad: Vec<Vec<u8>> = Vec::new();
    bad.extend(NO_LENGTHS.map(|value| put(&format!("Content-Length: {value}\r\n"))));
    bad.extend(BAD_LENGTHS.map(put));
    bad.extend(BAD_FIELDS.map(|lines| get(&[host.as_bytes(), lines].concat())));
    // Folding and blanks right after the request line, which some read as part of it.
    bad.push(format!("GET /a HTTP/1.1\r\n {host}\r\n").into());
    bad.extend(NO_HOSTS.map(|value| get(format!("Host: {value}\r\n").as_bytes())));
    bad.extend(BAD_HOSTS.map(|lines| get(lines.as_bytes())));
    for lines in ["", "Host:\r\n", "Host: a/b\r\n", "Host: a\r\nHost: a\r\n"] {
        bad.push(head(b"GET http://localhost/a HTTP/1.1", lines.as_bytes()));
    }
    // Line ends.
    bad.push(format!("GET /a HTTP/1.1\n{host}\r\n").into());
    bad.push(b"GET /a HTTP/1.1\nHost: localhost\n\n".to_vec());
    bad.push(b"GET /a HTTP/1.1\r\nHost: localhost\n\r\n".to_vec());
    bad.push(format!("GET /a HTTP/1.1\r\n{host}\n").into());
    bad.push(format!("GET /a HTTP/1.1\r{host}\r\n").into());
    bad.extend(BAD_FIRST_LINES.map(|first| head(first, host.as_bytes())));
    bad.extend(BAD_CODINGS.map(coded));
    bad.push(b"PUT /smuggled HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec());
    bad.extend(NO_SIZES.map(|size| chunked(&format!("{size}\r\nA\r\n0\r\n\r\n"))));
    bad.extend(BAD_CHUNKS.map(chunked));
    bad.push(chunked("fffffffffffffffff\r\nA\r\n0\r\n\r\n"));
    let mut table: Vec<(Vec<u8>, &'static [u16])> =
        bad.into_iter().map(|request| (request, &[400][..])).collect();
    let version = |version: &str| format!("GET /a {version}\r\n{host}\r\n").into_bytes();
    table.extend(NO_VERSIONS.map(|none| (version(none), &[400, 505][..])));
    table.extend(OTHER_VERSIONS.map(|other| (version(other), &[505][..])));
    table.extend(OTHER_CODINGS.map(|other| (coded(other), &[501][..])));
    table.push((put(&"Transfer-Encoding: chunked\r\n".repeat(2)), &[400, 501]));
    // What HTTP/2 begins with, and something else altogether.
    table.push((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 501, 505]));
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    table.push((tls.to_vec(), &[400, 501]));
    table
}

/// Sends a request that must be refused, with another behind it that must not be answered.
fn send_refused(server: &Server, drip: bool, request: &[u8], status: &[u16]) -> Result<(), String> {
    let mut peer = server.http();
    let all = [request, SMUGGLED.as_bytes()].concat();
    peer.send_cut(&all, drip);
    let reply = peer
        .try_reply("GET")
        .map_err(|error| format!("no reply: {error}"))?;
    if !status.contains(&reply.status) {
        return Err(format!("{} and not {status:?}: {}", reply.status, reply.text()));
    }
    if !reply.closes() {
        return Err(format!("{} that does not close", reply.status));
    }
    match peer.rest() {
        Ok(more) if more.is_empty() => Ok(()),
        Ok(more) => Err(format!("behind the reply came {}", shown(&more))),
        Err(error) => Err(format!("behind the reply came {error}")),
    }
}

#[test]
fn what_is_malformed_or_ambiguous_is_refused_and_nothing_behind_it_is_answered() {
    let table = malformed();
    assert!(table.len() >= 60);
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 2, "");
        let mut faults = Vec::new();
        for drip in [false, true] {
            for (request, status) in &table {
                if let Err(fault) = send_refused(&server, drip, request, status) {
                    faults.push(format!("{}: {fault}", shown(request)));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert_eq!(folder.names(), ["a"]);
    });
}

/// A few small changes to a request, decided by `seed`.
fn mutated(request: &[u8], seed: u64) -> Vec<u8> {
    const MARKS: [&[u8]; 16] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b"\0",
        b"\xff",
        b"0",
        b"9",
        b"-",
        b",",
        b";",
        b"%",
        b"Content-Length: 3\r\n",
    ];
    let mut request = request.to_vec();
    let dice = noise(16, seed);
    for dice in dice.chunks(4).take(1 + usize::from(dice[0] % 4)) {
        let at = usize::from(dice[1]) * request.len() / 256;
        match dice[2] % 4 {
            0 => drop(request.remove(at)),
            1 => request[at] = dice[3],
            _ => drop(request.splice(at..at, MARKS[usize::from(dice[3] % 16)].iter().copied())),
        }
    }
    request
}

#[test]
fn whatever_is_sent_is_answered_in_order_and_never_behind_a_close() {
    let chunked = with("PUT", "/b", "Transfer-Encoding: chunked\r\n") + "5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n";
    let asking = with("PUT", "/b", "Expect: 100-continue\r\nContent-Length: 2\r\n") + "xx";
    let old = "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let requests = [
        with("GET", "/a", "Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\n").into(),
        put("/b", b"hello"),
        chunked.into(),
        asking.into(),
        old.into(),
        with("DELETE", "/b", "If-Match: *\r\n").into(),
    ];
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("a", b"content");
        let server = case.serve(folder, 2, "");
        for seed in 1..1500 {
            let request = mutated(&requests[seed as usize % requests.len()], seed);
            let mut peer = server.http();
            peer.send([&request, SMUGGLED.as_bytes()].concat());
            peer.half_close();
            // The reader is strict: it fails on anything that is not a sequence of whole replies.
            let mut closed = false;
            loop {
                match peer.try_reply("GET") {
                    Ok(reply) => {
                        assert!(!closed, "{}: behind a close came {reply:?}", shown(&request));
                        closed = reply.closes();
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{}", shown(&request));
                        break;
                    }
                }
            }
            peer.assert_closed();
        }
        assert!(folder.temporary().is_empty());
        assert_eq!(once(&server, get("/healthz")).text(), "ok\n");
    });
}

#[test]
fn what_is_unknown_is_told_from_what_is_wrong() {
    let mut steps = Vec::new();
    for method in ["FROB", "get", "Get", "PROPFIND", "GETS", "X-PUT"] {
        steps.push(step(ask(method, "/healthz"), 501));
    }
    // A file that was named by its whole address is the same file.
    steps.push(step(get("http://localhost/healthz"), 200));
    // Blanks around a value are no part of it, and unknown fields are nobody's business.
    let odd = "X-Unknown: \t value with: colons \r\nX-Empty:\r\nx_y!#$%&'*+-.^`|~: 1\r\n";
    steps.push(step(with("GET", "/healthz", odd), 200).stays());
    steps.push(step("GET /healthz HTTP/1.1\r\nhOST:localhost\r\n\r\n", 200).stays());
    for host in ["localhost:80", "127.0.0.1", "[::1]", "[::1]:8080", "LOCALHOST"] {
        steps.push(step(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"), 200).stays());
    }
    play_in_empty_folder(&steps);
}

// ---- limits ----

#[test]
fn a_request_line_has_at_most_8192_bytes() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        for drip in [false, true] {
            // Whether the CR LF at its end counts is left open: 8190 fits in any case, 8193 in none.
            for (length, status) in [(8190, 404), (8193, 414), (9000, 414)] {
                let around = "GET / HTTP/1.1".len();
                let request = get(&format!("/{}", "n".repeat(length - around)));
                assert_eq!(request.find("\r\n"), Some(length));
                let mut peer = server.http();
                peer.send_cut(&request, drip);
                let reply = peer.reply("GET");
                assert_eq!(reply.status, status, "{length} {reply:?}");
                if status == 404 {
                    assert_has(reply.text(), &["invalid file name"]);
                } else {
                    assert!(reply.closes(), "{reply:?}");
                    peer.assert_closed();
                }
            }
        }
    });
}

#[test]
fn a_head_has_at_most_16_kibibytes() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let (around, limit) = (with("GET", "/healthz", "X: \r\n").len(), 16 * 1024);
        // What exactly counts is left open: a head of that length as a whole fits in any case, and one whose
        // fields alone are longer fits in none. How many fields there may be is left open too.
        let long = |length: usize| {
            with(
                "GET",
                "/healthz",
                &format!("X: {}\r\n", "n".repeat(length - around)),
            )
        };
        let field = format!("X: {}\r\n", "n".repeat(295));
        let many = |length: usize| with("GET", "/healthz", &field.repeat((length - around) / field.len()));
        for (request, status) in [
            (long(limit), 200),
            (many(limit), 200),
            (long(limit + 100), 431),
            (many(limit + 600), 431),
        ] {
            for drip in [false, true] {
                let mut peer = server.http();
                peer.send_cut(&request, drip);
                let reply = peer.reply("GET");
                assert_eq!(reply.status, status, "{} bytes: {reply:?}", request.len());
                if status == 431 {
                    peer.assert_closed();
                }
            }
        }
    });
}

#[test]
fn an_upload_has_at_most_the_allowed_size() {
    each_case(MODES, HTTP, |case, folder| {
        let limit = 70_000;
        let server = case.serve(folder, 2, "--max-upload 70000");
        let content = noise(limit + 1, 5);
        let mut peer = server.http();
        assert_eq!(peer.ask(put("/a", &content[..limit])).status, 201);
        assert_eq!(
            peer.ask(put_chunked("/a", &content[..limit], &[30_000])).status,
            204
        );
        drop(peer);
        let reply = once(&server, put("/a", &content));
        assert!(
            reply.status == 413 && reply.text().contains("file too large: more than --max-upload "),
            "{reply:?}"
        );
        assert_eq!(once(&server, put_chunked("/a", &content, &[30_000])).status, 413);
        // A length says enough: nobody waits for what it announces.
        for length in ["70001", "9223372036854775807", "18446744073709551615"] {
            let mut peer = server.http();
            peer.send(with("PUT", "/a", &format!("Content-Length: {length}\r\n")));
            assert_eq!(peer.reply("PUT").status, 413, "{length}");
        }
        // The length of a chunk may say enough, or else what comes of it.
        let mut huge = server.http();
        huge.send(with("PUT", "/a", "Transfer-Encoding: chunked\r\n") + "7fffffffffffff\r\n");
        huge.send(vec![b'A'; 4 << 20]);
        assert_eq!(huge.reply("PUT").status, 413);
        drop(huge);
        assert!(folder.read("a") == content[..limit]);
        eventually("no temporary file is left", || folder.names() == ["a"]);
    });
}

#[test]
fn a_refusal_is_read_although_the_client_sends_on() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "--max-upload 1000");
        let flood = vec![b'A'; 8 << 20];
        let chunked = with("PUT", "/a", "Transfer-Encoding: chunked\r\n");
        let sized = |target: &str| with("PUT", target, "Content-Length: 8388608\r\n");
        let endless = [
            (sized("/a"), 413),
            (chunked.clone() + "800000\r\n", 413),
            (chunked + "x", 400),
            (sized("/.hidden"), 400),
            (sized("/"), 405),
            (
                with("PUT", "/a", "Expect: tea\r\nContent-Length: 8388608\r\n"),
                417,
            ),
            ("GET /".to_owned(), 414),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: ".to_owned(), 431),
            (
                "PUT /a HTTP/1.1\r\nContent-Length: 8388608\r\n\r\n".to_owned(),
                400,
            ),
        ];
        for round in 0..3 {
            for (start, status) in &endless {
                let mut peer = server.http();
                peer.send(start);
                peer.send(&flood);
                let reply = peer.reply("PUT");
                assert_eq!(reply.status, *status, "round {round}: {start:?}");
            }
        }
        assert!(folder.names().is_empty());
    });
}

// ---- names ----

/// A folder to serve with a secret beside it, and every way to it that we can think of.
fn trap() -> Folder {
    let folder = Folder::new();
    folder.folder("inside");
    folder.folder("outside");
    folder.write("outside/secret", b"do not read");
    folder.write("inside/plain", b"harmless");
    folder.write("inside/.hidden", b"do not read");
    folder.folder("inside/folder");
    folder.write("inside/folder/a", b"do not read");
    folder.link("../outside/secret", "inside/link");
    folder.link("../outside", "inside/door");
    folder.link("../outside/new", "inside/new");
    folder.link("/dev/zero", "inside/zero");
    folder.pipe("inside/pipe");
    folder
}

/// What no file can be called: there is none of this name, and there will be none.
const NO_NAME: &[u16] = &[404];

/// The folder itself, which has a page and cannot be changed.
const FOLDER: &[u16] = &[200, 405];

/// Targets that are no file of the folder, and what may be answered.
const HOSTILE: [(&[u8], &[u16]); 57] = [
    (b"/..", FOLDER),
    (b"/.", FOLDER),
    (b"/../", FOLDER),
    (b"/../outside/secret", NO_NAME),
    (b"/%2e%2e/outside/secret", NO_NAME),
    (b"/%2E%2E/outside/secret", NO_NAME),
    (b"/%2e%2e%2foutside%2fsecret", NO_NAME),
    (b"/..%2foutside%2fsecret", NO_NAME),
    (b"/.%2e/outside/secret", NO_NAME),
    (b"/./link", &[403]),
    (b"//etc/passwd", NO_NAME),
    (b"//plain", NO_NAME),
    (b"/%2fetc%2fpasswd", NO_NAME),
    (b"/a/b", NO_NAME),
    (b"/folder/a", NO_NAME),
    (b"/folder%2fa", NO_NAME),
    (b"/folder/", NO_NAME),
    (b"/plain/", NO_NAME),
    (b"/plain/..", FOLDER),
    (b"/door/secret", NO_NAME),
    (b"/door%2Fsecret", NO_NAME),
    (b"/%00", NO_NAME),
    (b"/plain%00", NO_NAME),
    (b"/plain%00.txt", NO_NAME),
    (b"/%ff", NO_NAME),
    (b"/%c0%af", NO_NAME),
    (b"/..%c0%afoutside%c0%afsecret", NO_NAME),
    (b"/%ed%a0%80", NO_NAME),
    (b"/%0a", NO_NAME),
    (b"/%0d%0aX-Forged:%20yes", NO_NAME),
    (b"/%1b%5b2J", NO_NAME),
    (b"/%7f", NO_NAME),
    (b"/%c2%80", NO_NAME),
    (b"/.hidden", NO_NAME),
    (b"/%2ehidden", NO_NAME),
    (b"/.kolam-1-0.tmp", NO_NAME),
    (b"/%5c", NO_NAME),
    (b"/..%5coutside%5csecret", NO_NAME),
    (b"/a%5cb", NO_NAME),
    (b"/..\\outside\\secret", NO_NAME),
    (b"/link", &[403]),
    (b"/door", &[403]),
    (b"/new", &[403]),
    (b"/zero", &[403]),
    (b"/pipe", &[403]),
    (b"/folder", &[403]),
    (b"/%6cink", &[403]),
    (b"/%70ipe", &[403]),
    (b"http://localhost/../outside/secret", NO_NAME),
    (b"http://localhost//etc/passwd", NO_NAME),
    (b"http://localhost/link", &[403]),
    (b"file:///etc/passwd", &[400]),
    (b"http://localhost", FOLDER),
    (b"../outside/secret", &[400]),
    (b"etc/passwd", &[400]),
    (b"*", &[400, 405]),
    (b"?/../outside/secret", &[400]),
];

#[test]
fn hostile_targets_never_lead_outside() {
    each_case_at_once(MODES, HTTP, |Case { mode, .. }, _| {
        let folder = trap();
        let server = Server::launch(mode, 2, &folder.join("inside"), "--quiet --protocol http");
        let began = Instant::now();
        for (target, statuses) in HOSTILE {
            for method in ["GET", "HEAD", "DELETE", "PUT"] {
                let rest = match method {
                    "PUT" => "Content-Length: 5\r\n\r\nstorm",
                    _ => "\r\n",
                };
                let line = format!("HTTP/1.1\r\nHost: localhost\r\n{rest}");
                let request = [method.as_bytes(), b" ", target, b" ", line.as_bytes()].concat();
                let reply = once(&server, &request);
                let context = format!("{}: {reply:?}", shown(&request));
                assert!(
                    !reply.body.windows(6).any(|window| window == b"do not"),
                    "{context}"
                );
                let expected = match (statuses, method) {
                    (FOLDER, "GET" | "HEAD") => &[200],
                    (FOLDER, _) => &[405],
                    (NO_NAME, "PUT") => &[400],
                    (statuses, _) => statuses,
                };
                assert!(expected.contains(&reply.status), "{context} {expected:?}");
            }
        }
        assert_took(..SOON, began);
        server.stop();
        let inside = [
            ".hidden", "door", "folder", "link", "new", "pipe", "plain", "zero",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(names(&folder.join("inside")), inside);
        assert_eq!(names(&folder.join("outside")), ["secret"]);
        assert_eq!(folder.read("outside/secret"), b"do not read");
        assert_eq!(folder.read("inside/plain"), b"harmless");
        assert_eq!(folder.read("inside/folder/a"), b"do not read");
    });
}

#[test]
fn a_refused_name_is_told_why() {
    let steps = [
        step(get("/%2ea"), 404).has("invalid file name: begins with a dot"),
        step(get("/a%2fb"), 404).has("invalid file name: contains a slash"),
        step(get("/%ff"), 404).has("invalid file name: not UTF-8"),
        step(get("/folder"), 403).has("not a regular file"),
        step(get("/%252e%252e%252fa"), 404).has("file not found"),
        step(get("/..."), 404).has("invalid file name"),
        step(put("/a%2fb", b""), 400).has("invalid file name: contains a slash"),
        step(ask("DELETE", "/a%2fb"), 404).has("invalid file name: contains a slash"),
    ];
    play(&steps, "", |folder| folder.folder("folder"));
}

// ---- slow, silent and vanishing clients ----

#[test]
fn silence_in_a_request_is_answered_408() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("a", b"old");
        let options = "--head-timeout 0.3 --idle-timeout 0.3";
        let server = case.serve(folder, 1, options);
        let sized = with("PUT", "/a", "Content-Length: 500\r\n");
        let chunked = with("PUT", "/a", "Transfer-Encoding: chunked\r\n");
        for beginning in [
            "GET /a HTTP/1.1\r\n".to_owned(),
            sized.clone(),
            sized + "half",
            chunked.clone(),
            chunked.clone() + "5",
            chunked.clone() + "5\r\nhal",
            chunked + "4\r\nhalf\r\n0\r\nTrailer: x\r\n",
            with("GET", "/a", "Content-Length: 500\r\n") + "half",
        ] {
            let mut peer = server.http();
            peer.send(&beginning);
            let reply = peer.reply("GET");
            // Who asked for no more than a file may have it before the rest of the request is missed.
            let got = beginning.starts_with("GET /a HTTP/1.1\r\nHost") && reply.status == 200;
            assert!(
                got || (reply.status == 408 && reply.closes()),
                "{beginning:?} {reply:?}"
            );
            if !got {
                peer.assert_closed();
            }
            drop(peer);
            eventually("no temporary file is left", || folder.names() == ["a"]);
        }
        assert_eq!(folder.read("a"), b"old");
    });
}

#[test]
fn a_client_that_stops_reading_is_cut_and_a_slow_one_is_not() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let content = noise(24 << 20, 1);
        folder.write("a", &content);
        let server = case.serve(folder, 1, "--idle-timeout 1");
        let mut slow = server.http();
        slow.send(with("GET", "/a", "Connection: close\r\n"));
        let (_, length) = slow.begin_reply("GET");
        let began = Instant::now();
        // The buffers on the way hold so much that the server waits for long between two of its turns.
        let body = slow.read_slowly(1 << 20, Duration::from_millis(60), PATIENCE);
        let whole = content.ends_with(&body) && length == content.len();
        assert!(whole, "{} bytes", body.len());
        assert_took(Duration::from_millis(1300).., began);
        drop(slow);
        let mut stuck = server.http();
        stuck.send(get("/a"));
        assert_eq!(once(&server, get("/healthz")).status, 200);
        eventually("the stuck client has been given up", || abandoned(&stuck.stream));
        assert!(stuck.rest().map_or(0, |part| part.len()) < content.len());
    });
}

#[test]
fn a_large_download_does_not_starve_small_ones_in_event_mode() {
    let folder = Folder::new();
    folder.write("a", b"A");
    folder.sparse("endless", 16 << 30);
    let server = start("event", 1, &folder, "");
    let mut hog = server.http();
    hog.send(get("/endless"));
    let moved = Arc::new(AtomicU64::new(0));
    let _reading = Background::read(&hog, moved.clone());
    eventually("it is served", || moved.load(Ordering::Relaxed) > 1 << 20);
    let before = moved.load(Ordering::Relaxed);
    let mut honest: Vec<Http> = (0..8).map(|_| server.http()).collect();
    for _ in 0..25 {
        honest.iter_mut().for_each(|peer| peer.send(get("/a")));
        honest
            .iter_mut()
            .for_each(|peer| assert_eq!(peer.reply("GET").text(), "A"));
    }
    assert!(
        moved.load(Ordering::Relaxed) < 16 << 30,
        "the download was over before"
    );
    eventually("the large one is served too", || {
        moved.load(Ordering::Relaxed) > before
    });
    hog.stream.shutdown(std::net::Shutdown::Both).unwrap();
}

#[test]
fn a_thousand_idle_connections_cost_little_in_event_mode() {
    if !sys::may_hold_a_thousand() {
        return;
    }
    let folder = Folder::new();
    folder.write("a", noise(1 << 20, 1));
    let server = start("event", 2, &folder, "");
    // Whatever is made once and kept is made now.
    for _ in 0..20 {
        assert_eq!(once(&server, put("/a", &noise(1 << 20, 1))).status, 204);
        assert_eq!(once(&server, get("/a")).body.len(), 1 << 20);
    }
    let before = resident(server.pid());
    let mut crowd: Vec<Http> = (0..1000).map(|_| server.http()).collect();
    for peer in &mut crowd {
        assert_eq!(
            peer.ask(with("GET", "/a", "Range: bytes=0-9999\r\n")).body.len(),
            10_000
        );
        assert_eq!(peer.ask(put("/b", &[7; 10_000])).status / 100, 2);
    }
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(
        grown <= 3 * 1000 + 512,
        "a thousand connections that have been served cost {grown} KiB"
    );
}

#[test]
fn an_upload_that_is_cut_leaves_the_old_file_and_nothing_else() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        folder.write("a", b"old");
        let server = case.serve(folder, 2, "");
        let whole = [
            put("/a", &noise(500_000, 1)),
            put_chunked("/a", &noise(500_000, 1), &[60_000]),
        ];
        for request in &whole {
            for part in [request.len() / 2, request.len() - 1] {
                for vanish in [true, false] {
                    let mut peer = server.http();
                    peer.send(&request[..part]);
                    eventually("the upload has begun", || !folder.temporary().is_empty());
                    // Meanwhile others see the old file.
                    if case.mode != "single" {
                        assert_eq!(once(&server, get("/a")).text(), "old");
                    }
                    if !vanish {
                        peer.half_close();
                        // Nothing, or a word about why; never that it is stored.
                        let rest = peer.rest().unwrap();
                        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", shown(&rest));
                    }
                    drop(peer);
                    eventually("no temporary file is left", || folder.names() == ["a"]);
                    assert_eq!(folder.read("a"), b"old");
                }
            }
        }
        assert_eq!(once(&server, put("/a", b"new")).status, 204);
    });
}

#[test]
fn clients_that_vanish_at_any_byte_leave_nothing() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("big", noise(4 << 20, 1));
        let server = case.serve(folder, 2, "");
        let request = put("/a", &noise(3000, 2));
        for round in 0..60 {
            let mut peer = server.http();
            match round % 3 {
                0 => peer.send(&request[..request.len() * round / 60]),
                1 => peer.send(get("/big") + &get("/big")),
                _ => {
                    peer.send(get("/big"));
                    let _ = peer.stream.read(&mut [0; 10]);
                }
            }
        }
        eventually("no temporary file is left", || folder.names() == ["big"]);
        assert!(once(&server, get("/big")).body == noise(4 << 20, 1));
    });
}

// ---- stopping, and too many ----

#[test]
fn sigterm_lets_an_upload_finish() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 3, "");
        let request = put("/a", &noise(500_000, 1));
        let (first, second) = request.split_at(request.len() / 2);
        let mut writing = server.http();
        writing.send(first);
        eventually("the upload has begun", || !folder.temporary().is_empty());
        let mut idle = server.http();
        if case.mode != "single" {
            assert_eq!(idle.ask(get("/healthz")).status, 200);
        }
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        writing.send(second);
        let reply = writing.reply("PUT");
        assert_eq!(reply.status, 201, "{reply:?}");
        writing.assert_closed();
        // Who has not been served at all may be told so.
        match idle.rest() {
            Ok(rest) => assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 503 ")),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        drop((writing, idle));
        assert_eq!(server.finish(PATIENCE), "");
        assert!(folder.read("a") == noise(500_000, 1));
        assert_eq!(folder.names(), ["a"]);
    });
}

#[test]
fn sigterm_lets_a_download_finish_and_takes_nothing_more() {
    each_case(MODES, HTTP, |case, folder| {
        let content = noise(16 << 20, 1);
        folder.write("a", &content);
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        peer.send(get("/a") + &get("/healthz"));
        assert_eq!(peer.first_byte(), b'H');
        server.signal(libc::SIGTERM);
        server.wait_until_closed();
        // Behind it comes the end, or the word that there is no more.
        let rest = peer.rest().unwrap();
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let (body, behind) = rest[end..].split_at(content.len());
        assert!(rest.starts_with(b"TTP/1.1 200 ") && body == content);
        assert!(
            behind.is_empty() || behind.starts_with(b"HTTP/1.1 503 "),
            "{}",
            shown(behind)
        );
        drop(peer);
        assert_eq!(server.finish(PATIENCE), "");
    });
}

#[test]
fn a_killed_worker_costs_its_own_request_and_is_replaced() {
    let folder = Folder::new();
    folder.write("a", b"old");
    let server = start("process", 2, &folder, "");
    let request = put("/a", &noise(5000, 1));
    let mut hurt = server.http();
    hurt.send(&request[..request.len() / 2]);
    eventually("the upload has begun", || !folder.temporary().is_empty());
    let name = folder.temporary().remove(0);
    let victim: u32 = name.split('-').nth(1).unwrap().parse().unwrap();
    signal(victim, libc::SIGKILL);
    let rest = hurt.rest().unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&rest), "");
    server.wait_until_replaced(victim, 2);
    eventually("what it left is removed", || folder.names() == ["a"]);
    let alive = || samples(once(&server, get("/metrics")).text())["kolam_workers_alive"];
    eventually("all are at work again", || alive() == 2);
    assert_eq!(
        samples(once(&server, get("/metrics")).text())["kolam_restarts_total"],
        1
    );
    assert_eq!(once(&server, &request).status, 204);
}

// ---- the log ----

#[test]
fn a_log_has_one_line_for_each_request_and_no_control_characters() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve_with_log(folder, 1, "--protocol http");
        let requests = [
            put("/a", b"kolam"),
            get("/a").into(),
            get("/none").into(),
            get("/%1b%5b2J").into(),
            get("/%0d%0aforged%20line").into(),
            get("/%ff%fe").into(),
            get("/%c2%9b2J%e2%80%ae").into(),
            ask("HEAD", "/a").into(),
            ask("DELETE", "/a").into(),
            ask("OPTIONS", "*").into(),
            get("/").into(),
            get("/metrics").into(),
            get("/healthz").into(),
        ];
        for request in &requests {
            once(&server, request);
        }
        // These are requests too, if one can call them so.
        let broken: [&[u8]; 3] = [
            b"G\x1bT / HTTP/1.1\r\n\r\n",
            b"GET /\x1b]0;title\x07 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a\nforged line HTTP/1.1\r\nHost: a\r\n\r\n",
        ];
        for request in broken {
            let mut peer = server.http();
            peer.send(request);
            peer.reply("GET");
        }
        let log = server.stop_with_log();
        assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
        assert!(
            log.lines().all(|line| line.contains(" worker 0 127.0.0.1:")),
            "{log:?}"
        );
        assert_eq!(log.lines().count(), requests.len() + broken.len(), "{log}");
        let malformed = log
            .lines()
            .filter(|line| line.contains(" ms 400 ERROR malformed request"))
            .count();
        assert_eq!(malformed, broken.len(), "{log}");
        for (method, status) in [
            ("GET", "200 OK"),
            ("PUT", "201 OK"),
            ("DELETE", "204 OK"),
            ("GET", "404 ERROR file not found"),
        ] {
            let told = |line: &str| {
                line.contains(&format!(" {method} ")) && line.ends_with(&format!(" ms {status}"))
            };
            assert!(log.lines().any(told), "no {method} that is {status} in {log}");
        }
    });
}

// ---- more connections than workers ----

/// How soon what many ask for at once must be there, although each may keep its connection.
const TOGETHER: Duration = Duration::from_millis(1500);

/// Workers of a pool that is started on a small machine without another word.
const USUAL: usize = 4;

/// A client that keeps its connection as long as the server lets it, as browsers and proxies do.
struct Keeper {
    address: SocketAddr,
    connection: Option<Http>,
    /// Requests that met a connection which the server had closed meanwhile.
    lost: usize,
}

impl Keeper {
    fn new(address: SocketAddr) -> Keeper {
        Keeper {
            address,
            connection: None,
            lost: 0,
        }
    }

    fn get(&mut self, target: &str) -> Reply {
        if let Some(mut kept) = self.connection.take() {
            let sent = kept.stream.write_all(get(target).as_bytes());
            match sent.and_then(|()| kept.try_reply("GET")) {
                Ok(reply) => return self.keep(kept, reply),
                Err(_) => self.lost += 1,
            }
        }
        let mut fresh = Http::connect(self.address);
        let reply = fresh.ask(get(target));
        self.keep(fresh, reply)
    }

    fn keep(&mut self, connection: Http, reply: Reply) -> Reply {
        self.connection = (!reply.closes()).then_some(connection);
        reply
    }
}

/// `requests` of a file over `connections` kept at the same time, the file having `length` bytes; all of them
/// stay open until the last is answered. Returns how long that took.
fn fetch(server: &Server, connections: usize, requests: usize, content: &[u8]) -> Duration {
    let (next, began, address) = (AtomicU64::new(0), Instant::now(), server.address);
    let work = || {
        let mut keeper = Keeper::new(address);
        while next.fetch_add(1, Ordering::Relaxed) < requests as u64 {
            let reply = keeper.get("/a.bin");
            assert!(reply.status == 200 && reply.body == content, "{}", reply.status);
        }
        keeper
    };
    let keepers: Vec<Keeper> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let took = began.elapsed();
    assert_eq!(
        keepers.iter().map(|keeper| keeper.lost).sum::<usize>(),
        0,
        "requests met a closed connection"
    );
    took
}

#[test]
fn kept_connections_do_not_keep_others_waiting() {
    each_case(MODES, HTTP, |case, _| {
        for (connections, requests, length) in [(12, 12, 1_000_000), (10, 30, 2_000), (6, 20, 50_000)] {
            let folder = Folder::new();
            let content = noise(length, 3);
            folder.write("a.bin", &content);
            let server = case.serve(&folder, USUAL, "");
            let took = fetch(&server, connections, requests, &content);
            assert!(
                took < TOGETHER,
                "{requests} requests over {connections} connections: {took:?}"
            );
            // And once more with other connections, while none of the first is left to be waited for.
            let took = fetch(&server, connections, requests, &content);
            assert!(took < TOGETHER, "the second time: {took:?}");
        }
    });
}

#[test]
fn an_idle_connection_gives_way_to_those_who_come() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 1, "");
        let mut idle = server.http();
        assert!(!idle.ask(get("/a")).closes(), "nobody else is there");
        let mut silent = server.http();
        let began = Instant::now();
        let mut other = server.http();
        other.send(get("/a"));
        assert_eq!(other.reply("GET").text(), "A");
        // The first gives way at once, the one that has not asked for anything yet after a second.
        assert_took(..3 * TOGETHER, began);
        if case.mode == "event" {
            assert_eq!(idle.ask(get("/a")).text(), "A", "there it is nobody's trouble");
            assert_eq!(silent.ask(get("/a")).text(), "A");
        } else {
            idle.assert_closed();
            silent.assert_closed();
        }
    });
}

#[test]
fn requests_that_have_arrived_are_answered_although_others_wait() {
    each_case(BLOCKING, HTTP, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 1, "");
        let mut kept = server.http();
        assert!(!kept.ask(get("/a")).closes());
        // While the server stands still, three requests arrive together, and somebody else.
        let all = server.family();
        all.iter().for_each(|&pid| signal(pid, libc::SIGSTOP));
        kept.send(get("/a").repeat(3));
        let mut other = server.http();
        other.send(get("/a"));
        all.iter().for_each(|&pid| signal(pid, libc::SIGCONT));
        let replies = [(); 3].map(|()| kept.reply("GET"));
        assert!(replies.iter().all(|reply| reply.text() == "A"), "{replies:?}");
        assert!(replies[..2].iter().all(|reply| !reply.closes()), "{replies:?}");
        kept.assert_closed();
        assert_eq!(other.reply("GET").text(), "A");
    });
}

#[test]
fn replies_on_their_way_arrive_although_others_wait() {
    // As many requests as one read of the server takes, and more behind them.
    const READ: usize = 16 * 1024;
    let request = with(
        "GET",
        "/a",
        &format!("X: {}\r\n", "x".repeat(64 - get("/a").len() - 5)),
    );
    assert_eq!(READ % request.len(), 0, "a read ends where a request ends");
    each_case(BLOCKING, HTTP, |case, folder| {
        // The replies to all fit into the buffers of the two sockets.
        folder.write("a", [b'A'; 300]);
        let server = case.serve(folder, 1, "");
        let mut kept = server.http();
        assert!(!kept.ask(get("/a")).closes());
        let all = server.family();
        all.iter().for_each(|&pid| signal(pid, libc::SIGSTOP));
        kept.send(request.repeat(2 * READ / request.len()));
        let _others = [server.http(), server.http()];
        all.iter().for_each(|&pid| signal(pid, libc::SIGCONT));
        // Nothing is read before the server has closed, so most replies are on its side still.
        eventually("the server closes", || abandoned(&kept.stream));
        let sent = 2 * READ / request.len();
        let replies = (1..=sent).find(|_| kept.reply("GET").closes()).unwrap_or(sent);
        kept.assert_closed();
        // All, if the others were noticed only when nothing was left to be read.
        assert!(replies == READ / request.len() || replies == sent, "{replies}");
    });
}

#[test]
fn a_peer_that_does_not_close_keeps_no_worker() {
    each_case_at_once(MODES, HTTP, |case, folder| {
        let mode = case.mode;
        let content = noise(100_000, 5);
        folder.write("a", &content);
        let server = case.serve(folder, 2, "");
        let open = || server.family().into_iter().map(descriptors).sum::<usize>();
        let (at_first, began) = (open(), Instant::now());
        let mut peers: Vec<Http> = (0..12).map(|_| server.http()).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.send(if number % 2 == 0 {
                get("/a")
            } else {
                with("GET", "/a", "Connection: close\r\n")
            });
        }
        for peer in &mut peers {
            assert!(peer.reply("GET").body == content);
        }
        assert_took(..TOGETHER, began);
        // Those who were told that this is the end are closed, with nothing else to wake the server.
        // In event mode none of the others has to go; elsewhere one connection a worker may stay.
        let stay = if mode == "event" { 6 } else { 2 };
        eventually("it closes its side", || open() <= at_first + stay);
    });
}

#[test]
fn silent_connections_do_not_cost_their_time_one_after_another() {
    for (mode, limit) in [
        ("single", 2 * TOGETHER),
        ("thread", TOGETHER),
        ("process", TOGETHER),
    ] {
        let folder = Folder::new();
        let server = start(mode, USUAL, &folder, "");
        let _silent: Vec<Http> = (0..20).map(|_| server.http()).collect();
        // Only then are they older than whoever comes now.
        thread::sleep(MOMENT);
        let began = Instant::now();
        assert_eq!(once(&server, get("/healthz")).status, 200, "{mode}");
        assert_took(..limit, began);
    }
}

#[test]
fn without_a_free_descriptor_the_answer_is_to_come_again() {
    each_case(MODES, HTTP, |case, folder| {
        folder.write("a", b"A");
        let server = case.serve(folder, 1, "");
        let mut peer = server.http();
        assert_eq!(peer.ask(get("/healthz")).status, 200);
        let pid = server.workers().first().copied().unwrap_or(server.pid());
        sys::limit(pid, libc::RLIMIT_NOFILE, 3);
        for request in [get("/a").into_bytes(), put("/b", b"B")] {
            let reply = peer.ask(request);
            assert_eq!((reply.status, reply.must("Retry-After")), (503, "1"));
            assert!(reply.text().starts_with("storage error: "), "{reply:?}");
        }
        sys::limit(pid, libc::RLIMIT_NOFILE, 100);
        assert_eq!(peer.ask(get("/a")).text(), "A");
    });
}

#[test]
fn a_folder_that_was_removed_is_named() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 1, "");
        fs::remove_dir_all(folder.path()).unwrap();
        let part = "--X\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\nA\r\n--X--\r\n";
        let kind = "Content-Type: multipart/form-data; boundary=X\r\n";
        let form = with("POST", "/", &format!("{kind}Content-Length: {}\r\n", part.len())) + part;
        for request in [put("/a", b"A"), form.into_bytes()] {
            let reply = once(&server, request);
            let named = reply
                .text()
                .contains("storage error: the served folder has been removed");
            assert!(reply.status == 500 && named, "{reply:?}");
        }
    });
}

#[test]
fn uploads_give_way_too() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 1, "");
        let content = noise(100_000, 9);
        let began = Instant::now();
        let _peers: Vec<Http> = thread::scope(|scope| {
            let (address, content) = (server.address, &content);
            let put_one = move |number: usize| {
                let mut peer = Http::connect(address);
                assert_eq!(peer.ask(put(&format!("/{number}"), content)).status, 201);
                peer
            };
            let threads: Vec<_> = (0..8)
                .map(|number| scope.spawn(move || put_one(number)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_took(..2 * TOGETHER, began);
    });
}

#[test]
fn curl_downloads_many_at_once() {
    each_case(MODES, HTTP, |case, folder| {
        let here = Folder::new();
        let content = noise(1_000_000, 4);
        let mut words: Vec<String> = ["--parallel", "--parallel-immediate", "--parallel-max", "12"]
            .map(str::to_owned)
            .to_vec();
        let server = case.serve(folder, USUAL, "");
        for number in 0..12 {
            folder.write(&format!("{number}.bin"), &content);
            words.extend(["-o".to_owned(), format!("{number}.bin")]);
            words.push(format!("http://{}/{number}.bin", server.address));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let began = Instant::now();
        let Some(ended) = curl(here.path(), &words, None) else {
            return;
        };
        assert_took(..TOGETHER, began);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!((0..12).all(|number| here.read(&format!("{number}.bin")) == content));
    });
}

// ---- curl ----

/// Runs curl in a folder; `None`: there is none.
fn curl(here: &Path, words: &[&str], input: Option<&Path>) -> Option<Ended> {
    let mut command = Command::new("curl");
    command.args("--silent --show-error --fail --noproxy * --max-time 20".words());
    command.args(words).current_dir(here);
    command.stdin(input.map_or(Stdio::null(), |path| File::open(path).unwrap().into()));
    installed("curl").then(|| Run::start(&mut command).finish(PATIENCE * 3))
}

#[test]
fn curl_uploads_downloads_resumes_and_asks() {
    each_case(MODES, HTTP, |case, folder| {
        let here = Folder::new();
        let server = case.serve(folder, 2, "");
        let url = |name: &str| format!("http://{}/{name}", server.address);
        // More than a mebibyte, so that curl asks before it sends (Expect: 100-continue).
        let content = noise(3_000_000, 1);
        here.write("a b.bin", &content);
        let (root, file) = (url(""), url("a%20b.bin"));
        let Some(ended) = curl(here.path(), &["-T", "a b.bin", &root], None) else {
            return;
        };
        ended.ok();
        assert!(folder.read("a b.bin") == content);
        let run = |words: &[&str]| curl(here.path(), words, None).unwrap();
        run(&["-O", &file]).ok();
        assert!(here.read("a%20b.bin") == content);
        // A part of it is there; the rest is added.
        here.write("part", &content[..1_234_567]);
        run(&["-C", "-", "-o", "part", &file]).ok();
        assert!(here.read("part") == content);
        let head = run(&["-I", &file]);
        assert_has(head.ok(), &["Content-Length: 3000000"]);
        let piped = curl(here.path(), &["-T", "-", &url("piped")], Some(&here.join("part"))).unwrap();
        piped.ok();
        assert!(folder.read("piped") == content);
        run(&["--http1.0", "-o", "old", &file]).ok();
        assert!(here.read("old") == content);
        run(&["-o", "one", &url("piped"), "-o", "two", &file]).ok();
        assert!(here.read("one") == content && here.read("two") == content);
        run(&["-z", "a b.bin", "-o", "unchanged", &file]).ok();
        run(&["-X", "DELETE", &url("piped")]).ok();
        assert_eq!(run(&[&url("piped")]).code, Some(22), "404 is a failure");
        assert_eq!(folder.names(), ["a b.bin"]);
    });
}

// ---- small things ----

#[test]
fn every_escape_of_a_name_means_the_same_file() {
    let folder = awkward_folder();
    let server = start("thread", 2, &folder, "");
    let mut peer = server.http();
    for name in AWKWARD {
        let reply = peer.ask(get(&format!("/{}", escaped(name))));
        assert!(reply.body == folder.read(name), "{name}");
        let all: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert!(
            peer.ask(get(&format!("/{all}"))).body == folder.read(name),
            "{name}"
        );
    }
}

#[test]
fn the_date_of_a_new_file_is_now() {
    let folder = Folder::new();
    let server = start("thread", 2, &folder, "");
    let mut peer = server.http();
    assert_eq!(peer.ask(put("/a", b"A")).status, 201);
    let reply = peer.ask(get("/a"));
    let now = SystemTime::now();
    let recent = |ago| http::date(now - Duration::from_secs(ago)) == reply.must("Last-Modified");
    assert!((0..10).any(recent), "{reply:?}");
}

#[test]
fn a_connection_that_only_listens_is_told_nothing() {
    each_case(MODES, HTTP, |case, folder| {
        let server = case.serve(folder, 2, "");
        let mut peer = server.http();
        peer.assert_silent(Duration::from_millis(30));
        peer.half_close();
        peer.assert_closed();
        // One that ends in the middle of a head has asked for nothing either.
        let mut peer = server.http();
        peer.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
        peer.half_close();
        let rest = peer.rest().unwrap();
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"),
            "{}",
            shown(&rest)
        );
        drop(peer);
    });
}
