//! What does the help say? It is made from the same table that parses the command line, so that the two never
//! differ. `-h` is short, `--help` is the whole with examples. Lines are broken between words, for a terminal
//! of 80 columns.

use crate::cli::environment::variables;
use crate::cli::examples::examples;
use crate::cli::units::FORMS;
use crate::cli::{Command, Opt, hints, opt};

/// Columns of a line of help: less than the 80 that a terminal has at least.
const HELP_COLUMNS: usize = 79;

/// Columns before the explanation of an option.
const NAMES: usize = 31;

/// The options that every command has.
static HELP: [Opt; 2] = [
    opt("-h", "", "this help in short"),
    opt("--help", "", "this help, with examples"),
];

/// How the program ends, as all its commands do.
pub const EXIT_CODES: [(u8, &str); 5] = [
    (0, "fine"),
    (1, "something failed, and stderr says what"),
    (2, "the command line or a variable makes no sense"),
    (3, "compare: slower than the threshold"),
    (130, "interrupted"),
];

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

impl Opt {
    /// What the help says about it: the variable, too.
    pub fn explained(&self) -> String {
        let variable = self.variable.map(|name| format!(" [variable {name}]"));
        format!("{}{}", self.help, variable.unwrap_or_default())
    }

    /// The same in short: up to the first `;` that is not in parentheses.
    pub fn brief(&self) -> &'static str {
        let mut depth = 0;
        let end = self.help.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ';' && depth == 0
        });
        &self.help[..end.unwrap_or(self.help.len())]
    }
}

impl Command {
    /// The options of its tables.
    pub fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().flatten()
    }

    /// The same, and those that every command has.
    pub fn all_options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options().chain(&HELP)
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

    /// The first line of what it is about: for the list of all commands.
    pub fn headline(&self) -> &'static str {
        self.about.lines().next().unwrap_or_default()
    }

    /// `kolam bench WHAT [URL] [options]`
    pub fn synopsis(&self) -> String {
        let (after, before): (Vec<&str>, Vec<&str>) =
            self.words.iter().partition(|word| word.starts_with("[--"));
        let words: String = before.iter().map(|word| format!("{word} ")).collect();
        let line = format!("kolam {} {words}[options] {}", self.name, after.concat());
        line.trim_end().to_owned()
    }

    /// The help text, made from the same table that parses.
    pub fn help(&self) -> String {
        let about = format!("kolam {}: {}", self.name, self.about);
        let about: Vec<String> = about.lines().map(|line| broken(line, 0)).collect();
        let mut text = format!("{}\n\nusage: {}\n\n", about.join("\n"), self.synopsis());
        for option in self.all_options() {
            text += &row(option, &option.explained());
        }
        let used = |(value, _): &(&str, &str)| self.options().any(|option| option.value == *value);
        for (index, (value, forms)) in FORMS.into_iter().filter(used).enumerate() {
            text += if index == 0 { "\n" } else { "" };
            text += &format!("{}\n", broken(&format!("{value}: {forms}"), 0));
        }
        for (index, (line, about)) in examples(self.name).enumerate() {
            text += if index == 0 { "\nexamples:\n" } else { "" };
            text += &format!("  {line}\n      {about}\n");
        }
        text
    }

    /// The same for someone who knows it and looks for the name of an option.
    pub fn short_help(&self) -> String {
        let mut text = format!("kolam {}: {}\n\n", self.name, broken(self.headline(), 0));
        text += &format!("usage: {}\n\n", self.synopsis());
        for option in self.options() {
            text += &row(option, option.brief());
        }
        text + &format!("\nkolam {} --help tells more, with examples\n", self.name)
    }
}

/// An option and its explanation, in two columns.
fn row(option: &Opt, explanation: &str) -> String {
    let name = format!("{} {}", option.name, option.value);
    format!("  {name:<0$} {1}\n", NAMES - 3, broken(explanation, NAMES))
}

/// All commands, in short or with all that holds for each of them.
pub fn overview(commands: &[&Command], short: bool) -> String {
    let mut text = "usage: kolam COMMAND [options]\n\n".to_owned();
    for command in commands {
        text += &format!("  {:<12} {}\n", command.name, broken(command.headline(), 15));
    }
    if !short {
        text += "\nvariables, for options that are not given:\n";
        for (variable, option, commands) in variables(commands) {
            let about = format!("{option} of {}", commands.join(", "));
            text += &format!("  {variable:<14} {}\n", broken(&about, 17));
        }
        text += "\nexit codes:\n";
        for (code, about) in EXIT_CODES {
            text += &format!("  {code:<4} {about}\n");
        }
        text += "\nexamples:\n";
        for command in ["serve", "upload", "list", "download"] {
            let first = examples(command).next();
            text += &first.map_or(String::new(), |(line, _)| format!("  {line}\n"));
        }
    }
    text + "\nkolam help COMMAND tells more; kolam --version prints the version\n"
}
