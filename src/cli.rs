//! # Chapter 14. What did the user ask for?
//!
//! Each subcommand is a table of options; the same table parses the command line, writes the help text and
//! finds the option that was probably meant. Every mistake is answered with one line that names the option,
//! the value and the remedy.
//!
//! The invariant: a value that reaches a subcommand has been checked; the exit codes are the same in all of
//! them: 0 fine, 1 something failed, 2 usage, 130 interrupted.
//!
//! What must not live here: any option's meaning.
//!
//! before: `stress.rs` … after: `http.rs`
//!
//! Experiment:
//! edit: let `nearest` take any distance
//! run: cargo run -q --locked -- serve --colour red
//! see: did you mean

mod hints; // what was probably meant
mod help; // the table as a text
mod units; // sizes and times with units
mod terminal; // a line that changes
mod visible; // what a text of a peer looks like
mod completions; // what can come next
mod manual; // all tables as one page
mod examples; // what a user types first
mod environment; // what is not on the command line

pub use completions::{SHELLS, completions};
pub use help::{broken, overview};
pub use hints::for_command;
#[cfg(test)]
pub use hints::{OTHER_COMMANDS, OTHER_OPTIONS, row};
pub use manual::manual;
pub use terminal::{LiveLine, columns, cut, escapes_allowed, is_dumb, rows, width};
pub use units::{counted, nearest_rank, parse_digits};
pub use visible::{characters, visible, visible_name};
#[cfg(test)]
pub use {completions::CHOICES, examples::EXAMPLES};

use hints::nearest;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use units::{parse_duration, parse_size};

/// One option of a subcommand.
pub struct Opt {
    /// With its dashes.
    pub name: &'static str,
    /// What its value is called in the help; empty for a switch.
    pub value: &'static str,
    /// Begins with `for WORD: ` when the option is of use with one first word of the command only.
    pub help: &'static str,
    /// The environment variable that gives the value when the command line does not.
    pub variable: Option<&'static str>,
}

/// Shorthand for the tables.
pub const fn opt(name: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt {
        name,
        value,
        help,
        variable: None,
    }
}

impl Opt {
    /// The same option, whose value may also stand in an environment variable.
    pub const fn or_variable(self, variable: &'static str) -> Opt {
        Opt {
            variable: Some(variable),
            ..self
        }
    }

    /// The first word of the command that this option is for; `None`: it is for all. Only `bench` has such.
    fn only(&self) -> Option<&'static str> {
        let (word, _) = self.help.strip_prefix("for ")?.split_once(": ")?;
        Some(word)
    }
}

/// The ways to serve many clients, in the order of the course: the words of options, files and columns.
pub const MODES: [&str; 4] = ["single", "thread", "process", "event"];

/// A subcommand.
pub struct Command {
    pub name: &'static str,
    /// The words that are no options, as the help shows them. Those in brackets, at the end, may be missing.
    /// The last may be `[-- …]`: all words after `--`, for another command (only for the volume `balance`);
    /// or `[WORD…]`: there may be many.
    pub words: &'static [&'static str],
    /// The first line stands in the list of all commands; its own help has the rest too.
    pub about: &'static str,
    pub options: &'static [&'static [Opt]],
    pub run: fn(&Args) -> Result<(), Failure>,
}

/// Why the program ends without success.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// Something did not work.
    Failed(String),
    /// Something is slower than the user allows: only `compare` says so.
    Slower(String),
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The reader of our output has closed it (`| head -1`): a clean end.
    OutputClosed,
}

impl Failure {
    /// Prints the error and returns the exit code.
    pub fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Failure::OutputClosed => return ExitCode::SUCCESS,
            Failure::Usage(text) => (text.as_str(), 2),
            Failure::Failed(text) => (text.as_str(), 1),
            Failure::Slower(text) => (text.as_str(), 3),
            Failure::Interrupted => ("interrupted", 130),
        };
        let _ = writeln!(io::stderr(), "kolam: {text}");
        ExitCode::from(code)
    }
}

/// A failure that is no mistake on the command line.
pub fn failed<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Failed(text.into()))
}

/// A mistake on the command line.
pub fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// Prints to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => failed(format!("cannot write to stdout: {error}")),
    }
}

/// The numbers of a list, in its order.
type Numbers = Result<Vec<u64>, Failure>;

/// A parsed command line.
pub struct Args {
    command: &'static Command,
    words: Vec<OsString>,
    /// What stands after `--`, for another command.
    rest: Vec<OsString>,
    given: Vec<(&'static str, OsString)>,
    /// How many of `given` were typed; the others come from environment variables.
    typed: usize,
}

impl Args {
    /// Sorts `words` into options of `command` and the rest. `None`: the help was asked for.
    pub fn parse(command: &'static Command, words: &[impl AsRef<OsStr>]) -> Result<Option<Args>, Failure> {
        let mut args = Args {
            command,
            words: Vec::new(),
            rest: Vec::new(),
            given: Vec::new(),
            typed: 0,
        };
        let mut words = words.iter().map(AsRef::as_ref);
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--help" | b"-h" => return Ok(None),
                b"--" if command.passes_on() => args.rest.extend(words.by_ref().map(OsStr::to_owned)),
                b"--" => args.words.extend(words.by_ref().map(OsStr::to_owned)),
                [b'-', _, ..] => args.take_option(word, &mut words)?,
                _ => args.words.push(word.to_owned()),
            }
        }
        let mistake = |what: String| usage(format!("{0}: {what}; try kolam {0} --help", command.name));
        let next = command.words.get(args.words.len());
        if let Some(missing) = next.filter(|word| !word.starts_with('[')) {
            return mistake(format!("{missing} is missing"));
        }
        let own = command.words.len() - usize::from(command.passes_on());
        if let Some(extra) = args.words.get(own).filter(|_| !command.repeats()) {
            return mistake(format!("unexpected word '{}'", extra.display()));
        }
        // The last one stands for all that may follow it.
        let whats = command
            .words
            .iter()
            .chain(command.words.last().into_iter().cycle());
        for (word, what) in args.words.iter().zip(whats) {
            check_text(command.name, what, word)?;
        }
        args.take_variables()?;
        Ok(Some(args))
    }

    /// option = name [ "=" value ] / name value
    fn take_option<'w>(
        &mut self,
        word: &OsStr,
        words: &mut impl Iterator<Item = &'w OsStr>,
    ) -> Result<(), Failure> {
        let mut parts = word
            .as_bytes()
            .splitn(2, |&byte| byte == b'=')
            .map(OsStr::from_bytes);
        let (name, value) = (parts.next().unwrap_or_default().to_string_lossy(), parts.next());
        let Some(option) = self.command.options().find(|option| option.name == name) else {
            return usage(self.command.unknown(&name, self.word(0)));
        };
        let value = match (option.value, value) {
            ("", Some(_)) => return usage(format!("{name} takes no value")),
            ("", None) => OsStr::new(""),
            (_, Some(value)) => value,
            (what, None) => match words.next() {
                Some(value) => value,
                None => return usage(format!("{name} needs a value: {name} {what}")),
            },
        };
        check_text(option.name, option.value, value)?;
        self.given.push((option.name, value.to_owned()));
        Ok(())
    }

    /// The words after `--`, when they are for another command.
    pub fn rest(&self) -> &[OsString] {
        &self.rest
    }

    /// The word at `index`, counted from 0, if it is no path.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index)?.to_str()
    }

    /// The word at `index`, counted from 0: a FILE or DIR, of any bytes.
    pub fn path_word(&self, index: usize) -> Option<&Path> {
        self.words.get(index).map(Path::new)
    }

    /// The value of an option that names a FILE or DIR, of any bytes; the last one if it was repeated.
    pub fn path(&self, name: &str) -> Option<&Path> {
        let found = self.given.iter().rev().find(|(given, _)| *given == name);
        found.map(|(_, value)| Path::new(value))
    }

    /// The value of an option as it was typed, the last one if it was repeated. For a path there is `path`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// All values of an option that may be repeated, in their order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let given = self.given.iter().filter(move |(given, _)| *given == name);
        given.filter_map(|(_, value)| value.to_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// An option that was given although it is for another first word only, and that word. For `bench`.
    pub fn misplaced(&self) -> Option<(&'static str, &'static str)> {
        let given = self.command.options().filter(|option| self.has(option.name));
        let mut limited = given.filter_map(|option| Some((option.name, option.only()?)));
        limited.find(|(_, only)| self.word(0) != Some(only))
    }

    /// The value of an option as `read` understands it; `default` if it was not given.
    fn value<T>(
        &self,
        name: &str,
        default: T,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        read(text).ok_or_else(|| Failure::Usage(format!("{}: expected {expected}", self.said(name, text))))
    }

    /// A whole number within `range`.
    pub fn number(&self, name: &str, default: u64, range: RangeInclusive<u64>) -> Result<u64, Failure> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.value(name, default, &expected, read)
    }

    /// A time as `parse_duration` reads it; `default` is in seconds.
    pub fn seconds(&self, name: &str, default: f64) -> Result<Duration, Failure> {
        let expected = "a time from 1ms to 1e9 seconds, \
                        such as 10, 0.5, 500ms, 2s, 5m or 1h (without a unit: seconds)";
        self.value(name, Duration::from_secs_f64(default), expected, parse_duration)
    }

    /// Bytes as `parse_size` reads them.
    pub fn size(&self, name: &str, default: u64) -> Result<u64, Failure> {
        let expected = "bytes, such as 1048576, 512K, 10MB or 1GiB (powers of 1024)";
        self.value(name, default, expected, parse_size)
    }

    /// One word out of `choices`.
    pub fn choice<'c>(&self, name: &str, default: &'c str, choices: &[&'c str]) -> Result<&'c str, Failure> {
        pick(name, self.text(name).unwrap_or(default), choices)
    }

    /// The same for the word at `index`.
    pub fn choice_word<'c>(&self, index: usize, choices: &[&'c str]) -> Result<&'c str, Failure> {
        pick(
            self.command.words[index],
            self.word(index).unwrap_or_default(),
            choices,
        )
    }

    /// A comma-separated list of words out of `choices`, each at most once.
    pub fn choices<'c>(
        &self,
        name: &str,
        default: &str,
        choices: &[&'c str],
    ) -> Result<Vec<&'c str>, Failure> {
        let text = self.text(name).unwrap_or(default);
        let mut picked = Vec::new();
        for word in text.split(',') {
            let word = pick(name, word, choices)?;
            if picked.contains(&word) {
                return usage(format!("{name} {text}: {word} is there twice"));
            }
            picked.push(word);
        }
        Ok(picked)
    }

    /// A comma-separated list of numbers within `range`, each at most once.
    pub fn numbers(&self, name: &str, default: &str, range: RangeInclusive<u64>) -> Numbers {
        self.list(name, default, "numbers", range, |word| word.parse().ok())
    }

    /// The same for sizes in MiB: `10` is the same as `10MB`.
    pub fn mebibytes(&self, name: &str, default: &str, range: RangeInclusive<u64>) -> Numbers {
        let whole = |bytes: &u64| bytes.is_multiple_of(1 << 20);
        let with_unit = |word: &str| parse_size(word).filter(whole).map(|bytes| bytes >> 20);
        self.list(name, default, "numbers of MiB", range, |word| {
            word.parse().ok().or_else(|| with_unit(word))
        })
    }

    fn list(
        &self,
        name: &str,
        default: &str,
        what: &str,
        range: RangeInclusive<u64>,
        parse: impl Fn(&str) -> Option<u64>,
    ) -> Numbers {
        let text = self.text(name).unwrap_or(default);
        let mut numbers = Vec::new();
        for word in text.split(',') {
            match parse(word) {
                Some(number) if range.contains(&number) && !numbers.contains(&number) => numbers.push(number),
                _ => {
                    let expected = format!("different {what} from {} to {}", range.start(), range.end());
                    return usage(format!("{name} {text}: expected {expected}, such as {default}"));
                }
            }
        }
        Ok(numbers)
    }

    /// `HOST:PORT`, looked up.
    pub fn address(&self, name: &str, default: &str) -> Result<SocketAddr, Failure> {
        let text = self.text(name).unwrap_or(default);
        look_up(&self.said(name, text), text, default)
    }

    /// A word that is no option, as `HOST:PORT`.
    pub fn address_word(&self, index: usize, example: &str) -> Result<SocketAddr, Failure> {
        let what = self.command.words[index];
        let text = self.word(index).unwrap_or_default();
        look_up(&format!("{what} {text}"), text, example)
    }

    /// All values of an option that is given once for each `HOST:PORT`, in their order.
    pub fn addresses(&self, name: &str, example: &str) -> Result<Vec<SocketAddr>, Failure> {
        let found = |text: &str| look_up(&self.said(name, text), text, example);
        self.all(name).map(found).collect()
    }
}

/// Is a value or word of this name in a table a path? Only paths may be other than UTF-8.
fn is_path(what: &str) -> bool {
    matches!(what.trim_matches(['[', ']', '…']), "FILE" | "DIR")
}

/// The user gave `value` for `what`, as part of `name`.
fn check_text(name: &str, what: &str, value: &OsStr) -> Result<(), Failure> {
    if is_path(what) || value.to_str().is_some() {
        return Ok(());
    }
    usage(format!("{name}: {what} {}: it is not UTF-8", value.display()))
}

/// A host with several addresses gives its IPv4 one, so that `localhost` means the same to a server and to
/// its clients. `said`: how the user has given `text`.
pub fn look_up(said: &str, text: &str, example: &str) -> Result<SocketAddr, Failure> {
    if !text.contains(':') {
        return usage(format!("{said}: expected HOST:PORT, such as {example}"));
    }
    let found = text.to_socket_addrs().and_then(|found| {
        let first = found.min_by_key(SocketAddr::is_ipv6);
        first.ok_or_else(|| io::Error::other("it has no address"))
    });
    let remedy = "expected HOST:PORT with a known host and a port from 0 to 65535";
    found.or_else(|error| usage(format!("{said}: {remedy} ({error})")))
}

fn pick<'c>(name: &str, word: &str, choices: &[&'c str]) -> Result<&'c str, Failure> {
    if let Some(choice) = choices.iter().find(|choice| **choice == word) {
        return Ok(choice);
    }
    let hint = nearest(word, choices.iter().copied());
    let hint = hint.map_or(String::new(), |near| format!("; did you mean {near}?"));
    usage(format!("{name} {word}: expected {}{hint}", choices.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::help::broken;
    use super::*;

    const COMMAND: Command = Command {
        name: "test",
        words: &["FILE", "MORE"],
        about: "about",
        options: &[&[opt("--number", "N", "help"), opt("--switch", "", "help")]],
        run: |_| Ok(()),
    };

    fn parse(line: &str) -> Result<Args, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match Args::parse(&COMMAND, &words) {
            Ok(args) => Ok(args.expect("no help was asked for")),
            Err(Failure::Usage(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_and_words_are_sorted() {
        let args = parse("a --number 5 - --switch --number=7 ").unwrap();
        assert_eq!(
            (args.word(0), args.word(1), args.word(2)),
            (Some("a"), Some("-"), None)
        );
        assert_eq!(args.number("--number", 1, 1..=9).unwrap(), 7);
        assert!(args.has("--switch"));
        let args = parse("-- --switch b").unwrap();
        assert_eq!((args.word(0), args.has("--switch")), (Some("--switch"), false));
    }

    #[test]
    fn mistakes_name_the_word_and_the_remedy() {
        let table = [
            ("", "test: FILE is missing; try kolam test --help"),
            ("a", "test: MORE is missing; try kolam test --help"),
            ("a b c", "test: unexpected word 'c'; try kolam test --help"),
            (
                "a --nubmer 3",
                "test: unknown option --nubmer; did you mean --number?",
            ),
            (
                "a --zzz",
                "test: unknown option --zzz; kolam test --help lists all",
            ),
            ("a --number", "--number needs a value: --number N"),
            ("a --switch=1", "--switch takes no value"),
        ];
        for (line, message) in table {
            assert_eq!(parse(line).err().as_deref(), Some(message), "{line}");
        }
    }

    fn value<T>(value: &str, read: impl Fn(&Args) -> Result<T, Failure>) -> Option<T> {
        read(&parse(&format!("a b --number={value}")).unwrap()).ok()
    }

    #[test]
    fn help_is_broken_between_words() {
        let word = "a".repeat(39);
        assert_eq!(
            broken(&format!("{word} {word}"), 0),
            format!("{word} {word}"),
            "79 columns"
        );
        assert_eq!(
            broken(&format!("{word} {word}b"), 0),
            format!("{word}\n{word}b"),
            "80 columns"
        );
        assert_eq!(
            broken(&format!("a {word} {word}"), 31),
            format!("a {word}\n{:31}{word}", "")
        );
        let long = "a".repeat(100);
        assert_eq!(
            broken(&format!("{long} b"), 0),
            format!("{long}\nb"),
            "one word has nowhere to break"
        );
        assert_eq!(broken("", 31), "");
    }

    #[test]
    fn values_are_checked_on_both_sides() {
        let number = |text| value(text, |args| args.number("--number", 1, 2..=9));
        assert_eq!(
            ["1", "2", "9", "10", "x", "-3"].map(number),
            [None, Some(2), Some(9), None, None, None]
        );
        let size = |text| value(text, |args| args.size("--number", 1));
        assert_eq!(
            ["0", "12", "3k", "2M", "1G"].map(size),
            [0, 12, 3072, 2 << 20, 1 << 30].map(Some)
        );
        assert_eq!(
            ["10M", "10m", "10MB", "10mb", "10MiB", "10mib"].map(size),
            [Some(10 << 20); 6]
        );
        assert_eq!(["1K", "1KB", "1KiB", "1024B", "1024"].map(size), [Some(1024); 5]);
        assert_eq!(
            [
                "",
                "K",
                "1T",
                "99999999999G",
                "1.5M",
                "é",
                "B",
                "1i",
                "1iB",
                "+1K"
            ]
            .map(size),
            [None; 10]
        );
        let seconds = |text| value(text, |args| args.seconds("--number", 1.0));
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        let milliseconds = |text| seconds(text).map(|time| time.as_millis());
        assert_eq!(
            ["500ms", "2s", "1.5s", "2m", "1h"].map(milliseconds),
            [500, 2000, 1500, 120_000, 3_600_000].map(Some)
        );
        assert_eq!(
            ["0", "-1", "nan", "inf", "1e99", "x", "s", "0.5ms", "2d"].map(seconds),
            [None; 9]
        );
        let numbers = |text| value(text, |args| args.numbers("--number", "1", 1..=9));
        assert_eq!(numbers("1,9"), Some(vec![1, 9]));
        assert_eq!(["0", "1,1", "1,", "10"].map(numbers), [None, None, None, None]);
        let mebibytes = |text| value(text, |args| args.mebibytes("--number", "1", 1..=2048));
        assert_eq!(mebibytes("10,20MB,1GiB,3072K"), Some(vec![10, 20, 1024, 3]));
        assert_eq!(
            ["10,10MB", "1K", "1048576", "3G", "x"].map(mebibytes),
            [const { None }; 5]
        );
        let choices = |text| value(text, |args| args.choices("--number", "a", &["a", "b"]));
        assert_eq!(choices("b,a"), Some(vec!["b", "a"]));
        assert_eq!(["c", "a,a", ""].map(choices), [None, None, None]);
        let address = |text| value(text, |args| args.address("--number", "127.0.0.1:1"));
        assert!(address("127.0.0.1:0").is_some() && address("[::1]:80").is_some());
        assert!(address("127.0.0.1").is_none() && address("127.0.0.1:65536").is_none());
    }

    #[test]
    fn a_repeated_option_keeps_all_its_values_in_their_order() {
        let args = parse("a --number 3 b --number=1 --switch --number 2").unwrap();
        assert_eq!(args.all("--number").collect::<Vec<_>>(), ["3", "1", "2"]);
        assert_eq!(
            (args.all("--other").count(), args.text("--number")),
            (0, Some("2"))
        );
    }

    #[test]
    fn the_help_explains_the_units_of_the_values_that_have_some() {
        static UNITS: Command = Command {
            options: &[&[opt("--size", "SIZE", ""), opt("--time", "TIME", "")]],
            ..COMMAND
        };
        let (with, without) = (UNITS.help(), COMMAND.help());
        assert!(
            with.contains("TIME: seconds") && with.contains("SIZE: bytes"),
            "{with}"
        );
        assert!(
            !without.contains("TIME:") && !without.contains("SIZE:"),
            "{without}"
        );
    }

    #[test]
    fn words_in_brackets_may_be_missing() {
        static OPTIONAL: Command = Command {
            words: &["WHAT", "[URL]"],
            ..COMMAND
        };
        for (line, good) in [("", false), ("a", true), ("a b", true), ("a b c", false)] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(Args::parse(&OPTIONAL, &words).is_ok(), good, "{line}");
        }
        assert!(OPTIONAL.help().contains("usage: kolam test WHAT [URL] [options]"));
    }
}
