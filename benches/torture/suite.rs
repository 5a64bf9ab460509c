//! Which promises do the black-box tests show already? Their program is run for these, and not written twice.

use crate::tools;
use crate::trial::{Trial, Verdict};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// The program of the black-box tests, with words for its runner.
fn tests(words: &[&str]) -> Command {
    program(tools::tests(), words)
}

fn program(path: Option<PathBuf>, words: &[&str]) -> Command {
    let mut command = Command::new(path.unwrap());
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(words);
    // They run `make`, and what it was told here is not meant for it there.
    for variable in ["ONLY", "SCALE", "OUT", "FORCE", "DOC", "SHM"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs tests; the names of those that have passed, and of those that have failed.
fn run(command: &mut Command) -> [Vec<String>; 2] {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    eprintln!("{text}");
    [" ... ok", " ... FAILED"].map(|end| {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(end));
        lines.map(str::to_owned).collect()
    })
}

fn verdict([passed, failed]: [Vec<String>; 2], how: &str) -> Verdict {
    let figures = format!(
        "{} of {} tests of `tests/it` pass{how}",
        passed.len(),
        passed.len() + failed.len()
    );
    let wrong: Vec<String> = failed.iter().map(|name| format!("{name} fails")).collect();
    Verdict::of(figures, &wrong)
}

/// A promise that these tests show, which must all be there.
pub fn shown_by(names: &[&str]) -> Verdict {
    let found = run(tests(&["--exact", "--test-threads", "2"]).args(names));
    for name in names {
        assert!(
            found.iter().flatten().any(|found| found == name),
            "there is no test {name}"
        );
    }
    verdict(found, "")
}

/// Tests left out: they count the pieces of a reply, need two requests in one read, or measure time or memory.
const MEASURING: &[&str] = &[
    "check::",
    "the_grader_shows_the_token_and_never_prints_it",
    "browser::",
    "bench_scripts::",
    "each_receive_of_a_line_client",
    "sigterm_closes_the_idle_and_lets_the_active_finish",
    "between_two_machines_the_wire_is_the_limit",
    "readers_who_do_not_read_share_one_list",
];

/// Promise 16: all tests, while the program gets and sends little at a time.
pub fn little_at_a_time(_: Trial) -> Verdict {
    let mut command = tests(&["--test-threads", "4"]);
    command.env("LD_PRELOAD", tools::preload()).env("SHORTEN", "yes");
    for name in MEASURING {
        command.args(["--skip", name]);
    }
    let skipped = format!("; left out: {}", MEASURING.join(" "));
    verdict(run(&mut command), &skipped)
}

/// Promise 23: requests that two readers could understand differently.
pub fn http_cannot_be_smuggled(_: Trial) -> Verdict {
    shown_by(&[
        "http::what_is_malformed_or_ambiguous_is_refused_and_nothing_behind_it_is_answered",
        "http::whatever_is_sent_is_answered_in_order_and_never_behind_a_close",
        "http::connections_stay_or_close_as_each_version_says",
        "http_strict::the_authority_of_a_whole_url_replaces_the_host",
    ])
}

/// Promise 24: names that would begin lines of their own in the log.
pub fn logs_cannot_be_forged(_: Trial) -> Verdict {
    shown_by(&[
        "wire::a_log_has_one_line_for_each_request_and_no_control_characters",
        "http::a_log_has_one_line_for_each_request_and_no_control_characters",
    ])
}

/// Promise 25: random input for each parser, in a build that checks the arithmetic.
pub fn parsers_do_not_panic(trial: Trial) -> Verdict {
    let time = trial.seconds(60).as_secs();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut command = program(tools::units(), &["fuzz_", "--test-threads", "1"]);
    command
        .env("FUZZ_SECONDS", time.to_string())
        .env("FUZZ_SEED", seed.to_string());
    // In memory, where files come and go fastest.
    command.env("TMPDIR", "/dev/shm").stderr(Stdio::piped());
    let output = command.output().unwrap();
    let rows = String::from_utf8_lossy(&output.stderr).into_owned();
    eprintln!("{}{rows}", String::from_utf8_lossy(&output.stdout));
    // NAME N inputs N a second, N as a twin says, seed N
    let counted: Vec<(u64, u64)> = rows
        .lines()
        .filter(|line| line.contains(" inputs "))
        .map(|line| {
            let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
            (numbers.next().unwrap(), numbers.nth(1).unwrap())
        })
        .collect();
    let (inputs, twins) = counted
        .iter()
        .fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    let fewest = counted.iter().map(|row| row.0).min().unwrap_or(0);
    let figures = format!(
        "{} parsers, {inputs} inputs in {time} s, {fewest} each at least, {twins} as a naive twin says; seed {seed}",
        counted.len()
    );
    match output.status.success() && fewest > 0 {
        true => Verdict::Kept(figures),
        false => Verdict::Broken(format!("{}; {figures}", output.status)),
    }
}

/// Promise 27: what else may lie in a folder.
pub fn odd_files_are_harmless(_: Trial) -> Verdict {
    shown_by(&[
        "faults::odd_files_are_answered_and_never_waited_for",
        "faults::a_file_that_is_cut_short_while_it_is_sent_ends_without_the_end_mark",
        "http::a_file_that_is_cut_short_while_it_is_sent_ends_short",
        "both::a_file_that_grows_while_it_is_sent_is_sent_as_long_as_it_was",
        "wire::folders_links_and_pipes_are_no_regular_files",
        "wire::names_have_at_most_255_bytes",
    ])
}
