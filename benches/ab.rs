//! How many requests do the HTTP servers answer, with 1 to 100 connections at once? Two tables: event-mode
//! servers behind the balancer, and the thread-mode server. Where Apache's `ab` is installed, it takes turns
//! with our own load generator, and the tables show both.

use crate::run::{self, Outcome, Run, about, aligned, counted, failed, has, markdown, number, said, setting};
use crate::system::{Server, first_number};
use std::fs;

const LEVELS: [u64; 7] = [1, 5, 10, 30, 50, 75, 100];

/// Bytes of the file that is asked for.
const FILE_BYTES: usize = 1024;

/// The columns, and what the tables for people call them; those of `ab` are the last five.
const NAMES: &str = "no,concurrency,time_s,complete,failed,transferred_bytes,requests_per_s,\
    time_per_request_ms,\
    time_per_request_all_ms,transfer_KiBps,p50_ms,p90_ms,p99_ms,max_ms,\
    ab_failed,ab_requests_per_s,ab_time_per_request_ms,ab_time_per_request_all_ms,ratio_to_ab";
const TITLES: &str = "No test,Concurrency level,Time taken for test (seconds),Complete request,\
    Failed request,\
    Total transferred (bytes),Request per second,Time per request (ms),\
    Time per request (ms; across all concurrent requests),Transfer rate (Kbytes/sec),\
    p50 (ms),p90 (ms),p99 (ms),max (ms),\
    ab: failed request,ab: request per second,ab: time per request (ms),\
    ab: time per request (ms; across all concurrent requests),ratio to ab";

/// The two halves in which a terminal shows a table: headings, where their third column is among all, widths.
type Half = (&'static str, usize, &'static [isize]);
const HALVES: [Half; 2] = [
    (
        "no c time_s complete failed bytes requests/s ms ms_all KiB/s",
        2,
        &[2, 4, 8, 8, 6, 10, 10, 7, 6, 9],
    ),
    (
        "no c p50 p90 p99 max ab_fail ab_req/s ab_ms ab_all ratio",
        10,
        &[2, 3, 7, 7, 8, 8, 7, 9, 8, 6, 5],
    ),
];

type Cells = Vec<String>;

struct Plan {
    backends: u64,
    workers: u64,
    requests: u64,
    rounds: u64,
    /// `ab` takes its turns.
    ab: bool,
    /// What serves and balances.
    server: String,
}

impl Plan {
    /// A table without `ab` has fewer columns.
    fn columns(&self, all: &'static str) -> Vec<&'static str> {
        all.split(',').take(if self.ab { 19 } else { 14 }).collect()
    }
}

pub fn measure() -> Outcome {
    let plan = Plan {
        backends: number("BACKENDS", 3, 1)?,
        workers: number("W", 4, 1)?,
        requests: number("N", 1000, 100)?,
        rounds: number("ROUNDS", 5, 1)?,
        ab: has("ab"),
        server: setting("SERVING_KOLAM", "kolam"),
    };
    let Plan {
        backends,
        workers,
        requests,
        rounds,
        ..
    } = plan;
    let (steps, tools) = (2 * LEVELS.len(), if plan.ab { "kolam, ab" } else { "kolam" });
    // Those before the first round too. Small machines answer about 12,000 a second.
    let all = steps as u64 * (200 + rounds * requests * if plan.ab { 2 } else { 1 });
    let (runs, time) = (counted(rounds, "run"), about(all / 12_000 + 1));
    let announcement = format!("{steps} rows, each {runs} of {requests} requests with {tools}: {time}");
    let options = format!("N={requests} ROUNDS={rounds} BACKENDS={backends} W={workers}");
    let results = ["balancer.csv", "thread.csv", "tables.md"];
    run::run("ab", &results, &options, &announcement, |run| {
        run.progress.steps = steps;
        fs::create_dir(run.work.join("files"))?;
        fs::write(run.work.join("files/file.txt"), "x".repeat(FILE_BYTES))?;
        let tables = [behind_the_balancer(run, &plan)?, alone(run, &plan)?];
        fs::write(run.out.join("tables.md"), heading(&plan) + &tables.concat())?;
        run.say("\nc: concurrency   ms, ab_ms: time per request   KiB/s: transfer rate");
        run.say("ms_all, ab_all: time per request, across all concurrent requests");
        run.say("p50 ... max: within so many ms half of the requests, 90 %, 99 %, all were over");
        if plan.ab {
            run.say("ratio: requests a second, kolam's divided by ab's");
        }
        run.say(&format!("written to {} (*.csv, tables.md)", run.out.display()));
        match run.is_bad {
            true => failed("a request has failed or a cell is empty; see above"),
            false => Ok(()),
        }
    })
}

fn behind_the_balancer(run: &mut Run, plan: &Plan) -> Outcome<String> {
    let mut servers = Vec::new();
    let mut words = "balance".to_owned();
    for index in 1..=plan.backends {
        let server = serve(run, plan, &format!("event-{index}"), "event", 1)?;
        words += &format!(" --backend {}", server.address);
        servers.push(server);
    }
    let balancer = Server::program(run, &plan.server, "balancer", &words)?;
    let title = format!(
        "{} behind the balancer",
        counted(plan.backends, "event-mode server")
    );
    table(run, plan, "balancer", &title, &balancer)
}

fn alone(run: &mut Run, plan: &Plan) -> Outcome<String> {
    let server = serve(run, plan, "thread", "thread", plan.workers)?;
    let title = format!("Thread-mode server, {}", counted(plan.workers, "worker"));
    table(run, plan, "thread", &title, &server)
}

fn serve(run: &Run, plan: &Plan, name: &str, mode: &str, workers: u64) -> Outcome<Server> {
    let words = format!("serve --protocol http --mode {mode} --workers {workers} --root files");
    Server::program(run, &plan.server, name, &words)
}

/// Measures a table, writes it to `NAME.csv`, shows it, and returns it as Markdown.
fn table(run: &mut Run, plan: &Plan, name: &str, title: &str, server: &Server) -> Outcome<String> {
    let mut rows = Vec::new();
    for (index, level) in LEVELS.into_iter().enumerate() {
        let tools = if plan.ab { "kolam, ab" } else { "kolam" };
        run.step(&format!("{name}, c = {level}: {tools}"))?;
        rows.push(row(run, plan, index + 1, level, &server.url("/file.txt"))?);
    }
    let lines: String = rows.iter().map(|row| row.join(",") + "\n").collect();
    let names = plan.columns(NAMES);
    fs::write(
        run.out.join(format!("{name}.csv")),
        names.join(",") + "\n" + &lines,
    )?;
    for row in &rows {
        for (name, cell) in names.iter().zip(row) {
            if cell.is_empty() || name.contains("failed") && cell != "0" {
                run.progress.wipe();
                eprintln!("make ab: {title}: row {}: {name} is {cell:?}", row[0]);
                run.is_bad = true;
            }
        }
    }
    show(run, title, &rows);
    let titles = plan.columns(TITLES);
    let lines = rows.iter().map(|row| markdown(row)).collect::<String>();
    let head = markdown(&titles) + &markdown(&vec!["---:"; titles.len()]);
    Ok(format!("\n## {title}\n\n{head}{lines}"))
}

fn row(run: &mut Run, plan: &Plan, number: usize, level: u64, url: &str) -> Outcome<Cells> {
    // The first requests pay for what all others find ready. If they fail, so will the others.
    run.command(&format!("kolam bench http {url} -n 200 -c {level}"))
        .output()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        run.progress.detail(&format!("round {round} of {}", plan.rounds));
        let words = format!("-n {} -c {level} {url}", plan.requests);
        let output = run.quietly(&format!("kolam bench http {words} --csv"))?.stdout;
        let cells = String::from_utf8_lossy(&output).trim_end().to_owned();
        ours.push(cells.split(',').map(str::to_owned).collect());
        if plan.ab {
            theirs.push(by_ab(&words));
        }
    }
    let mut row = vec![number.to_string()];
    row.extend(shown(ours, 5, 3));
    // Even where nothing was measured the cells stand below their names.
    row.resize(14, String::new());
    if plan.ab {
        row.extend(shown(theirs, 1, 0));
        let [ours, theirs] = [6, 15].map(|column| row[column].parse().unwrap_or(0.0));
        let ratio: f64 = ours / theirs;
        row.push(if ratio.is_normal() {
            format!("{ratio:.2}")
        } else {
            String::new()
        });
    }
    Ok(row)
}

/// Failed, requests a second, both times per request.
fn by_ab(words: &str) -> Cells {
    let text = said(&format!("ab -q {words}"));
    let rate = first_number(&text, "Requests per second:");
    let each = first_number(&text, "Time per request:");
    // The rate has "(mean)" before a line of that name, too.
    let (_, after) = text.rsplit_once("(mean)\nTime per request:").unwrap_or_default();
    let all = first_number(after, "");
    // It counts other statuses than 2xx apart from what it calls failed.
    let failed = first_number(&text, "Failed requests:");
    let failed = failed.map(|failed| failed + first_number(&text, "Non-2xx responses:").unwrap_or(0.0));
    let cells = [failed, rate, each, all];
    cells
        .map(|figure| figure.map_or(String::new(), |figure| figure.to_string()))
        .to_vec()
}

/// Of some lines the one in the middle by a column, or the first with failures.
fn shown(mut lines: Vec<Cells>, by: usize, failures: usize) -> Cells {
    let figure = |line: &Cells| line.get(by).and_then(|cell| cell.parse().ok()).unwrap_or(0.0);
    lines.sort_by(|a, b| f64::total_cmp(&figure(a), &figure(b)));
    let bad = lines
        .iter()
        .position(|line| line.get(failures).is_none_or(|count| count != "0"));
    let middle = (lines.len() - 1) / 2;
    lines.swap_remove(bad.unwrap_or(middle))
}

fn heading(plan: &Plan) -> String {
    let (machine, runs) = (run::measured_on(), counted(plan.rounds, "run"));
    let text = format!(
        "{machine}: {} requests a row for a file of {FILE_BYTES} bytes, a new connection for each, \
         the middle one of {runs}.\n",
        plan.requests
    );
    let said = said("ab -V");
    let version = said
        .split("Version ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    match version.filter(|_| plan.ab) {
        Some(version) => text + &format!("ab is Version {version}, taking turns with kolam.\n"),
        None => text,
    }
}

/// A table for a terminal, in two halves that fit into 80 columns.
fn show(run: &mut Run, title: &str, rows: &[Cells]) {
    run.say(&format!("\n{title}"));
    for (headings, third, widths) in HALVES {
        let is_second = third > 2;
        if is_second {
            run.say("");
        }
        let count = (rows[0].len() - third + 2).min(widths.len());
        let headings: Vec<&str> = headings.split(' ').take(count).collect();
        run.say(&aligned(&headings, widths));
        for row in rows {
            let cells = row[..2].iter().chain(&row[third..]).zip(widths);
            let cells: Vec<&str> = cells.map(|(cell, width)| fitting(cell, *width)).collect();
            run.say(&aligned(&cells, widths));
        }
    }
}

/// A figure that is too long for its column, without some or all of what follows its point.
fn fitting(cell: &str, width: isize) -> &str {
    let point = cell.find('.').unwrap_or(cell.len());
    let most = width.unsigned_abs().max(point).min(cell.len());
    cell[..most].trim_end_matches('.')
}
