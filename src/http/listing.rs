//! What does the server say about itself? Four replies that are no files: a page for people, the same as
//! JSON for programs, `ok` as a health check, and the counters in the text format that Prometheus reads.
//! The name of a file was chosen by a stranger, so it is escaped for its context: in the text of a page, in
//! a link, in JSON.

use crate::cli::{characters, counted};
use crate::http::request::Request;
use crate::http::response::Reply;
use crate::json::Writer;
use crate::stats::{Field, Scoreboard, utc};
use crate::store::{self, Catalogue, Store};
use std::fmt::Write;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The style is part of the page, so that the page needs no other request.
const STYLE: &str = include_str!("listing.css");

/// What a browser may do on behalf of the page: show its style, send its form here. A name that is not
/// escaped still could not run as a program (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// About the bytes of a row without its name: reserved, so that a large page is not moved as it grows.
const ROW: usize = 200;

/// Longest path prefix that a proxy may name, in bytes.
const PREFIX_LIMIT: usize = 256;

/// The columns: their name in the URL and on the page, and whether the first click gives the largest first.
const COLUMNS: [(&str, &str, bool); 3] = [
    ("name", "Name", false),
    ("size", "Size", true),
    ("date", "Changed (UTC)", true),
];

/// The order of the rows.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    /// Index in `COLUMNS`.
    column: usize,
    descending: bool,
}

impl Order {
    /// query = *( pair "&" ) pair; pair = "sort=" column / "order=desc" / anything else, which is ignored:
    /// a link with something added to it still shows the page.
    fn of(query: &str) -> Order {
        let mut pairs = query.split('&');
        let named = pairs.clone().find_map(|pair| pair.strip_prefix("sort="));
        let column = COLUMNS.iter().position(|column| named == Some(column.0));
        let order = pairs.find_map(|pair| pair.strip_prefix("order="));
        Order {
            column: column.unwrap_or(0),
            descending: order == Some("desc"),
        }
    }

    /// The page in this order, seen from itself: relative, so that it works behind a proxy that has taken a
    /// part of the path away.
    fn location(&self) -> String {
        let name = COLUMNS[self.column].0;
        match (self.column, self.descending) {
            (0, false) => "./".to_owned(),
            (_, false) => format!("./?sort={name}"),
            (_, true) => format!("./?sort={name}&order=desc"),
        }
    }

    /// The files come sorted by name, and stay so where the column is equal (a stable sort).
    fn apply(&self, files: &mut [(String, Metadata)]) {
        files.sort_by(|(name, about), (other_name, other)| {
            let order = match COLUMNS[self.column].0 {
                "size" => about.len().cmp(&other.len()),
                "date" => (about.mtime(), about.mtime_nsec()).cmp(&(other.mtime(), other.mtime_nsec())),
                _ => name.cmp(other_name),
            };
            if self.descending { order.reverse() } else { order }
        });
    }

    /// The heads of the columns, each a link to the page sorted by it.
    fn write_heads(&self, out: &mut String) {
        for (at, (name, label, largest_first)) in COLUMNS.into_iter().enumerate() {
            let here = at == self.column;
            let (sorted, arrow) = match self.descending {
                _ if !here => ("", ""),
                false => (" aria-sort=ascending", " <span aria-hidden=true>\u{2191}</span>"),
                true => (" aria-sort=descending", " <span aria-hidden=true>\u{2193}</span>"),
            };
            let descending = if here { !self.descending } else { largest_first };
            let order = if descending { "&amp;order=desc" } else { "" };
            let _ = writeln!(
                out,
                "<th scope=col{sorted}><a href=\"?sort={name}{order}\">{label}{arrow}</a>"
            );
        }
    }
}

/// Where the page is that was asked for with `query`. Only what `Order` understands gets into it.
pub fn location(query: &str) -> String {
    Order::of(query).location()
}

/// `/`: the page, or the same for programs.
pub fn folder(request: &Request, store: &Store) -> Result<Reply, store::Error> {
    let catalogue = store.catalogue()?;
    if request.target.query == "json" {
        return Ok(Reply::fresh("application/json", json(&catalogue)));
    }
    let page = page(catalogue, request, store.upload_limit());
    let reply = Reply::fresh("text/html; charset=utf-8", page);
    Ok(reply.field("Content-Security-Policy", POLICY))
}

/// `/healthz`
pub fn health() -> Reply {
    Reply::fresh("text/plain; charset=utf-8", "ok\n")
}

/// `/metrics`
pub fn metrics(scoreboard: &Scoreboard) -> Reply {
    Reply::fresh("text/plain; version=0.0.4", counters(scoreboard))
}

/// The folder as a page, in the order that the query asks for. `upload_limit`: largest file in bytes that
/// may be put here; `None` when nothing may.
fn page(mut catalogue: Catalogue, request: &Request, upload_limit: Option<u64>) -> String {
    let order = Order::of(&request.target.query);
    order.apply(&mut catalogue.files);
    let names: usize = catalogue.files.iter().map(|(name, _)| name.len()).sum();
    let mut out = String::with_capacity(2 * STYLE.len() + 2 * names + ROW * catalogue.files.len());
    let host = escape(&request.target.host);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>Files on {host}</title>\n<style>\n{STYLE}</style>\n\
         <body>\n<header>\n<h1>Files</h1>\n<p>{host}\n</header>\n<main>\n"
    );
    if let Some(limit) = upload_limit {
        write_form(&mut out, limit);
    }
    write_table(&mut out, &catalogue, &order);
    out.push_str("</main>\n<footer>\n");
    if upload_limit.is_some() {
        let address = escape(&address(request));
        let _ = writeln!(out, "<p>From a terminal: <code>curl -T FILE {address}</code>");
    }
    out.push_str("<p>For programs: <a href=\"?json\">the same as JSON</a>\n</footer>\n");
    out
}

/// The upload form; its action is the URL of the page, and `http/form.rs` reads it. `required` makes the
/// browser reject a form without a file.
fn write_form(out: &mut String, limit: u64) {
    let _ = writeln!(
        out,
        "<form method=post enctype=\"multipart/form-data\">\n<label for=files>Add files</label>\n\
         <input type=file id=files name=file multiple required aria-describedby=rules>\n\
         <button>Upload</button>\n\
         <p id=rules>At most {} each. A file of the same name is replaced.\n</form>",
        rounded_size(limit)
    );
}

fn write_table(out: &mut String, catalogue: &Catalogue, order: &Order) {
    let count = catalogue.files.len() as u64;
    let bytes = catalogue.files.iter().map(|file| file.1.len()).sum();
    let folders = match catalogue.folders {
        0 => String::new(),
        folders => format!(" {} not shown.", counted(folders as u64, "folder")),
    };
    if count == 0 {
        let _ = writeln!(out, "<p class=none>No files yet.{folders}");
        return;
    }
    let (files, size) = (counted(count, "file"), rounded_size(bytes));
    let _ = write!(
        out,
        "<table>\n<caption>{files}, {size}.{folders}</caption>\n<thead>\n<tr>\n"
    );
    order.write_heads(out);
    out.push_str("<tbody>\n");
    for (name, about) in &catalogue.files {
        write_row(out, name, about);
    }
    out.push_str("</table>\n");
}

/// One file. The end tags of cells and rows may be left out (HTML, section 13.1.2.4), and a long page is
/// shorter without them.
fn write_row(out: &mut String, name: &str, about: &Metadata) {
    // Relative, so that it works behind a proxy too; `a:b` is no scheme because its colon is encoded.
    out.push_str("<tr><th scope=row><a href=\"");
    percent_encode(out, name);
    // <bdi> isolates it: a name that is read from right to left must not reverse the columns after it.
    out.push_str("\"><bdi>");
    show(out, name);
    out.push_str("</bdi></a><td>");
    let (size, date) = (about.len(), modified(about));
    let rounded = rounded_size(size);
    let _ = match size {
        0..1024 => write!(out, "{rounded}"),
        // The exact number is in the title.
        _ => write!(out, "<data value={size} title=\"{size} bytes\">{rounded}</data>"),
    };
    let (day, minute) = (&date[..10], &date[11..16]);
    let _ = writeln!(out, "<td><time datetime={date}>{day} {minute}</time>");
}

/// For a column: `5 B`, `1.0 KiB`, `16.0 EiB`, with one decimal of the largest unit that there is one of.
fn rounded_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 1_u128;
    for name in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        unit <<= 10;
        // Rounded first: 1,048,575 bytes are 1.0 MiB, not 1024.0 KiB.
        let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
        if tenths < 10_240 {
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    unreachable!("2^64 bytes are 16 EiB")
}

/// The URL of the folder, as the peer sees it: only for the text of the line with `curl`. A proxy may have
/// removed TLS and the first part of the path, and may tell us in two fields. Any peer can send them too.
fn address(request: &Request) -> String {
    let one = |name| request.fields.one(name).ok().flatten();
    let scheme = one("x-forwarded-proto").filter(|scheme| ["http", "https"].contains(scheme));
    let prefix = one("x-forwarded-prefix").filter(|path| is_prefix(path));
    // The line is meant for a shell, and a host may contain `;` and `$` (RFC 3986, section 3.2.2). HTTP/1.0
    // may leave it out.
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let host = Some(&*request.target.host).filter(|host| !host.is_empty() && host.bytes().all(harmless));
    let (scheme, host) = (scheme.unwrap_or("http"), host.unwrap_or("HOST:PORT"));
    format!(
        "{scheme}://{host}{}/",
        prefix.unwrap_or_default().trim_end_matches('/')
    )
}

/// prefix = 1*( "/" segment ) [ "/" ]; segment = 1*unreserved, not "." or ".."
fn is_prefix(path: &str) -> bool {
    let segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(unreserved);
    let inner = path
        .strip_prefix('/')
        .map(|path| path.strip_suffix('/').unwrap_or(path));
    path.len() <= PREFIX_LIMIT && inner.is_some_and(|inner| inner.split('/').all(segment))
}

/// May this byte stand in a URL as it is, wherever that is (RFC 3986, section 2.3)?
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The folder for programs: `[{"name":"a.bin","size":5,"modified":"2026-11-21T06:07:08.009Z"}]`
fn json(catalogue: &Catalogue) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.open(b'[');
    for (name, about) in &catalogue.files {
        w.open(b'{');
        w.pair("name", name);
        w.key("size");
        w.number(about.len());
        w.pair("modified", &modified(about));
        w.close(b'}');
    }
    w.close(b']');
    out.push(b'\n');
    out
}

fn modified(about: &Metadata) -> String {
    about.modified().map(utc).unwrap_or_else(|_| "-".repeat(24))
}

/// For the text and the attributes of a page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| write_escaped(&mut out, c));
    out
}

fn write_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

/// A name for people: a character that is invisible or reverses its neighbours is written as its number.
fn show(out: &mut String, name: &str) {
    for (c, hides) in characters(name) {
        if hides {
            let _ = write!(out, "<span class=odd>{}</span>", c.escape_unicode());
        } else {
            write_escaped(out, c);
        }
    }
}

/// For the path of a link.
fn percent_encode(out: &mut String, name: &str) {
    for byte in name.bytes() {
        if unreserved(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The counters of STATS in the text format of Prometheus, version 0.0.4 (prometheus.io, "Exposition
/// formats").
fn counters(scoreboard: &Scoreboard) -> String {
    let total = |field| scoreboard.total(field);
    let (workers, alive) = (scoreboard.workers, scoreboard.alive());
    let (served, failed) = (total(Field::Served), total(Field::Failed));
    let mut out = format!(
        "# HELP kolam_workers Workers that there should be.
# TYPE kolam_workers gauge
kolam_workers {workers}
# HELP kolam_workers_alive Workers that are alive.
# TYPE kolam_workers_alive gauge
kolam_workers_alive {alive}
# HELP kolam_restarts_total Workers put in the place of dead ones.
# TYPE kolam_restarts_total counter
kolam_restarts_total {restarts}
# HELP kolam_connections_total Connections taken.
# TYPE kolam_connections_total counter
kolam_connections_total {connections}
# HELP kolam_requests_total Requests that have ended.
# TYPE kolam_requests_total counter
kolam_requests_total {requests}
# HELP kolam_requests_failed_total Requests that have failed.
# TYPE kolam_requests_failed_total counter
kolam_requests_failed_total {failed}
# HELP kolam_bytes_in_total Bytes read from sockets.
# TYPE kolam_bytes_in_total counter
kolam_bytes_in_total {bytes_in}
# HELP kolam_bytes_out_total Bytes written to sockets.
# TYPE kolam_bytes_out_total counter
kolam_bytes_out_total {bytes_out}
",
        restarts = total(Field::Restarts),
        connections = total(Field::Connections),
        requests = served + failed,
        bytes_in = total(Field::BytesIn),
        bytes_out = total(Field::BytesOut),
    );
    for (name, help, field) in [
        ("served", "Requests that a worker has served.", Field::Served),
        (
            "failed",
            "Requests that have failed with a worker.",
            Field::Failed,
        ),
    ] {
        let name = format!("kolam_worker_{name}_total");
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n");
        for index in 0..workers {
            let value = scoreboard.worker(index).get(field);
            let _ = writeln!(out, "{name}{{worker=\"{index}\"}} {value}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_where_they_stand() {
        let name = "<b>\"&'é %?#/";
        assert_eq!(escape(name), "&lt;b&gt;&quot;&amp;&#39;é %?#/");
        let link = |name: &str| {
            let mut out = String::new();
            percent_encode(&mut out, name);
            out
        };
        assert_eq!(link(name), "%3Cb%3E%22%26%27%C3%A9%20%25%3F%23%2F");
        assert_eq!(
            (link("aZ09-._~"), link("a:b")),
            ("aZ09-._~".to_owned(), "a%3Ab".to_owned())
        );
        let mut shown = String::new();
        show(&mut shown, "a<\u{202e}nib.exe");
        assert_eq!(shown, "a&lt;<span class=odd>\\u{202e}</span>nib.exe");
    }

    #[test]
    fn sizes_are_rounded_to_one_decimal() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1075, "1.0 KiB"),
            (1076, "1.1 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 29, "2.5 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(rounded_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn a_query_that_means_nothing_changes_nothing() {
        let order = |column, descending| Order { column, descending };
        let table = [
            ("", order(0, false)),
            ("sort=size", order(1, false)),
            ("order=desc&sort=date", order(2, true)),
            ("x=1&sort=name&order=desc", order(0, true)),
            ("sort=owner&order=up", order(0, false)),
            ("sort=&order", order(0, false)),
            ("sort", order(0, false)),
            ("sorted=size", order(0, false)),
            ("sort=owner&sort=size", order(0, false)),
        ];
        for (query, expected) in table {
            assert_eq!(Order::of(query), expected, "{query}");
        }
    }

    #[test]
    fn the_way_back_keeps_the_order_and_nothing_else() {
        for (query, expected) in [
            ("", "./"),
            ("sort=name", "./"),
            ("sort=size", "./?sort=size"),
            ("x=1&sort=date&order=desc", "./?sort=date&order=desc"),
            ("order=desc", "./?sort=name&order=desc"),
            ("sort=//evil.example&order=desc%0d%0aX:y", "./"),
            ("json", "./"),
        ] {
            assert_eq!(location(query), expected, "{query}");
        }
    }

    #[test]
    fn a_prefix_is_a_plain_path() {
        for good in ["/a", "/a/", "/a/b-1._~", "/...", &format!("/{}", "a".repeat(255))] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in [
            "", "/", "a", "//", "//a", "/a//b", "/a//", "/.", "/a/../b", "/a b", "/a;b", "/a%2f", "/a\"b",
        ] {
            assert!(!is_prefix(bad), "{bad}");
        }
        assert!(!is_prefix(&format!("/{}", "a".repeat(256))));
    }

    #[test]
    fn every_sample_has_its_family() {
        let scoreboard = Scoreboard::new("event", 2).unwrap();
        scoreboard.worker(1).add(Field::Served, 3);
        let text = counters(&scoreboard);
        assert!(text.contains("\nkolam_requests_total 3\n"), "{text}");
        assert!(
            text.contains("\nkolam_worker_served_total{worker=\"1\"} 3\n"),
            "{text}"
        );
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family = rest.split(' ').next().unwrap(),
                None => assert!(line.starts_with("# HELP ") || line.starts_with(family), "{line}"),
            }
        }
    }
}
