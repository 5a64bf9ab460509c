//! Which words can come next? Scripts that tell it to bash, zsh and fish, made from the tables that parse the
//! command line. A shell asks at each press of the Tab key, so the scripts start no program: all words stand
//! in them.

use super::{Command, MODES, Opt, is_path};

/// The shells that there are completions for.
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// What a value is one of, by the name of its option or word. A test compares it with the help.
#[rustfmt::skip]
pub const CHOICES: &[(&str, &[&str])] = &[
    ("--mode", &MODES),
    ("--protocol", &["file", "http"]),
    ("--dialect", &["delimiter", "line", "sized", "pause"]),
    ("--policy", &["round-robin", "least-connections"]),
    ("--client-mode", &["same", "thread", "process"]),
    ("--modes", &MODES),
    ("--ops", &["download", "upload", "list"]),
    ("--lang", &["en", "id"]),
    ("--as-server", &["row", "wire"]),
    ("WHAT", &["base64", "request", "http"]),
    ("SHELL", &SHELLS),
];

/// What a shell can offer for a value.
enum Offer {
    Files,
    Folders,
    Words(&'static [&'static str]),
    Nothing,
}

impl Offer {
    /// `name`: of the option or word; `what`: what its value is called.
    fn of(name: &str, what: &str) -> Offer {
        let choices = CHOICES.iter().find(|(known, _)| *known == name);
        match (choices, what.trim_matches(['[', ']', '…'])) {
            (Some((_, words)), _) => Offer::Words(words),
            (None, "DIR") => Offer::Folders,
            (None, what) if is_path(what) => Offer::Files,
            _ => Offer::Nothing,
        }
    }

    fn of_option(option: &Opt) -> Offer {
        Offer::of(option.name, option.value)
    }

    /// For the words of `command` that are no options. No command has words of two kinds that can be offered.
    fn of_words(command: &Command) -> Offer {
        let mut offers = command.words.iter().map(|what| Offer::of(what, what));
        offers
            .find(|offer| !matches!(offer, Offer::Nothing))
            .unwrap_or(Offer::Nothing)
    }
}

/// The script for `shell`, which is one of `SHELLS`.
pub fn completions(shell: &str, commands: &[&Command]) -> String {
    let made = format!("# Completions of kolam for {shell}. Made by: kolam completions {shell}\n");
    match shell {
        "bash" => made + &bash(commands),
        "zsh" => format!("#compdef kolam\n{made}{}", zsh(commands)),
        _ => made + &fish(commands),
    }
}

/// The words that can stand in the place of a command.
fn first_words(commands: &[&Command]) -> String {
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    format!("{} help --help -h --version -V", names.join(" "))
}

/// A word of a POSIX shell that stands for `text`, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn bash(commands: &[&Command]) -> String {
    let (mut values, mut cases) = (String::new(), String::new());
    for command in commands {
        let name = command.name;
        for option in command.options().filter(|option| !option.value.is_empty()) {
            let offer = match Offer::of_option(option) {
                Offer::Files => "kinds=-f".to_owned(),
                Offer::Folders => "kinds=-d".to_owned(),
                Offer::Words(words) => format!("words='{}'", words.join(" ")),
                Offer::Nothing => ":".to_owned(),
            };
            values += &format!("    '{name} {}') {offer} ;;\n", option.name);
        }
        let options: Vec<&str> = command.all_options().map(|option| option.name).collect();
        let own = match Offer::of_words(command) {
            Offer::Files => " kinds=-f".to_owned(),
            Offer::Folders => " kinds=-d".to_owned(),
            Offer::Words(words) => format!(" own='{}'", words.join(" ")),
            Offer::Nothing => String::new(),
        };
        cases += &format!("        {name}) options='{}'{own} ;;\n", options.join(" "));
    }
    BASH.replace("@first@", &first_words(commands))
        .replace("@values@\n", &values)
        .replace("@commands@\n", &cases)
}

/// Bash splits `--mode=thread` at the `=` (COMP_WORDBREAKS), so that the option is two words back.
const BASH: &str = r#"_kolam() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    local words='' options='' own='' kinds=''
    if [[ $current == '=' ]]; then
        current=''
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case "$command $before" in
@values@
    'help help') words='@first@' ;;
    *)
        if ((COMP_CWORD == 1)); then
            words='@first@'
        else
            case $command in
@commands@
            esac
            words="$own $options"
        fi
        # An option begins with a dash, a file does not, unless ./ stands before it.
        if [[ $current == -* ]]; then kinds=''; elif [[ $kinds || $own ]]; then words=$own; fi
        ;;
    esac
    if [[ $kinds ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen "$kinds" -- "$current")
    elif [[ $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -F _kolam kolam
"#;

fn zsh(commands: &[&Command]) -> String {
    // In a specification of `_arguments`, these have a meaning.
    let plain = |text: &str| {
        let escape = |c| {
            if "[]:\\".contains(c) {
                vec!['\\', c]
            } else {
                vec![c]
            }
        };
        text.chars().flat_map(escape).collect::<String>()
    };
    let action = |offer| match offer {
        Offer::Files => "_files".to_owned(),
        Offer::Folders => "_files -/".to_owned(),
        Offer::Words(words) => format!("({})", words.join(" ")),
        Offer::Nothing => String::new(),
    };
    let (mut names, mut cases) = (String::new(), String::new());
    for command in commands {
        let described = format!("{}:{}", command.name, command.headline());
        names += &format!("        {}\n", quoted(&described));
        cases += &format!("    {})\n        _arguments", command.name);
        for option in command.all_options() {
            let value = match option.value {
                "" => String::new(),
                what => format!(":{}:{}", plain(what), action(Offer::of_option(option))),
            };
            let equals = if value.is_empty() || !option.name.starts_with("--") {
                ""
            } else {
                "="
            };
            let spec = format!("{}{equals}[{}]{value}", option.name, plain(option.brief()));
            cases += &format!(" \\\n            {}", quoted(&spec));
        }
        let offer = action(Offer::of_words(command));
        if !offer.is_empty() {
            cases += &format!(
                " \\\n            {}",
                quoted(&format!("*:{}:{offer}", plain(command.words[0])))
            );
        }
        cases += "\n        ;;\n";
    }
    ZSH.replace("@names@\n", &names).replace("@commands@\n", &cases)
}

/// It can be a file `_kolam` in `$fpath`, which is the function itself, or be read by `source`.
const ZSH: &str = r#"_kolam() {
    local -a names=(
@names@
        'help:more about a command'
    )
    if ((CURRENT == 2)); then
        _describe -t commands command names
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
    help)
        _describe -t commands command names
        ;;
@commands@
    esac
}
if [[ $funcstack[1] == _kolam ]]; then
    _kolam "$@"
else
    compdef _kolam kolam
fi
"#;

fn fish(commands: &[&Command]) -> String {
    let mut text = FISH.to_owned();
    let fish_quoted = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    let offer = |offer, needs_value| match (offer, needs_value) {
        (Offer::Files, _) => " -r -F".to_owned(),
        (Offer::Folders, _) => " -x -a '(__fish_complete_directories)'".to_owned(),
        (Offer::Words(words), _) => format!(" -x -a '{}'", words.join(" ")),
        (Offer::Nothing, true) => " -x".to_owned(),
        (Offer::Nothing, false) => String::new(),
    };
    for command in commands {
        let (name, about) = (command.name, fish_quoted(command.headline()));
        text += &format!("complete -c kolam -n '__kolam_is \"\" help' -a {name} -d {about}\n");
        let here = format!("complete -c kolam -n '__kolam_is {name}'");
        for option in command.all_options() {
            let form = match option.name.strip_prefix("--") {
                Some(long) => format!("-l {long}"),
                None => format!("-s {}", &option.name[1..]),
            };
            let value = offer(Offer::of_option(option), !option.value.is_empty());
            text += &format!("{here} {form}{value} -d {}\n", fish_quoted(option.brief()));
        }
        match Offer::of_words(command) {
            Offer::Nothing => {}
            Offer::Files => text += &format!("{here} -F\n"),
            words => text += &format!("{here}{}\n", offer(words, false)),
        }
    }
    text
}

/// Is the command on the line one of these? `''`: there is none yet.
const FISH: &str = r#"function __kolam_is
    set -l words (commandline -opc)
    set -q words[2]; or set -a words ''
    contains -- $words[2] $argv
end
complete -c kolam -f
complete -c kolam -n '__kolam_is ""' -a help -d 'more about a command'
complete -c kolam -n '__kolam_is ""' -l help -s h -d 'all commands'
complete -c kolam -n '__kolam_is ""' -l version -s V -d 'print the version'
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::opt;

    static COMMAND: Command = Command {
        name: "test",
        words: &["[FILE…]"],
        about: "it's about\nmore",
        options: &[&[
            opt("--mode", "MODE", "a [b]: c (d; e); f"),
            opt("--out", "DIR", "where"),
            opt("-n", "N", "how many"),
            opt("--all", "", "everything"),
        ]],
        run: |_| Ok(()),
    };

    #[test]
    fn each_script_offers_what_the_tables_have() {
        for (shell, parts) in [
            (
                "bash",
                &[
                    "words='test help --help -h --version -V'",
                    "'test --mode') words='MODES' ;;",
                    "'test --out') kinds=-d ;;",
                    "'test -n') : ;;",
                    "test) options='--mode --out -n --all -h --help' kinds=-f ;;",
                ][..],
            ),
            (
                "zsh",
                &[
                    r"'test:it'\''s about'",
                    r"'--mode=[a \[b\]\: c (d; e)]:MODE:(MODES)'",
                    "'--out=[where]:DIR:_files -/'",
                    "'-n[how many]:N:'",
                    "'--all[everything]'",
                    r"'*:\[FILE…\]:_files'",
                ],
            ),
            (
                "fish",
                &[
                    r#"-n '__kolam_is "" help' -a test -d 'it\'s about'"#,
                    "-n '__kolam_is test' -l mode -x -a 'MODES' -d 'a [b]: c (d; e)'",
                    "-l out -x -a '(__fish_complete_directories)' -d 'where'",
                    "-s n -x -d 'how many'",
                    "-l all -d 'everything'",
                    "complete -c kolam -n '__kolam_is test' -F\n",
                ],
            ),
        ] {
            let script = completions(shell, &[&COMMAND]);
            for part in parts {
                let part = part.replace("MODES", &MODES.join(" "));
                assert!(script.contains(&part), "{shell}: {part}\n{script}");
            }
            assert!(!script.contains('@') || shell == "zsh", "{script}");
        }
    }
}
