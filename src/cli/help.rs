//! What does the help say? It is made from the same table that parses the command line, so that the two never
//! differ. Lines are broken between words, for a terminal of 80 columns.

use crate::cli::units::FORMS;
use crate::cli::{Command, Opt, hints, opt};

/// Columns of a line of help: less than the 80 that a terminal has at least.
const HELP_COLUMNS: usize = 79;

/// Columns before the explanation of an option.
const NAMES: usize = 31;

/// The option that every command has.
static HELP: Opt = opt("--help", "", "this text");

/// `text` broken between words. Its lines begin after `indent` columns, the first where the caller is.
pub fn broken(text: &str, indent: usize) -> String {
    let (mut lines, mut used) = (String::new(), indent);
    for word in text.split(' ') {
        let columns = word.chars().count();
        if used > indent && used + 1 + columns > HELP_COLUMNS {
            lines += &format!("\n{}", " ".repeat(indent));
            used = indent;
        } else if used > indent {
            lines.push(' ');
            used += 1;
        }
        lines += word;
        used += columns;
    }
    lines
}

impl Command {
    pub fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().flatten()
    }

    /// Why `name` is no option. Options for another word than `first` are no help.
    pub fn unknown(&self, name: &str, first: Option<&str>) -> String {
        let here = |only: Option<&str>| first.is_none() || only.is_none() || first == only;
        let known: Vec<&Opt> = self.options().filter(|option| here(option.only())).collect();
        let hint = hints::for_option(name, &known);
        let hint = hint.unwrap_or_else(|| format!("kolam {} --help lists all", self.name));
        format!("{}: unknown option {name}; {hint}", self.name)
    }

    /// Are the words after `--` for another command?
    pub fn passes_on(&self) -> bool {
        self.words.last().is_some_and(|word| word.starts_with("[--"))
    }

    /// May its last word be there many times?
    pub fn repeats(&self) -> bool {
        self.words
            .last()
            .is_some_and(|word| word.ends_with("…]") && !self.passes_on())
    }

    /// The help text, made from the same table that parses.
    pub fn help(&self) -> String {
        let about = format!("kolam {}: {}", self.name, self.about);
        let about: Vec<String> = about.lines().map(|line| broken(line, 0)).collect();
        let (after, before): (Vec<&str>, Vec<&str>) =
            self.words.iter().partition(|word| word.starts_with("[--"));
        let words: String = before.iter().map(|word| format!("{word} ")).collect();
        let usage = format!("usage: kolam {} {words}[options] {}", self.name, after.concat());
        let mut text = format!("{}\n\n{}\n\n", about.join("\n"), usage.trim_end());
        for Opt { name, value, help } in self.options().chain([&HELP]) {
            let name = format!("{name} {value}");
            text += &format!("  {name:<0$} {1}\n", NAMES - 3, broken(help, NAMES));
        }
        let used = |(value, _): &(&str, &str)| self.options().any(|option| option.value == *value);
        for (index, (value, forms)) in FORMS.into_iter().filter(used).enumerate() {
            text += if index == 0 { "\n" } else { "" };
            text += &format!("{}\n", broken(&format!("{value}: {forms}"), 0));
        }
        text
    }
}
