//! Does this project reach what it has set itself? Every goal is measured, beside a peer where there is one,
//! and is one row of the table below. A peer that is not installed is left out, and its rows say so.

use crate::run::{self, Outcome, Run, about, aligned, has, markdown, number, said, setting, usage};
use crate::system::{Process, Server, eventually, first_number, free_address, raise_descriptor_limit};
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// All goals, in the order in which they are measured: for which words the row is repeated, each in the place
/// of `%`; what; our figure and its unit; the peer and its figure; how large our figure must be, or, where
/// there is a peer, its ratio to the peer's.
const GOALS: &str = "
[base64]
encode decode | base64 avx512 % | % GB/s | memcpy: memcpy | ≥ 0.8
[transfers]
thread process | download 100 MiB × 5, % | %.download.5.100 GB/s | iperf3: wire.5 | ≥ 1.0
thread process | download 100 MiB × 5, % | %.download.5.100 GB/s | nginx, curl: nginx.get.5 | ≥ 1.0
thread process | download 100 MiB × 1, % | %.download.1.100 GB/s | iperf3: wire.1 | ≥ 0.6
thread process | download 100 MiB × 50, % | %.download.50.100 GB/s | iperf3: wire.50 | ≥ 0.9
thread process | upload 100 MiB × 5, % | %.upload.5.100 GB/s | nginx PUT, curl: nginx.put.5 | ≥ 1.3
thread process | upload 100 MiB × 1, % | %.upload.1.100 GB/s | iperf3: wire.1 | ≥ 0.5
thread process | upload 100 MiB × 50, % | %.upload.50.100 GB/s | nginx PUT, curl: nginx.put.50 | ≥ 1.3
thread event | memory, download 100 MiB × 50, % | %.download.50.100.rss MiB | | ≤ 32
thread event | memory, download 10 MiB × 50, % | %.download.50.10.rss MiB | | ≤ 32
thread event | memory, upload 100 MiB × 50, % | %.upload.50.100.rss MiB | | ≤ 32
thread event | memory, upload 10 MiB × 50, % | %.upload.50.10.rss MiB | | ≤ 32
process | memory, download 100 MiB × 50, % | %.download.50.100.rss MiB | | ≤ 64
process | memory, download 10 MiB × 50, % | %.download.50.10.rss MiB | | ≤ 64
process | memory, upload 100 MiB × 50, % | %.upload.50.100.rss MiB | | ≤ 64
process | memory, upload 10 MiB × 50, % | %.upload.50.10.rss MiB | | ≤ 64
thread process event | growth, download 100 : 10 MiB × 5, % | %.download.5.100.wall s | 10 MiB: %.download.5.10.wall | ≤ 11
thread process event | growth, upload 100 : 10 MiB × 5, % | %.upload.5.100.wall s | 10 MiB: %.upload.5.10.wall | ≤ 11
[requests]
thread process | request of 1 byte, kept connection, % | %.kept µs | | ≤ 100
thread process | request of 1 byte, new connection, % | %.new µs | | ≤ 100
[http]
1 10 100 | HTTP, 1 KiB, c = %, event, 2 workers | event.% requests/s | nginx: nginx.% | ≥ 1.0
1 10 100 | HTTP, 1 KiB, c = %, thread, 4 workers | thread.% requests/s | nginx: nginx.% | ≥ 0.8
1000 | HTTP, 1 KiB, c = %, event | event.% requests/s | nginx: nginx.% | ≥ 1.0
50 5000 | HTTP, 1 KiB, kept, c = %, event | event.%k requests/s | nginx: nginx.%k | ≥ 1.0
event | HTTP, memory after all of these, % | %.rss MiB | nginx: nginx.rss | ≤ 1.0
event thread | HTTP, 100 MiB × 5, % | %.get.5 GB/s | nginx, curl: nginx.get.5 | ≥ 1.0
1 10 100 | balancer, 1 KiB, c = % | balancer.% requests/s | HAProxy: haproxy.% | ≥ 1.0
5 | balancer, 100 MiB × % | balancer.get.% GB/s | HAProxy: haproxy.get.% | ≥ 1.0
[lists]
LIST GET | % of 100,000 files: first byte | %.first ms | | ≤ 50
LIST GET | % of 100,000 files: memory each | %.memory MiB | | ≤ 1
[idle]
event | 10,000 idle connections, %, 2 workers | idle MiB | | ≤ 32
[start]
process | start to ready, %, 50 workers | start ms | | ≤ 30
binary | % | % MiB | | ≤ 1.5
[build]
clean | % release build | build s | | ≤ 25
[matrix]
108 | all % rows, every byte compared | matrix s | | ≤ 120
";

/// Bytes of the large file.
const LARGE: usize = 100 << 20;

/// Widths of what, figure, goal and reached on a terminal.
const WIDTHS: [isize; 4] = [-44, 12, 7, -12];

/// Figures by name, one a round.
#[derive(Default)]
struct Figures(HashMap<String, Vec<f64>>);

impl Figures {
    /// Nothing is noted for what was not to be measured.
    fn note(&mut self, name: &str, figure: Option<f64>) {
        self.0.entry(name.to_owned()).or_default().extend(figure);
    }

    /// The figure in the middle; of memory, the largest.
    fn get(&self, name: &str) -> Option<f64> {
        let mut sorted = self.0.get(name)?.clone();
        sorted.sort_by(f64::total_cmp);
        let is_memory = name.ends_with(".rss");
        let middle = sorted.len().saturating_sub(1) / 2;
        sorted
            .get(if is_memory {
                sorted.len().saturating_sub(1)
            } else {
                middle
            })
            .copied()
    }
}

/// Measures a section, in so many rounds.
type Measure = fn(&mut Run, &mut Figures, u64) -> Outcome;

const SECTIONS: [(&str, Measure); 9] = [
    ("base64", base64),
    ("transfers", transfers),
    ("requests", requests_of_one_byte),
    ("http", http),
    ("lists", lists),
    ("idle", idle),
    ("start", start),
    ("build", build),
    ("matrix", all_rows),
];

pub fn measure() -> Outcome {
    let (rounds, matrix, peers) = (
        number("ROUNDS", 5, 1)?,
        setting("MATRIX", ""),
        setting("PEERS", ""),
    );
    if rounds > 999 {
        return usage(format!("ROUNDS={rounds}: expected a number from 1 to 999"));
    }
    if peers == "install" {
        // What is not there afterwards is left out.
        said("apt-get update -qq");
        said("apt-get install -y -qq iperf3 nginx-full haproxy apache2-utils curl");
    }
    let sections = SECTIONS.len() - usize::from(matrix != "yes");
    let time = about(60 + 45 * rounds + if matrix == "yes" { 60 } else { 0 });
    let announcement =
        format!("every goal, beside its peer where that is installed, medians of {rounds} rounds; {time}");
    let options = format!("ROUNDS={rounds} MATRIX={matrix} PEERS={peers}");
    run::run("bench", &["table.md"], &options, &announcement, |run| {
        // Five steps in each round of transfers, two in one of HTTP, two lists, one in each of the others.
        run.progress.steps = sections - 2 + 1 + 7 * rounds as usize;
        let title = format!("{}, files in memory, medians of {rounds}.", run::measured_on());
        let head = markdown(&["what", "ours", "peer", "figure", "goal", "reached"]);
        fs::write(
            run.out.join("table.md"),
            format!("{title}\n\n{head}{}", markdown(&["---"; 6])),
        )?;
        run.say(&format!("{title}\n"));
        run.say(&aligned(&["what", "figure", "goal", "reached"], &WIDTHS));
        let mut figures = Figures::default();
        for (section, measure) in &SECTIONS[..sections] {
            measure(run, &mut figures, rounds)?;
            judge(run, &figures, section)?;
        }
        run.say("\nfigure: the ratio to the peer where there is one (its own figures are in the table)");
        run.say(&format!("written to {}", run.out.join("table.md").display()));
        Ok(())
    })
}

/// Prints the rows of a section, and adds them to the table.
fn judge(run: &mut Run, figures: &Figures, section: &str) -> Outcome {
    let mut table = fs::read_to_string(run.out.join("table.md"))?;
    let rows = GOALS.split('[').find(|rows| rows.starts_with(section));
    for row in rows.unwrap_or_default().lines().skip(1) {
        for word in row.split(" |").next().unwrap_or_default().split_whitespace() {
            let row = row.replace('%', word);
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let (what, goal) = (cells[1], cells[4]);
            let (name, unit) = cells[2].split_once(' ').unwrap_or_default();
            let (peer, its_name) = cells[3].split_once(": ").unwrap_or_default();
            let shown =
                |figure: Option<f64>| figure.map_or("–".to_owned(), |figure| format!("{figure:.2} {unit}"));
            let (ours, its) = (figures.get(name), figures.get(its_name));
            let ratio = ours.zip(its).map(|(ours, its)| ours / its);
            let figure = if peer.is_empty() { ours } else { ratio };
            let reached = reached(figure, goal);
            let figure = figure.map_or(String::new(), |figure| format!("{figure:.2}"));
            let ours = shown(ours);
            let brief = if peer.is_empty() { &ours } else { &figure };
            run.say(&aligned(&[what, brief, goal, reached], &WIDTHS));
            let peer = if peer.is_empty() {
                String::new()
            } else {
                format!("{peer} {}", shown(its))
            };
            let reached = reached.replace("missed", "**missed**");
            table += &markdown(&[what, &ours, &peer, &figure, goal, &reached]);
        }
    }
    Ok(fs::write(run.out.join("table.md"), table)?)
}

/// Is a figure within a goal, such as `≥ 0.8` or `≤ 32`?
fn reached(figure: Option<f64>, goal: &str) -> &'static str {
    let (sign, limit) = goal.split_once(' ').unwrap_or_default();
    match (figure, limit.parse::<f64>()) {
        (Some(figure), Ok(limit)) if (sign == "≥" && figure >= limit) || (sign == "≤" && figure <= limit) => {
            "yes"
        }
        (Some(_), Ok(_)) => "missed",
        _ => "not measured",
    }
}

// ---- What is measured, in the order of the sections ----

/// Beside copying the same bytes, which nothing can beat by much. The other loops are in base64.txt: they
/// have no peer here, and figures from another machine say nothing.
fn base64(run: &mut Run, figures: &mut Figures, _: u64) -> Outcome {
    run.step("base64")?;
    run.quietly("kolam bench base64")?;
    let output = run.quietly("kolam bench base64")?.stdout;
    fs::write(run.out.join("base64.txt"), &output)?;
    let text = String::from_utf8_lossy(&output);
    let line = text.lines().find_map(|line| line.strip_prefix("avx512"));
    let cells = line.unwrap_or_default().split_whitespace();
    for (name, cell) in ["encode", "decode", "memcpy"].iter().zip(cells) {
        figures.note(name, cell.parse().ok());
    }
    Ok(())
}

fn transfers(run: &mut Run, figures: &mut Figures, rounds: u64) -> Outcome {
    fs::create_dir(run.work.join("www"))?;
    let mut content = vec![0; LARGE];
    fs::File::open("/dev/urandom")?.read_exact(&mut content)?;
    fs::write(run.work.join("www/100MiB.bin"), &content)?;
    fs::write(run.work.join("www/1KiB.bin"), &content[..1024])?;
    let nginx = nginx(run)?;
    for round in 1..=rounds {
        for clients in [1, 5, 50] {
            let servers = if clients == 5 { 5 } else { 50 };
            run.step(&format!(
                "transfers, round {round} of {rounds}: 100 MiB × {clients}, beside iperf3 and nginx"
            ))?;
            wire(run, figures, clients)?;
            for (operation, verb) in [("download", "get"), ("upload", "put")] {
                ours(run, figures, "thread", operation, (clients, servers, 100))?;
                ours(run, figures, "process", operation, (clients, servers, 100))?;
                if let Some(nginx) = nginx
                    .as_ref()
                    .filter(|_| clients == 5 || clients == 50 && verb == "put")
                {
                    raw(run, figures, &format!("nginx.{verb}.{clients}"), nginx, clients)?;
                }
            }
        }
        for operation in ["download", "upload"] {
            let step = format!("transfers, round {round} of {rounds}: {operation}s of 10 MiB, event mode");
            run.step(&step)?;
            for (mode, mib) in [("thread", 10), ("process", 10), ("event", 10), ("event", 100)] {
                ours(run, figures, mode, operation, (5, 5, mib))?;
                ours(run, figures, mode, operation, (50, 50, mib))?;
            }
        }
    }
    Ok(())
}

/// A row of the stress test, with so many clients, servers and MiB: rate, memory and time.
fn ours(
    run: &mut Run,
    figures: &mut Figures,
    mode: &str,
    operation: &str,
    sizes: (u64, u64, u64),
) -> Outcome {
    let (clients, servers, mib) = sizes;
    run.quietly(&format!(
        "kolam stress --modes {mode} --ops {operation} --clients {clients} --servers {servers} \
         --volumes {mib} --root . --out row --force"
    ))?;
    let row = CsvRow::last(&run.work.join(format!("row/{mode}.csv")))?;
    let name = format!("{mode}.{operation}.{clients}.{mib}");
    figures.note(&name, row.number("total_Bps").map(|rate| rate / 1e9));
    figures.note(
        &format!("{name}.rss"),
        row.number("server_peak_rss_kib").map(|kib| kib / 1024.0),
    );
    figures.note(&format!("{name}.wall"), row.number("wall_s"));
    Ok(())
}

/// The last row of a CSV file, by the names of its columns.
pub struct CsvRow(HashMap<String, String>);

impl CsvRow {
    pub fn last(path: &Path) -> Outcome<CsvRow> {
        let text = fs::read_to_string(path)?;
        let cells = |line: Option<&str>| -> Vec<String> {
            line.unwrap_or_default().split(',').map(str::to_owned).collect()
        };
        let names = cells(text.lines().next());
        Ok(CsvRow(
            names.into_iter().zip(cells(text.lines().last())).collect(),
        ))
    }

    pub fn text(&self, column: &str) -> &str {
        self.0.get(column).map_or("", String::as_str)
    }

    pub fn number(&self, column: &str) -> Option<f64> {
        self.text(column).parse().ok()
    }
}

/// What iperf3 moves in two seconds.
fn wire(run: &Run, figures: &mut Figures, streams: u64) -> Outcome {
    if !has("iperf3") {
        return Ok(());
    }
    let port = free_address()?.port();
    let mut server = run.command(&format!("iperf3 -s -1 -p {port}"));
    let mut server = Process::start(server.stdout(Stdio::null()))?;
    let mut rate = None;
    // Refused until the server listens.
    eventually(|| {
        let text = said(&format!("iperf3 -c 127.0.0.1 -p {port} -P {streams} -t 2 -f k"));
        let line = text
            .lines()
            .rfind(|line| line.contains("receiver"))
            .unwrap_or_default();
        let before = line.split(" Kbits/sec").next().unwrap_or_default();
        rate = before
            .split_whitespace()
            .last()
            .and_then(|figure| figure.parse::<f64>().ok());
        rate.is_some() || server.has_ended()
    });
    figures.note(
        &format!("wire.{streams}"),
        rate.map(|kilobits| kilobits * 125.0 / 1e9),
    );
    Ok(())
}

/// So many curls at once; the name says whether they get or put the large file.
fn raw(run: &Run, figures: &mut Figures, name: &str, server: &Server, clients: u64) -> Outcome {
    if !has("curl") {
        return Ok(());
    }
    let (mut curls, mut good, start) = (Vec::new(), true, Instant::now());
    for index in 0..clients {
        let (get, put) = (
            server.url("/100MiB.bin"),
            server.url(&format!("/put-{index}.bin")),
        );
        let words = match name.contains(".put.") {
            true => format!("curl -s -f -T www/100MiB.bin {put}"),
            false => format!("curl -s -f -o /dev/null {get}"),
        };
        curls.push(Process::start(run.command(&words).stdout(Stdio::null()))?);
    }
    for curl in &mut curls {
        good &= curl.0.wait()?.success();
    }
    let rate = (clients * LARGE as u64) as f64 / start.elapsed().as_secs_f64() / 1e9;
    figures.note(name, Some(rate).filter(|_| good));
    (0..clients).for_each(|index| drop(fs::remove_file(run.work.join(format!("www/put-{index}.bin")))));
    Ok(())
}

fn requests_of_one_byte(run: &mut Run, figures: &mut Figures, _: u64) -> Outcome {
    run.step("requests of one byte")?;
    fs::create_dir(run.work.join("small"))?;
    fs::write(run.work.join("small/one"), "x")?;
    for mode in ["thread", "process"] {
        let server = Server::kolam(
            run,
            mode,
            &format!("serve --mode {mode} --workers 5 --root small"),
        )?;
        let output = run
            .quietly(&format!("kolam bench request --server {}", server.address))?
            .stdout;
        fs::write(run.out.join(format!("request-{mode}.txt")), &output)?;
        for kind in ["kept", "new"] {
            let micros = first_number(&String::from_utf8_lossy(&output), kind);
            figures.note(&format!("{mode}.{kind}"), micros);
        }
    }
    Ok(())
}

/// HTTP and the balancer: a small file, a new connection for each request unless they are kept; and a large
/// one.
fn http(run: &mut Run, figures: &mut Figures, rounds: u64) -> Outcome {
    let mut all = Vec::new();
    for (mode, workers) in [("event", 2), ("thread", 4)] {
        let words =
            format!("serve --protocol http --mode {mode} --workers {workers} --max-connections 10000");
        all.push((mode, Server::kolam(run, mode, &(words + " --root www"))?));
    }
    if let Some(nginx) = nginx(run)? {
        let words = format!("balance --workers 2 --backend {}", nginx.address);
        all.push(("balancer", Server::kolam(run, "balancer", &words)?));
        all.extend(haproxy(run, nginx.address)?.map(|haproxy| ("haproxy", haproxy)));
        all.push(("nginx", nginx));
    }
    for round in 1..=rounds {
        run.step(&format!(
            "HTTP and the balancer, round {round} of {rounds}, beside nginx and HAProxy"
        ))?;
        for connections in [1, 10, 100] {
            for (name, server) in &all {
                requests(run, figures, name, server, (connections, false))?;
            }
        }
        for (name, server) in &all {
            raw(run, figures, &format!("{name}.get.5"), server, 5)?;
        }
        run.step(&format!(
            "HTTP, many connections, round {round} of {rounds}, beside nginx"
        ))?;
        for load in [(50, true), (1000, false), (5000, true)] {
            for (name, server) in all.iter().filter(|(name, _)| ["event", "nginx"].contains(name)) {
                requests(run, figures, name, server, load)?;
                figures.note(&format!("{name}.rss"), Some(server.peak_mib()));
            }
        }
    }
    Ok(())
}

/// Requests a second with so many connections, kept or not: by `ab` where it is installed, with up to 100 of
/// them; it is too slow for more.
fn requests(run: &mut Run, figures: &mut Figures, name: &str, server: &Server, load: (u64, bool)) -> Outcome {
    let (connections, keep) = load;
    let total = 10_000.max(20 * connections);
    let words = format!(
        "-n {total} -c {connections}{} {}",
        if keep { " -k" } else { "" },
        server.url("/1KiB.bin")
    );
    let rate = if has("ab") && connections <= 100 {
        let text = said(&format!("ab -q {words}"));
        let bad =
            ["Failed requests:", "Non-2xx responses:"].map(|title| first_number(&text, title).unwrap_or(0.0));
        first_number(&text, "Requests per second:").filter(|_| bad == [0.0; 2])
    } else {
        let output = run.quietly(&format!("kolam bench http {words} --csv"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = text.split(',').nth(5).and_then(|rate| rate.parse().ok());
        rate.filter(|_| output.status.success())
    };
    figures.note(
        &format!("{name}.{connections}{}", if keep { "k" } else { "" }),
        rate,
    );
    Ok(())
}

/// A folder of 100,000 files, listed in both protocols: the first byte, and what each of 50 clients costs
/// that does not read on.
fn lists(run: &mut Run, figures: &mut Figures, rounds: u64) -> Outcome {
    fs::create_dir(run.work.join("many"))?;
    for number in 0..100_000 {
        fs::write(run.work.join(format!("many/file-{number:06}.bin")), "")?;
    }
    let get = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    for (name, protocol, request) in [("LIST", "file", "LIST\n"), ("GET", "http", get)] {
        run.step(&format!("{name} of 100,000 files"))?;
        let words = format!("serve --protocol {protocol} --mode event --workers 2 --root many");
        let server = Server::kolam(run, name, &words)?;
        let first_byte = || -> Outcome<(TcpStream, f64)> {
            let mut client = TcpStream::connect(server.address)?;
            let start = Instant::now();
            client.write_all(request.as_bytes())?;
            client.read_exact(&mut [0])?;
            Ok((client, start.elapsed().as_secs_f64() * 1e3))
        };
        for _ in 0..rounds {
            figures.note(&format!("{name}.first"), Some(first_byte()?.1));
        }
        let before = server.peak_mib();
        let clients = (0..50).map(|_| first_byte()).collect::<Outcome<Vec<_>>>()?;
        let each = (server.peak_mib() - before) / clients.len() as f64;
        figures.note(&format!("{name}.memory"), Some(each));
    }
    Ok(())
}

/// Memory of a server that has ten thousand idle connections.
fn idle(run: &mut Run, figures: &mut Figures, _: u64) -> Outcome {
    run.step("10,000 idle connections")?;
    if raise_descriptor_limit() < 10_100 {
        return Ok(());
    }
    let words = "serve --mode event --workers 2 --max-connections 20000 --root small";
    let server = Server::kolam(run, "idle", words)?;
    let connect = |_| TcpStream::connect(server.address);
    let mut clients = (0..10_000).map(connect).collect::<Result<Vec<TcpStream>, _>>()?;
    // Until it has taken them all.
    let taken = eventually(|| {
        let mut reply = [0; 16 * 1024];
        let asked = clients[0]
            .write_all(b"STATS\n")
            .and_then(|()| clients[0].read(&mut reply));
        String::from_utf8_lossy(&reply[..asked.unwrap_or(0)]).contains("\"connections\":10000,")
    });
    figures.note("idle", Some(server.peak_mib()).filter(|_| taken));
    Ok(())
}

fn start(run: &mut Run, figures: &mut Figures, rounds: u64) -> Outcome {
    run.step("start to ready, 50 processes")?;
    for _ in 0..rounds {
        let start = Instant::now();
        let server = Server::kolam(run, "start", "serve --mode process --workers 50 --root small")?;
        figures.note("start", Some(start.elapsed().as_secs_f64() * 1e3));
        drop(server);
    }
    let bytes = fs::metadata(&run.kolam)?.len();
    figures.note("binary", Some(bytes as f64 / f64::from(1 << 20)));
    Ok(())
}

fn build(run: &mut Run, figures: &mut Figures, _: u64) -> Outcome {
    run.step("a clean release build")?;
    let start = Instant::now();
    let (manifest, target) = (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "target");
    let words = "cargo build --release --locked --offline --quiet";
    let output = run.quietly(&format!(
        "{words} --target-dir {target} --manifest-path {manifest}"
    ))?;
    figures.note(
        "build",
        Some(start.elapsed().as_secs_f64()).filter(|_| output.status.success()),
    );
    Ok(())
}

fn all_rows(run: &mut Run, figures: &mut Figures, _: u64) -> Outcome {
    run.step("all 108 rows")?;
    let (start, out) = (Instant::now(), fs::canonicalize(&run.out)?);
    let output = run.quietly(&format!("kolam stress --force --root . --out {}", out.display()))?;
    fs::write(run.out.join("matrix.txt"), &output.stdout)?;
    figures.note(
        "matrix",
        Some(start.elapsed().as_secs_f64()).filter(|_| output.status.success()),
    );
    Ok(())
}

// ---- Peers ----

/// nginx with two workers and no log: GET and PUT of raw files below `www`.
fn nginx(run: &Run) -> Outcome<Option<Server>> {
    let address = free_address()?;
    let mut modules = String::new();
    for folder in ["/usr/share/nginx/modules-available", "/etc/nginx/modules-enabled"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            if text.contains("dav") && !modules.contains(&text) {
                modules += &text;
            }
        }
    }
    let work = run.work.display();
    let text = format!(
        "{modules}
worker_processes 2; worker_rlimit_nofile 20000; daemon off; pid {work}/nginx.pid; error_log {work}/nginx.err;
user root;
events {{ worker_connections 10000; }}
http {{ access_log off; sendfile on; keepalive_requests 1000000; client_max_body_size 0;
    client_body_temp_path {work}/body;
    server {{ listen {address} backlog=4096; root {work}/www; location / {{ dav_methods PUT DELETE; }} }} }}
"
    );
    fs::write(run.work.join("nginx.conf"), text)?;
    Server::peer(run, &format!("nginx -c {work}/nginx.conf"), address)
}

/// HAProxy in front of a server, as TCP, with two threads.
fn haproxy(run: &Run, server: SocketAddr) -> Outcome<Option<Server>> {
    let address = free_address()?;
    let text = format!(
        "global
    nbthread 2
    maxconn 4096
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen front
    bind {address}
    server back {server}
"
    );
    fs::write(run.work.join("haproxy.cfg"), text)?;
    Server::peer(run, "haproxy -q -db -f haproxy.cfg", address)
}
