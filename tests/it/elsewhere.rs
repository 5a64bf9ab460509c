//! The stress test on several machines: servers that a command starts elsewhere, between two network
//! namespaces where root may make them, and rows that are dealt out and joined again.

use crate::support::*;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Longest wait for a whole tiny matrix, on a machine that does other things.
const LONG: Duration = Duration::from_secs(50);

const MIB: f64 = 1_048_576.0;

/// A tester whose rows' servers are started by `launch`, with their files in `root`.
fn launch(out: &Folder, root: &Folder, launch: &str, words: &str) -> Command {
    let launch = launch.replace("{}", &format!("{{}} --root {}", root.path().display()));
    let mut command = kolam(words);
    command.args(["--launch", &launch, "--out", &out.word("run")]);
    command
}

/// The cells of some columns, row by row, without the line of titles.
fn cells(file: &Path, titles: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let places = titles
        .split(' ')
        .map(|title| head.iter().position(|found| *found == title).expect(title));
    let places: Vec<usize> = places.collect();
    let row = |line: Vec<&str>| places.iter().map(|at| line[*at]).collect::<Vec<_>>().join(" ");
    lines.map(row).collect()
}

/// Waits until no process has the folder in its command line. Another's path may begin with the same letters.
#[track_caller]
fn wait_for_the_end_in(root: &Folder) {
    let path = root.path().display();
    let words = ["\0", "/", " "].map(|after| format!("{path}{after}"));
    let none = || words.iter().all(|word| processes(word.as_bytes()).is_empty());
    eventually("all processes have ended", none);
}

/// No such process is left, and nothing is in the folder.
#[track_caller]
fn assert_nothing_left(root: &Folder) {
    wait_for_the_end_in(root);
    assert_eq!(root.names(), Vec::<String>::new());
}

// ---- servers elsewhere ----

#[test]
fn a_launched_server_fills_the_same_table_and_leaves_nothing() {
    each_case_at_once(
        &["single", "thread", "process", "event"],
        &["file"],
        |case, out| {
            let root = Folder::new();
            let servers = if case.mode == "single" { "1" } else { "2" };
            let words = format!(
                "stress --repeat 1 --modes {} --ops download,upload,list --volumes 1 --clients 1,3 \
                 --servers {servers}",
                case.mode
            );
            // What a login says stands before what we wait for, and a word in quotes reaches the command.
            let command = "echo welcome; echo 'kolam is here'; env \"A=b c\" {}";
            let ended = Run::start(&mut launch(out, &root, command, &words)).finish(LONG);
            ended.ok();
            ended.says(&[
                &format!("launch     {command}").replace("{}", "{} --root"),
                "\nlimit      ",
            ]);
            let file = out.join("run").join(format!("{}.csv", case.mode));
            let counted = cells(&file, "client_ok client_failed server_ok server_failed errors");
            let row = |clients: u32| format!("{clients} 0 {servers} 0 ");
            assert_eq!(counted, [row(1), row(3), row(1), row(3), row(1), row(3)]);
            for row in cells(&file, "server_peak_rss_kib server_cpu_s") {
                let (peak, cpu) = row.split_once(' ').unwrap();
                assert!(
                    peak.parse::<u64>().unwrap() > 100 && cpu.parse::<f64>().unwrap() > 0.0,
                    "{row}"
                );
            }
            let machine = fs::read_to_string(out.join("run/machine.txt")).unwrap();
            let here = machine.lines().find(|line| line.starts_with("cpu ")).unwrap();
            let about = [
                format!("server   {here}"),
                "server   root on".to_owned(),
                "wire ".to_owned(),
            ];
            for line in about.iter().chain([&"launch   echo welcome; ".to_owned()]) {
                assert!(
                    machine.lines().any(|found| found.starts_with(line)),
                    "no {line} in {machine}"
                );
            }
            assert_nothing_left(&root);
        },
    );
}

#[test]
fn a_command_that_gives_no_server_is_told_with_what_it_said() {
    let table = "\
        true # {}            => --launch ended with code 0: true
        echo hm; exit 3 # {} => no server was ready: --launch ended with code 3: echo hm
        kill -9 $$ # {}      => --launch was killed
        no-such-program {}   => not found | --launch ended with code 127
        {} < /dev/null       => --as-server ends with its stdin | docker run: with -i | ended with code 1
        {} --at 192.0.2.1:0  => --at 192.0.2.1:0: Cannot assign requested address
        {} --volumes 0       => --volumes 0: expected different numbers of MiB | --launch ended with code 2
        sleep 61.5 # {}      => --launch took more than 1s (--timeout): sleep 61.5
        {} --at 127.0.0.1:0 > /dev/null => --launch took more than 1s";
    let rows: Vec<_> = rows(table).collect();
    thread::scope(|scope| {
        for (command, told) in rows {
            scope.spawn(move || {
                let (out, root) = (Folder::new(), Folder::new());
                let silent = told.contains("more than 1s");
                let words = format!("stress --quick --timeout {}", if silent { 1 } else { 20 });
                let mut command = launch(&out, &root, command, &words);
                let ended = Run::start(command.stdin(Stdio::null())).finish(LONG);
                assert_eq!(ended.code, Some(1), "{ended:?}");
                assert_has(&ended.stderr, &told.split(" | ").collect::<Vec<_>>());
                // Refused before there is a folder of results.
                assert_eq!(out.names(), Vec::<String>::new());
                assert_nothing_left(&root);
            });
        }
    });
    assert!(processes(b"sleep\x0061.5").is_empty(), "a command goes on");
}

#[test]
fn an_address_that_leads_nowhere_is_named() {
    let (out, root, port) = (Folder::new(), Folder::new(), nobody());
    let mut command = launch(&out, &root, "{} --at 127.0.0.1:0", "stress --quick");
    let ended = Run::start(command.args(["--launch-address", &port.to_string()])).finish(LONG);
    let told = format!("--launch-address {port}: ");
    ended.failed(1, &[&told, "refused"]);
    assert_nothing_left(&root);
}

#[test]
fn whatever_ends_the_tester_ends_the_server_too() {
    thread::scope(|scope| {
        for (number, code) in [
            (libc::SIGINT, Some(130)),
            (libc::SIGTERM, Some(130)),
            (libc::SIGKILL, None),
        ] {
            scope.spawn(move || {
                let (out, root) = (Folder::new(), Folder::new());
                let words = "stress --modes process --volumes 20 --ops upload --clients 50 --servers 50";
                let run = Run::start(&mut launch(&out, &root, "{}", words));
                within(LONG, "a row's server runs", || {
                    let files = fs::read_dir(root.path()).unwrap().flatten();
                    let mut inner = files.filter_map(|folder| fs::read_dir(folder.path()).ok());
                    inner.any(|inner| inner.count() > 3)
                });
                run.signal(number);
                let ended = run.finish(LONG);
                assert_eq!(ended.code, code, "{ended:?}");
                assert_nothing_left(&root);
            });
        }
    });
}

/// `--as-server row`, by hand; returns it when it is ready.
fn as_server(root: &Folder, words: &str) -> Running {
    let words = format!(
        "stress --as-server row --modes process --ops list --volumes 1 --clients 1 --servers 2 {words} --root"
    );
    let mut command = kolam(words);
    command
        .arg(root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = Running::spawn(&mut command);
    running.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let ready = |line: String| line.starts_with("kolam listening on 127.0.0.1:");
    assert!(lines.any(|line| ready(line.unwrap())), "it does not become ready");
    running
}

#[test]
fn a_server_elsewhere_ends_with_its_pipe_or_after_long_silence() {
    let root = Folder::new();
    let mut closed = as_server(&root, "");
    assert_eq!(root.names().len(), 1);
    drop(closed.0.stdin.take());
    assert_eq!(closed.wait(PATIENCE).code(), Some(0));
    assert_nothing_left(&root);
    // The pipe stays open, as it does for hours when a wire was cut; no client comes.
    let mut silent = as_server(&root, "--timeout 0.2");
    assert_eq!(silent.wait(PATIENCE).code(), Some(0));
    assert_nothing_left(&root);
    // Killed, it takes its server with it. Its files go when the next one begins there.
    let killed = as_server(&root, "");
    killed.signal(libc::SIGKILL);
    wait_for_the_end_in(&root);
    assert_eq!(root.names().len(), 1);
    let mut next = as_server(&root, "");
    drop(next.0.stdin.take());
    next.wait(PATIENCE);
    assert_nothing_left(&root);
}

// ---- two network namespaces ----

/// Two network namespaces with a wire of 1 Gbit/s between them. Each lives as long as a process that
/// ends with its stdin, a pipe of this process: they go when this is dropped, and also when all tests are
/// killed.
struct TwoMachines([Running; 2]);

/// Runs a line of words; what it complained about.
fn tool(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let ended = Command::new(words.next().unwrap()).args(words).output();
    match ended {
        Err(error) => Err(format!("{line}: {error}")),
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => Err(format!(
            "{line}: {}",
            String::from_utf8_lossy(&ended.stderr).trim()
        )),
    }
}

/// A process in a network namespace of its own.
fn namespace() -> Result<Running, String> {
    // This one tells why not.
    tool("unshare --net true")?;
    let mut command = Command::new("unshare");
    command.args(["--net", "cat"]);
    let mut process = Running::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    process.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    // What comes back has passed `cat`, so the namespace is there.
    let mut echo = [0];
    let stdout = process.0.stdout.as_mut().unwrap();
    stdout.read_exact(&mut echo).unwrap();
    Ok(process)
}

/// The words that run a command in the namespace of this process.
fn inside(process: &Running) -> String {
    format!("nsenter --net --target {}", process.pid())
}

impl TwoMachines {
    fn make() -> Result<TwoMachines, String> {
        let machines = TwoMachines([namespace()?, namespace()?]);
        let [here, there] = machines.0.each_ref().map(Running::pid);
        tool(&format!(
            "ip link add wire netns {here} type veth peer name wire netns {there}"
        ))?;
        for (process, address) in machines.0.iter().zip(["192.0.2.1", "192.0.2.2"]) {
            let inside = inside(process);
            tool(&format!("{inside} ip address add {address}/24 dev wire"))?;
            tool(&format!("{inside} ip link set lo up"))?;
            tool(&format!("{inside} ip link set wire up"))?;
            tool(&format!(
                "{inside} tc qdisc add dev wire root tbf rate 1gbit burst 64kb latency 20ms"
            ))?;
        }
        Ok(machines)
    }
}

#[test]
fn between_two_machines_the_wire_is_the_limit() {
    let machines = match TwoMachines::make() {
        Ok(machines) => machines,
        Err(why) => {
            return skipped(format!(
                "two network namespaces need root, unshare, ip and tc: {why}"
            ));
        }
    };
    let [here, there] = machines.0.each_ref().map(inside);
    let (out, root) = (Folder::new(), Folder::new());
    let tester = launch(&out, &root, &format!("{there} {{}}"), "stress --repeat 1 --quick");
    let mut command = Command::new("nsenter");
    command
        .args(&here.words()[1..])
        .arg(tester.get_program())
        .args(tester.get_args());
    let ended = Run::start(command.args(["--launch-address", "192.0.2.2:0"])).finish(LONG);
    ended.ok();
    ended.says(&["rows       48 of 48\n", "failures   0\n"]);
    let machine = fs::read_to_string(out.join("run/machine.txt")).unwrap();
    let wire = machine
        .lines()
        .find_map(|line| line.strip_prefix("wire     "))
        .unwrap();
    let rates: Vec<f64> = wire.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!((rates.len(), wire.matches(" MiB/s").count()), (2, 2), "{wire}");
    // 1 Gbit/s.
    assert!(rates.iter().all(|rate| rate * MIB < 125e6), "{wire}");
    let mut shares = Vec::new();
    for mode in ["thread", "process"] {
        let file = out.join("run").join(format!("{mode}.csv"));
        let rows = cells(&file, "client_failed server_failed errors");
        assert_eq!(rows, vec!["0 0 "; 24], "{mode}");
        for row in cells(&file, "total_Bps operation") {
            let (rate, operation) = row.split_once(' ').unwrap();
            // 3 bytes of a file are 4 on the wire.
            let moved = rate.parse::<f64>().unwrap() * 4.0 / 3.0;
            assert!(moved < 125e6 * 1.05, "{mode}: {row}");
            shares.push(moved / MIB / rates[usize::from(operation == "upload")]);
        }
    }
    check_limit(&ended, &shares, wire);
    assert_nothing_left(&root);
}

/// The summary names the wire where the rows filled it. On a machine that does much else they do not, and
/// then it says that.
#[track_caller]
fn check_limit(ended: &Ended, shares: &[f64], wire: &str) {
    let best = shares.iter().copied().fold(0.0, f64::max);
    let full = shares.iter().filter(|share| **share >= 0.9).count();
    // The rates are told to three digits, so rows near the bound may count or not.
    let near = |bound: f64| (best / bound - 1.0).abs() < 0.01;
    let named = ended.text().contains("\nlimit      the wire in ");
    let counted = |full| {
        ended
            .text()
            .contains(&format!("the wire in {full} of 48 rows: they filled 90 %"))
    };
    if near(0.9) || near(1.1) {
        skipped(format!("the limit of the wire: {best} of {wire}"));
    } else if (0.9..1.1).contains(&best) {
        assert!(
            (full.saturating_sub(5)..=full + 5).any(counted),
            "{full}, {ended:?}"
        );
    } else {
        assert!(!named, "{best}, {ended:?}");
        ended.says(&["\nlimit      not the wire: at best "]);
        skipped(format!(
            "the wire as the limit, too much else runs here: {best} of {wire}"
        ));
    }
}

// ---- rows on many machines ----

const MATRIX: &str = "--modes thread,process --volumes 1 --clients 1,2 --servers 1,2";

/// What a row is, in the order of the columns.
const ROW: &str = "no operation volume_mib client_workers server_workers mode client_mode client_ok errors";

/// The results of the shards of that matrix, each in a folder of its own.
fn shards(out: &Folder, count: usize) -> Vec<String> {
    let names: Vec<String> = (1..=count)
        .map(|part| out.word(&format!("shard-{part}")))
        .collect();
    thread::scope(|scope| {
        for (part, name) in (1..).zip(&names) {
            let line = format!("stress {MATRIX} --shard {part}/{count} --out {name}");
            scope.spawn(move || run(line).ok().to_owned());
        }
    });
    names
}

#[test]
fn shards_merged_are_the_rows_of_one_run() {
    let out = Folder::new();
    // More shards than rows of a mode before the modes change places among them.
    let names = shards(&out, 3);
    let whole = out.word("whole");
    let one = run(format!("stress {MATRIX} --out {whole}"));
    let merged = out.word("merged");
    // In any order.
    let ended = run(format!(
        "merge {} {} {} --out {merged}",
        names[2], names[0], names[1]
    ));
    ended.ok();
    ended.says(&[
        "\nrows       16 of 16\nfailures   0\nbest ",
        &format!("\nresults    {merged}\n"),
    ]);
    let labels = |text: &str| -> Vec<String> {
        let labels = text
            .lines()
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned());
        labels.skip_while(|label| label != "mode").collect()
    };
    assert_eq!(labels(ended.text()), labels(one.ok()), "the same report");
    for mode in ["thread", "process"] {
        let file = |folder: &str| Path::new(folder).join(format!("{mode}.csv"));
        assert_eq!(cells(&file(&merged), ROW), cells(&file(&whole), ROW));
        // Each line as it was measured.
        let lines = |folder: &String| fs::read_to_string(file(folder)).unwrap_or_default();
        let shards = names.iter().map(lines).collect::<String>();
        for line in lines(&merged).lines() {
            assert!(shards.lines().any(|shard| shard == line), "{line}");
        }
    }
    // The tables for people too, which are made anew.
    let tables = |folder: &String| fs::read_to_string(Path::new(folder).join("tables.md")).unwrap();
    let measured = names.iter().map(tables).collect::<String>();
    let rows = tables(&merged);
    assert!(
        rows.lines()
            .all(|line| measured.lines().any(|shard| shard == line)),
        "{rows}"
    );
    assert_eq!(rows.lines().count(), tables(&whole).lines().count());
    let machine = fs::read_to_string(Path::new(&merged).join("machine.txt")).unwrap();
    for line in [
        "command ",
        "options  --modes thread,process ",
        "state    complete",
    ] {
        assert!(
            machine.lines().any(|found| found.starts_with(line)),
            "no {line} in {machine}"
        );
    }
    assert_eq!(machine.matches(": cpu ").count(), 3, "{machine}");
}

/// A copy of the results in `folder`, in whose `file` the first `old` reads `new`.
fn spoiled(out: &Folder, folder: &str, name: &str, file: &str, [old, new]: [&str; 2]) -> String {
    let copy = out.word(name);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut text = fs::read_to_string(&path).unwrap();
        if path.ends_with(file) {
            assert!(text.contains(old), "{text}");
            text = text.replacen(old, new, 1);
        }
        fs::write(Path::new(&copy).join(path.file_name().unwrap()), text).unwrap();
    }
    copy
}

#[test]
fn what_would_be_no_run_is_not_merged() {
    let out = Folder::new();
    let names = shards(&out, 2);
    let [one, two] = [&names[0], &names[1]];
    let mode = format!("{one} has --modes thread,process");
    let table: [(&str, &str, [&str; 2], &[&str]); 6] = [
        (
            "version",
            "machine.txt",
            ["version  kolam", "version  other"],
            &["the shards differ in version: ", "other"],
        ),
        (
            "options",
            "machine.txt",
            ["upload --volumes 1 ", "upload --volumes 2 "],
            &["the shards differ in options: ", &mode, "--volumes 2 "],
        ),
        (
            "running",
            "machine.txt",
            ["state    complete", "state    running"],
            &[
                "running: this run is not complete",
                "running; run this shard again",
            ],
        ),
        (
            "other",
            "thread.csv",
            ["\n2,download", "\n2,upload"],
            &["other/thread.csv, line 2: no row of these options: 2,upload,1"],
        ),
        (
            "titles",
            "thread.csv",
            ["no,operation", "no,what"],
            &["titles/thread.csv: its first line is not that of this version"],
        ),
        (
            "cut",
            "process.csv",
            ["\n8,", "\n"],
            &["cut/process.csv, line 5: no row of these options: upload,1"],
        ),
    ];
    let merged = out.word("merged");
    for (name, file, change, told) in table {
        let copy = spoiled(&out, two, name, file, change);
        run(format!("merge {one} {copy} --out {merged}")).failed(1, told);
    }
    let no_run = ["nowhere/machine.txt: ", "a run of kolam stress"];
    run(format!(
        "merge {one} {}/nowhere --out {merged}",
        out.path().display()
    ))
    .failed(1, &no_run);
    run(format!("merge {one} {two} --lang fr --out {merged}")).failed(2, &["--lang fr: expected en, id"]);
    assert!(!Path::new(&merged).exists());
}

#[test]
fn rows_that_are_missing_or_there_twice_are_named() {
    let out = Folder::new();
    let names = shards(&out, 2);
    let ([one, two], merged) = ([&names[0], &names[1]], out.word("merged"));
    let missing = "8 of 16 rows are missing; name the folders of all shards: thread 2, thread 4, ";
    run(format!("merge {one} --out {merged}")).failed(1, &[missing, ", process 8\n"]);
    let twice = ["thread row 1 is there twice: in ", "shard-1/thread.csv, line 2"];
    run(format!("merge {one} {two} {one} --out {merged}")).failed(1, &twice);
    assert!(!Path::new(&merged).exists());
}

#[test]
fn results_that_are_there_stay_unless_they_may_be_replaced() {
    let out = Folder::new();
    let names = shards(&out, 2);
    let (one, both, merged) = (&names[0], names.join(" "), out.word("merged"));
    let before = fs::read(Path::new(one).join("thread.csv")).unwrap();
    run(format!("merge {both} --out {one}")).failed(1, &["thread.csv is there already", "--force"]);
    assert_eq!(fs::read(Path::new(one).join("thread.csv")).unwrap(), before);
    run(format!("merge {both} --out {merged}")).ok();
    let whole = fs::read(Path::new(&merged).join("thread.csv")).unwrap();
    // A merge that is refused replaces nothing.
    run(format!("merge {one} --out {merged} --force")).failed(1, &["rows are missing"]);
    assert_eq!(fs::read(Path::new(&merged).join("thread.csv")).unwrap(), whole);
    run(format!("merge {both} --out {merged} --force")).ok();
}

#[test]
fn mistakes_in_the_options_of_several_machines_are_told() {
    assert_usage(
        "stress --launch=ssh                           => --launch ssh: expected a shell command with one {}
         stress --launch={}{}                          => --launch {}{}: expected | 'ssh host {}'
         stress --launch={} --target 127.0.0.1:1       => --launch starts servers and --target does not
         stress --launch={} --as-server row            => --launch starts servers and --as-server
         stress --launch-address 127.0.0.1:1           => --launch-address: this option needs --launch
         stress --launch-program kolam                 => --launch-program: this option needs --launch
         stress --launch={} --launch-address 0.0.0.0:0 => --launch-address 0.0.0.0:0: no machine has
         stress --launch={} --launch-address here      => --launch-address here: expected HOST:PORT
         stress --launch={} --launch-program=a;b       => --launch-program a;b: a shell would change it
         stress --at 127.0.0.1:0                       => --at: this option needs --as-server
         stress --as-server thing                      => --as-server thing: expected row, wire
         stress --as-server row                        => --as-server row: these are 108 rows
         stress --shard 1                              => --shard 1: expected I/N with I from 1 to N
         stress --shard 0/2                            => --shard 0/2: expected I/N
         stress --shard 3/2                            => --shard 3/2: expected I/N
         stress --shard 1/-2                           => --shard 1/-2: expected I/N
         stress --shard 1/109                          => --shard 1/109: there are only 108 rows to deal out
         merge                                         => merge: DIR is missing
         merge a b                                     => merge: --out DIR is missing
         stress extra                                  => stress: unexpected word 'extra'",
    );
    let dry = run("stress --quick --dry-run --shard 2/20");
    let rows: Vec<&str> = dry.ok().lines().take(3).collect();
    assert!(
        rows[0].starts_with("   2 thread ") && rows[1].starts_with("  22 thread "),
        "{rows:?}"
    );
    assert!(rows[2].starts_with("  18 process "), "{rows:?}");
}
