//! What does a user type first? Lines to begin with, for the help and the man page. A test parses each by the
//! tables, so that none is out of date. A comment at the end of a line names the volume that it needs.

/// A line for the shell, and what it does. The second word of the line is the command that it belongs to.
#[rustfmt::skip]
pub const EXAMPLES: &[(&str, &str)] = &[
    ("kolam serve --root files", "serve the folder files, by the file protocol"),
    ("kolam serve --protocol http --listen 127.0.0.1:8000", "the same for browsers and curl"), // http
    ("kolam serve --mode process --workers 5", "five worker processes"),
    ("kolam list", "the names of all files"),
    ("kolam list --server 192.0.2.7:6666", "those of another server"),
    ("kolam list --long --server http://127.0.0.1:8080", "with sizes and dates, over HTTP"),
    ("kolam download report.pdf", "into this folder, under its own name"),
    ("kolam download report.pdf -o - | wc -c", "into a pipe"),
    ("kolam download big.iso --resume --server http://127.0.0.1:8080", "go on after a break"),
    ("kolam upload report.pdf", "under its own name"),
    ("kolam upload *.pdf", "several files"),
    ("tar c photos | kolam upload - --as photos.tar", "what another program writes"),
    ("kolam delete report.pdf", "it cannot be brought back"),
    ("kolam stats", "what the server has counted"),
    ("kolam stats --json", "for programs"),
    ("kolam stress --quick", "a small run, in seconds"),
    ("kolam stress --modes thread,process --clients 50 --volumes 10MB", "a part of the whole"),
    ("kolam stress --target 127.0.0.1:6667 --quick", "another server"),
    ("kolam merge shard1 shard2 --out joined", "two halves of one run"),
    ("kolam balance --backend 127.0.0.1:6666 --backend 127.0.0.1:6667", "two as one"), // balance
    ("kolam balance --spawn 3 -- --root files", "three servers of its own"), // balance
    ("kolam bench base64", "how fast one core encodes and decodes"), // bench
    ("kolam bench http http://127.0.0.1:8080/ -n 1000 -c 10", "1000 requests, 10 at once"), // bench
    ("kolam check 127.0.0.1:6666", "what is wrong with that server"), // check
    ("kolam report", "pictures of the newest run"), // report
    ("kolam compare results/a results/b --threshold 0.9", "is b slower than a?"), // report
    ("kolam top --server 127.0.0.1:6666", "what each worker does now"),
    ("kolam top --once", "the same, once"),
    ("kolam completions fish > ~/.config/fish/completions/kolam.fish", "those of fish, for you"),
    ("kolam man | man -l -", "read the manual"),
];

/// The examples of a command.
pub fn examples(command: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    EXAMPLES.iter().filter(move |(line, _)| {
        let start = line.find("kolam ").map(|at| &line[at..]);
        start.and_then(|words| words.split(' ').nth(1)) == Some(command)
    })
}
