//! How do the figures of a pool become lines of a terminal? Two lines for the whole, broken where the window
//! ends, and one a worker; in a narrow window two for one that is busy. What a peer chose (names) and what
//! another server says is made visible first.

use super::{Pool, Watched, number, text};
use crate::cli::{cut, visible, visible_name, width};
use crate::json::Value;
use std::time::Duration;

/// Columns from which on a worker has all in one line.
const WIDE: usize = 72;

/// Columns of a bar, where there is room for one.
const BAR: usize = 12;

/// A server that has been silent for this long gets a line that says so.
const SILENT: Duration = Duration::from_millis(1500);

/// Each state as the server calls it, the word in the picture, and its colour (ECMA-48, SGR).
const STATES: [(&str, &str, &str); 5] = [
    ("busy", "busy", "1;32"),
    ("idle", "idle", "2"),
    ("waits", "waits", "33"),
    ("answers", "idle*", "2"),
    ("gone", "gone", "1;31"),
];

/// The picture. No line is wider than `columns`.
pub fn lines(watched: &Watched, columns: usize, colour: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, pool) in watched.pools.iter().enumerate() {
        if index > 0 {
            lines.push(String::new());
        }
        let trouble = watched.troubles.iter().find(|trouble| trouble.0 == pool.address);
        let silent = pool.at.elapsed();
        if let Some((_, why)) = trouble {
            lines.push(cut(&format!("! {why}"), columns));
        }
        if silent >= SILENT {
            let told = format!(
                "! no answer for {:.0} s; all workers may be held",
                silent.as_secs_f64()
            );
            lines.push(cut(&told, columns));
        }
        filled(&head(pool), columns, &mut lines);
        let now = pool.told.get("now").and_then(Value::as_array).unwrap_or_default();
        for (index, worker) in now.iter().enumerate() {
            worker_lines(index, worker, columns, colour, &mut lines);
        }
    }
    lines
}

/// What is true of the whole pool, in parts that are not broken.
fn head(pool: &Pool) -> Vec<String> {
    let told = &pool.told;
    let count = |key| number(told, key) as u64;
    let busy = |worker: &&Value| text(worker, "state") == "busy";
    let now = told.get("now").and_then(Value::as_array).unwrap_or_default();
    let rates = pool.rates().map(|[requests, bytes_in, bytes_out]| {
        let (bytes_in, bytes_out) = (size(bytes_in), size(bytes_out));
        [
            format!("{requests:.0} requests/s"),
            format!("in {bytes_in}/s"),
            format!("out {bytes_out}/s"),
        ]
    });
    let mut parts = vec![
        pool.address.to_string(),
        format!("{} mode", visible(text(told, "mode"))),
        format!("pid {}", count("pid")),
        format!("up {}", clock(number(told, "uptime"))),
        format!("{} of {} workers", count("alive"), count("workers")),
        format!("{} busy", now.iter().filter(busy).count()),
        format!("queue {}", count("queue")),
        format!("restarts {}", count("restarts")),
        format!("memory {}", size(number(told, "memory"))),
        format!("{} requests", count("requests")),
        format!("{} failed", count("failed")),
    ];
    parts.extend(rates.into_iter().flatten());
    parts
}

/// As many parts a line as fit.
fn filled(parts: &[String], columns: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    for part in parts {
        if !line.is_empty() && width(&line) + 2 + width(part) > columns {
            lines.push(cut(&std::mem::take(&mut line), columns));
        }
        line += if line.is_empty() { "" } else { "  " };
        line += part;
    }
    lines.push(cut(&line, columns));
}

/// ` 12    4711 busy  45 %  59.1 MiB   1.2 s GET big.bin  127.0.0.1:50312`
fn worker_lines(index: usize, worker: &Value, columns: usize, colour: bool, lines: &mut Vec<String>) {
    let state = text(worker, "state");
    let known = STATES.iter().find(|row| row.0 == state);
    let (word, code) = known.map_or(("?", ""), |row| (row.1, if colour { row.2 } else { "" }));
    let (done, total) = (number(worker, "bytes"), number(worker, "total"));
    let far = match worker.get("bytes") {
        None => [String::new(), String::new()],
        Some(_) if total <= 0.0 => [String::new(), size(done)],
        // The head of the reply crosses, too.
        Some(_) => [format!("{:.0} %", share(done, total) * 100.0), size(done)],
    };
    let time = match worker.get("seconds") {
        Some(_) => format!("{:.1} s", number(worker, "seconds")),
        None => String::new(),
    };
    let pid = number(worker, "pid") as u64;
    let figures = format!("{:>5}{:>10}{time:>8}", far[0], far[1]);
    let bar = match columns >= WIDE + 2 * BAR {
        true => format!(" {}", bar(done, total)),
        false => String::new(),
    };
    let (what, peer) = (what(worker), visible(text(worker, "peer")));
    let start = format!("{index:>3} {pid:>7} ");
    let line = format!("{start}{word:<5}{figures}{bar}");
    if columns >= WIDE {
        let room = columns.saturating_sub(width(&line) + 1 + 2 + width(&peer));
        let line = format!("{line} {}  {peer}", cut(&what, room));
        lines.push(painted(&cut(line.trim_end(), columns), &start, word, code));
        return;
    }
    lines.push(painted(&cut(line.trim_end(), columns), &start, word, code));
    if !what.is_empty() || !peer.is_empty() {
        let room = columns.saturating_sub(4 + 1 + width(&peer));
        lines.push(cut(
            format!("    {} {peer}", cut(&what, room)).trim_end(),
            columns,
        ));
    }
}

/// `line` with `word`, which follows `start`, in a colour; as it is when the window has cut the word.
fn painted(line: &str, start: &str, word: &str, code: &str) -> String {
    let rest = line.strip_prefix(start).and_then(|rest| rest.strip_prefix(word));
    match rest.filter(|_| !code.is_empty()) {
        Some(rest) => format!("{start}\x1b[{code}m{word}\x1b[0m{rest}"),
        None => line.to_owned(),
    }
}

/// What a worker does, in words.
fn what(worker: &Value) -> String {
    let request = match text(worker, "verb") {
        "" if text(worker, "state") == "busy" => "a request begins".to_owned(),
        "" if text(worker, "state") == "waits" => "connected, asks nothing".to_owned(),
        "" => String::new(),
        verb => format!("{} {}", visible(verb), visible_name(text(worker, "name"))),
    };
    match (
        number(worker, "connections") as u64,
        number(worker, "requests") as u64,
    ) {
        (0 | 1, _) => request,
        (connections, 0) => format!("{connections} connections"),
        (connections, requests) => format!("{request} ({requests} of {connections})"),
    }
}

/// How much is done, from 0 to 1.
fn share(done: f64, total: f64) -> f64 {
    if total > 0.0 {
        (done / total).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn bar(done: f64, total: f64) -> String {
    let filled = (share(done, total) * BAR as f64).round() as usize;
    let empty = if total > 0.0 { "░" } else { " " };
    "█".repeat(filled) + &empty.repeat(BAR - filled)
}

/// `5 B`, `1.0 KiB`
fn size(bytes: f64) -> String {
    let mut rest = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if rest < 1023.95 {
            let digits = usize::from(unit != "B");
            return format!("{rest:.digits$} {unit}");
        }
        rest /= 1024.0;
    }
    format!("{rest:.1} TiB")
}

/// Seconds as `0:03:12`.
fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::super::tests::value;
    use super::*;
    use std::net::SocketAddr;

    const TOLD: &str = r#"{"mode":"process","pid":4711,"started":"s","uptime":192.5,"workers":5,"alive":4,
        "restarts":1,"requests":1204,"failed":2,"bytes_in":5,"bytes_out":5,"queue":3,"memory":6396313,"now":[
        {"pid":4712,"state":"busy","connections":1,"requests":1,"verb":"GET","name":"big\u202e.bin",
         "bytes":61970841,"total":137713093,"peer":"127.0.0.1:50312","seconds":1.25},
        {"pid":4713,"state":"waits","connections":1,"requests":0,"peer":"127.0.0.1:5","seconds":2},
        {"pid":4714,"state":"busy","connections":12,"requests":3,"verb":"UPLOAD","name":"a b",
         "bytes":1024,"total":0,"peer":"[2001:db8::1]:65535","seconds":0.01},
        {"pid":4715,"state":"answers","connections":0,"requests":0},
        {"pid":0,"state":"gone","connections":0,"requests":0}]}"#;

    fn drawn(columns: usize, colour: bool) -> Vec<String> {
        let pool = Pool::new(SocketAddr::from(([127, 0, 0, 1], 6666)), value(TOLD));
        let watched = Watched {
            pools: vec![pool],
            troubles: Vec::new(),
        };
        lines(&watched, columns, colour)
    }

    #[test]
    fn a_wide_window_has_a_line_a_worker() {
        let expected = [
            "127.0.0.1:6666  process mode  pid 4711  up 0:03:12  4 of 5 workers  2 busy",
            "queue 3  restarts 1  memory 6.1 MiB  1204 requests  2 failed",
            "  0    4712 busy  45 %  59.1 MiB   1.2 s GET big\\u{202e}.bin  127.0.0.1:50312",
            "  1    4713 waits                  2.0 s connected, asks nothing  127.0.0.1:5",
            "  2    4714 busy         1.0 KiB   0.0 s UPLOAD a b (3 of …  [2001:db8::1]:65535",
            "  3    4715 idle*",
            "  4       0 gone",
        ];
        assert_eq!(drawn(80, false), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_window() {
        for columns in 1..200 {
            for line in drawn(columns, false) {
                assert!(width(&line) <= columns, "{columns}: {line}");
            }
        }
        let narrow = drawn(40, false);
        assert!(
            narrow.contains(&"    GET big\\u{202e}.bin 127.0.0.1:50312".to_owned()),
            "{narrow:?}"
        );
    }

    #[test]
    fn colours_change_nothing_else() {
        for columns in [20, 40, 80, 120] {
            let painted = drawn(columns, true);
            let plain: Vec<String> = painted
                .iter()
                .map(|line| {
                    let mut parts = line.split("\x1b[");
                    let first = parts.next().unwrap_or_default().to_owned();
                    parts.fold(first, |line, part| line + part.split_once('m').unwrap().1)
                })
                .collect();
            assert_eq!(plain, drawn(columns, false), "{columns}");
            assert!(
                columns < 20 || painted.join("").contains("\x1b[1;32mbusy\x1b[0m"),
                "{columns}"
            );
        }
    }
}
