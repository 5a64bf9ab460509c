//! What does `man kolam` show? All the tables as one page, in the language of man(7), which every formatter
//! of man pages reads. No date stands in it, so that one version of the program always gives the same page.

use super::environment::variables;
use super::examples::examples;
use super::help::EXIT_CODES;
use super::units::FORMS;
use super::{Command, Opt};

/// What `text` is in roff: a backslash begins an escape, a dash may become a hyphen, which is no dash to a
/// shell, and a dot or an apostrophe at the beginning of a line would make it a request.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += r"\e",
            '-' => out += r"\-",
            '`' => out += r"\(ga",
            '\'' => out += r"\(aq",
            '^' => out += r"\(ha",
            '~' => out += r"\(ti",
            '…' => out += "...",
            c => out.push(c),
        }
    }
    if out.starts_with('.') {
        format!(r"\&{out}")
    } else {
        out
    }
}

/// The paragraphs of a text, one sentence of the source a line of the page.
fn paragraphs(text: &str) -> String {
    let paragraph = |line: &str| match line {
        "" => String::new(),
        line => format!(".PP\n{}\n", plain(line)),
    };
    text.lines().map(paragraph).collect()
}

/// An option or a value, and what it means.
fn item(name: &str, value: &str, meaning: &str) -> String {
    let value = match value {
        "" => String::new(),
        value => format!(r" \fI{}\fR", plain(value)),
    };
    format!(".TP\n\\fB{}\\fR{value}\n{}\n", plain(name), plain(meaning))
}

fn section(command: &Command) -> String {
    let mut text = format!(".SS {}\n", plain(command.name));
    text += &format!("\\fB{}\\fR\n", plain(&command.synopsis()));
    text += &paragraphs(command.about);
    for option in command.options() {
        let Opt { name, value, .. } = option;
        text += &item(name, value, &option.explained());
    }
    for (index, (line, about)) in examples(command.name).enumerate() {
        text += if index == 0 { ".PP\nExamples:\n" } else { "" };
        text += &format!(
            ".PP\n.RS 4\n.nf\n\\fB{}\\fR\n.fi\n{}\n.RE\n",
            plain(line),
            plain(about)
        );
    }
    text
}

/// The page, in section 1.
pub fn manual(commands: &[&Command]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        ".\\\" Made by: kolam man\n.TH KOLAM 1 \"\" \"kolam {version}\" \"User Commands\"\n\
         .SH NAME\nkolam \\- file server with four ways to serve many clients, its client, and its tests\n\
         .SH SYNOPSIS\n\\fBkolam\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n\
         .SH DESCRIPTION\n{}\n",
        plain(
            "kolam serves the regular files of one folder with a single worker, a pool of threads, a pool \
             of processes, or event loops, by a file protocol over TCP or by HTTP. It also has the client of \
             that protocol, and programs that test and measure servers."
        )
    );
    text += &format!(
        ".PP\n{}\n",
        plain("Each command also takes -h for its short help and --help for its whole one.")
    );
    text += ".SH COMMANDS\n";
    text.extend(commands.iter().map(|command| section(command)));
    text += ".SH VALUES\n";
    text.extend(FORMS.map(|(value, forms)| item(value, "", forms)));
    text += ".SH ENVIRONMENT\nA variable gives the value of an option that is not on the command line.\n";
    for (variable, option, commands) in variables(commands) {
        text += &item(variable, "", &format!("{option} of {}", commands.join(", ")));
    }
    text += ".SH EXIT STATUS\n";
    text.extend(EXIT_CODES.map(|(code, about)| item(&code.to_string(), "", about)));
    text + ".SH SEE ALSO\n\\fBcurl\\fR(1), \\fBnc\\fR(1)\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_acts_on_the_page() {
        for (text, roff) in [
            ("--a-b", r"\-\-a\-b"),
            (r"\u{202e}", r"\eu{202e}"),
            (".gitignore", r"\&.gitignore"),
            ("'a'", r"\(aqa\(aq"),
            ("[DIR…]", "[DIR...]"),
            ("", ""),
        ] {
            assert_eq!(plain(text), roff);
        }
        assert_eq!(paragraphs("a\n\nb"), ".PP\na\n.PP\nb\n");
        assert_eq!(
            item("-o", "FILE", "where"),
            ".TP\n\\fB\\-o\\fR \\fIFILE\\fR\nwhere\n"
        );
    }
}
