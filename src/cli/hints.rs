//! What did the user probably mean? A word that is a few letters away from a known one was mistyped; a word
//! that other programs use for the same thing was guessed: those stand in two tables. For everything else
//! there is no hint, because a wrong one costs more time than none.

use super::Opt;

/// Words for an option that other programs use, and the options that they can mean here, of which a command
/// has some or none; `part of`: they are a part of that option's value. At the end of a line: the volume that
/// alone has the option.
pub const OTHER_OPTIONS: &[&str] = &[
    "-p --data --body --post: -d", // bench
    "-t --time --duration: -z",    // bench
    "-X --method --request: -m",   // bench
    "--header --headers: -H",      // bench
    "--port -p --host --hostname --ip: part of --listen --server --target",
    "--address --addr --bind: --listen --server --target",
    "--dir --directory --folder --path --files -d: --root",
    "--output --output-dir --results --save: -o --out",
    "--dir --directory --folder --file: -o",
    "--threads --processes --procs --jobs -t -j: --workers --mode",
    "--threads --processes --workers -w: --servers --clients --modes",
    "--threads --processes --clients --users --concurrency --connections: -c", // bench
    "--concurrency --users -c: --clients",
    "--connections --clients: --max-connections",
    "--requests --number --count: -n", // bench
    "--keepalive --keep-alive: -k",    // bench
    "--size --sizes --files: --volumes",
    "--limit --max-size --max-file-size: --max-upload",
    "--silent -q: --quiet",
    "--write --writable --writeable: --allow-write",
    "--name --rename: --as",
    "--upstream --servers --peer: --backend",    // balance
    "--algorithm --strategy --method: --policy", // balance
];

/// The same for commands.
pub const OTHER_COMMANDS: &[&str] = &[
    "ls dir: list",
    "get fetch pull: download",
    "put send push: upload",
    "rm remove del: delete",
    "info metrics: stats",
    "start run listen: serve",
    "test: stress",
    "proxy lb: balance", // balance
    "ab load: bench",    // bench
];

/// The words of a row, and what they can mean.
pub fn row(row: &&'static str) -> (Vec<&'static str>, Vec<&'static str>) {
    let (words, meant) = row.split_once(": ").unwrap_or_default();
    (words.split(' ').collect(), meant.split(' ').collect())
}

/// What to say about `word`, which is none of the options `known`. A guessed word is looked up first:
/// `--port` would be near `--root`.
pub fn for_option(word: &str, known: &[&Opt]) -> Option<String> {
    let rows = OTHER_OPTIONS.iter().map(row);
    for (_, meant) in rows.filter(|(words, _)| words.contains(&word)) {
        let here = |name: &&str| known.iter().find(|option| option.name == *name);
        let named = meant.iter().filter_map(here);
        let named: Vec<_> = named.map(|o| format!("{} {}", o.name, o.value)).collect();
        match named.join(" or ").trim_end() {
            "" => {}
            named if meant[0] == "part" => return Some(format!("it is part of {named}")),
            named => return Some(format!("did you mean {named}?")),
        }
    }
    nearest(word, known.iter().map(|option| option.name)).map(|near| format!("did you mean {near}?"))
}

/// What to say about `word`, which is none of the commands `known`.
pub fn for_command<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let mut rows = OTHER_COMMANDS.iter().map(row);
    let guessed = rows.find(|(words, _)| words.contains(&word));
    let meant = guessed
        .map(|(_, meant)| meant[0])
        .or_else(|| nearest(word, known));
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
    use crate::cli::opt;

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
            opt("--listen", "HOST:PORT", ""),
            opt("--root", "DIR", ""),
            opt("--workers", "N", ""),
            opt("--quiet", "", ""),
        ];
        let client = [opt("--server", "HOST:PORT", "")];
        let hint = |word, options: &[Opt]| for_option(word, &options.iter().collect::<Vec<_>>());
        for (word, expected) in [
            ("--port", Some("it is part of --listen HOST:PORT")),
            ("--bind", Some("did you mean --listen HOST:PORT?")),
            ("--folder", Some("did you mean --root DIR?")),
            ("--threads", Some("did you mean --workers N?")),
            ("--silent", Some("did you mean --quiet?")),
            ("--lisen", Some("did you mean --listen?")),
            ("--output", None),
            ("--colour", None),
        ] {
            assert_eq!(hint(word, &serve).as_deref(), expected, "{word}");
        }
        assert_eq!(
            hint("--port", &client).as_deref(),
            Some("it is part of --server HOST:PORT")
        );
    }
}
