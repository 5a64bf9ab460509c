//! What makes the program pleasant at a terminal: environment variables, completions, the man page, and their
//! installation.

use crate::support::*;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command of the program with environment variables.
fn with(variables: &[(&str, &str)], words: impl Words) -> Ended {
    let mut command = kolam(words);
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    Run::start(&mut command).finish(PATIENCE)
}

#[test]
fn a_variable_gives_the_value_of_an_option_that_is_not_typed() {
    let files = Folder::new();
    files.write("a", b"A");
    let server = Server::start("thread", 2, &files, "");
    let (here, nowhere) = (server.address.to_string(), "127.0.0.1:1");
    let list = |variable: &str, words: &str| with(&[("KOLAM_SERVER", variable)], format!("list {words}"));
    assert_eq!(list(&here, "").ok(), "a\n");
    assert_eq!(list(nowhere, &format!("--server {here}")).ok(), "a\n");
    list("", "--server x").failed(2, &["--server x: expected HOST:PORT"]);
    list("x", "").failed(2, &["KOLAM_SERVER=x: expected HOST:PORT"]);
    list(nowhere, "").failed(1, &["KOLAM_SERVER=127.0.0.1:1: cannot connect"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let root = files.word("served");
    let serve = |listen: &str, root: &str| with(&[("KOLAM_LISTEN", listen), ("KOLAM_ROOT", root)], "serve");
    serve("x:y", &root).failed(2, &["KOLAM_LISTEN=x:y: expected HOST:PORT"]);
    serve(&here, &root).failed(1, &["cannot listen on", "choose another KOLAM_LISTEN"]);
    serve(&taken, &files.word("a")).failed(1, &[&format!("cannot serve KOLAM_ROOT={}", files.word("a"))]);
    assert!(
        files.join("served").is_dir(),
        "the folder of the variable is made"
    );
    for (command, names) in [
        ("serve", &VARIABLES[1..]),
        ("balance", &VARIABLES[1..2]),
        ("stats", &VARIABLES[..1]),
        ("man", &[]),
    ] {
        let help = run(format!("{command} --help"));
        for name in VARIABLES {
            let told = help.ok().contains(&format!("{name}]"));
            assert_eq!(told, names.contains(&name), "{command}: {name}");
        }
        run("--help").says(names);
    }
}

#[test]
fn the_short_help_is_short_and_the_long_one_has_examples() {
    for command in COMMANDS {
        let [short, long] = ["-h", "--help"].map(|option| run(format!("{command} {option}")));
        assert!(short.ok().len() < long.ok().len(), "{command}");
        assert!(!short.ok().contains("\nexamples:\n"), "{command}");
        long.says(&["\nexamples:\n", &format!("kolam {command}")]);
    }
    run("-h").says(&["kolam help COMMAND"]);
    run("--help").says(&["examples:", "130"]);
}

/// Runs `make` for an installation below `folder`.
fn make(target: &str, folder: &Folder) -> Ended {
    let mut command = Command::new("make");
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR"] {
        command.env_remove(name);
    }
    command.args([
        "--no-print-directory",
        "-C",
        env!("CARGO_MANIFEST_DIR"),
        target,
        "PREFIX=/usr",
    ]);
    command.arg(format!("DESTDIR={}/a place", folder.path().display()));
    if target == "install" {
        command.arg(concat!("KOLAM=", env!("CARGO_BIN_EXE_kolam")));
    }
    Run::start(command.stdin(Stdio::null())).finish(PATIENCE * 3)
}

/// The files below `folder`, with their permissions.
fn installed(folder: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(installed(&path));
        } else {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.push((path.display().to_string(), mode));
        }
    }
    found.sort();
    found
}

/// What bash offers for the last of these words, by the script at `script`. An `=` is a word of its own.
fn bash_offers(script: &Path, words: &[&str]) -> String {
    let mut command = Command::new("bash");
    let program = "source \"$1\"; shift; COMP_WORDS=(kolam \"$@\"); COMP_CWORD=$#; compopt() { :; }; _kolam; \
                   echo \"${COMPREPLY[*]}\"";
    command
        .args(["--norc", "-c", program, "bash"])
        .arg(script)
        .args(words);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    Run::start(&mut command)
        .finish(PATIENCE)
        .ok()
        .trim_end()
        .to_owned()
}

#[test]
fn what_is_installed_is_whole_and_goes_again() {
    let folder = Folder::new();
    assert_eq!(make("install", &folder).ok().lines().count(), 1);
    let places = [
        ("bin/kolam", 0o755, ""),
        (
            "share/bash-completion/completions/kolam",
            0o644,
            "completions bash",
        ),
        (
            "share/fish/vendor_completions.d/kolam.fish",
            0o644,
            "completions fish",
        ),
        ("share/man/man1/kolam.1", 0o644, "man"),
        ("share/zsh/site-functions/_kolam", 0o644, "completions zsh"),
    ];
    let place = |name: &str| folder.path().join("a place/usr").join(name);
    let expected = places.map(|(name, mode, _)| (place(name).display().to_string(), mode));
    assert_eq!(installed(folder.path()), expected);
    for (name, _, words) in places.into_iter().filter(|row| !row.2.is_empty()) {
        assert_eq!(
            fs::read_to_string(place(name)).unwrap(),
            run(words).ok(),
            "{name}"
        );
    }
    let script = place("share/bash-completion/completions/kolam");
    for (line, offers) in [
        (&["serv"][..], "serve"),
        (&["help", "sta"], "stats"),
        (&["serve", "--mode", ""], "single thread process event"),
        (&["serve", "--mode", "="], "single thread process event"),
        (&["serve", "--mode", "=", "pr"], "process"),
        (&["serve", "--workers", ""], ""),
        (&["serve", "--root", "sr"], "src"),
        (&["serve", "--max-u"], "--max-upload"),
        (&["upload", "Cargo.l"], "Cargo.lock"),
        (&["completions", ""], "bash zsh fish"),
    ] {
        let offered = bash_offers(&script, line);
        // Without event mode there are three.
        let offers = if offers.contains(' ') && line.contains(&"--mode") {
            MODES.join(" ")
        } else {
            offers.to_owned()
        };
        assert_eq!(offered, offers, "{line:?}");
    }
    assert_eq!(make("uninstall", &folder).ok(), "");
    assert_eq!(installed(folder.path()), []);
    run("completions tcsh").failed(2, &["SHELL tcsh: expected bash, zsh, fish"]);
}

#[test]
fn several_files_go_one_after_another_and_one_that_fails_stops_none() {
    let (files, here) = (Folder::new(), Folder::new());
    for name in ["a", "b c", "d"] {
        here.write(name, name.as_bytes());
    }
    let server = Server::start("thread", 2, &files, "");
    let ask = |words: &[&str]| {
        let mut command = kolam(words);
        command
            .arg(format!("--server={}", server.address))
            .current_dir(here.path());
        Run::start(command.stdin(Stdio::null())).finish(PATIENCE)
    };
    let sent = ask(&["upload", "a", "none", "b c", "d"]);
    assert_eq!((sent.code, sent.text().lines().count()), (Some(1), 3), "{sent:?}");
    assert_has(
        &sent.stderr,
        &["cannot read none: ", "kolam: 1 of 4 files failed\n"],
    );
    assert_eq!(files.names(), ["a", "b c", "d"]);
    for name in ["a", "d"] {
        fs::remove_file(here.join(name)).unwrap();
    }
    let fetched = ask(&["download", "a", "none", "d"]);
    assert_eq!(
        (fetched.code, fetched.text().lines().count()),
        (Some(1), 2),
        "{fetched:?}"
    );
    assert_has(
        &fetched.stderr,
        &["none: ", "file not found", "1 of 3 files failed"],
    );
    assert_eq!([here.read("a"), here.read("d")], [b"a", b"d"]);
    let stats = ask(&["stats", "--json"]);
    assert_has(
        stats.ok(),
        &[
            "{\"mode\":\"thread\",\"workers\":2,",
            "\"per_worker\":[{\"served\":",
        ],
    );
    assert!(stats.ok().ends_with("}\n") && stats.ok().lines().count() == 1);
    ask(&["list", "--long"]).failed(2, &["--long", "http://HOST:PORT"]);
}
