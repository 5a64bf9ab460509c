//! # Chapter 14e. What does the server say about itself?
//!
//! Four answers that are no files: a page for people, the same as JSON for programs, a word for those who
//! only want to know whether it lives, and the counters in the text format that Prometheus reads.
//!
//! ```text
//!   GET /          <table> name, size, date       GET /healthz    ok
//!   GET /?json     [{"name":…,"size":…}, …]       GET /metrics    kolam_requests_total 12
//! ```
//!
//! The invariant: a name of a file, which a stranger has chosen, is escaped for where it stands: in the text
//! of a page, in a link, in JSON.
//!
//! What must not live here: sockets, methods, status codes.
//!
//! before: `http_reply.rs` … after: `balance.rs`
//!
//! Experiment: upload a file called `<img src=x onerror=alert(1)>` and look at the source of the page.

use crate::dates::utc;
use crate::json::Writer;
use crate::ledger::{Board, Field};
use std::fmt::Write;
use std::fs::Metadata;

/// One row a file: name, and what is known of it.
type Catalogue = [(String, Metadata)];

const STYLE: &str = "body{font-family:sans-serif;margin:2em auto;max-width:50em;padding:0 1em}\
    table{border-collapse:collapse;width:100%}td,th{padding:.3em .6em;text-align:left}\
    tr+tr{border-top:1px solid #ddd}.n{text-align:right;font-variant-numeric:tabular-nums}\
    code{background:#f4f4f4;padding:.1em .3em}";

/// The folder as a page. `host` is how the peer calls this server.
pub fn page(files: &Catalogue, host: &str) -> String {
    let mut rows = String::new();
    for (name, about) in files {
        let (link, label) = (percent_encode(name), escape(name));
        let (size, date) = (about.len(), modified(about));
        // A relative link works behind a proxy too; the dot keeps `a:b` from being taken for a scheme.
        let _ = writeln!(
            rows,
            "<tr><td><a href=\"./{link}\">{label}</a><td class=n>{size}<td>{date}",
            date = &date[..19].replace('T', " ")
        );
    }
    let empty = if files.is_empty() { "<p>No files yet.\n" } else { "" };
    // HTTP/1.0 may leave it out.
    let host = if host.is_empty() { "HOST:PORT".to_owned() } else { escape(host) };
    format!(
        "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width\">\n<title>kolam</title>\n<style>{STYLE}</style>\n\
         <h1>Files</h1>\n<table>\n<tr><th>Name<th class=n>Bytes<th>Changed (UTC)\n{rows}</table>\n{empty}\
         <p>To put one here: <code>curl -T FILE http://{host}/</code>. \
         The same as JSON: <a href=\"./?json\">?json</a>\n"
    )
}

/// The folder for programs: `[{"name":"a.bin","size":5,"modified":"2026-11-21T06:07:08.009Z"}]`
pub fn json(files: &Catalogue) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    w.open(b'[');
    for (name, about) in files {
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
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For the path of a link: everything but the unreserved characters (RFC 3986, section 2.3).
fn percent_encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The counters of STATS in the text format of Prometheus, version 0.0.4 (prometheus.io, "Exposition
/// formats").
pub fn metrics(board: &Board) -> String {
    let mut out = String::new();
    let total = |field| board.total(field);
    let requests = total(Field::Served) + total(Field::Failed);
    let single = [
        ("workers", "gauge", "Workers that there should be.", board.workers as u64),
        ("workers_alive", "gauge", "Workers that are alive.", board.alive() as u64),
        ("restarts_total", "counter", "Workers put in the place of dead ones.", total(Field::Restarts)),
        ("connections_total", "counter", "Connections taken.", total(Field::Connections)),
        ("requests_total", "counter", "Requests that have ended.", requests),
        ("requests_failed_total", "counter", "Requests that have failed.", total(Field::Failed)),
        ("bytes_in_total", "counter", "Bytes read from sockets.", total(Field::BytesIn)),
        ("bytes_out_total", "counter", "Bytes written to sockets.", total(Field::BytesOut)),
    ];
    for (name, kind, help, value) in single {
        head(&mut out, name, kind, help);
        let _ = writeln!(out, "kolam_{name} {value}");
    }
    let each = [
        ("worker_served_total", "Requests that a worker has served.", Field::Served),
        ("worker_failed_total", "Requests that have failed with a worker.", Field::Failed),
    ];
    for (name, help, field) in each {
        head(&mut out, name, "counter", help);
        for index in 0..board.workers {
            let value = board.worker(index).get(field);
            let _ = writeln!(out, "kolam_{name}{{worker=\"{index}\"}} {value}");
        }
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP kolam_{name} {help}\n# TYPE kolam_{name} {kind}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_where_they_stand() {
        let name = "<b>\"&'é %?#/";
        assert_eq!(escape(name), "&lt;b&gt;&quot;&amp;&#39;é %?#/");
        assert_eq!(percent_encode(name), "%3Cb%3E%22%26%27%C3%A9%20%25%3F%23%2F");
        assert_eq!(percent_encode("aZ09-._~"), "aZ09-._~");
    }

    #[test]
    fn every_sample_has_its_family() {
        let board = Board::new("event", 2).unwrap();
        board.worker(1).add(Field::Served, 3);
        let text = metrics(&board);
        assert!(text.contains("\nkolam_requests_total 3\n"), "{text}");
        assert!(text.contains("\nkolam_worker_served_total{worker=\"1\"} 3\n"), "{text}");
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family = rest.split(' ').next().unwrap(),
                None => assert!(line.starts_with("# HELP ") || line.starts_with(family), "{line}"),
            }
        }
    }
}
