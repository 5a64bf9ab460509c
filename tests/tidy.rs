//! The rules of this project that a program can check, so that no reviewer has to remember them.
//! One test a rule: its name is the rule, its failure names the file, the line and the remedy.
//! First the tables and bounds, then the rules in the order of a reader's questions, then the scanner.
//! What the compiler and clippy can check stands in `[lints]` of `Cargo.toml` and in `clippy.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

// ---- Tables and bounds: a rule is changed here, on purpose and in one place ----

/// Which rooms each room may name by `crate::`, floor by floor: arrows lead down. The children of a room may
/// use what their room may. `main.rs` may name all, and no room names `main.rs`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("b64", &[]),
    ("json", &[]),
    ("session", &[]),
    ("sys", &[]),
    ("cli", &["sys"]),
    ("net", &["sys"]),
    ("pool", &["sys"]),
    ("stats", &["json", "sys"]),
    ("store", &["sys"]),
    ("protocol", &["b64", "json", "session", "stats", "store"]),
    ("access", &["b64", "cli", "protocol", "session", "stats"]),
    ("dialects", &["b64", "protocol", "session", "stats", "store"]),
    ("http", &["access", "cli", "json", "session", "stats", "store"]),
    ("balance", &["cli", "net", "stats", "sys"]),
    (
        "server",
        &[
            "access", "cli", "dialects", "http", "net", "pool", "protocol", "session", "stats", "store",
            "sys",
        ],
    ),
    (
        "client",
        &[
            "access", "b64", "cli", "json", "protocol", "session", "store", "sys",
        ],
    ),
    (
        "stress",
        &[
            "access", "check", "cli", "client", "json", "pool", "stats", "store", "sys",
        ],
    ),
    (
        "bench",
        &[
            "access", "b64", "cli", "client", "json", "session", "store", "sys",
        ],
    ),
    ("check", &["access", "b64", "cli", "json", "sys"]),
    ("report", &["cli", "stress"]),
    ("top", &["access", "cli", "client", "json", "sys"]),
];

/// Rows of `MAY_USE` that the design fixes for ever: these four are read, and reused, alone.
const ALONE: [(&str, &[&str]); 4] = [("b64", &[]), ("json", &[]), ("session", &[]), ("store", &["sys"])];

/// What the protocols must never learn of: they would be protocols for one mode only.
const NOT_FOR_PROTOCOL: [&str; 3] = ["sys", "server", "pool"];

/// Where `unsafe` may stand: the children of `sys`, and the vector loops.
const MAY_BE_UNSAFE: [&str; 2] = ["src/sys/", "src/b64/simd.rs"];

/// More rooms than this on one floor plan, and no reader keeps them in mind.
const ROOMS: usize = 21;
/// Lines of the header of a child that is no chapter: its room has told the rest.
const CHILD_HEADER: usize = 5;

/// Lines of a file in front of its tests: what one can read in one sitting.
const FILE_LIMIT: usize = 450;
/// Lines of the function in the middle: more hides steps, fewer scatters them.
const MEDIAN_FUNCTION: std::ops::RangeInclusive<usize> = 3..=18;
/// Percent of the lines that are not blank.
const COMMENTS: std::ops::RangeInclusive<usize> = 15..=50;
/// Characters; `max_width` in `rustfmt.toml` says the same, but rustfmt does not break comments.
const LINE_LIMIT: usize = 110;

/// Files of the stress test that are no part of its heart: they show, and look after files and folders.
const RUNS: &str = "stress/target.rs stress/advice.rs stress/run_files.rs \
                    stress/run_folder.rs stress/words.rs stress/live.rs stress/machine.rs stress/report.rs";

/// The stress test beyond one run on one machine.
const MACHINES: &str = "stress/launch.rs stress/as_server.rs stress/wire.rs stress/shards.rs \
                        stress/repeats.rs stress/resume.rs stress/forms.rs stress/watched.rs";

/// Each request of a row as a bar: the clocks, the file, the picture.
const TIMELINE: &str = "sys/clock.rs stats/trace.rs client/port.rs stress/trace.rs stress/trace_file.rs \
                        report/timeline.rs";

/// The page of the HTTP server.
const PAGE: &str = "http/own.rs http/listing.rs http/pieces.rs http/form.rs http/disposition.rs \
                    http/media.rs server/browser.rs stats/file_log.rs";

/// The same, and what is read with services.
const NOT_HTTP: &str = "http/own.rs http/listing.rs http/pieces.rs http/form.rs http/disposition.rs \
                        http/media.rs http/auth.rs";

/// What LIST and the page of the HTTP server have in common: a folder in order, a few names at a time.
const LISTINGS: &str = "store/catalogue.rs sys/unnamed.rs protocol/list.rs";

/// What each worker writes down about itself, and who reads it.
const WATCHING: &str = "top stats/slot.rs stats/snapshot.rs protocol/stats.rs server/watch.rs";

/// What a user types and sees.
const COMMANDS: &str = "cli main sys/passed.rs sys/room.rs stats/date.rs server/command.rs \
                        client/as_json.rs client/commands.rs client/progress.rs client/stranger.rs";

/// What the tables of options become for those who type, and downloads.
const MANNERS: &str = "cli/help.rs cli/hints.rs cli/completions.rs cli/manual.rs cli/examples.rs \
                       cli/environment.rs client/http.rs client/resume.rs client/partial_file.rs";

/// What a server needs that runs for months.
const SERVICE: &str = "access http/auth.rs client/access.rs stress/access.rs server/access.rs net/late.rs \
                       stats/summary.rs sys/beneath.rs sys/renewal.rs pool/renewal.rs server/renewal.rs \
                       stats/renewal.rs";

/// What a reader takes on at a time: its name, as in the first cell of a row of the README, whose second cell
/// is its figure; the most lines of code and comments that it may have; what it holds, rooms with all their
/// children or single files; and what of these is read at another time.
const UNITS: &[(&str, usize, &str, &str)] = &[
    (
        "Evening 1",
        2000,
        "session protocol pool server",
        "server/event.rs server/browser.rs server/dialect.rs server/command.rs session/silence.rs \
         protocol/stats.rs protocol/list.rs pool/renewal.rs server/renewal.rs server/watch.rs \
         server/access.rs",
    ),
    (
        "Evening 2",
        2000,
        "b64 json sys net store stats",
        "b64/simd.rs json/reader.rs sys/splice.rs sys/passed.rs sys/room.rs sys/usage.rs sys/beneath.rs \
         store/web.rs store/catalogue.rs stats/date.rs stats/file_log.rs sys/clock.rs \
         stats/trace.rs sys/renewal.rs stats/renewal.rs stats/slot.rs stats/snapshot.rs stats/summary.rs \
         net/late.rs sys/unnamed.rs",
    ),
    (
        "Evening 3",
        2000,
        "json/reader.rs client.rs stress.rs stress/matrix.rs stress/clients.rs stress/fixture.rs",
        "",
    ),
    ("Base64 in vectors", 1800, "b64/simd.rs", ""),
    ("Event mode", 1800, "server/event.rs", ""),
    ("HTTP", 1800, "http store/web.rs", NOT_HTTP),
    ("The page of HTTP", 1800, PAGE, ""),
    (
        "The dialects",
        900,
        "dialects server/dialect.rs session/silence.rs",
        "",
    ),
    ("The balancer", 1800, "balance sys/splice.rs", ""),
    ("The load generator", 1800, "bench", ""),
    ("The grader", 1800, "check sys/usage.rs", "check/dialects.rs"),
    ("Grading dialects", 1800, "check/dialects.rs", ""),
    ("The report", 1800, "report", "report/timeline.rs"),
    ("Listings", 450, LISTINGS, ""),
    ("The timeline", 900, TIMELINE, ""),
    ("Runs and results", 1800, RUNS, ""),
    ("Two machines and more", 1800, MACHINES, ""),
    ("Watching the pool", 1800, WATCHING, ""),
    ("The command line", 1800, COMMANDS, MANNERS),
    ("At the terminal", 1800, MANNERS, ""),
    ("A service", 1800, SERVICE, ""),
];

/// A figure in the README is true when it is at most this much above what is counted.
const ROUNDING: usize = 100;

/// The lines of an experiment's patch that may change: more is a rebuild.
const EXPERIMENT_LINES: usize = 10;

/// Lines of an example server: one page shows all that it does.
const EXAMPLE_LINES: std::ops::RangeInclusive<usize> = 40..=120;

/// Bytes of a picture in the documents.
const PICTURE: usize = 60_000;

/// Lines of code of the right server in another language: it shows how little the protocol asks for.
const RIGHT_LINES: usize = 80;

/// What stands on the first page: more is not read.
const README_WORDS: usize = 1500;
/// The README in short, in Indonesian.
const SUMMARY: &str = "README.id.md";
/// Where the chapters are listed in reading order.
const READING_GUIDE: &str = "docs/reading.md";

/// The modes are `single`, `thread`, `process`, `event`. These are other people's names for them.
const FOREIGN_MODES: [&str; 6] = [
    "epoll mode",
    "threaded mode",
    "multiprocess",
    "fork mode",
    "forked mode",
    "forking mode",
];
// In halves, so that this file itself holds none of them.
const MACHINE_PATHS: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk")];
// Clippy finds the macros for it.
const UNFINISHED: [&str; 3] = ["TODO", "FIXME", "XXX"];

// ---- Rule 1: headers ----

#[test]
fn every_file_opens_with_its_question() {
    let mut faults = Faults::default();
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        let titled = source.chapter().is_some_and(|number| rank(number).0 > 0)
            || source.is_appendix() && first.starts_with("//! # Appendix. ");
        if source.is_child() && !titled {
            let lines = source
                .text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .count();
            if !source.header().contains('?') || lines > CHILD_HEADER {
                let remedy = "begin with `//! A question? The answer.`";
                let told = format!("{remedy}, at most {CHILD_HEADER} lines");
                faults.add(&source.path, 1, &told);
            }
        } else if !titled || !first.ends_with('?') {
            faults.add(&source.path, 1, "begin with `//! # Chapter N. A question?`");
        }
    }
    faults.report();
}

#[test]
fn every_header_tells_invariant_refusals_and_an_experiment() {
    let mut faults = Faults::default();
    for source in chapters() {
        let header = source.header();
        for phrase in [
            "invariant",
            "What must not live here",
            "before: ",
            "after: ",
            "Experiment",
        ] {
            if !header.contains(phrase) {
                let remedy = format!("the header lacks {phrase:?}: write that part");
                faults.add(&source.path, 1, &remedy);
            }
        }
    }
    faults.report();
}

#[test]
fn before_and_after_link_all_chapters_in_one_chain() {
    let mut faults = Faults::default();
    let mut previous = ("the README".to_owned(), (0, ""));
    let all = chapters();
    let chain = chain(&all);
    for source in &chain {
        let (before, rank) = (source.neighbours().0, rank(source.chapter().unwrap_or_default()));
        if before != previous.0 {
            let line = source.line_of("//! before: ");
            let remedy = format!("before: {before}; write {}", previous.0);
            faults.add(&source.path, line, &remedy);
        }
        if rank <= previous.1 {
            let remedy = format!("give it a number above that of {}", previous.0);
            faults.add(&source.path, 1, &remedy);
        }
        previous = (source.file().to_owned(), rank);
    }
    for lost in all
        .iter()
        .filter(|source| !chain.iter().any(|linked| linked.path == source.path))
    {
        let remedy = "no `after:` leads here; name it in the chapter before it";
        faults.add(&lost.path, 1, remedy);
    }
    for last in chain
        .last()
        .iter()
        .filter(|last| last.neighbours().1 != "the README again")
    {
        let line = last.line_of("//! before: ");
        let remedy = "write after: the next chapter, or the README again";
        faults.add(&last.path, line, remedy);
    }
    faults.report();
}

/// `make experiments` shows that they come true; here, that header and patch tell the same.
#[test]
fn every_room_has_an_experiment_that_its_header_tells() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut faults, rooms) = (Faults::default(), chapters());
    for room in &rooms {
        let path = format!("experiments/{}.patch", room.module());
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            faults.add(&room.path, 1, &format!("write its experiment, {path}"));
            continue;
        };
        let (told, patch) = text.split_once("\n\n").unwrap_or((&text, ""));
        let keys: Vec<&str> = told
            .lines()
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect();
        if keys != ["edit", "run", "see"] {
            faults.add(
                &path,
                1,
                "write the lines edit, run and see, a blank line and a diff",
            );
        }
        let header = words(&room.header());
        if !header.contains(&format!("Experiment: {}", words(told))) {
            let line = room.line_of("//! Experiment");
            faults.add(
                &room.path,
                line,
                &format!("tell the three lines of {path}, word for word"),
            );
        }
        let is_change = |line: &&str| {
            line.starts_with(['+', '-']) && !line.starts_with("+++ ") && !line.starts_with("--- ")
        };
        let changes = patch.lines().filter(is_change).count();
        if !(1..=EXPERIMENT_LINES).contains(&changes) {
            faults.add(
                &path,
                1,
                &format!("{changes} changed lines; an experiment has 1 to {EXPERIMENT_LINES}"),
            );
        }
    }
    for path in walk("experiments").iter().filter(|path| path.ends_with(".patch")) {
        if !rooms
            .iter()
            .any(|room| *path == format!("experiments/{}.patch", room.module()))
        {
            faults.add(path, 1, "there is no room of this name; rename or remove it");
        }
    }
    faults.report();
}

// ---- Rule 2: main.rs is the table of contents ----

#[test]
fn every_source_is_a_room_or_a_child_of_one() {
    let mut faults = Faults::default();
    let all = sources();
    for source in &all {
        let room = format!("src/{}.rs", source.room());
        if source.path.matches('/').count() > 2 || !all.iter().any(|other| other.path == room) {
            faults.add(&source.path, 1, "move it to src/ROOM.rs or src/ROOM/child.rs");
        }
    }
    let rooms = all.iter().filter(|source| !source.is_child()).count() - 1;
    if rooms > ROOMS {
        let remedy = format!("{rooms} rooms; at most {ROOMS}: put one into another");
        faults.add("src/main.rs", 1, &remedy);
    }
    faults.report();
}

/// Private modules: the compiler then lets other rooms reach a child only through its room.
#[test]
fn children_are_private_to_their_room() {
    let mut faults = Faults::default();
    for child in sources().iter().filter(|source| source.is_child()) {
        let room = Source::read(&format!("src/{}.rs", child.room()));
        let line = format!("mod {};", child.module());
        if !room.text.lines().any(|found| found.starts_with(&line)) {
            faults.add(&room.path, 1, &format!("write `{line}` for {}", child.path));
        }
    }
    faults.report();
}

/// `cargo fmt` leaves this order alone only with `reorder_modules = false` in `rustfmt.toml`.
#[test]
fn main_lists_the_rooms_in_reading_order_with_their_numbers() {
    let all = chapters();
    let chain = chain(&all);
    let main = Source::read("src/main.rs");
    let mut faults = Faults::default();
    let mut expected = chain.iter().skip(1).filter(|source| !source.is_child());
    for (number, line) in numbered(&main.text) {
        let Some((module, comment)) = line.strip_prefix("mod ").and_then(|rest| rest.split_once(';')) else {
            continue;
        };
        if module == "testing" {
            continue;
        }
        let Some(source) = expected.next() else {
            let remedy = format!("{module} is not in the chain of before and after");
            faults.add("src/main.rs", number, &remedy);
            continue;
        };
        let (wanted, chapter) = (source.module(), source.chapter().unwrap_or_default());
        let mut words = comment.split_whitespace();
        let good = [words.next(), words.next()] == [Some("//"), Some(chapter)] && words.next().is_some();
        if module != wanted || !good {
            let remedy = format!("write `mod {wanted}; // {chapter} a few words` here");
            faults.add("src/main.rs", number, &remedy);
        }
    }
    for lost in expected {
        let remedy = format!("add `mod {};` after the others", lost.module());
        faults.add("src/main.rs", 1, &remedy);
    }
    faults.report();
}

// ---- Rule 3: arrows between chapters ----

#[test]
fn rooms_use_only_what_the_table_allows() {
    let mut faults = Faults::default();
    for source in sources()
        .iter()
        .filter(|source| source.room() != "main" && !source.is_appendix())
    {
        let room = source.room();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            let remedy = format!("give {room} a row in MAY_USE of tests/tidy.rs");
            faults.add(&source.path, 1, &remedy);
            continue;
        };
        let code = code_of(source.program());
        for (line, name) in named_by(&code, "crate::") {
            if name != room && !allowed.contains(&name.as_str()) {
                let remedy = "do without it, or say in MAY_USE of tests/tidy.rs that it may";
                faults.add(&source.path, line, &format!("it may not use {name}; {remedy}"));
            }
        }
        // From a room, or twice from a child, `super` is the whole crate.
        let hidden = if source.is_child() {
            "super::super"
        } else {
            "super::"
        };
        for (line, _) in named_by(&code, hidden) {
            faults.add(&source.path, line, "write `crate::` here, which this test sees");
        }
    }
    faults.report();
}

#[test]
fn arrows_between_rooms_never_form_a_circle() {
    // Take away whoever uses nobody that is left, or is used by nobody, again and again: circles stay.
    let mut left: Vec<(&str, &[&str])> = MAY_USE.to_vec();
    loop {
        let names: Vec<&str> = left.iter().map(|row| row.0).collect();
        let used: Vec<&str> = left.iter().flat_map(|row| row.1).copied().collect();
        left.retain(|row| used.contains(&row.0) && row.1.iter().any(|name| names.contains(name)));
        if left.len() == names.len() {
            break;
        }
    }
    let stuck: Vec<&str> = left.iter().map(|row| row.0).collect();
    assert!(stuck.is_empty(), "MAY_USE: {stuck:?} are in circles; cut them");
}

#[test]
fn the_table_keeps_what_the_design_promises() {
    let mut faults = Faults::default();
    for &(module, used) in MAY_USE {
        if let Some((_, fixed)) = ALONE.iter().find(|row| row.0 == module && row.1 != used) {
            let remedy = format!("MAY_USE: {module} may use {fixed:?} and nothing else");
            faults.add("tests/tidy.rs", 1, &remedy);
        }
        if ["protocol", "dialects", "http"].contains(&module)
            && used.iter().any(|name| NOT_FOR_PROTOCOL.contains(name))
        {
            let remedy = format!("MAY_USE: {module} uses none of {NOT_FOR_PROTOCOL:?}");
            faults.add("tests/tidy.rs", 1, &remedy);
        }
    }
    faults.report();
}

// ---- Rule 4: unsafe code ----

#[test]
fn unsafe_code_stands_only_in_its_places() {
    let mut faults = Faults::default();
    let safe = |source: &&Source| !MAY_BE_UNSAFE.iter().any(|place| source.path.starts_with(place));
    for source in sources().iter().filter(safe) {
        for (line, _) in numbered(&code_of(&source.text)).filter(|(_, code)| has_word(code, "unsafe")) {
            faults.add(&source.path, line, "wrap it in a safe function of src/sys/");
        }
    }
    faults.report();
}

// ---- Rules 5 and 6: sizes ----

#[test]
fn no_file_is_longer_than_one_sitting() {
    let mut faults = Faults::default();
    for source in sources() {
        let count = source.program().lines().count();
        if count > FILE_LIMIT {
            let remedy = "split it where a reader would";
            let told = format!("{count} lines without tests; {remedy}");
            faults.add(&source.path, FILE_LIMIT, &told);
        }
    }
    faults.report();
}

#[test]
fn every_example_is_a_server_on_one_page() {
    let mut faults = Faults::default();
    let parts = walk("examples")
        .into_iter()
        .filter(|path| path.matches('/').count() == 1 && path.ends_with(".rs"));
    let examples: Vec<Source> = parts.map(|path| Source::read(&path)).collect();
    assert_eq!(examples.len(), 4, "README tells of four servers");
    for example in examples {
        let count = example.text.lines().count();
        if !EXAMPLE_LINES.contains(&count) {
            let remedy = "what makes it this server stands in it, what all share in examples/common";
            faults.add(&example.path, 1, &format!("{count} lines; {remedy}"));
        }
    }
    faults.report();
}

/// Blank lines, comments and the strings that stand for comments in Python are not counted.
#[test]
fn the_right_server_in_another_language_is_short() {
    let path = "examples/right.py";
    let text = Source::read(path).text;
    let (mut count, mut quoted) = (0, false);
    for line in text.lines().map(str::trim) {
        let marks = line.matches("\"\"\"").count();
        let code = !quoted && marks == 0 && !line.is_empty() && !line.starts_with('#');
        count += usize::from(code);
        quoted ^= marks == 1;
    }
    let remedy = format!("{count} lines of code; at most {RIGHT_LINES}");
    let mut faults = Faults::default();
    if !(1..=RIGHT_LINES).contains(&count) {
        faults.add(path, 1, &remedy);
    }
    faults.report();
}

#[test]
fn the_median_function_is_neither_a_tangle_nor_a_splinter() {
    let mut lengths: Vec<usize> = sources()
        .iter()
        .flat_map(|source| functions(&source.text))
        .map(|function| function.length)
        .collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    assert!(
        MEDIAN_FUNCTION.contains(&median),
        "src: the median function has {median} lines; split or merge"
    );
}

#[test]
fn comments_are_a_measured_part_of_the_text() {
    let all = sources();
    let lines = all
        .iter()
        .flat_map(|source| source.program().lines())
        .map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let comments = lines.iter().filter(|line| line.starts_with("//")).count();
    let percent = 100 * comments / lines.len().max(1);
    let remedy = "add reasons, or delete what repeats its line";
    assert!(
        COMMENTS.contains(&percent),
        "src: {percent} % of the lines are comments; {remedy}"
    );
}

// ---- Rule 7: dependencies ----

#[test]
fn libc_is_the_only_dependency() {
    let mut faults = Faults::default();
    let mut section = "";
    let manifest = Source::read("Cargo.toml");
    for (number, line) in numbered(&manifest.text) {
        let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if line.starts_with('[') {
            section = line.trim();
            if section.contains("dependencies") && section != "[dependencies]" {
                let remedy = format!("remove {section}; only [dependencies] is allowed");
                faults.add("Cargo.toml", number, &remedy);
            }
        } else if section == "[dependencies]" && !["", "#", "libc"].contains(&key) {
            let remedy = format!("remove {key}; libc is the only dependency");
            faults.add("Cargo.toml", number, &remedy);
        }
    }
    let lock = Source::read("Cargo.lock");
    for (number, line) in numbered(&lock.text).filter(|(_, line)| line.starts_with("name = ")) {
        if !["name = \"kolam\"", "name = \"libc\""].contains(&line) {
            let remedy = format!("{line}: run cargo build and commit what it leaves");
            faults.add("Cargo.lock", number, &remedy);
        }
    }
    faults.report();
}

// ---- Rule 8: the README and what it leads to tell the truth ----

#[test]
fn the_readme_is_short() {
    let words = Source::read("README.md").text.split_whitespace().count();
    assert!(
        words <= README_WORDS,
        "README.md:1: {words} words; {README_WORDS} may stay, the rest goes to docs/"
    );
}

#[test]
fn the_readme_says_what_each_evening_costs() {
    let (readme, all) = (Source::read("README.md"), sources());
    let mut faults = Faults::default();
    for &(name, budget, holds, but) in UNITS {
        let mine = all
            .iter()
            .filter(|source| source.is_one_of(holds) && !source.is_one_of(but));
        let lines: usize = mine.map(Source::reading_lines).sum();
        let start = format!("| {name} |");
        let row = numbered(&readme.text).find(|(_, line)| line.starts_with(&start));
        let (number, figure) = row.map_or((1, 0), |(number, line)| (number, figure_of(&line[start.len()..])));
        if lines > budget {
            faults.add(
                "src",
                1,
                &format!("{name} has {lines} lines; {budget} fit in: shorten it"),
            );
        } else if !(lines..lines + ROUNDING).contains(&figure) || figure > budget {
            let right = budget.min(lines.next_multiple_of(50));
            let remedy = format!("{figure}? write `{start} {right} |`, for it has {lines} lines");
            faults.add("README.md", number, &remedy);
        }
    }
    for source in all.iter().filter(|source| !source.is_appendix()) {
        let units = UNITS
            .iter()
            .filter(|row| source.is_one_of(row.2) && !source.is_one_of(row.3));
        let times = units.count();
        if times != 1 {
            faults.add(
                &source.path,
                1,
                &format!("it is in {times} units; put it into one in UNITS"),
            );
        }
    }
    faults.report();
}

/// The number in the first cell of the rest of a row: ` 1,950 | … |`; 0: there is none.
fn figure_of(rest: &str) -> usize {
    let cell = rest.split('|').next().unwrap_or_default();
    let digits: String = cell.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[test]
fn the_reading_guide_lists_every_chapter() {
    let guide = Source::read(READING_GUIDE);
    let all = sources();
    let mut faults = Faults::default();
    for source in all.iter().filter(|source| !source.is_appendix()) {
        if !has_word(&guide.text, source.file()) {
            let remedy = format!("list {} among the chapters", source.path);
            faults.add(READING_GUIDE, 1, &remedy);
        }
    }
    faults.report();
}

/// The guide has a section for each evening. What a file of that evening uses stands in it or before it: as a
/// chapter, or in the table of what is borrowed.
#[test]
fn what_a_file_uses_has_been_read_before_or_is_borrowed() {
    let (guide, mut faults) = (Source::read(READING_GUIDE), Faults::default());
    let begin = guide.text.find("## Evening 1").unwrap_or_default();
    for &(evening, _, holds, but) in UNITS.iter().filter(|row| row.0.starts_with("Evening")) {
        let section = guide
            .text
            .find(&format!("## {evening}"))
            .unwrap_or(guide.text.len());
        let end = guide.text[section..]
            .find("\n## ")
            .map_or(guide.text.len(), |end| section + end);
        let known = &guide.text[begin..end];
        for source in sources() {
            if !source.is_one_of(holds) || source.is_one_of(but) {
                continue;
            }
            for (line, room) in named_by(&code_of(source.program()), "crate::") {
                if !known.contains(&format!("`{room}`")) && !known.contains(&format!("| `{room}.rs` |")) {
                    let remedy = format!("{room} is not read yet; add it to what {evening} borrows");
                    faults.add(&source.path, line, &remedy);
                }
            }
        }
    }
    faults.report();
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut faults = Faults::default();
    for document in documents() {
        let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
        for (number, line) in numbered(&document.text) {
            for target in links(line).filter(|target| !root().join(folder).join(target).exists()) {
                let remedy = format!("there is no {target}; correct the link");
                faults.add(&document.path, number, &remedy);
            }
        }
    }
    faults.report();
}

/// The paths in `[text](path)` of a line, without what follows `#`; links to other places are left out.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let paths = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    paths.filter(|path| !path.is_empty() && !path.contains("://"))
}

#[test]
fn every_make_target_of_the_documents_exists() {
    let makefile = Source::read("Makefile");
    let heads = makefile
        .text
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.']));
    let targets: Vec<&str> = heads
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .flat_map(|(names, _)| names.split_whitespace())
        .collect();
    let mut faults = Faults::default();
    for document in documents() {
        for (number, code) in code_in_markdown(&document.text) {
            for target in make_targets(&code)
                .iter()
                .filter(|target| !targets.contains(target))
            {
                let path = &document.path;
                let remedy = format!("the Makefile has no target {target}; correct one of them");
                faults.add(path, number, &remedy);
            }
        }
    }
    faults.report();
}

#[test]
fn every_option_of_the_documents_exists() {
    let program: String = sources().iter().map(Source::program).collect();
    let mut faults = Faults::default();
    for document in documents() {
        for (number, line) in numbered(&document.text) {
            let is_command = line.contains("kolam ") || line.contains("ARGS=");
            for option in options(line).into_iter().filter(|_| is_command) {
                if !program.contains(&format!("\"{option}\"")) {
                    let remedy = format!("kolam has no option {option}; correct it");
                    faults.add(&document.path, number, &remedy);
                }
            }
        }
    }
    faults.report();
}

/// `kolam NAME`, where NAME is in small letters, is a command; a file of Rust or Python is in the project.
#[test]
fn every_command_and_file_of_the_documents_exists() {
    let program: String = sources().iter().map(Source::program).collect();
    let mut faults = Faults::default();
    for document in documents() {
        for (number, code) in code_in_markdown(&document.text) {
            for command in commands(&code) {
                if command != "help" && !program.contains(&format!("name: \"{command}\",")) {
                    let remedy = format!("kolam has no command {command}; correct it");
                    faults.add(&document.path, number, &remedy);
                }
            }
            for file in files(&code) {
                if !root().join(file).exists() && !root().join("src").join(file).exists() {
                    faults.add(&document.path, number, &format!("there is no {file}; correct it"));
                }
            }
        }
    }
    faults.report();
}

#[test]
fn every_lesson_has_its_parts() {
    let (course, mut faults) = (Source::read("docs/course.md"), Faults::default());
    let lessons: Vec<&str> = course.text.split("\n## Lesson ").skip(1).collect();
    assert_eq!(lessons.len(), 8, "docs/course.md has eight lessons");
    for lesson in lessons {
        let title = format!("\n## Lesson {}", lesson.lines().next().unwrap_or_default());
        let at = course.text.find(&title).unwrap_or_default();
        let line = 2 + course.text[..at].matches('\n').count();
        for part in [
            "**Goal.**",
            "**Read.**",
            "**Do.**",
            "**Observe.**",
            "![",
            "    kolam ",
        ] {
            if !lesson.contains(part) {
                faults.add(&course.path, line, &format!("the lesson lacks {part}"));
            }
        }
        if lesson.matches("<details>").count() != 3 || lesson.matches("</details>").count() != 3 {
            faults.add(
                &course.path,
                line,
                "ask three questions, each with its answer in <details>",
            );
        }
    }
    faults.report();
}

/// A picture is shown by itself: it brings its style, tells in words what it shows, and loads nothing.
#[test]
fn every_picture_of_the_documents_stands_alone() {
    let mut faults = Faults::default();
    for path in walk("docs").iter().filter(|path| path.ends_with(".svg")) {
        let picture = Source::read(path).text;
        for part in ["<title", "<desc", "<style>"] {
            if !picture.contains(part) {
                faults.add(path, 1, &format!("the picture lacks {part}"));
            }
        }
        if picture.len() > PICTURE
            || ["href=", "url(", "<script"]
                .iter()
                .any(|part| picture.contains(part))
        {
            let remedy = format!("at most {PICTURE} bytes, without links and scripts");
            faults.add(path, 1, &remedy);
        }
    }
    faults.report();
}

/// What the README tells its readers to type, its summary tells, too, and no more.
#[test]
fn the_summary_names_the_commands_and_targets_of_the_readme() {
    let typed = |path: &str| {
        let text = Source::read(path).text;
        let pieces = code_in_markdown(&text).into_iter();
        let words = pieces.flat_map(|(_, code)| {
            let targets = make_targets(&code).into_iter().map(|word| format!("make {word}"));
            let all = targets.chain(commands(&code).map(|word| format!("kolam {word}")));
            all.collect::<Vec<_>>()
        });
        words.collect::<BTreeSet<String>>()
    };
    let (readme, summary) = (typed("README.md"), typed(SUMMARY));
    let mut faults = Faults::default();
    for word in readme.difference(&summary) {
        faults.add(SUMMARY, 1, &format!("{word} is in README.md: tell it here, too"));
    }
    for word in summary.difference(&readme) {
        faults.add(SUMMARY, 1, &format!("{word} is not in README.md: remove it"));
    }
    faults.report();
}

/// `serve` of `kolam serve --root files`: what follows the program's name, in each command of a line.
fn commands(code: &str) -> impl Iterator<Item = &str> {
    let starts = code
        .split(['&', ';', '|', '(', '#'])
        .map(|command| command.trim().trim_start_matches("$ "));
    let words = starts.filter_map(|command| command.strip_prefix("kolam ")?.split_whitespace().next());
    words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase()))
}

/// The words that name a source file; ROOM stands for any of them.
fn files(code: &str) -> impl Iterator<Item = &str> {
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || "._/-".contains(c)));
    words.filter(|word| (word.ends_with(".rs") || word.ends_with(".py")) && !word.contains("ROOM"))
}

#[test]
fn every_test_that_the_promises_name_exists() {
    let mut faults = Faults::default();
    let promises = Source::read("docs/promises.md");
    // After this mark stands what a run has printed.
    let (written, _) = promises
        .text
        .split_once("<!-- written by make torture -->")
        .unwrap();
    for (number, code) in code_in_markdown(written) {
        let Some((module, name)) = code.split_once("::") else {
            continue;
        };
        let tests = Source::read(&format!("tests/it/{module}.rs"));
        if !tests.text.contains(&format!("\nfn {name}(")) {
            let remedy = format!("there is no test {code}; correct its name");
            faults.add(&promises.path, number, &remedy);
        }
    }
    faults.report();
}

/// The pieces of a Markdown text that are code (indented, fenced or between backticks), with their lines.
fn code_in_markdown(text: &str) -> Vec<(usize, String)> {
    let mut pieces = Vec::new();
    let mut fenced = false;
    for (number, line) in numbered(text) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            pieces.push((number, line.to_owned()));
        } else {
            pieces.extend(
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|code| (number, code.to_owned())),
            );
        }
    }
    pieces
}

/// `make check && make server W=5  # comment` names `check` and `server`.
fn make_targets(code: &str) -> Vec<&str> {
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let commands = code
        .split(['&', ';', '#'])
        .map(|command| command.trim().trim_start_matches("$ "));
    let words = commands.filter_map(|command| command.strip_prefix("make "));
    let names = words.flat_map(|words| words.split_whitespace().take_while(is_name));
    names.filter(|name| !name.starts_with('-')).collect()
}

/// The words of the form `--name` in a line.
fn options(line: &str) -> Vec<&str> {
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_option = |word: &&str| {
        word.strip_prefix("--")
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    words.filter(is_option).collect()
}

// ---- Rules 9 to 12: words and lines ----

#[test]
fn the_modes_bear_their_own_names() {
    let mut faults = Faults::default();
    for source in texts().iter().filter(|source| !source.path.starts_with("tests/")) {
        for (number, line) in numbered(&source.text) {
            let line = line.to_lowercase();
            for name in FOREIGN_MODES.iter().filter(|name| line.contains(*name)) {
                let remedy = "say single, thread, process or event";
                faults.add(&source.path, number, &format!("{name:?} is not ours; {remedy}"));
            }
        }
    }
    faults.report();
}

#[test]
fn nothing_points_to_the_machine_it_was_written_on() {
    let mut faults = Faults::default();
    for source in texts().iter().filter(|source| source.path != "tests/tidy.rs") {
        for (number, line) in numbered(&source.text) {
            for path in MACHINE_PATHS.iter().filter(|path| has_word(line, path)) {
                let remedy = format!("{path} is one machine's; make it relative");
                faults.add(&source.path, number, &remedy);
            }
            for address in private_addresses(line) {
                let remedy = "use 127.0.0.1 or 192.0.2.1, which is kept for examples";
                faults.add(&source.path, number, &format!("{address} is private; {remedy}"));
            }
        }
    }
    faults.report();
}

fn private_addresses(line: &str) -> Vec<Ipv4Addr> {
    let words = line.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let addresses = words.filter_map(|word| word.trim_matches('.').parse::<Ipv4Addr>().ok());
    addresses.filter(Ipv4Addr::is_private).collect()
}

#[test]
fn lines_are_short_without_tabs_or_trailing_blanks() {
    let mut faults = Faults::default();
    for source in texts() {
        let is_rust = source.path.ends_with(".rs");
        for (number, line) in numbered(&source.text) {
            let count = line.chars().count();
            if is_rust && count > LINE_LIMIT {
                let remedy = format!("{count} characters; break at {LINE_LIMIT}");
                faults.add(&source.path, number, &remedy);
            }
            if line.contains('\t') && source.path != "Makefile" {
                faults.add(&source.path, number, "a tab; write blanks, or \\t in a string");
            }
            if line.ends_with(char::is_whitespace) {
                faults.add(&source.path, number, "blanks at the end; remove them");
            }
        }
    }
    faults.report();
}

#[test]
fn nothing_is_left_for_later() {
    let mut faults = Faults::default();
    for source in sources() {
        for (number, line) in numbered(&source.text) {
            for mark in UNFINISHED.iter().filter(|mark| has_word(line, mark)) {
                faults.add(&source.path, number, &format!("{mark}: do it, or open an issue"));
            }
        }
    }
    faults.report();
}

// ---- Files ----

/// A text of the project; its path is relative to the project's folder.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Its room, or it itself, is among these.
    fn is_one_of(&self, names: &str) -> bool {
        names
            .split_whitespace()
            .any(|name| name == self.room() || name == self.file())
    }

    /// Lines of code and comments in front of the tests.
    fn reading_lines(&self) -> usize {
        self.program()
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    }

    fn read(path: &str) -> Source {
        match fs::read_to_string(root().join(path)) {
            Ok(text) => Source {
                path: path.to_owned(),
                text,
            },
            Err(error) => panic!("{path}: {error}; the rules ask for this file"),
        }
    }

    /// As the chapters call each other: below `src/`.
    fn file(&self) -> &str {
        self.path.trim_start_matches("src/")
    }

    /// The last part of the path, without its ending.
    fn module(&self) -> &str {
        self.path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// The room that it is, or is a child of.
    fn room(&self) -> &str {
        self.file()
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// A part of a room.
    fn is_child(&self) -> bool {
        self.file().contains('/')
    }

    /// What unit tests share is no chapter.
    fn is_appendix(&self) -> bool {
        self.path == "src/session/testing.rs"
    }

    /// `6b` of `//! # Chapter 6b. Question?`.
    fn chapter(&self) -> Option<&str> {
        Some(self.text.strip_prefix("//! # Chapter ")?.split_once(". ")?.0)
    }

    /// The `//!` lines at the top as one line, so that a phrase is found wherever it was broken.
    fn header(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix("//!"));
        lines.collect()
    }

    /// `before` and `after` of the header's line ``before: `a.rs` … after: `b.rs` ``.
    fn neighbours(&self) -> (String, String) {
        let link = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("//! before: "));
        let (before, after) = link
            .and_then(|link| link.split_once(" … after: "))
            .unwrap_or_default();
        (before.replace('`', ""), after.replace('`', ""))
    }

    /// The number of the first line that begins with `start`, or 1.
    fn line_of(&self, start: &str) -> usize {
        numbered(&self.text)
            .find(|(_, line)| line.starts_with(start))
            .map_or(1, |(number, _)| number)
    }

    /// The text in front of `#[cfg(test)] mod tests`.
    fn program(&self) -> &str {
        if self.is_appendix() {
            return "";
        }
        self.text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder`, sorted, with paths relative to the project.
fn walk(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
    let mut paths = Vec::new();
    for entry in entries {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => paths.extend(walk(&path)),
            false => paths.push(path),
        }
    }
    paths.sort();
    paths
}

fn sources() -> Vec<Source> {
    let paths = walk("src").into_iter().filter(|path| path.ends_with(".rs"));
    paths.map(|path| Source::read(&path)).collect()
}

fn chapters() -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|source| !source.is_child())
        .collect()
}

/// The README and what it leads to.
fn documents() -> Vec<Source> {
    let beside = ["README.md", SUMMARY, "BENCHMARKS.md", "CONTRIBUTING.md"]
        .map(str::to_owned)
        .into_iter();
    let pages = walk("docs").into_iter().filter(|path| path.ends_with(".md"));
    beside.chain(pages).map(|path| Source::read(&path)).collect()
}

/// Every text that people read: sources, tests, documents, and the files beside them.
fn texts() -> Vec<Source> {
    let rust = walk("src")
        .into_iter()
        .chain(walk("tests"))
        .filter(|path| path.ends_with(".rs"));
    let beside = ["Makefile", ".ci/run"].map(str::to_owned);
    let read = rust.chain(beside).map(|path| Source::read(&path));
    read.chain(documents()).collect()
}

/// The chapters in reading order: `main.rs`, then wherever each `after:` leads.
fn chain(all: &[Source]) -> Vec<&Source> {
    let mut chain: Vec<&Source> = Vec::new();
    let mut next = "main.rs".to_owned();
    while let Some(source) = all.iter().find(|source| source.file() == next) {
        if chain.iter().any(|linked| linked.path == source.path) {
            break;
        }
        chain.push(source);
        next = source.neighbours().1;
    }
    chain
}

/// `6b` comes after `6` and before `7`. A number that is none ranks lowest.
fn rank(number: &str) -> (u32, &str) {
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    (number[..end].parse().unwrap_or(0), &number[end..])
}

/// What is wrong: file, line and remedy.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, path: &str, line: usize, remedy: &str) {
        self.0.push(format!("{path}:{line}: {remedy}"));
    }

    /// Fails with all at once, one a line, if there are any.
    fn report(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}

// ---- The scanner: what is code, which names and functions are in it ----

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` occurs in `text` on its own: `unsafe` is not in `unsafe_code`, `/work` not in `/workers`.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let glued_left = text[..at].ends_with(is_word_part) && word.starts_with(is_word_part);
        let glued_right = text[at + word.len()..].starts_with(is_word_part) && word.ends_with(is_word_part);
        !glued_left && !glued_right
    })
}

/// Rust text with blanks in the place of comments, strings and characters; every line keeps its number.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let in_word = at > 0 && is_word_part(chars[at - 1]);
        let end = chars.len().min(at + prose_length(&chars[at..], in_word));
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// The length of the comment, string or character that `rest` begins with; 0 when that is code.
fn prose_length(rest: &[char], in_word: bool) -> usize {
    match rest {
        ['/', '/', ..] => length_until(rest, 2, "\n") - 1,
        ['/', '*', ..] => length_until(rest, 2, "*/"),
        ['"', ..] => string_length(rest),
        ['r', '"' | '#', ..] if !in_word => raw_string_length(rest),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => 1 + raw_string_length(&rest[1..]),
        ['\'', '\\', _, ..] => length_until(rest, 3, "'"),
        ['\'', _, '\'', ..] => 3, // anything else after an apostrophe is a lifetime
        _ => 0,
    }
}

/// The length up to and with the first `end` at or after `from`; more than all when there is none.
fn length_until(rest: &[char], from: usize, end: &str) -> usize {
    let end: Vec<char> = end.chars().collect();
    let found = (from..rest.len()).find(|&at| rest[at..].starts_with(&end));
    found.unwrap_or(rest.len()) + end.len()
}

fn string_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r#"…"#` with any number of `#`; `r#name` is code.
fn raw_string_length(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    match rest.get(1 + hashes) {
        Some('"') => length_until(rest, 2 + hashes, &format!("\"{}", "#".repeat(hashes))),
        _ => 0,
    }
}

/// The names that `code` reaches through `prefix`, with their lines: `crate::{a, b::{c, d}}` names a and b.
fn named_by(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let line = 1 + code[..at].matches('\n').count();
        names.extend(
            first_names(&code[at + prefix.len()..])
                .into_iter()
                .map(|name| (line, name)),
        );
    }
    names
}

fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![first_word(path)];
    };
    let mut outer = String::new();
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ if depth == 0 => outer.push(c),
            _ => {}
        }
    }
    outer
        .split(',')
        .map(first_word)
        .filter(|name| !name.is_empty())
        .collect()
}

fn first_word(path: &str) -> String {
    path.trim_start()
        .chars()
        .take_while(|&c| is_word_part(c) || c == '*')
        .collect()
}

struct Function {
    name: String,
    /// Counted from 1.
    line: usize,
    /// In lines, from the signature to the closing brace.
    length: usize,
}

/// All functions with a body. Relies on rustfmt: a closing brace stands exactly below its signature.
fn functions(text: &str) -> Vec<Function> {
    let code = code_of(text);
    let lines: Vec<&str> = code.lines().map(str::trim_end).collect();
    let mut functions = Vec::new();
    for at in 0..lines.len() {
        if let Some(name) = function_name(lines[at])
            && let Some(length) = function_length(&lines[at..])
        {
            functions.push(Function {
                name,
                line: at + 1,
                length,
            });
        }
    }
    functions
}

fn function_name(line: &str) -> Option<String> {
    const BEFORE_FN: [&str; 6] = ["pub", "pub(crate)", "const", "async", "unsafe", "extern"];
    let mut words = line
        .split_whitespace()
        .skip_while(|word| BEFORE_FN.contains(word));
    (words.next()? == "fn").then(|| words.next().map(first_word))?
}

/// `None` for a declaration without a body.
fn function_length(lines: &[&str]) -> Option<usize> {
    let signature_end = lines.iter().position(|line| line.ends_with([';', '{', '}']))?;
    match lines[signature_end].chars().next_back()? {
        ';' => None,
        '}' => Some(signature_end + 1),
        _ => {
            let indent = lines[0].len() - lines[0].trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            Some(lines.iter().position(|line| *line == end)? + 1)
        }
    }
}

#[test]
fn the_scanner_tells_code_from_prose() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b\n */ c", "a     \n    c"),
        ("f(\"a\\\"b\") c", "f(      ) c"),
        ("f(r#\"a\"b\"#) c", "f(        ) c"),
        ("f(br\"\\\") c", "f(     ) c"),
        ("r#fn + number\"a\"", "r#fn + number   "),
        ("b'\"' '\\'' '\\u{7f}' 'x", "b                  'x"),
        ("fn a<'a>(b: &'a str)", "fn a<'a>(b: &'a str)"),
        ("\"never closed", "             "),
        ("// at the very end", "                  "),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}

#[test]
fn the_scanner_finds_names_functions_and_commands() {
    let names = |code: &str| {
        named_by(code, "crate::")
            .into_iter()
            .map(|found| found.1)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("use crate::{\n    a::{b, c},\n    d,\n};\ncrate::e::f()"),
        ["a", "d", "e"]
    );
    assert_eq!(names("use crate::*;"), ["*"]);
    assert!(has_word("[unsafe]", "unsafe") && !has_word("unsafe_code", "unsafe"));
    let text =
        "fn a() {}\ntrait B {\n    fn c();\n    pub const fn d(\n    ) {\n        {\n        }\n    }\n}";
    let found: Vec<_> = functions(text)
        .into_iter()
        .map(|f| (f.name, f.line, f.length))
        .collect();
    assert_eq!(found, [("a".to_owned(), 1, 1), ("d".to_owned(), 4, 5)]);
    assert_eq!(
        make_targets("$ make a b W=5 c && make -j2 d # make e"),
        ["a", "b", "d", "e"]
    );
    assert_eq!(
        options("| --- | `kolam a --b-c=d` -- --5 (--e)"),
        ["--b-c", "--e"]
    );
    let found: Vec<&str> = commands("$ kolam a-b; kolam c -d & kolam E # kolam f").collect();
    assert_eq!(found, ["c", "f"]);
    assert!(files("cp a.rs `b/c.py`: d.md").eq(["a.rs", "b/c.py"]));
}
