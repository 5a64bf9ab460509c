//! What becomes of the four servers of `examples/`, and of kolam, when 50 clients each download a file of 10
//! or of 100 MiB at the same time? Each server may have 4 GiB of memory, so that this machine survives; a
//! reply must begin or go on within 30 seconds.

use crate::goals::CsvRow;
use crate::run::{self, Outcome, Run, aligned, markdown};
use crate::system::{Server, within};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// The servers, and where the last one is told how to serve.
const SERVERS: [&str; 5] = ["naive", "threads", "pool", "prefork", "kolam"];

/// Address space of each process, in KiB: a quarter of what 50 clients of 100 MiB would make `threads` take.
const MEMORY_KIB: u64 = 4 << 20;

/// Between two looks at the memory of a server: what lives shorter is not seen.
const LOOK: Duration = Duration::from_millis(20);

const WIDTHS: [isize; 6] = [-8, 8, -10, -12, -9, -24];

pub fn measure() -> Outcome {
    let announcement = "5 servers, 50 clients, 10 and 100 MiB, about 3 min";
    run::run(
        "examples",
        &["table.md"],
        "memory 4 GiB, silence 30 s",
        announcement,
        |run| {
            run.progress.steps = 2 * SERVERS.len();
            let heads = ["server", "MiB", "seconds", "peak MiB", "failed", "how"];
            let mut table = format!(
                "{}.\n\n{}{}",
                run::measured_on(),
                markdown(&heads),
                markdown(&["---"; 6])
            );
            run.say(&aligned(&heads, &WIDTHS));
            for server in SERVERS {
                for mib in [10, 100] {
                    run.step(&format!("{server}, 50 clients, {mib} MiB"))?;
                    let row = row(run, server, mib)?;
                    run.say(&aligned(&row, &WIDTHS));
                    table += &markdown(&row);
                }
            }
            fs::write(run.out.join("table.md"), table)?;
            run.say(&format!("written to {}", run.out.join("table.md").display()));
            Ok(())
        },
    )
}

/// One server in a folder of its own, 50 clients, one size: what it took, and how it failed.
fn row(run: &mut Run, name: &str, mib: u64) -> Outcome<[String; 6]> {
    let folder = format!("{name}-{mib}");
    fs::create_dir(run.work.join(&folder))?;
    let mut server = start(run, name, &folder)?;
    let mut stress = run.command(&format!(
        "kolam stress --target {} --modes thread --servers 4 --ops download --clients 50 --volumes {mib} \
         --timeout 30 --out {folder}",
        server.address
    ));
    let (over, mut peak) = (AtomicBool::new(false), 0_f64);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(SeqCst) {
                peak = peak.max(server.peak_mib());
                thread::sleep(LOOK);
            }
        });
        let ended = stress.output();
        over.store(true, SeqCst);
        ended
    })?;
    let row = CsvRow::last(&run.work.join(&folder).join("thread.csv"))?;
    let mut how = row.text("errors").replace(';', ", ");
    // A server that is out of memory first gives it back, and ends only then.
    if !how.is_empty() {
        within(LOOK * 50, || server.process.has_ended());
    }
    if let Ok(Some(status)) = server.process.0.try_wait() {
        let log = fs::read_to_string(run.work.join(format!("{name}.log")))?;
        let is_memory = log.contains("memory allocation of");
        let why = if is_memory {
            "out of memory"
        } else {
            "the server ended"
        };
        how = format!("{why} ({status}): {how}");
    }
    fs::remove_dir_all(run.work.join(folder))?;
    let time = row
        .number("wall_s")
        .map_or("–".to_owned(), |time| format!("{time:.2}"));
    let failed = row.text("client_failed").to_owned();
    Ok([
        name.to_owned(),
        mib.to_string(),
        time,
        format!("{peak:.0}"),
        failed,
        how,
    ])
}

/// Four workers where they are to be chosen, as in the examples.
fn start(run: &Run, name: &str, folder: &str) -> Outcome<Server> {
    let built = Path::new(env!("CARGO_BIN_EXE_kolam")).with_file_name("examples");
    let program = match name {
        "kolam" => format!(
            "{} serve --quiet --mode thread --workers 4 --listen 127.0.0.1:0",
            run.kolam.display()
        ),
        _ => built.join(name).display().to_string(),
    };
    let mut command = run.command("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -c 0; ulimit -v {MEMORY_KIB}; exec {program}"));
    Server::start(run, name, command.current_dir(run.work.join(folder)))
}
