//! What does the server say about itself? Four replies that are no files: a page for people, the same as
//! JSON for programs, `ok` as a health check, and the counters in the text format that Prometheus reads.
//! The name of a file was chosen by a stranger, so it is escaped for its context: in the text of a page, in
//! a link, in JSON.

use crate::cli::{characters, counted};
use crate::http::pieces::{PIECE, Source};
use crate::http::request::Request;
use crate::http::response::Reply;
use crate::json::Writer;
use crate::stats::{Field, Scoreboard, utc};
use crate::store::{self, About, BY_NAME, Column, Listing, Order, Store};
use std::fmt::Write;
use std::io;
use std::mem;
use std::sync::Arc;

/// The style is part of the page, so that the page needs no other request.
const STYLE: &str = include_str!("listing.css");

/// What a browser may do on behalf of the page: show its style, send its form here. A name that is not
/// escaped still could not run as a program (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// Longest path prefix that a proxy may name, in bytes.
const PREFIX_LIMIT: usize = 256;

/// The columns: their name in the URL and on the page, and whether the first click gives the largest first.
const COLUMNS: [(Column, &str, &str, bool); 3] = [
    (Column::Name, "name", "Name", false),
    (Column::Size, "size", "Size", true),
    (Column::Date, "date", "Changed (UTC)", true),
];

/// query = *( pair "&" ) pair; pair = "sort=" column / "order=desc" / anything else, which is ignored: a link
/// with something added to it still shows the page.
fn order_of(query: &str) -> Order {
    let mut pairs = query.split('&');
    let named = pairs.clone().find_map(|pair| pair.strip_prefix("sort="));
    let column = COLUMNS.iter().find(|column| named == Some(column.1));
    let order = pairs.find_map(|pair| pair.strip_prefix("order="));
    Order {
        column: column.map_or(Column::Name, |column| column.0),
        descending: order == Some("desc"),
    }
}

/// Where the page is that was asked for with `query`, seen from itself: relative, so that it works behind a
/// proxy that has taken a part of the path away. Only what `order_of` understands gets into it.
pub fn location(query: &str) -> String {
    let order = order_of(query);
    let name = COLUMNS[order.column as usize].1;
    match (order.column, order.descending) {
        (Column::Name, false) => "./".to_owned(),
        (_, false) => format!("./?sort={name}"),
        (_, true) => format!("./?sort={name}&order=desc"),
    }
}

/// The heads of the columns, each a link to the page sorted by it.
fn write_heads(out: &mut String, order: Order) {
    for (column, name, label, largest_first) in COLUMNS {
        let here = column == order.column;
        let (sorted, arrow) = match order.descending {
            _ if !here => ("", ""),
            false => (" aria-sort=ascending", " <span aria-hidden=true>\u{2191}</span>"),
            true => (" aria-sort=descending", " <span aria-hidden=true>\u{2193}</span>"),
        };
        let descending = if here { !order.descending } else { largest_first };
        let order = if descending { "&amp;order=desc" } else { "" };
        let _ = writeln!(
            out,
            "<th scope=col{sorted}><a href=\"?sort={name}{order}\">{label}{arrow}</a>"
        );
    }
}

/// `/`: the page, or the same for programs.
pub fn folder(request: &Request, store: &Arc<Store>) -> Result<Reply, store::Error> {
    let json = request.target.query == "json";
    let order = if json {
        BY_NAME
    } else {
        order_of(&request.target.query)
    };
    let rows = Rows {
        listing: store.list(order)?,
        store: store.clone(),
        begun: false,
        bytes: 0,
    };
    if json {
        return Ok(Reply::in_pieces("application/json", Json(rows))?);
    }
    let limit = store.upload_limit();
    let page = Page {
        top: top(request, limit, &rows.listing, order),
        bottom: bottom(request, limit.is_some()),
        rows,
    };
    let reply = Reply::in_pieces("text/html; charset=utf-8", page)?;
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

/// The files of the folder, and how much of them has been written.
struct Rows {
    listing: Listing,
    store: Arc<Store>,
    /// A file has been written.
    begun: bool,
    /// The sizes of all that have been written.
    bytes: u64,
}

impl Rows {
    /// Appends files to `out` with `write`, as many as one piece holds; returns whether there may be more.
    /// Files that have vanished are left out. `write` is told whether the file is the first.
    fn write<T: AsRef<[u8]>>(
        &mut self,
        out: &mut T,
        write: impl Fn(&mut T, &str, &About, bool),
    ) -> io::Result<bool> {
        let (store, begun, bytes) = (&self.store, &mut self.begun, &mut self.bytes);
        self.listing.advance(|name| {
            if let Some(about) = store.about(name) {
                write(out, name, &about, !*begun);
                *bytes = bytes.saturating_add(about.size);
                *begun = true;
            }
            out.as_ref().len() < PIECE
        })
    }
}

/// The folder as a page.
struct Page {
    /// What stands before the rows; taken by the first piece.
    top: String,
    rows: Rows,
    /// What stands after the table.
    bottom: String,
}

impl Source for Page {
    fn next(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let mut text = mem::take(&mut self.top);
        let more = self
            .rows
            .write(&mut text, |out, name, about, _| write_row(out, name, about))?;
        if !more {
            if self.rows.listing.files > 0 {
                let size = sized(self.rows.bytes);
                let _ = write!(text, "<tfoot>\n<tr><th scope=row>Total<td>{size}<td>\n</table>\n");
            }
            text.push_str(&self.bottom);
        }
        out.extend_from_slice(text.as_bytes());
        Ok(more)
    }
}

/// The page up to its rows. `upload_limit`: largest file in bytes that may be put here; `None` when nothing
/// may.
fn top(request: &Request, upload_limit: Option<u64>, listing: &Listing, order: Order) -> String {
    let mut out = String::with_capacity(2 * STYLE.len());
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
    let folders = match listing.folders {
        0 => String::new(),
        folders => format!(" {} not shown.", counted(folders, "folder")),
    };
    if listing.files == 0 {
        let _ = writeln!(out, "<p class=none>No files yet.{folders}");
        return out;
    }
    let files = counted(listing.files, "file");
    let _ = write!(
        out,
        "<table>\n<caption>{files}.{folders}</caption>\n<thead>\n<tr>\n"
    );
    write_heads(&mut out, order);
    out.push_str("<tbody>\n");
    out
}

/// The page after its table.
fn bottom(request: &Request, writable: bool) -> String {
    let mut out = "</main>\n<footer>\n".to_owned();
    if writable {
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

/// One file. The end tags of cells and rows may be left out (HTML, section 13.1.2.4), and a long page is
/// shorter without them.
fn write_row(out: &mut String, name: &str, about: &About) {
    // Relative, so that it works behind a proxy too; `a:b` is no scheme because its colon is encoded.
    out.push_str("<tr><th scope=row><a href=\"");
    percent_encode(out, name);
    // <bdi> isolates it: a name that is read from right to left must not reverse the columns after it.
    out.push_str("\"><bdi>");
    show(out, name);
    out.push_str("</bdi></a><td>");
    let date = utc(about.modified);
    let (size, day, minute) = (sized(about.size), &date[..10], &date[11..16]);
    let _ = writeln!(out, "{size}<td><time datetime={date}>{day} {minute}</time>");
}

/// A size in a cell, with the exact number in its title.
fn sized(bytes: u64) -> String {
    let rounded = rounded_size(bytes);
    match bytes {
        0..1024 => rounded,
        _ => format!("<data value={bytes} title=\"{bytes} bytes\">{rounded}</data>"),
    }
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
struct Json(Rows);

impl Source for Json {
    fn next(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if !self.0.begun {
            out.push(b'[');
        }
        let more = self.0.write(out, |out, name, about, first| {
            let mut w = Writer::in_list(out, first);
            w.open(b'{');
            w.pair("name", name);
            w.key("size");
            w.number(about.size);
            w.pair("modified", &utc(about.modified));
            w.close(b'}');
        })?;
        if !more {
            out.extend_from_slice(b"]\n");
        }
        Ok(more)
    }
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
# HELP kolam_refused_tokens_total Wrong tokens that were shown.
# TYPE kolam_refused_tokens_total counter
kolam_refused_tokens_total {refused}
",
        restarts = total(Field::Restarts),
        connections = total(Field::Connections),
        requests = served + failed,
        bytes_in = total(Field::BytesIn),
        bytes_out = total(Field::BytesOut),
        refused = total(Field::Refused),
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
            let value = scoreboard.of_worker(index, field);
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
        use Column::{Date, Name, Size};
        let order = |column, descending| Order { column, descending };
        let table = [
            ("", order(Name, false)),
            ("sort=size", order(Size, false)),
            ("order=desc&sort=date", order(Date, true)),
            ("x=1&sort=name&order=desc", order(Name, true)),
            ("sort=owner&order=up", order(Name, false)),
            ("sort=&order", order(Name, false)),
            ("sort", order(Name, false)),
            ("sorted=size", order(Name, false)),
            ("sort=owner&sort=size", order(Name, false)),
        ];
        for (query, expected) in table {
            assert_eq!(order_of(query), expected, "{query}");
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
