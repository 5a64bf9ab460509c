//! Does the program keep what it promises? Each promise (`promises.rs`) is a figure with a limit, measured with the
//! real program while something is killed, filled up, slowed down or lied to: a row each, and exit code 1 when
//! one is broken.
//!
//! The invariant: each promise runs in a process of its own, in namespaces of its own where the system allows
//! it (unshare(1)). Whatever it starts, mounts or slows down is gone with that process, also when it panics,
//! takes too long, or the run is interrupted.

// Helpers of a test may fail like the test itself.
#![allow(clippy::unwrap_used)]

mod backends; // the balancer and its servers
mod faulty; // system calls that fail, panics
mod files; // uploads, disks, names
mod limits; // time, memory, descriptors
mod memory; // large files
mod outside; // names, power
mod peers; // clients that vanish, many requests
mod promises; // the table
mod site; // servers and balancers under test
mod stops; // signals
mod suite; // what the black-box tests show
mod table; // rows, in a terminal and in Markdown
mod tools; // what the system is asked for
mod trial; // what one promise is given and gives back
mod workers; // pools, supervisors

#[allow(dead_code)]
#[path = "../run.rs"]
mod run;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/it/support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../system.rs"]
mod system;

use promises::{PROMISES, Promise};
use run::{Failure, Outcome, Run, failed, setting, usage};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, panic};
use system::Process;
use table::Row;
use tools::Need;
use trial::{Trial, Verdict};

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [] => all(),
        ["one", number] => one(number),
        _ => usage("expected no word; ONLY=5,12 chooses promises"),
    };
    let Err(Failure(code, text)) = outcome else {
        return ExitCode::SUCCESS;
    };
    if !text.is_empty() {
        eprintln!("make torture: {text}");
    }
    ExitCode::from(code)
}

// ---- The run ----

/// Tries the promises of ONLY, or all.
fn all() -> Outcome {
    let (chosen, scale) = (chosen()?, scale()?);
    let doc = setting("DOC", "");
    if !doc.is_empty() && (chosen.len() < PROMISES.len() || scale < 1.0) {
        return usage(format!(
            "DOC={doc}: only a full run goes there; leave out ONLY and SCALE"
        ));
    }
    let options = format!("ONLY={} SCALE={scale}", setting("ONLY", "all"));
    let time: u64 = chosen.iter().map(|promise| promise.seconds).sum();
    let time = run::about((time as f64 * scale) as u64 + 1);
    let announcement = format!("{}, {time} at most", run::counted(chosen.len() as u64, "promise"));
    run::run("torture", &["table.md"], &options, &announcement, |run| {
        run.progress.steps = chosen.len();
        let mut rows = Vec::new();
        for promise in chosen {
            run.step(&format!("{}: {}", promise.number, promise.says))?;
            let row = measure(run, promise, scale)?;
            run.say(&row.shown());
            rows.push(row);
            // After each row: a run that is interrupted leaves what it has found.
            fs::write(run.out.join("table.md"), table::markdown(&rows, scale))?;
        }
        if !doc.is_empty() {
            table::put_into(Path::new(&doc), &rows)?;
        }
        let broken = rows.iter().filter(|row| row.is_broken()).count();
        run.say(&format!("\n{}", table::summary(&rows)));
        run.say(&format!("written to {}", run.out.join("table.md").display()));
        match broken {
            0 => Ok(()),
            _ => failed(format!("{broken} of {} promises broken; see above", rows.len())),
        }
    })
}

/// The promises of ONLY.
fn chosen() -> Outcome<Vec<&'static Promise>> {
    let only = setting("ONLY", "");
    if only.is_empty() {
        return Ok(PROMISES.iter().collect());
    }
    let find = |word: &str| {
        let number: u32 = word.trim().parse().unwrap_or(0);
        let found = PROMISES.iter().find(|promise| promise.number == number);
        found.map_or_else(
            || {
                usage(format!(
                    "ONLY={only}: no promise {word}; they are 1 to {}",
                    PROMISES.len()
                ))
            },
            Ok,
        )
    };
    only.split(',').map(find).collect()
}

/// The part of all counts that is tried: less than 1 is for work on this program, and no full run.
fn scale() -> Outcome<f64> {
    let text = setting("SCALE", "1");
    match text.parse() {
        Ok(scale) if (0.001..=1.0).contains(&scale) => Ok(scale),
        _ => usage(format!("SCALE={text}: expected a part of the counts, 0.001 to 1")),
    }
}

/// Tries one promise in a process of its own.
fn measure(run: &mut Run, promise: &'static Promise, scale: f64) -> Outcome<Row> {
    let began = Instant::now();
    let verdict = match promise.needs.iter().find_map(|need| need.lacks()) {
        Some(why) => Verdict::Skipped(why),
        None => attempt(run, promise, scale)?,
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(Row {
        promise,
        verdict,
        seconds,
    })
}

fn attempt(run: &mut Run, promise: &Promise, scale: f64) -> Outcome<Verdict> {
    let (log, room) = (run.work.join("log"), run.work.join("room"));
    let name = run.work.file_name().unwrap_or_default().to_owned();
    let disk = env::temp_dir().join(format!("{}-disk", name.display()));
    fs::create_dir(&disk)?;
    fs::create_dir(&room)?;
    let mut command = tools::isolated(&env::current_exe()?);
    command
        .args(["one", &promise.number.to_string()])
        .current_dir(&room);
    // Most folders are in memory, so that no disk is what is measured.
    let folders = if promise.needs.contains(&Need::Disk) {
        &disk
    } else {
        &room
    };
    command.env("TMPDIR", folders).env("TORTURE_NAME", &name);
    command.env("SCALE", scale.to_string()).env("RUST_BACKTRACE", "0");
    command.stderr(File::create(&log)?).stdout(Stdio::piped());
    let verdict = watch(&mut command, Duration::from_secs(promise.seconds));
    tools::remove_cgroup(&name);
    tools::unbound_writeback(&room);
    for folder in [&disk, &room] {
        fs::remove_dir_all(folder)?;
    }
    let verdict = verdict?;
    if matches!(verdict, Verdict::Broken(_)) {
        let kept = run.out.join(format!("{}.log", promise.number));
        fs::copy(&log, &kept)?;
    }
    Ok(verdict)
}

/// Waits for the process of a promise; its last line on stdout is the verdict.
fn watch(command: &mut Command, limit: Duration) -> Outcome<Verdict> {
    let mut process = Process::start(command)?;
    let in_time = system::within(limit, || process.has_ended() || system::interrupted().is_some());
    // The first process of a namespace ignores what it does not handle, and all others end with it.
    process.signal(libc::SIGKILL);
    if let Some(code) = system::interrupted() {
        return Err(Failure(code, String::new()));
    }
    if !in_time {
        return Ok(Verdict::Broken(format!("not over after {} s", limit.as_secs())));
    }
    let mut text = String::new();
    let stdout = process.0.stdout.take();
    // Some of what it has started may still have its stdout for a moment.
    stdout.map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut text))?;
    let verdict = text.lines().last().and_then(Verdict::parse);
    Ok(verdict.unwrap_or_else(|| Verdict::Broken("it ended without a verdict".to_owned())))
}

// ---- One promise, in its own process ----

fn one(number: &str) -> Outcome {
    let found = PROMISES
        .iter()
        .find(|promise| promise.number.to_string() == number);
    let Some(promise) = found else {
        return usage(format!("no promise {number}"));
    };
    tools::begin();
    let trial = Trial::new(scale()?);
    let verdict = panic::catch_unwind(|| (promise.test)(trial));
    let verdict = verdict.unwrap_or_else(|cause| Verdict::Broken(trial::message(&*cause)));
    Ok(writeln!(io::stdout(), "{}", verdict.line())?)
}
