//! What do all measurements share? A folder for each run, which tells how its results came to be; progress on
//! stderr; tables of aligned columns.

use super::system;
use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Why a run ends without success: the exit code, and a line unless it is empty.
#[derive(Debug)]
pub struct Failure(pub u8, pub String);

pub type Outcome<T = ()> = Result<T, Failure>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure(1, error.to_string())
    }
}

pub fn failed<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure(1, text.into()))
}

/// A mistake in a word or a variable.
pub fn usage<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure(2, text.into()))
}

/// The variable `name`; `default` where it is empty or missing.
pub fn setting(name: &str, default: &str) -> String {
    let given = env::var(name).ok().filter(|text| !text.is_empty());
    given.unwrap_or_else(|| default.to_owned())
}

/// The same as a number of at most seven digits.
pub fn number(name: &str, default: u64, least: u64) -> Outcome<u64> {
    let text = setting(name, &default.to_string());
    let is_number = text.len() <= 7 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number && number >= least => Ok(number),
        _ => usage(format!("{name}={text}: expected a number from {least} on")),
    }
}

/// `1 run`, `5 runs`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A time in words.
pub fn about(seconds: u64) -> String {
    match seconds {
        0..100 => format!("about {seconds} s"),
        _ => format!("about {} min", (seconds + 30) / 60),
    }
}

/// What a command line prints; `unknown` if that is nothing.
pub fn said(words: &str) -> String {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command.args(words).stderr(Stdio::null()).output();
    let text = output.map_or(Vec::new(), |output| output.stdout);
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    if text.is_empty() {
        "unknown".to_owned()
    } else {
        text
    }
}

/// Is a program installed?
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn processor() -> String {
    let list = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = list.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

/// The day and the machine, for the head of a table.
pub fn measured_on() -> String {
    let (day, cores, kernel) = (said("date -u +%Y-%m-%d"), said("nproc"), said("uname -r"));
    let kernel = kernel.split('-').next().unwrap_or_default();
    format!("Measured {day} on {}, {cores} cores, Linux {kernel}", processor())
}

// ---- The folder of a run ----

/// A run that has begun.
pub struct Run {
    /// Where the results go; empty: there are none.
    pub out: PathBuf,
    /// A folder in memory, gone after the run.
    pub work: PathBuf,
    /// The program that measures.
    pub kolam: PathBuf,
    /// The first lines of machine.txt: how the results came to be.
    machine: String,
    pub progress: Progress<io::Stderr>,
    /// Something has failed that a table can show, too.
    pub is_bad: bool,
}

/// Makes a folder for `results`, says `announcement` and where they go, runs `body`, and notes how it ended.
pub fn run(
    what: &'static str,
    results: &[&str],
    options: &str,
    announcement: &str,
    body: impl FnOnce(&mut Run) -> Outcome,
) -> Outcome {
    system::catch_signals();
    let mut out = PathBuf::new();
    if !results.is_empty() {
        let name = format!("{}-{what}", said("date -u +%Y-%m-%dT%H%M%S"));
        let force = setting("FORCE", "") == "yes";
        out = folder(Path::new("results"), &name, &setting("OUT", ""), results, force)?;
        eprintln!(
            "make {what}: {announcement}\nmake {what}: results go to {}",
            out.display()
        );
    }
    let shm = PathBuf::from(setting("SHM", "/dev/shm"));
    let memory = if shm.is_dir() { shm } else { env::temp_dir() };
    let work = memory.join(format!("kolam-{what}-{}", std::process::id()));
    fs::create_dir(&work)?;
    let kolam = PathBuf::from(setting("KOLAM", env!("CARGO_BIN_EXE_kolam")));
    let columns = io::stderr()
        .is_terminal()
        .then_some(terminal_columns as fn() -> usize);
    let mut run = Run {
        machine: machine(what, &kolam, options),
        out,
        work,
        kolam: fs::canonicalize(kolam)?,
        progress: Progress::new(io::stderr(), columns),
        is_bad: false,
    };
    let outcome = run.note("state    running\n").and_then(|()| body(&mut run));
    let interrupted = system::interrupted().map(|code| Err(Failure(code, String::new())));
    let outcome = interrupted.unwrap_or(outcome);
    run.progress.wipe();
    let state = match &outcome {
        Ok(()) => "complete".to_owned(),
        Err(Failure(129 | 130 | 143, _)) => "interrupted".to_owned(),
        Err(Failure(code, _)) => format!("failed: exit code {code}"),
    };
    let ended = said("date -u +%Y-%m-%dT%H:%M:%SZ");
    run.note(&format!("ended    {ended}\nstate    {state}\n"))?;
    fs::remove_dir_all(&run.work)?;
    outcome
}

/// The folder `given`, which must not hold `results` unless they may be replaced; where that is empty, a new
/// one of this name. Another run may have begun in the same second: then it gets a number.
pub fn folder(parent: &Path, name: &str, given: &str, results: &[&str], force: bool) -> Outcome<PathBuf> {
    if given.is_empty() {
        fs::create_dir_all(parent)?;
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        for name in [name.to_owned()].into_iter().chain(numbered) {
            match fs::create_dir(parent.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return Ok(made.map(|()| parent.join(name))?),
            }
        }
    }
    let out = PathBuf::from(given);
    if let Some(there) = results.iter().find(|name| out.join(name).exists() && !force) {
        let remedy = "name another folder, or set FORCE=yes to replace it";
        return failed(format!("OUT={given}: {there} is there already; {remedy}"));
    }
    fs::create_dir_all(&out).or_else(|error| failed(format!("OUT={given}: {error}")))?;
    results
        .iter()
        .for_each(|name| drop(fs::remove_file(out.join(name))));
    Ok(out)
}

fn machine(what: &str, kolam: &Path, options: &str) -> String {
    let version = said(&format!("{} --version", kolam.display()));
    let commit = said("git --no-optional-locks describe --always --dirty --abbrev=12 --exclude=*");
    let (cores, kernel, start) = (
        said("nproc"),
        said("uname -r"),
        said("date -u +%Y-%m-%dT%H:%M:%SZ"),
    );
    format!(
        "version  {version}\ncommit   {commit}\ncpu      {}\ncores    {cores}\nkernel   {kernel}\n\
         command  make {what}\noptions  {options}\nstarted  {start}\n",
        processor()
    )
}

impl Run {
    /// Writes machine.txt, in one step.
    fn note(&self, state: &str) -> Outcome {
        if self.out.as_os_str().is_empty() {
            return Ok(());
        }
        let hidden = self.out.join(".machine.txt");
        fs::write(&hidden, self.machine.clone() + state)?;
        Ok(fs::rename(hidden, self.out.join("machine.txt"))?)
    }

    /// The next step begins. Here, too, a signal ends the run.
    pub fn step(&mut self, text: &str) -> Outcome {
        self.progress.step(text);
        system::interrupted().map_or(Ok(()), |code| Err(Failure(code, String::new())))
    }

    /// A line of results on stdout.
    pub fn say(&mut self, text: &str) {
        self.progress.wipe();
        // Figures that are not read are still written to the folder of the run.
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// A command line, to be run in the folder for work; `kolam` is the program that measures.
    pub fn command(&self, words: &str) -> Command {
        let mut words = words.split_whitespace();
        let program = words.next().unwrap_or_default();
        let kolam = self.kolam.as_os_str();
        let mut command = Command::new(if program == "kolam" {
            kolam
        } else {
            program.as_ref()
        });
        command.args(words).current_dir(&self.work).stdin(Stdio::null());
        command
    }

    /// Runs a command line to its end. What it says on stderr comes after it, if it says anything: on a
    /// terminal its own live line would be drawn over ours.
    pub fn quietly(&mut self, words: &str) -> Outcome<Output> {
        let output = self.command(words).output()?;
        if let Some(code) = system::interrupted() {
            return Err(Failure(code, String::new()));
        }
        if !output.stderr.is_empty() {
            self.progress.wipe();
            io::stderr().write_all(&output.stderr)?;
        }
        Ok(output)
    }
}

// ---- Progress, on stderr: a line a step, on a terminal always the same line ----

pub struct Progress<W: Write> {
    pub out: W,
    /// How many columns the terminal has now; `None`: it is no terminal.
    columns: Option<fn() -> usize>,
    number: usize,
    pub steps: usize,
    text: String,
    /// Characters that stand in the line now.
    drawn: usize,
}

impl<W: Write> Progress<W> {
    pub fn new(out: W, columns: Option<fn() -> usize>) -> Progress<W> {
        Progress {
            out,
            columns,
            number: 0,
            steps: 0,
            text: String::new(),
            drawn: 0,
        }
    }

    /// The next step begins.
    pub fn step(&mut self, text: &str) {
        self.number += 1;
        self.text = format!("[{}/{}] {text}", self.number, self.steps);
        let line = format!("{} ...", self.text);
        match self.columns {
            Some(_) => self.draw(&line),
            None => drop(writeln!(self.out, "{line}")),
        }
    }

    /// What the step is at; only for a terminal.
    pub fn detail(&mut self, text: &str) {
        self.draw(&format!("{}, {text} ...", self.text));
    }

    /// Blanks wipe the rest of the line: no escape sequence is needed for that. The last column stays free,
    /// because some terminals begin a new row when it is written to.
    fn draw(&mut self, text: &str) {
        let Some(columns) = self.columns else { return };
        let room = columns().saturating_sub(1);
        let text: String = text.chars().take(room).collect();
        let wide = self.drawn.min(room);
        let _ = write!(self.out, "\r{text:<wide$}\r").and_then(|()| self.out.flush());
        self.drawn = text.chars().count();
    }

    /// The line is needed for something else.
    pub fn wipe(&mut self) {
        if self.drawn > 0 {
            self.draw("");
        }
    }
}

/// COLUMNS, or what the terminal says (`stty` looks at its stdin), or 80.
fn terminal_columns() -> usize {
    let stty = || {
        let terminal = fs::File::open("/proc/self/fd/2").ok()?;
        let output = Command::new("stty").arg("size").stdin(terminal).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().nth(1)?.parse().ok()
    };
    let given = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let columns = given.or_else(stty);
    columns
        .filter(|columns| (1..10_000).contains(columns))
        .unwrap_or(80)
}

// ---- Tables ----

/// A line of cells in columns of those widths, by characters; a negative one is aligned to the left.
pub fn aligned<T: AsRef<str>>(cells: &[T], widths: &[isize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let (cell, wide) = (cell.as_ref(), width.unsigned_abs());
        line += &if *width < 0 {
            format!("{cell:<wide$} ")
        } else {
            format!("{cell:>wide$} ")
        };
    }
    line.trim_end().to_owned()
}

/// A row of a Markdown table.
pub fn markdown<T: AsRef<str>>(cells: &[T]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}
