//! How does an interrupted run go on? With the command that began it, in its folder: rows that are whole stay
//! as they are, the others run. Another program, machine or choice of rows would make a table of things that
//! cannot be compared, so the differences are named and nothing is done.

use crate::cli::{Args, Failure, failed, usage};
use crate::stress::live::print;
use crate::stress::machine::machine;
use crate::stress::matrix::Plan;
use crate::stress::report::{self, Outcome};
use crate::stress::run_folder::{ABOUT, RunFolder, cannot, options};
use crate::stress::{STRESS, launch, repeats, shards, test};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What must be the same, by its name in `machine.txt`.
const SAME: [&str; 5] = ["version", "commit", "cpu", "cores", "kernel"];

/// An earlier start of a run.
pub struct Earlier {
    path: PathBuf,
    /// Its `machine.txt`.
    about: String,
    /// Its command line.
    old: Option<Args>,
}

/// `kolam stress --resume DIR`
pub fn run(args: &Args) -> Result<(), Failure> {
    let path = args.path("--resume").unwrap_or(ABOUT.as_ref()).to_owned();
    let place = path.display();
    if args.has("--out") || args.has("--force") {
        return usage(format!(
            "--resume {place}: it continues the run in that folder; leave out --out and --force"
        ));
    }
    let about = fs::read_to_string(path.join(ABOUT)).or_else(|error| {
        failed(format!(
            "--resume {place}: {ABOUT}: {error}; name the folder of a run of kolam stress"
        ))
    })?;
    let command = unquoted(value(&about, "command"));
    let Some([program, name, old @ ..]) = Some(&command[..]).filter(|words| words.len() > 1) else {
        return failed(format!("--resume {place}: its {ABOUT} tells no command"));
    };
    if name != STRESS.name {
        return failed(format!("--resume {place}: it was made by {program} {name}"));
    }
    if value(&about, "state") == "complete" {
        return print(&format!("{place}: this run is complete; nothing is left to do\n"));
    }
    // The last of two equal options counts: so the user may give what does not change a row.
    let mut words: Vec<OsString> = old.iter().map(OsString::from).collect();
    let old = Args::parse(&STRESS, &words)?;
    if let Some(root) = pairs(value(&about, "options")).remove("--root") {
        words.extend(["--root".into(), root.into()]);
    }
    words.extend(env::args_os().skip(2));
    words.extend(["--out".into(), path.clone().into_os_string()]);
    let Some(args) = Args::parse(&STRESS, &words)? else {
        return Ok(());
    };
    test(&args, Some(&Earlier { path, about, old }))
}

/// A line of `machine.txt`.
fn value<'t>(about: &'t str, name: &str) -> &'t str {
    let mut lines = about.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_default().trim()
}

/// line = word *( " " word ) ; each as `run_folder::quote` makes it
fn unquoted(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\'' => quoted = !quoted,
            '\\' if !quoted => word.extend(characters.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Options and their values; a switch has none.
fn pairs(options: &str) -> BTreeMap<String, String> {
    let (mut pairs, mut name) = (BTreeMap::new(), String::new());
    for word in unquoted(options) {
        if word.starts_with("--") {
            name.clone_from(&word);
            pairs.insert(word, String::new());
        } else if let Some(value) = pairs.get_mut(&name) {
            *value = word;
        }
    }
    pairs
}

impl Earlier {
    /// The rows that it has left, if `plan`, which `args` have made, is still that of the run.
    pub fn rows(&self, args: &Args, plan: &Plan) -> Result<Vec<Outcome>, Failure> {
        self.check(args, plan)?;
        let mut known = Vec::new();
        for rows in plan.rows.chunk_by(|a, b| a.table == b.table) {
            let table = &rows[0].table;
            let path = self.path.join(format!("{table}.csv"));
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(|error| cannot("read", &path, &error))?,
            };
            // A line without its end was being written.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let (mut lines, head) = (whole.lines(), report::csv_head());
            // Of a file that is empty or has a part of that line, nothing is lost.
            if lines
                .next()
                .map_or(!head.starts_with(&text), |first| first != head)
            {
                return failed(format!(
                    "{}: its first line is not that of this version",
                    path.display()
                ));
            }
            for line in lines {
                let Some((_, outcome)) = shards::read(&plan.rows, table, line) else {
                    let place = path.display();
                    return failed(format!(
                        "{place}: no row of these options: {line}; remove this line"
                    ));
                };
                known.push(again(outcome, line, plan));
            }
        }
        Ok(known)
    }

    /// Refuses what differs, by name.
    fn check(&self, args: &Args, plan: &Plan) -> Result<(), Failure> {
        let (mut then, mut now) = (pairs(value(&self.about, "options")), pairs(&options(plan)));
        for option in launch::OPTIONS.iter().chain(shards::OPTIONS) {
            let text = |args: Option<&Args>| args.and_then(|args| args.text(option.name)).map(str::to_owned);
            then.extend(text(self.old.as_ref()).map(|text| (option.name.to_owned(), text)));
            now.extend(text(Some(args)).map(|text| (option.name.to_owned(), text)));
        }
        for (name, text) in machine(&plan.root)
            .into_iter()
            .filter(|(name, _)| SAME.contains(name))
        {
            then.insert(name.to_owned(), value(&self.about, name).to_owned());
            now.insert(name.to_owned(), text.trim().to_owned());
        }
        let both: BTreeMap<_, _> = then.iter().chain(&now).collect();
        let differing = both.keys().filter(|name| then.get(**name) != now.get(**name));
        let told = differing.map(|name| {
            let [then, now] = [&then, &now].map(|side| match side.get(*name).map(String::as_str) {
                None => format!("no {name}"),
                Some("") => name.to_string(),
                Some(value) => format!("{name} {value}"),
            });
            format!("{now} (the run has {then})")
        });
        let told: Vec<String> = told.collect();
        match told.is_empty() {
            true => Ok(()),
            false => failed(format!(
                "--resume {}: this would not be the same run: {}; leave out what differs, or begin a new run",
                self.path.display(),
                told.join(", ")
            )),
        }
    }

    /// Its folder, with nothing in it but the rows that are `known`.
    pub fn folder(&self, plan: &Plan, known: &[Outcome]) -> Result<RunFolder, Failure> {
        let of_each_start = ["ended ", "took ", "state "];
        let lines = self.about.lines();
        let lines = lines.filter(|line| !of_each_start.iter().any(|name| line.starts_with(name)));
        let about: String = lines.map(|line| format!("{line}\n")).collect();
        let folder = RunFolder::again(&self.path, &about)?;
        for rows in plan.rows.chunk_by(|a, b| a.table == b.table) {
            let table = &rows[0].table;
            let path = self.path.join(format!("{table}.csv"));
            let mut own = known
                .iter()
                .filter(|outcome| outcome.row.table == *table)
                .peekable();
            let written = match own.peek() {
                Some(_) => repeats::replace(&path, own.map(Outcome::csv)),
                // The first of its rows makes it.
                None => fs::remove_file(&path).or_else(|error| match error.kind() {
                    ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                }),
            };
            written.map_err(|error| cannot("write", &path, &error))?;
        }
        Ok(folder)
    }
}

/// A row that is known from its line. Where some of its runs are missing, it counts as one run: that in the
/// line, for the others are lost.
fn again(outcome: Outcome, line: &str, plan: &Plan) -> Outcome {
    let mut outcome = Outcome {
        line: Some(line.to_owned()),
        ..outcome
    };
    if outcome.repeats < plan.repeats.wanted(&[&outcome]) {
        (outcome.repeats, outcome.spread) = (1, None);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::run_folder::quote;

    #[test]
    fn quoted_words_come_back() {
        let words = [
            "kolam",
            "stress",
            "--root",
            "my results",
            "it's",
            "",
            "--launch",
            "ssh host '{}'",
        ];
        let line = words.map(quote).join(" ");
        assert_eq!(unquoted(&line), words);
    }

    #[test]
    fn options_have_their_values() {
        let pairs = pairs("--modes thread --warmup --volumes 1,2 --root 'a b'");
        let table = [
            ("--modes", "thread"),
            ("--warmup", ""),
            ("--volumes", "1,2"),
            ("--root", "a b"),
        ];
        assert_eq!(pairs.len(), table.len());
        for (name, value) in table {
            assert_eq!(pairs[name], value);
        }
    }

    #[test]
    fn values_are_found_by_their_whole_name() {
        let about = "started  2026\nstate    interrupted\n";
        assert_eq!(
            ["state", "start", "took"].map(|name| value(about, name)),
            ["interrupted", "", ""]
        );
    }
}
