//! The program as people use it: the client's commands against the real server and against servers that lie,
//! exit codes, messages, mistyped words, closed pipes, interrupted transfers, and a server that cannot start.

use crate::support::pty::Terminal;
use crate::support::{
    Background, Ended, Folder, MODES, PATIENCE, Run, Server, base64, eventually, kolam, noise, run,
    run_with_input, signal, upload,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The commands that talk to a server, each with the words it needs.
const CLIENT: [&[&str]; 5] = [
    &["list"],
    &["download", "a"],
    &["upload", "-", "--as", "a"],
    &["delete", "a"],
    &["stats"],
];

/// Runs a client command against the server at `address`.
fn ask(address: SocketAddr, words: &[&str]) -> Ended {
    let address = address.to_string();
    run(&[words, &["--server", &address]].concat())
}

// ---- the client and its server ----

#[test]
fn the_client_uploads_lists_downloads_counts_and_deletes() {
    for mode in MODES {
        let (files, here) = (Folder::new(), Folder::new());
        let server = Server::start(mode, 2, &files, &[]);
        let content = noise(1_500_001, 1);
        here.write("a.bin", &content);
        here.write("empty", b"");
        let [source, empty, target] =
            ["a.bin", "empty", "b.bin"].map(|name| here.join(name).display().to_string());
        let ask = |words: &[&str]| ask(server.address, words);
        assert_eq!(ask(&["upload", &source]).ok(), "a.bin uploaded, 1500001 bytes\n");
        assert_eq!(
            ask(&["upload", &empty, "--as", "my empty \"file\""])
                .ok()
                .lines()
                .count(),
            1
        );
        assert!(files.read("a.bin") == content, "{mode}");
        assert_eq!(ask(&["list"]).ok(), "a.bin\nmy empty \"file\"\n");
        assert_eq!(
            ask(&["download", "a.bin", "-o", &target]).ok(),
            format!("{target} downloaded, 1500001 bytes\n")
        );
        assert!(here.read("b.bin") == content, "{mode}");
        assert_eq!(
            ask(&["download", "my empty \"file\"", "-o", &target]).code,
            Some(0)
        );
        assert_eq!(here.read("b.bin"), b"", "{mode}");
        assert_eq!(ask(&["delete", "a.bin"]).ok(), "a.bin deleted\n");
        assert_eq!(ask(&["delete", "my empty \"file\""]).code, Some(0));
        assert_eq!(ask(&["list"]).ok(), "");
        let stats = ask(&["stats"]);
        let counted = |key: &str| stats.ok().lines().any(|line| line.starts_with(key));
        assert!(
            counted("mode ") && counted("requests ") && counted("per_worker 0"),
            "{mode} {stats:?}"
        );
        assert!(stats.text().contains(mode), "{mode} {stats:?}");
        assert!(files.names().is_empty(), "{mode}");
        assert_eq!(here.names(), ["a.bin", "b.bin", "empty"], "{mode}");
        server.stop();
    }
}

#[test]
fn a_dash_is_stdin_or_stdout() {
    let files = Folder::new();
    let server = Server::start("thread", 2, &files, &[]);
    let address = server.address.to_string();
    for size in [0, 1, 5, 1023, 400_000] {
        let mut content = noise(size, 3);
        content.iter_mut().step_by(7).for_each(|byte| *byte = b'\n');
        let sent = run_with_input(&["upload", "-", "--as", "a", "--server", &address], &content);
        assert_eq!(sent.ok(), format!("a uploaded, {size} bytes\n"));
        let fetched = ask(server.address, &["download", "a", "-o", "-"]);
        assert_eq!((fetched.code, fetched.stderr.as_str()), (Some(0), ""));
        assert!(fetched.stdout == content, "{size} bytes");
    }
    run_with_input(&["upload", "-", "--server", &address], b"A").failed(2, &["--as"]);
    server.stop();
}

#[test]
fn a_download_goes_to_its_own_name_in_the_current_folder() {
    let (files, here) = (Folder::new(), Folder::new());
    files.write("a b", b"content");
    files.write("-x", b"dash");
    let server = Server::start("thread", 2, &files, &[]);
    let address = format!("--server={}", server.address);
    for words in [
        &["download", &address, "a b"][..],
        &["download", &address, "--", "-x"],
    ] {
        Run::start(kolam(words).current_dir(here.path()))
            .finish(PATIENCE)
            .ok();
    }
    assert_eq!(
        (here.read("a b"), here.read("-x")),
        (b"content".to_vec(), b"dash".to_vec())
    );
    assert_eq!(here.names(), ["-x", "a b"]);
    server.stop();
}

#[test]
fn a_download_that_is_refused_says_why_and_leaves_no_file() {
    let (files, here) = (Folder::new(), Folder::new());
    let server = Server::start("thread", 2, &files, &[]);
    let target = here.join("a").display().to_string();
    let download = || ask(server.address, &["download", "a", "-o", &target]);
    download().failed(1, &["file not found", &server.address.to_string()]);
    assert!(here.names().is_empty());
    here.write("a", b"old");
    download().failed(1, &["file not found"]);
    assert_eq!(here.read("a"), b"old");
    ask(server.address, &["download", "../a", "-o", &target]).failed(1, &["invalid file name"]);
    ask(server.address, &["delete", "a"]).failed(1, &["file not found"]);
    files.write("a", b"A");
    let folder = here.path().display().to_string();
    ask(server.address, &["download", "a", "-o", &folder]).failed(1, &["cannot write", &folder]);
    let nowhere = here.join("none/a").display().to_string();
    ask(server.address, &["download", "a", "-o", &nowhere]).failed(1, &["cannot write", &nowhere]);
    assert_eq!(here.names(), ["a"]);
    server.stop();
}

#[test]
fn an_upload_that_is_refused_says_why() {
    let (files, here) = (Folder::new(), Folder::new());
    files.write("big", b"old");
    here.write("big", &noise(16 << 20, 1));
    let server = Server::start("thread", 2, &files, &["--max-upload", "1MB"]);
    let [big, none] = ["big", "none"].map(|name| here.join(name).display().to_string());
    ask(server.address, &["upload", &big]).failed(1, &["file too large"]);
    ask(server.address, &["upload", &big, "--as", ".big"]).failed(1, &["invalid file name"]);
    ask(server.address, &["upload", &big, "--as", "a\nb"]).failed(1, &["control character"]);
    ask(server.address, &["upload", &none]).failed(1, &["cannot read", &none]);
    assert_eq!(
        (files.read("big"), files.names()),
        (b"old".to_vec(), vec!["big".to_owned()])
    );
    server.stop();
    let server = Server::start("thread", 2, &files, &["--read-only"]);
    ask(server.address, &["upload", &big]).failed(1, &["permission denied"]);
    ask(server.address, &["delete", "big"]).failed(1, &["permission denied"]);
    server.stop();
}

#[test]
fn what_cannot_be_uploaded_is_told_before_there_is_a_connection() {
    let here = Folder::new();
    here.write("secret", b"");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let upload = |path: &str| ask(listener.local_addr().unwrap(), &["upload", path]);
    let folder = here.path().display().to_string();
    for path in [&folder, "/", ".."] {
        upload(path).failed(1, &[&format!("cannot read {path}: it is a folder; name a file")]);
    }
    let none = here.join("none").display().to_string();
    upload(&none).failed(1, &[&format!("cannot read {none}: "), "No such file"]);
    let secret = here.join("secret");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    if File::open(&secret).is_err() {
        upload(&secret.display().to_string()).failed(1, &["cannot read", "secret: Permission denied"]);
    }
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock,
        "it has connected"
    );
}

#[test]
fn a_path_may_hold_any_bytes_and_a_name_on_the_wire_may_not() {
    let here = Folder::new();
    let odd = |name: &[u8]| here.path().join(OsStr::from_bytes(name));
    let (source, target, root) = (odd(b"a\xff.bin"), odd(b"\xfe"), odd(b"files\xfd"));
    fs::write(&source, b"content").unwrap();
    let server = Server::launch("thread", 2, &root, &["--quiet"]);
    let address = server.address.to_string();
    let ask = |words: &[&OsStr]| {
        let words = [words, &[OsStr::new("--server"), OsStr::new(&address)]].concat();
        Run::start(&mut kolam(words)).finish(PATIENCE)
    };
    let [upload, as_name, name, output, equals] = ["upload", "--as", "a.bin", "-o", "-o="].map(OsStr::new);
    ask(&[upload, source.as_os_str()]).failed(2, &["not UTF-8", "add --as NAME"]);
    assert_eq!(
        ask(&[upload, source.as_os_str(), as_name, name]).ok(),
        "a.bin uploaded, 7 bytes\n"
    );
    assert_eq!(fs::read(root.join("a.bin")).unwrap(), b"content");
    ask(&[OsStr::new("download"), name, output, target.as_os_str()]).ok();
    assert_eq!(fs::read(&target).unwrap(), b"content");
    fs::remove_file(&target).unwrap();
    let joined = [equals.as_bytes(), target.as_os_str().as_bytes()].concat();
    ask(&[OsStr::new("download"), name, OsStr::from_bytes(&joined)]).ok();
    assert_eq!(fs::read(&target).unwrap(), b"content");
    let odd_name = OsStr::from_bytes(b"\xff");
    ask(&[upload, source.as_os_str(), as_name, odd_name]).failed(2, &["--as", "not UTF-8"]);
    ask(&[OsStr::new("delete"), odd_name]).failed(2, &["delete: NAME", "not UTF-8"]);
    ask(&[OsStr::new("list"), OsStr::from_bytes(b"--\xff")]).failed(2, &["unknown option"]);
    server.stop();
    let out = odd(b"results\xfc");
    let small = "stress --modes thread --ops list --volumes 1MB --clients 1 --servers 1 --out";
    let words = small.split(' ').map(OsStr::new).chain([out.as_os_str()]);
    let ended = Run::start(&mut kolam(words)).finish(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(out.join("thread.csv").is_file());
}

#[test]
fn a_download_into_a_pipe_does_not_put_a_file_in_its_place() {
    let (files, here) = (Folder::new(), Folder::new());
    files.write("a", b"content");
    let server = Server::start("thread", 2, &files, &[]);
    let pipe = here.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for both, so that nobody waits for the other end.
    let mut ends = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let ended = ask(server.address, &["download", "a", "-o", pipe.to_str().unwrap()]);
    let kind = fs::symlink_metadata(&pipe).unwrap().file_type();
    assert!(kind.is_fifo(), "the pipe has become {kind:?}");
    if ended.code == Some(0) {
        let mut content = [0; 7];
        ends.read_exact(&mut content).unwrap();
        assert_eq!(&content, b"content");
    }
    server.stop();
}

// ---- mistakes ----

#[test]
fn mistakes_on_the_command_line_end_with_2_and_one_line() {
    let table: [(&[&str], &[&str]); 34] = [
        (&["uplaod", "a"], &["uplaod", "did you mean upload?"]),
        (&["serv"], &["did you mean serve?"]),
        (&["frobnicate"], &["frobnicate", "kolam --help"]),
        (
            &["serve", "--wrokers", "3"],
            &["--wrokers", "did you mean --workers?"],
        ),
        (
            &["list", "--sever", "x:1"],
            &["--sever", "did you mean --server?"],
        ),
        (&["stress", "--volums", "1"], &["did you mean --volumes?"]),
        (&["serve", "--xyzzyplugh"], &["unknown option --xyzzyplugh"]),
        (
            &["serve", "--mode", "thraed"],
            &["thraed", "single, thread, process, event", "did you mean thread?"],
        ),
        (&["serve", "--mode", "evnet"], &["evnet", "did you mean event?"]),
        (
            &["serve", "--protocol", "htpp"],
            &["--protocol htpp", "file, http", "did you mean http?"],
        ),
        (
            &["serve", "--mode", "single", "--workers", "5"],
            &["--workers 5", "single"],
        ),
        (&["serve", "--workers", "0"], &["--workers 0", "from 1"]),
        (&["serve", "--workers", "many"], &["--workers many"]),
        (
            &["serve", "--host", "a.example"],
            &["--host", "--protocol http", "--listen HOST:PORT"],
        ),
        (
            &["serve", "--host", "127.0.0.1", "--protocol", "file"],
            &["--host", "--protocol http"],
        ),
        (&["serve", "--any-host"], &["--any-host", "--protocol http"]),
        (
            &["stress", "--volumes", "1KB"],
            &["--volumes 1KB", "numbers of MiB from 1 to 100000"],
        ),
        (&["serve", "--workers"], &["--workers", "needs a value"]),
        (&["serve", "--quiet=yes"], &["--quiet", "no value"]),
        (
            &["serve", "--listen", "localhost"],
            &["--listen localhost", "HOST:PORT"],
        ),
        (
            &["serve", "--listen", "127.0.0.1:70000"],
            &["--listen 127.0.0.1:70000"],
        ),
        (&["serve", "--max-upload", "5X"], &["--max-upload 5X"]),
        (&["serve", "--max-upload", "99999999999G"], &["--max-upload"]),
        (&["serve", "--idle-timeout", "-1"], &["--idle-timeout -1"]),
        (&["serve", "--grace", "nan"], &["--grace nan"]),
        (&["serve", "extra"], &["extra"]),
        (&["download"], &["NAME is missing", "kolam download --help"]),
        (&["download", "a", "b"], &["'b'"]),
        (&["download", "../a"], &["-o"]),
        (&["stress", "--ops", "downlaod"], &["did you mean download?"]),
        (&["stress", "--volumes", "1,1"], &["--volumes 1,1"]),
        (&["stress", "--clients", "1,,5"], &["--clients 1,,5"]),
        (&["stress", "--servers", "0"], &["--servers 0"]),
        (
            &["stress", "--modes", "single", "--servers", "5"],
            &["--servers 5", "single"],
        ),
    ];
    for (words, expected) in table {
        let ended = run(words);
        ended.failed(2, expected);
        assert_eq!(ended.text(), "", "{words:?}");
    }
    let ended = run(&[]);
    assert!(
        ended.code == Some(2) && ended.stderr.contains("usage: kolam COMMAND"),
        "{ended:?}"
    );
}

#[test]
fn a_guessed_option_or_command_leads_to_the_right_one() {
    let table: [(&[&str], &str); 23] = [
        (
            &["serve", "--port", "80"],
            "--port; it is part of --listen HOST:PORT",
        ),
        (&["serve", "-p", "80"], "-p; it is part of --listen HOST:PORT"),
        (
            &["balance", "--port=80"],
            "--port; it is part of --listen HOST:PORT",
        ),
        (
            &["list", "--port", "80"],
            "--port; it is part of --server HOST:PORT",
        ),
        (
            &["list", "--host", "127.0.0.1"],
            "--host; it is part of --server HOST:PORT",
        ),
        (
            &["stress", "--port", "80"],
            "--port; it is part of --target HOST:PORT",
        ),
        (
            &["serve", "--bind", "0.0.0.0"],
            "--bind; did you mean --listen HOST:PORT?",
        ),
        (
            &["serve", "--address", "0.0.0.0"],
            "--address; did you mean --listen HOST:PORT?",
        ),
        (&["serve", "--dir", "x"], "--dir; did you mean --root DIR?"),
        (&["serve", "--folder", "x"], "--folder; did you mean --root DIR?"),
        (
            &["serve", "--threads", "5"],
            "--threads; did you mean --workers N or --mode MODE?",
        ),
        (
            &["serve", "--processes", "5"],
            "--processes; did you mean --workers N or --mode MODE?",
        ),
        (
            &["download", "a", "--output", "b"],
            "--output; did you mean -o FILE?",
        ),
        (&["stress", "--output", "b"], "--output; did you mean --out DIR?"),
        (
            &["bench", "http", "--concurrency", "5"],
            "--concurrency; did you mean -c N?",
        ),
        (
            &["serve", "--limit", "5"],
            "--limit; did you mean --max-upload SIZE?",
        ),
        // Near in letters to nothing, and guessed by no other program.
        (
            &["serve", "--colour"],
            "unknown option --colour; kolam serve --help lists all",
        ),
        (
            &["delete", "a", "--force"],
            "unknown option --force; kolam delete --help lists all",
        ),
        (&["ls"], "unknown command ls; did you mean list?"),
        (&["get", "a"], "unknown command get; did you mean download?"),
        (&["server"], "unknown command server; did you mean serve?"),
        (
            &["help", "nonsense"],
            "unknown command nonsense; try kolam --help",
        ),
        (&["help", "srve"], "unknown command srve; did you mean serve?"),
    ];
    for (words, expected) in table {
        run(words).failed(2, &[expected]);
    }
}

#[test]
fn help_is_given_for_each_command() {
    let commands = [
        "serve", "list", "download", "upload", "delete", "stats", "stress", "balance", "bench",
    ];
    for words in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["help", "--help"],
        &["help", "help"],
    ] {
        let overview = run(words);
        assert!(
            overview.text().lines().all(|line| line.chars().count() < 80),
            "{overview:?}"
        );
        commands
            .iter()
            .for_each(|command| assert!(overview.ok().contains(command), "{overview:?}"));
    }
    assert_eq!(
        run(&["--version"]).ok(),
        concat!("kolam ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for command in commands {
        assert_eq!(run(&["help", command]).ok(), run(&[command, "--help"]).ok());
        for words in [
            &[command, "--help"][..],
            &[command, "-h"],
            &[command, "--help", "--nonsense"],
        ] {
            let help = run(words);
            assert!(help.ok().contains(&format!("usage: kolam {command}")), "{help:?}");
            assert!(
                help.text().lines().all(|line| line.chars().count() < 80),
                "{help:?}"
            );
        }
    }
    let serve = run(&["serve", "--help"]);
    let units = [
        "--idle-timeout TIME",
        "TIME: ",
        "500ms",
        "--max-upload SIZE",
        "SIZE: ",
        "10MB",
        "1024",
    ];
    units
        .iter()
        .for_each(|word| assert!(serve.text().contains(word), "{word}"));
    for option in [
        "--protocol",
        "--mode",
        "--workers",
        "--listen",
        "--root",
        "--max-upload",
        "--sync",
        "--read-only",
    ] {
        assert!(serve.text().contains(option), "{option}");
    }
}

/// Runs make without letting it do anything; returns its exit code, stdout and stderr.
fn make(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new("make");
    command
        .args(["-n", "-C", env!("CARGO_MANIFEST_DIR"), "--no-print-directory"])
        .args(words);
    // Where the tests themselves were started by make.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr)
}

#[test]
fn variables_of_make_in_small_letters_are_told() {
    let makefile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
    let variables = makefile.lines().filter_map(|line| line.split_once(" ?="));
    // CARGO is not for users of kolam, STRESS_ROOT has no default.
    let variables = variables
        .map(|(name, _)| name)
        .filter(|name| *name != "CARGO")
        .chain(["STRESS_ROOT"]);
    let mut count = 0;
    for (variable, target) in variables.zip(["server", "stress", "help", "clean"].into_iter().cycle()) {
        let small = variable.to_lowercase();
        let (code, stdout, stderr) = make(&[target, &format!("{small}=process")]);
        let told = format!("{small}=process: variables are in capitals here: {variable}=process");
        assert!(
            code == Some(2) && stderr.contains(&told),
            "{variable}: let a target take it. {stderr}"
        );
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{variable}");
        count += 1;
    }
    assert!(count > 5, "these are not all variables");
    let (code, stdout, stderr) = make(&["server", "MODE=process", "W=5"]);
    assert!(
        code == Some(0) && stdout.contains("--mode process --workers 5"),
        "{stdout} {stderr}"
    );
}

#[test]
fn a_variable_that_the_target_does_not_use_is_told() {
    for (words, told) in [
        (
            &["server", "Mode=process"][..],
            "Mode=process: variables are in capitals here: MODE=process.",
        ),
        (
            &["server", "WORKERS=3"],
            "WORKERS=3: make server does not use it; did you mean W?.",
        ),
        (
            &["server", "workers=3"],
            "workers=3: make server does not use it; did you mean W?.",
        ),
        (
            &["server", "MODES=thread"],
            "MODES=thread: make server does not use it; did you mean MODE?.",
        ),
        (
            &["stress", "MODE=thread"],
            "MODE=thread: make stress does not use it; did you mean MODES?.",
        ),
        (
            &["ab", "SERVERS=3"],
            "SERVERS=3: make ab does not use it; did you mean BACKENDS?.",
        ),
        (
            &["modes", "N=1"],
            "N=1: make modes does not use it; it uses OUT FORCE KOLAM SHM.",
        ),
        (
            &["build", "W=3"],
            "W=3: make build does not use it; it uses no variable.",
        ),
        (&["stress", "FORCE=1"], "FORCE=1: expected yes."),
    ] {
        let (code, stdout, stderr) = make(words);
        assert!(
            code == Some(2) && stderr.contains(told),
            "{words:?}: no {told} in {stderr}"
        );
        assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{words:?}");
    }
    for (words, part) in [
        (&["stress", "OUT=x", "FORCE=yes"][..], "--out 'x' --force"),
        (
            &["stress-quick", "MODES=event", "STRESS_ROOT=x"],
            "--modes event  --root 'x'",
        ),
        (&["ab", "ROUNDS=3", "SHM=x", "KOLAM_SERVER=x"], "ROUNDS=3 "),
        (
            &["stress", "server", "MODE=thread", "MODES=thread"],
            "serve --protocol file --mode thread",
        ),
        (&["test", "RUSTFLAGS=-g", "CARGO=cargo"], "cargo test"),
    ] {
        let (code, stdout, stderr) = make(words);
        assert!(code == Some(0), "{words:?}: {stderr}");
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            plain(&stdout).contains(&plain(part)),
            "{words:?}: no {part} in {stdout}"
        );
    }
    let (_, help, _) = make(&["help"]);
    assert!(help.contains("FORCE=yes") && help.contains("ROUNDS"), "{help}");
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let folder = Folder::new();
    folder.write("file", b"");
    let root = folder.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for mode in MODES {
        let serve = ["serve", "--mode", mode, "--listen"];
        run(&[&serve[..], &[&address, "--root", root]].concat())
            .failed(1, &["cannot listen", &address, "make: PORT="]);
        for path in [
            folder.join("file"),
            folder.join("file/below"),
            "/proc/kolam".into(),
        ] {
            let root = path.to_str().unwrap();
            let ended = run(&[&serve[..], &["127.0.0.1:0", "--root", root]].concat());
            ended.failed(1, &["--root", root]);
            assert_eq!(ended.text(), "");
        }
    }
    assert_eq!(folder.names(), ["file"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_told_with_the_cause() {
    // No user may make a folder there.
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--root", "/sys/kolam"]);
    ended.failed(1, &["cannot make --root /sys/kolam: ", "; name a folder"]);
    assert!(!ended.stderr.contains("No such file"), "{ended:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kolam"));
    let output = command
        .args(["stress", "--quick"])
        .current_dir("/sys")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && told.contains("cannot make the folder results: "),
        "{told}"
    );
    assert!(told.contains("name another one with --out DIR"), "{told}");
    run(&["stress", "--quick", "--out", "/sys/kolam"]).failed(1, &["cannot make --out /sys/kolam: "]);
}

/// The first line of a server that is started with `words`, after which it is stopped.
fn first_line(words: &[&str]) -> String {
    let mut child = kolam(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    crate::support::signal(child.id(), libc::SIGTERM);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..]),
        "{words:?}: {line}"
    );
    line
}

#[test]
fn the_first_line_of_an_http_server_ends_with_a_url() {
    let folder = Folder::new();
    let serve = [
        "serve",
        "--quiet",
        "--allow-write",
        "--root",
        folder.path().to_str().unwrap(),
    ];
    for (listen, url) in [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        ("0.0.0.0:0", "http://127.0.0.1:"),
        ("[::1]:0", "http://[::1]:"),
        ("[::]:0", "http://[::1]:"),
    ] {
        if TcpListener::bind(listen).is_err() {
            eprintln!("skipped: nothing can listen on {listen} here");
            continue;
        }
        let line = first_line(&[&serve[..], &["--protocol", "http", "--listen", listen]].concat());
        let (about, found) = line.trim_end().rsplit_once(' ').unwrap();
        let address: SocketAddr = about.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(found, format!("{url}{}/", address.port()), "{listen}: {line}");
        assert!(
            about.contains("event mode"),
            "HTTP is served in event mode unless asked: {line}"
        );
        let line = first_line(&[&serve[..], &["--listen", listen]].concat());
        assert!(
            line.contains("thread mode") && !line.contains("http://"),
            "{listen}: {line}"
        );
    }
    // A port that browsers refuse, and that is free here.
    let refused = (6665..=6669)
        .rev()
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let Some(port) = refused else {
        return eprintln!("skipped: ports 6665 to 6669 are taken");
    };
    let listen = format!("127.0.0.1:{port}");
    let line = first_line(&[&serve[..], &["--protocol", "http", "--listen", &listen]].concat());
    assert!(line.contains(&format!("browsers refuse port {port}")), "{line}");
    assert!(line.ends_with(&format!(" http://{listen}/\n")), "{line}");
    assert!(!first_line(&[&serve[..], &["--listen", &listen]].concat()).contains("browsers"));
}

#[test]
fn each_protocol_has_a_mode_and_a_port_of_its_own() {
    let help = run(&["serve", "--help"]);
    // Lines are broken between any two words.
    let text = help.ok().split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["thread; http: event", "127.0.0.1:6666; http: 127.0.0.1:8080"] {
        assert!(text.contains(words), "no {words:?} in {help:?}");
    }
    // What make passes on, as far as it is told by which protocol.
    for (variables, passed) in [
        (&[][..], "serve --protocol file --root 'files'"),
        (&["PROTOCOL=http"], "serve --protocol http --root 'files'"),
        (
            &["PROTOCOL=http", "HOST=0.0.0.0"],
            "serve --protocol http --listen 0.0.0.0:8080 --root 'files'",
        ),
        (
            &["HOST=0.0.0.0"],
            "serve --protocol file --listen 0.0.0.0:6666 --root 'files'",
        ),
        (
            &["MODE=process", "W=5", "PORT=7"],
            "serve --protocol file --mode process --workers 5 --listen 127.0.0.1:7 --root 'files'",
        ),
    ] {
        let mut command = Command::new("make");
        command
            .args(["--dry-run", "server"])
            .args(variables)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        for variable in [
            "PROTOCOL",
            "MODE",
            "W",
            "HOST",
            "PORT",
            "ROOT",
            "ARGS",
            "MAKEFLAGS",
        ] {
            command.env_remove(variable);
        }
        let Ok(made) = command.output() else {
            return eprintln!("skipped: make is not installed");
        };
        let text = String::from_utf8(made.stdout).unwrap().replace('\\', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(
            words.join(" ").contains(passed),
            "{variables:?}: no {passed:?} in {text}"
        );
    }
    assert!(
        Command::new("make")
            .args(["--dry-run", "balancer"])
            .output()
            .is_ok_and(|made| {
                let text = String::from_utf8(made.stdout).unwrap();
                text.contains("MODE=event PORT=7000") && text.contains("PROTOCOL=http")
            })
    );
}

#[test]
fn a_folder_to_serve_is_made_when_it_is_missing() {
    let folder = Folder::new();
    let server = Server::launch("thread", 2, &folder.join("new/files"), &["--quiet"]);
    assert!(server.ask(upload("a", b"A")).contains("OK"));
    server.stop();
    assert_eq!(crate::support::names(&folder.join("new/files")), ["a"]);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for words in CLIENT {
        ask(address, words).failed(1, &["cannot connect", &address.to_string()]);
    }
}

// ---- output that nobody takes ----

/// A pipe whose reader has gone.
fn closed_pipe() -> Stdio {
    io::pipe().unwrap().1.into()
}

/// Runs the program with its stdout going to `stdout`; returns exit code and stderr.
fn run_into(stdout: Stdio, words: &[&str]) -> (Option<i32>, String) {
    let child = kolam(words)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_closed_stdout_is_a_clean_end() {
    let files = Folder::new();
    files.write("a", &noise(3 << 20, 1));
    let server = Server::start("thread", 2, &files, &[]);
    let address = server.address.to_string();
    let clean = (Some(0), String::new());
    for words in [&["list"][..], &["stats"], &["download", "a", "-o", "-"]] {
        let words = [words, &["--server", &address]].concat();
        assert_eq!(run_into(closed_pipe(), &words), clean, "{words:?}");
    }
    for words in [
        &["--help"][..],
        &["serve", "--help"],
        &["--version"],
        &["stress", "--dry-run"],
    ] {
        assert_eq!(run_into(closed_pipe(), words), clean, "{words:?}");
    }
    server.stop();
}

#[test]
fn a_server_serves_on_when_nobody_reads_its_one_line() {
    let (files, port) = (Folder::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = port.local_addr().unwrap();
    drop(port);
    let words = [
        "serve",
        "--quiet",
        "--listen",
        &address.to_string(),
        "--root",
        files.path().to_str().unwrap(),
    ];
    let mut command = kolam(words);
    let mut child = command
        .stdout(closed_pipe())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it serves", || TcpStream::connect(address).is_ok());
    let listed = ask(address, &["list"]);
    signal(child.id(), libc::SIGTERM);
    let status = child.wait().unwrap();
    assert_eq!((listed.ok(), status.code()), ("", Some(0)));
    assert_eq!(io::read_to_string(child.stderr.unwrap()).unwrap(), "");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let files = Folder::new();
    let server = Server::start("thread", 2, &files, &[]);
    let address = server.address.to_string();
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    for size in [10, 300_000] {
        files.write("a", &noise(size, 1));
        for words in [&["list"][..], &["stats"], &["download", "a", "-o", "-"]] {
            let (code, stderr) = run_into(full(), &[words, &["--server", &address]].concat());
            assert_eq!(code, Some(1), "{words:?} of {size} bytes: {stderr:?}");
            assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
            assert!(stderr.contains("o space left"), "{words:?}: {stderr}");
        }
    }
    server.stop();
}

// ---- servers that lie ----

/// A server that answers one request with `reply` and, if `close`, ends the connection there.
struct Fake {
    address: SocketAddr,
    _serving: Background,
}

fn fake(reply: impl AsRef<[u8]>, close: bool) -> Fake {
    let reply = reply.as_ref().to_vec();
    let mut kept = Vec::new();
    fake_that(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(&reply);
        if !close {
            kept.push(stream);
        }
    })
}

/// A server that answers one request on each connection with what `reply` makes of it.
fn fake_with(mut reply: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Fake {
    fake_that(move |mut stream| {
        let request = read_request(&mut stream);
        let _ = stream.write_all(&reply(str::from_utf8(&request).unwrap()));
    })
}

/// Reads a request to its end mark, or as much as comes of it.
fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
    }
    request
}

/// A server that does `serve` with each connection, one after another.
fn fake_that(mut serve: impl FnMut(TcpStream) + Send + 'static) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Background::repeat(move || {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(2));
            return true;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(stream);
        true
    });
    Fake {
        address,
        _serving: serving,
    }
}

/// A server as a course makes one: it splits each request at its blanks and knows no quotes. It keeps what it
/// was asked, and the files that it was sent, as base64.
fn splitting_server() -> (Fake, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (told, mut files) = (requests.clone(), BTreeMap::new());
    let fake = fake_with(move |request| {
        told.lock().unwrap().push(request.to_owned());
        let words: Vec<&str> = request.split_whitespace().collect();
        let reply = match words[..] {
            ["UPLOAD", name, text] => {
                files.insert(name.to_owned(), text.to_owned());
                r#"{"status":"OK","data":"stored"}"#.to_owned()
            }
            ["GET", name] if files.contains_key(name) => {
                format!(
                    r#"{{"status":"OK","data_namafile":"{name}","data_file":"{}"}}"#,
                    files[name]
                )
            }
            ["DELETE", name] if files.remove(name).is_some() => r#"{"status":"OK","data":"gone"}"#.to_owned(),
            _ => r#"{"status":"ERROR","data":"request tidak dikenali"}"#.to_owned(),
        };
        format!("{reply}\r\n\r\n").into_bytes()
    });
    (fake, requests)
}

#[test]
fn a_server_that_splits_at_blanks_gets_plain_names_without_quotes() {
    let here = Folder::new();
    here.write("a.bin", b"content");
    let [source, target] = ["a.bin", "b.bin"].map(|name| here.join(name).display().to_string());
    let (server, requests) = splitting_server();
    let ask = |words: &[&str]| ask(server.address, words);
    ask(&["upload", &source]).ok();
    ask(&["upload", &source, "--as", "it's_naïve-(1).bin"]).ok();
    ask(&["download", "it's_naïve-(1).bin", "-o", &target]).ok();
    assert_eq!(here.read("b.bin"), b"content");
    ask(&["delete", "a.bin"]).ok();
    ask(&["download", "a.bin", "-o", &target]).failed(1, &["tidak dikenali"]);
    // What needs quotes has them in every verb, also where a server does not understand them.
    requests.lock().unwrap().clear();
    for words in [
        &["upload", &source, "--as", "my \"a\""][..],
        &["download", "my \"a\"", "-o", &target],
    ] {
        ask(words).failed(1, &["tidak dikenali"]);
    }
    ask(&["delete", "a b"]).failed(1, &["tidak dikenali"]);
    let wanted = [
        r#"UPLOAD "my \"a\"" Y29udGVudA=="#,
        r#"GET "my \"a\"""#,
        r#"DELETE "a b""#,
    ];
    assert_eq!(
        *requests.lock().unwrap(),
        wanted.map(|request| format!("{request}\r\n\r\n"))
    );
}

#[test]
fn a_reply_may_be_written_in_any_way_that_json_allows() {
    let here = Folder::new();
    let target = here.join("a").display().to_string();
    // "???>>>ok" holds both special symbols and padding.
    assert_eq!(base64(b"???>>>ok"), "Pz8/Pj4+b2s=");
    let replies = [
        r#"{"status":"OK","data_namafile":"a","data_file":"Pz8/Pj4+b2s="}"#,
        r#"{"data_file":"Pz8/Pj4+b2s=","data_namafile":"a","status":"OK"}"#,
        " \r\n{ \"status\" :\t\"OK\" ,\n\"data_file\"\r:  \"Pz8/Pj4+b2s=\" } ",
        r#"{"status":"OK","data_file":"Pz8\/Pj4+b2s\u003d"}"#,
        r#"{"status":"OK","data_file":"\u0050\u007a8\u002fPj4\u002Bb2s\u003D"}"#,
        r#"{"status":"OK","data_file":"Pz8/\r\nPj4+\nb2s="}"#,
        r#"{"status":"\u004f\u004B","more":[1,{"x":[null,true,-1.5e3]},"]}"],"data_file":"Pz8/Pj4+b2s="}"#,
    ];
    for reply in replies {
        let fake = fake(format!("{reply}\r\n\r\n"), true);
        let ended = ask(fake.address, &["download", "a", "-o", &target]);
        assert_eq!(ended.code, Some(0), "{reply} {ended:?}");
        assert_eq!(here.read("a"), b"???>>>ok", "{reply}");
    }
    assert_eq!(here.names(), ["a"]);
}

#[test]
fn a_download_that_is_not_whole_and_right_leaves_the_old_file() {
    let here = Folder::new();
    here.write("a", b"old");
    let target = here.join("a").display().to_string();
    let whole = r#"{"status":"OK","data_namafile":"a","data_file":"S29sYW0="}"#.to_owned() + "\r\n\r\n";
    let cuts = (0..whole.len()).map(|length| whole[..length].to_owned());
    let wrong = [
        r#"{"status":"OK","data_namafile":"a"}"#,
        r#"{"status":"OK","data_file":null}"#,
        r#"{"status":"OK","data_file":["S29sYW0="]}"#,
        r#"{"status":"OK","data_file":"S29sYW0*"}"#,
        r#"{"status":"OK","data_file":"S29sYW0=="}"#,
        r#"{"status":"OK","data_file":"S29sYW0=S29s"}"#,
        r#"{"status":"OK","data_file":"S29sY"}"#,
        r#"{"status":"OK","data_file":"S29sYW0"}"#,
        r#"{"status":"OK","data_file":"S29sYQ="}"#,
        r#"{"status":"OK","data_file":"S29sYQ"}"#,
        r#"{"status":"OK","data_file":"S29sYQ=\u0020"}"#,
        r#"{"status":"OK","data_file":"S29sYW1="}"#,
        r#"{"status":"OK","data_file":"S29s\u00e9"}"#,
        r#"{"data_file":"S29sYW0=","status":"ERROR","data":"changed my mind"}"#,
        r#"{"data_file":"S29sYW0="}"#,
        r#"{"status":true,"data_file":"S29sYW0="}"#,
        r#"{"status":"OK","data_file":"S29sYW0=",}"#,
        r#"{"status":"OK" "data_file":"S29sYW0="}"#,
        r#"{"status":"OK","data_file":"S29sYW0="}}"#,
        r#"{"status":"OK","data_file":"S29sYW0="}x"#,
        r#"{"status":"ERROR","data":"no"}"#,
        "{}",
        "[]",
        "HTTP/1.1 400 Bad Request",
        "\u{1}\u{2}\u{3}",
    ];
    let half = fake(&whole[..50], true);
    ask(half.address, &["download", "a", "-o", &target]).failed(1, &["closed the connection after 50 bytes"]);
    for reply in cuts.chain(wrong.iter().map(|reply| format!("{reply}\r\n\r\n"))) {
        let fake = fake(&reply, true);
        let ended = ask(fake.address, &["download", "a", "-o", &target]);
        ended.failed(1, &[&fake.address.to_string()]);
        assert_eq!(
            (here.read("a"), here.names()),
            (b"old".to_vec(), vec!["a".to_owned()]),
            "{reply}"
        );
    }
}

/// Answers each GET with a text of `symbols` symbols in lines of `line`, in which the byte at the offset that
/// its name tells is wrong, or the text ends: `cut-1000`, `raw-1000`, `escaped-1000`.
fn broken_texts(symbols: usize, line: usize) -> Fake {
    let text = base64(&noise(symbols / 4 * 3, 1)).into_bytes();
    let text = text.chunks(line).collect::<Vec<_>>().join(&b"\n"[..]);
    fake_with(move |request| {
        let name = request.split_whitespace().nth(1).unwrap();
        let (kind, at) = name.split_once('-').unwrap();
        let (head, tail) = text.split_at(at.parse().unwrap());
        let tail = match kind {
            "cut" => Vec::new(),
            "raw" => [b"!", &tail[1..]].concat(),
            _ => [b"\\u0021", &tail[1..]].concat(),
        };
        let text = String::from_utf8([head, &tail].concat())
            .unwrap()
            .replace('\n', "\\n");
        format!("{{\"status\":\"OK\",\"data_file\":\"{text}\"}}\r\n\r\n").into_bytes()
    })
}

#[test]
fn what_is_wrong_in_a_download_is_reported_at_its_own_offset() {
    let here = Folder::new();
    let target = here.join("a").display().to_string();
    // Around the borders of lines, of the blocks of the quick loops and of the pieces that are received.
    let places = [
        1, 63, 256, 1019, 65_530, 262_114, 262_144, 262_400, 363_984, 524_288, 786_433, 1_000_001,
    ];
    for line in [usize::MAX, 76] {
        let server = broken_texts(1 << 20, line);
        for at in places {
            for kind in ["raw", "escaped"] {
                let name = format!("{kind}-{at}");
                let ended = ask(server.address, &["download", &name, "-o", &target]);
                ended.failed(1, &[&format!("invalid base64 at byte {at}: not a base64 symbol")]);
            }
        }
        for at in places {
            let symbols = at - if line == 76 { at / 77 } else { 0 };
            if symbols % 4 > 0 {
                let ended = ask(server.address, &["download", &format!("cut-{at}"), "-o", &target]);
                ended.failed(
                    1,
                    &[&format!(
                        "invalid base64 at byte {at}: the text ends without its padding"
                    )],
                );
            }
        }
        assert!(here.names().is_empty());
    }
}

#[test]
fn words_of_another_server_do_not_reach_the_terminal_raw() {
    let list = fake(
        r#"{"status":"OK","data":["a\u001b[2Jb","c\nd"]}"#.to_owned() + "\r\n\r\n",
        true,
    );
    let names = ask(list.address, &["list"]);
    assert_eq!(
        (names.code, names.text().lines().count()),
        (Some(0), 2),
        "{names:?}"
    );
    let error = fake(
        r#"{"status":"ERROR","data":"\u001b[2J\u001b]0;title\u0007\nline"}"#.to_owned() + "\r\n\r\n",
        true,
    );
    let stats = fake(
        r#"{"status":"OK","data":{"mode":"\u001b[2J","x\u001b[2J\n":1}}"#.to_owned() + "\r\n\r\n",
        true,
    );
    let ended = [
        names,
        ask(stats.address, &["stats"]),
        ask(error.address, &["list"]),
    ];
    for ended in ended {
        let raw = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
        assert!(
            !raw(ended.text()) && !raw(&ended.stderr) && ended.stderr.lines().count() <= 1,
            "{ended:?}"
        );
    }
}

/// Runs the program with a terminal as its stdout; returns what appears there.
fn on_a_terminal(words: &[&str]) -> String {
    let (code, shown) = Terminal::start(&mut kolam(words), 80).finish(PATIENCE);
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(code, Some(0), "{shown}");
    shown
}

#[test]
fn names_that_deceive_are_listed_visibly_on_a_terminal_and_exactly_in_a_pipe() {
    let (files, deceptive) = (Folder::new(), "photo\u{202e}gpj\u{200b}.exe");
    files.write(deceptive, b"");
    files.write("плюс été 日本", b"");
    let server = Server::start("thread", 2, &files, &[]);
    assert_eq!(
        ask(server.address, &["list"]).ok(),
        format!("{deceptive}\nплюс été 日本\n")
    );
    let shown = on_a_terminal(&["list", "--server", &server.address.to_string()]);
    assert_eq!(shown, "photo\\u{202e}gpj\\u{200b}.exe\r\nплюс été 日本\r\n");
    server.stop();
}

/// Every command, and an upload that is larger than all buffers on its way, tells that `server` speaks HTTP.
#[track_caller]
fn tell_of_http(server: SocketAddr, here: &Folder) {
    here.write("large", &noise(16 << 20, 1));
    let [source, target] = ["large", "b"].map(|name| here.join(name).display().to_string());
    let words = [
        &["list"][..],
        &["stats"],
        &["delete", "a"],
        &["download", "a", "-o", &target],
    ];
    for words in words
        .into_iter()
        .chain([&["upload", "-", "--as", "a"][..], &["upload", &source]])
    {
        let told = format!("{server}: this looks like HTTP, not the file protocol; open http://{server}/ in");
        ask(server, words).failed(1, &[&told, "curl"]);
    }
    assert_eq!(here.names(), ["large"]);
}

#[test]
fn a_server_that_speaks_http_is_recognised() {
    let here = Folder::new();
    for mode in MODES {
        let files = Folder::new();
        let server = Server::start(mode, 2, &files, &["--protocol", "http"]);
        tell_of_http(server.address, &here);
        assert!(files.names().is_empty(), "{mode}");
        server.stop();
    }
    let page = "<!DOCTYPE HTML>\n<html><title>400 Bad Request</title></html>\n";
    for reply in [
        format!("HTTP/1.0 400 Bad Request\r\nServer: other\r\n\r\n{page}"),
        page.to_owned(),
    ] {
        // It answers before it has read everything, and closes: what we send from then on is reset.
        let hasty = fake_that(move |mut stream| {
            let _ = stream.read(&mut [0; 8]);
            let _ = stream.write_all(reply.as_bytes());
        });
        (0..3).for_each(|_| tell_of_http(hasty.address, &here));
    }
}

#[test]
fn an_upload_that_the_server_stored_differently_is_a_failure() {
    let here = Folder::new();
    here.write("a", b"four");
    let source = here.join("a").display().to_string();
    let reply = |size: &str| format!("{{\"status\":\"OK\",\"size\":{size}}}\r\n\r\n");
    assert_eq!(
        ask(fake(reply("4"), true).address, &["upload", &source]).code,
        Some(0)
    );
    for size in ["3", "5", "-4", "4.5", "\"4\"", "null"] {
        ask(fake(reply(size), true).address, &["upload", &source]).failed(1, &["size"]);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = fake("", false);
    let half = fake(r#"{"status":"OK","data_file":"S29s"#, false);
    for server in [&silent, &half] {
        for words in CLIENT {
            let ended = ask(server.address, &[words, &["--timeout", "0.3"]].concat());
            assert_eq!(ended.code, Some(1), "{words:?} {ended:?}");
        }
    }
    ask(silent.address, &["list", "--timeout", "300ms"]).failed(1, &["too long", "--timeout"]);
}

// ---- interrupted ----

#[test]
fn an_interrupted_download_ends_with_130_and_leaves_the_old_file() {
    let here = Folder::new();
    here.write("a", b"old");
    let target = here.join("a").display().to_string();
    // Often, because the signal must be noticed also just before the client begins to wait for more.
    for round in 0..20 {
        let size = 30_000 * (1 + round / 2);
        let half = fake(
            r#"{"status":"OK","data_file":""#.to_owned() + &base64(&noise(size, 1)),
            false,
        );
        let words = [
            "download",
            "a",
            "-o",
            &target,
            "--server",
            &half.address.to_string(),
        ];
        let run = Run::start(&mut kolam(words));
        eventually("the download has begun", || {
            let part = here.names().into_iter().find(|name| name != "a");
            part.is_some_and(|part| here.read(&part).len() >= size / 2)
        });
        signal(
            run.child.id(),
            [libc::SIGINT, libc::SIGTERM, libc::SIGHUP][round % 3],
        );
        run.finish(PATIENCE).failed(130, &["interrupted"]);
        assert_eq!(
            (here.read("a"), here.names()),
            (b"old".to_vec(), vec!["a".to_owned()])
        );
    }
}

#[test]
fn an_interrupted_upload_ends_with_130_and_stores_nothing() {
    for mode in MODES {
        let files = Folder::new();
        let server = Server::start(mode, 2, &files, &[]);
        let words = [
            "upload",
            "-",
            "--as",
            "a",
            "--server",
            &server.address.to_string(),
        ];
        // Often, because the signal must be noticed also just before the client begins to wait for stdin.
        for round in 0..10 {
            let mut run = Run::start(kolam(words).stdin(Stdio::piped()));
            let mut stdin = run.child.stdin.take().unwrap();
            stdin.write_all(&noise(30_000 * round, 1)).unwrap();
            eventually("the upload has begun", || !files.temporary().is_empty());
            signal(run.child.id(), libc::SIGINT);
            run.finish(PATIENCE).failed(130, &["interrupted"]);
            eventually("nothing is left", || files.names().is_empty());
        }
        server.stop();
    }
}

#[test]
fn a_file_as_large_as_its_limit_crosses_by_the_client() {
    let (files, here) = (Folder::new(), Folder::new());
    File::create(here.join("a")).unwrap().set_len(20 << 20).unwrap();
    let server = Server::start("process", 2, &files, &["--max-upload", "20MiB"]);
    let [source, target] = ["a", "b"].map(|name| here.join(name).display().to_string());
    ask(server.address, &["upload", &source]).ok();
    ask(server.address, &["download", "a", "-o", &target]).ok();
    assert!(here.read("b") == vec![0; 20 << 20]);
    File::create(here.join("a"))
        .unwrap()
        .set_len((20 << 20) + 1)
        .unwrap();
    ask(server.address, &["upload", &source]).failed(1, &["file too large"]);
    server.stop();
}
