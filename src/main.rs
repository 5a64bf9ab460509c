//! # Chapter 1. What is in this program?
//!
//! kolam is a file server with four ways to serve many clients and two protocols to serve them by, a client,
//! a stress tester that shows the difference, a load balancer, a load generator, a grader, and reports. This
//! file is the table of contents: the rooms in reading order, the subcommands, the exit codes (0 fine, 1
//! something failed, 2 usage, 130 interrupted).
//!
//! ```text
//!   server client stress balance bench check report top     what a user calls (some use another of these)
//!   protocol  dialects  access  http                        the protocols, as sessions
//!   cli  store  stats  net  pool                            what they stand on
//!   b64  json  session  sys                                 the ground floor: these need no other room
//! ```
//!
//! A room is a file `room.rs` and, where it is too much for one sitting, private files in `room/`: the first
//! is its contents page and main idea, the others are its parts, and no other room can reach them.
//!
//! The invariant: arrows between rooms lead down and never form a circle; `tests/tidy.rs` checks it.
//!
//! What must not live here: anything that does the work.
//!
//! before: the README … after: `session.rs`
//!
//! Experiment:
//! edit: let the table of commands forget one
//! run: cargo test --locked --bin kolam tests::every_hint
//! see: there is no command ["list"]

#[cfg(not(target_os = "linux"))]
compile_error!("kolam runs on Linux only: it uses epoll, /proc and processes that die with their parent");

// Evening 1: from socket to pool.
mod session; // 2 a protocol without sockets
mod protocol; // 3 what each verb does
mod pool; // 4 threads, processes, supervisor
mod server; // 5 listener, mode, stop

// Evening 2: the parts that it is made of.
mod b64; // 6 bytes become text
mod json; // 7 structure becomes text
#[allow(unsafe_code)]
mod sys; // 8 system calls
mod net; // 9 listening and closing
mod store; // 10 one folder and its files
mod stats; // 11 counts and log

// Evening 3: measuring.
mod client; // 12 the other side
mod stress; // 13 all combinations

// Volumes, in any order.
mod cli; // 14 options, errors, exit codes
mod http; // 15 the second protocol
mod balance; // 16 one address, many servers
mod bench; // 17 one step by itself
mod check; // 18 is that server right?
mod report; // 19 results as pictures
mod dialects; // 20 where does a message end?
mod top; // 21 what does the pool do now?
mod access; // 22 who may come in?

use cli::{Args, Command, Failure, print, usage};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, panic};

/// What `kolam` can be asked to do.
static COMMANDS: &[&Command] = &[
    &server::SERVE,
    &client::LIST,
    &client::DOWNLOAD,
    &client::UPLOAD,
    &client::DELETE,
    &client::STATS,
    &stress::STRESS,
    &stress::MERGE,
    &balance::BALANCE,
    &bench::BENCH,
    &check::CHECK,
    &report::REPORT,
    &report::COMPARE,
    &top::TOP,
    &COMPLETIONS,
    &MAN,
];

/// This one and the next tell of all commands, so they stand here.
static COMPLETIONS: Command = Command {
    name: "completions",
    words: &["SHELL"],
    about: "print the completions for SHELL: bash, zsh or fish\n\n\
            bash: save them as ~/.local/share/bash-completion/completions/kolam\n\
            zsh: save them as _kolam in a folder of $fpath\n\
            fish: save them as ~/.config/fish/completions/kolam.fish\n\
            make install does it for all users.",
    options: &[],
    run: |args| {
        let shell = args.choice_word(0, &cli::SHELLS)?;
        print(&cli::completions(shell, COMMANDS))
    },
};

static MAN: Command = Command {
    name: "man",
    words: &[],
    about: "print the manual as a man page",
    options: &[],
    run: |_| print(&cli::manual(COMMANDS)),
};

fn main() -> ExitCode {
    // One line instead of Rust's many: a panic is a fault of this program, and costs one request.
    panic::set_hook(Box::new(|info| {
        let text = info.to_string().replace('\n', " ");
        let _ = writeln!(io::stderr(), "kolam: this is a bug: {text}");
    }));
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    run(&words).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn run(words: &[OsString]) -> Result<(), Failure> {
    let Some((name, rest)) = words.split_first() else {
        return usage(format!("no command\n{}", cli::overview(COMMANDS, true)));
    };
    match name.to_string_lossy().as_ref() {
        "-h" => print(&cli::overview(COMMANDS, true)),
        "--help" | "help" => help(rest),
        "--version" | "-V" => print(concat!("kolam ", env!("CARGO_PKG_VERSION"), "\n")),
        name => {
            let command = find(name)?;
            let Some(args) = Args::parse(command, rest)? else {
                let asked = rest.iter().find(|word| *word == "-h" || *word == "--help");
                return print(&match asked {
                    Some(word) if word == "-h" => command.short_help(),
                    _ => command.help(),
                });
            };
            b64::choose().map_err(Failure::Usage)?;
            (command.run)(&args)
        }
    }
}

/// `kolam help`, or `kolam help COMMAND`, which is the same as `kolam COMMAND --help`.
fn help(words: &[OsString]) -> Result<(), Failure> {
    let no_option = |word: &&OsString| !word.as_encoded_bytes().starts_with(b"-");
    match words.iter().find(no_option) {
        Some(name) if name != "help" => print(&find(&name.to_string_lossy())?.help()),
        _ => print(&cli::overview(COMMANDS, false)),
    }
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    let hint = cli::for_command(name, COMMANDS.iter().map(|command| command.name));
    let hint = hint.unwrap_or_else(|| "try kolam --help".to_owned());
    usage(format!("unknown command {name}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_and_the_man_page_name_every_command_and_every_option() {
        let page = cli::manual(COMMANDS).replace("\\-", "-");
        for command in COMMANDS {
            let name = command.name;
            let of_page = page
                .split("\n.SS ")
                .find(|part| part.lines().next() == Some(name));
            let of_page = of_page.unwrap_or_else(|| panic!("man: {name} is missing"));
            for option in command.options() {
                let head = format!("\n\\fB{}\\fR", option.name);
                assert!(of_page.contains(&head), "man: {name} {}", option.name);
            }
        }
        for shell in cli::SHELLS {
            let script = cli::completions(shell, COMMANDS);
            for command in COMMANDS {
                let name = command.name;
                // What the script holds about this command alone, and how it writes an option there.
                let lines = |start: &str| {
                    script
                        .lines()
                        .filter(|line| line.contains(start))
                        .collect::<Vec<_>>()
                };
                let own = match shell {
                    "bash" => lines(&format!("        {name}) options='")).join("\n"),
                    "zsh" => script
                        .split(&format!("\n    {name})\n"))
                        .nth(1)
                        .unwrap_or_default()
                        .to_owned(),
                    _ => lines(&format!("'__kolam_is {name}'")).join("\n"),
                };
                let own = own.split("\n        ;;\n").next().unwrap_or_default();
                for option in command.all_options() {
                    let name = option.name;
                    let forms = match (shell, name.strip_prefix("--")) {
                        ("bash", _) => {
                            [format!("'{name} "), format!(" {name} "), format!(" {name}'")].to_vec()
                        }
                        ("zsh", _) => [format!("'{name}["), format!("'{name}=[")].to_vec(),
                        (_, Some(long)) => vec![format!(" -l {long} ")],
                        (_, None) => vec![format!(" -s {} ", &name[1..])],
                    };
                    assert!(
                        forms.iter().any(|form| own.contains(form)),
                        "{shell}: {} {name}: {own}",
                        command.name
                    );
                }
            }
        }
    }

    #[test]
    fn what_a_shell_offers_for_a_value_stands_in_the_help() {
        for (name, words) in cli::CHOICES {
            let options = COMMANDS.iter().flat_map(|command| command.options());
            let mut texts: Vec<&str> = options.filter(|o| o.name == *name).map(|o| o.help).collect();
            let with_word = COMMANDS.iter().filter(|command| command.words.contains(name));
            texts.extend(with_word.map(|command| command.about));
            for (word, text) in words
                .iter()
                .flat_map(|word| texts.iter().map(move |text| (word, text)))
            {
                assert!(text.contains(word), "{name}: {word} is not in {text:?}");
            }
        }
    }

    #[test]
    fn every_command_has_examples_that_its_table_takes() {
        for (line, _) in cli::EXAMPLES {
            let line = line
                .split_once("kolam ")
                .expect("an example calls this program")
                .1;
            let line = line.split(['|', '>']).next().unwrap_or_default();
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let command = find(&words[0].to_string_lossy()).expect(line);
            assert!(Args::parse(command, &words[1..]).is_ok(), "{line}");
        }
        for command in COMMANDS {
            let help = command.help();
            assert!(
                help.contains("\nexamples:\n"),
                "give {} one in cli/examples.rs",
                command.name
            );
        }
    }

    /// Each word of the tables must lead somewhere: to options and commands that exist, from a word that is
    /// none itself in at least one command that has what it leads to.
    #[test]
    fn every_hint_leads_to_something_that_exists() {
        let has = |command: &Command, name: &str| command.options().any(|option| option.name == name);
        for (words, meant) in cli::OTHER_OPTIONS.iter().map(cli::row) {
            let options = meant.strip_prefix(&["part", "of"]).unwrap_or(&meant);
            for word in words {
                let useful =
                    |command: &&Command| !has(command, word) && options.iter().any(|name| has(command, name));
                assert!(COMMANDS.iter().any(useful), "{word} leads nowhere");
            }
            for name in options {
                assert!(
                    COMMANDS.iter().any(|command| has(command, name)),
                    "no command has {name}"
                );
            }
        }
        for (words, meant) in cli::OTHER_COMMANDS.iter().map(cli::row) {
            assert!(
                meant.iter().all(|name| find(name).is_ok()),
                "there is no command {meant:?}"
            );
            assert!(
                words.iter().all(|word| find(word).is_err()),
                "{words:?}: one is a command"
            );
        }
    }
}
