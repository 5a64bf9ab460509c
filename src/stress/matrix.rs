//! Which combinations are there? Three operations, some volumes, some numbers of clients and of server
//! workers: a row for each combination, the last of the four changing fastest, numbered within its table.
//! The assignment asks for 2 × 3 × 3 × 3 = 54 rows a mode. The same options make the same rows with the
//! same numbers.

use crate::cli::{Args, Failure, MODES, Opt, counted, opt, usage};
use crate::stress::forms::pairings;
use crate::stress::launch::Place;
use crate::stress::repeats::Repeats;
use crate::stress::shards;
use crate::stress::trace::{SCENE, Trace};
use crate::stress::words::Language;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a client worker can do.
const OPERATIONS: [&str; 3] = ["download", "upload", "list"];

#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt("--modes", "LIST", "server modes: single, thread, process, event (thread,process)"),
    opt("--client-mode", "LIST", "what the clients are: same, thread, process (same)"),
    opt("--ops", "LIST", "download, upload, list, in the order of the rows (download,upload)"),
    opt("--volumes", "LIST", "file sizes: 10 or 10MB is 10 MiB (10,50,100)"),
    opt("--clients", "LIST", "client workers (1,5,50)"),
    opt("--servers", "LIST", "server workers (1,5,50)"),
    opt("--number-from", "N", "number of the first row of each file (1)"),
    opt("--out", "DIR", "folder of the results (a new one in results)"),
    opt("--force", "", "replace the results that are in --out"),
    opt("--root", "DIR", "where the served files live (results, or --out)"),
    opt("--target", "HOST:PORT", "test this running server instead of our own"),
    opt("--timeout", "TIME", "longest wait of a client for the server to move (120)"),
    opt("--quick", "", "volumes 1,2,4; clients and servers 1,5"),
    opt("--lang", "LANG", "language of the report: en, or id for Indonesian (en)"),
    opt("--report", "", "make the page of `kolam report` at the end"),
    opt("--dry-run", "", "print the rows and do nothing"),
];

/// One combination of the matrix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Counted within its table, from `--number-from`.
    pub number: usize,
    /// Its table, and what the file of that is called; see `forms::pairings`.
    pub table: String,
    pub mode: &'static str,
    /// `thread` or `process`: what the client workers are.
    pub client_mode: &'static str,
    pub operation: &'static str,
    pub volume_mib: u64,
    pub clients: u64,
    pub servers: u64,
}

impl Row {
    /// Bytes of file content that cross when all goes well; LIST moves next to nothing.
    pub fn bytes(&self) -> u64 {
        match self.operation {
            "list" => 0,
            _ => (self.volume_mib << 20) * self.clients,
        }
    }
}

/// What a target says about itself in STATS. `None`: it does not say, or was not asked.
#[derive(Debug, Default)]
pub struct Told {
    pub mode: Option<&'static str>,
    /// Server workers, as many as an option may ask for.
    pub workers: Option<u64>,
    /// Connections that it serves at once, counted, for a target that does not tell its workers.
    pub at_once: Option<u64>,
}

/// Most workers of a server.
pub const MOST_SERVERS: u64 = 4096;

/// Modes, operations, volumes, clients and server workers, as in their options.
pub type Matrix = [&'static str; 5];

/// What runs by default, and with `--quick`.
const FULL: Matrix = [
    "thread,process",
    "download,upload",
    "10,50,100",
    "1,5,50",
    "1,5,50",
];
const QUICK: Matrix = ["thread,process", "download,upload", "1,2,4", "1,5", "1,5"];

/// The options of a run, checked.
pub struct Plan {
    pub modes: Vec<&'static str>,
    /// `thread`, `process`, or `same`: like the server. One of them at least.
    pub client_modes: Vec<&'static str>,
    /// In the order of the rows.
    pub operations: Vec<&'static str>,
    /// The number of the first row of each table.
    pub number_from: usize,
    /// File sizes in MiB, each once.
    pub volumes: Vec<u64>,
    clients: Vec<u64>,
    servers: Vec<u64>,
    /// The combinations of these.
    pub rows: Vec<Row>,
    /// Where the results go: into this folder itself if the user has named it, or into a new one in it.
    pub out: PathBuf,
    pub exact: bool,
    /// Results that are there may be replaced.
    pub force: bool,
    /// What is recorded of each client.
    pub trace: Trace,
    /// Make a page at the end. For the volume `report`.
    pub report: bool,
    /// Where the folder with the files is made.
    pub root: PathBuf,
    /// A server that we did not start.
    pub target: Option<SocketAddr>,
    pub repeats: Repeats,
    /// Where our own servers are.
    pub place: Place,
    /// Has the target told how many workers it has?
    pub tells: bool,
    /// Its mode or its number of workers is a guess: neither the target nor the user has told.
    pub guessed: bool,
    /// How long a client waits for its server to move.
    pub timeout: Duration,
    pub language: Language,
}

impl Plan {
    /// Reads it from the command line. What a target has `told` comes before any default, and an option
    /// that says otherwise is refused.
    pub fn from(args: &Args, told: &Told) -> Result<Plan, Failure> {
        let trace = Trace::from(args)?;
        let usual = match trace {
            Trace::Scene => SCENE,
            _ if args.has("--quick") => QUICK,
            _ => FULL,
        };
        let [_, operations, volumes, clients, _] = usual;
        let (modes, servers) = labels(args, told, usual);
        let out = args.path("--out").unwrap_or(Path::new("results"));
        let target = args.has("--target");
        let mode_is_known = told.mode.is_some() || args.has("--modes");
        let workers_are_known = told.workers.is_some() || args.has("--servers");
        let mut plan = Plan {
            modes: args.choices("--modes", modes, &MODES)?,
            client_modes: args.choices("--client-mode", "same", &["same", "thread", "process"])?,
            operations: args.choices("--ops", operations, &OPERATIONS)?,
            number_from: args.number("--number-from", 1, 1..=1_000_000)? as usize,
            volumes: args.mebibytes("--volumes", volumes, 1..=100_000)?,
            clients: args.numbers("--clients", clients, 1..=10_000)?,
            servers: args.numbers("--servers", &servers, 1..=MOST_SERVERS)?,
            rows: Vec::new(),
            out: out.to_owned(),
            exact: args.has("--out"),
            force: args.has("--force"),
            trace,
            report: args.has("--report") || trace == Trace::Scene,
            root: args.path("--root").unwrap_or(out).to_owned(),
            target: target
                .then(|| args.address("--target", "127.0.0.1:6666"))
                .transpose()?,
            repeats: Repeats::from(args)?,
            place: Place::from(args)?,
            tells: told.workers.is_some(),
            guessed: target && !(mode_is_known && workers_are_known),
            timeout: args.seconds("--timeout", 120.0)?,
            language: match args.choice("--lang", "en", &["en", "id"])? {
                "id" => Language::Indonesian,
                _ => Language::English,
            },
        };
        plan.check(args, told)?;
        plan.rows = shards::deal(args, plan.combine())?;
        Ok(plan)
    }

    /// Refuses what contradicts itself. A target has one mode and one number of workers; if it tells them,
    /// rows with others would be false.
    fn check(&self, args: &Args, told: &Told) -> Result<(), Failure> {
        let (modes, servers) = (self.modes.join(","), list(&self.servers));
        let workers = told
            .workers
            .map(|count| (count.to_string(), counted(count, "worker")));
        let labels = [
            (
                "--modes",
                "mode",
                &modes,
                told.mode.map(|mode| (mode.to_owned(), format!("mode {mode}"))),
            ),
            ("--servers", "number of workers", &servers, workers),
        ];
        for (option, what, typed, told) in labels {
            let Some(target) = args.text("--target") else {
                break;
            };
            if typed.contains(',') {
                return usage(format!(
                    "{option} {typed}: {target} is one running server and has one {what}; name it, or leave \
                     {option} out"
                ));
            }
            if let Some((label, truth)) = told
                && label != *typed
            {
                let remedy = format!("leave {option} out");
                return usage(format!(
                    "{option} {typed}: {target} says that it has {truth}; {remedy}"
                ));
            }
        }
        // A single server has one worker: an option with another number is refused, not corrected.
        let fits = self.servers == [1] || self.servers.contains(&1) && self.modes.len() > 1;
        let fits = fits || self.trace == Trace::Scene;
        if args.has("--servers") && self.modes.contains(&"single") && !fits {
            return usage(format!("--servers {servers}: --modes single has one worker"));
        }
        if self.force && !self.exact {
            return usage("--force replaces what is in --out DIR, which is missing");
        }
        Ok(())
    }

    /// All combinations, the last of the four changing fastest.
    fn combine(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (mode, client_mode, table) in pairings(&self.modes, &self.client_modes) {
            // A server in single mode has one worker, whatever the list says.
            let servers = if mode == "single" { &[1][..] } else { &self.servers };
            let before = rows.len();
            for &operation in &self.operations {
                for &volume_mib in &self.volumes {
                    for &clients in &self.clients {
                        for &servers in servers {
                            rows.push(Row {
                                number: rows.len() - before + self.number_from,
                                table: table.clone(),
                                mode,
                                client_mode,
                                operation,
                                volume_mib,
                                clients,
                                servers,
                            });
                        }
                    }
                }
            }
        }
        rows
    }

    /// The rows in one word: `full`, `quick`, `timeline`, `target`, or `custom` for any other choice.
    pub fn what(&self) -> &'static str {
        let chosen = self.matrix();
        let is = |[modes, operations, volumes, clients, servers]: Matrix| {
            let how = format!("--modes {modes} --client-mode same --ops {operations}");
            chosen == format!("{how} --volumes {volumes} --clients {clients} --servers {servers}")
        };
        match self.target {
            Some(_) => "target",
            None if self.trace == Trace::Scene => "timeline",
            None if is(FULL) => "full",
            None if is(QUICK) => "quick",
            None => "custom",
        }
    }

    /// The options that choose the rows, as one could type them.
    fn matrix(&self) -> String {
        let (modes, operations) = (self.modes.join(","), self.operations.join(","));
        let client_modes = self.client_modes.join(",");
        let [volumes, clients, servers] = [&self.volumes, &self.clients, &self.servers].map(|all| list(all));
        format!(
            "--modes {modes} --client-mode {client_modes} --ops {operations} --volumes {volumes} \
             --clients {clients} --servers {servers}"
        )
    }

    /// All options that matter to what is measured.
    pub fn options(&self) -> String {
        let (mut rows, timeout) = (self.matrix(), self.timeout.as_secs_f64());
        if self.number_from != 1 {
            rows += &format!(" --number-from {}", self.number_from);
        }
        rows += &self.repeats.options();
        rows += self.trace.option();
        match self.target {
            Some(target) => format!("{rows} --timeout {timeout} --target {target}"),
            None => format!("{rows} --timeout {timeout}"),
        }
    }

    /// Bytes of content that all rows move, each once.
    pub fn content(&self) -> u64 {
        self.rows.iter().map(Row::bytes).sum()
    }

    /// The rows that upload.
    pub fn uploads(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.operation == "upload")
    }

    /// Bytes that must fit below `root`: the sources, and the uploads of the largest row. Another machine
    /// stores both itself.
    pub fn space(&self) -> u64 {
        if !self.files_are_here() {
            return 0;
        }
        let sources: u64 = self.volumes.iter().map(|volume| volume << 20).sum();
        sources + self.uploads().map(Row::bytes).max().unwrap_or(0)
    }
}

/// The default modes and server workers: all that are worth comparing, or what a target has told. A target
/// that tells nothing has one mode and one number of workers: the simplest ones that agree with the user's
/// options and with what was counted.
fn labels(args: &Args, told: &Told, [modes, .., servers]: Matrix) -> (&'static str, String) {
    if !args.has("--target") {
        return (modes, servers.to_owned());
    }
    let workers = told.workers.or(told.at_once).unwrap_or(1).to_string();
    let simplest = match args.text("--servers").unwrap_or(&workers) {
        "1" => "single",
        _ => "thread",
    };
    (told.mode.unwrap_or(simplest), workers)
}

/// `1,5,50`
fn list(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;

    static COMMAND: Command = Command {
        name: "test",
        words: &[],
        about: "",
        options: &[OPTIONS],
        run: |_| Ok(()),
    };

    fn try_plan(line: &str) -> Result<Plan, Failure> {
        plan_of(line, &Told::default())
    }

    fn plan_of(line: &str, told: &Told) -> Result<Plan, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Plan::from(&Args::parse(&COMMAND, &words).unwrap().unwrap(), told)
    }

    fn plan(line: &str) -> Plan {
        try_plan(line).unwrap()
    }

    #[test]
    fn the_assignment_has_54_rows_a_mode_in_its_order() {
        let plan = plan("");
        assert_eq!(plan.rows.len(), 108);
        let numbers: Vec<usize> = plan.rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=54).chain(1..=54).collect::<Vec<_>>());
        let cells = |row: &Row| (row.mode, row.operation, row.volume_mib, row.clients, row.servers);
        let table = [
            (0, ("thread", "download", 10, 1, 1)),
            (1, ("thread", "download", 10, 1, 5)),
            (3, ("thread", "download", 10, 5, 1)),
            (9, ("thread", "download", 50, 1, 1)),
            (26, ("thread", "download", 100, 50, 50)),
            (27, ("thread", "upload", 10, 1, 1)),
            (107, ("process", "upload", 100, 50, 50)),
        ];
        for (at, expected) in table {
            assert_eq!(cells(&plan.rows[at]), expected);
        }
    }

    #[test]
    fn options_choose_the_rows() {
        let single = plan("--modes single");
        assert_eq!((single.rows.len(), single.rows[17].number), (18, 18));
        assert!(
            single
                .rows
                .iter()
                .all(|row| row.servers == 1 && row.client_mode == "thread")
        );
        let quick = plan("--quick --ops upload,list,download");
        assert_eq!((quick.rows.len(), quick.volumes), (72, vec![1, 2, 4]));
        let operations = [0, 12, 35].map(|at: usize| quick.rows[at].operation);
        assert_eq!(operations, ["upload", "list", "download"]);
        assert_eq!(plan("").rows[54].client_mode, "process");
        assert_eq!(plan("--client-mode thread").rows[54].client_mode, "thread");
        let numbers = |line: &str| plan(line).rows.iter().map(|row| row.number).collect::<Vec<_>>();
        assert_eq!(
            numbers("--number-from 55 --modes process"),
            (55..=108).collect::<Vec<_>>()
        );
        assert_eq!(
            numbers("--number-from 7 --ops list --volumes 1 --clients 1,2 --servers 1"),
            [7, 8, 7, 8]
        );
        let pairings = plan("--quick --ops list --client-mode same,thread,process");
        let tables = pairings.rows.chunk_by(|a, b| a.table == b.table);
        assert_eq!(
            tables
                .map(|rows| (rows.len(), rows[0].number))
                .collect::<Vec<_>>(),
            [(12, 1); 4]
        );
    }

    #[test]
    fn a_run_is_named_after_its_rows_and_not_after_its_options() {
        let table = [
            ("", "full"),
            ("--modes thread,process --root x --timeout 3", "full"),
            ("--quick", "quick"),
            ("--volumes 1,2,4 --clients 1,5 --servers 1,5", "quick"),
            ("--modes thread", "custom"),
            ("--client-mode process", "custom"),
            ("--quick --ops list", "custom"),
            ("--target 127.0.0.1:1", "target"),
        ];
        for (line, what) in table {
            assert_eq!(plan(line).what(), what, "{line}");
        }
        let options = "--modes single --client-mode same --ops download,upload --volumes 1,2,4 --clients 3 \
                       --servers 1 --timeout 0.5";
        assert_eq!(plan(&format!("--quick {options}")).options(), options);
        assert!(try_plan("--force").is_err());
    }

    #[test]
    fn a_single_server_has_one_worker_and_no_other_number_is_taken() {
        let table = [
            ("--modes single --servers 1", true),
            ("--modes single --servers 5", false),
            ("--modes single --servers 1,5", false),
            ("--modes single,thread --servers 1,5", true),
            ("--modes single,thread --servers 2,5", false),
            ("--modes thread --servers 5", true),
            ("--modes single --quick", true),
        ];
        for (line, good) in table {
            assert_eq!(try_plan(line).is_ok(), good, "{line}");
        }
    }

    #[test]
    fn a_target_has_the_labels_that_it_tells() {
        let told = Told {
            mode: Some("process"),
            workers: Some(3),
            at_once: None,
        };
        let table = [
            ("", true),
            ("--modes process --servers 3", true),
            ("--modes thread", false),
            ("--modes thread,process", false),
            ("--servers 3,5", false),
            ("--servers 5", false),
        ];
        for (options, good) in table {
            let plan = plan_of(&format!("--target 127.0.0.1:1 {options}"), &told);
            assert_eq!(plan.is_ok(), good, "{options}");
            let labels = |row: &Row| (row.mode, row.client_mode, row.servers) == ("process", "process", 3);
            assert!(
                plan.is_err() || plan.is_ok_and(|plan| plan.rows.len() == 18 && plan.rows.iter().all(labels))
            );
        }
    }

    #[test]
    fn a_target_that_tells_nothing_has_one_mode_and_one_number_of_workers() {
        let table = [
            ("", "single", 1, true),
            ("--modes thread", "thread", 1, true),
            ("--servers 5", "thread", 5, true),
            ("--servers 1", "single", 1, true),
            ("--modes process --servers 5", "process", 5, false),
        ];
        for (options, mode, servers, guessed) in table {
            let plan = plan(&format!("--target 127.0.0.1:1 {options}"));
            assert_eq!(
                (plan.rows.len(), plan.rows[0].mode, plan.rows[0].servers),
                (18, mode, servers)
            );
            assert_eq!(plan.guessed, guessed, "{options}");
        }
        // What was counted makes a better label than none.
        let told = Told {
            at_once: Some(4),
            ..Told::default()
        };
        let label = |options: &str| {
            let plan = plan_of(&format!("--target 127.0.0.1:1 {options}"), &told).unwrap();
            (plan.rows[0].mode, plan.rows[0].servers, plan.tells)
        };
        assert_eq!(label(""), ("thread", 4, false));
        assert_eq!(label("--servers 1"), ("single", 1, false));
        assert_eq!(label("--modes process"), ("process", 4, false));
    }

    #[test]
    fn space_is_that_of_the_sources_and_the_largest_upload() {
        assert_eq!(plan("").space(), (160 + 5000) << 20);
        assert_eq!(plan("--ops download").space(), 160 << 20);
        assert_eq!(plan("--target 127.0.0.1:1").space(), 0);
    }
}
