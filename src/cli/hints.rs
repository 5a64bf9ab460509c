//! # Chapter 14a. What did the user probably mean?
//!
//! Two kinds of mistakes deserve an answer. A word that is a few letters away from a known one was mistyped.
//! A word that other programs use for the same thing was guessed: those stand in two tables. For everything
//! else there is no hint, because a wrong one costs more time than none.
//!
//! ```text
//!   --wrokers ── one edit away from ──► --workers
//!   --port ──── in the table ─────────► part of --listen HOST:PORT
//!   --colour ─────────────────────────► no hint
//! ```
//!
//! The invariant: a hint names only what the command at hand has.
//!
//! What must not live here: what an option does.
//!
//! Experiment: let `nearest` take any distance, and ask for `kolam serve --port 80` without its row.

/// Words for an option that other programs use: the words, the options that they can mean here, whether they
/// are only a part of that option's value. Of those options a command has some or none.
pub const OTHER_OPTIONS: &[(&[&str], &[&str], bool)] = &[
    (&["-p", "--data", "--body", "--post"], &["-d"], false),
    (&["-t", "--time", "--duration"], &["-z"], false),
    (&["-X", "--method", "--request"], &["-m"], false),
    (&["--header", "--headers"], &["-H"], false),
    (
        &["--port", "-p", "--host", "--hostname", "--ip"],
        &["--listen", "--server", "--target"],
        true,
    ),
    (
        &["--address", "--addr", "--bind"],
        &["--listen", "--server", "--target"],
        false,
    ),
    (
        &["--dir", "--directory", "--folder", "--path", "--files", "-d"],
        &["--root"],
        false,
    ),
    (
        &["--output", "--output-dir", "--results", "--save"],
        &["-o", "--out"],
        false,
    ),
    (&["--dir", "--directory", "--folder", "--file"], &["-o"], false),
    (
        &["--threads", "--processes", "--procs", "--jobs", "-t", "-j"],
        &["--workers", "--mode"],
        false,
    ),
    (
        &["--threads", "--processes", "--workers", "-w"],
        &["--servers", "--clients", "--modes"],
        false,
    ),
    (
        &[
            "--threads",
            "--processes",
            "--clients",
            "--users",
            "--concurrency",
            "--connections",
        ],
        &["-c"],
        false,
    ),
    (&["--concurrency", "--users", "-c"], &["--clients"], false),
    (&["--connections", "--clients"], &["--max-connections"], false),
    (&["--requests", "--number", "--count"], &["-n"], false),
    (&["--keepalive", "--keep-alive"], &["-k"], false),
    (&["--size", "--sizes", "--files"], &["--volumes"], false),
    (
        &["--limit", "--max-size", "--max-file-size"],
        &["--max-upload"],
        false,
    ),
    (&["--silent", "-q"], &["--quiet"], false),
    (
        &["--write", "--writable", "--writeable"],
        &["--allow-write"],
        false,
    ),
    (&["--name", "--rename"], &["--as"], false),
    (&["--upstream", "--servers", "--peer"], &["--backend"], false),
    (&["--algorithm", "--strategy", "--method"], &["--policy"], false),
];

/// Words for a command that other programs use.
pub const OTHER_COMMANDS: &[(&[&str], &str)] = &[
    (&["ls", "dir"], "list"),
    (&["get", "fetch", "pull"], "download"),
    (&["put", "send", "push"], "upload"),
    (&["rm", "remove", "del"], "delete"),
    (&["info", "metrics"], "stats"),
    (&["start", "run", "listen"], "serve"),
    (&["test"], "stress"),
    (&["proxy", "lb"], "balance"),
    (&["ab", "load"], "bench"),
];

/// What to say about `word`, which is none of the options `known` (names and what their values are called).
/// A guessed word is looked up first: `--port` would be near `--root`.
pub fn for_option(word: &str, known: &[(&str, &str)]) -> Option<String> {
    let guessed = OTHER_OPTIONS.iter().filter(|(words, ..)| words.contains(&word));
    for (_, meant, part) in guessed {
        let here = |name: &&str| known.iter().find(|(known, _)| known == name);
        let named = meant
            .iter()
            .filter_map(here)
            .map(|(name, value)| format!("{name} {value}"));
        let named: Vec<String> = named.map(|text| text.trim_end().to_owned()).collect();
        match named.join(" or ") {
            none if none.is_empty() => {}
            named if *part => return Some(format!("it is part of {named}")),
            named => return Some(format!("did you mean {named}?")),
        }
    }
    nearest(word, known.iter().map(|(name, _)| *name)).map(|near| format!("did you mean {near}?"))
}

/// What to say about `word`, which is none of the commands `known`.
pub fn for_command<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let guessed = OTHER_COMMANDS.iter().find(|(words, _)| words.contains(&word));
    let meant = guessed.map(|(_, meant)| *meant).or_else(|| nearest(word, known));
    meant.map(|meant| format!("did you mean {meant}?"))
}

/// How many letters a word must have for each edit. With more edits it is probably another word.
const LETTERS_AN_EDIT: usize = 3;

/// The known word that is the fewest edits away, if it is near. Dashes in front count for nothing.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let letters = |word: &str| word.trim_start_matches('-').to_lowercase();
    let near = known
        .map(|known| (distance(&letters(word), &letters(known)), known))
        .min()?;
    (near.0 <= letters(word).len() / LETTERS_AN_EDIT).then_some(near.1)
}

/// Single-character edits between two words, two neighbours that changed places being one (the
/// "optimal string alignment" distance: Levenshtein 1966 with Damerau's transposition).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["--workers", "--mode", "--root", "-o", "--max-upload"];
        let find = |word| nearest(word, known.into_iter());
        for (word, meant) in [
            ("--wrokers", "--workers"),
            ("--rot", "--root"),
            ("-mode", "--mode"),
            ("--Root", "--root"),
            ("--o", "-o"),
            ("--max_upload", "--max-upload"),
        ] {
            assert_eq!(find(word), Some(meant), "{word}");
        }
        for word in ["--quiet", "--port", "--more-nodes", "-x", "-", "--", "", "é"] {
            assert_eq!(find(word), None, "{word}");
        }
        assert_eq!(
            [distance("", "ab"), distance("ab", "ba"), distance("abc", "abd")],
            [2, 1, 1]
        );
    }

    #[test]
    fn a_guessed_word_leads_to_what_the_command_has() {
        let serve = [
            ("--listen", "HOST:PORT"),
            ("--root", "DIR"),
            ("--workers", "N"),
            ("--quiet", ""),
        ];
        let hint = |word| for_option(word, &serve);
        assert_eq!(
            hint("--port").as_deref(),
            Some("it is part of --listen HOST:PORT")
        );
        assert_eq!(
            hint("--bind").as_deref(),
            Some("did you mean --listen HOST:PORT?")
        );
        assert_eq!(hint("--folder").as_deref(), Some("did you mean --root DIR?"));
        assert_eq!(hint("--threads").as_deref(), Some("did you mean --workers N?"));
        assert_eq!(hint("--silent").as_deref(), Some("did you mean --quiet?"));
        assert_eq!(hint("--lisen").as_deref(), Some("did you mean --listen?"));
        assert_eq!([hint("--output"), hint("--colour")], [None, None]);
        let server = [("--server", "HOST:PORT")];
        assert_eq!(
            for_option("--port", &server).as_deref(),
            Some("it is part of --server HOST:PORT")
        );
    }
}
